/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <argp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether a line was said: a failure is explained once. */
static bool has_complained;

static _Noreturn void out_of_memory(void)
{
	fputs("faultline: out of memory\n", stderr);
	exit(EXIT_FAULTLINE);
}

static char *format(const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0)
		out_of_memory();
	return s;
}

char *text_format(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = format(fmt, ap);
	va_end(ap);
	return s;
}

char *text_copy(const char *s)
{
	return text_format("%s", s);
}

void *memory_grow(void *p, size_t count, size_t size)
{
	p = reallocarray(p, count, size);
	if (!p)
		out_of_memory();
	return p;
}

void complain(const char *fmt, ...)
{
	char *raw, *line;
	va_list ap;

	va_start(ap, fmt);
	raw = format(fmt, ap);
	va_end(ap);
	line = text_escape(raw, TEXT_TERMINAL);
	has_complained = true;
	fprintf(stderr, "faultline: %s\n", line);
	free(line);
	free(raw);
}

static bool continues(const unsigned char *s, int from, int to)
{
	for (int i = from; i < to; i++)
		if ((s[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* The length of the UTF-8 sequence at s; 0 when there is none (RFC 3629: no surrogates, none longer than needed). */
static int utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return continues(s, 1, 2) ? 2 : 0;
	if ((s[0] & 0xf0) == 0xe0) {
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return continues(s, 1, 3) ? 3 : 0;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return continues(s, 1, 4) ? 4 : 0;
	}
	return 0;
}

/* C0, DEL, and the C1 characters (U+0080 to U+009F), some of which start terminal commands as ESC does. */
static bool is_control(const unsigned char *s, int len)
{
	return (len == 1 && (*s < 0x20 || *s == 0x7f)) || (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

char *text_escape(const char *text, enum text_for use)
{
	const unsigned char *s = (const unsigned char *)text;
	char *out = memory_grow(NULL, strlen(text) * 4 + 1, 1), *o = out;

	while (*s) {
		int len = utf8_length(s);

		if (len == 0 || (use == TEXT_TERMINAL && is_control(s, len))) {
			o += sprintf(o, "\\x%02x", *s++);
			continue;
		}
		memcpy(o, s, (size_t)len);
		o += len;
		s += len;
	}
	*o = 0;
	return out;
}

const char *count_format(uint64_t n, char *buf)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
	char *o = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*o++ = ',';
		*o++ = digits[i];
	}
	*o = 0;
	return buf;
}

/* Three significant digits are what a timing is worth. */
const char *time_format(uint64_t ns, char *buf)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double v = (double)ns;
	int u = 0;

	while (v >= 999.5 && u < 3) {
		v /= 1000;
		u++;
	}
	snprintf(buf, NUMBER_MAX, "%.*f %s", u == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, units[u]);
	return buf;
}

/* The word that argp stopped at: an option before `next`, or the word left over there. */
static const char *culprit(int argc, char **argv, int next, bool left_over)
{
	if (left_over)
		return argv[next];
	for (int i = next < argc ? next : argc - 1; i > 0; i--)
		if (argv[i][0] == '-')
			return argv[i];
	return argv[argc - 1];
}

void give_help(const struct argp_state *state)
{
	argp_help(state->root_argp, stdout, ARGP_HELP_LONG | ARGP_HELP_USAGE | ARGP_HELP_DOC, state->name);
	exit(0);
}

/* argp's own messages take two lines. A parser that has complained already answers an error too. */
int parse_command_line(const struct argp *argp, const char *command, int argc, char **argv, unsigned flags, void *input)
{
	int next = argc;
	error_t err = argp_parse(argp, argc, argv, flags | ARGP_NO_HELP | ARGP_NO_ERRS, &next, input);
	bool left_over = !err && next < argc;

	if (!err && !left_over)
		return 0;
	if (!has_complained)
		complain("%s: %s: not understood here; see `faultline %s --help'", command, culprit(argc, argv, next, left_over), command);
	return EXIT_FAULTLINE;
}
