/* SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define WARM_THREADS 32
/* How often it is asked whether that is enough. */
#define ASK_NS 20000000u

void fail(struct outcome *out, const char *what, int error)
{
	if (!*out->error)
		snprintf(out->error, sizeof out->error, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "");
}

uint64_t next_page(struct actor *a)
{
	const struct run *r = a->run;
	const struct job *j = r->job;

	switch (j->pattern) {
	case PATTERN_ZIPF:
		return scramble(zipf_next(&r->zipf, &a->random) - 1, r->pages, j->seed);
	case PATTERN_ONCE:
		return scramble((a->next++ * j->threads + a->number) % r->pages, r->pages, j->seed);
	default:
		return (next_random(&a->random) >> 11) % r->pages;
	}
}

/* ---- Threads ---- */

struct member {
	struct crew *crew;
	struct actor *actor;
	pthread_t thread;
};

/* Of one call of actors_run(). */
struct crew {
	actor_fn *fn;
	pthread_barrier_t start;
	sem_t ended; /* posted by each at its end */
	struct member member[JOB_THREADS_MAX];
};

struct actor *actors_new(struct run *r, unsigned n)
{
	struct actor *a = calloc(n, sizeof *a);

	for (unsigned i = 0; a && i < n; i++) {
		a[i].run = r;
		a[i].number = i;
		a[i].random = (r->job->seed + i) * DATA_STEP | 1;
		a[i].words = true;
	}
	return a;
}

static void *perform(void *arg)
{
	struct member *m = arg;

	pthread_barrier_wait(&m->crew->start);
	m->crew->fn(m->actor);
	sem_post(&m->crew->ended);
	return NULL;
}

static struct timespec in_ns(uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns += (uint64_t)t.tv_nsec;
	t.tv_sec += (time_t)(ns / 1000000000u);
	t.tv_nsec = (long)(ns % 1000000000u);
	return t;
}

/* False when that time has passed. */
static bool wait_for_one(struct crew *c, uint64_t ns)
{
	struct timespec t = in_ns(ns);

	while (sem_clockwait(&c->ended, CLOCK_MONOTONIC, &t))
		if (errno != EINTR)
			return false;
	return true;
}

static void wait_for_all(struct run *r, struct crew *c, unsigned n, const struct act *act)
{
	uint64_t end = clock_ns() + (uint64_t)(act->seconds * 1e9);

	while (n) {
		uint64_t now = clock_ns(), left = now < end ? end - now : 0;

		if (act->is_enough && left > ASK_NS)
			left = ASK_NS;
		if (atomic_load(&r->stop))
			left = 1000000000u;
		if (wait_for_one(c, left))
			n--;
		else if (clock_ns() >= end || (act->is_enough && act->is_enough(r)))
			atomic_store(&r->stop, true);
	}
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int start(struct crew *c, struct actor *a, unsigned n)
{
	int error = 0;

	for (unsigned i = 0; i < n && !error; i++) {
		c->member[i] = (struct member){.crew = c, .actor = &a[i]};
		error = pthread_create(&c->member[i].thread, NULL, perform, &c->member[i]);
	}
	return -error;
}

static void crew_free(struct crew *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pthread_join(c->member[i].thread, NULL);
	pthread_barrier_destroy(&c->start);
	sem_destroy(&c->ended);
	free(c);
}

/* Where some cannot be started, the others stay at the barrier with their crew until the process ends, which is soon. */
int actors_run(struct actor *a, unsigned n, const struct act *act, struct outcome *out)
{
	struct crew *c = calloc(1, sizeof *c);
	struct run *r = a->run;
	double began, cpu;
	int error;

	if (!c)
		return -ENOMEM;
	c->fn = act->fn;
	atomic_store(&r->stop, false);
	pthread_barrier_init(&c->start, NULL, n + 1);
	sem_init(&c->ended, 0, 0);
	error = start(c, a, n);
	if (error)
		return error;
	cpu = cpu_seconds();
	began = now_ns();
	pthread_barrier_wait(&c->start);
	wait_for_all(r, c, n, act);
	out->seconds += (now_ns() - began) / 1e9;
	out->cpu_seconds += cpu_seconds() - cpu;
	crew_free(c, n);
	return 0;
}

/* ---- Judgement ---- */

static uint64_t sum_of(const uint64_t *page)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PAGE / 8; i += LINE / 8)
		sum += page[i];
	return sum;
}

