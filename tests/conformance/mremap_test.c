/* SPDX-License-Identifier: Apache-2.0 */
/* mremap(2). */
#include "conformance.h"

#define MAY MREMAP_MAYMOVE
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define KEEP (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)

/* Sizes are in pages where they end in _pages, else in bytes. */
struct mremap_case {
	const char *name, *layout;
	size_t from, old_size, new_size;
	int flags;
	size_t to; /* bytes from ARENA, as `from` */
	int error;
	const char *after;
	enum feature needs;
	int since;
};

static void run_mremap_case(struct world *w, const struct mremap_case *c)
{
	int got;
	const char *after;
	char *p;

	map_layout(w, c->layout);
	p = w->c->mremap(from_arena(c->from), c->old_size, c->new_size, c->flags, from_arena(c->to));
	got = p == MAP_FAILED ? errno : 0;
	if (got != c->error)
		wrong(w, "%s: %s, not %s", c->name, strerrorname_np(got), strerrorname_np(c->error));
	after = c->after && got == c->error ? access_map(ARENA, strlen(c->after)) : NULL;
	if (after && strcmp(after, c->after))
		wrong(w, "%s: pages are %s, not %s", c->name, after, c->after);
	if (!got && (p < ARENA || p >= ARENA + ARENA_PAGES * PAGE))
		assert_ok(w->c->munmap(p, c->new_size));
	assert_ok(w->c->munmap(ARENA, ARENA_PAGES * PAGE));
}

static void run_mremap_cases(struct world *w, const struct mremap_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (has_feature(w->c, cases[i].needs) && linux_version() >= cases[i].since)
			run_mremap_case(w, &cases[i]);
}

