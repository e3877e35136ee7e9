/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What soft spaces cost: accesses, faults, mappings, forks; beside the kernel's own, in turn with them in the same run.
 *
 *   soft_cost [--quick] [--out FOLDER]    a table; and with FOLDER soft_cost.json, mappings.svg, lookup.svg, fork.svg in it
 *             [--only NAME]               accesses, faults, mappings or forks; else all
 *   soft_cost --check                     a little of everything, for the results and not for the time
 *
 * A figure is the median of some repetitions, each the mean of many operations, in ns for one operation. What an operation is expected
 * to have done is checked in each repetition, outside of the time.
 */
#include "soft_cost.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "figures.h"
#include "output.h"

static const struct scale full = {
	.repetitions = 9,
	.accesses = 20000000,
	.fault_bytes = 64 * MIB,
	.pairs = 50000,
	.lookups = 2000000,
	.mappings_max = 1000000,
	.resident_max = 1024 * MIB,
};
static const struct scale quick = {
	.repetitions = 5,
	.accesses = 5000000,
	.fault_bytes = 16 * MIB,
	.pairs = 10000,
	.lookups = 500000,
	.mappings_max = 100000,
	.resident_max = 1024 * MIB,
};
static const struct scale little = {
	.check = true,
	.repetitions = 2,
	.accesses = 5000,
	.fault_bytes = 1 * MIB,
	.pairs = 100,
	.lookups = 5000,
	.mappings_max = 1000,
	.resident_max = 4 * MIB,
};

struct scale scale;

/* ---- Spaces ---- */

fl_space *space_new(void)
{
	struct fl_space_options limits = {.size = sizeof limits, .map_count = 2 * scale.mappings_max + 1000};
	struct fl_soft_options o = {.size = sizeof o, .limits = &limits};
	fl_space *space = fl_space_create_soft(&o);

	if (!space)
		die("fl_space_create_soft");
	return space;
}

fl_cpu *cpu_new(fl_space *space)
{
	fl_cpu *cpu = fl_cpu_create(space);

	if (!cpu)
		die("fl_cpu_create");
	return cpu;
}

uint64_t map_anonymous(fl_space *space, size_t bytes)
{
	void *p = fl_space_mmap(space, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("fl_space_mmap");
	return (uintptr_t)p;
}

char *map_plain(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	madvise(p, bytes, MADV_NOHUGEPAGE); /* soft spaces have single pages: like with like */
	return p;
}

void fill_pages(fl_cpu *cpu, uint64_t addr, size_t bytes, uint64_t tag)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		expect(!fl_store64(cpu, addr + off, off + tag), "a store to memory that is mapped");
}

/* ---- Start and end ---- */

/* A budget with room for all that is measured: nothing here is about what happens without. */
static void start_engine(void)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * PAGE, budget = scale.check ? 64 * MIB : 1536 * MIB;
	char text[32];

	if (budget > memory / 2) {
		budget = memory / 2;
		scale.resident_max = scale.resident_max < budget / 2 ? scale.resident_max : budget / 2;
	}
	snprintf(text, sizeof text, "%lu", (unsigned long)budget);
	setenv("FAULTLINE_BUDGET", text, 1); /* and not fl_init(), which wants userfaultfd, for which there is no need here */
}

static int usage(void)
{
	fprintf(stderr, "usage: soft_cost [--quick | --check] [--out FOLDER] [--only accesses | faults | mappings | forks]\n");
	return 2;
}

static const struct part {
	const char *name;
	void (*measure)(const char *out);
} parts[] = {
	{"accesses", measure_accesses},
	{"faults", measure_faults},
	{"mappings", measure_mappings},
	{"forks", measure_forks},
};

static bool is_part(const char *name)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!strcmp(name, parts[i].name))
			return true;
	return false;
}

static void measure(const char *only, const char *out)
{
	kernel_start();
	start_engine();
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!only || !strcmp(only, parts[i].name)) {
			if (!scale.check)
				fprintf(stderr, "soft_cost: %s ...\n", parts[i].name); /* minutes pass before there is a table */
			parts[i].measure(out);
		}
	kernel_end();
	if (fl_exit())
		die("fl_exit");
}

static void print(const char *out)
{
	if (scale.check || out)
		write_figures(scale.check ? NULL : out, "soft_cost.json");
	if (!scale.check) {
		figures_machine(stdout);
		putchar('\n');
		figures_table(stdout, "for one operation", "kernel");
	}
	figures_free();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},      {"check", no_argument, NULL, 'c'},       {"out", required_argument, NULL, 'o'},
		{"only", required_argument, NULL, 'p'}, {"serve-forks", no_argument, NULL, 's'}, {NULL, 0, NULL, 0},
	};
	const char *out = NULL, *only = NULL;
	int o;

	scale = full;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (o) {
		case 'q':
			scale = quick;
			break;
		case 'c':
			scale = little;
			break;
		case 'o':
			out = optarg;
			break;
		case 'p':
			only = optarg;
			break;
		case 's':
			return kernel_serve();
		default:
			return usage();
		}
	if (optind < argc || (only && !is_part(only)))
		return usage();
	if (out)
		output_folder(out);
	measure(only, out);
	print(out);
	return 0;
}
