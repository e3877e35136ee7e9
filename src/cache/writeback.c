/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write-back of a cluster, a run of neighbouring dirty pages of one file:
 *
 *   get a buffer            waits; no page lock is held
 *   invalidate_lock, read   so that write(2) and ftruncate(2) through us keep off until the store has the bytes
 *   lock the pages          the first may be waited for, neighbours are only tried
 *   write-protect them in every mapping, copy them, state -> WRITEBACK, unlock
 *   write                   the program reads on; its stores make the page REDIRTY
 *   lock each page          WRITEBACK -> CLEAN, REDIRTY -> DIRTY, or -> DIRTY with PG_ERROR
 *
 * With O_DIRECT the write is in flight (io.c) and the last step is taken by whoever sees its end; many clusters are written at once, and
 * who has to wait does so after the last one was started. The buffer is then got after the pages are locked, without waiting. An msync, or a sweep of
 * reclaim, gathers writes and sends many with one call, which wakes the device once; it sends what it has before it waits for anything.
 *
 * A page is never in two writes at once: DIRTY is the only state to start from. A pinned page cannot be protected,
 * since a system call may be storing into it; msync writes what it holds now and it stays DIRTY until unpinned. It is locked meanwhile: else it might be
 * unpinned and written anew, and what it held before come to the store last.
 */
#include "writeback.h"

#include <errno.h>
#include <limits.h>

#include "budget.h"
#include "buffer.h"
#include "host/wire.h"
#include "hosted.h"
#include "io.h"
#include "reclaim.h"
#include "util/compiler.h"
#include "util/sys.h"

#define CLUSTER_MAX 64

struct cluster {
	struct address_space *as;
	uint64_t index; /* of pfn[0] */
	uint32_t n;
	pfn_t pfn[CLUSTER_MAX];
	struct buffer buf;
	bool pinned;   /* pinned pages: copied without protection, stay DIRTY, and locked until they are written */
	bool in_order; /* of their index: then pinned pages are written together, which the table would come to again, DIRTY as they stay */
	bool async;    /* writes are left in flight: pages that are in one are not waited for */
	bool again;    /* some of those will have to be written once more, or are a thread's */
	bool reclaim;
	struct io_batch *batch; /* writes that are to be sent together */
	bool sized;             /* with a batch that is not empty: `size` is that of the file when the first was added */
	uint64_t size;
};

static bool is_dirty(pfn_t pfn)
{
	return page_state_of(page_word(pfn)) == PAGE_DIRTY;
}

/* Locks a neighbour if it is dirty and free, and pinned or not. */
static pfn_t try_neighbour(struct page_key key, bool pinned)
{
	struct page_key found;
	pfn_t pfn = page_find(key);

	if (pfn == PFN_NONE || !is_dirty(pfn) || !page_trylock(pfn))
		return PFN_NONE;
	found = page_key(pfn);
	if (found.as == key.as && found.index == key.index && is_dirty(pfn) && (page_pins_of(page_word(pfn)) > 0) == pinned)
		return pfn;
	page_unlock(pfn);
	return PFN_NONE;
}

/* Extends c, which holds its first page locked, to the left and to the right, within [first, last]. */
static void grow_cluster(struct cluster *c, uint64_t first, uint64_t last, uint32_t max)
{
	struct page_key key = {.as = c->as->id, .index = c->index};
	uint32_t left = 0;
	pfn_t pfn;

	for (; c->n < max && c->index > first; c->index--, left++) {
		key.index = c->index - 1;
		if ((pfn = try_neighbour(key, c->pinned)) == PFN_NONE)
			break;
		c->pfn[c->n++] = pfn; /* in reverse order; turned below */
	}
	for (uint32_t i = 0, j = left; i < j; i++, j--) {
		pfn = c->pfn[i];
		c->pfn[i] = c->pfn[j];
		c->pfn[j] = pfn;
	}
	while (c->n < max && c->index + c->n <= last) {
		key.index = c->index + c->n;
		if ((pfn = try_neighbour(key, c->pinned)) == PFN_NONE)
			break;
		c->pfn[c->n++] = pfn;
	}
}

