/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead of the program: what readahead.c foresees is started here, by small windows into buffers or by huge pages into their slots, as far as the
 * mapping, the file and memory have room; and what the program itself asks for (madvise, fl_prefetch).
 */
#include <errno.h>

#include "budget.h"
#include "buffer.h"
#include "fault.h"
#include "hosted.h"
#include "huge.h"
#include "io.h"
#include "reclaim.h"

/*
 * Where a huge page of the file can begin that contains page index or comes after it, in the mapping and in the file, at an address to which it can
 * be moved whole; UINT64_MAX: nowhere.
 */
static uint64_t next_huge(const struct fault *f, uint64_t index)
{
	uint64_t size = atomic_load_explicit(&f->as->size, memory_order_relaxed) >> FL_PAGE_SHIFT;
	uint64_t low = f->index - f->before, high = min_u64(f->index + f->room, size);
	uint64_t at = (max_u64(index, low) + HUGE_PAGES - 1) / HUGE_PAGES * HUGE_PAGES;

	if (!f->huge || ((f->addr >> FL_PAGE_SHIFT) - f->index) % HUGE_PAGES)
		return UINT64_MAX;
	return at + HUGE_PAGES <= high ? at : UINT64_MAX;
}

/* As much of it as the file and the mapping have; up to where a huge page can be next, if the stream may have them. */
static bool clip(const struct fault *f, struct ra_next *next)
{
	uint64_t size = page_align_up(atomic_load_explicit(&f->as->size, memory_order_relaxed)) >> FL_PAGE_SHIFT;
	uint64_t low = f->index - f->before, high = min_u64(f->index + f->room, size);
	uint64_t start = max_u64(next->index, low), end = min_u64(next->index + next->pages, high), huge;

	if (start >= end)
		return false;
	huge = next->huge ? next_huge(f, start + 1) : UINT64_MAX;
	next->index = start;
	next->pages = (uint32_t)(min_u64(end, huge) - start);
	next->huge = next->huge && next_huge(f, start) == start;
	return true;
}

/* Starts to read up to `want` pages from index on, for which frames are reserved; those that were not needed are given back. */
static uint32_t start_reading(const struct fault *f, uint64_t index, uint32_t want, bool eager)
{
	struct address_space *as = f->as;
	uint32_t n = 0;

	if (read_trylock(&as->invalidate_lock)) {
		n = io_start(as, index, want, eager, f->batch);
		read_unlock(&as->invalidate_lock);
	}
	budget_release(want - n);
	return n;
}

static bool is_in_table(struct address_space *as, uint64_t index)
{
	return page_find_any((struct page_key){.as = as->id, .index = index}) != PFN_NONE;
}

#define LOOKS 1024

/* How many pages are in the table from here on, as far as so many looks tell. */
static uint32_t run_in_table(const struct fault *f, uint64_t index, int looks)
{
	uint64_t end = f->index + f->room, at = index;
	pfn_t pfn;

	for (int i = 0; i < looks && at < end; i++) {
		pfn = page_find_any((struct page_key){.as = f->as->id, .index = at});
		if (pfn == PFN_NONE)
			break;
		at += page_word(pfn) & PG_HUGE ? HUGE_PAGES - at % HUGE_PAGES : 1;
	}
	return (uint32_t)(min_u64(at, end) - index);
}

#define BEHIND_PART 16
#define BEHIND_MIN 2

/*
 * With MADV_SEQUENTIAL pages "may be freed soon after they are accessed" (madvise(2)). Where the mapping is more than memory can hold they will not be
 * there when the program begins anew, so the stream takes back what it has left behind, one place for each that it starts to read, and what others use stays.
 * UINT64_MAX: nothing is named.
 */
static uint64_t behind(const struct fault *f, uint64_t index)
{
	uint64_t frames = page_table_frames(), low = f->index - f->before;
	uint64_t distance = max_u64(BEHIND_MIN, frames / BEHIND_PART / HUGE_PAGES) * HUGE_PAGES + huge_ahead();

	if (f->advice != RA_SEQUENTIAL || f->before + f->room <= frames || index < f->index || index < low + distance)
		return UINT64_MAX;
	return index - distance;
}

/* Once more when others, that no stream came back for, have made room: all such, or old ones. */
static enum huge_start start_huge(const struct fault *f, uint64_t index, bool all)
{
	enum huge_start how = huge_start(f->as, index, behind(f, index), f->huge);

