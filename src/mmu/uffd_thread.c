/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd served by threads of our own: the thread that faults sleeps in the kernel, in user mode or in a system
 * call, until one of ours has filled the page. A fault that must fail becomes a SIGBUS queued to the thread, with the
 * kernel's si_code and si_addr; it interrupts the wait.
 *
 * The C library does not know of these threads (thread.h). To make one it would call malloc(3), and the space may be made in a malloc(3) of the program's, which
 * holds a lock and maps its first memory. Nor may a thread call anything that could want such a lock: it serves faults of who holds it.
 *
 * One access can be told twice: who serves a fault wakes whoever waits for that page, and wakes also who waits there by then for another reason, whose fault is
 * being served as well; the access is made again, and told again. When the second of the two is served late the program has gone on, and a page would be
 * dirty that nobody has stored to since it was written. So a fault on a page that is being served, or was since before the fault was read, is not served: the
 * access is made again when it is woken, and told anew if it must be.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_signal.h"
#include "uffd.h"
#include "uffd_abi.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/sys.h"
#include "util/thread.h"

#define CONTEXTS 4
#define THREADS_MAX 4
#define PAUSE_NS 1000000

#define RECENT 64

/* What faults are on. A page that was served is among the recent before it is not in service any more, and woken after that. */
struct faults {
	_Atomic uint64_t in_service[2][THREADS_MAX]; /* by crew and thread; 0: none */
	_Atomic uint64_t served;                     /* how many, of which the last are kept */
	_Atomic uint64_t recent[RECENT];
};

struct crew {
	struct uffd_mmu *u;
	_Atomic int started;
	struct thread thread[THREADS_MAX];
	int count;   /* 0: there is none */
	int stop_fd; /* eventfd: readable when the threads are to end */
};

/* Changed under the lock of spaces. Two, so that there is another before one ends. */
struct uffd_threads {
	struct crew crews[2];
	int now; /* which serves */
	struct faults faults;
};

static struct uffd_threads pools[CONTEXTS];
static struct uffd_mmu contexts[CONTEXTS]; /* in use when fd > 0; changed under the lock of spaces */

static bool is_in_service(const struct faults *f, uint64_t page)
{
	for (int crew = 0; crew < 2; crew++)
		for (int i = 0; i < THREADS_MAX; i++)
			if (atomic_load(&f->in_service[crew][i]) == page)
				return true;
	return false;
}

/* In doubt it was. */
static bool was_served_since(const struct faults *f, uint64_t page, uint64_t since)
{
	uint64_t served = atomic_load(&f->served);

	if (served - since > RECENT)
		return true;
	for (; since < served; since++)
		if (atomic_load(&f->recent[since % RECENT]) == page)
			return true;
	return false;
}

static void end_service(struct faults *f, _Atomic uint64_t *own, uint64_t page)
{
	atomic_store(&f->recent[atomic_fetch_add(&f->served, 1) % RECENT], page);
	atomic_store(own, 0);
}

static void serve(struct uffd_mmu *u, const struct uffd_msg *msg)
{
	uint64_t addr = msg->arg.pagefault.address, flags = msg->arg.pagefault.flags;
	unsigned f = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP) ? FAULT_WRITE : 0) |
		     (flags & UFFD_PAGEFAULT_FLAG_WP ? FAULT_PRESENT : 0);
	int err;

	err = mmu_fault_handler()(addr, f | (u->poison ? FAULT_POISON : 0));
	if (err && err != -EFAULT) /* not ours any more: the access is made again, and finds what is there now */
		fault_signal_raise_in((int)msg->arg.pagefault.feat.ptid, addr);
}

/* `since`: how many were served when the message had not been read. */
static void serve_once(struct uffd_mmu *u, const struct uffd_msg *msg, _Atomic uint64_t *own, uint64_t since)
{
	struct faults *f = &u->pool->faults;
	uint64_t page = page_align_down(msg->arg.pagefault.address);

	if (msg->event != UFFD_EVENT_PAGEFAULT || is_in_service(f, page))
		return;
	if (!was_served_since(f, page, since)) {
		atomic_store(own, page);
		serve(u, msg);
		end_service(f, own, page);
	}
	uffd_wake(&u->mmu, page, FL_PAGE_SIZE);
}

static void serve_loop(void *arg)
{
	struct crew *c = arg;
	struct uffd_mmu *u = c->u;
	struct pollfd p[2] = {{.fd = u->fd, .events = POLLIN}, {.fd = c->stop_fd, .events = POLLIN}};
	_Atomic uint64_t *own = &u->pool->faults.in_service[c - u->pool->crews][atomic_fetch_add(&c->started, 1)];
	struct uffd_msg msg;
	uint64_t since;

	for (;;) {
		sys_call(SYS_poll, (long)p, 2, -1, 0, 0, 0);
		if (p[1].revents)
			return;
		while (since = atomic_load(&u->pool->faults.served), sys_read(u->fd, &msg, sizeof msg) == sizeof msg)
			serve_once(u, &msg, own, since);
	}
}

