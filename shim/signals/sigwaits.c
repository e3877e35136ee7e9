/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that are waited for, or asked for. A SIGBUS that was sent while it was blocked is pending as its stand-in (sigmask.c). */
#include <errno.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "files/identity.h"
#include "mmu/fault_signal.h"
#include "raw_signals.h"
#include "sigmask.h"
#include "util/sys.h"

#define SET READS(set, KERNEL_SET)
#define TIMEOUT READS(timeout, sizeof *timeout)

/* What is waited for: SIGBUS, which another thread's handler may not have seen yet, and its stand-in, which is not waited for by itself. */
static const sigset_t *to_wait(const sigset_t *set, sigset_t *copy)
{
	sigemptyset(copy);
	if (!set || !peek(copy, set, KERNEL_SET))
		return set;
	if (sigismember(copy, fault_signal()) == 1)
		sigaddset(copy, FAULT_STAND_IN);
	else
		sigdelset(copy, FAULT_STAND_IN);
	return copy;
}

/* What has come is told as it was sent. `at` is where the program wants it, or NULL; the result is the signal, or -1 with errno. */
static int tell(int result, siginfo_t *info, siginfo_t *at)
{
	if (result < 0)
		return result;
	if (result == FAULT_STAND_IN && fault_signal_was_held(info))
		result = fault_signal();
	if (at && file_io_copy_out(at, info, sizeof *info))
		return (int)shim_result(-EFAULT);
	return result;
}

WRAPPER int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	siginfo_t came;
	sigset_t copy;

	set = to_wait(set, &copy);
	RETURN_HELD(tell(REAL(sigtimedwait)(set, &came, timeout), &came, info), SET, TIMEOUT);
}

WRAPPER int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	return sigtimedwait(set, info, NULL);
}

WRAPPER int sigwait(const sigset_t *set, int *sig)
{
	int saved = errno, came, err;

	do
		came = sigtimedwait(set, NULL, NULL);
	while (came < 0 && errno == EINTR);
	err = came < 0 ? errno : 0;
	errno = saved;
	if (!err)
		*sig = came;
	return err;
}

static int tell_pending(int result, sigset_t *set)
{
	if (!result)
		sigmask_to_program(set);
	return result;
}

WRAPPER int sigpending(sigset_t *set)
{
	RETURN_HELD(tell_pending(REAL(sigpending)(set), set), FILLS(set, KERNEL_SET));
}

WRAPPER int signalfd(int fd, const sigset_t *set, int flags)
{
	RETURN_HELD(identity_opened(REAL(signalfd)(fd, set, flags)), SET);
}

/* ---- By number: libc's sets begin with the kernel's ---- */

long raw_sigtimedwait(const uint64_t *set, siginfo_t *info, const struct timespec *timeout, size_t size)
{
	const sigset_t *wanted = (const sigset_t *)set;
	siginfo_t came;
	sigset_t copy;

	if (size == KERNEL_SET)
		wanted = to_wait(wanted, &copy);
	RETURN_HELD(tell((int)REAL(syscall)(SYS_rt_sigtimedwait, wanted, &came, timeout, size), &came, info), SET, TIMEOUT);
}

long raw_sigpending(uint64_t *set, size_t size)
{
	sigset_t told;
	long err;

	sigemptyset(&told);
	err = sys_call(SYS_rt_sigpending, (long)&told, (long)size, 0, 0, 0, 0);
	if (!err)
		sigmask_to_program(&told);
	return shim_result(err ? err : file_io_copy_out(set, &told, size));
}
