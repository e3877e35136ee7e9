/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, of which each thread of several processes has zones of its own, with borders anywhere in a page: most pages are of several. A thread
 * stores, loads, reads and writes in its zones, by a mapping and by calls, and finds there what it has left, whatever the others do.
 *
 *   zones FILE PROCESSES THREADS STEPS SEED [MIB]
 *
 * What each byte is to be stands in a model, in memory that is the kernel's. At the end each thread looks at all of its zones, and when all have
 * ended the file is read once more. With one thread to a process its mapping comes and goes.
 */
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

#define ZONE_MAX (6 * PAGE)
#define RUN_MAX (64 * PAGE) /* of a call that reads the zones of others too */
#define TAIL_MAX (5 * PAGE) /* of the first thread, who makes it and cuts it off */
#define END (96 * PAGE)
#define THREADS_MAX 64

struct worker {
	pthread_t thread;
	unsigned number, step;
	uint64_t state;
	uint8_t value; /* of what is stored next */
	uint8_t buffer[RUN_MAX];
};

static int fd;
static const char *path;
static size_t size, zones, *border; /* zone i is [border[i], border[i + 1]) */
static uint8_t *map, *model;
static unsigned processes, threads, steps;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static size_t below(struct worker *w, size_t n)
{
	return next_random(&w->state) % n;
}

static void divide(uint64_t seed)
{
	uint64_t state = seed * 7919 + 1;

	border = malloc((size / 16 + 2) * sizeof *border);
	CHECK(border);
	for (size_t at = 0; at < size; zones++) {
		size_t most = next_random(&state) % 4 ? PAGE : ZONE_MAX;

		border[zones] = at;
		at += 16 + next_random(&state) % most;
	}
	border[zones] = size;
}

static unsigned owner(size_t zone)
{
	return (unsigned)(zone * 2654435761u >> 7) % (processes * threads);
}

