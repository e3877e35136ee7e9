/* SPDX-License-Identifier: Apache-2.0 */
/* Pages brought in without a fault: pinned for a system call, or populated. */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/filemap.h"
#include "cache/io.h"
#include "madvise.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

static bool may_access(const struct vma *v, bool write)
{
	return v->prot & (write ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC) && !(v->flags & VM_GUARD);
}

/* Some pages, *done of them: 0 when they are pinned, 1 when they are not ours to pin. */
static int pin_some(struct mm *mm, uint64_t addr, uint64_t pages, bool write, uint64_t *done)
{
	struct vma *v = mm_lock_vma(mm, addr);
	struct fault f;
	int err = -EFAULT;

	*done = 1;
	if (!v)
		return 1;
	if (v->flags & VM_HANDED) {
		err = 1;
	} else if (may_access(v, write)) {
		err = vma_fault(v, addr, write, false, &f);
		if (!err)
			err = filemap_pin_run(&f, pages, done);
	}
	vma_unlock_read(v);
	return err == -ENXIO ? -EFAULT : err;
}

static void unpin_some(struct mm *mm, uint64_t addr, uint64_t pages, uint64_t *done)
{
	struct vma *v = mm_lock_vma(mm, addr);
	struct fault f;

	*done = 1;
	if (!v)
		return;
	if (!(v->flags & VM_HANDED)) {
		vma_fault(v, addr, false, false, &f);
		filemap_unpin_run(&f, pages, done);
	}
	vma_unlock_read(v);
}

void mm_unpin(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end = len ? page_align_up(addr + len) : 0, done;

	for (uint64_t at = page_align_down(addr); at < end && mm_overlaps(mm, at, end - at); at += done << FL_PAGE_SHIFT)
		unpin_some(mm, at, (end - at) >> FL_PAGE_SHIFT, &done);
}

bool mm_was_copied(struct mm *mm, uint64_t addr)
{
	struct vma *v = mm_lock_vma(mm, page_align_down(addr));
	struct fault f;
	bool yes = false;

	if (!v)
		return false;
	if (!(v->flags & VM_HANDED)) {
		vma_fault(v, page_align_down(addr), false, false, &f);
		yes = filemap_was_copied(&f);
	}
	vma_unlock_read(v);
	return yes;
}

int mm_pin(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	uint64_t end = len ? page_align_up(addr + len) : 0, done;

	for (uint64_t at = page_align_down(addr); at < end && mm_overlaps(mm, at, end - at); at += done << FL_PAGE_SHIFT) {
		int err = pin_some(mm, at, (end - at) >> FL_PAGE_SHIFT, write, &done);

		if (err < 0) {
			mm_unpin(mm, page_align_down(addr), at - page_align_down(addr));
			return err;
		}
	}
	return 0;
}

/* With the VMA locked a run at a time: the pages are installed where it is. */
int mm_read_ahead(struct mm *mm, uint64_t start, uint64_t len)
{
	for (uint64_t at = start, pages = 1; at < start + len; at += pages << FL_PAGE_SHIFT) {
		struct vma *v = mm_lock_vma(mm, at);
		struct fault f;

		if (!v)
			return 0;
		vma_describe(v, at, &f);
		pages = min_u64(f.room, (start + len - at) >> FL_PAGE_SHIFT);
		if (!(v->flags & (VM_HANDED | VM_GUARD)) && as_is_pool(v->as))
			pages = filemap_readahead(&f, pages);
		vma_unlock_read(v);
		if (!pages)
			return 0;
	}
	return 0;
}

/* Its pages, when all of it is such as is read by small pages, and lies in v. */
static bool is_few_pages_of(const struct vma *v, const struct mm_range *r, uint64_t *start, uint64_t *pages)
{
	uint64_t end = page_align_up(r->addr + r->len);

	*start = page_align_down(r->addr);
	*pages = (end - *start) >> FL_PAGE_SHIFT;
	return r->len && *start >= v->start && end <= v->end && *pages <= RUN_MAX;
}

uint64_t mm_read_ahead_together(struct mm *mm, const struct mm_range *ranges, uint64_t n)
{
	struct vma *v = mm_lock_vma(mm, page_align_down(ranges->addr));
	struct io_batch batch = {0};
	uint64_t done = 0, start, pages;

	if (!v)
		return 0;
	if (!(v->flags & (VM_HANDED | VM_GUARD)) && as_is_pool(v->as))
		for (; done < n && is_few_pages_of(v, &ranges[done], &start, &pages); done++) {
			struct fault f;

			vma_describe(v, start, &f);
			f.batch = &batch;
			filemap_readahead(&f, min_u64(pages, filemap_readahead_max(v->as)));
		}
	io_send(&batch);
	vma_unlock_read(v);
	return done;
}

static int populate_handed(uint64_t addr, bool write)
{
	return sys_madvise((void *)addr, FL_PAGE_SIZE, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

/* Private pages that are in swap, as far as there is room. */
int mm_swap_in(struct mm *mm, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at += FL_PAGE_SIZE) {
		struct vma *v = mm_lock_vma(mm, at);
		uint64_t done;
		int err = 0;

		if (!v)
			continue;
		if (!(v->flags & VM_HANDED) && mm->arch->swapped(v, at))
			err = mm->arch->populate(v, at, 1, false, &done);
		vma_unlock_read(v);
		if (err)
			return 0; /* a hint */
	}
	return 0;
}

/* The kernel's errors for MADV_POPULATE_*: -EFAULT where an access would raise SIGBUS. */
int mm_populate(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	for (uint64_t at = addr, done; at < addr + len; at += done << FL_PAGE_SHIFT) {
		struct vma *v = mm_lock_vma(mm, at);
		int err;

		done = 1;
		if (!v)
			return -ENOMEM;
		if (v->flags & VM_GUARD)
			err = -EFAULT;
		else if (!may_access(v, write))
			err = -EINVAL;
		else if (v->flags & VM_HANDED)
			err = populate_handed(at, write);
		else
			err = mm->arch->populate(v, at, page_align_up(addr + len - at) >> FL_PAGE_SHIFT, write, &done);
		vma_unlock_read(v);
		if (err)
			return err == -ENXIO ? -EFAULT : err;
	}
	return 0;
}
