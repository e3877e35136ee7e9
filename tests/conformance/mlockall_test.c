/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlockall(2) and munlockall(2). The kernel's calls lock all that the process has, so this is no test for a program with
 * a sanitizer's memory.
 */
#include "conformance.h"

#include "locks.h"

static const struct {
	const char *name;
	int flags, error;
} cases[] = {
	{"no flags", 0, EINVAL},
	{"unknown flags", 8, EINVAL},
	{"unknown flags beside MCL_CURRENT", MCL_CURRENT | 16, EINVAL},
	{"only MCL_ONFAULT", MCL_ONFAULT, EINVAL},
	{"MCL_CURRENT", MCL_CURRENT, 0},
	{"MCL_FUTURE", MCL_FUTURE, 0},
	{"both", MCL_CURRENT | MCL_FUTURE, 0},
	{"MCL_CURRENT | MCL_ONFAULT", MCL_CURRENT | MCL_ONFAULT, 0},
	{"all", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, 0},
};

CONFORMS(errors)
{
	map_layout(w, "sspp.nn");
	for (size_t i = 0; i < COUNT(cases); i++) {
		int got = ERROR_OF(w->c->mlockall(cases[i].flags));

		if (got != cases[i].error)
			wrong(w, "%s: %s, not %s", cases[i].name, strerrorname_np(got), strerrorname_np(cases[i].error));
		assert_ok(w->c->munlockall());
	}
}

/* MCL_CURRENT: "Lock all pages which are currently mapped", and no later ones. */
CONFORMS(current)
{
	unsigned char vec[4];

	map_layout(w, "sspp.nn");
	assert_ok(w->c->mlockall(MCL_CURRENT));
	map_ok(w, ARENA + 8 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_locks(w, "LLLL-LL-u");
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[0] & vec[1] & vec[2] & vec[3] & 1, 1);
	assert_ok(w->c->munlockall());
	assert_locks(w, "uuuu-uu-u");
}

/* What cannot be brought in is locked all the same, and no error, of files and of objects that are the kernel's. */
CONFORMS(memory_that_cannot_be_brought_in)
{
	int fd = memfd_create("conformance", 0);

	map_layout(w, "nn");
	map_ok(w, ARENA + 2 * PAGE, PAGE, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 3 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_ok(w->c->mlockall(MCL_CURRENT));
	assert_locks(w, "LLLL");
	assert_ok(w->c->munlockall());
	close(fd);
}

/* MCL_FUTURE: "Lock all pages which will become mapped"; munlockall ends that too. */
CONFORMS(future)
{
	unsigned char vec[2];

	map_layout(w, "ss");
	assert_ok(w->c->mlockall(MCL_FUTURE));
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 4 * PAGE);
	assert_locks(w, "uuLLLL");
	assert_ok(w->c->mincore(ARENA + 2 * PAGE, 2 * PAGE, vec));
	assert_int_equal(vec[0] & vec[1] & 1, 1);
	assert_ok(w->c->munlockall());
	map_ok(w, ARENA + 6 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_locks(w, "uuuuuuuu");
}

/* "... followed by another call that does not specify this flag, the changes made by the MCL_FUTURE call will be lost". */
CONFORMS(future_until_another_call)
{
	map_layout(w, "ss");
	assert_ok(w->c->mlockall(MCL_FUTURE));
	assert_ok(w->c->mlockall(MCL_CURRENT));
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	assert_locks(w, "LLuu");
	assert_ok(w->c->munlockall());
}

static int child_does_nothing(struct world *w, char *map)
{
	(void)w;
	(void)map;
	return 0;
}

/* The same call takes no lock away, also of what a fork has made the kernel's. */
CONFORMS(another_call_takes_no_lock)
{
	map_layout(w, "ss");
	assert_ok(w->c->mlockall(MCL_FUTURE));
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	assert_true(in_child(child_does_nothing, w, NULL));
	assert_locks(w, "uuLL");
	assert_ok(w->c->mlockall(MCL_CURRENT));
	assert_locks(w, "LLLL");
	assert_int_equal(ERROR_OF(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED)), EINVAL); /* the kernel's word, of what is its own */
	assert_ok(w->c->munlockall());
	assert_locks(w, "uuuu");
}

