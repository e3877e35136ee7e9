/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions are copied, then judged: their writers may still be alive, or may have died half-way, so nothing in them is
 * believed before it is checked (magic, version, size, strings that end).
 */
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define COUNTER(key, field, scale, peak)                              \
	{                                                             \
		key, offsetof(struct report_file, field), scale, peak \
	}

const struct report_counter report_counters[] = {
	COUNTER("mapped_peak_bytes", mapped_peak, 1, true),
	COUNTER("memory_peak_bytes", pages_peak, FL_PAGE_SIZE, true),
	COUNTER("mappings", mappings, 1, false),
	COUNTER("faults", faults, 1, false),
	COUNTER("faults_hit", faults_hit, 1, false),
	COUNTER("faults_write", faults_write, 1, false),
	COUNTER("fault_ns", fault_ns, 1, false),
	COUNTER("reads", reads, 1, false),
	COUNTER("read_bytes", read_bytes, 1, false),
	COUNTER("writes", writes, 1, false),
	COUNTER("written_bytes", written_bytes, 1, false),
	COUNTER("read_ahead_pages", read_ahead, 1, false),
	COUNTER("evicted_pages", evictions, 1, false),
	COUNTER("written_back_pages", writebacks, 1, false),
	COUNTER("swapped_out_pages", swapped_out, 1, false),
	COUNTER("swapped_in_pages", swapped_in, 1, false),
	COUNTER("read_errors", read_errors, 1, false),
	COUNTER("write_errors", write_errors, 1, false),
	{0},
};

/* Only for copies: no other thread sees them. */
static uint64_t *counter_in(const struct report_file *f, const struct report_counter *c)
{
	return (uint64_t *)((char *)f + c->offset);
}

uint64_t report_value(const struct report_file *f, const struct report_counter *c)
{
	return *counter_in(f, c) * c->scale;
}

void report_fold(struct report_total *to, const struct report_total *from)
{
	for (const struct report_counter *c = report_counters; c->key; c++) {
		uint64_t *sum = counter_in(&to->sum, c), n = *counter_in(&from->sum, c);

		*sum = c->peak ? max_u64(*sum, n) : *sum + n;
	}
	to->sum.mapped_bytes += from->sum.mapped_bytes;
	to->sum.pages += from->sum.pages;
	to->processes += from->processes;
}

const char *report_state_name(enum process_state state)
{
	static const char *const names[] = {[PROCESS_ENDED] = "ended", [PROCESS_RUNNING] = "running", [PROCESS_GONE] = "gone"};

	return names[state];
}

/* ---- One region ---- */

#define SLOTS_AT_ONCE 32

bool report_is_region(const char *name)
{
	size_t n = strlen(name), suffix = strlen(REPORT_SUFFIX);

	return n > suffix && !strcmp(name + n - suffix, REPORT_SUFFIX);
}

static bool read_all(int fd, void *buf, size_t len, size_t offset)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < len && n > 0) {
		n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));
		if (n > 0)
			done += (size_t)n;
	}
	return done == len;
}

size_t report_slots(const struct report *region)
{
	size_t n = 0;

	while (n < REPORT_FILES_MAX && region->files[n].used)
		n++;
	return n;
}

/* They are used in order, and most processes have few. */
static bool read_slots(int fd, struct report *region)
{
	for (size_t i = 0; i < REPORT_FILES_MAX; i += SLOTS_AT_ONCE) {
		struct report_file *f = &region->files[i];

		if (!read_all(fd, f, SLOTS_AT_ONCE * sizeof *f, offsetof(struct report, files) + i * sizeof *f))
			return false;
		for (size_t j = 0; j < SLOTS_AT_ONCE; j++)
			f[j].path[sizeof f[j].path - 1] = 0;
		if (!f[SLOTS_AT_ONCE - 1].used)
			return true;
	}
	return true;
}

/* O_NOFOLLOW and O_NONBLOCK: a program may put anything there, and we must not wait for it. */
bool report_read(int directory, const char *name, struct report *region)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	bool ok;

	if (fd < 0)
		return false;
	ok = !fstat(fd, &st) && (size_t)st.st_size >= sizeof *region && read_all(fd, region, offsetof(struct report, files), 0) &&
	     region->magic == REPORT_MAGIC && region->version == REPORT_VERSION && read_slots(fd, region);
	region->program[sizeof region->program - 1] = 0;
	close(fd);
	return ok;
}

static void end_string(char *s, size_t size)
{
	s[size - 1] = 0;
}

