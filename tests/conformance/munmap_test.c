/* SPDX-License-Identifier: Apache-2.0 */
/* munmap(2). */
#include "conformance.h"

static int do_munmap(const struct calls *c, char *addr, size_t length, int arg)
{
	(void)arg;
	return c->munmap(addr, length);
}

static const struct range_case cases[] = {
	{"all of a mapping", "ssss", 0, 4 * PAGE, 0, 0, "----"},
	{"its start", "ssss", 0, 2 * PAGE, 0, 0, "--ww"},
	{"its end", "ssss", 2 * PAGE, 2 * PAGE, 0, 0, "ww--"},
	{"its middle", "ssss", PAGE, 2 * PAGE, 0, 0, "w--w"},
	{"several mappings", "ssppoo", PAGE, 4 * PAGE, 0, 0, "w----r"},
	{"several mappings and holes", ".ss.p.oo", 0, 7 * PAGE, 0, 0, "-------r"},
	{"nothing is mapped there", "........", 0, 8 * PAGE, 0, 0, "--------"},
	{"anonymous mappings", "aazz", PAGE, 2 * PAGE, 0, 0, "w--w"},
	{"a length within a page", "ss", 0, 1, 0, 0, "-w"},
	{"a length one over a page", "sss", 0, PAGE + 1, 0, 0, "--w"},
	{"length 0", "ss", 0, 0, 0, EINVAL, "ww"},
	{"a misaligned address", "ss", 1, PAGE, 0, EINVAL, "ww"},
	{"a misaligned address and length 0", "ss", 1, 0, 0, EINVAL, "ww"},
	{"a misaligned address where nothing is mapped", "..", 8, PAGE, 0, EINVAL, "--"},
	{"length SIZE_MAX", "ss", 0, SIZE_MAX, 0, EINVAL, "ww"},
	{"a length that rounds up to 0", "ss", 0, SIZE_MAX - 100, 0, EINVAL, "ww"},
	{"length 2^63", "ss", 0, 1UL << 63, 0, EINVAL, "ww"},
	{"length 2^47", "ss", 0, 1UL << 47, 0, EINVAL, "ww"},
	{"an end beyond the address space", "ss", 0, (1UL << 47) - (size_t)ARENA, 0, EINVAL, "ww"},
	{"an address beyond the address space", "s", AT(1UL << 47), PAGE, 0, EINVAL, "w"},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, 0, EINVAL, "w"},
	{"the last page there is", "s", AT(-PAGE), PAGE, 0, EINVAL, "w"},
	{"NULL", "s", AT(0), PAGE, 0, 0, "w"},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_munmap);
}

/* DESCRIPTION: "further references to addresses within the range generate invalid memory references". */
CONFORMS(references_after_it_are_invalid)
{
	map_layout(w, "ss");
	ARENA[PAGE] = 1;
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	assert_caught(try_read(ARENA + PAGE), SIGSEGV, SEGV_MAPERR, ARENA + PAGE);
	assert_caught(try_write(ARENA + 5, 1), SIGSEGV, SEGV_MAPERR, ARENA + 5);
}

CONFORMS(twice_is_as_once)
{
	map_layout(w, "ssss");
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_access(ARENA, "----");
}

/* What is left of a mapping shows the same pages of the file as before. */
CONFORMS(the_rest_keeps_its_contents)
{
	map_layout(w, "ssssssss");
	ARENA[5 * PAGE + 7] = 'x';
	for (size_t i = 0; i < 8; i += 2)
		assert_ok(w->c->munmap(ARENA + i * PAGE, PAGE));
	assert_access(ARENA, "-w-w-w-w");
	for (size_t i = 1; i < 8; i += 2)
		assert_int_equal(ARENA[i * PAGE + 100], mark(i));
	assert_int_equal(ARENA[5 * PAGE + 7], 'x');
}

/* Every second page of many mappings, then the rest in one call. */
CONFORMS(many_pieces)
{
	for (size_t i = 0; i < 64; i++)
		map_ok(w, ARENA + i * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, (off_t)((63 - i) * PAGE));
	for (size_t i = 0; i < 64; i += 2)
		assert_ok(w->c->munmap(ARENA + i * PAGE, PAGE));
	for (size_t i = 1; i < 64; i += 2)
		assert_int_equal(ARENA[i * PAGE], mark(63 - i));
	assert_ok(w->c->munmap(ARENA + PAGE, 62 * PAGE));
	assert_int_equal(ARENA[63 * PAGE], mark(0));
	assert_access(ARENA + 60 * PAGE, "---w");
}

/* NOTES of mmap(2): stores through a shared mapping are carried through to the file, here when all is unmapped. */
CONFORMS(stores_are_in_the_file_afterwards)
{
	char byte;

	map_layout(w, "ssss");
	ARENA[2 * PAGE + 9] = 'x';
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_int_equal(pread(w->fd, &byte, 1, 2 * PAGE + 9), 1);
	assert_int_equal(byte, 'x');
}

/* POSIX: modifications to a MAP_PRIVATE mapping are discarded. */
CONFORMS(private_stores_are_not)
{
	char byte;

	map_layout(w, "pppp");
	ARENA[2 * PAGE + 9] = 'x';
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_int_equal(pread(w->fd, &byte, 1, 2 * PAGE + 9), 1);
	assert_int_equal(byte, mark(2));
	map_layout(w, "pppp");
	assert_int_equal(ARENA[2 * PAGE + 9], mark(2));
}

/* A mapping may be put where one was. */
CONFORMS(the_addresses_can_be_used_again)
{
	map_layout(w, "ssss");
	assert_ok(w->c->munmap(ARENA + PAGE, 2 * PAGE));
	map_ok(w, ARENA + PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, w->fd, 20 * PAGE);
	assert_access(ARENA, "wrrw");
	assert_int_equal(ARENA[2 * PAGE], mark(21));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),      RUN(references_after_it_are_invalid),   RUN(twice_is_as_once),       RUN(the_rest_keeps_its_contents),
		RUN(many_pieces), RUN(stores_are_in_the_file_afterwards), RUN(private_stores_are_not), RUN(the_addresses_can_be_used_again),
	};

	return run_conformance_tests(tests);
}
