/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three quarters of the budget can be lent. When they are, who asks for more is refused, and those who have more than he are asked for some of theirs, the
 * richest first: so what clients have that all want more becomes equal. Nobody waits here: who was refused asks again, and has it when it is there.
 *
 *   lent                  has += pages
 *   asked for some of it  asked += pages, in the client's area as well           recall()
 *   gives some back       has -= pages, asked -= pages                           borrow_return()
 *   will not              asked -= pages, and not asked again for a while        the same
 *   does not answer       after a while the same: stopped, or without its thread forget_silent()
 *   ends                  has = 0                                                borrow_return_all()
 *
 * Files have what is not lent. When their pages come back soon after they had to leave, who has not borrowed for a while is asked for some as well: as many
 * pages as came back. Who borrows again at once had use for it, and is left alone for twice as long the next time: so what lies idle goes to files, step by
 * step, and what is in use is taken once in half a minute at most.
 *
 * What comes back must not go to who gave it, who may be faster. So for a moment after each refusal those who have more than the one that was refused get
 * nothing; and nobody does, but who can take no page of his own out of memory, when it was one of those.
 */
#include "borrow.h"

#include <errno.h>

#include "cache/budget.h"
#include "cache/policy.h"
#include "cache/reclaim.h"
#include "shared.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/sys.h"

#define STEP 64                 /* pages that are reserved at once, or asked back of one client at once */
#define ASK_MIN (2 * STEP)      /* asked for at least, so that it is not done for each page */
#define FLOOR 32                /* who has no more is not asked */
#define ANSWER_NS 1000000000ull /* is waited for */
#define BARREN_NS 1000000000ull
#define IDLE_NS 200000000ull
#define HUNGER_NS 20000000ull
#define PATIENCE_NS 250000000ull /* for which who has borrowed is left alone by files: at least, and at most */
#define PATIENCE_MAX_NS 32000000000ull

static struct mutex loan_lock = MUTEX_INIT(RANK_LEAF);
static struct session *borrowers; /* loan_lock: who has borrowed once */
static uint64_t lent;             /* loan_lock: to all */

static struct {
	uint64_t level; /* what the poorest has that was refused */
	uint64_t until_ns;
} hunger; /* loan_lock */

/* ---- Asking others; callers hold loan_lock ---- */

static uint64_t left_to(const struct session *s)
{
	return s->loan.has - min_u64(s->loan.has, s->loan.asked);
}

static void ring(struct session *s)
{
	atomic_fetch_add(&s->area->recall.bell, 1);
	sys_futex_wake_shared(&s->area->recall.bell, 1);
}

static bool can_be_asked(const struct session *s, const struct session *but)
{
	return s != but && s->loan.has && shared_load(&s->area->recall.heard);
}

static void forget_silent(struct session *s, uint64_t now)
{
	if (!s->loan.asked || now - s->loan.asked_ns < ANSWER_NS)
		return;
	atomic_store(&s->area->recall.pages, 0); /* what it has not looked at: it would be asked twice */
	s->loan.asked = 0;
	s->loan.barren_ns = now + BARREN_NS;
}

static void ask_for_idle(struct session *s, uint64_t now)
{
	if (now < s->loan.idle_ns)
		return;
	s->loan.idle_ns = now + IDLE_NS;
	atomic_store(&s->area->recall.idle, 1);
	ring(s);
}

/* Everybody but s for what he does not use. How much is to come that was asked for before. */
static uint64_t ask_all_for_idle(const struct session *s, uint64_t now)
{
	uint64_t coming = 0;

	for (struct session *o = borrowers; o; o = o->loan.next) {
		forget_silent(o, now);
		if (!can_be_asked(o, s))
			continue;
		ask_for_idle(o, now);
		coming += o->loan.asked;
	}
	return coming;
}

static struct session *find_richest(const struct session *but, uint64_t above, uint64_t now)
{
	struct session *found = NULL;

	for (struct session *o = borrowers; o; o = o->loan.next)
		if (can_be_asked(o, but) && now >= o->loan.barren_ns && left_to(o) > (found ? left_to(found) : above))
			found = o;
	return found;
}

static uint64_t recall(struct session *s, uint64_t pages, uint64_t now)
{
	if (!s->loan.asked)
		s->loan.asked_ns = now;
	s->loan.asked += pages;
	atomic_fetch_add(&s->area->recall.pages, (uint32_t)pages);
	ring(s);
	return pages;
}

/* Whether something is to come. */
static bool ask_others(const struct session *s, uint64_t pages, bool urgent, uint64_t now)
{
	uint64_t above = urgent ? FLOOR : max_u64(FLOOR, s->loan.has + s->loan.coming + pages + STEP);
	uint64_t want = max_u64(pages, ASK_MIN), coming = ask_all_for_idle(s, now);
	struct session *o;

	while (coming < want && (o = find_richest(s, above, now)))
		coming += recall(o, min_u64(left_to(o) - above, STEP), now);
	return coming;
}

static void note_hunger(const struct session *s, bool urgent, uint64_t now)
{
	uint64_t level = urgent ? 0 : s->loan.has + s->loan.coming;

	if (now >= hunger.until_ns || level < hunger.level)
		hunger.level = level;
	hunger.until_ns = now + HUNGER_NS;
}

