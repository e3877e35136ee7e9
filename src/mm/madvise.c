/* SPDX-License-Identifier: Apache-2.0 */
/*
 * madvise. Advice is of three kinds: what is noted on the VMAs, which are split for it and merged after (advise_flags);
 * what is done to the pages of each VMA's part of the range (advise_pages); and MADV_POPULATE_*, which is a fault on each
 * page. Errors in the order of Linux: what precedes a hole or a refusal has been done.
 */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "cache/truncate.h"
#include "madvise.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "vma_part.h"

/* ---- Advice noted on the VMA ---- */

struct flag_change {
	int advice;
	unsigned set, clear;
	bool kernel; /* its own copy of the mapping is to know too: fork and core dumps are its work */
};

static const struct flag_change flag_changes[] = {
	{MADV_DONTFORK, VM_DONTFORK, 0, true},
	{MADV_DOFORK, 0, VM_DONTFORK, true},
	{MADV_WIPEONFORK, VM_WIPEONFORK, 0, true},
	{MADV_KEEPONFORK, 0, VM_WIPEONFORK, true},
	{MADV_DONTDUMP, VM_DONTDUMP, 0, true},
	{MADV_DODUMP, 0, VM_DONTDUMP, true},
	{MADV_HUGEPAGE, VM_HUGEPAGE, VM_NOHUGEPAGE, false}, /* frames of private and shared memory are single pages */
	{MADV_NOHUGEPAGE, VM_NOHUGEPAGE, VM_HUGEPAGE, false},
	{MADV_MERGEABLE, VM_MERGEABLE, 0, false},
	{MADV_UNMERGEABLE, 0, VM_MERGEABLE, false},
};

static const struct flag_change *find_flag_change(int advice)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_changes); i++)
		if (flag_changes[i].advice == advice)
			return &flag_changes[i];
	return NULL;
}

static void change_one(struct mm *mm, struct vma *v, const struct vma_change *c)
{
	vma_lock_write(v);
	mm_count(mm, v, -1);
	v->flags = (v->flags & ~c->clear) | c->set;
	if (c->advice >= 0)
		v->advice = (enum ra_advice)c->advice;
	mm_count(mm, v, 1);
	vma_unlock_write(v);
}

/* Each VMA that changes is merged with what it is like then. */
static void change_vmas(struct mm *mm, uint64_t start, uint64_t end, const struct vma_change *c)
{
	uint64_t next;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, next)) {
		uint64_t from = v->start;

		next = v->end;
		if (!vma_changes(v, c))
			continue;
		change_one(mm, v, c);
		vma_merge_at(mm, from);
		vma_merge_at(mm, next);
	}
}

/*
 * Of [start, end), what is not so already. `advice`: what the kernel's mapping is told of it, or -1. `again`: also when all is so.
 * Caller holds mmap_lock.
 */
static int change_range(struct mm *mm, uint64_t start, uint64_t end, const struct vma_change *c, int advice, bool again)
{
	int err;

	if (!vma_narrow_to_changes(mm, c, &start, &end))
		return again ? mm->arch->advise(mm, start, end, advice) : 0;
	err = vma_split_range(mm, start, end);
	if (err)
		return err;
	if (advice >= 0)
		err = mm->arch->advise(mm, start, end, advice);
	if (!err) {
		change_vmas(mm, start, end, c);
		return 0;
	}
	vma_merge_at(mm, start);
	vma_merge_at(mm, end);
	return err;
}

/* Of what the kernel leaves out of core dumps in any case. */
static bool is_about_dumps(const struct flag_change *c, const struct vma_part *p)
{
	return ((c->set | c->clear) & VM_DONTDUMP) && mm_is_never_dumped(p->as, p->flags);
}

