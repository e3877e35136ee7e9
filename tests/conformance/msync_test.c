/* SPDX-License-Identifier: Apache-2.0 */
/* msync(2). */
#include "conformance.h"

static int do_msync(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->msync(addr, length, arg);
}

static const struct range_case cases[] = {
	{"MS_SYNC", "ssss", 0, 4 * PAGE, MS_SYNC, 0},
	{"MS_ASYNC", "ssss", 0, 4 * PAGE, MS_ASYNC, 0},
	{"MS_INVALIDATE", "ssss", 0, 4 * PAGE, MS_INVALIDATE, 0},
	{"MS_SYNC | MS_INVALIDATE", "ssss", 0, 4 * PAGE, MS_SYNC | MS_INVALIDATE, 0},
	{"MS_ASYNC | MS_INVALIDATE", "ssss", 0, 4 * PAGE, MS_ASYNC | MS_INVALIDATE, 0},
	{"no flags (POSIX wants one; Linux takes it for MS_ASYNC)", "ssss", 0, 4 * PAGE, 0, 0},
	{"several mappings", "ssppoorrnn", PAGE, 8 * PAGE, MS_SYNC, 0},
	{"anonymous mappings", "aazz", 0, 4 * PAGE, MS_SYNC, 0},
	{"a length within a page", "ss", 0, 1, MS_SYNC, 0},
	{"PROT_NONE", "nn", 0, 2 * PAGE, MS_SYNC, 0},
	{"length 0", "ss", 0, 0, MS_SYNC, 0},
	{"length 0 where nothing is mapped", "..", 0, 0, MS_SYNC, 0},
	{"MS_SYNC | MS_ASYNC", "ss", 0, PAGE, MS_SYNC | MS_ASYNC, EINVAL},
	{"MS_SYNC | MS_ASYNC and length 0", "ss", 0, 0, MS_SYNC | MS_ASYNC, EINVAL},
	{"unknown flags", "ss", 0, PAGE, MS_SYNC | 8, EINVAL},
	{"unknown flags and length 0", "ss", 0, 0, 8, EINVAL},
	{"a misaligned address", "ss", 1, PAGE, MS_SYNC, EINVAL},
	{"a misaligned address and length 0", "ss", 1, 0, MS_SYNC, EINVAL},
	{"a misaligned address where nothing is mapped", "..", 1, PAGE, MS_SYNC, EINVAL},
	{"nothing is mapped", "..", 0, 2 * PAGE, MS_SYNC, ENOMEM},
	{"nothing is mapped, MS_ASYNC", "..", 0, 2 * PAGE, MS_ASYNC, ENOMEM},
	{"nothing is mapped, MS_INVALIDATE", "..", 0, 2 * PAGE, MS_INVALIDATE, ENOMEM},
	{"a hole at the start", ".ss", 0, 3 * PAGE, MS_SYNC, ENOMEM},
	{"a hole in the middle", "s.s", 0, 3 * PAGE, MS_SYNC, ENOMEM},
	{"a hole at the end", "ss.", 0, 3 * PAGE, MS_SYNC, ENOMEM},
	{"length SIZE_MAX: it rounds up to 0", "ss", 0, SIZE_MAX, MS_SYNC, 0},
	{"another length that rounds up to 0", "ss", 0, SIZE_MAX - 100, MS_SYNC, 0},
	{"an end at 2^64", "ss", 0, -(size_t)ARENA, MS_SYNC, ENOMEM},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA + PAGE, MS_SYNC, ENOMEM},
	{"length 2^63", "ss", 0, 1UL << 63, MS_SYNC, ENOMEM},
	{"length 2^47", "ss", 0, 1UL << 47, MS_SYNC, ENOMEM},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, MS_SYNC, ENOMEM},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_msync);
}

static char byte_of_file(struct world *w, off_t offset)
{
	char byte;

	assert_int_equal(pread(w->fd, &byte, 1, offset), 1);
	return byte;
}

/* "flushes changes made to the in-core copy of a file ... back to the filesystem"; MS_ASYNC's are seen at once, too. */
CONFORMS(stores_reach_the_file)
{
	static const int flags[] = {MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE, MS_ASYNC | MS_INVALIDATE};

	map_layout(w, "ssss");
	for (size_t i = 0; i < COUNT(flags); i++) {
		ARENA[i * PAGE + 5] = 'x';
		assert_ok(w->c->msync(ARENA + i * PAGE, PAGE, flags[i]));
		assert_int_equal(byte_of_file(w, (off_t)(i * PAGE + 5)), 'x');
		assert_int_equal(byte_of_file(w, (off_t)(i * PAGE + 6)), mark(i));
	}
}

/* Again and again: each store after a msync is written by the next. */
CONFORMS(stores_after_it_too)
{
	map_layout(w, "s");
	for (int i = 0; i < 50; i++) {
		ARENA[i] = (char)i;
		assert_ok(w->c->msync(ARENA, PAGE, MS_SYNC));
		assert_int_equal(byte_of_file(w, i), i);
	}
}

