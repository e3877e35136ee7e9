/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that are waited for. Their sets are no masks: one that has SIGBUS waits for what is never pending (sigmask.c). */
#include "held.h"
#include "identity.h"
#include "real.h"
#include "sigmask.h"

#define SET READS(set, KERNEL_SET)

WRAPPER int sigwait(const sigset_t *set, int *sig)
{
	RETURN_HELD(REAL(sigwait)(set, sig), SET);
}

WRAPPER int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	RETURN_HELD(REAL(sigwaitinfo)(set, info), SET, FILLS(info, sizeof *info));
}

WRAPPER int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	RETURN_HELD(REAL(sigtimedwait)(set, info, timeout), SET, FILLS(info, sizeof *info), READS(timeout, sizeof *timeout));
}

WRAPPER int sigpending(sigset_t *set)
{
	RETURN_HELD(REAL(sigpending)(set), FILLS(set, KERNEL_SET));
}

WRAPPER int signalfd(int fd, const sigset_t *set, int flags)
{
	RETURN_HELD(identity_opened(REAL(signalfd)(fd, set, flags)), SET);
}
