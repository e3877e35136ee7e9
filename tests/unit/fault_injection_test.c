/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every n-th read, write and sync of the store fails in turn, over the simulated MMU: an access fails and the next one
 * succeeds, an error of write-back is reported once, and nothing that was stored is lost.
 */
#include "sim_fixture.h"
#include "store/store.h"

#define PAGES 64
#define NTH_MAX 12

static char rule[64];

static const char *nth(const char *op, const char *error, int n, int count)
{
	snprintf(rule, sizeof rule, "%s:%s:%d:%d", op, error, n, count);
	return rule;
}

static uint64_t *at(uint64_t *map, uint64_t page)
{
	return map + page * WORDS_PER_PAGE;
}

static void unmap(uint64_t *map, uint64_t pages)
{
	assert_int_equal(fl_munmap(map, pages * FL_PAGE_SIZE), 0);
}

/* ---- Reads ---- */

static void check_nth_read(int n, int flags, bool write)
{
	int fd = pattern_file(PAGES), failed = 0;
	uint64_t *map, v;

	sim_start(nth("read", "eio", n, 1));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, flags);
	assert_int_equal(fl_madvise(map, PAGES * FL_PAGE_SIZE, MADV_RANDOM), 0);
	for (uint64_t p = 0; p < PAGES; p++) {
		int err = write ? sim_store64(at(map, p), p) : sim_load64(at(map, p), &v);

		if (err) {
			assert_int_equal(err, -EIO);
			assert_int_equal(p, n - 1);
			failed++;
			err = write ? sim_store64(at(map, p), p) : sim_load64(at(map, p), &v);
		}
		assert_int_equal(err, 0);
		assert_int_equal(load(at(map, p)), write ? p : pattern(p * WORDS_PER_PAGE));
		assert_int_equal(load(at(map, p) + 511), pattern(p * WORDS_PER_PAGE + 511));
	}
	assert_int_equal(failed, 1);
	unmap(map, PAGES);
	sim_stop();
	close(fd);
}

static void the_nth_read_fails_one_access(void **state)
{
	(void)state;
	for (int n = 1; n <= NTH_MAX; n++) {
		check_nth_read(n, MAP_SHARED, false);
		check_nth_read(n, MAP_SHARED, true);
		check_nth_read(n, MAP_PRIVATE, false);
		check_nth_read(n, MAP_PRIVATE, true);
	}
}

/* The page that was asked for is read again alone; the others were only a guess. */
static void a_failure_of_pages_read_ahead_is_none(void **state)
{
	(void)state;
	for (int n = 2; n <= 6; n++) {
		int fd = pattern_file(PAGES);
		struct fl_stats st = {.size = sizeof st};
		uint64_t *map;

		sim_start(nth("read", "eio", n, 1));
		map = sim_map(fd, PAGES, PROT_READ, MAP_SHARED);
		for (uint64_t p = 0; p < PAGES; p++)
			assert_int_equal(load(at(map, p)), pattern(p * WORDS_PER_PAGE));
		fl_stats(&st);
		assert_int_equal(st.read_errors, 0);
		unmap(map, PAGES);
		sim_stop();
		close(fd);
	}
}

static void check_short_read(int n, int flags, bool write)
{
	int fd = pattern_file(PAGES);
	uint64_t *map;

	sim_start(nth("read", "short", n, 1));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, flags);
	for (uint64_t p = 0; p < PAGES; p++) {
		if (write)
			store(at(map, p), p);
		for (uint64_t i = 1; i < WORDS_PER_PAGE; i += 5)
			assert_int_equal(load(at(map, p) + i), pattern(p * WORDS_PER_PAGE + i));
	}
	unmap(map, PAGES);
	sim_stop();
	close(fd);
}

/* A read that stops in the middle of the file must not leave zeros behind. */
static void a_short_read_is_read_again(void **state)
{
	(void)state;
	for (int n = 1; n <= NTH_MAX; n++) {
		check_short_read(n, MAP_SHARED, false);
		check_short_read(n, MAP_SHARED, true);
		check_short_read(n, MAP_PRIVATE, false);
		check_short_read(n, MAP_PRIVATE, true);
	}
}

