/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft family: where mappings go, and what becomes of their entries.
 *
 *   top     task_size    2^bits less a page
 *             |          room for the stack: its limit, the guard gap, a random part
 *           mmap_base    top-down: places are looked for from here downwards, then, when there is none, from legacy_base upwards
 *             |
 *           legacy_base  bottom-up: a third of the space, and a random part; from here upwards
 *             |
 *           brk_start    the heap, upwards
 *   0       min_addr
 *
 * Free ranges are kept in a tree of their own (gaps.c), changed with the VMAs under mmap_lock. Entries in a range are emptied
 * before its VMAs are detached, while faults are locked out and without rmap_lock (vacate): emptying waits for page locks.
 */
#include "soft.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "util/arena.h"
#include "util/compiler.h"

#define SPACES 1024
#define STACK_GAP_MIN (128UL << 20)
#define STACK_LIMIT (8UL << 20)
#define STACK_GUARD_PAGES 256
#define BRK_START (4UL << 20)
#define BRK_RANDOM (32UL << 20)
#define WINDOW_BITS 47         /* with five levels, addresses above are given only to who asks for them (Linux, 5-level paging) */
#define LOW_START 0x40000000UL /* MAP_32BIT */
#define LOW_END 0x80000000UL

static struct mutex soft_lock = MUTEX_INIT(RANK_LEAF);
static struct soft_space *spaces; /* soft_lock */
static uint32_t nspaces;          /* soft_lock */

static int zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	ram_zap(soft_of(m), addr, addr + len);
	return 0;
}

static const struct mmu_ops soft_ops = {
	.name = "soft",
	.zap = zap,
};

/* ---- Layout ---- */

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1dULL;
}

/* Pages of entropy as Linux has it: 28 bits where there is room, 8 in 32 bits of address. */
static uint64_t random_part(const struct soft_config *c, uint64_t *state)
{
	unsigned bits = c->address_bits >= 47 ? 28 : c->address_bits - 24;

	if (!c->seed)
		return 0;
	return (next_random(state) & ((1ULL << bits) - 1)) * c->page_size;
}

static uint64_t clamp(uint64_t x, uint64_t low, uint64_t high)
{
	return min_u64(max_u64(x, low), high);
}

static void set_layout(struct soft_space *s)
{
	const struct soft_config *c = &s->config;
	uint64_t state = c->seed, window = min_u64(s->mm.task_size, (1ULL << WINDOW_BITS) - c->page_size);
	uint64_t top, gap;

	if (c->address_bits <= 48)
		window = s->mm.task_size;
	top = random_part(c, &state);
	gap = clamp(c->stack_limit + c->stack_guard_gap, STACK_GAP_MIN, window / 6 * 5);
	s->mmap_base = mm_align_down(&s->mm, window - gap - top);
	s->legacy_base = mm_align_up(&s->mm, window / 3 + random_part(c, &state));
	s->brk_start = c->brk ? c->brk : max_u64(BRK_START, mm_align_up(&s->mm, c->limits.min_addr));
	if (c->seed)
		s->brk_start += mm_align_down(&s->mm, next_random(&state) % BRK_RANDOM);
	s->brk = s->brk_start;
}

/* Where what ends at `end` must end at most, for the sake of the stack that follows; 0 when it may stay. */
static uint64_t guard_gap_below(struct mm *mm, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, end);
	uint64_t gap = mm->soft->config.stack_guard_gap;

	if (!v || !(v->flags & VM_GROWSDOWN) || v->start - end >= gap)
		return 0;
	return v->start > gap ? v->start - gap : 0;
}

static bool find_up(struct mm *mm, uint64_t len, uint64_t low, uint64_t high, uint64_t *addr)
{
	while (gaps_find_low(&mm->soft->gaps, len, low, high, mm->page_mask + 1, addr)) {
		struct vma *v = vma_find(&mm->index, *addr + len);

		if (!guard_gap_below(mm, *addr + len))
			return true;
		low = v->end;
	}
	return false;
}

static bool find_down(struct mm *mm, uint64_t len, uint64_t low, uint64_t high, uint64_t *addr)
{
	while (gaps_find_high(&mm->soft->gaps, len, low, high, mm->page_mask + 1, addr)) {
		uint64_t below = guard_gap_below(mm, *addr + len);

		if (!below)
			return true;
		high = below;
	}
	return false;
}

