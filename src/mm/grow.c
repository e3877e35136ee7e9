/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP_GROWSDOWN. An access below such a mapping has the kernel grow its own mapping first, within RLIMIT_STACK and the
 * stack guard gap, registration included; then it faults, and ours is grown to match. An access that the protection refuses grows it as
 * well, but is a signal for the program: so that is looked for before each call (mm_catch_up).
 *
 * Where pages are hidden (sigsegv.c) the kernel would grow the lowest with the protection that it has just then, and so is not told; we do
 * what it does.
 */
#include "mm.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "cache/reclaim.h"
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

/* Nothing may lie close below a stack but other stacks, and what cannot be accessed. What is not ours we cannot look at. */
static bool gap_is_empty(struct mm *mm, uint64_t from, uint64_t to)
{
	unsigned char in_core;

	for (uint64_t at = from; at < to; at += FL_PAGE_SIZE) {
		const struct vma *v = vma_find(&mm->index, at);

		if (v && v->start <= at ? v->prot && !(v->flags & VM_GROWSDOWN)
					: sys_mincore((void *)at, FL_PAGE_SIZE, &in_core) != -ENOMEM)
			return false;
	}
	return true;
}

/* Makes the kernel's mapping that is missing below v. Caller holds mmap_lock. */
static bool map_below(const struct vma *v, uint64_t addr)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;

	if (addr < GUARD_GAP || !is_within_stack_limit(v->end - addr) || !gap_is_empty(v->mm, addr - GUARD_GAP, addr))
		return false;
	if (sys_is_err(sys_mmap((void *)addr, v->start - addr, PROT_NONE, flags, -1, 0)))
		return false;
	mm_unlock_new(v, addr, v->start - addr);
	if (!mm_attach(v->mm, v, addr, v->start - addr))
		return true;
	sys_munmap((void *)addr, v->start - addr);
	return false;
}

/* Whether the kernel has what is missing between addr and v. */
static bool has_memory_below(const struct vma *v, uint64_t addr)
{
	return v->mm->mmu->hides ? map_below(v, addr) : no_hole(addr, v->start);
}

/* Private pages that were divided from ours, and moved away, keep their places in the object: these are not ours to have again. */
static bool is_taken(struct address_space *anon, uint64_t first, uint64_t end)
{
	bool taken = false;

	read_lock(&rmap_lock);
	for (struct rmap *r = anon->rmaps; r && !taken; r = r->next)
		taken = r->pgoff < end && r->pgoff + r->pages > first;
	read_unlock(&rmap_lock);
	return taken;
}

/* Private pages have room below in their object (vma_prepare_anon), or there are none yet. */
bool vma_may_grow(const struct vma *v, uint64_t addr)
{
	uint64_t pages = (v->start - addr) >> FL_PAGE_SHIFT;

	if (v->pgoff < pages || (v->anon && v->anon_pgoff < pages))
		return false;
	return v->mm->soft || !v->anon || !is_taken(v->anon, v->anon_pgoff - pages, v->anon_pgoff);
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

/* Where it cannot grow, what is below is a VMA of its own, with an object of its own for private pages. */
static bool add_below(struct mm *mm, struct vma *v, uint64_t addr)
{
	struct vma *n = vma_index_prepare(&mm->index) ? NULL : vma_alloc(mm);

	if (!n)
		return false;
	address_space_hold(v->as);
	n->as = v->as;
	n->pgoff = v->pgoff - ((v->start - addr) >> FL_PAGE_SHIFT);
	n->prot = v->prot;
	n->flags = v->flags;
	n->advice = v->advice;
	n->wb_seen = v->wb_seen;
	n->lineage = v->lineage;
	atomic_store(&n->family, atomic_load(&v->family));
	atomic_store(&v->joined, true);
	write_lock(&rmap_lock);
	vma_insert(mm, n, addr, v->start);
	write_unlock(&rmap_lock);
	return true;
}

static bool grow_charged(struct mm *mm, struct vma *v, uint64_t addr)
{
	vma_join_family(v); /* as on Linux, before anything is written */
	if (!vma_may_grow(v, addr))
		return v->pgoff >= (v->start - addr) >> FL_PAGE_SHIFT && add_below(mm, v, addr);
	vma_lock_write(v);
	vma_grow_down(mm, v, addr);
	vma_unlock_write(v);
	return true;
}

/* Ours, to match what the kernel has by now. What grows is locked too, and is given back with the mapping. */
static bool grow(struct mm *mm, struct vma *v, uint64_t addr)
{
	uint64_t len = v->start - addr;

	if (((v->flags & VM_LOCKED) && !mlock_limit_ok(mm, len)) || !mm_charge_locked(v, len))
		return false;
	if (grow_charged(mm, v, addr))
		return true;
	mm_uncharge_locked(v, len);
	return false;
}

bool mm_grow_down(struct mm *mm, uint64_t addr)
{
	struct vma *v;
	bool ours;

	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	write_lock(&mm->foreign_lock);
	v = vma_find(&mm->index, addr);
	ours = v && v->start <= addr; /* another thread was faster */
	if (v && !ours && (v->flags & VM_GROWSDOWN) && has_memory_below(v, addr)) {
		ours = grow(mm, v, addr);
		if (!ours && mm->mmu->hides) /* nobody else would take it away */
			sys_munmap((void *)addr, v->start - addr);
	}
	write_unlock(&mm->foreign_lock);
	mutex_unlock(&mm->mmap_lock);
	return ours;
}

/* Faults there come to us, though it is in no space. */
static bool is_grown_by(const struct mm *mm, uint64_t addr)
{
	struct mm *other;

	for (int i = 0; (other = mm_space(i)); i++)
		if (mm_overlaps(other, addr, FL_PAGE_SIZE))
			return false;
	return !mm->mmu->ops->unprotect(mm->mmu, addr, FL_PAGE_SIZE); /* else -ENOENT */
}

/* Where the kernel's mapping begins by now, not below `floor`. */
static uint64_t kernel_start(const struct vma *v, uint64_t floor)
{
	uint64_t at = v->start;

	while (at > floor && is_grown_by(v->mm, at - FL_PAGE_SIZE))
		at -= FL_PAGE_SIZE;
	return at;
}

/* Caller holds mmap_lock. Whether there are any that may grow. */
static bool catch_up(struct mm *mm)
{
	uint64_t floor = 0;
	bool any = false;

	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, floor)) {
		uint64_t addr = v->flags & VM_GROWSDOWN ? kernel_start(v, floor) : v->start;

		any |= v->flags & VM_GROWSDOWN;
		if (addr < v->start)
			grow(mm, v, addr);
		floor = v->end;
	}
	return any;
}

void mm_catch_up(struct mm *mm)
{
	if (likely(!atomic_load_explicit(&mm->grows_down, memory_order_relaxed)) || mm->soft || mm->mmu->hides)
		return;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	write_lock(&mm->foreign_lock);
	if (!catch_up(mm))
		atomic_store(&mm->grows_down, false);
	write_unlock(&mm->foreign_lock);
	mutex_unlock(&mm->mmap_lock);
}
