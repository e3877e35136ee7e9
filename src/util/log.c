/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

static _Atomic int level_now = LOG_WARN;
static _Atomic int log_fd = 2;

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, (int)level);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

void fl_log(enum log_level level, const char *fmt, ...)
{
	char line[512];
	int n = (int)(sizeof "faultline: " - 1);
	va_list ap;

	if ((int)level > atomic_load(&level_now))
		return;
	memcpy(line, "faultline: ", (size_t)n);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = (int)sizeof line - 2;
	line[n++] = '\n';
	sys_write(atomic_load(&log_fd), line, (size_t)n);
}

void fl_say(const char *text)
{
	char line[256];
	size_t head = sizeof "faultline: " - 1, n = strlen(text);

	if (atomic_load(&level_now) < LOG_ERROR)
		return;
	if (n > sizeof line - head - 1)
		n = sizeof line - head - 1;
	memcpy(line, "faultline: ", head);
	memcpy(line + head, text, n);
	line[head + n] = '\n';
	sys_write(atomic_load(&log_fd), line, head + n + 1);
}

static void put(const char *s)
{
	sys_write(2, s, strlen(s));
}

void fl_bug(const char *what, const char *file, int line)
{
	char digits[12];
	int i = sizeof digits - 1;

	digits[i] = 0;
	do {
		digits[--i] = (char)('0' + line % 10);
		line /= 10;
	} while (line && i);
	put("faultline: internal error: ");
	put(what);
	put(" at ");
	put(file);
	put(":");
	put(digits + i);
	put(" (please report this)\n");
	abort();
}