static void unlock_cluster(struct cluster *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		page_unlock(c->pfn[i]);
}

/* The pages become stable and are copied; then they may be written to again. On failure they are DIRTY as before. */
static int stabilize(struct cluster *c, void *copy)
{
	int err = c->pinned ? 0 : rmap_protect(c->as, c->index, c->n);

	if (!err && c->as->frames->snapshot)
		err = c->as->frames->snapshot(c->as, c->index, c->n, copy);
	if (!err && !c->pinned)
		for (uint32_t i = 0; i < c->n; i++)
			page_begin_writeback(c->pfn[i]);
	if (err || !c->pinned)
		unlock_cluster(c);
	return err;
}

/*
 * What O_DIRECT cannot write, the end of the file within a page, goes through the page cache of the kernel. A direct write that is under way meanwhile
 * cannot drop what others have read of its pages into that cache, if it lies in one folio with what has just become dirty: they would go on reading the
 * bytes of before, and fsync(2) fails with EIO. So neither is under way while the other is. Who waits here holds no page lock but those of
 * pinned pages, which are in no other write.
 */
static void end_direct(struct address_space *as)
{
	if (atomic_fetch_sub(&as->direct_writes, 1) == 1 && atomic_load(&as->writes_tail))
		sys_futex_wake(&as->direct_writes, INT_MAX);
}

static void begin_direct(struct address_space *as)
{
	for (;;) {
		atomic_fetch_add(&as->direct_writes, 1);
		if (!atomic_load(&as->writes_tail))
			return;
		end_direct(as);
		sys_futex_wait(&as->writes_tail, 1);
	}
}

static void begin_tail(struct address_space *as)
{
	uint32_t n;

	while (atomic_exchange(&as->writes_tail, 1))
		sys_futex_wait(&as->writes_tail, 1);
	io_drain_writes(as, 0, PAGE_INDEX_MAX);
	while ((n = atomic_load(&as->direct_writes)))
		sys_futex_wait(&as->direct_writes, n);
}

static void end_tail(struct address_space *as)
{
	atomic_store(&as->writes_tail, 0);
	sys_futex_wake(&as->writes_tail, INT_MAX);
}

static int write_to_store(struct address_space *as, const void *data, uint64_t len, uint64_t off)
{
	const struct store_ops *ops = as->store->ops;
	bool tail = len & FL_PAGE_MASK;
	int err;

	if (!ops->direct_fd || ops->direct_fd(as->store, true) < 0)
		return ops->write(as->store, data, len, off);
	if (tail)
		begin_tail(as);
	else
		begin_direct(as);
	err = ops->write(as->store, data, len, off);
	if (tail)
		end_tail(as);
	else
		end_direct(as);
	return err;
}

/* Never past the end of the file: a page may have been dirtied beyond it, or the file been cut by others. */
static int write_cluster(struct cluster *c)
{
	uint64_t off = c->index << FL_PAGE_SHIFT, len = (uint64_t)c->n << FL_PAGE_SHIFT;
	uint64_t size = 0;
	int err;

	if (c->as->frames->write_out)
		return c->as->frames->write_out(c->as, c->index, c->n);
	err = c->as->store->ops->size(c->as->store, &size);
	if (err || off >= size)
		return err;
	len = min_u64(len, size - off);
	err = write_to_store(c->as, c->buf.data, len, off);
	if (!err) {
		report_add(&c->as->report->writes, 1);
		report_add(&c->as->report->written_bytes, len);
	}
	return err;
}

/* Whether it is clean now. */
static bool finish_page(struct address_space *as, pfn_t pfn, int err)
{
	bool clean;

	page_lock(pfn);
	if (err)
		page_fail_writeback(pfn);
	else
		page_end_writeback(pfn);
	clean = page_state_of(page_word(pfn)) == PAGE_CLEAN;
	if (clean)
		as_count_dirty(as, -1);
	page_unlock(pfn);
	return clean;
}

