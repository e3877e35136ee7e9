/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of pages that leave memory, or only their mappings. */
#ifndef FL_CACHE_EVICT_H
#define FL_CACHE_EVICT_H

#include <stdint.h>

#include "page.h"

#define EVICT_BATCH 64

/* A page, locked: flags, object, index. Small, since so many of them lie on the stack of a signal handler. */
struct victim {
	uint64_t key;
	pfn_t pfn;
} __attribute__((packed, aligned(4)));

/* A CLEAN page, which the caller has locked, is EVICTING from now on. */
struct victim victim_begin(pfn_t pfn);
/* How many pages leave with it. */
uint32_t victim_pages(const struct victim *v);
/* A locked page that is to be taken out of its mappings only. */
struct victim victim_probe(pfn_t pfn);
/* Up to EVICT_BATCH of them leave and are unlocked; how many frames that released. */
uint32_t evict_batch(struct victim *v, uint32_t n);

#endif