static bool must_stand_back(const struct session *s, uint64_t pages, uint64_t now)
{
	return now < hunger.until_ns && s->loan.has + s->loan.coming + pages > hunger.level + STEP;
}

/* ---- For files ---- */

static void leave_alone(struct loan *l, uint64_t now)
{
	bool soon = l->tapped_ns && now - l->tapped_ns < l->patience_ns;

	if (soon)
		l->patience_ns = min_u64(2 * l->patience_ns, PATIENCE_MAX_NS);
	else if (l->tapped_ns || !l->patience_ns)
		l->patience_ns = PATIENCE_NS;
	l->tapped_ns = 0;
	l->files_ns = now + l->patience_ns;
}

static bool can_be_tapped(struct session *o, uint64_t now)
{
	return can_be_asked(o, NULL) && !o->loan.asked && now >= o->loan.files_ns && now >= o->loan.barren_ns && left_to(o) > FLOOR;
}

/* The richest of those that have not borrowed lately. Caller holds loan_lock. */
static void tap_one(uint64_t now)
{
	struct session *found = NULL;

	ask_all_for_idle(NULL, now);
	for (struct session *o = borrowers; o; o = o->loan.next)
		if (can_be_tapped(o, now) && (!found || left_to(o) > left_to(found)))
			found = o;
	if (!found)
		return;
	found->loan.tapped_ns = now;
	recall(found, min_u64(left_to(found) - FLOOR, STEP), now);
}

void borrow_for_files(void)
{
	static _Atomic uint64_t heeded;
	uint64_t was = atomic_load_explicit(&heeded, memory_order_relaxed), back = policy_returned();

	if (back - was < STEP || !atomic_compare_exchange_strong(&heeded, &was, back))
		return;
	mutex_lock(&loan_lock);
	tap_one(now_ns());
	mutex_unlock(&loan_lock);
}

/* ---- Lending ---- */

static void list(struct session *s)
{
	if (s->loan.listed)
		return;
	s->loan.listed = true;
	s->loan.next = borrowers;
	borrowers = s;
}

static void unlist(struct session *s)
{
	struct session **at = &borrowers;

	if (!s->loan.listed)
		return;
	while (*at != s)
		at = &(*at)->loan.next;
	*at = s->loan.next;
	s->loan.listed = false;
}

/* Caller holds loan_lock. */
static int may_lend(const struct session *s, uint64_t pages, bool urgent)
{
	uint64_t max = budget_limit() / 2, max_lent = budget_limit() / 4 * 3, now = now_ns();

	if (pages > max || s->loan.has + s->loan.coming > max - pages)
		return -ENOMEM;
	if (!urgent && must_stand_back(s, pages, now))
		return -ENOMEM;
	if (pages <= max_lent && lent <= max_lent - pages)
		return 0;
	note_hunger(s, urgent, now);
	return ask_others(s, pages, urgent, now) ? -EAGAIN : -ENOMEM;
}

/* Counted before they are there, so that two requests at once do not exceed it. */
static int count_loan(struct session *s, uint64_t pages, bool urgent)
{
	int err;

	mutex_lock(&loan_lock);
	err = may_lend(s, pages, urgent);
	if (!err) {
		list(s);
		s->loan.coming += pages;
		lent += pages;
	}
	mutex_unlock(&loan_lock);
	return err;
}

static void settle(struct session *s, uint64_t pages, bool ok)
{
	mutex_lock(&loan_lock);
	s->loan.coming -= pages;
	if (ok) {
		s->loan.has += pages;
		s->loan.barren_ns = 0;
		leave_alone(&s->loan, now_ns());
	} else {
		lent -= pages;
	}
	mutex_unlock(&loan_lock);
}

int borrow_take(struct session *s, uint64_t pages, bool urgent)
{
	uint64_t done = 0;
	uint32_t got;
	int err = count_loan(s, pages, urgent);

	if (err)
		return err;
	for (; done < pages && !err; done += err ? 0 : got)
		err = atomic_load(&s->ended) ? -ENOMEM : reserve_frames((uint32_t)min_u64(pages - done, STEP), &got);
	if (err)
		budget_release(done);
	settle(s, pages, !err);
	return err;
}

/* Caller holds loan_lock. */
static void take_back(struct session *s, uint64_t pages, uint64_t refused)
{
	uint64_t now = now_ns();

	s->loan.has -= pages;
	budget_release(pages);
	lent -= pages;
	s->loan.asked -= min_u64(s->loan.asked, pages);
	s->loan.asked -= min_u64(s->loan.asked, refused);
	s->loan.asked_ns = now;
	if (refused)
		s->loan.barren_ns = now + BARREN_NS;
}

int borrow_return(struct session *s, uint64_t pages, uint64_t refused)
{
	bool ok;

	mutex_lock(&loan_lock);
	ok = pages <= s->loan.has;
	if (ok)
		take_back(s, pages, refused);
	mutex_unlock(&loan_lock);
	return ok ? 0 : -EINVAL;
}

void borrow_return_all(struct session *s)
{
	mutex_lock(&loan_lock);
	take_back(s, s->loan.has, 0);
	unlist(s);
	mutex_unlock(&loan_lock);
}
