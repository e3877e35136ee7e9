/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `faultline bench`: everything that can be checked is checked first, then the file is read by both sides, and never written.
 */
#include "bench.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench/undo.h"
#include "bench/worker.h"
#include "bench_report.h"
#include "bench_run.h"
#include "mmu/sigsegv.h"
#include "options.h"
#include "probe.h"
#include "text.h"
#include "uffd.h"
#include "util/compiler.h"
#include "util/size.h"

/* With less, the kernel ends the process in its cgroup: pages that are being read cannot go. */
#define CGROUP_MIN (4ull << 20)
#define FILE_MIN (BUDGET_DEFAULT_PART * CGROUP_MIN)
#define BUDGET_DEFAULT_MOST (512ull << 20)
#define BUDGET_DEFAULT_PART 8 /* of the file */
#define SECONDS_DEFAULT 1.5
#define SECONDS_MIN 0.01
#define SECONDS_MAX 600

struct bench {
	struct bench_request rq;
	bool json;
};

/* ---- Checks ---- */

/* As what it is named, before it is opened: opening a FIFO would wait. */
static const char *wrong_kind(const struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		return "is a directory; name a file in it";
	if (!S_ISREG(st->st_mode))
		return "is not a regular file; name one that is";
	if (!st->st_size)
		return "is empty; name a file with something to read";
	return NULL;
}

static int check_file(struct bench_request *rq)
{
	char least[NUMBER_MAX], size[NUMBER_MAX];
	struct stat st;
	int fd;

	if (stat(rq->file, &st) < 0) {
		complain("bench: %s: %s", rq->file, strerror(errno));
		return EXIT_FAULTLINE;
	}
	if (wrong_kind(&st)) {
		complain("bench: %s: %s", rq->file, wrong_kind(&st));
		return EXIT_FAULTLINE;
	}
	if ((uint64_t)st.st_size < FILE_MIN) {
		complain("bench: %s: %s is too small to tell anything; name a file of %s or more", rq->file,
			 size_format((uint64_t)st.st_size, size, sizeof size), size_format(FILE_MIN, least, sizeof least));
		return EXIT_FAULTLINE;
	}
	fd = open(rq->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		complain("bench: %s: %s; name a file that you can read", rq->file, strerror(errno));
		return EXIT_FAULTLINE;
	}
	close(fd);
	rq->bytes = page_align_down((uint64_t)st.st_size);
	return 0;
}

