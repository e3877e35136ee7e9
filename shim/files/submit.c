/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_submit(2), by number or by libaio. The kernel goes past the wrappers, and finds nothing in memory of ours that is not there. So, as with POSIX aio
 * (aio.c), a request for a mapped file, or with memory of ours, is carried out at once, in the calling thread. To the kernel goes, in its place, a write of as many
 * bytes to /dev/null: that is done at once, and told of as the request would have been. What fails is left to the kernel, to fail again.
 *
 * Where there is no room for the request (EAGAIN) its bytes have been moved all the same, and are again when it comes once more.
 *
 * Not here: io_uring, whose requests are in memory that the kernel looks at by itself (entry/rings.c).
 */
#include "submit.h"

#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "coherent.h"
#include "identity.h"
#include "util/sys.h"

#define BATCH 64 /* requests that go to the kernel together */

/* ---- Which requests are ours ---- */

static bool is_vector(const struct iocb *cb)
{
	return cb->aio_lio_opcode == IOCB_CMD_PREADV || cb->aio_lio_opcode == IOCB_CMD_PWRITEV;
}

static bool moves_bytes(const struct iocb *cb)
{
	return cb->aio_lio_opcode == IOCB_CMD_PREAD || cb->aio_lio_opcode == IOCB_CMD_PWRITE || is_vector(cb);
}

static bool is_sync(const struct iocb *cb)
{
	return cb->aio_lio_opcode == IOCB_CMD_FSYNC || cb->aio_lio_opcode == IOCB_CMD_FDSYNC;
}

static bool has_buffers_of_ours(const struct iovec *list, uint64_t n)
{
	struct iovec iov;

	if (file_io_is_ours(list, min_u64(n, IOV_MAX) * sizeof *list))
		return true;
	for (uint64_t i = 0; i < n && i < IOV_MAX && peek(&iov, &list[i], sizeof iov); i++)
		if (file_io_is_ours(iov.iov_base, iov.iov_len))
			return true;
	return false;
}

static bool has_memory_of_ours(const struct iocb *cb)
{
	const void *buf = (const void *)cb->aio_buf;

	return is_vector(cb) ? has_buffers_of_ours(buf, cb->aio_nbytes) : file_io_is_ours(buf, cb->aio_nbytes);
}

/* What the kernel refuses at once is the kernel's. */
static bool is_ours(const struct iocb *cb)
{
	if (!moves_bytes(cb) || cb->aio_offset < 0 || cb->aio_nbytes > SSIZE_MAX || cb->aio_reserved2)
		return false;
	return identity_is_mapped((int)cb->aio_fildes) || (has_memory_of_ours(cb) && fd_is_regular((int)cb->aio_fildes));
}

/* ---- One request ---- */

/* A request in memory of ours must be there while the kernel looks at it, and marks it as its own. */
static long submit_one(unsigned long ctx, struct iocb *cb)
{
	struct held h[] = {FILLS(cb, sizeof *cb)};
	long result;

	hold(h, 1);
	result = sys_call(SYS_io_submit, (long)ctx, 1, (long)&cb, 0, 0, 0);
	release(h, 1);
	return result;
}

static ssize_t transfer_bytes(const struct iocb *cb)
{
	struct iovec one = {(void *)cb->aio_buf, cb->aio_nbytes};
	const struct iovec *iov = is_vector(cb) ? (const struct iovec *)cb->aio_buf : &one;
	bool writes = cb->aio_lio_opcode == IOCB_CMD_PWRITE || cb->aio_lio_opcode == IOCB_CMD_PWRITEV;
	int n = is_vector(cb) ? (int)min_u64(cb->aio_nbytes, INT_MAX) : 1;

	return writes ? pwritev64v2((int)cb->aio_fildes, iov, n, cb->aio_offset, (int)cb->aio_rw_flags)
		      : preadv64v2((int)cb->aio_fildes, iov, n, cb->aio_offset, (int)cb->aio_rw_flags);
}

