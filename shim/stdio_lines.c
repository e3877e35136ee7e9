/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getc, fgets, getline, scanf and their kin: before the stream reads from its file, what mappings have is written there.
 * Whether it will is guessed from what the stream has: a character, a line.
 */
#include <stdarg.h>
#include <string.h>

#include "mapped.h"
#include "real.h"
#include "stream.h"

static void before_char(FILE *f)
{
	if (!NOTHING_MAPPED && !stream_readable(f))
		stream_before_read(f);
}

/* At most `room` bytes are wanted. */
static void before_line(FILE *f, int end, size_t room)
{
	size_t have = NOTHING_MAPPED ? 0 : stream_readable(f);

	if (NOTHING_MAPPED || have >= room || (have && memchr(f->_IO_read_ptr, end, have)))
		return;
	stream_before_read(f);
}

#define GET_WRAPPER(name)             \
	WRAPPER int name(FILE *f)     \
	{                             \
		before_char(f);       \
		return REAL(name)(f); \
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
	before_char(stdin);
	return REAL(getchar)();
}

WRAPPER int getchar_unlocked(void)
{
	before_char(stdin);
	return REAL(getchar_unlocked)();
}

/* ---- Lines ---- */

static size_t wanted(int n)
{
	return n > 1 ? (size_t)n - 1 : 0;
}

WRAPPER char *fgets(char *s, int n, FILE *f)
{
	before_line(f, '\n', wanted(n));
	return REAL(fgets)(s, n, f);
}

WRAPPER char *fgets_unlocked(char *s, int n, FILE *f)
{
	before_line(f, '\n', wanted(n));
	return REAL(fgets_unlocked)(s, n, f);
}

WRAPPER char *__fgets_chk(char *s, size_t room, int n, FILE *f)
{
	before_line(f, '\n', wanted(n));
	return REAL(__fgets_chk)(s, room, n, f);
}

WRAPPER char *__fgets_unlocked_chk(char *s, size_t room, int n, FILE *f)
{
	before_line(f, '\n', wanted(n));
	return REAL(__fgets_unlocked_chk)(s, room, n, f);
}

WRAPPER ssize_t getdelim(char **line, size_t *room, int end, FILE *f)
{
	before_line(f, end, SIZE_MAX);
	return REAL(getdelim)(line, room, end, f);
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

WRAPPER int __isoc99_vfscanf(FILE *f, const char *fmt, va_list ap)
{
	before_line(f, '\n', SIZE_MAX);
	return REAL(__isoc99_vfscanf)(f, fmt, ap);
}

WRAPPER int __isoc99_vscanf(const char *fmt, va_list ap)
{
	return __isoc99_vfscanf(stdin, fmt, ap);
}

WRAPPER int __isoc99_fscanf(FILE *f, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __isoc99_vfscanf(f, fmt, ap);
	va_end(ap);
	return n;
}

WRAPPER int __isoc99_scanf(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __isoc99_vfscanf(stdin, fmt, ap);
	va_end(ap);
	return n;
}
