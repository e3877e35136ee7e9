/* SPDX-License-Identifier: Apache-2.0 */
/* The native MMU where userfaultfd is refused: mprotect(2) and SIGSEGV, served in the thread that faults. */
#ifndef FL_MMU_SIGSEGV_H
#define FL_MMU_SIGSEGV_H

#include "mmu.h"

/*
 * For all contexts: zeroed memory of `bytes`, a power of two of at least a page, for what is known of pages that can be accessed; 8 bytes each.
 * When it is full, pages are hidden and fault again. A page more is behind it, for whether this is a child that nobody was told of.
 */
void sigsegv_init(void *memory, uint64_t bytes);
/* Not in a child that came about without fork(3): its faults would be served with what is the parent's. */
bool sigsegv_is_whole(void);
/* What the program may do with memory of ours at an address: PROT_*; -1 where nothing is. Set with the fault handler. */
void sigsegv_set_protection(int (*protection_at)(uint64_t addr));
/* 0; -ENOMEM, -EMFILE, -ENFILE; -ENOSYS where /proc/self/mem cannot be used. */
int sigsegv_create(struct mmu **out);
/* Whether a context could be made here. 0, or why /proc/self/mem cannot be used: -errno. */
int sigsegv_probe(void);
/* Whether the page at addr can be read now. */
bool sigsegv_is_present(uint64_t addr);

#endif
