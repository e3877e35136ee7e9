/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free ranges ("gaps") of an address space that is all ours, so that get_unmapped_area() finds a place without a
 * walk over the mappings: a B+ tree by address, whose inner nodes know the longest gap below each child.
 *
 *     inner:   first longest child   first longest child   ...      (up to GAPS_INNER_MAX, in order)
 *                              |
 *     leaf:    start start ...  end end ...                          (up to GAPS_LEAF_MAX, in order)
 *
 * What a search costs is cache misses: nodes are some lines wide, and of a million gaps the inner ones fit in the L2 cache.
 *
 * Invariants, between calls:
 *   1. Gaps are not empty, in order, and coalesced: the end of one is below the start of the next.
 *   2. All leaves are at level 0, the children of a node one level below it. Nodes have GAPS_*_MAX entries at most, all but the root
 *      GAPS_*_MIN at least, an inner root two, a leaf one. So no path, and no recursion, is longer than log5(count) + 1.
 *   3. first and longest are right in every inner node.
 *
 * A change touches one gap, or takes out those inside of a range. Each gap that it took out paid for itself when it was put in, so take and
 * give cost O(log n), amortised over ranges that cover many gaps. Both put in one gap at most; each node on its path may have to be
 * split for it, and the root. These nodes come from the spares: take and give cannot fail half-way.
 *
 * A search skips subtrees where no gap is long enough, or which lie beyond the limits. Of the others, only gaps that a
 * limit cuts can disappoint, two at most: O(log n). That ends where `align` is larger than what all addresses are multiples
 * of: gaps that are long enough but lie badly are looked at one by one.
 *
 * Not here: locks, which addresses a space has, guard gaps and hints, and what is mapped where (vma_index.c).
 */
#include "gaps.h"

#include <errno.h>
#include <string.h>

#include "util/compiler.h"

/* Spares that are not given back at once: what gaps_prepare() of three wants in a tree of a million. */
#define SPARES_KEPT 18
#define HEIGHT_MAX 20 /* of a tree of 2^40 gaps, more than there are pages */

_Static_assert(sizeof(struct gap_node) == 512, "a size of the arena's, without waste");

/* ---- Nodes ---- */

static void spare_push(struct gaps *g, struct gap_node *n)
{
	n->next_spare = g->spare;
	g->spare = n;
	g->spares++;
}

static struct gap_node *spare_pop(struct gaps *g)
{
	struct gap_node *n = g->spare;

	fl_assert(n); /* gaps_prepare() was called */
	g->spare = n->next_spare;
	g->spares--;
	return n;
}

static void spare_trim(struct gaps *g, uint64_t keep)
{
	while (g->spares > keep)
		arena_free(g->arena, spare_pop(g), sizeof(struct gap_node));
}

static int spare_reserve(struct gaps *g, uint64_t n)
{
	uint64_t before = g->spares;

	while (g->spares < n) {
		struct gap_node *fresh = arena_alloc(g->arena, sizeof *fresh);

		if (!fresh) {
			spare_trim(g, before);
			return -ENOMEM;
		}
		spare_push(g, fresh);
	}
	return 0;
}

static struct gap_node *node_new(struct gaps *g, uint32_t level)
{
	struct gap_node *n = spare_pop(g);

	n->level = level;
	n->n = 0;
	g->nodes++;
	return n;
}

static void node_free(struct gaps *g, struct gap_node *n)
{
	g->nodes--;
	if (g->spares < SPARES_KEPT)
		spare_push(g, n);
	else
		arena_free(g->arena, n, sizeof *n);
}

static uint32_t most(const struct gap_node *n)
{
	return n->level ? GAPS_INNER_MAX : GAPS_LEAF_MAX;
}

static uint32_t least(const struct gap_node *n)
{
	return n->level ? GAPS_INNER_MIN : GAPS_LEAF_MIN;
}

