/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *   - An entry of a page table shows a page only while the page is in the table of pages and not EVICTING: who takes a page out
 *     holds its lock, has changed every entry that showed it, and has flushed the TLBs.
 *   - The memory of a page that is out is given back before its place can be used again (page_remove).
 *   - The number of references of a slot is the number of entries that show its page or stand for it in swap, all spaces
 *     together. It grows only under the page's lock, or while the entry cannot change (fork holds the VMA and rmap_lock).
 *   - A pinned page that loses its file or slot becomes an orphan: a key of its own, no mapping, until the last pin goes.
 */
#include "ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "budget.h"
#include "filemap.h"
#include "frames.h"
#include "io.h"
#include "ram_rmap.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "util/own.h"
#include "util/sys.h"

#define SLOTS_MAX (1u << 26)
#define SLOTS_PER_PAGE (FL_PAGE_SIZE / sizeof(struct slot))

struct slot {
	_Atomic uint32_t refs;
	uint32_t family;        /* constant while in use: address_space_handle() */
	_Atomic uint64_t index; /* the same: page of the family; of a free slot, the next free one. | SWAPPED, under the page's lock */
};

#define SWAPPED (1ULL << 63) /* its bytes have been in swap, and may be there still */

static struct {
	char *memory;
	uint64_t frames;
	void *zero;
	struct address_space *object;
	struct slot *slots;
	struct mutex lock;
	uint32_t high; /* lock: slots from here on were never used; 0 is none */
	uint32_t free; /* lock */
	_Atomic uint64_t in_use;
} ram = {.lock = MUTEX_INIT(RANK_LEAF)};

static void *reserve(uint64_t bytes)
{
	void *p = own_reserve(bytes);

	if (sys_is_err(p))
		return NULL;
	sys_madvise(p, bytes, MADV_NOHUGEPAGE);
	sys_madvise(p, bytes, MADV_DONTFORK);
	return p;
}

int ram_init(void)
{
	uint64_t frames = page_table_frames();
	int err;

	if (ram.memory)
		return 0;
	ram.memory = reserve((frames + 1) << FL_PAGE_SHIFT);
	ram.slots = reserve(SLOTS_MAX * sizeof(struct slot));
	if (!ram.memory || !ram.slots) {
		ram_exit();
		return -ENOMEM;
	}
	ram.frames = frames;
	ram.zero = ram.memory + (frames << FL_PAGE_SHIFT);
	ram.high = 1;
	ram.free = 0;
	err = address_space_new_slots(&slot_frames, (uint64_t)SLOTS_MAX << FL_PAGE_SHIFT, &ram.object);
	if (err)
		ram_exit();
	return err;
}

void ram_exit(void)
{
	if (ram.memory)
		sys_munmap(ram.memory, (ram.frames + 1) << FL_PAGE_SHIFT);
	if (ram.slots)
		sys_munmap(ram.slots, SLOTS_MAX * sizeof(struct slot));
	if (ram.high > 1)
		budget_release_metadata((ram.high - 1) / SLOTS_PER_PAGE + 1);
	if (ram.object)
		address_space_put_anon(ram.object);
	ram.memory = NULL;
	ram.slots = NULL;
	ram.object = NULL;
	ram.high = 0;
	atomic_store(&ram.in_use, 0);
}

void ram_fork_child(void)
{
	mutex_init(&ram.lock, RANK_LEAF);
	ram.memory = NULL;
	ram.slots = NULL;
	ram.object = NULL;
	ram.high = 0;
	atomic_store(&ram.in_use, 0);
}

bool ram_in_use(void)
{
	return ram.memory;
}

void *page_address(pfn_t pfn)
{
	return ram.memory + ((uint64_t)pfn << FL_PAGE_SHIFT);
}

pfn_t ram_page(const void *host)
{
	uint64_t off = (uint64_t)((const char *)host - ram.memory);

	return off < ram.frames << FL_PAGE_SHIFT ? (pfn_t)(off >> FL_PAGE_SHIFT) : PFN_NONE;
}

void *ram_zero_page(void)
{
	return ram.zero;
}

