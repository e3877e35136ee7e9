/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes come and go, and one that becomes another program starts its levels anew. So changes are taken slot by slot of each process, and
 * added up after that: who leaves takes nothing away from the others. A counter that is lower than before began again at 0.
 */
#include "sample.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Taking one ---- */

static void take_process(struct sample *s, size_t run, const struct report *region)
{
	struct sample_process *p;
	size_t n = report_slots(region);

	s->processes = memory_grow(s->processes, s->nprocesses + 1, sizeof *s->processes);
	p = &s->processes[s->nprocesses++];
	*p = (struct sample_process){
		.run = run,
		.is = report_process_of(region),
		.is_host = region->pid == s->runs[run].info.host_pid,
		.first = s->nslots,
	};
	p->is.files = n;
	if (!n)
		return;
	s->slots = memory_grow(s->slots, s->nslots + n, sizeof *s->slots);
	memcpy(&s->slots[s->nslots], region->files, n * sizeof *s->slots);
	s->nslots += n;
}

static void take_run(struct sample *s, size_t run, struct report *region)
{
	DIR *d = opendir(s->runs[run].path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (report_is_region(e->d_name) && report_read(dirfd(d), e->d_name, region))
			take_process(s, run, region);
	if (d)
		closedir(d);
}

static void keep_only(struct sample *s, const char *path)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nruns; i++)
		if (!strcmp(s->runs[i].path, path))
			s->runs[n++] = s->runs[i];
		else
			free(s->runs[i].path);
	s->nruns = n;
}

void sample_take(struct sample *s, const char *only)
{
	struct report *region = memory_grow(NULL, 1, sizeof *region);

	*s = (struct sample){0};
	s->nruns = rundir_find(&s->runs);
	if (only)
		keep_only(s, only);
	s->real_ns = clock_ns(CLOCK_REALTIME);
	s->mono_ns = clock_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < s->nruns; i++)
		take_run(s, i, region);
	free(region);
}

void sample_free(struct sample *s)
{
	rundir_free(s->runs, s->nruns);
	free(s->processes);
	free(s->slots);
	*s = (struct sample){0};
}

/* ---- Whose a process is ---- */

static const struct run_found *has_process(const struct sample *s, uint32_t pid)
{
	for (size_t i = 0; i < s->nruns; i++)
		if (s->runs[i].info.pid == pid || s->runs[i].info.host_pid == pid)
			return &s->runs[i];
	for (size_t i = 0; i < s->nprocesses; i++)
		if (s->processes[i].is.pid == pid && s->processes[i].is.state == PROCESS_RUNNING)
			return &s->runs[s->processes[i].run];
	return NULL;
}

/* 0: there is none. The name in the line may have blanks and brackets in it. */
static uint32_t parent_of(uint32_t pid)
{
	char *path = text_format("/proc/%u/stat", pid), line[512];
	FILE *f = fopen(path, "re");
	unsigned parent = 0;
	size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
	char *end;

	line[n] = 0;
	end = strrchr(line, ')');
	if (!end || sscanf(end, ") %*c %u", &parent) != 1)
		parent = 0;
	if (f)
		fclose(f);
	free(path);
	return parent;
}

const struct run_found *sample_find(const struct sample *s, uint32_t pid)
{
	const struct run_found *found = NULL;

	for (; pid > 1 && !found; pid = parent_of(pid))
		found = has_process(s, pid);
	return found;
}

/* ---- Two of them ---- */

static const struct sample_process *same_process(const struct sample *s, const char *run, uint32_t pid)
{
	for (size_t i = 0; i < s->nprocesses; i++)
		if (s->processes[i].is.pid == pid && !strcmp(s->runs[s->processes[i].run].path, run))
			return &s->processes[i];
	return NULL;
}

/* A file keeps its slot. */
static const struct report_file *same_slot(const struct sample *s, const struct sample_process *p, size_t i, const struct report_file *f)
{
	const struct report_file *old;

	if (!p || i >= p->is.files)
		return NULL;
	old = &s->slots[p->first + i];
	return old->dev == f->dev && old->ino == f->ino ? old : NULL;
}

static uint64_t *counter_in(struct report_file *f, const struct report_counter *c)
{
	return (uint64_t *)((char *)f + c->offset);
}

static void subtract(struct report_file *f, const struct report_file *old)
{
	for (const struct report_counter *c = report_counters; c->key; c++) {
		uint64_t *n = counter_in(f, c), was = *counter_in((struct report_file *)old, c);

		if (!c->peak && *n >= was)
			*n -= was;
	}
}

