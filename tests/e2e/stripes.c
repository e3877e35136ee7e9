/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes or threads share one file, and its pages: each owns stripes of odd lengths that lie between those of others, changes them in every way that there
 * is, and finds in them what it put there. Processes may be killed at any time: what they had stored stays.
 *
 *     stripes FILE SEED STEPS threads|processes|killed
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "check.h"

#define SIZE ((2UL << 20) + 1234) /* the last page is shared with what is beyond the end */
#define MAPPED ((2UL << 20) + 3 * PAGE)
#define WORKERS 3
#define STRIPES_MAX 4096
#define STRIPE_MAX 20000

/* What a stripe holds, and what is being put there. 0 is zeros. Of who was killed in between each byte is of the one or of the other. */
struct stripe {
	_Atomic uint32_t now, then;
};

static struct shared {
	_Atomic unsigned long steps;
	_Atomic bool failed;
	struct stripe stripe[STRIPES_MAX];
} * shared;

static size_t start[STRIPES_MAX + 1];
static unsigned stripes;
static unsigned long steps_wanted;
static const char *path;

struct worker {
	unsigned id;
	uint64_t rng;
	int fd;
	uint8_t *map;
	uint8_t buf[STRIPE_MAX];
	const char *what; /* it does */
};

static uint64_t next(struct worker *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng * 0x2545f4914f6cdd1dull >> 8;
}

static size_t below(struct worker *w, size_t n)
{
	return next(w) % n;
}

static size_t length(unsigned s)
{
	return start[s + 1] - start[s];
}

static uint8_t byte_of(unsigned s, uint32_t version, size_t i)
{
	return version ? (uint8_t)(s * 131 + version * 29 + i * 7 + (i >> 8) * 3 + 1) : 0;
}

static void fill(uint8_t *p, unsigned s, uint32_t version)
{
	for (size_t i = 0; i < length(s); i++)
		p[i] = byte_of(s, version, i);
}

static _Noreturn void fail(const struct worker *w, const char *how, unsigned s, size_t i)
{
	fprintf(stderr, "stripes: worker %u, after %s, %s: byte %zu of the file, %zu of stripe %u, version %u then %u: %s\n", w->id,
		w->what, how, start[s] + i, i, s, shared->stripe[s].now, shared->stripe[s].then, strerror(errno));
	shared->failed = true;
	_exit(1);
}

static void holds(const struct worker *w, const char *how, unsigned s, const uint8_t *p)
{
	for (size_t i = 0; i < length(s); i++)
		if (p[i] != byte_of(s, shared->stripe[s].now, i))
			fail(w, how, s, i);
}

static void check(struct worker *w, unsigned s)
{
	size_t n = length(s), first = start[s] & ~(PAGE - 1), in = start[s] - first;
	uint8_t *p;

	switch (below(w, 3)) {
	case 0:
		holds(w, "in the mapping", s, w->map + start[s]);
		break;
	case 1:
		if (pread(w->fd, w->buf, n, (off_t)start[s]) != (ssize_t)n)
			fail(w, "a short read", s, 0);
		holds(w, "in the file", s, w->buf);
		break;
	default:
		p = mmap(NULL, in + n, PROT_READ, next(w) & 1 ? MAP_SHARED : MAP_PRIVATE, w->fd, (off_t)first);
		if (p == MAP_FAILED)
			fail(w, "mmap", s, 0);
		holds(w, "in another mapping", s, p + in);
		munmap(p, in + n);
	}
}

/* ---- Ways to change a stripe ---- */

static void by_store(struct worker *w, unsigned s, uint32_t version)
{
	w->what = "storing";
	fill(w->map + start[s], s, version);
}

static void by_write(struct worker *w, unsigned s, uint32_t version)
{
	w->what = "pwrite";
	fill(w->buf, s, version);
	if (pwrite(w->fd, w->buf, length(s), (off_t)start[s]) != (ssize_t)length(s))
		fail(w, "a short write", s, 0);
}

static void by_vectors(struct worker *w, unsigned s, uint32_t version)
{
	struct iovec v[2] = {{w->buf, length(s) / 3}, {w->buf + length(s) / 3, length(s) - length(s) / 3}};

	w->what = "pwritev2";
	fill(w->buf, s, version);
	if (pwritev2(w->fd, v, 2, (off_t)start[s], next(w) % 8 ? 0 : RWF_DSYNC) != (ssize_t)length(s))
		fail(w, "a short write", s, 0);
}

