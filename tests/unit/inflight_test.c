/* SPDX-License-Identifier: Apache-2.0 */
/* Marks of calls in flight: who waits for whom, and what comes of marks whose thread does not come to the end of its call. */
#include "host/inflight.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PLACE 7
#define OTHER 8

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- A thread that is in a call for as long as it is told ---- */

struct caller {
	pthread_t thread;
	uint32_t place;
	atomic_bool begun, go_on, ended;
};

static void *call(void *arg)
{
	struct caller *c = arg;
	struct inflight f;

	inflight_begin(&f, c->place);
	atomic_store(&c->begun, true);
	while (!atomic_load(&c->go_on))
		sleep_ms(1);
	atomic_store(&c->ended, true);
	inflight_end(&f);
	return NULL;
}

static void start(struct caller *c, uint32_t place, void *(*fn)(void *))
{
	*c = (struct caller){.place = place};
	assert_int_equal(pthread_create(&c->thread, NULL, fn, c), 0);
	while (!atomic_load(&c->begun))
		sleep_ms(1);
}

static void *end_later(void *arg)
{
	struct caller *c = arg;

	sleep_ms(50);
	atomic_store(&c->go_on, true);
	return NULL;
}

static void another_threads_call_is_waited_for(void **state)
{
	struct caller c;
	pthread_t t;

	(void)state;
	start(&c, PLACE, call);
	assert_false(inflight_wait(OTHER)); /* another file's */
	assert_int_equal(pthread_create(&t, NULL, end_later, &c), 0);
	assert_true(inflight_wait(PLACE));
	assert_true(atomic_load(&c.ended));
	pthread_join(t, NULL);
	pthread_join(c.thread, NULL);
	assert_false(inflight_wait(PLACE));
}

static void *call_for(void *arg)
{
	struct caller *c = arg;
	struct inflight f;

	inflight_begin(&f, PLACE);
	atomic_store(&c->begun, true);
	nanosleep(&(struct timespec){.tv_nsec = c->place}, NULL);
	inflight_end(&f);
	return NULL;
}

/* Whenever who waits looks whether the thread is still there, both may have gone a moment before. */
static void a_thread_may_end_with_its_call(void **state)
{
	(void)state;
	for (uint32_t ns = 5000000; ns < 11000000; ns += 20000) {
		struct caller c;

		start(&c, ns, call_for);
		inflight_wait(PLACE);
		pthread_join(c.thread, NULL);
	}
}

static void ones_own_is_not(void **state)
{
	struct inflight f[2]; /* the nested one lies below, as that of a signal handler */

	(void)state;
	inflight_begin(&f[1], PLACE);
	inflight_begin(&f[0], PLACE);
	assert_true(f[0].slot && f[1].slot && f[0].slot != f[1].slot);
	assert_false(inflight_wait(PLACE));
	inflight_end(&f[0]);
	inflight_end(&f[1]);
	assert_int_equal(atomic_load(f[0].slot), 0);
	assert_int_equal(atomic_load(f[1].slot), 0);
}

/* ---- Calls that do not end ---- */

static void *call_and_exit(void *arg)
{
	struct caller *c = arg;
	struct inflight f;

	inflight_begin(&f, c->place);
	atomic_store(&c->begun, true);
	return NULL;
}

static void a_dead_threads_mark_goes(void **state)
{
	struct caller c;

	(void)state;
	start(&c, PLACE, call_and_exit);
	pthread_join(c.thread, NULL);
	assert_true(inflight_wait(PLACE)); /* found, and taken away */
	assert_false(inflight_wait(PLACE));
}

static sigjmp_buf out;

