/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that goes wrong on demand: it counts calls and fails, shortens or delays the n-th. Tests set rules by hand
 * or through FAULTLINE_INJECT; without rules nothing is wrapped.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "util/compiler.h"

#define RULES_MAX 8

enum op { OP_READ, OP_WRITE, OP_SYNC, OPS };
enum action { ACT_ERROR, ACT_SHORT, ACT_DELAY };

struct rule {
	enum op op;
	enum action action;
	int error;      /* ACT_ERROR: positive errno */
	unsigned delay; /* ACT_DELAY: milliseconds */
	uint64_t first; /* 1 is the first call */
	uint64_t count; /* 0: for ever */
};

struct fault_store {
	struct store store;
	struct arena *arena;
	struct store *inner;
};

static struct rule rules[RULES_MAX];
static int nrules;
static _Atomic uint64_t calls[OPS];

static int parse_op(const char *s, enum op *op)
{
	static const char *const names[OPS] = {"read", "write", "sync"};

	for (int i = 0; i < OPS; i++)
		if (!strcmp(s, names[i])) {
			*op = (enum op)i;
			return 0;
		}
	return -EINVAL;
}

static int parse_action(const char *s, struct rule *r)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {{"eio", EIO}, {"enospc", ENOSPC}, {"eintr", EINTR}, {"enomem", ENOMEM}, {"edquot", EDQUOT}};

	if (!strcmp(s, "short")) {
		r->action = ACT_SHORT;
		return 0;
	}
	if (sscanf(s, "delay=%u", &r->delay) == 1) {
		r->action = ACT_DELAY;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (!strcmp(s, errors[i].name)) {
			r->action = ACT_ERROR;
			r->error = errors[i].error;
			return 0;
		}
	return -EINVAL;
}

static int parse_rule(const char *s, struct rule *r)
{
	char op[8], action[16];
	unsigned long long first, count = 1;
	int n = sscanf(s, "%7[^:]:%15[^:]:%llu:%llu", op, action, &first, &count);

	if (n < 3 || first == 0 || parse_op(op, &r->op) || parse_action(action, r))
		return -EINVAL;
	r->first = first;
	r->count = count;
	return 0;
}

int fault_store_set_rules(const char *spec)
{
	char copy[256], *save = NULL;
	int n = 0;

	nrules = 0;
	for (int i = 0; i < OPS; i++)
		atomic_store(&calls[i], 0);
	if (!spec || !*spec)
		return 0;
	snprintf(copy, sizeof copy, "%s", spec);
	for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		if (n == RULES_MAX || parse_rule(s, &rules[n]))
			return -EINVAL;
		n++;
	}
	nrules = n;
	return 0;
}

/* Counts the call; the rule that hits it, if any. Delays are served here. */
static const struct rule *next_call(enum op op)
{
	uint64_t n = atomic_fetch_add(&calls[op], 1) + 1;
	const struct rule *hit = NULL;

	for (int i = 0; i < nrules; i++) {
		const struct rule *r = &rules[i];

		if (r->op != op || n < r->first || (r->count && n >= r->first + r->count))
			continue;
		if (r->action == ACT_DELAY)
			sys_nanosleep(r->delay * 1000000ull);
		else
			hit = r;
	}
	return hit;
}

static struct store *inner_of(struct store *s)
{
	return container_of(s, struct fault_store, store)->inner;
}

/* A short read in the middle of a file is what a file that shrinks under us looks like. */
static ssize_t fault_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	const struct rule *r = next_call(OP_READ);
	struct store *in = inner_of(s);

	if (r && r->action == ACT_ERROR)
		return -r->error;
	return in->ops->read(in, buf, r ? len / 2 : len, off);
}

static void fault_expect(struct store *s, uint64_t off, uint64_t len)
{
	struct store *in = inner_of(s);

	if (in->ops->expect)
		in->ops->expect(in, off, len);
}

/* A short write leaves half of the bytes behind and fails, as a disk that fills up does. */
static int fault_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	const struct rule *r = next_call(OP_WRITE);
	struct store *in = inner_of(s);

	if (r && r->action == ACT_ERROR)
		return -r->error;
	if (!r)
		return in->ops->write(in, buf, len, off);
	in->ops->write(in, buf, len / 2, off);
	return -ENOSPC;
}

static int fault_sync(struct store *s)
{
	const struct rule *r = next_call(OP_SYNC);

	return r ? -(r->error ? r->error : EIO) : inner_of(s)->ops->sync(inner_of(s));
}

static int fault_size(struct store *s, uint64_t *size)
{
	return inner_of(s)->ops->size(inner_of(s), size);
}

static void fault_discard(struct store *s, uint64_t off, uint64_t len)
{
	inner_of(s)->ops->discard(inner_of(s), off, len);
}

static ssize_t fault_peek(struct store *s, void *buf, size_t len, uint64_t off)
{
	return inner_of(s)->ops->peek(inner_of(s), buf, len, off);
}

static void fault_close(struct store *s)
{
	struct fault_store *f = container_of(s, struct fault_store, store);

	f->inner->ops->close(f->inner);
	arena_free(f->arena, f, sizeof *f);
}

static const struct store_ops fault_ops = {
	.name = "fault",
	.read = fault_read,
	.expect = fault_expect,
	.write = fault_write,
	.size = fault_size,
	.sync = fault_sync,
	.discard = fault_discard,
	.peek = fault_peek,
	.close = fault_close,
};

int fault_store_wrap(struct arena *arena, struct store *inner, struct store **out)
{
	struct fault_store *f;

	*out = inner;
	if (!nrules)
		return 0;
	f = arena_alloc(arena, sizeof *f);
	if (!f)
		return -ENOMEM;
	*f = (struct fault_store){.store = {.ops = &fault_ops, .writable = inner->writable}, .arena = arena, .inner = inner};
	*out = &f->store;
	return 0;
}

struct store *fault_store_inner(struct store *s)
{
	return s->ops == &fault_ops ? inner_of(s) : s;
}
