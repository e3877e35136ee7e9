/* SPDX-License-Identifier: Apache-2.0 */
/* Programs started by a child that libc makes (vfork(2)): in between it runs on our memory, and faults of its own are not served. */
#include "arguments.h"
#include "real.h"

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

/* libc stores the child's id with all signals blocked. */
static int spawn(spawn_fn fn, pid_t *pid, const struct arguments *a)
{
	struct arguments_held held;
	struct again again = {0};
	pid_t child;
	int err;
	bool more;

	do {
		again.moves = file_io_moves();
		arguments_hold(a, &held);
		err = fn(&child, a->path, a->actions, a->attributes, a->vectors[0], a->vectors[1]);
		more = err == EFAULT && arguments_again(&again, &held);
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
