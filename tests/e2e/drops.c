/* SPDX-License-Identifier: Apache-2.0 */
/* A server's start: it maps a file, leaves its root and its user, closes all descriptors that it does not know, and forks. Needs root. */
#include <grp.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define CHILDREN 3

int main(void)
{
	int fd = pattern_file(SIZE), status;
	char *map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	map[PAGE] = 1;
	CHECK(!chroot("/proc") && !chdir("/"));
	CHECK(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
	for (int i = 3; i < 1024; i++)
		close(i);
	for (char i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			map[(2 + i) * PAGE] = (char)(map[PAGE] + i);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		CHECK(map[(2 + i) * PAGE] == 1 + i);
	}
	return 0;
}
