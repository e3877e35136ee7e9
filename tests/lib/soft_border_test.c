/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where mappings begin and end. A program sees it in /proc/PID/maps, and by what mremap and remap_file_pages refuse. Expected is what Linux
 * does, drawn: a letter for each page, the same for the pages of one mapping, a dot where nothing is mapped.
 */
#include "soft.h"

#define AT 0x10000000UL
#define DRAWN 32
#define RWX (RW | PROT_EXEC)
#define MOVE (MREMAP_MAYMOVE | MREMAP_FIXED)
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static uint64_t page(uint64_t n)
{
	return AT + n * PAGE;
}

static void map(fl_space *s, uint64_t first, uint64_t n, int flags)
{
	map_at(s, page(first), n * PAGE, RW, ANON | MAP_FIXED | flags);
}

static void draw_one(char *drawn, uint64_t start, uint64_t end, char letter)
{
	for (uint64_t p = start; p < end; p += PAGE)
		if (p >= AT && p < page(strlen(drawn)))
			drawn[(p - AT) / PAGE] = letter;
}

static void expect(fl_space *s, const char *want)
{
	char drawn[DRAWN] = "", letter = 'A', *text, *rest;
	size_t len;

	memset(drawn, '.', strlen(want));
	text = dump_text(s, FL_DUMP_MAPS, &len);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned long start, end;

		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		if (end > AT && start < page(strlen(want)))
			draw_one(drawn, start, end, letter++);
	}
	free(text);
	assert_string_equal(drawn, want);
}

static void move_fails(fl_space *s, uint64_t first, uint64_t n, int err)
{
	assert_fails(remap(s, page(first), n * PAGE, (n + 1) * PAGE, MREMAP_MAYMOVE, 0) == (uintptr_t)MAP_FAILED, err);
}

TEST(a_stack_that_grows_down_to_another_mapping_is_not_merged_with_it)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);

	(void)*state;
	map(s, 12, 1, MAP_GROWSDOWN);
	store(c, page(0), 1);
	expect(s, "AAAAAAAAAAAAA");
	unmap(s, page(4), 2 * PAGE);
	expect(s, "AAAA..BBBBBBB");
	assert_int_equal(load(c, page(4)), 0);
	expect(s, "AAAABBBBBBBBB");
	move_fails(s, 2, 4, EFAULT);
	assert_int_equal(protect(s, page(0), 13 * PAGE, RW), 0);
	expect(s, "AAAABBBBBBBBB"); /* nothing has changed */
	assert_int_equal(protect(s, page(0), 13 * PAGE, PROT_READ), 0);
	expect(s, "AAAAAAAAAAAAA");
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* Pages that were never written to go to their new place with its number; after growth they keep the old one. */
TEST(a_stack_that_has_grown_counts_as_written_to)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);

	(void)*state;
	map(s, 0, 12, MAP_GROWSDOWN);
	assert_int_equal(remap(s, page(2), PAGE, PAGE, MOVE, page(8)), page(8));
	expect(s, "AA.BBBBBBBBB");
	unmap(s, page(0), 12 * PAGE);
	map(s, 11, 1, MAP_GROWSDOWN);
	assert_int_equal(load(c, page(0)), 0);
	assert_int_equal(remap(s, page(2), PAGE, PAGE, MOVE, page(8)), page(8));
	expect(s, "AA.BBBBBCDDD");
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(private_pages_on_one_side_are_no_border)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	map(s, 4, 4, 0);
	poke(s, page(5), 5);
	map(s, 8, 4, 0);
	map(s, 0, 4, 0);
	expect(s, "AAAAAAAAAAAA");
	poke(s, page(0), 1);
	poke(s, page(11), 12);
	assert_int_equal(remap(s, page(0), 12 * PAGE, 12 * PAGE, MOVE, page(14)), page(14));
	expect(s, "..............AAAAAAAAAAAA");
	assert_int_equal(peek(s, page(14)), 1);
	assert_int_equal(peek(s, page(19)), 5);
	assert_int_equal(peek(s, page(25)), 12);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
}

