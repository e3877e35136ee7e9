/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mremap of a native space: what becomes of the kernel's mapping when one grows where it is, or moves. It differs by what holds the pages:
 *
 *   shared   a new mapping of the frames, registered, takes the old one's place; its pages come back as soft faults.
 *            (The kernel's own move would drop the registration and the write protection with it.)
 *   private  the kernel moves the mapping, so that private pages go along; then it is registered again, and what must
 *            not be written without a fault is protected again.
 *   handed   the kernel's own mapping: its own mremap.
 *
 * Here nothing changes but what the kernel and the host know: VMAs are as they were before, and mremap.c moves them after. It holds mmap_lock,
 * the old VMAs and rmap_lock, all for writing, so no fault sees the one without the other.
 */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/hosted.h"
#include "madvise.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

static int kernel_mremap(const struct remap *r, int flags, uint64_t *addr)
{
	void *p = sys_mremap((void *)r->old, r->old_len, r->new_len, flags, (void *)r->new_addr);

	*addr = (uint64_t)p;
	return sys_is_err(p) ? sys_err(p) : 0;
}

/* Where pages have protections of their own: all the same one, so that it is one mapping to the kernel. */
static int make_one(struct mm *mm, const struct remap *r)
{
	return mm->mmu->ops->hide ? mm->mmu->ops->hide(mm->mmu, r->old, r->old_len, true) : 0;
}

/*
 * A mapping that the kernel has moved beside one that it can merge it with would take that one's registration along when it loses
 * its own. Mappings of which one is marked with advice that we use for nothing else stay apart.
 */
void mm_move_begin(uint64_t addr, uint64_t len)
{
	sys_madvise((void *)addr, len, MADV_SEQUENTIAL);
}

void mm_move_end(uint64_t addr, uint64_t len)
{
	sys_madvise((void *)addr, len, MADV_NORMAL);
}

/*
 * It was registered before: without that it would read zeros. When it cannot be, another thread has unmapped it meanwhile
 * without us; then it is unmapped for good.
 */
static void attach_again(struct mm *mm, const struct vma *v, uint64_t addr, uint64_t len)
{
	if (mm_attach(mm, v, addr, len))
		sys_munmap((void *)addr, len);
}

/* What was said of each VMA that moves to addr, and of what is new; guards stay behind with a mapping that stays. */
static void advise_run(struct mm *mm, const struct remap *r, uint64_t addr)
{
	for (struct vma *v = vma_find(&mm->index, r->old); v && v->start < r->old + r->old_len; v = vma_find(&mm->index, v->end)) {
		mm_advise_again(v, addr + (v->start - r->old), v->end - v->start);
		if ((v->flags & VM_GUARD) && (r->flags & MREMAP_DONTUNMAP))
			sys_madvise((void *)v->start, v->end - v->start, MADV_GUARD_REMOVE);
	}
	if (r->fresh)
		mm_advise_again(r->fresh, addr + r->old_len, r->new_len - r->old_len);
}

/* The mapping, of v and what follows it, is at addr too now. */
static int tell_host(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t addr)
{
	return hosted_map(v->as, mm->mmu, addr, vma_index_of(v, r->old), r->new_len >> FL_PAGE_SHIFT, v->flags & VM_LOCKED);
}

static int grow_at_host(struct mm *mm, const struct remap *r, const struct vma *v)
{
	uint64_t end = r->old + r->old_len, more = r->new_len - r->old_len;
	int err = hosted_map(v->as, mm->mmu, end, vma_index_of(v, end), more >> FL_PAGE_SHIFT, v->flags & VM_LOCKED);

	if (err)
		sys_munmap((void *)end, more);
	return err;
}

/* The kernel's mapping of the frames once more, registered. */
static int map_again(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	int flags = MAP_SHARED | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0) | (r->flags & MREMAP_FIXED ? MAP_FIXED : 0);
	void *at = (void *)(r->flags & REMAP_PLACED ? r->new_addr : 0);
	void *p = sys_mmap(at, r->new_len, mm_first_prot(mm, v->prot), flags, v->as->memfd,
			   (off_t)(vma_index_of(v, r->old) << FL_PAGE_SHIFT));
	int err;

	if (sys_is_err(p))
		return sys_err(p);
	err = mm_attach(mm, v, (uint64_t)p, r->new_len);
	if (!err && vma_is_at_host(v))
		err = tell_host(mm, r, v, (uint64_t)p);
	if (err)
		sys_munmap(p, r->new_len);
	else
		advise_run(mm, r, (uint64_t)p);
	*addr = (uint64_t)p;
	return err;
}

