/* SPDX-License-Identifier: Apache-2.0 */
/* Throughput over the number of threads, over the budget and over the skew, and how long faults take: figures and plots. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "native_cost.h"
#include "output.h"
#include "plot.h"
#include "util.h"

#define OURS 0
#define KERNELS 1
#define GOAL 2
#define KERNEL_NAME "kernel, MADV_RANDOM, in a cgroup"

static const char *rate_tick(double v)
{
	static char s[32];

	if (v >= 1e6)
		snprintf(s, sizeof s, "%g M/s", v / 1e6);
	else if (v >= 1e3)
		snprintf(s, sizeof s, "%g K/s", v / 1e3);
	else
		snprintf(s, sizeof s, "%g%s", v, v > 0 ? "/s" : "");
	return s;
}

static const char *share_tick(double v)
{
	static char s[16];

	if (v >= 0.99)
		return "all";
	snprintf(s, sizeof s, "1/%.0f", 1 / v);
	return s;
}

/* ---- One point: both contenders, over the small file ---- */

struct point {
	double x;
	struct contestant c[2];
	char name[64];
};

static void point_init(struct point *p, double x, unsigned threads, uint64_t memory, const char *name)
{
	*p = (struct point){.x = x};
	snprintf(p->name, sizeof p->name, "%s", name);
	for (int i = 0; i < 2; i++) {
		struct job j = job_new(WORKLOAD_RANDOM, i == OURS ? CONTENDER_FAULTLINE : CONTENDER_KERNEL);

		j.size = scale.sweep_size;
		j.memory = memory;
		j.threads = threads;
		j.advice = i == OURS ? ADVICE_NONE : MADV_RANDOM;
		p->c[i] = contestant_new(j, i == OURS ? NULL : "kernel, MADV_RANDOM");
		p->c[i].rate = figure_of(&p->c[i], PER_SECOND, name);
	}
	figure_compare(p->c[OURS].rate, p->c[KERNELS].rate, NO_GOAL, 0);
}

static void run_points(struct point *p, size_t n, int rounds)
{
	for (size_t i = 0; i < n; i++)
		run_rounds(p[i].c, 2, rounds);
}

static void add_point(struct plot_series *s, double x, double y)
{
	if (y > 0)
		plot_add(s, x, y);
}

static void put_points(struct plot *p, const struct point *points, size_t n)
{
	p->nseries = 2;
	p->series[OURS].name = "Faultline, no advice";
	p->series[KERNELS].name = KERNEL_NAME;
	p->series[KERNELS].dashed = true;
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < 2; k++)
			add_point(&p->series[k], points[i].x, figure_median(points[i].c[k].rate));
}

static struct plot_series *put_goal(struct plot *p, const char *name)
{
	p->nseries = GOAL + 1;
	p->series[GOAL] = (struct plot_series){.name = name, .goal = true};
	return &p->series[GOAL];
}

/* ---- Threads ---- */

/* 4 is what the others are not to fall below. */
static const unsigned thread_counts[] = {1, 2, 4, 8, 16, 32, 64};
#define COUNTS (sizeof thread_counts / sizeof *thread_counts)
#define FOUR 2

static void plot_threads(const char *out, const struct point *points)
{
	static char subtitle[120];
	struct plot p = {
		.title = "Uniform random reads, by threads",
		.subtitle = subtitle,
		.x_label = "threads",
		.y_label = "reads in a second",
		.y_tick = rate_tick,
		.x_base = 2,
		.columns = 2,
	};
	double four = figure_median(points[FOUR].c[OURS].rate);
	struct plot_series *goal;

	snprintf(subtitle, sizeof subtitle, "%llu MiB of a file, a sixteenth of that in memory",
		 (unsigned long long)(scale.sweep_size / MIB));
	put_points(&p, points, COUNTS);
	goal = put_goal(&p, "goal from 4 threads on: not below 4");
	add_point(goal, 4, four);
	add_point(goal, 64, four);
	write_plot(&p, out, "threads.svg");
}

