/* SPDX-License-Identifier: Apache-2.0 */
/* Work on all VMAs of a range: split, lock, detach, dispose. Called by mmap, munmap, mprotect, mremap and madvise. */
#include <errno.h>

#include "cache/truncate.h"
#include "mm.h"
#include "util/arena.h"
#include "util/compiler.h"

void vma_link_rmap(struct vma *v)
{
	v->rmap = (struct rmap){.mmu = v->mm->mmu, .addr = v->start, .pgoff = v->pgoff, .pages = vma_pages(v), .shared = v->flags & VM_SHARED};
	rmap_add(v->as, &v->rmap);
	if (!v->anon)
		return;
	v->rmap.anon = v->anon->as;
	v->rmap.anon_pgoff = v->anon_pgoff;
	v->anon_rmap = (struct rmap){.mmu = v->mm->mmu, .addr = v->start, .pgoff = v->anon_pgoff, .pages = vma_pages(v)};
	rmap_add(v->anon->as, &v->anon_rmap);
}

int vma_new_anon(struct vma *v, uint64_t pages)
{
	struct anon *anon = arena_alloc(address_space_arena(), sizeof *anon);
	int err;

	if (!anon)
		return -ENOMEM;
	err = address_space_new_anon(v->as, pages, &anon->as);
	if (err) {
		arena_free(address_space_arena(), anon, sizeof *anon);
		return err;
	}
	atomic_store(&anon->refs, 1);
	v->anon = anon;
	return 0;
}

void vma_free_unlinked(struct vma *v)
{
	if (v->anon) {
		address_space_put_anon(v->anon->as);
		arena_free(address_space_arena(), v->anon, sizeof *v->anon);
	}
	address_space_put(v->as);
	vma_free(v);
}

static void unlink_rmap(struct vma *v)
{
	rmap_del(&v->rmap);
	rmap_del(&v->anon_rmap);
}

/* The upper part of v, from addr on, as a new VMA with references of its own. */
static struct vma *upper_part(struct vma *v, uint64_t addr)
{
	struct vma *u = vma_alloc(v->mm);

	if (!u)
		return NULL;
	u->pgoff = vma_index_of(v, addr);
	u->anon_pgoff = v->anon_pgoff + ((addr - v->start) >> FL_PAGE_SHIFT);
	u->prot = v->prot;
	u->flags = v->flags;
	u->advice = v->advice;
	u->as = v->as;
	u->anon = v->anon;
	u->wb_seen = v->wb_seen;
	vma_set_range(u, addr, v->end);
	return u;
}

/* Reserve first: the index has room, or nothing changes. */
static int split(struct mm *mm, struct vma *v, uint64_t addr)
{
	struct vma *u = upper_part(v, addr);
	int err;

	if (!u)
		return -ENOMEM;
	vma_lock_write(v);
	err = vma_index_insert(&mm->index, u); /* a fault that finds it early finds v locked behind it, or u right already */
	if (err) {
		vma_unlock_write(v);
		vma_free(u);
		return err;
	}
	address_space_hold(u->as);
	if (u->anon)
		atomic_fetch_add(&u->anon->refs, 1);
	write_lock(&rmap_lock);
	unlink_rmap(v);
	vma_set_range(v, v->start, addr);
	if (!(v->flags & VM_HANDED)) {
		vma_link_rmap(v);
		vma_link_rmap(u);
	}
	write_unlock(&rmap_lock);
	vma_unlock_write(v);
	return 0;
}

static int split_at(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(&mm->index, addr);

	return v && v->start < addr ? split(mm, v, addr) : 0;
}

int vma_split_range(struct mm *mm, uint64_t start, uint64_t end)
{
	int err = split_at(mm, start);

	return err ? err : split_at(mm, end);
}

void vma_lock_range(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end))
		vma_lock_write(v);
}

void vma_unlock_range(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start), *next; v && v->start < end; v = next) {
		next = vma_find(&mm->index, v->end);
		vma_unlock_write(v);
	}
}

/* The part of the anon object that the VMA had is kept in anon_rmap, which is off its list, for dispose_anon(). */
static void detach(struct mm *mm, struct vma *v)
{
	vma_index_erase(&mm->index, v);
	unlink_rmap(v);
	v->anon_rmap.pgoff = v->anon_pgoff;
	v->anon_rmap.pages = vma_pages(v);
	mm_account(mm, v, -1);
	vma_set_range(v, 0, 0);
	vma_unlock_write(v);
}

struct vma *vma_detach_range(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *list = NULL, *v;

	while ((v = vma_find(&mm->index, start)) && v->start < end) {
		detach(mm, v);
		v->next = list;
		list = v;
	}
	return list;
}

/* The last VMA of one mmap call frees the object; each has taken its own pages out of it before. */
static void dispose_anon(struct vma *v)
{
	struct anon *anon = v->anon;

	truncate_pages(anon->as, v->anon_rmap.pgoff, v->anon_rmap.pgoff + v->anon_rmap.pages - 1);
	if (atomic_fetch_sub(&anon->refs, 1) > 1)
		return;
	address_space_put_anon(anon->as);
	arena_free(address_space_arena(), anon, sizeof *anon);
}

int vma_dispose(struct vma *list)
{
	int err = 0;

	while (list) {
		struct vma *v = list;
		int e;

		list = v->next;
		if (v->anon)
			dispose_anon(v);
		e = address_space_put(v->as);
		err = err ? err : e;
		vma_free(v);
	}
	return err;
}
