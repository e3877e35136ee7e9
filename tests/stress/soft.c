/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, each with a cpu of its own, on two soft spaces that are forked now and then, in a budget that has reclaim and swap run all
 * the time. In each space:
 *
 *   regions    one for each thread, which alone maps, protects, moves and stores there, and knows every word of it (own_*). Other
 *              threads read: a word is the region's, and not older than what its owner had stored before (foreign_*)
 *   sums       words that all threads of the space add to by compare-and-swap: no addition is lost
 *   target     pages that all threads store to without a pause, while one takes them away: when the call has returned, no store
 *              lands any more (shoot_*)
 *   file       shared by both spaces and by pwrite(2) through us: each thread has words of its own
 *   cut file   mapped privately, and made shorter and longer again: private copies beyond the end are gone when the call returns, and
 *              no others (cut_*)
 *
 * Children of fork are kept by who made them, written to, forked again, and compared with a copy of what the owner knew.
 *
 * FAULTLINE_STRESS_SECONDS (6), _THREADS (6), _BUDGET (4M), _SEED.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "faultline_soft.h"

#define PAGE 4096UL
#define SPACES 2
#define THREADS_MAX 16
#define REGION_MAX 512UL /* pages of a region; fewer when that makes three times the budget */
#define WORDS 2          /* of a page that are used: its first and its last */
#define KEEP 3           /* children that a thread keeps */
#define SUMS 64          /* words, one to a page */
#define TARGET_PAGES 8UL
#define REGIONS 0x100000000UL
#define SUM_BASE 0x40000000UL
#define TARGET 0x50000000UL
#define ASIDE 0x60000000UL /* where the target is moved to */
#define FILE_BASE 0x70000000UL
#define CUT_BASE 0x90000000UL
#define CUT_PAGES 64UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* What the owner knows of a page. */
struct page {
	_Atomic uint64_t word[WORDS]; /* what was stored last */
	_Atomic uint32_t turn;        /* odd while what is mapped there changes: others do not judge */
	int prot;                     /* -1: nothing is mapped */
	bool lazy;                    /* MADV_FREE: as it was, or zeros */
};

struct child {
	fl_space *space;
	struct page *pages;
};

struct worker {
	pthread_t thread;
	uint64_t seed, count, added;
	unsigned id, in; /* in: which space */
	fl_cpu *cpu;
	struct page *pages;
	struct child kept[KEEP];
	uint64_t cut_word[CUT_PAGES]; /* what was stored last to the page of the cut file */
	uint32_t cut_seen[CUT_PAGES]; /* and how often it had been cut before */
};

static fl_space *space[SPACES];
static struct worker *workers;
static unsigned nthreads;
static int fd, cut_fd;
static uint64_t budget, file_pages, region_pages;
static uint32_t *file_model;             /* of each page, the counter of the thread it belongs to */
static _Atomic uint32_t cuts[CUT_PAGES]; /* of each page, begun and ended */
static pthread_mutex_t cut_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all_have_cpus;
static _Atomic bool stop;
static pthread_mutex_t target_lock[SPACES] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static _Atomic uint64_t forks, busy, no_memory, shots;

static unsigned env_number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

static uint64_t rnd(struct worker *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed * 0x2545f4914f6cdd1dull >> 16;
}

static void die(const struct worker *w, const char *what, uint64_t addr, uint64_t found, uint64_t expected)
{
	fprintf(stderr,
		"soft stress: thread %u in space %u: %s at %lx: found %016lx, expected %016lx (errno %d; fault: signal %d code %d at "
		"%lx)\n",
		w->id, w->in, what, addr, found, expected, errno, w->cpu ? w->cpu->fault.signal : -1, w->cpu ? w->cpu->fault.code : 0,
		w->cpu ? w->cpu->fault.address : 0);
	abort();
}

static uint64_t region_of(unsigned id)
{
	return REGIONS + id * REGION_MAX * PAGE;
}

static uint64_t addr_of(unsigned id, uint64_t page, unsigned word)
{
	return region_of(id) + page * PAGE + (word ? PAGE - 8 : 0);
}

/* Which region, and when. */
static uint64_t encode(const struct worker *w)
{
	return (uint64_t)(w->id + 1) << 56 | w->count;
}

/* ---- A thread's own pages ---- */

static void end_child(struct child *c)
{
	if (c->space)
		fl_space_destroy(c->space);
	free(c->pages);
	*c = (struct child){0};
}

