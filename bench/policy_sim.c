/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of reclaim (src/cache/policy.c), as it is, beside textbook policies and the optimum, on traces.
 *
 *   policy_sim [--quick] [--out FOLDER]       tables; and with FOLDER policy_sim.json, policy_skew.svg, policy_memory.svg in it
 *   policy_sim --trace FILE --memory PAGES    the same for the page numbers in FILE, one a line
 *   policy_sim --check                        a little of everything, for what must hold
 *
 * The first quarter of a trace fills memory and is not counted. There is no read-ahead: each miss brings one page.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy_sim.h"

/* Constant after the start. */
static struct {
	uint32_t memory; /* pages */
	size_t accesses; /* of a trace */
} scale = {.memory = 8192, .accesses = 2000000};

static struct run runs[RUNS_MAX];
static size_t nruns;

_Noreturn void die(const char *what)
{
	fprintf(stderr, "policy_sim: %s: %s\n", what, strerror(errno));
	exit(1);
}

void *must_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		die("memory");
	return p;
}

uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void expect(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "policy_sim: wrong: %s\n", what);
	exit(1);
}

/* ---- Runs ---- */

/* The trace is freed. */
static struct run *run(const char *name, struct trace t, uint32_t memory)
{
	struct run *r = &runs[nruns++];
	size_t warm = t.n / 4;

	expect(nruns <= RUNS_MAX, "there is room for all runs");
	snprintf(r->trace, sizeof r->trace, "%s", name);
	r->pages = t.pages;
	r->memory = memory;
	for (size_t i = 0; i < nrivals; i++)
		r->outcome[OF_RIVALS + i] = run_rival(&rivals[i], &t, memory, warm);
	r->outcome[OF_SECOND_CHANCE] = run_second_chance(BLIND, &t, memory, warm);
	for (int s = 0; s < SIGHTS; s++)
		r->outcome[OF_OURS + s] = run_ours((enum sight)s, &t, memory, warm);
	r->outcome[OF_OPTIMUM] = optimum(&t, memory, warm);
	for (size_t p = 0; p < POLICIES; p++)
		expect(r->outcome[p].misses >= r->outcome[OF_OPTIMUM].misses, "nothing is better than the optimum");
	trace_free(&t);
	return r;
}

static const double skews[] = {0.6, 0.7, 0.8, 0.9, 0.99, 1.1, 1.2};
#define SKEWS (sizeof skews / sizeof *skews)

static const struct run *run_skews(void)
{
	const struct run *first = &runs[nruns];
	char name[32];

	for (size_t i = 0; i < SKEWS; i++) {
		snprintf(name, sizeof name, "Zipf %.2f", skews[i]);
		run(name, trace_zipf(8 * scale.memory, skews[i], scale.accesses), scale.memory);
	}
	return first;
}

/* Memory for 1/64 of the pages to 1/2. */
#define SIZES 6

static const struct run *run_sizes(void)
{
	const struct run *first = &runs[nruns];

	for (uint32_t i = 0; i < SIZES; i++)
		run("Zipf 0.99, sizes of memory", trace_zipf(8 * scale.memory, 0.99, scale.accesses), scale.memory >> 3 << i);
	return first;
}

static void run_others(void)
{
	uint32_t m = scale.memory;
	size_t n = scale.accesses;

	run("uniform", trace_uniform(8 * m, n), m);
	run("loop, 1.1 x memory", trace_loop(m / 10 * 11, n), m);
	run("loop, 1.5 x memory", trace_loop(m / 2 * 3, n), m);
	run("hot 25 % and a scan, 1:1", trace_scan(m / 4, 8 * m, 50, n), m);
	run("hot 25 % and a scan, 1:4", trace_scan(m / 4, 8 * m, 20, n), m);
	run("hot 85 % and a scan, 1:1", trace_scan(m / 20 * 17, 8 * m, 50, n), m);
	run("Zipf 0.99, shifting", trace_shifting(8 * m, 0.99, 4, n), m);
	run("Zipf 0.99, shifting fast", trace_shifting(8 * m, 0.99, 40, n), m);
	run("6 streams and Zipf 0.99", trace_streams(16 * m, 6, n), m);
}

static void run_file(const char *path, uint32_t memory)
{
	struct trace t;

	if (!trace_read(path, &t))
		die(path);
	run(path, t, memory);
}

/* ---- Output ---- */

static FILE *open_in(const char *folder, const char *file)
{
	char path[4096];
	FILE *f;

	if (!folder) {
		f = tmpfile();
	} else {
		snprintf(path, sizeof path, "%s/%s", folder, file);
		f = fopen(path, "we");
	}
	if (!f)
		die(file);
	return f;
}

/* What was written nowhere is looked at. */
static void close_it(FILE *f, const char *folder, const char *end)
{
	char tail[16] = "";
	long n = (long)strlen(end);

	if (!folder) {
		rewind(f);
		expect(!fseek(f, -n, SEEK_END) && fread(tail, 1, (size_t)n, f) == (size_t)n && !strcmp(tail, end),
		       "what was written is whole");
	}
	if (fclose(f))
		die("write");
}

static void output(const char *folder, const struct run *by_skew, const struct run *by_size)
{
	FILE *f = open_in(folder, "policy_sim.json");

	write_json(runs, nruns, f);
	close_it(f, folder, "  ]\n}\n");
	if (!by_skew)
		return;
	f = open_in(folder, "policy_skew.svg");
	expect(write_skew_plot(by_skew, SKEWS, skews, f), "the plot over skew is written");
	close_it(f, folder, "</svg>\n");
	f = open_in(folder, "policy_memory.svg");
	expect(write_memory_plot(by_size, SIZES, f), "the plot over memory is written");
	close_it(f, folder, "</svg>\n");
}

