/* SPDX-License-Identifier: Apache-2.0 */
#include "hosted.h"

#include <errno.h>
#include <string.h>

#include "budget.h"
#include "frames.h"
#include "host/channel.h"
#include "repay.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "util/fd.h"

bool hosted_wanted(void)
{
	return channel_joined();
}

void hosted_is_coming(void)
{
	channel_is_coming();
}

/* ---- Files ---- */

static void close_one(uint32_t file)
{
	struct channel_call c = {.op = WIRE_CLOSE, .file = file};

	if (file)
		channel_call(&c);
}

/* Without a descriptor left here for the memory the host need not keep it. */
static int open_there(const struct address_space *as, int fd, struct wire_message *m, int *memfd)
{
	int err;

	*m = (struct wire_message){.kind = WIRE_OPEN, .flags = as->scratch ? WIRE_OPEN_SCRATCH : 0};
	channel_follows(); /* it is opened to be mapped */
	err = channel_message(m, fd, memfd);
	if (err || *memfd >= 0)
		return err;
	close_one(m->file);
	return -EMFILE;
}

int hosted_open(struct address_space *as, int fd)
{
	struct wire_message m;
	int memfd, err = open_there(as, fd, &m, &memfd);

	if (err)
		return err;
	if (as->memfd >= 0)
		fd_close(as->memfd);
	as->memfd = memfd;
	as->host_direct = m.flags & WIRE_OPEN_DIRECT;
	as->host_file_before = 0;
	atomic_store(&as->host_file, m.file);
	atomic_store(&as->size, m.value);
	atomic_store(&as->wb_err, m.wb_err);
	return 0;
}

int hosted_open_again(struct address_space *as, int fd)
{
	int err = hosted_open(as, fd);

	return err == -EHOSTDOWN ? 0 : err;
}

int hosted_widen(struct address_space *as, int fd)
{
	struct wire_message m;
	int memfd, err = open_there(as, fd, &m, &memfd);

	if (err)
		return err;
	fd_close(memfd); /* the one that we have */
	as->host_file_before = atomic_exchange(&as->host_file, m.file);
	return 0;
}

void hosted_close(struct address_space *as)
{
	close_one(as->host_file_before);
	close_one(as->host_file);
}

/* ---- Mappings ---- */

int hosted_add_mmu(struct mmu *mmu, int fd)
{
	struct wire_message m = {.kind = WIRE_ADD_MMU};
	int err = mmu->map_can_wp ? channel_message(&m, fd, NULL) : -ENOSYS;

	if (!err)
		mmu->host_number = m.value;
	return err;
}

void hosted_drop_mmu(struct mmu *mmu)
{
	struct wire_message m = {.kind = WIRE_DROP_MMU, .value = mmu->host_number};

	channel_message(&m, -1, NULL);
}

int hosted_map(struct address_space *as, const struct mmu *mmu, uint64_t addr, uint64_t pgoff, uint64_t pages, bool locked)
{
	struct channel_call c = {
		.op = WIRE_MAP, .file = as->host_file, .flags = locked ? WIRE_LOCKED : 0, .arg = {addr, pgoff, pages, mmu->host_number}};

	channel_follows(); /* it is mapped to be looked at */
	return channel_call(&c);
}

void hosted_unmap(const struct mmu *mmu, uint64_t addr, uint64_t pages)
{
	struct channel_call c = {.op = WIRE_UNMAP, .arg = {addr, pages, mmu->host_number}};

	channel_follows(); /* mostly the file is closed */
	channel_call(&c);
}

int hosted_lock(const struct mmu *mmu, uint64_t addr, uint64_t pages, bool locked)
{
	struct channel_call c = {.op = WIRE_LOCK, .flags = locked ? WIRE_LOCKED : 0, .arg = {addr, pages, mmu->host_number}};

	return channel_call(&c);
}

/* ---- Pages ---- */

/*
 * A page that the disk has costs the disk's time and then, one after the other, the time it takes the host to wake and ours. So where pages come from there,
 * the read is started here, in the kernel's page cache, before the host is asked, and both wait for it at the same time: what is left to wait for after
 * is what the host does with the page.
 */
#define SLOW_NS 40000 /* an answer: it may be the disk, or the host had to wake */
#define DISK_NS 15000 /* a read of the page cache: it was not there */
#define DISK_TURNS 4  /* so many pages more are thought to be on disk */
#define READY_US 100  /* what it takes the host to wake beside us, and to map the page */

static _Atomic int disk_turns;

