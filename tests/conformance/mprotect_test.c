/* SPDX-License-Identifier: Apache-2.0 */
/* mprotect(2). */
#include "conformance.h"

static int do_mprotect(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->mprotect(addr, length, arg);
}

static const struct range_case cases[] = {
	{"all of a mapping", "ssss", 0, 4 * PAGE, PROT_READ, 0, "rrrr"},
	{"its start", "ssss", 0, 2 * PAGE, PROT_READ, 0, "rrww"},
	{"its end", "ssss", 2 * PAGE, 2 * PAGE, PROT_NONE, 0, "ww00"},
	{"its middle", "ssss", PAGE, 2 * PAGE, PROT_READ, 0, "wrrw"},
	{"writable, of a file open for it", "oooo", PAGE, 2 * PAGE, RW, 0, "rwwr"},
	{"writable, private, of a file open for it", "qqqq", PAGE, 2 * PAGE, RW, 0, "rwwr"},
	{"only PROT_WRITE", "nnnn", PAGE, 2 * PAGE, PROT_WRITE, 0, "0ww0"},
	{"what it was", "ssss", PAGE, 2 * PAGE, RW, 0, "wwww"},
	{"several mappings", "sspprr", PAGE, 4 * PAGE, PROT_NONE, 0, "w0000r"},
	{"anonymous mappings", "aazz", PAGE, 2 * PAGE, PROT_READ, 0, "wrrw"},
	{"a length within a page", "ss", 0, 1, PROT_READ, 0, "rw"},
	{"a length one over a page", "sss", 0, PAGE + 1, PROT_READ, 0, "rrw"},
	{"executable", "pp", 0, PAGE, PROT_READ | PROT_EXEC, 0, "rw"},
	{"length 0", "ss", 0, 0, PROT_NONE, 0, "ww"},
	{"length 0 where nothing is mapped", "..", 0, 0, PROT_NONE, 0, "--"},
	{"a misaligned address", "ss", 1, PAGE, PROT_READ, EINVAL, "ww"},
	{"a misaligned address and length 0", "ss", 1, 0, PROT_READ, EINVAL, "ww"},
	{"a misaligned address where nothing is mapped", "..", 1, PAGE, PROT_READ, EINVAL, "--"},
	{"unknown bits of prot", "ss", 0, PAGE, PROT_READ | 0x100, EINVAL, "ww"},
	{"unknown bits of prot and length 0", "ss", 0, 0, PROT_READ | 0x100, 0, "ww"},
	{"unknown bits of prot where nothing is mapped", "..", 0, PAGE, 0x100, EINVAL, "--"},
	{"PROT_SEM", "ss", 0, PAGE, PROT_READ | 0x8, 0, "rw"},
	{"PROT_GROWSDOWN of what does not grow", "ss", 0, PAGE, PROT_READ | PROT_GROWSDOWN, EINVAL, "ww"},
	{"PROT_GROWSUP of what does not grow", "ss", 0, PAGE, PROT_READ | PROT_GROWSUP, EINVAL, "ww"},
	{"PROT_GROWSDOWN and PROT_GROWSUP", "ss", 0, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP, EINVAL, "ww"},
	{"nothing is mapped", "....", 0, 4 * PAGE, PROT_READ, ENOMEM, "----"},
	{"a hole at the start: nothing changes", ".sss", 0, 4 * PAGE, PROT_READ, ENOMEM, "-www"},
	{"a hole in the middle: what precedes it changes", "ss.ss", 0, 5 * PAGE, PROT_READ, ENOMEM, "rr-ww"},
	{"a hole at the end: what precedes it changes", "ss..", 0, 3 * PAGE, PROT_READ, ENOMEM, "rr--"},
	{"a hole after several mappings", "sop.s", 0, 5 * PAGE, PROT_NONE, ENOMEM, "000-w"},
	{"writable, of a file opened O_RDONLY", "rr", 0, 2 * PAGE, RW, EACCES, "rr"},
	{"only PROT_WRITE, of a file opened O_RDONLY", "rr", 0, 2 * PAGE, PROT_WRITE, EACCES, "rr"},
	{"EACCES after others: what precedes it changes", "oorr", 0, 4 * PAGE, RW, EACCES, "wwrr"},
	{"EACCES before a hole", "orr.", 0, 4 * PAGE, RW, EACCES, "wrr-"},
	{"a hole before EACCES", "o.rr", 0, 4 * PAGE, RW, ENOMEM, "w-rr"},
	{"length SIZE_MAX", "ss", 0, SIZE_MAX, PROT_READ, ENOMEM, "ww"},
	{"a length that rounds up to 0", "ss", 0, SIZE_MAX - 100, PROT_READ, ENOMEM, "ww"},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA, PROT_READ, ENOMEM, "ww"},
	{"length 2^63", "ss", 0, 1UL << 63, PROT_READ, ENOMEM, "rr"},
	{"length 2^47", "ss", 0, 1UL << 47, PROT_READ, ENOMEM, "rr"},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, PROT_READ, ENOMEM, "w"},
	{"a kernel address, to PROT_NONE", "s", AT(0xffff800000000000), PAGE, PROT_NONE, ENOMEM, "w"},
};

CONFORMS(errors)
{
	run_range_cases(w, cases, COUNT(cases), do_mprotect);
}