/* A flag, or the read-ahead when c is NULL; a mapping of the kernel is told all. ENOMEM for want of a VMA is EAGAIN here. */
static int advise_flags(struct mm *mm, const struct vma_part *p, const struct flag_change *c, int read_ahead, int advice)
{
	struct vma_change change = {.set = c ? c->set : 0, .clear = c ? c->clear : 0, .prot = -1, .advice = c ? -1 : read_ahead};
	bool tell = mm->arch->advise && ((p->flags & VM_HANDED) || (c && c->kernel && !is_about_dumps(c, p)));
	int err;

	if (c && c->advice == MADV_WIPEONFORK && (!p->as->zero || (p->flags & (VM_HUGETLB | VM_DEV_ZERO))))
		return -EINVAL;
	if (c && (c->advice == MADV_KEEPONFORK || c->advice == MADV_DODUMP) && (p->flags & VM_DROPPABLE))
		return -EINVAL;
	if (c && c->advice == MADV_MERGEABLE && (p->flags & (VM_SHARED | VM_HUGETLB | VM_DROPPABLE)))
		return 0; /* nothing that could be merged */
	mutex_lock(&mm->mmap_lock);
	err = change_range(mm, p->start, p->end, &change, tell ? advice : -1, tell && (p->flags & VM_HANDED));
	mutex_unlock(&mm->mmap_lock);
	return err == -ENOMEM ? -EAGAIN : err;
}

void mm_advise_again(const struct vma *v, uint64_t addr, uint64_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(flag_changes); i++)
		if (flag_changes[i].kernel && (v->flags & flag_changes[i].set))
			sys_madvise((void *)addr, len, flag_changes[i].advice);
	if (v->flags & VM_GUARD)
		sys_madvise((void *)addr, len, MADV_GUARD_INSTALL);
}

/* ---- Advice on the pages ---- */

typedef int (*vma_fn)(struct vma *v, uint64_t from, uint64_t to);

/* Calls fn, with the VMA locked for writing, for what of the part is still as it was. */
static int for_vmas(struct mm *mm, const struct vma_part *p, vma_fn fn)
{
	int err = 0;

	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end && !err; v = vma_find(&mm->index, v->end)) {
		if (v->as != p->as)
			continue;
		vma_lock_write(v);
		err = fn(v, max_u64(v->start, p->start), min_u64(v->end, p->end));
		vma_unlock_write(v);
	}
	mutex_unlock(&mm->mmap_lock);
	return err;
}

static int cold_or_out(struct mm *mm, const struct vma_part *p, bool out)
{
	if (!p->as->zero)
		reclaim_range(p->as, p->first, p->last, out);
	return p->flags & VM_SHARED ? 0 : for_vmas(mm, p, out ? mm->arch->page_out : mm->arch->cool);
}

/* Of private memory, what swap has of it; of a file, what the budget has room for. */
static int willneed(struct mm *mm, const struct vma_part *p)
{
	struct fault f = {.as = p->as, .index = p->first, .mmu = mm->mmu};

	if (p->as->zero)
		return mm_swap_in(mm, p->start, p->end);
	if (as_is_pool(p->as))
		return mm_read_ahead(mm, p->start, min_u64(p->end - p->start, filemap_readahead_max(p->as) << FL_PAGE_SHIFT));
	filemap_readahead(&f, min_u64(p->last - p->first + 1, filemap_readahead_max(p->as)));
	return 0;
}

