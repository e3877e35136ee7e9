/* SPDX-License-Identifier: Apache-2.0 */
/* fork, moves and the ends of threads with pages in every condition: in memory, in swap, pinned, being faulted on by other threads. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "harness.h"
#include "memory.h"

#define PAGE 4096UL
#define PAGES (PATTERN_BYTES / PAGE)

static _Atomic bool stop; /* volatile would do, but for what gcc 12 makes of it under UBSan: one load before the loop */
static char *touched;

static void store_all(char *map, size_t pages, char value)
{
	for (size_t i = 0; i < pages; i++)
		map[i * PAGE] = value;
}

static size_t count_other_than(const char *map, size_t pages, char value)
{
	size_t n = 0;

	for (size_t i = 0; i < pages; i++)
		n += map[i * PAGE] != value;
	return n;
}

/* Reads more than the budget twice, so that what else is in memory leaves it. */
static void read_through(struct fixture *f)
{
	char *p = (char *)map_file(f, PROT_READ, MAP_SHARED);

	for (size_t i = 0; i < 2 * PAGES; i++)
		access_read(p + i % PAGES * PAGE);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

/* Back from swap a private page is clean; a move must not make it writable unseen. */
TEST(stores_after_a_move_go_to_swap_too)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE), *to, *q;

	store_all(p, 100, 'A');
	read_through(f);
	assert_int_equal(count_other_than(p, 100, 'A'), 0);
	to = mmap(NULL, PATTERN_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	q = fl_mremap(p, PATTERN_BYTES, PATTERN_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_ptr_equal(q, to);
	store_all(q, 100, 'B');
	read_through(f);
	assert_int_equal(count_other_than(q, 100, 'B'), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
}

/* A pinned page stays dirty through a write-back; after a fork the file has newer bytes than it. */
TEST(a_page_pinned_across_fork_overwrites_nothing)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), byte;
	pid_t pid;

	p[0] = 'A';
	assert_int_equal(fl_pin(p, PAGE, FL_PIN_WRITE), 0);
	pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fl_unpin(p, PAGE);
	p[0] = 'B';
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(pread(f->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'B');
}

/* Nothing tells a fork of the C library's to fail. With the privilege to have more descriptors it has what it needs. */
static void read_or_fail(char *p)
{
	signal(SIGSEGV, SIG_DFL);
	if (!fork())
		_exit(p[0] != 'A');
}

static int without_descriptors(char *p)
{
	int status;
	pid_t pid;

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
	pid = fork();
	if (pid == 0) {
		read_or_fail(p);
		wait(&status);
		_exit(status != 0 && WTERMSIG(status) != SIGSEGV);
	}
	waitpid(pid, &status, 0);
	return status || p[0] != 'A';
}

TEST(a_child_that_cannot_have_what_is_mapped_runs_without)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int status;
	pid_t pid;

	p[0] = 'A';
	pid = fork();
	if (pid == 0)
		_exit(without_descriptors(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(what_is_unmapped_is_in_the_file_while_a_child_has_it)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), byte;
	int ends[2], status;
	pid_t pid;

	p[0] = 'A';
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0 || p[0] != 'B');
	}
	p[0] = 'B';
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(pread(f->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'B');
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool first_thread_has_ended(void)
{
	char text[256] = "";
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
		_exit(2);
	close(fd);
	return strstr(text, ") Z ");
}

static void *store_when_first_has_ended(void *arg)
{
	struct fixture *f = arg;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), byte = 0;

	while (!first_thread_has_ended())
		sched_yield();
	p[0] = 'A';
	_exit(fl_msync(p, PAGE, MS_SYNC) || pread(f->fd, &byte, 1, 0) != 1 || byte != 'A');
}

