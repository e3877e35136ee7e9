/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is about to be mapped, and changes that went past the cache while it was not; see host/inflight.h. */
#include "address_space.h"
#include "host/channel.h"
#include "host/inflight.h"
#include "hosted.h"
#include "io.h"
#include "truncate.h"

/* What was looked at before the changes were done is its size. An empty change of our own has the host look again. */
static void look_there(struct address_space *as)
{
	struct channel_pair pair;
	uint64_t old_size;
	bool held;

	if (!hosted_change_begin(&pair, as->file, &old_size, &held) && held && !hosted_change_end(&pair, 0, 0, false))
		atomic_store(&as->size, pair.call.out[0]);
}

static void look_again(struct address_space *as)
{
	uint64_t old_size, size;

	write_lock(&as->invalidate_lock);
	io_drain(as);
	old_size = atomic_load(&as->size);
	address_space_stat(as);
	size = atomic_load(&as->size);
	if (size != old_size)
		truncate_setsize(as, old_size, size);
	write_unlock(&as->invalidate_lock);
}

void address_space_settle(struct address_space *as)
{
	if (as->kernels || !inflight_wait(wire_filter(as->file.dev, as->file.ino)))
		return;
	if (as_is_hosted(as))
		look_there(as);
	else
		look_again(as);
}
