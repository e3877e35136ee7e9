/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel has of a file in its page cache, and how much it reads ahead of it. */
#ifndef BENCH_PAGE_CACHE_H
#define BENCH_PAGE_CACHE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* Pages of the first `bytes` of the file that are in the page cache; the kernel says "all" to those who may not write the file. -errno. */
int64_t page_cache_pages(int fd, uint64_t bytes);
/* Drops what is clean and not mapped; with `writes`, what is dirty is written first, and what stays is dropped with all else if we may. */
int page_cache_drop(const char *path, bool writes);
/* Reads the first `bytes` into the page cache. 0 or -errno. */
int page_cache_fill(const char *path, uint64_t bytes);

/* The setting of the device that the file is on. */
struct read_ahead {
	char path[PATH_MAX];
	char before[64];
};

/* 0, or -errno when there is none or it cannot be changed. What was set is put back by read_ahead_restore() or at any end (undo.h). */
int read_ahead_set(struct read_ahead *r, const char *file, unsigned kib);
void read_ahead_restore(struct read_ahead *r);
/* In KiB; 0: not known. */
unsigned read_ahead_of(const char *file);

#endif
