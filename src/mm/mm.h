/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct mm, an address space: what mmap(2) and its kin do, on the VMAs of one space.
 *
 * The functions take checked or unchecked arguments as the system calls get them and answer -errno in the kernel's
 * order of checks. All run with signals blocked (struct sigguard), which the api layer does.
 */
#ifndef FL_MM_MM_H
#define FL_MM_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "vma.h"

#define SPACES_MAX 16
#define POISONED_MAX 32

struct mm_arch;
struct soft_space;

struct mm {
	struct mutex mmap_lock;
	struct rwlock foreign_lock; /* see mm_begin_foreign(); for writing by who adds VMAs, after mmap_lock */
	struct vma_index index;     /* changes under mmap_lock */
	struct mmu *mmu;            /* constant */
	const struct mm_arch *arch; /* constant */
	struct soft_space *soft;    /* constant: of a soft space; NULL in a native one */
	uint64_t task_size;         /* constant: where addresses end */
	uint64_t page_mask;         /* constant: size of a page, less one */
	struct mm_limits limits;    /* constant */
	_Atomic unsigned def_flags; /* mmap_lock; of new mappings: VM_LOCKED and VM_LOCKONFAULT after mlockall(MCL_FUTURE) */
	/* Bytes, changed under mmap_lock: all; private and writable; with VM_ACCOUNT; with VM_LOCKED. */
	_Atomic uint64_t mapped, data, committed, locked;
	_Atomic uint64_t low, high; /* all VMAs lie in [low, high); only ever grows */
	/*
	 * Pages that were poisoned lately: a failed access has met the poison by POISON_NS later, and then it must go, since a
	 * system call would fail by it for ever. mmap_lock; the number is read without.
	 */
	struct {
		uint64_t addr, since;
	} poisoned[POISONED_MAX];
	_Atomic uint32_t npoisoned;
	_Atomic bool grows_down; /* a mapping may, or might have; set under mmap_lock */
	bool inline_faults;      /* constant, but for a forked child */
};

/* Where every address lies that a program can use. */
#define TASK_SIZE ((1ULL << 47) - FL_PAGE_SIZE)

/* ---- Spaces ---- */

int mm_create(struct mmu *mmu, const struct mm_limits *limits, struct mm **out);
/* The host is to map pages there, when there is one. */
int mm_join_host(struct mm *mm);
/* Of either family: unmaps everything. No thread may access what is mapped there any more. */
void mm_destroy(struct mm *mm);
/* The n-th native space in use, for walking them: NULL past the last. */
struct mm *mm_space(int n);
/* There are none any more; see mm_fork_give_up(). */
void mm_forget_spaces(void);
/* Serves a fault in whichever space has the address; see mmu_fault_fn. */
int mm_handle_fault(uint64_t addr, unsigned flags);
/* PROT_* of what is mapped there; -1 where nothing of ours is. The caller sees to it that it stays, and holds any lock. */
int mm_protection_at(uint64_t addr);
/* Takes poison away wherever it is: pages may be there now that were not (a file has grown). */
void mm_clear_poison(void);
/* Whether any part of the range may be one of our mappings; never false when it is. Cheap. */
bool mm_overlaps(struct mm *mm, uint64_t addr, uint64_t len);
bool mm_some_overlaps(uint64_t addr, uint64_t len);
/* Where mappings of any space are, or have been. */
extern FL_HIDDEN struct mm_reach {
	_Atomic uint64_t low, high;
} mm_reach;
static inline uint64_t mm_end_of(uint64_t addr, uint64_t len)
{
	uint64_t end;

	return __builtin_add_overflow(addr, len, &end) ? UINT64_MAX : end;
}
/* mm_overlaps() in any space. */
static inline bool mm_overlaps_any(uint64_t addr, uint64_t len)
{
	return unlikely(mm_end_of(addr, len) > atomic_load_explicit(&mm_reach.low, memory_order_relaxed) &&
			addr < atomic_load_explicit(&mm_reach.high, memory_order_relaxed)) &&
	       mm_some_overlaps(addr, len);
}

/*
 * A call on memory that is none of ours, made by the program: false where part of the range is ours. Else nothing in it becomes ours until
 * mm_end_foreign(). Signals are blocked; the lock is held across the one call to the kernel.
 */