static void note_result(struct address_space *as, uint32_t n, int err)
{
	if (err) {
		wb_err_set(as, err);
		report_add(&as->report->write_errors, 1);
	} else {
		report_add(&as->report->writebacks, n);
	}
	if (atomic_load_explicit(&as->failing, memory_order_relaxed) != !!err)
		atomic_store(&as->failing, !!err);
}

/* The pages are where they were: WRITEBACK pages stay in the table. */
void writeback_ended(struct address_space *as, uint64_t index, uint32_t n, uint64_t len, int err, bool reclaim)
{
	if (!err) {
		report_add(&as->report->writes, 1);
		report_add(&as->report->written_bytes, len);
	}
	note_result(as, n, err);
	for (uint32_t i = 0; i < n; i++) {
		pfn_t pfn = page_find((struct page_key){.as = as->id, .index = index + i});

		fl_assert(pfn != PFN_NONE);
		if (finish_page(as, pfn, err) && reclaim)
			reclaim_written(pfn);
	}
}

static void finish(struct cluster *c, int err)
{
	note_result(c->as, c->n, err);
	if (c->pinned)
		unlock_cluster(c);
	else
		for (uint32_t i = 0; i < c->n; i++)
			finish_page(c->as, c->pfn[i], err);
}

/*
 * Whole pages, so that O_DIRECT can write them; the end of a file is left to write_cluster(). The store is asked, as there: a file that others
 * have cut must not become longer again. Once for all that is sent together.
 */
static bool is_whole(struct cluster *c)
{
	if (!(c->sized && c->batch->n) && c->as->store->ops->size(c->as->store, &c->size))
		c->size = 0;
	return (c->index + c->n) << FL_PAGE_SHIFT <= c->size;
}

/* Leaves the write in flight, or in the batch. False when that cannot be now: the pages are locked and DIRTY as before. *err: they are not, or it failed. */
static bool send_cluster(struct cluster *c, int *err)
{
	struct buffer buf;
	int request = io_get_write(c->as, c->index, c->n, c->reclaim, &buf);

	if (request < 0)
		return false;
	*err = stabilize(c, buf.data);
	if (*err)
		io_forget(request);
	else
		io_write(c->batch, request);
	c->sized = true;
	return true;
}

static int run_cluster(struct cluster *c)
{
	int err = stabilize(c, c->buf.data);

	if (err)
		return err;
	err = write_cluster(c);
	finish(c, err);
	return err;
}

static uint32_t cluster_limit(const struct cluster *c)
{
	return c->as->frames->snapshot ? (uint32_t)min_u64(CLUSTER_MAX, buffer_large_pages()) : 16;
}

/* Pages of anon objects are written from where they are mapped, and need no buffer. */
static struct buffer cluster_buffer(struct address_space *as)
{
	return as->frames->snapshot ? buffer_get(true) : (struct buffer){0};
}

static void put_cluster_buffer(struct buffer b)
{
	if (b.data)
		buffer_put(b);
}

/* The invalidate_lock (read), and a buffer. */
static struct buffer lock_with_buffer(struct address_space *as)
{
	for (;;) {
		struct buffer b = cluster_buffer(as);

		if (read_trylock(&as->invalidate_lock))
			return b;
		put_cluster_buffer(b);
		address_space_wait_change(as);
	}
}

static bool in_write(uint32_t word)
{
	return page_state_of(word) == PAGE_WRITEBACK || page_state_of(word) == PAGE_REDIRTY;
}

/* A page that is in a write: no need to wait, if only the end of what is in flight is waited for after. */
static bool skip_in_flight(struct cluster *c, pfn_t pfn, uint32_t word)
{
	if (c->async && (page_state_of(word) == PAGE_REDIRTY || !io_is_write(pfn)))
		c->again = true;
	return c->async;
}

