/* SPDX-License-Identifier: Apache-2.0 */
/* As buffers.c: calls on attributes, names, timers, signals, queues, locks and what the kernel knows of a process. */
#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "fresh.h"

int capget(cap_user_header_t header, cap_user_data_t data);
int capset(cap_user_header_t header, const cap_user_data_t data);

#define STRING(s) put(s, strlen(s) + 1)
#define VALUE(type, ...) put(&(type){__VA_ARGS__}, sizeof(type))

/* It may not be allowed, or be there, but its arguments are. */
#define NO_FAULT(call) CHECK((errno = 0, (long)(call) != -1) || errno != EFAULT)

/* ---- Files ---- */

static void attributes(void)
{
	int fd = open("file", O_CREAT | O_RDWR, 0600);
	char *value = fresh(), *list = fresh();

	CHECK(fd >= 0);
	NO_FAULT(lgetxattr(STRING("file"), STRING("user.none"), fresh(), PAGE));
	if (setxattr(STRING("file"), STRING("user.a"), STRING("one"), 4, 0)) {
		CHECK(errno == EOPNOTSUPP);
		return;
	}
	CHECK(!fsetxattr(fd, STRING("user.b"), STRING("two"), 4, 0) && !lsetxattr(STRING("file"), STRING("user.c"), STRING("x"), 2, 0));
	CHECK(getxattr(STRING("file"), STRING("user.a"), value, PAGE) == 4 && !strcmp(value, "one"));
	value = fresh();
	CHECK(fgetxattr(fd, STRING("user.b"), value, PAGE) == 4 && !strcmp(value, "two"));
	CHECK(lgetxattr(STRING("file"), STRING("user.c"), fresh(), PAGE) == 2);
	CHECK(listxattr(STRING("file"), list, PAGE) > 20 && llistxattr(STRING("file"), fresh(), PAGE) > 20);
	CHECK(flistxattr(fd, fresh(), PAGE) > 20);
	CHECK(syscall(SYS_getxattr, STRING("file"), STRING("user.a"), fresh(), PAGE) == 4);
	CHECK(!removexattr(STRING("file"), STRING("user.a")) && !lremovexattr(STRING("file"), STRING("user.b")));
	CHECK(!fremovexattr(fd, STRING("user.c")) && !unlink("file") && !close(fd));
}

static void names(void)
{
	struct handle {
		struct file_handle head;
		char rest[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ}, *got = put(&handle, sizeof handle);
	int fd = inotify_init(), dir = open("/", O_RDONLY | O_DIRECTORY);

	CHECK(inotify_add_watch(fd, STRING("/"), IN_CREATE) >= 0 && !close(fd));
	CHECK((fd = memfd_create(STRING("name"), 0)) >= 0 && !close(fd));
	NO_FAULT(name_to_handle_at(AT_FDCWD, STRING("/"), &got->head, fresh(), 0));
	NO_FAULT(open_by_handle_at(dir, put(&handle, sizeof handle), O_RDONLY));
	NO_FAULT(mount(STRING("none"), STRING("/no"), STRING("no such type"), 0, STRING("options")));
	NO_FAULT(umount(STRING("no such mount")));
	NO_FAULT(umount2(STRING("no such mount"), 0));
	CHECK(getdents64(dir, fresh(), PAGE) > 0 && !lseek(dir, 0, SEEK_SET) && syscall(SYS_getdents64, dir, fresh(), PAGE) > 0);
	CHECK(!getentropy(fresh(), 256));
	close(dir);
}

static void locks_and_offsets(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10}, *l = put_across(&lock, sizeof lock);
	struct f_owner_ex owner = {F_OWNER_PID, getpid()};
	int fd = pattern_file(PAGE), out = pattern_file(PAGE), fds[2];
	off_t *off = VALUE(off_t, 100);

	CHECK(!fcntl(fd, F_GETLK, l) && l->l_type == F_UNLCK);
	CHECK(!fcntl(fd, F_SETLK, put(&lock, sizeof lock)) && !fcntl(fd, F_SETLKW, put_across(&lock, sizeof lock)));
	CHECK(!pipe(fds) && !fcntl(fds[0], F_SETOWN_EX, put(&owner, sizeof owner)) && !fcntl(fds[0], F_GETOWN_EX, fresh()));
	CHECK(sendfile(fds[1], fd, off, 10) == 10 && *off == 110);
	off = VALUE(off_t, 100);
	CHECK(splice(fd, off, fds[1], NULL, 10, 0) == 10 && *off == 110);
	off = VALUE(off_t, 100);
	CHECK(copy_file_range(fd, off, out, VALUE(off_t, 5), 10, 0) == 10 && *off == 110);
	CHECK(!futimens(fd, put_across((struct timespec[2]){{1, 0}, {2, 0}}, 2 * sizeof(struct timespec))));
	close(fd);
	close(out);
	close(fds[0]);
	close(fds[1]);
}

