/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread waits: for clients, their greetings and their ends, for signals, and for the end of who holds the host. It does nothing that could
 * take long; what does is queued for the workers. A socket is armed for one event; who has served it arms it again.
 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "change.h"
#include "flusher.h"
#include "message.h"
#include "pins.h"
#include "relatives.h"
#include "shared.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/log.h"
#include "workers.h"

#define END_LOOK_MS 2     /* how often a host that is about to end counts its clients */
#define RELATIVES_MS 1000 /* and, without any, at the seldomest who may yet be one */
#define ANSWER_LOOK_MS 50 /* while what is stored is written */
#define ANSWER_NS 30000000000ull
#define EVENTS 64

static struct host {
	int epoll_fd, listen_fd, hold_fd, signal_fd, board_fd;
	struct wire_board *board;
	unsigned signals;
	bool held;          /* somebody keeps it alive */
	_Atomic bool alone; /* and nobody is there who could become a client, besides those that are */
	bool asked;         /* who kept it wants to know whether it ends now */
	uint64_t asked_ns;
	uint32_t flush; /* what is written before the answer, while others stay; 0: nothing yet */
} host;

/* ---- Clients ---- */

/* One that has gone stays in memory for as long as it is worked on. */
static void let_go(struct session *s)
{
	session_end(s);
	session_unlist(s);
	session_put(s);
}

static int arm(struct session *s, int op)
{
	struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = s};
	int sock = s->sock; /* the last look at it: once it is armed, another worker may have it, and give it up */

	if (!atomic_load(&s->greeted)) /* what comes later is looked at by who serves WIRE_MESSAGE */
		e.events |= EPOLLIN;
	atomic_fetch_add(&s->turns, 1); /* the kernel orders the two sides as well, which checkers of races do not see */
	return (int)sys_call(SYS_epoll_ctl, host.epoll_fd, op, sock, (long)&e, 0, 0);
}

static void message_done(struct session *s, bool alive)
{
	if (!alive || arm(s, EPOLL_CTL_MOD))
		let_go(s);
}

static void client_event(struct session *s, uint32_t events)
{
	atomic_load(&s->turns);
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		session_end(s); /* at once: somebody may be waiting for it */
	workers_queue(s);
}

/* Files that this process can open should not be shown to others than who could. */
static bool may_connect(int sock, pid_t *pid)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	*pid = peer.pid;
	if (peer.uid == geteuid() || peer.uid == 0)
		return true;
	fl_log(LOG_WARN, "process %d of user %u wants to be a client: refused", (int)peer.pid, peer.uid);
	return false;
}

static void add_client(int sock, pid_t pid)
{
	struct session *s = session_create(sock, pid);

	host.alone = false;
	if (!s)
		sys_close(sock);
	else if (arm(s, EPOLL_CTL_ADD))
		let_go(s);
}

static void accept_clients(void)
{
	int sock;
	pid_t pid;

	while ((sock = (int)sys_call(SYS_accept4, host.listen_fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0)) >= 0) {
		if (may_connect(sock, &pid))
			add_client(sock, pid);
		else
			sys_close(sock);
	}
	if (sock == -EMFILE || sock == -ENFILE || sock == -ENOMEM || sock == -ENOBUFS) {
		fl_log(LOG_ERROR, "no descriptor or memory for another client (error %d)", -sock);
		sys_nanosleep(100000000);
	}
}

/* ---- The end ---- */

static void stop_accepting(void)
{
	if (host.listen_fd < 0)
		return;
	epoll_ctl(host.epoll_fd, EPOLL_CTL_DEL, host.listen_fd, NULL);
	sys_close(host.listen_fd);
	host.listen_fd = -1;
}

/* Each is seen to hang up, as if it had. */
static void drop_clients(void)
{
	struct session *s;

	stop_accepting();
	for (uint32_t i = 0; (s = session_at(i)); i++) {
		shutdown(s->sock, SHUT_RDWR);
		session_put(s);
	}
}

static void signal_event(void)
{
	struct signalfd_siginfo info;

	while (sys_read(host.signal_fd, &info, sizeof info) == sizeof info) {
		if (host.hold_fd >= 0 && info.ssi_signo == SIGINT)
			continue; /* from a terminal: it is for the programs, which need the host to end well */
		host.signals++;
		fl_log(LOG_INFO, "the host is to end");
	}
	if (host.signals)
		flusher_flush();
	if (host.signals && host.hold_fd < 0) {
		host.held = false;
		stop_accepting();
	}
	if (host.signals > 1) {
		host.held = false;
		drop_clients();
	}
}

/* Who reads what the run says is not to wait for the end of this process. */
static void let_go_of_stderr(void)
{
	int null = sys_openat(AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0);

	if (null < 0)
		return;
	sys_call(SYS_dup2, null, 2, 0, 0, 0, 0);
	sys_close(null);
}

static void hold_event(void)
{
	char bytes[256];
	ssize_t n = sys_read(host.hold_fd, bytes, sizeof bytes);

	if (n > 0 || n == -EAGAIN || n == -EINTR)
		return;
	host.held = false;
	epoll_ctl(host.epoll_fd, EPOLL_CTL_DEL, host.hold_fd, NULL);
	host.asked = true;
	host.asked_ns = now_ns();
}

/* A file that a stopped client is in the middle of changing is not waited for for ever. */
static bool has_written(void)
{
	if (!host.flush)
		host.flush = flusher_flush();
	return flusher_has_flushed(host.flush) || now_ns() - host.asked_ns > ANSWER_NS;
}

