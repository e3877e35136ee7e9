/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format, as src/mm/maps.c and src/mm/soft_dump.c write it:
 *
 *   START-END PROT OFFSET DEVICE INODE   NAME                      a mapping
 *     ADDR  LEVEL[INDEX]=ENTRY ...  KIND[ at PLACE][, N mappings]  each of its entries that is not empty, two blanks in front
 *
 * Numbers are hexadecimal but for levels, indices and counts. Addresses rise. Entries are given from the top table down.
 */
#include "dump.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define LEVELS_MAX 5
#define PAGE 4096

const char *const dump_kinds[DUMP_KINDS] = {
	[DUMP_FILE] = "file", [DUMP_PRIVATE] = "private", [DUMP_ZERO] = "zero page",  [DUMP_DEVICE] = "device",
	[DUMP_SWAP] = "swap", [DUMP_GUARD] = "guard",     [DUMP_NOTHING] = "nothing",
};

/* The word if it comes next, after blanks; *s goes behind it. */
static bool take(const char **s, const char *word)
{
	const char *at = *s + strspn(*s, " ");
	size_t n = strlen(word);

	if (strncmp(at, word, n))
		return false;
	*s = at + n;
	return true;
}

static bool read_levels(const char **s, struct fl_walk *w)
{
	struct fl_walk_entry e;
	int n;

	while (w->count < LEVELS_MAX && sscanf(*s, " %u[%u]=%16lx%n", &e.level, &e.index, &e.entry, &n) == 3) {
		if (!e.level || e.level > LEVELS_MAX || e.index > 511 || (w->count && e.level != w->level[w->count - 1].level - 1))
			return false;
		w->level[w->count++] = e;
		*s += n;
	}
	return w->count && w->level[0].level >= 4;
}

static bool read_kind(const char **s, enum dump_kind *kind)
{
	for (int k = 0; k < DUMP_KINDS; k++)
		if (take(s, dump_kinds[k])) {
			*kind = (enum dump_kind)k;
			return true;
		}
	return false;
}

static bool read_entry(const char *line, struct dump_entry *e)
{
	int n = 0;

	*e = (struct dump_entry){0};
	if (sscanf(line, " %16lx%n", &e->addr, &n) != 1)
		return false;
	line += n;
	if (!read_levels(&line, &e->walk) || !read_kind(&line, &e->kind))
		return false;
	if (take(&line, "at ") && sscanf(line, "%16lx%n", &e->walk.where, &n) == 1)
		line += n;
	e->walk.mappings = e->kind == DUMP_PRIVATE || e->kind == DUMP_SWAP;
	if (take(&line, ",") && sscanf(line, " %u mappings%n", &e->walk.mappings, &n) == 1)
		line += n;
	return !*line;
}

static bool add_entry(struct dump *d, const char *line)
{
	struct dump_mapping *m = d->nmappings ? &d->mappings[d->nmappings - 1] : NULL;
	struct dump_entry e;

	if (!m || !read_entry(line, &e) || e.addr % PAGE || e.addr < m->start || e.addr >= m->end)
		return false;
	if (m->n && e.addr <= d->entries[d->nentries - 1].addr)
		return false;
	if (d->levels && d->levels != e.walk.level[0].level)
		return false;
	if (!(d->nentries & (d->nentries - 1))) /* full at each power of two */
		d->entries = memory_grow(d->entries, d->nentries ? d->nentries * 2 : 1, sizeof *d->entries);
	d->entries[d->nentries++] = e;
	d->levels = e.walk.level[0].level;
	m->n++;
	return true;
}

static bool add_mapping(struct dump *d, const char *line)
{
	struct dump_mapping m = {.first = d->nentries};
	char prot[5];

	if (sscanf(line, "%16lx-%16lx %4[rwxsp-] ", &m.start, &m.end, prot) != 3 || strlen(prot) != 4)
		return false;
	if (m.start >= m.end || m.start % PAGE || m.end % PAGE || (d->nmappings && m.start < d->mappings[d->nmappings - 1].end))
		return false;
	m.line = text_escape(line, TEXT_TERMINAL);
	d->mappings = memory_grow(d->mappings, d->nmappings + 1, sizeof *d->mappings);
	d->mappings[d->nmappings++] = m;
	return true;
}

static bool add_line(struct dump *d, char *line, size_t len)
{
	if (len && line[len - 1] == '\n')
		line[--len] = 0;
	if (strlen(line) != len) /* zeros: no text */
		return false;
	return *line == ' ' ? add_entry(d, line) : add_mapping(d, line);
}

static int malformed(const char *name, size_t number)
{
	complain("walk: %s: line %zu is not of a dump; write the file with fl_space_dump(space, fd, FL_DUMP_PAGES)", name, number);
	return EXIT_FAULTLINE;
}

int dump_read(FILE *f, const char *name, struct dump *d)
{
	size_t room = 0, number = 0;
	char *line = NULL;
	int status = 0;
	ssize_t len;

	while (!status && (len = getline(&line, &room, f)) >= 0) {
		number++;
		if (!add_line(d, line, (size_t)len))
			status = malformed(name, number);
	}
	if (!status && ferror(f)) {
		complain("walk: %s: %s; give a file that can be read", name, strerror(errno));
		status = EXIT_FAULTLINE;
	}
	free(line);
	return status;
}

void dump_free(struct dump *d)
{
	for (size_t i = 0; i < d->nmappings; i++)
		free(d->mappings[i].line);
	free(d->mappings);
	free(d->entries);
	*d = (struct dump){0};
}

const struct dump_mapping *dump_mapping_at(const struct dump *d, uint64_t addr)
{
	for (size_t i = 0; i < d->nmappings; i++)
		if (addr >= d->mappings[i].start && addr < d->mappings[i].end)
			return &d->mappings[i];
	return NULL;
}

const struct dump_entry *dump_entry_before(const struct dump *d, uint64_t addr)
{
	size_t low = 0, high = d->nentries;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->entries[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &d->entries[low - 1] : NULL;
}
