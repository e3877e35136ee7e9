/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP_GROWSDOWN. An access below such a mapping has the kernel grow its own mapping first, within RLIMIT_STACK and the
 * stack guard gap, registration included; then it faults, and ours is grown to match.
 */
#include "mm.h"

#include "util/compiler.h"
#include "util/sys.h"

#define STEP 512

/* Whether the kernel has all of [start, end) mapped. */
static bool no_hole(uint64_t start, uint64_t end)
{
	unsigned char vec[STEP];

	for (uint64_t at = start; at < end; at += STEP << FL_PAGE_SHIFT)
		if (sys_mincore((void *)at, min_u64(end - at, STEP << FL_PAGE_SHIFT), vec))
			return false;
	return true;
}

/* Private pages have room below in their object (vma_prepare_anon), or there are none yet. */
bool vma_may_grow(const struct vma *v, uint64_t addr)
{
	uint64_t pages = (v->start - addr) >> FL_PAGE_SHIFT;

	return v->pgoff >= pages && (!v->anon || v->anon_pgoff >= pages);
}

void vma_grow_down(struct mm *mm, struct vma *v, uint64_t addr)
{
	uint64_t pages = (v->start - addr) >> FL_PAGE_SHIFT;
	int err;

	write_lock(&rmap_lock);
	mm_account(mm, v, -1);
	vma_unlink_rmap(v);
	vma_index_erase(&mm->index, v);
	v->pgoff -= pages;
	if (v->anon)
		v->anon_pgoff -= pages;
	vma_set_range(v, addr, v->end);
	vma_link_rmap(v);
	err = vma_index_insert(&mm->index, v);
	fl_assert(err == 0); /* there was room for it before */
	mm_account(mm, v, 1);
	write_unlock(&rmap_lock);
}

bool mm_grow_down(struct mm *mm, uint64_t addr)
{
	struct vma *v;
	bool ours;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, addr);
	ours = v && v->start <= addr; /* another thread was faster */
	if (v && !ours && (v->flags & VM_GROWSDOWN) && vma_may_grow(v, addr) && no_hole(addr, v->start)) {
		vma_lock_write(v);
		vma_grow_down(mm, v, addr);
		vma_unlock_write(v);
		ours = true;
	}
	mutex_unlock(&mm->mmap_lock);
	return ours;
}
