/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlock, mlock2, munlock, mlockall, munlockall. A locked mapping is a flag on its VMAs and their reverse mappings, which
 * keeps reclaim away from its pages; those that are not there are brought in, or come when they are asked for
 * (MLOCK_ONFAULT).
 *
 * The budget is the machine's memory: half of it may be locked or pinned, and what would exceed that fails with ENOMEM,
 * before anything is locked. What the kernel maps for us it locks itself.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cache/filemap.h"
#include "cache/hosted.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

#define VM_LOCK_FLAGS (VM_LOCKED | VM_LOCKONFAULT)

/* How the range looks from here: up to where it is ours without a hole, and what of it is locked already. */
struct lock_range {
	uint64_t start, end; /* asked for */
	uint64_t to;         /* the first hole, or the end */
	uint64_t locked;     /* bytes locked already in [start, to) */
	uint64_t ours;       /* bytes in our own frames, not locked yet */
	uint64_t here;       /* of those, what is not in a host's memory */
};

static void count_unlocked(struct lock_range *r, const struct vma *v, uint64_t bytes)
{
	r->ours += bytes;
	if (!vma_is_at_host(v))
		r->here += bytes;
}

/* Holes count only where all must be ours. Caller holds mmap_lock. */
static void look(struct mm *mm, struct lock_range *r, bool whole)
{
	r->to = whole ? r->end : r->start;
	for (struct vma *v = vma_find(&mm->index, r->start); v && v->start < r->end; v = vma_find(&mm->index, v->end)) {
		uint64_t bytes = min_u64(v->end, r->end) - max_u64(v->start, r->start);

		if (!whole && v->start > r->to)
			return;
		r->to = whole ? r->end : min_u64(v->end, r->end);
		if (v->flags & VM_LOCKED)
			r->locked += bytes;
		else if (!(v->flags & VM_HANDED))
			count_unlocked(r, v, bytes);
	}
}

static int lock_handed(uint64_t start, uint64_t end, unsigned flags)
{
	if (!(flags & VM_LOCKED))
		return (int)sys_call(SYS_munlock, (long)start, (long)(end - start), 0, 0, 0, 0);
	return (int)sys_call(SYS_mlock2, (long)start, (long)(end - start), flags & VM_LOCKONFAULT ? MLOCK_ONFAULT : 0, 0, 0, 0);
}

/* What is locked already: the kernel brings in what is not there, or cannot. */
static int lock_handed_again(struct mm *mm, uint64_t start, uint64_t end, const struct vma_change *c)
{
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end)) {
		int e = 0;

		if ((v->flags & VM_HANDED) && !vma_changes(v, c))
			e = lock_handed(max_u64(v->start, start), min_u64(v->end, end), c->set);
		err = err ? err : e;
	}
	return err;
}

static void set_flags(struct mm *mm, struct vma *v, unsigned flags)
{
	vma_lock_write(v);
	write_lock(&rmap_lock);
	mm_count(mm, v, -1);
	vma_unlink_rmap(v);
	if (!flags)
		mm_uncharge_locked(v, v->end - v->start);
	v->flags = (v->flags & ~(unsigned)VM_LOCK_FLAGS) | flags;
	vma_link_rmap(v);
	if (vma_is_at_host(v))
		hosted_lock(mm->mmu, v->start, vma_pages(v), flags & VM_LOCKED);
	mm_count(mm, v, 1);
	write_unlock(&rmap_lock);
	vma_unlock_write(v);
}

/*
 * Caller holds mmap_lock; the budget has been asked. *handed: the first error of the kernel, which locks its own mappings and
 * brings them in at once.
 */
static int apply(struct mm *mm, uint64_t start, uint64_t end, unsigned flags, int *handed)
{
	struct vma_change c = {.set = flags, .clear = VM_LOCK_FLAGS & ~flags, .prot = -1, .advice = -1};
	uint64_t next;
	int err;

	*handed = flags & VM_LOCKED ? lock_handed_again(mm, start, end, &c) : 0;
	if (!vma_narrow_to_changes(mm, &c, &start, &end))
		return 0;
	err = vma_split_range(mm, start, end);
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end && !err; v = vma_find(&mm->index, next)) {
		uint64_t from = v->start;
		int e;

		next = v->end;
		if (!vma_changes(v, &c))
			continue;
		e = v->flags & VM_HANDED ? lock_handed(v->start, v->end, flags) : 0;
		*handed = *handed ? *handed : e;
		set_flags(mm, v, flags);
		vma_merge_at(mm, from);
		vma_merge_at(mm, next);
	}
	return err;
}

