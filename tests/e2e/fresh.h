/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments in mapped memory, on pages that are not in memory: each with room of its own, and a fault brings in no other's. */
#ifndef FRESH_H
#define FRESH_H

#include "check.h"

#define ROOMS 384UL
#define ROOM (32 * PAGE) /* twice what one fault brings in */

static char *map;
static size_t used;

/* Room on a page that is not in memory, for a call to fill. */
static inline void *fresh(void)
{
	CHECK(used < ROOMS);
	return map + used++ * ROOM;
}

/* The bytes, on such a page: for a call to read. */
static inline void *put(const void *bytes, size_t len)
{
	char *p = fresh();

	memcpy(p, bytes, len);
	CHECK(!msync(p, ROOM, MS_SYNC) && !madvise(p, ROOM, MADV_DONTNEED));
	return p;
}

/* The bytes on two such pages, half on each. */
static inline void *put_across(const void *bytes, size_t len)
{
	char *start = fresh(), *p = start + ROOM / 2 - len / 2;

	memcpy(p, bytes, len);
	CHECK(!msync(start, ROOM, MS_SYNC) && !madvise(start, ROOM, MADV_DONTNEED));
	return p;
}

static inline void fresh_begin(void)
{
	char name[] = "fresh.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name) && !ftruncate(fd, ROOMS * ROOM));
	map = map_file(fd, ROOMS * ROOM, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!madvise(map, ROOMS * ROOM, MADV_RANDOM) && !close(fd));
}

#endif
