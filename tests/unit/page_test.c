/* SPDX-License-Identifier: Apache-2.0 */
/* cache/page.c: the state machine, the table that finds pages, the page lock, pins, and what a page costs. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "cache/page.h"
#include "cache/policy.h"
#include "util/compiler.h"

#define FRAMES 1000

static int start(void **state)
{
	(void)state;
	assert_int_equal(budget_init(64UL << 20), 0);
	policy_reset();
	return page_table_init(FRAMES);
}

static int end(void **state)
{
	(void)state;
	page_table_exit();
	return budget_used() != budget_fixed_pages();
}

static struct page_key key(uint16_t as, uint64_t index)
{
	return (struct page_key){.as = as, .index = index};
}

static enum page_state state_of(pfn_t pfn)
{
	return page_state_of(page_word(pfn));
}

/* ---- The state machine ---- */

/* A locked page brought to a state by the functions that lead there. */
static pfn_t page_in(enum page_state s)
{
	static uint64_t index;
	pfn_t pfn = page_insert(key(1, index++));

	assert_int_not_equal(pfn, PFN_NONE);
	if (s == PAGE_READING)
		return pfn;
	page_read_done(pfn, s != PAGE_CLEAN && s != PAGE_EVICTING);
	if (s == PAGE_EVICTING)
		page_begin_evict(pfn);
	if (s == PAGE_WRITEBACK || s == PAGE_REDIRTY)
		page_begin_writeback(pfn);
	if (s == PAGE_REDIRTY)
		page_make_dirty(pfn);
	assert_int_equal(state_of(pfn), s);
	return pfn;
}

static void read_clean(pfn_t pfn)
{
	page_read_done(pfn, false);
}

static void read_dirty(pfn_t pfn)
{
	page_read_done(pfn, true);
}

static const struct {
	const char *name;
	void (*fn)(pfn_t pfn);
	enum page_state from, to;
} arrows[] = {
	{"read_done", read_clean, PAGE_READING, PAGE_CLEAN},
	{"read_done dirty", read_dirty, PAGE_READING, PAGE_DIRTY},
	{"make_dirty", page_make_dirty, PAGE_CLEAN, PAGE_DIRTY},
	{"make_dirty", page_make_dirty, PAGE_DIRTY, PAGE_DIRTY},
	{"make_dirty", page_make_dirty, PAGE_WRITEBACK, PAGE_REDIRTY},
	{"make_dirty", page_make_dirty, PAGE_REDIRTY, PAGE_REDIRTY},
	{"begin_writeback", page_begin_writeback, PAGE_DIRTY, PAGE_WRITEBACK},
	{"end_writeback", page_end_writeback, PAGE_WRITEBACK, PAGE_CLEAN},
	{"end_writeback", page_end_writeback, PAGE_REDIRTY, PAGE_DIRTY},
	{"fail_writeback", page_fail_writeback, PAGE_WRITEBACK, PAGE_DIRTY},
	{"fail_writeback", page_fail_writeback, PAGE_REDIRTY, PAGE_DIRTY},
	{"begin_evict", page_begin_evict, PAGE_CLEAN, PAGE_EVICTING},
	{"rescue", page_rescue, PAGE_EVICTING, PAGE_CLEAN},
	{"discard", page_discard, PAGE_CLEAN, PAGE_EVICTING},
	{"discard", page_discard, PAGE_DIRTY, PAGE_EVICTING},
};

static void each_transition_leads_where_the_drawing_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(arrows); i++) {
		pfn_t pfn = page_in(arrows[i].from);

		arrows[i].fn(pfn);
		assert_int_equal(state_of(pfn), arrows[i].to);
		assert_true(page_word(pfn) & PG_LOCKED);
		page_unlock(pfn);
	}
}

static bool drawn(enum page_state from, enum page_state to)
{
	for (size_t i = 0; i < ARRAY_SIZE(arrows); i++)
		if (arrows[i].from == from && arrows[i].to == to && from != to)
			return true;
	return (from == PAGE_ABSENT && to == PAGE_READING) || (to == PAGE_ABSENT && (from == PAGE_READING || from == PAGE_EVICTING));
}

