/* SPDX-License-Identifier: Apache-2.0 */
/* Path arguments that lie in mappings of ours: pinned for the call. */
#ifndef FL_SHIM_PATHS_H
#define FL_SHIM_PATHS_H

#include <stddef.h>

#include "base/mapped.h"
#include "cache/address_space.h"
#include "held.h"
#include "util/compiler.h"

/* Bytes pinned, for path_release(), as of pin(), up to a page that cannot be: there the kernel says EFAULT. 0: the path is not ours. */
size_t path_hold_slowly(const char *path, const void *frame);
void path_release_slowly(const char *path, size_t held, const void *frame);

static inline size_t path_hold(const char *path, const void *frame)
{
	return NOTHING_MAPPED ? 0 : path_hold_slowly(path, frame);
}

static inline void path_release(const char *path, size_t held, const void *frame)
{
	if (unlikely(held))
		path_release_slowly(path, held, frame);
}

/* For a list of arguments that are held: as far as the string can be read. */
#define STRING(path) READS(path, string_bytes(path))

static inline size_t string_bytes(const char *path)
{
	size_t len = path_hold(path, &path);

	path_release(path, len, &path);
	return len;
}

/* Whether a call that says EFAULT, and did nothing then, can be made again with the path held anew; see held_again(). */
static inline bool path_was_cut(const char *path, size_t held, long result)
{
	return unlikely(held) && says_efault(result) && file_io_was_cut(path, held, -EFAULT);
}

/* Held until the end of the block, or that of the thread; or a handler leaves it. */
struct path_held {
	const char *path;
	size_t n;
};

static inline void path_end(const struct path_held *p)
{
	path_release(p->path, p->n, p);
}

#define PATH_HERE(held, path) __attribute__((cleanup(path_end))) const struct path_held held = {path, path_hold(path, &held)}

/* `number`, of result_: -1 where the call has failed. */
#define RETURN_HOLDING_AS(number, path, call)                        \
	do {                                                         \
		__typeof__(call) result_;                            \
		bool more_;                                          \
                                                                     \
		do {                                                 \
			PATH_HERE(held_, path);                      \
                                                                     \
			result_ = call;                              \
			more_ = path_was_cut(path, held_.n, number); \
		} while (more_);                                     \
		return result_;                                      \
	} while (0)

#define RETURN_HOLDING(path, call) RETURN_HOLDING_AS((long)result_, path, call)

#define RETURN_HOLDING_BOTH(one, other, call)                                                                             \
	do {                                                                                                              \
		__typeof__(call) result_;                                                                                 \
		bool more_;                                                                                               \
                                                                                                                          \
		do {                                                                                                      \
			PATH_HERE(one_, one);                                                                             \
			PATH_HERE(other_, other);                                                                         \
                                                                                                                          \
			result_ = call;                                                                                   \
			more_ = path_was_cut(one, one_.n, (long)result_) || path_was_cut(other, other_.n, (long)result_); \
		} while (more_);                                                                                          \
		return result_;                                                                                           \
	} while (0)

#endif
