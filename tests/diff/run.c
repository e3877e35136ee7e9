/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes and threads of a run.
 *
 * A thread's operations run one after the other, also when it has forked: each belongs to one of its processes, and
 * every process goes through the same list and waits for its turn. Which process takes an operation is decided from
 * the list and from who is alive, so it is the same in every run. Between threads there is no order: each has its
 * own addresses, slots and files, and what it sees must not depend on the others.
 *
 * A process ends when its parent has seen it end; the list's first process ends last.
 */
#include "run.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct context contexts[THREADS_MAX];

/* Next, with these processes alive: the one step at which who is alive can change. */
static void end_turn(struct context *c, uint32_t alive)
{
	atomic_store(&c->trace->turn, (c->at + 1) << 8 | alive);
	if (alive & ~1u)
		syscall(SYS_futex, &c->trace->turn, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
}

/* Waits until the turn has come to `at`; false when it has passed already, so was another process's. */
static bool wait_for_turn(struct context *c)
{
	const struct timespec a_while = {.tv_nsec = 100000000};
	uint32_t now;

	while ((now = atomic_load(&c->trace->turn)) >> 8 < c->at) {
		if (atomic_load(&c->trace->broken))
			_exit(98);
		syscall(SYS_futex, &c->trace->turn, FUTEX_WAIT, now, &a_while, NULL, 0);
	}
	c->alive = now & 0xff;
	return now >> 8 == c->at;
}

static bool is_alive(const struct context *c, int process)
{
	return c->alive & (1u << process);
}

static bool has_children(const struct context *c, int process)
{
	for (int p = 1; p < PROCESSES; p++)
		if (is_alive(c, p) && c->trace->parent[p] == process)
			return true;
	return false;
}

struct record *run_note(struct context *c, enum record_kind kind, int64_t result)
{
	struct record *r = &c->trace->records[c->trace->n];

	if (c->trace->n == RECORDS_MAX - 1)
		abort();
	c->trace->n++;
	*r = (struct record){.op = c->at, .kind = (uint8_t)kind, .process = (uint8_t)c->me, .result = result};
	return r;
}

static void do_fork(struct context *c, int child)
{
	struct trace *t = c->trace;
	pid_t pid;

	if (child <= 0 || child >= PROCESSES || is_alive(c, child)) {
		run_note(c, RECORD_SKIP, 0);
		return end_turn(c, c->alive);
	}
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c->me = child;
		return;
	}
	run_note(c, RECORD_CALL, pid > 0 ? 0 : -1)->err = pid > 0 ? 0 : errno;
	t->pid[child] = pid;
	t->parent[child] = c->me;
	end_turn(c, c->alive | (pid > 0 ? 1u << child : 0));
}

/* Ends the process and lets its parent see it; the turn is over when it has. */
static void do_exit(struct context *c, int who)
{
	int status = -1;

	if (c->me == who)
		exit(0);
	if (c->me != c->trace->parent[who])
		return;
	if (waitpid(c->trace->pid[who], &status, 0) < 0)
		abort();
	run_note(c, RECORD_CALL, status);
	end_turn(c, c->alive & ~(1u << who));
}

static void take_turn(struct context *c, const struct op *o)
{
	int who = is_alive(c, o->process) ? o->process : 0;

	if (o->code == OP_EXIT && who && !has_children(c, who))
		return do_exit(c, who);
	if (who != c->me)
		return;
	if (o->code == OP_FORK)
		return do_fork(c, (int)o->arg[0]);
	step_run(c, o);
	end_turn(c, c->alive);
}

/* A process without children, the first one only when it is alone. */
static int youngest(const struct context *c)
{
	int p = PROCESSES - 1;

	while (p && (!is_alive(c, p) || has_children(c, p)))
		p--;
	return p;
}

/* The checks at the end, by every process that is left; then it ends. */
static void finish(struct context *c)
{
	for (int i = 0; i < PROCESSES; i++, c->at++) {
		int last;

		if (!wait_for_turn(c))
			continue;
		last = youngest(c);
		if (last == c->me && (last || i == PROCESSES - 1))
			step_final_checks(c);
		if (last)
			do_exit(c, last);
		else if (c->me == 0)
			end_turn(c, c->alive);
	}
}

static void *thread_main(void *arg)
{
	struct context *c = arg;

	for (c->at = 0; c->at < c->n; c->at++)
		if (wait_for_turn(c))
			take_turn(c, &c->ops[c->at]);
	finish(c);
	return NULL;
}

/* The operations of one thread. */
static void take_ops(struct context *c, const struct list *l)
{
	struct op *ops = malloc((l->n + 1) * sizeof *ops);

	for (size_t i = 0; i < l->n; i++)
		if (l->ops[i].thread == c->thread)
			ops[c->n++] = l->ops[i];
	c->ops = ops;
}

static void prepare(const struct run_request *rq, int thread)
{
	struct context *c = &contexts[thread];

	*c = (struct context){.backend = rq->backend,
			      .thread = thread,
			      .alone = rq->list->threads == 1,
			      .borders = rq->borders,
			      .one_open = rq->one_open,
			      .trace = &rq->traces[thread]};
	c->zone = (char *)ZONE_BASE + thread * ZONE_STRIDE + MARGIN;
	atomic_store(&c->trace->turn, 1);
	c->scratch = malloc(sizeof *c->scratch);
	take_ops(c, rq->list);
	files_make(c);
}

_Noreturn void run_child(const struct run_request *rq)
{
	int n = rq->list->threads;

	if (chdir(rq->directory))
		abort();
	access_install_handlers(rq->traces, n, false);
	for (int i = 0; i < n; i++)
		prepare(rq, i);
	if (rq->backend->start(&rq->options)) {
		perror("diff: the implementation does not start");
		_exit(97);
	}
	for (int i = 1; i < n; i++)
		if (pthread_create(&contexts[i].id, NULL, thread_main, &contexts[i]))
			abort();
	thread_main(&contexts[0]);
	for (int i = 1; i < n; i++)
		pthread_join(contexts[i].id, NULL);
	run_note(&contexts[0], RECORD_CALL, rq->backend->stop());
	for (int i = 0; i < n; i++) {
		contexts[i].backend = &kernel_backend;
		step_check_files(&contexts[i]);
		run_note(&contexts[i], RECORD_END, 0);
	}
	exit(0);
}
