/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of VMAs: a sorted list of chunks, each a sorted array of VMAs.
 *
 *     top:    start | chunk, n    start | chunk, n    start | chunk, n      (one array, in order)
 *                     |
 *     chunk:  start start start ...    end vma | end vma | end vma ...      (up to CHUNK_MAX, in order)
 *
 * A full chunk splits in two, an empty one is taken out; one that grows at an end leaves a full one behind. A million VMAs are some
 * six thousand chunks; inserting moves half a chunk and, once in some hundred times, half the top.
 *
 * A look-up costs cache misses, not comparisons. So the place is guessed first, as if VMAs lay evenly, in the top and then in the
 * chunk, and searched for by halves where that was wrong; the number in a chunk stands beside its address in the top, and where a VMA
 * ends beside its pointer: with a million VMAs, one line of the top and two of one page are touched, and the VMA itself is not.
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

#define CHUNK_MAX 168
#define TOP_MAX (1u << 20)

/* A page. Never given back to the allocator: a racing reader follows a stale pointer to what is still a chunk. */
struct vma_chunk {
	struct vma_chunk *_Atomic next_free;
	uint64_t unused;
	_Atomic uint64_t start[CHUNK_MAX];
	struct {
		_Atomic uint64_t end;
		struct vma *_Atomic vma;
	} at[CHUNK_MAX];
};

_Static_assert(sizeof(struct vma_chunk) <= ARENA_MAX_OBJECT, "a chunk is one object, and begins a page");

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

/* ---- The top: a chunk's address, which begins a page, and how many VMAs it has ---- */

static struct vma_chunk *chunk_at(const struct vma_index *x, uint32_t t)
{
	return (struct vma_chunk *)(load(&x->top[t].chunk) & ~(uint64_t)FL_PAGE_MASK);
}

static uint32_t count_at(const struct vma_index *x, uint32_t t)
{
	uint32_t n = load(&x->top[t].chunk) & FL_PAGE_MASK;

	return n > CHUNK_MAX ? CHUNK_MAX : n; /* a racing reader may see anything */
}

static void set_count(struct vma_index *x, uint32_t t, uint32_t n)
{
	store(&x->top[t].chunk, (uint64_t)(uintptr_t)chunk_at(x, t) | n);
}

/* ---- The index ---- */

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
		chunk_free(chunk_at(x, i));
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

/* ---- Searches ---- */

/* Where addr would lie among n that begin evenly in [low, high). */
static uint32_t guess(uint64_t addr, uint64_t low, uint64_t high, uint32_t n)
{
	unsigned shift = high - low > 1ULL << 44 ? 20 : 8; /* n is less than 2^20, and addresses less than 2^57: no overflow */
	uint64_t span = (high - low) >> shift;
	uint64_t i = span ? ((addr - low) >> shift) * n / span : 0;

	return i < n ? (uint32_t)i : n - 1;
}

#define NEAR 4 /* places beside the guess that are looked at before the search by halves */

/* How many of the n starts, `stride` words apart, are at or below addr. The first is `low`, what follows the last `high` at the least. */
static uint32_t search(const _Atomic uint64_t *start, uint32_t stride, uint32_t n, uint64_t addr, uint64_t low, uint64_t high)
{
	uint32_t lo = 0, hi = n, g;

	if (addr < low || !n)
		return 0;
	if (addr < high && n > NEAR) {
		g = guess(addr, low, high, n);
		if (load(&start[(uint64_t)g * stride]) <= addr)
			for (lo = g + 1; lo < n && lo < g + NEAR && load(&start[(uint64_t)lo * stride]) <= addr;)
				lo++;
		else
			for (hi = g; hi > 0 && hi + NEAR > g && load(&start[(uint64_t)(hi - 1) * stride]) > addr;)
				hi--;
		if (lo > g && lo < g + NEAR)
			return lo;
		if (lo == 0 && hi + NEAR > g)
			return hi;
	}
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (load(&start[(uint64_t)mid * stride]) <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

#define TOP_STRIDE (sizeof(struct vma_top) / sizeof(uint64_t))

/* The last chunk that starts at or below addr; the first when none does. */
static uint32_t top_search(const struct vma_index *x, uint64_t addr)
{
	uint32_t n = load(&x->nchunks), i;

	if (n < 2)
		return 0;
	i = search(&x->top[0].start, TOP_STRIDE, n, addr, load(&x->top[0].start), load(&x->top[n - 1].start));
	return i ? i - 1 : 0;
}

/* How many VMAs of the chunk at t start at or below addr. */
static uint32_t chunk_search(const struct vma_index *x, uint32_t t, uint64_t addr)
{
	uint64_t low = load(&x->top[t].start), high = t + 1 < load(&x->nchunks) ? load(&x->top[t + 1].start) : 0;

	return search(chunk_at(x, t)->start, 1, count_at(x, t), addr, low, high);
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

static void top_open(struct vma_index *x, uint32_t at, struct vma_chunk *c, uint32_t n)
{
	uint32_t chunks = load(&x->nchunks);

	for (uint32_t i = chunks; i > at; i--) {
		store(&x->top[i].start, load(&x->top[i - 1].start));
		store(&x->top[i].chunk, load(&x->top[i - 1].chunk));
	}
	store(&x->top[at].chunk, (uint64_t)(uintptr_t)c | n);
	store(&x->top[at].start, load(&c->start[0]));
	store(&x->nchunks, chunks + 1);
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

static void copy_entry(struct vma_chunk *to, uint32_t i, const struct vma_chunk *from, uint32_t j)
{
	store(&to->start[i], load(&from->start[j]));
	store(&to->at[i].end, load(&from->at[j].end));
	atomic_store_explicit(&to->at[i].vma, load(&from->at[j].vma), memory_order_release);
}

/*
 * n words, to and fro, which may overlap. Readers may be looking: what they make of it `seq` throws away, and no word is torn, since all
 * are aligned. Atomic word by atomic word this was a third of what mmap and munmap cost; and memmove() is watched by ThreadSanitizer.
 */
#define PLAIN_LOOP __attribute__((no_sanitize("thread"), optimize("no-tree-loop-distribute-patterns")))

PLAIN_LOOP static void move_up(uint64_t *to, const uint64_t *from, uint32_t n)
{
	while (n--)
		to[n] = from[n];
}

PLAIN_LOOP static void move_down(uint64_t *to, const uint64_t *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = from[i];
}

#define AT_WORDS (sizeof(((struct vma_chunk *)0)->at[0]) / sizeof(uint64_t))

/* n entries from `at` on make room for one, or close up over the one before them. */
static void open_gap(struct vma_chunk *c, uint32_t at, uint32_t n)
{
	move_up((uint64_t *)&c->start[at + 1], (const uint64_t *)&c->start[at], n);
	move_up((uint64_t *)&c->at[at + 1], (const uint64_t *)&c->at[at], n * AT_WORDS);
}

static void close_gap(struct vma_chunk *c, uint32_t at, uint32_t n)
{
	move_down((uint64_t *)&c->start[at - 1], (const uint64_t *)&c->start[at], n);
	move_down((uint64_t *)&c->at[at - 1], (const uint64_t *)&c->at[at], n * AT_WORDS);
}

static void chunk_put(struct vma_index *x, uint32_t t, uint32_t at, struct vma *v)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t);

	open_gap(c, at, n - at);
	store(&c->start[at], v->start);
	store(&c->at[at].end, v->end);
	atomic_store_explicit(&c->at[at].vma, v, memory_order_release);
	set_count(x, t, n + 1);
}

static void chunk_take(struct vma_index *x, uint32_t t, uint32_t at)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t) - 1;

	close_gap(c, at + 1, n - at);
	set_count(x, t, n);
}

