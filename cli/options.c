/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each setting of the library is an option here and a FAULTLINE_* variable there. The table joins them: a value from
 * either is checked by the same function, made plain (bytes in digits, absolute paths: the program may change its
 * directory before the library starts) and exported.
 */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"
#include "text.h"
#include "util/size.h"

enum {
	KEY_BUDGET = 256,
	KEY_FAULTS,
	KEY_DIRECT,
	KEY_SWAP,
	KEY_REPORT,
	KEY_REPORT_FILE,
	KEY_MIN_MAP,
	KEY_ANON,
	KEY_HOST,
	KEY_IO_URING,
	KEY_LOG
};

/* `what` is how to name it to the user: "--budget 12Q" or "FAULTLINE_BUDGET=12Q". */
struct setting {
	int key;
	const char *option; /* with what stands between it and its value */
	const char *variable;
	/* The value to export, which the caller frees; NULL after complaining. */
	char *(*check)(const char *what, const char *value, struct run_options *o);
};

static bool check_size(const char *what, const char *value, uint64_t *bytes)
{
	int error = size_parse(value, bytes);

	if (error == -ERANGE)
		complain("%s: more than any machine has; write digits and a unit, such as 64M or 2G", what);
	else if (error)
		complain("%s: not a size; write digits and a unit, such as 64M or 2G", what);
	return error == 0;
}

static bool check_budget_range(const char *what, uint64_t budget)
{
	uint64_t most = probe_memory();
	char memory[NUMBER_MAX];

	size_format(most, memory, sizeof memory);
	if (budget < BUDGET_MIN)
		complain("%s: too small to work with; give 1M or more", what);
	else if (budget > most)
		complain("%s: more than this machine's %s of memory; give less", what, memory);
	return budget >= BUDGET_MIN && budget <= most;
}

static char *check_budget(const char *what, const char *value, struct run_options *o)
{
	if (!check_size(what, value, &o->budget) || !check_budget_range(what, o->budget))
		return NULL;
	return text_format("%llu", (unsigned long long)o->budget);
}

static char *check_plain_size(const char *what, const char *value, struct run_options *o)
{
	uint64_t bytes;

	(void)o;
	return check_size(what, value, &bytes) ? text_format("%llu", (unsigned long long)bytes) : NULL;
}

static char *check_faults(const char *what, const char *value, struct run_options *o)
{
	for (int i = FAULTS_AUTO + 1; engine_fault_words[i]; i++)
		if (!strcmp(value, engine_fault_words[i])) {
			o->faults = (enum engine_faults)i;
			return text_copy(value);
		}
	complain("%s: no such way to serve faults; write inline, thread or sigsegv", what);
	return NULL;
}

static char *check_direct(const char *what, const char *value, struct run_options *o)
{
	(void)o;
	if (!strcmp(value, "0") || !strcmp(value, "1"))
		return text_copy(value);
	complain("%s: write 1 for O_DIRECT or 0 for the kernel's page cache", what);
	return NULL;
}

static char *check_io_uring(const char *what, const char *value, struct run_options *o)
{
	(void)o;
	if (!strcmp(value, "refuse") || !strcmp(value, "allow"))
		return text_copy(value);
	complain("%s: write refuse, or allow where no file that is mapped is read or written by it", what);
	return NULL;
}

static char *check_swap(const char *what, const char *value, struct run_options *o)
{
	int error = probe_swap(value);
	char *path = error ? NULL : realpath(value, NULL);

	(void)o;
	if (error)
		complain("%s: %s; name a directory on a disk that you can write to", what, strerror(-error));
	else if (!path)
		complain("%s: %s", what, strerror(errno));
	return path;
}

static char *check_log(const char *what, const char *value, struct run_options *o)
{
	static const char *const levels[] = {"quiet", "error", "warn", "info", "debug"};

	(void)o;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (!strcmp(value, levels[i]))
			return text_copy(value);
	complain("%s: no such level; write quiet, error, warn, info or debug", what);
	return NULL;
}

