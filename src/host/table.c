/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <string.h>

#include "cache/budget.h"
#include "cache/reclaim.h"
#include "util/compiler.h"

#define TRIES 16

static uint64_t bytes_of(uint32_t room)
{
	return page_align_up((uint64_t)room * sizeof(void *));
}

/* The budget is full of pages as a rule, so some of them have to leave. */
static void *map_memory(uint64_t bytes)
{
	void *p = budget_map(bytes);

	for (int i = 0; !p && i < TRIES && reclaim_pages((uint32_t)(bytes >> FL_PAGE_SHIFT)); i++)
		p = budget_map(bytes);
	return p;
}

int table_reserve(struct table *t, uint32_t more)
{
	uint32_t room = t->room ? t->room : FL_PAGE_SIZE / sizeof(void *);
	void **at;

	if (t->room - t->n >= more)
		return 0;
	while (room - t->n < more || room == t->room)
		room *= 2;
	at = map_memory(bytes_of(room));
	if (!at)
		return -ENOMEM;
	if (t->n)
		memcpy(at, t->at, t->n * sizeof *at);
	budget_unmap(t->at, bytes_of(t->room));
	t->at = at;
	t->room = room;
	return 0;
}

void table_insert(struct table *t, uint32_t i, void *p)
{
	fl_assert(t->n < t->room && i <= t->n);
	memmove(t->at + i + 1, t->at + i, (t->n - i) * sizeof *t->at);
	t->at[i] = p;
	t->n++;
}

void table_remove(struct table *t, uint32_t i, uint32_t n)
{
	fl_assert(n <= t->n && i <= t->n - n);
	if (!n)
		return;
	memmove(t->at + i, t->at + i + n, (t->n - i - n) * sizeof *t->at);
	t->n -= n;
}

void table_free(struct table *t)
{
	budget_unmap(t->at, bytes_of(t->room));
	*t = (struct table){0};
}
