/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lists. Arguments are aimed: most addresses lie in ranges that an earlier operation probably mapped, most
 * offsets within a file, so that most operations do something; a few are made nonsense on purpose.
 */
#include "op.h"
#include "run.h"

#include <stdlib.h>
#include <sys/mman.h>

#define REMEMBERED 16

struct remembered {
	int64_t addr, pages;
};

struct generator {
	uint64_t random;
	unsigned groups;
	struct remembered ranges[THREADS_MAX][REMEMBERED]; /* what probably is mapped */
	bool forked[THREADS_MAX];
	int process; /* with GROUP_SOFT: of the last operation */
};

static int64_t below(struct generator *g, int64_t n)
{
	return random_below(&g->random, n);
}

static bool chance(struct generator *g, int percent)
{
	return below(g, 100) < percent;
}

/* What lists for soft spaces have more of; others are not changed by it, nor are the random numbers that they take. */
static bool soft_chance(struct generator *g, int percent)
{
	return (g->groups & GROUP_SOFT) && chance(g, percent);
}

/* The other way round. */
static bool native_chance(struct generator *g, int percent)
{
	return !(g->groups & GROUP_SOFT) && chance(g, percent);
}

#define PICK(g, table) (table)[below(g, sizeof(table) / sizeof *(table))]

/* ---- Single arguments ---- */

static int64_t random_pages(struct generator *g)
{
	int64_t most = chance(g, 70) ? 8 : chance(g, 80) ? 64 : 256;

	return 1 + below(g, most);
}

static int64_t random_len(struct generator *g)
{
	return random_pages(g) * PAGE - (chance(g, 15) ? below(g, PAGE) : 0);
}

static struct remembered *some_range(struct generator *g, int thread)
{
	struct remembered *r = &g->ranges[thread][below(g, REMEMBERED)];

	return r->pages ? r : NULL;
}

static void remember(struct generator *g, int thread, int64_t addr, int64_t len)
{
	g->ranges[thread][below(g, REMEMBERED)] = (struct remembered){addr, (len + PAGE - 1) / PAGE};
}

static int64_t window_addr(struct generator *g)
{
	return addr_make(BASE_ZONE, below(g, WINDOW_PAGES) * PAGE);
}

/* A range that probably is mapped, whole or in part, or one that reaches beyond it. */
static void random_range(struct generator *g, int thread, int64_t *addr, int64_t *len)
{
	struct remembered *r = chance(g, 90) ? some_range(g, thread) : NULL;
	int64_t skip;

	*addr = window_addr(g);
	*len = random_len(g);
	if (!r)
		return;
	skip = chance(g, 40) ? 0 : below(g, r->pages);
	*addr = r->addr + skip * PAGE;
	if (chance(g, 40))
		*len = (r->pages - skip) * PAGE;
	else if (chance(g, 80) && *len > (r->pages - skip) * PAGE)
		*len = (1 + below(g, r->pages - skip)) * PAGE;
}

static int64_t random_off(struct generator *g)
{
	return below(g, chance(g, 90) ? 300 : 500) * PAGE;
}

static int64_t random_fd(struct generator *g)
{
	static const uint8_t common[] = {FD_A, FD_A, FD_A, FD_B, FD_B, FD_B, FD_SHARED, FD_SHARED, FD_C, FD_C_RDONLY, FD_B_AGAIN};
	static const uint8_t rare[] = {FD_A_RDONLY, FD_D_RDONLY, FD_EMPTY, FD_C, FD_C_RDONLY, FD_A_WRONLY};

	static const uint8_t native[] = {FD_MEMORY, FD_MEMORY, FD_MEMORY, FD_ZERO, FD_A_APPEND, FD_B_DIRECT};

	if (native_chance(g, 8))
		return PICK(g, native);
	return chance(g, 80) ? PICK(g, common) : PICK(g, rare);
}

static int64_t random_prot(struct generator *g)
{
	static const uint8_t prots[] = {3, 3, 3, 3, 3, 3, 1, 1, 1, 2, 0};

	static const uint8_t code[] = {PROT_WRITE | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC}; /* alone it depends on the processor */

	if (soft_chance(g, 5))
		return PROT_READ | PROT_WRITE | PROT_EXEC;
	if (native_chance(g, 4))
		return PICK(g, code);
	return chance(g, 5) ? PROT_READ | PROT_EXEC : PICK(g, prots);
}

