/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of VMAs: a sorted list of chunks, each a sorted array of VMAs. What is looked at first is small, and stays in the cache:
 *
 *     levels:  start                                   start         of each 256th chunk
 *              start         start         start       start         of each 16th
 *              start  start  start  start  start ...                 of each
 *     top:     chunk, n, separators    chunk, n, separators    ...   (one array, in order)
 *                |
 *     chunk:   start start start ...    end vma | end vma | end vma ...      (up to CHUNK_MAX, in order)
 *
 * A full chunk splits in two, an empty one is taken out; one that grows at an end leaves a full one behind. A million VMAs are some
 * six thousand chunks; inserting moves half a chunk and, once in some hundred times, half the top.
 *
 * A look-up costs cache misses, not comparisons. A chunk is in no cache when there are many; so its entry in the top says in which
 * group of starts, one line of the chunk, an address lies. With a million VMAs that line and the one or two with `end` and `vma`
 * of the same group are all that is fetched from afar, at once, and not the VMA itself. And a look-up has no branch that cannot be
 * predicted, wherever the VMAs lie: a wrong guess would have to wait for memory, and with it the look-ups that follow.
 *
 * Invariants, between changes:
 *   1. Unused starts are NO_START: those of a chunk after its last VMA, those of a level up to a multiple of FAN. So all of a group are
 *      counted, however many there are.
 *   2. separator[k] is how far after the chunk's first start its group k + 1 starts, in units of 1 << shift (a page, unless the chunk spans
 *      more than 8 TiB), NO_SEPARATOR when there is no such group.
 *   3. A level is kept when the one below it has more than FAN entries.
 *
 * Readers hold nothing: all words are atomic, and `seq` tells them that what they read was one state. They look into a VMA
 * before they know that: pointers to VMAs are stored with release. What they read of a chunk while it changes leads them to some place
 * in it or in another that is, or was, a chunk: a start is only seen where a chunk was stored before.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/budget.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "util/own.h"
#include "vma.h"

#define FAN 16 /* starts of two cache lines */
#define FAN_SHIFT 4
#define GROUP 8 /* starts of a cache line */
#define CHUNK_MAX ((VMA_SEPARATORS + 1) * GROUP)
#define TOP_MAX (1u << 20)
#define NO_START ((uint64_t)INT64_MAX)
#define NO_SEPARATOR ((uint32_t)INT32_MAX)

/* A page. Never given back to the allocator: a racing reader follows a stale pointer to what is still a chunk. */
struct vma_chunk {
	_Alignas(64) struct vma_chunk *_Atomic next_free;
	_Alignas(64) _Atomic uint64_t start[CHUNK_MAX];
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

/* Empty. */
static struct vma_chunk *chunk_alloc(void)
{
	struct vma_chunk *c;

