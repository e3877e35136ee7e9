/* SPDX-License-Identifier: Apache-2.0 */
#include "held.h"

#include "api/file_io.h"

/* What the program may not write is perhaps only read. */
static bool pin(const struct held *h)
{
	return !file_io_pin(h->at, h->len, h->write) || (h->write && !file_io_pin(h->at, h->len, false));
}

/* Room may be less than what is said to be there: of a range that cannot be pinned whole, what is on its first page. */
static bool pin_some(struct held *h)
{
	size_t first = FL_PAGE_SIZE - ((uintptr_t)h->at & FL_PAGE_MASK);

	if (pin(h))
		return true;
	if (h->len <= first)
		return false;
	h->len = first;
	return pin(h);
}

void hold(struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!h[i].at || !h[i].len || !file_io_is_ours(h[i].at, h[i].len) || !pin_some(&h[i]))
			h[i].len = 0;
}

void release(const struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (h[i].len)
			file_io_unpin(h[i].at, h[i].len);
}

bool held_was_cut(const struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (h[i].len && file_io_was_cut(h[i].at, h[i].len, -EFAULT))
			return true;
	return false;
}

static bool fills(const struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (h[i].write && h[i].at)
			return true;
	return false;
}

bool held_again(struct again *again, const struct held *h, size_t n)
{
	if (again->times++ == FILE_IO_CUTS)
		return false;
	return held_was_cut(h, n) || (file_io_was_away(again->moves, 0, -EFAULT) && !fills(h, n));
}
