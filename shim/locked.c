/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlock, mlock2, munlock, mlockall, munlockall.
 *
 * The kernel cannot lock memory that comes and goes by userfaultfd; locked pages of ours are pinned pages. At most half
 * of the budget can be pinned: beyond that the calls fail with ENOMEM. MLOCK_ONFAULT brings the pages in at once.
 *
 * mlockall(MCL_CURRENT) with mappings of ours fails with EAGAIN (POSIX: "some or all of the memory could not be
 * locked"): they may be many times the budget. After MCL_FUTURE new mappings are left to the kernel.
 */
#include "locked.h"

#include <errno.h>

#include "api/engine.h"
#include "memory.h"
#include "real.h"
#include "serve.h"
#include "util/lock.h"

#define RANGES 256

struct range {
	uint64_t start, end;
};

/* Order of ranges does not matter; they do not overlap. Held across pins, which take locks of the engine: a lock before all of them. */
static struct mutex lock = MUTEX_INIT(0);
static struct range ranges[RANGES];
static _Atomic int nranges;

static int pin_range(uint64_t start, uint64_t end)
{
	int err = mm_pin(engine_space(), start, end - start, false);

	return err == -EFAULT || err == -EIO ? -ENOMEM : err;
}

static int add(uint64_t start, uint64_t end)
{
	int n = atomic_load(&nranges), err;

	if (n == RANGES)
		return -ENOMEM;
	err = pin_range(start, end);
	if (err)
		return err;
	ranges[n] = (struct range){start, end};
	atomic_store(&nranges, n + 1);
	return 0;
}

/* The first part of [start, end) that no range covers; false when all is covered. */
static bool uncovered(uint64_t *start, uint64_t *end)
{
	for (int i = 0; i < atomic_load(&nranges); i++)
		if (ranges[i].start <= *start && *start < ranges[i].end) {
			*start = ranges[i].end;
			i = -1;
			if (*start >= *end)
				return false;
		}
	for (int i = 0; i < atomic_load(&nranges); i++)
		if (ranges[i].start > *start && ranges[i].start < *end)
			*end = ranges[i].start;
	return true;
}

static int lock_range(uint64_t start, uint64_t end)
{
	int err = 0;

	while (start < end && !err) {
		uint64_t to = end;

		if (!uncovered(&start, &to))
			break;
		err = add(start, to);
		start = to;
	}
	return err;
}

/* Cuts [start, end) out of range i. A split that has no room for its second half unlocks that too. */
static void cut(int i, uint64_t start, uint64_t end)
{
	struct range r = ranges[i];
	int n = atomic_load(&nranges);

	ranges[i] = ranges[--n];
	if (r.start < start)
		ranges[n++] = (struct range){r.start, start};
	if (end < r.end && n < RANGES)
		ranges[n++] = (struct range){end, r.end};
	else if (end < r.end)
		mm_unpin(engine_space(), end, r.end - end);
	atomic_store(&nranges, n);
}

static void unlock_range(uint64_t start, uint64_t end)
{
	for (int i = 0; i < atomic_load(&nranges);) {
		uint64_t from = max_u64(start, ranges[i].start), to = min_u64(end, ranges[i].end);

		if (from >= to) {
			i++;
			continue;
		}
		mm_unpin(engine_space(), from, to - from);
		cut(i, from, to);
		i = 0;
	}
}

void locked_forget(const void *addr, size_t len)
{
	struct sigguard g;

	if (likely(!atomic_load(&nranges)))
		return;
	g = sigguard_enter();
	mutex_lock(&lock);
	unlock_range((uintptr_t)addr, page_align_up((uintptr_t)addr + len));
	mutex_unlock(&lock);
	sigguard_leave(g);
}

void locked_fork_child(void)
{
	mutex_init(&lock, 0);
	atomic_store(&nranges, 0);
}

static int lock_ours(const void *addr, size_t len)
{
	struct sigguard g = sigguard_enter();
	int err;

	mutex_lock(&lock);
	err = lock_range(page_align_down((uintptr_t)addr), page_align_up((uintptr_t)addr + len));
	mutex_unlock(&lock);
	sigguard_leave(g);
	return err;
}

/* A range that is only partly ours is locked as far as it is ours. */
WRAPPER int mlock(const void *addr, size_t len)
{
	return likely(!is_mapped_by_us(addr, len)) ? REAL(mlock)(addr, len) : (int)shim_result(lock_ours(addr, len));
}

WRAPPER int mlock2(const void *addr, size_t len, unsigned flags)
{
	return likely(!is_mapped_by_us(addr, len)) ? REAL(mlock2)(addr, len, flags) : (int)shim_result(lock_ours(addr, len));
}

WRAPPER int munlock(const void *addr, size_t len)
{
	if (likely(!is_mapped_by_us(addr, len)))
		return REAL(munlock)(addr, len);
	locked_forget(addr, len);
	return 0;
}

WRAPPER int mlockall(int flags)
{
	if ((flags & MCL_CURRENT) && address_space_any()) {
		errno = EAGAIN;
		return -1;
	}
	if (flags & MCL_FUTURE)
		serve_no_more();
	return REAL(mlockall)(flags);
}

WRAPPER int munlockall(void)
{
	locked_forget(NULL, TASK_SIZE);
	return REAL(munlockall)();
}
