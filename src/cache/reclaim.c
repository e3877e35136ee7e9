/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands go over the page table, and policy.c says which page leaves: dirty ones are written back with their neighbours, clean ones
 * leave in batches, sorted so that neighbours leave with one call. What a stream has read is gathered by its place in the file. Pages of
 * the main queue on shmem frames are taken out of their mappings first, in the same batches, to see whether they are missed.
 *
 * Reclaim runs in the thread that needs a frame, also in the SIGBUS handler. It only tries page locks and the
 * invalidate_lock of other files, so it waits for nobody who could wait for its caller.
 */
#include "reclaim.h"

#include <errno.h>

#include "address_space.h"
#include "budget.h"
#include "evict.h"
#include "hosted.h"
#include "huge.h"
#include "io.h"
#include "mmu/soft.h"
#include "policy.h"
#include "ram.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "writeback.h"

/* Entries that one turn of a hand takes, so that several reclaimers sweep different parts. */
#define STEP 16

/* Locked by mlock(), which brings back what leaves as it comes; or on its way to other frames. Caller holds the page lock. */
static bool must_stay(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	struct address_space *as = address_space_of(key);

	if (!as)
		return false;
	if (as_is_slots(as))
		return slot_is_locked(pfn);
	return atomic_load_explicit(&as->converting, memory_order_relaxed) ||
	       (atomic_load_explicit(&as->locked, memory_order_relaxed) && rmap_is_locked(as, key.index, page_count_of(page_word(pfn))));
}

/* Caller holds the page lock, without which it is a guess. */
bool reclaim_may_take(pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	return page_state_of(w) == PAGE_CLEAN && page_pins_of(w) == 0 && !must_stay(pfn);
}

/* Locks a clean page for eviction. */
static bool take_clean(pfn_t pfn, struct victim *v)
{
	if (!page_trylock(pfn))
		return false;
	if (!reclaim_may_take(pfn)) {
		page_unlock(pfn);
		return false;
	}
	*v = victim_begin(pfn);
	return true;
}

/* ---- What the policy says; callers hold the page lock ---- */

static enum policy_sight sight_of(pfn_t pfn)
{
	struct page_key key = page_key(pfn);
	struct address_space *as = address_space_of(key);

	if (as_is_ram(as) || as_is_slots(as))
		return POLICY_ACCESSED;
	if (address_space_serves_others() && page_state_of(page_word(pfn)) != PAGE_CLEAN)
		return POLICY_BLIND;
	return !as_lives_mapped(as) && rmap_can_unmap(as, key.index) ? POLICY_SOFT_FAULT : POLICY_BLIND;
}

/* By a fault; or, where entries are ours, as they tell. Not from a signal handler on top of an access, which waits for nobody. */
static bool was_used(pfn_t pfn, enum policy_sight sight)
{
	bool young = sight == POLICY_ACCESSED && !soft_in_access() && ram_page_young(pfn);

	return (page_word(pfn) & PG_REFERENCED) || young;
}

static enum policy_verdict ask_policy(pfn_t pfn)
{
	enum policy_sight sight = sight_of(pfn);
	enum policy_verdict verdict;
	uint32_t to;

	verdict = policy_judge(page_word(pfn), was_used(pfn, sight), sight, &to);
	if (verdict != POLICY_EVICT) {
		page_clear_flags(pfn, PG_REFERENCED);
		page_set_policy(pfn, to);
	}
	return verdict;
}

/* ---- Sweeps ---- */

enum pass {
	CHOSEN, /* of the queue that the policy wants pages from */
	OTHER,  /* of another one: nothing of the first can leave */
	THIRD,
	HARD, /* whatever can leave */
};

enum found {
	NOTHING,
	TO_PROBE,
	TO_EVICT,
	TO_WRITE, /* not locked: it has to be written first */
	TO_RETRY, /* the same, but the last write of its file failed */
};

static bool may_leave(uint32_t word, enum pass pass)
{
	enum page_state s = page_state_of(word);

	return page_pins_of(word) == 0 && (s == PAGE_CLEAN || (s == PAGE_DIRTY && (pass == HARD || !(word & PG_ERROR))));
}

/* A write that fails may take long: the file system looks for room. */
static enum found how_to_write(pfn_t pfn, enum pass pass)
{
	if (!atomic_load_explicit(&address_space_of(page_key(pfn))->failing, memory_order_relaxed))
		return TO_WRITE;
	return pass == HARD ? TO_RETRY : NOTHING;
}

/* Caller holds the page lock. *v: the page, which stays locked, if it is to be probed or evicted. */
static enum found consider_locked(pfn_t pfn, enum pass pass, struct victim *v)
{
	enum policy_verdict verdict;