/*
 * Locks the page of `key` when it is to be written: waits for one that is in somebody else's write already. PFN_NONE
 * when there is nothing to write.
 */
static pfn_t lock_dirty(struct cluster *c, struct page_key key)
{
	for (;;) {
		bool busy;
		pfn_t pfn = page_find_trylock(key, &busy); /* not a huge one, which is CLEAN */
		uint32_t w;

		if (busy) {
			io_send(c->batch);
			pfn = page_find_lock_any(key);
		}
		if (pfn == PFN_NONE)
			return PFN_NONE;
		w = page_word(pfn);
		if (page_state_of(w) == PAGE_DIRTY)
			return pfn;
		page_unlock(pfn);
		w = page_word(pfn);
		if (page_state_of(w) != PAGE_DIRTY && !in_write(w))
			return PFN_NONE;
		if (in_write(w) && skip_in_flight(c, pfn, w))
			return PFN_NONE;
		io_send(c->batch);
		if (in_write(w) && !io_wait_write(pfn))
			page_wait(pfn, w);
	}
}

#define SEND_TRIES 8

/* Not for one write alone: else each that ends would be followed by one that wakes the device by itself. False when nothing is in flight, and nothing can be. */
static bool make_room_in_flight(struct cluster *c)
{
	uint32_t ended = 0;

	io_send(c->batch);
	while (ended < IO_BATCH / 2 && io_help())
		ended++;
	return ended > 0;
}

/* One cluster around the dirty page `key`, within [first, last]; the invalidate_lock is held. *next: where to go on. */
static int write_around(struct cluster *c, struct page_key key, uint64_t first, uint64_t last, uint64_t *next)
{
	int err = 0;

	for (int turn = 0;; turn++) { /* what finds no room in flight for long is written here: others may fill it for ever */
		*next = key.index + 1;
		c->pfn[0] = lock_dirty(c, key);
		if (c->pfn[0] == PFN_NONE)
			return 0;
		c->index = key.index;
		c->n = 1;
		c->pinned = page_pins_of(page_word(c->pfn[0])) > 0;
		if (!c->pinned || c->in_order)
			grow_cluster(c, first, last, cluster_limit(c));
		*next = c->index + c->n;
		if (!c->async || c->pinned || !is_whole(c) || turn > SEND_TRIES) {
			io_send(c->batch);
			return run_cluster(c);
		}
		if (send_cluster(c, &err))
			return err;
		unlock_cluster(c);
		if (!make_room_in_flight(c))
			c->async = false;
	}
}

/* A short range is walked page by page, another through the table. */
static int write_by_index(struct cluster *c, uint64_t first, uint64_t last)
{
	int err = 0;

	c->in_order = true;
	for (uint64_t i = first, next; i <= last; i = next) {
		int e = write_around(c, (struct page_key){.as = c->as->id, .index = i}, i, last, &next);

		err = err ? err : e;
	}
	c->in_order = false;
	return err;
}

/* A page that is still being read may be mapped already, and stored to: it is waited for. */
static bool wants_write(pfn_t pfn, struct cluster *c, struct page_key *key, bool *pinned)
{
	enum page_state s = page_state_of(page_word(pfn));

	if ((s != PAGE_DIRTY && s != PAGE_WRITEBACK && s != PAGE_REDIRTY && s != PAGE_READING) || io_in_flight(page_word(pfn)))
		return false;
	if (page_key(pfn).as != c->as->id)
		return false;
	if (!page_trylock(pfn)) {
		io_send(c->batch);
		page_lock(pfn);
	}
	*key = page_key(pfn);
	s = page_state_of(page_word(pfn));
	*pinned = page_pins_of(page_word(pfn)) > 0;
	page_unlock(pfn);
	return s != PAGE_ABSENT && key->as == c->as->id;
}

/* Pages that one way through the table has left out. */
struct left_out {
	uint64_t first, last, n;
};

