/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MAP_GROWSDOWN in soft spaces, as expand_stack() of Linux: a fault that finds nothing mapped grows what follows down to its page, within the stack's
 * limit, the guard gap and the limits of the space. Native spaces: grow.c.
 *
 * Comes from a fault with no lock held; takes mmap_lock, and the VMA for writing when nothing can fail any more.
 */
#include <sys/mman.h>

#include "cache/filemap.h"
#include "soft.h"
#include "util/compiler.h"

/* Whether something that can be accessed, and is no stack itself, is closer below addr than the guard gap. v is what follows addr. */
static bool is_close(struct mm *mm, const struct vma *v, uint64_t addr)
{
	uint64_t gap = mm->soft->config.stack_guard_gap;
	const struct vma *last = NULL;

	for (const struct vma *u = vma_find(&mm->index, addr > gap ? addr - gap : 0); u && u != v; u = vma_find(&mm->index, u->end))
		last = u;
	return last && !(last->flags & VM_GROWSDOWN) && (last->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) && addr - last->end < gap;
}

/* As acct_stack_growth() of Linux. */
static bool limits_allow(struct mm *mm, const struct vma *v, uint64_t addr)
{
	if (v->end - addr > mm->soft->config.stack_limit || !vma_may_grow(v, addr) || may_expand_vm(mm, v->start - addr, 0))
		return false;
	return !(v->flags & VM_LOCKED) || mlock_limit_ok(mm, v->start - addr);
}

/*
 * As expand_downwards() of Linux, which has somewhere for private pages made before it asks for the limits, and without a write: what the
 * mapping merges with follows from that. Caller holds mmap_lock.
 */
static bool may_expand(struct mm *mm, struct vma *v, uint64_t addr)
{
	if (!v || !(v->flags & VM_GROWSDOWN) || v->start <= addr || addr < mm->limits.min_addr || is_close(mm, v, addr))
		return false;
	return !vma_prepare_anon(v) && limits_allow(mm, v, addr);
}

/* What grows is locked too, and given back with the mapping. */
static bool charge_growth(const struct vma *v, uint64_t addr)
{
	return !(v->flags & VM_LOCKED) || filemap_charge_locked((v->start - addr) >> FL_PAGE_SHIFT);
}

/* It is not merged with what it meets, as on Linux. */
static void grow_to(struct mm *mm, struct vma *v, uint64_t addr)
{
	uint64_t start = v->start;

	vma_lock_write(v);
	vma_grow_down(mm, v, addr);
	gaps_take(&mm->soft->gaps, addr, start);
	vma_unlock_write(v);
}

bool soft_expand_stack(struct mm *mm, uint64_t addr)
{
	struct vma *v;
	bool ok;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, addr);
	ok = may_expand(mm, v, addr) && !gaps_prepare(&mm->soft->gaps, 1) && charge_growth(v, addr);
	if (ok)
		grow_to(mm, v, addr);
	mutex_unlock(&mm->mmap_lock);
	return ok;
}
