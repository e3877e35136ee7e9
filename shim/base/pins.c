/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

#include <pthread.h>

#include "api/file_io.h"

#define KEYS_IN_THREAD 32 /* for more libc calls malloc(3), which a signal handler must not */

static pthread_key_t ends;
static bool have_key;
static _Thread_local bool followed __attribute__((tls_model("initial-exec")));

static void thread_ends(void *unused)
{
	(void)unused;
	followed = false; /* others' destructors may come after */
	file_io_thread_ends();
}

__attribute__((constructor)) static void at_start(void)
{
	have_key = !pthread_key_create(&ends, thread_ends) && ends < KEYS_IN_THREAD;
}

int pin(const void *at, size_t len, bool write, const void *frame)
{
	if (unlikely(!followed) && have_key)
		followed = !pthread_setspecific(ends, &ends);
	return file_io_hold(at, len, write, frame);
}

void unpin(const void *at, size_t len, const void *frame)
{
	file_io_let_go(at, len, frame);
}
