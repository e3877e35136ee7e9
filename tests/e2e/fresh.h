/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments in mapped memory that is not in memory: every one begins on a page of its own, of which nothing was touched before. */
#ifndef FRESH_H
#define FRESH_H

#include "check.h"

#define PAGES 512UL

static char *map;
static size_t used;

/* Room on a page that is not in memory, for a call to fill. */
static inline void *fresh(void)
{
	CHECK(used < PAGES);
	return map + used++ * PAGE;
}

/* The bytes, on such a page: for a call to read. */
static inline void *put(const void *bytes, size_t len)
{
	char *p = fresh();

	memcpy(p, bytes, len);
	CHECK(!msync(p, PAGE, MS_SYNC) && !madvise(p, PAGE, MADV_DONTNEED));
	return p;
}

/* A struct that begins at the end of one such page and goes on on the next. */
static inline void *put_across(const void *bytes, size_t len)
{
	char *first = fresh(), *p = first + PAGE - len / 2;

	CHECK(fresh() == first + PAGE);
	memcpy(p, bytes, len);
	CHECK(!msync(first, 2 * PAGE, MS_SYNC) && !madvise(first, 2 * PAGE, MADV_DONTNEED));
	return p;
}

static inline void fresh_begin(void)
{
	map = map_file(pattern_file(PAGES * PAGE), PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!madvise(map, PAGES * PAGE, MADV_RANDOM));
}

#endif
