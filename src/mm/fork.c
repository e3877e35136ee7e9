/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork. The kernel copies the address space but not the registration: in the child, a page that is not in memory would
 * read as zeros, and the frames are the parent's memfd. So, before any code of the program runs in the child:
 *
 *   with a host         its frames are mapped in place again, and the host told so, in the child's name: both see one cache
 *   shared, read-only   the child's own frames are mapped in place, empty: pages come from the file again
 *   shared, writable    was handed to the kernel in both, before the fork: one page cache that both see
 *   private             the child's own frames, and the private pages the kernel has copied are moved across
 *   anonymous           registered again: the kernel has copied its pages, or left them out (MADV_WIPEONFORK)
 *   MADV_DONTFORK       forgotten: the kernel has left the mapping out
 *   handed over         already the kernel's
 *
 * The child starts with an empty cache and its own budget. It is alone: no lock is needed, and locks that threads of
 * the parent held are reset.
 */
#include <errno.h>
#include <sys/mman.h>

#include "cache/filemap.h"
#include "cache/hosted.h"
#include "cache/io.h"
#include "cache/read_pins.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/handshake.h"

#define WHY "fork with a shared writable mapping"

/*
 * At a host, shared anonymous memory goes with the last mapping that the host knows of: until the child has told of its own, the
 * parent's must stay.
 */
static struct handshake mapped = HANDSHAKE_INIT;
static bool awaited;

static int hand_over_writable(struct address_space *as, void *arg)
{
	(void)arg;
	mm_follow_shrinking(as);
	awaited |= as->scratch && as_is_hosted(as);
	if (!as->store->writable || as->kernels || as_is_hosted(as)) /* the host has its pages for both */
		return 0;
	if (mm_has_writable(as, VM_DONTFORK))
		mm_hand_over(as, as->scratch ? NULL : WHY, false);
	else if (!as->scratch)
		writeback_all(as); /* stores of mappings that are gone: the child reads the file */
	return 0;
}

/*
 * A page is put where it is mapped before the table says that it is there, and all threads of the program can store to it from then on. The child
 * would take it for one that was never read in. So while there is a fork no fault is under way in what has private pages.
 */
static bool may_have_private(const struct vma *v)
{
	return !(v->flags & (VM_SHARED | VM_HANDED));
}

static void lock_private(struct mm *mm)
{
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (may_have_private(v))
			vma_lock_write(v);
}

static void unlock_private(struct mm *mm)
{
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (may_have_private(v))
			vma_unlock_write(v);
}

static void hide_private(struct mm *mm)
{
	const struct mmu_ops *ops = mm->mmu->ops;

	if (!ops->is_in_pieces || !ops->is_in_pieces(mm->mmu))
		return;
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (atomic_load(&v->anon) && !(v->flags & VM_HANDED))
			ops->hide(mm->mmu, v->start, v->end - v->start, false);
}

void mm_fork_prepare(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mm_catch_up(mm);
	awaited = false;
	address_space_for_each(hand_over_writable, NULL);
	if (awaited)
		handshake_prepare(&mapped);
	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_lock(&mm->mmap_lock);
	for (int i = 0; (mm = mm_space(i)); i++) {
		lock_private(mm);
		hide_private(mm);
	}
	io_fork_prepare();
	address_space_fork_prepare();
}

void mm_fork_parent(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		unlock_private(mm);
	address_space_fork_parent();
	io_fork_parent();
	handshake_wait(&mapped);
	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_unlock(&mm->mmap_lock);
}

static int map_flags(const struct vma *v)
{
	return (v->flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE) | ((v->flags & VM_NORESERVE) || v->mm->mmu->hides ? MAP_NORESERVE : 0);
}

static void *map_frames(const struct vma *v, uint64_t addr, int prot, int extra)
{
	if (as_is_pool(v->as))
		return sys_mmap((void *)addr, v->end - v->start, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | extra, -1, 0);
	return sys_mmap((void *)addr, v->end - v->start, prot, map_flags(v) | extra, v->as->memfd, (off_t)(v->pgoff << FL_PAGE_SHIFT));
}

static int attach(struct vma *v, uint64_t addr)
{
	return mm_attach(v->mm, v, addr, v->end - v->start);
}

