/* SPDX-License-Identifier: Apache-2.0 */
/* A library with a lock that it keeps over a fork, as one with a cache or an allocator has. Its handlers are the first that libc is told of. */
#include "atfork_early.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void do_nothing(void)
{
}

static void (*look)(void) = do_nothing;

void early_look(void (*fn)(void))
{
	look = fn;
}

void early_call(void (*fn)(void))
{
	pthread_mutex_lock(&lock);
	fn();
	pthread_mutex_unlock(&lock);
}

static void prepare(void)
{
	pthread_mutex_lock(&lock);
	look();
}

static void go_on(void)
{
	look();
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void at_start(void)
{
	pthread_atfork(prepare, go_on, go_on);
}
