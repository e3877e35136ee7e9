/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault signal, which says that a page is missing: SIGBUS with userfaultfd, SIGSEGV without (sigsegv.c). Its handler serves faults and passes
 * on what is not ours as the kernel would have delivered it.
 *
 * The program's own disposition is virtual when the shim asks for that (fault_signal_set_action): the kernel only ever sees
 * our handler. Without the shim the disposition found at start is the one passed on to.
 *
 * So are the program's masks, by the shim. The fault signal is never blocked: a fault that meets a blocked one kills. That the program has it
 * blocked is told by a stand-in, a signal that next to nobody uses, in the kernel's masks, which are thus of handlers and contexts, of new threads and
 * over execve(2) what the program's are. One that is sent to a thread which has it blocked is sent on as the stand-in, and pending as that.
 */
#ifndef FL_MMU_FAULT_SIGNAL_H
#define FL_MMU_FAULT_SIGNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* SIGBUS until something else is chosen, or installed. */
int fault_signal(void);
void fault_signal_choose(int sig);
/* Installs the handler; 0 or -errno. Again after a fork or when a program replaced it. */
int fault_signal_install(int sig);
/* Puts back the disposition that was there. */
void fault_signal_restore(void);
/* The program's disposition for the fault signal, or the stand-in; either may be NULL. */
void fault_signal_set_action(int sig, const struct sigaction *act, struct sigaction *old);
bool fault_signal_installed(void);
/* In a forked child: nobody is changing the disposition. */
void fault_signal_fork_child(void);
/* From now on pages may be poisoned for accesses to fail (uffd_thread.c). */
void fault_signal_expect_poison(bool yes);
/*
 * Raises SIGBUS for a failed access in another thread of this process, as if the kernel had: only a process's first thread
 * may queue a signal with a si_code of the kernel's, so ours is a private one, which the handler translates.
 */
void fault_signal_raise_in(int tid, uint64_t addr);
/* Where masks are virtual. Before anything is installed. */
#define FAULT_STAND_IN SIGSTKFLT
void fault_signal_use_stand_in(void);
/* Masks, in the form of the kernel. To the program, the stand-in is unblocked. */
uint64_t fault_signal_mask_to_kernel(uint64_t mask);
uint64_t fault_signal_mask_to_program(uint64_t mask);
/* Of a stand-in: whether it is the fault signal, which was sent while it was blocked. *info is what it was, then. */
bool fault_signal_was_held(siginfo_t *info);

/*
 * The rules for code reachable from the handler (tests/unit/handler_rules_test.sh checks what they call): no malloc, no stdio, no
 * lock that code outside the engine can hold, no thread-local storage but the initial-exec kind, errno kept, all memory
 * reserved before.
 */

#endif
