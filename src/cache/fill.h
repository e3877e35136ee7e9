/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of neighbouring pages of a file that is being read in: by the thread that faults (filemap.c), or ahead of the
 * program (io.c). Whoever has a run holds the locks of its pages, which are READING.
 */
#ifndef FL_CACHE_FILL_H
#define FL_CACHE_FILL_H

#include "address_space.h"
#include "buffer.h"

#define RUN_MAX 64 /* pages; this lies on the stack of a signal handler */

struct fill {
	struct address_space *as;
	uint64_t index;
	uint32_t n, reserved; /* pages in hand; frames reserved and not used */
	pfn_t pfn[RUN_MAX];
	struct buffer buf;
	bool ahead;  /* nobody has asked for its first page either */
	bool stored; /* all of it counts as asked for */
};

/* Puts up to max new pages in the table, as far as frames are reserved; stops at one that is there. */
void fill_insert(struct fill *fl, uint32_t max);
/* Takes the pages from `keep` on out of the table again. */
void fill_drop(struct fill *fl, uint32_t keep);
/*
 * `got` bytes of the store are in the buffer. Pages that the file ends before are dropped, the rest of the last page is zeroed.
 * 0, or -EAGAIN when nothing is left, or the store stopped short of what is no end of the file.
 */
int fill_trim(struct fill *fl, uint64_t got);
/* The pages are in their frames: the first `dirty` of them DIRTY, the others CLEAN, and unlocked. */
void fill_publish(struct fill *fl, uint32_t dirty);

#endif
