/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which page leaves. Queues, and ghosts of those that have left:
 *
 *            miss              not used               used, and it counts
 *     -----------------> PROBATION -------> out ...      |
 *                            '---------------------------|-------.
 *            miss, with a ghost                          v       v
 *     -------------------------------------------------> MAIN, at a level: for some time
 *                                                        |   ^ used: a level up, for longer
 *                                                 out <--'---' not used: a level down, where uses are seen
 *
 * A page is on probation when it comes in, and what is on probation leaves first as long as it has its share of memory: what is used once,
 * as in a scan, drives out what is used once. One that is missed soon after it left, or seen in use on probation, is in the main queue from
 * then on, and leaves when others come into it. The share begins as a tenth, and adapts (as in ARC): ghosts that come back say which
 * queue should have been larger. In bench/policy_sim that is worth little but where pages change their use fast: there a tenth is less
 * than FIFO.
 *
 * In a native mapping a page that is mapped is used unseen. On shmem frames it can be unmapped and found again by a soft fault at a
 * twelfth of the cost of a miss, so a page of the main queue is unmapped (PROBE) before it leaves. On pool frames only misses tell:
 * there the level is all, which a ghost keeps. A page that is missed again each time it leaves stays longer each time.
 *
 * What was read ahead of the program is in a queue of its own, STREAMED, and counts as on probation, but leaves before what else is: so a
 * scan makes room for itself, at the cost of nobody. It has a floor, which is more than a stream has under way (readahead.c): what it
 * drives out is behind it. What was driven out and comes back has a ghost, as others do.
 *
 * A first use tells nothing, since it is why the page came. Accessed bits, and a store that follows a load, would show it as a second one: a
 * page found used on probation goes round once more, and only what is used after that counts (PROBED). So does the first use of a page
 * that was read ahead: else a scan would fill the main queue. (One that was in memory lately and is read ahead again, in a loop over more
 * than memory has room for, is as good as missed.)
 *
 * Order. A queue is kept by generations: a page has the number of one, modulo 16, in its word, and a queue knows its oldest and its
 * youngest. A hand goes over the page table and takes what is of the oldest; when all of these are gone or the hand has been round,
 * the next is the oldest. Links would cost 8 bytes a page and a lock; a ring of entries 4, and what to do with those of pages that left
 * otherwise. This costs nothing, and pages are moved by a change of their word. To find a page to evict takes a look at some 55 entries, 120
 * where each page is seen twice for its accessed bits (bench/policy_sim), that lie one after the other: nothing beside a fault. In the
 * main queue the generation is also how long a page stays: the youngest and as many more as its level is worth, so the oldest is who is
 * worth the least now, and worth fades (greedy dual). The price: order within a generation is that of the table.
 *
 * Ghosts are fingerprints in a hash of 16 ways, with a stamp that counts evictions, 4 bytes for each page that memory has room for:
 * those of the last so many evictions count. A collision takes a page for a ghost once in 30,000 look-ups.
 *
 * No locks. Bits of a page change under its lock, and the counts with them; the rest are atomics, where a race costs order and no more.
 * Nothing is allocated after policy_init().
 */
#include "policy.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "budget.h"
#include "page.h"
#include "util/compiler.h"
#include "util/sys.h"

#define GENERATIONS 16
#define PERIODS 4 /* a generation is so many parts of its queue */
#define LEVELS 4
/* The youngest may be so far from the oldest; with the longest life, and one for a look that comes late, there are numbers for all. */
#define SPREAD 7

/* Generations that a page of each level has from the youngest on; and from the oldest, when it is probed or has lost a level. */
static const uint8_t life[LEVELS] = {1, 3, 5, 8};
#define PROBE_LIFE 1
#define LOWERED_LIFE 2

struct queue {
	_Atomic uint64_t pages;
	_Atomic uint32_t count[GENERATIONS]; /* of these */
	_Atomic uint32_t oldest, youngest;   /* not modulo anything */
	_Atomic uint32_t fresh;              /* pages that have come in since the youngest began */
	_Atomic uint32_t hand;
	_Atomic uint32_t looked; /* entries since the oldest became it */
};

