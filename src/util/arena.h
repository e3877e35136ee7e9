/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The internal allocator: small fixed-size objects (VMAs, files, tree nodes) in memory of our own.
 *
 * Type-stable: a freed object is reused for its own size only and its memory stays mapped until arena_exit(), so a
 * reader that holds a stale pointer for a moment reads old bytes and never faults. The lock-free VMA lookup rests on
 * this. Objects come zeroed.
 *
 * Growth is paid for through the charge functions first: page by page while the arena is small, and by whole blocks of 2 MiB on huge
 * pages from 4 MiB on, since a look-up among a million VMAs costs as many misses of the TLB as of the cache. A block that the budget has
 * no room for is grown into page by page.
 */
#ifndef FL_UTIL_ARENA_H
#define FL_UTIL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lock.h"

#define ARENA_MAX_OBJECT 4096
#define ARENA_CLASSES 12
#define ARENA_ALIGN 32 /* of every object */
#define ARENA_BLOCK (2UL << 20)
#define ARENA_BLOCKS_FROM (4UL << 20) /* so what lies idle of a block is a third of all at most */

struct arena_free {
	struct arena_free *next;
};

struct arena {
	struct mutex lock;
	char *base;                             /* reserved range, on a block's boundary; constant, as is its length */
	size_t reserved, used;                  /* [base, base + used) is paid for */
	size_t carved;                          /* up to here, classes have taken pages */
	struct arena_free *free[ARENA_CLASSES]; /* by size class */
	char *bump[ARENA_CLASSES];              /* the rest of the page each class carves from */
	bool (*charge)(uint64_t pages);         /* false: over budget */
	bool (*charge_ahead)(uint64_t pages);   /* the same for a block: for pages that are not needed yet */
};

/* Charge functions are called with the arena's lock held. */
int arena_init(struct arena *a, size_t reserve, bool (*charge)(uint64_t pages), bool (*charge_ahead)(uint64_t pages));
void arena_exit(struct arena *a);
/* Zeroed memory of at least `size` bytes (up to ARENA_MAX_OBJECT), 32-byte aligned; NULL when over budget. */
void *arena_alloc(struct arena *a, size_t size);
/* The same, with whatever is in it: for who has readers that may look at it already. */
void *arena_alloc_raw(struct arena *a, size_t size);
void arena_free(struct arena *a, void *p, size_t size);
/* Bytes paid for so far. */
size_t arena_used(struct arena *a);
/* Held over fork(2): its lists are whole in the child. */
void arena_fork_prepare(struct arena *a);
void arena_fork_done(struct arena *a);

#endif
