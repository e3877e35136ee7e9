/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places that are not ours, in a native space. The program's own calls there go to the kernel while `foreign_lock` is held for reading, so that
 * none of our mappings comes to be there meanwhile. A mapping of somebody else's that takes the place of ours (MAP_FIXED, or a move) is made
 * here: ours go as in munmap, under mmap_lock, with their VMAs and rmap_lock for writing.
 */
#include <errno.h>
#include <sys/mman.h>

#include "mm.h"
#include "util/compiler.h"
#include "util/own.h"
#include "util/sys.h"

#define NOT_KEPT (VM_SHARED | VM_HANDED | VM_GUARD | VM_GROWSDOWN)

bool mm_begin_foreign(struct mm *mm, uint64_t addr, uint64_t len)
{
	read_lock(&mm->foreign_lock);
	if (!mm_overlaps(mm, addr, len))
		return true;
	read_unlock(&mm->foreign_lock);
	return false;
}

void mm_end_foreign(struct mm *mm)
{
	read_unlock(&mm->foreign_lock);
}

static void *map_foreign(const struct mmap_request *rq)
{
	if (rq->from)
		return sys_mremap((void *)rq->from, rq->len, rq->len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)rq->addr);
	return sys_mmap((void *)rq->addr, rq->len, rq->prot, rq->flags, rq->fd, (off_t)rq->offset);
}

/* What the kernel refuses for other reasons it refuses for these: it is asked elsewhere. */
static int refuse_over_sealed(const struct mmap_request *rq)
{
	void *p;

	if (rq->from || (rq->flags & MAP_HUGETLB))
		return -EPERM;
	p = sys_mmap(own_place(rq->len), rq->len, rq->prot, rq->flags & ~(MAP_FIXED | MAP_POPULATE | MAP_LOCKED), rq->fd,
		     (off_t)rq->offset);
	if (sys_is_err(p))
		return sys_err(p);
	sys_munmap(p, rq->len);
	return -EPERM;
}

static bool is_private_memory(struct mm *mm, uint64_t start, uint64_t end)
{
	const struct vma *v;

	for (uint64_t at = start; at < end; at = v->end) {
		v = vma_find(&mm->index, at);
		if (!v || v->start > at || !vma_is_anonymous(v) || v->prot != (PROT_READ | PROT_WRITE) || (v->flags & NOT_KEPT))
			return false;
	}
	return true;
}

static int copy_ours(struct mm *mm, const struct mmap_request *rq, uint64_t end)
{
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, rq->addr); v && v->start < end && !err; v = vma_find(&mm->index, v->end))
		if (v->anon)
			err = mm_copy_private(v, rq->from + (v->start - rq->addr));
	return err;
}

/* VMAs are split. With them locked nothing is stored there before it has been moved. */
static int lock_ours(struct mm *mm, const struct mmap_request *rq, uint64_t end)
{
	int err;

	if (rq->keeps && !is_private_memory(mm, rq->addr, end))
		return -EINVAL;
	err = vma_lock_range_to_unmap(mm, rq->addr, end);
	if (err || !rq->keeps)
		return err;
	err = copy_ours(mm, rq, end);
	if (err)
		vma_unlock_range(mm, rq->addr, end);
	return err;
}

/* A mapping of somebody else's in the place of ours. A move that fails may have made room for itself before: then there is nothing, for sure. */
int mm_mmap_foreign(struct mm *mm, const struct mmap_request *rq, uint64_t *out)
{
	uint64_t end = rq->addr + page_align_up(rq->len);
	struct vma *replaced = NULL;
	bool sealed, gone;
	void *p;
	int err;

	if ((rq->addr & FL_PAGE_MASK) || !rq->len || end <= rq->addr)
		return -EINVAL;
	mutex_lock(&mm->mmap_lock);
	sealed = mm_any_sealed(mm, rq->addr, end);
	err = sealed ? refuse_over_sealed(rq) : vma_split_to_unmap(mm, rq->addr, end);
	if (sealed && err == -EPERM)
		mm_refuse_sealed(mm, rq->addr, end);
	if (!err)
		err = lock_ours(mm, rq, end);
	if (!err) {
		write_lock(&rmap_lock);
		mm_begin_detach(mm);
		p = map_foreign(rq);
		err = sys_is_err(p) ? sys_err(p) : 0;
		sealed = rq->from && err == -EPERM; /* what is not ours: nothing was done */
		gone = !err || (rq->from && !sealed);
		mm_end_detach(mm, rq->addr, end - rq->addr, gone);
		if (err && gone)
			sys_munmap((void *)rq->addr, rq->len);
		if (gone)
			replaced = vma_detach_range(mm, rq->addr, end);
		write_unlock(&rmap_lock);
		if (err)
			vma_unlock_range(mm, rq->addr, end);
	}
	if (err && !sealed) /* what was divided for it is one again */
		vma_merge_at(mm, rq->addr);
	if (err)
		vma_merge_at(mm, end);
	mutex_unlock(&mm->mmap_lock);
	*out = rq->addr;
	vma_dispose(replaced);
	return err;
}
