/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <string.h>
#include <sys/mman.h>

#include "compiler.h"
#include "own.h"

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

/* Address space that begins on a block's boundary; or an error. */
static char *reserve_blocks(size_t len)
{
	char *p = own_reserve(len + ARENA_BLOCK);
	size_t before = -(uintptr_t)p & (ARENA_BLOCK - 1);

	if (sys_is_err(p))
		return p;
	if (before)
		sys_munmap(p, before);
	sys_munmap(p + before + len, ARENA_BLOCK - before);
	sys_madvise(p + before, len, MADV_NOHUGEPAGE);
	return p + before;
}

int arena_init(struct arena *a, size_t reserve, bool (*charge)(uint64_t pages), bool (*charge_ahead)(uint64_t pages))
{
	size_t len = page_align_up(reserve);
	char *p = reserve_blocks(len);

	if (sys_is_err(p))
		return sys_err(p);
	*a = (struct arena){.lock = MUTEX_INIT(RANK_ARENA), .base = p, .reserved = len, .charge = charge, .charge_ahead = charge_ahead};
	return 0;
}

void arena_exit(struct arena *a)
{
	if (a->base)
		sys_munmap(a->base, a->reserved);
	memset(a, 0, sizeof *a);
}

/* Pays for the next block, on whose boundary `used` is, and has it on a huge page if the kernel has one. */
static bool grow_block(struct arena *a)
{
	if (a->used < ARENA_BLOCKS_FROM || a->used % ARENA_BLOCK || a->used + ARENA_BLOCK > a->reserved)
		return false;
	if (!a->charge_ahead(ARENA_BLOCK >> FL_PAGE_SHIFT))
		return false;
	sys_madvise(a->base + a->used, ARENA_BLOCK, MADV_HUGEPAGE);
	a->used += ARENA_BLOCK;
	return true;
}

static bool grow_page(struct arena *a)
{
	if (a->used + FL_PAGE_SIZE > a->reserved || !a->charge(1))
		return false;
	a->used += FL_PAGE_SIZE;
	return true;
}

/* Takes one more page for a class. Caller holds a->lock. */
static bool class_grow(struct arena *a, int c)
{
	if (a->carved == a->used && !grow_block(a) && !grow_page(a))
		return false;
	a->bump[c] = a->base + a->carved;
	a->carved += FL_PAGE_SIZE;
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

void *arena_alloc_raw(struct arena *a, size_t size)
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
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	void *p = arena_alloc_raw(a, size);

	if (p)
		memset(p, 0, class_size[class_of(size)]);
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
