/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hot set beside a scan: what is measured is the thread that reads the hot pages. Both have run for a while when the time starts, so
 * memory is full of what the scan has left behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "workload.h"

#define ACTORS 2

static uint64_t hot_pages(const struct run *r)
{
	return r->job->hot_bytes / PAGE;
}

static void read_hot(struct actor *a)
{
	uint64_t pages = hot_pages(a->run);

	while (!is_over(a)) {
		uint64_t at = (next_random(&a->random) >> 11) % pages * PAGE, began = clock_ns(), word = load_word(a->run, at);

		latency_add(&a->latency, clock_ns() - began);
		judge(a, at, word, data_word(at));
		a->ops++;
	}
	atomic_store_explicit(&a->run->stop, true, memory_order_relaxed); /* without it, there is no use in the scan */
}

static void read_or_scan(struct actor *a)
{
	if (a->number == 0)
		read_hot(a);
	else
		scan_from(a, hot_pages(a->run));
}

static void advise(struct run *r)
{
	if (r->job->advice != ADVICE_APART)
		return;
	r->by->advise(r->map, r->job->hot_bytes, MADV_RANDOM);
	r->by->advise(r->map + r->job->hot_bytes, r->job->size - r->job->hot_bytes, MADV_SEQUENTIAL);
}

/* As the measurement, and forgotten but for how far the scan has come. */
static int run_in(struct actor *a, unsigned n, double seconds)
{
	struct outcome unused = {.error = ""};
	int error = seconds > 0 ? actors_run(a, n, &(struct act){read_or_scan, seconds, NULL}, &unused) : 0;

	for (unsigned i = 0; i < n; i++) {
		a[i].ops = a[i].bytes = 0;
		a[i].latency = (struct latency){.n = 0};
	}
	return error;
}

static void account(const struct actor *a, unsigned n, struct outcome *out)
{
	actors_account(a, n, out);
	out->ops = a[0].ops;
	out->scanned = n > 1 ? a[1].bytes : 0;
}

void workload_hot(struct run *r, struct outcome *out)
{
	unsigned n = r->job->scanner ? ACTORS : 1;
	struct actor *a = actors_new(r, ACTORS);
	int error = a ? warm_up(r, hot_pages(r)) : -ENOMEM;

	advise(r);
	if (!error) {
		a[1].words = false;
		a[1].next = hot_pages(r);
		error = run_in(a, n, r->job->warm > 0 ? r->job->seconds : 0);
	}
	if (!error)
		error = actors_run(a, n, &(struct act){read_or_scan, r->job->seconds, NULL}, out);
	if (error)
		fail(out, "threads", -error);
	else
		account(a, n, out);
	free(a);
}
