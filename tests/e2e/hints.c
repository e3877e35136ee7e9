/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for ahead comes in by itself, whoever asks and whatever becomes of them; and what is asked for is a hint, so nothing else changes. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define PAGES (SIZE / PAGE)
#define APART 13
#define ASKED 100
#define THREADS 4
#define TURNS 1500

static char *map;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15;
	return x ^ x >> 29;
}

static void check_page(uint64_t page)
{
	const uint64_t *words = (const void *)(map + page * PAGE);

	CHECK(words[0] == mix(page) && words[PAGE / 8 - 1] == mix(page) + 1);
}

static int make_file(void)
{
	static uint64_t page[PAGE / 8];
	char name[] = "hints.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name));
	for (uint64_t i = 0; i < PAGES; i++) {
		page[0] = mix(i);
		page[PAGE / 8 - 1] = mix(i) + 1;
		CHECK(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
	}
	CHECK(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	return fd;
}

static void ask(uint64_t page, uint64_t pages)
{
	CHECK(!madvise(map + page * PAGE, pages * PAGE, MADV_WILLNEED));
}

/* No access brings it in: that who asks again sees what has come is all that helps, where nobody works meanwhile. */
static void come_by_themselves(void)
{
	static unsigned char vec[PAGES];
	size_t in_memory = 0;

	CHECK(!madvise(map, SIZE, MADV_RANDOM));
	for (unsigned tries = 0; in_memory < ASKED && tries < 60000; tries++) {
		for (uint64_t i = 0; i < ASKED; i++)
			ask(i * APART, 1);
		CHECK(!mincore(map, SIZE, vec));
		in_memory = 0;
		for (uint64_t i = 0; i < ASKED; i++)
			in_memory += vec[i * APART] & 1;
		usleep(1000);
	}
	CHECK(in_memory == ASKED);
	for (uint64_t i = 0; i < ASKED; i++)
		check_page(i * APART);
}

/* Each has words of its own to store to, in the middle of pages. */
static void *ask_and_look(void *arg)
{
	uint64_t thread = (uintptr_t)arg, x = thread + 1;

	for (uint64_t turn = 1; turn <= TURNS; turn++) {
		uint64_t page = (x = mix(x + turn)) % (PAGES - 40), *own = (void *)(map + page * PAGE + 64 + thread * 8);

		ask(page, 1 + x / PAGES % 40);
		if (turn % 3 == 0)
			check_page(page + x / PAGES % 40);
		if (turn % 7 == 0)
			*own = turn;
		if (turn % 50 == 0)
			CHECK(!madvise(map + page * PAGE, 40 * PAGE, turn % 100 ? MADV_PAGEOUT : MADV_DONTNEED));
		if (turn % 190 == 0)
			CHECK(!msync(map, SIZE, turn % 380 ? MS_SYNC : MS_ASYNC));
	}
	return NULL;
}

/* One that ends, or is ended, while all of its questions are open. */
static void ask_and_end(bool killed)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		for (uint64_t i = 0; i < ASKED; i++)
			ask(mix(i) % PAGES, 1);
		if (killed)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : !status);
}

static void beside_each_other(void)
{
	pthread_t thread[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&thread[i], NULL, ask_and_look, (void *)i));
	for (int i = 0; i < 6; i++)
		ask_and_end(i % 2);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(thread[i], NULL));
	for (uint64_t i = 0; i < PAGES; i++)
		check_page(i);
}

int main(void)
{
	int fd = make_file();

	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	come_by_themselves();
	beside_each_other();
	ask(0, PAGES);
	CHECK(!munmap(map, SIZE));
	map = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	ask(0, PAGES);
	for (uint64_t i = 0; i < PAGES; i++)
		check_page(i);
	return 0;
}
