/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host asks a client to give back memory; the client's program may sleep, or wait for memory itself. So a thread of ours sleeps at the host's bell:
 *
 *   for what is idle   goes back as it is
 *   for so many pages  they are owed (budget.h): nobody reserves any more until so much has been released. We reclaim, as do threads of the program
 *                      that want memory. What cannot leave is refused
 *   overdrawn          after a fork: borrowed, or reclaimed, without being asked
 *
 * It waits for nobody who could wait for it: reclaim tries the locks of pages, and a thread that faults holds nothing that it needs. There is none as long as
 * there is hardly anything to give back; from then on it stays.
 */
#include "repay.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "budget.h"
#include "host/channel.h"
#include "io.h"
#include "reclaim.h"
#include "util/compiler.h"
#include "util/sys.h"
#include "util/thread.h"

#define WORKING_PAGES 16 /* stay beside what is always needed */
#define SPACE_PAGES 8    /* about what is still to be made when room is looked for, at the start */
#define WORTH_PAGES 32   /* from so many above that on somebody listens */
#define STEP 32
#define LOOKS 40 /* that find nothing to take out of memory */
#define PAUSE_NS 500000
#define FOR_LONG_NS 3600000000000ull
#define OVERDRAFT_NS 50000000ull /* a child that is about to call exec needs not begin */
#define OVERDRAFT_MAX_NS 2000000000ull

static struct thread thread;
static uint64_t always;          /* pages used at the start: constant while begun */
static _Atomic long process;     /* of which the thread is: a child that shares its memory would not end with one of its own */
static _Atomic bool begun, stop; /* stop: the thread is to end */

static uint64_t least(void)
{
	return always + budget_metadata() + budget_spare() + WORKING_PAGES;
}

/* Whether something has left memory, or may soon. */
static bool make_some_room(void)
{
	return reclaim_pages(STEP) || io_help();
}

static void repay(uint32_t pages)
{
	uint64_t taken = budget_owe(pages, least());

	for (int looks = 0; budget_owed() && looks < LOOKS && !atomic_load(&stop); budget_pay())
		if (!make_some_room()) {
			looks++;
			sys_nanosleep(PAUSE_NS);
		}
	budget_refuse(pages - taken);
}

static void settle_overdraft(void)
{
	while (!budget_borrow_overdraft() && !atomic_load(&stop) && make_some_room())
		;
}

/* How long to sleep. */
static uint64_t look_at_overdraft(uint64_t *pause)
{
	if (!budget_overdrawn()) {
		*pause = OVERDRAFT_NS;
		return FOR_LONG_NS;
	}
	*pause = min_u64(*pause * 2, OVERDRAFT_MAX_NS);
	return *pause;
}

/* Whether anything was asked for. */
static bool heed(void)
{
	struct channel_recall r = channel_take_recall();

	if (r.idle)
		budget_return_idle(least());
	if (r.pages)
		repay(r.pages);
	return r.idle || r.pages;
}

/* The bell is looked at first: who wants something of us makes it known before he rings. */
static void serve(void *unused)
{
	uint64_t pause = OVERDRAFT_NS, sleep = OVERDRAFT_NS;

	(void)unused;
	channel_hear_recall(true);
	for (;;) {
		uint32_t seen = channel_recall_bell();

		if (atomic_load(&stop))
			break;
		if (heed())
			continue;
		channel_wait_recall(seen, sleep);
		settle_overdraft();
		sleep = look_at_overdraft(&pause);
	}
	channel_hear_recall(false);
}

static long own_process(void)
{
	return sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static bool has_to(uint64_t pages)
{
	return budget_overdrawn() || budget_lent() + pages > least() + WORTH_PAGES;
}

void repay_may_have_to(uint64_t pages)
{
	if (atomic_load_explicit(&begun, memory_order_acquire) && !thread_runs(&thread) && has_to(pages) &&
	    atomic_load(&process) == own_process())
		thread_start(&thread, serve, NULL);
}

bool repay_has_room(void)
{
	return budget_hold(WORKING_PAGES + SPACE_PAGES);
}

void repay_begin(void)
{
	if (!budget_is_borrowed())
		return;
	always = budget_used() - budget_metadata() - budget_spare();
	atomic_store(&process, own_process());
	repay_go_on();
}

void repay_pause(void)
{
	if (!atomic_exchange(&begun, false) || !thread_runs(&thread))
		return;
	atomic_store(&stop, true);
	channel_ring_recall();
	thread_join(&thread);
	atomic_store(&stop, false);
}

void repay_go_on(void)
{
	atomic_store_explicit(&begun, budget_is_borrowed(), memory_order_release);
	repay_may_have_to(0);
}

void repay_end(void)
{
	repay_pause();
}

void repay_fork_child_begin(void)
{
	thread_fork_child(&thread);
	atomic_store(&begun, false);
	atomic_store(&stop, false);
}

void repay_fork_child_end(void)
{
	atomic_store(&process, own_process());
	repay_go_on();
}