/* It could not be handed over before the fork (the file was not written back): at least parent and child see one file. */
static int remap_kernel(struct vma *v)
{
	void *p = sys_mmap((void *)v->start, v->end - v->start, v->prot, MAP_SHARED | MAP_FIXED, file_store_fd(v->as->store),
			   (off_t)(v->pgoff << FL_PAGE_SHIFT));

	if (sys_is_err(p))
		return sys_err(p);
	vma_unlink_rmap(v);
	v->flags |= VM_HANDED;
	atomic_store(&v->as->handed, true);
	return 0;
}

static int remap_in_place(struct vma *v)
{
	void *p = map_frames(v, v->start, mm_first_prot(v->mm, v->prot), MAP_FIXED);

	atomic_store(&v->rmap.opened, RMAP_AS_ASKED);
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

		if (page_state_of(page_word(p)) == PAGE_ABSENT || k.as != v->anon->id || k.index < v->anon_pgoff || at >= v->end - v->start)
			continue;
		err = ops->copy(v->mm->mmu, to + at, (void *)(v->start + at), FL_PAGE_SIZE, 0, &done);
		if (v->mm->mmu->hides) /* the kernel has made the file's page for it, see private.c */
			frame_empty(v->as, v->pgoff + (at >> FL_PAGE_SHIFT));
	}
	return err;
}

/* The kernel reads the old pages for the copy, which the program may have made unreadable. */
static int remap_private(struct vma *v)
{
	uint64_t len = v->end - v->start;
	void *p;
	int err;

	if (vma_is_anonymous(v)) /* the kernel has copied it, page by page as either writes */
		return attach(v, v->start);
	if (!v->anon || !atomic_load(&v->anon->nr_pages))
		return remap_in_place(v);
	p = map_frames(v, 0, PROT_READ | PROT_WRITE, 0);
	if (sys_is_err(p))
		return sys_err(p);
	err = attach(v, (uint64_t)p);
	if (!err)
		err = sys_mprotect((void *)v->start, len, PROT_READ);
	if (!err)
		err = copy_private(v, (uint64_t)p);
	if (!err && !v->mm->mmu->hides)
		err = sys_mprotect(p, len, v->prot);
	mm_move_begin((uint64_t)p, len);
	if (!err && sys_is_err(sys_mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)v->start)))
		err = -ENOMEM;
	if (!err)
		err = attach(v, v->start);
	mm_move_end(v->start, len);
	return err;
}

static int remap_hosted(struct vma *v)
{
	int err = remap_in_place(v);

	if (!err)
		err = hosted_map(v->as, v->mm->mmu, v->start, v->pgoff, vma_pages(v), false);
	return err == -EHOSTDOWN ? 0 : err; /* accesses raise SIGBUS, as in the parent */
}

static int remap_frames(struct vma *v)
{
	if (vma_is_at_host(v))
		return remap_hosted(v);
	if ((v->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
		return remap_kernel(v);
	return v->flags & VM_SHARED ? remap_in_place(v) : remap_private(v);
}

/* The kernel has left the mapping out of the child, or its pages. */
static void forget_private(struct vma *v)
{
	struct address_space *anon = v->anon;

	if (!anon)
		return;
	truncate_pages(anon, v->anon_pgoff, v->anon_pgoff + vma_pages(v) - 1);
	vma_unlink_rmap(v);
	atomic_store(&v->anon, NULL);
	v->anon_pgoff = 0;
	vma_link_rmap(v);
	address_space_put_anon(anon);
}

static void drop_vma(struct vma *v)
{
	forget_private(v);
	vma_unlink_rmap(v);
	vma_index_erase(&v->mm->index, v);
	mm_count(v->mm, v, -1);
	vma_set_range(v, 0, 0);
	vma_free_unlinked(v);
}

static int remap_vma(struct vma *v)
{
	int err;

	vma_lock_reset(v);
	mm_count(v->mm, v, -1);
	v->flags &= ~(unsigned)(VM_LOCKED | VM_LOCKONFAULT); /* locks are not inherited */
	v->rmap.locked = v->anon_rmap.locked = false;
	mm_count(v->mm, v, 1);
	if (v->flags & VM_DONTFORK) {
		drop_vma(v);
		return 0;
	}
	report_raise(&v->as->report->mapped_bytes, &v->as->report->mapped_peak, v->end - v->start);
	if (v->flags & VM_HANDED)
		return 0;
	if (v->flags & VM_WIPEONFORK) {
		forget_private(v);
		v->flags &= ~(unsigned)VM_GUARD; /* a mark in the page tables, to the kernel */
	}
	err = remap_frames(v);
	if (!err)
		mm_advise_again(v, v->start, v->end - v->start);
	if (v->flags & VM_HANDED)
		v->flags &= ~(unsigned)VM_GUARD; /* see hand_over.c */
	return err;
}

static void set_family(struct vma *v, uint32_t family)
{
	atomic_store(&v->family, family);
	v->lineage = family;
}

/* As on Linux: each mapping has an anon_vma of its own, with those of the parent behind it. What only a lock had divided stays divided. */
static void renew_families(struct mm *mm)
{
	struct vma *first = NULL;
	uint32_t family = 0;

	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end)) {
		if (!atomic_load(&v->joined)) {
			first = v;
			family = 0;
		}
		if (v->flags & VM_WIPEONFORK)
			set_family(v, 0);
		if (!family && atomic_load(&v->family)) {
			family = vma_new_family();
			for (; first != v; first = vma_find(&mm->index, first->end))
				set_family(first, family);
		}
		if (family)
			set_family(v, family);
	}
}

