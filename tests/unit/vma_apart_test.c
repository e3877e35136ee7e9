/* SPDX-License-Identifier: Apache-2.0 */
/* Every reason for which two neighbours do not become one VMA, and that each is enough. */
#include "vma_ground.h"

/* ---- Why two neighbours stay two ---- */

static void another_object(void **state)
{
	int shared = kind == SHARED_FILE ? MAP_SHARED : MAP_PRIVATE;

	(void)state;
	map(0, 3);
	map_file(3, 3, RW, shared, other_fd, 3);
	expect("AAABBB");
	map_file(3, 3, RW, MAP_SHARED | MAP_PRIVATE, fd, 3); /* MAP_SHARED_VALIDATE is as MAP_SHARED */
	expect(kind == SHARED_FILE ? "AAAAAA" : "AAABBB");
	map_file(3, 3, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(kind == PRIVATE_ANONYMOUS ? "AAAAAA" : "AAABBB");
}

static void an_offset_that_does_not_continue(void **state)
{
	int shared = kind == SHARED_FILE ? MAP_SHARED : MAP_PRIVATE;
	static const uint64_t wrong[] = {0, 2, 4, 5, 6, 100};

	(void)state;
	if (kind == PRIVATE_ANONYMOUS) /* whose offset is its address: see what_has_moved */
		return;
	map(0, 3);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		map_file(3, 3, RW, shared, fd, wrong[i]);
		expect("AAABBB");
	}
	map_file(3, 3, RW, shared, fd, 3);
	expect("AAAAAA");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		map_file(0, 3, RW, shared, fd, wrong[i] + 1);
		expect("BBBAAA");
	}
}

static void another_protection(void **state)
{
	(void)state;
	for (int left = 0; left < 8; left++)
		for (int right = 0; right < 8; right++) {
			map_as(0, 3, left, MAP_NORESERVE); /* so that only the protection differs */
			map_as(3, 3, right, MAP_NORESERVE);
			expect(left == right ? "AAAAAA" : "AAABBB");
			protect(0, 3, right);
			expect("AAAAAA");
		}
}

/* A private mapping that could be written stays accounted for, unless it is memory that never was (mprotect_fixup() of Linux). */
static void a_mapping_that_was_once_writable(void **state)
{
	(void)state;
	map_as(0, 6, PROT_READ, 0);
	protect(3, 3, RW);
	protect(3, 3, PROT_READ);
	expect(kind == PRIVATE_FILE ? "AAABBB" : "AAAAAA");
	protect(3, 3, RW);
	touch(3);
	protect(3, 3, PROT_READ);
	expect(kind == SHARED_FILE ? "AAAAAA" : "AAABBB");
	assert_int_equal(atomic_load(&mm->committed), kind == SHARED_FILE ? 0 : 3 * PAGE);
}

/* Flags as they are, with all that goes with them. */
static void set_flags(struct vma *v, unsigned flags)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&mm->mmap_lock);
	vma_lock_write(v);
	write_lock(&rmap_lock);
	mm_count(mm, v, -1);
	vma_unlink_rmap(v);
	v->flags = flags;
	vma_link_rmap(v);
	mm_count(mm, v, 1);
	write_unlock(&rmap_lock);
	vma_unlock_write(v);
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
}

static void a_flag(void **state)
{
	unsigned is;

	(void)state;
	map(0, 6);
	is = vma_at(0)->flags;
	for (unsigned flag = 1; flag <= VM_DROPPABLE; flag <<= 1) {
		split(3, 3);
		set_flags(vma_at(3), is ^ flag);
		merge(0, 6);
		expect("AAABBB");
		set_flags(vma_at(3), is);
		set_flags(vma_at(0), is ^ flag);
		merge(0, 6);
		expect("AAABBB");
		set_flags(vma_at(3), is ^ flag);
		merge(0, 6);
		expect(flag == VM_HUGETLB ? "AAABBB" : "AAAAAA");
		set_flags(vma_at(3), is);
		set_flags(vma_at(0), is);
		merge(0, 6);
		expect("AAAAAA");
	}
}

static void another_advice(void **state)
{
	static const int advice[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL};

	(void)state;
	map(0, 6);
	for (int left = 0; left < 3; left++)
		for (int right = 0; right < 3; right++) {
			advise(0, 3, advice[left]);
			advise(3, 3, advice[right]);
			expect(left == right ? "AAAAAA" : "AAABBB");
		}
}

