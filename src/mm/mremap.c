/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mremap. Shrinking is munmap of the tail. Growth in place and moving differ by what holds the pages:
 *
 *   shared   a new mapping of the frames, registered, takes the old one's place; its pages come back as soft faults.
 *            (The kernel's own move would drop the registration and the write protection with it.)
 *   private  the kernel moves the mapping, so that private pages go along; then it is registered again and what it
 *            shows of the file's pages is taken out, since those lost their protection.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/arena.h"
#include "util/compiler.h"

struct remap {
	uint64_t old, old_len, new_len, new_addr;
	int flags;
	struct vma *fresh; /* shared: takes the place of all old ones; private: what growth adds, NULL without growth */
	struct vma *gone;  /* to be disposed of when the locks are free */
};

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

static int check(struct remap *r)
{
	uint64_t old_len = page_align_up(r->old_len), new_len = page_align_up(r->new_len);
	bool fixed = r->flags & MREMAP_FIXED;

	if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) || (fixed && !(r->flags & MREMAP_MAYMOVE)))
		return -EINVAL;
	if ((r->old & FL_PAGE_MASK) || !new_len || new_len < r->new_len || new_len > TASK_SIZE)
		return -EINVAL;
	if (fixed && ((r->new_addr & FL_PAGE_MASK) || r->new_addr > TASK_SIZE - new_len || overlaps(r->old, old_len, r->new_addr, new_len)))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) || !old_len)
		return -EOPNOTSUPP;
	r->old_len = old_len;
	r->new_len = new_len;
	return 0;
}

/* Whether `v` goes on where `u` ends, in memory and in the file, as if the two were one mapping. */
static bool continues(const struct vma *u, const struct vma *v)
{
	return v && v->start == u->end && v->as == u->as && v->prot == u->prot && v->flags == u->flags && v->pgoff == u->pgoff + vma_pages(u);
}

/* What the kernel sees as one mapping may be several VMAs of ours. Caller holds mmap_lock. */
static struct vma *whole_run(struct mm *mm, uint64_t addr, uint64_t len)
{
	struct vma *first = vma_find(&mm->index, addr), *v = first;

	if (!v || v->start > addr)
		return NULL;
	while (v->end < addr + len) {
		struct vma *next = vma_find(&mm->index, v->end);

		if (!continues(v, next))
			return NULL;
		v = next;
	}
	return first;
}

static void push_gone(struct remap *r, struct vma *list)
{
	struct vma *last = list;

	if (!list)
		return;
	while (last->next)
		last = last->next;
	last->next = r->gone;
	r->gone = list;
}

/* munmap of [addr, addr + len), ours and others', with mmap_lock held. */
static int unmap_part(struct mm *mm, struct remap *r, uint64_t addr, uint64_t len)
{
	int err = vma_split_range(mm, addr, addr + len);

	if (err)
		return err;
	vma_lock_range(mm, addr, addr + len);
	write_lock(&rmap_lock);
	err = sys_munmap((void *)addr, len);
	if (!err)
		push_gone(r, vma_detach_range(mm, addr, addr + len));
	write_unlock(&rmap_lock);
	if (err)
		vma_unlock_range(mm, addr, addr + len);
	return err;
}

/* All memory that the change needs, before it. */
static int make_fresh(struct mm *mm, struct remap *r, const struct vma *v)
{
	uint64_t skip = v->flags & VM_SHARED ? 0 : r->old_len;
	struct vma *n;

	if (vma_index_prepare(&mm->index))
		return -ENOMEM;
	if (skip && r->new_len <= r->old_len)
		return 0;
	n = vma_alloc(mm);
	if (!n)
		return -ENOMEM;
	address_space_hold(v->as);
	n->as = v->as;
	n->pgoff = v->pgoff + ((r->old - v->start + skip) >> FL_PAGE_SHIFT);
	n->prot = v->prot;
	n->flags = v->flags;
	n->advice = v->advice;
	n->wb_seen = v->wb_seen;
	if (skip && vma_new_anon(n, (r->new_len - skip) >> FL_PAGE_SHIFT)) {
		vma_free_unlinked(n);
		return -ENOMEM;
	}
	r->fresh = n;
	return 0;
}

static void insert_at(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
	int err;

	vma_set_range(v, start, end);
	err = vma_index_insert(&mm->index, v);
	fl_assert(err == 0); /* vma_index_prepare() */
	vma_link_rmap(v);
	mm_account(mm, v, 1);
}

/* Caller holds mmap_lock, the old VMAs and rmap_lock, all for writing. The mapping now lies at addr. */
static void settle_shared(struct mm *mm, struct remap *r, uint64_t addr)
{
	push_gone(r, vma_detach_range(mm, r->old, r->old + r->old_len));
	insert_at(mm, r->fresh, addr, addr + r->new_len);
	r->fresh = NULL;
}

static void move_one(struct mm *mm, struct vma *v, uint64_t to)
{
	uint64_t len = v->end - v->start;

	mm_account(mm, v, -1);
	rmap_del(&v->rmap);
	rmap_del(&v->anon_rmap);
	vma_index_erase(&mm->index, v);
	insert_at(mm, v, to, to + len);
	vma_unlock_write(v);
}

static void settle_private(struct mm *mm, struct remap *r, uint64_t addr)
{
	struct vma *v;

	if (addr == r->old)
		vma_unlock_range(mm, r->old, r->old + r->old_len);
	else
		while ((v = vma_find(&mm->index, r->old)) && v->start < r->old + r->old_len)
			move_one(mm, v, addr + (v->start - r->old));
	if (r->fresh)
		insert_at(mm, r->fresh, addr + r->old_len, addr + r->new_len);
	r->fresh = NULL;
}

