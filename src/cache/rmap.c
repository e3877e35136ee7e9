/* SPDX-License-Identifier: Apache-2.0 */
#include "rmap.h"

#include "address_space.h"
#include "util/compiler.h"

struct rwlock rmap_lock = RWLOCK_INIT(RANK_RMAP);

void rmap_add(struct address_space *as, struct rmap *r)
{
	if (r->locked)
		atomic_fetch_add(&as->locked, 1);
	r->next = as->rmaps;
	r->link = &as->rmaps;
	if (r->next)
		r->next->link = &r->next;
	as->rmaps = r;
}

void rmap_del(struct address_space *as, struct rmap *r)
{
	if (!r->link)
		return;
	if (r->locked)
		atomic_fetch_sub(&as->locked, 1);
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	r->link = NULL;
	r->next = NULL;
}

static int protect_in(struct address_space *as, struct rmap *r, uint64_t index, uint32_t n)
{
	uint64_t first = max_u64(index, r->pgoff), end = min_u64(index + n, r->pgoff + r->pages);

	if (first >= end || (!r->shared && !as_is_anon(as)))
		return 0;
	return r->mmu->ops->protect(r->mmu, r->addr + ((first - r->pgoff) << FL_PAGE_SHIFT), (end - first) << FL_PAGE_SHIFT);
}

int rmap_protect(struct address_space *as, uint64_t index, uint32_t n)
{
	int err = 0;

	if (as->frames->protect)
		return as->frames->protect(as, index, n);
	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !err; r = r->next)
		err = protect_in(as, r, index, n);
	read_unlock(&rmap_lock);
	return err;
}

bool rmap_has(struct address_space *as, uint64_t index)
{
	bool found = false;

	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !found; r = r->next)
		found = index >= r->pgoff && index - r->pgoff < r->pages;
	read_unlock(&rmap_lock);
	return found;
}

bool rmap_is_locked(struct address_space *as, uint64_t index, uint64_t n)
{
	bool locked = false;

	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !locked; r = r->next)
		locked = r->locked && index < r->pgoff + r->pages && index + n > r->pgoff;
	read_unlock(&rmap_lock);
	return locked;
}

bool rmap_can_unmap(struct address_space *as, uint64_t index)
{
	bool yes = true;

	if (address_space_serves_others())
		return true; /* see frames_zap_add_mapped() */
	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && yes; r = r->next)
		yes = index < r->pgoff || index - r->pgoff >= r->pages || rmap_shows_file(r);
	read_unlock(&rmap_lock);
	return yes;
}
