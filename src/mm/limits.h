/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a space may have: numbers of mappings and bytes, as the kernel limits a process (sysctl vm.max_map_count,
 * vm.overcommit_memory, vm.mmap_min_addr; RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK). A native space is also subject to the
 * process's own, which the kernel applies to the mappings that Faultline makes.
 */
#ifndef FL_MM_LIMITS_H
#define FL_MM_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MAP_COUNT_DEFAULT 65530

enum overcommit { OVERCOMMIT_HEURISTIC, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER };

struct mm_limits {
	uint64_t map_count;
	uint64_t address_space, data, memlock; /* bytes; UINT64_MAX for none, and for the process's RLIMIT_MEMLOCK */
	uint64_t min_addr;
	uint64_t commit; /* bytes: of OVERCOMMIT_NEVER, and what a single mapping may have with OVERCOMMIT_HEURISTIC; 0 for none */
	enum overcommit overcommit;
};

struct mm;
struct vma;

void mm_limits_default(struct mm_limits *l);
/*
 * Whether [addr, addr + len) may be mapped with these flags and protection; `freed` bytes are given back by it (MAP_FIXED).
 * 0, or -ENOMEM. Caller holds mmap_lock.
 */
int may_expand_vm(struct mm *mm, uint64_t len, uint64_t freed);
int may_have_data(struct mm *mm, int prot, unsigned flags, uint64_t len);
int may_commit(struct mm *mm, uint64_t len);
int map_count_ok(struct mm *mm);
/* Whether the mapping counts against the limit of commitment. */
bool is_accountable(struct mm *mm, int prot, unsigned flags);
/* The right to lock memory at all: RLIMIT_MEMLOCK is not 0, or CAP_IPC_LOCK. */
bool can_do_mlock(struct mm *mm);
/* Whether so many more bytes may be locked: RLIMIT_MEMLOCK, or CAP_IPC_LOCK. */
bool mlock_limit_ok(struct mm *mm, uint64_t len);
/* Adds what the VMA counts for to the space's sums, or takes it off: before and after its protection or flags change. */
void mm_count(struct mm *mm, const struct vma *v, int sign);

#endif
