/* SPDX-License-Identifier: Apache-2.0 */
#include "io_request.h"

#include <limits.h>

#include "util/compiler.h"
#include "util/sys.h"

struct io io;

/* ---- Waiting for a change ---- */

uint32_t io_seq_now(void)
{
	return atomic_load(&io.seq);
}

void io_bump(void)
{
	atomic_fetch_add(&io.seq, 1);
	if (atomic_load(&io.waiters))
		sys_futex_wake(&io.seq, INT_MAX);
}

void io_wait_change(uint32_t seen)
{
	atomic_fetch_add(&io.waiters, 1);
	sys_futex_wait(&io.seq, seen);
	atomic_fetch_sub(&io.waiters, 1);
}

/* ---- The table ---- */

struct request *io_take_free(void)
{
	for (unsigned w = 0; w < IO_WORDS; w++) {
		uint64_t busy = atomic_load(&io.busy[w]);

		while (~busy) {
			unsigned bit = (unsigned)__builtin_ctzll(~busy);

			if (atomic_compare_exchange_weak(&io.busy[w], &busy, busy | 1ULL << bit)) {
				struct request *r = &io.r[w * 64 + bit];

				atomic_store(&r->state, CLAIMED);
				return r;
			}
		}
	}
	return NULL;
}

void io_give_back(struct request *r)
{
	unsigned i = (unsigned)(r - io.r);

	atomic_store(&r->key, 0);
	atomic_store(&r->state, FREE);
	atomic_fetch_and(&io.busy[i / 64], ~(1ULL << i % 64));
	io_bump(); /* somebody may wait for it, also if it was never sent */
}

bool io_any_busy(void)
{
	for (unsigned w = 0; w < IO_WORDS; w++)
		if (atomic_load_explicit(&io.busy[w], memory_order_relaxed))
			return true;
	return false;
}

struct request *io_each_busy(bool (*fn)(struct request *r, const void *arg), const void *arg)
{
	for (unsigned w = 0; w < IO_WORDS; w++)
		for (uint64_t busy = atomic_load(&io.busy[w]); busy; busy &= busy - 1) {
			struct request *r = &io.r[w * 64 + (unsigned)__builtin_ctzll(busy)];

			if (fn(r, arg))
				return r;
		}
	return NULL;
}

void io_let_go(struct request *r)
{
	struct address_space *as = r->as;
	struct buffer buf = r->buf;
	bool huge = key_is_huge(atomic_load(&r->key));

	io_give_back(r);
	if (huge)
		huge_put_slot(buf);
	else
		buffer_put_io(buf);
	atomic_fetch_sub(&as->in_flight, 1); /* the object may be gone now */
	io_bump();
}
