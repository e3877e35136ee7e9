/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file has a few forward streams, each the index where its next miss is expected and the window it last read. A miss at
 * an expected index is a stream going on: its window doubles. Any other miss reads one page and starts a stream in
 * another's place. For another process, whose faults cost more, a stream with the largest window reads several, one after the other, and twice
 * as many each time. A miss a little beyond what a proved stream expects is that stream as well, and what lies between is read with it: threads that take
 * pieces of a file in turn are beyond each other's. Streams are single words, read and replaced without a lock: a race costs a guess.
 *
 * Where reads can be in flight, a forward stream whose window has grown to RA_ASYNC goes on by itself:
 *
 *      what the program has read     in flight, window by window        next
 *      ------------------------------|------------|------------|--------|
 *                                    ^ the program comes here, waits for this window alone, and one more is started at `next`
 *
 * One with windows of the largest size goes on in huge pages where that is possible (huge.h): first with one or two under way, then with twice as
 * many each time the program comes to one, since so much must not be read for nothing. Its window says how much that is.
 *
 * The same for what goes backwards or in strides (struct ra_track): a miss a step from the last one is evidence, and after
 * RA_PROOF of them in a row with one step what comes next is read ahead: page by page in strides, in windows backwards.
 * Random misses do not have the same distance three times running.
 */
#include "readahead.h"

#include "huge.h"
#include "util/compiler.h"

#define RA_START 4
#define RA_ASYNC 16   /* pages: a window from which on a stream reads while the program runs */
#define RA_AHEAD 16   /* windows under way, once they are as large as they get */
#define RA_PROOF 3    /* misses a step apart, before the next ones are read ahead */
#define RA_REACH 1024 /* pages: the longest step */
#define RA_STRIDED 32 /* single pages under way */
#define RA_PASSED 64  /* pages in memory that a stream goes over unseen, and is still the same */
#define RA_ON 256     /* pages that are read for one fault, one window after the other */

static uint32_t max_window = 1, max_ahead = 2, max_on = 1;