static const struct mremap_case errors_[] = {
	{"unknown flags", "ss", 0, PAGE, 2 * PAGE, 8, 0, EINVAL, "ww"},
	{"MREMAP_FIXED without MREMAP_MAYMOVE", "ss", 0, PAGE, PAGE, MREMAP_FIXED, 8 * PAGE, EINVAL, "ww"},
	{"MREMAP_DONTUNMAP without MREMAP_MAYMOVE", "pp", 0, PAGE, PAGE, MREMAP_DONTUNMAP, 0, EINVAL, "ww", SECOND_VIEW},
	{"a misaligned old address", "ss", 1, PAGE, 2 * PAGE, MAY, 0, EINVAL, "ww"},
	{"a misaligned old address where nothing is mapped", "..", 1, PAGE, 2 * PAGE, MAY, 0, EINVAL, "--"},
	{"a misaligned new address", "ss", 0, PAGE, PAGE, FIXED, 8 * PAGE + 1, EINVAL, "ww"},
	{"new size 0", "ss", 0, PAGE, 0, MAY, 0, EINVAL, "ww"},
	{"both sizes 0", "ss", 0, 0, 0, MAY, 0, EINVAL, "ww"},
	{"new size SIZE_MAX: it rounds up to 0", "ss", 0, PAGE, SIZE_MAX, MAY, 0, EINVAL, "ww"},
	{"new size 2^63", "ss", 0, PAGE, 1UL << 63, MAY, 0, EINVAL, "ww"},
	{"new size 2^47", "ss", 0, PAGE, 1UL << 47, MAY, 0, EINVAL, "ww"},
	{"new size 2^47 less a page", "ss", 0, PAGE, (1UL << 47) - PAGE, MAY, 0, ENOMEM, "ww"},
	{"new size 2^46 where it cannot grow", "ss", 0, 2 * PAGE, 1UL << 46, 0, 0, ENOMEM, "ww"},
	{"a new range beyond the address space", "ss", 0, PAGE, PAGE, FIXED, AT(1UL << 47), EINVAL, "ww"},
	{"a new range across its end", "ss", 0, PAGE, 4 * PAGE, FIXED, AT((1UL << 47) - 2 * PAGE), EINVAL, "ww"},
	{"a new range of kernel addresses", "ss", 0, PAGE, PAGE, FIXED, AT(-2 * PAGE), EINVAL, "ww"},
	{"a new range that is the old one", "ss", 0, 2 * PAGE, 2 * PAGE, FIXED, 0, EINVAL, "ww"},
	{"a new range that overlaps the old one's start", ".sss", PAGE, 2 * PAGE, 2 * PAGE, FIXED, 0, EINVAL, "-www"},
	{"a new range that overlaps the old one's end", "sss", 0, 2 * PAGE, 2 * PAGE, FIXED, PAGE, EINVAL, "www"},
	{"a new range that overlaps it by growth", "....s", 4 * PAGE, PAGE, 5 * PAGE, FIXED, 0, EINVAL, "----w"},
	{"a new range right before the old one", "....s", 4 * PAGE, PAGE, 4 * PAGE, FIXED, 0, 0, "wwww-"},
	{"nothing is mapped", "..", 0, PAGE, 2 * PAGE, MAY, 0, EFAULT, "--"},
	{"nothing is mapped, the same size", "..", 0, PAGE, PAGE, 0, 0, EFAULT, "--"},
	{"nothing is mapped, old size 0", "..", 0, 0, PAGE, MAY, 0, EFAULT, "--"},
	{"nothing is mapped, a smaller size", "..", 0, 2 * PAGE, PAGE, 0, 0, EFAULT, "--"},
	{"a kernel address", "s", AT(0xffff800000000000), PAGE, 2 * PAGE, MAY, 0, EFAULT, "w"},
	{"growth of a range with a hole", "s.s", 0, 3 * PAGE, 4 * PAGE, MAY, 0, EFAULT, "w-w"},
	{"growth of a range that ends in a hole", "ss.", 0, 3 * PAGE, 4 * PAGE, MAY, 0, EFAULT, "ww-"},
	{"growth of two mappings", "sp", 0, 2 * PAGE, 3 * PAGE, MAY, 0, EFAULT, "ww"},
	{"growth of two mappings of other protection", "so", 0, 2 * PAGE, 3 * PAGE, MAY, 0, EFAULT, "wr"},
	{"the same size, two mappings", "sp", 0, 2 * PAGE, 2 * PAGE, MAY, 0, 0, "ww"},
	{"the same size, a hole at the end", "ss.", 0, 3 * PAGE, 3 * PAGE, MAY, 0, 0, "ww-"},
	{"a smaller size, two mappings", "sspp", 0, 4 * PAGE, 3 * PAGE, 0, 0, 0, "www-"},
	{"a smaller size, with a hole", "ss.pp", 0, 5 * PAGE, PAGE, 0, 0, 0, "w----"},
	{"old size 2^63", "ss", 0, 1UL << 63, PAGE, 0, 0, EINVAL, "ww"},
	{"old size SIZE_MAX", "ss", 0, SIZE_MAX, PAGE, MAY, 0, 0, "ww"},
	{"old size SIZE_MAX, private", "pp", 0, SIZE_MAX, PAGE, MAY, 0, EINVAL, "ww"},
};

