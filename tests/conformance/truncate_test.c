/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2), NOTES, and POSIX mmap(): the end of the file, and files that change size while they are mapped. */
#include "conformance.h"

static void set_size(struct world *w, size_t size)
{
	assert_ok(w->c->ftruncate(w->fd, (off_t)size));
}

static off_t size_of(struct world *w)
{
	return lseek(w->fd, 0, SEEK_END);
}

/* "the remaining bytes in the partial page at the end of the mapping are zeroed when mapped". */
CONFORMS(the_last_page_ends_with_zeros)
{
	set_size(w, 2 * PAGE + 100);
	map_layout(w, "ssssqqqq");
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	for (size_t m = 0; m < 9; m += 8) {
		assert_int_equal(ARENA[(m + 2) * PAGE + 99], mark(2));
		for (size_t i = 100; i < PAGE; i++)
			assert_int_equal(ARENA[(m + 2) * PAGE + i], 0);
	}
}

/* "modifications to that region are not written out to the file". */
CONFORMS(stores_beyond_the_end_are_not_written)
{
	char byte;

	set_size(w, 100);
	map_layout(w, "s");
	ARENA[99] = 'x';
	ARENA[100] = 'y';
	assert_int_equal(ARENA[100], 'y');
	assert_ok(w->c->msync(ARENA, PAGE, MS_SYNC));
	assert_int_equal(size_of(w), 100);
	assert_int_equal(pread(w->fd, &byte, 1, 99), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(pread(w->fd, &byte, 1, 100), 0);
}

/* Growth makes them part of the file: as zeros, whatever was stored there. */
CONFORMS(growth_shows_zeros)
{
	char buf[32];

	set_size(w, 100);
	map_layout(w, "ss");
	ARENA[110] = 'y';
	assert_caught(try_read(ARENA + PAGE), SIGBUS, BUS_ADRERR, ARENA + PAGE);
	set_size(w, PAGE + 10);
	assert_int_equal(ARENA[PAGE], 0);
	assert_int_equal(ARENA[110], 0);
	assert_int_equal(w->c->pread(w->fd, buf, 32, 100), 32);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(buf[i], 0);
	ARENA[PAGE + 9] = 'z';
	assert_int_equal(w->c->pread(w->fd, buf, 32, PAGE), 10);
	assert_int_equal(buf[9], 'z');
}

/* SIGBUS: "Attempted access to a page of the buffer that lies beyond the end of the mapped file". */
CONFORMS(pages_beyond_the_end)
{
	static const size_t sizes[] = {0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE};
	static const char *const pictures[] = {"bbbb", "wbbb", "wbbb", "wbbb", "wwbb", "wwbb"};

	for (size_t i = 0; i < COUNT(sizes); i++) {
		set_size(w, sizes[i]);
		map_layout(w, "ssss");
		assert_access(ARENA, pictures[i]);
		map_layout(w, "pppp");
		assert_access(ARENA, pictures[i]);
	}
}

/* Cut while mapped, and grown again: pages go and come back as zeros. */
CONFORMS(cut_and_grown)
{
	map_layout(w, "ssss");
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE] = 'x';
	set_size(w, PAGE + 1);
	assert_access(ARENA, "wwbb");
	assert_int_equal(ARENA[0], 'x');
	assert_int_equal(ARENA[PAGE], 'x');
	assert_int_equal(ARENA[PAGE + 1], 0);
	set_size(w, 4 * PAGE);
	assert_access(ARENA, "wwww");
	assert_int_equal(ARENA[PAGE + 1], 0);
	assert_int_equal(ARENA[2 * PAGE], 0);
	assert_int_equal(ARENA[3 * PAGE + 5], 0);
	assert_int_equal(ARENA[0], 'x');
}

CONFORMS(cut_to_nothing_and_grown)
{
	map_layout(w, "sspp");
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE] = 'x';
	set_size(w, 0);
	assert_access(ARENA, "bbbb");
	set_size(w, FILE_BYTES);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(ARENA[i * PAGE], 0);
}

/* "The effect of references to ... private mapping[s beyond a file's new end is]" SIGBUS on Linux, also where copies were. */
CONFORMS(private_copies_are_cut_too)
{
	map_layout(w, "pppp");
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE + 10] = 'x';
	set_size(w, PAGE + 5);
	assert_access(ARENA, "wwbb");
	assert_int_equal(ARENA[10], 'x');
	assert_int_equal(ARENA[PAGE + 10], 'x');
	set_size(w, 4 * PAGE);
	assert_int_equal(ARENA[PAGE + 10], 'x');
	assert_int_equal(ARENA[2 * PAGE + 10], 0);
	assert_access(ARENA, "wwww");
}

