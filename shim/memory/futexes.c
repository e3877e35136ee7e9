/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutexes, condition variables and the like that processes share, in mapped memory. libc calls futex(2) on them by itself, and ends the
 * program when the kernel finds no page there. So a page that is seen to hold one is pinned for the call, and kept until its place in a table is
 * wanted by another: what is used once is used again. The table has room for a quarter of the budget. When a quarter is pinned, by this process and
 * others, two pages that nobody uses go for each that comes. Where one cannot be pinned, since too much is, the call is made as it is.
 *
 * A mutex that processes share is kept from its first use on, and one that is robust, or inherits priority, as long as this process holds it: the kernel looks
 * for those whose owner has died, and passes the latter on by itself. One of a single process, as libc's own field tells, is kept when it has to be
 * waited for. Wake-ups need no page: libc takes their failure for a waiter that has gone.
 */
#include "futexes.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "api/file_io.h"
#include "base/mapped.h"
#include "base/real.h"
#include "cache/budget.h"
#include "cache/filemap.h"
#include "memory.h"
#include "util/lock.h"

/* A page goes to one of so many places, by its number. */
#define SETS_MIN 64
#define SETS_MAX 4096
#define WAYS 4
#define SHARE 4 /* of the budget */
#define USERS 0xffffULL

/*
 * A page's number, and under it how many use it: calls that are being made, and mutexes that stay. With no user its place may be taken. Users come and go without
 * the lock; pages do under it.
 */
static _Atomic uint64_t kept[SETS_MAX][WAYS];
static struct mutex lock = MUTEX_INIT(RANK_SPACES); /* taken before all that a pin takes */
static uint32_t hands[SETS_MAX];                    /* under the lock: which place is next to be taken */
static _Atomic uint32_t set_mask; /* sets in use, a power of two, less one; constant from the first page on. 0: there was none */

static _Atomic uint64_t *set_of(uintptr_t page)
{
	return kept[(page >> FL_PAGE_SHIFT) & atomic_load_explicit(&set_mask, memory_order_relaxed)];
}

/* Caller holds the lock. */
static void choose_sets(void)
{
	uint32_t sets = SETS_MIN;
	uint64_t budget = budget_limit() * (budget_is_borrowed() ? 2 : 1); /* a client has half of the host's */

	if (atomic_load(&set_mask))
		return;
	while (sets < SETS_MAX && 2 * sets * WAYS <= budget / SHARE)
		sets *= 2;
	atomic_store(&set_mask, sets - 1);
}

static bool is_page(uint64_t w, uintptr_t page)
{
	return w >> 16 == page >> FL_PAGE_SHIFT;
}

/* One user more, or less, of a page that is kept. */
static bool change_users(uintptr_t page, int by)
{
	for (_Atomic uint64_t *at = set_of(page); at < set_of(page) + WAYS; at++) {
		uint64_t w = atomic_load_explicit(at, memory_order_relaxed);

		while (is_page(w, page) && (w & USERS) != (by < 0 ? 0 : USERS))
			if (atomic_compare_exchange_weak(at, &w, w + (uint64_t)by))
				return true;
	}
	return false;
}

/* Whether nobody uses the page there, if there is one: then it is let go of. Caller holds the lock. */
static bool empty(_Atomic uint64_t *at)
{
	uint64_t w = atomic_load(at);

	if ((w & USERS) || !atomic_compare_exchange_strong(at, &w, 0))
		return false;
	if (w)
		file_io_unpin((void *)(w >> 16 << FL_PAGE_SHIFT), 1);
	return true;
}

/* A place whose page nobody uses, emptied; NULL when there is none. Caller holds the lock. */
static _Atomic uint64_t *take_place(uintptr_t page)
{
	_Atomic uint64_t *set = set_of(page);
	uint32_t *hand = &hands[(set - kept[0]) / WAYS];

	for (int i = 0; i < WAYS; i++) {
		_Atomic uint64_t *at = set + (*hand)++ % WAYS;

		if (empty(at))
			return at;
	}
	return NULL;
}