static const struct mremap_case sizes[] = {
	{"growth in place", "s", 0, PAGE, 4 * PAGE, 0, 0, 0, "wwww-"},
	{"growth in place, private", "p", 0, PAGE, 4 * PAGE, 0, 0, 0, "wwww-"},
	{"growth in place, readable", "r", 0, PAGE, 4 * PAGE, 0, 0, 0, "rrrr-"},
	{"growth in place, PROT_NONE", "n", 0, PAGE, 4 * PAGE, 0, 0, 0, "0000-"},
	{"growth in place up to another mapping", "s...p", 0, PAGE, 4 * PAGE, 0, 0, 0, "wwwww"},
	{"growth without room", "s..p", 0, PAGE, 4 * PAGE, 0, 0, ENOMEM, "w--w"},
	{"growth without room, private", "p..s", 0, PAGE, 4 * PAGE, 0, 0, ENOMEM, "w--w"},
	{"growth of a mapping's middle", "sss", PAGE, PAGE, 2 * PAGE, 0, 0, ENOMEM, "www"},
	{"growth of a mapping's middle that moves", "ssss", PAGE, PAGE, 2 * PAGE, MAY, 0, 0, "w-ww"},
	{"growth of its end", "ss", PAGE, PAGE, 2 * PAGE, 0, 0, 0, "www-"},
	{"growth without room that moves", "s..p", 0, PAGE, 4 * PAGE, MAY, 0, 0, "---w"},
	{"growth without room that moves, private", "p..s", 0, PAGE, 4 * PAGE, MAY, 0, 0, "---w"},
	{"growth within the last page", "s", 0, 100, 200, 0, 0, 0, "w-"},
	{"growth from within the last page", "s", 0, 100, PAGE + 1, 0, 0, 0, "ww-"},
	{"the same size", "ss", 0, 2 * PAGE, 2 * PAGE, 0, 0, 0, "ww"},
	{"a smaller size", "ssss", 0, 4 * PAGE, PAGE, 0, 0, 0, "w---"},
	{"a smaller size of the middle", "ssss", PAGE, 2 * PAGE, PAGE, 0, 0, 0, "ww-w"},
	{"a smaller size, private", "pppp", 0, 4 * PAGE, 3 * PAGE, MAY, 0, 0, "www-"},
	{"anonymous growth", "a", 0, PAGE, 4 * PAGE, 0, 0, 0, "wwww-"},
	{"anonymous growth without room", "a..p", 0, PAGE, 4 * PAGE, 0, 0, ENOMEM, "w--w"},
	{"anonymous growth that moves", "a..p", 0, PAGE, 4 * PAGE, MAY, 0, 0, "---w"},
};

static const struct mremap_case places[] = {
	{"a move", "ss", 0, 2 * PAGE, 2 * PAGE, FIXED, 8 * PAGE, 0, "--------ww-"},
	{"a move, private", "pp", 0, 2 * PAGE, 2 * PAGE, FIXED, 8 * PAGE, 0, "--------ww-"},
	{"a move, readable", "rr", 0, 2 * PAGE, 2 * PAGE, FIXED, 8 * PAGE, 0, "--------rr-"},
	{"a move that grows", "ss", 0, 2 * PAGE, 4 * PAGE, FIXED, 4 * PAGE, 0, "----wwww-"},
	{"a move that grows, private", "pp", 0, 2 * PAGE, 4 * PAGE, FIXED, 4 * PAGE, 0, "----wwww-"},
	{"a move that shrinks", "ssss", 0, 4 * PAGE, 2 * PAGE, FIXED, 6 * PAGE, 0, "------ww-"},
	{"a move that shrinks, private", "pppp", 0, 4 * PAGE, 2 * PAGE, FIXED, 6 * PAGE, 0, "------ww-"},
	{"a move of the middle", "ssss", PAGE, 2 * PAGE, 2 * PAGE, FIXED, 6 * PAGE, 0, "w--w--ww-"},
	{"a move of the middle, private", "pppp", PAGE, 2 * PAGE, 2 * PAGE, FIXED, 6 * PAGE, 0, "w--w--ww-"},
	{"a move over other mappings", "ss..oopp", 0, 2 * PAGE, 2 * PAGE, FIXED, 5 * PAGE, 0, "----rwww"},
	{"a move that fails replaces nothing there", "s.s.oo", 0, 3 * PAGE, 4 * PAGE, FIXED, 8 * PAGE, EFAULT, "w-w-rr"},
	{"a move of nothing replaces nothing", "....oo", 0, PAGE, PAGE, FIXED, 4 * PAGE, EFAULT, "----rr", .since = 617},
	{"a move of two mappings", "spo", 0, 3 * PAGE, 3 * PAGE, FIXED, 8 * PAGE, 0, "--------wwr-", .since = 617},
	{"a move of mappings and holes", "s.p", 0, 3 * PAGE, 3 * PAGE, FIXED, 8 * PAGE, 0, "--------w-w-", .since = 617},
	{"a move that starts with a hole", ".sp", 0, 3 * PAGE, 3 * PAGE, FIXED, 8 * PAGE, EFAULT, "-ww", .since = 617},
	{"a move of two mappings that grows", "spo", 0, 3 * PAGE, 4 * PAGE, FIXED, 8 * PAGE, EFAULT, "wwr"},
	{"a move of two mappings that shrinks", "sspp", 0, 4 * PAGE, 3 * PAGE, FIXED, 8 * PAGE, EFAULT},
	{"an anonymous move", "aa", 0, 2 * PAGE, 2 * PAGE, FIXED, 8 * PAGE, 0, "--------ww-"},
};

