/* SPDX-License-Identifier: Apache-2.0 */
/* The measurements of `faultline bench`. */
#ifndef FL_CLI_BENCH_RUN_H
#define FL_CLI_BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#define BENCH_ROWS 3

struct bench_request {
	const char *file;
	uint64_t bytes;  /* of the file, in whole pages */
	uint64_t budget; /* of Faultline, and of the memory cgroup for the kernel's side */
	double seconds;  /* of each run; it can take as long again to fill memory before */
};

struct bench_row {
	const char *name; /* for people */
	const char *key;  /* for programs */
	unsigned threads;
	bool bytes;                      /* rates are bytes in a second, else reads in a second */
	const char *advice;              /* with which the kernel was fastest */
	double faultline, kernel, ratio; /* medians: of each, and of the ratios of runs made one after the other */
};

struct bench_result {
	bool capped;  /* the kernel's side was held to the budget; else it had all memory that there is */
	int uncapped; /* -errno that says why not */
	struct bench_row row[BENCH_ROWS];
};

/* How long all of it takes, in seconds, about. */
double bench_duration(const struct bench_request *rq);
/* 0, or the exit status after a message. */
int bench_run(const struct bench_request *rq, struct bench_result *result);

#endif
