/* SPDX-License-Identifier: Apache-2.0 */
/* mm/gaps.c against an array that says of each unit whether it is free, with its tree checked after each step, and over budget. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/gaps.h"
#include "util/compiler.h"

static struct arena arena;
static struct gaps gaps;
static uint64_t charged, allowed, rng;

static bool charge(uint64_t pages)
{
	if (charged + pages > allowed)
		return false;
	charged += pages;
	return true;
}

static uint64_t below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

/* How many nodes the arena hands out without another page. They are given back. */
static uint64_t nodes_in_arena(void)
{
	struct gap_node *list = NULL, *n;
	uint64_t was = allowed, count = 0;

	allowed = charged;
	while ((n = arena_alloc(&arena, sizeof *n))) {
		n->next_spare = list;
		list = n;
		count++;
	}
	while ((n = list)) {
		list = n->next_spare;
		arena_free(&arena, n, sizeof *n);
	}
	allowed = was;
	return count;
}

/* The whole pages that were taken hold nothing but nodes. */
static bool all_given_back(void)
{
	return nodes_in_arena() == charged * (FL_PAGE_SIZE / sizeof(struct gap_node));
}

static int start(void **state)
{
	(void)state;
	charged = 0;
	allowed = 10000;
	rng = 88172645463325252ull;
	assert_int_equal(arena_init(&arena, 64UL << 20, charge, charge), 0);
	gaps_init(&gaps, &arena);
	return 0;
}

static int end(void **state)
{
	(void)state;
	gaps_exit(&gaps);
	assert_true(all_given_back());
	arena_exit(&arena);
	return 0;
}

/* ---- The tree ---- */

struct walk {
	const struct gap_node *root;
	uint64_t count, nodes, end; /* so far; of the last gap */
};

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

static void check_fill(const struct gap_node *n, bool is_root)
{
	if (n->level)
		assert_in_range(n->n, is_root ? 2 : GAPS_INNER_MIN, GAPS_INNER_MAX);
	else
		assert_in_range(n->n, is_root ? 1 : GAPS_LEAF_MIN, GAPS_LEAF_MAX);
}

static void check_subtree(const struct gap_node *n, struct walk *w)
{
	check_fill(n, n == w->root);
	w->nodes++;
	for (uint32_t i = 0; n->level && i < n->n; i++) {
		const struct gap_node *c = n->child[i];

		assert_int_equal(c->level, n->level - 1);
		assert_int_equal(n->first[i], first_of(c));
		assert_int_equal(n->longest[i], longest_of(c));
		check_subtree(c, w);
	}
	for (uint32_t i = 0; !n->level && i < n->n; i++) {
		assert_true(n->start[i] < n->end[i]);
		assert_true(w->count == 0 || n->start[i] > w->end);
		w->count++;
		w->end = n->end[i];
	}
}

static void check_tree(const struct gaps *g)
{
	struct walk w = {.root = g->root};
	uint64_t spares = 0;

	if (g->root)
		check_subtree(g->root, &w);
	assert_int_equal(g->count, w.count);
	assert_int_equal(g->nodes, w.nodes);
	for (const struct gap_node *n = g->spare; n; n = n->next_spare)
		spares++;
	assert_int_equal(g->spares, spares);
}

static uint32_t height_of(const struct gaps *g)
{
	return g->root ? g->root->level + 1 : 0;
}

/* ---- The model ---- */

#define UNITS_MAX 100000

static bool model[UNITS_MAX];
static uint64_t units;      /* of it in use */
static uint64_t base, unit; /* where the model lies, and the bytes of one of its units */

static uint64_t at(uint64_t i)
{
	return base + i * unit;
}

static bool model_is_free(uint64_t from, uint64_t to)
{
	while (from < to && model[from])
		from++;
	return from >= to;
}

static uint64_t model_runs(void)
{
	uint64_t runs = 0;

	for (uint64_t i = 0; i < units; i++)
		runs += model[i] && !(i && model[i - 1]);
	return runs;
}

