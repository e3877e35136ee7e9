/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page state machine.
 *
 *                  page_insert
 *      ABSENT ----------------------> READING
 *        ^  ^  page_remove (failed)      |
 *        |  '----------------------------+
 *        |                               |  page_read_done(clean) / page_read_done(dirty)
 *        |                   .-----------+-----------.
 *        |                   v                       v
 *        |  page_remove    CLEAN --page_make_dirty-> DIRTY <--------------------------.
 *        |                  ^ | ^                    |  |                             |
 *        |      page_rescue | | | page_end_          |  | page_begin_writeback        |
 *        |                  | | | writeback          |  v                             | page_end_writeback,
 *        |                  | | '----------------- WRITEBACK --page_fail_writeback--->|  page_fail_writeback
 *        |                  | |                      |  |                             |
 *        |                  | | page_begin_evict,    |  '--page_make_dirty--> REDIRTY-'
 *        |                  | v page_discard         |
 *        '---------------- EVICTING <----------------' page_discard (from DIRTY)
 *
 * Every arrow is taken by a thread that holds the page lock, so the state is simply guarded by the lock; what a thread
 * may conclude without the lock is nothing. Invariants (numbers as in docs/design.md):
 *
 *   1. A page that the program can write without a fault is DIRTY or REDIRTY. The mapping's write protection is lifted
 *      after page_make_dirty() and set again before page_begin_writeback(), both under the page lock.
 *   2. A page is copied for write-back only while it is write-protected in every mapping (or pinned, see writeback.c).
 *   3. Only CLEAN pages leave memory; page_discard() is for bytes that nobody may ask for again.
 *   4. A fault on a page in transition waits for the lock and looks everything up again.
 *
 * The lock is a bit, waited for by futex on the word itself. Any change of the word may wake a waiter early: waiters
 * look again. An entry that is freed and used again for another page is noticed by its key, which changes only while
 * the entry is locked.
 */
#include "page.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "budget.h"
#include "huge.h"
#include "io.h"
#include "policy.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/sys.h"

#define HEAD_LOCKED 0x80000000u
#define PAGES_PER_HEAD 4
#define GROUP 64
#define HEADS_PER_GROUP 15 /* and a byte: together they take a byte for each page at most */

/*
 * 7 bytes: index, then id of the address_space. Written under the page lock before the entry is in a chain, constant while
 * it is. A reader without the lock gets a guess, which may even be torn: hence atomic bytes.
 */
struct packed_key {
	uint8_t byte[7];
};

static struct {
	_Atomic uint32_t *words;
	_Atomic uint32_t *heads; /* HEAD_LOCKED | pfn + 1; the bit guards the chain */
	_Atomic uint32_t *nexts; /* pfn + 1, 0 at the end; links a chain, or the free entries */
	struct packed_key *keys;
	_Atomic uint8_t *unclean; /* how many of each GROUP entries are in a state that is_unclean() */
	uint32_t frames, nheads;
	_Atomic uint32_t high; /* entries from here on were never used */
	_Atomic uint64_t free; /* stack of free entries: generation << 32 | pfn + 1 */
	_Atomic uint32_t huge; /* entries of huge pages, or so many may be about to come */
	void *memory;
	size_t bytes;
} table;

static const uint8_t allowed[PAGE_STATES] = {
	[PAGE_ABSENT] = 1 << PAGE_READING,
	[PAGE_READING] = 1 << PAGE_CLEAN | 1 << PAGE_DIRTY | 1 << PAGE_ABSENT,
	[PAGE_CLEAN] = 1 << PAGE_DIRTY | 1 << PAGE_EVICTING,
	[PAGE_DIRTY] = 1 << PAGE_WRITEBACK | 1 << PAGE_EVICTING,
	[PAGE_WRITEBACK] = 1 << PAGE_CLEAN | 1 << PAGE_REDIRTY | 1 << PAGE_DIRTY,
	[PAGE_REDIRTY] = 1 << PAGE_DIRTY,
	[PAGE_EVICTING] = 1 << PAGE_ABSENT | 1 << PAGE_CLEAN,
};