/* As vm_unmapped_area() and its callers; x86's way with MAP_32BIT. */
static bool find_place(struct mm *mm, uint64_t len, int flags, uint64_t *addr)
{
	struct soft_space *s = mm->soft;
	uint64_t low = max_u64(mm->limits.min_addr, mm->page_mask + 1);

	if (flags & MAP_32BIT)
		return find_up(mm, len, LOW_START, min_u64(LOW_END, mm->task_size), addr);
	if (s->config.bottom_up)
		return find_up(mm, len, s->legacy_base, mm->task_size, addr);
	return find_down(mm, len, low, s->mmap_base, addr) || find_up(mm, len, s->legacy_base, mm->task_size, addr);
}

/* A hint is taken when nothing is there, and no stack close above. */
static bool take_hint(struct mm *mm, uint64_t hint, uint64_t len, int flags, uint64_t *addr)
{
	uint64_t at = mm_align_down(mm, hint), end = flags & MAP_32BIT ? min_u64(LOW_END, mm->task_size) : mm->task_size;

	if (at) /* round_hint_to_min() of Linux */
		at = max_u64(at, mm_align_up(mm, mm->limits.min_addr));
	if (!at || len > end || at > end - len)
		return false;
	if (!gaps_is_free(&mm->soft->gaps, at, at + len) || guard_gap_below(mm, at + len))
		return false;
	*addr = at;
	return true;
}

/* Above the window only for who asks for it. */
static bool find_high(struct mm *mm, uint64_t hint, uint64_t len, uint64_t *addr)
{
	if (mm->soft->config.address_bits <= 48 || hint < 1ULL << WINDOW_BITS)
		return false;
	return find_down(mm, len, 1ULL << WINDOW_BITS, mm->task_size, addr);
}

static int get_unmapped_area(struct mm *mm, uint64_t hint, uint64_t len, int flags, uint64_t *addr)
{
	if (take_hint(mm, hint, len, flags, addr) || (!(flags & MAP_32BIT) && find_high(mm, hint, len, addr)) ||
	    find_place(mm, len, flags, addr))
		return 0;
	return -ENOMEM;
}

/* ---- mmap, munmap, mprotect ---- */

static int vacate(struct mm *mm, uint64_t start, uint64_t end)
{
	int err = gaps_prepare(&mm->soft->gaps, 3);

	if (end - start == mm->task_size) /* the end of the space: one gap is left, and there is a node for it, in the tree or spare */
		err = 0;
	if (!err && start < end)
		ram_zap(&mm->soft->mmu, start, end);
	return err;
}

