/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of calls that point to mappings of ours: pinned for the call, as the kernel cannot fault them in. For structs
 * and arrays that the kernel reads or fills; bytes of any number go through transfer.h.
 */
#ifndef FL_SHIM_HELD_H
#define FL_SHIM_HELD_H

#include <stdbool.h>
#include <stddef.h>

#include "mapped.h"

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

/* What is not ours, or cannot be pinned, is left alone: the kernel says EFAULT. Keeps errno. */
void hold(struct held *h, size_t n);
void release(const struct held *h, size_t n);

/* The wrapper's result is that of `call`; what follows are READS() and FILLS() of its arguments. */
#define RETURN_HELD(call, ...)                                \
	do {                                                  \
		if (NOTHING_MAPPED)                           \
			return call;                          \
                                                              \
		struct held held_[] = {__VA_ARGS__};          \
		__typeof__(call) result_;                     \
                                                              \
		hold(held_, sizeof held_ / sizeof *held_);    \
		result_ = call;                               \
		release(held_, sizeof held_ / sizeof *held_); \
		return result_;                               \
	} while (0)

#endif
