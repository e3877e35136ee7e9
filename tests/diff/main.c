/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differential tester: runs random lists of operations on the kernel's mmap family and on Faultline's, and tells
 * the first difference of each list, cut down to a few operations.
 *
 * Both sides run the same list in processes of their own, on files of their own with the same contents, and with their
 * mappings at the same addresses as far as the list says where. After each operation what a program can see of it is
 * noted - result, errno, signal, values loaded - and now and then all that is mapped, every page and every file.
 *
 *   generate.c  a list from a seed               run.c      a list's threads and processes
 *   op.c        lists as text                    step.c     one operation
 *   emit.c      a list as a C program            layout.c, access.c, zone.c, files.c   what step.c works with
 *   compare.c   two runs, the first difference   kernel.c, faultline.c, broken.c       the implementations
 *   shrink.c    delta debugging                  expected.c what may differ, and why
 *   under.c     the preload library
 *
 * Soft spaces (--soft, --soft-twice) are faster, and so is what runs them: a process for each side that is kept from list to list.
 *
 *   soft.c      soft spaces                      kept.c     the two processes
 *   family.c    who does what after a fork       kept_files.c  their files
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compare.h"
#include "kept.h"

static const char usage[] =
	"usage: diff [OPTION ...]\n"
	"Compares Faultline with the kernel on random lists of operations, or on the lists given. Exit status 0: no difference.\n"
	"  --seed N         of the first list (default: from the clock); each next list has the next seed\n"
	"  --lists N        how many lists (default 1, or any number with --minutes or --seconds)\n"
	"  --seconds N, --minutes N  for how long\n"
	"  --operations N   of a list (default 300)\n"
	"  --threads N      of a list (default 1)\n"
	"  --budget BYTES   of Faultline (default 1 MiB)\n"
	"  --faults inline|thread    how Faultline's faults are served (default inline)\n"
	"  --soft           compares a soft space with the kernel; budgets of 1, 4 and 64 MiB when none is given\n"
	"  --borders        also where mappings begin and end, with each file opened once\n"
	"  --soft-twice     compares soft spaces of all kinds with themselves: the same list, the same addresses, bytes and page tables\n"
	"  --without GROUP  leaves operations out: map access file buffer remap advice fork bad check anon lock lockall seal guard native "
	"calls soft\n"
	"  --replay FILE    runs the list in the file, as it was printed\n"
	"  --emit           prints the list as a C program, and runs nothing\n"
	"  --under COMMAND  tests the preload library instead: the command starts a program with it, as in \"faultline run --budget 4M "
	"--\"\n"
	"  --self-test      shows that the tester finds what it should, and nothing where there is nothing\n"
	"  --directory DIR  where files are made (default .); a real file system, but with --soft any (default /dev/shm)\n"
	"  --keep-going     goes on after a difference\n"
	"  --no-shrink      tells a difference as it is\n";

struct settings {
	struct comparison comparison;
	uint64_t seed, lists, seconds;
	size_t operations;
	unsigned groups;
	int threads;
	const char *replay;
	int side; /* the descriptor of the traces, when this is one of the two; else -1 */
	bool emit, keep_going, no_shrink, self_test, own_budget;
};

#define DEFECTS_MAX 256
#define GOES_MAX 40
#define WORDS_MAX 64
#define TOLD_MAX 60 /* operations: what is longer helps nobody */

static struct difference told[DEFECTS_MAX];
static size_t told_count;

static void bad_usage(void)
{
	fputs(usage, stderr);
	exit(2);
}

static unsigned group(const char *name)
{
	unsigned g = group_by_name(name);

	if (!g)
		bad_usage();
	return g;
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 0);

	if (*end || end == s)
		bad_usage();
	return n;
}

enum {
	SEED,
	LISTS,
	SECONDS,
	MINUTES,
	OPERATIONS,
	THREADS,
	BUDGET,
	FAULTS,
	SOFT,
	SOFT_TWICE,
	BORDERS,
	WITHOUT,
	REPLAY,
	EMIT,
	SELF_TEST,
	DIRECTORY,
	KEEP_GOING,
	NO_SHRINK,
	UNDER,
	ONE_OPEN,
	SIDE
};

static const struct option options[] = {
	{"seed", 1, NULL, SEED},
	{"lists", 1, NULL, LISTS},
	{"seconds", 1, NULL, SECONDS},
	{"minutes", 1, NULL, MINUTES},
	{"operations", 1, NULL, OPERATIONS},
	{"threads", 1, NULL, THREADS},
	{"budget", 1, NULL, BUDGET},
	{"faults", 1, NULL, FAULTS},
	{"soft", 0, NULL, SOFT},
	{"soft-twice", 0, NULL, SOFT_TWICE},
	{"borders", 0, NULL, BORDERS},
	{"without", 1, NULL, WITHOUT},
	{"replay", 1, NULL, REPLAY},
	{"emit", 0, NULL, EMIT},
	{"self-test", 0, NULL, SELF_TEST},
	{"directory", 1, NULL, DIRECTORY},
	{"keep-going", 0, NULL, KEEP_GOING},
	{"no-shrink", 0, NULL, NO_SHRINK},
	{"under", 1, NULL, UNDER},
	{"one-open", 0, NULL, ONE_OPEN}, /* for under.c */
	{"side", 1, NULL, SIDE},         /* the same */
	{NULL, 0, NULL, 0},
};