/* Mappings of children can take all of the budget. */
static void make_room(struct worker *w)
{
	atomic_fetch_add(&no_memory, 1);
	end_child(&w->kept[rnd(w) % KEEP]);
}

/* The access failed: whether for want of memory. */
static bool for_memory(struct worker *w)
{
	if (w->cpu->fault.signal || w->cpu->fault.code != -ENOMEM)
		return false;
	make_room(w);
	return true;
}

#define NO_MEMORY 1

/* 0, -1 for a fault of the guest, or NO_MEMORY. */
static int try_load(struct worker *w, uint64_t addr, uint64_t *v)
{
	if (!fl_load64(w->cpu, addr, v))
		return 0;
	return for_memory(w) ? NO_MEMORY : -1;
}

static int try_store(struct worker *w, uint64_t addr, uint64_t v)
{
	if (!fl_store64(w->cpu, addr, v))
		return 0;
	return for_memory(w) ? NO_MEMORY : -1;
}

static void expect_fault(struct worker *w, uint64_t addr, const struct page *p)
{
	int code = p->prot < 0 ? SEGV_MAPERR : SEGV_ACCERR;

	if (w->cpu->fault.signal != SIGSEGV || w->cpu->fault.code != code || w->cpu->fault.address != addr)
		die(w, "another fault than expected", addr, (uint64_t)w->cpu->fault.code, (uint64_t)code);
}

/* After MADV_FREE all of the page is as it was, or zeros. */
static void settle_lazy(struct page *p, unsigned word, uint64_t found)
{
	if (found || !p->word[word])
		return;
	for (unsigned i = 0; i < WORDS; i++)
		p->word[i] = 0;
}

static void own_check(struct worker *w, uint64_t page, unsigned word)
{
	struct page *p = &w->pages[page];
	uint64_t addr = addr_of(w->id, page, word), v = 0;
	int err = try_load(w, addr, &v);

	if (err == NO_MEMORY)
		return;
	if (err) {
		if (p->prot > 0)
			die(w, "a load that failed", addr, 0, p->word[word]);
		expect_fault(w, addr, p);
		return;
	}
	if (p->prot <= 0)
		die(w, "a load without the right to", addr, v, 0);
	if (p->lazy)
		settle_lazy(p, word, v);
	if (v != p->word[word])
		die(w, "a word of one's own", addr, v, p->word[word]);
}

static void own_store(struct worker *w, uint64_t page, unsigned word)
{
	struct page *p = &w->pages[page];
	uint64_t addr = addr_of(w->id, page, word), v;
	int err;

	w->count++;
	err = try_store(w, addr, encode(w));
	if (err == NO_MEMORY)
		return;
	if (err) {
		if (p->prot > 0 && (p->prot & PROT_WRITE))
			die(w, "a store that failed", addr, 0, encode(w));
		expect_fault(w, addr, p);
		return;
	}
	if (p->prot < 0 || !(p->prot & PROT_WRITE))
		die(w, "a store without the right to", addr, encode(w), 0);
	if (p->lazy) {
		while ((err = try_load(w, addr_of(w->id, page, !word), &v)) == NO_MEMORY)
			;
		if (err || (v && v != p->word[!word]))
			die(w, "the other word of a page given up", addr, v, p->word[!word]);
		p->word[!word] = v;
		p->lazy = false;
	}
	p->word[word] = encode(w);
}

static void own_cas(struct worker *w, uint64_t page, unsigned word)
{
	struct page *p = &w->pages[page];
	uint64_t expected = p->word[word], addr = addr_of(w->id, page, word);
	int done;

	if (p->prot != RW || p->lazy)
		return;
	w->count++;
	done = fl_cas64(w->cpu, addr, &expected, encode(w));
	if (done < 0 && for_memory(w))
		return;
	if (done != 1)
		die(w, "a compare-and-swap", addr, expected, p->word[word]);
	p->word[word] = encode(w);
}

struct range {
	uint64_t page, n, addr, len;
};

static struct range some_pages(struct worker *w, uint64_t most)
{
	struct range r = {.page = rnd(w) % region_pages};

	r.n = 1 + rnd(w) % most;
	r.n = r.n < region_pages - r.page ? r.n : region_pages - r.page;
	r.addr = addr_of(w->id, r.page, 0);
	r.len = r.n * PAGE;
	return r;
}

