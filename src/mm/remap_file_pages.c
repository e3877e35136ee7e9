/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remap_file_pages: as the kernel has done it since 4.0, a mapping of its own for the range. What is mapped there is found first, under
 * mmap_lock; then it is a call of mmap with that object, and what has changed in between it replaces.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"

static bool is_of_same_kind(struct mm *mm, struct vma *u, struct vma *v)
{
	if (u->end != v->start || v->as != u->as || ((v->flags ^ u->flags) & ~VM_GUARDS) || v->prot != u->prot || v->advice != u->advice)
		return false;
	return vma_continues(u, v) || vma_was_guarded(mm, u) == vma_was_guarded(mm, v);
}

/* Whether mappings that continue v, in whatever order of the file, cover the range. Caller holds mmap_lock. */
static bool same_file(struct mm *mm, struct vma *v, uint64_t end)
{
	while (v->end < end) {
		struct vma *next = vma_find(&mm->index, v->end);

		if (!next || !is_of_same_kind(mm, v, next))
			return false;
		v = next;
	}
	return true;
}

/* To Linux, a mapping of a file that is not open for writing is not a shared one. */
static bool is_shared_writable(const struct vma *v)
{
	return (v->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

/* Finds what is mapped there; its object, with a reference, and protection go into the call. */
static int mapped_there(struct mm *mm, struct mapping *m, struct mmap_request *rq)
{
	struct vma *v;
	int err = -EINVAL;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, rq->addr);
	if (v && v->start <= rq->addr && is_shared_writable(v) && same_file(mm, v, rq->addr + rq->len)) {
		m->as = v->as;
		address_space_hold(m->as);
		m->access = O_RDWR;
		rq->prot = v->prot;
		rq->flags |= v->flags & VM_LOCKED ? MAP_LOCKED : 0;
		rq->fd = v->flags & VM_HANDED ? file_store_fd(v->as->store) : -1; /* only the kernel's own mapping asks for it */
		err = 0;
	}
	mutex_unlock(&mm->mmap_lock);
	return err;
}

int mm_remap_file_pages(struct mm *mm, uint64_t addr, uint64_t len, int prot, uint64_t pgoff, int flags)
{
	unsigned shift = mm_page_shift(mm);
	struct mmap_request rq = {.addr = mm_align_down(mm, addr), .len = mm_align_down(mm, len), .offset = pgoff << shift};
	struct mapping m = {.rq = &rq, .len = rq.len, .shared = true, .max_prot = PROT_ALL};
	uint64_t end;
	int err;

	if (prot || __builtin_add_overflow(rq.addr, rq.len, &end) || end <= rq.addr || pgoff + (rq.len >> shift) < pgoff)
		return -EINVAL;
	rq.flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE | (flags & MAP_NONBLOCK);
	metadata_refill();
	err = mapped_there(mm, &m, &rq);
	if (!err && pgoff + (rq.len >> shift) > (PAGE_INDEX_MAX + 1) >> (shift - FL_PAGE_SHIFT)) {
		address_space_put(m.as);
		err = -EOVERFLOW;
	}
	return err ? err : mm_map_object(mm, &m, &addr);
}
