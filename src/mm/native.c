/* SPDX-License-Identifier: Apache-2.0 */
/* The native family: the kernel has a mapping for each of ours, on frames of the cache or for private pages. */
#include <errno.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/reclaim.h"
#include "cache/truncate.h"
#include "madvise.h"
#include "util/compiler.h"
#include "util/sys.h"

/* Pages of ours, where each has its protection from the mmu, are none of the kernel's business. */
static int protect_others(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
	int err = 0;

	for (uint64_t at = start, to, next; at < end && !err; at = next) {
		struct vma *v = vma_find(&mm->index, at);

		to = v ? min_u64(v->start, end) : end;
		next = v ? min_u64(v->end, end) : end;
		if (v && (v->flags & VM_HANDED))
			to = next;
		if (at < to)
			err = sys_mprotect((void *)at, to - at, prot);
	}
	return err;
}

static int protect(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
	if (mm->mmu->hides)
		return protect_others(mm, start, end, prot);
	return sys_mprotect((void *)start, end - start, prot);
}

static int advise(struct mm *mm, uint64_t start, uint64_t end, int advice)
{
	(void)mm;
	return sys_madvise((void *)start, end - start, advice);
}

static uint64_t anon_index(const struct vma *v, uint64_t addr)
{
	return v->anon_pgoff + ((addr - v->start) >> FL_PAGE_SHIFT);
}

/* Private pages go, in memory and in swap; then the mapping lets go of what it shows. */
static int dontneed(struct vma *v, uint64_t from, uint64_t to)
{
	if (as_is_pool(v->as)) /* the file's own pages, which it shows again at once */
		return 0;
	if (v->anon)
		truncate_pages(v->anon, anon_index(v, from), anon_index(v, to - 1));
	return v->mm->mmu->ops->zap(v->mm->mmu, from, to - from);
}

static int free_lazily(struct vma *v, uint64_t from, uint64_t to)
{
	if (v->anon)
		filemap_free_lazily(v->anon, anon_index(v, from), anon_index(v, to - 1));
	return 0;
}

static int cool(struct vma *v, uint64_t from, uint64_t to)
{
	if (v->anon)
		reclaim_range(v->anon, anon_index(v, from), anon_index(v, to - 1), false);
	return 0;
}

static int page_out(struct vma *v, uint64_t from, uint64_t to)
{
	if (v->anon)
		reclaim_range(v->anon, anon_index(v, from), anon_index(v, to - 1), true);
	return 0;
}

/*
 * The kernel zaps what it finds and tries again until there is nothing, for ever if write-protected pages of a file have left
 * their marks: these go first.
 */
static int guard(struct vma *v, uint64_t from, uint64_t to)
{
	int err = dontneed(v, from, to);

	if (!err && !vma_is_anonymous(v))
		err = v->mm->mmu->ops->unprotect(v->mm->mmu, from, to - from);
	return err ? err : sys_madvise((void *)from, to - from, MADV_GUARD_INSTALL);
}

static int unguard(struct mm *mm, uint64_t start, uint64_t end)
{
	(void)mm;
	return sys_madvise((void *)start, end - start, MADV_GUARD_REMOVE);
}

static int populate(struct vma *v, uint64_t addr, uint64_t pages, bool write, uint64_t *done)
{
	struct fault f;
	int err = vma_fault(v, addr, write, false, &f);

	return err ? err : filemap_populate(&f, pages, done);
}

static bool swapped(struct vma *v, uint64_t addr)
{
	struct fault f;

	vma_describe(v, addr, &f);
	return filemap_swapped(&f);
}

static bool resident(struct vma *v, uint64_t addr)
{
	struct fault f;

	vma_describe(v, addr, &f);
	return filemap_resident(&f);
}

/*
 * The kernel merges two mappings of a file again only when private pages have come to them from one: they come while it is one, where pages can be
 * hidden. Else each piece stays a mapping for good.
 */
static int new_anon(struct vma *v, uint64_t pages, struct address_space **out)
{
	struct mmu *m = v->mm->mmu;

	if (m->hides && !vma_is_anonymous(v))
		m->ops->hide(m, v->start, v->end - v->start, false);
	return address_space_new_anon(v->as, pages, out);
}

const struct mm_arch native_arch = {
	.name = "native",
	.map = native_map,
	.unmap = native_unmap,
	.protect = protect,
	.remap = native_remap,
	.advise = advise,
	.dontneed = dontneed,
	.free_lazily = free_lazily,
	.cool = cool,
	.page_out = page_out,
	.guard = guard,
	.unguard = unguard,
	.populate = populate,
	.swapped = swapped,
	.resident = resident,
	.count = native_count,
	.new_anon = new_anon,
	.destroy = native_destroy,
};
