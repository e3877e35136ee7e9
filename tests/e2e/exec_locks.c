/* SPDX-License-Identifier: Apache-2.0 */
/* Record locks (fcntl(2)) stay with a process that becomes another program, for as long as that leaves the descriptors of the file alone. */
#include <dirent.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "check.h"

#define SIZE (2UL << 20)
#define NAME "exec_locks.file"

extern char **environ;

static const char self[] = "/proc/self/exe";
static char number[16];

static int make_file(int flags)
{
	int fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	return fd;
}

static void lock(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	CHECK(!fcntl(fd, F_SETLK, &l));
}

/* To another process. */
static bool is_locked(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int status, fd;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		fd = open(NAME, O_RDWR);
		CHECK(fd >= 0 && !fcntl(fd, F_GETLK, &l));
		_exit(l.l_type != F_UNLCK);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void map_and_store(int fd)
{
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[PAGE]++;
	CHECK(!munmap(p, SIZE));
}

/* ---- The programs that are started ---- */

static int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	CHECK(!closedir(d));
	return n;
}

static void close_others(int fd)
{
	for (int i = 3; i < 1100; i++)
		if (i != fd)
			close(i);
	CHECK((fd == 3 || !close_range(3, (unsigned)fd - 1, 0)) && !close_range((unsigned)fd + 1, UINT32_MAX, 0));
}

/* It has what others start with, maps the file and does away with what it does not know. Ends as a further one, so many times. */
static int after(int fd, int more)
{
	char fewer[16];

	CHECK(is_locked());
	map_and_store(fd);
	CHECK(is_locked());
	if (!getenv("ALONE")) {
		CHECK(!getenv("FAULTLINE_LOCKS"));
		close_others(fd);
	}
	CHECK(is_locked());
	map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED)[PAGE]++;
	CHECK(is_locked());
	if (more) {
		snprintf(fewer, sizeof fewer, "%d", more - 1);
		execl(self, "exec_locks", "after", number, fewer, NULL);
		CHECK(!"exec");
	}
	CHECK(!close(fd) && !is_locked());
	return 0;
}

static int started(char **args)
{
	if (!strcmp(args[0], "count"))
		return count_descriptors();
	snprintf(number, sizeof number, "%s", args[1]);
	if (!strcmp(args[0], "ended"))
		return is_locked();
	return after(atoi(args[1]), atoi(args[2]));
}

/* ---- Ways to start one ---- */

static void by_execv(char *args[])
{
	execv(self, args);
}

static void by_execvp(char *args[])
{
	execvp(self, args);
}

static void by_fexecve(char *args[])
{
	fexecve(open(self, O_RDONLY | O_CLOEXEC), args, environ);
}

static void by_execveat(char *args[])
{
	execveat(AT_FDCWD, self, args, environ, 0);
}

static void by_number(char *args[])
{
	syscall(SYS_execve, self, args, environ);
}

/* Without the preload library, if there was one: what that left open is not to be told from what the program did. */
static void by_itself(char *args[])
{
	static char *alone[] = {"ALONE=1", NULL};

	execve(self, args, alone);
}

static void *start(void *args)
{
	execv(self, args);
	return NULL;
}

static void by_another_thread(char *args[])
{
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, start, args));
	pthread_join(t, NULL);
}

static void (*start_by)(char *args[]) = by_execv;

static void becomes(const char *what, int fd)
{
	char *args[] = {"exec_locks", (char *)what, number, "2", NULL};

	snprintf(number, sizeof number, "%d", fd);
	start_by(args);
	CHECK(!"exec");
}

/* ---- Cases ---- */

static void mapped(void)
{
	int fd = make_file(0);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[PAGE] = 1;
	lock(fd);
	becomes("after", fd);
}

static void mapped_before(void)
{
	int fd = make_file(0);

	lock(fd);
	map_and_store(fd);
	becomes("after", fd);
}

static void mapped_after(void)
{
	int fd = make_file(0);

	lock(fd);
	becomes("after", fd);
}

static void every_way(void)
{
	static void (*const ways[])(char *args[]) = {by_execv, by_execvp, by_fexecve, by_execveat, by_number, by_itself, by_another_thread};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		start_by = ways[i];
		in_child(mapped);
		in_child(mapped_before);
		in_child(mapped_after);
	}
	start_by = by_execv;
}

/* By a descriptor that is closed, though there is another. */
static void closed_on_exec(void)
{
	int fd = make_file(O_CLOEXEC), other = dup(fd);

	map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED)[PAGE] = 1;
	lock(other);
	CHECK(is_locked());
	becomes("ended", other);
}

static void ended(void)
{
	in_child(closed_on_exec);
}

/* The descriptors with which another program starts. */
static int count(void)
{
	char *args[] = {"exec_locks", "count", NULL};
	int status;
	pid_t pid;

	CHECK(!posix_spawn(&pid, self, NULL, NULL, args, environ));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int count_by_fork(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		execl(self, "exec_locks", "count", NULL);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Nothing of a file that is locked is left to a child, nor after an exec that failed. */
static void to_a_child(void)
{
	int fd = make_file(0), n = count();
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[PAGE] = 1;
	lock(fd);
	CHECK(count() == n && count_by_fork() == n);
	FAILS(ENOENT, execl("./exec_locks.none", "none", NULL));
	CHECK(is_locked() && count() == n && count_by_fork() == n && is_locked());
	CHECK(!munmap(p, SIZE));
	FAILS(ENOENT, execl("./exec_locks.none", "none", NULL));
	CHECK(is_locked() && count() == n && count_by_fork() == n && is_locked());
	CHECK(!close(fd));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"ways", every_way},
		{"ended", ended},
		{"child", to_a_child},
	};
	int status;

	if (argc > 2)
		return started(argv + 1);
	if (argc == 2 && !strcmp(argv[1], "count"))
		return count_descriptors();
	status = run_cases(cases, ARRAY_SIZE(cases), argv + 1);
	unlink(NAME);
	return status;
}
