/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that processes share, in a file that is mapped and larger than memory: a mutex, a condition variable, a semaphore, a barrier and a
 * robust mutex, while the processes drive all pages out of memory that can leave it.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (40UL << 20)
#define PROCESSES 4
#define ROUNDS 300

struct shared {
	pthread_mutex_t mutex, robust;
	pthread_cond_t cond;
	pthread_barrier_t barrier;
	sem_t sem;
	pthread_rwlock_t rwlock;
	uint64_t counter, turn, deaths;
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
	s->counter = s->turn = s->deaths = 0;
}

static uint64_t walk(uint64_t from, int pages)
{
	uint64_t sum = 0;

	for (int i = 0; i < pages; i++)
		sum += (uint64_t)map[(2UL << 20) + (from * 7919 + (uint64_t)i * 104729) * PAGE % (SIZE - (2UL << 20))];
	return sum;
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

static void work(uint64_t self)
{
	for (uint64_t round = 0; round < ROUNDS; round++) {
		walk(self * ROUNDS + round, 50);
		CHECK(!pthread_mutex_lock(&s->mutex));
		s->counter++;
		CHECK(!pthread_mutex_unlock(&s->mutex));
		CHECK(!sem_wait(&s->sem));
		s->counter++;
		CHECK(!sem_post(&s->sem));
		in_turn(self, round);
		CHECK(!pthread_rwlock_wrlock(&s->rwlock));
		CHECK(!pthread_rwlock_unlock(&s->rwlock));
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

int main(void)
{
	int fd = pattern_file(SIZE), status;
	pid_t pid[PROCESSES];

	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	s = (struct shared *)(map + PAGE * 3 - 64); /* across two pages */
	init();
	for (uint64_t i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (!pid[i])
			work(i);
	}
	for (uint64_t i = 0; i < PROCESSES; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	CHECK(s->turn == PROCESSES * ROUNDS);
	for (int i = 0; i < 10; i++)
		die_with_lock();
	CHECK(!munmap(map, SIZE));
	return 0;
}