bool mm_begin_foreign(struct mm *mm, uint64_t addr, uint64_t len);
void mm_end_foreign(struct mm *mm);

/* Before a call on mappings: what the kernel has grown by itself (MAP_GROWSDOWN) is ours too. No lock may be held. */
void mm_catch_up(struct mm *mm);

/* ---- mmap, munmap, mprotect, mremap ---- */

struct mmap_request {
	uint64_t addr, len, offset;
	int prot, flags, fd;
	struct address_space *as; /* the object in place of a descriptor: of a store; else NULL */
	int max_prot;             /* with `as`: what mprotect may ever give */
	bool foreign;             /* MAP_FIXED takes the range over from us for a mapping that is not ours: offset, fd for the kernel */
	uint64_t from;            /* with `foreign`: it is moved from there, or 0 */
	bool keeps; /* with `from`, zeros: private anonymous memory, to be read and written, becomes that, with what it holds */
};

int mm_mmap(struct mm *mm, const struct mmap_request *rq, uint64_t *out);
/* The same for a request that is `foreign`. */
int mm_mmap_foreign(struct mm *mm, const struct mmap_request *rq, uint64_t *out);
/* `whole`: also what lies in the range and is not ours (the shim); else that is left alone. */
int mm_munmap(struct mm *mm, uint64_t addr, uint64_t len, bool whole);
int mm_mprotect(struct mm *mm, uint64_t addr, uint64_t len, int prot, bool whole);
int mm_mremap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, int flags, uint64_t new_addr, uint64_t *out);

/* ---- The rest ---- */

int mm_msync(struct mm *mm, uint64_t addr, uint64_t len, int flags, bool whole);
int mm_madvise(struct mm *mm, uint64_t addr, uint64_t len, int advice, bool whole);
/* MADV_WILLNEED for each range, of any alignment. -EINVAL, and nothing is done, when one is no range of addresses. */
struct mm_range {
	uint64_t addr, len;
};
/* False when it goes beyond the end of addresses. */
bool mm_is_range(const struct mm_range *r);
/* Ranges that are; one VMA may be held for as long as it takes to start all reads in it. */
int mm_prefetch(struct mm *mm, const struct mm_range *ranges, uint64_t n);
int mm_mincore(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec, bool whole);
/* Pins what is ours of the range; see fl_pin(). Answers with nothing pinned on failure. */
int mm_pin(struct mm *mm, uint64_t addr, uint64_t len, bool write);
void mm_unpin(struct mm *mm, uint64_t addr, uint64_t len);
/* Whether the page was pinned for reading, and the program has stored to it for the first time since: see file_io_was_cut(). */
bool mm_was_copied(struct mm *mm, uint64_t addr);
/* Brings pages in as MADV_POPULATE_READ and _WRITE do. Stops at the first that cannot be had. */
int mm_populate(struct mm *mm, uint64_t addr, uint64_t len, bool write);
/* Reads in, and maps, the pages of a file: MADV_WILLNEED where they live in the mapping. */
int mm_read_ahead(struct mm *mm, uint64_t start, uint64_t len);
/* The same of scattered pages: of ranges, those from the first on that lie in one VMA and are of few pages. How many; 0: see mm_madvise(). */
uint64_t mm_read_ahead_together(struct mm *mm, const struct mm_range *ranges, uint64_t n);
/* Brings back private pages that are in swap: MADV_WILLNEED. */
int mm_swap_in(struct mm *mm, uint64_t start, uint64_t end);
/* mlock2(2), munlock(2), mlockall(2), munlockall(2); for what is ours. */
int mm_mlock(struct mm *mm, uint64_t addr, uint64_t len, int flags, bool whole);
/* The same of what precedes a page that is not mapped: then nothing is brought in. */
int mm_mlock_to_hole(struct mm *mm, uint64_t addr, uint64_t len, int flags);
/* Brings in the pages of locked mappings in the range. */
int mm_populate_locked(struct mm *mm, uint64_t start, uint64_t end);
int mm_munlock(struct mm *mm, uint64_t addr, uint64_t len, bool whole);
int mm_mlockall(struct mm *mm, int flags);
/*
 * After mlockall(2) with MCL_FUTURE, of which the kernel knows, it locks what we map, and counts it against the limit, for a mapping that was there
 * before as well. What it has locked so, unlocked; and a descriptor mapped in the place of v, in parts where the limit is less than v. First error.
 */
