/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLBs, and how what they hold is taken back.
 *
 *   access, TLB hit     active = 1; look at the entry; access; active = 0                       (inline, faultline_soft.h)
 *   access, TLB miss    active = 1; lock `walking`; walk, set bits, fill the TLB; unlock; access; active = 0
 *   flush               entries of the tables were changed; for each cpu: lock `walking`; empty the TLB; unlock
 *                       membarrier(2); for each cpu: wait until active is 0
 *
 * A walk that saw the tables as they were is done before the flush empties that TLB, since both hold `walking`. An access that
 * used the TLB as it was has set `active` before: the barrier makes every running thread's stores seen, and what the flush has stored be
 * seen by every access after. So the two plain stores of an access cost no fence. Accesses are short and wait for nothing, so
 * the wait is short. The thread that flushes need not wait for its own cpus, nor needs a barrier when there are no others.
 *
 * Where the kernel has no membarrier (before 4.14, or forbidden), TLBs stay empty and each access walks, under `walking`.
 */
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>

#include "soft.h"
#include "util/compiler.h"
#include "util/sys.h"

static __thread __attribute__((tls_model("initial-exec"))) char this_thread;

static __thread __attribute__((tls_model("initial-exec"))) struct soft_cpu *my_cpus;

static int barrier_state; /* 0 not asked yet, 1 works, -1 does not */

static bool barriers_work(void)
{
	int state = __atomic_load_n(&barrier_state, __ATOMIC_RELAXED);

	if (unlikely(!state)) {
		state = sys_call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) ? -1 : 1;
		__atomic_store_n(&barrier_state, state, __ATOMIC_RELAXED);
	}
	return state > 0;
}

static void walk_lock(struct soft_cpu *c)
{
	for (unsigned turn = 0; atomic_exchange_explicit(&c->walking, 1, memory_order_acquire); turn++)
		cpu_relax(turn);
}

static void walk_unlock(struct soft_cpu *c)
{
	atomic_store_explicit(&c->walking, 0, memory_order_release);
}

void soft_cpu_add(struct soft_mmu *s, struct soft_cpu *c)
{
	barriers_work();
	memset(c->cpu.tlb, 0xff, sizeof c->cpu.tlb);
	c->mmu = s;
	c->thread = &this_thread;
	c->mine = my_cpus;
	my_cpus = c;
	mutex_lock(&s->cpus_lock);
	c->next = atomic_load(&s->cpus);
	atomic_store(&s->cpus, c);
	mutex_unlock(&s->cpus_lock);
}

void soft_cpu_del(struct soft_cpu *c)
{
	struct soft_mmu *s = c->mmu;
	struct soft_cpu *at, **link;

	for (link = &my_cpus; *link && *link != c; link = &(*link)->mine)
		;
	if (*link)
		*link = c->mine;
	if (!s)
		return;
	mutex_lock(&s->cpus_lock);
	at = atomic_load(&s->cpus);
	if (at == c) {
		atomic_store(&s->cpus, c->next);
	} else {
		while (at->next != c)
			at = at->next;
		at->next = c->next;
	}
	mutex_unlock(&s->cpus_lock);
}

uint32_t soft_leave_cpus(struct soft_mmu *s)
{
	struct soft_cpu *next;
	uint32_t n = 0;

	for (struct soft_cpu *c = atomic_load(&s->cpus); c; c = next) {
		next = c->next;
		memset(c->cpu.tlb, 0xff, sizeof c->cpu.tlb);
		c->mmu = NULL;
		c->space = NULL;
		n++;
	}
	atomic_store(&s->cpus, NULL);
	return n;
}

