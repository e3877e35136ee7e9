/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests. Each is copied out of its slot before it is looked at; nothing that it says is believed. What it asks for is a call of the cache,
 * with the client's mmu where pages are to be mapped.
 */
#include "serve.h"

#include <errno.h>
#include <limits.h>

#include "borrow.h"
#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "change.h"
#include "leave.h"
#include "mappings.h"
#include "message.h"
#include "pins.h"
#include "shared.h"
#include "util/compiler.h"
#include "util/sys.h"

#define PAGES (PAGE_INDEX_MAX + 1) /* that a file can have */

/* ---- What clients say ---- */

/* Pages [first, last] of a file; a last one beyond all is the last. */
static bool get_pages(const struct request *r, uint64_t *first, uint64_t *last)
{
	*first = r->arg[0];
	*last = min_u64(r->arg[1], PAGE_INDEX_MAX);
	return *first <= *last;
}

static bool is_range(uint64_t addr, uint64_t pages)
{
	return !(addr & FL_PAGE_MASK) && addr >= REMOTE_ADDRESS_MIN && addr < REMOTE_ADDRESS_END && pages &&
	       pages <= (REMOTE_ADDRESS_END - addr) >> FL_PAGE_SHIFT;
}

static bool get_range(uint64_t addr, uint64_t pages, uint64_t mmu, struct client_range *range)
{
	*range = (struct client_range){.addr = addr, .pages = pages, .mmu = (uint32_t)mmu};
	return is_range(addr, pages) && mmu < SESSION_MMUS;
}

/* ---- Faults ---- */

static bool get_fault(const struct request *r, struct fault *f)
{
	*f = (struct fault){
		.as = r->file->as,
		.index = r->arg[0],
		.addr = r->arg[1],
		.room = r->arg[2],
		.before = r->arg[3],
		.advice = (enum ra_advice)r->arg[4],
		.write = r->flags & WIRE_WRITE,
		.present = r->flags & WIRE_PRESENT,
		.view = r->flags & WIRE_PRIVATE,
		.alone = r->flags & WIRE_ALONE,
	};
	return f->index <= PAGE_INDEX_MAX && is_range(f->addr, f->room) && f->before <= f->index &&
	       f->before <= (f->addr - REMOTE_ADDRESS_MIN) >> FL_PAGE_SHIFT && r->arg[4] <= RA_SEQUENTIAL && !(f->write && f->view);
}

/* A page that can be stored to must be found by who writes it back: a shared mapping is one that the client has told of. */
static bool is_mapped(const struct request *r, struct fault *f)
{
	uint64_t room, before;

	if (f->view)
		return true;
	if (!mappings_find(r->s, r->file, (uint32_t)r->arg[5], f->addr, f->index, &room, &before))
		return false;
	f->room = min_u64(f->room, room);
	f->before = min_u64(f->before, before);
	return true;
}

/* Pages that are read in, or made room for, by one request before others are looked at. */
static uint64_t part_of_memory(void)
{
	return max_u64(budget_limit() / 128, 1);
}

/* Pages [done, pages) of a run are still to be had, of which those before `mapped` were mapped with others. */
struct run {
	uint64_t pages, done, mapped;
};

/* The fault of the next page. */
static bool get_next(const struct request *r, const struct fault *f, const struct run *run, struct fault *one)
{
	*one = *f;
	one->index += run->done;
	one->addr += run->done << FL_PAGE_SHIFT;
	one->room -= run->done;
	one->before += run->done;
	one->wanted = min_u64(run->pages - run->done, part_of_memory());
	one->alone |= run->done < run->mapped;
	return one->index <= PAGE_INDEX_MAX && is_mapped(r, one);
}

/* What was mapped with another is pinned, or stored to, page by page all the same. */
static int serve_next(struct request *r, const struct fault *f, struct run *run)
{
	bool pin = r->flags & WIRE_PIN;
	struct fault one;
	int err;

	if (!get_next(r, f, run, &one))
		return -EINVAL;
	err = pin ? pins_add(r->s, r->file, &one) : filemap_fault(&one);
	r->out[0] |= one.missed ? WIRE_MISSED : 0;
	r->streamed += one.read;
	if (err)
		return err;
	run->mapped = max_u64(run->mapped, run->done + one.mapped);
	run->done = pin || one.write ? run->done + 1 : max_u64(run->mapped, run->done + 1);
	return 0;
}

/* One after the other: what is mapped there may change meanwhile. An error is that of the first. */
static int serve_run(struct request *r, const struct fault *f)
{
	struct run run = {.pages = min_u64(1 + r->flags / WIRE_MORE, r->flags & WIRE_PIN ? WIRE_PIN_MAX : WIRE_POPULATE_MAX)};
	int err = 0;

	run.pages = min_u64(run.pages, f->room);
	while (run.done < run.pages && !err)
		err = serve_next(r, f, &run);
	r->out[1] = min_u64(run.done, run.pages);
	return run.done ? 0 : err;
}

