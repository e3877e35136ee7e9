/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clock over the page table: a page faulted on since the hand last passed gets a second chance, dirty pages are
 * written back with their neighbours, clean ones leave in batches, sorted so that neighbours leave with one call.
 *
 * Reclaim runs in the thread that needs a frame, also in the SIGBUS handler. It only tries page locks and the
 * invalidate_lock of other files, so it waits for nobody who could wait for its caller.
 */
#include "reclaim.h"

#include <errno.h>

#include "address_space.h"
#include "budget.h"
#include "io.h"
#include "mmu/soft.h"
#include "ram.h"
#include "util/compiler.h"
#include "writeback.h"

#define BATCH 64

/* Small, since 64 of them lie on the stack of a signal handler: lazyfree (swap has no copy, and need not), object, index. */
struct victim {
	uint64_t key;
	pfn_t pfn;
} __attribute__((packed, aligned(4)));

#define VICTIM_LAZYFREE (1ULL << 56)

static struct page_key key_of(const struct victim *v)
{
	return (struct page_key){.as = (uint16_t)(v->key >> 40), .index = v->key & PAGE_INDEX_MAX};
}

static struct address_space *object_of(const struct victim *v)
{
	return address_space_of(key_of(v));
}

static _Atomic uint32_t hand;

/* Entries that one turn of the hand takes, so that several reclaimers sweep different parts. */
#define STEP 16

/* Nearly sorted already: pages read together lie together in the table. */
static void sort_victims(struct victim *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct victim x = v[i];
		uint32_t j = i;

		for (; j > 0 && x.key < v[j - 1].key; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

static uint32_t run_length(const struct victim *v, uint32_t n)
{
	uint32_t k = 1;

	while (k < n && v[k].key == v[0].key + k)
		k++;
	return k;
}

/* Gets a run of neighbours ready, locked and EVICTING, to leave memory; *kept as drop() says. Otherwise they stay. */
static bool drop_run(const struct victim *v, uint32_t n, uint32_t *kept)
{
	struct address_space *as = object_of(v);

	*kept = 0;
	if (((v[0].key & VICTIM_LAZYFREE) && as_is_anon(as)) || !as->frames->drop(as, key_of(v).index, n, kept))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		page_rescue(v[i].pfn);
		page_unlock(v[i].pfn);
	}
	return false;
}

/* The pages have left their frames. The address_space is used for the last time before they leave the table. */
static uint32_t finish_run(const struct victim *v, uint32_t n, uint32_t kept)
{
	struct address_space *as = object_of(v);
	uint32_t freed = n > kept ? n - kept : 0;

	report_add(&as->report->evictions, n);
	if ((as_is_anon(as) || as_is_slots(as)) && !(v[0].key & VICTIM_LAZYFREE))
		report_add(&as->report->swapped_out, n);
	as_count_page(as, -(int)n);
	for (uint32_t i = 0; i < n; i++)
		page_remove(v[i].pfn);
	budget_release(freed);
	return freed;
}

/* A run among the victims. Bytes: this lies on the stack of a signal handler, which may be small. */
struct eviction {
	uint8_t first, n, kept;
};

_Static_assert(BATCH <= UINT8_MAX, "a run is counted in bytes");

static void zap_runs(const struct victim *v, const struct eviction *runs, uint32_t nruns)
{
	struct frames_zap z;

	frames_zap_begin(&z);
	for (uint32_t i = 0; i < nruns; i++) {
		const struct victim *first = &v[runs[i].first];

		if (as_lives_mapped(object_of(first)))
			frames_zap_add(&z, object_of(first), key_of(first).index, runs[i].n);
	}
	frames_zap_end(&z);
}

/* Takes victims out of memory, run by run; what lives where it is mapped goes for all runs at once. */
static uint32_t evict_batch(struct victim *v, uint32_t n)
{
	struct eviction runs[BATCH];
	uint32_t nruns = 0, freed = 0, k, kept;

	sort_victims(v, n);
	for (uint32_t i = 0; i < n; i += k) {
		k = run_length(v + i, n - i);
		if (drop_run(v + i, k, &kept))
			runs[nruns++] = (struct eviction){.first = (uint8_t)i, .n = (uint8_t)k, .kept = (uint8_t)kept};
	}
	if (nruns)
		zap_runs(v, runs, nruns);
	for (uint32_t i = 0; i < nruns; i++)
		freed += finish_run(v + runs[i].first, runs[i].n, runs[i].kept);
	return freed;
}

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
	       (atomic_load_explicit(&as->locked, memory_order_relaxed) && rmap_is_locked(as, key.index));
}

static bool evictable(pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	return page_state_of(w) == PAGE_CLEAN && page_pins_of(w) == 0 && !must_stay(pfn);
}

static struct victim begin_evict(pfn_t pfn)
{
	struct page_key key = page_key(pfn);

	page_begin_evict(pfn);
	return (struct victim){.key = (uint64_t)key.as << 40 | key.index | (page_word(pfn) & PG_LAZYFREE ? VICTIM_LAZYFREE : 0),
			       .pfn = pfn};
}

/* Locks a clean page for eviction. */
static bool take_clean(pfn_t pfn, struct victim *v)
{
	if (!page_trylock(pfn))
		return false;
	if (!evictable(pfn)) {
		page_unlock(pfn);
		return false;
	}
	*v = begin_evict(pfn);
	return true;
}

