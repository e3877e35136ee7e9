/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that libc has for its calls besides those of the manual pages, and that programs can be linked with: by headers of an earlier libc, as stat(2) was before glibc
 * 2.33, or by hand. Each is as the call whose wrapper is elsewhere. libc itself does not come by here.
 */
#include <errno.h>
#include <stdarg.h>

#include "base/real.h"

/* Those that no header declares. */
ssize_t __read(int fd, void *buf, size_t len);
ssize_t __write(int fd, const void *buf, size_t len);
ssize_t __pread64(int fd, void *buf, size_t len, off64_t off);
ssize_t __pwrite64(int fd, const void *buf, size_t len, off64_t off);
off_t __lseek(int fd, off_t off, int whence);
int __open(const char *path, int flags, ...);
int __open64(const char *path, int flags, ...);
int __fcntl(int fd, int cmd, ...);
int __dup2(int fd, int to);
int __pipe(int fds[2]);
int __poll(struct pollfd *fds, nfds_t n, int timeout);
int __select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout);
ssize_t __send(int fd, const void *buf, size_t len, int flags);
int __connect(int fd, const struct sockaddr *address, socklen_t len);
int __statfs(const char *path, struct statfs *st);
int __nanosleep(const struct timespec *time, struct timespec *left);
int __sigsuspend(const sigset_t *set);
pid_t __wait(int *status);
pid_t __waitpid(pid_t pid, int *status, int flags);
int __sched_getparam(pid_t pid, struct sched_param *param);
int __sched_setscheduler(pid_t pid, int policy, const struct sched_param *param);
pid_t __fork(void);
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);
int __fxstat(int version, int fd, struct stat *st);
int __fxstat64(int version, int fd, struct stat64 *st);
int __fxstatat(int version, int dir, const char *path, struct stat *st, int flags);
int __fxstatat64(int version, int dir, const char *path, struct stat64 *st, int flags);
int __xmknod(int version, const char *path, mode_t mode, dev_t *dev);
int __xmknodat(int version, int dir, const char *path, mode_t mode, dev_t *dev);

/* ---- Files ---- */

WRAPPER ssize_t __read(int fd, void *buf, size_t len)
{
	return read(fd, buf, len);
}

WRAPPER ssize_t __write(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len);
}

WRAPPER ssize_t __pread64(int fd, void *buf, size_t len, off64_t off)
{
	return pread64(fd, buf, len, off);
}

WRAPPER ssize_t __pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	return pwrite64(fd, buf, len, off);
}

WRAPPER off_t __lseek(int fd, off_t off, int whence)
{
	return lseek(fd, off, whence);
}

/* The argument behind the last that has a name: there or not, a register is read. */
#define REST(type, rest, last)           \
	do {                             \
		va_list ap;              \
                                         \
		va_start(ap, last);      \
		rest = va_arg(ap, type); \
		va_end(ap);              \
	} while (0)

WRAPPER int __open(const char *path, int flags, ...)
{
	mode_t mode;

	REST(mode_t, mode, flags);
	return open(path, flags, mode);
}

WRAPPER int __open64(const char *path, int flags, ...)
{
	mode_t mode;

	REST(mode_t, mode, flags);
	return open64(path, flags, mode);
}

WRAPPER int __fcntl(int fd, int cmd, ...)
{
	void *arg;

	REST(void *, arg, cmd);
	return fcntl(fd, cmd, arg);
}

WRAPPER int __dup2(int fd, int to)
{
	return dup2(fd, to);
}

WRAPPER int __pipe(int fds[2])
{
	return pipe(fds);
}

WRAPPER int __statfs(const char *path, struct statfs *st)
{
	return statfs(path, st);
}

/* ---- With a version of the struct, or of the device's number ---- */

#define STAT_KERNEL 0
#define STAT_LINUX 1
#define MKNOD_LINUX 0

static int no_version(void)
{
	errno = EINVAL;
	return -1;
}

#define RETURN_STAT(version, call) return (version) == STAT_KERNEL || (version) == STAT_LINUX ? (call) : no_version()

WRAPPER int __xstat(int version, const char *path, struct stat *st)
{
	RETURN_STAT(version, stat(path, st));
}

WRAPPER int __xstat64(int version, const char *path, struct stat64 *st)
{
	RETURN_STAT(version, stat64(path, st));
}

WRAPPER int __lxstat(int version, const char *path, struct stat *st)
{
	RETURN_STAT(version, lstat(path, st));
}

WRAPPER int __lxstat64(int version, const char *path, struct stat64 *st)
{
	RETURN_STAT(version, lstat64(path, st));
}

WRAPPER int __fxstat(int version, int fd, struct stat *st)
{
	RETURN_STAT(version, fstat(fd, st));
}

WRAPPER int __fxstat64(int version, int fd, struct stat64 *st)
{
	RETURN_STAT(version, fstat64(fd, st));
}

WRAPPER int __fxstatat(int version, int dir, const char *path, struct stat *st, int flags)
{
	RETURN_STAT(version, fstatat(dir, path, st, flags));
}

WRAPPER int __fxstatat64(int version, int dir, const char *path, struct stat64 *st, int flags)
{
	RETURN_STAT(version, fstatat64(dir, path, st, flags));
}

WRAPPER int __xmknod(int version, const char *path, mode_t mode, dev_t *dev)
{
	return version == MKNOD_LINUX ? mknod(path, mode, *dev) : no_version();
}

WRAPPER int __xmknodat(int version, int dir, const char *path, mode_t mode, dev_t *dev)
{
	return version == MKNOD_LINUX ? mknodat(dir, path, mode, *dev) : no_version();
}

/* ---- Others ---- */

WRAPPER int __poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return poll(fds, n, timeout);
}

WRAPPER int __select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout)
{
	return select(n, r, w, x, timeout);
}

WRAPPER ssize_t __send(int fd, const void *buf, size_t len, int flags)
{
	return send(fd, buf, len, flags);
}

WRAPPER int __connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return connect(fd, address, len);
}

WRAPPER int __nanosleep(const struct timespec *time, struct timespec *left)
{
	return nanosleep(time, left);
}

WRAPPER int __sigsuspend(const sigset_t *set)
{
	return sigsuspend(set);
}

WRAPPER pid_t __wait(int *status)
{
	return wait(status);
}

WRAPPER pid_t __waitpid(pid_t pid, int *status, int flags)
{
	return waitpid(pid, status, flags);
}

WRAPPER int __sched_getparam(pid_t pid, struct sched_param *param)
{
	return sched_getparam(pid, param);
}

WRAPPER int __sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
	return sched_setscheduler(pid, policy, param);
}

WRAPPER pid_t __fork(void)
{
	return fork();
}

WRAPPER int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...)
{
	va_list ap;
	void *v[3];

	va_start(ap, arg);
	for (int i = 0; i < 3; i++)
		v[i] = va_arg(ap, void *);
	va_end(ap);
	return clone(fn, stack, flags, arg, v[0], v[1], v[2]);
}
