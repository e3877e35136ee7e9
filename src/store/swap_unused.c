/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swap file gives space back by holes. What a hole costs is up to the file system: it frees extent by extent, and some tell the disk of
 * each and wait for it, which takes minutes for what was swapped out in scattered pages. So holes are made for a share of the time only. The
 * rest is listed here, to be written again, or given back later: whenever swap is used, and all of it at once when the disk is full.
 *
 *   - The list is short, sorted, and no two ranges touch. When it is full the shortest range is given back, whatever the time.
 *   - A range leaves the list before its hole is made. One is made at a time: `busy`. Who wants to write there waits.
 *   - The lock is not held meanwhile.
 */
#include "swap_unused.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <string.h>

#include "util/clock.h"
#include "util/compiler.h"
#include "util/sys.h"

#define MOST_RANGES 256
#define MS 1000000LL
#define TIME_SHARE 8         /* of the time, this part */
#define TIME_SAVED (20 * MS) /* which is kept for later up to this */
#define PIECE_FIRST (16 * FL_PAGE_SIZE)
#define PIECE_MOST (1ULL << 32)

struct range {
	uint64_t start, end;
};

static struct range ranges[MOST_RANGES + 1]; /* guarded by swap_lock, as what follows; one more for what is left of `busy` */
static uint32_t nranges;
static struct range busy;      /* empty: no hole is being made */
static _Atomic uint32_t turns; /* changes when one has been made: a futex */
static bool awaited;           /* by somebody who sleeps on turns */
static _Atomic bool some;      /* ranges or busy: else there is nothing to lock for */
static int64_t time_left;      /* for holes, in ns; less than none after one that took long */
static uint64_t time_counted_at;

static bool empty(struct range r)
{
	return r.start >= r.end;
}

static bool overlap(struct range a, struct range b)
{
	return a.start < b.end && b.start < a.end;
}

/* ---- The list. Caller holds the lock. ---- */

static void note_some(void)
{
	atomic_store(&some, nranges || !empty(busy));
}

/* The first range that ends after `at`. */
static uint32_t find(uint64_t at)
{
	uint32_t low = 0, high = nranges;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (ranges[mid].end > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* The `old` ranges from i on give way to `n` of r. */
static void replace(uint32_t i, uint32_t old, const struct range *r, uint32_t n)
{
	memmove(&ranges[i + n], &ranges[i + old], (nranges - i - old) * sizeof *ranges);
	if (n)
		memcpy(&ranges[i], r, n * sizeof *r);
	nranges += n - old;
	fl_assert(nranges <= ARRAY_SIZE(ranges));
	note_some();
}

/* The ranges that r overlaps or touches become one with it; how many there are, from *i on. */
static uint32_t touching(struct range *r, uint32_t *i)
{
	uint32_t n = 0;

	*i = find(r->start ? r->start - 1 : 0);
	for (; *i + n < nranges && ranges[*i + n].start <= r->end; n++) {
		r->start = min_u64(r->start, ranges[*i + n].start);
		r->end = max_u64(r->end, ranges[*i + n].end);
	}
	return n;
}

static void insert(struct range r)
{
	uint32_t i, n = touching(&r, &i);

	replace(i, n, &r, 1);
}

static void cut(struct range r)
{
	uint32_t i = find(r.start), n = 0, nkept = 0;
	struct range kept[2];

	for (; i + n < nranges && ranges[i + n].start < r.end; n++) {
		struct range before = {ranges[i + n].start, r.start}, after = {r.end, ranges[i + n].end};

		if (!empty(before))
			kept[nkept++] = before;
		if (!empty(after))
			kept[nkept++] = after;
	}
	if (n)
		replace(i, n, kept, nkept);
}

static bool full(void)
{
	return nranges >= MOST_RANGES;
}

/* Cutting r out makes two of one. */
static bool divides(struct range r)
{
	uint32_t i = find(r.start);

	return i < nranges && ranges[i].start < r.start && ranges[i].end > r.end;
}

static bool lengthens(struct range r)
{
	uint32_t i;

	return touching(&r, &i) > 0;
}

static uint32_t shortest(void)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < nranges; i++)
		if (ranges[i].end - ranges[i].start < ranges[best].end - ranges[best].start)
			best = i;
	return best;
}

/* ---- Holes ---- */

static void count_time(uint64_t now)
{
	time_left += (int64_t)((now - time_counted_at) / TIME_SHARE);
	if (time_left > TIME_SAVED)
		time_left = TIME_SAVED;
	time_counted_at = now;
}

