/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "util/fd.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/own.h"
#include "util/spin.h"
#include "util/sys.h"

#define PATIENCE_NS 1000000000 /* after this a caller looks whether the host is still there */
#define LEFT_MAX 16
#define WOKEN_US 60     /* what it takes a worker to wake, and some more */
#define AWAKE_NS 100000 /* one that looks has seen it by then */
#define MESSAGE_US 100  /* what a host does to open a file, and some more */
#define NAME_MAX_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

struct channel {
	int sock;
	struct wire_area *area;
	struct wire_board *board;
	_Atomic uint64_t used; /* slots that a caller has */
	_Atomic uint64_t left; /* of these, those that nobody waits for: whoever takes one out of here gives it back */
	uint64_t budget;
};

static struct channel channel = {.sock = -1}, child = {.sock = -1}; /* constant while joined; child: from before a fork to after */
_Atomic bool channel_is_joined;
static _Atomic bool down;
static _Atomic uint32_t no_files[WIRE_FILTER];
_Atomic uint32_t *_Atomic channel_filter = no_files;
struct wire_inflight *_Atomic channel_marks;
static _Atomic bool inherited; /* over a fork: of the channel only the board is ours */
static _Atomic bool kept;      /* channel_keep(): children cannot connect by themselves */
static char host_name[NAME_MAX_BYTES];
static struct mutex socket_lock = MUTEX_INIT(RANK_CHANNEL); /* one message at a time. Held across the host's answer */

/* After each change of whether there is a host, and where its board is; NULL: there is none. */
static void show_board(struct wire_board *b)
{
	atomic_store(&channel_marks, b ? &b->inflight : NULL);
	atomic_store(&channel_filter, b && !atomic_load(&down) ? b->filter : no_files);
}

uint64_t channel_budget(void)
{
	return channel.budget;
}

bool channel_has_any(void)
{
	return channel_joined() && !atomic_load_explicit(&down, memory_order_relaxed) &&
	       atomic_load_explicit(&channel.board->files, memory_order_relaxed);
}

bool channel_has(uint64_t dev, uint64_t ino)
{
	return channel_has_at(wire_filter(dev, ino));
}

static uint32_t dirty_at(uint32_t place)
{
	return atomic_load(&channel.board->dirty[place]);
}

uint32_t channel_dirty(uint64_t dev, uint64_t ino)
{
	return channel_has(dev, ino) ? dirty_at(wire_filter(dev, ino)) : 0;
}

bool channel_has_dirty(uint64_t dev, uint64_t ino)
{
	return channel_dirty(dev, ino);
}

bool channel_is_clean(uint64_t dev, uint64_t ino)
{
	return channel_has(dev, ino) && !dirty_at(wire_filter(dev, ino));
}

bool channel_is_at(uint64_t addr)
{
	return channel_joined() && (addr == (uintptr_t)channel.area || addr == (uintptr_t)channel.board);
}

bool channel_pins_are_many(void)
{
	return atomic_load_explicit(&channel.board->pins_are_many, memory_order_relaxed);
}

uint32_t channel_shrunk(void)
{
	return atomic_load(&channel.board->shrunk);
}

/* ---- The socket ---- */

#define FDS_MAX 2

struct envelope {
	struct iovec iov;
	struct msghdr msg;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
};

static struct msghdr *address(struct envelope *e, struct wire_message *m, size_t control)
{
	memset(e, 0, sizeof *e);
	e->iov = (struct iovec){.iov_base = m, .iov_len = sizeof *m};
	e->msg = (struct msghdr){
		.msg_iov = &e->iov, .msg_iovlen = 1, .msg_control = control ? e->control.bytes : NULL, .msg_controllen = control};
	return &e->msg;
}

