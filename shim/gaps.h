/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's part of a range that is partly ours. */
#ifndef FL_SHIM_GAPS_H
#define FL_SHIM_GAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As sys_*(): 0 or -errno. `how` is the caller's. */
typedef int (*gap_fn)(void *addr, size_t len, int how);

/* Calls fn on each part of the range, in whole pages, that is not ours; all of them, and the first error. addr is page aligned. */
int for_gaps(const void *addr, size_t len, gap_fn fn, int how);

/* For `fn`: -ENOMEM when a page of the part is not mapped; -EEXIST when one is. */
int gap_is_mapped(void *addr, size_t len, int how);
int gap_is_empty(void *addr, size_t len, int how);

/* The next part of [at, end) that is not ours; false when there is none. */
bool next_gap(uint64_t at, uint64_t end, uint64_t *start, uint64_t *stop);

#endif