void measure_threads(const char *out)
{
	struct point points[COUNTS];

	for (size_t i = 0; i < COUNTS; i++) {
		char name[64];

		snprintf(name, sizeof name, "random reads, budget of 1/16, %u thread%s", thread_counts[i], thread_counts[i] > 1 ? "s" : "");
		point_init(&points[i], thread_counts[i], thread_counts[i], scale.sweep_size / 16, name);
		snprintf(points[i].c[OURS].rate->who, sizeof points[i].c[OURS].rate->who, "faultline, %u threads", thread_counts[i]);
		if (i > FOUR)
			figure_compare(points[i].c[OURS].rate, points[FOUR].c[OURS].rate, AT_LEAST, 1);
	}
	for (int round = 0; round < scale.rounds; round++) /* in turn, since they are compared with each other */
		run_points(points, COUNTS, 1);
	plot_threads(out, points);
}

/* ---- Budgets ---- */

#define BUDGETS 6
#define SWEEP_THREADS 4

static void plot_budgets(const char *out, const struct point *points, size_t n)
{
	static char subtitle[120];
	struct plot p = {
		.title = "Uniform random reads, by budget",
		.subtitle = subtitle,
		.x_label = "budget, as a share of the file",
		.y_label = "reads in a second",
		.x_tick = share_tick,
		.y_tick = rate_tick,
		.x_base = 2,
		.log_y = true,
		.columns = 2,
	};

	snprintf(subtitle, sizeof subtitle, "%llu MiB of a file, %d threads; where all fits, no read waits for the disk",
		 (unsigned long long)(scale.sweep_size / MIB), SWEEP_THREADS);
	put_points(&p, points, n);
	p.series[KERNELS].name = "goal: " KERNEL_NAME;
	write_plot(&p, out, "budgets.svg");
}

static void measure_budgets(const char *out)
{
	struct point points[BUDGETS];
	size_t n = 0;

	for (unsigned part = 1U << (BUDGETS - 1); part; part /= 2) {
		char name[64];

		if (scale.sweep_size / part < (scale.check ? 1 : 4) * MIB) /* less is too little for the kernel's side */
			continue;
		snprintf(name, sizeof name, "random reads, 4 threads, budget of %s", share_tick(1.0 / part));
		point_init(&points[n++], 1.0 / part, SWEEP_THREADS, scale.sweep_size / part, name);
	}
	run_points(points, n, scale.sweep_rounds);
	plot_budgets(out, points, n);
}

/* ---- Skew ---- */

/* The one that has a goal, and the others around it. */
#define SKEW_GOAL 0.99
#define SKEW_TIMES 1.3
static const double skews[] = {0.5, 0.6, 0.7, 0.8, 0.9, SKEW_GOAL, 1.1, 1.2};
#define SKEWS (sizeof skews / sizeof *skews)

static void plot_skews(const char *out, const struct point *points)
{
	static char subtitle[120];
	struct plot p = {
		.title = "Reads by Zipf's law, by skew",
		.subtitle = subtitle,
		.x_label = "exponent: 0 would be uniform",
		.y_label = "reads in a second",
		.y_tick = rate_tick,
		.x_step = 0.1,
		.columns = 2,
	};
	struct plot_series *goal;

	snprintf(subtitle, sizeof subtitle, "%llu MiB of a file, an eighth of that in memory, %d threads",
		 (unsigned long long)(scale.sweep_size / MIB), SWEEP_THREADS);
	put_points(&p, points, SKEWS);
	goal = put_goal(&p, "goal at 0.99: 1.3 times the kernel");
	for (size_t i = 0; i < SKEWS; i++)
		if (points[i].x == SKEW_GOAL)
			add_point(goal, SKEW_GOAL, SKEW_TIMES * figure_median(points[i].c[KERNELS].rate));
	write_plot(&p, out, "skews.svg");
}