/* Each is told once of an error of write-back: one that was told already, and one that was not. */
static void errors_told(void **state)
{
	(void)state;
	map(0, 6);
	split(3, 3);
	vma_at(3)->wb_seen++;
	merge(0, 6);
	expect("AAABBB");
	vma_at(0)->wb_seen++;
	merge(0, 6);
	expect("AAAAAA");
	split(1, 3); /* parts have been told what the whole was */
	expect_parts("ABBBCC");
	move(1, 3, 11);
	move(11, 3, 1);
	expect("AAAAAA");
}

/* The lower one ends in the middle of what the other sees, or the other way round: only ends that meet count. */
static void a_hole_between(void **state)
{
	(void)state;
	map(0, 3);
	map(4, 2);
	merge(0, 6);
	expect("AAA.BB");
	merge(0, 3);
	merge(3, 1);
	merge(4, 2);
	expect("AAA.BB");
}

/* ---- Private pages ---- */

/* One object for each of two mappings that were written to before they met; one for two parts of one mapping. */
static void different_private_pages(void **state)
{
	(void)state;
	map(0, 3);
	touch(0);
	map(4, 3);
	touch(4);
	map(3, 1);
	expect(kind == SHARED_FILE ? "AAAAAAA" : "AAANBBB");
	map(8, 6);
	touch(8);
	protect(10, 2, PROT_READ);
	expect(kind == SHARED_FILE ? "AAAAAAA.CCDDCC" : "AAANBBB.CCDDCC");
	protect(10, 2, RW);
	expect(kind == SHARED_FILE ? "AAAAAAA.CCCCCC" : "AAANBBB.CCCCCC");
}

/* A mapping with private pages, and one that has none yet; and after the first write there. */
static void private_pages_on_one_side(void **state)
{
	(void)state;
	map(0, 6);
	protect(3, 3, PROT_READ);
	touch(0);
	protect(3, 3, RW);
	expect(kind == SHARED_FILE ? "AAAAAA" : "AAABBB");
	touch(3);
	merge(0, 6);
	expect(kind == SHARED_FILE ? "AAAAAA" : "AAABBB");
	map(6, 3);
	expect(kind == SHARED_FILE ? "AAAAAAAAA" : "AAABBBNNN");
}

/* One object of private pages, and a gap in it. */
static void private_pages_that_do_not_continue(void **state)
{
	struct vma *v;

	(void)state;
	if (kind == SHARED_FILE)
		return;
	map(0, 7);
	touch(0);
	split(3, 1);
	unmap(6, 1);
	merge(0, 6);
	expect("AAAAAA");
	split(3, 3);
	v = vma_at(3);
	write_lock(&rmap_lock);
	vma_unlink_rmap(v);
	v->anon_pgoff++;
	vma_link_rmap(v);
	write_unlock(&rmap_lock);
	merge(0, 6);
	expect("AAABBB");
}

/* A part that is cut out, and mapped again, has lost its private pages. */
static void a_part_that_begins_anew(void **state)
{
	(void)state;
	map(0, 9);
	touch(0);
	unmap(3, 3);
	expect("AAA...BBB");
	map(3, 3);
	expect(kind == SHARED_FILE ? "AAAAAAAAA" : "AAANNNBBB");
	unmap(3, 3);
	move(6, 3, 12); /* and back: it is what it was, but for the middle */
	expect("AAA.........BBB");
	move(12, 3, 6);
	expect("AAA...BBB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_ALL_KINDS(another_object),
		OF_ALL_KINDS(an_offset_that_does_not_continue),
		OF_ALL_KINDS(another_protection),
		OF_ALL_KINDS(a_mapping_that_was_once_writable),
		OF_ALL_KINDS(a_flag),
		OF_ALL_KINDS(another_advice),
		OF_ALL_KINDS(errors_told),
		OF_ALL_KINDS(a_hole_between),
		OF_ALL_KINDS(different_private_pages),
		OF_ALL_KINDS(private_pages_on_one_side),
		OF_ALL_KINDS(private_pages_that_do_not_continue),
		OF_ALL_KINDS(a_part_that_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
