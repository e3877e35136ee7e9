/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that fill or read a struct of a fixed size, and have no path: what the kernel knows of files, time and processes. */
#include <errno.h>

#include "base/real.h"
#include "held.h"
#include "util/fd.h"

/* ---- Files ---- */

WRAPPER int fstat(int fd, struct stat *st)
{
	if (unlikely(fd_is_ours(fd)))
		return (int)shim_result(-EBADF);
	RETURN_HELD(REAL(fstat)(fd, st), FILLS(st, sizeof *st));
}

WRAPPER int fstat64(int fd, struct stat64 *st)
{
	if (unlikely(fd_is_ours(fd)))
		return (int)shim_result(-EBADF);
	RETURN_HELD(REAL(fstat64)(fd, st), FILLS(st, sizeof *st));
}

WRAPPER int fstatfs(int fd, struct statfs *st)
{
	RETURN_HELD(REAL(fstatfs)(fd, st), FILLS(st, sizeof *st));
}

WRAPPER int fstatfs64(int fd, struct statfs64 *st)
{
	RETURN_HELD(REAL(fstatfs64)(fd, st), FILLS(st, sizeof *st));
}

WRAPPER ssize_t getdents64(int fd, void *buf, size_t len)
{
	if (!REAL(getdents64)) {
		errno = ENOSYS;
		return -1;
	}
	RETURN_HELD(REAL(getdents64)(fd, buf, len), FILLS(buf, len));
}

WRAPPER ssize_t getdirentries(int fd, char *restrict buf, size_t len, off_t *restrict base)
{
	RETURN_HELD(REAL(getdirentries)(fd, buf, len, base), FILLS(buf, len));
}

WRAPPER ssize_t getdirentries64(int fd, char *restrict buf, size_t len, off64_t *restrict base)
{
	RETURN_HELD(REAL(getdirentries64)(fd, buf, len, base), FILLS(buf, len));
}

/* ---- Time ---- */

/* In the vDSO, and called often: a plain store, which faults as any other. */
static bool is_plain_clock(clockid_t id)
{
	return id == CLOCK_REALTIME || id == CLOCK_MONOTONIC;
}

WRAPPER int clock_gettime(clockid_t id, struct timespec *t)
{
	if (likely(is_plain_clock(id)))
		return REAL(clock_gettime)(id, t);
	RETURN_HELD(REAL(clock_gettime)(id, t), FILLS(t, sizeof *t));
}

WRAPPER int clock_getres(clockid_t id, struct timespec *t)
{
	RETURN_HELD(REAL(clock_getres)(id, t), FILLS(t, sizeof *t));
}

WRAPPER int nanosleep(const struct timespec *t, struct timespec *left)
{
	RETURN_HELD(REAL(nanosleep)(t, left), READS(t, sizeof *t), FILLS(left, sizeof *left));
}

WRAPPER int clock_nanosleep(clockid_t id, int flags, const struct timespec *t, struct timespec *left)
{
	RETURN_HELD_ERROR(REAL(clock_nanosleep)(id, flags, t, left), READS(t, sizeof *t), FILLS(left, sizeof *left));
}

WRAPPER clock_t times(struct tms *t)
{
	RETURN_HELD(REAL(times)(t), FILLS(t, sizeof *t));
}

WRAPPER int timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	RETURN_HELD(REAL(timerfd_settime)(fd, flags, t, old), READS(t, sizeof *t), FILLS(old, sizeof *old));
}

WRAPPER int timerfd_gettime(int fd, struct itimerspec *t)
{
	RETURN_HELD(REAL(timerfd_gettime)(fd, t), FILLS(t, sizeof *t));
}

/* ---- The machine and its processes ---- */

WRAPPER int uname(struct utsname *u)
{
	RETURN_HELD(REAL(uname)(u), FILLS(u, sizeof *u));
}

WRAPPER int sysinfo(struct sysinfo *s)
{
	RETURN_HELD(REAL(sysinfo)(s), FILLS(s, sizeof *s));
}

WRAPPER int getrusage(__rusage_who_t who, struct rusage *u)
{
	RETURN_HELD(REAL(getrusage)(who, u), FILLS(u, sizeof *u));
}

WRAPPER int getrlimit(__rlimit_resource_t what, struct rlimit *l)
{
	RETURN_HELD(REAL(getrlimit)(what, l), FILLS(l, sizeof *l));
}

WRAPPER int setrlimit(__rlimit_resource_t what, const struct rlimit *l)
{
	RETURN_HELD(REAL(setrlimit)(what, l), READS(l, sizeof *l));
}

WRAPPER int getrlimit64(__rlimit_resource_t what, struct rlimit64 *l)
{
	RETURN_HELD(REAL(getrlimit64)(what, l), FILLS(l, sizeof *l));
}

WRAPPER int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *l)
{
	RETURN_HELD(REAL(setrlimit64)(what, l), READS(l, sizeof *l));
}

WRAPPER int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *l, struct rlimit *old)
{
	RETURN_HELD(REAL(prlimit)(pid, what, l, old), READS(l, sizeof *l), FILLS(old, sizeof *old));
}

WRAPPER int prlimit64(pid_t pid, enum __rlimit_resource what, const struct rlimit64 *l, struct rlimit64 *old)
{
	RETURN_HELD(REAL(prlimit64)(pid, what, l, old), READS(l, sizeof *l), FILLS(old, sizeof *old));
}

WRAPPER int getgroups(int n, gid_t groups[])
{
	RETURN_HELD(REAL(getgroups)(n, groups), FILLS(groups, n > 0 ? (size_t)n * sizeof *groups : 0));
}

WRAPPER int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	RETURN_HELD(REAL(sched_getaffinity)(pid, size, set), FILLS(set, size));
}

WRAPPER int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
	RETURN_HELD(REAL(sched_setaffinity)(pid, size, set), READS(set, size));
}

WRAPPER pid_t wait3(int *status, int options, struct rusage *u)
{
	RETURN_HELD(REAL(wait3)(status, options, u), FILLS(status, sizeof *status), FILLS(u, sizeof *u));
}

WRAPPER pid_t wait4(pid_t pid, int *status, int options, struct rusage *u)
{
	RETURN_HELD(REAL(wait4)(pid, status, options, u), FILLS(status, sizeof *status), FILLS(u, sizeof *u));
}

WRAPPER pid_t waitpid(pid_t pid, int *status, int options)
{
	RETURN_HELD(REAL(waitpid)(pid, status, options), FILLS(status, sizeof *status));
}

WRAPPER pid_t wait(int *status)
{
	RETURN_HELD(REAL(wait)(status), FILLS(status, sizeof *status));
}

WRAPPER int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	RETURN_HELD(REAL(waitid)(type, id, info, options), FILLS(info, sizeof *info));
}
