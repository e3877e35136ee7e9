/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/self/maps and its other names: the program finds in them what it has mapped; in status how much of it is locked. */
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "check.h"

#define SIZE (2UL << 20)

static char *text;
static size_t text_size;

/* All of an open file, which is closed, as a string. */
static void take(int fd)
{
	size_t len = 0;
	ssize_t n;

	CHECK(fd >= 0);
	if (!text)
		text = malloc(text_size = 1 << 20);
	while ((n = read(fd, text + len, text_size - 1 - len)) > 0)
		len += (size_t)n;
	CHECK(n == 0 && len > 100 && len < text_size - 1);
	text[len] = 0;
	close(fd);
}

static void take_path(const char *path)
{
	take(open(path, O_RDONLY));
}

/* The line that begins at p, in what was taken. */
static const char *line_of(const void *p)
{
	char key[32];
	const char *at = text;
	int n = snprintf(key, sizeof key, "%lx-", (unsigned long)p);

	while (at && strncmp(at, key, (size_t)n)) {
		at = strchr(at, '\n');
		at += at != NULL;
	}
	CHECK(at && *at);
	return at;
}

/* [p, p + len) is shown as a mapping of the file from offset on. */
static void shown(const char *p, size_t len, const char *perms, size_t offset, int fd)
{
	unsigned long start, end, off, ino;
	unsigned major_nr, minor_nr;
	char got[8], path[4096], link[64], want[4096] = "";
	struct stat st;

	CHECK(!fstat(fd, &st));
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	CHECK(readlink(link, want, sizeof want - 1) > 0);
	CHECK(sscanf(line_of(p), "%lx-%lx %7s %lx %x:%x %lu %4095[^\n]", &start, &end, got, &off, &major_nr, &minor_nr, &ino, path) == 8);
	CHECK(start == (unsigned long)p && end == start + len && !strcmp(got, perms) && off == offset);
	CHECK(makedev(major_nr, minor_nr) == st.st_dev && ino == st.st_ino && !strcmp(path, want));
}

/* Addresses rise, and no two lines overlap. */
static void in_order(void)
{
	unsigned long before = 0, start, end;

	for (char *line = text; *line; line = strchr(line, '\n') + 1) {
		if (*line >= 'A' && *line <= 'Z')
			continue;
		CHECK(sscanf(line, "%lx-%lx", &start, &end) == 2 && start >= before && end > start);
		before = end;
	}
}

static void every_name(void)
{
	int fd = pattern_file(SIZE), dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), pid[64], tid[64];
	const char *names[] = {"/proc/self/maps", "/proc/thread-self/maps", pid, tid, "/proc/self/smaps"};

	snprintf(pid, sizeof pid, "/proc/%d/maps", getpid());
	snprintf(tid, sizeof tid, "/proc/self/task/%d/maps", getpid());
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		take_path(names[i]);
		shown(p, SIZE, "rw-s", 0, fd);
		in_order();
		CHECK(!strstr(text, "faultline:"));
	}
	take(openat(dir, "maps", O_RDONLY));
	shown(p, SIZE, "rw-s", 0, fd);
	take((int)syscall(SYS_openat, dir, "maps", O_RDONLY, 0));
	shown(p, SIZE, "rw-s", 0, fd);
	close(dir);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static void streams(void)
{
	int fd = pattern_file(SIZE), found = 0;
	char *p = map_file(fd, SIZE, PROT_READ, MAP_SHARED), line[5000], key[32];
	FILE *f = fopen("/proc/self/maps", "re");

	snprintf(key, sizeof key, "%lx-", (unsigned long)p);
	CHECK(f && (fcntl(fileno(f), F_GETFD) & FD_CLOEXEC));
	while (fgets(line, sizeof line, f))
		found += !strncmp(line, key, strlen(key)) && strstr(line, "check.");
	CHECK(found == 1);
	rewind(f);
	CHECK(fgets(line, sizeof line, f));
	fclose(f);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* Parts, protections, offsets, memory without a file. */
static void parts(void)
{
	int fd = pattern_file(SIZE);
	char *p = mmap(NULL, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 8 * PAGE);
	char *a = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && a != MAP_FAILED);
	CHECK(!mprotect(p + 4 * PAGE, 4 * PAGE, PROT_NONE) && !munmap(p + 12 * PAGE, PAGE));
	p[0] = a[0] = 1;
	take_path("/proc/self/maps");
	shown(p, 4 * PAGE, "rw-p", 8 * PAGE, fd);
	shown(p + 4 * PAGE, 4 * PAGE, "---p", 12 * PAGE, fd);
	shown(p + 8 * PAGE, 4 * PAGE, "rw-p", 16 * PAGE, fd);
	shown(p + 13 * PAGE, 7 * PAGE, "rw-p", 21 * PAGE, fd);
	CHECK(strstr(line_of(a), "/dev/zero (deleted)"));
	in_order();
	take_path("/proc/self/smaps");
	shown(p, 4 * PAGE, "rw-p", 8 * PAGE, fd);
	CHECK(!strncmp(strchr(line_of(p), '\n') + 1, "Size:                 16 kB\n", 28));
	in_order();
	CHECK(!munmap(p, 20 * PAGE) && !munmap(a, SIZE));
	close(fd);
}

