/* SPDX-License-Identifier: Apache-2.0 */
/* Work on all VMAs of a range: split, lock, detach, dispose. Called by mmap, munmap, mprotect, mremap and madvise. */
#include <errno.h>

#include "arch.h"
#include "cache/hosted.h"
#include "cache/huge.h"
#include "cache/reclaim.h"
#include "cache/truncate.h"
#include "mm.h"
#include "util/compiler.h"

/* Private pages: rmap_lock held, v->anon set. */
static void link_anon(struct vma *v)
{
	struct address_space *anon = atomic_load(&v->anon);

	v->rmap.anon = anon;
	v->rmap.anon_pgoff = v->anon_pgoff;
	v->anon_rmap = (struct rmap){
		.mmu = v->mm->mmu, .addr = v->start, .pgoff = v->anon_pgoff, .pages = vma_pages(v), .locked = v->flags & VM_LOCKED};
	rmap_add(anon, &v->anon_rmap);
}

void vma_link_rmap(struct vma *v)
{
	if (v->flags & VM_HANDED)
		return;
	v->rmap = (struct rmap){.mmu = v->mm->mmu,
				.addr = v->start,
				.pgoff = v->pgoff,
				.pages = vma_pages(v),
				.shared = v->flags & VM_SHARED,
				.locked = v->flags & VM_LOCKED};
	if (!vma_is_anonymous(v))
		rmap_add(v->as, &v->rmap);
	if (atomic_load(&v->anon))
		link_anon(v);
}

void vma_unlink_rmap(struct vma *v)
{
	rmap_del(v->as, &v->rmap);
	rmap_del(v->anon, &v->anon_rmap);
}

#define STACK_PAGES (1UL << 16) /* how far a mapping with MAP_GROWSDOWN can grow once it has pages */

#define ANON_TRIES 4 /* pages of metadata that it may take; when it still fails, something else is missing */

/* When all of memory is in use a fault waits for some, also for what it notes. */
static int new_anon(struct vma *v, uint64_t pages, struct address_space **out)
{
	int err;

	metadata_refill();
	err = v->mm->arch->new_anon(v, pages, out);
	for (int i = 0; err == -ENOMEM && i < ANON_TRIES && !metadata_wait(); i++)
		err = v->mm->arch->new_anon(v, pages, out);
	return err;
}

/* Two faults may come here at once: one of them is first. */
int vma_prepare_anon(struct vma *v)
{
	struct address_space *anon;
	uint64_t below;
	bool ours;
	int err;

	if ((v->flags & VM_SHARED) || atomic_load(&v->anon))
		return 0;
	below = v->flags & VM_GROWSDOWN ? min_u64(STACK_PAGES, v->pgoff) : 0;
	err = new_anon(v, below + vma_pages(v), &anon);
	if (err)
		return err;
	write_lock(&rmap_lock);
	ours = !atomic_load(&v->anon);
	if (ours) {
		v->anon_pgoff = v->mm->soft ? v->pgoff : below; /* a family has no length, and VMAs may come to share it */
		atomic_store(&v->anon, anon);
		link_anon(v);
	}
	write_unlock(&rmap_lock);
	if (!ours)
		address_space_put_anon(anon);
	return 0;
}

void vma_free_unlinked(struct vma *v)
{
	if (v->anon)
		address_space_put_anon(v->anon);
	address_space_put(v->as);
	vma_free(v);
}

/* The upper part of v, from addr on, as a new VMA without addresses yet. */
static struct vma *upper_part(struct vma *v, uint64_t addr)
{
	struct vma *u = vma_alloc(v->mm);

	if (!u)
		return NULL;
	u->pgoff = vma_index_of(v, addr);
	u->prot = v->prot;
	u->flags = v->flags;
	u->advice = v->advice;
	u->as = v->as;
	u->wb_seen = v->wb_seen;
	return u;
}

/* The part of the private pages that goes with it. Caller has the VMA locked for writing: none are made meanwhile. */
static void split_anon(struct vma *v, struct vma *u)
{
	struct address_space *anon = v->anon;

	u->lineage = v->lineage;
	atomic_store(&u->family, atomic_load(&v->family));
	if (!anon)
		return;
	atomic_fetch_add(&anon->anon_refs, 1);
	u->anon_pgoff = v->anon_pgoff + ((u->start - v->start) >> FL_PAGE_SHIFT);
	atomic_store(&u->anon, anon);
}

/*
 * Reserve first: the index has room, or nothing changes. The new VMA has its addresses from when it is locked: a racing look-up may hold it
 * as what it was before, and must not make pages in it.
 */
