/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault signal, which says that a page is missing: SIGBUS with userfaultfd, SIGSEGV without (sigsegv.c). Its handler serves faults and passes
 * on what is not ours as the kernel would have delivered it.
 *
 * The program's own disposition is virtual when the shim asks for that (fault_signal_set_action): the kernel only ever sees
 * our handler. Without the shim the disposition found at start is the one passed on to.
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
/* The program's disposition for the fault signal; either may be NULL. */
void fault_signal_set_action(const struct sigaction *act, struct sigaction *old);
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
/*
 * The program's view of masks, by the shim: whether this thread has the fault signal blocked, and where one goes that is sent to it meanwhile, by another process
 * or by the program. Without it the fault signal is never blocked.
 */
void fault_signal_set_mask(bool (*query)(void), void (*keep)(const siginfo_t *info));

/*
 * The rules for code reachable from the handler (tests/unit/handler_rules_test.sh checks what they call): no malloc, no stdio, no
 * lock that code outside the engine can hold, no thread-local storage but the initial-exec kind, errno kept, all memory
 * reserved before.
 */

#endif
