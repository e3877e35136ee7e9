/* SPDX-License-Identifier: Apache-2.0 */
/* cache/buffer.c: who finds no buffer waits, nobody shares one, and all come back. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "cache/buffer.h"
#include "util/compiler.h"

#define SMALL 8 /* single-page buffers of the smallest budget */
#define THREADS (2 * SMALL)
#define STEPS 2000

static int start(void **state)
{
	(void)state;
	assert_int_equal(budget_init(BUDGET_MIN), 0);
	return buffer_init(budget_limit());
}

static int end(void **state)
{
	(void)state;
	buffer_exit();
	return budget_used() != budget_fixed_pages();
}

static void buffers_are_paid_for(void **state)
{
	(void)state;
	assert_int_equal(budget_used() - budget_fixed_pages(), buffer_bytes() >> FL_PAGE_SHIFT);
	assert_true(buffer_bytes() <= BUDGET_MIN / 8);
	assert_true(buffer_large_pages() >= 2);
}

static void too_small_a_budget_leaves_nothing_behind(void **state)
{
	(void)state;
	buffer_exit();
	assert_true(budget_try_reserve(budget_limit() - budget_used() - 9)); /* room for the small ones alone */
	assert_int_equal(buffer_init(budget_limit()), -ENOMEM);
	assert_int_equal(budget_used(), budget_limit() - 9);
	budget_release(budget_limit() - 9 - budget_fixed_pages());
	assert_int_equal(buffer_init(budget_limit()), 0);
}

/* Plain writes: two holders of one buffer are a data race, and see each other's bytes. */
static void *use(void *arg)
{
	unsigned char id = (unsigned char)(uintptr_t)arg;

	for (int i = 0; i < STEPS; i++) {
		struct buffer b = buffer_get(i & 1);
		size_t len = b.pages * FL_PAGE_SIZE;

		assert_int_equal((uintptr_t)b.data & FL_PAGE_MASK, 0);
		assert_true(b.pages == (i & 1 ? buffer_large_pages() : 1));
		b.data[0] = b.data[len - 1] = (char)id;
		if (i % 16 == 0)
			usleep(1);
		assert_true(b.data[0] == (char)id && b.data[len - 1] == (char)id);
		buffer_put(b);
	}
	return NULL;
}

static void threads_that_outnumber_buffers_wait_for_their_own(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, use, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static _Atomic unsigned have, may_put;

static void *hold(void *arg)
{
	struct buffer b = buffer_get(false);

	(void)arg;
	atomic_fetch_add(&have, 1);
	while (!atomic_load(&may_put))
		usleep(100);
	buffer_put(b);
	return NULL;
}

/* As many as there are can be held at once, the next waits, and each that comes back lets one in. */
static void all_buffers_can_be_held_at_once(void **state)
{
	pthread_t t[SMALL + 1];

	(void)state;
	atomic_store(&have, 0);
	atomic_store(&may_put, 0);
	for (unsigned i = 0; i <= SMALL; i++)
		pthread_create(&t[i], NULL, hold, NULL);
	while (atomic_load(&have) < SMALL)
		usleep(100);
	usleep(20000);
	assert_int_equal(atomic_load(&have), SMALL);
	atomic_store(&may_put, 1);
	for (unsigned i = 0; i <= SMALL; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&have), SMALL + 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(buffers_are_paid_for),
		T(too_small_a_budget_leaves_nothing_behind),
		T(threads_that_outnumber_buffers_wait_for_their_own),
		T(all_buffers_can_be_held_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
