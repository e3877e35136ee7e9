/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing over: shared mappings of a file become plain kernel mappings of it, in place, while the program runs. What
 * was stored goes to the file first; while that is so, accesses wait for the VMA's lock.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "cache/truncate.h"
#include "cache/writeback.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/log.h"

static bool concerns(const struct vma *v, const struct address_space *as)
{
	return v->as == as && (v->flags & VM_SHARED) && !(v->flags & VM_HANDED);
}

/* Calls fn for each mapping concerned, in all spaces, by address. Caller holds every mmap_lock. First error. */
static int for_each_concerned(struct address_space *as, int (*fn)(struct vma *v))
{
	struct mm *mm;
	int err = 0;

	for (int i = 0; (mm = mm_space(i)) && !err; i++)
		for (struct vma *v = vma_find(&mm->index, 0); v && !err; v = vma_find(&mm->index, v->end))
			if (concerns(v, as))
				err = fn(v);
	return err;
}

static int lock_one(struct vma *v)
{
	vma_lock_write(v);
	return 0;
}

static int replace_one(struct vma *v)
{
	void *p = sys_mmap((void *)v->start, v->end - v->start, v->prot, MAP_SHARED | MAP_FIXED, file_store_fd(v->as->store),
			   (off_t)(v->pgoff << FL_PAGE_SHIFT));

	if (sys_is_err(p))
		return sys_err(p);
	vma_unlink_rmap(v);
	mm_uncharge_locked(v, v->end - v->start);
	mm_advise_again(v, v->start, v->end - v->start);
	if (v->flags & VM_LOCKED)
		sys_call(SYS_mlock2, (long)v->start, (long)(v->end - v->start), v->flags & VM_LOCKONFAULT ? MLOCK_ONFAULT : 0, 0, 0, 0);
	return 0;
}

/* rmap tells who was replaced: the flag must not change while the others are still counted as concerned. */
static int mark_one(struct vma *v)
{
	bool replaced = !v->rmap.link;

	if (replaced)
		v->flags |= VM_HANDED;
	vma_unlock_write(v);
	return 0;
}

static void lock_spaces(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_lock(&mm->mmap_lock);
}

static void unlock_spaces(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_unlock(&mm->mmap_lock);
}

/*
 * All mappings of the file at once: a page of the cache must not be written over what a store through a mapping handed
 * over before it has put into the file. With the VMAs locked, a page written back cannot become dirty again. Pinned pages
 * stay dirty, though: they leave the cache with all others, before anyone can write them back over later stores.
 */
static int hand_over(struct address_space *as)
{
	int err;

	lock_spaces();
	for_each_concerned(as, lock_one);
	err = writeback_all(as);
	write_lock(&as->invalidate_lock);
	if (!err)
		atomic_store(&as->handed, true);
	write_lock(&rmap_lock);
	if (!err)
		err = for_each_concerned(as, replace_one);
	write_unlock(&rmap_lock);
	if (!err)
		truncate_pages(as, 0, PAGE_INDEX_MAX);
	write_unlock(&as->invalidate_lock);
	for_each_concerned(as, mark_one);
	unlock_spaces();
	return err;
}

static void note(const struct address_space *as, const char *why)
{
	char text[248];

	snprintf(text, sizeof text, "%.150s: left to the kernel: %.70s", as->report->path, why);
	report_note(text);
}

int mm_hand_over(struct address_space *as, const char *why)
{
	int err = writeback_all(as); /* most of it, while the program still runs on */

	if (!err)
		err = hand_over(as);
	if (!err && why)
		note(as, why);
	return err;
}
