/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "arch.h"
#include "cache/hosted.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

static void mincore_vma(struct vma *v, uint64_t from, uint64_t to, unsigned char *vec)
{
	if (vma_is_at_host(v)) {
		hosted_resident(v->as, vma_index_of(v, from), (to - from) >> FL_PAGE_SHIFT, vec);
		for (uint64_t i = 0; i < (to - from) >> FL_PAGE_SHIFT; i++)
			vec[i] &= 1;
		return;
	}
	for (uint64_t at = from; at < to; at += v->mm->page_mask + 1)
		*vec++ = v->mm->arch->resident(v, at);
}

int mm_mincore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec, bool whole)
{
	uint64_t at = addr;
	bool hole = false;
	int err = 0;

	if (addr & mm->page_mask)
		return -EINVAL;
	if (!range_ok(mm, addr, &len))
		return -ENOMEM;
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v; at < addr + len && !err && (v = vma_find(&mm->index, at)) && v->start < addr + len; at = v->end) {
		uint64_t from = max_u64(v->start, at), to = min_u64(v->end, addr + len);
		unsigned char *part = vec + (from - addr) / (mm->page_mask + 1);

		hole |= from > at;
		if (v->flags & VM_HANDED)
			err = sys_mincore((void *)from, to - from, part);
		else
			mincore_vma(v, from, to, part);
	}
	mutex_unlock(&mm->mmap_lock);
	return err ? err : (hole || at < addr + len) && !whole ? -ENOMEM : 0;
}
