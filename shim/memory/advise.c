/* SPDX-License-Identifier: Apache-2.0 */
/* msync, madvise, mincore and mseal on ranges that may be ours, the kernel's, or pieces of both. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "api/file_io.h"
#include "arguments/iov.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "cache/io.h"
#include "gaps.h"
#include "memory.h"
#include "proc_lines.h"
#include "util/sys.h"

static int sync_ours(void *addr, size_t len, int flags)
{
	struct sigguard g = sigguard_enter();
	int err = mm_msync(engine_space(), (uintptr_t)addr, len, flags, false);

	sigguard_leave(g);
	return err;
}

/* A mapping that is there for the engine alone is a hole. */
static int sync_kernels(void *addr, size_t len, int flags)
{
	uint64_t start = (uintptr_t)addr, end = start + len, low, high;
	int err;

	if (!io_kernel_mapping(&low, &high) || low >= end || high <= start)
		return sys_msync(addr, len, flags);
	err = sys_msync(addr, start < low ? low - start : 0, flags); /* of nothing, it looks at the other arguments */
	if (high < end && (!err || err == -ENOMEM))
		err = sys_msync((void *)high, end - high, flags);
	return err ? err : -ENOMEM;
}

static bool is_engines(const void *addr, size_t len)
{
	uint64_t start = (uintptr_t)addr, low, high;

	return anything_mapped() && io_kernel_mapping(&low, &high) && start < high && start + len > low;
}

/* With arguments that it will not have, the engine says so. */
WRAPPER int msync(void *addr, size_t len, int flags)
{
	struct parts p = {.ours = sync_ours, .kernels = sync_kernels, .how = flags, .past_holes = true};

	if (likely(!is_mapped_by_us(addr, len)) && !is_engines(addr, len))
		return REAL(msync)(addr, len, flags);
	pthread_testcancel();
	if ((uintptr_t)addr & FL_PAGE_MASK)
		return (int)shim_result(-EINVAL);
	return (int)shim_result(for_parts(addr, len, &p));
}

static int advise_part(void *addr, size_t len, int advice)
{
	struct sigguard g = sigguard_enter();
	int err = mm_madvise(engine_space(), (uintptr_t)addr, len, advice, false);

	sigguard_leave(g);
	return err;
}

/* Those that bring pages in take none away, and may take long. */
static bool takes_nothing(int advice)
{
	return advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE || advice == MADV_WILLNEED;
}

static int advise_kernels(void *addr, size_t len, int advice)
{
	struct kernels k = {.mm = NULL};
	int err;

	if (!takes_nothing(advice) && !kernels_begin(&k, addr, len)) /* it was given before the memory became ours */
		return 0;
	err = sys_madvise(addr, len, advice);
	kernels_end(&k);
	return err;
}

static int advise_ours(void *addr, size_t len, int advice)
{
	bool populates = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
	struct parts p = {.ours = advise_part, .kernels = advise_kernels, .how = advice, .past_holes = !populates};

	return (uintptr_t)addr & FL_PAGE_MASK ? -EINVAL : for_parts(addr, len, &p);
}

WRAPPER int madvise(void *addr, size_t len, int advice)
{
	return (int)shim_result(is_mapped_by_us(addr, len) ? advise_ours(addr, len, advice) : advise_kernels(addr, len, advice));
}

/* POSIX's DONTNEED is a hint, which must not lose private pages as Linux's does: glibc ignores it too. */
WRAPPER int posix_madvise(void *addr, size_t len, int advice)
{
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return is_mapped_by_us(addr, len) ? -advise_ours(addr, len, advice) : -advise_kernels(addr, len, advice);
}

/* ---- process_madvise: for the process itself, it is madvise on several ranges ---- */

#define SELF_THREAD (-10000) /* PIDFD_SELF_THREAD and PIDFD_SELF_THREAD_GROUP of <linux/pidfd.h> */
#define SELF_PROCESS (-10001)