/*
 * Who waits for the run finds in the files what its programs have stored: where nobody stays, by the end of the host; else it is written before the answer.
 */
static void answer(void)
{
	host.alone = !session_any_alive() && !relatives_any(host.listen_fd);
	if (!host.alone && !has_written())
		return;
	host.asked = false;
	if (host.alone)
		return;
	fl_log(LOG_INFO, "the host stays for processes that are still there");
	if (sys_call(SYS_sendto, host.hold_fd, (long)"c", 1, MSG_NOSIGNAL, 0, 0) < 0) /* who held it is told not to wait */
		fl_log(LOG_DEBUG, "nobody is there to be told so");
	let_go_of_stderr();
}

/* ---- The loop ---- */

static void on_event(const struct epoll_event *e)
{
	if (e->data.ptr == &host.listen_fd)
		accept_clients();
	else if (e->data.ptr == &host.signal_fd)
		signal_event();
	else if (e->data.ptr == &host.hold_fd)
		hold_event();
	else
		client_event(e->data.ptr, e->events);
}

/*
 * A client that has connected and was not accepted yet is one: the last look at the socket is after the hold has ended, and after a look at who may be about
 * to connect.
 */
static bool is_over(void)
{
	return !host.held && !session_count() && host.alone;
}

/* Once nobody is there who could make another there will be none. */
static void look_for_relatives(void)
{
	if (host.asked)
		answer();
	else if (!host.held && !session_count() && !host.alone)
		host.alone = host.hold_fd < 0 || host.listen_fd < 0 || !relatives_any(host.listen_fd);
}

static int look_again_in(bool over)
{
	static int ms = END_LOOK_MS;
	uint64_t longest = host.asked ? ANSWER_LOOK_MS : RELATIVES_MS;

	ms = host.held || (session_count() && !host.asked) ? END_LOOK_MS : (int)min_u64((uint64_t)ms * 2, longest);
	return host.held ? -1 : over ? 0 : ms;
}

static void serve_until_end(void)
{
	struct epoll_event events[EVENTS];
	bool seen_over = false;

	while (!seen_over || !is_over()) {
		look_for_relatives();
		seen_over = is_over();
		int n = epoll_wait(host.epoll_fd, events, EVENTS, look_again_in(seen_over));

		for (int i = 0; i < n; i++)
			on_event(&events[i]);
	}
}

/* ---- Start ---- */

static int watch(int *fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};

	return *fd < 0 || !epoll_ctl(host.epoll_fd, EPOLL_CTL_ADD, *fd, &e) ? 0 : -errno;
}

/* A file needs up to five descriptors, and frames a file size without limit. */
static void raise_limits(void)
{
	static const int which[] = {RLIMIT_NOFILE, RLIMIT_FSIZE};
	struct rlimit rl;

	for (size_t i = 0; i < ARRAY_SIZE(which); i++) {
		if (getrlimit((__rlimit_resource_t)which[i], &rl))
			continue;
		rl.rlim_cur = rl.rlim_max;
		setrlimit((__rlimit_resource_t)which[i], &rl);
	}
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_all(const struct host_options *o)
{
	void *memory;
	int err = 0;

	host = (struct host){.listen_fd = o->listen_fd, .hold_fd = o->hold_fd, .held = true, .signal_fd = -1, .board_fd = -1};
	host.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (host.epoll_fd < 0)
		return -errno;
	host.signal_fd = open_signals();
	if (host.signal_fd < 0)
		return -errno;
	host.board_fd = shared_create("faultline:board", sizeof *host.board, &memory);
	if (host.board_fd < 0)
		return host.board_fd;
	host.board = memory;
	err = sys_fcntl(host.listen_fd, F_SETFL, sys_fcntl(host.listen_fd, F_GETFL, 0) | O_NONBLOCK);
	if (!err)
		err = watch(&host.listen_fd);
	if (!err)
		err = watch(&host.signal_fd);
	return err ? err : watch(&host.hold_fd);
}

static void close_all(void)
{
	stop_accepting();
	if (host.board)
		sys_munmap(host.board, page_align_up(sizeof *host.board));
	if (host.board_fd >= 0)
		sys_close(host.board_fd);
	if (host.signal_fd >= 0)
		sys_close(host.signal_fd);
	if (host.epoll_fd >= 0)
		sys_close(host.epoll_fd);
}

static int start_engine(const struct host_options *o)
{
	struct engine_options e = o->engine;
	int err;

	e.no_native = true;
	e.soft = true;
	e.pool = false;
	err = engine_start(&e);
	if (err)
		return err;
	address_space_serve_others(host.board->filter, host.board->dirty, &host.board->files);
	message_set_board(host.board_fd);
	message_set_adopt(add_client);
	change_set_counter(&host.board->shrunk);
	pins_show_at(&host.board->pins_are_many);
	return 0;
}

/* Workers write what the last references leave; what could not be written then is tried once more by engine_stop(). */
static int run(void)
{
	int err = workers_start(host.board, message_done);

	if (!err)
		err = flusher_start();
	if (!err)
		serve_until_end();
	flusher_stop();
	workers_stop();
	return err;
}

int host_run(const struct host_options *o, bool *served)
{
	uint64_t mask = sys_sigmask(SIG_SETMASK, ~0ULL);
	int err, stop_err;

	relatives_begin();
	raise_limits();
	err = open_all(o);
	if (!err)
		err = start_engine(o);
	*served = !err;
	if (!err) {
		err = run();
		stop_err = engine_stop();
		err = err ? err : stop_err;
	}
	close_all();
	sys_sigmask(SIG_SETMASK, mask);
	return err;
}