static const struct mremap_case second_views[] = {
	{"old size 0", "ss", 0, 0, 2 * PAGE, MAY, 0, 0, "ww", SECOND_VIEW},
	{"old size 0, to an address", "ss", 0, 0, 2 * PAGE, FIXED, 8 * PAGE, 0, "ww------ww-", SECOND_VIEW},
	{"old size 0, from the middle", "ss", PAGE, 0, 2 * PAGE, FIXED, 8 * PAGE, 0, "ww------ww-", SECOND_VIEW},
	{"old size 0, readable", "rr", 0, 0, PAGE, FIXED, 8 * PAGE, 0, "rr------r-", SECOND_VIEW},
	{"old size 0 without MREMAP_MAYMOVE", "ss", 0, 0, 2 * PAGE, 0, 0, ENOMEM, "ww", SECOND_VIEW},
	{"old size 0, private", "pp", 0, 0, 2 * PAGE, MAY, 0, EINVAL, "ww", SECOND_VIEW},
	{"old size 0, anonymous", "aa", 0, 0, 2 * PAGE, MAY, 0, EINVAL, "ww"},
	{"old size 0, shared anonymous", "zz", 0, 0, 2 * PAGE, FIXED, 8 * PAGE, 0, "ww------ww-"},
	{"MREMAP_DONTUNMAP, shared", "ss", 0, 2 * PAGE, 2 * PAGE, KEEP, AT(0), 0, "ww", SECOND_VIEW},
	{"MREMAP_DONTUNMAP, private", "pp", 0, 2 * PAGE, 2 * PAGE, KEEP, AT(0), 0, "ww", SECOND_VIEW},
	{"MREMAP_DONTUNMAP, an address within the old range", "pp", 0, 2 * PAGE, 2 * PAGE, KEEP, PAGE, EINVAL, "ww"},
	{"MREMAP_DONTUNMAP, an address within an old range of two mappings", "pa", 0, 2 * PAGE, 2 * PAGE, KEEP, PAGE, EINVAL, "ww"},
	{"MREMAP_DONTUNMAP, a misaligned address", "pp", 0, 2 * PAGE, 2 * PAGE, KEEP, 8 * PAGE + 1, EINVAL, "ww"},
	{"MREMAP_DONTUNMAP, to an address", "pp", 0, 2 * PAGE, 2 * PAGE, FIXED | KEEP, 8 * PAGE, 0, "ww------ww-", SECOND_VIEW},
	{"MREMAP_DONTUNMAP that grows", "pp", 0, 2 * PAGE, 3 * PAGE, KEEP, AT(0), EINVAL, "ww", SECOND_VIEW},
	{"MREMAP_DONTUNMAP that shrinks", "pp", 0, 2 * PAGE, PAGE, KEEP, AT(0), EINVAL, "ww", SECOND_VIEW},
	{"MREMAP_DONTUNMAP, old size 0", "ss", 0, 0, PAGE, KEEP, AT(0), EINVAL, "ww", SECOND_VIEW},
	{"MREMAP_DONTUNMAP where nothing is mapped", "..", 0, PAGE, PAGE, KEEP, AT(0), EFAULT, "--", SECOND_VIEW},
	{"MREMAP_DONTUNMAP, anonymous", "aa", 0, 2 * PAGE, 2 * PAGE, FIXED | KEEP, 8 * PAGE, 0, "ww------ww-"},
};

CONFORMS(errors)
{
	run_mremap_cases(w, errors_, COUNT(errors_));
}

CONFORMS(new_sizes)
{
	run_mremap_cases(w, sizes, COUNT(sizes));
}