	mutex_lock(&chunk_lock);
	c = free_chunks;
	if (c)
		free_chunks = load(&c->next_free);
	mutex_unlock(&chunk_lock);
	if (!c)
		c = arena_alloc_raw(address_space_arena(), sizeof *c);
	for (uint32_t i = 0; c && i < CHUNK_MAX; i++) { /* word by word: a racing reader may have been led here */
		store(&c->start[i], NO_START);
		store(&c->at[i].end, 0);
		store(&c->at[i].vma, NULL);
	}
	return c;
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

#define COUNT_MASK 0xffu
#define SHIFT_MASK 0xf00u
#define SHIFT_MIN FL_PAGE_SHIFT /* exact */

static uint32_t count_at(const struct vma_index *x, uint32_t t)
{
	uint32_t n = load(&x->top[t].chunk) & COUNT_MASK;

	return n > CHUNK_MAX ? CHUNK_MAX : n; /* a racing reader may see anything */
}

static void set_count(struct vma_index *x, uint32_t t, uint32_t n)
{
	store(&x->top[t].chunk, (load(&x->top[t].chunk) & ~(uint64_t)COUNT_MASK) | n);
}

static unsigned shift_at(const struct vma_index *x, uint32_t t)
{
	return SHIFT_MIN + 2 * (load(&x->top[t].chunk) >> 8 & 0xf);
}

/* ---- The index ---- */

/* Bytes that the parts of the top take for so many chunks: whole pages, none of a level that is not in use. */
static uint64_t level_bytes(unsigned level, uint32_t chunks)
{
	uint32_t entries = level && chunks <= 1u << FAN_SHIFT * level ? 0 : ((chunks - 1) >> FAN_SHIFT * level) + 1;

	return page_align_up((uint64_t)entries * sizeof(uint64_t));
}

static uint64_t top_bytes(uint32_t chunks)
{
	return page_align_up((uint64_t)chunks * sizeof(struct vma_top));
}

static uint64_t all_bytes(uint32_t chunks)
{
	uint64_t sum = top_bytes(chunks);

	for (unsigned level = 0; level < VMA_LEVELS; level++)
		sum += level_bytes(level, chunks);
	return sum;
}

int vma_index_init(struct vma_index *x)
{
	uint64_t bytes = all_bytes(TOP_MAX);
	char *p = own_reserve(bytes);

	if (sys_is_err(p))
		return sys_err(p);
	sys_madvise(p, bytes, MADV_NOHUGEPAGE);
	*x = (struct vma_index){.top = (struct vma_top *)p};
	p += top_bytes(TOP_MAX);
	for (unsigned level = 0; level < VMA_LEVELS; level++) {
		x->start[level] = (_Atomic uint64_t *)p;
		p += level_bytes(level, TOP_MAX);
	}
	return 0;
}

void vma_index_exit(struct vma_index *x)
{
	for (uint32_t i = 0; i < load(&x->nchunks); i++)
		chunk_free(chunk_at(x, i));
	if (x->spare)
		chunk_free(x->spare);
	if (x->top)
		sys_munmap(x->top, all_bytes(TOP_MAX));
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

/* Two functions, and twice as fast as one: in line, look-ups no longer overlapped. And ThreadSanitizer looks at what is in line. */
#define NOT_INLINE static __attribute__((noinline, no_sanitize("thread")))

typedef uint64_t two_starts __attribute__((vector_size(16), may_alias));
typedef uint32_t four_separators __attribute__((vector_size(16), may_alias));

/*
 * Several words at once, none of them torn, since all are aligned; what a racing reader makes of them `seq` throws away. All are less
 * than half of what the type holds: the difference tells which is greater.
 */
#define VECTOR static inline __attribute__((always_inline))

VECTOR uint32_t starts_above(const _Atomic uint64_t *start, uint32_t n, uint64_t addr)
{
	const two_starts *p = (const two_starts *)start;
	two_starts a = {addr, addr}, sum = {0, 0};

#pragma GCC unroll 8
	for (uint32_t i = 0; i < n / 2; i++)
		sum += (a - p[i]) >> 63;
	return (uint32_t)(sum[0] + sum[1]);
}

VECTOR uint32_t separators_above(const _Atomic uint32_t *separator, uint32_t distance)
{
	const four_separators *p = (const four_separators *)separator;
	four_separators d = {distance, distance, distance, distance}, sum = {0, 0, 0, 0};

#pragma GCC unroll 5
	for (uint32_t i = 0; i < VMA_SEPARATORS / 4; i++)
		sum += (d - p[i]) >> 31;
	return sum[0] + sum[1] + sum[2] + sum[3];
}

/* The last of the FAN starts, in order, that is at or below addr; the first when none is. */
VECTOR uint32_t last_of(const _Atomic uint64_t *start, uint64_t addr)
{
	uint32_t count = FAN - starts_above(start, FAN, addr);

	return count - (count > 0);
}

/* The same of n, which are many. */
static uint32_t last_of_many(const _Atomic uint64_t *start, uint32_t n, uint64_t addr)
{
	uint32_t i = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		i += half & -(uint32_t)(load(&start[i + half]) <= addr);
		n -= half;
	}
	return i;
}

/* The last chunk that starts at or below addr; the first when none does. */
NOT_INLINE uint32_t top_search(const struct vma_index *x, uint64_t addr)
{
	uint32_t n = atomic_load_explicit(&x->nchunks, memory_order_acquire), t = 0;

	if (n > FAN * FAN)
		t = last_of_many(x->start[2], (n - 1) / (FAN * FAN) + 1, addr);
	if (n > FAN)
		t = t * FAN + last_of(&x->start[1][t * FAN], addr);
	return t * FAN + last_of(&x->start[0][t * FAN], addr);
}

/* In which group of the chunk at t addr lies, or a later one where separators are not exact. */
VECTOR uint32_t group_of(const struct vma_index *x, uint32_t t, uint64_t addr)
{
	const struct vma_top *e = &x->top[t];
	uint64_t distance = (addr - load(&x->start[0][t])) >> shift_at(x, t);
	uint32_t d = distance < NO_SEPARATOR ? (uint32_t)distance : NO_SEPARATOR - 1;

	return VMA_SEPARATORS - separators_above(e->separator, d);
}

VECTOR uint32_t count_in_group(const struct vma_chunk *c, uint32_t group, uint64_t addr)
{
	return GROUP - starts_above(&c->start[group * GROUP], GROUP, addr);
}

/* How many VMAs of the chunk at t start at or below addr. */
NOT_INLINE uint32_t chunk_search(const struct vma_index *x, uint32_t t, uint64_t addr)
{
	const struct vma_chunk *c = chunk_at(x, t);
	uint32_t group, count;

	if (addr < load(&x->start[0][t]))
		return 0;
	group = group_of(x, t, addr);
	__builtin_prefetch(&c->at[group * GROUP]);
	__builtin_prefetch(&c->at[group * GROUP + GROUP / 2]);
	while (!(count = count_in_group(c, group, addr)) && group)
		group--;
	return group * GROUP + count;
}

static struct vma_spot search(const struct vma_index *x, uint64_t addr)
{
	uint32_t t;

