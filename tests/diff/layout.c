/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mapped, as a program can see it: address, protection, sharing. How a range is cut into mappings is the
 * implementation's own business, so neighbours that agree in these are one range. Offsets are not compared here: the
 * contents of the pages tell.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX (1 << 20)

/* The whole text, terminated. Read in one go where possible: other threads map and unmap meanwhile. */
static void read_maps(const struct context *c, char *text)
{
	int fd = c->backend->open_maps();
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, TEXT_MAX - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(fd);
}

static int parse_prot(const char *s)
{
	return (s[0] == 'r' ? PROT_READ : 0) | (s[1] == 'w' ? PROT_WRITE : 0) | (s[2] == 'x' ? PROT_EXEC : 0) |
	       (s[3] == 's' ? RANGE_SHARED : 0);
}

static size_t parse(const char *text, struct range *all)
{
	size_t n = 0;

	for (const char *line = text; line && *line && n < RANGES_MAX; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned long start, end;
		char prot[8];

		if (sscanf(line, "%lx-%lx %7s", &start, &end, prot) == 3)
			all[n++] = (struct range){(char *)start, (char *)end, parse_prot(prot)};
	}
	return n;
}

/* Adds what of the mappings lies in an area. */
static size_t clip(const struct range *all, size_t n, struct range area, struct range *out)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		struct range r = all[i], *last = found ? &out[found - 1] : NULL;

		r.start = r.start > area.start ? r.start : area.start;
		r.end = r.end < area.end ? r.end : area.end;
		if (r.start >= r.end)
			continue;
		if (last && last->end == r.start && last->prot == r.prot)
			last->end = r.end;
		else
			out[found++] = r;
	}
	return found;
}

size_t layout_read(const struct context *c, struct range *out)
{
	static _Thread_local char text[TEXT_MAX];
	static _Thread_local struct range all[RANGES_MAX];
	size_t n, found;

	read_maps(c, text);
	n = parse(text, all);
	found = clip(all, n, (struct range){c->zone - MARGIN, c->zone + WINDOW_PAGES * PAGE + MARGIN, 0}, out);
	for (int i = 0; i < SLOTS; i++)
		if (c->slots[i].len)
			found += clip(all, n, (struct range){c->slots[i].addr, c->slots[i].addr + c->slots[i].len, 0}, out + found);
	return found;
}
