/* SPDX-License-Identifier: Apache-2.0 */
/* futex(2) on words that other processes see. */
#ifndef FL_HOST_FUTEX_H
#define FL_HOST_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include "util/sys.h"

/* Sleeps while *word == expected; 0 when woken, -ETIMEDOUT, -EAGAIN when it was another, -EINTR. */
static inline int shared_futex_wait(const _Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	return (int)sys_call(SYS_futex, (long)word, FUTEX_WAIT, expected, (long)&t, 0, 0);
}

static inline void shared_futex_wake(const _Atomic uint32_t *word, int how_many)
{
	sys_call(SYS_futex, (long)word, FUTEX_WAKE, how_many, 0, 0, 0);
}

#endif
