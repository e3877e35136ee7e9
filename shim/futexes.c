/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutexes, condition variables and the like that processes share, in mapped memory. libc calls futex(2) on them by itself, and ends the
 * program when the kernel finds no page there. So a page that is seen to hold one is pinned, and stays so for as long as it is mapped: what
 * is used once is used again.
 *
 * Whether one is shared is told by a field of libc's, where its headers show it; those that are not, and are in mapped memory all the same,
 * are treated so too. Signals a waiter gets and wake-ups need no page: libc takes their failure for a waiter that has gone.
 */
#include "futexes.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "api/file_io.h"
#include "mapped.h"
#include "memory.h"
#include "real.h"
#include "util/lock.h"

#define KEPT_MAX 256 /* pages; what comes later is pinned for the call */

static struct mutex lock = MUTEX_INIT(RANK_SPACES); /* taken before all that a pin takes */
static _Atomic uintptr_t kept[KEPT_MAX];            /* addresses of pages; changed under the lock, looked at without */
static _Atomic uint32_t count;

static bool is_kept(uintptr_t page)
{
	uint32_t n = atomic_load_explicit(&count, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++)
		if (atomic_load_explicit(&kept[i], memory_order_relaxed) == page)
			return true;
	return false;
}

/* A free place, or one more; NULL when there is none. Caller holds the lock. */
static _Atomic uintptr_t *place(void)
{
	uint32_t n = atomic_load(&count);

	for (uint32_t i = 0; i < n; i++)
		if (!atomic_load(&kept[i]))
			return &kept[i];
	if (n == KEPT_MAX)
		return NULL;
	atomic_store_explicit(&count, n + 1, memory_order_release);
	return &kept[n];
}

static void keep_page(uintptr_t page)
{
	struct sigguard g = sigguard_enter();
	_Atomic uintptr_t *at;

	mutex_lock(&lock);
	at = is_kept(page) ? NULL : place();
	if (at && !file_io_pin((void *)page, 1, true))
		atomic_store(at, page);
	mutex_unlock(&lock);
	sigguard_leave(g);
}

/* An object may lie across two pages. */
static void keep(const void *object, size_t size)
{
	uintptr_t first = page_align_down((uintptr_t)object), last = page_align_down((uintptr_t)object + size - 1);
	int saved = errno;

	for (uintptr_t page = first; page <= last; page += FL_PAGE_SIZE)
		if (is_mapped_by_us((void *)page, 1) && !is_kept(page))
			keep_page(page);
	errno = saved;
}

#define KEEP(object)                                    \
	do {                                            \
		if (!NOTHING_MAPPED)                    \
			keep(object, sizeof *(object)); \
	} while (0)

void futexes_unmapped(const void *addr, size_t len)
{
	uint32_t n = atomic_load_explicit(&count, memory_order_relaxed);
	struct sigguard g;

	if (likely(!n))
		return;
	g = sigguard_enter();
	mutex_lock(&lock);
	for (uint32_t i = 0; i < n; i++) {
		uintptr_t page = atomic_load(&kept[i]);

		if (!page || page - (uintptr_t)addr >= page_align_up(len))
			continue;
		file_io_unpin((void *)page, 1);
		atomic_store(&kept[i], 0);
	}
	mutex_unlock(&lock);
	sigguard_leave(g);
}

/* Pins are not inherited. */
void futexes_fork_child(void)
{
	mutex_init(&lock, RANK_SPACES);
	for (uint32_t i = 0; i < KEPT_MAX; i++)
		atomic_store(&kept[i], 0);
	atomic_store(&count, 0);
}

/* ---- Mutexes: the common case first, which costs one look at the mutex ---- */

#define SHARED_MUTEX 128 /* PTHREAD_MUTEX_PSHARED_BIT of libc's */

static void keep_mutex(pthread_mutex_t *m)
{
	if (unlikely(m->__data.__kind & SHARED_MUTEX))
		KEEP(m);
}

WRAPPER int pthread_mutex_lock(pthread_mutex_t *m)
{
	keep_mutex(m);
	return REAL(pthread_mutex_lock)(m);
}

WRAPPER int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *t)
{
	keep_mutex(m);
	return REAL(pthread_mutex_timedlock)(m, t);
}

WRAPPER int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *t)
{
	keep_mutex(m);
	return REAL(pthread_mutex_clocklock)(m, clock, t);
}

/* ---- Locks of readers and writers ---- */

static void keep_rwlock(pthread_rwlock_t *l)
{
	if (unlikely(l->__data.__shared))
		KEEP(l);
}

WRAPPER int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
	keep_rwlock(l);
	return REAL(pthread_rwlock_rdlock)(l);
}

WRAPPER int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
	keep_rwlock(l);
	return REAL(pthread_rwlock_wrlock)(l);
}

WRAPPER int pthread_rwlock_timedrdlock(pthread_rwlock_t *l, const struct timespec *t)
{
	keep_rwlock(l);
	return REAL(pthread_rwlock_timedrdlock)(l, t);
}

WRAPPER int pthread_rwlock_timedwrlock(pthread_rwlock_t *l, const struct timespec *t)
{
	keep_rwlock(l);
	return REAL(pthread_rwlock_timedwrlock)(l, t);
}

/* ---- Condition variables: libc has older ones under the same names ---- */

typedef int (*cond_wait_fn)(pthread_cond_t *c, pthread_mutex_t *m);
typedef int (*cond_timedwait_fn)(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);

static void *versioned(_Atomic(void *) *cache, const char *name)
{
	void *p = atomic_load_explicit(cache, memory_order_acquire);

	if (unlikely(!p)) {
		p = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
		atomic_store_explicit(cache, p, memory_order_release);
	}
	return p;
}

WRAPPER int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	static _Atomic(void *) real;

	KEEP(c);
	keep_mutex(m);
	return ((cond_wait_fn)versioned(&real, "pthread_cond_wait"))(c, m);
}

WRAPPER int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
	static _Atomic(void *) real;

	KEEP(c);
	keep_mutex(m);
	return ((cond_timedwait_fn)versioned(&real, "pthread_cond_timedwait"))(c, m, t);
}

WRAPPER int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *t)
{
	KEEP(c);
	keep_mutex(m);
	return REAL(pthread_cond_clockwait)(c, m, clock, t);
}

/* ---- Semaphores and barriers ---- */

WRAPPER int sem_wait(sem_t *s)
{
	KEEP(s);
	return REAL(sem_wait)(s);
}

WRAPPER int sem_timedwait(sem_t *s, const struct timespec *t)
{
	KEEP(s);
	return REAL(sem_timedwait)(s, t);
}

WRAPPER int sem_clockwait(sem_t *s, clockid_t clock, const struct timespec *t)
{
	KEEP(s);
	return REAL(sem_clockwait)(s, clock, t);
}

WRAPPER int pthread_barrier_wait(pthread_barrier_t *b)
{
	KEEP(b);
	return REAL(pthread_barrier_wait)(b);
}