static void measure_skews(const char *out)
{
	struct point points[SKEWS];

	for (size_t i = 0; i < SKEWS; i++) {
		char name[64];

		snprintf(name, sizeof name, "Zipf %.2f reads, 4 threads, budget of 1/8", skews[i]);
		point_init(&points[i], skews[i], SWEEP_THREADS, scale.sweep_size / 8, name);
		for (int k = 0; k < 2; k++) {
			points[i].c[k].job.pattern = PATTERN_ZIPF;
			points[i].c[k].job.skew = skews[i];
		}
	}
	run_points(points, SKEWS, scale.sweep_rounds);
	plot_skews(out, points);
}

void measure_sweeps(const char *out)
{
	measure_budgets(out);
	measure_skews(out);
}

/* ---- How long faults take ---- */

/* Points of the curve for each power of two. */
#define FINE 4

static void put_distribution(struct plot_series *s, const struct latency *l)
{
	const unsigned together = LATENCY_FINE / FINE;

	for (unsigned from = together, seen = 0; from < LATENCY_BUCKETS && seen < l->n; from += together) {
		double start = latency_start(from), end = latency_start(from + together);
		unsigned count = 0;

		for (unsigned i = from; i < from + together; i++)
			count += l->count[i];
		if (seen || count)
			plot_add(s, sqrt(start * end), 100.0 * count / (double)l->n);
		seen += count;
	}
}

/* In the order of their places. */
static void put_mark(struct plot *p, size_t series, double x, const char *what)
{
	struct plot_mark *m = &p->mark[p->nmarks];

	if (p->nmarks == PLOT_MARKS || !(x > 0))
		return;
	for (p->nmarks++; m > p->mark && m[-1].x > x; m--)
		*m = m[-1];
	m->x = x;
	m->series = series;
	snprintf(m->text, sizeof m->text, "%s %s", what, ns_text(x));
}

static void put_percentiles(struct plot *p, size_t series, const struct latency *l)
{
	static const struct {
		double share;
		const char *name;
	} points[] = {{0.5, "p50"}, {0.99, "p99"}, {0.999, "p99.9"}};

	for (size_t i = 0; i < sizeof points / sizeof *points; i++)
		put_mark(p, series, latency_at(l, points[i].share), points[i].name);
}

struct distribution {
	const char *file, *title, *subtitle, *kernel;
	const struct latency *ours, *kernels;
	double goal; /* of the median; 0: none */
};

static const char *percent_tick(double v)
{
	static char s[16];

	snprintf(s, sizeof s, "%g %%", v);
	return s;
}

static void plot_distribution(const char *out, const struct distribution *d)
{
	struct plot p = {
		.title = d->title,
		.subtitle = d->subtitle,
		.x_label = "time of one load",
		.y_label = "share of loads (4 steps to a doubling)",
		.x_tick = time_tick,
		.y_tick = percent_tick,
		.x_base = 10,
		.columns = 2,
		.nseries = 2,
	};

	if (!d->ours->n)
		return;
	p.series[OURS] = (struct plot_series){.name = "Faultline", .bare = true};
	p.series[KERNELS] = (struct plot_series){.name = d->kernel, .bare = true, .dashed = true};
	put_distribution(&p.series[OURS], d->ours);
	put_distribution(&p.series[KERNELS], d->kernels);
	if (d->goal > 0)
		put_mark(&p, PLOT_SERIES, d->goal, "goal: p50 under");
	put_percentiles(&p, OURS, d->ours);
	put_percentiles(&p, KERNELS, d->kernels);
	write_plot(&p, out, d->file);
}

void plot_latencies(const char *out)
{
	struct distribution disk = {
		.file = "fault_disk.svg",
		.title = "One random read",
		.subtitle = "uniform, 1 thread, no advice; loads that find their page are in it",
		.kernel = KERNEL_NAME,
		.ours = &latencies.disk,
		.kernels = &latencies.disk_kernel,
	};
	struct distribution soft = {
		.file = "fault_soft.svg",
		.title = "One fault, the data in the kernel's page cache",
		.subtitle = "each page once, 1 thread; room for all: what the software costs",
		.kernel = "kernel mmap, MADV_RANDOM",
		.ours = &latencies.soft,
		.kernels = &latencies.soft_kernel,
		.goal = 6000,
	};

	plot_distribution(out, &disk);
	plot_distribution(out, &soft);
}
