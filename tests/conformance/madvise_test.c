/* SPDX-License-Identifier: Apache-2.0 */
/* madvise(2). What concerns children is in fork_test.c. */
#include "conformance.h"

#define MADV_UNKNOWN 12345

static int do_madvise(const struct calls *c, char *addr, size_t length, int arg)
{
	return c->madvise(addr, length, arg);
}

static const struct range_case arguments[] = {
	{"all of a mapping", "ssss", 0, 4 * PAGE, MADV_WILLNEED, 0},
	{"several mappings", "ssppoorr", 0, 8 * PAGE, MADV_RANDOM, 0},
	{"a length within a page", "ss", 0, 1, MADV_NORMAL, 0},
	{"length 0", "ss", 0, 0, MADV_NORMAL, 0},
	{"length 0 where nothing is mapped", "..", 0, 0, MADV_NORMAL, 0},
	{"length 0, MADV_DONTNEED", "ss", 0, 0, MADV_DONTNEED, 0},
	{"unknown advice", "ss", 0, PAGE, MADV_UNKNOWN, EINVAL},
	{"advice -1", "ss", 0, PAGE, -1, EINVAL},
	{"advice 5, which nobody has", "ss", 0, PAGE, 5, EINVAL},
	{"unknown advice and length 0", "ss", 0, 0, MADV_UNKNOWN, EINVAL},
	{"unknown advice where nothing is mapped", "..", 0, PAGE, MADV_UNKNOWN, EINVAL},
	{"a misaligned address", "ss", 1, PAGE, MADV_NORMAL, EINVAL},
	{"a misaligned address and length 0", "ss", 1, 0, MADV_NORMAL, EINVAL},
	{"a misaligned address where nothing is mapped", "..", 1, PAGE, MADV_NORMAL, EINVAL},
	{"length SIZE_MAX: it rounds up to 0", "ss", 0, SIZE_MAX, MADV_NORMAL, EINVAL},
	{"an end at 2^64", "ss", 0, -(size_t)ARENA, MADV_NORMAL, EINVAL},
	{"an end beyond 2^64", "ss", 0, -(size_t)ARENA + PAGE, MADV_NORMAL, EINVAL},
	{"length 2^63", "ss", 0, 1UL << 63, MADV_NORMAL, ENOMEM},
	{"length 2^47", "ss", 0, 1UL << 47, MADV_NORMAL, ENOMEM},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, MADV_NORMAL, ENOMEM},
	{"nothing is mapped", "..", 0, 2 * PAGE, MADV_NORMAL, ENOMEM},
	{"nothing is mapped, MADV_WILLNEED", "..", 0, 2 * PAGE, MADV_WILLNEED, ENOMEM},
	{"nothing is mapped, MADV_DONTNEED", "..", 0, 2 * PAGE, MADV_DONTNEED, ENOMEM},
	{"nothing is mapped, MADV_REMOVE", "..", 0, 2 * PAGE, MADV_REMOVE, ENOMEM},
	{"nothing is mapped, MADV_POPULATE_READ", "..", 0, 2 * PAGE, MADV_POPULATE_READ, ENOMEM},
	{"nothing is mapped, MADV_COLD", "..", 0, 2 * PAGE, MADV_COLD, ENOMEM},
	{"a hole at the start", ".ss", 0, 3 * PAGE, MADV_NORMAL, ENOMEM},
	{"a hole in the middle", "s.s", 0, 3 * PAGE, MADV_SEQUENTIAL, ENOMEM},
	{"a hole at the end", "ss.", 0, 3 * PAGE, MADV_RANDOM, ENOMEM},
};