static void set_turns(int turns)
{
	atomic_store_explicit(&disk_turns, turns, memory_order_relaxed);
}

static void wait_for_disk(const struct channel_call *c)
{
	struct store *s = c->with;
	uint64_t began = now_ns();
	int turns = atomic_load_explicit(&disk_turns, memory_order_relaxed);
	char byte;

	s->ops->peek(s, &byte, 1, c->arg[0] << FL_PAGE_SHIFT);
	set_turns(now_ns() - began > DISK_NS ? DISK_TURNS : turns - (turns > 0));
}

static bool is_on_disk(struct address_space *as, uint64_t index)
{
	return atomic_load_explicit(&disk_turns, memory_order_relaxed) > 0 && !as->host_direct && !as->scratch && as->store->ops->expect &&
	       frames_can_tell() && !frames_hold(as, index, 1);
}

/* Of a call for which something was read in, and which took so long: the next one will tell. */
static void learn(const struct channel_call *c, uint64_t ns)
{
	if (!c->meanwhile && ns > SLOW_NS && !atomic_load_explicit(&disk_turns, memory_order_relaxed))
		set_turns(1);
}

/* A call that needs one page of the file, the one at arg[0]. */
static int call_for_page(struct address_space *as, struct channel_call *c)
{
	if (is_on_disk(as, c->arg[0])) {
		as->store->ops->expect(as->store, c->arg[0] << FL_PAGE_SHIFT, FL_PAGE_SIZE);
		c->meanwhile = wait_for_disk;
		c->with = as->store;
		c->look_us = READY_US;
	}
	return channel_call(c);
}

static int fault_for_page(struct address_space *as, struct channel_call *c)
{
	uint64_t began = now_ns();
	int err = call_for_page(as, c);

	if (c->out[0] & WIRE_MISSED)
		learn(c, now_ns() - began);
	return err;
}

/* `flags` besides, and `pages` in all; *done: of these. */
static int fault_there(struct fault *f, uint32_t flags, uint64_t pages, uint64_t *done)
{
	struct channel_call c = {
		.op = WIRE_FAULT, .file = f->as->host_file, .arg = {f->index, f->addr, f->room, f->before, f->advice, f->mmu->host_number}};
	int err;

	c.flags = flags | (uint32_t)(pages - 1) * WIRE_MORE | (f->write ? WIRE_WRITE : 0) | (f->present ? WIRE_PRESENT : 0);
	c.flags |= (f->anon ? WIRE_PRIVATE : 0) | (f->alone ? WIRE_ALONE : 0);
	err = pages == 1 && !f->present ? fault_for_page(f->as, &c) : channel_call(&c);
	f->missed |= c.out[0] & WIRE_MISSED;
	*done = err ? 0 : c.out[1];
	return err;
}

int hosted_fault(struct fault *f, bool pin)
{
	uint64_t done;

	return fault_there(f, pin ? WIRE_PIN : 0, 1, &done);
}

int hosted_populate(struct fault *f, uint64_t pages, uint64_t *done)
{
	return fault_there(f, 0, pages, done);
}

int hosted_pin(struct fault *f, uint64_t pages, uint64_t *pinned)
{
	return fault_there(f, WIRE_PIN, pages, pinned);
}

static uint64_t unpin(uint32_t file, uint64_t index, uint64_t pages)
{
	struct channel_call c = {.op = WIRE_UNPIN, .file = file, .arg = {index, pages}};

	return file && !channel_call(&c) ? c.out[0] : 0;
}

/* The pins may be of before the file was widened. */
uint64_t hosted_unpin(struct address_space *as, uint64_t index, uint64_t pages)
{
	uint64_t n = unpin(as->host_file, index, pages);

	return n ? n : unpin(as->host_file_before, index, pages);
}

int hosted_read(struct address_space *as, uint64_t index, void *page)
{
	struct channel_call c = {.op = WIRE_READ, .file = as->host_file, .arg = {index}, .page = page, .in_page = FL_PAGE_SIZE};

	return call_for_page(as, &c);
}

int hosted_prefetch(struct address_space *as, uint64_t index, uint64_t pages)
{
	struct channel_call c = {.op = WIRE_PREFETCH, .file = as->host_file, .arg = {index, pages}};

	return channel_hint(&c);
}

void hosted_resident(struct address_space *as, uint64_t index, uint64_t pages, unsigned char *vec)
{
	for (uint64_t n, done = 0; done < pages; done += n) {
		n = min_u64(pages - done, FL_PAGE_SIZE);

		struct channel_call c = {.op = WIRE_RESIDENT, .file = as->host_file, .arg = {index + done, n}, .page = vec + done};

		c.in_page = (uint32_t)n;
		if (channel_call(&c))
			memset(vec + done, 0, n);
	}
}

