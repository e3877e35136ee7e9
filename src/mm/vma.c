/* SPDX-License-Identifier: Apache-2.0 */
#include "vma.h"

#include <limits.h>
#include <string.h>

#include "util/arena.h"

#define VMA_WRITER (1u << 31)
#define VMA_SLEEPS (1u << 30) /* somebody waits in a futex */

static struct mutex pool_lock = MUTEX_INIT(RANK_LEAF);
static struct vma *pool; /* pool_lock */

struct vma *vma_alloc(struct mm *mm)
{
	struct vma *v;

	mutex_lock(&pool_lock);
	v = pool;
	if (v)
		pool = v->next;
	mutex_unlock(&pool_lock);
	if (v) { /* a racing look-up may still hold it */
		vma_set_range(v, 0, 0);
		memset(&v->pgoff, 0, sizeof *v - offsetof(struct vma, pgoff));
	} else {
		v = arena_alloc(address_space_arena(), sizeof *v);
	}
	if (v)
		v->mm = mm;
	return v;
}

void vma_free(struct vma *v)
{
	mutex_lock(&pool_lock);
	v->next = pool;
	pool = v;
	mutex_unlock(&pool_lock);
}

void vma_pool_exit(void)
{
	pool = NULL;
}

void vma_pool_fork_child(void)
{
	mutex_init(&pool_lock, RANK_LEAF);
	vma_index_fork_child();
}

void vma_lock_reset(struct vma *v)
{
	atomic_store(&v->lock, 0);
}

/* Sleeps until the word is no longer w, having said so in it. */
static void sleep_on(struct vma *v, uint32_t w)
{
	if ((w & VMA_SLEEPS) || atomic_compare_exchange_strong(&v->lock, &w, w | VMA_SLEEPS))
		sys_futex_wait(&v->lock, w | VMA_SLEEPS);
}

/* The last reader lets the writer in, who clears VMA_SLEEPS when it is done. */
void vma_unlock_read(struct vma *v)
{
	lock_order_release(RANK_VMA);
	if (atomic_fetch_sub_explicit(&v->lock, 1, memory_order_release) == (VMA_WRITER | VMA_SLEEPS | 1))
		sys_futex_wake(&v->lock, INT_MAX);
}

/* False: a writer has it, and by the time of the answer may have let go. */
static bool try_read(struct vma *v)
{
	uint32_t w = atomic_fetch_add_explicit(&v->lock, 1, memory_order_acquire);

	lock_order_acquire(RANK_VMA);
	if (!(w & VMA_WRITER))
		return true;
	vma_unlock_read(v);
	w = atomic_load(&v->lock);
	if (w & VMA_WRITER)
		sleep_on(v, w);
	return false;
}

struct vma *vma_lock_read(struct vma_index *x, uint64_t addr)
{
	for (;;) {
		struct vma *v = vma_find_racy(x, addr);

		if (!v)
			return NULL;
		if (!try_read(v))
			continue;
		uint64_t end = __atomic_load_n(&v->end, __ATOMIC_ACQUIRE), start = __atomic_load_n(&v->start, __ATOMIC_RELAXED);

		if (addr >= start && addr < end && v->mm)
			return v;
		bool above = start > addr && end > start;

		vma_unlock_read(v);
		if (above)
			return NULL; /* the next VMA; the address itself is in none */
	}
}

struct vma *vma_trylock_read(struct vma_index *x, uint64_t addr)
{
	struct vma *v = vma_find_racy(x, addr);
	uint32_t w;

	if (!v)
		return NULL;
	w = atomic_fetch_add_explicit(&v->lock, 1, memory_order_acquire);
	lock_order_acquire(RANK_VMA);
	if (!(w & VMA_WRITER) && addr >= v->start && addr < v->end && v->mm)
		return v;
	vma_unlock_read(v);
	return NULL;
}

void vma_lock_write(struct vma *v)
{
	uint32_t w;

	atomic_fetch_or_explicit(&v->lock, VMA_WRITER, memory_order_acquire);
	for (unsigned turn = 0; (w = atomic_load_explicit(&v->lock, memory_order_acquire)) & ~(VMA_WRITER | VMA_SLEEPS); turn++)
		if (turn < 40)
			__builtin_ia32_pause();
		else
			sleep_on(v, w);
	lock_order_acquire(RANK_VMA);
}

void vma_unlock_write(struct vma *v)
{
	lock_order_release(RANK_VMA);
	if (atomic_fetch_and_explicit(&v->lock, ~(VMA_WRITER | VMA_SLEEPS), memory_order_release) & VMA_SLEEPS)
		sys_futex_wake(&v->lock, INT_MAX);
}
