/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end, explicit spaces, counters. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

TEST(spaces_share_the_page_cache_and_nothing_else)
{
	struct fixture *f = *state;
	fl_space *a = fl_space_create(NULL), *b = fl_space_create(NULL);
	uint64_t *p = fl_space_mmap(a, NULL, PATTERN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	uint64_t *q = fl_space_mmap(b, NULL, PATTERN_BYTES, PROT_READ, MAP_SHARED, f->fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ptr_not_equal(q, MAP_FAILED);
	for (size_t i = 0; i < PATTERN_WORDS; i += 4096) {
		p[i] = i;
		assert_int_equal(q[i], i);
	}
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0); /* not the default space's: left alone */
	assert_int_equal(q[0], 0);
	assert_fails(fl_msync(p, 4096, MS_SYNC), ENOMEM);
	assert_int_equal(fl_space_msync(a, p, PATTERN_BYTES, MS_SYNC), 0);
	assert_fails(fl_space_mprotect(b, p, 4096, PROT_READ), ENOMEM);
	assert_int_equal(fl_space_destroy(a), 0);
	assert_signal(SIGSEGV, SEGV_MAPERR, (char *)p, access_read);
	assert_int_equal(q[4096], 4096);
	assert_int_equal(fl_space_destroy(b), 0);
	assert_fails(fl_space_destroy(fl_space_default()), EINVAL);
}

/* A system call on memory that is not there: EFAULT inline, served in a space with threads. */
TEST(a_space_with_threads_serves_system_calls)
{
	struct fixture *f = *state;
	struct fl_space_options o = {.size = sizeof o, .faults = FL_FAULTS_THREAD};
	fl_space *s = fl_space_create(&o);
	int pipe_fd[2];
	char *p;

	if (!s) {
		print_message("faults by threads are refused here\n");
		return;
	}
	assert_int_equal(pipe(pipe_fd), 0);
	p = fl_space_mmap(s, NULL, PATTERN_BYTES, PROT_READ, MAP_SHARED, f->fd, 0);
	assert_int_equal(write(pipe_fd[1], p + 100000, 4096), 4096);
	assert_signal(SIGBUS, BUS_ADRERR, (fl_ftruncate(f->fd, 4096), p + 8192), access_read);
	assert_int_equal(fl_space_destroy(s), 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

#define FIRST ((char *)(47UL << 40))
#define FIRST_BYTES 65536

static atomic_bool stop;
static atomic_int others;

static void *read_on(void *arg)
{
	while (!atomic_load(&stop)) {
		caught_signal = 0;
		if (sigsetjmp(access_failed, 1) == 0)
			access_read(FIRST);
		others += caught_signal && caught_signal != SIGSEGV;
	}
	return arg;
}

/* What another thread accesses while it is mapped is there or not, for a space that has had no mapping before, too. */
TEST(the_first_mapping_of_a_space_is_like_any_other)
{
	(void)*state;
	others = 0;
	for (int i = 0; i < 500; i++) {
		fl_space *s = fl_space_create(NULL);
		pthread_t t;

		stop = false;
		assert_int_equal(pthread_create(&t, NULL, read_on, NULL), 0);
		assert_ptr_equal(fl_space_mmap(s, FIRST, FIRST_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), FIRST);
		atomic_store(&stop, true);
		pthread_join(t, NULL);
		assert_int_equal(fl_space_destroy(s), 0);
	}
	assert_int_equal(others, 0);
}

TEST(sixteen_spaces_at_most)
{
	fl_space *s[16] = {NULL};
	int n = 0;

	(void)*state;
	while (n < 16 && (s[n] = fl_space_create(NULL)))
		n++;
	assert_in_range(n, 3, 15);
	assert_int_equal(errno, ENOMEM);
	while (n)
		assert_int_equal(fl_space_destroy(s[--n]), 0);
}

TEST(counters_tell_what_was_done)
{
	struct fl_stats st = {.size = sizeof st};
	char *p = (char *)map_file(*state, PROT_READ | PROT_WRITE, MAP_SHARED);

	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_RANDOM), 0);
	for (size_t i = 0; i < 10; i++)
		access_read(p + i * 8192);
	access_write(p);
	assert_int_equal(fl_stats(&st), 0);
	assert_int_equal(st.faults, 11);
	assert_int_equal(st.faults_hit, 1);
	assert_int_equal(st.faults_write, 1);
	assert_int_equal(st.reads, 10);
	assert_int_equal(st.read_bytes, 40960);
	assert_int_equal(st.mapped_bytes, PATTERN_BYTES);
	assert_int_equal(st.files, 1);
	assert_true(st.fault_ns > 0);
	assert_true(st.used_bytes >= st.buffer_bytes + st.metadata_bytes + st.allowance_bytes + 40960);
	assert_int_equal(fl_msync(p, PATTERN_BYTES, MS_SYNC), 0);
	assert_int_equal(fl_stats(&st), 0);
	assert_int_equal(st.writebacks, 1);
	assert_int_equal(st.written_bytes, 4096);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	st.size = 0;
	assert_fails(fl_stats(&st), EINVAL);
}

static void options_that_make_no_sense(void **state)
{
	struct fl_options o = {.size = sizeof o, .budget = 4096};

	(void)state;
	fl_exit();
	assert_fails(fl_exit(), EINVAL);
	assert_fails(fl_init(&o), EINVAL);
	o.budget = 1ULL << 60;
	assert_fails(fl_init(&o), EINVAL);
	o = (struct fl_options){.size = sizeof o, .faults = 9};
	assert_fails(fl_init(&o), EINVAL);
	o = (struct fl_options){.size = sizeof o, .swap_directory = "/no/such/directory"};
	assert_fails(fl_init(&o), ENOENT);
	assert_int_equal(fl_init(NULL), 0);
	assert_fails(fl_init(NULL), EBUSY);
	assert_int_equal(fl_exit(), 0);
	assert_string_equal(fl_version(), "0.1.0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(spaces_share_the_page_cache_and_nothing_else),
		RUN(a_space_with_threads_serves_system_calls),
		RUN(the_first_mapping_of_a_space_is_like_any_other),
		RUN(sixteen_spaces_at_most),
		RUN(counters_tell_what_was_done),
		cmocka_unit_test(options_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
