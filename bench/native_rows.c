/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures that have goals: for each workload its contestants, what of them is compared, and by how much Faultline is to be ahead.
 * Faultline is given no advice. The kernel is given what makes it fastest.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "fio.h"
#include "native_cost.h"
#include "util.h"

#define RANDOM_WHO "kernel, MADV_RANDOM"

struct native_latencies latencies;

static struct job job_with(enum workload w, enum contender_kind by, int advice, unsigned threads)
{
	struct job j = job_new(w, by);

	j.advice = advice;
	j.threads = threads;
	return j;
}

static struct contestant ours(enum workload w, unsigned threads)
{
	return contestant_new(job_with(w, CONTENDER_FAULTLINE, ADVICE_NONE, threads), NULL);
}

static struct contestant kernels(enum workload w, int advice, unsigned threads, const char *who)
{
	return contestant_new(job_with(w, CONTENDER_KERNEL, advice, threads), who);
}

/* ---- Scan ---- */

static struct contestant disk(unsigned block, const char *who)
{
	struct contestant c = contestant_new(job_new(WORKLOAD_SCAN, CONTENDER_FAULTLINE), who);

	c.fio_depth = 1;
	c.fio_block = block;
	return c;
}

/* What the disk gives to who has so much in flight, and no more. Contenders find part of what they read in memory (memory / size), and can be faster by that. */
static struct contestant limit(unsigned threads, unsigned depth, const char *who)
{
	struct contestant c = disk(PAGE, who);

	c.job.threads = threads;
	c.fio_depth = depth;
	c.fio_all = true;
	c.off = scale.check || !fio_is_there();
	return c;
}

static void scan_goals(const struct contestant *c)
{
	figure_compare(c[0].rate, c[1].rate, AT_LEAST, 1.25);
	figure_compare(c[0].rate, c[2].rate, AT_LEAST, 0.95);
	figure_compare(c[0].cpu, c[1].cpu, AT_MOST, 0.5);
}

void measure_scan(const char *out)
{
	static const int advice[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM, ADVICE_NONE};
	struct contestant c[] = {ours(WORKLOAD_SCAN, 1), kernels(WORKLOAD_SCAN, MADV_NORMAL, 1, NULL), disk(MIB, NULL)};
	char depth[40];

	(void)out;
	for (size_t i = 0; i < 2; i++)
		c[i].job.seconds = scale.scan_seconds;
	c[0].job.advice = MADV_SEQUENTIAL;
	c[0].who = "faultline, MADV_SEQUENTIAL";
	c[1].who = use_best_advice(&c[1], advice);
	use_best_depth(&c[2]);
	snprintf(depth, sizeof depth, "fio, depth %u", c[2].fio_depth);
	c[2].who = depth;
	for (size_t i = 0; i < 3; i++)
		c[i].rate = figure_of(&c[i], BYTES_PER_SECOND, "sequential scan, 1 thread");
	for (size_t i = 0; i < 2; i++)
		c[i].cpu = figure_of(&c[i], NANOSECONDS, "sequential scan, processor time for 1 GiB");
	scan_goals(c);
	run_rounds(c, 3, scale.rounds);
}

/* ---- Uniform random reads ---- */

enum random_contestant {
	R_OURS,
	R_KERNEL,
	R_DEFAULT,
	R_LIMIT,
	R_OURS_32,
	R_KERNEL_32,
	R_LIMIT_32,
	R_OURS_128,
	R_KERNEL_128,
	R_DISK,
	R_ALL,
};

static struct contestant batch(enum contender_kind by, unsigned n, const char *who)
{
	struct contestant c = by == CONTENDER_KERNEL ? kernels(WORKLOAD_RANDOM, MADV_RANDOM, 1, who) : ours(WORKLOAD_RANDOM, 1);

	c.job.batch = n;
	return c;
}

static void plain_goals(const struct contestant *c)
{
	figure_compare(c[R_OURS].rate, c[R_KERNEL].rate, AT_LEAST, 1);
	figure_compare(c[R_OURS].rate, c[R_DEFAULT].rate, AT_LEAST, 3);
	figure_compare(c[R_OURS].rate, c[R_LIMIT].rate, NO_GOAL, 0);
}

