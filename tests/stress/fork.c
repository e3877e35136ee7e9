/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork while threads fault: a process reads a file through a shared and stores into a private mapping from several
 * threads, with the budget full, and forks all the while. Each child checks both mappings, stores, forks once more,
 * and ends; the parent's threads check every word they read. FAULTLINE_STRESS_SECONDS (6).
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faultline.h"

#define PAGES 2048UL
#define WORDS 512UL
#define THREADS 4

static volatile uint64_t *shared_map, *private_map;
static _Atomic bool stop;
static _Atomic uint32_t stored[PAGES]; /* what the private page's word 7 holds; written by its thread alone */

static uint64_t pattern(uint64_t page, uint64_t word)
{
	return (page * WORDS + word + 1) * 0x9e3779b97f4a7c15ull;
}

static void die(const char *what, uint64_t page, uint64_t value)
{
	fprintf(stderr, "stress: fork: %s: page %llu has %llx\n", what, (unsigned long long)page, (unsigned long long)value);
	abort();
}

static void check_page(uint64_t page)
{
	if (shared_map[page * WORDS + 3] != pattern(page, 3))
		die("shared", page, shared_map[page * WORDS + 3]);
	if (private_map[page * WORDS + 3] != pattern(page, 3))
		die("private", page, private_map[page * WORDS + 3]);
}

static void *work(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, x = me * 7919 + 12345;

	while (!stop) {
		uint64_t page;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		page = x % (PAGES / THREADS) * THREADS + me;
		check_page(x >> 32 & 1 ? page : (x >> 33) % PAGES);
		if (private_map[page * WORDS + 7] != (stored[page] ? stored[page] : pattern(page, 7)))
			die("a private store is lost", page, private_map[page * WORDS + 7]);
		if (x >> 60 & 1) {
			private_map[page * WORDS + 7] = stored[page] + 1;
			stored[page]++;
		}
	}
	return NULL;
}

static void child(int depth, uint64_t seed)
{
	for (uint64_t i = 0; i < 300; i++)
		check_page((seed + i * 17) % PAGES);
	private_map[seed % PAGES * WORDS + 9] = seed;
	if (depth && fork() == 0) {
		child(depth - 1, seed + 1);
		_exit(0);
	} else if (depth) {
		int status;

		wait(&status);
		if (status)
			_exit(1);
	}
	if (private_map[seed % PAGES * WORDS + 9] != seed)
		die("a child's own store", seed % PAGES, 0);
}

static unsigned fork_for(unsigned seconds)
{
	time_t end = time(NULL) + seconds;
	unsigned n = 0;

	for (; time(NULL) < end; n++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			child(1, n);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			die("a child failed", n, (uint64_t)status);
	}
	return n;
}

static void make_file(int fd)
{
	uint64_t page[WORDS];

	for (uint64_t p = 0; p < PAGES; p++) {
		for (uint64_t i = 0; i < WORDS; i++)
			page[i] = pattern(p, i);
		if (write(fd, page, sizeof page) != sizeof page)
			abort();
	}
}

int main(void)
{
	struct fl_options o = {.size = sizeof o, .budget = 2 << 20};
	unsigned seconds = getenv("FAULTLINE_STRESS_SECONDS") ? (unsigned)atoi(getenv("FAULTLINE_STRESS_SECONDS")) : 6;
	int fd = open("faultline-fork.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);
	pthread_t thread[THREADS];

	unlink("faultline-fork.tmp");
	make_file(fd);
	if (fl_init(&o)) {
		perror("fl_init");
		return 1;
	}
	shared_map = fl_mmap(NULL, PAGES * 4096, PROT_READ, MAP_SHARED, fd, 0);
	private_map = fl_mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)i);
	printf("stress: %u forks\n", fork_for(seconds));
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
