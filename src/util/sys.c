/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef __x86_64__
#error "Faultline's native family is written for x86-64 (sys_call, the fault's error code in the signal frame)."
#endif

long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}

#define CALL0(nr) sys_call(nr, 0, 0, 0, 0, 0, 0)
#define CALL1(nr, a) sys_call(nr, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(nr, a, b) sys_call(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(nr, a, b, c) sys_call(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(nr, a, b, c, d) sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL5(nr, a, b, c, d, e) sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define CALL6(nr, a, b, c, d, e, f) sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return (void *)CALL6(SYS_mmap, addr, len, prot, flags, fd, off);
}

int sys_munmap(void *addr, size_t len)
{
	return (int)CALL2(SYS_munmap, addr, len);
}

int sys_mprotect(void *addr, size_t len, int prot)
{
	return (int)CALL3(SYS_mprotect, addr, len, prot);
}

void *sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
	return (void *)CALL5(SYS_mremap, old, old_len, new_len, flags, new_addr);
}

int sys_madvise(void *addr, size_t len, int advice)
{
	return (int)CALL3(SYS_madvise, addr, len, advice);
}

int sys_mincore(void *addr, size_t len, unsigned char *vec)
{
	return (int)CALL3(SYS_mincore, addr, len, vec);
}

int sys_msync(void *addr, size_t len, int flags)
{
	return (int)CALL3(SYS_msync, addr, len, flags);
}

int sys_close(int fd)
{
	return (int)CALL1(SYS_close, fd);
}

int sys_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)CALL3(SYS_ioctl, fd, request, arg);
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
	return CALL3(SYS_read, fd, buf, len);
}

ssize_t sys_write(int fd, const void *buf, size_t len)
{
	return CALL3(SYS_write, fd, buf, len);
}

ssize_t sys_pread(int fd, void *buf, size_t len, off_t off)
{
	return CALL4(SYS_pread64, fd, buf, len, off);
}

ssize_t sys_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	return CALL4(SYS_pwrite64, fd, buf, len, off);
}

ssize_t sys_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return CALL6(SYS_preadv2, fd, iov, n, off, 0, flags);
}

ssize_t sys_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return CALL6(SYS_pwritev2, fd, iov, n, off, 0, flags);
}

int sys_fstat(int fd, struct stat *st)
{
	return (int)CALL2(SYS_fstat, fd, st);
}

int sys_ftruncate(int fd, off_t len)
{
	return (int)CALL2(SYS_ftruncate, fd, len);
}

int sys_fallocate(int fd, int mode, off_t off, off_t len)
{
	return (int)CALL4(SYS_fallocate, fd, mode, off, len);
}

int sys_fdatasync(int fd)
{
	return (int)CALL1(SYS_fdatasync, fd);
}

off_t sys_lseek(int fd, off_t off, int whence)
{
	return CALL3(SYS_lseek, fd, off, whence);
}

int sys_fcntl(int fd, int cmd, long arg)
{
	return (int)CALL3(SYS_fcntl, fd, cmd, arg);
}

int sys_openat(int dirfd, const char *path, int flags, int mode)
{
	return (int)CALL4(SYS_openat, dirfd, path, flags, mode);
}

int sys_memfd_create(const char *name, unsigned flags)
{
	return (int)CALL2(SYS_memfd_create, name, flags);
}

/* By this thread's number: that of the process is its first thread's, which may have ended, and has no memory then. So /proc/thread-self elsewhere. */
static ssize_t copy(long nr, void *here, const void *there, size_t len)
{
	struct iovec local = {.iov_base = here, .iov_len = len}, remote = {.iov_base = (void *)there, .iov_len = len};

	return CALL6(nr, CALL0(SYS_gettid), &local, 1, &remote, 1, 0);
}

ssize_t sys_copy_from(void *to, const void *from, size_t len)
{
	return copy(SYS_process_vm_readv, to, from, len);
}

ssize_t sys_copy_to(void *to, const void *from, size_t len)
{
	return copy(SYS_process_vm_writev, (void *)from, to, len);
}

int sys_gettid(void)
{
	return (int)CALL1(SYS_gettid, 0);
}

void sys_yield(void)
{
	CALL1(SYS_sched_yield, 0);
}

void sys_nanosleep(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	CALL2(SYS_nanosleep, &t, 0);
}

int sys_futex_wait(const void *word, uint32_t expected)
{
	return (int)CALL4(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, 0);
}

int sys_futex_wait_timeout(const void *word, uint32_t expected, const struct timespec *timeout)
{
	return (int)CALL4(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout);
}

void sys_futex_wake(const void *word, int how_many)
{
	CALL3(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many);
}

int sys_futex_wait_shared(const void *word, uint32_t expected, uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	return (int)CALL4(SYS_futex, word, FUTEX_WAIT, expected, &t);
}

int sys_futex_wake_shared(const void *word, int how_many)
{
	return (int)CALL3(SYS_futex, word, FUTEX_WAKE, how_many);
}

uint64_t sys_sigmask(int how, uint64_t mask)
{
	uint64_t old = 0;

	CALL4(SYS_rt_sigprocmask, how, &mask, &old, sizeof mask);
	return old;
}

/* ---- Signals ---- */

#define KERNEL_SA_RESTORER 0x04000000

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

void sys_sigreturn(void);
__asm__(".text\n"
	".globl sys_sigreturn\n"
	".hidden sys_sigreturn\n"
	".type sys_sigreturn, @function\n"
	"nop\n" /* unwinders look at the byte before the return address */
	"sys_sigreturn:\n"
	"	mov $15, %rax\n" /* rt_sigreturn; debuggers know a signal frame by these two instructions */
	"	syscall\n"
	".size sys_sigreturn, . - sys_sigreturn\n");

int sys_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct kernel_sigaction k, ko;
	int err;

	if (act) {
		k.handler = (void *)act->sa_sigaction;
		k.flags = (unsigned long)act->sa_flags | KERNEL_SA_RESTORER;
		k.restorer = sys_sigreturn;
		memcpy(&k.mask, &act->sa_mask, sizeof k.mask);
	}
	err = (int)CALL4(SYS_rt_sigaction, sig, act ? &k : NULL, old ? &ko : NULL, sizeof k.mask);
	if (!err && old) {
		memset(old, 0, sizeof *old);
		old->sa_sigaction = (void (*)(int, siginfo_t *, void *))ko.handler;
		old->sa_flags = (int)(ko.flags & ~(unsigned long)KERNEL_SA_RESTORER);
		memcpy(&old->sa_mask, &ko.mask, sizeof ko.mask);
	}
	return err;
}
