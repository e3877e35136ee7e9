/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of soft spaces, as mm/memory.c of Linux has them. The VMA is locked for reading from the look-up to the end.
 *
 *   entry              read                                     write
 *   nothing    anon    the zero page                            a new page of zeros
 *              file    the file's page; writable if it is       shared: the file's page, DIRTY, writable
 *                      DIRTY and the mapping shared             private: a new page, copied from the file's
 *              device  what the store shows                     the same
 *   slot               its page, from swap if need be           the same, then as below
 *   a page, not        -                                        zero page, or a file's in a private mapping: as for nothing
 *   writable                                                    private page: ours alone (one reference): DIRTY, writable; else copied
 *                                                               file, shared: DIRTY, writable
 *
 * An entry is changed by compare-and-swap from what it was when the fault looked; when it is another by then, all starts again
 * (-EAGAIN). What shows a page is put in place, and what is writable made so, under that page's lock: it cannot leave, nor be on
 * its way to the store. Frames are reserved before any page is locked; a new page is locked before the one it is copied from, and a private
 * one of those is only tried.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "soft.h"
#include "util/compiler.h"
#include "util/sys.h"

/* One page of 4 KiB at a time. */
struct soft_access {
	struct vma *v;
	uint64_t addr;
	pte_slot *slot;
	pte_t entry; /* as it was */
	bool write;
};

static bool replace(struct soft_access *a, pte_t e)
{
	pte_t was = a->entry;

	return atomic_compare_exchange_strong(a->slot, &was, e);
}

static pte_t show(const struct soft_access *a, const void *page, pte_t bits)
{
	return (pte_t)(uintptr_t)page | soft_perms(a->v) | FL_PTE_ACCESSED | bits;
}

static bool may_write(const struct vma *v)
{
	return v->prot & PROT_WRITE;
}

/* ---- Private pages ---- */

/* A page with a slot of its own, locked and READING, or its frame released and -errno. */
static int new_private(struct soft_access *a, pfn_t *pfn, uint64_t *slot)
{
	struct vma *v = a->v;
	int err = slot_alloc(atomic_load(&v->anon), v->anon_pgoff + ((a->addr - v->start) >> FL_PAGE_SHIFT), slot);

	if (err) {
		budget_release(1);
		return err;
	}
	while ((*pfn = page_insert(slot_key(*slot))) == PFN_NONE) {
		pfn_t leaving = page_find_lock(slot_key(*slot)); /* of the slot's former life */

		if (leaving != PFN_NONE)
			page_unlock(leaving);
	}
	as_count_page(slots_object(), 1);
	return 0;
}

/* The page is filled: it appears, and is the program's; or another was faster. Its lock goes. */
static int finish_private(struct soft_access *a, pfn_t pfn, uint64_t slot)
{
	struct ram_batch b = {0};
	bool done;

	page_read_done(pfn, true);
	as_count_dirty(slots_object(), 1);
	page_set_flags(pfn, PG_REFERENCED);
	done = replace(a, show(a, page_address(pfn), FL_PTE_ANON | (may_write(a->v) ? FL_PTE_WRITE | FL_PTE_DIRTY : 0)));
	page_unlock(pfn);
	if (done)
		return 0;
	slot_put(slot, &b);
	ram_batch_flush(&b);
	return -EAGAIN;
}

/* The memory of a new page is zeros. */
static int zero_filled(struct soft_access *a)
{
	uint64_t slot;
	uint32_t got;
	pfn_t pfn;
	int err = reserve_frames(1, &got);

	if (!err)
		err = new_private(a, &pfn, &slot);
	if (!err)
		err = finish_private(a, pfn, slot);
	if (!err && pte_present(a->entry)) /* the zero page was there */
		soft_flush(&a->v->mm->soft->mmu, a->addr, a->addr + FL_PAGE_SIZE);
	return err;
}

static int zero_page(struct soft_access *a)
{
	return replace(a, show(a, ram_zero_page(), FL_PTE_SPECIAL)) ? 0 : -EAGAIN;
}

/*
 * Copies the locked page `from`, which is unlocked then, in place of what the entry shows. Its lock is kept until that is done: by it
 * others may rely on the entry (ram_take).
 */
