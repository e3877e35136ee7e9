/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where shmem has huge pages (/sys/kernel/mm/transparent_hugepage/shmem_enabled: always, within_size, force), the first write(2) to a page of a memfd brings
 * the 511 around it, and the budget knows of one. A mapping can do without (MADV_NOHUGEPAGE): by one the page is there before it is written. userfaultfd
 * brings single pages anyway.
 */
#ifndef FL_CACHE_SHMEM_SMALL_H
#define FL_CACHE_SHMEM_SMALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/compiler.h"

extern FL_HIDDEN _Atomic bool shmem_is_huge;

/* Finds out how it is here, by a memfd that is empty, and is again after. */
void shmem_small_look(int memfd);
void shmem_small_bring(int memfd, uint64_t off, uint64_t len);

/* Before something is written to pages that may not be there. Where they cannot be had so, they come as they come. */
static inline void shmem_small_prepare(int memfd, uint64_t off, uint64_t len)
{
	if (unlikely(atomic_load_explicit(&shmem_is_huge, memory_order_relaxed)))
		shmem_small_bring(memfd, off, len);
}

#endif