/* Where entries are ours, they tell of accesses. Somebody at work on the page is one. */
static bool is_young(pfn_t pfn)
{
	bool young;

	if (!ram_in_use() || soft_in_access()) /* nobody is waited for by a signal handler on top of an access */
		return false;
	if (!page_trylock(pfn))
		return true;
	young = ram_page_young(pfn);
	page_unlock(pfn);
	return young;
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

static bool take_clean(pfn_t pfn, struct victim *v);

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

enum outcome {
	STAYS,
	VICTIM,
	WAITS, /* has to be written, which may wait: not with victims in hand */
	FULL,  /* has to be written, when less is in flight */
};

/*
 * Looks at one entry. `hard`: nothing was found so far, references no longer count. Writing back may wait for a buffer, whose holder
 * may want the lock of a victim: only with none held.
 */
static enum outcome consider(pfn_t pfn, bool hard, bool may_write, struct victim *v)
{
	uint32_t w = page_word(pfn);
	enum wb_outcome o = WB_DONE;

	if ((w & PG_LOCKED) || page_pins_of(w))
		return STAYS;
	if (!hard && is_young(pfn))
		w |= PG_REFERENCED;
	if ((w & PG_REFERENCED) && !hard) {
		page_clear_flags(pfn, PG_REFERENCED);
		return STAYS;
	}
	if (page_state_of(w) == PAGE_DIRTY) {
		if ((w & PG_ERROR) && !hard)
			return STAYS;
		o = writeback_for_reclaim(pfn, may_write);
		w = page_word(pfn);
	}
	if (o == WB_WAITS || o == WB_FULL)
		return o == WB_FULL ? FULL : may_write ? STAYS : WAITS;
	return page_state_of(w) == PAGE_CLEAN && take_clean(pfn, v) ? VICTIM : STAYS;
}

/* One pass over `entries` entries, or until `want` frames are free. */
static uint32_t sweep(uint32_t want, uint32_t entries, bool hard)
{
	struct victim v[BATCH];
	uint32_t n = take_written(v, BATCH), freed = 0;
	enum outcome o = STAYS;

	for (uint32_t seen = 0; seen < entries && freed + n < want && o != FULL; seen += STEP) {
		uint32_t high = page_table_high();
		uint32_t at = atomic_fetch_add_explicit(&hand, STEP, memory_order_relaxed);

		for (uint32_t i = 0; i < STEP && high && o != FULL; i++) {
			pfn_t pfn = (at + i) % high;

			o = n < BATCH ? consider(pfn, hard, n == 0, &v[n]) : WAITS;
			if (o == WAITS && n) {
				freed += evict_batch(v, n);
				n = 0;
				o = consider(pfn, hard, true, &v[n]);
			}
			n += o == VICTIM;
		}
	}
	return freed + evict_batch(v, n);
}

uint32_t reclaim_pages(uint32_t want)
{
	uint32_t high = page_table_high();
	uint32_t freed = sweep(want, high + STEP, false);

	if (!freed && io_help()) /* something comes in, or was written */
		freed = sweep(want, STEP, false);
	if (!freed)
		freed = sweep(want, high + STEP, false); /* references are cleared now */
	if (!freed)
		freed = sweep(want, high + STEP, true);
	return freed;
}

/* Caller holds the page lock; whether the page left, and the lock with it. */
static bool cool_locked(pfn_t pfn, const struct address_space *as, uint64_t first, uint64_t last, bool out)
{
	struct page_key key = page_key(pfn);
	struct victim v;

	if (page_state_of(page_word(pfn)) == PAGE_ABSENT || key.as != as->id || key.index < first || key.index > last)
		return false;
	page_clear_flags(pfn, PG_REFERENCED);
	if (!out || !evictable(pfn))
		return false;
	v = begin_evict(pfn);
	evict_batch(&v, 1);
	return true;
}

void reclaim_range(struct address_space *as, uint64_t first, uint64_t last, bool out)
{
	pfn_t high = page_table_high();

	if (out)
		writeback_range(as, first, last);
	for (pfn_t p = 0; p < high; p++)
		if (page_state_of(page_word(p)) != PAGE_ABSENT && page_trylock(p) && !cool_locked(p, as, first, last, out))
			page_unlock(p);
}

void reclaim_page(pfn_t pfn)
{
	struct victim v;

	if (consider(pfn, true, true, &v) == VICTIM) {
		evict_batch(&v, 1);
		return;
	}
	while (page_state_of(page_word(pfn)) == PAGE_WRITEBACK && io_wait_write(pfn))
		;
	if (take_clean(pfn, &v))
		evict_batch(&v, 1);
}

/* A batch is a 64th of the budget, so that a fault now and then pays for many. */
static uint32_t batch_size(uint32_t want)
{
	return (uint32_t)max_u64(want, min_u64(BATCH, budget_limit() / 64));
}

/*
 * Others may hold everything for a moment. When nobody is at work on any page, a second of finding nothing says that nothing will
 * come; while somebody is - on a machine with more to do than it can - it may take longer.
 */
#define PATIENCE 2000
#define PATIENCE_WITH_OTHERS (40 * PATIENCE)
#define PAUSE_NS 500000

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

int reserve_frames(uint32_t want, uint32_t *got)
{
	unsigned idle = 0;
	uint32_t failed;
	bool helped;

	for (unsigned turn = 0; idle < PATIENCE && turn < PATIENCE_WITH_OTHERS;) {
		if (budget_try_reserve(*got = want))
			return 0;
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
			idle += helped || !others_are_at_work(); /* what only fails is no help */
			pause_for_others(turn++);
		}
	}
	return -ENOMEM;
}

/* A page for metadata; gives up where a fault would wait, since a budget full of mappings has nothing to reclaim. */
static bool reserve_quickly(void)
{
	for (int turn = 0; turn < 4; turn++) {
		if (budget_try_reserve(1))
			return true;
		if (!reclaim_pages(batch_size(1)))
			sys_yield();
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
