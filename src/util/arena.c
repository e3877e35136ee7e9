/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <string.h>
#include <sys/mman.h>

#include "compiler.h"

/* Size classes: two to each power of two, so that at most a third of an object is waste. */
static const uint16_t class_size[ARENA_CLASSES] = {32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096};

static int class_of(size_t size)
{
	int c = 0;

	fl_assert(size <= ARENA_MAX_OBJECT);
	while (class_size[c] < size)
		c++;
	return c;
}

int arena_init(struct arena *a, size_t reserve, bool (*charge)(uint64_t pages))
{
	void *p = sys_mmap(NULL, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_err(p))
		return sys_err(p);
	sys_madvise(p, reserve, MADV_NOHUGEPAGE);
	*a = (struct arena){.lock = MUTEX_INIT(RANK_ARENA), .base = p, .reserved = reserve, .charge = charge};
	return 0;
}

void arena_exit(struct arena *a)
{
	if (a->base)
		sys_munmap(a->base, a->reserved);
	memset(a, 0, sizeof *a);
}

/* Takes one more page for a class. Caller holds a->lock. */
static bool class_grow(struct arena *a, int c)
{
	if (a->used + FL_PAGE_SIZE > a->reserved || !a->charge(1))
		return false;
	a->bump[c] = a->base + a->used;
	a->used += FL_PAGE_SIZE;
	return true;
}

/* Whether what is left of the page at bump[c] holds one more object; bump is NULL or on a page boundary when it does not. */
static bool class_has_room(struct arena *a, int c)
{
	uintptr_t at = (uintptr_t)a->bump[c];

	return at && (at & FL_PAGE_MASK) + class_size[c] <= FL_PAGE_SIZE;
}

static void class_advance(struct arena *a, int c)
{
	char *next = a->bump[c] + class_size[c];
	size_t in_page = (uintptr_t)next & FL_PAGE_MASK;

	a->bump[c] = in_page == 0 || in_page + class_size[c] > FL_PAGE_SIZE ? NULL : next;
}

void *arena_alloc(struct arena *a, size_t size)
{
	int c = class_of(size);
	void *p = NULL;

	mutex_lock(&a->lock);
	if (a->free[c]) {
		p = a->free[c];
		a->free[c] = a->free[c]->next;
	} else if (class_has_room(a, c) || class_grow(a, c)) {
		p = a->bump[c];
		class_advance(a, c);
	}
	mutex_unlock(&a->lock);
	if (p)
		memset(p, 0, class_size[c]);
	return p;
}

void arena_free(struct arena *a, void *p, size_t size)
{
	struct arena_free *f = p;
	int c = class_of(size);

	if (!p)
		return;
	mutex_lock(&a->lock);
	f->next = a->free[c];
	a->free[c] = f;
	mutex_unlock(&a->lock);
}

void arena_fork_prepare(struct arena *a)
{
	mutex_lock(&a->lock);
}

void arena_fork_done(struct arena *a)
{
	mutex_unlock(&a->lock);
}

size_t arena_used(struct arena *a)
{
	return a->used;
}
