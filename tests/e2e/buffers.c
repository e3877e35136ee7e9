/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of system calls in mapped memory, on pages that are not in memory at the time: each call does what it does with
 * memory of any other kind.
 */
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "fresh.h"

static void files(void)
{
	struct stat *st = fresh(), *other = fresh();
	struct statx *stx = fresh();
	struct statfs *fs = fresh();
	char *cwd = fresh(), *target = fresh(), *random_bytes = fresh(), *path = put("/", 2);

	CHECK(!stat(path, st) && S_ISDIR(st->st_mode));
	CHECK(!fstat(0, other) && !lstat("/proc/self/exe", other) && S_ISLNK(other->st_mode));
	CHECK(!fstatat(AT_FDCWD, "/", fresh(), 0));
	CHECK(!statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, stx) && S_ISDIR(stx->stx_mode));
	CHECK(!statfs("/", fs) && fs->f_bsize);
	CHECK(getcwd(cwd, PAGE) == cwd && cwd[0] == '/');
	CHECK(readlink("/proc/self/exe", target, PAGE) > 0 && target[0] == '/');
	CHECK(getrandom(random_bytes, PAGE, 0) == (ssize_t)PAGE);
	CHECK(!syscall(SYS_newfstatat, AT_FDCWD, "/", fresh(), 0));
	CHECK(!mkfifo(put("fifo", 5), 0600) && !utimes(put("fifo", 5), NULL) && !link(put("fifo", 5), put("other", 6)));
	CHECK(!remove(put("fifo", 5)) && !unlink(put("other", 6)));
	FAILS(ENOENT, truncate(put("no such file", 13), 0));
}

static void times_and_machine(void)
{
	struct timespec *t = fresh(), short_time = {0, 1000};
	struct utsname *u = fresh();
	struct sysinfo *s = fresh();
	struct rusage *r = fresh();
	struct rlimit *l = fresh();
	cpu_set_t *cpus = fresh();

	CHECK(!clock_gettime(CLOCK_MONOTONIC, t) && t->tv_sec);
	CHECK(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, fresh()) && !clock_getres(CLOCK_REALTIME, fresh()));
	CHECK(!syscall(SYS_clock_gettime, CLOCK_REALTIME, fresh()));
	CHECK(!gettimeofday(fresh(), NULL));
	CHECK(!nanosleep(put(&short_time, sizeof short_time), fresh()));
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, put(&short_time, sizeof short_time), NULL));
	CHECK(!uname(u) && !strcmp(u->sysname, "Linux"));
	CHECK(!sysinfo(s) && s->totalram);
	CHECK(!getrusage(RUSAGE_SELF, r) && r->ru_maxrss);
	CHECK(!getrlimit(RLIMIT_NOFILE, l) && l->rlim_cur);
	CHECK(!sched_getaffinity(0, sizeof *cpus, cpus) && CPU_COUNT(cpus));
}

static void polls(void)
{
	int *fds = fresh(), ep, *waiting = fresh();
	struct pollfd p = {.events = POLLIN}, *q;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 42}, *got = fresh();
	fd_set set, *s;

	CHECK(!pipe(fds) && write(fds[1], "x", 1) == 1);
	p.fd = fds[0];
	q = put(&p, sizeof p);
	CHECK(poll(q, 1, 1000) == 1 && (q->revents & POLLIN));
	q = put(&p, sizeof p);
	CHECK(ppoll(q, 1, NULL, NULL) == 1 && (q->revents & POLLIN));
	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	s = put(&set, sizeof set);
	CHECK(select(fds[0] + 1, s, NULL, fresh(), NULL) == 1 && FD_ISSET(fds[0], s));
	s = put(&set, sizeof set);
	CHECK(pselect(fds[0] + 1, s, NULL, NULL, NULL, NULL) == 1);
	ep = epoll_create1(0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], put(&e, sizeof e)));
	CHECK(epoll_wait(ep, got, 8, 1000) == 1 && got->data.u64 == 42);
	CHECK(epoll_pwait(ep, fresh(), 8, 1000, NULL) == 1);
	CHECK(!ioctl(fds[0], FIONREAD, waiting) && *waiting == 1);
	close(ep);
	close(fds[0]);
	close(fds[1]);
}

static void locks(void)
{
	struct timespec no_time = {0, 1000};
	int *word = put(&(int){5}, sizeof(int));

	FAILS(EAGAIN, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 6, NULL, NULL, 0));
	word = put(&(int){5}, sizeof(int));
	FAILS(ETIMEDOUT, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 5, put(&no_time, sizeof no_time), NULL, 0));
}

