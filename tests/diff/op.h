/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation of the differential tester, and lists of them.
 *
 * A list is data: it can be made from a seed, saved, read back, cut down and printed as C. Its arguments never hold
 * what only one run knows: an address is a base (the thread's zone, a slot that an earlier mmap filled, or a plain
 * number) and an offset, a descriptor is an index.
 */
#ifndef DIFF_OP_H
#define DIFF_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PAGE 4096L
#define OP_ARGS 7
#define THREADS_MAX 8
#define PROCESSES 3 /* of a thread: itself, a child, a grandchild or second child */
#define SLOTS 6
#define FDS 18
#define ZONE_BASE 0x200000000000L
#define ZONE_BASE_32 0x40000000L /* in soft spaces of 32 bits */
#define ZONE_STRIDE (1L << 30)
#define WINDOW_PAGES 768L  /* of a zone: where operations are aimed */
#define MARGIN (16L << 20) /* around the window: where they may reach */

enum op_code {
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_MADVISE,
	OP_MSYNC,
	OP_MINCORE,
	OP_MLOCK,
	OP_MUNLOCK,
	OP_MSEAL,
	OP_REMAP_FILE_PAGES,
	OP_LOAD,
	OP_STORE,
	OP_ATOMIC,
	OP_HASH,
	OP_FILL,
	OP_PREAD,
	OP_PWRITE,
	OP_PREAD_INTO,
	OP_PWRITE_FROM,
	OP_SEND,
	OP_RECEIVE,
	OP_TRUNCATE,
	OP_REOPEN,
	OP_FORK,
	OP_EXIT,
	OP_LAYOUT,
	OP_SWEEP,
	OP_CHECK_FILE,
	OP_EXCHANGE,
	OP_FETCH,
	OP_BRK,
	OP_MINCORE_INTO,
	OP_MLOCKALL,
	OP_UNLINK,
	OP_FALLOCATE,
	OP_READV,
	OP_WRITEV,
	OP_VM_READ,
	OP_VM_WRITE,
	OP_COPY,
	OP_WRITE,
	OP_CODES
};

enum arg_kind {
	ARG_NONE,
	ARG_SLOT,
	ARG_ADDR,
	ARG_LEN,
	ARG_PROT,
	ARG_FLAGS, /* of mmap */
	ARG_FD,
	ARG_OFF,
	ARG_NUMBER,
};

/* Sets of operations that can be left out. */
enum op_group {
	GROUP_MAP = 1,
	GROUP_ACCESS = 2,
	GROUP_FILE = 4,   /* calls on the file: pread, pwrite, truncate */
	GROUP_BUFFER = 8, /* mapped memory given to system calls */
	GROUP_REMAP = 16,
	GROUP_ADVICE = 32,
	GROUP_FORK = 64,
	GROUP_BAD = 128, /* arguments that make no sense */
	GROUP_CHECK = 256,
	GROUP_ANON = 512, /* MAP_ANONYMOUS */
	GROUP_LOCK = 1024,
	GROUP_SEAL = 2048,
	GROUP_GUARD = 4096,     /* MADV_GUARD_INSTALL and _REMOVE */
	GROUP_SOFT = 8192,      /* what only soft spaces and the kernel can do: fetches, mappings that grow */
	GROUP_TWICE = 16384,    /* what only two soft spaces do alike: brk */
	GROUP_NATIVE = 32768,   /* not for soft spaces */
	GROUP_CALLS = 65536,    /* calls that the library does not have, and the preload library wraps */
	GROUP_LOCKALL = 131072, /* not for soft spaces either; in few lists: they have a budget that is larger than what is mapped */
	GROUPS_NATIVE = (GROUP_SOFT - 1) | GROUP_NATIVE | GROUP_LOCKALL,
};

struct op {
	uint8_t code, thread, process;
	int64_t arg[OP_ARGS];
};

struct op_type {
	const char *name;
	unsigned group, weight;
	enum arg_kind kind[OP_ARGS];
};

extern const struct op_type op_types[OP_CODES];

/* The soft space that a list is for, see fl_soft_options; page_size 0: what Linux on x86-64 has. */
struct soft_kind {
	uint32_t address_bits, page_size, layout;
	uint64_t seed;
};

struct list {
	struct op *ops;
	size_t n;
	int threads;
	struct soft_kind soft;
};

/* ---- Addresses: 8 bits of base, 56 bits of offset ---- */

enum { BASE_ZONE = 0, BASE_SLOT = 1, BASE_RAW = 127 }; /* slot k: BASE_SLOT + k */

static inline int64_t addr_make(int base, int64_t off)
{
	return (int64_t)((uint64_t)base << 56 | ((uint64_t)off & 0xffffffffffffff));
}

static inline int addr_base(int64_t a)
{
	return (int)((uint64_t)a >> 56);
}

static inline int64_t addr_off(int64_t a)
{
	return (int64_t)((uint64_t)a << 8) >> 8;
}

/* ---- Random numbers: the same on every machine ---- */

static inline uint64_t random_next(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* [0, n) */
static inline int64_t random_below(uint64_t *x, int64_t n)
{
	return (int64_t)(random_next(x) % (uint64_t)n);
}

/* ---- op.c ---- */

/* One operation as a line of text, which op_parse() reads. */
void op_print(FILE *f, const struct op *o);
bool op_parse(const char *line, struct op *o);
bool list_read(const char *path, struct list *l);
void list_print(FILE *f, const struct list *l);
struct list list_copy(const struct list *l);
void list_free(struct list *l);
/* The group that `name` names, as in --only and --without; 0: none does. */
unsigned group_by_name(const char *name);

/* ---- generate.c ---- */

/* With GROUP_TWICE also for a soft space of any kind. */
struct list list_generate(uint64_t seed, size_t n, int threads, unsigned groups);

/* ---- emit.c ---- */

/* The list as a C program for either implementation. */
void list_emit(FILE *f, const struct list *l, uint64_t budget);

#endif
