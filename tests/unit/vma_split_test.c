/* SPDX-License-Identifier: Apache-2.0 */
/* How VMAs are divided, unmapped and moved in part: every way a range can lie over them. And when memory is short. */
#include "vma_ground.h"

/* ---- Divisions ---- */

/* Nothing to do at an end or in a hole; one more for each end of the range inside of a VMA. */
static void splits(void **state)
{
	(void)state;
	map(0, 4);
	map(6, 4);
	split(0, 4);
	split(4, 2);
	split(5, 1);
	split(6, 4);
	split(0, 10);
	split(0, 30);
	expect("AAAA..BBBB");
	split(1, 2);
	expect_parts("ABBC..DDDD");
	split(2, 6); /* over the hole */
	expect_parts("ABCD..EEFF");
	split(9, 10);
	expect_parts("ABCD..EEFG");
	merge(0, 10);
	expect("AAAA..BBBB");
	split(2, 0);
	expect_parts("AABB..CCCC");
	merge(2, 0);
	expect("AAAA..BBBB");
}

/* The same with private pages, of which each part keeps its own. */
static void splits_of_private_pages(void **state)
{
	(void)state;
	map(0, 10);
	touch(0);
	for (uint64_t p = 1; p < 10; p++)
		split(p, 1);
	expect_parts("ABCDEFGHIJ");
	merge(3, 3); /* the ends too */
	expect_parts("ABCCCCCDEF");
	merge(0, 10);
	expect("AAAAAAAAAA");
}

/* Merging looks at the range and at what its ends touch, and no further. */
static void merges_of_a_part(void **state)
{
	(void)state;
	map(0, 12);
	for (uint64_t p = 1; p < 12; p++)
		split(p, 1);
	expect_parts("ABCDEFGHIJKL");
	merge(0, 1);
	expect_parts("AABCDEFGHIJK");
	merge(11, 1);
	expect_parts("AABCDEFGHIJJ");
	merge(5, 1);
	expect_parts("AABCDDDEFGHH");
	merge(0, 12);
	expect("AAAAAAAAAAAA");
}

/* ---- Unmapping ---- */

static void unmap_parts(void **state)
{
	(void)state;
	map(0, 10);
	touch(0);
	unmap(4, 2);
	expect("AAAA..BBBB");
	unmap(0, 1);
	expect(".AAA..BBBB");
	unmap(9, 1);
	expect(".AAA..BBB.");
	unmap(3, 4);
	expect(".AA....BB.");
	unmap(3, 4); /* nothing there */
	expect(".AA....BB.");
	unmap(1, 2);
	expect(".......BB.");
	unmap(0, 30);
	expect("");
}

static void unmap_several(void **state)
{
	(void)state;
	map(0, 3);
	map_as(3, 3, PROT_READ, 0);
	map(7, 3);
	map_as(10, 3, PROT_NONE, 0);
	expect("AAABBB.CCCDDD");
	unmap(2, 9);
	expect("AA.........DD");
	map(2, 9);
	expect("AAAAAAAAAAADD");
	unmap(0, 11);
	expect("...........DD");
}

/* ---- Moving ---- */

/* Away, to a place where it goes on, and home. For anonymous memory the offset is the address where it was made. */
static void what_has_moved(void **state)
{
	(void)state;
	map(0, 9);
	touch(0);
	move(3, 3, 20);
	expect("AAA...BBB...........CCC");
	move(0, 3, 17);
	expect("......BBB........AAAAAA");
	move(6, 3, 23);
	expect(".................AAAAAAAAA");
	move(18, 3, 1);
	expect(".BBB.............A...CCCCC");
	move(17, 1, 0);
	expect("AAAA.................CCCCC");
	move(21, 5, 4);
	expect("AAAAAAAAA");
}

