/* SPDX-License-Identifier: Apache-2.0 */
/* mprotect, and mseal, which forbids it. The kernel keeps write protection of single pages through its own mprotect. */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"

#define PROT_SEM 0x8

/* Why a VMA may not have the protection; 0 when it may. */
static int refusal(struct mm *mm, const struct vma *v, int prot)
{
	bool gains_write = (prot & PROT_WRITE) && !(v->prot & PROT_WRITE);

	if ((prot & PROT_WRITE) && !(v->flags & VM_MAYWRITE))
		return -EACCES;
	if ((prot & PROT_EXEC) && !(v->flags & VM_MAYEXEC))
		return -EACCES;
	if ((prot & PROT_READ) && (v->flags & VM_NOREAD))
		return -EACCES;
	if (v->flags & VM_SEALED)
		return -EPERM;
	if (gains_write && may_have_data(mm, prot, v->flags, v->end - v->start))
		return -ENOMEM;
	if (gains_write && !(v->flags & VM_ACCOUNT) && is_accountable(mm, prot, v->flags))
		return may_commit(mm, v->end - v->start);
	return 0;
}

/* How far from addr the new protection can go: to the first hole (not `whole`), or mapping that refuses it. */
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
		*err = refusal(mm, v, prot);
		if (*err)
			return max_u64(v->start, addr);
		at = v->end;
	}
	return end;
}

/* Caller has the VMA locked for writing. */
static void set_prot(struct mm *mm, struct vma *v, int prot)
{
	mm_count(mm, v, -1);
	if (is_accountable(mm, prot, v->flags))
		v->flags |= VM_ACCOUNT;
	else if (!(prot & PROT_WRITE) && vma_is_anonymous(v) && !vma_has_private(v, mm->soft))
		v->flags &= ~(unsigned)VM_ACCOUNT; /* there is nothing in it */
	v->prot = prot & PROT_ALL;
	mm_count(mm, v, 1);
}

/* Under one lock: a fault in between would go by what the mapping still says. With `whole` the memory has its protection already. */
static int protect_one(struct mm *mm, struct vma *v, int prot, bool whole)
{
	int err = 0;

	vma_lock_write(v);
	if (!whole || as_is_pool(v->as)) /* which a fault may have opened meanwhile, see huge.c */
		err = mm->arch->protect(mm, v->start, v->end, prot);
	if (!err) {
		set_prot(mm, v, prot);
		atomic_store(&v->rmap.opened, RMAP_AS_ASKED);
		if (mm->mmu->ops->hide && !(v->flags & VM_HANDED))
			err = mm->mmu->ops->hide(mm->mmu, v->start, v->end - v->start, false);
	}
	vma_unlock_write(v);
	return err;
}

/* VMAs that change, one by one; each is merged with what it is like now. */
static int protect_vmas(struct mm *mm, uint64_t addr, uint64_t end, const struct vma_change *c, int prot, bool whole)
{
	uint64_t next;
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, addr); v && v->start < end && !err; v = vma_find(&mm->index, next)) {
		uint64_t start = v->start;

		next = v->end;
		if (!vma_changes(v, c))
			continue;
		err = protect_one(mm, v, prot, whole);
		vma_merge_at(mm, start);
		vma_merge_at(mm, next);
	}
	return err;
}

/* In the kernel's order, what precedes a failure is changed. Between our VMAs may be what is not ours. */
static int protect_range(struct mm *mm, uint64_t addr, uint64_t end, int prot, bool whole)
{
	struct vma_change c = {.prot = prot & PROT_ALL, .advice = -1};
	uint64_t start = addr, to = end;
	bool any = vma_narrow_to_changes(mm, &c, &start, &to);
	int err = any ? vma_split_range(mm, start, to) : 0;

	if (!err && whole)
		err = mm->arch->protect(mm, addr, end, prot);
	if (!err && any)
		err = protect_vmas(mm, start, to, &c, prot, whole);
	if (err)
		vma_merge_range(mm, start, to);
	return err;
}

/* A part of the range, from `start` up to `end`; empty when they are the same. */
struct part {
	uint64_t start, end;
};

/* As on Linux: locked private memory that can be written from now on, and could not before, gets its own pages. */
static struct part gains_pages(struct mm *mm, uint64_t addr, uint64_t end, int prot)
{
	struct part p = {0};

