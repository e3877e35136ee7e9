/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks in a file that is mapped and larger than memory, while all pages are driven out of memory that can leave it. Of processes: a mutex, a
 * condition variable, a semaphore, a barrier, a lock of readers and writers, a robust mutex, one that inherits priority, and more of them than are kept in
 * memory. Of the
 * threads of one process: mutexes that are not shared.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (40UL << 20)
#define PROCESSES 4
#define ROUNDS 300
#define FIRST_OF_MANY 10 /* pages, each with a lock at its end that goes on in the next */
#define MANY 1300
#define LOCKS_END (6UL << 20)
#define THREADS 4
#define THREAD_ROUNDS 2000

struct shared {
	pthread_mutex_t mutex, robust;
	pthread_cond_t cond;
	pthread_barrier_t barrier;
	sem_t sem;
	pthread_rwlock_t rwlock;
	uint64_t by_mutex, by_sem, by_rwlock, turn;
};

static struct shared *s;
static char *map;

static void init(void)
{
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_barrierattr_t ba;
	pthread_rwlockattr_t ra;

	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	CHECK(!pthread_mutex_init(&s->mutex, &ma));
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
	CHECK(!pthread_mutex_init(&s->robust, &ma));
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	CHECK(!pthread_cond_init(&s->cond, &ca));
	pthread_barrierattr_init(&ba);
	pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED);
	CHECK(!pthread_barrier_init(&s->barrier, &ba, PROCESSES));
	pthread_rwlockattr_init(&ra);
	pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
	CHECK(!pthread_rwlock_init(&s->rwlock, &ra));
	CHECK(!sem_init(&s->sem, 1, 1));
	s->by_mutex = s->by_sem = s->by_rwlock = s->turn = 0;
}

struct counted {
	pthread_mutex_t mutex;
	uint64_t count;
};

static struct counted *one_of_many(unsigned long i)
{
	return (struct counted *)(map + (FIRST_OF_MANY + i + 1) * PAGE - sizeof(pthread_mutex_t) / 2);
}

/* In pages of their own, and used when many others have been. */
static pthread_mutex_t *late_lock(unsigned long i)
{
	return (pthread_mutex_t *)(map + (FIRST_OF_MANY + MANY + 2 + i) * PAGE);
}

static void init_many(void)
{
	pthread_mutexattr_t ma;

	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
	for (unsigned long i = 0; i < MANY; i++) {
		CHECK(!pthread_mutex_init(&one_of_many(i)->mutex, &ma));
		one_of_many(i)->count = 0;
	}
	CHECK(!pthread_mutex_init(late_lock(0), &ma));
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_STALLED);
	CHECK(!pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_INHERIT));
	CHECK(!pthread_mutex_init(late_lock(1), &ma));
}

/* Touches pages, so that others leave memory. */
static void walk(uint64_t from, int pages)
{
	for (int i = 0; i < pages; i++)
		*(volatile char *)&map[LOCKS_END + (from * 7919 + (uint64_t)i * 104729) * PAGE % (SIZE - LOCKS_END)];
}

static void in_turn(uint64_t self, uint64_t round)
{
	CHECK(!pthread_mutex_lock(&s->mutex));
	while (s->turn % PROCESSES != self)
		CHECK(!pthread_cond_wait(&s->cond, &s->mutex));
	s->turn++;
	walk(round, 20);
	CHECK(!pthread_cond_broadcast(&s->cond));
	CHECK(!pthread_mutex_unlock(&s->mutex));
}

static void count_one(struct counted *c, int pages)
{
	CHECK(!pthread_mutex_lock(&c->mutex));
	c->count++;
	walk(c->count, pages);
	CHECK(!pthread_mutex_unlock(&c->mutex));
}

/* One of the calls of a lock of readers and writers that wait; before it as a reader. */
static void write_one(uint64_t round)
{
	struct timespec until = {.tv_sec = INT32_MAX};

	CHECK(!(round % 2 ? pthread_rwlock_rdlock(&s->rwlock) : pthread_rwlock_clockrdlock(&s->rwlock, CLOCK_MONOTONIC, &until)));
	CHECK(s->by_rwlock <= PROCESSES * ROUNDS && !pthread_rwlock_unlock(&s->rwlock));
	if (round % 3 == 0)
		CHECK(!pthread_rwlock_wrlock(&s->rwlock));
	else if (round % 3 == 1)
		CHECK(!pthread_rwlock_timedwrlock(&s->rwlock, &until));
	else
		CHECK(!pthread_rwlock_clockwrlock(&s->rwlock, CLOCK_MONOTONIC, &until));
	s->by_rwlock++;
	CHECK(!pthread_rwlock_unlock(&s->rwlock));
}

