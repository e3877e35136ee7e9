/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of soft_cost share. */
#ifndef BENCH_SOFT_COST_H
#define BENCH_SOFT_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultline_soft.h"
#include "util.h"

/* How much is measured. Constant after the start. */
struct scale {
	bool check; /* as little as shows that it works */
	int repetitions;
	size_t accesses;     /* loads, stores: in one repetition */
	size_t fault_bytes;  /* memory whose pages are faulted in, in one repetition */
	size_t pairs;        /* of mmap and munmap */
	size_t lookups;      /* of VMAs */
	size_t mappings_max; /* VMAs at most */
	size_t resident_max; /* bytes of a space that is forked, at most */
};

extern struct scale scale;

/* ---- soft_cost.c ---- */

/* An empty space with room for mappings_max mappings, and a cpu of it for this thread. */
fl_space *space_new(void);
fl_cpu *cpu_new(fl_space *space);
uint64_t map_anonymous(fl_space *space, size_t bytes);
char *map_plain(size_t bytes);
/* A word at the start of each page, other than 0. */
void fill_pages(fl_cpu *cpu, uint64_t addr, size_t bytes, uint64_t tag);

/* ---- soft_access.c, soft_fault.c, soft_maps.c, soft_fork.c: plots go to the folder `out`, see write_plot() ---- */

void measure_accesses(const char *out);
void measure_faults(const char *out);
void measure_mappings(const char *out);
void measure_forks(const char *out);

/* ---- soft_kernel.c: a process of its own for the kernel's side of forks, in which there is none of Faultline's memory ---- */

void kernel_start(void);
/* fork() with so many bytes of anonymous memory resident, all written since the last one: the time of the call. */
double kernel_fork_ns(size_t bytes);
/* A write to each page of so many bytes while a child has them too: the time of each. */
double kernel_cow_ns(size_t bytes);
void kernel_end(void);
/* What that process does. */
int kernel_serve(void);

#endif
