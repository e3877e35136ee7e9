/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system is unmounted as soon as a process has ended that had files there mapped: nobody holds them any more. Needs root.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define ROUNDS 6

static void map_and_end(int round)
{
	int fd = open("there/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, round & 1 ? MAP_PRIVATE : MAP_SHARED);
	memset(p, 'x', SIZE);
	if (round & 2)
		kill(getpid(), SIGKILL);
	exit(0);
}

int main(void)
{
	CHECK(!mkdir("here", 0700) && !mkdir("there", 0700));
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 77;
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid;
		int status;

		CHECK(!mount("here", "there", NULL, MS_BIND, NULL));
		pid = fork();
		if (!pid)
			map_and_end(round);
		CHECK(waitpid(pid, &status, 0) == pid && status == (round & 2 ? SIGKILL : 0));
		CHECK(!umount("there"));
	}
	CHECK(!unlink("here/file") && !rmdir("here") && !rmdir("there"));
	return 0;
}