static const struct range_case kinds_of_advice[] = {
	{"MADV_NORMAL", "ssppoorr", 0, 8 * PAGE, MADV_NORMAL, 0, "wwwwrrrr"},
	{"MADV_RANDOM", "ssppoorr", 0, 8 * PAGE, MADV_RANDOM, 0, "wwwwrrrr"},
	{"MADV_SEQUENTIAL", "ssppoorr", 0, 8 * PAGE, MADV_SEQUENTIAL, 0, "wwwwrrrr"},
	{"MADV_WILLNEED", "ssppoorr", 0, 8 * PAGE, MADV_WILLNEED, 0, "wwwwrrrr"},
	{"MADV_WILLNEED, PROT_NONE", "nn", 0, 2 * PAGE, MADV_WILLNEED, 0, "00"},
	{"MADV_DONTNEED", "ssppoorr", 0, 8 * PAGE, MADV_DONTNEED, 0, "wwwwrrrr"},
	{"MADV_DONTNEED, PROT_NONE", "nn", 0, 2 * PAGE, MADV_DONTNEED, 0, "00"},
	{"MADV_DONTDUMP", "ssppoorr", 0, 8 * PAGE, MADV_DONTDUMP, 0, "wwwwrrrr"},
	{"MADV_DODUMP", "ssppoorr", 0, 8 * PAGE, MADV_DODUMP, 0, "wwwwrrrr"},
	{"MADV_COLD", "ssppoorr", 0, 8 * PAGE, MADV_COLD, 0, "wwwwrrrr"},
	{"MADV_PAGEOUT", "ssppoorr", 0, 8 * PAGE, MADV_PAGEOUT, 0, "wwwwrrrr"},
	{"MADV_REMOVE", "ssss", PAGE, 2 * PAGE, MADV_REMOVE, 0, "wwww"},
	{"MADV_REMOVE, PROT_READ", "oo", 0, 2 * PAGE, MADV_REMOVE, 0, "rr"},
	{"MADV_REMOVE, opened O_RDONLY", "rr", 0, 2 * PAGE, MADV_REMOVE, EACCES},
	{"MADV_REMOVE, private", "pp", 0, 2 * PAGE, MADV_REMOVE, EACCES},
	{"MADV_FREE, shared", "ss", 0, 2 * PAGE, MADV_FREE, EINVAL},
	{"MADV_FREE, private", "pp", 0, 2 * PAGE, MADV_FREE, EINVAL},
	{"MADV_FREE, nothing is mapped", "..", 0, 2 * PAGE, MADV_FREE, ENOMEM},
	{"MADV_WIPEONFORK, private", "pp", 0, 2 * PAGE, MADV_WIPEONFORK, EINVAL},
	{"MADV_WIPEONFORK, shared", "ss", 0, 2 * PAGE, MADV_WIPEONFORK, EINVAL},
	{"MADV_KEEPONFORK", "sspp", 0, 4 * PAGE, MADV_KEEPONFORK, 0, "wwww"},
	{"MADV_DONTFORK", "sspp", 0, 4 * PAGE, MADV_DONTFORK, 0, "wwww"},
	{"MADV_DOFORK", "sspp", 0, 4 * PAGE, MADV_DOFORK, 0, "wwww"},
	{"MADV_DONTNEED_LOCKED", "sspp", 0, 4 * PAGE, MADV_DONTNEED_LOCKED, 0, "wwww", OTHER_ADVICE},
};

