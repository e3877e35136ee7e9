/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `faultline walk`: the page tables of a soft space, from a dump (dump.c) or of an example (example.c).
 *
 * A dump has the entries of pages, with the tables that lead to them. Of an address without an entry, the tables are known as far as a
 * page near it goes through the same ones; below that no page is mapped, and whether there is an empty table is not told.
 */
#include "walk.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dump.h"
#include "example.h"
#include "text.h"

#define PAGE 4096u
#define ENTRY_ADDR 0x000ffffffffff000ul
#define ADDRESS_BITS_MAX 57

struct walk {
	bool example;
	const char *file, *save;
	uint64_t *addr;
	size_t naddr;
	struct dump dump;
};

/* ---- All mappings ---- */

struct counts {
	uint64_t kind[DUMP_KINDS], accessed, dirty, shared;
};

static uint64_t page_entry(const struct fl_walk *w)
{
	const struct fl_walk_entry *last = &w->level[w->count - 1];

	return last->level == 1 ? last->entry : 0;
}

static void count(const struct dump *d, const struct dump_mapping *m, struct counts *c)
{
	*c = (struct counts){0};
	for (size_t i = m->first; i < m->first + m->n; i++) {
		const struct dump_entry *e = &d->entries[i];
		uint64_t bits = page_entry(&e->walk);

		c->kind[e->kind]++;
		c->accessed += bits & FL_PTE_ACCESSED ? 1 : 0;
		c->dirty += bits & FL_PTE_DIRTY ? 1 : 0;
		c->shared += e->walk.mappings > 1;
	}
	c->kind[DUMP_NOTHING] = (m->end - m->start) / PAGE;
	for (int k = 0; k < DUMP_NOTHING; k++)
		c->kind[DUMP_NOTHING] -= c->kind[k];
}

static void put_number(const char **before, uint64_t n, const char *what)
{
	char buf[NUMBER_MAX];

	if (!n)
		return;
	printf("%s%s %s", *before, count_format(n, buf), what);
	*before = ", ";
}

static void print_mapping(const struct dump *d, const struct dump_mapping *m)
{
	const char *before = ": ", *behind = "; ";
	uint64_t pages = (m->end - m->start) / PAGE;
	char buf[NUMBER_MAX];
	struct counts c;

	count(d, m, &c);
	printf("%s\n    %s page%s", m->line, count_format(pages, buf), pages == 1 ? "" : "s");
	for (int k = 0; k < DUMP_KINDS; k++)
		put_number(&before, c.kind[k], dump_kinds[k]);
	put_number(&behind, c.accessed, "accessed");
	put_number(&behind, c.dirty, "dirty");
	put_number(&behind, c.shared, "in several mappings");
	putchar('\n');
}

static void print_mappings(const struct dump *d)
{
	for (size_t i = 0; i < d->nmappings; i++)
		print_mapping(d, &d->mappings[i]);
	if (!d->nmappings)
		puts("nothing is mapped");
}

/* ---- One address ---- */

static unsigned index_of(uint64_t addr, unsigned level)
{
	return (unsigned)(addr >> (12 + 9 * (level - 1))) % 512;
}

static const char *level_name(unsigned level, unsigned levels)
{
	static const char *const names[] = {NULL, "PTE", "PMD", "PUD", "P4D", "PGD"};

	return level == levels ? "PGD" : names[level];
}

static void print_bits(uint64_t entry)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} bits[] = {
		{FL_PTE_PRESENT, "present"}, {FL_PTE_WRITE, "write"}, {FL_PTE_USER, "user"},       {FL_PTE_ACCESSED, "accessed"},
		{FL_PTE_DIRTY, "dirty"},     {FL_PTE_NX, "nx"},       {FL_PTE_SPECIAL, "special"}, {FL_PTE_ANON, "anon"},
	};

	if (!(entry & FL_PTE_PRESENT))
		printf(" not present");
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if (entry & bits[i].bit)
			printf(" %s", bits[i].name);
		entry &= ~bits[i].bit;
	}
	entry &= ~ENTRY_ADDR;
	if (entry)
		printf(" and %lx", entry);
}

