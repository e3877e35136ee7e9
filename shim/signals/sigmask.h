/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_SIGMASK_H
#define FL_SHIM_SIGMASK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define KERNEL_SET sizeof(uint64_t) /* what the kernel has of a sigset_t */

/* Whether the calling thread has SIGBUS blocked, as far as the program knows. */
bool sigmask_blocks_faults(void);
/* Whether one was sent to this thread meanwhile. The other takes it, if it is in the set: for sigwait() and its kin; info may be NULL. */
bool sigmask_pending(void);
bool sigmask_take_pending(const sigset_t *set, siginfo_t *info);

typedef int (*mask_fn)(int how, const sigset_t *set, sigset_t *old);
/* sigprocmask(2) by way of `real`, which is given no set with SIGBUS. */
int sigmask_change(mask_fn real, int how, const sigset_t *set, sigset_t *old);

/* A copy of `set` that does not have SIGBUS, or `set` when that cannot be read: for the time of a call, and of handlers that run in it. */
const sigset_t *sigmask_without_faults(const sigset_t *set, sigset_t *copy);

#endif
