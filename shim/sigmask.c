/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS is never blocked: a fault that meets a blocked SIGBUS kills. Calls that set masks give the kernel all but
 * SIGBUS; that the program wanted it blocked is a bit of the thread, told back in old masks. It is so from the start,
 * since a thread may block everything long before the first mapping.
 *
 * A SIGBUS that is sent to a thread which has it blocked is kept here, and sent
 * again when the thread unblocks it, or taken by sigwait() and its kin.
 *
 * What differs from a mask of the kernel's:
 *   - one that is sent to the process may be kept by a thread that has it blocked, where another would take it
 *   - a new thread, and a program after exec, start with SIGBUS unblocked
 *   - setcontext() and siglongjmp() do not bring the bit back
 * Those that wait in sigwait() and its kin get theirs from the kernel.
 */
#include "sigmask.h"

#include <errno.h>
#include <sys/syscall.h>

#include "held.h"
#include "mmu/sigbus.h"
#include "peek.h"
#include "real.h"
#include "util/sys.h"

#define OF_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))

OF_THREAD volatile bool blocked; /* volatile: these are for the handler too */
OF_THREAD volatile bool is_pending;
OF_THREAD siginfo_t pending;

bool sigmask_has_sigbus(void)
{
	return blocked;
}

/* Called by the handler. One at a time, as of all signals that are not of the real-time kind. */
static void keep_pending(const siginfo_t *info)
{
	if (is_pending)
		return;
	pending = *info;
	is_pending = true;
}

__attribute__((constructor)) static void at_start(void)
{
	sigbus_set_mask(sigmask_has_sigbus, keep_pending);
}

bool sigmask_pending(void)
{
	return is_pending;
}

bool sigmask_take_pending(const sigset_t *set, siginfo_t *info)
{
	if (!is_pending || sigismember(set, SIGBUS) != 1)
		return false;
	if (info)
		*info = pending;
	is_pending = false;
	return true;
}

/* It comes before the call returns, as by sigprocmask(2). */
static void set_blocked(bool yes)
{
	blocked = yes;
	if (yes || !is_pending)
		return;
	is_pending = false;
	sys_call(SYS_rt_tgsigqueueinfo, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), sys_gettid(), SIGBUS, (long)&pending, 0, 0);
}

/* ---- sigprocmask ---- */

static void change_bit(int how, bool in_set)
{
	if (how == SIG_SETMASK)
		set_blocked(in_set);
	else if (in_set)
		set_blocked(how == SIG_BLOCK);
}

static int call_real(mask_fn real, int how, const sigset_t *set, sigset_t *old)
{
	RETURN_HELD(real(how, set, old), FILLS(old, KERNEL_SET));
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
	err = call_real(real, how, set ? &copy : NULL, old);
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
	sigemptyset(copy);
	if (!set || !peek(copy, set, KERNEL_SET))
		return set;
	sigdelset(copy, SIGBUS);
	return copy;
}

WRAPPER int sigsuspend(const sigset_t *set)
{
	bool was = blocked;
	sigset_t copy;

	if (!is_pending || sigismember(set, SIGBUS))
		return REAL(sigsuspend)(sigmask_without_sigbus(set, &copy));
	set_blocked(false); /* which is what would be waited for */
	blocked = was;
	errno = EINTR;
	return -1;
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

	set_blocked(blocked || (mask & OLD_SIGBUS));
	return old;
}

WRAPPER int sigsetmask(int mask)
{
	int old = REAL(sigsetmask)(mask & ~OLD_SIGBUS) | (blocked ? OLD_SIGBUS : 0);

	set_blocked(mask & OLD_SIGBUS);
	return old;
}
