/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private copies. One that a private mapping has, in memory or in swap, comes before the file's page; a write makes one:
 *
 *   private copy in memory           lift the write protection (it was being swapped)
 *   private copy in swap             read it back
 *   none, write, page mapped         the kernel's own copy-on-write, with the file's page locked against eviction
 *   none, write, page not mapped     copy from the cache, or straight from the store, into the mapping
 *
 * A copy's place in the page table is taken first (page_insert), and its lock is held until it is mapped: who accesses the page
 * meanwhile waits for it.
 */
#include <errno.h>
#include <string.h>

#include "budget.h"
#include "buffer.h"
#include "fault.h"
#include "fill.h"
#include "frames.h"
#include "hosted.h"
#include "read_pins.h"
#include "reclaim.h"

bool private_has_copy(const struct fault *f, int64_t i)
{
	struct address_space *anon = anon_of(f);
	struct page_key key = {.index = f->anon_index + (uint64_t)i};

	if (!anon)
		return false;
	key.as = anon->id;
	return page_find(key) != PFN_NONE || anon_is_swapped(anon, key.index);
}

/* It is where it is mapped, but may be hidden. */
static int show(struct fault *f, bool dirty)
{
	int err = f->mmu->ops->map(f->mmu, f->addr, FL_PAGE_SIZE, dirty ? 0 : MMU_WP);

	return err == -EEXIST ? 0 : err;
}

static int copy_in(struct fault *f, const void *data, unsigned flags)
{
	uint64_t done;
	int err = f->mmu->ops->copy(f->mmu, f->addr, data, FL_PAGE_SIZE, flags, &done);

	return err;
}

/*
 * Whether anonymous memory that is to be there was discarded by an instruction of the program's own (madvise(2) past the shim): it reads as zeros from
 * there on, also when it has been out of memory since. Not so where another thread's fault was faster: the page is there then (-EEXIST).
 */
static bool was_discarded(struct fault *f, pfn_t pfn)
{
	bool dirty = is_dirty(pfn);

	if (!f->absent || !f->as->zero || f->mmu->hides || copy_in(f, frame_zeros, dirty ? 0 : MMU_WP))
		return false;
	if (!dirty) {
		anon_clear_swapped(anon_of(f), f->anon_index, 1);
		page_set_flags(pfn, PG_LAZYFREE);
	}
	return true;
}

/* The private page is locked and in memory, so it is mapped; protected only while it is being swapped. */
static int anon_hit(struct fault *f, pfn_t pfn)
{
	page_set_flags(pfn, PG_REFERENCED);
	count_hit(f);
	if (f->write) {
		mark_dirty(anon_of(f), pfn);
		report_add(&f->as->report->faults_write, 1);
	}
	if (f->mmu->hides)
		return show(f, is_dirty(pfn));
	if (was_discarded(f, pfn))
		return 0;
	return !f->write ? 0 : f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE);
}

/*
 * In a mapping of frames the kernel looks for their page before it makes a copy of it, where that is how copy() works (sigsegv.c). When it is not
 * there it would get memory that nobody counts; so its place in the table is taken, and it is emptied after.
 */
static int copy_over_frames(struct fault *f, const void *data, unsigned flags)
{
	pfn_t below;
	bool found;
	int err;

	if (!f->mmu->hides || f->as->zero)
		return copy_in(f, data, flags);
	below = page_find_lock(file_key(f));
	found = below != PFN_NONE;
	if (!found)
		below = page_insert(file_key(f));
	if (below == PFN_NONE)
		return -EAGAIN;
	err = copy_in(f, data, flags);
	if (found) {
		page_unlock(below);
		return err;
	}
	frame_empty(f->as, f->index);
	page_remove(below);
	return err;
}

static int swap_in(struct fault *f, struct buffer buf)
{
	struct store *swap = anon_of(f)->store;
	ssize_t n = swap->ops->read(swap, buf.data, FL_PAGE_SIZE, f->anon_index << FL_PAGE_SHIFT);
	int err;

	if (n < 0)
		return (int)n;
	f->missed = true;
	report_add(&f->as->report->swapped_in, 1);
	err = copy_over_frames(f, buf.data, f->write ? 0 : MMU_WP);
	if (err == -EEXIST) /* whatever is mapped there, it is not the private page */
		f->mmu->ops->zap(f->mmu, f->addr, FL_PAGE_SIZE);
	return err;
}