static int map(struct mm *mm, const struct mapping *m, uint64_t *addr)
{
	const struct mmap_request *rq = m->rq;
	int err = 0;

	if (rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		*addr = rq->addr;
	else
		err = get_unmapped_area(mm, rq->addr, m->len, rq->flags, addr);
	if (!err)
		gaps_take(&mm->soft->gaps, *addr, *addr + m->len);
	return err;
}

/* Tables go that nothing but the range has used. */
static void free_tables(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t floor, ceiling;

	for (uint64_t at = start; at < end; at = ceiling) {
		if (gaps_at(&mm->soft->gaps, at, &floor, &ceiling))
			pt_free_range(&mm->soft->mmu, at, min_u64(end, ceiling), floor, ceiling == mm->task_size ? UINT64_MAX : ceiling);
		else
			break;
	}
}

static int unmap(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, uint64_t *done)
{
	(void)what;
	gaps_give(&mm->soft->gaps, start, end);
	free_tables(mm, start, end);
	*done = end;
	return 0;
}

static pte_t perms_of(int prot)
{
	return FL_PTE_PRESENT | (prot & (PROT_READ | PROT_WRITE | PROT_EXEC) ? (pte_t)FL_PTE_USER : 0) | (prot & PROT_EXEC ? 0 : FL_PTE_NX);
}

pte_t soft_perms(const struct vma *v)
{
	return perms_of(v->prot);
}

/* What is taken away is taken away; what is given by writing comes with the next fault, which knows about the page. */
static int protect(struct mm *mm, uint64_t start, uint64_t end, int prot)
{
	pte_t keep = ~(FL_PTE_USER | FL_PTE_NX | (prot & PROT_WRITE ? 0 : (pte_t)(FL_PTE_WRITE | FL_PTE_DIRTY))), set = perms_of(prot);
	uint64_t at = start, n;
	pte_slot *p;

	while ((p = pt_next(&mm->soft->mmu, &at, end, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);

			while (pte_present(e) && !atomic_compare_exchange_weak(p, &e, (e & keep) | set))
				;
		}
	soft_flush(&mm->soft->mmu, start, end);
	return 0;
}

/* ---- mremap ---- */

/* Tables for what is to be moved: after that nothing can fail. */
static int make_tables(struct soft_mmu *s, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t at = from, n;
	pte_slot *p, *q;
	int err = 0;

	for (; !err && (p = pt_next(s, &at, from + len, &n)); at += n << FL_PAGE_SHIFT) {
		err = pt_alloc(s, to + (at - from), &q);
		if (!err)
			err = pt_alloc(s, to + (at - from) + ((n - 1) << FL_PAGE_SHIFT), &q);
	}
	return err;
}

static void move_entries(struct soft_mmu *s, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(s, &at, from + len, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_exchange(p, 0);

			if (e)
				atomic_store(pt_find(s, to + (at - from)), e);
		}
	soft_flush(s, from, from + len);
}

/* Linux does not look at a stack above here. */
static bool grows_in_place(struct mm *mm, const struct remap *r)
{
	uint64_t end = r->old + r->old_len, to = r->old + r->new_len;

	return !(r->flags & REMAP_PLACED) && r->old_len && to <= mm->task_size && gaps_is_free(&mm->soft->gaps, end, to);
}

static int new_place(struct mm *mm, const struct remap *r, uint64_t *addr)
{
	if (r->flags & MREMAP_FIXED) {
		*addr = r->new_addr;
		return 0;
	}
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	return get_unmapped_area(mm, r->flags & REMAP_PLACED ? r->new_addr : 0, r->new_len, 0, addr);
}

static int remap(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr)
{
	struct soft_space *s = mm->soft;
	int err = gaps_prepare(&s->gaps, 3);

	(void)v;
	if (err)
		return err;
	if (grows_in_place(mm, r)) {
		*addr = r->old;
		gaps_take(&s->gaps, r->old + r->old_len, r->old + r->new_len);
		return 0;
	}
	err = new_place(mm, r, addr);
	if (!err)
		err = make_tables(&s->mmu, r->old, *addr, r->old_len);
	if (err)
		return err;
	move_entries(&s->mmu, r->old, *addr, r->old_len);
	gaps_take(&s->gaps, *addr, *addr + r->new_len);
	if (r->old_len && !(r->flags & MREMAP_DONTUNMAP)) {
		gaps_give(&s->gaps, r->old, r->old + r->old_len);
		free_tables(mm, r->old, r->old + r->old_len);
	}
	return 0;
}

/* ---- madvise, and what is there ---- */

static int dontneed(struct vma *v, uint64_t from, uint64_t to)
{
	ram_zap_pages(&v->mm->soft->mmu, from, to);
	return 0;
}

static int mark(struct vma *v, uint64_t from, uint64_t to)
{
	int err = 0;

	v->flags |= VM_MAYBE_GUARD;
	ram_zap(&v->mm->soft->mmu, from, to);
	for (uint64_t at = from; at < to && !err; at += FL_PAGE_SIZE) {
		pte_slot *p;

		err = pt_alloc(&v->mm->soft->mmu, at, &p);
		if (!err)
			atomic_store(p, PTE_GUARD);
	}
	return err;
}

static int unmark(struct vma *v, uint64_t from, uint64_t to)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE)
			if (pte_is_guard(atomic_load(p)))
				atomic_store(p, 0);
	return 0;
}

typedef void (*page_fn)(pfn_t pfn, pte_t e);

