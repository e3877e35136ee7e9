/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault path. For a page of a file, in a shared mapping or read through a private one:
 *
 *   in memory    lock the page; map it (write-protected unless DIRTY), or lift the protection after making it DIRTY
 *   not          reserve frames, get a buffer, put READING pages in the table, read, install, unlock (fill below)
 *
 * For a private mapping the page may have a private copy, which comes first, and a write makes one (private.c).
 *
 * Order: frames, buffer, invalidate_lock, page of the private copy, page of the file. Nothing that waits for frames or
 * buffers happens while a page is locked. Every phase may find that the world has changed and answers -EAGAIN: the
 * fault then starts again from the look-up.
 */
#include "filemap.h"

#include <errno.h>
#include <string.h>

#include "budget.h"
#include "buffer.h"
#include "fault.h"
#include "fill.h"
#include "hosted.h"
#include "io.h"
#include "policy.h"
#include "ram.h"
#include "read_pins.h"
#include "reclaim.h"
#include "util/compiler.h"
#include "writeback.h"

#define FAULT_AROUND 16 /* pages, as on the kernel */
#define STREAM_PAGES 16 /* a window from which on the page that was asked for is the stream's as the others are, and leaves with them */

/* The first 4 KiB of the page of the space in which f->index lies. */
static uint64_t page_head(const struct fault *f)
{
	return f->index & ~(uint64_t)f->tail;
}

/* ---- The page is in memory ---- */

/*
 * Maps a page of the frame memory; an mmu that cannot write-protect at once gets clean pages of shared mappings as dirty ones. *was: it was
 * mapped before.
 */
static int map_page(struct fault *f, pfn_t pfn, bool *was)
{
	bool wp = !f->write || f->anon;
	int err;

	if (wp && !f->mmu->map_can_wp && !f->anon && !f->view && f->as->store->writable)
		mark_dirty(f->as, pfn);
	if (f->anon && private_has_copy(f, 0))
		return -EAGAIN; /* in swap by now: the file's page must not show in its place */
	err = f->mmu->ops->map(f->mmu, f->addr, FL_PAGE_SIZE, wp && (f->anon || f->view || !is_dirty(pfn)) ? MMU_WP : 0);
	*was = err == -EEXIST;
	return *was ? (f->write && !f->anon ? f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE) : 0) : err;
}

/* Taken out of its mappings to see whether it is missed: a fault on another page does not tell. */
static bool is_probed(pfn_t pfn)
{
	return (page_word(pfn) & (POLICY_MAIN | POLICY_PROBED)) == (POLICY_MAIN | POLICY_PROBED);
}

/* Whether the page i places from here can be mapped as it is; it is locked then. */
static pfn_t lock_neighbour(const struct fault *f, int i)
{
	struct page_key key = {.as = f->as->id, .index = f->index + (uint64_t)(int64_t)i}, found;
	pfn_t pfn = page_find(key);

	if (pfn == PFN_NONE || !page_trylock(pfn))
		return PFN_NONE;
	found = page_key(pfn);
	if (found.as == key.as && found.index == key.index && page_state_of(page_word(pfn)) == PAGE_CLEAN && !is_probed(pfn) &&
	    !(f->anon && private_has_copy(f, i)))
		return pfn;
	page_unlock(pfn);
	return PFN_NONE;
}

/* Of n pages behind the one that was asked for, those that are not mapped yet. */
static int map_others(struct fault *f, uint32_t n)
{
	int err = 0;

	for (uint32_t i = 1; i <= n && !err; i++) {
		err = f->mmu->ops->map(f->mmu, f->addr + ((uint64_t)i << FL_PAGE_SHIFT), FL_PAGE_SIZE, MMU_WP);
		if (err == -EEXIST)
			err = 0;
	}
	return err;
}

/* Up to max pages in memory on one side of the one that was asked for; how many, where that was all that could be. */
static uint32_t map_side(struct fault *f, int step, uint32_t max)
{
	pfn_t pfn[RUN_MAX];
	uint32_t n = 0, mapped;
	uint64_t len;
	int err = 0;

	while (n < max && (pfn[n] = lock_neighbour(f, step * (int)(n + 1))) != PFN_NONE)
		n++;
	len = (uint64_t)n << FL_PAGE_SHIFT;
	if (n)
		err = f->mmu->ops->map(f->mmu, step > 0 ? f->addr + FL_PAGE_SIZE : f->addr - len, len, MMU_WP);
	if (err == -EEXIST && step > 0 && f->wanted > 1)
		err = map_others(f, n);
	mapped = err ? 0 : n;
	while (n)
		page_unlock(pfn[--n]);
	return mapped;
}