/* Read from a pipe into the mapping, or by splice(2) into the file. */
static void by_pipe(struct worker *w, unsigned s, uint32_t version)
{
	size_t done = 0, n = length(s);
	bool splices = next(w) & 1;
	int pipes[2];

	w->what = splices ? "splice" : "reading into the mapping";
	fill(w->buf, s, version);
	if (pipe2(pipes, O_CLOEXEC) || write(pipes[1], w->buf, n) != (ssize_t)n)
		fail(w, "the pipe", s, 0);
	while (done < n) {
		off_t at = (off_t)(start[s] + done);
		ssize_t got = splices ? splice(pipes[0], NULL, w->fd, &at, n - done, 0) : read(pipes[0], w->map + at, n - done);

		if (got <= 0)
			fail(w, "from the pipe", s, done);
		done += (size_t)got;
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void by_hole(struct worker *w, unsigned s, uint32_t version)
{
	w->what = "a hole";
	(void)version;
	if (fallocate(w->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)start[s], (off_t)length(s)))
		by_store(w, s, 0);
}

/* ---- Steps ---- */

static unsigned one_of_mine(struct worker *w)
{
	unsigned mine = (stripes - w->id + WORKERS - 1) / WORKERS;

	return (unsigned)(next(w) % 4 ? below(w, mine) : mine - 1 - below(w, 4)) * WORKERS + w->id;
}

static void change(struct worker *w)
{
	static void (*const ways[])(struct worker *, unsigned, uint32_t) = {by_store, by_store, by_write, by_vectors, by_pipe, by_hole};
	size_t way = below(w, ARRAY_SIZE(ways));
	unsigned s = one_of_mine(w);
	struct stripe *stripe = &shared->stripe[s];
	uint32_t version = ways[way] == by_hole ? 0 : (stripe->now + 1) | 1;

	stripe->then = version;
	ways[way](w, s, version);
	stripe->now = version;
	check(w, s);
}

static void disturb(struct worker *w)
{
	unsigned s = one_of_mine(w);
	uint8_t *at = w->map + (start[s] & ~(PAGE - 1));
	off_t end = (off_t)(SIZE + below(w, 2 * PAGE));

	w->what = "a disturbance";
	switch (below(w, 5)) {
	case 0:
		msync(at, length(s), next(w) & 1 ? MS_SYNC : MS_ASYNC);
		break;
	case 1:
		madvise(at, length(s), next(w) & 1 ? MADV_PAGEOUT : MADV_DONTNEED);
		break;
	case 2:
		posix_fadvise(w->fd, (off_t)start[s], (off_t)length(s), POSIX_FADV_DONTNEED);
		break;
	case 3: /* what is beyond the end is nobody's */
		w->map[SIZE + 2] = 'x';
		if (w->id == 0 && ftruncate(w->fd, end))
			fail(w, "ftruncate", s, 0);
		break;
	default:
		munmap(w->map, MAPPED);
		w->map = (uint8_t *)map_file(w->fd, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED);
	}
}

/* What the one before was about when it was killed is done again. */
static void take_over(struct worker *w)
{
	w->what = "a kill";
	for (unsigned s = w->id; s < stripes; s += WORKERS) {
		struct stripe *stripe = &shared->stripe[s];
		const uint8_t *p = w->map + start[s];

		for (size_t i = 0; i < length(s); i++)
			if (p[i] != byte_of(s, stripe->now, i) && p[i] != byte_of(s, stripe->then, i))
				fail(w, "neither the old nor the new", s, i);
		if (stripe->now != stripe->then)
			fill(w->map + start[s], s, stripe->then);
		stripe->now = stripe->then;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(w->fd >= 0);
	w->map = (uint8_t *)map_file(w->fd, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED);
	take_over(w);
	while (shared->steps++ < steps_wanted && !shared->failed) {
		if (next(w) % 4)
			change(w);
		else
			disturb(w);
		check(w, one_of_mine(w));
	}
	munmap(w->map, MAPPED);
	close(w->fd);
	return NULL;
}

/* ---- All of it ---- */

static struct worker *new_worker(unsigned id, uint64_t seed)
{
	struct worker *w = calloc(1, sizeof *w);

	CHECK(w);
	w->id = id;
	w->what = "the start";
	w->rng = (seed * WORKERS + id) * 0x9e3779b97f4a7c15ull + 1;
	for (int i = 0; i < 10; i++)
		next(w);
	return w;
}

static void lay_out(uint64_t seed)
{
	struct worker *w = new_worker(0, seed);

	while (start[stripes] < SIZE && stripes + 1 < STRIPES_MAX) {
		size_t end = start[stripes] + 1 + below(w, below(w, 10) ? 3000 : STRIPE_MAX);

		start[++stripes] = end < SIZE ? end : SIZE;
	}
	CHECK(start[stripes] == SIZE);
	free(w);
}

static pid_t start_process(unsigned id, uint64_t seed)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	work(new_worker(id, seed));
	_exit(shared->failed);
}

static void run_processes(uint64_t seed, bool kills)
{
	struct worker *w = new_worker(0, seed);
	pid_t pid[WORKERS];
	int status;

	for (unsigned i = 0; i < WORKERS; i++)
		pid[i] = start_process(i, seed);
	while (kills && shared->steps < steps_wanted && !shared->failed) {
		unsigned i = (unsigned)below(w, WORKERS);

		usleep((useconds_t)below(w, 60000));
		kill(pid[i], SIGKILL);
		CHECK(waitpid(pid[i], &status, 0) == pid[i]);
		pid[i] = start_process(i, next(w));
	}
	for (unsigned i = 0; i < WORKERS; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i] && !status);
	free(w);
}

static void run_threads(uint64_t seed)
{
	struct worker *w[WORKERS];
	pthread_t thread[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = new_worker(i, seed);
		CHECK(!pthread_create(&thread[i], NULL, work, w[i]));
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		CHECK(!pthread_join(thread[i], NULL));
		free(w[i]);
	}
}

static void check_file(int fd)
{
	struct worker *w = new_worker(0, 0);

	w->what = "all";
	CHECK(!fsync(fd));
	for (unsigned s = 0; s < stripes; s++) {
		CHECK(file_has(fd, w->buf, length(s), (off_t)start[s]) == (long)length(s));
		holds(w, "in the file itself", s, w->buf);
	}
	free(w);
}

int main(int argc, char **argv)
{
	int fd, memory = memfd_create("stripes", MFD_CLOEXEC); /* the kernel's, whatever else is served */
	uint64_t seed;

	CHECK(argc == 5);
	path = argv[1];
	seed = strtoull(argv[2], NULL, 0);
	steps_wanted = strtoul(argv[3], NULL, 0);
	CHECK(memory >= 0 && !ftruncate(memory, sizeof *shared));
	shared = (void *)map_file(memory, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED);
	lay_out(seed);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	if (!strcmp(argv[4], "threads"))
		run_threads(seed);
	else
		run_processes(seed, !strcmp(argv[4], "killed"));
	check_file(fd);
	return shared->failed;
}
