/* SPDX-License-Identifier: Apache-2.0 */
#include "conformance.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "faultline.h"

#define BUDGET (2UL << 20)
#define CHILD_SECONDS 20

/* AddressSanitizer replaces the library's functions of these names by ones that do nothing. */
static int kernel_mlock(const void *addr, size_t length)
{
	return (int)syscall(SYS_mlock, addr, length);
}

static int kernel_munlock(const void *addr, size_t length)
{
	return (int)syscall(SYS_munlock, addr, length);
}

static int kernel_mlockall(int flags)
{
	return (int)syscall(SYS_mlockall, flags);
}

static int kernel_munlockall(void)
{
	return (int)syscall(SYS_munlockall);
}

static int kernel_mseal(void *addr, size_t length, unsigned long flags)
{
	return (int)syscall(SYS_mseal, addr, length, flags);
}

const struct calls kernel_calls = {
	.name = "kernel",
	.mmap = mmap,
	.munmap = munmap,
	.mprotect = mprotect,
	.mremap = mremap,
	.msync = msync,
	.madvise = madvise,
	.mincore = mincore,
	.mlock = kernel_mlock,
	.mlock2 = mlock2,
	.munlock = kernel_munlock,
	.mlockall = kernel_mlockall,
	.munlockall = kernel_munlockall,
	.mseal = kernel_mseal,
	.remap_file_pages = remap_file_pages,
	.posix_madvise = posix_madvise,
	.pread = pread,
	.pwrite = pwrite,
	.ftruncate = ftruncate,
};

const struct calls faultline_calls = {
	.name = "Faultline",
	.faultline = true,
	.mmap = fl_mmap,
	.munmap = fl_munmap,
	.mprotect = fl_mprotect,
	.mremap = fl_mremap,
	.msync = fl_msync,
	.madvise = fl_madvise,
	.mincore = fl_mincore,
	.mlock = fl_mlock,
	.mlock2 = fl_mlock2,
	.munlock = fl_munlock,
	.mlockall = fl_mlockall,
	.munlockall = fl_munlockall,
	.mseal = fl_mseal,
	.remap_file_pages = fl_remap_file_pages,
	.posix_madvise = fl_posix_madvise,
	.pread = fl_pread,
	.pwrite = fl_pwrite,
	.ftruncate = fl_ftruncate,
};

/* Since which Linux, as linux_version() says it. */
static const int since[FEATURES] = {
	[SECOND_VIEW] = 513,
	[GUARDS] = 615,
	[OTHER_ADVICE] = 601,
	[SEALS] = 610,
};

int linux_version(void)
{
	struct utsname u;
	int major, minor;

	uname(&u);
	return sscanf(u.release, "%d.%d", &major, &minor) == 2 ? major * 100 + minor : 0;
}

/* The preload library has taken the place of the kernel's calls. */
static bool is_preloaded(void)
{
	const char *libraries = getenv("LD_PRELOAD");

	return libraries && strstr(libraries, "faultline");
}

/* By SIGSEGV, as where userfaultfd is refused. */
static bool faults_by_sigsegv(const struct calls *c)
{
	const char *faults = getenv("FAULTLINE_FAULTS");

	return (c->faultline || is_preloaded()) && faults && !strcmp(faults, "sigsegv");
}

bool has_feature(const struct calls *c, enum feature feature)
{
	if (faults_by_sigsegv(c) && (feature == GUARDS || (feature == SIGSEGV_HANDLERS && !is_preloaded())))
		return false;
	return linux_version() >= since[feature] && (feature != LIBRARY || c->faultline || !is_preloaded());
}

bool at_host(const struct calls *c)
{
	return c->faultline && getenv("FAULTLINE_HOST");
}

bool faults_inline(const struct calls *c)
{
	const char *faults = getenv("FAULTLINE_FAULTS");

	return c->faultline && !(faults && !strcmp(faults, "thread"));
}

/* ---- Signals ---- */

static sigjmp_buf access_failed;
static volatile sig_atomic_t trying;
static volatile struct caught caught;

