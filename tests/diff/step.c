/* SPDX-License-Identifier: Apache-2.0 */
/* One operation: its arguments made real, the call, and the record of what came of it. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faultline_soft.h"
#include "kept_files.h"
#include "soft.h"

#define MAP_MAX (64UL << 20)
#define TASK_LEN (1UL << 47)
#define FILE_MAX (64L << 20)
#define SWEEP_PAGES 4096 /* of one range */
#define SWEEP_PAGES_KEPT 512

static struct record *record(struct context *c, enum record_kind kind)
{
	struct record *r;

	if (c->trace->n == RECORDS_MAX)
		abort();
	r = &c->trace->records[c->trace->n++];
	*r = (struct record){.op = c->at, .kind = (uint8_t)kind, .process = (uint8_t)c->me};
	return r;
}

static void skip(struct context *c)
{
	record(c, RECORD_SKIP);
}

static struct record *call_done(struct context *c, int64_t result)
{
	int err = result == -1 ? errno : 0;
	struct record *r = record(c, RECORD_CALL);

	r->result = result;
	r->err = err;
	return r;
}

static void access_done(struct context *c, const struct access *a)
{
	struct record *r = record(c, RECORD_ACCESS);

	r->result = (int64_t)a->done;
	r->sig = (uint8_t)a->sig;
	r->code = a->code;
	r->addr = a->sig ? zone_canonical(c, a->addr) : 0;
	r->hash = a->hash;
}

static size_t pages_of(const struct context *c, uint64_t len)
{
	size_t page = c->page ? c->page : PAGE;

	return (len + page - 1) & ~(uint64_t)(page - 1);
}

static int fd_of(const struct context *c, int64_t which)
{
	return which >= 0 && which < FDS ? c->fds[which] : -1;
}

/* ---- Mappings ---- */

static void remember_elsewhere(struct context *c, void *p, size_t len)
{
	if (!c->elsewhere)
		return;
	if (*c->nelsewhere == ELSEWHERE_MAX)
		abort();
	c->elsewhere[(*c->nelsewhere)++] = (struct slot){p, pages_of(c, len)};
}

/* A new mapping at p: told as what it is in the zone or a slot, else put in the slot and told as being somewhere. */
static void mapped(struct context *c, int64_t slot, void *p, size_t len)
{
	struct record *r = call_done(c, p == MAP_FAILED ? -1 : 0);

	if (p == MAP_FAILED)
		return;
	r->result = zone_canonical(c, p);
	r->code = (int)((uintptr_t)p % PAGE);
	if (r->result == ADDR_ELSEWHERE || c->absolute)
		c->slots[slot % SLOTS] = (struct slot){p, pages_of(c, len)};
	if (r->result == ADDR_ELSEWHERE)
		remember_elsewhere(c, p, len);
}

/* Takes a range that is no longer mapped from the slot it was in; it is a whole slot or one end of it. */
static void cut_slot(struct context *c, char *p, size_t len)
{
	struct slot *s = zone_slot_of(c, p);

	if (!s || c->absolute)
		return;
	if (p == s->addr)
		s->addr += len;
	s->len -= len;
}

static bool in_the_middle(struct context *c, char *p, size_t len)
{
	struct slot *s = zone_slot_of(c, p);

	return s && !c->absolute && p != s->addr && p + len != s->addr + s->len;
}

static bool is_low(const char *p)
{
	return (uintptr_t)p < 0x100000;
}

static bool may_map(struct context *c, char *p, size_t len, int flags)
{
	if (len > TASK_LEN)
		return true;
	if (c->kept && (flags & MAP_SYNC)) /* tmpfs does not know it, other file systems do */
		return false;
	if ((flags & MAP_FIXED) && (flags & MAP_SYNC)) /* refused after the range was unmapped, or before */
		return false;
	if (len > MAP_MAX)
		return false;
	if (c->absolute)
		return true;
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return !is_low(p) && zone_allows(c, p, len);
	return is_low(p) || !zone_contains(c, p, 1) || zone_allows(c, p, len);
}

/* What was asked to take the place of something in a slot, and failed, may have unmapped that: nobody knows the slot now. */
static void forget_slot(struct context *c, char *p)
{
	struct slot *s = zone_slot_of(c, p);

	if (s && !c->absolute)
		s->len = 0;
}

