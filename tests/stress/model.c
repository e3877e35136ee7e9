/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads read and write a file many times the budget through shared mappings and check every word against a model.
 *
 * Each word belongs to the thread its page number gives it, and holds (page, counter, check): its owner knows the last
 * counter it stored; others may see any counter from before, but never a torn word, a zero, or another page's. Threads
 * also sync, unmap and map again, write through the descriptor, and change advice. At the end the file is read with
 * read(2) and compared word for word.
 *
 * FAULTLINE_STRESS_SECONDS (6), _THREADS (8), _BUDGET (1M..), _SEED, _ALONE; see main().
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "faultline.h"

#define PAGE 4096UL
#define WORDS_PER_PAGE 512
#define SLOTS 4 /* words of a page that are used: first, last, and two between */

static uint64_t pages, budget;
static int nthreads, fd;
static volatile uint64_t *shared_map; /* one that stays */
static _Atomic bool stop;
static _Atomic uint64_t operations;
static uint32_t *model; /* counter of each slot; written by its owner alone */

static unsigned env_number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static size_t word_of(uint64_t page, unsigned slot)
{
	static const unsigned place[SLOTS] = {0, 100, 300, WORDS_PER_PAGE - 1};

	return page * WORDS_PER_PAGE + place[slot];
}

static uint64_t encode(uint64_t page, unsigned slot, uint32_t counter)
{
	uint64_t v = (page * SLOTS + slot) << 32 | counter;

	return v ^ 0xa5a5a5a500000000ull;
}

static void die(const char *what, uint64_t page, unsigned slot, uint64_t value)
{
	uint64_t v = value ^ 0xa5a5a5a500000000ull;

	fprintf(stderr, "stress: %s: page %llu slot %u: found %016llx (page %llu, counter %u), model %u\n", what, (unsigned long long)page,
		slot, (unsigned long long)value, (unsigned long long)((v >> 32) / SLOTS), (uint32_t)v, model[page * SLOTS + slot]);
	abort();
}

/* Another thread's word: right page, and not from the future of what its owner wrote. */
static void check_foreign(volatile uint64_t *map, uint64_t page, unsigned slot)
{
	uint64_t v = __atomic_load_n(&map[word_of(page, slot)], __ATOMIC_RELAXED);

	if ((v ^ encode(page, slot, 0)) >> 32)
		die("a word that is not this page's", page, slot, v);
}

static void check_own(volatile uint64_t *map, uint64_t page, unsigned slot)
{
	uint64_t v = __atomic_load_n(&map[word_of(page, slot)], __ATOMIC_RELAXED);

	if (v != encode(page, slot, model[page * SLOTS + slot]))
		die("a lost store", page, slot, v);
}

static void store_own(volatile uint64_t *map, uint64_t page, unsigned slot)
{
	uint32_t next = model[page * SLOTS + slot] + 1;

	model[page * SLOTS + slot] = next;
	__atomic_store_n(&map[word_of(page, slot)], encode(page, slot, next), __ATOMIC_RELAXED);
}

static void write_own(uint64_t page, unsigned slot)
{
	uint32_t next = model[page * SLOTS + slot] + 1;
	uint64_t v = encode(page, slot, next);

	model[page * SLOTS + slot] = next;
	if (fl_pwrite(fd, &v, 8, (off_t)word_of(page, slot) * 8) != 8)
		die("fl_pwrite failed", page, slot, 0);
}

static void read_own(uint64_t page, unsigned slot)
{
	uint64_t v = 0;

	if (fl_pread(fd, &v, 8, (off_t)word_of(page, slot) * 8) != 8 || v != encode(page, slot, model[page * SLOTS + slot]))
		die("fl_pread sees something else", page, slot, v);
}

struct worker {
	pthread_t thread;
	uint64_t seed;
	int id;
	volatile uint64_t *map; /* the thread's own, remade now and then */
};

/* With FAULTLINE_STRESS_ALONE all threads share one mapping, and the file stays on the frames of such a file. */
static bool alone;

static void remap(struct worker *w)
{
	if (alone) {
		w->map = shared_map;
		return;
	}
	if (w->map && fl_munmap((void *)w->map, pages * PAGE))
		die("fl_munmap", 0, 0, 0);
	w->map = fl_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w->map == MAP_FAILED)
		die("fl_mmap", 0, 0, (uint64_t)errno);
}

static void sync_some(volatile uint64_t *map, uint64_t page, uint64_t r)
{
	uint64_t n = 1 + r % 64;

	n = n < pages - page ? n : pages - page;
	if (fl_msync((char *)map + page * PAGE, n * PAGE, r & 64 ? MS_SYNC : MS_ASYNC))
		die("fl_msync", page, 0, (uint64_t)errno);
}

/* Reads that have a direction, for what goes ahead of them: up, down, in strides; and what was asked for before. */
static void stream(struct worker *w, uint64_t page, uint64_t r)
{
	static const int64_t steps[] = {1, 1, -1, 7, -5};
	int64_t step = steps[r % 5], at = (int64_t)page;
	uint64_t n = 16 + r / 8 % 200;

	if (r / 8 % 16 == 0)
		fl_madvise((char *)w->map + page * PAGE, (n < pages - page ? n : pages - page) * PAGE, MADV_WILLNEED);
	for (; n && at >= 0 && (uint64_t)at < pages; n--, at += step)
		if ((uint64_t)at % (uint64_t)nthreads == (uint64_t)w->id)
			check_own(w->map, (uint64_t)at, (unsigned)(r >> 30) % SLOTS);
		else
			check_foreign(w->map, (uint64_t)at, (unsigned)(r >> 30) % SLOTS);
}