/* 1 when the file has it, 0 when it does not, or -errno. */
static int sample_is_right(const struct actor *a, unsigned i)
{
	uint64_t page[PAGE / 8];
	size_t wanted = a->words ? sizeof *page : sizeof page;
	ssize_t n = pread(a->run->fd, page, wanted, (off_t)a->sample_at[i]);

	if (n != (ssize_t)wanted)
		return n < 0 ? -errno : -ESPIPE;
	return (a->words ? page[0] : sum_of(page)) == a->sample[i];
}

static void judge_samples(const struct actor *a, struct outcome *out)
{
	for (unsigned i = 0; i < SAMPLES && i < a->taken; i++) {
		int right = sample_is_right(a, i);

		if (right < 0)
			fail(out, "pread", -right);
		else if (!right && !*out->error)
			snprintf(out->error, sizeof out->error, "wrong bytes at %llu: not what the file has; was it written meanwhile?",
				 (unsigned long long)a->sample_at[i]);
		out->judged++;
	}
}

void actors_account(const struct actor *a, unsigned n, struct outcome *out)
{
	for (unsigned i = 0; i < n; i++) {
		out->ops += a[i].ops;
		out->judged += a[i].judged;
		latency_merge(&out->latency, &a[i].latency);
		if (a[i].error)
			fail(out, "advice", a[i].error);
		if (a[i].wrong && !*out->error)
			snprintf(out->error, sizeof out->error, "wrong bytes at %llu", (unsigned long long)a[i].wrong_at);
		if (!a[i].run->job->known)
			judge_samples(&a[i], out);
	}
}

void actors_account_stores(const struct actor *a, unsigned n, struct outcome *out)
{
	for (unsigned i = 0; i < n; i++)
		judge_samples(&a[i], out);
}

/* ---- Warming up ---- */

static bool is_full(struct run *r)
{
	uint64_t misses = 0, evictions = 0;

	r->by->count(&misses, &evictions);
	return misses >= r->job->memory / PAGE;
}

static void touch_some(struct actor *a)
{
	while (!atomic_load_explicit(&a->run->stop, memory_order_relaxed))
		keep(load_word(a->run, next_page(a) * PAGE));
}

/* Each page of what fits into memory, once. */
static void touch_all(struct actor *a)
{
	struct run *r = a->run;

	for (uint64_t i = a->number; i < r->pages && !atomic_load_explicit(&r->stop, memory_order_relaxed); i += WARM_THREADS)
		keep(load_word(r, scramble(i, r->pages, 1) * PAGE));
}

/* The kernel is told that accesses are random: with its read-ahead, few of the pages that fill memory would be wanted ones. */
int warm_up(struct run *r, uint64_t pages)
{
	struct outcome unused = {.error = ""};
	uint64_t all = r->pages;
	bool fits = pages * PAGE <= r->job->memory;
	struct act touch = {fits ? touch_all : touch_some, r->job->warm, fits ? NULL : is_full};
	struct actor *a;
	int error;

	if (!(r->job->warm > 0))
		return 0;
	r->pages = pages;
	a = actors_new(r, WARM_THREADS);
	if (!a)
		return -ENOMEM;
	if (r->job->contender == CONTENDER_KERNEL)
		r->by->advise(r->map, r->job->size, MADV_RANDOM);
	error = actors_run(a, WARM_THREADS, &touch, &unused);
	if (r->job->contender == CONTENDER_KERNEL)
		r->by->advise(r->map, r->job->size, r->job->advice >= 0 ? r->job->advice : MADV_NORMAL);
	r->pages = all;
	free(a);
	return error;
}
