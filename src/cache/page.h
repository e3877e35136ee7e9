/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct page: what is known of one page in memory, and the table that finds it.
 *
 * A page costs 16 bytes: a word (state, lock, policy, pins), a link, 7 bytes of key, and its share of the hash heads. A page
 * of a file that is not in memory costs nothing. The table holds indices, no pointers, and is sized by the budget.
 * The state machine is drawn at the top of page.c.
 */
#ifndef FL_CACHE_PAGE_H
#define FL_CACHE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

/* A page in memory, by its place in the table. */
typedef uint32_t pfn_t;
#define PFN_NONE UINT32_MAX

enum page_state {
	PAGE_ABSENT,    /* not in memory: the entry is free */
	PAGE_READING,   /* being filled; nobody sees its bytes */
	PAGE_CLEAN,     /* equal to the store, write-protected in every mapping */
	PAGE_DIRTY,     /* newer than the store; may be mapped writable */
	PAGE_WRITEBACK, /* a copy is on its way to the store; write-protected */
	PAGE_REDIRTY,   /* the same, and written to since the copy was taken */
	PAGE_EVICTING,  /* leaving memory */
	PAGE_STATES
};

#define PG_STATE 0x7u
#define PG_LOCKED 0x8u
#define PG_WAITERS 0x10u
#define PG_REFERENCED 0x20u /* faulted on since reclaim last came by */
#define PG_ERROR 0x40u      /* the last write-back failed; DIRTY until one succeeds */
#define PG_LAZYFREE 0x80u   /* CLEAN and private, and swap has no copy: once out of memory it reads as zeros */
/* POLICY_BITS, 0xff00: see policy.h */
#define PG_IO 0x10000u   /* the lock is that of a read in flight, see io.c */
#define PG_HUGE 0x20000u /* the entry is for HUGE_PAGES pages from its index on, see huge.c */
#define PG_PIN_SHIFT 18
#define PG_PIN (1u << PG_PIN_SHIFT)
#define PG_PINS_MAX 0x3fffu

#define HUGE_PAGES 512u

/* Indices up to 2^40 - 1: files up to 4 PiB. */
#define PAGE_INDEX_MAX ((1ULL << 40) - 1)

struct page_key {
	uint16_t as;    /* address_space.id */
	uint64_t index; /* page of the file */
};

/* Sizes the table for `frames` pages and reserves its memory from the budget. 0 or -ENOMEM. */
int page_table_init(uint64_t frames);
void page_table_exit(void);
/*
 * In a forked child: keeps the pages of which keep() is true, as DIRTY and unlocked, forgets the others, and undoes what
 * threads that did not come along were doing. Returns how many it kept.
 */
uint64_t page_table_fork_child(bool (*keep)(struct page_key key, uint32_t word));
/* Number of entries ever used; reclaim sweeps [0, page_table_high()). */
pfn_t page_table_high(void);
uint64_t page_table_bytes(void);
/* Whether there is a huge page at all. */
bool page_any_huge(void);
/* The most pages that there can be. */
uint64_t page_table_frames(void);

/* The page of this key or PFN_NONE. Not locked: it may be gone by the time it is looked at. Of a huge page, only the first is found. */
pfn_t page_find(struct page_key key);
/* The same, or the huge page that it is part of. */
pfn_t page_find_any(struct page_key key);
/* The same as these, locked; waits for whoever holds it. PFN_NONE when it is not, or is no longer, there. A huge page is split for the first. */
pfn_t page_find_lock(struct page_key key);
pfn_t page_find_lock_any(struct page_key key);
/* The same without waiting, of small pages: PFN_NONE and *busy when somebody has the lock. */
pfn_t page_find_trylock(struct page_key key, bool *busy);
/*
 * Puts a new page in the table: READING and locked by the caller, whose reservation of one frame it uses up.
 * PFN_NONE when the key is there already.
 */
pfn_t page_insert(struct page_key key);
/* The same for a page that nobody has asked for yet: it is read ahead. */
pfn_t page_insert_ahead(struct page_key key);
/* The same for all pages from the key on that are one of HUGE_PAGES; when one of them is there already, none is put there. */
pfn_t page_insert_huge(struct page_key key);
/* Makes a locked huge page, CLEAN, so many pages; all of them are unlocked after. What they lie in is the caller's concern. */
void page_split(pfn_t pfn);
/* Takes a locked page out of the table, to ABSENT, and wakes who waits for it. Its frame's reservation is the caller's. */
void page_remove(pfn_t pfn);
/* Gives a locked page another key, which no other has. */
void page_rekey(pfn_t pfn, struct page_key key);
/* Valid while the page is locked. */
struct page_key page_key(pfn_t pfn);

uint32_t page_word(pfn_t pfn);
/*
 * The first from there on that is neither clean nor absent nor leaving; PFN_NONE: none. It was so at some moment during the call, and none is
 * passed over that was so all the time. Costs a byte for each 64 entries that are clean.
 */
pfn_t page_next_unclean(pfn_t from);
static inline enum page_state page_state_of(uint32_t word)
{
	return (enum page_state)(word & PG_STATE);
}
static inline uint32_t page_pins_of(uint32_t word)
{
	return word >> PG_PIN_SHIFT;
}
/* Of how many pages the entry is. */
static inline uint32_t page_count_of(uint32_t word)
{
	return word & PG_HUGE ? HUGE_PAGES : 1;
}

bool page_trylock(pfn_t pfn);
void page_lock(pfn_t pfn);
void page_unlock(pfn_t pfn);
/* The caller's lock is a read's from now on (PG_IO). */
void page_hand_to_io(pfn_t pfn);
/* Sleeps until the word changes from `seen`, or less. The caller holds no page lock. */
void page_wait(pfn_t pfn, uint32_t seen);

/* The transitions. Caller holds the page lock; each asserts the state it comes from. */
void page_read_done(pfn_t pfn, bool dirty); /* READING -> CLEAN, or DIRTY for a first access that writes */
void page_make_dirty(pfn_t pfn);            /* CLEAN -> DIRTY, WRITEBACK -> REDIRTY; nothing when dirty already */
void page_begin_writeback(pfn_t pfn);       /* DIRTY -> WRITEBACK */
void page_end_writeback(pfn_t pfn);         /* WRITEBACK -> CLEAN, REDIRTY -> DIRTY */
void page_fail_writeback(pfn_t pfn);        /* WRITEBACK, REDIRTY -> DIRTY with PG_ERROR */
void page_begin_evict(pfn_t pfn);           /* CLEAN -> EVICTING */
void page_rescue(pfn_t pfn);                /* EVICTING -> CLEAN */
void page_discard(pfn_t pfn);               /* CLEAN, DIRTY -> EVICTING: its bytes are no longer wanted (truncate, unmap) */

/* Flags and pins change under the page lock too. */
void page_set_flags(pfn_t pfn, uint32_t flags);
void page_clear_flags(pfn_t pfn, uint32_t flags);
void page_set_policy(pfn_t pfn, uint32_t bits); /* POLICY_BITS of its word */
void page_cool(pfn_t pfn);                      /* it is not needed soon */
bool page_pin(pfn_t pfn);                       /* false at PG_PINS_MAX */
void page_unpin(pfn_t pfn);                     /* nothing when not pinned: the page may be a new one after a truncate */

/* Whether the machine allows this arrow: the drawing in page.c as a table, for assertions and tests. */
bool page_transition_ok(enum page_state from, enum page_state to);
const char *page_state_name(enum page_state s);

#endif
