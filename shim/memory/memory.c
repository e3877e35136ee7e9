/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap, munmap, mprotect, remap_file_pages. Ranges that are partly ours go to the engine, which does the kernel's part too, so
 * that no fault sees one without the other.
 */
#include <errno.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "base/mapped.h"
#include "base/real.h"
#include "futexes.h"
#include "gaps.h"
#include "locked.h"
#include "memory.h"
#include "serve.h"
#include "stacks.h"
#include "util/sys.h"

/* Where the range could be ours; NULL: nowhere. What is no range is the kernel's to refuse. */
static struct mm *space_for(const void *addr, size_t len)
{
	uint64_t pages = page_align_up(len);

	if (NOTHING_MAPPED || !len || pages < len || (uintptr_t)addr + pages < (uintptr_t)addr)
		return NULL;
	return engine_space();
}

bool is_mapped_by_us(const void *addr, size_t len)
{
	struct mm *mm = space_for(addr, len);

	return mm && mm_overlaps(mm, (uintptr_t)addr, page_align_up(len));
}

bool is_ours_now(const void *addr, size_t len)
{
	uint64_t at = (uintptr_t)addr, end = page_align_up(at + len), start, stop;

	return is_mapped_by_us(addr, len) && !(next_gap(at, end, &start, &stop) && start == at && stop == end);
}

/* A thread that is alone has nobody beside it. */
bool kernels_begin(struct kernels *k, const void *addr, size_t len)
{
	struct mm *mm = space_for(addr, len);

	k->mm = NULL;
	if (!mm)
		return true;
	if (mm_overlaps(mm, (uintptr_t)addr, page_align_up(len)))
		return false;
	if (__libc_single_threaded)
		return true;
	k->guard = sigguard_enter();
	if (mm_begin_foreign(mm, (uintptr_t)addr, page_align_up(len))) {
		k->mm = mm;
		return true;
	}
	sigguard_leave(k->guard);
	return false;
}

void kernels_end(struct kernels *k)
{
	if (!k->mm)
		return;
	mm_end_foreign(k->mm);
	sigguard_leave(k->guard);
}

static void *pointer_result(int err, uint64_t addr)
{
	return (void *)(err ? shim_result(err) : (long)addr);
}

/* ---- mmap ---- */

/* Not by the function that comes next, as with munmap and mremap: it may be another library's (tcmalloc's), which makes the call by number, and so comes back here. */
static void *kernel_mmap(const struct map_call *c)
{
	return (void *)shim_result((long)sys_mmap(c->addr, c->len, c->prot, c->flags, c->fd, c->off));
}

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

static bool replaces(const struct map_call *c)
{
	int type = c->flags & MAP_TYPE;

	if ((c->flags & MAP_ANONYMOUS) && type != MAP_PRIVATE && type != MAP_SHARED)
		return false;
	return (c->flags & MAP_FIXED) && !(c->flags & MAP_FIXED_NOREPLACE) && !((uintptr_t)c->addr & FL_PAGE_MASK);
}

static void *map_kernels(const struct map_call *c)
{
	struct kernels k = {.mm = NULL};
	void *out;

	if (replaces(c) && !kernels_begin(&k, c->addr, c->len))
		return replace_ours(c);
	out = kernel_mmap(c);
	kernels_end(&k);
	return out;
}

static void *do_mmap(const struct map_call *c)
{
	void *out;

	if ((c->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED)
		futexes_unmapped(c->addr, c->len);
	if (serve_mmap(c, &out)) {
		if (out != MAP_FAILED)
			locked_ours(out, c->len);
		if ((c->flags & (MAP_ANONYMOUS | MAP_PRIVATE)) == (MAP_ANONYMOUS | MAP_PRIVATE))
			stacks_watch();
		return out;
	}
	out = map_kernels(c);
	locked_kernels(out, c->len);
	return out;
}

/* Memory without a file, while there is nothing that it could concern. NOTHING_MAPPED comes first, as in each call: it looks at the stack (stacks_check). */
static bool is_plain(int fd)
{
	return NOTHING_MAPPED && fd < 0 && !serve_anonymous() && !atomic_load_explicit(&locked_future, memory_order_relaxed);
}

WRAPPER void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(is_plain(fd)))
		return kernel_mmap(&c);
	return do_mmap(&c);
}

WRAPPER void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	struct map_call c = {.addr = addr, .len = len, .prot = prot, .flags = flags, .fd = fd, .off = off};

	if (likely(is_plain(fd)))
		return kernel_mmap(&c);
	return do_mmap(&c);
}

/* ---- munmap, mprotect ---- */

WRAPPER int munmap(void *addr, size_t len)
{
	struct kernels k;
	struct sigguard g;
	int err;

	if (likely(kernels_begin(&k, addr, len))) {
		err = sys_munmap(addr, len);
		kernels_end(&k);
		return (int)shim_result(err);
	}
	futexes_unmapped(addr, len);
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

static int protect_kernels(void *addr, size_t len, int prot)
{
	struct kernels k;
	int err;

	if (!kernels_begin(&k, addr, len)) /* it was protected before it became ours */
		return 0;
	err = sys_mprotect(addr, len, prot);
	kernels_end(&k);
	return err;
}

/* PROT_GROWSDOWN reaches below the range: the mapping at its start decides whose it is. */
static int protect_ours(void *addr, size_t len, int prot)
{
	struct parts p = {.ours = protect_part, .kernels = protect_kernels, .how = prot};
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
	struct kernels k;
	int err;

	if (unlikely(!kernels_begin(&k, addr, len)))
		return protect_ours(addr, len, prot);
	err = REAL(mprotect)(addr, len, prot);
	kernels_end(&k);
	return err;
}

#define NOWHERE (1ULL << 63) /* where the kernel has no mapping of a process */

/* What the kernel says of all arguments but the place, before it looks there: -ENOMEM, when it would. */
static int check_key(const void *addr, size_t len, int prot, int key)
{
	return (int)sys_call(SYS_pkey_mprotect, (long)(NOWHERE | ((uintptr_t)addr & FL_PAGE_MASK)), (long)len, prot, key, 0, 0);
}

/*
 * Without a key, or with the one that all memory has, it is mprotect(2). With one of the program's what the mapping allows would no longer be what its
 * VMA says: that is refused.
 */
WRAPPER int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	int err;

	if (likely(!is_ours_now(addr, len)))
		return REAL(pkey_mprotect)(addr, len, prot, key);
	err = key == -1 ? -ENOMEM : check_key(addr, len, prot, key);
	if (err != -ENOMEM)
		return (int)shim_result(err);
	return key <= 0 ? protect_ours(addr, len, prot) : (int)shim_result(-EINVAL);
}

/* ---- remap_file_pages ---- */

WRAPPER int remap_file_pages(void *addr, size_t len, int prot, size_t pgoff, int flags)
{
	struct sigguard g;
	int err;

	if (likely(!is_ours_now(addr, len)))
		return REAL(remap_file_pages)(addr, len, prot, pgoff, flags);
	g = sigguard_enter();
	err = mm_remap_file_pages(engine_space(), (uintptr_t)addr, len, prot, pgoff, flags);
	sigguard_leave(g);
	if (!err)
		locked_ours(addr, len);
	return (int)shim_result(err);
}