bool as_is_ram(const struct address_space *as)
{
	return atomic_load_explicit(&as->frames, memory_order_relaxed) == &ram_frames;
}

bool as_is_slots(const struct address_space *as)
{
	return atomic_load_explicit(&as->frames, memory_order_relaxed) == &slot_frames;
}

struct address_space *slots_object(void)
{
	return ram.object;
}

int family_new(struct address_space *file, struct address_space **out)
{
	return address_space_new_family(file, out);
}

/* ---- Slots ---- */

/* A page of the array is paid for with its first slot. Caller holds the lock. */
static uint32_t take_fresh(void)
{
	uint32_t n = ram.high;

	if (n == SLOTS_MAX)
		return 0;
	if ((n == 1 || n % SLOTS_PER_PAGE == 0) && !budget_charge_metadata(1))
		return 0;
	ram.high++;
	return n;
}

int slot_alloc(struct address_space *family, uint64_t index, uint64_t *slot)
{
	uint32_t n;

	mutex_lock(&ram.lock);
	n = ram.free;
	if (n)
		ram.free = (uint32_t)ram.slots[n].index;
	else
		n = take_fresh();
	mutex_unlock(&ram.lock);
	if (!n)
		return -ENOMEM;
	ram.slots[n].family = address_space_handle(family);
	ram.slots[n].index = index;
	atomic_store(&ram.slots[n].refs, 1);
	atomic_fetch_add_explicit(&ram.in_use, 1, memory_order_relaxed);
	*slot = n;
	return 0;
}

/* Its place in swap is given back too. Nobody refers to it, and its page is locked or out of memory. */
static void slot_free(uint64_t slot)
{
	struct store *swap = ram.object->store;

	if (swap && (ram.slots[slot].index & SWAPPED))
		swap->ops->discard(swap, slot << FL_PAGE_SHIFT, FL_PAGE_SIZE);
	atomic_fetch_sub_explicit(&ram.in_use, 1, memory_order_relaxed);
	mutex_lock(&ram.lock);
	ram.slots[slot].index = ram.free;
	ram.free = (uint32_t)slot;
	mutex_unlock(&ram.lock);
}

void slot_hold(uint64_t slot)
{
	atomic_fetch_add_explicit(&ram.slots[slot].refs, 1, memory_order_relaxed);
}

uint32_t slot_refs(uint64_t slot)
{
	return slot < SLOTS_MAX ? atomic_load(&ram.slots[slot].refs) : 0; /* an orphan has none */
}

uint64_t slots_in_use(void)
{
	return atomic_load(&ram.in_use);
}

bool slot_is_of(uint64_t slot, const struct address_space *family, uint64_t index)
{
	return family && ram.slots[slot].family == address_space_handle(family) && (ram.slots[slot].index & ~SWAPPED) == index;
}

struct page_key slot_key(uint64_t slot)
{
	return (struct page_key){.as = ram.object->id, .index = slot};
}

struct address_space *ram_mapped_as(struct address_space *as, uint64_t *index)
{
	struct slot *s;

	if (!as_is_slots(as))
		return as;
	if (*index >= SLOTS_MAX)
		return NULL;
	s = &ram.slots[*index];
	*index = s->index & ~SWAPPED;
	return address_space_at(s->family);
}

/* ---- Frames, of files and of slots ---- */

static int ram_snapshot(struct address_space *as, uint64_t index, uint32_t n, void *buf)
{
	for (uint32_t i = 0; i < n; i++) {
		pfn_t pfn = page_find((struct page_key){.as = as->id, .index = index + i});

		fl_assert(pfn != PFN_NONE); /* the caller has them locked */
		memcpy((char *)buf + ((uint64_t)i << FL_PAGE_SHIFT), page_address(pfn), FL_PAGE_SIZE);
	}
	return 0;
}