void mm_unlock_range(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end)) {
		if (!(v->flags & VM_LOCK_FLAGS))
			continue;
		if (v->flags & VM_HANDED)
			lock_handed(v->start, v->end, 0);
		set_flags(mm, v, 0);
	}
}

/* What of [start, end) a host has, and is not locked yet: for all of it, or none. Caller holds mmap_lock. */
static int ask_host(struct mm *mm, uint64_t start, uint64_t end, bool lock)
{
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end && !err; v = vma_find(&mm->index, v->end)) {
		uint64_t from = max_u64(v->start, start), to = min_u64(v->end, end);

		if (vma_is_at_host(v) && !(v->flags & VM_LOCKED))
			err = hosted_lock(mm->mmu, from, (to - from) >> FL_PAGE_SHIFT, lock);
		if (err && lock)
			ask_host(mm, start, from, false);
	}
	return lock ? err : 0;
}

static bool charge(const struct lock_range *r)
{
	return (!r->here || filemap_has_room_to_lock(r->here >> FL_PAGE_SHIFT)) && filemap_charge_locked(r->ours >> FL_PAGE_SHIFT);
}

bool mm_charge_locked(const struct vma *v, uint64_t len)
{
	struct lock_range r = {0};

	if ((v->flags & (VM_LOCKED | VM_HANDED)) != VM_LOCKED)
		return true;
	count_unlocked(&r, v, len);
	return charge(&r);
}

static int lock_locked(struct mm *mm, struct lock_range *r, unsigned flags, bool whole)
{
	int err, handed;

	look(mm, r, whole);
	if (r->end - r->start > r->locked && !mlock_limit_ok(mm, r->end - r->start - r->locked))
		return -ENOMEM;
	if (!charge(r))
		return -ENOMEM;
	if (r->to == r->start)
		return 0;
	err = ask_host(mm, r->start, r->to, true);
	if (err) {
		filemap_uncharge_locked(r->ours >> FL_PAGE_SHIFT);
		return err;
	}
	err = apply(mm, r->start, r->to, flags, &handed);
	if (err) /* it was not divided, so nothing was locked */
		filemap_uncharge_locked(r->ours >> FL_PAGE_SHIFT);
	return err ? err : handed;
}

/* As __mm_populate() of Linux: a private mapping that may be written gets its own pages. POSIX's errors of mlock(). */
static int populate(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	int err = 0;

	while (at < end && !err) {
		struct vma *v = mm_lock_vma(mm, at);
		uint64_t to;
		bool want, write;

		if (!v)
			return 0; /* unmapped meanwhile */
		to = min_u64(v->end, end);
		want = (v->flags & (VM_LOCKED | VM_LOCKONFAULT | VM_HANDED)) == VM_LOCKED;
		write = (v->prot & PROT_WRITE) && !(v->flags & VM_SHARED);
		vma_unlock_read(v);
		err = want ? mm_populate(mm, at, to - at, write) : 0;
		at = to;
	}
	return err == -ENOMEM ? -EAGAIN : err ? -ENOMEM : 0;
}

/* Pages of locked VMAs in the range; what is not ours, or cannot be had, is passed over. */
int mm_populate_locked(struct mm *mm, uint64_t start, uint64_t end)
{
	int err = 0;

	for (uint64_t at = start; at < end;) {
		struct vma *v;
		uint64_t from = 0, to = 0;

		mutex_lock(&mm->mmap_lock);
		v = vma_find(&mm->index, at);
		if (v && v->start < end) {
			from = max_u64(v->start, at);
			to = min_u64(v->end, end);
		}
		mutex_unlock(&mm->mmap_lock);
		if (!to)
			break;
		int e = populate(mm, from, to);

		err = err ? err : e;
		at = to;
	}
	return err;
}

/* Start and length need not be aligned; a length that wraps is what is left of it, as on Linux. False when the end wraps. */
static bool lock_range_of(const struct mm *mm, uint64_t addr, uint64_t len, struct lock_range *r)
{
	uint64_t in_page = addr & mm->page_mask, whole = mm_align_up(mm, len + in_page);

	*r = (struct lock_range){.start = addr - in_page, .end = addr - in_page + whole};
	return r->end >= r->start;
}

