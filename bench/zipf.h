/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers by Zipf's law, and an order for them that is none. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdint.h>

struct zipf {
	uint64_t n;
	double skew;
	double low, high; /* the area under the curve, from the first number to the last */
	double accept;    /* so close to a number, nothing needs to be computed */
};

/* Numbers 1 to n, k as often as k^-skew. No table: the time to draw one, and the memory, do not depend on n. */
void zipf_init(struct zipf *z, uint64_t n, double skew);
uint64_t zipf_next(const struct zipf *z, uint64_t *random);

/* One-to-one on 0 to n - 1, without a visible order; seeds give different ones. */
uint64_t scramble(uint64_t i, uint64_t n, uint64_t seed);

#endif