static int copy_page(struct soft_access *a, pfn_t from, pfn_t to, uint64_t slot)
{
	int err;

	memcpy(page_address(to), page_address(from), FL_PAGE_SIZE);
	page_set_flags(from, PG_REFERENCED);
	err = finish_private(a, to, slot);
	page_unlock(from);
	if (!err)
		soft_flush(&a->v->mm->soft->mmu, a->addr, a->addr + FL_PAGE_SIZE);
	return err;
}

static void drop_new(pfn_t pfn, uint64_t slot)
{
	struct ram_batch b = {0};

	page_read_done(pfn, false);
	page_unlock(pfn);
	slot_put(slot, &b);
	ram_batch_flush(&b);
}

static void describe(const struct soft_access *a, bool write, struct fault *f)
{
	const struct vma *v = a->v;

	*f = (struct fault){
		.as = v->as,
		.index = vma_index_of(v, a->addr),
		.room = (v->end - a->addr) >> FL_PAGE_SHIFT,
		.tail = (uint32_t)(v->mm->page_mask >> FL_PAGE_SHIFT),
		.advice = v->advice,
		.write = write,
	};
}

/* The file's page is brought in first, without its lock kept: reserving a frame may have to wait. */
static int cow_file(struct soft_access *a)
{
	struct fault f;
	uint64_t slot;
	uint32_t got;
	pfn_t from, to;
	int err;

	describe(a, false, &f);
	err = filemap_get_page(&f, &from);
	if (err)
		return err;
	page_unlock(from);
	err = reserve_frames(1, &got);
	if (!err)
		err = new_private(a, &to, &slot);
	if (err)
		return err;
	from = page_find_lock((struct page_key){.as = f.as->id, .index = f.index});
	if (from != PFN_NONE)
		return copy_page(a, from, to, slot);
	drop_new(to, slot);
	return -EAGAIN;
}

/* Whether the locked page is still what the entry shows. */
static bool still_shows(struct soft_access *a, pfn_t pfn)
{
	a->entry = atomic_load(a->slot);
	return pte_present(a->entry) && ram_page(pte_page(a->entry)) == pfn && page_state_of(page_word(pfn)) != PAGE_ABSENT;
}

static void mark_dirty(struct address_space *as, pfn_t pfn)
{
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN)
		as_count_dirty(as, 1);
	page_make_dirty(pfn);
}

static int reuse(struct soft_access *a, pfn_t pfn)
{
	mark_dirty(slots_object(), pfn);
	page_set_flags(pfn, PG_REFERENCED);
	return replace(a, a->entry | FL_PTE_WRITE | FL_PTE_DIRTY | FL_PTE_ACCESSED) ? 0 : -EAGAIN;
}

static void wait_for(pfn_t pfn)
{
	page_lock(pfn);
	page_unlock(pfn);
}

/*
 * Others show the page too: a copy. Their references can only become fewer meanwhile. The page may have been reclaimed to make room, and
 * be the very one that came new here, or to another thread which now waits for ours: so its lock is only tried while ours is held.
 */
static int unshare(struct soft_access *a, pfn_t from)
{
	struct ram_batch b = {0};
	uint64_t slot, old;
	uint32_t got;
	pfn_t to;
	int err = reserve_frames(1, &got);

	if (!err)
		err = new_private(a, &to, &slot);
	if (err)
		return err;
	if (!page_trylock(from)) {
		drop_new(to, slot);
		if (to != from)
			wait_for(from);
		return -EAGAIN;
	}
	if (!still_shows(a, from)) {
		page_unlock(from);
		drop_new(to, slot);
		return -EAGAIN;
	}
	old = page_key(from).index;
	err = copy_page(a, from, to, slot);
	if (!err)
		slot_put(old, &b);
	ram_batch_flush(&b);
	return err;
}

static int write_private(struct soft_access *a)
{
	pfn_t pfn = ram_page(pte_page(a->entry));
	int err = -EAGAIN;
	bool shared;

	page_lock(pfn);
	if (!still_shows(a, pfn)) {
		page_unlock(pfn);
		return -EAGAIN;
	}
	shared = slot_refs(page_key(pfn).index) > 1;
	if (!shared)
		err = reuse(a, pfn);
	page_unlock(pfn);
	return shared ? unshare(a, pfn) : err;
}

