/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsplice(2). A pipe keeps the pages that it is given, long after the call, and the memory behind pages of ours may be another
 * by then: it is given a copy, as by writev(2), so that what is stored after the call is not read from the pipe. Room for what
 * comes from a pipe is pinned for the call.
 */
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "arguments/iov.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "util/own.h"
#include "util/sys.h"

#define COPY_MAX (1UL << 20)
#define COPY_PART (1UL << 16)

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n && sum < COPY_MAX; i++)
		sum += min_u64(iov[i].iov_len, COPY_MAX - sum);
	return sum;
}

/* How much could be read, from the start. */
static size_t gather(char *to, size_t room, const struct iovec *iov, int n)
{
	size_t done = 0;

	for (int i = 0; i < n && done < room; i++) {
		size_t len = min_u64(iov[i].iov_len, room - done), part;

		for (size_t at = 0; at < len; at += part, done += part) {
			part = min_u64(len - at, COPY_PART);
			if (!peek(to + done, (const char *)iov[i].iov_base + at, part))
				return done;
		}
	}
	return done;
}

struct copy {
	void *bytes;
	size_t room;
};

static void unmap_copy(const struct copy *copy)
{
	if (!sys_is_err(copy->bytes))
		sys_munmap(copy->bytes, copy->room);
}

/* Unmapped at once: the pages are the pipe's, and may be a gift. What cannot be copied is the kernel's to refuse. */
static ssize_t give(int fd, const struct iovec *iov, int n, unsigned flags)
{
	size_t len = total(iov, n), room = page_align_up(len);
	__attribute__((cleanup(unmap_copy))) const struct copy copy = {own_map(room, MAP_PRIVATE | MAP_ANONYMOUS, -1), room};
	struct iovec given = {.iov_base = copy.bytes};

	if (sys_is_err(copy.bytes))
		return shim_result(-ENOMEM);
	given.iov_len = gather(copy.bytes, len, iov, n);
	return given.iov_len ? REAL(vmsplice)(fd, &given, 1, flags) : REAL(vmsplice)(fd, iov, (size_t)n, flags);
}

/* Less than asked for where that is more than can be pinned. */
static ssize_t take(int fd, const struct iovec *iov, int n, unsigned flags)
{
	struct iovec first = {iov->iov_base, min_u64(iov->iov_len, FL_PAGE_SIZE)};
	const void *frame = &first;

	if (total(iov, n) > file_io_piece_limit() || iov_pin(iov, n, true, frame)) {
		iov = &first;
		n = iov_pin(iov, 1, true, frame) ? 0 : 1;
	}
	__attribute__((cleanup(iov_end), unused)) const struct iov_pinned pinned = {iov, n, frame};
	return REAL(vmsplice)(fd, iov, n ? (size_t)n : 1, flags);
}

static ssize_t splice_memory(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	int mode = (int)sys_fcntl(fd, F_GETFL, 0);

	if (n > IOV_MAX || mode < 0 || !can_peek(iov, n * sizeof *iov) || !iov_is_ours(iov, (int)n) || !total(iov, (int)n))
		return REAL(vmsplice)(fd, iov, n, flags);
	return (mode & O_ACCMODE) == O_RDONLY ? take(fd, iov, (int)n, flags) : give(fd, iov, (int)n, flags);
}

WRAPPER ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
	if (NOTHING_MAPPED)
		return REAL(vmsplice)(fd, iov, n, flags);
	RETURN_HELD(splice_memory(fd, iov, n, flags), READS(iov, n <= IOV_MAX ? n * sizeof *iov : 0));
}