/* The kernel's mapping of the frames at its new place, registered. */
static int map_again(struct mm *mm, struct remap *r, struct vma *v, uint64_t *addr)
{
	bool fixed = r->flags & MREMAP_FIXED;
	int flags = MAP_SHARED | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0) | (fixed ? MAP_FIXED : 0);
	uint64_t pgoff = vma_index_of(v, r->old);
	void *p = sys_mmap((void *)(fixed ? r->new_addr : 0), r->new_len, v->prot, flags, v->as->memfd, (off_t)(pgoff << FL_PAGE_SHIFT));
	int err;

	if (sys_is_err(p))
		return sys_err(p);
	err = mm->mmu->ops->attach(mm->mmu, (uint64_t)p, r->new_len);
	if (err) {
		sys_munmap(p, r->new_len);
		return err;
	}
	*addr = (uint64_t)p;
	return 0;
}

static int move_kernel(struct mm *mm, struct remap *r, int flags, uint64_t *addr)
{
	void *p = sys_mremap((void *)r->old, r->old_len, r->new_len, flags, (void *)r->new_addr);
	int err;

	if (sys_is_err(p))
		return sys_err(p);
	err = mm->mmu->ops->attach(mm->mmu, (uint64_t)p, r->new_len);
	fl_assert(err == 0); /* it was registered before: without that it would read zeros */
	*addr = (uint64_t)p;
	return 0;
}

static int place_shared(struct mm *mm, struct remap *r, struct vma *v, uint64_t *addr)
{
	int err = -ENOMEM;

	if (!(r->flags & MREMAP_FIXED))
		err = move_kernel(mm, r, 0, addr); /* grow where it is */
	if (!err || !(r->flags & MREMAP_MAYMOVE))
		return err;
	err = map_again(mm, r, v, addr);
	if (!err)
		sys_munmap((void *)r->old, r->old_len);
	return err;
}

/* Pages of the object, at addr from pgoff on, that the move left unprotected are protected again. */
static void reprotect(struct mm *mm, struct address_space *as, uint64_t pgoff, uint64_t addr, uint64_t len)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++) {
		struct page_key k;

		if (page_state_of(page_word(p)) == PAGE_ABSENT)
			continue;
		k = page_key(p);
		if (k.as == as->id && k.index >= pgoff && k.index - pgoff < len >> FL_PAGE_SHIFT)
			mm->mmu->ops->protect(mm->mmu, addr + ((k.index - pgoff) << FL_PAGE_SHIFT), FL_PAGE_SIZE);
	}
}

/*
 * What moved to `addr`: the file's pages, and the private ones too. A private page that is CLEAN, or being written to swap,
 * must not be stored to without a fault; one that is DIRTY costs a fault more.
 */
static void reprotect_all(struct mm *mm, struct remap *r, uint64_t addr)
{
	for (struct vma *v = vma_find(&mm->index, r->old); v && v->start < r->old + r->old_len; v = vma_find(&mm->index, v->end)) {
		uint64_t to = addr + (v->start - r->old), len = v->end - v->start;

		reprotect(mm, v->as, v->pgoff, to, len);
		if (v->anon)
			reprotect(mm, v->anon->as, v->anon_pgoff, to, len);
	}
}

static int change(struct mm *mm, struct remap *r, struct vma *v, uint64_t *out)
{
	bool shared = v->flags & VM_SHARED;
	int err;

	vma_lock_range(mm, r->old, r->old + r->old_len);
	write_lock(&rmap_lock);
	err = shared ? place_shared(mm, r, v, out) : move_kernel(mm, r, r->flags, out);
	if (err) {
		vma_unlock_range(mm, r->old, r->old + r->old_len);
	} else if (shared) {
		settle_shared(mm, r, *out);
	} else {
		if (*out != r->old)
			reprotect_all(mm, r, *out);
		settle_private(mm, r, *out);
	}
	write_unlock(&rmap_lock);
	return err;
}

static int remap_locked(struct mm *mm, struct remap *r, uint64_t *out)
{
	struct vma *v = whole_run(mm, r->old, r->old_len);
	int err;

	if (!v)
		return -EFAULT;
	if (vma_index_of(v, r->old) + (r->new_len >> FL_PAGE_SHIFT) > PAGE_INDEX_MAX + 1)
		return -EINVAL;
	if (v->flags & VM_HANDED)
		return -EOPNOTSUPP; /* docs/design.md, stepping aside */
	if (r->new_len < r->old_len) {
		err = unmap_part(mm, r, r->old + r->new_len, r->old_len - r->new_len);
		if (err)
			return err;
		r->old_len = r->new_len;
	}
	*out = r->old;
	if (r->new_len == r->old_len && !(r->flags & MREMAP_FIXED))
		return 0;
	if (r->flags & MREMAP_FIXED) {
		err = unmap_part(mm, r, r->new_addr, r->new_len);
		if (err)
			return err;
	}
	err = vma_split_range(mm, r->old, r->old + r->old_len);
	v = vma_find(&mm->index, r->old);
	if (!err)
		err = make_fresh(mm, r, v);
	return err ? err : change(mm, r, v, out);
}

int mm_mremap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, int flags, uint64_t new_addr, uint64_t *out)
{
	struct remap r = {.old = old, .old_len = old_len, .new_len = new_len, .flags = flags, .new_addr = new_addr};
	int err = check(&r);

	if (err)
		return err;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	err = remap_locked(mm, &r, out);
	mutex_unlock(&mm->mmap_lock);
	if (r.fresh)
		vma_free_unlinked(r.fresh);
	vma_dispose(r.gone);
	return err;
}
