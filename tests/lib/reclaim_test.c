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

/* Every other page is a copy of `turn`; those of the file from `end` on are zeros, and in between it is as it was. */
static void expect_copies(const uint64_t *private, size_t first, size_t end, size_t end_of_file, uint64_t turn)
{
	for (size_t p = first; p < end; p++) {
		uint64_t in_file = p < end_of_file ? pattern(p * WORDS) : 0;

		assert_int_equal(word_of(private, p), p % 2 == 0 ? stored(p) + turn : in_file);
	}
}

static void store_copies(uint64_t *private, size_t first, size_t end, uint64_t turn)
{
	for (size_t p = first; p < end; p += 2)
	private[p * WORDS] = stored(p) + turn;
}

static void expect_none(const uint64_t *private, size_t first, size_t end, size_t end_of_file)
{
	for (size_t p = first; p < end; p++)
		assert_int_equal(word_of(private, p), p < end_of_file ? pattern(p * WORDS) : 0);
}

/* What was in swap is gone at once, whenever its space is; the rest stays, and what is stored then goes to swap again. */
TEST(copies_in_swap_go_with_what_they_are_copies_of)
{
	struct fixture *f = *state;
	uint64_t *private = map_random(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t half = PAGES / 2;

	store_copies(private, 0, PAGES, 0);
	assert_int_equal(fl_ftruncate(f->fd, (off_t)(half * PAGE)), 0);
	assert_int_equal(fl_ftruncate(f->fd, PATTERN_BYTES), 0);
	expect_none(private, half, PAGES, half);
	expect_copies(private, 0, half, half, 0);
	for (uint64_t turn = 1; turn < 4; turn++) {
		store_copies(private, 0, PAGES, turn);
		expect_copies(private, 0, PAGES, half, turn);
		assert_int_equal(fl_madvise(private, half * PAGE, MADV_DONTNEED), 0);
		expect_none(private, 0, half, half);
		expect_copies(private, half, PAGES, half, turn);
	}
	unmap(private);
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

/* More copies than memory can hold, of pages from `first` on. */
static void drive_out(uint64_t *private, size_t first)
{
	for (size_t round = 0; round < 3; round++)
		for (size_t i = first; i < PAGES; i++)
			((volatile uint64_t *)private)[i * WORDS] = i;
}

static size_t resident(uint64_t *map, size_t pages)
{
	unsigned char there[PAGES];
	size_t n = 0;

	assert_int_equal(fl_mincore(map, pages * PAGE, there), 0);
	for (size_t i = 0; i < pages; i++)
		n += there[i] & 1;
	return n;
}

/* Two calls have pinned pages of a file when the program gets copies of its own there: those stay until both calls are over. */
TEST(copies_of_pinned_pages_stay)
{
	struct fixture *f = *state;
	uint64_t *private = map_random(f, PROT_READ | PROT_WRITE, MAP_PRIVATE), back[4 * WORDS];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fl_pin(private, 4 * PAGE, 0), 0);
	assert_int_equal(fl_pin(private + WORDS, 3 * PAGE, 0), 0);
	for (size_t i = 0; i < 4; i++)
		((volatile uint64_t *)private)[i * WORDS] = 1000 + i;
	drive_out(private, 4);
	assert_int_equal(resident(private, 4), 4);
	assert_int_equal(write(ends[1], private, 4 * PAGE), 4 * PAGE);
	assert_int_equal(fl_unpin(private, 4 * PAGE), 0);
	drive_out(private, 4);
	assert_int_equal(resident(private, 4), 3);
	assert_int_equal(fl_unpin(private + WORDS, 3 * PAGE), 0);
	drive_out(private, 4);
	assert_int_equal(resident(private, 4), 0);
	assert_int_equal(read(ends[0], back, sizeof back), sizeof back);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(back[i * WORDS], 1000 + i);
		assert_int_equal(word_of(private, i), 1000 + i);
	}
	close(ends[0]);
	close(ends[1]);
	unmap(private);
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
		RUN(what_was_hot_gives_way),          RUN(copies_in_swap_go_with_what_they_are_copies_of),
		RUN(copies_of_pinned_pages_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
