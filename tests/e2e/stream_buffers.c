/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams whose buffers are mapped memory that is not in memory when libc reads into it, or writes from it: given to setvbuf(3), or got by libc from a malloc(3)
 * that is the program's own. Directories that are read into such memory.
 */
#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <wchar.h>

#include "fresh.h"

#define BYTES (3 * PAGE)

static bool malloc_is_ours;

#ifndef __SANITIZE_ADDRESS__
void *__libc_malloc(size_t len);
void *__libc_realloc(void *p, size_t len);
void __libc_free(void *p);

/* For a stream libc asks for as much as st_blksize says, for a directory for more: what it has of its own there ends with the page. */
__attribute__((visibility("default"))) void *malloc(size_t len)
{
	if (!malloc_is_ours || len < PAGE || len > ROOM / 2)
		return __libc_malloc(len);
	return (char *)fresh() + (len == PAGE ? 0 : PAGE - 48);
}

static bool is_of_map(const void *p)
{
	return map && (const char *)p >= map && (const char *)p < map + ROOMS * ROOM;
}

__attribute__((visibility("default"))) void free(void *p)
{
	if (!is_of_map(p))
		__libc_free(p);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t len)
{
	void *q;

	if (!is_of_map(p))
		return __libc_realloc(p, len);
	q = __libc_malloc(len);
	return q ? memcpy(q, p, len < ROOM / 2 ? len : ROOM / 2) : NULL;
}
#endif

static FILE *open_stream(int fd, const char *mode, bool given)
{
	FILE *f;

	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	malloc_is_ours = !given;
	f = fdopen(dup(fd), mode);
	CHECK(f && (!given || !setvbuf(f, fresh(), _IOFBF, PAGE)));
	return f;
}

/* To be used before what open_stream() has got ends. */
static void close_stream(FILE *f)
{
	CHECK(!fclose(f));
	malloc_is_ours = false;
}

static void leave_memory(void)
{
	CHECK(!msync(map, ROOMS * ROOM, MS_SYNC) && !madvise(map, ROOMS * ROOM, MADV_DONTNEED));
}

/* ---- Reading ---- */

typedef size_t read_fn(FILE *f, char *to);

static size_t by_fread(FILE *f, char *to)
{
	size_t done = 0;

	while (done < BYTES && fread(to + done, 1, 100, f) == 100)
		done += 100;
	return done;
}

static size_t by_getc(FILE *f, char *to)
{
	size_t done = 0;

	for (int c; done < BYTES && (c = getc(f)) != EOF;)
		to[done++] = (char)c;
	return done;
}

static size_t by_getc_unlocked(FILE *f, char *to)
{
	size_t done = 0;

	for (int c; done < BYTES && (c = getc_unlocked(f)) != EOF;)
		to[done++] = (char)c;
	return done;
}

static size_t by_fgets(FILE *f, char *to)
{
	size_t done = 0;

	while (done < BYTES && fgets(to + done, 1000, f))
		done += strlen(to + done);
	return done;
}

static size_t by_getline(FILE *f, char *to)
{
	char *line = NULL;
	size_t done = 0, room = 0;
	ssize_t n;

	while (done < BYTES && (n = getline(&line, &room, f)) > 0) {
		memcpy(to + done, line, (size_t)n);
		done += (size_t)n;
	}
	free(line);
	return done;
}

static size_t by_fscanf(FILE *f, char *to)
{
	size_t done = 0;

	while (done + 63 <= BYTES && fscanf(f, "%63c", to + done) == 1)
		done += 63;
	return done;
}

static size_t by_fgetwc(FILE *f, char *to)
{
	size_t done = 0;

	for (wint_t c; done < BYTES && (c = fgetwc(f)) != WEOF;)
		to[done++] = (char)c;
	return done;
}

static size_t by_fgetws(FILE *f, char *to)
{
	wchar_t line[100];
	size_t done = 0;

	while (done < BYTES && fgetws(line, ARRAY_SIZE(line), f))
		for (size_t i = 0; line[i]; i++)
			to[done++] = (char)line[i];
	return done;
}

/* Lines of 64 bytes. */
static int lines(char *bytes)
{
	int fd = pattern_file(PAGE);

	for (size_t i = 0; i < BYTES; i++)
		bytes[i] = (char)(i % 64 == 63 ? '\n' : 'a' + i / 64 % 26);
	CHECK(pwrite(fd, bytes, BYTES, 0) == (ssize_t)BYTES);
	return fd;
}

static void read_by(read_fn *fn, bool given)
{
	char expected[BYTES], got[BYTES + 1000];
	int fd = lines(expected);
	FILE *f = open_stream(fd, "r", given);
	size_t n = fn(f, got);

	CHECK(n > BYTES - 100 && n <= BYTES && !memcmp(got, expected, n));
	close_stream(f);
	CHECK(!close(fd));
}