void mm_unlock_new(const struct vma *v, uint64_t addr, uint64_t len);
int mm_map_over(const struct vma *v, int flags, int fd);
/* A mapping of the kernel's, made for v, is locked as v is. What cannot be brought in is no reason. */
void mm_lock_as(const struct vma *v, uint64_t addr, uint64_t len);
/* What is locked of what the kernel maps for us, after a munlockall(2), which asks for nothing but the process. */
void mm_lock_handed_again(struct mm *mm);
/* Bytes that are locked, but for what the kernel maps for us, which it counts itself. */
uint64_t mm_locked_here(struct mm *mm);
/* Takes the lock from the mappings in the range, which begins and ends with mappings. None is merged. Caller holds mmap_lock. */
void mm_unlock_range(struct mm *mm, uint64_t start, uint64_t end);
void mm_munlockall(struct mm *mm);
int mm_mseal(struct mm *mm, uint64_t addr, uint64_t len, unsigned long flags, bool whole);
int mm_remap_file_pages(struct mm *mm, uint64_t addr, uint64_t len, int prot, uint64_t pgoff, int flags);

/*
 * Gives the mappings of a file to the kernel: plain mappings of the file take their place, with what was stored written
 * back first. Where coherence is needed that an embedded cache cannot give: fork of a shared writable mapping. `ends`: the
 * process does; private mappings are left alone.
 */
int mm_hand_over(struct address_space *as, const char *why, bool ends);
/* What a private mapping, whose VMA is locked for writing, holds of its own: to the memory at `to`. Who stores there waits for the VMA from here on. */
int mm_copy_private(struct vma *v, uint64_t to);
/* Whether the program can store to the file by a mapping that is not the kernel's; those that have one of these flags do not count. */
bool mm_has_writable(const struct address_space *as, unsigned without);

/*
 * fork. Before: shared writable mappings are handed to the kernel, all spaces hold still. In the child, every mapping
 * gets a userfaultfd and frames of the child's own, and private pages are carried over. *pages: as above.
 */
void mm_fork_prepare(void);
void mm_fork_parent(void);
void mm_fork_child_begin(void); /* lets go of what the parent had locked */
int mm_fork_child(void);
/* In a child that cannot be made whole: what it has of ours cannot be accessed, and there are no spaces. */
void mm_fork_give_up(void);
/* The same of a child that has the descriptors of its parent: before, in the parent after, and in the child. */
void mm_clone_prepare(void);
void mm_clone_parent(void);
void mm_clone_child(void);
uint64_t mm_fork_pages(void);

/* ---- Inside mm ---- */

/* Splits VMAs so that none crosses start or end. Caller holds mmap_lock, and no VMA. 0, or -ENOMEM and nothing is split. */
int vma_split_range(struct mm *mm, uint64_t start, uint64_t end);
/* The same for a range that is to be unmapped, which rarely makes more VMAs. */
int vma_split_to_unmap(struct mm *mm, uint64_t start, uint64_t end);
/*
 * What a call would have of VMAs: these flags and not those, this protection, this advice (-1: as it is). Of a range, what lies between the
 * first VMA that is otherwise and the last; false: there is none.
 */
struct vma_change {
	unsigned set, clear;
	int prot, advice;
};
bool vma_changes(const struct vma *v, const struct vma_change *c);
bool vma_narrow_to_changes(struct mm *mm, const struct vma_change *c, uint64_t *start, uint64_t *end);
/* Write-locks the VMAs in the range, in order; vma_split_range() came before. */
void vma_lock_range(struct mm *mm, uint64_t start, uint64_t end);
void vma_unlock_range(struct mm *mm, uint64_t start, uint64_t end);
/* The same for VMAs that are to be unmapped: what lives only there is written to other frames, or given up when it is clean. */
int vma_lock_range_to_unmap(struct mm *mm, uint64_t start, uint64_t end);
/*
 * Puts a file on shmem frames, see convert.c. Of the space's own file, with its mmap_lock held and no VMA; of any, with no
 * lock; and of all files mapped in a range, with mmap_lock held.
 */
