/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of VMAs: a sorted list of chunks, each a sorted array of VMAs, found by two binary searches.
 *
 *     top:    start | chunk      start | chunk      start | chunk        (one array, in order)
 *                 |
 *     chunk:  start start start ...   vma vma vma ...                    (up to CHUNK_MAX, in order)
 *
 * A full chunk splits in two, an empty one is taken out. With 128 to a chunk, a million VMAs are some ten thousand
 * chunks; inserting moves half a chunk and, once in some 64 times, half the top.
 *
 * Readers hold nothing: all words are atomic, and `seq` tells them that what they read was one state. They look into a VMA
 * before they know that: pointers to VMAs are stored with release.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/budget.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "vma.h"

#define CHUNK_MAX 126
#define TOP_MAX (1u << 20)

/* Never given back to the allocator: a racing reader follows a stale pointer to what is still a chunk. */
struct vma_chunk {
	_Atomic uint32_t n;
	struct vma_chunk *_Atomic next_free;
	_Atomic uint64_t start[CHUNK_MAX];
	struct vma *_Atomic vma[CHUNK_MAX];
};

#define load(p) atomic_load_explicit(p, memory_order_relaxed)
#define store(p, v) atomic_store_explicit(p, v, memory_order_relaxed)

static struct mutex chunk_lock = MUTEX_INIT(RANK_LEAF);
static struct vma_chunk *free_chunks; /* chunk_lock */

static struct vma_chunk *chunk_alloc(void)
{
	struct vma_chunk *c;

	mutex_lock(&chunk_lock);
	c = free_chunks;
	if (c)
		free_chunks = load(&c->next_free);
	mutex_unlock(&chunk_lock);
	return c ? c : arena_alloc(address_space_arena(), sizeof *c);
}

static void chunk_free(struct vma_chunk *c)
{
	mutex_lock(&chunk_lock);
	store(&c->next_free, free_chunks);
	free_chunks = c;
	mutex_unlock(&chunk_lock);
}

void vma_index_fork_child(void)
{
	mutex_init(&chunk_lock, RANK_LEAF);
}

void vma_index_pool_exit(void)
{
	free_chunks = NULL;
}

int vma_index_init(struct vma_index *x)
{
	void *p = sys_mmap(NULL, TOP_MAX * sizeof(struct vma_top), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			   0);

	if (sys_is_err(p))
		return sys_err(p);
	sys_madvise(p, TOP_MAX * sizeof(struct vma_top), MADV_NOHUGEPAGE);
	*x = (struct vma_index){.top = p};
	return 0;
}

void vma_index_exit(struct vma_index *x)
{
	for (uint32_t i = 0; i < load(&x->nchunks); i++)
		chunk_free(load(&x->top[i].chunk));
	if (x->spare)
		chunk_free(x->spare);
	if (x->top)
		sys_munmap(x->top, TOP_MAX * sizeof(struct vma_top));
	budget_release_metadata(x->top_paid);
	*x = (struct vma_index){.top = NULL};
}

