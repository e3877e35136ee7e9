/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of policy_sim share. */
#ifndef BENCH_POLICY_SIM_H
#define BENCH_POLICY_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The pages that a program uses, one after the other. */
struct trace {
	uint32_t *page; /* each less than `pages` */
	size_t n;
	uint32_t pages;
};

/* What a policy did with a trace. */
struct outcome {
	uint64_t accesses, misses;
	uint64_t soft_faults; /* hits that took a fault */
	uint64_t looks;       /* entries of the page table that were looked at to find victims; 0: it has no table */
};

/* Ends the program. */
_Noreturn void die(const char *what);
void *must_alloc(size_t n, size_t size);
/* xorshift64: the same numbers in every run. The state is not 0. */
uint64_t next_random(uint64_t *state);

/* How a use of a page in memory comes to be known. */
enum sight {
	ACCESSED_BITS, /* soft spaces */
	SOFT_FAULTS,   /* native, shmem frames */
	BLIND,         /* native, pool frames */
	SIGHTS
};

#define POLICIES 10
#define RUNS_MAX 64

/* One trace with one size of memory, and what each policy did. */
struct run {
	char trace[48];
	uint32_t pages, memory;
	struct outcome outcome[POLICIES];
};

extern const char *const policy_names[POLICIES];
/* Where they stand in it. */
enum policy_place {
	OF_RIVALS,            /* the first five */
	OF_SECOND_CHANCE = 5, /* with uses unseen, as the engine's clock was in native mappings */
	OF_OURS,              /* by sight */
	OF_OPTIMUM = OF_OURS + SIGHTS,
};

double hit_rate(const struct outcome *o); /* % */
/* us for an access, if a hit costs nothing. */
double cost(const struct outcome *o);

/* ---- policy_output.c ---- */

void write_tables(const struct run *runs, size_t n, FILE *out);
void write_json(const struct run *runs, size_t n, FILE *out);
/* Hit rate over skew and over the size of memory, as SVG. False when it could not be written. */
bool write_skew_plot(const struct run *runs, size_t n, const double *skew, FILE *out);
bool write_memory_plot(const struct run *runs, size_t n, FILE *out);

/* ---- policy_trace.c: made to be the same in every run ---- */

struct trace trace_zipf(uint32_t pages, double skew, size_t n);
struct trace trace_uniform(uint32_t pages, size_t n);
/* Over all pages in order, again and again. */
struct trace trace_loop(uint32_t pages, size_t n);
/* A hot set, Zipf 0.8 within, and beside it a scan of a file; each `hot_share` accesses of 100 are to the hot set. */
struct trace trace_scan(uint32_t hot, uint32_t file, unsigned hot_share, size_t n);
/* Zipf whose pages change their ranks: all of them have after `n / turns` accesses. */
struct trace trace_shifting(uint32_t pages, double skew, unsigned turns, size_t n);
/* Sequential reads of several files in turn, and Zipf over pages of another. */
struct trace trace_streams(uint32_t pages, unsigned streams, size_t n);
/* One page number a line. False when it cannot be read. */
bool trace_read(const char *path, struct trace *t);
void trace_free(struct trace *t);

/* ---- policy_rivals.c: textbook policies; hits are seen ---- */

struct rival {
	const char *name;
	void *(*create)(uint32_t memory, uint32_t pages);
	bool (*use)(void *cache, uint32_t page); /* whether it was in memory; it is now */
};

extern const struct rival rivals[];
extern const size_t nrivals;
/* The least misses that there can be: who leaves is the page whose next use is farthest (Belady). The first `warm` are not counted. */
struct outcome optimum(const struct trace *t, uint32_t memory, size_t warm);
struct outcome run_rival(const struct rival *r, const struct trace *t, uint32_t memory, size_t warm);

/* ---- policy_ours.c: the engine's policy.c, over a page table as reclaim.c has it ---- */

struct outcome run_ours(enum sight sight, const struct trace *t, uint32_t memory, size_t warm);
/* What the engine had before: a clock over the page table for which only faults are uses. */
struct outcome run_second_chance(enum sight sight, const struct trace *t, uint32_t memory, size_t warm);

#endif
