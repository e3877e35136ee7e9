/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's mapping for a new one of ours, in a native space.
 *
 * get_unmapped_area is the kernel's own: it chooses the address and sees to layout, hints and alignment; what it maps
 * is the memfd that holds the object's frames, or anonymous memory. A mapping that takes the place of another
 * (MAP_FIXED) is made inaccessible until its faults come to us: in between, an access would find a hole and read zeros.
 *
 * The caller (place() in mmap.c) holds mmap_lock, the VMAs in the way and rmap_lock, and has the VMAs follow: after an error too, where *addr
 * says that what was there before has gone.
 */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/huge.h"
#include "mm.h"
#include "util/sys.h"

#define KERNEL_FLAGS (MAP_NORESERVE | MAP_32BIT | MAP_STACK | MAP_GROWSDOWN | MAP_FIXED | MAP_FIXED_NOREPLACE)

/* The kernel's own mapping of the file, or of what Faultline has no frames for. */
static void *map_handed(const struct mapping *m)
{
	const struct mmap_request *rq = m->rq;

	return sys_mmap((void *)rq->addr, m->len, rq->prot, rq->flags & ~MAP_POPULATE, rq->fd, (off_t)rq->offset);
}

/* Whether an address suits huge pages: those of the file are those of the address space too. */
static uint64_t off_by(const struct mapping *m, uint64_t addr)
{
	return (addr - (m->vma->pgoff << FL_PAGE_SHIFT)) % HUGE_BYTES;
}

static bool wants_huge(const struct mapping *m)
{
	return huge_ahead() && !(m->vma->flags & VM_MAYWRITE) && m->len >= 2 * HUGE_BYTES && !m->rq->addr &&
	       !(m->rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT));
}

/* The address that is asked for, or hinted at: round_hint_to_min() of Linux. */
static void *asked_for(const struct mapping *m)
{
	uint64_t addr = m->rq->addr, min = m->vma->mm->limits.min_addr;

	return (void *)(addr && addr < min ? min : addr);
}

/* Where the kernel has room, but at an address that suits huge pages. */
static void *map_pool(const struct mapping *m, int prot, int flags)
{
	void *p = sys_mmap(asked_for(m), m->len, prot, flags, -1, 0), *larger;
	uint64_t skip;

	if (sys_is_err(p) || !wants_huge(m) || !off_by(m, (uint64_t)p))
		return p;
	sys_munmap(p, m->len);
	larger = sys_mmap(NULL, m->len + HUGE_BYTES, prot, flags, -1, 0);
	if (sys_is_err(larger))
		return sys_mmap(NULL, m->len, prot, flags, -1, 0);
	skip = (HUGE_BYTES - off_by(m, (uint64_t)larger)) % HUGE_BYTES;
	if (skip)
		sys_munmap(larger, skip);
	sys_munmap((char *)larger + skip + m->len, HUGE_BYTES - skip);
	return (char *)larger + skip;
}

static void *map_frames(const struct mapping *m, int prot)
{
	const struct vma *v = m->vma;
	int flags = (m->rq->flags & KERNEL_FLAGS) | (m->shared ? MAP_SHARED : MAP_PRIVATE);

	/* What has been written would stay a mapping of its own, being accounted for; and grow.c grows those that grow. */
	if (v->mm->mmu->hides)
		flags = (flags & ~MAP_GROWSDOWN) | MAP_NORESERVE;
	if (as_is_pool(v->as))
		return map_pool(m, prot, (flags & ~MAP_SHARED) | MAP_PRIVATE | MAP_NORESERVE | MAP_ANONYMOUS);
	if (vma_maps_anonymous(v))
		return sys_mmap(asked_for(m), m->len, prot, flags | MAP_ANONYMOUS, -1, 0);
	return sys_mmap(asked_for(m), m->len, prot, flags, v->as->memfd, (off_t)(v->pgoff << FL_PAGE_SHIFT));
}

static void *map_kernel(const struct mapping *m, int prot)
{
	return m->vma->flags & VM_HANDED ? map_handed(m) : map_frames(m, prot);
}

static void *map_over(struct mm *mm, const struct mapping *m)
{
	void *p;

	mm_begin_detach(mm);
	p = map_kernel(m, PROT_NONE);
	mm_end_detach(mm, m->rq->addr, m->len, !sys_is_err(p));
	return p;
}

static int attach_frames(struct mm *mm, const struct mapping *m, uint64_t addr, int prot)
{
	int err = mm_attach(mm, m->vma, addr, m->len);

	if (!err && prot != m->vma->prot && !mm->mmu->hides)
		err = sys_mprotect((void *)addr, m->len, m->vma->prot);
	if (!err && (m->vma->flags & VM_DROPPABLE))
		mm_advise_again(m->vma, addr, m->len);
	return err;
}

int native_map(struct mm *mm, const struct mapping *m, uint64_t *addr)
{
	const struct mmap_request *rq = m->rq;
	bool handed = m->vma->flags & VM_HANDED;
	bool fixed = (rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
	int prot = fixed ? PROT_NONE : mm_first_prot(mm, m->vma->prot), err;
	void *p = fixed ? map_over(mm, m) : map_kernel(m, prot);

	if (sys_is_err(p))
		return sys_err(p);
	if ((rq->flags & MAP_FIXED_NOREPLACE) && (uint64_t)p != rq->addr) { /* a kernel before 4.17 took it as a hint */
		sys_munmap(p, m->len);
		return -EEXIST;
	}
	err = handed ? 0 : attach_frames(mm, m, (uint64_t)p, prot);
	if (handed && !(rq->flags & MAP_LOCKED)) /* the kernel may know nothing of mlockall() */
		mm_lock_as(m->vma, (uint64_t)p, m->len);
	if (err)
		sys_munmap(p, m->len);
	*addr = (uint64_t)p;
	return err;
}
