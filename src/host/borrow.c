/* SPDX-License-Identifier: Apache-2.0 */
#include "borrow.h"

#include <errno.h>

#include "cache/budget.h"
#include "cache/reclaim.h"
#include "util/compiler.h"

#define STEP 64 /* pages that are reserved at once */

static _Atomic uint64_t lent; /* to all */

static bool count_lent(uint64_t pages)
{
	uint64_t n = atomic_load(&lent), max = budget_limit() / 4 * 3;

	do
		if (pages > max || n > max - pages)
			return false;
	while (!atomic_compare_exchange_weak(&lent, &n, n + pages));
	return true;
}

/* Counted before they are there, so that two requests at once do not exceed it. */
static bool count_borrowed(struct session *s, uint64_t pages)
{
	uint64_t max = budget_limit() / 2;
	bool ok;

	write_lock(&s->lock);
	ok = pages <= max && s->borrowed + s->borrowing <= max - pages && count_lent(pages);
	if (ok)
		s->borrowing += pages;
	write_unlock(&s->lock);
	return ok;
}

static void settle(struct session *s, uint64_t pages, bool ok)
{
	write_lock(&s->lock);
	s->borrowing -= pages;
	s->borrowed += ok ? pages : 0;
	write_unlock(&s->lock);
	if (!ok)
		atomic_fetch_sub(&lent, pages);
}

int borrow_take(struct session *s, uint64_t pages)
{
	uint64_t done = 0;
	uint32_t got;
	int err = 0;

	if (!count_borrowed(s, pages))
		return -ENOMEM;
	for (; done < pages && !err; done += err ? 0 : got)
		err = atomic_load(&s->ended) ? -ENOMEM : reserve_frames((uint32_t)min_u64(pages - done, STEP), &got);
	if (err)
		budget_release(done);
	settle(s, pages, !err);
	return err;
}

int borrow_return(struct session *s, uint64_t pages)
{
	bool ok;

	write_lock(&s->lock);
	ok = pages <= s->borrowed;
	if (ok)
		s->borrowed -= pages;
	write_unlock(&s->lock);
	if (!ok)
		return -EINVAL;
	atomic_fetch_sub(&lent, pages);
	budget_release(pages);
	return 0;
}

void borrow_return_all(struct session *s)
{
	borrow_return(s, s->borrowed);
}
