/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft family behind struct mm_arch: what becomes of the entries of page tables when mappings change, and when something is said of them.
 * Places are chosen in soft_layout.c, faults are served in soft_fault.c.
 *
 * Entries in a range are emptied before its VMAs are detached, while faults are locked out and without rmap_lock (vacate): emptying waits for
 * page locks. The tree of free ranges (gaps.c) changes with the VMAs under mmap_lock.
 */
#include "soft.h"

#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/filemap.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "util/compiler.h"

/* ---- mmap, munmap, mprotect ---- */

static int vacate(struct mm *mm, uint64_t start, uint64_t end)
{
	int err = gaps_prepare(&mm->soft->gaps, 3);

	if (end - start == mm->task_size) /* the end of the space: one gap is left, and there is a node for it, in the tree or spare */
		err = 0;
	if (!err && start < end)
		ram_zap(&mm->soft->mmu, start, end);
	return err;
}

static int map(struct mm *mm, const struct mapping *m, uint64_t *addr)
{
	const struct mmap_request *rq = m->rq;
	int err = 0;

	if (rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		*addr = rq->addr;
	else
		err = soft_get_unmapped_area(mm, rq->addr, m->len, rq->flags, addr);
	if (!err)
		gaps_take(&mm->soft->gaps, *addr, *addr + m->len);
	return err;
}

/* Tables go that nothing but the range has used. */
static void free_tables(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t floor, ceiling;

	for (uint64_t at = start; at < end; at = ceiling) {
		if (gaps_at(&mm->soft->gaps, at, &floor, &ceiling))
			pt_free_range(&mm->soft->mmu, at, min_u64(end, ceiling), floor, ceiling == mm->task_size ? UINT64_MAX : ceiling);
		else
			break;
	}
}

static int unmap(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, uint64_t *done)
{
	(void)what;
	gaps_give(&mm->soft->gaps, start, end);
	free_tables(mm, start, end);
	*done = end;
	return 0;
}

static pte_t perms_of(int prot)
{
	return FL_PTE_PRESENT | (prot & (PROT_READ | PROT_WRITE | PROT_EXEC) ? (pte_t)FL_PTE_USER : 0) | (prot & PROT_EXEC ? 0 : FL_PTE_NX);
}

pte_t soft_perms(const struct vma *v)
{
	return perms_of(v->prot);
}

/* What is taken away is taken away; what is given by writing comes with the next fault, which knows about the page. */
static int protect(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
	pte_t keep = ~(FL_PTE_USER | FL_PTE_NX | (prot & PROT_WRITE ? 0 : (pte_t)(FL_PTE_WRITE | FL_PTE_DIRTY))), set = perms_of(prot);
	uint64_t at = start, n;
	pte_slot *p;

	while ((p = pt_next(&mm->soft->mmu, &at, end, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);

			while (pte_present(e) && !atomic_compare_exchange_weak(p, &e, (e & keep) | set))
				;
		}
	soft_flush(&mm->soft->mmu, start, end);
	return 0;
}

/* ---- mremap ---- */

/* Tables for what is to be moved: after that nothing can fail. */
static int make_tables(struct soft_mmu *s, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t at = from, n;
	pte_slot *p, *q;
	int err = 0;

	for (; !err && (p = pt_next(s, &at, from + len, &n)); at += n << FL_PAGE_SHIFT) {
		err = pt_alloc(s, to + (at - from), &q);
		if (!err)
			err = pt_alloc(s, to + (at - from) + ((n - 1) << FL_PAGE_SHIFT), &q);
	}
	return err;
}

static void move_entries(struct soft_mmu *s, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(s, &at, from + len, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_exchange(p, 0);

			if (e)
				atomic_store(pt_find(s, to + (at - from)), e);
		}
	soft_flush(s, from, from + len);
}

/* Linux does not look at a stack above here. */
static bool grows_in_place(struct mm *mm, const struct remap *r)
{
	uint64_t end = r->old + r->old_len, to = r->old + r->new_len;

	return !(r->flags & REMAP_PLACED) && r->old_len && to <= mm->task_size && gaps_is_free(&mm->soft->gaps, end, to);
}

static int new_place(struct mm *mm, const struct remap *r, uint64_t *addr)
{
	if (r->flags & MREMAP_FIXED) {
		*addr = r->new_addr;
		return 0;
	}
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	return soft_get_unmapped_area(mm, r->flags & REMAP_PLACED ? r->new_addr : 0, r->new_len, 0, addr);
}

static int remap(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	struct soft_space *s = mm->soft;
	int err = gaps_prepare(&s->gaps, 3);

	(void)v;
	if (err)
		return err;
	if (grows_in_place(mm, r)) {
		*addr = r->old;
		gaps_take(&s->gaps, r->old + r->old_len, r->old + r->new_len);
		return 0;
	}
	err = new_place(mm, r, addr);
	if (!err)
		err = make_tables(&s->mmu, r->old, *addr, r->old_len);
	if (err)
		return err;
	move_entries(&s->mmu, r->old, *addr, r->old_len);
	gaps_take(&s->gaps, *addr, *addr + r->new_len);
	if (r->old_len && !(r->flags & MREMAP_DONTUNMAP)) {
		gaps_give(&s->gaps, r->old, r->old + r->old_len);
		free_tables(mm, r->old, r->old + r->old_len);
	}
	return 0;
}

/* ---- madvise, and what is there ---- */

static int dontneed(struct vma *v, uint64_t from, uint64_t to)
{
	ram_zap_pages(&v->mm->soft->mmu, from, to);
	return 0;
}

static int mark(struct vma *v, uint64_t from, uint64_t to)
{
	int err = 0;

	v->flags |= VM_MAYBE_GUARD;
	ram_zap(&v->mm->soft->mmu, from, to);
	for (uint64_t at = from; at < to && !err; at += FL_PAGE_SIZE) {
		pte_slot *p;

		err = pt_alloc(&v->mm->soft->mmu, at, &p);
		if (!err)
			atomic_store(p, PTE_GUARD);
	}
	return err;
}

static int unmark(struct vma *v, uint64_t from, uint64_t to)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE)
			if (pte_is_guard(atomic_load(p)))
				atomic_store(p, 0);
	return 0;
}