/*
 * Pages in memory on both sides of the one that was asked for are mapped with it: those that have come in with it, or are away
 * from the mapping but not from memory.
 */
static void map_around(struct fault *f)
{
	uint64_t max = f->touched || f->wanted > 1 ? RUN_MAX : FAULT_AROUND;

	if (!f->mmu->map_can_wp || f->alone)
		return;
	f->mapped = 1 + map_side(f, 1, (uint32_t)min_u64(f->room - 1, max));
	if (f->wanted <= 1)
		map_side(f, -1, (uint32_t)min_u64(f->before, max));
}

/* The page is locked; a write is one through a shared mapping. `pin`: and is to stay so, its neighbours each for itself. */
static int hit(struct fault *f, pfn_t pfn, bool pin)
{
	/* Else it is the first use of what was read ahead, or of what another fault has just brought in: on a pool frame that is mapped then. */
	if (!f->touched && (f->present || !as_is_pool(f->as)))
		page_set_flags(pfn, PG_REFERENCED);
	count_hit(f);
	if (f->write)
		mark_dirty(f->as, pfn);
	if (as_is_ram(f->as) || !f->addr)
		return 0;
	if (!f->present && !as_is_pool(f->as)) { /* a page on a pool frame that is in memory is mapped: another fault was faster */
		bool was;
		int err = map_page(f, pfn, &was);

		if (!err && !f->write && !(pin && was))
			map_around(f);
		return err;
	}
	if (f->write && is_counted(f))
		report_add(&f->as->report->faults_write, 1);
	return f->write ? f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE) : 0;
}

/* ---- Fill: pages come from the store ---- */

/*
 * Reads the run. A failure of a run read ahead must not become a failure of the page asked for: that one is read again
 * alone. With MADV_RANDOM the store is told of just that before, since of pages that happen to be neighbours it may make a stream of its own.
 */
static int read_run(struct fill *fl, enum ra_advice advice)
{
	const struct store_ops *ops = fl->as->store->ops;
	uint64_t off = fl->index << FL_PAGE_SHIFT;
	ssize_t got;

	if (advice == RA_RANDOM && ops->expect)
		ops->expect(fl->as->store, off, (size_t)fl->n << FL_PAGE_SHIFT);
	got = ops->read(fl->as->store, fl->buf.data, (size_t)fl->n << FL_PAGE_SHIFT, off);
	if (got < 0 && fl->n > 1) {
		fill_drop(fl, 1);
		got = ops->read(fl->as->store, fl->buf.data, FL_PAGE_SIZE, off);
	}
	report_add(&fl->as->report->reads, 1);
	if (got < 0) {
		report_add(&fl->as->report->read_errors, 1);
		return (int)got;
	}
	report_add(&fl->as->report->read_bytes, (uint64_t)got);
	return fill_trim(fl, (uint64_t)got);
}

/* What lies past the end of the file in its last page, where that is larger than ours. */
static int zero_run(struct fill *fl)
{
	fill_drop(fl, 1);
	memset(fl->buf.data, 0, FL_PAGE_SIZE);
	return 0;
}

/*
 * Installs the run in a shared mapping: the pages enter the frame memory there. How many were. With one call, so that who is woken by the first finds the
 * others; one that is stored to is not write-protected as they are, and goes first.
 */
static uint32_t install_shared(struct fault *f, struct fill *fl, int *err)
{
	uint64_t done = 0, more = 0, first = f->write ? FL_PAGE_SIZE : (uint64_t)fl->n << FL_PAGE_SHIFT;
	const struct mmu_ops *ops = f->mmu->ops;

	*err = ops->copy(f->mmu, f->addr, fl->buf.data, first, f->write ? 0 : MMU_WP, &done);
	if (done)
		*err = 0;
	if (*err == -EEXIST) { /* frame memory that the table does not know holds nothing of value */
		fl->as->frames->discard(fl->as, fl->index, 1);
		*err = -EAGAIN;
	}
	if (!*err && f->write && fl->n > 1)
		ops->copy(f->mmu, f->addr + FL_PAGE_SIZE, fl->buf.data + FL_PAGE_SIZE, (uint64_t)(fl->n - 1) << FL_PAGE_SHIFT, MMU_WP,
			  &more);
	return (uint32_t)((done + more) >> FL_PAGE_SHIFT);
}

