/* SPDX-License-Identifier: Apache-2.0 */
/* What one process has stored is in the file when another has called sync(2) or its kin, also one that has mapped nothing. */
#include <signal.h>

#include "check.h"

#define SIZE (4UL << 20)

static int fd, ready[2];

static void by_sync(void)
{
	sync();
}

static void by_syncfs(void)
{
	CHECK(!syncfs(fd));
}

static void by_fsync(void)
{
	CHECK(!fsync(fd));
}

static void by_number(void)
{
	CHECK(!syscall(SYS_sync));
}

static void store(char value)
{
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	for (size_t at = 0; at < SIZE; at += PAGE)
		p[at] = value;
	CHECK(write(ready[1], "x", 1) == 1);
	for (;;)
		pause();
}

static void has(char value)
{
	char c;

	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK(file_has(fd, &c, 1, (off_t)at) == 1 && c == value);
}

static void written_by(void (*call)(void), char value)
{
	int status;
	char c;
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child)
		store(value);
	CHECK(read(ready[0], &c, 1) == 1);
	call();
	has(value);
	CHECK(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	has(value);
}

int main(void)
{
	static void (*const calls[])(void) = {by_sync, by_syncfs, by_fsync, by_number};

	fd = pattern_file(SIZE);
	CHECK(!pipe(ready));
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		written_by(calls[i], (char)('a' + i));
	return 0;
}
