/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fl_maps and fl_smaps: the same mappings, made on the kernel and on Faultline, are shown in the same way; and figures
 * that follow from what was touched.
 */
#include "harness.h"

#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define KERNEL_BASE 0x300000000000UL
#define OUR_BASE 0x310000000000UL
#define REGION (4UL << 20)

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* ---- Reading what was written ---- */

static char *read_all(int fd)
{
	size_t len = 0, room = 1 << 16;
	char *text = malloc(room);
	ssize_t n;

	while ((n = read(fd, text + len, room - len - 1)) > 0) {
		len += (size_t)n;
		if (len + 1 == room)
			text = realloc(text, room *= 2);
	}
	text[len] = 0;
	close(fd);
	return text;
}

static int scratch_fd(void)
{
	FILE *f = tmpfile();
	int fd = dup(fileno(f));

	fclose(f);
	return fd;
}

static char *our_text(int (*show)(int fd))
{
	int fd = scratch_fd();

	assert_int_equal(show(fd), 0);
	lseek(fd, 0, SEEK_SET);
	return read_all(fd);
}

static char *kernel_text(const char *path)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	return read_all(fd);
}

static const char *next_line(const char *s)
{
	const char *end = strchr(s, '\n');

	assert_non_null(end);
	return end + 1;
}

static bool is_header(const char *line)
{
	unsigned long start, end;
	char perms[5];

	return *line >= '0' && sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3;
}

/* ---- Comparing with the kernel ---- */

/* Which of the kernel's names a test cannot hold us to: it may track what was written since some moment. */
static void append_flags(char *out, const char *line)
{
	for (const char *s = line + strlen("VmFlags:"); s[0] == ' ' && s[1] != '\n'; s += 3)
		if (strncmp(s + 1, "sd", 2))
			strncat(out, s, 3);
	strcat(out, "\n");
}

/* Shared anonymous memory has another inode each time, and padding to go with it. */
static void append_header(char *out, const char *line, unsigned long base)
{
	unsigned long start, end, offset, ino;
	char perms[5], dev[16], *at = out + strlen(out);
	int n;

	sscanf(line, "%lx-%lx %4s %lx %15s %lu%n", &start, &end, perms, &offset, dev, &ino, &n);
	at += sprintf(at, "%06lx-%06lx ", start - base, end - base);
	if (strncmp(line + n + strspn(line + n, " "), "/dev/zero (deleted)\n", 20) == 0)
		sprintf(at, "%s %lx %s /dev/zero\n", perms, offset, dev);
	else
		strncat(at, strchr(line, ' '), (size_t)(next_line(line) - strchr(line, ' ')));
}

/* The headers, and what `field` says, of the mappings in the region at `base`, with addresses from there on. */
static char *excerpt(char *text, unsigned long base, const char *field)
{
	char *out = calloc(1, strlen(text) + 1);
	bool inside = false;

	for (const char *s = text; *s; s = next_line(s)) {
		unsigned long start;

		if (is_header(s)) {
			start = strtoul(s, NULL, 16);
			inside = start >= base && start < base + REGION;
			if (inside)
				append_header(out, s, base);
		} else if (inside && strncmp(s, field, strlen(field)) == 0) {
			if (strcmp(field, "VmFlags:") == 0)
				append_flags(out, s);
			else
				strncat(out, s, (size_t)(next_line(s) - s));
		}
	}
	free(text);
	return out;
}

struct calls {
	void *(*map)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
	int (*unmap)(void *addr, size_t length);
	int (*protect)(void *addr, size_t length, int prot);
	int (*advise)(void *addr, size_t length, int advice);
	int (*lock)(const void *addr, size_t length, unsigned flags);
	int (*unlock)(const void *addr, size_t length);
	void *(*move)(void *old, size_t old_length, size_t length, int flags, ...);
};

/* AddressSanitizer makes munlock() do nothing. */
static int kernel_munlock(const void *addr, size_t length)
{
	return (int)syscall(SYS_munlock, addr, length);
}

static const struct calls kernel_calls = {mmap, munmap, mprotect, madvise, mlock2, kernel_munlock, mremap};
static const struct calls our_calls = {fl_mmap, fl_munmap, fl_mprotect, fl_madvise, fl_mlock2, fl_munlock, fl_mremap};

/* One side of a comparison: the calls, where they are made, and a file. */
struct side {
	const struct calls *c;
	char *base;
	int fd;
};