static const struct range_case population[] = {
	{"read", "ssppoorr", 0, 8 * PAGE, MADV_POPULATE_READ, 0, "wwwwrrrr"},
	{"write", "sspp", 0, 4 * PAGE, MADV_POPULATE_WRITE, 0, "wwww"},
	{"read, PROT_NONE", "nn", 0, 2 * PAGE, MADV_POPULATE_READ, EINVAL},
	{"write, PROT_READ", "oo", 0, 2 * PAGE, MADV_POPULATE_WRITE, EINVAL},
	{"write, opened O_RDONLY", "rr", 0, 2 * PAGE, MADV_POPULATE_WRITE, EINVAL},
	{"write, private, PROT_READ", "qq", 0, 2 * PAGE, MADV_POPULATE_WRITE, EINVAL},
	{"read, then a hole", "ss.", 0, 3 * PAGE, MADV_POPULATE_READ, ENOMEM},
	{"read, a hole first", ".ss", 0, 3 * PAGE, MADV_POPULATE_READ, ENOMEM},
	{"read, length 0", "nn", 0, 0, MADV_POPULATE_READ, 0},
	{"read, a misaligned address", "ss", 8, PAGE, MADV_POPULATE_READ, EINVAL},
	{"a hole before what may not be read", "s.n", 0, 3 * PAGE, MADV_POPULATE_READ, ENOMEM},
	{"what may not be read before a hole", "n.s", 0, 3 * PAGE, MADV_POPULATE_READ, EINVAL},
};

static const struct range_case of_anonymous[] = {
	{"MADV_FREE", "aaaa", PAGE, 2 * PAGE, MADV_FREE, 0, "wwww"},
	{"MADV_FREE, shared", "zz", 0, 2 * PAGE, MADV_FREE, EINVAL},
	{"MADV_FREE, of both", "aazz", 0, 4 * PAGE, MADV_FREE, EINVAL},
	{"MADV_DONTNEED", "aazz", 0, 4 * PAGE, MADV_DONTNEED, 0, "wwww"},
	{"MADV_REMOVE, private", "aa", 0, 2 * PAGE, MADV_REMOVE, EINVAL},
	{"MADV_REMOVE, shared", "zz", 0, 2 * PAGE, MADV_REMOVE, 0, "ww"},
	{"MADV_WILLNEED", "aazz", 0, 4 * PAGE, MADV_WILLNEED, AS_KERNEL},
	{"MADV_COLD", "aazz", 0, 4 * PAGE, MADV_COLD, 0},
	{"MADV_PAGEOUT", "aazz", 0, 4 * PAGE, MADV_PAGEOUT, 0, "wwww"},
	{"MADV_RANDOM", "aazz", 0, 4 * PAGE, MADV_RANDOM, 0},
	{"MADV_POPULATE_READ", "aazz", 0, 4 * PAGE, MADV_POPULATE_READ, 0, "wwww"},
	{"MADV_POPULATE_WRITE", "aazz", 0, 4 * PAGE, MADV_POPULATE_WRITE, 0, "wwww"},
	{"MADV_WIPEONFORK", "aa", 0, 2 * PAGE, MADV_WIPEONFORK, 0, "ww"},
	{"MADV_WIPEONFORK, shared", "zz", 0, 2 * PAGE, MADV_WIPEONFORK, EINVAL},
	{"MADV_DONTFORK", "aazz", 0, 4 * PAGE, MADV_DONTFORK, 0, "wwww"},
};

