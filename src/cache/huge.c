/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A huge page is 2 MiB of a file on pool frames, in memory as one huge page of the kernel's. It is one entry of the page table (PG_HUGE), so what a
 * page costs in bookkeeping, in faults and in TLB entries, so many pages cost here.
 *
 *      slot, empty ---- frames reserved, or a huge page recycled ----> read into (io.c) ----> moved to where it is mapped, protected
 *        ^                                                                                          |
 *        '---------------------- moved back by reclaim: it has left the mapping, and its memory is here'
 *
 * Slots are addresses, 2 MiB apart, in memory of our own. One has memory only from when a read is about to begin until its page moves away.
 *
 * UFFDIO_MOVE wants both mappings writable, and does not keep write protection: for a moment the page can be stored to. So there are huge pages
 * only in shared mappings of files that are not open for writing, to which the program can have no business to store. To the kernel such a
 * mapping is made writable (`opened`) before the first page moves into it, and each page is protected as soon as it is there. A store that
 * comes all the same faults; the mapping is made read-only again for good, and the kernel raises the program's SIGSEGV (huge_close()).
 *
 * A huge page is READING, CLEAN or EVICTING. Who wants one page of it to pin it, or something of a range that ends within it, has it split:
 * its memory first (moving one small page out and back makes the kernel do so), then its entry. Where that fails it leaves memory: it is clean.
 */
#include "huge.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "budget.h"
#include "evict.h"
#include "io.h"
#include "policy.h"
#include "reclaim.h"
#include "util/compiler.h"
#include "util/own.h"
#include "util/sys.h"

#define SLOTS_MAX 8
#define SLOTS_MIN 2  /* fewer would have nothing to read while the program computes */
#define SLOT_PART 24 /* of all frames, one of so many parts at most is being read into: less than what read-ahead leaves in memory */
#define FAILURES_MAX 3

enum area { NONE, BEING_MADE, READY, REFUSED };

static struct {
	uint32_t slots;         /* constant */
	_Atomic uint32_t area;  /* the memory in which the slots are */
	_Atomic uint32_t busy;  /* a bit for each slot */
	_Atomic uint32_t aside; /* and for each small page behind the slots where one can be put for a moment */
	struct mmu *mmu;        /* with `area`: the one context whose mappings have huge pages */
	char *memory, *base;    /* the same; the first is as the kernel gave it */
} huge;

/* ---- Slots ---- */

#define ASIDE_PAGES 32

static uint64_t area_bytes(void)
{
	return (huge.slots + 1) * HUGE_BYTES + (ASIDE_PAGES << FL_PAGE_SHIFT); /* one more, to align them */
}

void huge_init(uint64_t frames)
{
	uint32_t n = (uint32_t)min_u64(SLOTS_MAX, frames / HUGE_PAGES / SLOT_PART);

	huge.slots = n < SLOTS_MIN ? 0 : n;
	atomic_store(&huge.area, NONE);
	atomic_store(&huge.busy, 0);
	atomic_store(&huge.aside, 0);
}

void huge_exit(void)
{
	if (atomic_load(&huge.area) == READY)
		sys_munmap(huge.memory, area_bytes());
	atomic_store(&huge.area, NONE);
	huge.slots = 0;
}

void huge_drop_mmu(struct mmu *m)
{
	if (atomic_load(&huge.area) != READY || huge.mmu != m)
		return;
	sys_munmap(huge.memory, area_bytes());
	atomic_store(&huge.area, NONE);
}

void huge_fork_child(void)
{
	atomic_store(&huge.area, NONE);
	atomic_store(&huge.busy, 0);
	atomic_store(&huge.aside, 0);
}

uint32_t huge_ahead(void)
{
	return huge.slots * HUGE_PAGES;
}

/*
 * A mapping that is writable to the kernel counts as data (RLIMIT_DATA), and, where the kernel commits to no more than it has, as memory that is
 * needed. A program would pay for that without having asked.
 */
static bool writable_costs_nothing(void)
{
	struct rlimit rl;
	char mode = '2';
	int fd = sys_openat(AT_FDCWD, "/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0) {
		sys_pread(fd, &mode, 1, 0);
		sys_close(fd);
	}
	return mode != '2' && !sys_call(SYS_prlimit64, 0, RLIMIT_DATA, 0, (long)&rl, 0, 0) && rl.rlim_cur == RLIM_INFINITY;
}

