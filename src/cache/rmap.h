/* SPDX-License-Identifier: Apache-2.0 */
/* The reverse map: where the pages of an object are mapped. As anon_vma and i_mmap of Linux. */
#ifndef FL_CACHE_RMAP_H
#define FL_CACHE_RMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmu/mmu.h"
#include "util/lock.h"

struct address_space;

/* The one lock over every reverse map: read by write-back and reclaim, written by whoever changes mappings. */
extern struct rwlock rmap_lock;

enum { RMAP_AS_ASKED, RMAP_OPENED, RMAP_CLOSED };

/* One mapping of an address_space: pages [pgoff, pgoff + pages) at addr. Part of a VMA; guarded by rmap_lock. */
struct rmap {
	struct rmap *next, **link; /* link: where the pointer to us is; NULL when not on a list */
	struct mmu *mmu;
	uint64_t addr, pgoff, pages;
	bool shared;
	bool locked;                /* its pages stay in memory: mlock */
	struct address_space *anon; /* of a private mapping: its private pages, from anon_pgoff on; NULL while there are none */
	uint64_t anon_pgoff;
	_Atomic uint32_t opened; /* to the kernel it is writable, see huge.c; or was, and never again */
	uint32_t visited;        /* by the truncate of that number; written under rmap_lock (read) by that one only */
};

/*
 * Whether it has no pages but the file's, and they can be taken out of it. Caller holds rmap_lock. (Before Linux 6.4 the kernel makes
 * private copies unasked.)
 */
static inline bool rmap_shows_file(const struct rmap *r)
{
	return !r->mmu->remote && (r->shared || (!r->anon && r->mmu->map_can_wp));
}

/* Callers hold rmap_lock for writing. */
void rmap_add(struct address_space *as, struct rmap *r);
void rmap_del(struct address_space *as, struct rmap *r);
/* Write-protects pages [index, index + n) in every shared mapping (anon: in its one mapping). Holds rmap_lock (read). */
int rmap_protect(struct address_space *as, uint64_t index, uint32_t n);
/* Whether a mapping has page `index`. Takes rmap_lock (read). */
bool rmap_has(struct address_space *as, uint64_t index);
/* Whether a mapping that has one of n pages from `index` on is locked in memory (mlock). Takes rmap_lock (read). */
bool rmap_is_locked(struct address_space *as, uint64_t index, uint64_t n);

/*
 * Whether page `index` of a file on shmem frames can be taken out of every mapping and be found again: no mapping may have a private copy
 * there, which would be lost. Caller holds the page lock, which keeps it so. Takes rmap_lock (read).
 */
bool rmap_can_unmap(struct address_space *as, uint64_t index);

#endif
