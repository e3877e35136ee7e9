/* SPDX-License-Identifier: Apache-2.0 */
/* Between ram.c and ram_rmap.c: a change to all entries that show a page. Callers hold rmap_lock. */
#ifndef FL_CACHE_RAM_RMAP_H
#define FL_CACHE_RAM_RMAP_H

#include "address_space.h"
#include "mmu/soft.h"

#define RAM_FLUSHES 8

/* Mappings whose TLBs must be flushed. */
struct ram_flushes {
	uint32_t n;
	struct {
		struct mmu *mmu;
		uint64_t start, end;
	} range[RAM_FLUSHES];
};
void ram_flush_all(struct ram_flushes *f);

struct ram_change {
	pte_t clear, instead;        /* bits to take away; or, when 0, what takes the place of the entry */
	struct ram_flushes *flushes; /* NULL: each TLB just forgets the entry */
};
/* How many entries were changed. */
uint32_t ram_change_mappings(struct address_space *as, uint64_t index, const void *page, const struct ram_change *c);

/* By which reverse map, and as which page of it, a page finds its mappings. NULL: an orphan has none. */
struct address_space *ram_mapped_as(struct address_space *as, uint64_t *index);

#endif