int mm_convert_locked(struct mm *mm, struct address_space *as);
/* The same; so long is waited for what the kernel has hold of. */
int mm_convert_within(struct mm *mm, struct address_space *as, uint64_t held_ns);
#define MM_HELD_NS 30000000000ull /* no device takes longer: it is held for good */
/* The space that maps a file on pool frames; any, when none does. */
struct mm *mm_pool_space(const struct address_space *as);
/* A twentieth of a second, if need be, for pages of the file to be unpinned. No VMA may be locked: who unpins locks it. */
void mm_wait_for_pins(struct address_space *as);
/* Whether it is a page that the kernel may be storing to by itself. */
bool mm_may_be_stored_to(pfn_t pfn);
/*
 * Pinned pages are not where they were for a moment, or are the kernel's from now on: a system call can say EFAULT. Caller has the VMAs locked. Who has
 * counted before he pinned knows by the number that a call may be made again.
 */
void mm_begin_move(void);
uint32_t mm_moves(void);
int mm_make_shared(struct address_space *as);
int mm_convert_range(struct mm *mm, uint64_t start, uint64_t end);
/* Takes write-locked VMAs of the range out of the index and the reverse maps (rmap_lock held); a list to dispose of. */
struct vma *vma_detach_range(struct mm *mm, uint64_t start, uint64_t end);
/* Gives up what detached VMAs hold; writes back the last mapping of a file. No locks held. First error of that. */
int vma_dispose(struct vma *list);
/* Whether there may be private pages of mappings that were detached, and not disposed of yet. A child of fork forgets such mappings. */
bool vma_any_detached(void);
void vma_forget_detached(void);
/* The VMAs that meet at addr become one when they can be. Caller holds mmap_lock, and no VMA. */
void vma_merge_at(struct mm *mm, uint64_t addr);
/* Neighbours in [start, end], and at its ends, that can be one VMA become one. The same. */
void vma_merge_range(struct mm *mm, uint64_t start, uint64_t end);
/* Whether `v` goes on where `u` ends, and the two are one mapping to Linux. In native spaces. */
bool vma_continues(const struct vma *u, const struct vma *v);
/* Whether there was ever a guard in it, or in what is one mapping with it to Linux. Caller holds mmap_lock. */
bool vma_was_guarded(struct mm *mm, struct vma *v);
/* The first VMA of that mapping, and the one after v; NULL: v is the last. Caller holds mmap_lock. */
struct vma *vma_first_joined(struct mm *mm, struct vma *v);
struct vma *vma_next_joined(struct mm *mm, const struct vma *v);
/* Whether one mapping of Linux's, be it several VMAs of ours, lies on both sides of addr. Caller holds mmap_lock. */
bool vma_is_cut_at(struct mm *mm, uint64_t addr);
/* Where private pages are, as Linux would have it; see vma_merge.c. Before the first page that is written; VMA locked for reading. */
void vma_join_family(struct vma *v);
uint32_t vma_new_family(void);
/* Before mappings are divided or change: each VMA in the range has the family that others have which are one mapping with it. */
void vma_spread_families(struct mm *mm, uint64_t start, uint64_t end);
bool vma_may_share_family(const struct vma *u, const struct vma *v);
/* Somewhere for private pages, when there is none yet: before a fault that makes one. VMA locked. -ENOMEM. */
int vma_prepare_anon(struct vma *v);
/* Gives up a VMA that is in no index, its references included. */
void vma_free_unlinked(struct vma *v);
/* Puts a VMA whose fields are set into the reverse map, or takes it out. rmap_lock held. */
void vma_link_rmap(struct vma *v);
void vma_unlink_rmap(struct vma *v);
/* Puts a new VMA in place, after vma_index_prepare(). Caller holds mmap_lock and rmap_lock. */
void vma_insert(struct mm *mm, struct vma *v, uint64_t start, uint64_t end);
/* Whether addr is ours now: the kernel has grown a mapping with MAP_GROWSDOWN down to it. */
bool mm_grow_down(struct mm *mm, uint64_t addr);
/* Private copies of what has been cut off a file at a host, by whoever did that, went with it. */
void mm_follow_shrinking(struct address_space *as);
/* What a new kernel mapping begins with that is to show `prot`: nothing, where accesses would not come to us before it is attached. */
int mm_first_prot(const struct mm *mm, int prot);
/* Has the faults in the range come to us, for a mapping as v is. */
int mm_attach(struct mm *mm, const struct vma *v, uint64_t addr, uint64_t len);
/*
 * Whether it is a shared mapping of a file, of which the kernel dumps nothing unless it is asked to: it takes the memory behind ours for the
 * process's own.
 */
