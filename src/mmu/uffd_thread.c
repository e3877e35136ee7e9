/* SPDX-License-Identifier: Apache-2.0 */
/*
 * userfaultfd served by threads of our own: the thread that faults sleeps in the kernel, in user mode or in a system
 * call, until one of ours has filled the page. A fault that must fail becomes a SIGBUS queued to the thread, with the
 * kernel's si_code and si_addr; it interrupts the wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
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

#define CONTEXTS 4
#define THREADS_MAX 4
#define STACK_BYTES (64 * 1024)

struct uffd_threads {
	pthread_t thread[THREADS_MAX];
	int count;
	int stop_fd; /* eventfd: readable when the threads are to end */
};

static struct uffd_threads pools[CONTEXTS];
static struct uffd_mmu contexts[CONTEXTS]; /* in use when fd > 0; changed under the lock of spaces */

static void serve(struct uffd_mmu *u, const struct uffd_msg *msg)
{
	uint64_t addr = msg->arg.pagefault.address, flags = msg->arg.pagefault.flags;
	unsigned f = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP) ? FAULT_WRITE : 0) |
		     (flags & UFFD_PAGEFAULT_FLAG_WP ? FAULT_PRESENT : 0);

	int err;

	if (msg->event != UFFD_EVENT_PAGEFAULT)
		return;
	err = mmu_fault_handler()(addr, f | (u->poison ? FAULT_POISON : 0));
	if (err && err != -EFAULT) /* not ours any more: the access is made again, and finds what is there now */
		fault_signal_raise_in((int)msg->arg.pagefault.feat.ptid, addr);
	uffd_wake(&u->mmu, page_align_down(addr), FL_PAGE_SIZE);
}

static void *serve_loop(void *arg)
{
	struct uffd_mmu *u = arg;
	struct pollfd p[2] = {{.fd = u->fd, .events = POLLIN}, {.fd = u->pool->stop_fd, .events = POLLIN}};
	struct uffd_msg msg;

	for (;;) {
		sys_call(SYS_poll, (long)p, 2, -1, 0, 0, 0);
		if (p[1].revents)
			return NULL;
		while (sys_read(u->fd, &msg, sizeof msg) == sizeof msg)
			serve(u, &msg);
	}
}

static int thread_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : (int)n;
}

/* The stack also holds the program's thread-local variables: where these are large, it is as large as the C library makes it. */
static int create_thread(pthread_t *t, const pthread_attr_t *small, struct uffd_mmu *u)
{
	int err = pthread_create(t, small, serve_loop, u);

	return err == EINVAL ? pthread_create(t, NULL, serve_loop, u) : err;
}

/* The two that the C library keeps for itself: setuid(2) in a program with threads waits for each to take one. */
#define LIBC_SIGNALS (SYS_SIGBIT(32) | SYS_SIGBIT(33))

/* With every other signal blocked: the program's handlers do not run in our threads. */
static int start_threads(struct uffd_mmu *u)
{
	uint64_t old = sys_sigmask(SIG_SETMASK, ~LIBC_SIGNALS);
	pthread_attr_t attr;
	int want = thread_count(), err = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (u->pool->count = 0; u->pool->count < want && !err; u->pool->count += !err)
		err = create_thread(&u->pool->thread[u->pool->count], &attr, u);
	pthread_attr_destroy(&attr);
	sys_sigmask(SIG_SETMASK, old);
	u->mmu.threads = u->pool->count;
	return u->pool->count ? 0 : -err;
}

static void stop_threads(struct uffd_mmu *u)
{
	uint64_t one = 1;

	sys_write(u->pool->stop_fd, &one, sizeof one);
	for (int i = 0; i < u->pool->count; i++)
		pthread_join(u->pool->thread[i], NULL);
}

static void close_fds(struct uffd_mmu *u)
{
	fd_close(u->pool->stop_fd);
	fd_close(u->fd);
	u->fd = 0;
}

static void thread_destroy(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);

	stop_threads(u);
	close_fds(u);
}

static int add_stop_fd(struct uffd_mmu *u, int fd)
{
	u->pool->stop_fd = fd_move_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (u->pool->stop_fd < 0) {
		fd_close(fd);
		return -EMFILE;
	}
	u->fd = fd;
	return 0;
}

static int open_and_start(struct uffd_mmu *u, int fd)
{
	int err = fd < 0 ? fd : add_stop_fd(u, fd);

	if (err)
		return err;
	err = start_threads(u);
	if (err)
		close_fds(u);
	return err;
}

/*
 * The threads did not come along through fork. Where the process has become another user it may have no more of them, or no userfaultfd for the
 * faults of system calls: those that the preload library wraps need none, see uffd_inline.c.
 */
static int thread_fork_child(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);
	int err;

	close_fds(u);
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
	.fork_child = thread_fork_child,
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
