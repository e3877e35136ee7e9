/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2), DESCRIPTION and NOTES: who sees whose stores. Between processes: fork_test.c. */
#include "conformance.h"

#include <pthread.h>

/* What read(2) finds, as another program would. */
static char on_disk(struct world *w, off_t offset)
{
	char byte;

	assert_int_equal(pread(w->fd, &byte, 1, offset), 1);
	return byte;
}

static char through_calls(struct world *w, off_t offset)
{
	char byte;

	assert_int_equal(w->c->pread(w->fd, &byte, 1, offset), 1);
	return byte;
}

static void write_through_calls(struct world *w, off_t offset, char byte)
{
	assert_int_equal(w->c->pwrite(w->fd, &byte, 1, offset), 1);
}

/* "Updates to the mapping are visible to other [mappings of] the same region", whatever the offset, at once. */
CONFORMS(shared_mappings_are_one)
{
	map_layout(w, "ssssssss");
	for (size_t at = 0; at < 4; at++)
		map_ok(w, ARENA + (16 + 8 * at) * PAGE, 8 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, (off_t)(at * PAGE));
	for (size_t i = 4; i < 8; i++) {
		ARENA[i * PAGE + 11] = (char)i;
		for (size_t at = 0; at < 4; at++)
			assert_int_equal(ARENA[(16 + 8 * at + i - at) * PAGE + 11], i);
		ARENA[(16 + i) * PAGE + 12] = 'b';
		assert_int_equal(ARENA[i * PAGE + 12], 'b');
	}
}

/* The file is what is mapped, however it was opened or is called. */
CONFORMS(every_way_to_the_file)
{
	char path[80];
	int fds[3];

	snprintf(path, sizeof path, "%s-link", w->path);
	assert_int_equal(link(w->path, path), 0);
	fds[0] = open(w->path, O_RDWR);
	fds[1] = open(path, O_RDWR);
	fds[2] = dup(w->fd);
	map_layout(w, "s");
	for (size_t i = 0; i < 3; i++) {
		map_ok(w, ARENA + (i + 1) * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fds[i], 0);
		close(fds[i]);
	}
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE + i] = (char)('a' + i);
	for (size_t i = 0; i < 4; i++)
		assert_memory_equal(ARENA + i * PAGE, "abcd", 4);
	unlink(path);
}

