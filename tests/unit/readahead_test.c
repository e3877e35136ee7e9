/* SPDX-License-Identifier: Apache-2.0 */
/* cache/readahead.c: windows grow on sequential evidence, stream by stream, and stay at one page without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "cache/huge.h"
#include "cache/readahead.h"

#define MAX 64

static struct address_space file;

static int start(void **state)
{
	(void)state;
	file = (struct address_space){.id = 1};
	readahead_init(MAX, MAX * 16);
	return 0;
}

/* A miss at `index`, served in full; how many pages were read. */
static uint32_t miss(uint64_t index)
{
	uint32_t n = readahead_window(&file, index, RA_NORMAL, false);

	readahead_done(&file, index, n, n);
	return n;
}

static void sequential_reads_double_up_to_the_limit(void **state)
{
	static const uint32_t expected[] = {1, 4, 8, 16, 32, 64, 64, 64};
	uint64_t at = 1000;

	(void)state;
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		uint32_t n = miss(at);

		assert_int_equal(n, expected[i]);
		at += n;
	}
}

static void the_start_of_a_file_is_a_stream_too(void **state)
{
	(void)state;
	assert_int_equal(miss(0), 1);
	assert_int_equal(miss(1), 4);
	assert_int_equal(miss(5), 8);
}

static void random_reads_are_one_page(void **state)
{
	uint64_t pages = 0;

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++)
		pages += miss((uint64_t)rand() % (1 << 26));
	assert_true(pages <= 20000 + 20);
}

static void backward_reads_are_one_page(void **state)
{
	(void)state;
	for (uint64_t at = 10000; at > 0; at--)
		assert_int_equal(miss(at), 1);
}

static void reads_with_gaps_are_one_page(void **state)
{
	(void)state;
	for (uint64_t at = 0; at < 100000; at += 17)
		assert_int_equal(miss(at), 1);
}

static void interleaved_streams_grow_each_for_itself(void **state)
{
	uint64_t at[RA_STREAMS];
	uint32_t n = 0;

	(void)state;
	for (int i = 0; i < RA_STREAMS; i++)
		at[i] = (uint64_t)i * 1000000;
	for (int round = 0; round < 6; round++)
		for (int i = 0; i < RA_STREAMS; i++) {
			n = miss(at[i]);
			assert_int_equal(n, round == 0 ? 1 : 2u << round);
			at[i] += n;
		}
	assert_int_equal(n, MAX);
}

/* Random misses in between neither stop a stream nor are read ahead. */
static void a_stream_survives_random_misses(void **state)
{
	uint64_t next = 1000, x = 88172645463325252ull;
	uint32_t window = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		window = miss(next);
		next += window;
		for (int k = 0; k < 3; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			assert_int_equal(miss((1ull << 30) + x % (1ull << 30)), 1);
		}
	}
	assert_true(window >= MAX / 4);
}

static void advice_decides(void **state)
{
	(void)state;
	for (uint64_t at = 0; at < 100; at++) {
		assert_int_equal(readahead_window(&file, at, RA_RANDOM, false), 1);
		assert_int_equal(readahead_window(&file, at * 1000, RA_SEQUENTIAL, false), MAX);
		readahead_done(&file, at, 1, 1);
	}
}

static void the_limit_is_at_least_a_page(void **state)
{
	(void)state;
	readahead_init(0, 0);
	assert_int_equal(miss(5), 1);
	assert_int_equal(miss(6), 1);
	assert_int_equal(readahead_window(&file, 7, RA_SEQUENTIAL, false), 1);
}

/* The highest index takes 40 bits, the window 16. */
static void the_end_of_the_largest_file(void **state)
{
	uint64_t at = PAGE_INDEX_MAX - 20;

	(void)state;
	assert_int_equal(miss(at), 1);
	assert_int_equal(miss(at + 1), 4);
	assert_int_equal(miss(at + 5), 8);
	assert_int_equal(miss(5), 1);
}

#define T(name) cmocka_unit_test_setup(name, start)

/* A miss of one page, and what goes ahead of the program then; how many pages that is in all. */
static uint64_t miss_and_start(uint64_t index, uint64_t *low, uint64_t *high)
{
	struct ra_next next = {.grown = false};
	uint64_t pages = 0;

	readahead_note(&file, index);
	while (readahead_next(&file, index, false, &next)) {
		*low = next.index < *low ? next.index : *low;
		*high = next.index + next.pages > *high ? next.index + next.pages : *high;
		pages += next.pages;
		readahead_started(&file, &next, next.pages);
	}
	return pages;
}

