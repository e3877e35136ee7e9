/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `faultline doctor`: what this machine offers, one line each, and the cure under a line where something is missing.
 * It asks the same questions as `faultline run`, through the same functions, so the two cannot disagree.
 */
#include "doctor.h"

#include <argp.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "mmu/sigsegv.h"
#include "options.h"
#include "probe.h"
#include "shim.h"
#include "text.h"
#include "uffd.h"
#include "util/size.h"

enum mark {
	MARK_OK,
	MARK_NO,   /* missing, and something will not work or will be slower */
	MARK_INFO, /* neither good nor bad, or not to be found out */
};

static void line(enum mark mark, const char *name, const char *fmt, ...) FL_PRINTF(3, 4);
static void cure(const char *fmt, ...) FL_PRINTF(1, 2);

static void print_clean(const char *fmt, va_list ap)
{
	char *raw, *clean;

	if (vasprintf(&raw, fmt, ap) < 0)
		return;
	clean = text_escape(raw, TEXT_TERMINAL);
	puts(clean);
	free(clean);
	free(raw);
}

static void line(enum mark mark, const char *name, const char *fmt, ...)
{
	static const char *const marks[] = {[MARK_OK] = "ok", [MARK_NO] = "no", [MARK_INFO] = "--"};
	va_list ap;

	printf("%s  %-24s ", marks[mark], name);
	va_start(ap, fmt);
	print_clean(fmt, ap);
	va_end(ap);
}

static void cure(const char *fmt, ...)
{
	va_list ap;

	printf("    -> ");
	va_start(ap, fmt);
	print_clean(fmt, ap);
	va_end(ap);
}

static void check_kernel(void)
{
	struct utsname u;

	if (uname(&u) == 0)
		line(MARK_INFO, "kernel", "%s %s %s", u.sysname, u.release, u.machine);
}

/* ---- userfaultfd ---- */

static void check_feature(const struct uffd_probe *p, const struct uffd_feature *f)
{
	char *name = text_format("  %s", f->name);

	if (p->features & f->bit)
		line(MARK_OK, name, "%s", f->gives);
	else
		line(f->needed ? MARK_NO : MARK_INFO, name, "not in this kernel (%s)%s", f->gives, f->needed ? "" : "; not needed");
	free(name);
}

/* `wanted`: nothing else will do. */
static bool check_userfaultfd(bool wanted)
{
	struct uffd_probe p = uffd_probe(UFFD_USER_FAULTS);
	bool usable = uffd_usable(&p);
	enum mark missing = wanted ? MARK_NO : MARK_INFO;

	if (p.error)
		line(missing, "userfaultfd", "%s", uffd_cause(&p));
	else
		line(usable ? MARK_OK : missing, "userfaultfd", "by %s", p.device ? "/dev/userfaultfd" : "the system call");
	if (!usable)
		cure("%s", uffd_cure(&p));
	if (!p.error)
		for (const struct uffd_feature *f = uffd_features; f->name; f++)
			check_feature(&p, f);
	return usable;
}

/* Asked for by FAULTLINE_FAULTS, it is no longer a matter of taste. */
static bool check_thread_faults(bool inline_works, bool wanted)
{
	struct uffd_probe p = uffd_probe(UFFD_ALL_FAULTS);
	bool usable = uffd_usable(&p);

	if (usable)
		line(MARK_OK, "--faults=thread", "allowed, by %s", p.device ? "/dev/userfaultfd" : "the system call");
	else if (wanted)
		line(MARK_NO, "--faults=thread", "%s", uffd_cause(&p));
	else if (inline_works)
		line(MARK_INFO, "--faults=thread", "not for this user; --faults=inline, the default, does without");
	if (!usable && (wanted || inline_works))
		cure("grant CAP_SYS_PTRACE, access to /dev/userfaultfd, or sysctl vm.unprivileged_userfaultfd=1");
	return usable;
}

static bool check_sigsegv_faults(bool wanted)
{
	int error = sigsegv_probe();

	if (!error)
		line(MARK_OK, "--faults=sigsegv", "works%s",
		     wanted ? ": slower than userfaultfd, no hosts, no huge pages" : "; for where userfaultfd is refused");
	else
		line(wanted ? MARK_NO : MARK_INFO, "--faults=sigsegv", "/proc/self/mem: %s", strerror(-error));
	if (error && wanted)
		cure("mount /proc; on Linux 6.12 and later, boot with proc_mem.force_override=always");
	return !error;
}