CONFORMS(new_places)
{
	run_mremap_cases(w, places, COUNT(places));
}

CONFORMS(old_size_0_and_dontunmap)
{
	run_mremap_cases(w, second_views, COUNT(second_views));
}

/* What was stored goes along, what grows shows the file. */
CONFORMS(contents_go_along)
{
	static const char layouts[][9] = {"ssss...o", "pppp...o"};

	for (size_t k = 0; k < COUNT(layouts); k++) {
		char *p;

		map_layout(w, layouts[k]);
		ARENA[PAGE + 5] = 'x';
		p = w->c->mremap(ARENA, 4 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
		assert_ptr_not_equal(p, MAP_FAILED);
		assert_int_equal(p[PAGE + 5], 'x');
		for (size_t i = 0; i < 10; i++)
			assert_int_equal(p[i * PAGE + 9], mark(i));
		assert_ok(w->c->munmap(p, 10 * PAGE));
		assert_ok(w->c->munmap(ARENA, 8 * PAGE));
		assert_int_equal(w->c->pwrite(w->fd, &(char){mark(1)}, 1, PAGE + 5), 1);
	}
}

/* Growth in place: old pages and new in one piece, that stores go through. */
CONFORMS(growth_in_place_shows_more_of_the_file)
{
	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 6 * PAGE, 0), ARENA);
	assert_int_equal(ARENA[0], 'x');
	assert_int_equal(ARENA[5 * PAGE], mark(5));
	ARENA[5 * PAGE] = 'y';
	map_ok(w, ARENA + 8 * PAGE, 6 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_int_equal(ARENA[8 * PAGE], 'x');
	assert_int_equal(ARENA[13 * PAGE], 'y');
}

/* Growth beyond the end of the file: SIGBUS there, until it grows. */
CONFORMS(growth_beyond_the_end_of_the_file)
{
	assert_ok(w->c->ftruncate(w->fd, 2 * PAGE));
	map_layout(w, "s");
	assert_ptr_equal(w->c->mremap(ARENA, PAGE, 4 * PAGE, 0), ARENA);
	assert_access(ARENA, "wwbb");
	assert_ok(w->c->ftruncate(w->fd, 4 * PAGE));
	assert_access(ARENA, "wwww");
}

/* After a move the old addresses are free, and old pointers invalid. */
CONFORMS(the_old_addresses_are_free)
{
	map_layout(w, "ss");
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 2 * PAGE, FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_caught(try_read(ARENA + PAGE), SIGSEGV, SEGV_MAPERR, ARENA + PAGE);
	map_ok(w, ARENA, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, w->fd, 0);
}

