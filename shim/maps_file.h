/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps and smaps of the process itself, opened by it: in the lines of our mappings stands what the program has
 * mapped, not the memory that holds the pages.
 */
#ifndef FL_SHIM_MAPS_FILE_H
#define FL_SHIM_MAPS_FILE_H

#include <string.h>

#include "mapped.h"

/* fd was just opened. If it is such a file it becomes another with the same number: the text of now, to be read only. */
void maps_file_replace(int fd);

static inline void maps_file_opened(int fd, const char *path)
{
	size_t len;

	if (NOTHING_MAPPED || fd < 0)
		return;
	len = strlen(path);
	if (len >= 4 && !memcmp(path + len - 4, "maps", 4))
		maps_file_replace(fd);
}

#endif
