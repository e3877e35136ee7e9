/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours that could have been made by one mmap call become one VMA again, as vma_merge() of Linux sees to it:
 *
 *     before   | A A A | B |       | A | N N | B |      | A | N | B B |
 *     after    | A A A A A |       | A A A A A A |      | A A A A A A |       where N is new or has changed
 *
 * They must agree in object, offset, protection, flags and advice, and in where their private pages are.
 *
 * In a soft space VMAs are what they would be on Linux, since mremap and remap_file_pages show where they end. So only borders of what is
 * new or has changed are looked at, and private pages are no reason when both VMAs have them in one family, or one has none
 * yet. But those that a fork has inherited (lineage) merge only with what came from the same VMA of the parent.
 *
 * In a native space private pages must be in one object in one sequence, or there are none yet on either side: an object would be
 * outgrown, whose length is fixed. And mappings on pool frames stay apart: each must be one to the kernel, which may not merge what is
 * anonymous memory to it (convert.c moves them whole).
 */
#include "mm.h"

static bool anon_continues(const struct vma *u, const struct vma *v)
{
	struct address_space *below = atomic_load(&u->anon), *above = atomic_load(&v->anon);

	if (below == above)
		return !below || (v->anon_pgoff == u->anon_pgoff + vma_pages(u) && v->lineage == u->lineage);
	if (!u->mm->soft || (below && above))
		return false;
	return !(below ? u : v)->lineage;
}

static bool is_like(const struct vma *u, const struct vma *v, unsigned apart_from)
{
	if (v->start != u->end || v->as != u->as || v->pgoff != u->pgoff + vma_pages(u))
		return false;
	return v->prot == u->prot && !((v->flags ^ u->flags) & ~apart_from) && v->advice == u->advice;
}

/* Guards are marks in the kernel's page table: to it they are no reason. */
bool vma_continues(const struct vma *u, const struct vma *v)
{
	return !u->mm->soft && is_like(u, v, VM_GUARD);
}

static bool can_merge(const struct vma *u, const struct vma *v)
{
	if (!is_like(u, v, VM_MAYBE_GUARD) || (u->flags & VM_HUGETLB) || as_is_pool(u->as))
		return false;
	return v->wb_seen == u->wb_seen && anon_continues(u, v);
}

/* What one of them has private pages in is that of both. Both are out of the reverse map. */
static void join_anon(struct vma *u, struct vma *v)
{
	struct address_space *anon = atomic_load(&v->anon);

	if (atomic_load(&u->anon) || !anon)
		return;
	u->anon_pgoff = v->anon_pgoff - vma_pages(u);
	atomic_store(&u->anon, anon);
	atomic_store(&v->anon, NULL);
}

/* u takes over what v has, whose references are given back. Both are locked for writing. */
static void absorb(struct mm *mm, struct vma *u, struct vma *v)
{
	uint64_t end = v->end;

	write_lock(&rmap_lock);
	vma_unlink_rmap(u);
	vma_unlink_rmap(v);
	join_anon(u, v);
	u->flags |= v->flags & VM_MAYBE_GUARD;
	vma_index_erase(&mm->index, v);
	vma_set_range(v, 0, 0);
	vma_set_range(u, u->start, end);
	vma_index_resize(&mm->index, u);
	vma_link_rmap(u);
	write_unlock(&rmap_lock);
}

/* Whether u now reaches to where v ended; v is gone then. */
static bool merge(struct mm *mm, struct vma *u, struct vma *v)
{
	bool yes;

	if (!can_merge(u, v))
		return false;
	vma_lock_write(u);
	vma_lock_write(v);
	yes = can_merge(u, v); /* a fault may have made the first private page meanwhile */
	if (yes)
		absorb(mm, u, v);
	vma_unlock_write(v);
	vma_unlock_write(u);
	if (yes)
		vma_free_unlinked(v);
	return yes;
}

void vma_merge_at(struct mm *mm, uint64_t addr)
{
	struct vma *u = addr ? vma_find(&mm->index, addr - 1) : NULL, *v;

	if (!u || u->end != addr)
		return;
	v = vma_find(&mm->index, addr);
	if (v && v->start == addr)
		merge(mm, u, v);
}

void vma_merge_range(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, start ? start - 1 : 0);

	while (v && v->start < end) {
		struct vma *next = vma_find(&mm->index, v->end);

		if (!next || next->start > end)
			return;
		if (!merge(mm, v, next))
			v = next;
	}
}
