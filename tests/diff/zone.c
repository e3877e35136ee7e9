/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses belong to a thread: its zone, at the same place in every run, and its slots, wherever the kernel put
 * them. Whatever else is in the process - the program, its libraries, the other threads' zones - must stay out of
 * reach of random ranges, so each range is checked before it is used.
 */
#include "run.h"

#include <sys/mman.h>

#define WINDOW (WINDOW_PAGES * PAGE)
#define TASK_END ((char *)0x7ffffffff000)
#define LOW_END ((char *)0x10000) /* nothing is mapped below: vm.mmap_min_addr */

bool zone_resolve(const struct context *c, int64_t addr, char **out)
{
	int base = addr_base(addr);
	int64_t off = addr_off(addr);

	*out = (char *)off;
	if (base == BASE_ZONE)
		*out = c->zone + off;
	if (base >= BASE_SLOT && base < BASE_SLOT + SLOTS) {
		if ((uint64_t)off >= c->slots[base - BASE_SLOT].len) /* what lies around a slot is not the same in two runs */
			return false;
		*out = c->slots[base - BASE_SLOT].addr + off;
	}
	return true;
}

static bool in_zone(const struct context *c, const char *p, const char *end)
{
	return p >= c->zone - MARGIN && end <= c->zone + WINDOW + MARGIN;
}

static const struct slot *slot_of(const struct context *c, const char *p)
{
	for (int i = 0; i < SLOTS; i++)
		if (c->slots[i].len && p >= c->slots[i].addr && p < c->slots[i].addr + c->slots[i].len)
			return &c->slots[i];
	return NULL;
}

struct slot *zone_slot_of(struct context *c, const char *p)
{
	return (struct slot *)slot_of(c, p);
}

int64_t zone_canonical(const struct context *c, const void *p)
{
	const char *at = p;
	const struct slot *s = slot_of(c, at);

	if (c->absolute)
		return (int64_t)at;
	if (in_zone(c, at, at))
		return addr_make(BASE_ZONE, at - c->zone);
	if (s)
		return addr_make(BASE_SLOT + (int)(s - c->slots), at - s->addr);
	if (at < LOW_END || at >= TASK_END)
		return addr_make(BASE_RAW, (int64_t)at);
	return ADDR_ELSEWHERE;
}

bool zone_contains(const struct context *c, const char *p, size_t len)
{
	const char *end = p + len;
	const struct slot *s = slot_of(c, p);

	if (end < p)
		return false;
	if (c->absolute)
		return true;
	return in_zone(c, p, end) || (s && end <= s->addr + s->len) || end <= LOW_END || p >= TASK_END;
}

bool zone_allows(const struct context *c, const char *p, size_t len)
{
	size_t pages = (len + PAGE - 1) & ~(size_t)(PAGE - 1);

	if (pages < len || p + pages < p)
		return true;
	return zone_contains(c, p, pages);
}
