/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report for people, 80 columns wide: a block for each file under its path, which may be as long as it likes; the
 * processes; what was left to the kernel. Long lists end in a block of sums: JSON has them in full.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "text.h"
#include "util/size.h"

#define LIST_MAX 32 /* blocks of files, lines of processes */
#define NOTE_WIDTH 76

struct cell {
	const char *label;
	char value[NUMBER_MAX];
};

static struct cell count_cell(const char *label, uint64_t n)
{
	struct cell c = {.label = label};

	count_format(n, c.value);
	return c;
}

static struct cell size_cell(const char *label, uint64_t bytes)
{
	struct cell c = {.label = label};

	size_format(bytes, c.value, sizeof c.value);
	return c;
}

/* A mean of nothing is no number. */
static struct cell time_cell(const char *label, uint64_t ns, uint64_t parts)
{
	struct cell c = {.label = label, .value = "-"};

	if (parts)
		time_format(ns / parts, c.value);
	return c;
}

static struct cell share_cell(const char *label, uint64_t part, uint64_t whole)
{
	struct cell c = {.label = label, .value = "-"};

	if (whole)
		snprintf(c.value, sizeof c.value, "%.1f %%", 100.0 * (double)part / (double)whole);
	return c;
}

static void row(FILE *out, struct cell left, struct cell right)
{
	fprintf(out, "  %-20s%14s      %-20s%14s\n", left.label, left.value, right.label, right.value);
}

static void block(FILE *out, const struct report_file *f)
{
	row(out, size_cell("mapped at most", f->mapped_peak), count_cell("faults", f->faults));
	row(out, size_cell("memory at most", f->pages_peak * FL_PAGE_SIZE), share_cell("found in memory", f->faults_hit, f->faults));
	row(out, count_cell("reads", f->reads), time_cell("time in faults", f->fault_ns, 1));
	row(out, size_cell("bytes read", f->read_bytes), time_cell("time per fault", f->fault_ns, f->faults));
	row(out, count_cell("writes", f->writes), count_cell("pages read ahead", f->read_ahead));
	row(out, size_cell("bytes written", f->written_bytes), count_cell("pages evicted", f->evictions));
	row(out, count_cell("mmap calls", f->mappings), count_cell("pages written back", f->writebacks));
	if (f->swapped_out || f->swapped_in)
		row(out, count_cell("pages swapped out", f->swapped_out), count_cell("pages swapped in", f->swapped_in));
	if (f->read_errors || f->write_errors)
		row(out, count_cell("READ ERRORS", f->read_errors), count_cell("WRITE ERRORS", f->write_errors));
}

static void print_file(FILE *out, const struct report_total *f)
{
	char *path = text_escape(f->sum.path, TEXT_TERMINAL);

	fprintf(out, "\n%s", path);
	if (f->processes > 1)
		fprintf(out, "  (%zu processes; \"at most\" is of any one)", f->processes);
	fputc('\n', out);
	block(out, &f->sum);
	free(path);
}

static void print_files(FILE *out, const struct run_report *r)
{
	struct report_total rest = {0};

	for (size_t i = 0; i < r->nfiles && i < LIST_MAX; i++)
		print_file(out, &r->files[i]);
	if (r->nfiles <= LIST_MAX)
		return;
	for (size_t i = LIST_MAX; i < r->nfiles; i++)
		report_fold(&rest, &r->files[i]);
	fprintf(out, "\n%zu more files, together (at most: of any one of them); --report=json lists them\n", r->nfiles - LIST_MAX);
	block(out, &rest.sum);
}

static void print_process(FILE *out, const struct report_process *p)
{
	char budget[NUMBER_MAX], peak[NUMBER_MAX], *program = text_escape(p->program, TEXT_TERMINAL);

	size_format(p->budget_bytes, budget, sizeof budget);
	size_format(p->peak_bytes, peak, sizeof peak);
	fprintf(out, "  %9u%14s%14s   %-10s%s\n", p->pid, budget, peak, report_state_name(p->state), program);
	free(program);
}

