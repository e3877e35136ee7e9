/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlock, mlock2, munlock, mlockall, munlockall: the engine locks what is ours, the kernel the rest.
 *
 * The kernel must not lock mappings of ours: it does not discard locked pages when the engine asks for it, and a mapping
 * that it locks when it is made it fills with zeros. So its mlockall is not called with MCL_CURRENT, but mlock on one mapping
 * after the other; and of MCL_FUTURE it is told to lock pages when they are first used, which keeps it from filling. New
 * mappings of the program's are filled all the same (MAP_POPULATE); what libc maps for itself, for malloc() and for stacks,
 * is not. Memory reserved with MAP_NORESERVE is locked as it is used: the engine's own tables are of that kind.
 */
#include "locked.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "base/real.h"
#include "gaps.h"
#include "memory.h"
#include "proc_lines.h"
#include "serve.h"
#include "util/sys.h"

_Atomic int locked_future;

static int lock_gap(void *addr, size_t len, int flags)
{
	return (int)sys_call(SYS_mlock2, (long)addr, (long)len, flags, 0, 0, 0);
}

static int unlock_gap(void *addr, size_t len, int how)
{
	(void)how;
	return (int)sys_call(SYS_munlock, (long)addr, (long)len, 0, 0, 0, 0);
}

/* ---- Ranges ---- */

static const void *page_of(const void *addr)
{
	return (const void *)page_align_down((uintptr_t)addr);
}

/* These calls take addresses inside of pages. */
static bool concerns_us(const void *addr, size_t len)
{
	return is_mapped_by_us(page_of(addr), len + ((uintptr_t)addr & FL_PAGE_MASK));
}

/* How much of the range is to be changed: all before the first page that is not mapped. In bytes from addr. */
struct reach {
	size_t ours;    /* for the engine */
	size_t kernels; /* for the kernel, which finds the page itself, in the last gap */
};

static struct reach reach_of(const void *addr, size_t len)
{
	uint64_t end = (uintptr_t)addr + len, start, stop;
	struct reach r = {len, len};

	for (uint64_t at = (uintptr_t)page_of(addr); at < end && next_gap(at, end, &start, &stop); at = stop)
		if (gap_is_mapped((void *)start, page_align_up(stop) - start, 0)) {
			r.kernels = min_u64(stop, end) - (uintptr_t)addr;
			r.ours = start > (uintptr_t)addr ? start - (uintptr_t)addr : 0;
			break;
		}
	return r;
}

/* The engine first: it refuses before anything is locked. */
static int lock_range(const void *addr, size_t len, int flags)
{
	struct reach r = reach_of(addr, len);
	struct sigguard g = sigguard_enter();
	int err = r.ours < len ? mm_mlock_to_hole(engine_space(), (uintptr_t)addr, r.ours, flags)
			       : mm_mlock(engine_space(), (uintptr_t)addr, r.ours, flags, true);

	sigguard_leave(g);
	return err ? err : for_gaps(page_of(addr), r.kernels + ((uintptr_t)addr & FL_PAGE_MASK), lock_gap, flags);
}

static int unlock_range(const void *addr, size_t len)
{
	struct reach r = reach_of(addr, len);
	struct sigguard g = sigguard_enter();
	int err = mm_munlock(engine_space(), (uintptr_t)addr, r.ours, true);

	sigguard_leave(g);
	return err ? err : for_gaps(page_of(addr), r.kernels + ((uintptr_t)addr & FL_PAGE_MASK), unlock_gap, 0);
}

WRAPPER int mlock(const void *addr, size_t len)
{
	return likely(!concerns_us(addr, len)) ? REAL(mlock)(addr, len) : (int)shim_result(lock_range(addr, len, 0));
}

WRAPPER int mlock2(const void *addr, size_t len, unsigned flags)
{
	return likely(!concerns_us(addr, len)) ? REAL(mlock2)(addr, len, flags) : (int)shim_result(lock_range(addr, len, (int)flags));
}

WRAPPER int munlock(const void *addr, size_t len)
{
	return likely(!concerns_us(addr, len)) ? REAL(munlock)(addr, len) : (int)shim_result(unlock_range(addr, len));
}

/* ---- All ---- */

struct kernel_mapping {
	uint64_t start, end;
	bool noreserve;
};

/* The next one in /proc/self/smaps: a line with its range, lines of figures, one of flags. False when there is none. */
static bool next_mapping(struct proc_lines *p, struct kernel_mapping *m)
{
	char *line, *rest;

	*m = (struct kernel_mapping){0};
	while ((line = proc_lines_next(p))) {
		if (!strncmp(line, "VmFlags:", 8)) {
			m->noreserve = strstr(line, " nr");
			return true;
		}
		if (line[0] >= 'A' && line[0] <= 'Z')
			continue;
		m->start = strtoull(line, &rest, 16);
		m->end = strtoull(rest + (*rest == '-'), NULL, 16);
	}
	return false;
}

