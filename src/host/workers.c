/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers look for greetings and ends of clients in the queue, and for requests in the areas of all clients, and sleep at the bell when there is nothing.
 *
 * No ring is lost. Who wants something makes it known (a bit in area.pending, the queue), rings (adds to bell), and then looks at looking and at sleepers. A
 * worker reads bell, looks for work, adds itself to sleepers, and has the kernel compare bell with what it has read as it goes to sleep. Take a wish
 * that the worker's look has missed: it was made known after the look, so its ring comes after the worker's reading of bell. Either the ring
 * comes before the comparison, which fails: the worker looks again. Or it comes after; then so does the look at sleepers, which finds the worker
 * counted, and wakes it, or another who sleeps and will look. All of these are sequentially consistent, or the kernel's under its lock of the
 * futex. A sleep that ends by time has not used up a wake-up, so a worker may leave then. What a client writes over the board's words can
 * delay others for as long as a sleep lasts.
 *
 * One worker at a time looks at the bell before it sleeps, and while it does (looking is 1) who rings wakes nobody: to wake one costs who asks more than
 * a whole request otherwise. Who has seen 1 has rung before the worker set it to 0, and the worker looks at the bell after that. Either it finds it changed
 * since it last looked for work, and looks again; or it had read the bell after the ring, and has looked since. It takes one request only, so for each other ring
 * it wakes another. What is left is a worker that loses its processor as it looks, or that takes what was made known by one who has not rung yet:
 * who waits for an answer, and finds its request not taken after a while, wakes one more, and another each second. Who waits for none (a hint) is
 * served when somebody rings again, or a sleep ends.
 *
 * Somebody always looks: `idle` counts workers that serve nothing. The one that makes it 0 starts another before it serves, since it may be
 * blocked for long; and nobody leaves who would make it less than a few.
 */
#include "workers.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "cache/io.h"
#include "message.h"
#include "serve.h"
#include "util/compiler.h"
#include "util/log.h"
#include "util/spin.h"
#include "util/sys.h"

#define WORKERS_MAX 1024
#define WORKERS_IDLE 4
#define SLEEP_NS 5000000000ull
#define STACK_BYTES (256UL << 10)
#define SOON_US 50 /* what a client does before it asks, and what it takes to wake one that has waited for the answer to its last request */

static struct wire_board *board;
static void (*when_done)(struct session *s, bool alive);
static _Atomic uint32_t total, idle; /* total: futex of workers_stop() */
static _Atomic bool stopping;

static struct mutex queue_lock = MUTEX_INIT(RANK_LEAF);
static struct session *queue_head, **queue_end = &queue_head; /* queue_lock */
static _Atomic uint32_t queued;

static void ring(int how_many)
{
	atomic_fetch_add(&board->bell, 1);
	if (atomic_load(&board->sleepers))
		sys_futex_wake_shared(&board->bell, how_many);
}

/* ---- The queue ---- */

void workers_queue(struct session *s)
{
	mutex_lock(&queue_lock);
	if (!s->queued) {
		s->queued = true;
		s->next_work = NULL;
		*queue_end = s;
		queue_end = &s->next_work;
		atomic_fetch_add(&queued, 1);
	}
	mutex_unlock(&queue_lock);
	ring(1);
}

static struct session *take_queued(void)
{
	struct session *s;

	if (!atomic_load(&queued))
		return NULL;
	mutex_lock(&queue_lock);
	s = queue_head;
	if (s) {
		queue_head = s->next_work;
		if (!queue_head)
			queue_end = &queue_head;
		s->queued = false;
		atomic_fetch_sub(&queued, 1);
	}
	mutex_unlock(&queue_lock);
	return s;
}

/* ---- Workers ---- */

static void *work(void *unused);

/* The caller has counted it. All signals are blocked in threads that start threads, and so in these. */
static int create_thread(void)
{
	pthread_attr_t attr;
	pthread_t t;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&t, &attr, work, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

static void count_out(void)
{
	if (atomic_fetch_sub(&total, 1) == 1)
		sys_futex_wake_shared(&total, INT_MAX);
}

static int start_one(void)
{
	int err = -EAGAIN;

	atomic_fetch_add(&idle, 1);
	if (atomic_fetch_add(&total, 1) < WORKERS_MAX)
		err = create_thread();
	if (err) {
		atomic_fetch_sub(&idle, 1);
		count_out();
	}
	return err;
}

/* Serves something: false when there was nothing. */
static bool serve_one(void)
{
	struct session *s = take_queued();
	bool by_message = s;
	uint32_t slot = 0;

	if (!s)
		s = session_find_request(&slot);
	if (!s)
		return false;
	if (atomic_fetch_sub(&idle, 1) == 1)
		start_one();
	if (by_message) {
		when_done(s, !atomic_load(&s->ended) && message_greet(s));
	} else {
		serve_slot(s, slot);
		session_put(s);
	}
	atomic_fetch_add(&idle, 1);
	return true;
}

static bool may_leave(void)
{
	uint32_t n = atomic_load(&idle);

	while (n > WORKERS_IDLE)
		if (atomic_compare_exchange_weak(&idle, &n, n - 1))
			return true;
	return false;
}

/* Whether it was for long, and nothing has come. */
static bool sleep_at_bell(uint32_t seen)
{
	int err;

	atomic_fetch_add(&board->sleepers, 1);
	err = atomic_load(&stopping) ? 0 : sys_futex_wait_shared(&board->bell, seen, SLEEP_NS);
	atomic_fetch_sub(&board->sleepers, 1);
	return err == -ETIMEDOUT;
}

/* Each ring may have been for another request, and has woken nobody: the caller takes one. */
static void pass_on(uint32_t seen)
{
	uint32_t rings = atomic_load(&board->bell) - seen;

	if (rings > 1 && atomic_load(&board->sleepers))
		sys_futex_wake_shared(&board->bell, (int)min_u64(rings - 1, INT_MAX));
}

/* One at a time: the next request is for whoever looks. True when it has rung. */
static bool look_at_bell(uint32_t seen)
{
	static struct spin spin;
	static _Atomic bool looking;

	if (atomic_exchange(&looking, true))
		return false;
	atomic_store(&board->looking, 1);
	if (atomic_load_explicit(&board->soon, memory_order_relaxed) && atomic_exchange(&board->soon, 0))
		spin_for(&board->bell, seen, SOON_US);
	else
		spin_while(&board->bell, seen, &spin);
	atomic_store(&board->looking, 0);
	atomic_store(&looking, false);
	pass_on(seen);
	return atomic_load(&board->bell) != seen;
}

static void *work(void *unused)
{
	bool left = false;

	while (!left) {
		uint32_t seen = atomic_load(&board->bell);

		if (serve_one())
			continue;
		if (atomic_load(&stopping))
			break;
		io_poll(); /* what has been written is clean, also when nobody asks for anything */
		if (look_at_bell(seen))
			continue;
		left = sleep_at_bell(seen) && may_leave();
	}
	if (!left)
		atomic_fetch_sub(&idle, 1);
	count_out();
	return unused;
}

int workers_start(struct wire_board *b, void (*done)(struct session *s, bool alive))
{
	board = b;
	when_done = done;
	atomic_store(&stopping, false);
	return start_one();
}

void workers_stop(void)
{
	uint32_t n;

	atomic_store(&stopping, true);
	while ((n = atomic_load(&total))) {
		atomic_fetch_add(&board->bell, 1);
		sys_futex_wake_shared(&board->bell, INT_MAX);
		sys_futex_wait_shared(&total, n, 100000000ull);
	}
}