/* Calls fn, with the page locked, for private pages in memory that nobody else shows. Caller has the VMA locked for writing. */
static void for_private(struct vma *v, uint64_t from, uint64_t to, page_fn fn)
{
	uint64_t at = from, n;
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);
			pfn_t pfn = pte_present(e) && (e & FL_PTE_ANON) ? ram_page(pte_page(e)) : PFN_NONE;

			if (pfn == PFN_NONE)
				continue;
			page_lock(pfn); /* it may have left meanwhile */
			e = atomic_load(p);
			if (pte_present(e) && ram_page(pte_page(e)) == pfn && slot_refs(page_key(pfn).index) == 1)
				fn(pfn, e);
			page_unlock(pfn);
		}
}

static void forget_lazily(pfn_t pfn, pte_t e)
{
	(void)e;
	filemap_free_page_lazily(slots_object(), pfn);
}

static int free_lazily(struct vma *v, uint64_t from, uint64_t to)
{
	for_private(v, from, to, forget_lazily);
	return 0;
}

static void make_cold(pfn_t pfn, pte_t e)
{
	(void)e;
	page_cool(pfn);
	ram_page_young(pfn);
}

static int cool(struct vma *v, uint64_t from, uint64_t to)
{
	for_private(v, from, to, make_cold);
	return 0;
}

/* What others show too is left to them, as on Linux. */
static bool is_alone(pfn_t pfn)
{
	bool alone;

	page_lock(pfn);
	alone = page_state_of(page_word(pfn)) != PAGE_ABSENT && page_key(pfn).as == slots_object()->id &&
		slot_refs(page_key(pfn).index) == 1;
	page_unlock(pfn);
	return alone;
}

