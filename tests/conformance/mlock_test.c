/* SPDX-License-Identifier: Apache-2.0 */
/* mlock(2), mlock2(2), munlock(2), and MAP_LOCKED. */
#include "conformance.h"

#include <time.h>

#include "locks.h"

static int do_mlock(const struct calls *c, char *addr, size_t length, int arg)
{
	(void)arg;
	return c->mlock(addr, length);
}

static int do_mlock2(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->mlock2(addr, length, (unsigned)arg);
}

static int do_munlock(const struct calls *c, char *addr, size_t length, int arg)
{
	(void)arg;
	return c->munlock(addr, length);
}

static const struct range_case locking[] = {
	{"all of a mapping", "ssss", 0, 4 * PAGE, 0, 0},
	{"several mappings", "ssppoorr", PAGE, 6 * PAGE, 0, 0},
	{"anonymous mappings", "aazz", 0, 4 * PAGE, 0, 0},
	{"length 0", "ss", 0, 0, 0, 0},
	{"length 0 where nothing is mapped", "..", 0, 0, 0, 0},
	{"a misaligned address: it is rounded down", "ss", 1, PAGE, 0, 0},
	{"a misaligned address, up to a hole", "s.", 1, PAGE, 0, ENOMEM},
	{"a misaligned address, within the page", "s.", 1, PAGE - 1, 0, 0},
	{"PROT_NONE", "nn", 0, 2 * PAGE, 0, ENOMEM},
	{"nothing is mapped", "..", 0, 2 * PAGE, 0, ENOMEM},
	{"a hole at the start", ".ss", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole in the middle", "s.s", 0, 3 * PAGE, 0, ENOMEM},
	{"a hole at the end", "ss.", 0, 3 * PAGE, 0, ENOMEM},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, 0, ENOMEM},
};

/* Lengths that no limit allows: the limit is looked at before the range. Nobody is limited when privileged. */
static const struct range_case far_ranges[] = {
	{"length SIZE_MAX: it rounds up to 0", "ss", 0, SIZE_MAX, 0, 0},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA + PAGE, 0, AS_KERNEL},
	{"length 2^63", "ss", 0, 1UL << 63, 0, AS_KERNEL},
	{"length 2^47", "ss", 0, 1UL << 47, 0, AS_KERNEL},
};

static const struct range_case flags_of_mlock2[] = {
	{"no flags", "ssss", 0, 4 * PAGE, 0, 0},
	{"MLOCK_ONFAULT", "ssss", 0, 4 * PAGE, MLOCK_ONFAULT, 0},
	{"MLOCK_ONFAULT, PROT_NONE", "nn", 0, 2 * PAGE, MLOCK_ONFAULT, 0},
	{"unknown flags", "ss", 0, PAGE, 2, EINVAL},
	{"unknown flags beside MLOCK_ONFAULT", "ss", 0, PAGE, 3, EINVAL},
	{"unknown flags where nothing is mapped", "..", 0, PAGE, 2, EINVAL},
	{"unknown flags and length 0", "ss", 0, 0, 2, EINVAL},
	{"a hole", "s.s", 0, 3 * PAGE, MLOCK_ONFAULT, ENOMEM},
};

static const struct range_case unlocking[] = {
	{"what is not locked", "ssss", 0, 4 * PAGE, 0, 0},
	{"length 0", "ss", 0, 0, 0, 0},
	{"a misaligned address", "ss", 1, PAGE, 0, 0},
	{"PROT_NONE", "nn", 0, 2 * PAGE, 0, 0},
	{"nothing is mapped", "..", 0, 2 * PAGE, 0, ENOMEM},
	{"a hole in the middle", "s.s", 0, 3 * PAGE, 0, ENOMEM},
	{"length SIZE_MAX: it rounds up to 0", "ss", 0, SIZE_MAX, 0, 0},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA + PAGE, 0, EINVAL},
	{"length 2^63", "ss", 0, 1UL << 63, 0, ENOMEM},
};

CONFORMS(errors_of_mlock)
{
	run_range_cases(w, locking, COUNT(locking), do_mlock);
	run_range_cases(w, far_ranges, COUNT(far_ranges), do_mlock);
}

CONFORMS(errors_of_mlock2)
{
	run_range_cases(w, flags_of_mlock2, COUNT(flags_of_mlock2), do_mlock2);
}