/* Where each file is opened once, a private mapping is of the descriptor that all have, whatever it was opened for besides. */
static int64_t fd_to_map(const struct context *c, const struct op *o)
{
	if (!c->one_open || (o->arg[4] & MAP_TYPE) != MAP_PRIVATE)
		return o->arg[5];
	return o->arg[5] == FD_A_RDONLY ? FD_A : o->arg[5] == FD_C_RDONLY ? FD_C : o->arg[5];
}

/* Not private, where it is a file only by name; nor from where no regular file can reach. */
static bool may_map_zero(const struct op *o)
{
	return (o->arg[4] & MAP_SHARED) && o->arg[6] >= 0 && o->arg[6] < 1L << 40;
}

/* A file is no stack here: the preload library leaves stacks to the kernel, to which stores through mappings of ours come when they are written back. */
static int flags_to_map(const struct op *o)
{
	int flags = (int)o->arg[4];

	return (flags & MAP_TYPE) == MAP_PRIVATE && !(flags & MAP_ANONYMOUS) ? flags & ~MAP_STACK : flags;
}

static void step_mmap(struct context *c, const struct op *o)
{
	size_t len = (size_t)o->arg[2];
	int flags = flags_to_map(o);
	char *p, *got;

	if (!zone_resolve(c, o->arg[1], &p) || !may_map(c, p, len, flags) || o->arg[5] == FD_UNMAPPED ||
	    (o->arg[5] == FD_C && (flags & MAP_SHARED)) || (o->arg[5] == FD_ZERO && !may_map_zero(o)))
		return skip(c);
	got = c->backend->mmap(p, len, (int)o->arg[3], flags, fd_of(c, fd_to_map(c, o)), file_offset(o, o->arg[5], o->arg[6]));
	mapped(c, o->arg[0], got, len);
	if (got == MAP_FAILED && (flags & MAP_FIXED))
		forget_slot(c, p);
}

static void step_munmap(struct context *c, const struct op *o)
{
	size_t len = (size_t)o->arg[1];
	char *p;
	int n;

	if (!zone_resolve(c, o->arg[0], &p) || !(len > TASK_LEN || zone_allows(c, p, len)) || in_the_middle(c, p, pages_of(c, len)))
		return skip(c);
	n = c->backend->munmap(p, len);
	call_done(c, n);
	if (!n)
		cut_slot(c, p, pages_of(c, len));
}

static void step_mprotect(struct context *c, const struct op *o)
{
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	call_done(c, c->backend->mprotect(p, (size_t)o->arg[1], (int)o->arg[2]));
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* Where a slot can grow in place is not the same in two runs: only moves are. */
static bool may_move_slot(struct context *c, const char *p, size_t old, size_t new, int flags)
{
	struct slot *s = zone_slot_of(c, p);

	if (!s || c->absolute)
		return true;
	return p == s->addr && (!old || pages_of(c, old) == s->len) && (new <= old || (flags & MREMAP_MAYMOVE));
}

static bool may_remap(struct context *c, const struct op *o, char *p, char *to)
{
	size_t old = (size_t)o->arg[2], new = (size_t)o->arg[3];
	int flags = (int)o->arg[4];

	if (!zone_allows(c, p, old) || (new > MAP_MAX &&new <= TASK_LEN) || !may_move_slot(c, p, old, new, flags))
		return false;
	if (c->absolute)
		return true;
	if ((flags & MREMAP_FIXED) && (is_low(to) || (new <= TASK_LEN && !zone_allows(c, to, new))))
		return false;
	return zone_slot_of(c, p) || new > TASK_LEN || zone_allows(c, p, new);
}

static void step_mremap(struct context *c, const struct op *o)
{
	size_t old = (size_t)o->arg[2], new = (size_t)o->arg[3];
	int flags = (int)o->arg[4];
	char *from, *to;
	void *p;

	if (!zone_resolve(c, o->arg[1], &from) || !zone_resolve(c, o->arg[5], &to) || !may_remap(c, o, from, to) ||
	    (c->dontfork && !(flags & MREMAP_FIXED) && (flags & MREMAP_MAYMOVE)))
		return skip(c);
	p = c->backend->mremap(from, old, new, flags, to);
	if (p != MAP_FAILED && old && !(flags & MREMAP_DONTUNMAP))
		cut_slot(c, from, pages_of(c, old));
	mapped(c, o->arg[0], p, new);
	if (p == MAP_FAILED && (flags & MREMAP_FIXED))
		forget_slot(c, to);
}

static void step_madvise(struct context *c, const struct op *o)
{
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	if (o->arg[2] == MADV_DONTFORK && !c->absolute && zone_slot_of(c, p)) /* a child could find another mapping there */
		return skip(c);
	if (o->arg[2] == MADV_DONTFORK)
		c->dontfork = c->kept && !c->absolute;
	call_done(c, c->backend->madvise(p, (size_t)o->arg[1], (int)o->arg[2]));
	if (o->arg[2] == MADV_FREE) /* pages freed may still be there or not: now they are not */
		c->backend->madvise(p, (size_t)o->arg[1], MADV_DONTNEED);
}

static void step_msync(struct context *c, const struct op *o)
{
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	call_done(c, c->backend->msync(p, (size_t)o->arg[1], (int)o->arg[2]));
}

/* What is in memory is each implementation's own business: only the answer counts. */
static void step_mincore(struct context *c, const struct op *o)
{
	size_t len = (size_t)o->arg[1];
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, len) || (len > MAP_MAX && len <= TASK_LEN))
		return skip(c);
	call_done(c, c->backend->mincore(p, len, (unsigned char *)c->scratch->buffer));
}

