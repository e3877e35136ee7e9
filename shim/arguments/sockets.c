/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send and recv in their forms, with buffers, addresses and control data that may be ours. The message forms pin all
 * buffers for the call; what is more than pins allow goes in pieces on a stream, and fails with ENOBUFS elsewhere.
 */
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

#include "api/file_io.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/pins.h"
#include "base/real.h"
#include "held.h"
#include "iov.h"
#include "transfer.h"
#include "util/sys.h"

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

	RETURN_HELD(transfer(&t, (void *)buf, len), READS(to, to_len));
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

/* What a message has besides its buffers: itself, the list of buffers, an address, control data. */
#define PARTS 4

static void parts_of(const struct msghdr *m, bool write, struct held parts[PARTS])
{
	parts[0] = (struct held)FILLS(m, sizeof *m);
	parts[1] = (struct held)READS(m->msg_iov, m->msg_iovlen * sizeof *m->msg_iov);
	parts[2] = (struct held){m->msg_name, m->msg_namelen, write};
	parts[3] = (struct held){m->msg_control, m->msg_controllen, write};
}

static int pin_buffers(const struct msghdr *m, bool write, const void *frame)
{
	int err = m->msg_iovlen > IOV_MAX ? 0 : iov_pin(m->msg_iov, (int)m->msg_iovlen, write, frame);

	if (!err)
		return 0;
	errno = err == -ENOMEM ? ENOBUFS : EFAULT;
	return -1;
}

static struct iov_pinned buffers_of(const struct msghdr *m, const void *frame)
{
	return (struct iov_pinned){m->msg_iov, m->msg_iovlen <= IOV_MAX ? (int)m->msg_iovlen : 0, frame};
}

/* Of a message whose buffers are pinned, until the end of the block. */
#define BUFFERS_HERE(m, frame) __attribute__((cleanup(iov_end), unused)) const struct iov_pinned buffers_ = buffers_of(m, frame)

/* Whether buffers that do not fit into memory together may go one after the other, and be filled in part. */
static bool may_divide(int fd, const struct msghdr *m)
{
	int type = 0;
	socklen_t len = sizeof type;

	if (m->msg_iovlen == 1 && m->msg_iov->iov_len <= file_io_piece_limit())
		return false;
	return errno == ENOBUFS && !sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&len, 0) && type == SOCK_STREAM;
}

/* The first buffer that has any bytes, as much of it as can be pinned. */
static void first_piece(const struct msghdr *m, struct iovec *piece)
{
	size_t i = 0;

	while (!m->msg_iov[i].iov_len)
		i++;
	*piece = m->msg_iov[i];
	piece->iov_len = min_u64(piece->iov_len, file_io_piece_limit());
}

/* What comes after `done` bytes, with which all else that the message has has gone. How many bytes that makes. */
static ssize_t send_rest(int fd, const struct msghdr *m, int flags, ssize_t done)
{
	size_t skip = (size_t)done;

	for (size_t i = 0; i < m->msg_iovlen; i++) {
		size_t in = min_u64(skip, m->msg_iov[i].iov_len), len = m->msg_iov[i].iov_len - in;
		ssize_t n;

		skip -= in;
		if (!len)
			continue;
		n = send(fd, (char *)m->msg_iov[i].iov_base + in, len, flags);
		done += n > 0 ? n : 0;
		if (n < (ssize_t)len)
			break;
	}
	return done;
}

static ssize_t send_divided(int fd, const struct msghdr *m, int flags)
{
	struct iovec piece;
	struct msghdr first = *m;
	ssize_t n;

	first_piece(m, &piece);
	first.msg_iov = &piece;
	first.msg_iovlen = 1;
	n = sendmsg(fd, &first, flags);
	return n > 0 ? send_rest(fd, m, flags, n) : n;
}

/* A stream may give less. */
static ssize_t receive_divided(int fd, struct msghdr *m, int flags)
{
	struct iovec piece, *iov = m->msg_iov;
	size_t buffers = m->msg_iovlen;
	ssize_t n;

	first_piece(m, &piece);
	m->msg_iov = &piece;
	m->msg_iovlen = 1;
	n = recvmsg(fd, m, flags);
	m->msg_iov = iov;
	m->msg_iovlen = buffers;
	return n;
}

