/* SPDX-License-Identifier: Apache-2.0 */
/* What fl_space_dump() wrote with FL_DUMP_PAGES, read back: the mappings of a soft space and the entries of its page tables. */
#ifndef FL_CLI_DUMP_H
#define FL_CLI_DUMP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "faultline_soft.h"

/* What an entry stands for, in the order in which counts are printed. */
enum dump_kind {
	DUMP_FILE,
	DUMP_PRIVATE,
	DUMP_ZERO,
	DUMP_DEVICE,
	DUMP_SWAP,
	DUMP_GUARD,
	DUMP_NOTHING, /* it went while the dump was written */
	DUMP_KINDS
};

extern const char *const dump_kinds[DUMP_KINDS]; /* as the dump names them */

/* A page of 4 KiB that has an entry. */
struct dump_entry {
	uint64_t addr;
	enum dump_kind kind;
	struct fl_walk walk; /* without page and size */
};

struct dump_mapping {
	uint64_t start, end;
	char *line;      /* as in /proc/PID/maps, made safe to print */
	size_t first, n; /* its entries */
};

/* Both in the order of addresses. */
struct dump {
	struct dump_mapping *mappings;
	struct dump_entry *entries;
	size_t nmappings, nentries;
	unsigned levels; /* of the page tables: 4 or 5; 0 when no entry says so */
};

/* Begins as {0}. 0, or the exit status to give after a message. `name` is that of the file, for messages. */
int dump_read(FILE *f, const char *name, struct dump *d);
void dump_free(struct dump *d);

/* The mapping that has addr, NULL when none does; the last entry at addr or below, NULL when there is none. */
const struct dump_mapping *dump_mapping_at(const struct dump *d, uint64_t addr);
const struct dump_entry *dump_entry_before(const struct dump *d, uint64_t addr);

#endif
