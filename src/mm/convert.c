/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file changes from pool to shmem frames, in place, while the program runs: because a page could be mapped twice, or
 * its bytes are changed by other means. Nothing is read or written back; what is in memory is moved, DIRTY or CLEAN as it is.
 *
 *   every mapping of the file is locked, and its invalidate_lock held; huge pages leave memory, other pages of it do not
 *   each mapping       the kernel moves its pages aside, and leaves it where it is: an access faults, and waits for the lock
 *                      the memfd is mapped in its place; it has no size yet, so an access still faults
 *                      faults come to us; the memfd has its size
 *   each page          copied into the memfd, and given up where it was
 *
 * A page that is pinned is mapped again at once: a system call that waits for its data has yet to store it there. Pins are
 * waited for a while before, for those who have hold of the page itself (O_DIRECT).
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/filemap.h"
#include "cache/frames.h"
#include "cache/huge.h"
#include "cache/io.h"
#include "cache/truncate.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/own.h"
#include "util/sys.h"

#define PATIENCE 100 /* turns to wait for pins */
#define PAUSE_NS 500000

static bool concerns(const struct vma *v, const struct address_space *as)
{
	return v->as == as && !(v->flags & VM_HANDED);
}

static int for_each_mapping(struct mm *mm, struct address_space *as, int (*fn)(struct vma *v, int memfd), int memfd)
{
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, 0); v && !err; v = vma_find(&mm->index, v->end))
		if (concerns(v, as))
			err = fn(v, memfd);
	return err;
}

static int lock_one(struct vma *v, int memfd)
{
	(void)memfd;
	vma_lock_write(v);
	return 0;
}

static int unlock_one(struct vma *v, int memfd)
{
	(void)memfd;
	vma_unlock_write(v);
	return 0;
}

/* Calls fn for each page of the object in memory, locked. */
static bool for_each_page(struct address_space *as, bool (*fn)(struct address_space *as, pfn_t pfn, void *arg), void *arg)
{
	pfn_t high = page_table_high();
	bool go_on = true;

	for (pfn_t p = 0; p < high && go_on; p++) {
		if (page_state_of(page_word(p)) == PAGE_ABSENT || page_key(p).as != as->id)
			continue;
		page_lock(p); /* who is taking it out of memory finishes first */
		if (page_state_of(page_word(p)) != PAGE_ABSENT && page_key(p).as == as->id)
			go_on = fn(as, p, arg);
		page_unlock(p);
	}
	return go_on;
}

static bool is_unpinned(struct address_space *as, pfn_t pfn, void *arg)
{
	(void)as, (void)arg;
	return page_pins_of(page_word(pfn)) == 0;
}

static void wait_for_pins(struct address_space *as)
{
	for (int i = 0; i < PATIENCE && !for_each_page(as, is_unpinned, NULL); i++)
		sys_nanosleep(PAUSE_NS);
}

/* ---- The mappings: where their pages went is kept in vma->aside ---- */

/* What moves is marked, what stays is not: next to either may be a mapping that must not lose its registration. */
static int set_aside(struct vma *v, int memfd)
{
	uint64_t len = v->end - v->start;
	void *p;

	(void)memfd;
	mm_move_begin(v->start, len);
	p = sys_mremap((void *)v->start, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, own_place(len));
	mm_move_end(v->start, len);
	if (sys_is_err(p))
		return sys_err(p);
	v->aside = (uint64_t)p;
	return 0;
}

static int put_back(struct vma *v, int memfd)
{
	uint64_t len = v->end - v->start;

	(void)memfd;
	if (!v->aside)
		return 0;
	if (!sys_is_err(sys_mremap((void *)v->aside, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)v->start))) {
		mm_attach(v->mm, v, v->start, len);
		v->mm->mmu->ops->protect(v->mm->mmu, v->start, len);
		mm_move_end(v->start, len);
	}
	v->aside = 0;
	return 0;
}

static int map_frames(struct vma *v, int memfd)
{
	int flags = MAP_SHARED | MAP_FIXED | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0);
	uint64_t len = v->end - v->start;
	void *p = sys_mmap((void *)v->start, len, v->prot, flags, memfd, (off_t)(v->pgoff << FL_PAGE_SHIFT));
	int err = sys_is_err(p) ? sys_err(p) : v->mm->mmu->ops->attach(v->mm->mmu, v->start, len, 0);

	fl_assert(err == 0); /* in the place of a mapping of the same size: the kernel needs nothing that was not there */
	mm_advise_again(v, v->start, len);
	return 0;
}

static int drop_aside(struct vma *v, int memfd)
{
	(void)memfd;
	sys_munmap((void *)v->aside, v->end - v->start);
	v->aside = 0;
	return 0;
}

/* ---- The pages ---- */

struct move {
	struct mm *mm;
	int memfd;
};

static struct vma *mapping_of(struct mm *mm, struct address_space *as, uint64_t index)
{
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (concerns(v, as) && index >= v->pgoff && index - v->pgoff < vma_pages(v))
			return v;
	return NULL;
}

