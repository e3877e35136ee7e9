/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "cache/budget.h"
#include "cache/reclaim.h"
#include "leave.h"
#include "shared.h"
#include "util/compiler.h"
#include "util/log.h"

#define FDS 2 /* that go with a message */

static int board_fd = -1;

static void (*adopt_client)(int sock, pid_t pid);

void message_set_adopt(void (*adopt)(int sock, pid_t pid))
{
	adopt_client = adopt;
}

void message_set_board(int fd)
{
	board_fd = fd;
}

/* A message and its descriptors, in either direction. */
struct packet {
	struct wire_message m;
	int fd[FDS], nfds;
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FDS * sizeof(int))];
};

/* ---- The socket ---- */

static void take_descriptors(struct msghdr *h, struct packet *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && p->nfds < FDS; i++)
			memcpy(&p->fd[p->nfds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

static void close_descriptors(struct packet *p)
{
	while (p->nfds)
		sys_close(p->fd[--p->nfds]);
}

/* 0; -EAGAIN when there is none, -ECONNRESET at the end, -EPROTO for what is no message. */
static int receive(int sock, struct packet *p)
{
	struct iovec iov = {.iov_base = &p->m, .iov_len = sizeof p->m};
	union control control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;

	p->nfds = 0;
	do
		n = sys_call(SYS_recvmsg, sock, (long)&h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, 0, 0, 0);
	while (n == -EINTR);
	if (n < 0)
		return n == -EAGAIN ? -EAGAIN : -ECONNRESET;
	take_descriptors(&h, p);
	if (n == sizeof p->m && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	close_descriptors(p); /* also of a message without bytes, which looks like the end */
	return n ? -EPROTO : -ECONNRESET;
}

/* Without waiting: a client that does not read its answers is none. */
static bool answer(int sock, const struct packet *p)
{
	struct iovec iov = {.iov_base = (void *)&p->m, .iov_len = sizeof p->m};
	union control control = {.bytes = {0}};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (p->nfds) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE((size_t)p->nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN((size_t)p->nfds * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), p->fd, (size_t)p->nfds * sizeof(int));
	}
	do
		n = sys_call(SYS_sendmsg, sock, (long)&h, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0);
	while (n == -EINTR);
	return n == sizeof p->m;
}

/* ---- What is asked for; `out` is the answer, whose result they return ---- */

static int create_area(struct session *s)
{
	void *memory;
	int fd;

	metadata_refill();
	if (!budget_charge_metadata(AREA_PAGES))
		return -ENOMEM;
	fd = shared_create("faultline:client", sizeof(struct wire_area), &memory);
	if (fd < 0)
		budget_release_metadata(AREA_PAGES);
	else
		s->area = memory;
	return fd;
}

/* The area is looked at from before the answer on: the client may be quick. */
static int greet(struct session *s, struct packet *in, struct packet *out)
{
	int fd;

	if (in->m.kind != WIRE_HELLO)
		return -EINVAL;
	if (in->m.value != WIRE_VERSION)
		return -EPROTONOSUPPORT;
	fd = create_area(s);
	if (fd < 0)
		return fd;
	atomic_store(&s->greeted, true);
	out->m.value = budget_limit() << FL_PAGE_SHIFT;
	out->fd[0] = fd;
	out->fd[1] = board_fd;
	out->nfds = 2;
	return 0;
}

static int add_mmu(struct session *s, struct packet *in, struct packet *out)
{
	uint32_t number;
	int err;

	if (in->nfds != 1)
		return -EINVAL;
	in->nfds = 0;
	err = session_add_mmu(s, in->fd[0], &number);
	out->m.value = number;
	return err;
}

/* How the file may be used follows from the descriptor: the client could open it so. */
static int check_mode(int fd, const struct stat *st, bool *writable)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	if (flags < 0 || (flags & O_PATH))
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	*writable = (flags & O_ACCMODE) == O_RDWR;
	return S_ISREG(st->st_mode) ? 0 : -EOPNOTSUPP;
}

/* Nobody leaves it to the kernel meanwhile. */
static int find_or_add(int fd, const struct stat *st, struct address_space **as)
{
	int err;

	leave_begin();
	if (leave_has((struct file_id){.dev = st->st_dev, .ino = st->st_ino}))
		err = -EOPNOTSUPP;
	else
		err = address_space_get(fd, st, false, as);
	leave_end();
	return err;
}

static int find_file(int fd, const struct stat *st, uint32_t flags, struct address_space **as)
{
	int err;

	if ((flags & WIRE_OPEN_SCRATCH) && st->st_nlink)
		return -EINVAL; /* what others find by its name is not to be thrown away */
	metadata_refill();
	if (flags & WIRE_OPEN_SCRATCH)
		err = address_space_get_scratch(fd, st, false, as);
	else
		err = find_or_add(fd, st, as);
	if (!err && (*as)->kernels) {
		address_space_put(*as);
		err = -EOPNOTSUPP;
	}
	return err;
}

static bool reads_direct(struct address_space *as)
{
	const struct store_ops *ops = as->store->ops;

	return ops->direct_fd && ops->direct_fd(as->store, false) >= 0;
}

/* The size is read when the handle is there: it is told of every change that comes after. */
static void describe(struct session *s, uint32_t number, struct packet *out)
{
	struct handle *h = session_file(s, number);

	if (!h)
		return; /* closed again, by a client that cannot know its number */
	out->m.flags = reads_direct(h->as) ? WIRE_OPEN_DIRECT : 0;
	out->m.file = number;
	out->m.value = atomic_load(&h->as->size);
	out->m.wb_err = wb_err_sample(h->as);
	out->fd[0] = sys_fcntl(h->as->memfd, F_DUPFD_CLOEXEC, 3);
	out->nfds = out->fd[0] >= 0;
	handle_put(h);
}

static int open_file(struct session *s, const struct packet *in, struct packet *out)
{
	struct address_space *as;
	uint32_t number;
	struct stat st;
	bool writable;
	int err;

	if (in->nfds != 1)
		return -EINVAL;
	err = sys_fstat(in->fd[0], &st);
	if (!err)
		err = check_mode(in->fd[0], &st, &writable);
	if (!err)
		err = find_file(in->fd[0], &st, in->m.flags, &as);
	if (err)
		return err;
	err = session_add_file(s, as, writable, &number);
	if (err) {
		address_space_put(as);
		return err;
	}
	describe(s, number, out);
	if (out->nfds)
		return 0;
	session_close_file(s, number);
	return -EMFILE;
}

/* Its parent vouches for it: it is named by that one in messages. */
static int add_child(const struct session *s, struct packet *out)
{
	int pair[2];
	long err = sys_call(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)pair, 0, 0);

	if (err)
		return (int)err;
	sys_fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK);
	adopt_client(pair[0], s->pid);
	out->fd[0] = pair[1];
	out->nfds = 1;
	return 0;
}

