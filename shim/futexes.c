/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutexes, condition variables and the like that processes share, in mapped memory. libc calls futex(2) on them by itself, and ends the
 * program when the kernel finds no page there. So a page that is seen to hold one is pinned, and stays so for as long as it is mapped: what
 * is used once is used again. Where it cannot be pinned, since too much is, the call is made as it is.
 *
 * A mutex that processes share is kept from its first use on: the kernel looks for those whose owner has died. One of a single process, as libc's own
 * field tells, is kept when it has to be waited for. Wake-ups need no page: libc takes their failure for a waiter that has gone.
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

/* Whether it is pinned without a place to remember that in: for the call alone. */
static bool keep_page(uintptr_t page)
{
	struct sigguard g = sigguard_enter();
	_Atomic uintptr_t *at = NULL;
	bool once = false;

	mutex_lock(&lock);
	if (!is_kept(page)) {
		at = place();
		once = !file_io_pin((void *)page, 1, true);
		if (once && at) {
			atomic_store(at, page);
			once = false;
		}
	}
	mutex_unlock(&lock);
	sigguard_leave(g);
	return once;
}

/* An object may lie across two pages: bits for those that are pinned for the call alone. */
static unsigned keep(const void *object, size_t size)
{
	uintptr_t first = page_align_down((uintptr_t)object), last = page_align_down((uintptr_t)object + size - 1);
	unsigned once = 0;
	int saved = errno;

	for (uintptr_t page = first; page <= last; page += FL_PAGE_SIZE)
		if (is_mapped_by_us((void *)page, 1) && !is_kept(page) && keep_page(page))
			once |= 1u << (page != first);
	errno = saved;
	return once;
}

/* What is pinned for a call that is cancelled stays pinned. */
static void let_go(const void *object, unsigned once)
{
	uintptr_t first = page_align_down((uintptr_t)object);
	int saved = errno;

	for (unsigned i = 0; i < 2; i++)
		if (once >> i & 1)
			file_io_unpin((void *)(first + i * FL_PAGE_SIZE), 1);
	errno = saved;
}

#define KEEP(object) (NOTHING_MAPPED ? 0 : keep(object, sizeof *(object)))
#define LET_GO(object, once)                  \
	do {                                  \
		if (unlikely(once))           \
			let_go(object, once); \
	} while (0)

/* A wrapper that keeps one object. */
#define WRAPPER_KEEPING(name, parameters, arguments, object) \
	WRAPPER int name parameters                          \
	{                                                    \
		unsigned once = KEEP(object);                \
		int result = REAL(name) arguments;           \
                                                             \
		LET_GO(object, once);                        \
		return result;                               \
	}

/* One that keeps a lock that is not shared only when it cannot be had at once. */
#define WRAPPER_OF_LOCK(name, try, type, is_shared)                    \
	WRAPPER int name(type *l)                                      \
	{                                                              \
		unsigned once;                                         \
		int result;                                            \
                                                                       \
		if (likely(NOTHING_MAPPED))                            \
			return REAL(name)(l);                          \
		if (!is_shared(l) && (result = REAL(try)(l)) != EBUSY) \
			return result;                                 \
		once = keep(l, sizeof *l);                             \
		result = REAL(name)(l);                                \
		LET_GO(l, once);                                       \
		return result;                                         \
	}

