/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes in flight. No thread of ours waits for them: whoever needs a page, a frame or a buffer that a request holds
 * completes it.
 *
 *      FREE --io_start--> CLAIMED ----submit----> IN_FLIGHT --the kernel has read--> DONE --claimed--> FINISHING --> FREE
 *                            |                                                          ^
 *                            |----------------- the kernel refused ---------------------|
 *                            '---- it was faster ----> EARLY -----------submit----------'
 *
 *   io_start     frames and a buffer are the request's; its pages are in the table, READING, locked, with PG_IO: the lock is the
 *                request's, not a thread's
 *   IN_FLIGHT    one thread at a time asks the kernel for events (`reaping`); others who want a page sleep on `seq`
 *   DONE         the bytes are in the buffer. A request of a stream stays so until the program comes to it: that fault is what
 *                tells that the stream goes on
 *   FINISHING    one thread puts the bytes in their frames, and unlocks the pages: the steps of a fault's own read (filemap.c)
 *
 * Invariants:
 *   1. From CLAIMED to FREE all pages of a read are in the table, READING and locked, and nobody but the thread that finishes
 *      touches them. So whoever takes pages out of the table, or changes what they mean, waits for their locks, and by that for us.
 *   2. A thread that waits for a request does not hold rmap_lock, and has none CLAIMED. What finishes a request waits for rmap_lock
 *      (read) and for the kernel, nothing else: it may run with page locks held.
 *   3. Bytes of the store change under invalidate_lock (write) with nothing in flight (io_drain()): a page never shows a mixture.
 *   4. Requests hold half of the buffers of a size at most: faults go on.
 *
 * A write differs in its pages: they are WRITEBACK and unlocked, the program goes on with them, and what is written is the copy in the
 * buffer. To finish it takes their locks one by one, so whoever does holds no page lock.
 *
 * The kernel's asynchronous I/O (io_submit(2)) and not io_uring: completions of io_uring are work that is queued to the thread that
 * submitted, which makes its next epoll_wait(2) fail with EINTR, and a program does not expect that from a load. These leave threads
 * alone, and sandboxes that refuse io_uring allow them.
 */
#include "io.h"

#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/syscall.h>

#include "budget.h"
#include "huge.h"
#include "mmu/mmu.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "writeback.h"

enum request_state { FREE, CLAIMED, EARLY, IN_FLIGHT, DONE, FINISHING };

struct request {
	_Atomic uint32_t state;
	/* as->id << 48 | index << 8 | pages, or KEY_HUGE; 0 while FREE. Written by who has it CLAIMED or FINISHING. */
	_Atomic uint64_t key;
	_Atomic bool eager;      /* the same; read as a guess */
	_Atomic uint32_t serial; /* the same */
	_Atomic bool write;      /* the same */
	/* What follows belongs to who has it CLAIMED or FINISHING. */
	bool reclaim;
	struct address_space *as;
	struct buffer buf;
	int64_t result; /* written by who reaps, before DONE */
	struct iocb cb;
};

#define KEY_HUGE 0xffu
#define EVENTS 64
#define OLD 64
#define WORDS (IO_REQUESTS / 64)

static struct {
	enum io_mode mode;
	_Atomic bool open;            /* requests may be started */
	_Atomic uint32_t starting;    /* threads that have found it open, and are not done with their request */
	_Atomic uint64_t busy[WORDS]; /* a bit for each request that is not FREE */
	_Atomic uint32_t failures;    /* writes, ever */
	_Atomic uint32_t started;     /* requests, ever */
	_Atomic bool reaping;         /* some thread is */
	_Atomic uint32_t seq;         /* futex: counts changes of state */
	_Atomic uint32_t waiters;     /* on seq */
	aio_context_t ctx;
	struct io_event events[EVENTS]; /* of the thread that reaps */
	struct request r[IO_REQUESTS];
} io;

/* ---- The kernel's part ---- */

/* How many it has taken, or -errno. */
static long kernel_submit(struct iocb **cb, long n)
{
	return sys_call(SYS_io_submit, (long)io.ctx, n, (long)cb, 0, 0, 0);
}

