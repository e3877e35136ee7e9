/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What native mappings cost, beside mmap of the kernel within as much memory, and beside the disk.
 *
 *   native_cost [--quick] [--out FOLDER]   a table; and with FOLDER native_cost.json and plots in it
 *               [--size SIZE] [--memory SIZE]   of the file, and of what it is read within
 *               [--data FILE]              a file of ours to use, made if there is none, and kept; else one is made and removed
 *               [--only NAME]              one part of it
 *   native_cost --check                    a little of everything, for the results and not for the time
 *
 * Contenders run in turn, each in a process of its own, and begin with nothing of the file in memory. Faultline has a budget and reads
 * with O_DIRECT. The kernel's side is in a memory cgroup of the same size, which takes privilege; without it there is no such side. The
 * medians are those of some rounds. What is read is judged, in the time that is measured: both sides do it.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data.h"
#include "memcg.h"
#include "native_cost.h"
#include "output.h"
#include "page_cache.h"
#include "undo.h"
#include "util/size.h"
#include "worker.h"

static const struct scale full = {
	.size = 4096 * MIB,
	.memory = 512 * MIB,
	.sweep_size = 256 * MIB,
	.seconds = 1,
	.scan_seconds = 3,
	.warm = 3,
	.rounds = 5,
	.sweep_rounds = 3,
};
static const struct scale quick = {
	.size = 256 * MIB,
	.memory = 32 * MIB,
	.sweep_size = 128 * MIB,
	.seconds = 0.1,
	.scan_seconds = 0.2,
	.warm = 1,
	.rounds = 5,
	.sweep_rounds = 1,
};
static const struct scale little = {
	.check = true,
	.size = 16 * MIB,
	.memory = 2 * MIB,
	.sweep_size = 16 * MIB,
	.seconds = 0.2,
	.scan_seconds = 0.2,
	.warm = 0.02,
	.ops_max = 200,
	.rounds = 1,
	.sweep_rounds = 1,
};

struct scale scale;

/* ---- Runs ---- */

struct job job_new(enum workload w, enum contender_kind by)
{
	struct job j = {
		.workload = w,
		.contender = by,
		.size = scale.size,
		.memory = scale.memory,
		.known = true,
		.advice = ADVICE_NONE,
		.threads = 1,
		.warm = w == WORKLOAD_SCAN ? 0 : scale.warm,
		.seconds = scale.seconds,
		.ops_max = scale.ops_max,
		.seed = 1,
		.pattern = PATTERN_UNIFORM,
	};

	snprintf(j.path, sizeof j.path, "%s", scale.path);
	return j;
}

static void prepare(const struct job *j)
{
	int error = j->page_cache ? page_cache_fill(scale.path, j->size) : page_cache_drop(scale.path, true);

	if (!error)
		return;
	errno = -error;
	die(scale.path);
}

void measure(const struct contestant *c, struct outcome *out)
{
	bool cap = c->job.contender == CONTENDER_KERNEL && scale.capped && !c->all_in_memory;
	struct memcg cgroup = {.path = ""};
	int error;

	prepare(&c->job);
	error = cap ? memcg_make(&cgroup, c->job.memory, c->job.size) : 0;
	if (error) {
		errno = -error;
		die("memory cgroup");
	}
	worker_run(&c->job, cap ? &cgroup : NULL, out);
	memcg_remove(&cgroup);
	if (*out->error) {
		fprintf(stderr, "native_cost: %s: %s\n", c->job.contender == CONTENDER_KERNEL ? "the kernel's side" : "Faultline",
			out->error);
		exit(1);
	}
	expect(out->ops && out->judged, "something was done and looked at");
}

/* ---- Start and end ---- */

static bool can_cap(void)
{
	struct memcg cgroup;
	int error = memcg_make(&cgroup, scale.memory, scale.size);

	if (!error) {
		memcg_remove(&cgroup);
		return true;
	}
	fprintf(stderr, "native_cost: no memory cgroup can be made here (%s): the kernel's side is left out where memory matters\n",
		strerror(-error));
	return false;
}

static void make_data(const char *path, bool keep)
{
	int error;

	if (!keep)
		undo_file(path);
	if (!scale.check)
		fprintf(stderr, "native_cost: the file, %s, %llu MiB ...\n", path, (unsigned long long)(scale.size / MIB));
	error = data_make(path, scale.size);
	if (!error)
		return;
	errno = -error;
	if (error == -EEXIST)
		undo_file(NULL); /* it is somebody's */
	die(path);
}

