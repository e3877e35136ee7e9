/* SPDX-License-Identifier: Apache-2.0 */
/* Reclaim: frames for those who need them, by taking pages out of memory. */
#ifndef FL_CACHE_RECLAIM_H
#define FL_CACHE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "address_space.h"
#include "buffer.h"

/*
 * Reserves up to `want` frames, at least one; waits for reclaim. The caller holds no page lock, no buffer and no
 * invalidate_lock. -ENOMEM when nothing can leave memory: all is pinned, or cannot be written back.
 */
int reserve_frames(uint32_t want, uint32_t *got);
/* The same for all or nothing, with one try: for what can be done without. */
bool try_reserve_frames(uint32_t want);
/*
 * Sets memory aside for the VMAs and files that the next call may need, so that it does not fail because the cache
 * fills the budget. Called before any lock is taken; best effort.
 */
void metadata_refill(void);
/* A page more for what a fault needs, with the patience of reserve_frames(), and its errors. */
int metadata_wait(void);
/* The same as metadata_refill() for a call that needs more: about `pages`. What it leaves is given back by budget_drop_spare(). */
void metadata_refill_to(uint64_t pages);
/*
 * Pages [first, last] are not needed soon: they lose their second chance, and with `out` leave memory at once, written
 * back first. Pinned pages, and what others hold, stay.
 */
void reclaim_range(struct address_space *as, uint64_t first, uint64_t last, bool out);
/* Whether a page, which the caller has locked, is clean and can leave memory. */
bool reclaim_may_take(pfn_t pfn);
/* Takes one page out of memory, if it is there, written back first. */
void reclaim_page(pfn_t pfn);
/* A page that reclaim had written back is clean now: it may be the next to leave. */
void reclaim_written(pfn_t pfn);
/* Makes room for so many pages that will be wanted soon, as far as some can leave by the policy. The caller holds what it may for reserve_frames(). */
void reclaim_ahead(uint32_t pages);
/* Takes about n pages out of memory; how many frames that released. */
uint32_t reclaim_pages(uint32_t n);
/*
 * Takes HUGE_PAGES pages out of memory. True when the memory of a huge page is in the slot now, its reservation with it; else what left was
 * released, and may or may not be enough.
 */
bool reclaim_huge(struct buffer slot);

#endif
