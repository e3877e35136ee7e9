/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wide streams, as stdio.c and its kin have the others. Characters are made bytes of when libc empties the stream's buffer of characters, into that of bytes, which
 * goes to the file at once: so a call that has room in the first touches neither file nor mapping.
 *
 * Within a bracket the stream is given characters that lie in a piece of the stack; the program's, and its formats, are read before.
 */
#include <errno.h>
#include <stdarg.h>
#include <wchar.h>

#include "base/mapped.h"
#include "base/real.h"
#include "stream.h"

static size_t readable(const FILE *f)
{
	const struct stream_wide *w = stream_wide(f);

	return w && w->read_end > w->read_ptr ? (size_t)(w->read_end - w->read_ptr) : 0;
}

static size_t room(const FILE *f)
{
	const struct stream_wide *w = stream_wide(f);

	return w && w->write_end > w->write_ptr ? (size_t)(w->write_end - w->write_ptr) : 0;
}

/* Before a buffer is made, which is another for a wide stream. Where it cannot be one libc's call says so. */
static void make_wide(FILE *f)
{
	flockfile(f);
	fwide(f, 1);
	funlockfile(f);
}

/* ---- Reading ---- */

static void before_read(FILE *f)
{
	make_wide(f);
	stream_before_read(f);
}

typedef wint_t (*get_fn)(FILE *f);

static wint_t get_from_file(get_fn fn, FILE *f)
{
	wint_t c;

	before_read(f);
	STREAM_HOLDING(f, c = fn(f));
	return c;
}

static bool has_char(const FILE *f)
{
	return NOTHING_MAPPED || readable(f);
}

/* At most so many are wanted. */
static bool has_line(const FILE *f, size_t wanted)
{
	size_t have = NOTHING_MAPPED ? 0 : readable(f);

	return NOTHING_MAPPED || have >= wanted || (have && wmemchr(stream_wide(f)->read_ptr, L'\n', have));
}

#define GET_WRAPPER(name)                                                          \
	WRAPPER wint_t name(FILE *f)                                               \
	{                                                                          \
		return has_char(f) ? REAL(name)(f) : get_from_file(REAL(name), f); \
	}

GET_WRAPPER(fgetwc)
GET_WRAPPER(getwc)
GET_WRAPPER(fgetwc_unlocked)
GET_WRAPPER(getwc_unlocked)
GET_WRAPPER(__wuflow)
GET_WRAPPER(__wunderflow)

WRAPPER wint_t getwchar(void)
{
	return getwc(stdin);
}

WRAPPER wint_t getwchar_unlocked(void)
{
	return getwc_unlocked(stdin);
}

static size_t wanted(int n)
{
	return n > 1 ? (size_t)n - 1 : 0;
}

typedef wchar_t *(*gets_fn)(wchar_t *s, int n, FILE *f);

static wchar_t *gets_from_file(gets_fn fn, wchar_t *s, int n, FILE *f)
{
	wchar_t *line;

	before_read(f);
	STREAM_HOLDING(f, line = fn(s, n, f));
	return line;
}

WRAPPER wchar_t *fgetws(wchar_t *s, int n, FILE *f)
{
	return has_line(f, wanted(n)) ? REAL(fgetws)(s, n, f) : gets_from_file(REAL(fgetws), s, n, f);
}

WRAPPER wchar_t *fgetws_unlocked(wchar_t *s, int n, FILE *f)
{
	return has_line(f, wanted(n)) ? REAL(fgetws_unlocked)(s, n, f) : gets_from_file(REAL(fgetws_unlocked), s, n, f);
}

/* libc's own, which end the program where there is less room. */
WRAPPER wchar_t *__fgetws_chk(wchar_t *s, size_t size, int n, FILE *f)
{
	return n > 0 && (size_t)n <= size ? fgetws(s, n, f) : REAL(__fgetws_chk)(s, size, n, f);
}

