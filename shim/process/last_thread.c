/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread stays in /proc/self/task for a while after it was joined, and the first one until all others have ended. The kernel's flags (proc_pid_stat(5))
 * say which of them are ending. Who has not come so far, and is about to, is waited for: of two that end at once each would take the other for one that
 * goes on, and none for the last.
 *
 * The one who is about to end is named in a word, which nobody clears: the next takes it over when that thread is seen to end, or has not for so long that
 * it must have left by a jump, or is another by now.
 */
#include "last_thread.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "util/proc_stat.h"
#include "util/sys.h"

#define PF_EXITING 4 /* linux/sched.h */
#define NAP_NS 100000u
#define NAPS 10000 /* about a second */

static _Atomic uint32_t ending;

static bool goes_on(uint32_t tid)
{
	char text[PROC_STAT_ROOM];
	const char *flags = proc_stat_field(tid, PROC_STAT_FLAGS, text);

	return flags && !(strtoul(flags, NULL, 10) & PF_EXITING);
}

static bool is_ours(uint32_t tid)
{
	return tid && !sys_call(SYS_tgkill, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), tid, 0, 0, 0, 0);
}

void last_thread_begins_to_end(void)
{
	uint32_t self = (uint32_t)sys_gettid(), before = atomic_load(&ending);

	for (unsigned naps = 0;; naps++) {
		if ((before == self || naps > NAPS || !is_ours(before) || !goes_on(before)) &&
		    atomic_compare_exchange_strong(&ending, &before, self))
			return;
		sys_nanosleep(NAP_NS);
		before = atomic_load(&ending);
	}
}

/* In what a reading of the directory gave: threads that go on, this one too, up to `most`. */
static int count_in(const char *entries, long len, int most)
{
	const struct dirent64 *d;
	int count = 0;

	for (long at = 0; at < len && count < most; at += d->d_reclen) {
		d = (const struct dirent64 *)(entries + at);
		uint32_t tid = (uint32_t)strtoul(d->d_name, NULL, 10);

		count += tid && goes_on(tid);
	}
	return count;
}

static int count_all(int most)
{
	_Alignas(struct dirent64) char entries[4096];
	int dir = sys_openat(AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), count = 0;
	long n = 0;

	if (dir < 0)
		return -1;
	while (count < most && (n = sys_call(SYS_getdents64, dir, (long)entries, sizeof entries, 0, 0, 0)) > 0)
		count += count_in(entries, n, most - count);
	sys_close(dir);
	return n < 0 ? -1 : count;
}

/* Twice: a thread that was not there yet when the first reading began was made by one that has ended since, and is there in the second. */
enum last_thread last_thread_is_this(void)
{
	int alone = 1 + engine_fault_threads(), count = alone;

	for (int reading = 0; reading < 2 && count == alone; reading++)
		count = count_all(alone + 1);
	return count < 0 ? LAST_THREAD_UNKNOWN : count > alone ? LAST_THREAD_IS_ANOTHER : LAST_THREAD_IS_THIS;
}
