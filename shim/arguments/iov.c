/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readv, preadv, writev, pwritev and their v2 forms. Buffers of ours are pinned all at once where that fits; else the
 * vector goes one buffer at a time, which a concurrent reader of the file may notice.
 */
#include "iov.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/pins.h"
#include "base/real.h"
#include "files/coherent.h"
#include "files/identity.h"
#include "held.h"
#include "transfer.h"
#include "util/sys.h"

#define APPEND_FLAG 0x10   /* RWF_APPEND */
#define NOAPPEND_FLAG 0x20 /* RWF_NOAPPEND */

bool iov_is_ours(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++)
		if (file_io_is_ours(iov[i].iov_base, iov[i].iov_len))
			return true;
	return false;
}

int iov_pin(const struct iovec *iov, int n, bool write, const void *frame)
{
	for (int i = 0; i < n; i++) {
		bool ours = file_io_is_ours(iov[i].iov_base, iov[i].iov_len);
		int err = ours ? pin(iov[i].iov_base, iov[i].iov_len, write, frame) : 0;

		if (err) {
			iov_unpin(iov, i, frame);
			return err;
		}
	}
	return 0;
}

void iov_unpin(const struct iovec *iov, int n, const void *frame)
{
	while (n-- > 0)
		if (file_io_is_ours(iov[n].iov_base, iov[n].iov_len))
			unpin(iov[n].iov_base, iov[n].iov_len, frame);
}

static bool is_cut_in(const struct iovec *iov, ssize_t n)
{
	return file_io_is_ours(iov->iov_base, iov->iov_len) && file_io_was_cut(iov->iov_base, iov->iov_len, n);
}

bool iov_was_cut(const struct iovec *iov, int count, ssize_t n)
{
	size_t at = n > 0 ? (size_t)n : 0;
	bool cut = false;

	for (int i = 0; !cut && i < count; at -= min_u64(at, iov[i].iov_len), i++)
		cut = is_cut_in(&iov[i], n < 0 ? n : (ssize_t)at);
	return cut;
}

struct vector {
	int fd;
	const struct iovec *iov;
	int n;
	off_t off; /* AT_POSITION: the file position */
	int flags;
	bool writes;
	/* What a read can fill, and is pinned for it: so many buffers, but for the end of the last of them. */
	int reached;
	size_t unused;
};

static long raw_vector(const void *call)
{
	const struct vector *v = call;

	/* preadv2 and pwritev2 take the offset in two halves; on 64 bits the first is all of it, and -1 is the position */
	return sys_call(v->writes ? SYS_pwritev2 : SYS_preadv2, v->fd, (long)v->iov, v->n, v->off, 0, v->flags);
}

static ssize_t libc_vector(const struct vector *v)
{
	if (v->flags)
		return v->writes ? REAL(pwritev64v2)(v->fd, v->iov, v->n, v->off, v->flags)
				 : REAL(preadv64v2)(v->fd, v->iov, v->n, v->off, v->flags);
	if (v->off == AT_POSITION)
		return v->writes ? REAL(writev)(v->fd, v->iov, v->n) : REAL(readv)(v->fd, v->iov, v->n);
	return v->writes ? REAL(pwritev64)(v->fd, v->iov, v->n, v->off) : REAL(preadv64)(v->fd, v->iov, v->n, v->off);
}

static size_t used(const struct vector *v, int i)
{
	return v->iov[i].iov_len - (i == v->reached - 1 ? v->unused : 0);
}

static size_t total(const struct vector *v)
{
	size_t sum = 0;

	for (int i = 0; i < v->reached; i++)
		sum += used(v, i);
	return sum;
}

/* Refused by the kernel for all of it, and perhaps not for a part. */
static bool is_too_far(const struct vector *v)
{
	size_t sum = 0;

	for (int i = 0; i < v->n; i++) {
		uint64_t at = (uintptr_t)v->iov[i].iov_base, len = v->iov[i].iov_len;

		if (len > SSIZE_MAX - sum || at > TASK_SIZE || len > TASK_SIZE - at)
			return true;
		sum += v->iov[i].iov_len;
	}
	return v->off > 0 && sum > (size_t)(INT64_MAX - v->off);
}