static void ahead_goals(const struct contestant *c)
{
	figure_compare(c[R_OURS_32].rate, c[R_KERNEL].rate, AT_LEAST, 4);
	figure_compare(c[R_OURS_32].rate, c[R_KERNEL_32].rate, AT_LEAST, 1);
	figure_compare(c[R_OURS_32].rate, c[R_LIMIT_32].rate, NO_GOAL, 0);
	figure_compare(c[R_OURS_128].rate, c[R_KERNEL].rate, AT_LEAST, 4);
	figure_compare(c[R_OURS_128].rate, c[R_KERNEL_128].rate, AT_LEAST, 1);
	figure_compare(c[R_OURS_128].rate, c[R_DISK].rate, AT_LEAST, 0.95);
}

/* The read-ahead that the kernel has where nobody has set another. */
static struct contestant by_default(unsigned threads)
{
	struct contestant c = kernels(WORKLOAD_RANDOM, MADV_NORMAL, threads, "kernel, default, 128 KiB");

	c.read_ahead = scale.check ? 0 : 128;
	return c;
}

static void random_plain(struct contestant *c, unsigned threads, const char *name)
{
	c[R_OURS] = ours(WORKLOAD_RANDOM, threads);
	c[R_KERNEL] = kernels(WORKLOAD_RANDOM, MADV_RANDOM, threads, RANDOM_WHO);
	c[R_DEFAULT] = by_default(threads);
	c[R_LIMIT] = limit(threads, 1, "fio, one at a time");
	for (size_t i = 0; i <= R_LIMIT; i++)
		c[i].rate = figure_of(&c[i], PER_SECOND, name);
	plain_goals(c);
}

static void random_ahead(struct contestant *c)
{
	static char depth[40];

	c[R_OURS_32] = batch(CONTENDER_FAULTLINE, 32, NULL);
	c[R_KERNEL_32] = batch(CONTENDER_KERNEL, 32, "kernel, MADV_WILLNEED");
	c[R_LIMIT_32] = limit(1, 32, "fio, 32 at once");
	c[R_OURS_128] = batch(CONTENDER_FAULTLINE, 128, NULL);
	c[R_KERNEL_128] = batch(CONTENDER_KERNEL, 128, "kernel, MADV_WILLNEED");
	c[R_DISK] = disk(PAGE, NULL);
	use_best_depth(&c[R_DISK]);
	snprintf(depth, sizeof depth, "fio, depth %u", c[R_DISK].fio_depth);
	c[R_DISK].who = depth;
	for (size_t i = R_OURS_32; i < R_ALL; i++)
		c[i].rate = figure_of(&c[i], PER_SECOND,
				      i < R_OURS_128 ? "random reads, 1 thread, 32 ahead" : "random reads, 1 thread, 128 ahead");
	ahead_goals(c);
}

void measure_random(const char *out)
{
	struct contestant c[R_ALL] = {0}, four[R_LIMIT + 1] = {0};

	(void)out;
	random_plain(c, 1, "random reads, 1 thread");
	random_ahead(c);
	c[R_OURS].latency = &latencies.disk;
	c[R_KERNEL].latency = &latencies.disk_kernel;
	run_rounds(c, R_ALL, scale.rounds);
	random_plain(four, 4, "random reads, 4 threads");
	run_rounds(four, R_LIMIT + 1, scale.rounds);
}

/* ---- Zipf ---- */

static void skewed(unsigned threads)
{
	struct contestant c[] = {ours(WORKLOAD_RANDOM, threads), kernels(WORKLOAD_RANDOM, MADV_RANDOM, threads, RANDOM_WHO)};
	char name[64], hits[96];

	snprintf(name, sizeof name, "Zipf 0.99 reads, %u thread%s", threads, threads == 1 ? "" : "s");
	snprintf(hits, sizeof hits, "%s, found in memory", name);
	for (size_t i = 0; i < 2; i++) {
		c[i].job.pattern = PATTERN_ZIPF;
		c[i].job.skew = 0.99;
		c[i].rate = figure_of(&c[i], PER_SECOND, name);
		c[i].hits = figure_of(&c[i], PERCENT, hits);
	}
	figure_compare(c[0].rate, c[1].rate, AT_LEAST, 1.3);
	figure_compare(c[0].hits, c[1].hits, NO_GOAL, 0);
	run_rounds(c, 2, scale.rounds);
}

void measure_skewed(const char *out)
{
	(void)out;
	skewed(1);
	skewed(8);
}

/* ---- A hot set beside a scan ---- */