static void every_other_transition_is_refused(void **state)
{
	(void)state;
	for (unsigned from = 0; from < PAGE_STATES; from++)
		for (unsigned to = 0; to < PAGE_STATES; to++)
			assert_int_equal(page_transition_ok(from, to), drawn(from, to));
	assert_false(page_transition_ok(PAGE_STATES, PAGE_CLEAN));
	assert_false(page_transition_ok(PAGE_CLEAN, PAGE_STATES));
}

/* In a child, which must end by abort(). */
static void assert_aborts(void (*fn)(pfn_t pfn), enum page_state from)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = {0};
		pfn_t pfn = page_in(from);

		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		fn(pfn);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void a_transition_from_the_wrong_state_aborts(void **state)
{
	(void)state;
	assert_aborts(page_begin_evict, PAGE_DIRTY); /* a dirty page would be dropped */
	assert_aborts(page_begin_evict, PAGE_WRITEBACK);
	assert_aborts(page_begin_writeback, PAGE_CLEAN);
	assert_aborts(page_begin_writeback, PAGE_WRITEBACK); /* two writes of one page */
	assert_aborts(page_discard, PAGE_WRITEBACK);
	assert_aborts(page_make_dirty, PAGE_READING);
	assert_aborts(page_make_dirty, PAGE_EVICTING);
	assert_aborts(page_end_writeback, PAGE_CLEAN);
	assert_aborts(page_fail_writeback, PAGE_DIRTY);
	assert_aborts(page_rescue, PAGE_CLEAN);
	assert_aborts(page_remove, PAGE_DIRTY);
	assert_aborts(page_remove, PAGE_CLEAN);
	assert_aborts(read_clean, PAGE_DIRTY);
}

static void unlock_and_evict(pfn_t pfn)
{
	page_unlock(pfn);
	page_begin_evict(pfn);
}

static void a_transition_without_the_lock_aborts(void **state)
{
	(void)state;
	assert_aborts(unlock_and_evict, PAGE_CLEAN);
}

static void a_failed_write_back_leaves_its_mark_until_one_succeeds(void **state)
{
	pfn_t pfn = page_in(PAGE_WRITEBACK);

	(void)state;
	page_fail_writeback(pfn);
	assert_true(page_word(pfn) & PG_ERROR);
	page_begin_writeback(pfn);
	assert_true(page_word(pfn) & PG_ERROR);
	page_end_writeback(pfn);
	assert_false(page_word(pfn) & PG_ERROR);
	page_unlock(pfn);
}

/* ---- The table ---- */

static void a_page_is_found_until_it_is_removed(void **state)
{
	pfn_t pfn = page_insert(key(3, 77));

	(void)state;
	assert_int_equal(page_find(key(3, 77)), pfn);
	assert_int_equal(page_find(key(3, 78)), PFN_NONE);
	assert_int_equal(page_find(key(4, 77)), PFN_NONE);
	assert_int_equal(page_insert(key(3, 77)), PFN_NONE);
	page_read_done(pfn, false);
	page_unlock(pfn);
	assert_int_equal(page_find_lock(key(3, 77)), pfn);
	page_begin_evict(pfn);
	page_remove(pfn);
	assert_int_equal(page_find(key(3, 77)), PFN_NONE);
	assert_int_equal(page_find_lock(key(3, 77)), PFN_NONE);
}

/* So many that chains are long; taken out of their middles, fronts and ends. */
static void chains_survive_removal_in_any_order(void **state)
{
	pfn_t pfn[FRAMES];
	unsigned order[FRAMES];

	(void)state;
	srand(5);
	for (unsigned i = 0; i < FRAMES; i++) {
		pfn[i] = page_insert(key((uint16_t)(i % 7), (uint64_t)i * 64));
		assert_int_not_equal(pfn[i], PFN_NONE);
		page_unlock(pfn[i]);
		order[i] = i;
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		unsigned j = i + (unsigned)rand() % (FRAMES - i), out = order[j];

		order[j] = order[i];
		assert_int_equal(page_find_lock(key((uint16_t)(out % 7), (uint64_t)out * 64)), pfn[out]);
		page_remove(pfn[out]);
		for (unsigned k = 0; k < FRAMES; k += 97)
			if (k == out)
				assert_int_equal(page_find(key((uint16_t)(k % 7), (uint64_t)k * 64)), PFN_NONE);
		order[i] = out;
		for (unsigned k = i + 1; k < FRAMES; k += 131)
			assert_int_equal(page_find(key((uint16_t)(order[k] % 7), (uint64_t)order[k] * 64)), pfn[order[k]]);
	}
}

