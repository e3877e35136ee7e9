/* SPDX-License-Identifier: Apache-2.0 */
/* Locks between processes that lie in mapped memory, see futexes.c. */
#ifndef FL_SHIM_FUTEXES_H
#define FL_SHIM_FUTEXES_H

#include <stddef.h>

/* [addr, addr + len) is to be unmapped or replaced: what is kept there need not be any more. */
void futexes_unmapped(const void *addr, size_t len);
/* Nothing is kept in a forked child. */
void futexes_fork_child(void);

#endif