static int send_message(int sock, struct wire_message *m, int fd)
{
	struct envelope e;
	struct msghdr *msg = address(&e, m, fd < 0 ? 0 : CMSG_SPACE(sizeof fd));
	long n;

	if (fd >= 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	do
		n = sys_call(SYS_sendmsg, sock, (long)msg, MSG_NOSIGNAL, 0, 0, 0);
	while (n == -EINTR);
	return n == (long)sizeof *m ? 0 : -EHOSTDOWN;
}

static void take_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len <= CMSG_LEN(FDS_MAX * sizeof(int)))
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	for (int i = 0; i < FDS_MAX; i++)
		if (fds[i] >= 0)
			fds[i] = fd_move_high(fds[i]);
}

static int receive(int sock, struct wire_message *m, int fds[FDS_MAX])
{
	struct envelope e;
	struct msghdr *msg = address(&e, m, sizeof e.control.bytes);
	long n;

	for (int i = 0; i < FDS_MAX; i++)
		fds[i] = -1;
	do
		n = sys_call(SYS_recvmsg, sock, (long)msg, MSG_CMSG_CLOEXEC, 0, 0, 0);
	while (n == -EINTR);
	if (n != (long)sizeof *m)
		return -EHOSTDOWN;
	take_fds(msg, fds);
	return m->result;
}

static int own_channel(void);
static int ask_by(struct channel_call *c, int slot);

#define GONE "the host has gone: files that it had cannot be reached by their mappings any more, and what was not synced is lost"
#define NOT_OURS "the host serves another user than this process has become: what it maps is not served, and not in the budget"
#define NO_ROOM "no room at the host for one more process: what it maps is not served, and not in the budget"

/* Said once; nothing is asked any more. */
static void note_end(const char *what)
{
	if (atomic_exchange(&down, true))
		return;
	show_board(channel.board);
	fl_say(what);
}

/* The host has sent its answer when it has answered by slot: nobody sleeps at the socket. */
static int exchange(struct wire_message *m, int fd, int fds[FDS_MAX])
{
	struct channel_call look = {.op = WIRE_MESSAGE, .look_us = MESSAGE_US};
	int err = atomic_load(&down) ? -EHOSTDOWN : send_message(channel.sock, m, fd);

	if (!err && ask_by(&look, WIRE_MESSAGE_SLOT))
		err = -EHOSTDOWN;
	return err ? err : receive(channel.sock, m, fds);
}

int channel_message(struct wire_message *m, int fd, int *got)
{
	int fds[FDS_MAX], err = own_channel();

	mutex_lock(&socket_lock);
	if (!err)
		err = exchange(m, fd, fds);
	if (err == -EHOSTDOWN)
		note_end(GONE);
	mutex_unlock(&socket_lock);
	if (got)
		*got = err ? -1 : fds[0];
	return err;
}

/* ---- Joining ---- */

static int dial(const char *name)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int sock;
	long err;

	if (!len || len >= sizeof to.sun_path)
		return -EINVAL;
	memcpy(to.sun_path, name, len + 1);
	if (name[0] == '@') /* not in the file system */
		to.sun_path[0] = 0;
	else
		len++;
	sock = (int)sys_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0, 0, 0);
	if (sock < 0)
		return sock;
	do
		err = sys_call(SYS_connect, sock, (long)&to, (long)(offsetof(struct sockaddr_un, sun_path) + len), 0, 0, 0);
	while (err == -EINTR);
	if (err) {
		sys_close(sock);
		return (int)err;
	}
	return fd_move_high(sock);
}

static void *map_shared(int fd, size_t len)
{
	void *p = fd < 0 ? NULL : own_map(len, MAP_SHARED, fd);

	if (fd >= 0)
		fd_close(fd);
	return p && !sys_is_err(p) ? p : NULL;
}

static void hang_up(struct channel *c)
{
	if (c->area)
		sys_munmap(c->area, sizeof *c->area);
	if (c->board)
		sys_munmap(c->board, sizeof *c->board);
	if (c->sock >= 0)
		fd_close(c->sock);
	*c = (struct channel){.sock = -1};
}