static int64_t random_access(struct generator *g, int thread)
{
	int64_t addr, len;

	random_range(g, thread, &addr, &len);
	return addr + below(g, (len + PAGE - 1) / PAGE) * PAGE + (chance(g, 30) ? PAGE - 8 : below(g, 512) * 8);
}

/* ---- Operations ---- */

/* A few pages: half of the budget may be locked. */
static int64_t lockable(struct generator *g)
{
	return (1 + below(g, 3)) * PAGE;
}

static void make_mmap(struct generator *g, struct op *o)
{
	static const int types[] = {MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED_VALIDATE};
	static const int extras[] = {MAP_POPULATE, MAP_NORESERVE, MAP_POPULATE | MAP_NONBLOCK, MAP_STACK, MAP_DENYWRITE, MAP_32BIT};
	int64_t *a = o->arg;

	a[0] = below(g, SLOTS);
	a[1] = window_addr(g);
	a[2] = random_len(g);
	a[3] = random_prot(g);
	a[4] = PICK(g, types) | (chance(g, 10) ? PICK(g, extras) : 0);
	a[5] = random_fd(g);
	a[6] = chance(g, 25) ? 0 : random_off(g);
	if ((g->groups & GROUP_ANON) && chance(g, 30)) {
		a[4] |= MAP_ANONYMOUS;
		a[5] = FD_CLOSED;
		a[6] = 0;
	}
	if ((g->groups & GROUP_LOCK) && chance(g, 2)) {
		a[4] |= MAP_LOCKED;
		a[2] = lockable(g);
	}
	if ((g->groups & GROUP_LOCK) && native_chance(g, 1)) {
		a[4] |= MAP_LOCKED | MAP_POPULATE;
		a[2] = lockable(g);
	}
	if (chance(g, 20))
		a[1] = addr_make(BASE_RAW, 0);
	else if (chance(g, 65))
		a[4] |= chance(g, 90) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	if ((a[4] & MAP_FIXED) && (a[4] & MAP_ANONYMOUS) && soft_chance(g, 10)) {
		a[4] = (a[4] & ~MAP_TYPE) | MAP_PRIVATE | MAP_GROWSDOWN;
		a[2] = PAGE * (1 + below(g, 8));
	}
	remember(g, o->thread, addr_base(a[1]) == BASE_RAW ? addr_make(BASE_SLOT + (int)a[0], 0) : a[1], a[2]);
}

static void make_mprotect(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = random_prot(g);
}

static void make_mremap(struct generator *g, struct op *o)
{
	static const uint8_t flags[] = {0, 1, 1, 1, 3, 3, 3, 5, 7}; /* MREMAP_MAYMOVE 1, FIXED 2, DONTUNMAP 4 */
	int64_t *a = o->arg;

	a[0] = below(g, SLOTS);
	random_range(g, o->thread, &a[1], &a[2]);
	a[3] = chance(g, 30) ? a[2] : random_len(g);
	a[4] = PICK(g, flags);
	if ((a[4] & 4) && chance(g, 80))
		a[3] = a[2];
	if (chance(g, 5))
		a[2] = 0;
	a[5] = window_addr(g);
	if (native_chance(g, 4))
		a[4] = 2 * below(g, 4);
	if (native_chance(g, 15)) /* beside where it was, or over it */
		a[5] = a[1] + (below(g, 33) - 16) * PAGE;
	remember(g, o->thread, a[4] & MREMAP_FIXED ? a[5] : chance(g, 50) ? addr_make(BASE_SLOT + (int)a[0], 0) : a[1], a[3]);
}