static int serve_fault(struct request *r)
{
	struct client_mmu *m;
	struct fault f;
	int err;

	if (!get_fault(r, &f))
		return -EINVAL;
	if (f.write && !r->file->writable)
		return -EACCES;
	m = session_mmu(r->s, r->arg[5]);
	if (!m)
		return -EINVAL;
	f.mmu = &m->uffd.mmu;
	err = serve_run(r, &f);
	mmu_put(m);
	return err;
}

static int serve_unpin(struct request *r)
{
	uint64_t pages = min_u64(max_u64(r->arg[1], 1), WIRE_PIN_MAX), i;

	for (i = 0; i < pages && r->arg[0] + i <= PAGE_INDEX_MAX && !pins_drop(r->s, r->file, r->arg[0] + i); i++)
		;
	r->out[0] = i;
	return i ? 0 : -EINVAL;
}

/* ---- Mappings ---- */

static int serve_map(struct request *r)
{
	struct client_range range;

	if (!get_range(r->arg[0], r->arg[2], r->arg[3], &range) || r->arg[1] >= PAGES || range.pages > PAGES - r->arg[1])
		return -EINVAL;
	return mappings_add(r->s, r->file, &range, r->arg[1], r->flags & WIRE_LOCKED);
}

static int serve_unmap(struct request *r)
{
	struct client_range range;

	return get_range(r->arg[0], r->arg[1], r->arg[2], &range) ? mappings_remove(r->s, &range) : -EINVAL;
}

static int serve_lock(struct request *r)
{
	struct client_range range;

	return get_range(r->arg[0], r->arg[1], r->arg[2], &range) ? mappings_lock(r->s, &range, r->flags & WIRE_LOCKED) : -EINVAL;
}

/* ---- Bytes ---- */

static int copy_out(struct request *r, pfn_t locked)
{
	struct address_space *as = r->file->as;
	uint64_t off = r->arg[0] << FL_PAGE_SHIFT, size = atomic_load(&as->size);
	int err = off < size ? frame_read(as, off, r->s->area->page[r->slot], FL_PAGE_SIZE) : -ENXIO;

	page_unlock(locked);
	r->out[0] = err ? 0 : min_u64(size - off, FL_PAGE_SIZE);
	return err;
}

static int serve_read(struct request *r)
{
	struct fault f = {.as = r->file->as, .index = r->arg[0]};
	pfn_t locked;
	int err;

	if (f.index > PAGE_INDEX_MAX)
		return -EINVAL;
	f.room = PAGES - f.index;
	err = session_pay_page(r->s, r->slot);
	if (!err)
		err = filemap_get_page(&f, &locked);
	return err ? err : copy_out(r, locked);
}

static int sync_file(struct request *r, struct address_space *as, uint64_t first, uint64_t last)
{
	int err = 0;

	if (!as->scratch && as->store->writable) {
		if (r->flags & WIRE_DURABLE)
			err = writeback_durably(as, first, last);
		else
			err = r->flags & WIRE_WAIT ? writeback_range(as, first, last) : writeback_start(as, first, last);
	}
	r->out[0] = wb_err_sample(as);
	return err;
}

static int serve_sync(struct request *r)
{
	uint64_t first, last;

	return get_pages(r, &first, &last) ? sync_file(r, r->file->as, first, last) : -EINVAL;
}

static int serve_sync_id(struct request *r)
{
	struct address_space *as;
	uint64_t first, last;
	int err;

	if (!get_pages(r, &first, &last))
		return -EINVAL;
	as = address_space_find((struct file_id){.dev = r->arg[2], .ino = r->arg[3]});
	if (!as)
		return 0;
	err = as->kernels ? 0 : sync_file(r, as, first, last);
	address_space_put(as);
	return err;
}

/* ---- Advice ---- */

static int serve_prefetch(struct request *r)
{
	struct fault f = {.as = r->file->as, .index = r->arg[0]};

	if (f.index > PAGE_INDEX_MAX)
		return -EINVAL;
	filemap_readahead(&f, min_u64(min_u64(r->arg[1], filemap_readahead_max(f.as)), PAGES - f.index));
	return 0;
}

static int serve_resident(struct request *r)
{
	unsigned char *page = r->s->area->page[r->slot];
	uint64_t first = r->arg[0], n = r->arg[1];
	int err;

	if (n > FL_PAGE_SIZE || first >= PAGES || n > PAGES - first)
		return -EINVAL;
	err = session_pay_page(r->s, r->slot);
	for (uint64_t i = 0; i < n && !err; i++) {
		struct fault f = {.as = r->file->as, .index = first + i};

		shared_store(&page[i], filemap_is_dirty(&f) ? WIRE_DIRTY : filemap_resident(&f) ? WIRE_IN_MEMORY : 0);
	}
	return err;
}

