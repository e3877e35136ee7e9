/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that reclaim has chosen leave memory, or only their mappings, in batches: sorted, so that neighbours leave with one call, and with
 * as few flushes of the TLB as there can be.
 */
#include "evict.h"

#include "address_space.h"
#include "budget.h"
#include "policy.h"
#include "ram.h"
#include "util/compiler.h"

#define VICTIM_LAZYFREE (1ULL << 56) /* swap has no copy, and need not */
#define VICTIM_PROBE (1ULL << 57)
#define VICTIM_HUGE (1ULL << 58) /* one entry, of HUGE_PAGES pages */

static struct page_key key_of(const struct victim *v)
{
	return (struct page_key){.as = (uint16_t)(v->key >> 40), .index = v->key & PAGE_INDEX_MAX};
}

static struct address_space *object_of(const struct victim *v)
{
	return address_space_of(key_of(v));
}

static struct victim victim(pfn_t pfn, uint64_t flags)
{
	struct page_key key = page_key(pfn);

	return (struct victim){.key = (uint64_t)key.as << 40 | key.index | flags, .pfn = pfn};
}

struct victim victim_begin(pfn_t pfn)
{
	uint32_t w = page_word(pfn);

	page_begin_evict(pfn);
	return victim(pfn, w & PG_HUGE ? VICTIM_HUGE : w & PG_LAZYFREE ? VICTIM_LAZYFREE : 0);
}

uint32_t victim_pages(const struct victim *v)
{
	return v->key & VICTIM_HUGE ? HUGE_PAGES : 1;
}

struct victim victim_probe(pfn_t pfn)
{
	return victim(pfn, VICTIM_PROBE);
}

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

	while (k < n && v[k].key == v[0].key + k && !(v[0].key & VICTIM_HUGE))
		k++;
	return k;
}

/* Gets a run of neighbours ready, locked and EVICTING, to leave memory; *kept as drop() says. Otherwise they stay. */
static bool drop_run(const struct victim *v, uint32_t n, uint32_t *kept)
{
	struct address_space *as = object_of(v);

	*kept = 0;
	if (v[0].key & VICTIM_PROBE)
		return true;
	if (((v[0].key & VICTIM_LAZYFREE) && as_is_anon(as)) || !as->frames->drop(as, key_of(v).index, n, kept))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		page_rescue(v[i].pfn);
		page_unlock(v[i].pfn);
	}
	return false;
}

static void finish_probe(const struct victim *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		page_unlock(v[i].pfn);
}

/* Of what was freed lazily nothing is left to come back. */
static void remember(const struct victim *v)
{
	struct page_key key = key_of(v);

	if (!(v->key & VICTIM_LAZYFREE))
		policy_remember((uint64_t)key.as << 40 | key.index, page_word(v->pfn));
}

/* The pages have left their frames. The address_space is used for the last time before they leave the table. */
static uint32_t finish_run(const struct victim *v, uint32_t n, uint32_t kept)
{
	struct address_space *as = object_of(v);
	uint32_t pages = n * victim_pages(v), freed = pages > kept ? pages - kept : 0;

	report_add(&as->report->evictions, pages);
	if ((as_is_anon(as) || as_is_slots(as)) && !(v[0].key & VICTIM_LAZYFREE))
		report_add(&as->report->swapped_out, n);
	as_count_page(as, -(int)pages);
	for (uint32_t i = 0; i < n; i++) {
		remember(&v[i]);
		page_remove(v[i].pfn);
	}
	budget_release(freed);
	return freed;
}

/* A run among the victims. Bytes: this lies on the stack of a signal handler, which may be small. */
struct eviction {
	uint8_t first, n, kept;
};

_Static_assert(EVICT_BATCH <= UINT8_MAX, "a run is counted in bytes");

static void zap_runs(const struct victim *v, const struct eviction *runs, uint32_t nruns)
{
	struct frames_zap z;

	frames_zap_begin(&z);
	for (uint32_t i = 0; i < nruns; i++) {
		const struct victim *first = &v[runs[i].first];

		if (first->key & VICTIM_PROBE)
			frames_zap_add_mapped(&z, object_of(first), key_of(first).index, runs[i].n);
		else if (as_lives_mapped(object_of(first)))
			frames_zap_add(&z, object_of(first), key_of(first).index, runs[i].n * victim_pages(first));
	}
	frames_zap_end(&z);
}

/* Takes victims out of memory, or of their mappings, run by run; what goes where it is mapped goes for all runs at once. */
uint32_t evict_batch(struct victim *v, uint32_t n)
{
	struct eviction runs[EVICT_BATCH];
	uint32_t nruns = 0, freed = 0, k, kept;

	sort_victims(v, n);
	for (uint32_t i = 0; i < n; i += k) {
		k = run_length(v + i, n - i);
		if (drop_run(v + i, k, &kept))
			runs[nruns++] = (struct eviction){.first = (uint8_t)i, .n = (uint8_t)k, .kept = (uint8_t)kept};
	}
	if (nruns)
		zap_runs(v, runs, nruns);
	for (uint32_t i = 0; i < nruns; i++) {
		const struct victim *first = &v[runs[i].first];

		if (first->key & VICTIM_PROBE)
			finish_probe(first, runs[i].n);
		else
			freed += finish_run(first, runs[i].n, runs[i].kept);
	}
	return freed;
}
