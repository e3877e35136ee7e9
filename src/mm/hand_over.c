/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing over: the mappings of a file become plain kernel mappings of it, in place, while the program runs. What was
 * stored goes to the file first; while that is so, accesses wait for the VMA's lock.
 *
 * Private mappings go along, with their private pages, since Linux shows in them what is stored through shared ones. They
 * are prepared beside the old mapping (vma->aside), which the kernel then replaces in one step; one that cannot be
 * prepared stays ours.
 *
 * Pinned pages cannot be protected, so they go to the file last, when nobody can store to them any more:
 *
 *   pool frames        the file changes to shmem frames first, which waits for what the kernel has hold of (convert.c)
 *   shared mappings    are taken from the frames: an access faults, and waits for the VMA
 *   the frames         are sealed, which the kernel refuses as long as it has hold of a page: O_DIRECT until the device is done
 *   pinned pages       are written once more
 *
 * In between a system call finds nothing where it has pinned memory: EFAULT. Who makes calls for the program makes them again (mm_moves()).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "cache/buffer.h"
#include "cache/frames.h"
#include "cache/io.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "madvise.h"
#include "mm.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/own.h"

#define PAUSE_NS 500000
#define ENDS_HELD_NS 1000000000ull /* what ends may have registered its buffers for good */

static bool concerns(const struct vma *v, const struct address_space *as)
{
	return v->as == as && !(v->flags & VM_HANDED);
}

/* Calls fn for each mapping concerned, in all spaces, by address. Caller holds every mmap_lock. First error. */
static int for_each_concerned(struct address_space *as, int (*fn)(struct vma *v, int memfd), int memfd)
{
	struct mm *mm;
	int err = 0;

	for (int i = 0; (mm = mm_space(i)) && !err; i++)
		for (struct vma *v = vma_find(&mm->index, 0); v && !err; v = vma_find(&mm->index, v->end))
			if (concerns(v, as))
				err = fn(v, memfd);
	return err;
}

static int lock_one(struct vma *v, int memfd)
{
	(void)memfd;
	vma_lock_write(v);
	v->aside = 0;
	return 0;
}

static int unlock_one(struct vma *v, int memfd)
{
	(void)memfd;
	vma_unlock_write(v);
	return 0;
}

/* ---- Private mappings, prepared ---- */

static int kernel_copy(void *to, uint64_t from)
{
	ssize_t n = sys_copy_from(to, (void *)from, FL_PAGE_SIZE);

	return n == (ssize_t)FL_PAGE_SIZE ? 0 : n < 0 ? (int)n : -EFAULT;
}

/* Stores to the page wait for the VMA from now on, so what is copied is all there will be. */
static int copy_page(struct vma *v, pfn_t pfn, uint64_t aside)
{
	struct page_key k = page_key(pfn);
	uint64_t in_vma = (k.index - v->anon_pgoff) << FL_PAGE_SHIFT;
	int err;

	if (page_state_of(page_word(pfn)) == PAGE_ABSENT || k.as != v->anon->id || k.index < v->anon_pgoff || in_vma >= v->end - v->start)
		return 0;
	do {
		err = v->mm->mmu->ops->protect(v->mm->mmu, v->start + in_vma, FL_PAGE_SIZE);
		if (!err)
			err = kernel_copy((void *)(aside + in_vma), v->start + in_vma);
	} while (err == -EFAULT && v->mm->mmu->hides); /* hidden again meanwhile */
	return err;
}

static int copy_resident(struct vma *v, uint64_t aside)
{
	pfn_t high = page_table_high();
	int err = 0;

	for (pfn_t p = 0; p < high && !err; p++) {
		if (page_state_of(page_word(p)) == PAGE_ABSENT || page_key(p).as != v->anon->id)
			continue;
		page_lock(p);
		err = copy_page(v, p, aside);
		page_unlock(p);
	}
	return err;
}

/* What left memory meanwhile is in swap by now; nothing comes back while the VMA is locked. */
static int copy_swapped(struct vma *v, uint64_t aside)
{
	struct store *swap = v->anon->store;
	int err = 0;

	for (uint64_t i = 0; i < vma_pages(v) && atomic_load(&v->anon->nr_swapped) && !err; i++) {
		uint64_t index = v->anon_pgoff + i;
		ssize_t n = FL_PAGE_SIZE;

		if (anon_is_swapped(v->anon, index) && page_find((struct page_key){.as = v->anon->id, .index = index}) == PFN_NONE)
			n = swap->ops->read(swap, (void *)(aside + (i << FL_PAGE_SHIFT)), FL_PAGE_SIZE, index << FL_PAGE_SHIFT);
		err = n < 0 ? (int)n : 0;
	}
	return err;
}

