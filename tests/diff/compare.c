/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a list on both implementations at the same time, each with files of its own, and compares the traces. */
#include "compare.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kept.h"
#include "run.h"

#define BUDGET_WITH_LOCKS (4 << 20)
#define BUDGET_WITH_ALL_LOCKED (32 << 20)
#define AMPLE_BUDGET (64 << 20)

/* ---- Running ---- */

static bool locks(const struct op *o)
{
	return o->code == OP_MLOCK || (o->code == OP_MMAP && (o->arg[4] & MAP_LOCKED));
}

/* Locks take from the budget, and a list's must fit: enough for them, and not so much that nothing is reclaimed. */
static uint64_t budget_for(const struct list *l, uint64_t budget)
{
	for (size_t i = 0; i < l->n; i++) {
		uint64_t least = l->ops[i].code == OP_MLOCKALL ? BUDGET_WITH_ALL_LOCKED : locks(&l->ops[i]) ? BUDGET_WITH_LOCKS : 0;

		budget = budget < least ? least : budget;
	}
	return budget;
}

static void side_start(struct side *s, const struct comparison *c, const struct list *l, const char *name)
{
	struct run_request rq = {.backend = s->backend,
				 .list = l,
				 .options = c->options,
				 .directory = s->directory,
				 .borders = c->borders,
				 .one_open = c->one_open};

	int fd;

	rq.options.budget = budget_for(l, c->options.budget);
	snprintf(s->directory, sizeof s->directory, "%s/diff-%d-%s", c->directory, (int)getpid(), name);
	mkdir(s->directory, 0700);
	s->traces = under_traces(l->threads, &fd);
	rq.traces = s->traces;
	fflush(NULL);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		if (c->under && s->backend == &shim_backend)
			under_exec(c, &rq, fd);
		run_child(&rq);
	}
	close(fd);
	setpgid(s->pid, s->pid);
}

static void side_poll(struct side *s)
{
	if (!s->ended && waitpid(s->pid, &s->status, WNOHANG) == s->pid)
		s->ended = true;
}

static void side_kill(struct side *s)
{
	s->hung = !s->ended;
	kill(-s->pid, SIGKILL);
	if (!s->ended)
		waitpid(s->pid, &s->status, 0);
}

void side_remove_files(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(path);
}

static void side_free(struct side *s, int threads)
{
	munmap(s->traces, sizeof *s->traces * (size_t)threads);
	side_remove_files(s->directory);
}

static void wait_for_both(struct side *a, struct side *b, int timeout)
{
	const struct timespec a_moment = {.tv_nsec = 1000000};
	struct timespec now, start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		nanosleep(&a_moment, NULL);
		side_poll(a);
		side_poll(b);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((!a->ended || !b->ended) && now.tv_sec - start.tv_sec < timeout);
	side_kill(a);
	side_kill(b);
}

/* ---- Comparing ---- */

static const struct op *op_of(const struct list *l, int thread, uint32_t n)
{
	static const struct op none = {.code = OP_CODES};

	for (size_t i = 0; i < l->n; i++)
		if (l->ops[i].thread == thread && n-- == 0)
			return &l->ops[i];
	return &none;
}

static bool same_record(const struct record *a, const struct record *b)
{
	return a->op == b->op && a->kind == b->kind && a->process == b->process && a->sig == b->sig && a->err == b->err &&
	       a->code == b->code && a->result == b->result && a->addr == b->addr && a->hash == b->hash;
}

static struct compared so_far;

struct compared compared_so_far(void)
{
	struct compared c = so_far;

	so_far = (struct compared){0};
	return c;
}

/* Operations of one thread that were compared: all, or up to one that was expected to differ. */
static void count(uint64_t operations, bool expected)
{
	so_far.operations += operations;
	so_far.expected += expected;
}

static uint64_t operations_of(const struct list *l, int thread)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->ops[i].thread == thread;
	return n;
}