/* The frame memory is filled by a write; then the mapping is made, as far as no private copy, in swap or not, is in the way. */
static uint32_t install_private(struct fault *f, struct fill *fl, int *err)
{
	uint32_t n = 0;

	*err = frame_write(fl->as, fl->index << FL_PAGE_SHIFT, fl->buf.data, (uint64_t)fl->n << FL_PAGE_SHIFT);
	if (*err) {
		fl->as->frames->discard(fl->as, fl->index, fl->n);
		return 0;
	}
	while (f->addr && n < fl->n && !private_has_copy(f, n))
		n++;
	if (n) {
		*err = f->mmu->ops->map(f->mmu, f->addr, (uint64_t)n << FL_PAGE_SHIFT, MMU_WP);
		if (*err == -EEXIST)
			*err = 0;
	}
	return fl->n;
}

/* Into the frames, and the mapping, with one call: how many pages of the run have so come into the frames. */
static uint32_t copy_remote(struct fault *f, struct fill *fl)
{
	uint64_t done = 0;

	if (!f->mmu->remote || fl->n == 1 || f->write || f->view || f->alone || !frames_can_tell())
		return 0;
	f->mmu->ops->copy(f->mmu, f->addr, fl->buf.data, (uint64_t)fl->n << FL_PAGE_SHIFT, MMU_WP, &done);
	done >>= FL_PAGE_SHIFT;
	return frames_hold(fl->as, fl->index, done) ? (uint32_t)done : 0;
}

/*
 * The same where copy() is not for frames, or the mapping is another process's. That may die, or not have mapped there what it said: the frames hold
 * the pages whatever comes of mapping them, as others will look for them there. What a run that was copied into the mapping has not left there is
 * written; nobody can have stored to it, as it is write-protected, and locked.
 */
static uint32_t install_in_frames(struct fault *f, struct fill *fl, int *err)
{
	uint64_t more = f->alone ? 0 : fl->n - 1;

	*err = 0;
	if (copy_remote(f, fl) == fl->n)
		return fl->n;
	*err = frame_write(fl->as, fl->index << FL_PAGE_SHIFT, fl->buf.data, (uint64_t)fl->n << FL_PAGE_SHIFT);
	if (*err) {
		fl->as->frames->discard(fl->as, fl->index, fl->n);
		return 0;
	}
	*err = f->mmu->ops->map(f->mmu, f->addr, FL_PAGE_SIZE, f->write ? 0 : MMU_WP);
	if (*err == -EEXIST)
		*err = f->write ? f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE) : 0;
	if (!*err && more)
		f->mmu->ops->map(f->mmu, f->addr + FL_PAGE_SIZE, more << FL_PAGE_SHIFT, MMU_WP);
	return fl->n;
}

/* How many pages were installed. */
static uint32_t install(struct fault *f, struct fill *fl, int *err)
{
	if (f->anon || !f->addr)
		return install_private(f, fl, err);
	return f->mmu->remote || may_be_hidden(f) ? install_in_frames(f, fl, err) : install_shared(f, fl, err);
}

static void publish(struct fault *f, struct fill *fl)
{
	fill_publish(fl, f->write);
	if (fl->n > 1 || f->foretold)
		report_add(&fl->as->report->read_ahead, fl->n - !f->foretold);
	f->forward = fl->n > 1;
	f->read = fl->n;
	f->mapped = f->alone ? 1 : fl->n;
}

