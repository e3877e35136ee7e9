/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that the wrappers stand in for: the next definition after this library, normally libc's. Calls that
 * pass through keep libc's own behaviour, cancellation points and errno included.
 */
#ifndef FL_SHIM_REAL_H
#define FL_SHIM_REAL_H

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <utime.h>
#include <wchar.h>

struct termios;

#include "real_more.h"
#include "util/compiler.h"

/* A wrapper: what this library exports beside fl_*(). */
#define WRAPPER FL_EXPORT

/* Macros of <stdio.h> when it optimizes. */
#undef fread_unlocked
#undef fwrite_unlocked
#undef putc
#undef getc
#undef putwc
#undef getwc

/* Functions of libc's that its headers do not declare, or not always. */
pid_t _Fork(void);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library);
int login_tty(int fd);
int forkpty(int *terminal, char *name, const struct termios *t, const struct winsize *size);
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t off, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t off, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *from, socklen_t *from_len);
size_t __fread_chk(void *buf, size_t room, size_t size, size_t n, FILE *f);
size_t __fread_unlocked_chk(void *buf, size_t room, size_t size, size_t n, FILE *f);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
void (*bsd_signal(int sig, void (*handler)(int)))(int);
void (*__sysv_signal(int sig, void (*handler)(int)))(int);
int sigblock(int mask);
int sigsetmask(int mask);
int __close(int fd);
int _IO_putc(int c, FILE *f);
int _IO_getc(FILE *f);
int __overflow(FILE *f, int c);
int __uflow(FILE *f);
int __underflow(FILE *f);
int __vfprintf_chk(FILE *f, int check, const char *fmt, va_list ap);
int __vprintf_chk(int check, const char *fmt, va_list ap);
int __fprintf_chk(FILE *f, int check, const char *fmt, ...);
int __printf_chk(int check, const char *fmt, ...);
int __vdprintf_chk(int fd, int check, const char *fmt, va_list ap);
int __dprintf_chk(int fd, int check, const char *fmt, ...);
int __vsnprintf_chk(char *s, size_t n, int check, size_t room, const char *fmt, va_list ap);
int __vasprintf_chk(char **s, int check, const char *fmt, va_list ap);
char *__fgets_chk(char *s, size_t room, int n, FILE *f);
char *__fgets_unlocked_chk(char *s, size_t room, int n, FILE *f);
ssize_t __getdelim(char **line, size_t *room, int end, FILE *f);
int __isoc99_vfscanf(FILE *f, const char *fmt, va_list ap);
int __isoc99_vscanf(const char *fmt, va_list ap);
int __isoc99_fscanf(FILE *f, const char *fmt, ...);
int __isoc99_scanf(const char *fmt, ...);
wint_t __wuflow(FILE *f);
wint_t __wunderflow(FILE *f);
wint_t __woverflow(FILE *f, wint_t c);
wchar_t *__fgetws_chk(wchar_t *s, size_t room, int n, FILE *f);
wchar_t *__fgetws_unlocked_chk(wchar_t *s, size_t room, int n, FILE *f);
int __vfwprintf_chk(FILE *f, int check, const wchar_t *fmt, va_list ap);
int __vwprintf_chk(int check, const wchar_t *fmt, va_list ap);
int __fwprintf_chk(FILE *f, int check, const wchar_t *fmt, ...);
int __wprintf_chk(int check, const wchar_t *fmt, ...);
int __isoc99_vfwscanf(FILE *f, const wchar_t *fmt, va_list ap);
int __isoc99_vwscanf(const wchar_t *fmt, va_list ap);
int __isoc99_fwscanf(FILE *f, const wchar_t *fmt, ...);
int __isoc99_wscanf(const wchar_t *fmt, ...);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set, size_t room);
int mseal(void *addr, size_t len, unsigned long flags);
__attribute__((noreturn)) void __longjmp_chk(struct __jmp_buf_tag *env, int value);

/* clang-format off */
#define REAL_FUTEXES(X)                                                                                                              \
	X(pthread_mutex_lock)                                                                                                        \
	X(pthread_mutex_timedlock)                                                                                                   \
	X(pthread_mutex_clocklock)                                                                                                   \
	X(pthread_rwlock_rdlock)                                                                                                     \
	X(pthread_rwlock_wrlock)                                                                                                     \
	X(pthread_mutex_trylock)                                                                                                     \
	X(pthread_mutex_unlock)                                                                                                      \
	X(pthread_rwlock_tryrdlock)                                                                                                  \
	X(pthread_rwlock_trywrlock)                                                                                                  \
	X(pthread_rwlock_clockrdlock)                                                                                                \
	X(pthread_rwlock_clockwrlock)                                                                                                \
	X(pthread_rwlock_timedrdlock)                                                                                                \
	X(pthread_rwlock_timedwrlock) X(pthread_cond_clockwait) X(sem_wait) X(sem_timedwait) X(sem_clockwait) X(pthread_barrier_wait)
#define REAL_MEMORY(X)   \
	X(mprotect)      \
	X(pkey_mprotect) \
	X(msync) X(madvise) X(mincore) X(mlock) X(mlock2) X(munlock) X(mlockall) X(munlockall) X(remap_file_pages)
