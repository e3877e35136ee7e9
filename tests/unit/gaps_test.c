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
	struct gap *list = NULL, *n;
	uint64_t was = allowed, count = 0;

	allowed = charged;
	while ((n = arena_alloc(&arena, sizeof *n))) {
		n->up = list;
		list = n;
		count++;
	}
	while ((n = list)) {
		list = n->up;
		arena_free(&arena, n, sizeof *n);
	}
	allowed = was;
	return count;
}

/* The whole pages that were taken hold nothing but nodes. */
static bool all_given_back(void)
{
	return nodes_in_arena() == charged * (FL_PAGE_SIZE / 64);
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

static uint64_t max_of(const struct gap *n)
{
	return n ? n->max : 0;
}

static int height_of(const struct gap *n)
{
	return n ? n->height : 0;
}

struct walk {
	uint64_t count, end; /* so far; of the last gap */
};

static void check_node(const struct gap *n)
{
	const struct gap *lower = n->child[0], *higher = n->child[1];
	int lean = height_of(higher) - height_of(lower);

	assert_true(!lower || lower->up == n);
	assert_true(!higher || higher->up == n);
	assert_in_range(lean + 1, 0, 2);
	assert_int_equal(n->height, 1 + (lean > 0 ? height_of(higher) : height_of(lower)));
	assert_int_equal(n->max, max_u64(n->end - n->start, max_u64(max_of(lower), max_of(higher))));
}

static void check_subtree(const struct gap *n, struct walk *w)
{
	if (!n)
		return;
	check_subtree(n->child[0], w);
	assert_true(w->count == 0 || n->start > w->end);
	assert_true(n->start < n->end);
	check_node(n);
	*w = (struct walk){w->count + 1, n->end};
	check_subtree(n->child[1], w);
}

static void check_tree(const struct gaps *g)
{
	struct walk w = {0};
	uint64_t spares = 0;

	assert_true(!g->root || !g->root->up);
	check_subtree(g->root, &w);
	assert_int_equal(g->count, w.count);
	for (const struct gap *n = g->spare; n; n = n->up)
		spares++;
	assert_int_equal(g->spares, spares);
}

/* ---- The model ---- */

#define UNITS 1024

static bool model[UNITS];
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

	for (int i = 0; i < UNITS; i++)
		runs += model[i] && !(i && model[i - 1]);
	return runs;
}

static void check_subtree_is_free(const struct gap *n)
{
	if (!n)
		return;
	assert_true(model_is_free((n->start - base) / unit, (n->end - base) / unit));
	check_subtree_is_free(n->child[0]);
	check_subtree_is_free(n->child[1]);
}

static uint64_t bytes_of(const struct gap *n)
{
	return n ? n->end - n->start + bytes_of(n->child[0]) + bytes_of(n->child[1]) : 0;
}

/* Every gap is free, and the gaps are as many as the runs of free units, with as many bytes. */
static void check_model(const struct gaps *g)
{
	uint64_t units = 0;

	for (int i = 0; i < UNITS; i++)
		units += model[i];
	check_subtree_is_free(g->root);
	assert_int_equal(bytes_of(g->root), units * unit);
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
	static const uint64_t longest[] = {2, 8, 64, UNITS};
	struct request r = {.len = 1 + below(longest[below(4)]), .high = UNITS, .align = below(2) ? 1 : 1ull << below(7)};
	uint64_t want = 1, addr = 1; /* both stay when there is nothing */
	bool expect;

	if (below(2)) {
		r.low = below(UNITS);
		r.high = below(UNITS + 1); /* below low, too */
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
	uint64_t from = below(UNITS), to = from + below(below(16) ? 8 : 200); /* an empty range, too */
	bool take = below(8) < takes_of_8;

	to = min_u64(to, UNITS);
	assert_int_equal(gaps_is_free(&gaps, at(from), at(to)), model_is_free(from, to));
	assert_int_equal(gaps_prepare(&gaps, 1), 0);
	if (take)
		gaps_take(&gaps, at(from), at(to));
	else
		gaps_give(&gaps, at(from), at(to));
	memset(model + from, !take, to - from);
	assert_int_equal(gaps_is_free(&gaps, at(from), at(to)), from == to || !take);
}

static void start_model(uint64_t where, uint64_t bytes)
{
	base = where;
	unit = bytes;
	assert_int_equal(gaps_reset(&gaps, at(0), at(UNITS)), 0);
	memset(model, true, sizeof model);
}

/* More is taken than given and the other way round in turn, so that gaps shrink and grow. */
static void random_steps(uint64_t where, uint64_t bytes)
{
	start_model(where, bytes);
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
	random_steps(UNITS * FL_PAGE_SIZE, FL_PAGE_SIZE);
}

static void random_steps_in_bytes_from_0(void **state)
{
	(void)state;
	random_steps(0, 1);
}

static void random_steps_up_to_the_highest_address(void **state)
{
	(void)state;
	random_steps((1ull << 57) - UNITS * FL_PAGE_SIZE, FL_PAGE_SIZE);
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
	assert_in_range(gaps.root->height, 16, 22); /* log2(MANY), and 1.44 of that */
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

static void check_same(const struct gap *a, const struct gap *b)
{
	assert_int_equal(!a, !b);
	if (!a || !b)
		return;
	assert_ptr_not_equal(a, b);
	assert_true(a->start == b->start && a->end == b->end);
	check_same(a->child[0], b->child[0]);
	check_same(a->child[1], b->child[1]);
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

static void after_prepare_nothing_can_fail(void **state)
{
	(void)state;
	assert_int_equal(gaps_reset(&gaps, 0, 1000), 0);
	assert_int_equal(gaps_prepare(&gaps, 300), 0);
	allowed = charged;
	while (arena_alloc(&arena, sizeof(struct gap)))
		;
	for (uint64_t i = 0; i < 200; i++)
		gaps_take(&gaps, 2 * i + 1, 2 * i + 2);
	for (uint64_t i = 0; i < 100; i++)
		gaps_give(&gaps, 2000 + 2 * i, 2001 + 2 * i);
	check_tree(&gaps);
	assert_int_equal(gaps.count, 301);
	assert_int_equal(gaps.spares, 0);
	arena_exit(&arena); /* it has nodes that nobody knows */
	start(NULL);
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
	assert_int_equal(gaps_reset(&gaps, 0, 1000), 0);
	while (gaps_prepare(&gaps, (unsigned)gaps.spares + 1) == 0) {
		gaps_take(&gaps, 2 * gaps.count - 1, 2 * gaps.count);
		allowed = charged;
	}
	check_tree(&gaps);
	assert_int_equal(gaps.spares, 0);
	assert_int_equal(gaps.count, FL_PAGE_SIZE / 64);
	assert_int_equal(gaps_reset(&gaps, 0, 1), -ENOMEM);
	check_tree(&gaps);
	assert_int_equal(gaps.count, FL_PAGE_SIZE / 64);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_is_free_at_first),       T(a_search_ends_at_the_edges),     T(one_gap_of_many_is_aligned),
		T(random_steps_in_pages),          T(random_steps_in_bytes_from_0),   T(random_steps_up_to_the_highest_address),
		T(many_gaps_make_a_low_tree),      T(one_range_takes_and_gives_many), T(exit_gives_all_nodes_back),
		T(a_copy_is_the_same_and_apart),   T(after_prepare_nothing_can_fail), T(over_budget_nothing_changes),
		T(a_failed_reset_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