/* For each page that comes two that nobody uses go, so that fewer are kept. Caller holds the lock. */
static void shrink(void)
{
	static uint32_t hand;
	uint32_t places = (atomic_load(&set_mask) + 1) * WAYS, gone = 0;

	for (uint32_t i = 0; i < places && gone < 2; i++) {
		_Atomic uint64_t *at = kept[0] + hand++ % places;

		gone += atomic_load(at) && empty(at);
	}
}

enum keeping { NOT_KEPT, KEPT, KEPT_ONCE };

/* KEPT_ONCE: pinned without a place to remember that in, for the call alone. */
static enum keeping keep_page(uintptr_t page)
{
	enum keeping how = KEPT;
	_Atomic uint64_t *at;
	struct sigguard g;

	if (likely(change_users(page, 1)))
		return KEPT;
	if (!is_mapped_by_us((void *)page, 1))
		return NOT_KEPT;
	g = sigguard_enter();
	mutex_lock(&lock);
	choose_sets();
	if (!change_users(page, 1)) {
		if (filemap_pins_are_many())
			shrink();
		at = take_place(page);
		how = file_io_pin((void *)page, 1, true) ? NOT_KEPT : at ? KEPT : KEPT_ONCE;
		if (how == KEPT)
			atomic_store(at, (uint64_t)page >> FL_PAGE_SHIFT << 16 | 1);
	}
	mutex_unlock(&lock);
	sigguard_leave(g);
	return how;
}

/* An object may lie across two pages: how each is kept, in two bits. */
static unsigned keep(const void *object, size_t size)
{
	uintptr_t first = page_align_down((uintptr_t)object), last = page_align_down((uintptr_t)object + size - 1);
	int saved = errno;
	unsigned how = keep_page(first);

	if (last != first)
		how |= (unsigned)keep_page(last) << 2;
	errno = saved;
	return how;
}

/* What is kept for a call that is cancelled stays. */
static void let_go(const void *object, unsigned how, enum keeping only)
{
	uintptr_t page = page_align_down((uintptr_t)object);
	int saved = errno;

	for (; how; how >>= 2, page += FL_PAGE_SIZE)
		if ((how & 3) == KEPT && only != KEPT_ONCE)
			change_users(page, -1);
		else if ((how & 3) == KEPT_ONCE)
			file_io_unpin((void *)page, 1);
	errno = saved;
}

void futexes_keep(const void *object, size_t size)
{
	unsigned how = object ? keep(object, size) : 0;

	if (how)
		let_go(object, how, NOT_KEPT);
}

#define KEEP(object) (NOTHING_MAPPED ? 0 : keep(object, sizeof *(object)))
#define LET_GO(object, how)                            \
	do {                                           \
		if (unlikely(how))                     \
			let_go(object, how, NOT_KEPT); \
	} while (0)

/* A wrapper that keeps one object. */
#define WRAPPER_KEEPING(name, parameters, arguments, object) \
	WRAPPER int name parameters                          \
	{                                                    \
		unsigned how = KEEP(object);                 \
		int result = REAL(name) arguments;           \
                                                             \
		LET_GO(object, how);                         \
		return result;                               \
	}

/* What is kept there of [first, last], by numbers of pages, whoever uses it. Caller holds the lock. */
static void drop(_Atomic uint64_t *at, uint64_t first, uint64_t last)
{
	uint64_t page = atomic_load(at) >> 16;

	if (!page || page - first > last - first)
		return;
	file_io_unpin((void *)(page << FL_PAGE_SHIFT), 1);
	atomic_store(at, 0);
}

void futexes_unmapped(const void *addr, size_t len)
{
	uint64_t first = (uintptr_t)addr >> FL_PAGE_SHIFT, last = ((uintptr_t)addr + len - 1) >> FL_PAGE_SHIFT;
	uint32_t sets = atomic_load_explicit(&set_mask, memory_order_relaxed) + 1;
	struct sigguard g;

	if (likely(sets == 1) || !len || last < first)
		return;
	g = sigguard_enter();
	mutex_lock(&lock);
	for (uint64_t i = 0; i < sets && i <= last - first; i++)
		for (int way = 0; way < WAYS; way++)
			drop(&kept[(first + i) & (sets - 1)][way], first, last);
	mutex_unlock(&lock);
	sigguard_leave(g);
}

