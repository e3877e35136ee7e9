/* SPDX-License-Identifier: Apache-2.0 */
#include "flusher.h"

#include <errno.h>
#include <pthread.h>

#include "cache/io.h"
#include "cache/writeback.h"
#include "util/sys.h"

#define EVERY_NS 5000000000ull
#define STACK_BYTES (256UL << 10)

static pthread_t thread;
static bool running;
static _Atomic bool stopping, busy;
static _Atomic uint32_t calls; /* futex: to write all at once, or to stop */
static _Atomic uint32_t done;  /* of these */

/* A file that is being changed would keep the others waiting: it is written the next time. */
static int flush_one(struct address_space *as, void *arg)
{
	const bool *wait = arg;

	if (as->scratch || !atomic_load(&as->nr_dirty) || !as->store->writable)
		return atomic_load(&stopping);
	if (*wait) {
		writeback_all(as);
	} else if (read_trylock(&as->invalidate_lock)) {
		read_unlock(&as->invalidate_lock);
		writeback_start(as, 0, PAGE_INDEX_MAX);
	}
	return atomic_load(&stopping);
}

static void *flush(void *unused)
{
	while (!atomic_load(&stopping)) {
		uint32_t seen = atomic_load(&calls);
		bool wait = seen != atomic_load(&done);

		atomic_store(&busy, true);
		address_space_for_each(flush_one, &wait);
		io_poll();
		atomic_store(&busy, false);
		atomic_store(&done, seen);
		if (!atomic_load(&stopping))
			sys_futex_wait_shared(&calls, seen, EVERY_NS);
	}
	return unused;
}

uint32_t flusher_flush(void)
{
	uint32_t call = atomic_fetch_add(&calls, 1) + 1;

	sys_futex_wake_shared(&calls, 1);
	return call;
}

bool flusher_has_flushed(uint32_t flush)
{
	return (int32_t)(atomic_load(&done) - flush) >= 0;
}

bool flusher_is_busy(void)
{
	return atomic_load(&busy);
}

int flusher_start(void)
{
	pthread_attr_t attr;
	int err;

	atomic_store(&stopping, false);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&thread, &attr, flush, NULL);
	pthread_attr_destroy(&attr);
	running = !err;
	return -err;
}

void flusher_stop(void)
{
	if (!running)
		return;
	atomic_store(&stopping, true);
	flusher_flush();
	pthread_join(thread, NULL);
	running = false;
}
