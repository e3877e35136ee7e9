/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX aio. The threads of libc's make the calls by inner names, which no wrapper meets, and have SIGBUS blocked. So a request for a
 * mapped file, or with memory of ours, is carried out at once, in the calling thread; its control block is then as libc leaves that of
 * a request that is done, which is part of libc's ABI. What is no regular file may have to wait for what this thread does next: that
 * is left to libc.
 */
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>

#include "base/mapped.h"
#include "base/real.h"
#include "coherent.h"
#include "identity.h"
#include "util/sys.h"

_Static_assert(sizeof(struct aiocb) == sizeof(struct aiocb64), "one control block");

/* ---- Which requests are ours ---- */

static bool has_memory_of_ours(const struct aiocb *cb)
{
	return file_io_is_ours((const void *)cb->aio_buf, cb->aio_nbytes) || file_io_is_ours(cb, sizeof *cb);
}

/* What libc refuses is libc's. */
static bool is_ours(const struct aiocb *cb, int op)
{
	if ((op != LIO_READ && op != LIO_WRITE) || cb->aio_reqprio < 0 || cb->aio_reqprio > AIO_PRIO_DELTA_MAX)
		return false;
	return identity_is_mapped(cb->aio_fildes) || (has_memory_of_ours(cb) && fd_is_regular(cb->aio_fildes));
}

/* ---- The end of a request ---- */

static void queue_signal(const struct sigevent *ev)
{
	long pid = sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	siginfo_t info = {.si_signo = ev->sigev_signo, .si_code = SI_ASYNCIO};

	info.si_pid = (pid_t)pid;
	info.si_uid = getuid();
	info.si_value = ev->sigev_value;
	sys_call(SYS_rt_sigqueueinfo, pid, ev->sigev_signo, (long)&info, 0, 0, 0);
}

struct notice {
	void (*fn)(union sigval value);
	union sigval value;
};

/* With no signal blocked, as in libc's. */
static void *give_notice(void *arg)
{
	struct notice n = *(struct notice *)arg;
	sigset_t none;

	free(arg);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	n.fn(n.value);
	return NULL;
}

static void start_thread(const struct sigevent *ev)
{
	struct notice *n = malloc(sizeof *n);
	pthread_attr_t detached;
	pthread_t thread;

	if (!n)
		return;
	*n = (struct notice){.fn = ev->sigev_notify_function, .value = ev->sigev_value};
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, ev->sigev_notify_attributes ? ev->sigev_notify_attributes : &detached, give_notice, n))
		free(n);
	pthread_attr_destroy(&detached);
}

/* After the error is there the control block may be gone. */
static void finish(struct aiocb *cb, ssize_t result, int err)
{
	struct sigevent ev = cb->aio_sigevent;

	cb->__return_value = result;
	__atomic_store_n(&cb->__error_code, err, __ATOMIC_RELEASE);
	if (ev.sigev_notify == SIGEV_SIGNAL)
		queue_signal(&ev);
	else if (ev.sigev_notify == SIGEV_THREAD)
		start_thread(&ev);
}

/* ---- Requests ---- */

/* At the end of a file with O_APPEND, as pwrite(2). */
static ssize_t transfer_bytes(const struct aiocb *cb, int op)
{
	void *buf = (void *)cb->aio_buf;

	return op == LIO_READ ? pread64(cb->aio_fildes, buf, cb->aio_nbytes, cb->aio_offset)
			      : pwrite64(cb->aio_fildes, buf, cb->aio_nbytes, cb->aio_offset);
}

/* Whether it went well. No cancellation point, unlike what it calls. */
static bool carry_out(struct aiocb *cb, int op)
{
	int saved = errno, state;
	ssize_t n;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	cb->__error_code = EINPROGRESS;
	do
		n = transfer_bytes(cb, op);
	while (n < 0 && errno == EINTR);
	finish(cb, n, n < 0 ? errno : 0);
	pthread_setcancelstate(state, NULL);
	errno = saved;
	return n >= 0;
}

static bool served(struct aiocb *cb, int op)
{
	if (NOTHING_MAPPED || !is_ours(cb, op))
		return false;
	carry_out(cb, op);
	return true;
}

WRAPPER int aio_read(struct aiocb *cb)
{
	return served(cb, LIO_READ) ? 0 : REAL(aio_read)(cb);
}

WRAPPER int aio_read64(struct aiocb64 *cb)
{
	return served((struct aiocb *)cb, LIO_READ) ? 0 : REAL(aio_read64)(cb);
}

WRAPPER int aio_write(struct aiocb *cb)
{
	return served(cb, LIO_WRITE) ? 0 : REAL(aio_write)(cb);
}

WRAPPER int aio_write64(struct aiocb64 *cb)
{
	return served((struct aiocb *)cb, LIO_WRITE) ? 0 : REAL(aio_write64)(cb);
}

/* ---- aio_fsync: our part at once, the kernel's by libc ---- */

static bool libc_syncs(int op, int fd)
{
	return (op == O_SYNC || op == O_DSYNC) && sys_fcntl(fd, F_GETFL, 0) >= 0;
}

/* Whether it has failed here. */
static bool sync_failed(int op, struct aiocb *cb)
{
	int saved = errno;

	if (NOTHING_MAPPED || !libc_syncs(op, cb->aio_fildes) || !coherent_sync(cb->aio_fildes, 0, UINT64_MAX))
		return false;
	finish(cb, -1, errno);
	errno = saved;
	return true;
}

WRAPPER int aio_fsync(int op, struct aiocb *cb)
{
	return sync_failed(op, cb) ? 0 : REAL(aio_fsync)(op, cb);
}

WRAPPER int aio_fsync64(int op, struct aiocb64 *cb)
{
	return sync_failed(op, (struct aiocb *)cb) ? 0 : REAL(aio_fsync64)(op, cb);
}

/* ---- Lists ---- */

struct list_done {
	bool any, failed;
};

/* Carries out what is ours of a list; the others go to `rest`, in which libc passes NULL by. */
static struct list_done carry_out_list(struct aiocb *const list[], struct aiocb *rest[], int n)
{
	struct list_done d = {0};

	for (int i = 0; i < n; i++) {
		rest[i] = list[i];
		if (!list[i] || !is_ours(list[i], list[i]->aio_lio_opcode))
			continue;
		rest[i] = NULL;
		d.any = true;
		d.failed |= !carry_out(list[i], list[i]->aio_lio_opcode);
	}
	return d;
}

static int list_io(int mode, struct aiocb *const list[], int n, struct sigevent *ev)
{
	struct aiocb **rest = calloc((size_t)n, sizeof *rest);
	struct list_done ours;
	int result;

	if (!rest)
		return (int)shim_result(-EAGAIN);
	ours = carry_out_list(list, rest, n);
	result = REAL(lio_listio)(mode, rest, n, ev);
	free(rest);
	if (mode == LIO_WAIT && ours.any && (ours.failed || (result && errno != EINTR)))
		return (int)shim_result(-EIO);
	return result;
}

static bool is_plain(int mode, int n)
{
	return NOTHING_MAPPED || (mode != LIO_WAIT && mode != LIO_NOWAIT) || n <= 0;
}

WRAPPER int lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *ev)
{
	return is_plain(mode, n) ? REAL(lio_listio)(mode, list, n, ev) : list_io(mode, list, n, ev);
}

WRAPPER int lio_listio64(int mode, struct aiocb64 *const list[], int n, struct sigevent *ev)
{
	return is_plain(mode, n) ? REAL(lio_listio64)(mode, list, n, ev) : list_io(mode, (struct aiocb *const *)list, n, ev);
}
