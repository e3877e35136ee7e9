/* SPDX-License-Identifier: Apache-2.0 */
/* cache/policy.c over a page table of the test's own: who leaves, who stays, and what that costs. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "cache/policy.h"
#include "util/compiler.h"

#define PAGES 1024 /* that memory has room for */
#define KEYS 65536
#define STEP 16
#define NONE UINT32_MAX

static enum policy_sight sight;
static uint32_t word[PAGES], key[PAGES], entry_of[KEYS], nfree, free_entries[PAGES];
static bool used[PAGES], unmapped[PAGES];
static uint64_t looks, probes, evicted;

static int start(void **state)
{
	(void)state;
	assert_int_equal(budget_init(64UL << 20), 0);
	sight = POLICY_BLIND;
	nfree = 0;
	looks = probes = evicted = 0;
	for (uint32_t e = PAGES; e-- > 0; free_entries[nfree++] = e)
		key[e] = NONE;
	memset(used, 0, sizeof used);
	memset(unmapped, 0, sizeof unmapped);
	memset(entry_of, 0xff, sizeof entry_of);
	return policy_init(PAGES);
}

static int end(void **state)
{
	(void)state;
	policy_exit();
	return budget_used() != budget_fixed_pages();
}

static bool in_memory(uint32_t k)
{
	return entry_of[k] != NONE;
}

static bool in_main(uint32_t k)
{
	return in_memory(k) && (word[entry_of[k]] & POLICY_MAIN);
}

static uint32_t level(uint32_t k)
{
	return (word[entry_of[k]] & POLICY_LEVEL) >> POLICY_LEVEL_SHIFT;
}

static uint32_t pages_in_memory(void)
{
	return PAGES - nfree;
}

/* ---- Reclaim, as reclaim.c does it ---- */

static void take_out(uint32_t e)
{
	policy_leave(word[e]);
	entry_of[key[e]] = NONE;
	key[e] = NONE;
	free_entries[nfree++] = e;
}

static bool look_at(uint32_t e)
{
	uint32_t to;
	enum policy_verdict v = policy_judge(word[e], used[e], sight, &to);

	if (v == POLICY_EVICT) {
		policy_remember(key[e], word[e]);
		take_out(e);
		evicted++;
		return true;
	}
	policy_move(word[e], to);
	word[e] = to;
	used[e] = false;
	if (v == POLICY_PROBE) {
		unmapped[e] = true;
		probes++;
	}
	return false;
}

static bool sweep_some(enum policy_queue q)
{
	uint32_t at = policy_hand(q, STEP, PAGES);
	bool any = false;

	for (uint32_t i = 0; i < STEP; i++) {
		uint32_t e = (at + i) % PAGES;

		looks++;
		any |= key[e] != NONE && policy_is_due(q, word[e]) && look_at(e);
	}
	return any;
}

/* At least one page leaves; what "bounded" means: each look is counted, and there must be an end to it. */
static void reclaim_one(void)
{
	uint64_t first = looks, probed = probes;

	while (!sweep_some(policy_choose((uint32_t)(probes - probed))))
		assert_true(looks - first < 40 * PAGES);
}

static void insert(uint32_t k, bool ahead)
{
	uint32_t e;

	if (!nfree)
		reclaim_one();
	e = free_entries[--nfree];
	key[e] = k;
	entry_of[k] = e;
	used[e] = sight == POLICY_ACCESSED && !ahead;
	unmapped[e] = false;
	word[e] = policy_enter(k, ahead);
}

/* Whether the page was there. */
static bool use(uint32_t k)
{
	uint32_t e = entry_of[k];

	if (e == NONE) {
		insert(k, false);
		return false;
	}
	if (sight == POLICY_ACCESSED || unmapped[e])
		used[e] = true;
	unmapped[e] = false;
	return true;
}

static void use_range(uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		use(first + i);
}

/* It is out of memory, and was the last to leave. */
static void drive_out(uint32_t k, uint32_t *fresh)
{
	while (in_memory(k))
		use((*fresh)++);
}

static void empty_memory(void)
{
	for (uint32_t e = 0; e < PAGES; e++)
		if (key[e] != NONE)
			take_out(e);
	policy_reset();
}

/* ---- Tests ---- */

