/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of system calls that point to no memory: each call fails with EFAULT, whether the address means nothing, the page
 * may not be accessed, or the file ends before it. The last two are of a mapping as the others in this process.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <utime.h>

#include "check.h"

#define PAGES 512UL
#define NO_ACCESS (PAGES / 2)
#define SET_SIZE 8

static int file;
static char *map;
static void *bad[6];

static void drop(size_t page)
{
	CHECK(!msync(map + page * PAGE, PAGE, MS_SYNC) && !madvise(map + page * PAGE, PAGE, MADV_DONTNEED));
}

/* A byte before a page that is bad, on one that is not in memory: of a string or a struct, the rest is bad. */
static char *last_byte(size_t page)
{
	map[page * PAGE - 1] = 't';
	drop(page - 1);
	return map + page * PAGE - 1;
}

static void find_bad(void)
{
	bad[0] = (void *)0x1000;
	bad[1] = map + NO_ACCESS * PAGE;
	bad[2] = map + PAGES * PAGE;
	bad[3] = last_byte(NO_ACCESS);
	bad[4] = last_byte(PAGES);
	bad[5] = (void *)(UINT64_MAX - PAGE + 1);
}

#define EACH(b) for (size_t i_ = 0; i_ < ARRAY_SIZE(bad) && ((b) = bad[i_], 1); i_++)

/* The call fails with each of them as b. */
#define BAD(call)                            \
	do {                                 \
		void *b;                     \
                                             \
		EACH(b) FAILS(EFAULT, call); \
	} while (0)

static void paths(void)
{
	struct stat st;
	struct statx stx;
	struct statfs fs;
	char room[PAGE];

	BAD(open(b, O_RDONLY));
	BAD(open(b, O_RDWR | O_TRUNC));
	BAD(openat(AT_FDCWD, b, O_RDONLY));
	BAD(creat(b, 0600));
	BAD(access(b, F_OK));
	BAD(faccessat(AT_FDCWD, b, F_OK, 0));
	BAD(stat(b, &st));
	BAD(lstat(b, &st));
	BAD(fstatat(AT_FDCWD, b, &st, 0));
	BAD(statx(AT_FDCWD, b, 0, STATX_BASIC_STATS, &stx));
	BAD(statfs(b, &fs));
	BAD(unlink(b));
	BAD(unlinkat(AT_FDCWD, b, 0));
	BAD(rmdir(b));
	BAD(mkdir(b, 0700));
	BAD(mkdirat(AT_FDCWD, b, 0700));
	BAD(mknod(b, S_IFIFO | 0600, 0));
	BAD(mkfifo(b, 0600));
	BAD(chdir(b));
	BAD(chroot(b));
	BAD(chmod(b, 0600));
	BAD(fchmodat(AT_FDCWD, b, 0600, 0));
	BAD(chown(b, 0, 0));
	BAD(lchown(b, 0, 0));
	BAD(truncate(b, 0));
	BAD(utime(b, NULL));
	BAD(utimes(b, NULL));
	BAD(readlink(b, room, sizeof room));
	BAD(readlinkat(AT_FDCWD, b, room, sizeof room));
	CHECK(!(errno = 0) && !opendir(bad[4]) && errno == EFAULT); /* libc looks at the first byte */
	CHECK(!(errno = 0) && !fopen(bad[1], "r") && errno == EFAULT && !fopen(bad[4], "w") && errno == EFAULT);
}

static void two_paths(void)
{
	CHECK(close(open("one", O_CREAT | O_RDWR, 0600)) == 0);
	BAD(rename(b, "other"));
	BAD(rename("one", b));
	BAD(renameat(AT_FDCWD, "one", AT_FDCWD, b));
	BAD(link("one", b));
	BAD(linkat(AT_FDCWD, b, AT_FDCWD, "other", 0));
	BAD(symlink("one", b));
	BAD(symlink(b, "other"));
	CHECK(!unlink("one") && access("other", F_OK));
}

/* A string over two pages that are not in memory, and one that ends right before a page that is bad. */
static void path_over_pages(void)
{
	static const char path[] = "/proc/self/exe";
	char *over = map + 64 * PAGE - 5, *last = map + NO_ACCESS * PAGE - sizeof path;
	struct stat st;

	CHECK(pwrite(file, path, sizeof path, over - map) == sizeof path); /* pages that were never in memory */
	memcpy(last, path, sizeof path);
	drop(NO_ACCESS - 1);
	CHECK(!stat(over, &st) && S_ISREG(st.st_mode));
	CHECK(!stat(last, &st) && S_ISREG(st.st_mode));
}

