/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours that could have been made by one mmap call become one VMA again, as vma_merge() of Linux sees to it:
 *
 *     before   | A A A | B |       | A | N N | B |      | A | N | B B |
 *     after    | A A A A A |       | A A A A A A |      | A A A A A A |       where N is new or has changed
 *
 * They must agree in object, offset, protection, flags and advice, and in where their private pages are: one anon object
 * in one sequence, or none yet on either side. Linux also merges a VMA that has private pages with one that has none; ours
 * would outgrow the object, whose length is fixed. And mappings on pool frames stay apart: each must be one to the kernel, which
 * may not merge what is anonymous memory to it (convert.c moves them whole).
 */
#include "mm.h"

static bool anon_continues(const struct vma *u, const struct vma *v)
{
	struct address_space *anon = atomic_load(&u->anon);

	if (anon != atomic_load(&v->anon))
		return false;
	return !anon || v->anon_pgoff == u->anon_pgoff + vma_pages(u);
}

/* Guards are marks in the page table: to the kernel they are no reason. */
bool vma_continues(const struct vma *u, const struct vma *v)
{
	if (v->start != u->end || v->as != u->as || v->pgoff != u->pgoff + vma_pages(u))
		return false;
	return v->prot == u->prot && !((v->flags ^ u->flags) & ~(unsigned)VM_GUARD) && v->advice == u->advice;
}

static bool can_merge(const struct vma *u, const struct vma *v)
{
	if (!vma_continues(u, v) || v->flags != u->flags || (u->flags & VM_HUGETLB) || as_is_pool(u->as))
		return false;
	return v->wb_seen == u->wb_seen && anon_continues(u, v);
}

/* u takes over what v has, whose references are given back. Both are locked for writing. */
static void absorb(struct mm *mm, struct vma *u, struct vma *v)
{
	uint64_t end = v->end;

	write_lock(&rmap_lock);
	vma_unlink_rmap(u);
	vma_unlink_rmap(v);
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
