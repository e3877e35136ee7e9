/* SPDX-License-Identifier: Apache-2.0 */
/* Read-ahead: how many pages to read at a fault. */
#ifndef FL_CACHE_READAHEAD_H
#define FL_CACHE_READAHEAD_H

#include "address_space.h"

enum ra_advice { RA_NORMAL, RA_RANDOM, RA_SEQUENTIAL };

/* The most that is ever read at once; set from the budget. */
void readahead_init(uint32_t max_pages);
/* Pages to read from `index` on: 1 on random evidence, doubling while a stream goes on. */
uint32_t readahead_window(struct address_space *as, uint64_t index, enum ra_advice advice);
/* So many were read: the stream expects its next miss after them. */
void readahead_done(struct address_space *as, uint64_t index, uint32_t pages);

#endif
