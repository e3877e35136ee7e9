/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker holds the file's invalidate_lock for writing from the first answer until the client has said what it has changed, or has died. It
 * holds nothing else meanwhile: no frames, no buffer, no page lock. Others that want the file wait without either (address_space_wait_change).
 *
 * A client that dies between may have changed anything, and may not have begun. Clean pages come back from the file. Dirty ones stay as they
 * are: they hold stores that others have made, which must not be lost. What a write(2) has put in their place in the file is lost, as that call
 * has not returned.
 */
#include "change.h"

#include <errno.h>

#include "cache/io.h"
#include "cache/truncate.h"
#include "shared.h"
#include "util/compiler.h"
#include "util/spin.h"
#include "util/sys.h"

#define LOOK_NS 200000000ull /* how often the client's socket is looked at */
#define FILE_END ((PAGE_INDEX_MAX + 1) << FL_PAGE_SHIFT)

static _Atomic uint32_t *shrunk_counter;

void change_set_counter(_Atomic uint32_t *shrunk)
{
	shrunk_counter = shrunk;
}

struct shrink {
	struct address_space *as;
	uint64_t size;
};

static void note_lowest(struct handle *h, void *arg)
{
	const struct shrink *shrink = arg;
	uint64_t was = atomic_load(&h->lowest);

	if (h->as != shrink->as)
		return;
	while (shrink->size < was && !atomic_compare_exchange_weak(&h->lowest, &was, shrink->size))
		;
}

/* Every client knows of it before the one that did it goes on. */
static void tell_of_shrink(struct address_space *as, uint64_t size)
{
	struct shrink shrink = {.as = as, .size = size};

	session_each_handle(note_lowest, &shrink);
	atomic_fetch_add(shrunk_counter, 1);
}

uint64_t change_lowest(struct handle *h)
{
	return atomic_exchange(&h->lowest, UINT64_MAX);
}

/* False when the client has gone instead. Who would tell of that may be waiting for a worker, so this one looks by itself. */
static bool wait_for_resume(const struct request *r)
{
	static struct spin spin;
	struct wire_slot *slot = &r->s->area->slot[r->slot];
	uint32_t state;

	while ((state = atomic_load(&slot->state)) != WIRE_RESUME) {
		if (spin_while(&slot->state, state, &spin))
			continue;
		if (session_has_hung_up(r->s))
			return false;
		sys_futex_wait_shared(&slot->state, state, LOOK_NS);
	}
	atomic_store(&slot->state, WIRE_TAKEN);
	return true;
}

/* Bytes [off, off + len) as the client says, within what a file can have. */
static void refresh_changed(struct request *r, struct address_space *as, void *page)
{
	const struct wire_slot *slot = &r->s->area->slot[r->slot];
	uint64_t off = shared_load(&slot->arg[0]), len = shared_load(&slot->arg[1]);
	bool replaces = shared_load(&slot->arg[2]);

	if (off < FILE_END && len)
		(replaces ? replace_range : refresh_range)(as, off, min_u64(len, FILE_END - off), page);
}

/* Caller holds the invalidate_lock. What lies between the old end and the change reads as zeros now, whatever was stored there. */
static void finish(struct request *r, struct address_space *as, uint64_t old_size, bool resumed)
{
	unsigned char page[FL_PAGE_SIZE];
	uint64_t size;

	address_space_stat(as);
	size = atomic_load(&as->size);
	if (size != old_size)
		truncate_setsize(as, old_size, size);
	if (resumed)
		refresh_changed(r, as, page);
	else
		refresh_clean_pages(as, page);
}

/* Before the change; a file that somebody else has cut is as by a change of its own. Caller holds the invalidate_lock. */
static uint64_t look_at_size(struct address_space *as)
{
	uint64_t known = atomic_load(&as->size), size;

	address_space_stat(as);
	size = atomic_load(&as->size);
	if (size < known)
		truncate_setsize(as, known, size);
	return size;
}

/* *lowest: where the file ended at its shortest. */
static void change_locked(struct request *r, struct address_space *as, uint64_t *lowest)
{
	uint64_t old_size;
	bool resumed;

	io_drain(as);
	old_size = r->out[0] = look_at_size(as);
	serve_answer(r, 0);
	resumed = wait_for_resume(r);
	finish(r, as, old_size, resumed);
	r->out[0] = atomic_load(&as->size);
	*lowest = min_u64(old_size, r->out[0]);
	r->answered = !resumed;
}

int change_file(struct request *r)
{
	struct address_space *as = address_space_find((struct file_id){.dev = r->arg[0], .ino = r->arg[1]});
	uint64_t known, lowest;

	if (!as)
		return -ENOENT;
	write_lock(&as->invalidate_lock);
	known = atomic_load(&as->size);
	change_locked(r, as, &lowest);
	write_unlock(&as->invalidate_lock);
	if (lowest < known)
		tell_of_shrink(as, lowest);
	address_space_put(as);
	return 0;
}
