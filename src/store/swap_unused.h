/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the swap file nobody needs any more, and has not been given back to the file system yet. Offsets of the file, in whole pages.
 */
#ifndef FL_STORE_SWAP_UNUSED_H
#define FL_STORE_SWAP_UNUSED_H

#include <stdbool.h>
#include <stdint.h>

#include "util/lock.h"

extern struct mutex swap_lock; /* leaf: what is unused, and the regions of swap_store.c; held by a fork */

/* [start, end) is not needed. Gives back as much as its share of time allows; a program may be waiting. */
void unused_add(int fd, uint64_t start, uint64_t end);
/* [start, end) is about to be written: no hole is made there any more when this returns. */
void unused_claim(int fd, uint64_t start, uint64_t end);
/* Goes on giving back, as time allows. */
void unused_trim(int fd);
/* Gives back everything, however long it takes; false when there was nothing. */
bool unused_give_back_all(int fd);

/* In a child of fork, which copies none of it: the first that ends after `at`, false when there is none. */
bool unused_in_child(uint64_t at, uint64_t *start, uint64_t *end);
/* Nothing is unused: the file is another one, or has gone. Only one thread is alive. */
void unused_reset(void);

#endif
