/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that answer -errno and touch nothing else: no errno, no cancellation point, no libc wrapper that a
 * preloaded library could have replaced. The engine calls the kernel only through these, so it can run in a signal
 * handler and below the shim's own wrappers of the same calls.
 */
#ifndef FL_UTIL_SYS_H
#define FL_UTIL_SYS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct timespec;

/* The bare call: the kernel's result, -4095..-1 for -errno. */
long sys_call(long nr, long a, long b, long c, long d, long e, long f);

void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off); /* check with sys_is_err() */
int sys_munmap(void *addr, size_t len);
int sys_mprotect(void *addr, size_t len, int prot);
void *sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr);
int sys_madvise(void *addr, size_t len, int advice);
int sys_mincore(void *addr, size_t len, unsigned char *vec);
int sys_msync(void *addr, size_t len, int flags);
int sys_close(int fd);
int sys_ioctl(int fd, unsigned long request, void *arg);
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);
ssize_t sys_pread(int fd, void *buf, size_t len, off_t off);
ssize_t sys_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t sys_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t sys_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
int sys_fstat(int fd, struct stat *st);
int sys_ftruncate(int fd, off_t len);
int sys_fallocate(int fd, int mode, off_t off, off_t len);
int sys_fdatasync(int fd);
off_t sys_lseek(int fd, off_t off, int whence);
int sys_fcntl(int fd, int cmd, long arg);
int sys_openat(int dirfd, const char *path, int flags, int mode);
int sys_memfd_create(const char *name, unsigned flags);
/* memcpy() by the kernel, from memory that may not be there, or to it: as many bytes as there were. */
ssize_t sys_copy_from(void *to, const void *from, size_t len);
ssize_t sys_copy_to(void *to, const void *from, size_t len);
int sys_gettid(void);
void sys_yield(void);
void sys_nanosleep(uint64_t ns);

/* futex(2): wait while *word == expected; wake so many. */
int sys_futex_wait(const void *word, uint32_t expected);
int sys_futex_wait_timeout(const void *word, uint32_t expected, const struct timespec *timeout);
void sys_futex_wake(const void *word, int how_many);
/* The same for words that several processes see; for ns at most: -ETIMEDOUT. */
int sys_futex_wait_shared(const void *word, uint32_t expected, uint64_t ns);
/* How many were. */
int sys_futex_wake_shared(const void *word, int how_many);

/* rt_sigaction(2) with a return trampoline of our own: sigaction() of libc may be the shim's. */
int sys_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* The kernel's signal mask: 64 bits, signal n at bit n-1. */
uint64_t sys_sigmask(int how, uint64_t mask);
#define SYS_SIGBIT(sig) (1ULL << ((sig)-1))

/* What the kernel has of a sigset_t, with which it begins. */
static inline uint64_t sys_sigword(const sigset_t *set)
{
	uint64_t word;

	memcpy(&word, set, sizeof word);
	return word;
}

static inline void sys_set_sigword(sigset_t *set, uint64_t word)
{
	memcpy(set, &word, sizeof word);
}

static inline bool sys_is_err(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)-4095L;
}

static inline int sys_err(const void *p)
{
	return (int)(intptr_t)p;
}

#endif