/* Caller holds the invalidate_lock (read). */
static int fill_locked(struct fault *f, struct fill *fl, uint32_t want)
{
	uint32_t read, kept;
	int err;

	if (beyond_eof(f->as, page_head(f)) && (address_space_stat(f->as) || beyond_eof(f->as, page_head(f))))
		return -ENXIO;
	fill_insert(fl, want);
	if (!fl->n)
		return -EAGAIN;
	err = beyond_eof(f->as, f->index) ? zero_run(fl) : read_run(fl, f->advice);
	if (err) {
		fill_drop(fl, 0);
		return err;
	}
	read = fl->n;
	if (!f->foretold) /* before it is mapped: where threads serve faults the program goes on then, and may miss what comes after at once */
		readahead_done(fl->as, fl->index, read, want);
	if (f->write) /* before it is mapped as well: another thread may store to it at once, and msync */
		as_count_dirty(fl->as, 1);
	kept = install(f, fl, &err);
	if (f->write && !kept)
		as_count_dirty(fl->as, -1);
	fill_drop(fl, kept);
	if (fl->n && fl->n < read && !f->foretold)
		readahead_done(fl->as, fl->index, fl->n, want);
	if (fl->n)
		publish(f, fl);
	return err;
}

/* Caller has reserved the frames. *locked: nobody was changing the file. */
static int fill_reserved(struct fault *f, uint32_t want, bool *locked)
{
	struct fill fl = {.as = f->as, .index = f->index, .reserved = want, .ahead = want >= STREAM_PAGES};
	int err = -EAGAIN;

	fl.buf = buffer_get(want > 1);
	*locked = read_trylock(&f->as->invalidate_lock);
	if (*locked) {
		err = fill_locked(f, &fl, (uint32_t)min_u64(min_u64(want, fl.buf.pages), RUN_MAX));
		read_unlock(&f->as->invalidate_lock);
	}
	buffer_put(fl.buf);
	budget_release(fl.reserved);
	return err;
}

int fault_fill(struct fault *f, uint32_t want)
{
	int err = reserve_frames(want, &want);
	bool locked;

	if (err)
		return err;
	err = fill_reserved(f, want, &locked);
	if (!locked)
		address_space_wait_change(f->as);
	return err;
}

uint32_t fault_fill_more(const struct fault *f, uint64_t index, uint32_t want, bool foretold)
{
	struct fault more = *f;
	bool locked;

	more.index = index;
	more.anon_index = f->anon_index + (index - f->index);
	more.addr = f->addr ? f->addr + ((index - f->index) << FL_PAGE_SHIFT) : 0;
	more.room = f->room - (index - f->index);
	more.before = f->before + (index - f->index);
	more.write = more.present = false;
	more.foretold = foretold;
	more.read = 0;
	if (try_reserve_frames(want))
		fill_reserved(&more, want, &locked);
	return more.read;
}

/* Whether what was read ends at a page that is in memory. */
static bool ends_in_table(const struct fault *f, uint64_t pages)
{
	return page_find_any((struct page_key){.as = f->as->id, .index = f->index + pages}) != PFN_NONE;
}

/*
 * A fault of another process costs two wake-ups, as much as to read some ten pages in. So a stream that has shown itself to be long reads on for it, window
 * by window up to `want` pages in all.
 */
static void fill_on(struct fault *f, uint64_t want)
{
	uint64_t done = f->read;
	uint32_t n = f->read;

	while (n == buffer_large_pages() && done < want) {
		n = fault_fill_more(f, f->index + done, (uint32_t)min_u64(want - done, buffer_large_pages()), false);
		done += n;
	}
	readahead_grown(f->as, f->index + done, (uint32_t)(ends_in_table(f, done) ? want : done));
	f->read = f->mapped = (uint32_t)done;
}

/* ---- A page of the file ---- */

/* A page that is in flight: the stream that it belongs to goes on. */
static void wait_for_io(struct fault *f)
{
	pfn_t pfn = PFN_NONE;

	if (atomic_load_explicit(&f->as->in_flight, memory_order_relaxed))
		pfn = page_find_any(file_key(f));
	if (pfn == PFN_NONE || !io_in_flight(page_word(pfn)))
		return;
	f->touched = true;
	io_wait_page(pfn);
	io_poll(); /* others that have come in meanwhile cost no fault of their own */
}

bool fault_reads_on(const struct fault *f)
{
	return f->mmu && f->mmu->remote && !f->alone && !io_can(f->as);
}

