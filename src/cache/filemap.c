/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault path. For a page of a file, in a shared mapping or read through a private one:
 *
 *   in memory    lock the page; map it (write-protected unless DIRTY), or lift the protection after making it DIRTY
 *   not          reserve frames, get a buffer, put READING pages in the table, read, install, unlock (fill below)
 *
 * For a private mapping the page may have a private copy, in memory or in swap, which comes first; a write makes one:
 *
 *   private copy in memory           lift the write protection (it was being swapped)
 *   private copy in swap             read it back
 *   none, write, page mapped         the kernel's own copy-on-write, with the file's page locked against eviction
 *   none, write, page not mapped     copy from the cache, or straight from the store, into the mapping
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
#include "ram.h"
#include "reclaim.h"
#include "util/compiler.h"

#define RUN_MAX 64

static _Atomic uint64_t pinned_pages;
static const char zeros[FL_PAGE_SIZE];

void filemap_init(void)
{
	atomic_store(&pinned_pages, 0);
}

static struct page_key file_key(const struct fault *f)
{
	return (struct page_key){.as = f->as->id, .index = f->index};
}

/* The private pages of the mapping, NULL while there are none. */
static struct address_space *anon_of(const struct fault *f)
{
	return f->anon ? atomic_load(f->anon) : NULL;
}

static struct page_key anon_key(const struct fault *f)
{
	return (struct page_key){.as = anon_of(f)->id, .index = f->anon_index};
}

static bool beyond_eof(struct address_space *as, uint64_t index)
{
	return index << FL_PAGE_SHIFT >= atomic_load_explicit(&as->size, memory_order_relaxed);
}

/* The first 4 KiB of the page of the space in which f->index lies. */
static uint64_t page_head(const struct fault *f)
{
	return f->index & ~(uint64_t)f->tail;
}

/* Caller holds the page lock. */
static void mark_dirty(struct address_space *as, pfn_t pfn)
{
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN)
		as_count_dirty(as, 1);
	page_make_dirty(pfn);
}

/* ---- The page is in memory ---- */

static bool is_dirty(pfn_t pfn)
{
	enum page_state s = page_state_of(page_word(pfn));

	return s == PAGE_DIRTY || s == PAGE_REDIRTY;
}

/*
 * Whether a private mapping has a copy of its own of the i-th page from here. Caller holds the lock of the file's page:
 * none is made meanwhile, and one that leaves memory is marked as swapped before it leaves the table.
 */
static bool has_private(const struct fault *f, uint32_t i)
{
	struct address_space *anon = anon_of(f);
	struct page_key key = {.index = f->anon_index + i};

	if (!anon)
		return false;
	key.as = anon->id;
	return page_find(key) != PFN_NONE || anon_is_swapped(anon, key.index);
}

/* Maps a page of the frame memory; an mmu that cannot write-protect at once gets clean pages of shared mappings as dirty ones. */
static int map_page(struct fault *f, pfn_t pfn)
{
	bool wp = !f->write || f->anon;
	int err;

	if (wp && !f->mmu->map_can_wp && !f->anon && f->as->store->writable)
		mark_dirty(f->as, pfn);
	if (f->anon && has_private(f, 0))
		return -EAGAIN; /* in swap by now: the file's page must not show in its place */
	err = f->mmu->ops->map(f->mmu, f->addr, FL_PAGE_SIZE, wp && (f->anon || !is_dirty(pfn)) ? MMU_WP : 0);
	return err == -EEXIST ? (f->write && !f->anon ? f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE) : 0) : err;
}

static void count_hit(const struct fault *f)
{
	if (!f->missed)
		report_add(&f->as->report->faults_hit, 1);
}

/* The page is locked; a write is one through a shared mapping. */
static int hit(struct fault *f, pfn_t pfn)
{
	page_set_flags(pfn, PG_REFERENCED);
	count_hit(f);
	if (f->write)
		mark_dirty(f->as, pfn);
	if (as_is_ram(f->as))
		return 0;
	if (!f->present && !as_is_pool(f->as)) /* a page on a pool frame that is in memory is mapped: another fault was faster */
		return map_page(f, pfn);
	if (f->write)
		report_add(&f->as->report->faults_write, 1);
	return f->write ? f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE) : 0;
}

/* ---- Fill: pages come from the store ---- */

