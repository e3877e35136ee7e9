/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages under threads: scans, which bring them in, beside random reads, and all that takes them apart - pins, advice on parts, locks, stores
 * that are refused, parts that are unmapped, forks. The file is read-only and known, so every word that is read is checked; and the kernel is
 * asked how much memory the process has. FAULTLINE_STRESS_SECONDS (6), FAULTLINE_STRESS_SEED (of the clock).
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lib/memory.h"
#include "faultline.h"

#define PAGE 4096UL
#define MIB (1UL << 20)
#define BUDGET (128 * MIB)
#define PAGES (448 * MIB / PAGE + 3)
#define ORDER (224 * MIB / PAGE)  /* pages from here on have advice for all of them at once: more than memory can hold */
#define STORED (352 * MIB / PAGE) /* pages from here on are mapped by the thread that stores: a mapping has no huge pages after that */
#define WINDOW (384 * MIB / PAGE) /* pages from here on by the thread that unmaps */
#define SLACK (4 * MIB)           /* stacks, and what the C library allocates for threads */

static char *map;
static int file;
static _Atomic bool stop;
static _Atomic uint64_t reads, pins, refused, remaps;
static _Thread_local sigjmp_buf on_segv;

static uint64_t word_of(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull;
}

static void die(const char *what, uint64_t page, uint64_t value)
{
	fprintf(stderr, "stress: huge: %s: page %llu has %llx\n", what, (unsigned long long)page, (unsigned long long)value);
	abort();
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1dull >> 16;
}

static void check_at(const char *what, const char *base, uint64_t first, uint64_t page)
{
	uint64_t word = *(volatile const uint64_t *)(base + (page - first) * PAGE + 8);

	if (word != word_of(page))
		die(what, page, word);
	atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
}

static void scan(uint64_t *x)
{
	uint64_t page = next(x) % STORED, end = page + next(x) % (48 * MIB / PAGE);

	if (next(x) % 2)
		page = page / 512 * 512;
	for (; page < end && page < STORED && !stop; page++)
		check_at("a scan", map, 0, page);
}

static void read_somewhere(uint64_t *x)
{
	check_at("a read", map, 0, next(x) % STORED);
}

/* Asked for together, some of them twice; and read at once or never. */
static void prefetch_scattered(uint64_t *x)
{
	struct fl_range r[48];
	uint64_t page[48], n = 1 + next(x) % 48;

	for (uint64_t i = 0; i < n; i++) {
		page[i] = i % 8 == 7 ? page[i - 1] : next(x) % (STORED - 4);
		r[i] = (struct fl_range){.addr = map + page[i] * PAGE + 8, .length = 1 + next(x) % (3 * PAGE)};
	}
	fl_prefetch(r, n);
	for (uint64_t i = 0; i < n && next(x) % 8; i++)
		check_at("what was asked for", map, 0, page[i]);
}

static void pin(uint64_t *x)
{
	uint64_t page = next(x) % (STORED - 4), n = 1 + next(x) % 4, word = 0;
	int ends[2];

	if (fl_pin(map + page * PAGE, n * PAGE, 0))
		return; /* too much is pinned or locked */
	if (pipe(ends) || write(ends[1], map + page * PAGE + 8, 8) != 8 || read(ends[0], &word, 8) != 8 || word != word_of(page))
		die("a call", page, word);
	close(ends[0]);
	close(ends[1]);
	if (next(x) % 2)
		usleep(1000);
	if (fl_unpin(map + page * PAGE, n * PAGE))
		die("unpin", page, n);
	atomic_fetch_add(&pins, 1);
}

/* Advice that stays divides mappings: always at the same places, so that there are not more and more. */
static void advise(uint64_t *x)
{
	static const int leaving[] = {MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED, MADV_DONTNEED, MADV_POPULATE_READ};
	static const int staying[] = {MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL, MADV_NORMAL};
	uint64_t page = next(x) % (ORDER - 3000), n = 1 + next(x) % 2000, part = next(x) % 4 * 7777 + 100;

	switch (next(x) % 9) {
	case 0:
		fl_madvise(map + part * PAGE, 5000 * PAGE, staying[next(x) % 4]);
		break;
	case 1:
		if (!fl_mlock(map + part * PAGE, 700 * PAGE))
			usleep(500);
		fl_munlock(map + part * PAGE, 700 * PAGE);
		break;
	case 2:
		fl_madvise(map + ORDER * PAGE, (STORED - ORDER) * PAGE, next(x) % 4 ? MADV_SEQUENTIAL : MADV_NORMAL);
		break;
	default:
		fl_madvise(map + page * PAGE, n * PAGE, leaving[next(x) % 5]);
	}
	usleep(200);
}

static void on_signal(int sig)
{
	(void)sig;
	siglongjmp(on_segv, 1);
}

static char *map_apart(uint64_t page, uint64_t end)
{
	char *p = fl_mmap(NULL, (end - page) * PAGE, PROT_READ, MAP_SHARED, file, (off_t)(page * PAGE));

	if (p == MAP_FAILED)
		die("mmap", page, end);
	return p;
}

