/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads with O_DIRECT, from a file that is mapped into a mapping: direct READS. So many of them come to an end though another thread truncates away what
 * they read into, and more write to the file and touch its pages.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "check.h"

#define SIZE (4UL << 20)
#define PART (64UL << 10)
#define CUT (1UL << 20) /* of the file, at least so much stays */
#define PATIENCE 60

static int file, by_disk, other;
static char *map, *other_map;
static _Atomic bool ended;

static void open_files(void)
{
	char name[32];

	file = pattern_file(SIZE);
	other = pattern_file(SIZE);
	snprintf(name, sizeof name, "/proc/self/fd/%d", file);
	by_disk = open(name, O_RDWR | O_DIRECT);
	if (by_disk < 0)
		exit(0); /* a file system that cannot */
	map = map_file(file, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	other_map = map_file(other, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static bool holds(const char *p, size_t len, size_t at)
{
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)p[i] != pattern(at + i))
			return false;
	return true;
}

static void bytes(void)
{
	map[3 * PAGE] = map[9 * PAGE] = 'x'; /* not written yet */
	CHECK(pread(by_disk, other_map + PAGE + 512, 11 * PAGE, 512) == (ssize_t)(11 * PAGE));
	CHECK(other_map[4 * PAGE] == 'x' && other_map[10 * PAGE] == 'x' && holds(other_map + 10 * PAGE + 1, 2 * PAGE, 9 * PAGE + 1));
	CHECK((uint8_t)other_map[PAGE + 511] == pattern(PAGE + 511) && (uint8_t)other_map[12 * PAGE + 512] == pattern(12 * PAGE + 512));
	CHECK(pread(by_disk, other_map, 4 * PART, SIZE - PAGE) == (ssize_t)PAGE && holds(other_map, PAGE, SIZE - PAGE));
	CHECK(pread(by_disk, other_map, PAGE, SIZE) == 0);
	CHECK(lseek(by_disk, PAGE, SEEK_SET) == (off_t)PAGE && read(by_disk, other_map, 5 * PAGE) == (ssize_t)(5 * PAGE));
	CHECK(holds(other_map, 2 * PAGE, PAGE) && lseek(by_disk, 0, SEEK_CUR) == (off_t)(6 * PAGE));
	CHECK(!mprotect(other_map, PAGE, PROT_READ));
	FAILS(EFAULT, read(by_disk, other_map, PAGE));
	CHECK(lseek(by_disk, 0, SEEK_CUR) == (off_t)(6 * PAGE) && holds(other_map, 2 * PAGE, PAGE));
	CHECK(!mprotect(other_map, PAGE, PROT_READ | PROT_WRITE));
}

static void *cut(void *fd)
{
	while (!atomic_load(&ended))
		CHECK(!ftruncate(*(int *)fd, (off_t)CUT) && !ftruncate(*(int *)fd, (off_t)SIZE));
	return NULL;
}

static void *change(void *unused)
{
	for (size_t i = 0; !atomic_load(&ended); i = (i + 1) % 16)
		CHECK(pwrite(file, "change", 6, (off_t)(i * PAGE)) == 6);
	return unused;
}

static void *touch(void *unused)
{
	while (!atomic_load(&ended)) {
		madvise(map, CUT, MADV_PAGEOUT);
		for (size_t at = 0; at < CUT; at += 7 * PAGE)
			(void)*(volatile char *)(map + at);
	}
	return unused;
}

/* What cannot be read into any more is EFAULT, or ends the read. */
static void read_while_cut(int fd, char *into, unsigned long reads)
{
	pthread_t thread[4];

	atomic_store(&ended, false);
	CHECK(!pthread_create(&thread[0], NULL, cut, &fd) && !pthread_create(&thread[1], NULL, change, NULL));
	CHECK(!pthread_create(&thread[2], NULL, touch, NULL) && !pthread_create(&thread[3], NULL, touch, NULL));
	for (unsigned long i = 0; i < reads; i++) {
		char *to = into + CUT + i % 32 * PART;
		struct iovec iov[] = {{to, PAGE}, {to + PAGE, PART - PAGE}};
		ssize_t n = i % 2 ? preadv(by_disk, iov, 2, 0) : pread(by_disk, to, PART, 0);

		CHECK(n >= 0 || errno == EFAULT);
	}
	atomic_store(&ended, true);
	for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
		CHECK(!pthread_join(thread[i], NULL));
}

int main(int argc, char **argv)
{
	unsigned long reads = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;

	signal(SIGALRM, SIG_DFL);
	alarm(PATIENCE);
	open_files();
	bytes();
	read_while_cut(other, other_map, reads);
	read_while_cut(file, map, reads);
	return 0;
}
