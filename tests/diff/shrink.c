/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta debugging: takes away halves, quarters, ... single operations while the difference stays, then makes
 * arguments simpler. Every attempt is a run of its own. With threads a difference may not show each time, so an
 * attempt has several goes.
 */
#include "compare.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HANG_SECONDS 2
#define SHRINK_SECONDS 120
#define GOES_MAX 4

struct shrinker {
	struct comparison c;
	struct list best;
	struct difference wanted;
	int goes;   /* of each attempt */
	time_t end; /* then what there is is good enough */
};

static bool still_fails(struct shrinker *s, const struct list *l)
{
	for (int i = 0; i < s->goes && time(NULL) < s->end; i++) {
		struct difference d = compare(&s->c, l);

		if (d.kind != SAME && same_defect(&d, &s->wanted))
			return true;
	}
	return false;
}

/* Takes the list over when it still fails. */
static bool try_list(struct shrinker *s, struct list l)
{
	if (!still_fails(s, &l)) {
		list_free(&l);
		return false;
	}
	list_free(&s->best);
	s->best = l;
	return true;
}

static struct list without(const struct list *l, size_t from, size_t n)
{
	struct list c = list_copy(l);

	memmove(c.ops + from, c.ops + from + n, (c.n - from - n) * sizeof *c.ops);
	c.n -= n;
	return c;
}

static bool remove_pieces(struct shrinker *s, size_t piece)
{
	bool any = false;

	for (size_t end = s->best.n; end > 0;) {
		size_t n = piece < end ? piece : end;

		if (try_list(s, without(&s->best, end - n, n)))
			any = true;
		end -= n;
	}
	return any;
}

static void remove_operations(struct shrinker *s)
{
	for (size_t piece = (s->best.n + 1) / 2; piece; piece /= 2)
		remove_pieces(s, piece);
	while (remove_pieces(s, 1))
		;
}

/* One thread's operations alone, as thread 0. */
static void keep_one_thread(struct shrinker *s)
{
	for (int t = 0; t < s->best.threads && s->best.threads > 1; t++) {
		struct list l = list_copy(&s->best);

		l.n = 0;
		l.threads = 1;
		for (size_t i = 0; i < s->best.n; i++)
			if (s->best.ops[i].thread == t) {
				l.ops[l.n] = s->best.ops[i];
				l.ops[l.n++].thread = 0;
			}
		try_list(s, l);
	}
}

/* All of a thread's operations at once. */
static void remove_threads(struct shrinker *s)
{
	for (int t = s->best.threads - 1; t >= 0 && s->best.threads > 1; t--) {
		struct list l = list_copy(&s->best);

		l.n = 0;
		for (size_t i = 0; i < s->best.n; i++)
			if (s->best.ops[i].thread != t)
				l.ops[l.n++] = s->best.ops[i];
		try_list(s, l);
	}
}

/* One go is enough for what shows each time. */
static int goes_needed(struct shrinker *s)
{
	int failed = 0;

	s->goes = 1;
	for (int i = 0; i < GOES_MAX && s->best.threads > 1; i++)
		failed += still_fails(s, &s->best);
	return s->best.threads == 1 || failed == GOES_MAX ? 1 : GOES_MAX;
}

static bool try_argument(struct shrinker *s, size_t op, int arg, int64_t value)
{
	struct list l;

	if (s->best.ops[op].arg[arg] == value)
		return false;
	l = list_copy(&s->best);
	l.ops[op].arg[arg] = value;
	return try_list(s, l);
}

static void simplify_argument(struct shrinker *s, size_t op, int arg)
{
	int64_t value = s->best.ops[op].arg[arg];

	switch (op_types[s->best.ops[op].code].kind[arg]) {
	case ARG_ADDR:
		if (!try_argument(s, op, arg, addr_make(addr_base(value), 0)))
			try_argument(s, op, arg, value & -PAGE);
		break;
	case ARG_LEN:
		if (!try_argument(s, op, arg, PAGE) && !try_argument(s, op, arg, 2 * PAGE))
			try_argument(s, op, arg, (value + PAGE - 1) & -PAGE);
		break;
	case ARG_OFF:
		if (!try_argument(s, op, arg, 0) && !try_argument(s, op, arg, PAGE))
			try_argument(s, op, arg, value & -PAGE);
		break;
	case ARG_PROT:
		try_argument(s, op, arg, 3);
		break;
	case ARG_SLOT:
	case ARG_FD:
		try_argument(s, op, arg, 0);
		break;
	case ARG_NUMBER:
		if (s->best.ops[op].code != OP_MREMAP && s->best.ops[op].code != OP_MADVISE)
			try_argument(s, op, arg, 1);
		break;
	default:
		break;
	}
}

static void simplify_process(struct shrinker *s, size_t op)
{
	struct list l;

	if (!s->best.ops[op].process)
		return;
	l = list_copy(&s->best);
	l.ops[op].process = 0;
	try_list(s, l);
}

static void simplify(struct shrinker *s)
{
	for (size_t i = s->best.n; i-- > 0;) {
		simplify_process(s, i);
		for (int a = 0; a < OP_ARGS; a++)
			simplify_argument(s, i, a);
	}
}

struct list shrink(const struct comparison *c, const struct list *l, const struct difference *d)
{
	struct shrinker s = {.c = *c, .best = list_copy(l), .wanted = *d, .end = time(NULL) + SHRINK_SECONDS};

	if (d->kind == HUNG) /* the wait is most of what an attempt takes */
		s.c.timeout = HANG_SECONDS;
	s.goes = goes_needed(&s);
	keep_one_thread(&s);
	remove_threads(&s);
	remove_operations(&s);
	simplify(&s);
	remove_operations(&s);
	return s.best;
}