static long kernel_events(long min)
{
	struct timespec none = {0};
	long n;

	do
		n = sys_call(SYS_io_getevents, (long)io.ctx, min, EVENTS, (long)io.events, min ? 0 : (long)&none, 0);
	while (n == -EINTR);
	return n;
}

/* ---- Waiting ---- */

static uint32_t seq_now(void)
{
	return atomic_load(&io.seq);
}

static void bump(void)
{
	atomic_fetch_add(&io.seq, 1);
	if (atomic_load(&io.waiters))
		sys_futex_wake(&io.seq, INT_MAX);
}

static void wait_change(uint32_t seen)
{
	atomic_fetch_add(&io.waiters, 1);
	sys_futex_wait(&io.seq, seen);
	atomic_fetch_sub(&io.waiters, 1);
}

/* ---- Requests ---- */

static uint64_t key_of(const struct address_space *as, uint64_t index, uint32_t n)
{
	return (uint64_t)as->id << 48 | index << 8 | n;
}

static uint64_t key_index(uint64_t key)
{
	return key >> 8 & PAGE_INDEX_MAX;
}

static bool key_is_huge(uint64_t key)
{
	return (key & 0xff) == KEY_HUGE;
}

static uint32_t key_pages(uint64_t key)
{
	return key_is_huge(key) ? HUGE_PAGES : (uint32_t)(key & 0xff);
}

static uint16_t key_as(uint64_t key)
{
	return (uint16_t)(key >> 48);
}

static struct request *take_free(void)
{
	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t busy = atomic_load(&io.busy[w]);

		while (~busy) {
			unsigned bit = (unsigned)__builtin_ctzll(~busy);

			if (atomic_compare_exchange_weak(&io.busy[w], &busy, busy | 1ULL << bit)) {
				struct request *r = &io.r[w * 64 + bit];

				atomic_store(&r->state, CLAIMED);
				return r;
			}
		}
	}
	return NULL;
}

static void give_back(struct request *r)
{
	unsigned i = (unsigned)(r - io.r);

	atomic_store(&r->key, 0);
	atomic_store(&r->state, FREE);
	atomic_fetch_and(&io.busy[i / 64], ~(1ULL << i % 64));
	bump(); /* somebody may wait for it, also if it was never sent */
}

static bool any_busy(void)
{
	for (unsigned w = 0; w < WORDS; w++)
		if (atomic_load_explicit(&io.busy[w], memory_order_relaxed))
			return true;
	return false;
}

/* Calls fn for each request that is not free until one answers true: that one. */
static struct request *for_each_busy(bool (*fn)(struct request *r, const void *arg), const void *arg)
{
	for (unsigned w = 0; w < WORDS; w++)
		for (uint64_t busy = atomic_load(&io.busy[w]); busy; busy &= busy - 1) {
			struct request *r = &io.r[w * 64 + (unsigned)__builtin_ctzll(busy)];

			if (fn(r, arg))
				return r;
		}
	return NULL;
}

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

static bool is_in_state(struct request *r, enum request_state s)
{
	return atomic_load(&r->state) == s;
}

static bool is_done(struct request *r, const void *arg)
{
	(void)arg;
	return is_in_state(r, DONE);
}

static bool is_in_flight(struct request *r, const void *arg)
{
	(void)arg;
	return is_in_state(r, IN_FLIGHT);
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

	if (io.mode == IO_DEFERRED)
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

	if (io.mode != IO_DEFERRED && is_full_disk(r->result))
		err = (int)r->result;
	else if (io.mode == IO_DEFERRED || r->result != (int64_t)len)
		err = r->as->store->ops->write(r->as->store, r->buf.data, len, (uint64_t)r->cb.aio_offset);
	if (err)
		atomic_fetch_add(&io.failures, 1);
	writeback_ended(r->as, key_index(key), key_pages(key), len, err, r->reclaim);
}

static void let_go(struct request *r)
{
	struct address_space *as = r->as;
	struct buffer buf = r->buf;
	bool huge = key_is_huge(atomic_load(&r->key));

	give_back(r);
	if (huge)
		huge_put_slot(buf);
	else
		buffer_put_io(buf);
	atomic_fetch_sub(&as->in_flight, 1); /* the object may be gone now */
	bump();
}