static int serve(struct session *s, struct packet *in, struct packet *out)
{
	switch (in->m.kind) {
	case WIRE_ADD_MMU:
		return add_mmu(s, in, out);
	case WIRE_DROP_MMU:
		return session_drop_mmu(s, in->m.value);
	case WIRE_OPEN:
		return open_file(s, in, out);
	case WIRE_CHILD:
		return add_child(s, out);
	default:
		return -EINVAL;
	}
}

static void close_answered(struct packet *out)
{
	for (int i = 0; i < out->nfds; i++)
		if (out->fd[i] != board_fd)
			sys_close(out->fd[i]);
}

/* What has come, and its answer by `serve_it`; *result: of that. */
static int exchange(struct session *s, int (*serve_it)(struct session *s, struct packet *in, struct packet *out), int *result)
{
	struct packet in = {.nfds = 0}, out = {.nfds = 0};
	int err = receive(s->sock, &in);

	if (err == -EPROTO)
		fl_log(LOG_WARN, "process %d does not speak as clients do: it is let go", (int)s->pid);
	if (err)
		return err;
	out.m.kind = in.m.kind;
	*result = out.m.result = serve_it(s, &in, &out);
	err = answer(s->sock, &out) ? 0 : -ECONNRESET;
	close_descriptors(&in);
	close_answered(&out);
	return err;
}

bool message_greet(struct session *s)
{
	int result = 0, err = exchange(s, greet, &result);

	return err == -EAGAIN || (!err && !result);
}

int message_serve(struct session *s)
{
	int result, err = exchange(s, serve, &result);

	if (err && err != -EAGAIN)
		sys_call(SYS_shutdown, s->sock, SHUT_RDWR, 0, 0, 0, 0); /* seen as if it had hung up */
	return err;
}
