/* SPDX-License-Identifier: Apache-2.0 */
/* Times that are set on a file after stores to a mapping of it stay as they are set; a later store changes them. */
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <utime.h>

#include "check.h"

#define SIZE (2UL << 20)
#define WHEN 1000000000L

static const struct timespec spec[2] = {{WHEN, 0}, {WHEN, 0}};
static const struct timeval val[2] = {{WHEN, 0}, {WHEN, 0}};
static const struct utimbuf buf = {WHEN, WHEN};

static char name[] = "times.file";
static int fd;

static int by_futimens(void)
{
	return futimens(fd, spec);
}

static int by_futimes(void)
{
	return futimes(fd, val);
}

static int by_utimensat(void)
{
	return utimensat(AT_FDCWD, name, spec, 0);
}

static int by_lutimensat(void)
{
	return utimensat(AT_FDCWD, name, spec, AT_SYMLINK_NOFOLLOW);
}

static int by_empty_path(void)
{
	return utimensat(fd, "", spec, AT_EMPTY_PATH);
}

static int by_futimesat(void)
{
	return futimesat(AT_FDCWD, name, val);
}

static int by_futimesat_of_fd(void)
{
	return futimesat(fd, NULL, val);
}

static int by_utimes(void)
{
	return utimes(name, val);
}

static int by_lutimes(void)
{
	return lutimes(name, val);
}

static int by_utime(void)
{
	return utime(name, &buf);
}

static int by_number(void)
{
	return (int)syscall(SYS_utimensat, AT_FDCWD, name, spec, 0);
}

static int by_number_of_fd(void)
{
	return (int)syscall(SYS_utimensat, fd, NULL, spec, 0);
}

static int by_old_numbers(void)
{
	return (int)(syscall(SYS_utime, name, &buf) | syscall(SYS_utimes, name, val) | syscall(SYS_futimesat, AT_FDCWD, name, val));
}

static int (*const ways[])(void) = {
	by_futimens, by_futimes, by_utimensat, by_lutimensat, by_empty_path,   by_futimesat,   by_futimesat_of_fd,
	by_utimes,   by_lutimes, by_utime,     by_number,     by_number_of_fd, by_old_numbers,
};

static bool is_set(void)
{
	struct stat st;

	CHECK(!fstat(fd, &st));
	return st.st_mtim.tv_sec == WHEN && !st.st_mtim.tv_nsec;
}

static char *map_named(void)
{
	char *p;

	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	return p;
}

static void close_named(void)
{
	CHECK(!close(fd) && !unlink(name));
}

static void kept(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		char *p = map_named();

		memset(p, 1, SIZE);
		CHECK(!is_set() && !ways[i]() && is_set());
		CHECK(!msync(p, SIZE, MS_SYNC) && is_set());
		CHECK(!munmap(p, SIZE) && is_set());
		close_named();
	}
}

static void stored_later(void)
{
	char *p = map_named();

	memset(p, 1, SIZE);
	CHECK(!futimens(fd, spec) && !msync(p, SIZE, MS_SYNC) && is_set());
	p[SIZE / 2] = 2;
	CHECK(!msync(p, SIZE, MS_SYNC) && !is_set());
	CHECK(!utimensat(AT_FDCWD, name, NULL, 0) && !munmap(p, SIZE));
	close_named();
}

/* Times in memory that is not there, as a path may be. */
static void in_memory_of_files(void)
{
	char *p = map_named(), *q;
	int other = open("times.other", O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(other >= 0 && !ftruncate(other, SIZE) && pwrite(other, spec, sizeof spec, 0) == sizeof spec);
	CHECK(pwrite(other, val, sizeof val, PAGE) == sizeof val && pwrite(other, &buf, sizeof buf, 2 * PAGE) == sizeof buf);
	CHECK(pwrite(other, name, sizeof name, 100 * PAGE) == sizeof name);
	for (int way = 0; way < 5; way++) {
		const char *path;

		q = map_file(other, SIZE, PROT_READ, MAP_PRIVATE);
		path = q + 100 * PAGE;
		p[0]++;
		CHECK(!futimens(fd, NULL) && !is_set());
		CHECK(!(way == 0   ? futimens(fd, (struct timespec *)q)
			: way == 1 ? utimensat(AT_FDCWD, path, (struct timespec *)q, 0)
			: way == 2 ? futimes(fd, (struct timeval *)(q + PAGE))
			: way == 3 ? utimes(path, (struct timeval *)(q + PAGE))
				   : utime(path, (struct utimbuf *)(q + 2 * PAGE))));
		CHECK(is_set() && !munmap(q, SIZE));
	}
	FAILS(ENOENT, utimes("times.none", val));
	FAILS(EBADF, futimens(-1, spec));
	CHECK(!munmap(p, SIZE) && is_set() && !close(other) && !unlink("times.other"));
	close_named();
}

/* What another process has stored counts too. */
static void of_others(void)
{
	char *p = map_named();
	int ready[2], go[2], status;
	char c;

	CHECK(!pipe(ready) && !pipe(go));
	if (!fork()) {
		memset(p + SIZE / 2, 3, SIZE / 2);
		CHECK(write(ready[1], "r", 1) == 1 && read(go[0], &c, 1) == 1);
		CHECK(!munmap(p, SIZE));
		exit(0);
	}
	CHECK(read(ready[0], &c, 1) == 1 && !futimens(fd, spec) && write(go[1], "g", 1) == 1);
	CHECK(wait(&status) > 0 && !status && is_set());
	CHECK(p[SIZE - 1] == 3 && !munmap(p, SIZE) && is_set());
	close_named();
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"kept", kept}, {"stored_later", stored_later}, {"in_memory_of_files", in_memory_of_files}, {"of_others", of_others}};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
