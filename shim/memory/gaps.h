/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges that are partly ours: the parts, in the order of addresses. */
#ifndef FL_SHIM_GAPS_H
#define FL_SHIM_GAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As sys_*(): 0 or -errno. `how` is the caller's. */
typedef int (*part_fn)(void *addr, size_t len, int how);

/*
 * Calls `ours` or `kernels` on one part after the other, up to the first error, which is the result; `past_holes`: -ENOMEM is
 * kept for the end, as that is how a system call tells of pages that are not mapped. addr is page aligned.
 */
struct parts {
	part_fn ours, kernels;
	int how;
	bool past_holes;
};
int for_parts(const void *addr, size_t len, const struct parts *p);

/* The same for the kernel's parts alone; all of them, and the first error. */
int for_gaps(const void *addr, size_t len, part_fn fn, int how);

/* For `fn`: -ENOMEM when a page of the part is not mapped; -EEXIST when one is. */
int gap_is_mapped(void *addr, size_t len, int how);
int gap_is_empty(void *addr, size_t len, int how);

/* The next part of [at, end) that is not ours; false when there is none. */
bool next_gap(uint64_t at, uint64_t end, uint64_t *start, uint64_t *stop);

#endif