static void check_subtree_is_free(const struct gap_node *n, uint64_t *bytes)
{
	for (uint32_t i = 0; i < n->n; i++)
		if (n->level) {
			check_subtree_is_free(n->child[i], bytes);
		} else {
			assert_true(model_is_free((n->start[i] - base) / unit, (n->end[i] - base) / unit));
			*bytes += n->end[i] - n->start[i];
		}
}

/* Every gap is free, and the gaps are as many as the runs of free units, with as many bytes. */
static void check_model(const struct gaps *g)
{
	uint64_t n = 0, bytes = 0;

	for (uint64_t i = 0; i < units; i++)
		n += model[i];
	if (g->root)
		check_subtree_is_free(g->root, &bytes);
	assert_int_equal(bytes, n * unit);
	assert_int_equal(g->count, model_runs());
}

/* ---- One random step ---- */

struct request {
	uint64_t len, low, high, align; /* in units */
};

static bool model_fits(const struct request *r, uint64_t i)
{
	return at(i) % (r->align * unit) == 0 && i + r->len <= r->high && model_is_free(i, i + r->len);
}

static bool model_find_low(const struct request *r, uint64_t *addr)
{
	for (uint64_t i = r->low; i < r->high; i++) {
		if (model_fits(r, i)) {
			*addr = at(i);
			return true;
		}
	}
	return false;
}

static bool model_find_high(const struct request *r, uint64_t *addr)
{
	for (uint64_t i = r->high; i-- > r->low;) {
		if (model_fits(r, i)) {
			*addr = at(i);
			return true;
		}
	}
	return false;
}

static uint64_t found, missed;

static void find(void)
{
	static const uint64_t longest[] = {2, 8, 64, 1024};
	struct request r = {.len = 1 + below(longest[below(4)]), .high = units, .align = below(2) ? 1 : 1ull << below(7)};
	uint64_t want = 1, addr = 1; /* both stay when there is nothing */
	bool expect;

	if (below(2)) {
		r.low = below(units);
		r.high = below(units + 1); /* below low, too */
	}
	expect = model_find_low(&r, &want);
	assert_int_equal(gaps_find_low(&gaps, r.len * unit, at(r.low), at(r.high), r.align * unit, &addr), expect);
	assert_int_equal(addr, want);
	expect = model_find_high(&r, &want);
	assert_int_equal(gaps_find_high(&gaps, r.len * unit, at(r.low), at(r.high), r.align * unit, &addr), expect);
	assert_int_equal(addr, want);
	found += expect;
	missed += !expect;
}

static void change(uint64_t takes_of_8)
{
	uint64_t from = below(units), to = from + below(below(16) ? 8 : 200); /* an empty range, too */
	bool take = below(8) < takes_of_8;

	to = min_u64(to, units);
	assert_int_equal(gaps_is_free(&gaps, at(from), at(to)), model_is_free(from, to));
	assert_int_equal(gaps_prepare(&gaps, 1), 0);
	if (take)
		gaps_take(&gaps, at(from), at(to));
	else
		gaps_give(&gaps, at(from), at(to));
	memset(model + from, !take, to - from);
	assert_int_equal(gaps_is_free(&gaps, at(from), at(to)), from == to || !take);
}

static void start_model(uint64_t where, uint64_t n, uint64_t bytes)
{
	base = where;
	units = n;
	unit = bytes;
	assert_int_equal(gaps_reset(&gaps, at(0), at(units)), 0);
	memset(model, true, sizeof model);
}

#define FEW 1024

/* More is taken than given and the other way round in turn, so that gaps shrink and grow. */
static void random_steps(uint64_t where, uint64_t bytes)
{
	start_model(where, FEW, bytes);
	found = missed = 0;
	for (int i = 0; i < 30000; i++) {
		change(i / 1000 % 2 ? 3 : 5);
		check_tree(&gaps);
		check_model(&gaps);
		find();
	}
	assert_true(found > 3000 && missed > 3000);
}