/* What is stored after the call is not what the pipe has. */
static void memory_to_pipe(void)
{
	struct iovec two[2] = {{STRING("hello, "), 7}, {STRING("world"), 6}};
	char *first = two[0].iov_base, got[14] = "", *in = fresh();
	struct iovec room = {in, 100};
	int fds[2];

	CHECK(!pipe(fds) && vmsplice(fds[1], put(two, sizeof two), 2, SPLICE_F_NONBLOCK) == 13);
	CHECK(!madvise(first, PAGE, MADV_DONTNEED));
	CHECK(read(fds[0], got, sizeof got) == 13 && !strcmp(got, "hello, world"));
	CHECK(write(fds[1], "back", 5) == 5 && vmsplice(fds[0], put(&room, sizeof room), 1, 0) == 5 && !strcmp(in, "back"));
	room.iov_base = (void *)0x1000;
	FAILS(EFAULT, vmsplice(fds[1], put(&room, sizeof room), 1, 0));
	FAILS(EFAULT, vmsplice(fds[1], (void *)0x1000, 1, 0));
	close(fds[0]);
	close(fds[1]);
}

/* ---- Time and signals ---- */

static void timers(void)
{
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	struct itimerspec spec = {.it_value.tv_sec = 1000}, *now = fresh();
	struct itimerval value = {.it_value.tv_sec = 1000}, *old = fresh();
	timer_t *timer = fresh();
	int *number = fresh();

	CHECK(!timer_create(CLOCK_MONOTONIC, put(&none, sizeof none), timer));
	CHECK(!timer_settime(*timer, 0, put(&spec, sizeof spec), fresh()) && !timer_gettime(*timer, now) && now->it_value.tv_sec);
	CHECK(!syscall(SYS_timer_create, CLOCK_MONOTONIC, put(&none, sizeof none), number));
	CHECK(!syscall(SYS_timer_settime, *number, 0, put(&spec, sizeof spec), fresh()));
	CHECK(!syscall(SYS_timer_gettime, *number, fresh()) && !syscall(SYS_timer_delete, *number));
	CHECK(!setitimer(ITIMER_VIRTUAL, put(&value, sizeof value), fresh()));
	CHECK(!getitimer(ITIMER_VIRTUAL, old) && old->it_value.tv_sec);
	value.it_value.tv_sec = 0;
	CHECK(!setitimer(ITIMER_VIRTUAL, put(&value, sizeof value), NULL) && !timer_delete(*timer));
	CHECK(adjtimex(VALUE(struct timex, 0)) >= 0 && ntp_adjtime(VALUE(struct timex, 0)) >= 0 &&
	      clock_adjtime(CLOCK_REALTIME, VALUE(struct timex, 0)) >= 0);
	FAILS(EINVAL, clock_settime(CLOCK_REALTIME, VALUE(struct timespec, 0, -1)));
}