static void forget_counters(struct report_file *f)
{
	for (const struct report_counter *c = report_counters; c->key; c++)
		if (!c->peak)
			*counter_in(f, c) = 0;
}

/* What a process has done that was not seen before counts only if it was not there before. */
static void take_change(struct report_file *f, const struct report_file *old, bool is_new, bool is_running)
{
	if (old)
		subtract(f, old);
	else if (!is_new)
		forget_counters(f);
	if (!is_running)
		f->mapped_bytes = f->pages = 0;
}

static void add_file(struct view *v, struct view_process *p, const struct report_total *t)
{
	report_fold(&p->total, t);
	v->files[v->nfiles++] = *t;
}

static bool is_worth_a_line(const struct report_file *f)
{
	return f->mapped_bytes || f->pages || view_has_traffic(f);
}

static void add_process(struct view *v, const struct sample *before, const struct sample *now, const struct sample_process *p)
{
	const struct sample_process *was = same_process(before, now->runs[p->run].path, p->is.pid);
	bool is_new = was || p->is.start_ns > before->real_ns, is_running = p->is.state == PROCESS_RUNNING;
	struct view_process *q = &v->processes[v->nprocesses];

	*q = (struct view_process){.is = p->is, .is_host = p->is_host};
	for (size_t i = 0; i < p->is.files; i++) {
		const struct report_file *f = &now->slots[p->first + i];
		struct report_total t = {.sum = *f, .processes = is_running && f->mapped_bytes};

		take_change(&t.sum, same_slot(before, was, i, f), is_new, is_running);
		if (is_worth_a_line(&t.sum))
			add_file(v, q, &t);
	}
	v->nprocesses += is_running || view_has_traffic(&q->total.sum);
}

static bool is_for(const struct view *v, const struct sample_process *p, enum run_kind kind)
{
	return p->is.state == PROCESS_RUNNING && v->runs[p->run].info.kind == (uint32_t)kind;
}

/* With a host it is the host's word; what others use is within that. */
static void add_memory(struct view *v, const struct sample_process *p)
{
	struct view_run *r = &v->runs[p->run];
	bool alone = is_for(v, p, RUN_ALONE);

	r->processes += p->is.state == PROCESS_RUNNING && !p->is_host;
	if (!alone && !p->is_host && !is_for(v, p, RUN_JOINED))
		return;
	r->used += p->is.used_bytes;
	r->peak += p->is.peak_bytes;
	r->budget += alone ? p->is.budget_bytes : p->is_host ? r->info.budget_bytes : 0;
}

static void add_up(struct view *v)
{
	bool has_host = false;

	for (size_t i = 0; i < v->nruns; i++)
		has_host |= v->runs[i].info.kind == RUN_HOST;
	for (size_t i = 0; i < v->nruns; i++) {
		if (v->runs[i].info.kind == RUN_JOINED && has_host) /* within that */
			continue;
		v->budget += v->runs[i].budget;
		v->used += v->runs[i].used;
		v->peak += v->runs[i].peak;
	}
	for (size_t i = 0; i < v->nfiles; i++) {
		struct report_total sum = {.sum = v->total};

		report_fold(&sum, &v->files[i]);
		v->total = sum.sum;
	}
}

bool view_has_traffic(const struct report_file *f)
{
	return f->faults || f->reads || f->writes || f->evictions || f->writebacks || f->swapped_in || f->swapped_out;
}

/* The two were not read at one moment. */
double view_hit_share(const struct report_file *f)
{
	return (double)min_u64(f->faults_hit, f->faults) / (double)f->faults;
}

void view_make(struct view *v, const struct sample *before, const struct sample *now)
{
	*v = (struct view){
		.seconds = (double)max_u64(now->mono_ns - before->mono_ns, 1) / 1e9,
		.real_ns = now->real_ns,
		.runs = memory_grow(NULL, now->nruns + 1, sizeof *v->runs),
		.nruns = now->nruns,
		.files = memory_grow(NULL, now->nslots + 1, sizeof *v->files),
		.processes = memory_grow(NULL, now->nprocesses + 1, sizeof *v->processes),
	};
	for (size_t i = 0; i < now->nruns; i++)
		v->runs[i] = (struct view_run){.info = now->runs[i].info};
	for (size_t i = 0; i < now->nprocesses; i++) {
		add_process(v, before, now, &now->processes[i]);
		add_memory(v, &now->processes[i]);
	}
	v->nfiles = report_merge(v->files, v->nfiles);
	add_up(v);
}

void view_free(struct view *v)
{
	free(v->runs);
	free(v->files);
	free(v->processes);
	*v = (struct view){0};
}