static int serve_cool(struct request *r)
{
	uint64_t first, last;

	if (!get_pages(r, &first, &last))
		return -EINVAL;
	reclaim_range(r->file->as, first, last, r->flags & WIRE_WRITE);
	return 0;
}

static int serve_remove(struct request *r)
{
	uint64_t first, last;

	if (!get_pages(r, &first, &last))
		return -EINVAL;
	return r->file->writable ? truncate_hole(r->file->as, first, last) : -EACCES;
}

/* ---- Others ---- */

static int serve_close(struct request *r)
{
	return session_close_file(r->s, r->number);
}

static int serve_borrow(struct request *r)
{
	return borrow_take(r->s, r->arg[0], r->flags & WIRE_WAIT);
}

static int serve_return(struct request *r)
{
	return borrow_return(r->s, r->arg[0], r->arg[1]);
}

static int serve_leave(struct request *r)
{
	return leave_to_kernel((struct file_id){.dev = r->arg[0], .ino = r->arg[1]});
}

static int serve_shrunk(struct request *r)
{
	r->out[0] = change_lowest(r->file);
	return 0;
}

static int sync_one(struct address_space *as, void *r)
{
	if (!as->kernels)
		sync_file(r, as, 0, PAGE_INDEX_MAX);
	return 0;
}

/* sync(2) knows no errors: each is told to who has the file. */
static int serve_sync_all(struct request *r)
{
	r->flags = WIRE_WAIT;
	return address_space_for_each(sync_one, r);
}

static int serve_settle(struct request *r)
{
	return session_settle(r->s);
}

static int serve_message(struct request *r)
{
	return message_serve(r->s);
}

static const struct {
	int (*serve)(struct request *r);
	bool has_file;
} operations[WIRE_OPS] = {
	[WIRE_FAULT] = {serve_fault, true},       [WIRE_UNPIN] = {serve_unpin, true},        [WIRE_MAP] = {serve_map, true},
	[WIRE_UNMAP] = {serve_unmap, false},      [WIRE_LOCK] = {serve_lock, false},         [WIRE_READ] = {serve_read, true},
	[WIRE_SYNC] = {serve_sync, true},         [WIRE_SYNC_ID] = {serve_sync_id, false},   [WIRE_CHANGE] = {change_file, false},
	[WIRE_PREFETCH] = {serve_prefetch, true}, [WIRE_RESIDENT] = {serve_resident, true},  [WIRE_COOL] = {serve_cool, true},
	[WIRE_REMOVE] = {serve_remove, true},     [WIRE_CLOSE] = {serve_close, false},       [WIRE_BORROW] = {serve_borrow, false},
	[WIRE_RETURN] = {serve_return, false},    [WIRE_SHRUNK] = {serve_shrunk, true},      [WIRE_LEAVE] = {serve_leave, false},
	[WIRE_SETTLE] = {serve_settle, false},    [WIRE_SYNC_ALL] = {serve_sync_all, false}, [WIRE_MESSAGE] = {serve_message, false},
};

static int serve(struct request *r)
{
	int err;

	if (r->op >= WIRE_OPS || !operations[r->op].serve)
		return -EINVAL;
	if (!operations[r->op].has_file)
		return operations[r->op].serve(r);
	r->file = session_file(r->s, r->number);
	if (!r->file)
		return -EINVAL;
	err = operations[r->op].serve(r);
	handle_put(r->file);
	return err;
}

void serve_answer(struct request *r, int result)
{
	struct wire_slot *slot = &r->s->area->slot[r->slot];

	shared_store(&slot->out[0], r->out[0]);
	shared_store(&slot->out[1], r->out[1]);
	shared_store(&slot->result, result);
	atomic_store(&slot->state, WIRE_DONE);
	sys_futex_wake_shared(&slot->state, INT_MAX);
}

/* The client's memory is read once: as if by one that it writes to meanwhile. */
static void copy_in(struct request *r)
{
	const struct wire_slot *slot = &r->s->area->slot[r->slot];

	r->op = shared_load(&slot->op);
	r->flags = shared_load(&slot->flags);
	r->number = shared_load(&slot->file);
	for (int i = 0; i < 6; i++)
		r->arg[i] = shared_load(&slot->arg[i]);
}

void serve_slot(struct session *s, uint32_t slot)
{
	struct request r = {.s = s, .slot = slot};
	uint32_t posted = WIRE_POSTED;
	int result;

	if (!atomic_compare_exchange_strong(&s->area->slot[slot].state, &posted, WIRE_TAKEN))
		return; /* a bit without a request */
	copy_in(&r);
	result = serve(&r);
	if (!r.answered)
		serve_answer(&r, result);
	if (r.streamed > 1) /* while the client looks at what it has got */
		reclaim_ahead((uint32_t)min_u64(r.streamed, part_of_memory()));
	borrow_for_files();
}
