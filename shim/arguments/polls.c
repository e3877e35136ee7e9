/* SPDX-License-Identifier: Apache-2.0 */
/* poll, select, epoll: their arrays may be ours, and masks for the time of the call are as the kernel is to have them (sigmask.c). */
#include <errno.h>

#include "base/real.h"
#include "held.h"
#include "signals/sigmask.h"

#define POLL_ARRAY FILLS(fds, n * sizeof *fds)

WRAPPER int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	RETURN_HELD(REAL(poll)(fds, n, timeout), POLL_ARRAY);
}

/* The checking forms of _FORTIFY_SOURCE; libc's own end the program. */
WRAPPER int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	return room / sizeof *fds < n ? REAL(__poll_chk)(fds, n, timeout, room) : poll(fds, n, timeout);
}

WRAPPER int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set)
{
	sigset_t copy;

	set = sigmask_of_call(set, &copy);
	RETURN_HELD(CALL_MASKED(set, REAL(ppoll)(fds, n, timeout, set)), POLL_ARRAY);
}

WRAPPER int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set, size_t room)
{
	return room / sizeof *fds < n ? REAL(__ppoll_chk)(fds, n, timeout, set, room) : ppoll(fds, n, timeout, set);
}

/* ---- select ---- */

/* The kernel reads and writes whole words. */
static size_t set_bytes(int n)
{
	return n > 0 ? ((size_t)n + 63) / 64 * 8 : 0;
}

#define FD_SETS FILLS(r, set_bytes(n)), FILLS(w, set_bytes(n)), FILLS(x, set_bytes(n))

WRAPPER int select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout)
{
	RETURN_HELD(REAL(select)(n, r, w, x, timeout), FD_SETS);
}

WRAPPER int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *timeout, const sigset_t *set)
{
	sigset_t copy;

	set = sigmask_of_call(set, &copy);
	RETURN_HELD(CALL_MASKED(set, REAL(pselect)(n, r, w, x, timeout, set)), FD_SETS);
}

/* ---- epoll ---- */

#define EVENTS FILLS(events, max > 0 ? (size_t)max * sizeof *events : 0)

WRAPPER int epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
	RETURN_HELD(REAL(epoll_ctl)(fd, op, target, event), READS(event, sizeof *event));
}

WRAPPER int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	RETURN_HELD(REAL(epoll_wait)(fd, events, max, timeout), EVENTS);
}

WRAPPER int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const sigset_t *set)
{
	sigset_t copy;

	set = sigmask_of_call(set, &copy);
	RETURN_HELD(CALL_MASKED(set, REAL(epoll_pwait)(fd, events, max, timeout, set)), EVENTS);
}

WRAPPER int epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *set)
{
	sigset_t copy;

	if (!REAL(epoll_pwait2)) {
		errno = ENOSYS;
		return -1;
	}
	set = sigmask_of_call(set, &copy);
	RETURN_HELD(CALL_MASKED(set, REAL(epoll_pwait2)(fd, events, max, timeout, set)), EVENTS, READS(timeout, sizeof *timeout));
}
