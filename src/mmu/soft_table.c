/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables. All spaces take theirs from one range of address space, a table by its number in it, as physical memory would have
 * it; entries of the upper levels hold such numbers. Each table is paid for when it is made and given back when it is freed.
 *
 *   made     by whoever needs it first: installed by compare-and-swap, so of two one is thrown away
 *   walked   by faults and reclaim, which hold the VMA or rmap_lock, and by cpus, which say so (soft_cpu.walking)
 *   freed    where nothing is mapped any more, after a flush: nobody can be walking there (soft_tlb.c)
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "soft.h"
#include "util/compiler.h"
#include "util/own.h"
#include "util/sys.h"

#define KEEP_FREE 64 /* tables that are free and still paid for */

static struct {
	struct mutex lock;
	char *memory;
	uint64_t max;
	uint32_t high;   /* lock: numbers from here on were never used; 0 is none */
	uint32_t clean;  /* lock: first free table with memory, linked by its first entry; all of it else 0 */
	uint32_t nclean; /* lock */
	uint32_t empty;  /* lock: first free number without memory, linked through `links` */
	uint32_t *links; /* lock */
	bool (*charge)(uint64_t pages);
	void (*release)(uint64_t pages);
	_Atomic uint64_t count;
} pt = {.lock = MUTEX_INIT(RANK_LEAF)};

static pte_slot *table(uint32_t number)
{
	return (pte_slot *)(pt.memory + ((uint64_t)number << 12));
}

int pt_init(uint64_t max, bool (*charge)(uint64_t pages), void (*release)(uint64_t pages))
{
	uint64_t n = min_u64(max + 1, 1u << 24);
	void *p = own_reserve(n << 12);
	void *l = own_reserve(n * sizeof *pt.links);

	if (sys_is_err(p) || sys_is_err(l))
		return -ENOMEM;
	sys_madvise(p, n << 12, MADV_NOHUGEPAGE);
	sys_madvise(p, n << 12, MADV_DONTFORK);
	pt.memory = p;
	pt.links = l;
	pt.max = n;
	pt.high = 1;
	pt.charge = charge;
	pt.release = release;
	return 0;
}

void pt_exit(void)
{
	if (!pt.memory)
		return;
	pt.release(pt.nclean);
	sys_munmap(pt.memory, pt.max << 12);
	sys_munmap(pt.links, pt.max * sizeof *pt.links);
	pt.memory = NULL;
	pt.clean = pt.nclean = pt.empty = 0;
}

bool pt_ready(void)
{
	return pt.memory;
}

void pt_fork_child(void)
{
	mutex_init(&pt.lock, RANK_LEAF);
	pt.memory = NULL;
	pt.clean = pt.nclean = pt.empty = 0;
	atomic_store(&pt.count, 0);
}

uint64_t pt_count(void)
{
	return atomic_load(&pt.count);
}

/* Caller holds pt.lock. 0 for none. */
static uint32_t take_clean(void)
{
	uint32_t n = pt.clean;

	if (n) {
		pt.clean = (uint32_t)atomic_load(&table(n)[0]);
		atomic_store(&table(n)[0], 0);
		pt.nclean--;
	}
	return n;
}

static uint32_t take_empty(void)
{
	uint32_t n = pt.empty;

	if (n)
		pt.empty = pt.links[n];
	else if (pt.high < pt.max)
		n = pt.high++;
	if (n && !pt.charge(1)) {
		pt.links[n] = pt.empty;
		pt.empty = n;
		n = 0;
	}
	return n;
}

static uint32_t table_alloc(struct soft_mmu *s)
{
	uint32_t n;

	mutex_lock(&pt.lock);
	n = take_clean();
	if (!n)
		n = take_empty();
	mutex_unlock(&pt.lock);
	if (n) {
		atomic_fetch_add(&pt.count, 1);
		atomic_fetch_add(&s->tables, 1);
	}
	return n;
}

/* All its entries are 0. */
static void table_free(struct soft_mmu *s, uint32_t n)
{
	atomic_fetch_sub(&pt.count, 1);
	atomic_fetch_sub(&s->tables, 1);
	mutex_lock(&pt.lock);
	if (pt.nclean < KEEP_FREE) {
		atomic_store(&table(n)[0], pt.clean);
		pt.clean = n;
		pt.nclean++;
	} else {
		sys_madvise(table(n), FL_PAGE_SIZE, MADV_DONTNEED);
		pt.links[n] = pt.empty;
		pt.empty = n;
		pt.release(1);
	}
	mutex_unlock(&pt.lock);
}

int soft_mmu_init(struct soft_mmu *s, unsigned address_bits)
{
	mutex_init(&s->cpus_lock, RANK_LEAF);
	s->address_bits = address_bits;
	s->levels = address_bits > 48 ? 5 : 4;
	s->root = table_alloc(s);
	return s->root ? 0 : -ENOMEM;
}

void soft_mmu_exit(struct soft_mmu *s)
{
	pt_free_range(s, 0, UINT64_MAX, 0, UINT64_MAX);
	table_free(s, s->root);
	fl_assert(atomic_load(&s->tables) == 0);
}

/* ---- Walks ---- */

/* Address bits below those that an entry of this level (1: the lowest) decides. */
static unsigned level_shift(unsigned level)
{
	return 12 + (level - 1) * PT_SHIFT;
}

static unsigned index_at(uint64_t addr, unsigned level)
{
	return (unsigned)(addr >> level_shift(level)) % PT_ENTRIES;
}

static uint32_t table_of(pte_t e)
{
	return (uint32_t)(e >> 12);
}