static int place_shared(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	int err;

	if (v->flags & VM_HANDED)
		return kernel_mremap(r, r->flags, addr);
	err = make_one(mm, r);
	if (err)
		return err;
	err = -ENOMEM;
	if (!(r->flags & REMAP_PLACED) && r->old_len && !kernel_mremap(r, 0, addr)) { /* grown where it is */
		attach_again(mm, v, *addr, r->new_len);
		return vma_is_at_host(v) ? grow_at_host(mm, r, v) : 0;
	}
	if (r->flags & MREMAP_MAYMOVE)
		err = map_again(mm, r, v, addr);
	if (!err && r->old_len && !(r->flags & MREMAP_DONTUNMAP)) {
		mm_begin_detach(mm);
		sys_munmap((void *)r->old, r->old_len);
		mm_end_detach(mm, r->old, r->old_len, true); /* hidden before */
		if (vma_is_at_host(v))
			hosted_unmap(mm->mmu, r->old, r->old_len >> FL_PAGE_SHIFT);
	}
	return err;
}

/* Pages of the object, at addr from pgoff on, that the move left unprotected are protected again. */
static void reprotect(struct mm *mm, struct address_space *as, uint64_t pgoff, uint64_t addr, uint64_t len)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++) {
		struct page_key k;

		if (page_state_of(page_word(p)) == PAGE_ABSENT)
			continue;
		k = page_key(p);
		if (k.as == as->id && k.index >= pgoff && k.index - pgoff < len >> FL_PAGE_SHIFT)
			mm->mmu->ops->protect(mm->mmu, addr + ((k.index - pgoff) << FL_PAGE_SHIFT), FL_PAGE_SIZE);
	}
}

/* All but private copies. */
static void drop_shown(struct mm *mm, const struct vma *v, uint64_t addr, uint64_t len)
{
	uint64_t from = addr;

	for (uint64_t at = addr; at < addr + len; at += FL_PAGE_SIZE) {
		struct page_key k = {.as = v->anon ? v->anon->id : 0, .index = v->anon_pgoff + ((at - addr) >> FL_PAGE_SHIFT)};

		if (!v->anon || page_find(k) == PFN_NONE)
			continue;
		if (at > from)
			mm->mmu->ops->zap(mm->mmu, from, at - from);
		from = at + FL_PAGE_SIZE;
	}
	if (addr + len > from)
		mm->mmu->ops->zap(mm->mmu, from, addr + len - from);
}

/*
 * What moved to `addr`: the file's pages, and the private ones too. A private page that is CLEAN, or being written to swap,
 * must not be stored to without a fault; one that is DIRTY costs a fault more. Anonymous memory is protected in one call:
 * that leaves no marks where nothing is, as it would in a mapping of a memfd.
 */
static void reprotect_all(struct mm *mm, const struct remap *r, uint64_t addr)
{
	for (struct vma *v = vma_find(&mm->index, r->old); v && v->start < r->old + r->old_len; v = vma_find(&mm->index, v->end)) {
		uint64_t to = addr + (v->start - r->old), len = v->end - v->start;

		if (vma_is_anonymous(v)) {
			mm->mmu->ops->protect(mm->mmu, to, len);
			continue;
		}
		if (as_is_hosted(v->as)) /* what of it may be written unseen is left out of the mapping, and comes back protected */
			drop_shown(mm, v, to, len);
		else
			reprotect(mm, v->as, v->pgoff, to, len);
		if (v->anon)
			reprotect(mm, v->anon, v->anon_pgoff, to, len);
	}
}