static void entries_are_used_again(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20 * FRAMES; i++) {
		pfn_t pfn = page_insert(key((uint16_t)i, i));

		assert_int_not_equal(pfn, PFN_NONE);
		page_set_flags(pfn, PG_REFERENCED | PG_ERROR);
		assert_true(page_pin(pfn));
		page_remove(pfn);
		assert_int_equal(page_word(pfn), PAGE_ABSENT);
	}
	assert_true(page_table_high() < 10);
}

static void indices_have_forty_bits(void **state)
{
	static const uint64_t indices[] = {0, 1, UINT32_MAX, 1ULL << 32, (1ULL << 32) + 1, 1ULL << 39, PAGE_INDEX_MAX};
	pfn_t pfn[ARRAY_SIZE(indices)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(indices); i++) {
		pfn[i] = page_insert(key(UINT16_MAX, indices[i]));
		assert_int_not_equal(pfn[i], PFN_NONE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(indices); i++) {
		assert_int_equal(page_find(key(UINT16_MAX, indices[i])), pfn[i]);
		assert_int_equal(page_key(pfn[i]).as, UINT16_MAX);
		assert_int_equal(page_key(pfn[i]).index, indices[i]);
		page_remove(pfn[i]);
	}
}

/* ---- Those that are not clean ---- */

static bool is_unclean(enum page_state s)
{
	return s != PAGE_ABSENT && s != PAGE_CLEAN && s != PAGE_EVICTING;
}

static void assert_all_unclean_are_found(void)
{
	pfn_t found = page_next_unclean(0);

	for (pfn_t p = 0; p < page_table_high(); p++) {
		if (!is_unclean(state_of(p)))
			continue;
		assert_int_equal(found, p);
		found = page_next_unclean(p + 1);
	}
	assert_int_equal(found, PFN_NONE);
}

static bool keep_odd(struct page_key k, uint32_t word)
{
	return k.index % 2 && page_state_of(word) != PAGE_EVICTING;
}

/* A page that goes to and fro 256 times is counted as often as it is there. */
static void the_first_of_a_group_is_found(void **state)
{
	pfn_t p = page_in(PAGE_READING);

	(void)state;
	assert_all_unclean_are_found();
	page_read_done(p, true);
	for (int i = 0; i < 256; i++) {
		assert_int_equal(page_next_unclean(0), p);
		page_begin_writeback(p);
		page_end_writeback(p);
		assert_int_equal(page_next_unclean(0), PFN_NONE);
		page_make_dirty(p);
	}
	page_unlock(p);
}

/* In every state and at random; and what a child of fork keeps is dirty. */
static void those_that_are_not_clean_are_found(void **state)
{
	static const enum page_state states[] = {PAGE_CLEAN, PAGE_READING, PAGE_DIRTY, PAGE_WRITEBACK, PAGE_REDIRTY, PAGE_EVICTING};
	unsigned seed = 1;

	(void)state;
	assert_all_unclean_are_found();
	for (int i = 0; i < FRAMES / 2; i++)
		page_unlock(page_in(i < 192 ? PAGE_CLEAN : states[i % (int)ARRAY_SIZE(states)]));
	assert_all_unclean_are_found();
	for (int turn = 0; turn < 20000; turn++) {
		const size_t n = (size_t)rand_r(&seed) % ARRAY_SIZE(arrows);
		pfn_t p = (pfn_t)rand_r(&seed) % page_table_high();

		if (state_of(p) != arrows[n].from)
			continue;
		page_lock(p);
		arrows[n].fn(p);
		page_unlock(p);
		if (turn % 50 == 0)
			assert_all_unclean_are_found();
	}
	assert_all_unclean_are_found();
	assert_true(page_table_fork_child(keep_odd) > 0);
	assert_all_unclean_are_found();
}

static void a_page_costs_sixteen_bytes(void **state)
{
	static const uint64_t frames[] = {100, 1000, 65536, 1 << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		uint64_t before;

		page_table_exit();
		before = budget_used();
		assert_int_equal(page_table_init(frames[i]), 0);
		assert_true(page_table_bytes() <= page_align_up(frames[i] * 16 + 4));
		assert_int_equal(budget_used() - before, page_table_bytes() >> FL_PAGE_SHIFT);
	}
}

static void a_table_beyond_the_budget_is_refused(void **state)
{
	uint64_t used;

	(void)state;
	page_table_exit();
	used = budget_used();
	assert_int_equal(page_table_init((64UL << 20) / 16 * 2), -ENOMEM);
	assert_int_equal(budget_used(), used);
	assert_int_equal(page_table_init(FRAMES), 0);
}

/* ---- Locks and pins ---- */

static void pins_stop_at_their_limit(void **state)
{
	pfn_t pfn = page_in(PAGE_CLEAN);

	(void)state;
	page_unpin(pfn); /* nothing to undo */
	assert_int_equal(page_pins_of(page_word(pfn)), 0);
	for (unsigned i = 0; i < PG_PINS_MAX; i++)
		assert_true(page_pin(pfn));
	assert_false(page_pin(pfn));
	assert_int_equal(page_pins_of(page_word(pfn)), PG_PINS_MAX);
	assert_int_equal(state_of(pfn), PAGE_CLEAN);
	for (unsigned i = 0; i < PG_PINS_MAX; i++)
		page_unpin(pfn);
	assert_int_equal(page_pins_of(page_word(pfn)), 0);
	page_unlock(pfn);
}

static void a_held_lock_is_not_given_twice(void **state)
{
	pfn_t pfn = page_in(PAGE_CLEAN);

	(void)state;
	assert_false(page_trylock(pfn));
	page_unlock(pfn);
	assert_true(page_trylock(pfn));
	page_unlock(pfn);
}

static void *wait_for_removal(void *arg)
{
	(void)arg;
	return (void *)(uintptr_t)page_find_lock(key(9, 9));
}

static void who_waits_for_a_page_that_goes_finds_nothing(void **state)
{
	pfn_t pfn = page_insert(key(9, 9));
	pthread_t t[4];
	void *found;

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, wait_for_removal, NULL);
	while (!(page_word(pfn) & PG_WAITERS))
		usleep(100);
	page_remove(pfn);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &found);
		assert_int_equal((uintptr_t)found, PFN_NONE);
	}
}

