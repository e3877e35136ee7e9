/* SPDX-License-Identifier: Apache-2.0 */
#include "peek.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "arguments/held.h"
#include "memory/gaps.h"
#include "util/sys.h"

#define STACK_NEAR (1UL << 20)

/*
 * What of this thread's stack was seen to be there: where it begins, and in the bits below a page how many pages it is. One word, as a signal handler, on
 * a stack of its own perhaps, comes in between.
 */
static _Thread_local _Atomic uint64_t seen __attribute__((tls_model("initial-exec")));

/* It reads a set of signals, but for NULL, before it looks at what to do with it, which here is nothing. No sandbox forbids the call. */
static bool kernel_reads(uint64_t at)
{
	at &= ~(sizeof at - 1);
	return at && sys_call(SYS_rt_sigprocmask, -1, (long)at, 0, sizeof at, 0, 0) != -EFAULT;
}

static bool is_within(uint64_t known, uint64_t from, uint64_t end)
{
	uint64_t start = page_align_down(known);

	return from >= start && end <= start + (known & FL_PAGE_MASK) * FL_PAGE_SIZE;
}

/* Nothing says where a stack ends, and arguments can be said to be longer than what is left of it. */
static bool see_stack(uint64_t from, uint64_t end)
{
	uint64_t known = atomic_load_explicit(&seen, memory_order_relaxed);

	for (uint64_t page = from; page < end; page += FL_PAGE_SIZE)
		if (!is_within(known, page, page + FL_PAGE_SIZE) && !kernel_reads(page))
			return false;
	atomic_store_explicit(&seen, from | (end - from) >> FL_PAGE_SHIFT, memory_order_relaxed);
	return true;
}

/* Callers' frames lie above this one. */
bool is_on_stack(const void *at, size_t len)
{
	uint64_t frame = (uintptr_t)__builtin_frame_address(0), end = (uintptr_t)at + len;

	if ((uintptr_t)at - frame >= STACK_NEAR || len >= STACK_NEAR || file_io_is_ours(at, len))
		return false;
	return is_within(atomic_load_explicit(&seen, memory_order_relaxed), frame, end) ||
	       see_stack(page_align_down(frame), page_align_up(end));
}

bool can_read(const void *at, size_t len)
{
	uint64_t start = (uintptr_t)at, end;

	if (!len || is_on_stack(at, len))
		return true;
	if (__builtin_add_overflow(start, len, &end))
		return false;
	for (uint64_t page = start; page < end; page = page_align_down(page) + FL_PAGE_SIZE)
		if (!kernel_reads(page))
			return false;
	return true;
}

size_t memory_at(const void *at, size_t len)
{
	uint64_t from = (uintptr_t)at, end, start, stop;

	if (__builtin_add_overflow(from, len, &end) || NOTHING_MAPPED)
		return len;
	for (uint64_t p = from; p < end && next_gap(p, end, &start, &stop); p = stop)
		for (uint64_t page = start; page < stop; page = page_align_down(page) + FL_PAGE_SIZE)
			if (!can_read((void *)page, 1))
				return page - from;
	return len;
}

/* To memory; NULL: to nowhere. */
static bool copy_held(void *to, const void *from, size_t len)
{
	struct held h = READS(from, len);
	struct again again = {0};
	bool can, more;

	do {
		again.moves = file_io_moves();
		hold(&h, 1);
		can = can_read(from, len);
		if (can && to)
			memcpy(to, from, len);
		more = !can && held_again(&again, &h, 1);
		release(&h, 1);
	} while (more);
	return can;
}

bool can_peek(const void *at, size_t len)
{
	return is_on_stack(at, len) || copy_held(NULL, at, len);
}

bool peek(void *to, const void *from, size_t len)
{
	if (likely(is_on_stack(from, len))) {
		memcpy(to, from, len);
		return true;
	}
	return copy_held(to, from, len);
}

size_t peek_room(const socklen_t *len)
{
	socklen_t room;

	return len && peek(&room, len, sizeof room) ? room : 0;
}

bool can_peek_message(const struct msghdr *m)
{
	struct msghdr copy;

	if (!peek(&copy, m, sizeof copy))
		return false;
	return copy.msg_iovlen > IOV_MAX || can_peek(copy.msg_iov, copy.msg_iovlen * sizeof *copy.msg_iov);
}

/* Of more than IOV_MAX the kernel takes so many. */
bool can_peek_messages(const struct mmsghdr *v, unsigned n)
{
	for (unsigned i = 0; i < n && i < IOV_MAX; i++)
		if (!can_peek_message(&v[i].msg_hdr))
			return false;
	return true;
}
