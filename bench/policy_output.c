/* SPDX-License-Identifier: Apache-2.0 */
/* What policy_sim found: tables, JSON and plots. */
#include <math.h>
#include <stdio.h>

#include "plot.h"
#include "policy_sim.h"

#define MISS_US 72.0 /* what a page costs that has to be read; the CPU's part alone is a few */
#define SOFT_US 6.0  /* a fault on a page that is in memory, with the call that unmapped it before */

const char *const policy_names[POLICIES] = {
	"FIFO",
	"CLOCK",
	"LRU",
	"ARC",
	"S3-FIFO",
	"second chance, unseen",
	"Faultline, accessed bits",
	"Faultline, soft faults",
	"Faultline, unseen",
	"optimum",
};

double hit_rate(const struct outcome *o)
{
	return 100 - 100 * (double)o->misses / (double)o->accesses;
}

double cost(const struct outcome *o)
{
	return ((double)o->misses * MISS_US + (double)o->soft_faults * SOFT_US) / (double)o->accesses;
}

/* ---- Tables ---- */

static void table(const struct run *runs, size_t n, const char *title, double (*value)(const struct outcome *o), FILE *out)
{
	static const char *const heads[POLICIES] = {"FIFO",    "CLOCK",    "LRU",  "ARC",    "S3-FIFO",
						    "2nd ch.", "accessed", "soft", "unseen", "optimum"};

	fprintf(out, "%s\n%-30s %7s", title, "", "memory");
	for (size_t p = 0; p < POLICIES; p++)
		fprintf(out, " %8s", heads[p]);
	putc('\n', out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%-30s %7u", runs[i].trace, runs[i].memory);
		for (size_t p = 0; p < POLICIES; p++)
			fprintf(out, " %8.2f", value(&runs[i].outcome[p]));
		putc('\n', out);
	}
	putc('\n', out);
}

void write_tables(const struct run *runs, size_t n, FILE *out)
{
	fprintf(out, "Textbook policies and \"accessed\" see every use. \"soft\": by a soft fault when the page was unmapped for it.\n"
		     "\"unseen\", and second chance beside it: misses alone. accessed, soft, unseen: Faultline's.\n\n");
	table(runs, n, "Hits, % of accesses", hit_rate, out);
	table(runs, n, "us for an access: 72 for a miss, 6 for a soft fault", cost, out);
}

/* ---- JSON ---- */

static void json_outcome(const char *name, const struct outcome *o, bool last, FILE *out)
{
	fprintf(out,
		"        {\"policy\": \"%s\", \"hit_rate\": %.4f, \"misses\": %lu, \"soft_faults\": %lu, \"us_per_access\": %.3f, "
		"\"entries_looked_at\": %lu}%s\n",
		name, hit_rate(o) / 100, (unsigned long)o->misses, (unsigned long)o->soft_faults, cost(o), (unsigned long)o->looks,
		last ? "" : ",");
}

/* Names of traces are ours, or those of files: quotes and backslashes, which JSON would misread, are left out. */
static void json_text(const char *s, FILE *out)
{
	for (; *s; s++)
		if (*s != '"' && *s != '\\' && (unsigned char)*s >= ' ')
			putc(*s, out);
}

void write_json(const struct run *runs, size_t n, FILE *out)
{
	fprintf(out, "{\n  \"miss_us\": %.0f,\n  \"soft_fault_us\": %.0f,\n  \"runs\": [\n", MISS_US, SOFT_US);
	for (size_t i = 0; i < n; i++) {
		fputs("    {\"trace\": \"", out);
		json_text(runs[i].trace, out);
		fprintf(out, "\", \"pages\": %u, \"memory\": %u, \"accesses\": %lu, \"policies\": [\n", runs[i].pages, runs[i].memory,
			(unsigned long)runs[i].outcome[0].accesses);
		for (size_t p = 0; p < POLICIES; p++)
			json_outcome(policy_names[p], &runs[i].outcome[p], p == POLICIES - 1, out);
		fprintf(out, "    ]}%s\n", i == n - 1 ? "" : ",");
	}
	fputs("  ]\n}\n", out);
}

/* ---- Plots ---- */

static const struct {
	size_t policy;
	bool dashed;
} plotted[] = {
	{OF_OURS + SOFT_FAULTS, false}, {OF_OURS + BLIND, false}, {OF_SECOND_CHANCE, true}, {2, true}, {4, true}, {OF_OPTIMUM, true},
};

static bool write_plot(struct plot *p, const struct run *runs, size_t n, const double *x, FILE *out)
{
	p->y_label = "hits, % of accesses";
	p->columns = 2;
	p->nseries = sizeof plotted / sizeof *plotted;
	for (size_t s = 0; s < p->nseries; s++) {
		p->series[s].name = policy_names[plotted[s].policy];
		p->series[s].dashed = plotted[s].dashed;
		for (size_t i = 0; i < n; i++)
			plot_add(&p->series[s], x[i], hit_rate(&runs[i].outcome[plotted[s].policy]));
	}
	return plot_write(p, out);
}

/* The x axis of a plot is logarithmic. Here tenths shall be alike: hence powers. */
static const char *skew_tick(double x)
{
	static char s[16];

	snprintf(s, sizeof s, "%.1f", log10(x) / 10);
	return s;
}

bool write_skew_plot(const struct run *runs, size_t n, const double *skew, FILE *out)
{
	struct plot p = {
		.title = "Hits over skew",
		.subtitle = "Zipf; memory for one page of eight; LRU and S3-FIFO see every use",
		.x_label = "exponent of Zipf's law",
		.x_tick = skew_tick,
		.x_base = 10,
	};
	double x[PLOT_POINTS];

	for (size_t i = 0; i < n; i++)
		x[i] = pow(10, 10 * skew[i]);
	return write_plot(&p, runs, n, x, out);
}

static const char *share_tick(double x)
{
	static char s[16];

	snprintf(s, sizeof s, x < 1 ? "1/%.0f" : "%.0f", x < 1 ? 1 / x : x);
	return s;
}

bool write_memory_plot(const struct run *runs, size_t n, FILE *out)
{
	struct plot p = {
		.title = "Hits over the size of memory",
		.subtitle = "Zipf 0.99; LRU and S3-FIFO see every use",
		.x_label = "memory, of the pages that there are",
		.x_tick = share_tick,
		.x_base = 2,
	};
	double x[PLOT_POINTS];

	for (size_t i = 0; i < n; i++)
		x[i] = (double)runs[i].memory / runs[i].pages;
	return write_plot(&p, runs, n, x, out);
}
