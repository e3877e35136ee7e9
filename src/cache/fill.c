/* SPDX-License-Identifier: Apache-2.0 */
#include "fill.h"

#include <errno.h>
#include <string.h>

#include "util/compiler.h"

void fill_insert(struct fill *fl, uint32_t max)
{
	while (fl->n < max && fl->reserved) {
		struct page_key key = {.as = fl->as->id, .index = fl->index + fl->n};
		pfn_t pfn;

		if (fl->n && page_find(key) != PFN_NONE)
			break;
		pfn = fl->ahead || (fl->n && !fl->stored) ? page_insert_ahead(key) : page_insert(key);
		if (pfn == PFN_NONE)
			break;
		fl->pfn[fl->n++] = pfn;
		fl->reserved--;
	}
	as_count_page(fl->as, (int)fl->n);
}

void fill_drop(struct fill *fl, uint32_t keep)
{
	uint32_t n = fl->n > keep ? fl->n - keep : 0;

	if (!n)
		return;
	as_count_page(fl->as, -(int)n);
	while (fl->n > keep) {
		page_remove(fl->pfn[--fl->n]);
		fl->reserved++;
	}
}

int fill_trim(struct fill *fl, uint64_t got)
{
	uint64_t off = fl->index << FL_PAGE_SHIFT, end = page_align_up(got);

	if (got < (uint64_t)fl->n << FL_PAGE_SHIFT)
		address_space_stat(fl->as); /* the end, or shorter than it was: cut by somebody else, or a read that stopped short */
	fill_drop(fl, (uint32_t)(end >> FL_PAGE_SHIFT));
	if (got < end && off + got < atomic_load(&fl->as->size))
		return -EAGAIN; /* stopped short inside a page: not the end of the file */
	memset(fl->buf.data + got, 0, end - got);
	return fl->n ? 0 : -EAGAIN;
}

void fill_publish(struct fill *fl, uint32_t dirty)
{
	for (uint32_t i = 0; i < fl->n; i++) {
		page_read_done(fl->pfn[i], i < dirty);
		page_unlock(fl->pfn[i]);
	}
}