static int greet(struct channel *c)
{
	struct wire_message m = {.kind = WIRE_HELLO, .value = WIRE_VERSION};
	int fds[FDS_MAX], err = send_message(c->sock, &m, -1);

	if (!err)
		err = receive(c->sock, &m, fds);
	if (err)
		return err == -EHOSTDOWN ? -EPERM : err; /* it hung up on us */
	c->area = map_shared(fds[0], sizeof *c->area);
	c->board = map_shared(fds[1], sizeof *c->board);
	c->budget = m.value;
	atomic_store(&c->used, 1ULL << WIRE_MESSAGE_SLOT);
	return c->area && c->board ? 0 : -ENOMEM;
}

static int call_host(struct channel *c)
{
	int err;

	*c = (struct channel){.sock = dial(host_name)};
	if (c->sock < 0) {
		err = c->sock;
		c->sock = -1;
		return err;
	}
	err = greet(c);
	if (err)
		hang_up(c);
	return err;
}

int channel_join(const char *name)
{
	int err;

	if (channel_joined())
		return 0;
	if (strlen(name) >= sizeof host_name)
		return -ENAMETOOLONG;
	memcpy(host_name, name, strlen(name) + 1);
	err = call_host(&channel);
	if (!err) {
		atomic_store(&down, false);
		show_board(channel.board);
		atomic_store_explicit(&channel_is_joined, true, memory_order_release);
	}
	return err;
}

void channel_leave(void)
{
	if (!channel_joined())
		return;
	atomic_store(&channel_is_joined, false);
	atomic_store(&inherited, false);
	show_board(NULL);
	hang_up(&channel);
}

/* The board stays where it is: others are looking at it. */
static int call_again(void)
{
	struct channel own;
	int err = call_host(&own);

	if (err) {
		note_end(err == -EPERM || err == -EACCES ? NOT_OURS : err == -ENOENT || err == -ECONNREFUSED ? GONE : NO_ROOM);
		return -EHOSTDOWN;
	}
	sys_munmap(own.board, sizeof *own.board);
	own.board = channel.board;
	channel = own;
	atomic_store(&inherited, false);
	return 0;
}

static int own_channel(void)
{
	int err = 0;

	if (likely(!atomic_load_explicit(&inherited, memory_order_acquire)))
		return 0;
	mutex_lock(&socket_lock);
	if (atomic_load(&inherited))
		err = atomic_load(&down) ? -EHOSTDOWN : call_again();
	mutex_unlock(&socket_lock);
	return err;
}

bool channel_is_kept(void)
{
	return !channel_joined() || (atomic_load(&kept) && !atomic_load(&inherited));
}

void channel_keep(void)
{
	atomic_store(&kept, true);
	own_channel();
}

/* ---- Slots ---- */

static void give_slot(int i)
{
	atomic_store(&channel.area->slot[i].state, WIRE_FREE);
	atomic_fetch_and(&channel.used, ~(1ULL << i));
}

/* Of those that were left, how many are not done yet. */
static int collect_left(void)
{
	uint64_t left = atomic_load(&channel.left);
	int n = 0;

	for (uint64_t look = left; look; look &= look - 1) {
		int i = __builtin_ctzll(look);

		if (atomic_load_explicit(&channel.area->slot[i].state, memory_order_acquire) != WIRE_DONE)
			n++;
		else if (atomic_fetch_and(&channel.left, ~(1ULL << i)) & 1ULL << i)
			give_slot(i);
	}
	return n;
}

static int take_slot(void)
{
	uint64_t used = atomic_load(&channel.used);

	for (unsigned turn = 0;;) {
		int i;

		if (used == UINT64_MAX) { /* more threads than slots: one of them will be done soon */
			collect_left();
			cpu_relax(turn++);
			used = atomic_load(&channel.used);
			continue;
		}
		i = __builtin_ctzll(~used);
		if (atomic_compare_exchange_weak(&channel.used, &used, used | 1ULL << i))
			return i;
	}
}