static void a_ghost_costs_four_bytes(void **state)
{
	static const uint64_t pages[] = {1, 200, PAGES, 65536, 1 << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		uint64_t before;

		policy_exit();
		before = budget_used();
		assert_int_equal(policy_init(pages[i]), 0);
		assert_true(policy_bytes() <= page_align_up((pages[i] + 16) * 4));
		assert_int_equal(budget_used() - before, policy_bytes() >> FL_PAGE_SHIFT);
	}
}

static void more_than_the_budget_is_refused(void **state)
{
	uint64_t used_before;

	(void)state;
	policy_exit();
	used_before = budget_used();
	assert_int_equal(policy_init((64UL << 20) / 4 + 16), -ENOMEM);
	assert_int_equal(budget_used(), used_before);
	assert_int_equal(policy_bytes(), 0);
}

static void without_ghosts_pages_come_and_go(void **state)
{
	(void)state;
	policy_exit();
	policy_reset();
	use_range(0, 3 * PAGES);
	use_range(0, PAGES);
	assert_int_equal(policy_pages(POLICY_PROBATION), pages_in_memory());
	assert_int_equal(policy_init(PAGES), 0);
}

static void pages_are_counted_where_they_are(void **state)
{
	(void)state;
	use_range(0, PAGES);
	assert_int_equal(policy_pages(POLICY_PROBATION), PAGES);
	use_range(PAGES, 100);
	use_range(0, 50);
	assert_int_equal(policy_pages(POLICY_PROBATION) + policy_pages(POLICY_PROTECTED), pages_in_memory());
	assert_true(policy_pages(POLICY_PROTECTED) > 0);
	for (uint32_t e = 0; e < PAGES; e++)
		if (key[e] != NONE)
			take_out(e);
	assert_int_equal(policy_pages(POLICY_PROBATION), 0);
	assert_int_equal(policy_pages(POLICY_PROTECTED), 0);
}

static void a_page_that_comes_back_soon_is_in_the_main_queue(void **state)
{
	uint32_t fresh = 1000;

	(void)state;
	use_range(fresh, PAGES);
	fresh += PAGES;
	use(1);
	assert_false(in_main(1));
	drive_out(1, &fresh);
	use(1);
	assert_true(in_main(1));
	assert_int_equal(level(1), 0);
}

static uint32_t generation(uint32_t w)
{
	return (w & POLICY_GENERATION) >> POLICY_GENERATION_SHIFT;
}

static void each_time_it_comes_back_it_stays_longer(void **state)
{
	uint32_t w = 0, life = 0;

	(void)state;
	for (uint32_t turn = 0; turn < 5; turn++) {
		policy_remember(1, w);
		w = policy_enter(1, false);
		assert_true(w & POLICY_MAIN);
		assert_int_equal((w & POLICY_LEVEL) >> POLICY_LEVEL_SHIFT, turn < 3 ? turn : 3);
		assert_true(generation(w) > life || turn > 3);
		life = generation(w);
		policy_leave(w);
	}
}

static void a_ghost_is_forgotten_after_as_many_evictions_as_memory_has_pages(void **state)
{
	uint32_t fresh = 1000;
	uint64_t since;

	(void)state;
	use_range(fresh, PAGES);
	fresh += PAGES;
	use(1);
	drive_out(1, &fresh);
	since = evicted;
	while (evicted < since + PAGES + PAGES / 32)
		use(fresh++);
	use(1);
	assert_false(in_main(1));
}

static void ghosts_are_no_more_than_they_have_room_for(void **state)
{
	uint32_t main = 0;

	(void)state;
	for (uint32_t k = 0; k < KEYS; k++)
		policy_remember(k, 0);
	for (uint32_t k = 0; k < KEYS; k++) {
		uint32_t w = policy_enter(k, false);

		main += !!(w & POLICY_MAIN);
		policy_leave(w);
	}
	assert_true(main <= policy_bytes() / 4);
	assert_true(main > PAGES / 2);
}

static void a_scan_does_not_drive_out_the_hot_set(void **state)
{
	uint32_t hot = PAGES / 4, missed = 0;

	(void)state;
	for (sight = POLICY_BLIND; sight <= POLICY_ACCESSED; sight++) {
		for (uint32_t turn = 0; turn < 20; turn++) { /* as they become known: beside other pages */
			use_range(0, hot);
			use_range(10000 + turn * PAGES, PAGES / 2);
		}
		missed = 0;
		for (uint32_t at = 0; at < 8 * PAGES; at++) {
			use(40000 + at);
			missed += !use(at % hot) && at >= hot;
		}
		assert_int_equal(missed, 0);
		empty_memory();
	}
}