static void begin_change(struct worker *w, const struct range *r)
{
	for (uint64_t i = 0; i < r->n; i++)
		atomic_fetch_add(&w->pages[r->page + i].turn, 1);
}

static void end_change(struct worker *w, const struct range *r)
{
	begin_change(w, r);
}

static void forget(struct page *p)
{
	for (unsigned i = 0; i < WORDS; i++)
		p->word[i] = 0;
	p->lazy = false;
}

static bool all_mapped(struct worker *w, const struct range *r)
{
	for (uint64_t i = 0; i < r->n; i++)
		if (w->pages[r->page + i].prot < 0)
			return false;
	return true;
}

/* What wants memory that is not there for a moment is called again. */
#define INSIST(w, call, what, addr)                             \
	do {                                                    \
		for (errno = 0; !(call);) {                     \
			if (errno != ENOMEM && errno != EAGAIN) \
				die(w, what, addr, 0, 0);       \
			atomic_fetch_add(&no_memory, 1);        \
		}                                               \
	} while (0)

static void own_map(struct worker *w)
{
	struct range r = some_pages(w, 64);
	int prot = rnd(w) % 4 ? RW : PROT_READ;

	begin_change(w, &r);
	INSIST(w, fl_space_mmap(space[w->in], (void *)r.addr, r.len, prot, ANON | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap", r.addr);
	for (uint64_t i = 0; i < r.n; i++) {
		forget(&w->pages[r.page + i]);
		w->pages[r.page + i].prot = prot;
	}
	end_change(w, &r);
}

static void own_unmap(struct worker *w)
{
	struct range r = some_pages(w, 32);

	begin_change(w, &r);
	INSIST(w, !fl_space_munmap(space[w->in], (void *)r.addr, r.len), "munmap", r.addr);
	for (uint64_t i = 0; i < r.n; i++) {
		forget(&w->pages[r.page + i]);
		w->pages[r.page + i].prot = -1;
	}
	end_change(w, &r);
	own_check(w, r.page, 0);
	own_store(w, r.page + r.n - 1, 1);
}

static void own_protect(struct worker *w)
{
	static const int prots[] = {PROT_NONE, PROT_READ, RW, RW, RW};
	struct range r = some_pages(w, 32);
	int prot = prots[rnd(w) % 5];

	if (!all_mapped(w, &r))
		return;
	begin_change(w, &r);
	INSIST(w, !fl_space_mprotect(space[w->in], (void *)r.addr, r.len, prot), "mprotect", r.addr);
	for (uint64_t i = 0; i < r.n; i++)
		w->pages[r.page + i].prot = prot;
	end_change(w, &r);
	own_store(w, r.page, 0);
	own_check(w, r.page + r.n - 1, 1);
}

static void own_dontneed(struct worker *w)
{
	struct range r = some_pages(w, 64);

	if (!all_mapped(w, &r))
		return;
	begin_change(w, &r);
	INSIST(w, !fl_space_madvise(space[w->in], (void *)r.addr, r.len, MADV_DONTNEED), "MADV_DONTNEED", r.addr);
	for (uint64_t i = 0; i < r.n; i++)
		forget(&w->pages[r.page + i]);
	end_change(w, &r);
}

static void own_free(struct worker *w)
{
	struct range r = some_pages(w, 32);

	if (!all_mapped(w, &r))
		return;
	begin_change(w, &r);
	INSIST(w, !fl_space_madvise(space[w->in], (void *)r.addr, r.len, MADV_FREE), "MADV_FREE", r.addr);
	for (uint64_t i = 0; i < r.n; i++)
		w->pages[r.page + i].lazy = true;
	end_change(w, &r);
}

/* Advice that changes no bytes. */
static void own_advise(struct worker *w)
{
	static const int advice[] = {MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED, MADV_POPULATE_READ, MADV_NORMAL};
	struct range r = some_pages(w, 64);

	fl_space_madvise(space[w->in], (void *)r.addr, r.len, advice[rnd(w) % 5]);
	own_check(w, r.page, 1);
}

static bool overlap(const struct range *a, const struct range *b)
{
	return a->page < b->page + b->n && b->page < a->page + a->n;
}

static void copy_page(struct page *to, const struct page *from)
{
	for (unsigned i = 0; i < WORDS; i++)
		to->word[i] = (uint64_t)from->word[i];
	to->lazy = from->lazy;
	to->prot = from->prot;
}

static void own_move(struct worker *w)
{
	struct range from = some_pages(w, 32), to = some_pages(w, 32);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (rnd(w) % 4 ? 0 : MREMAP_DONTUNMAP);

	to.n = from.n = from.n < to.n ? from.n : to.n;
	to.len = from.len = from.n * PAGE;
	if (overlap(&from, &to) || !all_mapped(w, &from))
		return;
	for (uint64_t i = 1; i < from.n; i++)
		if (w->pages[from.page + i].prot != w->pages[from.page].prot)
			return;
	begin_change(w, &from);
	begin_change(w, &to);
	errno = 0;
	if (fl_space_mremap(space[w->in], (void *)from.addr, from.len, from.len, flags, (void *)to.addr) == MAP_FAILED) {
		if (errno != ENOMEM)
			die(w, "mremap", from.addr, to.addr, 0);
		make_room(w); /* what was at the new place may be gone */
		INSIST(w, !fl_space_munmap(space[w->in], (void *)to.addr, to.len), "munmap", to.addr);
		for (uint64_t i = 0; i < to.n; i++) {
			forget(&w->pages[to.page + i]);
			w->pages[to.page + i].prot = -1;
		}
	} else {
		for (uint64_t i = 0; i < to.n; i++) {
			copy_page(&w->pages[to.page + i], &w->pages[from.page + i]);
			forget(&w->pages[from.page + i]);
			if (!(flags & MREMAP_DONTUNMAP))
				w->pages[from.page + i].prot = -1;
		}
	}
	end_change(w, &from);
	end_change(w, &to);
	own_store(w, from.page, 0);
	own_check(w, to.page, 1);
}

/* By the host's address; also when the page is unmapped under it. */
static void own_translate(struct worker *w)
{
	struct range r = some_pages(w, 1);
	struct page *p = &w->pages[r.page];
	struct fl_fault f;
	uint64_t *host, v;

	if (p->prot != RW || p->lazy)
		return;
	host = fl_space_translate(space[w->in], r.addr, FL_ACCESS_WRITE, NULL, &f);
	if (!host) {
		if (errno != ENOMEM && (f.signal || f.code != -ENOMEM))
			die(w, "translate", r.addr, (uint64_t)f.code, 0);
		return;
	}
	if (*host != p->word[0])
		die(w, "a translated word", r.addr, *host, p->word[0]);
	w->count++;
	__atomic_store_n(host, encode(w), __ATOMIC_RELAXED);
	p->word[0] = encode(w);
	if (rnd(w) % 2) {
		begin_change(w, &r);
		INSIST(w, !fl_space_madvise(space[w->in], (void *)r.addr, PAGE, MADV_DONTNEED), "MADV_DONTNEED", r.addr);
		forget(p);
		end_change(w, &r);
		own_check(w, r.page, 1);
		v = __atomic_load_n(host, __ATOMIC_RELAXED);
		if (v != encode(w))
			die(w, "an orphan", r.addr, v, encode(w));
	} else {
		own_check(w, r.page, 0);
	}
	if (fl_space_release(space[w->in], host))
		die(w, "release", r.addr, 0, 0);
}

/* ---- Others' pages ---- */

static void foreign_check(struct worker *w)
{
	struct worker *owner = &workers[rnd(w) % nthreads];
	uint64_t page = rnd(w) % region_pages, addr, v, before;
	unsigned word = rnd(w) % WORDS;
	struct page *p = &owner->pages[page];
	uint32_t turn = p->turn;

	if (owner == w || owner->in != w->in)
		return;
	before = p->word[word];
	addr = addr_of(owner->id, page, word);
	if (try_load(w, addr, &v) || !v || (turn & 1) || p->turn != turn)
		return;
	if (v >> 56 != owner->id + 1)
		die(w, "a word of another region", addr, v, before);
	if (before && v < before)
		die(w, "a word older than what was stored", addr, v, before);
}

/* ---- Sums ---- */

static void add(struct worker *w)
{
	uint64_t addr = SUM_BASE + rnd(w) % SUMS * PAGE, v = 0;
	int done;

	while (!(done = fl_cas64(w->cpu, addr, &v, v + 1)))
		;
	if (done < 0 && !for_memory(w))
		die(w, "adding", addr, v, 0);
	w->added += done > 0;
}

/* ---- The target ---- */

static void hammer(struct worker *w)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t addr = TARGET + rnd(w) % TARGET_PAGES * PAGE + w->id * 8;

		fl_store64(w->cpu, addr, ++w->count); /* or not: it is taken away now and then */
	}
}