/* "If the calling process tries to access memory in a manner that violates the protections, [it gets] SIGSEGV". */
CONFORMS(violations_raise_sigsegv)
{
	map_layout(w, "ssss");
	assert_ok(w->c->mprotect(ARENA, PAGE, PROT_NONE));
	assert_ok(w->c->mprotect(ARENA + PAGE, PAGE, PROT_READ));
	assert_caught(try_read(ARENA + 77), SIGSEGV, SEGV_ACCERR, ARENA + 77);
	assert_caught(try_write(ARENA + 77, 1), SIGSEGV, SEGV_ACCERR, ARENA + 77);
	assert_caught(try_write(ARENA + PAGE + 1, 1), SIGSEGV, SEGV_ACCERR, ARENA + PAGE + 1);
	assert_int_equal(ARENA[PAGE + 1], mark(1));
}

/* What a page holds does not depend on what may be done with it. */
CONFORMS(contents_stay)
{
	map_layout(w, "sspp");
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE + i] = 'x';
	for (int prot = PROT_NONE; prot <= RW; prot++) {
		assert_ok(w->c->mprotect(ARENA, 4 * PAGE, prot));
		assert_ok(w->c->mprotect(ARENA, 4 * PAGE, PROT_READ));
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(ARENA[i * PAGE + i], 'x');
			assert_int_equal(ARENA[i * PAGE + 10], mark(i));
		}
	}
}

/* Stores that wait for write-back reach the file, whatever the protection is then. */
CONFORMS(stores_before_reach_the_file)
{
	char bytes[2];

	map_layout(w, "ss");
	ARENA[0] = 'x';
	ARENA[PAGE] = 'y';
	assert_ok(w->c->mprotect(ARENA, PAGE, PROT_NONE));
	assert_ok(w->c->mprotect(ARENA + PAGE, PAGE, PROT_READ));
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	assert_int_equal(pread(w->fd, bytes, 1, 0), 1);
	assert_int_equal(pread(w->fd, bytes + 1, 1, PAGE), 1);
	assert_memory_equal(bytes, "xy", 2);
}

/* Private stores after PROT_READ and back stay private. */
CONFORMS(private_stays_private)
{
	map_layout(w, "pp");
	ARENA[0] = 'x';
	assert_ok(w->c->mprotect(ARENA, 2 * PAGE, PROT_READ));
	assert_ok(w->c->mprotect(ARENA, 2 * PAGE, RW));
	ARENA[1] = 'y';
	ARENA[PAGE] = 'z';
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_int_equal(ARENA[4 * PAGE], mark(0));
	assert_int_equal(ARENA[4 * PAGE + 1], mark(0));
	assert_int_equal(ARENA[5 * PAGE], mark(1));
	assert_memory_equal(ARENA, "xy", 2);
}

/* The protection is the mapping's, not the file's: others of the same page keep theirs. */
CONFORMS(other_mappings_keep_their_protection)
{
	map_layout(w, "ss");
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_ok(w->c->mprotect(ARENA, 2 * PAGE, PROT_NONE));
	assert_access(ARENA, "00--ww");
}

/* Every second page, there and back: split and merged again, the mapping is one for mremap. */
CONFORMS(split_and_merge)
{
	char *p;

	map_layout(w, "ssssssss");
	for (size_t i = 0; i < 8; i += 2)
		assert_ok(w->c->mprotect(ARENA + i * PAGE, PAGE, PROT_READ));
	assert_access(ARENA, "rwrwrwrw");
	assert_pointer_error(w->c->mremap(ARENA, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE), EFAULT);
	for (size_t i = 0; i < 8; i += 2)
		assert_ok(w->c->mprotect(ARENA + i * PAGE, PAGE, RW));
	p = w->c->mremap(ARENA, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_access(p, "wwwwwwwwwwwwwwww");
	assert_ok(w->c->munmap(p, 16 * PAGE));
}

/* A seal against writing forbids to make the mapping writable later. */
CONFORMS(sealed_against_writing)
{
	int fd = memfd_create("conformance", MFD_ALLOW_SEALING);
	char *p;

	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	p = map_ok(w, NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_error(w->c->mprotect(p, PAGE, RW), EACCES);
	assert_ok(w->c->munmap(p, PAGE));
	p = map_ok(w, NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ok(w->c->mprotect(p, PAGE, RW));
	assert_access(p, "w");
	assert_ok(w->c->munmap(p, PAGE));
	close(fd);
}

/* A private mapping that becomes writable counts against RLIMIT_DATA from then on. */
CONFORMS(limit_of_private_memory)
{
	struct rlimit old, small;
	int error;

	map_ok(w, ARENA, 64 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
	small = (struct rlimit){.rlim_cur = PAGE, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_DATA, &small), 0);
	error = ERROR_OF(w->c->mprotect(ARENA, 64 * PAGE, RW));
	setrlimit(RLIMIT_DATA, &old);
	assert_int_equal(error, ENOMEM);
	assert_access(ARENA, "rr");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(violations_raise_sigsegv),
		RUN(contents_stay),
		RUN(stores_before_reach_the_file),
		RUN(private_stays_private),
		RUN(other_mappings_keep_their_protection),
		RUN(split_and_merge),
		RUN(sealed_against_writing),
		RUN(limit_of_private_memory),
	};

	return run_conformance_tests(tests);
}
