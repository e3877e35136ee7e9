/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of the engine. They are futex words: no allocation, no thread-local state in release builds, and safe in the
 * SIGBUS handler, because whoever holds one has every signal blocked (struct sigguard) and touches no mapped memory.
 *
 * Debug builds check the order below on every acquisition (docs/locking.md says why each pair stands as it does).
 * A lock may be taken only while every lock held has a smaller rank. Page locks are not in the list: they are bits
 * in the page word, taken last but one; see cache/page.h.
 */
#ifndef FL_UTIL_LOCK_H
#define FL_UTIL_LOCK_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sys.h"

enum lock_rank {
	RANK_SPACES = 1, /* list of address spaces, start and end of the engine */
	RANK_MMAP,       /* mm->mmap_lock: writers of one address space */
	RANK_FOREIGN,    /* mm->foreign_lock: what is not ours, against new mappings of ours */
	RANK_VMA,        /* one VMA against its faults */
	RANK_FILES,      /* table of address_spaces by inode */
	RANK_BUFFER,     /* not a lock: holding, and waiting for, a bounce buffer */
	RANK_INVALIDATE, /* address_space.invalidate_lock */
	RANK_RMAP,       /* which VMAs map which file */
	RANK_ARENA,      /* internal allocator */
	RANK_CHANNEL,    /* the socket of a host's client, until the host has answered */
	RANK_LEAF,       /* short sections that take nothing else */
};

struct mutex {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and waited for */
	uint32_t rank;
};

/* Many readers or one writer; a waiting writer stops new readers. */
struct rwlock {
	_Atomic uint32_t word; /* bits 0..28 readers, 29 somebody sleeps, 30 a writer waits, 31 a writer holds */
	uint32_t rank;
};

#define MUTEX_INIT(r)                  \
	{                              \
		.word = 0, .rank = (r) \
	}
#define RWLOCK_INIT(r)                 \
	{                              \
		.word = 0, .rank = (r) \
	}

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void rwlock_init(struct rwlock *l, enum lock_rank rank);
void read_lock(struct rwlock *l);
bool read_trylock(struct rwlock *l);
void read_unlock(struct rwlock *l);
void write_lock(struct rwlock *l);
void write_unlock(struct rwlock *l);

/* Spinning helper: a few pauses first, then the processor is given away. */
void cpu_relax(unsigned turn);

#ifdef FL_DEBUG
void lock_order_acquire(uint32_t rank);
void lock_order_release(uint32_t rank);
#else
static inline void lock_order_acquire(uint32_t rank)
{
	(void)rank;
}
static inline void lock_order_release(uint32_t rank)
{
	(void)rank;
}
#endif

/*
 * Every signal blocked from enter to leave. Needed around any lock that the fault path takes: a handler of the
 * program that ran in between and touched mapped memory would wait for a lock its own thread holds.
 */
struct sigguard {
	uint64_t old;
	bool on;
	bool without; /* counted as under way without a guard */
};

/* The program has said that its handlers touch no mapped memory: nothing to guard against. Set before the start. */
extern bool sigguard_off;

static inline struct sigguard sigguard_enter(void)
{
	if (sigguard_off)
		return (struct sigguard){.on = false};
	return (struct sigguard){.old = sys_sigmask(SIG_SETMASK, ~0ULL), .on = true};
}

/*
 * The same for calls that concern soft spaces alone: while nothing is mapped natively, no handler can fault on it. Whoever is about to
 * map something natively for the first time waits for those that are under way without a guard (sigguard_need).
 */
extern _Atomic bool sigguard_needed; /* only ever set */
extern _Atomic uint32_t sigguard_without;

static inline struct sigguard sigguard_enter_soft(void)
{
	if (atomic_load_explicit(&sigguard_needed, memory_order_relaxed))
		return sigguard_enter();
	atomic_fetch_add(&sigguard_without, 1);
	if (!atomic_load(&sigguard_needed))
		return (struct sigguard){.without = true};
	atomic_fetch_sub(&sigguard_without, 1);
	return sigguard_enter();
}

static inline void sigguard_leave(struct sigguard g)
{
	if (g.on)
		sys_sigmask(SIG_SETMASK, g.old);
	else if (g.without)
		atomic_fetch_sub_explicit(&sigguard_without, 1, memory_order_release);
}

/* Holds no lock. */
void sigguard_need(void);

#endif
