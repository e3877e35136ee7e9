/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Textbook policies, for policy_sim to compare with: FIFO, CLOCK (second chance), LRU, ARC (Megiddo and Modha 2003), S3-FIFO (Yang and
 * others 2023), and Belady's optimum. All of them see every use.
 *
 * Pages are small numbers, so a cache is an array of nodes, one for each page; lists go through them, each with a head behind the pages.
 */
#include <stdio.h>
#include <stdlib.h>

#include "policy_sim.h"

#define LISTS 4

struct node {
	uint32_t prev, next;
	uint8_t list; /* LISTS: in none */
	uint8_t freq;
};

struct cache {
	struct node *node; /* pages, then the heads of lists */
	uint32_t pages, memory;
	uint32_t len[LISTS];
	double target; /* ARC */
};

static void *cache_create(uint32_t memory, uint32_t pages)
{
	struct cache *c = must_alloc(1, sizeof *c);

	c->node = must_alloc(pages + LISTS, sizeof *c->node);
	c->pages = pages;
	c->memory = memory;
	for (uint32_t p = 0; p < pages; p++)
		c->node[p].list = LISTS;
	for (uint32_t l = 0; l < LISTS; l++)
		c->node[pages + l] = (struct node){.prev = pages + l, .next = pages + l};
	return c;
}

static void cache_free(struct cache *c)
{
	free(c->node);
	free(c);
}

static void unlink_page(struct cache *c, uint32_t p)
{
	struct node *n = &c->node[p];

	c->node[n->prev].next = n->next;
	c->node[n->next].prev = n->prev;
	c->len[n->list]--;
	n->list = LISTS;
}

/* At the front of list `l`, from whichever it is in. */
static void push(struct cache *c, uint32_t p, uint8_t l)
{
	struct node *n = &c->node[p];
	uint32_t head = c->pages + l;

	if (n->list != LISTS)
		unlink_page(c, p);
	*n = (struct node){.prev = head, .next = c->node[head].next, .list = l, .freq = n->freq};
	c->node[n->next].prev = p;
	c->node[head].next = p;
	c->len[l]++;
}

/* The list is not empty. */
static uint32_t last_of(const struct cache *c, uint8_t l)
{
	return c->node[c->pages + l].prev;
}

/* ---- FIFO, LRU, CLOCK: one list ---- */

static bool fifo_use(void *cache, uint32_t p)
{
	struct cache *c = cache;

	if (c->node[p].list == 0)
		return true;
	if (c->len[0] == c->memory)
		unlink_page(c, last_of(c, 0));
	push(c, p, 0);
	return false;
}

static bool lru_use(void *cache, uint32_t p)
{
	struct cache *c = cache;
	bool hit = c->node[p].list == 0;

	if (!hit && c->len[0] == c->memory)
		unlink_page(c, last_of(c, 0));
	push(c, p, 0);
	return hit;
}

static bool clock_use(void *cache, uint32_t p)
{
	struct cache *c = cache;

	if (c->node[p].list == 0) {
		c->node[p].freq = 1;
		return true;
	}
	if (c->len[0] == c->memory) {
		uint32_t at;

		while (c->node[at = last_of(c, 0)].freq) {
			c->node[at].freq = 0;
			push(c, at, 0);
		}
		unlink_page(c, at);
	}
	c->node[p].freq = 0;
	push(c, p, 0);
	return false;
}

/* ---- ARC ---- */

enum {
	T1,
	T2,
	B1,
	B2,
};

static void arc_replace(struct cache *c, bool in_b2)
{
	if (c->len[T1] && (c->len[T1] > c->target || (in_b2 && c->len[T1] == c->target) || !c->len[T2]))
		push(c, last_of(c, T1), B1);
	else
		push(c, last_of(c, T2), B2);
}

static void arc_make_room(struct cache *c)
{
	uint32_t l1 = c->len[T1] + c->len[B1], all = l1 + c->len[T2] + c->len[B2];

	if (l1 == c->memory) {
		if (c->len[T1] < c->memory) {
			unlink_page(c, last_of(c, B1));
			arc_replace(c, false);
		} else {
			unlink_page(c, last_of(c, T1));
		}
	} else if (all >= c->memory) {
		if (all == 2 * c->memory)
			unlink_page(c, last_of(c, B2));
		arc_replace(c, false);
	}
}

static void arc_adapt(struct cache *c, bool in_b2)
{
	double b1 = c->len[B1], b2 = c->len[B2];

	if (in_b2)
		c->target -= b1 > b2 ? b1 / b2 : 1;
	else
		c->target += b2 > b1 ? b2 / b1 : 1;
	c->target = c->target < 0 ? 0 : c->target > c->memory ? c->memory : c->target;
}

