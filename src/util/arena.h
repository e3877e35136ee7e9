/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The internal allocator: small fixed-size objects (VMAs, files, tree nodes) in memory of our own.
 *
 * Type-stable: a freed object is reused for its own size only and its memory stays mapped until arena_exit(), so a
 * reader that holds a stale pointer for a moment reads old bytes and never faults. The lock-free VMA lookup rests on
 * this. Objects come zeroed. Growth is by whole pages, each paid for through the charge function first.
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

struct arena_free {
	struct arena_free *next;
};

struct arena {
	struct mutex lock;
	char *base; /* reserved range; [base, base + used) is in use */
	size_t reserved, used;
	struct arena_free *free[ARENA_CLASSES]; /* by size class */
	char *bump[ARENA_CLASSES];              /* the rest of the page each class carves from */
	bool (*charge)(uint64_t pages);         /* false: over budget */
};

int arena_init(struct arena *a, size_t reserve, bool (*charge)(uint64_t pages));
void arena_exit(struct arena *a);
/* Zeroed memory of at least `size` bytes (up to ARENA_MAX_OBJECT), 32-byte aligned; NULL when over budget. */
void *arena_alloc(struct arena *a, size_t size);
void arena_free(struct arena *a, void *p, size_t size);
/* Bytes taken from the system so far. */
size_t arena_used(struct arena *a);
/* Held over fork(2): its lists are whole in the child. */
void arena_fork_prepare(struct arena *a);
void arena_fork_done(struct arena *a);

#endif
