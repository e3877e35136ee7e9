/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three workloads, read only. For each, the kernel's side is tried once with each advice that could suit it; with the best, it then runs
 * in turn with Faultline. Each run is a process of its own and finds nothing of the file in memory, unless somebody else keeps it there.
 */
#include "bench_run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/memcg.h"
#include "bench/page_cache.h"
#include "bench/worker.h"
#include "text.h"
#include "util/compiler.h"

#define PAIRS 3
#define ADVICE_TRIED 2

static const struct kind {
	const char *name, *key;
	enum workload workload;
	enum pattern pattern;
	unsigned threads;
	bool bytes;
	int advice[ADVICE_TRIED];
} kinds[BENCH_ROWS] = {
	{"sequential scan", "sequential", WORKLOAD_SCAN, PATTERN_UNIFORM, 1, true, {MADV_NORMAL, MADV_SEQUENTIAL}},
	{"random reads, 1 thread", "random", WORKLOAD_RANDOM, PATTERN_UNIFORM, 1, false, {MADV_NORMAL, MADV_RANDOM}},
	{"skewed reads, 4 threads", "skewed", WORKLOAD_RANDOM, PATTERN_ZIPF, 4, false, {MADV_NORMAL, MADV_RANDOM}},
};

#define SKEW 0.99

double bench_duration(const struct bench_request *rq)
{
	double runs = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		runs += (ADVICE_TRIED + 2 * PAIRS) * (kinds[i].workload == WORKLOAD_SCAN ? 1 : 2);
	return runs * rq->seconds;
}

static struct job job_of(const struct kind *k, const struct bench_request *rq, enum contender_kind by)
{
	struct job j = {
		.workload = k->workload,
		.contender = by,
		.size = rq->bytes,
		.memory = rq->budget,
		.advice = ADVICE_NONE,
		.threads = k->threads,
		.warm = k->workload == WORKLOAD_SCAN ? 0 : rq->seconds,
		.seconds = rq->seconds,
		.seed = 1,
		.pattern = k->pattern,
		.skew = SKEW,
	};

	snprintf(j.path, sizeof j.path, "%s", rq->file);
	return j;
}

/* ---- One run ---- */

static void run_capped(const struct job *j, struct outcome *out)
{
	struct memcg cgroup;
	int error = memcg_make(&cgroup, j->memory, j->size);

	if (error) {
		snprintf(out->error, sizeof out->error, "memory cgroup: %s", strerror(-error));
		return;
	}
	worker_run(j, &cgroup, out);
	memcg_remove(&cgroup);
	if (strstr(out->error, strsignal(SIGKILL)))
		snprintf(out->error, sizeof out->error, "its memory cgroup is too small for it; give more with --budget");
}

/* Operations in a second; less than 0 after a message. */
static double run(const struct job *j, bool capped)
{
	struct outcome out = {.error = ""};
	int error = page_cache_drop(j->path, false);

	if (error)
		snprintf(out.error, sizeof out.error, "%s", strerror(-error));
	else if (capped && j->contender == CONTENDER_KERNEL)
		run_capped(j, &out);
	else
		worker_run(j, NULL, &out);
	if (!*out.error && out.ops && out.seconds > 0)
		return (double)out.ops / out.seconds;
	complain("bench: %s: %s: %s", j->path, j->contender == CONTENDER_KERNEL ? "kernel mmap" : "Faultline",
		 *out.error ? out.error : "nothing was read in that time");
	return -1;
}

/* ---- One row ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, PAIRS, sizeof *v, by_value);
	return v[PAIRS / 2];
}

static const char *advice_name(int advice)
{
	return advice == MADV_RANDOM ? "MADV_RANDOM" : advice == MADV_SEQUENTIAL ? "MADV_SEQUENTIAL" : "MADV_NORMAL";
}

static bool try_advice(const struct kind *k, struct job *j, bool capped)
{
	struct job try = *j;
	double best = -1;

	for (int i = 0; i < ADVICE_TRIED; i++) {
		double rate;

		try.advice = k->advice[i];
		rate = run(&try, capped);
		if (rate < 0)
			return false;
		if (rate > best) {
			best = rate;
			j->advice = try.advice;
		}
	}
	return true;
}

static int run_row(const struct kind *k, const struct bench_request *rq, bool capped, struct bench_row *row)
{
	struct job ours = job_of(k, rq, CONTENDER_FAULTLINE), kernels = job_of(k, rq, CONTENDER_KERNEL);
	double f[PAIRS], m[PAIRS], ratio[PAIRS], unit = k->bytes ? FL_PAGE_SIZE : 1;

	if (!try_advice(k, &kernels, capped))
		return EXIT_FAULTLINE;
	for (unsigned i = 0; i < PAIRS; i++) {
		ours.seed = kernels.seed = i + 1;
		f[i] = run(&ours, capped);
		m[i] = f[i] < 0 ? -1 : run(&kernels, capped);
		if (m[i] < 0)
			return EXIT_FAULTLINE;
		ratio[i] = f[i] / m[i];
	}
	*row = (struct bench_row){.name = k->name, .key = k->key, .threads = k->threads, .bytes = k->bytes};
	row->advice = advice_name(kernels.advice);
	row->faultline = median(f) * unit;
	row->kernel = median(m) * unit;
	row->ratio = median(ratio);
	return 0;
}

int bench_run(const struct bench_request *rq, struct bench_result *result)
{
	struct memcg cgroup;
	int status = 0;

	*result = (struct bench_result){.uncapped = memcg_make(&cgroup, rq->budget, rq->bytes)};
	result->capped = !result->uncapped;
	if (result->capped)
		memcg_remove(&cgroup);
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !status; i++)
		status = run_row(&kinds[i], rq, result->capped, &result->row[i]);
	return status;
}
