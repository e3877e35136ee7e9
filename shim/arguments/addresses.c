/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on sockets and pipes that take or give addresses, options, pairs of descriptors. */
#include "base/peek.h"
#include "base/real.h"
#include "files/identity.h"
#include "held.h"

#define ROOM FILLS(to, peek_room(len)), FILLS(len, sizeof *len)

WRAPPER int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	RETURN_HELD(REAL(bind)(fd, address, len), READS(address, len));
}

WRAPPER int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	RETURN_HELD(REAL(connect)(fd, address, len), READS(address, len));
}

WRAPPER int socket(int domain, int type, int protocol)
{
	return identity_opened(REAL(socket)(domain, type, protocol));
}

WRAPPER int eventfd(unsigned count, int flags)
{
	return identity_opened(REAL(eventfd)(count, flags));
}

WRAPPER int eventfd_read(int fd, eventfd_t *count)
{
	RETURN_HELD(REAL(eventfd_read)(fd, count), FILLS(count, sizeof *count));
}

WRAPPER int accept(int fd, struct sockaddr *to, socklen_t *len)
{
	RETURN_HELD(identity_opened(REAL(accept)(fd, to, len)), ROOM);
}

WRAPPER int accept4(int fd, struct sockaddr *to, socklen_t *len, int flags)
{
	RETURN_HELD(identity_opened(REAL(accept4)(fd, to, len, flags)), ROOM);
}

WRAPPER int getsockname(int fd, struct sockaddr *to, socklen_t *len)
{
	RETURN_HELD(REAL(getsockname)(fd, to, len), ROOM);
}

WRAPPER int getpeername(int fd, struct sockaddr *to, socklen_t *len)
{
	RETURN_HELD(REAL(getpeername)(fd, to, len), ROOM);
}

WRAPPER int getsockopt(int fd, int level, int name, void *to, socklen_t *len)
{
	RETURN_HELD(REAL(getsockopt)(fd, level, name, to, len), ROOM);
}

WRAPPER int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	RETURN_HELD(REAL(setsockopt)(fd, level, name, value, len), READS(value, len));
}

/* Called with both pinned. */
static int opened(int result, const int fds[2])
{
	if (!result) {
		identity_opened(fds[0]);
		identity_opened(fds[1]);
	}
	return result;
}

WRAPPER int socketpair(int domain, int type, int protocol, int fds[2])
{
	RETURN_HELD(opened(REAL(socketpair)(domain, type, protocol, fds), fds), FILLS(fds, 2 * sizeof *fds));
}

WRAPPER int pipe(int fds[2])
{
	RETURN_HELD(opened(REAL(pipe)(fds), fds), FILLS(fds, 2 * sizeof *fds));
}

WRAPPER int pipe2(int fds[2], int flags)
{
	RETURN_HELD(opened(REAL(pipe2)(fds, flags), fds), FILLS(fds, 2 * sizeof *fds));
}
