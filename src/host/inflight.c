/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mark has the thread, a count of its marks, and the place; a slot without one is 0. A thread takes the slot that it had last when that is free, and so
 * mostly has one to itself. There are as many slots as may be in flight at once; who finds none goes without.
 *
 * A thread that was killed leaves its mark, which the next to wait for it takes away. One that left the call otherwise (siglongjmp(3) in a signal
 * handler, as of SIGXFSZ) takes it away before it goes on, if that is known (util/stack.h), else with its next one; until then the mark stays, and so may that of
 * a thread in another PID namespace. Who waits looks therefore, after a while, at what the thread is doing: a change of a file that takes long sleeps in the
 * kernel where no signal reaches it.
 */
#include "inflight.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "util/compiler.h"
#include "util/lock.h"
#include "util/proc_stat.h"
#include "util/sys.h"

#define SPINS 2000
#define NAP_NS 100000u
#define NAPS_TO_LOOK 50      /* a thread that has ended is seen to have */
#define IDLE_PATIENCE 6000u  /* naps, about a second: for one that is asleep and can be woken, or stopped */
#define BUSY_PATIENCE 30000u /* for one that could run, on a busy machine */

_Static_assert(WIRE_FILTER == 1 << INFLIGHT_PLACE_BITS, "a place fits");

struct wire_inflight inflight_own;
_Thread_local struct inflight_self inflight_self __attribute__((tls_model("initial-exec")));

/* What came along in this process's own table are calls of the parent's threads. */
void inflight_fork_child(void)
{
	inflight_self.tid = 0;
	inflight_self.depth = 0;
	if (atomic_load(&inflight_own.used))
		memset((void *)&inflight_own, 0, sizeof inflight_own);
}

static uint32_t own_tid(void)
{
	if (!inflight_self.tid)
		inflight_self.tid = (uint32_t)sys_gettid();
	return inflight_self.tid;
}

/* ---- A change ---- */

static void show_used(struct wire_inflight *t, uint32_t used)
{
	uint32_t was = atomic_load(&t->used);

	while (was < used && !atomic_compare_exchange_weak(&t->used, &was, used))
		;
}

/* Who waits looks as far as slots were ever used: shown before there is a mark. */
static bool take(struct wire_inflight *t, uint32_t i, struct inflight *f, uint32_t place)
{
	if (i >= atomic_load(&t->used))
		show_used(t, i + 1);
	return inflight_take(t, i, f, place);
}

/* Another mark of this thread's in a slot is of a later call, which has left the earlier behind as well. */
static void clear(struct wire_inflight *t, uint32_t slot)
{
	uint64_t mark = atomic_load_explicit(&t->slot[slot].mark, memory_order_relaxed);

	if (mark && mark >> INFLIGHT_TID_SHIFT == inflight_self.tid)
		atomic_compare_exchange_strong(&t->slot[slot].mark, &mark, 0);
}

/* Of calls that are nested the inner ones are left first. */
void inflight_leave_slowly(uintptr_t sp, enum stack_move move)
{
	struct inflight_self *s = &inflight_self;
	struct wire_inflight *t = inflight_table();

	s->depth = s->depth < INFLIGHT_NESTED ? s->depth : INFLIGHT_NESTED;
	for (; s->depth && stack_is_left(s->calls[s->depth - 1].frame, sp, move); s->depth--)
		clear(t, s->calls[s->depth - 1].slot);
}

static bool is_free(struct wire_inflight *t, uint32_t i)
{
	return !atomic_load_explicit(&t->slot[i].mark, memory_order_relaxed);
}

void inflight_find_slot(struct inflight *f, uint32_t place)
{
	struct wire_inflight *t = inflight_table();
	uint32_t first = inflight_self.slot;

	own_tid();
	f->slot = NULL;
	inflight_leave((uintptr_t)f + 1, STACK_FOR_GOOD); /* what was there is over */
	for (uint32_t i = 0; i < WIRE_INFLIGHT; i++)
		if (is_free(t, (first + i) % WIRE_INFLIGHT) && take(t, (first + i) % WIRE_INFLIGHT, f, place))
			return;
}

/* ---- Waiting for it ---- */

/* 0 when it cannot be read. */
static char state_of(uint32_t tid)
{
	char text[PROC_STAT_ROOM];
	const char *state = proc_stat_field(tid, PROC_STAT_STATE, text);

	return state ? *state : 0;
}

static bool has_ended(uint32_t tid)
{
	return sys_call(SYS_tkill, tid, 0, 0, 0, 0, 0) == -ESRCH;
}

static bool is_worth_waiting(uint32_t tid, uint32_t naps)
{
	char state;

	if (naps < IDLE_PATIENCE)
		return true;
	state = state_of(tid);
	return state == 'D' || (state == 'R' && naps < BUSY_PATIENCE);
}

/* Unless it has gone, and another is there perhaps. */
static void take_away(_Atomic uint64_t *slot, uint64_t mark)
{
	atomic_compare_exchange_strong(slot, &mark, 0);
}

static void wait_for(_Atomic uint64_t *slot, uint64_t mark)
{
	uint32_t tid = (uint32_t)(mark >> INFLIGHT_TID_SHIFT), naps = 0;

	for (unsigned turn = 0; atomic_load(slot) == mark; turn++) {
		if (turn < SPINS) {
			cpu_relax(turn);
			continue;
		}
		sys_nanosleep(NAP_NS);
		if (++naps % NAPS_TO_LOOK)
			continue;
		if (has_ended(tid)) {
			take_away(slot, mark);
			return;
		}
		if (!is_worth_waiting(tid, naps))
			return;
	}
}

bool inflight_wait(uint32_t place)
{
	struct wire_inflight *t = inflight_table();
	uint32_t used = atomic_load(&t->used), tid = own_tid();
	bool any = false;

	for (uint32_t i = 0; i < used && i < WIRE_INFLIGHT; i++) {
		uint64_t mark = atomic_load(&t->slot[i].mark);

		if (!mark || (mark & (WIRE_FILTER - 1)) != place || mark >> INFLIGHT_TID_SHIFT == tid)
			continue;
		any = true;
		wait_for(&t->slot[i].mark, mark);
	}
	return any;
}