typedef void (*page_fn)(pfn_t pfn, pte_t e);

/* Calls fn, with the page locked, for private pages in memory that nobody else shows. Caller has the VMA locked for writing. */
static void for_private(struct vma *v, uint64_t from, uint64_t to, page_fn fn)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);
			pfn_t pfn = pte_present(e) && (e & FL_PTE_ANON) ? ram_page(pte_page(e)) : PFN_NONE;

			if (pfn == PFN_NONE)
				continue;
			page_lock(pfn); /* it may have left meanwhile */
			e = atomic_load(p);
			if (pte_present(e) && ram_page(pte_page(e)) == pfn && slot_refs(page_key(pfn).index) == 1)
				fn(pfn, e);
			page_unlock(pfn);
		}
}

static void forget_lazily(pfn_t pfn, pte_t e)
{
	(void)e;
	filemap_free_page_lazily(slots_object(), pfn);
}

static int free_lazily(struct vma *v, uint64_t from, uint64_t to)
{
	for_private(v, from, to, forget_lazily);
	return 0;
}

static void make_cold(pfn_t pfn, pte_t e)
{
	(void)e;
	page_cool(pfn);
	ram_page_young(pfn);
}

static int cool(struct vma *v, uint64_t from, uint64_t to)
{
	for_private(v, from, to, make_cold);
	return 0;
}

/* What others show too is left to them, as on Linux. */
static bool is_alone(pfn_t pfn)
{
	bool alone;

	page_lock(pfn);
	alone = page_state_of(page_word(pfn)) != PAGE_ABSENT && page_key(pfn).as == slots_object()->id &&
		slot_refs(page_key(pfn).index) == 1;
	page_unlock(pfn);
	return alone;
}

/* One after the other: writing back waits for a buffer, which no page lock may be held for. */
static int page_out(struct vma *v, uint64_t from, uint64_t to)
{
	uint64_t at = from, n;
	pte_slot *p;

	for_private(v, from, to, make_cold);
	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);

			if (pte_present(e) && (e & FL_PTE_ANON) && is_alone(ram_page(pte_page(e))))
				reclaim_page(ram_page(pte_page(e)));
		}
	return 0;
}

static pte_t entry_at(const struct vma *v, uint64_t addr)
{
	pte_slot *p = pt_find(&v->mm->soft->mmu, addr);

	return p ? atomic_load(p) : 0;
}

static bool swapped(struct vma *v, uint64_t addr)
{
	pte_t e = entry_at(v, addr);

	return pte_is_swap(e) && page_find(slot_key(pte_slot_of(e))) == PFN_NONE;
}

