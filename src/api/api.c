/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls: arguments and results between the C interface and mm, which answers -errno. See faultline.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache/budget.h"
#include "engine.h"
#include "faultline.h"
#include "file_io.h"
#include "util/compiler.h"
#include "util/log.h"

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

FL_EXPORT const char *fl_version(void)
{
	return "0.1.0";
}

/* ---- Start and end ---- */

static int apply(const struct fl_options *in, struct engine_options *o)
{
	struct fl_options f = {0};

	memcpy(&f, in, in->size < sizeof f ? in->size : sizeof f);
	if (in->size < sizeof f.size || (unsigned)f.faults > FL_FAULTS_THREAD || (unsigned)f.direct > FL_DIRECT_ON)
		return -EINVAL;
	if (f.budget)
		o->budget = f.budget;
	if (o->budget < BUDGET_MIN || o->budget > (uint64_t)sysconf(_SC_PHYS_PAGES) * FL_PAGE_SIZE)
		return -EINVAL;
	if (f.faults)
		o->threads = f.faults == FL_FAULTS_THREAD;
	if (f.direct)
		o->direct = f.direct == FL_DIRECT_ON;
	if (f.swap_directory && strlen(f.swap_directory) >= sizeof o->swap_directory)
		return -EINVAL;
	if (f.swap_directory)
		snprintf(o->swap_directory, sizeof o->swap_directory, "%s", f.swap_directory);
	return 0;
}

FL_EXPORT int fl_init(const struct fl_options *options)
{
	struct engine_options o;
	const char *what;
	int err;

	if (engine_started())
		return result(-EBUSY);
	err = engine_options_from_env(&o, &what);
	if (!err && options)
		err = apply(options, &o);
	return result(err ? err : engine_start(&o));
}

FL_EXPORT int fl_exit(void)
{
	return result(engine_stop());
}

/* A program that ends without fl_exit() has its stores written back. */
__attribute__((destructor)) static void at_exit(void)
{
	int err = engine_flush(true);

	if (err)
		fl_log(LOG_ERROR, "at exit: stores could not be written back: %s", strerror(-err));
}

/* ---- Spaces ---- */

FL_EXPORT fl_space *fl_space_create(const struct fl_space_options *options)
{
	struct fl_space_options o = {0};
	struct mm *mm = NULL;
	int err = engine_start_default();

	if (options)
		memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
	if (!err && (unsigned)o.faults > FL_FAULTS_THREAD)
		err = -EINVAL;
	if (!err)
		err = engine_space_create(o.faults ? o.faults == FL_FAULTS_THREAD : engine_options()->threads, &mm);
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
	struct sigguard g = sigguard_enter();
	uint64_t out = 0;
	int err = mm_mmap(to_mm(space), &rq, &out);

	sigguard_leave(g);
	return pointer_result(err, out);
}

FL_EXPORT int fl_space_munmap(fl_space *space, void *addr, size_t length)
{
	struct sigguard g = sigguard_enter();
	int err = mm_munmap(to_mm(space), (uintptr_t)addr, length, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_mprotect(fl_space *space, void *addr, size_t length, int prot)
{
	struct sigguard g = sigguard_enter();
	int err = mm_mprotect(to_mm(space), (uintptr_t)addr, length, prot, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT void *fl_space_mremap(fl_space *space, void *old_address, size_t old_size, size_t new_size, int flags, void *new_address)
{
	struct sigguard g = sigguard_enter();
	uint64_t out = 0;
	int err = mm_mremap(to_mm(space), (uintptr_t)old_address, old_size, new_size, flags, (uintptr_t)new_address, &out);

	sigguard_leave(g);
	return pointer_result(err, out);
}

FL_EXPORT int fl_space_msync(fl_space *space, void *addr, size_t length, int flags)
{
	struct sigguard g = sigguard_enter();
	int err = mm_msync(to_mm(space), (uintptr_t)addr, length, flags, false);

	sigguard_leave(g);
	return result(err);
}

FL_EXPORT int fl_space_madvise(fl_space *space, void *addr, size_t length, int advice)
{
	struct sigguard g = sigguard_enter();
	int err = mm_madvise(to_mm(space), (uintptr_t)addr, length, advice, false);

	sigguard_leave(g);
	return result(err);
}

/* vec is the caller's memory, and may be a mapping of ours: filled through a buffer, with no lock held. */
FL_EXPORT int fl_space_mincore(fl_space *space, void *addr, size_t length, unsigned char *vec)
{
	uint64_t pages = page_align_up(length) >> FL_PAGE_SHIFT;
	unsigned char part[512];

	if (length && pages == 0)
		return result(-ENOMEM);
	for (uint64_t done = 0; done < pages || length == 0; done += sizeof part) {
		uint64_t n = min_u64(sizeof part, pages - done);
		struct sigguard g = sigguard_enter();
		int err = mm_mincore(to_mm(space), (uintptr_t)addr + (done << FL_PAGE_SHIFT), n << FL_PAGE_SHIFT, part, false);

		sigguard_leave(g);
		if (err || length == 0)
			return result(err);
		err = file_io_copy_out(vec + done, part, n);
		if (err)
			return result(err);
	}
	return 0;
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

	if (flags & MREMAP_FIXED) {
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

/* ---- Pins: in every space, since a buffer may lie in any ---- */

FL_EXPORT int fl_pin(const void *addr, size_t length, int flags)
{
	return result(flags & ~FL_PIN_WRITE ? -EINVAL : file_io_pin(addr, length, flags & FL_PIN_WRITE));
}

FL_EXPORT int fl_unpin(const void *addr, size_t length)
{
	file_io_unpin(addr, length);
	return 0;
}

/* ---- File calls ---- */

static ssize_t count_result(ssize_t n)
{
	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}

FL_EXPORT ssize_t fl_pread(int fd, void *buf, size_t count, off_t offset)
{
	return count_result(file_io_pread(fd, buf, count, offset));
}

FL_EXPORT ssize_t fl_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	return count_result(file_io_pwrite(fd, buf, count, offset));
}

FL_EXPORT int fl_ftruncate(int fd, off_t length)
{
	return result(file_io_ftruncate(fd, length));
}
