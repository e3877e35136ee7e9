/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's policy.c over a page table as reclaim.c goes about it: a fault that finds no frame free takes a batch of pages out of
 * memory. What is left out: pages that are locked, dirty or pinned.
 */
#include <stdlib.h>

#include "cache/budget.h"
#include "cache/policy.h"
#include "policy_sim.h"

#define STEP 16
#define BATCH 64
#define FREE UINT32_MAX
#define PATIENCE 64 /* turns of both hands that find nothing: then whatever comes first goes */

struct table {
	enum sight sight;
	uint32_t memory, nfree, high, hand;
	uint32_t probed; /* in this search for victims */
	uint32_t *word;  /* of each entry: bits of policy.h */
	uint32_t *page;  /* FREE: none */
	bool *used, *unmapped;
	uint32_t *free, *entry_of; /* entry_of: of each page of the trace, FREE: not in memory */
	struct outcome o;
};

static const enum policy_sight sights[SIGHTS] = {
	[ACCESSED_BITS] = POLICY_ACCESSED,
	[SOFT_FAULTS] = POLICY_SOFT_FAULT,
	[BLIND] = POLICY_BLIND,
};

static struct table *table_new(enum sight sight, uint32_t memory, uint32_t pages)
{
	struct table *t = must_alloc(1, sizeof *t);

	*t = (struct table){.sight = sight, .memory = memory, .nfree = memory};
	t->word = must_alloc(memory, sizeof *t->word);
	t->page = must_alloc(memory, sizeof *t->page);
	t->used = must_alloc(memory, sizeof *t->used);
	t->unmapped = must_alloc(memory, sizeof *t->unmapped);
	t->free = must_alloc(memory, sizeof *t->free);
	t->entry_of = must_alloc(pages, sizeof *t->entry_of);
	for (uint32_t i = 0; i < memory; i++) {
		t->free[i] = memory - 1 - i;
		t->page[i] = FREE;
	}
	for (uint32_t p = 0; p < pages; p++)
		t->entry_of[p] = FREE;
	return t;
}

static struct outcome table_end(struct table *t)
{
	struct outcome o = t->o;

	free(t->word);
	free(t->page);
	free(t->used);
	free(t->unmapped);
	free(t->free);
	free(t->entry_of);
	free(t);
	return o;
}

static void take_out(struct table *t, uint32_t e)
{
	t->entry_of[t->page[e]] = FREE;
	t->page[e] = FREE;
	t->free[t->nfree++] = e;
}

static uint32_t put_in(struct table *t, uint32_t page)
{
	uint32_t e = t->free[--t->nfree];

	t->high = e >= t->high ? e + 1 : t->high;
	t->page[e] = page;
	t->entry_of[page] = e;
	t->used[e] = t->unmapped[e] = false;
	return e;
}

/* A use of a page that is in memory: who learns of it? */
static void use(struct table *t, uint32_t e, bool counts)
{
	if (t->sight == ACCESSED_BITS)
		t->used[e] = true;
	if (!t->unmapped[e])
		return;
	t->unmapped[e] = false;
	t->used[e] = true;
	t->o.soft_faults += counts;
}

/* ---- Ours ---- */

static bool evict(struct table *t, uint32_t e)
{
	policy_remember(t->page[e], t->word[e]);
	policy_leave(t->word[e]);
	take_out(t, e);
	return true;
}

static bool judge(struct table *t, uint32_t e)
{
	uint32_t to;
	enum policy_verdict v = policy_judge(t->word[e], t->used[e], sights[t->sight], &to);

	if (v == POLICY_EVICT)
		return evict(t, e);
	policy_move(t->word[e], to);
	t->word[e] = to;
	t->used[e] = false;
	t->probed += v == POLICY_PROBE;
	if (v == POLICY_PROBE && t->sight == SOFT_FAULTS)
		t->unmapped[e] = true;
	return false;
}

static uint32_t sweep(struct table *t, enum policy_queue q)
{
	uint32_t n = 0, at = policy_hand(q, STEP, t->high);

	for (uint32_t i = 0; i < STEP; i++) {
		uint32_t e = (at + i) % t->high;

		t->o.looks++;
		if (t->page[e] != FREE && policy_is_due(q, t->word[e]))
			n += judge(t, e);
	}
	return n;
}

static void reclaim(struct table *t)
{
	uint32_t want = t->memory / 64 < BATCH ? t->memory / 64 + 1 : BATCH, n = 0;
	uint64_t patience = (uint64_t)PATIENCE * (t->memory / STEP + 1);

	t->probed = 0;
	while (n < want && patience-- > 0)
		n += sweep(t, policy_choose(t->probed));
	for (uint32_t e = 0; e < t->memory && !n; e++)
		if (t->page[e] != FREE)
			n += evict(t, e);
}

struct outcome run_ours(enum sight sight, const struct trace *trace, uint32_t memory, size_t warm)
{
	struct table *t = table_new(sight, memory, trace->pages);

	if (budget_init((uint64_t)(memory + 1024) << 12) || policy_init(memory))
		die("policy_init");
	for (size_t i = 0; i < trace->n; i++) {
		uint32_t page = trace->page[i], e = t->entry_of[page];

		if (e == FREE) {
			t->o.misses += i >= warm;
			if (!t->nfree)
				reclaim(t);
			e = put_in(t, page);
			t->word[e] = policy_enter(page, false);
			if (t->sight == ACCESSED_BITS)
				t->used[e] = true;
		} else {
			use(t, e, i >= warm);
		}
	}
	policy_exit();
	t->o.accesses = trace->n - warm;
	return table_end(t);
}

/* ---- Second chance ---- */

static void second_chance(struct table *t)
{
	uint32_t want = t->memory / 64 < BATCH ? t->memory / 64 + 1 : BATCH;

	for (uint32_t n = 0; n < want; t->hand++) {
		uint32_t e = t->hand % t->memory;

		t->o.looks++;
		if (t->page[e] == FREE)
			continue;
		if (t->used[e]) {
			t->used[e] = false;
		} else {
			take_out(t, e);
			n++;
		}
	}
}

struct outcome run_second_chance(enum sight sight, const struct trace *trace, uint32_t memory, size_t warm)
{
	struct table *t = table_new(sight, memory, trace->pages);

	for (size_t i = 0; i < trace->n; i++) {
		uint32_t page = trace->page[i], e = t->entry_of[page];

		if (e != FREE) {
			use(t, e, i >= warm);
			continue;
		}
		t->o.misses += i >= warm;
		if (!t->nfree)
			second_chance(t);
		e = put_in(t, page);
		t->used[e] = sight == ACCESSED_BITS;
	}
	t->o.accesses = trace->n - warm;
	return table_end(t);
}