static void compare_thread(const struct list *l, int thread, struct side *judge, struct side *tested, struct difference *d)
{
	const struct trace *a = &judge->traces[thread], *b = &tested->traces[thread];

	for (uint32_t i = 0; i < a->n || i < b->n; i++) {
		const struct record *x = &a->records[i], *y = &b->records[i];
		const struct op *o;

		if (i < a->n && i < b->n && same_record(x, y))
			continue;
		o = op_of(l, thread, i < a->n && x->op < y->op ? x->op : i < b->n ? y->op : x->op);
		if (i < a->n && i < b->n && expected_difference(o, x, y))
			return count(x->op, true);
		if (i >= b->n && (tested->hung || tested->status)) /* the records just end: a crash, told elsewhere */
			return;
		*d = (struct difference){.kind = DIFFERENT, .thread = thread, .op = x->op, .code = o->code, .judge = *x, .tested = *y};
		return;
	}
	count(operations_of(l, thread), false);
}

/* Where the tested side stopped. */
static void find_crash(const struct list *l, const struct side *s, struct difference *d)
{
	d->kind = s->hung ? HUNG : CRASHED;
	d->status = s->status;
	for (int i = 0; i < l->threads; i++) {
		const struct trace *t = &s->traces[i];

		if (t->n && t->records[t->n - 1].kind == RECORD_END)
			continue;
		d->thread = i;
		d->op = t->turn >> 8;
		d->code = op_of(l, i, d->op)->code;
		if (t->broken)
			d->tested.sig = (uint8_t)t->broken;
	}
}

static struct difference first_difference(const struct list *l, struct side *judge, struct side *tested)
{
	struct difference d = {.kind = SAME};

	for (int i = 0; i < l->threads && d.kind == SAME; i++)
		compare_thread(l, i, judge, tested, &d);
	if (d.kind == SAME && (tested->hung || tested->status))
		find_crash(l, tested, &d);
	else if (judge->hung || judge->status) {
		fprintf(stderr, "diff: the judge itself %s (status %#x)\n", judge->hung ? "hangs" : "crashes", (unsigned)judge->status);
		find_crash(l, judge, &d);
	}
	return d;
}

static struct difference compare_kept(const struct comparison *c, const struct list *l)
{
	struct side judge = {.backend = c->judge}, tested = {.backend = c->tested};
	struct comparison fits = *c;
	struct difference d;

	if (c->twice) /* pages may be large: what is locked of 1 MiB can leave so few that each access waits for others, and fails */
		fits.options.budget = budget_for(l, c->options.budget);
	kept_run(&fits, l, &judge, &tested);
	d = first_difference(l, &judge, &tested);
	if (d.kind != SAME) /* what is wrong with it now must not show in other lists */
		kept_renew();
	return d;
}

static struct difference compare_new(const struct comparison *c, const struct list *l)
{
	struct side judge = {.backend = c->judge}, tested = {.backend = c->tested};
	struct difference d;

	side_start(&judge, c, l, "judge");
	side_start(&tested, c, l, "tested");
	wait_for_both(&judge, &tested, c->timeout);
	d = first_difference(l, &judge, &tested);
	side_free(&judge, l->threads);
	side_free(&tested, l->threads);
	return d;
}

static struct difference compare_once(const struct comparison *c, const struct list *l)
{
	return c->kept ? compare_kept(c, l) : compare_new(c, l);
}

/* A difference that does not come then is expected. */
static struct difference compare_again(const struct comparison *c, const struct list *l, const struct difference *before)
{
	struct compared till_now = so_far;
	struct difference d = compare_once(c, l);

	so_far = till_now;
	if (d.kind == SAME)
		count(before->op, true);
	return d;
}

struct difference compare(const struct comparison *c, const struct list *l)
{
	struct difference d = compare_once(c, l);
	struct comparison other = *c;

	if (!c->one_open && may_be_of_two_opens(&d)) {
		other.one_open = true;
		return compare_again(&other, l, &d);
	}
	if (c->kept && c->options.budget < AMPLE_BUDGET && may_be_of_a_locked_stack(l, &d)) {
		other.options.budget = AMPLE_BUDGET;
		return compare_again(&other, l, &d);
	}
	return d;
}