/* Written to before they met; and moved, with the numbers that they had. */
TEST(private_pages_on_both_sides_are_a_border)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	map(s, 0, 4, 0);
	map(s, 6, 4, 0);
	poke(s, page(0), 1);
	poke(s, page(6), 1);
	map(s, 4, 2, 0);
	expect(s, "AAAAAABBBB");
	move_fails(s, 2, 6, EFAULT);
	unmap(s, page(4), 6 * PAGE);
	assert_int_equal(remap(s, page(2), 2 * PAGE, 2 * PAGE, MOVE, page(4)), page(4));
	expect(s, "AA..BB");
	map(s, 2, 2, 0);
	expect(s, "AAAABB");
	assert_int_equal(remap(s, page(4), 2 * PAGE, 2 * PAGE, MOVE, page(2)), page(2));
	expect(s, "AAAA..");
	assert_int_equal(fl_space_destroy(s), 0);
}

/* Neighbours that mprotect may join have private pages of one family, whichever was written to first. */
TEST(neighbours_of_other_protection_can_be_joined_later)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	for (int first = 0; first < 2; first++) {
		map(s, 0, 4, 0);
		map(s, 8, 4, 0);
		assert_int_equal(protect(s, page(2), 2 * PAGE, RWX), 0);
		expect(s, "AABB....CCCC");
		poke(s, page(first ? 0 : 2), 1);
		poke(s, page(first ? 2 : 0), 1);
		poke(s, page(8), 1);
		assert_int_equal(protect(s, page(2), 2 * PAGE, RW), 0);
		expect(s, "AAAA....BBBB");
		map(s, 4, 4, 0);
		expect(s, "AAAAAAAABBBB");
		unmap(s, page(0), 12 * PAGE);
	}
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(what_only_a_lock_had_divided_stays_divided_in_a_child)
{
	fl_space *s = new_space(NULL), *child;

	(void)*state;
	map(s, 0, 8, 0);
	assert_int_equal(fl_space_mlock2(s, (void *)page(2), 2 * PAGE, MLOCK_ONFAULT), 0);
	expect(s, "AABBCCCC");
	child = fork_space(s);
	expect(child, "AABBCCCC");
	move_fails(child, 0, 8, EFAULT);
	assert_int_equal(fl_space_munlock(child, (void *)page(0), 8 * PAGE), 0);
	expect(child, "AABBCCCC");
	assert_int_equal(fl_space_munlock(s, (void *)page(0), 8 * PAGE), 0);
	expect(s, "AAAAAAAA");
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(inherited_pages_are_a_border_in_the_child)
{
	fl_space *s = new_space(NULL), *child;

	(void)*state;
	map(s, 0, 8, 0);
	poke(s, page(0), 1);
	assert_int_equal(protect(s, page(4), 4 * PAGE, PROT_READ), 0);
	child = fork_space(s);
	expect(child, "AAAABBBB");
	assert_int_equal(protect(child, page(4), 4 * PAGE, RW), 0);
	map(child, 8, 4, 0);
	expect(child, "AAAABBBBCCCC"); /* of one mapping of the parent's, but not any more */
	assert_int_equal(protect(s, page(4), 4 * PAGE, RW), 0);
	map(s, 8, 4, 0);
	expect(s, "AAAAAAAAAAAA");
	assert_int_equal(protect(child, page(1), PAGE, PROT_READ), 0);
	expect(child, "ABCCDDDDEEEE");
	assert_int_equal(protect(child, page(1), PAGE, RW), 0);
	expect(child, "AAAABBBBCCCC");
	assert_int_equal(remap(child, page(0), 4 * PAGE, 6 * PAGE, MOVE, page(14)), page(14));
	expect(child, "....AAAABBBB..CCCCCC");
	assert_int_equal(peek(child, page(14)), 1);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(guards_are_no_border)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);

	(void)*state;
	map(s, 0, 6, 0);
	store(c, page(0), 1);
	assert_int_equal(advise(s, page(2), 2 * PAGE, MADV_GUARD_INSTALL), 0);
	expect(s, "AAAAAA");
	map(s, 6, 2, 0);
	expect(s, "AAAAAAAA");
	assert_int_equal(remap(s, page(1), 7 * PAGE, 9 * PAGE, MOVE, page(12)), page(12));
	expect(s, "A...........BBBBBBBBB");
	load_fails(c, page(13), SIGSEGV, SEGV_MAPERR);
	load_fails(c, page(14), SIGSEGV, SEGV_MAPERR);
	assert_int_equal(load(c, page(15)), 0);
	map(s, 1, 11, 0);
	assert_int_equal(load(c, page(2)), 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(guards_outlive_what_discards_pages)
{
	fl_space *s = new_space(NULL), *child;
	struct fixture *f = *state;
	uint64_t p = map_fd(s, f->fd, 4 * PAGE, RW, MAP_SHARED, 0);

	poke(s, p, 1);
	assert_int_equal(advise(s, p + PAGE, PAGE, MADV_GUARD_INSTALL), 0);
	assert_int_equal(advise(s, p, 4 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(fl_ftruncate(f->fd, 0), 0);
	assert_int_equal(fl_ftruncate(f->fd, 4 * PAGE), 0);
	assert_int_equal(protect(s, p, 4 * PAGE, PROT_READ), 0);
	check_page(s, p + PAGE, "guard");
	child = fork_space(s);
	check_page(child, p + PAGE, "guard");
	assert_int_equal(peek(child, p), 0);
	assert_fails(advise(child, p, 4 * PAGE, MADV_POPULATE_READ), EFAULT);
	unmap(s, p, 4 * PAGE);
	assert_int_equal(map_at(s, p, 4 * PAGE, RW, ANON | MAP_FIXED), p);
	assert_int_equal(peek(s, p + PAGE), 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* A mapping in which a guard was is not like one in which none was, to this call alone. */
TEST(remap_file_pages_knows_where_a_guard_was)
{
	fl_space *s = new_space(NULL);
	struct fixture *f = *state;
	uint64_t p = map_fd(s, f->fd, 8 * PAGE, RW, MAP_SHARED, 0);

	assert_int_equal(fl_space_remap_file_pages(s, (void *)(p + 4 * PAGE), PAGE, 0, 1, 0), 0);
	assert_int_equal(fl_space_remap_file_pages(s, (void *)(p + 3 * PAGE), 3 * PAGE, 0, 2, 0), 0);
	assert_int_equal(advise(s, p, PAGE, MADV_GUARD_INSTALL), 0);
	assert_int_equal(fl_space_remap_file_pages(s, (void *)(p + 4 * PAGE), PAGE, 0, 7, 0), 0);
	assert_fails(fl_space_remap_file_pages(s, (void *)(p + 2 * PAGE), 3 * PAGE, 0, 1, 0) == -1, EINVAL);
	assert_int_equal(fl_space_remap_file_pages(s, (void *)(p + 3 * PAGE), 3 * PAGE, 0, 1, 0), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(what_is_left_of_a_locked_mapping_stays_a_mapping)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	map(s, 0, 9, 0);
	assert_int_equal(fl_space_mlock2(s, (void *)page(3), 3 * PAGE, MLOCK_ONFAULT), 0);
	assert_int_equal(remap(s, page(3), 3 * PAGE, 3 * PAGE, MOVE | MREMAP_DONTUNMAP, page(12)), page(12));
	expect(s, "AAABBBCCC...DDD");
	assert_int_equal(remap(s, page(13), PAGE, PAGE, MOVE | MREMAP_DONTUNMAP, page(20)), page(20));
	expect(s, "AAABBBCCC...DDD.....E");
	assert_int_equal(fl_space_destroy(s), 0);
}

/* munmap divides the first mapping before it comes to the one that is sealed, and fails. */
TEST(a_call_that_meets_a_seal_has_divided_what_came_before)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	map(s, 0, 8, 0);
	assert_int_equal(fl_space_mseal(s, (void *)page(4), 2 * PAGE, 0), 0);
	expect(s, "AAAABBCC");
	assert_fails(fl_space_munmap(s, (void *)page(2), 4 * PAGE) == -1, EPERM);
	expect(s, "AABBCCDD");
	assert_fails(fl_space_munmap(s, (void *)page(5), 2 * PAGE) == -1, EPERM);
	expect(s, "AABBCCDD");
	assert_int_equal(fl_space_destroy(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_stack_that_grows_down_to_another_mapping_is_not_merged_with_it),
		RUN(a_stack_that_has_grown_counts_as_written_to),
		RUN(private_pages_on_one_side_are_no_border),
		RUN(private_pages_on_both_sides_are_a_border),
		RUN(neighbours_of_other_protection_can_be_joined_later),
		RUN(what_only_a_lock_had_divided_stays_divided_in_a_child),
		RUN(inherited_pages_are_a_border_in_the_child),
		RUN(guards_are_no_border),
		RUN(guards_outlive_what_discards_pages),
		RUN(remap_file_pages_knows_where_a_guard_was),
		RUN(what_is_left_of_a_locked_mapping_stays_a_mapping),
		RUN(a_call_that_meets_a_seal_has_divided_what_came_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