static bool make_area(struct mmu *m)
{
	void *p = writable_costs_nothing() ? own_reserve(area_bytes()) : (void *)-ENOMEM;

	if (sys_is_err(p))
		return false;
	huge.memory = p;
	huge.base = (char *)(((uint64_t)(uintptr_t)p + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	sys_madvise(p, area_bytes(), MADV_DONTFORK);
	sys_madvise(p, area_bytes(), MADV_DONTDUMP);
	sys_madvise(p, area_bytes(), MADV_HUGEPAGE); /* where there are none, so many small ones are moved */
	if (!m->ops->attach(m, (uint64_t)(uintptr_t)huge.base, huge.slots * HUGE_BYTES + (ASIDE_PAGES << FL_PAGE_SHIFT), MMU_POOL))
		return true;
	sys_munmap(p, area_bytes());
	return false;
}

/* Whether there are slots whose pages can be moved by this context. */
static bool have_area(struct mmu *m)
{
	uint32_t none = NONE;

	if (!huge.slots || !m->ops->move)
		return false;
	if (atomic_compare_exchange_strong(&huge.area, &none, BEING_MADE)) {
		huge.mmu = m;
		atomic_store(&huge.area, make_area(m) ? READY : REFUSED);
	}
	return atomic_load(&huge.area) == READY && huge.mmu == m;
}

/* The number of one of the first n bits that were clear, and is set now; n when none was. */
static uint32_t take_bit(_Atomic uint32_t *word, uint32_t n)
{
	uint32_t bits = atomic_load(word), i;

	do {
		i = ~bits ? (uint32_t)__builtin_ctz(~bits) : n;
		if (i >= n)
			return n;
	} while (!atomic_compare_exchange_weak(word, &bits, bits | 1u << i));
	return i;
}

static void clear_bit(_Atomic uint32_t *word, uint32_t i)
{
	atomic_fetch_and(word, ~(1u << i));
}

static bool get_slot(struct buffer *slot)
{
	uint32_t i = take_bit(&huge.busy, huge.slots);

	*slot = (struct buffer){.data = huge.base + i * HUGE_BYTES, .pages = HUGE_PAGES, .slot = i};
	return i < huge.slots;
}

void huge_put_slot(struct buffer slot)
{
	clear_bit(&huge.busy, slot.slot);
}

/* What was read is of no use. */
static void free_memory(struct buffer slot)
{
	sys_madvise(slot.data, HUGE_BYTES, MADV_DONTNEED);
	budget_release(HUGE_PAGES);
}

/* ---- Where it is mapped ---- */

/* Caller holds rmap_lock. The mapping that has all of it. */
static struct rmap *mapping_of(const struct address_space *as, uint64_t index, uint64_t *addr)
{
	for (struct rmap *r = as->rmaps; r; r = r->next)
		if (index >= r->pgoff && index + HUGE_PAGES <= r->pgoff + r->pages) {
			*addr = r->addr + ((index - r->pgoff) << FL_PAGE_SHIFT);
			return r;
		}
	return NULL;
}

static bool open_mapping(struct rmap *r)
{
	uint32_t as_asked = RMAP_AS_ASKED;

	if (atomic_load(&r->opened) == RMAP_OPENED)
		return true;
	if (atomic_load(&r->opened) == RMAP_CLOSED || sys_mprotect((void *)r->addr, r->pages << FL_PAGE_SHIFT, PROT_READ | PROT_WRITE))
		return false;
	atomic_compare_exchange_strong(&r->opened, &as_asked, RMAP_OPENED);
	return atomic_load(&r->opened) == RMAP_OPENED;
}

int huge_close(struct rmap *r, int prot)
{
	atomic_store(&r->opened, RMAP_CLOSED);
	return sys_mprotect((void *)r->addr, r->pages << FL_PAGE_SHIFT, prot);
}

#define YIELDS 100
#define PAUSES 1000
#define PAUSE_NS 100000

/*
 * The kernel keeps hold of what it has read into until a thread of its own has run, which takes 10 ms where there is more to do than processors
 * for it. Whether to try once more.
 */
static bool wait_for_holder(unsigned *turn)
{
	if (*turn == YIELDS + PAUSES)
		return false;
	if ((*turn)++ < YIELDS)
		sys_yield();
	else
		sys_nanosleep(PAUSE_NS);
	return true;
}

/* Caller holds rmap_lock. To the end of what has begun. */
static int move_rest(struct mmu *m, uint64_t to, uint64_t from, uint64_t len)
{
	uint64_t done = 0;
	unsigned turn = 0;
	int err;

	do
		err = m->ops->move(m, to + done, from + done, len - done, &done);
	while (err == -EBUSY && wait_for_holder(&turn));
	return err;
}

/* The empty page table of small pages that were there before would make the kernel split what comes. */
static int move_in(struct mmu *m, uint64_t addr, const char *slot)
{
	uint64_t from = (uint64_t)(uintptr_t)slot, done = 0;
	int err = m->ops->zap(m, addr, HUGE_BYTES);

	if (!err)
		err = m->ops->move(m, addr, from, HUGE_BYTES, &done);
	if (err == -EBUSY && done) /* they are small ones */
		err = move_rest(m, addr + done, from + done, HUGE_BYTES - done);
	return err ? err : m->ops->protect(m, addr, HUGE_BYTES);
}

static int try_install(struct address_space *as, uint64_t index, struct buffer slot)
{
	uint64_t addr;
	uint32_t opened = RMAP_OPENED;
	struct rmap *r;
	int err = -ESRCH;

	read_lock(&rmap_lock);
	r = mapping_of(as, index, &addr);
	if (r) {
		err = move_in(r->mmu, addr, slot.data);
		if (err)
			r->mmu->ops->zap(r->mmu, addr, HUGE_BYTES); /* what was moved of it */
	}
	if (err == -EINVAL && r) /* its protection was changed together with that of others */
		atomic_compare_exchange_strong(&r->opened, &opened, RMAP_AS_ASKED);
	read_unlock(&rmap_lock);
	return err;
}

/* Others may change mappings while it is held. */
static int install(struct address_space *as, uint64_t index, struct buffer slot)
{
	unsigned turn = 0;
	int err;

	do
		err = try_install(as, index, slot);
	while (err == -EBUSY && wait_for_holder(&turn));
	if (!err)
		atomic_store_explicit(&as->huge_failures, 0, memory_order_relaxed);
	else if (err != -EINVAL && err != -ESRCH)
		atomic_fetch_add(&as->huge_failures, 1);
	return err;
}

/* ---- In ---- */

/* A page that is in memory already, and may leave it; locked. */
static bool take_part(pfn_t pfn, struct page_key key, struct victim *v)
{
	struct page_key now;

	if (!page_trylock(pfn))
		return false;
	now = page_key(pfn);
	if (now.as != key.as || now.index != key.index || !reclaim_may_take(pfn)) {
		page_unlock(pfn);
		return false;
	}
	*v = victim_begin(pfn);
	return true;
}

/* How many are in memory; HUGE_PAGES when one of them looks as if it had to stay, or all are there. */
static uint32_t parts_that_may_leave(struct address_space *as, uint64_t index)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < HUGE_PAGES; i++) {
		pfn_t pfn = page_find((struct page_key){.as = as->id, .index = index + i});
		uint32_t w = pfn == PFN_NONE ? 0 : page_word(pfn);

		if (w & (PG_HUGE | PG_LOCKED) || page_pins_of(w) || (pfn != PFN_NONE && page_state_of(w) != PAGE_CLEAN))
			return HUGE_PAGES;
		n += pfn != PFN_NONE;
	}
	return n;
}