/* One after the other: writing back waits for a buffer, which no page lock may be held for. */
static int page_out(struct vma *v, uint64_t from, uint64_t to)
{
	uint64_t at = from, n;
	pte_slot *p;

	for_private(v, from, to, make_cold);
	while ((p = pt_next(&v->mm->soft->mmu, &at, to, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);

			if (pte_present(e) && (e & FL_PTE_ANON) && is_alone(ram_page(pte_page(e))))
				reclaim_page(ram_page(pte_page(e)));
		}
	return 0;
}

static pte_t entry_at(const struct vma *v, uint64_t addr)
{
	pte_slot *p = pt_find(&v->mm->soft->mmu, addr);

	return p ? atomic_load(p) : 0;
}

static bool swapped(struct vma *v, uint64_t addr)
{
	pte_t e = entry_at(v, addr);

	return pte_is_swap(e) && page_find(slot_key(pte_slot_of(e))) == PFN_NONE;
}

static bool resident(struct vma *v, uint64_t addr)
{
	pte_t e = entry_at(v, addr);

	if (e)
		return pte_present(e);
	return !vma_is_anonymous(v) && !v->as->device &&
	       page_find((struct page_key){.as = v->as->id, .index = vma_index_of(v, addr)}) != PFN_NONE;
}

/* ---- Figures ---- */

static uint32_t mappings_of(const struct vma *v, uint64_t index)
{
	uint32_t n = 0;

	read_lock(&rmap_lock);
	for (struct rmap *r = v->as->rmaps; r; r = r->next)
		n += index >= r->pgoff && index - r->pgoff < r->pages;
	read_unlock(&rmap_lock);
	return n ? n : 1;
}

static void count_page(struct smaps *s, const struct vma *v, pte_t e, pfn_t pfn)
{
	const uint64_t one = FL_PAGE_SIZE << PSS_SHIFT;
	uint32_t w = page_word(pfn), n = e & FL_PTE_ANON ? slot_refs(page_key(pfn).index) : mappings_of(v, page_key(pfn).index);
	bool dirty = page_state_of(w) != PAGE_CLEAN;

	n = n ? n : 1;
	s->sum[SMAPS_RSS] += one;
	s->sum[SMAPS_PSS] += one / n;
	s->sum[SMAPS_PSS_DIRTY] += dirty ? one / n : 0;
	s->sum[(n > 1 ? SMAPS_SHARED_CLEAN : SMAPS_PRIVATE_CLEAN) + dirty] += one;
	s->sum[SMAPS_REFERENCED] += e & FL_PTE_ACCESSED ? one : 0;
	if (!(e & FL_PTE_ANON))
		return;
	s->sum[SMAPS_ANONYMOUS] += one;
	s->sum[SMAPS_LAZY_FREE] += w & PG_LAZYFREE ? one : 0;
}

static void count(struct smaps *s, const struct vma *v)
{
	uint64_t at = v->start, n, before = s->sum[SMAPS_PSS];
	pte_slot *p;

	while ((p = pt_next(&v->mm->soft->mmu, &at, v->end, &n)))
		for (; n; n--, p++, at += FL_PAGE_SIZE) {
			pte_t e = atomic_load(p);
			pfn_t pfn = pte_present(e) ? ram_page(pte_page(e)) : PFN_NONE;

			if (pfn != PFN_NONE)
				count_page(s, v, e, pfn);
			else if (pte_is_swap(e))
				s->sum[SMAPS_SWAP] += FL_PAGE_SIZE << PSS_SHIFT;
		}
	s->sum[SMAPS_SWAP_PSS] = s->sum[SMAPS_SWAP];
	s->sum[SMAPS_LOCKED] += v->flags & VM_LOCKED ? s->sum[SMAPS_PSS] - before : 0;
}

/* ---- Spaces ---- */

/* The family of the VMA at addr, with a reference, when v may have it; else NULL. */
static struct address_space *family_beside(struct vma *v, uint64_t addr)
{
	struct vma *u = vma_trylock_read(&v->mm->index, addr);
	struct address_space *family = NULL;

	if (!u)
		return NULL;
	if (u->mm == v->mm && !u->lineage && (addr < v->start ? vma_may_share_family(u, v) : vma_may_share_family(v, u)))
		family = atomic_load(&u->anon);
	if (family)
		atomic_fetch_add(&family->anon_refs, 1);
	vma_unlock_read(u);
	return family;
}

/* find_mergeable_anon_vma() of Linux, in its order. */
static int new_anon(struct vma *v, uint64_t pages, struct address_space **out)
{
	(void)pages;
	*out = family_beside(v, v->end);
	if (!*out && v->start)
		*out = family_beside(v, v->start - 1);
	return *out ? 0 : family_new(v->as, out);
}

static void unlink_space(struct soft_space *s)
{
	mutex_lock(&soft_lock);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	nspaces--;
	mutex_unlock(&soft_lock);
}

static void destroy(struct mm *mm)
{
	struct soft_space *s = mm->soft;

	unlink_space(s);
	budget_release_metadata(soft_leave_cpus(&s->mmu) * SOFT_CPU_PAGES); /* whoever has them still gives their memory back */
	gaps_exit(&s->gaps);
	soft_mmu_exit(&s->mmu);
	arena_free(address_space_arena(), s, sizeof *s);
}

static int populate(struct vma *v, uint64_t addr, uint64_t pages, bool write, uint64_t *done)
{
	(void)pages;
	*done = 1;
	return soft_populate(v, addr, write);
}

const struct mm_arch soft_arch = {
	.name = "soft",
	.vacate = vacate,
	.map = map,
	.unmap = unmap,
	.protect = protect,
	.remap = remap,
	.dontneed = dontneed,
	.free_lazily = free_lazily,
	.cool = cool,
	.page_out = page_out,
	.mark = mark,
	.unmark = unmark,
	.populate = populate,
	.swapped = swapped,
	.resident = resident,
	.count = count,
	.new_anon = new_anon,
	.destroy = destroy,
};

static int complete(struct soft_config *c)
{
	if (!c->page_size)
		c->page_size = FL_PAGE_SIZE;
	if (!c->address_bits)
		c->address_bits = 48;
	if (!c->stack_limit)
		c->stack_limit = STACK_LIMIT;
	if (!c->stack_guard_gap)
		c->stack_guard_gap = STACK_GUARD_PAGES * c->page_size;
	if (c->page_size != 4096 && c->page_size != 16384 && c->page_size != 65536)
		return -EINVAL;
	if (c->address_bits < 32 || (c->address_bits > 48 && c->address_bits != 57))
		return -EINVAL;
	return c->brk & (c->page_size - 1) || c->brk >> c->address_bits ? -EINVAL : 0;
}

static bool link_space(struct soft_space *s)
{
	bool room;

	mutex_lock(&soft_lock);
	room = nspaces < SPACES;
	if (room) {
		s->next = spaces;
		s->link = &spaces;
		if (s->next)
			s->next->link = &s->next;
		spaces = s;
		nspaces++;
	}
	mutex_unlock(&soft_lock);
	return room;
}

/* A place for the fields first: all of them can be given back by soft_create(). */
static int init(struct soft_space *s)
{
	uint64_t top = (1ULL << s->config.address_bits) - s->config.page_size;
	int err;

	s->mm = (struct mm){.mmap_lock = MUTEX_INIT(RANK_MMAP),
			    .foreign_lock = RWLOCK_INIT(RANK_FOREIGN),
			    .mmu = &s->mmu.mmu,
			    .arch = &soft_arch,
			    .soft = s,
			    .limits = s->config.limits,
			    .task_size = top,
			    .page_mask = s->config.page_size - 1,
			    .low = UINT64_MAX};
	s->mmu.mmu = (struct mmu){.ops = &soft_ops, .map_can_wp = true};
	gaps_init(&s->gaps, address_space_arena());
	set_layout(s);
	err = vma_index_init(&s->mm.index);
	if (err)
		return err;
	err = gaps_reset(&s->gaps, 0, top);
	if (!err)
		err = soft_mmu_init(&s->mmu, s->config.address_bits);
	if (!err && link_space(s))
		return 0;
	if (!err)
		soft_mmu_exit(&s->mmu);
	gaps_exit(&s->gaps);
	vma_index_exit(&s->mm.index);
	return err ? err : -ENOMEM;
}

static int start(void)
{
	int err = ram_init();

	if (!err && !pt_ready())
		err = pt_init(budget_limit(), budget_charge_metadata, budget_release_metadata);
	return err;
}

int soft_create(const struct soft_config *config, struct mm **out)
{
	struct soft_space *s;
	int err = start();

	if (err)
		return err;
	metadata_refill();
	s = arena_alloc(address_space_arena(), sizeof *s);
	if (!s)
		return -ENOMEM;
	s->config = *config;
	err = complete(&s->config);
	if (!err)
		err = init(s);
	if (err)
		arena_free(address_space_arena(), s, sizeof *s);
	else
		*out = &s->mm;
	return err;
}

struct mm *soft_any(void)
{
	return spaces ? &spaces->mm : NULL;
}

void soft_add_up(struct soft_sums *sums)
{
	*sums = (struct soft_sums){0};
	mutex_lock(&soft_lock);
	for (struct soft_space *s = spaces; s; s = s->next) {
		sums->spaces++;
		sums->mapped += atomic_load(&s->mm.mapped);
		sums->mappings += atomic_load(&s->mm.index.count);
	}
	mutex_unlock(&soft_lock);
}

void soft_exit(void)
{
	fl_assert(!spaces);
	pt_exit();
	ram_exit();
}

void soft_fork_child(void)
{
	mutex_init(&soft_lock, RANK_LEAF);
	spaces = NULL;
	nspaces = 0;
	atomic_store(&sigguard_without, 0); /* of threads that did not come along */
	pt_fork_child();
	ram_fork_child();
}

/* ---- brk ---- */

/* Caller holds no lock. As brk(2): the pages up to `end`, or none. */
static bool grow_heap(struct mm *mm, uint64_t from, uint64_t to)
{
	struct mmap_request rq = {.addr = from,
				  .len = to - from,
				  .prot = PROT_READ | PROT_WRITE,
				  .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
				  .fd = -1};
	uint64_t out;

	return !mm_mmap(mm, &rq, &out);
}

static bool close_to_stack(struct mm *mm, uint64_t end)
{
	bool close;

	mutex_lock(&mm->mmap_lock);
	close = guard_gap_below(mm, end);
	mutex_unlock(&mm->mmap_lock);
	return close;
}

static bool move_break(struct mm *mm, uint64_t end)
{
	struct soft_space *s = mm->soft;
	uint64_t from = mm_align_up(mm, s->brk), to = mm_align_up(mm, end);

	if (end < s->brk_start || end > mm->task_size || to < end)
		return false;
	if (mm->limits.data != UINT64_MAX && end - s->brk_start > mm->limits.data)
		return false;
	if (to > from)
		return !close_to_stack(mm, to) && grow_heap(mm, from, to);
	return to == from || !mm_munmap(mm, to, from - to, false);
}

uint64_t soft_brk(struct mm *mm, uint64_t end)
{
	if (end && move_break(mm, end))
		mm->soft->brk = end;
	return mm->soft->brk;
}
