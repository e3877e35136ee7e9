/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/writeback.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "vma_part.h"

static void note_seen(struct mm *mm, const struct vma_part *p, uint32_t seen)
{
	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, p->start); v && v->start < p->end; v = vma_find(&mm->index, v->end))
		if (v->as == p->as)
			v->wb_seen = seen;
	mutex_unlock(&mm->mmap_lock);
}

static int sync_part(struct mm *mm, struct vma_part *p, int flags)
{
	uint32_t seen = p->wb_seen;
	int err, earlier;

	if ((flags & MS_INVALIDATE) && (p->flags & VM_LOCKED))
		return -EBUSY;
	if (p->flags & VM_HANDED)
		return sys_msync((void *)p->start, p->end - p->start, flags);
	if (!(p->flags & VM_SHARED) || p->as->scratch || !p->as->store->writable)
		return 0;
	err = flags & MS_SYNC ? writeback_durably(p->as, p->first, p->last) : writeback_start(p->as, p->first, p->last);
	earlier = wb_err_check(p->as, &seen);
	if (seen != p->wb_seen)
		note_seen(mm, p, seen);
	return err ? err : earlier;
}

int mm_msync(struct mm *mm, uint64_t addr, uint64_t len, int flags, bool whole)
{
	bool hole = false;
	struct vma_part p;
	int err = 0;

	if (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || (addr & mm->page_mask) || ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	len = mm_align_up(mm, len); /* to 0 when it wraps, as on Linux */
	if (addr + len < addr)
		return -ENOMEM;
	for (uint64_t at = addr; at < addr + len && vma_next_part(mm, at, addr + len, &p, &hole); at = p.end) {
		int e = sync_part(mm, &p, flags);

		address_space_put(p.as);
		err = err ? err : e;
	}
	return err ? err : hole && !whole ? -ENOMEM : 0;
}
