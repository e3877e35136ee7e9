/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps and smaps of the process itself, opened by it: in the lines of our mappings stands what the program has
 * mapped, not the memory that holds the pages. And status, which says how much is locked. As of the kernel's files, the text is that of the time
 * when it is read from the start.
 */
#ifndef FL_SHIM_MAPS_FILE_H
#define FL_SHIM_MAPS_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/mapped.h"

extern _Atomic bool maps_file_any; /* one was opened once */

/* If fd is such a file it becomes another with the same number: the text of now, to be read only. */
void maps_file_replace(int fd);
/* If it is one, or has taken the place of one, it holds the text of now. Whether it was. Keeps errno. */
bool maps_file_renew(int fd);
/* Of one that holds the text: it is that of maps, not of smaps. */
bool maps_file_is_maps(int fd);

static inline bool maps_file_ends(const char *path, size_t len, const char *with, size_t n)
{
	return len >= n && !memcmp(path + len - n, with, n);
}

static inline void maps_file_opened(int fd, const char *path)
{
	size_t len;

	if (fd < 0)
		return;
	len = strlen(path);
	if (!maps_file_ends(path, len, "maps", 4) && !maps_file_ends(path, len, "status", 6))
		return;
	atomic_store_explicit(&maps_file_any, true, memory_order_relaxed);
	if (!NOTHING_MAPPED)
		maps_file_replace(fd);
}

/* It is about to be read from the start. */
static inline bool maps_file_rewound(int fd)
{
	return unlikely(atomic_load_explicit(&maps_file_any, memory_order_relaxed)) && maps_file_renew(fd);
}

#endif