void measure_hot(const char *out)
{
	static const int advice[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM, ADVICE_APART, ADVICE_NONE};
	struct contestant c[] = {ours(WORKLOAD_HOT, 2), kernels(WORKLOAD_HOT, MADV_NORMAL, 2, NULL), ours(WORKLOAD_HOT, 1)};

	(void)out;
	for (size_t i = 0; i < 3; i++) {
		c[i].job.hot_bytes = scale.memory / 4;
		c[i].job.scanner = i < 2;
	}
	c[1].who = use_best_advice(&c[1], advice);
	for (size_t i = 0; i < 2; i++) {
		c[i].rate = figure_of(&c[i], PER_SECOND, "hot set beside a scan: reads of the hot set");
		c[i].scanned = figure_of(&c[i], BYTES_PER_SECOND, "hot set beside a scan: the scan");
	}
	c[0].p99 = figure_of(&c[0], NANOSECONDS, "hot set beside a scan: 99th percentile");
	c[1].p99 = figure_of(&c[1], NANOSECONDS, "hot set beside a scan: 99th percentile");
	c[2].who = "faultline, no scan";
	c[2].rate = figure_of(&c[2], PER_SECOND, "hot set alone: reads of the hot set");
	c[2].p99 = figure_of(&c[2], NANOSECONDS, "hot set alone: 99th percentile");
	figure_compare(c[0].rate, c[1].rate, AT_LEAST, 3);
	figure_compare(c[0].rate, c[2].rate, NO_GOAL, 0);
	figure_compare(c[0].p99, c[2].p99, AT_MOST, 2);
	figure_compare(c[0].p99, c[1].p99, NO_GOAL, 0);
	run_rounds(c, 3, scale.rounds);
}

/* ---- Writes ---- */

void measure_writes(const char *out)
{
	struct contestant c[] = {ours(WORKLOAD_RANDOM, 2), kernels(WORKLOAD_RANDOM, MADV_RANDOM, 2, RANDOM_WHO)};

	(void)out;
	for (size_t i = 0; i < 2; i++) {
		c[i].job.writes = true;
		c[i].rate = figure_of(&c[i], PER_SECOND, "half writes, 2 threads, final msync included");
	}
	figure_compare(c[0].rate, c[1].rate, AT_LEAST, 1.2);
	run_rounds(c, 2, scale.rounds);
}

void measure_sync(const char *out)
{
	struct contestant c[] = {ours(WORKLOAD_SYNC, 1), kernels(WORKLOAD_SYNC, MADV_RANDOM, 1, "kernel")};

	(void)out;
	for (size_t i = 0; i < 2; i++) {
		c[i].job.sync_pages = 100;
		c[i].median = figure_of(&c[i], NANOSECONDS, "msync of 100 dirty pages");
	}
	figure_compare(c[0].median, c[1].median, AT_MOST, 1);
	run_rounds(c, 2, scale.rounds);
}

/* ---- All in memory ---- */

static void chase(void)
{
	struct contestant c[] = {ours(WORKLOAD_CHASE, 1), kernels(WORKLOAD_CHASE, MADV_NORMAL, 1, "kernel, warm")};

	for (size_t i = 0; i < 2; i++) {
		c[i].job.size = scale.memory / 2;
		c[i].all_in_memory = true;
		c[i].off = false;
		c[i].rate = figure_of(&c[i], PER_SECOND, "dependent random loads, all in memory");
	}
	figure_compare(c[0].rate, c[1].rate, AT_LEAST, 1);
	run_rounds(c, 2, scale.rounds);
}

/* Each page once, at its first load; what the file has is in the kernel's page cache. */
static void soft_fault(void)
{
	struct contestant c[] = {ours(WORKLOAD_RANDOM, 1), kernels(WORKLOAD_RANDOM, MADV_RANDOM, 1, RANDOM_WHO)};

	for (size_t i = 0; i < 2; i++) {
		c[i].job.size = scale.memory / 2;
		c[i].job.pattern = PATTERN_ONCE;
		c[i].job.ops_max = c[i].job.ops_max ? c[i].job.ops_max : scale.memory / 2 / PAGE;
		c[i].job.page_cache = true;
		c[i].job.warm = 0;
		c[i].all_in_memory = true;
		c[i].off = false;
		c[i].median = figure_of(&c[i], NANOSECONDS, "fault, data in the page cache: median");
		c[i].p99 = figure_of(&c[i], NANOSECONDS, "fault, data in the page cache: 99th percentile");
	}
	c[0].latency = &latencies.soft;
	c[1].latency = &latencies.soft_kernel;
	c[0].median->goal = 6000;
	figure_compare(c[0].median, c[1].median, NO_GOAL, 0);
	figure_compare(c[0].p99, c[1].p99, NO_GOAL, 0);
	run_rounds(c, 2, scale.rounds);
}

void measure_memory(const char *out)
{
	(void)out;
	chase();
	soft_fault();
}
