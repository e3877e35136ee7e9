/* SPDX-License-Identifier: Apache-2.0 */
/* Contestants in turn, and what their runs add to their figures. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "fio.h"
#include "native_cost.h"
#include "page_cache.h"
#include "util.h"

#define GIB (1024 * (double)MIB)

struct contestant contestant_new(struct job job, const char *who)
{
	struct contestant c = {.job = job, .who = who};

	c.off = job.contender == CONTENDER_KERNEL && !scale.capped && !scale.check;
	return c;
}

struct figure *figure_of(const struct contestant *c, enum unit unit, const char *name)
{
	enum side side = c->fio_depth ? DISK : c->job.contender == CONTENDER_KERNEL ? KERNEL : FAULTLINE;
	struct figure *f = figure_new(side, 0, "%s", name);

	f->unit = unit;
	if (c->who)
		snprintf(f->who, sizeof f->who, "%s", c->who);
	return f;
}

/* ---- Figures ---- */

double rate_of(const struct contestant *c, const struct outcome *o)
{
	double ops = (double)o->ops / (o->seconds > 0 ? o->seconds : 1);

	return c->rate && c->rate->unit == BYTES_PER_SECOND ? ops * PAGE : ops;
}

static double cpu_of(const struct outcome *o)
{
	return o->cpu_seconds * 1e9 / (double)(o->ops ? o->ops : 1) * (GIB / PAGE);
}

static double hits_of(const struct outcome *o)
{
	double misses = o->ops ? (double)o->misses / (double)o->ops : 1;

	return misses < 1 ? 100 * (1 - misses) : 0;
}

static void add(struct figure *f, double value)
{
	if (f)
		figure_add(f, value);
}

static void add_all(const struct contestant *c, const struct outcome *o)
{
	add(c->rate, rate_of(c, o));
	add(c->cpu, cpu_of(o));
	add(c->hits, hits_of(o));
	add(c->median, latency_at(&o->latency, 0.5));
	add(c->p99, latency_at(&o->latency, 0.99));
	add(c->scanned, (double)o->scanned / (o->seconds > 0 ? o->seconds : 1));
	if (c->latency)
		latency_merge(c->latency, &o->latency);
}

/* ---- Runs ---- */

static double run_fio(const struct contestant *c)
{
	struct fio_job job = {
		.path = scale.path,
		.size = scale.size,
		.random = c->fio_block == PAGE,
		.block = c->fio_block,
		.depth = c->fio_depth,
		.all_at_once = c->fio_all,
		.threads = c->job.threads,
		.seconds = scale.seconds,
	};

	return fio_reads(&job) * (job.random ? 1 : c->fio_block);
}

static void run(struct contestant *c, int round)
{
	struct read_ahead setting;
	struct outcome out;

	c->job.seed = (uint64_t)round + 1;
	if (c->fio_depth) {
		add(c->rate, run_fio(c));
		return;
	}
	if (c->read_ahead && read_ahead_set(&setting, scale.path, c->read_ahead)) {
		fprintf(stderr, "native_cost: the read-ahead of this disk cannot be set: no figures for %u KiB\n", c->read_ahead);
		c->off = true;
		return;
	}
	measure(c, &out);
	if (c->read_ahead)
		read_ahead_restore(&setting);
	add_all(c, &out);
}

void run_rounds(struct contestant *c, size_t n, int rounds)
{
	for (int round = 0; round < rounds; round++)
		for (size_t i = 0; i < n; i++)
			if (!c[i].off)
				run(&c[i], round);
}

/* ---- What is best for the other side ---- */

static const char *advice_name(int advice)
{
	switch (advice) {
	case MADV_RANDOM:
		return "kernel, MADV_RANDOM";
	case MADV_SEQUENTIAL:
		return "kernel, MADV_SEQUENTIAL";
	case ADVICE_APART:
		return "kernel, RANDOM/SEQUENTIAL";
	default:
		return "kernel, MADV_NORMAL";
	}
}

#define ADVICE_MAX 4

const char *use_best_advice(struct contestant *c, const int *advice)
{
	double rate[ADVICE_MAX], scan[ADVICE_MAX], fastest = 0, best = -1;
	struct contestant try = *c;
	int n = 0;

	if (c->off)
		return "kernel";
	for (; n < ADVICE_MAX && advice[n] != ADVICE_NONE; n++) {
		struct outcome out;

		try.job.advice = advice[n];
		measure(&try, &out);
		rate[n] = rate_of(c, &out);
		scan[n] = (double)out.scanned / out.seconds;
		fastest = scan[n] > fastest ? scan[n] : fastest;
	}
	for (int i = 0; i < n; i++)
		if (rate[i] > best && scan[i] >= fastest / 2) {
			best = rate[i];
			c->job.advice = advice[i];
		}
	return advice_name(c->job.advice);
}

bool use_best_depth(struct contestant *c)
{
	static const unsigned random[] = {32, 64, 128, 256, 0}, in_order[] = {2, 4, 8, 16, 32, 0};
	double best = 0;

	c->off = scale.check || !fio_is_there();
	if (c->off && !scale.check)
		fprintf(stderr, "native_cost: fio is not installed: no figures of the disk's own\n");
	for (const unsigned *depth = c->fio_block == PAGE ? random : in_order; *depth && !c->off; depth++) {
		struct contestant try = *c;
		double reads;

		try.fio_depth = *depth;
		reads = run_fio(&try);
		if (reads > best) {
			best = reads;
			c->fio_depth = *depth;
		}
	}
	if (!c->off && !(best > 0)) {
		fprintf(stderr, "native_cost: fio did not work: no figures of the disk's own\n");
		c->off = true;
	}
	return !c->off;
}
