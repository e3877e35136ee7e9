/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store changed behind the cache: by write(2), ftruncate(2), fallocate(2) through us. Who does that holds
 * as->invalidate_lock for writing around the change and the calls below.
 */
#ifndef FL_CACHE_TRUNCATE_H
#define FL_CACHE_TRUNCATE_H

#include "address_space.h"

/* Takes the pages [first, last] out of memory whatever they hold, and forgets what swap has of them. */
void truncate_pages(struct address_space *as, uint64_t first, uint64_t last);
/* The same for clean pages that are out of their mapping, where they lived, already. */
void forget_zapped_pages(struct address_space *as, uint64_t first, uint64_t last);
/* A hole in the file, as fallocate(2) makes it; of a host's file, there. The caller holds no lock of the cache. 0 or -errno. */
int truncate_hole(struct address_space *as, uint64_t first, uint64_t last);
/*
 * The file has a new size: pages beyond it go, private copies too; the rest of the last page reads as zeros.
 */
int truncate_setsize(struct address_space *as, uint64_t old_size, uint64_t new_size);
/* Private copies of pages from `end` on go, in every private mapping of the file. */
void truncate_private(struct address_space *as, uint64_t end);
/* The same in mappings of either family. */
void truncate_copies(struct address_space *as, uint64_t end);
/*
 * Somebody else may have changed the file: pages that hold no stores of ours go, and come back from the file. Pinned
 * ones stay as they are.
 */
void invalidate_clean_pages(struct address_space *as);
/* The same, with pinned ones brought up to date. What cannot be read stays as it is. `page` is scratch memory of one page. */
void refresh_clean_pages(struct address_space *as, void *page);
/* Bytes [off, off + len) of the store are new: brings pages in memory up to date. `page` is scratch memory of one page. */
int refresh_range(struct address_space *as, uint64_t off, uint64_t len, void *page);
/* The same, but whole pages go: where a hole or a clone is in the store now, what is dirty would be written into it. */
int replace_range(struct address_space *as, uint64_t off, uint64_t len, void *page);

#endif
