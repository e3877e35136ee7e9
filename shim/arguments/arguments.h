/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program is started with, as far as it lies in mappings of ours: pinned for the call. It is read by the kernel, or by a child that
 * libc makes on our memory with all signals blocked, and neither can fault it in.
 */
#ifndef FL_SHIM_ARGUMENTS_H
#define FL_SHIM_ARGUMENTS_H

#include <spawn.h>
#include <stddef.h>

#include "base/mapped.h"
#include "held.h"

struct arguments {
	const char *path;
	char *const *vectors[3]; /* of strings, NULL at the end: the arguments, their environment, the caller's own */
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attributes;
};

struct arguments_held {
	struct held *held;
	size_t n, size;    /* bytes of memory for them */
	const void *frame; /* from which they are held */
};

void arguments_hold_slowly(const struct arguments *a, struct arguments_held *h);
void arguments_release_slowly(struct arguments_held *h);
/*
 * Of the file actions, from number *i on, the next that opens a file with O_TRUNC or goes to another directory; false: there is none. *i becomes the number
 * of the one behind it. They can be read: they are held, or need not be.
 */
struct arguments_action {
	const char *path; /* NULL: to the directory of the descriptor */
	int fd;
	bool cuts; /* else the path is a directory's */
};
bool arguments_next_action(const struct arguments *a, int *i, struct arguments_action *next);
/* Nothing that the parent holds is held. */
void arguments_fork_child(void);

/* What cannot be pinned or read is left alone. Keeps errno. */
static inline void arguments_hold(const struct arguments *a, struct arguments_held *h)
{
	h->n = 0;
	if (!NOTHING_MAPPED)
		arguments_hold_slowly(a, h);
}

static inline void arguments_release(struct arguments_held *h)
{
	if (unlikely(h->n))
		arguments_release_slowly(h);
}

/* Whether what failed with EFAULT can be tried again, asked while it is held; see held_again(). */
static inline bool arguments_again(struct again *again, const struct arguments_held *h)
{
	return unlikely(h->n) && held_again(again, h->held, h->n);
}

#endif
