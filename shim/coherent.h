/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File calls on a file that is mapped: what the mappings have and the file has not is written before a read; a write is
 * bracketed, so that the mappings show it. Within the bracket the call is a bare system call: a thread that libc's
 * function cancelled would keep the engine's locks.
 */
#ifndef FL_SHIM_COHERENT_H
#define FL_SHIM_COHERENT_H

#include <stddef.h>
#include <sys/types.h>

#include "api/file_io.h"

/* Where a call at the file position starts. */
#define AT_POSITION ((off_t)-1)

/* For a read of len bytes at off from the file behind fd. 0, or -1 with errno: the stores cannot be written. */
int coherent_read(struct address_space *as, int fd, off_t off, size_t len);

typedef long (*raw_fn)(const void *call);

/* fn does the system call and answers as the kernel, bytes or -errno; the result is libc's. `append`: at the end, wherever off is. */
ssize_t coherent_write(struct address_space *as, int fd, off_t off, bool append, raw_fn fn, const void *call);
bool fd_appends(int fd);
/* For calls that change anything in [off, off + len): fn within the bracket. */
long coherent_change(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call);

#endif
