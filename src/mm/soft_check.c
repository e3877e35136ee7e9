/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants of page tables in software as an executable check, made after every call in builds with -Dchecks=true. Other threads
 * may be at work: what is checked holds while all VMAs are locked (vma), or the page is too (page).
 *
 *   1. An entry that is not empty lies in a mapping; a guard, in one that says so.                          vma
 *   2. It allows no more than the mapping: writing, executing, any access.                                  vma
 *   3. Where it may be written, it is DIRTY, or the memory of a device; a dirty bit says that it may.       page
 *   4. A private page belongs to the family of the mapping, at that page; and so does a slot.               vma
 *   5. Without MADV_FREE and orphans, a file's page is the one of that place in the file.                   page
 *   6. Tables are counted: those that can be reached are those in use.                                      vma
 */
#include "soft.h"

#include <sys/mman.h>

#include "cache/ram.h"
#include "util/compiler.h"

static void check_rights(const struct vma *v, pte_t e)
{
	fl_assert(!(e & FL_PTE_WRITE) || (v->prot & PROT_WRITE));
	fl_assert((e & FL_PTE_NX) || (v->prot & PROT_EXEC));
	fl_assert(!(e & FL_PTE_USER) || v->prot);
	fl_assert(!(e & FL_PTE_DIRTY) || (e & FL_PTE_WRITE));
}

static uint64_t family_index(const struct vma *v, uint64_t addr)
{
	return v->anon_pgoff + ((addr - v->start) >> FL_PAGE_SHIFT);
}

static void check_slot(const struct vma *v, uint64_t addr, uint64_t slot)
{
	fl_assert(slot_refs(slot) >= 1);
	fl_assert(slot_is_of(slot, atomic_load(&v->anon), family_index(v, addr)));
}

static bool is_dirty(pfn_t pfn)
{
	enum page_state s = page_state_of(page_word(pfn));

	return s == PAGE_DIRTY || s == PAGE_REDIRTY;
}

/* The page is locked: reclaim and write-back leave the entry alone. */
static void check_page(const struct vma *v, uint64_t addr, pte_slot *p, pfn_t pfn)
{
	pte_t e = atomic_load(p);
	struct page_key key = page_key(pfn);

	if (!pte_present(e) || ram_page(pte_page(e)) != pfn)
		return;
	fl_assert(!(e & FL_PTE_WRITE) || is_dirty(pfn));
	if (e & FL_PTE_ANON) {
		fl_assert(key.as == slots_object()->id);
		check_slot(v, addr, key.index);
		return;
	}
	fl_assert(key.as == v->as->id && key.index == vma_index_of(v, addr));
	fl_assert(!(e & FL_PTE_WRITE) || (v->flags & VM_SHARED));
}

static void check_entry(const struct vma *v, uint64_t addr, pte_slot *p)
{
	pte_t e = atomic_load(p);
	pfn_t pfn;

	if (!e)
		return;
	fl_assert(v && v->start <= addr && addr < v->end);
	if (pte_is_guard(e)) {
		fl_assert(v->flags & VM_MAYBE_GUARD);
		return;
	}
	if (pte_is_swap(e)) {
		check_slot(v, addr, pte_slot_of(e));
		return;
	}
	fl_assert(pte_present(e));
	check_rights(v, e);
	pfn = ram_page(pte_page(e));
	if (pfn == PFN_NONE) {
		fl_assert(e & FL_PTE_SPECIAL);
		return;
	}
	page_lock(pfn);
	check_page(v, addr, p, pfn);
	page_unlock(pfn);
}

static void check_range(struct mm *mm, uint64_t start, uint64_t end, struct vma *v)
{
	uint64_t at = start, n;
	pte_slot *p;

	while ((p = pt_next(&mm->soft->mmu, &at, end, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE)
			check_entry(v, at, p);
}

void soft_check(struct mm *mm)
{
	uint64_t at = 0;

	mutex_lock(&mm->mmap_lock);
	vma_lock_range(mm, 0, UINT64_MAX); /* no faults meanwhile */
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, at)) {
		check_range(mm, at, v->start, NULL);
		check_range(mm, v->start, v->end, v);
		at = v->end;
	}
	check_range(mm, at, mm->task_size, NULL);
	fl_assert(pt_reachable(&mm->soft->mmu) == atomic_load(&mm->soft->mmu.tables));
	vma_unlock_range(mm, 0, UINT64_MAX);
	mutex_unlock(&mm->mmap_lock);
}
