/* SPDX-License-Identifier: Apache-2.0 */
/* Streams whose file cannot be written: each call that empties the buffer says so, once, as libc drops what it could not write. */
#include <wchar.h>

#include "both.h"

/* From here on what reaches the stream's file is EBADF; it is the same file still. */
static void open_refused(struct both *b)
{
	char path[64];
	int fd;

	open_both(b, "r+");
	snprintf(path, sizeof path, "/proc/self/fd/%d", b->fd);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && dup2(fd, fileno(b->f)) == fileno(b->f) && !close(fd));
}

/* Nothing was written. */
static void close_refused(struct both *b)
{
	CHECK((uint8_t)b->map[0] == pattern(0));
	close_both(b);
}

static void flushes(void)
{
	struct both b;
	fpos_t start;

	open_refused(&b);
	CHECK(!fgetpos(b.f, &start));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fflush(b.f));
	CHECK(ferror(b.f) && !fflush(b.f));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fflush_unlocked(b.f));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fflush(NULL));
	CHECK(!fflush(NULL));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fseek(b.f, 0, SEEK_SET));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fsetpos(b.f, &start));
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, setvbuf(b.f, NULL, _IONBF, 0));
	close_refused(&b);
}

/* The mode changes, the buffer does not: what is in it is nobody's business yet. */
static void buffers_that_stay(void)
{
	struct both b;

	open_refused(&b);
	CHECK(fputs("text", b.f) >= 0 && !setvbuf(b.f, NULL, _IOLBF, 0));
	FAILS(EBADF, fflush(b.f));
	close_refused(&b);
}

static void closes(void)
{
	struct both b;

	open_refused(&b);
	CHECK(fputs("text", b.f) >= 0);
	FAILS(EBADF, fclose(b.f));
	CHECK((uint8_t)b.map[0] == pattern(0) && !munmap(b.map, SIZE) && !close(b.fd));
}

static void lines(void)
{
	struct both b;

	open_refused(&b);
	setlinebuf(b.f);
	for (int i = 0; i < 3; i++) { /* the first finds no buffer, the others the room of what was dropped */
		FAILS(EBADF, fputs("text\n", b.f));
		FAILS(EBADF, fprintf(b.f, "%d\n", i));
		FAILS(EBADF, putc('\n', b.f));
		FAILS(EBADF, fputc('\n', b.f));
	}
	CHECK(fwrite("text\n", 1, 5, b.f) == 5 && ferror(b.f)); /* it counts what was in the buffer */
	clearerr(b.f);
	CHECK(fputs("text", b.f) >= 0 && !ferror(b.f));
	FAILS(EBADF, fflush(b.f));
	close_refused(&b);
}

/* As glibc has it: a byte for a stream of wide characters is one of these. */
static void wide_memory(void)
{
	wchar_t *text;
	size_t len;
	struct both b;
	FILE *f;

	open_both(&b, "r+");
	f = open_wmemstream(&text, &len);
	CHECK(f && fputc('a', f) == 'a' && !fclose(f) && len == 1 && text[0] == L'a');
	free(text);
	close_both(&b);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"flushes", flushes},
						 {"buffers_that_stay", buffers_that_stay},
						 {"closes", closes},
						 {"lines", lines},
						 {"wide_memory", wide_memory}};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