static void finish(struct request *r)
{
	if (atomic_load(&r->write))
		finish_write(r);
	else
		finish_read(r);
	let_go(r);
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

static bool finish_if_eager(struct request *r, const void *arg)
{
	(void)arg;
	if (is_in_state(r, DONE) && atomic_load_explicit(&r->eager, memory_order_relaxed))
		finish_if_done(r);
	return false;
}

/* ---- Reaping ---- */

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
	long n;

	if (atomic_exchange(&io.reaping, true))
		return false;
	n = kernel_events(wanted && is_in_state(wanted, IN_FLIGHT) ? 1 : 0);
	note_events(n);
	atomic_store(&io.reaping, false);
	bump(); /* also for those who wanted to ask in our place */
	return true;
}

/* A step towards the end of a request that was seen busy after `seen` was read. */
static void work_on(struct request *r, uint32_t seen)
{
	if (finish_if_done(r))
		return;
	if (!is_in_state(r, IN_FLIGHT) || !reap(r))
		wait_change(seen);
}

void io_wait_page(pfn_t pfn)
{
	for (;;) {
		uint32_t seen = seq_now();
		struct page_key key = page_key(pfn);
		struct request *r;

		if (!io_in_flight(page_word(pfn)))
			return;
		r = for_each_busy(has_page, &key);
		if (!r)
			return; /* it ended between the two looks */
		work_on(r, seen);
	}
}

bool io_wait_write(pfn_t pfn)
{
	uint32_t seen = seq_now(), w = page_word(pfn);
	struct page_key key = page_key(pfn);
	struct request *r;

	if (page_state_of(w) != PAGE_WRITEBACK && page_state_of(w) != PAGE_REDIRTY)
		return true;
	r = for_each_busy(has_page, &key);
	if (!r)
		return false;
	work_on(r, seen);
	return true;
}

void io_poll(void)
{
	if (likely(!any_busy()))
		return;
	if (io.mode == IO_AIO)
		reap(NULL);
	for_each_busy(finish_if_eager, NULL);
}

bool io_busy(void)
{
	return any_busy();
}

uint32_t io_failures(void)
{
	return atomic_load(&io.failures);
}

bool io_help(void)
{
	uint32_t seen = seq_now();
	struct request *r = for_each_busy(is_done, NULL);

	if (!r)
		r = for_each_busy(is_in_flight, NULL);
	if (!r)
		r = for_each_busy(is_any, NULL);
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

	if (any_busy() && io.mode == IO_AIO)
		reap(NULL);
	while (n < IO_REQUESTS && (r = for_each_busy(all ? is_done : is_left, NULL)))
		n += finish_if_done(r);
	return n;
}

bool io_is_coming(pfn_t pfn)
{
	for (;;) {
		uint32_t seen = seq_now();
		struct page_key key = page_key(pfn);
		struct request *r;

		if (!io_in_flight(page_word(pfn)))
			return false;
		r = for_each_busy(has_page, &key);
		if (r && !is_in_state(r, FINISHING))
			return true;
		wait_change(seen);
	}
}

static void drain(const struct part *part)
{
	struct request *r;

	for (uint32_t seen = seq_now(); atomic_load(&part->as->in_flight) && (r = for_each_busy(is_of_part, part)); seen = seq_now())
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
	struct request *r = for_each_busy(has_page, &key);

	return r && atomic_load(&r->write);
}

void io_drain(struct address_space *as)
{
	for (uint32_t seen; atomic_load(&as->in_flight);) {
		io_drain_range(as, 0, PAGE_INDEX_MAX);
		seen = seq_now();
		if (atomic_load(&as->in_flight)) /* it has given its key back, and is not done with the object */
			wait_change(seen);
	}
}

/* ---- Starting ---- */

bool io_can(struct address_space *as)
{
	const struct store_ops *ops = as->store ? as->store->ops : NULL;

	if (!atomic_load_explicit(&io.open, memory_order_relaxed) || !ops || !as->frames->install)
		return false;
	return io.mode == IO_DEFERRED || (ops->direct_fd && ops->direct_fd(as->store, false) >= 0);
}

