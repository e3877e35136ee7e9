/* SPDX-License-Identifier: Apache-2.0 */
#include "held.h"

#include "api/file_io.h"
#include "base/pins.h"

/* What the program may not write is perhaps only read. */
static bool pin_all(const struct held *h, const void *frame)
{
	return !pin(h->at, h->len, h->write, frame) || (h->write && !pin(h->at, h->len, false, frame));
}

/* Room may be less than what is said to be there: of a range that cannot be pinned whole, what is on its first page. */
static bool pin_some(struct held *h, const void *frame)
{
	size_t first = FL_PAGE_SIZE - ((uintptr_t)h->at & FL_PAGE_MASK);

	if (pin_all(h, frame))
		return true;
	if (h->len <= first)
		return false;
	h->len = first;
	return pin_all(h, frame);
}

void hold_from(const void *frame, struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!h[i].at || !h[i].len || !file_io_is_ours(h[i].at, h[i].len) || !pin_some(&h[i], frame))
			h[i].len = 0;
}

void release_from(const void *frame, const struct held *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (h[i].len)
			unpin(h[i].at, h[i].len, frame);
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
