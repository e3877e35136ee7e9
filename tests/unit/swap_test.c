/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store/swap_store.c, swap_unused.c: what is in swap stays, and what is given back is used again, whether a hole is made at once, late or
 * never. Stand-ins for the file system make holes slow, and the disk small.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"
#include "util/compiler.h"
#include "util/sys.h"

enum { PAGES = 1024, STORES = 4 };

static struct arena arena;
static int swap_file; /* the descriptor that was written to last */
static uint64_t hole_ns, holes, disk_pages;

int __real_sys_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_sys_fallocate(int fd, int mode, off_t off, off_t len);
ssize_t __real_sys_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_sys_pwrite(int fd, const void *buf, size_t len, off_t off);

int __wrap_sys_fallocate(int fd, int mode, off_t off, off_t len)
{
	holes++;
	if (hole_ns)
		sys_nanosleep(hole_ns);
	return __real_sys_fallocate(fd, mode, off, len);
}

static uint64_t pages_on_disk(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512 / FL_PAGE_SIZE;
}

/* Full when it holds as much, and the page is not one that is there already. */
ssize_t __wrap_sys_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	swap_file = fd;
	if (disk_pages && pages_on_disk(fd) >= disk_pages && sys_lseek(fd, off, SEEK_DATA) != off)
		return -ENOSPC;
	return __real_sys_pwrite(fd, buf, len, off);
}

static bool charge(uint64_t pages)
{
	(void)pages;
	return true;
}

static int set_up(void **state)
{
	(void)state;
	hole_ns = holes = disk_pages = 0;
	return arena_init(&arena, 16UL << 20, charge, charge) || swap_set_directory("/var/tmp") || swap_prepare();
}

static int tear_down(void **state)
{
	(void)state;
	swap_exit();
	arena_exit(&arena);
	return 0;
}

static struct store *open_one(uint64_t pages)
{
	struct store *s;

	assert_int_equal(swap_store_open(&arena, pages * FL_PAGE_SIZE, &s), 0);
	return s;
}

static int put(struct store *s, uint64_t page, uint64_t value)
{
	uint64_t bytes[FL_PAGE_SIZE / 8];

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		bytes[i] = value + i;
	return s->ops->write(s, bytes, sizeof bytes, page * FL_PAGE_SIZE);
}

static void expect(struct store *s, uint64_t page, uint64_t value)
{
	uint64_t bytes[FL_PAGE_SIZE / 8];

	assert_int_equal(s->ops->read(s, bytes, sizeof bytes, page * FL_PAGE_SIZE), sizeof bytes);
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		assert_int_equal(bytes[i], value + i);
}

static void put_every(struct store *s, uint64_t step, uint64_t value)
{
	for (uint64_t i = 0; i < PAGES; i += step)
		assert_int_equal(put(s, i, value + i), 0);
}

static void discard(struct store *s, uint64_t page, uint64_t n)
{
	s->ops->discard(s, page * FL_PAGE_SIZE, n * FL_PAGE_SIZE);
}

static bool space_comes_back_at_once(void)
{
	struct store *s = open_one(PAGES);
	bool back;

	put_every(s, 2, 1);
	discard(s, 0, PAGES);
	back = pages_on_disk(swap_file) < PAGES / 8;
	s->ops->close(s);
	return back;
}

/* A hole that another process got in the way of was not quick. */
static void space_comes_back_at_once_where_holes_are_quick(void **state)
{
	int tries = 50;

	(void)state;
	while (!space_comes_back_at_once())
		assert_int_not_equal(--tries, 0);
}

/* Half of what was swapped out in single pages. The number of holes tells how long the caller waited. */
static void slow_holes_are_left_for_later(void **state)
{
	struct store *s = open_one(PAGES);

	(void)state;
	put_every(s, 2, 1);
	hole_ns = 25000000;
	discard(s, 0, PAGES / 2);
	assert_in_range(holes, 1, 3);
	for (uint64_t i = PAGES / 2; i < PAGES; i += 2)
		expect(s, i, 1 + i);
	s->ops->close(s);
	assert_in_range(holes, 1, 6);
	hole_ns = 0;
}

/* Mappings that come and go, each as large as the last: the file holds no more than the largest. */
static void what_is_left_is_used_again(void **state)
{
	(void)state;
	hole_ns = 5000000;
	for (int turn = 0; turn < 10; turn++) {
		struct store *s = open_one(PAGES);

		put_every(s, 2, (uint64_t)turn);
		discard(s, 0, PAGES / 2);
		put_every(s, 2, (uint64_t)turn * 1000);
		for (uint64_t i = 0; i < PAGES; i += 2)
			expect(s, i, (uint64_t)turn * 1000 + i);
		s->ops->close(s);
		assert_true(pages_on_disk(swap_file) <= PAGES / 2 + PAGES / 16);
	}
	hole_ns = 0;
}

