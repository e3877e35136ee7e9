/* SPDX-License-Identifier: Apache-2.0 */
/* fork(2) of a process with mappings, by pthread_atfork(3); the steps are in mm/fork.c. */
#include <stdbool.h>

#include "cache/budget.h"
#include "cache/buffer.h"
#include "cache/huge.h"
#include "cache/io.h"
#include "cache/page.h"
#include "cache/policy.h"
#include "cache/repay.h"
#include "engine.h"
#include "engine_lock.h"
#include "holds.h"
#include "host/channel.h"
#include "host/inflight.h"
#include "mm/soft.h"
#include "mmu/fault_signal.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/report.h"

static struct sigguard guard; /* of the one thread that forks at a time: engine_lock is held */

bool engine_can_fork(void)
{
	struct sigguard g;
	bool can;

	if (!engine_space())
		return true;
	g = sigguard_enter();
	mutex_lock(&engine_lock);
	can = !engine_space() || fd_can_make_room();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return can;
}

void engine_fork_prepare(void)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&engine_lock);
	guard = g;
	if (engine_space())
		fd_make_room();
	channel_fork_prepare(engine_started());
	if (engine_started())
		mm_fork_prepare();
}

void engine_fork_parent(void)
{
	struct sigguard g = guard;

	channel_fork_parent();
	if (engine_started())
		mm_fork_parent();
	fd_end_room();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}

static int make_whole(void)
{
	uint64_t pages, kept;
	int err;

	fault_signal_fork_child();
	soft_fork_child();
	mm_fork_child_begin();
	err = report_fork_child();
	if (err)
		return err;
	repay_fork_child_begin();
	kept = page_table_fork_child(address_space_fork_keeps);
	buffer_fork_child();
	huge_fork_child();
	io_fork_child();
	err = address_space_fork_child(&pages);
	budget_set_used(budget_fixed_pages() + (buffer_bytes() >> FL_PAGE_SHIFT) +
			((page_table_bytes() + policy_bytes()) >> FL_PAGE_SHIFT) + engine_shown_pages() + pages + kept + mm_fork_pages());
	if (!err)
		err = mm_fork_child();
	if (!err)
		holds_fork_child();
	if (!err)
		repay_fork_child_end();
	return err;
}

void engine_clone_prepare(void)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&engine_lock);
	guard = g;
	if (engine_started())
		mm_clone_prepare();
}

void engine_clone_parent(void)
{
	struct sigguard g = guard;

	if (engine_started())
		mm_clone_parent();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}

/* Nothing is closed: that would be the parent's loss. */
void engine_clone_child(void)
{
	struct sigguard g = guard;

	channel_forsake();
	if (engine_started())
		engine_forsake();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}

/* A child whose mappings cannot be made whole would read zeros: it must not reach them. Most children only start another program. */
void engine_fork_child(void)
{
	struct sigguard g = guard;
	int err = 0;

	fd_fork_child();
	inflight_fork_child();
	channel_fork_child(engine_started());
	if (engine_started())
		err = make_whole();
	if (err) {
		fl_log(LOG_ERROR, "fork: the child's mappings cannot be set up (error %d): accesses to them fail", -err);
		engine_give_up();
	}
	fd_end_room();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}