static char *check_host(const char *what, const char *value, struct run_options *o)
{
	bool path = strcmp(value, "auto") != 0 && strcmp(value, "none") != 0;
	char *full = path && value[0] != '@' ? realpath(value, NULL) : text_copy(value);

	if (!full)
		complain("%s: %s; name the socket of a host (see: faultline help host)", what, strerror(errno));
	o->host = full;
	return full ? text_copy(full) : NULL;
}

static const struct setting settings[] = {
	{KEY_BUDGET, "--budget ", "FAULTLINE_BUDGET", check_budget},
	{KEY_FAULTS, "--faults=", "FAULTLINE_FAULTS", check_faults},
	{KEY_DIRECT, "--direct=", "FAULTLINE_DIRECT", check_direct},
	{KEY_SWAP, "--swap ", "FAULTLINE_SWAP", check_swap},
	{KEY_MIN_MAP, "--min-map ", "FAULTLINE_MIN_MAP", check_plain_size},
	{KEY_ANON, "--anon ", "FAULTLINE_ANON", check_plain_size},
	{KEY_HOST, "--host=", "FAULTLINE_HOST", check_host},
	{KEY_IO_URING, "--io-uring=", "FAULTLINE_IO_URING", check_io_uring},
	{KEY_LOG, "--log ", "FAULTLINE_LOG", check_log},
};

/* What the command line says, by index in settings[]; NULL: nothing. */
struct parse {
	struct run_options *o;
	char *value[ARRAY_SIZE(settings)];
};

static char *check_setting(const struct setting *s, const char *value, bool from_option, struct run_options *o)
{
	char *what = from_option ? text_format("%s%s", s->option, value) : text_format("%s=%s", s->variable, value);
	char *plain = s->check(what, value, o);

	free(what);
	return plain;
}

