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

/* What is no range is the kernel's to refuse. */
bool is_mapped_by_us(const void *addr, size_t len)
{
	uint64_t pages = page_align_up(len);
	struct mm *mm;

	if (NOTHING_MAPPED || pages < len || (uintptr_t)addr + pages < (uintptr_t)addr)
		return false;
	mm = engine_space();
	return mm && mm_overlaps(mm, (uintptr_t)addr, pages);
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
	int type = c->flags & MAP_TYPE;

	if ((c->flags & MAP_ANONYMOUS) && type != MAP_PRIVATE && type != MAP_SHARED)
		return false;
	if (!(c->flags & MAP_FIXED) || (c->flags & MAP_FIXED_NOREPLACE) || ((uintptr_t)c->addr & FL_PAGE_MASK))
		return false;
	return c->len && is_mapped_by_us(c->addr, c->len);
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

static int protect_part(void *addr, size_t len, int prot)
{
	struct sigguard g = sigguard_enter();
	int err = mm_mprotect(engine_space(), (uintptr_t)addr, len, prot, false);

	sigguard_leave(g);
	return err;
}

/* PROT_GROWSDOWN reaches below the range: the mapping at its start decides whose it is. */
static int protect_ours(void *addr, size_t len, int prot)
{
	struct parts p = {.ours = protect_part, .kernels = sys_mprotect, .how = prot};
	int err;

	if ((uintptr_t)addr & FL_PAGE_MASK)
		err = -EINVAL;
	else if (prot & (PROT_GROWSDOWN | PROT_GROWSUP))
		err = (is_mapped_by_us(addr, 1) ? protect_part : sys_mprotect)(addr, len, prot);
	else
		err = for_parts(addr, len, &p);
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

static int clear_target(void *to, size_t len)
{
	struct sigguard g = sigguard_enter();
	int err = mm_munmap(engine_space(), (uintptr_t)to, len, false);

	sigguard_leave(g);
	return err;
}

/* By way of a place in between: ours is given up only when the move was found possible. */
static long move_in_two_steps(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	void *between = sys_mmap(NULL, new_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *p;
	int err;

	if (sys_is_err(between))
		return -ENOMEM;
	p = sys_mremap(old, old_len, new_len, flags, between);
	if (sys_is_err(p)) {
		sys_munmap(between, new_len);
		return sys_err(p);
	}
	err = clear_target(to, new_len);
	if (!err)
		return (long)sys_mremap(between, new_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	sys_mremap(between, new_len, old_len, MREMAP_MAYMOVE | MREMAP_FIXED, old); /* sealed: back, as far as that goes */
	return err;
}

/* Memory that is not ours moves onto memory that is; without holes in it, as Linux demanded until 6.17. */
static void *remap_onto_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	if (!((uintptr_t)old & FL_PAGE_MASK) && gap_is_mapped(old, page_align_up(old_len), 0))
		return pointer_result(-EFAULT, 0);
	return (void *)shim_result(move_in_two_steps(old, old_len, new_len, flags, to));
}

/* MREMAP_FIXED can go there. */
static bool is_target(void *old, size_t old_len, size_t new_len, void *to)
{
	uintptr_t from = (uintptr_t)old, at = (uintptr_t)to;

	if (!new_len || (at & FL_PAGE_MASK) || new_len > TASK_SIZE || at > TASK_SIZE - new_len)
		return false;
	return at + new_len <= from || from + old_len <= at;
}

/* It starts with a mapping of the kernel's and has one of ours further on: it can only get shorter. */
static void *remap_mixed(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	size_t left = page_align_up(new_len), had = page_align_up(old_len);
	int all = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (((uintptr_t)old & FL_PAGE_MASK) || !new_len || left < new_len || left > TASK_SIZE || (flags & ~all) ||
	    ((flags & all) && !(flags & MREMAP_MAYMOVE)))
		return pointer_result(-EINVAL, 0);
	if ((flags & ~MREMAP_MAYMOVE) && !is_target(old, had, left, to))
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
	if ((flags & MREMAP_DONTUNMAP) && page_align_up(old_len) != page_align_up(new_len))
		return pointer_result(-EINVAL, 0);
	if (is_mapped_by_us(old, 1))
		return remap_ours(old, old_len, new_len, flags, to);
	if (old_len && is_mapped_by_us(old, old_len))
		return remap_mixed(old, old_len, new_len, flags, to);
	if ((flags & MREMAP_FIXED) && is_target(old, old_len, new_len, to) && is_mapped_by_us(to, new_len))
		return remap_onto_ours(old, old_len, new_len, flags, to);
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