void fault_expect(const struct fault *f, uint64_t index, uint64_t pages)
{
	const struct store_ops *ops = f->as->store->ops;

	if (ops->expect)
		ops->expect(f->as->store, index << FL_PAGE_SHIFT, pages << FL_PAGE_SHIFT);
}

static int miss(struct fault *f, bool ahead)
{
	uint64_t size = page_align_up(atomic_load_explicit(&f->as->size, memory_order_relaxed)) >> FL_PAGE_SHIFT, window, want;
	uint32_t jumped = 0;
	int err;

	ahead = ahead && !f->missed;
	f->missed = true;
	io_poll();
	readahead_pass(f->as, f->index);
	if (ahead && !f->alone && f->advice == RA_NORMAL)
		jumped = readahead_jump(f->as, f->index);
	window = readahead_window(f->as, f->index, f->advice, fault_reads_on(f));
	if (ahead_miss(f, window))
		return -EAGAIN;
	if (ahead && window == 1)
		ahead_before_miss(f);
	ahead_after_jump(f, jumped);
	want = min_u64(max_u64(window, f->wanted), f->room);
	if (size > f->index)
		want = min_u64(want, size - f->index);
	want = max_u64(want, 1);
	if (window >= buffer_large_pages() && fault_reads_on(f)) /* what the next fault of the stream will have read */
		fault_expect(f, f->index + want, want);
	err = fault_fill(f, (uint32_t)min_u64(want, buffer_large_pages()));
	if (!err && want > f->read && fault_reads_on(f))
		fill_on(f, want);
	return err;
}

int fault_file(struct fault *f, pfn_t *locked)
{
	if (locked) /* the page is wanted by itself */
		f->huge = NULL;
	for (;;) {
		pfn_t pfn;
		int err;

		wait_for_io(f);
		pfn = locked || f->write ? page_find_lock(file_key(f)) : page_find_lock_any(file_key(f));
		if (pfn != PFN_NONE) {
			err = hit(f, pfn, locked);
			if (locked && !err) {
				*locked = pfn;
				return 0;
			}
			page_unlock(pfn);
			if (!err)
				ahead_go_on(f);
			return err;
		}
		err = miss(f, !locked);
		if (err && err != -EAGAIN)
			return err;
		if (!err && !locked) {
			ahead_go_on(f);
			return 0;
		}
		f->present = false;
	}
}

/* ---- Any page ---- */

/* Nothing of it is looked up here. */
int fault_hosted(struct fault *f, bool pin)
{
	int err = hosted_fault(f, pin);

	if (err)
		return err;
	if (pin && f->anon)
		read_pins_add(f);
	count_hit(f);
	if (f->write && f->present && !f->missed)
		report_add(&f->as->report->faults_write, 1);
	return 0;
}

int fault_page(struct fault *f, pfn_t *locked)
{
	if (as_is_hosted(f->as) && !f->anon)
		return fault_hosted(f, locked);
	return f->anon ? fault_private(f, locked) : fault_file(f, locked);
}

int filemap_get_page(struct fault *f, pfn_t *locked)
{
	count_fault(f);
	return fault_file(f, locked);
}

int filemap_fault(struct fault *f)
{
	count_fault(f);
	if (f->write && !f->anon && !as_is_hosted(f->as))
		writeback_balance(f->as); /* before, so that it does not protect the page again */
	return fault_beside_pins(f);
}

/* ---- Without a fault ---- */

bool filemap_resident(const struct fault *f)
{
	pfn_t pfn = f->as->zero || as_is_hosted(f->as) ? PFN_NONE : page_find_any(file_key(f));
	unsigned char there = 0;

	if (anon_of(f) && page_find(anon_key(f)) != PFN_NONE)
		return true;
	if (as_is_hosted(f->as))
		hosted_resident(f->as, f->index, 1, &there);
	if (there)
		return true;
	return pfn != PFN_NONE && !io_is_coming(pfn);
}

bool filemap_is_dirty(const struct fault *f)
{
	pfn_t pfn = page_find(file_key(f));

	return pfn != PFN_NONE && is_dirty(pfn);
}

bool filemap_swapped(const struct fault *f)
{
	return anon_of(f) && page_find(anon_key(f)) == PFN_NONE && anon_is_swapped(anon_of(f), f->anon_index);
}
