/* SPDX-License-Identifier: Apache-2.0 */
/* With MADV_RANDOM the pages that are touched are read and no others, also when some of them are neighbours. */
#include <sys/syscall.h>

#include "check.h"

#define SIZE (32UL << 20)
#define PAGES (SIZE / PAGE)
#define TOUCHED 200

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

static int make_file(void)
{
	static char part[1 << 20];
	char name[] = "random_advice.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name));
	for (size_t off = 0; off < SIZE; off += sizeof part)
		CHECK(write(fd, part, sizeof part) == sizeof part);
	CHECK(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	return fd;
}

/* Pages that the kernel has of the file; -1: that it cannot say. */
static long cached(int fd)
{
	struct {
		uint64_t off, len;
	} range = {0, SIZE};
	struct {
		uint64_t pages, others[4];
	} found;

	return syscall(SYS_cachestat, fd, &range, &found, 0) ? -1 : (long)found.pages;
}

int main(void)
{
	int fd = make_file();
	const volatile char *map = map_file(fd, SIZE, PROT_READ, MAP_SHARED);
	long before = cached(fd);

	CHECK(!madvise((void *)map, SIZE, MADV_RANDOM));
	for (size_t i = 0; i < TOUCHED / 4; i++) { /* alone, then three in a row */
		size_t page = i * 7919 % (PAGES - 8);

		CHECK(!map[page * PAGE]);
		for (size_t j = 4; j < 7; j++)
			CHECK(!map[(page + j) * PAGE]);
	}
	if (before >= 0)
		CHECK(cached(fd) - before <= TOUCHED);
	return 0;
}
