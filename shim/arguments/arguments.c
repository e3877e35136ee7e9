/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many there are is counted first, so that all that is held is known by address and length when it is released, in memory that no
 * allocator of the program's gives: a child of vfork(2), or a handler of signals, may be who starts a program.
 */
#include "arguments.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "base/peek.h"
#include "base/real.h"
#include "process/process.h"
#include "util/own.h"
#include "util/sys.h"

#define STRING_MAX (32 * 4096) /* of one argument: the kernel's */

/*
 * What a child of vfork(2) held that has become another program, on the memory of its parent. The thread that was suspended until then
 * releases it the next time.
 */
static _Thread_local struct arguments_held left __attribute__((tls_model("initial-exec")));

/* An action of posix_spawn_file_actions_t, as glibc has it; the others have no path. */
enum { ACTION_OPEN = 2, ACTION_CHDIR = 3, ACTION_FCHDIR = 4 };
struct action {
	int tag;
	union {
		struct {
			int fd;
			const char *path;
			int flags;
			mode_t mode;
		} open;
		const char *directory;
		int directory_fd;
	};
};

struct list {
	struct held *held;
	size_t n, room; /* n goes on where there is no room */
};

static void add(struct list *l, const void *at, size_t len)
{
	if (!at || !len || !file_io_is_ours(at, len))
		return;
	if (l->n < l->room)
		l->held[l->n] = (struct held)READS(at, len);
	l->n++;
}

/* With its end, or as far as it can be read. */
static size_t string_bytes(const char *s, size_t limit)
{
	size_t done = 0, room, n;

	while (done < limit && can_peek(s + done, 1)) {
		room = FL_PAGE_SIZE - ((uintptr_t)(s + done) & FL_PAGE_MASK);
		n = strnlen(s + done, room);
		if (n < room)
			return done + n + 1;
		done += room;
	}
	return done;
}

static void add_string(struct list *l, const char *s, size_t limit)
{
	if (s && file_io_is_ours(s, 1))
		add(l, s, string_bytes(s, limit));
}

static void add_vector(struct list *l, char *const *v)
{
	size_t n;

	for (n = 0; can_peek(v + n, sizeof *v) && v[n]; n++)
		add_string(l, v[n], STRING_MAX);
	if (!can_peek(v + n, sizeof *v)) /* the kernel's to refuse */
		return;
	add(l, v, (n + 1) * sizeof *v);
}

static void add_actions(struct list *l, const posix_spawn_file_actions_t *actions)
{
	const struct action *action = (const struct action *)actions->__actions;

	add(l, actions, sizeof *actions);
	add(l, action, (size_t)actions->__used * sizeof *action);
	for (int i = 0; i < actions->__used; i++)
		if (action[i].tag == ACTION_OPEN)
			add_string(l, action[i].open.path, PATH_MAX);
		else if (action[i].tag == ACTION_CHDIR)
			add_string(l, action[i].directory, PATH_MAX);
}

static void add_all(struct list *l, const struct arguments *a)
{
	l->n = 0;
	add_string(l, a->path, PATH_MAX);
	for (size_t i = 0; i < sizeof a->vectors / sizeof *a->vectors; i++)
		add_vector(l, a->vectors[i]);
	if (a->actions)
		add_actions(l, a->actions);
	add(l, a->attributes, sizeof *a->attributes);
}

static void let_go(struct arguments_held *h)
{
	release_from(h->frame, h->held, h->n);
	sys_munmap(h->held, h->size);
	h->n = 0;
}

void arguments_hold_slowly(const struct arguments *a, struct arguments_held *h)
{
	struct list l = {NULL, 0, 0};

	if (left.n)
		let_go(&left);
	add_all(&l, a);
	if (!l.n)
		return;
	h->size = l.n * sizeof *l.held;
	h->held = own_reserve(h->size);
	if (sys_is_err(h->held))
		return;
	l = (struct list){.held = h->held, .room = l.n};
	add_all(&l, a); /* another thread may have changed what there is: the rest has no length, or no room */
	h->n = l.room;
	h->frame = h;
	hold_from(h->frame, h->held, h->n);
	if (!process_is_own())
		left = *h;
}

void arguments_release_slowly(struct arguments_held *h)
{
	let_go(h);
	if (!process_is_own())
		left.n = 0;
}

static bool take_action(const struct action *from, struct arguments_action *to)
{
	*to = (struct arguments_action){.fd = -1};
	if (from->tag == ACTION_OPEN) {
		to->path = from->open.path;
		to->cuts = from->open.flags & O_TRUNC;
	} else if (from->tag == ACTION_CHDIR) {
		to->path = from->directory;
	} else if (from->tag == ACTION_FCHDIR) {
		to->fd = from->directory_fd;
	}
	return to->cuts || from->tag == ACTION_CHDIR || from->tag == ACTION_FCHDIR;
}

bool arguments_next_action(const struct arguments *a, int *i, struct arguments_action *next)
{
	const struct action *actions = a->actions ? (const struct action *)a->actions->__actions : NULL;

	while (actions && *i < a->actions->__used)
		if (take_action(&actions[(*i)++], next))
			return true;
	return false;
}

void arguments_fork_child(void)
{
	left.n = 0;
}
