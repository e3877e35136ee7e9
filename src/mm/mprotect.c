/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"

/* How far from addr the new protection can go: to the first hole (not `whole`), or mapping that must not be written. */
static uint64_t reach(struct mm *mm, uint64_t addr, uint64_t end, int prot, bool whole, int *err)
{
	uint64_t at = addr;

	*err = 0;
	while (at < end) {
		struct vma *v = vma_find(&mm->index, at);

		if (!v || v->start >= end) {
			*err = whole ? 0 : -ENOMEM;
			return whole ? end : at;
		}
		if (v->start > at && !whole) {
			*err = -ENOMEM;
			return at;
		}
		if ((prot & PROT_WRITE) && !(v->flags & VM_MAYWRITE)) {
			*err = -EACCES;
			return max_u64(v->start, addr);
		}
		at = v->end;
	}
	return end;
}

static void set_prot(struct mm *mm, uint64_t addr, uint64_t end, int prot)
{
	for (struct vma *v = vma_find(&mm->index, addr); v && v->start < end; v = vma_find(&mm->index, v->end)) {
		vma_lock_write(v);
		v->prot = prot & (PROT_READ | PROT_WRITE);
		vma_unlock_write(v);
	}
}

/* The kernel keeps write protection of single pages through it; in the kernel's order, what precedes a failure is changed. */
static int protect_locked(struct mm *mm, uint64_t addr, uint64_t end, int prot, bool whole)
{
	int refused, err;
	uint64_t to = reach(mm, addr, end, prot, whole, &refused);

	if (to > addr) {
		err = vma_split_range(mm, addr, to);
		if (!err)
			err = sys_mprotect((void *)addr, to - addr, prot);
		if (err)
			return err;
		set_prot(mm, addr, to, prot);
	}
	return refused;
}

int mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot, bool whole)
{
	int err;

	if (addr & FL_PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	if (!range_ok(addr, &len))
		return -ENOMEM;
	if (!whole && (prot & PROT_EXEC))
		return -EOPNOTSUPP;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	err = protect_locked(mm, addr, addr + len, prot, whole);
	mutex_unlock(&mm->mmap_lock);
	return err;
}
