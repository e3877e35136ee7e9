/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads from lines all over the mapping, in an order that depends on what each has loaded: the next cannot begin before. All pages are
 * in memory and mapped when the time starts. Of a file whose bytes are not known there is no such run.
 */
#include <errno.h>
#include <stdlib.h>

#include "workload.h"

/* The clock is asked, by way of is_over(), once in so many. */
#define STEPS 4096

/* The number of the step goes in too: what is loaded alone would soon lead round in a small circle. */
static uint64_t next_line(uint64_t word, uint64_t step, uint64_t lines)
{
	uint64_t x = (word + step) * 0xd1342543de82ef95ULL;

	return ((x >> 32) * lines) >> 32;
}

static uint64_t chase_some(struct actor *a, uint64_t at, uint64_t lines)
{
	const struct run *r = a->run;

	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t word = load_word(r, at);

		judge(a, at, word, data_word(at));
		at = next_line(word, a->ops + i, lines) * LINE;
	}
	return at;
}

static void chase(struct actor *a)
{
	uint64_t lines = a->run->job->size / LINE, at = 0;

	for (; !is_over(a); a->ops += STEPS)
		at = chase_some(a, at, lines);
}

static void touch_in_order(struct actor *a)
{
	for (uint64_t page = 0; page < a->run->pages; page++)
		keep(load_word(a->run, page * PAGE));
}

void workload_chase(struct run *r, struct outcome *out)
{
	struct outcome unused = {.error = ""};
	struct actor *a = actors_new(r, 1);
	int error = a ? 0 : -ENOMEM;

	if (!error)
		error = actors_run(a, 1, &(struct act){touch_in_order, r->job->seconds + 60, NULL}, &unused);
	if (!error)
		error = actors_run(a, 1, &(struct act){chase, r->job->seconds, NULL}, out);
	if (error)
		fail(out, "threads", -error);
	else
		actors_account(a, 1, out);
	free(a);
}
