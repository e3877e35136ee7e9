/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(2): calls by number that concern mappings, mapped files or SIGBUS are made by the wrappers. Instructions of the
 * program's own are not seen.
 */
#include <stdarg.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "arguments/paths.h"
#include "base/peek.h"
#include "base/real.h"
#include "files/open.h"
#include "files/submit.h"
#include "numbers.h"
#include "process/process.h"
#include "process/users.h"
#include "rings.h"
#include "signals/raw_signals.h"
#include "util/sys.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
/* Where the headers may lack a number it is given: numbers never change. */
#define NR_IO_URING_SETUP 425
#define NR_FUTEX_WAITV 449
#define NR_FUTEX_REQUEUE 456
#define NR_FILE_SETATTR 469

struct args {
	long v[6];
};

/* The arguments as the wrappers take them: pointer, size, int, long. */
#define P(i) ((void *)a->v[i])
#define N(i) ((size_t)a->v[i])
#define I(i) ((int)a->v[i])
#define U(i) ((unsigned)a->v[i])
#define L(i) (a->v[i])

#define MEMORY_CALLS(X)                                                         \
	X(SYS_mmap, mmap(P(0), N(1), I(2), I(3), I(4), L(5)))                   \
	X(SYS_munmap, munmap(P(0), N(1)))                                       \
	X(SYS_mprotect, mprotect(P(0), N(1), I(2)))                             \
	X(SYS_pkey_mprotect, pkey_mprotect(P(0), N(1), I(2), I(3)))             \
	X(SYS_mremap, mremap(P(0), N(1), N(2), I(3), L(4)))                     \
	X(SYS_remap_file_pages, remap_file_pages(P(0), N(1), I(2), N(3), I(4))) \
	X(SYS_msync, msync(P(0), N(1), I(2)))                                   \
	X(SYS_madvise, madvise(P(0), N(1), I(2)))                               \
	X(SYS_process_madvise, process_madvise(I(0), P(1), N(2), I(3), U(4)))   \
	X(SYS_mincore, mincore(P(0), N(1), P(2)))                               \
	X(SYS_mlock, mlock(P(0), N(1)))                                         \
	X(SYS_mlock2, mlock2(P(0), N(1), U(2)))                                 \
	X(SYS_munlock, munlock(P(0), N(1)))                                     \
	X(SYS_mlockall, mlockall(I(0)))                                         \
	X(SYS_munlockall, munlockall())                                         \
	X(SYS_mseal, mseal(P(0), N(1), (unsigned long)L(2)))

/* preadv2 and pwritev2 have the offset in two halves, of which the first is all of it. */
#define FILE_CALLS(X)                                                               \
	X(SYS_read, read(I(0), P(1), N(2)))                                         \
	X(SYS_write, write(I(0), P(1), N(2)))                                       \
	X(SYS_pread64, pread(I(0), P(1), N(2), L(3)))                               \
	X(SYS_pwrite64, pwrite(I(0), P(1), N(2), L(3)))                             \
	X(SYS_readv, readv(I(0), P(1), I(2)))                                       \
	X(SYS_writev, writev(I(0), P(1), I(2)))                                     \
	X(SYS_preadv, preadv(I(0), P(1), I(2), L(3)))                               \
	X(SYS_pwritev, pwritev(I(0), P(1), I(2), L(3)))                             \
	X(SYS_preadv2, preadv2(I(0), P(1), I(2), L(3), I(5)))                       \
	X(SYS_pwritev2, pwritev2(I(0), P(1), I(2), L(3), I(5)))                     \
	X(SYS_open, open(P(0), I(1), U(2)))                                         \
	X(SYS_openat, openat(I(0), P(1), I(2), U(3)))                               \
	X(NR_OPENAT2, raw_openat2(I(0), P(1), P(2), N(3)))                          \
	X(SYS_creat, creat(P(0), U(1)))                                             \
	X(SYS_close, close(I(0)))                                                   \
	X(SYS_close_range, close_range(U(0), U(1), I(2)))                           \
	X(SYS_dup, dup(I(0)))                                                       \
	X(SYS_dup2, dup2(I(0), I(1)))                                               \
	X(SYS_dup3, dup3(I(0), I(1), I(2)))                                         \
	X(SYS_fcntl, fcntl(I(0), I(1), L(2)))                                       \
	X(SYS_flock, flock(I(0), I(1)))                                             \
	X(SYS_lseek, lseek(I(0), L(1), I(2)))                                       \
	X(SYS_ftruncate, ftruncate(I(0), L(1)))                                     \
	X(SYS_truncate, truncate(P(0), L(1)))                                       \
	X(SYS_fallocate, fallocate(I(0), I(1), L(2), L(3)))                         \
	X(SYS_fsync, fsync(I(0)))                                                   \
	X(SYS_fdatasync, fdatasync(I(0)))                                           \
	X(SYS_sync, (sync(), 0))                                                    \
	X(SYS_syncfs, syncfs(I(0)))                                                 \
	X(SYS_sync_file_range, sync_file_range(I(0), L(1), L(2), U(3)))             \
	X(SYS_copy_file_range, copy_file_range(I(0), P(1), I(2), P(3), N(4), U(5))) \
	X(SYS_sendfile, sendfile(I(0), I(1), P(2), N(3)))                           \
	X(SYS_splice, splice(I(0), P(1), I(2), P(3), N(4), U(5)))                   \
	X(SYS_getrandom, getrandom(P(0), N(1), U(2)))