static int lock_pages(struct mm *mm, struct lock_range *r, uint64_t addr, uint64_t len, int flags, bool whole)
{
	unsigned vm = VM_LOCKED | (flags & MLOCK_ONFAULT ? VM_LOCKONFAULT : 0);
	int err;

	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	if (!lock_range_of(mm, addr, len, r))
		return mlock_limit_ok(mm, mm_align_up(mm, len)) ? -EINVAL : -ENOMEM;
	if (r->start == r->end)
		return 0;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	err = lock_locked(mm, r, vm, whole);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	return err;
}

int mm_mlock(struct mm *mm, uint64_t addr, uint64_t len, int flags, bool whole)
{
	struct lock_range r;
	int err = lock_pages(mm, &r, addr, len, flags, whole);

	if (err || r.start == r.end)
		return err;
	return r.to < r.end ? -ENOMEM : mm_populate_locked(mm, r.start, r.end);
}

int mm_mlock_to_hole(struct mm *mm, uint64_t addr, uint64_t len, int flags)
{
	struct lock_range r;

	return lock_pages(mm, &r, addr, len, flags, true);
}

int mm_munlock(struct mm *mm, uint64_t addr, uint64_t len, bool whole)
{
	struct lock_range r;
	int err = 0, handed = 0;

	if (!lock_range_of(mm, addr, len, &r))
		return -EINVAL;
	if (r.start == r.end)
		return 0;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	look(mm, &r, whole);
	if (r.to > r.start)
		err = apply(mm, r.start, r.to, 0, &handed);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	return err ? err : r.to < r.end ? -ENOMEM : 0;
}

int mm_mlockall(struct mm *mm, int flags)
{
	struct lock_range r = {.start = 0, .end = mm->task_size};
	unsigned vm = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);
	int err = 0, handed;

	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	if (flags & MCL_CURRENT) {
		look(mm, &r, true);
		if (!mlock_limit_ok(mm, atomic_load(&mm->mapped) - atomic_load(&mm->locked)) || !charge(&r))
			err = -ENOMEM;
		else if (!(err = ask_host(mm, r.start, r.end, true)))
			err = apply(mm, r.start, r.end, vm, &handed); /* what cannot be brought in is no reason */
	}
	if (!err)
		mm->def_flags = flags & MCL_FUTURE ? vm : 0;
	mutex_unlock(&mm->mmap_lock);
	if (!err && (flags & MCL_CURRENT))
		mm_populate_locked(mm, r.start, r.end);
	return err;
}

void mm_munlockall(struct mm *mm)
{
	int handed;

	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	mm->def_flags = 0;
	apply(mm, 0, mm->task_size, 0, &handed);
	mutex_unlock(&mm->mmap_lock);
}

void mm_unlock_new(const struct vma *v, uint64_t addr, uint64_t len)
{
	if (atomic_load(&v->mm->def_flags) & VM_LOCKED)
		lock_handed(addr, addr + len, 0);
}

void mm_lock_as(const struct vma *v, uint64_t addr, uint64_t len)
{
	if (v->flags & VM_LOCKED)
		lock_handed(addr, addr + len, v->flags);
	else
		mm_unlock_new(v, addr, len);
}

static int map_part(const struct vma *v, uint64_t addr, uint64_t len, int flags, int fd)
{
	uint64_t half = page_align_up(len / 2);
	void *p = sys_mmap((void *)addr, len, v->prot, flags, fd, (off_t)(vma_index_of(v, addr) << FL_PAGE_SHIFT));
	int err;

	if (!sys_is_err(p))
		mm_unlock_new(v, addr, len);
	if (!sys_is_err(p) || sys_err(p) != -EAGAIN || len == FL_PAGE_SIZE)
		return sys_is_err(p) ? sys_err(p) : 0;
	err = map_part(v, addr, half, flags, fd);
	return err ? err : map_part(v, addr + half, len - half, flags, fd);
}

int mm_map_over(const struct vma *v, int flags, int fd)
{
	return map_part(v, v->start, v->end - v->start, flags | MAP_FIXED, fd);
}

void mm_lock_handed_again(struct mm *mm)
{
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if ((v->flags & (VM_LOCKED | VM_HANDED)) == (VM_LOCKED | VM_HANDED))
			lock_handed(v->start, v->end, v->flags);
	mutex_unlock(&mm->mmap_lock);
}

uint64_t mm_locked_here(struct mm *mm)
{
	uint64_t bytes = 0;

	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if ((v->flags & (VM_LOCKED | VM_HANDED)) == VM_LOCKED)
			bytes += v->end - v->start;
	mutex_unlock(&mm->mmap_lock);
	return bytes;
}
