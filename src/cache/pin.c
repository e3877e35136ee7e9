/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that are brought in without a fault: to be pinned for a system call, or populated. As gup.c of Linux. A pin is counted in the page's word,
 * which changes under the page's lock; a page with pins stays in memory, and mapped as it was when it was pinned.
 *
 * `pinned_pages` is all pins and what is locked (mlock) together: half of the budget at most, unless that is borrowed, so that something can come and
 * go. It is charged before a page is looked for, and needs no lock. At a host, where many clients pin the same page for long, it is pages with pins instead
 * of pins: what the second pin of a page was charged is given back under the page's lock.
 *
 * In a private mapping it may be the file's page that is pinned, and the mapping have a copy by the time the pin ends: read_pins.c knows which. Where
 * pages may be hidden the mapping is held as well (hold() of the mmu). Pages of its files a host pins too, by a count of its own.
 */
#include <errno.h>

#include "budget.h"
#include "buffer.h"
#include "fault.h"
#include "host/channel.h"
#include "host/wire.h"
#include "hosted.h"
#include "policy.h"
#include "read_pins.h"
#include "reclaim.h"
#include "util/compiler.h"

static _Atomic uint64_t pinned_pages;
static _Atomic uint32_t unprotecting, unprotected;

void filemap_init(void)
{
	atomic_store(&unprotecting, 0);
	atomic_store(&pinned_pages, 0);
	read_pins_init();
}

#define MANY_SHARE 4 /* of the budget */

bool filemap_pins_are_many(void)
{
	return channel_joined() ? channel_pins_are_many() : atomic_load(&pinned_pages) > budget_limit() / MANY_SHARE;
}

static bool counts_pages(void)
{
	return address_space_serves_others();
}

#define UNLOCKED_SHARE 16 /* of the budget: something must be able to come and go */

bool filemap_has_room_to_lock(uint64_t pages)
{
	uint64_t tables = (buffer_bytes() + page_table_bytes() + policy_bytes()) >> FL_PAGE_SHIFT, limit = budget_limit();
	uint64_t kept = budget_fixed_pages() + tables + budget_metadata() + budget_spare() + limit / UNLOCKED_SHARE;

	return atomic_load(&pinned_pages) + pages + kept <= limit;
}

bool filemap_charge_locked(uint64_t pages)
{
	uint64_t max = budget_is_borrowed() ? budget_limit() : budget_limit() / 2, n = atomic_load(&pinned_pages);

	do
		if (pages > max || n > max - pages)
			return false;
	while (!atomic_compare_exchange_weak(&pinned_pages, &n, n + pages));
	return true;
}

void filemap_uncharge_locked(uint64_t pages)
{
	atomic_fetch_sub(&pinned_pages, pages);
}

/* While the kernel makes a page writable it is not there, for system calls either that read it pinned. */
int fault_beside_pins(struct fault *f)
{
	int err;

	if (!f->write || !f->present || !atomic_load_explicit(&pinned_pages, memory_order_relaxed))
		return fault_page(f, NULL);
	atomic_fetch_add(&unprotecting, 1);
	err = fault_page(f, NULL);
	atomic_fetch_add(&unprotected, 1);
	atomic_fetch_sub(&unprotecting, 1);
	return err;
}

/* In this order: one that ends between the two has been counted. */
uint32_t filemap_unprotected(bool *now)
{
	*now = atomic_load(&unprotecting);
	return atomic_load(&unprotected);
}

/* Where pages may be hidden at any time, the mapping is held as well. */
static int fault_and_hold(struct fault *f, pfn_t *pfn)
{
	int err;

	for (;;) {
		err = fault_page(f, pfn);
		if (err || *pfn == PFN_NONE || !may_be_hidden(f) || !f->mmu->ops->hold(f->mmu, f->addr, f->write))
			return err;
		page_unlock(*pfn);
	}
}

static void let_go(const struct fault *f)
{
	if (may_be_hidden(f))
		f->mmu->ops->let_go(f->mmu, f->addr);
}

/* The page is locked. */
static int pin_locked(struct fault *f, pfn_t pfn)
{
	if (!page_pin(pfn)) {
		let_go(f);
		return -ENOMEM;
	}
	if (f->read_pin && page_key(pfn).as == f->as->id)
		read_pins_add(f);
	return 0;
}

