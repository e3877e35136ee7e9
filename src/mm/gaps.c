/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free ranges ("gaps") of an address space that is all ours, so that get_unmapped_area() finds a place without a
 * walk over the mappings: an AVL tree by address, each node knowing the longest gap in its subtree.
 *
 * Invariants, between calls:
 *   1. Gaps are not empty, in order, and coalesced: the end of one is below the start of the next.
 *   2. The heights of a node's children differ by one at most. So no path, and no recursion, is longer than
 *      1.44 log2(count).
 *   3. height and max are right in every node.
 *
 * A change touches one gap, or takes out those inside of a range. Each node that it took out paid for itself when it was
 * put in, so take and give cost O(log n), amortised over ranges that cover many gaps. Both need one new node at most,
 * which comes from the spares: they cannot fail half-way.
 *
 * A search skips subtrees where no gap is long enough, or where the limits leave too little. Of the others, only gaps that a
 * limit cuts can disappoint, two at most: O(log n). That ends where `align` is larger than what all addresses are multiples
 * of: gaps that are long enough but lie badly are looked at one by one.
 *
 * Not here: locks, which addresses a space has, guard gaps and hints, and what is mapped where (vma_index.c).
 */
#include "gaps.h"

#include <errno.h>

#include "util/compiler.h"

/* Spares that are not given back at once: the next call wants them, and need not go to the arena. */
#define SPARES_KEPT 8

enum { LOWER, HIGHER };

/* ---- Nodes ---- */

static bool spare_add(struct gaps *g)
{
	struct gap *n = arena_alloc(g->arena, sizeof *n);

	if (!n)
		return false;
	n->up = g->spare;
	g->spare = n;
	g->spares++;
	return true;
}

static struct gap *spare_pop(struct gaps *g)
{
	struct gap *n = g->spare;

	fl_assert(n); /* gaps_prepare() was called */
	g->spare = n->up;
	g->spares--;
	return n;
}

static void spare_trim(struct gaps *g, uint64_t keep)
{
	while (g->spares > keep)
		arena_free(g->arena, spare_pop(g), sizeof(struct gap));
}

static int spare_reserve(struct gaps *g, uint64_t n)
{
	uint64_t before = g->spares;

	while (g->spares < n) {
		if (!spare_add(g)) {
			spare_trim(g, before);
			return -ENOMEM;
		}
	}
	return 0;
}

static void node_free(struct gaps *g, struct gap *n)
{
	if (g->spares >= SPARES_KEPT) {
		arena_free(g->arena, n, sizeof *n);
		return;
	}
	n->up = g->spare;
	g->spare = n;
	g->spares++;
}

/* ---- The tree ---- */

static int height(const struct gap *n)
{
	return n ? n->height : 0;
}

static uint64_t longest(const struct gap *n)
{
	return n ? n->max : 0;
}

static void refresh(struct gap *n)
{
	int lower = height(n->child[LOWER]), higher = height(n->child[HIGHER]);

	n->height = 1 + (lower > higher ? lower : higher);
	n->max = max_u64(n->end - n->start, max_u64(longest(n->child[LOWER]), longest(n->child[HIGHER])));
}

static struct gap **link_of(struct gaps *g, const struct gap *n)
{
	return n->up ? &n->up->child[n->up->child[HIGHER] == n] : &g->root;
}

/* Puts n's child on that side in n's place, and n below it. */
static struct gap *rotate(struct gaps *g, struct gap *n, int side)
{
	struct gap *top = n->child[side], *middle = top->child[!side];

	*link_of(g, n) = top;
	top->up = n->up;
	top->child[!side] = n;
	n->up = top;
	n->child[side] = middle;
	if (middle)
		middle->up = n;
	refresh(n);
	refresh(top);
	return top;
}

/* Invariants 2 and 3 for n, whose children have them. What is at its place then. */
static struct gap *rebalance(struct gaps *g, struct gap *n)
{
	int lean = height(n->child[HIGHER]) - height(n->child[LOWER]), side = lean > 0;
	struct gap *heavy = n->child[side];

