/* SPDX-License-Identifier: Apache-2.0 */
/* A process that becomes another user, or goes where its host is out of reach. */
#ifndef FL_SHIM_USERS_H
#define FL_SHIM_USERS_H

/* Before it does. Keeps errno. */
void users_change(void);

#endif
