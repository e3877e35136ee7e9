/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on pool frames, and what makes them change to shmem frames while the program runs: a second mapping, a private one,
 * file calls, mremap, protection, guards, munmap of what cannot be written, fork. No store may be lost on the way.
 */
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "harness.h"

#define PAGE 4096UL
#define PAGES (PATTERN_BYTES / PAGE)

static void store_all(unsigned char *p, unsigned char value)
{
	for (size_t i = 0; i < PAGES; i++)
		p[i * PAGE + 9] = value;
}

static size_t count_other_than(const unsigned char *p, unsigned char value)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGES; i++)
		n += p[i * PAGE + 9] != value;
	return n;
}

static unsigned char *map_stored(struct fixture *f, unsigned char value)
{
	unsigned char *p = (unsigned char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	store_all(p, value);
	return p;
}

/* The file as read(2) sees it. */
static size_t count_other_in_file(int fd, unsigned char value)
{
	size_t n = 0;
	unsigned char byte;

	for (size_t i = 0; i < PAGES; i++)
		n += pread(fd, &byte, 1, (off_t)(i * PAGE + 9)) != 1 || byte != value;
	return n;
}

TEST(a_second_mapping_shows_the_same)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), *q = (unsigned char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	assert_int_equal(count_other_than(q, 1), 0);
	store_all(q, 2);
	assert_int_equal(count_other_than(p, 2), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	assert_int_equal(count_other_in_file(f->fd, 2), 0);
}

TEST(a_private_mapping_shows_the_same)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), *q = (unsigned char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	assert_int_equal(count_other_than(q, 1), 0);
	store_all(q, 2);
	assert_int_equal(count_other_than(p, 1), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	assert_int_equal(count_other_in_file(f->fd, 1), 0);
}

TEST(file_calls_see_and_are_seen)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), byte = 0;

	assert_int_equal(fl_pread(f->fd, &byte, 1, 5 * PAGE + 9), 1);
	assert_int_equal(byte, 1);
	byte = 7;
	assert_int_equal(fl_pwrite(f->fd, &byte, 1, 6 * PAGE + 9), 1);
	assert_int_equal(p[6 * PAGE + 9], 7);
	assert_int_equal(fl_ftruncate(f->fd, 100 * PAGE), 0);
	assert_signal(SIGBUS, BUS_ADRERR, (char *)p + 100 * PAGE, access_read);
	assert_int_equal(p[99 * PAGE + 9], 1);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(moved_and_grown)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1);

	p = fl_mremap(p, PATTERN_BYTES, PATTERN_BYTES + 16 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(count_other_than(p, 1), 0);
	store_all(p, 2);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES + 16 * PAGE), 0);
	assert_int_equal(count_other_in_file(f->fd, 2), 0);
}

TEST(protected_in_pieces)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1);

	assert_int_equal(fl_mprotect(p + 10 * PAGE, 20 * PAGE, PROT_READ), 0);
	assert_int_equal(fl_mprotect(p + 10 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(fl_madvise(p + 40 * PAGE, 20 * PAGE, MADV_DODUMP), 0);
	assert_int_equal(fl_madvise(p + 50 * PAGE, 20 * PAGE, MADV_DONTFORK), 0);
	assert_int_equal(fl_madvise(p + 50 * PAGE, 20 * PAGE, MADV_DOFORK), 0);
	store_all(p, 2);
	assert_int_equal(fl_mprotect(p + 15 * PAGE, 200 * PAGE, PROT_NONE), 0); /* changes frames */
	assert_int_equal(fl_msync(p, PATTERN_BYTES, MS_SYNC), 0);
	assert_int_equal(count_other_in_file(f->fd, 2), 0);
	assert_int_equal(fl_mprotect(p, PATTERN_BYTES, PROT_READ), 0);
	assert_int_equal(count_other_than(p, 2), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(unmapped_in_pieces)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1);

	for (size_t i = 0; i < PAGES; i += 64)
		assert_int_equal(fl_munmap(p + i * PAGE, 32 * PAGE), 0);
	for (size_t i = 0; i < PAGES; i++)
		if (i % 64 >= 32)
			p[i * PAGE + 9] = 1;
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(count_other_in_file(f->fd, 1), 0);
}

/* Advice that takes pages away does not take stores away. */
TEST(advised_away)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1);

	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(fl_madvise(p, PATTERN_BYTES / 2, MADV_PAGEOUT), 0);
	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_WILLNEED), 0);
	assert_int_equal(count_other_than(p, 1), 0);
	if (!fl_madvise(p, 10 * PAGE, 102 /* MADV_GUARD_INSTALL */)) {
		assert_signal(SIGSEGV, SEGV_MAPERR, (char *)p + 9, access_read);
		assert_int_equal(fl_madvise(p, 10 * PAGE, 103 /* MADV_GUARD_REMOVE */), 0);
	}
	assert_int_equal(count_other_than(p, 1), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(count_other_in_file(f->fd, 1), 0);
}