static int child_locks_what_it_maps(struct world *w, char *map)
{
	(void)map;
	assert_ok(w->c->mlockall(MCL_FUTURE));
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 2 * PAGE);
	return strcmp(lock_map(w, 6), "uuLLLL") || ERROR_OF(w->c->madvise(ARENA + 2 * PAGE, PAGE, MADV_DONTNEED)) != EINVAL ||
	       ERROR_OF(w->c->madvise(ARENA + 4 * PAGE, PAGE, MADV_DONTNEED)) != EINVAL;
}

/* Also when its file was mapped before the fork, which can have made it the kernel's. */
CONFORMS(future_in_a_child)
{
	map_layout(w, "ss");
	assert_true(in_child(child_locks_what_it_maps, w, NULL));
	assert_locks(w, "uu----");
}

static int child_has_no_locks(struct world *w, char *map)
{
	(void)map;
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	return strcmp(lock_map(w, 4), "uuuu");
}

/* Neither locks nor MCL_FUTURE are inherited by a child. */
CONFORMS(children_have_neither)
{
	map_layout(w, "ss");
	assert_ok(w->c->mlockall(MCL_CURRENT | MCL_FUTURE));
	assert_true(in_child(child_has_no_locks, w, NULL));
	assert_locks(w, "LL--");
	assert_ok(w->c->munlockall());
}

/* EPERM: no privilege and a limit of 0. munlockall needs none. */
CONFORMS(without_privilege)
{
	struct limited l;
	int errors[2];

	limit_locked_pages(&l, 0);
	errors[0] = ERROR_OF(w->c->mlockall(MCL_FUTURE));
	errors[1] = ERROR_OF(w->c->munlockall());
	unlimited(&l);
	assert_int_equal(errors[0], EPERM);
	assert_int_equal(errors[1], 0);
}

/* ENOMEM: more is mapped than may be locked. With MCL_FUTURE, mmap is limited: EAGAIN. */
CONFORMS(the_limit)
{
	struct limited l;
	int errors[3];

	map_layout(w, "ssss");
	limit_locked_pages(&l, 3);
	errors[0] = ERROR_OF(w->c->mlockall(MCL_CURRENT));
	errors[1] = ERROR_OF(w->c->mlockall(MCL_FUTURE));
	errors[2] = POINTER_ERROR_OF(w->c->mmap(NULL, 4 * PAGE, RW, MAP_SHARED, w->fd, 0));
	w->c->munlockall();
	unlimited(&l);
	assert_int_equal(errors[0], ENOMEM);
	assert_int_equal(errors[1], 0);
	assert_int_equal(errors[2], EAGAIN);
}

#define LARGE (64 * PAGE) /* the first mapping of so much lives in frames of its own, until there is a second */

/* It counts what is mapped from then on: a mapping that was there is not counted when a second one of its file or a fork changes what is behind it. */
CONFORMS(the_limit_and_what_was_mapped_before)
{
	char *large = w->c->mmap(NULL, LARGE, RW, MAP_SHARED, w->fd, 0), *page;
	struct limited l;
	bool followed;
	int error;

	assert_ptr_not_equal(large, MAP_FAILED);
	large[0] = 'a';
	limit_locked_pages(&l, 8); /* the engine's own may need some */
	error = ERROR_OF(w->c->mlockall(MCL_FUTURE));
	page = w->c->mmap(NULL, PAGE, RW, MAP_SHARED, w->fd, 0);
	followed = page != MAP_FAILED && page[0] == 'a' && in_child(child_does_nothing, w, NULL) && large[0] == 'a';
	unlimited(&l);
	assert_ok(w->c->munlockall());
	assert_int_equal(error, 0);
	assert_true(followed);
	assert_ok(w->c->munmap(large, LARGE));
	assert_ok(w->c->munmap(page, PAGE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(current),
		RUN(memory_that_cannot_be_brought_in),
		RUN(future),
		RUN(future_until_another_call),
		RUN(another_call_takes_no_lock),
		RUN(future_in_a_child),
		RUN(children_have_neither),
		RUN(without_privilege),
		RUN(the_limit),
		RUN(the_limit_and_what_was_mapped_before),
	};

	return run_conformance_tests(tests);
}
