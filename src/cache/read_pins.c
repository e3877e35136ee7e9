/* SPDX-License-Identifier: Apache-2.0 */
#include "read_pins.h"

#include "address_space.h"
#include "util/arena.h"
#include "util/compiler.h"

struct read_pin {
	struct read_pin *next;
	const struct mmu *mmu;
	uint64_t addr, index;
	uint32_t as;
	enum read_pin_place place;
};

#define LISTS 256 /* as many calls as are under way have a few pages each */

static struct list {
	struct mutex lock;
	struct read_pin *first;
} lists[LISTS];

void read_pins_init(void)
{
	for (struct list *l = lists; l < lists + LISTS; l++) {
		mutex_init(&l->lock, RANK_LEAF);
		l->first = NULL;
	}
}

static struct list *list_of(const struct fault *f)
{
	return &lists[(f->addr >> FL_PAGE_SHIFT) % LISTS];
}

static bool is_at(const struct read_pin *p, const struct fault *f)
{
	return p->addr == f->addr && p->mmu == f->mmu && p->as == f->as->id && p->index == f->index;
}

/* The link to the first of them; to NULL when there is none. Caller holds the list's lock. */
static struct read_pin **find(struct list *l, const struct fault *f)
{
	struct read_pin **link = &l->first;

	while (*link && !is_at(*link, f))
		link = &(*link)->next;
	return link;
}

struct read_pin *read_pin_new(void)
{
	return arena_alloc(address_space_arena(), sizeof(struct read_pin));
}

void read_pin_free(struct read_pin *p)
{
	if (p)
		arena_free(address_space_arena(), p, sizeof *p);
}

void read_pins_add(struct fault *f)
{
	struct list *l = list_of(f);
	struct read_pin *p = f->read_pin;

	f->read_pin = NULL;
	*p = (struct read_pin){.mmu = f->mmu, .addr = f->addr, .index = f->index, .as = f->as->id, .place = READ_PIN_ON_FILE};
	mutex_lock(&l->lock);
	p->next = l->first;
	l->first = p;
	mutex_unlock(&l->lock);
}

/* They stay, so that those who unpin find which page theirs is on. */
uint32_t read_pins_take(const struct fault *f)
{
	struct list *l = list_of(f);
	uint32_t n = 0;

	mutex_lock(&l->lock);
	for (struct read_pin *p = l->first; p; p = p->next)
		if (is_at(p, f) && p->place == READ_PIN_ON_FILE) {
			p->place = READ_PIN_ON_COPY;
			n++;
		}
	mutex_unlock(&l->lock);
	return n;
}

enum read_pin_place read_pins_remove(const struct fault *f)
{
	struct list *l = list_of(f);
	struct read_pin *p, **link;
	enum read_pin_place place;

	mutex_lock(&l->lock);
	link = find(l, f);
	p = *link;
	if (p)
		*link = p->next;
	mutex_unlock(&l->lock);
	place = p ? p->place : READ_PIN_NONE;
	read_pin_free(p);
	return place;
}

bool read_pins_any(const struct fault *f)
{
	struct list *l = list_of(f);
	bool any;

	mutex_lock(&l->lock);
	any = *find(l, f);
	mutex_unlock(&l->lock);
	return any;
}

/* A list is whole at any moment. */
void read_pins_fork_child(void)
{
	struct read_pin *p;

	for (struct list *l = lists; l < lists + LISTS; l++) {
		while ((p = l->first)) {
			l->first = p->next;
			read_pin_free(p);
		}
	}
}