/* Small pages that are in memory leave it, up to the first that may not. Whether all have. */
static bool evict_parts(struct address_space *as, uint64_t index)
{
	struct victim v[EVICT_BATCH];
	uint32_t n = 0, i;

	for (i = 0; i < HUGE_PAGES; i++) {
		struct page_key key = {.as = as->id, .index = index + i};
		pfn_t pfn = page_find(key);

		if (pfn == PFN_NONE)
			continue;
		if (!take_part(pfn, key, &v[n]))
			break;
		if (++n == EVICT_BATCH) {
			evict_batch(v, n);
			n = 0;
		}
	}
	evict_batch(v, n);
	return i == HUGE_PAGES;
}

#define PARTS_MAX (HUGE_PAGES / 8 * 7) /* with more in memory, what is missing is not worth reading them all again */

/*
 * What is in memory already comes back with the others: else one page that is used often would have its neighbours read by small pages for ever. Not
 * when they are nearly all, or one of them must stay.
 */
static bool make_room(struct address_space *as, uint64_t index)
{
	uint32_t parts = parts_that_may_leave(as, index);

	return !parts || (parts <= PARTS_MAX && evict_parts(as, index));
}

/* What the program is done with leaves memory; a huge page's moves to the slot. */
static bool take_behind(struct address_space *as, uint64_t index, struct buffer slot)
{
	struct page_key key = {.as = as->id, .index = index};
	struct victim v;
	pfn_t pfn;

	if (index > PAGE_INDEX_MAX)
		return false;
	pfn = page_find(key);
	if (pfn == PFN_NONE || !(page_word(pfn) & PG_HUGE)) {
		evict_parts(as, index);
		return false;
	}
	if (!take_part(pfn, key, &v))
		return false;
	if (huge_recycle(pfn, slot, false))
		return true;
	evict_batch(&v, 1);
	return false;
}

