/* SPDX-License-Identifier: Apache-2.0 */
/* The report in a forked child, and over execve(2); what it tells of memory. The module is part of the test, which holds its lock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../src/util/report.c"

static pthread_barrier_t barrier;

static void *hold_lock(void *arg)
{
	mutex_lock(&slots_lock);
	pthread_barrier_wait(&barrier); /* held */
	pthread_barrier_wait(&barrier); /* forked */
	mutex_unlock(&slots_lock);
	return arg;
}

static void a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(void **state)
{
	pthread_t thread;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(report_init(NULL, 1 << 20), 0);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, hold_lock, NULL);
	pthread_barrier_wait(&barrier);
	pid = fork();
	if (pid == 0) {
		alarm(10);
		_exit(report_fork_child() || !report_file_get(1, 1, "a"));
	}
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	report_exit();
}

static uint64_t said(uint64_t used, uint64_t peak)
{
	report_used(used, peak);
	return atomic_load(&region->used_bytes);
}

static void what_is_used_is_told_in_steps_and_not_after_the_end(void **state)
{
	(void)state;
	assert_int_equal(report_init(NULL, 1 << 20), 0);
	assert_int_equal(said(REPORT_USED_STEP - 1, REPORT_USED_STEP), 0);
	assert_int_equal(said(REPORT_USED_STEP, REPORT_USED_STEP + 1), REPORT_USED_STEP);
	assert_int_equal(atomic_load(&region->peak_bytes), REPORT_USED_STEP + 1);
	assert_int_equal(said(2 * REPORT_USED_STEP - 1, 2 * REPORT_USED_STEP), REPORT_USED_STEP);
	assert_int_equal(said(0, 2 * REPORT_USED_STEP), 0);
	atomic_store(&region->state, REPORT_ENDED);
	assert_int_equal(said(4 * REPORT_USED_STEP, 4 * REPORT_USED_STEP), 0);
	report_exit();
	report_used(4 * REPORT_USED_STEP, 0);
}

/* As after execve(2). */
static void a_process_that_starts_anew_keeps_its_counters_and_has_nothing_in_memory(void **state)
{
	char place[] = "/tmp/faultline-report-XXXXXX";
	struct report_file *f;

	(void)state;
	assert_non_null(mkdtemp(place));
	assert_int_equal(report_init(place, 1 << 20), 0);
	for (uint64_t i = 1; i <= 20; i++)
		f = report_file_get(1, i, "a");
	report_add(&f->faults, 3);
	report_raise(&f->pages, &f->pages_peak, 5);
	report_raise(&f->mapped_bytes, &f->mapped_peak, 7);
	report_exit();
	assert_int_equal(report_init(place, 1 << 20), 0);
	f = report_file_get(1, 20, "a");
	assert_int_equal(f->faults, 3);
	assert_int_equal(f->pages, 0);
	assert_int_equal(f->pages_peak, 5);
	assert_int_equal(f->mapped_bytes, 0);
	report_exit();
	snprintf(directory, sizeof directory, "%s/%d" REPORT_SUFFIX, place, (int)getpid());
	assert_int_equal(unlink(directory), 0);
	assert_int_equal(rmdir(place), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child),
		cmocka_unit_test(what_is_used_is_told_in_steps_and_not_after_the_end),
		cmocka_unit_test(a_process_that_starts_anew_keeps_its_counters_and_has_nothing_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