/* Moves the upper part of the full chunk at `t` into `fresh`, which follows it: half of it, unless addr goes to an end. */
static void chunk_split(struct vma_index *x, uint32_t t, struct vma_chunk *fresh, uint64_t addr)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t), at = chunk_search(x, t, addr);
	uint32_t keep = at == 0 ? 1 : at == n ? n - 1 : n / 2;

	for (uint32_t i = keep; i < n; i++)
		copy_entry(fresh, i - keep, c, i);
	set_count(x, t, keep);
	top_open(x, t + 1, fresh, n - keep);
}

/* A chunk for the index when the one at `t` is full, or there is none; NULL in *fresh when none is needed. */
static int chunk_for(struct vma_index *x, uint32_t t, struct vma_chunk **fresh)
{
	uint32_t n = load(&x->nchunks);

	*fresh = NULL;
	if (n && count_at(x, t) < CHUNK_MAX)
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
	struct vma_chunk *fresh;
	int err = chunk_for(x, t, &fresh);

	if (err)
		return err;
	change_begin(x);
	if (fresh && load(&x->nchunks) == 0)
		top_open(x, 0, fresh, 0);
	else if (fresh)
		chunk_split(x, t, fresh, v->start);
	t = top_search(x, v->start);
	chunk_put(x, t, chunk_search(x, t, v->start), v);
	store(&x->top[t].start, load(&chunk_at(x, t)->start[0]));
	change_end(x);
	x->count++;
	return 0;
}

/* Where the VMA is: its chunk in *t. */
static uint32_t place_of(struct vma_index *x, const struct vma *v, uint32_t *t)
{
	uint32_t at;

	*t = top_search(x, v->start);
	at = chunk_search(x, *t, v->start) - 1;
	fl_assert(load(&chunk_at(x, *t)->at[at].vma) == v);
	return at;
}

void vma_index_erase(struct vma_index *x, struct vma *v)
{
	uint32_t t, at = place_of(x, v, &t), left = count_at(x, t) - 1;
	struct vma_chunk *c = chunk_at(x, t);

	change_begin(x);
	chunk_take(x, t, at);
	if (left)
		store(&x->top[t].start, load(&c->start[0]));
	else
		top_close(x, t);
	change_end(x);
	x->count--;
	if (!left)
		chunk_free(c);
}

void vma_index_resize(struct vma_index *x, struct vma *v)
{
	uint32_t t, at = place_of(x, v, &t);

	change_begin(x);
	store(&chunk_at(x, t)->at[at].end, v->end);
	change_end(x);
}

/* ---- Readers ---- */

static struct vma *entry(const struct vma_index *x, uint32_t t, uint32_t at)
{
	if (t >= load(&x->nchunks))
		return NULL;
	if (at < count_at(x, t))
		return atomic_load_explicit(&chunk_at(x, t)->at[at].vma, memory_order_acquire);
	if (t + 1 >= load(&x->nchunks))
		return NULL;
	return atomic_load_explicit(&chunk_at(x, t + 1)->at[0].vma, memory_order_acquire);
}

static struct vma *find(const struct vma_index *x, uint64_t addr)
{
	uint32_t t, at;

	if (load(&x->nchunks) == 0)
		return NULL;
	t = top_search(x, addr);
	at = chunk_search(x, t, addr);
	if (at && at <= count_at(x, t) && load(&chunk_at(x, t)->at[at - 1].end) > addr)
		return entry(x, t, at - 1);
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