/* Memory for what is to be read. */
static bool get_frame(struct address_space *as, uint64_t behind, struct buffer slot)
{
	return take_behind(as, behind, slot) || budget_try_reserve(HUGE_PAGES) || reclaim_huge(slot) || budget_try_reserve(HUGE_PAGES);
}

static enum huge_start start(struct address_space *as, uint64_t index, uint64_t behind, struct buffer slot)
{
	bool started;

	if (!make_room(as, index))
		return HUGE_NEVER;
	if (!get_frame(as, behind, slot))
		return HUGE_LATER;
	started = read_trylock(&as->invalidate_lock);
	if (started) {
		started = io_start_huge(as, index, slot);
		read_unlock(&as->invalidate_lock);
	}
	if (!started)
		free_memory(slot);
	return started ? HUGE_STARTED : HUGE_LATER;
}

enum huge_start huge_start(struct address_space *as, uint64_t index, uint64_t behind, struct rmap *r)
{
	struct buffer slot;
	enum huge_start how;

	if (atomic_load_explicit(&as->huge_failures, memory_order_relaxed) >= FAILURES_MAX || !have_area(r->mmu) || !open_mapping(r))
		return HUGE_NEVER;
	if (!get_slot(&slot))
		return HUGE_LATER;
	how = start(as, index, behind, slot);
	if (how != HUGE_STARTED)
		huge_put_slot(slot);
	return how;
}

void huge_finish(struct address_space *as, uint64_t index, int64_t got, struct buffer slot)
{
	pfn_t pfn = page_find((struct page_key){.as = as->id, .index = index});

	fl_assert(pfn != PFN_NONE && page_word(pfn) & PG_HUGE);
	if (got >= 0 && got < (int64_t)HUGE_BYTES) /* cut by somebody else */
		address_space_stat(as);
	if (got == (int64_t)HUGE_BYTES && !install(as, index, slot)) {
		report_add(&as->report->read_ahead, HUGE_PAGES);
		page_clear_flags(pfn, PG_IO);
		page_read_done(pfn, false);
		page_unlock(pfn);
	} else { /* who wants a page of it reads that, and is told what is wrong */
		as_count_page(as, -(int)HUGE_PAGES);
		page_remove(pfn);
		free_memory(slot);
	}
}

/* ---- Out ---- */

bool huge_recycle(pfn_t pfn, struct buffer slot, bool remember)
{
	struct page_key key = page_key(pfn);
	struct address_space *as = address_space_of(key);
	struct rmap *r;
	uint64_t addr, moved = 0;
	int err = -ESRCH;

	read_lock(&rmap_lock);
	r = mapping_of(as, key.index, &addr);
	if (r && r->mmu == huge.mmu)
		err = r->mmu->ops->move(r->mmu, (uint64_t)(uintptr_t)slot.data, addr, HUGE_BYTES, &moved);
	read_unlock(&rmap_lock);
	if (err) {
		sys_madvise(slot.data, HUGE_BYTES, MADV_DONTNEED); /* a part may be here already */
		return false;
	}
	report_add(&as->report->evictions, HUGE_PAGES);
	as_count_page(as, -(int)HUGE_PAGES);
	if (remember)
		policy_remember((uint64_t)key.as << 40 | key.index, page_word(pfn));
	page_remove(pfn);
	return true;
}

