/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anonymous memory that is larger than the budget: 64 MiB are filled and checked, by itself, by a child, by system calls.
 *
 *     anon [MOST]
 *
 * Fails when more than MOST KiB of it are in memory at a time, which the kernel's figures for the process tell.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (64UL << 20)
#define WORDS (SIZE / sizeof(uint64_t))

static long most;

static long in_memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	long kib = 0;

	CHECK(f);
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, "RssAnon:", 8) || !strncmp(line, "RssShmem:", 9))
			kib += strtol(strchr(line, ':') + 1, NULL, 10);
	fclose(f);
	return kib;
}

static uint64_t word(uint64_t seed, size_t i)
{
	return (seed + i) * 0x9e3779b97f4a7c15ull;
}

static void bounded(void)
{
	CHECK(!most || in_memory() <= most);
}

static void fill(uint64_t *p, uint64_t seed)
{
	for (size_t i = 0; i < WORDS; i++) {
		p[i] = word(seed, i);
		if (i % (1 << 20) == 0)
			bounded();
	}
}

static void verify(const uint64_t *p, uint64_t seed)
{
	for (size_t i = 0; i < WORDS; i++) {
		CHECK(p[i] == word(seed, i));
		if (i % (1 << 20) == 0)
			bounded();
	}
}

static uint64_t *map(int type)
{
	uint64_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, type | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && p[WORDS - 1] == 0);
	return p;
}

static void wait_for(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void private_memory(void)
{
	uint64_t *p = map(MAP_PRIVATE);
	pid_t child;

	fill(p, 1);
	verify(p, 1);
	child = fork();
	if (!child) {
		verify(p, 1);
		fill(p, 2);
		verify(p, 2);
		_exit(0);
	}
	wait_for(child);
	verify(p, 1);
	CHECK(!madvise(p, SIZE / 2, MADV_DONTNEED) && p[5] == 0 && p[WORDS - 1] == word(1, WORDS - 1));
	CHECK(!munmap(p, SIZE));
}

/* After the fork it is the kernel's, and both see it. */
static void shared_memory(void)
{
	uint64_t *p = map(MAP_SHARED);
	pid_t child;

	fill(p, 3);
	verify(p, 3);
	child = fork();
	if (!child) {
		most = 0;
		p[7] = 77;
		_exit(p[8] != word(3, 8));
	}
	wait_for(child);
	CHECK(p[7] == 77 && p[WORDS - 1] == word(3, WORDS - 1));
	CHECK(!munmap(p, SIZE));
}

static void system_calls(void)
{
	char *p = (char *)map(MAP_PRIVATE), byte;
	int fd = pattern_file(1 << 20);

	for (size_t at = 0; at < SIZE; at += 1 << 20)
		CHECK(pread(fd, p + at, 1 << 20, 0) == 1 << 20);
	bounded();
	for (size_t at = 0; at < SIZE; at += 1 << 20)
		CHECK(pwrite(fd, p + at, 1 << 20, (off_t)at) == 1 << 20);
	bounded();
	for (size_t at = 0; at < SIZE; at += 4001)
		CHECK(pread(fd, &byte, 1, (off_t)at) == 1 && (uint8_t)byte == pattern(at % (1 << 20)) && byte == p[at]);
	p = mremap(p, SIZE, 2 * SIZE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED && (uint8_t)p[5] == pattern(5) && p[2 * SIZE - 1] == 0);
	CHECK(!mprotect(p, PAGE, PROT_READ) && !munmap(p, 2 * SIZE));
	close(fd);
}

static volatile uint64_t *touched;

static void on_signal(int sig)
{
	touched[sig] = (uint64_t)sig; /* a fault, on this stack */
}

static void *on_own_stack(void *p)
{
	for (size_t i = 0; i < WORDS; i += PAGE / sizeof(uint64_t))
		((uint64_t *)p)[i] = i;
	return p;
}

/* Memory that is told to be a stack can be one. */
static void stacks(void)
{
	char *p = (char *)map(MAP_PRIVATE), *thread_stack = p + SIZE / 2;
	stack_t s = {.ss_sp = p + 100, .ss_size = 64 << 10};
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	pthread_attr_t attr;
	pthread_t thread;

	p[50] = 50;
	touched = (uint64_t *)map(MAP_PRIVATE);
	CHECK(!sigaltstack(&s, NULL) && p[50] == 50 && !sigaction(SIGUSR1, &act, NULL));
	CHECK(!raise(SIGUSR1) && touched[SIGUSR1] == SIGUSR1);
	fill((uint64_t *)touched, 9);
	verify((uint64_t *)touched, 9);
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, thread_stack, 256 << 10));
	CHECK(!pthread_create(&thread, &attr, on_own_stack, (void *)touched) && !pthread_join(thread, NULL));
	s.ss_flags = SS_DISABLE;
	CHECK(!sigaltstack(&s, NULL) && !munmap(p, SIZE) && !munmap((void *)touched, SIZE));
}

/* As a runtime does that makes its system calls itself: nobody else hears of it. */
static void discard_by_instruction(void *p, size_t len)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_madvise), "D"(p), "S"(len), "d"((long)MADV_DONTNEED) : "rcx", "r11", "memory");
	CHECK(!result);
}

/* Pages that were changed, and pages that swap has as well; stored to first, and read first. Then again when others have had their memory. */
static void discarded(void)
{
	uint64_t *p = map(MAP_PRIVATE), *other = map(MAP_PRIVATE);
	const size_t page = PAGE / sizeof(uint64_t), last = WORDS - 4 * page;

	fill(p, 11);
	discard_by_instruction(p + last, 4 * PAGE);
	p[last] = 5;
	for (size_t i = 1; i < 4 * page; i++)
		CHECK(p[last + i] == 0);
	fill(p, 12);
	verify(p, 12);
	discard_by_instruction(p + last, 4 * PAGE);
	CHECK(p[last] == 0 && p[last + page] == 0 && p[last + 3 * page] == 0);
	p[last + page] = p[last + 2 * page] = 6;
	fill(other, 13);
	verify(other, 13);
	for (size_t i = 0; i < 4 * page; i++)
		CHECK(p[last + i] == (i == page || i == 2 * page ? 6 : 0));
	fill(p, 14); /* changed, and not looked at before it has to leave */
	discard_by_instruction(p + last, 4 * PAGE);
	verify(other, 13);
	for (size_t i = 0; i < 4 * page; i++)
		CHECK(p[last + i] == 0);
	CHECK(!munmap(p, SIZE) && !munmap(other, SIZE));
}

int main(int argc, char **argv)
{
	most = argc > 1 ? atol(argv[1]) : 0;
	private_memory();
	shared_memory();
	system_calls();
	stacks();
	discarded();
	return 0;
}
