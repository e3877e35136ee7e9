/* SPDX-License-Identifier: Apache-2.0 */
/* remap_file_pages(2): deprecated, and done by the kernel as a mmap over the range. */
#include "conformance.h"

static const struct {
	const char *name, *layout;
	size_t from, size;
	int prot;
	size_t pgoff;
	int flags, error;
	const char *after;
} cases[] = {
	{"one page", "ssss", PAGE, PAGE, 0, 9, 0, 0, "wwww"},
	{"all pages", "ssss", 0, 4 * PAGE, 0, 9, 0, 0, "wwww"},
	{"MAP_NONBLOCK", "ssss", 0, 4 * PAGE, 0, 9, MAP_NONBLOCK, 0, "wwww"},
	{"other flags", "ssss", 0, 4 * PAGE, 0, 9, MAP_PRIVATE | MAP_FIXED, 0, "wwww"},
	{"readable", "oooo", 0, 4 * PAGE, 0, 9, 0, 0, "rrrr"},
	{"of a file opened O_RDONLY: it can never be written", "rrrr", 0, 4 * PAGE, 0, 9, 0, EINVAL, "rrrr"},
	{"PROT_NONE", "nn", 0, PAGE, 0, 9, 0, 0, "00"},
	{"a misaligned address: it is rounded down", "ssss", PAGE + 5, PAGE, 0, 9, 0, 0, "wwww"},
	{"a misaligned size: it is rounded down", "ssss", 0, PAGE + 5, 0, 9, 0, 0, "wwww"},
	{"a size within a page", "ss", 0, 100, 0, 9, 0, EINVAL, "ww"},
	{"size 0", "ss", 0, 0, 0, 9, 0, EINVAL, "ww"},
	{"prot that is not 0", "ss", 0, PAGE, PROT_READ, 9, 0, EINVAL, "ww"},
	{"private", "pp", 0, PAGE, 0, 9, 0, EINVAL, "ww"},
	{"nothing is mapped", "..", 0, PAGE, 0, 9, 0, EINVAL, "--"},
	{"a hole", "s.s", 0, 3 * PAGE, 0, 9, 0, EINVAL, "w-w"},
	{"two mappings", "so", 0, 2 * PAGE, 0, 9, 0, EINVAL, "wr"},
	{"beyond the mapping", "ss", 0, 3 * PAGE, 0, 9, 0, EINVAL, "ww"},
	{"a page that overflows", "ss", 0, 2 * PAGE, 0, SIZE_MAX, 0, EINVAL, "ww"},
	{"size 2^63", "ss", 0, 1UL << 63, 0, 0, 0, EINVAL, "ww"},
	{"size SIZE_MAX", "ss", 0, SIZE_MAX, 0, 0, 0, EINVAL, "ww"},
	{"beyond the end of the file", "ss", 0, PAGE, 0, FILE_PAGES, 0, 0, "bw"},
};

CONFORMS(errors)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		int got;

		map_layout(w, cases[i].layout);
		got = ERROR_OF(
			w->c->remap_file_pages(from_arena(cases[i].from), cases[i].size, cases[i].prot, cases[i].pgoff, cases[i].flags));
		if (got != cases[i].error)
			wrong(w, "%s: %s, not %s", cases[i].name, strerrorname_np(got), strerrorname_np(cases[i].error));
		if (strcmp(access_map(ARENA, strlen(cases[i].after)), cases[i].after))
			wrong(w, "%s: pages are not %s", cases[i].name, cases[i].after);
		assert_ok(w->c->munmap(ARENA, ARENA_PAGES * PAGE));
	}
}

/* "a mapping in which the pages of the file are mapped into a nonsequential order". */
CONFORMS(pages_in_another_order)
{
	map_layout(w, "ssss");
	for (size_t i = 0; i < 4; i++)
		assert_ok(w->c->remap_file_pages(ARENA + i * PAGE, PAGE, 0, 20 - i, 0));
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(ARENA[i * PAGE], mark(20 - i));
		ARENA[i * PAGE] = (char)('a' + i);
	}
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 17 * PAGE);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(ARENA[(11 - i) * PAGE], 'a' + i);
}

/* Stores to pages that are no longer shown are not lost. */
CONFORMS(stores_before_it)
{
	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_ok(w->c->remap_file_pages(ARENA, PAGE, 0, 1, 0));
	assert_int_equal(ARENA[0], mark(1));
	assert_ok(w->c->remap_file_pages(ARENA, PAGE, 0, 0, 0));
	assert_int_equal(ARENA[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(pages_in_another_order),
		RUN(stores_before_it),
	};

	return run_conformance_tests(tests);
}
