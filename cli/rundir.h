/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a run or host that is under way: the regions of its processes, and a file that says what it is. Others find it by its
 * name. Who made it holds a lock on it, which the kernel takes from the dead: one that is not locked is nobody's, and is removed by who
 * meets it.
 */
#ifndef FL_CLI_RUNDIR_H
#define FL_CLI_RUNDIR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum run_kind {
	RUN_ALONE,     /* each process has its pages, and a budget */
	RUN_WITH_HOST, /* a host was started for it */
	RUN_JOINED,    /* a host that was there */
	RUN_HOST,      /* is one */
};

/* What others are told. */
struct run_info {
	uint64_t magic;
	uint32_t version, kind;
	uint32_t pid, host_pid; /* host_pid: of the process that has the budget of all, or 0 */
	uint64_t budget_bytes;
	uint64_t start_ns; /* CLOCK_REALTIME */
	char what[472];    /* the command, or the host's socket */
};

struct rundir {
	char *path; /* NULL: there is none */
	int fd, info;
};

/* In memory where possible. 0 or -errno. What dead runs have left in the same place goes. */
int rundir_make(struct rundir *d);
/* From here on others see it. Magic and version are filled in. */
void rundir_describe(struct rundir *d, struct run_info *info);
/* The regions of processes that are no more. */
void rundir_prune(struct rundir *d);
/* Removes what we put there, and then the directory; what else is in there is not ours to remove. */
void rundir_remove(struct rundir *d);

struct run_found {
	char *path;
	struct run_info info;
};

/* Those of this user that are under way, in order of their start; how many. Removes those that are nobody's. The caller frees them. */
size_t rundir_find(struct run_found **found);
void rundir_free(struct run_found *found, size_t n);

#endif
