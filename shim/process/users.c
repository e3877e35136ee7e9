/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls after which the process could not reach its host, since it is another user, or elsewhere: a child of fork(2) that has put off
 * connecting does so before. (A child of vfork(2) runs on its parent's memory, and leaves the parent's channel alone.)
 */
#include "users.h"

#include <errno.h>
#include <unistd.h>

#include "api/engine.h"
#include "arguments/paths.h"
#include "base/real.h"
#include "host/channel.h"
#include "process.h"

void users_change(void)
{
	int saved = errno;

	if (!channel_is_kept() && process_is_own())
		engine_keep_host();
	errno = saved;
}

static void pause_threads(bool all)
{
	int saved = errno;

	if (process_is_own() && engine_started())
		engine_threads_pause(all);
	errno = saved;
}

void users_pause(void)
{
	pause_threads(false);
}

long users_go_on(long result)
{
	int saved = errno;

	if (process_is_own() && engine_started())
		engine_threads_go_on();
	errno = saved;
	return result;
}

#define WRAPPER_PAUSED(name, parameters, arguments)            \
	WRAPPER int name parameters                            \
	{                                                      \
		users_pause();                                 \
		return (int)users_go_on(REAL(name) arguments); \
	}

#define WRAPPER_BEFORE(name, parameters, arguments)            \
	WRAPPER int name parameters                            \
	{                                                      \
		users_change();                                \
		users_pause();                                 \
		return (int)users_go_on(REAL(name) arguments); \
	}

WRAPPER_BEFORE(setuid, (uid_t user), (user))
WRAPPER_BEFORE(seteuid, (uid_t user), (user))
WRAPPER_BEFORE(setreuid, (uid_t real, uid_t effective), (real, effective))
WRAPPER_BEFORE(setresuid, (uid_t real, uid_t effective, uid_t kept), (real, effective, kept))
WRAPPER_PAUSED(setgid, (gid_t group), (group))
WRAPPER_PAUSED(setegid, (gid_t group), (group))
WRAPPER_PAUSED(setregid, (gid_t real, gid_t effective), (real, effective))
WRAPPER_PAUSED(setresgid, (gid_t real, gid_t effective, gid_t kept), (real, effective, kept))

/* Refused to a process with two threads, some of what they do. They look at no memory. */
#define WRAPPER_ALONE(name, parameters, arguments)             \
	WRAPPER int name parameters                            \
	{                                                      \
		users_change();                                \
		pause_threads(true);                           \
		return (int)users_go_on(REAL(name) arguments); \
	}

WRAPPER_ALONE(unshare, (int flags), (flags))
WRAPPER_ALONE(setns, (int fd, int type), (fd, type))

WRAPPER int chroot(const char *path)
{
	users_change();
	RETURN_HOLDING(path, REAL(chroot)(path));
}
