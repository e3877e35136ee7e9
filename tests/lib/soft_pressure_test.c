/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces when the budget has no room for anything. */
#include "soft.h"

/* Mappings apart from each other, each with a VMA and a gap of its own, until there is no memory for one more. */
static uint64_t map_until_full(fl_space *s)
{
	uint64_t n = 0;

	for (int failed = 0; failed < 100; n++)
		if (try_map(s, 0x10000000 + n * 2 * PAGE, PAGE, n % 2 ? RW : PROT_READ, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED) {
			assert_int_equal(errno, ENOMEM);
			failed++;
		}
	return n;
}

TEST(a_space_ends_and_leaves_nothing_when_there_is_no_memory)
{
	struct fl_space_options l = {.size = sizeof l, .map_count = 1 << 20};
	struct fl_soft_options o = {.size = sizeof o, .limits = &l};
	fl_space *s = new_space(NULL), *full = new_space(&o);
	uint64_t p = map_anon(s, 8);

	(void)*state;
	for (uint64_t i = 0; i < 8; i++)
		poke(s, p + i * PAGE, i);
	assert_true(map_until_full(full) > 200);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
	assert_int_equal(fl_space_destroy(full), 0);
	assert_int_equal(stats().table_bytes, 0);
	s = new_space(NULL);
	p = map_anon(s, 64);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(peek(s, p + i * PAGE), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_fork_that_fails_for_want_of_memory_leaves_nothing)
{
	struct fl_space_options l = {.size = sizeof l, .map_count = 1 << 20};
	struct fl_soft_options o = {.size = sizeof o, .limits = &l};
	fl_space *s = new_space(&o), *child = NULL;
	uint64_t p = map_anon(s, 8), n;

	(void)*state;
	for (uint64_t i = 0; i < 8; i++)
		poke(s, p + i * PAGE, i);
	n = map_until_full(s);
	for (uint64_t i = 0; i < n; i += 16) { /* room for some of a child */
		fl_space_munmap(s, (void *)(0x10000000 + i * 2 * PAGE), PAGE);
		child = fl_space_fork(s);
		if (child)
			break;
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(stats().soft_spaces, 1);
		assert_int_equal(walk(s, p).mappings, 1);
	}
	if (child)
		assert_int_equal(fl_space_destroy(child), 0);
	unmap(s, 0x10000000, n * 2 * PAGE);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(peek(s, p + i * PAGE), i);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
	assert_int_equal(stats().table_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_space_ends_and_leaves_nothing_when_there_is_no_memory),
		RUN(a_fork_that_fails_for_want_of_memory_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