/* The vector may lie in mappings. What is written there is each implementation's own business, too: then both have the same there. */
static void step_mincore_into(struct context *c, const struct op *o)
{
	size_t len = (size_t)o->arg[1], pages = pages_of(c, len) / PAGE;
	struct access a = {0};
	char *p, *vec;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, len) || len > MAP_MAX)
		return skip(c);
	if (!zone_resolve(c, o->arg[2], &vec) || (uintptr_t)vec % 8 || !zone_contains(c, vec, pages + 8))
		return skip(c);
	call_done(c, c->backend->mincore(p, len, (unsigned char *)vec));
	access_fill(c->backend, vec, (pages + 7) & (size_t)-8, 1, &a);
	access_done(c, &a);
}

static void step_mlockall(struct context *c, const struct op *o)
{
	if (!c->alone) /* it is for all threads */
		return skip(c);
	call_done(c, c->backend->mlockall((int)o->arg[0]));
}

static void step_mlock(struct context *c, const struct op *o)
{
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	call_done(c, c->backend->mlock2(p, (size_t)o->arg[1], (unsigned)o->arg[2]));
}

static void step_munlock(struct context *c, const struct op *o)
{
	char *p;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	call_done(c, c->backend->munlock(p, (size_t)o->arg[1]));
}

static void step_mseal(struct context *c, const struct op *o)
{
	char *p;
	int n;

	if (!zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c);
	n = c->backend->mseal(p, (size_t)o->arg[1], (unsigned long)o->arg[2]);
	call_done(c, n);
	if (!n && c->sealed)
		*c->sealed = true;
}

static void step_remap_file_pages(struct context *c, const struct op *o)
{
	size_t pgoff = (size_t)o->arg[3] & 511;
	char *p;

	if (!c->alone || !zone_resolve(c, o->arg[0], &p) || !zone_allows(c, p, (size_t)o->arg[1]))
		return skip(c); /* among threads it could reach what is another's of the file they share */
	call_done(c, c->backend->remap_file_pages(p, (size_t)o->arg[1], (int)o->arg[2], pgoff, (int)o->arg[4]));
}

/* The heap grows or shrinks by some pages; what was added last is in the slot. */
static void step_brk(struct context *c, const struct op *o)
{
	char *now, *end;

	if (!c->backend->brk)
		return skip(c);
	now = c->backend->brk(NULL);
	end = c->backend->brk(now + o->arg[1]);
	call_done(c, (int64_t)end);
	if (end > now)
		c->slots[o->arg[0] % SLOTS] = (struct slot){(char *)pages_of(c, (uintptr_t)now), (size_t)(end - now)};
}

/* ---- Accesses ---- */

/* An address that the processor itself refuses, with a signal that has no address. */
static bool not_canonical(const struct context *c, const char *p)
{
	return !c->absolute && c->kept && (uintptr_t)p >= TASK_LEN && (intptr_t)p > 0;
}

static bool resolve_access(struct context *c, int64_t addr, size_t len, char **p)
{
	return len <= MAP_MAX && zone_resolve(c, addr, p) && zone_contains(c, *p, len) && !not_canonical(c, *p);
}

static void step_load(struct context *c, const struct op *o)
{
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], 8, &p))
		return skip(c);
	access_load(c->backend, p, (int)o->arg[1], &a);
	access_done(c, &a);
}