static const struct range_case rare[] = {
	{"MADV_MERGEABLE", "sspp", 0, 4 * PAGE, MADV_MERGEABLE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_UNMERGEABLE", "sspp", 0, 4 * PAGE, MADV_UNMERGEABLE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_HUGEPAGE", "sspp", 0, 4 * PAGE, MADV_HUGEPAGE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_NOHUGEPAGE", "sspp", 0, 4 * PAGE, MADV_NOHUGEPAGE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_COLLAPSE", "sspp", 0, 4 * PAGE, MADV_COLLAPSE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_HUGEPAGE, a hole", "s.p", 0, 3 * PAGE, MADV_HUGEPAGE, AS_KERNEL, NULL, OTHER_ADVICE},
	{"MADV_MERGEABLE, a misaligned address", "s.p", 1, PAGE, MADV_MERGEABLE, EINVAL, NULL, OTHER_ADVICE},
};

static const struct range_case guards[] = {
	{"install", "aaaa", PAGE, 2 * PAGE, MADV_GUARD_INSTALL, 0, "w--w"},
	{"install, shared", "ssss", PAGE, 2 * PAGE, MADV_GUARD_INSTALL, 0, "w--w"},
	{"install, private", "pppp", PAGE, 2 * PAGE, MADV_GUARD_INSTALL, 0, "w--w"},
	{"install, readable", "rrrr", PAGE, 2 * PAGE, MADV_GUARD_INSTALL, 0, "r--r"},
	{"install over several mappings", "sspp", PAGE, 2 * PAGE, MADV_GUARD_INSTALL, 0, "w--w"},
	{"install over a hole", "s.pp", 0, 3 * PAGE, MADV_GUARD_INSTALL, ENOMEM, "---w"},
	{"install, length 0", "ss", 0, 0, MADV_GUARD_INSTALL, 0, "ww"},
	{"install, a misaligned address", "ss", 1, PAGE, MADV_GUARD_INSTALL, EINVAL, "ww"},
	{"remove where there is none", "sspp", 0, 4 * PAGE, MADV_GUARD_REMOVE, 0, "wwww"},
	{"remove over a hole", "s.pp", 0, 3 * PAGE, MADV_GUARD_REMOVE, ENOMEM, "w-ww"},
};

CONFORMS(errors_of_arguments)
{
	run_range_cases(w, arguments, COUNT(arguments), do_madvise);
}

CONFORMS(errors_of_advice)
{
	run_range_cases(w, kinds_of_advice, COUNT(kinds_of_advice), do_madvise);
}

CONFORMS(errors_of_population)
{
	run_range_cases(w, population, COUNT(population), do_madvise);
}

CONFORMS(errors_of_anonymous_memory)
{
	run_range_cases(w, of_anonymous, COUNT(of_anonymous), do_madvise);
}

CONFORMS(errors_of_rare_advice)
{
	run_range_cases(w, rare, COUNT(rare), do_madvise);
}

CONFORMS(errors_of_guards)
{
	run_range_cases(w, guards, COUNT(guards), do_madvise);
}

/* MADV_DONTNEED: shared pages are "repopulated ... from the up-to-date contents of the underlying mapped file". */
CONFORMS(dontneed_of_shared_pages_loses_nothing)
{
	char byte;

	map_layout(w, "ssss");
	ARENA[0] = 'x';
	ARENA[3 * PAGE] = 'y';
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED));
	assert_int_equal(ARENA[0], 'x');
	assert_int_equal(ARENA[3 * PAGE], 'y');
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	assert_int_equal(pread(w->fd, &byte, 1, 3 * PAGE), 1);
	assert_int_equal(byte, 'y');
}

/* Private copies go, and the file is seen again: what it holds now. */
CONFORMS(dontneed_of_private_pages_shows_the_file)
{
	char byte = 'f';

	map_layout(w, "pppp");
	ARENA[0] = 'x';
	ARENA[3 * PAGE] = 'y';
	assert_int_equal(w->c->pwrite(w->fd, &byte, 1, 0), 1);
	assert_int_equal(ARENA[0], 'x');
	assert_ok(w->c->madvise(ARENA, PAGE, MADV_DONTNEED));
	assert_int_equal(ARENA[0], 'f');
	assert_int_equal(ARENA[3 * PAGE], 'y');
	ARENA[0] = 'z';
	assert_int_equal(w->c->pread(w->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'f');
}

CONFORMS(dontneed_of_anonymous_pages_shows_zeros)
{
	map_layout(w, "aazz");
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE] = 'x';
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED));
	assert_int_equal(ARENA[0], 0);
	assert_int_equal(ARENA[PAGE], 0);
	assert_int_equal(ARENA[2 * PAGE], 'x');
	assert_int_equal(ARENA[3 * PAGE], 'x');
}