/* Pages all over both mappings, some of them twice, are asked for together, and then looked at. */
static void prefetch_scattered(struct worker *w, uint64_t r)
{
	struct fl_range ranges[48];
	uint64_t page[48], n = 2 + r % 47, seed = r | 1;

	for (uint64_t i = 0; i < n; i++) {
		volatile uint64_t *map = random_next(&seed) % 4 ? w->map : shared_map;

		page[i] = i % 8 == 7 ? page[i - 1] : random_next(&seed) % pages;
		ranges[i] = (struct fl_range){.addr = (char *)map + page[i] * PAGE, .length = 1 + seed % PAGE};
	}
	fl_prefetch(ranges, n);
	for (uint64_t i = 0; i < n; i++)
		check_foreign(w->map, page[i], (unsigned)(i % SLOTS));
}

static void rare(struct worker *w, uint64_t page, uint64_t r)
{
	switch (r % 8) {
	case 0:
		remap(w);
		break;
	case 1:
		sync_some(w->map, page, r / 6);
		break;
	case 2:
		fl_madvise((char *)w->map + page * PAGE, PAGE, MADV_DONTNEED);
		break;
	case 3:
		fl_madvise((void *)w->map, pages * PAGE, r & 64 ? MADV_RANDOM : MADV_NORMAL);
		break;
	case 4:
		prefetch_scattered(w, r / 8);
		break;
	default:
		stream(w, page, r / 8);
	}
}

static void one_step(struct worker *w)
{
	uint64_t r = random_next(&w->seed), page = r % pages;
	unsigned slot = (unsigned)(r >> 40) % SLOTS, what = (unsigned)(r >> 48) % 1024;
	volatile uint64_t *map = what & 1 ? w->map : shared_map;

	if (page % (uint64_t)nthreads != (uint64_t)w->id && what < 700)
		page -= page % (uint64_t)nthreads - (uint64_t)w->id;
	if (page >= pages)
		return;
	if (page % (uint64_t)nthreads != (uint64_t)w->id)
		check_foreign(map, page, slot);
	else if (what < 8)
		rare(w, page, r >> 20);
	else if (what < 16)
		write_own(page, slot);
	else if (what < 24)
		read_own(page, slot);
	else if (what < 500)
		store_own(map, page, slot);
	else
		check_own(map, page, slot);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t n = 0;

	remap(w);
	while (!stop) {
		one_step(w);
		n++;
	}
	if (!alone)
		fl_munmap((void *)w->map, pages * PAGE);
	atomic_fetch_add(&operations, n);
	return NULL;
}

static void make_file(const char *path)
{
	uint64_t page[WORDS_PER_PAGE];

	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	for (uint64_t p = 0; p < pages; p++) {
		memset(page, 0x11, sizeof page);
		for (unsigned s = 0; s < SLOTS; s++)
			page[word_of(0, s)] = encode(p, s, 0);
		if (write(fd, page, sizeof page) != sizeof page)
			abort();
	}
	unlink(path);
}

static void check_file(void)
{
	uint64_t page[WORDS_PER_PAGE];

	for (uint64_t p = 0; p < pages; p++) {
		if (pread(fd, page, sizeof page, (off_t)(p * PAGE)) != sizeof page)
			die("the file is short", p, 0, 0);
		for (unsigned s = 0; s < SLOTS; s++)
			if (page[word_of(0, s)] != encode(p, s, model[p * SLOTS + s]))
				die("the file lost a store", p, s, page[word_of(0, s)]);
		if (page[50] != 0x1111111111111111ull)
			die("a word nobody wrote has changed", p, 0, page[50]);
	}
}

static void start(void)
{
	struct fl_options o = {.size = sizeof o, .budget = budget};

	if (fl_init(&o)) {
		perror("fl_init");
		exit(1);
	}
	shared_map = fl_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared_map == MAP_FAILED)
		abort();
}

int main(void)
{
	unsigned seconds = env_number("FAULTLINE_STRESS_SECONDS", 6), seed = env_number("FAULTLINE_STRESS_SEED", (unsigned)time(NULL));
	struct fl_stats st = {.size = sizeof st};
	struct worker *w;

	nthreads = (int)env_number("FAULTLINE_STRESS_THREADS", 8);
	budget = env_number("FAULTLINE_STRESS_BUDGET", 1 << 20);
	alone = env_number("FAULTLINE_STRESS_ALONE", 0);
	pages = budget * env_number("FAULTLINE_STRESS_TIMES", 16) / PAGE;
	model = calloc(pages * SLOTS, sizeof *model);
	w = calloc((size_t)nthreads, sizeof *w);
	make_file("faultline-stress.tmp");
	start();
	printf("stress: seed %u, %d threads, %llu pages, budget %llu, %u s\n", seed, nthreads, (unsigned long long)pages,
	       (unsigned long long)budget, seconds);
	for (int i = 0; i < nthreads; i++) {
		w[i].id = i;
		w[i].seed = seed * 1000003ull + (uint64_t)i * 7919 + 1;
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	sleep(seconds);
	stop = true;
	for (int i = 0; i < nthreads; i++)
		pthread_join(w[i].thread, NULL);
	free(w);
	fl_stats(&st);
	if (fl_munmap((void *)shared_map, pages * PAGE) || fl_exit())
		die("the end", 0, 0, (uint64_t)errno);
	check_file();
	printf("stress: %llu operations, %llu faults, %llu evictions, %llu write-backs, peak %llu of %llu\n",
	       (unsigned long long)operations, (unsigned long long)st.faults, (unsigned long long)st.evictions,
	       (unsigned long long)st.writebacks, (unsigned long long)st.peak_bytes, (unsigned long long)st.budget_bytes);
	return st.peak_bytes > st.budget_bytes;
}