static void step_store(struct context *c, const struct op *o)
{
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], 8, &p))
		return skip(c);
	access_store(c->backend, p, (int)o->arg[1], (uint64_t)o->arg[2], &a);
	access_done(c, &a);
}

static void step_atomic(struct context *c, const struct op *o)
{
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], 8, &p) || (uintptr_t)p % 8)
		return skip(c);
	access_add(c->backend, p, (uint64_t)o->arg[1], &a);
	access_done(c, &a);
}

static void step_exchange(struct context *c, const struct op *o)
{
	int size = o->arg[1] == 4 ? 4 : 8;
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], 8, &p) || (uintptr_t)p % (unsigned)size)
		return skip(c);
	access_exchange(c->backend, p, size, (uint64_t)o->arg[2], &a);
	access_done(c, &a);
}

static void step_fetch(struct context *c, const struct op *o)
{
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], 1, &p))
		return skip(c);
	access_fetch(c->backend, p, &a);
	access_done(c, &a);
}

static void step_hash(struct context *c, const struct op *o)
{
	struct access a = {.hash = HASH_START};
	char *p;

	if (!resolve_access(c, o->arg[0], (size_t)o->arg[1], &p))
		return skip(c);
	access_hash(c->backend, p, (size_t)o->arg[1], &a);
	access_done(c, &a);
}

static void step_fill(struct context *c, const struct op *o)
{
	struct access a = {0};
	char *p;

	if (!resolve_access(c, o->arg[0], (size_t)o->arg[1], &p))
		return skip(c);
	access_fill(c->backend, p, (size_t)o->arg[1], (uint64_t)o->arg[2], &a);
	access_done(c, &a);
}

/* ---- System calls ---- */

static void make_bytes(struct context *c, int64_t seed, size_t len)
{
	uint64_t x = (uint64_t)seed;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = random_next(&x);

		memcpy(c->scratch->buffer + i, &word, 8);
	}
}

static bool fits(int64_t len)
{
	return (uint64_t)len <= BUFFER_MAX - 8 || len < 0;
}

static int64_t file_size(struct context *c, int64_t fd)
{
	struct stat st;

	return fstat(fd_of(c, fd), &st) ? 0 : st.st_size;
}

/* tmpfs has files of any size. */
static bool too_large(const struct context *c, int64_t end)
{
	return c->kept && end > FILE_MAX;
}

/* A write of some bytes, or one that ends there. */
static bool may_extend(struct context *c, int64_t fd, int64_t off, int64_t len)
{
	int64_t end = (fd == FD_A_APPEND && !c->one_open ? file_size(c, fd) : off) + len;

	return !too_large(c, end) && (end <= file_size(c, fd) || file_keeps_size(fd, end));
}

static void step_pread(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[2]);
	ssize_t n;

	if (!fits(o->arg[1]) || o->arg[0] == FD_B_DIRECT)
		return skip(c);
	n = c->backend->pread(fd_of(c, o->arg[0]), c->scratch->buffer, (size_t)o->arg[1], off);
	call_done(c, n)->hash = n > 0 ? hash_bytes(HASH_START, c->scratch->buffer, (size_t)n) : 0;
}

static void step_pwrite(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[2]);

	if (!fits(o->arg[1]) || !may_extend(c, o->arg[0], off, o->arg[1]) || o->arg[0] == FD_B_DIRECT)
		return skip(c);
	make_bytes(c, o->arg[3], o->arg[1] > 0 ? (size_t)o->arg[1] : 0);
	call_done(c, c->backend->pwrite(fd_of(c, o->arg[0]), c->scratch->buffer, (size_t)o->arg[1], off));
}

static bool in_page(const void *p, size_t len)
{
	return (uintptr_t)p % PAGE + len <= (size_t)PAGE;
}

/*
 * A copy between a file and a mapping of the same file, where the two overlap, has no defined result: it depends on
 * the pieces in which the kernel copies. It has within a page, when nothing moves.
 */
static bool may_overlap(const struct op *o, const char *p, int64_t off)
{
	return o->arg[0] != FD_UNMAPPED && !(in_page(p, (size_t)o->arg[2]) && (uintptr_t)p % PAGE == (uint64_t)off % PAGE);
}

/* Refused by the kernel for its numbers, before anything that can be imitated with a buffer. */
static bool is_beyond(const struct context *c, const char *p, int64_t off)
{
	return too_large(c, off) || (c->kept && (uintptr_t)p >= TASK_LEN - (uintptr_t)PAGE);
}

