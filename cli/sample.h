/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of all that is under way at one moment, and what happened between two moments. */
#ifndef FL_CLI_SAMPLE_H
#define FL_CLI_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report.h"
#include "rundir.h"

struct sample_process {
	size_t run;               /* index in runs[] */
	struct report_process is; /* `files` counts slots */
	bool is_host;
	size_t first; /* of its slots in slots[] */
};

struct sample {
	uint64_t real_ns, mono_ns;
	struct run_found *runs;
	size_t nruns;
	struct sample_process *processes;
	size_t nprocesses;
	struct report_file *slots;
	size_t nslots;
};

/* All of this user's, or the one in the directory `only`. */
void sample_take(struct sample *s, const char *only);
void sample_free(struct sample *s);
/* The run, or host, that `pid` is, or belongs to by itself or by an ancestor; NULL: none. */
const struct run_found *sample_find(const struct sample *s, uint32_t pid);

struct view_process {
	struct report_process is;
	bool is_host;
	struct report_total total; /* over its files */
};

struct view_run {
	struct run_info info;
	uint64_t budget, used, peak; /* of a run that joined a host: used by its processes themselves; its budget is the host's, 0 here */
	size_t processes;
};

/* Counters in it are the changes between two samples; mapped_bytes and pages are as they are now. */
struct view {
	double seconds;
	uint64_t real_ns;
	struct view_run *runs;
	size_t nruns;
	struct report_total *files;
	size_t nfiles;
	struct view_process *processes;
	size_t nprocesses;
	struct report_file total;
	uint64_t budget, used, peak;
};

void view_make(struct view *v, const struct sample *before, const struct sample *now);
void view_free(struct view *v);

/* Whether anything happened: a fault, a read, a write, an eviction. */
bool view_has_traffic(const struct report_file *f);
/* Of the faults, which there must be. */
double view_hit_share(const struct report_file *f);

#endif
