/* SPDX-License-Identifier: Apache-2.0 */
#include "gaps.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "api/engine.h"
#include "proc_lines.h"
#include "util/compiler.h"
#include "util/sys.h"

bool next_gap(uint64_t at, uint64_t end, uint64_t *start, uint64_t *stop)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	struct vma *v;

	mutex_lock(&mm->mmap_lock);
	while ((v = vma_find(&mm->index, at)) && v->start <= at)
		at = v->end;
	*start = at;
	*stop = v ? min_u64(v->start, end) : end;
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return *start < end;
}

int for_parts(const void *addr, size_t len, const struct parts *p)
{
	uint64_t at = (uintptr_t)addr, end = page_align_up(at + len), start, stop;
	int hole = 0, err = 0;

	for (; at < end && !err; at = stop) {
		if (!next_gap(at, end, &start, &stop))
			start = stop = end;
		if (start > at)
			err = p->ours((void *)at, start - at, p->how);
		if (!err && stop > start)
			err = p->kernels((void *)start, stop - start, p->how);
		if (err == -ENOMEM && p->past_holes) {
			hole = err;
			err = 0;
		}
	}
	return err ? err : hole;
}

int gap_is_mapped(void *addr, size_t len, int how)
{
	(void)how;
	return sys_msync(addr, len, MS_ASYNC) == -ENOMEM ? -ENOMEM : 0;
}

/* The kernel is asked without changing anything: what another thread maps there meanwhile is its own. */
int gap_is_empty(void *addr, size_t len, int how)
{
	uint64_t from = (uintptr_t)addr, to = from + len;
	struct proc_lines p;
	int err = proc_lines_open(&p, "/proc/thread-self/maps");
	char *line, *end;

	(void)how;
	if (err)
		return err;
	while (!err && (line = proc_lines_next(&p))) {
		uint64_t start = strtoull(line, &end, 16);

		if (*end == '-' && start < to && strtoull(end + 1, NULL, 16) > from)
			err = -EEXIST;
	}
	proc_lines_close(&p);
	return err;
}

int for_gaps(const void *addr, size_t len, part_fn fn, int how)
{
	uint64_t end = page_align_up((uintptr_t)addr + len), start, stop;
	int err = 0;

	for (uint64_t at = (uintptr_t)addr; at < end && next_gap(at, end, &start, &stop); at = stop) {
		int e = fn((void *)start, stop - start, how);

		err = err ? err : e;
	}
	return err;
}