static int has_line(const char *p)
{
	char key[32];

	snprintf(key, sizeof key, "%lx-", (unsigned long)p);
	return strstr(text, key) != NULL;
}

/* Read again from the start it tells of now, also when it was opened before anything was mapped. */
static void read_again(void)
{
	int maps = open("/proc/self/maps", O_RDONLY), fd = pattern_file(SIZE), lines[2] = {0};
	FILE *f = fopen("/proc/self/maps", "re");
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), line[5000];

	CHECK(maps >= 0 && f && lseek(maps, 0, SEEK_SET) == 0);
	take(dup(maps));
	shown(p, SIZE, "rw-s", 0, fd);
	CHECK(!mprotect(p, SIZE, PROT_READ));
	CHECK(lseek(maps, 0, SEEK_SET) == 0);
	take(dup(maps));
	shown(p, SIZE, "r--s", 0, fd);
	for (int turn = 0; turn < 2; turn++) {
		rewind(f);
		while (fgets(line, sizeof line, f))
			lines[turn] += strstr(line, "check.") != NULL;
		if (!turn)
			CHECK(!munmap(p, SIZE));
	}
	CHECK(lines[0] == 1 && lines[1] == 0);
	memset(text, 0, text_size);
	CHECK(pread(maps, text, text_size - 1, 0) > 100 && !has_line(p));
	fclose(f);
	close(maps);
	close(fd);
}

/* One mapping, asked for by an address (Linux 6.11). */
struct query {
	uint64_t size, flags, addr;
	uint64_t start, end, permissions, page_size, offset, inode;
	uint32_t major_nr, minor_nr, name_size, build_id_size;
	uint64_t name, build_id;
};

#define QUERY _IOWR('f', 17, struct query)

static struct query asked(int maps, const void *addr, uint64_t flags, char *name, size_t size)
{
	struct query q = {.size = sizeof q, .flags = flags, .addr = (uintptr_t)addr, .name = (uintptr_t)name, .name_size = (uint32_t)size};

	CHECK(!ioctl(maps, QUERY, &q));
	return q;
}

static void refused(int maps, const void *addr, uint64_t flags, size_t name_size, int error)
{
	char name[8];
	struct query q = {.size = sizeof q, .flags = flags, .addr = (uintptr_t)addr, .name_size = (uint32_t)name_size};

	q.name = name_size ? (uintptr_t)name : 0;
	FAILS(error, ioctl(maps, QUERY, &q));
}

static int kernel_answers(void)
{
	struct utsname u;
	unsigned major_nr, minor_nr;

	CHECK(!uname(&u) && sscanf(u.release, "%u.%u", &major_nr, &minor_nr) == 2);
	return major_nr > 6 || (major_nr == 6 && minor_nr >= 11);
}