/* A file that is memory is mapped by the kernel on both sides. */
static int check_disk(const char *file)
{
	struct statfs fs;

	if (statfs(file, &fs) || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
		return 0;
	complain("bench: %s: is in memory, where there is nothing to gain; name a file on a disk", file);
	return EXIT_FAULTLINE;
}

/* By way of the kernel's page cache, Faultline would have the memory of that as well. */
static int check_direct(const char *file)
{
	int error = probe_direct(file);

	if (!error)
		return 0;
	complain(
		"bench: %s: O_DIRECT does not work there (%s), and without it nothing can be compared; copy the file to ext4, XFS or Btrfs",
		file, strerror(-error));
	return EXIT_FAULTLINE;
}

static int check_userfaultfd(void)
{
	struct uffd_probe p = uffd_probe(UFFD_USER_FAULTS);

	if (uffd_usable(&p) || !sigsegv_probe()) /* or by SIGSEGV, as the library finds out too */
		return 0;
	complain("bench: %s; %s (see: faultline doctor)", uffd_cause(&p), uffd_cure(&p));
	return EXIT_FAULTLINE;
}

/* The library goes by them where no option of ours stands for one. */
static int check_variables(void)
{
	struct run_options unused;

	return options_from_environment(&unused);
}

static void default_budget(struct bench_request *rq)
{
	if (!rq->budget)
		rq->budget = page_align_down(min_u64(rq->bytes / BUDGET_DEFAULT_PART, min_u64(BUDGET_DEFAULT_MOST, probe_memory() / 4)));
}

static int check(struct bench_request *rq)
{
	int status = check_file(rq);

	if (!status)
		status = check_disk(rq->file);
	if (!status)
		status = check_direct(rq->file);
	if (!status)
		status = check_variables();
	if (!status)
		status = check_userfaultfd();
	if (!status)
		default_budget(rq);
	return status;
}

/* ---- The command line ---- */

static error_t parse_budget(const char *arg, struct bench_request *rq)
{
	if (size_parse(arg, &rq->budget)) {
		complain("bench: --budget %s: not a size; write digits and a unit, such as 64M or 2G", arg);
		return EINVAL;
	}
	rq->budget = page_align_down(rq->budget);
	if (rq->budget >= CGROUP_MIN && rq->budget <= probe_memory())
		return 0;
	complain("bench: --budget %s: %s", arg,
		 rq->budget < CGROUP_MIN ? "too small for the kernel's side; give 4M or more"
					 : "more than this machine's memory; give less");
	return EINVAL;
}

static error_t parse_seconds(const char *arg, struct bench_request *rq)
{
	char *end;

	errno = 0;
	rq->seconds = strtod(arg, &end);
	if (!errno && end != arg && !*end && rq->seconds >= SECONDS_MIN && rq->seconds <= SECONDS_MAX)
		return 0;
	complain("bench: --seconds %s: not a time; write seconds from %g to %d", arg, SECONDS_MIN, SECONDS_MAX);
	return EINVAL;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct bench *b = state->input;

	switch (key) {
	case 'h':
		give_help(state);
	case 'b':
		return parse_budget(arg, &b->rq);
	case 's':
		return parse_seconds(arg, &b->rq);
	case 'j':
		b->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (b->rq.file)
			return ARGP_ERR_UNKNOWN;
		b->rq.file = arg;
		return 0;
	case ARGP_KEY_END:
		if (b->rq.file)
			return 0;
		complain("bench: no file given; usage: faultline bench [OPTION...] FILE");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option option_table[] = {
	{"budget", 'b', "SIZE", 0, "Memory for each side, such as 64M or 2G (default: an eighth of the file, at most 512M)", 0},
	{"seconds", 's', "N", 0, "How long each of the 24 runs takes; most fill memory for as long before (default: 1.5)", 0},
	{"json", 'j', NULL, 0, "Print the result for programs", 0},
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp bench_argp = {
	.options = option_table,
	.parser = parse_option,
	.args_doc = "FILE",
	.doc = "Reads FILE in order, at random and by Zipf's law, with Faultline and with the kernel's mmap in turn, and says which was "
	       "faster by how much. FILE is never written.\v"
	       "The kernel's side gets the best of madvise(2), and as much memory as Faultline, where a memory cgroup can be made (as "
	       "root). What "
	       "the kernel's page cache has of FILE is dropped before each run. FILE should be larger than the budget.\n\n"
	       "Exit status: 0, or 125 when the command line or FILE is wrong, or nothing could be measured.",
};

/* Only for people who watch. */
static void say_wait(const struct bench_request *rq)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "faultline: measuring, for about %.0f seconds ...\n", bench_duration(rq));
}

int bench_main(int argc, char **argv)
{
	static char self[] = "faultline", command[] = "bench", how[] = "--worker";
	static char *const worker[] = {self, command, how, NULL};
	struct bench b = {.rq = {.seconds = SECONDS_DEFAULT}};
	struct bench_result result;
	int status;

	if (argc == 2 && !strcmp(argv[1], how))
		return worker_main();
	worker_program(worker);
	status = parse_command_line(&bench_argp, "bench", argc, argv, 0, &b);
	if (!status)
		status = check(&b.rq);
	if (status)
		return status;
	undo_start();
	say_wait(&b.rq);
	status = bench_run(&b.rq, &result);
	if (!status)
		(b.json ? bench_report_json : bench_report_text)(&b.rq, &result);
	return status;
}
