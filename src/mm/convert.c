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
 * waited for a while before, with no mapping locked, as who unpins locks it. One that has hold of the page itself, as O_DIRECT has until the device
 * is done, stores to that wherever it has been moved: it is waited for until it has let go, and the kernel is asked, who does not move such a page with
 * userfaultfd (UFFDIO_MOVE).
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/filemap.h"
#include "cache/frames.h"
#include "cache/huge.h"
#include "cache/io.h"
#include "cache/shmem_small.h"
#include "cache/truncate.h"
#include "mm.h"
#include "util/clock.h"
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

void mm_wait_for_pins(struct address_space *as)
{
	for (int i = 0; i < PATIENCE && !for_each_page(as, is_unpinned, NULL); i++)
		sys_nanosleep(PAUSE_NS);
}

static _Atomic uint32_t moves;

void mm_begin_move(void)
{
	atomic_fetch_add(&moves, 1);
}

uint32_t mm_moves(void)
{
	return atomic_load(&moves);
}

struct move {
	struct mm *mm;
	int memfd;
	uint64_t probe;   /* a place for a page that is being looked at; 0: none is looked at */
	uint64_t held_ns; /* how long is waited for what is held; and until when that is */
	uint64_t until_ns;
	pfn_t held, held_last; /* a page that was found so, in this look and in the one before */
};

static struct vma *mapping_of(struct mm *mm, struct address_space *as, uint64_t index)
{
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (concerns(v, as) && index >= v->pgoff && index - v->pgoff < vma_pages(v))
			return v;
	return NULL;
}

/* ---- Pages that the kernel has hold of: O_DIRECT until the device is done ---- */

static int move_one(const struct move *m, uint64_t to, uint64_t from)
{
	uint64_t moved = 0;

	return m->mm->mmu->ops->move(m->mm->mmu, to, from, FL_PAGE_SIZE, &moved);
}

static void begin_probes(struct move *m)
{
	void *p = m->mm->mmu->ops->move ? own_reserve(FL_PAGE_SIZE) : (void *)-ENOSYS;

	if (sys_is_err(p))
		return;
	m->probe = (uint64_t)p;
	if (m->mm->mmu->ops->attach(m->mm->mmu, m->probe, FL_PAGE_SIZE, MMU_POOL)) {
		sys_munmap(p, FL_PAGE_SIZE);
		m->probe = 0;
	}
}

static void end_probes(struct move *m)
{
	if (m->probe)
		sys_munmap((void *)m->probe, FL_PAGE_SIZE);
}

/* It is DIRTY since it was pinned, and can be written wherever it is. */
bool mm_may_be_stored_to(pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	return page_pins_of(w) && page_state_of(w) == PAGE_DIRTY;
}

/* Moved to and fro. While it is away who accesses it waits for us; a system call would fail, so one that was found held is asked about alone. */
static bool is_let_go(struct address_space *as, pfn_t pfn, void *arg)
{
	struct move *m = arg;
	uint64_t index = page_key(pfn).index, addr;
	struct vma *v;
	int err;

	if (!mm_may_be_stored_to(pfn) || (m->held_last != PFN_NONE && m->held_last != pfn))
		return true;
	v = mapping_of(m->mm, as, index);
	fl_assert(v);
	addr = v->start + ((index - v->pgoff) << FL_PAGE_SHIFT);
	err = move_one(m, m->probe, addr);
	if (!err) {
		while ((err = move_one(m, addr, m->probe)) == -EBUSY)
			sys_yield();
		fl_assert(err == 0); /* to where it has just been, and nobody else may be */
	} else if (err == -EBUSY) {
		m->held = pfn;
	}
	return m->held == PFN_NONE;
}

static void wait_for_kernel(struct address_space *as, struct move *m)
{
	m->held = PFN_NONE;
	m->until_ns = now_ns() + m->held_ns;
	do {
		m->held_last = m->held;
		m->held = PFN_NONE;
		if (!for_each_page(as, is_let_go, m))
			sys_nanosleep(PAUSE_NS);
	} while ((m->held != PFN_NONE || m->held_last != PFN_NONE) && now_ns() < m->until_ns);
}