static void step_pread_into(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[3]);
	char *p;

	if (!resolve_access(c, o->arg[1], (size_t)o->arg[2], &p) || is_beyond(c, p, off) || may_overlap(o, p, off) ||
	    o->arg[0] == FD_B_DIRECT)
		return skip(c);
	call_done(c, (c->backend->pread_into ? c->backend->pread_into : c->backend->pread)(fd_of(c, o->arg[0]), p, (size_t)o->arg[2], off));
}

/* A write from memory that cannot be read moves the end of the file on some file systems, and should not. */
static bool extends_from_bad_memory(struct context *c, const struct op *o, const char *p, int64_t off)
{
	struct access a = {0};

	if (o->arg[0] != FD_A_APPEND && (off < 0 || off + o->arg[2] <= file_size(c, o->arg[0])))
		return false;
	for (const char *at = p; at < p + o->arg[2] && !a.sig; at = (const char *)(((uintptr_t)at | (PAGE - 1)) + 1))
		access_load(c->backend, at, 1, &a);
	return a.sig;
}

static void step_pwrite_from(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[3]);
	char *p;

	if (!resolve_access(c, o->arg[1], (size_t)o->arg[2], &p) || is_beyond(c, p, off) || may_overlap(o, p, off) ||
	    !may_extend(c, o->arg[0], off, o->arg[2]) || o->arg[0] == FD_B_DIRECT || extends_from_bad_memory(c, o, p, off))
		return skip(c);
	call_done(c,
		  (c->backend->pwrite_from ? c->backend->pwrite_from : c->backend->pwrite)(fd_of(c, o->arg[0]), p, (size_t)o->arg[2], off));
}

/* Within a page: where a pipe stops at memory that cannot be had depends on how its pages happen to lie. */
static bool resolve_in_page(struct context *c, int64_t addr, int64_t len, char **p)
{
	return len > 0 && len <= PAGE && resolve_access(c, addr, (size_t)len, p) && in_page(*p, (size_t)len);
}

static ssize_t drain(struct context *c)
{
	return read(c->pipe[0], c->scratch->buffer, BUFFER_MAX);
}

static void step_send(struct context *c, const struct op *o)
{
	struct record *r;
	ssize_t n;
	char *p;

	if (!resolve_in_page(c, o->arg[0], o->arg[1], &p))
		return skip(c);
	r = call_done(c, c->backend->send(c->pipe[1], p, (size_t)o->arg[1]));
	n = drain(c);
	r->hash = n > 0 ? hash_bytes(HASH_START, c->scratch->buffer, (size_t)n) : 0;
}

static void step_receive(struct context *c, const struct op *o)
{
	char *p;

	if (!resolve_in_page(c, o->arg[0], o->arg[1], &p))
		return skip(c);
	make_bytes(c, o->arg[2], PAGE);
	if (write(c->pipe[1], c->scratch->buffer, (size_t)o->arg[1]) != o->arg[1])
		abort();
	call_done(c, c->backend->receive(c->pipe[0], p, (size_t)o->arg[1]));
	drain(c);
}

static void step_truncate(struct context *c, const struct op *o)
{
	if (too_large(c, o->arg[1]) || o->arg[0] == FD_SHARED || !file_keeps_size(o->arg[0], o->arg[1]))
		return skip(c);
	call_done(c, c->backend->ftruncate(fd_of(c, o->arg[0]), o->arg[1]));
}

static void step_unlink(struct context *c, const struct op *o)
{
	if (c->kept || o->arg[0] < 0 || o->arg[0] >= FDS || o->arg[0] == FD_SHARED)
		return skip(c);
	call_done(c, files_unlink(c->thread, (int)o->arg[0]));
}

/* ---- Calls that only the preload library has ---- */

static void step_fallocate(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[2]), len = o->arg[3], end;
	int mode = (int)o->arg[1];
	bool shifts = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);

	if (__builtin_add_overflow(off, len, &end) || end > FILE_MAX || (!(mode & FALLOC_FL_PUNCH_HOLE) && (off % PAGE || len % PAGE)))
		return skip(c);
	if (o->arg[0] == FD_SHARED && (shifts || end > (o->thread + 1) * STRIPE))
		return skip(c);
	call_done(c, fallocate(fd_of(c, o->arg[0]), mode, off, len));
}