	if (lean >= -1 && lean <= 1) {
		refresh(n);
		return n;
	}
	fl_assert(heavy); /* leaning by two, n has a child there */
	if (height(heavy->child[!side]) > height(heavy->child[side]))
		rotate(g, heavy, !side);
	return rotate(g, n, side);
}

/* The same after a change to n's range or children, upwards until a place looks to its parent as it did before. */
static void mend(struct gaps *g, struct gap *n)
{
	while (n) {
		int old_height = n->height;
		uint64_t old_max = n->max;

		n = rebalance(g, n);
		if (n->height == old_height && n->max == old_max)
			return;
		n = n->up;
	}
}

static void insert(struct gaps *g, uint64_t start, uint64_t end)
{
	struct gap *n = spare_pop(g), *up = NULL, **link = &g->root;

	while (*link) {
		up = *link;
		link = &up->child[start > up->start];
	}
	*n = (struct gap){.start = start, .end = end, .up = up};
	refresh(n);
	*link = n;
	g->count++;
	mend(g, up);
}

static struct gap *lowest(struct gap *n)
{
	while (n->child[LOWER])
		n = n->child[LOWER];
	return n;
}

/* Takes out a node with one child at most. */
static void unlink_node(struct gaps *g, struct gap *n)
{
	struct gap *child = n->child[n->child[HIGHER] != NULL], *up = n->up;

	*link_of(g, n) = child;
	if (child)
		child->up = up;
	node_free(g, n);
	g->count--;
	mend(g, up);
}

/* With two children, the next gap moves into the node and its own node goes: pointers to that one, and to n, are void. */
static void erase(struct gaps *g, struct gap *n)
{
	struct gap *next;

	if (!n->child[LOWER] || !n->child[HIGHER]) {
		unlink_node(g, n);
		return;
	}
	next = lowest(n->child[HIGHER]);
	n->start = next->start;
	n->end = next->end;
	unlink_node(g, next);
	mend(g, n); /* the other may have stopped below it */
}

/* The lowest gap that ends at `at` or above. */
static struct gap *first_reaching(const struct gaps *g, uint64_t at)
{
	struct gap *n = g->root, *best = NULL;

	while (n) {
		if (n->end >= at)
			best = n;
		n = n->child[n->end < at];
	}
	return best;
}

static struct gap *next_gap(struct gap *n)
{
	if (n->child[HIGHER])
		return lowest(n->child[HIGHER]);
	while (n->up && n->up->child[HIGHER] == n)
		n = n->up;
	return n->up;
}

static void free_subtree(struct gaps *g, struct gap *n)
{
	if (!n)
		return;
	free_subtree(g, n->child[LOWER]);
	free_subtree(g, n->child[HIGHER]);
	arena_free(g->arena, n, sizeof *n);
}

static struct gap *copy_subtree(struct gaps *to, const struct gap *from, struct gap *up)
{
	struct gap *n;

	if (!from)
		return NULL;
	n = spare_pop(to);
	*n = *from;
	n->up = up;
	n->child[LOWER] = copy_subtree(to, from->child[LOWER], n);
	n->child[HIGHER] = copy_subtree(to, from->child[HIGHER], n);
	return n;
}

/* ---- All of it ---- */

void gaps_init(struct gaps *g, struct arena *arena)
{
	*g = (struct gaps){.arena = arena};
}

static void clear(struct gaps *g)
{
	free_subtree(g, g->root);
	g->root = NULL;
	g->count = 0;
}

void gaps_exit(struct gaps *g)
{
	clear(g);
	spare_trim(g, 0);
}

int gaps_reset(struct gaps *g, uint64_t low, uint64_t high)
{
	int err = gaps_prepare(g, 1);

	if (err)
		return err;
	clear(g);
	gaps_give(g, low, high);
	return 0;
}

