/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file has a few streams, each the index where its next miss is expected and the window it last read. A miss at
 * an expected index is a stream going on: its window doubles. Any other miss reads one page and starts a stream in
 * another's place. Streams are single words, read and replaced without a lock: a race costs a guess.
 */
#include "readahead.h"

#include "util/compiler.h"

#define RA_START 4

static uint32_t max_window = 1;

void readahead_init(uint32_t max_pages)
{
	max_window = max_pages ? max_pages : 1;
}

static uint64_t pack(uint64_t next, uint32_t window)
{
	return next << 16 | window;
}

static int stream_at(struct address_space *as, uint64_t index)
{
	for (int i = 0; i < RA_STREAMS; i++) {
		uint64_t s = atomic_load_explicit(&as->streams[i], memory_order_relaxed);

		if (s && s >> 16 == index)
			return i;
	}
	return -1;
}

static uint32_t grow(uint32_t window)
{
	return (uint32_t)min_u64(max_window, window < RA_START ? RA_START : window * 2);
}

uint32_t readahead_window(struct address_space *as, uint64_t index, enum ra_advice advice)
{
	int i;

	if (advice == RA_RANDOM)
		return 1;
	if (advice == RA_SEQUENTIAL)
		return max_window;
	i = stream_at(as, index);
	if (i < 0)
		return 1;
	return grow(atomic_load_explicit(&as->streams[i], memory_order_relaxed) & 0xffff);
}

/*
 * The place of a new stream: in turn, but one that has proved itself (a window over 1) is passed over and loses half of
 * its window instead, so that random misses in between do not drive out a stream that goes on.
 */
static int stream_victim(struct address_space *as)
{
	uint32_t turn = atomic_fetch_add_explicit(&as->stream_turn, 1, memory_order_relaxed);

	for (uint32_t n = 0; n < RA_STREAMS; n++) {
		int i = (int)((turn + n) % RA_STREAMS);
		uint64_t s = atomic_load_explicit(&as->streams[i], memory_order_relaxed);

		if ((s & 0xffff) <= 1)
			return i;
		atomic_store_explicit(&as->streams[i], pack(s >> 16, (uint32_t)(s & 0xffff) / 2), memory_order_relaxed);
	}
	return (int)(turn % RA_STREAMS);
}

void readahead_done(struct address_space *as, uint64_t index, uint32_t pages)
{
	int i = stream_at(as, index);

	if (i < 0)
		i = stream_victim(as);
	atomic_store_explicit(&as->streams[i], pack(index + pages, pages), memory_order_relaxed);
}