static bool resolve_two(struct context *c, const struct op *o, struct iovec v[2])
{
	char *p, *q;

	if (o->arg[0] != FD_UNMAPPED || !resolve_access(c, o->arg[1], (size_t)o->arg[2], &p) ||
	    !resolve_access(c, o->arg[3], (size_t)o->arg[4], &q) || is_beyond(c, p, 0) || is_beyond(c, q, 0))
		return false;
	v[0] = (struct iovec){p, (size_t)o->arg[2]};
	v[1] = (struct iovec){q, (size_t)o->arg[4]};
	return true;
}

static void step_readv(struct context *c, const struct op *o)
{
	struct iovec v[2];

	if (!resolve_two(c, o, v))
		return skip(c);
	lseek(fd_of(c, o->arg[0]), 5000, SEEK_SET); /* where an offset of -1 is */
	call_done(c, preadv2(fd_of(c, o->arg[0]), v, 2, o->arg[5], (int)o->arg[6]));
}

/* The words that it has a part of, and no more: what lies behind a mapping is not the same on both sides. */
static bool is_bad(struct context *c, const struct iovec *v)
{
	uintptr_t start = (uintptr_t)v->iov_base & (uintptr_t)-8, end = ((uintptr_t)v->iov_base + v->iov_len + 7) & (uintptr_t)-8;
	struct access a = {0};

	access_hash(c->backend, (char *)start, end - start, &a);
	return a.sig;
}

static void step_writev(struct context *c, const struct op *o)
{
	struct iovec v[2];

	if (!resolve_two(c, o, v) || is_bad(c, &v[0]) || is_bad(c, &v[1]) || too_large(c, o->arg[5] + o->arg[2] + o->arg[4]))
		return skip(c);
	lseek(fd_of(c, o->arg[0]), 5000, SEEK_SET);
	call_done(c, pwritev2(fd_of(c, o->arg[0]), v, 2, o->arg[5], (int)o->arg[6]));
}

static void step_vm_read(struct context *c, const struct op *o)
{
	struct iovec local = {c->scratch->buffer, (size_t)o->arg[1]}, remote = {NULL, (size_t)o->arg[1]};
	ssize_t n;
	char *p;

	if (!fits(o->arg[1]) || !resolve_access(c, o->arg[0], (size_t)o->arg[1], &p))
		return skip(c);
	remote.iov_base = p;
	n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	call_done(c, n)->hash = n > 0 ? hash_bytes(HASH_START, c->scratch->buffer, (size_t)n) : 0;
}