	if (load(&x->nchunks) == 0)
		return (struct vma_spot){0, 0};
	t = top_search(x, addr);
	return (struct vma_spot){t, chunk_search(x, t, addr)};
}

/* Where the chunk after the one at t begins. */
static uint64_t next_start(const struct vma_index *x, uint32_t t)
{
	return t + 1 < load(&x->nchunks) ? load(&x->start[0][t + 1]) : NO_START;
}

static bool is_between(uint64_t addr, uint64_t low, uint64_t high)
{
	return addr - low < high - low;
}

#define NEAR 2 /* places on either side of the last one */

/*
 * What mmap and munmap look up one after the other lies close together, and branches can be predicted there. Elsewhere the one branch that
 * can as well is that it does not: hence no && and ||.
 */
static bool is_near_last(const struct vma_index *x, uint64_t addr, struct vma_spot *s)
{
	uint32_t t = x->last.t, low = x->last.at > NEAR ? x->last.at - NEAR : 0;
	const _Atomic uint64_t *start;

	if (t >= load(&x->nchunks) || !is_between(addr, load(&x->start[0][t]), next_start(x, t)))
		return false;
	low = low < CHUNK_MAX - 2 * NEAR ? low : CHUNK_MAX - 1 - 2 * NEAR;
	start = &chunk_at(x, t)->start[low];
	if (!is_between(addr, load(&start[0]), load(&start[2 * NEAR])))
		return false;
	*s = (struct vma_spot){t, low + 1};
	for (uint32_t i = 1; i < 2 * NEAR; i++)
		s->at += load(&start[i]) <= addr;
	return true;
}

/* For who holds mmap_lock. */
static struct vma_spot search_near(struct vma_index *x, uint64_t addr)
{
	struct vma_spot s;

	return is_near_last(x, addr, &s) ? s : search(x, addr);
}

/* ---- Writers ---- */

static int top_pay(struct vma_index *x, uint32_t entries)
{
	uint64_t need = all_bytes(entries) >> FL_PAGE_SHIFT;

	if (entries > TOP_MAX)
		return -ENOMEM;
	if (need > x->top_paid) {
		if (!budget_charge_metadata(need - x->top_paid))
			return -ENOMEM;
		x->top_paid = need;
	}
	return 0;
}

static void copy_entry(struct vma_chunk *to, uint32_t i, const struct vma_chunk *from, uint32_t j)
{
	store(&to->start[i], load(&from->start[j]));
	store(&to->at[i].end, load(&from->at[j].end));
	atomic_store_explicit(&to->at[i].vma, load(&from->at[j].vma), memory_order_release);
}

/*
 * What lies in order, to and fro: may overlap by all but one. Readers may be looking: what they make of it `seq` throws away, and no word
 * is torn, since all are aligned. Atomic word by atomic word this was a third of what mmap and munmap cost; and memmove() is watched by
 * ThreadSanitizer.
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

/* ---- The top ---- */

static void set_start(struct vma_index *x, uint32_t t, uint64_t start)
{
	uint32_t n = load(&x->nchunks);

	store(&x->start[0][t], start);
	if (n > FAN && t % FAN == 0)
		store(&x->start[1][t / FAN], start);
	if (n > FAN * FAN && t % (FAN * FAN) == 0)
		store(&x->start[2][t / (FAN * FAN)], start);
}

/*
 * The levels of n chunks, where those from `from` on have moved: from below, so that a racing reader who is led to FAN starts finds all of
 * them set.
 */
static void set_levels(struct vma_index *x, uint32_t from, uint32_t n)
{
	for (unsigned level = 0;; level++) {
		_Atomic uint64_t *start = x->start[level];

		for (uint32_t i = n; i % FAN; i++)
			store(&start[i], NO_START);
		if (level + 1 == VMA_LEVELS || n <= FAN)
			return;
		atomic_thread_fence(memory_order_release);
		from = n == FAN + 1 ? 0 : from / FAN; /* the next level was not in use */
		n = (n - 1) / FAN + 1;
		for (uint32_t i = from; i < n; i++)
			store(&x->start[level + 1][i], load(&start[i * FAN]));
	}
}

/* Separators are exact, unless a chunk spans more than 8 TiB. */
static uint64_t shift_for(const struct vma_chunk *c, uint32_t n)
{
	uint64_t span = n ? load(&c->start[n - 1]) - load(&c->start[0]) : 0, code = 0;

	while (span >> (SHIFT_MIN + 2 * code) >= NO_SEPARATOR)
		code++;
	return code << 8;
}

/* After a change to what lies at [from, to] in a chunk. */
static void set_separators(struct vma_index *x, uint32_t t, uint32_t from, uint32_t to)
{
	struct vma_top *e = &x->top[t];
	const struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t);
	uint64_t word = load(&e->chunk), shift = shift_for(c, n), first = load(&c->start[0]);