static bool is_self(int pidfd)
{
	char path[48], *line;
	struct proc_lines p;
	long pid = -1;

	if (pidfd == SELF_THREAD || pidfd == SELF_PROCESS)
		return true;
	snprintf(path, sizeof path, "/proc/thread-self/fdinfo/%d", pidfd);
	if (proc_lines_open(&p, path))
		return false;
	while (pid < 0 && (line = proc_lines_next(&p)))
		if (!strncmp(line, "Pid:", 4))
			pid = strtol(line + 4, NULL, 10);
	proc_lines_close(&p);
	return pid == sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static ssize_t advise_vector(const struct iovec *iov, size_t n, int advice)
{
	ssize_t done = 0;

	for (size_t i = 0; i < n; i++) {
		bool ours = is_mapped_by_us(iov[i].iov_base, iov[i].iov_len);
		int err = (ours ? advise_ours : advise_kernels)(iov[i].iov_base, iov[i].iov_len, advice);

		if (err)
			return done ? done : err;
		done += (ssize_t)iov[i].iov_len;
	}
	return done;
}

WRAPPER ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice, unsigned flags)
{
	if (NOTHING_MAPPED || flags || n > IOV_MAX || !can_peek(iov, n * sizeof *iov) || !iov_is_ours(iov, (int)n) || !is_self(pidfd))
		return shim_result(sys_call(SYS_process_madvise, pidfd, (long)iov, (long)n, advice, flags, 0));
	return shim_result(advise_vector(iov, n, advice));
}

/* ---- mseal ---- */

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static int seal_gap(void *addr, size_t len, int how)
{
	(void)how;
	return (int)sys_call(SYS_mseal, (long)addr, (long)len, 0, 0, 0, 0);
}

/* The kernel's part first: it refuses ranges with holes. Ours it must not seal, since the engine changes what lies there. */
static int seal_ours(void *addr, size_t len, unsigned long flags)
{
	struct sigguard g;
	int err;

	if (flags || ((uintptr_t)addr & FL_PAGE_MASK))
		return -EINVAL;
	err = for_gaps(addr, len, seal_gap, 0);
	if (err)
		return err;
	g = sigguard_enter();
	err = mm_mseal(engine_space(), (uintptr_t)addr, len, flags, true);
	sigguard_leave(g);
	return err;
}

WRAPPER int mseal(void *addr, size_t len, unsigned long flags)
{
	if (likely(!is_mapped_by_us(addr, len)))
		return (int)shim_result(sys_call(SYS_mseal, (long)addr, (long)len, (long)flags, 0, 0, 0));
	return (int)shim_result(seal_ours(addr, len, flags));
}

/* ---- mincore ---- */

#define CHUNK 512

static int mincore_gaps(uint64_t addr, uint64_t end, unsigned char *vec)
{
	uint64_t start, stop;
	int err = 0;

	for (uint64_t at = addr; at < end && next_gap(at, end, &start, &stop) && !err; at = stop)
		err = sys_mincore((void *)start, stop - start, vec + ((start - addr) >> FL_PAGE_SHIFT));
	return err;
}

static int mincore_chunk(uint64_t addr, uint64_t pages, unsigned char *vec)
{
	uint64_t len = pages << FL_PAGE_SHIFT;
	struct sigguard g = sigguard_enter();
	int err = mm_mincore(engine_space(), addr, len, vec, true);

	sigguard_leave(g);
	return err ? err : mincore_gaps(addr, addr + len, vec);
}

/* What precedes a hole is told first, by which vec may be found wanting. vec may be memory of ours: filled through a buffer. */
static int mincore_chunks(uint64_t addr, uint64_t pages, uint64_t at_once, unsigned char *vec)
{
	unsigned char part[CHUNK] = {0};
	int err = 0;

	for (uint64_t done = 0, n; done < pages && !err; done += n) {
		n = min_u64(at_once, pages - done);
		err = mincore_chunk(addr + (done << FL_PAGE_SHIFT), n, part);
		if (!err)
			err = file_io_copy_out(vec + done, part, n);
		else if (err == -ENOMEM && n > 1)
			err = mincore_chunks(addr + (done << FL_PAGE_SHIFT), n, 1, vec + done);
	}
	return err;
}

/* access_ok() of Linux */
static bool is_user_range(uint64_t at, uint64_t len)
{
	return len <= TASK_SIZE && at <= TASK_SIZE - len;
}

static int mincore_ours(uint64_t addr, size_t len, unsigned char *vec)
{
	if (!(addr & FL_PAGE_MASK) && is_user_range(addr, len) && !is_user_range((uintptr_t)vec, page_align_up(len) >> FL_PAGE_SHIFT))
		return -EFAULT;
	return addr & FL_PAGE_MASK ? -EINVAL : mincore_chunks(addr, page_align_up(len) >> FL_PAGE_SHIFT, CHUNK, vec);
}

WRAPPER int mincore(void *addr, size_t len, unsigned char *vec)
{
	uint64_t pages = page_align_up(len) >> FL_PAGE_SHIFT;

	if (likely(!is_mapped_by_us(addr, len) && !is_mapped_by_us(vec, pages)))
		return REAL(mincore)(addr, len, vec);
	if (page_align_up(len) < len) /* no length */
		return REAL(mincore)(addr, len, vec);
	return (int)shim_result(mincore_ours((uintptr_t)addr, len, vec));
}
