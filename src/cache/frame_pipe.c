/* SPDX-License-Identifier: Apache-2.0 */
#include "frame_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "util/compiler.h"
#include "util/lock.h"
#include "util/sys.h"

#define PIPES 8 /* threads that are at it at a time; others wait some microseconds */
#define PIPE_BYTES (64 << FL_PAGE_SHIFT)

struct frame_pipe {
	int out, in;
	uint64_t bytes; /* that it takes */
};

static struct frame_pipe pipes[PIPES];
static _Atomic uint32_t unused; /* bits of pipes */

static int open_one(struct frame_pipe *p)
{
	int fd[2], err = (int)sys_call(SYS_pipe2, (long)fd, O_CLOEXEC, 0, 0, 0, 0);
	long bytes;

	if (err)
		return err;
	sys_fcntl(fd[1], F_SETPIPE_SZ, PIPE_BYTES); /* a user who has many gets smaller ones */
	bytes = sys_fcntl(fd[1], F_GETPIPE_SZ, 0);
	*p = (struct frame_pipe){.out = fd[0], .in = fd[1], .bytes = bytes > 0 ? (uint64_t)bytes : FL_PAGE_SIZE};
	return 0;
}

int frame_pipe_init(void)
{
	int err = 0;

	for (int i = 0; i < PIPES && !err; i++) {
		err = open_one(&pipes[i]);
		if (!err)
			atomic_fetch_or(&unused, 1u << i);
	}
	if (err)
		frame_pipe_exit();
	return err;
}

void frame_pipe_exit(void)
{
	uint32_t open = atomic_exchange(&unused, 0);

	for (int i = 0; i < PIPES; i++)
		if (open >> i & 1) {
			sys_close(pipes[i].in);
			sys_close(pipes[i].out);
		}
}

static int take(void)
{
	uint32_t free = atomic_load(&unused);

	for (unsigned turn = 0;;) {
		if (!free) {
			cpu_relax(turn++);
			free = atomic_load(&unused);
		} else if (atomic_compare_exchange_weak(&unused, &free, free & (free - 1))) {
			return __builtin_ctz(free);
		}
	}
}

static void give_back(int i)
{
	atomic_fetch_or(&unused, 1u << i);
}

/* What could not be written is not for the next one. */
static void empty(const struct frame_pipe *p, uint64_t len)
{
	char rest[512];

	while (len) {
		ssize_t n = sys_read(p->out, rest, min_u64(len, sizeof rest));

		if (n > 0)
			len -= (uint64_t)n;
		else if (n != -EINTR)
			return;
	}
}

static long put_in(const struct frame_pipe *p, const void *buf, uint64_t len)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
	long n;

	do
		n = sys_call(SYS_vmsplice, p->in, (long)&iov, 1, 0, 0, 0);
	while (n == -EINTR);
	return n ? n : -EIO;
}

static int take_out(const struct frame_pipe *p, int memfd, uint64_t off, uint64_t len)
{
	while (len) {
		long n = sys_call(SYS_splice, p->out, 0, memfd, (long)&off, (long)len, 0);

		if (n > 0)
			len -= (uint64_t)n; /* off goes with it */
		else if (n != -EINTR) {
			empty(p, len);
			return n ? (int)n : -ENOMEM;
		}
	}
	return 0;
}

static int write_through(const struct frame_pipe *p, int memfd, uint64_t off, const char *buf, uint64_t len)
{
	int err = 0;
	long n;

	for (uint64_t done = 0; done < len && !err; done += (uint64_t)n) {
		n = put_in(p, buf + done, min_u64(len - done, p->bytes));
		if (n < 0)
			return (int)n;
		err = take_out(p, memfd, off + done, (uint64_t)n);
	}
	return err;
}

int frame_pipe_write(int memfd, uint64_t off, const void *buf, uint64_t len)
{
	int i = take(), err;

	fl_debug_assert(!(((uintptr_t)buf | off | len) & FL_PAGE_MASK)); /* else a page would come in two pieces */
	err = write_through(&pipes[i], memfd, off, buf, len);
	give_back(i);
	return err;
}
