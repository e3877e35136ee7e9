/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over the simulated MMU does what it does over the real one: the ground that the other sim tests stand on. */
#include "cache/evict.h"
#include "cache/reclaim.h"
#include "sim_fixture.h"

#define PAGES 1024 /* four times the budget */

static void shared_pages_come_and_go(void **state)
{
	int fd = pattern_file(PAGES);
	uint64_t *a, *b;

	(void)state;
	sim_start(NULL);
	a = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	b = sim_map(fd, PAGES, PROT_READ, MAP_SHARED);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 333) {
		assert_int_equal(load(b + i), pattern(i));
		store(a + i, i);
		assert_int_equal(load(b + i), i);
	}
	sim_check_writable_is_dirty();
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 333)
		assert_int_equal(load(a + i), i);
	assert_int_equal(fl_munmap(b, PAGES * FL_PAGE_SIZE), 0);
	assert_int_equal(fl_munmap(a, PAGES * FL_PAGE_SIZE), 0);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i++)
		assert_int_equal(word_in_file(fd, i), i % 333 ? pattern(i) : i);
	sim_stop();
	close(fd);
}

static void private_pages_go_through_swap(void **state)
{
	int fd = pattern_file(PAGES);
	struct fl_stats st = {.size = sizeof st};
	uint64_t *a;

	(void)state;
	sim_start(NULL);
	a = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 501) {
		if (i & 1)
			assert_int_equal(load(a + i), pattern(i));
		store(a + i, i);
	}
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 501) {
		assert_int_equal(load(a + i), i);
		assert_int_equal(load(a + i + 1), pattern(i + 1));
	}
	fl_stats(&st);
	assert_true(st.swapped_bytes > 0);
	assert_int_equal(fl_munmap(a, PAGES * FL_PAGE_SIZE), 0);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 501)
		assert_int_equal(word_in_file(fd, i), pattern(i));
	sim_stop();
	close(fd);
}

static void errors_of_accesses(void **state)
{
	int fd = pattern_file(4);
	uint64_t *a, v;

	(void)state;
	sim_start(NULL);
	a = sim_map(fd, 8, PROT_READ, MAP_SHARED);
	assert_int_equal(sim_load64(a + 4 * WORDS_PER_PAGE, &v), -ENXIO);
	assert_int_equal(sim_store64(a, 1), -EFAULT);
	assert_int_equal(fl_mprotect(a, FL_PAGE_SIZE, PROT_NONE), 0);
	assert_int_equal(sim_load64(a, &v), -EFAULT);
	assert_int_equal(fl_munmap(a, 8 * FL_PAGE_SIZE), 0);
	assert_int_equal(sim_load64(a, &v), -EFAULT);
	sim_stop();
	close(fd);
}