static int split(struct mm *mm, struct vma *v, uint64_t addr)
{
	struct vma *u = upper_part(v, addr);
	int err;

	if (!u)
		return -ENOMEM;
	vma_lock_write(v);
	huge_split_at(v->as, u->pgoff); /* while one mapping has all of it, and none comes in */
	vma_lock_write(u);
	vma_set_range(u, addr, v->end);
	err = vma_index_insert(&mm->index, u); /* who finds it early waits for its lock */
	if (!err) {
		address_space_hold(u->as);
		split_anon(v, u);
		write_lock(&rmap_lock);
		vma_unlink_rmap(v);
		vma_set_range(v, v->start, addr);
		vma_index_resize(&mm->index, v);
		vma_link_rmap(v);
		vma_link_rmap(u);
		write_unlock(&rmap_lock);
	}
	if (err)
		vma_set_range(u, 0, 0);
	vma_unlock_write(u);
	vma_unlock_write(v);
	if (err)
		vma_free(u);
	return err;
}

static int split_at(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(&mm->index, addr);

	if (v && v->start == addr)
		atomic_store(&v->joined, false);
	return v && v->start < addr ? split(mm, v, addr) : 0;
}

static int split_ends(struct mm *mm, uint64_t start, uint64_t end)
{
	int err;

	vma_spread_families(mm, start ? start - 1 : 0, end + 1);
	err = split_at(mm, start);
	if (err)
		return err;
	err = split_at(mm, end);
	if (err)
		vma_merge_at(mm, start);
	return err;
}

static bool is_divided(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(&mm->index, addr);

	return v && v->start < addr;
}

int vma_split_range(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t more = (uint64_t)is_divided(mm, start) + is_divided(mm, end);

	if (more && atomic_load(&mm->index.count) + more > mm->limits.map_count)
		return -ENOMEM;
	return split_ends(mm, start, end);
}

/* Only what is cut out of the middle of one leaves more than there were. */
int vma_split_to_unmap(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, start);

	if (v && v->start < start && v->end > end && atomic_load(&mm->index.count) >= mm->limits.map_count)
		return -ENOMEM;
	return split_ends(mm, start, end);
}

int mm_refuse_sealed(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, start);

	if (!mm_any_sealed(mm, start, end))
		return 0;
	if (v->start <= start && !(v->flags & VM_SEALED))
		split_at(mm, start);
	return -EPERM;
}

bool vma_changes(const struct vma *v, const struct vma_change *c)
{
	return (v->flags & c->set) != c->set || (v->flags & c->clear) || (c->prot >= 0 && v->prot != c->prot) ||
	       (c->advice >= 0 && v->advice != (enum ra_advice)c->advice);
}

bool vma_narrow_to_changes(struct mm *mm, const struct vma_change *c, uint64_t *start, uint64_t *end)
{
	uint64_t from = *start, to = *end;
	bool any = false;

	for (struct vma *v = vma_find(&mm->index, from); v && v->start < to; v = vma_find(&mm->index, v->end)) {
		if (!vma_changes(v, c))
			continue;
		if (!any)
			*start = max_u64(from, v->start);
		*end = min_u64(to, v->end);
		any = true;
	}
	return any;
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

static _Atomic uint32_t detached; /* VMAs with private pages that are in no index, and not disposed of */

bool vma_any_detached(void)
{
	return atomic_load(&detached);
}

void vma_forget_detached(void)
{
	atomic_store(&detached, 0);
}

/* The part of the anon object that the VMA had is kept in anon_rmap, which is off its list, for dispose_anon(). */
static void detach(struct mm *mm, struct vma *v)
{
	if (vma_is_at_host(v))
		hosted_unmap(mm->mmu, v->start, vma_pages(v));
	atomic_fetch_add(&detached, v->anon != NULL);
	vma_index_erase(&mm->index, v);
	vma_unlink_rmap(v);
	v->anon_rmap.pgoff = v->anon_pgoff;
	v->anon_rmap.pages = vma_pages(v);
	mm_account(mm, v, -1);
	mm_uncharge_locked(v, v->end - v->start);
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

/* The last VMA that has the object frees it; each has taken its own pages out of it before. */
static void dispose_anon(struct vma *v)
{
	if (as_is_anon(v->anon)) /* in a soft space they went with the page tables */
		truncate_pages(v->anon, v->anon_rmap.pgoff, v->anon_rmap.pgoff + v->anon_rmap.pages - 1);
	address_space_put_anon(v->anon);
	atomic_fetch_sub(&detached, 1);
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
