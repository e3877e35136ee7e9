/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that read pages of a private mapping while another thread stores to them for the first time: copies DIRECTORY CALLS. Each call gets all, and
 * right but for the byte that is stored to.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES (32UL << 8)
#define PART 16 /* pages that are written and stored to together */
#define STORED 8

static char *map;
static _Atomic unsigned long turn;
static _Atomic bool ended;

static size_t first_of(unsigned long n)
{
	return n * 37 % (PAGES - PART);
}

static void *store(void *unused)
{
	for (unsigned long seen = 0; !atomic_load(&ended);) {
		unsigned long now = atomic_load(&turn);

		for (size_t i = 0; now != seen && i < PART; i++)
			((volatile char *)map)[(first_of(now) + i) * PAGE + STORED] = 1;
		seen = now;
	}
	return unused;
}

static void make_file(const char *dir)
{
	static char page[PAGE];
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/copies-XXXXXX", dir);
	fd = mkstemp(path);
	for (size_t i = 0; i < PAGES; i++) {
		memset(page, (int)i, PAGE);
		if (write(fd, page, PAGE) != (ssize_t)PAGE)
			exit(2);
	}
	unlink(path);
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		exit(2);
	close(fd);
}

/* By one buffer, or by one for each half. */
static ssize_t write_part(int fd, char *from, size_t len, bool vector)
{
	struct iovec halves[] = {{from, len / 2}, {from + len / 2, len / 2}};

	return vector ? writev(fd, halves, 2) : write(fd, from, len);
}

/* Datagrams, each of which comes whole. */
static bool make_sockets(int ends[2])
{
	int room = 4 * PART * PAGE;

	return !socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) && !setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

static bool is_right(const char *got, size_t page, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (got[i] != (char)(page + i / PAGE) && i % PAGE != STORED)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	static char got[PART * PAGE];
	unsigned long calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, wrong = 0;
	pthread_t thread;
	int ends[2][2], *to;

	if (!calls || pipe(ends[0]) || fcntl(ends[0][1], F_SETPIPE_SZ, 2 * PART * PAGE) < 0 || !make_sockets(ends[1]))
		return 2;
	make_file(argv[1]);
	pthread_create(&thread, NULL, store, NULL);
	for (unsigned long n = 1; n <= calls; n++) {
		size_t first = first_of(n);

		atomic_store(&turn, n);
		to = ends[n % 4 == 3];
		if (write_part(to[1], map + first * PAGE, sizeof got, n & 1) != sizeof got) {
			fprintf(stderr, "copies: call %lu stops short: %m\n", n);
			return 1;
		}
		if (read(to[0], got, sizeof got) != sizeof got) {
			fprintf(stderr, "copies: call %lu was divided\n", n);
			return 1;
		}
		wrong += !is_right(got, first, sizeof got);
		if (n % 500 == 0)
			madvise(map, PAGES * PAGE, MADV_DONTNEED);
	}
	atomic_store(&ended, true);
	pthread_join(thread, NULL);
	if (wrong)
		fprintf(stderr, "copies: %lu calls wrote other bytes\n", wrong);
	return wrong > 0;
}