/* All that is unused goes to who needs it when the disk is full, also out of a list that has run over. */
static void a_full_disk_takes_back_what_is_left(void **state)
{
	struct store *a = open_one(PAGES), *b = open_one(PAGES);

	(void)state;
	put_every(a, 1, 1);
	hole_ns = 25000000;
	discard(a, 0, PAGES / 2);
	discard(a, PAGES / 2 + 8, PAGES / 2 - 8);
	assert_true(pages_on_disk(swap_file) > PAGES / 2);
	hole_ns = 0;
	disk_pages = PAGES + 64;
	put_every(b, 1, 5);
	for (uint64_t i = 0; i < PAGES; i++)
		expect(b, i, 5 + i);
	for (uint64_t i = PAGES / 2; i < PAGES / 2 + 8; i++)
		expect(a, i, 1 + i);
	disk_pages = pages_on_disk(swap_file);
	assert_int_equal(put(a, 0, 1), -ENOSPC); /* nothing is left that could go */
	disk_pages = 0;
	a->ops->close(a);
	b->ops->close(b);
}

/* Beside a model: single pages and ranges written and given back, stores closed and opened, with holes that are slow by turns. */
static void contents_hold_through_anything(void **state)
{
	static uint64_t model[STORES][PAGES]; /* 0: nothing is there */
	struct store *s[STORES];
	unsigned seed = 7;

	(void)state;
	memset(model, 0, sizeof model);
	for (int k = 0; k < STORES; k++)
		s[k] = open_one(PAGES);
	for (uint64_t step = 1; step < 30000; step++) {
		unsigned k = (unsigned)rand_r(&seed) % STORES, page = (unsigned)rand_r(&seed) % PAGES,
			 what = (unsigned)rand_r(&seed) % 1000;
		unsigned n = (unsigned)rand_r(&seed) % (what % 2 ? 3 : 64) + 1;

		n = n > PAGES - page ? PAGES - page : n;
		hole_ns = step / 1024 % 2 ? 100000 : 0;
		if (what == 0) {
			s[k]->ops->close(s[k]);
			s[k] = open_one(PAGES);
			memset(model[k], 0, sizeof model[k]);
		} else if (what < 500) {
			discard(s[k], page, n);
			memset(&model[k][page], 0, n * sizeof model[k][0]);
		} else if (what < 800) {
			assert_int_equal(put(s[k], page, step << 16), 0);
			model[k][page] = step << 16;
		} else if (model[k][page]) {
			expect(s[k], page, model[k][page]);
		}
	}
	for (int k = 0; k < STORES; k++) {
		for (uint64_t i = 0; i < PAGES; i++)
			if (model[k][i])
				expect(s[k], i, model[k][i]);
		s[k]->ops->close(s[k]);
	}
	hole_ns = 0;
}

/* More single pages than are remembered: some are given back whatever that costs. A long range is divided by what is written into it. */
static void a_full_list_has_room_for_more(void **state)
{
	struct store *s = open_one(PAGES), *other = open_one(8);

	(void)state;
	assert_int_equal(put(other, 0, 1), 0);
	put_every(s, 1, 1);
	hole_ns = 400000000; /* no time is left for some seconds */
	discard(other, 0, 1);
	hole_ns = 0;
	holes = 0;
	discard(s, 0, PAGES / 4);
	assert_int_equal(holes, 0);
	for (uint64_t i = PAGES / 4 + 1; i < PAGES; i += 2)
		discard(s, i, 1);
	assert_in_range(holes, PAGES / 8 - 8, PAGES / 8 + 8);
	for (uint64_t i = 1; i < PAGES / 4; i += 2)
		assert_int_equal(put(s, i, 7), 0);
	for (uint64_t i = 1; i < PAGES / 4; i += 2)
		expect(s, i, 7);
	for (uint64_t i = PAGES / 4; i < PAGES; i += 2)
		expect(s, i, 1 + i);
	s->ops->close(s);
	other->ops->close(other);
}

static void in_child(struct store *s)
{
	for (uint64_t i = 2; i < PAGES; i += 4)
		expect(s, i, 1 + i);
	put_every(s, 1, 9);
	for (uint64_t i = 0; i < PAGES; i++)
		expect(s, i, 9 + i);
}

/* A child of fork has a file with what is needed, and none of what is not. */
static void a_child_copies_what_is_needed(void **state)
{
	struct store *s = open_one(PAGES), *other = open_one(PAGES);
	int status;
	pid_t pid;

	(void)state;
	put_every(other, 1, 3);
	put_every(s, 2, 1);
	hole_ns = 25000000;
	discard(other, 0, PAGES);
	hole_ns = 1000;
	for (uint64_t i = 0; i < PAGES; i += 4)
		discard(s, i, 1);
	swap_fork_prepare();
	pid = fork();
	if (!pid) {
		swap_fork_child_begin();
		if (swap_fork_child())
			_exit(2);
		put(s, 2, 1 + 2);
		if (pages_on_disk(swap_file) > PAGES / 4 + 8)
			_exit(3);
		in_child(s);
		_exit(0);
	}
	swap_fork_parent();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (uint64_t i = 2; i < PAGES; i += 4)
		expect(s, i, 1 + i);
	s->ops->close(s);
	other->ops->close(other);
	hole_ns = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(space_comes_back_at_once_where_holes_are_quick, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slow_holes_are_left_for_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_left_is_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_takes_back_what_is_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(contents_hold_through_anything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_list_has_room_for_more, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_child_copies_what_is_needed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