static void *wait_for_change(void *arg)
{
	pfn_t pfn = *(pfn_t *)arg;
	uint32_t w;

	while (page_state_of(w = page_word(pfn)) == PAGE_WRITEBACK)
		page_wait(pfn, w);
	return NULL;
}

static void the_end_of_a_write_back_wakes_who_waits_for_it(void **state)
{
	pfn_t pfn = page_in(PAGE_WRITEBACK);
	pthread_t t[4];

	(void)state;
	page_unlock(pfn);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, wait_for_change, &pfn);
	while (!(page_word(pfn) & PG_WAITERS))
		usleep(100);
	page_lock(pfn);
	page_end_writeback(pfn);
	page_unlock(pfn);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

/* ---- Many threads ---- */

#define KEYS 64
#define THREADS 4
#define STEPS 30000

static uint64_t inside[KEYS]; /* plain: the page lock of the key guards it */
static _Atomic uint64_t inserted, removed;

static void use_page(pfn_t pfn, uint64_t k, unsigned r)
{
	assert_int_equal(page_key(pfn).index, k);
	assert_int_equal(inside[k], 0);
	inside[k] = pfn + 1;
	if (r & 8)
		sched_yield();
	inside[k] = 0;
}

static void *insert_and_remove(void *arg)
{
	unsigned r = (unsigned)(uintptr_t)arg * 77777 + 1;

	for (int i = 0; i < STEPS; i++) {
		uint64_t k = (r = r * 1664525 + 1013904223) >> 8 & (KEYS - 1);
		pfn_t pfn = r >> 20 & 1 ? page_insert(key(2, k)) : PFN_NONE;

		if (pfn != PFN_NONE) {
			atomic_fetch_add(&inserted, 1);
			use_page(pfn, k, r);
			page_read_done(pfn, false);
			page_unlock(pfn);
		} else if ((pfn = page_find_lock(key(2, k))) != PFN_NONE) {
			use_page(pfn, k, r);
			if (r >> 21 & 1) {
				page_begin_evict(pfn);
				page_remove(pfn);
				atomic_fetch_add(&removed, 1);
			} else {
				page_unlock(pfn);
			}
		}
	}
	return NULL;
}