static void signals(void)
{
	sigset_t set, *pending = fresh(), *old = fresh();
	siginfo_t *info = fresh();
	int *sig = fresh(), fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!sigprocmask(SIG_BLOCK, put(&set, sizeof set), old) && !sigismember(old, SIGUSR1));
	CHECK(!raise(SIGUSR1) && !sigpending(pending) && sigismember(pending, SIGUSR1));
	CHECK(!syscall(SYS_rt_sigpending, fresh(), 8) && !syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, fresh(), 8));
	CHECK(sigwaitinfo(put(&set, sizeof set), info) == SIGUSR1 && info->si_signo == SIGUSR1);
	FAILS(EAGAIN, sigtimedwait(put(&set, sizeof set), fresh(), VALUE(struct timespec, 0, 1000)));
	FAILS(EAGAIN, syscall(SYS_rt_sigtimedwait, put(&set, sizeof set), fresh(), VALUE(struct timespec, 0, 1000), 8));
	CHECK(!raise(SIGUSR1) && sigtimedwait(put(&set, sizeof set), fresh(), VALUE(struct timespec, 1, 0)) == SIGUSR1);
	CHECK(!raise(SIGUSR1) && syscall(SYS_rt_sigtimedwait, put(&set, sizeof set), fresh(), NULL, 8) == SIGUSR1);
	CHECK(!raise(SIGUSR1) && !sigwait(put(&set, sizeof set), sig) && *sig == SIGUSR1);
	CHECK((fd = signalfd(-1, put(&set, sizeof set), 0)) >= 0 && !close(fd));
	CHECK(!syscall(SYS_rt_sigaction, SIGUSR2, NULL, fresh(), 8) && !syscall(SYS_rt_sigaction, SIGBUS, NULL, fresh(), 8));
	CHECK(!sigprocmask(SIG_UNBLOCK, &set, fresh()));
}

static void sigbus_while_blocked(void)
{
	sigset_t set, *pending = fresh();
	int *sig = fresh();
	siginfo_t *info = fresh();

	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL) && !raise(SIGBUS));
	CHECK(!sigpending(pending) && sigismember(pending, SIGBUS) == 1);
	pending = fresh();
	CHECK(!syscall(SYS_rt_sigpending, pending, 8) && sigismember(pending, SIGBUS) == 1);
	CHECK(!sigwait(put(&set, sizeof set), sig) && *sig == SIGBUS);
	CHECK(!raise(SIGBUS) && sigwaitinfo(put(&set, sizeof set), info) == SIGBUS && info->si_pid == getpid());
	CHECK(!raise(SIGBUS) && sigtimedwait(put(&set, sizeof set), fresh(), VALUE(struct timespec, 1, 0)) == SIGBUS);
	CHECK(!raise(SIGBUS) && syscall(SYS_rt_sigtimedwait, put(&set, sizeof set), fresh(), NULL, 8) == SIGBUS);
	CHECK(!sigpending(pending) && !sigismember(pending, SIGBUS) && !sigprocmask(SIG_UNBLOCK, &set, NULL));
}

/* ---- Queues and semaphores ---- */

static void queues(void)
{
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16}, *got = fresh();
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	char name[32], *text = fresh();
	unsigned *priority = fresh();
	mqd_t q;

	snprintf(name, sizeof name, "/check.%d", getpid());
	q = mq_open(STRING(name), O_CREAT | O_RDWR, 0600, put(&attr, sizeof attr));
	CHECK(q >= 0 || errno != EFAULT);
	if (q < 0)
		return;
	CHECK(!mq_getattr(q, got) && got->mq_msgsize == 16 && !mq_setattr(q, put(&attr, sizeof attr), fresh()));
	CHECK(!mq_notify(q, put(&none, sizeof none)) && !mq_notify(q, NULL));
	CHECK(!mq_send(q, STRING("one"), 4, 1) && !mq_timedsend(q, STRING("two"), 4, 0, VALUE(struct timespec, 0)));
	CHECK(mq_receive(q, text, 16, priority) == 4 && !strcmp(text, "one") && *priority == 1);
	CHECK(mq_timedreceive(q, fresh(), 16, fresh(), VALUE(struct timespec, 0)) == 4);
	CHECK(!mq_close(q) && !mq_unlink(STRING(name)));
	q = (mqd_t)syscall(SYS_mq_open, STRING(name + 1), O_CREAT | O_RDWR, 0600, put(&attr, sizeof attr));
	CHECK(q >= 0 && !syscall(SYS_mq_timedsend, q, STRING("raw"), 4, 3, VALUE(struct timespec, 0)));
	CHECK(syscall(SYS_mq_timedreceive, q, fresh(), 16, fresh(), VALUE(struct timespec, 0)) == 4);
	CHECK(!syscall(SYS_mq_getsetattr, q, put(&attr, sizeof attr), fresh()) && !syscall(SYS_mq_notify, q, put(&none, sizeof none)));
	CHECK(!syscall(SYS_mq_unlink, STRING(name + 1)) && !close(q));
}

