/* SPDX-License-Identifier: Apache-2.0 */
/* Write-back: dirty pages to their store. */
#ifndef FL_CACHE_WRITEBACK_H
#define FL_CACHE_WRITEBACK_H

#include "address_space.h"

/*
 * Writes back the dirty pages of [first, last] and waits for those that others are writing. Pages that fail stay
 * dirty; the first error is the answer, after all pages were tried. The caller holds no lock of the cache.
 */
int writeback_range(struct address_space *as, uint64_t first, uint64_t last);
int writeback_all(struct address_space *as);
/* One dirty page and its dirty neighbours; gives up where it would have to wait for a lock. */
void writeback_for_reclaim(pfn_t pfn);

#endif