static void reading(void)
{
	read_fn *const fns[] = {by_fread, by_getc, by_getc_unlocked, by_fgets, by_getline, by_fscanf, by_fgetwc, by_fgetws};

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
		read_by(fns[i], true);
		read_by(fns[i], false);
	}
}

/* ---- Writing: what is pending leaves memory before it is written ---- */

typedef void write_fn(FILE **f);

static void by_fflush(FILE **f)
{
	CHECK(!fflush(*f));
}

static void by_fflush_all(FILE **f)
{
	(void)f;
	CHECK(!fflush(NULL));
}

static void by_fclose(FILE **f)
{
	close_stream(*f);
	*f = NULL;
}

static void by_fseek(FILE **f)
{
	CHECK(!fseek(*f, 7, SEEK_SET));
}

static void by_setvbuf(FILE **f)
{
	CHECK(!setvbuf(*f, NULL, _IONBF, 0));
}

static void by_fwrite(FILE **f)
{
	static const char more[PAGE];

	CHECK(fwrite(more, 1, PAGE, *f) == PAGE);
}

static void by_putc(FILE **f)
{
	for (size_t i = 0; i < PAGE; i++)
		CHECK(putc('x', *f) == 'x');
}

static void by_fprintf(FILE **f)
{
	CHECK(fprintf(*f, "%*d", (int)PAGE, 5) == (int)PAGE);
}

static void by_fputwc(FILE **f)
{
	for (size_t i = 0; i < 2 * PAGE; i++)
		CHECK(fputwc(L'x', *f) == L'x');
}

static void by_fwprintf(FILE **f)
{
	CHECK(fwprintf(*f, L"%*d", 2 * (int)PAGE, 5) == 2 * (int)PAGE);
}

static void write_by(write_fn *fn, bool given, bool wide)
{
	int fd = pattern_file(PAGE);
	FILE *f = open_stream(fd, "r+", given);
	char got[100];

	CHECK(wide ? fputws(L"pending", f) >= 0 : fputs("pending", f) >= 0);
	leave_memory();
	fn(&f);
	CHECK(pread(fd, got, sizeof got, 0) == sizeof got && !memcmp(got, "pending", 7));
	if (f)
		close_stream(f);
	CHECK(!close(fd));
}

static void writing(void)
{
	write_fn *const fns[] = {by_fflush, by_fflush_all, by_fclose, by_fseek, by_setvbuf, by_fwrite, by_putc, by_fprintf};

	write_fn *const wide_fns[] = {by_fflush, by_fflush_all, by_fclose, by_fseek, by_fputwc, by_fwprintf};

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
		write_by(fns[i], true, false);
		write_by(fns[i], false, false);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wide_fns); i++) {
		write_by(wide_fns[i], true, true);
		write_by(wide_fns[i], false, true);
	}
}

/* exit(3), and popen(3) with its end. */
static void ending(void)
{
	int fd = pattern_file(PAGE), status;
	pid_t child = fork();
	char got[7];
	FILE *f;

	if (!child) {
		f = open_stream(fd, "r+", true);
		CHECK(fputs("pending", f) >= 0);
		leave_memory();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
	CHECK(pread(fd, got, sizeof got, 0) == sizeof got && !memcmp(got, "pending", 7) && !close(fd));
	f = popen("read word && test \"$word\" = pending", "w");
	CHECK(f && !setvbuf(f, fresh(), _IOFBF, PAGE) && fputs("pending\n", f) >= 0);
	leave_memory();
	CHECK(!pclose(f));
}

static int count(void)
{
	DIR *dir = opendir("directory");
	int n = 0;

	CHECK(dir);
	while ((errno = 0, readdir(dir)))
		n++;
	CHECK(!errno && !closedir(dir));
	return n;
}

static void make_name(char *name, size_t room, int i)
{
	snprintf(name, room, "directory/%d", i);
}

/* More than what is read at a time. */
static void directories(void)
{
	char name[40];

	CHECK(!mkdir("directory", 0700));
	for (int i = 0; i < 3000; i++) {
		make_name(name, sizeof name, i);
		CHECK(!symlink("nowhere", name));
	}
	malloc_is_ours = true;
	CHECK(count() == 3002);
	malloc_is_ours = false;
	for (int i = 0; i < 3000; i++) {
		make_name(name, sizeof name, i);
		CHECK(!unlink(name));
	}
	CHECK(!rmdir("directory"));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"reading", reading}, {"writing", writing}, {"ending", ending}, {"directories", directories}};

	(void)argc;
	fresh_begin();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
