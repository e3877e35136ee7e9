/* SPDX-License-Identifier: Apache-2.0 */
/* cache/writeback.c over the simulated MMU: what is written, when, and what becomes of stores made meanwhile. */
#include <pthread.h>

#include "cache/address_space.h"
#include "sim_fixture.h"

#define PAGES 64

static uint64_t *at(uint64_t *map, uint64_t page)
{
	return map + page * WORDS_PER_PAGE;
}

static struct fl_stats stats(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st;
}

static void sync_pages(uint64_t *map, uint64_t first, uint64_t n)
{
	assert_int_equal(fl_msync(at(map, first), n * FL_PAGE_SIZE, MS_SYNC), 0);
}

/* The fixture of most tests: a file, mapped shared. */
static int fd;
static uint64_t *map;

static void begin(const char *inject)
{
	fd = pattern_file(PAGES);
	sim_start(inject);
	map = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void finish(void)
{
	assert_int_equal(fl_munmap(map, PAGES * FL_PAGE_SIZE), 0);
	sim_stop();
	close(fd);
}

static void only_what_is_dirty_is_written_and_only_once(void **state)
{
	(void)state;
	begin(NULL);
	for (uint64_t p = 0; p < PAGES; p++)
		load(at(map, p));
	store(at(map, 3), 1);
	store(at(map, 40), 1);
	sync_pages(map, 0, PAGES);
	assert_int_equal(stats().written_bytes, 2 * FL_PAGE_SIZE);
	sync_pages(map, 0, PAGES);
	assert_int_equal(stats().written_bytes, 2 * FL_PAGE_SIZE);
	finish();
}

#define FEW 40 /* so few dirty pages that none is written for being one of many */

static void only_the_range_is_written(void **state)
{
	(void)state;
	begin(NULL);
	for (uint64_t p = 0; p < FEW; p++)
		store(at(map, p), p);
	sync_pages(map, 10, 5);
	assert_int_equal(stats().written_bytes, 5 * FL_PAGE_SIZE);
	for (uint64_t p = 0; p < FEW; p++)
		assert_int_equal(word_in_file(fd, p * WORDS_PER_PAGE), p >= 10 && p < 15 ? p : pattern(p * WORDS_PER_PAGE));
	finish();
}

static void neighbours_are_written_together(void **state)
{
	struct fl_stats st;

	(void)state;
	begin(NULL);
	for (uint64_t p = 0; p < FEW; p++)
		store(at(map, p), p);
	sync_pages(map, 0, FEW);
	st = stats();
	assert_int_equal(st.written_bytes, FEW * FL_PAGE_SIZE);
	assert_true(st.writes <= FEW / 4);
	finish();
}

static void a_page_written_back_faults_at_the_next_store(void **state)
{
	uint64_t faults;

	(void)state;
	begin(NULL);
	store(map, 1);
	assert_int_equal(sim_pte(map), SIM_PRESENT);
	sync_pages(map, 0, 1);
	assert_int_equal(sim_pte(map), SIM_PRESENT | SIM_WP);
	faults = sim_faults();
	load(map);
	assert_int_equal(sim_faults(), faults);
	store(map, 2);
	store(map, 3);
	assert_int_equal(sim_faults(), faults + 1);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 3);
	finish();
}

static void every_mapping_is_protected_before_the_copy(void **state)
{
	uint64_t *other;

	(void)state;
	begin(NULL);
	other = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	store(map, 1);
	store(other, 2);
	sync_pages(map, 0, 1);
	assert_int_equal(sim_pte(map), SIM_PRESENT | SIM_WP);
	assert_int_equal(sim_pte(other), SIM_PRESENT | SIM_WP);
	store(other + 1, 3);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 2);
	assert_int_equal(word_in_file(fd, 1), 3);
	assert_int_equal(fl_munmap(other, PAGES * FL_PAGE_SIZE), 0);
	finish();
}

static void *sync_in_a_thread(void *arg)
{
	(void)arg;
	sync_pages(map, 0, 1);
	return NULL;
}

/* The first write takes a while; a store in the middle of it neither waits nor is lost. */
static void a_store_during_the_write_is_written_by_the_next(void **state)
{
	pthread_t t;

	(void)state;
	begin("write:delay=1000:1"); /* on a busy machine, too, the store comes before its end */
	store(map, 1);
	pthread_create(&t, NULL, sync_in_a_thread, NULL);
	while (sim_pte(map) != (SIM_PRESENT | SIM_WP))
		usleep(100);
	usleep(20000); /* the copy is taken */
	store(map, 2);
	assert_int_equal(word_in_file(fd, 0), pattern(0));
	pthread_join(t, NULL);
	assert_int_equal(word_in_file(fd, 0), 1);
	assert_int_equal(sim_pte(map), SIM_PRESENT);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 2);
	finish();
}

