/* SPDX-License-Identifier: Apache-2.0 */
/* A process that becomes another user, or goes where its host is out of reach. */
#ifndef FL_SHIM_USERS_H
#define FL_SHIM_USERS_H

/* Before it does. Keeps errno. */
void users_change(void);
/* Around it, and around a change of its groups: threads of ours would stay what the process was. users_go_on() answers its argument. Both keep errno. */
void users_pause(void);
long users_go_on(long result);

#endif