static int ram_protect(struct address_space *as, uint64_t index, uint32_t n)
{
	struct ram_flushes f = {0};
	struct ram_change c = {.clear = FL_PTE_WRITE | FL_PTE_DIRTY, .flushes = &f};

	if (soft_in_access())
		return -EBUSY;
	read_lock(&rmap_lock);
	for (uint32_t i = 0; i < n; i++) {
		pfn_t pfn = page_find((struct page_key){.as = as->id, .index = index + i});

		if (pfn != PFN_NONE)
			ram_change_mappings(as, index + i, page_address(pfn), &c);
	}
	ram_flush_all(&f);
	read_unlock(&rmap_lock);
	return 0;
}

/* How many of the first pages lie one behind the other, upwards or downwards. */
static uint32_t run_of(const pfn_t *pfn, uint32_t n, int step)
{
	uint32_t k = 1;

	while (k < n && pfn[k] == pfn[k - 1] + (pfn_t)step)
		k++;
	return k;
}

/* Frames come back in the order in which they were given out, or in the opposite one. */
static void free_memory(const pfn_t *pfn, uint32_t n)
{
	for (uint32_t i = 0, k; i < n; i += k) {
		uint32_t up = run_of(pfn + i, n - i, 1), down = run_of(pfn + i, n - i, -1);

		k = up > down ? up : down;
		sys_madvise(page_address(up >= down ? pfn[i] : pfn[i + k - 1]), (uint64_t)k << FL_PAGE_SHIFT, MADV_DONTNEED);
	}
}

/* What takes the place of an entry whose page leaves: nothing, for a file; its slot, unless the page may be forgotten. */
static pte_t replacement(const struct address_space *as, uint64_t index, pfn_t pfn)
{
	return as_is_slots(as) && !(page_word(pfn) & PG_LAZYFREE) ? pte_swap(index) : 0;
}

/* Forgotten: the entries are empty now, and hold no reference any more. The page is still there, so the slot is not given out. */
static void put_forgotten(uint64_t slot, uint32_t n)
{
	if (n && atomic_fetch_sub(&ram.slots[slot].refs, n) == n)
		slot_free(slot);
}

static void unmap(struct address_space *as, uint64_t index, pfn_t pfn, struct ram_flushes *f)
{
	struct ram_change c = {.instead = replacement(as, index, pfn), .flushes = f};
	uint32_t n = ram_change_mappings(as, index, page_address(pfn), &c);

	if (as_is_slots(as) && c.instead)
		atomic_fetch_or_explicit(&ram.slots[index].index, SWAPPED, memory_order_relaxed);
	else if (as_is_slots(as))
		put_forgotten(index, n);
}

static int ram_drop(struct address_space *as, uint64_t index, uint32_t n, uint32_t *kept)
{
	struct ram_flushes f = {0};
	pfn_t pfn[RAM_BATCH];

	*kept = 0;
	if (soft_in_access())
		return -EBUSY;
	read_lock(&rmap_lock);
	for (uint32_t i = 0, k; i < n; i += k) {
		for (k = 0; k < RAM_BATCH && i + k < n; k++) {
			pfn[k] = page_find((struct page_key){.as = as->id, .index = index + i + k});
			unmap(as, index + i + k, pfn[k], &f);
		}
		ram_flush_all(&f);
		free_memory(pfn, k);
	}
	read_unlock(&rmap_lock);
	return 0;
}

static void ram_discard(struct address_space *as, uint64_t index, uint64_t n)
{
	uint32_t kept;

	for (uint64_t i = 0; i < n; i++)
		if (page_find((struct page_key){.as = as->id, .index = index + i}) != PFN_NONE)
			ram_drop(as, index + i, 1, &kept);
}

const struct frame_ops ram_frames = {
	.name = "ram",
	.snapshot = ram_snapshot,
	.protect = ram_protect,
	.drop = ram_drop,
	.discard = ram_discard,
	.by_page = true,
};

const struct frame_ops slot_frames = {
	.name = "slots",
	.snapshot = ram_snapshot,
	.protect = ram_protect,
	.drop = ram_drop,
	.discard = ram_discard,
	.by_page = true,
};

