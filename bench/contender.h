/* SPDX-License-Identifier: Apache-2.0 */
/* Who maps the file: the same few calls of Faultline and of the kernel. */
#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include <stddef.h>
#include <stdint.h>

#include "job.h"

/* 0, or -1 with errno, where nothing else is said. */
struct contender {
	int (*start)(const struct job *job);
	void *(*map)(size_t bytes, int prot, int fd); /* shared, from the start of the file; or MAP_FAILED */
	int (*advise)(void *addr, size_t bytes, int advice);
	/* That these pages of the mapping will be wanted, all of them soon. */
	int (*prefetch)(char *map, const uint64_t *page, size_t n);
	int (*sync)(void *addr, size_t bytes);
	int (*unmap)(void *addr, size_t bytes);
	/* Accesses that waited for the disk, and pages that left memory (of the kernel 0: it does not tell), since the start. */
	void (*count)(uint64_t *misses, uint64_t *evictions);
	int (*end)(void);
};

extern const struct contender contender_faultline, contender_kernel;

#endif