	if (!may_leave(page_word(pfn), pass) || must_stay(pfn))
		return NOTHING;
	verdict = pass == HARD ? POLICY_EVICT : ask_policy(pfn);
	if (verdict == POLICY_KEEP)
		return NOTHING;
	if (verdict == POLICY_PROBE) {
		*v = victim_probe(pfn);
		return TO_PROBE;
	}
	if (page_state_of(page_word(pfn)) == PAGE_DIRTY)
		return how_to_write(pfn, pass);
	*v = victim_begin(pfn);
	return TO_EVICT;
}

static enum found consider(pfn_t pfn, enum pass pass, struct victim *v)
{
	uint32_t w = page_word(pfn);
	enum found found;

	if ((w & PG_LOCKED) || !may_leave(w, pass) || !page_trylock(pfn))
		return NOTHING;
	found = consider_locked(pfn, pass, v);
	if (found != TO_PROBE && found != TO_EVICT)
		page_unlock(pfn);
	return found;
}

/* Pages that were written back for us, and are clean now: a ring of guesses, pfn + 1, in which the oldest are lost. */
#define WRITTEN 128
static _Atomic uint32_t written[WRITTEN];
static _Atomic uint32_t written_head, written_tail;

void reclaim_written(pfn_t pfn)
{
	uint32_t head = atomic_fetch_add(&written_head, 1), tail = atomic_load(&written_tail);

	atomic_store(&written[head % WRITTEN], pfn + 1);
	if (head - tail > WRITTEN) /* behind, or past it */
		atomic_compare_exchange_strong(&written_tail, &tail, head);
}

/* Some of them, unless they were used meanwhile. How many. */
static uint32_t take_written(struct victim *v, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && (int32_t)(atomic_load(&written_head) - atomic_load(&written_tail)) > 0) { /* several may step past it */
		uint32_t at = atomic_fetch_add(&written_tail, 1), x = atomic_exchange(&written[at % WRITTEN], 0);

		if (x && !(page_word(x - 1) & PG_REFERENCED))
			n += take_clean(x - 1, &v[n]);
	}
	return n;
}

/* Of one pass over the table. */
struct sweep {
	enum pass pass;
	uint32_t want, freed, probed;
	uint32_t n, evicting;      /* victims in hand; of those, that leave memory */
	bool full;                 /* too much is being written */
	uint32_t retries;          /* writes to files that failed before */
	const struct buffer *slot; /* for the first huge page that is to leave; NULL: none is wanted */
	bool recycled;             /* it is there */
	struct io_batch writes;    /* of what has to be written first */
	struct victim v[EVICT_BATCH];
};

static void let_go(struct sweep *s)
{
	io_send(&s->writes);
	s->freed += evict_batch(s->v, s->n);
	s->n = s->evicting = 0;
}

/* Waiting for a buffer, whose holder may want the lock of a victim, is for when there are none. */
static enum found write_out(struct sweep *s, pfn_t pfn)
{
	enum wb_outcome o = writeback_for_reclaim(pfn, s->n == 0, &s->writes);

	if (o == WB_WAITS) {
		let_go(s);
		o = writeback_for_reclaim(pfn, true, &s->writes);
	}
	s->full |= o == WB_FULL;
	if (o != WB_DONE || page_state_of(page_word(pfn)) != PAGE_CLEAN)
		return NOTHING;
	return take_clean(pfn, &s->v[s->n]) ? TO_EVICT : NOTHING;
}

#define RETRIES 2

static void look_at(struct sweep *s, pfn_t pfn)
{
	enum found found = consider(pfn, s->pass, &s->v[s->n]);

	if (found == TO_WRITE || (found == TO_RETRY && s->retries++ < RETRIES))
		found = write_out(s, pfn);
	if (found == TO_EVICT && s->slot && page_word(pfn) & PG_HUGE && huge_recycle(pfn, *s->slot, true)) {
		s->recycled = true;
		return;
	}
	s->probed += found == TO_PROBE;
	s->evicting += found == TO_EVICT ? victim_pages(&s->v[s->n]) : 0;
	s->n += found == TO_PROBE || found == TO_EVICT;
	if (s->n == EVICT_BATCH)
		let_go(s);
}

static bool is_done(const struct sweep *s)
{
	return (s->full && s->pass != HARD) || s->recycled || s->freed + s->evicting >= s->want;
}

/* More than is wanted would leave with it; what the hand has passed is not due again soon. */
static void postpone(pfn_t pfn)
{
	if (!page_trylock(pfn))
		return;
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN)
		page_set_policy(pfn, policy_postponed(page_word(pfn)));
	page_unlock(pfn);
}