/* For --check: where there is room for a small file. */
static const char *temporary(void)
{
	static char path[4096];
	const char *folder = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof path, "%s/native_cost.XXXXXX", folder && *folder ? folder : "/var/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		die(path);
	close(fd);
	return path;
}

static const struct part {
	const char *name;
	void (*measure)(const char *out);
} parts[] = {
	{"scan", measure_scan}, {"random", measure_random},   {"skewed", measure_skewed},
	{"hot", measure_hot},   {"writes", measure_writes},   {"memory", measure_memory},
	{"sync", measure_sync}, {"threads", measure_threads}, {"sweeps", measure_sweeps},
};
#define PARTS (sizeof parts / sizeof *parts)

static bool is_part(const char *name)
{
	for (size_t i = 0; i < PARTS; i++)
		if (!strcmp(name, parts[i].name))
			return true;
	return false;
}

static void measure_parts(const char *only, const char *out)
{
	for (size_t i = 0; i < PARTS; i++)
		if (!only || !strcmp(only, parts[i].name)) {
			if (!scale.check)
				fprintf(stderr, "native_cost: %s ...\n", parts[i].name); /* minutes pass before there is a table */
			parts[i].measure(out);
		}
	plot_latencies(out);
}

static void print(const char *out)
{
	if (scale.check || out)
		write_figures(scale.check ? NULL : out, "native_cost.json");
	if (!scale.check) {
		figures_machine(stdout);
		printf("file %llu MiB, memory %llu MiB; read-ahead of the disk %u KiB; runs of %g s\n\n",
		       (unsigned long long)(scale.size / MIB), (unsigned long long)(scale.memory / MIB), read_ahead_of(scale.path),
		       scale.seconds);
		figures_table(stdout, "workload", "beside");
	}
	figures_free();
}

struct options {
	const char *out, *only, *data;
	uint64_t size, memory;
};

static int usage(void)
{
	fprintf(stderr, "usage: native_cost [--quick | --check] [--out FOLDER] [--data FILE] [--size SIZE] [--memory SIZE] [--only PART]\n"
			"parts: ");
	for (size_t i = 0; i < PARTS; i++)
		fprintf(stderr, "%s%s", parts[i].name, i + 1 < PARTS ? ", " : "\n");
	return 2;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},        {"check", no_argument, NULL, 'c'},
		{"out", required_argument, NULL, 'o'},    {"only", required_argument, NULL, 'p'},
		{"data", required_argument, NULL, 'd'},   {"size", required_argument, NULL, 's'},
		{"memory", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0},
	};
	bool right = true;
	int c;

	while (right && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'q')
			scale = quick;
		else if (c == 'c')
			scale = little;
		else if (c == 'o')
			o->out = optarg;
		else if (c == 'p')
			right = is_part(o->only = optarg);
		else if (c == 'd')
			o->data = optarg;
		else
			right = (c == 's' || c == 'm') && !size_parse(optarg, c == 's' ? &o->size : &o->memory);
	}
	return right && optind == argc;
}

/* Whole pages, and as many as all parts need. */
static bool set_sizes(const struct options *o)
{
	scale.size = o->size ? o->size / MIB * MIB : scale.size;
	scale.memory = o->memory ? o->memory / MIB * MIB : scale.memory;
	if (scale.sweep_size > scale.size)
		scale.sweep_size = scale.size;
	if (scale.memory >= (scale.check ? 2 : 4) * MIB && scale.size >= 16 * MIB && scale.size > scale.memory)
		return true;
	fprintf(stderr, "native_cost: a file of 16 MiB, larger than memory, and memory of 4 MiB are the least\n");
	return false;
}

static void start(const struct options *o)
{
	static char path[4096];

	snprintf(path, sizeof path, "%s/native.data", o->out ? o->out : ".");
	if (o->out)
		output_folder(o->out);
	scale.path = scale.check ? temporary() : o->data ? o->data : path;
	make_data(scale.path, !scale.check && o->data);
	scale.capped = !scale.check && can_cap();
}

int main(int argc, char **argv)
{
	static char self[] = "native_cost", how[] = "--worker";
	static char *const worker[] = {self, how, NULL};
	struct options o = {0};

	if (argc == 2 && !strcmp(argv[1], how))
		return worker_main();
	worker_program(worker);
	scale = full;
	if (!parse(argc, argv, &o) || !set_sizes(&o))
		return usage();
	undo_start();
	start(&o);
	if (scale.check)
		check_self();
	measure_parts(o.only, o.out);
	print(o.out);
	return 0;
}
