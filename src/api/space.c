/* SPDX-License-Identifier: Apache-2.0 */
/* The calls on mappings: arguments and results between the C interface and mm, which answers -errno. See faultline.h. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"
#include "faultline.h"
#include "file_io.h"
#include "limits_of.h"
#include "mm/maps.h"
#include "util/compiler.h"

static int result(int err)
{
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

static void *pointer_result(int err, uint64_t addr)
{
	if (!err)
		return (void *)(uintptr_t)addr;
	errno = -err;
	return MAP_FAILED;
}

static struct mm *to_mm(fl_space *s)
{
	return (struct mm *)s;
}

/* Before a call. Signals are blocked while it works, if a handler could touch memory that it works on. */
static struct sigguard enter(fl_space *space)
{
	struct sigguard g = to_mm(space)->soft ? sigguard_enter_soft() : sigguard_enter();

	mm_catch_up(to_mm(space));
	return g;
}

/* ---- Spaces ---- */

static void set_limit(uint64_t *limit, uint64_t asked)
{
	if (asked)
		*limit = asked;
}

int limits_of(const struct fl_space_options *o, struct mm_limits *l)
{
	mm_limits_default(l);
	if ((unsigned)o->overcommit > FL_OVERCOMMIT_NEVER || (o->overcommit == FL_OVERCOMMIT_NEVER && !o->commit_limit))
		return -EINVAL;
	set_limit(&l->map_count, o->map_count);
	set_limit(&l->address_space, o->address_space_limit);
	set_limit(&l->data, o->data_limit);
	set_limit(&l->memlock, o->memlock_limit);
	set_limit(&l->min_addr, o->mmap_min_addr);
	l->commit = o->commit_limit;
	if (o->overcommit)
		l->overcommit = (enum overcommit)(o->overcommit - 1);
	return 0;
}

enum engine_faults engine_faults_of(enum fl_faults faults)
{
	switch (faults) {
	case FL_FAULTS_INLINE:
		return FAULTS_INLINE;
	case FL_FAULTS_THREAD:
		return FAULTS_THREAD;
	case FL_FAULTS_SIGSEGV:
		return FAULTS_SIGSEGV;
	default:
		return FAULTS_AUTO;
	}
}

FL_EXPORT fl_space *fl_space_create(const struct fl_space_options *options)
{
	struct fl_space_options o = {0};
	struct mm_limits limits;
	struct mm *mm = NULL;
	int err = engine_start_default();

	if (options)
		memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
	if (!err && (o.faults == FL_FAULTS_NONE || (unsigned)o.faults > FL_FAULTS_SIGSEGV))
		err = -EINVAL;
	if (!err)
		err = limits_of(&o, &limits);
	if (!err)
		err = engine_space_create(engine_faults_of(o.faults), &limits, &mm);
	if (err)
		errno = -err;
	return (fl_space *)mm;
}

FL_EXPORT int fl_space_destroy(fl_space *space)
{
	if (!space || to_mm(space) == engine_space())
		return result(-EINVAL);
	engine_space_destroy(to_mm(space));
	return 0;
}

FL_EXPORT fl_space *fl_space_default(void)
{
	return result(engine_start_default()) ? NULL : (fl_space *)engine_space();
}

FL_EXPORT void *fl_space_mmap(fl_space *space, void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct mmap_request rq = {
		.addr = (uintptr_t)addr, .len = length, .offset = (uint64_t)offset, .prot = prot, .flags = flags, .fd = fd};
	struct sigguard g = enter(space);
	uint64_t out = 0;
	int err = mm_mmap(to_mm(space), &rq, &out);

	sigguard_leave(g);
	return pointer_result(err, out);
}