static bool move_page(struct address_space *as, pfn_t pfn, void *arg)
{
	const struct move *m = arg;
	uint64_t index = page_key(pfn).index;
	struct vma *v = mapping_of(m->mm, as, index);
	uint64_t in_vma = v ? (index - v->pgoff) << FL_PAGE_SHIFT : 0;
	ssize_t n;

	fl_assert(v); /* it lives where it is mapped */
	n = sys_pwrite(m->memfd, (void *)(v->aside + in_vma), FL_PAGE_SIZE, (off_t)(index << FL_PAGE_SHIFT));
	fl_assert(n == (ssize_t)FL_PAGE_SIZE);
	sys_madvise((void *)(v->aside + in_vma), FL_PAGE_SIZE, MADV_DONTNEED);
	if (page_pins_of(page_word(pfn)))
		m->mm->mmu->ops->map(m->mm->mmu, v->start + in_vma, FL_PAGE_SIZE, page_state_of(page_word(pfn)) == PAGE_DIRTY ? 0 : MMU_WP);
	return true;
}

/* ---- All of it ---- */

static int move_mappings(struct mm *mm, struct address_space *as, int memfd)
{
	int err = for_each_mapping(mm, as, set_aside, memfd);

	if (err) {
		for_each_mapping(mm, as, put_back, memfd);
		return err;
	}
	for_each_mapping(mm, as, map_frames, memfd);
	return 0;
}

static int convert(struct mm *mm, struct address_space *as, int memfd)
{
	struct move m = {.mm = mm, .memfd = memfd};
	int err;

	wait_for_pins(as);
	huge_drop_range(as, 0, PAGE_INDEX_MAX);
	write_lock(&rmap_lock);
	err = move_mappings(mm, as, memfd);
	write_unlock(&rmap_lock);
	if (err)
		return err;
	shmem_frames_show(memfd);
	for_each_page(as, move_page, &m);
	address_space_set_shmem(as, memfd);
	for_each_mapping(mm, as, drop_aside, memfd);
	return 0;
}

int mm_convert_locked(struct mm *mm, struct address_space *as)
{
	int memfd, err;

	if (!as_is_pool(as))
		return 0;
	memfd = shmem_frames_create("file");
	if (memfd < 0)
		return memfd;
	shmem_frames_hide(memfd);
	for_each_mapping(mm, as, lock_one, memfd);
	write_lock(&as->invalidate_lock);
	io_drain(as);
	atomic_store(&as->converting, true);
	err = convert(mm, as, memfd);
	atomic_store(&as->converting, false);
	write_unlock(&as->invalidate_lock);
	for_each_mapping(mm, as, unlock_one, memfd);
	if (err)
		fd_close(memfd);
	return err;
}

/* The space that maps it; any, when none does. */
static struct mm *space_of(const struct address_space *as)
{
	struct mm *mm, *first = mm_space(0);

	for (int i = 0; (mm = mm_space(i)); i++)
		if (mm->mmu == as->pool_mmu)
			return mm;
	return first;
}

int mm_make_shared(struct address_space *as)
{
	int err = 0;

	while (!err && as_is_pool(as)) {
		struct mm *mm = space_of(as);

		mutex_lock(&mm->mmap_lock);
		if (mm == space_of(as))
			err = mm_convert_locked(mm, as);
		mutex_unlock(&mm->mmap_lock);
	}
	return err;
}

int mm_convert_range(struct mm *mm, uint64_t start, uint64_t end)
{
	int err = 0;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end && !err; v = vma_find(&mm->index, v->end))
		if (as_is_pool(v->as) && !(v->flags & VM_HANDED))
			err = mm_convert_locked(mm, v->as);
	return err;
}

/* ---- Pages that go with their mapping ---- */

/* The first pool file in the range with stores that are not written back: they would be lost. VMAs are locked. */
static struct address_space *dirty_pool(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end))
		if (as_is_pool(v->as) && !(v->flags & VM_HANDED) && atomic_load(&v->as->nr_dirty))
			return v->as;
	return NULL;
}

/* All are clean: the memory goes with one call, before what is known of it. */
static void forget_pages(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end))
		if (as_is_pool(v->as) && !(v->flags & VM_HANDED)) {
			io_drain_range(v->as, v->pgoff, v->pgoff + vma_pages(v) - 1); /* what is still to come in would be mapped again */
			mm->mmu->ops->zap(mm->mmu, v->start, v->end - v->start);
			forget_zapped_pages(v->as, v->pgoff, v->pgoff + vma_pages(v) - 1);
		}
}

int vma_lock_range_to_unmap(struct mm *mm, uint64_t start, uint64_t end)
{
	struct address_space *as;

	for (;;) {
		vma_lock_range(mm, start, end);
		as = dirty_pool(mm, start, end);
		if (!as)
			break;
		vma_unlock_range(mm, start, end);
		int err = mm_convert_locked(mm, as);

		if (err)
			return err;
	}
	forget_pages(mm, start, end);
	return 0;
}