static uint64_t first_of(const struct gap_node *n)
{
	return n->level ? n->first[0] : n->start[0];
}

static uint64_t longest_of(const struct gap_node *n)
{
	uint64_t longest = 0;

	for (uint32_t i = 0; i < n->n; i++)
		longest = max_u64(longest, n->level ? n->longest[i] : n->end[i] - n->start[i]);
	return longest;
}

/* Copies len entries; within one node they may overlap. */
static void move_entries(struct gap_node *to, uint32_t i, const struct gap_node *from, uint32_t j, uint32_t len)
{
	if (!from->level) {
		memmove(&to->start[i], &from->start[j], len * sizeof to->start[0]);
		memmove(&to->end[i], &from->end[j], len * sizeof to->end[0]);
		return;
	}
	memmove(&to->first[i], &from->first[j], len * sizeof to->first[0]);
	memmove(&to->longest[i], &from->longest[j], len * sizeof to->longest[0]);
	memmove(&to->child[i], &from->child[j], len * sizeof to->child[0]);
}

static void open_entry(struct gap_node *n, uint32_t i)
{
	move_entries(n, i + 1, n, i, n->n - i);
	n->n++;
}

static void close_entry(struct gap_node *n, uint32_t i)
{
	n->n--;
	move_entries(n, i, n, i + 1, n->n - i);
}

static void set_child(struct gap_node *n, uint32_t i, struct gap_node *child)
{
	n->child[i] = child;
	n->first[i] = first_of(child);
	n->longest[i] = longest_of(child);
}

/* How many of the n words, in order, are at or below x: all are looked at, which waits for no miss but one. */
static uint32_t count_up_to(const uint64_t *word, uint32_t n, uint64_t x)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += word[i] <= x;
	return count;
}

/* The child that addr lies in; the first one also below it. */
static uint32_t child_of(const struct gap_node *n, uint64_t addr)
{
	return count_up_to(n->first + 1, n->n - 1, addr);
}

/* ---- Places: a node and an entry of it at each level ---- */

struct place {
	struct gap_node *node[HEIGHT_MAX];
	uint32_t at[HEIGHT_MAX]; /* at[0]: a gap in the leaf; or its number of gaps, and there is none */
	uint32_t height;
};

/* Behind the last gap that starts at addr or below. */
static void descend(const struct gaps *g, uint64_t addr, struct place *p)
{
	struct gap_node *n = g->root;

	p->height = n ? n->level + 1 : 0;
	if (!n)
		return;
	for (; n->level; n = n->child[p->at[n->level]]) {
		p->node[n->level] = n;
		p->at[n->level] = child_of(n, addr);
	}
	p->node[0] = n;
	p->at[0] = count_up_to(n->start, n->n, addr);
}

/* From behind a leaf's last gap to the next leaf. Whether there is a gap. */
static bool settle(struct place *p)
{
	uint32_t level = 0;

	while (level < p->height && p->at[level] + (level > 0) >= p->node[level]->n)
		level++;
	if (level == p->height)
		return false;
	if (!level)
		return true;
	for (p->at[level]++; level--; p->at[level] = 0)
		p->node[level] = p->node[level + 1]->child[p->at[level + 1]];
	return true;
}

/* Whether the gap before p, if there is one, ends below `at`. */
static bool ends_below(const struct place *p, uint64_t at)
{
	return !p->height || !p->at[0] || p->node[0]->end[p->at[0] - 1] < at;
}

/* The lowest gap that ends at `at` or above. */
static bool first_reaching(const struct gaps *g, uint64_t at, struct place *p)
{
	descend(g, at, p);
	if (ends_below(p, at))
		return settle(p);
	p->at[0]--;
	return true;
}

static uint64_t *start_at(const struct place *p)
{
	return &p->node[0]->start[p->at[0]];
}

static uint64_t *end_at(const struct place *p)
{
	return &p->node[0]->end[p->at[0]];
}

