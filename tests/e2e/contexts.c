/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks that the program takes from memory as any other: of contexts, and of children that share the memory. They are used deeply, by handlers of signals too,
 * while more is stored in memory than there is room for.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <ucontext.h>

#include "check.h"

#define MIB (1UL << 20)
#define DATA (64 * MIB) /* more than the budget */
#define FILLED (32 * MIB)
#define PIECE (128UL << 10)
#define STACK (256UL << 10)
#define DEPTH (STACK / PAGE - 16)

static char *data, *filled;
static int fd;
static unsigned rounds;

static char *memory(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* What has been used of memory leaves it. */
static void use_data(void)
{
	for (size_t at = 0; at < DATA; at += PAGE) {
		CHECK(*(unsigned *)(data + at) == rounds);
		*(unsigned *)(data + at) = rounds + 1;
	}
	rounds++;
}

/* The same by calls, which make room themselves. */
static void fill_data(void)
{
	for (size_t at = 0; at < FILLED; at += PIECE)
		CHECK(pread(fd, filled + at, PIECE, 0) == (ssize_t)PIECE);
	CHECK(filled[FILLED - 1] == (char)pattern(PIECE - 1));
}

static volatile unsigned handled;

static void handle(int sig)
{
	volatile char deep[3 * PAGE];

	(void)sig;
	for (size_t i = 0; i < sizeof deep; i += PAGE / 2)
		deep[i] = 1;
	handled++;
}

static __attribute__((noinline)) unsigned deep(unsigned depth)
{
	volatile char here[PAGE - 128];
	unsigned sum;

	here[0] = here[sizeof here - 1] = (char)depth;
	sum = depth ? deep(depth - 1) : (raise(SIGUSR1), use_data(), fill_data(), 0);
	CHECK(here[0] == (char)depth && here[sizeof here - 1] == (char)depth);
	return sum + 1;
}

static void go_deep(void)
{
	unsigned before = handled;

	CHECK(deep(DEPTH) == DEPTH + 1 && handled == before + 1);
}

/* ---- Contexts ---- */

#define CONTEXTS 4

static ucontext_t back, contexts[CONTEXTS];
static unsigned ended;

static void in_context(int number, int two, int three, int four, int five, int six, int seven, int eight)
{
	CHECK(two == 2 && three == 3 && four == 4 && five == 5 && six == 6 && seven == 7 && eight == 8);
	for (int i = 0; i < 3; i++) {
		go_deep();
		CHECK(!swapcontext(&contexts[number], &back));
	}
	ended++;
}

static void make(int number, char *stack, size_t size)
{
	ucontext_t *c = &contexts[number];

	CHECK(!getcontext(c));
	c->uc_stack = (stack_t){.ss_sp = stack, .ss_size = size};
	c->uc_link = &back;
	makecontext(c, (void (*)(void))in_context, 8, number, 2, 3, 4, 5, 6, 7, 8);
}

static void run_all(void)
{
	ended = 0;
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < CONTEXTS; i++)
			CHECK(!swapcontext(&back, &contexts[i]));
	CHECK(ended == CONTEXTS);
}

static void each_of_its_own(void)
{
	char *stacks[CONTEXTS];

	for (int i = 0; i < CONTEXTS; i++)
		make(i, stacks[i] = memory(STACK), STACK);
	run_all();
	for (int i = 0; i < CONTEXTS; i++)
		CHECK(!munmap(stacks[i], STACK));
}

/* As malloc(3) gives them: one behind the other, and within pages. */
static void one_behind_the_other(void)
{
	size_t step = STACK + 1000, all = CONTEXTS * step + 2 * PAGE;
	char *p = memory(all);

	memset(p, 'a', all);
	for (int i = 0; i < CONTEXTS; i++)
		make(i, p + 500 + (size_t)i * step, STACK);
	run_all();
	CHECK(p[0] == 'a' && p[499] == 'a' && p[500 + STACK] == 'a' && p[all - 1] == 'a');
	CHECK(!munmap(p, all));
}

/* ---- What shares its page with a stack ---- */

static atomic_ulong *beside;
static atomic_bool stop;

static void *count(void *counts)
{
	unsigned long *n = counts;

	while (!atomic_load(&stop)) {
		atomic_fetch_add(&beside[0], 1);
		atomic_fetch_add(&beside[1], 1);
		++*n;
	}
	return NULL;
}

static void what_is_beside_goes_on(void)
{
	unsigned long n[2] = {0, 0};
	pthread_t threads[2];

	for (int round = 0; round < 50; round++) {
		char *p = memory(STACK + PAGE);

		beside = (atomic_ulong *)p;
		n[0] = n[1] = 0;
		atomic_store(&stop, false);
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_create(&threads[i], NULL, count, &n[i]));
		sched_yield();
		make(0, p + 64, STACK);
		usleep(1000);
		atomic_store(&stop, true);
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_join(threads[i], NULL));
		CHECK(atomic_load(&beside[0]) == n[0] + n[1] && atomic_load(&beside[1]) == n[0] + n[1]);
		CHECK(!munmap(p, STACK + PAGE));
	}
}

/* ---- Children that share the memory ---- */

static int child(void *unused)
{
	(void)unused;
	go_deep();
	return 0;
}

static void children(void)
{
	char *stack = memory(STACK);
	int status;

	for (int i = 0; i < 3; i++) {
		pid_t pid = clone(child, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);

		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	}
	CHECK(!munmap(stack, STACK));
}

/* ---- Coroutines of the program's own making: where its stack is it tells nobody ---- */

static void *own_back, *own_there;

__attribute__((naked, noinline)) static void change(__attribute__((unused)) void **from, __attribute__((unused)) void *to)
{
	__asm__("push %rbp\n\t"
		"push %rbx\n\t"
		"push %r12\n\t"
		"push %r13\n\t"
		"push %r14\n\t"
		"push %r15\n\t"
		"mov %rsp, (%rdi)\n\t"
		"mov %rsi, %rsp\n\t"
		"pop %r15\n\t"
		"pop %r14\n\t"
		"pop %r13\n\t"
		"pop %r12\n\t"
		"pop %rbx\n\t"
		"pop %rbp\n\t"
		"ret");
}

static void on_own_stack(void)
{
	for (;;) {
		go_deep();
		change(&own_there, own_back);
	}
}

static void change_to(char *stack)
{
	void **top = (void **)(stack + STACK) - 8; /* six registers, and where it begins; then the stack is as in a call */

	top[6] = (void *)on_own_stack;
	own_there = top;
	for (int i = 0; i < 3; i++)
		change(&own_back, own_there);
	CHECK(!munmap(stack, STACK));
}

static void by_hand(void)
{
	change_to(memory(STACK));
}

/* With less below it than stacks have: as in wine, whose first stack is the lowest of all. */
static void by_hand_low(void)
{
	char *stack = mmap((void *)MIB, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(stack == (char *)MIB);
	change_to(stack);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"each_of_its_own", each_of_its_own},
						 {"one_behind_the_other", one_behind_the_other},
						 {"what_is_beside_goes_on", what_is_beside_goes_on},
						 {"children", children}};
	static const struct test_case others[] = {{"by_hand", by_hand}, {"by_hand_low", by_hand_low}};

	alarm(240);
	data = memory(DATA);
	filled = memory(FILLED);
	fd = pattern_file(PIECE);
	CHECK(signal(SIGUSR1, handle) != SIG_ERR);
	if (argc > 1 && !strncmp(argv[1], "by_hand", strlen("by_hand")))
		return run_cases(others, ARRAY_SIZE(others), argv + 1);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