bool report_was_mapped(const struct report_file *f)
{
	return f->used && (f->mappings || f->mapped_peak || f->reads || f->writes || f->pages_peak);
}

static uint64_t take_files(struct run_report *r, struct report *region)
{
	size_t slots = report_slots(region);
	uint64_t n = 0;

	for (size_t i = 0; i < slots; i++) {
		struct report_file *f = &region->files[i];

		if (!report_was_mapped(f))
			continue;
		r->files = memory_grow(r->files, r->nfiles + 1, sizeof *r->files);
		r->files[r->nfiles].processes = 1;
		memcpy(&r->files[r->nfiles++].sum, f, sizeof *f);
		n++;
	}
	return n;
}

static void take_note(struct run_report *r, const struct report_note *note)
{
	for (size_t i = 0; i < r->nnotes; i++)
		if (!strcmp(r->notes[i].text, note->text)) {
			r->notes[i].count += note->count;
			return;
		}
	r->notes = memory_grow(r->notes, r->nnotes + 1, sizeof *r->notes);
	memcpy(&r->notes[r->nnotes++], note, sizeof *note);
}

static void take_notes(struct run_report *r, struct report *region)
{
	for (size_t i = 0; i < REPORT_NOTES_MAX; i++) {
		end_string(region->notes[i].text, sizeof region->notes[i].text);
		if (region->notes[i].used)
			take_note(r, &region->notes[i]);
	}
	r->notes_lost += region->notes_lost;
}

enum process_state report_state_of(const struct report *region)
{
	if (region->state == REPORT_ENDED)
		return PROCESS_ENDED;
	return kill((pid_t)region->pid, 0) < 0 && errno == ESRCH ? PROCESS_GONE : PROCESS_RUNNING;
}

struct report_process report_process_of(const struct report *region)
{
	struct report_process p = {
		.pid = region->pid,
		.parent = region->parent,
		.state = report_state_of(region),
		.budget_bytes = region->budget_bytes,
		.used_bytes = region->used_bytes,
		.peak_bytes = region->peak_bytes,
		.start_ns = region->start_ns,
	};

	memcpy(p.program, region->program, sizeof p.program);
	return p;
}

static void take_process(struct run_report *r, struct report *region, uint64_t files)
{
	r->processes = memory_grow(r->processes, r->nprocesses + 1, sizeof *r->processes);
	r->processes[r->nprocesses] = report_process_of(region);
	r->processes[r->nprocesses++].files = files;
}

/* ---- All of them ---- */

static int by_identity(const void *a, const void *b)
{
	const struct report_file *x = &((const struct report_total *)a)->sum, *y = &((const struct report_total *)b)->sum;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino == y->ino ? 0 : x->ino < y->ino ? -1 : 1;
}

static int by_faults(const void *a, const void *b)
{
	const struct report_file *x = &((const struct report_total *)a)->sum, *y = &((const struct report_total *)b)->sum;

	if (x->faults != y->faults)
		return x->faults > y->faults ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int by_start(const void *a, const void *b)
{
	const struct report_process *x = a, *y = b;

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return x->pid == y->pid ? 0 : x->pid < y->pid ? -1 : 1;
}

size_t report_merge(struct report_total *files, size_t count)
{
	size_t n = 0;

	if (!count)
		return 0;
	qsort(files, count, sizeof *files, by_identity);
	for (size_t i = 1; i < count; i++)
		if (by_identity(&files[n], &files[i]) == 0)
			report_fold(&files[n], &files[i]);
		else if (++n != i)
			memcpy(&files[n], &files[i], sizeof *files);
	return n + 1;
}

static void take_region(struct run_report *r, int directory, const char *name, struct report *region)
{
	if (!report_read(directory, name, region)) {
		r->unreadable++;
		return;
	}
	take_notes(r, region);
	take_process(r, region, take_files(r, region));
}

void report_collect(const char *directory, struct run_report *r)
{
	struct report *region = memory_grow(NULL, 1, sizeof *region);
	DIR *d = opendir(directory);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (report_is_region(e->d_name))
			take_region(r, dirfd(d), e->d_name, region);
	if (d)
		closedir(d);
	free(region);
	r->nfiles = report_merge(r->files, r->nfiles);
	if (r->nfiles)
		qsort(r->files, r->nfiles, sizeof *r->files, by_faults);
	if (r->nprocesses)
		qsort(r->processes, r->nprocesses, sizeof *r->processes, by_start);
}

void report_free(struct run_report *r)
{
	free(r->files);
	free(r->processes);
	free(r->notes);
	r->files = NULL;
	r->processes = NULL;
	r->notes = NULL;
}
