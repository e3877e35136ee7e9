/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounce buffers: page-aligned memory that data passes through between a store and a frame. A fixed number, paid for
 * at start; who finds none waits.
 *
 * Whoever waits for a buffer holds no page lock and no other buffer; whoever holds one finishes without waiting for
 * frames or buffers. So a wait always ends. Those of reads in flight have no thread that finishes: who waits completes them.
 */
#ifndef FL_CACHE_BUFFER_H
#define FL_CACHE_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

struct buffer {
	char *data;
	uint32_t pages; /* its size */
	uint32_t slot;
};

/* Sizes the pools for a budget of `budget_pages` and reserves what they take. 0 or -ENOMEM. */
int buffer_init(uint64_t budget_pages);
void buffer_exit(void);
/* A buffer of at least one page, of several when want_large and the budget has such. Waits. */
struct buffer buffer_get(bool want_large);
void buffer_put(struct buffer b);
/*
 * The same for reads in flight, which hold half of the buffers of a size at most: without waiting, and given back by any thread. False
 * when none is to be had.
 */
bool buffer_get_io(bool want_large, struct buffer *b);
void buffer_put_io(struct buffer b);
/* Pages in a large buffer: the most that one read or write moves. */
/* In a forked child: nobody holds a buffer. */
void buffer_fork_child(void);
uint32_t buffer_large_pages(void);
uint64_t buffer_bytes(void);

#endif
