/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that are waited for, or asked for. A SIGBUS that is kept for the thread (sigmask.c) comes before what the kernel has. */
#include <errno.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "files/identity.h"
#include "mmu/fault_signal.h"
#include "raw_signals.h"
#include "sigmask.h"

#define SET READS(set, KERNEL_SET)
#define INFO FILLS(info, sizeof *info)
#define TIMEOUT READS(timeout, sizeof *timeout)

/* SIGBUS when the thread has it kept, and it is waited for; 0 when not; -1 with errno. */
static int take_kept(const sigset_t *set, siginfo_t *info)
{
	sigset_t copy;
	siginfo_t kept;

	sigemptyset(&copy);
	if (likely(!sigmask_pending()) || !peek(&copy, set, KERNEL_SET) || !sigmask_take_pending(&copy, &kept))
		return 0;
	return info && file_io_copy_out(info, &kept, sizeof kept) ? (int)shim_result(-EFAULT) : fault_signal();
}

WRAPPER int sigwait(const sigset_t *set, int *sig)
{
	int kept = take_kept(set, NULL);

	if (kept) {
		*sig = kept;
		return 0;
	}
	RETURN_HELD_ERROR(REAL(sigwait)(set, sig), SET);
}

WRAPPER int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	int kept = take_kept(set, info);

	if (kept)
		return kept;
	RETURN_HELD(REAL(sigwaitinfo)(set, info), SET, INFO);
}

WRAPPER int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	int kept = take_kept(set, info);

	if (kept)
		return kept;
	RETURN_HELD(REAL(sigtimedwait)(set, info, timeout), SET, INFO, TIMEOUT);
}

/* Of what the kernel has filled. */
static int with_kept(int result, sigset_t *set)
{
	if (!result && sigmask_pending())
		sigaddset(set, fault_signal());
	return result;
}

WRAPPER int sigpending(sigset_t *set)
{
	RETURN_HELD(with_kept(REAL(sigpending)(set), set), FILLS(set, KERNEL_SET));
}

WRAPPER int signalfd(int fd, const sigset_t *set, int flags)
{
	RETURN_HELD(identity_opened(REAL(signalfd)(fd, set, flags)), SET);
}

/* ---- By number: libc's sets begin with the kernel's ---- */

long raw_sigtimedwait(const uint64_t *set, siginfo_t *info, const struct timespec *timeout, size_t size)
{
	int kept = size == KERNEL_SET ? take_kept((const sigset_t *)set, info) : 0;

	if (kept)
		return kept;
	RETURN_HELD(REAL(syscall)(SYS_rt_sigtimedwait, set, info, timeout, size), SET, INFO, TIMEOUT);
}

long raw_sigpending(uint64_t *set, size_t size)
{
	RETURN_HELD(with_kept((int)REAL(syscall)(SYS_rt_sigpending, set, size), size == KERNEL_SET ? (sigset_t *)set : &(sigset_t){0}),
		    FILLS(set, size));
}