WRAPPER wchar_t *__fgetws_unlocked_chk(wchar_t *s, size_t size, int n, FILE *f)
{
	return n > 0 && (size_t)n <= size ? fgetws_unlocked(s, n, f) : REAL(__fgetws_unlocked_chk)(s, size, n, f);
}

/* A format can go on behind the line. */
static int scan(FILE *f, const wchar_t *fmt, va_list ap)
{
	int n;

	if (!has_line(f, SIZE_MAX))
		before_read(f);
	STREAM_HOLDING(f, n = REAL(__isoc99_vfwscanf)(f, fmt, ap));
	return n;
}

WRAPPER int __isoc99_vfwscanf(FILE *f, const wchar_t *fmt, va_list ap)
{
	return NOTHING_MAPPED ? REAL(__isoc99_vfwscanf)(f, fmt, ap) : scan(f, fmt, ap);
}

WRAPPER int __isoc99_vwscanf(const wchar_t *fmt, va_list ap)
{
	return __isoc99_vfwscanf(stdin, fmt, ap);
}

WRAPPER int __isoc99_fwscanf(FILE *f, const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, __isoc99_vfwscanf(f, fmt, ap));
}

WRAPPER int __isoc99_wscanf(const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, __isoc99_vfwscanf(stdin, fmt, ap));
}

/* ---- Writing ---- */

#define PIECE 256

static size_t call_fputwc(const struct stream_call *c)
{
	const wchar_t *s = c->buf;
	size_t done = 0;

	while (done < c->n && REAL(fputwc_unlocked)(s[done], c->f) != WEOF)
		done++;
	return done;
}

static size_t write_piece(const wchar_t *s, size_t n, FILE *f)
{
	size_t done;

	STREAM_HOLDING(f, done = stream_write_through(&(struct stream_call){.fn = call_fputwc, .f = f, .buf = s, .n = n}));
	return done;
}

/* What ends it is libc's error. */
static bool write_text(const wchar_t *s, size_t len, FILE *f)
{
	wchar_t piece[PIECE];
	size_t n = 0, done = 0;

	make_wide(f);
	flockfile(f);
	for (; done < len; done += n) {
		n = min_u64(len - done, PIECE);
		wmemcpy(piece, s + done, n);
		if (write_piece(piece, n, f) < n)
			break;
	}
	funlockfile(f);
	return done == len;
}

/* Where libc's write(2) is a point to cancel the thread at, this is. */
static bool concerns(FILE *f)
{
	bool yes = stream_concerns(f);

	if (yes)
		pthread_testcancel();
	return yes;
}

/* ---- Characters ---- */

static bool is_plain(FILE *f)
{
	return NOTHING_TO_TELL || room(f);
}

typedef wint_t (*put_fn)(wchar_t c, FILE *f);

static wint_t put_char(put_fn fn, wchar_t c, FILE *f)
{
	wint_t result;

	if (concerns(f))
		return write_text(&c, 1, f) ? (wint_t)c : WEOF;
	make_wide(f);
	STREAM_HOLDING(f, result = fn(c, f));
	return result;
}

#define PUT_WRAPPER(name)                                                           \
	WRAPPER wint_t name(wchar_t c, FILE *f)                                     \
	{                                                                           \
		return is_plain(f) ? REAL(name)(c, f) : put_char(REAL(name), c, f); \
	}

PUT_WRAPPER(fputwc)
PUT_WRAPPER(putwc)
PUT_WRAPPER(fputwc_unlocked)
PUT_WRAPPER(putwc_unlocked)

WRAPPER wint_t putwchar(wchar_t c)
{
	return putwc(c, stdout);
}

WRAPPER wint_t putwchar_unlocked(wchar_t c)
{
	return putwc_unlocked(c, stdout);
}