/* Read, then stored to: that is a fault on a page in memory for each page of a scan. */
static void a_first_use_tells_nothing(void **state)
{
	(void)state;
	for (uint32_t k = 0; k < 3 * PAGES; k++) {
		use(k);
		used[entry_of[k]] = true;
	}
	assert_int_equal(policy_pages(POLICY_PROTECTED), 0);
}

static void a_use_after_the_first_round_promotes(void **state)
{
	uint32_t fresh = 1000;

	(void)state;
	sight = POLICY_ACCESSED;
	use_range(fresh, PAGES - 1);
	fresh += PAGES - 1;
	memset(used, 0, sizeof used);
	use(1);
	while (!in_main(1)) {
		assert_true(in_memory(1));
		use(1);
		use(fresh++);
	}
	assert_int_equal(level(1), 0);
}

static void pages_read_ahead_are_on_probation_until_used_twice(void **state)
{
	(void)state;
	sight = POLICY_ACCESSED;
	use_range(10000, PAGES);
	memset(used, 0, sizeof used);
	for (uint32_t k = 0; k < 4 * PAGES; k += 8) { /* a scan that uses each page that was read ahead, later */
		use(k);
		for (uint32_t i = 1; i < 8; i++)
			insert(k + i, true);
		if (k >= 32)
			for (uint32_t i = 1; i < 8; i++)
				use(k - 32 + i);
	}
	assert_true(policy_pages(POLICY_PROTECTED) < PAGES / 100); /* a few left before they were used, and came back */
}

static void a_page_read_ahead_again_is_as_good_as_missed(void **state)
{
	uint32_t fresh = 1000;

	(void)state;
	use_range(fresh, PAGES);
	fresh += PAGES;
	for (uint32_t k = 1; k < PAGES / 8; k++)
		insert(k, true);
	drive_out(1, &fresh);
	insert(1, true);
	assert_true(in_main(1));
}

/* Of pages that were used once, and of which nothing is known, a stream of any length leaves most. */
static void a_stream_makes_room_for_itself(void **state)
{
	uint32_t stay = 0;

	(void)state;
	use_range(0, PAGES);
	for (uint32_t k = 0; k < 10 * PAGES; k++)
		insert(PAGES + k % (2 * PAGES), true);
	for (uint32_t k = 0; k < PAGES; k++)
		stay += entry_of[k] != NONE;
	assert_true(stay > PAGES / 8 * 6);
}

/* Memory is full; pages 0 to n - 1 are in the main queue, at level 0. */
static void fill_main(uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		uint32_t bits = POLICY_MAIN | 1u << POLICY_GENERATION_SHIFT, e;

		insert(k, false);
		e = entry_of[k];
		policy_move(word[e], bits);
		word[e] = bits;
	}
	use_range(n, PAGES - n);
	memset(used, 0, sizeof used);
}

static void pages_of_the_main_queue_are_probed_before_they_leave(void **state)
{
	uint32_t e, to, bits;

	(void)state;
	fill_main(PAGES / 2);
	assert_true(in_main(1));
	e = entry_of[1];
	assert_int_equal(policy_judge(word[e], false, POLICY_SOFT_FAULT, &to), POLICY_PROBE);
	assert_true((to & POLICY_PROBED) && (to & POLICY_MAIN));
	assert_int_equal(policy_judge(to, false, POLICY_SOFT_FAULT, &bits), POLICY_EVICT);
	assert_int_equal(policy_judge(to, true, POLICY_SOFT_FAULT, &bits), POLICY_KEEP);
	assert_true((bits & POLICY_MAIN) && !(bits & POLICY_PROBED));
	assert_int_equal((bits & POLICY_LEVEL) >> POLICY_LEVEL_SHIFT, 1);
	/* Where nothing could be seen, it leaves at once. */
	assert_int_equal(policy_judge(word[e], false, POLICY_BLIND, &to), POLICY_EVICT);
	/* A look at accessed bits is the probe: there is nothing to unmap. */
	assert_int_equal(policy_judge(word[e], false, POLICY_ACCESSED, &to), POLICY_KEEP);
	assert_true((to & POLICY_PROBED) && (to & POLICY_MAIN));
	assert_int_equal(policy_judge(to, false, POLICY_ACCESSED, &bits), POLICY_EVICT);
	assert_int_equal(policy_judge(word[e], true, POLICY_ACCESSED, &to), POLICY_KEEP);
	assert_true(to & POLICY_PROBED);
}

