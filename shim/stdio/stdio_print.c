/* SPDX-License-Identifier: Apache-2.0 */
/*
 * putc, printf and their kin: formatted beside the stream, and given to it in one piece (stream_put). Formatting reads
 * the program's strings, which may be mapped memory, so it cannot be done where that holds locks.
 */
#include <errno.h>
#include <stdarg.h>

#include "base/mapped.h"
#include "base/real.h"
#include "files/coherent.h"
#include "stream.h"

/* ---- Characters ---- */

/* glibc takes a byte for a stream of wide characters as one of these. */
static int put_char(int c, FILE *f)
{
	unsigned char byte = (unsigned char)c;

	if (stream_wide(f))
		return (int)putwc(byte, f);
	return stream_put((const char *)&byte, 1, f) ? byte : EOF;
}

/* A character for which there is room concerns the stream alone. */
static bool is_plain(FILE *f)
{
	return NOTHING_TO_TELL || stream_room(f);
}

#define PUT_WRAPPER(name)                                               \
	WRAPPER int name(int c, FILE *f)                                \
	{                                                               \
		return is_plain(f) ? REAL(name)(c, f) : put_char(c, f); \
	}

PUT_WRAPPER(fputc)
PUT_WRAPPER(putc)
PUT_WRAPPER(_IO_putc)
PUT_WRAPPER(fputc_unlocked)
PUT_WRAPPER(putc_unlocked)

WRAPPER int putchar(int c)
{
	return is_plain(stdout) ? REAL(putchar)(c) : put_char(c, stdout);
}

WRAPPER int putchar_unlocked(int c)
{
	return is_plain(stdout) ? REAL(putchar_unlocked)(c) : put_char(c, stdout);
}

/* What putc_unlocked() is in programs that were compiled with optimization, once the buffer is full. */
WRAPPER int __overflow(FILE *f, int c)
{
	return NOTHING_TO_TELL || c == EOF ? REAL(__overflow)(f, c) : put_char(c, f);
}

WRAPPER int putw(int word, FILE *f)
{
	return fwrite(&word, sizeof word, 1, f) == 1 ? 0 : EOF;
}

/* ---- Formats ---- */

#define SHORT 512

/* Formatted text: in `room` when it is short. */
struct text {
	char *at; /* NULL when it cannot be had */
	int len;  /* -1: the format cannot be served */
	char room[SHORT];
};

/* `check`: as the checking forms of _FORTIFY_SOURCE ask for, -1 for the plain ones. */
static void format(struct text *t, int check, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	t->at = t->room;
	t->len = check < 0 ? vsnprintf(t->room, SHORT, fmt, again) : __vsnprintf_chk(t->room, SHORT, check, SHORT, fmt, again);
	va_end(again);
	if (t->len < SHORT)
		return;
	t->at = NULL;
	t->len = check < 0 ? vasprintf(&t->at, fmt, ap) : __vasprintf_chk(&t->at, check, fmt, ap);
}

static void drop(void *text)
{
	const struct text *t = text;
	int saved = errno;

	if (t->at != t->room && t->len >= 0)
		free(t->at);
	errno = saved;
}

static int print(FILE *f, int check, const char *fmt, va_list ap)
{
	struct text t;
	int n;

	format(&t, check, fmt, ap);
	pthread_cleanup_push(drop, &t);
	n = t.len > 0 && !stream_put(t.at, (size_t)t.len, f) ? -1 : t.len;
	pthread_cleanup_pop(1);
	return n;
}

/* Text that is longer than there is room goes to the file unseen, if nobody has it mapped. */
static bool is_short_of_the_end(FILE *f)
{
	return NOTHING_TO_TELL || (NOTHING_MAPPED && stream_room(f) >= SHORT);
}

WRAPPER int vfprintf(FILE *f, const char *fmt, va_list ap)
{
	return is_short_of_the_end(f) ? REAL(vfprintf)(f, fmt, ap) : print(f, -1, fmt, ap);
}

WRAPPER int vprintf(const char *fmt, va_list ap)
{
	return vfprintf(stdout, fmt, ap);
}

WRAPPER int fprintf(FILE *f, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, vfprintf(f, fmt, ap));
}

WRAPPER int printf(const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, vfprintf(stdout, fmt, ap));
}

WRAPPER int __vfprintf_chk(FILE *f, int check, const char *fmt, va_list ap)
{
	return is_short_of_the_end(f) ? REAL(__vfprintf_chk)(f, check, fmt, ap) : print(f, check, fmt, ap);
}

WRAPPER int __vprintf_chk(int check, const char *fmt, va_list ap)
{
	return __vfprintf_chk(stdout, check, fmt, ap);
}

WRAPPER int __fprintf_chk(FILE *f, int check, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, __vfprintf_chk(f, check, fmt, ap));
}

WRAPPER int __printf_chk(int check, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, __vfprintf_chk(stdout, check, fmt, ap));
}

/* ---- To a descriptor ---- */

static int write_text(int fd, const struct text *t)
{
	for (int done = 0; done < t->len;) {
		ssize_t n = write(fd, t->at + done, (size_t)(t->len - done));

		if (n <= 0)
			return -1;
		done += (int)n;
	}
	return t->len;
}

static int print_to(int fd, int check, const char *fmt, va_list ap)
{
	struct text t;
	int n;

	format(&t, check, fmt, ap);
	pthread_cleanup_push(drop, &t);
	n = write_text(fd, &t);
	pthread_cleanup_pop(1);
	return n;
}

WRAPPER int vdprintf(int fd, const char *fmt, va_list ap)
{
	return NOTHING_TO_TELL ? REAL(vdprintf)(fd, fmt, ap) : print_to(fd, -1, fmt, ap);
}

WRAPPER int dprintf(int fd, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, vdprintf(fd, fmt, ap));
}

WRAPPER int __vdprintf_chk(int fd, int check, const char *fmt, va_list ap)
{
	return NOTHING_TO_TELL ? REAL(__vdprintf_chk)(fd, check, fmt, ap) : print_to(fd, check, fmt, ap);
}

WRAPPER int __dprintf_chk(int fd, int check, const char *fmt, ...)
{
	RETURN_FORMATTED(fmt, __vdprintf_chk(fd, check, fmt, ap));
}