/* Caller holds the page lock, and lets go of it by this. */
static void drop(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	struct address_space *as = address_space_of(key);

	page_discard(pfn);
	as->frames->discard(as, key.index, HUGE_PAGES);
	as_count_page(as, -(int)HUGE_PAGES);
	page_remove(pfn);
	budget_release(HUGE_PAGES);
}

/* The kernel splits a huge page of which a part is moved, and each of its pages can leave memory by itself after. */
static int split_memory(struct mmu *m, uint64_t addr, uint64_t aside)
{
	uint64_t moved = 0;
	int err = m->ops->move(m, aside, addr, FL_PAGE_SIZE, &moved);

	if (!err)
		err = move_rest(m, addr, aside, FL_PAGE_SIZE);
	return err ? err : m->ops->protect(m, addr, HUGE_BYTES);
}

static int try_split(struct address_space *as, uint64_t index, char *aside)
{
	struct rmap *r;
	uint64_t addr;
	int err = -ESRCH;

	read_lock(&rmap_lock);
	r = mapping_of(as, index, &addr);
	if (r && r->mmu == huge.mmu)
		err = split_memory(r->mmu, addr, (uint64_t)(uintptr_t)aside);
	read_unlock(&rmap_lock);
	if (err)
		sys_madvise(aside, FL_PAGE_SIZE, MADV_DONTNEED);
	return err;
}

static int split_where_mapped(struct address_space *as, uint64_t index, char *aside)
{
	unsigned turn = 0;
	int err;

	do
		err = try_split(as, index, aside);
	while (err == -EBUSY && wait_for_holder(&turn));
	return err;
}

void huge_split(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	uint32_t i = take_bit(&huge.aside, ASIDE_PAGES);
	bool split = false;

	if (i < ASIDE_PAGES) {
		split = !split_where_mapped(address_space_of(key), key.index, huge.base + huge.slots * HUGE_BYTES + (i << FL_PAGE_SHIFT));
		clear_bit(&huge.aside, i);
	}
	if (split)
		page_split(pfn);
	else
		drop(pfn);
}

void huge_split_at(struct address_space *as, uint64_t index)
{
	struct page_key key = {.as = as->id, .index = index};

	if (index % HUGE_PAGES == 0 || index > PAGE_INDEX_MAX || !as_is_pool(as))
		return;
	for (pfn_t pfn; (pfn = page_find_any(key)) != PFN_NONE && page_word(pfn) & PG_HUGE;) {
		pfn = page_find_lock_any(key);
		if (pfn != PFN_NONE && page_word(pfn) & PG_HUGE)
			huge_split(pfn);
		else if (pfn != PFN_NONE)
			page_unlock(pfn);
	}
}

void huge_split_ends(struct address_space *as, uint64_t first, uint64_t last)
{
	huge_split_at(as, first);
	huge_split_at(as, last + 1);
}

/* A huge page that has been seen without its lock; it is waited for, since it may be on its way, or about to be split. */
static void drop_if_of(struct address_space *as, pfn_t pfn, uint64_t first, uint64_t last)
{
	struct page_key key;

	page_lock(pfn);
	key = page_key(pfn);
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN && page_word(pfn) & PG_HUGE && key.as == as->id && key.index <= last &&
	    key.index + HUGE_PAGES > first)
		drop(pfn);
	else
		page_unlock(pfn);
}

static bool may_be_of(pfn_t pfn, const struct address_space *as)
{
	return page_word(pfn) & PG_HUGE && page_key(pfn).as == as->id; /* none becomes so now */
}

void huge_drop_range(struct address_space *as, uint64_t first, uint64_t last)
{
	pfn_t high = page_table_high(), pfn;

	if (!as_is_pool(as) || !page_any_huge())
		return;
	if ((last - first) / HUGE_PAGES < high / 4) {
		for (uint64_t at = first - first % HUGE_PAGES; at <= last; at += HUGE_PAGES)
			if ((pfn = page_find((struct page_key){.as = as->id, .index = at})) != PFN_NONE && may_be_of(pfn, as))
				drop_if_of(as, pfn, first, last);
		return;
	}
	for (pfn = 0; pfn < high; pfn++)
		if (may_be_of(pfn, as))
			drop_if_of(as, pfn, first, last);
}