/* How often a page of the hot set was missed, while others come back too and want into the main queue. */
static uint32_t missed_of_hot_set(enum policy_sight how)
{
	uint32_t hot = PAGES / 2, missed = 0;

	sight = how;
	fill_main(hot);
	for (uint32_t turn = 0; turn < 200; turn++) {
		use_range(10000 + turn % 8 * PAGES / 8, PAGES / 8);
		for (uint32_t k = 0; k < hot; k++)
			missed += !use(k);
	}
	empty_memory();
	return missed;
}

static void who_answers_the_probe_stays(void **state)
{
	uint32_t seen, blind = missed_of_hot_set(POLICY_BLIND);

	(void)state;
	assert_int_equal(probes, 0);
	seen = missed_of_hot_set(POLICY_SOFT_FAULT);
	assert_true(probes > PAGES);
	assert_true(seen < 200 * PAGES / 2 / 40);
	assert_true(seen < blind);
}

static void a_page_that_nobody_uses_leaves_in_bounded_steps(void **state)
{
	(void)state;
	for (sight = POLICY_BLIND; sight <= POLICY_ACCESSED; sight++) {
		fill_main(PAGES);
		use_range(0, PAGES); /* once more */
		memset(used, 0, sizeof used);
		looks = 0;
		while (pages_in_memory())
			reclaim_one();
		assert_true(looks < 100 * PAGES);
		assert_int_equal(policy_pages(POLICY_PROBATION) + policy_pages(POLICY_PROTECTED), 0);
	}
}

static void dead_pages_leave_the_main_queue_for_others(void **state)
{
	uint32_t dead = 0;

	(void)state;
	for (sight = POLICY_BLIND; sight <= POLICY_ACCESSED; sight++) {
		fill_main(PAGES);
		for (uint32_t turn = 0; turn < 60; turn++) /* the working set is another one now */
			for (uint32_t i = 0; i < PAGES / 2; i++) {
				use(20000 + (i * 7919 + turn) % (PAGES / 2));
				use(30000 + (turn * PAGES / 2 + i) % (20 * PAGES));
			}
		dead = 0;
		for (uint32_t k = 0; k < 2 * PAGES; k++)
			dead += in_memory(k);
		assert_true(dead < PAGES / 2);
		for (uint32_t i = 0; i < PAGES / 2; i++)
			assert_true(use(20000 + i));
		empty_memory();
	}
}

static void probation_gives_way_first_and_has_a_tenth(void **state)
{
	(void)state;
	fill_main(PAGES);
	for (uint32_t k = 10000; k < 10000 + 4 * PAGES; k++) {
		enum policy_queue q = policy_choose(0);
		uint64_t probation = policy_pages(POLICY_PROBATION), all = probation + policy_pages(POLICY_PROTECTED);

		assert_int_equal(q, probation * 10 >= all ? POLICY_PROBATION : POLICY_PROTECTED);
		use(k);
	}
	assert_in_range(policy_pages(POLICY_PROBATION), PAGES / 10 - STEP, PAGES / 10 + STEP);
}

/* Pages on probation after a scan. */
static uint64_t probation_settles_at(void)
{
	static uint32_t fresh;

	fresh = fresh ? fresh : 20000;
	for (uint32_t i = 0; i < 2 * PAGES; i++)
		use(fresh++);
	return policy_pages(POLICY_PROBATION);
}

/* `bits`: what the page was that left, and comes back. */
static void come_back(uint32_t k, uint32_t bits, uint32_t times)
{
	for (uint32_t i = 0; i < times; i++) {
		policy_remember(k, bits);
		policy_leave(policy_enter(k, false));
	}
}