/* A page that is zero from the end of the file on. */
static int read_for_cow(struct fault *f, char *data)
{
	struct address_space *as = f->as;
	ssize_t n;

	if (beyond_eof(as, f->index) && (address_space_stat(as) || beyond_eof(as, f->index)))
		return -ENXIO;
	n = as->store->ops->read(as->store, data, FL_PAGE_SIZE, f->index << FL_PAGE_SHIFT);
	report_add(&as->report->reads, 1);
	if (n < 0) {
		report_add(&as->report->read_errors, 1);
		return (int)n;
	}
	report_add(&as->report->read_bytes, (uint64_t)n);
	if (n == 0) {
		address_space_stat(as);
		return -EAGAIN;
	}
	if (n < (ssize_t)FL_PAGE_SIZE && (address_space_stat(as) || (f->index << FL_PAGE_SHIFT) + (uint64_t)n < atomic_load(&as->size)))
		return -EAGAIN; /* stopped short: not the end of the file */
	memset(data + n, 0, FL_PAGE_SIZE - (size_t)n);
	return 0;
}

/* Makes the page that is mapped the program's own, if it is not; -EAGAIN when none is mapped any more. */
static int cow_mapped(struct fault *f)
{
	int err = f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE);

	if (!err && f->mmu->ops->break_cow)
		err = f->mmu->ops->break_cow(f->mmu, f->addr);
	return err == -EFAULT ? -EAGAIN : err;
}

/* The file's page is locked, so it stays where it is. */
static int cow_from_cache(struct fault *f, pfn_t file_page, struct buffer buf)
{
	int err;

	page_set_flags(file_page, PG_REFERENCED);
	if (f->present && f->mmu->ops->break_cow)
		return cow_mapped(f);
	err = frame_read(f->as, f->index << FL_PAGE_SHIFT, buf.data, FL_PAGE_SIZE);
	if (!err && f->present) /* who accesses it now waits for the private page's lock */
		err = f->mmu->ops->zap(f->mmu, f->addr, FL_PAGE_SIZE);
	return err ? err : copy_in(f, buf.data, 0);
}

/*
 * What is mapped, if anything, is the file's page. The kernel copies that in one step, for system calls of other threads too, which may be reading it;
 * where the host has taken it away meanwhile it says so. Otherwise who accesses it now waits for the private page's lock.
 */
static int cow_hosted(struct fault *f, struct buffer buf)
{
	int err;

	if (f->present && f->mmu->ops->break_cow)
		return cow_mapped(f);
	err = hosted_read(f->as, f->index, buf.data);
	if (!err && f->present)
		err = f->mmu->ops->zap(f->mmu, f->addr, FL_PAGE_SIZE);
	return err ? err : copy_in(f, buf.data, 0);
}

static int cow(struct fault *f, struct buffer buf)
{
	pfn_t file_page;
	int err;

	if (as_is_hosted(f->as))
		return cow_hosted(f, buf);
	file_page = page_find_lock(file_key(f));
	if (file_page != PFN_NONE) {
		err = cow_from_cache(f, file_page, buf);
		page_unlock(file_page);
		if (!err)
			count_hit(f);
		return err;
	}
	if (f->present && (f->mmu->ops->break_cow || !f->mmu->map_can_wp))
		return cow_mapped(f); /* a copy that the kernel made before the mapping was write-protected, see uffd_map() */
	f->missed = true;
	err = read_for_cow(f, buf.data);
	if (!err)
		err = copy_over_frames(f, buf.data, 0);
	/* Told of a page, and there is one, but not the file's: it is a private copy already. */
	return err == -EEXIST && f->present ? cow_mapped(f) : err;
}

/* Anonymous memory that was never written. A page that is there and that the table does not know is the program's own. */
static int zero_fill(struct fault *f)
{
	return f->present && !f->mmu->hides ? cow_mapped(f) : copy_in(f, frame_zeros, f->write ? 0 : MMU_WP);
}

/*
 * The program has a copy now where calls of other threads had the file's page pinned. Where a page that leaves memory is hidden in all mappings, copies
 * too (frames.c), the file's stays pinned as well.
 */
static void take_over_pins(struct fault *f, pfn_t pfn)
{
	for (uint32_t n = read_pins_take(f); n; n--) {
		page_pin(pfn);
		if (f->mmu->hides)
			f->mmu->ops->hold(f->mmu, f->addr, false);
		else
			filemap_unpin_file(f);
	}
}

/*
 * Makes the private page, in the table as READING and locked. The kernel may know of a page there that we do not
 * (-EEXIST: the file's page is mapped after all): look again as for a mapped one.
 */
static int make_private(struct fault *f, struct buffer buf, pfn_t pfn)
{
	struct address_space *anon = anon_of(f);
	bool swapped = anon_is_swapped(anon, f->anon_index);
	int err = swapped ? swap_in(f, buf) : f->as->zero ? zero_fill(f) : f->write ? cow(f, buf) : -EAGAIN;

	if (err == -EEXIST) {
		f->present = true;
		err = -EAGAIN;
	} else if (err == -EAGAIN) {
		f->present = false;
	}
	if (!err) {
		page_read_done(pfn, f->write);
		if (!f->as->zero && !swapped)
			take_over_pins(f, pfn);
		if (f->write)
			as_count_dirty(anon, 1);
		else if (!swapped)
			page_set_flags(pfn, PG_LAZYFREE);
	}
	return err;
}

