/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tracer, as strace(1) is one: it stops every thread of its child at every system call, and in between looks at memory of the child that is not there. Who brings
 * that in must not be one of those that wait for the tracer. For the kernel, and for faults by threads.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define LOOKS 8
#define FAR (SIZE / LOOKS)

/* Maps when it is traced already. */
static void be_traced(int fd, int to)
{
	char *map;

	CHECK(!ptrace(PTRACE_TRACEME, 0, NULL, NULL) && !raise(SIGSTOP));
	map = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	CHECK(!madvise(map, SIZE, MADV_RANDOM) && write(to, &map, sizeof map) == sizeof map);
	raise(SIGSTOP);
	_exit((uint8_t)map[0] != pattern(0));
}

static void wait_for_stop(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

/* Until the child itself stops, all its threads go on. */
static void let_go_on(pid_t child)
{
	int status;
	pid_t pid;

	CHECK(!ptrace(PTRACE_SYSCALL, child, NULL, NULL));
	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		CHECK(pid > 0 && WIFSTOPPED(status));
		if (pid == child && WSTOPSIG(status) == SIGSTOP)
			return;
		CHECK(!ptrace(PTRACE_SYSCALL, pid, NULL, NULL));
	}
}

static void look(pid_t child, char *map, size_t at)
{
	uint8_t got[16];
	struct iovec to = {got, sizeof got}, from = {map + at, sizeof got};

	CHECK(process_vm_readv(child, &to, 1, &from, 1, 0) == sizeof got);
	for (size_t i = 0; i < sizeof got; i++)
		CHECK(got[i] == pattern(at + i));
}

static void end(pid_t child)
{
	int status;
	pid_t pid;

	CHECK(!ptrace(PTRACE_CONT, child, NULL, NULL));
	do
		pid = waitpid(-1, &status, __WALL);
	while (pid > 0 && pid != child);
	CHECK(pid == child && WIFEXITED(status) && !WEXITSTATUS(status));
}

int main(void)
{
	int fd = pattern_file(SIZE), ends[2];
	pid_t child;
	char *map;

	CHECK(!pipe(ends) && (child = fork()) >= 0);
	if (!child)
		be_traced(fd, ends[1]);
	wait_for_stop(child);
	CHECK(!ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)));
	let_go_on(child);
	CHECK(read(ends[0], &map, sizeof map) == sizeof map);
	for (size_t at = 0; at < SIZE; at += FAR)
		look(child, map, at + 5);
	end(child);
	return 0;
}