/* An access that should not fail ends the test program, by the default action when it is made again. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!trying) {
		fprintf(stderr, "  signal %d, code %d, address %p\n", sig, info->si_code, info->si_addr);
		signal(sig, SIG_DFL);
		return;
	}
	caught.signal = sig;
	caught.code = info->si_code;
	caught.address = info->si_addr;
	siglongjmp(access_failed, 1);
}

static void install_handlers(void)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &a, NULL);
	sigaction(SIGSEGV, &a, NULL);
}

static void caught_nothing(void)
{
	caught.signal = 0;
	caught.code = 0;
	caught.address = NULL;
}

struct caught try_read(const volatile char *p)
{
	caught_nothing();
	trying = true;
	if (sigsetjmp(access_failed, 1) == 0)
		caught.value = *p;
	trying = false;
	return caught;
}

struct caught try_write(volatile char *p, char value)
{
	caught_nothing();
	trying = true;
	if (sigsetjmp(access_failed, 1) == 0)
		*p = value;
	trying = false;
	return caught;
}

/* ---- The world ---- */

/* Those of programs. Faultline's own are high ones, and may come at any time. */
static int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += e->d_name[0] != '.' && atoi(e->d_name) < 256;
	closedir(d);
	return n;
}

static void fill(int fd)
{
	char page[PAGE];

	for (size_t i = 0; i < FILE_PAGES; i++) {
		memset(page, mark(i), PAGE);
		assert_int_equal(pwrite(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
	}
}

static void start_faultline(void)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};

	assert_int_equal(fl_init(&o), 0);
}

/* A test that fails or is skipped half-way does not come to world_end(). */
static char leftover[sizeof((struct world *)NULL)->path];

static void remove_leftover(void)
{
	if (leftover[0])
		unlink(leftover);
	leftover[0] = 0;
}

/* Files in memory are left to the kernel, which has its own ideas about their ends. */
static bool is_on_disk(const char *dir)
{
	struct statfs fs;

	return dir && strlen(dir) < 32 && statfs(dir, &fs) == 0 && fs.f_type != TMPFS_MAGIC;
}

/* Whether no test before had a file of that number. */
static bool is_new_number(int fd)
{
	static ino_t known[256];
	static size_t n;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	for (size_t i = 0; i < n; i++)
		if (known[i] == st.st_ino)
			return false;
	assert_true(n < COUNT(known));
	known[n++] = st.st_ino;
	return true;
}

/* The preload library knows files by number: what it has once left to the kernel, as it does with small files, it would leave to the kernel in later tests. */
static int make_file(struct world *w)
{
	const char *dir = is_on_disk(getenv("TMPDIR")) ? getenv("TMPDIR") : "/var/tmp";
	int fd, next, low;

	snprintf(w->path, sizeof w->path, "%s/faultline-test-XXXXXX", dir);
	fd = mkstemp(w->path);
	assert_true(fd >= 0);
	if (is_new_number(fd))
		return fd;
	unlink(w->path); /* its number is taken while the next one is made */
	next = make_file(w);
	close(fd);
	low = dup(next);
	close(next);
	return low;
}

static void new_file(struct world *w)
{
	remove_leftover();
	w->fd = make_file(w);
	memcpy(leftover, w->path, sizeof leftover);
	w->read_only = open(w->path, O_RDONLY);
	w->write_only = open(w->path, O_WRONLY);
	fill(w->fd);
}

/* What a failed test has left behind is cleared by the next one. cmocka puts its own handlers first, so ours come here. */
void world_begin(struct world *w, const struct calls *c, enum feature needs)
{
	static bool again;

	if (!again)
		atexit(remove_leftover);
	again = true;
	fl_exit();
	munmap(ARENA, ARENA_PAGES * PAGE);
	if (!has_feature(c, needs))
		skip();
	install_handlers();
	*w = (struct world){.c = c, .descriptors = count_descriptors()};
	new_file(w);
	if (c->faultline)
		start_faultline();
}

static void end_faultline(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	assert_true(st.peak_bytes <= st.budget_bytes);
	assert_int_equal(st.mappings, 0);
	assert_int_equal(st.files, 0);
	assert_int_equal(fl_exit(), 0);
}

/* Nothing leaks: no mapping in the arena, no mapping or file in Faultline, no descriptor. */
void world_end(struct world *w)
{
	w->c->munmap(ARENA, ARENA_PAGES * PAGE);
	for (size_t i = 0; i < ARENA_PAGES; i++)
		assert_int_equal(try_read(ARENA + i * PAGE).code, SEGV_MAPERR);
	if (w->c->faultline)
		end_faultline();
	remove_leftover();
	if (w->fd >= 0)
		close(w->fd);
	close(w->read_only);
	close(w->write_only);
	assert_int_equal(count_descriptors(), w->descriptors);
	assert_int_equal(w->failures, 0);
}

