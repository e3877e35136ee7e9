/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file that ends within a page, and three processes: one stores to pages near its end, one to its last page, each reads what it has
 * stored; one makes the kernel read these pages ahead into large folios, and drop them again. Nobody reads old bytes, and fsync(2) does not fail.
 *
 *   folios FILE SECONDS
 */
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define FOLIO 1024UL /* pages from here to the last could be one folio, or two */
#define LAST (FOLIO + 31)
#define SIZE (LAST * PAGE + 1234)
#define CHUNK (4 * PAGE)
#define AHEAD (12 * CHUNK) /* is read, of which the last is the first half of the folio: what follows comes with it */

static const char *path;
static int fd;
static char *map;

static void store_and_read(size_t at)
{
	char value = (char)(map[at] + 1), got;

	map[at] = value;
	CHECK(pread(fd, &got, 1, (off_t)at) == 1);
	CHECK(got == value);
}

static void change_pages(unsigned turn)
{
	store_and_read((LAST - 2 - turn % 14) * PAGE);
	CHECK(turn % 256 != 255 || fsync(fd) == 0);
}

static void change_last(unsigned turn)
{
	usleep(turn % 7 * 100);
	store_and_read(LAST * PAGE + turn % 1000);
}

/* The end of the file is written by itself: fsync would wait for the stores of the others. */
static void read_ahead(unsigned turn)
{
	static char buffer[CHUNK];
	size_t done = turn * CHUNK % AHEAD;

	CHECK(pread(fd, buffer, CHUNK, (off_t)((FOLIO + 16) * PAGE - AHEAD + done)) == (ssize_t)CHUNK);
	if (done + CHUNK == AHEAD) {
		syscall(SYS_sync_file_range, fd, (LAST - 5) * PAGE, 10 * PAGE, 7);
		posix_fadvise(fd, (FOLIO - 34) * PAGE, 70 * PAGE, POSIX_FADV_DONTNEED);
	}
}

static void (*const works[])(unsigned turn) = {change_pages, change_last, read_ahead};

static _Noreturn void run(void (*work)(unsigned turn), time_t end)
{
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (unsigned turn = 0; time(NULL) < end; turn++)
		work(turn);
	CHECK(fsync(fd) == 0);
	exit(0);
}

int main(int argc, char **argv)
{
	static char zeros[SIZE];
	int failed = 0, status;
	time_t end;

	if (argc < 3)
		return 2;
	path = argv[1];
	end = time(NULL) + atoi(argv[2]);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, zeros, SIZE) == (ssize_t)SIZE && fsync(fd) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			run(works[i], end);
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