/* Whether it is due as well, and leaves. */
static bool take_neighbour(struct sweep *s, enum policy_queue q, struct page_key key)
{
	pfn_t pfn = key.index <= PAGE_INDEX_MAX ? page_find(key) : PFN_NONE;
	uint32_t n = s->n;

	if (pfn == PFN_NONE || !policy_is_due(q, page_word(pfn)) || page_state_of(page_word(pfn)) != PAGE_CLEAN)
		return false;
	look_at(s, pfn);
	return s->n != n;
}

/* What a stream has read with this page leaves with it, by one call. */
static void take_run(struct sweep *s, enum policy_queue q, struct page_key key)
{
	for (int step = 1; step >= -1; step -= 2)
		for (struct page_key at = key; !is_done(s);) {
			at.index += (uint64_t)(int64_t)step;
			if (!take_neighbour(s, q, at))
				break;
		}
}

static void sweep_some(struct sweep *s, uint32_t high)
{
	enum policy_queue q = policy_choose(s->probed);
	uint32_t at;
	bool streamed;

	if (s->pass != HARD)
		q = (enum policy_queue)((q + s->pass - CHOSEN) % POLICY_QUEUES);
	streamed = s->pass != HARD && q == POLICY_STREAMED;
	at = policy_hand(q, STEP, high);
	for (uint32_t i = 0; i < STEP; i++) {
		pfn_t pfn = (at + i) % high;

		if (s->pass != HARD && !policy_is_due(q, page_word(pfn)))
			continue;
		if ((page_word(pfn) & PG_HUGE) && is_done(s)) {
			postpone(pfn);
		} else if (streamed && is_done(s)) {
			policy_hand_back(q, STEP - i); /* it leaves with its neighbours, next time */
			return;
		} else {
			struct page_key key = page_key(pfn);

			look_at(s, pfn);
			if (streamed)
				take_run(s, q, key);
		}
	}
}

/* In a turn all that is due is seen once. After so many nothing is left that has not been used, or waits for a probe, meanwhile. */
#define TURNS 6

static struct sweep sweep_for(uint32_t want, enum pass pass, const struct buffer *slot)
{
	struct sweep s = {.pass = pass, .want = want, .slot = slot};
	uint32_t high = page_table_high();
	uint64_t entries = (uint64_t)(pass == HARD ? 1 : TURNS) * (high + STEP);

	s.n = s.evicting = take_written(s.v, EVICT_BATCH - 1);
	for (uint64_t seen = 0; high && seen < entries && !is_done(&s); seen += STEP)
		sweep_some(&s, high);
	let_go(&s);
	return s;
}

static uint32_t sweep(uint32_t want, enum pass pass)
{
	return sweep_for(want, pass, NULL).freed;
}

bool reclaim_huge(struct buffer slot)
{
	return sweep_for(HUGE_PAGES, CHOSEN, &slot).recycled;
}

uint32_t reclaim_pages(uint32_t want)
{
	uint32_t freed = sweep(want, CHOSEN);

	if (!freed && io_help()) /* something comes in, or was written */
		freed = sweep(want, CHOSEN);
	if (!freed)
		freed = sweep(want, OTHER);
	if (!freed)
		freed = sweep(want, THIRD);
	if (!freed)
		freed = sweep(want, HARD);
	return freed;
}

/* Caller holds the page lock; whether the page left, and the lock with it. */
static bool cool_locked(pfn_t pfn, const struct address_space *as, uint64_t first, uint64_t last, bool out)
{
	struct page_key key = page_key(pfn);
	struct victim v;

	if (page_state_of(page_word(pfn)) == PAGE_ABSENT || key.as != as->id || key.index < first || key.index > last)
		return false;
	page_cool(pfn);
	if (!out || !reclaim_may_take(pfn))
		return false;
	v = victim_begin(pfn);
	evict_batch(&v, 1);
	return true;
}

void reclaim_range(struct address_space *as, uint64_t first, uint64_t last, bool out)
{
	pfn_t high;

	if (as_is_hosted(as)) {
		hosted_cool(as, first, last, out);
		return;
	}
	huge_split_ends(as, first, last);
	high = page_table_high();
	if (out)
		writeback_range(as, first, last);
	for (pfn_t p = 0; p < high; p++)
		if (page_state_of(page_word(p)) != PAGE_ABSENT && page_trylock(p) && !cool_locked(p, as, first, last, out))
			page_unlock(p);
}