/* Private copies that moved stay private, and writable pages that were not copied yet are copied then. */
CONFORMS(private_pages_after_a_move)
{
	map_layout(w, "pppp");
	ARENA[0] = 'x';
	(void)*(volatile char *)(ARENA + PAGE);
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	for (size_t i = 8; i < 12; i++)
		ARENA[i * PAGE + 1] = 'y';
	assert_int_equal(ARENA[8 * PAGE], 'x');
	map_ok(w, ARENA, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(ARENA[i * PAGE + 1], mark(i));
	assert_int_equal(ARENA[0], mark(0));
}

/* A moved shared mapping is still one with the others of the file. */
CONFORMS(shared_pages_after_a_move)
{
	map_layout(w, "ssss");
	map_ok(w, ARENA + 16 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	ARENA[0] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	ARENA[8 * PAGE + 1] = 'y';
	ARENA[16 * PAGE + 2] = 'z';
	assert_memory_equal(ARENA + 8 * PAGE, "xyz", 3);
	assert_memory_equal(ARENA + 16 * PAGE, "xyz", 3);
}

/* What moves to a place between neighbours that go on in the file with it leaves them as they are. */
CONFORMS(neighbours_of_a_moved_mapping)
{
	for (int shared = 0; shared < 2; shared++) {
		map_layout(w, shared ? "s.s" : "p.p");
		map_ok(w, ARENA + 8 * PAGE, PAGE, RW, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, w->fd, PAGE);
		ARENA[8 * PAGE] = 'x';
		assert_ptr_equal(w->c->mremap(ARENA + 8 * PAGE, PAGE, PAGE, FIXED, ARENA + PAGE), ARENA + PAGE);
		assert_int_equal(ARENA[0], mark(0));
		assert_int_equal(ARENA[PAGE], 'x');
		assert_int_equal(ARENA[2 * PAGE], mark(2));
		assert_ok(w->c->munmap(ARENA, 3 * PAGE));
	}
}

static int growth_under_limit(struct world *w, int resource, rlim_t value, size_t length)
{
	struct rlimit old, small;
	int error;

	assert_int_equal(getrlimit(resource, &old), 0);
	small = (struct rlimit){.rlim_cur = value, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(resource, &small), 0);
	error = POINTER_ERROR_OF(w->c->mremap(ARENA, PAGE, length, MREMAP_MAYMOVE));
	setrlimit(resource, &old);
	return error;
}

/* ENOMEM: RLIMIT_AS bounds growth, RLIMIT_DATA that of private memory. */
CONFORMS(limits_of_the_process)
{
	map_layout(w, "p");
	assert_int_equal(growth_under_limit(w, RLIMIT_AS, 1 << 20, 64 << 20), ENOMEM);
	assert_int_equal(growth_under_limit(w, RLIMIT_DATA, PAGE, 64 << 20), ENOMEM);
	assert_access(ARENA, "w-");
	assert_int_equal(ARENA[5], mark(0));
}

/* There and back a hundred times. */
CONFORMS(many_moves)
{
	map_layout(w, "sssspppp");
	for (int i = 0; i < 100; i++) {
		ARENA[(i % 8) * PAGE + 100] = (char)i;
		assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, FIXED, ARENA + 16 * PAGE), ARENA + 16 * PAGE);
		assert_ptr_equal(w->c->mremap(ARENA + 4 * PAGE, 4 * PAGE, 4 * PAGE, FIXED, ARENA + 24 * PAGE), ARENA + 24 * PAGE);
		assert_ptr_equal(w->c->mremap(ARENA + 16 * PAGE, 4 * PAGE, 4 * PAGE, FIXED, ARENA), ARENA);
		assert_ptr_equal(w->c->mremap(ARENA + 24 * PAGE, 4 * PAGE, 4 * PAGE, FIXED, ARENA + 4 * PAGE), ARENA + 4 * PAGE);
		assert_int_equal(ARENA[(i % 8) * PAGE + 100], i);
	}
}

/* old_size 0: "mremap() will create a new mapping of the same pages". */
CONFORMS(a_second_view_is_of_the_same_pages)
{
	map_layout(w, "ss");
	ARENA[PAGE] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 0, 2 * PAGE, FIXED, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_int_equal(ARENA[9 * PAGE], 'x');
	ARENA[8 * PAGE] = 'y';
	assert_int_equal(ARENA[0], 'y');
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	assert_int_equal(ARENA[9 * PAGE], 'x');
}

/* MREMAP_DONTUNMAP: private pages go, and what stays shows the file, or zeros, again. */
CONFORMS(dontunmap_of_private_pages)
{
	map_layout(w, "pp");
	ARENA[PAGE] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 2 * PAGE, FIXED | KEEP, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_int_equal(ARENA[9 * PAGE], 'x');
	assert_int_equal(ARENA[PAGE], mark(1));
	ARENA[PAGE] = 'y';
	assert_int_equal(ARENA[9 * PAGE], 'x');
}

CONFORMS(dontunmap_of_anonymous_pages)
{
	map_layout(w, "aa");
	ARENA[PAGE] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 2 * PAGE, FIXED | KEEP, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_int_equal(ARENA[9 * PAGE], 'x');
	assert_int_equal(ARENA[PAGE], 0);
}

