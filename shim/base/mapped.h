/* SPDX-License-Identifier: Apache-2.0 */
/* One look that decides whether anything of the shim's concerns a call: most processes have no mapping of ours most of the time. */
#ifndef FL_SHIM_MAPPED_H
#define FL_SHIM_MAPPED_H

#include "api/engine.h"
#include "api/file_io.h"
#include "util/compiler.h"

/* Where threads serve faults in private anonymous memory: whether that is what this thread runs on is looked at in each call; see memory/stacks.c. */
extern FL_HIDDEN _Atomic bool stacks_are_watched;
void stacks_look(void);

/* Before any lock is taken. */
static inline void stacks_check(void)
{
	if (unlikely(atomic_load_explicit(&stacks_are_watched, memory_order_relaxed)))
		stacks_look();
}

/* Files in any space, or any memory in the default one; files of other processes that the host has. */
static inline bool anything_mapped(void)
{
	struct mm *mm;

	stacks_check();
	if (file_io_any())
		return true;
	mm = engine_space();
	return mm && atomic_load_explicit(&mm->mapped, memory_order_relaxed);
}

#define NOTHING_MAPPED likely(!anything_mapped())
/* For calls that change files: nor can anybody map one meanwhile. */
#define NOTHING_TO_TELL likely(!anything_mapped() && !inflight_needed())

#endif
