/* SPDX-License-Identifier: Apache-2.0 */
/* How requests end: whoever needs something that they hold asks the kernel for events, one thread at a time, and finishes them. See io.c. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "budget.h"
#include "io_request.h"
#include "mmu/mmu.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "writeback.h"

#define OLD 64

/* ---- Which requests ---- */

static bool has_page(struct request *r, const void *arg)
{
	const struct page_key *page = arg;
	uint64_t key = atomic_load(&r->key);

	return key && key_as(key) == page->as && page->index >= key_index(key) && page->index - key_index(key) < key_pages(key);
}

struct part {
	const struct address_space *as;
	uint64_t first, last;
	bool only_writes;
};

static bool is_of_part(struct request *r, const void *arg)
{
	const struct part *p = arg;
	uint64_t key = atomic_load(&r->key);

	return key && key_as(key) == p->as->id && key_index(key) <= p->last && key_index(key) + key_pages(key) > p->first &&
	       (!p->only_writes || atomic_load(&r->write));
}

static bool is_done(struct request *r, const void *arg)
{
	(void)arg;
	return io_is_in_state(r, DONE);
}

static bool is_in_flight(struct request *r, const void *arg)
{
	(void)arg;
	return io_is_in_state(r, IN_FLIGHT);
}

static bool is_any(struct request *r, const void *arg)
{
	(void)r, (void)arg;
	return true;
}

/* ---- The end of a request ---- */

/* The pages are ours: nobody else could have taken them out of the table, or unlocked them. */
static void collect_pages(const struct request *r, struct fill *fl)
{
	uint64_t key = atomic_load(&r->key);

	*fl = (struct fill){.as = r->as, .index = key_index(key), .n = key_pages(key), .buf = r->buf};
	for (uint32_t i = 0; i < fl->n; i++) {
		fl->pfn[i] = page_find((struct page_key){.as = r->as->id, .index = fl->index + i});
		fl_assert(fl->pfn[i] != PFN_NONE);
	}
}

/* An error is for the fault that wants the page: it reads it again, and tells. */
static void note_result(struct request *r)
{
	uint64_t key = atomic_load(&r->key);

	if (r->deferred)
		r->result = r->as->store->ops->read(r->as->store, r->buf.data, (size_t)key_pages(key) << FL_PAGE_SHIFT,
						    key_index(key) << FL_PAGE_SHIFT);
	report_add(&r->as->report->reads, 1);
	if (r->result > 0)
		report_add(&r->as->report->read_bytes, (uint64_t)r->result);
}

/* What did not find its place is dropped: it is still in the store. */
static void install(struct fill *fl)
{
	uint32_t n = fl->as->frames->install(fl->as, fl->index, fl->n, fl->buf.data);

	fill_drop(fl, n);
}

/* Pages whose lock is a thread's again. */
static void clear_io(const struct fill *fl)
{
	for (uint32_t i = 0; i < fl->n; i++)
		page_clear_flags(fl->pfn[i], PG_IO);
}

static void finish_read(struct request *r)
{
	struct address_space *as = r->as;
	struct fill fl;

	note_result(r);
	if (key_is_huge(atomic_load(&r->key))) {
		huge_finish(as, key_index(atomic_load(&r->key)), r->result, r->buf);
		return;
	}
	collect_pages(r, &fl);
	if (r->result < 0 || fill_trim(&fl, (uint64_t)r->result))
		fill_drop(&fl, 0);
	else
		install(&fl);
	report_add(&as->report->read_ahead, fl.n);
	clear_io(&fl);
	fill_publish(&fl, 0);
	budget_release(fl.reserved);
}

/* Which the store would say again. */
static bool is_full_disk(int64_t result)
{
	return result == -ENOSPC || result == -EDQUOT;
}

/* What was not written as it should be is written again, by the store itself, which says what is wrong. */
static void finish_write(struct request *r)
{
	uint64_t key = atomic_load(&r->key), len = r->cb.aio_nbytes;
	int err = 0;

	if (!r->deferred && is_full_disk(r->result))
		err = (int)r->result;
	else if (r->deferred || r->result != (int64_t)len)
		err = r->as->store->ops->write(r->as->store, r->buf.data, len, (uint64_t)r->cb.aio_offset);
	if (err)
		atomic_fetch_add(&io.failures, 1);
	writeback_ended(r->as, key_index(key), key_pages(key), len, err, r->reclaim);
}

static void finish(struct request *r)
{
	if (atomic_load(&r->write))
		finish_write(r);
	else
		finish_read(r);
	io_let_go(r);
}

static bool claim(struct request *r)
{
	uint32_t done = DONE;

	return atomic_compare_exchange_strong(&r->state, &done, FINISHING);
}

static bool finish_if_done(struct request *r)
{
	if (!claim(r))
		return false;
	finish(r);
	return true;
}

/* Whether the bytes are in the buffer, or could be read into it without waiting for the disk. */
static bool has_bytes(struct request *r)
{
	const struct store_ops *ops = r->as->store->ops;
	uint64_t key = atomic_load(&r->key);

	if (!r->deferred || atomic_load(&r->write) || io.mode == IO_DEFERRED)
		return true;
	r->result = ops->read_now ? ops->read_now(r->as->store, r->buf.data, (size_t)key_pages(key) << FL_PAGE_SHIFT,
						  key_index(key) << FL_PAGE_SHIFT)
				  : -EAGAIN;
	r->deferred = r->result < 0;
	return !r->deferred;
}

