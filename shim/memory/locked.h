/* SPDX-License-Identifier: Apache-2.0 */
/* mlockall(MCL_FUTURE) is in force: what that means for a new mapping. */
#ifndef FL_SHIM_LOCKED_H
#define FL_SHIM_LOCKED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { FUTURE_NONE, FUTURE_ONFAULT, FUTURE_NOW };

extern _Atomic int locked_future;

/* The kernel has made a mapping for the program; MAP_FAILED too. */
void locked_kernels(const void *addr, size_t len);
/* The engine has made a mapping, which the kernel took for one of its own to lock. */
void locked_ours(const void *addr, size_t len);
/* Locks are not inherited by fork(2). */
void locked_fork_child(void);

#endif
