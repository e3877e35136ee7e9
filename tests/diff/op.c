/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations; lists as text. */
#include "op.h"

#include <stdlib.h>
#include <string.h>

const struct op_type op_types[OP_CODES] = {
	[OP_MMAP] = {"mmap", GROUP_MAP, 14, {ARG_SLOT, ARG_ADDR, ARG_LEN, ARG_PROT, ARG_FLAGS, ARG_FD, ARG_OFF}},
	[OP_MUNMAP] = {"munmap", GROUP_MAP, 6, {ARG_ADDR, ARG_LEN}},
	[OP_MPROTECT] = {"mprotect", GROUP_MAP, 8, {ARG_ADDR, ARG_LEN, ARG_PROT}},
	[OP_MREMAP] = {"mremap", GROUP_REMAP, 8, {ARG_SLOT, ARG_ADDR, ARG_LEN, ARG_LEN, ARG_NUMBER, ARG_ADDR}},
	[OP_MADVISE] = {"madvise", GROUP_ADVICE, 8, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_MSYNC] = {"msync", GROUP_ADVICE, 3, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_MINCORE] = {"mincore", GROUP_ADVICE, 2, {ARG_ADDR, ARG_LEN}},
	[OP_MLOCK] = {"mlock", GROUP_LOCK, 3, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_MUNLOCK] = {"munlock", GROUP_LOCK, 4, {ARG_ADDR, ARG_LEN}},
	[OP_MSEAL] = {"mseal", GROUP_SEAL, 1, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_REMAP_FILE_PAGES] = {"remap_file_pages", GROUP_REMAP, 2, {ARG_ADDR, ARG_LEN, ARG_NUMBER, ARG_NUMBER, ARG_NUMBER}},
	[OP_LOAD] = {"load", GROUP_ACCESS, 14, {ARG_ADDR, ARG_NUMBER}},
	[OP_STORE] = {"store", GROUP_ACCESS, 18, {ARG_ADDR, ARG_NUMBER, ARG_NUMBER}},
	[OP_ATOMIC] = {"atomic", GROUP_ACCESS, 4, {ARG_ADDR, ARG_NUMBER}},
	[OP_HASH] = {"hash", GROUP_ACCESS, 6, {ARG_ADDR, ARG_LEN}},
	[OP_FILL] = {"fill", GROUP_ACCESS, 8, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_PREAD] = {"pread", GROUP_FILE, 4, {ARG_FD, ARG_LEN, ARG_OFF}},
	[OP_PWRITE] = {"pwrite", GROUP_FILE, 5, {ARG_FD, ARG_LEN, ARG_OFF, ARG_NUMBER}},
	[OP_PREAD_INTO] = {"pread_into", GROUP_BUFFER, 3, {ARG_FD, ARG_ADDR, ARG_LEN, ARG_OFF}},
	[OP_PWRITE_FROM] = {"pwrite_from", GROUP_BUFFER, 3, {ARG_FD, ARG_ADDR, ARG_LEN, ARG_OFF}},
	[OP_SEND] = {"send", GROUP_BUFFER, 2, {ARG_ADDR, ARG_LEN}},
	[OP_RECEIVE] = {"receive", GROUP_BUFFER, 2, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_TRUNCATE] = {"truncate", GROUP_FILE, 4, {ARG_FD, ARG_OFF}},
	[OP_REOPEN] = {"reopen", GROUP_FILE, 1, {ARG_FD}},
	[OP_FORK] = {"fork", GROUP_FORK, 2, {ARG_NUMBER}},
	[OP_EXIT] = {"exit", GROUP_FORK, 2, {ARG_NONE}},
	[OP_LAYOUT] = {"layout", GROUP_CHECK, 3, {ARG_NONE}},
	[OP_SWEEP] = {"sweep", GROUP_CHECK, 1, {ARG_NONE}},
	[OP_CHECK_FILE] = {"check_file", GROUP_CHECK, 2, {ARG_FD}},
	[OP_EXCHANGE] = {"exchange", GROUP_SOFT, 5, {ARG_ADDR, ARG_NUMBER, ARG_NUMBER}},
	[OP_FETCH] = {"fetch", GROUP_SOFT, 3, {ARG_ADDR}},
	[OP_BRK] = {"brk", GROUP_TWICE, 5, {ARG_SLOT, ARG_NUMBER}},
	[OP_MINCORE_INTO] = {"mincore_into", GROUP_NATIVE, 1, {ARG_ADDR, ARG_LEN, ARG_ADDR}},
	[OP_MLOCKALL] = {"mlockall", GROUP_LOCKALL, 1, {ARG_NUMBER}},
	[OP_UNLINK] = {"unlink", GROUP_NATIVE, 1, {ARG_FD}},
	[OP_FALLOCATE] = {"fallocate", GROUP_CALLS, 5, {ARG_FD, ARG_NUMBER, ARG_OFF, ARG_LEN}},
	[OP_READV] = {"readv", GROUP_CALLS, 4, {ARG_FD, ARG_ADDR, ARG_LEN, ARG_ADDR, ARG_LEN, ARG_OFF, ARG_NUMBER}},
	[OP_WRITEV] = {"writev", GROUP_CALLS, 4, {ARG_FD, ARG_ADDR, ARG_LEN, ARG_ADDR, ARG_LEN, ARG_OFF, ARG_NUMBER}},
	[OP_VM_READ] = {"vm_read", GROUP_CALLS, 2, {ARG_ADDR, ARG_LEN}},
	[OP_VM_WRITE] = {"vm_write", GROUP_CALLS, 2, {ARG_ADDR, ARG_LEN, ARG_NUMBER}},
	[OP_COPY] = {"copy", GROUP_CALLS, 4, {ARG_FD, ARG_OFF, ARG_FD, ARG_OFF, ARG_LEN}},
	[OP_WRITE] = {"write", GROUP_CALLS, 3, {ARG_FD, ARG_LEN, ARG_OFF, ARG_NUMBER}},
};