static void random_steps_in_pages(void **state)
{
	(void)state;
	random_steps(FEW * FL_PAGE_SIZE, FL_PAGE_SIZE);
}

static void random_steps_in_bytes_from_0(void **state)
{
	(void)state;
	random_steps(0, 1);
}

static void random_steps_up_to_the_highest_address(void **state)
{
	(void)state;
	random_steps((1ull << 57) - FEW * FL_PAGE_SIZE, FL_PAGE_SIZE);
}

/*
 * Scattered steps at first, so that there are tens of thousands of gaps, and then ever longer ranges, until few are left: nodes of all
 * levels split and merge, and the root grows and goes.
 */
static void nodes_of_all_levels_split_and_merge(void **state)
{
	uint32_t highest = 0, lowest = 0;

	(void)state;
	start_model(0, UNITS_MAX, FL_PAGE_SIZE);
	for (uint64_t round = 0; round < 4; round++) {
		for (uint64_t i = 0; i < 200000; i++) {
			uint64_t longest = i < 120000 ? 2 : i < 180000 ? 60 : 5000, from = below(units);
			uint64_t to = min_u64(from + 1 + below(longest), units);
			bool take = i < 120000 ? below(2) : (round + i / 100) % 2;

			assert_int_equal(gaps_prepare(&gaps, 1), 0);
			(take ? gaps_take : gaps_give)(&gaps, at(from), at(to));
			memset(model + from, !take, to - from);
			if (i % 4000 == 0)
				check_tree(&gaps);
			if (i % 20000 == 0)
				check_model(&gaps);
			if (i == 119999)
				highest = height_of(&gaps);
		}
		lowest = height_of(&gaps);
		check_tree(&gaps);
		check_model(&gaps);
		assert_in_range(highest, 4, 5);
		assert_true(lowest < highest);
	}
}

/* ---- Edges ---- */

static void nothing_is_free_at_first(void **state)
{
	uint64_t addr;

	(void)state;
	assert_false(gaps_is_free(&gaps, 0, 1));
	assert_false(gaps_find_low(&gaps, 1, 0, UINT64_MAX, 1, &addr));
	gaps_take(&gaps, 0, UINT64_MAX);
	assert_int_equal(gaps.count, 0);
	assert_int_equal(gaps_reset(&gaps, 100, 100), 0);
	assert_int_equal(gaps.count, 0);
}

static void a_search_ends_at_the_edges(void **state)
{
	uint64_t top = 1ull << 57, addr = 1;

	(void)state;
	assert_int_equal(gaps_reset(&gaps, 0, top), 0);
	assert_false(gaps_find_low(&gaps, 0, 0, top, 1, &addr));
	assert_false(gaps_find_high(&gaps, top + 1, 0, UINT64_MAX, 1, &addr));
	assert_false(gaps_find_high(&gaps, UINT64_MAX, 0, UINT64_MAX, 1, &addr));
	assert_false(gaps_find_low(&gaps, 1, 1, UINT64_MAX, 1ull << 63, &addr));
	assert_int_equal(addr, 1);
	assert_true(gaps_find_high(&gaps, top, 0, UINT64_MAX, 1ull << 63, &addr));
	assert_int_equal(addr, 0);
	assert_true(gaps_find_low(&gaps, 1, top - 1, UINT64_MAX, 1, &addr));
	assert_int_equal(addr, top - 1);
}

/* Where max alone does not tell: every gap is long enough, and one lies right. */
static void one_gap_of_many_is_aligned(void **state)
{
	uint64_t addr;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(gaps_prepare(&gaps, 1), 0);
		gaps_give(&gaps, i * 0x10000 + 0x1000, i * 0x10000 + 0x9000);
	}
	assert_false(gaps_find_low(&gaps, 0x2000, 0, UINT64_MAX, 0x10000, &addr));
	assert_false(gaps_find_high(&gaps, 0x2000, 0, UINT64_MAX, 0x10000, &addr));
	assert_int_equal(gaps_prepare(&gaps, 1), 0);
	gaps_give(&gaps, 777 * 0x10000, 777 * 0x10000 + 0x1000);
	assert_true(gaps_find_low(&gaps, 0x2000, 0, UINT64_MAX, 0x10000, &addr));
	assert_int_equal(addr, 777 * 0x10000);
	assert_true(gaps_find_high(&gaps, 0x2000, 0, UINT64_MAX, 0x10000, &addr));
	assert_int_equal(addr, 777 * 0x10000);
}

