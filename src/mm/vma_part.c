/* SPDX-License-Identifier: Apache-2.0 */
#include "vma_part.h"

#include "util/compiler.h"

bool vma_next_part(struct mm *mm, uint64_t at, uint64_t end, struct vma_part *p, bool *hole)
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
		p->prot = v->prot;
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