/* Nothing changes there any more. */
static void stays(struct worker *w, fl_space *s, uint64_t base, const char *what)
{
	uint64_t was[TARGET_PAGES][THREADS_MAX], v;

	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < TARGET_PAGES; i++)
			for (unsigned t = 0; t < nthreads; t++) {
				if (fl_space_read(s, base + i * PAGE + t * 8, &v, 8, NULL) != 8)
					return; /* no memory for a moment */
				if (round && v != was[i][t])
					die(w, what, base + i * PAGE + t * 8, v, was[i][t]);
				was[i][t] = v;
			}
		if (!round)
			usleep(rnd(w) % 200);
	}
}

static void map_target(struct worker *w, int prot)
{
	INSIST(w, fl_space_mmap(space[w->in], (void *)TARGET, TARGET_PAGES * PAGE, prot, ANON | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap",
	       TARGET);
}

static void protect_target(struct worker *w, int prot)
{
	INSIST(w, !fl_space_mprotect(space[w->in], (void *)TARGET, TARGET_PAGES * PAGE, prot), "mprotect", TARGET);
}

static void shoot_protect(struct worker *w)
{
	protect_target(w, PROT_READ);
	stays(w, space[w->in], TARGET, "a store after mprotect");
	protect_target(w, RW);
}

static void shoot_unmap(struct worker *w)
{
	INSIST(w, !fl_space_munmap(space[w->in], (void *)TARGET, TARGET_PAGES * PAGE), "munmap", TARGET);
	map_target(w, PROT_READ);
	stays(w, space[w->in], TARGET, "a store after munmap");
	map_target(w, RW);
}

static void shoot_move(struct worker *w)
{
	size_t len = TARGET_PAGES * PAGE;
	void *target = (void *)TARGET, *aside = (void *)ASIDE;

	if (fl_space_mremap(space[w->in], target, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, aside) == MAP_FAILED) {
		make_room(w);
		return;
	}
	stays(w, space[w->in], ASIDE, "a store after mremap");
	INSIST(w, fl_space_mremap(space[w->in], aside, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, target) != MAP_FAILED, "mremap", ASIDE);
}

static void shoot_dontneed(struct worker *w)
{
	protect_target(w, PROT_NONE);
	fl_space_madvise(space[w->in], (void *)TARGET, TARGET_PAGES * PAGE, MADV_DONTNEED);
	protect_target(w, PROT_READ);
	stays(w, space[w->in], TARGET, "a store after MADV_DONTNEED");
	protect_target(w, RW);
}

static void shoot_fork(struct worker *w)
{
	fl_space *child = fl_space_fork(space[w->in]);

	if (!child)
		return;
	stays(w, child, TARGET, "a store after fork");
	fl_space_destroy(child);
}

static void shoot(struct worker *w)
{
	static void (*const how[])(struct worker *) = {shoot_protect, shoot_unmap, shoot_move, shoot_dontneed, shoot_fork};

	if (pthread_mutex_trylock(&target_lock[w->in]))
		return;
	how[rnd(w) % 5](w);
	pthread_mutex_unlock(&target_lock[w->in]);
	atomic_fetch_add(&shots, 1);
}

/* ---- The file ---- */

static uint64_t file_word(uint64_t page, uint32_t counter)
{
	return (page + 1) << 32 | counter;
}

static void file_step(struct worker *w)
{
	uint64_t page = rnd(w) % (file_pages / nthreads) * nthreads + w->id, at = page * PAGE + page % 512 * 8, v = 0;
	uint64_t what = rnd(w) % 64;
	int err = what < 24 ? try_store(w, FILE_BASE + at, file_word(page, file_model[page] + 1)) : NO_MEMORY;

	if (err < 0)
		die(w, "a store to the file", FILE_BASE + at, 0, 0);
	file_model[page] += !err;
	if (what == 24) {
		v = file_word(page, ++file_model[page]);
		if (fl_pwrite(fd, &v, 8, (off_t)at) != 8)
			die(w, "fl_pwrite", at, 0, 0);
	} else if (what == 25) {
		fl_space_msync(space[w->in], (void *)(FILE_BASE + page * PAGE), 16 * PAGE, MS_ASYNC);
	} else if (what == 26) {
		fl_space_madvise(space[w->in], (void *)(FILE_BASE + page * PAGE), 16 * PAGE, rnd(w) % 2 ? MADV_DONTNEED : MADV_PAGEOUT);
	}
	err = try_load(w, FILE_BASE + at, &v);
	if (err < 0 || (!err && v != file_word(page, file_model[page])))
		die(w, "a word of the file", FILE_BASE + at, v, file_word(page, file_model[page]));
}

/* ---- The file that is cut ---- */

static uint64_t cut_addr(const struct worker *w, uint64_t page)
{
	return CUT_BASE + page * PAGE + w->id * 8;
}

static bool beyond_the_end(const struct worker *w)
{
	return w->cpu->fault.signal == SIGBUS;
}

static void cut_store(struct worker *w, uint64_t page)
{
	uint32_t seen = cuts[page];
	int err;

	w->count++;
	err = try_store(w, cut_addr(w, page), encode(w));
	if (err < 0 && !beyond_the_end(w))
		die(w, "a store to the cut file", cut_addr(w, page), 0, 0);
	if (err)
		return;
	w->cut_word[page] = encode(w);
	w->cut_seen[page] = seen;
}

static void cut_check(struct worker *w, uint64_t page)
{
	uint64_t v = 0, known = w->cut_word[page];
	int err = try_load(w, cut_addr(w, page), &v);
	bool whole = cuts[page] == w->cut_seen[page] && !(w->cut_seen[page] & 1);

	if (err < 0 && (!beyond_the_end(w) || whole))
		die(w, "a load from the cut file", cut_addr(w, page), 0, known);
	if (!err && v != known && (v || whole))
		die(w, "a word of the cut file", cut_addr(w, page), v, known);
}

static void set_length(struct worker *w, uint64_t pages)
{
	if (fl_ftruncate(cut_fd, (off_t)(pages * PAGE)))
		die(w, "fl_ftruncate", 0, pages, 0);
}

/* Before and after: a store in between may have been before the cut or after. */
static void count_cut(uint64_t keep)
{
	for (uint64_t i = keep; i < CUT_PAGES; i++)
		atomic_fetch_add(&cuts[i], 1);
}

static void cut(struct worker *w)
{
	uint64_t keep = rnd(w) % CUT_PAGES, v = 0;

	if (pthread_mutex_trylock(&cut_lock))
		return;
	count_cut(keep);
	set_length(w, keep);
	count_cut(keep);
	for (uint64_t i = keep; i < CUT_PAGES; i += 7)
		if (!try_load(w, cut_addr(w, i), &v))
			die(w, "a load beyond the end", cut_addr(w, i), v, 0);
	set_length(w, CUT_PAGES);
	for (uint64_t i = keep; i < CUT_PAGES; i++)
		if (!try_load(w, cut_addr(w, i), &v) && v)
			die(w, "a private copy that outlived a cut", cut_addr(w, i), v, 0);
	pthread_mutex_unlock(&cut_lock);
}

static void cut_step(struct worker *w)
{
	uint64_t r = rnd(w);

	if (r % 64 == 0)
		cut(w);
	else if (r % 64 == 1)
		fl_space_madvise(space[w->in], (void *)CUT_BASE, CUT_PAGES * PAGE, MADV_PAGEOUT);
	else if (r % 64 < 24)
		cut_store(w, (r >> 20) % CUT_PAGES);
	else
		cut_check(w, (r >> 20) % CUT_PAGES);
}

/* ---- Children ---- */

static void check_child(struct worker *w, struct child *c, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t page = rnd(w) % region_pages, v = 0;
		unsigned word = rnd(w) % WORDS;
		struct page *p = &c->pages[page];
		struct fl_fault f;
		ssize_t got = fl_space_read(c->space, addr_of(w->id, page, word), &v, 8, &f);

		if (got != 8 && !f.signal)
			continue;
		if ((got == 8) != (p->prot > 0))
			die(w, "a right in a child", addr_of(w->id, page, word), (uint64_t)got, (uint64_t)p->prot);
		if (got == 8 && p->lazy)
			settle_lazy(p, word, v);
		if (got == 8 && v != p->word[word])
			die(w, "a word in a child", addr_of(w->id, page, word), v, p->word[word]);
	}
}