static void store(uint64_t *x)
{
	uint64_t n = WINDOW - STORED, page = next(x) % n;
	char *p = map_apart(STORED, WINDOW);

	for (uint64_t i = 0; i < n && !stop; i++)
		check_at("before a store", p, STORED, STORED + i);
	if (sigsetjmp(on_segv, 1) == 0) {
		*(volatile uint64_t *)(p + page * PAGE + 8) = 1;
		die("a store went through", STORED + page, 1);
	}
	for (uint64_t i = 0; i < n && !stop; i += 7)
		check_at("after a store", p, STORED, STORED + i);
	if (fl_munmap(p, n * PAGE))
		die("munmap", 0, n);
	atomic_fetch_add(&refused, 1);
}

/* Unmaps a part in the middle, checks both ends, and maps it all anew. */
static void unmap(uint64_t *x)
{
	uint64_t n = PAGES - WINDOW, from = 1 + next(x) % (n / 2), to = from + 1 + next(x) % (n / 2 - 2);
	char *w = map_apart(WINDOW, PAGES);

	for (uint64_t i = 0; i < n && !stop; i++)
		check_at("the window", w, WINDOW, WINDOW + i);
	if (fl_munmap(w + from * PAGE, (to - from) * PAGE))
		die("munmap", from, to);
	for (uint64_t i = 0; i < n && !stop; i += i < from ? 1 : 13)
		if (i < from || i >= to)
			check_at("beside a hole", w, WINDOW, WINDOW + i);
	if (fl_munmap(w, n * PAGE))
		die("munmap", 0, n);
	atomic_fetch_add(&remaps, 1);
}

typedef void (*work_fn)(uint64_t *x);
static const work_fn work[] = {scan, scan,   read_somewhere, read_somewhere, prefetch_scattered, prefetch_scattered,
			       pin,  advise, store,          unmap};
#define THREADS (sizeof work / sizeof *work)
static uint64_t seed;

static void *run(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	uint64_t x = seed + me * 7919 + 1;

	while (!stop)
		work[me](&x);
	return NULL;
}

static void child(uint64_t x)
{
	for (int i = 0; i < 100; i++)
		read_somewhere(&x);
	prefetch_scattered(&x);
	for (uint64_t page = next(&x) % (STORED - 4096), end = page + 4096; page < end; page++)
		check_at("a child's scan", map, 0, page);
}

static size_t most_huge;

static unsigned watch_for(unsigned seconds, size_t before)
{
	time_t end = time(NULL) + seconds;
	unsigned forks = 0;

	for (unsigned turn = 0; time(NULL) < end; turn++) {
		size_t now = memory_of("Anonymous") - before;
		int status = 0;
		pid_t pid;

		if (now > BUDGET + SLACK)
			die("too much memory", 0, now);
		now = memory_of("AnonHugePages");
		most_huge = now > most_huge ? now : most_huge;
		usleep(10000);
		if (turn % 32)
			continue;
		pid = fork();
		if (pid == 0) {
			child(seed + turn);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			die("a child failed", turn, (uint64_t)status);
		forks++;
	}
	return forks;
}

static void make_file(void)
{
	static char block[MIB];

	for (uint64_t page = 0; page < PAGES;) {
		size_t n = 0;

		for (; n < sizeof block && page < PAGES; n += PAGE, page++)
			memcpy(block + n + 8, &(uint64_t){word_of(page)}, 8);
		if (write(file, block, n) != (ssize_t)n)
			abort();
	}
}

int main(void)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET, .direct = FL_DIRECT_ON};
	const char *s = getenv("FAULTLINE_STRESS_SECONDS"), *number = getenv("FAULTLINE_STRESS_SEED");
	pthread_t thread[THREADS];
	size_t before;
	unsigned forks;
	bool possible;

	seed = number ? strtoull(number, NULL, 10) : (uint64_t)time(NULL);
	file = open("faultline-huge.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
	make_file();
	close(file);
	file = open("faultline-huge.tmp", O_RDONLY);
	possible = huge_pages_are_possible("faultline-huge.tmp");
	unlink("faultline-huge.tmp");
	signal(SIGSEGV, on_signal);
	before = memory_of("Anonymous");
	if (fl_init(&o)) {
		perror("fl_init");
		return 1;
	}
	map = map_apart(0, STORED);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, run, (void *)i);
	forks = watch_for(s ? (unsigned)atoi(s) : 6, before);
	stop = true;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	if (possible && !most_huge)
		die("no huge page was ever seen", 0, 0);
	printf("stress: seed %llu: %llu reads, %llu pins, %llu stores refused, %llu times unmapped, %u forks; up to %zu MiB in huge "
	       "pages\n",
	       (unsigned long long)seed, (unsigned long long)reads, (unsigned long long)pins, (unsigned long long)refused,
	       (unsigned long long)remaps, forks, most_huge / MIB);
	return 0;
}
