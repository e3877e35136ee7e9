/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wide streams of a file that is mapped: what either of them writes, the other reads. Of characters of one to four bytes, so that where a stream has come to in the
 * file is not known by their number.
 */
#include <locale.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <wchar.h>

#include "both.h"

static const wchar_t line[] = L"a\u00e9\u20ac\U0001d11e\n"; /* of 1, 2, 3, 4 bytes, and the end */
static const char bytes[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\n";

#define CHARS (ARRAY_SIZE(line) - 1)
#define BYTES (sizeof bytes - 1)
#define LINES 12000UL

/* Of so many lines those that the stream can no longer have. */
static void check_lines(const struct both *b, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		CHECK(!memcmp(b->map + at + i * BYTES, bytes, BYTES));
}

/* All lines, and what lay beside them: a store that has not been written before stays. */
static void check_written(struct both *b)
{
	check_lines(b, 0, LINES - 4 * __fbufsize(b->f) / BYTES);
	CHECK(!fflush(b->f));
	check_lines(b, 0, LINES);
	CHECK(b->map[LINES * BYTES] == '!');
	CHECK((uint8_t)b->map[LINES * BYTES + 1] == pattern(LINES * BYTES + 1));
	memset(b->map, '-', LINES * BYTES);
	rewind(b->f);
}

static void characters(void)
{
	static wint_t (*const put[])(wchar_t c, FILE * f) = {fputwc, putwc, fputwc_unlocked, putwc_unlocked};
	struct both b;

	open_both(&b, "r+");
	for (size_t i = 0; i < ARRAY_SIZE(put); i++) {
		b.map[LINES * BYTES] = '!';
		for (size_t n = 0; n < LINES * CHARS; n++)
			CHECK(put[i](line[n % CHARS], b.f) == (wint_t)line[n % CHARS]);
		check_written(&b);
	}
	close_both(&b);
}

static void strings(void)
{
	wchar_t *all = malloc((LINES * CHARS + 1) * sizeof *all);
	struct both b;

	for (size_t i = 0; i < LINES; i++)
		wcscpy(all + i * CHARS, line);
	open_both(&b, "r+");
	b.map[LINES * BYTES] = '!';
	CHECK(fputws(all, b.f) >= 0);
	check_written(&b);
	for (size_t i = 0; i < LINES; i++)
		CHECK(fputws_unlocked(line, b.f) >= 0);
	check_written(&b);
	setvbuf(b.f, NULL, _IOLBF, BUFSIZ);
	for (size_t i = 0; i < LINES / 10; i++) {
		CHECK(fputws(line, b.f) >= 0);
		check_lines(&b, i * BYTES, 1); /* at once */
	}
	close_both(&b);
	free(all);
}

__attribute__((noinline)) static int print(FILE *f, const wchar_t *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vfwprintf(f, fmt, ap);
	va_end(ap);
	return n;
}

static void formats(void)
{
	wchar_t *all = malloc((LINES * CHARS + 1) * sizeof *all);
	struct both b;

	for (size_t i = 0; i < LINES; i++)
		wcscpy(all + i * CHARS, line);
	open_both(&b, "r+");
	b.map[LINES * BYTES] = '!';
	CHECK(fwprintf(b.f, L"%ls", all) == LINES * CHARS);
	check_written(&b);
	for (size_t i = 0; i < LINES; i++)
		CHECK(print(b.f, L"%lc%ls", line[0], line + 1) == CHARS);
	check_written(&b);
	CHECK(fwprintf(b.f, L"%d%lc", 17, (wint_t)0) == 3 && !fflush(b.f) && !memcmp(b.map, "17\0-", 4));
	CHECK(print(b.f, L"") == 0);
	CHECK(print(b.f, L"%s", "\xff") < 0 && errno == EILSEQ);
	close_both(&b);
	free(all);
}

/* A string that is itself mapped, in the very file, and is not in memory. */
static void mapped_strings(void)
{
	size_t at = 1 << 20;
	struct both b;

	open_both(&b, "r+");
	b.map[LINES * BYTES] = '!';
	for (size_t i = 0; i < 1000; i++)
		wcscpy((wchar_t *)(b.map + at) + i * CHARS, line);
	for (size_t i = 0; i < LINES / 1000; i++) {
		CHECK(!msync(b.map + at, 1000 * sizeof line, MS_SYNC) && !madvise(b.map + at, 1000 * sizeof line, MADV_PAGEOUT));
		CHECK(i % 2 ? fputws((wchar_t *)(b.map + at), b.f) >= 0 : fwprintf(b.f, L"%ls", b.map + at) == 1000 * CHARS);
	}
	check_written(&b);
	close_both(&b);
}

static void appending(void)
{
	struct both b;

	open_both(&b, "a+");
	CHECK(!ftruncate(b.fd, 3 * PAGE - 5) && b.map[3 * PAGE - 1] == 0);
	b.map[3 * PAGE - 6] = '!';
	for (size_t i = 0; i < 1000; i++)
		CHECK(fputws(line, b.f) >= 0);
	CHECK(!fflush(b.f) && b.map[3 * PAGE - 6] == '!');
	check_lines(&b, 3 * PAGE - 5, 1000);
	close_both(&b);
}

/* After what was read, where the stream has read further than it was asked to. */
static void after_reading(void)
{
	struct both b;

	open_both(&b, "r+");
	memcpy(b.map, bytes, BYTES);
	memcpy(b.map + BYTES, bytes, BYTES);
	b.map[3 * BYTES] = '!';
	CHECK(fgetwc(b.f) == 'a' && fgetwc(b.f) == (wint_t)line[1] && !fseek(b.f, 0, SEEK_CUR));
	CHECK(fputws(L"\u00e8", b.f) >= 0 && !fflush(b.f) && !memcmp(b.map + 3, "\xc3\xa8\xac", 3) && b.map[3 * BYTES] == '!');
	close_both(&b);
}

static void flush_all(void)
{
	struct both b, c;

	open_both(&b, "r+");
	open_both(&c, "r+");
	CHECK(fputws(line, b.f) >= 0 && fputws(line, c.f) >= 0);
	CHECK(!fflush(NULL));
	check_lines(&b, 0, 1);
	check_lines(&c, 0, 1);
	close_both(&c);
	close_both(&b);
}

/* By each call that empties the buffer. */
static void positions(void)
{
	fpos_t start;
	struct both b;

	open_both(&b, "r+");
	CHECK(!fgetpos(b.f, &start) && fputws(line, b.f) >= 0 && !fsetpos(b.f, &start));
	check_lines(&b, 0, 1);
	memset(b.map, '-', BYTES);
	CHECK(fputws(line, b.f) >= 0 && !fseek(b.f, 0, SEEK_SET));
	check_lines(&b, 0, 1);
	close_both(&b);
	open_both(&b, "r+");
	CHECK(!fgetpos(b.f, &start) && putw(0x31313131, b.f) == 0 && !fsetpos(b.f, &start) && !memcmp(b.map, "1111", 4));
	memset(b.map, '2', 4);
	CHECK(getw(b.f) == 0x32323232);
	close_both(&b);
}

/* What is pending when a process ends is written. */
static void ending(void)
{
	struct both b;
	pid_t child;
	int status;

	open_both(&b, "r+");
	child = fork();
	if (!child) {
		CHECK(fputws(line, b.f) >= 0);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	check_lines(&b, 0, 1);
	CHECK((uint8_t)b.map[BYTES] == pattern(BYTES));
	close_both(&b);
}

/* A stream whose buffer is mapped memory that is not in memory. */
static void mapped_buffers(void)
{
	int fd = pattern_file(SIZE);
	char *at = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct both b;

	open_both(&b, "r+");
	CHECK(!setvbuf(b.f, at + SIZE / 2, _IOFBF, SIZE / 16));
	b.map[LINES * BYTES] = '!';
	for (size_t i = 0; i < LINES; i++)
		CHECK(fputws(line, b.f) >= 0);
	CHECK(!fflush(b.f));
	check_lines(&b, 0, LINES);
	CHECK(!madvise(at, SIZE, MADV_PAGEOUT));
	rewind(b.f);
	CHECK(fgetwc(b.f) == 'a');
	close_both(&b);
	CHECK(!munmap(at, SIZE) && !close(fd));
}

static void reading(void)
{
	static wint_t (*const get[])(FILE * f) = {fgetwc, getwc, fgetwc_unlocked, getwc_unlocked};
	wchar_t word[100], text[100];
	struct both b;
	int n;

	open_both(&b, "r+");
	memset(b.map, 'x', SIZE); /* characters */
	strcpy(b.map, "first line\n");
	CHECK(fgetws(text, 100, b.f) && !wcscmp(text, L"first line\n"));
	rewind(b.f);
	b.map[0] = 'F';
	CHECK(getwc(b.f) == L'F' && fgetws_unlocked(text, 100, b.f) && !wcscmp(text, L"irst line\n"));
	memcpy(b.map + SIZE / 2, "second 17 words\n", 16);
	CHECK(!fseek(b.f, SIZE / 2, SEEK_SET) && fwscanf(b.f, L"%99ls %d", word, &n) == 2 && !wcscmp(word, L"second") && n == 17);
	for (size_t i = 0; i < ARRAY_SIZE(get); i++) { /* as the stream's buffer is used up, it reads what was stored */
		rewind(b.f);
		for (size_t at = 0; at < SIZE / 8; at++) {
			if (at % PAGE == 0)
				b.map[at + 2 * PAGE] = (char)('1' + i);
			CHECK(get[i](b.f) == (at % PAGE == 0 && at >= 2 * PAGE ? L'1' + i : (wint_t)b.map[at]));
		}
	}
	close_both(&b);
}

/* A stream of bytes stays one, and the other way round. */
static void other_streams(void)
{
	struct both b;

	open_both(&b, "r+");
	CHECK(fputs("bytes", b.f) >= 0 && fputws(line, b.f) < 0 && fputwc(L'a', b.f) == WEOF && fwprintf(b.f, L"%d", 1) < 0);
	CHECK(!fflush(b.f) && !memcmp(b.map, "bytes", 5) && (uint8_t)b.map[5] == pattern(5));
	close_both(&b);
	open_both(&b, "r+");
	CHECK(fputws(L"wide", b.f) >= 0 && fputs("bytes", b.f) < 0 && fprintf(b.f, "%d", 1) < 0);
	CHECK(!fflush(b.f) && !memcmp(b.map, "wide", 4) && (uint8_t)b.map[4] == pattern(4));
	close_both(&b);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"characters", characters},         {"strings", strings},     {"formats", formats},
		{"mapped_strings", mapped_strings}, {"appending", appending}, {"after_reading", after_reading},
		{"flush_all", flush_all},           {"positions", positions}, {"ending", ending},
		{"mapped_buffers", mapped_buffers}, {"reading", reading},     {"other", other_streams}};

	(void)argc;
	CHECK(setlocale(LC_CTYPE, "C.UTF-8"));
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