/* Holes do not keep the rest from being advised: ENOMEM comes last. */
CONFORMS(what_is_mapped_is_advised_before_enomem)
{
	map_layout(w, "p.pp");
	for (size_t i = 0; i < 4; i++)
		if (i != 1)
			ARENA[i * PAGE] = 'x';
	assert_error(w->c->madvise(ARENA, 3 * PAGE, MADV_DONTNEED), ENOMEM);
	assert_int_equal(ARENA[0], mark(0));
	assert_int_equal(ARENA[2 * PAGE], mark(2));
	assert_int_equal(ARENA[3 * PAGE], 'x');
}

/* An error of one mapping ends the call: what precedes it is done. */
CONFORMS(an_error_ends_the_call)
{
	map_layout(w, "sps");
	ARENA[0] = 'x';
	assert_error(w->c->madvise(ARENA, 3 * PAGE, MADV_REMOVE), EACCES);
	assert_int_equal(ARENA[0], 0);
	assert_int_equal(ARENA[2 * PAGE], mark(2));
}

/* MADV_REMOVE: "equivalent to punching a hole"; the size of the file stays. */
CONFORMS(remove_punches_a_hole)
{
	char byte;

	map_layout(w, "ssss");
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	ARENA[PAGE] = 'x';
	ARENA[10 * PAGE] = 'y';
	assert_ok(w->c->madvise(ARENA + PAGE, 2 * PAGE, MADV_REMOVE));
	for (size_t i = 1; i < 3; i++) {
		assert_int_equal(ARENA[i * PAGE], 0);
		assert_int_equal(ARENA[i * PAGE + 7], 0);
		assert_int_equal(w->c->pread(w->fd, &byte, 1, (off_t)(i * PAGE)), 1);
		assert_int_equal(byte, 0);
	}
	assert_int_equal(ARENA[9 * PAGE], 0);
	assert_int_equal(ARENA[10 * PAGE], 'y');
	assert_int_equal(ARENA[3 * PAGE], mark(3));
	assert_int_equal(lseek(w->fd, 0, SEEK_END), FILE_BYTES);
	ARENA[PAGE] = 'z';
	assert_int_equal(ARENA[PAGE], 'z');
}

/* MADV_POPULATE_*: EFAULT where an access would raise SIGBUS; no signal is. */
CONFORMS(population_beyond_the_end_of_the_file)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	assert_error(w->c->madvise(ARENA, 2 * PAGE, MADV_POPULATE_READ), EFAULT);
	assert_error(w->c->madvise(ARENA, 2 * PAGE, MADV_POPULATE_WRITE), EFAULT);
	assert_ok(w->c->madvise(ARENA, PAGE, MADV_POPULATE_WRITE));
	assert_ok(w->c->madvise(ARENA, 2 * PAGE, MADV_WILLNEED));
}

/* "breaking any CoW": what MADV_POPULATE_WRITE has copied does not see later changes of the file. */
CONFORMS(population_copies_private_pages)
{
	char byte = 'f';

	map_layout(w, "pp");
	assert_ok(w->c->madvise(ARENA, PAGE, MADV_POPULATE_WRITE));
	assert_int_equal(w->c->pwrite(w->fd, &byte, 1, 0), 1);
	assert_int_equal(ARENA[0], mark(0));
	assert_int_equal(w->c->pread(w->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'f');
}

/* After MADV_POPULATE_READ the pages are in memory. */
CONFORMS(population_is_complete)
{
	unsigned char vec[4];

	map_layout(w, "ssss");
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_POPULATE_READ));
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, 1);
}

/* MADV_PAGEOUT and MADV_COLD are nondestructive. */
CONFORMS(pageout_loses_nothing)
{
	static const int advice[] = {MADV_PAGEOUT, MADV_COLD};

	for (size_t k = 0; k < COUNT(advice); k++) {
		map_layout(w, "sspp");
		for (size_t i = 0; i < 4; i++)
			ARENA[i * PAGE + k] = 'x';
		assert_ok(w->c->madvise(ARENA, 4 * PAGE, advice[k]));
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(ARENA[i * PAGE + k], 'x');
			assert_int_equal(ARENA[i * PAGE + 50], mark(i));
		}
	}
}