/* ---- Writes ---- */

/* Every second page is dirty, so that each is a write of its own. */
static void dirty_alternate_pages(uint64_t *map)
{
	for (uint64_t p = 0; p < PAGES; p += 2)
		store(at(map, p), p + 7);
}

static void check_file(int fd)
{
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i++)
		assert_int_equal(word_in_file(fd, i), i % (2 * WORDS_PER_PAGE) ? pattern(i) : i / WORDS_PER_PAGE + 7);
}

static int sync_all(uint64_t *map, int flags)
{
	return fl_msync(map, PAGES * FL_PAGE_SIZE, flags) ? errno : 0;
}

static void check_nth_write(int n, const char *error, int expected)
{
	int fd = pattern_file(PAGES);
	uint64_t *map, *other;

	sim_start(nth("write", error, n, 1));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	other = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	dirty_alternate_pages(map);
	assert_int_equal(sync_all(map, MS_SYNC), expected);
	for (uint64_t p = 0; p < PAGES; p += 2) /* the others were tried all the same, and none left memory */
		assert_int_equal(load(at(map, p)), p + 7);
	assert_int_equal(sync_all(map, MS_SYNC), 0);
	check_file(fd);
	assert_int_equal(sync_all(other, MS_SYNC), expected); /* each mapping is told once */
	assert_int_equal(sync_all(other, MS_SYNC), 0);
	assert_int_equal(sync_all(map, MS_SYNC), 0);
	unmap(other, PAGES);
	unmap(map, PAGES);
	check_file(fd);
	sim_stop();
	close(fd);
}

static void the_nth_write_fails_one_msync(void **state)
{
	(void)state;
	for (int n = 1; n <= NTH_MAX; n++) {
		check_nth_write(n, "eio", EIO);
		check_nth_write(n, "enospc", ENOSPC);
		check_nth_write(n, "edquot", EDQUOT);
		check_nth_write(n, "short", ENOSPC);
	}
}

/* What is mapped after the failure has not asked before it: nothing to tell. */
static void a_new_mapping_is_not_told_of_old_errors(void **state)
{
	int fd = pattern_file(PAGES);
	uint64_t *map, *later;

	(void)state;
	sim_start(nth("write", "eio", 1, 1));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	dirty_alternate_pages(map);
	assert_int_equal(sync_all(map, MS_ASYNC), EIO);
	later = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(sync_all(later, MS_SYNC), 0);
	unmap(later, PAGES);
	unmap(map, PAGES);
	check_file(fd);
	sim_stop();
	close(fd);
}

static void a_failed_sync_is_reported(void **state)
{
	int fd = pattern_file(PAGES);
	uint64_t *map;

	(void)state;
	sim_start(nth("sync", "eio", 1, 1));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	dirty_alternate_pages(map);
	assert_int_equal(sync_all(map, MS_ASYNC), 0); /* promises no durability */
	assert_int_equal(sync_all(map, MS_SYNC), EIO);
	assert_int_equal(sync_all(map, MS_SYNC), 0);
	unmap(map, PAGES);
	check_file(fd);
	sim_stop();
	close(fd);
}

/* The pages wait for the next who maps the file. */
static void munmap_with_a_failing_write_loses_nothing(void **state)
{
	int fd = pattern_file(PAGES);
	struct fl_stats st = {.size = sizeof st};
	uint64_t *map;

	(void)state;
	sim_start(nth("write", "eio", 1, 5));
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	dirty_alternate_pages(map);
	unmap(map, PAGES);
	fl_stats(&st);
	assert_int_equal(st.files, 1);
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (uint64_t p = 0; p < PAGES; p += 2)
		assert_int_equal(load(at(map, p)), p + 7);
	assert_int_equal(sync_all(map, MS_SYNC), 0);
	check_file(fd);
	unmap(map, PAGES);
	sim_stop();
	close(fd);
}

/* ---- Reclaim: four times the budget is dirtied ---- */

#define BIG (4 * BUDGET / FL_PAGE_SIZE)