static size_t total(const struct msghdr *m)
{
	size_t sum = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++)
		sum += m->msg_iov[i].iov_len;
	return sum;
}

/* As file_io_was_cut() and file_io_was_away(), of all that the message has. */
static bool was_cut(const struct msghdr *m, const struct held parts[PARTS], uint32_t moves, ssize_t n)
{
	if (n >= 0 && (size_t)n >= total(m))
		return false;
	if (file_io_was_away(moves, total(m), n) || (n == -EFAULT && held_was_cut(parts, PARTS)))
		return true;
	return m->msg_iovlen <= IOV_MAX && iov_was_cut(m->msg_iov, (int)m->msg_iovlen, n);
}

static ssize_t send_once(int fd, const struct msghdr *m, int flags, bool *cut)
{
	uint32_t moves = file_io_moves();
	struct held parts[PARTS];
	ssize_t n = -1;

	*cut = false;
	parts_of(m, false, parts);
	HOLD_HERE(parts, PARTS);
	if (!pin_buffers(m, false, parts)) {
		BUFFERS_HERE(m, parts);
		n = REAL(sendmsg)(fd, m, flags);
		*cut = was_cut(m, parts, moves, n < 0 ? -errno : n);
	} else if (may_divide(fd, m)) {
		n = send_divided(fd, m, flags);
	}
	return n;
}

/* Whole again while nothing has gone: it may be a datagram. */
WRAPPER ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	unsigned cuts = 0;
	ssize_t n;
	bool cut;

	if (NOTHING_MAPPED || !can_peek_message(m))
		return REAL(sendmsg)(fd, m, flags);
	do
		n = send_once(fd, m, flags, &cut);
	while (cut && n <= 0 && cuts++ < FILE_IO_CUTS);
	return cut && n > 0 ? send_rest(fd, m, flags, n) : n;
}

WRAPPER ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct held parts[PARTS];
	ssize_t n = -1;

	if (NOTHING_MAPPED || !can_peek_message(m))
		return REAL(recvmsg)(fd, m, flags);
	parts_of(m, true, parts);
	HOLD_HERE(parts, PARTS);
	if (!pin_buffers(m, true, parts)) {
		BUFFERS_HERE(m, parts);
		n = REAL(recvmsg)(fd, m, flags);
	} else if (may_divide(fd, m)) {
		n = receive_divided(fd, m, flags);
	}
	return n;
}

/* A datagram is shorter than the limit, and a stream may give less. */
static ssize_t recv_from(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	if (!file_io_is_ours(buf, len))
		return REAL(recvfrom)(fd, buf, len, flags, from, from_len);
	struct iovec piece = {buf, min_u64(len, file_io_piece_limit())};

	if (pin(buf, piece.iov_len, true, &piece)) {
		errno = EFAULT;
		return -1;
	}
	__attribute__((cleanup(iov_end), unused)) const struct iov_pinned pinned = {&piece, 1, &piece};
	return REAL(recvfrom)(fd, buf, piece.iov_len, flags, from, from_len);
}

WRAPPER ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	if (NOTHING_MAPPED)
		return REAL(recvfrom)(fd, buf, len, flags, from, from_len);
	if (!from)
		return recv(fd, buf, len, flags);
	RETURN_HELD(recv_from(fd, buf, len, flags, from, from_len), FILLS(from, peek_room(from_len)), FILLS(from_len, sizeof *from_len));
}

WRAPPER ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *from, socklen_t *from_len)
{
	return len > room ? REAL(__recvfrom_chk)(fd, buf, len, room, flags, from, from_len) : recvfrom(fd, buf, len, flags, from, from_len);
}

/* ---- Several messages: those that can be pinned together; others are sent one by one, and received another time ---- */

#define SEVERAL 16

struct batch {
	const struct mmsghdr *v;
	struct held all, parts[SEVERAL][PARTS];
	unsigned n;
};

static bool is_plain(const struct msghdr *m)
{
	return !file_io_is_ours(m->msg_iov, m->msg_iovlen * sizeof *m->msg_iov) && !file_io_is_ours(m->msg_name, m->msg_namelen) &&
	       !file_io_is_ours(m->msg_control, m->msg_controllen) &&
	       (m->msg_iovlen > IOV_MAX || !iov_is_ours(m->msg_iov, (int)m->msg_iovlen));
}