struct fill {
	struct address_space *as;
	uint64_t index;
	uint32_t n, reserved; /* pages in hand, locked; frames reserved and not used */
	pfn_t pfn[RUN_MAX];
	struct buffer buf;
};

/* Puts up to max new pages in the table; stops at one that is there. */
static void insert_run(struct fill *fl, uint32_t max)
{
	while (fl->n < max && fl->reserved) {
		struct page_key key = {.as = fl->as->id, .index = fl->index + fl->n};
		pfn_t pfn;

		if (fl->n && page_find(key) != PFN_NONE)
			break;
		pfn = fl->n ? page_insert_ahead(key) : page_insert(key);
		if (pfn == PFN_NONE)
			break;
		fl->pfn[fl->n++] = pfn;
		fl->reserved--;
	}
	as_count_page(fl->as, (int)fl->n);
}

/* Takes the pages from `keep` on out of the table again. */
static void drop_run(struct fill *fl, uint32_t keep)
{
	uint32_t n = fl->n > keep ? fl->n - keep : 0;

	if (!n)
		return;
	as_count_page(fl->as, -(int)n);
	while (fl->n > keep) {
		page_remove(fl->pfn[--fl->n]);
		fl->reserved++;
	}
}

/*
 * Reads the run. A failure of a run read ahead must not become a failure of the page asked for: that one is read again
 * alone. Pages that the file ends before are dropped; the rest of the last page is zeroed.
 */
static int read_run(struct fill *fl)
{
	const struct store_ops *ops = fl->as->store->ops;
	uint64_t off = fl->index << FL_PAGE_SHIFT, end;
	ssize_t got = ops->read(fl->as->store, fl->buf.data, (size_t)fl->n << FL_PAGE_SHIFT, off);

	if (got < 0 && fl->n > 1) {
		drop_run(fl, 1);
		got = ops->read(fl->as->store, fl->buf.data, FL_PAGE_SIZE, off);
	}
	report_add(&fl->as->report->reads, 1);
	if (got < 0) {
		report_add(&fl->as->report->read_errors, 1);
		return (int)got;
	}
	report_add(&fl->as->report->read_bytes, (uint64_t)got);
	end = page_align_up((uint64_t)got);
	if ((uint64_t)got < (uint64_t)fl->n << FL_PAGE_SHIFT)
		address_space_stat(fl->as); /* the end, or shorter than it was: cut by somebody else, or a read that stopped short */
	drop_run(fl, (uint32_t)(end >> FL_PAGE_SHIFT));
	if ((uint64_t)got < end && off + (uint64_t)got < atomic_load(&fl->as->size))
		return -EAGAIN; /* stopped short inside a page: not the end of the file */
	memset(fl->buf.data + got, 0, end - (uint64_t)got);
	return fl->n ? 0 : -EAGAIN;
}

/* What lies past the end of the file in its last page, where that is larger than ours. */
static int zero_run(struct fill *fl)
{
	drop_run(fl, 1);
	memset(fl->buf.data, 0, FL_PAGE_SIZE);
	return 0;
}

/* Installs the run in a shared mapping: the pages enter the frame memory there. How many were. */
static uint32_t install_shared(struct fault *f, struct fill *fl, int *err)
{
	uint64_t done = 0, more = 0;
	const struct mmu_ops *ops = f->mmu->ops;

	*err = ops->copy(f->mmu, f->addr, fl->buf.data, FL_PAGE_SIZE, f->write ? 0 : MMU_WP, &done);
	if (*err == -EEXIST) { /* frame memory that the table does not know holds nothing of value */
		fl->as->frames->discard(fl->as, fl->index, 1);
		*err = -EAGAIN;
	}
	if (!*err && fl->n > 1)
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
	while (f->addr && n < fl->n && !has_private(f, n))
		n++;
	if (n) {
		*err = f->mmu->ops->map(f->mmu, f->addr, (uint64_t)n << FL_PAGE_SHIFT, MMU_WP);
		if (*err == -EEXIST)
			*err = 0;
	}
	return fl->n;
}

static void publish(struct fault *f, struct fill *fl)
{
	for (uint32_t i = 0; i < fl->n; i++) {
		bool dirty = i == 0 && f->write;

		page_read_done(fl->pfn[i], dirty);
		page_unlock(fl->pfn[i]);
	}
	if (fl->n > 1)
		report_add(&fl->as->report->read_ahead, fl->n - 1);
	readahead_done(fl->as, fl->index, fl->n);
}

