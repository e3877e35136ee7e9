/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault signal (mmu/fault_signal.h; called SIGBUS here, which it mostly is) is never blocked: a fault that meets a blocked one kills. Calls that set
 * masks give the kernel all but SIGBUS; that the program wanted it blocked is a bit of the thread, told back in old masks. It is so from the
 * start, since a thread may block everything long before the first mapping.
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
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "mmu/fault_signal.h"
#include "util/sys.h"

#define OF_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))

OF_THREAD volatile bool blocked; /* volatile: these are for the handler too */
OF_THREAD volatile bool is_pending;
OF_THREAD siginfo_t pending;

bool sigmask_blocks_faults(void)
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

/* Before there is a mask to change: which signal it will be, where that is known. */
__attribute__((constructor)) static void at_start(void)
{
	const char *faults = getenv("FAULTLINE_FAULTS");

	if (faults && !strcmp(faults, "sigsegv"))
		fault_signal_choose(SIGSEGV);
	fault_signal_set_mask(sigmask_blocks_faults, keep_pending);
}

bool sigmask_pending(void)
{
	return is_pending;
}

bool sigmask_take_pending(const sigset_t *set, siginfo_t *info)
{
	if (!is_pending || sigismember(set, fault_signal()) != 1)
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
	sys_call(SYS_rt_tgsigqueueinfo, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), sys_gettid(), fault_signal(), (long)&pending, 0, 0);
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
		in_set = sigismember(&copy, fault_signal()) == 1;
		sigdelset(&copy, fault_signal());
	}
	err = call_real(real, how, set ? &copy : NULL, old);
	if (err)
		return err;
	if (set)
		change_bit(how, in_set);
	if (old && was)
		sigaddset(old, fault_signal());
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

const sigset_t *sigmask_without_faults(const sigset_t *set, sigset_t *copy)
{
	sigemptyset(copy);
	if (!set || !peek(copy, set, KERNEL_SET))
		return set;
	sigdelset(copy, fault_signal());
	return copy;
}

WRAPPER int sigsuspend(const sigset_t *set)
{
	bool was = blocked;
	sigset_t copy;

	if (!is_pending || sigismember(set, fault_signal()))
		return REAL(sigsuspend)(sigmask_without_faults(set, &copy));
	set_blocked(false); /* which is what would be waited for */
	blocked = was;
	errno = EINTR;
	return -1;
}

/* The mask of a thread to be made. */
WRAPPER int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t copy;

	return REAL(pthread_attr_setsigmask_np)(attr, sigmask_without_faults(set, &copy));
}

/* ---- Older calls ---- */

static sigset_t only_fault_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, fault_signal());
	return set;
}

WRAPPER int sighold(int sig)
{
	sigset_t set = only_fault_signal();

	return sig == fault_signal() ? sigprocmask(SIG_BLOCK, &set, NULL) : REAL(sighold)(sig);
}

WRAPPER int sigrelse(int sig)
{
	sigset_t set = only_fault_signal();

	return sig == fault_signal() ? sigprocmask(SIG_UNBLOCK, &set, NULL) : REAL(sigrelse)(sig);
}

#define OLD_FAULTS (1 << (fault_signal() - 1))

WRAPPER int sigblock(int mask)
{
	int old = REAL(sigblock)(mask & ~OLD_FAULTS) | (blocked ? OLD_FAULTS : 0);

	set_blocked(blocked || (mask & OLD_FAULTS));
	return old;
}

WRAPPER int sigsetmask(int mask)
{
	int old = REAL(sigsetmask)(mask & ~OLD_FAULTS) | (blocked ? OLD_FAULTS : 0);

	set_blocked(mask & OLD_FAULTS);
	return old;
}