static int write_table(struct cluster *c, uint64_t first, uint64_t last, struct left_out *pinned)
{
	int err = 0;

	for (pfn_t p = 0; (p = page_next_unclean(p)) != PFN_NONE; p++) {
		struct page_key key;
		uint64_t next;
		bool is_pinned;
		int e;

		if (!wants_write(p, c, &key, &is_pinned) || key.index < first || key.index > last)
			continue;
		if (is_pinned && pinned) {
			pinned->first = min_u64(pinned->first, key.index);
			pinned->last = max_u64(pinned->last, key.index);
			pinned->n++;
			continue;
		}
		e = write_around(c, key, first, last, &next);
		err = err ? err : e;
	}
	return err;
}

#define SPARSE 64 /* pages of the file for one that is pinned */

/* Pinned pages by themselves, after the others: by their index, unless they are far apart. */
static int write_by_table(struct cluster *c, uint64_t first, uint64_t last)
{
	struct left_out pinned = {.first = UINT64_MAX};
	int err = write_table(c, first, last, &pinned), e = 0;

	if (pinned.n && (pinned.last - pinned.first) / SPARSE <= pinned.n)
		e = write_by_index(c, pinned.first, pinned.last);
	else if (pinned.n)
		e = write_table(c, pinned.first, pinned.last, NULL);
	return err ? err : e;
}

static int write_range(struct cluster *c, uint64_t first, uint64_t last)
{
	int err;

	if (last - first < (uint64_t)page_table_high() / 64)
		err = write_by_index(c, first, last);
	else
		err = write_by_table(c, first, last);
	io_send(c->batch);
	return err;
}

/* What is in flight ends; what was stored to it meanwhile is written again, one cluster after the other. */
static int complete_range(struct cluster *c, uint64_t first, uint64_t last, uint32_t seen)
{
	int err = 0;

	io_drain_writes(c->as, first, last);
	if (c->again) {
		c->async = false;
		err = write_range(c, first, last);
	}
	return err ? err : wb_err_check(c->as, &seen);
}

static int write_back(struct address_space *as, uint64_t first, uint64_t last, bool wait)
{
	struct io_batch batch = {0};
	struct cluster c = {.as = as, .async = io_can_write(as), .batch = &batch};
	uint32_t seen = wb_err_sample(as);
	bool async = c.async;
	int err, later = 0;

	if (!atomic_load(&as->nr_dirty))
		return 0;
	c.buf = lock_with_buffer(as);
	err = write_range(&c, first, last);
	if (async && wait)
		later = complete_range(&c, first, last, seen);
	read_unlock(&as->invalidate_lock);
	put_cluster_buffer(c.buf);
	return err ? err : later;
}

int writeback_range(struct address_space *as, uint64_t first, uint64_t last)
{
	return as_is_hosted(as) ? hosted_sync(as, first, last, WIRE_WAIT) : write_back(as, first, last, true);
}

int writeback_start(struct address_space *as, uint64_t first, uint64_t last)
{
	return as_is_hosted(as) ? hosted_sync(as, first, last, 0) : write_back(as, first, last, false);
}

int writeback_durably(struct address_space *as, uint64_t first, uint64_t last)
{
	int err;

	if (as_is_hosted(as))
		return hosted_sync(as, first, last, WIRE_WAIT | WIRE_DURABLE);
	err = writeback_range(as, first, last);
	if (err)
		return err;
	err = as->store->ops->sync(as->store);
	if (err)
		wb_err_set(as, err);
	return err;
}

int writeback_all(struct address_space *as)
{
	return writeback_range(as, 0, PAGE_INDEX_MAX);
}

/* What reclaim knows of a dirty page once it has let go of the lock: the object may be freed, and used for another file. */
struct lead {
	struct page_key key;
	struct address_space *as;
	bool bounce;
};