static int thread_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : (int)n;
}

/* Some may be enough. */
static int start_crew(struct uffd_mmu *u, struct crew *c)
{
	int want = thread_count(), err = 0;

	c->u = u;
	atomic_store(&c->started, 0);
	c->stop_fd = fd_move_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (c->stop_fd < 0)
		return -EMFILE;
	for (c->count = 0; c->count < want && !err; c->count += !err)
		err = thread_start(&c->thread[c->count], serve_loop, c);
	if (c->count) {
		u->mmu.threads = c->count;
		return 0;
	}
	fd_close(c->stop_fd);
	return err;
}

static void stop_crew(struct crew *c)
{
	uint64_t one = 1;

	if (!c->count)
		return;
	sys_write(c->stop_fd, &one, sizeof one);
	for (int i = 0; i < c->count; i++)
		thread_join(&c->thread[i]);
	fd_close(c->stop_fd);
	c->count = 0;
}

static void close_fd(struct uffd_mmu *u)
{
	fd_close(u->fd);
	u->fd = 0;
}

static void thread_destroy(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);

	stop_crew(&u->pool->crews[u->pool->now]);
	close_fd(u);
}

static int open_and_start(struct uffd_mmu *u, int fd)
{
	int err;

	if (fd < 0)
		return fd;
	u->fd = fd;
	err = start_crew(u, &u->pool->crews[u->pool->now]);
	if (err)
		close_fd(u);
	return err;
}

/* ---- Threads that go, and others that come ---- */

static bool in_use(const struct uffd_mmu *u)
{
	return u->fd > 0 && u->mmu.by_threads;
}

/* Not in a process that may make none, as when its children will be in another PID namespace. */
static bool can_start_others(struct uffd_mmu *u)
{
	struct crew *others = &u->pool->crews[!u->pool->now];

	if (start_crew(u, others))
		return false;
	stop_crew(others);
	return true;
}

void uffd_threads_pause(void)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (in_use(&contexts[i]) && can_start_others(&contexts[i])) {
			stop_crew(&pools[i].crews[pools[i].now]);
			contexts[i].mmu.threads = 0;
		}
}

/* Others first: a thread that waits for a fault in a system call may be waited for by the C library, which asks each one to change its user. */
static void renew(struct uffd_mmu *u)
{
	struct uffd_threads *pool = u->pool;
	struct crew *old = &pool->crews[pool->now], *others = &pool->crews[!pool->now];

	while (start_crew(u, others)) {
		if (old->count)
			return;
		sys_nanosleep(PAUSE_NS); /* until there are some nothing can be served */
	}
	pool->now = !pool->now;
	stop_crew(old);
}

void uffd_threads_renew(void)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (in_use(&contexts[i]))
			renew(&contexts[i]);
}

/* ---- fork ---- */

static void forget_crew(struct crew *c)
{
	if (!c->count)
		return;
	for (int i = 0; i < c->count; i++)
		thread_fork_child(&c->thread[i]);
	fd_close(c->stop_fd);
	c->count = 0;
}

/*
 * The threads did not come along through fork. Where the process has become another user it may have no more of them, or no userfaultfd for the
 * faults of system calls: those that the preload library wraps need none, see uffd_inline.c.
 */
static int start_in_child(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);
	int err;

	forget_crew(&u->pool->crews[u->pool->now]);
	memset((void *)u->pool->faults.in_service, 0, sizeof u->pool->faults.in_service);
	close_fd(u);
	err = open_and_start(u, uffd_open_with_privilege(&u->user_mode_only));
	if (err != -EPERM && err != -EAGAIN && err != -ENOMEM)
		return err;
	err = uffd_go_inline(u);
	if (!err)
		fault_signal_expect_poison(false);
	return err;
}

static const struct mmu_ops thread_ops = {
	.name = "userfaultfd, threads",
	.attach = uffd_attach,
	.copy = uffd_copy,
	.map = uffd_map,
	.protect = uffd_protect,
	.unprotect = uffd_unprotect,
	.move = uffd_move,
	.zap = uffd_zap,
	.zap_many = uffd_zap_many,
	.poison = uffd_poison,
	.wake = uffd_wake,
	.descriptor = uffd_descriptor,
	.destroy = thread_destroy,
	.fork_child = start_in_child,
};

int uffd_thread_create(struct mmu **out)
{
	struct uffd_mmu *u = NULL;
	int i, err;

	for (i = 0; i < CONTEXTS && !u; i++)
		if (contexts[i].fd == 0)
			u = &contexts[i];
	if (!u)
		return -ENOMEM;
	*u = (struct uffd_mmu){.mmu = {.ops = &thread_ops, .map_can_wp = true, .by_threads = true}, .pool = &pools[u - contexts]};
	u->poison = uffd_can_poison();
	fault_signal_expect_poison(u->poison);
	err = open_and_start(u, uffd_open(true, false, &u->user_mode_only));
	if (err)
		return err;
	*out = &u->mmu;
	return fault_signal_install(SIGBUS);
}