/* What bits 12 to 51 mean depends on the level, and on whether the page is there. */
static void print_target(const struct fl_walk_entry *e)
{
	uint64_t where = e->entry & ENTRY_ADDR;

	if (e->level > 1)
		printf("-> table %lu", where / PAGE);
	else if (e->entry & FL_PTE_PRESENT)
		printf("-> memory at %lx", where);
	else if (e->entry & FL_PTE_ANON)
		printf("-> slot %lu", where / PAGE);
}

static void print_level(const struct fl_walk_entry *e, unsigned levels)
{
	printf("  %s %3u  %016lx ", level_name(e->level, levels), e->index, e->entry);
	print_bits(e->entry);
	printf("%s", e->entry ? "  " : "");
	print_target(e);
	putchar('\n');
}

/* The walk of an entry whose address shares the table of this level with addr, and its entry there; NULL when neither does. */
static const struct fl_walk_entry *shared_level(const struct dump_entry *const near[2], uint64_t addr, unsigned level, unsigned levels)
{
	unsigned shift = 12 + 9 * (level - 1), i = levels - level;

	for (int k = 0; k < 2; k++)
		if (near[k] && near[k]->addr >> shift == addr >> shift && i < near[k]->walk.count)
			return &near[k]->walk.level[i];
	return NULL;
}

/* Down to the page's own entry, or as far as the dump knows. The entries around addr are those that have most levels in common with it. */
static void print_levels(const struct dump *d, uint64_t addr)
{
	unsigned levels = d->levels ? d->levels : addr >> 48 ? 5 : 4;
	const struct dump_entry *before = dump_entry_before(d, addr), *after = before ? before + 1 : d->entries;
	const struct dump_entry *const near[] = {before, after == d->entries + d->nentries ? NULL : after};

	for (unsigned level = levels; level >= 1; level--) {
		const struct fl_walk_entry *e = shared_level(near, addr, level, levels);

		if (!e) {
			printf("  %s %3u  %s\n", level_name(level, levels), index_of(addr, level),
			       level == 1 ? "0000000000000000  empty" : "-                 no page below");
			return;
		}
		print_level(e, levels);
	}
}

static void print_private(const struct dump_entry *e)
{
	bool swap = e->kind == DUMP_SWAP;

	printf("a private page%s %lx", swap ? ", in swap at" : ", whose place in swap is", e->walk.where);
	if (e->walk.mappings > 1)
		printf("; %u mappings show it, so a write makes a copy", e->walk.mappings);
	else
		printf("; no other mapping shows it");
}

static void print_found(const struct dump_entry *e, uint64_t addr)
{
	switch (e->kind) {
	case DUMP_FILE:
		printf("byte %lx of the file", e->walk.where + addr % PAGE);
		break;
	case DUMP_PRIVATE:
	case DUMP_SWAP:
		print_private(e);
		break;
	case DUMP_ZERO:
		printf("the zero page; a write makes a private page");
		break;
	case DUMP_DEVICE:
		printf("memory of the store, for its byte %lx", e->walk.where + addr % PAGE);
		break;
	case DUMP_GUARD:
		printf("a guard");
		break;
	default:
		printf("nothing: it went while the dump was written");
	}
}

static void print_address(const struct dump *d, uint64_t addr)
{
	const struct dump_mapping *m = dump_mapping_at(d, addr);
	const struct dump_entry *e = dump_entry_before(d, addr);

	printf("%012lx: %s\n", addr, m ? m->line : "not mapped");
	print_levels(d, addr);
	printf("  here: ");
	if (e && e->addr == addr - addr % PAGE)
		print_found(e, addr);
	else
		printf("nothing%s", m ? " yet: an access faults, or meets a guard" : ": an access raises SIGSEGV");
	putchar('\n');
}

static void print(const struct walk *w)
{
	if (!w->naddr)
		print_mappings(&w->dump);
	for (size_t i = 0; i < w->naddr; i++) {
		if (i)
			putchar('\n');
		print_address(&w->dump, w->addr[i]);
	}
}

/* ---- Where it comes from ---- */