static int read_swap(pfn_t pfn, uint64_t slot)
{
	struct store *swap = slots_object()->store;
	ssize_t n = swap ? swap->ops->read(swap, page_address(pfn), FL_PAGE_SIZE, slot << FL_PAGE_SHIFT) : -EIO;

	return n < 0 ? (int)n : 0;
}

/* The page of the slot, locked, is in the table; it shows, not writable: a write comes again. */
static int show_slot(struct soft_access *a, pfn_t pfn)
{
	bool done;

	page_set_flags(pfn, PG_REFERENCED);
	done = replace(a, show(a, page_address(pfn), FL_PTE_ANON));
	page_unlock(pfn);
	return done && !a->write ? 0 : -EAGAIN;
}

/* While the entry stands for the slot, the slot is what it was. */
static int swap_in(struct soft_access *a)
{
	uint64_t slot = pte_slot_of(a->entry);
	pfn_t pfn = page_find_lock(slot_key(slot));
	uint32_t got;
	int err;

	if (pfn != PFN_NONE)
		return show_slot(a, pfn);
	err = reserve_frames(1, &got);
	if (err)
		return err;
	pfn = page_insert(slot_key(slot));
	if (pfn == PFN_NONE) {
		budget_release(1);
		return -EAGAIN;
	}
	err = atomic_load(a->slot) == a->entry ? read_swap(pfn, slot) : -EAGAIN;
	if (err) {
		sys_madvise(page_address(pfn), FL_PAGE_SIZE, MADV_DONTNEED);
		page_remove(pfn);
		budget_release(1);
		return err;
	}
	as_count_page(slots_object(), 1);
	report_add(&slots_object()->report->swapped_in, 1);
	page_read_done(pfn, false);
	return show_slot(a, pfn);
}

/* ---- Pages of files and devices ---- */

static bool is_dirty(pfn_t pfn)
{
	enum page_state s = page_state_of(page_word(pfn));

	return s == PAGE_DIRTY || s == PAGE_REDIRTY;
}

/* In a shared mapping, or read through a private one. Also where the entry shows the page already, but not for writing. */
static int file_page(struct soft_access *a)
{
	bool shared = a->v->flags & VM_SHARED, writable;
	struct fault f;
	pfn_t pfn;
	bool done;
	int err;

	describe(a, a->write && shared, &f);
	err = filemap_get_page(&f, &pfn);
	if (err)
		return err;
	writable = shared && may_write(a->v) && is_dirty(pfn);
	done = replace(a, show(a, page_address(pfn), writable ? FL_PTE_WRITE | (a->write ? FL_PTE_DIRTY : 0) : 0));
	page_unlock(pfn);
	return done ? 0 : -EAGAIN;
}

static int device_page(struct soft_access *a)
{
	struct store *s = a->v->as->store;
	uint64_t off = vma_index_of(a->v, a->addr) << FL_PAGE_SHIFT;
	void *page;
	int err = s->ops->fault(s, off, a->write ? FL_ACCESS_WRITE : FL_ACCESS_READ, &page);

	if (err)
		return err;
	return replace(a, show(a, page, FL_PTE_SPECIAL | (may_write(a->v) ? (pte_t)FL_PTE_WRITE : 0))) ? 0 : -EAGAIN;
}

/* ---- Which of them ---- */

static int from_nothing(struct soft_access *a)
{
	const struct vma *v = a->v;

	if (v->as->device)
		return device_page(a);
	if (vma_is_anonymous(v))
		return a->write ? zero_filled(a) : zero_page(a);
	return a->write && !(v->flags & VM_SHARED) ? cow_file(a) : file_page(a);
}

static int serve_entry(struct soft_access *a)
{
	if (pte_is_swap(a->entry))
		return swap_in(a);
	if (pte_is_guard(a->entry))
		return -EFAULT;
	if (!pte_present(a->entry))
		return from_nothing(a);
	if (!a->write || (a->entry & FL_PTE_WRITE)) /* another was faster; or its bits were behind (mprotect by another) */
		return replace(a, a->entry | FL_PTE_ACCESSED) ? 0 : -EAGAIN;
	return a->entry & FL_PTE_ANON ? write_private(a) : from_nothing(a);
}

/* A table, or a slot, may want memory that is to be set aside first, with no lock but the VMA's. */
static int with_memory(int err, unsigned *tries)
{
	if (err != -ENOMEM || (*tries)++ > 2)
		return err;
	metadata_refill();
	return -EAGAIN;
}

