/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "util/compiler.h"
#include "util/own.h"
#include "util/sys.h"

static _Atomic uint64_t used, peak;
static _Atomic uint64_t spare;    /* reserved for metadata, not used yet */
static _Atomic uint64_t metadata; /* charged by budget_charge_metadata() */
static uint64_t limit;

/*
 * Lent to us: at least what is used, once a reservation has succeeded. Who makes it smaller does so before he looks at what is used, who uses
 * more before he looks at what is lent: one of them sees the other.
 */
static _Atomic uint64_t lent;
static bool (*borrow)(uint64_t pages);
static void (*give_back)(uint64_t pages);

#define LOAN 64           /* pages at a time */
#define BORROWER_SLACK 16 /* pages: what an observer sees in between is the lender's, mostly */
#define IDLE_LOAN 256     /* given back when so much more is lent than used */

void budget_set_lender(bool (*borrow_fn)(uint64_t pages), void (*give_back_fn)(uint64_t pages))
{
	borrow = borrow_fn;
	give_back = give_back_fn;
	atomic_store(&lent, 0);
}

/* So much is lent that `now` pages can be in use. */
static bool borrow_for(uint64_t now)
{
	uint64_t have;

	if (!borrow)
		return true;
	while ((have = atomic_load(&lent)) < now) {
		uint64_t more = max_u64(now - have, LOAN);

		if (!borrow(more) && (more == now - have || !borrow(more = now - have)))
			return false;
		atomic_fetch_add(&lent, more);
	}
	return true;
}

bool budget_is_borrowed(void)
{
	return borrow;
}

bool budget_overdrawn(void)
{
	return borrow && atomic_load(&used) > atomic_load(&lent);
}

void budget_exit(void)
{
	uint64_t have = atomic_exchange(&lent, 0);

	if (have)
		give_back(have);
	borrow = NULL;
	give_back = NULL;
}

static void return_idle(void)
{
	uint64_t have = atomic_load(&lent), more = have - atomic_load(&used);

	if (!give_back || have < atomic_load(&used) || more < IDLE_LOAN)
		return;
	more -= IDLE_LOAN / 2;
	if (!atomic_compare_exchange_strong(&lent, &have, have - more))
		return;
	if (atomic_load(&used) <= have - more)
		give_back(more);
	else
		atomic_fetch_add(&lent, more);
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
	return BUDGET_FIXED_PAGES + (borrow ? min_u64(limit / 64, BORROWER_SLACK) : limit / 64);
}

static void note_peak(uint64_t now)
{
	uint64_t seen = atomic_load_explicit(&peak, memory_order_relaxed);

	while (now > seen && !atomic_compare_exchange_weak_explicit(&peak, &seen, now, memory_order_relaxed, memory_order_relaxed))
		;
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
	return true;
}

void budget_release(uint64_t pages)
{
	uint64_t was = pages ? atomic_fetch_sub(&used, pages) : 0;

	fl_assert(was >= pages);
	if (unlikely(give_back))
		return_idle();
}

void *budget_map(uint64_t bytes)
{
	void *p;

	if (!budget_try_reserve(bytes >> FL_PAGE_SHIFT))
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
	for (uint64_t part = pages; part && borrow && !borrow_for(part); part /= 2)
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