static int read_file(struct walk *w)
{
	FILE *f = fopen(w->file, "re");
	int status;

	if (!f) {
		complain("walk: %s: %s; give a file that fl_space_dump() or --save has written", w->file, strerror(errno));
		return EXIT_FAULTLINE;
	}
	status = dump_read(f, w->file, &w->dump);
	fclose(f);
	return status;
}

static int open_save(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0)
		complain("walk: --save %s: %s; name a file that can be written", name, strerror(errno));
	return fd;
}

static int read_back(int fd, struct walk *w)
{
	FILE *f = fdopen(fd, "r");
	int status;

	if (!f || fseek(f, 0, SEEK_SET)) {
		complain("walk: the example: %s", strerror(errno));
		return EXIT_FAULTLINE;
	}
	status = dump_read(f, "the example", &w->dump);
	fclose(f);
	return status;
}

static int read_example(struct walk *w)
{
	int fds[2] = {memfd_create("dump", MFD_CLOEXEC), -1}, n = 1, status = EXIT_FAULTLINE;

	if (fds[0] < 0) {
		complain("walk: the example: %s; a descriptor is needed", strerror(errno));
		return EXIT_FAULTLINE;
	}
	if (w->save)
		fds[n++] = open_save(w->save);
	if (!w->save || fds[1] >= 0)
		status = example_dump(fds, n);
	if (fds[1] >= 0 && close(fds[1]) && !status) {
		complain("walk: --save %s: %s; look to the room where it goes", w->save, strerror(errno));
		status = EXIT_FAULTLINE;
	}
	return status ? status : read_back(fds[0], w);
}

/* ---- The command ---- */

/* Hexadecimal, as addresses are in the dump. */
static error_t add_address(struct walk *w, const char *text)
{
	uint64_t addr;
	char *end;

	errno = 0;
	addr = strtoul(text, &end, 16);
	if (errno || *end || end == text || strchr("+- ", *text) || addr >> ADDRESS_BITS_MAX) {
		complain("walk: %s: not an address; write hexadecimal digits, below 2^%d", text, ADDRESS_BITS_MAX);
		return EINVAL;
	}
	w->addr = memory_grow(w->addr, w->naddr + 1, sizeof *w->addr);
	w->addr[w->naddr++] = addr;
	return 0;
}

static error_t end_of_words(struct walk *w)
{
	if (w->save && !w->example) {
		complain("walk: --save: only with --example; a dump from a file is in that file");
		return EINVAL;
	}
	if (!w->example && !w->file) {
		complain("walk: no file given; name one that fl_space_dump() has written, or try --example");
		return EINVAL;
	}
	return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct walk *w = state->input;

	switch (key) {
	case 'h':
		give_help(state);
	case 'e':
		w->example = true;
		return 0;
	case 's':
		w->save = arg;
		return 0;
	case ARGP_KEY_ARG: /* all options came before */
		if (w->example || w->file)
			return add_address(w, arg);
		w->file = arg;
		return 0;
	case ARGP_KEY_END:
		return end_of_words(w);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option option_table[] = {
	{"example", 'e', NULL, 0, "Build a small process and show that", 0},
	{"save", 's', "FILE", 0, "With --example: write the dump there as well", 0},
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp walk_argp = {
	.options = option_table,
	.parser = parse_option,
	.args_doc = "FILE [ADDRESS...]\n--example [ADDRESS...]",
	.doc = "Shows the page tables of a soft space: all mappings, with what their pages are; or, for each ADDRESS, "
	       "the entries that lead to it.\v"
	       "FILE is what fl_space_dump(space, fd, FL_DUMP_PAGES) has written. An ADDRESS is hexadecimal. Pages are of 4 KiB.\n\n"
	       "Exit status: 0, or 125 when the command line, or the file, is wrong.",
};

int walk_main(int argc, char **argv)
{
	struct walk w = {0};
	int status = parse_command_line(&walk_argp, "walk", argc, argv, 0, &w);

	if (!status)
		status = w.example ? read_example(&w) : read_file(&w);
	if (!status)
		print(&w);
	dump_free(&w.dump);
	free(w.addr);
	return status;
}
