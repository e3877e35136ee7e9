/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the public calls share: a file with a known pattern, a small budget, and accesses that may be fatal. */
#ifndef FL_TESTS_HARNESS_H
#define FL_TESTS_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faultline.h"

#define BUDGET (2UL << 20)
#define PATTERN_BYTES (8UL << 20)
#define PATTERN_WORDS (PATTERN_BYTES / 8)

struct fixture {
	int fd;
	char path[64];
};

static inline uint64_t pattern(size_t word)
{
	return (word + 1) * 0x9e3779b97f4a7c15ull;
}

static sigjmp_buf access_failed;
static volatile sig_atomic_t caught_signal, caught_code;
static void *volatile caught_address;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught_signal = sig;
	caught_code = info->si_code;
	caught_address = info->si_addr;
	siglongjmp(access_failed, 1);
}

__attribute__((unused)) static void access_read(char *p)
{
	*(volatile char *)p;
}

__attribute__((unused)) static void access_write(char *p)
{
	*(volatile char *)p = 1;
}

/* The access raises this signal with this code at this address, and nothing else. */
#define assert_signal(sig, code, addr, access)          \
	do {                                            \
		caught_signal = 0;                      \
		if (sigsetjmp(access_failed, 1) == 0)   \
			access(addr);                   \
		assert_int_equal(caught_signal, sig);   \
		assert_int_equal(caught_code, code);    \
		assert_ptr_equal(caught_address, addr); \
	} while (0)

/* `failed` is -1 or a true comparison with MAP_FAILED. */
#define assert_fails(failed, error)             \
	do {                                    \
		errno = 0;                      \
		assert_true(failed);            \
		assert_int_equal(errno, error); \
	} while (0)

static void fill(int fd)
{
	static uint64_t words[8192];

	for (size_t at = 0; at < PATTERN_WORDS; at += 8192) {
		for (size_t i = 0; i < 8192; i++)
			words[i] = pattern(at + i);
		assert_int_equal(write(fd, words, sizeof words), sizeof words);
	}
}

/* A program's own handlers are there before Faultline starts, as in real programs. */
static void install_handlers(void)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);
}

/*
 * Inside the test function, not around it: cmocka puts handlers of its own in front of ours at the start of each. What
 * a failed test has left behind is cleared by the next one.
 */
static inline void setup(void **state)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};
	struct fixture *f = calloc(1, sizeof *f);
	const char *dir = getenv("TMPDIR");

	fl_exit();
	install_handlers();
	snprintf(f->path, sizeof f->path, "%s/faultline-test-XXXXXX", dir && strlen(dir) < 32 ? dir : "/var/tmp");
	f->fd = mkstemp(f->path);
	assert_true(f->fd >= 0);
	fill(f->fd);
	assert_int_equal(fl_init(&o), 0);
	*state = f;
}

/* Whatever a test has done, the budget was kept, and all of it comes back. */
static inline void teardown(void **state)
{
	struct fl_stats st = {.size = sizeof st};
	struct fixture *f = *state;

	assert_int_equal(fl_stats(&st), 0);
	assert_true(st.peak_bytes <= st.budget_bytes);
	assert_int_equal(st.mappings, 0);
	assert_int_equal(st.files, 0);
	assert_int_equal(fl_exit(), 0);
	if (f->fd >= 0)
		close(f->fd);
	unlink(f->path);
	free(f);
}

/* skip() of cmocka, which does not come back to tear anything down. Nothing is mapped. */
__attribute__((unused)) static void skip_test(void **state)
{
	teardown(state);
	skip();
}

/* Defines run_NAME(), the test with its set-up. */
#define TEST(name)                           \
	static void name(void **state);      \
	static void run_##name(void **state) \
	{                                    \
		setup(state);                \
		name(state);                 \
		teardown(state);             \
	}                                    \
	static void name(void **state)

#define RUN(name)                                   \
	{                                           \
#name, run_##name, NULL, NULL, NULL \
	}

__attribute__((unused)) static uint64_t *map_file(struct fixture *f, int prot, int flags)
{
	void *p = fl_mmap(NULL, PATTERN_BYTES, prot, flags, f->fd, 0);

	if (p == MAP_FAILED)
		fail_msg("fl_mmap: %s", strerror(errno));
	return p;
}

#define MAP_COUNT_TOO_MANY 200000

/* How many mappings a process may have. Where these are too many to make, the test is skipped. */
__attribute__((unused)) static long map_count_or_skip(void **state)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	long n = 0;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	if (n <= 0 || n > MAP_COUNT_TOO_MANY)
		skip_test(state);
	return n;
}

/* The process has as many mappings as it may have, but for a few. The kernel's address of the first; each is a page of its own. */
__attribute__((unused)) static char *use_up_mappings(long count, long leave)
{
	char *area = mmap(NULL, (size_t)count * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long made = 0;

	assert_true(area != MAP_FAILED);
	while (made + 2 < count && !mprotect(area + (made + 1) * 4096, 4096, PROT_READ))
		made += 2;
	for (long i = made; i > 0 && i > made - leave; i -= 2)
		assert_int_equal(mprotect(area + (i - 1) * 4096, 4096, PROT_NONE), 0);
	return area;
}

#endif
