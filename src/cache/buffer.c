/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "budget.h"
#include "io.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/sys.h"

#define WORDS 4
#define BUFFERS_MAX (WORDS * 64)

/* Buffers of one size: their free slots are bits. */
struct buffer_pool {
	_Atomic uint64_t free[WORDS];
	_Atomic uint32_t wakeups; /* futex: counts returns while someone waits */
	_Atomic uint32_t waiters;
	_Atomic uint32_t in_io; /* held by reads in flight */
	uint32_t count, pages;
	char *base;
};

static struct buffer_pool small, large;

static size_t pool_bytes(const struct buffer_pool *p)
{
	return (size_t)p->count * p->pages * FL_PAGE_SIZE;
}

static void pool_reset(struct buffer_pool *p)
{
	for (uint32_t w = 0; w < WORDS; w++) {
		uint32_t n = p->count > w * 64 ? p->count - w * 64 : 0;

		atomic_store(&p->free[w], n >= 64 ? ~0ULL : (1ULL << n) - 1);
	}
	atomic_store(&p->waiters, 0);
	atomic_store(&p->in_io, 0);
}

static int pool_init(struct buffer_pool *p, uint32_t count, uint32_t pages)
{
	fl_assert(count <= BUFFERS_MAX);
	*p = (struct buffer_pool){.count = count, .pages = pages};
	p->base = budget_map(pool_bytes(p));
	if (!p->base)
		return -ENOMEM;
	pool_reset(p);
	return 0;
}

static void pool_exit(struct buffer_pool *p)
{
	budget_unmap(p->base, pool_bytes(p));
	memset(p, 0, sizeof *p);
}

/* A sixteenth of the budget for large buffers of up to 256 KiB each, up to 32; single pages, up to 256, from another 32nd. */
int buffer_init(uint64_t budget_pages)
{
	uint32_t singles = (uint32_t)min_u64(BUFFERS_MAX, max_u64(8, budget_pages / 32));
	uint32_t pages = (uint32_t)min_u64(64, max_u64(2, budget_pages / 64));
	uint32_t count = (uint32_t)min_u64(32, max_u64(2, budget_pages / 16 / pages));
	int err = pool_init(&small, singles, 1);

	if (err)
		return err;
	err = pool_init(&large, count, pages);
	if (err)
		pool_exit(&small);
	return err;
}

void buffer_exit(void)
{
	pool_exit(&small);
	pool_exit(&large);
}

static bool pool_take(struct buffer_pool *p, uint32_t *slot)
{
	for (uint32_t w = 0; w < WORDS; w++) {
		uint64_t free = atomic_load(&p->free[w]);

		while (free) {
			*slot = w * 64 + (uint32_t)__builtin_ctzll(free);
			if (atomic_compare_exchange_weak(&p->free[w], &free, free & (free - 1)))
				return true;
		}
	}
	return false;
}

/* The waiter counts itself before it looks again, so a return it did not see wakes it. Reads in flight are completed first. */
static uint32_t pool_wait(struct buffer_pool *p)
{
	uint32_t slot;

	atomic_fetch_add(&p->waiters, 1);
	for (;;) {
		uint32_t seen = atomic_load(&p->wakeups);

		if (pool_take(p, &slot))
			break;
		if (!io_help())
			sys_futex_wait(&p->wakeups, seen);
	}
	atomic_fetch_sub(&p->waiters, 1);
	return slot;
}

static struct buffer in_slot(const struct buffer_pool *p, uint32_t slot)
{
	return (struct buffer){.data = p->base + (size_t)slot * p->pages * FL_PAGE_SIZE, .pages = p->pages, .slot = slot};
}

static struct buffer_pool *pool_of(struct buffer b)
{
	return b.data >= large.base && b.data < large.base + pool_bytes(&large) ? &large : &small;
}

struct buffer buffer_get(bool want_large)
{
	struct buffer_pool *p = want_large ? &large : &small;
	uint32_t slot;

	lock_order_acquire(RANK_BUFFER);
	if (!pool_take(p, &slot))
		slot = pool_wait(p);
	return in_slot(p, slot);
}

static void pool_put(struct buffer_pool *p, uint32_t slot)
{
	atomic_fetch_or(&p->free[slot / 64], 1ULL << slot % 64);
	if (atomic_load(&p->waiters)) {
		atomic_fetch_add(&p->wakeups, 1);
		sys_futex_wake(&p->wakeups, 1);
	}
}

void buffer_put(struct buffer b)
{
	lock_order_release(RANK_BUFFER);
	pool_put(pool_of(b), b.slot);
}

bool buffer_get_io(bool want_large, struct buffer *b)
{
	struct buffer_pool *p = want_large ? &large : &small;
	uint32_t slot;

	if (atomic_fetch_add(&p->in_io, 1) < p->count / 2 && !atomic_load(&p->waiters) && pool_take(p, &slot)) {
		*b = in_slot(p, slot);
		return true;
	}
	atomic_fetch_sub(&p->in_io, 1);
	return false;
}

void buffer_put_io(struct buffer b)
{
	atomic_fetch_sub(&pool_of(b)->in_io, 1);
	pool_put(pool_of(b), b.slot);
}

uint32_t buffer_large_pages(void)
{
	return large.pages;
}

uint64_t buffer_bytes(void)
{
	return pool_bytes(&small) + pool_bytes(&large);
}

void buffer_fork_child(void)
{
	pool_reset(&small);
	pool_reset(&large);
}
