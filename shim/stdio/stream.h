/* SPDX-License-Identifier: Apache-2.0 */
/* What the wrappers of stdio(3) share; see stdio.c. */
#ifndef FL_SHIM_STREAM_H
#define FL_SHIM_STREAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <wchar.h>

#include "arguments/held.h"

/* A call that writes to a stream, of a buffer that it need not fault in. */
struct stream_call {
	size_t (*fn)(const struct stream_call *c);
	FILE *f;
	const void *buf;
	size_t size, n; /* of fwrite() */
};
/* The mapping of the stream's file shows what the call writes; what that returns. */
size_t stream_write_through(const struct stream_call *c);
/* Whether there is anybody to show it to, or could be meanwhile. */
bool stream_concerns(FILE *f);

/* fwrite(): the mapping of the stream's file shows what is written to it, and the buffer may be ours. */
size_t stream_write(const void *buf, size_t size, size_t n, FILE *f);
/*
 * Text, as of printf(3) and its kin: whether all went well. To fwrite(3) what a line's end could not bring to the file is written,
 * as it was in the buffer.
 */
bool stream_put(const char *text, size_t len, FILE *f);
/* What is pending reaches the file, if that is mapped. 0, or EOF with errno: libc has dropped it, and will not say so again. */
int stream_flush(FILE *f);
bool stream_is_pending(const FILE *f);
/* What is stored in mappings of its file is in that, too. */
void stream_write_stores(FILE *f);
/* All that are open, in a list that is locked meanwhile. */
void stream_for_each(void (*fn)(FILE *f));
/* Around fork(3), in its handlers. Locks of the engine's come after the first, and are given up before the second. */
void stream_before_fork(void);
void stream_after_fork_parent(void);
void stream_after_fork_child(void);
/* The stream will read from its file: what mappings of that have is in it. */
void stream_before_read(FILE *f);

/* As glibc's struct _IO_wide_data begins: of its ABI, as the FILE is. What is pending there has not been made bytes of yet. */
struct stream_wide {
	const wchar_t *read_ptr, *read_end, *read_base;
	const wchar_t *write_base, *write_ptr, *write_end;
	wchar_t *buf_base, *buf_end;
};

/* NULL: it is no wide stream, or not yet. */
static inline const struct stream_wide *stream_wide(const FILE *f)
{
	return f->_mode > 0 ? (const struct stream_wide *)f->_wide_data : NULL;
}

/* The stream's buffers, pinned, and the stream locked, where one is memory of ours. */
struct stream_held {
	FILE *f; /* NULL: none is */
	struct held buffers[2];
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

/* `ap` in the call: what follows the format. */
#define RETURN_FORMATTED(fmt, call) \
	do {                        \
		va_list ap;         \
		int n_;             \
                                    \
		va_start(ap, fmt);  \
		n_ = call;          \
		va_end(ap);         \
		return n_;          \
	} while (0)

#endif
