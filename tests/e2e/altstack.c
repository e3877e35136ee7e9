/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternate signal stacks, while mappings are read and stored to: one for all threads, which is enough for a program that ends with the signal; one that is
 * hardly larger than the kernel needs it; one in a file; and what a thread is told of the one that it has.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/wait.h>

#include "check.h"

#define THREADS 8
#define PAGES 4096UL /* four times what the tests give it as memory */
#define STACK (64UL << 10)

static unsigned char *map;
static char *stack;

static void set_stack(char *at, size_t size)
{
	CHECK(!sigaltstack(&(stack_t){.ss_sp = at, .ss_size = size}, NULL));
}

static void has_stack(const char *at, size_t size)
{
	stack_t s;

	CHECK(!sigaltstack(NULL, &s) && s.ss_sp == at && s.ss_size == size && s.ss_flags == 0);
}

static void no_stack(void)
{
	stack_t s;

	CHECK(!sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) && !sigaltstack(NULL, &s) && s.ss_flags == SS_DISABLE);
}

/* All of the mapping, in an order of its own; each page has a byte for each thread. */
static void use_map(unsigned thread, unsigned rounds)
{
	for (unsigned round = 1; round <= rounds; round++)
		for (unsigned i = 0; i < PAGES; i++) {
			size_t page = (i * 1027 + thread * 511) % PAGES;
			volatile unsigned char *p = map + page * PAGE;

			CHECK(p[thread] == round - 1 && p[100] == pattern(page * PAGE + 100));
			p[thread] = (unsigned char)round;
		}
	for (unsigned i = 0; i < PAGES; i++)
		map[i * PAGE + thread] = 0;
}

static void new_map(void)
{
	int fd = pattern_file(PAGES * PAGE);

	map = (unsigned char *)map_file(fd, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	close(fd);
	for (unsigned i = 0; i < PAGES; i++)
		memset(map + i * PAGE, 0, THREADS);
}

/* ---- One for all ---- */

static _Thread_local volatile int handled;
static _Thread_local volatile bool was_on_stack;

static void on_usr1(int sig)
{
	stack_t s;

	(void)sig;
	handled++;
	was_on_stack = !sigaltstack(NULL, &s) && s.ss_flags == SS_ONSTACK && s.ss_sp == stack;
}

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* on the kernel's stack of all */

static void *share(void *arg)
{
	set_stack(stack, STACK);
	use_map((unsigned)(uintptr_t)arg, 2);
	has_stack(stack, STACK);
	pthread_mutex_lock(&one_at_a_time);
	raise(SIGUSR1);
	pthread_mutex_unlock(&one_at_a_time);
	CHECK(handled == 1 && was_on_stack);
	has_stack(stack, STACK);
	no_stack();
	set_stack(stack, STACK);
	has_stack(stack, STACK);
	return NULL;
}

static void shared(void)
{
	struct sigaction act = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
	pthread_t t[THREADS];

	new_map();
	CHECK(!sigaction(SIGUSR1, &act, NULL));
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, share, (void *)i));
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!pthread_join(t[i], NULL));
	CHECK(!munmap(map, PAGES * PAGE));
}

/* ---- A small one ---- */

static void small(void)
{
	size_t least = getauxval(AT_MINSIGSTKSZ), size = least > 2048 ? least : 2048;

	new_map();
	memset(stack, 0x5a, STACK);
	set_stack(stack + STACK / 2, size);
	has_stack(stack + STACK / 2, size);
	use_map(0, 1);
	for (size_t i = 0; i < STACK / 2; i++)
		CHECK(stack[i] == 0x5a); /* what lies below is not its own */
	FAILS(ENOMEM, sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = 1000}, NULL));
	FAILS(EINVAL, sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = STACK, .ss_flags = 77}, NULL));
	has_stack(stack + STACK / 2, size);
	no_stack();
	CHECK(!munmap(map, PAGES * PAGE));
}

/* ---- One's own: handlers run there, also in a child ---- */

static void *volatile address_in_handler;

static void note_address(int sig)
{
	(void)sig;
	address_in_handler = __builtin_frame_address(0);
}

static void is_handled_on(const char *at)
{
	raise(SIGUSR2);
	CHECK((char *)address_in_handler > at && (char *)address_in_handler < at + STACK / 2);
}

static void of_its_own(void)
{
	struct sigaction act = {.sa_handler = note_address, .sa_flags = SA_ONSTACK};
	int status;
	pid_t pid;

	CHECK(!sigaction(SIGUSR2, &act, NULL));
	set_stack(stack, STACK / 2);
	is_handled_on(stack);
	set_stack(stack + STACK / 2, STACK / 2);
	is_handled_on(stack + STACK / 2);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		has_stack(stack + STACK / 2, STACK / 2);
		is_handled_on(stack + STACK / 2);
		set_stack(stack, STACK / 2);
		is_handled_on(stack);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	no_stack();
}

/* ---- In a file, as where a program has all of its memory in one: its pages may leave ---- */

static void in_a_file(void)
{
	struct sigaction act = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
	int fd = pattern_file(PAGES * PAGE);
	char *file = map_file(fd, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED), *private = stack;

	close(fd);
	new_map();
	CHECK(!sigaction(SIGUSR1, &act, NULL));
	stack = file + PAGES / 2 * PAGE;
	set_stack(stack, STACK);
	use_map(0, 2);
	has_stack(stack, STACK);
	handled = 0;
	raise(SIGUSR1);
	CHECK(handled == 1 && was_on_stack);
	no_stack();
	stack = private;
	CHECK(!munmap(map, PAGES * PAGE) && !munmap(file, PAGES * PAGE));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"of_its_own", of_its_own}, {"small", small}, {"shared", shared}, {"in_a_file", in_a_file}};

	(void)argc;
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