/* Of the pages that the run has taken, those from its start on that are in swap: their locks are held. */
static uint32_t count_swapped(const struct fill *fl)
{
	uint32_t n = 0;

	while (n < fl->n && anon_is_swapped(fl->as, fl->index + n))
		n++;
	return n;
}

/* Into the mapping, as far as nothing of it is mapped there; how many pages. */
static uint32_t copy_swapped(struct fault *f, const struct fill *fl)
{
	struct store *swap = fl->as->store;
	uint64_t done = 0, addr = f->addr + ((fl->index - f->anon_index) << FL_PAGE_SHIFT);
	ssize_t got = swap->ops->read(swap, fl->buf.data, (size_t)fl->n << FL_PAGE_SHIFT, fl->index << FL_PAGE_SHIFT);

	if (got < (ssize_t)FL_PAGE_SIZE)
		return 0;
	f->mmu->ops->copy(f->mmu, addr, fl->buf.data, (size_t)got & ~(FL_PAGE_SIZE - 1), f->write ? 0 : MMU_WP, &done);
	return (uint32_t)(done >> FL_PAGE_SHIFT);
}

/*
 * Pages of the mapping from index on, as far as they are in swap; how many came. To a program that stores, each comes as a page that was stored to: it
 * would fault at once again.
 */
static uint32_t swap_in_run(struct fault *f, uint64_t index, uint64_t want)
{
	struct fill fl = {.as = anon_of(f), .index = index, .ahead = !f->write, .stored = f->write};

	want = min_u64(want, RUN_MAX);
	if (!want || !anon_is_swapped(fl.as, index) || !try_reserve_frames((uint32_t)want)) /* nobody else's memory is begged for it */
		return 0;
	fl.reserved = (uint32_t)want;
	fl.buf = buffer_get(true);
	read_lock(&f->as->invalidate_lock);
	fill_insert(&fl, (uint32_t)min_u64(fl.reserved, fl.buf.pages));
	fill_drop(&fl, count_swapped(&fl));
	if (fl.n)
		fill_drop(&fl, copy_swapped(f, &fl));
	if (f->write)
		as_count_dirty(fl.as, (int)fl.n);
	fill_publish(&fl, f->write ? fl.n : 0);
	read_unlock(&f->as->invalidate_lock);
	buffer_put(fl.buf);
	budget_release(fl.reserved);
	report_add(&f->as->report->swapped_in, fl.n);
	return fl.n;
}

/* What a track that goes backwards, or in strides, foresees of it. */
static void swap_in_track(struct fault *f)
{
	struct address_space *anon = anon_of(f);
	struct ra_next next = {.grown = false};
	uint64_t low = f->anon_index - f->before, high = f->anon_index + f->room;
	uint32_t left = readahead_at_once(false), n;

	readahead_note(anon, f->anon_index);
	while (left && readahead_next(anon, f->anon_index, false, &next) && next.index >= low && next.index + next.pages <= high) {
		if (next.pages > left) {
			next.index += next.pages - left;
			next.pages = left;
		}
		n = swap_in_run(f, next.index, next.pages);
		if (!n)
			break;
		readahead_started(anon, &next, n);
		left -= next.pages;
	}
}

/* A page comes back from swap. What follows comes before it, once the program has shown that it goes on: with it there, the program does. */
static void swap_in_ahead(struct fault *f)
{
	struct address_space *anon = anon_of(f);
	uint64_t window = readahead_window(anon, f->anon_index, f->advice, false);
	uint32_t n = swap_in_run(f, f->anon_index + 1, min_u64(window, f->room) - 1);

	readahead_done(anon, f->anon_index, n + 1, n + 1);
	if (window == 1 && f->advice != RA_RANDOM)
		swap_in_track(f);
}

/* A private page that is not in memory: from swap, or by copy-on-write. */
static int anon_miss(struct fault *f, pfn_t *locked)
{
	struct buffer buf;
	uint32_t got, extra = 0;
	pfn_t pfn;
	int err;

	if (!locked && anon_is_swapped(anon_of(f), f->anon_index) && (!f->mmu->hides || f->as->zero)) /* see copy_over_frames() */
		swap_in_ahead(f);
	err = reserve_frames(1, &got);
	if (!err && f->mmu->hides && !f->as->zero) { /* see copy_over_frames() */
		err = reserve_frames(1, &extra);
		if (err)
			budget_release(1);
	}
	if (err)
		return err;
	buf = buffer_get(false);
	read_lock(&f->as->invalidate_lock);
	pfn = page_insert(anon_key(f));
	if (pfn == PFN_NONE) {
		err = -EAGAIN;
		budget_release(1);
	} else {
		as_count_page(anon_of(f), 1);
		err = make_private(f, buf, pfn);
		if (err) {
			as_count_page(anon_of(f), -1);
			page_remove(pfn);
			budget_release(1);
		} else if (locked) {
			*locked = pfn;
		} else {
			page_unlock(pfn);
		}
	}
	read_unlock(&f->as->invalidate_lock);
	buffer_put(buf);
	budget_release(extra);
	return err;
}