/* What the kernel knows by the number of the process, which is that of its first thread, has no memory and no descriptors then. */
TEST(stores_are_written_when_the_first_thread_has_ended)
{
	pthread_t thread;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_create(&thread, NULL, store_when_first_has_ended, *state);
		syscall(SYS_exit, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void fork_and_then(struct fixture *f, bool unmap)
{
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int status;
	pid_t pid;

	store_all(p, PAGES, 'A');
	pid = fork();
	if (pid == 0)
		_exit(count_other_than(p, PAGES, 'A') != 0);
	if (unmap)
		assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	else
		store_all(p, PAGES, 'B');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (!unmap)
		assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(the_child_does_not_see_later_stores_of_the_parent)
{
	fork_and_then(*state, false);
}

TEST(the_child_keeps_what_the_parent_unmaps)
{
	fork_and_then(*state, true);
}

static void *touch(void *arg)
{
	unsigned x = (unsigned)(uintptr_t)arg + 1;

	while (!stop) {
		x = x * 1664525u + 1013904223u;
		touched[(x >> 8) % PAGES * PAGE + 16] = 1;
	}
	return NULL;
}

/* Threads that store through a shared mapping while a fork hands it over are not disturbed, nor is SIGBUS after it. */
TEST(threads_store_on_while_a_fork_hands_over)
{
	struct fixture *f = *state;
	char *other = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pthread_t thread[4];
	int status;
	pid_t pid;

	touched = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	stop = false;
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, touch, (void *)i);
	usleep(50000);
	pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	usleep(50000);
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (size_t i = 0; i < PAGES; i += 16)
		access_read(other + i * PAGE);
	assert_int_equal(fl_munmap(other, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(touched, PATTERN_BYTES), 0);
}

static void *read_private(void *arg)
{
	unsigned x = (unsigned)(uintptr_t)arg * 77 + 1;

	while (!stop) {
		x = x * 1664525u + 1013904223u;
		if (touched[(x >> 8) % 1500 * PAGE] != 'A')
			abort();
	}
	return NULL;
}

TEST(forks_while_threads_swap)
{
	pthread_t thread[4];

	touched = (char *)map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	store_all(touched, 1500, 'A');
	stop = false;
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, read_private, (void *)i);
	for (int k = 0; k < 20; k++) {
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(count_other_than(touched, 1500, 'A') != 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(fl_munmap(touched, PATTERN_BYTES), 0);
}

#define LEAVING 4096 /* pages: more than memory has room for */

static char expected; /* in each of them */

static void *read_anonymous(void *arg)
{
	unsigned x = (unsigned)(uintptr_t)arg * 77 + 1;

	while (!stop) {
		x = x * 1664525u + 1013904223u;
		if (touched[(x >> 8) % LEAVING * PAGE] != expected)
			abort();
	}
	return NULL;
}

/* What it stores stays when the page is asked for without an access (fl_pin). */
static int look_at_all(void)
{
	alarm(30);
	if (count_other_than(touched, LEAVING, expected))
		return 1;
	for (size_t i = 0; i < LEAVING; i++) {
		touched[i * PAGE] = 'B';
		if (fl_pin(touched + i * PAGE, PAGE, 0))
			return 2;
		fl_unpin(touched + i * PAGE, PAGE);
		if (touched[i * PAGE] != 'B')
			return 3;
	}
	return 0;
}

/* Threads more than processors: at the fork some are about to take pages out of memory, or have just done so. */
static void fork_while_pages_leave(char value)
{
	enum { THREADS = 8, FORKS = 5 };
	struct fl_options o = {.size = sizeof o, .budget = 2 * BUDGET};
	pthread_t thread[THREADS];

	assert_int_equal(fl_exit(), 0);
	assert_int_equal(fl_init(&o), 0);

	touched = fl_mmap(NULL, LEAVING * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(touched != MAP_FAILED);
	expected = value;
	if (value)
		store_all(touched, LEAVING, value);
	stop = false;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, read_anonymous, (void *)i);
	for (int k = 0; k < FORKS; k++) {
		int status;
		pid_t pid;

		usleep(3000);
		pid = fork();
		if (pid == 0)
			_exit(look_at_all());
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(fl_munmap(touched, LEAVING * PAGE), 0);
}

TEST(forks_while_zeros_leave)
{
	(void)state;
	fork_while_pages_leave(0);
}

TEST(forks_while_pages_go_to_swap)
{
	(void)state;
	fork_while_pages_leave('A');
}

static _Atomic unsigned accesses;

static void *read_until_cancelled(void *arg)
{
	unsigned x = (unsigned)(uintptr_t)arg * 77 + 1;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) {
		x = x * 1664525u + 1013904223u;
		access_read(touched + (x >> 8) % PAGES * PAGE);
		accesses++;
	}
	return NULL;
}

/* Wherever it is in a fault, it leaves no lock behind. */
TEST(threads_that_fault_are_cancelled)
{
	touched = (char *)map_file(*state, PROT_READ, MAP_SHARED);
	for (uintptr_t i = 0; i < 300; i++) {
		unsigned seen = accesses;
		pthread_t thread;

		pthread_create(&thread, NULL, read_until_cancelled, (void *)i);
		while (accesses - seen < 10)
			sched_yield();
		usleep((unsigned)i % 50);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		for (size_t k = 0; k < 20; k++)
			access_read(touched + (i * 20 + k) * 7 % PAGES * PAGE);
	}
	assert_int_equal(fl_munmap(touched, PATTERN_BYTES), 0);
}

/* In a child that is forked when there is no engine, one can be started: it must not reach into the parent. */
TEST(a_child_starts_after_the_parent_has_ended)
{
	struct fixture *f = *state;
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE), *q;
	int status;
	pid_t pid;

	p[0] = 'A';
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_exit(), 0);
	q = mmap(NULL, PATTERN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (pid == 0) {
		munmap(q, PATTERN_BYTES);
		if (fl_init(&o) || fl_mmap(q, PATTERN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, f->fd, 0) != q)
			_exit(2);
		store_all(q, 100, 'B');
		_exit(count_other_than(q, 100, 'B') != 0 || ((uint64_t *)q)[1] != pattern(1));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_other_than(q, PAGES, 0), 0);
	munmap(q, PATTERN_BYTES);
	assert_int_equal(fl_init(&o), 0);
}

/* No other way than fork() makes a child whole; one that is not must not serve its faults, with what is the parent's. */
TEST(a_child_that_nobody_was_told_of)
{
	const char *faults = getenv("FAULTLINE_FAULTS");
	int status;
	char *p;
	pid_t pid;

	if (!faults || strcmp(faults, "sigsegv") != 0)
		skip_test(state);
	p = (char *)map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		if (sigsetjmp(access_failed, 1) == 0)
			access_write(p + 100 * PAGE);
		syscall(SYS_exit_group, caught_signal == SIGSEGV ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	access_write(p + 100 * PAGE);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(a_child_is_charged_for_what_it_has)
{
	struct fl_stats before = {.size = sizeof before}, now = {.size = sizeof now};
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(fl_stats(&before), 0);
	pid = fork();
	if (pid == 0)
		_exit(fl_stats(&now) || now.used_bytes != before.used_bytes || fl_exit());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define APART 4000 /* pages, none beside another */

/* The kernel never merges them again in the child, whose own children would have more and more. */
TEST(a_child_does_not_inherit_thousands_of_mappings)
{
	struct fl_options o = {.size = sizeof o, .budget = 40UL << 20};
	int status;
	char *p;
	pid_t pid;

	(void)state;
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(fl_init(&o), 0);
	p = fl_mmap(NULL, 3 * APART * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	for (size_t i = 0; i < APART; i++)
		p[3 * i * PAGE] = 'A';
	pid = fork();
	if (pid == 0) {
		size_t n = count_mappings();

		for (size_t i = 0; i < APART; i++)
			if (p[3 * i * PAGE] != 'A')
				_exit(2);
		_exit(n > 1000);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fl_munmap(p, 3 * APART * PAGE), 0);
}

/* Some of which are pieces of ours (faults by SIGSEGV): they make room. */
static void fork_with_all_mappings(void **state, bool writes, long leave)
{
	struct fixture *f = *state;
	const char *faults = getenv("FAULTLINE_FAULTS");
	long count;
	char *p, *q, *area;
	int status;
	pid_t pid;

	if (!faults || strcmp(faults, "sigsegv") != 0)
		skip_test(state);
	count = map_count_or_skip(state);
	q = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	assert_true(p < q);
	store_all(p, 100, 'A');
	if (writes)
		access_write(q + PATTERN_BYTES - PAGE);
	area = use_up_mappings(count, leave);
	assert_int_equal(fl_madvise(q, PATTERN_BYTES, MADV_RANDOM), 0);
	for (size_t i = 0; i < 200; i++)
		access_read(q + 2 * i * PAGE);
	for (long i = 1; i + 2 < count && !mprotect(area + i * 4096, 4096, PROT_READ); i += 2)
		;
	pid = fork();
	if (pid == 0)
		_exit(count_other_than(p, 100, 'A') != 0 || ((uint64_t *)q)[1] != pattern(1));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(munmap(area, (size_t)count * 4096), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
}

TEST(forks_with_all_mappings_that_a_process_may_have)
{
	fork_with_all_mappings(state, false, 2000);
}

TEST(forks_with_private_pages_and_all_mappings)
{
	fork_with_all_mappings(state, true, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(stores_after_a_move_go_to_swap_too),
		RUN(a_page_pinned_across_fork_overwrites_nothing),
		RUN(a_child_that_cannot_have_what_is_mapped_runs_without),
		RUN(what_is_unmapped_is_in_the_file_while_a_child_has_it),
		RUN(the_child_does_not_see_later_stores_of_the_parent),
		RUN(the_child_keeps_what_the_parent_unmaps),
		RUN(threads_store_on_while_a_fork_hands_over),
		RUN(forks_while_threads_swap),
		RUN(threads_that_fault_are_cancelled),
		RUN(forks_while_zeros_leave),
		RUN(forks_while_pages_go_to_swap),
		RUN(a_child_starts_after_the_parent_has_ended),
		RUN(stores_are_written_when_the_first_thread_has_ended),
		RUN(forks_with_all_mappings_that_a_process_may_have),
		RUN(forks_with_private_pages_and_all_mappings),
		RUN(a_child_that_nobody_was_told_of),
		RUN(a_child_is_charged_for_what_it_has),
		RUN(a_child_does_not_inherit_thousands_of_mappings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