/* Of a page that was copied, the part beyond the new end stays; of one that was not, it is zeros. */
CONFORMS(the_page_of_the_new_end)
{
	map_layout(w, "qq");
	assert_int_equal(ARENA[PAGE + 10], mark(1));
	set_size(w, PAGE + 5);
	assert_int_equal(ARENA[PAGE + 10], 0);
	assert_int_equal(ARENA[PAGE + 4], mark(1));
	set_size(w, 2 * PAGE);
	assert_int_equal(ARENA[PAGE + 10], 0);
}

/* Many sizes, up and down, over a mapping with stores: the same each time. */
CONFORMS(many_sizes)
{
	map_layout(w, "ssssssss");
	for (size_t i = 1; i < 100; i++) {
		size_t size = i * 7919 % (8 * PAGE);

		set_size(w, size);
		for (size_t page = 0; page * PAGE < size; page++)
			ARENA[page * PAGE] = (char)i;
		set_size(w, 8 * PAGE);
		for (size_t page = 0; page < 8; page++)
			assert_int_equal(ARENA[page * PAGE], page * PAGE < size ? (char)i : 0);
		if (size % PAGE)
			assert_int_equal(ARENA[size], 0);
	}
}

/* Growth by write(2), at the end, and with a hole before it. */
CONFORMS(growth_by_writing)
{
	set_size(w, 10);
	map_layout(w, "ssss");
	ARENA[20] = 'y';
	assert_int_equal(w->c->pwrite(w->fd, "abc", 3, 10), 3);
	assert_memory_equal(ARENA + 10, "abc", 3);
	assert_int_equal(w->c->pwrite(w->fd, "def", 3, 3 * PAGE), 3);
	assert_access(ARENA, "wwww");
	assert_memory_equal(ARENA + 3 * PAGE, "def", 4);
	assert_int_equal(ARENA[20], 0);
	assert_int_equal(ARENA[PAGE], 0);
	assert_int_equal(ARENA[2 * PAGE + 7], 0);
}

/* Holes of the file are zeros, and stores fill them. */
CONFORMS(holes)
{
	char byte;

	set_size(w, 0);
	set_size(w, 16 * PAGE);
	map_layout(w, "ssssssssssssssss");
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(ARENA[i * PAGE + i], 0);
	for (size_t i = 1; i < 16; i += 2)
		ARENA[i * PAGE] = 'x';
	assert_ok(w->c->msync(ARENA, 16 * PAGE, MS_SYNC));
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(pread(w->fd, &byte, 1, (off_t)(i * PAGE)), 1);
		assert_int_equal(byte, i % 2 ? 'x' : 0);
	}
}

/* A mapping made before the file was as long. */
CONFORMS(mapped_before_it_grew)
{
	set_size(w, 0);
	map_ok(w, ARENA, 64 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	for (size_t i = 1; i <= 64; i++) {
		set_size(w, i * PAGE);
		ARENA[i * PAGE - 1] = (char)i;
		if (i < 64)
			assert_caught(try_write(ARENA + i * PAGE, 1), SIGBUS, BUS_ADRERR, ARENA + i * PAGE);
	}
	for (size_t i = 1; i <= 64; i++)
		assert_int_equal(ARENA[i * PAGE - 1], (char)i);
}

/* ftruncate(2)'s own errors are the system's. */
/* Where an access has failed another mapping comes: what is read there is of the file, from the first moment on. */
CONFORMS(a_place_where_an_access_failed)
{
	static const int types[] = {MAP_PRIVATE, MAP_SHARED};

	for (size_t i = 0; i < 20; i++) {
		char *p = map_ok(w, ARENA, PAGE, RW, types[i % 2] | MAP_FIXED, w->fd, FILE_BYTES);

		assert_int_equal(try_read(p).signal, SIGBUS);
		assert_ok(w->c->munmap(p, PAGE));
		usleep(25000); /* after which Faultline's threads take back what has failed the access */
		map_ok(w, p, PAGE, RW, types[i / 2 % 2] | MAP_FIXED, w->fd, (off_t)(i * PAGE));
		assert_int_equal(p[5], mark(i));
		assert_ok(w->c->munmap(p, PAGE));
	}
}

CONFORMS(errors_of_ftruncate)
{
	map_layout(w, "ss");
	assert_error(w->c->ftruncate(w->read_only, 0), EINVAL);
	assert_error(w->c->ftruncate(w->fd, -1), EINVAL);
	assert_error(w->c->ftruncate(-1, 0), EBADF);
	assert_access(ARENA, "ww");
	assert_int_equal(size_of(w), FILE_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(the_last_page_ends_with_zeros),
		RUN(stores_beyond_the_end_are_not_written),
		RUN(growth_shows_zeros),
		RUN(pages_beyond_the_end),
		RUN(cut_and_grown),
		RUN(cut_to_nothing_and_grown),
		RUN(private_copies_are_cut_too),
		RUN(the_page_of_the_new_end),
		RUN(many_sizes),
		RUN(growth_by_writing),
		RUN(holes),
		RUN(mapped_before_it_grew),
		RUN(a_place_where_an_access_failed),
		RUN(errors_of_ftruncate),
	};

	return run_conformance_tests(tests);
}
