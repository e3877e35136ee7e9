/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls after which the process could not reach its host, since it is another user, or elsewhere: a child of fork(2) that has put off
 * connecting does so before. (A child of vfork(2) runs on its parent's memory, and leaves the parent's channel alone.)
 */
#include "users.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/engine.h"
#include "arguments/paths.h"
#include "base/real.h"
#include "host/channel.h"
#include "process.h"
#include "util/sys.h"

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

/*
 * ---- Namespaces ----
 *
 * Some of them are refused to a process with two threads. Those that only its children will be in are not, and no thread can be made after that: so they come
 * for themselves, last, and the threads that there are stay. The calls look at no memory.
 */

#define UNSHARED_ALONE (CLONE_NEWUSER | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define UNSHARED_LAST (CLONE_NEWPID | CLONE_NEWTIME)
#define ENTERED_ALONE (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWTIME)
#define ENTERED_LAST CLONE_NEWPID

static int call_unshare(int fd, int flags)
{
	(void)fd;
	return REAL(unshare)(flags);
}

static int call_setns(int fd, int flags)
{
	return REAL(setns)(fd, flags);
}

static int paused(int (*call)(int fd, int flags), int fd, int flags, bool alone)
{
	pause_threads(alone);
	return (int)users_go_on(call(fd, flags));
}

static int in_steps(int (*call)(int fd, int flags), int fd, int flags, int alone, int last)
{
	int result;

	if (!(flags & last) || !(flags & alone))
		return paused(call, fd, flags, flags & alone);
	result = paused(call, fd, flags & ~last, true);
	return result ? result : paused(call, fd, flags & last, false);
}

WRAPPER int unshare(int flags)
{
	users_change();
	return in_steps(call_unshare, -1, flags, UNSHARED_ALONE, UNSHARED_LAST);
}

/* Which kind a namespace is of need not be said. */
WRAPPER int setns(int fd, int flags)
{
	users_change();
	if (!flags && sys_call(SYS_ioctl, fd, NS_GET_NSTYPE, 0, 0, 0, 0) != CLONE_NEWPID)
		return paused(call_setns, fd, flags, true);
	return in_steps(call_setns, fd, flags, ENTERED_ALONE, ENTERED_LAST);
}

WRAPPER int chroot(const char *path)
{
	users_change();
	RETURN_HOLDING(path, REAL(chroot)(path));
}