/* True when one is not there yet that the store reads: those after it hardly are, and each look is a system call. */
static bool finish_if_eager(struct request *r, const void *arg)
{
	(void)arg;
	if (!io_is_in_state(r, DONE) || !atomic_load_explicit(&r->eager, memory_order_relaxed) || !claim(r))
		return false;
	if (has_bytes(r)) {
		finish(r);
		return false;
	}
	atomic_store(&r->state, DONE);
	io_bump();
	return true;
}

/* ---- Reaping ---- */

/* Waits for so many, for that time at most, or for ever: NULL. */
static long kernel_events(long min, const struct timespec *limit)
{
	long n;

	do
		n = sys_call(SYS_io_getevents, (long)io.ctx, min, IO_EVENTS, (long)io.events, (long)limit, 0);
	while (n == -EINTR);
	return n;
}

static void note_events(long n)
{
	for (long i = 0; i < n; i++) {
		struct request *r = &io.r[io.events[i].data];
		uint32_t claimed = CLAIMED;

		r->result = io.events[i].res;
		if (!atomic_compare_exchange_strong(&r->state, &claimed, EARLY)) /* who submits it is not done with it */
			atomic_store(&r->state, DONE);
	}
}

/*
 * Asks the kernel, and waits for `wanted` to end when it is given. Only who reaps makes requests DONE, so one that is seen IN_FLIGHT
 * here still has its event to come.
 */
static bool reap(struct request *wanted)
{
	static const struct timespec none = {0};
	long n;

	if (atomic_exchange(&io.reaping, true))
		return false;
	n = wanted && io_is_in_state(wanted, IN_FLIGHT) ? kernel_events(1, NULL) : kernel_events(0, &none);
	note_events(n);
	atomic_store(&io.reaping, false);
	io_bump(); /* also for those who wanted to ask in our place */
	return true;
}

/* A step towards the end of a request that was seen busy after `seen` was read. */
static void work_on(struct request *r, uint32_t seen)
{
	if (finish_if_done(r))
		return;
	if (!io_is_in_state(r, IN_FLIGHT) || !reap(r))
		io_wait_change(seen);
}

void io_wait_page(pfn_t pfn)
{
	for (;;) {
		uint32_t seen = io_seq_now();
		struct page_key key = page_key(pfn);
		struct request *r;

		if (!io_in_flight(page_word(pfn)))
			return;
		r = io_each_busy(has_page, &key);
		if (!r)
			return; /* it ended between the two looks */
		work_on(r, seen);
	}
}

bool io_wait_write(pfn_t pfn)
{
	uint32_t seen = io_seq_now(), w = page_word(pfn);
	struct page_key key = page_key(pfn);
	struct request *r;

	if (page_state_of(w) != PAGE_WRITEBACK && page_state_of(w) != PAGE_REDIRTY)
		return true;
	r = io_each_busy(has_page, &key);
	if (!r)
		return false;
	work_on(r, seen);
	return true;
}

void io_poll(void)
{
	if (likely(!io_any_busy()))
		return;
	if (io.mode == IO_AIO)
		reap(NULL);
	io_each_busy(finish_if_eager, NULL);
}

bool io_busy(void)
{
	return io_any_busy();
}

uint32_t io_failures(void)
{
	return atomic_load(&io.failures);
}

bool io_help(void)
{
	uint32_t seen = io_seq_now();
	struct request *r = io_each_busy(is_done, NULL);

	if (!r)
		r = io_each_busy(is_in_flight, NULL);
	if (!r)
		r = io_each_busy(is_any, NULL);
	if (!r)
		return false;
	work_on(r, seen);
	return true;
}

/* Old enough to have been left behind by its stream, which has started less than this many since. */
static bool is_left(struct request *r, const void *arg)
{
	return is_done(r, arg) && atomic_load_explicit(&io.started, memory_order_relaxed) - atomic_load(&r->serial) > OLD;
}

uint32_t io_retire(bool all)
{
	struct request *r;
	uint32_t n = 0;

	if (io_any_busy() && io.mode == IO_AIO)
		reap(NULL);
	while (n < IO_REQUESTS && (r = io_each_busy(all ? is_done : is_left, NULL)))
		n += finish_if_done(r);
	return n;
}

bool io_is_coming(pfn_t pfn)
{
	for (;;) {
		uint32_t seen = io_seq_now();
		struct page_key key = page_key(pfn);
		struct request *r;

		if (!io_in_flight(page_word(pfn)))
			return false;
		r = io_each_busy(has_page, &key);
		if (r && !io_is_in_state(r, FINISHING))
			return true;
		io_wait_change(seen);
	}
}

static void drain(const struct part *part)
{
	struct request *r;

	for (uint32_t seen = io_seq_now(); atomic_load(&part->as->in_flight) && (r = io_each_busy(is_of_part, part)); seen = io_seq_now())
		work_on(r, seen);
}

void io_drain_range(struct address_space *as, uint64_t first, uint64_t last)
{
	drain(&(struct part){.as = as, .first = first, .last = last});
}

void io_drain_writes(struct address_space *as, uint64_t first, uint64_t last)
{
	drain(&(struct part){.as = as, .first = first, .last = last, .only_writes = true});
}

bool io_is_write(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	struct request *r = io_each_busy(has_page, &key);

	return r && atomic_load(&r->write);
}

void io_drain(struct address_space *as)
{
	for (uint32_t seen; atomic_load(&as->in_flight);) {
		io_drain_range(as, 0, PAGE_INDEX_MAX);
		seen = io_seq_now();
		if (atomic_load(&as->in_flight)) /* it has given its key back, and is not done with the object */
			io_wait_change(seen);
	}
}
