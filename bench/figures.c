/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured: a list of figures in the order of their making, and the two ways to print it. */
#include "figures.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

struct comparison {
	const struct figure *other;
	enum bound bound;
	double limit; /* of the ratio */
	struct comparison *next;
};

static struct figure *first, **last = &first;

static void *memory(size_t size)
{
	void *p = calloc(1, size);

	if (!p) {
		perror("bench");
		exit(1);
	}
	return p;
}

struct figure *figure_new(enum side side, double goal, const char *name, ...)
{
	struct figure *f = memory(sizeof *f);
	va_list args;

	va_start(args, name);
	vsnprintf(f->name, sizeof f->name, name, args);
	va_end(args);
	f->side = side;
	f->goal = goal;
	*last = f;
	last = &f->next;
	return f;
}

void figure_add(struct figure *f, double value)
{
	if (f->n < REPETITIONS_MAX)
		f->value[f->n++] = value;
}

static void figure_free(struct figure *f)
{
	for (struct comparison *c = f->against, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(f);
}

void figures_free(void)
{
	for (struct figure *f = first, *next; f; f = next) {
		next = f->next;
		figure_free(f);
	}
	first = NULL;
	last = &first;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The k-th smallest; -1: the greatest. */
static double ordered(const double *value, int n, int k)
{
	double v[REPETITIONS_MAX];

	if (!n)
		return 0;
	memcpy(v, value, sizeof v);
	qsort(v, (size_t)n, sizeof *v, by_value);
	return v[k < 0 ? n - 1 : k];
}

double figure_median(const struct figure *f)
{
	return ordered(f->value, f->n, f->n / 2);
}

static double least(const struct figure *f)
{
	return ordered(f->value, f->n, 0);
}

static double most(const struct figure *f)
{
	return ordered(f->value, f->n, -1);
}

/* ---- Comparisons ---- */

void figure_compare(struct figure *f, const struct figure *other, enum bound bound, double ratio)
{
	struct comparison *c = memory(sizeof *c), **at = &f->against;

	*c = (struct comparison){.other = other, .bound = bound, .limit = ratio};
	while (*at)
		at = &(*at)->next;
	*at = c;
}

double figure_ratio(const struct figure *f, const struct figure *other)
{
	double v[REPETITIONS_MAX] = {0};

	if (!f->n || least(other) <= 0)
		return 0;
	if (f->n != other->n)
		return figure_median(f) / figure_median(other);
	for (int i = 0; i < f->n; i++)
		v[i] = f->value[i] / other->value[i];
	return ordered(v, f->n, f->n / 2);
}

static bool is_met(const struct figure *f, const struct comparison *c)
{
	double ratio = figure_ratio(f, c->other);

	return c->bound == AT_LEAST ? ratio >= c->limit : ratio <= c->limit;
}

/* ---- Numbers ---- */

static char *text_room(void)
{
	static char texts[8][24];
	static unsigned turn;

	return texts[turn++ % 8];
}

#define TEXT_ROOM 24

const char *ns_text(double ns)
{
	char *s = text_room();

	if (ns < 1e3)
		snprintf(s, TEXT_ROOM, "%.*f ns", ns < 100 ? 1 : 0, ns);
	else if (ns < 1e6)
		snprintf(s, TEXT_ROOM, "%.2f us", ns / 1e3);
	else
		snprintf(s, TEXT_ROOM, "%.2f ms", ns / 1e6);
	return s;
}

/* Three digits and a factor of a thousand. */
static const char *rate_text(double v, const char *unit)
{
	static const char *const factors[] = {"", "K", "M", "G"};
	char *s = text_room();
	int f = 0;

	for (; v >= 999.5 && f < 3; f++)
		v /= 1000;
	snprintf(s, TEXT_ROOM, "%.*f %s%s", v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, factors[f], unit);
	return s;
}

static const char *percent_text(double v)
{
	char *s = text_room();

	snprintf(s, TEXT_ROOM, "%.1f %%", v);
	return s;
}

const char *figure_text(const struct figure *f, double value)
{
	switch (f->unit) {
	case PER_SECOND:
		return rate_text(value, "/s");
	case BYTES_PER_SECOND:
		return rate_text(value, "B/s");
	case PERCENT:
		return percent_text(value);
	default:
		return ns_text(value);
	}
}

const char *time_tick(double ns)
{
	static char s[24];

	if (ns < 1e3)
		snprintf(s, sizeof s, "%g%s", ns, ns > 0 ? " ns" : "");
	else
		snprintf(s, sizeof s, "%g %s", ns < 1e6 ? ns / 1e3 : ns / 1e6, ns < 1e6 ? "us" : "ms");
	return s;
}

/* ---- Where ---- */

/* The first line that begins with `key`, from what follows the colon; without the end of line. */
static void line_of(FILE *in, const char *key, char *out, size_t size)
{
	char line[256];

	while (in && fgets(line, sizeof line, in))
		if (!strncmp(line, key, strlen(key))) {
			const char *value = *key ? strchr(line, ':') : line;

			snprintf(out, size, "%s", value ? value + (*key ? 2 : 0) : line);
			out[strcspn(out, "\n")] = 0;
			return;
		}
}

struct machine {
	char cpu[256], kernel[80], date[40], commit[256];
	long cpus, mebibytes;
};

static struct machine machine(void)
{
	struct machine m = {.cpu = "unknown", .kernel = "unknown", .commit = "unknown", .cpus = sysconf(_SC_NPROCESSORS_ONLN)};
	FILE *cpuinfo = fopen("/proc/cpuinfo", "re"), *git = popen("git describe --always --dirty 2>/dev/null", "re");
	time_t now = time(NULL);
	struct utsname u;

	m.mebibytes = sysconf(_SC_PHYS_PAGES) / ((1 << 20) / sysconf(_SC_PAGESIZE));
	line_of(cpuinfo, "model name", m.cpu, sizeof m.cpu);
	line_of(git, "", m.commit, sizeof m.commit);
	strftime(m.date, sizeof m.date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
	if (!uname(&u))
		snprintf(m.kernel, sizeof m.kernel, "%.12s %.60s", u.sysname, u.release);
	if (cpuinfo)
		fclose(cpuinfo);
	if (git)
		pclose(git);
	return m;
}

void figures_machine(FILE *out)
{
	struct machine m = machine();

	fprintf(out, "%ld cpus, %s, %ld MiB; %s; %s; commit %s\n", m.cpus, m.cpu, m.mebibytes, m.kernel, m.date, m.commit);
}

/* ---- Table ---- */

static const char *const sides[] = {[FAULTLINE] = "faultline", [KERNEL] = "kernel", [PLAIN] = "plain memory", [DISK] = "disk"};

/* The room for whose a figure is that stands beside another. */
#define WHO_WIDTH 26

static const struct figure *beside(const struct figure *f)
{
	for (const struct figure *o = first; o; o = o->next)
		if (o->side != FAULTLINE && !strcmp(o->name, f->name))
			return o;
	return NULL;
}

static void put_own(FILE *out, const struct figure *f)
{
	char spread[56];

	snprintf(spread, sizeof spread, "%s .. %s", figure_text(f, least(f)), figure_text(f, most(f)));
	fprintf(out, "%-60s %10s  %-24s %2d", f->name, figure_text(f, figure_median(f)), spread, f->n);
}

static void put_other(FILE *out, const struct figure *f, const struct figure *o)
{
	double ratio = o ? figure_ratio(f, o) : 0;
	const char *who = !o ? "" : *o->who ? o->who : o->side == FAULTLINE ? o->name : sides[o->side];

	fprintf(out, "  %10s %-*.*s", !o ? "" : o->n ? figure_text(o, figure_median(o)) : "-", WHO_WIDTH, WHO_WIDTH, who);
	if (ratio > 0)
		fprintf(out, " %6.2f", ratio);
	else
		fprintf(out, " %6s", "");
}

static void put_bound(FILE *out, const struct figure *f, const struct comparison *c)
{
	if (c->bound == NO_GOAL)
		return;
	if (!f->n || !c->other->n)
		fprintf(out, "   %s %.2f: not measured", c->bound == AT_LEAST ? ">=" : "<=", c->limit);
	else
		fprintf(out, "   %s %.2f: %s", c->bound == AT_LEAST ? ">=" : "<=", c->limit, is_met(f, c) ? "met" : "MISSED");
}

static void put_goal(FILE *out, const struct figure *f)
{
	if (f->goal > 0)
		fprintf(out, "   < %s: %s", figure_text(f, f->goal), figure_median(f) < f->goal ? "met" : "MISSED");
}

static void put_rows(FILE *out, const struct figure *f)
{
	put_own(out, f);
	if (!f->against) {
		if (beside(f) || f->goal > 0)
			put_other(out, f, beside(f));
		put_goal(out, f);
	}
	for (const struct comparison *c = f->against; c; c = c->next) {
		if (c != f->against)
			fprintf(out, "\n%*s", 60 + 1 + 10 + 2 + 24 + 1 + 2, "");
		put_other(out, f, c->other);
		put_bound(out, f, c);
		if (c == f->against)
			put_goal(out, f);
	}
	putc('\n', out);
}

void figures_table(FILE *out, const char *head, const char *other)
{
	fprintf(out, "%-60s %10s  %-24s %2s  %10s %-*s %6s   %s\n", head, "median", "min .. max", "n", other, WHO_WIDTH, "", "ratio",
		"goal");
	for (const struct figure *f = first; f; f = f->next)
		if (f->side == FAULTLINE && f->n)
			put_rows(out, f);
}

/* ---- JSON ---- */

/* Names are ours and the model's: of what JSON wants escaped, only the quote and the backslash could occur. */
static void json_string(FILE *out, const char *key, const char *s, const char *after)
{
	fprintf(out, "\"%s\": \"", key);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', out);
		putc(*s, out);
	}
	fprintf(out, "\"%s", after);
}

static void json_comparison(FILE *out, const struct figure *f, const struct comparison *c)
{
	bool measured = f->n && c->other->n;

	fputs(c == f->against ? "{" : ", {", out);
	json_string(out, "name", c->other->name, ", ");
	json_string(out, "of", sides[c->other->side], ", ");
	json_string(out, "who", c->other->who, ", ");
	fprintf(out, "\"ratio\": %.4f", figure_ratio(f, c->other));
	if (c->bound != NO_GOAL)
		fprintf(out, ", \"%s\": %.2f, \"met\": %s", c->bound == AT_LEAST ? "at_least" : "at_most", c->limit,
			!measured      ? "null"
			: is_met(f, c) ? "true"
				       : "false");
	putc('}', out);
}

static void json_figure(FILE *out, const struct figure *f)
{
	static const char *const units[] = {
		[NANOSECONDS] = "ns", [PER_SECOND] = "1/s", [BYTES_PER_SECOND] = "bytes/s", [PERCENT] = "percent"};

	fputs("    {", out);
	json_string(out, "name", f->name, ", ");
	json_string(out, "of", sides[f->side], ", ");
	json_string(out, "who", f->who, ", ");
	json_string(out, "unit", units[f->unit], ", ");
	fprintf(out, "\"n\": %d, \"min\": %.2f, \"median\": %.2f, \"max\": %.2f, ", f->n, least(f), figure_median(f), most(f));
	if (f->goal > 0)
		fprintf(out, "\"goal\": %.0f, \"against\": [", f->goal);
	else
		fputs("\"goal\": null, \"against\": [", out);
	for (const struct comparison *c = f->against; c; c = c->next)
		json_comparison(out, f, c);
	fputs(f->next ? "]},\n" : "]}\n", out);
}

void figures_json(FILE *out)
{
	struct machine m = machine();

	fputs("{\n  \"machine\": {", out);
	fprintf(out, "\"cpus\": %ld, \"mebibytes\": %ld, ", m.cpus, m.mebibytes);
	json_string(out, "cpu", m.cpu, ", ");
	json_string(out, "kernel", m.kernel, ", ");
	json_string(out, "date", m.date, ", ");
	json_string(out, "commit", m.commit, "},\n  \"figures\": [\n");
	for (const struct figure *f = first; f; f = f->next)
		json_figure(out, f);
	fputs("  ]\n}\n", out);
}
