/* SPDX-License-Identifier: Apache-2.0 */
/* Write-back: dirty pages to their store. */
#ifndef FL_CACHE_WRITEBACK_H
#define FL_CACHE_WRITEBACK_H

#include "address_space.h"
#include "io.h"

/*
 * Writes back the dirty pages of [first, last] and waits for those that others are writing. Pages that fail stay
 * dirty; the first error is the answer, after all pages were tried. The caller holds no lock of the cache.
 */
int writeback_range(struct address_space *as, uint64_t first, uint64_t last);
int writeback_all(struct address_space *as);
/* writeback_range(), and what was written is on the disk; an error of that is told to the other mappings of the file too. */
int writeback_durably(struct address_space *as, uint64_t first, uint64_t last);
/* Starts it where writes can be in flight, and does it where not. */
int writeback_start(struct address_space *as, uint64_t first, uint64_t last);
enum wb_outcome {
	WB_DONE,    /* written, or given up where it would have to wait for a lock */
	WB_STARTED, /* or in the batch: the pages become clean later, see reclaim_written() */
	WB_FULL,    /* too much is in flight */
	WB_WAITS,   /* only by a write that is waited for, and may_wait is false */
};
/* One dirty page and its dirty neighbours: started where writes can be in flight, when the batch is sent, which this does before it waits. */
enum wb_outcome writeback_for_reclaim(pfn_t pfn, bool may_wait, struct io_batch *batch);
/*
 * Before a store makes one more page of the object dirty: when its dirty pages are more than a quarter of memory, some are written while the
 * program goes on; when more than half, the caller waits for some of them. The caller holds no lock of the cache. Where writes can be in flight.
 */
void writeback_balance(struct address_space *as);
/* A write of io.c has ended: of n pages from index on, `len` bytes. The caller holds no page lock. */
void writeback_ended(struct address_space *as, uint64_t index, uint32_t n, uint64_t len, int err, bool reclaim);

#endif
