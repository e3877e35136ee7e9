/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on mapped files: a page comes in and appears in the mapping. As mm/filemap.c and mm/memory.c of Linux. */
#ifndef FL_CACHE_FILEMAP_H
#define FL_CACHE_FILEMAP_H

#include "address_space.h"
#include "readahead.h"

struct io_batch;

/* A fault, or a wish to have a page in: what mm knows of it. The mapping stays while it is served. */
struct fault {
	struct address_space *as; /* the file */
	/*
	 * Where the mapping keeps its private pages; NULL when it is shared. *anon is NULL while there are none, and may be set by
	 * another fault at any time; who asks for a private page has seen to it (fault_needs_anon).
	 */
	struct address_space *_Atomic *anon;
	uint64_t index, anon_index; /* the page in each */
	struct mmu *mmu;
	uint64_t addr;         /* of the page */
	uint64_t room, before; /* pages from addr to the end of the mapping; from its start to addr */
	uint64_t wanted;       /* pages from its own on that will be asked for, which says more than the advice */
	uint32_t tail;         /* pages that a page of the space has, less one: so far past the end of the file there may be zeros */
	enum ra_advice advice;
	bool write, present;       /* what the access was; whether the page is mapped, only protected */
	bool absent;               /* an access by the program found nothing mapped there; another thread's may have come first since */
	struct rmap *huge;         /* the mapping, if it may have huge pages; NULL: not */
	struct read_pin *read_pin; /* the note of a pin in a private mapping, see read_pins.h */
	_Atomic uint32_t *blind;   /* hosted, private: faults that map pages of the file while the mapping has no private ones */
	struct io_batch *batch;    /* reads of its range that are started are sent with others; NULL: each by itself */
	bool view;                 /* a private mapping of another process: what is mapped is protected. Never with write */
	bool alone;                /* the page alone is mapped: its neighbours may be private copies, of which only that process knows */
	bool had_none;             /* hosted, private: it had no private pages when this was looked at, by which `alone` was said */
	bool foretold;             /* nobody has asked for the page yet: that it is read is no miss of a stream */
	bool missed;               /* out: the page was not in memory */
	bool touched;              /* it was in flight */
	bool retried;              /* it was tried as part of a huge page */
	bool forward;              /* read as part of a forward stream */
	uint32_t read;             /* pages that were, from its own on */
	uint32_t mapped;           /* pages from its own on that are mapped now */
};

/* Whether serving it takes a private page: *anon must be there. */
static inline bool fault_needs_anon(const struct fault *f)
{
	return f->anon && (f->write || f->as->zero);
}

/*
 * Makes the access possible. 0: try it again (it may fault once more when the page was taken meanwhile).
 * -ENXIO: beyond the end of the file; -ENOMEM: the budget is full of pages that cannot leave; -EIO and others: the
 * store failed. All of these are SIGBUS to a program.
 */
int filemap_fault(struct fault *f);
/*
 * The same for pages of the mapping from f's on, as many as are had with one request to a host: *done, which is 1 where there is none. What goes
 * wrong after the first is for the next call to find.
 */
int filemap_populate(struct fault *f, uint64_t pages, uint64_t *done);

/*
 * filemap_fault() and a pin: the page stays mapped, writable if f->write, until filemap_unpin(). Counts against the
 * limit of pins (half the budget): -ENOMEM.
 */
int filemap_pin(struct fault *f);
void filemap_unpin(struct fault *f);
/* Whether the page was pinned as the file's, and the program has a copy by now, or is being given one. */
bool filemap_was_copied(const struct fault *f);
/* How often a page may have been made writable while some were pinned; *now: and whether one is. */
uint32_t filemap_unprotected(bool *now);
/* The same for several pages, as filemap_populate(). */
int filemap_pin_run(struct fault *f, uint64_t pages, uint64_t *done);
void filemap_unpin_run(struct fault *f, uint64_t pages, uint64_t *done);

/*
 * The page of a file, in memory and locked; DIRTY when f->write. For soft spaces, whose entries the caller makes, and without a mapping
 * (f->addr is 0). As filemap_fault().
 */
int filemap_get_page(struct fault *f, pfn_t *locked);

/* Whether there can be frames for so many pages more that may not leave memory, at this process. */
bool filemap_has_room_to_lock(uint64_t pages);
/* mlock: pages that may not leave memory count against the limit of pins too. False when they would exceed it. */
bool filemap_charge_locked(uint64_t pages);
void filemap_uncharge_locked(uint64_t pages);
/* Cheap: whether a quarter of the budget, the host's for a client, is pinned or locked: what is pinned for convenience should become less. */
bool filemap_pins_are_many(void);

/* A page goes with so many pins on it (truncate, munmap): they no longer count. */
void filemap_forget_pins(uint32_t n);

/*
 * Reads up to `pages` pages in, or starts to, where reads can be in flight; mapped where the page lives there (f->addr), else not. Best
 * effort: how many it came past, at least one; 0 at an error. With f->batch, which has room for one more and the caller sends: at most
 * RUN_MAX pages.
 */
uint64_t filemap_readahead(struct fault *f, uint64_t pages);
/* How many pages of the file may be asked for ahead at once: a quarter of memory, or where nobody waits for them, nearly all that is free. */
uint64_t filemap_readahead_max(struct address_space *as);
/*
 * Private pages [first, last] of anonymous memory may be forgotten: they are, unless written to before memory is short.
 * The caller has their VMA locked for writing.
 */
void filemap_free_lazily(struct address_space *anon, uint64_t first, uint64_t last);
/* The same for one that the caller has locked, and that is in memory. */
void filemap_free_page_lazily(struct address_space *anon, pfn_t pfn);
/* Whether a page is in memory. */
bool filemap_resident(const struct fault *f);
/* Whether the file's page is in memory and has stores that are not written back. */
bool filemap_is_dirty(const struct fault *f);
/* Whether it is a private page in swap. */
bool filemap_swapped(const struct fault *f);
void filemap_init(void);

#endif