#define SOCKET_CALLS(X)                                               \
	X(SYS_sendto, sendto(I(0), P(1), N(2), I(3), P(4), U(5)))     \
	X(SYS_recvfrom, recvfrom(I(0), P(1), N(2), I(3), P(4), P(5))) \
	X(SYS_sendmsg, sendmsg(I(0), P(1), I(2)))                     \
	X(SYS_recvmsg, recvmsg(I(0), P(1), I(2)))                     \
	X(SYS_sendmmsg, sendmmsg(I(0), P(1), U(2), I(3)))             \
	X(SYS_recvmmsg, recvmmsg(I(0), P(1), U(2), I(3), P(4)))

#define STRUCT_CALLS(X)                                       \
	X(SYS_stat, stat(P(0), P(1)))                         \
	X(SYS_lstat, lstat(P(0), P(1)))                       \
	X(SYS_fstat, fstat(I(0), P(1)))                       \
	X(SYS_newfstatat, fstatat(I(0), P(1), P(2), I(3)))    \
	X(SYS_statx, statx(I(0), P(1), I(2), U(3), P(4)))     \
	X(SYS_readlink, readlink(P(0), P(1), N(2)))           \
	X(SYS_readlinkat, readlinkat(I(0), P(1), P(2), N(3))) \
	X(SYS_utimensat, set_times_at(a))                     \
	X(SYS_futimesat, futimesat(I(0), P(1), P(2)))         \
	X(SYS_utimes, utimes(P(0), P(1)))                     \
	X(SYS_utime, utime(P(0), P(1)))                       \
	X(SYS_ioctl, ioctl(I(0), (unsigned long)L(1), P(2)))  \
	X(SYS_poll, poll(P(0), N(1), I(2)))                   \
	X(SYS_epoll_wait, epoll_wait(I(0), P(1), I(2), I(3))) \
	X(SYS_epoll_ctl, epoll_ctl(I(0), I(1), I(2), P(3)))   \
	X(SYS_clock_gettime, clock_gettime(I(0), P(1)))       \
	X(SYS_nanosleep, nanosleep(P(0), P(1)))               \
	X(SYS_uname, uname(P(0)))

#define PROCESS_CALLS(X)                                                                \
	X(SYS_chroot, chroot(P(0)))                                                     \
	X(SYS_unshare, unshare(I(0)))                                                   \
	X(SYS_setns, setns(I(0), I(1)))                                                 \
	X(SYS_futex, futex_call(a))                                                     \
	X(SYS_execve, execve(P(0), P(1), P(2)))                                         \
	X(SYS_execveat, execveat(I(0), P(1), P(2), P(3), I(4)))                         \
	X(SYS_rt_sigaction, raw_sigaction(I(0), P(1), P(2), N(3)))                      \
	X(SYS_rt_sigprocmask, raw_sigprocmask(I(0), P(1), P(2), N(3)))                  \
	X(SYS_sigaltstack, sigaltstack(P(0), P(1)))                                     \
	X(SYS_rt_sigsuspend, raw_sigsuspend(P(0), N(1)))                                \
	X(SYS_ppoll, raw_ppoll(P(0), N(1), P(2), P(3), N(4)))                           \
	X(SYS_epoll_pwait, raw_epoll_pwait(I(0), P(1), I(2), I(3), P(4), N(5)))         \
	X(NR_EPOLL_PWAIT2, raw_epoll_pwait2(I(0), P(1), I(2), P(3), P(4), N(5)))        \
	X(SYS_pselect6, raw_pselect6(I(0), (fd_set *[]){P(1), P(2), P(3)}, P(4), P(5))) \
	X(NR_FUTEX_WAITV, futex_waitv_call(a))                                          \
	X(NR_FUTEX_REQUEUE, futex_requeue_call(a))

