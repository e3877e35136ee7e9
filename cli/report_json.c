/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report for programs. Keys are only ever added. Text is valid UTF-8: bytes of a path that are not appear as \xNN,
 * that is, as a backslash, an x and two digits once the JSON is read.
 */
#include "faultline.h"
#include "json.h"
#include "report.h"

#define STRING_OF(x) #x
#define VERSION_OF(a, b, c) STRING_OF(a) "." STRING_OF(b) "." STRING_OF(c)

static struct json_object *command_of(char *const *argv)
{
	struct json_object *j = json_object_new_array();

	for (; *argv; argv++)
		json_object_array_add(j, json_text(*argv));
	return j;
}

static struct json_object *file_of(const struct report_total *f)
{
	struct json_object *j = json_object_new_object();

	json_object_object_add(j, "path", json_text(f->sum.path));
	json_add_number(j, "device", f->sum.dev);
	json_add_number(j, "inode", f->sum.ino);
	json_add_number(j, "processes", f->processes);
	for (const struct report_counter *c = report_counters; c->key; c++)
		json_add_number(j, c->key, report_value(&f->sum, c));
	return j;
}

static struct json_object *process_of(const struct report_process *p)
{
	struct json_object *j = json_object_new_object();

	json_add_number(j, "pid", p->pid);
	json_add_number(j, "parent_pid", p->parent);
	json_object_object_add(j, "program", json_text(p->program));
	json_object_object_add(j, "state", json_object_new_string(report_state_name(p->state)));
	json_add_number(j, "start_ns", p->start_ns);
	json_add_number(j, "budget_bytes", p->budget_bytes);
	json_add_number(j, "used_bytes", p->used_bytes);
	json_add_number(j, "peak_bytes", p->peak_bytes);
	json_add_number(j, "files", p->files);
	return j;
}

static struct json_object *note_of(const struct report_note *n)
{
	struct json_object *j = json_object_new_object();

	json_object_object_add(j, "text", json_text(n->text));
	json_add_number(j, "count", n->count);
	return j;
}

static void add_run(struct json_object *j, const struct run_report *r)
{
	json_object_object_add(j, "faultline_version",
			       json_object_new_string(VERSION_OF(FL_VERSION_MAJOR, FL_VERSION_MINOR, FL_VERSION_PATCH)));
	json_object_object_add(j, "command", command_of(r->argv));
	json_add_number(j, "exit_status", (uint64_t)r->end.exit_status);
	json_add_number(j, "signal", (uint64_t)r->end.signal);
	json_add_number(j, "wall_time_ns", r->end.wall_ns);
	json_add_number(j, "budget_bytes", r->budget_bytes);
	json_object_object_add(j, "faults", json_object_new_string(engine_fault_words[r->faults]));
}

static void add_lists(struct json_object *j, const struct run_report *r)
{
	struct json_object *files = json_object_new_array(), *processes = json_object_new_array(), *notes = json_object_new_array();

	for (size_t i = 0; i < r->nfiles; i++)
		json_object_array_add(files, file_of(&r->files[i]));
	for (size_t i = 0; i < r->nprocesses; i++)
		json_object_array_add(processes, process_of(&r->processes[i]));
	for (size_t i = 0; i < r->nnotes; i++)
		json_object_array_add(notes, note_of(&r->notes[i]));
	json_object_object_add(j, "files", files);
	json_object_object_add(j, "processes", processes);
	json_object_object_add(j, "notes", notes);
	json_add_number(j, "notes_lost", r->notes_lost);
	json_add_number(j, "unreadable_reports", r->unreadable);
}

void report_json(FILE *out, const struct run_report *r)
{
	struct json_object *j = json_object_new_object();
	const int flags = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;

	add_run(j, r);
	add_lists(j, r);
	fprintf(out, "%s\n", json_object_to_json_string_ext(j, flags));
	json_object_put(j);
}
