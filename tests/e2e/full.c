/* SPDX-License-Identifier: Apache-2.0 */
/* Stores to holes of a file for which its disk has no room: the program is told, by a signal or by msync(2), and does not wait for ever. */
#include <signal.h>

#include "check.h"

#define SIZE (64UL << 20)

static void on_sigbus(int sig)
{
	(void)sig;
	_exit(3);
}

int main(int argc, char **argv)
{
	int fd = open(argv[argc - 1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	signal(SIGBUS, on_sigbus);
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < SIZE; at += PAGE)
		p[at] = 1;
	CHECK(msync(p, SIZE, MS_SYNC) == -1 && errno == ENOSPC);
	return 4;
}