static unsigned char *_Atomic shared;
static _Atomic bool stop;

/* Counts up in every page in turn: a counter never goes back. */
static void *count_up(void *arg)
{
	size_t first = (size_t)arg;
	unsigned long turn = 0;

	while (!stop) {
		turn++;
		for (size_t i = first; i < PAGES; i += 4) {
			volatile unsigned long *word = (volatile unsigned long *)(shared + i * PAGE + 64);

			if (turn > 1 && *word != turn - 1)
				abort();
			*word = turn;
		}
	}
	return NULL;
}

/* Threads store on while the file changes its frames under them, again and again. */
TEST(threads_store_on_while_frames_change)
{
	struct fixture *f = *state;
	pthread_t thread[4];

	for (int round = 0; round < 6; round++) {
		shared = (unsigned char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);
		stop = false;
		for (size_t i = 0; i < 4; i++)
			pthread_create(&thread[i], NULL, count_up, (void *)i);
		usleep(100000);
		unsigned char *other = (unsigned char *)map_file(f, PROT_READ, MAP_SHARED);
		usleep(50000);
		stop = true;
		for (size_t i = 0; i < 4; i++)
			pthread_join(thread[i], NULL);
		assert_memory_equal(shared, other, PATTERN_BYTES);
		assert_int_equal(fl_munmap(shared, PATTERN_BYTES), 0);
		assert_int_equal(fl_munmap(other, PATTERN_BYTES), 0);
	}
}

TEST(a_child_reads_what_was_stored)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1);
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(count_other_than(p, 1) != 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

/* A page pinned across the change stays where a system call finds it. */
TEST(pinned_while_frames_change)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), *q;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fl_pin(p + 3 * PAGE, PAGE, FL_PIN_WRITE), 0);
	q = (unsigned char *)map_file(f, PROT_READ, MAP_SHARED);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(fds[0], p + 3 * PAGE + 9, 1), 1);
	assert_int_equal(q[3 * PAGE + 9], 'x');
	assert_int_equal(fl_unpin(p + 3 * PAGE, PAGE), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	close(fds[0]);
	close(fds[1]);
}

/* A ring with one buffer, of which the kernel has hold until it is given back: as a device has that is slow to do what O_DIRECT asks of it. */
struct holder {
	struct io_uring_params params;
	struct io_uring_sqe *sqe;
	char *ring, *buffer;
	int fd, from;
};

static bool hold_begin(struct holder *h, char *buffer)
{
	struct iovec v = {buffer, PAGE};

	*h = (struct holder){.buffer = buffer};
	h->fd = (int)syscall(SYS_io_uring_setup, 1, &h->params);
	if (h->fd < 0)
		return false;
	h->ring = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, IORING_OFF_SQ_RING);
	h->sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, IORING_OFF_SQES);
	return h->ring != MAP_FAILED && h->sqe != MAP_FAILED && !syscall(SYS_io_uring_register, h->fd, IORING_REGISTER_BUFFERS, &v, 1);
}

/* After a while there comes a byte. */
static void *hold_and_read(void *arg)
{
	struct holder *h = arg;

	usleep(400000);
	*h->sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED, .fd = h->from, .addr = (uintptr_t)h->buffer + 9, .len = 1, .off = (uint64_t)-1};
	*(uint32_t *)(h->ring + h->params.sq_off.array) = 0;
	__atomic_store_n((uint32_t *)(h->ring + h->params.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, h->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1 ||
	    ((struct io_uring_cqe *)(h->ring + h->params.cq_off.cqes))->res != 1)
		return arg;
	syscall(SYS_io_uring_register, h->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	return NULL;
}

static void hold_end(struct holder *h)
{
	munmap(h->ring, 16 * PAGE);
	munmap(h->sqe, PAGE);
	close(h->fd);
}

/* What tells who has hold of a page came with Linux 6.8. */
static bool kernel_tells(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	return !uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 8));
}