/* Nothing of what is compared is on a disk, and syncing to one would take most of the time. */
static const char memory_directory[] = "/dev/shm";

static void set_soft(struct settings *s)
{
	s->comparison.kept = true;
	s->comparison.tested = &soft_backend;
	s->groups = (s->groups | GROUP_SOFT) & ~(unsigned)(GROUP_NATIVE | GROUP_LOCKALL);
	if (!strcmp(s->comparison.directory, ".") && !access(memory_directory, W_OK))
		s->comparison.directory = memory_directory;
}

static void set_under(struct settings *s)
{
	static char *words[WORDS_MAX];
	char *rest;
	size_t n = 0;

	for (char *word = strtok_r(optarg, " ", &rest); word && n < WORDS_MAX - 1; word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	s->comparison.under = words;
	s->comparison.tested = &shim_backend;
	s->groups |= GROUP_CALLS;
}

static void set_option(struct settings *s, int which)
{
	switch (which) {
	case SEED:
		s->seed = number(optarg);
		break;
	case LISTS:
		s->lists = number(optarg);
		break;
	case SECONDS:
		s->seconds = number(optarg);
		break;
	case MINUTES:
		s->seconds = 60 * number(optarg);
		break;
	case OPERATIONS:
		s->operations = number(optarg);
		break;
	case THREADS:
		s->threads = (int)number(optarg);
		break;
	case BUDGET:
		s->comparison.options.budget = number(optarg);
		s->own_budget = true;
		break;
	case FAULTS:
		s->comparison.options.fault_threads = !strcmp(optarg, "thread");
		break;
	case SOFT:
		set_soft(s);
		break;
	case SOFT_TWICE:
		set_soft(s);
		s->comparison.judge = &soft_backend;
		s->comparison.twice = true;
		s->groups |= GROUP_TWICE;
		break;
	case BORDERS:
		s->comparison.borders = s->comparison.one_open = true;
		break;
	case WITHOUT:
		s->groups &= ~group(optarg);
		break;
	case REPLAY:
		s->replay = optarg;
		break;
	case EMIT:
		s->emit = true;
		break;
	case SELF_TEST:
		s->self_test = true;
		break;
	case DIRECTORY:
		s->comparison.directory = optarg;
		break;
	case KEEP_GOING:
		s->keep_going = true;
		break;
	case NO_SHRINK:
		s->no_shrink = true;
		break;
	case UNDER:
		set_under(s);
		break;
	case ONE_OPEN:
		s->comparison.one_open = true;
		break;
	case SIDE:
		s->side = (int)number(optarg);
		break;
	default:
		bad_usage();
	}
}

static bool was_told(const struct difference *d)
{
	for (size_t i = 0; i < told_count; i++)
		if (same_defect(&told[i], d))
			return true;
	if (told_count < DEFECTS_MAX)
		told[told_count++] = *d;
	return false;
}

/* A new difference: one line, and the list as short as it gets. */
static void tell(const struct settings *s, const struct list *l, uint64_t seed, struct difference d)
{
	const struct comparison *c = &s->comparison;
	struct list small;

	if (was_told(&d))
		return;
	printf("seed %llu, budget %llu: ", (unsigned long long)seed, (unsigned long long)c->options.budget);
	difference_print(stdout, c, &d);
	if (s->no_shrink)
		return;
	small = shrink(c, l, &d);
	printf("shrunk to %zu operations:\n", small.n);
	if (small.n <= TOLD_MAX) {
		list_print(stdout, &small);
		if (!c->kept)
			list_emit(stdout, &small, c->options.budget);
	}
	list_free(&small);
	fflush(stdout);
}

static struct list next_list(const struct settings *s, uint64_t seed)
{
	struct list l;

	if (!s->replay)
		return list_generate(seed, s->operations, s->threads, s->groups);
	if (!list_read(s->replay, &l)) {
		fprintf(stderr, "diff: %s cannot be read as a list\n", s->replay);
		exit(2);
	}
	return l;
}

static bool go_on(const struct settings *s, uint64_t done, time_t end)
{
	if (s->lists && done >= s->lists)
		return false;
	return s->seconds ? time(NULL) < end : s->lists || !done;
}

/* Takes out the n-th operation of a thread; false: there is none. */
static bool remove_operation(struct list *l, int thread, uint32_t n)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->ops[i].thread == thread && n-- == 0) {
			memmove(&l->ops[i], &l->ops[i + 1], (l->n - i - 1) * sizeof *l->ops);
			l->n--;
			return true;
		}
	return false;
}