/* Flags that it will not have of this file it refuses before it looks at the buffers: it is asked with one that is nowhere. */
static bool has_bad_flags(const struct vector *v)
{
	struct iovec nowhere = {.iov_len = FL_PAGE_SIZE};
	long n;

	if (!v->flags || !fd_is_regular(v->fd))
		return false;
	n = sys_call(SYS_preadv2, v->fd, (long)&nowhere, 1, v->off, 0, v->flags);
	return n < 0 && n != -EFAULT && n != -EAGAIN;
}

static bool appends(const struct vector *v)
{
	return (v->flags & APPEND_FLAG) || (!(v->flags & NOAPPEND_FLAG) && fd_appends(v->fd));
}

static ssize_t write_one(struct address_space *as, const struct vector *v)
{
	struct coherent_bytes b = {
		.fd = v->fd, .buf = v->iov->iov_base, .len = v->iov->iov_len, .off = v->off, .flags = v->flags, .append = appends(v)};

	return coherent_write_bytes(as, &b);
}

static ssize_t run_write(const struct vector *v)
{
	struct inflight f;
	struct address_space *as = identity_start(v->fd, &f);
	ssize_t n;

	if (!as && !f.slot)
		return libc_vector(v);
	if (!as)
		n = coherent_pass(raw_vector, v);
	else if (v->n == 1)
		n = write_one(as, v);
	else
		n = coherent_write(as, v->fd, v->off, appends(v), raw_vector, v);
	file_io_finish(as, &f);
	return n;
}

static ssize_t run_read(const struct vector *v)
{
	struct address_space *as = identity_file(v->fd);
	int err = 0;

	if (as) {
		err = coherent_read(as, v->fd, v->off, total(v));
		file_io_put(as);
	}
	return err ? -1 : libc_vector(v);
}

/* Buffers are pinned or not ours. */
static ssize_t run(const struct vector *v)
{
	return v->writes ? run_write(v) : run_read(v);
}

static ssize_t run_one(const struct transfer *t, void *buf, size_t len, size_t done)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct vector v = {.fd = t->fd, .iov = &iov, .n = 1, .reached = 1, .flags = t->flags, .writes = !t->to_memory};

	v.off = t->off == AT_POSITION ? AT_POSITION : t->off + (off_t)done;
	return run(&v);
}

