/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins for calls of the program's. A hold is known by its pages, and by a frame: an address among the variables of a function that is there as long as the
 * pins are. So calls that have been left without coming to their end (util/stack.h) are found, and what they had pinned. Threads are told apart by where they
 * have their count.
 */
#include "holds.h"

#include <errno.h>

#include "cache/reclaim.h"
#include "engine.h"
#include "file_io.h"
#include "util/arena.h"

struct hold {
	struct hold *next;
	const void *thread, *frame, *at;
	size_t len;
};

#define LIST_BITS 6 /* a thread has one, and few are in such calls at a time */
#define LISTS (1 << LIST_BITS)

static struct list {
	struct mutex lock;
	struct hold *first; /* the newest */
} lists[LISTS];

static _Thread_local uint32_t nr_own __attribute__((tls_model("initial-exec")));

void holds_init(void)
{
	for (struct list *l = lists; l < lists + LISTS; l++) {
		mutex_init(&l->lock, RANK_LEAF);
		l->first = NULL;
	}
}

/* ---- In every space, since a buffer may lie in any. Signals are blocked. ---- */

static int pin(const void *buf, size_t len, bool write)
{
	struct mm *mm;
	int err = 0, i;

	for (i = 0; (mm = mm_space(i)) && !err; i++)
		err = mm_pin(mm, (uintptr_t)buf, len, write);
	if (err)
		for (i -= 2; i >= 0; i--)
			mm_unpin(mm_space(i), (uintptr_t)buf, len);
	return err;
}

static void unpin(const void *buf, size_t len)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		mm_unpin(mm, (uintptr_t)buf, len);
}

int file_io_pin(const void *buf, size_t len, bool write)
{
	struct sigguard g = sigguard_enter();
	int err = pin(buf, len, write);

	sigguard_leave(g);
	return err;
}

void file_io_unpin(const void *buf, size_t len)
{
	struct sigguard g = sigguard_enter();

	unpin(buf, len);
	sigguard_leave(g);
}

/* ---- Lists. No lock is held. ---- */

static struct list *own_list(void)
{
	return &lists[((uintptr_t)&nr_own >> FL_PAGE_SHIFT) * 0x9e3779b97f4a7c15ULL >> (64 - LIST_BITS)];
}

static bool is_own(const struct hold *h)
{
	return h->thread == &nr_own;
}

#define TRIES 16 /* others may take the page that was got for it */

static struct hold *new_hold(void)
{
	struct hold *h = arena_alloc(address_space_arena(), sizeof *h);

	for (int i = 0; !h && i < TRIES && !metadata_wait(); i++)
		h = arena_alloc(address_space_arena(), sizeof *h);
	return h;
}

static void free_hold(struct hold *h)
{
	arena_free(address_space_arena(), h, sizeof *h);
}

static void add(struct hold *h)
{
	struct list *l = own_list();

	mutex_lock(&l->lock);
	h->next = l->first;
	l->first = h;
	mutex_unlock(&l->lock);
	nr_own++;
}

typedef bool (*hold_fn)(const struct hold *h, const void *arg);

/* The newest of this thread's that is so, taken off the list; NULL: none is. */
static struct hold *take(hold_fn is, const void *arg)
{
	struct list *l = own_list();
	struct hold **link = &l->first, *h;

	mutex_lock(&l->lock);
	while ((h = *link) && !(is_own(h) && is(h, arg)))
		link = &h->next;
	if (h)
		*link = h->next;
	mutex_unlock(&l->lock);
	nr_own -= h != NULL;
	return h;
}

static void end(struct hold *h)
{
	unpin(h->at, h->len);
	free_hold(h);
}

/* ---- Calls that have been left ---- */

struct jump {
	uintptr_t sp;
	enum stack_move move;
	const void *left; /* the last frame that was found to be */
};

static bool is_left(const struct hold *h, const void *arg)
{
	const struct jump *j = arg;

	return h->frame == j->left || stack_is_left((uintptr_t)h->frame, j->sp, j->move);
}

static void end_left(struct jump j)
{
	struct hold *h;

	while ((h = take(is_left, &j))) {
		j.left = h->frame;
		end(h);
	}
}

/* Without guards it may be in the middle of what they guard that the thread is left. */
void file_io_jump(uintptr_t sp, enum stack_move move)
{
	struct sigguard g;

	inflight_leave(sp, move);
	if (likely(!nr_own) || sigguard_off)
		return;
	g = sigguard_enter();
	end_left((struct jump){.sp = sp, .move = move});
	sigguard_leave(g);
}

static bool is_any(const struct hold *h, const void *arg)
{
	(void)h;
	(void)arg;
	return true;
}

void file_io_thread_ends(void)
{
	struct sigguard g = sigguard_enter();
	struct hold *h;

	while (nr_own && (h = take(is_any, NULL)))
		end(h);
	sigguard_leave(g);
}

/* ---- The calls ---- */

/* Whether this thread's newest is another call's. */
static bool is_nested(const void *frame)
{
	struct list *l = own_list();
	const struct hold *h;
	bool nested;

	mutex_lock(&l->lock);
	for (h = l->first; h && !is_own(h); h = h->next)
		;
	nested = h && h->frame != frame;
	mutex_unlock(&l->lock);
	return nested;
}

static int hold(const void *buf, size_t len, bool write, const void *frame)
{
	struct hold *h;
	int err;

	/* a jump that nobody has told of (__builtin_longjmp, a context that a handler has changed) may have left it */
	if (unlikely(nr_own) && is_nested(frame))
		end_left((struct jump){.sp = (uintptr_t)__builtin_frame_address(0), .move = STACK_MAY_COME_BACK});
	h = new_hold();
	if (!h)
		return -ENOMEM;
	err = pin(buf, len, write);
	if (err) {
		free_hold(h);
		return err;
	}
	*h = (struct hold){.thread = &nr_own, .frame = frame, .at = buf, .len = len};
	add(h);
	return 0;
}

int file_io_hold(const void *buf, size_t len, bool write, const void *frame)
{
	struct sigguard g = sigguard_enter();
	int err = file_io_is_ours(buf, len) ? hold(buf, len, write, frame) : 0;

	sigguard_leave(g);
	return err;
}

/* What is let go of may end at the string's end, where all of its page was pinned. */
static bool is_same(const struct hold *h, const void *arg)
{
	const struct hold *other = arg;
	uint64_t at = (uintptr_t)h->at, other_at = (uintptr_t)other->at;

	return h->frame == other->frame && page_align_down(at) == page_align_down(other_at) &&
	       page_align_up(at + h->len) == page_align_up(other_at + other->len);
}

void file_io_let_go(const void *buf, size_t len, const void *frame)
{
	struct sigguard g = sigguard_enter();
	struct hold *h = nr_own ? take(is_same, &(struct hold){.frame = frame, .at = buf, .len = len}) : NULL;

	if (h)
		end(h);
	sigguard_leave(g);
}

/* A list is whole at any moment. */
void holds_fork_child(void)
{
	struct hold *h;

	nr_own = 0;
	for (struct list *l = lists; l < lists + LISTS; l++) {
		mutex_init(&l->lock, RANK_LEAF);
		while ((h = l->first)) {
			l->first = h->next;
			free_hold(h);
		}
	}
}
