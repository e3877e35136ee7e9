/* SPDX-License-Identifier: Apache-2.0 */
#include "truncate.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "budget.h"
#include "filemap.h"
#include "frames.h"
#include "hosted.h"
#include "huge.h"
#include "io.h"
#include "mmu/soft.h"
#include "ram.h"
#include "util/compiler.h"
#include "util/sys.h"

static bool in_writeback(uint32_t word)
{
	return page_state_of(word) == PAGE_WRITEBACK || page_state_of(word) == PAGE_REDIRTY;
}

/* Locks the page when it belongs to the range, waiting for whoever works on it, its write-back included. */
static pfn_t lock_settled(struct page_key key)
{
	for (;;) {
		pfn_t pfn = page_find_lock(key);
		uint32_t w;

		if (pfn == PFN_NONE || !in_writeback(page_word(pfn)))
			return pfn;
		page_unlock(pfn);
		w = page_word(pfn);
		if (in_writeback(w) && !io_wait_write(pfn)) /* else it has ended meanwhile, and nobody would wake us */
			page_wait(pfn, w);
	}
}

/*
 * Takes a page out of the table; false when it is not there. Private pages are freed here, those of a file by one punch
 * for the whole range after: until then a fault would find frame memory that the table does not know, and drop it.
 */
static bool forget_one(struct address_space *as, struct page_key key, bool zap)
{
	pfn_t pfn = lock_settled(key);

	if (pfn == PFN_NONE)
		return false;
	if (page_state_of(page_word(pfn)) == PAGE_DIRTY)
		as_count_dirty(as, -1);
	if (as_is_ram(as) && ram_orphan(pfn)) {
		as_count_page(as, -1);
		return false;
	}
	filemap_forget_pins(page_pins_of(page_word(pfn)));
	page_discard(pfn);
	if (zap && (as_lives_mapped(as) || as->frames->by_page))
		as->frames->discard(as, key.index, 1);
	as_count_page(as, -1);
	page_remove(pfn);
	return true;
}

static bool in_range(pfn_t pfn, const struct address_space *as, uint64_t first, uint64_t last, struct page_key *key)
{
	bool yes;

	if (page_state_of(page_word(pfn)) == PAGE_ABSENT)
		return false;
	page_lock(pfn);
	*key = page_key(pfn);
	yes = page_state_of(page_word(pfn)) != PAGE_ABSENT && key->as == as->id && key->index >= first && key->index <= last;
	page_unlock(pfn);
	return yes;
}

static uint64_t forget_range(struct address_space *as, uint64_t first, uint64_t last, bool zap)
{
	uint64_t n = 0;
	pfn_t high;

	huge_drop_range(as, first, last); /* before we look how far the table goes: one may just have been split */
	high = page_table_high();
	if (last - first < high / 4) {
		for (uint64_t i = first; i <= last && atomic_load(&as->nr_pages); i++)
			n += forget_one(as, (struct page_key){.as = as->id, .index = i}, zap);
		return n;
	}
	for (pfn_t p = 0; p < high && atomic_load(&as->nr_pages); p++) {
		struct page_key key;

		if (in_range(p, as, first, last, &key))
			n += forget_one(as, key, zap);
	}
	return n;
}

void truncate_pages(struct address_space *as, uint64_t first, uint64_t last)
{
	uint64_t n;

	huge_split_ends(as, first, last);
	n = forget_range(as, first, last, true);

	if (n && !as_lives_mapped(as) && !as->frames->by_page)
		as->frames->discard(as, first, last - first + 1);
	budget_release(n);
	if (as_is_anon(as))
		anon_clear_swapped(as, first, min_u64(last - first + 1, as->anon_pages - first));
}

