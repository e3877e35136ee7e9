/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2), MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_DROPPABLE, and /dev/zero (zero(4)). Its errors are in mmap_test.c. */
#include "conformance.h"

static bool all_zero(const char *p, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (p[i])
			return false;
	return true;
}

/* "The mapping is not backed by any file; its contents are initialized to zero." */
CONFORMS(zeros)
{
	map_layout(w, "aaaazzzz");
	assert_true(all_zero(ARENA, 8 * PAGE));
	for (size_t i = 0; i < 8; i++)
		ARENA[i * PAGE + i] = 'x';
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(ARENA[i * PAGE + i], 'x');
	assert_int_equal(ARENA[PAGE], 0);
}

/* What was unmapped does not come back. */
CONFORMS(zeros_again)
{
	for (int round = 0; round < 20; round++) {
		map_layout(w, "aazz");
		assert_true(all_zero(ARENA, 4 * PAGE));
		memset(ARENA, 'x', 4 * PAGE);
		if (round % 2)
			assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	}
}

/* Each call makes memory of its own. */
CONFORMS(mappings_are_apart)
{
	map_layout(w, "zz");
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	map_ok(w, ARENA + 8 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(ARENA, 'x', 2 * PAGE);
	assert_true(all_zero(ARENA + 4 * PAGE, 2 * PAGE));
	assert_true(all_zero(ARENA + 8 * PAGE, 2 * PAGE));
}

/* Over a file's mapping and back: MAP_FIXED replaces one kind by the other. */
CONFORMS(in_the_place_of_a_file)
{
	map_layout(w, "ssss");
	ARENA[PAGE] = 'x';
	map_ok(w, ARENA + PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_true(all_zero(ARENA + PAGE, 2 * PAGE));
	memset(ARENA + PAGE, 'a', 2 * PAGE);
	assert_int_equal(ARENA[0], mark(0));
	assert_int_equal(ARENA[3 * PAGE], mark(3));
	map_ok(w, ARENA + PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, PAGE);
	assert_int_equal(ARENA[PAGE], 'x');
	assert_int_equal(ARENA[2 * PAGE], mark(2));
}

/* Neighbours of one kind are one mapping: mremap takes them as such. */
CONFORMS(neighbours_are_one)
{
	char *p;

	map_layout(w, "aa");
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ARENA[0] = 'x';
	ARENA[3 * PAGE] = 'y';
	p = w->c->mremap(ARENA, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(p[0], 'x');
	assert_int_equal(p[3 * PAGE], 'y');
	assert_true(all_zero(p + 4 * PAGE, 4 * PAGE));
	assert_ok(w->c->munmap(p, 8 * PAGE));
}

/* Protection does not change contents; parts can go. */
CONFORMS(parts)
{
	map_layout(w, "aaaazzzz");
	for (size_t i = 0; i < 8; i++)
		ARENA[i * PAGE] = (char)('a' + i);
	assert_ok(w->c->mprotect(ARENA + PAGE, 6 * PAGE, PROT_NONE));
	assert_access(ARENA, "w000000w");
	assert_ok(w->c->mprotect(ARENA + 2 * PAGE, 4 * PAGE, PROT_READ));
	assert_access(ARENA, "w0rrrr0w");
	assert_ok(w->c->munmap(ARENA + 3 * PAGE, 2 * PAGE));
	assert_ok(w->c->mprotect(ARENA, 3 * PAGE, RW));
	assert_ok(w->c->mprotect(ARENA + 5 * PAGE, 3 * PAGE, RW));
	assert_access(ARENA, "www--www");
	for (size_t i = 0; i < 8; i++)
		if (i < 3 || i > 4)
			assert_int_equal(ARENA[i * PAGE], 'a' + i);
}

/* More than memory: private pages go to swap and come back. */
CONFORMS(more_than_memory)
{
	const size_t pages = 2048;
	char *maps[2] = {
		map_ok(w, NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		map_ok(w, NULL, pages * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	};

	for (size_t i = 0; i < pages; i++)
		for (size_t m = 0; m < 2; m++)
			maps[m][i * PAGE] = (char)(i * 3 + m + 1);
	for (size_t i = 0; i < pages; i++)
		for (size_t m = 0; m < 2; m++) {
			assert_int_equal(maps[m][i * PAGE], (char)(i * 3 + m + 1));
			assert_int_equal(maps[m][i * PAGE + 1], 0);
		}
	for (size_t m = 0; m < 2; m++)
		assert_ok(w->c->munmap(maps[m], pages * PAGE));
}

/* The object of a shared mapping has the size it was made with: growth shows nothing more. */
CONFORMS(shared_memory_does_not_grow)
{
	map_layout(w, "zz");
	ARENA[PAGE] = 'x';
	assert_ptr_equal(w->c->mremap(ARENA, 2 * PAGE, 4 * PAGE, 0), ARENA);
	assert_int_equal(ARENA[PAGE], 'x');
	assert_access(ARENA, "wwbb");
}

/* MAP_NORESERVE: far more than there is can be mapped, and what is used is there. */
CONFORMS(noreserve)
{
	const size_t length = 1UL << 40;
	char *p = map_ok(w, NULL, length, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	for (size_t at = 0; at < length; at += length / 100)
		assert_int_equal(p[at], 0);
	for (size_t at = 0; at < length; at += length / 100)
		p[at] = 'x';
	for (size_t at = 0; at < length; at += length / 100)
		assert_int_equal(p[at], 'x');
	assert_ok(w->c->munmap(p, length));
}

/* MAP_GROWSDOWN: "Touching an address in the 'guard' page below the mapping will cause the mapping to grow by a page". */
CONFORMS(growing_down)
{
	char *top = ARENA + 64 * PAGE;

	map_ok(w, top, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	top[0] = 'x';
	for (size_t i = 1; i <= 8; i++) {
		assert_int_equal(try_write(top - i * PAGE, 'y').signal, 0);
		assert_int_equal(try_read(top - i * PAGE).signal, 0);
	}
	assert_int_equal(top[0], 'x');
	assert_ok(w->c->mprotect(top, PAGE, PROT_READ | PROT_GROWSDOWN));
	assert_caught(try_write(top - 8 * PAGE, 1), SIGSEGV, SEGV_ACCERR, top - 8 * PAGE);
}

/* An access that the protection refuses has it grow, too. */
CONFORMS(growing_down_by_what_is_refused)
{
	static const int prot[] = {PROT_READ, PROT_NONE};

	for (size_t i = 0; i < 2; i++) {
		char *top = ARENA + 64 * PAGE, *low = top - 8 * PAGE;

		map_ok(w, top, PAGE, prot[i], MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
		assert_error(w->c->mprotect(low, PAGE, RW), ENOMEM);
		assert_caught(try_write(low, 'x'), SIGSEGV, SEGV_ACCERR, low);
		assert_error(w->c->mprotect(low - PAGE, PAGE, RW), ENOMEM);
		assert_error(w->c->msync(low, 9 * PAGE, MS_SYNC), 0);
		assert_ok(w->c->mprotect(low + PAGE, PAGE, RW));
		low[PAGE] = 'y';
		assert_access(low, prot[i] == PROT_READ ? "rwrrrrrrr" : "0w0000000");
		assert_ok(w->c->munmap(low, 9 * PAGE));
	}
}

/* In a child of fork, too. */
static int has_grown(struct world *w, char *low)
{
	return w->c->msync(low, 9 * PAGE, MS_SYNC) || w->c->mprotect(low, PAGE, RW) || *low;
}

CONFORMS(growth_and_fork)
{
	char *top = ARENA + 64 * PAGE;

	map_ok(w, top, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	assert_caught(try_write(top - 8 * PAGE, 'x'), SIGSEGV, SEGV_ACCERR, top - 8 * PAGE);
	assert_true(in_child(has_grown, w, top - 8 * PAGE));
}

/* A part of what has grown is moved away, and it grows to there once more. */
CONFORMS(growing_down_to_what_moved_away)
{
	char *top = ARENA + 64 * PAGE;

	map_ok(w, top, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	assert_int_equal(try_write(top - 4 * PAGE, 'm').signal, 0);
	assert_ptr_equal(w->c->mremap(top - 4 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ARENA), ARENA);
	for (size_t i = 4; i <= 6; i++)
		assert_int_equal(try_write(top - i * PAGE, 'x').signal, 0);
	assert_int_equal(ARENA[0], 'm');
	assert_int_equal(top[-4 * (int)PAGE], 'x');
	assert_int_equal(top[-6 * (int)PAGE], 'x');
}

/* MAP_POPULATE and MAP_LOCKED of memory that is zeros. */
CONFORMS(populate)
{
	unsigned char vec[4];

	map_ok(w, ARENA, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
	assert_ok(w->c->mincore(ARENA, 4 * PAGE, vec));
	assert_int_equal(vec[0] & vec[1] & vec[2] & vec[3] & 1, 1);
	assert_true(all_zero(ARENA, 4 * PAGE));
}

/* MAP_DROPPABLE (Linux 6.11): private memory that may be gone, as zeros, when memory is short; children see zeros. */
static int sees_zeros(struct world *w, char *map)
{
	(void)w;
	return !all_zero(map, 2 * PAGE);
}

CONFORMS(droppable)
{
	char *p;

	if (linux_version() < 611)
		skip();
	p = map_ok(w, ARENA, 2 * PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	p[0] = 'x';
	assert_int_equal(p[0], 'x');
	assert_true(in_child(sees_zeros, w, p));
	assert_int_equal(p[0], 'x');
	assert_error(w->c->mlock(p, PAGE), 0);
	assert_error(w->c->madvise(p, PAGE, MADV_KEEPONFORK), EINVAL);
}

/* ---- /dev/zero ---- */

CONFORMS(dev_zero)
{
	int fd = open("/dev/zero", O_RDWR), read_only = open("/dev/zero", O_RDONLY);

	map_ok(w, ARENA, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, read_only, 0);
	assert_pointer_error(w->c->mmap(NULL, PAGE, RW, MAP_SHARED, read_only, 0), EACCES);
	assert_pointer_error(w->c->mmap(NULL, 0, RW, MAP_SHARED, fd, 0), EINVAL);
	assert_pointer_error(w->c->mmap(NULL, PAGE, RW, MAP_SHARED, fd, 100), EINVAL);
	close(fd);
	close(read_only);
	assert_true(all_zero(ARENA, 6 * PAGE));
	for (size_t i = 0; i < 6; i++)
		ARENA[i * PAGE] = 'x';
	assert_ok(w->c->madvise(ARENA, 6 * PAGE, MADV_DONTNEED));
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(ARENA[i * PAGE], i == 2 || i == 3 ? 'x' : 0);
}

/* It has a file, but for MADV_FREE. */
CONFORMS(dev_zero_advised)
{
	int fd = open("/dev/zero", O_RDWR), read_only = open("/dev/zero", O_RDONLY);

	map_ok(w, ARENA, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 2 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, read_only, 0);
	map_ok(w, ARENA + 3 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	for (size_t i = 0; i < 3; i += 2) {
		assert_error(w->c->madvise(ARENA + i * PAGE, PAGE, MADV_REMOVE), EACCES);
		assert_error(w->c->madvise(ARENA + i * PAGE, PAGE, MADV_WIPEONFORK), EINVAL);
	}
	assert_ok(w->c->madvise(ARENA, PAGE, MADV_FREE));
	assert_ok(w->c->mlock(ARENA + PAGE, PAGE));
	assert_error(w->c->madvise(ARENA + PAGE, PAGE, MADV_REMOVE), EINVAL);
	assert_ok(w->c->madvise(ARENA + 3 * PAGE, PAGE, MADV_REMOVE));
	close(fd);
	close(read_only);
}

/* The object of a shared mapping is as long as the mapping, and begins where /dev/zero does: an offset is beyond its end. */
CONFORMS(dev_zero_from_an_offset)
{
	int fd = open("/dev/zero", O_RDWR);

	map_ok(w, ARENA, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 16 * PAGE);
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE);
	map_ok(w, ARENA + 4 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 16 * PAGE);
	assert_access(ARENA, "wwwbbb");
	close(fd);
}

/* Two shared mappings of it have nothing in common. */
CONFORMS(dev_zero_twice)
{
	int fd = open("/dev/zero", O_RDWR);

	map_ok(w, ARENA, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	ARENA[0] = 'x';
	assert_int_equal(ARENA[PAGE], 0);
	close(fd);
}

static int stores(struct world *w, char *map)
{
	(void)w;
	map[1] = 'c';
	map[PAGE + 1] = 'c';
	return map[0] != 'p' || map[PAGE] != 'p';
}

/* A shared mapping of it is shared with children. */
CONFORMS(dev_zero_and_fork)
{
	int fd = open("/dev/zero", O_RDWR);

	map_ok(w, ARENA, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + PAGE, PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	ARENA[0] = ARENA[PAGE] = 'p';
	assert_true(in_child(stores, w, ARENA));
	assert_int_equal(ARENA[1], 'c');
	assert_int_equal(ARENA[PAGE + 1], 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(zeros),
		RUN(zeros_again),
		RUN(mappings_are_apart),
		RUN(in_the_place_of_a_file),
		RUN(neighbours_are_one),
		RUN(parts),
		RUN(more_than_memory),
		RUN(shared_memory_does_not_grow),
		RUN(noreserve),
		RUN(growing_down),
		RUN(growing_down_by_what_is_refused),
		RUN(growth_and_fork),
		RUN(growing_down_to_what_moved_away),
		RUN(populate),
		RUN(droppable),
		RUN(dev_zero),
		RUN(dev_zero_advised),
		RUN(dev_zero_from_an_offset),
		RUN(dev_zero_twice),
		RUN(dev_zero_and_fork),
	};

	return run_conformance_tests(tests);
}