	for (struct vma *v = vma_find(&mm->index, addr); v && v->start < end && (prot & PROT_WRITE); v = vma_find(&mm->index, v->end)) {
		if ((v->flags & (VM_SHARED | VM_LOCKED)) != VM_LOCKED || (v->prot & PROT_WRITE))
			continue;
		p.start = p.end ? p.start : max_u64(v->start, addr);
		p.end = min_u64(v->end, end);
	}
	return p;
}

static int protect_locked(struct mm *mm, uint64_t addr, uint64_t end, int prot, bool whole, struct part *gains)
{
	int refused, err = 0;
	uint64_t to = reach(mm, addr, end, prot, whole, &refused);

	*gains = gains_pages(mm, addr, to, prot);
	if (to > addr && !(prot & PROT_READ)) /* what lives only there could not be read for write-back */
		err = mm_convert_range(mm, addr, to);
	if (!err && to > addr)
		err = protect_range(mm, addr, to, prot, whole);
	return err ? err : refused;
}

/* PROT_GROWSDOWN: the change reaches down to the start of the mapping, which must be one that grows. */
static int grow_range(struct mm *mm, uint64_t *addr, uint64_t end, int grows)
{
	struct vma *v = vma_find(&mm->index, *addr);

	if (!v || v->start >= (grows == PROT_GROWSDOWN ? end : *addr + 1))
		return -ENOMEM;
	if (grows == PROT_GROWSUP || !(v->flags & VM_GROWSDOWN)) /* nothing grows up here */
		return -EINVAL;
	*addr = v->start;
	return 0;
}

int mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot, bool whole)
{
	int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP), err = 0;
	struct part gains = {0};
	uint64_t end;

	prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
	if ((addr & mm->page_mask) || grows == (PROT_GROWSDOWN | PROT_GROWSUP))
		return -EINVAL;
	if (!len)
		return 0;
	if (!range_ok(mm, addr, &len))
		return -ENOMEM;
	if (prot & ~(PROT_ALL | PROT_SEM))
		return -EINVAL;
	metadata_refill();
	end = addr + len;
	mutex_lock(&mm->mmap_lock);
	if (grows)
		err = grow_range(mm, &addr, end, grows);
	if (!err)
		err = protect_locked(mm, addr, end, prot, whole, &gains);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	mm_populate_locked(mm, gains.start, gains.end); /* no fault later. What precedes a failure has changed */
	return err;
}

/* ---- mseal ---- */

/* Whether all of [addr, end) is mapped by us. */
static bool no_hole(struct mm *mm, uint64_t addr, uint64_t end)
{
	struct vma *v;

	while (addr < end) {
		v = vma_find(&mm->index, addr);
		if (!v || v->start > addr)
			return false;
		addr = v->end;
	}
	return true;
}

static void seal_vmas(struct mm *mm, uint64_t addr, uint64_t end)
{
	uint64_t next;

	for (struct vma *v = vma_find(&mm->index, addr); v && v->start < end; v = vma_find(&mm->index, next)) {
		uint64_t start = v->start;

		next = v->end;
		if (v->flags & VM_SEALED)
			continue;
		vma_lock_write(v);
		v->flags |= VM_SEALED;
		vma_unlock_write(v);
		vma_merge_at(mm, start);
		vma_merge_at(mm, next);
	}
}

static int seal_locked(struct mm *mm, uint64_t addr, uint64_t end, bool whole)
{
	struct vma_change c = {.set = VM_SEALED, .prot = -1, .advice = -1};
	int err;

	if (!whole && !no_hole(mm, addr, end))
		return -ENOMEM;
	if (!vma_narrow_to_changes(mm, &c, &addr, &end))
		return 0;
	err = vma_split_range(mm, addr, end);
	if (!err)
		seal_vmas(mm, addr, end);
	return err;
}

int mm_mseal(struct mm *mm, uint64_t addr, uint64_t len, unsigned long flags, bool whole)
{
	int err;

	if (flags || (addr & mm->page_mask) || !range_ok(mm, addr, &len))
		return -EINVAL;
	if (!len)
		return 0;
	metadata_refill();
	mutex_lock(&mm->mmap_lock);
	err = seal_locked(mm, addr, addr + len, whole);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	return err;
}
