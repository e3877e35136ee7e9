/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls of a thread are known to have been left, on which stacks. */
#include "util/stack.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#define SIZE (64UL << 10)

static uintptr_t outer; /* a frame around the one that asks */

static __attribute__((noinline)) void ask(void)
{
	volatile char here = 0;
	uintptr_t inner = (uintptr_t)&here;

	assert_true(inner < outer);
	assert_true(stack_is_left(inner, outer, STACK_FOR_GOOD));
	assert_true(stack_is_left(inner, outer, STACK_MAY_COME_BACK));
	assert_false(stack_is_left(outer, inner, STACK_FOR_GOOD));
	assert_false(stack_is_left(inner, inner, STACK_FOR_GOOD));
}

static void *on_own_stack(void *unused)
{
	volatile char here = 0;

	outer = (uintptr_t)&here;
	ask();
	return unused;
}

static void inner_calls_are_left(void **state)
{
	(void)state;
	on_own_stack(NULL);
}

static void in_any_thread(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, on_own_stack, NULL), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
}

/* ---- A stack that the program has made ---- */

static ucontext_t there, back;

static void on_other_stack(void)
{
	volatile char here = 0;
	uintptr_t inner = (uintptr_t)&here;

	assert_false(stack_is_left(inner, outer, STACK_FOR_GOOD));
	assert_false(stack_is_left(outer, inner, STACK_FOR_GOOD));
	assert_false(stack_is_left(inner, inner + 64, STACK_FOR_GOOD)); /* not known to be on one stack */
}

static void change_to(char *stack)
{
	volatile char here = 0;

	outer = (uintptr_t)&here;
	assert_int_equal(getcontext(&there), 0);
	there.uc_stack = (stack_t){.ss_sp = stack, .ss_size = SIZE};
	there.uc_link = &back;
	makecontext(&there, on_other_stack, 0);
	assert_int_equal(swapcontext(&back, &there), 0);
}

static void *change(void *stack)
{
	change_to(stack);
	return NULL;
}

/* Below and above that of the thread, among others. */
static void of_other_stacks_it_is_not_known(void **state)
{
	static char stack[SIZE];
	char *mapped = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	(void)state;
	assert_true(mapped != MAP_FAILED);
	for (int i = 0; i < 2; i++) {
		change_to(i ? mapped : stack);
		assert_int_equal(pthread_create(&t, NULL, change, i ? mapped : stack), 0);
		assert_int_equal(pthread_join(t, NULL), 0);
	}
	munmap(mapped, SIZE);
}

/* ---- The alternate stack ---- */

static volatile uintptr_t on_alternate;

static void tell(int sig)
{
	volatile char here = 0;

	(void)sig;
	on_alternate = (uintptr_t)&here;
}

static void the_alternate_stack_is_left_for_good(void **state)
{
	static char stack[SIZE];
	volatile char here = 0;
	uintptr_t own = (uintptr_t)&here;

	(void)state;
	assert_int_equal(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = SIZE}, NULL), 0);
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = tell, .sa_flags = SA_ONSTACK}, NULL);
	raise(SIGUSR1);
	assert_true(stack_is_left(on_alternate, own, STACK_FOR_GOOD));
	assert_false(stack_is_left(on_alternate, own, STACK_MAY_COME_BACK));
	assert_true(stack_is_left(on_alternate, on_alternate + 64, STACK_FOR_GOOD));
	assert_false(stack_is_left(on_alternate, on_alternate - 64, STACK_FOR_GOOD));
	assert_false(stack_is_left(own, on_alternate, STACK_FOR_GOOD));
	assert_int_equal(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inner_calls_are_left),
		cmocka_unit_test(in_any_thread),
		cmocka_unit_test(of_other_stacks_it_is_not_known),
		cmocka_unit_test(the_alternate_stack_is_left_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