static void make_madvise(struct generator *g, struct op *o)
{
	static const uint8_t common[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_WILLNEED, 20, 21, 21, 22, 23, MADV_REMOVE};
	static const uint8_t rare[] = {MADV_NORMAL,
				       MADV_RANDOM,
				       MADV_SEQUENTIAL,
				       MADV_DONTDUMP,
				       MADV_DODUMP,
				       MADV_FREE,
				       5,
				       7,
				       99,
				       MADV_DONTFORK,
				       MADV_DOFORK,
				       MADV_WIPEONFORK,
				       MADV_KEEPONFORK,
				       MADV_MERGEABLE,
				       MADV_UNMERGEABLE,
				       MADV_HUGEPAGE,
				       MADV_NOHUGEPAGE,
				       24}; /* DONTNEED_LOCKED */

	static const uint8_t forks[] = {MADV_DONTFORK, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_WIPEONFORK, MADV_KEEPONFORK};

	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = chance(g, 70) ? PICK(g, common) : PICK(g, rare);
	if ((g->groups & GROUP_FORK) && soft_chance(g, 20))
		o->arg[2] = PICK(g, forks);
	if ((g->groups & GROUP_GUARD) && chance(g, 8))
		o->arg[2] = 102 + below(g, 2); /* MADV_GUARD_INSTALL, MADV_GUARD_REMOVE */
}

static void make_msync(struct generator *g, struct op *o)
{
	static const uint8_t flags[] = {MS_ASYNC, MS_ASYNC, MS_SYNC, MS_INVALIDATE, MS_SYNC | MS_INVALIDATE, 0, MS_SYNC | MS_ASYNC, 8};

	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = PICK(g, flags);
}

static void make_range(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = (int64_t)random_next(&g->random) >> 1;
}

static void make_lock(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	if (o->code != OP_MUNLOCK)
		o->arg[1] = lockable(g);
	o->arg[2] = chance(g, 20) ? 1 : 0; /* MLOCK_ONFAULT */
}

static void make_remap_file_pages(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = chance(g, 95) ? 0 : 1;
	o->arg[3] = below(g, 300);
	o->arg[4] = chance(g, 80) ? 0 : MAP_NONBLOCK;
}

static void make_access(struct generator *g, struct op *o)
{
	static const uint8_t sizes[] = {8, 8, 8, 4, 2, 1};

	o->arg[0] = random_access(g, o->thread);
	o->arg[1] = o->code == OP_ATOMIC ? below(g, 1000) : PICK(g, sizes);
	o->arg[2] = (int64_t)random_next(&g->random);
	if (o->code == OP_EXCHANGE) {
		o->arg[1] = chance(g, 50) ? 4 : 8;
		o->arg[0] += chance(g, 10) ? 4 : 0;
		return;
	}
	if (o->code != OP_ATOMIC && chance(g, 10))
		o->arg[0] += below(g, 8);
	if ((o->code == OP_LOAD || o->code == OP_STORE) && soft_chance(g, 3))
		o->arg[0] += PAGE * (below(g, 20) - 10); /* where what grows may grow to, and what lies beside a mapping */
}

static void make_file_call(struct generator *g, struct op *o)
{
	o->arg[0] = random_fd(g);
	o->arg[1] = chance(g, 50) ? 1 + below(g, 100) : random_len(g) % (60 * PAGE);
	o->arg[2] = random_off(g) + (chance(g, 60) ? below(g, PAGE) : 0);
	if (o->arg[0] != FD_C && chance(g, 20)) /* may extend the file, see file_keeps_size() */
		o->arg[1] += -(o->arg[1] + o->arg[2]) & (PAGE - 1);
	o->arg[3] = (int64_t)random_next(&g->random);
}

static void make_buffer_call(struct generator *g, struct op *o)
{
	int64_t *a = o->arg;

	a[0] = random_fd(g);
	random_range(g, o->thread, &a[1], &a[2]);
	a[2] = a[2] > 60 * PAGE ? 60 * PAGE : a[2];
	if (chance(g, 50)) {
		a[1] += below(g, PAGE);
		a[2] = 1 + below(g, a[2]);
	}
	a[3] = below(g, 200) * PAGE + (chance(g, 50) ? below(g, PAGE) : 0);
	if (chance(g, 50)) {
		a[0] = FD_UNMAPPED;
	} else { /* see may_overlap() of step.c */
		a[2] = 1 + below(g, PAGE - a[1] % PAGE);
		a[3] = (a[3] & -PAGE) + a[1] % PAGE;
	}
}

static void make_pipe_call(struct generator *g, struct op *o)
{
	int64_t at = below(g, PAGE);

	o->arg[0] = (random_access(g, o->thread) & -PAGE) + at;
	o->arg[1] = 1 + below(g, PAGE - at);
	o->arg[2] = (int64_t)random_next(&g->random);
}

