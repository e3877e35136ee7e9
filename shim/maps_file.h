/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps and smaps of the process itself, opened by it: in the lines of our mappings stands what the program has
 * mapped, not the memory that holds the pages. And status, which says how much is locked.
 */
#ifndef FL_SHIM_MAPS_FILE_H
#define FL_SHIM_MAPS_FILE_H

#include <string.h>

#include "mapped.h"

/* fd was just opened. If it is such a file it becomes another with the same number: the text of now, to be read only. */
void maps_file_replace(int fd);

static inline bool maps_file_ends(const char *path, size_t len, const char *with, size_t n)
{
	return len >= n && !memcmp(path + len - n, with, n);
}

static inline void maps_file_opened(int fd, const char *path)
{
	size_t len;

	if (NOTHING_MAPPED || fd < 0)
		return;
	len = strlen(path);
	if (maps_file_ends(path, len, "maps", 4) || maps_file_ends(path, len, "status", 6))
		maps_file_replace(fd);
}

#endif