/* Stores of one mapping are written by msync of another of the same pages. */
CONFORMS(whichever_mapping_is_asked)
{
	map_layout(w, "s");
	map_ok(w, ARENA + 4 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 0);
	ARENA[9] = 'x';
	assert_ok(w->c->msync(ARENA + 4 * PAGE, PAGE, MS_SYNC));
	assert_int_equal(byte_of_file(w, 9), 'x');
}

/* POSIX: "The effect of msync() on ... MAP_PRIVATE [mappings] is unspecified"; on Linux it is none. */
CONFORMS(private_stores_stay_private)
{
	map_layout(w, "pp");
	ARENA[3] = 'x';
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC | MS_INVALIDATE));
	assert_int_equal(ARENA[3], 'x');
	assert_int_equal(byte_of_file(w, 3), mark(0));
}

/* ENOMEM tells of a hole; all that is mapped was synced nevertheless. */
CONFORMS(what_is_mapped_is_synced_before_enomem)
{
	map_layout(w, "s.s..s");
	ARENA[0] = 'x';
	ARENA[2 * PAGE] = 'y';
	ARENA[5 * PAGE] = 'z';
	assert_error(w->c->msync(ARENA, 6 * PAGE, MS_SYNC), ENOMEM);
	assert_int_equal(byte_of_file(w, 0), 'x');
	assert_int_equal(byte_of_file(w, 2 * PAGE), 'y');
	assert_int_equal(byte_of_file(w, 5 * PAGE), 'z');
}

/* "MS_INVALIDATE: ... so that they can be updated with the fresh values just written": stores not yet written stay. */
CONFORMS(invalidate_loses_nothing)
{
	char byte = 'f';

	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_int_equal(w->c->pwrite(w->fd, &byte, 1, PAGE), 1);
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_INVALIDATE));
	assert_int_equal(ARENA[0], 'x');
	assert_int_equal(ARENA[PAGE], 'f');
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	assert_int_equal(byte_of_file(w, 0), 'x');
}

/* Nothing is written beyond the end of the file, and its size stays. */
CONFORMS(the_size_of_the_file_stays)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE + 100));
	map_layout(w, "ssss");
	ARENA[PAGE + 99] = 'x';
	ARENA[PAGE + 100] = 'y';
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	assert_int_equal(lseek(w->fd, 0, SEEK_END), PAGE + 100);
	assert_int_equal(byte_of_file(w, PAGE + 99), 'x');
}

/* A page made read-only, or not accessible, after the store. */
CONFORMS(pages_that_may_not_be_read)
{
	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_ok(w->c->mprotect(ARENA, PAGE, PROT_NONE));
	assert_ok(w->c->msync(ARENA, PAGE, MS_SYNC));
	assert_int_equal(byte_of_file(w, 0), 'x');
}

/* The file was cut since: what is beyond its end is not an error. */
CONFORMS(beyond_the_end_of_the_file)
{
	map_layout(w, "ssss");
	ARENA[3 * PAGE] = 'x';
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	assert_int_equal(lseek(w->fd, 0, SEEK_END), PAGE);
}

/* EBUSY: "MS_INVALIDATE was specified in flags, and a memory lock exists for the specified address range". */
CONFORMS(invalidate_of_locked_memory)
{
	map_layout(w, "sss.s");
	assert_ok(w->c->mlock(ARENA + PAGE, PAGE));
	assert_ok(w->c->msync(ARENA, PAGE, MS_INVALIDATE));
	assert_error(w->c->msync(ARENA + PAGE, PAGE, MS_INVALIDATE), EBUSY);
	assert_error(w->c->msync(ARENA, 3 * PAGE, MS_SYNC | MS_INVALIDATE), EBUSY);
	assert_error(w->c->msync(ARENA, 5 * PAGE, MS_SYNC | MS_INVALIDATE), EBUSY);
	assert_error(w->c->msync(ARENA + 2 * PAGE, 3 * PAGE, MS_INVALIDATE), ENOMEM);
	assert_ok(w->c->msync(ARENA, 3 * PAGE, MS_SYNC));
	assert_ok(w->c->munlock(ARENA + PAGE, PAGE));
	assert_ok(w->c->msync(ARENA, 3 * PAGE, MS_INVALIDATE));
}

/* What precedes the locked memory is synced before EBUSY. */
CONFORMS(what_precedes_locked_memory_is_synced)
{
	map_layout(w, "so");
	ARENA[1] = 'x';
	assert_ok(w->c->mlock(ARENA + PAGE, PAGE));
	assert_error(w->c->msync(ARENA, 2 * PAGE, MS_SYNC | MS_INVALIDATE), EBUSY);
	assert_int_equal(byte_of_file(w, 1), 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(stores_reach_the_file),
		RUN(stores_after_it_too),
		RUN(whichever_mapping_is_asked),
		RUN(private_stores_stay_private),
		RUN(what_is_mapped_is_synced_before_enomem),
		RUN(invalidate_loses_nothing),
		RUN(the_size_of_the_file_stays),
		RUN(pages_that_may_not_be_read),
		RUN(beyond_the_end_of_the_file),
		RUN(invalidate_of_locked_memory),
		RUN(what_precedes_locked_memory_is_synced),
	};

	return run_conformance_tests(tests);
}