static char *map_at(const struct side *s, unsigned long page, unsigned long pages, int prot, int flags, int fd, unsigned long pgoff)
{
	char *at = s->base + page * PAGE;
	char *p = s->c->map(at, pages * PAGE, prot, flags | MAP_FIXED_NOREPLACE, fd, (off_t)(pgoff * PAGE));

	assert_ptr_equal(p, at);
	return p;
}

static void compare_field(const char *field, int (*show)(int fd), const char *kernels)
{
	char *want = excerpt(kernel_text(kernels), KERNEL_BASE, field);
	char *got = excerpt(our_text(show), OUR_BASE, field);

	assert_true(strlen(want) > 0);
	assert_string_equal(got, want);
	free(want);
	free(got);
}

/* Both sides do the same; then both are shown alike. */
static void compare(void (*act)(const struct side *s), int fd)
{
	struct side kernel = {&kernel_calls, (char *)KERNEL_BASE, fd}, ours = {&our_calls, (char *)OUR_BASE, fd};

	munmap((void *)KERNEL_BASE, REGION); /* of a test that failed */
	act(&kernel);
	act(&ours);
	compare_field("(none)", fl_maps, "/proc/self/maps");
	compare_field("VmFlags:", fl_smaps, "/proc/self/smaps");
	compare_field("Size:", fl_smaps, "/proc/self/smaps");
	assert_int_equal(munmap((void *)KERNEL_BASE, REGION), 0);
	assert_int_equal(fl_munmap((void *)OUR_BASE, REGION), 0);
}