static struct queue queues[POLICY_QUEUES];

/* Probation's share of pages, in parts of 2^32. */
#define PERCENT(n) ((uint64_t)(n) * ((1ULL << 32) / 100))
#define SHARE_MIN PERCENT(5)
#define SHARE_START PERCENT(10)
#define SHARE_MAX PERCENT(40)
static _Atomic uint64_t share;

static _Atomic uint64_t returned; /* pages that had a ghost */
/* What was read ahead may be one of so many parts of memory; and goes before what is on probation down to one of so many. */
#define STREAM_PARTS 8
#define STREAM_FLOOR 16

static struct queue *queue_of(uint32_t word)
{
	return &queues[word & POLICY_MAIN ? POLICY_PROTECTED : word & POLICY_AHEAD ? POLICY_STREAMED : POLICY_PROBATION];
}

static uint32_t generation_of(uint32_t word)
{
	return (word & POLICY_GENERATION) >> POLICY_GENERATION_SHIFT;
}

static uint32_t level_of(uint32_t word)
{
	return (word & POLICY_LEVEL) >> POLICY_LEVEL_SHIFT;
}

/* ---- Counts ---- */

void policy_join(uint32_t word)
{
	struct queue *q = queue_of(word);
	uint32_t n = page_count_of(word);

	atomic_fetch_add_explicit(&q->count[generation_of(word)], n, memory_order_relaxed);
	atomic_fetch_add_explicit(&q->pages, n, memory_order_relaxed);
}

void policy_leave(uint32_t word)
{
	struct queue *q = queue_of(word);
	uint32_t n = page_count_of(word);

	atomic_fetch_sub_explicit(&q->count[generation_of(word)], n, memory_order_relaxed);
	atomic_fetch_sub_explicit(&q->pages, n, memory_order_relaxed);
}

void policy_move(uint32_t from, uint32_t to)
{
	policy_leave(from);
	policy_join(to);
}

uint64_t policy_pages(enum policy_queue queue)
{
	return atomic_load_explicit(&queues[queue].pages, memory_order_relaxed);
}

uint64_t policy_returned(void)
{
	return atomic_load_explicit(&returned, memory_order_relaxed);
}

/* ---- Generations ---- */

/* The generation of n pages that come in now: another when enough have. */
static uint32_t youngest(struct queue *q, uint32_t n)
{
	uint32_t oldest = atomic_load_explicit(&q->oldest, memory_order_relaxed);
	uint32_t young = atomic_load_explicit(&q->youngest, memory_order_relaxed);
	uint32_t fresh = atomic_fetch_add_explicit(&q->fresh, n, memory_order_relaxed);

	if ((int32_t)(young - oldest) < 0)
		young = oldest; /* there was nothing between */
	if (fresh >= atomic_load_explicit(&q->pages, memory_order_relaxed) / PERIODS && young - oldest < SPREAD) {
		atomic_store_explicit(&q->fresh, 0, memory_order_relaxed);
		atomic_store_explicit(&q->youngest, ++young, memory_order_relaxed);
	}
	return young;
}

static uint32_t oldest(const struct queue *q)
{
	return atomic_load_explicit(&q->oldest, memory_order_relaxed);
}

static uint32_t bits_in(uint32_t bits, uint32_t generation)
{
	return bits | generation % GENERATIONS << POLICY_GENERATION_SHIFT;
}

static uint32_t probation_bits(uint32_t bits, uint32_t n)
{
	return bits_in(bits, youngest(&queues[bits & POLICY_AHEAD ? POLICY_STREAMED : POLICY_PROBATION], n));
}

static uint32_t main_bits(uint32_t level, uint32_t n)
{
	level = (uint32_t)min_u64(level, LEVELS - 1);
	return bits_in(POLICY_MAIN | level << POLICY_LEVEL_SHIFT, youngest(&queues[POLICY_PROTECTED], n) + life[level]);
}

/* ---- Ghosts ---- */