/* Caller holds the invalidate_lock (read). */
static int fill_locked(struct fault *f, struct fill *fl, uint32_t want)
{
	uint32_t kept;
	int err;

	if (beyond_eof(f->as, page_head(f)) && (address_space_stat(f->as) || beyond_eof(f->as, page_head(f))))
		return -ENXIO;
	insert_run(fl, want);
	if (!fl->n)
		return -EAGAIN;
	err = beyond_eof(f->as, f->index) ? zero_run(fl) : read_run(fl);
	if (err) {
		drop_run(fl, 0);
		return err;
	}
	if (f->write) /* before it is mapped: another thread may store to it at once, and msync */
		as_count_dirty(fl->as, 1);
	kept = f->anon || !f->addr ? install_private(f, fl, &err) : install_shared(f, fl, &err);
	if (f->write && !kept)
		as_count_dirty(fl->as, -1);
	drop_run(fl, kept);
	if (fl->n)
		publish(f, fl);
	return err;
}

static int fill(struct fault *f, uint32_t want)
{
	struct fill fl = {.as = f->as, .index = f->index};
	int err = reserve_frames(want, &want);

	if (err)
		return err;
	fl.reserved = want;
	fl.buf = buffer_get(want > 1);
	read_lock(&f->as->invalidate_lock);
	err = fill_locked(f, &fl, (uint32_t)min_u64(min_u64(want, fl.buf.pages), RUN_MAX));
	read_unlock(&f->as->invalidate_lock);
	buffer_put(fl.buf);
	budget_release(fl.reserved);
	return err;
}

static int miss(struct fault *f)
{
	uint64_t want = readahead_window(f->as, f->index, f->advice);
	uint64_t size = page_align_up(atomic_load_explicit(&f->as->size, memory_order_relaxed)) >> FL_PAGE_SHIFT;

	f->missed = true;
	want = min_u64(want, f->room);
	if (size > f->index)
		want = min_u64(want, size - f->index);
	return fill(f, (uint32_t)max_u64(want, 1));
}

/* A page of the file. On success and with `pinned`, the page stays locked for the caller to pin. */
static int fault_file(struct fault *f, pfn_t *locked)
{
	for (;;) {
		pfn_t pfn = page_find_lock(file_key(f));
		int err;

		if (pfn != PFN_NONE) {
			err = hit(f, pfn);
			if (locked && !err)
				*locked = pfn;
			else
				page_unlock(pfn);
			return err;
		}
		err = miss(f);
		if (err && err != -EAGAIN)
			return err;
		if (!err && !locked)
			return 0;
		f->present = false;
	}
}

/* ---- Private copies ---- */

/* The private page is locked and in memory, so it is mapped; protected only while it is being swapped. */
static int anon_hit(struct fault *f, pfn_t pfn)
{
	page_set_flags(pfn, PG_REFERENCED);
	count_hit(f);
	if (!f->write)
		return 0;
	mark_dirty(anon_of(f), pfn);
	report_add(&f->as->report->faults_write, 1);
	return f->mmu->ops->unprotect(f->mmu, f->addr, FL_PAGE_SIZE);
}

static int copy_in(struct fault *f, const void *data, unsigned flags)
{
	uint64_t done;
	int err = f->mmu->ops->copy(f->mmu, f->addr, data, FL_PAGE_SIZE, flags, &done);

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
	err = copy_in(f, buf.data, f->write ? 0 : MMU_WP);
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

static int cow(struct fault *f, struct buffer buf)
{
	pfn_t file_page = page_find_lock(file_key(f));
	int err;

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
		err = copy_in(f, buf.data, 0);
	/* Told of a page, and there is one, but not the file's: it is a private copy already. */
	return err == -EEXIST && f->present ? cow_mapped(f) : err;
}

/* Anonymous memory that was never written. A page that is there and that the table does not know is the program's own. */
static int zero_fill(struct fault *f)
{
	return f->present ? cow_mapped(f) : copy_in(f, zeros, f->write ? 0 : MMU_WP);
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
		if (f->write)
			as_count_dirty(anon, 1);
		else if (!swapped)
			page_set_flags(pfn, PG_LAZYFREE);
	}
	return err;
}

