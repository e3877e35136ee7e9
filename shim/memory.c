/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap, munmap, mprotect, mremap, remap_file_pages. Ranges that are partly ours go to the engine, which does the kernel's part too, so
 * that no fault sees one without the other.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "gaps.h"
#include "locked.h"
#include "mapped.h"
#include "memory.h"
#include "real.h"
#include "serve.h"
#include "util/sys.h"

bool is_mapped_by_us(const void *addr, size_t len)
{
	struct mm *mm;

	if (NOTHING_MAPPED)
		return false;
	mm = engine_space();
	return mm && mm_overlaps(mm, (uintptr_t)addr, page_align_up(len));
}

static void *pointer_result(int err, uint64_t addr)
{
	return (void *)(err ? shim_result(err) : (long)addr);
}

/* ---- mmap ---- */

/* A mapping of the kernel's in the place of ours. */
static void *replace_ours(const struct map_call *c)
{
	struct mmap_request rq = {.addr = (uintptr_t)c->addr, .len = c->len, .offset = (uint64_t)c->off, .foreign = true};
	struct sigguard g = sigguard_enter();
	uint64_t addr;
	int err;

	rq.prot = c->prot;
	rq.flags = c->flags;
	rq.fd = c->fd;
	err = mm_mmap(engine_space(), &rq, &addr);
	sigguard_leave(g);
	return pointer_result(err, addr);
}

static bool replaces_ours(const struct map_call *c)
{
	return (c->flags & MAP_FIXED) && !(c->flags & MAP_FIXED_NOREPLACE) && c->len && is_mapped_by_us(c->addr, c->len);
}

static void *do_mmap(const struct map_call *c)
{
	void *out;

	if (serve_mmap(c, &out)) {
		locked_ours(out, c->len);
		return out;
	}
	out = replaces_ours(c) ? replace_ours(c) : REAL(mmap)(c->addr, c->len, c->prot, c->flags, c->fd, c->off);
	locked_kernels(out, c->len);
	return out;
}

/* Memory without a file, while there is nothing that it could concern. */
static bool is_plain(int fd)
{
	return fd < 0 && NOTHING_MAPPED && !serve_anonymous() && !atomic_load_explicit(&locked_future, memory_order_relaxed);
}

WRAPPER void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(is_plain(fd)))
		return REAL(mmap)(addr, len, prot, flags, fd, off);
	return do_mmap(&c);
}

WRAPPER void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(is_plain(fd)))
		return REAL(mmap64)(addr, len, prot, flags, fd, off);
	return do_mmap(&c);
}

/* ---- munmap, mprotect ---- */

WRAPPER int munmap(void *addr, size_t len)
{
	struct sigguard g;
	int err;

	if (likely(!is_mapped_by_us(addr, len)))
		return REAL(munmap)(addr, len);
	g = sigguard_enter();
	err = mm_munmap(engine_space(), (uintptr_t)addr, len, true);
	sigguard_leave(g);
	return (int)shim_result(err);
}

static int protect_ours(void *addr, size_t len, int prot)
{
	struct sigguard g = sigguard_enter();
	int err = mm_mprotect(engine_space(), (uintptr_t)addr, len, prot, true);

	sigguard_leave(g);
	return (int)shim_result(err);
}

WRAPPER int mprotect(void *addr, size_t len, int prot)
{
	return likely(!is_mapped_by_us(addr, len)) ? REAL(mprotect)(addr, len, prot) : protect_ours(addr, len, prot);
}

/* Without a key of the program's it is mprotect(2); with one, what the mapping allows is no longer what its VMA says. */
WRAPPER int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	if (likely(!is_mapped_by_us(addr, len)))
		return REAL(pkey_mprotect)(addr, len, prot, key);
	if (key == -1)
		return protect_ours(addr, len, prot);
	errno = EINVAL;
	return -1;
}

/* ---- mremap ---- */

/* A move or growth of more than what is ours is not done: Linux refused several mappings of different kinds until 6.17. */
static bool goes_beyond_ours(void *old, size_t old_len, size_t new_len, int flags)
{
	bool places = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);

	if ((uintptr_t)old & FL_PAGE_MASK || (!places && new_len <= old_len))
		return false;
	return for_gaps(old, old_len, gap_is_empty, 0);
}

static void *remap_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	struct sigguard g;
	uint64_t addr = 0;
	int err;

	if (goes_beyond_ours(old, old_len, new_len, flags))
		return pointer_result(-EFAULT, 0);
	g = sigguard_enter();
	err = mm_mremap(engine_space(), (uintptr_t)old, old_len, new_len, flags, (uintptr_t)to, &addr);

	sigguard_leave(g);
	if (!err)
		locked_ours((void *)addr, new_len);
	return pointer_result(err, addr);
}

/* Memory that is not ours moves onto memory that is. */
static int clear_target(void *to, size_t len)
{
	struct sigguard g = sigguard_enter();
	int err = mm_munmap(engine_space(), (uintptr_t)to, len, false);

	sigguard_leave(g);
	return err;
}

/* It starts with a mapping of the kernel's and has one of ours further on: it can only get shorter. */
static void *remap_mixed(void *old, size_t old_len, size_t new_len, int flags)
{
	size_t left = page_align_up(new_len), had = page_align_up(old_len);
	int all = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (((uintptr_t)old & FL_PAGE_MASK) || !new_len || (flags & ~all) || ((flags & all) && !(flags & MREMAP_MAYMOVE)))
		return pointer_result(-EINVAL, 0);
	if (left > had || (flags & ~MREMAP_MAYMOVE) || gap_is_mapped(old, FL_PAGE_SIZE, 0))
		return pointer_result(-EFAULT, 0);
	return left < had && munmap((char *)old + left, had - left) ? MAP_FAILED : old;
}

WRAPPER void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list ap;

		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	if (is_mapped_by_us(old, 1))
		return remap_ours(old, old_len, new_len, flags, to);
	if (old_len && is_mapped_by_us(old, old_len))
		return remap_mixed(old, old_len, new_len, flags);
	if ((flags & MREMAP_FIXED) && new_len && is_mapped_by_us(to, new_len)) {
		int err = clear_target(to, new_len);

		if (err)
			return pointer_result(err, 0);
	}
	return REAL(mremap)(old, old_len, new_len, flags, to);
}

/* ---- remap_file_pages ---- */

WRAPPER int remap_file_pages(void *addr, size_t len, int prot, size_t pgoff, int flags)
{
	struct sigguard g;
	int err;

	if (likely(!is_mapped_by_us(addr, len)))
		return REAL(remap_file_pages)(addr, len, prot, pgoff, flags);
	g = sigguard_enter();
	err = mm_remap_file_pages(engine_space(), (uintptr_t)addr, len, prot, pgoff, flags);
	sigguard_leave(g);
	if (!err)
		locked_ours(addr, len);
	return (int)shim_result(err);
}