/* Soft spaces: the engine starts again when the budget changes, so some lists in a row have the same. */
static void set_budget(struct settings *s, uint64_t seed)
{
	static const uint64_t budgets[] = {1 << 20, 4 << 20, 64 << 20};

	if (s->comparison.kept && !s->own_budget)
		s->comparison.options.budget = budgets[seed / 64 % 3];
}

/*
 * One list; 1 when it differs. When told to go on, a list with a difference runs again without the operation that
 * showed it: so one defect does not hide what comes after it.
 */
static int run_list(struct settings *s, struct list *l, uint64_t seed)
{
	int status = 0;

	set_budget(s, seed);

	for (int goes = s->keep_going ? GOES_MAX : 1; goes; goes--) {
		struct difference d = compare(&s->comparison, l);

		if (d.kind == SAME)
			break;
		tell(s, l, seed, d);
		status = 1;
		if (!remove_operation(l, d.thread, d.op))
			break;
	}
	return status;
}

static int run(struct settings *s)
{
	time_t start = time(NULL), took;
	time_t end = time(NULL) + (time_t)s->seconds;
	struct compared sum = {0};
	uint64_t done = 0, differ = 0;
	int status = 0;

	for (; go_on(s, done, end) && (!status || s->keep_going); done++) {
		struct list l = next_list(s, s->seed + done);
		int differs = run_list(s, &l, s->seed + done);
		struct compared c = compared_so_far();

		sum.operations += differs ? 0 : c.operations; /* what was run again without this or that is not counted */
		sum.expected += c.expected;
		status |= differs;
		differ += (uint64_t)differs;
		list_free(&l);
	}
	took = time(NULL) - start;
	printf("diff: seeds %llu to %llu: %llu lists of %zu operations, %llu a second, %llu differ\n", (unsigned long long)s->seed,
	       (unsigned long long)(s->seed + done - 1), (unsigned long long)done, s->operations,
	       (unsigned long long)(done * s->operations / (uint64_t)(took ? took : 1)), (unsigned long long)differ);
	printf("diff: %llu operations compared; %llu lists compared up to a difference that is expected\n",
	       (unsigned long long)sum.operations, (unsigned long long)sum.expected);
	return status;
}

/* ---- The tester tested ---- */

/* Whether a defect is found within some lists, and cut down to what it needs. */
static bool finds(struct settings s, const struct backend *broken, size_t most)
{
	bool found = false, small = false;

	s.comparison.tested = broken;
	for (uint64_t seed = 1; seed <= 20 && !found; seed++) {
		struct list l = list_generate(seed, s.operations, s.threads, s.groups), cut;
		struct difference d = compare(&s.comparison, &l);

		found = d.kind == DIFFERENT;
		if (found) {
			cut = shrink(&s.comparison, &l, &d);
			small = cut.n <= most;
			list_print(stdout, &cut);
			list_free(&cut);
		}
		list_free(&l);
	}
	printf("%s: %s\n", broken->name, !found ? "not found" : small ? "found" : "found, but not cut down");
	return small;
}

/* The kernel must not differ from itself. */
static bool finds_nothing(struct settings s)
{
	bool same = true;

	s.comparison.tested = s.comparison.judge;
	for (uint64_t seed = 1; seed <= 30 && same; seed++) {
		struct list l = list_generate(seed, s.operations, seed % 2 || s.comparison.kept ? 1 : 4, s.groups);
		struct difference d = compare(&s.comparison, &l);

		same = d.kind == SAME;
		if (!same)
			difference_print(stdout, &s.comparison, &d);
		list_free(&l);
	}
	return same;
}

static int self_test(const struct settings *s)
{
	bool ok = finds_nothing(*s);

	ok &= finds(*s, &lost_store_backend, 6);
	ok &= finds(*s, &wrong_errno_backend, 2);
	return !ok;
}

int main(int argc, char **argv)
{
	struct settings s = {
		.comparison = {.judge = &kernel_backend,
			       .tested = &faultline_backend,
			       .options.budget = 1 << 20,
			       .directory = ".",
			       .timeout = 10},
		.seed = (uint64_t)time(NULL),
		.operations = 300,
		.groups = GROUPS_NATIVE,
		.threads = 1,
		.side = -1,
	};
	int which;

	while ((which = getopt_long(argc, argv, "", options, NULL)) != -1)
		set_option(&s, which);
	if (optind < argc || s.threads < 1 || s.threads > THREADS_MAX || (s.comparison.kept && s.threads > 1))
		bad_usage();
	if (s.side >= 0) {
		struct list l = next_list(&s, 0);

		l.threads = s.threads;
		under_run(&s.comparison, &l, s.side);
	}
	atexit(kept_end);
	if (s.self_test)
		return self_test(&s);
	if (s.emit) {
		struct list l = next_list(&s, s.seed);

		list_emit(stdout, &l, s.comparison.options.budget);
		return 0;
	}
	return run(&s);
}
