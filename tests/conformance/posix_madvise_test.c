/* SPDX-License-Identifier: Apache-2.0 */
/* posix_madvise(3): the error is what it returns, and no advice changes what memory holds. */
#include "conformance.h"

static int do_advise(const struct calls *c, char *addr, size_t length, int arg)
{
	errno = c->posix_madvise(addr, length, arg);
	return errno ? -1 : 0;
}

static const struct range_case cases[] = {
	{"POSIX_MADV_NORMAL", "sspp", 0, 4 * PAGE, POSIX_MADV_NORMAL, 0, "wwww"},
	{"POSIX_MADV_SEQUENTIAL", "sspp", 0, 4 * PAGE, POSIX_MADV_SEQUENTIAL, 0, "wwww"},
	{"POSIX_MADV_RANDOM", "sspp", 0, 4 * PAGE, POSIX_MADV_RANDOM, 0, "wwww"},
	{"POSIX_MADV_WILLNEED", "sspp", 0, 4 * PAGE, POSIX_MADV_WILLNEED, 0, "wwww"},
	{"POSIX_MADV_DONTNEED", "sspp", 0, 4 * PAGE, POSIX_MADV_DONTNEED, 0, "wwww"},
	{"length 0", "ss", 0, 0, POSIX_MADV_NORMAL, 0},
	{"unknown advice", "ss", 0, PAGE, 12345, EINVAL},
	{"advice -1", "ss", 0, PAGE, -1, EINVAL},
	{"a misaligned address", "ss", 1, PAGE, POSIX_MADV_NORMAL, EINVAL},
	{"length SIZE_MAX", "ss", 0, SIZE_MAX, POSIX_MADV_NORMAL, EINVAL},
	{"nothing is mapped", "..", 0, PAGE, POSIX_MADV_NORMAL, ENOMEM},
	{"a hole", "s.s", 0, 3 * PAGE, POSIX_MADV_RANDOM, ENOMEM},
	{"POSIX_MADV_DONTNEED where nothing is mapped: nothing is looked at", "..", 0, PAGE, POSIX_MADV_DONTNEED, 0},
	{"POSIX_MADV_DONTNEED, a misaligned address", "ss", 1, PAGE, POSIX_MADV_DONTNEED, 0},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_advise);
}

/* "shall not affect the semantics of access to memory": POSIX_MADV_DONTNEED keeps private stores, unlike MADV_DONTNEED. */
CONFORMS(dontneed_keeps_private_stores)
{
	map_layout(w, "pp");
	ARENA[0] = 'x';
	assert_int_equal(w->c->posix_madvise(ARENA, 2 * PAGE, POSIX_MADV_DONTNEED), 0);
	assert_int_equal(ARENA[0], 'x');
}

/* errno is not the way the error is told. */
CONFORMS(errno_stays)
{
	errno = 77;
	assert_int_equal(w->c->posix_madvise(ARENA, PAGE, POSIX_MADV_NORMAL), ENOMEM);
	assert_int_equal(errno, 77);
	assert_int_equal(w->c->posix_madvise(ARENA, PAGE, 12345), EINVAL);
	assert_int_equal(errno, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(dontneed_keeps_private_stores),
		RUN(errno_stays),
	};

	return run_conformance_tests(tests);
}