static void change_begin(struct vma_index *x)
{
	atomic_fetch_add(&x->seq, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

static void change_end(struct vma_index *x)
{
	atomic_fetch_add(&x->seq, 1);
}

/* The last chunk that starts at or below addr; the first when none does. */
static uint32_t top_search(struct vma_index *x, uint64_t addr)
{
	uint32_t lo = 0, n = load(&x->nchunks);

	while (n > 1) {
		uint32_t half = n / 2;

		if (load(&x->top[lo + half].start) <= addr)
			lo += half;
		n -= half;
	}
	return lo;
}

/* How many VMAs of the chunk start at or below addr. */
static uint32_t chunk_search(struct vma_chunk *c, uint64_t addr)
{
	uint32_t lo = 0, n = load(&c->n);

	n = n > CHUNK_MAX ? CHUNK_MAX : n; /* a racing reader may see anything */
	while (n > 0) {
		uint32_t half = n / 2;

		if (load(&c->start[lo + half]) <= addr) {
			lo += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return lo;
}

/* ---- Writers ---- */

static int top_pay(struct vma_index *x, uint32_t entries)
{
	uint64_t need = page_align_up((uint64_t)entries * sizeof(struct vma_top)) >> FL_PAGE_SHIFT;

	if (entries > TOP_MAX)
		return -ENOMEM;
	if (need > x->top_paid) {
		if (!budget_charge_metadata(need - x->top_paid))
			return -ENOMEM;
		x->top_paid = need;
	}
	return 0;
}

static void top_open(struct vma_index *x, uint32_t at, struct vma_chunk *c)
{
	uint32_t n = load(&x->nchunks);

	for (uint32_t i = n; i > at; i--) {
		store(&x->top[i].start, load(&x->top[i - 1].start));
		store(&x->top[i].chunk, load(&x->top[i - 1].chunk));
	}
	store(&x->top[at].chunk, c);
	store(&x->top[at].start, load(&c->start[0]));
	store(&x->nchunks, n + 1);
}

static void top_close(struct vma_index *x, uint32_t at)
{
	uint32_t n = load(&x->nchunks) - 1;

	for (uint32_t i = at; i < n; i++) {
		store(&x->top[i].start, load(&x->top[i + 1].start));
		store(&x->top[i].chunk, load(&x->top[i + 1].chunk));
	}
	store(&x->nchunks, n);
}

static void chunk_put(struct vma_chunk *c, uint32_t at, struct vma *v)
{
	uint32_t n = load(&c->n);

	for (uint32_t i = n; i > at; i--) {
		store(&c->start[i], load(&c->start[i - 1]));
		atomic_store_explicit(&c->vma[i], load(&c->vma[i - 1]), memory_order_release);
	}
	store(&c->start[at], v->start);
	atomic_store_explicit(&c->vma[at], v, memory_order_release);
	store(&c->n, n + 1);
}

static void chunk_take(struct vma_chunk *c, uint32_t at)
{
	uint32_t n = load(&c->n) - 1;

	for (uint32_t i = at; i < n; i++) {
		store(&c->start[i], load(&c->start[i + 1]));
		atomic_store_explicit(&c->vma[i], load(&c->vma[i + 1]), memory_order_release);
	}
	store(&c->n, n);
}

/* Moves the upper half of the chunk at `t` into `fresh`, which follows it. */
static void chunk_split(struct vma_index *x, uint32_t t, struct vma_chunk *fresh)
{
	struct vma_chunk *c = load(&x->top[t].chunk);
	uint32_t n = load(&c->n), keep = n / 2;

	for (uint32_t i = keep; i < n; i++) {
		store(&fresh->start[i - keep], load(&c->start[i]));
		atomic_store_explicit(&fresh->vma[i - keep], load(&c->vma[i]), memory_order_release);
	}
	store(&fresh->n, n - keep);
	store(&c->n, keep);
	top_open(x, t + 1, fresh);
}

/* A chunk for the index when the one at `t` is full, or there is none; NULL in *fresh when none is needed. */
static int chunk_for(struct vma_index *x, uint32_t t, struct vma_chunk **fresh)
{
	uint32_t n = load(&x->nchunks);

	*fresh = NULL;
	if (n && load(&load(&x->top[t].chunk)->n) < CHUNK_MAX)
		return 0;
	if (top_pay(x, n + 1))
		return -ENOMEM;
	*fresh = x->spare ? x->spare : chunk_alloc();
	x->spare = NULL;
	return *fresh ? 0 : -ENOMEM;
}

int vma_index_prepare(struct vma_index *x)
{
	if (top_pay(x, load(&x->nchunks) + 1))
		return -ENOMEM;
	if (!x->spare)
		x->spare = chunk_alloc();
	return x->spare ? 0 : -ENOMEM;
}

int vma_index_insert(struct vma_index *x, struct vma *v)
{
	uint32_t t = top_search(x, v->start);
	struct vma_chunk *fresh, *c;
	int err = chunk_for(x, t, &fresh);

	if (err)
		return err;
	change_begin(x);
	if (fresh && load(&x->nchunks) == 0)
		top_open(x, 0, fresh);
	else if (fresh)
		chunk_split(x, t, fresh);
	t = top_search(x, v->start);
	c = load(&x->top[t].chunk);
	chunk_put(c, chunk_search(c, v->start), v);
	store(&x->top[t].start, load(&c->start[0]));
	change_end(x);
	x->count++;
	return 0;
}

void vma_index_erase(struct vma_index *x, struct vma *v)
{
	uint32_t t = top_search(x, v->start);
	struct vma_chunk *c = load(&x->top[t].chunk);
	uint32_t at = chunk_search(c, v->start) - 1;

	fl_assert(load(&c->vma[at]) == v);
	change_begin(x);
	chunk_take(c, at);
	if (load(&c->n))
		store(&x->top[t].start, load(&c->start[0]));
	else
		top_close(x, t);
	change_end(x);
	x->count--;
	if (!load(&c->n))
		chunk_free(c);
}

/* ---- Readers ---- */

static struct vma *entry(struct vma_index *x, uint32_t t, uint32_t at)
{
	if (t >= load(&x->nchunks))
		return NULL;
	struct vma_chunk *c = load(&x->top[t].chunk);

	if (at < load(&c->n) && at < CHUNK_MAX)
		return atomic_load_explicit(&c->vma[at], memory_order_acquire);
	if (t + 1 >= load(&x->nchunks))
		return NULL;
	return atomic_load_explicit(&load(&x->top[t + 1].chunk)->vma[0], memory_order_acquire);
}

static struct vma *find(struct vma_index *x, uint64_t addr)
{
	uint32_t t, at;
	struct vma *v;

	if (load(&x->nchunks) == 0)
		return NULL;
	t = top_search(x, addr);
	at = chunk_search(load(&x->top[t].chunk), addr);
	v = at ? entry(x, t, at - 1) : NULL;
	if (v && __atomic_load_n(&v->end, __ATOMIC_RELAXED) > addr)
		return v;
	return entry(x, t, at);
}

struct vma *vma_find(struct vma_index *x, uint64_t addr)
{
	return find(x, addr);
}

struct vma *vma_find_racy(struct vma_index *x, uint64_t addr)
{
	for (unsigned turn = 0;; turn++) {
		uint32_t seq = atomic_load(&x->seq);
		struct vma *v = seq & 1 ? NULL : find(x, addr);

		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && load(&x->seq) == seq)
			return v;
		cpu_relax(turn);
	}
}
