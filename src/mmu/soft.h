/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MMU in software: page tables as those of x86-64, in ordinary memory, and a TLB for each thread that accesses.
 *
 * An entry is a word that is changed by atomic operations only. Who may change one to what is the business of mm: it holds the
 * VMA and the page. This module sees to it that tables are there, that walks by other threads are safe, and that no TLB shows
 * what an entry no longer says.
 *
 * A page of 16 or 64 KiB is 4 or 16 entries next to each other, as contiguous entries are on arm64: tables have one geometry.
 */
#ifndef FL_MMU_SOFT_H
#define FL_MMU_SOFT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "faultline_soft.h"
#include "mmu.h"
#include "util/compiler.h"
#include "util/lock.h"

typedef uint64_t pte_t;
typedef _Atomic uint64_t pte_slot;

/* The host's address of the page, or the number of a table, or the slot of a private page that is not in memory. */
#define PTE_ADDR 0x000ffffffffff000ULL
#define PTE_PERMS (FL_PTE_PRESENT | FL_PTE_USER)
#define PT_ENTRIES 512
#define PT_SHIFT 9
#define PT_LEVELS_MAX 5

static inline bool pte_present(pte_t e)
{
	return e & FL_PTE_PRESENT;
}

static inline void *pte_page(pte_t e)
{
	return (void *)(uintptr_t)(e & PTE_ADDR);
}

/* A private page that is not in memory. */
static inline bool pte_is_swap(pte_t e)
{
	return (e & (FL_PTE_PRESENT | FL_PTE_ANON)) == FL_PTE_ANON;
}

/* A guard region's: nothing comes here. */
#define PTE_GUARD ((pte_t)FL_PTE_SPECIAL)

static inline bool pte_is_guard(pte_t e)
{
	return e == PTE_GUARD;
}

static inline uint64_t pte_slot_of(pte_t e)
{
	return (e & PTE_ADDR) >> 12;
}

static inline pte_t pte_swap(uint64_t slot)
{
	return slot << 12 | FL_PTE_ANON;
}

struct soft_cpu;

struct soft_mmu {
	struct mmu mmu;
	unsigned levels, address_bits; /* constant */
	uint32_t root;                 /* constant: number of the top table */
	_Atomic uint64_t tables;       /* in use, the root included */
	struct mutex cpus_lock;        /* leaf */
	struct soft_cpu *_Atomic cpus; /* changes under cpus_lock */
};

/* A cpu and what of it is ours. */
struct soft_cpu {
	struct fl_cpu cpu; /* first: what the program has a pointer to */
	/*
	 * Held for a walk by the cpu's own thread, from the look at the tables to the entry in the TLB; and by who takes something out of the
	 * tables, after it did. So what is taken out is in no TLB after, and a table can be freed.
	 */
	_Atomic uint32_t walking;
	const void *thread;    /* whose it is: the address of something of that thread's */
	struct soft_cpu *mine; /* the next of the same thread */
	struct soft_mmu *mmu;  /* NULL when the space is gone */
	void *space;           /* of mm; NULL the same */
	struct soft_cpu *next; /* cpus_lock */
	int (*on_fault)(struct fl_cpu *cpu, const struct fl_fault *fault, void *arg);
	void *arg;
};

#define SOFT_CPU_PAGES (page_align_up(sizeof(struct soft_cpu)) >> FL_PAGE_SHIFT)

static inline struct soft_mmu *soft_of(struct mmu *m)
{
	return container_of(m, struct soft_mmu, mmu);
}

/* With the engine: where tables are, `max` of them at most, and how a page for one is paid for. 0 or -ENOMEM. */
int pt_init(uint64_t max, bool (*charge)(uint64_t pages), void (*release)(uint64_t pages));
void pt_exit(void);
bool pt_ready(void);
/* In a child of fork(2): the memory is not there. */
void pt_fork_child(void);
/* Tables in use, all spaces together. */
uint64_t pt_count(void);

/* 0; -ENOMEM. */
int soft_mmu_init(struct soft_mmu *s, unsigned address_bits);
/* No entry holds anything any more, and there is no cpu. */
void soft_mmu_exit(struct soft_mmu *s);

/* The entry for addr; NULL when there is no table for it, in pt_alloc() -ENOMEM. Stays while the VMA stays. */
pte_slot *pt_find(const struct soft_mmu *s, uint64_t addr);
int pt_alloc(struct soft_mmu *s, uint64_t addr, pte_slot **slot);
/* The same for the next address in [addr, end) that has a table: *addr. NULL past the last. Up to the end of the table are *n entries. */
pte_slot *pt_next(const struct soft_mmu *s, uint64_t *addr, uint64_t end, uint64_t *n);
/*
 * Frees the tables for addresses in [start, end) of which all addresses lie in [floor, ceiling), where nothing is mapped and nobody
 * faults. Their entries are 0.
 */
void pt_free_range(struct soft_mmu *s, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling);
/* Tables that a walk can come to; nobody makes or frees any. */
uint64_t pt_reachable(const struct soft_mmu *s);
/* The entries of a walk, from the top; how many levels there are. */
unsigned pt_walk(const struct soft_mmu *s, uint64_t addr, struct fl_walk_entry *out);

/* ---- TLB (soft_tlb.c) ---- */

void soft_cpu_add(struct soft_mmu *s, struct soft_cpu *c);
void soft_cpu_del(struct soft_cpu *c);
/* The MMU goes: its cpus have none any more, and every access fails. Nobody is in one. How many there were. */
uint32_t soft_leave_cpus(struct soft_mmu *s);
/*
 * One access within one page, tables permitting: the host's address, with the cpu's `active` set until soft_cpu_leave(); NULL for a
 * fault. Sets accessed and dirty bits.
 */
void *soft_cpu_enter(struct soft_cpu *c, uint64_t addr, enum fl_access access);
void soft_cpu_leave(struct soft_cpu *c);
/* After entries in [start, end) were changed to allow less, or cleared: when it returns, nobody accesses what they showed. */
void soft_flush(struct soft_mmu *s, uint64_t start, uint64_t end);
/* Whether this thread is in the middle of an access: we are in a signal handler, and nothing can be taken away now. */
bool soft_in_access(void);
/* Makes the next access through the TLBs look at the entry again; without waiting: for accessed bits. */
void soft_forget(struct soft_mmu *s, uint64_t addr);

/* What an access needs of an entry, and sets in it. */
bool pte_allows(pte_t e, enum fl_access access);

#endif
