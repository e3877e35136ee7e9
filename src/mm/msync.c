/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msync, madvise and mincore: work on the pages of a range, VMA by VMA. The file is held by a reference and mmap_lock
 * let go while pages are written or read, so what is mapped may change between two VMAs, as it may in the kernel.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/sys.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

/* One VMA's part of a range, with a reference to its file. */
struct part {
	struct address_space *as;
	uint64_t start, end; /* addresses */
	uint64_t first, last; /* pages of the file */
	unsigned flags;
	uint32_t wb_seen;
};

/* The next part at or after `at`; false past the end. *hole: something before it is not ours. */
static bool next_part(struct mm *mm, uint64_t at, uint64_t end, struct part *p, bool *hole)
{
	struct vma *v;
	bool found = false;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, at);
	if (v && v->start < end) {
		p->start = max_u64(v->start, at);
		p->end = min_u64(v->end, end);
		p->first = vma_index_of(v, p->start);
		p->last = vma_index_of(v, p->end - 1);
		p->as = v->as;
		p->flags = v->flags;
		p->wb_seen = v->wb_seen;
		address_space_hold(p->as);
		*hole |= p->start > at;
		found = true;
	} else {
		*hole |= at < end;
	}
	mutex_unlock(&mm->mmap_lock);
	return found;
}

static void note_seen(struct mm *mm, const struct part *p, uint32_t seen)
{
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end; v = vma_find(&mm->index, v->end))
		if (v->as == p->as)
			v->wb_seen = seen;
	mutex_unlock(&mm->mmap_lock);
}

static int sync_part(struct mm *mm, struct part *p, int flags)
{
	uint32_t seen = p->wb_seen;
	int err, earlier;

	if (p->flags & VM_HANDED)
		return sys_msync((void *)p->start, p->end - p->start, flags);
	if (!(p->flags & VM_SHARED) || !p->as->store->writable)
		return 0;
	err = writeback_range(p->as, p->first, p->last);
	if (!err && (flags & MS_SYNC)) {
		err = p->as->store->ops->sync(p->as->store);
		if (err)
			wb_err_set(p->as, err); /* the other mappings of the file are told too */
	}
	earlier = wb_err_check(p->as, &seen);
	if (seen != p->wb_seen)
		note_seen(mm, p, seen);
	return err ? err : earlier;
}

int mm_msync(struct mm *mm, uint64_t addr, uint64_t len, int flags, bool whole)
{
	bool hole = false;
	struct part p;
	int err = 0;

	if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || (addr & FL_PAGE_MASK) || ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	if (!range_ok(addr, &len))
		return -ENOMEM;
	for (uint64_t at = addr; at < addr + len && next_part(mm, at, addr + len, &p, &hole); at = p.end) {
		int e = sync_part(mm, &p, flags);

		address_space_put(p.as);
		err = err ? err : e;
	}
	return err ? err : hole && !whole ? -ENOMEM : 0;
}

/* ---- madvise ---- */

static int set_advice(struct mm *mm, const struct part *p, enum ra_advice advice)
{
	int err;

	mutex_lock(&mm->mmap_lock);
	err = vma_split_range(mm, p->start, p->end);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end && !err; v = vma_find(&mm->index, v->end)) {
		vma_lock_write(v);
		v->advice = advice;
		vma_unlock_write(v);
	}
	mutex_unlock(&mm->mmap_lock);
	return err;
}

/* Private pages go, in memory and in swap; then the mapping lets go of what it shows. */
static int dontneed(struct mm *mm, const struct part *p)
{
	int err = 0;

	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end && !err; v = vma_find(&mm->index, v->end)) {
		uint64_t from = max_u64(v->start, p->start), to = min_u64(v->end, p->end);
		uint64_t index = v->anon_pgoff + ((from - v->start) >> FL_PAGE_SHIFT);

		vma_lock_write(v);
		if (v->anon)
			truncate_pages(v->anon->as, index, index + ((to - from) >> FL_PAGE_SHIFT) - 1);
		err = sys_madvise((void *)from, to - from, MADV_DONTNEED);
		vma_unlock_write(v);
	}
	mutex_unlock(&mm->mmap_lock);
	return err;
}