static void messages(void)
{
	struct text {
		long type;
		char bytes[8];
	} m = {7, "hello"}, *got = fresh();
	struct msqid_ds *ds = fresh();
	int id = msgget(IPC_PRIVATE, 0600);

	CHECK(id >= 0 || errno == ENOSYS || errno == ENOSPC);
	if (id < 0)
		return;
	CHECK(!msgsnd(id, put_across(&m, sizeof m), sizeof m.bytes, 0) && !msgctl(id, IPC_STAT, ds) && ds->msg_qnum == 1);
	CHECK(!msgctl(id, IPC_SET, put(ds, sizeof *ds)));
	CHECK(msgrcv(id, got, sizeof got->bytes, 0, 0) == sizeof got->bytes && got->type == 7 && !strcmp(got->bytes, "hello"));
	CHECK(!msgctl(id, IPC_RMID, NULL));
}

static void semaphores(void)
{
	struct sembuf add = {.sem_num = 1, .sem_op = 2}, take = {.sem_num = 1, .sem_op = -9};
	unsigned short values[3] = {1, 2, 3}, *all = fresh();
	struct semid_ds *ds = fresh();
	int id = semget(IPC_PRIVATE, 3, 0600);

	CHECK(id >= 0 || errno == ENOSYS || errno == ENOSPC);
	if (id < 0)
		return;
	CHECK(!semctl(id, 0, SETALL, put(values, sizeof values)) && !semctl(id, 0, IPC_STAT, ds) && ds->sem_nsems == 3);
	CHECK(!semop(id, put_across(&add, sizeof add), 1));
	FAILS(EAGAIN, semtimedop(id, put(&take, sizeof take), 1, VALUE(struct timespec, 0, 1000)));
	CHECK(!semctl(id, 0, GETALL, all) && all[0] == 1 && all[1] == 4 && all[2] == 3);
	CHECK(semctl(id, 0, SEM_INFO, fresh()) >= 0 && !semctl(id, 0, IPC_RMID));
}

static void shared_memory(void)
{
	struct shmid_ds *ds = fresh();
	int id = shmget(IPC_PRIVATE, PAGE, 0600);

	CHECK(id >= 0 || errno == ENOSYS || errno == ENOSPC);
	if (id < 0)
		return;
	CHECK(!shmctl(id, IPC_STAT, ds) && ds->shm_segsz == PAGE && !shmctl(id, IPC_SET, put(ds, sizeof *ds)));
	CHECK(!shmctl(id, IPC_RMID, NULL));
}

/* ---- Processes ---- */

static void tasks(void)
{
	uid_t *users[3] = {fresh(), fresh(), fresh()};
	struct sched_param *p = fresh();
	eventfd_t *count = fresh();
	int fd = eventfd(0, 0);
	char *name = fresh();

	CHECK(!getresuid(users[0], users[1], users[2]) && *users[1] == geteuid());
	CHECK(!getresgid(fresh(), fresh(), fresh()));
	NO_FAULT(setgroups(1, VALUE(gid_t, getgid())));
	CHECK(!sched_getparam(0, p) && !p->sched_priority && !sched_setparam(0, put(p, sizeof *p)));
	CHECK(!sched_setscheduler(0, SCHED_OTHER, put(p, sizeof *p)) && !sched_rr_get_interval(0, fresh()));
	CHECK(!prctl(PR_SET_NAME, STRING("a name")) && !prctl(PR_GET_NAME, name) && !strcmp(name, "a name"));
	CHECK(!prctl(PR_GET_PDEATHSIG, fresh()) && !syscall(SYS_prctl, PR_GET_NAME, fresh()));
	CHECK(!eventfd_write(fd, 5) && !eventfd_read(fd, count) && *count == 5 && !close(fd));
}

static pid_t ends_with(int status)
{
	pid_t pid = fork();

	if (!pid)
		_exit(status);
	return pid;
}