CONFORMS(errors_of_munlock)
{
	run_range_cases(w, unlocking, COUNT(unlocking), do_munlock);
}

/* "All pages that contain a part of the specified address range are ... resident in RAM when the call returns". */
CONFORMS(locked_pages_are_in_memory)
{
	unsigned char vec[8];

	map_layout(w, "sssspppp");
	assert_ok(w->c->mlock(ARENA, 8 * PAGE));
	assert_ok(w->c->mincore(ARENA, 8 * PAGE, vec));
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(vec[i] & 1, 1);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(ARENA[i * PAGE], mark(i));
}

/* "... and stay in RAM until later unlocked": whatever else is used. */
CONFORMS(locked_pages_stay_in_memory)
{
	unsigned char vec[8];
	char *big;

	map_layout(w, "sssspppp");
	assert_ok(w->c->mlock(ARENA, 8 * PAGE));
	ARENA[5 * PAGE] = 'x';
	assert_int_equal(ftruncate(w->fd, 8 << 20), 0);
	big = map_ok(w, NULL, 8 << 20, RW, MAP_PRIVATE, w->fd, 0);
	for (size_t i = 0; i < 8 << 20; i += PAGE)
		big[i] = 1;
	assert_ok(w->c->mincore(ARENA, 8 * PAGE, vec));
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(vec[i] & 1, 1);
	assert_int_equal(ARENA[5 * PAGE], 'x');
	assert_ok(w->c->munmap(big, 8 << 20));
}

/* "If a page is beyond the end of the file", it cannot be brought in; the rest stays locked. */
CONFORMS(beyond_the_end_of_the_file)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	assert_error(w->c->mlock(ARENA, 2 * PAGE), ENOMEM);
	assert_locks(w, "LL");
	assert_ok(w->c->munlock(ARENA, 2 * PAGE));
	assert_ok(w->c->mlock2(ARENA, 2 * PAGE, MLOCK_ONFAULT));
	assert_access(ARENA, "wb");
}

/* Parts of mappings, across several, and back. */
CONFORMS(parts)
{
	map_layout(w, "ssssppoo");
	assert_ok(w->c->mlock(ARENA + PAGE, 4 * PAGE));
	assert_locks(w, "uLLLLuuu");
	assert_ok(w->c->munlock(ARENA + 2 * PAGE, PAGE));
	assert_locks(w, "uLuLLuuu");
	assert_ok(w->c->mlock2(ARENA + 6 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
	assert_locks(w, "uLuLLuLL");
	assert_ok(w->c->munlock(ARENA, 8 * PAGE));
	assert_locks(w, "uuuuuuuu");
}

/* ENOMEM at a hole: what precedes it is locked, what follows is not (the page's "no changes are made" is not so). */
CONFORMS(what_precedes_a_hole_is_locked)
{
	map_layout(w, "ss.ss");
	assert_error(w->c->mlock(ARENA, 5 * PAGE), ENOMEM);
	assert_locks(w, "LL-uu");
	assert_ok(w->c->mlock(ARENA + 3 * PAGE, 2 * PAGE));
	assert_error(w->c->munlock(ARENA, 5 * PAGE), ENOMEM);
	assert_locks(w, "uu-LL");
}

/* Linux brings nothing in then: private pages are not copied yet. */
CONFORMS(what_precedes_a_hole_is_not_brought_in)
{
	map_layout(w, "pp.");
	assert_error(w->c->mlock(ARENA, 3 * PAGE), ENOMEM);
	assert_locks(w, "LL-");
	assert_int_equal(w->c->pwrite(w->fd, "x", 1, PAGE), 1);
	assert_int_equal(ARENA[PAGE], 'x');
}

/* "Memory locks do not stack". */
CONFORMS(locks_do_not_stack)
{
	map_layout(w, "ss");
	for (int i = 0; i < 3; i++)
		assert_ok(w->c->mlock(ARENA, 2 * PAGE));
	assert_ok(w->c->munlock(ARENA, 2 * PAGE));
	assert_locks(w, "uu");
}

/* Another mapping of the same page is not locked by it. */
CONFORMS(a_lock_is_the_mappings)
{
	map_layout(w, "ss");
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_ok(w->c->mlock(ARENA, 2 * PAGE));
	assert_locks(w, "LLuu");
}

/* "The memory lock on an address range is automatically removed if the address range is unmapped". */
CONFORMS(munmap_unlocks)
{
	map_layout(w, "ssss");
	assert_ok(w->c->mlock(ARENA, 4 * PAGE));
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_locks(w, "uuLL");
	map_ok(w, ARENA + 2 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 2 * PAGE);
	assert_locks(w, "uuuL");
}

/* mremap(2): the "lock is maintained when the segment is resized and/or relocated". */
CONFORMS(mremap_keeps_locks)
{
	map_layout(w, "ss");
	assert_ok(w->c->mlock(ARENA, 2 * PAGE));
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 4 * PAGE, 0), ARENA);
	assert_locks(w, "LLLL");
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_locks(w, "--------LLLL");
}

