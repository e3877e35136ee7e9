/* SPDX-License-Identifier: Apache-2.0 */
/* mincore(2). */
#include "conformance.h"

static unsigned char vec[ARENA_PAGES];

static int do_mincore(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->mincore(addr, length, arg ? (unsigned char *)8 : vec);
}

static const struct range_case cases[] = {
	{"all of a mapping", "ssss", 0, 4 * PAGE, 0, 0},
	{"several mappings", "ssppoorr", PAGE, 6 * PAGE, 0, 0},
	{"PROT_NONE", "nn", 0, 2 * PAGE, 0, 0},
	{"anonymous mappings", "aazz", 0, 4 * PAGE, 0, 0},
	{"a length within a page", "ss", 0, 1, 0, 0},
	{"length 0", "ss", 0, 0, 0, 0},
	{"length 0 where nothing is mapped", "..", 0, 0, 0, 0},
	{"length 0, no vector", "ss", 0, 0, 1, 0},
	{"a misaligned address", "ss", 1, PAGE, 0, EINVAL},
	{"a misaligned address and length 0", "ss", 1, 0, 0, EINVAL},
	{"a misaligned address where nothing is mapped", "..", 1, PAGE, 0, EINVAL},
	{"a misaligned address, length 2^63", "ss", 1, 1UL << 63, 0, EINVAL},
	{"no vector", "ss", 0, 2 * PAGE, 1, EFAULT},
	{"no vector where nothing is mapped", "..", 0, 2 * PAGE, 1, ENOMEM},
	{"nothing is mapped", "..", 0, 2 * PAGE, 0, ENOMEM},
	{"a hole at the start", ".ss", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole in the middle", "s.s", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole at the end", "ss.", 0, 3 * PAGE, 0, ENOMEM},
	{"length SIZE_MAX", "ss", 0, SIZE_MAX, 0, ENOMEM},
	{"a length that rounds up to 0", "ss", 0, SIZE_MAX - 100, 0, ENOMEM},
	{"length 2^63", "ss", 0, 1UL << 63, 0, ENOMEM},
	{"length 2^47", "ss", 0, 1UL << 47, 0, ENOMEM},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, 0, ENOMEM},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_mincore);
}

/* A page that was just touched is in memory. */
CONFORMS(touched_pages_are_in_memory)
{
	map_layout(w, "ssssqqqq");
	for (size_t i = 0; i < 8; i += 3)
		(void)*(volatile char *)(ARENA + i * PAGE);
	assert_ok(w->c->mincore(ARENA, 8 * PAGE, vec));
	for (size_t i = 0; i < 8; i += 3)
		assert_int_equal(vec[i] & 1, 1);
}

/* The kernel tells of its page cache, which holds what was written lately; Faultline of its own. */
CONFORMS(pages_that_nobody_touched)
{
	map_layout(w, "ssss");
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_RANDOM));
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, !w->c->faultline);
}

/* So is a private copy, also of a page that the file has no more. */
CONFORMS(private_copies_are_in_memory)
{
	map_layout(w, "pppp");
	ARENA[2 * PAGE] = 'x';
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[2] & 1, 1);
}

/* "pages beyond the end of the file" are not. */
CONFORMS(pages_beyond_the_end_are_not)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ssss");
	(void)*(volatile char *)ARENA;
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[0] & 1, 1);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(vec[i] & 1, 0);
}

/* One byte a page is stored, and no more. */
CONFORMS(the_vector_is_a_byte_a_page)
{
	memset(vec, 0x5a, sizeof vec);
	map_layout(w, "ssss");
	access_map(ARENA, 4);
	assert_ok(w->c->mincore(ARENA + PAGE, PAGE + 1, vec + 1));
	assert_int_equal(vec[0], 0x5a);
	assert_int_equal(vec[1] & 1, 1);
	assert_int_equal(vec[2] & 1, 1);
	assert_int_equal(vec[3], 0x5a);
}

/* The other bits are reserved, and are 0 in practice. */
CONFORMS(other_bits_are_zero)
{
	memset(vec, 0xff, sizeof vec);
	map_layout(w, "sspp");
	access_map(ARENA, 4);
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(vec[i] & ~1, 0);
}

/* The vector may itself lie in a mapping whose pages are not in memory. */
CONFORMS(the_vector_in_a_mapping)
{
	map_layout(w, "ssss");
	(void)*(volatile char *)ARENA;
	assert_ok(w->c->mincore(ARENA, PAGE, (unsigned char *)ARENA + 3 * PAGE + 17));
	assert_int_equal(ARENA[3 * PAGE + 17], 1);
	assert_int_equal(ARENA[3 * PAGE + 18], mark(3));
}

CONFORMS(the_vector_cannot_be_written)
{
	map_layout(w, "srn");
	assert_error(w->c->mincore(ARENA, PAGE, (unsigned char *)ARENA + PAGE), EFAULT);
	assert_error(w->c->mincore(ARENA, PAGE, (unsigned char *)ARENA + 2 * PAGE), EFAULT);
	assert_error(w->c->mincore(ARENA, PAGE, (unsigned char *)ARENA + 3 * PAGE), EFAULT);
	assert_error(w->c->mincore(ARENA, PAGE, (unsigned char *)-PAGE), EFAULT);
}

/* What precedes a hole is told before it is found; a vector that is no memory of the program's is found first. */
CONFORMS(the_vector_and_holes)
{
	unsigned char *nowhere = (unsigned char *)(1UL << 47);

	map_layout(w, "srn");
	access_map(ARENA, 2);
	vec[0] = vec[1] = 0x5a;
	assert_error(w->c->mincore(ARENA + PAGE, 4 * PAGE, vec), ENOMEM);
	assert_int_equal(vec[0], 1);
	assert_error(w->c->mincore(ARENA + PAGE, 4 * PAGE, (unsigned char *)ARENA + PAGE), EFAULT);
	assert_error(w->c->mincore(ARENA + 3 * PAGE, PAGE, (unsigned char *)ARENA + PAGE), ENOMEM);
	assert_error(w->c->mincore(ARENA + 3 * PAGE, PAGE, nowhere), EFAULT);
	assert_error(w->c->mincore(ARENA + 1, PAGE, nowhere), EINVAL);
	assert_error(w->c->mincore((void *)nowhere, PAGE, nowhere), ENOMEM);
}

/* After MADV_DONTNEED of private memory nothing anonymous is there. */
CONFORMS(anonymous_memory)
{
	map_layout(w, "aaaa");
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, 0);
	ARENA[2 * PAGE] = 1;
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, i == 2);
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED));
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[2] & 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(touched_pages_are_in_memory),
		RUN_NEEDING(LIBRARY, pages_that_nobody_touched),
		RUN(private_copies_are_in_memory),
		RUN(pages_beyond_the_end_are_not),
		RUN(the_vector_is_a_byte_a_page),
		RUN(other_bits_are_zero),
		RUN(the_vector_in_a_mapping),
		RUN(the_vector_cannot_be_written),
		RUN(the_vector_and_holes),
		RUN(anonymous_memory),
	};

	return run_conformance_tests(tests);
}
