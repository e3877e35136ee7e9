/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes of a run left in their report regions, put together and printed. */
#ifndef FL_CLI_REPORT_H
#define FL_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "api/engine.h"
#include "child.h"
#include "util/report.h"

/* A file over all processes: counters added up, peaks the highest of any one process. */
struct report_total {
	struct report_file sum;
	size_t processes;
};

enum process_state {
	PROCESS_ENDED,   /* wrote back and said so */
	PROCESS_RUNNING, /* outlives the program */
	PROCESS_GONE,    /* without a word: killed, or it became another program */
};

struct report_process {
	uint32_t pid, parent;
	enum process_state state;
	uint64_t budget_bytes, used_bytes, peak_bytes, start_ns;
	uint64_t files; /* that it mapped */
	char program[sizeof((struct report *)0)->program];
};

struct run_report {
	char **argv;
	uint64_t budget_bytes;
	bool one_budget; /* for all processes: there was a host */
	enum engine_faults faults;
	struct child_end end;
	struct report_total *files; /* most faults first */
	size_t nfiles;
	struct report_process *processes; /* in order of their start */
	size_t nprocesses;
	struct report_note *notes;
	size_t nnotes;
	size_t notes_lost, unreadable;
};

/* A counter of struct report_file. */
struct report_counter {
	const char *key; /* in JSON; NULL ends the table */
	size_t offset;
	uint32_t scale; /* from the unit of the counter to the key's */
	bool peak;
};

extern const struct report_counter report_counters[];

uint64_t report_value(const struct report_file *f, const struct report_counter *c);
/* Adds `from` to a total of the same file; so too what is mapped and in memory now. */
void report_fold(struct report_total *to, const struct report_total *from);

/* ---- The regions in a directory ---- */

bool report_is_region(const char *name);
/* The header and the slots that are used; what is behind them in `region` means nothing. False: it is none of this version, or cut short. */
bool report_read(int directory, const char *name, struct report *region);
size_t report_slots(const struct report *region);
/* A slot is made before the mapping, which may then be refused. A host has not mapped what it reads and writes for others. */
bool report_was_mapped(const struct report_file *f);
enum process_state report_state_of(const struct report *region);
/* All but how many files it has. */
struct report_process report_process_of(const struct report *region);

/* Brings the slots of one file together, however many processes had it; how many there are then. */
size_t report_merge(struct report_total *files, size_t n);

/* Fills in what the regions say; the fields about the run are the caller's. */
void report_collect(const char *directory, struct run_report *r);
void report_free(struct run_report *r);

const char *report_state_name(enum process_state state);

void report_text(FILE *out, const struct run_report *r);
void report_json(FILE *out, const struct run_report *r);

#endif
