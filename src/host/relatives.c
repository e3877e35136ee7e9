/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that its parent has left alone is no client between fork and exec, and until its preload library has connected; nor is one that has put it off.
 * Where it is the last of a run it must find its host all the same: so does each program that a shell starts with `&` before it ends.
 *
 * They are known by their first environment (proc_pid_environ(5)), which exec makes anew: for a moment there is none. Any process of the machine can be in that
 * moment, so it is waited for.
 */
#include "relatives.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/compiler.h"
#include "util/proc_stat.h"
#include "util/sys.h"

#define PROC_STAT_ENV_END 51
#define PF_EXITING 0x00000004 /* linux/sched.h */
#define PF_KTHREAD 0x00200000
#define PART 16384
#define IN_EXEC_NS 1000000000ull /* for which one is waited for */
#define IN_EXEC_STEP_NS 200000ull

static uint64_t started_ns; /* before there are others */

void relatives_begin(void)
{
	started_ns = now_ns();
}

struct look {
	uint32_t first; /* those with lower numbers are older than the host */
	char variable[sizeof("FAULTLINE_HOST=@") + sizeof(struct sockaddr_un)];
	size_t len;
};

/* FAULTLINE_HOST as the command has set it, up to its end. */
static bool name_it(struct look *l, int listen_fd)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof a;

	if (getsockname(listen_fd, (struct sockaddr *)&a, &len) || len <= sizeof a.sun_family + 1 || a.sun_path[0])
		return false;
	l->len = (size_t)snprintf(l->variable, sizeof l->variable, "FAULTLINE_HOST=@%.*s", (int)(len - sizeof a.sun_family - 1),
				  a.sun_path + 1) +
		 1;
	return true;
}

/*
 * Numbers are given in order, and begin again: what a host that has not been there for long need not look at, since all that a run is waiting for may be
 * this look.
 */
static uint32_t first_that_can_be(void)
{
	static const uint64_t young_ns = 10000000000ull;
	uint32_t own = (uint32_t)sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	int fd = now_ns() - started_ns < young_ns ? sys_openat(AT_FDCWD, "/proc/loadavg", O_RDONLY | O_CLOEXEC, 0) : -1;
	char text[128];
	const char *last;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = sys_read(fd, text, sizeof text - 1);
	sys_close(fd);
	text[n > 0 ? n : 0] = 0;
	last = strrchr(text, ' ');
	return last && strtoul(last, NULL, 10) >= own ? own + 1 : 0;
}

/* What ends has no environment any more, or soon will have none; it becomes no client. */
static bool can_connect(uint32_t pid)
{
	char text[PROC_STAT_ROOM];
	const char *field = proc_stat_field(pid, PROC_STAT_FLAGS, text);

	return field && !(strtoul(field, NULL, 10) & (PF_EXITING | PF_KTHREAD));
}

/* Between two programs, as far as can be seen: who may not look is told 0 as well, but has not come so far. */
static bool is_in_exec(uint32_t pid)
{
	char text[PROC_STAT_ROOM];
	const char *field = proc_stat_field(pid, PROC_STAT_ENV_END, text);

	return field && !strtoull(field, NULL, 10) && can_connect(pid);
}

static bool has_variable(const struct look *l, int fd, bool *empty)
{
	char part[PART + sizeof l->variable];
	size_t kept = 0;
	ssize_t n;

	*empty = true;
	while ((n = sys_read(fd, part + kept, PART)) > 0) {
		size_t have = kept + (size_t)n;

		*empty = false;
		if (memmem(part, have, l->variable, l->len))
			return true;
		kept = min_u64(have, l->len - 1);
		memmove(part, part + have - kept, kept);
	}
	return false;
}

static bool has_environment(const struct look *l, uint32_t pid, bool *found)
{
	char path[32];
	bool empty;
	int fd;

	*found = false;
	snprintf(path, sizeof path, "/proc/%u/environ", pid);
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return true;
	*found = has_variable(l, fd, &empty);
	sys_close(fd);
	return !empty;
}

/* In doubt it is one. */
static bool is_relative(const struct look *l, uint32_t pid)
{
	uint64_t until = now_ns() + IN_EXEC_NS;
	bool found;

	while (!has_environment(l, pid, &found)) {
		if (!is_in_exec(pid))
			return false;
		if (now_ns() > until)
			return true;
		sys_nanosleep(IN_EXEC_STEP_NS);
	}
	return found && can_connect(pid);
}

static bool any_in(const struct look *l, const char *entries, long len)
{
	const struct dirent64 *d;

	for (long at = 0; at < len; at += d->d_reclen) {
		d = (const void *)(entries + at);
		uint32_t pid = (uint32_t)strtoul(d->d_name, NULL, 10);

		if (pid >= l->first && pid && is_relative(l, pid))
			return true;
	}
	return false;
}

bool relatives_any(int listen_fd)
{
	_Alignas(struct dirent64) char entries[4096];
	struct look l;
	bool found = false;
	int dir;
	long n;

	if (!name_it(&l, listen_fd))
		return false;
	l.first = first_that_can_be();
	dir = sys_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir < 0)
		return false;
	while (!found && (n = sys_call(SYS_getdents64, dir, (long)entries, sizeof entries, 0, 0, 0)) > 0)
		found = any_in(&l, entries, n);
	sys_close(dir);
	return found;
}
