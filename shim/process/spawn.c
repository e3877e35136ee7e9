/* SPDX-License-Identifier: Apache-2.0 */
/* Programs started by a child that libc makes (vfork(2)): in between it runs on our memory, and faults of its own are not served. */
#include <errno.h>

#include "arguments/arguments.h"
#include "base/real.h"
#include "files/coherent.h"
#include "process.h"
#include "util/sys.h"

/*
 * ---- Files that the child opens with O_TRUNC (posix_spawn_file_actions_addopen(3)) ----
 *
 * It is not known whether it comes that far, nor how long it takes, as it may open a FIFO before: so nothing is kept off meanwhile. What was stored is written
 * before, so that little is written back in between; after, the file is looked at as after a change of all of it.
 */

#define CUTS 8 /* the rest is as cut by a process that is not of the run */

struct cuts {
	struct address_space *files[CUTS];
	size_t n;
};

static void add_cut(struct cuts *c, int dir, const char *path)
{
	struct address_space *as;
	struct stat st;

	if (c->n == CUTS || REAL(fstatat)(dir, path, &st, 0) || !(as = file_io_find(&st)))
		return;
	file_io_sync(as, 0, UINT64_MAX);
	c->files[c->n++] = as;
}

/* A directory that cannot be opened is where the child ends. */
static void find_cuts(struct cuts *c, const struct arguments *a)
{
	int dir = AT_FDCWD, opened = -1, saved = errno;
	struct arguments_action action;

	for (int i = 0; arguments_next_action(a, &i, &action);) {
		if (action.cuts) {
			add_cut(c, dir, action.path);
			continue;
		}
		dir = action.path ? sys_openat(dir, action.path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : action.fd;
		if (opened >= 0)
			sys_close(opened);
		opened = action.path ? dir : -1;
		if (dir < 0)
			break;
	}
	if (opened >= 0)
		sys_close(opened);
	errno = saved;
}

static long done_already(const void *call)
{
	(void)call;
	return 0;
}

static void tell_cuts(const struct cuts *c, bool done)
{
	int saved = errno;

	for (size_t i = 0; i < c->n; i++) {
		coherent_change(c->files[i], 0, done ? INT64_MAX : 0, done_already, NULL);
		file_io_put(c->files[i]);
	}
	errno = saved;
}

/* ---- posix_spawn ---- */

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

/* libc stores the child's id with all signals blocked. */
static int spawn(spawn_fn fn, pid_t *pid, const struct arguments *a)
{
	struct arguments_held held;
	struct again again = {0};
	struct cuts cuts;
	pid_t child;
	int err;
	bool more;

	do {
		again.moves = file_io_moves();
		arguments_hold(a, &held);
		cuts.n = 0;
		if (!NOTHING_MAPPED && process_is_own())
			find_cuts(&cuts, a);
		err = fn(&child, a->path, a->actions, a->attributes, a->vectors[0], a->vectors[1]);
		more = err == EFAULT && arguments_again(&again, &held);
		tell_cuts(&cuts, !err);
		arguments_release(&held);
	} while (more);
	if (!err && pid)
		*pid = child;
	return err;
}

WRAPPER int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
			char *const argv[], char *const envp[])
{
	struct arguments a = {path, {argv, envp, environ}, actions, attributes};

	return spawn(REAL(posix_spawn), pid, &a);
}

/* The child looks for PATH in the environment of the caller. */
WRAPPER int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
			 char *const argv[], char *const envp[])
{
	struct arguments a = {file, {argv, envp, environ}, actions, attributes};

	return spawn(REAL(posix_spawnp), pid, &a);
}

/* ---- Commands for the shell ---- */

static void release_held(void *h)
{
	arguments_release(h);
}

/* Cancelled, it ends the shell. */
WRAPPER int system(const char *command)
{
	char *const argv[] = {(char *)command, NULL};
	struct arguments a = {.vectors = {argv, environ}};
	struct arguments_held held;
	int result;

	arguments_hold(&a, &held);
	pthread_cleanup_push(release_held, &held);
	result = REAL(system)(command);
	pthread_cleanup_pop(1);
	return result;
}

WRAPPER FILE *popen(const char *command, const char *mode)
{
	char *const argv[] = {(char *)command, NULL};
	struct arguments a = {.vectors = {argv, environ}};
	struct arguments_held held;
	FILE *result;

	arguments_hold(&a, &held);
	result = REAL(popen)(command, mode);
	arguments_release(&held);
	return result;
}
