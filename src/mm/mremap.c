/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mremap. Shrinking is munmap of the tail. For growth in place and for moves all that is needed is reserved, and paid for, first; then the
 * family changes what it has mapped (arch.remap: native_remap.c, soft.c), and the VMAs follow.
 *
 * MREMAP_DONTUNMAP leaves the old mapping behind, empty; with an old size of 0 a shared mapping is mapped once more.
 * What the kernel sees as one mapping may be several VMAs of ours (vma_continues). As on Linux since 6.17, a pure move to
 * a fixed address may span mappings of different kinds.
 */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

static int check_placed(const struct mm *mm, const struct remap *r)
{
	if (r->new_addr > mm->task_size - r->new_len || (r->new_addr & mm->page_mask))
		return -EINVAL;
	if (!(r->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && r->old_len != r->new_len)
		return -EINVAL;
	return overlaps(r->old, r->old_len, r->new_addr, r->new_len) ? -EINVAL : 0;
}

static int check(struct mm *mm, struct remap *r)
{
	uint64_t new_len = mm_align_up(mm, r->new_len);

	if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if ((r->old & mm->page_mask) || !new_len || new_len < r->new_len || new_len > mm->task_size)
		return -EINVAL;
	r->old_len = mm_align_up(mm, r->old_len);
	r->new_len = new_len;
	if ((r->flags & REMAP_PLACED) && check_placed(mm, r))
		return -EINVAL;
	return map_count_ok(mm);
}

/* Whether one run of VMAs covers [addr, addr + len), of which v has the start. *end: where the run ends, at most there. */
static bool run_covers(struct mm *mm, struct vma *v, uint64_t addr, uint64_t len, uint64_t *end)
{
	while (v->end - addr < len) {
		struct vma *next = vma_find(&mm->index, v->end);

		if (!next || !vma_continues(v, next)) {
			*end = v->end;
			return false;
		}
		v = next;
	}
	*end = addr + len;
	return true;
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
static int unmap_part(struct mm *mm, struct remap *r, uint64_t addr, uint64_t len, enum unmap_what what)
{
	struct vma *gone = NULL;
	int err;

	if (addr > mm->task_size || len > mm->task_size - addr)
		return -EINVAL;
	err = mm_refuse_sealed(mm, addr, addr + len);
	if (!err)
		err = vma_split_to_unmap(mm, addr, addr + len);
	if (err)
		return err;
	err = mm_unmap_split(mm, addr, addr + len, what, &gone);
	if (err) {
		vma_merge_at(mm, addr);
		vma_merge_at(mm, addr + len);
	}
	push_gone(r, gone);
	return err;
}

/* ---- What the change needs, before it ---- */

/* A VMA that is as `like` at address `at`, guards apart; nothing but its place is missing. */
static int make_like(struct mm *mm, const struct vma *like, uint64_t at, struct vma **out)
{
	struct vma *n = vma_alloc(mm);

	if (!n)
		return -ENOMEM;
	address_space_hold(like->as);
	n->as = like->as;
	n->pgoff = vma_index_of(like, at);
	n->prot = like->prot;
	n->flags = like->flags & ~(unsigned)VM_GUARD;
	n->advice = like->advice;
	n->wb_seen = like->wb_seen;
	*out = n;
	return 0;
}

/* The private pages of n will be in the family of `like`, so that they are one mapping still. */
static void inherit_family(struct vma *n, const struct vma *like, uint64_t at)
{
	struct address_space *family = n->mm->soft ? atomic_load(&like->anon) : NULL;

	atomic_store(&n->family, atomic_load(&like->family));
	n->lineage = n->mm->soft ? 0 : like->lineage;
	if (!family)
		return;
	atomic_fetch_add(&family->anon_refs, 1);
	n->anon_pgoff = like->anon_pgoff + ((at - like->start) >> FL_PAGE_SHIFT);
	n->lineage = like->lineage;
	atomic_store(&n->anon, family);
}

static int prepare(struct mm *mm, struct remap *r, const struct vma *v)
{
	uint64_t end = r->old + r->old_len;
	int err = vma_index_prepare(&mm->index);

	if (!err && r->new_len > r->old_len)
		err = make_like(mm, v, end, &r->fresh);
	if (!err && (r->flags & MREMAP_DONTUNMAP))
		err = make_like(mm, v, r->old, &r->left);
	if (!err && r->left)
		r->left->flags &= ~(unsigned)(VM_LOCKED | VM_LOCKONFAULT);
	if (!err && r->fresh)
		inherit_family(r->fresh, v, end);
	if (!err && r->left && (r->cut_below || r->cut_above))
		inherit_family(r->left, v, r->old);
	return err;
}

/* The part of the mapping that is new, in bytes: what must be paid for. */
static uint64_t added(const struct remap *r)
{
	return r->flags & MREMAP_DONTUNMAP ? r->new_len : r->new_len > r->old_len ? r->new_len - r->old_len : 0;
}

static int account(struct mm *mm, struct remap *r, const struct vma *v)
{
	uint64_t grows = r->new_len > r->old_len ? r->new_len - r->old_len : 0;
	uint64_t pgoff = vma_index_of(v, r->old);
	int err;

	if (grows && pgoff + (r->new_len >> FL_PAGE_SHIFT) > PAGE_INDEX_MAX + 1)
		return -EINVAL;
	if (grows && (v->flags & VM_LOCKED) && !mlock_limit_ok(mm, grows))
		return -EAGAIN;
	err = may_expand_vm(mm, added(r), 0);
	if (!err)
		err = may_have_data(mm, v->prot, v->flags, added(r));
	if (!err && (v->flags & VM_ACCOUNT))
		err = may_commit(mm, added(r));
	if (!err && !mm_charge_locked(v, grows))
		err = -EAGAIN;
	r->populate = grows && (v->flags & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED;
	return err;
}

/* ---- Our side of it. Callers hold mmap_lock, the old VMAs and rmap_lock, all for writing ---- */

static void move_one(struct mm *mm, struct vma *v, uint64_t to)
{
	uint64_t len = v->end - v->start;

	mm_account(mm, v, -1);
	vma_unlink_rmap(v);
	vma_index_erase(&mm->index, v);
	vma_insert(mm, v, to, to + len);
	vma_unlock_write(v);
}

/* As copy_vma() of Linux: where there are no pages yet, offsets are those of the new place, and continue its neighbours'. */
static void renumber(struct mm *mm, struct remap *r, uint64_t addr)
{
	uint64_t end = r->old + r->old_len;

	for (struct vma *v = vma_find(&mm->index, r->old); v && v->start < end; v = vma_find(&mm->index, v->end))
		if (!vma_is_anonymous(v) || vma_has_private(v, mm->soft))
			return;
	for (struct vma *v = vma_find(&mm->index, r->old); v && v->start < end; v = vma_find(&mm->index, v->end))
		v->pgoff = (addr + (v->start - r->old)) >> FL_PAGE_SHIFT;
	if (r->fresh)
		r->fresh->pgoff = (addr + r->old_len) >> FL_PAGE_SHIFT;
}

static void settle(struct mm *mm, struct remap *r, uint64_t addr)
{
	struct vma *v;

	if (addr == r->old) {
		vma_unlock_range(mm, r->old, r->old + r->old_len);
	} else {
		if (r->old_len)
			renumber(mm, r, addr);
		while ((v = vma_find(&mm->index, r->old)) && v->start < r->old + r->old_len)
			move_one(mm, v, addr + (v->start - r->old));
	}
	if (r->fresh)
		vma_insert(mm, r->fresh, addr + r->old_len, addr + r->new_len);
	if (r->left)
		vma_insert(mm, r->left, r->old, r->old + r->old_len);
	r->fresh = r->left = NULL;
}

static int change(struct mm *mm, struct remap *r, struct vma *v, uint64_t *out)
{
	int err;

	vma_lock_range(mm, r->old, r->old + r->old_len);
	write_lock(&rmap_lock);
	err = mm->arch->remap(mm, r, v, out);
	if (err)
		vma_unlock_range(mm, r->old, r->old + r->old_len);
	else
		settle(mm, r, *out);
	write_unlock(&rmap_lock);
	return err;
}

/* ---- The call ---- */

/* Where the run will be cut out of more. */
static void note_cuts(struct mm *mm, struct remap *r)
{
	r->cut_below = vma_is_cut_at(mm, r->old);
	r->cut_above = vma_is_cut_at(mm, r->old + r->old_len);
}

/* What is at a new place is merged with what it meets there; at the old one, only what was divided for it. */
static void merge_moved(struct mm *mm, const struct remap *r, uint64_t to)
{
	if (to != r->old)
		vma_merge_at(mm, to);
	vma_merge_at(mm, to + r->old_len);
	vma_merge_at(mm, to + r->new_len);
}

static void merge_cuts(struct mm *mm, const struct remap *r)
{
	if (r->cut_below)
		vma_merge_at(mm, r->old);
	if (r->cut_above)
		vma_merge_at(mm, r->old + r->old_len);
}

static void mapping_bounds(struct mm *mm, struct vma *v, uint64_t *start, uint64_t *end)
{
	*start = vma_first_joined(mm, v)->start;
	for (; v; v = vma_next_joined(mm, v))
		*end = v->end;
}

/* One run of VMAs is moved, or made longer. */
static int remap_run(struct mm *mm, struct remap *r, struct vma *v, uint64_t *out)
{
	uint64_t grows = r->new_len > r->old_len ? r->new_len - r->old_len : 0, start = 0, end = 0;
	bool unlocks = (r->flags & MREMAP_DONTUNMAP) && (v->flags & VM_LOCKED);
	int err = account(mm, r, v);
	bool charged = !err && (v->flags & (VM_LOCKED | VM_HANDED)) == VM_LOCKED, placed;

	if (!err && (r->flags & MREMAP_FIXED))
		err = unmap_part(mm, r, r->new_addr, r->new_len, UNMAP_FOR_MOVE);
	placed = !err && (r->flags & MREMAP_FIXED);
	if (!err && r->new_len < r->old_len) {
		err = unmap_part(mm, r, r->old + r->new_len, r->old_len - r->new_len, UNMAP_ALL);
		r->old_len = r->new_len;
	}
	v = vma_find(&mm->index, r->old);
	if (!err && (!v || v->start > r->old)) /* an old size of 0: the target may have been the source */
		err = -EFAULT;
	if (!err) {
		note_cuts(mm, r);
		mapping_bounds(mm, v, &start, &end);
		err = vma_split_range(mm, r->old, r->old + r->old_len);
		v = vma_find(&mm->index, r->old);
	}
	if (!err)
		err = prepare(mm, r, v);
	if (!err)
		err = change(mm, r, v, out);
	if (err && placed)
		unmap_part(mm, r, r->new_addr, r->new_len, UNMAP_ALL);
	if (err && charged)
		filemap_uncharge_locked(grows >> FL_PAGE_SHIFT);
	if (!err)
		merge_moved(mm, r, *out);
	if (!err && unlocks) /* as on Linux, also what of the old mapping has not moved */
		mm_unlock_range(mm, start, end);
	merge_cuts(mm, r);
	return err;
}

/* A pure move to a fixed address, run by run; holes stay holes. */
static int remap_runs(struct mm *mm, struct remap *whole, uint64_t *out)
{
	uint64_t end = whole->old + whole->old_len, to;
	struct vma *v;
	int err = 0;

	for (uint64_t at = whole->old; at < end && !err && (v = vma_find(&mm->index, at)) && v->start < end; at = to) {
		if (v->flags & VM_SEALED)
			return -EPERM;
		struct remap r = {.old = max_u64(at, v->start), .flags = whole->flags, .gone = whole->gone};
		uint64_t moved;

		run_covers(mm, v, r.old, end - r.old, &to);
		r.old_len = r.new_len = to - r.old;
		r.new_addr = whole->new_addr + (r.old - whole->old);
		err = remap_run(mm, &r, v, &moved);
		whole->gone = r.gone;
		whole->fresh = r.fresh; /* of a move that failed */
		whole->left = r.left;
	}
	*out = whole->new_addr;
	return err;
}

static int remap_locked(struct mm *mm, struct remap *r, uint64_t *out)
{
	struct vma *v = vma_find(&mm->index, r->old);
	uint64_t end;
	bool one_run;
	int err;

	if (!v || v->start > r->old)
		return -EFAULT;
	if (v->flags & VM_SEALED)
		return -EPERM;
	if (!r->old_len && !(v->flags & VM_SHARED))
		return -EINVAL;
	*out = r->old;
	if (!(r->flags & REMAP_PLACED) && r->new_len <= r->old_len)
		return r->new_len < r->old_len ? unmap_part(mm, r, r->old + r->new_len, r->old_len - r->new_len, UNMAP_ALL) : 0;
	one_run = run_covers(mm, v, r->old, min_u64(r->old_len, r->new_len), &end); /* what is cut off may be anything */
	if (!one_run && (!(r->flags & MREMAP_FIXED) || r->old_len != r->new_len))
		return -EFAULT;
	if ((r->flags & MREMAP_FIXED) && r->new_addr < mm->limits.min_addr)
		return -EPERM;
	if (one_run && (r->flags & MREMAP_FIXED) && mm_refuse_sealed(mm, r->new_addr, r->new_addr + r->new_len))
		return -EPERM;
	err = mm_convert_range(mm, r->old, r->old + max_u64(r->old_len, mm->page_mask + 1));
	if (err)
		return err;
	return one_run ? remap_run(mm, r, v, out) : remap_runs(mm, r, out);
}

int mm_mremap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, int flags, uint64_t new_addr, uint64_t *out)
{
	struct remap r = {.old = old, .old_len = old_len, .new_len = new_len, .flags = flags, .new_addr = new_addr};
	int err = check(mm, &r);

	if (err)
		return err;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	write_lock(&mm->foreign_lock);
	err = remap_locked(mm, &r, out);
	write_unlock(&mm->foreign_lock);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	if (r.fresh)
		vma_free_unlinked(r.fresh);
	if (r.left)
		vma_free_unlinked(r.left);
	vma_dispose(r.gone);
	if (!err && r.populate)
		mm_populate_locked(mm, *out + r.old_len, *out + r.new_len);
	return err;
}
