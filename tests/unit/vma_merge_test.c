/* SPDX-License-Identifier: Apache-2.0 */
/* Which VMAs become one: every neighbour a new or a changed mapping can have. Why others do not: vma_apart_test.c. */
#include "vma_ground.h"

/* ---- A new VMA and its neighbours ---- */

static void a_new_vma_alone(void **state)
{
	(void)state;
	expect("");
	map(3, 3);
	expect("...NNN");
}

static void a_new_vma_with_neighbours(void **state)
{
	(void)state;
	map(0, 3);
	map(6, 3);
	expect("AAA...BBB");
	map(3, 3);
	expect("AAAAAAAAA");
}

static void a_new_vma_with_a_left_neighbour(void **state)
{
	(void)state;
	map(0, 3);
	expect("AAA");
	map(3, 3);
	expect("AAAAAA");
	map(7, 2);
	expect("AAAAAA.BB");
}

static void a_new_vma_with_a_right_neighbour(void **state)
{
	(void)state;
	map(6, 3);
	expect("......BBB");
	map(3, 3);
	expect("...BBBBBB");
	map(0, 2);
	expect("AA.BBBBBB");
}

static void a_new_vma_among_holes(void **state)
{
	(void)state;
	map(0, 3);
	map(8, 3);
	expect("AAA.....BBB");
	map(4, 3);
	expect("AAA.NNN.BBB");
}

/* Like the left neighbour, like the right one, like neither. */
static void a_new_vma_between_unlike_ones(void **state)
{
	(void)state;
	map_as(0, 3, PROT_READ, 0);
	map(6, 3);
	expect("AAA...BBB");
	map(3, 3);
	expect("AAABBBBBB");
	map_as(3, 3, PROT_READ, 0);
	expect("AAAAAABBB");
	map_as(3, 3, PROT_NONE, 0);
	expect("AAANNNBBB");
}

/* MAP_FIXED: what is replaced was like its neighbours, or not, and so is what comes. */
static void a_new_vma_in_the_place_of_others(void **state)
{
	(void)state;
	map(0, 9);
	expect("AAAAAAAAA");
	map(3, 3);
	expect("AAAAAAAAA");
	map_as(3, 3, PROT_READ, 0);
	expect("AAANNNBBB");
	map_as(2, 2, PROT_NONE, 0);
	expect("AAMMNNBBB");
	map(1, 7);
	expect("AAAAAAAAA");
	map_as(0, 9, PROT_READ, 0);
	expect("NNNNNNNNN");
	map(8, 4);
	expect("NNNNNNNNAAAA");
}

