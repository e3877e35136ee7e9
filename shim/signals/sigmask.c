/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault signal (mmu/fault_signal.h; called SIGBUS here, which it mostly is) is never blocked: a fault that meets a blocked one kills. Sets that go to
 * the kernel have its stand-in for it, SIGSTKFLT, and sets that come back have SIGBUS for that. It is so from the start, since a
 * thread may block everything long before the first mapping; the handler is there from the first set that has SIGBUS.
 *
 * A SIGBUS that is sent to a thread which has it blocked is pending as the stand-in: the handler sends it on.
 *
 * The stand-in itself is blocked with SIGBUS, and not without. Whether the program has asked for it, too, is only remembered to be told back.
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

OF_THREAD volatile bool has_stand_in; /* volatile: it is for handlers too */

/* From now on one may be sent that is to be pending. */
static void expect(void)
{
	if (unlikely(!fault_signal_installed()))
		fault_signal_install(fault_signal());
}

void sigmask_to_kernel(sigset_t *set)
{
	if (sigismember(set, fault_signal()) == 1)
		expect();
	sys_set_sigword(set, fault_signal_mask_to_kernel(sys_sigword(set)));
}

void sigmask_to_program(sigset_t *set)
{
	sys_set_sigword(set, fault_signal_mask_to_program(sys_sigword(set)));
}

void sigmask_let_faults_in(void)
{
	uint64_t mask = 0;

	sys_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, sizeof mask, 0, 0);
	if (mask & (SYS_SIGBIT(fault_signal()) | SYS_SIGBIT(FAULT_STAND_IN)))
		expect();
	if (mask & SYS_SIGBIT(fault_signal())) {
		has_stand_in = mask & SYS_SIGBIT(FAULT_STAND_IN);
		sys_sigmask(SIG_SETMASK, fault_signal_mask_to_kernel(mask));
	}
}

/* Before there is a mask to change: which signal it will be, where that is known. */
__attribute__((constructor)) static void at_start(void)
{
	const char *faults = getenv("FAULTLINE_FAULTS");

	if (faults && !strcmp(faults, "sigsegv"))
		fault_signal_choose(SIGSEGV);
	fault_signal_use_stand_in();
	sigmask_let_faults_in(); /* who has started the program may not be under Faultline */
}

/* ---- sigprocmask ---- */

static int call_real(mask_fn real, int how, const sigset_t *set, sigset_t *old)
{
	RETURN_HELD(real(how, set, old), FILLS(old, KERNEL_SET));
}

int sigmask_change(mask_fn real, int how, const sigset_t *set, sigset_t *old)
{
	bool was = has_stand_in, in_set = false;
	sigset_t copy;
	int err;

	if (set) {
		copy = *set;
		in_set = sigismember(&copy, FAULT_STAND_IN) == 1;
		sigmask_to_kernel(&copy);
	}
	err = call_real(real, how, set ? &copy : NULL, old);
	if (err)
		return err;
	if (set && (in_set || how == SIG_SETMASK))
		has_stand_in = in_set && how != SIG_UNBLOCK;
	if (old) {
		sigmask_to_program(old);
		if (was)
			sigaddset(old, FAULT_STAND_IN);
	}
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

const sigset_t *sigmask_of_call(const sigset_t *set, sigset_t *copy)
{
	sigemptyset(copy);
	if (!set || !peek(copy, set, KERNEL_SET))
		return set;
	sigmask_to_kernel(copy);
	return copy;
}

/*
 * One that is sent during such a call finds the thread's own mask, in which it is blocked, and becomes pending; the call ends with EINTR, and is made again for
 * it to come.
 */
bool sigmask_call_again(const sigset_t *set)
{
	sigset_t pending;

	if (likely(errno != EINTR) || !set || sigismember(set, FAULT_STAND_IN) == 1)
		return false;
	return !sys_call(SYS_rt_sigpending, (long)&pending, KERNEL_SET, 0, 0, 0, 0) && sigismember(&pending, FAULT_STAND_IN) == 1;
}

WRAPPER int sigsuspend(const sigset_t *set)
{
	sigset_t copy;

	set = sigmask_of_call(set, &copy);
	do
		REAL(sigsuspend)(set);
	while (sigmask_call_again(set));
	return -1;
}

/* The mask of a thread to be made. */
WRAPPER int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t copy;

	return REAL(pthread_attr_setsigmask_np)(attr, sigmask_of_call(set, &copy));
}

WRAPPER int pthread_attr_getsigmask_np(const pthread_attr_t *attr, sigset_t *set)
{
	int err = REAL(pthread_attr_getsigmask_np)(attr, set);

	if (!err)
		sigmask_to_program(set);
	return err;
}

/* ---- Older calls ---- */

static sigset_t only(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return set;
}

static bool is_ours(int sig)
{
	return sig == fault_signal() || sig == FAULT_STAND_IN;
}

WRAPPER int sighold(int sig)
{
	sigset_t set;

	if (!is_ours(sig))
		return REAL(sighold)(sig);
	set = only(sig);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

WRAPPER int sigrelse(int sig)
{
	sigset_t set;

	if (!is_ours(sig))
		return REAL(sigrelse)(sig);
	set = only(sig);
	return sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Sets that are an int. */
static sigset_t to_set(int mask)
{
	sigset_t set;

	sigemptyset(&set);
	sys_set_sigword(&set, (uint32_t)mask);
	return set;
}

static int change_mask(int how, int mask)
{
	sigset_t set = to_set(mask), old;

	return sigprocmask(how, &set, &old) ? -1 : (int)sys_sigword(&old);
}

WRAPPER int sigblock(int mask)
{
	return change_mask(SIG_BLOCK, mask);
}

WRAPPER int sigsetmask(int mask)
{
	return change_mask(SIG_SETMASK, mask);
}

/* As in BSD, by a mask; and of one signal, as X/Open has it, which is what the name stands for in C here. */
WRAPPER int sigpause_by_mask(int mask) __asm__("sigpause");
WRAPPER int sigpause_by_mask(int mask)
{
	sigset_t set = to_set(mask);

	return sigsuspend(&set);
}

WRAPPER int sigpause(int sig)
{
	sigset_t set;

	if (sigprocmask(SIG_BLOCK, NULL, &set) || sigdelset(&set, sig))
		return -1;
	return sigsuspend(&set);
}

WRAPPER int __sigpause(int sig_or_mask, int is_sig)
{
	return is_sig ? sigpause(sig_or_mask) : sigpause_by_mask(sig_or_mask);
}