/* What has only arguments that may be ours, and means the same by number. */
#define HELD_CALLS(X)                                                                 \
	X(SYS_setxattr, setxattr(P(0), P(1), P(2), N(3), I(4)))                       \
	X(SYS_lsetxattr, lsetxattr(P(0), P(1), P(2), N(3), I(4)))                     \
	X(SYS_fsetxattr, fsetxattr(I(0), P(1), P(2), N(3), I(4)))                     \
	X(SYS_getxattr, getxattr(P(0), P(1), P(2), N(3)))                             \
	X(SYS_lgetxattr, lgetxattr(P(0), P(1), P(2), N(3)))                           \
	X(SYS_fgetxattr, fgetxattr(I(0), P(1), P(2), N(3)))                           \
	X(SYS_listxattr, listxattr(P(0), P(1), N(2)))                                 \
	X(SYS_llistxattr, llistxattr(P(0), P(1), N(2)))                               \
	X(SYS_flistxattr, flistxattr(I(0), P(1), N(2)))                               \
	X(SYS_removexattr, removexattr(P(0), P(1)))                                   \
	X(SYS_lremovexattr, lremovexattr(P(0), P(1)))                                 \
	X(SYS_fremovexattr, fremovexattr(I(0), P(1)))                                 \
	X(SYS_inotify_add_watch, inotify_add_watch(I(0), P(1), U(2)))                 \
	X(SYS_memfd_create, memfd_create(P(0), U(1)))                                 \
	X(SYS_name_to_handle_at, name_to_handle_at(I(0), P(1), P(2), P(3), I(4)))     \
	X(SYS_open_by_handle_at, open_by_handle_at(I(0), P(1), I(2)))                 \
	X(SYS_mount, mount(P(0), P(1), P(2), (unsigned long)L(3), P(4)))              \
	X(SYS_umount2, umount2(P(0), I(1)))                                           \
	X(SYS_getitimer, getitimer((__itimer_which_t)I(0), P(1)))                     \
	X(SYS_setitimer, setitimer((__itimer_which_t)I(0), P(1), P(2)))               \
	X(SYS_clock_settime, clock_settime(I(0), P(1)))                               \
	X(SYS_clock_adjtime, clock_adjtime(I(0), P(1)))                               \
	X(SYS_adjtimex, adjtimex(P(0)))                                               \
	X(SYS_msgsnd, msgsnd(I(0), P(1), N(2), I(3)))                                 \
	X(SYS_msgrcv, msgrcv(I(0), P(1), N(2), L(3), I(4)))                           \
	X(SYS_msgctl, msgctl(I(0), I(1), P(2)))                                       \
	X(SYS_semop, semop(I(0), P(1), N(2)))                                         \
	X(SYS_semtimedop, semtimedop(I(0), P(1), N(2), P(3)))                         \
	X(SYS_semctl, semctl(I(0), I(1), I(2), P(3)))                                 \
	X(SYS_shmctl, shmctl(I(0), I(1), P(2)))                                       \
	X(SYS_shmat, (long)shmat(I(0), P(1), I(2)))                                   \
	X(SYS_getresuid, getresuid(P(0), P(1), P(2)))                                 \
	X(SYS_getresgid, getresgid(P(0), P(1), P(2)))                                 \
	X(SYS_sched_getparam, sched_getparam(I(0), P(1)))                             \
	X(SYS_sched_setparam, sched_setparam(I(0), P(1)))                             \
	X(SYS_sched_setscheduler, sched_setscheduler(I(0), I(1), P(2)))               \
	X(SYS_sched_rr_get_interval, sched_rr_get_interval(I(0), P(1)))               \
	X(SYS_prctl, prctl(I(0), L(1), L(2), L(3), L(4)))                             \
	X(SYS_vmsplice, vmsplice(I(0), P(1), N(2), U(3)))                             \
	X(SYS_process_vm_readv, process_vm_readv(I(0), P(1), N(2), P(3), N(4), N(5))) \
	X(SYS_process_vm_writev, process_vm_writev(I(0), P(1), N(2), P(3), N(4), N(5)))