static void children(void)
{
	int *status = fresh();
	siginfo_t *info = fresh();
	pid_t child = vfork();

	if (!child)
		_exit(7);
	CHECK(waitpid(child, status, 0) == child && WEXITSTATUS(*status) == 7);
	child = vfork();
	if (!child)
		_exit(8);
	CHECK(!waitid(P_PID, (id_t)child, info, WEXITED) && info->si_status == 8);
}

static void socket_addresses(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"}, *got = fresh();
	socklen_t len = sizeof name, *room = put(&len, sizeof len);
	int one = 1, *option = fresh(), server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), accepted;

	unlink(name.sun_path);
	CHECK(!bind(server, put(&name, sizeof name), sizeof name) && !listen(server, 1));
	CHECK(!connect(client, put(&name, sizeof name), sizeof name));
	accepted = accept(server, fresh(), put(&len, sizeof len));
	CHECK(accepted >= 0);
	CHECK(!getsockname(accepted, (struct sockaddr *)got, room) && !strcmp(got->sun_path, "socket") && *room < len);
	CHECK(!getpeername(client, fresh(), put(&len, sizeof len)));
	CHECK(!setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, put(&one, sizeof one), sizeof one));
	len = sizeof one;
	CHECK(!getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, option, put(&len, sizeof len)) && *option == 1);
	close(accepted);
	close(client);
	close(server);
	unlink(name.sun_path);
}

/* The time is mapped, the message is or is not; what is left of the time comes back. */
static void receive_in_time(const int pair[2], struct mmsghdr *mapped)
{
	struct timespec second = {1, 0}, *left;
	char buf[4];
	struct iovec v = {buf, sizeof buf};
	struct mmsghdr plain = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

	for (int i = 0; i < 2; i++) {
		CHECK(send(pair[0], "soon", 4, 0) == 4);
		left = put(&second, sizeof second);
		CHECK(recvmmsg(pair[1], i ? mapped : &plain, 1, 0, left) == 1);
		CHECK(left->tv_sec == 0 && left->tv_nsec > 0);
	}
}

/* A message all of whose parts are mapped memory; a descriptor goes along. */
static void messages(void)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof control}, *in;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct iovec v = {put("hello", 6), 6};
	int *pair = fresh(), passed;
	struct mmsghdr several[2] = {0}, *two;

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(c), pair, sizeof(int));
	m.msg_control = put(control, sizeof control);
	m.msg_iov = put(&v, sizeof v);
	m.msg_iovlen = 1;
	CHECK(sendmsg(pair[0], put(&m, sizeof m), 0) == 6);
	v.iov_base = fresh();
	m.msg_iov = put(&v, sizeof v);
	m.msg_control = fresh();
	in = put(&m, sizeof m);
	CHECK(recvmsg(pair[1], in, 0) == 6 && !strcmp(v.iov_base, "hello"));
	c = CMSG_FIRSTHDR(in);
	CHECK(c && c->cmsg_type == SCM_RIGHTS);
	memcpy(&passed, CMSG_DATA(c), sizeof passed);
	CHECK(passed > pair[1] && !close(passed));
	v.iov_base = put("again", 6);
	for (int i = 0; i < 2; i++)
		several[i].msg_hdr = (struct msghdr){.msg_iov = put(&v, sizeof v), .msg_iovlen = 1};
	CHECK(sendmmsg(pair[0], put(several, sizeof several), 2, 0) == 2);
	for (int i = 0; i < 2; i++) {
		v.iov_base = fresh();
		several[i].msg_hdr.msg_iov = put(&v, sizeof v);
	}
	two = put(several, sizeof several);
	CHECK(recvmmsg(pair[1], two, 2, 0, NULL) == 2 && two[1].msg_len == 6 && !strcmp(v.iov_base, "again"));
	receive_in_time(pair, two);
	CHECK(sendto(pair[0], put("last", 5), 5, 0, NULL, 0) == 5);
	CHECK(recvfrom(pair[1], fresh(), 5, 0, fresh(), put(&(socklen_t){100}, sizeof(socklen_t))) == 5);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"files", files},       {"times_and_machine", times_and_machine}, {"polls", polls},       {"locks", locks},
		{"children", children}, {"socket_addresses", socket_addresses},   {"messages", messages},
	};
	(void)argc;
	fresh_begin();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
