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
#define AT_POSITION FILE_IO_POSITION

/* For a read of len bytes at off from the file behind fd. 0, or -1 with errno: the stores cannot be written. */
int coherent_read(struct address_space *as, int fd, off_t off, size_t len);

/* Stores of the program in a range of the file behind fd, mapped or not, are in the file. 0, or -1 with errno. */
int coherent_sync(int fd, uint64_t off, uint64_t len);

typedef long (*raw_fn)(const void *call);

/* A system call by number, as one. */
struct raw_call {
	long nr, a, b, c, d, e, f;
};
long raw_call(const void *call);

/* fn does the system call and answers as the kernel, bytes or -errno; the result is libc's. `append`: at the end, wherever off is. */
ssize_t coherent_write(struct address_space *as, int fd, off_t off, bool append, raw_fn fn, const void *call);
/* The same for a file that is not mapped, and must not be while it is done (file_io_start). */
ssize_t coherent_pass(raw_fn fn, const void *call);
bool fd_appends(int fd);
bool fd_is_regular(int fd);

/*
 * A write from memory. Where threads serve the faults of system calls, the kernel must not read the program's memory within the
 * bracket: another thread may have mapped it anew, and its fault would wait for us. There it is copied first, piece by piece.
 */
struct coherent_bytes {
	int fd;
	const char *buf;
	size_t len;
	off_t off; /* AT_POSITION for the file position */
	int flags; /* of pwritev2(2) */
	bool append;
};
ssize_t coherent_write_bytes(struct address_space *as, const struct coherent_bytes *b);
/* Whether it copies: then several buffers are several writes. */
bool coherent_copies(void);

/* For calls that change anything in [off, off + len): fn within the bracket. */
long coherent_change(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call);
/* For those that move all from `off` on, and have private copies of that end. */
long coherent_move(struct address_space *as, off_t off, raw_fn fn, const void *call);
/* For those that leave a hole or a clone: what was stored there is not written into it. */
long coherent_replace(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call);

#endif