	if ((word & SHIFT_MASK) != shift) {
		from = 0;
		to = CHUNK_MAX;
	}
	store(&e->chunk, (word & ~(uint64_t)SHIFT_MASK) | shift);
	set_start(x, t, first);
	for (uint32_t k = from ? (from - 1) / GROUP : 0; k < VMA_SEPARATORS && (k + 1) * GROUP <= to; k++) {
		uint64_t start = load(&c->start[(k + 1) * GROUP]);

		store(&e->separator[k], start < NO_START ? (uint32_t)((start - first) >> shift_at(x, t)) : NO_SEPARATOR);
	}
}

/* By two words at a time: an entry is many of them. */
PLAIN_LOOP static void top_move(struct vma_top *to, const struct vma_top *from, uint32_t n)
{
	two_starts *t = (two_starts *)to;
	const two_starts *f = (const two_starts *)from;
	uint64_t words = (uint64_t)n * (sizeof *to / sizeof *t);

	if (to > from)
		while (words--)
			t[words] = f[words];
	else
		for (uint64_t i = 0; i < words; i++)
			t[i] = f[i];
}

static void top_open(struct vma_index *x, uint32_t at, struct vma_chunk *c, uint32_t n)
{
	uint32_t chunks = load(&x->nchunks);

	top_move(&x->top[at + 1], &x->top[at], chunks - at);
	store(&x->top[at].chunk, (uint64_t)(uintptr_t)c | n);
	atomic_thread_fence(memory_order_release); /* where a start is seen, there is a chunk */
	move_up((uint64_t *)&x->start[0][at + 1], (const uint64_t *)&x->start[0][at], chunks - at);
	set_separators(x, at, 0, CHUNK_MAX);
	set_levels(x, at, chunks + 1);
	atomic_store_explicit(&x->nchunks, chunks + 1, memory_order_release);
}

static void top_close(struct vma_index *x, uint32_t at)
{
	uint32_t n = load(&x->nchunks) - 1;

	top_move(&x->top[at], &x->top[at + 1], n - at);
	move_down((uint64_t *)&x->start[0][at], (const uint64_t *)&x->start[0][at + 1], n - at);
	store(&x->start[0][n], NO_START);
	store(&x->nchunks, n);
	set_levels(x, at, n);
}

/* ---- Chunks ---- */

static void chunk_put(struct vma_index *x, uint32_t t, uint32_t at, struct vma *v)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t);

	open_gap(c, at, n - at);
	store(&c->start[at], v->start);
	store(&c->at[at].end, v->end);
	atomic_store_explicit(&c->at[at].vma, v, memory_order_release);
	set_count(x, t, n + 1);
	set_separators(x, t, at, n);
	x->last = (struct vma_spot){t, at};
}

static void chunk_take(struct vma_index *x, uint32_t t, uint32_t at)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t) - 1;

	close_gap(c, at + 1, n - at);
	store(&c->start[n], NO_START);
	set_count(x, t, n);
	set_separators(x, t, at, n);
	x->last = (struct vma_spot){t, at};
}