void reclaim_page(pfn_t pfn)
{
	struct io_batch writes = {0};
	struct victim v;
	enum found found = consider(pfn, HARD, &v);

	if (found == TO_WRITE || found == TO_RETRY) {
		writeback_for_reclaim(pfn, true, &writes);
		io_send(&writes);
		while (page_state_of(page_word(pfn)) == PAGE_WRITEBACK && io_wait_write(pfn))
			;
		found = take_clean(pfn, &v) ? TO_EVICT : NOTHING;
	}
	if (found == TO_EVICT)
		evict_batch(&v, 1);
}

/* A batch is a 64th of the budget, so that a fault now and then pays for many. */
static uint32_t batch_size(uint32_t want)
{
	return (uint32_t)max_u64(want, min_u64(EVICT_BATCH, budget_limit() / 64));
}

/*
 * Others may hold everything for a moment. When nobody is at work on any page, a second of finding nothing says that nothing will
 * come, in which there were some looks, since the machine may have more to do than it can; while somebody is, it may take longer.
 */
#define PATIENCE 2000 /* pauses */
#define PAUSE_NS 500000
#define PATIENCE_NS ((uint64_t)PATIENCE * PAUSE_NS)
#define PATIENCE_WITH_OTHERS (40 * PATIENCE)
#define LOOKS_MIN 50
#define LOOKS_BEFORE_BEGGING 4

static void pause_for_others(unsigned turn)
{
	if (turn < 20)
		sys_yield();
	else
		sys_nanosleep(PAUSE_NS);
}

/* Whether a page is being read, written or taken out, by somebody who may succeed. */
static bool others_are_at_work(void)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++) {
		uint32_t w = page_word(p);
		enum page_state s = page_state_of(w);

		if (!(w & PG_ERROR) && s != PAGE_ABSENT && ((w & PG_LOCKED) || (s != PAGE_CLEAN && s != PAGE_DIRTY)))
			return true;
	}
	return false;
}

bool try_reserve_frames(uint32_t want)
{
	return budget_try_reserve(want) || (reclaim_pages(batch_size(want)) && budget_try_reserve(want));
}

void reclaim_ahead(uint32_t pages)
{
	for (uint32_t n = 1, freed = 0; n && freed < pages && budget_used() + pages > budget_limit(); freed += n)
		n = sweep(EVICT_BATCH, CHOSEN);
}

int reserve_frames(uint32_t want, uint32_t *got)
{
	unsigned idle = 0;
	uint64_t idle_ns = 0, began;
	uint32_t failed;
	bool helped, alone;
	int begged;

	for (unsigned turn = 0; (idle < LOOKS_MIN || idle_ns < PATIENCE_NS) && turn < PATIENCE_WITH_OTHERS;) {
		if (budget_try_reserve(*got = want))
			return 0;
		began = now_ns();
		if (reclaim_pages(batch_size(want))) {
			/* One is enough when others were faster with the rest. */
			if (budget_try_reserve(*got = want) || budget_try_reserve(*got = 1))
				return 0;
		} else {
			want = 1;
			failed = io_failures();
			helped = io_help();
			if (helped && io_failures() == failed)
				continue;
			begged = turn < LOOKS_BEFORE_BEGGING ? -ENOMEM : budget_beg(1);
			if (!begged)
				continue;
			alone = begged != -EAGAIN && (helped || !others_are_at_work()); /* what only fails is no help */
			pause_for_others(turn++);
			idle += alone;
			idle_ns += alone ? now_ns() - began : 0;
		}
	}
	return -ENOMEM;
}

/* Whether there is a page that others give back, or may be soon. */
static bool wait_for_loan(void)
{
	int err = budget_beg(1);

	if (err == -EAGAIN)
		sys_nanosleep(PAUSE_NS);
	else if (err)
		sys_yield();
	return err != -ENOMEM;
}

/*
 * A page for metadata; gives up where a fault would wait, since a budget full of mappings has nothing to reclaim. What others take while they
 * fault, and writes that are not done yet, are no sign of that.
 */
static bool reserve_quickly(void)
{
	while (budget_overdrawn() && reclaim_pages(batch_size(1)))
		;
	for (int turn = 0, idle = 0; idle < 4 && turn < PATIENCE; turn++) {
		if (budget_try_reserve(1))
			return true;
		if (!reclaim_pages(batch_size(1)) && !io_help())
			idle += !wait_for_loan();
	}
	return false;
}

void metadata_refill_to(uint64_t pages)
{
	while (budget_spare() < pages && reserve_quickly())
		budget_add_spare();
}

void metadata_refill(void)
{
	while (budget_metadata_low() && reserve_quickly())
		budget_add_spare();
}

int metadata_wait(void)
{
	uint32_t got;
	int err = reserve_frames(1, &got);

	if (!err)
		budget_add_spare();
	return err;
}