static bool host_has_gone(void)
{
	struct pollfd p = {.fd = channel.sock};
	struct timespec now = {0};

	if (sys_call(SYS_ppoll, (long)&p, 1, (long)&now, 0, 8, 0) > 0)
		note_end(GONE);
	return atomic_load(&down);
}

/* Whether there was one. */
static bool wake_worker(void)
{
	struct wire_board *b = channel.board;

	return atomic_load(&b->sleepers) && sys_futex_wake_shared(&b->bell, 1) > 0;
}

static bool ring(void)
{
	atomic_fetch_add(&channel.board->bell, 1);
	return !atomic_load(&channel.board->looking) && wake_worker();
}

void channel_follows(void)
{
	atomic_store_explicit(&channel.board->soon, 1, memory_order_relaxed);
}

void channel_is_coming(void)
{
	if (own_channel() || atomic_load_explicit(&down, memory_order_relaxed))
		return;
	channel_follows();
	ring();
}

/* True when the state is another: it is looked at for as long as that is worth it. */
static bool look_at(const struct wire_slot *s, uint32_t state, const struct channel_call *c)
{
	static struct spin spin;

	if (c->look_us)
		return spin_for(&s->state, state, c->look_us);
	if (state == WIRE_POSTED && c->woken)
		return spin_for(&s->state, state, WOKEN_US);
	return spin_while(&s->state, state, &spin);
}

/* Who looked at the bell may have lost its processor, and who was woken have taken what somebody else had posted and not rung for. */
static void wake_again(const struct wire_slot *s, struct channel_call *c)
{
	if (sys_futex_wait_shared(&s->state, WIRE_POSTED, AWAKE_NS) != -ETIMEDOUT)
		return;
	wake_worker();
	c->woken = true; /* or all are at work, and will look */
}

/* The answer, or -EHOSTDOWN: the host's end ends the socket, which is looked at when the answer takes long. */
static int wait_for_answer(const struct wire_slot *s, struct channel_call *c)
{
	uint32_t state;

	while ((state = atomic_load_explicit(&s->state, memory_order_acquire)) != WIRE_DONE) {
		if (look_at(s, state, c))
			continue;
		if (state == WIRE_POSTED && !c->woken) {
			wake_again(s, c);
			continue;
		}
		if (sys_futex_wait_shared(&s->state, state, PATIENCE_NS) != -ETIMEDOUT)
			continue;
		if (host_has_gone())
			return -EHOSTDOWN;
		c->woken = false;
	}
	return s->result;
}

static void fill(struct wire_slot *s, const struct channel_call *c)
{
	s->op = c->op;
	s->flags = c->flags;
	s->file = c->file;
	memcpy(s->arg, c->arg, sizeof s->arg);
}

static int take_answer(int slot, struct channel_call *c)
{
	struct wire_slot *s = &channel.area->slot[slot];
	int err = wait_for_answer(s, c);

	memcpy(c->out, s->out, sizeof c->out);
	if (c->page && err >= 0)
		memcpy(c->page, channel.area->page[slot], c->in_page);
	return err;
}

static void post_by(struct channel_call *c, int slot)
{
	struct wire_slot *s = &channel.area->slot[slot];

	fill(s, c);
	atomic_store_explicit(&s->state, WIRE_POSTED, memory_order_release);
	atomic_fetch_or(&channel.area->pending, 1ULL << slot);
	c->woken = ring();
}

static int post(struct channel_call *c, int *slot)
{
	if (own_channel() || atomic_load_explicit(&down, memory_order_relaxed))
		return -EHOSTDOWN;
	*slot = take_slot();
	post_by(c, *slot);
	return 0;
}

/* Caller has the slot, and keeps it. */
static int ask_by(struct channel_call *c, int slot)
{
	int err;

	post_by(c, slot);
	err = take_answer(slot, c);
	atomic_store(&channel.area->slot[slot].state, WIRE_FREE);
	return err;
}