static error_t parse_setting(int key, const char *arg, struct parse *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (settings[i].key != key)
			continue;
		free(p->value[i]);
		p->value[i] = check_setting(&settings[i], arg ? arg : "1", true, p->o);
		return p->value[i] ? 0 : EINVAL;
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse_format(const char *arg, struct run_options *o)
{
	if (!arg || !strcmp(arg, "text"))
		o->format = REPORT_TEXT;
	else if (!strcmp(arg, "json"))
		o->format = REPORT_JSON;
	else {
		complain("--report=%s: no such format; write text or json", arg);
		return EINVAL;
	}
	return 0;
}

static error_t parse_end(const struct run_options *o)
{
	if (o->program)
		return 0;
	complain("run: no program given; usage: faultline run [OPTION...] PROGRAM [ARG...]");
	return EINVAL;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;

	switch (key) {
	case KEY_REPORT:
		return parse_format(arg, p->o);
	case KEY_REPORT_FILE:
		p->o->report_file = arg;
		return 0;
	case 'h':
		give_help(state);
	case ARGP_KEY_ARG:
		/* The rest is the program's, options and all. */
		p->o->program = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		return parse_end(p->o);
	default:
		return parse_setting(key, arg, p);
	}
}

static const struct argp_option option_table[] = {
	{NULL, 0, NULL, 0, "Memory:", 1},
	{"budget", KEY_BUDGET, "SIZE", 0,
	 "The most memory that mapped files may take, such as 64M or 2G (default: 1G, or a quarter of this "
	 "machine's memory if that is less)",
	 1},
	{"swap", KEY_SWAP, "DIR", 0, "Where changed private pages go when the budget is spent (default: $TMPDIR, /var/tmp or /tmp)", 1},
	{"min-map", KEY_MIN_MAP, "SIZE", 0, "Leave mappings of files smaller than this to the kernel (default: 64K)", 1},
	{"anon", KEY_ANON, "SIZE", 0,
	 "Serve anonymous memory too, where a program maps at least this much at once; it goes to the swap directory when the "
	 "budget is spent (default: leave it to the kernel)",
	 1},
	{"host", KEY_HOST, "auto|none|PATH", 0,
	 "Who has the pages of files: one host for all processes of the run (auto, the default, from a budget of 16M on), each process by "
	 "itself (none), or the host at that socket, within its budget",
	 1},
	{NULL, 0, NULL, 0, "Input and output:", 2},
	{"direct", KEY_DIRECT, "0|1", OPTION_ARG_OPTIONAL, "Read and write with O_DIRECT, past the kernel's page cache (default: 0)", 2},
	{"faults", KEY_FAULTS, "inline|thread|sigsegv", 0,
	 "Who serves page faults: the thread that faults, by userfaultfd, which is fastest (default); threads of Faultline's own, which "
	 "needs privilege; or the thread that faults, without userfaultfd (default where that is refused), which is slower, and each "
	 "process by itself",
	 2},
	{"io-uring", KEY_IO_URING, "refuse|allow", 0,
	 "Whether the program can have io_uring, which goes past Faultline: no, as on a kernel without (refuse, the default), or as it is "
	 "(allow), for programs that use it on nothing that is mapped",
	 2},
	{NULL, 0, NULL, 0, "Messages:", 3},
	{"report", KEY_REPORT, "text|json", OPTION_ARG_OPTIONAL, "Afterwards say what each mapped file cost (default: text)", 3},
	{"report-file", KEY_REPORT_FILE, "FILE", 0, "Write the report there, not to standard error", 3},
	{"log", KEY_LOG, "LEVEL", 0, "quiet, error, warn (default), info or debug", 3},
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp run_argp = {
	.options = option_table,
	.parser = parse_option,
	.args_doc = "PROGRAM [ARG...]",
	.doc = "Runs PROGRAM with the files that it maps in at most the memory that you say.\v"
	       "Options after PROGRAM are the program's. Each setting can also be given by a variable: FAULTLINE_BUDGET, FAULTLINE_SWAP, "
	       "FAULTLINE_MIN_MAP, FAULTLINE_ANON, FAULTLINE_HOST, FAULTLINE_DIRECT, FAULTLINE_FAULTS, FAULTLINE_IO_URING, FAULTLINE_LOG; "
	       "an option wins.\n\n"
	       "Exit status: the program's own; 128+N when signal N killed it; 125 when Faultline itself failed; "
	       "126 when the program cannot be executed; 127 when it was not found.",
};

/* Variables count where no option was given. */
static bool fill_from_environment(struct parse *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *value = getenv(settings[i].variable);

		if (p->value[i] || !value || !*value)
			continue;
		p->value[i] = check_setting(&settings[i], value, false, p->o);
		if (!p->value[i])
			return false;
	}
	return true;
}

static void free_values(struct parse *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		free(p->value[i]);
}

static void export_values(const struct parse *p)
{
	char *budget = text_format("%llu", (unsigned long long)p->o->budget);

	/* So that what we say holds is what the library goes by. */
	setenv("FAULTLINE_BUDGET", budget, 1);
	free(budget);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (p->value[i])
			setenv(settings[i].variable, p->value[i], 1);
}

int options_parse(int argc, char **argv, struct run_options *o)
{
	struct parse p = {.o = o};
	bool ok;

	*o = (struct run_options){.budget = probe_default_budget(), .host = "auto"};
	ok = parse_command_line(&run_argp, "run", argc, argv, ARGP_IN_ORDER, &p) == 0 && fill_from_environment(&p);
	if (o->report_file && o->format == REPORT_NONE)
		o->format = REPORT_TEXT;
	if (ok)
		export_values(&p);
	free_values(&p);
	return ok ? 0 : EXIT_FAULTLINE;
}

int options_from_environment(struct run_options *o)
{
	struct parse p = {.o = o};
	bool ok;

	*o = (struct run_options){.budget = probe_default_budget(), .host = "auto"};
	ok = fill_from_environment(&p);
	free_values(&p);
	return ok ? 0 : EXIT_FAULTLINE;
}
