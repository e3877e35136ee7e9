/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libc has from malloc(3), which may be the program's, with memory of ours, and looks at where no fault can be served. Its pages are kept in memory, as those
 * of locks are:
 *
 *   in a new thread, with all signals blocked   the locale's table of characters
 *   in a forked child, before all handlers      its streams, whose locks it makes anew
 */
#include "unserved.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <threads.h>

#include "base/mapped.h"
#include "base/real.h"
#include "memory/futexes.h"
#include "stdio/stream.h"

/* ---- Threads ---- */

#define TABLE_BYTES 256 /* of what a locale has of a category, so much at most is looked at */

/* That of the process, which new threads have, and which only a copy of it tells. */
static void keep_locale(void)
{
	locale_t copy = duplocale(LC_GLOBAL_LOCALE);

	if (!copy)
		return;
	futexes_keep(copy->__locales[LC_CTYPE], TABLE_BYTES);
	freelocale(copy);
}

WRAPPER int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg)
{
	if (!NOTHING_MAPPED)
		keep_locale();
	return REAL(pthread_create)(thread, attr, fn, arg);
}

WRAPPER int thrd_create(thrd_t *thread, thrd_start_t fn, void *arg)
{
	if (!NOTHING_MAPPED)
		keep_locale();
	return REAL(thrd_create)(thread, fn, arg);
}

/* ---- fork ---- */

static void keep_stream(FILE *f)
{
	futexes_keep(f, sizeof *f);
	futexes_keep(f->_lock, sizeof(uint64_t) * 2);
}

void unserved_before_fork(void)
{
	if (!NOTHING_MAPPED)
		stream_for_each(keep_stream);
}
