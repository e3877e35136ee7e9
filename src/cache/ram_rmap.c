/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the entries of all mappings that show a page in RAM are told and asked: reclaim and write-back find them by the reverse map, that of the
 * file, or of a private page's family. As rmap.c of Linux.
 *
 * All of it under rmap_lock (read), so no table goes. A fault may change an entry at the same time: it is changed by compare-and-swap, while it
 * shows the page.
 */
#include "ram_rmap.h"

#include "ram.h"
#include "util/compiler.h"

void ram_flush_all(struct ram_flushes *f)
{
	for (uint32_t i = 0; i < f->n; i++)
		soft_flush(soft_of(f->range[i].mmu), f->range[i].start, f->range[i].end);
	f->n = 0;
}

static void flush_later(struct ram_flushes *f, struct mmu *mmu, uint64_t addr)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->range[i].mmu == mmu) {
			f->range[i].start = min_u64(f->range[i].start, addr);
			f->range[i].end = max_u64(f->range[i].end, addr + FL_PAGE_SIZE);
			return;
		}
	if (f->n == RAM_FLUSHES)
		ram_flush_all(f);
	f->range[f->n].mmu = mmu;
	f->range[f->n].start = addr;
	f->range[f->n++].end = addr + FL_PAGE_SIZE;
}

static pte_t without(pte_t e, pte_t bits)
{
	return e & ~bits;
}

/* Changes the entry at addr while it shows the page; whether it did. */
static bool change_entry(struct mmu *mmu, uint64_t addr, const void *page, pte_t clear, pte_t instead)
{
	pte_slot *slot = pt_find(soft_of(mmu), addr);
	pte_t e = slot ? atomic_load(slot) : 0, to;

	do {
		if (!pte_present(e) || pte_page(e) != page)
			return false;
		to = clear ? without(e, clear) : instead;
		if (to == e)
			return false;
	} while (!atomic_compare_exchange_weak(slot, &e, to));
	return true;
}

uint32_t ram_change_mappings(struct address_space *as, uint64_t index, const void *page, const struct ram_change *c)
{
	uint32_t n = 0;

	as = ram_mapped_as(as, &index);
	for (struct rmap *r = as ? as->rmaps : NULL; r; r = r->next) {
		uint64_t addr = r->addr + ((index - r->pgoff) << FL_PAGE_SHIFT);

		if (index < r->pgoff || index - r->pgoff >= r->pages || !change_entry(r->mmu, addr, page, c->clear, c->instead))
			continue;
		n++;
		if (c->flushes)
			flush_later(c->flushes, r->mmu, addr);
		else
			soft_forget(soft_of(r->mmu), addr);
	}
	return n;
}

/* Caller holds the page lock: else the slot could be given to another meanwhile, or be none. */
bool ram_page_young(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	struct address_space *as = address_space_of(key);
	struct ram_change c = {.clear = FL_PTE_ACCESSED};
	bool young = false;

	if (page_state_of(page_word(pfn)) == PAGE_ABSENT || !as || !(as_is_ram(as) || as_is_slots(as)))
		return false;
	read_lock(&rmap_lock);
	young = ram_change_mappings(as, key.index, page_address(pfn), &c);
	read_unlock(&rmap_lock);
	return young;
}

static bool shows(const struct rmap *r, uint64_t index, const void *page)
{
	pte_slot *p;
	pte_t e;

	if (index < r->pgoff || index - r->pgoff >= r->pages)
		return false;
	p = pt_find(soft_of(r->mmu), r->addr + ((index - r->pgoff) << FL_PAGE_SHIFT));
	e = p ? atomic_load(p) : 0;
	return pte_present(e) && pte_page(e) == page;
}

/* A relation by fork may have locked its mapping, and have a page of its own there. */
bool slot_is_locked(pfn_t pfn)
{
	uint64_t index = page_key(pfn).index;
	struct address_space *as = ram_mapped_as(slots_object(), &index);
	bool locked = false;

	if (!as || !atomic_load_explicit(&as->locked, memory_order_relaxed))
		return false;
	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !locked; r = r->next)
		locked = r->locked && shows(r, index, page_address(pfn));
	read_unlock(&rmap_lock);
	return locked;
}
