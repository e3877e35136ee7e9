/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest on a soft space: runs a static Linux program for x86-64 on the Unicorn emulator. Its system calls on memory and its page
 * faults all go to Faultline, so that it works within a budget smaller than its memory, and prints what it would print natively.
 *
 *     guest [--budget SIZE] [--seed N] [--dump[=FILE]] [--verbose] PROGRAM [ARG...]
 *
 *   guest_elf.c     what execve(2) does: segments and stack
 *   guest_memory.c  page faults
 *   guest_calls.c   system calls; guest_files.c those on files
 *
 * It has one thread and calls no signal handlers. It ends as a shell has it: with the program's status, or 128 and the signal.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "guest_calls.h"
#include "guest_elf.h"
#include "guest_files.h"
#include "guest_memory.h"

#define FAILED 125           /* the emulator did, not the program */
#define NOWHERE (1ull << 63) /* where Unicorn would stop by itself: no address of a process */

/* ---- The end of the guest ---- */

static void end(struct guest *g, int status, int signal)
{
	if (g->ended)
		return;
	g->ended = true;
	g->status = status;
	g->signal = signal;
	uc_emu_stop(g->uc);
}

void guest_exit(struct guest *g, int status)
{
	end(g, status, 0);
}

static bool is_ignored(const struct guest *g, int signal)
{
	return signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH ||
	       g->signals_ignored & (1ull << (signal - 1));
}

void guest_signal(struct guest *g, int signal)
{
	bool fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;

	if (signal && (fault || !is_ignored(g, signal)))
		end(g, 128 + signal, signal);
}

void guest_abandon(struct guest *g, const char *why)
{
	fprintf(stderr, "guest: %s\n", why);
	end(g, FAILED, 0);
}

void guest_random(struct guest *g, void *buf, size_t size)
{
	unsigned char *bytes = buf;

	for (size_t i = 0; g->seed && i < size; i++) {
		g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
		bytes[i] = (unsigned char)(g->seed >> 56);
	}
	for (size_t done = 0; !g->seed && done < size;) {
		ssize_t n = getrandom(bytes + done, size - done, 0);

		done += n > 0 ? (size_t)n : 0;
	}
}

/* ---- Its run ---- */

static int make_space(struct guest *g, const struct elf_image *image)
{
	const struct fl_soft_options options = {
		.size = sizeof options,
		.address_bits = 47,
		.layout = FL_LAYOUT_TOP_DOWN,
		.seed = g->seed,
		.stack_limit = GUEST_STACK,
		.brk = elf_brk(image),
	};

	g->space = fl_space_create_soft(&options);
	if (!g->space)
		return -errno;
	g->cpu = fl_cpu_create(g->space);
	return g->cpu ? 0 : -errno;
}

static int make_processor(struct guest *g)
{
	int err;

	if (uc_open(UC_ARCH_X86, UC_MODE_64, &g->uc) != UC_ERR_OK)
		return -ENOMEM;
	err = memory_start(g);
	return err ? err : calls_start(g);
}

static int load(struct guest *g, char **argv, uint64_t *entry, uint64_t *stack)
{
	struct elf_image image;
	int err = elf_open(&image, g->program);

	if (err)
		return err;
	err = make_space(g, &image);
	if (!err)
		err = make_processor(g);
	if (!err)
		err = elf_map(g, &image);
	if (!err)
		err = elf_stack(g, &image, argv, environ, stack);
	*entry = elf_entry(&image);
	elf_close(&image);
	return err;
}

static void run(struct guest *g, uint64_t entry, uint64_t stack)
{
	uc_err err;

	uc_reg_write(g->uc, UC_X86_REG_RSP, &stack);
	err = uc_emu_start(g->uc, entry, NOWHERE, 0, 0);
	if (err == UC_ERR_INSN_INVALID)
		guest_signal(g, SIGILL);
	else if (err != UC_ERR_OK && !g->ended)
		guest_abandon(g, uc_strerror(err));
}

static void tell(const struct guest *g)
{
	struct fl_stats s = {.size = sizeof s};

	if (!fl_stats(&s))
		fprintf(stderr, "guest: %llu faults, budget %llu, peak %llu, swapped %llu, evictions %llu\n", (unsigned long long)g->faults,
			(unsigned long long)s.budget_bytes, (unsigned long long)s.peak_bytes, (unsigned long long)s.swapped_bytes,
			(unsigned long long)s.evictions);
}

/* What was stored in shared mappings is in the files afterwards. */
static int finish(struct guest *g)
{
	int err = 0;

	if (g->uc) {
		memory_drop_all(g);
		uc_close(g->uc);
	}
	if (g->cpu)
		fl_cpu_destroy(g->cpu);
	if (g->space && fl_space_destroy(g->space))
		err = -errno;
	if (fl_exit() && !err)
		err = -errno;
	return err;
}

/* ---- The command ---- */

struct arguments {
	uint64_t budget;
	const char *dump;
};

_Noreturn static void usage(void)
{
	fprintf(stderr, "usage: guest [--budget SIZE] [--seed N] [--dump[=FILE]] [--verbose] PROGRAM [ARG...]\n");
	exit(FAILED);
}

/* Bytes, or with K, M or G. */
static uint64_t parse_size(const char *text)
{
	static const char units[] = "KMG";
	const char *unit;
	uint64_t size;
	char *rest;

	if (!text)
		usage();
	size = strtoull(text, &rest, 0);
	unit = *rest ? strchr(units, *rest) : NULL;
	if (rest == text || (*rest && (!unit || rest[1])))
		usage();
	return unit ? size << (10 * (unit - units + 1)) : size;
}

static void parse(int argc, char **argv, struct guest *g, struct arguments *a)
{
	static const struct option options[] = {
		{"budget", required_argument, NULL, 'b'},
		{"seed", required_argument, NULL, 's'},
		{"dump", optional_argument, NULL, 'd'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c == 'b')
			a->budget = parse_size(optarg);
		else if (c == 's')
			g->seed = parse_size(optarg);
		else if (c == 'd')
			a->dump = optarg ? optarg : "/dev/stderr";
		else if (c == 'v')
			g->verbose = true;
		else
			usage();
	}
	if (optind == argc)
		usage();
}

/* The mappings, and the page tables under each, as `faultline walk` reads them. */
static void dump(struct guest *g, const char *path)
{
	int fd = strcmp(path, "/dev/stderr") ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : dup(STDERR_FILENO);

	if (fd < 0 || fl_space_dump(g->space, fd, FL_DUMP_PAGES))
		fprintf(stderr, "guest: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "guest: %s: %s\n", what, strerror(-err));
	return FAILED;
}

int main(int argc, char **argv)
{
	static struct guest g;
	struct arguments a = {0};
	struct fl_options options = {.size = sizeof options};
	uint64_t entry, stack;
	int err;

	parse(argc, argv, &g, &a);
	options.budget = a.budget;
	signal(SIGPIPE, SIG_IGN); /* the guest gets its own */
	g.program = realpath(argv[optind], NULL);
	if (!g.program)
		return fail(argv[optind], -errno);
	files_start(&g);
	if (a.budget && fl_init(&options)) /* else the space does it */
		return fail("start", -errno);
	err = load(&g, argv + optind, &entry, &stack);
	if (err) {
		finish(&g);
		return fail(argv[optind], err);
	}
	run(&g, entry, stack);
	if (a.dump)
		dump(&g, a.dump);
	if (g.verbose)
		tell(&g);
	err = finish(&g);
	if (g.signal)
		fprintf(stderr, "%s\n", strsignal(g.signal));
	return err ? fail("write-back", err) : g.status;
}
