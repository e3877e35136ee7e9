/* SPDX-License-Identifier: Apache-2.0 */
/* The report in a forked child. The module is part of the test, which holds its lock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