static void a_moved_private_mapping_keeps_its_pages(void **state)
{
	int fd = pattern_file(64);
	uint64_t *a, *to;

	(void)state;
	sim_start(NULL);
	a = sim_map(fd, 64, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	to = sim_map(fd, 64, PROT_READ, MAP_SHARED);
	for (uint64_t p = 0; p < 64; p += 2)
		store(a + p * WORDS_PER_PAGE, p);
	for (uint64_t p = 1; p < 64; p += 4)
		assert_int_equal(load(a + p * WORDS_PER_PAGE), pattern(p * WORDS_PER_PAGE));
	assert_ptr_equal(fl_mremap(a, 64 * FL_PAGE_SIZE, 64 * FL_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	for (uint64_t p = 0; p < 64; p++)
		assert_int_equal(load(to + p * WORDS_PER_PAGE), p % 2 ? pattern(p * WORDS_PER_PAGE) : p);
	for (uint64_t p = 1; p < 64; p += 2)
		store(to + p * WORDS_PER_PAGE, p);
	for (uint64_t p = 0; p < 64; p++) {
		assert_int_equal(load(to + p * WORDS_PER_PAGE), p);
		assert_int_equal(word_in_file(fd, p * WORDS_PER_PAGE), pattern(p * WORDS_PER_PAGE));
	}
	assert_int_equal(fl_munmap(to, 64 * FL_PAGE_SIZE), 0);
	sim_stop();
	close(fd);
}

/* Kernels before 6.4. */
static void pages_mapped_without_write_protection_are_dirty(void **state)
{
	int fd = pattern_file(PAGES);
	uint64_t *a, *b;

	(void)state;
	sim_set_map_can_wp(false);
	sim_start(NULL);
	sim_set_map_can_wp(true);
	a = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	b = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i += 333) {
		assert_int_equal(load(a + i), pattern(i));
		assert_int_equal(load(b + i), pattern(i));
		sim_check_writable_is_dirty();
		store(b + i, i);
		assert_int_equal(load(a + i), i);
	}
	assert_int_equal(fl_munmap(a, PAGES * FL_PAGE_SIZE), 0);
	assert_int_equal(fl_munmap(b, PAGES * FL_PAGE_SIZE), 0);
	for (uint64_t i = 0; i < PAGES * WORDS_PER_PAGE; i++)
		assert_int_equal(word_in_file(fd, i), i % 333 ? pattern(i) : i);
	sim_stop();
	close(fd);
}

/* Whatever order its pages have in the table by then. */
static void what_a_stream_has_read_leaves_in_runs(void **state)
{
	const uint64_t pages = 4 * (16UL << 20) / FL_PAGE_SIZE;
	struct fl_options o = {.size = sizeof o, .budget = 16UL << 20, .faults = FL_FAULTS_INLINE};
	struct fl_stats st = {.size = sizeof st};
	int fd = pattern_file(pages);
	uint64_t *a, evictions, punches;

	(void)state;
	setenv("FAULTLINE_FRAMES", "shmem", 1);
	assert_int_equal(fl_init(&o), 0);
	a = sim_map(fd, pages, PROT_READ, MAP_SHARED);
	for (uint64_t p = 0; p < pages; p += 97) /* single pages, that leave in another order than they came */
		assert_int_equal(load(a + p * 31 % pages * WORDS_PER_PAGE), pattern(p * 31 % pages * WORDS_PER_PAGE));
	for (uint64_t p = 0; p < pages / 2; p++)
		assert_int_equal(load(a + p * WORDS_PER_PAGE), pattern(p * WORDS_PER_PAGE));
	fl_stats(&st);
	evictions = st.evictions;
	punches = sim_punches();
	for (uint64_t p = pages / 2; p < pages; p++)
		assert_int_equal(load(a + p * WORDS_PER_PAGE), pattern(p * WORDS_PER_PAGE));
	fl_stats(&st);
	evictions = st.evictions - evictions;
	punches = sim_punches() - punches;
	assert_true(evictions > pages / 4);
	assert_true(punches * 25 <= evictions);
	assert_int_equal(fl_munmap(a, pages * FL_PAGE_SIZE), 0);
	sim_stop();
	close(fd);
}

static void room_is_made_before_it_is_wanted(void **state)
{
	int fd = pattern_file(PAGES);
	uint64_t *a, room;

	(void)state;
	sim_start(NULL);
	a = sim_map(fd, PAGES, PROT_READ, MAP_SHARED);
	for (uint64_t p = 0; p < PAGES; p++)
		assert_int_equal(load(a + p * WORDS_PER_PAGE), pattern(p * WORDS_PER_PAGE));
	reclaim_ahead(32);
	room = budget_limit() - budget_used();
	assert_true(room >= 32 && room <= 32 + EVICT_BATCH);
	reclaim_ahead(16); /* it is there */
	assert_int_equal(budget_limit() - budget_used(), room);
	assert_int_equal(fl_munmap(a, PAGES * FL_PAGE_SIZE), 0);
	reclaim_ahead(1U << 20); /* as far as there are pages */
	sim_stop();
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_pages_come_and_go),
		cmocka_unit_test(private_pages_go_through_swap),
		cmocka_unit_test(errors_of_accesses),
		cmocka_unit_test(a_moved_private_mapping_keeps_its_pages),
		cmocka_unit_test(pages_mapped_without_write_protection_are_dirty),
		cmocka_unit_test(what_a_stream_has_read_leaves_in_runs),
		cmocka_unit_test(room_is_made_before_it_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
