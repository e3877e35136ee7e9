/* SPDX-License-Identifier: Apache-2.0 */
/* mseal(2), as the kernel's documentation has it (userspace-api/mseal). Seals last as long as the process: in children only. */
#include "conformance.h"

static int do_mseal(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->mseal(addr, length, (unsigned long)arg);
}

/* None of these seals anything. */
static const struct range_case cases[] = {
	{"length 0", "ss", 0, 0, 0, 0},
	{"length 0 where nothing is mapped", "..", 0, 0, 0, 0},
	{"flags", "ss", 0, PAGE, 1, EINVAL},
	{"flags where nothing is mapped", "..", 0, PAGE, 1, EINVAL},
	{"flags and length 0", "ss", 0, 0, 1, EINVAL},
	{"a misaligned address", "ss", 1, PAGE, 0, EINVAL},
	{"a misaligned address and length 0", "ss", 1, 0, 0, EINVAL},
	{"length SIZE_MAX", "ss", 0, SIZE_MAX, 0, EINVAL},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA + PAGE, 0, EINVAL},
	{"length 2^63", "ss", 0, 1UL << 63, 0, ENOMEM},
	{"nothing is mapped", "..", 0, PAGE, 0, ENOMEM},
	{"a hole at the start", ".ss", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole in the middle: nothing is sealed", "s.s", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole at the end", "ss.", 0, 3 * PAGE, 0, ENOMEM},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_mseal);
}

/* In a child nothing can be asserted: the number of the first step that went otherwise is its status. */
#define STEP(n, condition)        \
	do {                      \
		if (!(condition)) \
			return n; \
	} while (0)

/* All that would change where the range is, or what it allows. */
static int sealed_range(struct world *w, char *map)
{
	const struct calls *c = w->c;

	map_layout(w, "ssss");
	STEP(1, ERROR_OF(c->mseal(map + PAGE, 2 * PAGE, 0)) == 0);
	STEP(2, ERROR_OF(c->munmap(map + PAGE, PAGE)) == EPERM);
	STEP(3, ERROR_OF(c->munmap(map, 4 * PAGE)) == EPERM);
	STEP(4, ERROR_OF(c->mprotect(map, 4 * PAGE, PROT_READ)) == EPERM);
	STEP(5, POINTER_ERROR_OF(c->mmap(map + 2 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0)) == EPERM);
	STEP(6, POINTER_ERROR_OF(c->mremap(map + PAGE, 2 * PAGE, PAGE, 0)) == EPERM);
	STEP(7, POINTER_ERROR_OF(c->mremap(map + PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE)) == EPERM);
	STEP(8, POINTER_ERROR_OF(c->mremap(map, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map + PAGE)) == EPERM || !c->faultline);
	return 0;
}

static int sealed_range_is_used(struct world *w, char *map)
{
	const struct calls *c = w->c;
	char byte = 0;

	map_layout(w, "ss");
	STEP(1, ERROR_OF(c->mseal(map, 2 * PAGE, 0)) == 0);
	STEP(2, ERROR_OF(c->mseal(map, 2 * PAGE, 0)) == 0);
	STEP(3, map[PAGE] == mark(1));
	map[PAGE] = 'x';
	STEP(4, ERROR_OF(c->msync(map, 2 * PAGE, MS_SYNC)) == 0);
	STEP(5, pread(w->fd, &byte, 1, PAGE) == 1 && byte == 'x');
	STEP(6, ERROR_OF(c->madvise(map, 2 * PAGE, MADV_DONTNEED)) == 0);
	STEP(7, ERROR_OF(c->madvise(map, 2 * PAGE, MADV_RANDOM)) == 0);
	STEP(8, map[PAGE] == 'x');
	return 0;
}

/* What is beside a sealed range can be changed. */
static int around_it(struct world *w, char *map)
{
	const struct calls *c = w->c;

	map_layout(w, "ssss");
	STEP(1, ERROR_OF(c->mseal(map + PAGE, PAGE, 0)) == 0);
	STEP(2, ERROR_OF(c->munmap(map, PAGE)) == 0);
	STEP(3, ERROR_OF(c->mprotect(map + 2 * PAGE, 2 * PAGE, PROT_READ)) == 0);
	STEP(4, !strcmp(access_map(map, 4), "-wrr"));
	return 0;
}

/* The whole range is checked before anything of it changes. */
static int nothing_is_done(struct world *w, char *map)
{
	const struct calls *c = w->c;

	map_layout(w, "ssss");
	STEP(1, ERROR_OF(c->mseal(map + 3 * PAGE, PAGE, 0)) == 0);
	STEP(2, ERROR_OF(c->munmap(map, 4 * PAGE)) == EPERM);
	STEP(3, !strcmp(access_map(map, 4), "wwww"));
	return 0;
}

/* MADV_DONTNEED would discard what memory that may not be written holds. (It still does with a file's private pages.) */
static int discarding(struct world *w, char *map)
{
	const struct calls *c = w->c;

	map_layout(w, "aa");
	map[0] = 'x';
	STEP(1, ERROR_OF(c->mprotect(map, PAGE, PROT_READ)) == 0);
	STEP(2, ERROR_OF(c->mseal(map, 2 * PAGE, 0)) == 0);
	STEP(3, ERROR_OF(c->madvise(map, PAGE, MADV_DONTNEED)) == EPERM);
	STEP(4, map[0] == 'x');
	STEP(5, ERROR_OF(c->madvise(map + PAGE, PAGE, MADV_DONTNEED)) == 0);
	return 0;
}

static int inherited(struct world *w, char *map)
{
	return ERROR_OF(w->c->munmap(map, PAGE)) == EPERM ? 0 : 1;
}

static int of_children(struct world *w, char *map)
{
	map_layout(w, "pp");
	STEP(2, ERROR_OF(w->c->mseal(map, 2 * PAGE, 0)) == 0);
	return in_child(inherited, w, map) ? 0 : 3;
}

CONFORMS(a_sealed_range_stays)
{
	assert_true(in_child(sealed_range, w, ARENA));
}

CONFORMS(a_sealed_range_is_used_as_before)
{
	assert_true(in_child(sealed_range_is_used, w, ARENA));
}

CONFORMS(its_neighbours_can_change)
{
	assert_true(in_child(around_it, w, ARENA));
}

CONFORMS(all_is_checked_first)
{
	assert_true(in_child(nothing_is_done, w, ARENA));
}

CONFORMS(contents_cannot_be_discarded)
{
	assert_true(in_child(discarding, w, ARENA));
}

CONFORMS(children_inherit_seals)
{
	assert_true(in_child(of_children, w, ARENA));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_NEEDING(SEALS, errors),
		RUN_NEEDING(SEALS, a_sealed_range_stays),
		RUN_NEEDING(SEALS, a_sealed_range_is_used_as_before),
		RUN_NEEDING(SEALS, its_neighbours_can_change),
		RUN_NEEDING(SEALS, all_is_checked_first),
		RUN_NEEDING(SEALS, contents_cannot_be_discarded),
		RUN_NEEDING(SEALS, children_inherit_seals),
	};

	return run_conformance_tests(tests);
}