bool same_defect(const struct difference *a, const struct difference *b)
{
	if (a->kind != b->kind || a->code != b->code)
		return false;
	return a->kind != DIFFERENT ||
	       (a->judge.kind == b->judge.kind && a->judge.err == b->judge.err && a->tested.err == b->tested.err &&
		a->judge.sig == b->judge.sig && a->tested.sig == b->tested.sig &&
		(a->judge.kind != RECORD_ACCESS || (a->judge.code == b->judge.code && a->tested.code == b->tested.code)));
}

/* ---- Telling ---- */

static void print_addr(FILE *f, int64_t a)
{
	int base = addr_base(a);

	if (base == BASE_ZONE)
		fprintf(f, "zone+%#llx", (long long)addr_off(a));
	else if (base >= BASE_SLOT && base < BASE_SLOT + SLOTS)
		fprintf(f, "slot%d+%#llx", base - BASE_SLOT, (long long)addr_off(a));
	else if (a == ADDR_ELSEWHERE)
		fprintf(f, "elsewhere");
	else
		fprintf(f, "%#llx", (unsigned long long)addr_off(a));
}

static void print_prot(FILE *f, int prot)
{
	fprintf(f, "%c%c%c%c", prot & PROT_READ ? 'r' : '-', prot & PROT_WRITE ? 'w' : '-', prot & PROT_EXEC ? 'x' : '-',
		prot & RANGE_SHARED ? 's' : 'p');
}

static void print_signal(FILE *f, const struct record *r)
{
	fprintf(f, "SIG%s, code %d, at ", sigabbrev_np(r->sig) ? sigabbrev_np(r->sig) : "(none)", r->code);
	print_addr(f, r->addr);
}

static void print_record(FILE *f, const char *name, const struct record *r)
{
	static const char *const kinds[] = {"call", "access", "mapped", "pages", "file", "skipped", "line", "end"};

	fprintf(f, "  %-10s op %u process %u: %s ", name, r->op, r->process, kinds[r->kind]);
	if (r->kind == RECORD_CALL && r->result == -1)
		fprintf(f, "-1 %s", strerrorname_np(r->err) ? strerrorname_np(r->err) : "?");
	else if (r->kind == RECORD_CALL)
		fprintf(f, "%#llx, bytes read hash to %016llx", (unsigned long long)r->result, (unsigned long long)r->hash);
	else if (r->kind == RECORD_LAYOUT || r->kind == RECORD_SWEEP) {
		print_addr(f, r->addr);
		fprintf(f, " length %#llx ", (unsigned long long)r->result);
	}
	if (r->kind == RECORD_LAYOUT) {
		print_prot(f, r->code);
		fprintf(f, ", name and offset %llx", (unsigned long long)r->hash);
	}
	if (r->kind == RECORD_SWEEP)
		fprintf(f, "hash %016llx, %d pages failed ", (unsigned long long)r->hash, r->err);
	if (r->kind == RECORD_ACCESS)
		fprintf(f, "value or hash %016llx, %lld bytes ", (unsigned long long)r->hash, (long long)r->result);
	if (r->kind == RECORD_LINE)
		fprintf(f, "%#llx..., hash %016llx", (unsigned long long)r->addr, (unsigned long long)r->hash);
	if (r->kind == RECORD_FILE)
		fprintf(f, "%lld: size %lld, hash %016llx", (long long)r->addr, (long long)r->result, (unsigned long long)r->hash);
	if (r->sig)
		print_signal(f, r);
	fputc('\n', f);
}

void difference_print(FILE *f, const struct comparison *c, const struct difference *d)
{
	static const char *const kinds[] = {"the same", "a difference", "a crash", "a hang"};

	fprintf(f, "%s in thread %d, operation %u (%s)", kinds[d->kind], d->thread, d->op,
		d->code < OP_CODES ? op_types[d->code].name : "checks at the end");
	if (d->kind == CRASHED)
		fprintf(f, ", status %#x, signal %u", (unsigned)d->status, d->tested.sig);
	fputc('\n', f);
	if (d->kind != DIFFERENT)
		return;
	print_record(f, c->judge->name, &d->judge);
	print_record(f, c->tested->name, &d->tested);
}
