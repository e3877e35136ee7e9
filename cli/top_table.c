/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers keep to the width of their column, whatever they are: rates get a unit before they get wide. What does not fit beside a name that
 * can be read goes, the least wanted columns first.
 */
#include "top_table.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "text.h"
#include "util/size.h"

#define NAME_MIN 24 /* columns of characters that a name should have */
#define GAP 2
#define PID_WIDTH 7
#define MIB 1048576.0

struct table_row {
	const struct report_total *total;
	const struct view_process *process; /* or NULL: a file */
};

static double mapped(const struct report_file *f, double seconds)
{
	(void)seconds;
	return (double)f->mapped_bytes;
}

static double memory(const struct report_file *f, double seconds)
{
	(void)seconds;
	return (double)f->pages * FL_PAGE_SIZE;
}

static double faults(const struct report_file *f, double seconds)
{
	return (double)f->faults / seconds;
}

/* -1: of nothing. */
static double hits(const struct report_file *f, double seconds)
{
	(void)seconds;
	return f->faults ? 100 * view_hit_share(f) : -1;
}

static double fault_time(const struct report_file *f, double seconds)
{
	(void)seconds;
	return f->faults ? (double)f->fault_ns / 1000 / (double)f->faults : -1;
}

static double reads(const struct report_file *f, double seconds)
{
	return (double)f->reads / seconds;
}

static double read_mib(const struct report_file *f, double seconds)
{
	return (double)f->read_bytes / MIB / seconds;
}

static double written_mib(const struct report_file *f, double seconds)
{
	return (double)f->written_bytes / MIB / seconds;
}

static double evictions(const struct report_file *f, double seconds)
{
	return (double)f->evictions / seconds;
}

static double writebacks(const struct report_file *f, double seconds)
{
	return (double)f->writebacks / seconds;
}

/* ---- Numbers ---- */

static void print_scaled(char *buf, double v, double unit, const char *units)
{
	while (v >= unit * 0.9995 && units[1]) {
		v /= unit;
		units++;
	}
	snprintf(buf, NUMBER_MAX, v < 99.95 ? "%.1f%c" : "%.0f%c", v, *units);
}

static void print_size(char *buf, double v)
{
	if (v > 0)
		print_scaled(buf, v / 1024, 1024, "KMGTP");
	else
		snprintf(buf, NUMBER_MAX, "0");
}

/* Up to five digits in full. */
static void print_rate(char *buf, double v)
{
	if (v >= 99999.5)
		print_scaled(buf, v / 1000, 1000, "kMG");
	else
		snprintf(buf, NUMBER_MAX, v > 0 && v < 9.95 ? "%.1f" : "%.0f", v);
}

static void print_decimal(char *buf, double v)
{
	if (v < 0)
		snprintf(buf, NUMBER_MAX, "-");
	else if (v >= 99999.5)
		print_scaled(buf, v / 1000, 1000, "kMG");
	else
		snprintf(buf, NUMBER_MAX, v < 999.95 ? "%.1f" : "%.0f", v);
}

/* ---- Columns ---- */

static const struct column {
	const char *title;
	char letter;
	int width;
	int wanted; /* the lowest go first */
	double (*value)(const struct report_file *f, double seconds);
	void (*print)(char *buf, double v);
} columns[COLUMNS] = {
	[COLUMN_MAPPED] = {"MAPPED", 'm', 6, 3, mapped, print_size},
	[COLUMN_MEMORY] = {"MEMORY", 'i', 6, 9, memory, print_size},
	[COLUMN_FAULTS] = {"FAULT/s", 'f', 7, 10, faults, print_rate},
	[COLUMN_HITS] = {"HIT%", 'h', 5, 6, hits, print_decimal},
	[COLUMN_TIME] = {"us/FLT", 'u', 6, 5, fault_time, print_decimal},
	[COLUMN_READS] = {"READ/s", 'o', 6, 2, reads, print_rate},
	[COLUMN_READ] = {"RD MiB/s", 'r', 8, 8, read_mib, print_decimal},
	[COLUMN_WRITTEN] = {"WR MiB/s", 'w', 8, 7, written_mib, print_decimal},
	[COLUMN_EVICTIONS] = {"EVICT/s", 'e', 7, 4, evictions, print_rate},
	[COLUMN_WRITEBACKS] = {"WBACK/s", 'b', 7, 1, writebacks, print_rate},
	[COLUMN_NAME] = {"PATH", 'n', 0, 11, NULL, NULL},
};

enum top_column top_table_column(char letter)
{
	int i = 0;

	while (i < COLUMNS && columns[i].letter != letter)
		i++;
	return (enum top_column)i;
}

