/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes in flight: pages that are on their way in or out while the program runs. See io.c for the life of a request, and
 * for who completes it.
 */
#ifndef FL_CACHE_IO_H
#define FL_CACHE_IO_H

#include "fill.h"

enum io_mode {
	IO_AIO,      /* by the kernel's asynchronous I/O, for stores opened with O_DIRECT. Where it is refused: IO_STORE */
	IO_SYNC,     /* nothing is ever in flight */
	IO_DEFERRED, /* for tests: any store, and the read is made when somebody wants a page of it */
	IO_STORE,    /* what io_can_prefetch() says of stores without O_DIRECT, and nothing else */
};

/* At most this many requests at a time. */
#define IO_REQUESTS 128

void io_init(enum io_mode mode);
/* Nothing is in flight. */
void io_exit(void);
/* The kernel's mapping that goes with its asynchronous I/O: of a file that cannot be synced, so msync(2) fails there. False: none. */
bool io_kernel_mapping(uint64_t *start, uint64_t *end);
/* Whether reads, or writes, of this store can be in flight. */
bool io_can(struct address_space *as);
bool io_can_write(struct address_space *as);
/*
 * Whether reads that the program asks for can be under way: as above, or into the page cache of the kernel, which is told of them. Then the store reads
 * them for who wants a page of theirs, or polls when they are there.
 */
bool io_can_prefetch(struct address_space *as);

/*
 * Requests that are sent together, which wakes the device once. As long as there are any, the thread waits for no frames, buffers, locks of pages or
 * of mappings, or requests.
 */
#define IO_BATCH 32
struct io_batch {
	uint8_t n, request[IO_BATCH];
};
void io_send(struct io_batch *b);

/*
 * Starts to read up to `want` pages from as->index on, with frames that are reserved for them; as many as are not in the table are put
 * there, READING. `eager`: they are installed as soon as somebody sees that the read has ended; else when a page of them is asked for.
 * Caller holds the invalidate_lock (read). How many were started; 0 when the first page is there already, no request or buffer is free,
 * or the process is about to fork. With a batch, which has room, the caller sends them.
 */
uint32_t io_start(struct address_space *as, uint64_t index, uint32_t want, bool eager, struct io_batch *batch);
/* The same for HUGE_PAGES pages, into a slot that has memory for them: huge_finish() ends it. False when none is started. */
bool io_start_huge(struct address_space *as, uint64_t index, struct buffer slot);
/*
 * A write of n pages from index on, which the caller has locked and DIRTY: a buffer for what they hold. -1 when that cannot be now, as
 * above. Then either io_write() adds it to a batch, with the pages WRITEBACK, and sends that when it is full; or io_forget() does not. When the write has
 * ended, writeback_ended() is called by whoever sees that.
 */
int io_get_write(struct address_space *as, uint64_t index, uint32_t n, bool reclaim, struct buffer *buf);
void io_write(struct io_batch *b, int request);
void io_forget(int request);

/* Whether a page with this word is in flight. */
static inline bool io_in_flight(uint32_t word)
{
	return (word & (PG_IO | PG_LOCKED)) == (PG_IO | PG_LOCKED);
}

/* Waits for the read that the page is part of, and installs what it brought. The page may be gone after. */
void io_wait_page(pfn_t pfn);
/* The same for a page that is WRITEBACK: false when it is not in flight, but in the hands of a thread. The caller holds no page lock. */
bool io_wait_write(pfn_t pfn);
/* Installs what has come in of eager requests, and ends writes, without waiting. The caller holds no page lock. */
void io_poll(void);
/*
 * For who waits for frames or buffers: completes some request, waiting for it if need be; false when none is under way. The caller
 * holds no page lock.
 */
bool io_help(void);
/* Whether anything is under way. */
bool io_busy(void);
/* Writes that have failed, ever: what io_help() completed may have been no help. */
uint32_t io_failures(void);
/* Requests that have ended, and that nobody came for, give back what they hold: all, or old ones. How many did. */
uint32_t io_retire(bool all);
/* Whether a page in flight is not installed yet. Waits while somebody is about to. */
bool io_is_coming(pfn_t pfn);
/* Waits until nothing of the object is in flight. The caller sees to it that nothing new is started: holds invalidate_lock (write). */
void io_drain(struct address_space *as);
/* The same of pages [first, last]: the caller has the mappings that show them locked. */
void io_drain_range(struct address_space *as, uint64_t first, uint64_t last);
/* Waits for the writes of pages [first, last] that are in flight. */
void io_drain_writes(struct address_space *as, uint64_t first, uint64_t last);
/* Whether the page is part of a write in flight. */
bool io_is_write(pfn_t pfn);

/* fork: nothing is in flight until one of the others is called. */
void io_fork_prepare(void);
void io_fork_parent(void);
void io_fork_child(void);

#endif