/* Moves the upper part of the full chunk at `t` into `fresh`, which follows it: half of it, unless what is to come, at `at`, goes to an end. */
static void chunk_split(struct vma_index *x, uint32_t t, struct vma_chunk *fresh, uint32_t at)
{
	struct vma_chunk *c = chunk_at(x, t);
	uint32_t n = count_at(x, t);
	uint32_t keep = at == 0 ? 1 : at == n ? n - 1 : n / 2;

	for (uint32_t i = keep; i < n; i++) {
		copy_entry(fresh, i - keep, c, i);
		store(&c->start[i], NO_START);
	}
	set_count(x, t, keep);
	set_separators(x, t, keep, n);
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
	struct vma_spot s = search_near(x, v->start);
	struct vma_chunk *fresh;
	int err = chunk_for(x, s.t, &fresh);

	if (err)
		return err;
	change_begin(x);
	if (fresh && load(&x->nchunks) == 0)
		top_open(x, 0, fresh, 0);
	else if (fresh)
		chunk_split(x, s.t, fresh, s.at);
	if (fresh)
		s = search(x, v->start);
	chunk_put(x, s.t, s.at, v);
	change_end(x);
	x->count++;
	return 0;
}

/* Where the VMA is: its chunk in *t. */
static uint32_t place_of(struct vma_index *x, const struct vma *v, uint32_t *t)
{
	struct vma_spot s = search_near(x, v->start);

	*t = s.t;
	fl_assert(load(&chunk_at(x, s.t)->at[s.at - 1].vma) == v);
	return s.at - 1;
}

void vma_index_erase(struct vma_index *x, struct vma *v)
{
	uint32_t t, at = place_of(x, v, &t), left = count_at(x, t) - 1;
	struct vma_chunk *c = chunk_at(x, t);

	change_begin(x);
	chunk_take(x, t, at);
	if (!left)
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

/* What is moved by plain stores, or was zeroed by some before a racing reader was led there, is not for ThreadSanitizer to look at. */
#define RACY static inline __attribute__((no_sanitize("thread")))

/* From what is around addr to the VMA that addr is in or below; in no chunk when there is none. */
RACY struct vma_spot settle(const struct vma_index *x, uint64_t addr, struct vma_spot s)
{
	s.at -= s.at && load(&chunk_at(x, s.t)->at[s.at - 1].end) > addr;
	if (s.at < count_at(x, s.t))
		return s;
	return (struct vma_spot){s.t + 1, 0};
}

RACY uint64_t start_of(const struct vma_index *x, struct vma_spot s)
{
	return load(&chunk_at(x, s.t)->start[s.at]);
}

static inline struct vma *vma_at(const struct vma_index *x, struct vma_spot s)
{
	if (s.t >= load(&x->nchunks))
		return NULL;
	return atomic_load_explicit(&chunk_at(x, s.t)->at[s.at].vma, memory_order_acquire);
}

/* No VMA is up there, and nothing is at or above an unused start. */
static uint64_t clip(uint64_t addr)
{
	return addr < NO_START ? addr : NO_START - 1;
}

struct vma *vma_find(struct vma_index *x, uint64_t addr)
{
	struct vma_spot s;

	if (load(&x->nchunks) == 0)
		return NULL;
	addr = clip(addr);
	s = search_near(x, addr);
	return vma_at(x, settle(x, addr, s));
}

/* The same for who holds nothing, at one moment; where the VMA starts in *start. */
static struct vma *find_racy(struct vma_index *x, uint64_t addr, uint64_t *start)
{
	struct vma_spot s;
	struct vma *v;

	addr = clip(addr);
	for (unsigned turn = 0;; turn++) {
		uint32_t seq = atomic_load(&x->seq);

		v = NULL;
		if (!(seq & 1) && load(&x->nchunks)) {
			s = settle(x, addr, search(x, addr));
			v = vma_at(x, s);
			*start = v ? start_of(x, s) : 0;
		}
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && load(&x->seq) == seq)
			return v;
		cpu_relax(turn);
	}
}

struct vma *vma_find_racy(struct vma_index *x, uint64_t addr)
{
	uint64_t start;

	return find_racy(x, addr, &start);
}

bool vma_index_overlaps(struct vma_index *x, uint64_t start, uint64_t end)
{
	uint64_t first;

	return find_racy(x, start, &first) && first < end;
}
