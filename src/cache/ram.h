/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for soft spaces: memory of the host in which each entry of the page table has a place of its own, as the physical
 * memory of a machine. Page tables in software show it by the host's address, so any number of mappings and spaces may.
 *
 * A page is one of a file (ram_frames), found by the file's reverse map; or a private one (slot_frames), whose key is a slot:
 * what the entries that show it hold a reference to, in memory or in swap.
 */
#ifndef FL_CACHE_RAM_H
#define FL_CACHE_RAM_H

#include "address_space.h"

extern const struct frame_ops ram_frames;
extern const struct frame_ops slot_frames;

/* With the first soft space. 0 or -ENOMEM. */
int ram_init(void);
void ram_exit(void);
/* In a child of fork(2): the memory is not there. */
void ram_fork_child(void);
bool ram_in_use(void);

void *page_address(pfn_t pfn);
/* The page whose memory this is; PFN_NONE when it is none of ours: the zero page, a device. */
pfn_t ram_page(const void *host);
/* Reads as zeros; shown until a page is written to. */
void *ram_zero_page(void);

bool as_is_ram(const struct address_space *as);
bool as_is_slots(const struct address_space *as);

/* Bytes of pages of a file in memory, which the caller has locked. */
int ram_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len);

/* ---- Private pages ---- */

/* The object of all of them. */
struct address_space *slots_object(void);
/*
 * Which private pages a mapping and its descendants by fork have in common: an address_space that has only a reverse map, as
 * the anon_vma of Linux. By it and the index a page finds the mappings that may show it.
 */
int family_new(struct address_space *file, struct address_space **out);

/* A slot with one reference. -ENOMEM. */
int slot_alloc(struct address_space *family, uint64_t index, uint64_t *slot);
void slot_hold(uint64_t slot);
uint32_t slot_refs(uint64_t slot);
uint64_t slots_in_use(void);
bool slot_is_of(uint64_t slot, const struct address_space *family, uint64_t index);
struct page_key slot_key(uint64_t slot);

/* ---- Pages that go ---- */

/* Pages without mappings, locked; their memory is given back together. Begins as {0}. */
#define RAM_BATCH 64
struct ram_batch {
	uint32_t n;
	pfn_t pfn[RAM_BATCH];
};
/* Gives back a reference that an entry held; with the last one, the page goes with the batch. */
void slot_put(uint64_t slot, struct ram_batch *b);
void ram_batch_flush(struct ram_batch *b);

/*
 * Empties entries of [start, end) and flushes the TLBs; the slots they held, up to RAM_TAKE in all, are put by ram_put_taken() when no lock
 * is held that a holder of page locks may wait for. Returns where it stopped: `end` when it is done. Faults there are locked out; or,
 * with `racing`, they are not, and entries whose page is locked just now are left: `again`.
 */
#define RAM_TAKE 256
struct soft_mmu;
struct ram_taken {
	uint32_t n;
	bool racing, again;
	bool keeps_guards; /* only pages go, and what stands for them */
	uint64_t slot[RAM_TAKE];
};
uint64_t ram_take(struct soft_mmu *s, uint64_t start, uint64_t end, struct ram_taken *t);
void ram_put_taken(struct ram_taken *t);
/* Both, for all of the range; without its guards, ram_zap_pages(). */
void ram_zap(struct soft_mmu *s, uint64_t start, uint64_t end);
void ram_zap_pages(struct soft_mmu *s, uint64_t start, uint64_t end);

/* Whether a mapping has accessed the locked page since this was last asked. Takes rmap_lock (read). */
bool ram_page_young(pfn_t pfn);
/* Whether a mapping that shows the private page, which the caller has locked, is locked in memory. Takes rmap_lock (read). */
bool slot_is_locked(pfn_t pfn);
/*
 * A locked page of a file that is to go: when it is pinned it goes on without its file, unlocked, and the answer is true; else nothing
 * is done.
 */
bool ram_orphan(pfn_t pfn);
/* A pin goes; so does an orphan with its last. */
void ram_unpin(const void *host);

#endif