static void write_child(struct worker *w, struct child *c, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t page = rnd(w) % region_pages, v;
		struct page *p = &c->pages[page];

		if (p->prot != RW || p->lazy)
			continue;
		w->count++;
		v = encode(w);
		if (fl_space_write(c->space, addr_of(w->id, page, 0), &v, 8, NULL) == 8)
			p->word[0] = v;
	}
}

static bool fork_into(struct worker *w, fl_space *from, const struct page *known, struct child *c)
{
	end_child(c);
	errno = 0;
	c->space = fl_space_fork(from);
	if (!c->space) {
		if (errno != EBUSY && errno != ENOMEM)
			die(w, "fork", 0, (uint64_t)errno, 0);
		atomic_fetch_add(errno == EBUSY ? &busy : &no_memory, 1);
		make_room(w);
		return false;
	}
	atomic_fetch_add(&forks, 1);
	c->pages = calloc(region_pages, sizeof *c->pages);
	for (uint64_t i = 0; i < region_pages; i++)
		copy_page(&c->pages[i], &known[i]);
	return true;
}

static void fork_step(struct worker *w)
{
	struct child *c = &w->kept[rnd(w) % KEEP], *from = &w->kept[rnd(w) % KEEP];
	bool of_child = from != c && from->space && rnd(w) % 2;

	if (!fork_into(w, of_child ? from->space : space[w->in], of_child ? from->pages : w->pages, c))
		return;
	check_child(w, c, 64);
	write_child(w, c, 32);
	if (!of_child)
		own_check(w, rnd(w) % region_pages, 0);
}

