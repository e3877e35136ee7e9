/* SPDX-License-Identifier: Apache-2.0 */
#include "top.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define DELAY_MIN 0.1
#define DELAY_MAX 86400.0
#define EXIT_NOTHING 1

void top_next(struct top *t, struct view *v)
{
	struct sample now;

	sample_take(&now, t->only);
	view_make(v, &t->before, &now);
	sample_free(&t->before);
	t->before = now;
}

/* ---- Options ---- */

enum { KEY_JSON = 256, KEY_SORT };

static error_t bad(const char *what, const char *value, const char *cure)
{
	complain("top: %s%s: %s", what, value, cure);
	return EINVAL;
}

static error_t parse_delay(const char *arg, struct top *t)
{
	char *end;

	t->delay = strtod(arg, &end);
	if (end != arg && !*end && t->delay >= DELAY_MIN && t->delay <= DELAY_MAX)
		return 0;
	return bad("--delay ", arg, "not a time between refreshes; write seconds, from 0.1, such as 1 or 2.5");
}

static error_t parse_count(const char *arg, struct top *t)
{
	char *end;

	errno = 0;
	t->count = strtol(arg, &end, 10);
	if (end != arg && !*end && t->count > 0 && !errno)
		return 0;
	return bad("--count ", arg, "not a number of refreshes; write 1 or more");
}

static error_t parse_sort(const char *arg, struct top *t)
{
	t->sort = arg[0] && !arg[1] ? top_table_column(arg[0]) : COLUMNS;
	if (t->sort != COLUMNS)
		return 0;
	complain("top: --sort %s: no such column; write one of %s", arg, top_table_letters());
	return EINVAL;
}

static error_t parse_pid(const char *arg, struct top *t)
{
	unsigned long pid;
	char *end;

	if (t->pid)
		return bad("", arg, "one process at a time; without any, all runs are shown");
	errno = 0;
	pid = strtoul(arg, &end, 10);
	if (arg[0] < '0' || arg[0] > '9' || *end || errno || !pid || pid > INT32_MAX)
		return bad("", arg, "not a process; write the number of a run, a host, or a program within a run");
	t->pid = (uint32_t)pid;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct top *t = state->input;

	switch (key) {
	case 'b':
		t->batch = true;
		return 0;
	case 'd':
		return parse_delay(arg, t);
	case 'n':
		return parse_count(arg, t);
	case 'p':
		t->by_process = true;
		return 0;
	case KEY_JSON:
		t->batch = t->json = true;
		return 0;
	case KEY_SORT:
		return parse_sort(arg, t);
	case 'h':
		give_help(state);
	case ARGP_KEY_ARG:
		return parse_pid(arg, t);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option top_options[] = {
	{"delay", 'd', "SECONDS", 0, "Time between refreshes, with a fraction if you like (default: 1)", 0},
	{"count", 'n', "N", 0, "End after so many refreshes", 0},
	{"processes", 'p', NULL, 0, "A line for each process, not for each file", 0},
	{"sort", KEY_SORT, "LETTER", 0, "Sort by a column (default: f, faults); see below", 0},
	{"batch", 'b', NULL, 0, "Plain text, one table after the other (default where standard output is no terminal)", 0},
	{"json", KEY_JSON, NULL, 0, "For programs: an object in a line for each refresh", 0},
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp top_argp = {
	.options = top_options,
	.parser = parse,
	.args_doc = "[PID]",
	.doc = "Shows what each mapped file does under `faultline run` and `faultline host`: all of yours that are under way, or the one "
	       "that PID is "
	       "or belongs to.\v"
	       "Columns, with the letters that sort by them: m mapped, i in memory, f faults, h found in memory, u time per fault in "
	       "microseconds, o reads, r read, w written, e pages evicted, b pages written back, n name.\n\n"
	       "Keys: q quits, p changes between files and processes, < and > and the letters sort, arrows scroll.\n\n"
	       "Exit status: 0; 1 when nothing is under way, without a screen; 125 when Faultline failed.",
};

/* ---- Who is meant ---- */

static const char *user_name(uid_t uid, char *buf, size_t len)
{
	struct passwd *p = getpwuid(uid);

	if (p)
		snprintf(buf, len, "%s", p->pw_name);
	else
		snprintf(buf, len, "user %u", (unsigned)uid);
	return buf;
}

static int say_not_found(uint32_t pid)
{
	char *path = text_format("/proc/%u", pid), name[64];
	struct stat st;
	bool there = !stat(path, &st);

	free(path);
	if (!there)
		complain("top: %u: no such process; without a number, all runs are shown", pid);
	else if (st.st_uid != geteuid())
		complain("top: %u: a process of %s; only that user can look at it", pid, user_name(st.st_uid, name, sizeof name));
	else
		complain("top: %u: not part of a run or host; without a number, all runs are shown", pid);
	return EXIT_FAULTLINE;
}

static int choose(struct top *t)
{
	const struct run_found *found;

	sample_take(&t->before, NULL);
	if (!t->pid)
		return 0;
	found = sample_find(&t->before, t->pid);
	if (!found)
		return say_not_found(t->pid);
	t->only = text_copy(found->path);
	return 0;
}

/* ---- Without a screen ---- */

static void pause_for(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static void print_table(const struct top *top, const struct view *v)
{
	struct table t = {.by_process = top->by_process, .sort = top->sort};
	char *line;

	top_table_make(&t, v);
	for (int i = 0; i < TABLE_HEADLINES; i++) {
		line = top_table_headline(&t, v, i);
		puts(line);
		free(line);
	}
	line = top_table_titles(&t);
	printf("\n%s\n", line);
	free(line);
	for (size_t i = 0; i < t.n; i++) {
		line = top_table_line(&t, i);
		puts(line);
		free(line);
	}
	top_table_free(&t);
}

static int say_nothing_there(void)
{
	complain("top: nothing is under way; start something with: faultline run PROGRAM");
	return EXIT_NOTHING;
}

static void print_end(const struct top *t)
{
	if (t->json)
		return;
	if (t->only)
		printf("%u has ended\n", t->pid);
	else
		puts("all have ended");
}

static int print_all(struct top *t)
{
	struct view v;
	bool over = false;

	if (!t->before.nruns)
		return say_nothing_there();
	for (long i = 0; (!t->count || i < t->count) && !over; i++) {
		pause_for(t->delay);
		top_next(t, &v);
		over = !v.nruns;
		if (i && !t->json)
			putchar('\n');
		if (over)
			print_end(t);
		else if (t->json)
			top_json(&v);
		else
			print_table(t, &v);
		view_free(&v);
		if (fflush(stdout))
			break; /* said at the exit */
	}
	return 0;
}

int top_main(int argc, char **argv)
{
	struct top t = {.delay = 1, .sort = COLUMN_FAULTS};
	int status = parse_command_line(&top_argp, "top", argc, argv, 0, &t);

	if (!status)
		status = choose(&t);
	if (status)
		return status;
	if (t.batch || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		status = print_all(&t);
	else
		status = top_screen(&t);
	sample_free(&t.before);
	free(t.only);
	return status;
}