static void make_truncate(struct generator *g, struct op *o)
{
	o->arg[0] = random_fd(g);
	o->arg[1] = below(g, 400) * PAGE + (o->arg[0] == FD_C && chance(g, 80) ? below(g, PAGE) : 0);
}

static void make_simple(struct generator *g, struct op *o)
{
	o->arg[0] = o->code == OP_FORK ? 1 + below(g, PROCESSES - 1) : random_fd(g);
	if (o->code == OP_FORK)
		g->forked[o->thread] = true;
}

static void make_brk(struct generator *g, struct op *o)
{
	o->arg[0] = below(g, SLOTS);
	o->arg[1] = (below(g, 3) ? 1 : -1) * below(g, 8 * PAGE) * (chance(g, 50) ? 1 : 8);
	remember(g, o->thread, addr_make(BASE_SLOT + (int)o->arg[0], 0), 8 * PAGE);
}

static void make_mincore_into(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[2] = random_access(g, o->thread);
}

static void make_mlockall(struct generator *g, struct op *o)
{
	static const uint8_t flags[] = {0, 0, 1, 2, 3, 5, 6, 7, 4, 8}; /* MCL_CURRENT 1, FUTURE 2, ONFAULT 4 */

	o->arg[0] = PICK(g, flags);
}

static void make_unlink(struct generator *g, struct op *o)
{
	static const uint8_t fds[] = {FD_A, FD_B, FD_C, FD_D_RDONLY, FD_EMPTY};

	o->arg[0] = PICK(g, fds);
}

/* Whole pages: see file_keeps_size(). */
static void make_fallocate(struct generator *g, struct op *o)
{
	/* FALLOC_FL_KEEP_SIZE 1, PUNCH_HOLE 2, COLLAPSE_RANGE 8, ZERO_RANGE 16, INSERT_RANGE 32, UNSHARE_RANGE 64 */
	static const uint8_t modes[] = {0, 0, 1, 3, 3, 3, 8, 8, 16, 16, 17, 32, 32, 64, 2, 9, 33, 0x84};

	o->arg[0] = random_fd(g);
	o->arg[1] = PICK(g, modes);
	o->arg[2] = random_off(g);
	o->arg[3] = random_pages(g) * PAGE;
	if ((o->arg[1] & 3) == 3 && chance(g, 50)) {
		o->arg[2] += below(g, PAGE);
		o->arg[3] += below(g, PAGE);
	}
}

static void make_vector_call(struct generator *g, struct op *o)
{
	/* RWF_HIPRI 1, DSYNC 2, SYNC 4, NOWAIT 8, APPEND 16, NOAPPEND 32 */
	static const uint8_t flags[] = {0, 0, 0, 0, 0, 0, 2, 4, 16, 32, 48};
	int64_t *a = o->arg;

	a[0] = FD_UNMAPPED;
	for (int i = 1; i < 4; i += 2) {
		random_range(g, o->thread, &a[i], &a[i + 1]);
		a[i + 1] = a[i + 1] > 30 * PAGE ? 30 * PAGE : a[i + 1];
		if (chance(g, 60)) {
			a[i] += below(g, PAGE);
			a[i + 1] = below(g, a[i + 1]);
		}
	}
	a[5] = chance(g, 10) ? -1 : below(g, 200) * PAGE + (chance(g, 50) ? below(g, PAGE) : 0);
	a[6] = PICK(g, flags);
}

static void make_vm_call(struct generator *g, struct op *o)
{
	random_range(g, o->thread, &o->arg[0], &o->arg[1]);
	o->arg[1] = o->arg[1] > 60 * PAGE ? 60 * PAGE : o->arg[1];
	if (chance(g, 50)) {
		o->arg[0] += below(g, PAGE);
		o->arg[1] = below(g, o->arg[1]);
	}
	o->arg[2] = (int64_t)random_next(&g->random);
}

static void make_copy(struct generator *g, struct op *o)
{
	o->arg[0] = random_fd(g);
	o->arg[1] = random_off(g) + (chance(g, 30) ? below(g, PAGE) : 0);
	o->arg[2] = random_fd(g);
	o->arg[3] = random_off(g);
	o->arg[4] = random_pages(g) * PAGE;
}

