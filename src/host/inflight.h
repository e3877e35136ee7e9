/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of files in flight: calls like write(2) that began when nobody had the file mapped, or may have.
 *
 * Such a call looks whether its file is mapped (wire_filter()), and goes past the cache when it is not. Somebody else may map the file and read a page
 * of it before the kernel has done the call: the page would keep the old bytes, and a store beside them would bring those back to the file. So
 *
 *   the change  begins (a mark says who, and at which place of the filter), looks at the filter, does the call, ends (the mark goes)
 *   the mapping shows the file in the filter, then waits for the marks at its place that it finds, then reads
 *
 * Each writes its own word before it reads the other's, so one of the two sees the other. A change that begins later sees the file in the
 * filter. The marks lie in the board of the host that this process has joined, where all processes of a run see them; else in this process.
 *
 * As inode_dio_begin() and inode_dio_wait() of Linux do for reads and writes past its page cache.
 */
#ifndef FL_HOST_INFLIGHT_H
#define FL_HOST_INFLIGHT_H

#include <stdbool.h>
#include <sys/single_threaded.h>

#include "channel.h"
#include "util/compiler.h"
#include "util/stack.h"
#include "wire.h"

/* Cheap: false when nobody could map a file during a call of this thread's, which is alone. */
static inline bool inflight_needed(void)
{
	return channel_joined() || !__libc_single_threaded;
}

struct inflight {
	_Atomic uint64_t *slot; /* NULL: none */
	uint64_t mark;
	uint32_t depth; /* how many calls of this thread's are around it */
};

/* A mark: the thread, a count of its marks, the place. */
#define INFLIGHT_PLACE_BITS 10
#define INFLIGHT_COUNT_BITS 22
#define INFLIGHT_TID_SHIFT (INFLIGHT_PLACE_BITS + INFLIGHT_COUNT_BITS)

#define INFLIGHT_NESTED 4 /* handlers of signals in others; deeper, nobody sees that they have been left */

/* This thread's. */
struct inflight_self {
	uint32_t tid; /* 0: not known yet */
	uint32_t count, slot;
	uint32_t depth; /* calls that have begun, each in a handler in the one before */
	struct {
		uintptr_t frame; /* where the call is */
		uint32_t slot;   /* with its mark, if it is still there */
	} calls[INFLIGHT_NESTED];
};
extern FL_HIDDEN _Thread_local struct inflight_self inflight_self __attribute__((tls_model("initial-exec")));
extern FL_HIDDEN struct wire_inflight inflight_own; /* marks of this process, when it has no host */

static inline struct wire_inflight *inflight_table(void)
{
	struct wire_inflight *shared = channel_inflight();

	return shared ? shared : &inflight_own;
}

/* The tid is known. A slot is for who finds no mark in it. */
static inline bool inflight_take(struct wire_inflight *t, uint32_t slot, struct inflight *f, uint32_t place)
{
	uint32_t count = inflight_self.count++ & ((1U << INFLIGHT_COUNT_BITS) - 1);
	uint64_t none = 0;

	f->mark = (uint64_t)inflight_self.tid << INFLIGHT_TID_SHIFT | (uint64_t)count << INFLIGHT_PLACE_BITS | place;
	f->depth = inflight_self.depth;
	if (likely(f->depth < INFLIGHT_NESTED)) {
		inflight_self.calls[f->depth].frame = (uintptr_t)f;
		inflight_self.calls[f->depth].slot = slot;
	}
	inflight_self.depth = f->depth + 1; /* a handler may leave the call from here on */
	if (!atomic_compare_exchange_strong(&t->slot[slot].mark, &none, f->mark)) {
		inflight_self.depth = f->depth;
		return false;
	}
	f->slot = &t->slot[slot].mark;
	inflight_self.slot = slot;
	return true;
}

void inflight_find_slot(struct inflight *f, uint32_t place);

/* May be nested, as in a signal handler. A thread that does not come to the end must not live on for long. */
static inline void inflight_begin(struct inflight *f, uint32_t place)
{
	struct wire_inflight *t = inflight_table();
	uint32_t slot = inflight_self.slot;

	if (unlikely(!inflight_self.tid || slot >= atomic_load(&t->used) || !inflight_take(t, slot, f, place)))
		inflight_find_slot(f, place);
}

static inline void inflight_end(const struct inflight *f)
{
	if (!f->slot)
		return;
	/* What was taken away is another's perhaps. */
	if (atomic_load_explicit(f->slot, memory_order_relaxed) == f->mark)
		atomic_store_explicit(f->slot, 0, memory_order_release);
	inflight_self.depth = f->depth;
}

void inflight_leave_slowly(uintptr_t sp, enum stack_move move);

/* This thread goes on with its stack pointer at `sp`: the calls that it has left so are over. */
static inline void inflight_leave(uintptr_t sp, enum stack_move move)
{
	if (unlikely(inflight_self.depth))
		inflight_leave_slowly(sp, move);
}

/*
 * Until none of the changes at this place that have begun is in flight, but those of this thread's own. The caller holds no lock. True when there was one.
 */
bool inflight_wait(uint32_t place);

/* In the child. */
void inflight_fork_child(void);

#endif