/* The kernel reads the pages, which the program may have made unreadable. */
int mm_copy_private(struct vma *v, uint64_t aside)
{
	int prot = v->prot, err = 0;

	v->prot |= PROT_READ;
	if (v->prot != prot && !v->mm->mmu->hides)
		err = sys_mprotect((void *)v->start, v->end - v->start, v->prot);
	if (!err)
		err = copy_resident(v, aside);
	v->prot = prot;
	return err ? err : copy_swapped(v, aside);
}

static int prepare_private(struct vma *v, int memfd)
{
	uint64_t len = v->end - v->start;
	int flags = MAP_PRIVATE | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0), err = 0;
	void *p;

	(void)memfd;
	if (v->flags & VM_SHARED)
		return 0;
	p = sys_mmap(own_place(len), len, PROT_READ | PROT_WRITE, flags, file_store_fd(v->as->store), (off_t)(v->pgoff << FL_PAGE_SHIFT));
	if (sys_is_err(p))
		return 0;
	if (v->anon)
		err = mm_copy_private(v, (uint64_t)p);
	if (!err)
		err = sys_mprotect(p, len, v->prot);
	if (!err && (v->flags & VM_GUARD)) /* no moment without it */
		err = sys_madvise(p, len, MADV_GUARD_INSTALL);
	if (err)
		sys_munmap(p, len);
	else
		v->aside = (uint64_t)p;
	return 0;
}

static void forget_private(struct vma *v)
{
	struct address_space *anon = v->anon;

	if (!anon)
		return;
	truncate_pages(anon, v->anon_pgoff, v->anon_pgoff + vma_pages(v) - 1);
	atomic_store(&v->anon, NULL);
	v->anon_pgoff = 0;
	address_space_put_anon(anon);
}

/* ---- Pages that the kernel has hold of ---- */

static bool any_stored_to(const struct address_space *as)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++)
		if (mm_may_be_stored_to(p) && page_key(p).as == as->id)
			return true;
	return false;
}

/* To have its memfd sealed, no mapping may stay that needs more pages in it. */
static int is_ready(struct vma *v, int memfd)
{
	(void)memfd;
	return (v->flags & VM_SHARED) || v->aside ? 0 : -EBUSY;
}

static int take_from_frames(struct vma *v, int empty)
{
	uint64_t len = v->end - v->start;
	void *p;

	if (!(v->flags & VM_SHARED))
		return 0;
	mm_begin_detach(v->mm);
	p = sys_mmap((void *)v->start, len, mm_first_prot(v->mm, v->prot), MAP_SHARED | MAP_FIXED | MAP_NORESERVE, empty,
		     (off_t)(v->pgoff << FL_PAGE_SHIFT));
	mm_end_detach(v->mm, v->start, len, !sys_is_err(p));
	return sys_is_err(p) ? sys_err(p) : v->mm->mmu->ops->attach(v->mm->mmu, v->start, len, 0);
}

/* As mm_convert_locked(): to what is mapped meanwhile accesses fault from the first moment on. Whether the frames are sealed. */
static bool wait_for_kernel(struct address_space *as, uint64_t held_ns)
{
	int empty = shmem_frames_create("empty"), err;
	uint64_t until = now_ns() + held_ns;

	if (empty < 0)
		return false;
	shmem_frames_hide(empty);
	mm_begin_move();
	err = for_each_concerned(as, take_from_frames, empty);
	if (!err) {
		shmem_frames_show(empty);
		while ((err = shmem_frames_seal(as->memfd)) == -EBUSY && now_ns() < until)
			sys_nanosleep(PAUSE_NS);
	}
	fd_close(empty);
	return !err;
}

static int write_page(struct address_space *as, uint64_t index, void *buf)
{
	uint64_t off = index << FL_PAGE_SHIFT, size = 0;
	int err = as->store->ops->size(as->store, &size);

	if (err || off >= size)
		return err;
	err = frame_read(as, off, buf, FL_PAGE_SIZE);
	return err ? err : as->store->ops->write(as->store, buf, min_u64(FL_PAGE_SIZE, size - off), off);
}

/* They were written before: an error of the store is told of, and no reason to keep what is sealed. */
static void write_pinned(struct address_space *as, void *buf)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++) {
		struct page_key k = page_key(p);
		int err = mm_may_be_stored_to(p) && k.as == as->id ? write_page(as, k.index, buf) : 0;

		if (err) {
			wb_err_set(as, err);
			report_add(&as->report->write_errors, 1);
		}
	}
}

/* Mappings are prepared, and nothing of the file is in flight. Whether the frames are sealed. */
static bool settle_pinned(struct address_space *as, void *buf, bool ends)
{
	bool sealed;

	if (as_is_pool(as) || !any_stored_to(as) || for_each_concerned(as, is_ready, -1))
		return false;
	atomic_store(&as->converting, true); /* nothing leaves memory meanwhile */
	sealed = wait_for_kernel(as, ends ? ENDS_HELD_NS : MM_HELD_NS);
	write_pinned(as, buf);
	return sealed;
}