void wrong(struct world *w, const char *format, ...)
{
	va_list ap;

	w->failures++;
	fprintf(stderr, "  %s: ", w->c->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* ---- Mappings ---- */

char *map_ok(struct world *w, void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	char *p = w->c->mmap(addr, length, prot, flags, fd, offset);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static const struct {
	char letter;
	int prot, flags;
	bool read_only;
} kinds[] = {
	{'s', RW, MAP_SHARED, false},
	{'r', PROT_READ, MAP_SHARED, true},
	{'o', PROT_READ, MAP_SHARED, false},
	{'n', PROT_NONE, MAP_SHARED, false},
	{'p', RW, MAP_PRIVATE, false},
	{'q', PROT_READ, MAP_PRIVATE, false},
	{'a', RW, MAP_PRIVATE | MAP_ANONYMOUS, false},
	{'z', RW, MAP_SHARED | MAP_ANONYMOUS, false},
};

static void map_pages(struct world *w, char letter, size_t first, size_t pages)
{
	for (size_t k = 0; k < COUNT(kinds); k++) {
		int fd = kinds[k].read_only ? w->read_only : w->fd;

		if (kinds[k].letter != letter)
			continue;
		if (kinds[k].flags & MAP_ANONYMOUS)
			fd = -1;
		map_ok(w, ARENA + first * PAGE, pages * PAGE, kinds[k].prot, kinds[k].flags | MAP_FIXED, fd,
		       fd < 0 ? 0 : (off_t)(first * PAGE));
		return;
	}
	assert_int_equal(letter, '.');
}

void map_layout(struct world *w, const char *layout)
{
	for (size_t i = 0; layout[i];) {
		size_t n = strspn(layout + i, (char[]){layout[i], 0});

		map_pages(w, layout[i], i, n);
		i += n;
	}
}

static char access_of(char *p)
{
	struct caught c = try_read(p);

	if (c.signal == SIGBUS)
		return 'b';
	if (c.signal)
		return c.code == SEGV_MAPERR ? '-' : '0';
	return try_write(p, *(volatile char *)p).signal ? 'r' : 'w';
}

const char *access_map(char *start, size_t pages)
{
	static char picture[ARENA_PAGES + 1];

	for (size_t i = 0; i < pages; i++)
		picture[i] = access_of(start + i * PAGE);
	picture[pages] = 0;
	return picture;
}

/* ---- Children ---- */

static bool reaped(pid_t pid, int *status)
{
	for (int i = 0; i < CHILD_SECONDS * 1000; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		usleep(1000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

bool in_child(int (*fn)(struct world *w, char *map), struct world *w, char *map)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(w, map));
	if (!reaped(pid, &status))
		print_error("the child hangs\n");
	else if (status)
		print_error("the child ended with status %#x\n", status);
	return status == 0;
}

/* ---- Tables ---- */

static const char *error_name(int error)
{
	return error ? strerrorname_np(error) : "success";
}

static int range_error(const struct calls *calls, const struct range_case *c, range_call call)
{
	return ERROR_OF(call(calls, from_arena(c->from), c->length, c->arg));
}

/* The kernel's answer on mappings that are its own. */
static int kernel_error(const struct world *w, const struct range_case *c, range_call call)
{
	struct world k = *w;
	int error;

	k.c = &kernel_calls;
	map_layout(&k, c->layout);
	error = range_error(&kernel_calls, c, call);
	assert_ok(munmap(ARENA, ARENA_PAGES * PAGE));
	return error;
}

static void run_range_case(struct world *w, const struct range_case *c, range_call call)
{
	int error = c->error == AS_KERNEL ? kernel_error(w, c, call) : c->error;
	int got;
	const char *after;

	map_layout(w, c->layout);
	got = range_error(w->c, c, call);
	if (got != error)
		wrong(w, "%s: %s, not %s", c->name, error_name(got), error_name(error));
	after = c->after && got == error ? access_map(ARENA, strlen(c->after)) : NULL;
	if (after && strcmp(after, c->after))
		wrong(w, "%s: pages are %s, not %s", c->name, after, c->after);
	assert_ok(w->c->munmap(ARENA, ARENA_PAGES * PAGE));
}

void run_range_cases(struct world *w, const struct range_case *cases, size_t n, range_call call)
{
	for (size_t i = 0; i < n; i++)
		if (has_feature(w->c, cases[i].needs) && linux_version() >= cases[i].since)
			run_range_case(w, &cases[i], call);
}
