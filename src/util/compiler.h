/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, branch hints, page arithmetic and the one assertion of the project. */
#ifndef FL_UTIL_COMPILER_H
#define FL_UTIL_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define FL_PAGE_SHIFT 12
#define FL_PAGE_SIZE (1UL << FL_PAGE_SHIFT)
#define FL_PAGE_MASK (FL_PAGE_SIZE - 1)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define FL_EXPORT __attribute__((visibility("default")))
/* Of a variable that inline functions of a header read: in the same library, wherever that is. */
#define FL_HIDDEN __attribute__((visibility("hidden")))
#define FL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Never returns; writes one line to standard error without allocating. */
void fl_bug(const char *what, const char *file, int line) __attribute__((noreturn, cold));

/*
 * Checked in every build: what it guards is the user's data, and the tests are cheap next to a system call.
 * fl_debug_assert() is for checks too dear for that, on when the build type is debug.
 */
#define fl_assert(cond) (likely(cond) ? (void)0 : fl_bug(#cond, __FILE__, __LINE__))
#ifdef FL_DEBUG
#define fl_debug_assert(cond) fl_assert(cond)
#else
#define fl_debug_assert(cond) ((void)sizeof(!!(cond)))
#endif

static inline uint64_t page_align_down(uint64_t x)
{
	return x & ~(uint64_t)FL_PAGE_MASK;
}

/* Wraps to 0 for x within a page of the top, as PAGE_ALIGN() of the kernel does; callers check for that. */
static inline uint64_t page_align_up(uint64_t x)
{
	return (x + FL_PAGE_MASK) & ~(uint64_t)FL_PAGE_MASK;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
