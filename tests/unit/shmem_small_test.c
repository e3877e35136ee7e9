/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/shmem_small.c: where shmem has huge pages, a page that is written costs one page. In the place of memfds, whose setting is the machine's, are
 * files of a tmpfs of our own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/frames.h"
#include "cache/shmem_small.h"
#include "util/compiler.h"
#include "util/sys.h"

#define HUGE (2UL << 20)
#define PAGES 10 /* that are written, each far from the others */

static char folder[] = "/tmp/faultline-shmem-XXXXXX";

int __wrap_sys_memfd_create(const char *name, unsigned flags);

int __wrap_sys_memfd_create(const char *name, unsigned flags)
{
	int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	(void)name, (void)flags;
	return fd < 0 ? -errno : fd;
}

/* In a child, which is not the one that cmocka knows. */
#define CHECK(condition)                                                   \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
			_exit(1);                                          \
		}                                                          \
	} while (0)

static uint64_t pages_of(int fd)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0);
	return (uint64_t)st.st_blocks * 512 / FL_PAGE_SIZE;
}

/* What the kernel does by itself. */
static bool pages_are_huge(void)
{
	int fd = __wrap_sys_memfd_create("", 0);
	bool huge;

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, HUGE * PAGES) == 0);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	huge = pages_of(fd) > 1;
	close(fd);
	return huge;
}

static int setup_mount(const char *options)
{
	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return mount("tmpfs", folder, "tmpfs", 0, options);
}

/* Writes pages, and parts of pages; in a process of its own, which looks at the first memfd anew. */
static int write_some(const char *options, bool huge)
{
	struct address_space as = {.memfd = -1};
	char page[FL_PAGE_SIZE], got[FL_PAGE_SIZE];

	if (setup_mount(options) || pages_are_huge() != huge)
		return 77;
	as.memfd = shmem_frames_create("test");
	atomic_store(&as.frames, &shmem_frames);
	CHECK(as.memfd >= 0);
	CHECK(pages_of(as.memfd) == 0);
	CHECK(atomic_load(&shmem_is_huge) == huge);
	for (uint64_t i = 0; i < PAGES; i++) {
		memset(page, (int)('a' + i), sizeof page);
		CHECK(frame_write(&as, i * HUGE + i * FL_PAGE_SIZE, page, sizeof page) == 0);
		CHECK(pages_of(as.memfd) == i + 1);
	}
	CHECK(frame_write(&as, 3 * FL_PAGE_SIZE - 1, "xy", 2) == 0);
	CHECK(pages_of(as.memfd) == PAGES + 2);
	CHECK(frame_read(&as, 2 * HUGE + 2 * FL_PAGE_SIZE, got, sizeof got) == 0);
	memset(page, 'c', sizeof page);
	CHECK(!memcmp(got, page, sizeof page));
	CHECK(frame_read(&as, 2 * FL_PAGE_SIZE, got, sizeof got) == 0);
	CHECK(got[0] == 0 && got[FL_PAGE_SIZE - 1] == 'x');
	return 0;
}

static void in_a_process(const char *options, bool huge)
{
	pid_t pid;
	int status;

	assert_non_null(mkdtemp(strcpy(folder, "/tmp/faultline-shmem-XXXXXX")));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(write_some(options, huge));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rmdir(folder);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* takes root, and a kernel that has them */
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void pages_come_one_by_one(void **state)
{
	(void)state;
	in_a_process("huge=always,size=64m", true);
}

static void small_pages_are_left_alone(void **state)
{
	(void)state;
	in_a_process("huge=never,size=64m", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_come_one_by_one),
		cmocka_unit_test(small_pages_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