static void threads_on_the_same_keys_exclude_each_other(void **state)
{
	pthread_t t[THREADS];
	uint64_t left = 0;

	(void)state;
	atomic_store(&inserted, 0);
	atomic_store(&removed, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, insert_and_remove, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (uint64_t k = 0; k < KEYS; k++)
		left += page_find(key(2, k)) != PFN_NONE;
	assert_int_equal(left, atomic_load(&inserted) - atomic_load(&removed));
	assert_true(page_table_high() <= KEYS + THREADS);
}

/* ---- Huge pages ---- */

#define HEAD 1024UL /* the first page of one */

static void put_out(pfn_t pfn)
{
	if (state_of(pfn) != PAGE_READING)
		page_begin_evict(pfn);
	page_remove(pfn);
}

static pfn_t huge_in(void)
{
	pfn_t pfn = page_insert_huge(key(1, HEAD));

	assert_int_not_equal(pfn, PFN_NONE);
	page_read_done(pfn, false);
	return pfn;
}

static void a_huge_page_is_there_for_all_of_its_pages(void **state)
{
	pfn_t pfn = huge_in();
	bool busy;

	(void)state;
	assert_true(page_any_huge());
	assert_int_equal(page_count_of(page_word(pfn)), HUGE_PAGES);
	assert_int_equal(page_find(key(1, HEAD)), pfn);
	assert_int_equal(page_find(key(1, HEAD + 1)), PFN_NONE);
	for (uint64_t i = 0; i < HUGE_PAGES; i++)
		assert_int_equal(page_find_any(key(1, HEAD + i)), pfn);
	assert_int_equal(page_find_any(key(1, HEAD - 1)), PFN_NONE);
	assert_int_equal(page_find_any(key(1, HEAD + HUGE_PAGES)), PFN_NONE);
	assert_int_equal(page_find_any(key(2, HEAD + 1)), PFN_NONE);
	page_unlock(pfn);
	assert_int_equal(page_find_trylock(key(1, HEAD), &busy), PFN_NONE); /* it is no small page */
	assert_int_equal(page_find_lock_any(key(1, HEAD + 300)), pfn);
	put_out(pfn);
	assert_false(page_any_huge());
	assert_int_equal(page_find_any(key(1, HEAD)), PFN_NONE);
}

static void a_huge_page_and_a_part_of_it_exclude_each_other(void **state)
{
	static const uint64_t parts[] = {0, 1, 300, HUGE_PAGES - 1};
	pfn_t pfn;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		pfn = page_insert(key(1, HEAD + parts[i]));
		assert_int_equal(page_insert_huge(key(1, HEAD)), PFN_NONE);
		put_out(pfn);
		pfn = huge_in();
		assert_int_equal(page_insert(key(1, HEAD + parts[i])), PFN_NONE);
		assert_int_equal(page_insert_ahead(key(1, HEAD + parts[i])), PFN_NONE);
		put_out(pfn);
	}
	pfn = huge_in();
	assert_int_equal(page_insert_huge(key(1, HEAD)), PFN_NONE);
	put_out(page_insert(key(1, HEAD - 1))); /* neighbours, and another file, are nothing to it */
	put_out(page_insert(key(1, HEAD + HUGE_PAGES)));
	put_out(page_insert(key(2, HEAD + 1)));
	put_out(pfn);
	assert_false(page_any_huge());
}

static void a_split_leaves_small_pages_as_they_were_counted(void **state)
{
	uint64_t before = policy_pages(POLICY_STREAMED);

	(void)state;
	page_split(huge_in());
	assert_false(page_any_huge());
	assert_int_equal(policy_pages(POLICY_STREAMED), before + HUGE_PAGES);
	for (uint64_t i = 0; i < HUGE_PAGES; i++) {
		bool busy;
		pfn_t pfn = page_find_trylock(key(1, HEAD + i), &busy);

		assert_int_not_equal(pfn, PFN_NONE);
		assert_int_equal(state_of(pfn), PAGE_CLEAN);
		assert_int_equal(page_count_of(page_word(pfn)), 1);
		page_cool(pfn);
		put_out(pfn);
	}
	assert_int_equal(policy_pages(POLICY_STREAMED), before);
	assert_int_equal(policy_pages(POLICY_PROBATION), 0);
}