int truncate_hole(struct address_space *as, uint64_t first, uint64_t last)
{
	uint64_t off = first << FL_PAGE_SHIFT, len = (last - first + 1) << FL_PAGE_SHIFT;
	int err;

	if (as_is_hosted(as))
		return hosted_remove(as, first, last);
	write_lock(&as->invalidate_lock);
	io_drain(as);
	err = sys_fallocate(file_store_fd(as->store), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
	if (!err)
		truncate_pages(as, first, last);
	write_unlock(&as->invalidate_lock);
	return err;
}

void forget_zapped_pages(struct address_space *as, uint64_t first, uint64_t last)
{
	budget_release(forget_range(as, first, last, false));
}

static void discard_if_clean(struct address_space *as, struct page_key key)
{
	pfn_t pfn = lock_settled(key);

	if (pfn == PFN_NONE)
		return;
	if (page_state_of(page_word(pfn)) != PAGE_CLEAN || page_pins_of(page_word(pfn))) {
		page_unlock(pfn);
		return;
	}
	page_discard(pfn);
	as->frames->discard(as, key.index, 1);
	as_count_page(as, -1);
	page_remove(pfn);
	budget_release(1);
}

void invalidate_clean_pages(struct address_space *as)
{
	pfn_t high;

	huge_drop_range(as, 0, PAGE_INDEX_MAX);
	high = page_table_high();
	for (pfn_t p = 0; p < high && atomic_load(&as->nr_pages); p++) {
		struct page_key key;

		if (page_state_of(page_word(p)) == PAGE_CLEAN && in_range(p, as, 0, PAGE_INDEX_MAX, &key))
			discard_if_clean(as, key);
	}
}

/* Zeroes the bytes of a page in memory from `from` to its end. */
static int zero_tail(struct address_space *as, uint64_t from)
{
	uint64_t in_page = from & FL_PAGE_MASK;
	pfn_t pfn;
	int err;

	if (!in_page)
		return 0;
	pfn = page_find_lock((struct page_key){.as = as->id, .index = from >> FL_PAGE_SHIFT});
	if (pfn == PFN_NONE)
		return 0;
	err = frame_write(as, from, frame_zeros, FL_PAGE_SIZE - in_page);
	page_unlock(pfn);
	return err;
}

/*
 * A private mapping that has not been visited yet, with a reference to its private pages; *first is the first of those
 * that lie at or after page `end` of the file.
 */
static struct address_space *next_private(struct address_space *as, uint64_t end, uint32_t turn, uint64_t *first)
{
	struct address_space *anon = NULL;

	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !anon; r = r->next) {
		if (!r->anon || !as_is_anon(r->anon) || r->visited == turn || end >= r->pgoff + r->pages)
			continue;
		r->visited = turn;
		anon = r->anon;
		atomic_fetch_add(&anon->anon_refs, 1);
		*first = r->anon_pgoff + (end > r->pgoff ? end - r->pgoff : 0);
	}
	read_unlock(&rmap_lock);
	return anon;
}

/*
 * Private copies of pages beyond the end go too, as on the kernel. (What lies behind them in the same object belongs to
 * later parts of the same mmap call, so to the file beyond its end as well.)
 */
void truncate_private(struct address_space *as, uint64_t end)
{
	static _Atomic uint32_t turns;
	uint32_t turn = atomic_fetch_add(&turns, 1) + 1;
	struct address_space *anon;
	uint64_t first;

	while ((anon = next_private(as, end, turn, &first))) {
		if (first < anon->anon_pages)
			truncate_pages(anon, first, anon->anon_pages - 1);
		address_space_put_anon(anon);
	}
}

/* In soft spaces the entries of each mapping know its private copies. */
static void truncate_soft(struct address_space *as, uint64_t end)
{
	struct ram_taken t;

	do {
		t.n = 0;
		t.racing = t.keeps_guards = true;
		t.again = false;
		read_lock(&rmap_lock);
		for (struct rmap *r = as->rmaps; r && t.n < RAM_TAKE; r = r->next) {
			uint64_t first = max_u64(end, r->pgoff), last = r->pgoff + r->pages;

			if (first < last)
				ram_take(soft_of(r->mmu), r->addr + ((first - r->pgoff) << FL_PAGE_SHIFT),
					 r->addr + (r->pages << FL_PAGE_SHIFT), &t);
		}
		read_unlock(&rmap_lock);
		ram_put_taken(&t);
		if (t.again)
			sys_yield();
	} while (t.n == RAM_TAKE || t.again);
}

void truncate_copies(struct address_space *as, uint64_t end)
{
	truncate_private(as, end);
	if (as_is_ram(as))
		truncate_soft(as, end);
}