bool page_transition_ok(enum page_state from, enum page_state to)
{
	return from < PAGE_STATES && to < PAGE_STATES && (allowed[from] >> to & 1);
}

const char *page_state_name(enum page_state s)
{
	static const char *const names[PAGE_STATES] = {"absent", "reading", "clean", "dirty", "writeback", "redirty", "evicting"};

	return s < PAGE_STATES ? names[s] : "?";
}

/* ---- The table ---- */

static size_t table_bytes(uint32_t frames, uint32_t nheads)
{
	return (size_t)frames * (2 * sizeof(uint32_t) + sizeof(struct packed_key)) + (size_t)nheads * sizeof(uint32_t) +
	       (frames - 1) / GROUP + 1;
}

int page_table_init(uint64_t frames)
{
	uint32_t n = (uint32_t)min_u64(frames, HEAD_LOCKED - 2);
	uint32_t nheads = (uint32_t)((uint64_t)n * HEADS_PER_GROUP / GROUP) + 1;
	size_t bytes = page_align_up(table_bytes(n, nheads));
	char *p;

	p = budget_map(bytes);
	if (!p)
		return -ENOMEM;
	memset(&table, 0, sizeof table);
	table.memory = p;
	table.bytes = bytes;
	table.frames = n;
	table.nheads = nheads;
	table.words = (void *)p;
	table.heads = (void *)(p + (size_t)n * sizeof(uint32_t));
	table.nexts = table.heads + nheads;
	table.keys = (void *)(table.nexts + n);
	table.unclean = (void *)(table.keys + n);
	return 0;
}

void page_table_exit(void)
{
	budget_unmap(table.memory, table.bytes);
	memset(&table, 0, sizeof table);
}

pfn_t page_table_high(void)
{
	return (pfn_t)min_u64(atomic_load(&table.high), table.frames);
}

uint64_t page_table_bytes(void)
{
	return table.bytes;
}

bool page_any_huge(void)
{
	return atomic_load(&table.huge);
}

uint64_t page_table_frames(void)
{
	return table.frames;
}

uint32_t page_word(pfn_t pfn)
{
	return atomic_load_explicit(&table.words[pfn], memory_order_acquire);
}

struct page_key page_key(pfn_t pfn)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < sizeof(struct packed_key); i++)
		bits |= (uint64_t)__atomic_load_n(&table.keys[pfn].byte[i], __ATOMIC_RELAXED) << 8 * i;
	return (struct page_key){.as = (uint16_t)(bits >> 40), .index = bits & PAGE_INDEX_MAX};
}

static void set_key(pfn_t pfn, struct page_key key)
{
	uint64_t bits = (uint64_t)key.as << 40 | key.index;

	fl_assert(key.index <= PAGE_INDEX_MAX);
	for (unsigned i = 0; i < sizeof(struct packed_key); i++)
		__atomic_store_n(&table.keys[pfn].byte[i], (uint8_t)(bits >> 8 * i), __ATOMIC_RELAXED);
}

static bool key_is(pfn_t pfn, struct page_key key)
{
	struct page_key k = page_key(pfn);

	return k.as == key.as && k.index == key.index;
}

/* Neighbours in a file go to neighbouring heads: runs of pages share cache lines, and files are spread apart. */
static _Atomic uint32_t *head_of(struct page_key key)
{
	uint64_t h = (key.index >> 4 | (uint64_t)key.as << 40) * 0x9e3779b97f4a7c15ull;

	h = (h >> 32) * table.nheads >> 32;
	return &table.heads[(h + (key.index & 15) / PAGES_PER_HEAD) % table.nheads];
}

static uint32_t head_lock(_Atomic uint32_t *head)
{
	for (unsigned turn = 0;; turn++) {
		uint32_t v = atomic_load_explicit(head, memory_order_relaxed);

		if (!(v & HEAD_LOCKED) &&
		    atomic_compare_exchange_weak_explicit(head, &v, v | HEAD_LOCKED, memory_order_acquire, memory_order_relaxed))
			return v;
		cpu_relax(turn);
	}
}

static void head_unlock(_Atomic uint32_t *head, uint32_t first)
{
	atomic_store_explicit(head, first, memory_order_release);
}

