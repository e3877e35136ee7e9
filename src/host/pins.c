/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

#include <errno.h>

#include "cache/reclaim.h"
#include "util/arena.h"
#include "util/compiler.h"

struct pin {
	struct pin *next;
	struct handle *file; /* with a reference */
	uint64_t index;
	uint32_t count;
};

static struct pin **bucket_of(struct session *s, const struct handle *h, uint64_t index)
{
	return &s->pins[(((uintptr_t)h >> 5) * 31 + index) % PIN_BUCKETS];
}

/* Caller holds session.lock. Where the pointer to it is, or would be. */
static struct pin **find(struct session *s, const struct handle *h, uint64_t index)
{
	struct pin **p = bucket_of(s, h, index);

	while (*p && ((*p)->file != h || (*p)->index != index))
		p = &(*p)->next;
	return p;
}

static void free_pin(struct pin *p)
{
	struct handle *h = p->file;

	arena_free(address_space_arena(), p, sizeof *p);
	handle_put(h);
}

static void unpin(const struct handle *h, uint64_t index, uint32_t count)
{
	struct fault f = {.as = h->as, .index = index};

	while (count--)
		filemap_unpin(&f);
}

static _Atomic uint32_t *shown; /* whether there are many, for the clients */

void pins_show_at(_Atomic uint32_t *many)
{
	shown = many;
}

static void show(void)
{
	bool many = filemap_pins_are_many();

	if (atomic_load_explicit(shown, memory_order_relaxed) != many)
		atomic_store(shown, many);
}

/* Counts one more; `fresh` becomes the entry when there is none yet. Whether it did. */
static bool remember(struct session *s, struct handle *h, uint64_t index, struct pin *fresh)
{
	struct pin **p;
	bool used;

	write_lock(&s->lock);
	p = find(s, h, index);
	used = !*p;
	if (used)
		*p = fresh;
	(*p)->count++;
	write_unlock(&s->lock);
	return used;
}

/* The memory is had first: what is pinned must be remembered. */
int pins_add(struct session *s, struct handle *h, struct fault *f)
{
	struct pin *fresh;
	int err;

	metadata_refill();
	fresh = arena_alloc(address_space_arena(), sizeof *fresh);
	if (!fresh)
		return -ENOMEM;
	*fresh = (struct pin){.file = handle_get(h), .index = f->index};
	err = filemap_pin(f);
	if (err || !remember(s, h, f->index, fresh))
		free_pin(fresh);
	show();
	return err;
}

int pins_drop(struct session *s, struct handle *h, uint64_t index)
{
	struct pin **p, *gone = NULL;
	bool found;

	write_lock(&s->lock);
	p = find(s, h, index);
	found = *p;
	if (found && --(*p)->count == 0) {
		gone = *p;
		*p = gone->next;
	}
	write_unlock(&s->lock);
	if (found)
		unpin(h, index, 1);
	if (gone)
		free_pin(gone);
	show();
	return found ? 0 : -EINVAL;
}

/* Takes the pins of a bucket out of it. */
static struct pin *take_bucket(struct session *s, uint32_t bucket, const struct handle *h)
{
	struct pin *taken = NULL;

	write_lock(&s->lock);
	for (struct pin **p = &s->pins[bucket]; *p;) {
		struct pin *one = *p;

		if (h && one->file != h) {
			p = &one->next;
			continue;
		}
		*p = one->next;
		one->next = taken;
		taken = one;
	}
	write_unlock(&s->lock);
	return taken;
}

void pins_drop_all(struct session *s, const struct handle *h)
{
	for (uint32_t i = 0; i < PIN_BUCKETS; i++)
		for (struct pin *p = take_bucket(s, i, h), *next; p; p = next) {
			next = p->next;
			unpin(p->file, p->index, p->count);
			free_pin(p);
		}
	show();
}