static void the_share_of_probation_follows_the_ghosts_within_bounds(void **state)
{
	(void)state;
	fill_main(PAGES);
	assert_in_range(probation_settles_at(), PAGES / 10 - STEP, PAGES / 10 + STEP);
	come_back(60001, 0, PAGES / 10);
	assert_in_range(probation_settles_at(), PAGES / 5 - 2 * STEP, PAGES / 5 + 2 * STEP);
	come_back(60001, 0, 10 * PAGES);
	assert_in_range(probation_settles_at(), PAGES * 2 / 5 - STEP, PAGES * 2 / 5 + STEP);
	come_back(60002, POLICY_MAIN, 10 * PAGES);
	fill_main(PAGES);
	assert_in_range(probation_settles_at(), PAGES / 20 - STEP, PAGES / 20 + STEP);
}

static void cold_pages_leave_first(void **state)
{
	uint32_t e;

	(void)state;
	fill_main(PAGES / 2);
	e = entry_of[3];
	assert_true(in_main(3));
	policy_move(word[e], policy_cold());
	word[e] = policy_cold();
	for (uint32_t i = 0; i < PAGES / 4; i++)
		use(50000 + i);
	assert_false(in_memory(3));
	assert_true(in_memory(4));
}

static void after_a_reset_all_is_as_new(void **state)
{
	(void)state;
	fill_main(PAGES);
	policy_reset();
	assert_int_equal(policy_pages(POLICY_PROBATION) + policy_pages(POLICY_PROTECTED), 0);
	for (uint32_t e = 0; e < PAGES; e++) {
		word[e] = 0;
		policy_join(0);
	}
	assert_int_equal(policy_pages(POLICY_PROBATION), PAGES);
	assert_false(policy_enter(5, false) & POLICY_MAIN); /* nothing is remembered */
	policy_leave(0);
	while (pages_in_memory())
		reclaim_one();
}

#define THREADS 4

/* Each has pages of its own, and the hands and ghosts are everybody's. */
static void *come_and_go(void *arg)
{
	uint32_t base = (uint32_t)(uintptr_t)arg * 1000, words[100] = {0}, to;

	for (uint32_t turn = 0; turn < 500; turn++)
		for (uint32_t i = 0; i < 100; i++) {
			enum policy_queue q = policy_choose(0);

			if (turn) {
				policy_remember(base + i, words[i]);
				policy_leave(words[i]);
			}
			words[i] = policy_enter(base + i, i & 1);
			policy_hand(q, STEP, PAGES);
			if (policy_is_due(q, words[i]) && policy_judge(words[i], i & 2, POLICY_SOFT_FAULT, &to) != POLICY_EVICT) {
				policy_move(words[i], to);
				words[i] = to;
			}
		}
	for (uint32_t i = 0; i < 100; i++)
		policy_leave(words[i]);
	return NULL;
}

static void threads_do_not_lose_count(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, come_and_go, (void *)(i + 1)), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(policy_pages(POLICY_PROBATION), 0);
	assert_int_equal(policy_pages(POLICY_PROTECTED), 0);
	use_range(0, 2 * PAGES); /* and all goes on */
	while (pages_in_memory())
		reclaim_one();
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_ghost_costs_four_bytes),
		T(more_than_the_budget_is_refused),
		T(without_ghosts_pages_come_and_go),
		T(pages_are_counted_where_they_are),
		T(a_page_that_comes_back_soon_is_in_the_main_queue),
		T(each_time_it_comes_back_it_stays_longer),
		T(a_ghost_is_forgotten_after_as_many_evictions_as_memory_has_pages),
		T(ghosts_are_no_more_than_they_have_room_for),
		T(a_scan_does_not_drive_out_the_hot_set),
		T(a_first_use_tells_nothing),
		T(a_use_after_the_first_round_promotes),
		T(pages_read_ahead_are_on_probation_until_used_twice),
		T(a_page_read_ahead_again_is_as_good_as_missed),
		T(a_stream_makes_room_for_itself),
		T(pages_of_the_main_queue_are_probed_before_they_leave),
		T(who_answers_the_probe_stays),
		T(a_page_that_nobody_uses_leaves_in_bounded_steps),
		T(dead_pages_leave_the_main_queue_for_others),
		T(probation_gives_way_first_and_has_a_tenth),
		T(the_share_of_probation_follows_the_ghosts_within_bounds),
		T(cold_pages_leave_first),
		T(after_a_reset_all_is_as_new),
		T(threads_do_not_lose_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
