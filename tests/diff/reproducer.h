/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the C programs that the differential tester prints stand on: the calls of either implementation, the same
 * files, and functions that print what an operation did. Where the outputs of the two programs differ is the defect.
 *
 *     cc -DKERNEL -Itests/diff x.c -o on-kernel
 *     cc -Itests/diff -Iinclude x.c build/src/libfl_core.a -o on-faultline
 *     diff <(./on-kernel) <(./on-faultline)
 */
#ifndef DIFF_REPRODUCER_H
#define DIFF_REPRODUCER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef KERNEL
#define fl_mmap mmap
#define fl_munmap munmap
#define fl_mprotect mprotect
#define fl_mremap mremap
#define fl_madvise madvise
#define fl_msync msync
#define fl_mincore mincore
#define fl_mlock2 mlock2
#define fl_munlock munlock
#define fl_mseal(p, n, f) syscall(462, p, n, f)
#define fl_remap_file_pages remap_file_pages
#define fl_pread pread
#define fl_pwrite pwrite
#define fl_ftruncate ftruncate
#define fl_pin(p, n, f) ((void)(p), 0)
#define fl_unpin(p, n) ((void)(p), 0)
#define fl_exit() 0
#else
#include "faultline.h"
#endif

#define ZONE ((char *)0x200001000000)

static struct {
	_Atomic int step, alive;
	pid_t pid[8];
} * shared;
static int me, fd[16], channel[2];
static char *slot[8], *const raw, buffer[1 << 18];
static sigjmp_buf failed;
static uint64_t value;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	printf("SIG%s, code %d, at %p\n", sigabbrev_np(sig), info->si_code, info->si_addr);
	siglongjmp(failed, 1);
}

/* Runs a statement that loads or stores, and prints `value` or the signal. */
#define TRY(statement)                             \
	do {                                       \
		value = 0;                         \
		if (!sigsetjmp(failed, 1)) {       \
			statement;                 \
			printf("%016lx\n", value); \
		}                                  \
	} while (0)

/* ---- Turns: operation i belongs to process p, and every process goes through the same lines ---- */

static int my_turn(int i, int p)
{
	while (shared->step < i)
		usleep(100);
	return shared->step == i && (shared->alive & 1 << p ? p : 0) == me;
}

#define STEP(i, p, statement)                         \
	do {                                          \
		if (my_turn(i, p)) {                  \
			int who = me;                 \
                                                      \
			printf("%d: ", i);            \
			statement;                    \
			fflush(stdout);               \
			if (me == who)                \
				shared->step = i + 1; \
		}                                     \
	} while (0)

/* The step is the parent's; the child begins with the next. */
static inline void fork_process(int p)
{
	puts("fork");
	fflush(stdout);
	if (shared->alive & 1 << p)
		return;
	shared->pid[p] = fork();
	if (shared->pid[p] == 0)
		me = p;
	else
		shared->alive |= 1 << p;
}

static inline void end_process(void)
{
	puts("exit");
	fflush(stdout);
	if (!me)
		return;
	shared->alive &= ~(1 << me);
	shared->step++;
	exit(0);
}

/* ---- What operations print ---- */

static inline void call(long n)
{
	if (n == -1)
		printf("-1 %s\n", strerrorname_np(errno));
	else
		printf("%#lx\n", n);
}

/* Only addresses that the program has asked for are the same in two runs. */
static inline void mapped(int i, void *p)
{
	if (p == MAP_FAILED)
		return call(-1);
	if ((uintptr_t)p >> 40 == 0x20)
		printf("%p\n", p);
	else
		puts("elsewhere");
	slot[i] = p;
}

static inline uint64_t hash(const volatile char *p, size_t n)
{
	uint64_t h = 1;

	for (size_t i = 0; i + 8 <= n; i += 8)
		h = (h ^ *(const volatile uint64_t *)(p + i)) * 0x9e3779b97f4a7c15 % 0xffffffffffffffc5;
	return h;
}

static inline void fill(volatile char *p, size_t n, uint64_t start)
{
	for (size_t i = 0; i + 8 <= n; i += 8)
		*(volatile uint64_t *)(p + i) = start + i;
}

