/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process an operation is done by follows from the list and from who is alive, so it is the same on both sides:
 * the one that the list names, else the first. A process is ended by its parent, when it has no children itself. When
 * the list is over, one after the other, from the youngest on, checks all it can see and is ended.
 */
#include "family.h"

#include <errno.h>

static uint32_t alive(const struct context *c)
{
	return atomic_load(&c->trace->alive);
}

static bool is_alive(const struct context *c, int process)
{
	return alive(c) & (1u << process);
}

static bool has_children(const struct context *c, int process)
{
	for (int p = 1; p < PROCESSES; p++)
		if (is_alive(c, p) && c->trace->parent[p] == process)
			return true;
	return false;
}

static int youngest(const struct context *c)
{
	int p = PROCESSES - 1;

	while (p && (!is_alive(c, p) || has_children(c, p)))
		p--;
	return p;
}

/* The process that the operation ends, or 0. */
static int ends(const struct context *c)
{
	const struct op *o = &c->ops[c->at];

	if (c->at >= c->n)
		return (c->at - c->n) % 2 ? youngest(c) : 0;
	return o->code == OP_EXIT && is_alive(c, o->process) && !has_children(c, o->process) ? o->process : 0;
}

int family_actor(const struct context *c)
{
	int end = ends(c);

	if (end)
		return c->trace->parent[end];
	if (c->at >= c->n)
		return youngest(c);
	return is_alive(c, c->ops[c->at].process) ? c->ops[c->at].process : 0;
}

static void act_fork(struct context *c, const struct family_calls *calls, int child)
{
	int n;

	if (child <= 0 || child >= PROCESSES || is_alive(c, child)) {
		run_note(c, RECORD_SKIP, 0);
		return;
	}
	n = calls->fork(c, child);
	run_note(c, RECORD_CALL, n)->err = n ? errno : 0;
	if (n)
		return;
	c->trace->parent[child] = c->me;
	atomic_store(&c->trace->alive, alive(c) | 1u << child);
}

bool family_act(struct context *c, const struct family_calls *calls)
{
	int end = ends(c);

	c->alive = alive(c);
	if (end) {
		calls->end(c, end);
		atomic_store(&c->trace->alive, alive(c) & ~(1u << end));
		run_note(c, RECORD_CALL, 0);
	} else if (c->at >= c->n) {
		step_final_checks(c);
		return c->me;
	} else if (c->ops[c->at].code == OP_FORK) {
		act_fork(c, calls, (int)c->ops[c->at].arg[0]);
	} else {
		step_run(c, &c->ops[c->at]);
	}
	return true;
}