/* Pins are not inherited. */
void futexes_fork_child(void)
{
	mutex_init(&lock, RANK_SPACES);
	if (!atomic_load(&set_mask))
		return;
	for (_Atomic uint64_t *at = kept[0]; at < kept[atomic_load(&set_mask) + 1]; at++)
		if (atomic_load(at)) /* what is 0 may be memory that has not been touched */
			atomic_store(at, 0);
}

/* ---- Mutexes ---- */

/* Of libc's __kind. */
#define ROBUST_MUTEX 16
#define INHERITING_MUTEX 32
#define SHARED_MUTEX 128

static bool is_shared(const pthread_mutex_t *m)
{
	return m->__data.__kind & (SHARED_MUTEX | INHERITING_MUTEX | ROBUST_MUTEX);
}

/* The kernel may look for it as long as it is held. */
static bool stays(const pthread_mutex_t *m)
{
	return m->__data.__kind & (INHERITING_MUTEX | ROBUST_MUTEX);
}

static int locked(pthread_mutex_t *m, unsigned how, int result)
{
	if (how)
		let_go(m, how, stays(m) && (!result || result == EOWNERDEAD) ? KEPT_ONCE : NOT_KEPT);
	return result;
}

/* One that is not shared is kept only when it cannot be had at once. */
WRAPPER int pthread_mutex_lock(pthread_mutex_t *m)
{
	unsigned how;
	int result;

	if (likely(NOTHING_MAPPED))
		return REAL(pthread_mutex_lock)(m);
	if (!is_shared(m) && (result = REAL(pthread_mutex_trylock)(m)) != EBUSY)
		return result;
	how = keep(m, sizeof *m);
	return locked(m, how, REAL(pthread_mutex_lock)(m));
}

/* Waits for nothing: kept for the sake of the owner's death alone. */
WRAPPER int pthread_mutex_trylock(pthread_mutex_t *m)
{
	unsigned how = is_shared(m) ? KEEP(m) : 0;

	return locked(m, how, REAL(pthread_mutex_trylock)(m));
}

typedef const struct timespec *until;

WRAPPER int pthread_mutex_timedlock(pthread_mutex_t *m, until t)
{
	unsigned how = KEEP(m);

	return locked(m, how, REAL(pthread_mutex_timedlock)(m, t));
}

WRAPPER int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, until t)
{
	unsigned how = KEEP(m);

	return locked(m, how, REAL(pthread_mutex_clocklock)(m, clock, t));
}

/* Afterwards the mutex may be gone; and what was locked before its page was mapped by us is not kept. */
WRAPPER int pthread_mutex_unlock(pthread_mutex_t *m)
{
	bool stayed = !NOTHING_MAPPED && stays(m);
	uintptr_t first = page_align_down((uintptr_t)m), last = page_align_down((uintptr_t)m + sizeof *m - 1);
	int result = REAL(pthread_mutex_unlock)(m);

	if (!stayed || result)
		return result;
	change_users(first, -1);
	if (last != first)
		change_users(last, -1);
	return 0;
}

/* ---- Locks of readers and writers ---- */

/* One that keeps a lock that is not shared only when it cannot be had at once. */
#define WRAPPER_OF_LOCK(name, try)                                           \
	WRAPPER int name(pthread_rwlock_t *l)                                \
	{                                                                    \
		unsigned how;                                                \
		int result;                                                  \
                                                                             \
		if (likely(NOTHING_MAPPED))                                  \
			return REAL(name)(l);                                \
		if (!l->__data.__shared && (result = REAL(try)(l)) != EBUSY) \
			return result;                                       \
		how = keep(l, sizeof *l);                                    \
		result = REAL(name)(l);                                      \
		LET_GO(l, how);                                              \
		return result;                                               \
	}

WRAPPER_OF_LOCK(pthread_rwlock_rdlock, pthread_rwlock_tryrdlock)
WRAPPER_OF_LOCK(pthread_rwlock_wrlock, pthread_rwlock_trywrlock)
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
#define COND_WRAPPER(name, parameters, call)             \
	WRAPPER int name parameters                      \
	{                                                \
		unsigned how = KEEP(c), how_m = KEEP(m); \
		int result = (call);                     \
                                                         \
		LET_GO(c, how);                          \
		LET_GO(m, how_m);                        \
		return result;                           \
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
