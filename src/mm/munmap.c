/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/reclaim.h"
#include "cache/writeback.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "vma_part.h"

/* Where the run of VMAs without a hole between them ends that starts with v. */
static uint64_t run_end(struct mm *mm, const struct vma *v, uint64_t end)
{
	uint64_t at = v->end;

	while (at < end && (v = vma_find(&mm->index, at)) && v->start == at)
		at = v->end;
	return at;
}

static int unmap_kernel(struct mm *mm, uint64_t start, uint64_t end)
{
	int err;

	mm_begin_detach(mm);
	err = sys_munmap((void *)start, end - start);
	mm_end_detach(mm, start, end - start, !err);
	return err;
}

/* Ours, run by run: what lies between is not ours. *done: how far it came. Caller holds mmap_lock and the VMAs, split. */
static int unmap_ours(struct mm *mm, uint64_t start, uint64_t end, uint64_t *done)
{
	struct vma *v;

	for (*done = start; (v = vma_find(&mm->index, *done)) && v->start < end;) {
		uint64_t to = run_end(mm, v, end);
		int err = unmap_kernel(mm, v->start, to);

		if (err)
			return err;
		*done = to;
	}
	*done = end;
	return 0;
}

static int unmap_all(struct mm *mm, uint64_t start, uint64_t end, uint64_t *done)
{
	int err = unmap_kernel(mm, start, end);

	*done = err ? start : end;
	return err;
}

/* Where there is no room for it, the place is free for a moment. */
static int unmap_for_move(struct mm *mm, uint64_t start, uint64_t end, uint64_t *done)
{
	void *p;

	mm_begin_detach(mm);
	p = sys_mmap((void *)start, end - start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	mm_end_detach(mm, start, end - start, !sys_is_err(p));
	if (sys_is_err(p))
		return unmap_all(mm, start, end, done);
	*done = end;
	return 0;
}

int native_unmap(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, uint64_t *done)
{
	if (what == UNMAP_FOR_MOVE)
		return unmap_for_move(mm, start, end, done);
	return what == UNMAP_ALL ? unmap_all(mm, start, end, done) : unmap_ours(mm, start, end, done);
}

/* Caller holds mmap_lock and has split the VMAs at both ends. What is unmapped is put on *gone, to be disposed of. */
int mm_unmap_split(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, struct vma **gone)
{
	uint64_t done;
	int err = vma_lock_range_to_unmap(mm, start, end);

	if (!err && mm->arch->vacate) {
		err = mm->arch->vacate(mm, start, end);
		if (err)
			vma_unlock_range(mm, start, end);
	}
	if (err)
		return err;
	write_lock(&rmap_lock);
	err = mm->arch->unmap(mm, start, end, what, &done);
	*gone = vma_detach_range(mm, start, done);
	write_unlock(&rmap_lock);
	if (err)
		vma_unlock_range(mm, done, end);
	return err;
}

static int munmap_locked(struct mm *mm, uint64_t start, uint64_t end, bool whole, struct vma **gone)
{
	int err = mm_refuse_sealed(mm, start, end);

	if (err)
		return err;
	err = vma_split_to_unmap(mm, start, end);
	if (!err)
		err = mm_unmap_split(mm, start, end, whole ? UNMAP_ALL : UNMAP_OURS, gone);
	if (err && err != -EPERM) /* a seal on what is not ours: the start was cut before, on Linux too */
		vma_merge_at(mm, start);
	if (err)
		vma_merge_at(mm, end);
	return err;
}

/* Stores to files on pool frames, before the locks are taken; what fails to be written changes its frames and is kept. */
static void write_back_pool(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma_part p;
	bool hole = false;

	for (uint64_t at = start; at < end && vma_next_part(mm, at, end, &p, &hole); at = p.end) {
		if (as_is_pool(p.as) && !(p.flags & VM_HANDED))
			writeback_all(p.as);
		address_space_put(p.as);
	}
}

int mm_munmap(struct mm *mm, uint64_t addr, uint64_t len, bool whole)
{
	struct vma *gone = NULL;
	int err;

	if (!len || !range_ok(mm, addr, &len) || addr > mm->task_size || len > mm->task_size - addr)
		return -EINVAL;
	metadata_refill();
	write_back_pool(mm, addr, addr + len);
	mutex_lock(&mm->mmap_lock);
	err = munmap_locked(mm, addr, addr + len, whole, &gone);
	mutex_unlock(&mm->mmap_lock);
	mm_check(mm);
	vma_dispose(gone);
	return err;
}