/*
 * A page of the file in a private mapping. While its place in the table is taken, no copy of it is made, nor does one come back from
 * swap: else the file's page could be mapped over it.
 */
static int show_hosted(struct fault *f, bool pin)
{
	uint32_t got;
	pfn_t pfn;
	int err = reserve_frames(1, &got);

	if (err)
		return err;
	pfn = page_insert(anon_key(f));
	err = -EAGAIN;
	if (pfn != PFN_NONE) {
		as_count_page(anon_of(f), 1);
		if (!anon_is_swapped(anon_of(f), f->anon_index))
			err = fault_hosted(f, pin);
		as_count_page(anon_of(f), -1);
		page_remove(pfn);
	}
	budget_release(1);
	return err;
}

/*
 * The same while the mapping has no private pages, and so no place in the table that could be taken: who makes the first waits for those
 * who are here (wait_for_blind). False: there is somewhere for private pages by now.
 */
static bool show_blindly(struct fault *f, bool pin, int *err)
{
	bool blind;

	atomic_fetch_add(f->blind, 1);
	blind = !anon_of(f);
	if (blind)
		*err = fault_hosted(f, pin);
	atomic_fetch_sub(f->blind, 1);
	return blind;
}

static void wait_for_blind(const struct fault *f)
{
	for (unsigned turn = 0; atomic_load(f->blind); turn++)
		cpu_relax(turn);
}

/* As long as it takes: -EAGAIN is for the caller to look again. */
static int private_hosted(struct fault *f, pfn_t *locked)
{
	struct address_space *anon = anon_of(f);
	int err;

	if (!anon)
		return show_blindly(f, locked, &err) ? err : -EAGAIN;
	if (!f->write && !anon_is_swapped(anon, f->anon_index)) {
		f->alone |= f->had_none; /* it has some by now, or is about to */
		return show_hosted(f, locked);
	}
	wait_for_blind(f);
	return anon_miss(f, locked);
}

int fault_private(struct fault *f, pfn_t *locked)
{
	for (;;) {
		struct address_space *anon = anon_of(f);
		pfn_t pfn = anon ? page_find_lock(anon_key(f)) : PFN_NONE;
		int err;

		if (pfn != PFN_NONE) {
			err = anon_hit(f, pfn);
			if (locked && !err)
				*locked = pfn;
			else
				page_unlock(pfn);
			return err;
		}
		if (as_is_hosted(f->as))
			err = private_hosted(f, locked);
		else if (!fault_needs_anon(f) && !(anon && anon_is_swapped(anon, f->anon_index)))
			err = fault_file(f, locked);
		else
			err = anon_miss(f, locked);
		if (err != -EAGAIN)
			return err;
	}
}

/* ---- MADV_FREE ---- */

/* Protected, so that a store from now on is seen, and the page kept. */
void filemap_free_page_lazily(struct address_space *anon, pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	if (page_state_of(w) == PAGE_DIRTY && !page_pins_of(w) && !rmap_protect(anon, page_key(pfn).index, 1)) {
		page_begin_writeback(pfn);
		page_end_writeback(pfn);
		as_count_dirty(anon, -1);
	}
	if (page_state_of(page_word(pfn)) != PAGE_CLEAN)
		return;
	page_cool(pfn);
	page_set_flags(pfn, PG_LAZYFREE);
}

static void free_lazily(struct address_space *anon, struct page_key key)
{
	pfn_t pfn = page_find_lock(key);

	if (pfn == PFN_NONE)
		return;
	filemap_free_page_lazily(anon, pfn);
	page_unlock(pfn);
}

/* With the VMA locked, what is stored to a page after it was marked waits for us: its copy in swap can go last. */
void filemap_free_lazily(struct address_space *anon, uint64_t first, uint64_t last)
{
	pfn_t high = page_table_high();

	if (last - first < high / 4) {
		for (uint64_t i = first; i <= last; i++)
			free_lazily(anon, (struct page_key){.as = anon->id, .index = i});
	} else {
		for (pfn_t p = 0; p < high; p++) {
			struct page_key key = page_key(p);

			if (page_state_of(page_word(p)) != PAGE_ABSENT && key.as == anon->id && key.index >= first && key.index <= last)
				free_lazily(anon, key);
		}
	}
	anon_clear_swapped(anon, first, last - first + 1);
}
