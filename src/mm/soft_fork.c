/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork of a soft space: its VMAs once more, and the entries of private pages.
 *
 *   shared mappings    the child's come by faults of its own, from the page cache
 *   private pages      shown by both, writable in neither; a reference more of each slot. Who writes first copies
 *   guards             in both
 *   MADV_DONTFORK      left out; MADV_WIPEONFORK: mapped, and empty
 *
 * All VMAs of the parent are locked for writing: no fault makes entries. Reclaim, which takes them away, is kept off by rmap_lock.
 * Only accessed and dirty bits can change meanwhile, by cpus of the parent, and may be lost: a page whose entry is writable is
 * DIRTY already.
 */
#include <errno.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "soft.h"
#include "util/compiler.h"

struct fork {
	struct mm *parent, *child;
	const struct vma *from; /* whose copy is `to` */
	struct vma *to;         /* the first of those that are not in place yet, linked by next, in the order of addresses */
	bool to_private;        /* the copy has private pages; else only guards are copied */
};

/* `lineage`: another for each, not 0. */
static struct vma *copy_vma(struct mm *child, const struct vma *v, uint32_t lineage)
{
	struct vma *n = vma_alloc(child);
	struct address_space *anon = v->flags & VM_WIPEONFORK ? NULL : atomic_load(&v->anon);

	if (!n)
		return NULL;
	address_space_hold(v->as);
	n->as = v->as;
	n->pgoff = v->pgoff;
	n->prot = v->prot;
	n->flags = v->flags & ~(unsigned)(VM_LOCKED | VM_LOCKONFAULT);
	n->advice = v->advice;
	n->wb_seen = v->wb_seen;
	if (anon) {
		atomic_fetch_add(&anon->anon_refs, 1);
		n->anon_pgoff = v->anon_pgoff;
		n->lineage = lineage;
		atomic_store(&n->anon, anon);
	}
	return n;
}

static const struct vma *next_inherited(struct mm *mm, uint64_t addr)
{
	const struct vma *v = vma_find(&mm->index, addr);

	while (v && (v->flags & VM_DONTFORK))
		v = vma_find(&mm->index, v->end);
	return v;
}

/* References to objects are taken here, under no lock that comes after theirs. */
static int copy_vmas(struct fork *f)
{
	struct vma **tail = &f->to;
	uint32_t n = 0;

	for (const struct vma *v = next_inherited(f->parent, 0); v; v = next_inherited(f->parent, v->end)) {
		*tail = copy_vma(f->child, v, ++n);
		if (!*tail)
			return -ENOMEM;
		tail = &(*tail)->next;
		*tail = NULL;
	}
	return 0;
}

static void free_copies(struct fork *f)
{
	for (struct vma *v = f->to, *next; v; v = next) {
		next = v->next;
		vma_free_unlinked(v);
	}
}

/*
 * A reference for the child's entry. False: a pin keeps the page the parent's alone. A page that others share already has no pin for
 * writing: it would have been copied.
 */
static bool hold(pte_t e)
{
	pfn_t pfn;

	if (pte_is_swap(e)) {
		slot_hold(pte_slot_of(e));
		return true;
	}
	if (!(e & FL_PTE_ANON))
		return true;
	pfn = ram_page(pte_page(e));
	if (page_pins_of(page_word(pfn)) && slot_refs(page_key(pfn).index) == 1)
		return false;
	slot_hold(page_key(pfn).index);
	return true;
}

static int copy_entries(struct fork *f, uint64_t at, pte_slot *p, uint64_t n)
{
	pte_slot *q;

	if (pt_alloc(&f->child->soft->mmu, at, &q)) /* all n are in one table */
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		pte_t e = atomic_load_explicit(&p[i], memory_order_relaxed);

		if (!e || (!f->to_private && !pte_is_guard(e)))
			continue;
		if (!hold(e))
			return -EBUSY;
		if (e & FL_PTE_WRITE) {
			e &= ~(FL_PTE_WRITE | FL_PTE_DIRTY);
			atomic_store_explicit(&p[i], e, memory_order_relaxed);
		}
		atomic_store_explicit(&q[i], e & ~(pte_t)FL_PTE_ACCESSED, memory_order_relaxed);
	}
	return 0;
}

static int copy_tables(struct fork *f)
{
	uint64_t at = f->from->start, n;
	pte_slot *p;
	int err = 0;

	for (; !err && (p = pt_next(&f->parent->soft->mmu, &at, f->from->end, &n)); at += n << FL_PAGE_SHIFT)
		err = copy_entries(f, at, p, n);
	return err;
}

/* Puts the first copy in place, and what it shows. Caller holds rmap_lock for writing. */
static int place_copy(struct fork *f)
{
	struct vma *v = f->to;

	if (vma_index_prepare(&f->child->index) || gaps_prepare(&f->child->soft->gaps, 2))
		return -ENOMEM;
	f->to = v->next;
	gaps_take(&f->child->soft->gaps, f->from->start, f->from->end);
	vma_insert(f->child, v, f->from->start, f->from->end);
	report_add(&v->as->report->mappings, 1);
	f->to_private = atomic_load(&v->anon);
	if (f->from->flags & VM_WIPEONFORK) /* guards are wiped too */
		return 0;
	return f->to_private || (v->flags & VM_MAYBE_GUARD) ? copy_tables(f) : 0;
}

/* What fails is undone by the end of the child, with no lock held. */
static int place_copies(struct fork *f)
{
	int err = 0;

	write_lock(&rmap_lock);
	for (f->from = next_inherited(f->parent, 0); f->to && !err; f->from = next_inherited(f->parent, f->from->end))
		err = place_copy(f);
	write_unlock(&rmap_lock);
	soft_flush(&f->parent->soft->mmu, 0, UINT64_MAX);
	return err;
}

static int fork_vmas(struct mm *parent, struct mm *child)
{
	struct fork f = {.parent = parent, .child = child};
	int err = copy_vmas(&f);

	if (!err)
		err = place_copies(&f);
	free_copies(&f);
	return err;
}

/* Tables are paid for under locks, where nothing can be reclaimed for them: as many as the parent has, and some for VMAs. */
static uint64_t pages_needed(struct mm *parent)
{
	return atomic_load(&parent->soft->mmu.tables) + atomic_load(&parent->index.count) / 16 + 8;
}

int soft_fork(struct mm *parent, struct mm **out)
{
	struct mm *child;
	int err;

	metadata_refill_to(pages_needed(parent));
	err = soft_create(&parent->soft->config, &child);
	if (err) {
		budget_drop_spare();
		return err;
	}
	mutex_lock(&parent->mmap_lock);
	child->soft->brk_start = parent->soft->brk_start;
	child->soft->brk = parent->soft->brk;
	vma_lock_range(parent, 0, UINT64_MAX);
	err = fork_vmas(parent, child);
	vma_unlock_range(parent, 0, UINT64_MAX);
	mutex_unlock(&parent->mmap_lock);
	budget_drop_spare();
	if (err) {
		mm_destroy(child);
		return err;
	}
	mm_check(parent);
	mm_check(child);
	*out = child;
	return 0;
}