static bool may_remove(const struct vma_part *p)
{
	return (p->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

static int remove_part(const struct vma_part *p)
{
	if (p->as->zero)
		return p->flags & VM_DEV_ZERO ? -EACCES : -EINVAL;
	return p->as->label ? -EOPNOTSUPP : truncate_hole(p->as, p->first, p->last);
}

/*
 * A guard is a mark in the page table. In a native space it is the kernel's, which raises the signal. What we know of it is a flag on a
 * VMA of its own: read-ahead, which fills up to the end of a VMA, would take it away. In a soft space the table is ours (mark).
 */
static const struct flag_change guarded = {.set = VM_GUARD | VM_MAYBE_GUARD}, unguarded = {.clear = VM_GUARD};

static int remove_guard(struct mm *mm, const struct vma_part *p)
{
	int err = mm->soft ? for_vmas(mm, p, mm->arch->unmark) : mm->arch->unguard(mm, p->start, p->end);

	return err || mm->soft ? err : advise_flags(mm, p, &unguarded, 0, 0);
}

static int convert_part(struct mm *mm, const struct vma_part *p)
{
	int err;

	mutex_lock(&mm->mmap_lock);
	err = mm_convert_range(mm, p->start, p->end);
	mutex_unlock(&mm->mmap_lock);
	return err;
}

/* Anonymous memory has somewhere for its pages then, as on Linux: what it merges with follows from that. */
static int prepare_anonymous(struct mm *mm, const struct vma_part *p)
{
	struct vma *v = p->as->zero ? mm_lock_vma(mm, p->start) : NULL;
	int err;

	if (!v)
		return 0;
	err = mm->soft ? vma_prepare_anon(v) : 0;
	vma_join_family(v);
	vma_unlock_read(v);
	return err;
}

static int install_marks(struct mm *mm, const struct vma_part *p)
{
	int err;

	metadata_refill_to(METADATA_SPARE + ((p->end - p->start) >> (FL_PAGE_SHIFT + 9)) + 4);
	err = for_vmas(mm, p, mm->arch->mark);
	budget_drop_spare();
	return err;
}

static int install_guard(struct mm *mm, const struct vma_part *p)
{
	int err = prepare_anonymous(mm, p);

	if (err || mm->soft)
		return err ? err : install_marks(mm, p);
	err = convert_part(mm, p); /* its pages must outlive the guard */
	if (!err)
		err = advise_flags(mm, p, &guarded, 0, 0); /* nothing comes in from now on */
	if (err)
		return err;
	err = for_vmas(mm, p, mm->arch->guard);
	if (err)
		advise_flags(mm, p, &unguarded, 0, 0);
	return err;
}

static bool is_locked(const struct vma_part *p)
{
	return p->flags & VM_LOCKED;
}

/* mseal: anonymous memory that cannot be written may not be thrown away either. */
static bool is_sealed_against(const struct vma_part *p, int advice)
{
	switch (advice) {
	case MADV_FREE:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
	case MADV_GUARD_INSTALL:
		return (p->flags & VM_SEALED) && p->as->zero && !(p->prot & PROT_WRITE);
	default:
		return false;
	}
}

static int advise_pages(struct mm *mm, const struct vma_part *p, int advice)
{
	switch (advice) {
	case MADV_WILLNEED:
		return willneed(mm, p);
	case MADV_DONTNEED:
		return is_locked(p) ? -EINVAL : for_vmas(mm, p, mm->arch->dontneed);
	case MADV_DONTNEED_LOCKED:
		return for_vmas(mm, p, mm->arch->dontneed);
	case MADV_FREE:
		return is_locked(p) || !p->as->zero ? -EINVAL : for_vmas(mm, p, mm->arch->free_lazily);
	case MADV_REMOVE:
		return is_locked(p) ? -EINVAL : remove_part(p);
	case MADV_COLD:
	case MADV_PAGEOUT:
		return is_locked(p) ? -EINVAL : cold_or_out(mm, p, advice == MADV_PAGEOUT);
	case MADV_GUARD_INSTALL:
		return is_locked(p) ? -EINVAL : install_guard(mm, p);
	default: /* MADV_GUARD_REMOVE */
		return remove_guard(mm, p);
	}
}

static void note_guard(struct mm *mm, const struct vma_part *p)
{
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end; v = vma_find(&mm->index, v->end)) {
		vma_lock_write(v);
		v->flags |= VM_MAYBE_GUARD;
		vma_unlock_write(v);
	}
	mutex_unlock(&mm->mmap_lock);
}

/* The kernel's mapping has its guards, too: what we know is that there was one. */
static int advise_handed(struct mm *mm, const struct vma_part *p, int advice)
{
	int err = sys_madvise((void *)p->start, p->end - p->start, advice);

	if (!err && advice == MADV_GUARD_INSTALL)
		note_guard(mm, p);
	return err;
}

static int advise_part(struct mm *mm, const struct vma_part *p, int advice)
{
	const struct flag_change *c = find_flag_change(advice);

	if (is_sealed_against(p, advice))
		return -EPERM;
	if (c)
		return advise_flags(mm, p, c, 0, advice);
	if ((advice == MADV_GUARD_INSTALL || advice == MADV_GUARD_REMOVE) && mm->mmu->hides)
		return -EINVAL; /* as before Linux 6.13: a mark of the kernel's would look like a page that is hidden */
	if (advice == MADV_REMOVE && !is_locked(p) && !p->as->zero &&
	    !may_remove(p)) /* the kernel's mapping may be of a descriptor of ours */
		return -EACCES;
	if ((p->flags & VM_HANDED) && advice > MADV_WILLNEED)
		return advise_handed(mm, p, advice);
	switch (advice) {
	case MADV_NORMAL:
		return advise_flags(mm, p, NULL, RA_NORMAL, advice);
	case MADV_RANDOM:
		return advise_flags(mm, p, NULL, RA_RANDOM, advice);
	case MADV_SEQUENTIAL:
		return advise_flags(mm, p, NULL, RA_SEQUENTIAL, advice);
	default:
		return p->flags & VM_HANDED ? advise_handed(mm, p, advice) : advise_pages(mm, p, advice);
	}
}

/* MADV_COLLAPSE is refused as by a kernel without transparent huge pages: frames are single pages. */
static bool is_known(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_GUARD_INSTALL:
	case MADV_GUARD_REMOVE:
	case MADV_HWPOISON:
	case MADV_SOFT_OFFLINE:
		return true;
	default:
		return find_flag_change(advice);
	}
}

