/* SPDX-License-Identifier: Apache-2.0 */
/* mremap: what is ours is the engine's to move; moves of the kernel's mappings over ours; ranges that are both. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "api/engine.h"
#include "base/mapped.h"
#include "base/real.h"
#include "futexes.h"
#include "gaps.h"
#include "locked.h"
#include "memory.h"
#include "proc_lines.h"
#include "remap.h"
#include "util/own.h"
#include "util/sys.h"

static void *pointer_result(int err, uint64_t addr)
{
	return (void *)(err ? shim_result(err) : (long)addr);
}

/* MREMAP_FIXED can go there. */
static bool is_target(void *old, size_t old_len, size_t new_len, void *to)
{
	uintptr_t from = (uintptr_t)old, at = (uintptr_t)to;

	if (!new_len || (at & FL_PAGE_MASK) || new_len > TASK_SIZE || at > TASK_SIZE - new_len)
		return false;
	return at + new_len <= from || from + old_len <= at;
}

/* Several mappings can be moved to a fixed address, when nothing else is asked (Linux 6.17). */
static bool moves_only(size_t old_len, size_t new_len, int flags)
{
	return (flags & MREMAP_FIXED) && page_align_up(old_len) && page_align_up(old_len) == page_align_up(new_len);
}

/* What lies at `at`, up to *next: false when that is nothing. Ours is one part, of the kernel's each mapping is, or all where that cannot be seen. */
static bool part_at(uint64_t at, uint64_t end, uint64_t *next)
{
	uint64_t gap, start = 0, stop = 0;
	struct proc_lines p;
	char *line, *dash;

	*next = end;
	if (!next_gap(at, end, &gap, next) || gap > at) {
		*next = min_u64(gap, end);
		return true;
	}
	if (proc_lines_open(&p, "/proc/thread-self/maps"))
		return true;
	while (stop <= at && (line = proc_lines_next(&p))) {
		start = strtoull(line, &dash, 16);
		stop = *dash == '-' ? strtoull(dash + 1, NULL, 16) : 0;
	}
	proc_lines_close(&p);
	if (stop > at)
		*next = min_u64(start <= at ? stop : start, *next);
	return stop > at && start <= at;
}

/*
 * Mappings of both kinds move one after the other, as the kernel moves its own: when one cannot, those before it have moved. Holes stay holes, but there
 * must be something at the start.
 */
static void *move_parts(void *old, size_t len, int flags, void *to)
{
	uint64_t start = (uintptr_t)old, end = start + page_align_up(len), next;

	for (uint64_t at = start; at < end; at = next) {
		if (part_at(at, end, &next)) {
			if (mremap((void *)at, next - at, next - at, flags, (char *)to + (at - start)) == MAP_FAILED)
				return MAP_FAILED;
		} else if (at == start) {
			return pointer_result(-EFAULT, 0);
		}
	}
	return to;
}

static bool is_sealed_ours(const void *at)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	bool sealed;

	mutex_lock(&mm->mmap_lock);
	sealed = mm_any_sealed(mm, (uintptr_t)at, (uintptr_t)at + FL_PAGE_SIZE);
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return sealed;
}

/* -EPERM or -EFAULT, when there is a seal or nothing at the start: that is seen before how many mappings follow. The kernel is asked for what cannot be. */
static int check_start(void *old)
{
	void *p;

	if (is_ours_now(old, 1))
		return is_sealed_ours(old) ? -EPERM : 0;
	p = sys_mremap(old, FL_PAGE_SIZE, TASK_SIZE, 0, NULL);
	return sys_is_err(p) && (sys_err(p) == -EPERM || sys_err(p) == -EFAULT) ? sys_err(p) : 0;
}

/* Growth of more than what is ours, or a move that is not only that, is for one mapping. */
static bool goes_beyond_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	bool places = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);

	if (!places && new_len <= old_len)
		return false;
	if (places && !is_target(old, old_len, new_len, to)) /* which is told first, also where the address is but a hint */
		return false;
	return for_gaps(old, min_u64(old_len, page_align_up(new_len)), gap_is_empty, 0);
}

/* More than one mapping. */
static void *refuse(void *old)
{
	int err = check_start(old);

	return pointer_result(err ? err : -EFAULT, 0);
}

static void *remap_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	struct sigguard g;
	uint64_t addr = 0;
	int err;

	if (goes_beyond_ours(old, old_len, new_len, flags, to))
		return moves_only(old_len, new_len, flags) ? move_parts(old, old_len, flags, to) : refuse(old);
	futexes_unmapped(old, old_len);
	if (flags & MREMAP_FIXED)
		futexes_unmapped(to, new_len);
	g = sigguard_enter();
	err = mm_mremap(engine_space(), (uintptr_t)old, old_len, new_len, flags, (uintptr_t)to, &addr);

	sigguard_leave(g);
	if (!err)
		locked_ours((void *)addr, new_len);
	return pointer_result(err, addr);
}