/* Where the gap at p starts, or the one `skip` further on; UINT64_MAX when there is none. */
static uint64_t start_from(const struct place *p, uint32_t skip)
{
	for (uint32_t level = 0; level < p->height; level++, skip = 1) {
		const struct gap_node *n = p->node[level];
		uint32_t i = p->at[level] + skip;

		if (i < n->n)
			return level ? n->first[i] : n->start[i];
	}
	return UINT64_MAX;
}

/* Invariant 3 after a change in the node at that level, upwards until one looks to its parent as it did before. */
static void mend(const struct place *p, uint32_t level)
{
	for (; level + 1 < p->height; level++) {
		struct gap_node *up = p->node[level + 1];
		uint32_t i = p->at[level + 1];
		uint64_t first = first_of(p->node[level]), longest = longest_of(p->node[level]);

		if (up->first[i] == first && up->longest[i] == longest)
			return;
		up->first[i] = first;
		up->longest[i] = longest;
	}
}

static void set_gap(const struct place *p, uint64_t start, uint64_t end)
{
	*start_at(p) = start;
	*end_at(p) = end;
	mend(p, 0);
}

/* ---- Insertion ---- */

/*
 * Makes room for an entry at i in the full node *n: the upper part of it moves to a new node, which is the answer. Half of it, unless
 * the entry goes near an end, where the next one is likely to go too. *n, *i: where the entry goes.
 */
static struct gap_node *split(struct gaps *g, struct gap_node **n, uint32_t *i)
{
	struct gap_node *low = *n, *high = node_new(g, low->level);
	uint32_t min = least(low), keep = *i <= min ? min : *i >= low->n - min ? low->n - min : low->n / 2;

	high->n = low->n - keep;
	move_entries(high, 0, low, keep, high->n);
	low->n = keep;
	if (*i > keep) {
		*n = high;
		*i -= keep;
	}
	return high;
}

static void grow_root(struct gaps *g, struct gap_node *high)
{
	struct gap_node *low = g->root, *root = node_new(g, low->level + 1);

	root->n = 2;
	set_child(root, 0, low);
	set_child(root, 1, high);
	g->root = root;
}

/* The new node `high` follows the one at p below `level`, and so on upwards. */
static void add_node(struct gaps *g, const struct place *p, uint32_t level, struct gap_node *high)
{
	while (high && level < p->height) {
		struct gap_node *n = p->node[level], *fresh = NULL;
		uint32_t i = p->at[level] + 1;

		set_child(n, i - 1, n->child[i - 1]);
		if (n->n == most(n))
			fresh = split(g, &n, &i);
		open_entry(n, i);
		set_child(n, i, high);
		high = fresh;
		level++;
	}
	if (high)
		grow_root(g, high);
	else
		mend(p, level - 1);
}

static void insert(struct gaps *g, const struct place *p, uint64_t start, uint64_t end)
{
	struct gap_node *n = p->height ? p->node[0] : (g->root = node_new(g, 0)), *high = NULL;
	uint32_t i = p->height ? p->at[0] : 0;

	if (n->n == most(n))
		high = split(g, &n, &i);
	open_entry(n, i);
	n->start[i] = start;
	n->end[i] = end;
	g->count++;
	if (high)
		add_node(g, p, 1, high);
	else
		mend(p, 0);
}

/* ---- Removal ---- */

/* A root that has no gaps, or one child only, goes. */
static void lower_root(struct gaps *g)
{
	struct gap_node *root = g->root;

	if (root->n > (root->level > 0))
		return;
	g->root = root->level ? root->child[0] : NULL;
	node_free(g, root);
}

/* Entries of two neighbours are shared evenly. */
static void share(struct gap_node *low, struct gap_node *high)
{
	uint32_t half = (low->n + high->n) / 2, more;

	if (low->n < half) {
		more = half - low->n;
		move_entries(low, low->n, high, 0, more);
		move_entries(high, 0, high, more, high->n - more);
		high->n -= more;
	} else {
		more = low->n - half;
		move_entries(high, more, high, 0, high->n);
		move_entries(high, 0, low, half, more);
		high->n += more;
	}
	low->n = half;
}

