/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads into a shared mapping of a file, with O_DIRECT and without, and stores beside them, while another thread forks: in_flight DIRECTORY ROUNDS. What a
 * read has got when it returns is in memory, and what was stored stays. Then a read that comes to its end while a fork waits for the kernel to let go of
 * another page.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define PART (1UL << 20)
#define LEN (PART - 512) /* the last page of it is stored to as well, beyond that */
#define MAPPED (4 * PART)
#define SOURCE (16 * PART)
#define READS 4 /* after the fork */

struct reader {
	int fd;
	unsigned long first; /* of two parts of the mapping */
	_Atomic unsigned long done;
};

static struct reader readers[2] = {{.first = 0}, {.first = 2}};
static char *map;
static _Atomic bool forked, ended;

static uint64_t word_at(uint64_t at)
{
	return (at + 1) * 0x9e3779b97f4a7c15ULL;
}

static int open_again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, flags);
}

static int make_file(const char *dir, size_t len)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/in-flight-XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0 || unlink(path) || ftruncate(fd, (off_t)len))
		exit(2);
	return fd;
}

static void make_source(const char *dir)
{
	uint64_t page[PAGE / 8];
	int fd = make_file(dir, SOURCE);

	for (uint64_t at = 0; at < SOURCE; at += PAGE) {
		for (size_t i = 0; i < PAGE / 8; i++)
			page[i] = word_at(at + i * 8);
		if (pwrite(fd, page, PAGE, (off_t)at) != (ssize_t)PAGE)
			exit(2);
	}
	fsync(fd);
	readers[0].fd = open_again(fd, O_RDONLY | O_DIRECT);
	readers[1].fd = open_again(fd, O_RDONLY);
	close(fd);
}

static bool is_there(const char *at, uint64_t from)
{
	for (size_t i = 0; i < LEN; i += 8)
		if (*(const uint64_t *)(at + i) != word_at(from + i))
			return false;
	return true;
}

static void *read_on(void *arg)
{
	struct reader *r = arg;

	for (unsigned long n = 0, last = READS; n < last; n++) {
		uint64_t from = n * 7 % (SOURCE / PART) * PART;
		char *to = map + (r->first + n % 2) * PART;

		if (!atomic_load(&forked))
			last = n + READS;
		if (pread(r->fd, to, LEN, (off_t)from) != (ssize_t)LEN) {
			fprintf(stderr, "in_flight: read %lu stops short: %m\n", n);
			exit(1);
		}
		if (!is_there(to, from)) {
			fprintf(stderr, "in_flight: read %lu has put other bytes there\n", n);
			exit(1);
		}
		atomic_store(&r->done, n + 1);
	}
	return NULL;
}

static void *count_up(void *unused)
{
	for (unsigned long n = 1; !atomic_load(&ended); n++)
		for (size_t at = PART - 8; at < MAPPED; at += PART) {
			volatile unsigned long *word = (volatile unsigned long *)(map + at);

			if (n > 1 && *word != n - 1) {
				fprintf(stderr, "in_flight: %lu was stored, and is %lu\n", n - 1, *word);
				exit(1);
			}
			*word = n;
		}
	return unused;
}

static void map_file(int fd)
{
	map = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		exit(2);
}

/* Once enough is under way. */
static int fork_and_wait(unsigned long round)
{
	int status = -1;
	pid_t pid;

	while (atomic_load(&readers[0].done) < 2 || atomic_load(&readers[1].done) < 2)
		usleep(100);
	usleep(round * 137 % 1000);
	pid = fork();
	if (!pid)
		_exit(0);
	atomic_store(&forked, true);
	waitpid(pid, &status, 0);
	return status;
}

/* The file is another each time, as it is not mapped in the same way after a fork. With a second mapping, or without. */
static int run(const char *dir, unsigned long round)
{
	int fd = make_file(dir, MAPPED), status;
	void *second = NULL;
	pthread_t threads[3];

	map_file(fd);
	if (round & 1)
		second = mmap(NULL, PART, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	atomic_store(&forked, false);
	atomic_store(&ended, false);
	for (int i = 0; i < 2; i++) {
		atomic_store(&readers[i].done, 0);
		pthread_create(&threads[i], NULL, read_on, &readers[i]);
	}
	pthread_create(&threads[2], NULL, count_up, NULL);
	status = fork_and_wait(round);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&ended, true);
	pthread_join(threads[2], NULL);
	munmap(map, MAPPED);
	if (second)
		munmap(second, PART);
	return status;
}

/* By an instruction of the program's own: the pipe gets the page itself, and has hold of it until it is read. */
static long hold_page(int pipe, void *page)
{
	struct iovec v = {page, PAGE};
	register long flags __asm__("r10") = 0;
	long n;

	__asm__ volatile("syscall" : "=a"(n) : "a"(SYS_vmsplice), "D"(pipe), "S"(&v), "d"(1), "r"(flags) : "rcx", "r11", "memory");
	return n;
}

static void *read_one(void *arg)
{
	return read(*(int *)arg, map + PART, 8) == 8 ? NULL : arg;
}

static void *fork_one(void *arg)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		_exit(0);
	return waitpid(pid, &status, 0) == pid && !status ? NULL : arg;
}

static int read_while_fork_waits(const char *dir)
{
	int fd = make_file(dir, MAPPED), held[2], bytes[2];
	char page[PAGE];
	pthread_t threads[2];
	void *failed[2];

	map_file(fd);
	if (mmap(NULL, PART, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED || pipe(held) || pipe(bytes))
		exit(2);
	map[0] = 1;
	if (hold_page(held[1], map) != (long)PAGE)
		exit(2);
	pthread_create(&threads[0], NULL, read_one, &bytes[0]);
	usleep(100000);
	pthread_create(&threads[1], NULL, fork_one, &bytes[0]);
	usleep(200000);
	if (write(bytes[1], "the rest", 8) != 8)
		exit(2);
	usleep(200000);
	if (read(held[0], page, PAGE) != (ssize_t)PAGE || page[0] != 1)
		exit(2);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], &failed[i]);
	if (failed[0] || failed[1] || memcmp(map + PART, "the rest", 8)) {
		fprintf(stderr, "in_flight: a read fails while a fork waits\n");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

	if (!rounds)
		return 2;
	make_source(argv[1]);
	if (readers[0].fd < 0)
		return 0; /* no O_DIRECT here */
	for (unsigned long i = 0; i < rounds; i++)
		if (run(argv[1], i))
			return 1;
	return read_while_fork_waits(argv[1]);
}