bool mm_is_never_dumped(const struct address_space *as, unsigned flags);
/* Tells the kernel so of a new mapping as v is: mm_attach() does. */
void mm_keep_from_dumps(const struct vma *v, uint64_t addr, uint64_t len);
/* Around the kernel's call by which mappings go, or are replaced; `gone`: they have. No lock is taken, and no fault served, in between. */
void mm_begin_detach(struct mm *mm);
void mm_end_detach(struct mm *mm, uint64_t addr, uint64_t len, bool gone);
enum unmap_what {
	UNMAP_OURS,
	UNMAP_ALL,      /* also what is not ours */
	UNMAP_FOR_MOVE, /* the same; the kernel gives the place to nobody, until something is moved there or all is unmapped */
};
/* munmap of a range whose ends are split, with mmap_lock held; *gone is for vma_dispose(). */
int mm_unmap_split(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, struct vma **gone);
bool mm_any_sealed(struct mm *mm, uint64_t start, uint64_t end);
/* -EPERM when something in a range that is to be unmapped is sealed; what is not, and was to be cut first, is cut then, as on Linux. */
int mm_refuse_sealed(struct mm *mm, uint64_t start, uint64_t end);
/* Around the kernel's mremap() of a registered mapping, at its old and its new place, which must be registered in between. */
void mm_move_begin(uint64_t addr, uint64_t len);
void mm_move_end(uint64_t addr, uint64_t len);
/* What madvise() said of a mapping, said again of a new kernel mapping in its place. */
void mm_advise_again(const struct vma *v, uint64_t addr, uint64_t len);
/* Of the budget's share for locked pages, what a mapping that is to be locked, or to grow, takes with len bytes; and gives back. */
bool mm_charge_locked(const struct vma *v, uint64_t len);
void mm_uncharge_locked(const struct vma *v, uint64_t len);
/* The VMA that has addr, locked for reading; NULL when none does. No lock may be held. */
struct vma *mm_lock_vma(struct mm *mm, uint64_t addr);
/* What a fault or a wish for a page at addr needs to know, and to have. Caller has the VMA locked. 0 or -ENOMEM. */
struct fault;
void vma_describe(struct vma *v, uint64_t addr, struct fault *f);
int vma_fault(struct vma *v, uint64_t addr, bool write, bool present, struct fault *f);
/* True, and len rounded up to pages, when [addr, addr + len) is an address range; addr must be page aligned. */
bool range_ok(const struct mm *mm, uint64_t addr, uint64_t *len);
void mm_account(struct mm *mm, struct vma *v, int sign);
/* In builds with checks: the page tables of a soft space are as they must be. No lock is held. */
void soft_check(struct mm *mm);
static inline void mm_check(struct mm *mm)
{
#ifdef FL_DEBUG
	if (mm->soft)
		soft_check(mm);
#else
	(void)mm;
#endif
}
/* MAP_GROWSDOWN: v begins at addr from now on. Caller holds mmap_lock and has v locked for writing. */
bool vma_may_grow(const struct vma *v, uint64_t addr);
void vma_grow_down(struct mm *mm, struct vma *v, uint64_t addr);

static inline unsigned mm_page_shift(const struct mm *mm)
{
	return (unsigned)__builtin_ctzll(mm->page_mask + 1);
}

/* In units of the space's pages. */
static inline uint64_t mm_align_down(const struct mm *mm, uint64_t x)
{
	return x & ~mm->page_mask;
}

/* Wraps to 0 near the top, see page_align_up(). */
static inline uint64_t mm_align_up(const struct mm *mm, uint64_t x)
{
	return (x + mm->page_mask) & ~mm->page_mask;
}

#endif
