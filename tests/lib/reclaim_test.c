/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages leave memory, and that those which only leave their mappings come back as they were. Reads are in no order that reads
 * ahead, so that each miss brings one page and can be counted.
 */
#include "harness.h"

#define PAGE 4096UL
#define PAGES (PATTERN_BYTES / PAGE)
#define WORDS (PAGE / 8)
#define HOT 100UL    /* pages; memory has room for some 400 */
#define RIVALS 350UL /* pages beside them that come back as well, and want into the main queue */
#define ROUNDS 30

static uint64_t word_of(const uint64_t *map, size_t page)
{
	return ((const volatile uint64_t *)map)[page * WORDS];
}

static struct fl_stats stats(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st;
}

static uint64_t misses(void)
{
	return stats().faults - stats().faults_hit;
}

static uint64_t *map_random(struct fixture *f, int prot, int flags)
{
	uint64_t *map = map_file(f, prot, flags);

	assert_int_equal(fl_madvise(map, PATTERN_BYTES, MADV_RANDOM), 0);
	return map;
}

static void unmap(uint64_t *map)
{
	assert_int_equal(fl_munmap(map, PATTERN_BYTES), 0);
}

static void read_pages(const uint64_t *map, size_t first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		word_of(map, first + i);
}

/* The hot pages become known as such: they come back, others do not. */
static void learn(const uint64_t *map)
{
	for (size_t i = 0; i < 4; i++) {
		read_pages(map, 0, HOT);
		read_pages(map, HOT + i * 380, 380);
	}
}

/* Misses of the hot set while a scan goes by, one of its pages for each scanned. The scan reads what memory cannot hold, in a circle. */
static uint64_t missed_in_scan(const uint64_t *map)
{
	uint64_t before = misses(), scanned = PAGES - HOT;

	for (size_t i = 0; i < scanned; i++) {
		word_of(map, HOT + i);
		word_of(map, i % HOT);
	}
	return misses() - before - scanned;
}

TEST(a_scan_leaves_the_hot_set_alone)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED);

	learn(map);
	read_pages(map, 0, HOT);
	missed_in_scan(map);
	assert_true(missed_in_scan(map) < HOT / 4);
	unmap(map);
}

TEST(nor_does_it_on_shmem_frames)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED), *second = map_random(f, PROT_READ, MAP_SHARED);

	learn(map);
	read_pages(second, 0, HOT);
	missed_in_scan(map);
	assert_true(missed_in_scan(map) < HOT / 4);
	unmap(second);
	unmap(map);
}

/* The hot pages, and others that come back: the main queue has more than it can hold, and asks who is used. */
static void compete(const uint64_t *map)
{
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t part = 0; part < 5; part++) {
			read_pages(map, 0, HOT);
			read_pages(map, HOT + part * RIVALS / 5, RIVALS / 5);
		}
	}
}

/* Of neighbours, a fault on one maps the others: which does not tell that they are used, nor that they are not. */
TEST(neighbours_that_are_used_stay)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED), *second = map_random(f, PROT_READ, MAP_SHARED), missed = 0;

	compete(map);
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t part = 0; part < 5; part++) {
			uint64_t before = misses();

			read_pages(map, 0, HOT);
			missed += misses() - before;
			read_pages(map, HOT + part * RIVALS / 5, RIVALS / 5);
		}
	}
	assert_true(missed < HOT / 4);
	unmap(second);
	unmap(map);
}

static uint64_t stored(size_t page)
{
	return ~pattern(page * WORDS);
}

TEST(stores_survive_that_pages_leave_their_mappings)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ | PROT_WRITE, MAP_SHARED), *second = map_random(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t soft = 0;

	for (size_t round = 0; round < 4; round++) {
		uint64_t before;

		for (size_t p = 0; p < HOT; p++)
			map[p * WORDS] = stored(p) + round;
		before = stats().faults_hit - stats().faults_write;
		compete(map);
		soft += stats().faults_hit - stats().faults_write - before;
		for (size_t p = 0; p < PAGES; p++)
			assert_int_equal(word_of(p & 1 ? map : second, p), p < HOT ? stored(p) + round : pattern(p * WORDS));
	}
	assert_true(soft > HOT); /* they were taken out, and found again */
	unmap(second);
	unmap(map);
	for (size_t p = 0; p < HOT; p++) {
		uint64_t v;

		assert_int_equal(pread(f->fd, &v, 8, (off_t)(p * PAGE)), 8);
		assert_int_equal(v, stored(p) + 3);
	}
}

TEST(private_copies_survive_it_too)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED), *private = map_random(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	compete(private); /* without copies yet: its pages can be taken out */
	for (size_t p = 0; p < HOT; p += 3)
	private[p * WORDS] = stored(p);
	compete(private);
	compete(map);
	for (size_t p = 0; p < PAGES; p++) {
		assert_int_equal(word_of(private, p), p < HOT && p % 3 == 0 ? stored(p) : pattern(p * WORDS));
		assert_int_equal(word_of(map, p), pattern(p * WORDS));
	}
	unmap(private);
	unmap(map);
}

TEST(locked_and_pinned_pages_stay_mapped)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED), *second = map_random(f, PROT_READ, MAP_SHARED);
	uint64_t before;

	compete(map);
	assert_int_equal(fl_mlock(map, 20 * PAGE), 0);
	assert_int_equal(fl_pin(map + 20 * WORDS, 20 * PAGE, 0), 0);
	for (size_t round = 0; round < ROUNDS; round++) {
		read_pages(map, HOT, RIVALS);
		read_pages(map, 1000 + round % 4 * RIVALS / 2, RIVALS / 2);
		before = stats().faults;
		read_pages(map, 0, 40);
		assert_int_equal(stats().faults, before);
	}
	assert_int_equal(fl_unpin(map + 20 * WORDS, 20 * PAGE), 0);
	unmap(second);
	unmap(map);
}

/* Memory that is used by nobody any more goes to those who use it now. */
TEST(what_was_hot_gives_way)
{
	struct fixture *f = *state;
	uint64_t *map = map_random(f, PROT_READ, MAP_SHARED);
	uint64_t before;

	compete(map);
	for (size_t round = 0; round < ROUNDS; round++) {
		read_pages(map, 1000, 200);
		read_pages(map, 1200 + round % 8 * 100, 100);
	}
	before = misses();
	read_pages(map, 1000, 200);
	assert_true(misses() - before < 20);
	unmap(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_scan_leaves_the_hot_set_alone), RUN(nor_does_it_on_shmem_frames),
		RUN(neighbours_that_are_used_stay),   RUN(stores_survive_that_pages_leave_their_mappings),
		RUN(private_copies_survive_it_too),   RUN(locked_and_pinned_pages_stay_mapped),
		RUN(what_was_hot_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
