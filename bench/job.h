/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of one workload by one contender, as it is sent to the process that does it, and what that process answers. Both are plain
 * bytes: sender and receiver are the same program.
 */
#ifndef BENCH_JOB_H
#define BENCH_JOB_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "latency.h"

#define JOB_THREADS_MAX 64
#define JOB_BATCH_MAX 128

enum workload {
	WORKLOAD_SCAN,   /* loads from each cache line, in order, round and round */
	WORKLOAD_RANDOM, /* loads, or loads and stores, of a word of one page after another; see `pattern` */
	WORKLOAD_HOT,    /* uniform loads from the first hot_bytes, while another thread scans the rest if `scanner` */
	WORKLOAD_CHASE,  /* loads each of which needs what the one before has loaded; all in memory */
	WORKLOAD_SYNC,   /* stores to some pages, and msync of all */
};

enum contender_kind {
	CONTENDER_FAULTLINE,
	CONTENDER_KERNEL,
};

enum pattern {
	PATTERN_UNIFORM,
	PATTERN_ZIPF, /* the k-th most wanted page as often as k^-skew, the pages in no order */
	PATTERN_ONCE, /* each page once, in no order */
};

/* Beside those of madvise(2). */
#define ADVICE_NONE (-1)
#define ADVICE_APART (-2) /* WORKLOAD_HOT: MADV_RANDOM for what is hot, MADV_SEQUENTIAL for the rest */

struct job {
	enum workload workload;
	enum contender_kind contender;
	char path[PATH_MAX];
	uint64_t size;    /* bytes that are mapped, from the start of the file */
	uint64_t memory;  /* Faultline's budget. The kernel's side is held to it from outside */
	bool page_cache;  /* Faultline reads by way of the kernel's page cache, not with O_DIRECT */
	bool known;       /* the file is of data.h, so all that is read can be judged; else samples are, by pread(2) */
	int advice;       /* for the mapping */
	unsigned threads; /* 1 to JOB_THREADS_MAX */
	double warm;      /* seconds at most until memory is full, before the time starts; 0: it starts empty */
	double seconds;   /* of the measurement, unless ops_max ends it */
	uint64_t ops_max; /* operations of each thread at most; 0: any number */
	uint64_t seed;    /* not 0 */
	enum pattern pattern;
	double skew;
	unsigned batch; /* pages that are asked for ahead, up to JOB_BATCH_MAX; 0: no hints */
	bool writes;    /* half of the operations are stores, and msync of all belongs to the time */
	bool scanner;
	uint64_t hot_bytes;
	unsigned sync_pages;
};

struct outcome {
	char error[240]; /* what went wrong; "": nothing, and what follows holds */
	double seconds;
	double cpu_seconds;     /* of the whole process, in that time */
	uint64_t ops;           /* pages of a scan, loads and stores, calls of msync */
	uint64_t misses;        /* accesses that waited for the disk */
	uint64_t scanned;       /* bytes, by the thread that scans beside others */
	uint64_t evictions;     /* Faultline's, since its start */
	uint64_t judged;        /* words, sums and samples that were looked at and right */
	struct latency latency; /* of operations, where they are timed one by one */
};

#endif
