/* SPDX-License-Identifier: Apache-2.0 */
/* Traces for policy_sim: the same in every run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy_sim.h"

#define SEED 88172645463325252ull

static struct trace new_trace(uint32_t pages, size_t n)
{
	return (struct trace){.page = must_alloc(n, sizeof(uint32_t)), .n = n, .pages = pages};
}

void trace_free(struct trace *t)
{
	free(t->page);
	*t = (struct trace){0};
}

/* In [0, 1). */
static double unit(uint64_t *random)
{
	return (double)(next_random(random) >> 11) * 0x1p-53;
}

/* ---- Zipf: the page of rank r is used in proportion to 1 / r^skew ---- */

struct zipf {
	double *upto; /* probability of ranks 0 to i together */
	uint32_t n;
};

static struct zipf zipf_new(uint32_t n, double skew)
{
	struct zipf z = {.upto = must_alloc(n, sizeof(double)), .n = n};
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		z.upto[i] = sum += pow(i + 1.0, -skew);
	for (uint32_t i = 0; i < n; i++)
		z.upto[i] /= sum;
	return z;
}

static uint32_t zipf_rank(const struct zipf *z, uint64_t *random)
{
	double u = unit(random);
	uint32_t low = 0, high = z->n - 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (z->upto[mid] <= u)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Which page has which rank: neighbours in rank are no neighbours in the file. */
static uint32_t *shuffled(uint32_t n, uint64_t *random)
{
	uint32_t *v = must_alloc(n, sizeof *v);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = (uint32_t)(next_random(random) % (i + 1));

		v[i] = v[j];
		v[j] = i;
	}
	return v;
}

/* With `every`, two ranks change places each so many accesses. */
static struct trace zipf_trace(uint32_t pages, double skew, size_t every, size_t n)
{
	struct trace t = new_trace(pages, n);
	struct zipf z = zipf_new(pages, skew);
	uint64_t random = SEED;
	uint32_t *page = shuffled(pages, &random);

	for (size_t i = 0; i < n; i++) {
		t.page[i] = page[zipf_rank(&z, &random)];
		if (every && i % every == 0) {
			uint32_t a = (uint32_t)(i / every % pages), b = (uint32_t)(next_random(&random) % pages), was = page[a];

			page[a] = page[b];
			page[b] = was;
		}
	}
	free(page);
	free(z.upto);
	return t;
}

struct trace trace_zipf(uint32_t pages, double skew, size_t n)
{
	return zipf_trace(pages, skew, 0, n);
}

struct trace trace_shifting(uint32_t pages, double skew, unsigned turns, size_t n)
{
	size_t every = n / turns / pages;

	return zipf_trace(pages, skew, every ? every : 1, n);
}

/* ---- Others ---- */

struct trace trace_uniform(uint32_t pages, size_t n)
{
	struct trace t = new_trace(pages, n);
	uint64_t random = SEED;

	for (size_t i = 0; i < n; i++)
		t.page[i] = (uint32_t)(next_random(&random) % pages);
	return t;
}

struct trace trace_loop(uint32_t pages, size_t n)
{
	struct trace t = new_trace(pages, n);

	for (size_t i = 0; i < n; i++)
		t.page[i] = (uint32_t)(i % pages);
	return t;
}

struct trace trace_scan(uint32_t hot, uint32_t file, unsigned hot_share, size_t n)
{
	struct trace t = new_trace(hot + file, n);
	struct zipf z = zipf_new(hot, 0.8);
	uint64_t random = SEED;
	uint32_t at = 0;

	for (size_t i = 0; i < n; i++)
		t.page[i] = next_random(&random) % 100 < hot_share ? zipf_rank(&z, &random) : hot + at++ % file;
	free(z.upto);
	return t;
}

struct trace trace_streams(uint32_t pages, unsigned streams, size_t n)
{
	uint32_t each = pages / (streams + 1), at = 0;
	struct trace t = new_trace(each * (streams + 1), n);
	struct zipf z = zipf_new(each, 0.99);
	uint64_t random = SEED;

	for (size_t i = 0; i < n; i++)
		if (i & 1) {
			t.page[i] = zipf_rank(&z, &random);
		} else { /* a stream begins elsewhere than its neighbours, so that they do not end together */
			uint32_t s = at % streams;

			t.page[i] = each * (s + 1) + (at++ / streams + s * (each / streams)) % each;
		}
	free(z.upto);
	return t;
}

/* ---- Files: pages are numbered anew, without gaps ---- */

static bool read_numbers(FILE *f, uint64_t **v, size_t *n)
{
	size_t room = 0;
	unsigned long long x;

	for (*n = 0; fscanf(f, "%llu", &x) == 1; (*v)[(*n)++] = x)
		if (*n == room) {
			room = room ? 2 * room : 4096;
			*v = realloc(*v, room * sizeof **v);
			if (!*v)
				die("no memory");
		}
	return feof(f) && *n > 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void number(const uint64_t *v, struct trace *t)
{
	uint64_t *sorted = must_alloc(t->n, sizeof *sorted);
	size_t distinct = 0;

	for (size_t i = 0; i < t->n; i++)
		sorted[i] = v[i];
	qsort(sorted, t->n, sizeof *sorted, by_value);
	for (size_t i = 0; i < t->n; i++)
		if (i == 0 || sorted[i] != sorted[distinct - 1])
			sorted[distinct++] = sorted[i];
	for (size_t i = 0; i < t->n; i++) {
		const uint64_t *at = bsearch(&v[i], sorted, distinct, sizeof *sorted, by_value);

		t->page[i] = (uint32_t)(at - sorted);
	}
	t->pages = (uint32_t)distinct;
	free(sorted);
}

bool trace_read(const char *path, struct trace *t)
{
	FILE *f = fopen(path, "re");
	uint64_t *v = NULL;
	size_t n = 0;
	bool ok = f && read_numbers(f, &v, &n);

	if (ok) {
		*t = new_trace(0, n);
		number(v, t);
	}
	if (f)
		fclose(f);
	free(v);
	return ok;
}
