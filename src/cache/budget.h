/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget: one count of 4 KiB pages, from which everything the engine holds is paid: page frames, bounce buffers,
 * the page table, the arena, bitmaps, and a fixed allowance for the library's own data.
 *
 * Invariant: used <= limit at every moment. A page is reserved before it is allocated and released after it is freed,
 * so memory measured from outside can only be below the count.
 */
#ifndef FL_CACHE_BUDGET_H
#define FL_CACHE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_MIN (1UL << 20)
#define BUDGET_DEFAULT (1UL << 30)
/*
 * Never given out: the library's writable data, the report page, and a 64th for what an observer sees who reads the
 * kinds of memory one after the other while pages move between them.
 */
#define BUDGET_FIXED_PAGES 24
uint64_t budget_fixed_pages(void);

/* 0, or -EINVAL below BUDGET_MIN. */
int budget_init(uint64_t bytes);
bool budget_try_reserve(uint64_t pages);
void budget_release(uint64_t pages);
/*
 * Zeroed memory of its own for a table of so many bytes, whole pages, all paid for at once and touched when it is used; NULL when there is no
 * room. Given back by budget_unmap(), which takes NULL.
 */
void *budget_map(uint64_t bytes);
void budget_unmap(void *memory, uint64_t bytes);

/*
 * What is used is borrowed of somebody who has more, in pieces, and given back when much of it lies idle; both functions may be called with any
 * lock held. NULL: the budget is ours alone. Before budget_init(); it stays over a fork, and what the child uses it borrows itself.
 *
 * borrow: 0; -EAGAIN: not now, but others have been asked for some; -ENOMEM. `urgent`: nothing of ours can leave memory. give_back: `refused` is
 * how much that was asked for will not come.
 */
struct budget_lender {
	int (*borrow)(uint64_t pages, bool urgent);
	void (*give_back)(uint64_t pages, uint64_t refused);
};
void budget_set_lender(const struct budget_lender *lender);

/*
 * For who has no page left and found none that can leave: borrows as urgently as can be, in parts, until so many more can be reserved. 0; -EAGAIN: there
 * will be more, perhaps; -ENOMEM: so many there will not be. At any of them more may be lent than before.
 */
int budget_beg(uint64_t pages);

/*
 * The lender asks for some of it back. What is owed is not lent any more, so no reservation succeeds until so much has been released; each release pays of
 * it. Down to `least` pages that stay lent: how much was taken on.
 */
uint64_t budget_owe(uint64_t pages, uint64_t least);
uint64_t budget_owed(void);
/* As a release does. */
void budget_pay(void);
/* What is still owed and cannot be paid is lent again, and the lender told: it, and `refused` besides. */
void budget_refuse(uint64_t refused);
/* All that is not used goes back, down to `least` pages that stay lent. */
void budget_return_idle(uint64_t least);
uint64_t budget_lent(void);
/* So many more are lent than are used, where there is a lender: waits for those who give some back. False: there is no room for them. */
bool budget_hold(uint64_t pages);
/* Borrows what is overdrawn, as far as that can be had by asking. Whether there is nothing overdrawn any more. */
bool budget_borrow_overdraft(void);

/* Nothing is used any more: what was borrowed goes back. */
void budget_exit(void);

/*
 * In a forked child: what is in use there. It may be more than can be borrowed: private pages that it has from its parent, which it shares with
 * it until one of them writes.
 */
void budget_set_used(uint64_t pages);

/*
 * Metadata is paid for under locks, where nothing may be reclaimed for it: from a few pages set aside before
 * (metadata_refill() in reclaim.h), else from what happens to be free. Half of the budget at most: it is never given back
 * while Faultline runs, and pages must have room.
 */
#define METADATA_SPARE 6
bool budget_charge_metadata(uint64_t pages);
/* The same for what could wait: from what is free. The pages set aside are there for what is needed now. */
bool budget_charge_ahead(uint64_t pages);
void budget_release_metadata(uint64_t pages);
/* Whether it is borrowed of somebody. */
bool budget_is_borrowed(void);
/* Whether more is used than could be borrowed, see budget_set_used(). */
bool budget_overdrawn(void);
bool budget_metadata_low(void);
uint64_t budget_spare(void);
uint64_t budget_metadata(void); /* charged now */
void budget_add_spare(void);    /* one page that the caller has reserved */
void budget_drop_spare(void);   /* what is more than METADATA_SPARE */

uint64_t budget_limit(void); /* pages */
uint64_t budget_used(void);
uint64_t budget_peak(void); /* the most ever used */

#endif
