/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of calls that point to mappings of ours: pinned for the call, as the kernel cannot fault them in. For structs
 * and arrays that the kernel reads or fills; bytes of any number go through transfer.h.
 */
#ifndef FL_SHIM_HELD_H
#define FL_SHIM_HELD_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/mapped.h"

struct held {
	const void *at; /* NULL: no such argument */
	size_t len;
	bool write;
};

#define READS(at, len)             \
	{                          \
		(at), (len), false \
	}
#define FILLS(at, len)            \
	{                         \
		(at), (len), true \
	}

/*
 * What is not ours, or cannot be pinned, is left alone: the kernel says EFAULT. Keeps errno. `frame` is a variable of the caller's; it may be `h` itself, but not
 * part of a longer list of which all is released at once.
 */
void hold_from(const void *frame, struct held *h, size_t n);
void release_from(const void *frame, const struct held *h, size_t n);

static inline void hold(struct held *h, size_t n)
{
	hold_from(h, h, n);
}

static inline void release(const struct held *h, size_t n)
{
	release_from(h, h, n);
}

/* Held until the end of the block, or that of the thread, which can be cancelled in a call; or a handler leaves it (base/pins.h). */
struct held_list {
	const struct held *at;
	size_t n;
};

static inline void held_end(const struct held_list *l)
{
	release(l->at, l->n);
}

#define HOLD_HERE(held, n) \
	hold(held, n);     \
	__attribute__((cleanup(held_end), unused)) const struct held_list held_list_ = {held, n}

/*
 * Whether a call that says EFAULT has done nothing, and can be made again with its arguments held anew: what it was to read was not there for a moment. Asked
 * while they are held. `again`, which begins as {0}, is counted in; with calls that fill something it is not known what they have done before,
 * unless they have found nothing to read.
 */
struct again {
	uint32_t moves; /* before they were held: file_io_moves() */
	unsigned times;
};
bool held_was_cut(const struct held *h, size_t n);
bool held_again(struct again *again, const struct held *h, size_t n);

static inline bool says_efault(long result)
{
	return unlikely(result == -1) && errno == EFAULT;
}

/* The wrapper's result is that of `call`; what follows are READS() and FILLS() of its arguments. `refused`, of result_: it says EFAULT. */
#define RETURN_HELD_UNLESS(refused, call, ...)                                                       \
	do {                                                                                         \
		if (NOTHING_MAPPED)                                                                  \
			return call;                                                                 \
                                                                                                     \
		struct held held_[] = {__VA_ARGS__};                                                 \
		struct again again_ = {0};                                                           \
		__typeof__(call) result_;                                                            \
		bool more_;                                                                          \
                                                                                                     \
		do {                                                                                 \
			again_.moves = file_io_moves();                                              \
			HOLD_HERE(held_, sizeof held_ / sizeof *held_);                              \
			result_ = call;                                                              \
			more_ = refused && held_again(&again_, held_, sizeof held_ / sizeof *held_); \
		} while (more_);                                                                     \
		return result_;                                                                      \
	} while (0)

#define RETURN_HELD(call, ...) RETURN_HELD_UNLESS(says_efault((long)result_), call, __VA_ARGS__)
/* The same of a call that returns its error. */
#define RETURN_HELD_ERROR(call, ...) RETURN_HELD_UNLESS(result_ == EFAULT, call, __VA_ARGS__)

#endif