/* Moves what may be several mappings to the kernel: it refuses a range that crosses a border, so borders are searched for. */
static int move_range(uint64_t from, uint64_t to, uint64_t len, int flags)
{
	void *p = sys_mremap((void *)from, len, len, flags | MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to);
	uint64_t half = page_align_up(len / 2);
	int err;

	if (!sys_is_err(p))
		return 0;
	if (sys_err(p) != -EFAULT || len <= FL_PAGE_SIZE)
		return sys_err(p);
	err = move_range(from, to, half, flags);
	return err ? err : move_range(from + half, to + half, len - half, flags);
}

static int map_growth(const struct remap *r, const struct vma *v, uint64_t addr)
{
	bool anonymous = vma_maps_anonymous(v);
	int flags = MAP_PRIVATE | MAP_FIXED | (anonymous ? MAP_ANONYMOUS : 0) | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0);
	uint64_t pgoff = vma_index_of(v, r->old + r->old_len);
	void *p = sys_mmap((void *)addr, r->new_len - r->old_len, mm_first_prot(v->mm, v->prot), flags, anonymous ? -1 : v->as->memfd,
			   anonymous ? 0 : (off_t)(pgoff << FL_PAGE_SHIFT));

	return sys_is_err(p) ? sys_err(p) : 0;
}

static int move_to_new_place(const struct remap *r, const struct vma *v, uint64_t *addr)
{
	void *p = (void *)r->new_addr;
	int err;

	if (!(r->flags & MREMAP_FIXED))
		p = sys_mmap((void *)(r->flags & REMAP_PLACED ? r->new_addr : 0), r->new_len, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_err(p))
		return sys_err(p);
	err = move_range(r->old, (uint64_t)p, r->old_len, r->flags & MREMAP_DONTUNMAP);
	if (!err && r->new_len > r->old_len)
		err = map_growth(r, v, (uint64_t)p + r->old_len);
	if (err && !(r->flags & MREMAP_FIXED))
		sys_munmap(p, r->new_len);
	*addr = (uint64_t)p;
	return err;
}

/*
 * What is one mapping to us can be several to the kernel, which does not merge all that has come apart. Then the last of
 * them grows where it is, or all move one by one.
 */
static int remap_pieces(const struct remap *r, const struct vma *v, uint64_t *addr)
{
	uint64_t last = r->old + r->old_len - FL_PAGE_SIZE, grows = r->new_len - r->old_len;

	if (!(r->flags & REMAP_PLACED) && !sys_is_err(sys_mremap((void *)last, FL_PAGE_SIZE, FL_PAGE_SIZE + grows, 0, NULL))) {
		*addr = r->old;
		return 0;
	}
	return r->flags & MREMAP_MAYMOVE ? move_to_new_place(r, v, addr) : -ENOMEM;
}

static int place_private(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	int err = make_one(mm, r);

	if (err)
		return err;
	mm_move_begin(r->old, r->old_len);
	err = kernel_mremap(r, r->flags, addr);
	if (err == -EFAULT)
		err = remap_pieces(r, v, addr);
	if (err) {
		mm_move_end(r->old, r->old_len);
		return err;
	}
	attach_again(mm, v, *addr, r->new_len);
	mm_move_end(*addr, r->new_len);
	if (r->left) {
		attach_again(mm, v, r->old, r->old_len);
		mm_move_end(r->old, r->old_len);
	}
	if (*addr != r->old && !mm->mmu->hides)
		reprotect_all(mm, r, *addr);
	return 0;
}

static bool moves_pages(const struct vma *v)
{
	return !(v->flags & (VM_SHARED | VM_HANDED));
}

int native_remap(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	return moves_pages(v) ? place_private(mm, r, v, addr) : place_shared(mm, r, v, addr);
}