static uint32_t next_of(pfn_t pfn)
{
	return atomic_load_explicit(&table.nexts[pfn], memory_order_relaxed);
}

static void set_next(pfn_t pfn, uint32_t next)
{
	atomic_store_explicit(&table.nexts[pfn], next, memory_order_relaxed);
}

static pfn_t chain_find(uint32_t first, struct page_key key)
{
	for (uint32_t at = first; at; at = next_of(at - 1))
		if (key_is(at - 1, key))
			return at - 1;
	return PFN_NONE;
}

pfn_t page_find(struct page_key key)
{
	_Atomic uint32_t *head = head_of(key);
	uint32_t first = head_lock(head);
	pfn_t pfn = chain_find(first, key);

	head_unlock(head, first);
	return pfn;
}

static struct page_key first_of_huge(struct page_key key)
{
	return (struct page_key){.as = key.as, .index = key.index & ~(uint64_t)(HUGE_PAGES - 1)};
}

/* The huge page that a page would be part of. */
static pfn_t find_huge(struct page_key key)
{
	pfn_t pfn = atomic_load(&table.huge) ? page_find(first_of_huge(key)) : PFN_NONE;

	return pfn != PFN_NONE && page_word(pfn) & PG_HUGE ? pfn : PFN_NONE;
}

pfn_t page_find_any(struct page_key key)
{
	bool huge = atomic_load(&table.huge);
	pfn_t pfn = page_find(key);

	if (pfn != PFN_NONE || likely(!huge))
		return pfn;
	pfn = find_huge(key);
	return pfn != PFN_NONE ? pfn : page_find(key); /* split between the two looks */
}

static bool is_of(pfn_t pfn, struct page_key key)
{
	return page_state_of(page_word(pfn)) != PAGE_ABSENT && key_is(pfn, page_word(pfn) & PG_HUGE ? first_of_huge(key) : key);
}

pfn_t page_find_lock_any(struct page_key key)
{
	for (;;) {
		pfn_t pfn = page_find_any(key);

		if (pfn == PFN_NONE)
			return PFN_NONE;
		page_lock(pfn);
		if (is_of(pfn, key))
			return pfn;
		page_unlock(pfn);
	}
}

pfn_t page_find_trylock(struct page_key key, bool *busy)
{
	pfn_t pfn = page_find(key);

	*busy = pfn != PFN_NONE && !page_trylock(pfn);
	if (pfn == PFN_NONE || *busy)
		return PFN_NONE;
	if (key_is(pfn, key) && page_state_of(page_word(pfn)) != PAGE_ABSENT && !(page_word(pfn) & PG_HUGE))
		return pfn;
	*busy = true; /* it was, and is something else now: as good as busy */
	page_unlock(pfn);
	return PFN_NONE;
}

pfn_t page_find_lock(struct page_key key)
{
	pfn_t pfn;

	while ((pfn = page_find_lock_any(key)) != PFN_NONE && page_word(pfn) & PG_HUGE)
		huge_split(pfn);
	return pfn;
}

/* Entries in use never outnumber reservations, so there is always one. */
static pfn_t entry_alloc(void)
{
	uint64_t top = atomic_load(&table.free);

	while ((uint32_t)top) {
		uint32_t next = next_of((uint32_t)top - 1);

		if (atomic_compare_exchange_weak(&table.free, &top, ((top >> 32) + 1) << 32 | next))
			return (uint32_t)top - 1;
	}
	uint32_t pfn = atomic_fetch_add(&table.high, 1);

	fl_assert(pfn < table.frames);
	return pfn;
}

static void entry_free(pfn_t pfn)
{
	uint64_t top = atomic_load(&table.free);

	do {
		set_next(pfn, (uint32_t)top);
	} while (!atomic_compare_exchange_weak(&table.free, &top, ((top >> 32) + 1) << 32 | (pfn + 1)));
}

static void move(pfn_t pfn, enum page_state to);
static void count_unclean(pfn_t pfn, int sign);