const char *top_table_letters(void)
{
	static char letters[2 * COLUMNS];

	for (int i = 0; i < COLUMNS; i++) {
		letters[2 * i] = columns[i].letter;
		letters[2 * i + 1] = i + 1 < COLUMNS ? ' ' : 0;
	}
	return letters;
}

static int numbers_width(const struct table *t)
{
	int n = 0;

	for (int i = 0; i < COLUMN_NAME; i++)
		n += t->has[i] ? columns[i].width + 1 : 0;
	return n + (t->by_process ? PID_WIDTH + 1 : 0) + GAP - 1;
}

static void choose_columns(struct table *t)
{
	for (int i = 0; i < COLUMNS; i++)
		t->has[i] = true;
	for (int least = 1; t->width && t->width - numbers_width(t) < NAME_MIN && least < 10; least++)
		for (int i = 0; i < COLUMN_NAME; i++)
			if (columns[i].wanted == least)
				t->has[i] = false;
}

bool top_table_sort_place(const struct table *t, int *start, int *len)
{
	*start = 0;
	for (int i = 0; i < (int)t->sort; i++)
		*start += t->has[i] ? columns[i].width + 1 : 0;
	*len = columns[t->sort].width;
	if (t->sort == COLUMN_NAME) {
		*start = numbers_width(t);
		*len = t->by_process ? 7 : 4;
	}
	return t->has[t->sort];
}

/* ---- Rows ---- */

static const char *name_of(const struct table_row *r)
{
	return r->process ? r->process->is.program : r->total->sum.path;
}

static int by_name(const struct table_row *a, const struct table_row *b)
{
	int order = strcmp(name_of(a), name_of(b));

	if (order || !a->process)
		return order;
	return a->process->is.pid < b->process->is.pid ? -1 : a->process->is.pid > b->process->is.pid;
}

/* What has no traffic comes last. Of equals the order is the same at each refresh. */
static int compare(const void *x, const void *y, void *arg)
{
	const struct table_row *a = x, *b = y;
	const struct table *t = arg;
	bool busy_a = view_has_traffic(&a->total->sum), busy_b = view_has_traffic(&b->total->sum);
	double va, vb;

	if (busy_a != busy_b)
		return busy_a ? -1 : 1;
	if (t->sort == COLUMN_NAME)
		return by_name(a, b);
	va = columns[t->sort].value(&a->total->sum, t->seconds);
	vb = columns[t->sort].value(&b->total->sum, t->seconds);
	return va > vb ? -1 : va < vb ? 1 : by_name(a, b);
}

void top_table_make(struct table *t, const struct view *v)
{
	size_t n = t->by_process ? v->nprocesses : v->nfiles;

	t->rows = memory_grow(NULL, n + 1, sizeof *t->rows);
	t->n = n;
	t->seconds = v->seconds;
	for (size_t i = 0; i < n; i++)
		t->rows[i] = t->by_process ? (struct table_row){&v->processes[i].total, &v->processes[i]}
					   : (struct table_row){&v->files[i], NULL};
	qsort_r(t->rows, n, sizeof *t->rows, compare, t);
	choose_columns(t);
}

void top_table_free(struct table *t)
{
	free(t->rows);
	t->rows = NULL;
}

bool top_table_is_idle(const struct table *t, size_t row)
{
	return !view_has_traffic(&t->rows[row].total->sum);
}

/* ---- Lines ---- */

/* The tail of `w` that is `room` columns wide. */
static const wchar_t *tail_of(const wchar_t *w, size_t len, int room)
{
	const wchar_t *s = w + len;

	while (s > w && wcwidth(s[-1]) <= room) {
		s--;
		room -= wcwidth(*s) > 0 ? wcwidth(*s) : 0;
	}
	return s;
}

/* In a locale that has not these characters. */
static void make_ascii(char *s)
{
	for (; *s; s++)
		if (*s & 0x80)
			*s = '?';
}

char *top_table_fit(const char *s, int width)
{
	char *clean = text_escape(s, TEXT_TERMINAL), *cut;
	wchar_t *w;
	size_t len;

	if (!width)
		return clean;
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		make_ascii(clean);
	w = memory_grow(NULL, strlen(clean) + 1, sizeof *w);
	len = mbstowcs(w, clean, strlen(clean) + 1);
	if (len != (size_t)-1 && wcswidth(w, len) > width) {
		cut = width > 3 ? text_format("...%ls", tail_of(w, len, width - 3)) : text_format("%.*s", width, "...");
		free(clean);
		clean = cut;
	}
	free(w);
	return clean;
}

