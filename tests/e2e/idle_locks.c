/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that have each used a thousand locks in a file of their own, and live on: what is kept in memory for their locks leaves room for other
 * locks, for reads into mapped memory, and for the pages of a process that has none.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (4UL << 20)
#define PROCESSES 10
#define LOCKS 1000
#define PIECE (64UL << 10)

static void use_locks(char *map, int robust)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
	for (size_t i = 0; i < LOCKS; i++) {
		pthread_mutex_t *m = (pthread_mutex_t *)(map + i * PAGE);

		CHECK(!pthread_mutex_init(m, &a) && !pthread_mutex_lock(m) && !pthread_mutex_unlock(m));
	}
}

static char *map_new(void)
{
	return map_file(pattern_file(SIZE), SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static void wait_after_locks(int number, int done, int go_on)
{
	char *map = map_new(), c;

	use_locks(map, number % 2);
	CHECK(write(done, "x", 1) == 1 && read(go_on, &c, 1) == 0);
	use_locks(map, number % 2);
	exit(0);
}

static void read_all(char *map)
{
	int zero = open("/dev/zero", O_RDONLY);

	for (size_t at = 0; at < SIZE; at += PIECE)
		CHECK(read(zero, map + at, PIECE) == (ssize_t)PIECE);
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK(!map[at]);
	CHECK(!close(zero));
}

int main(void)
{
	int done[2], go_on[2], status;
	char *map, c;

	CHECK(!pipe(done) && !pipe(go_on));
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			close(done[0]);
			close(go_on[1]);
			wait_after_locks(i, done[1], go_on[0]);
		}
	}
	close(done[1]);
	for (int i = 0; i < PROCESSES; i++)
		CHECK(read(done[0], &c, 1) == 1);
	map = map_new();
	read_all(map);
	use_locks(map, 1);
	read_all(map);
	close(go_on[1]);
	for (int i = 0; i < PROCESSES; i++)
		CHECK(wait(&status) > 0 && status == 0);
	return 0;
}