bool soft_in_access(void)
{
	for (const struct soft_cpu *c = my_cpus; c; c = c->mine)
		if (__atomic_load_n(&c->cpu.active, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* ---- Accesses ---- */

bool pte_allows(pte_t e, enum fl_access access)
{
	if ((e & PTE_PERMS) != PTE_PERMS)
		return false;
	return access == FL_ACCESS_WRITE ? e & FL_PTE_WRITE : access == FL_ACCESS_EXEC ? !(e & FL_PTE_NX) : true;
}

/* As the hardware does: the bits are set by the walk, if the entry still says what it said. */
static bool set_bits(pte_slot *slot, pte_t *e, enum fl_access access)
{
	pte_t bits = FL_PTE_ACCESSED | (access == FL_ACCESS_WRITE ? (pte_t)FL_PTE_DIRTY : 0);

	while ((*e & bits) != bits) {
		if (atomic_compare_exchange_weak(slot, e, *e | bits)) {
			*e |= bits;
			break;
		}
		if (!pte_allows(*e, access))
			return false;
	}
	return true;
}

/* Writing needs the dirty bit: until it is set, the TLB lets no write by. */
static void fill(struct soft_cpu *c, uint64_t addr, pte_t e)
{
	struct fl_tlb_entry *t = &c->cpu.tlb[(addr >> 12) % FL_TLB_ENTRIES];
	uint64_t page = addr & FL_TLB_PAGE;

	__atomic_store_n(&t->addend, (uintptr_t)pte_page(e) - page, __ATOMIC_RELAXED);
	__atomic_store_n(&t->tag[FL_ACCESS_READ], page, __ATOMIC_RELAXED);
	__atomic_store_n(&t->tag[FL_ACCESS_WRITE], pte_allows(e, FL_ACCESS_WRITE) && (e & FL_PTE_DIRTY) ? page : UINT64_MAX,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&t->tag[FL_ACCESS_EXEC], pte_allows(e, FL_ACCESS_EXEC) ? page : UINT64_MAX, __ATOMIC_RELAXED);
}

/* Caller holds `walking`. */
static void *walk(struct soft_cpu *c, uint64_t addr, enum fl_access access)
{
	pte_slot *slot = !c->mmu || addr >> c->mmu->address_bits ? NULL : pt_find(c->mmu, addr);
	pte_t e = slot ? atomic_load_explicit(slot, memory_order_acquire) : 0;

	if (!pte_allows(e, access) || !set_bits(slot, &e, access))
		return NULL;
	if (likely(barriers_work()))
		fill(c, addr, e);
	return (char *)pte_page(e) + (addr & FL_PAGE_MASK);
}

void *soft_cpu_enter(struct soft_cpu *c, uint64_t addr, enum fl_access access)
{
	void *host;

	__atomic_store_n(&c->cpu.active, 1, __ATOMIC_RELAXED);
	walk_lock(c);
	host = walk(c, addr, access);
	if (likely(barriers_work()) || !host)
		walk_unlock(c);
	if (!host)
		__atomic_store_n(&c->cpu.active, 0, __ATOMIC_RELEASE);
	return host;
}

void soft_cpu_leave(struct soft_cpu *c)
{
	if (unlikely(!barriers_work()))
		walk_unlock(c);
	__atomic_store_n(&c->cpu.active, 0, __ATOMIC_RELEASE);
}

/* ---- Flushes ---- */

static void forget_page(struct soft_cpu *c, uint64_t addr)
{
	struct fl_tlb_entry *t = &c->cpu.tlb[(addr >> 12) % FL_TLB_ENTRIES];

	for (unsigned i = 0; i < ARRAY_SIZE(t->tag); i++)
		__atomic_store_n(&t->tag[i], UINT64_MAX, __ATOMIC_RELAXED);
}

/* What maps to one place in the TLB goes with it: few entries are emptied for nothing, and no tag is compared. */
static void empty(struct soft_cpu *c, uint64_t start, uint64_t end)
{
	uint64_t n = min_u64((end - start) >> 12, FL_TLB_ENTRIES);

	for (uint64_t i = 0; i < n; i++)
		forget_page(c, start + (i << 12));
}

static void wait_inactive(struct soft_cpu *c)
{
	for (unsigned turn = 0; __atomic_load_n(&c->cpu.active, __ATOMIC_ACQUIRE); turn++)
		cpu_relax(turn);
}

void soft_flush(struct soft_mmu *s, uint64_t start, uint64_t end)
{
	bool others = false;

	if (!atomic_load(&s->cpus))
		return;
	mutex_lock(&s->cpus_lock);
	for (struct soft_cpu *c = atomic_load(&s->cpus); c; c = c->next) {
		walk_lock(c);
		empty(c, start, end);
		walk_unlock(c);
		others |= c->thread != &this_thread;
	}
	if (others && barriers_work()) {
		sys_call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0);
		for (struct soft_cpu *c = atomic_load(&s->cpus); c; c = c->next)
			if (c->thread != &this_thread)
				wait_inactive(c);
	}
	mutex_unlock(&s->cpus_lock);
}

void soft_forget(struct soft_mmu *s, uint64_t addr)
{
	if (!atomic_load(&s->cpus))
		return;
	mutex_lock(&s->cpus_lock);
	for (struct soft_cpu *c = atomic_load(&s->cpus); c; c = c->next)
		forget_page(c, addr);
	mutex_unlock(&s->cpus_lock);
}