CONFORMS(anonymous_pages_go_along)
{
	char *p;

	map_layout(w, "aa.o");
	ARENA[PAGE] = 'x';
	p = w->c->mremap(ARENA, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(p[PAGE], 'x');
	for (size_t i = 2; i < 8; i++)
		assert_int_equal(p[i * PAGE], 0);
	assert_ok(w->c->munmap(p, 8 * PAGE));
}

/* ---- Where mappings end: a range of two cannot grow. What is alike is one, unless Linux has a reason. ---- */

#define ONE 0
#define TWO EFAULT

/* Whether pages [0, n) from p on are one mapping. Where they are, they are another place then. */
static void assert_mappings(struct world *w, char *p, size_t n, int expected)
{
	char *to = ARENA + 64 * PAGE;

	assert_pointer_error(w->c->mremap(p, n * PAGE, (n + 1) * PAGE, FIXED, to), expected);
	assert_ok(w->c->munmap(to, 32 * PAGE));
}

CONFORMS(what_was_alike_is_one)
{
	map_layout(w, "aaaa");
	ARENA[0] = 'x';
	assert_ok(w->c->mprotect(ARENA + PAGE, PAGE, PROT_READ));
	assert_mappings(w, ARENA, 4, TWO);
	assert_ok(w->c->mprotect(ARENA + PAGE, PAGE, PROT_READ | PROT_WRITE));
	assert_mappings(w, ARENA, 4, ONE);
}

/* Memory that was written apart, and memory that was only read. */
CONFORMS(pages_written_apart_keep_mappings_apart)
{
	map_layout(w, "aa.aa");
	ARENA[0] = ARENA[3 * PAGE] = 'x';
	map_ok(w, ARENA + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_mappings(w, ARENA + PAGE, 4, TWO);
	assert_mappings(w, ARENA, 3, ONE);
	map_layout(w, ".....aa.aa");
	assert_int_equal(try_read(ARENA + 5 * PAGE).value + try_read(ARENA + 8 * PAGE).value, 0);
	map_ok(w, ARENA + 7 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_mappings(w, ARENA + 5 * PAGE, 5, ONE);
}

/* Two parts that differ get their pages one after the other, and may become one later only where they lie side by side then. */
CONFORMS(parts_that_get_pages_one_by_one)
{
	map_layout(w, "aaaaaaaa");
	assert_ok(w->c->mlock(ARENA, 2 * PAGE));
	assert_ok(w->c->mlock(ARENA + 5 * PAGE, 3 * PAGE));
	assert_ok(w->c->mlock(ARENA + 2 * PAGE, 3 * PAGE));
	assert_mappings(w, ARENA, 8, TWO);
	assert_mappings(w, ARENA, 5, ONE);
	assert_mappings(w, ARENA + 5 * PAGE, 3, ONE);
	map_layout(w, "aaaa");
	assert_ok(w->c->mprotect(ARENA, 2 * PAGE, PROT_READ));
	ARENA[3 * PAGE] = 'x';
	assert_ok(w->c->mprotect(ARENA, 2 * PAGE, PROT_READ | PROT_WRITE));
	ARENA[0] = 'x';
	assert_mappings(w, ARENA, 4, ONE);
}

/* What has no pages yet is at home in its new place; what has them continues only what it came from. */
CONFORMS(moved_beside_others)
{
	map_layout(w, "aaaa");
	ARENA[0] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA + PAGE, PAGE, PAGE, FIXED, ARENA + 16 * PAGE), ARENA + 16 * PAGE);
	map_ok(w, ARENA + 17 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_mappings(w, ARENA + 16 * PAGE, 2, TWO);
	map_layout(w, "........aaaa");
	assert_int_equal(try_read(ARENA + 9 * PAGE).value, 0);
	assert_ptr_equal(w->c->mremap(ARENA + 9 * PAGE, PAGE, PAGE, FIXED, ARENA + 24 * PAGE), ARENA + 24 * PAGE);
	map_ok(w, ARENA + 25 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_mappings(w, ARENA + 24 * PAGE, 2, ONE);
}

/* A lock that goes with a mapping that moves away, or that a child does not inherit, leaves its border. */
CONFORMS(borders_of_locks_stay)
{
	map_layout(w, "ssss");
	assert_ok(w->c->mlock2(ARENA + 2 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
	for (size_t i = 0; i < 4; i += 2)
		assert_ptr_equal(w->c->mremap(ARENA + i * PAGE, 2 * PAGE, 2 * PAGE, FIXED | KEEP, ARENA + (i + 16) * PAGE),
				 ARENA + (i + 16) * PAGE);
	assert_mappings(w, ARENA, 4, TWO);
	assert_mappings(w, ARENA, 2, ONE);
	assert_mappings(w, ARENA + 2 * PAGE, 2, ONE);
}

/* Of what a part moves away from the rest is unlocked, too, however it has come to be one mapping. */
CONFORMS(dontunmap_unlocks_the_whole_mapping)
{
	map_layout(w, "p");
	ARENA[0] = 'x';
	assert_ok(w->c->mlock2(ARENA, PAGE, MLOCK_ONFAULT));
	assert_ptr_equal(w->c->mremap(ARENA, PAGE, 3 * PAGE, 0), ARENA);
	assert_error(w->c->msync(ARENA + 2 * PAGE, PAGE, MS_INVALIDATE), EBUSY);
	assert_ptr_equal(w->c->mremap(ARENA, PAGE, PAGE, FIXED | KEEP, ARENA + 16 * PAGE), ARENA + 16 * PAGE);
	assert_ok(w->c->msync(ARENA, 3 * PAGE, MS_INVALIDATE));
	assert_error(w->c->msync(ARENA + 16 * PAGE, PAGE, MS_INVALIDATE), EBUSY);
	assert_mappings(w, ARENA, 3, ONE);
}

static int child_has_two(struct world *w, char *map)
{
	return POINTER_ERROR_OF(w->c->mremap(map, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, NULL)) != TWO;
}

CONFORMS(borders_of_locks_stay_in_a_child)
{
	map_layout(w, "zzzz....qqqq");
	assert_ok(w->c->mlock2(ARENA + 2 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
	assert_ok(w->c->mlock2(ARENA + 10 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
	assert_true(in_child(child_has_two, w, ARENA));
	assert_true(in_child(child_has_two, w, ARENA + 8 * PAGE));
}

/* To be told again what is so already is no change. */
static int child_unlocks(struct world *w, char *map)
{
	return w->c->munlock(map, PAGE) || w->c->mprotect(map, PAGE, PROT_READ | PROT_WRITE) || child_has_two(w, map);
}

CONFORMS(borders_stay_where_nothing_changes)
{
	map_layout(w, "zzzz");
	assert_ok(w->c->mlock2(ARENA + PAGE, 3 * PAGE, MLOCK_ONFAULT));
	assert_true(in_child(child_unlocks, w, ARENA));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors),
		RUN(new_sizes),
		RUN(new_places),
		RUN(old_size_0_and_dontunmap),
		RUN(contents_go_along),
		RUN(growth_in_place_shows_more_of_the_file),
		RUN(growth_beyond_the_end_of_the_file),
		RUN(the_old_addresses_are_free),
		RUN(private_pages_after_a_move),
		RUN(shared_pages_after_a_move),
		RUN(neighbours_of_a_moved_mapping),
		RUN(limits_of_the_process),
		RUN(many_moves),
		RUN_NEEDING(SECOND_VIEW, a_second_view_is_of_the_same_pages),
		RUN_NEEDING(SECOND_VIEW, dontunmap_of_private_pages),
		RUN(dontunmap_of_anonymous_pages),
		RUN(anonymous_pages_go_along),
		RUN(what_was_alike_is_one),
		RUN(pages_written_apart_keep_mappings_apart),
		RUN(parts_that_get_pages_one_by_one),
		RUN(moved_beside_others),
		RUN_NEEDING(SECOND_VIEW, borders_of_locks_stay),
		RUN_NEEDING(SECOND_VIEW, dontunmap_unlocks_the_whole_mapping),
		RUN(borders_of_locks_stay_in_a_child),
		RUN(borders_stay_where_nothing_changes),
	};

	return run_conformance_tests(tests);
}
