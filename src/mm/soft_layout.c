/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where mappings go in a soft space, and the heap.
 *
 *   top     task_size    2^bits less a page
 *             |          room for the stack: its limit, the guard gap, a random part
 *           mmap_base    top-down: places are looked for from here downwards, then, when there is none, from legacy_base upwards
 *             |
 *           legacy_base  bottom-up: a third of the space, and a random part; from here upwards
 *             |
 *           brk_start    the heap, upwards
 *   0       min_addr
 *
 * Free ranges are kept in a tree of their own (gaps.c). Guard gaps below stacks are not in it: what is found is looked at once more. Callers
 * hold mmap_lock, but soft_brk(), which calls mmap and munmap, and soft_set_layout(), for a space that nobody knows yet.
 */
#include <errno.h>
#include <sys/mman.h>

#include "soft.h"
#include "util/compiler.h"

#define STACK_GAP_MIN (128UL << 20)
#define BRK_START (4UL << 20)
#define BRK_RANDOM (32UL << 20)
#define WINDOW_BITS 47         /* with five levels, addresses above are given only to who asks for them (Linux, 5-level paging) */
#define LOW_START 0x40000000UL /* MAP_32BIT */
#define LOW_END 0x80000000UL

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x * 0x2545f4914f6cdd1dULL;
}

/* Pages of entropy as Linux has it: 28 bits where there is room, 8 in 32 bits of address. */
static uint64_t random_part(const struct soft_config *c, uint64_t *state)
{
	unsigned bits = c->address_bits >= 47 ? 28 : c->address_bits - 24;

	if (!c->seed)
		return 0;
	return (next_random(state) & ((1ULL << bits) - 1)) * c->page_size;
}

static uint64_t clamp(uint64_t x, uint64_t low, uint64_t high)
{
	return min_u64(max_u64(x, low), high);
}

void soft_set_layout(struct soft_space *s)
{
	const struct soft_config *c = &s->config;
	uint64_t state = c->seed, window = min_u64(s->mm.task_size, (1ULL << WINDOW_BITS) - c->page_size);
	uint64_t top, gap;

	if (c->address_bits <= 48)
		window = s->mm.task_size;
	top = random_part(c, &state);
	gap = clamp(c->stack_limit + c->stack_guard_gap, STACK_GAP_MIN, window / 6 * 5);
	s->mmap_base = mm_align_down(&s->mm, window - gap - top);
	s->legacy_base = mm_align_up(&s->mm, window / 3 + random_part(c, &state));
	s->brk_start = c->brk ? c->brk : max_u64(BRK_START, mm_align_up(&s->mm, c->limits.min_addr));
	if (c->seed)
		s->brk_start += mm_align_down(&s->mm, next_random(&state) % BRK_RANDOM);
	s->brk = s->brk_start;
}

/* Where what ends at `end` must end at most, for the sake of the stack that follows; 0 when it may stay. */
static uint64_t guard_gap_below(struct mm *mm, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, end);
	uint64_t gap = mm->soft->config.stack_guard_gap;

	if (!v || !(v->flags & VM_GROWSDOWN) || v->start - end >= gap)
		return 0;
	return v->start > gap ? v->start - gap : 0;
}

static bool find_up(struct mm *mm, uint64_t len, uint64_t low, uint64_t high, uint64_t *addr)
{
	while (gaps_find_low(&mm->soft->gaps, len, low, high, mm->page_mask + 1, addr)) {
		struct vma *v = vma_find(&mm->index, *addr + len);

		if (!guard_gap_below(mm, *addr + len))
			return true;
		low = v->end;
	}
	return false;
}

static bool find_down(struct mm *mm, uint64_t len, uint64_t low, uint64_t high, uint64_t *addr)
{
	while (gaps_find_high(&mm->soft->gaps, len, low, high, mm->page_mask + 1, addr)) {
		uint64_t below = guard_gap_below(mm, *addr + len);

		if (!below)
			return true;
		high = below;
	}
	return false;
}

/* As vm_unmapped_area() and its callers; x86's way with MAP_32BIT. */
static bool find_place(struct mm *mm, uint64_t len, int flags, uint64_t *addr)
{
	struct soft_space *s = mm->soft;
	uint64_t low = max_u64(mm->limits.min_addr, mm->page_mask + 1);

	if (flags & MAP_32BIT)
		return find_up(mm, len, LOW_START, min_u64(LOW_END, mm->task_size), addr);
	if (s->config.bottom_up)
		return find_up(mm, len, s->legacy_base, mm->task_size, addr);
	return find_down(mm, len, low, s->mmap_base, addr) || find_up(mm, len, s->legacy_base, mm->task_size, addr);
}

/* A hint is taken when nothing is there, and no stack close above. */
static bool take_hint(struct mm *mm, uint64_t hint, uint64_t len, int flags, uint64_t *addr)
{
	uint64_t at = mm_align_down(mm, hint), end = flags & MAP_32BIT ? min_u64(LOW_END, mm->task_size) : mm->task_size;

	if (at) /* round_hint_to_min() of Linux */
		at = max_u64(at, mm_align_up(mm, mm->limits.min_addr));
	if (!at || len > end || at > end - len)
		return false;
	if (!gaps_is_free(&mm->soft->gaps, at, at + len) || guard_gap_below(mm, at + len))
		return false;
	*addr = at;
	return true;
}

/* Above the window only for who asks for it. */
static bool find_high(struct mm *mm, uint64_t hint, uint64_t len, uint64_t *addr)
{
	if (mm->soft->config.address_bits <= 48 || hint < 1ULL << WINDOW_BITS)
		return false;
	return find_down(mm, len, 1ULL << WINDOW_BITS, mm->task_size, addr);
}

int soft_get_unmapped_area(struct mm *mm, uint64_t hint, uint64_t len, int flags, uint64_t *addr)
{
	if (take_hint(mm, hint, len, flags, addr) || (!(flags & MAP_32BIT) && find_high(mm, hint, len, addr)) ||
	    find_place(mm, len, flags, addr))
		return 0;
	return -ENOMEM;
}

/* ---- brk ---- */

/* Caller holds no lock. As brk(2): the pages up to `end`, or none. */
static bool grow_heap(struct mm *mm, uint64_t from, uint64_t to)
{
	struct mmap_request rq = {.addr = from,
				  .len = to - from,
				  .prot = PROT_READ | PROT_WRITE,
				  .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
				  .fd = -1};
	uint64_t out;

	return !mm_mmap(mm, &rq, &out);
}

static bool close_to_stack(struct mm *mm, uint64_t end)
{
	bool close;

	mutex_lock(&mm->mmap_lock);
	close = guard_gap_below(mm, end);
	mutex_unlock(&mm->mmap_lock);
	return close;
}

static bool move_break(struct mm *mm, uint64_t end)
{
	struct soft_space *s = mm->soft;
	uint64_t from = mm_align_up(mm, s->brk), to = mm_align_up(mm, end);

	if (end < s->brk_start || end > mm->task_size || to < end)
		return false;
	if (mm->limits.data != UINT64_MAX && end - s->brk_start > mm->limits.data)
		return false;
	if (to > from)
		return !close_to_stack(mm, to) && grow_heap(mm, from, to);
	return to == from || !mm_munmap(mm, to, from - to, false);
}

uint64_t soft_brk(struct mm *mm, uint64_t end)
{
	if (end && move_break(mm, end))
		mm->soft->brk = end;
	return mm->soft->brk;
}