pte_slot *pt_find(const struct soft_mmu *s, uint64_t addr)
{
	pte_slot *t = table(s->root);

	for (unsigned level = s->levels; level > 1; level--) {
		pte_t e = atomic_load_explicit(&t[index_at(addr, level)], memory_order_acquire);

		if (!e)
			return NULL;
		t = table(table_of(e));
	}
	return &t[index_at(addr, 1)];
}

/* The table that an entry of an upper level points to, made when there is none. NULL: no memory. */
static pte_slot *descend(struct soft_mmu *s, pte_slot *slot)
{
	pte_t e = atomic_load_explicit(slot, memory_order_acquire), fresh;
	uint32_t n;

	if (e)
		return table(table_of(e));
	n = table_alloc(s);
	if (!n)
		return NULL;
	fresh = (pte_t)n << 12 | FL_PTE_PRESENT | FL_PTE_WRITE | FL_PTE_USER;
	if (atomic_compare_exchange_strong(slot, &e, fresh))
		return table(n);
	table_free(s, n);
	return table(table_of(e));
}

int pt_alloc(struct soft_mmu *s, uint64_t addr, pte_slot **slot)
{
	pte_slot *t = table(s->root);

	for (unsigned level = s->levels; level > 1; level--) {
		t = descend(s, &t[index_at(addr, level)]);
		if (!t)
			return -ENOMEM;
	}
	*slot = &t[index_at(addr, 1)];
	return 0;
}

/* The lowest table for addr, or NULL and in *skip the bytes, from the start of what the missing table would have covered. */
static pte_slot *leaf_of(const struct soft_mmu *s, uint64_t addr, uint64_t *skip)
{
	pte_slot *t = table(s->root);

	for (unsigned level = s->levels; level > 1; level--) {
		pte_t e = atomic_load_explicit(&t[index_at(addr, level)], memory_order_acquire);

		if (!e) {
			*skip = 1ULL << level_shift(level);
			return NULL;
		}
		t = table(table_of(e));
	}
	return t;
}

pte_slot *pt_next(const struct soft_mmu *s, uint64_t *addr, uint64_t end, uint64_t *n)
{
	while (*addr < end) {
		uint64_t skip = 0;
		pte_slot *t = leaf_of(s, *addr, &skip);

		if (t) {
			unsigned at = index_at(*addr, 1);

			*n = min_u64(PT_ENTRIES - at, (end - *addr) >> 12);
			return &t[at];
		}
		*addr = (*addr & ~(skip - 1)) + skip;
		if (!*addr)
			break;
	}
	return NULL;
}

unsigned pt_walk(const struct soft_mmu *s, uint64_t addr, struct fl_walk_entry *out)
{
	pte_slot *t = table(s->root);
	unsigned n = 0;

	for (unsigned level = s->levels; level >= 1; level--) {
		unsigned at = index_at(addr, level);
		pte_t e = atomic_load_explicit(&t[at], memory_order_acquire);

		out[n++] = (struct fl_walk_entry){.level = level, .index = at, .entry = e};
		if (!e || level == 1)
			break;
		t = table(table_of(e));
	}
	return n;
}

static uint64_t reachable(uint32_t n, unsigned level)
{
	uint64_t count = 1;

	for (unsigned i = 0; level > 1 && i < PT_ENTRIES; i++) {
		pte_t e = atomic_load_explicit(&table(n)[i], memory_order_acquire);

		count += e ? reachable(table_of(e), level - 1) : 0;
	}
	return count;
}

uint64_t pt_reachable(const struct soft_mmu *s)
{
	return reachable(s->root, s->levels);
}

/* ---- The end of tables ---- */

struct reap {
	uint64_t start, end, floor, ceiling;
	uint32_t list; /* taken out, linked by their first entries */
};

/* Tables that are out of the tree: their own entries are 0 but for the link. */
static void reap_add(struct reap *r, uint32_t n)
{
	atomic_store(&table(n)[0], (uint64_t)r->list << 12);
	r->list = n;
}

static void reap_table(struct reap *r, uint32_t n, unsigned level, uint64_t base);

static void reap_entry(struct reap *r, pte_slot *slot, unsigned level, uint64_t base)
{
	uint64_t size = 1ULL << level_shift(level);
	pte_t e = atomic_load(slot);

	if (!e)
		return;
	reap_table(r, table_of(e), level - 1, base);
	if (base < r->floor || base + size - 1 > r->ceiling - 1)
		return;
	atomic_store(slot, 0);
	reap_add(r, table_of(e));
}

static void reap_table(struct reap *r, uint32_t n, unsigned level, uint64_t base)
{
	uint64_t size = 1ULL << level_shift(level);
	uint64_t first = r->start > base ? (r->start - base) >> level_shift(level) : 0;

	for (uint64_t i = first; level > 1 && i < PT_ENTRIES && base + i * size < r->end; i++)
		reap_entry(r, &table(n)[i], level, base + i * size);
}

void pt_free_range(struct soft_mmu *s, uint64_t start, uint64_t end, uint64_t floor, uint64_t ceiling)
{
	struct reap r = {.start = start, .end = end, .floor = floor, .ceiling = ceiling};

	reap_table(&r, s->root, s->levels, 0);
	if (!r.list)
		return;
	soft_flush(s, 0, 0); /* nobody walks through them any more */
	while (r.list) {
		uint32_t n = r.list;

		r.list = table_of(atomic_load(&table(n)[0]));
		atomic_store(&table(n)[0], 0);
		table_free(s, n);
	}
}
