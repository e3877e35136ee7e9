/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget as seen from outside: anonymous memory of the process (beyond what it had before) and the blocks of every
 * memfd, sampled while 64 threads fault on shared and private mappings. The engine's own count is not asked.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "harness.h"
#include "memory.h"

#define THREADS 64
#define SMALL_BUDGET (1UL << 20)

static pthread_barrier_t ready, go;
static _Atomic bool stop;
static char *shared_map, *private_map;

/* Blocks of the memfds that are open. smaps counts none of this as anonymous. */
static size_t memfd_bytes(void)
{
	char path[300], target[64];
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	struct stat st;
	size_t sum = 0;

	while ((e = readdir(d))) {
		snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
		ssize_t n = readlink(path, target, sizeof target - 1);

		if (n > 7 && !strncmp(target, "/memfd:", 7) && stat(path, &st) == 0)
			sum += (size_t)st.st_blocks * 512;
	}
	closedir(d);
	return sum;
}

static void touch(uint64_t *x)
{
	uint64_t page;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	page = *x % (PATTERN_BYTES / 4096);
	if (*x >> 60 < 4)
		shared_map[page * 4096 + 8] = 1;
	else if (*x >> 60 < 8)
		private_map[page * 4096 + 8] = 2;
	else
		access_read((*x >> 59 & 1 ? shared_map : private_map) + page * 4096);
}

/* The stack below, which signal frames will need, is there before the baseline is taken. */
static __attribute__((noinline)) void use_stack(void)
{
	volatile char stack[32 * 1024];

	for (size_t i = 0; i < sizeof stack; i += 512)
		stack[i] = 1;
}

static void *work(void *arg)
{
	uint64_t x = (uint64_t)(uintptr_t)arg * 7919 + 1;

	use_stack();
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&go);
	while (!stop)
		touch(&x);
	return NULL;
}

/* The threads go on meanwhile: what moved from one kind to the other between two readings is not counted twice. */
static size_t memory_now(void)
{
	size_t files = memfd_bytes(), anonymous = memory_of("Anonymous"), files_after = memfd_bytes();

	return anonymous + (files < files_after ? files : files_after);
}

static size_t sample_most(size_t before)
{
	size_t most = 0;

	for (int i = 0; i < 300; i++) {
		size_t now = memory_now() - before;

		most = now > most ? now : most;
		usleep(3000);
	}
	return most;
}

static void many_threads_within(uint64_t budget)
{
	struct fl_options o = {.size = sizeof o, .budget = budget};
	struct fixture f = {.path = "faultline-budget-XXXXXX"};
	pthread_t thread[THREADS];
	size_t before, most;

	f.fd = mkstemp(f.path);
	unlink(f.path);
	fill(f.fd);
	stop = false;
	pthread_barrier_init(&ready, NULL, THREADS + 1);
	pthread_barrier_init(&go, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)i);
	pthread_barrier_wait(&ready);
	use_stack();
	memory_now(); /* its own memory, once */
	before = memory_now();
	assert_int_equal(fl_init(&o), 0);
	shared_map = (char *)map_file(&f, PROT_READ | PROT_WRITE, MAP_SHARED);
	private_map = (char *)map_file(&f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pthread_barrier_wait(&go);
	most = sample_most(before);
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	print_message("budget %zu KiB, most seen %zu KiB\n", (size_t)budget >> 10, most >> 10);
	assert_in_range(most, budget / 4, budget);
	assert_int_equal(fl_munmap(shared_map, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(private_map, PATTERN_BYTES), 0);
	assert_int_equal(fl_exit(), 0);
	close(f.fd);
}

static void one_mebibyte(void **state)
{
	(void)state;
	many_threads_within(SMALL_BUDGET);
}

static void four_mebibytes(void **state)
{
	(void)state;
	many_threads_within(4UL << 20);
}

/* They are copied to it; of the file it has nothing yet. */
static void a_child_has_private_pages_once(void **state)
{
	struct fl_options o = {.size = sizeof o, .budget = 4UL << 20};
	struct fixture f = {.path = "faultline-budget-XXXXXX"};
	int status;
	pid_t pid;

	(void)state;
	f.fd = mkstemp(f.path);
	unlink(f.path);
	fill(f.fd);
	assert_int_equal(fl_init(&o), 0);
	private_map = (char *)map_file(&f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (size_t i = 0; i < 200; i++)
		private_map[i * 4096] = 1;
	pid = fork();
	if (pid == 0)
		_exit(memfd_bytes() > 16 * 4096);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fl_munmap(private_map, PATTERN_BYTES), 0);
	assert_int_equal(fl_exit(), 0);
	close(f.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(one_mebibyte), cmocka_unit_test(four_mebibytes),
					   cmocka_unit_test(a_child_has_private_pages_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