static inline void pattern(uint64_t seed, size_t n)
{
	for (size_t i = 0; i < n; i += 8)
		*(uint64_t *)(buffer + i) = (seed += 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
}

/* Every page that can be read in the range that the program maps at. */
static inline void sweep(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char *from[512], *to[512], line[512], r;
	int n = 0;

	puts("sweep");
	while (fgets(line, sizeof line, f) && n < 512)
		if (sscanf(line, "%p-%p %c", (void **)&from[n], (void **)&to[n], &r) == 3 && r == 'r' && (uintptr_t)from[n] >> 40 == 0x20)
			n++;
	fclose(f);
	for (int i = 0; i < n; i++)
		for (char *volatile p = from[i]; p < to[i]; p += 4096) {
			printf("  %p ", p);
			TRY(value = hash(p, 4096));
		}
}

static inline void check_file(int i)
{
	struct stat st = {0};
	uint64_t h = 0;
	ssize_t n;

	fstat(fd[i], &st);
	for (off_t at = 0; at < st.st_size && (n = fl_pread(fd[i], buffer, sizeof buffer, at)) > 0; at += n)
		h = h * 31 + hash(buffer, (size_t)n);
	printf("file %d: size %ld, hash %016lx\n", i, (long)st.st_size, h);
}

/* A pipe's write and read with mapped memory. */
static inline void send_bytes(char *p, size_t n)
{
	call(fl_pin(p, n, FL_PIN_READ) ? -1 : write(channel[1], p, n));
	fl_unpin(p, n);
	n = (size_t)read(channel[0], buffer, sizeof buffer);
}

static inline void receive_bytes(char *p, size_t n, uint64_t seed)
{
	pattern(seed, n);
	call(write(channel[1], buffer, n));
	call(fl_pin(p, n, FL_PIN_WRITE) ? -1 : read(channel[0], p, n));
	fl_unpin(p, n);
}

/* ---- The files ---- */

static inline void make_file(int i, const char *name, int flags, size_t size)
{
	int f = open(name, O_RDWR | O_CREAT | (size ? O_TRUNC : 0), 0600);

	for (size_t at = 0; at < size; at += sizeof buffer) {
		size_t n = size - at < sizeof buffer ? size - at : sizeof buffer;

		pattern((uint64_t)i << 32 | at, n);
		if (pwrite(f, buffer, n, (off_t)at) != (ssize_t)n)
			abort();
	}
	close(f);
	fd[i] = open(name, flags);
}

static inline void start(size_t budget)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	(void)budget;
	sigaction(SIGBUS, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);
	make_file(0, "a.tmp", O_RDWR, 384 * 4096);
	make_file(1, "b.tmp", O_RDWR, 301 * 4096);
	make_file(2, "c.tmp", O_RDONLY, 100 * 4096 + 1234);
	make_file(3, "a.tmp", O_RDONLY, 0);
	make_file(4, "a.tmp", O_WRONLY, 0);
	make_file(5, "d.tmp", O_RDONLY, 150 * 4096 + 4095);
	make_file(6, "e.tmp", O_RDWR | O_TRUNC, 0);
	make_file(7, "b.tmp", O_RDWR, 0);
	make_file(11, "s.tmp", O_RDWR, 1 << 20);
	make_file(12, "x.tmp", O_RDWR, 200 * 4096);
	make_file(13, "c.tmp", O_RDWR, 0);
	fd[14] = memfd_create("m", 0);
	for (size_t at = 0; at < 250 * 4096; at += 4096) {
		pattern(at, 4096);
		if (pwrite(fd[14], buffer, 4096, (off_t)at) != 4096)
			abort();
	}
	fd[15] = open("/dev/zero", O_RDWR);
	fd[8] = open(".", O_RDONLY);
	fd[10] = 999;
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared->alive = 1;
	if (ftruncate(fd[11], 512 << 20) || pipe2(channel, O_NONBLOCK))
		abort();
	fd[9] = channel[0];
#ifndef KERNEL
	struct fl_options o = {.size = sizeof o, .budget = budget};

	if (fl_init(&o))
		abort();
#endif
}

static inline void last_look(void)
{
	if (me)
		sweep();
	end_process();
}

/* The last line of the program: the pages and the files, with and without the mappings. */
static inline int finish(int i)
{
	for (int p = 7; p > 0; p--)
		STEP(i + 7 - p, p, last_look());
	sweep();
	while (wait(NULL) > 0)
		;
	call(fl_exit());
	for (int k = 0; k <= 2; k++)
		check_file(k);
	return 0;
}

#endif
