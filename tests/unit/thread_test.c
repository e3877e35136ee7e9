/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that the C library knows nothing of: what the kernel says of them after their end. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/sys.h"
#include "util/thread.h"

#define THREADS 4
#define TURNS 3000

static struct thread threads[THREADS];
static _Atomic int told, ran;
static _Thread_local int own;

static void end_when_told(void *arg)
{
	(void)arg;
	atomic_fetch_add(&ran, !own++);
	while (!atomic_load(&told))
		sys_yield();
}

static void start(int count)
{
	atomic_store(&told, 0);
	for (int i = 0; i < count; i++)
		if (thread_start(&threads[i], end_when_told, NULL))
			skip();
}

/* The kernel refuses this to a process with two threads, and changes nothing of one with one. */
static bool is_alone(void)
{
	return !unshare(CLONE_THREAD);
}

static void none_is_counted_after_its_end(void **state)
{
	(void)state;
	for (int turn = 0; turn < TURNS; turn++) {
		int count = 1 + turn % THREADS;

		start(count);
		assert_true(thread_runs(&threads[count - 1]) && !is_alone());
		atomic_store(&told, 1);
		for (int i = 0; i < count; i++) {
			thread_join(&threads[i]);
			assert_false(thread_runs(&threads[i]));
		}
		assert_true(is_alone());
	}
}

static void each_runs_with_variables_of_its_own(void **state)
{
	(void)state;
	atomic_store(&ran, 0);
	own = 1;
	for (int turn = 1; turn <= TURNS; turn++) {
		start(1);
		thread_start(&threads[0], end_when_told, NULL); /* runs already */
		atomic_store(&told, 1);
		thread_join(&threads[0]);
		assert_int_equal(atomic_load(&ran), turn);
		assert_int_equal(own, 1);
	}
}

static void none_is_waited_for_twice(void **state)
{
	(void)state;
	start(1);
	atomic_store(&told, 1);
	thread_join(&threads[0]);
	thread_join(&threads[0]);
	thread_join(&threads[1]);
}

static void none_is_in_a_child(void **state)
{
	pid_t child;
	int status;

	(void)state;
	start(1);
	child = fork();
	if (!child) {
		thread_fork_child(&threads[0]);
		thread_join(&threads[0]);
		if (!is_alone())
			_exit(1);
		start(1);
		atomic_store(&told, 1);
		thread_join(&threads[0]);
		_exit(is_alone() ? 0 : 2);
	}
	assert_true(waitpid(child, &status, 0) == child && !status);
	atomic_store(&told, 1);
	thread_join(&threads[0]);
	assert_true(is_alone());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_counted_after_its_end),
		cmocka_unit_test(each_runs_with_variables_of_its_own),
		cmocka_unit_test(none_is_waited_for_twice),
		cmocka_unit_test(none_is_in_a_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
