/* SPDX-License-Identifier: Apache-2.0 */
/* cache/budget.c: never more than the limit, whoever asks at the same time. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "util/compiler.h"

#define THREADS 4
#define STEPS 100000

static void a_budget_under_the_minimum_is_refused(void **state)
{
	(void)state;
	assert_int_equal(budget_init(BUDGET_MIN - 1), -EINVAL);
	assert_int_equal(budget_init(BUDGET_MIN), 0);
	assert_int_equal(budget_limit(), BUDGET_MIN >> FL_PAGE_SHIFT);
	assert_int_equal(budget_used(), budget_fixed_pages());
}

static void the_last_page_can_be_had_and_no_more(void **state)
{
	uint64_t left;

	(void)state;
	assert_int_equal(budget_init(BUDGET_MIN), 0);
	left = budget_limit() - budget_used();
	assert_false(budget_try_reserve(left + 1));
	assert_false(budget_try_reserve(UINT64_MAX));
	assert_true(budget_try_reserve(left - 1));
	assert_true(budget_try_reserve(1));
	assert_false(budget_try_reserve(1));
	assert_true(budget_try_reserve(0));
	budget_release(1);
	assert_true(budget_try_reserve(1));
	assert_int_equal(budget_used(), budget_limit());
	budget_release(left);
	assert_int_equal(budget_used(), budget_fixed_pages());
	assert_int_equal(budget_peak(), budget_limit());
}

static _Atomic uint64_t held;
static _Atomic bool exceeded;

static void *reserve_and_release(void *arg)
{
	unsigned r = (unsigned)(uintptr_t)arg + 1;
	uint64_t mine[4] = {0};
	uint64_t room = budget_limit() - budget_fixed_pages();

	for (int i = 0; i < STEPS; i++) {
		uint64_t *n = &mine[(r = r * 1664525 + 1013904223) >> 30];

		if (*n) {
			atomic_fetch_sub(&held, *n);
			budget_release(*n);
			*n = 0;
		} else if (budget_try_reserve(r >> 16 & 63)) {
			*n = r >> 16 & 63;
			if (atomic_fetch_add(&held, *n) + *n > room || budget_used() > budget_limit())
				atomic_store(&exceeded, true);
		}
	}
	for (int i = 0; i < 4; i++) {
		atomic_fetch_sub(&held, mine[i]);
		budget_release(mine[i]);
	}
	return NULL;
}

static void threads_together_never_exceed_it(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	assert_int_equal(budget_init(BUDGET_MIN), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, reserve_and_release, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_false(atomic_load(&exceeded));
	assert_int_equal(budget_used(), budget_fixed_pages());
	assert_true(budget_peak() <= budget_limit());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_budget_under_the_minimum_is_refused),
		cmocka_unit_test(the_last_page_can_be_had_and_no_more),
		cmocka_unit_test(threads_together_never_exceed_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