static void a_walk_backwards_is_read_ahead_of(void **state)
{
	uint64_t low = UINT64_MAX, high = 0, pages = 0;

	(void)state;
	for (uint64_t at = 10000; at > 9996; at--)
		pages += miss_and_start(at, &low, &high);
	assert_true(pages > 0);
	assert_int_equal(high, 9997); /* what the program has read ends there */
	assert_int_equal(high - low, pages);
}

/* It goes on from window to window, and never reads below the start of the file. */
static void a_walk_backwards_goes_on_to_the_start(void **state)
{
	uint64_t low = UINT64_MAX, high = 0, pages = 0, at;
	struct ra_next next = {.grown = false};

	(void)state;
	for (at = 600; at > 596; at--)
		pages += miss_and_start(at, &low, &high);
	for (at = 596; at > 0; at--) {
		assert_true(low < at); /* the page was on its way */
		readahead_touch(&file, at);
		while (readahead_next(&file, at, false, &next)) {
			assert_int_equal(next.index + next.pages, low);
			low = next.index;
			pages += next.pages;
			readahead_started(&file, &next, next.pages);
		}
	}
	assert_int_equal(low, 0);
	assert_int_equal(pages, 597);
}

static void strides_are_read_ahead_page_by_page(void **state)
{
	static const int64_t steps[] = {7, -7, 100, -1000, 2};

	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		uint64_t low = UINT64_MAX, high = 0, at = 1000000 * (i + 1), n = 0;

		start(state);
		for (int k = 0; k < 3; k++, at += (uint64_t)steps[i])
			assert_int_equal(miss_and_start(at, &low, &high), 0);
		for (int k = 0; k < 3; k++, at += (uint64_t)steps[i])
			n += miss_and_start(at, &low, &high);
		assert_true(n >= 2);
		assert_int_equal((high - 1 - at) % (uint64_t)(steps[i] < 0 ? -steps[i] : steps[i]), 0);
	}
}

/* What has been read ahead and mapped is not missed: the next miss is beyond it, and the track goes on. */
static void a_stride_goes_on_after_what_was_read_at_once(void **state)
{
	uint64_t at = 5000, low = UINT64_MAX, high = 0, n = 0, last = 0;

	(void)state;
	for (int k = 0; k < 12; k++, at = n ? high - 1 + 7 : at + 7) {
		last = n;
		n = miss_and_start(at, &low, &high);
		assert_true(n >= last);
	}
	assert_int_equal(n, 32);
	assert_int_equal(miss_and_start(high - 1 + 14, &low, &high), 0); /* one was passed over */
}

static void random_misses_start_nothing(void **state)
{
	uint64_t low = 0, high = 0, pages = 0;

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++)
		pages += miss_and_start((uint64_t)rand() % 4096, &low, &high); /* of a small file, so that many are near each other */
	assert_true(pages < 20);
}

/* ---- Over what is in memory; and huge pages ---- */

static int start_with_table(void **state)
{
	assert_int_equal(budget_init(64UL << 20), 0);
	assert_int_equal(page_table_init(1000), 0);
	return start(state);
}

static int end_with_table(void **state)
{
	(void)state;
	page_table_exit();
	huge_init(0);
	return 0;
}

static void put_in_memory(uint64_t index, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		pfn_t pfn = page_insert((struct page_key){.as = file.id, .index = index + i});

		page_read_done(pfn, false);
		page_unlock(pfn);
	}
	atomic_fetch_add(&file.nr_pages, n);
}

static void a_stream_goes_over_pages_in_memory(void **state)
{
	(void)state;
	miss(1000);
	miss(1001);
	miss(1005); /* expects 1013 */
	put_in_memory(1013, 20);
	readahead_pass(&file, 1033);
	assert_int_equal(miss(1033), 16);
	put_in_memory(1049, 3); /* and a hole: what comes after that is not the same stream */
	readahead_pass(&file, 1053);
	assert_int_equal(miss(1053), 1);
	put_in_memory(1054, 100); /* too far */
	readahead_pass(&file, 1154);
	assert_int_equal(miss(1154), 1);
}

/* What a window has lost to a page in memory says nothing of the stream. */
static void a_window_that_ends_at_a_page_in_memory_grows(void **state)
{
	static const uint32_t expected[] = {1, 4, 8, 16, 32, 64, 64};
	uint64_t at = 1000;

	(void)state;
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		readahead_pass(&file, at);
		assert_int_equal(readahead_window(&file, at, RA_NORMAL, false), expected[i]);
		put_in_memory(at + 1, 1);
		readahead_done(&file, at, 1, expected[i]);
		at += 2;
	}
}

static uint32_t jump_and_miss(uint64_t index, uint32_t jumped)
{
	assert_int_equal(readahead_jump(&file, index), jumped);
	return miss(index);
}