static bool is_populate(int advice)
{
	return advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
}

static int populate_part(struct mm *mm, const struct vma_part *p, bool write)
{
	if (!(p->prot & (write ? PROT_WRITE : PROT_READ)))
		return -EINVAL;
	return mm_populate(mm, p->start, p->end - p->start, write);
}

int mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice, bool whole)
{
	bool hole = false;
	struct vma_part p;
	int err = 0;

	if (!is_known(advice) || !range_ok(mm, addr, &len))
		return -EINVAL;
	if (!len)
		return 0;
	if (advice == MADV_HWPOISON || advice == MADV_SOFT_OFFLINE)
		return -EPERM; /* memory of the machine is not ours to break */
	metadata_refill();
	for (uint64_t at = addr; at < addr + len && !err && vma_next_part(mm, at, addr + len, &p, &hole); at = p.end) {
		if (!is_populate(advice))
			err = advise_part(mm, &p, advice);
		else
			err = hole && !whole ? -ENOMEM : populate_part(mm, &p, advice == MADV_POPULATE_WRITE);
		address_space_put(p.as);
	}
	mm_check(mm);
	return err ? err : hole && !whole ? -ENOMEM : 0;
}

bool mm_is_range(const struct mm_range *r)
{
	return r->addr + r->len >= r->addr && page_align_up(r->addr + r->len) >= r->addr;
}

static int prefetch_range(struct mm *mm, const struct mm_range *r)
{
	uint64_t start = mm_align_down(mm, r->addr);

	return r->len ? mm_madvise(mm, start, r->addr + r->len - start, MADV_WILLNEED, false) : 0;
}

int mm_prefetch(struct mm *mm, const struct mm_range *ranges, uint64_t n)
{
	int err = 0, e;

	for (uint64_t i = 0, done; i < n; i += done) {
		metadata_refill();
		done = mm_read_ahead_together(mm, &ranges[i], n - i);
		e = done ? 0 : prefetch_range(mm, &ranges[i]);
		done = max_u64(done, 1);
		err = err ? err : e;
	}
	return err;
}
