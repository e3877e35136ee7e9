/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send and recv in their forms, with buffers that may be ours. Addresses and control data of ours are not looked for.
 * The message forms pin all buffers for the call; what is more than pins allow fails with ENOBUFS.
 */
#include <errno.h>
#include <limits.h>

#include "api/file_io.h"
#include "iov.h"
#include "mapped.h"
#include "real.h"
#include "transfer.h"

static ssize_t do_send(const struct transfer *t, void *buf, size_t len, size_t done)
{
	(void)done;
	return REAL(sendto)(t->fd, buf, len, t->flags, t->address, (socklen_t)t->address_len);
}

static ssize_t do_recv(const struct transfer *t, void *buf, size_t len, size_t done)
{
	(void)done;
	return REAL(recv)(t->fd, buf, len, t->flags);
}

WRAPPER ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	struct transfer t = {.call = do_send, .fd = fd, .flags = flags};

	return NOTHING_MAPPED ? REAL(send)(fd, buf, len, flags) : transfer(&t, (void *)buf, len);
}

WRAPPER ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	struct transfer t = {.call = do_send, .fd = fd, .flags = flags, .address = to, .address_len = to_len};

	return NOTHING_MAPPED ? REAL(sendto)(fd, buf, len, flags, to, to_len) : transfer(&t, (void *)buf, len);
}

/* Peeking twice would see the same bytes twice: one piece. */
static bool waits_for_all(int flags)
{
	return (flags & MSG_WAITALL) && !(flags & MSG_PEEK);
}

WRAPPER ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	struct transfer t = {.call = do_recv, .fd = fd, .to_memory = true, .whole = waits_for_all(flags), .flags = flags};

	return NOTHING_MAPPED ? REAL(recv)(fd, buf, len, flags) : transfer(&t, buf, len);
}

WRAPPER ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	return len > room ? REAL(__recv_chk)(fd, buf, len, room, flags) : recv(fd, buf, len, flags);
}

/* ---- Messages ---- */

static int pin_message(const struct msghdr *m, bool write)
{
	int err = iov_pin(m->msg_iov, (int)m->msg_iovlen, write);

	if (!err)
		return 0;
	errno = err == -ENOMEM ? ENOBUFS : EFAULT;
	return -1;
}

static void unpin_message(const struct msghdr *m)
{
	iov_unpin(m->msg_iov, (int)m->msg_iovlen);
}

static bool is_plain(const struct msghdr *m)
{
	return m->msg_iovlen > IOV_MAX || !iov_is_ours(m->msg_iov, (int)m->msg_iovlen);
}

WRAPPER ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t n;

	if (NOTHING_MAPPED || is_plain(m))
		return REAL(sendmsg)(fd, m, flags);
	if (pin_message(m, false))
		return -1;
	n = REAL(sendmsg)(fd, m, flags);
	unpin_message(m);
	return n;
}

WRAPPER ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct msghdr pinned;
	ssize_t n;

	if (NOTHING_MAPPED || is_plain(m))
		return REAL(recvmsg)(fd, m, flags);
	pinned = *m;
	if (pin_message(m, true))
		return -1;
	n = REAL(recvmsg)(fd, m, flags);
	unpin_message(&pinned);
	return n;
}

WRAPPER ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	ssize_t n;

	if (NOTHING_MAPPED || !file_io_is_ours(buf, len))
		return REAL(recvfrom)(fd, buf, len, flags, from, from_len);
	if (!from)
		return recv(fd, buf, len, flags);
	len = min_u64(len, file_io_piece_limit()); /* a datagram is shorter, and a stream may give less */
	if (file_io_pin(buf, len, true)) {
		errno = EFAULT;
		return -1;
	}
	n = REAL(recvfrom)(fd, buf, len, flags, from, from_len);
	file_io_unpin(buf, len);
	return n;
}

WRAPPER ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *from, socklen_t *from_len)
{
	return len > room ? REAL(__recvfrom_chk)(fd, buf, len, room, flags, from, from_len) : recvfrom(fd, buf, len, flags, from, from_len);
}

/* ---- Several messages: those that can be pinned together, fewer than asked for when that is all ---- */

static bool all_plain(const struct mmsghdr *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!is_plain(&v[i].msg_hdr))
			return false;
	return true;
}

static void unpin_messages(const struct mmsghdr *v, unsigned n)
{
	while (n-- > 0)
		unpin_message(&v[n].msg_hdr);
}

static unsigned pin_messages(const struct mmsghdr *v, unsigned n, bool write)
{
	for (unsigned i = 0; i < n; i++)
		if (pin_message(&v[i].msg_hdr, write))
			return i;
	return n;
}

WRAPPER int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	int sent;

	if (NOTHING_MAPPED || all_plain(v, n))
		return REAL(sendmmsg)(fd, v, n, flags);
	n = pin_messages(v, n, false);
	if (!n)
		return -1;
	sent = REAL(sendmmsg)(fd, v, n, flags);
	unpin_messages(v, n);
	return sent;
}

WRAPPER int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	int got;

	if (NOTHING_MAPPED || all_plain(v, n))
		return REAL(recvmmsg)(fd, v, n, flags, timeout);
	n = pin_messages(v, n, true);
	if (!n)
		return -1;
	got = REAL(recvmmsg)(fd, v, n, flags, timeout);
	unpin_messages(v, n);
	return got;
}