static void (*const makers[OP_CODES])(struct generator *, struct op *) = {
	[OP_MMAP] = make_mmap,
	[OP_MUNMAP] = make_range,
	[OP_MPROTECT] = make_mprotect,
	[OP_MREMAP] = make_mremap,
	[OP_MADVISE] = make_madvise,
	[OP_MSYNC] = make_msync,
	[OP_MINCORE] = make_range,
	[OP_MLOCK] = make_lock,
	[OP_MUNLOCK] = make_lock,
	[OP_MSEAL] = make_lock,
	[OP_REMAP_FILE_PAGES] = make_remap_file_pages,
	[OP_LOAD] = make_access,
	[OP_STORE] = make_access,
	[OP_ATOMIC] = make_access,
	[OP_HASH] = make_range,
	[OP_FILL] = make_range,
	[OP_PREAD] = make_file_call,
	[OP_PWRITE] = make_file_call,
	[OP_PREAD_INTO] = make_buffer_call,
	[OP_PWRITE_FROM] = make_buffer_call,
	[OP_SEND] = make_pipe_call,
	[OP_RECEIVE] = make_pipe_call,
	[OP_TRUNCATE] = make_truncate,
	[OP_REOPEN] = make_simple,
	[OP_FORK] = make_simple,
	[OP_EXIT] = make_simple,
	[OP_LAYOUT] = make_simple,
	[OP_SWEEP] = make_simple,
	[OP_CHECK_FILE] = make_simple,
	[OP_EXCHANGE] = make_access,
	[OP_FETCH] = make_access,
	[OP_BRK] = make_brk,
	[OP_MINCORE_INTO] = make_mincore_into,
	[OP_MLOCKALL] = make_mlockall,
	[OP_UNLINK] = make_unlink,
	[OP_FALLOCATE] = make_fallocate,
	[OP_READV] = make_vector_call,
	[OP_WRITEV] = make_vector_call,
	[OP_VM_READ] = make_vm_call,
	[OP_VM_WRITE] = make_vm_call,
	[OP_COPY] = make_copy,
	[OP_WRITE] = make_file_call,
};

/* ---- Nonsense ---- */

static int64_t bad_addr(struct generator *g, int64_t good)
{
	switch (below(g, 5)) {
	case 0:
		return good + 1 + below(g, PAGE - 1);
	case 1:
		return addr_make(BASE_RAW, 0);
	case 2:
		return addr_make(BASE_RAW, -PAGE);
	case 3:
		return addr_make(BASE_RAW, 0x7ffffffff000);
	default:
		return addr_make(BASE_RAW, 0x800000000000);
	}
}

static int64_t bad_len(struct generator *g, int64_t good)
{
	static const int64_t lens[] = {0, 0, -1, -PAGE, 1 - PAGE, -2 * PAGE, 1L << 62, (1L << 47) + PAGE};

	return chance(g, 30) ? good + 1 + below(g, PAGE - 1) : PICK(g, lens);
}

static int64_t bad_off(struct generator *g, int64_t good)
{
	static const int64_t offs[] = {-1, -PAGE, INT64_MAX, INT64_MAX - PAGE + 1, INT64_MIN};

	return chance(g, 30) ? good + 1 : PICK(g, offs);
}

static int64_t bad_flags(struct generator *g, int64_t good)
{
	static const int flags[] = {MAP_SHARED | MAP_PRIVATE, MAP_TYPE, 0x4000000, 0x80000, MAP_SHARED};

	return (chance(g, 50) ? good : good & ~MAP_TYPE) | PICK(g, flags);
}

static void spoil(struct generator *g, struct op *o)
{
	static const uint8_t fds[] = {FD_CLOSED, FD_DIRECTORY, FD_PIPE, FD_A_WRONLY, FD_A_RDONLY};
	static const int prots[] = {8, 0x10, 0x1000003, 0x2000003, 0x3000001};
	int i = (int)below(g, OP_ARGS);
	int64_t *a = &o->arg[i];

	switch (op_types[o->code].kind[i]) {
	case ARG_ADDR:
		*a = bad_addr(g, *a);
		break;
	case ARG_LEN:
		*a = bad_len(g, *a);
		break;
	case ARG_PROT:
		*a = PICK(g, prots);
		break;
	case ARG_FLAGS:
		*a = bad_flags(g, *a);
		break;
	case ARG_FD:
		*a = PICK(g, fds);
		break;
	case ARG_OFF:
		*a = bad_off(g, *a);
		break;
	default:
		if (o->code == OP_MREMAP)
			*a = below(g, 16);
	}
}

