/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often an operation took how long: counts in buckets of a sixteenth of a power of two, so that any of them can be told to one part
 * in sixteen, in a fixed room and without a lock. One for each thread, added up at the end.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_FINE 16
#define LATENCY_BUCKETS (38 * LATENCY_FINE) /* up to 2^41 ns: what is longer goes into the last */

struct latency {
	uint64_t n;
	uint32_t count[LATENCY_BUCKETS];
};

static inline unsigned latency_bucket(uint64_t ns)
{
	unsigned power, i;

	if (ns < LATENCY_FINE)
		return (unsigned)ns;
	power = 63 - (unsigned)__builtin_clzll(ns); /* 4 and more */
	i = (power - 3) * LATENCY_FINE + (unsigned)(ns >> (power - 4)) % LATENCY_FINE;
	return i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1;
}

static inline void latency_add(struct latency *l, uint64_t ns)
{
	l->n++;
	l->count[latency_bucket(ns)]++;
}

void latency_merge(struct latency *to, const struct latency *from);
/* Where a bucket begins, in ns. */
double latency_start(unsigned bucket);
/* What `share` (0.99) of the operations did not exceed, within a bucket; 0 of none. */
double latency_at(const struct latency *l, double share);

#endif
