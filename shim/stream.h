/* SPDX-License-Identifier: Apache-2.0 */
/* What the wrappers of stdio(3) share; see stdio.c. */
#ifndef FL_SHIM_STREAM_H
#define FL_SHIM_STREAM_H

#include <stdio.h>

#include "held.h"

/* fwrite(): the mapping of the stream's file shows what is written to it, and the buffer may be ours. */
size_t stream_write(const void *buf, size_t size, size_t n, FILE *f);
/* What is pending reaches the file, if that is mapped; errors are for the call that follows to find. */
void stream_flush(FILE *f);
/* All that are open, in a list that is locked meanwhile. */
void stream_for_each(void (*fn)(FILE *f));
/* Around fork(3), in its handlers. Locks of the engine's come after the first, and are given up before the second. */
void stream_before_fork(void);
void stream_after_fork_parent(void);
void stream_after_fork_child(void);
/* The stream will read from its file: what mappings of that have is in it. */
void stream_before_read(FILE *f);

/* The stream's buffer, pinned, and the stream locked, where that is memory of ours. */
struct stream_held {
	FILE *f; /* NULL: it is not */
	struct held buffer;
};
/* Before any lock of the engine's is taken. stream_release() is also for pthread_cleanup_push(3). */
void stream_hold(FILE *f, struct stream_held *h);
void stream_release(void *held);

/* The call, with the stream's buffer held, also when it is cancelled. */
#define STREAM_HOLDING(f, call)                               \
	do {                                                  \
		struct stream_held held_;                     \
                                                              \
		stream_hold((f), &held_);                     \
		pthread_cleanup_push(stream_release, &held_); \
		call;                                         \
		pthread_cleanup_pop(1);                       \
	} while (0)

/* Bytes that can be written before the stream's file is, and read before it is. */
static inline size_t stream_room(const FILE *f)
{
	return f->_IO_write_end > f->_IO_write_ptr ? (size_t)(f->_IO_write_end - f->_IO_write_ptr) : 0;
}

static inline size_t stream_readable(const FILE *f)
{
	return f->_IO_read_end > f->_IO_read_ptr ? (size_t)(f->_IO_read_end - f->_IO_read_ptr) : 0;
}

#endif
