/* SPDX-License-Identifier: Apache-2.0 */
#include "raw_signals.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "mmu/fault_signal.h"
#include "sigmask.h"
#include "signals.h"
#include "util/sys.h"

#define SET_SIZE sizeof(uint64_t)

/* libc's sets begin with the kernel's. */
static sigset_t to_set(uint64_t bits)
{
	sigset_t set;

	sigemptyset(&set);
	sys_set_sigword(&set, bits);
	return set;
}

static uint64_t to_kernel(uint64_t bits)
{
	sigset_t set = to_set(bits);

	sigmask_to_kernel(&set);
	return sys_sigword(&set);
}

/* ---- Dispositions. The restorer is the caller's, so libc's sigaction() is not for signals that the kernel delivers. ---- */

static int virtual_action(int sig, const struct raw_action *act, struct raw_action *old)
{
	struct sigaction a = {0}, was;
	struct raw_action told;

	if (act) {
		a.sa_sigaction = (void (*)(int, siginfo_t *, void *))act->handler;
		a.sa_flags = (int)act->flags;
		a.sa_mask = to_set(act->mask);
	}
	sigaction(sig, act ? &a : NULL, &was);
	told = (struct raw_action){.handler = (void *)was.sa_sigaction, .flags = (uint32_t)was.sa_flags, .mask = sys_sigword(&was.sa_mask)};
	return old ? file_io_copy_out(old, &told, sizeof told) : 0;
}

static long change_action(int sig, const struct raw_action *act, struct raw_action *old, size_t size)
{
	struct raw_action a = {0};
	bool has;
	long err;

	if (act && !peek(&a, act, sizeof a))
		return shim_result(-EFAULT);
	if (size == SET_SIZE && signals_virtual(sig))
		return shim_result(virtual_action(sig, act ? &a : NULL, old));
	if (size != SET_SIZE || sig < 1 || sig > 64 || sig == fault_signal())
		return shim_result(sys_call(SYS_rt_sigaction, sig, (long)act, (long)old, (long)size, 0, 0));
	has = a.mask & SYS_SIGBIT(FAULT_STAND_IN);
	a.mask = to_kernel(a.mask);
	err = sys_call(SYS_rt_sigaction, sig, act ? (long)&a : 0, (long)old, (long)size, 0, 0);
	if (err)
		return shim_result(err);
	has = signals_swap_stand_in(sig, has, act);
	if (old)
		old->mask = fault_signal_mask_to_program(old->mask) | (has ? SYS_SIGBIT(FAULT_STAND_IN) : 0);
	return 0;
}

long raw_sigaction(int sig, const struct raw_action *act, struct raw_action *old, size_t size)
{
	RETURN_HELD(change_action(sig, act, old, size), FILLS(old, sizeof *old));
}

/* ---- Masks ---- */

/* Not libc's, which leaves out the signals that it uses itself. */
static int kernel_mask(int how, const sigset_t *set, sigset_t *old)
{
	return (int)shim_result(sys_call(SYS_rt_sigprocmask, how, (long)set, (long)old, SET_SIZE, 0, 0));
}

long raw_sigprocmask(int how, const uint64_t *set, uint64_t *old, size_t size)
{
	uint64_t bits = 0;
	sigset_t s;

	if (size != SET_SIZE) {
		errno = EINVAL;
		return -1;
	}
	if (set && !peek(&bits, set, sizeof bits))
		return shim_result(-EFAULT);
	s = to_set(bits);
	return sigmask_change(kernel_mask, how, set ? &s : NULL, (sigset_t *)old); /* of which it fills the kernel's part */
}

/* The call with a mask, at index `at` of its arguments, as the kernel is to have it. */
static long call_masked(long nr, const long args[6], int at, size_t size)
{
	const sigset_t *set = (const sigset_t *)args[at];
	sigset_t copy;
	long v[6];

	memcpy(v, args, sizeof v);
	if (size == SET_SIZE)
		set = sigmask_of_call(set, &copy);
	v[at] = (long)set;
	return CALL_MASKED(set, REAL(syscall)(nr, v[0], v[1], v[2], v[3], v[4], v[5]));
}

long raw_sigsuspend(const uint64_t *set, size_t size)
{
	return call_masked(SYS_rt_sigsuspend, (long[6]){(long)set, (long)size}, 0, size);
}

long raw_ppoll(struct pollfd *fds, size_t n, struct timespec *timeout, const uint64_t *set, size_t size)
{
	long v[6] = {(long)fds, (long)n, (long)timeout, (long)set, (long)size};

	RETURN_HELD(call_masked(SYS_ppoll, v, 3, size), FILLS(fds, n * sizeof *fds), FILLS(timeout, sizeof *timeout));
}

long raw_epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const uint64_t *set, size_t size)
{
	long v[6] = {fd, (long)events, max, timeout, (long)set, (long)size};

	RETURN_HELD(call_masked(SYS_epoll_pwait, v, 4, size), FILLS(events, max > 0 ? (size_t)max * sizeof *events : 0));
}

long raw_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout, const uint64_t *set, size_t size)
{
	long v[6] = {fd, (long)events, max, (long)timeout, (long)set, (long)size};

	RETURN_HELD(call_masked(NR_EPOLL_PWAIT2, v, 4, size), FILLS(events, max > 0 ? (size_t)max * sizeof *events : 0),
		    READS(timeout, sizeof *timeout));
}

/* The kernel reads and writes whole words. */
static size_t set_bytes(int n)
{
	return n > 0 ? ((size_t)n + 63) / 64 * 8 : 0;
}

static long call_pselect6(const long args[6])
{
	const struct raw_set *mask = (const struct raw_set *)args[5];
	const sigset_t *set = NULL;
	struct raw_set copy;
	sigset_t space;
	long v[6];

	memcpy(v, args, sizeof v);
	if (mask && peek(&copy, mask, sizeof copy) && copy.size == SET_SIZE) {
		set = sigmask_of_call((const sigset_t *)copy.set, &space);
		copy.set = (const uint64_t *)set;
		v[5] = (long)&copy;
	}
	return CALL_MASKED(set, REAL(syscall)(SYS_pselect6, v[0], v[1], v[2], v[3], v[4], v[5]));
}

long raw_pselect6(int n, fd_set *sets[3], struct timespec *timeout, const struct raw_set *mask)
{
	long v[6] = {n, (long)sets[0], (long)sets[1], (long)sets[2], (long)timeout, (long)mask};

	RETURN_HELD(call_pselect6(v), FILLS(sets[0], set_bytes(n)), FILLS(sets[1], set_bytes(n)), FILLS(sets[2], set_bytes(n)),
		    FILLS(timeout, sizeof *timeout));
}
