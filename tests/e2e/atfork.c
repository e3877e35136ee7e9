/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of pthread_atfork(3), made known before anything is mapped, also by a library at its start, find mapped memory as at any other time: not in
 * memory, too. They wait for what other threads hold that map files and write to them.
 */
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "atfork_early.h"
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

static bool looking;

static void handler(void)
{
	if (looking)
		store();
}

static void look_at_forks(void)
{
	int status;
	pid_t pid;

	CHECK(!pthread_atfork(handler, handler, handler));
	early_look(handler);
	looking = true;
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
	looking = false;
}

/* ---- While another thread is at it ---- */

#define SIZE (2UL << 20)

static int file;
static FILE *stream;

static void map_and_look(void)
{
	char *p = map_file(file, SIZE, PROT_READ, MAP_SHARED);

	CHECK((uint8_t)p[PAGE] == pattern(PAGE) && !munmap(p, SIZE));
}

static void write_and_flush_all(void)
{
	CHECK(!fseek(stream, 0, SEEK_SET) && fputs("pending", stream) >= 0 && !fflush(NULL));
}

struct other {
	void (*fn)(void);
	bool locked;
	_Atomic bool ends;
};

static void *at_it(void *arg)
{
	struct other *o = arg;

	for (; !o->ends; sched_yield())
		if (o->locked)
			early_call(o->fn);
		else
			o->fn();
	return NULL;
}

static void forks_beside(void (*fn)(void), bool locked)
{
	struct other o = {.fn = fn, .locked = locked};
	pthread_t t;
	int status;
	pid_t pid;

	CHECK(!pthread_create(&t, NULL, at_it, &o));
	for (int i = 0; i < 80; i++) {
		pid = fork();
		if (!pid)
			_exit(i % 40 || fputs("", stream) < 0);
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		CHECK(!WEXITSTATUS(status) == !(i % 40));
	}
	o.ends = true;
	CHECK(!pthread_join(t, NULL));
}

int main(void)
{
	char path[64], *kept;

	look_at_forks();
	file = pattern_file(SIZE);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	stream = fopen(path, "r+");
	CHECK(stream);
	alarm(300); /* is the end where they wait for each other */
	forks_beside(map_and_look, true);
	kept = map_file(file, SIZE, PROT_READ, MAP_SHARED);
	CHECK((uint8_t)kept[PAGE] == pattern(PAGE));
	forks_beside(map_and_look, false);
	forks_beside(write_and_flush_all, false);
	CHECK(!memcmp(kept, "pending", 7));
	return 0;
}
