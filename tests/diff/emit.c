/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list as a C program: every operation is a line that prints what it did; the rest is in reproducer.h. Threads run
 * one after the other there: what needs them at the same time is run from the list.
 */
#include "op.h"
#include "run.h"

#include <sys/mman.h>

/* ---- Arguments ---- */

static void emit_addr(FILE *f, int64_t a, int thread)
{
	int base = addr_base(a);

	if (base == BASE_ZONE)
		fprintf(f, "ZONE + %#lx", (unsigned long)(thread * ZONE_STRIDE + addr_off(a)));
	else if (base == BASE_RAW)
		fprintf(f, "raw + %#lx", (unsigned long)addr_off(a));
	else
		fprintf(f, "slot[%d] + %#lx", base - BASE_SLOT, (unsigned long)addr_off(a));
}

static const struct {
	int bit;
	const char *name;
} map_flags[] = {
	{MAP_FIXED, "MAP_FIXED"},         {MAP_ANONYMOUS, "MAP_ANONYMOUS"},
	{MAP_POPULATE, "MAP_POPULATE"},   {MAP_NONBLOCK, "MAP_NONBLOCK"},
	{MAP_NORESERVE, "MAP_NORESERVE"}, {MAP_LOCKED, "MAP_LOCKED"},
	{MAP_STACK, "MAP_STACK"},         {MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"},
};

static void emit_flags(FILE *f, int64_t flags)
{
	static const char *const types[] = {"0", "MAP_SHARED", "MAP_PRIVATE", "MAP_SHARED_VALIDATE"};

	fputs(types[flags & 3], f);
	flags &= ~3L;
	for (size_t i = 0; i < sizeof map_flags / sizeof *map_flags; i++)
		if (flags & map_flags[i].bit) {
			fprintf(f, " | %s", map_flags[i].name);
			flags &= ~map_flags[i].bit;
		}
	if (flags)
		fprintf(f, " | %#lx", (unsigned long)flags);
}

static void emit_prot(FILE *f, int64_t prot)
{
	static const char *const names[] = {"PROT_NONE", "PROT_READ", "PROT_WRITE", "PROT_READ | PROT_WRITE"};

	if (prot >= 0 && prot < 4)
		fputs(names[prot], f);
	else
		fprintf(f, "%#lx", (unsigned long)prot);
}

static void emit_arg(FILE *f, const struct op *o, int i)
{
	int64_t a = o->arg[i];

	switch (op_types[o->code].kind[i]) {
	case ARG_ADDR:
		emit_addr(f, a, o->thread);
		break;
	case ARG_PROT:
		emit_prot(f, a);
		break;
	case ARG_FLAGS:
		emit_flags(f, a);
		break;
	case ARG_FD:
		fprintf(f, o->code == OP_CHECK_FILE || o->code == OP_REOPEN ? "%ld" : "fd[%ld]", (long)a);
		break;
	case ARG_OFF:
		fprintf(f, "%#lx",
			(unsigned long)(op_types[o->code].kind[0] == ARG_FD ? file_offset(o, o->arg[0], a) : file_offset(o, o->arg[5], a)));
		break;
	default:
		fprintf(f, "%#lx", (unsigned long)a);
	}
}

/* ---- Operations: how each looks in C; %N is argument N ---- */

static const char *const shapes[OP_CODES] = {
	[OP_MMAP] = "mapped(%0, fl_mmap(%1, %2, %3, %4, %5, %6))",
	[OP_MUNMAP] = "call(fl_munmap(%0, %1))",
	[OP_MPROTECT] = "call(fl_mprotect(%0, %1, %2))",
	[OP_MREMAP] = "mapped(%0, fl_mremap(%1, %2, %3, %4, %5))",
	[OP_MADVISE] = "call(fl_madvise(%0, %1, %2))",
	[OP_MSYNC] = "call(fl_msync(%0, %1, %2))",
	[OP_MINCORE] = "call(fl_mincore(%0, %1, (unsigned char *)buffer))",
	[OP_MLOCK] = "call(fl_mlock2(%0, %1, %2))",
	[OP_MUNLOCK] = "call(fl_munlock(%0, %1))",
	[OP_MSEAL] = "call(fl_mseal(%0, %1, %2))",
	[OP_REMAP_FILE_PAGES] = "call(fl_remap_file_pages(%0, %1, %2, %3 & 511, %4))",
	[OP_LOAD] = "TRY(memcpy(&value, %0, %1))",
	[OP_STORE] = "TRY(memcpy(%0, &(uint64_t){%2}, %1))",
	[OP_ATOMIC] = "TRY(value = __atomic_fetch_add((uint64_t *)(%0), %1, __ATOMIC_SEQ_CST))",
	[OP_HASH] = "TRY(value = hash(%0, %1))",
	[OP_FILL] = "TRY(fill(%0, %1, %2))",
	[OP_PREAD] = "call(fl_pread(%0, buffer, %1, %2))",
	[OP_PWRITE] = "pattern(%3, %1); call(fl_pwrite(%0, buffer, %1, %2))",
	[OP_PREAD_INTO] = "call(fl_pread(%0, %1, %2, %3))",
	[OP_PWRITE_FROM] = "call(fl_pwrite(%0, %1, %2, %3))",
	[OP_SEND] = "send_bytes(%0, %1)",
	[OP_RECEIVE] = "receive_bytes(%0, %1, %2)",
	[OP_TRUNCATE] = "call(fl_ftruncate(%0, %1))",
	[OP_REOPEN] = "puts(\"not opened again\")",
	[OP_FORK] = "fork_process(%0)",
	[OP_EXIT] = "end_process()",
	[OP_LAYOUT] = "sweep()",
	[OP_SWEEP] = "sweep()",
	[OP_CHECK_FILE] = "check_file(%0)",
	[OP_EXCHANGE] = "TRY(value = __atomic_exchange_n((uint64_t *)(%0), %2, __ATOMIC_SEQ_CST))",
	[OP_FETCH] = "TRY(((void (*)(void))(%0))())",
	[OP_BRK] = "puts(\"not with pointers\")",
	[OP_MINCORE_INTO] = "call(fl_mincore(%0, %1, (unsigned char *)(%2)))",
	[OP_MLOCKALL] = "call(%0 ? fl_mlockall(%0) : fl_munlockall())",
	[OP_UNLINK] = "puts(\"not unlinked\")",
	[OP_FALLOCATE] = "puts(\"fallocate: only under the preload library\")",
	[OP_READV] = "puts(\"preadv2: only under the preload library\")",
	[OP_WRITEV] = "puts(\"pwritev2: only under the preload library\")",
	[OP_VM_READ] = "puts(\"process_vm_readv: only under the preload library\")",
	[OP_VM_WRITE] = "puts(\"process_vm_writev: only under the preload library\")",
	[OP_COPY] = "puts(\"copy_file_range: only under the preload library\")",
	[OP_WRITE] = "puts(\"write: only under the preload library\")",
};

static void emit_shape(FILE *f, const struct op *o, const char *shape)
{
	for (const char *p = shape; *p; p++) {
		if (*p == '%')
			emit_arg(f, o, *++p - '0');
		else
			fputc(*p, f);
	}
}

void list_emit(FILE *f, const struct list *l, uint64_t budget)
{
	fprintf(f, "#include \"reproducer.h\"\n\nint main(void)\n{\n\tstart(%#lx);\n", (unsigned long)budget);
	for (size_t i = 0; i < l->n; i++) {
		fprintf(f, "\tSTEP(%zu, %d, ", i, l->ops[i].process);
		emit_shape(f, &l->ops[i], shapes[l->ops[i].code]);
		fputs(");\n", f);
	}
	fprintf(f, "\treturn finish(%zu);\n}\n", l->n);
}
