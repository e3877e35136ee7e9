/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SIGBUS handler. It serves faults and passes on what is not ours as the kernel would have delivered it.
 *
 * The program's own disposition is virtual when the shim asks for that (sigbus_set_action): the kernel only ever sees
 * our handler. Without the shim the disposition found at start is the one passed on to.
 */
#ifndef FL_MMU_SIGBUS_H
#define FL_MMU_SIGBUS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Installs the handler; 0 or -errno. Again after a fork or when a program replaced it. */
int sigbus_install(void);
/* Puts back the disposition that was there. */
void sigbus_restore(void);
/* The program's disposition for SIGBUS; either may be NULL. */
void sigbus_set_action(const struct sigaction *act, struct sigaction *old);
bool sigbus_installed(void);
/* In a forked child: nobody is changing the disposition. */
void sigbus_fork_child(void);
/* From now on pages may be poisoned for accesses to fail (uffd_thread.c). */
void sigbus_expect_poison(bool yes);
/*
 * Raises SIGBUS for a failed access in another thread of this process, as if the kernel had: only a process's first thread
 * may queue a signal with a si_code of the kernel's, so ours is a private one, which the handler translates.
 */
void sigbus_raise_in(int tid, uint64_t addr);
/*
 * The program's view of masks, by the shim: whether this thread has SIGBUS blocked, and where one goes that is sent to it meanwhile, by another process
 * or by the program. Without it SIGBUS is never blocked.
 */
void sigbus_set_mask(bool (*query)(void), void (*keep)(const siginfo_t *info));

/*
 * The rules for code reachable from the handler (tests/unit/handler_rules_test.sh checks what they call): no malloc, no stdio, no
 * lock that code outside the engine can hold, no thread-local storage but the initial-exec kind, errno kept, all memory
 * reserved before.
 */

#endif
