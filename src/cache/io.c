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
 *   DONE         the bytes are in the buffer; or the request is deferred: the store reads them when it is finished, as the kernel has only been told of it,
 *                and not asked (tell_kernel). A request of a stream stays so until the program comes to it: that fault is what tells that the stream goes on
 *   FINISHING    one thread puts the bytes in their frames, and unlocks the pages: the steps of a fault's own read (filemap.c). Who only looks whether a
 *                deferred one has come in makes it DONE again when it has not
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
#include <string.h>
#include <sys/syscall.h>

#include "io_request.h"
#include "util/compiler.h"
#include "util/sys.h"

/* ---- The kernel's part ---- */

/* How many it has taken, or -errno. */
static long kernel_submit(struct iocb **cb, long n)
{
	return sys_call(SYS_io_submit, (long)io.ctx, n, (long)cb, 0, 0, 0);
}

/* ---- Starting ---- */

static int direct_fd(struct store *s, bool write)
{
	return s->ops->direct_fd ? s->ops->direct_fd(s, write) : -EOPNOTSUPP;
}

static bool is_carried(struct store *s, bool write)
{
	return io.mode == IO_DEFERRED || (io.mode == IO_AIO && direct_fd(s, write) >= 0);
}

static bool can_start_reads(struct address_space *as)
{
	return atomic_load_explicit(&io.open, memory_order_relaxed) && as->store && as->frames->install;
}

bool io_can(struct address_space *as)
{
	return can_start_reads(as) && is_carried(as->store, false);
}

bool io_can_prefetch(struct address_space *as)
{
	return can_start_reads(as) && (is_carried(as->store, false) || (direct_fd(as->store, false) < 0 && as->store->ops->expect));
}

bool io_can_write(struct address_space *as)
{
	if (!atomic_load_explicit(&io.open, memory_order_relaxed) || !as->frames->snapshot)
		return false;
	return is_carried(as->store, true);
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
	int fd = direct_fd(r->as->store, write);
	uint64_t key = atomic_load(&r->key);

	r->deferred = io.mode != IO_AIO || fd < 0;
	r->cb = (struct iocb){
		.aio_data = (uint64_t)(r - io.r),
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)fd,
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

/* It reads them into its page cache, from which the store will have them. */
static void tell_kernel(const struct request *r)
{
	const struct store_ops *ops = r->as->store->ops;

	if (ops->expect && !atomic_load(&r->write) && io.mode != IO_DEFERRED)
		ops->expect(r->as->store, (uint64_t)r->cb.aio_offset, r->cb.aio_nbytes);
}

/* Together they wake the device once. What the kernel does not take is DONE, and done by who finishes it. */
static void submit(struct request *const *r, uint32_t n)
{
	struct iocb *cb[IO_BATCH];
	long sent = 0, taken = 0;

	for (uint32_t i = 0; i < n; i++) {
		describe(r[i]);
		if (r[i]->deferred)
			tell_kernel(r[i]);
		else
			cb[sent++] = &r[i]->cb;
	}
	if (sent)
		taken = kernel_submit(cb, sent);
	for (uint32_t i = 0; i < n; i++)
		note_submitted(r[i], !r[i]->deferred && taken-- > 0);
	io_bump();
}

/* Their locks are the request's from now on. Whoever waits for one by its word looks again. */
static void hand_pages_over(const struct fill *fl)
{
	for (uint32_t i = 0; i < fl->n; i++)
		page_hand_to_io(fl->pfn[i]);
}

static void add(struct io_batch *b, const struct request *r)
{
	fl_assert(b->n < IO_BATCH);
	b->request[b->n++] = (uint8_t)(r - io.r);
}

static void start_run(struct request *r, struct fill *fl, bool eager, struct io_batch *batch)
{
	fill_insert(fl, (uint32_t)min_u64(fl->buf.pages, RUN_MAX));
	if (!fl->n)
		return;
	prepare(r, fl->as, fl->buf, false, eager);
	atomic_store(&r->key, key_of(fl->as, fl->index, fl->n));
	hand_pages_over(fl);
	if (batch)
		add(batch, r);
	else
		submit(&r, 1);
}

/* A request and a buffer, or neither. */
static struct request *take_both(bool large, struct buffer *buf)
{
	struct request *r = io_take_free();

	if (r && !buffer_get_io(large, buf)) {
		io_give_back(r);
		return NULL;
	}
	return r;
}

uint32_t io_start(struct address_space *as, uint64_t index, uint32_t want, bool eager, struct io_batch *batch)
{
	struct fill fl = {.as = as, .index = index, .reserved = want, .ahead = !eager};
	struct request *r;

	if (page_find_any((struct page_key){.as = as->id, .index = index}) != PFN_NONE || !begin_starting())
		return 0;
	r = take_both(want > 1, &fl.buf);
	if (r) {
		start_run(r, &fl, eager, batch);
		if (!fl.n) {
			io_give_back(r);
			buffer_put_io(fl.buf);
		}
	}
	if (!fl.n || !batch)
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
	r = io_take_free();
	started = r && start_huge(r, as, index, slot);
	if (r && !started)
		io_give_back(r);
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
	add(b, &io.r[request]);
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
	io_let_go(&io.r[request]);
	stop_starting();
}

/* ---- Start, end, fork ---- */

void io_init(enum io_mode mode)
{
	memset(&io, 0, sizeof io);
	if (mode == IO_AIO && sys_call(SYS_io_setup, IO_REQUESTS, (long)&io.ctx, 0, 0, 0, 0))
		mode = IO_STORE;
	io.mode = mode;
	atomic_store(&io.open, mode != IO_SYNC);
}

void io_exit(void)
{
	fl_assert(!io_any_busy());
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
