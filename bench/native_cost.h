/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of native_cost share. */
#ifndef BENCH_NATIVE_COST_H
#define BENCH_NATIVE_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "figures.h"
#include "job.h"

/* How much is measured. Constant after the start. */
struct scale {
	bool check;          /* as little as shows that it works; the time is not looked at */
	uint64_t size;       /* bytes of the file */
	uint64_t memory;     /* the budget, and what the kernel's side has */
	uint64_t sweep_size; /* of the file where budgets, skews and numbers of threads are gone through: memory is filled faster */
	double seconds;      /* of a run */
	double scan_seconds; /* of one that scans */
	double warm;         /* at most, until memory is full */
	uint64_t ops_max;    /* of each thread; 0: any number */
	int rounds;          /* of contenders in turn */
	int sweep_rounds;
	const char *path; /* of the file */
	bool capped;      /* the kernel's side can be held to the budget */
};

extern struct scale scale;

/* One of those that run in turn, and the figures that its runs make; those that are NULL are not wanted. */
struct contestant {
	struct job job;
	const char *who;     /* beside the side; NULL: nothing */
	bool off;            /* left out */
	bool all_in_memory;  /* so the kernel's side need not be held to anything */
	unsigned read_ahead; /* of the device in KiB, for its runs; 0: as it is */
	unsigned fio_depth;  /* not 0: fio instead of the job, with as many threads as that, */
	unsigned fio_block;  /* with blocks of so many bytes: one page at random, more in order, */
	bool fio_all;        /* and all of the depth at once */
	struct figure *rate; /* operations or bytes in a second, by its unit */
	struct figure *cpu;  /* time of all processors for 1 GiB */
	struct figure *hits; /* share of operations that did not wait for the disk */
	struct figure *median, *p99;
	struct figure *scanned;  /* bytes in a second, by the thread that scans beside */
	struct latency *latency; /* all runs together */
};

/* ---- native_check.c ---- */

/* Whether it finds what is wrong; with a file of scale.size. */
void check_self(void);

/* ---- native_main.c ---- */

struct job job_new(enum workload w, enum contender_kind by);
/* A run with nothing of the file in memory before. Ends the program when something is wrong. */
void measure(const struct contestant *c, struct outcome *out);

/* ---- native_rounds.c ---- */

struct contestant contestant_new(struct job job, const char *who);
/* A figure of this contestant, for one of its places. */
struct figure *figure_of(const struct contestant *c, enum unit unit, const char *name);
/* In turn, so many rounds. */
void run_rounds(struct contestant *c, size_t n, int rounds);
double rate_of(const struct contestant *c, const struct outcome *o);
/*
 * The advice with which the kernel is fastest at this, each tried once; `advice` ends with ADVICE_NONE. Beside a scan, only what lets
 * that go half as fast as the fastest scan is in question: who holds the scan up has less to do. Its name too.
 */
const char *use_best_advice(struct contestant *c, const int *advice);
/* The depth with which fio reads most, each tried once; false when there is no fio, which is said. */
bool use_best_depth(struct contestant *c);

/* ---- native_rows.c: figures with goals; native_sweeps.c: plots, to the folder `out`, see write_plot() ---- */

struct native_latencies {
	struct latency disk, disk_kernel; /* random reads, 1 thread */
	struct latency soft, soft_kernel; /* data in the page cache */
};

extern struct native_latencies latencies;

void measure_scan(const char *out);
void measure_random(const char *out);
void measure_skewed(const char *out);
void measure_hot(const char *out);
void measure_writes(const char *out);
void measure_memory(const char *out);
void measure_sync(const char *out);
void measure_threads(const char *out);
void measure_sweeps(const char *out);
void plot_latencies(const char *out);

#endif