/* A private page that is not in memory: from swap, or by copy-on-write. */
static int anon_miss(struct fault *f, pfn_t *locked)
{
	struct buffer buf;
	uint32_t got;
	pfn_t pfn;
	int err = reserve_frames(1, &got);

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
	return err;
}

static int fault_private(struct fault *f, pfn_t *locked)
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
		if (!fault_needs_anon(f) && !(anon && anon_is_swapped(anon, f->anon_index)))
			err = fault_file(f, locked);
		else
			err = anon_miss(f, locked);
		if (err != -EAGAIN)
			return err;
	}
}

static int fault_page(struct fault *f, pfn_t *locked)
{
	return f->anon ? fault_private(f, locked) : fault_file(f, locked);
}

int filemap_get_page(struct fault *f, pfn_t *locked)
{
	report_add(&f->as->report->faults, 1);
	return fault_file(f, locked);
}

int filemap_fault(struct fault *f)
{
	report_add(&f->as->report->faults, 1);
	return fault_page(f, NULL);
}

/* ---- Pins ---- */

bool filemap_charge_locked(uint64_t pages)
{
	uint64_t max = budget_limit() / 2, n = atomic_load(&pinned_pages);

	do
		if (pages > max || n > max - pages)
			return false;
	while (!atomic_compare_exchange_weak(&pinned_pages, &n, n + pages));
	return true;
}

void filemap_uncharge_locked(uint64_t pages)
{
	atomic_fetch_sub(&pinned_pages, pages);
}

int filemap_pin(struct fault *f)
{
	pfn_t pfn;
	int err;

	if (!filemap_charge_locked(1))
		return -ENOMEM;
	report_add(&f->as->report->faults, 1);
	err = fault_page(f, &pfn);
	if (!err) {
		if (!page_pin(pfn))
			err = -ENOMEM;
		page_unlock(pfn);
	}
	if (err)
		atomic_fetch_sub(&pinned_pages, 1);
	return err;
}

static bool unpin_key(struct page_key key)
{
	pfn_t pfn = page_find_lock(key);
	bool was;

	if (pfn == PFN_NONE)
		return false;
	was = page_pins_of(page_word(pfn)) > 0;
	page_unpin(pfn);
	page_unlock(pfn);
	return was;
}

/* A pin made for reading lies on the file's page, also when the program has made a private copy since. */
void filemap_unpin(struct fault *f)
{
	if ((anon_of(f) && unpin_key(anon_key(f))) || (!f->as->zero && unpin_key(file_key(f))))
		atomic_fetch_sub(&pinned_pages, 1);
}

void filemap_forget_pins(uint32_t n)
{
	atomic_fetch_sub(&pinned_pages, n);
}

/* ---- Without a fault ---- */

uint64_t filemap_readahead(struct fault *f, uint64_t pages)
{
	struct fault ahead = {.as = f->as, .index = f->index, .mmu = f->mmu, .addr = as_is_pool(f->as) ? f->addr : 0};
	uint64_t end = f->index + pages;

	while (ahead.index < end) {
		uint32_t want = 1;

		if (page_find(file_key(&ahead)) == PFN_NONE) {
			want = (uint32_t)min_u64(end - ahead.index, buffer_large_pages());
			if (fill(&ahead, want) < 0)
				return 0;
			want = 1; /* what else came in is stepped over */
		}
		ahead.index += want;
		ahead.addr += ahead.addr ? FL_PAGE_SIZE : 0;
	}
	return pages;
}

bool filemap_resident(const struct fault *f)
{
	return (anon_of(f) && page_find(anon_key(f)) != PFN_NONE) || (!f->as->zero && page_find(file_key(f)) != PFN_NONE);
}

bool filemap_swapped(const struct fault *f)
{
	return anon_of(f) && page_find(anon_key(f)) == PFN_NONE && anon_is_swapped(anon_of(f), f->anon_index);
}

/* Caller holds the page lock. Protected, so that a store from now on is seen, and the page kept. */
static void free_lazily_locked(struct address_space *anon, struct page_key key, pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	if (page_state_of(w) == PAGE_DIRTY && !page_pins_of(w) && !rmap_protect(anon, key.index, 1)) {
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
	free_lazily_locked(anon, key, pfn);
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