static void a_huge_page_that_cools_counts_as_all_of_its_pages(void **state)
{
	pfn_t pfn = huge_in();

	(void)state;
	page_cool(pfn);
	assert_int_equal(policy_pages(POLICY_STREAMED), 0);
	assert_int_equal(policy_pages(POLICY_PROBATION), HUGE_PAGES);
	put_out(pfn);
	assert_int_equal(policy_pages(POLICY_PROBATION), 0);
}

static void a_locked_page_is_busy(void **state)
{
	pfn_t pfn = page_in(PAGE_CLEAN);
	struct page_key k = page_key(pfn);
	bool busy = false;

	(void)state;
	assert_int_equal(page_find_trylock(k, &busy), PFN_NONE);
	assert_true(busy);
	page_unlock(pfn);
	assert_int_equal(page_find_trylock(k, &busy), pfn);
	assert_false(busy);
	put_out(pfn);
	assert_int_equal(page_find_trylock(k, &busy), PFN_NONE);
	assert_false(busy);
}

static _Atomic bool huge_is_there, huge_over;
static _Atomic uint32_t smalls, huges;

/* Small pages come and go while the huge one is not there; each side says when it has what excludes the other. */
static void *insert_parts(void *arg)
{
	unsigned r = (unsigned)(uintptr_t)arg * 77777 + 1;

	while (!atomic_load(&huge_over)) {
		pfn_t pfn = page_insert(key(1, HEAD + ((r = r * 1664525 + 1013904223) >> 8) % HUGE_PAGES));

		if (pfn == PFN_NONE)
			continue;
		atomic_fetch_add(&smalls, 1);
		assert_false(atomic_load(&huge_is_there));
		atomic_fetch_sub(&smalls, 1);
		put_out(pfn);
		if (r & 16)
			sched_yield();
	}
	return NULL;
}

static void remove_parts(void)
{
	for (uint64_t i = 0; i < HUGE_PAGES; i++)
		put_out(page_find_lock_any(key(1, HEAD + i)));
}

static void threads_see_a_huge_page_or_parts_of_it(void **state)
{
	pthread_t t[2];

	(void)state;
	atomic_store(&huge_over, false);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, insert_parts, (void *)i);
	for (int i = 0; i < 20000 || atomic_load(&huges) < 20; i++) {
		pfn_t pfn = page_insert_huge(key(1, HEAD));

		if (pfn == PFN_NONE)
			continue;
		atomic_store(&huge_is_there, true);
		assert_int_equal(atomic_load(&smalls), 0);
		page_read_done(pfn, false);
		atomic_store(&huge_is_there, false);
		if (atomic_fetch_add(&huges, 1) % 2) {
			page_split(pfn);
			remove_parts();
		} else {
			put_out(pfn);
		}
	}
	atomic_store(&huge_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_false(page_any_huge());
	assert_int_equal(policy_pages(POLICY_STREAMED) + policy_pages(POLICY_PROBATION), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_transition_leads_where_the_drawing_says),
		T(every_other_transition_is_refused),
		T(a_transition_from_the_wrong_state_aborts),
		T(a_transition_without_the_lock_aborts),
		T(a_failed_write_back_leaves_its_mark_until_one_succeeds),
		T(a_page_is_found_until_it_is_removed),
		T(chains_survive_removal_in_any_order),
		T(entries_are_used_again),
		T(indices_have_forty_bits),
		T(the_first_of_a_group_is_found),
		T(those_that_are_not_clean_are_found),
		T(a_page_costs_sixteen_bytes),
		T(a_table_beyond_the_budget_is_refused),
		T(pins_stop_at_their_limit),
		T(a_held_lock_is_not_given_twice),
		T(who_waits_for_a_page_that_goes_finds_nothing),
		T(the_end_of_a_write_back_wakes_who_waits_for_it),
		T(threads_on_the_same_keys_exclude_each_other),
		T(a_huge_page_is_there_for_all_of_its_pages),
		T(a_huge_page_and_a_part_of_it_exclude_each_other),
		T(a_split_leaves_small_pages_as_they_were_counted),
		T(a_huge_page_that_cools_counts_as_all_of_its_pages),
		T(a_locked_page_is_busy),
		T(threads_see_a_huge_page_or_parts_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