static void step_vm_write(struct context *c, const struct op *o)
{
	struct iovec local = {c->scratch->buffer, (size_t)o->arg[1]}, remote = {NULL, (size_t)o->arg[1]};
	char *p;

	if (!fits(o->arg[1]) || !resolve_access(c, o->arg[0], (size_t)o->arg[1], &p))
		return skip(c);
	remote.iov_base = p;
	make_bytes(c, o->arg[2], (size_t)o->arg[1]);
	call_done(c, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
}

static void step_copy(struct context *c, const struct op *o)
{
	int64_t from = file_offset(o, o->arg[0], o->arg[1]), to = file_offset(o, o->arg[2], o->arg[3]), len = o->arg[4];

	if (len < 0 || len > FILE_MAX || to > FILE_MAX || !may_extend(c, o->arg[2], to, len) || o->arg[0] == FD_B_DIRECT ||
	    o->arg[2] == FD_B_DIRECT || o->arg[0] == FD_ZERO)
		return skip(c);
	if (from >= 0 && from + len > file_size(c, o->arg[0]) && o->arg[2] != FD_C) /* it could end within a page */
		return skip(c);
	call_done(c, copy_file_range(fd_of(c, o->arg[0]), &from, fd_of(c, o->arg[2]), &to, (size_t)len, 0))->hash = (uint64_t)(from + to);
}

static void step_write(struct context *c, const struct op *o)
{
	int64_t off = file_offset(o, o->arg[0], o->arg[2]);
	int fd = fd_of(c, o->arg[0]);

	if (!fits(o->arg[1]) || !may_extend(c, o->arg[0], off, o->arg[1]) || o->arg[0] == FD_B_DIRECT || o->arg[0] == FD_PIPE)
		return skip(c);
	make_bytes(c, o->arg[3], o->arg[1] > 0 ? (size_t)o->arg[1] : 0);
	lseek(fd, off, SEEK_SET);
	call_done(c, write(fd, c->scratch->buffer, (size_t)o->arg[1]))->hash = (uint64_t)lseek(fd, 0, SEEK_CUR);
}

static void step_reopen(struct context *c, const struct op *o)
{
	int64_t which = o->arg[0];

	if (which < 0 || which >= FDS || which == FD_PIPE || which == FD_CLOSED || which == FD_MEMORY)
		return skip(c);
	if (c->one_open && !c->kept)
		return skip(c);
	if (c->kept && c->alive != 1) /* the processes of a soft space have their descriptors in common */
		return skip(c);
	close(c->fds[which]);
	c->fds[which] = c->kept ? kept_files_open(c, (int)which) : files_open(c->thread, (int)which);
	call_done(c, c->fds[which] < 0 ? -1 : 0);
}

/* ---- Checks ---- */

static void step_layout(struct context *c, const struct op *o)
{
	struct range *ranges = c->scratch->ranges;
	size_t n = layout_read(c, LAYOUT_OWN, ranges);

	(void)o;
	for (size_t i = 0; i < n; i++) {
		struct record *r = record(c, RECORD_LAYOUT);

		r->addr = zone_canonical(c, ranges[i].start);
		r->result = ranges[i].end - ranges[i].start;
		r->code = ranges[i].prot;
		r->hash = ranges[i].name + ranges[i].offset;
	}
}

static void sweep_range(struct context *c, const struct range *g)
{
	struct access total = {.hash = HASH_START};
	int failed = 0;
	struct record *r;

	for (char *p = g->start; p < g->end && p < g->start + (c->kept ? SWEEP_PAGES_KEPT : SWEEP_PAGES) * PAGE; p += PAGE) {
		struct access a = {.hash = total.hash};

		access_hash(c->backend, p, PAGE, &a);
		total.hash = a.sig ? total.hash : a.hash;
		if (a.sig && !failed++)
			total = (struct access){.sig = a.sig, .code = a.code, .addr = a.addr, .hash = total.hash};
	}
	r = record(c, RECORD_SWEEP);
	r->err = failed;
	r->sig = (uint8_t)total.sig;
	r->code = total.code;
	r->addr = zone_canonical(c, failed ? total.addr : g->start);
	r->result = g->end - g->start;
	r->hash = total.hash;
}

static void step_sweep(struct context *c, const struct op *o)
{
	struct range *ranges = c->scratch->ranges;
	size_t n = layout_read(c, LAYOUT_KERNEL, ranges);

	(void)o;
	for (size_t i = 0; i < n; i++)
		if (ranges[i].prot & PROT_READ)
			sweep_range(c, &ranges[i]);
}

static void check_file(struct context *c, int which)
{
	int64_t off = which == FD_SHARED ? c->thread * STRIPE : 0, end = off + (4 << 20);
	struct record *r = record(c, RECORD_FILE);
	struct stat st;
	ssize_t n;

	r->addr = which;
	r->result = fstat(c->fds[which], &st) ? -1 : st.st_size;
	r->hash = HASH_START;
	while (off < end && (n = c->backend->pread(c->fds[which], c->scratch->buffer, (size_t)BUFFER_MAX, off)) > 0) {
		r->hash = hash_bytes(r->hash, c->scratch->buffer, (size_t)n);
		off += n;
	}
}

static void step_check_file(struct context *c, const struct op *o)
{
	if (o->arg[0] < 0 || o->arg[0] >= FDS || o->arg[0] == FD_PIPE || o->arg[0] == FD_ZERO)
		return skip(c);
	check_file(c, (int)o->arg[0]);
}

void step_check_files(struct context *c)
{
	static const int which[] = {FD_A_RDONLY, FD_B, FD_C, FD_D_RDONLY, FD_EMPTY, FD_SHARED, FD_UNMAPPED, FD_MEMORY};

	for (size_t i = 0; i < sizeof which / sizeof *which; i++)
		check_file(c, which[i]);
}

#define WRITTEN_BITS (FL_PTE_WRITE | FL_PTE_DIRTY) /* go when a page is written back */

static void hide_frame(char *entry)
{
	uint64_t bits = strtoull(entry, NULL, 16) & (FL_PTE_NX | 0xfff) & ~(uint64_t)WRITTEN_BITS;
	char text[17];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)bits);
	memcpy(entry, text, 16);
}

/*
 * Directories, numbers of inodes, of frames and of places in swap are what happened to be free. Where reclaim runs, so is which pages are in memory, and
 * which are seen to have been used: then lines of entries are not told at all.
 */