void readahead_init(uint32_t max_pages, uint64_t max_under_way)
{
	max_window = max_pages ? max_pages : 1;
	max_ahead = (uint32_t)max_u64(2 * max_window, min_u64(max_under_way, max_window * RA_AHEAD));
	max_on = max_window * (uint32_t)max_u64(1, min_u64(RA_ON, max_under_way / 2 + max_window / 2) / max_window);
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

static bool are_in_table(const struct address_space *as, uint64_t first, uint64_t end)
{
	while (first < end && page_find_any((struct page_key){.as = as->id, .index = first}) != PFN_NONE)
		first++;
	return first == end;
}

void readahead_pass(struct address_space *as, uint64_t index)
{
	if (!atomic_load_explicit(&as->nr_pages, memory_order_relaxed) || stream_at(as, index) >= 0)
		return;
	for (int i = 0; i < RA_STREAMS; i++) {
		uint64_t s = atomic_load_explicit(&as->streams[i], memory_order_relaxed), end = s >> 16;

		if (s && end < index && index - end <= RA_PASSED && are_in_table(as, end, index)) {
			atomic_store_explicit(&as->streams[i], pack(index, s & 0xffff), memory_order_relaxed);
			return;
		}
	}
}

/* How many pages a stream is read over: no more than it would read next. */
static uint64_t reach(uint32_t window)
{
	return max_u64(min_u64(window, RA_ON), RA_PASSED);
}

/* The proved stream whose next miss was expected nearest before index, if that was near. */
static int stream_before(struct address_space *as, uint64_t index)
{
	uint64_t best = UINT64_MAX;
	int near = -1;

	for (int i = 0; i < RA_STREAMS; i++) {
		uint64_t s = atomic_load_explicit(&as->streams[i], memory_order_relaxed), end = s >> 16;
		uint32_t window = s & 0xffff;

		if (window >= RA_ASYNC && end < index && index - end <= reach(window) && index - end < best) {
			best = index - end;
			near = i;
		}
	}
	return near;
}

static bool is_any_in_table(const struct address_space *as, uint64_t first, uint64_t end)
{
	while (first < end && page_find_any((struct page_key){.as = as->id, .index = first}) == PFN_NONE)
		first++;
	return first < end;
}

/*
 * grow() doubles what is put down here. Pages in memory on the way say that another thread is there, and the window stays what it was; without any it
 * is halved: who passes over pages again and again is soon no proved stream.
 */
uint32_t readahead_jump(struct address_space *as, uint64_t index)
{
	int i = stream_at(as, index) < 0 ? stream_before(as, index) : -1;
	uint32_t window;
	uint64_t s, end;

	if (i < 0)
		return 0;
	s = atomic_load_explicit(&as->streams[i], memory_order_relaxed);
	end = s >> 16;
	window = s & 0xffff;
	if (end >= index) /* another thread has moved it */
		return 0;
	window /= is_any_in_table(as, end, index) ? 2 : 4;
	atomic_store_explicit(&as->streams[i], pack(index, window), memory_order_relaxed);
	return (uint32_t)min_u64(index - end, RA_ON);
}

uint32_t readahead_window(struct address_space *as, uint64_t index, enum ra_advice advice, bool on)
{
	uint32_t window;
	int i;

	if (advice == RA_RANDOM)
		return 1;
	if (advice == RA_SEQUENTIAL)
		return on ? max_on : max_window;
	i = stream_at(as, index);
	if (i < 0)
		return 1;
	window = atomic_load_explicit(&as->streams[i], memory_order_relaxed) & 0xffff;
	return on && window >= max_window ? (uint32_t)min_u64(max_on, window * 2) : grow(window);
}

void readahead_grown(struct address_space *as, uint64_t next, uint32_t pages)
{
	int i = stream_at(as, next);

	if (i >= 0)
		atomic_store_explicit(&as->streams[i], pack(next, pages), memory_order_relaxed);
}

/* Once for each fault: what comes out has proved no more than what went in. */
static uint32_t grow_huge(struct ra_next *next)
{
	if (next->window < HUGE_PAGES)
		next->window = HUGE_PAGES;
	else if (!next->grown)
		next->window = (uint32_t)min_u64(next->window * 2, max_u64(huge_ahead(), HUGE_PAGES));
	next->grown = true;
	return next->window;
}

bool readahead_is_long(uint32_t window)
{
	return huge_ahead() && window >= max_window;
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

void readahead_done(struct address_space *as, uint64_t index, uint32_t pages, uint32_t window)
{
	int i = stream_at(as, index);

	if (i < 0)
		i = stream_victim(as);
	atomic_store_explicit(&as->streams[i], pack(index + pages, window), memory_order_relaxed);
}

/* ---- Ahead of the program ---- */

static uint32_t ahead_of(uint32_t window)
{
	if (window >= HUGE_PAGES) /* and one more while the program is at the first page of one */
		return (uint32_t)min_u64(window, huge_ahead()) + 1;
	return window >= max_window ? max_ahead : (uint32_t)min_u64(window * 2, max_ahead);
}

/* How far ahead of the program what a stream has read may end, if it is to be this program's. */
static uint64_t farthest(uint32_t window)
{
	return ahead_of(window < HUGE_PAGES ? max_window : window) + max_u64(max_window, window < HUGE_PAGES ? 0 : HUGE_PAGES);
}

/* The forward stream that has read, or is reading, up to some place not far behind index. */
static bool forward_next(struct address_space *as, uint64_t index, struct ra_next *next)
{
	for (int i = 0; i < RA_STREAMS; i++) {
		uint64_t s = atomic_load_explicit(&as->streams[i], memory_order_relaxed), end = s >> 16;
		uint32_t window = s & 0xffff;

		if (window < min_u64(RA_ASYNC, max_window) || window < 2 || index >= end || end - index > farthest(window))
			continue;
		if (end - index >= ahead_of(window))
			return false;
		*next = (struct ra_next){.grown = next->grown,
					 .index = end,
					 .pages = grow(window),
					 .stream = i,
					 .huge = readahead_is_long(window),
					 .window = window < HUGE_PAGES ? grow(window) : window,
					 .under_way = end - index > min_u64(window, HUGE_PAGES)};
		return true;
	}
	return false;
}

#define BACKWARD (RA_STREAMS) /* ra_next.stream, from here on a track */

static int64_t distance(uint64_t from, uint64_t to)
{
	return (int64_t)(to - from);
}

static void track_set(struct ra_track *t, uint64_t last, int64_t step, uint32_t proof)
{
	atomic_store_explicit(&t->last, last, memory_order_relaxed);
	atomic_store_explicit(&t->step, step, memory_order_relaxed);
	atomic_store_explicit(&t->proof, proof, memory_order_relaxed);
	atomic_store_explicit(&t->edge, last, memory_order_relaxed);
}

/*
 * Whether the track would come to index, where it is then: some steps on, but not beyond the first one that has not been read ahead. What was is not
 * always missed.
 */
static bool track_follow(struct ra_track *t, uint64_t index)
{
	uint64_t last = atomic_load_explicit(&t->last, memory_order_relaxed), edge = atomic_load_explicit(&t->edge, memory_order_relaxed);
	int64_t step = atomic_load_explicit(&t->step, memory_order_relaxed), d = distance(last, index);

	if (!step || d % step || d / step < 1 || d / step > distance(last, edge) / step + 1)
		return false;
	atomic_store_explicit(&t->last, index, memory_order_relaxed);
	if (distance(index, edge) / step < 0)
		atomic_store_explicit(&t->edge, index, memory_order_relaxed);
	if (atomic_load_explicit(&t->proof, memory_order_relaxed) < 16)
		atomic_fetch_add_explicit(&t->proof, 1, memory_order_relaxed);
	return true;
}

/* The track whose last miss was nearest, if that was near. */
static struct ra_track *nearest(struct address_space *as, uint64_t index)
{
	struct ra_track *near = NULL;
	int64_t best = RA_REACH + 1;

	for (int i = 0; i < RA_STREAMS; i++) {
		uint64_t last = atomic_load_explicit(&as->tracks[i].last, memory_order_relaxed);
		int64_t d = distance(last, index);

		d = d < 0 ? -d : d;
		if (last && d && d < best) { /* a track that begins with page 0 is one that has not begun */
			near = &as->tracks[i];
			best = d;
		}
	}
	return near;
}

/* In turn, but one that has foretold something has a second life, as forward streams have. */
static void track_start(struct address_space *as, uint64_t index)
{
	uint32_t turn = atomic_fetch_add_explicit(&as->track_turn, 1, memory_order_relaxed);
	struct ra_track *t = &as->tracks[turn % RA_STREAMS];
	uint32_t proof = atomic_load_explicit(&t->proof, memory_order_relaxed);

	if (proof > 1)
		atomic_store_explicit(&t->proof, proof / 2, memory_order_relaxed);
	else
		track_set(t, index, 0, 0);
}

void readahead_note(struct address_space *as, uint64_t index)
{
	struct ra_track *near;

	for (int i = 0; i < RA_STREAMS; i++)
		if (track_follow(&as->tracks[i], index))
			return;
	near = nearest(as, index);
	if (near && atomic_load_explicit(&near->proof, memory_order_relaxed) < RA_PROOF)
		track_set(near, index, distance(atomic_load_explicit(&near->last, memory_order_relaxed), index), 1);
	else
		track_start(as, index);
}

/* How far what is under way goes beyond where the program is, in steps; none when the program is beyond it. */
static uint64_t track_ahead(const struct ra_track *t, uint64_t last, int64_t step)
{
	int64_t d = distance(last, atomic_load_explicit(&t->edge, memory_order_relaxed));

	return d / step > 0 ? (uint64_t)(d / step) : 0;
}

static uint32_t track_window(const struct ra_track *t, int64_t step)
{
	uint32_t proof = atomic_load_explicit(&t->proof, memory_order_relaxed);

	if (step != -1)
		return (uint32_t)min_u64(RA_STRIDED, 1U << min_u64(proof - RA_PROOF, 6));
	return (uint32_t)min_u64(max_window, RA_START << min_u64(proof - RA_PROOF, 6));
}

static bool track_next(const struct ra_track *t, int i, uint64_t index, struct ra_next *next)
{
	int64_t step = atomic_load_explicit(&t->step, memory_order_relaxed);
	uint64_t last = atomic_load_explicit(&t->last, memory_order_relaxed), from;
	uint32_t window, ahead;

	if (atomic_load_explicit(&t->proof, memory_order_relaxed) < RA_PROOF || !step || last != index)
		return false;
	window = track_window(t, step);
	ahead = (uint32_t)track_ahead(t, last, step);
	if (ahead >= (step == -1 ? ahead_of(window) : window))
		return false;
	from = ahead ? atomic_load_explicit(&t->edge, memory_order_relaxed) : last;
	if (step == -1)
		window = (uint32_t)min_u64(window, from);
	if (distance(0, from) + step < 0 || !window)
		return false;
	*next = (struct ra_next){.grown = next->grown,
				 .index = step == -1 ? from - window : from + (uint64_t)step,
				 .pages = step == -1 ? window : 1,
				 .step = step,
				 .window = window,
				 .stream = BACKWARD + i,
				 .under_way = ahead > window};
	return true;
}

bool readahead_next(struct address_space *as, uint64_t index, bool forward, struct ra_next *next)
{
	if (forward && forward_next(as, index, next))
		return true;
	for (int i = 0; i < RA_STREAMS; i++)
		if (track_next(&as->tracks[i], i, index, next))
			return true;
	return false;
}

uint32_t readahead_at_once(bool on)
{
	return on ? max_on : max_window;
}

/* A window that goes backwards is done with as a whole: what lies in between was there. */
bool readahead_is_forward(const struct ra_next *next)
{
	return next->stream < BACKWARD;
}

void readahead_started(struct address_space *as, struct ra_next *next, uint32_t pages)
{
	if (next->stream >= BACKWARD)
		atomic_store_explicit(&as->tracks[next->stream - BACKWARD].edge, next->index, memory_order_relaxed);
	else
		atomic_store_explicit(&as->streams[next->stream], pack(next->index + pages, next->huge ? grow_huge(next) : next->window),
				      memory_order_relaxed);
}

void readahead_touch(struct address_space *as, uint64_t index)
{
	for (int i = 0; i < RA_STREAMS; i++)
		if (atomic_load_explicit(&as->tracks[i].proof, memory_order_relaxed) >= RA_PROOF && track_follow(&as->tracks[i], index))
			return;
}