int gaps_copy(struct gaps *to, const struct gaps *from)
{
	int err;

	fl_assert(!to->root);
	err = spare_reserve(to, from->count);
	if (err)
		return err;
	to->root = copy_subtree(to, from->root, NULL);
	to->count = from->count;
	return 0;
}

/* ---- Changes ---- */

int gaps_prepare(struct gaps *g, unsigned n)
{
	return spare_reserve(g, n);
}

/* Takes the range out of a gap that goes beyond it at one end or both. */
static void cut(struct gaps *g, struct gap *n, uint64_t start, uint64_t end)
{
	uint64_t old_end = n->end;

	if (n->start >= start) {
		n->start = end;
		mend(g, n);
		return;
	}
	n->end = start;
	mend(g, n);
	if (old_end > end)
		insert(g, end, old_end);
}

void gaps_take(struct gaps *g, uint64_t start, uint64_t end)
{
	struct gap *n;
	bool more = start < end;

	while (more && (n = first_reaching(g, start + 1)) && n->start < end) {
		more = n->end < end;
		if (n->start < start || n->end > end)
			cut(g, n, start, end);
		else
			erase(g, n);
	}
}

/* Makes the range part of a gap that it overlaps or touches, and the gaps above that then overlap or touch this one. */
static void widen(struct gaps *g, struct gap *n, uint64_t start, uint64_t end)
{
	struct gap *next;

	n->start = min_u64(n->start, start);
	n->end = max_u64(n->end, end);
	while ((next = next_gap(n)) && next->start <= n->end) {
		n->end = max_u64(n->end, next->end);
		erase(g, next); /* n stays: what moves is above next */
	}
	mend(g, n);
}

void gaps_give(struct gaps *g, uint64_t start, uint64_t end)
{
	struct gap *n;

	if (start >= end)
		return;
	n = first_reaching(g, start);
	if (n && n->start <= end)
		widen(g, n, start, end);
	else
		insert(g, start, end);
}

/* ---- Searches ---- */

bool gaps_is_free(const struct gaps *g, uint64_t start, uint64_t end)
{
	const struct gap *n;

	if (start >= end)
		return true;
	n = first_reaching(g, end);
	return n && n->start <= start;
}

bool gaps_at(const struct gaps *g, uint64_t addr, uint64_t *start, uint64_t *end)
{
	const struct gap *n = first_reaching(g, addr + 1);

	if (!n || n->start > addr)
		return false;
	*start = n->start;
	*end = n->end;
	return true;
}

struct search {
	uint64_t len, low, high, align;
	int side; /* the one to prefer */
};

/* Whether the limits leave enough of what lies on that side of n. */
static bool side_in_limits(const struct search *s, const struct gap *n, int side)
{
	if (side == LOWER)
		return n->start > s->low && n->start - s->low > s->len;
	return n->end < s->high && s->high - n->end > s->len;
}

static bool fits(const struct search *s, const struct gap *n, uint64_t *addr)
{
	uint64_t low = max_u64(n->start, s->low), high = min_u64(n->end, s->high), at;

	if (low >= high || high - low < s->len)
		return false;
	at = s->side == HIGHER ? high - s->len : low + s->align - 1;
	at &= -s->align;
	if (at < low || at > high - s->len)
		return false;
	*addr = at;
	return true;
}

static bool search(const struct search *s, const struct gap *n, uint64_t *addr)
{
	if (longest(n) < s->len)
		return false;
	if (side_in_limits(s, n, s->side) && search(s, n->child[s->side], addr))
		return true;
	if (fits(s, n, addr))
		return true;
	return side_in_limits(s, n, !s->side) && search(s, n->child[!s->side], addr);
}

bool gaps_find_high(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr)
{
	struct search s = {.len = len, .low = low, .high = high, .align = align, .side = HIGHER};

	return len > 0 && search(&s, g->root, addr);
}

bool gaps_find_low(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr)
{
	struct search s = {.len = len, .low = low, .high = high, .align = align, .side = LOWER};

	return len > 0 && search(&s, g->root, addr);
}