CONFORMS(mprotect_keeps_locks)
{
	map_layout(w, "ssss");
	assert_ok(w->c->mlock(ARENA, 2 * PAGE));
	assert_ok(w->c->mprotect(ARENA + PAGE, 2 * PAGE, PROT_READ));
	assert_locks(w, "LLuu");
}

/* MAP_LOCKED: "Mark the mapped region to be locked in the same way as mlock(2)". */
CONFORMS(map_locked)
{
	unsigned char vec[2];

	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED | MAP_LOCKED, w->fd, 0);
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED | MAP_LOCKED, w->fd, 2 * PAGE);
	assert_locks(w, "LLLL");
	assert_ok(w->c->mincore(ARENA, 2 * PAGE, vec));
	assert_int_equal(vec[0] & vec[1] & 1, 1);
	assert_ok(w->c->munlock(ARENA, 4 * PAGE));
	assert_locks(w, "uuuu");
}

/* MAP_LOCKED does not fail where mlock would: beyond the end of the file. */
CONFORMS(map_locked_of_what_is_not_there)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_ok(w, ARENA, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED | MAP_LOCKED, w->fd, 0);
	assert_locks(w, "LLLL");
	assert_access(ARENA, "wbbb");
}

static int child_has_no_locks(struct world *w, char *map)
{
	(void)map;
	return strcmp(lock_map(w, 4), "uuuu");
}

/* "Memory locks are not inherited by a child created via fork(2)". */
CONFORMS(children_have_no_locks)
{
	map_layout(w, "sspp");
	assert_ok(w->c->mlock(ARENA, 4 * PAGE));
	assert_true(in_child(child_has_no_locks, w, NULL));
	assert_locks(w, "LLLL");
}

/* MLOCK_ONFAULT: "the remaining nonresident pages are locked when they are populated by a page fault". */
CONFORMS(locked_on_fault)
{
	unsigned char vec[4];

	map_layout(w, "aaaa");
	ARENA[0] = 'x';
	assert_ok(w->c->mlock2(ARENA, 4 * PAGE, MLOCK_ONFAULT));
	assert_locks(w, "LLLL");
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[0] & 1, 1);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(vec[i] & 1, 0);
	ARENA[2 * PAGE] = 'y';
	assert_error(w->c->madvise(ARENA + 2 * PAGE, PAGE, MADV_DONTNEED), EINVAL);
	assert_ok(w->c->mlock(ARENA, 4 * PAGE));
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[1] & vec[3] & 1, 1);
}

