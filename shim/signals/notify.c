/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGEV_THREAD: libc calls a function of the program's in a thread that it makes for it, past our pthread_create(3), from one of its own that has signals
 * blocked. So has the new one, SIGBUS too, in which a fault must not be blocked. The function is called by one of ours.
 *
 * When it has been called for the last time is not known: what it is called with stays, once for each function and value.
 */
#include "notify.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/peek.h"
#include "sigmask.h"

#define HEADS 64

struct notice {
	struct notice *next;
	void (*fn)(union sigval value);
	union sigval value;
};

static struct notice *_Atomic heads[HEADS];

static void give(union sigval v)
{
	const struct notice *n = v.sival_ptr;

	sigmask_let_faults_in(); /* before the notice is looked at, whose memory may be served */
	n->fn(n->value);
}

static struct notice *find(struct notice *n, const struct sigevent *e)
{
	while (n && (n->fn != e->sigev_notify_function || n->value.sival_ptr != e->sigev_value.sival_ptr))
		n = n->next;
	return n;
}

/* Two threads may make the same at once, of which either will do. */
static struct notice *get(const struct sigevent *e)
{
	struct notice *_Atomic *head = &heads[(uintptr_t)e->sigev_value.sival_ptr / sizeof(struct notice) % HEADS];
	struct notice *first = atomic_load(head), *n = find(first, e);

	if (n || !(n = malloc(sizeof *n)))
		return n;
	*n = (struct notice){.next = first, .fn = e->sigev_notify_function, .value = e->sigev_value};
	while (!atomic_compare_exchange_weak(head, &n->next, n))
		;
	return n;
}

const struct sigevent *notify_event(const struct sigevent *event, struct sigevent *copy)
{
	struct notice *n;

	if (!event || !peek(copy, event, sizeof *copy) || copy->sigev_notify != SIGEV_THREAD || !copy->sigev_notify_function)
		return event;
	n = get(copy);
	if (!n)
		return event;
	copy->sigev_notify_function = give;
	copy->sigev_value.sival_ptr = n;
	return copy;
}