static bool all_plain(const struct mmsghdr *v, unsigned n)
{
	if (n > IOV_MAX || file_io_is_ours(v, n * sizeof *v))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!is_plain(&v[i].msg_hdr))
			return false;
	return true;
}

static bool pin_batch(struct batch *b, const struct mmsghdr *v, unsigned n, bool write)
{
	b->v = v;
	b->all = (struct held)FILLS(v, n * sizeof *v);
	hold_from(b, &b->all, 1);
	for (b->n = 0; b->n < n && b->n < SEVERAL; b->n++) {
		const struct msghdr *m = &v[b->n].msg_hdr;

		if (pin_buffers(m, write, b))
			break;
		parts_of(m, write, b->parts[b->n]);
		hold_from(b, b->parts[b->n], PARTS);
	}
	return b->n;
}

static void release_batch(const struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct iov_pinned buffers = buffers_of(&b->v[i].msg_hdr, b);

		iov_end(&buffers);
		release_from(b, b->parts[i], PARTS);
	}
	release_from(b, &b->all, 1);
}

/* With which message to go on, of which so many have been sent: one may have gone in part. *none: it is the kernel that stopped there. */
static unsigned next_to_send(const struct batch *b, const struct mmsghdr *v, int sent, uint32_t moves, bool *none)
{
	unsigned i = sent > 0 ? (unsigned)sent : 0;

	if (i && v[i - 1].msg_len < total(&v[i - 1].msg_hdr)) {
		*none = !was_cut(&v[i - 1].msg_hdr, b->parts[i - 1], moves, v[i - 1].msg_len);
		return i - 1;
	}
	*none = i < b->n && !((sent >= 0 || errno == EFAULT) && was_cut(&v[i].msg_hdr, b->parts[i], moves, -EFAULT));
	return i;
}

/* One by one, from there on, up to one that goes in part; how many have gone in all. */
static int send_others(int fd, struct mmsghdr *v, unsigned first, unsigned n, int flags)
{
	bool whole = true;
	unsigned i = first;

	for (; i < n && whole; i++) {
		ssize_t len = sendmsg(fd, &v[i].msg_hdr, flags);

		if (len < 0)
			return i ? (int)i : -1;
		v[i].msg_len = (unsigned)len;
		whole = (size_t)len >= total(&v[i].msg_hdr);
	}
	return (int)i;
}

static int send_on(int fd, struct mmsghdr *v, int sent, unsigned next, unsigned n, int flags)
{
	if ((int)next < sent) {
		v[next].msg_len = (unsigned)send_rest(fd, &v[next].msg_hdr, flags, v[next].msg_len);
		if (v[next].msg_len < total(&v[next].msg_hdr))
			return sent;
		next++;
	}
	return send_others(fd, v, next, min_u64(n, IOV_MAX), flags);
}

/* Those that can be pinned together. */
static int send_several(int fd, struct mmsghdr *v, unsigned n, int flags, unsigned *next, bool *none)
{
	uint32_t moves = file_io_moves();
	__attribute__((cleanup(release_batch))) struct batch b = {.n = 0};
	int sent;

	*next = 0;
	*none = false;
	if (!pin_batch(&b, v, n, false))
		return 0;
	sent = REAL(sendmmsg)(fd, v, b.n, flags);
	*next = next_to_send(&b, v, sent, moves, none);
	return sent;
}

WRAPPER int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	unsigned next;
	bool none;
	int sent;

	if (NOTHING_MAPPED || !can_peek_messages(v, n) || all_plain(v, n))
		return REAL(sendmmsg)(fd, v, n, flags);
	sent = send_several(fd, v, n, flags, &next, &none);
	return none ? sent : send_on(fd, v, sent, next, n, flags);
}

static int receive_several(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	__attribute__((cleanup(release_batch))) struct batch b = {.n = 0};

	if (!can_peek_messages(v, n) || all_plain(v, n))
		return REAL(recvmmsg)(fd, v, n, flags, timeout);
	return pin_batch(&b, v, n, true) ? REAL(recvmmsg)(fd, v, b.n, flags, timeout) : -1;
}

/* What is left of the time is put where the time was. */
WRAPPER int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	if (NOTHING_MAPPED)
		return REAL(recvmmsg)(fd, v, n, flags, timeout);
	RETURN_HELD(receive_several(fd, v, n, flags, timeout), FILLS(timeout, sizeof *timeout));
}