/* Child i of n has too few entries: it becomes one with a neighbour, or gets some of its. */
static void mend_child(struct gaps *g, struct gap_node *n, uint32_t i)
{
	uint32_t lower = i ? i - 1 : 0;
	struct gap_node *low = n->child[lower], *high = n->child[lower + 1];

	if (low->n + high->n <= most(low)) {
		move_entries(low, low->n, high, 0, high->n);
		low->n += high->n;
		close_entry(n, lower + 1);
		node_free(g, high);
	} else {
		share(low, high);
		set_child(n, lower + 1, high);
	}
	set_child(n, lower, low);
}

/* The place is void then. */
static void erase(struct gaps *g, const struct place *p)
{
	uint32_t level = 0;

	close_entry(p->node[0], p->at[0]);
	g->count--;
	while (level + 1 < p->height && p->node[level]->n < least(p->node[level])) {
		level++;
		mend_child(g, p->node[level], p->at[level]);
	}
	mend(p, level);
	if (level + 1 == p->height)
		lower_root(g);
}

/* ---- All of it ---- */

void gaps_init(struct gaps *g, struct arena *arena)
{
	*g = (struct gaps){.arena = arena};
}

static void free_subtree(struct gaps *g, struct gap_node *n)
{
	for (uint32_t i = 0; n->level && i < n->n; i++)
		free_subtree(g, n->child[i]);
	arena_free(g->arena, n, sizeof *n);
}

static void clear(struct gaps *g)
{
	if (g->root)
		free_subtree(g, g->root);
	g->root = NULL;
	g->count = g->nodes = 0;
}

void gaps_exit(struct gaps *g)
{
	clear(g);
	spare_trim(g, 0);
}

int gaps_reset(struct gaps *g, uint64_t low, uint64_t high)
{
	int err = spare_reserve(g, 1);

	if (err)
		return err;
	clear(g);
	gaps_give(g, low, high);
	return 0;
}

static struct gap_node *copy_subtree(struct gaps *to, const struct gap_node *from)
{
	struct gap_node *n = node_new(to, from->level);

	memcpy(n, from, sizeof *n);
	for (uint32_t i = 0; n->level && i < n->n; i++)
		n->child[i] = copy_subtree(to, from->child[i]);
	return n;
}

int gaps_copy(struct gaps *to, const struct gaps *from)
{
	int err;

	fl_assert(!to->root);
	err = spare_reserve(to, from->nodes);
	if (err)
		return err;
	to->root = from->root ? copy_subtree(to, from->root) : NULL;
	to->count = from->count;
	return 0;
}

/* ---- Changes ---- */

/*
 * Each gap put in may split a node of each level there is now, and a root. Where there is a new level, it has room: splits on it are
 * fewer than the gaps that brought it about.
 */
int gaps_prepare(struct gaps *g, unsigned n)
{
	uint64_t height = g->root ? g->root->level + 1 : 0;

	if (height == 1 && g->count + n <= GAPS_LEAF_MAX)
		return 0;
	return spare_reserve(g, n * (height + 1));
}

/* Takes the range out of a gap that goes beyond it at one end or both. */
static void cut(struct gaps *g, struct place *p, uint64_t start, uint64_t end)
{
	uint64_t old_start = *start_at(p), old_end = *end_at(p);

	if (old_start >= start) {
		set_gap(p, end, old_end);
		return;
	}
	set_gap(p, old_start, start);
	if (old_end <= end)
		return;
	p->at[0]++;
	insert(g, p, end, old_end);
}

