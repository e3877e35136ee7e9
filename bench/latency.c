/* SPDX-License-Identifier: Apache-2.0 */
#include "latency.h"

void latency_merge(struct latency *to, const struct latency *from)
{
	to->n += from->n;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		to->count[i] += from->count[i];
}

double latency_start(unsigned bucket)
{
	if (bucket < LATENCY_FINE)
		return bucket;
	return (double)(((uint64_t)bucket % LATENCY_FINE + LATENCY_FINE) << (bucket / LATENCY_FINE - 1));
}

double latency_at(const struct latency *l, double share)
{
	uint64_t below = 0, wanted = (uint64_t)(share * (double)l->n);

	if (!l->n)
		return 0;
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		if (below + l->count[i] > wanted) {
			double part = (double)(wanted - below) / l->count[i];

			return latency_start(i) + part * (latency_start(i + 1) - latency_start(i));
		}
		below += l->count[i];
	}
	return latency_start(LATENCY_BUCKETS);
}
