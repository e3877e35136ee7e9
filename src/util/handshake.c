/* SPDX-License-Identifier: Apache-2.0 */
#include "handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "fd.h"
#include "sys.h"

void handshake_prepare(struct handshake *h)
{
	int fds[2];

	if (sys_call(SYS_pipe2, (long)fds, O_CLOEXEC, 0, 0, 0, 0))
		return;
	h->fd[0] = fd_move_high(fds[0]);
	h->fd[1] = fd_move_high(fds[1]);
}

bool handshake_is_made(const struct handshake *h)
{
	return h->fd[1] >= 0;
}

static void close_end(struct handshake *h, int end)
{
	fd_close(h->fd[end]);
	h->fd[end] = -1;
}

void handshake_wait(struct handshake *h)
{
	char done;

	if (h->fd[0] < 0)
		return;
	close_end(h, 1);
	while (sys_read(h->fd[0], &done, 1) == -EINTR)
		;
	close_end(h, 0);
}

void handshake_tell(struct handshake *h)
{
	if (h->fd[1] < 0)
		return;
	close_end(h, 0);
	sys_write(h->fd[1], "", 1);
	close_end(h, 1);
}
