/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_lines.h"

#include <fcntl.h>
#include <string.h>

#include "util/sys.h"

void proc_lines_begin(struct proc_lines *p, int fd)
{
	p->fd = fd;
	p->at = p->end = 0;
}

int proc_lines_open(struct proc_lines *p, const char *path)
{
	int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	proc_lines_begin(p, fd);
	return fd < 0 ? fd : 0;
}

/* Makes room at the front, and fills it; false at the end of the file. */
static bool fill(struct proc_lines *p)
{
	ssize_t n;

	memmove(p->buf, p->buf + p->at, p->end - p->at);
	p->end -= p->at;
	p->at = 0;
	n = sys_read(p->fd, p->buf + p->end, sizeof p->buf - 1 - p->end);
	p->end += n > 0 ? (size_t)n : 0;
	return n > 0;
}

char *proc_lines_next(struct proc_lines *p)
{
	char *line, *stop;

	while (!(stop = memchr(p->buf + p->at, '\n', p->end - p->at)) && p->end - p->at < PROC_LINE_MAX && fill(p))
		;
	line = p->buf + p->at;
	if (p->at == p->end)
		return NULL;
	p->at = stop ? (size_t)(stop - p->buf) + 1 : p->end;
	*(stop ? stop : p->buf + p->end) = 0;
	return line;
}

void proc_lines_close(struct proc_lines *p)
{
	sys_close(p->fd);
}