/*
 * An entry: 19 bits of fingerprint, 10 of stamp, 3 that say what the page was (0: no entry; see rank_of). What is older than the stamps
 * go round has long been replaced: the ghosts of a bucket change every SPAN units.
 */
#define WAYS 16
#define SPAN 64 /* units of evictions in which as many pages leave as memory has */
#define RANK_BITS 3
#define STAMP_BITS 10
#define PRINT_SHIFT (RANK_BITS + STAMP_BITS)
#define STAMPS (1u << STAMP_BITS)

static struct {
	_Atomic uint32_t *entries; /* of `buckets` times WAYS */
	uint32_t buckets;          /* 0: none are kept */
	size_t bytes;
	uint64_t unit; /* evictions for one step of the stamp */
	_Atomic uint64_t evictions;
} ghosts;

/* Those that left each queue, of late. */
static _Atomic uint64_t departed[POLICY_QUEUES];

static void count_departed(uint32_t word)
{
	atomic_fetch_add_explicit(&departed[word & POLICY_MAIN ? POLICY_PROTECTED : POLICY_PROBATION], page_count_of(word),
				  memory_order_relaxed);
	if (atomic_load_explicit(&departed[0], memory_order_relaxed) + atomic_load_explicit(&departed[1], memory_order_relaxed) <
	    (uint64_t)ghosts.buckets * WAYS)
		return;
	for (int q = 0; q < POLICY_QUEUES; q++)
		atomic_store_explicit(&departed[q], atomic_load_explicit(&departed[q], memory_order_relaxed) / 2, memory_order_relaxed);
}

/*
 * A page is back that had left `from`: with more room it would not have. By the room of one page; by more, the rarer ghosts of that
 * queue are.
 */
static void adapt(enum policy_queue from)
{
	uint64_t own = atomic_load_explicit(&departed[from], memory_order_relaxed);
	uint64_t other = atomic_load_explicit(&departed[!from], memory_order_relaxed);
	uint64_t page = (1ULL << 32) / ((uint64_t)ghosts.buckets * WAYS), s = atomic_load_explicit(&share, memory_order_relaxed);
	uint64_t step = page * other / (own + 1);

	step = min_u64(max_u64(step, page), 10 * page);
	s = from == POLICY_PROBATION ? min_u64(s + step, SHARE_MAX) : max_u64(s, SHARE_MIN + step) - step;
	atomic_store_explicit(&share, s, memory_order_relaxed);
}

/* Its level when it comes back is one less than this. */
static uint32_t rank_of(uint32_t word)
{
	return word & POLICY_MAIN ? 2 + level_of(word) : 1;
}

static uint64_t hash_of(uint64_t key)
{
	key = (key ^ key >> 32) * 0xd6e8feb86659fd93ull;
	return (key ^ key >> 32) * 0x9e3779b97f4a7c15ull;
}

static _Atomic uint32_t *bucket_of(uint64_t hash)
{
	return &ghosts.entries[((hash >> 32) * ghosts.buckets >> 32) * WAYS];
}

static uint32_t print_of(uint64_t hash)
{
	return (uint32_t)hash << PRINT_SHIFT;
}

static uint32_t stamp_now(void)
{
	return (uint32_t)(atomic_load_explicit(&ghosts.evictions, memory_order_relaxed) / ghosts.unit) % STAMPS;
}

static uint32_t age_of(uint32_t entry, uint32_t now)
{
	return entry ? (now - (entry >> RANK_BITS)) % STAMPS : STAMPS;
}

static uint32_t oldest_way(const _Atomic uint32_t *bucket, uint32_t now)
{
	uint32_t at = 0, most = 0;

	for (uint32_t i = 0; i < WAYS; i++) {
		uint32_t age = age_of(atomic_load_explicit(&bucket[i], memory_order_relaxed), now);

		if (age > most) {
			most = age;
			at = i;
		}
	}
	return at;
}