/* Caller holds the lock of the new page. */
static void enter(pfn_t pfn, bool ahead)
{
	struct page_key key = page_key(pfn);
	uint64_t k = (uint64_t)key.as << 40 | key.index;

	atomic_fetch_or(&table.words[pfn], page_word(pfn) & PG_HUGE ? policy_enter_huge(k) : policy_enter(k, ahead));
}

/* An entry for the key, READING and locked, in its chain, with `flags` besides. */
static pfn_t chain_in(struct page_key key, uint32_t flags)
{
	_Atomic uint32_t *head = head_of(key);
	pfn_t pfn = entry_alloc();
	uint32_t first;

	page_lock(pfn); /* against a reader that still looks at what the entry was before */
	set_key(pfn, key);
	first = head_lock(head);
	if (chain_find(first, key) != PFN_NONE) {
		head_unlock(head, first);
		page_unlock(pfn);
		entry_free(pfn);
		return PFN_NONE;
	}
	move(pfn, PAGE_READING);
	page_set_flags(pfn, flags);
	set_next(pfn, first);
	head_unlock(head, pfn + 1);
	return pfn;
}

/*
 * A page and the huge page that it would be part of are never both there. Who puts one in the table looks for the other after, and takes
 * back what it has put there: of two at the same time one at least sees the other, as enter() has changed the word with an atomic operation that
 * orders what is before and after it.
 */
static pfn_t insert(struct page_key key, bool ahead)
{
	pfn_t pfn = chain_in(key, 0);

	if (pfn == PFN_NONE)
		return PFN_NONE;
	enter(pfn, ahead);
	if (unlikely(find_huge(key) != PFN_NONE)) {
		page_remove(pfn);
		return PFN_NONE;
	}
	return pfn;
}

pfn_t page_insert(struct page_key key)
{
	return insert(key, false);
}

pfn_t page_insert_ahead(struct page_key key)
{
	return insert(key, true);
}

static bool any_part_is_there(struct page_key first)
{
	for (uint32_t i = 1; i < HUGE_PAGES; i++)
		if (page_find((struct page_key){.as = first.as, .index = first.index + i}) != PFN_NONE)
			return true;
	return false;
}

pfn_t page_insert_huge(struct page_key key)
{
	pfn_t pfn;

	fl_assert(key.index % HUGE_PAGES == 0);
	atomic_fetch_add(&table.huge, 1);
	pfn = chain_in(key, PG_HUGE);
	if (pfn == PFN_NONE) {
		atomic_fetch_sub(&table.huge, 1);
		return PFN_NONE;
	}
	enter(pfn, true);
	if (any_part_is_there(key)) {
		page_remove(pfn);
		return PFN_NONE;
	}
	return pfn;
}

/* Somebody else's entry is there for a moment only, until it has seen the huge page. */
static pfn_t part_in(struct page_key key)
{
	pfn_t pfn;

	while ((pfn = chain_in(key, 0)) == PFN_NONE)
		sys_yield();
	return pfn;
}

/* What the policy has counted is the same before and after. */
void page_split(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	uint32_t policy = page_word(pfn) & POLICY_BITS;

	fl_assert(page_word(pfn) & PG_HUGE);
	for (uint32_t i = 1; i < HUGE_PAGES; i++) {
		pfn_t part = part_in((struct page_key){.as = key.as, .index = key.index + i});

		page_set_flags(part, policy);
		move(part, PAGE_CLEAN);
		page_unlock(part);
	}
	page_clear_flags(pfn, PG_HUGE);
	atomic_fetch_sub(&table.huge, 1);
	page_unlock(pfn);
}

static void chain_out(pfn_t pfn)
{
	_Atomic uint32_t *head = head_of(page_key(pfn));
	uint32_t first = head_lock(head);

	if (first == pfn + 1) {
		first = next_of(pfn);
	} else {
		uint32_t at = first;

		while (next_of(at - 1) != pfn + 1)
			at = next_of(at - 1);
		set_next(at - 1, next_of(pfn));
	}
	head_unlock(head, first);
}

void page_rekey(pfn_t pfn, struct page_key key)
{
	_Atomic uint32_t *head;

	chain_out(pfn);
	set_key(pfn, key);
	head = head_of(key);
	set_next(pfn, head_lock(head));
	head_unlock(head, pfn + 1);
}