/* What means something else by number than as libc's function: queues without a slash, timers that are numbers. */
#define OTHER_CALLS(X)                                                                                                  \
	X(SYS_getdents64, HELD(FILLS(P(1), N(2))))                                                                      \
	X(SYS_rt_sigtimedwait, raw_sigtimedwait(P(0), P(1), P(2), N(3)))                                                \
	X(SYS_rt_sigpending, raw_sigpending(P(0), N(1)))                                                                \
	X(SYS_timer_create, HELD(READS(P(1), sizeof(struct sigevent)), FILLS(P(2), sizeof(int))))                       \
	X(SYS_timer_settime, HELD(READS(P(2), sizeof(struct itimerspec)), FILLS(P(3), sizeof(struct itimerspec))))      \
	X(SYS_timer_gettime, HELD(FILLS(P(1), sizeof(struct itimerspec))))                                              \
	X(SYS_mq_open, HELD(STRING(P(0)), READS(P(3), sizeof(struct mq_attr))))                                         \
	X(SYS_mq_unlink, HELD(STRING(P(0))))                                                                            \
	X(SYS_mq_timedsend, HELD(READS(P(1), N(2)), READS(P(4), sizeof(struct timespec))))                              \
	X(SYS_mq_timedreceive, HELD(FILLS(P(1), N(2)), FILLS(P(3), sizeof(int)), READS(P(4), sizeof(struct timespec)))) \
	X(SYS_mq_getsetattr, HELD(READS(P(1), sizeof(struct mq_attr)), FILLS(P(2), sizeof(struct mq_attr))))            \
	X(SYS_io_submit, shim_result(submit_requests((unsigned long)L(0), L(1), P(2))))                                 \
	X(NR_IO_URING_SETUP, ring_call(a))                                                                              \
	X(NR_FILE_SETATTR, set_attributes(a))                                                                           \
	X(SYS_setgroups, (users_pause(), users_go_on(HELD(READS(P(1), U(0) * sizeof(gid_t))))))                         \
	X(SYS_mq_notify, HELD(READS(P(1), sizeof(struct sigevent))))

/* The call itself, with these of its arguments pinned. */
#define HELD(...) held_call(nr, a, (struct held[]){__VA_ARGS__}, sizeof((struct held[]){__VA_ARGS__}) / sizeof(struct held))

static long held_call(long nr, const struct args *a, struct held *h, size_t n)
{
	struct again again = {0};
	long result;
	bool more;

	do {
		again.moves = file_io_moves();
		hold(h, n);
		result = REAL(syscall)(nr, L(0), L(1), L(2), L(3), L(4), L(5));
		more = says_efault(result) && held_again(&again, h, n);
		release(h, n);
	} while (more);
	return result;
}

/* A lock's word, or two, may be ours; what they are compared with must be read by the kernel. */
static long futex_call(const struct args *a)
{
	RETURN_HELD(REAL(syscall)(SYS_futex, L(0), L(1), L(2), L(3), L(4), L(5)), FILLS(P(0), sizeof(int)),
		    READS(P(3), sizeof(struct timespec)), FILLS(P(4), sizeof(int)));
}

/* ---- Locks of which there are several ---- */

#define WAITERS 128 /* the kernel takes no more */

/* The kernel's struct futex_waitv. */
struct waiter {
	uint64_t value;
	void *word;
	uint32_t flags, unused;
};

