/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number of a descriptor comes to mean another file, in every way that there is: what is read by it is what the mapping of that file has. Before that
 * it named a file that nobody has mapped, and was read from, or a pipe.
 */
#include <dirent.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define OTHER "descriptors.other"
#define THIRD "descriptors.third"
#define MAPPED "descriptors.mapped"
#define SIZE (2UL << 20)

static int mapped_fd; /* lower than those of the cases */
static char *map;

/* As a library would that makes system calls by itself: no wrapper sees it. */
static int open_unseen(const char *path)
{
	long nr = SYS_open, result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(path), "S"((long)O_RDWR), "d"(0L) : "rcx", "r11", "memory");
	return (int)result;
}

static int make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	return fd;
}

/* One that has been asked about, and answered that nobody has it mapped. */
static int known(void)
{
	int fd = open(OTHER, O_RDWR);
	char c;

	for (int i = 0; i < 3; i++)
		CHECK(pread(fd, &c, 1, 0) == 1 && pwrite(fd, &c, 1, 0) == 1);
	return fd;
}

/* A store is seen by the descriptor, and a write by the mapping. */
static void is_mapped_file(int fd)
{
	static char value;
	char c = 0;
	struct iovec v = {&c, 1};

	map[PAGE + 1] = ++value;
	CHECK(pread(fd, &c, 1, PAGE + 1) == 1 && c == value);
	map[PAGE + 1] = ++value;
	CHECK(preadv(fd, &v, 1, PAGE + 1) == 1 && c == value);
	c = (char)(value + 100);
	CHECK(pwrite(fd, &c, 1, PAGE + 1) == 1 && map[PAGE + 1] == c);
}

static void is_mapped_file_at(int fd, int number)
{
	CHECK(fd == number);
	is_mapped_file(fd);
	close(fd);
}

static void opened(void)
{
	struct open_how how = {.flags = O_RDWR};
	int fd = known();
	char c;

	CHECK(!close(fd));
	is_mapped_file_at(open(MAPPED, O_RDWR), fd);
	fd = known();
	CHECK(!close(fd));
	is_mapped_file_at(openat(AT_FDCWD, MAPPED, O_RDWR), fd);
	fd = known();
	CHECK(!syscall(SYS_close, fd));
	is_mapped_file_at(open_unseen(MAPPED), fd);
	fd = known();
	CHECK(!close(fd));
	is_mapped_file_at((int)syscall(SYS_openat2, AT_FDCWD, MAPPED, &how, sizeof how), fd);
	CHECK(syscall(SYS_openat2, AT_FDCWD, OTHER, &how, sizeof how) == fd && pread(fd, &c, 1, 0) == 1 && !close(fd));
	is_mapped_file_at(open_unseen(MAPPED), fd);
}

static void duplicated(void)
{
	int fd = known();

	is_mapped_file_at(dup2(mapped_fd, fd), fd);
	fd = known();
	is_mapped_file_at(dup3(mapped_fd, fd, O_CLOEXEC), fd);
	fd = known();
	CHECK(!close(fd));
	is_mapped_file_at(dup(mapped_fd), fd);
	fd = known();
	CHECK(!close(fd));
	is_mapped_file_at(fcntl(mapped_fd, F_DUPFD_CLOEXEC, fd), fd);
	fd = known();
	CHECK(syscall(SYS_dup2, mapped_fd, fd) == fd);
	is_mapped_file_at(fd, fd);
}

static void closed_in_a_range(void)
{
	int fd = known();

	CHECK(!syscall(SYS_close_range, fd, fd, 0));
	is_mapped_file_at(open_unseen(MAPPED), fd);
	fd = known();
	closefrom(fd);
	is_mapped_file_at(open_unseen(MAPPED), fd);
}

/* What libc has opened for a stream becomes another file by dup2(2), and libc closes that. */
static void put_under_a_stream(void)
{
	int other = known(), fd;

	for (int by_failing = 0; by_failing < 2; by_failing++) {
		FILE *f = fopen(OTHER, "r+");

		CHECK(f && (fd = dup2(other, fileno(f))) == fileno(f));
		for (int i = 0; i < 3; i++)
			CHECK(pread(fd, &(char){0}, 1, 0) == 1);
		CHECK(by_failing ? !freopen("descriptors.none", "r", f) : !fclose(f));
		is_mapped_file_at(open_unseen(MAPPED), fd);
	}
	CHECK(!close(other));
}