static void work(uint64_t self)
{
	for (uint64_t round = 0; round < ROUNDS; round++) {
		walk(self * ROUNDS + round, 50);
		CHECK(!pthread_mutex_lock(&s->mutex));
		s->by_mutex++;
		CHECK(!pthread_mutex_unlock(&s->mutex));
		CHECK(!sem_wait(&s->sem));
		s->by_sem++;
		CHECK(!sem_post(&s->sem));
		in_turn(self, round);
		count_one(one_of_many((self + round) % MANY), 5);
		write_one(round);
		if (round % 50 == 0)
			pthread_barrier_wait(&s->barrier);
	}
	exit(0);
}

/* Dies with the robust mutex held; who comes next is told, and goes on. */
static void die_with_lock(void)
{
	pid_t pid = fork();
	int e;

	CHECK(pid >= 0);
	if (!pid) {
		CHECK(!pthread_mutex_lock(&s->robust));
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	e = pthread_mutex_lock(&s->robust);
	CHECK(e == EOWNERDEAD);
	CHECK(!pthread_mutex_consistent(&s->robust) && !pthread_mutex_unlock(&s->robust));
}

/* More locks than are kept in memory, one after the other, and other pages. */
static void use_many(void)
{
	for (unsigned long i = 0; i < MANY; i++)
		count_one(one_of_many(i), 5);
	walk(1, 10000);
}

/* What is held stays for the kernel to find, whatever else is used meanwhile. */
static void die_after_many(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		use_many();
		CHECK(!pthread_mutex_lock(late_lock(0)));
		use_many();
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(pthread_mutex_lock(late_lock(0)) == EOWNERDEAD);
	CHECK(!pthread_mutex_consistent(late_lock(0)) && !pthread_mutex_unlock(late_lock(0)));
}

/* A mutex that inherits priority is passed on by the kernel. */
static void pass_on(void)
{
	pid_t pid;

	use_many();
	CHECK(!pthread_mutex_lock(late_lock(1)));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(!pthread_mutex_lock(late_lock(1)));
		CHECK(!pthread_mutex_unlock(late_lock(1)));
		_exit(0);
	}
	while (!(*(volatile int *)&late_lock(1)->__data.__lock & (int)0x80000000)) /* FUTEX_WAITERS */
		usleep(1000);
	use_many();
	CHECK(!pthread_mutex_unlock(late_lock(1)));
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* ---- Threads of one process ---- */

static struct counted *private_lock;

static void *count_in_thread(void *unused)
{
	for (int i = 0; i < THREAD_ROUNDS; i++)
		count_one(private_lock, i % 100 ? 0 : 200);
	return unused;
}

static void in_threads(void)
{
	pthread_t thread[THREADS];

	private_lock = one_of_many(0);
	CHECK(!pthread_mutex_init(&private_lock->mutex, NULL));
	private_lock->count = 0;
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&thread[i], NULL, count_in_thread, NULL));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(thread[i], NULL));
	CHECK(private_lock->count == THREADS * THREAD_ROUNDS);
}

/* What was kept where the lock was is let go of, and the lock kept where it is. */
static void move(int fd)
{
	void *to = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 4; i++) {
		void *from = map;

		CHECK(mremap(map, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		map = to;
		to = from;
		count_one(one_of_many(1), 1000);
		CHECK(mmap(map, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == map);
		count_one(one_of_many(1), 1000);
	}
}

int main(void)
{
	int fd = pattern_file(SIZE), status;
	pid_t pid[PROCESSES];

	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	s = (struct shared *)(map + PAGE * 3 - 64); /* across two pages */
	init();
	init_many();
	for (uint64_t i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (!pid[i])
			work(i);
	}
	for (uint64_t i = 0; i < PROCESSES; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	CHECK(s->turn == PROCESSES * ROUNDS && s->by_mutex == s->turn && s->by_sem == s->turn && s->by_rwlock == s->turn);
	uint64_t sum = 0;
	for (unsigned long i = 0; i < MANY; i++)
		sum += one_of_many(i)->count;
	CHECK(sum == s->turn);
	for (int i = 0; i < 10; i++)
		die_with_lock();
	die_after_many();
	pass_on();
	in_threads();
	move(fd);
	CHECK(!munmap(map, SIZE));
	return 0;
}