static void anonymous(const struct side *s)
{
	char *p = map_at(s, 0, 16, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, 16 * PAGE);
	s->c->protect(p + 2 * PAGE, PAGE, PROT_READ);
	s->c->protect(p + 5 * PAGE, PAGE, PROT_NONE);
	s->c->protect(p + 9 * PAGE, 2 * PAGE, PROT_READ | PROT_EXEC);
	s->c->unmap(p + 12 * PAGE, 2 * PAGE);
	map_at(s, 20, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map_at(s, 22, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* goes on where the last one ends */
	map_at(s, 24, 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map_at(s, 30, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	map_at(s, 800, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
}

/* What was never written to is not accounted for when it cannot be written any more. */
static void unwritten(const struct side *s)
{
	char *p = map_at(s, 0, 8, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q = map_at(s, 8, 8, RW, MAP_PRIVATE, s->fd, 0);

	s->c->protect(p + 2 * PAGE, 2 * PAGE, PROT_READ);
	s->c->protect(q + 2 * PAGE, 2 * PAGE, PROT_READ);
}

/* Memory with pages and without, away and beside others. */
static void moved(const struct side *s)
{
	char *p = map_at(s, 0, 9, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q = map_at(s, 20, 9, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *t = map_at(s, 40, 3, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*p = 1;
	s->c->move(p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t + 3 * PAGE);
	s->c->move(q, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t - 3 * PAGE);
	s->c->move(q + 4 * PAGE, 2 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t - 8 * PAGE);
}

static void droppable(const struct side *s)
{
	map_at(s, 0, 4, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
}

static void shared_anonymous(const struct side *s)
{
	char *p = map_at(s, 0, 8, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	map_at(s, 8, 8, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->c->protect(p + 2 * PAGE, PAGE, PROT_READ);
}

static void file(const struct side *s)
{
	char *p = map_at(s, 0, 16, RW, MAP_SHARED, s->fd, 3), *q = map_at(s, 16, 16, PROT_READ, MAP_PRIVATE, s->fd, 19);

	s->c->protect(p + 4 * PAGE, 4 * PAGE, PROT_READ);
	s->c->protect(q + 4 * PAGE, 4 * PAGE, RW);
	s->c->unmap(q + 10 * PAGE, PAGE);
	map_at(s, 32, 4, PROT_READ | PROT_EXEC, MAP_PRIVATE, s->fd, 0);
	map_at(s, 36, 4, PROT_READ | PROT_EXEC, MAP_PRIVATE, s->fd, 4); /* goes on in memory and in the file */
	map_at(s, 40, 4, PROT_READ | PROT_EXEC, MAP_PRIVATE, s->fd, 4); /* in memory only */
	map_at(s, 44, 4, PROT_NONE, MAP_SHARED, s->fd, 1000000);
}

static void advised(const struct side *s)
{
	static const int advice[] = {MADV_SEQUENTIAL, MADV_RANDOM, MADV_DONTFORK, MADV_DONTDUMP};
	char *p = map_at(s, 0, 16, RW, MAP_SHARED, s->fd, 0), *q = map_at(s, 16, 16, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(s->c->advise(p + (3 * i + 1) * PAGE, 2 * PAGE, advice[i]), 0);
		assert_int_equal(s->c->advise(q + (2 * i + 1) * PAGE, 2 * PAGE, advice[i]), 0);
	}
	assert_int_equal(s->c->advise(p + PAGE, PAGE, MADV_NORMAL), 0);
	assert_int_equal(s->c->advise(q + 12 * PAGE, 2 * PAGE, MADV_WIPEONFORK), 0);
}

static void huge(const struct side *s)
{
	char *p = map_at(s, 0, 16, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	s->c->advise(p + PAGE, 2 * PAGE, MADV_HUGEPAGE);
	s->c->advise(p + 4 * PAGE, 2 * PAGE, MADV_NOHUGEPAGE);
	s->c->advise(p + 8 * PAGE, 2 * PAGE, MADV_MERGEABLE);
}

static void locked(const struct side *s)
{
	char *p = map_at(s, 0, 16, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q = map_at(s, 16, 16, PROT_READ, MAP_SHARED, s->fd, 0);

	assert_int_equal(s->c->lock(p + 2 * PAGE, 4 * PAGE, 0), 0);
	assert_int_equal(s->c->lock(p + 8 * PAGE, PAGE, MLOCK_ONFAULT), 0);
	assert_int_equal(s->c->lock(q, 4 * PAGE, 0), 0);
	assert_int_equal(s->c->unlock(p + 3 * PAGE, PAGE), 0);
	map_at(s, 40, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
}

TEST(anonymous_memory_as_the_kernel_shows_it)
{
	struct fixture *f = *state;
	void *p = mmap(NULL, PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);

	compare(anonymous, -1);
	compare(unwritten, f->fd);
	compare(moved, -1);
	compare(shared_anonymous, -1);
	if (p != MAP_FAILED) {
		munmap(p, PAGE);
		compare(droppable, -1);
	}
}

/* It is the file of private memory, and of what is shared but cannot be written. */
static void dev_zero(const struct side *s)
{
	int fd = open("/dev/zero", O_RDWR), read_only = open("/dev/zero", O_RDONLY);
	char *p = map_at(s, 0, 8, RW, MAP_PRIVATE, fd, 0);

	map_at(s, 8, 4, RW, MAP_PRIVATE, fd, 8); /* goes on where the last one ends */
	map_at(s, 12, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map_at(s, 20, 4, RW, MAP_SHARED, fd, 0);
	map_at(s, 30, 4, RW, MAP_PRIVATE, read_only, 3);
	map_at(s, 40, 4, PROT_READ, MAP_SHARED, read_only, 5);
	s->c->protect(p + 2 * PAGE, PAGE, PROT_READ);
	p[6 * PAGE] = 1;
	s->c->move(p + 6 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, s->base + 50 * PAGE);
	close(fd);
	close(read_only);
}

TEST(dev_zero_as_the_kernel_shows_it)
{
	(void)state;
	compare(dev_zero, -1);
}

TEST(files_as_the_kernel_shows_them)
{
	struct fixture *f = *state;

	compare(file, f->fd);
}

static void read_only(const struct side *s)
{
	map_at(s, 0, 4, PROT_READ, MAP_SHARED, s->fd, 0);
	map_at(s, 8, 4, RW, MAP_PRIVATE, s->fd, 0);
}

TEST(a_file_open_for_reading_only)
{
	struct fixture *f = *state;
	int fd = open(f->path, O_RDONLY);

	compare(read_only, fd);
	close(fd);
}

TEST(advice_and_locks_as_the_kernel_shows_them)
{
	struct fixture *f = *state;

	compare(advised, f->fd);
	compare(locked, f->fd);
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0 && access("/sys/kernel/mm/ksm", F_OK) == 0)
		compare(huge, -1);
}

TEST(a_file_in_memory_as_the_kernel_shows_it)
{
	int fd = memfd_create("in memory", 0);

	(void)state;
	assert_int_equal(ftruncate(fd, 64 * PAGE), 0);
	compare(file, fd);
	compare(advised, fd);
	compare(locked, fd);
	close(fd);
}

/* The outer parts get their pages while the one between them differs: that one is one mapping with the first of them later. */
static void written_apart(const struct side *s)
{
	char *p = map_at(s, 0, 12, RW, MAP_PRIVATE, s->fd, 0);

	s->c->protect(p + 4 * PAGE, 4 * PAGE, PROT_NONE);
	p[8 * PAGE] = p[0] = 1;
	s->c->protect(p + 4 * PAGE, 4 * PAGE, RW);
	map_at(s, 16, 4, RW, MAP_PRIVATE, s->fd, 16);
	map_at(s, 12, 4, RW, MAP_PRIVATE, s->fd, 12); /* between two of which only one has pages */
}

TEST(private_pages_of_files_left_to_the_kernel)
{
	struct fixture *f = *state;
	int fd = memfd_create("in memory", 0);
	char *p = fl_mmap(NULL, PAGE, RW, MAP_SHARED, f->fd, 0);
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	compare(written_apart, f->fd);
	assert_int_equal(ftruncate(fd, 64 * PAGE), 0);
	compare(written_apart, fd);
	close(fd);
	assert_int_equal(fl_munmap(p, PAGE), 0);
}

/* Since Linux 6.7. */
TEST(a_stack_takes_no_huge_pages)
{
	char *p = fl_mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0), *text = our_text(fl_smaps);

	(void)state;
	assert_non_null(strstr(text, "VmFlags: rd wr mr mw me ac nh \n"));
	free(text);
	assert_int_equal(fl_munmap(p, 4 * PAGE), 0);
}

/* ---- Paths ---- */

TEST(the_path_is_the_one_of_now)
{
	struct fixture *f = *state;
	char to[100];

	snprintf(to, sizeof to, "%s\nrenamed \\ \t", f->path);
	assert_int_equal(rename(f->path, to), 0);
	compare(read_only, f->fd);
	assert_int_equal(unlink(to), 0);
	compare(read_only, f->fd);
}

/* ---- Figures ---- */

static long kilobytes(const char *text, const void *addr, const char *name)
{
	bool inside = false;

	for (const char *s = text; *s; s = next_line(s)) {
		if (is_header(s))
			inside = strtoul(s, NULL, 16) == (unsigned long)addr;
		else if (inside && strncmp(s, name, strlen(name)) == 0 && s[strlen(name)] == ':')
			return strtol(s + strlen(name) + 1, NULL, 10);
	}
	fail_msg("no %s at %p", name, addr);
	return -1;
}

/* The mapping at addr has so many pages of each kind, in the order of smaps. */
struct pages {
	long shared_clean, shared_dirty, private_clean, private_dirty, anonymous, lazy_free, swap;
};

static void assert_pages(const void *addr, struct pages p)
{
	char *text = our_text(fl_smaps);

	assert_int_equal(kilobytes(text, addr, "Rss"), 4 * (p.shared_clean + p.shared_dirty + p.private_clean + p.private_dirty));
	assert_int_equal(kilobytes(text, addr, "Shared_Clean"), 4 * p.shared_clean);
	assert_int_equal(kilobytes(text, addr, "Shared_Dirty"), 4 * p.shared_dirty);
	assert_int_equal(kilobytes(text, addr, "Private_Clean"), 4 * p.private_clean);
	assert_int_equal(kilobytes(text, addr, "Private_Dirty"), 4 * p.private_dirty);
	assert_int_equal(kilobytes(text, addr, "Anonymous"), 4 * p.anonymous);
	assert_int_equal(kilobytes(text, addr, "LazyFree"), 4 * p.lazy_free);
	assert_int_equal(kilobytes(text, addr, "Swap"), 4 * p.swap);
	assert_int_equal(kilobytes(text, addr, "SwapPss"), 4 * p.swap);
	free(text);
}

static void assert_kilobytes(const void *addr, const char *name, long want)
{
	char *text = our_text(fl_smaps);

	assert_int_equal(kilobytes(text, addr, name), want);
	free(text);
}

/* A thread that serves a fault may still be at its page when the access is over. Who changes the mapping waits for it. */
static void settle(const char *p, unsigned long n)
{
	fl_madvise((void *)p, n * PAGE, MADV_DONTFORK); /* the kernel's own mapping fails, and needs none of it */
	fl_madvise((void *)p, n * PAGE, MADV_DOFORK);
}

static void read_pages(const char *p, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		*(const volatile char *)(p + i * PAGE);
	settle(p, n);
}

static void write_pages(char *p, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		*(volatile char *)(p + i * PAGE) = 1;
	settle(p, n);
}

/* With single pages read: what a test touches is what is in memory. */
static char *map_pages(int fd, unsigned long pages, int prot, int flags)
{
	char *p = fl_mmap(NULL, pages * PAGE, prot, flags, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(fl_madvise(p, pages * PAGE, MADV_RANDOM), 0);
	return p;
}

static void touch_some(const struct side *s)
{
	char *p = map_at(s, 0, 100, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	write_pages(p + 10 * PAGE, 7);
	s->c->protect(p + 50 * PAGE, 10 * PAGE, PROT_READ);
	write_pages(p + 60 * PAGE, 3);
}

TEST(figures_of_anonymous_memory_are_the_kernels)
{
	static const char *const fields[] = {"Rss:",           "Pss:",           "Pss_Dirty:", "Shared_Clean:", "Shared_Dirty:",
					     "Private_Clean:", "Private_Dirty:", "Anonymous:", "Swap:",         "Locked:"};
	struct side kernel = {&kernel_calls, (char *)KERNEL_BASE, -1}, ours = {&our_calls, (char *)OUR_BASE, -1};

	(void)state;
	touch_some(&kernel);
	touch_some(&ours);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		compare_field(fields[i], fl_smaps, "/proc/self/smaps");
	assert_int_equal(munmap((void *)KERNEL_BASE, REGION), 0);
	assert_int_equal(fl_munmap((void *)OUR_BASE, REGION), 0);
}

/* Clean and dirty pages of a file; pages that two mappings have count half for each. */
TEST(figures_of_a_shared_file)
{
	struct fixture *f = *state;
	char *p = map_pages(f->fd, 100, RW, MAP_SHARED), *q;

	read_pages(p, 5);
	write_pages(p + 5 * PAGE, 3);
	assert_pages(p, (struct pages){.private_clean = 5, .private_dirty = 3});
	q = map_pages(f->fd, 6, RW, MAP_SHARED);
	assert_pages(p, (struct pages){.shared_clean = 5, .shared_dirty = 1, .private_dirty = 2});
	assert_pages(q, (struct pages){.shared_clean = 5, .shared_dirty = 1});
	assert_kilobytes(p, "Pss", 4 * 2 + 4 * 6 / 2);
	assert_kilobytes(p, "Pss_Dirty", 4 * 2 + 4 * 1 / 2);
	assert_int_equal(fl_msync(p, 100 * PAGE, MS_SYNC), 0);
	assert_pages(p, (struct pages){.shared_clean = 6, .private_clean = 2});
	assert_int_equal(fl_munmap(p, 100 * PAGE), 0);
	assert_pages(q, (struct pages){.private_clean = 6});
	assert_int_equal(fl_munmap(q, 6 * PAGE), 0);
}

/* A private copy, in memory or in swap, stands for the file's page. */
TEST(figures_of_a_private_file)
{
	struct fixture *f = *state;
	char *p = map_pages(f->fd, 100, RW, MAP_PRIVATE), *q = map_pages(f->fd, 100, PROT_READ, MAP_SHARED);

	read_pages(p, 10);
	write_pages(p + 6 * PAGE, 4);
	assert_pages(p, (struct pages){.shared_clean = 6, .private_dirty = 4, .anonymous = 4});
	assert_pages(q, (struct pages){.shared_clean = 6, .private_clean = 4});
	assert_int_equal(fl_madvise(p + 8 * PAGE, 2 * PAGE, MADV_PAGEOUT), 0);
	read_pages(q, 10);
	assert_pages(p, (struct pages){.shared_clean = 6, .private_dirty = 2, .anonymous = 2, .swap = 2});
	assert_pages(q, (struct pages){.shared_clean = 6, .private_clean = 4});
	assert_int_equal(fl_munmap(q, 100 * PAGE), 0);
	assert_int_equal(fl_munmap(p, 100 * PAGE), 0);
}

TEST(figures_of_pages_in_swap)
{
	char *p = map_pages(-1, 100, RW, MAP_PRIVATE | MAP_ANONYMOUS);

	(void)state;
	write_pages(p, 20);
	assert_int_equal(fl_madvise(p, 12 * PAGE, MADV_PAGEOUT), 0);
	assert_pages(p, (struct pages){.private_dirty = 8, .anonymous = 8, .swap = 12});
	read_pages(p, 4); /* equal to their copies in swap */
	assert_pages(p, (struct pages){.private_clean = 4, .private_dirty = 8, .anonymous = 12, .swap = 8});
	write_pages(p, 1);
	assert_pages(p, (struct pages){.private_clean = 3, .private_dirty = 9, .anonymous = 12, .swap = 8});
	assert_int_equal(fl_madvise(p, 100 * PAGE, MADV_DONTNEED), 0);
	assert_pages(p, (struct pages){0});
	assert_int_equal(fl_munmap(p, 100 * PAGE), 0);
}

/* A mapping of far more pages than the page table has. */
TEST(figures_of_a_large_mapping)
{
	char *p = map_pages(-1, 1UL << 24, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	(void)state;
	for (unsigned long i = 0; i < 30; i++)
		write_pages(p + (i << 19) * PAGE, 1);
	assert_int_equal(fl_madvise(p + (1UL << 23) * PAGE, (5UL << 19) * PAGE, MADV_PAGEOUT), 0);
	assert_pages(p, (struct pages){.private_dirty = 25, .anonymous = 25, .swap = 5});
	assert_int_equal(fl_munmap(p, PAGE << 24), 0);
}

TEST(figures_of_pages_freed_lazily)
{
	char *p = map_pages(-1, 100, RW, MAP_PRIVATE | MAP_ANONYMOUS);

	(void)state;
	write_pages(p, 20);
	assert_int_equal(fl_madvise(p, 12 * PAGE, MADV_FREE), 0);
	assert_pages(p, (struct pages){.private_clean = 12, .private_dirty = 8, .anonymous = 20, .lazy_free = 12});
	write_pages(p, 5);
	assert_pages(p, (struct pages){.private_clean = 7, .private_dirty = 13, .anonymous = 20, .lazy_free = 7});
	assert_int_equal(fl_munmap(p, 100 * PAGE), 0);
}

TEST(locked_is_the_share_of_locked_mappings)
{
	struct fixture *f = *state;
	char *p = map_pages(f->fd, 20, PROT_READ, MAP_SHARED), *q = map_pages(f->fd, 20, PROT_READ, MAP_SHARED);

	assert_int_equal(fl_mlock(p, 8 * PAGE), 0);
	assert_kilobytes(p, "Size", 32);
	assert_kilobytes(p, "Rss", 32);
	assert_kilobytes(p, "Locked", 16);
	assert_kilobytes(p + 8 * PAGE, "Locked", 0);
	assert_kilobytes(q, "Locked", 0);
	assert_int_equal(fl_munmap(q, 20 * PAGE), 0);
	assert_kilobytes(p, "Locked", 32);
	assert_int_equal(fl_munmap(p, 20 * PAGE), 0);
}

/* What the kernel maps itself has the kernel's figures. */
TEST(figures_of_a_file_in_memory)
{
	static const char *const fields[] = {"KernelPageSize", "Rss",           "Pss",        "Pss_Dirty", "Shared_Clean",   "Shared_Dirty",
					     "Private_Clean",  "Private_Dirty", "Referenced", "Anonymous", "ShmemPmdMapped", "THPeligible"};
	int fd = memfd_create("in memory", 0);
	char *p, *q, *ours, *kernels;

	(void)state;
	assert_int_equal(ftruncate(fd, 64 * PAGE), 0);
	p = map_pages(fd, 64, RW, MAP_SHARED);
	q = map_pages(fd, 64, RW, MAP_PRIVATE);
	write_pages(p + 5 * PAGE, 9);
	read_pages(q, 20);
	write_pages(q, 3);
	ours = our_text(fl_smaps);
	kernels = kernel_text("/proc/self/smaps");
	assert_true(kilobytes(ours, p, "Rss") >= 36);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		assert_int_equal(kilobytes(ours, p, fields[i]), kilobytes(kernels, p, fields[i]));
		assert_int_equal(kilobytes(ours, q, fields[i]), kilobytes(kernels, q, fields[i]));
	}
	free(ours);
	free(kernels);
	assert_int_equal(fl_munmap(p, 64 * PAGE), 0);
	assert_int_equal(fl_munmap(q, 64 * PAGE), 0);
	close(fd);
}

/* ---- One line or several ---- */

static unsigned count_lines(int (*show)(int fd))
{
	char *text = our_text(show);
	unsigned n = 0;

	for (const char *s = text; *s; s = next_line(s))
		n += is_header(s);
	free(text);
	return n;
}

TEST(what_only_faultline_tells_apart_is_one_line)
{
	char *p = fl_mmap(NULL, 16 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct fl_stats st = {.size = sizeof st};

	(void)state;
	assert_int_equal(fl_mprotect(p, 8 * PAGE, PROT_READ), 0);
	write_pages(p + 8 * PAGE, 8);
	assert_int_equal(fl_mprotect(p, 8 * PAGE, RW), 0);
	write_pages(p, 8);
	if (fl_madvise(p + 4 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0) {
		assert_int_equal(fl_stats(&st), 0);
		assert_true(st.mappings > 1);
	}
	assert_int_equal(count_lines(fl_maps), 1);
	assert_int_equal(count_lines(fl_smaps), 1);
	assert_kilobytes(p, "Rss", st.mappings > 1 ? 60 : 64);
	assert_int_equal(fl_munmap(p, 16 * PAGE), 0);
}

TEST(nothing_mapped_is_nothing_written)
{
	(void)state;
	assert_int_equal(count_lines(fl_maps), 0);
	assert_int_equal(count_lines(fl_smaps), 0);
}

static fl_space *space;

static int space_maps(int fd)
{
	return fl_space_maps(space, fd);
}

static int space_smaps(int fd)
{
	return fl_space_smaps(space, fd);
}

/* A space shows its own mappings; a page that another space has too is shared. */
TEST(each_space_has_its_own)
{
	struct fixture *f = *state;
	char *p = map_pages(f->fd, 10, PROT_READ, MAP_SHARED), *q, *text;

	space = fl_space_create(NULL);
	assert_non_null(space);
	q = fl_space_mmap(space, NULL, 4 * PAGE, PROT_READ, MAP_SHARED, f->fd, 0);
	assert_ptr_not_equal(q, MAP_FAILED);
	read_pages(p, 10);
	assert_int_equal(count_lines(fl_maps), 1);
	assert_int_equal(count_lines(space_maps), 1);
	assert_pages(p, (struct pages){.shared_clean = 4, .private_clean = 6});
	text = our_text(space_smaps);
	assert_int_equal(kilobytes(text, q, "Shared_Clean"), 16);
	free(text);
	assert_int_equal(fl_space_destroy(space), 0);
	assert_int_equal(fl_munmap(p, 10 * PAGE), 0);
}

/* ---- The descriptor ---- */

TEST(errors_of_the_descriptor)
{
	struct fixture *f = *state;
	char *p = map_pages(f->fd, 10, PROT_READ, MAP_SHARED);
	int pipes[2], full = open("/dev/full", O_WRONLY), reader = open(f->path, O_RDONLY), path = open(f->path, O_PATH);

	assert_fails(fl_maps(-1) == -1, EBADF);
	assert_fails(fl_smaps(-1) == -1, EBADF);
	assert_fails(fl_maps(reader) == -1, EBADF);
	assert_fails(fl_maps(path) == -1, EBADF);
	assert_fails(fl_smaps(full) == -1, ENOSPC);
	assert_int_equal(pipe(pipes), 0);
	close(pipes[0]);
	signal(SIGPIPE, SIG_IGN);
	assert_fails(fl_maps(pipes[1]) == -1, EPIPE);
	signal(SIGPIPE, SIG_DFL);
	close(pipes[1]);
	close(full);
	close(reader);
	close(path);
	assert_int_equal(fl_munmap(p, 10 * PAGE), 0);
	assert_fails(fl_maps(-1) == -1, EBADF);
}

#define MANY 600

static int write_end;

static void *show_all(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)fl_smaps(write_end);
}

static void on_usr1(int sig)
{
	(void)sig;
}

static void wait_until_full(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	while (poll(&p, 1, 0) > 0)
		usleep(1000);
}

/* Nobody waits for a reader that does not read, and signals are delivered meanwhile, which the call survives. */
TEST(a_full_pipe_holds_up_nobody_else)
{
	struct fixture *f = *state;
	struct sigaction a = {.sa_handler = on_usr1};
	int pipes[2];
	pthread_t t;
	char *p, *text;
	unsigned n = 0;
	void *ret;

	p = map_pages(f->fd, MANY, PROT_READ, MAP_SHARED);
	for (unsigned i = 0; i < MANY; i += 2)
		assert_int_equal(fl_mprotect(p + i * PAGE, PAGE, PROT_NONE), 0);
	sigaction(SIGUSR1, &a, NULL);
	assert_int_equal(pipe(pipes), 0);
	write_end = pipes[1];
	assert_int_equal(pthread_create(&t, NULL, show_all, NULL), 0);
	wait_until_full(write_end);
	for (int i = 0; i < 10; i++) {
		char *q = map_pages(f->fd, 10, RW, MAP_PRIVATE);

		write_pages(q, 10);
		pthread_kill(t, SIGUSR1);
		assert_int_equal(fl_munmap(q, 10 * PAGE), 0);
		usleep(1000);
	}
	fcntl(pipes[0], F_SETPIPE_SZ, 1 << 20); /* room for the rest */
	pthread_join(t, &ret);
	assert_null(ret);
	close(write_end);
	text = read_all(pipes[0]);
	for (const char *s = text; *s; s = next_line(s))
		n += is_header(s);
	assert_int_equal(n, MANY);
	free(text);
	assert_int_equal(fl_munmap(p, MANY * PAGE), 0);
}

/* ---- What the kernel would put into a core dump ---- */

/* Of the kernel's mappings in [start, end): bytes of private and anonymous ones that are in dumps, or -1 where one is of a memory file. */
static long dumped(uint64_t start, uint64_t end)
{
	char *text = read_all(open("/proc/self/smaps", O_RDONLY)), *save;
	unsigned long s = 0, e = 0, inode = 0, from, to;
	long bytes = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%lx-%lx %*s %*x %*x:%*x %lu", &from, &to, &inode) == 3) {
			s = from;
			e = to;
		}
		if (strncmp(line, "VmFlags:", 8) || s < start || e > end || strstr(line, " dd"))
			continue;
		bytes = inode || bytes < 0 ? -1 : bytes + (long)(e - s);
	}
	free(text);
	return bytes;
}

#define OWN_START (42UL << 40) /* src/util/own.c */
#define OWN_END (59UL << 40)

TEST(core_dumps_have_no_files)
{
	struct fixture *f = *state;
	char *at = (char *)OUR_BASE, *p;
	uint64_t end = OUR_BASE + 2 * REGION;

	p = fl_mmap(at, REGION / 2, RW, MAP_SHARED | MAP_FIXED, f->fd, 0);
	assert_ptr_equal(p, at);
	assert_int_equal(dumped(OUR_BASE, end), 0);
	p[0] = 1;
	assert_ptr_equal(fl_mremap(p, REGION / 2, REGION, 0), at);
	assert_int_equal(dumped(OUR_BASE, end), 0);
	p = fl_mmap(at + REGION, REGION, PROT_READ, MAP_SHARED | MAP_FIXED, f->fd, 0); /* other frames */
	assert_ptr_equal(p, at + REGION);
	assert_int_equal(dumped(OUR_BASE, end), 0);
	assert_int_equal(fl_madvise(p, REGION, MADV_DONTDUMP), 0);
	assert_int_equal(fl_madvise(p, REGION, MADV_DODUMP), 0);
	assert_int_equal(dumped(OUR_BASE, end), 0);
	assert_ptr_equal(fl_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at), at);
	assert_int_equal(dumped(OUR_BASE, end), 0);

	p = fl_mmap(at, REGION, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); /* this is the program's */
	assert_int_equal(dumped(OUR_BASE, OUR_BASE + REGION), REGION);
	assert_int_equal(fl_madvise(p, REGION, MADV_DONTDUMP), 0);
	assert_int_equal(dumped(OUR_BASE, OUR_BASE + REGION), 0);
	assert_int_equal(fl_munmap(at, 2 * REGION), 0);
}

/* The engine's own, where it keeps apart from the program. */
TEST(core_dumps_have_no_tables)
{
	(void)state;
	assert_int_equal(dumped(OWN_START, OWN_END), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(anonymous_memory_as_the_kernel_shows_it),
		RUN(dev_zero_as_the_kernel_shows_it),
		RUN(files_as_the_kernel_shows_them),
		RUN(a_file_open_for_reading_only),
		RUN(advice_and_locks_as_the_kernel_shows_them),
		RUN(a_file_in_memory_as_the_kernel_shows_it),
		RUN(private_pages_of_files_left_to_the_kernel),
		RUN(a_stack_takes_no_huge_pages),
		RUN(the_path_is_the_one_of_now),
		RUN(figures_of_anonymous_memory_are_the_kernels),
		RUN(figures_of_a_shared_file),
		RUN(figures_of_a_private_file),
		RUN(figures_of_pages_in_swap),
		RUN(figures_of_a_large_mapping),
		RUN(figures_of_pages_freed_lazily),
		RUN(locked_is_the_share_of_locked_mappings),
		RUN(figures_of_a_file_in_memory),
		RUN(what_only_faultline_tells_apart_is_one_line),
		RUN(nothing_mapped_is_nothing_written),
		RUN(each_space_has_its_own),
		RUN(errors_of_the_descriptor),
		RUN(a_full_pipe_holds_up_nobody_else),
		RUN(core_dumps_have_no_files),
		RUN(core_dumps_have_no_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