/* ---- In the place of ours ---- */

static int move_in_place(const struct vma *v)
{
	uint64_t len = v->end - v->start;
	void *p = sys_mremap((void *)v->aside, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)v->start);

	return sys_is_err(p) ? sys_err(p) : 0;
}

static int put_in_place(struct vma *v)
{
	int err;

	mm_begin_detach(v->mm);
	err = v->flags & VM_SHARED ? mm_map_over(v, MAP_SHARED, file_store_fd(v->as->store)) : move_in_place(v);
	mm_end_detach(v->mm, v->start, v->end - v->start, !err);
	return err;
}

static int replace_one(struct vma *v, int memfd)
{
	int err;

	(void)memfd;
	if (!(v->flags & VM_SHARED) && !v->aside)
		return 0;
	err = put_in_place(v);
	v->aside = 0;
	if (err)
		return err;
	vma_unlink_rmap(v);
	mm_uncharge_locked(v, v->end - v->start);
	mm_advise_again(v, v->start, v->end - v->start);
	mm_lock_as(v, v->start, v->end - v->start);
	return 0;
}

/* rmap tells who was replaced: the flag must not change while the others are still counted as concerned. */
static int mark_one(struct vma *v, int memfd)
{
	bool replaced = !v->rmap.link;

	(void)memfd;
	if (replaced) {
		forget_private(v);
		v->flags &= ~(unsigned)VM_GUARD; /* it is in the kernel's mapping, which does with it what it is told */
		v->flags |= VM_HANDED;
	}
	vma_unlock_write(v);
	return 0;
}

static void lock_spaces(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_lock(&mm->mmap_lock);
}

static void unlock_spaces(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_unlock(&mm->mmap_lock);
}

/* With pinned pages it is on shmem frames then, if it can be: with the VMAs locked none is pinned any more. */
static void lock_mappings(struct address_space *as, bool ends)
{
	for (;;) {
		for_each_concerned(as, lock_one, -1);
		if (!as_is_pool(as) || !any_stored_to(as))
			return;
		for_each_concerned(as, unlock_one, -1);
		if (mm_convert_within(mm_pool_space(as), as, ends ? ENDS_HELD_NS : MM_HELD_NS))
			break;
	}
	for_each_concerned(as, lock_one, -1);
}

/*
 * All mappings of the file at once: a page of the cache must not be written over what a store through a mapping handed
 * over before it has put into the file. With the VMAs locked, a page written back cannot become dirty again. Pinned pages
 * stay dirty, though: they leave the cache with all others, before anyone can write them back over later stores.
 */
static int hand_over(struct address_space *as, bool ends)
{
	bool sealed = false;
	struct buffer buf;
	int err;

	lock_spaces();
	lock_mappings(as, ends);
	err = writeback_all(as);
	buf = buffer_get(false);
	write_lock(&as->invalidate_lock);
	io_drain(as);
	if (!err)
		atomic_store(&as->handed, true);
	if (!err && !ends)
		for_each_concerned(as, prepare_private, -1);
	if (!err)
		sealed = settle_pinned(as, buf.data, ends);
	write_lock(&rmap_lock);
	if (!err)
		err = for_each_concerned(as, replace_one, -1);
	write_unlock(&rmap_lock);
	if (!err)
		truncate_pages(as, 0, PAGE_INDEX_MAX);
	if (!err && sealed) /* no holes can be made in it any more */
		shmem_frames_hide(as->memfd);
	atomic_store(&as->converting, false);
	write_unlock(&as->invalidate_lock);
	buffer_put(buf);
	for_each_concerned(as, mark_one, -1);
	unlock_spaces();
	return err;
}

static void note(const struct address_space *as, const char *why)
{
	char text[248];

	snprintf(text, sizeof text, "%.150s: left to the kernel: %.70s", as->report->path, why);
	report_note(text);
}

static bool is_written_through(const struct vma *v, const struct address_space *as, unsigned without)
{
	return v->as == as && (v->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE) && !(v->flags & (without | VM_HANDED));
}

bool mm_has_writable(const struct address_space *as, unsigned without)
{
	bool found = false;
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)) && !found; i++) {
		mutex_lock(&mm->mmap_lock);
		for (struct vma *v = vma_find(&mm->index, 0); v && !found; v = vma_find(&mm->index, v->end))
			found = is_written_through(v, as, without);
		mutex_unlock(&mm->mmap_lock);
	}
	return found;
}

/* What a host has, it has for others too: the kernel's mapping begins with what was stored until now. */
int mm_hand_over(struct address_space *as, const char *why, bool ends)
{
	int err = writeback_all(as); /* most of it, while the program still runs on */

	if (!err && !as_is_hosted(as)) {
		if (!ends && any_stored_to(as))
			mm_wait_for_pins(as);
		err = hand_over(as, ends);
	}
	if (!err && why)
		note(as, why);
	return err;
}
