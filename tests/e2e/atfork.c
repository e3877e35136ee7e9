/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of pthread_atfork(3), made known before anything is mapped, find mapped memory as at any other time: not in memory, too. */
#include <pthread.h>
#include <sys/wait.h>

#include "fresh.h"

static void look(void)
{
	const char *p = fresh();

	CHECK((uint8_t)*p == pattern((uint64_t)(p - map)));
}

static void store(void)
{
	char *p = fresh();

	p[1] = 7;
	CHECK(p[1] == 7);
	look();
}

int main(void)
{
	int status;
	pid_t pid;

	CHECK(!pthread_atfork(store, store, store));
	map = mmap(NULL, ROOMS * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE, pattern_file(ROOMS * ROOM), 0);
	CHECK(map != MAP_FAILED);
	CHECK(!madvise(map, ROOMS * ROOM, MADV_RANDOM));
	look();
	for (int i = 0; i < 3; i++) {
		pid = fork();
		if (!pid)
			_exit(map[(used - 4) * ROOM + 1] != 7);
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK(!status);
	}
	return 0;
}