/* ---- What must hold ---- */

static const struct run *find(const char *trace)
{
	for (size_t i = 0; i < nruns; i++)
		if (!strcmp(runs[i].trace, trace))
			return &runs[i];
	expect(false, trace);
	return NULL;
}

static uint64_t misses_of(const char *name, const struct trace *t, uint32_t memory)
{
	for (size_t i = 0; i < nrivals; i++)
		if (!strcmp(rivals[i].name, name))
			return run_rival(&rivals[i], t, memory, 0).misses;
	return optimum(t, memory, 0).misses;
}

/* The string that textbooks have for Belady's anomaly, and what they count. */
static void check_rivals(void)
{
	static uint32_t pages[] = {1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5};
	const struct trace t = {.page = pages, .n = 12, .pages = 6};

	expect(misses_of("FIFO", &t, 3) == 9 && misses_of("FIFO", &t, 4) == 10, "FIFO on the textbook's string");
	expect(misses_of("LRU", &t, 3) == 10 && misses_of("LRU", &t, 4) == 8, "LRU on the textbook's string");
	expect(misses_of("optimum", &t, 3) == 7 && misses_of("optimum", &t, 4) == 6, "the optimum on the textbook's string");
}

static double ours(const char *trace, enum sight s)
{
	return hit_rate(&find(trace)->outcome[OF_OURS + s]);
}

static double rival(const char *trace, size_t place)
{
	return hit_rate(&find(trace)->outcome[place]);
}

static void check_ours(void)
{
	const char *zipf = "Zipf 0.99", *scan = "hot 25 % and a scan, 1:4", *loop = "loop, 1.1 x memory";

	for (int s = 0; s < SIGHTS; s++) {
		expect(ours(zipf, (enum sight)s) > rival(zipf, OF_SECOND_CHANCE) + 3, "on Zipf it is better than second chance by 3 %");
		expect(ours(zipf, (enum sight)s) > rival(zipf, 2), "on Zipf it is better than LRU");
		expect(ours(scan, (enum sight)s) > 19, "a scan leaves the hot set alone");
		expect(rival(scan, OF_SECOND_CHANCE) < 15, "second chance does not");
		expect(find(zipf)->outcome[OF_OURS + s].looks < 200 * find(zipf)->outcome[OF_OURS + s].misses, "a victim is found soon");
	}
	expect(rival(loop, 2) < 1 && ours(loop, BLIND) > 20, "a loop over more than memory has hits, and none with LRU");
	expect(find(zipf)->outcome[OF_OURS + SOFT_FAULTS].soft_faults > 0 && !find(zipf)->outcome[OF_OURS + BLIND].soft_faults,
	       "soft faults are where they can be");
}

static void check_files(void)
{
	FILE *f = fopen("policy_sim.trace", "we");
	struct trace t;

	if (!f)
		die("policy_sim.trace");
	fputs("18446744073709551615\n7\n7\n0\n18446744073709551615\n", f);
	fclose(f);
	expect(trace_read("policy_sim.trace", &t) && t.n == 5 && t.pages == 3, "a trace is read");
	expect(t.page[0] == 2 && t.page[1] == 1 && t.page[2] == 1 && t.page[3] == 0 && t.page[4] == 2, "its pages are told apart");
	trace_free(&t);
	remove("policy_sim.trace");
	expect(!trace_read("policy_sim.trace", &t), "a file that is not there is no trace");
}

static int check(void)
{
	const struct run *by_skew, *by_size;

	scale.memory = 1024;
	scale.accesses = 200000;
	by_skew = run_skews();
	by_size = run_sizes();
	run_others();
	output(NULL, by_skew, by_size);
	check_rivals();
	check_ours();
	check_files();
	return 0;
}

/* ---- Start ---- */

static int usage(void)
{
	fprintf(stderr, "usage: policy_sim [--quick] [--out FOLDER] [--trace FILE --memory PAGES] | --check\n");
	return 2;
}

static int simulate(const char *folder, const char *trace, unsigned long memory)
{
	const struct run *by_skew = NULL, *by_size = NULL;

	if (trace) {
		run_file(trace, (uint32_t)memory);
	} else {
		by_skew = run_skews();
		by_size = run_sizes();
		run_others();
	}
	write_tables(runs, nruns, stdout);
	if (folder)
		output(folder, by_skew, by_size);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"quick", no_argument, NULL, 'q'},       {"check", no_argument, NULL, 'c'},        {"out", required_argument, NULL, 'o'},
		{"trace", required_argument, NULL, 't'}, {"memory", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0},
	};
	const char *out = NULL, *trace = NULL;
	unsigned long memory = 0;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (o) {
		case 'q':
			scale.accesses = 500000;
			scale.memory = 2048;
			break;
		case 'c':
			return check();
		case 'o':
			out = optarg;
			break;
		case 't':
			trace = optarg;
			break;
		case 'm':
			memory = strtoul(optarg, NULL, 10);
			break;
		default:
			return usage();
		}
	if (optind < argc || !trace != !memory || memory > 1u << 28)
		return usage();
	if (out && mkdir(out, 0777) && errno != EEXIST)
		die(out);
	return simulate(out, trace, memory);
}
