/* SPDX-License-Identifier: Apache-2.0 */
/* A view for programs: one object in one line. Keys are only ever added. */
#include <stdio.h>

#include "json.h"
#include "top.h"

static void add_real(struct json_object *to, const char *key, double n)
{
	json_object_object_add(to, key, json_object_new_double(n));
}

static void add_rates(struct json_object *to, const struct report_file *f, double seconds)
{
	char key[64];

	json_add_number(to, "mapped_bytes", f->mapped_bytes);
	json_add_number(to, "memory_bytes", f->pages * FL_PAGE_SIZE);
	for (const struct report_counter *c = report_counters; c->key; c++) {
		if (c->peak)
			continue;
		snprintf(key, sizeof key, "%s_per_second", c->key);
		add_real(to, key, (double)report_value(f, c) / seconds);
	}
	if (!f->faults)
		return;
	add_real(to, "hit_share", view_hit_share(f));
	add_real(to, "mean_fault_ns", (double)f->fault_ns / (double)f->faults);
}

static void add_memory(struct json_object *to, uint64_t budget, uint64_t used, uint64_t peak)
{
	json_add_number(to, "budget_bytes", budget);
	json_add_number(to, "used_bytes", used);
	json_add_number(to, "peak_bytes", peak);
}

static struct json_object *run_of(const struct view_run *r)
{
	struct json_object *j = json_object_new_object();

	json_add_number(j, "pid", r->info.pid);
	if (r->info.host_pid)
		json_add_number(j, "host_pid", r->info.host_pid);
	json_object_object_add(j, "kind", json_object_new_string(r->info.kind == RUN_HOST ? "host" : "run"));
	json_object_object_add(j, r->info.kind == RUN_HOST ? "socket" : "command", json_text(r->info.what));
	json_add_number(j, "start_ns", r->info.start_ns);
	json_add_number(j, "processes", r->processes);
	add_memory(j, r->budget, r->used, r->peak);
	return j;
}

static struct json_object *file_of(const struct report_total *t, double seconds)
{
	struct json_object *j = json_object_new_object();

	json_object_object_add(j, "path", json_text(t->sum.path));
	json_add_number(j, "device", t->sum.dev);
	json_add_number(j, "inode", t->sum.ino);
	json_add_number(j, "processes", t->processes);
	add_rates(j, &t->sum, seconds);
	return j;
}

static struct json_object *process_of(const struct view_process *p, double seconds)
{
	struct json_object *j = json_object_new_object();

	json_add_number(j, "pid", p->is.pid);
	json_add_number(j, "parent_pid", p->is.parent);
	json_object_object_add(j, "program", json_text(p->is.program));
	json_object_object_add(j, "state", json_object_new_string(report_state_name(p->is.state)));
	json_object_object_add(j, "host", json_object_new_boolean(p->is_host));
	add_memory(j, p->is.budget_bytes, p->is.used_bytes, p->is.peak_bytes);
	add_rates(j, &p->total.sum, seconds);
	return j;
}

void top_json(const struct view *v)
{
	struct json_object *j = json_object_new_object(), *runs = json_object_new_array(), *files = json_object_new_array(),
			   *processes = json_object_new_array();

	json_add_number(j, "time_ns", v->real_ns);
	add_real(j, "seconds", v->seconds);
	add_memory(j, v->budget, v->used, v->peak);
	add_rates(j, &v->total, v->seconds);
	for (size_t i = 0; i < v->nruns; i++)
		json_object_array_add(runs, run_of(&v->runs[i]));
	for (size_t i = 0; i < v->nfiles; i++)
		json_object_array_add(files, file_of(&v->files[i], v->seconds));
	for (size_t i = 0; i < v->nprocesses; i++)
		json_object_array_add(processes, process_of(&v->processes[i], v->seconds));
	json_object_object_add(j, "runs", runs);
	json_object_object_add(j, "files", files);
	json_object_object_add(j, "processes", processes);
	printf("%s\n", json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(j);
}
