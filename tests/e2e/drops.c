/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers' starts: one maps a file, leaves its root and its user, closes all descriptors that it does not know, and forks. Another maps nothing
 * before its child, or its child's child, is another user. Needs root.
 */
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define CHILDREN 3
#define NOBODY 65534

static void wait_for(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void close_all_but(int fd)
{
	for (int i = 3; i < 1024; i++)
		if (i != fd)
			close(i);
}

static void become_nobody(void)
{
	CHECK(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
}

/* For this thread alone, which is all that there is. */
static void become_nobody_by_number(void)
{
	CHECK(!syscall(SYS_setuid, NOBODY));
}

/* Where a host's abstract socket is not. */
static void leave_the_network(void)
{
	CHECK(!unshare(CLONE_NEWNET));
}

/* Not by libc: nobody is told. */
static void call_unseen(long nr, long arg)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(arg) : "rcx", "r11", "memory");
	CHECK(result == 0);
}

static void become_nobody_unseen(void)
{
	call_unseen(SYS_setuid, NOBODY);
}

/* One that a process is in which has made it. */
static void enter_another_network(void)
{
	char path[32], c;
	int ready[2], ns;
	pid_t holder;

	CHECK(!pipe(ready) && (holder = fork()) >= 0);
	if (!holder) {
		call_unseen(SYS_unshare, CLONE_NEWNET);
		CHECK(write(ready[1], "", 1) == 1);
		pause();
	}
	CHECK(read(ready[0], &c, 1) == 1);
	snprintf(path, sizeof path, "/proc/%d/ns/net", holder);
	CHECK((ns = open(path, O_RDONLY)) >= 0 && !setns(ns, CLONE_NEWNET));
	CHECK(!kill(holder, SIGKILL) && waitpid(holder, NULL, 0) == holder);
}

static void store_one(int fd, int i)
{
	char *map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	map[i * PAGE] = (char)(map[i * PAGE] + 1);
}

/* A child that becomes somebody else, and maps the file itself or has children that do. */
static void in_a_child(int fd, void (*become)(void), int generations)
{
	pid_t pid = fork();

	if (!pid) {
		become();
		close_all_but(fd);
		for (int i = 0; i < CHILDREN && generations; i++) {
			pid = fork();
			if (!pid) {
				store_one(fd, i);
				_exit(0);
			}
			wait_for(pid);
		}
		if (!generations)
			store_one(fd, 0);
		_exit(0);
	}
	wait_for(pid);
}

static void check_word(int fd, int i, char expected)
{
	char byte;

	CHECK(pread(fd, &byte, 1, (off_t)(i * PAGE)) == 1 && byte == expected);
}

static void maps_late(void)
{
	int fd = pattern_file(SIZE);
	char before[CHILDREN];

	for (int i = 0; i < CHILDREN; i++)
		CHECK(pread(fd, &before[i], 1, (off_t)(i * PAGE)) == 1);
	in_a_child(fd, become_nobody, 0);
	check_word(fd, 0, (char)(before[0] + 1));
	in_a_child(fd, become_nobody, 1);
	check_word(fd, 0, (char)(before[0] + 2));
	for (int i = 1; i < CHILDREN; i++)
		check_word(fd, i, (char)(before[i] + 1));
	in_a_child(fd, become_nobody_by_number, 0);
	in_a_child(fd, leave_the_network, 1);
	in_a_child(fd, enter_another_network, 1);
	check_word(fd, 0, (char)(before[0] + 5));
	close(fd);
}

static void maps_early(void)
{
	int fd = pattern_file(SIZE);
	char *map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	map[PAGE] = 1;
	CHECK(!chroot("/proc") && !chdir("/"));
	become_nobody();
	close_all_but(-1);
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			map[(2 + i) * PAGE] = (char)(map[PAGE] + i);
			_exit(0);
		}
		wait_for(pid);
		CHECK(map[(2 + i) * PAGE] == 1 + i);
	}
}

/* The host refuses the child, which is told so, and goes on with the kernel's mapping. */
static void is_refused(void)
{
	int fd = pattern_file(SIZE);
	char before;

	CHECK(pread(fd, &before, 1, 0) == 1);
	in_a_child(fd, become_nobody_unseen, 0);
	check_word(fd, 0, (char)(before + 1));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "refused")) {
		is_refused();
		return 0;
	}
	maps_late();
	maps_early();
	return 0;
}