FL_EXPORT int fl_space_munmap(fl_space *space, void *addr, size_t length)
{
	struct sigguard g = enter(space);
	int err = mm_munmap(to_mm(space), (uintptr_t)addr, length, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_mprotect(fl_space *space, void *addr, size_t length, int prot)
{
	struct sigguard g = enter(space);
	int err = mm_mprotect(to_mm(space), (uintptr_t)addr, length, prot, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT void *fl_space_mremap(fl_space *space, void *old_address, size_t old_size, size_t new_size, int flags, void *new_address)
{
	struct sigguard g = enter(space);
	uint64_t out = 0;
	int err = mm_mremap(to_mm(space), (uintptr_t)old_address, old_size, new_size, flags, (uintptr_t)new_address, &out);

	sigguard_leave(g);
	return pointer_result(err, out);
}

FL_EXPORT int fl_space_msync(fl_space *space, void *addr, size_t length, int flags)
{
	struct sigguard g = enter(space);
	int err = mm_msync(to_mm(space), (uintptr_t)addr, length, flags, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_madvise(fl_space *space, void *addr, size_t length, int advice)
{
	struct sigguard g = enter(space);
	int err = mm_madvise(to_mm(space), (uintptr_t)addr, length, advice, false);

	sigguard_leave(g);
	return result(err);
}

#define MINCORE_CHUNK 512

/* access_ok() of Linux */
static bool is_user_range(const void *p, uint64_t len)
{
	return len <= TASK_SIZE && (uintptr_t)p <= TASK_SIZE - len;
}

static int mincore_chunk(fl_space *space, uint64_t addr, uint64_t len, unsigned char *part)
{
	struct sigguard g = enter(space);
	int err = mm_mincore(to_mm(space), addr, len, part, false);

	sigguard_leave(g);
	return err;
}

/* As on Linux, what precedes a hole is told first, by which vec may be found wanting. */
static int mincore_pages(fl_space *space, uint64_t addr, uint64_t pages, uint64_t at_once, unsigned char *vec)
{
	uint64_t page = to_mm(space)->page_mask + 1;
	unsigned char part[MINCORE_CHUNK];
	int err = 0;

	for (uint64_t done = 0, n; done < pages && !err; done += n) {
		n = min_u64(at_once, pages - done);
		err = mincore_chunk(space, addr + done * page, n * page, part);
		if (!err)
			err = file_io_copy_out(vec + done, part, n);
		else if (err == -ENOMEM && n > 1)
			err = mincore_pages(space, addr + done * page, n, 1, vec + done);
	}
	return err;
}

/* vec is the caller's memory, and may be a mapping of ours: filled through a buffer, with no lock held. */
FL_EXPORT int fl_space_mincore(fl_space *space, void *addr, size_t length, unsigned char *vec)
{
	uint64_t page = to_mm(space)->page_mask + 1, pages = mm_align_up(to_mm(space), length) / page;

	if (length && pages == 0)
		return result(-ENOMEM);
	if (is_user_range(addr, pages * page) && !((uintptr_t)addr & (page - 1)) && !is_user_range(vec, pages))
		return result(-EFAULT);
	return result(length ? mincore_pages(space, (uintptr_t)addr, pages, MINCORE_CHUNK, vec)
			     : mincore_chunk(space, (uintptr_t)addr, 0, vec));
}

FL_EXPORT int fl_space_mlock2(fl_space *space, const void *addr, size_t length, unsigned flags)
{
	struct sigguard g = enter(space);
	int err = mm_mlock(to_mm(space), (uintptr_t)addr, length, (int)flags, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_munlock(fl_space *space, const void *addr, size_t length)
{
	struct sigguard g = enter(space);
	int err = mm_munlock(to_mm(space), (uintptr_t)addr, length, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_mlockall(fl_space *space, int flags)
{
	struct sigguard g = enter(space);
	int err = mm_mlockall(to_mm(space), flags);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_munlockall(fl_space *space)
{
	struct sigguard g = enter(space);

	mm_munlockall(to_mm(space));
	sigguard_leave(g);
	return 0;
}

FL_EXPORT int fl_space_mseal(fl_space *space, void *addr, size_t length, unsigned long flags)
{
	struct sigguard g = enter(space);
	int err = mm_mseal(to_mm(space), (uintptr_t)addr, length, flags, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_remap_file_pages(fl_space *space, void *addr, size_t size, int prot, size_t pgoff, int flags)
{
	struct sigguard g = enter(space);
	int err = mm_remap_file_pages(to_mm(space), (uintptr_t)addr, size, prot, pgoff, flags);

	sigguard_leave(g);
	return result(err);
}

/* Signals are not blocked while the text is written, which may take long. */
FL_EXPORT int fl_space_maps(fl_space *space, int fd)
{
	sigguard_leave(enter(space));
	return result(mm_maps(to_mm(space), fd));
}

FL_EXPORT int fl_space_smaps(fl_space *space, int fd)
{
	sigguard_leave(enter(space));
	return result(mm_smaps(to_mm(space), fd));
}

/* ---- The default space ---- */

FL_EXPORT void *fl_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	int err = engine_start_default();

	return err ? pointer_result(err, 0) : fl_space_mmap((fl_space *)engine_space(), addr, length, prot, flags, fd, offset);
}

/* Before the start nothing is mapped; the calls then answer as for a range without mappings. */
static fl_space *started_space(void)
{
	return engine_start_default() ? NULL : (fl_space *)engine_space();
}

FL_EXPORT int fl_munmap(void *addr, size_t length)
{
	fl_space *s = started_space();

	return s ? fl_space_munmap(s, addr, length) : -1;
}

FL_EXPORT int fl_mprotect(void *addr, size_t length, int prot)
{
	fl_space *s = started_space();

	return s ? fl_space_mprotect(s, addr, length, prot) : -1;
}

FL_EXPORT void *fl_mremap(void *old_address, size_t old_size, size_t new_size, int flags, ...)
{
	fl_space *s = started_space();
	void *new_address = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list ap;

		va_start(ap, flags);
		new_address = va_arg(ap, void *);
		va_end(ap);
	}
	return s ? fl_space_mremap(s, old_address, old_size, new_size, flags, new_address) : MAP_FAILED;
}

FL_EXPORT int fl_msync(void *addr, size_t length, int flags)
{
	fl_space *s = started_space();

	return s ? fl_space_msync(s, addr, length, flags) : -1;
}

_Static_assert(sizeof(struct fl_range) == sizeof(struct mm_range) && offsetof(struct fl_range, length) == offsetof(struct mm_range, len),
	       "ranges are passed on as they are");

static int prefetch(fl_space *space, const struct mm_range *ranges, size_t n)
{
	struct sigguard g = enter(space);
	int err = mm_prefetch(to_mm(space), ranges, n);

	sigguard_leave(g);
	return err;
}

#define PREFETCH_PART 32

/* The list may lie in memory that is ours, where an access is a fault: it is looked at before anything is held. */
FL_EXPORT int fl_space_prefetch(fl_space *space, const struct fl_range *ranges, size_t n)
{
	struct mm_range part[PREFETCH_PART];
	int err = 0, e;

	for (size_t i = 0; i < n; i++)
		if (!mm_is_range((const struct mm_range *)&ranges[i]))
			return result(-EINVAL);
	for (size_t i = 0, some; i < n; i += some) {
		some = min_u64(n - i, PREFETCH_PART);
		memcpy(part, &ranges[i], some * sizeof *part);
		e = prefetch(space, part, some);
		err = err ? err : e;
	}
	return result(err);
}

FL_EXPORT int fl_prefetch(const struct fl_range *ranges, size_t n)
{
	fl_space *s = started_space();

	return s ? fl_space_prefetch(s, ranges, n) : -1;
}

FL_EXPORT int fl_madvise(void *addr, size_t length, int advice)
{
	fl_space *s = started_space();

	return s ? fl_space_madvise(s, addr, length, advice) : -1;
}

FL_EXPORT int fl_mincore(void *addr, size_t length, unsigned char *vec)
{
	fl_space *s = started_space();

	return s ? fl_space_mincore(s, addr, length, vec) : -1;
}

FL_EXPORT int fl_mlock(const void *addr, size_t length)
{
	return fl_mlock2(addr, length, 0);
}

FL_EXPORT int fl_mlock2(const void *addr, size_t length, unsigned flags)
{
	fl_space *s = started_space();

	return s ? fl_space_mlock2(s, addr, length, flags) : -1;
}

FL_EXPORT int fl_munlock(const void *addr, size_t length)
{
	fl_space *s = started_space();

	return s ? fl_space_munlock(s, addr, length) : -1;
}

FL_EXPORT int fl_mlockall(int flags)
{
	fl_space *s = started_space();

	return s ? fl_space_mlockall(s, flags) : -1;
}

FL_EXPORT int fl_munlockall(void)
{
	fl_space *s = started_space();

	return s ? fl_space_munlockall(s) : -1;
}

FL_EXPORT int fl_mseal(void *addr, size_t length, unsigned long flags)
{
	fl_space *s = started_space();

	return s ? fl_space_mseal(s, addr, length, flags) : -1;
}

FL_EXPORT int fl_remap_file_pages(void *addr, size_t size, int prot, size_t pgoff, int flags)
{
	fl_space *s = started_space();

	return s ? fl_space_remap_file_pages(s, addr, size, prot, pgoff, flags) : -1;
}

FL_EXPORT int fl_maps(int fd)
{
	fl_space *s = started_space();

	return s ? fl_space_maps(s, fd) : -1;
}

FL_EXPORT int fl_smaps(int fd)
{
	fl_space *s = started_space();

	return s ? fl_space_smaps(s, fd) : -1;
}

/* POSIX's DONTNEED is a hint, which must not lose private pages as Linux's does: the C library ignores it too. */
FL_EXPORT int fl_posix_madvise(void *addr, size_t length, int advice)
{
	int saved = errno, err;

	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	err = fl_madvise(addr, length, advice) ? errno : 0;
	errno = saved;
	return err;
}
