/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_SIGMASK_H
#define FL_SHIM_SIGMASK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define KERNEL_SET sizeof(uint64_t) /* what the kernel has of a sigset_t */

/* A set as the kernel is to have it, and as the program is told it: sigmask.c says how they differ. The rest of a sigset_t stays. */
void sigmask_to_kernel(sigset_t *set);
void sigmask_to_program(sigset_t *set);
/* For the time of a call, and of handlers that run in it: a copy of `set` as the kernel is to have it, or `set` when that cannot be read. */
const sigset_t *sigmask_of_call(const sigset_t *set, sigset_t *copy);
/* After the call has failed, by its errno, and with the set that it was given. */
bool sigmask_call_again(const sigset_t *set);
/* The call's result, where it has failed only in order to be made again. */
#define CALL_MASKED(set, call)                                  \
	({                                                      \
		__typeof__(call) result_;                       \
                                                                \
		do                                              \
			result_ = (call);                       \
		while (result_ < 0 && sigmask_call_again(set)); \
		result_;                                        \
	})

/* In a thread whose mask is none of ours: SIGBUS is unblocked, and blocked as far as the program knows where it was. */
void sigmask_let_faults_in(void);

typedef int (*mask_fn)(int how, const sigset_t *set, sigset_t *old);
/* sigprocmask(2) by way of `real`, which is given no set with SIGBUS. */
int sigmask_change(mask_fn real, int how, const sigset_t *set, sigset_t *old);

#endif