void futexes_unmapped(const void *addr, size_t len)
{
	uint32_t n = atomic_load_explicit(&count, memory_order_relaxed);
	struct sigguard g;

	if (likely(!n) || !len)
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

/* ---- Mutexes, locks of readers and writers ---- */

#define SHARED_MUTEX 128 /* PTHREAD_MUTEX_PSHARED_BIT of libc's */

static bool mutex_is_shared(const pthread_mutex_t *m)
{
	return m->__data.__kind & SHARED_MUTEX;
}

static bool rwlock_is_shared(const pthread_rwlock_t *l)
{
	return l->__data.__shared;
}

typedef const struct timespec *until;

WRAPPER_OF_LOCK(pthread_mutex_lock, pthread_mutex_trylock, pthread_mutex_t, mutex_is_shared)

/* Waits for nothing: kept for the sake of the owner's death alone. */
WRAPPER int pthread_mutex_trylock(pthread_mutex_t *m)
{
	unsigned once = mutex_is_shared(m) ? KEEP(m) : 0;
	int result = REAL(pthread_mutex_trylock)(m);

	LET_GO(m, once);
	return result;
}

WRAPPER_KEEPING(pthread_mutex_timedlock, (pthread_mutex_t * m, until t), (m, t), m)
WRAPPER_KEEPING(pthread_mutex_clocklock, (pthread_mutex_t * m, clockid_t clock, until t), (m, clock, t), m)
WRAPPER_OF_LOCK(pthread_rwlock_rdlock, pthread_rwlock_tryrdlock, pthread_rwlock_t, rwlock_is_shared)
WRAPPER_OF_LOCK(pthread_rwlock_wrlock, pthread_rwlock_trywrlock, pthread_rwlock_t, rwlock_is_shared)
WRAPPER_KEEPING(pthread_rwlock_timedrdlock, (pthread_rwlock_t * l, until t), (l, t), l)
WRAPPER_KEEPING(pthread_rwlock_timedwrlock, (pthread_rwlock_t * l, until t), (l, t), l)
WRAPPER_KEEPING(pthread_rwlock_clockrdlock, (pthread_rwlock_t * l, clockid_t clock, until t), (l, clock, t), l)
WRAPPER_KEEPING(pthread_rwlock_clockwrlock, (pthread_rwlock_t * l, clockid_t clock, until t), (l, clock, t), l)

/* ---- Condition variables: libc has older ones under the same names ---- */

typedef int (*cond_wait_fn)(pthread_cond_t *c, pthread_mutex_t *m);
typedef int (*cond_timedwait_fn)(pthread_cond_t *c, pthread_mutex_t *m, until t);

static void *versioned(_Atomic(void *) *cache, const char *name)
{
	void *p = atomic_load_explicit(cache, memory_order_acquire);

	if (unlikely(!p)) {
		p = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
		atomic_store_explicit(cache, p, memory_order_release);
	}
	return p;
}

/* Both are looked at by the kernel, one after the other. */
#define COND_WRAPPER(name, parameters, call)               \
	WRAPPER int name parameters                        \
	{                                                  \
		unsigned once = KEEP(c), once_m = KEEP(m); \
		int result = (call);                       \
                                                           \
		LET_GO(c, once);                           \
		LET_GO(m, once_m);                         \
		return result;                             \
	}

static _Atomic(void *) real_wait, real_timedwait;

COND_WRAPPER(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t *m), ((cond_wait_fn)versioned(&real_wait, "pthread_cond_wait"))(c, m))
COND_WRAPPER(pthread_cond_timedwait, (pthread_cond_t * c, pthread_mutex_t *m, until t),
	     ((cond_timedwait_fn)versioned(&real_timedwait, "pthread_cond_timedwait"))(c, m, t))
COND_WRAPPER(pthread_cond_clockwait, (pthread_cond_t * c, pthread_mutex_t *m, clockid_t clock, until t),
	     REAL(pthread_cond_clockwait)(c, m, clock, t))

/* ---- Semaphores and barriers ---- */

WRAPPER_KEEPING(sem_wait, (sem_t * s), (s), s)
WRAPPER_KEEPING(sem_timedwait, (sem_t * s, until t), (s, t), s)
WRAPPER_KEEPING(sem_clockwait, (sem_t * s, clockid_t clock, until t), (s, clock, t), s)
WRAPPER_KEEPING(pthread_barrier_wait, (pthread_barrier_t * b), (b), b)
