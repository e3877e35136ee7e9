/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "util/compiler.h"
#include "util/lock.h"
#include "util/own.h"
#include "util/report.h"
#include "util/sys.h"

static _Atomic uint64_t used, peak;
static _Atomic uint64_t spare;    /* reserved for metadata, not used yet */
static _Atomic uint64_t metadata; /* charged by budget_charge_metadata() */
static uint64_t limit;

/*
 * Lent to us: at least what is used, once a reservation has succeeded. Who makes it smaller does so before he looks at what is used, who uses
 * more before he looks at what is lent: one of them sees the other.
 *
 * What is owed is the lender's, was taken from `lent`, and is still in use or was a moment ago: the lender counts lent + owed. So it can go back as far
 * as used <= lent + what stays owed: reservations succeed up to `lent` alone.
 */
static _Atomic uint64_t lent, owed;
static _Atomic bool debt_busy;      /* somebody changes `owed` */
static struct budget_lender lender; /* functions NULL: none */

#define LOAN 64           /* pages at a time */
#define BORROWER_SLACK 16 /* pages: what an observer sees in between is the lender's, mostly */
#define BORROWER_THREAD 6 /* pages: of the thread that gives back, see repay.c */
#define IDLE_LOAN 256     /* given back when so much more is lent than used */

void budget_set_lender(const struct budget_lender *l)
{
	lender = *l;
	atomic_store(&lent, 0);
	atomic_store(&owed, 0);
}

/* So much is lent that `now` pages can be in use. */
static bool borrow_for(uint64_t now)
{
	uint64_t have;

	if (!lender.borrow)
		return true;
	while ((have = atomic_load(&lent)) < now) {
		uint64_t more = max_u64(now - have, LOAN);

		if (lender.borrow(more, false) && (more == now - have || lender.borrow(more = now - have, false)))
			return false;
		atomic_fetch_add(&lent, more);
	}
	return true;
}

bool budget_is_borrowed(void)
{
	return lender.borrow;
}

bool budget_overdrawn(void)
{
	return lender.borrow && atomic_load(&used) > atomic_load(&lent);
}

uint64_t budget_lent(void)
{
	return atomic_load(&lent);
}

uint64_t budget_owed(void)
{
	return atomic_load(&owed);
}

int budget_beg(uint64_t pages)
{
	uint64_t now = atomic_load(&used) + pages, have;

	if (!lender.borrow || now > limit)
		return -ENOMEM;
	while ((have = atomic_load(&lent)) < now) {
		uint64_t more = min_u64(now - have, LOAN);
		int err = lender.borrow(more, true);

		if (err && (more == 1 || lender.borrow(more = 1, true)))
			return err;
		atomic_fetch_add(&lent, more);
	}
	return 0;
}

bool budget_borrow_overdraft(void)
{
	uint64_t have, now;

	while ((have = atomic_load(&lent)) < (now = atomic_load(&used))) {
		uint64_t more = min_u64(now - have, LOAN);

		if (!lender.borrow || lender.borrow(more, false))
			return false;
		atomic_fetch_add(&lent, more);
	}
	return true;
}

void budget_exit(void)
{
	uint64_t have = atomic_exchange(&lent, 0) + atomic_exchange(&owed, 0);

	if (have)
		lender.give_back(have, 0);
	lender = (struct budget_lender){NULL, NULL};
}

/* ---- What goes back ---- */

/* Not a lock: releases come with any lock held, and leave it to the one who has this. */
static bool begin_debt(void)
{
	return !atomic_exchange(&debt_busy, true);
}

static void end_debt(void)
{
	atomic_store(&debt_busy, false);
}

static uint64_t payable(void)
{
	uint64_t debt = atomic_load(&owed), have = atomic_load(&lent) + debt, u = atomic_load(&used);

	return have > u ? min_u64(debt, have - u) : 0;
}

void budget_pay(void)
{
	uint64_t part;

	if (!begin_debt())
		return;
	part = payable();
	atomic_fetch_sub(&owed, part);
	end_debt();
	if (part)
		lender.give_back(part, 0);
}

/* When at least so much lies idle: all but `keep`. */
static void return_idle(uint64_t least, uint64_t keep)
{
	uint64_t have = atomic_load(&lent), more = have - atomic_load(&used);

	if (have < atomic_load(&used) || more < least || more <= keep)
		return;
	more -= keep;
	if (!atomic_compare_exchange_strong(&lent, &have, have - more))
		return;
	if (atomic_load(&used) <= have - more)
		lender.give_back(more, 0);
	else
		atomic_fetch_add(&lent, more);
}

void budget_return_idle(uint64_t least)
{
	uint64_t u = atomic_load(&used);

	if (lender.give_back)
		return_idle(1, least > u ? least - u : 0);
}

static void wait_for_debt(void)
{
	for (unsigned turn = 0; !begin_debt(); turn++)
		cpu_relax(turn);
}

uint64_t budget_owe(uint64_t pages, uint64_t least)
{
	uint64_t have = atomic_load(&lent), part;

	wait_for_debt();
	do
		part = have > least ? min_u64(pages, have - least) : 0;
	while (!atomic_compare_exchange_weak(&lent, &have, have - part));
	atomic_fetch_add(&owed, part);
	end_debt();
	budget_pay();
	return part;
}

void budget_refuse(uint64_t refused)
{
	uint64_t debt;

	wait_for_debt();
	debt = atomic_exchange(&owed, 0);
	atomic_fetch_add(&lent, debt);
	end_debt();
	if (debt + refused)
		lender.give_back(0, debt + refused);
}