/* Those that mapped nothing, such as the commands of a shell script, would only hide the others. */
static void print_processes(FILE *out, const struct run_report *r)
{
	size_t shown = 0, with_files = 0;
	bool gone = false;

	fprintf(out, "\n  %9s%14s%14s   %-10s%s\n", "process", "budget", "most used", "state", "program");
	for (size_t i = 0; i < r->nprocesses; i++) {
		const struct report_process *p = &r->processes[i];

		if (!p->files)
			continue;
		with_files++;
		if (shown == LIST_MAX)
			continue;
		shown++;
		gone |= p->state == PROCESS_GONE;
		print_process(out, p);
	}
	if (with_files > shown)
		fprintf(out, "  %zu more processes; --report=json lists them\n", with_files - shown);
	if (r->nprocesses > with_files)
		fprintf(out, "  %zu more without a mapped file\n", r->nprocesses - with_files);
	if (gone)
		fputs("  gone: killed, or replaced by another program, without writing back at its end\n", out);
}

/* One item of a list, folded at blanks. */
static void print_folded(FILE *out, const char *text)
{
	const char *lead = "  - ";

	while (*text) {
		size_t len = strlen(text), cut = len;

		if (len > NOTE_WIDTH) {
			for (cut = NOTE_WIDTH; cut && text[cut] != ' '; cut--)
				;
			cut = cut ? cut : len;
		}
		fprintf(out, "%s%.*s\n", lead, (int)cut, text);
		text += cut + strspn(text + cut, " ");
		lead = "    ";
	}
}

static void print_note(FILE *out, const struct report_note *note)
{
	char *clean = text_escape(note->text, TEXT_TERMINAL), *line = NULL;

	if (note->count > 1)
		line = text_format("%s (%u times)", clean, note->count);
	print_folded(out, line ? line : clean);
	free(line);
	free(clean);
}

static void print_notes(FILE *out, const struct run_report *r)
{
	if (r->nnotes)
		fputs("\nleft to the kernel, or refused:\n", out);
	for (size_t i = 0; i < r->nnotes; i++)
		print_note(out, &r->notes[i]);
	if (r->notes_lost)
		fprintf(out, "  - and %zu more\n", r->notes_lost);
}

static void print_end(FILE *out, const struct run_report *r)
{
	char *program = text_escape(r->argv[0], TEXT_TERMINAL), took[NUMBER_MAX], budget[NUMBER_MAX];

	time_format(r->end.wall_ns, took);
	size_format(r->budget_bytes, budget, sizeof budget);
	fprintf(out, "faultline: %s: ", program);
	if (r->end.signal)
		fprintf(out, "killed by signal %d (%s)", r->end.signal, strsignal(r->end.signal));
	else
		fprintf(out, "exit status %d", r->end.exit_status);
	fprintf(out, " after %s, budget %s%s\n", took, budget,
		r->one_budget       ? " for all processes"
		: r->nprocesses > 1 ? " for each process"
				    : "");
	if (r->faults == FAULTS_SIGSEGV)
		fputs("faultline: faults were served by SIGSEGV, without userfaultfd (see: faultline doctor)\n", out);
	free(program);
}

void report_text(FILE *out, const struct run_report *r)
{
	print_end(out, r);
	if (r->nfiles) {
		print_files(out, r);
		print_processes(out, r);
	} else if (r->nprocesses) {
		fputs("faultline: no file was mapped through Faultline\n", out);
	} else if (!r->unreadable) {
		fputs("faultline: nothing was served: no process mapped a file that is not left to the kernel (small files are: "
		      "--min-map)\n",
		      out);
	}
	print_notes(out, r);
	if (r->unreadable)
		fprintf(out, "faultline: %zu reports could not be read: cut short, or from another version of the shim\n", r->unreadable);
}
