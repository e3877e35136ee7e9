/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispositions. For SIGBUS, once the engine's handler is in place, they are the program's view only: the handler
 * passes on what is not a fault of ours. Other signals' handlers never run with SIGBUS blocked (sigmask.c), whatever
 * their sa_mask: it has the stand-in then. So are those of the stand-in.
 */
#include "signals.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/real.h"
#include "mmu/fault_signal.h"
#include "sigmask.h"

static _Atomic uint64_t have_stand_in; /* bit per signal whose sa_mask has the stand-in as far as the program knows */

bool signals_virtual(int sig)
{
	return (sig == fault_signal() || sig == FAULT_STAND_IN) && fault_signal_installed();
}

bool signals_swap_stand_in(int sig, bool set, bool change)
{
	uint64_t bit = 1ULL << (sig - 1);

	if (!change)
		return atomic_load(&have_stand_in) & bit;
	return (set ? atomic_fetch_or(&have_stand_in, bit) : atomic_fetch_and(&have_stand_in, ~bit)) & bit;
}

typedef int (*sigaction_fn)(int sig, const struct sigaction *act, struct sigaction *old);

/* The arguments may be the same object, and are read before anything is written. */
static int set_action(sigaction_fn real, int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction a;
	bool has = false;
	int err;

	if (signals_virtual(sig)) {
		if (act)
			a = *act;
		fault_signal_set_action(sig, act ? &a : NULL, old);
		return 0;
	}
	if (sig < 1 || sig > 64 || sig == fault_signal())
		return real(sig, act, old);
	if (act) {
		a = *act;
		has = sigismember(&a.sa_mask, FAULT_STAND_IN) == 1;
		sigmask_to_kernel(&a.sa_mask);
	}
	err = real(sig, act ? &a : NULL, old);
	if (err)
		return err;
	has = signals_swap_stand_in(sig, has, act);
	if (old) {
		sigmask_to_program(&old->sa_mask);
		if (has)
			sigaddset(&old->sa_mask, FAULT_STAND_IN);
	}
	return 0;
}

WRAPPER int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(REAL(sigaction), sig, act, old);
}

WRAPPER int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return set_action(REAL(sigaction), sig, act, old);
}

/* ---- signal() in its kinds ---- */

static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	fault_signal_set_action(sig, &act, &old);
	return old.sa_handler;
}

WRAPPER sighandler_t signal(int sig, sighandler_t handler)
{
	return signals_virtual(sig) ? set_handler(sig, handler, SA_RESTART) : REAL(signal)(sig, handler);
}

WRAPPER sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

WRAPPER sighandler_t ssignal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

WRAPPER sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return signals_virtual(sig) ? set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER) : REAL(sysv_signal)(sig, handler);
}

WRAPPER sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return sysv_signal(sig, handler);
}

WRAPPER int sigignore(int sig)
{
	if (!signals_virtual(sig))
		return REAL(sigignore)(sig);
	set_handler(sig, SIG_IGN, 0);
	return 0;
}

WRAPPER int siginterrupt(int sig, int interrupt)
{
	struct sigaction act;

	if (!signals_virtual(sig))
		return REAL(siginterrupt)(sig, interrupt);
	fault_signal_set_action(sig, NULL, &act);
	act.sa_flags = interrupt ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
	fault_signal_set_action(sig, &act, NULL);
	return 0;
}

/* sigset(3): the mask changes with the disposition, and SIG_HOLD is told when the signal was blocked. */
WRAPPER sighandler_t sigset(int sig, sighandler_t handler)
{
	struct sigaction old;
	sigset_t set, before;

	if (sig != fault_signal() && sig != FAULT_STAND_IN)
		return REAL(sigset)(sig, handler);
	sigemptyset(&set);
	sigaddset(&set, sig);
	if (sigaction(sig, NULL, &old))
		return SIG_ERR;
	sigprocmask(handler == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &set, &before);
	if (handler != SIG_HOLD && sigaction(sig, &(struct sigaction){.sa_handler = handler}, NULL))
		return SIG_ERR;
	return sigismember(&before, sig) == 1 ? SIG_HOLD : old.sa_handler;
}