#define REAL_IO(X)    \
	X(read)       \
	X(pread)      \
	X(pread64)    \
	X(readv)      \
	X(preadv)     \
	X(preadv64)   \
	X(preadv2)    \
	X(preadv64v2) \
	X(write)      \
	X(pwrite64) X(writev) X(pwritev) X(pwritev64) X(pwritev2) X(pwritev64v2) X(__read_chk) X(__pread_chk) X(__pread64_chk) X(getrandom)
#define REAL_SOCKETS(X) X(send) X(sendto) X(sendmsg) X(sendmmsg) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(__recv_chk) X(__recvfrom_chk)
#define REAL_FILES(X)        \
	X(ftruncate)         \
	X(ftruncate64)       \
	X(truncate)          \
	X(truncate64)        \
	X(fallocate)         \
	X(fallocate64)       \
	X(posix_fallocate)   \
	X(posix_fallocate64) \
	X(fsync)             \
	X(fdatasync) X(sync) X(syncfs) X(sync_file_range) X(copy_file_range) X(sendfile) X(sendfile64) X(splice) X(lseek) X(lseek64)
#define REAL_OPEN(X) \
	X(open)      \
	X(open64)    \
	X(openat)    \
	X(openat64) X(creat) X(creat64) X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2) X(fopen) X(fopen64) X(freopen) X(freopen64)
#define REAL_PATHS(X) \
	X(stat)       \
	X(stat64)     \
	X(lstat)      \
	X(lstat64)    \
	X(fstatat)    \
	X(fstatat64)  \
	X(statx)      \
	X(statfs)     \
	X(statfs64)   \
	X(access)     \
	X(faccessat)  \
	X(unlink)     \
	X(unlinkat)   \
	X(rmdir)      \
	X(mkdir)      \
	X(mkdirat)    \
	X(chdir)      \
	X(chmod) X(chown) X(lchown) X(rename) X(renameat) X(renameat2) X(link) X(symlink) X(readlink) X(readlinkat) X(getcwd) X(opendir)
#define REAL_PATHS_MORE(X) \
	X(fchmodat)        \
	X(fchownat)        \
	X(mknod)           \
	X(mknodat)         \
	X(mkfifo)          \
	X(mkfifoat)        \
	X(chroot)          \
	X(euidaccess)      \
	X(eaccess)         \
	X(pathconf) X(remove) X(realpath) X(statvfs) X(statvfs64) X(linkat) X(symlinkat) X(readdir) X(readdir64) X(readdir_r) X(readdir64_r)
#define REAL_TIMESTAMPS(X) X(futimens) X(futimes) X(utimensat) X(futimesat) X(utimes) X(lutimes) X(utime)
#define REAL_AIO(X) X(aio_read) X(aio_read64) X(aio_write) X(aio_write64) X(aio_fsync) X(aio_fsync64) X(lio_listio) X(lio_listio64)
#define REAL_STDIO(X)      \
	X(fread)           \
	X(fread_unlocked)  \
	X(fwrite)          \
	X(fwrite_unlocked) \
	X(fputs)           \
	X(fputs_unlocked)  \
	X(puts) X(fflush) X(fflush_unlocked) X(fclose) X(pclose) X(setvbuf) X(setbuf) X(setbuffer) X(fcloseall) X(fseek) X(fseeko) X(fseeko64) X(fsetpos) X(fsetpos64) X(rewind) X(__fread_chk) X(__fread_unlocked_chk)
#define REAL_STDIO_TEXT(X)                                                                                                       \
	X(fputc)                                                                                                                 \
	X(putc)                                                                                                                  \
	X(_IO_putc)                                                                                                              \
	X(fputc_unlocked)                                                                                                        \
	X(putc_unlocked)                                                                                                         \
	X(putchar)                                                                                                               \
	X(putchar_unlocked)                                                                                                      \
	X(__overflow)                                                                                                            \
	X(vfprintf)                                                                                                              \
	X(__vfprintf_chk)                                                                                                        \
	X(vdprintf)                                                                                                              \
	X(__vdprintf_chk)                                                                                                        \
	X(fgetc)                                                                                                                 \
	X(getc) X(_IO_getc) X(fgetc_unlocked) X(getc_unlocked) X(__uflow) X(__underflow) X(fgets) \
		X(fgets_unlocked) X(__fgets_chk) X(__fgets_unlocked_chk) X(getdelim) X(__isoc99_vfscanf)
#define REAL_STDIO_WIDE(X)   \
	X(fgetwc)            \
	X(getwc)             \
	X(fgetwc_unlocked)   \
	X(getwc_unlocked)    \
	X(__wuflow)          \
	X(__wunderflow)      \
	X(fgetws)            \
	X(fgetws_unlocked)   \
	X(__fgetws_chk)      \
	X(__fgetws_unlocked_chk) X(__isoc99_vfwscanf) X(fputwc) X(putwc) X(fputwc_unlocked) X(putwc_unlocked) X(__woverflow) X(fputws) X(fputws_unlocked) X(vfwprintf) X(__vfwprintf_chk)