WRAPPER wint_t __woverflow(FILE *f, wint_t c)
{
	if (NOTHING_TO_TELL || c == WEOF || !concerns(f))
		return REAL(__woverflow)(f, c);
	return write_text(&(wchar_t){(wchar_t)c}, 1, f) ? c : WEOF;
}

/* ---- Strings ---- */

typedef int (*puts_fn)(const wchar_t *s, FILE *f);

static int put_string(puts_fn fn, const wchar_t *s, FILE *f)
{
	size_t len = wcslen(s);
	int result;

	if (len <= room(f))
		return fn(s, f);
	if (concerns(f))
		return write_text(s, len, f) ? 1 : -1;
	make_wide(f);
	STREAM_HOLDING(f, result = fn(s, f));
	return result;
}

WRAPPER int fputws(const wchar_t *s, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fputws)(s, f) : put_string(REAL(fputws), s, f);
}

WRAPPER int fputws_unlocked(const wchar_t *s, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fputws_unlocked)(s, f) : put_string(REAL(fputws_unlocked), s, f);
}

/* ---- Formats ---- */

#define SHORT 512

/* `check`: as the checking forms of _FORTIFY_SOURCE ask for, -1 for the plain ones. */
static int print_to_stream(FILE *f, int check, const wchar_t *fmt, va_list ap)
{
	return check < 0 ? REAL(vfwprintf)(f, fmt, ap) : REAL(__vfwprintf_chk)(f, check, fmt, ap);
}

/* Into memory first: formatting reads the program's strings. */
static int print_beside(FILE *f, int check, const wchar_t *fmt, va_list ap)
{
	wchar_t *text = NULL;
	size_t len = 0;
	FILE *memory = open_wmemstream(&text, &len);
	int n, saved;

	if (!memory)
		return -1;
	n = print_to_stream(memory, check, fmt, ap);
	saved = errno;
	if (REAL(fclose)(memory))
		n = -1;
	else
		errno = saved;
	if (n > 0 && !write_text(text, (size_t)n, f))
		n = -1;
	saved = errno;
	free(text);
	errno = saved;
	return n;
}

static int print(FILE *f, int check, const wchar_t *fmt, va_list ap)
{
	int n;

	make_wide(f);
	if (fwide(f, 0) > 0 && concerns(f))
		return print_beside(f, check, fmt, ap);
	STREAM_HOLDING(f, n = print_to_stream(f, check, fmt, ap));
	return n;
}

/* As in stdio_print.c. */
static bool is_short_of_the_end(FILE *f)
{
	return NOTHING_TO_TELL || (NOTHING_MAPPED && room(f) >= SHORT);
}

WRAPPER int vfwprintf(FILE *f, const wchar_t *fmt, va_list ap)
{
	return is_short_of_the_end(f) ? REAL(vfwprintf)(f, fmt, ap) : print(f, -1, fmt, ap);
}

WRAPPER int vwprintf(const wchar_t *fmt, va_list ap)
{
	return vfwprintf(stdout, fmt, ap);
}

WRAPPER int fwprintf(FILE *f, const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, vfwprintf(f, fmt, ap));
}

WRAPPER int wprintf(const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, vfwprintf(stdout, fmt, ap));
}

WRAPPER int __vfwprintf_chk(FILE *f, int check, const wchar_t *fmt, va_list ap)
{
	return is_short_of_the_end(f) ? REAL(__vfwprintf_chk)(f, check, fmt, ap) : print(f, check, fmt, ap);
}

WRAPPER int __vwprintf_chk(int check, const wchar_t *fmt, va_list ap)
{
	return __vfwprintf_chk(stdout, check, fmt, ap);
}

WRAPPER int __fwprintf_chk(FILE *f, int check, const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, __vfwprintf_chk(f, check, fmt, ap));
}

WRAPPER int __wprintf_chk(int check, const wchar_t *fmt, ...)
{
	RETURN_FORMATTED(fmt, __vfwprintf_chk(stdout, check, fmt, ap));
}