static void check_privileges(void)
{
	char value[64];

	if (probe_line("/proc/sys/vm/unprivileged_userfaultfd", value, sizeof value) == 0)
		line(MARK_INFO, "unprivileged_userfaultfd", "%s", value);
	line(MARK_INFO, "CAP_SYS_PTRACE", "%s", probe_ptrace() ? "in force" : "not in force");
	line(MARK_INFO, "seccomp filter", "%s", probe_seccomp() ? "yes" : "none");
}

/* ---- Memory ---- */

/* "always [madvise] never": the one in brackets holds. */
static void check_huge_pages(const char *name, const char *path)
{
	char value[128], *start, *end;

	if (probe_line(path, value, sizeof value) < 0) {
		line(MARK_INFO, name, "not in this kernel");
		return;
	}
	start = strchr(value, '[');
	end = start ? strchr(start, ']') : NULL;
	if (end)
		*end = 0;
	line(MARK_INFO, name, "%s", end ? start + 1 : value);
}

static void check_memory(void)
{
	char memory[NUMBER_MAX], budget[NUMBER_MAX];

	line(MARK_INFO, "memory", "%s; default budget %s", size_format(probe_memory(), memory, sizeof memory),
	     size_format(probe_default_budget(), budget, sizeof budget));
	check_huge_pages("huge pages, anonymous", "/sys/kernel/mm/transparent_hugepage/enabled");
	check_huge_pages("huge pages, shmem", "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

static void check_overcommit(void)
{
	char value[64];

	if (probe_line("/proc/sys/vm/overcommit_memory", value, sizeof value) < 0)
		return;
	if (strcmp(value, "2") != 0) {
		line(MARK_OK, "vm.overcommit_memory", "%s", value);
		return;
	}
	line(MARK_NO, "vm.overcommit_memory", "2: writable private mappings count in full, whatever the budget");
	cure("sysctl vm.overcommit_memory=0, or a higher vm.overcommit_ratio");
}

/* ---- Limits ---- */

#define MAP_COUNT_USUAL 65530
#define FILES_USUAL 1024

static void check_map_count(void)
{
	char value[64];
	bool few;

	if (probe_line("/proc/sys/vm/max_map_count", value, sizeof value) < 0)
		return;
	few = strtoull(value, NULL, 10) < MAP_COUNT_USUAL;
	line(few ? MARK_NO : MARK_OK, "vm.max_map_count", "%s", value);
	if (few)
		cure("programs with many mappings may meet it; sysctl vm.max_map_count=%d", MAP_COUNT_USUAL);
}

static void check_open_files(void)
{
	struct rlimit rl;
	bool few;

	getrlimit(RLIMIT_NOFILE, &rl);
	few = rl.rlim_cur < FILES_USUAL;
	line(few ? MARK_NO : MARK_OK, "open files (ulimit -n)", "%llu, of at most %llu; a mapped file takes two",
	     (unsigned long long)rl.rlim_cur, (unsigned long long)rl.rlim_max);
	if (few)
		cure("ulimit -n %d", FILES_USUAL);
}

/* The memory behind a mapping is a memfd as long as the file, and the limit counts that as a file. */
static void check_file_size(void)
{
	char size[NUMBER_MAX];
	struct rlimit rl;

	getrlimit(RLIMIT_FSIZE, &rl);
	if (rl.rlim_cur == RLIM_INFINITY) {
		line(MARK_OK, "file size (ulimit -f)", "unlimited");
		return;
	}
	line(MARK_NO, "file size (ulimit -f)", "%s: no larger file can be mapped", size_format(rl.rlim_cur, size, sizeof size));
	cure("ulimit -f unlimited");
}

static void check_membarrier(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		line(MARK_OK, "membarrier", "works; soft spaces have TLBs");
	else
		line(MARK_INFO, "membarrier", "not here (Linux 4.14): soft spaces work, each access walks the page tables");
}

/* ---- Input and output ---- */

static void check_aio(void)
{
	int error = probe_aio();

	if (!error) {
		line(MARK_OK, "asynchronous I/O", "works: with --direct, files are read ahead and written back while the program runs");
		return;
	}
	line(MARK_INFO, "asynchronous I/O", "%s: the program waits for reads and writes", strerror(-error));
	if (error == -EAGAIN)
		cure("too much of it is in use on this machine; raise fs.aio-max-nr (sysctl)");
}

static void check_direct(const char *path)
{
	int error = probe_direct(path);

	if (!error) {
		line(MARK_OK, "--direct (O_DIRECT)", "works at %s", path);
	} else if (error == -EINVAL || error == -EOPNOTSUPP) {
		line(MARK_NO, "--direct (O_DIRECT)", "not on the file system of %s; the kernel's page cache is used there", path);
		cure("nothing to do without --direct; with it, keep the files on ext4, XFS or Btrfs");
	} else {
		line(MARK_INFO, "--direct (O_DIRECT)", "cannot be tried at %s: %s", path, strerror(-error));
		cure("give a file that you can read: faultline doctor FILE");
	}
}

static void check_swap(void)
{
	const char *directory = probe_swap_directory();

	if (directory) {
		line(MARK_OK, "swap directory", "%s", directory);
		return;
	}
	line(MARK_NO, "swap directory", "FAULTLINE_SWAP, or else $TMPDIR, /var/tmp and /tmp, cannot take it");
	cure("name a directory that can, with --swap DIR or FAULTLINE_SWAP");
}

static bool check_shim(void)
{
	char why[512], *shim = shim_find(why, sizeof why);

	line(shim ? MARK_OK : MARK_NO, "shim", "%s", shim ? shim : why);
	free(shim);
	return shim != NULL;
}

/* ---- The command ---- */

static bool check_variables(struct run_options *o)
{
	bool valid = options_from_environment(o) == 0;

	if (!valid) {
		line(MARK_NO, "FAULTLINE_* variables", "one makes no sense: see the message");
		cure("correct or unset it");
	}
	return valid;
}

static void check_limits(void)
{
	check_overcommit();
	check_map_count();
	check_open_files();
	check_file_size();
}

/* Whether faults can be served as was asked for, or at all. Settles how. */
static bool check_faults(struct run_options *o)
{
	bool by_call = check_userfaultfd(o->faults == FAULTS_INLINE || o->faults == FAULTS_THREAD);
	bool by_threads = check_thread_faults(by_call, o->faults == FAULTS_THREAD);
	bool by_sigsegv = check_sigsegv_faults(o->faults == FAULTS_SIGSEGV || (o->faults == FAULTS_AUTO && !by_call));

	if (o->faults == FAULTS_AUTO)
		o->faults = by_call ? FAULTS_INLINE : FAULTS_SIGSEGV;
	return o->faults == FAULTS_THREAD ? by_threads : o->faults == FAULTS_SIGSEGV ? by_sigsegv : by_call;
}

/* Whether a run without options can work; `o` says how it would go. */
static bool examine(const char *path, struct run_options *o)
{
	bool variables = check_variables(o), faults, shim;

	check_kernel();
	faults = check_faults(o);
	check_privileges();
	check_memory();
	check_limits();
	check_direct(path);
	check_aio();
	check_membarrier();
	check_swap();
	shim = check_shim();
	return variables && shim && faults;
}

static void verdict(bool works, const struct run_options *o)
{
	static const char *const how[] = {[FAULTS_INLINE] = "inline", [FAULTS_THREAD] = "by threads", [FAULTS_SIGSEGV] = "by SIGSEGV"};
	char budget[NUMBER_MAX];

	if (!works) {
		puts("\nfaultline run cannot work here: see the lines marked no.");
		return;
	}
	size_format(o->budget, budget, sizeof budget);
	printf("\nfaultline run can work here: faults served %s, budget %s unless you say otherwise.\n", how[o->faults], budget);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	const char **path = state->input;

	switch (key) {
	case 'h':
		give_help(state);
	case ARGP_KEY_ARG:
		if (state->arg_num)
			return ARGP_ERR_UNKNOWN;
		*path = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option option_table[] = {
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp doctor_argp = {
	.options = option_table,
	.parser = parse_option,
	.args_doc = "[PATH]",
	.doc = "Says what this machine offers, what Faultline will use of it, and what to do about what is missing.\v"
	       "PATH is a file or a directory where your data lies (default: the current directory); O_DIRECT is tried there.\n\n"
	       "Each line: ok, no (missing), or -- (for information).\n\n"
	       "Exit status: 0 when faultline run can work here, 1 when it cannot, 125 for a mistake in the command line.",
};

int doctor_main(int argc, char **argv)
{
	const char *path = ".";
	struct run_options o;
	struct stat st;
	bool works;

	if (parse_command_line(&doctor_argp, "doctor", argc, argv, 0, &path))
		return EXIT_FAULTLINE;
	if (stat(path, &st) < 0) {
		complain("doctor: %s: %s", path, strerror(errno));
		return EXIT_FAULTLINE;
	}
	works = examine(path, &o);
	verdict(works, &o);
	return works ? 0 : 1;
}