static int ask(struct channel_call *c, int *slot)
{
	int err = post(c, slot);

	if (err)
		return err;
	if (c->meanwhile)
		c->meanwhile(c);
	return take_answer(*slot, c);
}

int channel_call(struct channel_call *c)
{
	int slot = -1, err = ask(c, &slot);

	if (slot >= 0)
		give_slot(slot);
	return err;
}

int channel_hint(struct channel_call *c)
{
	int slot, err;

	if (atomic_load_explicit(&channel.left, memory_order_relaxed) && collect_left() >= LEFT_MAX)
		return channel_call(c);
	err = post(c, &slot);
	if (!err)
		atomic_fetch_or(&channel.left, 1ULL << slot);
	return err;
}

int channel_begin(struct channel_pair *p)
{
	int err;

	p->slot = -1;
	err = ask(&p->call, &p->slot);
	if (err && p->slot >= 0)
		give_slot(p->slot);
	return err;
}

int channel_end(struct channel_pair *p)
{
	struct wire_slot *s = &channel.area->slot[p->slot];
	int err;

	fill(s, &p->call);
	atomic_store_explicit(&s->state, WIRE_RESUME, memory_order_release);
	sys_futex_wake_shared(&s->state, 1);
	err = take_answer(p->slot, &p->call);
	give_slot(p->slot);
	return err;
}

/* ---- What the host asks for ---- */

uint32_t channel_recall_bell(void)
{
	return atomic_load(&channel.area->recall.bell);
}

struct channel_recall channel_take_recall(void)
{
	struct wire_recall *r = &channel.area->recall;

	return (struct channel_recall){.pages = atomic_exchange(&r->pages, 0), .idle = atomic_exchange(&r->idle, 0)};
}

void channel_wait_recall(uint32_t seen, uint64_t ns)
{
	sys_futex_wait_shared(&channel.area->recall.bell, seen, ns);
}

void channel_hear_recall(bool heard)
{
	atomic_store(&channel.area->recall.heard, heard);
}

void channel_ring_recall(void)
{
	atomic_fetch_add(&channel.area->recall.bell, 1);
	sys_futex_wake_shared(&channel.area->recall.bell, 1);
}

/* ---- fork ---- */

/* By the parent's word, so that it does not matter who and where the child is. */
static int call_for_child(void)
{
	struct wire_message m = {.kind = WIRE_CHILD};
	int sock, err = channel_message(&m, -1, &sock);

	if (err)
		return err;
	child = (struct channel){.sock = sock};
	err = sock < 0 ? -EMFILE : greet(&child);
	if (err)
		hang_up(&child);
	return err;
}

void channel_fork_prepare(bool needed)
{
	if ((needed || atomic_load(&kept)) && channel_joined())
		call_for_child();
}

void channel_fork_parent(void)
{
	hang_up(&child);
}

/* The parent's end is the end of its socket: no copy of that may outlive it here. What is the same for all stays known. */
static void keep_board(void)
{
	struct channel of_all = {.sock = -1, .board = channel.board, .budget = channel.budget};

	channel.board = NULL;
	hang_up(&channel);
	channel = of_all;
	atomic_store(&inherited, true);
}

/* Of a channel that another thread was about to change, each part is as before or as after: all of it is given up. */
void channel_fork_child(bool needed)
{
	mutex_init(&socket_lock, RANK_CHANNEL);
	if (!channel_joined())
		return;
	needed |= atomic_load(&kept);
	if (!needed || child.sock < 0) {
		keep_board();
		if (needed) /* and so it has for the child: what it had mapped is where it was, and out of reach */
			atomic_store(&down, true);
	} else {
		hang_up(&channel);
		channel = child;
		child = (struct channel){.sock = -1};
		atomic_store(&inherited, false);
	}
	show_board(channel.board);
}

void channel_forsake(void)
{
	if (!channel_joined())
		return;
	atomic_store(&down, true);
	show_board(channel.board);
}
