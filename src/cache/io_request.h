/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: what io.c starts, and io_wait.c brings to its end. io.c has the states. */
#ifndef FL_CACHE_IO_REQUEST_H
#define FL_CACHE_IO_REQUEST_H

#include <linux/aio_abi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "address_space.h"
#include "buffer.h"
#include "huge.h"
#include "io.h"

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
	bool deferred; /* to the store, by who finishes it: the kernel does not carry it */
	struct address_space *as;
	struct buffer buf;
	int64_t result; /* written by who reaps, before DONE */
	struct iocb cb;
};

#define KEY_HUGE 0xffu
#define IO_EVENTS 64
#define IO_WORDS (IO_REQUESTS / 64)

struct io {
	enum io_mode mode;
	_Atomic bool open;               /* requests may be started */
	_Atomic uint32_t starting;       /* threads that have found it open, and are not done with their request */
	_Atomic uint64_t busy[IO_WORDS]; /* a bit for each request that is not FREE */
	_Atomic uint32_t failures;       /* writes, ever */
	_Atomic uint32_t started;        /* requests, ever */
	_Atomic bool reaping;            /* some thread is */
	_Atomic uint32_t seq;            /* futex: counts changes of state */
	_Atomic uint32_t waiters;        /* on seq */
	aio_context_t ctx;
	struct io_event events[IO_EVENTS]; /* of the thread that reaps */
	struct request r[IO_REQUESTS];
};

extern struct io io;

/* ---- A key ---- */

static inline uint64_t key_of(const struct address_space *as, uint64_t index, uint32_t n)
{
	return (uint64_t)as->id << 48 | index << 8 | n;
}

static inline uint64_t key_index(uint64_t key)
{
	return key >> 8 & PAGE_INDEX_MAX;
}

static inline bool key_is_huge(uint64_t key)
{
	return (key & 0xff) == KEY_HUGE;
}

static inline uint32_t key_pages(uint64_t key)
{
	return key_is_huge(key) ? HUGE_PAGES : (uint32_t)(key & 0xff);
}

static inline uint16_t key_as(uint64_t key)
{
	return (uint16_t)(key >> 48);
}

/* ---- Requests: io_request.c ---- */

/* CLAIMED; NULL when none is free. */
struct request *io_take_free(void);
/* One that was never sent, or has ended. With let_go: its buffer too, and the object is one request nearer to being free. */
void io_give_back(struct request *r);
void io_let_go(struct request *r);
bool io_any_busy(void);
/* Calls fn for each request that is not free until one answers true: that one. */
struct request *io_each_busy(bool (*fn)(struct request *r, const void *arg), const void *arg);

/* Changes of state are counted: who has found nothing to do since it read the count sleeps until there is one more. */
uint32_t io_seq_now(void);
void io_bump(void);
void io_wait_change(uint32_t seen);

static inline bool io_is_in_state(struct request *r, enum request_state s)
{
	return atomic_load(&r->state) == s;
}

#endif