/* False when there is nothing to write, or nobody to write it. */
static bool look(pfn_t pfn, struct lead *l)
{
	bool yes = false;

	if (!page_trylock(pfn))
		return false;
	if (page_state_of(page_word(pfn)) == PAGE_DIRTY) {
		l->key = page_key(pfn);
		l->as = address_space_of(l->key);
		l->bounce = l->as->frames->snapshot;
		yes = l->as->store && l->as->store->writable;
	}
	page_unlock(pfn);
	return yes;
}

/* The page again, locked, if it is still dirty and still this object's: which therefore stays until it is unlocked. */
static pfn_t find_again(const struct lead *l)
{
	pfn_t pfn = try_neighbour(l->key, false);

	if (pfn == PFN_NONE || address_space_of(l->key) == l->as)
		return pfn;
	page_unlock(pfn);
	return PFN_NONE;
}

/* The page and its neighbours, with the invalidate_lock held. */
static enum wb_outcome write_lead(struct cluster *c, const struct lead *l)
{
	int err;

	c->as = l->as;
	c->index = l->key.index;
	c->n = 1;
	c->pfn[0] = find_again(l);
	if (c->pfn[0] == PFN_NONE)
		return WB_DONE;
	grow_cluster(c, 0, PAGE_INDEX_MAX, cluster_limit(c));
	if (io_can_write(l->as) && is_whole(c)) {
		if (send_cluster(c, &err))
			return WB_STARTED;
		if (!c->buf.data && io_busy()) {
			unlock_cluster(c);
			return WB_FULL;
		}
	}
	if (l->bounce && !c->buf.data) {
		unlock_cluster(c);
		return WB_WAITS;
	}
	io_send(c->batch);
	run_cluster(c);
	return WB_DONE;
}

static enum wb_outcome try_lead(struct cluster *c, const struct lead *l)
{
	enum wb_outcome o = WB_DONE;

	if (read_trylock(&l->as->invalidate_lock)) {
		o = write_lead(c, l);
		read_unlock(&l->as->invalidate_lock);
	}
	return o;
}

enum wb_outcome writeback_for_reclaim(pfn_t pfn, bool may_wait, struct io_batch *batch)
{
	struct cluster c = {.n = 1, .reclaim = true, .batch = batch};
	enum wb_outcome o;
	struct lead l;

	if (!look(pfn, &l))
		return WB_DONE;
	if (!l.bounce && !may_wait)
		return WB_WAITS;
	o = try_lead(&c, &l);
	if (o == WB_WAITS && may_wait) {
		io_send(batch);
		c.buf = buffer_get(true);
		o = try_lead(&c, &l);
		buffer_put(c.buf);
	}
	return o;
}

/* ---- Dirty limits ---- */

#define BALANCE_LOOKS 256 /* entries of the table that a store pays for */
#define BALANCE_WRITES 2

static bool may_start(pfn_t pfn, const struct address_space *as)
{
	uint32_t w = page_word(pfn);

	return page_state_of(w) == PAGE_DIRTY && !(w & (PG_LOCKED | PG_ERROR)) && !page_pins_of(w) && page_key(pfn).as == as->id;
}

static void start_some(const struct address_space *as)
{
	static _Atomic uint32_t hand;
	uint32_t high = page_table_high(), at = atomic_fetch_add_explicit(&hand, BALANCE_LOOKS, memory_order_relaxed);
	struct io_batch batch = {0};

	for (uint32_t i = 0, started = 0; i < BALANCE_LOOKS && started < BALANCE_WRITES && high; i++) {
		pfn_t pfn = (at + i) % high;
		struct cluster c = {.n = 1, .batch = &batch};
		struct lead l;

		if (may_start(pfn, as) && look(pfn, &l) && l.as == as)
			started += try_lead(&c, &l) != WB_DONE;
	}
	io_send(&batch);
}

void writeback_balance(struct address_space *as)
{
	uint64_t dirty = atomic_load_explicit(&as->nr_dirty, memory_order_relaxed), limit = page_table_frames() / 4;

	if (likely(dirty < limit) || !io_can_write(as))
		return;
	start_some(as);
	if (dirty > 2 * limit)
		io_help();
}
