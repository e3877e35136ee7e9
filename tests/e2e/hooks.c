/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library of the program's has mmap(2) and its kin too, between the preload library and libc, and makes the calls by number (hooks_library.c). By number they come to
 * the preload library again, which must not go on to that library once more.
 */
#include "check.h"

#define LEN (4UL << 20)

extern int hooked;

static void anonymous(void)
{
	char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;

	CHECK(p != MAP_FAILED);
	memset(p, 1, LEN);
	q = mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[LEN - 1] == 1 && q[LEN] == 0);
	p = mmap64(q, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(p == q && !p[0] && !munmap(p, 2 * LEN));
}

static void of_a_file(void)
{
	int fd = pattern_file(LEN);
	char *p = map_file(fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED), *q, byte;

	p[LEN / 2] = 'x';
	q = mremap(p, LEN, LEN / 2 + PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[LEN / 2] == 'x');
	CHECK(pread(fd, &byte, 1, LEN / 2) == 1 && byte == 'x');
	CHECK(!munmap(q, LEN / 2 + PAGE) && !close(fd));
}

static void errors(void)
{
	char *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap64(NULL, PAGE, PROT_READ, MAP_SHARED, -1, 0) == MAP_FAILED && errno == EBADF);
	CHECK(mremap(p + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
	FAILS(EINVAL, munmap(p + 1, PAGE));
	CHECK(!munmap(p, PAGE));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"anonymous", anonymous}, {"of_a_file", of_a_file}, {"errors", errors}};

	(void)argc;
	CHECK(hooked >= 0); /* the library is needed */
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