/* ---- Many ---- */

#define MANY 50000

static void take_every_other_page(uint64_t n)
{
	assert_int_equal(gaps_reset(&gaps, 0, 2 * n * FL_PAGE_SIZE), 0);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(gaps_prepare(&gaps, 1), 0);
		gaps_take(&gaps, 2 * i * FL_PAGE_SIZE, (2 * i + 1) * FL_PAGE_SIZE);
	}
	check_tree(&gaps);
	assert_int_equal(gaps.count, n);
}

static void many_gaps_make_a_low_tree(void **state)
{
	(void)state;
	take_every_other_page(MANY);
	assert_in_range(height_of(&gaps), 4, 6); /* as full as can be, and half full */
}

static void one_range_takes_and_gives_many(void **state)
{
	(void)state;
	take_every_other_page(MANY);
	gaps_give(&gaps, 0, FL_PAGE_SIZE);
	gaps_give(&gaps, 100 * FL_PAGE_SIZE + 1, MANY * FL_PAGE_SIZE);
	check_tree(&gaps);
	assert_true(gaps_is_free(&gaps, 101 * FL_PAGE_SIZE, MANY * FL_PAGE_SIZE));
	gaps_take(&gaps, 1, 2 * MANY * FL_PAGE_SIZE);
	check_tree(&gaps);
	assert_int_equal(gaps.count, 1);
	assert_true(gaps_is_free(&gaps, 0, 1));
}

static void exit_gives_all_nodes_back(void **state)
{
	(void)state;
	take_every_other_page(MANY);
	assert_int_equal(gaps_prepare(&gaps, 100), 0);
	assert_false(all_given_back());
	gaps_exit(&gaps);
	assert_true(all_given_back());
	assert_int_equal(gaps.count, 0);
	assert_int_equal(gaps_reset(&gaps, 0, 1), 0);
}

static void check_same(const struct gap_node *a, const struct gap_node *b)
{
	assert_ptr_not_equal(a, b);
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->n, b->n);
	for (uint32_t i = 0; i < a->n; i++)
		if (a->level)
			check_same(a->child[i], b->child[i]);
		else
			assert_true(a->start[i] == b->start[i] && a->end[i] == b->end[i]);
}

static void a_copy_is_the_same_and_apart(void **state)
{
	struct gaps copy;

	(void)state;
	take_every_other_page(1000);
	gaps_init(&copy, &arena);
	assert_int_equal(gaps_copy(&copy, &gaps), 0);
	check_tree(&copy);
	check_same(copy.root, gaps.root);
	gaps_take(&gaps, 0, UINT64_MAX);
	check_tree(&copy);
	assert_int_equal(copy.count, 1000);
	gaps_exit(&copy);
	assert_int_equal(gaps_copy(&copy, &gaps), 0);
	assert_int_equal(copy.count, 0);
}

/* ---- Over budget ---- */

static void fill_arena(void)
{
	allowed = charged;
	while (arena_alloc(&arena, sizeof(struct gap_node)))
		;
}

/* It has nodes that nobody knows. */
static void start_again(void)
{
	arena_exit(&arena);
	start(NULL);
}

static void after_prepare_nothing_can_fail(void **state)
{
	(void)state;
	assert_int_equal(gaps_reset(&gaps, 0, 1000), 0);
	assert_int_equal(gaps_prepare(&gaps, 300), 0);
	fill_arena();
	for (uint64_t i = 0; i < 200; i++)
		gaps_take(&gaps, 2 * i + 1, 2 * i + 2);
	for (uint64_t i = 0; i < 100; i++)
		gaps_give(&gaps, 2000 + 2 * i, 2001 + 2 * i);
	check_tree(&gaps);
	assert_int_equal(gaps.count, 301);
	start_again();
}