/* libc closes what it has made a stream of. */
static void closed_with_a_stream(void)
{
	int fd = known();
	FILE *f = fdopen(fd, "r+");

	CHECK(f && !fclose(f));
	is_mapped_file_at(open_unseen(MAPPED), fd);
	fd = known();
	CHECK(!close(fd) && (f = fopen(MAPPED, "r+")) && fileno(f) == fd);
	is_mapped_file(fd);
	CHECK(!fclose(f));
	fd = known();
	CHECK(!close(fd) && (f = fopen(OTHER, "r+")) && fileno(f) == fd);
	CHECK(pread(fd, &(char){0}, 1, 0) == 1 && (f = freopen(MAPPED, "r+", f)) && fileno(f) == fd);
	is_mapped_file(fd);
	CHECK(!fclose(f));
}

static void closed_with_a_directory(void)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY);
	DIR *d;

	FAILS(EISDIR, read(fd, &(char){0}, 1));
	CHECK((d = fdopendir(fd)) && !closedir(d));
	is_mapped_file_at(open_unseen(MAPPED), fd);
}

static void a_pipe_or_a_socket_before(void)
{
	int fd[2];
	char c = 0;

	CHECK(!pipe(fd) && write(fd[1], &c, 1) == 1 && read(fd[0], &c, 1) == 1 && !close(fd[1]));
	is_mapped_file_at(dup2(mapped_fd, fd[0]), fd[0]);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd) && write(fd[1], &c, 1) == 1 && read(fd[0], &c, 1) == 1 && !close(fd[1]));
	is_mapped_file_at(dup2(mapped_fd, fd[0]), fd[0]);
}

/* A descriptor that comes in a message. */
static void received(void)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int pair[2], fd, got;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	memcpy(CMSG_DATA(&control.header), &mapped_fd, sizeof mapped_fd);
	CHECK(sendmsg(pair[0], &m, 0) == 1);
	fd = known();
	CHECK(!close(fd));
	v.iov_base = &(char){0};
	CHECK(recvmsg(pair[1], &m, 0) == 1);
	memcpy(&got, CMSG_DATA(&control.header), sizeof got);
	is_mapped_file_at(got, fd);
	close(pair[0]);
	close(pair[1]);
}

/* Its descriptors are its own, its memory is not: what it does is not its parent's. */
static void in_a_child_of_vfork(void)
{
	int fd = known(), other = open(OTHER, O_RDWR);
	char *p = map_file(other, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), c;
	pid_t child = vfork();
	int status;

	if (!child) {
		close(fd);
		_exit(open(THIRD, O_RDWR) != fd || read(fd, &c, 1) != 1);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && !status);
	p[77] = 7;
	CHECK(pread(fd, &c, 1, 77) == 1 && c == 7);
	CHECK(!munmap(p, SIZE) && !close(fd) && !close(other));
}

static int put_mapped_file_there(void *arg)
{
	syscall(SYS_close, *(int *)arg);
	_exit(open_unseen(MAPPED) != *(int *)arg);
}

/* A process with memory of its own and the same descriptors. */
static void by_a_process_with_the_same_descriptors(void)
{
	static char stack[1 << 16] __attribute__((aligned(64)));
	int fd = known(), status;
	pid_t child = clone(put_mapped_file_there, stack + sizeof stack, CLONE_FILES | SIGCHLD, &fd);

	CHECK(child > 0 && waitpid(child, &status, 0) == child && !status);
	is_mapped_file_at(fd, fd);
}

/* Nothing closes it: its file comes to be mapped. */
static void mapped_later(void)
{
	int fd = known(), other = open(OTHER, O_RDWR);
	char *p = map_file(other, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), c;

	for (char i = 1; i < 4; i++) {
		p[PAGE + 5] = i;
		CHECK(pread(fd, &c, 1, PAGE + 5) == 1 && c == i);
	}
	CHECK(!munmap(p, SIZE) && !close(other) && !close(fd));
}

static _Atomic int number, stop;

