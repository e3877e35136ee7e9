/* SPDX-License-Identifier: Apache-2.0 */
/* Path arguments that lie in mappings of ours: pinned for the call. */
#ifndef FL_SHIM_PATHS_H
#define FL_SHIM_PATHS_H

#include <stddef.h>

#include "base/mapped.h"
#include "cache/address_space.h"
#include "held.h"
#include "util/compiler.h"

/* Bytes pinned, for path_release(), up to a page that cannot be: there the kernel says EFAULT. 0: the path is not ours. */
size_t path_hold_slowly(const char *path);
void path_release_slowly(const char *path, size_t held);

static inline size_t path_hold(const char *path)
{
	return NOTHING_MAPPED ? 0 : path_hold_slowly(path);
}

static inline void path_release(const char *path, size_t held)
{
	if (unlikely(held))
		path_release_slowly(path, held);
}

/* For a list of arguments that are held: as far as the string can be read. */
#define STRING(path) READS(path, string_bytes(path))

static inline size_t string_bytes(const char *path)
{
	size_t len = path_hold(path);

	path_release(path, len);
	return len;
}

/* Whether a call that says EFAULT, and did nothing then, can be made again with the path held anew; see held_again(). */
static inline bool path_was_cut(const char *path, size_t held, long result)
{
	return unlikely(held) && says_efault(result) && file_io_was_cut(path, held, -EFAULT);
}

/* `number`, of result_: -1 where the call has failed. */
#define RETURN_HOLDING_AS(number, path, call)                      \
	do {                                                       \
		__typeof__(call) result_;                          \
		bool more_;                                        \
                                                                   \
		do {                                               \
			size_t held_ = path_hold(path);            \
                                                                   \
			result_ = call;                            \
			more_ = path_was_cut(path, held_, number); \
			path_release(path, held_);                 \
		} while (more_);                                   \
		return result_;                                    \
	} while (0)

#define RETURN_HOLDING(path, call) RETURN_HOLDING_AS((long)result_, path, call)

#define RETURN_HOLDING_BOTH(one, other, call)                                                                                   \
	do {                                                                                                                    \
		__typeof__(call) result_;                                                                                       \
		bool more_;                                                                                                     \
                                                                                                                                \
		do {                                                                                                            \
			size_t held_one_ = path_hold(one), held_other_ = path_hold(other);                                      \
                                                                                                                                \
			result_ = call;                                                                                         \
			more_ = path_was_cut(one, held_one_, (long)result_) || path_was_cut(other, held_other_, (long)result_); \
			path_release(one, held_one_);                                                                           \
			path_release(other, held_other_);                                                                       \
		} while (more_);                                                                                                \
		return result_;                                                                                                 \
	} while (0)

#endif
