/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP_GROWSDOWN. An access below such a mapping has the kernel grow its own mapping first, within RLIMIT_STACK and the
 * stack guard gap, registration included; then it faults, and ours is grown to match. Where pages are hidden (sigsegv.c) the kernel would grow the
 * lowest with the protection that it has just then, and so is not told; we do what it does.
 */
#include "mm.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

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

#define GUARD_GAP (256UL << FL_PAGE_SHIFT) /* stack_guard_gap of Linux */

static bool is_within_stack_limit(uint64_t len)
{
	struct rlimit rl;

	return sys_call(SYS_prlimit64, 0, RLIMIT_STACK, 0, (long)&rl, 0, 0) || len <= rl.rlim_cur;
}

/* Makes the kernel's mapping that is missing below v. */
static bool map_below(const struct vma *v, uint64_t addr)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	uint64_t from = addr - GUARD_GAP;
	void *p;

	if (addr < GUARD_GAP || !is_within_stack_limit(v->end - addr))
		return false;
	p = sys_mmap((void *)from, v->start - from, PROT_NONE, flags, -1, 0);
	if (sys_is_err(p))
		return false;
	sys_munmap(p, GUARD_GAP);
	return !mm_attach(v->mm, v, addr, v->start - addr);
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
	if (v && !ours && (v->flags & VM_GROWSDOWN) && vma_may_grow(v, addr) &&
	    (mm->mmu->hides ? map_below(v, addr) : no_hole(addr, v->start))) {
		vma_lock_write(v);
		vma_grow_down(mm, v, addr);
		vma_unlock_write(v);
		ours = true;
	}
	mutex_unlock(&mm->mmap_lock);
	return ours;
}
