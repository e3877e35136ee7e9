/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that moves bytes between a descriptor and one buffer, whose memory may be a mapping of ours: the kernel cannot
 * fault such memory in (EFAULT), so it is pinned for the call.
 */
#ifndef FL_SHIM_TRANSFER_H
#define FL_SHIM_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct transfer;
/* The call itself, on a part of the buffer that starts `done` bytes into it. As libc's function. */
typedef ssize_t (*transfer_fn)(const struct transfer *t, void *buf, size_t len, size_t done);

struct transfer {
	transfer_fn call;
	int fd;
	bool to_memory; /* the kernel writes the buffer */
	bool whole;     /* a short result means the end also where a full one does not: go on after a full piece */
	off_t off;      /* the rest is for `call` */
	int flags;
	const void *address;
	size_t address_len;
};

ssize_t transfer(const struct transfer *t, void *buf, size_t len);
/* Whether what is read from there comes by way of memory of the library's own: then several buffers are several reads. */
bool transfer_reads_by_copy(int fd);

#endif
