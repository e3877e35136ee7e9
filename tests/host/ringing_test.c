/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who rings while a worker looks at the bell wakes nobody: whatever comes together then must be served, also where what the worker takes first keeps it for long. A
 * ring that is lost shows after seconds, when a worker that sleeps looks again by itself.
 */
#include "client.h"

#include <pthread.h>

#include "util/clock.h"

#define ROUNDS 300
#define ASKS 10000
#define LOST_NS 3000000000ull

/* A worker is awake, and looks at the bell, or is about to. */
static void have_a_worker_look(struct client *c, const struct file *f)
{
	struct wire_slot r = {.op = WIRE_SHRUNK, .file = f->number};

	atomic_store(&c->board->soon, 1);
	assert_int_equal(client_ask_by(c, 0, &r), 0);
}

#define WAIT 2 /* requests that wait, in slots 1 and on */

/* These wait for a change of their file, the last for nothing. */
static void ask_for_all(struct two_clients *x, uint32_t number, uint64_t page)
{
	struct wire_slot waits = {.op = WIRE_SYNC, .file = number, .arg = {page, page}};
	struct wire_slot last = {.op = WIRE_SHRUNK, .file = x->file.number};
	uint64_t start = now_ns();

	for (uint32_t i = 1; i <= WAIT; i++)
		client_post(&x->a, i, &waits);
	client_post(&x->a, WAIT + 1, &last);
	assert_int_equal(client_wait(&x->a, WAIT + 1, &last), 0);
	assert_true(now_ns() - start < LOST_NS);
	atomic_store(&x->a.area->slot[WAIT + 1].state, WIRE_FREE);
}

static void who_comes_with_those_that_wait_is_served(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot change, waited;
	struct file other;
	struct map m;

	file_create(&other, TWO_CLIENTS_PAGES);
	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(client_open(&x->a, &other, 0, true), 0);
	client_map(&x->a, &other, 0, TWO_CLIENTS_PAGES, false, &m);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t page = i % TWO_CLIENTS_PAGES;

		assert_int_equal(map_fault(&m, page, WIRE_WRITE), 0);
		change = file_change(&other);
		client_post(&x->b, 0, &change);
		assert_int_equal(client_wait(&x->b, 0, &change), 0);
		have_a_worker_look(&x->a, &x->file);
		ask_for_all(x, other.number, page);
		client_resume(&x->b, 0, 0, 0);
		assert_int_equal(client_wait(&x->b, 0, &change), 0);
		for (uint32_t s = 1; s <= WAIT; s++) {
			assert_int_equal(client_wait(&x->a, s, &waited), 0);
			atomic_store(&x->a.area->slot[s].state, WIRE_FREE);
		}
	}
	file_remove(&other);
}

struct asker {
	struct client *c;
	const struct file *f;
	uint32_t slot;
};

/* NULL: one was not served, or not for long. */
static void *ask_often(void *arg)
{
	struct asker *a = arg;
	struct wire_slot r = {.op = WIRE_SHRUNK, .file = a->f->number};

	for (int i = 0; i < ASKS; i++) {
		uint64_t start = now_ns();

		if (client_ask_by(a->c, a->slot, &r) || now_ns() - start > LOST_NS)
			return NULL;
		for (uint64_t end = now_ns() + (uint64_t)(i % 64) * 1000; now_ns() < end;) /* as long as a look, and longer */
			;
	}
	return arg;
}

static void no_ring_is_lost(void **state)
{
	struct two_clients *x = *state;
	struct file again = x->file;
	struct asker a[] = {{&x->a, &x->file, 1}, {&x->a, &x->file, 2}, {&x->b, &again, 1}};
	pthread_t t[3];
	void *end;

	again.memfd = -1;
	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(client_open(&x->b, &again, 0, true), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ask_often, &a[i]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(t[i], &end), 0);
		assert_ptr_equal(end, &a[i]);
	}
	close(again.memfd);
}

#define with(test) cmocka_unit_test_setup_teardown(test, two_clients_setup, two_clients_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(who_comes_with_those_that_wait_is_served),
		with(no_ring_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