/* MADV_FREE: what is written afterwards stays; what is not is the old contents or zeros. */
CONFORMS(free_)
{
	map_layout(w, "aa");
	ARENA[0] = ARENA[PAGE] = 'x';
	assert_ok(w->c->madvise(ARENA, 2 * PAGE, MADV_FREE));
	ARENA[0] = 'y';
	assert_int_equal(ARENA[0], 'y');
	assert_true(ARENA[PAGE] == 'x' || ARENA[PAGE] == 0);
}

/* EINVAL: "the specified address range includes locked ... pages". */
CONFORMS(locked_memory_is_kept)
{
	map_layout(w, "ppss");
	ARENA[0] = ARENA[PAGE] = 'x';
	assert_ok(w->c->mlock(ARENA + PAGE, 2 * PAGE));
	assert_error(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED), EINVAL);
	assert_int_equal(ARENA[0], mark(0));
	assert_int_equal(ARENA[PAGE], 'x');
	assert_error(w->c->madvise(ARENA + 2 * PAGE, PAGE, MADV_REMOVE), EINVAL);
	assert_error(w->c->madvise(ARENA + PAGE, PAGE, MADV_COLD), EINVAL);
	assert_error(w->c->madvise(ARENA + PAGE, PAGE, MADV_PAGEOUT), EINVAL);
	assert_ok(w->c->madvise(ARENA + PAGE, PAGE, MADV_WILLNEED));
	assert_ok(w->c->madvise(ARENA + PAGE, PAGE, MADV_POPULATE_WRITE));
	assert_ok(w->c->munlock(ARENA + PAGE, 2 * PAGE));
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_DONTNEED));
	assert_int_equal(ARENA[PAGE], mark(1));
}

/* MADV_DONTNEED_LOCKED (Linux 5.18): the same for locked pages. */
CONFORMS(dontneed_of_locked_memory)
{
	map_layout(w, "pp");
	ARENA[0] = 'x';
	assert_ok(w->c->mlock(ARENA, PAGE));
	assert_ok(w->c->madvise(ARENA, 2 * PAGE, MADV_DONTNEED_LOCKED));
	assert_int_equal(ARENA[0], mark(0));
}

/* EPERM: MADV_HWPOISON and MADV_SOFT_OFFLINE are for the privileged; with Faultline, for nobody. */
CONFORMS(poison)
{
	int privileged = geteuid() == 0, errors[2];

	map_layout(w, "ss");
	if (privileged)
		assert_int_equal(seteuid(65534), 0);
	errors[0] = ERROR_OF(w->c->madvise(ARENA, PAGE, MADV_HWPOISON));
	errors[1] = ERROR_OF(w->c->madvise(ARENA, PAGE, MADV_SOFT_OFFLINE));
	if (privileged)
		assert_int_equal(seteuid(0), 0);
	assert_true(errors[0] == EPERM || (errors[0] == EINVAL && !w->c->faultline)); /* EINVAL: the kernel was built without */
	assert_int_equal(errors[1], errors[0]);
	assert_access(ARENA, "ww");
}

