/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS is never blocked: a fault that meets a blocked SIGBUS kills. Calls that set masks give the kernel all but
 * SIGBUS; that the program wanted it blocked is a bit of the thread, told back in old masks. It is so from the start,
 * since a thread may block everything long before the first mapping.
 *
 * What differs from a mask of the kernel's:
 *   - a SIGBUS sent by kill() to a thread that has it blocked is delivered at once, not kept pending
 *   - a new thread, and a program after exec, start with SIGBUS unblocked
 *   - setcontext() and siglongjmp() do not bring the bit back
 * sigwait() and its kin change no mask and need nothing.
 */
#include "sigmask.h"

#include <errno.h>

#include "mmu/sigbus.h"
#include "real.h"

static _Thread_local bool blocked __attribute__((tls_model("initial-exec")));

bool sigmask_has_sigbus(void)
{
	return blocked;
}

__attribute__((constructor)) static void at_start(void)
{
	sigbus_set_blocked_query(sigmask_has_sigbus);
}

/* ---- sigprocmask ---- */

static void change_bit(int how, bool in_set)
{
	if (how == SIG_SETMASK)
		blocked = in_set;
	else if (in_set)
		blocked = how == SIG_BLOCK;
}

int sigmask_change(mask_fn real, int how, const sigset_t *set, sigset_t *old)
{
	bool was = blocked, in_set = false;
	sigset_t copy;
	int err;

	if (set) {
		copy = *set;
		in_set = sigismember(&copy, SIGBUS) == 1;
		sigdelset(&copy, SIGBUS);
	}
	err = real(how, set ? &copy : NULL, old);
	if (err)
		return err;
	if (set)
		change_bit(how, in_set);
	if (old && was)
		sigaddset(old, SIGBUS);
	return 0;
}

WRAPPER int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return sigmask_change(REAL(sigprocmask), how, set, old);
}

WRAPPER int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return sigmask_change(REAL(pthread_sigmask), how, set, old);
}

/* ---- Masks for the time of a call, and of handlers that run in it ---- */

const sigset_t *sigmask_without_sigbus(const sigset_t *set, sigset_t *copy)
{
	if (!set)
		return NULL;
	*copy = *set;
	sigdelset(copy, SIGBUS);
	return copy;
}

WRAPPER int sigsuspend(const sigset_t *set)
{
	sigset_t copy;

	return REAL(sigsuspend)(sigmask_without_sigbus(set, &copy));
}

/* The mask of a thread to be made. */
WRAPPER int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t copy;

	return REAL(pthread_attr_setsigmask_np)(attr, sigmask_without_sigbus(set, &copy));
}

/* ---- Older calls ---- */

static sigset_t only_sigbus(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	return set;
}

WRAPPER int sighold(int sig)
{
	sigset_t set = only_sigbus();

	return sig == SIGBUS ? sigprocmask(SIG_BLOCK, &set, NULL) : REAL(sighold)(sig);
}

WRAPPER int sigrelse(int sig)
{
	sigset_t set = only_sigbus();

	return sig == SIGBUS ? sigprocmask(SIG_UNBLOCK, &set, NULL) : REAL(sigrelse)(sig);
}

#define OLD_SIGBUS (1 << (SIGBUS - 1))

WRAPPER int sigblock(int mask)
{
	int old = REAL(sigblock)(mask & ~OLD_SIGBUS) | (blocked ? OLD_SIGBUS : 0);

	blocked |= mask & OLD_SIGBUS;
	return old;
}

WRAPPER int sigsetmask(int mask)
{
	int old = REAL(sigsetmask)(mask & ~OLD_SIGBUS) | (blocked ? OLD_SIGBUS : 0);

	blocked = mask & OLD_SIGBUS;
	return old;
}
