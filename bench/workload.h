/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workloads share, inside of the process that does one: threads that start and stop together, and what they have read judged.
 * Only worker.c starts one.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "contender.h"
#include "data.h"
#include "job.h"
#include "zipf.h"

#define SAMPLES 64

struct run {
	const struct job *job;
	const struct contender *by;
	int fd;
	char *map;
	uint64_t pages;
	struct zipf zipf;
	_Atomic bool stop; /* set when the time is over */
};

/* One thread. Nobody else looks at it until the thread has ended. */
struct actor {
	struct run *run;
	unsigned number;
	uint64_t random;
	uint64_t ops, bytes;
	uint64_t next; /* where a workload that goes on, goes on */
	bool words;    /* samples are of single words, else of the sums of lines */
	uint64_t judged, taken;
	uint64_t sample_at[SAMPLES], sample[SAMPLES]; /* offset; what was read there, or stored */
	bool wrong;
	uint64_t wrong_at; /* offset */
	int error;         /* errno of a call that failed; 0: none */
	struct latency latency;
};

typedef void actor_fn(struct actor *a);

/* A file whose bytes are not known is judged by one read in so many, when the time is over. A prime: patterns do not meet it. */
#define SAMPLE_EVERY 1021

static inline void sample_take(struct actor *a, uint64_t offset, uint64_t value)
{
	unsigned i = (unsigned)(a->taken++ % SAMPLES);

	a->sample_at[i] = offset;
	a->sample[i] = value;
}

/* `expected` is of a known file. */
static inline void judge(struct actor *a, uint64_t offset, uint64_t got, uint64_t expected)
{
	if (!a->run->job->known) {
		if (a->ops % SAMPLE_EVERY == 0)
			sample_take(a, offset, got);
		return;
	}
	a->judged++;
	if (got != expected && !a->wrong) {
		a->wrong = true;
		a->wrong_at = offset;
	}
}

static inline uint64_t load_word(const struct run *r, uint64_t offset)
{
	return *(const volatile uint64_t *)(r->map + offset);
}

/* The first words of the lines of a page. */
static inline uint64_t load_lines(const struct run *r, uint64_t page)
{
	uint64_t sum = 0;

	for (uint64_t at = page; at < page + PAGE; at += LINE)
		sum += load_word(r, at);
	return sum;
}

static inline bool is_over(const struct actor *a)
{
	const struct job *j = a->run->job;

	return atomic_load_explicit(&a->run->stop, memory_order_relaxed) || a->wrong || a->error || (j->ops_max && a->ops >= j->ops_max);
}

/* ---- workload.c ---- */

/* n actors, to be given back with free(); NULL without memory. */
struct actor *actors_new(struct run *r, unsigned n);
/* What they do, and for how long at most. */
struct act {
	actor_fn *fn;
	double seconds;
	bool (*is_enough)(struct run *r); /* asked now and then; NULL: nobody is */
};

/*
 * Runs them until all have ended. The time from the start to the end of the last, and the processor time of the process, are added to
 * the outcome's. 0 or -errno.
 */
int actors_run(struct actor *a, unsigned n, const struct act *act, struct outcome *out);
/* Adds up what they did, and judges their samples by pread(2). What is wrong becomes the outcome's error. */
void actors_account(const struct actor *a, unsigned n, struct outcome *out);
/* Whether the file has what the samples say, word by word: what was stored, after msync. */
void actors_account_stores(const struct actor *a, unsigned n, struct outcome *out);
/* Reads pages by the job's pattern, in many threads, until memory is full or the time for it is over. 0 or -errno. */
int warm_up(struct run *r, uint64_t pages);
uint64_t next_page(struct actor *a);
void fail(struct outcome *out, const char *what, int error);

/* ---- One file each. What goes wrong is in the outcome ---- */

void workload_scan(struct run *r, struct outcome *out);
void workload_random(struct run *r, struct outcome *out);
void workload_hot(struct run *r, struct outcome *out);
void workload_chase(struct run *r, struct outcome *out);
void workload_sync(struct run *r, struct outcome *out);
/* The actor of workload_scan(): from the page `next` on, round by way of `from`. */
void scan_from(struct actor *a, uint64_t from);

#endif