/* What a device stores to a page arrives, however long it takes, and whatever becomes of the frames meanwhile. */
TEST(held_by_the_kernel_while_frames_change)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), *q;
	struct holder h;
	pthread_t t;
	void *failed;
	int fds[2];

	assert_int_equal(fl_pin(p + 3 * PAGE, PAGE, FL_PIN_WRITE), 0);
	if (!kernel_tells() || !hold_begin(&h, (char *)p + 3 * PAGE)) {
		fl_unpin(p + 3 * PAGE, PAGE);
		fl_munmap(p, PATTERN_BYTES);
		skip_test(state);
	}
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	h.from = fds[0];
	assert_int_equal(pthread_create(&t, NULL, hold_and_read, &h), 0);
	q = (unsigned char *)map_file(f, PROT_READ, MAP_SHARED);
	pthread_join(t, &failed);
	assert_null(failed);
	assert_int_equal(p[3 * PAGE + 9], 'x');
	assert_int_equal(q[3 * PAGE + 9], 'x');
	assert_int_equal(fl_unpin(p + 3 * PAGE, PAGE), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_int_equal(q[i * PAGE + 9], i == 3 ? 'x' : 1);
	hold_end(&h);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	close(fds[0]);
	close(fds[1]);
}

static void fork_with_a_held_page(void **state, bool second)
{
	struct fixture *f = *state;
	unsigned char *p = map_stored(f, 1), *q = second ? (unsigned char *)map_file(f, PROT_READ, MAP_SHARED) : NULL;
	struct holder h;
	pthread_t t;
	void *failed;
	int fds[2], status = -1;
	pid_t pid;

	assert_int_equal(fl_pin(p + 3 * PAGE, PAGE, FL_PIN_WRITE), 0);
	if (!kernel_tells() || !hold_begin(&h, (char *)p + 3 * PAGE)) {
		fl_unpin(p + 3 * PAGE, PAGE);
		fl_munmap(p, PATTERN_BYTES);
		if (q)
			fl_munmap(q, PATTERN_BYTES);
		skip_test(state);
	}
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	h.from = fds[0];
	assert_int_equal(pthread_create(&t, NULL, hold_and_read, &h), 0);
	pid = fork();
	if (pid == 0)
		_exit(count_other_than(p, 1) != 1 || p[3 * PAGE + 9] != 'x');
	pthread_join(t, &failed);
	assert_null(failed);
	assert_int_equal(p[3 * PAGE + 9], 'x');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fl_unpin(p + 3 * PAGE, PAGE), 0);
	assert_int_equal(count_other_than(p, 1), 1);
	hold_end(&h);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	if (q)
		assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	close(fds[0]);
	close(fds[1]);
}

/* The same, where the file becomes the kernel's: before the child is there, from either kind of frames. */
TEST(held_by_the_kernel_before_a_fork)
{
	fork_with_a_held_page(state, false);
}

TEST(held_by_the_kernel_before_a_fork_with_two_mappings)
{
	fork_with_a_held_page(state, true);
}

/*
 * Pages are moved aside next to the lowest mapping, which is that of another file, with the same protection and as untouched: to the
 * kernel the two could be one.
 */
TEST(what_lies_beside_stays_as_it_is)
{
	struct fixture *f = *state;
	char name[] = "/var/tmp/faultline-frames-XXXXXX";
	int other = mkstemp(name);
	uint64_t *p, *q;

	unlink(name);
	assert_int_equal(ftruncate(other, PATTERN_BYTES), 0);
	p = fl_mmap(NULL, PATTERN_BYTES, PROT_READ, MAP_SHARED, other, 0);
	q = map_file(f, PROT_READ, MAP_SHARED);
	assert_int_equal(fl_pwrite(other, "changes frames", 14, 0), 14);
	for (size_t i = 0; i < PATTERN_WORDS; i += PAGE / 8)
		assert_int_equal(q[i], pattern(i));
	assert_memory_equal(p, "changes frames", 14);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_second_mapping_shows_the_same),
		RUN(a_private_mapping_shows_the_same),
		RUN(file_calls_see_and_are_seen),
		RUN(moved_and_grown),
		RUN(protected_in_pieces),
		RUN(unmapped_in_pieces),
		RUN(advised_away),
		RUN(threads_store_on_while_frames_change),
		RUN(a_child_reads_what_was_stored),
		RUN(pinned_while_frames_change),
		RUN(held_by_the_kernel_while_frames_change),
		RUN(held_by_the_kernel_before_a_fork),
		RUN(held_by_the_kernel_before_a_fork_with_two_mappings),
		RUN(what_lies_beside_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