/* Calls fn for all that the kernel has mapped for the process. -EAGAIN when that cannot be seen. */
static int each_mapping(void (*fn)(const struct kernel_mapping *m, uint64_t *arg), uint64_t *arg)
{
	struct kernel_mapping m;
	struct proc_lines p;

	if (proc_lines_open(&p, "/proc/thread-self/smaps"))
		return -EAGAIN;
	while (next_mapping(&p, &m))
		if (m.end <= TASK_SIZE)
			fn(&m, arg);
	proc_lines_close(&p);
	return 0;
}

static void add_size(const struct kernel_mapping *m, uint64_t *bytes)
{
	if (!m->noreserve)
		*bytes += m->end - m->start;
}

/* What cannot be brought in is locked all the same, and no error of mlockall(). */
static void lock_mapping(const struct kernel_mapping *m, uint64_t *flags)
{
	for_gaps((void *)m->start, m->end - m->start, lock_gap, m->noreserve ? (int)MLOCK_ONFAULT : (int)*flags);
}

/* RLIMIT_MEMLOCK is for ours and the kernel's together. */
static int may_lock_all(struct mm *mm)
{
	uint64_t bytes = 0;
	int err = each_mapping(add_size, &bytes);

	if (err)
		return err;
	return mlock_limit_ok(mm, bytes - min_u64(bytes, atomic_load(&mm->locked))) ? 0 : -ENOMEM;
}

/* There is no call that ends MCL_FUTURE alone. What the program has is locked again after: gaps by lock_all(). */
static int end_future(void)
{
	int err = (int)sys_call(SYS_munlockall, 0, 0, 0, 0, 0, 0);
	struct sigguard g = sigguard_enter();

	mm_lock_handed_again(engine_space());
	sigguard_leave(g);
	return err;
}

static int tell_future(int flags)
{
	if (flags & MCL_FUTURE)
		return (int)sys_call(SYS_mlockall, MCL_FUTURE | MCL_ONFAULT, 0, 0, 0, 0, 0);
	return atomic_load(&locked_future) ? end_future() : 0;
}

static int lock_ours(int flags)
{
	struct sigguard g = sigguard_enter();
	int err = mm_mlockall(engine_space(), flags);

	sigguard_leave(g);
	return err;
}

static bool flags_ok(int flags)
{
	return !(flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) && (flags & (MCL_CURRENT | MCL_FUTURE));
}

static int lock_all(int flags)
{
	uint64_t how = flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0;
	int err = 0;

	if (!flags_ok(flags))
		return -EINVAL;
	if (!can_do_mlock(engine_space()))
		return -EPERM;
	if (flags & MCL_CURRENT)
		err = may_lock_all(engine_space());
	if (!err)
		err = lock_ours(flags);
	if (!err)
		err = tell_future(flags);
	if (err)
		return err;
	atomic_store(&locked_future, !(flags & MCL_FUTURE) ? FUTURE_NONE : how ? FUTURE_ONFAULT : FUTURE_NOW);
	return flags & MCL_CURRENT ? each_mapping(lock_mapping, &how) : 0;
}

/* Mappings may come: the engine has to know what to do with them, and to have its tables before the kernel locks. */
WRAPPER int mlockall(int flags)
{
	if (!engine_started() && !((flags & MCL_FUTURE) && serve_start()))
		return REAL(mlockall)(flags);
	return (int)shim_result(lock_all(flags));
}

WRAPPER int munlockall(void)
{
	struct sigguard g;

	if (engine_started()) {
		g = sigguard_enter();
		mm_munlockall(engine_space());
		sigguard_leave(g);
	}
	atomic_store(&locked_future, FUTURE_NONE);
	return REAL(munlockall)();
}

/* ---- MCL_FUTURE ---- */

/* What cannot be brought in, or is more than may be locked, is locked as far as it goes. */
void locked_kernels(const void *addr, size_t len)
{
	if (unlikely(atomic_load_explicit(&locked_future, memory_order_relaxed) == FUTURE_NOW) && addr != MAP_FAILED)
		lock_gap((void *)addr, len, 0);
}

/* What was handed to the kernel is for it to lock. */
static bool next_ours(uint64_t *at, uint64_t end, uint64_t *stop)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	struct vma *v;

	mutex_lock(&mm->mmap_lock);
	for (v = vma_find(&mm->index, *at); v && (v->flags & VM_HANDED); v = vma_find(&mm->index, v->end))
		;
	if (v) {
		*at = max_u64(*at, v->start);
		*stop = v->end;
	}
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return v && *at < end;
}

void locked_ours(const void *addr, size_t len)
{
	uint64_t at = (uintptr_t)addr, end = page_align_up(at + len), stop;

	if (likely(!atomic_load_explicit(&locked_future, memory_order_relaxed)))
		return;
	for (; at < end && next_ours(&at, end, &stop); at = stop)
		unlock_gap((void *)at, min_u64(stop, end) - at, 0);
}

void locked_fork_child(void)
{
	atomic_store(&locked_future, FUTURE_NONE);
}