/* Each as one mapping to the kernel again, where the parent had it in pieces: there may be no room for one more until then. */
static void hide_inherited(struct mm *mm)
{
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
		if (!(v->flags & (VM_HANDED | VM_DONTFORK)))
			sys_mprotect((void *)v->start, v->end - v->start, PROT_NONE);
}

static int fork_space(struct mm *mm)
{
	int err = mm->mmu->ops->fork_child(mm->mmu);

	if (mm->mmu->hides)
		hide_inherited(mm);
	if (!err && hosted_wanted())
		err = mm_join_host(mm);
	if (err == -EHOSTDOWN)
		err = 0;
	mm->inline_faults = !mm->mmu->by_threads;
	mm->def_flags = 0;
	renew_families(mm);
	for (struct vma *v = vma_find(&mm->index, 0), *next; v && !err; v = next) {
		next = vma_find(&mm->index, v->end);
		err = remap_vma(v);
	}
	return err;
}

/* Of mappings that another thread had unmapped, and was about to give up the pages of. */
static void forget_unmapped(void)
{
	pfn_t high = page_table_high();

	if (!vma_any_detached())
		return;
	for (pfn_t p = 0; p < high; p++) {
		struct page_key k = page_key(p);
		struct address_space *as = page_state_of(page_word(p)) == PAGE_ABSENT ? NULL : address_space_of(k);

		if (as && as_is_anon(as) && !rmap_has(as, k.index))
			truncate_pages(as, k.index, k.index);
	}
	vma_forget_detached();
}

void mm_fork_child_begin(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		unlock_private(mm);
	for (int i = 0; (mm = mm_space(i)); i++) {
		rwlock_init(&mm->foreign_lock, RANK_FOREIGN); /* calls that were under way are the parent's */
		mutex_unlock(&mm->mmap_lock);
	}
	address_space_fork_child_begin();
}

int mm_fork_child(void)
{
	struct mm *mm;
	int err = 0;

	vma_pool_fork_child();
	read_pins_fork_child();
	filemap_init(); /* nor are pins */
	for (int i = 0; (mm = mm_space(i)) && !err; i++)
		err = fork_space(mm);
	if (!err)
		forget_unmapped();
	handshake_tell(&mapped);
	return err;
}

static void cut_off(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end))
			if (!(v->flags & (VM_HANDED | VM_DONTFORK)))
				sys_mprotect((void *)v->start, v->end - v->start, PROT_NONE);
	mm_forget_spaces();
}

void mm_clone_prepare(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_lock(&mm->mmap_lock);
}

void mm_clone_parent(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mutex_unlock(&mm->mmap_lock);
}

void mm_clone_child(void)
{
	mm_clone_parent();
	cut_off();
}

void mm_fork_give_up(void)
{
	cut_off();
	swap_fork_end();
	handshake_tell(&mapped);
}

uint64_t mm_fork_pages(void)
{
	uint64_t pages = 0;
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		pages += mm->index.top_paid;
	return pages;
}
