/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured: a list of figures in the order of their making, and the two ways to print it. */
#include "figures.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static struct figure *first, **last = &first;

struct figure *figure_new(enum side side, double goal, const char *name, ...)
{
	struct figure *f = calloc(1, sizeof *f);
	va_list args;

	if (!f) {
		perror("bench");
		exit(1);
	}
	va_start(args, name);
	vsnprintf(f->name, sizeof f->name, name, args);
	va_end(args);
	f->side = side;
	f->goal = goal;
	*last = f;
	last = &f->next;
	return f;
}

void figure_add(struct figure *f, double ns)
{
	if (f->n < REPETITIONS_MAX)
		f->ns[f->n++] = ns;
}

void figures_free(void)
{
	for (struct figure *f = first, *next; f; f = next) {
		next = f->next;
		free(f);
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
static double ordered(const struct figure *f, int k)
{
	double v[REPETITIONS_MAX];

	if (!f->n)
		return 0;
	memcpy(v, f->ns, sizeof v);
	qsort(v, (size_t)f->n, sizeof *v, by_value);
	return v[k < 0 ? f->n - 1 : k];
}

double figure_median(const struct figure *f)
{
	return ordered(f, f->n / 2);
}

const char *ns_text(double ns)
{
	static char texts[8][24];
	static unsigned turn;
	char *s = texts[turn++ % 8];

	if (ns < 1e3)
		snprintf(s, sizeof texts[0], "%.*f ns", ns < 100 ? 1 : 0, ns);
	else if (ns < 1e6)
		snprintf(s, sizeof texts[0], "%.2f us", ns / 1e3);
	else
		snprintf(s, sizeof texts[0], "%.2f ms", ns / 1e6);
	return s;
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

static const struct figure *beside(const struct figure *f)
{
	for (const struct figure *o = first; o; o = o->next)
		if (o->side != FAULTLINE && !strcmp(o->name, f->name))
			return o;
	return NULL;
}

static void table_row(FILE *out, const struct figure *f)
{
	const struct figure *o = beside(f);
	char spread[48], ratio[16] = "";

	snprintf(spread, sizeof spread, "%s .. %s", ns_text(ordered(f, 0)), ns_text(ordered(f, -1)));
	if (o && figure_median(o) > 0)
		snprintf(ratio, sizeof ratio, "%.2f", figure_median(f) / figure_median(o));
	fprintf(out, "%-60s %10s  %-22s %2d  %10s%-8s %6s", f->name, ns_text(figure_median(f)), spread, f->n,
		o ? ns_text(figure_median(o)) : "", o && o->side == PLAIN ? " (plain)" : "", ratio);
	if (f->goal > 0)
		fprintf(out, "   < %s: %s", ns_text(f->goal), figure_median(f) < f->goal ? "met" : "MISSED");
	putc('\n', out);
}

void figures_table(FILE *out)
{
	fprintf(out, "%-60s %10s  %-22s %2s  %10s%-8s %6s   %s\n", "for one operation", "median", "min .. max", "n", "kernel", "", "ratio",
		"goal");
	for (const struct figure *f = first; f; f = f->next)
		if (f->side == FAULTLINE)
			table_row(out, f);
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

static void json_figure(FILE *out, const struct figure *f)
{
	static const char *const sides[] = {[FAULTLINE] = "faultline", [KERNEL] = "kernel", [PLAIN] = "plain memory"};

	fputs("    {", out);
	json_string(out, "name", f->name, ", ");
	json_string(out, "of", sides[f->side], ", ");
	fprintf(out, "\"unit\": \"ns\", \"n\": %d, \"min\": %.2f, \"median\": %.2f, \"max\": %.2f, ", f->n, ordered(f, 0), figure_median(f),
		ordered(f, -1));
	if (f->goal > 0)
		fprintf(out, "\"goal\": %.0f}", f->goal);
	else
		fputs("\"goal\": null}", out);
	fputs(f->next ? ",\n" : "\n", out);
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