bool io_can_write(struct address_space *as)
{
	const struct store_ops *ops = as->store->ops;

	if (!atomic_load_explicit(&io.open, memory_order_relaxed) || !as->frames->snapshot)
		return false;
	return io.mode == IO_DEFERRED || (ops->direct_fd && ops->direct_fd(as->store, true) >= 0);
}

/* Until stop_starting() the thread waits for nothing: fork waits for it. False when nothing may be started now. */
static bool begin_starting(void)
{
	atomic_fetch_add(&io.starting, 1);
	if (atomic_load(&io.open))
		return true;
	atomic_fetch_sub(&io.starting, 1);
	return false;
}

static void stop_starting(void)
{
	atomic_fetch_sub(&io.starting, 1);
}

static void prepare(struct request *r, struct address_space *as, struct buffer buf, bool write, bool eager)
{
	atomic_store_explicit(&r->eager, eager, memory_order_relaxed);
	atomic_store(&r->serial, atomic_fetch_add(&io.started, 1));
	atomic_store(&r->write, write);
	r->as = as;
	r->buf = buf;
	atomic_fetch_add(&as->in_flight, 1);
}

static void describe(struct request *r)
{
	bool write = atomic_load(&r->write);
	const struct store_ops *ops = r->as->store->ops;
	uint64_t key = atomic_load(&r->key);

	r->cb = (struct iocb){
		.aio_data = (uint64_t)(r - io.r),
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)(ops->direct_fd ? ops->direct_fd(r->as->store, write) : -1),
		.aio_buf = (uint64_t)(uintptr_t)r->buf.data,
		.aio_nbytes = (uint64_t)key_pages(key) << FL_PAGE_SHIFT,
		.aio_offset = (int64_t)(key_index(key) << FL_PAGE_SHIFT),
	};
}

/* Its event may come before this thread has noted that it will. */
static void note_submitted(struct request *r, bool taken)
{
	uint32_t claimed = CLAIMED;

	if (!taken)
		r->result = -EAGAIN;
	if (!taken || !atomic_compare_exchange_strong(&r->state, &claimed, IN_FLIGHT))
		atomic_store(&r->state, DONE);
}

/* Together they wake the device once. What the kernel does not take is DONE, and done by who finishes it. */
static void submit(struct request *const *r, uint32_t n)
{
	struct iocb *cb[IO_BATCH];
	long taken = 0;

	for (uint32_t i = 0; i < n; i++) {
		describe(r[i]);
		cb[i] = &r[i]->cb;
	}
	if (io.mode != IO_DEFERRED)
		taken = kernel_submit(cb, (long)n);
	for (uint32_t i = 0; i < n; i++)
		note_submitted(r[i], (long)i < taken);
	bump();
}

/* Their locks are the request's from now on. Whoever waits for one by its word looks again. */
static void hand_pages_over(const struct fill *fl)
{
	for (uint32_t i = 0; i < fl->n; i++)
		page_hand_to_io(fl->pfn[i]);
}

static void start_run(struct request *r, struct fill *fl, bool eager)
{
	fill_insert(fl, (uint32_t)min_u64(fl->buf.pages, RUN_MAX));
	if (!fl->n)
		return;
	prepare(r, fl->as, fl->buf, false, eager);
	atomic_store(&r->key, key_of(fl->as, fl->index, fl->n));
	hand_pages_over(fl);
	submit(&r, 1);
}

/* A request and a buffer, or neither. */
static struct request *take_both(bool large, struct buffer *buf)
{
	struct request *r = take_free();

	if (r && !buffer_get_io(large, buf)) {
		give_back(r);
		return NULL;
	}
	return r;
}

uint32_t io_start(struct address_space *as, uint64_t index, uint32_t want, bool eager)
{
	struct fill fl = {.as = as, .index = index, .reserved = want, .ahead = !eager};
	struct request *r;

	if (page_find_any((struct page_key){.as = as->id, .index = index}) != PFN_NONE || !begin_starting())
		return 0;
	r = take_both(want > 1, &fl.buf);
	if (r) {
		start_run(r, &fl, eager);
		if (!fl.n) {
			give_back(r);
			buffer_put_io(fl.buf);
		}
	}
	stop_starting();
	return fl.n;
}

