/* SPDX-License-Identifier: Apache-2.0 */
/* Locks between processes that lie in mapped memory, see futexes.c. */
#ifndef FL_SHIM_FUTEXES_H
#define FL_SHIM_FUTEXES_H

#include <stddef.h>

/* [addr, addr + len) is to be unmapped, moved or replaced: what is kept there is let go of, until it is used again. */
void futexes_unmapped(const void *addr, size_t len);
/* The pages of what somebody looks at for whom no fault can be served are kept as those of locks are, from now on. Keeps errno. */
void futexes_keep(const void *object, size_t size);
/* Nothing is kept in a forked child. */
void futexes_fork_child(void);

#endif