static int serve_page(struct vma *v, uint64_t addr, bool write)
{
	struct soft_access a = {.v = v, .addr = addr, .write = write};
	bool takes_private = !(v->flags & VM_SHARED) && write;
	unsigned tries = 0;
	int err;

	do {
		err = takes_private ? vma_prepare_anon(v) : 0;
		if (!err)
			err = pt_alloc(&v->mm->soft->mmu, addr, &a.slot);
		if (!err) {
			a.entry = atomic_load(a.slot);
			err = serve_entry(&a);
		}
		err = with_memory(err, &tries);
	} while (err == -EAGAIN);
	return err;
}

/*
 * All of a larger page comes, and is written to, together. What was asked for comes first, since it decides whether the access fails; and
 * again at the end, since where memory is short the rest may have taken its place. The rest may come later as well.
 */
static int serve_large(struct vma *v, uint64_t at, bool write)
{
	uint64_t head = mm_align_down(v->mm, at);
	int err = serve_page(v, at, write), rest = 0;

	for (uint64_t p = head; !err && !rest && p < head + v->mm->page_mask; p += FL_PAGE_SIZE)
		rest = p == at ? 0 : serve_page(v, p, write);
	return err ? err : serve_page(v, at, write);
}

/* Where few large pages have room, each comes 4 KiB by 4 KiB: nobody sees that, and less is read for nothing. */
static bool comes_whole(const struct mm *mm)
{
	uint64_t parts = (mm->page_mask + 1) >> FL_PAGE_SHIFT;

	return parts > 1 && page_table_frames() / parts >= 64;
}

int soft_populate(struct vma *v, uint64_t addr, bool write)
{
	uint64_t at = page_align_down(addr);

	report_add(&v->as->report->faults, v->as->zero);
	return comes_whole(v->mm) ? serve_large(v, at, write) : serve_page(v, at, write);
}

/* ---- What the access may do ---- */

static bool allows(const struct vma *v, enum fl_access access)
{
	switch (access) {
	case FL_ACCESS_WRITE:
		return v->prot & PROT_WRITE;
	case FL_ACCESS_EXEC:
		return v->prot & PROT_EXEC;
	default:
		return v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC); /* as x86: what may be written or executed may be read */
	}
}

static int fail(struct fl_fault *f, int signal, int code)
{
	f->signal = signal;
	f->code = code;
	return -EFAULT;
}

int soft_fail_with(struct fl_fault *f, int err)
{
	return err == -ENOMEM ? fail(f, 0, err) : fail(f, SIGBUS, BUS_ADRERR);
}

/* Locks the VMA for reading, grown down to addr first where it may. NULL: there is none. */
static struct vma *find_vma(struct mm *mm, uint64_t addr)
{
	struct vma *v = mm_lock_vma(mm, addr);

	if (!v && atomic_load_explicit(&mm->grows_down, memory_order_relaxed) && soft_expand_stack(mm, mm_align_down(mm, addr)))
		v = mm_lock_vma(mm, addr);
	return v;
}

static bool is_guarded(const struct vma *v, uint64_t addr)
{
	pte_slot *p = v->flags & VM_MAYBE_GUARD ? pt_find(&v->mm->soft->mmu, addr) : NULL;

	return p && pte_is_guard(atomic_load(p));
}

int soft_look_up(struct mm *mm, uint64_t addr, enum fl_access access, struct vma **out, struct fl_fault *f)
{
	struct vma *v = addr < mm->task_size ? find_vma(mm, addr) : NULL;

	*f = (struct fl_fault){.address = addr, .access = access};
	if (!v)
		return fail(f, SIGSEGV, SEGV_MAPERR);
	*out = v;
	if (!allows(v, access) || is_guarded(v, addr)) {
		int code = allows(v, access) ? SEGV_MAPERR : SEGV_ACCERR;

		vma_unlock_read(v);
		return fail(f, SIGSEGV, code);
	}
	return 0;
}

int soft_fault(struct mm *mm, uint64_t addr, enum fl_access access, struct fl_fault *fault)
{
	struct vma *v;
	int err = soft_look_up(mm, addr, access, &v, fault);

	if (err)
		return err;
	err = soft_populate(v, addr, access == FL_ACCESS_WRITE);
	vma_unlock_read(v);
	return err ? soft_fail_with(fault, err) : 0;
}