static void children_step(struct worker *w)
{
	struct child *c = &w->kept[rnd(w) % KEEP];

	if (!c->space)
		return;
	check_child(w, c, 32);
	write_child(w, c, 16);
	if (rnd(w) % 8 == 0)
		end_child(c);
}

/* ---- All of it ---- */

static void change(struct worker *w)
{
	static void (*const how[])(struct worker *) = {own_map,  own_unmap,  own_protect,   own_protect, own_dontneed,
						       own_free, own_advise, own_translate, own_move};

	how[rnd(w) % (sizeof how / sizeof *how)](w);
}

static void step(struct worker *w)
{
	uint64_t r = rnd(w), page = r % region_pages, what = (r >> 20) % 1024;
	unsigned word = (unsigned)(r >> 40) % WORDS;

	if (what < 350)
		own_store(w, page, word);
	else if (what < 600)
		own_check(w, page, word);
	else if (what < 650)
		own_cas(w, page, word);
	else if (what < 800)
		foreign_check(w);
	else if (what < 860)
		add(w);
	else if (what < 920)
		file_step(w);
	else if (what < 940)
		cut_step(w);
	else if (what < 980)
		hammer(w);
	else if (what < 1008)
		change(w);
	else if (what < 1016)
		children_step(w);
	else if (what < 1020)
		shoot(w);
	else if (what == 1020)
		fork_step(w);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	INSIST(w, (w->cpu = fl_cpu_create(space[w->in])), "fl_cpu_create", 0);
	pthread_barrier_wait(&all_have_cpus);
	while (!stop)
		step(w);
	for (uint64_t i = 0; i < region_pages; i++)
		own_check(w, i, i % WORDS);
	for (int i = 0; i < KEEP; i++) {
		if (w->kept[i].space)
			check_child(w, &w->kept[i], 500);
		end_child(&w->kept[i]);
	}
	fl_cpu_destroy(w->cpu);
	w->cpu = NULL;
	return NULL;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void map_at(fl_space *s, uint64_t addr, size_t len, int flags, int file)
{
	must(fl_space_mmap(s, (void *)addr, len, RW, flags | MAP_FIXED, file, 0) == (void *)addr, "fl_space_mmap");
}

static int temporary_file(const char *path)
{
	int new = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	must(new >= 0 && !unlink(path), path);
	return new;
}

static void make_files(void)
{
	uint64_t page[512] = {0};

	fd = temporary_file("faultline-soft-stress.tmp");
	cut_fd = temporary_file("faultline-soft-stress-cut.tmp");
	must(!ftruncate(cut_fd, CUT_PAGES * PAGE), "ftruncate");
	for (uint64_t p = 0; p < file_pages; p++) {
		memset(page, 0, sizeof page);
		page[p % 512] = file_word(p, 0);
		must(write(fd, page, sizeof page) == sizeof page, "write");
	}
}

/* The second space is a fork of the first. */
static void start(void)
{
	struct fl_options o = {.size = sizeof o, .budget = budget};

	must(!fl_init(&o), "fl_init");
	space[0] = fl_space_create_soft(NULL);
	must(space[0], "fl_space_create_soft");
	map_at(space[0], REGIONS, nthreads * REGION_MAX * PAGE, ANON, -1);
	map_at(space[0], SUM_BASE, SUMS * PAGE, ANON, -1);
	map_at(space[0], TARGET, TARGET_PAGES * PAGE, ANON, -1);
	map_at(space[0], FILE_BASE, file_pages * PAGE, MAP_SHARED, fd);
	map_at(space[0], CUT_BASE, CUT_PAGES * PAGE, MAP_PRIVATE, cut_fd);
	space[1] = fl_space_fork(space[0]);
	must(space[1], "fl_space_fork");
}

static void check_sums(void)
{
	for (unsigned s = 0; s < SPACES; s++) {
		uint64_t sum = 0, added = 0, v;

		for (uint64_t i = 0; i < SUMS; i++) {
			must(fl_space_read(space[s], SUM_BASE + i * PAGE, &v, 8, NULL) == 8, "fl_space_read");
			sum += v;
		}
		for (unsigned t = 0; t < nthreads; t++)
			added += workers[t].in == s ? workers[t].added : 0;
		if (sum != added) {
			fprintf(stderr, "soft stress: space %u: the sum is %lu, %lu were added\n", s, sum, added);
			abort();
		}
	}
}

static void check_file(void)
{
	for (uint64_t p = 0; p < file_pages; p++) {
		uint64_t v = 0;

		if (pread(fd, &v, 8, (off_t)(p * PAGE + p % 512 * 8)) != 8 || v != file_word(p, file_model[p])) {
			fprintf(stderr, "soft stress: page %lu of the file: %016lx, not %016lx\n", p, v, file_word(p, file_model[p]));
			abort();
		}
	}
}

static void run(unsigned seconds, unsigned seed)
{
	for (unsigned i = 0; i < nthreads; i++) {
		workers[i] = (struct worker){.id = i, .in = i % SPACES, .seed = seed * 1000003ull + i * 7919 + 1};
		workers[i].pages = calloc(region_pages, sizeof *workers[i].pages);
		for (uint64_t p = 0; p < region_pages; p++)
			workers[i].pages[p].prot = RW;
	}
	pthread_barrier_init(&all_have_cpus, NULL, nthreads);
	for (unsigned i = 0; i < nthreads; i++)
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	sleep(seconds);
	stop = true;
	for (unsigned i = 0; i < nthreads; i++)
		pthread_join(workers[i].thread, NULL);
}

int main(void)
{
	unsigned seconds = env_number("FAULTLINE_STRESS_SECONDS", 6), seed = env_number("FAULTLINE_STRESS_SEED", (unsigned)time(NULL));
	struct fl_stats st = {.size = sizeof st}, end = {.size = sizeof end};

	nthreads = env_number("FAULTLINE_STRESS_THREADS", 6);
	nthreads = nthreads < THREADS_MAX ? nthreads : THREADS_MAX;
	budget = env_number("FAULTLINE_STRESS_BUDGET", 4 << 20);
	file_pages = 256 * nthreads;
	region_pages = 3 * budget / PAGE / nthreads;
	region_pages = region_pages < REGION_MAX ? region_pages : REGION_MAX;
	file_model = calloc(file_pages, sizeof *file_model);
	workers = calloc(nthreads, sizeof *workers);
	make_files();
	start();
	printf("soft stress: seed %u, %u threads, budget %lu, %u s\n", seed, nthreads, budget, seconds);
	fflush(stdout);
	run(seconds, seed);
	check_sums();
	fl_stats(&st);
	for (unsigned s = 0; s < SPACES; s++)
		must(!fl_space_destroy(space[s]), "fl_space_destroy");
	check_file();
	fl_stats(&end);
	must(end.private_pages == 0 && end.table_bytes == 0 && end.mappings == 0 && end.files == 0, "something is left");
	must(!fl_exit(), "fl_exit");
	printf("soft stress: %lu faults, %lu evictions, %lu KiB swapped, %lu forks (%lu busy), %lu shots, %lu times no memory, peak %lu of "
	       "%lu\n",
	       st.faults, st.evictions, st.swapped_bytes >> 10, forks, busy, shots, no_memory, st.peak_bytes, st.budget_bytes);
	return st.peak_bytes > st.budget_bytes;
}
