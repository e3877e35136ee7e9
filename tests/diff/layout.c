/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mapped, as a program can see it: addresses, protection, sharing, and which bytes of which file. How a range is
 * cut into mappings is the implementation's own business, so neighbours that continue each other are one range, but with --borders.
 *
 * Read as the implementation tells it, or from the kernel: what an implementation in user space tells must also be so,
 * but for the memory that it puts behind a mapping, which need not be shared because the mapping is.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The whole text, terminated. */
static void read_maps(int fd, char *text)
{
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

/* The last part of the path: the directories of two runs differ. */
static uint64_t parse_name(const char *line)
{
	const char *end = strchr(line, '\n'), *from = end;

	while (from > line && from[-1] != '/' && from[-1] != ' ')
		from--;
	return hash_bytes(HASH_START, from, (size_t)(end - from));
}

static size_t parse(const char *text, enum layout_kind kind, struct range *all)
{
	int hidden = kind == LAYOUT_KERNEL ? RANGE_SHARED : 0; /* a shared mapping on pool frames is private memory to the kernel */
	size_t n = 0;

	for (const char *line = text; line && *line && n < RANGES_MAX; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned long start, end, offset;
		char prot[8];
		int at = 0;

		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s%n", &start, &end, prot, &offset, &at) == 4)
			all[n++] = (struct range){(char *)start, (char *)end, parse_prot(prot) & ~hidden, offset, parse_name(line + at)};
	}
	return n;
}

/* Anonymous: its offsets mean nothing. */
#define NO_NAME HASH_START

static bool continues(const struct range *a, const struct range *b, enum layout_kind kind)
{
	if (a->end != b->start || a->prot != b->prot)
		return false;
	return kind == LAYOUT_KERNEL ||
	       (a->name == b->name && (a->name == NO_NAME || a->offset + (uint64_t)(a->end - a->start) == b->offset));
}

/* Adds what of the mappings lies in an area. */
static size_t clip(const struct context *c, const struct range *all, size_t n, struct range area, enum layout_kind kind, struct range *out)
{
	bool apart = c->borders && (kind == LAYOUT_OWN || c->kept);
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		struct range r = all[i], *last = found ? &out[found - 1] : NULL;

		if (r.start < area.start && r.end > area.start) {
			r.offset += r.name == NO_NAME ? 0 : (uint64_t)(area.start - r.start);
			r.start = area.start;
		}
		r.end = r.end < area.end ? r.end : area.end;
		if (r.start < area.start || r.start >= r.end)
			continue;
		if (last && !apart && continues(last, &r, kind))
			last->end = r.end;
		else
			out[found++] = r;
	}
	return found;
}

size_t layout_read(const struct context *c, enum layout_kind kind, struct range *out)
{
	char *text = c->scratch->text;
	struct range *all = c->scratch->all;
	size_t n, found;

	read_maps(kind == LAYOUT_KERNEL && !c->backend->soft ? kernel_open_maps() : c->backend->open_maps(), text);
	n = parse(text, kind, all);
	if (c->absolute)
		return clip(c, all, n, (struct range){.end = (char *)UINTPTR_MAX}, kind, out);
	found = clip(c, all, n, (struct range){.start = c->zone - MARGIN, .end = c->zone + WINDOW_PAGES * PAGE + MARGIN}, kind, out);
	for (int i = 0; i < SLOTS; i++)
		if (c->slots[i].len)
			found += clip(c, all, n, (struct range){.start = c->slots[i].addr, .end = c->slots[i].addr + c->slots[i].len}, kind,
				      out + found);
	return found;
}