int move_onto_ours(void *from, size_t len, void *to)
{
	struct mmap_request rq = {.addr = (uintptr_t)to, .len = len, .foreign = true, .from = (uintptr_t)from};
	struct sigguard g = sigguard_enter();
	uint64_t addr;
	int err = mm_mmap(engine_space(), &rq, &addr);

	sigguard_leave(g);
	return err;
}

/* By way of a place in between: ours is given up only when the move was found possible. */
static long move_in_two_steps(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	void *between = sys_mmap(own_place(new_len), new_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *p;
	int err;

	if (sys_is_err(between))
		return -ENOMEM;
	p = sys_mremap(old, old_len, new_len, flags, between);
	if (sys_is_err(p)) {
		sys_munmap(between, new_len);
		return sys_err(p);
	}
	futexes_unmapped(to, new_len);
	err = move_onto_ours(between, new_len, to);
	if (!err)
		return (long)to;
	sys_mremap(between, new_len, old_len, MREMAP_MAYMOVE | MREMAP_FIXED, old); /* sealed: back, as far as that goes */
	return err;
}

/*
 * Memory that is not ours moves onto memory that is. Done with one call, several mappings would be in the place in between when one cannot be moved, and nobody
 * could tell which.
 */
static void *remap_onto_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	size_t had = page_align_up(old_len), left = page_align_up(new_len);
	uint64_t end = (uintptr_t)old + had, next;

	if (moves_only(old_len, new_len, flags) && !(part_at((uintptr_t)old, end, &next) && next == end))
		return move_parts(old, had, flags, to);
	if (gap_is_mapped(old, min_u64(had, left), 0))
		return pointer_result(-EFAULT, 0);
	return (void *)shim_result(move_in_two_steps(old, old_len, new_len, flags, to));
}

static bool args_ok(void *old, size_t old_len, size_t new_len, int flags)
{
	int all = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	size_t had = page_align_up(old_len), left = page_align_up(new_len);

	if ((flags & ~all) || ((flags & all) && !(flags & MREMAP_MAYMOVE)) || ((flags & MREMAP_DONTUNMAP) && had != left))
		return false;
	return !((uintptr_t)old & FL_PAGE_MASK) && new_len && left >= new_len && left <= TASK_SIZE;
}

/* It refuses a range of two mappings before it sees that there is no place in which the range could grow to this. */
static bool is_one_mapping(void *addr, size_t len)
{
	void *p = sys_mremap(addr, len, TASK_SIZE, 0, NULL);

	return !sys_is_err(p) || sys_err(p) != -EFAULT;
}

/* It starts with a mapping of the kernel's and has one of ours further on: it can only move, or get shorter and move then. */
static void *remap_mixed(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	size_t left = page_align_up(new_len), had = page_align_up(old_len);

	if ((flags & ~MREMAP_MAYMOVE) && !is_target(old, had, left, to))
		return pointer_result(-EINVAL, 0);
	if (moves_only(old_len, new_len, flags))
		return move_parts(old, had, flags, to);
	if (left > had || (left == had && (flags & ~MREMAP_MAYMOVE)) || check_start(old))
		return refuse(old);
	if ((flags & MREMAP_FIXED) && !is_one_mapping(old, left))
		return pointer_result(-EFAULT, 0);
	if ((flags & MREMAP_FIXED) && munmap(to, left)) /* first, as the kernel does: what is cut off may be sealed */
		return MAP_FAILED;
	if (left < had && munmap((char *)old + left, had - left))
		return MAP_FAILED;
	return flags & MREMAP_FIXED ? mremap(old, left, left, flags, to) : old;
}

/* With `to` where it may take the place of something. */
static bool begin_move(struct kernels *k, void *old, size_t old_len, void *to, size_t new_len)
{
	if (!kernels_begin(k, old, max_u64(old_len, 1)))
		return false;
	if (!to || !is_mapped_by_us(to, new_len))
		return true;
	kernels_end(k);
	return false;
}

static void *kernel_mremap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	return (void *)shim_result((long)sys_mremap(old, old_len, new_len, flags, to));
}

WRAPPER void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL, *p;
	struct kernels k;
	bool places;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list ap;

		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	if (NOTHING_MAPPED || !args_ok(old, old_len, new_len, flags))
		return kernel_mremap(old, old_len, new_len, flags, to);
	if (!page_align_up(old_len)) /* one that wraps is none */
		old_len = 0;
	places = (flags & MREMAP_FIXED) && is_target(old, old_len, new_len, to);
	do {
		if (is_ours_now(old, 1))
			return remap_ours(old, old_len, new_len, flags, to);
		if (old_len && is_ours_now(old, old_len))
			return remap_mixed(old, old_len, new_len, flags, to);
		if (places && is_ours_now(to, new_len))
			return remap_onto_ours(old, old_len, new_len, flags, to);
	} while (!begin_move(&k, old, old_len, places ? to : NULL, new_len));
	p = kernel_mremap(old, old_len, new_len, flags, to);
	kernels_end(&k);
	return p;
}
