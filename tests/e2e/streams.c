/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of a file that is mapped: what either of them writes, the other reads. Built with optimization, as programs are. */
#include <stdarg.h>
#include <stdio_ext.h>
#include <sys/wait.h>

#include "both.h"

/* All of 300000 bytes but what the stream may still have is in the map. */
static void check_written(struct both *b, char byte)
{
	for (size_t i = 0; i < 300000 - __fbufsize(b->f); i++)
		CHECK(b->map[i] == byte);
	CHECK(!fflush(b->f));
	for (size_t i = 0; i < 300000; i++)
		CHECK(b->map[i] == byte);
	CHECK((uint8_t)b->map[300000] == pattern(300000));
}

static void characters(void)
{
	struct both b;

	open_both(&b, "r+");
	for (size_t i = 0; i < 300000; i++)
		CHECK(putc('a', b.f) == 'a');
	check_written(&b, 'a');
	rewind(b.f);
	flockfile(b.f);
	for (size_t i = 0; i < 300000; i++)
		CHECK(putc_unlocked('b', b.f) == 'b');
	funlockfile(b.f);
	check_written(&b, 'b');
	rewind(b.f);
	for (size_t i = 0; i < 300000; i++)
		CHECK(fputc('c', b.f) == 'c');
	check_written(&b, 'c');
	close_both(&b);
}

__attribute__((format(printf, 2, 3))) static int print(FILE *f, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vfprintf(f, fmt, ap);
	va_end(ap);
	return n;
}

static void formats(void)
{
	char *wide = malloc(3001);
	struct both b;

	memset(wide, 'd', 3000);
	wide[3000] = 0;
	open_both(&b, "r+");
	for (int i = 0; i < 100; i++)
		CHECK(fprintf(b.f, "%s", wide) == 3000);
	check_written(&b, 'd');
	rewind(b.f);
	for (int i = 0; i < 30000; i++)
		CHECK(print(b.f, "%c%c%s", 'e', 'e', "eeeeeeee") == 10);
	check_written(&b, 'e');
	CHECK(lseek(b.fd, 0, SEEK_SET) == 0 && dprintf(b.fd, "%d-%s", 17, "by dprintf") == 13 && !memcmp(b.map, "17-by dprintf", 13));
	CHECK(fprintf(b.f, "%s", "") == 0);
	close_both(&b);
	free(wide);
}

/* A string that is itself mapped, and longer than the stream's buffer. */
static void mapped_strings(void)
{
	int fd = pattern_file(SIZE);
	char *s = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	struct both b;

	memset(s, 'f', 300000);
	s[300000] = 0;
	open_both(&b, "r+");
	CHECK(fprintf(b.f, "%s", s) == 300000);
	check_written(&b, 'f');
	close_both(&b);
	CHECK(!munmap(s, SIZE) && !close(fd));
}

static void flush_all(void)
{
	struct both b, c;

	open_both(&b, "r+");
	open_both(&c, "r+");
	CHECK(fputs("one", b.f) >= 0 && fprintf(c.f, "%d", 22) == 2);
	CHECK(!fflush(NULL) && !memcmp(b.map, "one", 3) && !memcmp(c.map, "22", 2));
	close_both(&c);
	close_both(&b);
}

/* The streams stay, without buffers. */
static void close_all(void)
{
	struct both b, c;

	open_both(&b, "r+");
	open_both(&c, "r+");
	CHECK(fputs("one", b.f) >= 0 && fprintf(c.f, "%d", 22) == 2);
	CHECK(!fcloseall() && !memcmp(b.map, "one", 3) && !memcmp(c.map, "22", 2));
	CHECK(fputs("two", b.f) >= 0 && !memcmp(b.map, "onetwo", 6));
	close_both(&c);
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
		CHECK(fputs("ended", b.f) >= 0);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0 && !memcmp(b.map, "ended", 5) && (uint8_t)b.map[5] == pattern(5));
	close_both(&b);
}

/* Buffers in mappings whose pages are not in memory: their streams read and write all the same, and close. */
static void mapped_buffers(void)
{
	int fd = pattern_file(SIZE);
	char *at = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), line[20];
	struct both b;

	open_both(&b, "r+");
	strcpy(b.map, "12 first\n");
	CHECK(!setvbuf(b.f, at + SIZE / 2, _IOFBF, SIZE / 16) && fscanf(b.f, "%19s", line) == 1 && !strcmp(line, "12"));
	rewind(b.f);
	for (int i = 0; i < 30000; i++)
		CHECK(fputs("gggggggggg", b.f) >= 0);
	check_written(&b, 'g');
	rewind(b.f);
	CHECK(fgets(line, 5, b.f) && !strcmp(line, "gggg"));
	close_both(&b);
	open_both(&b, "r+");
	setbuf(b.f, at);
	CHECK(fputs("h", b.f) >= 0 && fflush(b.f) == 0 && b.map[0] == 'h');
	close_both(&b);
	CHECK(!munmap(at, SIZE) && !close(fd));
}

static void reading(void)
{
	char line[200], word[100], *longer = NULL;
	size_t room = 0;
	struct both b;
	int n;

	open_both(&b, "r+");
	strcpy(b.map, "first line\nsecond 17 words\nthird\n");
	CHECK(fgets(line, sizeof line, b.f) && !strcmp(line, "first line\n"));
	rewind(b.f);
	b.map[0] = 'F';
	CHECK(getc(b.f) == 'F' && getline(&longer, &room, b.f) == 10 && !strcmp(longer, "irst line\n"));
	fseek(b.f, 11, SEEK_SET);
	memcpy(b.map + 11, "SECOND", 6);
	CHECK(!fflush(b.f)); /* it forgets what it has read */
	CHECK(fscanf(b.f, "%99s %d", word, &n) == 2 && !strcmp(word, "SECOND") && n == 17);
	for (size_t at = PAGE; at < SIZE; at += PAGE) { /* as the stream's buffer is used up, it reads what was stored */
		CHECK(!fseek(b.f, (long)at - 1, SEEK_SET));
		b.map[at] = 'x';
		CHECK((uint8_t)getc_unlocked(b.f) == pattern(at - 1) && getc_unlocked(b.f) == 'x');
	}
	for (size_t at = PAGE + 100; at < SIZE; at += 16 * PAGE) { /* it reads what is around the place that it goes to */
		fpos_t pos;

		b.map[at] = 'y';
		CHECK(!fseek(b.f, (long)at, SEEK_SET) && getc(b.f) == 'y' && !fgetpos(b.f, &pos) && !fseek(b.f, 0, SEEK_SET));
		b.map[at + 1] = 'z';
		CHECK(!fsetpos(b.f, &pos) && getc(b.f) == 'z');
	}
	CHECK(!fseek(b.f, 0, SEEK_SET) && freopen("/proc/self/stat", "r", b.f) && fgets(line, 50, b.f) && atoi(line) == getpid());
	close_both(&b);
	free(longer);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"characters", characters}, {"formats", formats}, {"mapped_strings", mapped_strings}, {"flush_all", flush_all},
		{"close_all", close_all},   {"ending", ending},   {"mapped_buffers", mapped_buffers}, {"reading", reading}};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
