/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `faultline run`: everything that can be checked is checked first; then the program runs with the shim preloaded;
 * then the report. Standard output is the program's alone.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "host.h"
#include "mmu/sigsegv.h"
#include "options.h"
#include "program.h"
#include "report.h"
#include "rundir.h"
#include "shim.h"
#include "text.h"
#include "uffd.h"

struct run {
	struct run_options options;
	char *path;              /* of the program */
	struct rundir directory; /* where the processes have their counters */
	FILE *report;            /* or NULL */
	struct host host;
};

static bool wants_a_host(const struct run_options *o)
{
	return strcmp(o->host, "auto") != 0 && strcmp(o->host, "none") != 0;
}

/* Each process by itself, as a host works with their userfaultfds. */
static int use_sigsegv(struct run_options *o)
{
	int error = sigsegv_probe();

	if (wants_a_host(o)) {
		complain("--host=%s: takes userfaultfd, and faults are served by SIGSEGV; --host=none does without (see: faultline doctor)",
			 o->host);
		return EXIT_FAULTLINE;
	}
	if (error) {
		complain("--faults=sigsegv: /proc/self/mem: %s; mount /proc, and allow writing to memory by it (see: faultline doctor)",
			 strerror(-error));
		return EXIT_FAULTLINE;
	}
	o->faults = FAULTS_SIGSEGV;
	o->host = "none";
	setenv("FAULTLINE_FAULTS", "sigsegv", 1);
	return 0;
}

/* Who has not said how faults are to be served has them served as they can be here. */
static int settle_faults(struct run_options *o)
{
	bool threads = o->faults == FAULTS_THREAD;
	struct uffd_probe p;

	if (o->faults == FAULTS_SIGSEGV)
		return use_sigsegv(o);
	p = uffd_probe(threads ? UFFD_ALL_FAULTS : UFFD_USER_FAULTS);
	if (uffd_usable(&p)) {
		o->faults = threads ? FAULTS_THREAD : FAULTS_INLINE;
		return 0;
	}
	if (o->faults == FAULTS_AUTO && !sigsegv_probe() && !wants_a_host(o))
		return use_sigsegv(o);
	complain("%s%s; %s (see: faultline doctor)", threads ? "--faults=thread: " : "", uffd_cause(&p), uffd_cure(&p));
	return EXIT_FAULTLINE;
}

static int preload_shim(void)
{
	const char *others = getenv("LD_PRELOAD");
	char why[512], *shim = shim_find(why, sizeof why), *value;

	if (!shim) {
		complain("%s", why);
		return EXIT_FAULTLINE;
	}
	value = others && *others ? text_format("%s:%s", shim, others) : text_copy(shim);
	setenv("LD_PRELOAD", value, 1);
	free(value);
	free(shim);
	return 0;
}

/* Not emptied before there is something to put in: a run that fails early leaves an old report alone. */
static int open_report(struct run *r)
{
	const char *name = r->options.report_file;
	int fd;

	if (r->options.format == REPORT_NONE)
		return 0;
	fd = name ? open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	r->report = fd < 0 ? NULL : fdopen(fd, "w");
	if (r->report)
		return 0;
	complain("--report%s%s: cannot be written: %s", name ? "-file " : "", name ? name : "", strerror(errno));
	return EXIT_FAULTLINE;
}

/* Within another run whose report this one does not take over, its processes are that one's. */
static bool is_part_of_another(const struct run *r)
{
	const char *given = getenv("FAULTLINE_REPORT");

	return !r->report && given && !access(given, X_OK);
}

/* Without a report to write it is for `faultline top` only, and the program runs all the same. */
static int make_directory(struct run *r)
{
	int error = is_part_of_another(r) ? 0 : rundir_make(&r->directory);

	if (error && r->report) {
		complain("--report: no directory for the counters can be made in /dev/shm, $TMPDIR or /tmp: %s", strerror(-error));
		return EXIT_FAULTLINE;
	}
	if (r->directory.path)
		setenv("FAULTLINE_REPORT", r->directory.path, 1);
	return 0;
}

/* The command, cut where it is long. */
static void name_command(char **argv, char *buf, size_t len)
{
	size_t n = 0;

	for (; *argv && n < len - 1; argv++)
		n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? " " : "", *argv);
}

static void describe(struct run *r)
{
	struct run_info info = {
		.kind = r->host.hold >= 0           ? RUN_WITH_HOST
			: wants_a_host(&r->options) ? RUN_JOINED
						    : RUN_ALONE,
		.host_pid = r->host.hold >= 0 ? (uint32_t)r->host.pid : 0,
		.budget_bytes = r->options.budget,
	};

	name_command(r->options.program, info.what, sizeof info.what);
	rundir_describe(&r->directory, &info);
}

static void prune(void *directory)
{
	rundir_prune(directory);
}

static void clear_up(struct run *r)
{
	rundir_remove(&r->directory);
	child_signals_release();
}

static int prepare(struct run *r, int argc, char **argv)
{
	int status = options_parse(argc, argv, &r->options);

	if (!status)
		status = program_find(r->options.program[0], &r->path);
	if (!status)
		status = settle_faults(&r->options);
	if (!status)
		status = preload_shim();
	if (!status)
		status = open_report(r);
	if (status)
		return status;
	child_signals_take();
	status = make_directory(r);
	if (!status)
		status = host_start(&r->options, &r->host);
	if (!status)
		describe(r);
	else
		clear_up(r);
	return status;
}

/* Regular files may hold an older, longer report; pipes and terminals cannot be cut, and need not be. */
static void empty(FILE *f)
{
	struct stat st;

	if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (ftruncate(fileno(f), 0) < 0)
		complain("the old report cannot be cleared: %s", strerror(errno));
}

static int write_report(struct run *r, const struct run_report *report)
{
	/* A reader that left is an error to tell of, not a reason to die with a status that is not the program's. */
	signal(SIGPIPE, SIG_IGN);
	if (r->options.report_file)
		empty(r->report);
	if (r->options.format == REPORT_JSON)
		report_json(r->report, report);
	else
		report_text(r->report, report);
	if (!fflush(r->report) && !ferror(r->report))
		return 0;
	complain("the report could not be written: %s", strerror(errno));
	return EXIT_FAULTLINE;
}

static int say_exec_error(const char *path, int error)
{
	complain("%s: %s", path, strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXEC;
}

static int run_program(struct run *r)
{
	struct run_report report = {.argv = r->options.program,
				    .budget_bytes = r->options.budget,
				    .one_budget = r->host.hold >= 0,
				    .faults = r->options.faults};
	struct child_end *end = &report.end;
	int error = child_run(r->path, r->options.program, end, r->report ? NULL : prune, &r->directory);
	int status = host_let_go(&r->host), report_status;

	if (r->report)
		report_collect(r->directory.path, &report);
	clear_up(r);
	if (error) {
		complain("no process for the program: %s", strerror(-error));
		status = EXIT_FAULTLINE;
	} else if (end->exec_error) {
		status = say_exec_error(r->path, end->exec_error);
	} else if (r->report) {
		report_status = write_report(r, &report);
		status = status ? status : report_status;
	}
	report_free(&report);
	return end->exit_status && !end->exec_error ? end->exit_status : status;
}

int run_main(int argc, char **argv)
{
	struct run r = {0};
	int status = prepare(&r, argc, argv);

	if (!status)
		status = run_program(&r);
	if (r.report)
		fclose(r.report);
	free(r.path);
	return status;
}
