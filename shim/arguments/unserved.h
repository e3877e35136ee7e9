/* SPDX-License-Identifier: Apache-2.0 */
/* What libc has in mapped memory, and looks at where no fault can be served, see unserved.c. */
#ifndef FL_SHIM_UNSERVED_H
#define FL_SHIM_UNSERVED_H

/* A handler of pthread_atfork(3), before that of the engine. */
void unserved_before_fork(void);

#endif
