/* SPDX-License-Identifier: Apache-2.0 */
/* Pages brought in without a fault: pinned for a system call, or populated. */
#include <errno.h>
#include <sys/mman.h>

#include "cache/filemap.h"
#include "mm.h"
#include "util/compiler.h"

static bool may_access(const struct vma *v, bool write)
{
	return v->prot & (write ? PROT_WRITE : PROT_READ | PROT_WRITE);
}

/* One page: 0 when it is pinned, 1 when it is not ours to pin. */
static int pin_page(struct mm *mm, uint64_t addr, bool write)
{
	struct vma *v = mm_lock_vma(mm, addr);
	struct fault f;
	int err = -EFAULT;

	if (!v)
		return 1;
	if (v->flags & VM_HANDED) {
		err = 1;
	} else if (may_access(v, write)) {
		vma_fault(v, addr, write, false, &f);
		err = filemap_pin(&f);
	}
	vma_unlock_read(v);
	return err == -ENXIO ? -EFAULT : err;
}

static void unpin_page(struct mm *mm, uint64_t addr)
{
	struct vma *v = mm_lock_vma(mm, addr);
	struct fault f;

	if (!v)
		return;
	if (!(v->flags & VM_HANDED)) {
		vma_fault(v, addr, false, false, &f);
		filemap_unpin(&f);
	}
	vma_unlock_read(v);
}

void mm_unpin(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end = len ? page_align_up(addr + len) : 0;

	for (uint64_t at = page_align_down(addr); at < end && mm_overlaps(mm, at, end - at); at += FL_PAGE_SIZE)
		unpin_page(mm, at);
}

int mm_pin(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	uint64_t end = len ? page_align_up(addr + len) : 0;

	for (uint64_t at = page_align_down(addr); at < end && mm_overlaps(mm, at, end - at); at += FL_PAGE_SIZE) {
		int err = pin_page(mm, at, write);

		if (err < 0) {
			mm_unpin(mm, page_align_down(addr), at - page_align_down(addr));
			return err;
		}
	}
	return 0;
}

/* The kernel's errors for MADV_POPULATE_*: -EFAULT where an access would raise SIGBUS. */
int mm_populate(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	for (uint64_t at = addr; at < addr + len; at += FL_PAGE_SIZE) {
		struct vma *v = mm_lock_vma(mm, at);
		struct fault f;
		int err;

		if (!v)
			return -ENOMEM;
		if (!may_access(v, write)) {
			vma_unlock_read(v);
			return -EINVAL;
		}
		vma_fault(v, at, write, false, &f);
		err = v->flags & VM_HANDED ? 0 : filemap_fault(&f);
		vma_unlock_read(v);
		if (err)
			return err == -ENXIO ? -EFAULT : err;
	}
	return 0;
}