static bool start_huge(struct request *r, struct address_space *as, uint64_t index, struct buffer slot)
{
	pfn_t pfn = page_insert_huge((struct page_key){.as = as->id, .index = index});

	if (pfn == PFN_NONE)
		return false;
	as_count_page(as, (int)HUGE_PAGES);
	prepare(r, as, slot, false, false);
	atomic_store(&r->key, key_of(as, index, KEY_HUGE));
	page_hand_to_io(pfn);
	submit(&r, 1);
	return true;
}

bool io_start_huge(struct address_space *as, uint64_t index, struct buffer slot)
{
	struct request *r;
	bool started;

	if (!begin_starting())
		return false;
	r = take_free();
	started = r && start_huge(r, as, index, slot);
	if (r && !started)
		give_back(r);
	stop_starting();
	return started;
}

int io_get_write(struct address_space *as, uint64_t index, uint32_t n, bool reclaim, struct buffer *buf)
{
	struct request *r;

	if (!begin_starting())
		return -1;
	r = take_both(n > 1, buf);
	if (!r) {
		stop_starting();
		return -1;
	}
	fl_assert(n <= buf->pages);
	prepare(r, as, *buf, true, true);
	r->reclaim = reclaim;
	atomic_store(&r->key, key_of(as, index, n));
	if (atomic_load(&as->writes_tail)) { /* who writes the end of the file has not seen this one */
		io_forget((int)(r - io.r));
		*buf = (struct buffer){0};
		return -1;
	}
	return (int)(r - io.r);
}

void io_write(struct io_batch *b, int request)
{
	b->request[b->n++] = (uint8_t)request;
	if (b->n == IO_BATCH)
		io_send(b);
}

void io_send(struct io_batch *b)
{
	struct request *r[IO_BATCH];

	if (!b->n)
		return;
	for (uint32_t i = 0; i < b->n; i++)
		r[i] = &io.r[b->request[i]];
	submit(r, b->n);
	for (; b->n; b->n--)
		stop_starting();
}

_Static_assert(IO_REQUESTS <= 1 << 8, "a request is counted in a byte");

void io_forget(int request)
{
	let_go(&io.r[request]);
	stop_starting();
}

/* ---- Start, end, fork ---- */

void io_init(enum io_mode mode)
{
	memset(&io, 0, sizeof io);
	if (mode == IO_AIO && sys_call(SYS_io_setup, IO_REQUESTS, (long)&io.ctx, 0, 0, 0, 0))
		mode = IO_SYNC;
	io.mode = mode;
	atomic_store(&io.open, mode != IO_SYNC);
}

void io_exit(void)
{
	fl_assert(!any_busy());
	if (io.ctx)
		sys_call(SYS_io_destroy, (long)io.ctx, 0, 0, 0, 0, 0);
	memset(&io, 0, sizeof io);
	io.mode = IO_SYNC;
}

/* The head of the ring, which the kernel has put at the address that names the context. */
struct ring {
	uint32_t id, slots, head, tail, magic, compat, incompat, header;
};

bool io_kernel_mapping(uint64_t *start, uint64_t *end)
{
	const struct ring *ring = (const struct ring *)io.ctx;

	if (!ring)
		return false;
	*start = io.ctx;
	*end = page_align_up(io.ctx + sizeof *ring + ring->slots * sizeof(struct io_event));
	return true;
}

void io_fork_prepare(void)
{
	atomic_store(&io.open, false);
	while (atomic_load(&io.starting))
		sys_yield();
	while (io_help())
		;
}

void io_fork_parent(void)
{
	atomic_store(&io.open, io.mode != IO_SYNC);
}

/* The parent's context did not come along, but the mapping of its ring did. */
void io_fork_child(void)
{
	uint64_t start, end;

	if (io_kernel_mapping(&start, &end))
		sys_munmap((void *)start, end - start);
	io_init(io.mode);
}