static bool forget_frames(struct context *c, char *line)
{
	char *where = strstr(line, " at ");
	char *slash = strrchr(line, '/');
	int device = 0, name = 0;

	if (*line != ' ') {
		if (sscanf(line, "%*s %*s %*s %n%*s %*s%n", &device, &name) == 0 && name > device)
			memmove(line + device, slash ? slash : line + name, strlen(slash ? slash : line + name) + 1);
		return true;
	}
	if (where)
		*where = 0;
	for (char *p = line; (p = strchr(p, '=')) && strlen(p) > 16; p++)
		hide_frame(p + 1);
	return c->page_tables;
}

static void dump_lines(struct context *c)
{
	int fd = guest_open_pages();
	char *text = c->scratch->text, *rest;
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, TEXT_MAX - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct record *r;

		if (!forget_frames(c, line))
			continue;
		r = record(c, RECORD_LINE);
		r->addr = (int64_t)strtoull(line, NULL, 16);
		r->hash = hash_bytes(HASH_START, line, strlen(line));
	}
}

/* kept.c looks at the files itself. */
void step_final_checks(struct context *c)
{
	step_layout(c, NULL);
	step_sweep(c, NULL);
	if (!c->kept)
		step_check_files(c);
	if (c->absolute)
		dump_lines(c);
}

/*
 * What one process does to a file, another sees through a mapping of its own when it is written back and read again:
 * that is how Faultline is made. Mappings from before the fork are another matter: those that can be written are shared.
 */
static bool changes_file(const struct op *o)
{
	switch (o->code) {
	case OP_PWRITE:
	case OP_PWRITE_FROM:
	case OP_TRUNCATE:
	case OP_FALLOCATE:
	case OP_WRITE:
		return o->arg[0] != FD_UNMAPPED;
	case OP_COPY:
		return o->arg[2] != FD_UNMAPPED;
	case OP_MADVISE:
		return o->arg[2] == MADV_REMOVE;
	case OP_MMAP:
		return (o->arg[4] & MAP_SHARED) && !(o->arg[4] & MAP_ANONYMOUS);
	case OP_REMAP_FILE_PAGES:
		return true;
	default:
		return false;
	}
}

static void (*const steps[OP_CODES])(struct context *, const struct op *) = {
	[OP_MMAP] = step_mmap,
	[OP_MUNMAP] = step_munmap,
	[OP_MPROTECT] = step_mprotect,
	[OP_MREMAP] = step_mremap,
	[OP_MADVISE] = step_madvise,
	[OP_MSYNC] = step_msync,
	[OP_MINCORE] = step_mincore,
	[OP_MLOCK] = step_mlock,
	[OP_MUNLOCK] = step_munlock,
	[OP_MSEAL] = step_mseal,
	[OP_REMAP_FILE_PAGES] = step_remap_file_pages,
	[OP_LOAD] = step_load,
	[OP_STORE] = step_store,
	[OP_ATOMIC] = step_atomic,
	[OP_HASH] = step_hash,
	[OP_FILL] = step_fill,
	[OP_PREAD] = step_pread,
	[OP_PWRITE] = step_pwrite,
	[OP_PREAD_INTO] = step_pread_into,
	[OP_PWRITE_FROM] = step_pwrite_from,
	[OP_SEND] = step_send,
	[OP_RECEIVE] = step_receive,
	[OP_TRUNCATE] = step_truncate,
	[OP_REOPEN] = step_reopen,
	[OP_LAYOUT] = step_layout,
	[OP_SWEEP] = step_sweep,
	[OP_CHECK_FILE] = step_check_file,
	[OP_EXCHANGE] = step_exchange,
	[OP_FETCH] = step_fetch,
	[OP_BRK] = step_brk,
	[OP_MINCORE_INTO] = step_mincore_into,
	[OP_MLOCKALL] = step_mlockall,
	[OP_UNLINK] = step_unlink,
	[OP_FALLOCATE] = step_fallocate,
	[OP_READV] = step_readv,
	[OP_WRITEV] = step_writev,
	[OP_VM_READ] = step_vm_read,
	[OP_VM_WRITE] = step_vm_write,
	[OP_COPY] = step_copy,
	[OP_WRITE] = step_write,
};

void step_run(struct context *c, const struct op *o)
{
	if (steps[o->code] && !((c->alive & ~1u) && !c->kept && changes_file(o)))
		steps[o->code](c, o);
	else
		skip(c);
}
