/* SPDX-License-Identifier: Apache-2.0 */
/* msync, madvise, mincore on ranges that may be ours, the kernel's, or pieces of both. */
#include <errno.h>
#include <pthread.h>

#include "api/engine.h"
#include "api/file_io.h"
#include "memory.h"
#include "real.h"
#include "util/sys.h"

/* The next part of [at, end) that is not ours; false when there is none. */
static bool next_gap(uint64_t at, uint64_t end, uint64_t *start, uint64_t *stop)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	struct vma *v;

	mutex_lock(&mm->mmap_lock);
	while ((v = vma_find(&mm->index, at)) && v->start <= at)
		at = v->end;
	*start = at;
	*stop = v ? min_u64(v->start, end) : end;
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return *start < end;
}

typedef int (*gap_fn)(void *addr, size_t len, int how);

/* Does the kernel's part of a mixed range; the first error. */
static int for_gaps(const void *addr, size_t len, gap_fn fn, int how)
{
	uint64_t end = page_align_up((uintptr_t)addr + len), start, stop;
	int err = 0;

	for (uint64_t at = (uintptr_t)addr; at < end && next_gap(at, end, &start, &stop); at = stop) {
		int e = fn((void *)start, stop - start, how);

		err = err ? err : e;
	}
	return err;
}

WRAPPER int msync(void *addr, size_t len, int flags)
{
	struct sigguard g;
	int err, other;

	if (likely(!is_mapped_by_us(addr, len)))
		return REAL(msync)(addr, len, flags);
	pthread_testcancel();
	g = sigguard_enter();
	err = mm_msync(engine_space(), (uintptr_t)addr, len, flags, true);
	sigguard_leave(g);
	if (err == -EINVAL)
		return (int)shim_result(err);
	other = for_gaps(addr, len, sys_msync, flags);
	return (int)shim_result(err ? err : other);
}

/* What the engine lacks is answered as by a kernel built without it (huge pages, KSM): nothing is promised and not done. */
static int advise_ours(void *addr, size_t len, int advice)
{
	struct sigguard g = sigguard_enter();
	int err = mm_madvise(engine_space(), (uintptr_t)addr, len, advice, true), other;

	sigguard_leave(g);
	if (err == -EOPNOTSUPP || err == -EINVAL)
		return -EINVAL;
	other = for_gaps(addr, len, sys_madvise, advice);
	return err ? err : other;
}

WRAPPER int madvise(void *addr, size_t len, int advice)
{
	return likely(!is_mapped_by_us(addr, len)) ? REAL(madvise)(addr, len, advice) : (int)shim_result(advise_ours(addr, len, advice));
}

/* POSIX's DONTNEED is a hint, which must not lose private pages as Linux's does: glibc ignores it too. */
WRAPPER int posix_madvise(void *addr, size_t len, int advice)
{
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return is_mapped_by_us(addr, len) ? -advise_ours(addr, len, advice) : -sys_madvise(addr, len, advice);
}

/* ---- mincore ---- */

#define CHUNK 512

static int mincore_gaps(uint64_t addr, uint64_t end, unsigned char *vec)
{
	uint64_t start, stop;
	int err = 0;

	for (uint64_t at = addr; at < end && next_gap(at, end, &start, &stop) && !err; at = stop)
		err = sys_mincore((void *)start, stop - start, vec + ((start - addr) >> FL_PAGE_SHIFT));
	return err;
}

static int mincore_chunk(uint64_t addr, uint64_t pages, unsigned char *vec)
{
	uint64_t len = pages << FL_PAGE_SHIFT;
	struct sigguard g = sigguard_enter();
	int err = mm_mincore(engine_space(), addr, len, vec, true);

	sigguard_leave(g);
	return err ? err : mincore_gaps(addr, addr + len, vec);
}

/* vec may be memory of ours: filled through a buffer. */
static int mincore_ours(uint64_t addr, size_t len, unsigned char *vec)
{
	uint64_t pages = page_align_up(len) >> FL_PAGE_SHIFT, n;
	unsigned char part[CHUNK] = {0};
	int err = 0;

	if (addr & FL_PAGE_MASK)
		return -EINVAL;
	for (uint64_t done = 0; done < pages && !err; done += n) {
		n = min_u64(CHUNK, pages - done);
		err = mincore_chunk(addr + (done << FL_PAGE_SHIFT), n, part);
		if (!err)
			err = file_io_copy_out(vec + done, part, n);
	}
	return err;
}

WRAPPER int mincore(void *addr, size_t len, unsigned char *vec)
{
	return likely(!is_mapped_by_us(addr, len)) ? REAL(mincore)(addr, len, vec)
						   : (int)shim_result(mincore_ours((uintptr_t)addr, len, vec));
}