/* No cancellation point, unlike what it calls. Keeps errno. */
static ssize_t carry_out(const struct iocb *cb)
{
	int saved = errno, state;
	ssize_t n;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	do
		n = transfer_bytes(cb);
	while (n < 0 && errno == EINTR);
	pthread_setcancelstate(state, NULL);
	errno = saved;
	return n;
}

/* The program's control block is what the kernel tells of: it is another request for a moment. */
static long submit_done(unsigned long ctx, struct iocb *cb, const struct iocb *asked, ssize_t n)
{
	int null = sys_openat(AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0);
	long result;

	if (null < 0)
		return -EAGAIN;
	cb->aio_lio_opcode = IOCB_CMD_PWRITE;
	cb->aio_fildes = (uint32_t)null;
	cb->aio_buf = 0;
	cb->aio_nbytes = (uint64_t)n;
	cb->aio_offset = 0;
	cb->aio_rw_flags = 0;
	result = submit_one(ctx, cb);
	*cb = *asked;
	sys_close(null);
	return result;
}

static long submit_ours(unsigned long ctx, struct iocb *cb, const struct iocb *asked)
{
	ssize_t n;

	if (!is_ours(asked))
		return submit_one(ctx, cb);
	n = carry_out(asked);
	return n < 0 ? submit_one(ctx, cb) : submit_done(ctx, cb, asked, n);
}

/* ---- Lists ---- */

struct batch {
	unsigned long ctx;
	struct iocb *list[BATCH];
	long n, done;
	long error; /* what ended it, if anything did */
};

/* The kernel takes as many as it can; that is where it ends. */
static bool flush(struct batch *b)
{
	long n = b->n ? sys_call(SYS_io_submit, (long)b->ctx, b->n, (long)b->list, 0, 0, 0) : 0;
	bool all = n == b->n;

	b->n = 0;
	if (n < 0)
		b->error = n;
	else
		b->done += n;
	return all;
}

static bool add(struct batch *b, struct iocb *cb)
{
	b->list[b->n++] = cb;
	return b->n < BATCH || flush(b);
}

static bool add_ours(struct batch *b, struct iocb *cb, const struct iocb *asked)
{
	long n;

	if (!flush(b))
		return false;
	n = submit_ours(b->ctx, cb, asked);
	if (n < 0)
		b->error = n;
	else
		b->done += n;
	return n == 1;
}

/* Whether the list goes on. What cannot be read is the kernel's to refuse. */
static bool take(struct batch *b, struct iocb *const *at)
{
	struct iocb *cb, asked;
	long err;

	if (!peek(&cb, at, sizeof cb)) {
		if (flush(b))
			b->error = -EFAULT;
		return false;
	}
	if (!peek(&asked, cb, sizeof asked))
		return add(b, cb);
	if (is_ours(&asked) || file_io_is_ours(cb, sizeof *cb))
		return add_ours(b, cb, &asked);
	err = is_sync(&asked) && coherent_sync((int)asked.aio_fildes, 0, UINT64_MAX) ? -errno : 0;
	if (!err)
		return add(b, cb);
	if (flush(b))
		b->error = err;
	return false;
}

long submit_requests(unsigned long ctx, long n, struct iocb **list)
{
	struct batch b = {.ctx = ctx};
	bool more = true;

	if (NOTHING_MAPPED || n <= 0)
		return sys_call(SYS_io_submit, (long)ctx, n, (long)list, 0, 0, 0);
	for (long i = 0; i < n && more; i++)
		more = take(&b, &list[i]);
	if (more)
		flush(&b);
	return b.done || !b.error ? b.done : b.error;
}

/* libaio's, which answers as the kernel. Another library may call something else so: this is only that version of the name. */
WRAPPER int submit_by_libaio(unsigned long ctx, long n, struct iocb **list);
__asm__(".symver submit_by_libaio, io_submit@LIBAIO_0.1, remove");

WRAPPER int submit_by_libaio(unsigned long ctx, long n, struct iocb **list)
{
	return (int)submit_requests(ctx, n, list);
}