void page_remove(pfn_t pfn)
{
	bool huge = page_word(pfn) & PG_HUGE;

	chain_out(pfn);
	policy_leave(page_word(pfn));
	move(pfn, PAGE_ABSENT);
	atomic_fetch_and(&table.words[pfn], PG_LOCKED | PG_WAITERS | PG_STATE);
	page_unlock(pfn);
	entry_free(pfn);
	if (huge)
		atomic_fetch_sub(&table.huge, 1);
}

/* A page that the parent's threads were working on counts as what it was before: readings are forgotten. */
static bool survives(pfn_t pfn, bool (*keep)(struct page_key key, uint32_t word))
{
	uint32_t w = page_word(pfn);
	enum page_state s = page_state_of(w);

	return s != PAGE_ABSENT && s != PAGE_READING && keep(page_key(pfn), w);
}

static void chain_again(pfn_t pfn)
{
	_Atomic uint32_t *head = head_of(page_key(pfn));

	atomic_store(&table.words[pfn], PAGE_DIRTY);
	count_unclean(pfn, 1);
	policy_join(PAGE_DIRTY);
	set_next(pfn, atomic_load(head));
	atomic_store(head, pfn + 1);
}

uint64_t page_table_fork_child(bool (*keep)(struct page_key key, uint32_t word))
{
	pfn_t high = page_table_high();
	uint64_t kept = 0;

	for (uint32_t i = 0; i < table.nheads; i++)
		atomic_store(&table.heads[i], 0);
	atomic_store(&table.free, 0);
	atomic_store(&table.huge, 0);
	for (pfn_t p = 0; p < high; p += GROUP)
		atomic_store(&table.unclean[p / GROUP], 0);
	policy_reset();
	for (pfn_t p = 0; p < high; p++) {
		if (survives(p, keep)) {
			chain_again(p);
			kept++;
		} else {
			atomic_store(&table.words[p], PAGE_ABSENT);
			entry_free(p);
		}
	}
	return kept;
}

/* ---- The lock ---- */

bool page_trylock(pfn_t pfn)
{
	return !(atomic_fetch_or_explicit(&table.words[pfn], PG_LOCKED, memory_order_acquire) & PG_LOCKED);
}

void page_wait(pfn_t pfn, uint32_t seen)
{
	if (!(seen & PG_WAITERS)) {
		uint32_t w = seen;

		if (!atomic_compare_exchange_strong(&table.words[pfn], &w, seen | PG_WAITERS))
			return;
	}
	sys_futex_wait(&table.words[pfn], seen | PG_WAITERS);
}

void page_lock(pfn_t pfn)
{
	for (unsigned turn = 0; !page_trylock(pfn); turn++) {
		uint32_t w = page_word(pfn);

		if (!(w & PG_LOCKED))
			continue;
		if (io_in_flight(w))
			io_wait_page(pfn);
		else if (turn < 20)
			__builtin_ia32_pause();
		else
			page_wait(pfn, w);
	}
}

void page_hand_to_io(pfn_t pfn)
{
	if (atomic_fetch_or(&table.words[pfn], PG_IO) & PG_WAITERS)
		sys_futex_wake(&table.words[pfn], INT_MAX); /* they have work to do */
}

void page_unlock(pfn_t pfn)
{
	uint32_t was = atomic_fetch_and_explicit(&table.words[pfn], ~(PG_LOCKED | PG_WAITERS), memory_order_release);

	fl_debug_assert(was & PG_LOCKED);
	if (was & PG_WAITERS)
		sys_futex_wake(&table.words[pfn], INT_MAX);
}

/* ---- The transitions ---- */

static enum page_state state(pfn_t pfn)
{
	return page_state_of(page_word(pfn));
}

static bool is_unclean(enum page_state s)
{
	return s == PAGE_READING || s == PAGE_DIRTY || s == PAGE_WRITEBACK || s == PAGE_REDIRTY;
}

static void count_unclean(pfn_t pfn, int sign)
{
	atomic_fetch_add(&table.unclean[pfn / GROUP], (uint8_t)sign);
}

