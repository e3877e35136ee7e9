/* SPDX-License-Identifier: Apache-2.0 */
/* What threads store until their process becomes another program is in the file; what fails to start one changes nothing. */
#include <pthread.h>

#include "check.h"

#define SIZE (4UL << 20)
#define WORDS (SIZE / sizeof(uint64_t))
#define STORERS 3

/* How many stores each thread has made: in a small file, which is the kernel's. */
static volatile uint64_t *made;
static volatile uint64_t *words;

static char *self;

static uint64_t place(uint64_t thread, uint64_t n)
{
	return (n * 5 * PAGE / sizeof *words + thread) % WORDS;
}

static void *store(void *arg)
{
	uint64_t thread = (uintptr_t)arg;

	for (uint64_t n = 1;; n++) {
		words[place(thread, n)] = n;
		made[thread] = n;
	}
	return NULL;
}

static void are_there(int fd)
{
	for (uint64_t thread = 0; thread < STORERS; thread++)
		for (uint64_t n = made[thread], oldest = n > 150 ? n - 150 : 0, word; n > oldest; n--) {
			CHECK(pread(fd, &word, sizeof word, (off_t)(place(thread, n) * sizeof word)) == sizeof word);
			CHECK(word >= n);
		}
}

/* ---- exec ---- */

static void *exec(void *arg)
{
	char *argv[] = {self, "are_there", NULL};

	(void)arg;
	while (!made[0] || !made[1] || !made[2])
		;
	execv("/proc/self/exe", argv);
	exit(1);
}

static void start_storers(int fd)
{
	pthread_t thread;

	words = (void *)map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (uintptr_t i = 0; i < STORERS; i++)
		CHECK(!pthread_create(&thread, NULL, store, (void *)i));
}

static void by_first_thread(int fd)
{
	start_storers(fd);
	exec(NULL);
}

static void by_another(int fd)
{
	pthread_t thread;

	start_storers(fd);
	CHECK(!pthread_create(&thread, NULL, exec, NULL));
	for (;;)
		pause();
}

#define FILE_FD 100
#define MADE_FD 101

static void beside(void (*start)(int fd))
{
	int fd = pattern_file(SIZE), small = pattern_file(PAGE), status;
	pid_t child;

	CHECK(!ftruncate(fd, 0) && !ftruncate(fd, SIZE) && dup2(fd, FILE_FD) == FILE_FD && dup2(small, MADE_FD) == MADE_FD);
	made = (void *)map_file(small, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (int i = 0; i < STORERS; i++)
		made[i] = 0;
	child = fork();
	if (!child)
		start(fd);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && !status);
	CHECK(!close(fd) && !close(small) && !close(FILE_FD) && !close(MADE_FD) && !munmap((void *)made, PAGE));
}

static void exec_beside_stores(void)
{
	for (int i = 0; i < 3; i++) {
		beside(by_first_thread);
		beside(by_another);
	}
}

static void are_there_now(void)
{
	made = (void *)map_file(MADE_FD, PAGE, PROT_READ, MAP_SHARED);
	are_there(FILE_FD);
}

/* ---- What fails ---- */

static void exec_fails(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(SIZE);
	char *shared = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), *argv[] = {"x", NULL}, c;
	char *copy = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE),
	     *alone = map_file(other, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	for (size_t at = 0; at < SIZE; at += PAGE)
		alone[at] = copy[at + 1] = shared[at + 2] = 'a';
	FAILS(ENOENT, execv("/no/such/program", argv));
	FAILS(EACCES, execv("/", argv));
	for (size_t at = 0; at < SIZE; at += PAGE) {
		CHECK(alone[at] == 'a' && copy[at + 1] == 'a' && shared[at + 1] == (char)pattern(at + 1) && shared[at + 2] == 'a');
		shared[at + 3] = copy[at + 4] = 'b';
		CHECK(copy[at + 3] == (char)pattern(at + 3) && shared[at + 4] == (char)pattern(at + 4));
	}
	CHECK(pread(fd, &c, 1, 7 * PAGE + 3) == 1 && c == 'b' && pwrite(fd, "c", 1, 9 * PAGE) == 1 && shared[9 * PAGE] == 'c');
	FAILS(ENOENT, execv("/no/such/program", argv));
	CHECK(shared[3] == 'b' && copy[4] == 'b' && alone[0] == 'a');
	CHECK(!munmap(shared, SIZE) && !munmap(copy, SIZE) && !munmap(alone, SIZE) && !close(fd) && !close(other));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"exec_beside_stores", exec_beside_stores}, {"exec_fails", exec_fails}};
	static const struct test_case after[] = {{"are_there", are_there_now}};

	self = argv[0];
	if (argc > 1 && !strcmp(argv[1], after->name))
		return run_cases(after, 1, argv + 1);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
