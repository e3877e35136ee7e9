/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of soft spaces that go, as zap_page_range() of Linux, with what they refer to. They are emptied and flushed first; the slots they held
 * are put after, since with the last reference of a slot its page's lock is waited for, which needs rmap_lock not to be held.
 *
 * An entry is emptied by compare-and-swap: reclaim may put a slot in the place of its page meanwhile. The slot is the same.
 */
#include "mmu/soft.h"
#include "ram.h"
#include "util/compiler.h"

/* The slot that an entry refers to; 0 for none. While the entry is there, the page is not another's. */
static uint64_t slot_of(pte_t e)
{
	pfn_t pfn;

	if (pte_is_swap(e))
		return pte_slot_of(e);
	if (!pte_present(e) || !(e & FL_PTE_ANON))
		return 0;
	pfn = ram_page(pte_page(e));
	return page_key(pfn).index;
}

/* Reclaim may put the slot in the place of the page meanwhile. */
static uint64_t take_entry(pte_slot *p, pte_t e)
{
	uint64_t slot;

	do
		slot = slot_of(e);
	while (!atomic_compare_exchange_weak(p, &e, 0));
	return slot;
}

/*
 * A fault could replace a private page, free it, and show it again as another's, between the look at its key and the exchange: its lock
 * keeps the fault from that. Tried only, since the caller holds rmap_lock.
 */
static uint64_t take_racing(pte_slot *p, pte_t e, struct ram_taken *t)
{
	pfn_t pfn = pte_present(e) && (e & FL_PTE_ANON) ? ram_page(pte_page(e)) : PFN_NONE;
	uint64_t slot = 0;
	bool locked = pfn == PFN_NONE || page_trylock(pfn), done = false;

	if (locked && atomic_load(p) == e) {
		slot = slot_of(e);
		done = atomic_compare_exchange_strong(p, &e, 0);
	}
	if (locked && pfn != PFN_NONE)
		page_unlock(pfn);
	t->again |= !done;
	return done ? slot : 0;
}

uint64_t ram_take(struct soft_mmu *s, uint64_t start, uint64_t end, struct ram_taken *t)
{
	uint64_t at = start, first = end, n;
	pte_slot *p;

	while (t->n < RAM_TAKE && (p = pt_next(s, &at, end, &n))) {
		for (; n && t->n < RAM_TAKE; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load_explicit(p, memory_order_relaxed);
			uint64_t slot;

			if (!e || (t->keeps_guards && pte_is_guard(e)))
				continue;
			slot = t->racing ? take_racing(p, e, t) : take_entry(p, e);
			if (first == end)
				first = at;
			if (slot)
				t->slot[t->n++] = slot;
		}
	}
	if (first < end)
		soft_flush(s, first, min_u64(at, end));
	return t->n < RAM_TAKE ? end : at;
}

void ram_put_taken(struct ram_taken *t)
{
	struct ram_batch b = {0};

	for (uint32_t i = 0; i < t->n; i++)
		slot_put(t->slot[i], &b);
	ram_batch_flush(&b);
}

static void zap(struct soft_mmu *s, uint64_t start, uint64_t end, bool keeps_guards)
{
	struct ram_taken t;

	while (start < end) {
		t.n = 0;
		t.racing = t.again = false;
		t.keeps_guards = keeps_guards;
		start = ram_take(s, start, end, &t);
		ram_put_taken(&t);
	}
}

void ram_zap(struct soft_mmu *s, uint64_t start, uint64_t end)
{
	zap(s, start, end, false);
}

void ram_zap_pages(struct soft_mmu *s, uint64_t start, uint64_t end)
{
	zap(s, start, end, true);
}