static void more_of_tasks(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	int *status = fresh(), dir = open(".", O_RDONLY | O_DIRECTORY);
	char *name = fresh();
	cpu_set_t *cpus = fresh();
	pid_t pid = ends_with(5);

	CHECK(wait3(status, 0, fresh()) == pid && WEXITSTATUS(*status) == 5);
	CHECK(!pthread_getaffinity_np(pthread_self(), sizeof *cpus, cpus) && CPU_COUNT(cpus) > 0);
	CHECK(!pthread_setaffinity_np(pthread_self(), sizeof *cpus, put(cpus, sizeof *cpus)));
	CHECK(!pthread_setname_np(pthread_self(), "a thread") && !pthread_getname_np(pthread_self(), name, 16) &&
	      !strcmp(name, "a thread"));
	CHECK(!capget(&header, caps) && !capget(put(&header, sizeof header), fresh()));
	CHECK(!capset(put(&header, sizeof header), put(caps, sizeof caps)));
	CHECK(dir >= 0 && getdirentries(dir, fresh(), PAGE, VALUE(off_t, 0)) > 0 && !close(dir));
}

/* System calls that programs make by number. */
static void by_number(void)
{
	int *status = fresh(), *ends = fresh(), dir = open(".", O_RDONLY | O_DIRECTORY);
	void *pages[1] = {&dir};
	pid_t pid = ends_with(6);

	CHECK(syscall(SYS_wait4, pid, status, 0L, fresh()) == pid && WEXITSTATUS(*status) == 6);
	CHECK(!syscall(SYS_pipe2, ends, O_CLOEXEC) && !close(ends[0]) && !close(ends[1]));
	CHECK(syscall(SYS_getdents, dir, fresh(), PAGE) > 0 && !close(dir));
	CHECK(!syscall(SYS_mkdir, STRING("one"), 0700) && !syscall(SYS_renameat2, AT_FDCWD, STRING("one"), AT_FDCWD, STRING("two"), 0));
	CHECK(!syscall(SYS_access, STRING("two"), R_OK) && !syscall(SYS_rmdir, STRING("two")));
	CHECK(syscall(SYS_getcwd, fresh(), PAGE) > 0 && !syscall(SYS_statfs, STRING("."), fresh()));
	CHECK(syscall(SYS_sched_getaffinity, 0, 128L, fresh()) > 0 && !syscall(SYS_getcpu, fresh(), fresh(), NULL));
	CHECK(!syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, VALUE(struct timespec, .tv_nsec = 1000), fresh()));
	NO_FAULT(syscall(SYS_sched_getattr, 0, fresh(), 48, 0));
	NO_FAULT(syscall(SYS_move_pages, 0, 1L, put(pages, sizeof pages), NULL, fresh(), 0));
}

static void *write_later(void *arg)
{
	usleep(50000);
	CHECK(write(*(int *)arg, "later", 5) == 5);
	return NULL;
}

/* splice(2) waits for what is not there yet, but for nothing that it refuses. */
static void pipe_to_file(void)
{
	int fd = pattern_file(2UL << 20), read_only = open("/proc/self/exe", O_RDONLY), ends[2];
	char *p = map_file(fd, 2UL << 20, PROT_READ | PROT_WRITE, MAP_SHARED);
	off64_t at = 3 * PAGE;
	pthread_t t;

	CHECK(!pipe(ends) && read_only >= 0);
	CHECK(splice(ends[0], NULL, fd, &at, 0, 0) == 0);
	FAILS(EBADF, splice(ends[0], NULL, read_only, NULL, 5, 0));
	FAILS(EINVAL, splice(fd, NULL, fd, &at, 5, 0));
	FAILS(EAGAIN, splice(ends[0], NULL, fd, &at, 5, SPLICE_F_NONBLOCK));
	CHECK(!pthread_create(&t, NULL, write_later, &ends[1]));
	CHECK(splice(ends[0], NULL, fd, &at, 100, 0) == 5 && at == 3 * PAGE + 5 && !memcmp(p + 3 * PAGE, "later", 5));
	CHECK(!pthread_join(t, NULL) && !close(ends[1]));
	CHECK(splice(ends[0], NULL, fd, &at, 100, 0) == 0);
	CHECK(!munmap(p, 2UL << 20) && !close(fd) && !close(ends[0]) && !close(read_only));
}

/* ---- By number, where libc has no function that is the same, or none at all ---- */

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#define SYS_futex_requeue 456
#endif
#define FUTEX_32 2 /* of the newer calls */

/* The kernel's struct futex_waitv. */
struct waiter {
	uint64_t value;
	void *word;
	uint32_t flags, unused;
};

