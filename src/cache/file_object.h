/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind the address_space of a file: its store, its frames, its entry in the report; and which files are the kernel's to map. */
#ifndef FL_CACHE_FILE_OBJECT_H
#define FL_CACHE_FILE_OBJECT_H

#include <sys/types.h>

#include "address_space.h"

/*
 * Opens them for the file behind fd, of a fresh object on frames of its first kind, with `file` and `scratch` set; `direct`: by O_DIRECT, where that is
 * possible. -errno, see address_space_get(): what was opened is file_object_close()'s.
 */
int file_object_open(struct address_space *as, int fd, mode_t mode, bool soft, bool direct);
void file_object_close(struct address_space *as);
/* In a forked child: frames of its own, empty, and an entry in its own report. */
int file_object_fork(struct address_space *as);

#endif
