/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getc, fgets, getline, scanf and their kin: before the stream reads from its file, what mappings have is written there.
 * Whether it will is guessed from what the stream has: a character, a line.
 */
#include <stdarg.h>
#include <string.h>

#include "base/mapped.h"
#include "base/real.h"
#include "stream.h"

typedef int (*get_fn)(FILE *f);

static int get_from_file(get_fn fn, FILE *f)
{
	int c;

	stream_before_read(f);
	STREAM_HOLDING(f, c = fn(f));
	return c;
}

static bool has_char(const FILE *f)
{
	return NOTHING_MAPPED || stream_readable(f);
}

/* At most `room` bytes are wanted. */
static bool has_line(const FILE *f, int end, size_t room)
{
	size_t have = NOTHING_MAPPED ? 0 : stream_readable(f);

	return NOTHING_MAPPED || have >= room || (have && memchr(f->_IO_read_ptr, end, have));
}

#define GET_WRAPPER(name)                                                          \
	WRAPPER int name(FILE *f)                                                  \
	{                                                                          \
		return has_char(f) ? REAL(name)(f) : get_from_file(REAL(name), f); \
	}

GET_WRAPPER(fgetc)
GET_WRAPPER(getc)
GET_WRAPPER(_IO_getc)
GET_WRAPPER(fgetc_unlocked)
GET_WRAPPER(getc_unlocked)
GET_WRAPPER(__uflow) /* what getc_unlocked() is in programs that were compiled with optimization */
GET_WRAPPER(__underflow)

WRAPPER int getchar(void)
{
	return getc(stdin);
}

WRAPPER int getchar_unlocked(void)
{
	return getc_unlocked(stdin);
}

WRAPPER int getw(FILE *f)
{
	int word;

	return fread(&word, sizeof word, 1, f) == 1 ? word : EOF;
}

/* ---- Lines ---- */

static size_t wanted(int n)
{
	return n > 1 ? (size_t)n - 1 : 0;
}

typedef char *(*gets_fn)(char *s, int n, FILE *f);

static char *gets_from_file(gets_fn fn, char *s, int n, FILE *f)
{
	char *line;

	stream_before_read(f);
	STREAM_HOLDING(f, line = fn(s, n, f));
	return line;
}

WRAPPER char *fgets(char *s, int n, FILE *f)
{
	return has_line(f, '\n', wanted(n)) ? REAL(fgets)(s, n, f) : gets_from_file(REAL(fgets), s, n, f);
}

WRAPPER char *fgets_unlocked(char *s, int n, FILE *f)
{
	return has_line(f, '\n', wanted(n)) ? REAL(fgets_unlocked)(s, n, f) : gets_from_file(REAL(fgets_unlocked), s, n, f);
}

/* libc's own, which end the program where there is less room. */
WRAPPER char *__fgets_chk(char *s, size_t room, int n, FILE *f)
{
	return n > 0 && (size_t)n <= room ? fgets(s, n, f) : REAL(__fgets_chk)(s, room, n, f);
}

WRAPPER char *__fgets_unlocked_chk(char *s, size_t room, int n, FILE *f)
{
	return n > 0 && (size_t)n <= room ? fgets_unlocked(s, n, f) : REAL(__fgets_unlocked_chk)(s, room, n, f);
}

static ssize_t getdelim_from_file(char **line, size_t *room, int end, FILE *f)
{
	ssize_t n;

	stream_before_read(f);
	STREAM_HOLDING(f, n = REAL(getdelim)(line, room, end, f));
	return n;
}

WRAPPER ssize_t getdelim(char **line, size_t *room, int end, FILE *f)
{
	return has_line(f, end, SIZE_MAX) ? REAL(getdelim)(line, room, end, f) : getdelim_from_file(line, room, end, f);
}

WRAPPER ssize_t __getdelim(char **line, size_t *room, int end, FILE *f)
{
	return getdelim(line, room, end, f);
}

WRAPPER ssize_t getline(char **line, size_t *room, FILE *f)
{
	return getdelim(line, room, '\n', f);
}

/* ---- scanf: of C99, which is what its name means to a compiler by default ---- */

/* A format can go on behind the line. */
static int scan(FILE *f, const char *fmt, va_list ap)
{
	int n;

	if (!has_line(f, '\n', SIZE_MAX))
		stream_before_read(f);
	STREAM_HOLDING(f, n = REAL(__isoc99_vfscanf)(f, fmt, ap));
	return n;
}

WRAPPER int __isoc99_vfscanf(FILE *f, const char *fmt, va_list ap)
{
	return NOTHING_MAPPED ? REAL(__isoc99_vfscanf)(f, fmt, ap) : scan(f, fmt, ap);
}

WRAPPER int __isoc99_vscanf(const char *fmt, va_list ap)
{
	return __isoc99_vfscanf(stdin, fmt, ap);
}

WRAPPER int __isoc99_fscanf(FILE *f, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, __isoc99_vfscanf(f, fmt, ap));
}

WRAPPER int __isoc99_scanf(const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, __isoc99_vfscanf(stdin, fmt, ap));
}