static void what_others_have_taken_is_jumped_over(void **state)
{
	(void)state;
	for (uint64_t at = 1000; at < 1029; at += miss(at)) /* expects 1029 */
		;
	assert_int_equal(jump_and_miss(1029 + 65, 0), 1); /* too far */
	assert_int_equal(jump_and_miss(1029 + 40, 40), 8);
	assert_int_equal(jump_and_miss(1077 + 5, 0), 1); /* that was no proof */
	assert_int_equal(jump_and_miss(1077, 0), 16);
	put_in_memory(1100, 1); /* somebody is there */
	assert_int_equal(jump_and_miss(1093 + 40, 40), 16);
}

/* One fault: what is started at once, and how much of it is huge. */
static uint32_t go_on(uint64_t at, uint64_t *end)
{
	struct ra_next next = {.grown = false};
	uint32_t huge = 0;

	while (readahead_next(&file, at, true, &next)) {
		uint32_t n = next.huge ? HUGE_PAGES : next.pages;

		assert_int_equal(next.index, *end);
		huge += next.huge;
		*end += n;
		readahead_started(&file, &next, n);
	}
	return huge;
}

/* The program comes to each huge page once: the more have proved right, the more are under way. */
static void huge_pages_under_way_double_up_to_the_limit(void **state)
{
	static const uint32_t under_way[] = {1, 2, 4, 8, 8, 8};
	uint64_t at = 0, end = 0;

	(void)state;
	huge_init(1 << 17);
	assert_int_equal(huge_ahead(), 8 * HUGE_PAGES);
	while (end < HUGE_PAGES) /* a stream of small windows comes first */
		end += miss(end);
	at = end - MAX;
	end = at + MAX;
	for (size_t i = 0; i < sizeof under_way / sizeof *under_way; i++) {
		uint64_t before = end;

		go_on(at, &end);
		assert_true(end > before);
		at = i ? at + HUGE_PAGES : before;
		assert_int_equal(end - at, under_way[i] * HUGE_PAGES);
	}
}

static void without_huge_pages_nothing_is_huge(void **state)
{
	uint64_t end = 0;

	(void)state;
	huge_init(1000);
	assert_int_equal(huge_ahead(), 0);
	while (end < HUGE_PAGES)
		end += miss(end);
	assert_false(readahead_is_long(MAX));
	assert_int_equal(go_on(end - MAX, &end), 0);
}

#define WITH_TABLE(name) cmocka_unit_test_setup_teardown(name, start_with_table, end_with_table)

/* Only where windows are read one after the other, and only as long as the stream goes on. */
static void a_stream_reads_on_by_windows(void **state)
{
	uint64_t at = 1000;
	uint32_t n;

	(void)state;
	for (n = 1; n < MAX; at += n) {
		n = readahead_window(&file, at, RA_NORMAL, true);
		assert_true(n <= MAX);
		readahead_done(&file, at, n, n);
	}
	for (uint32_t was = n; was < 4 * MAX; was = n) {
		n = readahead_window(&file, at, RA_NORMAL, true);
		assert_int_equal(n, 2 * was);
		assert_int_equal(readahead_window(&file, at, RA_NORMAL, false), MAX);
		readahead_done(&file, at, MAX, MAX);
		readahead_grown(&file, at + 1, 7); /* no stream is there */
		for (uint32_t done = MAX; done < n; done += MAX)
			readahead_done(&file, at + done, MAX, MAX);
		at += n;
		readahead_grown(&file, at, n);
	}
	assert_int_equal(readahead_window(&file, at + 5, RA_NORMAL, true), 1);
	assert_int_equal(readahead_window(&file, at, RA_RANDOM, true), 1);
	assert_true(readahead_window(&file, 5, RA_SEQUENTIAL, true) > MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sequential_reads_double_up_to_the_limit),
		T(the_start_of_a_file_is_a_stream_too),
		T(random_reads_are_one_page),
		T(backward_reads_are_one_page),
		T(reads_with_gaps_are_one_page),
		T(a_stream_reads_on_by_windows),
		T(interleaved_streams_grow_each_for_itself),
		T(a_stream_survives_random_misses),
		T(advice_decides),
		T(the_limit_is_at_least_a_page),
		T(the_end_of_the_largest_file),
		T(a_walk_backwards_is_read_ahead_of),
		T(a_walk_backwards_goes_on_to_the_start),
		T(strides_are_read_ahead_page_by_page),
		T(a_stride_goes_on_after_what_was_read_at_once),
		T(random_misses_start_nothing),
		WITH_TABLE(a_stream_goes_over_pages_in_memory),
		WITH_TABLE(a_window_that_ends_at_a_page_in_memory_grows),
		WITH_TABLE(what_others_have_taken_is_jumped_over),
		WITH_TABLE(huge_pages_under_way_double_up_to_the_limit),
		WITH_TABLE(without_huge_pages_nothing_is_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