static char *finish(const struct table *t, char *numbers, const char *name)
{
	int room = t->width ? max_u64(t->width > numbers_width(t) ? t->width - numbers_width(t) : 0, 1) : 0;
	char *fitted = top_table_fit(name, room), *line = text_format("%s%*s%s", numbers, GAP - 1, "", fitted);

	free(fitted);
	free(numbers);
	return line;
}

static char *append(char *line, int width, const char *cell)
{
	char *longer = text_format("%s%*s ", line, width, cell);

	free(line);
	return longer;
}

char *top_table_titles(const struct table *t)
{
	char *line = text_copy("");

	for (int i = 0; i < COLUMN_NAME; i++)
		if (t->has[i])
			line = append(line, columns[i].width, columns[i].title);
	if (t->by_process)
		line = append(line, PID_WIDTH, "PID");
	return finish(t, line, t->by_process ? "PROGRAM" : columns[COLUMN_NAME].title);
}

char *top_table_line(const struct table *t, size_t row)
{
	const struct table_row *r = &t->rows[row];
	char *line = text_copy(""), *name, cell[NUMBER_MAX];

	for (int i = 0; i < COLUMN_NAME; i++) {
		if (!t->has[i])
			continue;
		columns[i].print(cell, columns[i].value(&r->total->sum, t->seconds));
		line = append(line, columns[i].width, cell);
	}
	if (r->process) {
		snprintf(cell, sizeof cell, "%u", r->process->is.pid);
		line = append(line, PID_WIDTH, cell);
	}
	name = text_format("%s%s", name_of(r), r->process && r->process->is_host ? " (host)" : "");
	line = finish(t, line, name);
	free(name);
	return line;
}

/* ---- Above the table ---- */

static char *plural(size_t n, const char *what, const char *ending)
{
	return text_format("%zu %s%s", n, what, n == 1 ? "" : ending);
}

static char *who(const struct view *v)
{
	size_t of_kind[2] = {0, 0}, processes = 0;
	char *parts[3], *line;

	for (size_t i = 0; i < v->nruns; i++) {
		processes += v->runs[i].processes;
		of_kind[v->runs[i].info.kind == RUN_HOST]++;
	}
	if (v->nruns == 1 && of_kind[1])
		return text_format("host %u: %s", v->runs[0].info.pid, v->runs[0].info.what);
	parts[0] = plural(processes, "process", "es");
	if (v->nruns == 1) {
		line = text_format("%s, run %u: %s", parts[0], v->runs[0].info.pid, v->runs[0].info.what);
		free(parts[0]);
		return line;
	}
	parts[1] = plural(of_kind[0], "run", "s");
	parts[2] = plural(of_kind[1], "host", "s");
	line = text_format("%s, %s%s%s", parts[0], parts[1], of_kind[1] ? ", " : "", of_kind[1] ? parts[2] : "");
	for (size_t i = 0; i < 3; i++)
		free(parts[i]);
	return line;
}

static char *headline_runs(const struct view *v)
{
	time_t now = (time_t)(v->real_ns / 1000000000u);
	char *these = who(v), *line, clock[16];
	struct tm tm;

	strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &tm));
	line = text_format("faultline top  %s  %s", clock, these);
	free(these);
	return line;
}

static char *headline_memory(const struct view *v)
{
	char budget[NUMBER_MAX], used[NUMBER_MAX], peak[NUMBER_MAX];

	size_format(v->budget, budget, sizeof budget);
	size_format(v->used, used, sizeof used);
	size_format(v->peak, peak, sizeof peak);
	if (!v->budget)
		return text_format("budget of its host    used %s of that    peak %s", used, peak);
	return text_format("budget %s    used %s (%.0f %%)    peak %s", budget, used, 100.0 * (double)v->used / (double)v->budget, peak);
}

static char *headline_traffic(const struct view *v)
{
	const struct report_file *f = &v->total;
	char rate[NUMBER_MAX], hit[NUMBER_MAX], us[NUMBER_MAX];

	print_rate(rate, faults(f, v->seconds));
	print_decimal(hit, hits(f, v->seconds));
	print_decimal(us, fault_time(f, v->seconds));
	return text_format("faults %s/s, %s %% hit, %s us    read %.1f MiB/s    written %.1f MiB/s", rate, hit, us, read_mib(f, v->seconds),
			   written_mib(f, v->seconds));
}

char *top_table_headline(const struct table *t, const struct view *v, int part)
{
	static char *(*const lines[TABLE_HEADLINES])(const struct view *v) = {headline_runs, headline_memory, headline_traffic};
	char *line = lines[part](v), *clean = text_escape(line, TEXT_TERMINAL);

	free(line);
	if (t->width && strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		make_ascii(clean);
	return clean;
}