static bool resident(struct vma *v, uint64_t addr)
{
	pte_t e = entry_at(v, addr);

	if (e)
		return pte_present(e);
	return !vma_is_anonymous(v) && !v->as->device &&
	       page_find((struct page_key){.as = v->as->id, .index = vma_index_of(v, addr)}) != PFN_NONE;
}

/* ---- Figures ---- */

static uint32_t mappings_of(const struct vma *v, uint64_t index)
{
	uint32_t n = 0;

	read_lock(&rmap_lock);
	for (struct rmap *r = v->as->rmaps; r; r = r->next)
		n += index >= r->pgoff && index - r->pgoff < r->pages;
	read_unlock(&rmap_lock);
	return n ? n : 1;
}

static void count_page(struct smaps *s, const struct vma *v, pte_t e, pfn_t pfn)
{
	const uint64_t one = FL_PAGE_SIZE << PSS_SHIFT;
	uint32_t w = page_word(pfn), n = e & FL_PTE_ANON ? slot_refs(page_key(pfn).index) : mappings_of(v, page_key(pfn).index);
	bool dirty = page_state_of(w) != PAGE_CLEAN;

	n = n ? n : 1;
	s->sum[SMAPS_RSS] += one;
	s->sum[SMAPS_PSS] += one / n;
	s->sum[SMAPS_PSS_DIRTY] += dirty ? one / n : 0;
	s->sum[(n > 1 ? SMAPS_SHARED_CLEAN : SMAPS_PRIVATE_CLEAN) + dirty] += one;
	s->sum[SMAPS_REFERENCED] += e & FL_PTE_ACCESSED ? one : 0;
	if (!(e & FL_PTE_ANON))
		return;
	s->sum[SMAPS_ANONYMOUS] += one;
	s->sum[SMAPS_LAZY_FREE] += w & PG_LAZYFREE ? one : 0;
}

static void count(struct smaps *s, const struct vma *v)
{
	uint64_t at = v->start, n, before = s->sum[SMAPS_PSS];
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, v->end, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);
			pfn_t pfn = pte_present(e) ? ram_page(pte_page(e)) : PFN_NONE;

			if (pfn != PFN_NONE)
				count_page(s, v, e, pfn);
			else if (pte_is_swap(e))
				s->sum[SMAPS_SWAP] += FL_PAGE_SIZE << PSS_SHIFT;
		}
	s->sum[SMAPS_SWAP_PSS] = s->sum[SMAPS_SWAP];
	s->sum[SMAPS_LOCKED] += v->flags & VM_LOCKED ? s->sum[SMAPS_PSS] - before : 0;
}

/* ---- What faults need ---- */

/* The family of the VMA at addr, with a reference, when v may have it; else NULL. */
static struct address_space *family_beside(struct vma *v, uint64_t addr)
{
	struct vma *u = vma_trylock_read(&v->mm->index, addr);
	struct address_space *family = NULL;

	if (!u)
		return NULL;
	if (u->mm == v->mm && !u->lineage && (addr < v->start ? vma_may_share_family(u, v) : vma_may_share_family(v, u)))
		family = atomic_load(&u->anon);
	if (family)
		atomic_fetch_add(&family->anon_refs, 1);
	vma_unlock_read(u);
	return family;
}

/* find_mergeable_anon_vma() of Linux, in its order. */
static int new_anon(struct vma *v, uint64_t pages, struct address_space **out)
{
	(void)pages;
	*out = family_beside(v, v->end);
	if (!*out && v->start)
		*out = family_beside(v, v->start - 1);
	return *out ? 0 : family_new(v->as, out);
}

static int populate(struct vma *v, uint64_t addr, uint64_t pages, bool write, uint64_t *done)
{
	(void)pages;
	*done = 1;
	return soft_populate(v, addr, write);
}

const struct mm_arch soft_arch = {
	.name = "soft",
	.vacate = vacate,
	.map = map,
	.unmap = unmap,
	.protect = protect,
	.remap = remap,
	.dontneed = dontneed,
	.free_lazily = free_lazily,
	.cool = cool,
	.page_out = page_out,
	.mark = mark,
	.unmark = unmark,
	.populate = populate,
	.swapped = swapped,
	.resident = resident,
	.count = count,
	.new_anon = new_anon,
	.destroy = soft_destroy,
};