void policy_remember(uint64_t key, uint32_t word)
{
	uint64_t hash = hash_of(key);
	uint32_t now;

	if (!ghosts.buckets)
		return;
	count_departed(word);
	now = stamp_now();
	atomic_store_explicit(&bucket_of(hash)[oldest_way(bucket_of(hash), now)], print_of(hash) | now << RANK_BITS | rank_of(word),
			      memory_order_relaxed);
	atomic_fetch_add_explicit(&ghosts.evictions, page_count_of(word), memory_order_relaxed);
}

/* The rank that a page which comes back had, 0 when there is no ghost of it; which goes. */
static uint32_t recall(uint64_t key)
{
	uint64_t hash = hash_of(key);
	_Atomic uint32_t *bucket = ghosts.buckets ? bucket_of(hash) : NULL;

	for (uint32_t i = 0; bucket && i < WAYS; i++) {
		uint32_t e = atomic_load_explicit(&bucket[i], memory_order_relaxed);

		if (!e || e >> PRINT_SHIFT != print_of(hash) >> PRINT_SHIFT)
			continue;
		atomic_store_explicit(&bucket[i], 0, memory_order_relaxed);
		return age_of(e, stamp_now()) <= SPAN ? e % (1u << RANK_BITS) : 0;
	}
	return 0;
}

/* ---- In, and at the hand ---- */

static uint32_t enter(uint64_t key, bool ahead, uint32_t huge)
{
	uint32_t rank = recall(key), n = page_count_of(huge);
	uint32_t bits;

	if (rank) {
		adapt(rank == 1 ? POLICY_PROBATION : POLICY_PROTECTED);
		atomic_fetch_add_explicit(&returned, n, memory_order_relaxed);
	}
	bits = rank ? main_bits(rank - 1, n) : probation_bits(ahead ? POLICY_AHEAD : 0, n);

	policy_join(bits | huge);
	return bits;
}

uint32_t policy_enter(uint64_t key, bool ahead)
{
	return enter(key, ahead, 0);
}

uint32_t policy_enter_huge(uint64_t key)
{
	return enter(key, true, PG_HUGE);
}

uint32_t policy_postponed(uint32_t word)
{
	return bits_in(word & POLICY_BITS & ~POLICY_GENERATION, oldest(queue_of(word)) + 1);
}

uint32_t policy_cold(void)
{
	return bits_in(0, oldest(&queues[POLICY_PROBATION]));
}

/* Pages that one search for victims may probe, before they have had the time to answer. */
static uint64_t probes_max(uint64_t pages)
{
	return min_u64(pages / 16 + 1, 128);
}

enum policy_queue policy_choose(uint32_t probed)
{
	uint64_t streamed = policy_pages(POLICY_STREAMED), loose = policy_pages(POLICY_PROBATION) + streamed;
	uint64_t protected = policy_pages(POLICY_PROTECTED), all = loose + protected;
	enum policy_queue first = loose == streamed || streamed * STREAM_FLOOR >= all ? POLICY_STREAMED : POLICY_PROBATION;

	if (!loose || !protected)
		return loose ? first : POLICY_PROTECTED;
	if (streamed * STREAM_PARTS >= all)
		return POLICY_STREAMED;
	if (loose << 32 >= all * atomic_load_explicit(&share, memory_order_relaxed))
		return first;
	return probed >= probes_max(protected) ? first : POLICY_PROTECTED;
}

/* The generation that was the oldest has been looked through, or is empty. */
static void grow_old(struct queue *q, uint32_t was)
{
	if (atomic_compare_exchange_strong(&q->oldest, &was, was + 1))
		atomic_store_explicit(&q->looked, 0, memory_order_relaxed);
}

static void skip_empty(struct queue *q)
{
	for (int i = 0; i < GENERATIONS; i++) {
		uint32_t old = oldest(q);

		if (atomic_load_explicit(&q->count[old % GENERATIONS], memory_order_relaxed))
			return;
		grow_old(q, old);
	}
}

uint32_t policy_hand(enum policy_queue queue, uint32_t step, uint32_t high)
{
	struct queue *q = &queues[queue];

	if (!high)
		return 0;
	skip_empty(q);
	if (atomic_fetch_add_explicit(&q->looked, step, memory_order_relaxed) >= high)
		grow_old(q, oldest(q));
	return atomic_fetch_add_explicit(&q->hand, step, memory_order_relaxed) % high;
}

