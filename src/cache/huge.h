/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages: 2 MiB of a file in one frame, which is read into and moved (UFFDIO_MOVE), never copied. See huge.c. */
#ifndef FL_CACHE_HUGE_H
#define FL_CACHE_HUGE_H

#include "address_space.h"
#include "buffer.h"

#define HUGE_BYTES ((uint64_t)HUGE_PAGES << FL_PAGE_SHIFT)

/* For so many frames; few are too few. Nothing is mapped before the first huge page is read. */
void huge_init(uint64_t frames);
void huge_exit(void);
/* The context goes; no mapping is left in it. */
void huge_drop_mmu(struct mmu *m);
/* In a forked child: it has none yet. */
void huge_fork_child(void);

/* Pages that a stream of huge pages may have under way; 0 where there are none. */
uint32_t huge_ahead(void);
enum huge_start {
	HUGE_STARTED,
	HUGE_LATER, /* others are being read, or there is no memory for it now */
	HUGE_NEVER  /* this one: pages of it are in memory, or huge pages do not work here */
};
/*
 * Starts to read HUGE_PAGES pages from index on, which r has at an address that is a multiple of as much. What is in memory of as many pages from
 * `behind` on, where a huge page could be, leaves for it, if it may; UINT64_MAX: nothing is named.
 */
enum huge_start huge_start(struct address_space *as, uint64_t index, uint64_t behind, struct rmap *r);
/*
 * The read that huge_start() began has brought `got` bytes, or -errno, into the slot: the page, locked, moves to where it is mapped, CLEAN and
 * unlocked; or it is dropped. Then the slot is given back.
 */
void huge_finish(struct address_space *as, uint64_t index, int64_t got, struct buffer slot);
void huge_put_slot(struct buffer slot);

/*
 * A huge page that reclaim has taken, locked and EVICTING, moves to the slot and leaves the table; its reservation stays. False: it is to be evicted
 * otherwise. With `remember`, the policy knows it when it comes back soon.
 */
bool huge_recycle(pfn_t pfn, struct buffer slot, bool remember);

/* A locked huge page, CLEAN, becomes small ones, its memory too; or it leaves memory. Unlocks it. */
void huge_split(pfn_t pfn);
/* Page index is the first of what it is part of after. */
void huge_split_at(struct address_space *as, uint64_t index);
/* None reaches over an end of [first, last] after, unless one is read meanwhile: for who does something to these pages and no others. */
void huge_split_ends(struct address_space *as, uint64_t first, uint64_t last);
/* Those that have a page of [first, last] leave memory. Nothing is in flight. */
void huge_drop_range(struct address_space *as, uint64_t first, uint64_t last);

/* A program's store to a mapping that it may only read, which has been opened for us: from now on the kernel refuses it, as it would have. */
int huge_close(struct rmap *r, int prot);

#endif