/* Memory without pages is numbered by where it is; a file is not. */
static void what_has_moved_without_pages(void **state)
{
	(void)state;
	map(0, 6);
	map(20, 3);
	move(0, 3, 23);
	expect(kind == PRIVATE_ANONYMOUS ? "...AAA..............BBBBBB" : "...AAA..............BBBCCC");
	assert_ptr_equal(fl_mremap(at(3), 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(15)), at(15));
	expect(kind == PRIVATE_ANONYMOUS ? "...............AAAAAAAAAAA" : "...............AAAAABBBCCC");
}

/* The target, and what lies beside it. */
static void what_is_moved_over_others(void **state)
{
	(void)state;
	map(0, 4);
	touch(0);
	map(10, 10);
	expect("AAAA......BBBBBBBBBB");
	move(0, 4, 13);
	expect("..........BBBAAAABBB");
	map(10, 10);
	expect("..........BBBBBBBBBB");
	touch(10);
	move(10, 3, 17);
	expect(".............BBBBCCC");
}

static void what_shrinks_and_grows(void **state)
{
	(void)state;
	map(0, 8);
	touch(0);
	assert_ptr_equal(fl_mremap(at(0), 8 * PAGE, 5 * PAGE, 0), at(0));
	expect("AAAAA");
	map(5, 3);
	unmap(0, 5);
	assert_ptr_equal(fl_mremap(at(6), 2 * PAGE, 4 * PAGE, 0), at(6)); /* nothing there yet */
	expect(".....AAAAA");
	map(0, 10);
	touch(0);
	unmap(5, 5);
	assert_ptr_equal(fl_mremap(at(2), 2 * PAGE, PAGE, 0), at(2));
	expect("AAA.B");
	unmap(4, 1);
	assert_ptr_equal(fl_mremap(at(0), 3 * PAGE, 6 * PAGE, 0), at(0));
	expect(kind == SHARED_FILE ? "AAAAAA" : "AAABBB"); /* what has no private pages yet */
	touch(3);
	assert_ptr_equal(fl_mremap(at(0), 6 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(10)), at(10));
	expect(kind == SHARED_FILE ? "..........AAAAAA" : "..........AAABBB");
}

/* MREMAP_DONTUNMAP: what stays is not locked any more, and has no private pages. */
static void what_is_left_behind(void **state)
{
	(void)state;
	map(0, 9);
	assert_int_equal(fl_mlock2(at(3), 3 * PAGE, MLOCK_ONFAULT), 0);
	expect("AAALLLBBB");
	assert_ptr_equal(fl_mremap(at(3), 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at(12)), at(12));
	expect_parts("AAANNNBBB...LLL"); /* it has no lock any more; and stays a mapping of its own, as on Linux */
	merge(0, 9);
	expect("AAAAAAAAA...LLL");
	touch(0);
	assert_ptr_equal(fl_mremap(at(3), 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at(20)), at(20));
	expect(kind == SHARED_FILE ? "AAAAAAAAA...LLL.....MMM" : "AAANNNBBB...LLL.....MMM");
}

/* Several mappings at once, which need not be alike. */
static void many_that_move(void **state)
{
	(void)state;
	map(0, 3);
	map_as(3, 3, PROT_READ, 0);
	map(7, 3);
	expect("AAABBB.CCC");
	move(1, 8, 21);
	expect("A........C...........AABBB.CC");
	move(21, 8, 1);
	expect("AAABBB.CCC");
}

/* What was prepared for the new place is given up, and the old one is as it was. */
static void moves_that_the_kernel_refuses(void **state)
{
	(void)state;
	map(0, 6);
	map_as(6, 3, PROT_READ, 0);
	kernel_refuses = -ENOMEM;
	assert_ptr_equal(fl_mremap(at(1), 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(20)), MAP_FAILED);
	expect("AAAAAABBB");
	assert_ptr_equal(fl_mremap(at(1), 7 * PAGE, 7 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(20)), MAP_FAILED);
	expect("AAAAAABBB");
	assert_ptr_equal(fl_mremap(at(1), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, at(20)), MAP_FAILED);
	expect("AAAAAABBB");
	assert_ptr_equal(fl_mmap(at(2), 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), MAP_FAILED);
	kernel_refuses = 0;
	expect("AAAAAABBB");
}