static void given(void)
{
	BAD(stat("/", b));
	BAD(lstat("/", b));
	BAD(fstat(file, b));
	BAD(fstatat(AT_FDCWD, "/", b, 0));
	BAD(statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, b));
	BAD(statfs("/", b));
	BAD(fstatfs(file, b));
	BAD(readlink("/proc/self/exe", b, PAGE));
	BAD(readlinkat(AT_FDCWD, "/proc/self/exe", b, PAGE));
	CHECK(!(errno = 0) && !getcwd(bad[1], PAGE) && errno == EFAULT && !getcwd(bad[4], PAGE) && errno == EFAULT);
	BAD(syscall(SYS_getcwd, b, PAGE));
	FAILS(ENOENT, readlink("no such file", bad[1], PAGE));
	FAILS(EINVAL, readlink("/", bad[1], PAGE));
	CHECK(!readlink("/proc/self/cwd", bad[1], 0) || errno == EINVAL);
}

/* The list of buffers, on a file that is mapped and on one that is not. */
static void vectors(void)
{
	int fds[2], all[2];

	CHECK(!pipe(fds) && write(fds[1], "hello", 5) == 5);
	all[0] = file;
	all[1] = fds[1];
	for (int i = 0; i < 2; i++) {
		BAD(writev(all[i], b, 1));
		BAD(writev(all[i], b, 2));
	}
	BAD(readv(fds[0], b, 1));
	BAD(readv(file, b, 1));
	BAD(preadv(file, b, 1, 0));
	BAD(pwritev(file, b, 1, 0));
	BAD(preadv2(file, b, 1, 0, 0));
	BAD(pwritev2(file, b, 1, 0, 0));
	BAD(syscall(SYS_readv, file, b, 1));
	close(fds[0]);
	close(fds[1]);
}

static void messages(void)
{
	struct iovec v = {"hello", 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct mmsghdr two[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
	int pair[2];
	void *b;

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) && write(pair[0], "hello", 5) == 5);
	BAD(sendmsg(pair[0], b, 0));
	BAD(recvmsg(pair[1], b, MSG_DONTWAIT));
	BAD(sendmmsg(pair[0], b, 1, 0));
	BAD(recvmmsg(pair[1], b, 1, MSG_DONTWAIT, NULL));
	EACH(b)
	{
		m.msg_iov = b;
		FAILS(EFAULT, sendmsg(pair[0], &m, 0));
		FAILS(EFAULT, recvmsg(pair[1], &m, MSG_DONTWAIT));
		two[1].msg_hdr.msg_iov = b;
		CHECK(sendmmsg(pair[0], two, 2, 0) == 1 && two[0].msg_len == 5);
	}
	close(pair[0]);
	close(pair[1]);
}

static void programs(void)
{
	char *args[] = {"true", NULL, NULL}, *none[] = {NULL};

	BAD(execve(b, args, none));
	BAD(execv(b, args));
	BAD(execve("/bin/true", b, none));
	BAD(execve("/bin/true", args, b));
	BAD(execve("/bin/true", (args[1] = b, args), none));
}

static void lengths(void)
{
	int pair[2], one, server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_storage name;
	sa_family_t family = AF_UNIX;

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) && !bind(server, (void *)&family, sizeof family) && !listen(server, 4));
	BAD(getsockname(pair[0], (void *)&name, b));
	BAD(getpeername(pair[0], (void *)&name, b));
	BAD(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &one, b));
	BAD(bind(client, b, 16));
	BAD(connect(client, b, 16));
	FAILS(EAGAIN, (fcntl(server, F_SETFL, O_NONBLOCK), accept(server, (void *)&name, bad[0])));
	for (size_t i = 0; i < 3; i++) {
		socklen_t len = sizeof name;

		client = socket(AF_UNIX, SOCK_STREAM, 0);
		CHECK(!getsockname(server, (void *)&name, &len) && !connect(client, (void *)&name, len));
		FAILS(EFAULT, accept(server, (void *)&name, bad[i]));
		close(client);
	}
	close(server);
	close(pair[0]);
	close(pair[1]);
}

static void offsets(void)
{
	int out = pattern_file(PAGE), fds[2];

	CHECK(!pipe(fds));
	BAD(sendfile(out, file, b, 10));
	BAD(sendfile(file, out, b, 10));
	BAD(splice(out, b, fds[1], NULL, 10, 0));
	BAD(splice(file, b, fds[1], NULL, 10, 0));
	BAD(copy_file_range(out, b, file, NULL, 10, 0));
	BAD(copy_file_range(out, NULL, file, b, 10, 0));
	BAD(copy_file_range(file, b, out, NULL, 10, 0));
	close(out);
	close(fds[0]);
	close(fds[1]);
}

