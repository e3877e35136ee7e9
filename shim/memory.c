/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap, munmap, mprotect, mremap. Ranges that are partly ours go to the engine, which does the kernel's part too, so
 * that no fault sees one without the other.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "locked.h"
#include "memory.h"
#include "real.h"
#include "serve.h"
#include "util/sys.h"

bool is_mapped_by_us(const void *addr, size_t len)
{
	struct mm *mm;

	if (likely(!address_space_any()))
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
	bool replaces = replaces_ours(c);
	void *out;

	if (replaces)
		locked_forget(c->addr, c->len);
	if (serve_mmap(c, &out))
		return out;
	if (replaces)
		return replace_ours(c);
	return REAL(mmap)(c->addr, c->len, c->prot, c->flags, c->fd, c->off);
}

WRAPPER void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(fd < 0) && likely(!address_space_any()))
		return REAL(mmap)(addr, len, prot, flags, fd, off);
	return do_mmap(&c);
}

WRAPPER void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(fd < 0) && likely(!address_space_any()))
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
	locked_forget(addr, len);
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

/* What is not done for our mappings (a duplicate by old_size 0, MREMAP_DONTUNMAP) is an argument that cannot be taken. */
static void *remap_ours(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
	struct sigguard g;
	uint64_t addr = 0;
	int err;

	locked_forget(old, old_len);
	if (flags & MREMAP_FIXED)
		locked_forget(to, new_len);
	g = sigguard_enter();
	err = mm_mremap(engine_space(), (uintptr_t)old, old_len, new_len, flags, (uintptr_t)to, &addr);
	sigguard_leave(g);
	if (err == -EOPNOTSUPP)
		err = (flags & MREMAP_DONTUNMAP) || !old_len ? -EINVAL : -ENOMEM;
	return pointer_result(err, addr);
}

/* Memory that is not ours moves onto memory that is. */
static void clear_target(void *to, size_t len)
{
	struct sigguard g;

	locked_forget(to, len);
	g = sigguard_enter();
	mm_munmap(engine_space(), (uintptr_t)to, len, false);
	sigguard_leave(g);
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
	if (is_mapped_by_us(old, old_len ? old_len : 1))
		return remap_ours(old, old_len, new_len, flags, to);
	if ((flags & MREMAP_FIXED) && new_len && is_mapped_by_us(to, new_len))
		clear_target(to, new_len);
	return REAL(mremap)(old, old_len, new_len, flags, to);
}
