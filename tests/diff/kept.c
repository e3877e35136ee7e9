/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process for each side that runs list after list: a new process, new files and a new engine for each would take
 * ten times as long as the list. What a list leaves behind is removed instead: its mappings by one munmap, or with its
 * spaces; of its files what it has changed. Only what cannot be undone (mseal) and crashes cost a new process.
 *
 * The kernel's side forks where the list does. Its processes take turns: one runs, up to the first operation that is
 * another's; the others sleep. A soft side has a space for each process, and goes through all operations itself.
 */
#include "kept.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "family.h"
#include "kept_files.h"
#include "soft.h"

#define OPS_MAX 16384
#define NO_RECLAIM (32UL << 20) /* a budget that no list exhausts */
#define ZONE_57 (1L << 52)

/* What the two processes of a side and its starter have in common. */
struct desk {
	_Atomic uint32_t asked, done; /* lists; waited for by futex */
	bool retires;                 /* the process ends after this list */
	bool absolute, again;         /* see struct comparison; `again`: the list is run before, without a trace */
	bool borders, one_open;       /* the same */
	struct backend_options options;
	struct soft_kind soft;
	uint32_t n;
	struct op ops[OPS_MAX];
	struct trace trace;
	struct scratch scratch;
	struct slot elsewhere[ELSEWHERE_MAX];
	uint32_t nelsewhere;
};

struct keeper {
	struct desk *desk;
	struct side side;
	bool runs;
};

static struct keeper keepers[2];
static struct desk *desk; /* of this process */
static struct context contexts[PROCESSES];

static void futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *most, uint32_t bits)
{
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, most, NULL, bits);
}

static void futex_wake(_Atomic uint32_t *word, uint32_t bits)
{
	syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL, bits);
}

/* ---- The kernel's side ---- */

static void play(struct context *c);

static int process_fork(struct context *c, int child)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c->me = child;
		play(c);
		_exit(1);
	}
	c->trace->pid[child] = pid;
	return pid < 0 ? -1 : 0;
}

static void process_end(struct context *c, int child)
{
	kill(c->trace->pid[child], SIGKILL);
	if (waitpid(c->trace->pid[child], NULL, 0) < 0)
		abort();
}

static const struct family_calls processes = {.fork = process_fork, .end = process_end};

static void wait_for_turn(struct context *c)
{
	uint32_t whose;

	while ((whose = atomic_load(&c->trace->owner)) != (uint32_t)c->me)
		futex_wait(&c->trace->owner, whose, NULL, 1u << c->me);
	c->at = atomic_load(&c->trace->turn) >> 8;
}

/* The turns of one process; returns at the end of the list, to the first one only. */
static void play(struct context *c)
{
	for (;;) {
		int next;

		wait_for_turn(c);
		while ((next = family_actor(c)) == c->me) {
			if (!family_act(c, &processes))
				return;
			atomic_store(&c->trace->turn, ++c->at << 8);
		}
		atomic_store(&c->trace->owner, (uint32_t)next);
		futex_wake(&c->trace->owner, 1u << next);
	}
}

static void clear_zone(struct context *c)
{
	munmap(c->zone - MARGIN, (size_t)(WINDOW_PAGES * PAGE + 2 * MARGIN));
	for (uint32_t i = 0; i < desk->nelsewhere; i++)
		munmap(desk->elsewhere[i].addr, desk->elsewhere[i].len);
	desk->nelsewhere = 0;
}

static void run_on_kernel(struct context *c)
{
	run_note(c, RECORD_CALL, 0);
	play(c);
	clear_zone(c);
	run_note(c, RECORD_CALL, 0);
}

/* ---- A soft side ---- */

static int space_fork(struct context *c, int child)
{
	int n = guest_fork(c->me, child);

	contexts[child] = *c;
	contexts[child].me = child;
	return n;
}

static void space_end(struct context *c, int child)
{
	(void)c;
	if (guest_destroy(child))
		abort();
}

static const struct family_calls soft_processes = {.fork = space_fork, .end = space_end};

static void play_all(void)
{
	struct context *c = &contexts[0];

	for (uint32_t at = 0;; at++) {
		c->at = at;
		c = &contexts[family_actor(c)];
		c->at = at;
		atomic_store(&c->trace->turn, at << 8);
		guest_enter(c->me);
		if (!family_act(c, &soft_processes))
			return;
	}
}

static void run_on_soft(struct context *c)
{
	int n = guest_create(&desk->soft);

	run_note(c, RECORD_CALL, n)->err = n ? errno : 0;
	if (!n)
		play_all();
	for (int p = PROCESSES - 1; p >= 0; p--)
		n = guest_destroy(p) ? -1 : n;
	run_note(c, RECORD_CALL, n ? n : (int64_t)guest_remains());
}

/* ---- The process of a side ---- */

static char *zone_for(const struct soft_kind *k)
{
	uintptr_t at = !k->page_size ? ZONE_BASE : k->address_bits == 57 ? ZONE_57 : k->address_bits < 47 ? ZONE_BASE_32 : ZONE_BASE;

	return (char *)at + MARGIN;
}

static void clear_trace(struct trace *t)
{
	t->n = 0;
	atomic_store(&t->turn, 0);
	atomic_store(&t->owner, 0);
	atomic_store(&t->broken, 0);
	atomic_store(&t->alive, 1);
}