static void locks(void)
{
	BAD(fcntl(file, F_SETLK, b));
	BAD(fcntl(file, F_SETLKW, b));
	BAD(fcntl(file, F_GETLK, b));
	BAD(fcntl(file, F_OFD_SETLK, b));
	BAD(syscall(SYS_fcntl, file, F_SETLK, b));
}

static void signals(void)
{
	struct pollfd p = {.fd = -1};
	struct timespec none = {0};
	struct epoll_event e;
	int ep = epoll_create1(0);

	BAD(sigaltstack(b, NULL));
	BAD(sigsuspend(b));
	BAD(ppoll(&p, 1, &none, b));
	BAD(poll(b, 1, 0));
	BAD(select(1, b, NULL, NULL, &(struct timeval){0}));
	BAD(pselect(0, NULL, NULL, NULL, &none, b));
	BAD(epoll_pwait(ep, &e, 1, 0, b));
	BAD(syscall(SYS_rt_sigaction, SIGUSR1, b, NULL, SET_SIZE));
	BAD(syscall(SYS_rt_sigaction, SIGBUS, b, NULL, SET_SIZE));
	BAD(syscall(SYS_rt_sigaction, SIGBUS, NULL, b, SET_SIZE));
	BAD(syscall(SYS_rt_sigprocmask, SIG_BLOCK, b, NULL, SET_SIZE));
	BAD(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, b, SET_SIZE));
	BAD(syscall(SYS_rt_sigsuspend, b, SET_SIZE));
	BAD(syscall(SYS_ppoll, &p, 1, &none, b, SET_SIZE));
	close(ep);
}

/* What ends before a bad page is all there. */
static void next_to_bad(void)
{
	struct iovec v = {"hello", 5}, *list = (struct iovec *)(map + NO_ACCESS * PAGE) - 1;
	struct sockaddr *name = (struct sockaddr *)(map + PAGES * PAGE) - 1;
	socklen_t len = 100;
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	*list = v;
	drop(NO_ACCESS - 1);
	CHECK(writev(pair[0], list, 1) == 5);
	FAILS(EFAULT, writev(pair[0], list, 2));
	drop(PAGES - 1);
	CHECK(!getsockname(pair[0], name, &len) && name->sa_family == AF_UNIX && len == sizeof name->sa_family);
	close(pair[0]);
	close(pair[1]);
}

#define STACK (32 * PAGE)

static char *stack; /* and above it a page that may not be accessed */
static ucontext_t back;

/* The last structs of the stack are said to be followed by more. */
static void call_from_stack(void)
{
	struct file_dedupe_range *range = (struct file_dedupe_range *)(stack + STACK) - 1;
	struct iovec *list = (struct iovec *)(stack + STACK) - 1;
	struct msghdr m = {.msg_iov = list, .msg_iovlen = 500};
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	*range = (struct file_dedupe_range){.src_length = PAGE, .dest_count = 100};
	FAILS(EFAULT, ioctl(file, FIDEDUPERANGE, range));
	*list = (struct iovec){"hello", 5};
	CHECK(writev(pair[0], list, 1) == 5);
	FAILS(EFAULT, writev(pair[0], list, 500));
	FAILS(EFAULT, sendmsg(pair[0], &m, 0));
	close(pair[0]);
	close(pair[1]);
}

static void past_the_stack(void)
{
	ucontext_t c;

	stack = mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	CHECK(stack != MAP_FAILED && !mprotect(stack + STACK, PAGE, PROT_NONE) && !getcontext(&c));
	c.uc_stack = (stack_t){.ss_sp = stack, .ss_size = STACK - PAGE};
	c.uc_link = &back;
	makecontext(&c, call_from_stack, 0);
	CHECK(!swapcontext(&back, &c) && !munmap(stack, STACK + PAGE));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"paths", paths},
		{"two_paths", two_paths},
		{"path_over_pages", path_over_pages},
		{"given", given},
		{"vectors", vectors},
		{"messages", messages},
		{"programs", programs},
		{"lengths", lengths},
		{"offsets", offsets},
		{"locks", locks},
		{"signals", signals},
		{"next_to_bad", next_to_bad},
		{"past_the_stack", past_the_stack},
	};

	(void)argc;
	file = pattern_file(PAGES * PAGE);
	map = map_file(file, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!madvise(map, PAGES * PAGE, MADV_RANDOM) && !mprotect(map + NO_ACCESS * PAGE, PAGE, PROT_NONE));
	find_bad();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