/* A file twice as shared memory of its own: two objects. */
static void shared_anonymous_memory_stays_apart(void **state)
{
	(void)state;
	map_file(0, 3, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map_file(3, 3, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect("AAABBB");
	protect(1, 1, PROT_READ);
	expect("ABACCC");
	protect(1, 1, RW);
	expect("AAABBB");
}

/* ---- Changes of what is there: the cases of vma_merge() in Linux, where P, N are the neighbours of the range ---- */

/* Case 0: AAAAAAA -> AANNNBB, and back. */
static void a_change_in_the_middle(void **state)
{
	(void)state;
	map(0, 7);
	protect(2, 3, PROT_READ);
	expect("AANNNBB");
	protect(2, 3, RW);
	expect("AAAAAAA");
}

/* Cases 1, 2, 3: all of a VMA changes, and is then as both neighbours, the left one, the right one. */
static void a_whole_vma_becomes_as_its_neighbours(void **state)
{
	(void)state;
	map(0, 9);
	protect(3, 3, PROT_READ);
	expect("PPPCCCNNN");
	protect(3, 3, RW);
	expect("PPPPPPPPP");
	protect(3, 3, PROT_READ);
	protect(6, 3, PROT_NONE);
	expect("PPPCCCNNN");
	protect(3, 3, RW);
	expect("PPPPPPNNN");
	protect(3, 3, PROT_READ);
	protect(3, 3, PROT_NONE);
	expect("PPPNNNNNN");
}

/* Case 4: the upper part of the left one becomes as the right one. Case 5: the lower part of the right one, as the left. */
static void a_part_becomes_as_its_neighbour(void **state)
{
	(void)state;
	map_as(0, 4, RW, MAP_NORESERVE);
	map_as(4, 4, PROT_READ, MAP_NORESERVE);
	expect("PPPPNNNN");
	protect(2, 2, PROT_READ);
	expect("PPNNNNNN");
	protect(2, 4, RW);
	expect("PPPPPPNN");
	protect(5, 3, PROT_READ);
	expect("PPPPPNNN");
}

/* Cases 6, 7, 8: the range has several VMAs and parts of more. */
static void a_change_over_several(void **state)
{
	static const int prots[] = {RW, PROT_READ, PROT_NONE, RW, PROT_READ};

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		map_as(2 * i, 2, prots[i], MAP_NORESERVE);
	expect("AABBCCDDEE");
	protect(3, 4, PROT_NONE);
	expect("AABNNNNDEE");
	protect(2, 5, RW);
	expect("AAAAAAAAEE");
	protect(1, 8, PROT_READ);
	expect("ANNNNNNNNN");
	protect(0, 10, PROT_READ);
	expect("NNNNNNNNNN");
}

/* Up to a hole, the change is made. */
static void a_change_over_holes(void **state)
{
	(void)state;
	map(0, 3);
	map(4, 3);
	map(8, 3);
	expect("AAA.BBB.CCC");
	assert_int_equal(fl_mprotect(at(1), 9 * PAGE, PROT_READ), -1);
	assert_int_equal(errno, ENOMEM);
	expect("ANN.BBB.CCC");
	assert_int_equal(fl_madvise(at(1), 9 * PAGE, MADV_RANDOM), -1);
	assert_int_equal(errno, ENOMEM);
	expect("ANN.BBB.NNC");
	assert_int_equal(fl_mlock2(at(5), 5 * PAGE, MLOCK_ONFAULT), -1);
	assert_int_equal(errno, ENOMEM);
	expect("ANN.BNN.NNC");
}

/* What changes nothing divides nothing. */
static void no_change(void **state)
{
	(void)state;
	map(0, 6);
	protect(2, 2, RW);
	expect("AAAAAA");
	advise(1, 4, MADV_NORMAL);
	expect("AAAAAA");
	assert_int_equal(fl_munlock(at(3), PAGE), 0);
	expect("AAAAAA");
	assert_int_equal(fl_mprotect(at(2), 0, PROT_READ), 0);
	assert_int_equal(fl_madvise(at(2), 0, MADV_RANDOM), 0);
	expect("AAAAAA");
}

static void a_change_that_is_refused(void **state)
{
	(void)state;
	map(0, 6);
	assert_int_equal(fl_mseal(at(4), PAGE, 0), 0);
	expect("AAAASB");
	assert_int_equal(fl_mprotect(at(1), 5 * PAGE, PROT_READ), -1);
	assert_int_equal(errno, EPERM);
	expect("ANNNSB");
	assert_int_equal(fl_munmap(at(1), 5 * PAGE), -1);
	assert_int_equal(errno, EPERM);
	expect("ANNNSB");
	vma_at(4)->flags &= ~(unsigned)VM_SEALED; /* to be rid of it */
	protect(1, 4, RW);
	expect_parts("AAAAAB"); /* of these two neither has changed */
	merge(0, 6);
	expect("AAAAAA");
}

/* Each advice that is noted, on the middle, over two, and taken back. */
static void advice_divides_and_joins(void **state)
{
	static const int pairs[][2] = {{MADV_RANDOM, MADV_NORMAL},         {MADV_SEQUENTIAL, MADV_NORMAL},
				       {MADV_DONTFORK, MADV_DOFORK},       {MADV_DONTDUMP, MADV_DODUMP},
				       {MADV_MERGEABLE, MADV_UNMERGEABLE}, {MADV_WIPEONFORK, MADV_KEEPONFORK},
				       {MADV_HUGEPAGE, MADV_NOHUGEPAGE}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (pairs[i][0] == MADV_WIPEONFORK && kind != PRIVATE_ANONYMOUS)
			continue;
		if (pairs[i][0] == MADV_MERGEABLE && kind == SHARED_FILE)
			continue;
		map(0, 8);
		advise(0, 8, pairs[i][1]);
		expect("AAAAAAAA");
		advise(2, 2, pairs[i][0]);
		expect("AANNBBBB");
		advise(3, 3, pairs[i][0]);
		expect("AANNNNBB");
		advise(0, 2, pairs[i][0]);
		expect("NNNNNNBB");
		advise(1, 3, pairs[i][1]);
		expect("NAAANNBB");
		advise(0, 8, pairs[i][1]);
		expect("AAAAAAAA");
		unmap(0, 8);
	}
}

static void locks_divide_and_join(void **state)
{
	(void)state;
	map(0, 8);
	assert_int_equal(fl_mlock2(at(2), 2 * PAGE, MLOCK_ONFAULT), 0);
	expect("AALLBBBB");
	assert_int_equal(fl_mlock2(at(3), 3 * PAGE, MLOCK_ONFAULT), 0);
	expect("AALLLLBB");
	assert_int_equal(fl_munlock(at(3), PAGE), 0);
	expect("AALBLLCC");
	assert_int_equal(fl_mlockall(MCL_CURRENT | MCL_ONFAULT), 0);
	expect("LLLLLLLL");
	assert_int_equal(fl_munlock(at(0), 2 * PAGE), 0);
	expect("AALLLLLL");
	assert_int_equal(fl_munlockall(), 0);
	expect("AAAAAAAA");
}

/* The pages that mlock brings in give private mappings an object for them, before or after the division. */
static void pages_locked_in_memory(void **state)
{
	(void)state;
	map(0, 8);
	assert_int_equal(fl_mlock(at(0), 8 * PAGE), 0);
	expect("LLLLLLLL");
	assert_int_equal(fl_munlock(at(3), 2 * PAGE), 0);
	expect("LLLAALLL");
	unmap(1, 3);
	expect("L...ALLL");
	assert_int_equal(fl_munlock(at(0), PAGE), 0);
	assert_int_equal(fl_munlock(at(4), 4 * PAGE), 0);
	expect("A...BBBB");
}

/* After mlockall(MCL_FUTURE) a new mapping is locked, and not like those from before. */
static void locks_to_come(void **state)
{
	(void)state;
	map(0, 2);
	assert_int_equal(fl_mlockall(MCL_FUTURE | MCL_ONFAULT), 0);
	map(2, 2);
	map(4, 2);
	expect("AALLLL");
	assert_int_equal(fl_munlockall(), 0);
	expect("AAAAAA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_ALL_KINDS(a_new_vma_alone),
		OF_ALL_KINDS(a_new_vma_with_neighbours),
		OF_ALL_KINDS(a_new_vma_with_a_left_neighbour),
		OF_ALL_KINDS(a_new_vma_with_a_right_neighbour),
		OF_ALL_KINDS(a_new_vma_among_holes),
		OF_ALL_KINDS(a_new_vma_between_unlike_ones),
		OF_ALL_KINDS(a_new_vma_in_the_place_of_others),
		OF_NO_KIND(shared_anonymous_memory_stays_apart),
		OF_ALL_KINDS(a_change_in_the_middle),
		OF_ALL_KINDS(a_whole_vma_becomes_as_its_neighbours),
		OF_ALL_KINDS(a_part_becomes_as_its_neighbour),
		OF_ALL_KINDS(a_change_over_several),
		OF_ALL_KINDS(a_change_over_holes),
		OF_ALL_KINDS(no_change),
		OF_ALL_KINDS(a_change_that_is_refused),
		OF_ALL_KINDS(advice_divides_and_joins),
		OF_ALL_KINDS(locks_divide_and_join),
		OF_ALL_KINDS(pages_locked_in_memory),
		OF_ALL_KINDS(locks_to_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
