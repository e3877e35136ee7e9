/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", 1996).
 * A number k is a bar of height k^-skew, from k - 1/2 to k + 1/2. A point is drawn evenly from the area under the curve x^-skew, which
 * its integral, turned around, makes an x; the bar nearest to it is taken, unless the point lies in the sliver where the curve is
 * above what is left of the bar.
 */
#include "zipf.h"

#include <math.h>

#include "util.h"

static double curve(const struct zipf *z, double x)
{
	return exp(-z->skew * log(x));
}

/* The integral of the curve from 1 to x. */
static double area(const struct zipf *z, double x)
{
	double s = 1 - z->skew;

	return fabs(s) < 1e-9 ? log(x) : expm1(s * log(x)) / s;
}

static double area_inverse(const struct zipf *z, double a)
{
	double s = 1 - z->skew;

	return exp(fabs(s) < 1e-9 ? a : log1p(fmax(a * s, -1)) / s);
}

void zipf_init(struct zipf *z, uint64_t n, double skew)
{
	*z = (struct zipf){.n = n, .skew = skew};
	z->low = area(z, 1.5) - 1; /* the first bar is whole: the curve above it goes to infinity */
	z->high = area(z, (double)n + 0.5);
	z->accept = 2 - area_inverse(z, area(z, 2.5) - curve(z, 2));
}

uint64_t zipf_next(const struct zipf *z, uint64_t *random)
{
	for (;;) {
		double part = (double)(next_random(random) >> 11) * 0x1p-53;
		double a = z->high + part * (z->low - z->high), x = area_inverse(z, a);
		double k = fmin(fmax(floor(x + 0.5), 1), (double)z->n);

		if (k - x <= z->accept || a >= area(z, k + 0.5) - curve(z, k))
			return (uint64_t)k;
	}
}

/* Each step can be undone within so many bits; what falls beyond n goes round until it does not. */
uint64_t scramble(uint64_t i, uint64_t n, uint64_t seed)
{
	unsigned bits = n > 2 ? 64 - (unsigned)__builtin_clzll(n - 1) : 1;
	uint64_t mask = (1ULL << bits) - 1;

	do {
		i = (i + seed) & mask;
		i = (i * 0x9e3779b97f4a7c15ULL) & mask;
		i ^= i >> (bits / 2 + 1);
		i = (i * 0xd1342543de82ef95ULL) & mask;
		i ^= i >> (bits / 2 + 1);
	} while (i >= n);
	return i;
}
