/* SPDX-License-Identifier: Apache-2.0 */
/* util/lock.c: exclusion, waiting, a writer among readers, and the lock order that debug builds check. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/compiler.h"
#include "util/lock.h"

#define THREADS 4
#define STEPS 20000

static struct mutex mutex = MUTEX_INIT(RANK_LEAF);
static struct rwlock rwlock = RWLOCK_INIT(RANK_LEAF);
static uint64_t counter, copy; /* plain: the lock under test guards them */

static void run_threads(void *(*fn)(void *arg))
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, fn, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void *count_under_mutex(void *arg)
{
	for (int i = 0; i < STEPS; i++) {
		while (i % 8 == 0 && !mutex_trylock(&mutex))
			sched_yield();
		if (i % 8)
			mutex_lock(&mutex);
		counter++;
		if (i % 64 == (int)(uintptr_t)arg)
			sched_yield(); /* others spin out and sleep */
		mutex_unlock(&mutex);
	}
	return NULL;
}

static void a_mutex_has_one_holder(void **state)
{
	(void)state;
	counter = 0;
	run_threads(count_under_mutex);
	assert_int_equal(counter, THREADS * STEPS);
	assert_int_equal(atomic_load(&mutex.word), 0);
}

static void a_held_mutex_is_not_given(void **state)
{
	(void)state;
	mutex_lock(&mutex);
	assert_false(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
	assert_true(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
}

static void *read_and_write(void *arg)
{
	for (int i = 0; i < STEPS; i++) {
		if (i % THREADS == (int)(uintptr_t)arg) {
			write_lock(&rwlock);
			counter++;
			if (i % 64 < 4)
				sched_yield();
			copy = counter;
			write_unlock(&rwlock);
			continue;
		}
		if (i % 3)
			read_lock(&rwlock);
		else if (!read_trylock(&rwlock))
			continue;
		assert_int_equal(counter, copy);
		read_unlock(&rwlock);
	}
	return NULL;
}

static void a_writer_excludes_everyone(void **state)
{
	(void)state;
	counter = copy = 0;
	run_threads(read_and_write);
	assert_int_equal(counter, STEPS);
	assert_int_equal(atomic_load(&rwlock.word), 0);
}

static _Atomic int reading, together;
static _Atomic bool stop;

static void *read_together(void *arg)
{
	(void)arg;
	read_lock(&rwlock);
	atomic_fetch_add(&reading, 1);
	while (atomic_load(&reading) < THREADS)
		sched_yield();
	read_unlock(&rwlock);
	return NULL;
}

static void readers_are_many(void **state)
{
	(void)state;
	atomic_store(&reading, 0);
	run_threads(read_together);
	assert_int_equal(atomic_load(&rwlock.word), 0);
}

/* At least one of them holds the lock at every moment, if readers can always come in. */
static void *read_without_pause(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		read_lock(&rwlock);
		atomic_fetch_add(&together, 1);
		for (int i = 0; i < 1000 && atomic_load(&together) < 2 && !atomic_load(&stop); i++)
			__builtin_ia32_pause();
		atomic_fetch_sub(&together, 1);
		read_unlock(&rwlock);
	}
	return NULL;
}

static void readers_do_not_starve_a_writer(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	atomic_store(&stop, false);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, read_without_pause, NULL);
	for (int i = 0; i < 200; i++) {
		write_lock(&rwlock);
		assert_int_equal(atomic_load(&together), 0);
		write_unlock(&rwlock);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void *take_for_writing(void *arg)
{
	(void)arg;
	write_lock(&rwlock);
	write_unlock(&rwlock);
	return NULL;
}

static void *try_until_refused(void *arg)
{
	(void)arg;
	while (read_trylock(&rwlock)) {
		read_unlock(&rwlock);
		usleep(100);
	}
	return NULL;
}

static void a_waiting_writer_stops_new_readers(void **state)
{
	pthread_t writer, reader;

	(void)state;
	read_lock(&rwlock);
	pthread_create(&writer, NULL, take_for_writing, NULL);
	pthread_create(&reader, NULL, try_until_refused, NULL);
	pthread_join(reader, NULL);
	read_unlock(&rwlock);
	pthread_join(writer, NULL);
	assert_true(read_trylock(&rwlock));
	read_unlock(&rwlock);
}

static void signals_are_blocked_and_come_back(void **state)
{
	sigset_t before, inside, after;
	struct sigguard g;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	g = sigguard_enter();
	pthread_sigmask(SIG_SETMASK, NULL, &inside);
	sigguard_leave(g);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_true(sigismember(&inside, SIGUSR1) && sigismember(&inside, SIGBUS) && sigismember(&inside, SIGPROF));
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

/* ---- The order of locks ---- */

static void in_order(void)
{
	struct mutex spaces, mmap, leaf;
	struct rwlock rmap;

	mutex_init(&spaces, RANK_SPACES);
	mutex_init(&mmap, RANK_MMAP);
	rwlock_init(&rmap, RANK_RMAP);
	mutex_init(&leaf, RANK_LEAF);
	mutex_lock(&spaces);
	mutex_lock(&mmap);
	write_lock(&rmap);
	mutex_lock(&leaf);
	mutex_unlock(&leaf);
	mutex_unlock(&spaces);
	write_unlock(&rmap);
	mutex_unlock(&mmap);
}

static void a_leaf_before_another_lock(void)
{
	struct mutex leaf, mmap;

	mutex_init(&leaf, RANK_LEAF);
	mutex_init(&mmap, RANK_MMAP);
	mutex_lock(&leaf);
	mutex_lock(&mmap);
}

static void two_of_one_rank(void)
{
	struct rwlock a, b;

	rwlock_init(&a, RANK_INVALIDATE);
	rwlock_init(&b, RANK_INVALIDATE);
	read_lock(&a);
	read_lock(&b);
}

static void two_spaces(void)
{
	struct mutex a, b;

	mutex_init(&a, RANK_MMAP);
	mutex_init(&b, RANK_MMAP);
	mutex_lock(&a);
	mutex_lock(&b);
}

static bool aborts(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = {0};

		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void debug_builds_check_the_order(void **state)
{
	(void)state;
#ifndef FL_DEBUG
	skip();
#endif
	assert_false(aborts(in_order));
	assert_false(aborts(two_spaces));
	assert_true(aborts(a_leaf_before_another_lock));
	assert_true(aborts(two_of_one_rank));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mutex_has_one_holder),
		cmocka_unit_test(a_held_mutex_is_not_given),
		cmocka_unit_test(a_writer_excludes_everyone),
		cmocka_unit_test(readers_are_many),
		cmocka_unit_test(readers_do_not_starve_a_writer),
		cmocka_unit_test(a_waiting_writer_stops_new_readers),
		cmocka_unit_test(signals_are_blocked_and_come_back),
		cmocka_unit_test(debug_builds_check_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