/* msync's promise holds also for a page that somebody else is writing. */
static void msync_waits_for_the_write_of_another(void **state)
{
	pthread_t t;

	(void)state;
	begin("write:delay=100:1");
	store(map, 1);
	pthread_create(&t, NULL, sync_in_a_thread, NULL);
	while (sim_pte(map) != (SIM_PRESENT | SIM_WP))
		usleep(100);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 1);
	pthread_join(t, NULL);
	finish();
}

static void nothing_past_the_end_is_written(void **state)
{
	struct fl_stats st;

	(void)state;
	begin(NULL);
	assert_int_equal(fl_ftruncate(fd, 5000), 0);
	store(map + 700, 99); /* in the last page, past the end */
	store(map, 1);
	sync_pages(map, 0, PAGES);
	assert_int_equal(lseek(fd, 0, SEEK_END), 5000);
	st = stats();
	assert_true(st.written_bytes <= 5000);
	assert_int_equal(word_in_file(fd, 0), 1);
	assert_int_equal(fl_ftruncate(fd, 8192), 0);
	assert_int_equal(load(map + 700), 0);
	finish();
}

static void a_pinned_page_is_written_and_stays_writable(void **state)
{
	(void)state;
	begin(NULL);
	assert_int_equal(fl_pin(map, FL_PAGE_SIZE, FL_PIN_WRITE), 0);
	store(map, 1);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 1);
	assert_int_equal(sim_pte(map), SIM_PRESENT);
	store(map, 2);
	assert_int_equal(fl_unpin(map, FL_PAGE_SIZE), 0);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 2);
	assert_int_equal(sim_pte(map), SIM_PRESENT | SIM_WP);
	finish();
}

/* The write of what it held before takes a while; in the middle of that it is stored to, let go of and written again. */
static void what_a_pinned_page_held_before_is_not_written_last(void **state)
{
	pthread_t t;

	(void)state;
	begin("write:delay=500:1");
	assert_int_equal(fl_pin(map, FL_PAGE_SIZE, FL_PIN_WRITE), 0);
	store(map, 1);
	pthread_create(&t, NULL, sync_in_a_thread, NULL);
	usleep(100000); /* the copy is taken */
	store(map, 2);
	assert_int_equal(fl_unpin(map, FL_PAGE_SIZE), 0);
	sync_pages(map, 0, 1);
	assert_int_equal(word_in_file(fd, 0), 2);
	pthread_join(t, NULL);
	assert_int_equal(word_in_file(fd, 0), 2);
	finish();
}

/* As others are, whether found by their index or in the table; each once. Those beside them that are not pinned become clean. */
static void pinned_pages_are_written_together(void **state)
{
	uint64_t lengths[] = {16, PAGES};

	(void)state;
	begin(NULL);
	assert_int_equal(fl_pin(map, 3 * FL_PAGE_SIZE, FL_PIN_WRITE), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct fl_stats before = stats();

		for (uint64_t p = 0; p < 5; p++)
			store(at(map, p), p + i);
		sync_pages(map, 0, lengths[i]);
		assert_int_equal(stats().writes - before.writes, 2);
		assert_int_equal(stats().written_bytes - before.written_bytes, 5 * FL_PAGE_SIZE);
		assert_int_equal(word_in_file(fd, 2 * WORDS_PER_PAGE), 2 + i);
		assert_int_equal(word_in_file(fd, 4 * WORDS_PER_PAGE), 4 + i);
		assert_int_equal(sim_pte(at(map, 2)), SIM_PRESENT);
		assert_int_equal(sim_pte(at(map, 3)), SIM_PRESENT | SIM_WP);
	}
	assert_int_equal(fl_unpin(map, 3 * FL_PAGE_SIZE), 0);
	finish();
}

static void a_cut_file_forgets_what_was_stored_beyond(void **state)
{
	uint64_t v;

	(void)state;
	begin(NULL);
	store(at(map, 20), 5);
	store(at(map, 2), 6);
	assert_int_equal(fl_ftruncate(fd, 10 * FL_PAGE_SIZE), 0);
	assert_int_equal(sim_load64(at(map, 20), &v), -ENXIO);
	assert_int_equal(fl_ftruncate(fd, PAGES * FL_PAGE_SIZE), 0);
	assert_int_equal(load(at(map, 20)), 0);
	assert_int_equal(load(at(map, 2)), 6);
	finish();
}