	return how == HUGE_LATER && io_retire(all) ? huge_start(f->as, index, behind(f, index), f->huge) : how;
}

/* How many pages of it are on their way or here; 0 when there is no memory for it now. */
static uint32_t start_next(const struct fault *f, struct ra_next *next)
{
	uint32_t n = run_in_table(f, next->index, readahead_is_forward(next) ? LOOKS : 1);

	if (n)
		next->huge = false;
	if (n)
		return n;
	if (next->huge) {
		enum huge_start how = start_huge(f, next->index, !next->under_way);

		if (how == HUGE_STARTED)
			return HUGE_PAGES;
		if (how == HUGE_LATER && next->under_way)
			return 0;
		next->huge = false;
	}
	if (!try_reserve_frames(next->pages))
		return 0;
	n = start_reading(f, next->index, next->pages, false);
	if (!n && io_retire(!next->under_way) && try_reserve_frames(next->pages)) /* windows that no stream came back for */
		n = start_reading(f, next->index, next->pages, false);
	return n;
}

/* ---- Where nothing can be in flight ---- */

static bool is_within(const struct fault *f, uint64_t index)
{
	return index >= f->index - f->before && index < f->index + f->room && !beyond_eof(f->as, index);
}

/*
 * What a track wants after what is read for it now. Backwards, the window beyond it; in strides, where the store's own read-ahead sees nothing that goes on, all
 * pages of as much again, so that they come in together.
 */
static void expect_after(const struct fault *f, const struct ra_next *next)
{
	if (next->step == -1 && next->index >= next->pages && is_within(f, next->index - next->pages)) {
		fault_expect(f, next->index - next->pages, next->pages);
		return;
	}
	for (uint32_t i = 0; next->step != -1 && i < 2 * next->window; i++) {
		uint64_t index = next->index + (uint64_t)(next->step * (int64_t)i);

		if (!is_within(f, index))
			break;
		fault_expect(f, index, 1);
	}
}

/*
 * What is foreseen is read at once, so much for this fault that a walk backwards or in strides has few of them; and before the page itself, with which
 * the program goes on.
 */
void ahead_before_miss(struct fault *f)
{
	struct ra_next next = {.grown = false};
	uint64_t left = readahead_at_once(fault_reads_on(f));
	uint32_t n;

	if (f->alone || f->wanted > 1 || f->advice == RA_RANDOM || io_can(f->as) || beyond_eof(f->as, f->index))
		return;
	readahead_note(f->as, f->index);
	for (bool first = true; left && readahead_next(f->as, f->index, false, &next) && clip(f, &next); first = false) {
		if (next.pages > left) { /* those nearest to the program */
			next.index += next.step == -1 ? next.pages - left : 0;
			next.pages = (uint32_t)left;
		}
		if (first || next.step == -1)
			expect_after(f, &next);
		n = is_in_table(f->as, next.index) ? next.pages : fault_fill_more(f, next.index, next.pages, true);
		if (!n)
			break;
		readahead_started(f->as, &next, n);
		left -= next.pages;
	}
}

static uint32_t start_more(const struct fault *f, uint64_t index, uint32_t want)
{
	return try_reserve_frames(want) ? start_reading(f, index, want, false) : 0;
}

/* Before the page itself: that is the order in which the store's own read-ahead goes on. */
void ahead_after_jump(const struct fault *f, uint32_t pages)
{
	uint64_t index = f->index - min_u64(pages, f->before);

	while (index < f->index) {
		uint32_t want = (uint32_t)min_u64(f->index - index, buffer_large_pages()), n = 1;

		if (!is_in_table(f->as, index))
			n = io_can(f->as) ? start_more(f, index, want) : fault_fill_more(f, index, want, true);
		if (!n)
			break;
		index += n;
	}
}

void ahead_go_on(struct fault *f)
{
	struct ra_next next;
	uint32_t n;

	if (f->advice == RA_RANDOM || !(f->missed || f->touched) || !io_can(f->as))
		return;
	if (f->touched)
		readahead_touch(f->as, f->index);
	else if (!f->forward)
		readahead_note(f->as, f->index);
	next.grown = false;
	while (readahead_next(f->as, f->index, f->forward || f->touched, &next) && clip(f, &next) && (n = start_next(f, &next)))
		readahead_started(f->as, &next, n);
}