static bool arc_use(void *cache, uint32_t p)
{
	struct cache *c = cache;
	uint8_t in = c->node[p].list;

	if (in == B1 || in == B2) {
		arc_adapt(c, in == B2);
		if (c->len[T1] + c->len[T2] >= c->memory)
			arc_replace(c, in == B2);
	} else if (in == LISTS) {
		arc_make_room(c);
	}
	push(c, p, in == LISTS ? T1 : T2);
	return in == T1 || in == T2;
}

/* ---- S3-FIFO ---- */

enum {
	SMALL,
	MAIN,
	GHOST,
};

static void s3_evict_main(struct cache *c)
{
	uint32_t p;

	while (c->node[p = last_of(c, MAIN)].freq) {
		c->node[p].freq--;
		push(c, p, MAIN);
	}
	unlink_page(c, p);
}

static void s3_evict_small(struct cache *c)
{
	while (c->len[SMALL]) {
		uint32_t p = last_of(c, SMALL);
		bool main = c->node[p].freq > 1;

		push(c, p, main ? MAIN : GHOST);
		if (!main)
			return;
		c->node[p].freq = 0;
	}
}

static bool s3_use(void *cache, uint32_t p)
{
	struct cache *c = cache;
	struct node *n = &c->node[p];
	uint32_t small = c->memory / 10 ? c->memory / 10 : 1;

	if (n->list == SMALL || n->list == MAIN) {
		n->freq += n->freq < 3;
		return true;
	}
	while (c->len[SMALL] + c->len[MAIN] >= c->memory)
		if (c->len[SMALL] >= small || !c->len[MAIN])
			s3_evict_small(c);
		else
			s3_evict_main(c);
	n->freq = 0;
	push(c, p, n->list == GHOST ? MAIN : SMALL);
	while (c->len[GHOST] > c->memory - small)
		unlink_page(c, last_of(c, GHOST));
	return false;
}

const struct rival rivals[] = {
	{"FIFO", cache_create, fifo_use}, {"CLOCK", cache_create, clock_use}, {"LRU", cache_create, lru_use},
	{"ARC", cache_create, arc_use},   {"S3-FIFO", cache_create, s3_use},
};
const size_t nrivals = sizeof rivals / sizeof *rivals;

struct outcome run_rival(const struct rival *r, const struct trace *t, uint32_t memory, size_t warm)
{
	struct cache *c = r->create(memory, t->pages);
	struct outcome o = {.accesses = t->n - warm};

	for (size_t i = 0; i < t->n; i++)
		o.misses += !r->use(c, t->page[i]) && i >= warm;
	cache_free(c);
	return o;
}

/* ---- Belady: a heap of the pages in memory by their next use; entries that a later use has made wrong are passed over ---- */

struct heap {
	uint64_t *at; /* next use << 32 | page */
	size_t n;
};

static void heap_add(struct heap *h, uint64_t x)
{
	size_t i = h->n++;

	for (; i && h->at[(i - 1) / 2] < x; i = (i - 1) / 2)
		h->at[i] = h->at[(i - 1) / 2];
	h->at[i] = x;
}

static uint64_t heap_take(struct heap *h)
{
	uint64_t top = h->at[0], x = h->at[--h->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < h->n) {
		if (child + 1 < h->n && h->at[child + 1] > h->at[child])
			child++;
		if (h->at[child] <= x)
			break;
		h->at[i] = h->at[child];
		i = child;
	}
	h->at[i] = x;
	return top;
}

/* When each page is used next after this; never: UINT32_MAX. */
static uint32_t *next_uses(const struct trace *t)
{
	uint32_t *next = must_alloc(t->n, sizeof *next), *seen = must_alloc(t->pages, sizeof *seen);

	for (uint32_t p = 0; p < t->pages; p++)
		seen[p] = UINT32_MAX;
	for (size_t i = t->n; i-- > 0; seen[t->page[i]] = (uint32_t)i)
		next[i] = seen[t->page[i]];
	free(seen);
	return next;
}

struct outcome optimum(const struct trace *t, uint32_t memory, size_t warm)
{
	uint32_t *next = next_uses(t), *due = must_alloc(t->pages, sizeof *due), in_memory = 0; /* due: 0: not in memory */
	struct heap h = {.at = must_alloc(t->n + 1, sizeof *h.at)};
	struct outcome o = {.accesses = t->n - warm};

	for (size_t i = 0; i < t->n; i++) {
		uint32_t p = t->page[i];

		if (!due[p]) {
			o.misses += i >= warm;
			if (in_memory == memory) {
				uint64_t x;

				do
					x = heap_take(&h);
				while (due[(uint32_t)x] != x >> 32);
				due[(uint32_t)x] = 0;
			} else {
				in_memory++;
			}
		}
		due[p] = next[i];
		heap_add(&h, (uint64_t)next[i] << 32 | p);
	}
	free(next);
	free(due);
	free(h.at);
	return o;
}