/* ---- Lists ---- */

static int random_code(struct generator *g)
{
	int64_t total = 0, at;

	for (int c = 0; c < OP_CODES; c++)
		total += op_types[c].group & g->groups ? op_types[c].weight : 0;
	at = below(g, total);
	for (int c = 0; c < OP_CODES; c++) {
		at -= op_types[c].group & g->groups ? op_types[c].weight : 0;
		if (at < 0)
			return c;
	}
	return OP_LAYOUT;
}

static void make(struct generator *g, struct op *o, int threads)
{
	*o = (struct op){.thread = (uint8_t)below(g, threads)};
	o->code = (uint8_t)random_code(g);
	while ((op_types[o->code].group & GROUP_CHECK) && soft_chance(g, 75)) /* they take longer than all others together */
		o->code = (uint8_t)random_code(g);
	if (g->forked[o->thread] && !soft_chance(g, 70))
		g->process = (int)below(g, PROCESSES);
	o->process = (uint8_t)g->process;
	makers[o->code](g, o);
	if ((g->groups & GROUP_BAD) && chance(g, 6))
		spoil(g, o);
}

/* ---- Soft spaces of any kind ---- */

#define SCALED_PAGES 16 /* at most, of a length in pages that are larger */

/* From pages of 4 KiB to those of the space: as many, but not too many, and from the same part of a file. */
static void scale(struct op *o, int64_t page)
{
	for (int i = 0; i < OP_ARGS; i++) {
		int64_t *a = &o->arg[i], pages = *a / PAGE, rest = *a % PAGE;

		switch (op_types[o->code].kind[i]) {
		case ARG_ADDR:
			if (addr_base(*a) != BASE_RAW)
				*a = addr_make(addr_base(*a), addr_off(*a) / PAGE * page + addr_off(*a) % PAGE);
			break;
		case ARG_LEN:
			if (*a > 0 && pages < WINDOW_PAGES)
				*a = (pages < SCALED_PAGES ? pages : SCALED_PAGES) * page + rest;
			break;
		case ARG_OFF:
			if (*a > 0 && pages < 1 << 20)
				*a = pages / (page / PAGE) * page + rest;
			break;
		default:
			break;
		}
	}
}

static void make_soft(struct generator *g, struct list *l)
{
	static const uint32_t bits[] = {32, 48, 57, 47}, pages[] = {4096, 16384, 65536};

	l->soft.address_bits = PICK(g, bits);
	l->soft.page_size = PICK(g, pages);
	l->soft.layout = (uint32_t)below(g, 2);
	l->soft.seed = chance(g, 50) ? random_next(&g->random) : 0;
	for (size_t i = 0; i < l->n; i++)
		scale(&l->ops[i], l->soft.page_size);
}

struct list list_generate(uint64_t seed, size_t n, int threads, unsigned groups)
{
	struct generator g = {.random = seed * 0x2545f4914f6cdd1dull + 1, .groups = groups};
	struct list l = {.ops = malloc((n + 1) * sizeof *l.ops), .n = n, .threads = threads};

	if (chance(&g, groups & GROUP_SOFT ? 96 : 80)) /* what is sealed stays, so a list with seals has little else to do in the end */
		g.groups &= ~(unsigned)GROUP_SEAL;
	if (chance(&g, 70)) /* those with locks have a larger budget */
		g.groups &= ~(unsigned)GROUP_LOCK;
	if (chance(&g, 50))
		g.groups &= ~(unsigned)GROUP_FORK;
	if (!(groups & GROUP_SOFT) && (!(g.groups & GROUP_LOCK) || chance(&g, 80))) /* and those where all is locked a still larger one */
		g.groups &= ~(unsigned)GROUP_LOCKALL;
	for (size_t i = 0; i < n; i++)
		make(&g, &l.ops[i], threads);
	if (groups & GROUP_TWICE)
		make_soft(&g, &l);
	return l;
}