/* Bytes of pages in memory, which the caller has locked. */
int ram_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len)
{
	for (uint64_t done = 0, k; done < len; done += k) {
		uint64_t in_page = (off + done) & FL_PAGE_MASK;
		pfn_t pfn = page_find((struct page_key){.as = as->id, .index = (off + done) >> FL_PAGE_SHIFT});

		if (pfn == PFN_NONE)
			return -ENOENT;
		k = min_u64(len - done, FL_PAGE_SIZE - in_page);
		memcpy((char *)page_address(pfn) + in_page, (const char *)buf + done, k);
	}
	return 0;
}

/* ---- Pages that go ---- */

void ram_batch_flush(struct ram_batch *b)
{
	free_memory(b->pfn, b->n);
	if (b->n)
		as_count_page(ram.object, -(int)b->n);
	for (uint32_t i = 0; i < b->n; i++)
		page_remove(b->pfn[i]);
	budget_release(b->n);
	b->n = 0;
}

static bool in_writeback(uint32_t word)
{
	return page_state_of(word) == PAGE_WRITEBACK || page_state_of(word) == PAGE_REDIRTY;
}

/* The page of a slot that nobody refers to, locked; who waits for it holds no other. */
static pfn_t lock_unused(struct page_key key, struct ram_batch *b)
{
	for (;;) {
		pfn_t pfn = page_find(key);
		uint32_t w;

		if (pfn == PFN_NONE)
			return PFN_NONE;
		if (!page_trylock(pfn)) {
			ram_batch_flush(b);
			pfn = page_find_lock(key);
			if (pfn == PFN_NONE)
				return PFN_NONE;
		}
		w = page_word(pfn);
		if (page_key(pfn).as == key.as && page_key(pfn).index == key.index && page_state_of(w) != PAGE_ABSENT && !in_writeback(w))
			return pfn;
		page_unlock(pfn);
		ram_batch_flush(b);
		w = page_word(pfn);
		if (in_writeback(w) && !io_wait_write(pfn))
			page_wait(pfn, w);
	}
}

/* Caller holds the page lock, and nothing maps it. It is nobody's but the pins'. */
static void make_orphan(pfn_t pfn)
{
	page_rekey(pfn, (struct page_key){.as = ram.object->id, .index = (uint64_t)SLOTS_MAX + pfn});
}

static void let_go(pfn_t pfn, struct ram_batch *b)
{
	if (page_state_of(page_word(pfn)) == PAGE_DIRTY)
		as_count_dirty(ram.object, -1);
	if (page_pins_of(page_word(pfn))) {
		make_orphan(pfn);
		page_unlock(pfn);
		return;
	}
	page_discard(pfn);
	b->pfn[b->n++] = pfn;
	if (b->n == RAM_BATCH)
		ram_batch_flush(b);
}

void slot_put(uint64_t slot, struct ram_batch *b)
{
	pfn_t pfn;

	if (atomic_fetch_sub(&ram.slots[slot].refs, 1) > 1)
		return;
	pfn = lock_unused(slot_key(slot), b);
	if (pfn != PFN_NONE)
		let_go(pfn, b);
	slot_free(slot);
}

/* ---- Pins ---- */

bool ram_orphan(pfn_t pfn)
{
	struct ram_flushes f = {0};
	struct page_key key = page_key(pfn);

	if (!page_pins_of(page_word(pfn)))
		return false;
	read_lock(&rmap_lock);
	unmap(address_space_of(key), key.index, pfn, &f);
	ram_flush_all(&f);
	read_unlock(&rmap_lock);
	make_orphan(pfn);
	as_count_page(ram.object, 1);
	page_unlock(pfn);
	return true;
}

void ram_unpin(const void *host)
{
	pfn_t pfn = ram_page(host);
	struct ram_batch b = {0};
	struct page_key key;

	if (pfn == PFN_NONE)
		return;
	page_lock(pfn);
	key = page_key(pfn);
	if (!page_pins_of(page_word(pfn))) { /* released once too often */
		page_unlock(pfn);
		return;
	}
	page_unpin(pfn);
	filemap_forget_pins(1);
	if (key.as == ram.object->id && key.index >= SLOTS_MAX && !page_pins_of(page_word(pfn))) {
		page_discard(pfn);
		b.pfn[b.n++] = pfn;
		ram_batch_flush(&b);
	} else {
		page_unlock(pfn);
	}
}
