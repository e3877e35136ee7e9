/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <limits.h>

#include "compiler.h"

#define SPINS 40

#define RW_WRITER (1u << 31)
#define RW_WAITS (1u << 30)
#define RW_SLEEPS (1u << 29)
#define RW_READERS (RW_SLEEPS - 1)

void cpu_relax(unsigned turn)
{
	if (turn < SPINS)
		__builtin_ia32_pause();
	else
		sys_yield();
}

#ifdef FL_DEBUG
/*
 * How many of each rank this thread holds. Two locks of one rank are not held together, except VMA locks, taken in
 * the order of addresses, and the mmap_locks of several spaces, in the order of spaces.
 */
static _Thread_local uint32_t held[RANK_LEAF + 1] __attribute__((tls_model("initial-exec")));

void lock_order_acquire(uint32_t rank)
{
	fl_assert(rank <= RANK_LEAF);
	for (uint32_t r = rank + (rank == RANK_VMA || rank == RANK_MMAP); r <= RANK_LEAF; r++)
		fl_assert(held[r] == 0);
	held[rank]++;
}

void lock_order_release(uint32_t rank)
{
	fl_assert(held[rank] > 0);
	held[rank]--;
}
#endif

bool sigguard_off;
_Atomic bool sigguard_needed;
_Atomic uint32_t sigguard_without;

void sigguard_need(void)
{
	if (likely(atomic_load_explicit(&sigguard_needed, memory_order_relaxed)))
		return;
	atomic_store(&sigguard_needed, true);
	while (atomic_load(&sigguard_without))
		sys_yield();
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	atomic_store(&m->word, 0);
	m->rank = rank;
}

bool mutex_trylock(struct mutex *m)
{
	uint32_t free = 0;

	if (!atomic_compare_exchange_strong_explicit(&m->word, &free, 1, memory_order_acquire, memory_order_relaxed))
		return false;
	lock_order_acquire(m->rank);
	return true;
}

void mutex_lock(struct mutex *m)
{
	for (int i = 0; i < SPINS; i++) {
		if (mutex_trylock(m))
			return;
		__builtin_ia32_pause();
	}
	while (atomic_exchange_explicit(&m->word, 2, memory_order_acquire) != 0)
		sys_futex_wait(&m->word, 2);
	lock_order_acquire(m->rank);
}

void mutex_unlock(struct mutex *m)
{
	lock_order_release(m->rank);
	if (atomic_exchange_explicit(&m->word, 0, memory_order_release) == 2)
		sys_futex_wake(&m->word, 1);
}

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
	atomic_store(&l->word, 0);
	l->rank = rank;
}

bool read_trylock(struct rwlock *l)
{
	uint32_t w = atomic_load_explicit(&l->word, memory_order_relaxed);

	while (!(w & (RW_WRITER | RW_WAITS)))
		if (atomic_compare_exchange_weak_explicit(&l->word, &w, w + 1, memory_order_acquire, memory_order_relaxed)) {
			lock_order_acquire(l->rank);
			return true;
		}
	return false;
}

/* Sleeps until the word is no longer w, having said so in it. */
static void sleep_on(struct rwlock *l, uint32_t w)
{
	if ((w & RW_SLEEPS) || atomic_compare_exchange_strong(&l->word, &w, w | RW_SLEEPS))
		sys_futex_wait(&l->word, w | RW_SLEEPS);
}

void read_lock(struct rwlock *l)
{
	for (unsigned turn = 0; !read_trylock(l); turn++) {
		uint32_t w = atomic_load(&l->word);

		if (turn >= SPINS && (w & (RW_WRITER | RW_WAITS)))
			sleep_on(l, w);
		else
			__builtin_ia32_pause();
	}
}

void read_unlock(struct rwlock *l)
{
	lock_order_release(l->rank);
	uint32_t w = atomic_fetch_sub_explicit(&l->word, 1, memory_order_release);

	fl_debug_assert(w & RW_READERS);
	if ((w & RW_READERS) != 1 || !(w & RW_SLEEPS))
		return;
	atomic_fetch_and(&l->word, ~RW_SLEEPS); /* who sets it again after this sees a word that has changed, and does not sleep */
	sys_futex_wake(&l->word, INT_MAX);
}

void write_lock(struct rwlock *l)
{
	for (unsigned turn = 0;; turn++) {
		uint32_t w = atomic_load(&l->word);

		if (!(w & (RW_WRITER | RW_READERS))) {
			if (atomic_compare_exchange_weak_explicit(&l->word, &w, RW_WRITER | (w & RW_SLEEPS), memory_order_acquire,
								  memory_order_relaxed))
				break;
		} else if (!(w & RW_WAITS)) {
			atomic_compare_exchange_weak(&l->word, &w, w | RW_WAITS);
		} else if (turn >= SPINS) {
			sleep_on(l, w);
		} else {
			__builtin_ia32_pause();
		}
	}
	lock_order_acquire(l->rank);
}

/* Clears RW_WAITS too: writers still waiting set it again when they wake. */
void write_unlock(struct rwlock *l)
{
	lock_order_release(l->rank);
	if (atomic_exchange_explicit(&l->word, 0, memory_order_release) & RW_SLEEPS)
		sys_futex_wake(&l->word, INT_MAX);
}