int budget_init(uint64_t bytes)
{
	if (bytes < BUDGET_MIN)
		return -EINVAL;
	limit = bytes >> FL_PAGE_SHIFT;
	atomic_store(&metadata, 0);
	budget_set_used(budget_fixed_pages());
	return 0;
}

uint64_t budget_fixed_pages(void)
{
	return BUDGET_FIXED_PAGES + (lender.borrow ? min_u64(limit / 64, BORROWER_SLACK) + BORROWER_THREAD : limit / 64);
}

static void note_peak(uint64_t now)
{
	uint64_t seen = atomic_load_explicit(&peak, memory_order_relaxed);

	while (now > seen && !atomic_compare_exchange_weak_explicit(&peak, &seen, now, memory_order_relaxed, memory_order_relaxed))
		;
}

static void publish(uint64_t now)
{
	report_used(now << FL_PAGE_SHIFT, atomic_load_explicit(&peak, memory_order_relaxed) << FL_PAGE_SHIFT);
}

bool budget_try_reserve(uint64_t pages)
{
	uint64_t u = atomic_load_explicit(&used, memory_order_relaxed);

	do {
		if (pages > limit || u > limit - pages)
			return false;
	} while (!atomic_compare_exchange_weak(&used, &u, u + pages));
	if (!borrow_for(u + pages)) {
		atomic_fetch_sub(&used, pages);
		return false;
	}
	note_peak(u + pages);
	publish(u + pages);
	return true;
}

void budget_release(uint64_t pages)
{
	uint64_t was = pages ? atomic_fetch_sub(&used, pages) : 0;

	fl_assert(was >= pages);
	if (pages)
		publish(was - pages);
	if (likely(!lender.give_back))
		return;
	if (atomic_load_explicit(&owed, memory_order_relaxed))
		budget_pay();
	else
		return_idle(IDLE_LOAN, IDLE_LOAN / 2);
}

#define PATIENCE 2000
#define PAUSE_NS 500000

/* Others may be about to give back what they were asked for. */
static bool reserve_patiently(uint64_t pages)
{
	int err = 0;

	for (int turn = 0; turn < PATIENCE && err != -ENOMEM; turn++) {
		if (budget_try_reserve(pages))
			return true;
		err = budget_beg(pages);
		if (err == -EAGAIN)
			sys_nanosleep(PAUSE_NS);
	}
	return false;
}

bool budget_hold(uint64_t pages)
{
	bool held = !lender.borrow || reserve_patiently(pages);

	if (held && lender.borrow)
		budget_release(pages);
	return held;
}

void *budget_map(uint64_t bytes)
{
	void *p;

	if (!reserve_patiently(bytes >> FL_PAGE_SHIFT))
		return NULL;
	p = own_reserve(bytes);
	if (sys_is_err(p)) {
		budget_release(bytes >> FL_PAGE_SHIFT);
		return NULL;
	}
	sys_madvise(p, bytes, MADV_NOHUGEPAGE); /* a huge page would be memory that nobody has touched */
	return p;
}

void budget_unmap(void *memory, uint64_t bytes)
{
	if (!memory)
		return;
	sys_munmap(memory, bytes);
	budget_release(bytes >> FL_PAGE_SHIFT);
}

/* What it has beyond what can be borrowed leaves when somebody next wants a page: no reservation succeeds before. */
void budget_set_used(uint64_t pages)
{
	atomic_store(&spare, 0);
	atomic_store(&used, pages);
	atomic_store(&peak, pages);
	atomic_store(&lent, 0);
	publish(pages);
	atomic_store(&owed, 0);
	end_debt();
	for (uint64_t part = pages; part && lender.borrow && !borrow_for(part); part /= 2)
		;
}

uint64_t budget_limit(void)
{
	return limit;
}

uint64_t budget_used(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed);
}

uint64_t budget_peak(void)
{
	return atomic_load_explicit(&peak, memory_order_relaxed);
}

static bool take_spare(uint64_t pages)
{
	uint64_t s = atomic_load(&spare);

	while (s >= pages)
		if (atomic_compare_exchange_weak(&spare, &s, s - pages))
			return true;
	return false;
}

static bool charge(uint64_t pages, bool from_spare)
{
	if (atomic_fetch_add(&metadata, pages) + pages <= limit / 2 && ((from_spare && take_spare(pages)) || budget_try_reserve(pages)))
		return true;
	atomic_fetch_sub(&metadata, pages);
	return false;
}

bool budget_charge_metadata(uint64_t pages)
{
	return charge(pages, true);
}

/* A look first: those who need a page now should not meet what is charged here for a moment in vain. */
bool budget_charge_ahead(uint64_t pages)
{
	if (budget_metadata() + pages > limit / 2 || budget_used() + pages > limit)
		return false;
	return charge(pages, false);
}

void budget_release_metadata(uint64_t pages)
{
	atomic_fetch_sub(&metadata, pages);
	budget_release(pages);
}

uint64_t budget_metadata(void)
{
	return atomic_load_explicit(&metadata, memory_order_relaxed);
}

uint64_t budget_spare(void)
{
	return atomic_load_explicit(&spare, memory_order_relaxed);
}

bool budget_metadata_low(void)
{
	return atomic_load_explicit(&spare, memory_order_relaxed) < METADATA_SPARE;
}

void budget_add_spare(void)
{
	atomic_fetch_add(&spare, 1);
}

void budget_drop_spare(void)
{
	while (atomic_load(&spare) > METADATA_SPARE && take_spare(1))
		budget_release(1);
}
