/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork. The kernel copies the address space but not the registration: in the child, a page that is not in memory would
 * read as zeros, and the frames are the parent's memfd. So, before any code of the program runs in the child:
 *
 *   shared, read-only   the child's own frames are mapped in place, empty: pages come from the file again
 *   shared, writable    was handed to the kernel in both, before the fork: one page cache that both see
 *   private             the child's own frames, and the private pages the kernel has copied are moved across
 *   handed over         already the kernel's
 *
 * The child starts with an empty cache and its own budget. It is alone: no lock is needed, and locks that threads of
 * the parent held are reset.
 */
#include <errno.h>
#include <sys/mman.h>

#include "mm.h"
#include "util/compiler.h"

#define WHY "fork with a shared writable mapping"

static int hand_over_writable(struct address_space *as, void *arg)
{
	(void)arg;
	if (as->store->writable && atomic_load(&as->report->mapped_bytes))
		mm_hand_over(as, WHY);
	return 0;
}

void mm_fork_prepare(void)
{
	struct mm *mm;

	address_space_for_each(hand_over_writable, NULL);
	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_lock(&mm->mmap_lock);
	address_space_fork_prepare();
}

void mm_fork_parent(void)
{
	struct mm *mm;

	address_space_fork_parent();
	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_unlock(&mm->mmap_lock);
}

static int map_flags(const struct vma *v)
{
	return (v->flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE) | (v->flags & VM_NORESERVE ? MAP_NORESERVE : 0);
}

static void *map_frames(const struct vma *v, uint64_t addr, int prot, int extra)
{
	return sys_mmap((void *)addr, v->end - v->start, prot, map_flags(v) | extra, v->as->memfd, (off_t)(v->pgoff << FL_PAGE_SHIFT));
}

static int attach(struct vma *v, uint64_t addr)
{
	return v->mm->mmu->ops->attach(v->mm->mmu, addr, v->end - v->start);
}

/* It could not be handed over before the fork (the file was not written back): at least parent and child see one file. */
static int remap_kernel(struct vma *v)
{
	void *p = sys_mmap((void *)v->start, v->end - v->start, v->prot, MAP_SHARED | MAP_FIXED, file_store_fd(v->as->store),
			   (off_t)(v->pgoff << FL_PAGE_SHIFT));

	if (sys_is_err(p))
		return sys_err(p);
	rmap_del(&v->rmap);
	v->flags |= VM_HANDED;
	atomic_store(&v->as->handed, true);
	return 0;
}

static int remap_in_place(struct vma *v)
{
	void *p = map_frames(v, v->start, v->prot, MAP_FIXED);

	return sys_is_err(p) ? sys_err(p) : attach(v, v->start);
}

/* Copies the private pages that the table knows from where they are to the mapping at `to`. */
static int copy_private(struct vma *v, uint64_t to)
{
	const struct mmu_ops *ops = v->mm->mmu->ops;
	pfn_t high = page_table_high();
	int err = 0;

	for (pfn_t p = 0; p < high && !err; p++) {
		struct page_key k = page_key(p);
		uint64_t done, at = (k.index - v->anon_pgoff) << FL_PAGE_SHIFT;

		if (page_state_of(page_word(p)) == PAGE_ABSENT || k.as != v->anon->as->id || k.index < v->anon_pgoff || at >= v->end - v->start)
			continue;
		err = ops->copy(v->mm->mmu, to + at, (void *)(v->start + at), FL_PAGE_SIZE, 0, &done);
	}
	return err;
}

/* The kernel reads the old pages for the copy, which the program may have made unreadable. */
static int remap_private(struct vma *v)
{
	uint64_t len = v->end - v->start;
	void *p;
	int err;

	if (!atomic_load(&v->anon->as->nr_pages))
		return remap_in_place(v);
	p = map_frames(v, 0, PROT_READ | PROT_WRITE, 0);
	if (sys_is_err(p))
		return sys_err(p);
	err = attach(v, (uint64_t)p);
	if (!err)
		err = sys_mprotect((void *)v->start, len, PROT_READ);
	if (!err)
		err = copy_private(v, (uint64_t)p);
	if (!err)
		err = sys_mprotect(p, len, v->prot);
	if (!err && sys_is_err(sys_mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)v->start)))
		err = -ENOMEM;
	return err ? err : attach(v, v->start);
}

static int remap_vma(struct vma *v)
{
	vma_lock_reset(v);
	if (v->flags & VM_HANDED)
		return 0;
	report_raise(&v->as->report->mapped_bytes, &v->as->report->mapped_peak, v->end - v->start);
	if ((v->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
		return remap_kernel(v);
	return v->flags & VM_SHARED ? remap_in_place(v) : remap_private(v);
}

static int fork_space(struct mm *mm)
{
	int err = mm->mmu->ops->fork_child(mm->mmu);

	for (struct vma *v = vma_find(&mm->index, 0); v && !err; v = vma_find(&mm->index, v->end))
		err = remap_vma(v);
	return err;
}

int mm_fork_child(void)
{
	struct mm *mm;
	int err = 0;

	vma_pool_fork_child();
	for (int i = 0; (mm = mm_space(i)) && !err; i++) {
		mutex_unlock(&mm->mmap_lock);
		err = fork_space(mm);
	}
	return err;
}

uint64_t mm_fork_pages(void)
{
	uint64_t pages = 0;
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		pages += mm->index.top_paid;
	return pages;
}
