/* SPDX-License-Identifier: Apache-2.0 */
/* The `faultline` command: finds the subcommand and hands over. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "doctor.h"
#include "faultline.h"
#include "host.h"
#include "run.h"
#include "text.h"
#include "top.h"
#include "walk.h"

static int help_main(int argc, char **argv);
static int version_main(int argc, char **argv);

static const struct command {
	const char *name, *as_option;
	char *full_name; /* argv[0] of the subcommand: what its messages start with */
	int (*main)(int argc, char **argv);
} commands[] = {
	/* clang-format off */
	{"run", NULL, "faultline run", run_main},
	{"host", NULL, "faultline host", host_main},
	{"top", NULL, "faultline top", top_main},
	{"doctor", NULL, "faultline doctor", doctor_main},
	{"walk", NULL, "faultline walk", walk_main},
	{"bench", NULL, "faultline bench", bench_main},
	{"help", "--help", "faultline help", help_main},
	{"help", "-h", "faultline help", help_main},
	{"version", "--version", "faultline version", version_main},
	/* clang-format on */
};

static const char help[] = "Usage: faultline run [OPTION...] [--] PROGRAM [ARG...]\n"
			   "       faultline host --socket PATH\n"
			   "       faultline top [OPTION...] [PID]\n"
			   "       faultline doctor [PATH]\n"
			   "       faultline walk FILE [ADDRESS...]\n"
			   "       faultline walk --example [--save FILE] [ADDRESS...]\n"
			   "       faultline bench [OPTION...] FILE\n"
			   "       faultline help [COMMAND]\n"
			   "\n"
			   "Gives programs that use mmap(2) a memory budget for the files that they map:\n"
			   "pages come in on first use and leave when the budget is spent.\n"
			   "\n"
			   "Commands:\n"
			   "  run       run a program within a budget\n"
			   "  host      keep the pages of files for programs that join\n"
			   "  top       show what mapped files do, while they do it\n"
			   "  doctor    say what this machine offers, and what to do about the rest\n"
			   "  walk      show the page tables of a soft space, saved or of an example\n"
			   "  bench     measure what a budget would cost or gain on a file of yours\n"
			   "  help      show this text, or the options of a command\n"
			   "\n"
			   "Options of run:\n"
			   "  --budget SIZE            memory for mapped files, such as 64M or 2G\n"
			   "  --report[=text|json]     afterwards say what each mapped file cost\n"
			   "  --report-file FILE       write that there, not to standard error\n"
			   "  --direct[=0|1]           use O_DIRECT, past the kernel's page cache\n"
			   "  --swap DIR               where changed private pages go\n"
			   "  --host=auto|none|PATH    one host for all processes, or none\n"
			   "  --min-map SIZE           leave smaller mappings to the kernel\n"
			   "  --faults=HOW             who serves page faults: inline, thread or sigsegv\n"
			   "  --io-uring=refuse|allow  whether the program can have io_uring\n"
			   "  --log LEVEL              quiet, error, warn, info or debug\n"
			   "\n"
			   "Options of bench:\n"
			   "  --budget SIZE            memory for each side, such as 64M or 2G\n"
			   "  --seconds N              how long each of some 24 runs takes\n"
			   "  --json                   for programs\n"
			   "\n"
			   "Options:\n"
			   "  --help, --version\n"
			   "\n"
			   "Examples:\n"
			   "  faultline run --budget 512M --report ./search index.bin\n"
			   "  faultline run --budget 2G --direct --report=json --report-file r.json \\\n"
			   "      python3 train.py\n"
			   "  faultline doctor /data\n"
			   "  faultline walk --example\n"
			   "  faultline bench --budget 1G /data/index.bin\n"
			   "\n"
			   "Exit status of run: the program's; 128+N when signal N killed it; 125 when\n"
			   "Faultline failed, 126 when the program cannot be executed, 127 when it was not\n"
			   "found. In none of these three was the program started, unless only the report\n"
			   "could not be written.\n"
			   "\n"
			   "More: faultline help run, faultline(1), faultline(7).\n";

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (!strcmp(name, c->name) || (c->as_option && !strcmp(name, c->as_option)))
			return c;
	}
	return NULL;
}

static int unknown(const char *name)
{
	complain("%s: no such command; the commands are run, host, top, doctor, walk, bench and help", name);
	return EXIT_FAULTLINE;
}

static int help_main(int argc, char **argv)
{
	const struct command *c = argc > 1 ? find(argv[1]) : NULL;

	if (argc > 1 && !c)
		return unknown(argv[1]);
	if (c && c->main != help_main && c->main != version_main)
		return c->main(2, (char *[]){c->full_name, "--help", NULL});
	fputs(help, stdout);
	return 0;
}

static int version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("faultline %d.%d.%d\n", FL_VERSION_MAJOR, FL_VERSION_MINOR, FL_VERSION_PATCH);
	return 0;
}

/* What we print is often read by scripts: a full disk behind standard output must not look like success. */
static void flush_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return;
	complain("standard output: %s", strerror(errno));
	_Exit(EXIT_FAULTLINE);
}

int main(int argc, char **argv)
{
	const struct command *c;

	argp_err_exit_status = EXIT_FAULTLINE;
	atexit(flush_output);
	if (argc < 2) {
		complain("no command given; try: faultline help");
		return EXIT_FAULTLINE;
	}
	c = find(argv[1]);
	if (!c)
		return unknown(argv[1]);
	argv[1] = c->full_name;
	return c->main(argc - 1, argv + 1);
}
