/* SPDX-License-Identifier: Apache-2.0 */
/* cache/frame_pipe.c: pages come into a memfd whole, in any number, and what could not be written is not there the next time. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/frame_pipe.h"
#include "mmu/uffd_abi.h"
#include "util/clock.h"
#include "util/compiler.h"

#define PAGES 300 /* more than a pipe takes */
#define LEN (PAGES * FL_PAGE_SIZE)
#define HUGE (2UL << 20)
/* ThreadSanitizer holds them back. */
#ifdef __SANITIZE_THREAD__
#define SIGNALS_COME false
#else
#define SIGNALS_COME true
#endif

#define RACE_NS 2000000000ull

static int setup(void **state)
{
	int *fd = malloc(sizeof *fd);

	*fd = memfd_create("frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, 2 * LEN), 0);
	assert_int_equal(frame_pipe_init(), 0);
	*state = fd;
	return 0;
}

static int teardown(void **state)
{
	int *fd = *state;

	frame_pipe_exit();
	close(*fd);
	free(fd);
	return 0;
}

static void *map_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Each page begins with a number of its own, and is full. */
static char *some_pages(uint64_t seed)
{
	char *p = map_memory(LEN);

	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t number = seed + i;

		memset(p + i * FL_PAGE_SIZE, 0x5a, FL_PAGE_SIZE);
		memcpy(p + i * FL_PAGE_SIZE, &number, sizeof number);
	}
	return p;
}

static void assert_there(int fd, uint64_t off, const char *bytes, size_t len)
{
	char *got = malloc(len);

	assert_int_equal(pread(fd, got, len, (off_t)off), len);
	assert_memory_equal(got, bytes, len);
	free(got);
}

static void many_pages_arrive_in_their_places(void **state)
{
	int fd = *(int *)*state;
	char *p = some_pages(100);

	assert_int_equal(frame_pipe_write(fd, FL_PAGE_SIZE, p, LEN), 0);
	assert_there(fd, FL_PAGE_SIZE, p, LEN);
	assert_int_equal(frame_pipe_write(fd, 0, p + 7 * FL_PAGE_SIZE, FL_PAGE_SIZE), 0);
	assert_there(fd, 0, p + 7 * FL_PAGE_SIZE, FL_PAGE_SIZE);
	assert_there(fd, FL_PAGE_SIZE, p, LEN);
	munmap(p, LEN);
}

static void what_failed_does_not_come_later(void **state)
{
	int fd = *(int *)*state, sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *p = some_pages(100), *other = some_pages(1000);

	assert_int_equal(ftruncate(sealed, LEN), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	for (int i = 0; i < 20; i++) { /* more often than there are pipes */
		assert_int_equal(frame_pipe_write(sealed, 0, other, LEN), -EPERM);
		assert_int_equal(frame_pipe_write(fd, 0, NULL, FL_PAGE_SIZE), -EFAULT);
	}
	assert_int_equal(frame_pipe_write(fd, 0, p, LEN), 0);
	assert_there(fd, 0, p, LEN);
	close(sealed);
	munmap(p, LEN);
	munmap(other, LEN);
}

/* ---- Against who maps what it finds ---- */

struct race {
	int fd, uffd;
	char *source, *window;
	_Atomic bool stop;
	uint64_t seen, torn;
};

/* The memory that is read from goes from small pages to a huge one and back: at times none of it can be looked at. */
static void *move_source(void *arg)
{
	struct race *r = arg;

	while (!atomic_load(&r->stop)) {
		madvise(r->source, HUGE, 25 /* MADV_COLLAPSE */);
		madvise(r->source + HUGE / 2, FL_PAGE_SIZE, MADV_DONTNEED);
		r->source[HUGE / 2] = 1;
	}
	return NULL;
}

static sigjmp_buf gone;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(gone, 1);
}

/* At once, as the bytes come a moment later; unless the page has gone by then. */
static void *look(void *arg)
{
	struct uffdio_continue c = {.range = {.len = FL_PAGE_SIZE}, .mode = UFFDIO_CONTINUE_MODE_WP};
	struct race *r = arg;

	c.range.start = (uintptr_t)r->window;
	while (!atomic_load(&r->stop)) {
		if (ioctl(r->uffd, UFFDIO_CONTINUE, &c))
			continue;
		if (!sigsetjmp(gone, 1)) {
			r->torn += *(volatile char *)r->window != 7;
			r->seen++;
		}
		madvise(r->window, FL_PAGE_SIZE, MADV_DONTNEED);
	}
	return NULL;
}

static bool open_uffd(struct race *r)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_NEEDED | UFFD_FEATURE_SIGBUS};
	struct uffdio_register reg = {.range = {.start = (uintptr_t)r->window, .len = FL_PAGE_SIZE}};

	reg.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR;
	r->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	return r->uffd >= 0 && !ioctl(r->uffd, UFFDIO_API, &api) && !ioctl(r->uffd, UFFDIO_REGISTER, &reg);
}

static char *huge_source(char **memory)
{
	char *p;

	*memory = map_memory(2 * HUGE);
	p = (char *)(((uintptr_t)*memory + HUGE - 1) & ~(HUGE - 1));
	madvise(p, HUGE, MADV_HUGEPAGE);
	memset(p, 7, HUGE);
	return p;
}

static void nobody_sees_a_page_before_its_bytes(void **state)
{
	struct race r = {.fd = *(int *)*state};
	uint64_t end = now_ns() + RACE_NS;
	pthread_t mover, looker;
	char *memory;

	r.window = mmap(NULL, FL_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	assert_ptr_not_equal(r.window, MAP_FAILED);
	if (!open_uffd(&r) || !SIGNALS_COME)
		skip();
	signal(SIGBUS, on_bus);
	r.source = huge_source(&memory);
	assert_int_equal(pthread_create(&mover, NULL, move_source, &r), 0);
	assert_int_equal(pthread_create(&looker, NULL, look, &r), 0);
	while (now_ns() < end) {
		assert_int_equal(frame_pipe_write(r.fd, 0, r.source, FL_PAGE_SIZE), 0);
		fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FL_PAGE_SIZE);
	}
	atomic_store(&r.stop, true);
	pthread_join(mover, NULL);
	pthread_join(looker, NULL);
	assert_true(r.seen > 0);
	assert_int_equal(r.torn, 0);
	signal(SIGBUS, SIG_DFL);
	munmap(memory, 2 * HUGE);
	munmap(r.window, FL_PAGE_SIZE);
	close(r.uffd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_pages_arrive_in_their_places),
		TEST(what_failed_does_not_come_later),
		TEST(nobody_sees_a_page_before_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