static int pin_charged(struct fault *f)
{
	pfn_t pfn = PFN_NONE;
	int err = fault_and_hold(f, &pfn);

	if (!err && pfn != PFN_NONE) {
		err = pin_locked(f, pfn);
		if (!err && counts_pages() && page_pins_of(page_word(pfn)) > 1)
			filemap_uncharge_locked(1);
		page_unlock(pfn);
	}
	return err;
}

#define NOTE_TRIES 16 /* others may take the page that was got for it */

/* Where it is the file's page that may be pinned in a private mapping. */
static int prepare_note(struct fault *f)
{
	int err = 0;

	f->read_pin = NULL;
	if (!f->anon || f->as->zero)
		return 0;
	for (int i = 0; !err && !(f->read_pin = read_pin_new()); i++)
		err = i < NOTE_TRIES ? metadata_wait() : -ENOMEM;
	return err;
}

int filemap_pin(struct fault *f)
{
	int err;

	if (!filemap_charge_locked(1))
		return -ENOMEM;
	count_fault(f);
	err = prepare_note(f);
	if (!err)
		err = pin_charged(f);
	read_pin_free(f->read_pin);
	if (err)
		atomic_fetch_sub(&pinned_pages, 1);
	return err;
}

/* Whether that is one less in the count. */
static bool unpin_key(struct page_key key)
{
	pfn_t pfn = page_find_lock_any(key); /* a huge one is not the page that was pinned */
	uint32_t pins;

	if (pfn == PFN_NONE)
		return false;
	pins = page_pins_of(page_word(pfn));
	page_unpin(pfn);
	page_unlock(pfn);
	return counts_pages() ? pins == 1 : pins > 0;
}

bool filemap_unpin_file(const struct fault *f)
{
	if (as_is_hosted(f->as))
		return hosted_unpin(f->as, f->index, 1);
	return !f->as->zero && unpin_key(file_key(f));
}

void filemap_unpin(struct fault *f)
{
	enum read_pin_place place = f->anon ? read_pins_remove(f) : READ_PIN_ON_FILE;
	bool was = false;

	let_go(f);
	if (place != READ_PIN_ON_FILE)
		was = anon_of(f) && unpin_key(anon_key(f));
	if (place == READ_PIN_ON_FILE || (place == READ_PIN_ON_COPY && may_be_hidden(f))) /* see take_over_pins() */
		was |= filemap_unpin_file(f);
	if (was)
		atomic_fetch_sub(&pinned_pages, 1);
}

bool filemap_was_copied(const struct fault *f)
{
	return f->anon && read_pins_any(f) && private_has_copy(f, 0);
}

/* Pages of a shared mapping that a host has. */
static bool is_hosted_run(const struct fault *f)
{
	return as_is_hosted(f->as) && !f->anon;
}

int filemap_populate(struct fault *f, uint64_t pages, uint64_t *done)
{
	int err;

	*done = 1;
	pages = min_u64(pages, min_u64(f->room, WIRE_POPULATE_MAX));
	if (pages < 2 || !is_hosted_run(f))
		return filemap_fault(f);
	count_fault(f);
	err = hosted_populate(f, pages, done);
	*done = max_u64(*done, 1);
	if (!err)
		count_hit(f);
	return err;
}

int filemap_pin_run(struct fault *f, uint64_t pages, uint64_t *done)
{
	int err;

	*done = 1;
	pages = min_u64(pages, min_u64(f->room, WIRE_PIN_MAX));
	if (pages < 2 || !is_hosted_run(f) || !filemap_charge_locked(pages))
		return filemap_pin(f);
	count_fault(f);
	err = hosted_pin(f, pages, done);
	filemap_uncharge_locked(pages - *done);
	if (!err)
		count_hit(f);
	return err;
}

void filemap_unpin_run(struct fault *f, uint64_t pages, uint64_t *done)
{
	uint64_t n;

	*done = 1;
	if (!is_hosted_run(f)) {
		filemap_unpin(f);
		return;
	}
	n = hosted_unpin(f->as, f->index, min_u64(pages, f->room));
	filemap_uncharge_locked(n);
	*done = max_u64(n, 1);
}

void filemap_forget_pins(uint32_t n)
{
	atomic_fetch_sub(&pinned_pages, counts_pages() ? min_u64(n, 1) : n);
}