#define SYNC_WAITED 16 /* pages that are written sooner than two workers would be done with the request and the next */

/* What was stored outlives this process already. */
static bool is_waited_for(const struct address_space *as, uint32_t flags)
{
	return (flags & (WIRE_WAIT | WIRE_DURABLE)) || channel_dirty(as->file.dev, as->file.ino) <= SYNC_WAITED;
}

int hosted_sync(struct address_space *as, uint64_t first, uint64_t last, uint32_t flags)
{
	struct channel_call c = {.op = WIRE_SYNC, .file = as->host_file, .flags = flags, .arg = {first, last}};
	int err;

	if (!(flags & WIRE_DURABLE) && channel_is_clean(as->file.dev, as->file.ino))
		return 0;
	if (!is_waited_for(as, flags))
		return channel_hint(&c);
	err = channel_call(&c);
	if (err != -EHOSTDOWN)
		atomic_store(&as->wb_err, (uint32_t)c.out[0]);
	return err;
}

void hosted_cool(struct address_space *as, uint64_t first, uint64_t last, bool out)
{
	struct channel_call c = {.op = WIRE_COOL, .file = as->host_file, .flags = out ? WIRE_WRITE : 0, .arg = {first, last}};

	channel_call(&c);
}

int hosted_remove(struct address_space *as, uint64_t first, uint64_t last)
{
	struct channel_call c = {.op = WIRE_REMOVE, .file = as->host_file, .arg = {first, last}};

	return channel_call(&c);
}

/* ---- Changes ---- */

int hosted_change_begin(struct channel_pair *p, struct file_id file, uint64_t *size, bool *held)
{
	int err = -ENOENT;

	*p = (struct channel_pair){.call = {.op = WIRE_CHANGE, .arg = {file.dev, file.ino}}};
	if (channel_has(file.dev, file.ino))
		err = channel_begin(p);
	*held = !err;
	*size = p->call.out[0];
	return err == -ENOENT ? 0 : err;
}

int hosted_change_end(struct channel_pair *p, uint64_t off, uint64_t len, bool replaces)
{
	p->call.arg[0] = off;
	p->call.arg[1] = len;
	p->call.arg[2] = replaces;
	return channel_end(p);
}

int hosted_sync_id(struct file_id file, uint64_t first, uint64_t last)
{
	struct channel_call c = {.op = WIRE_SYNC_ID, .flags = WIRE_WAIT, .arg = {first, last, file.dev, file.ino}};

	int err = channel_has_dirty(file.dev, file.ino) ? channel_call(&c) : 0;

	return err == -EHOSTDOWN ? 0 : err; /* which has been said; the file is as it is */
}

int hosted_sync_all(void)
{
	struct channel_call c = {.op = WIRE_SYNC_ALL};

	return channel_call(&c);
}

int hosted_leave(struct file_id file)
{
	struct channel_call c = {.op = WIRE_LEAVE, .arg = {file.dev, file.ino}};

	return channel_call(&c);
}

int hosted_settle(void)
{
	struct channel_call c = {.op = WIRE_SETTLE};

	return channel_call(&c);
}

bool hosted_shrunk(struct address_space *as, uint64_t *size)
{
	uint32_t now = channel_shrunk();
	struct channel_call c = {.op = WIRE_SHRUNK, .file = as->host_file};

	if (likely(now == atomic_load_explicit(&as->host_shrunk, memory_order_relaxed)))
		return false;
	if (channel_call(&c))
		return false;
	atomic_store(&as->host_shrunk, now);
	*size = c.out[0];
	return *size != UINT64_MAX;
}

/* ---- Memory ---- */

static int borrow(uint64_t pages, bool urgent)
{
	struct channel_call c = {.op = WIRE_BORROW, .flags = urgent ? WIRE_WAIT : 0, .arg = {pages}};
	int err = channel_call(&c);

	if (!err)
		repay_may_have_to(pages);
	return err == -EHOSTDOWN ? 0 : err; /* nobody else has any, then */
}

static void give_back(uint64_t pages, uint64_t refused)
{
	struct channel_call c = {.op = WIRE_RETURN, .arg = {pages, refused}};

	channel_call(&c);
}

const struct budget_lender hosted_lender = {.borrow = borrow, .give_back = give_back};

const struct frame_ops hosted_frames = {.name = "hosted"};
