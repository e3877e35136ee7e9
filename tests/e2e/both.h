/* SPDX-License-Identifier: Apache-2.0 */
/* A file of pattern() that is mapped, with all of it in memory, and a stream of it. */
#ifndef BOTH_H
#define BOTH_H

#include <stdio.h>

#include "check.h"

#define SIZE (2UL << 20)

struct both {
	FILE *f;
	char *map;
	int fd;
};

static inline void open_both(struct both *b, const char *mode)
{
	char path[64];

	b->fd = pattern_file(SIZE);
	b->map = map_file(b->fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK((uint8_t)b->map[at] == pattern(at)); /* in memory, as it was */
	snprintf(path, sizeof path, "/proc/self/fd/%d", b->fd);
	b->f = fopen(path, mode);
	CHECK(b->f);
}

static inline void close_both(struct both *b)
{
	CHECK(!fclose(b->f) && !munmap(b->map, SIZE) && !close(b->fd));
}

#endif