bool ahead_miss(struct fault *f, uint64_t window)
{
	if (f->retried || !readahead_is_long((uint32_t)window) || next_huge(f, f->index) != f->index || !io_can(f->as))
		return false;
	f->retried = true;
	if (start_huge(f, f->index, false) != HUGE_STARTED)
		return false;
	readahead_done(f->as, f->index, HUGE_PAGES, HUGE_PAGES);
	return true;
}

/* ---- Without a fault ---- */

#define START_TRIES 64

/* A huge page, where one can begin here and the range has all of it. */
static bool start_huge_in_range(const struct fault *f, uint64_t index, uint64_t end)
{
	enum huge_start how = HUGE_NEVER;

	if (index + HUGE_PAGES > end || next_huge(f, index) != index || !io_can(f->as))
		return false;
	for (int i = 0; i < START_TRIES && (how = start_huge(f, index, false)) == HUGE_LATER && io_help(); i++)
		;
	return how == HUGE_STARTED;
}

#define SENT_TOGETHER 8 /* measured: docs/performance.md */

static void send_reads(const struct fault *f)
{
	if (f->batch)
		io_send(f->batch);
}

/* Waits only when all is sent. */
static bool get_frames(const struct fault *f, uint32_t *want)
{
	if (f->batch && budget_try_reserve(*want))
		return true;
	send_reads(f);
	return !reserve_frames(*want, want);
}

/* What it needs to go on: false when nothing can be in flight now. */
static bool help(const struct fault *f, uint64_t index)
{
	send_reads(f);
	return io_help() || is_in_table(f->as, index);
}

/* Starts to read what is missing; waits only where too much is in flight already, or memory is short. How many pages it came past. */
static uint64_t start_range(const struct fault *f, uint64_t end)
{
	struct address_space *as = f->as;
	uint64_t index = f->index;
	unsigned tries = 0; /* that found no room in flight: others may fill it for ever */

	while (index < end && tries < START_TRIES) {
		uint64_t until = min_u64(end, next_huge(f, index + 1));
		uint32_t want = (uint32_t)min_u64(until - index, buffer_large_pages()), n = 1;

		if (start_huge_in_range(f, index, end)) {
			n = HUGE_PAGES;
		} else if (!is_in_table(as, index)) {
			if (!get_frames(f, &want))
				break;
			n = start_reading(f, index, want, true);
			if (f->batch && f->batch->n == SENT_TOGETHER)
				send_reads(f);
			if (!n && !help(f, index))
				break;
		}
		tries = n ? 0 : tries + 1;
		index += n;
	}
	return index - f->index;
}

/* The same by the caller: nothing is in flight. */
static uint64_t read_range(struct fault *f, uint64_t pages)
{
	struct fault ahead = {.as = f->as, .index = f->index, .mmu = f->mmu, .addr = as_is_pool(f->as) ? f->addr : 0};
	uint64_t end = f->index + pages;

	while (ahead.index < end) {
		int err = 0;

		if (!is_in_table(ahead.as, ahead.index))
			err = fault_fill(&ahead, (uint32_t)min_u64(end - ahead.index, buffer_large_pages()));
		if (err == -EAGAIN)
			continue;
		if (err)
			return 0;
		ahead.index++; /* what else came in is stepped over */
		ahead.addr += ahead.addr ? FL_PAGE_SIZE : 0;
	}
	return pages;
}

uint64_t filemap_readahead_max(struct address_space *as)
{
	uint64_t limit = budget_limit(), used = budget_used(), available = limit > used ? limit - used : 0;

	return io_can(as) ? max_u64(limit / 4, available - available / 16) : limit / 4;
}

uint64_t filemap_readahead(struct fault *f, uint64_t pages)
{
	uint64_t size = page_align_up(atomic_load(&f->as->size)) >> FL_PAGE_SHIFT, in_file = size > f->index ? size - f->index : 0;

	if (as_is_hosted(f->as))
		return hosted_prefetch(f->as, f->index, pages) ? 0 : pages;
	if (!io_can_prefetch(f->as)) {
		send_reads(f);
		return read_range(f, pages);
	}
	if (!f->batch || !f->batch->n)
		io_poll();
	return start_range(f, f->index + min_u64(pages, in_file)) == min_u64(pages, in_file) ? pages : 0;
}