static void check_reclaim(const char *inject)
{
	int fd = pattern_file(BIG), err;
	uint64_t *map;

	sim_start(inject);
	map = sim_map(fd, BIG, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (int round = 1; round <= 2; round++)
		for (uint64_t p = 0; p < BIG; p++)
			store(at(map, p * 37 % BIG), p * 37 % BIG + (uint64_t)round);
	for (uint64_t p = 0; p < BIG; p++)
		assert_int_equal(load(at(map, p)), p + 2);
	err = fl_msync(map, BIG * FL_PAGE_SIZE, MS_SYNC) ? errno : 0;
	assert_true(err == EIO || err == ENOSPC); /* of a write that reclaim made */
	assert_int_equal(fl_msync(map, BIG * FL_PAGE_SIZE, MS_SYNC), 0);
	unmap(map, BIG);
	for (uint64_t p = 0; p < BIG; p++) {
		assert_int_equal(word_in_file(fd, p * WORDS_PER_PAGE), p + 2);
		assert_int_equal(word_in_file(fd, p * WORDS_PER_PAGE + 1), pattern(p * WORDS_PER_PAGE + 1));
	}
	sim_stop();
	close(fd);
}

static void pages_that_reclaim_fails_to_write_stay_and_are_written_later(void **state)
{
	(void)state;
	check_reclaim("write:eio:1:1");
	check_reclaim("write:eio:5:20");
	check_reclaim("write:short:3:10,write:eio:40:10");
}

/* All is dirty and nothing can be written: the access fails, and what is in memory can still be had. */
static void a_store_that_takes_nothing_fails_the_access_that_needs_room(void **state)
{
	int fd = pattern_file(BIG);
	uint64_t *map, p;
	int err = 0;

	(void)state;
	sim_start("write:enospc:1:0");
	map = sim_map(fd, BIG, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (p = 0; p < BIG && !(err = sim_store64(at(map, p), p + 1)); p++)
		;
	assert_int_equal(err, -ENOMEM);
	for (uint64_t q = 0; q < p; q++)
		assert_int_equal(load(at(map, q)), q + 1);
	assert_int_equal(fl_msync(map, BIG * FL_PAGE_SIZE, MS_SYNC), -1);
	assert_int_equal(errno, ENOSPC);
	fault_store_set_rules(NULL); /* room again */
	for (; p < BIG; p++)
		store(at(map, p), p + 1);
	fl_msync(map, BIG * FL_PAGE_SIZE, MS_SYNC);
	assert_int_equal(fl_msync(map, BIG * FL_PAGE_SIZE, MS_SYNC), 0);
	unmap(map, BIG);
	for (uint64_t q = 0; q < BIG; q++)
		assert_int_equal(word_in_file(fd, q * WORDS_PER_PAGE), q + 1);
	sim_stop();
	close(fd);
}

static void rules_that_cannot_be_read_are_refused(void **state)
{
	static const char *const bad[] = {
		"read",       "read:eio",
		"read:eio:0", "write:eagain:1",
		"open:eio:1", "read:eio:x",
		":::",        "read:eio:1,read:eio:1,read:eio:1,read:eio:1,read:eio:1,read:eio:1,read:eio:1,read:eio:1,read:eio:1"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(fault_store_set_rules(bad[i]), -EINVAL);
	assert_int_equal(fault_store_set_rules("read:eio:1,write:short:2:3,sync:eio:1:0,read:delay=5:1"), 0);
	assert_int_equal(fault_store_set_rules(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nth_read_fails_one_access),
		cmocka_unit_test(a_failure_of_pages_read_ahead_is_none),
		cmocka_unit_test(a_short_read_is_read_again),
		cmocka_unit_test(the_nth_write_fails_one_msync),
		cmocka_unit_test(a_new_mapping_is_not_told_of_old_errors),
		cmocka_unit_test(a_failed_sync_is_reported),
		cmocka_unit_test(munmap_with_a_failing_write_loses_nothing),
		cmocka_unit_test(pages_that_reclaim_fails_to_write_stay_and_are_written_later),
		cmocka_unit_test(a_store_that_takes_nothing_fails_the_access_that_needs_room),
		cmocka_unit_test(rules_that_cannot_be_read_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
