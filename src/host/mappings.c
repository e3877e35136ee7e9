/* SPDX-License-Identifier: Apache-2.0 */
#include "mappings.h"

#include <errno.h>

#include "cache/filemap.h"
#include "cache/reclaim.h"
#include "util/compiler.h"

/*
 * A change of a range first makes sure of what it may need - two parts more, and their places in the table - and then cannot fail. What goes is
 * collected, and given up when session.lock is released: with its last mapping a file is written back.
 */
#define PARTS 3

struct change {
	struct session *s;
	struct client_range range;
	struct mapping *spare[PARTS];
	struct mapping *gone;
};

static uint64_t end_of(const struct client_range *r)
{
	return r->addr + (r->pages << FL_PAGE_SHIFT);
}

static uint64_t map_end(const struct mapping *m)
{
	return m->rmap.addr + (m->rmap.pages << FL_PAGE_SHIFT);
}

static struct mapping *map_at(const struct session *s, uint32_t i)
{
	return i < s->maps.n ? s->maps.at[i] : NULL;
}

/* The first mapping of the mmu, or of a later one, that ends behind addr. */
static uint32_t find(const struct session *s, uint32_t mmu, uint64_t addr)
{
	uint32_t low = 0, high = s->maps.n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct mapping *m = map_at(s, mid);

		if (m->mmu < mmu || (m->mmu == mmu && map_end(m) <= addr))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool overlaps(const struct mapping *m, const struct client_range *r)
{
	return m && m->mmu == r->mmu && m->rmap.addr < end_of(r) && map_end(m) > r->addr;
}

/* ---- Begin and end of a change ---- */

static void drop_spare(struct change *c)
{
	for (int i = 0; i < PARTS; i++)
		if (c->spare[i])
			arena_free(address_space_arena(), c->spare[i], sizeof *c->spare[i]);
}

static struct mapping *take_spare(struct change *c)
{
	struct mapping *m = NULL;

	for (int i = 0; i < PARTS && !m; i++) {
		m = c->spare[i];
		c->spare[i] = NULL;
	}
	fl_assert(m);
	return m;
}

static int begin(struct change *c)
{
	int err = 0;

	metadata_refill();
	for (int i = 0; i < PARTS && !err; i++) {
		c->spare[i] = arena_alloc(address_space_arena(), sizeof *c->spare[i]);
		if (!c->spare[i])
			err = -ENOMEM;
	}
	write_lock(&c->s->lock);
	if (!err)
		err = table_reserve(&c->s->maps, PARTS);
	return session_has_mmu(c->s, c->range.mmu) ? err : -EINVAL;
}

static void put_gone(struct mapping *gone)
{
	while (gone) {
		struct mapping *next = gone->next_gone;

		handle_put(gone->file);
		arena_free(address_space_arena(), gone, sizeof *gone);
		gone = next;
	}
}

static int end(struct change *c, int err)
{
	write_unlock(&c->s->lock);
	drop_spare(c);
	put_gone(c->gone);
	return err;
}

/* ---- The parts of it; session.lock and rmap_lock are held for writing ---- */

/* The part of the mapping from addr on becomes one of its own, behind it in the table. */
static void split(struct change *c, uint32_t i, uint64_t addr)
{
	struct mapping *m = map_at(c->s, i), *tail = take_spare(c);
	uint64_t head = (addr - m->rmap.addr) >> FL_PAGE_SHIFT;

	*tail = (struct mapping){.rmap = m->rmap, .file = handle_get(m->file), .mmu = m->mmu};
	tail->rmap.link = NULL;
	tail->rmap.addr = addr;
	tail->rmap.pgoff += head;
	tail->rmap.pages -= head;
	m->rmap.pages = head;
	rmap_add(tail->file->as, &tail->rmap);
	table_insert(&c->s->maps, i + 1, tail);
}

/* Mappings begin and end where the range does; the first in it. */
static uint32_t split_at_ends(struct change *c)
{
	uint32_t i = find(c->s, c->range.mmu, c->range.addr), last;
	struct mapping *m = map_at(c->s, i);

	if (overlaps(m, &c->range) && m->rmap.addr < c->range.addr)
		split(c, i++, c->range.addr);
	last = find(c->s, c->range.mmu, end_of(&c->range) - 1);
	m = map_at(c->s, last);
	if (overlaps(m, &c->range) && map_end(m) > end_of(&c->range))
		split(c, last, end_of(&c->range));
	return i;
}

static void unlink_one(struct mapping *m, struct mapping **gone)
{
	rmap_del(m->file->as, &m->rmap);
	if (m->rmap.locked)
		filemap_uncharge_locked(m->rmap.pages);
	m->next_gone = *gone;
	*gone = m;
}

static uint32_t remove_range(struct change *c)
{
	uint32_t i = split_at_ends(c), n = 0;

	while (overlaps(map_at(c->s, i + n), &c->range))
		unlink_one(map_at(c->s, i + n++), &c->gone);
	table_remove(&c->s->maps, i, n);
	return i;
}

/* ---- What clients ask for ---- */

static void insert(struct change *c, uint32_t i, struct handle *file, uint64_t pgoff, bool locked)
{
	struct mapping *m = take_spare(c);

	m->file = handle_get(file);
	m->mmu = c->range.mmu;
	m->rmap = (struct rmap){.mmu = &c->s->mmu[m->mmu]->uffd.mmu, .addr = c->range.addr, .pgoff = pgoff, .pages = c->range.pages};
	m->rmap.shared = true;
	m->rmap.locked = locked;
	rmap_add(file->as, &m->rmap);
	table_insert(&c->s->maps, i, m);
}

int mappings_add(struct session *s, struct handle *file, const struct client_range *r, uint64_t pgoff, bool locked)
{
	struct change c = {.s = s, .range = *r};
	int err = begin(&c);

	if (!err && locked && !filemap_charge_locked(r->pages))
		err = -ENOMEM;
	if (!err) {
		write_lock(&rmap_lock);
		insert(&c, remove_range(&c), file, pgoff, locked);
		write_unlock(&rmap_lock);
	}
	return end(&c, err);
}

/* Whether a mapping goes on on both sides of an end of the range. */
static bool is_split_by(const struct session *s, const struct client_range *r)
{
	const struct mapping *first = map_at(s, find(s, r->mmu, r->addr)), *last = map_at(s, find(s, r->mmu, end_of(r) - 1));

	return (overlaps(first, r) && first->rmap.addr < r->addr) || (overlaps(last, r) && map_end(last) > end_of(r));
}

int mappings_remove(struct session *s, const struct client_range *r)
{
	struct change c = {.s = s, .range = *r};
	int err = begin(&c);

	if (err == -ENOMEM && !is_split_by(s, r)) /* nothing is needed for it */
		err = 0;

	if (!err) {
		write_lock(&rmap_lock);
		remove_range(&c);
		write_unlock(&rmap_lock);
	}
	return end(&c, err);
}

/* Pages of the range whose lock would change. */
static uint64_t count_other(const struct session *s, const struct client_range *r, bool locked)
{
	uint64_t n = 0;

	for (uint32_t i = find(s, r->mmu, r->addr); overlaps(map_at(s, i), r); i++) {
		const struct mapping *m = map_at(s, i);

		if (m->rmap.locked != locked)
			n += (min_u64(map_end(m), end_of(r)) - max_u64(m->rmap.addr, r->addr)) >> FL_PAGE_SHIFT;
	}
	return n;
}

/* What it has of the locked flag is counted per file. */
static void set_locked(struct mapping *m, bool locked)
{
	rmap_del(m->file->as, &m->rmap);
	m->rmap.locked = locked;
	rmap_add(m->file->as, &m->rmap);
}

static void lock_range(struct change *c, bool locked)
{
	write_lock(&rmap_lock);
	for (uint32_t i = split_at_ends(c); overlaps(map_at(c->s, i), &c->range); i++)
		set_locked(map_at(c->s, i), locked);
	write_unlock(&rmap_lock);
}

int mappings_lock(struct session *s, const struct client_range *r, bool locked)
{
	struct change c = {.s = s, .range = *r};
	int err = begin(&c);
	uint64_t n = err ? 0 : count_other(s, r, locked);

	if (n && locked && !filemap_charge_locked(n))
		err = -ENOMEM;
	if (n && !err)
		lock_range(&c, locked);
	if (n && !locked)
		filemap_uncharge_locked(n);
	return end(&c, err);
}

bool mappings_find(struct session *s, const struct handle *file, uint32_t mmu, uint64_t addr, uint64_t index, uint64_t *room,
		   uint64_t *before)
{
	const struct mapping *m;
	bool found;

	read_lock(&s->lock);
	m = map_at(s, find(s, mmu, addr));
	found = m && m->mmu == mmu && m->rmap.addr <= addr && m->file->as == file->as;
	if (found) {
		*before = (addr - m->rmap.addr) >> FL_PAGE_SHIFT;
		*room = m->rmap.pages - *before;
		found = index == m->rmap.pgoff + *before;
	}
	read_unlock(&s->lock);
	return found;
}

/* Nobody else changes the table: of a session that has ended, or with those of one mmu. */
static void remove_where(struct session *s, bool all, uint32_t mmu)
{
	struct mapping *gone = NULL;
	uint32_t first, n = 0;

	write_lock(&s->lock);
	first = all ? 0 : find(s, mmu, 0);
	write_lock(&rmap_lock);
	while (map_at(s, first + n) && (all || map_at(s, first + n)->mmu == mmu))
		unlink_one(map_at(s, first + n++), &gone);
	write_unlock(&rmap_lock);
	table_remove(&s->maps, first, n);
	write_unlock(&s->lock);
	put_gone(gone);
}

void mappings_remove_all(struct session *s)
{
	remove_where(s, true, 0);
}

void mappings_remove_mmu(struct session *s, uint32_t mmu)
{
	remove_where(s, false, mmu);
}