static bool is_missing(long result)
{
	return result == -1 && errno == ENOSYS;
}

static void waits_by_number(void)
{
	struct timespec now = {0, 0};
	struct waiter two[2] = {{77, VALUE(int, 77), FUTEX_32, 0}, {78, VALUE(int, 77), FUTEX_32, 0}};
	struct raw_set {
		const void *set;
		size_t size;
	} mask = {VALUE(uint64_t, 0), 8};
	int fds[2], fd, *wanted = fresh();
	long result;

	CHECK(!pipe(fds) && write(fds[1], "x", 1) == 1);
	*wanted = 1 << fds[0];
	CHECK(syscall(SYS_pselect6, fds[0] + 1, put(wanted, sizeof(fd_set)), fresh(), fresh(), put(&now, sizeof now),
		      put_across(&mask, sizeof mask)) == 1);
	CHECK((fd = epoll_create1(0)) >= 0 && !epoll_ctl(fd, EPOLL_CTL_ADD, fds[0], VALUE(struct epoll_event, .events = EPOLLIN)));
	result = syscall(SYS_epoll_pwait2, fd, fresh(), 1, put(&now, sizeof now), VALUE(uint64_t, 0), 8L);
	CHECK(result == 1 || is_missing(result));
	result = syscall(SYS_futex_waitv, put(two, sizeof two), 2, 0, put(&now, sizeof now), CLOCK_MONOTONIC);
	CHECK(is_missing(result) || errno == EAGAIN);
	result = syscall(SYS_futex_requeue, put(two, sizeof two), 0, 1, 1);
	CHECK(!result || is_missing(result));
	result = syscall(SYS_futex_wait, VALUE(int, 77), 78L, (long)UINT32_MAX, FUTEX_32, put(&now, sizeof now), CLOCK_MONOTONIC);
	CHECK(is_missing(result) || errno == EAGAIN);
	result = syscall(SYS_futex_wake, VALUE(int, 77), (long)UINT32_MAX, 1, FUTEX_32);
	CHECK(!result || is_missing(result));
	close(fd);
	close(fds[0]);
	close(fds[1]);
}

static void others_by_number(void)
{
	int fd = (int)syscall(SYS_signalfd4, -1, VALUE(uint64_t, 1 << (SIGUSR1 - 1)), 8L, 0), file = pattern_file(PAGE);
	unsigned long *context = VALUE(unsigned long, 0);
	struct timespec now = {0, 0};
	uint64_t range[2] = {0, 0};
	long result;

	CHECK(fd >= 0 && !close(fd) && (fd = (int)syscall(SYS_signalfd, -1, VALUE(uint64_t, 0), 8L)) >= 0 && !close(fd));
	if (!syscall(SYS_io_setup, 8, context)) {
		CHECK(!syscall(SYS_io_getevents, *context, 0L, 8L, fresh(), put(&now, sizeof now)));
		CHECK(!syscall(SYS_io_destroy, *context));
	}
	result = syscall(SYS_cachestat, file, put(range, sizeof range), fresh(), 0);
	CHECK(!result || is_missing(result));
	result = syscall(SYS_fchmodat2, file, STRING(""), 0600, AT_EMPTY_PATH);
	CHECK(!result || is_missing(result));
	NO_FAULT(syscall(SYS_fsopen, STRING("no such type"), 0));
	NO_FAULT(syscall(SYS_io_uring_setup, 0, fresh()));
	NO_FAULT(syscall(SYS_add_key, STRING("no such type"), STRING("key"), STRING("text"), 4L, 0));
	close(file);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"attributes", attributes},
		{"names", names},
		{"locks_and_offsets", locks_and_offsets},
		{"memory_to_pipe", memory_to_pipe},
		{"pipe_to_file", pipe_to_file},
		{"timers", timers},
		{"signals", signals},
		{"sigbus_while_blocked", sigbus_while_blocked},
		{"queues", queues},
		{"messages", messages},
		{"semaphores", semaphores},
		{"shared_memory", shared_memory},
		{"tasks", tasks},
		{"more_of_tasks", more_of_tasks},
		{"by_number", by_number},
		{"waits_by_number", waits_by_number},
		{"others_by_number", others_by_number},
	};

	(void)argc;
	fresh_begin();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