/* A file that replaces another of the same name is another file. */
CONFORMS(a_new_file_of_the_same_name)
{
	int fd;

	map_layout(w, "s");
	ARENA[0] = 'x';
	unlink(w->path);
	fd = open(w->path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(pwrite(fd, "new", 3, 0), 3);
	map_ok(w, ARENA + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_memory_equal(ARENA + PAGE, "new", 4);
	assert_int_equal(ARENA[0], 'x');
	ARENA[PAGE] = 'N';
	assert_int_equal(ARENA[0], 'x');
	close(fd);
}

/* MAP_PRIVATE: "Updates to the mapping are not visible to other[s] mapping the same file, and are not carried through". */
CONFORMS(private_stores_are_seen_by_nobody)
{
	map_layout(w, "pppp");
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	map_ok(w, ARENA + 16 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	for (size_t i = 0; i < 4; i++)
		ARENA[i * PAGE + 3] = 'x';
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(ARENA[(8 + i) * PAGE + 3], mark(i));
		assert_int_equal(ARENA[(16 + i) * PAGE + 3], mark(i));
		assert_int_equal(through_calls(w, (off_t)(i * PAGE + 3)), mark(i));
		assert_int_equal(ARENA[i * PAGE + 3], 'x');
		assert_int_equal(ARENA[i * PAGE + 4], mark(i));
	}
}

/* "It is unspecified whether changes made to the file after the mmap() call are visible": on Linux until the page is copied. */
CONFORMS(private_pages_show_the_file_until_they_are_copied)
{
	map_layout(w, "pp");
	map_ok(w, ARENA + 8 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	assert_int_equal(ARENA[5], mark(0));
	ARENA[8 * PAGE + 5] = 'x';
	assert_int_equal(ARENA[5], 'x');
	write_through_calls(w, 6, 'y');
	assert_int_equal(ARENA[6], 'y');
	ARENA[100] = 'p';
	ARENA[8 * PAGE + 5] = 'z';
	write_through_calls(w, 6, 'z');
	assert_memory_equal(ARENA + 5, "xy", 2);
	ARENA[9 * PAGE + 5] = 'w';
	assert_int_equal(ARENA[PAGE + 5], 'w');
}

/* A private mapping of a file that may not be written. */
CONFORMS(private_stores_to_a_read_only_file)
{
	char *p = map_ok(w, NULL, 2 * PAGE, RW, MAP_PRIVATE, w->read_only, 0);

	p[1] = 'x';
	assert_int_equal(p[1], 'x');
	assert_int_equal(p[PAGE], mark(1));
	assert_int_equal(on_disk(w, 1), mark(0));
	assert_ok(w->c->munmap(p, 2 * PAGE));
}

/* File calls see the mapping's stores, and it sees theirs; part of a page does not disturb the rest. */
CONFORMS(file_calls_and_mappings_agree)
{
	map_layout(w, "ssss");
	for (off_t i = 0; i < 40; i++) {
		ARENA[PAGE + 2 * i] = 'm';
		write_through_calls(w, (off_t)PAGE + 2 * i + 1, 'f');
		assert_int_equal(through_calls(w, (off_t)PAGE + 2 * i), 'm');
	}
	for (size_t i = 0; i < 40; i++)
		assert_memory_equal(ARENA + PAGE + 2 * i, "mf", 2);
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	for (off_t i = 0; i < 40; i++) {
		assert_int_equal(on_disk(w, (off_t)PAGE + 2 * i), 'm');
		assert_int_equal(on_disk(w, (off_t)PAGE + 2 * i + 1), 'f');
	}
}

/* Whole pages, many, with both. */
CONFORMS(file_calls_over_many_pages)
{
	static char buf[16 * PAGE];

	map_layout(w, "ssssssssssssssss");
	for (size_t i = 0; i < 16; i += 2)
		ARENA[i * PAGE + 1] = 'x';
	memset(buf, 'w', sizeof buf);
	assert_int_equal(w->c->pwrite(w->fd, buf, 5 * PAGE, 3 * PAGE + 100), 5 * PAGE);
	assert_int_equal(w->c->pread(w->fd, buf, sizeof buf, 0), sizeof buf);
	assert_memory_equal(ARENA, buf, sizeof buf);
	assert_int_equal(ARENA[3 * PAGE + 99], mark(3));
	assert_int_equal(ARENA[3 * PAGE + 100], 'w');
	assert_int_equal(ARENA[8 * PAGE + 99], 'w');
	assert_int_equal(ARENA[8 * PAGE + 100], mark(8));
	assert_int_equal(ARENA[14 * PAGE + 1], 'x');
}

/* The buffer of a file call may lie in a mapping, of the same file, too. */
CONFORMS(buffers_in_mappings)
{
	map_layout(w, "sspp");
	assert_int_equal(w->c->pread(w->fd, ARENA, PAGE, 10 * PAGE), PAGE);
	assert_int_equal(ARENA[100], mark(10));
	assert_int_equal(w->c->pread(w->fd, ARENA + 2 * PAGE, 2 * PAGE, 20 * PAGE), 2 * PAGE);
	assert_int_equal(ARENA[3 * PAGE], mark(21));
	assert_int_equal(w->c->pwrite(w->fd, ARENA + 3 * PAGE, PAGE, PAGE), PAGE);
	assert_int_equal(ARENA[PAGE], mark(21));
	assert_int_equal(w->c->pwrite(w->fd, ARENA, PAGE, FILE_BYTES), PAGE);
	assert_int_equal(on_disk(w, FILE_BYTES), mark(10));
}

/* Memory that a read does not fill is not written: private pages go on showing the file, whatever is in it later. */
CONFORMS(buffers_that_are_not_filled)
{
	char name[] = "/var/tmp/faultline-test-XXXXXX";
	int empty = mkstemp(name);

	unlink(name);
	map_layout(w, "ppppp");
	assert_int_equal(w->c->pread(empty, ARENA, PAGE, 0), 0);
	assert_error(w->c->pread(w->write_only, ARENA + 4 * PAGE, PAGE, 0), EBADF);
	assert_error(w->c->pread(-1, ARENA + 4 * PAGE, PAGE, 0), EBADF);
	assert_int_equal(w->c->pread(empty, ARENA + 100, 100, 7 * PAGE), 0);
	assert_int_equal(w->c->pread(w->fd, ARENA + PAGE, PAGE, FILE_BYTES), 0);
	assert_int_equal(w->c->pread(w->fd, ARENA + 2 * PAGE, 2 * PAGE, FILE_BYTES - PAGE), PAGE);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(w->c->pwrite(w->fd, "new", 3, (off_t)(i * PAGE + 50)), 3);
	assert_memory_equal(ARENA + 50, "new", 3);
	assert_memory_equal(ARENA + PAGE + 50, "new", 3);
	assert_int_equal(ARENA[2 * PAGE + 50], mark(FILE_BYTES / PAGE - 1));
	assert_memory_equal(ARENA + 3 * PAGE + 50, "new", 3);
	assert_memory_equal(ARENA + 4 * PAGE + 50, "new", 3);
	close(empty);
}

/* Buffers that no call can use: EFAULT, no signal. */
CONFORMS(buffers_that_are_bad)
{
	map_layout(w, "rn.");
	assert_error(w->c->pread(w->fd, ARENA, 100, 0), EFAULT);
	assert_error(w->c->pread(w->fd, ARENA + PAGE, 100, 0), EFAULT);
	assert_error(w->c->pread(w->fd, ARENA + 2 * PAGE, 100, 0), EFAULT);
	assert_error(w->c->pwrite(w->fd, ARENA + PAGE, 100, 0), EFAULT);
	assert_error(w->c->pwrite(w->fd, ARENA + 2 * PAGE, 100, 0), EFAULT);
	assert_error(w->c->pread(w->fd, NULL, 100, 0), EFAULT);
	assert_int_equal(through_calls(w, 0), mark(0));
}

/* A file call that reaches beyond what can be used does what can be done first. */
CONFORMS(buffers_that_end_too_early)
{
	map_layout(w, "ss.");
	assert_int_equal(w->c->pwrite(w->fd, ARENA + PAGE, 2 * PAGE, 8 * PAGE), PAGE);
	assert_int_equal(through_calls(w, 8 * PAGE), mark(1));
	assert_int_equal(through_calls(w, 9 * PAGE), mark(9));
}

/* Another program sees a store at once on the kernel; with Faultline, after msync. */
CONFORMS(other_programs_see_stores)
{
	map_layout(w, "s");
	ARENA[9] = 'x';
	assert_int_equal(on_disk(w, 9), w->c->faultline ? mark(0) : 'x');
	assert_ok(w->c->msync(ARENA, PAGE, MS_ASYNC));
	assert_int_equal(on_disk(w, 9), 'x');
}

/* What another program writes is seen at once on the kernel; with Faultline, in pages that are not in memory. */
CONFORMS(stores_of_other_programs_are_seen)
{
	map_layout(w, "ss");
	assert_ok(w->c->madvise(ARENA, 2 * PAGE, MADV_RANDOM));
	assert_int_equal(ARENA[9], mark(0));
	assert_int_equal(pwrite(w->fd, "x", 1, 9), 1);
	assert_int_equal(pwrite(w->fd, "x", 1, PAGE + 9), 1);
	assert_int_equal(ARENA[9], w->c->faultline ? mark(0) : 'x');
	assert_int_equal(ARENA[PAGE + 9], 'x');
	for (int i = 0; i < 1000 && ARENA[9] != 'x'; i++) { /* a page that is still being served is passed over */
		assert_ok(w->c->madvise(ARENA, PAGE, MADV_PAGEOUT));
		usleep(1000);
	}
	assert_int_equal(ARENA[9], 'x');
}

static void *add(void *arg)
{
	for (int i = 0; i < 20000; i++)
		__atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Atomic operations through several mappings of a word are atomic among them. */
CONFORMS(atomic_operations)
{
	pthread_t thread[4];

	for (size_t i = 0; i < 4; i++)
		map_ok(w, ARENA + i * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	*(unsigned *)(ARENA + 64) = 0;
	for (size_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, add, ARENA + i * PAGE + 64);
	for (size_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(*(unsigned *)(ARENA + 64), 80000);
}

/* More than fits into memory, twice: what was stored is there. */
CONFORMS(more_than_memory)
{
	const size_t pages = 2048;
	char *shared, *private;

	assert_ok(w->c->ftruncate(w->fd, (off_t)(pages * PAGE)));
	shared = map_ok(w, NULL, pages * PAGE, RW, MAP_SHARED, w->fd, 0);
	private = map_ok(w, NULL, pages * PAGE, RW, MAP_PRIVATE, w->fd, 0);
	for (size_t i = 0; i < pages; i++) {
		shared[i * PAGE] = (char)i;
		private[i * PAGE + 1] = (char)~i;
	}
	for (size_t i = 0; i < pages; i++) {
		assert_int_equal(shared[i * PAGE], (char)i);
		assert_int_equal(private[i * PAGE + 1], (char)~i);
		assert_int_equal(shared[i * PAGE + 1], i < FILE_PAGES ? mark(i) : 0);
	}
	assert_ok(w->c->munmap(private, pages * PAGE));
	assert_ok(w->c->munmap(shared, pages * PAGE));
	for (size_t i = 0; i < pages; i++)
		assert_int_equal(on_disk(w, (off_t)(i * PAGE)), (char)i);
}

/* Every mapping has its own reference to the file: one goes, the others stay. */
CONFORMS(references_to_the_file)
{
	map_layout(w, "ssss");
	map_ok(w, ARENA + 8 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	map_ok(w, ARENA + 16 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	close(w->fd);
	w->fd = -1;
	ARENA[0] = 'x';
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_int_equal(ARENA[8 * PAGE], 'x');
	assert_ok(w->c->munmap(ARENA + 8 * PAGE, 4 * PAGE));
	assert_int_equal(ARENA[16 * PAGE], 'x');
	assert_int_equal(ARENA[17 * PAGE], mark(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(shared_mappings_are_one),
		RUN(every_way_to_the_file),
		RUN(a_new_file_of_the_same_name),
		RUN(private_stores_are_seen_by_nobody),
		RUN(private_pages_show_the_file_until_they_are_copied),
		RUN(private_stores_to_a_read_only_file),
		RUN(file_calls_and_mappings_agree),
		RUN(file_calls_over_many_pages),
		RUN(buffers_in_mappings),
		RUN(buffers_that_are_not_filled),
		RUN(buffers_that_are_bad),
		RUN(buffers_that_end_too_early),
		RUN(other_programs_see_stores),
		RUN(stores_of_other_programs_are_seen),
		RUN(atomic_operations),
		RUN(more_than_memory),
		RUN(references_to_the_file),
	};

	return run_conformance_tests(tests);
}