static void run_once(struct context *c)
{
	clear_trace(&desk->trace);
	c->me = 0;
	c->at = 0;
	c->ops = desk->ops;
	c->n = desk->n;
	c->absolute = desk->absolute;
	c->borders = desk->borders;
	kept_files_set_one_open(c, desk->one_open);
	c->page_tables = desk->options.budget >= NO_RECLAIM;
	c->page = desk->soft.page_size;
	c->zone = zone_for(&desk->soft);
	c->dontfork = false;
	memset(c->slots, 0, sizeof c->slots);
	if (c->backend->soft)
		run_on_soft(c);
	else
		run_on_kernel(c);
	c->at = c->n;
	kept_files_check(c);
	run_note(c, RECORD_END, 0);
}

/* The engine goes on with its budget from list to list. */
static void restart_engine(const struct backend *b)
{
	static struct backend_options now;

	if (now.budget == desk->options.budget)
		return;
	if (now.budget && b->stop())
		abort();
	now = desk->options;
	if (b->start(&now)) {
		perror("diff: the implementation does not start");
		_exit(97);
	}
}

static _Noreturn void serve(const struct backend *b, const char *directory)
{
	struct context *c = &contexts[0];

	if (chdir(directory))
		abort();
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (!b->soft)
		access_install_handlers(&desk->trace, 1, true);
	*c = (struct context){.backend = b, .alone = true, .kept = true, .trace = &desk->trace, .scratch = &desk->scratch};
	if (!b->soft) {
		c->elsewhere = desk->elsewhere;
		c->nelsewhere = &desk->nelsewhere;
		c->sealed = &desk->retires;
	}
	kept_files_make(c);
	for (;;) {
		uint32_t done = atomic_load(&desk->done);

		while (atomic_load(&desk->asked) == done)
			futex_wait(&desk->asked, done, NULL, ~0u);
		restart_engine(b);
		if (desk->again)
			run_once(c);
		run_once(c);
		atomic_store(&desk->done, done + 1);
		futex_wake(&desk->done, ~0u);
		if (desk->retires)
			_exit(0);
	}
}

/* ---- Who starts it ---- */

static void keeper_start(struct keeper *k, const struct comparison *c, const struct backend *b, const char *name)
{
	if (!k->desk) {
		k->desk = mmap(NULL, sizeof *k->desk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (k->desk == MAP_FAILED)
			abort();
	}
	k->side.backend = b;
	snprintf(k->side.directory, sizeof k->side.directory, "%s/diff-%d-%s", c->directory, (int)getpid(), name);
	mkdir(k->side.directory, 0700);
	atomic_store(&k->desk->asked, 0);
	atomic_store(&k->desk->done, 0);
	k->desk->nelsewhere = 0;
	k->desk->retires = false;
	fflush(NULL);
	k->side.pid = fork();
	if (k->side.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		desk = k->desk;
		serve(b, k->side.directory);
	}
	setpgid(k->side.pid, k->side.pid);
	k->runs = true;
}

static void keeper_stop(struct keeper *k)
{
	if (!k->runs)
		return;
	kill(-k->side.pid, SIGKILL);
	waitpid(k->side.pid, NULL, 0);
	k->runs = false;
}

static void keeper_ask(struct keeper *k, const struct comparison *c, const struct list *l, bool again)
{
	struct desk *d = k->desk;

	if (l->n > OPS_MAX)
		abort();
	d->options = c->options;
	d->soft = l->soft;
	d->absolute = c->twice;
	d->borders = c->borders;
	d->one_open = c->one_open;
	d->again = again;
	d->n = (uint32_t)l->n;
	memcpy(d->ops, l->ops, l->n * sizeof *l->ops);
	clear_trace(&d->trace);
	k->side.traces = &d->trace;
	k->side.status = 0;
	k->side.ended = k->side.hung = false;
	atomic_fetch_add(&d->asked, 1);
	futex_wake(&d->asked, ~0u);
}

static bool is_done(const struct keeper *k)
{
	return atomic_load(&k->desk->done) == atomic_load(&k->desk->asked);
}

static struct timespec in_a_moment(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += 20000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static void keeper_await(struct keeper *k, time_t end)
{
	while (!is_done(k)) {
		struct timespec most = in_a_moment();
		uint32_t seen = atomic_load(&k->desk->done);

		if (!is_done(k))
			futex_wait(&k->desk->done, seen, &most, ~0u);
		if (is_done(k))
			break;
		if (waitpid(k->side.pid, &k->side.status, WNOHANG) == k->side.pid) {
			k->side.ended = true;
			kill(-k->side.pid, SIGKILL);
			k->runs = false;
			return;
		}
		if (most.tv_sec > end) {
			k->side.hung = true;
			return keeper_stop(k);
		}
	}
	if (k->desk->retires)
		keeper_stop(k);
}

void kept_run(const struct comparison *c, const struct list *l, struct side *judge, struct side *tested)
{
	const struct backend *backends[] = {c->judge, c->tested};
	time_t end = in_a_moment().tv_sec + c->timeout;

	for (int i = 0; i < 2; i++) {
		if (keepers[i].runs && keepers[i].side.backend != backends[i])
			keeper_stop(&keepers[i]);
		if (!keepers[i].runs)
			keeper_start(&keepers[i], c, backends[i], i ? "tested" : "judge");
		keeper_ask(&keepers[i], c, l, c->twice && i);
	}
	keeper_await(&keepers[0], end);
	keeper_await(&keepers[1], end);
	*judge = keepers[0].side;
	*tested = keepers[1].side;
}

void kept_renew(void)
{
	keeper_stop(&keepers[0]);
	keeper_stop(&keepers[1]);
}

void kept_end(void)
{
	for (int i = 0; i < 2; i++) {
		keeper_stop(&keepers[i]);
		if (keepers[i].desk)
			side_remove_files(keepers[i].side.directory);
	}
}