/* The state bits change under the lock, but PG_WAITERS may change beside them. No page is ever unclean and not counted. */
static void move(pfn_t pfn, enum page_state to)
{
	uint32_t w = page_word(pfn);
	bool was = is_unclean(page_state_of(w)), is = is_unclean(to);

	fl_assert((w & PG_LOCKED) && page_transition_ok(page_state_of(w), to));
	if (is && !was)
		count_unclean(pfn, 1);
	atomic_fetch_xor(&table.words[pfn], (w & PG_STATE) ^ (uint32_t)to);
	if (was && !is)
		count_unclean(pfn, -1);
}

pfn_t page_next_unclean(pfn_t from)
{
	pfn_t high = page_table_high();

	for (pfn_t p = from; p < high; p++) {
		if (!atomic_load(&table.unclean[p / GROUP]))
			p |= GROUP - 1;
		else if (is_unclean(state(p)))
			return p;
	}
	return PFN_NONE;
}

void page_read_done(pfn_t pfn, bool dirty)
{
	fl_assert(state(pfn) == PAGE_READING);
	move(pfn, dirty ? PAGE_DIRTY : PAGE_CLEAN);
}

void page_make_dirty(pfn_t pfn)
{
	switch (state(pfn)) {
	case PAGE_CLEAN:
		page_clear_flags(pfn, PG_LAZYFREE);
		move(pfn, PAGE_DIRTY);
		break;
	case PAGE_WRITEBACK:
		move(pfn, PAGE_REDIRTY);
		break;
	default:
		fl_assert(state(pfn) == PAGE_DIRTY || state(pfn) == PAGE_REDIRTY);
	}
}

void page_begin_writeback(pfn_t pfn)
{
	fl_assert(state(pfn) == PAGE_DIRTY);
	move(pfn, PAGE_WRITEBACK);
}

void page_end_writeback(pfn_t pfn)
{
	page_clear_flags(pfn, PG_ERROR);
	move(pfn, state(pfn) == PAGE_REDIRTY ? PAGE_DIRTY : PAGE_CLEAN);
}

void page_fail_writeback(pfn_t pfn)
{
	fl_assert(state(pfn) == PAGE_WRITEBACK || state(pfn) == PAGE_REDIRTY);
	move(pfn, PAGE_DIRTY);
	page_set_flags(pfn, PG_ERROR);
}

void page_begin_evict(pfn_t pfn)
{
	fl_assert(state(pfn) == PAGE_CLEAN);
	move(pfn, PAGE_EVICTING);
}

void page_rescue(pfn_t pfn)
{
	fl_assert(state(pfn) == PAGE_EVICTING);
	move(pfn, PAGE_CLEAN);
}

void page_discard(pfn_t pfn)
{
	fl_assert(state(pfn) == PAGE_CLEAN || state(pfn) == PAGE_DIRTY);
	move(pfn, PAGE_EVICTING);
}

/* ---- Flags and pins ---- */

void page_set_flags(pfn_t pfn, uint32_t flags)
{
	if ((page_word(pfn) & flags) != flags)
		atomic_fetch_or(&table.words[pfn], flags);
}

void page_clear_flags(pfn_t pfn, uint32_t flags)
{
	if (page_word(pfn) & flags)
		atomic_fetch_and(&table.words[pfn], ~flags);
}

void page_set_policy(pfn_t pfn, uint32_t bits)
{
	uint32_t w = page_word(pfn);

	fl_debug_assert(w & PG_LOCKED);
	policy_move(w, bits | (w & PG_HUGE));
	atomic_fetch_xor(&table.words[pfn], (w & POLICY_BITS) ^ bits);
}

void page_cool(pfn_t pfn)
{
	page_clear_flags(pfn, PG_REFERENCED);
	page_set_policy(pfn, policy_cold());
}

bool page_pin(pfn_t pfn)
{
	if (page_pins_of(page_word(pfn)) == PG_PINS_MAX)
		return false;
	atomic_fetch_add(&table.words[pfn], PG_PIN);
	return true;
}

void page_unpin(pfn_t pfn)
{
	if (page_pins_of(page_word(pfn)) > 0)
		atomic_fetch_sub(&table.words[pfn], PG_PIN);
}