/*
 * Piece by piece, until it is done or the time is up; what is left of *r. A piece is as long as the file system is quick; for as long as
 * it takes, nobody else can write to the file.
 */
static void make_holes(int fd, struct range *r, uint64_t until)
{
	uint64_t piece = PIECE_FIRST, now = now_ns(), then = now;

	for (; !empty(*r) && now < until; then = now) {
		off_t data = sys_lseek(fd, (off_t)r->start, SEEK_DATA);

		r->start = data < 0 ? r->end : max_u64(r->start, (uint64_t)data & ~FL_PAGE_MASK);
		if (empty(*r))
			break;
		piece = min_u64(piece, r->end - r->start);
		sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->start, (off_t)piece);
		r->start += piece;
		now = now_ns();
		if (now - then < MS)
			piece = min_u64(piece * 2, PIECE_MOST);
		else if (now - then > 4 * MS)
			piece = max_u64(piece / 2 & ~FL_PAGE_MASK, FL_PAGE_SIZE);
	}
	if (r->start > r->end)
		r->start = r->end;
}

/* Caller holds the lock, which is not held in between; none is busy. Range i, as far as there is time. */
static void give_back(int fd, uint32_t i, uint64_t most)
{
	uint64_t began = now_ns();
	struct range r = ranges[i];

	busy = r;
	replace(i, 1, NULL, 0);
	mutex_unlock(&swap_lock);
	make_holes(fd, &r, most > UINT64_MAX - began ? UINT64_MAX : began + most);
	mutex_lock(&swap_lock);
	busy = (struct range){0};
	if (!empty(r))
		insert(r);
	note_some();
	count_time(now_ns());
	time_left -= (int64_t)(now_ns() - began);
	atomic_fetch_add(&turns, 1);
	if (awaited)
		sys_futex_wake(&turns, INT32_MAX);
	awaited = false;
}

/* The same: the hole that is being made, when there is one, is done. */
static void wait_busy(void)
{
	uint32_t turn = atomic_load(&turns);

	if (empty(busy))
		return;
	awaited = true;
	mutex_unlock(&swap_lock);
	sys_futex_wait(&turns, turn);
	mutex_lock(&swap_lock);
}

static void make_room(int fd)
{
	if (!empty(busy))
		wait_busy();
	else
		give_back(fd, shortest(), UINT64_MAX);
}

/* ---- From outside ---- */

static void trim_locked(int fd)
{
	while (nranges && empty(busy)) {
		count_time(now_ns());
		if (time_left <= 0)
			return;
		give_back(fd, 0, (uint64_t)time_left);
	}
}

void unused_trim(int fd)
{
	if (!atomic_load_explicit(&some, memory_order_relaxed))
		return;
	mutex_lock(&swap_lock);
	trim_locked(fd);
	mutex_unlock(&swap_lock);
}

void unused_add(int fd, uint64_t start, uint64_t end)
{
	struct range r = {start, end};

	if (empty(r))
		return;
	mutex_lock(&swap_lock);
	while (full() && !lengthens(r))
		make_room(fd);
	insert(r);
	trim_locked(fd);
	mutex_unlock(&swap_lock);
}

void unused_claim(int fd, uint64_t start, uint64_t end)
{
	struct range r = {start, end};

	if (!atomic_load(&some)) /* what is about to be written was listed before, by who had it then */
		return;
	mutex_lock(&swap_lock);
	for (;;) {
		if (overlap(busy, r))
			wait_busy();
		else if (full() && divides(r))
			make_room(fd);
		else
			break;
	}
	cut(r);
	mutex_unlock(&swap_lock);
}

bool unused_give_back_all(int fd)
{
	bool any;

	mutex_lock(&swap_lock);
	any = nranges || !empty(busy);
	while (nranges || !empty(busy)) {
		if (!empty(busy))
			wait_busy();
		else
			give_back(fd, 0, UINT64_MAX);
	}
	mutex_unlock(&swap_lock);
	return any;
}

/* ---- fork ---- */

bool unused_in_child(uint64_t at, uint64_t *start, uint64_t *end)
{
	uint32_t i = find(at);
	bool in_busy = busy.end > at && (i == nranges || busy.start < ranges[i].start);
	struct range r = in_busy ? busy : i < nranges ? ranges[i] : (struct range){0};

	*start = r.start;
	*end = r.end;
	return !empty(r);
}

void unused_reset(void)
{
	nranges = 0;
	busy = (struct range){0};
	awaited = false;
	note_some();
	time_left = 0;
}