static void *read_always(void *arg)
{
	char c;

	(void)arg;
	while (!stop)
		if (pread(number, &c, 1, 0) < 0)
			CHECK(errno == EBADF);
	return NULL;
}

/* Another thread asks about the number while it changes: what it was told of the one file is not kept for the other. */
static void while_another_thread_reads(void)
{
	pthread_t thread;

	number = known();
	CHECK(!pthread_create(&thread, NULL, read_always, NULL));
	for (int i = 0; i < 5000; i++) {
		CHECK(!close(number) && open(MAPPED, O_RDWR) == number);
		is_mapped_file(number);
		CHECK(!close(number) && open(OTHER, O_RDWR) == number);
	}
	stop = 1;
	CHECK(!pthread_join(thread, NULL) && !close(number));
}

/* More mappings than there are descriptors: those for which none is left are the kernel's, and all can be used. */
static void run_out(void)
{
	struct rlimit limit;

	CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = 256;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; i < 300; i++) {
		int fd = make_file(THIRD);
		char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), c;

		p[PAGE] = (char)(i + 1);
		CHECK(pread(fd, &c, 1, PAGE) == 1 && c == (char)(i + 1) && !unlink(THIRD) && !close(fd));
	}
}

/* ---- Record locks end with the close of any descriptor of the file, also of one that only Faultline has ---- */

static bool is_locked(const char *path)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int status, fd;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		fd = open(path, O_RDWR);
		CHECK(fd >= 0 && !fcntl(fd, F_GETLK, &l));
		_exit(l.l_type != F_UNLCK);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void locked_and_mapped_again_and_again(void)
{
	static const char path[] = "descriptors.locked";
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int fd = make_file(path);
	FILE *f;
	char *p;

	CHECK(!fcntl(fd, F_SETLK, &l));
	for (int i = 0; i < 600; i++) {
		p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
		p[PAGE] = (char)i;
		CHECK(!munmap(p, SIZE));
		CHECK(i % 100 || is_locked(path));
	}
	CHECK(is_locked(path));
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(p[PAGE] == (char)599 && (f = fopen(path, "w")) && is_locked(path) && !fclose(f) && !is_locked(path));
	CHECK(!munmap(p, SIZE) && !close(fd) && !unlink(path));
}

static bool leaves_errno(int fd)
{
	return errno == 0 && fd >= 0 && !close(fd) && !unlink(THIRD);
}

/* It is looked for first, as one that may be mapped. What makes it says nothing of that: some programs ask errno whether a call has failed. */
static void a_file_that_was_not_there(void)
{
	const int flags = O_RDWR | O_CREAT | O_TRUNC;
	FILE *f;

	CHECK(!unlink(THIRD));
	errno = 0;
	CHECK(leaves_errno(open(THIRD, flags, 0600)));
	CHECK(leaves_errno(openat(AT_FDCWD, THIRD, flags, 0600)));
	CHECK(leaves_errno(creat(THIRD, 0600)));
	CHECK(leaves_errno((int)syscall(SYS_open, THIRD, flags, 0600)));
	f = fopen(THIRD, "w");
	CHECK(f && leaves_errno(dup(fileno(f))) && !fclose(f));
	close(make_file(THIRD));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"opened", opened},
		{"made", a_file_that_was_not_there},
		{"duplicated", duplicated},
		{"range", closed_in_a_range},
		{"stream", closed_with_a_stream},
		{"under", put_under_a_stream},
		{"directory", closed_with_a_directory},
		{"pipe", a_pipe_or_a_socket_before},
		{"received", received},
		{"vfork", in_a_child_of_vfork},
		{"later", mapped_later},
		{"threads", while_another_thread_reads},
		{"shared", by_a_process_with_the_same_descriptors}, /* after which nothing is remembered */
		{"locked", locked_and_mapped_again_and_again},
		{"out", run_out},
	};
	int status;

	(void)argc;
	mapped_fd = make_file(MAPPED);
	close(make_file(OTHER));
	close(make_file(THIRD));
	map = map_file(mapped_fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	status = run_cases(cases, ARRAY_SIZE(cases), argv + 1);
	unlink(MAPPED);
	unlink(OTHER);
	unlink(THIRD);
	return status;
}
