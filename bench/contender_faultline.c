/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>

#include "contender.h"
#include "faultline.h"
#include "util.h"

static int start(const struct job *job)
{
	struct fl_options o = {
		.size = sizeof o,
		.budget = job->memory,
		.direct = job->page_cache ? FL_DIRECT_OFF : FL_DIRECT_ON,
	};

	return fl_init(&o);
}

static void *map(size_t bytes, int prot, int fd)
{
	return fl_mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);
}

#define PREFETCH_MAX 256

static int prefetch(char *at, const uint64_t *page, size_t n)
{
	struct fl_range ranges[PREFETCH_MAX];

	if (n > PREFETCH_MAX)
		return -1;
	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct fl_range){.addr = at + page[i] * PAGE, .length = PAGE};
	return fl_prefetch(ranges, n);
}

static int sync_all(void *addr, size_t bytes)
{
	return fl_msync(addr, bytes, MS_SYNC);
}

static void count(uint64_t *misses, uint64_t *evictions)
{
	struct fl_stats s = {.size = sizeof s};

	if (fl_stats(&s))
		return;
	*misses = s.faults - s.faults_hit;
	*evictions = s.evictions;
}

const struct contender contender_faultline = {
	.start = start,
	.map = map,
	.advise = fl_madvise,
	.prefetch = prefetch,
	.sync = sync_all,
	.unmap = fl_munmap,
	.count = count,
	.end = fl_exit,
};