void gaps_take(struct gaps *g, uint64_t start, uint64_t end)
{
	struct place p;
	bool more = start < end;

	while (more && first_reaching(g, start + 1, &p) && *start_at(&p) < end) {
		more = *end_at(&p) < end;
		if (*start_at(&p) < start || *end_at(&p) > end)
			cut(g, &p, start, end);
		else
			erase(g, &p);
	}
}

/* Makes the range part of a gap that it overlaps or touches, and the gaps above that then overlap or touch this one. */
static void widen(struct gaps *g, struct place *p, uint64_t start, uint64_t end)
{
	uint64_t old_start = *start_at(p);

	start = min_u64(start, old_start);
	end = max_u64(end, *end_at(p));
	while (start_from(p, 1) <= end) {
		p->at[0]++;
		settle(p);
		end = max_u64(end, *end_at(p));
		erase(g, p);
		descend(g, old_start, p);
		p->at[0]--;
	}
	set_gap(p, start, end);
}

void gaps_give(struct gaps *g, uint64_t start, uint64_t end)
{
	struct place p;

	if (start >= end)
		return;
	descend(g, start, &p);
	if (!ends_below(&p, start))
		p.at[0]--;
	else if (start_from(&p, 0) <= end)
		settle(&p);
	else
		return insert(g, &p, start, end);
	widen(g, &p, start, end);
}

/* ---- Searches ---- */

/* The last gap that starts at addr or below. */
static bool find_gap(const struct gaps *g, uint64_t addr, uint64_t *start, uint64_t *end)
{
	const struct gap_node *n = g->root;
	uint32_t i;

	while (n && n->level)
		n = n->child[child_of(n, addr)];
	i = n ? count_up_to(n->start, n->n, addr) : 0;
	if (!i)
		return false;
	*start = n->start[i - 1];
	*end = n->end[i - 1];
	return true;
}

bool gaps_is_free(const struct gaps *g, uint64_t start, uint64_t end)
{
	uint64_t gap_start, gap_end;

	return start >= end || (find_gap(g, start, &gap_start, &gap_end) && gap_end >= end);
}

bool gaps_at(const struct gaps *g, uint64_t addr, uint64_t *start, uint64_t *end)
{
	uint64_t gap_start, gap_end;

	if (!find_gap(g, addr, &gap_start, &gap_end) || gap_end <= addr)
		return false;
	*start = gap_start;
	*end = gap_end;
	return true;
}

struct search {
	uint64_t len, low, high, align;
	bool high_first;
};

static bool fits(const struct search *s, uint64_t start, uint64_t end, uint64_t *addr)
{
	uint64_t low = max_u64(start, s->low), high = min_u64(end, s->high), at;

	if (low >= high || high - low < s->len)
		return false;
	at = s->high_first ? high - s->len : low + s->align - 1;
	at &= -s->align;
	if (at < low || at > high - s->len)
		return false;
	*addr = at;
	return true;
}

/* Whether what lies below child i can reach into the limits, and is long enough. */
static bool is_candidate(const struct search *s, const struct gap_node *n, uint32_t i)
{
	return n->longest[i] >= s->len && n->first[i] < s->high && (i + 1 == n->n || n->first[i + 1] > s->low);
}

static bool search(const struct search *s, const struct gap_node *n, uint64_t *addr)
{
	for (uint32_t j = 0; j < n->n; j++) {
		uint32_t i = s->high_first ? n->n - 1 - j : j;

		if (n->level ? is_candidate(s, n, i) && search(s, n->child[i], addr) : fits(s, n->start[i], n->end[i], addr))
			return true;
	}
	return false;
}

bool gaps_find_high(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr)
{
	struct search s = {.len = len, .low = low, .high = high, .align = align, .high_first = true};

	return len > 0 && g->root && search(&s, g->root, addr);
}

bool gaps_find_low(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr)
{
	struct search s = {.len = len, .low = low, .high = high, .align = align};

	return len > 0 && g->root && search(&s, g->root, addr);
}
