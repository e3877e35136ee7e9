/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of the process's own memory. */
#ifndef FL_TESTS_MEMORY_H
#define FL_TESTS_MEMORY_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a kind, as in /proc/self/smaps_rollup: "Anonymous", "AnonHugePages". Not in two threads at once: its stack counts. */
static inline size_t memory_of(const char *kind)
{
	static char text[8192];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	const char *at;
	size_t len = strlen(kind);

	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (at = strstr(text, kind); at && at[len] != ':'; at = strstr(at + 1, kind))
		;
	return at ? strtoul(at + len + 1, NULL, 10) * 1024 : 0;
}

#endif
