/* SPDX-License-Identifier: Apache-2.0 */
/* cache/budget.c: never more than the limit, whoever asks at the same time. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/address_space.h"
#include "cache/budget.h"
#include "store/store.h"
#include "util/compiler.h"
#include "util/report.h"

#define THREADS 4
#define STEPS 100000
#define LOOKS 1000

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

/* ---- A lender ---- */

static _Atomic uint64_t out, refused; /* pages: lent, as the lender counts; that were asked for in vain */
static uint64_t to_lend;
static int no; /* what it answers when it has none */

static int lend(uint64_t pages, bool urgent)
{
	uint64_t n = atomic_load(&out);

	(void)urgent;
	do
		if (n + pages > to_lend)
			return no;
	while (!atomic_compare_exchange_weak(&out, &n, n + pages));
	return 0;
}

/* Both change while we look: more is held than is lent if that stays so. */
static bool is_exceeded(void)
{
	for (int look = 0; look < LOOKS; look++, sched_yield())
		if (atomic_load(&held) + budget_fixed_pages() <= atomic_load(&out))
			return false;
	return true;
}

static void take_back(uint64_t pages, uint64_t not_given)
{
	atomic_fetch_sub(&out, pages);
	atomic_fetch_add(&refused, not_given);
	if (is_exceeded())
		atomic_store(&exceeded, true);
}

static const struct budget_lender lender = {.borrow = lend, .give_back = take_back};

static void begin_with(uint64_t pages)
{
	atomic_store(&out, 0);
	atomic_store(&refused, 0);
	atomic_store(&held, 0);
	atomic_store(&exceeded, false);
	to_lend = pages;
	no = -ENOMEM;
	budget_set_lender(&lender);
	assert_int_equal(budget_init(16 * BUDGET_MIN), 0);
}

static void end(void)
{
	assert_false(atomic_load(&exceeded));
	budget_exit();
	assert_int_equal(atomic_load(&out), 0);
}

static void what_is_owed_goes_back_as_it_is_released(void **state)
{
	uint64_t n, lent;

	(void)state;
	begin_with(1000);
	n = 300;
	assert_true(budget_try_reserve(n));
	atomic_store(&held, n);
	budget_return_idle(0);
	lent = budget_lent();
	assert_int_equal(lent, n + budget_fixed_pages());
	to_lend = lent; /* and it lends no more */
	assert_int_equal(budget_owe(50, 0), 50);
	assert_int_equal(atomic_load(&out), lent);
	atomic_store(&held, n -= 30);
	budget_release(30);
	assert_int_equal(atomic_load(&out), lent - 30);
	to_lend = lent - 30;
	assert_false(budget_try_reserve(1)); /* all that is released is the lender's */
	atomic_store(&held, n -= 30);
	budget_release(30);
	assert_int_equal(atomic_load(&out), lent - 50);
	assert_int_equal(budget_owed(), 0);
	assert_true(budget_try_reserve(10));
	budget_release(n + 10);
	atomic_store(&held, 0);
	end();
}

static void what_cannot_be_paid_is_lent_again(void **state)
{
	uint64_t lent;

	(void)state;
	begin_with(1000);
	assert_true(budget_try_reserve(200));
	atomic_store(&held, 200);
	budget_return_idle(0);
	lent = budget_lent();
	to_lend = lent;
	assert_int_equal(budget_owe(500, lent - 20), 20);
	budget_refuse(480);
	assert_int_equal(atomic_load(&refused), 500);
	assert_int_equal(budget_lent(), lent);
	assert_false(budget_overdrawn());
	budget_release(200);
	atomic_store(&held, 0);
	end();
}

static void who_begs_gets_what_there_is(void **state)
{
	(void)state;
	begin_with(300);
	budget_return_idle(0);
	no = -EAGAIN;
	assert_int_equal(budget_beg(400), -EAGAIN);
	assert_int_equal(atomic_load(&out), 300);
	to_lend = 500;
	assert_int_equal(budget_beg(400), 0);
	assert_true(budget_try_reserve(400));
	assert_int_equal(budget_beg(budget_limit()), -ENOMEM);
	budget_release(400);
	end();
}

/* Neither goes back as idle, nor for others. */
static void what_is_held_is_there(void **state)
{
	uint64_t fixed;

	(void)state;
	begin_with(1000);
	fixed = budget_fixed_pages();
	assert_true(budget_hold(16));
	assert_true(budget_lent() >= fixed + 16);
	assert_int_equal(budget_used(), fixed);
	budget_return_idle(fixed + 16);
	assert_int_equal(budget_lent(), fixed + 16);
	assert_int_equal(budget_owe(50, fixed + 16), 0);
	to_lend = 0;
	assert_true(budget_try_reserve(16));
	assert_false(budget_try_reserve(1));
	assert_false(budget_hold(1));
	assert_int_equal(budget_used(), fixed + 16);
	budget_release(16);
	end();
}

/* When there is no memory for what swap needs, it is not made without: its pages could never leave. */
static void no_private_pages_without_their_swap(void **state)
{
	struct address_space *first, *second = NULL;
	uint64_t rest;

	(void)state;
	budget_set_lender(&(struct budget_lender){.borrow = NULL});
	assert_int_equal(budget_init(BUDGET_MIN), 0);
	assert_int_equal(report_init(NULL, BUDGET_MIN), 0);
	assert_int_equal(address_space_init(false), 0);
	assert_int_equal(address_space_new_anon(address_space_zero(), 10, &first), 0);
	assert_null(first->store); /* no swap yet; the next finds room for itself beside it, not for its store */
	assert_int_equal(swap_set_directory("/var/tmp"), 0);
	assert_int_equal(swap_prepare(), 0);
	rest = budget_limit() - budget_used();
	assert_true(budget_try_reserve(rest));
	assert_int_equal(address_space_new_anon(address_space_zero(), 10, &second), -ENOMEM);
	budget_release(rest);
	assert_int_equal(address_space_new_anon(address_space_zero(), 10, &second), 0);
	assert_non_null(second->store);
	address_space_put_anon(first);
	address_space_put_anon(second);
	address_space_exit();
	swap_exit();
	report_exit();
}

static void *owe_and_refuse(void *arg)
{
	for (int i = 0; i < STEPS / 10; i++) {
		budget_owe(20, 0);
		if (i % 3 == 0)
			budget_refuse(0);
		else
			budget_pay();
		if (i % 7 == 0)
			budget_return_idle(0);
	}
	budget_refuse(0);
	return arg;
}

static void what_is_lent_covers_what_is_used_whoever_pays(void **state)
{
	pthread_t t[THREADS + 1];

	(void)state;
	begin_with(600);
	pthread_create(&t[THREADS], NULL, owe_and_refuse, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, reserve_and_release, (void *)i);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(budget_owed(), 0);
	assert_int_equal(budget_used(), budget_fixed_pages());
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_budget_under_the_minimum_is_refused),
		cmocka_unit_test(the_last_page_can_be_had_and_no_more),
		cmocka_unit_test(threads_together_never_exceed_it),
		cmocka_unit_test(what_is_owed_goes_back_as_it_is_released),
		cmocka_unit_test(what_cannot_be_paid_is_lent_again),
		cmocka_unit_test(who_begs_gets_what_there_is),
		cmocka_unit_test(what_is_held_is_there),
		cmocka_unit_test(no_private_pages_without_their_swap),
		cmocka_unit_test(what_is_lent_covers_what_is_used_whoever_pays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
