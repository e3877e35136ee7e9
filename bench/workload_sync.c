/* SPDX-License-Identifier: Apache-2.0 */
/* Stores to some pages, here and there, and msync of all of the mapping, again and again: the time is that of msync alone. */
#include <errno.h>
#include <stdlib.h>

#include "workload.h"

static void store_some(struct actor *a, unsigned n, uint32_t value)
{
	a->taken = 0; /* samples of this round alone: what was stored earlier may have been stored over */
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = next_page(a) * PAGE, word = data_stored(at, value);

		*(volatile uint64_t *)(a->run->map + at + 8) = word;
		if (i < SAMPLES)
			sample_take(a, at + 8, word);
	}
}

static void sync_once(struct run *r, struct actor *a, struct outcome *out)
{
	uint64_t began = clock_ns(), took;

	if (r->by->sync(r->map, r->job->size))
		fail(out, "msync", errno);
	took = clock_ns() - began;
	latency_add(&a->latency, took);
	out->seconds += (double)took / 1e9;
	a->ops++;
}

void workload_sync(struct run *r, struct outcome *out)
{
	const struct job *j = r->job;
	struct actor *a = actors_new(r, 1);
	int error = a ? warm_up(r, r->pages) : -ENOMEM;
	uint64_t end = clock_ns() + (uint64_t)(j->seconds * 1e9);

	if (error) {
		fail(out, "threads", -error);
		free(a);
		return;
	}
	do {
		store_some(a, j->sync_pages, (uint32_t)(j->seed + a->ops));
		sync_once(r, a, out);
		actors_account_stores(a, 1, out);
	} while (!*out->error && clock_ns() < end && (!j->ops_max || a->ops < j->ops_max));
	actors_account(a, 1, out);
	free(a);
}