/* The list, its words, and one argument more. With too many the call is refused. */
static long hold_waiters(long nr, const struct args *a, struct held other, size_t n)
{
	const struct waiter *list = P(0);
	struct held h[WAITERS + 2] = {other, READS(list, n <= WAITERS ? n * sizeof *list : 0)};
	size_t held = 2;
	struct waiter w;

	if (!NOTHING_MAPPED && n <= WAITERS)
		for (size_t i = 0; i < n && peek(&w, &list[i], sizeof w); i++)
			h[held++] = (struct held)FILLS(w.word, sizeof(int));
	return held_call(nr, a, h, held);
}

static long futex_waitv_call(const struct args *a)
{
	return hold_waiters(NR_FUTEX_WAITV, a, (struct held)READS(P(3), sizeof(struct timespec)), U(1));
}

static long futex_requeue_call(const struct args *a)
{
	return hold_waiters(NR_FUTEX_REQUEUE, a, (struct held)READS(NULL, 0), 2);
}

/* Without a path the times of the descriptor's file, which utimensat(3) refuses. */
static int set_times_at(const struct args *a)
{
	return P(1) || I(3) ? utimensat(I(0), P(1), P(2), I(3)) : futimens(I(0), P(2));
}

/* It may make the file immutable, when nothing can be written any more; as with an ioctl(2). */
static void before_attributes(const struct args *a)
{
	struct address_space *as;
	struct stat st;

	if (NOTHING_MAPPED || fstatat(I(0), P(1), &st, I(4)) || !(as = file_io_find(&st)))
		return;
	file_io_sync(as, 0, UINT64_MAX);
	file_io_put(as);
}

static long set_attributes(const struct args *a)
{
	long nr = NR_FILE_SETATTR;

	before_attributes(a);
	return HELD(STRING(P(1)), READS(P(2), min_u64(N(3), FL_PAGE_SIZE)));
}

#define RING_PARAMS 120 /* the size of struct io_uring_params */

static long ring_call(const struct args *a)
{
	long nr = NR_IO_URING_SETUP;

	return rings_refused() ? shim_result(-ENOSYS) : HELD(FILLS(P(1), RING_PARAMS));
}

#define CASE(nr, call)               \
	case nr:                     \
		*out = (long)(call); \
		return true;

static bool wrapped_call(long nr, const struct args *a, long *out)
{
	switch (nr) {
		MEMORY_CALLS(CASE)
		FILE_CALLS(CASE)
		SOCKET_CALLS(CASE)
		STRUCT_CALLS(CASE)
		PROCESS_CALLS(CASE)
		HELD_CALLS(CASE)
		OTHER_CALLS(CASE)
	default:
		return false;
	}
}

static bool held_number(long nr, const struct args *a, long *out)
{
	struct held h[NUMBERS_HELD];
	size_t n = numbers_held(nr, a->v, h);

	if (n)
		*out = held_call(nr, a, h, n);
	return n;
}

/* By number they are for the calling thread alone; the functions of libc are for all. */
static bool changes_user(long nr)
{
	return nr == SYS_setuid || nr == SYS_setreuid || nr == SYS_setresuid;
}

static bool changes_group(long nr)
{
	return nr == SYS_setgid || nr == SYS_setregid || nr == SYS_setresgid;
}

static bool changes_credentials(long nr)
{
	return changes_user(nr) || changes_group(nr);
}

static long call_paused(long nr, const struct args *a)
{
	if (changes_user(nr))
		users_change();
	users_pause();
	return users_go_on(REAL(syscall)(nr, a->v[0], a->v[1], a->v[2], a->v[3], a->v[4], a->v[5]));
}

WRAPPER long syscall(long nr, ...)
{
	struct args a;
	va_list ap;
	long out;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a.v[i] = va_arg(ap, long);
	va_end(ap);
	if (wrapped_call(nr, &a, &out))
		return out;
	if (!NOTHING_MAPPED && held_number(nr, &a, &out))
		return out;
	if (changes_credentials(nr))
		return call_paused(nr, &a);
	if (nr == SYS_exit_group)
		process_ends();
	if (nr == SYS_exit)
		process_thread_ends((int)a.v[0]);
	if (nr == SYS_fork)
		return fork();
	if (nr == SYS_clone)
		return process_raw_clone(a.v);
	if (nr == SYS_clone3)
		return process_raw_clone3((const void *)a.v[0], (size_t)a.v[1]);
	return REAL(syscall)(nr, a.v[0], a.v[1], a.v[2], a.v[3], a.v[4], a.v[5]);
}
