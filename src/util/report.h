/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report region: counters in memory that another process can read while this one runs and after it died.
 *
 * With FAULTLINE_REPORT=DIR in the environment each process makes DIR/PID.REPORT (a mapped file, normally on a tmpfs);
 * without, the same layout lies in private memory. `faultline top` reads the files while processes run, `faultline run
 * --report` at the end. Numbers are updated with relaxed atomics: a reader sees each one whole, not all at one moment.
 *
 * The region is sparse: a slot of a file takes memory when the file is first mapped.
 */
#ifndef FL_UTIL_REPORT_H
#define FL_UTIL_REPORT_H

#include <stdatomic.h>
#include <stdint.h>

#define REPORT_MAGIC 0x3174726f7065526cull /* "lReport1" */
#define REPORT_VERSION 1
#define REPORT_SUFFIX ".report"
#define REPORT_FILES_MAX 1024 /* later files share the last slot, named "(other files)" */
#define REPORT_NOTES_MAX 15
#define REPORT_USED_STEP (64UL << 10)

/* 512 bytes. dev, ino and path are written before `used` is set and constant after. */
struct report_file {
	_Atomic uint32_t used;
	uint32_t reserved_flags;
	uint64_t dev, ino;
	_Atomic uint64_t mapped_bytes; /* now */
	_Atomic uint64_t mapped_peak;  /* the most at a time */
	_Atomic uint64_t mappings;     /* mmap calls, in all */
	_Atomic uint64_t pages;        /* in memory now, private copies included */
	_Atomic uint64_t pages_peak;
	_Atomic uint64_t faults;       /* served */
	_Atomic uint64_t faults_hit;   /* of those: the page was in memory */
	_Atomic uint64_t faults_write; /* of those hits: only write permission was missing */
	_Atomic uint64_t fault_ns;     /* time spent in faults */
	_Atomic uint64_t reads, read_bytes;
	_Atomic uint64_t writes, written_bytes;
	_Atomic uint64_t read_ahead;              /* pages */
	_Atomic uint64_t evictions;               /* pages */
	_Atomic uint64_t writebacks;              /* pages */
	_Atomic uint64_t swapped_out, swapped_in; /* private pages */
	_Atomic uint64_t read_errors, write_errors;
	uint64_t reserved[5];
	char path[288]; /* as the kernel names it, NUL-terminated, cut at the front when longer */
};

/* What Faultline left to the kernel, and why: one line each. */
struct report_note {
	_Atomic uint32_t used;
	uint32_t count; /* times the same was said */
	char text[248];
};

enum { REPORT_RUNNING = 1, REPORT_ENDED = 2 };

struct report {
	uint64_t magic;
	uint32_t version, pid;
	_Atomic uint32_t state; /* REPORT_RUNNING until the process has written back and ends */
	uint32_t parent;
	uint64_t budget_bytes;
	_Atomic uint64_t used_bytes; /* to within REPORT_USED_STEP while it runs; exactly at the end */
	_Atomic uint64_t peak_bytes; /* the most used, likewise */
	_Atomic uint64_t notes_lost; /* notes beyond REPORT_NOTES_MAX */
	uint64_t start_ns;           /* CLOCK_REALTIME */
	char program[192];
	struct report_note notes[REPORT_NOTES_MAX];
	struct report_file files[REPORT_FILES_MAX];
};

_Static_assert(sizeof(struct report_file) == 512, "report_file is laid out for other programs");

/* Makes the region: in a file under `directory`, or private when that is NULL or cannot be written. 0 or -ENOMEM. */
int report_init(const char *directory, uint64_t budget_bytes);
void report_exit(void);
struct report *report_get(void);
/* The slot of a file, made when it is new. Never NULL. */
struct report_file *report_file_get(uint64_t dev, uint64_t ino, const char *path);
void report_note(const char *text);
/* A region of its own for a forked child, which starts at zero. */
int report_fork_child(void);

static inline void report_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void report_sub(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
}

/* What is used of the budget now. Seldom a store: threads that take pages meet in one cache line less. */
void report_used(uint64_t used_bytes, uint64_t peak_bytes);

/* Adds to a level and keeps its peak. */
void report_raise(_Atomic uint64_t *level, _Atomic uint64_t *peak, uint64_t n);

#endif