int truncate_setsize(struct address_space *as, uint64_t old_size, uint64_t new_size)
{
	uint64_t end = page_align_up(new_size) >> FL_PAGE_SHIFT;

	atomic_store(&as->size, new_size);
	if (as_is_hosted(as)) { /* the rest is the host's work */
		if (new_size < old_size)
			truncate_private(as, end);
		return 0;
	}
	if (new_size >= old_size) {
		if (as_is_ram(as)) /* a page of 16 or 64 KiB may have gone on past the end */
			truncate_pages(as, page_align_up(old_size) >> FL_PAGE_SHIFT, PAGE_INDEX_MAX);
		return zero_tail(as, old_size);
	}
	truncate_pages(as, end, PAGE_INDEX_MAX);
	truncate_copies(as, end);
	zero_tail(as, new_size);
	return frame_truncate(as, end);
}

/* What is beyond the end of the store is zeros, as a hole made there leaves it. Caller holds the page lock. */
static int refresh_locked(struct address_space *as, uint64_t from, uint64_t to, void *page)
{
	ssize_t n = as->store->ops->peek(as->store, page, to - from, from);

	if (n < 0)
		return (int)n;
	memset((char *)page + n, 0, to - from - (uint64_t)n);
	return frame_write(as, from, page, to - from);
}

/* The part of [off, end) that lies in the page at `index`, read again from the store. */
static int refresh_page(struct address_space *as, uint64_t index, uint64_t off, uint64_t end, void *page)
{
	uint64_t from = max_u64(off, index << FL_PAGE_SHIFT), to = min_u64(end, (index + 1) << FL_PAGE_SHIFT);
	pfn_t pfn = page_find_lock((struct page_key){.as = as->id, .index = index});
	int err;

	if (pfn == PFN_NONE)
		return 0;
	err = refresh_locked(as, from, to, page);
	page_unlock(pfn);
	return err;
}

static void refresh_if_clean(struct address_space *as, struct page_key key, void *page)
{
	pfn_t pfn = page_find_lock(key);

	if (pfn == PFN_NONE)
		return;
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN)
		refresh_locked(as, key.index << FL_PAGE_SHIFT, (key.index + 1) << FL_PAGE_SHIFT, page);
	page_unlock(pfn);
}

void refresh_clean_pages(struct address_space *as, void *page)
{
	pfn_t high = page_table_high();

	invalidate_clean_pages(as);
	for (pfn_t p = 0; p < high && atomic_load(&as->nr_pages); p++) {
		struct page_key key;

		if (page_state_of(page_word(p)) == PAGE_CLEAN && in_range(p, as, 0, PAGE_INDEX_MAX, &key))
			refresh_if_clean(as, key, page);
	}
}

int refresh_range(struct address_space *as, uint64_t off, uint64_t len, void *page)
{
	uint64_t end = off + len, first = off >> FL_PAGE_SHIFT, last = (end - 1) >> FL_PAGE_SHIFT;
	int err = 0;
	pfn_t high;

	if (!len || !atomic_load(&as->nr_pages))
		return 0;
	huge_drop_range(as, first, last);
	high = page_table_high();
	if (last - first < high / 4) {
		for (uint64_t i = first; i <= last && !err; i++)
			err = refresh_page(as, i, off, end, page);
		return err;
	}
	for (pfn_t p = 0; p < high && !err; p++) {
		struct page_key key;

		if (in_range(p, as, first, last, &key))
			err = refresh_page(as, key.index, off, end, page);
	}
	return err;
}

int replace_range(struct address_space *as, uint64_t off, uint64_t len, void *page)
{
	uint64_t end = off + len, first = page_align_up(off) >> FL_PAGE_SHIFT, last = end >> FL_PAGE_SHIFT; /* [first, last) are whole */
	int err = 0;

	if (first >= last)
		return refresh_range(as, off, len, page);
	truncate_pages(as, first, min_u64(last - 1, PAGE_INDEX_MAX));
	if (off & FL_PAGE_MASK)
		err = refresh_range(as, off, (first << FL_PAGE_SHIFT) - off, page);
	if (!err && end & FL_PAGE_MASK)
		err = refresh_range(as, last << FL_PAGE_SHIFT, end & FL_PAGE_MASK, page);
	return err;
}