static void leave(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

static __attribute__((noinline)) void call_and_be_interrupted(_Atomic uint64_t **slot)
{
	struct inflight f;

	inflight_begin(&f, PLACE);
	*slot = f.slot;
	raise(SIGXFSZ);
	inflight_end(&f);
}

static void a_call_that_was_left_is_over_with_the_next(void **state)
{
	static _Atomic uint64_t *slot;
	struct inflight f;

	(void)state;
	signal(SIGXFSZ, leave);
	if (!sigsetjmp(out, 1))
		call_and_be_interrupted(&slot);
	assert_int_not_equal(atomic_load(slot), 0);
	inflight_begin(&f, OTHER);
	assert_ptr_equal(f.slot, slot);
	inflight_end(&f);
	assert_int_equal(atomic_load(slot), 0);
	signal(SIGXFSZ, SIG_DFL);
}

static uintptr_t program; /* what runs below it has been called by the test */

static void tell_and_leave(int sig)
{
	(void)sig;
	inflight_leave(program, STACK_FOR_GOOD);
	siglongjmp(out, 1);
}

/* In a handler, in a call that is left with its own. */
static void call_and_tell_later(int sig)
{
	static _Atomic uint64_t *slot;

	(void)sig;
	signal(SIGXFSZ, tell_and_leave);
	call_and_be_interrupted(&slot);
}

static void a_jump_that_is_told_of_ends_calls_at_once(void **state)
{
	static void (*const handlers[])(int) = {tell_and_leave, call_and_tell_later};
	static _Atomic uint64_t *slot;
	struct inflight f;

	(void)state;
	inflight_begin(&f, OTHER);
	program = (uintptr_t)&f;
	for (volatile unsigned i = 0; i < 2; i++) {
		sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = handlers[i], .sa_flags = SA_NODEFER}, NULL);
		if (!sigsetjmp(out, 1))
			call_and_be_interrupted(&slot);
		for (uint32_t s = 0; s < WIRE_INFLIGHT; s++)
			assert_true(&inflight_own.slot[s].mark == f.slot || !atomic_load(&inflight_own.slot[s].mark));
		assert_int_equal(atomic_load(f.slot), f.mark);
	}
	inflight_end(&f);
	assert_int_equal(atomic_load(f.slot), 0);
	assert_int_equal(inflight_self.depth, 0);
	signal(SIGXFSZ, SIG_DFL);
}

/* A thread that sleeps, outside of the kernel's calls on files: nobody waits for it for ever. */
static void one_that_sleeps_is_waited_for_a_while(void **state)
{
	struct timespec before, after;
	struct caller c;

	(void)state;
	start(&c, PLACE, call);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_true(inflight_wait(PLACE));
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_false(atomic_load(&c.ended));
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 500);
	atomic_store(&c.go_on, true);
	pthread_join(c.thread, NULL);
}

static void a_child_waits_for_no_call_of_its_parents(void **state)
{
	struct caller c;
	int status;
	pid_t pid;

	(void)state;
	start(&c, PLACE, call);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		inflight_fork_child();
		_exit(inflight_wait(PLACE));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	atomic_store(&c.go_on, true);
	pthread_join(c.thread, NULL);
}

static void more_than_there_are_slots_go_without(void **state)
{
	static struct inflight f[WIRE_INFLIGHT + 2];

	(void)state;
	for (int i = WIRE_INFLIGHT + 1; i >= 0; i--) /* each below the one before it, as calls that are nested */
		inflight_begin(&f[i], PLACE);
	for (int i = 0; i < WIRE_INFLIGHT + 2; i++)
		assert_int_equal(!f[i].slot, i < 2);
	for (int i = 0; i < WIRE_INFLIGHT + 2; i++)
		inflight_end(&f[i]);
	for (int i = 2; i < WIRE_INFLIGHT + 2; i++)
		assert_int_equal(atomic_load(f[i].slot), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_threads_call_is_waited_for),
		cmocka_unit_test(a_thread_may_end_with_its_call),
		cmocka_unit_test(ones_own_is_not),
		cmocka_unit_test(a_dead_threads_mark_goes),
		cmocka_unit_test(a_call_that_was_left_is_over_with_the_next),
		cmocka_unit_test(a_jump_that_is_told_of_ends_calls_at_once),
		cmocka_unit_test(one_that_sleeps_is_waited_for_a_while),
		cmocka_unit_test(a_child_waits_for_no_call_of_its_parents),
		cmocka_unit_test(more_than_there_are_slots_go_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