/* RLIMIT_MEMLOCK of an unprivileged process. */
CONFORMS(the_limit)
{
	struct limited l;
	int errors[6];
	char *p;

	map_layout(w, "ssssssss");
	limit_locked_pages(&l, 4);
	errors[0] = ERROR_OF(w->c->mlock(ARENA, 5 * PAGE));
	errors[1] = ERROR_OF(w->c->mlock(ARENA, 4 * PAGE));
	errors[2] = ERROR_OF(w->c->mlock(ARENA + 3 * PAGE, 2 * PAGE));
	errors[3] = ERROR_OF(w->c->mlock(ARENA, 3 * PAGE));
	errors[4] = ERROR_OF(w->c->munlock(ARENA, PAGE));
	errors[5] = ERROR_OF(w->c->mlock(ARENA + 4 * PAGE, PAGE));
	p = w->c->mmap(NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, w->fd, 0);
	unlimited(&l);
	assert_int_equal(errors[0], ENOMEM);
	assert_int_equal(errors[1], 0);
	assert_int_equal(errors[2], ENOMEM);
	assert_int_equal(errors[3], 0);
	assert_int_equal(errors[4], 0);
	assert_int_equal(errors[5], 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_locks(w, "uLLLLuuu");
}

/* EAGAIN: of mmap and mremap; EPERM when the limit is 0. */
CONFORMS(the_limit_of_mmap_and_mremap)
{
	struct limited l;
	int errors[6];

	map_layout(w, "ss......");
	limit_locked_pages(&l, 3);
	errors[0] = POINTER_ERROR_OF(w->c->mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_LOCKED, w->fd, 0));
	errors[1] = ERROR_OF(w->c->mlock(ARENA, 2 * PAGE));
	errors[2] = POINTER_ERROR_OF(w->c->mremap(ARENA, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
	unlimited(&l);
	limit_locked_pages(&l, 0);
	errors[3] = POINTER_ERROR_OF(w->c->mmap(NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, w->fd, 0));
	errors[4] = ERROR_OF(w->c->mlock(ARENA, PAGE));
	errors[5] = ERROR_OF(w->c->munlock(ARENA, PAGE));
	unlimited(&l);
	assert_int_equal(errors[0], EAGAIN);
	assert_int_equal(errors[1], 0);
	assert_int_equal(errors[2], EAGAIN);
	assert_int_equal(errors[3], EPERM);
	assert_int_equal(errors[4], EPERM);
	assert_int_equal(errors[5], 0);
	assert_locks(w, "uL------");
}

/* Faultline's budget is its memory: half of it can be locked, whoever asks. */
CONFORMS(more_than_half_of_the_budget)
{
	const size_t length = 3UL << 19; /* three quarters of the budget */
	struct rlimit limit;
	char *p;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_cur < 2 * length || at_host(w->c))
		skip();
	p = map_ok(w, NULL, length, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_error(w->c->mlock(p, length), w->c->faultline ? ENOMEM : 0);
	assert_ok(w->c->mlock(p, length / 4));
	assert_ok(w->c->munmap(p, length));
}

/* MAP_GROWSDOWN: what grows is locked too, and is unlocked with the rest. */
CONFORMS(what_grows_down_is_locked)
{
	char *top = ARENA + 64 * PAGE;

	map_ok(w, top, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	assert_ok(w->c->mlock(top, PAGE));
	assert_int_equal(try_write(top - 8 * PAGE, 'x').signal, 0);
	assert_error(w->c->madvise(top - 8 * PAGE, PAGE, MADV_DONTNEED), EINVAL);
	assert_ok(w->c->munmap(top - 8 * PAGE, 9 * PAGE));
	map_ok(w, ARENA, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ok(w->c->mlock(ARENA, PAGE));
}

/* What is locked does not go by itself, so there is nothing to wait for. */
CONFORMS(no_room_is_said_at_once)
{
	const size_t step = 64 * PAGE, length = 8UL << 20; /* half of what a host has */
	struct rlimit limit;
	struct timespec began, now;
	char *p;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_cur < length)
		skip();
	p = map_ok(w, NULL, length, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t at = 0; at < length; at += step) {
		int err;

		clock_gettime(CLOCK_MONOTONIC, &began);
		err = ERROR_OF(w->c->mlock(p + at, step));
		clock_gettime(CLOCK_MONOTONIC, &now);
		assert_true((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 < 900);
		assert_true(!err || (err == ENOMEM && w->c->faultline));
	}
	assert_ok(w->c->munmap(p, length));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors_of_mlock),
		RUN(errors_of_mlock2),
		RUN(errors_of_munlock),
		RUN(locked_pages_are_in_memory),
		RUN(locked_pages_stay_in_memory),
		RUN(beyond_the_end_of_the_file),
		RUN(parts),
		RUN(what_precedes_a_hole_is_locked),
		RUN(what_precedes_a_hole_is_not_brought_in),
		RUN(locks_do_not_stack),
		RUN(a_lock_is_the_mappings),
		RUN(munmap_unlocks),
		RUN(mremap_keeps_locks),
		RUN(mprotect_keeps_locks),
		RUN(map_locked),
		RUN(map_locked_of_what_is_not_there),
		RUN(children_have_no_locks),
		RUN(locked_on_fault),
		RUN_NEEDING(LIBRARY, more_than_half_of_the_budget),
		RUN(what_grows_down_is_locked),
		RUN_NEEDING(LIBRARY, no_room_is_said_at_once),
		RUN(the_limit),
		RUN(the_limit_of_mmap_and_mremap),
	};

	return run_conformance_tests(tests);
}