/* Where another has taken the hand meanwhile, it comes by some entries twice, and by others not. */
void policy_hand_back(enum policy_queue queue, uint32_t n)
{
	struct queue *q = &queues[queue];
	uint32_t looked = atomic_load_explicit(&q->looked, memory_order_relaxed);

	atomic_fetch_sub_explicit(&q->hand, n, memory_order_relaxed);
	if (looked >= n) /* else it has begun anew */
		atomic_compare_exchange_strong(&q->looked, &looked, looked - n);
}

bool policy_is_due(enum policy_queue queue, uint32_t word)
{
	struct queue *q = &queues[queue];

	return queue_of(word) == q && generation_of(word) == oldest(q) % GENERATIONS;
}

static enum policy_verdict judge_probation(uint32_t word, bool used, uint32_t seen, uint32_t *to)
{
	bool counts = word & POLICY_PROBED, ahead = word & POLICY_AHEAD;
	uint32_t n = page_count_of(word);

	if (used)
		*to = counts && !ahead ? main_bits(0, n) | seen : probation_bits(POLICY_PROBED, n);
	else if (ahead && seen && !counts) /* others, which were used as they came, go round twice as well */
		*to = probation_bits(POLICY_PROBED | POLICY_AHEAD, n);
	else
		return POLICY_EVICT;
	return POLICY_KEEP;
}

static enum policy_verdict judge_main(uint32_t word, bool used, uint32_t seen, bool blind, uint32_t *to)
{
	uint32_t old = oldest(&queues[POLICY_PROTECTED]), level = level_of(word);

	if (used) {
		*to = main_bits(level + 1, page_count_of(word)) | seen;
		return POLICY_KEEP;
	}
	if (blind)
		return POLICY_EVICT;
	if (!(word & POLICY_PROBED)) {
		*to = bits_in(POLICY_MAIN | POLICY_PROBED | level << POLICY_LEVEL_SHIFT, old + PROBE_LIFE);
		return seen ? POLICY_KEEP : POLICY_PROBE; /* accessed bits were cleared by the look */
	}
	if (!level)
		return POLICY_EVICT;
	*to = bits_in(POLICY_MAIN | POLICY_PROBED | (level - 1) << POLICY_LEVEL_SHIFT, old + LOWERED_LIFE);
	return POLICY_KEEP;
}

enum policy_verdict policy_judge(uint32_t word, bool used, enum policy_sight sight, uint32_t *to)
{
	uint32_t seen = sight == POLICY_ACCESSED ? POLICY_PROBED : 0; /* the next use will be, as this one was */

	return word & POLICY_MAIN ? judge_main(word, used, seen, sight == POLICY_BLIND, to) : judge_probation(word, used, seen, to);
}

/* ---- Start and end ---- */

static void start_anew(void)
{
	memset(queues, 0, sizeof queues);
	memset(departed, 0, sizeof departed);
	atomic_store(&share, SHARE_START);
}

void policy_reset(void)
{
	start_anew();
	if (ghosts.bytes)
		sys_madvise((void *)ghosts.entries, ghosts.bytes, MADV_DONTNEED); /* zeros again */
}

int policy_init(uint64_t pages)
{
	uint32_t buckets = (uint32_t)(pages / WAYS + 1);
	size_t bytes = page_align_up((size_t)buckets * WAYS * sizeof(uint32_t));
	void *p;

	p = budget_map(bytes);
	if (!p)
		return -ENOMEM;
	ghosts.entries = p;
	ghosts.buckets = buckets;
	ghosts.bytes = bytes;
	ghosts.unit = max_u64(pages / SPAN, 1);
	atomic_store(&ghosts.evictions, 0);
	start_anew();
	return 0;
}

void policy_exit(void)
{
	budget_unmap((void *)ghosts.entries, ghosts.bytes);
	memset(&ghosts, 0, sizeof ghosts);
}

uint64_t policy_bytes(void)
{
	return ghosts.bytes;
}
