/* SPDX-License-Identifier: Apache-2.0 */
/* Read-ahead: how many pages to read at a fault, and what to read while the program goes on. */
#ifndef FL_CACHE_READAHEAD_H
#define FL_CACHE_READAHEAD_H

#include "address_space.h"

enum ra_advice { RA_NORMAL, RA_RANDOM, RA_SEQUENTIAL };

/* The most that is ever read at once, and the most that a stream has under way; set from the budget. */
void readahead_init(uint32_t max_pages, uint64_t max_under_way);
/* A miss at `index`: a stream that expected one shortly before it has passed over pages that were in memory, and expects this one now. */
void readahead_pass(struct address_space *as, uint64_t index);
/*
 * The same where pages between are not in memory, of a stream that has proved itself: threads that take pieces of a file in turn are beyond each other's. How
 * many pages lie between, which are to be read too.
 */
uint32_t readahead_jump(struct address_space *as, uint64_t index);
/* Pages to read from `index` on: 1 on random evidence, doubling while a stream goes on; with `on` to more than are ever read at once. */
uint32_t readahead_window(struct address_space *as, uint64_t index, enum ra_advice advice, bool on);
/* Whether a window is one of a stream that may go on in huge pages. */
bool readahead_is_long(uint32_t window);
/* So many were read of a window, which ends early at a page that is in memory: the stream expects its next miss after them. */
void readahead_done(struct address_space *as, uint64_t index, uint32_t pages, uint32_t window);
/* The stream that expects its next miss at `next` has read so many for one fault, one run after the other. */
void readahead_grown(struct address_space *as, uint64_t next, uint32_t pages);

/* What a stream will want next: pages [index, index + pages). */
struct ra_next {
	uint64_t index;
	uint32_t pages;
	int64_t step;    /* from each to the next, in what goes backwards (-1) or in strides, of which pages are foreseen one by one */
	int stream;      /* which, for readahead_started() */
	uint32_t window; /* of the stream from then on; pages that are foreseen now */
	bool grown;      /* in and out: its window has, in this fault; false before the first */
	bool huge;       /* it has shown itself to be long: it may be read in huge pages */
	bool under_way;  /* something of it is */
};

/*
 * After a fault at `index` that missed, or found its page in flight: whether it is part of a stream that has proved itself and has
 * too little under way. `forward`: of forward streams too, which a miss that read one page was not.
 */
bool readahead_next(struct address_space *as, uint64_t index, bool forward, struct ra_next *next);
/* The most that is read for one fault where nothing can be in flight; with `on`, by one that costs more. */
uint32_t readahead_at_once(bool on);
/* Whether it is of a stream that goes forward. */
bool readahead_is_forward(const struct ra_next *next);
/* So many pages of it are on their way, or are there already. */
void readahead_started(struct address_space *as, struct ra_next *next, uint32_t pages);
/* A miss at `index` that no forward stream expected: it may be part of one that goes backwards, or in strides. */
void readahead_note(struct address_space *as, uint64_t index);
/* The program has come to a page in flight. */
void readahead_touch(struct address_space *as, uint64_t index);

#endif
