/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on the pages of a range, VMA by VMA, with no lock held meanwhile: the object is held by a reference, so what is
 * mapped may change between two VMAs, as it may in the kernel.
 */
#ifndef FL_MM_VMA_PART_H
#define FL_MM_VMA_PART_H

#include "mm.h"

/* One VMA's part of a range, with a reference to its object. */
struct vma_part {
	struct address_space *as;
	uint64_t start, end;  /* addresses */
	uint64_t first, last; /* pages of the object */
	unsigned flags;
	int prot;
	uint32_t wb_seen;
};

/* The next part at or after `at`; false past the end. *hole: something before it is not ours. */
bool vma_next_part(struct mm *mm, uint64_t at, uint64_t end, struct vma_part *p, bool *hole);

#endif
