/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_MEMORY_H
#define FL_SHIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "util/lock.h"

struct mm;

/* Whether the calls on mappings concern us: part of the range is in the default space. Cheap while nothing is mapped. */
bool is_mapped_by_us(const void *addr, size_t len);
/*
 * The same, also while other threads unmap: the kernel may have given a place away that is still seen as one of ours. For calls that
 * refuse what is no mapping of ours; others look again, under the lock.
 */
bool is_ours_now(const void *addr, size_t len);

/*
 * Around a call to the kernel that takes away or changes what is mapped, which the range must not become ours in the middle of. False where part
 * of it is ours: then there is nothing to end.
 */
struct kernels {
	struct mm *mm; /* NULL: nobody could map anything there meanwhile */
	struct sigguard guard;
};
bool kernels_begin(struct kernels *k, const void *addr, size_t len);
void kernels_end(struct kernels *k);

#endif