static void a_cut_file_forgets_private_copies_beyond(void **state)
{
	uint64_t *private, v;

	(void)state;
	begin(NULL);
	private = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	store(at(private, 20), 5);
	store(at(private, 2), 6);
	assert_int_equal(fl_ftruncate(fd, 10 * FL_PAGE_SIZE), 0);
	assert_int_equal(sim_load64(at(private, 20), &v), -ENXIO);
	assert_int_equal(sim_store64(at(private, 20), 1), -ENXIO);
	assert_int_equal(fl_ftruncate(fd, PAGES * FL_PAGE_SIZE), 0);
	assert_int_equal(load(at(private, 20)), 0);
	assert_int_equal(load(at(private, 2)), 6);
	assert_int_equal(fl_munmap(private, PAGES * FL_PAGE_SIZE), 0);
	finish();
}

static void what_is_written_to_the_file_shows_in_its_mappings(void **state)
{
	uint64_t v = 42;

	(void)state;
	begin(NULL);
	store(map, 1);
	store(at(map, 1), 2);
	assert_int_equal(fl_pwrite(fd, &v, 8, 8), 8);
	assert_int_equal(load(map), 1);
	assert_int_equal(load(map + 1), 42);
	assert_int_equal(fl_pread(fd, &v, 8, (off_t)FL_PAGE_SIZE), 8);
	assert_int_equal(v, 2);
	finish();
}

/* A private mapping shows a page that a shared one has dirtied; its own store must be seen by us, to be counted. */
static void a_private_mapping_of_a_dirty_page_is_write_protected(void **state)
{
	uint64_t *private, before;

	(void)state;
	begin(NULL);
	private = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	store(map, 5);
	assert_int_equal(load(private), 5);
	assert_int_equal(sim_pte(private), SIM_PRESENT | SIM_WP);
	before = stats().used_bytes - stats().metadata_bytes;
	store(private, 6);
	assert_int_equal(stats().used_bytes - stats().metadata_bytes, before + FL_PAGE_SIZE);
	assert_int_equal(load(map), 5);
	assert_int_equal(fl_munmap(private, PAGES * FL_PAGE_SIZE), 0);
	finish();
}

static pfn_t lock_private_page(void)
{
	for (pfn_t p = 0; p < page_table_high(); p++)
		if (page_state_of(page_word(p)) != PAGE_ABSENT && as_is_anon(address_space_of(page_key(p)))) {
			page_lock(p);
			return p;
		}
	return PFN_NONE;
}

/* Only the thread that takes it out of memory knows whether that is done, and a child of fork does not have that thread. */
static void a_page_that_leaves_is_kept_over_fork_if_nobody_else_has_it(void **state)
{
	uint64_t *priv;
	pfn_t p;

	(void)state;
	begin(NULL);
	priv = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	store(priv, 1);
	p = lock_private_page();
	assert_true(p != PFN_NONE);
	assert_true(address_space_fork_keeps(page_key(p), page_word(p)));
	page_begin_writeback(p);
	page_end_writeback(p);
	assert_true(address_space_fork_keeps(page_key(p), page_word(p)));
	page_begin_evict(p);
	assert_true(address_space_fork_keeps(page_key(p), page_word(p)));
	assert_false(address_space_fork_keeps(page_key(p), page_word(p) | PG_LAZYFREE));
	page_rescue(p);
	page_make_dirty(p);
	page_unlock(p);
	assert_int_equal(fl_munmap(priv, PAGES * FL_PAGE_SIZE), 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_dirty_is_written_and_only_once),
		cmocka_unit_test(only_the_range_is_written),
		cmocka_unit_test(neighbours_are_written_together),
		cmocka_unit_test(a_page_written_back_faults_at_the_next_store),
		cmocka_unit_test(every_mapping_is_protected_before_the_copy),
		cmocka_unit_test(a_store_during_the_write_is_written_by_the_next),
		cmocka_unit_test(msync_waits_for_the_write_of_another),
		cmocka_unit_test(nothing_past_the_end_is_written),
		cmocka_unit_test(a_pinned_page_is_written_and_stays_writable),
		cmocka_unit_test(what_a_pinned_page_held_before_is_not_written_last),
		cmocka_unit_test(pinned_pages_are_written_together),
		cmocka_unit_test(a_cut_file_forgets_what_was_stored_beyond),
		cmocka_unit_test(a_cut_file_forgets_private_copies_beyond),
		cmocka_unit_test(what_is_written_to_the_file_shows_in_its_mappings),
		cmocka_unit_test(a_private_mapping_of_a_dirty_page_is_write_protected),
		cmocka_unit_test(a_page_that_leaves_is_kept_over_fork_if_nobody_else_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