/* One that was taken hold of since. Nobody can any more, where it is now; it is where this says once it was let go of. */
static uint64_t let_go_aside(const struct move *m, uint64_t addr)
{
	int err;

	while ((err = move_one(m, m->probe, addr)) == -EBUSY && now_ns() < m->until_ns)
		sys_nanosleep(PAUSE_NS);
	return err ? addr : m->probe;
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
	int err = mm_map_over(v, MAP_SHARED | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0), memfd);
	uint64_t len = v->end - v->start;

	if (err)
		return err;
	err = v->mm->mmu->ops->attach(v->mm->mmu, v->start, len, 0);
	fl_assert(err == 0); /* in the place of a mapping of the same size: the kernel needs nothing that was not there */
	mm_keep_from_dumps(v, v->start, len);
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

static bool move_page(struct address_space *as, pfn_t pfn, void *arg)
{
	const struct move *m = arg;
	uint64_t index = page_key(pfn).index;
	struct vma *v = mapping_of(m->mm, as, index);
	uint64_t in_vma = v ? (index - v->pgoff) << FL_PAGE_SHIFT : 0, from;
	ssize_t n;

	fl_assert(v); /* it lives where it is mapped */
	from = v->aside + in_vma;
	if (m->probe && mm_may_be_stored_to(pfn))
		from = let_go_aside(m, from);
	shmem_small_prepare(m->memfd, index << FL_PAGE_SHIFT, FL_PAGE_SIZE);
	n = sys_pwrite(m->memfd, (void *)from, FL_PAGE_SIZE, (off_t)(index << FL_PAGE_SHIFT));
	fl_assert(n == (ssize_t)FL_PAGE_SIZE);
	sys_madvise((void *)from, FL_PAGE_SIZE, MADV_DONTNEED);
	if (page_pins_of(page_word(pfn)))
		m->mm->mmu->ops->map(m->mm->mmu, v->start + in_vma, FL_PAGE_SIZE, page_state_of(page_word(pfn)) == PAGE_DIRTY ? 0 : MMU_WP);
	return true;
}

/* ---- All of it ---- */

static int move_mappings(struct mm *mm, struct address_space *as, int memfd)
{
	int err = for_each_mapping(mm, as, set_aside, memfd);

	if (!err)
		err = for_each_mapping(mm, as, map_frames, memfd);
	if (err)
		for_each_mapping(mm, as, put_back, memfd);
	return err;
}

static int convert(struct mm *mm, struct address_space *as, struct move *m)
{
	int memfd = m->memfd, err;

	huge_drop_range(as, 0, PAGE_INDEX_MAX);
	write_lock(&rmap_lock);
	err = move_mappings(mm, as, memfd);
	write_unlock(&rmap_lock);
	if (err)
		return err;
	shmem_frames_show(memfd);
	for_each_page(as, move_page, m);
	address_space_set_shmem(as, memfd);
	for_each_mapping(mm, as, drop_aside, memfd);
	return 0;
}

int mm_convert_within(struct mm *mm, struct address_space *as, uint64_t held_ns)
{
	struct move m = {.mm = mm, .held_ns = held_ns};
	int memfd, err;

	if (!as_is_pool(as))
		return 0;
	m.memfd = memfd = shmem_frames_create("file");
	if (memfd < 0)
		return memfd;
	shmem_frames_hide(memfd);
	mm_wait_for_pins(as);
	for_each_mapping(mm, as, lock_one, memfd);
	write_lock(&as->invalidate_lock);
	io_drain(as);
	atomic_store(&as->converting, true);
	mm_begin_move();
	if (!for_each_page(as, is_unpinned, NULL))
		begin_probes(&m);
	if (m.probe)
		wait_for_kernel(as, &m);
	err = convert(mm, as, &m);
	end_probes(&m);
	atomic_store(&as->converting, false);
	write_unlock(&as->invalidate_lock);
	for_each_mapping(mm, as, unlock_one, memfd);
	if (err)
		fd_close(memfd);
	return err;
}

int mm_convert_locked(struct mm *mm, struct address_space *as)
{
	return mm_convert_within(mm, as, MM_HELD_NS);
}

/* The space that maps it; any, when none does. */
struct mm *mm_pool_space(const struct address_space *as)
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
		struct mm *mm = mm_pool_space(as);

		mutex_lock(&mm->mmap_lock);
		if (mm == mm_pool_space(as))
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