/* MADV_GUARD_INSTALL: an access raises SIGSEGV; what was there is gone, and MADV_GUARD_REMOVE shows the file again. */
CONFORMS(guards_raise_sigsegv)
{
	map_layout(w, "pppssss");
	ARENA[PAGE] = 'x';
	ARENA[4 * PAGE] = 'y';
	assert_ok(w->c->madvise(ARENA + PAGE, 4 * PAGE, MADV_GUARD_INSTALL));
	assert_caught(try_read(ARENA + PAGE + 9), SIGSEGV, SEGV_MAPERR, ARENA + PAGE + 9);
	assert_caught(try_write(ARENA + 4 * PAGE, 1), SIGSEGV, SEGV_MAPERR, ARENA + 4 * PAGE);
	assert_ok(w->c->madvise(ARENA + PAGE, 4 * PAGE, MADV_GUARD_INSTALL));
	assert_access(ARENA, "w----ww");
	assert_ok(w->c->madvise(ARENA, 7 * PAGE, MADV_DONTNEED));
	assert_access(ARENA, "w----ww");
	assert_error(w->c->madvise(ARENA, 7 * PAGE, MADV_POPULATE_READ), EFAULT);
	assert_ok(w->c->madvise(ARENA + 2 * PAGE, 3 * PAGE, MADV_GUARD_REMOVE));
	assert_access(ARENA, "w-wwwww");
	assert_int_equal(ARENA[4 * PAGE], 'y');
	assert_ok(w->c->madvise(ARENA, 2 * PAGE, MADV_GUARD_REMOVE));
	assert_int_equal(ARENA[PAGE], mark(1));
}

/* Guards live through mprotect, and a move; munmap ends them. */
CONFORMS(guards_stay)
{
	map_layout(w, "pppp");
	assert_ok(w->c->madvise(ARENA + PAGE, PAGE, MADV_GUARD_INSTALL));
	assert_ok(w->c->mprotect(ARENA, 4 * PAGE, PROT_READ));
	assert_access(ARENA, "r-rr");
	assert_ok(w->c->mprotect(ARENA, 4 * PAGE, RW));
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_access(ARENA + 8 * PAGE, "w-ww");
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	assert_access(ARENA + 8 * PAGE, "wwww");
}

static int does_nothing(struct world *w, char *map)
{
	(void)w, (void)map;
	return 0;
}

/* Through a fork, which leaves shared mappings to the kernel where there is no host, and beyond the end of the file. */
CONFORMS(guards_of_what_is_shared_with_a_child)
{
	assert_ok(w->c->ftruncate(w->fd, 2 * PAGE));
	map_layout(w, "ssss");
	assert_ok(w->c->madvise(ARENA + PAGE, 3 * PAGE, MADV_GUARD_INSTALL));
	assert_true(in_child(does_nothing, w, ARENA));
	assert_access(ARENA, "w---");
	assert_ok(w->c->madvise(ARENA + PAGE, 2 * PAGE, MADV_GUARD_REMOVE));
	assert_access(ARENA, "wwb-");
}

CONFORMS(guards_in_locked_memory)
{
	map_layout(w, "pp");
	assert_ok(w->c->mlock(ARENA, PAGE));
	assert_error(w->c->madvise(ARENA, 2 * PAGE, MADV_GUARD_INSTALL), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors_of_arguments),
		RUN(errors_of_advice),
		RUN(errors_of_population),
		RUN(poison),
		RUN(errors_of_anonymous_memory),
		RUN_NEEDING(OTHER_ADVICE, errors_of_rare_advice),
		RUN_NEEDING(GUARDS, errors_of_guards),
		RUN(dontneed_of_shared_pages_loses_nothing),
		RUN(dontneed_of_private_pages_shows_the_file),
		RUN(dontneed_of_anonymous_pages_shows_zeros),
		RUN(what_is_mapped_is_advised_before_enomem),
		RUN(an_error_ends_the_call),
		RUN(remove_punches_a_hole),
		RUN(population_beyond_the_end_of_the_file),
		RUN(population_copies_private_pages),
		RUN(population_is_complete),
		RUN(pageout_loses_nothing),
		RUN(free_),
		RUN(locked_memory_is_kept),
		RUN(dontneed_of_locked_memory),
		RUN_NEEDING(GUARDS, guards_raise_sigsegv),
		RUN_NEEDING(GUARDS, guards_stay),
		RUN_NEEDING(GUARDS, guards_of_what_is_shared_with_a_child),
		RUN_NEEDING(GUARDS, guards_in_locked_memory),
	};

	return run_conformance_tests(tests);
}