#define REAL_FDS(X) X(fdopen) X(fdopendir) X(dup) X(close) X(close_range) X(closefrom) X(dup2) X(dup3) X(daemon) X(login_tty) X(forkpty) X(fcntl) X(fcntl64) X(flock) X(lockf) X(lockf64)
#define REAL_SIGNALS(X)  \
	X(sigaction)     \
	X(__sigaction)   \
	X(signal)        \
	X(bsd_signal)    \
	X(ssignal)       \
	X(sysv_signal)   \
	X(__sysv_signal) \
	X(sigset)        \
	X(sigignore)     \
	X(siginterrupt)  \
	X(sigprocmask) X(pthread_sigmask) X(sigsuspend) X(sighold) X(sigrelse) \
	X(pthread_attr_setsigmask_np) X(pthread_attr_getsigmask_np)
#define REAL_JUMPS(X) X(longjmp) X(_longjmp) X(siglongjmp) X(__longjmp_chk) X(setcontext) X(swapcontext)
#define REAL_STACKS(X) X(makecontext) X(sigaltstack) X(pthread_attr_setstack) X(pthread_create) X(thrd_create)
#define REAL_POLLS(X) \
	X(poll) X(__poll_chk) X(ppoll) X(__ppoll_chk) X(select) X(pselect) X(epoll_ctl) X(epoll_wait) X(epoll_pwait) X(epoll_pwait2)
#define REAL_ADDRESSES(X) \
	X(socket) X(eventfd) X(bind) X(connect) X(accept) X(accept4) X(getsockname) X(getpeername) X(getsockopt) X(setsockopt) X(socketpair) X(pipe) X(pipe2)
#define REAL_STRUCTS(X)                                                                                                                \
	X(fstat)                                                                                                                       \
	X(fstat64)                                                                                                                     \
	X(fstatfs)                                                                                                                     \
	X(fstatfs64)                                                                                                                   \
	X(ioctl)                                                                                                                       \
	X(clock_gettime)                                                                                                               \
	X(clock_getres)                                                                                                                \
	X(nanosleep)                                                                                                                   \
	X(clock_nanosleep)                                                                                                             \
	X(times)                                                                                                                       \
	X(timerfd_settime)                                                                                                             \
	X(timerfd_gettime)                                                                                                             \
	X(uname)                                                                                                                       \
	X(sysinfo)                                                                                                                     \
	X(getrusage) X(getrlimit) X(getrlimit64) X(setrlimit64) X(prlimit) X(prlimit64) X(setrlimit) X(getgroups) X(sched_getaffinity) \
		X(sched_setaffinity) X(wait3) X(wait4) X(waitpid) X(wait) X(waitid)
#define REAL_PROCESS(X) X(dlopen) X(__register_atfork) X(fork) X(_Fork) X(clone) X(_exit) X(_Exit) X(quick_exit) X(execve) X(execv) X(execvp) X(execvpe) X(fexecve) X(execveat) X(syscall)
#define REAL_SPAWN(X) X(posix_spawn) X(posix_spawnp) X(system) X(popen)
#define REAL_USERS(X) X(setuid) X(seteuid) X(setreuid) X(setresuid) X(setgid) X(setegid) X(setregid) X(setresgid) X(unshare) X(setns)
#define REAL_ALL(X)        \
	REAL_MEMORY(X)     \
	REAL_IO(X)         \
	REAL_SOCKETS(X)    \
	REAL_FILES(X)      \
	REAL_OPEN(X)       \
	REAL_PATHS(X)      \
	REAL_PATHS_MORE(X) \
	REAL_TIMESTAMPS(X) \
	REAL_AIO(X)        \
	REAL_STDIO(X)      \
	REAL_STDIO_TEXT(X) \
	REAL_STDIO_WIDE(X) \
	REAL_FDS(X)        \
	REAL_SIGNALS(X)    \
	REAL_STACKS(X)     \
	REAL_JUMPS(X)      \
	REAL_POLLS(X)      \
	REAL_ADDRESSES(X)  \
	REAL_STRUCTS(X)    \
	REAL_FUTEXES(X)    \
	REAL_PROCESS(X)    \
	REAL_SPAWN(X)      \
	REAL_USERS(X)      \
	REAL_MORE(X)
/* clang-format on */

/* Functions that libc lacks are NULL: wrappers of those that came after glibc 2.28 check. */
struct real_functions {
#define X(name) __typeof__(&name) name;
	REAL_ALL(X)
#undef X
};

extern struct real_functions real_functions;
extern _Atomic bool real_ready;
/* Fills the table; safe to call again. */
void real_resolve(void);

/* Other libraries' constructors may come before ours, so the table may have to be filled by the first call. */
static inline const struct real_functions *real_table(void)
{
	if (unlikely(!__atomic_load_n((bool *)&real_ready, __ATOMIC_ACQUIRE)))
		real_resolve();
	return &real_functions;
}

#define REAL(name) (real_table()->name)

long shim_error(long r);
/* errno and the value that libc's functions fail with; from a result of the engine or of sys_*(). */
static inline long shim_result(long r)
{
	return likely(r >= 0) ? r : shim_error(r);
}

#endif