/* Makes every node on the path to addr full: what goes in there next splits all of them, and the root. */
static bool path_is_full(uint64_t addr)
{
	const struct gap_node *n = gaps.root;

	while (n->level) {
		uint32_t i = 0;

		if (n->n < GAPS_INNER_MAX)
			return false;
		while (i + 1 < n->n && n->first[i + 1] <= addr)
			i++;
		n = n->child[i];
	}
	return n->n == GAPS_LEAF_MAX;
}

/* Downwards, as a space fills, until the lowest path is full: nodes split near their ends, and stay fuller than half. */
static void fill_lowest_path(uint32_t height, uint64_t *low)
{
	for (uint64_t i = 1u << 20; height_of(&gaps) < height || !path_is_full(0); i--) {
		assert_int_equal(gaps_prepare(&gaps, 1), 0);
		*low = 1000 * i;
		gaps_give(&gaps, *low, *low + 1);
		assert_true(i > 1);
	}
}

static void what_is_prepared_is_enough_when_all_levels_split(void **state)
{
	uint64_t low = 0;

	(void)state;
	for (uint32_t height = 1; height <= 3; height++) {
		fill_lowest_path(height, &low);
		assert_int_equal(height_of(&gaps), height);
		gaps_exit(&gaps);
		fill_lowest_path(height, &low);
		while (gaps.spares) { /* no more than what is asked for now */
			struct gap_node *n = gaps.spare;

			gaps.spare = n->next_spare;
			gaps.spares--;
			arena_free(&arena, n, sizeof *n);
		}
		assert_int_equal(gaps_prepare(&gaps, 1), 0);
		assert_int_equal(gaps.spares, height + 1);
		gaps_give(&gaps, low - 10, low - 9);
		assert_int_equal(gaps.spares, 0);
		assert_int_equal(height_of(&gaps), height + 1);
		check_tree(&gaps);
		gaps_exit(&gaps);
	}
}

static void over_budget_nothing_changes(void **state)
{
	uint64_t nodes;
	struct gaps copy;

	(void)state;
	take_every_other_page(1000);
	gaps_init(&copy, &arena);
	allowed = charged;
	nodes = nodes_in_arena();
	assert_int_equal(gaps_prepare(&gaps, 1000), -ENOMEM);
	assert_int_equal(gaps_copy(&copy, &gaps), -ENOMEM);
	assert_int_equal(copy.count, 0);
	assert_null(copy.root);
	assert_int_equal(copy.spares, 0);
	check_tree(&gaps);
	assert_int_equal(gaps.count, 1000);
	assert_int_equal(nodes_in_arena(), nodes);
}

static void a_failed_reset_changes_nothing(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < GAPS_LEAF_MAX; i++) {
		assert_int_equal(gaps_prepare(&gaps, 1), 0);
		gaps_give(&gaps, 2 * i, 2 * i + 1);
	}
	assert_int_equal(gaps.spares, 0); /* the leaf had room */
	fill_arena();
	assert_int_equal(gaps_reset(&gaps, 0, 1), -ENOMEM);
	check_tree(&gaps);
	assert_int_equal(gaps.count, GAPS_LEAF_MAX);
	start_again();
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_free_at_first),
		T(a_search_ends_at_the_edges),
		T(one_gap_of_many_is_aligned),
		T(random_steps_in_pages),
		T(random_steps_in_bytes_from_0),
		T(random_steps_up_to_the_highest_address),
		T(nodes_of_all_levels_split_and_merge),
		T(many_gaps_make_a_low_tree),
		T(one_range_takes_and_gives_many),
		T(exit_gives_all_nodes_back),
		T(a_copy_is_the_same_and_apart),
		T(after_prepare_nothing_can_fail),
		T(what_is_prepared_is_enough_when_all_levels_split),
		T(over_budget_nothing_changes),
		T(a_failed_reset_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
