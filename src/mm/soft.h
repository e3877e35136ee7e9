/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Soft spaces: the second family behind struct mm_arch, with page tables of its own. See soft.c for what calls on mappings do to these,
 * soft_layout.c for the layout of addresses, soft_space.c for how a space comes and goes, soft_fault.c for faults, soft_fork.c for fork.
 */
#ifndef FL_MM_SOFT_H
#define FL_MM_SOFT_H

#include "faultline_soft.h"
#include "gaps.h"
#include "mm.h"
#include "mmu/soft.h"

struct soft_config {
	struct mm_limits limits;
	unsigned address_bits;
	uint64_t page_size, seed, stack_limit, stack_guard_gap, brk;
	bool bottom_up;
};

struct soft_space {
	struct mm mm;
	struct soft_mmu mmu;
	struct soft_config config;       /* constant */
	struct gaps gaps;                /* mmap_lock */
	uint64_t mmap_base, legacy_base; /* constant: from where down, and up, places are looked for */
	uint64_t brk_start, brk;         /* engine_lock; the start is constant */
	struct soft_space *next, **link; /* all of them: soft_lock */
};

static inline struct soft_space *soft_space_of(struct mm *mm)
{
	return mm->soft;
}

/* soft_layout.c. mmap_lock. As get_unmapped_area() of Linux: 0, or -ENOMEM. */
int soft_get_unmapped_area(struct mm *mm, uint64_t hint, uint64_t len, int flags, uint64_t *addr);
/* By the config, of a space that nobody knows yet. */
void soft_set_layout(struct soft_space *s);

/* With all spaces of the family gone. */
void soft_exit(void);
/* -EINVAL for a config that makes no sense; -ENOMEM. */
int soft_create(const struct soft_config *config, struct mm **out);
void soft_destroy(struct mm *mm); /* mm_arch.destroy */
/* Any soft space, while there is one. */
struct mm *soft_any(void);
struct soft_sums {
	uint64_t spaces, mapped, mappings;
};
void soft_add_up(struct soft_sums *sums);
/* In a child of fork(2): there are none, and their memory is not there. */
void soft_fork_child(void);

/* fork(2) of the space. -ENOMEM, -EBUSY. */
int soft_fork(struct mm *mm, struct mm **out);
/* brk(2): the end of the heap after the call. Caller holds engine_lock: neither another brk nor a fork comes between map and end. */
uint64_t soft_brk(struct mm *mm, uint64_t end);

/*
 * Serves a fault: 0 when the access may be made again; -EFAULT and what the process would get in *fault. No lock is held, no cpu
 * in an access.
 */
int soft_fault(struct mm *mm, uint64_t addr, enum fl_access access, struct fl_fault *fault);
/* Has the page there and lets it be accessed so. VMA locked for reading. */
int soft_populate(struct vma *v, uint64_t addr, bool write);
/* What has soft_populate() failed with, for the process: -EFAULT. */
int soft_fail_with(struct fl_fault *fault, int err);
/* The VMA at addr, locked for reading, that allows the access; a stack is grown down to there first. -EFAULT and *fault; no lock is held then. */
int soft_look_up(struct mm *mm, uint64_t addr, enum fl_access access, struct vma **out, struct fl_fault *fault);
/* Whether something that grows down, and may, now reaches down to addr, the start of a page. No lock is held. */
bool soft_expand_stack(struct mm *mm, uint64_t addr);
/*
 * Copies n bytes within a page of 4 KiB, to or from buf, which is no memory that may fault. The page is pinned meanwhile, but not where
 * fork would see it: the VMA is locked.
 */
int soft_copy(struct mm *mm, uint64_t addr, enum fl_access access, char *buf, size_t n, struct fl_fault *fault);
/* The host's address of the byte, the page pinned until ram_unpin(). -EFAULT and *fault; -ENOMEM. */
int soft_translate(struct mm *mm, uint64_t addr, enum fl_access access, void **host, struct fl_fault *fault);

/* The tables as they stand for addr. No lock is held. */
void soft_walk(struct mm *mm, uint64_t addr, struct fl_walk *w);
/* The next address in [*addr, end) whose entry is not empty; and a line about it, of SOFT_LINE bytes at most. */
#define SOFT_LINE 320
bool soft_next_entry(struct mm *mm, uint64_t *addr, uint64_t end);
int soft_entry_line(struct mm *mm, uint64_t addr, char *line, size_t len);

/* The bits of an entry that shows a page of v: what may be done with it, writing apart. */
pte_t soft_perms(const struct vma *v);

#endif
