/* SPDX-License-Identifier: Apache-2.0 */
/* The fault path, between its parts: pages of files (filemap.c), private copies (private.c), and who wants pages to stay (pin.c). */
#ifndef FL_CACHE_FAULT_H
#define FL_CACHE_FAULT_H

#include "filemap.h"
#include "page.h"
#include "util/compiler.h"

static inline struct page_key file_key(const struct fault *f)
{
	return (struct page_key){.as = f->as->id, .index = f->index};
}

/* The private pages of the mapping, NULL while there are none. */
static inline struct address_space *anon_of(const struct fault *f)
{
	return f->anon ? atomic_load(f->anon) : NULL;
}

static inline struct page_key anon_key(const struct fault *f)
{
	return (struct page_key){.as = anon_of(f)->id, .index = f->anon_index};
}

static inline bool beyond_eof(struct address_space *as, uint64_t index)
{
	return index << FL_PAGE_SHIFT >= atomic_load_explicit(&as->size, memory_order_relaxed);
}

static inline bool is_dirty(pfn_t pfn)
{
	enum page_state s = page_state_of(page_word(pfn));

	return s == PAGE_DIRTY || s == PAGE_REDIRTY;
}

/* Caller holds the page lock. */
static inline void mark_dirty(struct address_space *as, pfn_t pfn)
{
	if (page_state_of(page_word(pfn)) == PAGE_CLEAN)
		as_count_dirty(as, 1);
	page_make_dirty(pfn);
}

/* Whether the mmu may hide what is mapped, at any time. */
static inline bool may_be_hidden(const struct fault *f)
{
	return f->mmu && f->mmu->hides;
}

/* Faults of other processes are counted there. */
static inline bool is_counted(const struct fault *f)
{
	return f->mmu && !f->mmu->remote;
}

static inline void count_fault(const struct fault *f)
{
	if (is_counted(f))
		report_add(&f->as->report->faults, 1);
}

static inline void count_hit(const struct fault *f)
{
	if (!f->missed && is_counted(f))
		report_add(&f->as->report->faults_hit, 1);
}

/* Any page of a mapping. With `locked`: the page, to be pinned; PFN_NONE where the host has pinned it. */
int fault_page(struct fault *f, pfn_t *locked);
/* The same of an access: a store to a page that is there is counted for file_io_was_away() while some are pinned. */
int fault_beside_pins(struct fault *f);
/* A page of the file. On success and with `locked`, the page stays locked for the caller to pin. -EAGAIN is not answered. */
int fault_file(struct fault *f, pfn_t *locked);
/* Reads `want` pages from f's on, as far as there is memory, and installs them. -EAGAIN: look again. */
int fault_fill(struct fault *f, uint32_t want);
/* The same for pages at which no access waits, as far as that makes nobody wait. How many pages came in. */
uint32_t fault_fill_more(const struct fault *f, uint64_t index, uint32_t want, bool foretold);
/* Whether more than its page should be read for a fault, since it costs much: that of another process, where nothing can be in flight. */
bool fault_reads_on(const struct fault *f);
/* The store may get ready what will be read of it soon. */
void fault_expect(const struct fault *f, uint64_t index, uint64_t pages);
/*
 * ahead.c: a miss of a stream, whose window this is, at a place where a huge page can be: whether one is being read, of which the page is part. Once for
 * each fault, as it may come to nothing.
 */
bool ahead_miss(struct fault *f, uint64_t window);
/*
 * A miss that no forward stream expected, whose page is to be read by the caller: what goes with it backwards or in strides is read first, where nothing
 * can be in flight. Waits for nobody. Once for each fault.
 */
void ahead_before_miss(struct fault *f);

/* The same for a miss that a stream has jumped to, over so many pages (readahead_jump()): they are read first. */
void ahead_after_jump(const struct fault *f, uint32_t pages);

/* The fault is served, and no page of it locked: what its stream will want next is started. */
void ahead_go_on(struct fault *f);
/* The same of a host's file; with `pin`, the page is pinned there, which f->read_pin notes in a private mapping. -EAGAIN: look again. */
int fault_hosted(struct fault *f, bool pin);
/* A page of the file is pinned once less; whether it was. The count of all pins is the caller's. */
bool filemap_unpin_file(const struct fault *f);
/* A page of a private mapping: its private copy, or the file's. As fault_file(); *locked is left alone where the host has pinned it. */
int fault_private(struct fault *f, pfn_t *locked);
/*
 * Whether a private mapping has a copy of its own of the page i places from here. Caller holds the lock of the file's page:
 * none is made meanwhile, and one that leaves memory is marked as swapped before it leaves the table.
 */
bool private_has_copy(const struct fault *f, int64_t i);

#endif
