/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that are no file's: the private pages of one mapping (anon), those of all soft spaces (slots), and families, which are a reverse map only.
 * They have a number like files, families apart, and swap where files have a store; but they are in no table, and nobody looks for them. A count
 * of their own (anon_refs) says how many need them, without a lock, and the last one frees them, when their pages have gone.
 *
 * Made in a fault (anon), with the first soft space (slots), or by the first private page of a VMA (families): what is allocated was set aside before.
 */
#include <errno.h>

#include "address_space_internal.h"
#include "frames.h"
#include "util/compiler.h"

/* Where there is no swap, as->store is NULL: its pages stay in memory. When there is just no memory for it now, they must not do so for good. */
static int open_swap(struct address_space *as, uint64_t bytes)
{
	int err = swap_store_open(address_space_arena(), bytes, &as->store);

	if (err)
		as->store = NULL;
	return err == -ENOENT ? 0 : err;
}

/* The last step of making one, where the others had this result. */
static int show(struct address_space *as, int err, struct address_space **out)
{
	if (!err)
		err = address_space_number(as);
	if (err)
		address_space_put_anon(as);
	else
		*out = as;
	return err;
}

int address_space_new_anon(struct address_space *file, uint64_t pages, struct address_space **out)
{
	struct address_space *as = address_space_alloc(&anon_frames);
	int err;

	if (!as)
		return -ENOMEM;
	as->file = file->file;
	as->report = file->report;
	as->anon_pages = pages;
	atomic_store(&as->anon_refs, 1);
	err = open_swap(as, pages << FL_PAGE_SHIFT);
	if (!err && as->store)
		err = anon_swap_init(as);
	return show(as, err, out);
}

int address_space_new_slots(const struct frame_ops *frames, uint64_t bytes, struct address_space **out)
{
	struct address_space *as = address_space_alloc(frames);

	if (!as)
		return -ENOMEM;
	as->report = address_space_zero()->report;
	atomic_store(&as->anon_refs, 1);
	atomic_store(&as->size, UINT64_MAX);
	swap_prepare();
	return show(as, open_swap(as, bytes), out);
}

int address_space_new_family(struct address_space *file, struct address_space **out)
{
	struct address_space *as = address_space_alloc(NULL);

	if (!as)
		return -ENOMEM;
	as->file = file->file;
	as->report = file->report;
	atomic_store(&as->anon_refs, 1);
	*out = as;
	return 0;
}

void address_space_put_anon(struct address_space *as)
{
	if (atomic_fetch_sub(&as->anon_refs, 1) > 1)
		return;
	address_space_unnumber(as);
	anon_swap_exit(as);
	if (as->store)
		as->store->ops->close(as->store);
	address_space_free(as);
}