/* The zone that has the byte. */
static size_t zone_at(size_t at)
{
	size_t low = 0, high = zones;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (border[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static _Noreturn void wrong(const struct worker *w, const char *how, size_t at, uint8_t got)
{
	uint8_t again = 0;

	CHECK(pread(fd, &again, 1, (off_t)at) == 1);
	fprintf(stderr,
		"thread %u, step %u: byte %zu (page %zu, zone [%zu, %zu)) by %s: %#x, due %#x, read again %#x, in the mapping %#x\n",
		w->number, w->step, at, at / PAGE, border[zone_at(at)], border[zone_at(at) + 1], how, got, model[at], again,
		map ? map[at] : 0);
	_exit(1);
}

/* The thread's own bytes among those of [at, at + len). */
static void check(const struct worker *w, const char *how, size_t at, size_t len, const volatile uint8_t *got)
{
	for (size_t i = zone_at(at); i < zones && border[i] < at + len; i++) {
		size_t from = border[i] > at ? border[i] : at, to = border[i + 1] < at + len ? border[i + 1] : at + len;

		for (size_t b = from; owner(i) == w->number && b < to; b++)
			if (got[b - at] != model[b])
				wrong(w, how, b, got[b - at]);
	}
}

/* A part of a zone of the thread's own; often near the end of the file, whose last page is written in a way of its own. */
static size_t some_part(struct worker *w, size_t *at)
{
	size_t zone = below(w, 3) ? below(w, zones) : zone_at(size - 1 - below(w, END)), len;

	while (owner(zone) != w->number)
		zone = (zone + 1) % zones;
	len = border[zone + 1] - border[zone];
	*at = border[zone] + below(w, len);
	return 1 + below(w, border[zone + 1] - *at);
}

/* Anything, some of it the thread's. */
static size_t some_run(struct worker *w, size_t *at)
{
	size_t len = 1 + below(w, below(w, 4) ? 4 * PAGE : RUN_MAX);

	some_part(w, at);
	*at -= below(w, len) % (*at + 1);
	return *at + len < size ? len : size - *at;
}

/* ---- Steps ---- */

static void do_store(struct worker *w)
{
	size_t at, len = some_part(w, &at);

	if (!map)
		return;
	memset(map + at, ++w->value, len);
	memset(model + at, w->value, len);
}

static void do_load(struct worker *w)
{
	size_t at, len = some_run(w, &at);

	if (map)
		check(w, "load", at, len, map + at);
}

static void do_write(struct worker *w)
{
	size_t at, len = some_part(w, &at);

	memset(w->buffer, ++w->value, len);
	CHECK(pwrite(fd, w->buffer, len, (off_t)at) == (ssize_t)len);
	memset(model + at, w->value, len);
}

static void do_read(struct worker *w)
{
	size_t at, len = some_run(w, &at);

	CHECK(pread(fd, w->buffer, len, (off_t)at) == (ssize_t)len);
	check(w, "pread", at, len, w->buffer);
}

/* What was just changed is what is most likely not where it should be. */
static void do_store_and_read(struct worker *w)
{
	size_t at, len = some_part(w, &at);

	if (!map || below(w, 2)) {
		memset(w->buffer, ++w->value, len);
		CHECK(pwrite(fd, w->buffer, len, (off_t)at) == (ssize_t)len);
	} else {
		memset(map + at, ++w->value, len);
	}
	memset(model + at, w->value, len);
	CHECK(pread(fd, w->buffer, len, (off_t)at) == (ssize_t)len);
	check(w, "pread of what was stored", at, len, w->buffer);
	if (map)
		check(w, "load of what was stored", at, len, map + at);
}

static void do_msync(struct worker *w)
{
	size_t at, len = some_run(w, &at);

	if (map)
		CHECK(msync(map + at / PAGE * PAGE, len + at % PAGE, below(w, 3) ? MS_ASYNC : MS_SYNC) == 0);
}

static void do_fsync(struct worker *w)
{
	CHECK((below(w, 2) ? fsync(fd) : fdatasync(fd)) == 0);
}

static void do_unmap(struct worker *w)
{
	if (threads == 1 && map) {
		CHECK(munmap(map, size) == 0);
		map = NULL;
		if (below(w, 3))
			return;
	}
	if (!map)
		map = (uint8_t *)map_file(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* Beyond what the zones take up. */
static void do_truncate(struct worker *w)
{
	if (w->number == 0)
		CHECK(ftruncate(fd, (off_t)(size + (below(w, 2) ? below(w, TAIL_MAX) : 0))) == 0);
}

static const struct {
	void (*step)(struct worker *w);
	unsigned weight;
} kinds[] = {
	{do_store, 30}, {do_load, 15}, {do_write, 15}, {do_read, 20},    {do_store_and_read, 20},
	{do_msync, 8},  {do_fsync, 1}, {do_unmap, 4},  {do_truncate, 2},
};

static void do_step(struct worker *w)
{
	unsigned total = 0, turn;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		total += kinds[i].weight;
	turn = (unsigned)below(w, total);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (turn < kinds[i].weight) {
			kinds[i].step(w);
			return;
		}
		turn -= kinds[i].weight;
	}
}

static void check_all(struct worker *w)
{
	for (size_t at = 0, len; at < size; at += len) {
		len = size - at < RUN_MAX ? size - at : RUN_MAX;
		if (map)
			check(w, "load at the end", at, len, map + at);
		CHECK(pread(fd, w->buffer, len, (off_t)at) == (ssize_t)len);
		check(w, "pread at the end", at, len, w->buffer);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (w->step = 0; w->step < steps; w->step++)
		do_step(w);
	check_all(w);
	return NULL;
}

/* ---- Processes ---- */

static _Noreturn void run_process(unsigned number, uint64_t seed)
{
	struct worker *w = calloc(threads, sizeof *w);

	CHECK(w);
	close(fd);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	map = (uint8_t *)map_file(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (unsigned i = 0; i < threads; i++) {
		w[i].number = number * threads + i;
		w[i].state = (seed * 1000003 + w[i].number + 1) * 0x9e3779b97f4a7c15;
		w[i].value = (uint8_t)w[i].state;
		CHECK(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0);
	}
	for (unsigned i = 0; i < threads; i++)
		CHECK(pthread_join(w[i].thread, NULL) == 0);
	exit(0);
}

static void make_file(void)
{
	int memory = memfd_create("model", MFD_CLOEXEC);

	CHECK(memory >= 0 && ftruncate(memory, (off_t)size) == 0);
	model = (uint8_t *)map_file(memory, size, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < size; at++)
		model[at] = pattern(at);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	for (size_t at = 0; at < size;) {
		ssize_t n = pwrite(fd, model + at, size - at, (off_t)at);

		CHECK(n > 0);
		at += (size_t)n;
	}
}

static void check_file(void)
{
	static uint8_t part[RUN_MAX];

	for (size_t at = 0, len; at < size; at += len) {
		len = size - at < RUN_MAX ? size - at : RUN_MAX;
		CHECK(pread(fd, part, len, (off_t)at) == (ssize_t)len);
		for (size_t i = 0; i < len; i++)
			if (part[i] != model[at + i]) {
				fprintf(stderr, "byte %zu (page %zu, of thread %u) of the file: %#x, due %#x\n", at + i, (at + i) / PAGE,
					owner(zone_at(at + i)), part[i], model[at + i]);
				exit(1);
			}
	}
}

int main(int argc, char **argv)
{
	uint64_t seed;
	int failed = 0, status;

	if (argc < 6)
		return 2;
	path = argv[1];
	processes = (unsigned)atoi(argv[2]);
	threads = (unsigned)atoi(argv[3]);
	steps = (unsigned)atoi(argv[4]);
	seed = strtoull(argv[5], NULL, 10);
	size = (argc > 6 ? strtoul(argv[6], NULL, 10) : 24) << 20;
	size += seed * 977 % PAGE; /* the last page is part of one, as a rule */
	if (!processes || !threads || processes * threads > THREADS_MAX)
		return 2;
	make_file();
	divide(seed);
	fflush(stderr);
	for (unsigned i = 0; i < processes; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			run_process(i, seed);
	}
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		return 1;
	check_file();
	return 0;
}