/* From `done` bytes on, of which the call has taken care. */
static ssize_t one_by_one(const struct vector *v, size_t done)
{
	size_t skip = done;

	for (int i = 0; i < v->reached; skip -= min_u64(skip, used(v, i)), i++) {
		size_t want = used(v, i) - min_u64(skip, used(v, i));
		struct transfer t = {.call = run_one, .fd = v->fd, .to_memory = !v->writes, .flags = v->flags};
		ssize_t n;

		if (skip && !want)
			continue;
		t.off = v->off == AT_POSITION ? AT_POSITION : v->off + (off_t)done;
		n = transfer(&t, (char *)v->iov[i].iov_base + used(v, i) - want, want);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	return (ssize_t)done;
}

static struct iovec last_used(const struct vector *v)
{
	int last = v->reached - 1;

	return (struct iovec){.iov_base = v->iov[last].iov_base, .iov_len = used(v, last)};
}

static int pin_used(const struct vector *v)
{
	struct iovec last = last_used(v);
	int err = iov_pin(v->iov, v->reached - 1, !v->writes, v);

	if (err)
		return err;
	err = iov_pin(&last, 1, !v->writes, v);
	if (err)
		iov_unpin(v->iov, v->reached - 1, v);
	return err;
}

static void unpin_used(const struct vector *const *pinned)
{
	const struct vector *v = *pinned;
	struct iovec last = last_used(v);

	iov_unpin(&last, 1, v);
	iov_unpin(v->iov, v->reached - 1, v);
}

/* What is no file may have no more than it gave. */
static bool was_cut(const struct vector *v, uint32_t moves, ssize_t n)
{
	ssize_t result = n < 0 ? -errno : n;

	if (v->writes)
		return file_io_was_away(moves, total(v), result) || iov_was_cut(v->iov, v->n, result);
	return file_io_was_moved(moves, total(v), result) && (n < 0 || fd_is_regular(v->fd));
}

static ssize_t run_pinned(const struct vector *v)
{
	bool cut = true;
	ssize_t n = -1;

	/* One call again, as a datagram must be, while nothing has gone. */
	for (unsigned cuts = 0; cut && n <= 0 && cuts <= FILE_IO_CUTS; cuts++) {
		uint32_t moves = file_io_moves();

		if (total(v) > file_io_piece_limit() || pin_used(v))
			return one_by_one(v, 0);
		__attribute__((cleanup(unpin_used), unused)) const struct vector *const pinned = v;
		n = run(v);
		cut = was_cut(v, moves, n);
	}
	return cut && n > 0 ? one_by_one(v, (size_t)n) : n;
}

/* As memory_at(): a file is read up to there. */
static size_t memory_of(const struct vector *v)
{
	size_t sum = 0;

	for (int i = 0; i < v->n; i++) {
		size_t there = memory_at(v->iov[i].iov_base, v->iov[i].iov_len);

		sum += there;
		if (there < v->iov[i].iov_len)
			break;
	}
	return sum;
}

static ssize_t read_what_is_there(struct vector v)
{
	size_t sum = 0, n = file_io_readable(v.fd, total(&v), v.off), there = n ? memory_of(&v) : 0;

	if (there < n && fd_is_regular(v.fd))
		n = there;
	if (!n)
		return run(&v);
	for (v.reached = 0; sum < n; v.reached++)
		sum += v.iov[v.reached].iov_len;
	v.unused = sum - n;
	return run_pinned(&v);
}

static ssize_t run_vector(const struct vector *v)
{
	if (v->n <= 0 || v->n > IOV_MAX || v->off < AT_POSITION || is_too_far(v))
		return libc_vector(v);
	if (v->writes && v->n > 1 && coherent_copies() && identity_is_mapped(v->fd))
		return one_by_one(v, 0);
	if (!iov_is_ours(v->iov, v->n))
		return run(v);
	if (v->writes)
		return run_pinned(v);
	if (has_bad_flags(v))
		return libc_vector(v);
	return transfer_reads_by_copy(v->fd) ? one_by_one(v, 0) : read_what_is_there(*v);
}

static ssize_t vector(int fd, const struct iovec *iov, int n, off_t off, int flags, bool writes)
{
	struct vector v = {.fd = fd, .iov = iov, .n = n, .reached = n, .off = off, .flags = flags, .writes = writes};
	size_t bytes = n > 0 && n <= IOV_MAX ? (size_t)n * sizeof *iov : 0;

	if (likely(is_on_stack(iov, bytes)))
		return run_vector(&v);
	RETURN_HELD(can_peek(iov, bytes) ? run_vector(&v) : libc_vector(&v), READS(iov, bytes));
}

WRAPPER ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return NOTHING_MAPPED ? REAL(readv)(fd, iov, n) : vector(fd, iov, n, AT_POSITION, 0, false);
}

WRAPPER ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return NOTHING_TO_TELL ? REAL(writev)(fd, iov, n) : vector(fd, iov, n, AT_POSITION, 0, true);
}

/* Without the v2 a negative offset is an error, also -1. */
WRAPPER ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return NOTHING_MAPPED || off < 0 ? REAL(preadv)(fd, iov, n, off) : vector(fd, iov, n, off, 0, false);
}

WRAPPER ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return NOTHING_MAPPED || off < 0 ? REAL(preadv64)(fd, iov, n, off) : vector(fd, iov, n, off, 0, false);
}

WRAPPER ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return NOTHING_TO_TELL || off < 0 ? REAL(pwritev)(fd, iov, n, off) : vector(fd, iov, n, off, 0, true);
}

WRAPPER ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return NOTHING_TO_TELL || off < 0 ? REAL(pwritev64)(fd, iov, n, off) : vector(fd, iov, n, off, 0, true);
}

WRAPPER ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return NOTHING_MAPPED ? REAL(preadv2)(fd, iov, n, off, flags) : vector(fd, iov, n, off, flags, false);
}

WRAPPER ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return NOTHING_MAPPED ? REAL(preadv64v2)(fd, iov, n, off, flags) : vector(fd, iov, n, off, flags, false);
}

WRAPPER ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return NOTHING_TO_TELL ? REAL(pwritev2)(fd, iov, n, off, flags) : vector(fd, iov, n, off, flags, true);
}

WRAPPER ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return NOTHING_TO_TELL ? REAL(pwritev64v2)(fd, iov, n, off, flags) : vector(fd, iov, n, off, flags, true);
}