static void questions(void)
{
	int maps = open("/proc/self/maps", O_RDONLY), smaps = open("/proc/self/smaps", O_RDONLY), fd = pattern_file(SIZE);
	char *area = mmap(NULL, 4 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), name[4096], want[4096] = "", link[64];
	char *p = mmap(area + SIZE, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	struct query q = {.size = sizeof q, .addr = (uintptr_t)questions};
	struct stat st;

	CHECK(p == area + SIZE && !fstat(fd, &st));
	if (!kernel_answers()) {
		CHECK(!munmap(area, 4 * SIZE) && !close(maps) && !close(smaps) && !close(fd));
		return;
	}
	CHECK(!ioctl(maps, QUERY, &q));
	CHECK(q.start <= (uintptr_t)questions && q.end > (uintptr_t)questions && (q.permissions & 4));
	q = asked(maps, p + PAGE, 0, name, sizeof name);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	CHECK(readlink(link, want, sizeof want - 1) > 0 && !strcmp(name, want) && q.name_size == strlen(want) + 1);
	CHECK(q.start == (uintptr_t)p && q.end == (uintptr_t)p + SIZE && q.permissions == (1 | 2 | 8) && q.page_size == PAGE);
	CHECK(q.offset == 0 && q.inode == st.st_ino && makedev(q.major_nr, q.minor_nr) == st.st_dev);
	q = asked(maps, area, 0, NULL, 0); /* the kernel's */
	CHECK(q.start <= (uintptr_t)area && q.end == (uintptr_t)p && q.permissions == 0 && q.inode == 0);
	q = asked(maps, area, 0x10 | 0x20, NULL, 0); /* the next with a file */
	CHECK(q.start == (uintptr_t)p);
	q = asked(maps, area, 0x10 | 0x02 | 0x08, NULL, 0); /* the next that is shared and may be written */
	CHECK(q.start == (uintptr_t)p);
	CHECK(!munmap(p, PAGE));
	q = asked(maps, p, 0x10, NULL, 0);
	CHECK(q.start == (uintptr_t)p + PAGE && q.offset == PAGE);
	refused(maps, p, 0, 0, ENOENT);
	refused(maps, p + PAGE, 0x04, 0, ENOENT);
	refused(maps, p + PAGE, 0, 8, ENAMETOOLONG);
	refused(maps, p + PAGE, 0x40, 0, EINVAL);
	refused(smaps, p + PAGE, 0, 0, ENOTTY);
	CHECK(!munmap(area, 4 * SIZE));
	q = asked(maps, (void *)questions, 0, NULL, 0);
	CHECK(q.start <= (uintptr_t)questions && q.end > (uintptr_t)questions);
	close(maps);
	close(smaps);
	close(fd);
}

/* It is a descriptor like another. */
static void descriptor(void)
{
	int fd = pattern_file(SIZE), lowest = dup(fd), maps;
	char *p = map_file(fd, SIZE, PROT_READ, MAP_SHARED), byte;

	close(lowest);
	maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	CHECK(maps == lowest && fcntl(maps, F_GETFD) == FD_CLOEXEC && (fcntl(maps, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(lseek(maps, 0, SEEK_CUR) == 0 && read(maps, &byte, 1) == 1 && lseek(maps, 0, SEEK_SET) == 0);
	FAILS(EBADF, write(maps, "x", 1));
	take(maps);
	shown(p, SIZE, "r--s", 0, fd);
	maps = open("/proc/self/maps", O_RDONLY);
	CHECK(maps == lowest && fcntl(maps, F_GETFD) == 0);
	close(maps);
	maps = open("/proc/1/maps", O_RDONLY); /* another process's */
	close(maps);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static unsigned long locked_kib(void)
{
	const char *line;

	take_path("/proc/self/status");
	line = strstr(text, "\nVmLck:\t");
	CHECK(line && strstr(line, " kB\n") == strchr(line + 1, '\n') - 3 && strstr(text, "\nThreads:"));
	return strtoul(line + 8, NULL, 10);
}

/* A file, memory, both at once; a part; none. */
static void locked(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ, MAP_SHARED), *a;
	unsigned long before = locked_kib();

	a = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED && !mlock(p, 4 * PAGE) && locked_kib() == before + 16);
	CHECK(!mlock(a, 2 * PAGE) && locked_kib() == before + 24);
	CHECK(!mlock(p, 4 * PAGE) && locked_kib() == before + 24);
	CHECK(!munlock(p, PAGE) && locked_kib() == before + 20);
	CHECK(!munmap(p, SIZE) && locked_kib() == before + 8);
	CHECK(!munmap(a, SIZE) && locked_kib() == before);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"every_name", every_name}, {"streams", streams},       {"parts", parts},
						 {"descriptor", descriptor}, {"read_again", read_again}, {"questions", questions},
						 {"locked", locked}};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