/* ---- Without memory ---- */

/* Takes what is left of the budget, but for so many pages. */
static uint64_t use_up(uint64_t but)
{
	uint64_t left = budget_limit() - budget_used();

	assert_true(left > but && budget_try_reserve(left - but));
	return left - but;
}

static bool munmap_one(void)
{
	return fl_munmap(at(30000), PAGE) == 0;
}

static bool mlock_one(void)
{
	return fl_mlock2(at(29000), PAGE, MLOCK_ONFAULT) == 0;
}

static bool mmap_one(void)
{
	return fl_mmap(at(28000), PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/*
 * What fails changes nothing. Each time a VMA or two more are free: the pages from `page` on were made different in turn,
 * and become alike again. So there are moments at which one end of a range can be cut, and the other cannot.
 */
static void until_there_is_memory(bool (*call)(void), uint64_t page)
{
	uint64_t count = mm->index.count;

	for (; !call(); page += 2) {
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(mm->index.count, count);
		vma_check_merged();
		protect(page, 1, RW);
		count = mm->index.count;
	}
}

/* Whatever a call that fails has done, VMAs are whole; and when there is memory again, it can be done. */
static void no_memory_for_divisions(void **state)
{
	uint64_t taken, n = 0;

	(void)state;
	map(0, 40000);
	touch(0);
	taken = use_up(60);
	while (n < 20000 && fl_mprotect(at(2 * n), PAGE, PROT_READ) == 0)
		n++;
	assert_true(n > 100 && n < 10000);
	assert_int_equal(errno, ENOMEM);
	vma_check_index(mm);
	vma_check_sums(mm);
	assert_int_equal(fl_madvise(at(30000), PAGE, MADV_RANDOM), -1);
	assert_int_equal(errno, EAGAIN);
	until_there_is_memory(munmap_one, 0);
	until_there_is_memory(mlock_one, 50);
	until_there_is_memory(mmap_one, 100);
	budget_release(taken);
	unmap(28000, 3000);
	protect(0, 28000, RW);
	assert_int_equal(mm->index.count, 2);
}

/* A run of more VMAs than fit into one part of the index. */
static void many_vmas_that_move_without_memory(void **state)
{
	uint64_t taken;

	(void)state;
	for (uint64_t p = 0; p < 500; p++) {
		map(p, 1);
		touch(p);
	}
	assert_int_equal(mm->index.count, kind == SHARED_FILE ? 1 : 500);
	taken = use_up(0);
	if (fl_mremap(at(0), 500 * PAGE, 500 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(20000)) == MAP_FAILED)
		assert_int_equal(errno, ENOMEM);
	budget_release(taken);
	vma_check();
	assert_int_equal(mm->index.count, kind == SHARED_FILE ? 1 : 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_ALL_KINDS(splits),
		OF_ALL_KINDS(splits_of_private_pages),
		OF_ALL_KINDS(merges_of_a_part),
		OF_ALL_KINDS(unmap_parts),
		OF_ALL_KINDS(unmap_several),
		OF_ALL_KINDS(what_has_moved),
		OF_ALL_KINDS(what_has_moved_without_pages),
		OF_ALL_KINDS(what_is_moved_over_others),
		OF_ALL_KINDS(what_shrinks_and_grows),
		OF_ALL_KINDS(what_is_left_behind),
		OF_ALL_KINDS(many_that_move),
		OF_ALL_KINDS(moves_that_the_kernel_refuses),
		OF_ALL_KINDS(no_memory_for_divisions),
		OF_ALL_KINDS(many_vmas_that_move_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