static int willneed(struct mm *mm, const struct part *p)
{
	struct fault f = {.as = p->as, .index = p->first, .mmu = mm->mmu};

	filemap_readahead(&f, min_u64(p->last - p->first + 1, budget_limit() / 4));
	return 0;
}

/* A hole in the file, as fallocate(2) makes it. */
static int remove_part(const struct part *p)
{
	uint64_t off = p->first << FL_PAGE_SHIFT, len = (p->last - p->first + 1) << FL_PAGE_SHIFT;
	int err;

	if (!(p->flags & VM_SHARED) || !(p->flags & VM_MAYWRITE))
		return -EACCES;
	write_lock(&p->as->invalidate_lock);
	err = sys_fallocate(file_store_fd(p->as->store), 3 /* PUNCH_HOLE | KEEP_SIZE */, (off_t)off, (off_t)len);
	if (!err)
		truncate_pages(p->as, p->first, p->last);
	write_unlock(&p->as->invalidate_lock);
	return err;
}

static int advise_part(struct mm *mm, const struct part *p, int advice)
{
	if (p->flags & VM_HANDED)
		return sys_madvise((void *)p->start, p->end - p->start, advice);
	switch (advice) {
	case MADV_NORMAL:
		return set_advice(mm, p, RA_NORMAL);
	case MADV_RANDOM:
		return set_advice(mm, p, RA_RANDOM);
	case MADV_SEQUENTIAL:
		return set_advice(mm, p, RA_SEQUENTIAL);
	case MADV_WILLNEED:
		return willneed(mm, p);
	case MADV_DONTNEED:
		return dontneed(mm, p);
	case MADV_REMOVE:
		return remove_part(p);
	case MADV_COLD:
	case MADV_PAGEOUT:
		reclaim_range(p->as, p->first, p->last, advice == MADV_PAGEOUT);
		return 0;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		return mm_populate(mm, p->start, p->end - p->start, advice == MADV_POPULATE_WRITE);
	default:
		return sys_madvise((void *)p->start, p->end - p->start, advice); /* MADV_DONTDUMP, MADV_DODUMP */
	}
}

/* What Linux knows, what files refuse (EINVAL), and what is not here yet. */
static int check_advice(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_REMOVE:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_COLD:
	case MADV_PAGEOUT:
		return 0;
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_HWPOISON:
	case 24:  /* MADV_DONTNEED_LOCKED */
	case 25:  /* MADV_COLLAPSE */
	case 101: /* MADV_SOFT_OFFLINE */
	case 102: /* MADV_GUARD_INSTALL */
	case 103: /* MADV_GUARD_REMOVE */
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

int mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice, bool whole)
{
	bool hole = false;
	struct part p;
	int err = check_advice(advice);

	if (err)
		return err;
	if (!range_ok(addr, &len))
		return -EINVAL;
	metadata_refill();
	for (uint64_t at = addr; at < addr + len && !err && next_part(mm, at, addr + len, &p, &hole); at = p.end) {
		err = advise_part(mm, &p, advice);
		address_space_put(p.as);
	}
	return err ? err : hole && !whole ? -ENOMEM : 0;
}

/* ---- mincore ---- */

static void mincore_vma(struct vma *v, uint64_t from, uint64_t to, unsigned char *vec)
{
	for (uint64_t at = from; at < to; at += FL_PAGE_SIZE) {
		struct fault f;

		vma_fault(v, at, false, false, &f);
		vec[(at - from) >> FL_PAGE_SHIFT] = filemap_resident(&f);
	}
}

int mm_mincore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec, bool whole)
{
	uint64_t at = addr;
	bool hole = false;
	int err = 0;

	if (addr & FL_PAGE_MASK)
		return -EINVAL;
	if (!range_ok(addr, &len))
		return -ENOMEM;
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v; at < addr + len && !err && (v = vma_find(&mm->index, at)) && v->start < addr + len; at = v->end) {
		uint64_t from = max_u64(v->start, at), to = min_u64(v->end, addr + len);
		unsigned char *part = vec + ((from - addr) >> FL_PAGE_SHIFT);

		hole |= from > at;
		if (v->flags & VM_HANDED)
			err = sys_mincore((void *)from, to - from, part);
		else
			mincore_vma(v, from, to, part);
	}
	mutex_unlock(&mm->mmap_lock);
	return err ? err : (hole || at < addr + len) && !whole ? -ENOMEM : 0;
}
