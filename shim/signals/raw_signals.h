/* SPDX-License-Identifier: Apache-2.0 */
/* The calls on signals as the kernel has them, for syscall(2): its struct, its sets of 64 bits. As libc's functions: errno. */
#ifndef FL_SHIM_RAW_SIGNALS_H
#define FL_SHIM_RAW_SIGNALS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/select.h>

#define NR_EPOLL_PWAIT2 441 /* where the headers may lack it */

struct epoll_event;
struct pollfd;
struct timespec;

/* The kernel's struct sigaction on x86-64. */
struct raw_action {
	void *handler;
	uint64_t flags;
	void *restorer;
	uint64_t mask;
};

long raw_sigaction(int sig, const struct raw_action *act, struct raw_action *old, size_t size);
long raw_sigprocmask(int how, const uint64_t *set, uint64_t *old, size_t size);
long raw_sigsuspend(const uint64_t *set, size_t size);
long raw_sigtimedwait(const uint64_t *set, siginfo_t *info, const struct timespec *timeout, size_t size);
long raw_sigpending(uint64_t *set, size_t size);
long raw_ppoll(struct pollfd *fds, size_t n, struct timespec *timeout, const uint64_t *set, size_t size);
long raw_epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const uint64_t *set, size_t size);
long raw_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout, const uint64_t *set, size_t size);

/* How a mask is given where no argument is left for its size. */
struct raw_set {
	const uint64_t *set;
	size_t size;
};

long raw_pselect6(int n, fd_set *sets[3], struct timespec *timeout, const struct raw_set *mask);

#endif
