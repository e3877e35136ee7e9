/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page after another by the job's pattern: a load of its first word, or, of half of the pages when the job writes, a store to its
 * second. With a batch, so many pages are asked for before they are read.
 */
#include <errno.h>
#include <stdlib.h>

#include "workload.h"

/* A store to one page in so many is looked up in the file afterwards. */
#define STORE_SAMPLE_EVERY 97

static void store(struct actor *a, uint64_t at)
{
	uint64_t value = data_stored(at, (uint32_t)a->run->job->seed);

	*(volatile uint64_t *)(a->run->map + at + 8) = value;
	if (a->ops % STORE_SAMPLE_EVERY == 0)
		sample_take(a, at + 8, value);
}

/* The word that is stored to is read too: it is as it was made, or as one of us has left it. */
static void judge_stored(struct actor *a, uint64_t at)
{
	uint64_t word = load_word(a->run, at + 8);

	if (!data_is_stored(at, word) && !a->wrong) {
		a->wrong = true;
		a->wrong_at = at + 8;
	}
}

static void one(struct actor *a, bool writes)
{
	uint64_t at = next_page(a) * PAGE, began, word;

	if (writes && next_random(&a->random) >> 63) {
		began = clock_ns();
		store(a, at);
		latency_add(&a->latency, clock_ns() - began);
	} else {
		began = clock_ns();
		word = load_word(a->run, at);
		latency_add(&a->latency, clock_ns() - began);
		judge(a, at, word, data_word(at));
		if (writes)
			judge_stored(a, at);
	}
	a->ops++;
}

static void single(struct actor *a)
{
	bool writes = a->run->job->writes;

	while (!is_over(a))
		one(a, writes);
}

static void batches(struct actor *a)
{
	const struct run *r = a->run;
	unsigned n = r->job->batch;
	uint64_t page[JOB_BATCH_MAX];

	while (!is_over(a)) {
		for (unsigned i = 0; i < n; i++)
			page[i] = next_page(a);
		if (r->by->prefetch(r->map, page, n))
			a->error = errno;
		for (unsigned i = 0; i < n; i++, a->ops++)
			judge(a, page[i] * PAGE, load_word(r, page[i] * PAGE), data_word(page[i] * PAGE));
	}
}

static void sync_timed(struct run *r, struct outcome *out)
{
	double began = now_ns();

	if (r->by->sync(r->map, r->job->size))
		fail(out, "msync", errno);
	out->seconds += (now_ns() - began) / 1e9;
}

static int measure(struct run *r, struct actor *a, struct outcome *out)
{
	const struct job *j = r->job;
	uint64_t before = 0;
	int error;

	r->by->count(&before, &out->evictions);
	error = actors_run(a, j->threads, &(struct act){j->batch ? batches : single, j->seconds, NULL}, out);
	r->by->count(&out->misses, &out->evictions);
	out->misses -= before;
	return error;
}

void workload_random(struct run *r, struct outcome *out)
{
	const struct job *j = r->job;
	struct actor *a = actors_new(r, j->threads);
	int error = a ? warm_up(r, r->pages) : -ENOMEM;

	if (!error)
		error = measure(r, a, out);
	if (error) {
		fail(out, "threads", -error);
		free(a);
		return;
	}
	if (j->writes)
		sync_timed(r, out);
	actors_account(a, j->threads, out);
	if (j->writes)
		actors_account_stores(a, j->threads, out);
	free(a);
}
