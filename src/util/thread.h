/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that the C library knows nothing of: started with bare system calls, in a signal handler too, and with any lock held. It has every signal blocked,
 * and may call what a handler may. Nothing of it is left over a fork. It stays the user that the process was.
 */
#ifndef FL_UTIL_THREAD_H
#define FL_UTIL_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct thread {
	_Atomic uint32_t tid;      /* futex, which the kernel sets to 0 at its end; THREAD_STARTING */
	_Atomic uint32_t unjoined; /* the same, which stays over its end until it is waited for */
	void *memory;              /* its stack and thread-local variables; stays for the next */
};

/* 0, also when it runs already; -errno; -ENOSYS: not in this build. */
int thread_start(struct thread *t, void (*run)(void *arg), void *arg);
bool thread_runs(const struct thread *t);
/* Waits for its end, which the caller has told it of: after this the kernel does not count it any more. */
void thread_join(struct thread *t);
/* In a forked child: it is not there. */
void thread_fork_child(struct thread *t);

#endif