static const struct {
	const char *name;
	unsigned group;
} group_names[] = {
	{"map", GROUP_MAP},       {"access", GROUP_ACCESS},   {"file", GROUP_FILE},   {"buffer", GROUP_BUFFER}, {"remap", GROUP_REMAP},
	{"advice", GROUP_ADVICE}, {"fork", GROUP_FORK},       {"bad", GROUP_BAD},     {"check", GROUP_CHECK},   {"anon", GROUP_ANON},
	{"lock", GROUP_LOCK},     {"seal", GROUP_SEAL},       {"guard", GROUP_GUARD}, {"soft", GROUP_SOFT},     {"native", GROUP_NATIVE},
	{"calls", GROUP_CALLS},   {"lockall", GROUP_LOCKALL},
};

unsigned group_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof group_names / sizeof *group_names; i++)
		if (!strcmp(group_names[i].name, name))
			return group_names[i].group;
	return 0;
}

void op_print(FILE *f, const struct op *o)
{
	const struct op_type *t = &op_types[o->code];

	fprintf(f, "%u.%u %s", o->thread, o->process, t->name);
	for (int i = 0; i < OP_ARGS && t->kind[i]; i++)
		fprintf(f, " %#llx", (unsigned long long)o->arg[i]);
	fputc('\n', f);
}

static bool find_code(const char *name, struct op *o)
{
	for (int c = 0; c < OP_CODES; c++)
		if (!strcmp(op_types[c].name, name)) {
			o->code = (uint8_t)c;
			return true;
		}
	return false;
}

bool op_parse(const char *line, struct op *o)
{
	unsigned thread, process;
	char name[32];
	int at = 0;

	memset(o, 0, sizeof *o);
	if (sscanf(line, "%u.%u %31s%n", &thread, &process, name, &at) != 3 || thread >= THREADS_MAX || process >= PROCESSES)
		return false;
	if (!find_code(name, o))
		return false;
	o->thread = (uint8_t)thread;
	o->process = (uint8_t)process;
	for (int i = 0; i < OP_ARGS && op_types[o->code].kind[i]; i++) {
		char *end;

		o->arg[i] = (int64_t)strtoull(line + at, &end, 0);
		if (end == line + at)
			return false;
		at = (int)(end - line);
	}
	return true;
}

static void append(struct list *l, const struct op *o)
{
	if (!(l->n & (l->n - 1)))
		l->ops = realloc(l->ops, (l->n ? 2 * l->n : 1) * sizeof *o);
	l->ops[l->n++] = *o;
	if (o->thread >= l->threads)
		l->threads = o->thread + 1;
}

/* The line that list_print() begins with. */
static bool parse_soft(const char *line, struct soft_kind *k)
{
	unsigned long long seed;

	if (sscanf(line, "soft %u %u %u %llu", &k->address_bits, &k->page_size, &k->layout, &seed) != 4)
		return false;
	k->seed = seed;
	return true;
}

bool list_read(const char *path, struct list *l)
{
	FILE *f = fopen(path, "r");
	char line[512];
	bool ok = f;

	*l = (struct list){.threads = 1};
	while (ok && fgets(line, sizeof line, f)) {
		struct op o;

		if (line[0] == '#' || line[0] == '\n' || parse_soft(line, &l->soft))
			continue;
		ok = op_parse(line, &o);
		if (ok)
			append(l, &o);
	}
	if (f)
		fclose(f);
	return ok;
}

void list_print(FILE *f, const struct list *l)
{
	const struct soft_kind *k = &l->soft;

	if (k->page_size)
		fprintf(f, "soft %u %u %u %llu\n", k->address_bits, k->page_size, k->layout, (unsigned long long)k->seed);
	for (size_t i = 0; i < l->n; i++)
		op_print(f, &l->ops[i]);
}

struct list list_copy(const struct list *l)
{
	struct list c = *l;

	c.ops = malloc((l->n + 1) * sizeof *c.ops);
	memcpy(c.ops, l->ops, l->n * sizeof *c.ops);
	return c;
}

void list_free(struct list *l)
{
	free(l->ops);
	l->ops = NULL;
	l->n = 0;
}
