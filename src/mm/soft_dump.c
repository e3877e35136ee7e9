/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the page tables of a soft space hold, for people. Tables are walked under mmap_lock: they are freed by who unmaps, and holds
 * it too.
 */
#include <stdio.h>
#include <string.h>

#include "cache/ram.h"
#include "soft.h"
#include "util/compiler.h"

/* What an entry says of its page. It may change meanwhile: what is said is right for a moment. */
static void describe_page(const struct vma *v, uint64_t addr, pte_t e, struct fl_walk *w)
{
	const char *what = "nothing";
	uint64_t off = vma_index_of(v, page_align_down(addr)) << FL_PAGE_SHIFT;

	if (pte_is_guard(e)) {
		what = "guard";
	} else if (pte_is_swap(e)) {
		what = "swap";
		w->where = pte_slot_of(e) << FL_PAGE_SHIFT;
		w->mappings = slot_refs(pte_slot_of(e));
	} else if (pte_present(e) && (e & FL_PTE_SPECIAL)) {
		what = v->as->device ? "device" : "zero page";
		w->where = v->as->device ? off : 0;
	} else if (pte_present(e) && (e & FL_PTE_ANON)) {
		pfn_t pfn = ram_page(pte_page(e));

		what = "private";
		w->where = page_key(pfn).index << FL_PAGE_SHIFT;
		w->mappings = slot_refs(page_key(pfn).index);
	} else if (pte_present(e)) {
		what = "file";
		w->where = off;
	}
	snprintf(w->page, sizeof w->page, "%s", what);
}

/* Caller holds mmap_lock. */
static void walk(struct mm *mm, uint64_t addr, struct fl_walk *w)
{
	struct vma *v = vma_find(&mm->index, addr);

	strcpy(w->page, "nothing");
	w->count = pt_walk(&mm->soft->mmu, addr, w->level);
	if (v && v->start <= addr)
		describe_page(v, addr, w->count == mm->soft->mmu.levels ? w->level[w->count - 1].entry : 0, w);
}

void soft_walk(struct mm *mm, uint64_t addr, struct fl_walk *w)
{
	mutex_lock(&mm->mmap_lock);
	walk(mm, addr, w);
	mutex_unlock(&mm->mmap_lock);
}

bool soft_next_entry(struct mm *mm, uint64_t *addr, uint64_t end)
{
	bool found = false;
	pte_slot *p;
	uint64_t n;

	mutex_lock(&mm->mmap_lock);
	while (!found && (p = pt_next(&mm->soft->mmu, addr, end, &n)))
		for (; n && !found; n--, p++) {
			found = atomic_load(p);
			*addr += found ? 0 : FL_PAGE_SIZE;
		}
	mutex_unlock(&mm->mmap_lock);
	return found;
}

int soft_entry_line(struct mm *mm, uint64_t addr, char *line, size_t len)
{
	struct fl_walk w = {0};
	int n;

	soft_walk(mm, addr, &w);
	n = snprintf(line, len, "  %012lx ", addr);
	for (unsigned i = 0; i < w.count; i++)
		n += snprintf(line + n, len - (size_t)n, " %u[%u]=%016lx", w.level[i].level, w.level[i].index, w.level[i].entry);
	n += snprintf(line + n, len - (size_t)n, "  %s", w.page);
	if (w.where)
		n += snprintf(line + n, len - (size_t)n, " at %lx", w.where);
	if (w.mappings > 1)
		n += snprintf(line + n, len - (size_t)n, ", %u mappings", w.mappings);
	return n + snprintf(line + n, len - (size_t)n, "\n");
}
