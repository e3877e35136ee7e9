/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record lock (fcntl(2)) outlives execve(2), and ends with the close of any descriptor of its file: also of one that only Faultline has, and
 * that execve(2) would close. So those of files that will stay locked are left open over it. The new program finds in its environment which they are,
 * takes them over as ours (util/fd.h), closed to it and to the program after it like any of ours, and knows that there are locks. In one that has no
 * preload library they stay, numbers of which it does not know.
 *
 * Nothing is left open where no lock of the process's would outlast the program: where it has none, or where the kernel closes a descriptor of the
 * program's of the same file. A thread that starts another program in the moment before, in a child, leaves it these descriptors.
 *
 * All is in one piece of memory that no allocator of the program's gives: a handler of signals may be who calls.
 */
#include "kept.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/peek.h"
#include "base/real.h"
#include "util/fd.h"
#include "util/own.h"
#include "util/sys.h"

#define VARIABLE "FAULTLINE_LOCKS"
#define TEXT_MAX 64 /* of one file: three numbers */

/* A descriptor of ours. */
struct kept_file {
	int fd;
	uint64_t dev, ino;
	bool locked; /* by the process */
	bool closes; /* a descriptor of the program's is closed by execve(2) */
};

static bool is_kept(const struct kept_file *f)
{
	return f->locked && !f->closes;
}

/* ---- Which files are locked ---- */

static size_t count_ours(void)
{
	size_t n = 0;

	for (int fd = fd_next_ours(0); fd != INT_MAX; fd = fd_next_ours(fd + 1))
		n++;
	return n;
}

static void find_ours(struct kept *k, size_t room)
{
	struct stat st;

	for (int fd = fd_next_ours(0); fd != INT_MAX && k->n < room; fd = fd_next_ours(fd + 1))
		if (!sys_fstat(fd, &st) && S_ISREG(st.st_mode))
			k->files[k->n++] = (struct kept_file){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
}

/* The kernel's list of what is locked by this descriptor, or a copy of it; yes when that cannot be had. */
static bool has_record_lock(int fd)
{
	char path[64], text[4096];
	ssize_t n;
	int info;

	snprintf(path, sizeof path, "/proc/thread-self/fdinfo/%d", fd);
	info = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (info < 0)
		return true;
	n = sys_read(info, text, sizeof text);
	sys_close(info);
	return n < 0 || memmem(text, (size_t)n, " POSIX ", 7);
}

/* A descriptor of the program's. True: a lock is by it, and it stays open. */
static bool look_at(struct kept *k, int fd)
{
	int flags = sys_fcntl(fd, F_GETFD, 0);
	bool closes = flags & FD_CLOEXEC, locked;
	struct stat st;

	if (flags < 0 || sys_fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	locked = !closes && has_record_lock(fd);
	for (size_t i = 0; i < k->n; i++)
		if (k->files[i].ino == st.st_ino && k->files[i].dev == st.st_dev) {
			k->files[i].locked |= locked;
			k->files[i].closes |= closes;
		}
	return locked;
}

static bool look_at_entries(struct kept *k, const char *entries, long len)
{
	const struct dirent64 *d;
	bool any = false;
	int fd;

	for (long at = 0; at < len; at += d->d_reclen) {
		d = (const void *)(entries + at);
		fd = d->d_name[0] == '.' ? -1 : atoi(d->d_name);
		if (fd >= 0 && !fd_is_ours(fd))
			any |= look_at(k, fd);
	}
	return any;
}

static void take_for_locked(struct kept *k)
{
	for (size_t i = 0; i < k->n; i++)
		k->files[i].locked = true;
}

/* Whether the process has locks that will stay, as far as can be seen. */
static bool find_locks(struct kept *k)
{
	char entries[4096] __attribute__((aligned(8)));
	int dir = sys_openat(AT_FDCWD, "/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	bool any = false;
	long n;

	if (dir < 0) {
		take_for_locked(k);
		return true;
	}
	while ((n = sys_call(SYS_getdents64, dir, (long)entries, sizeof entries, 0, 0, 0)) > 0)
		any |= look_at_entries(k, entries, n);
	sys_close(dir);
	return any;
}

/* ---- What the new program is told ---- */

/* -1: the kernel will refuse them. */
static ssize_t count_variables(char *const *envp)
{
	ssize_t n = 0;
	char *s;

	while (envp) {
		if (!peek(&s, envp + n, sizeof s))
			return -1;
		if (!s)
			break;
		n++;
	}
	return n;
}

/* Which process it is for: others may come to have the variable. */
static void tell(const struct kept *k, char *text, size_t room)
{
	size_t at = (size_t)snprintf(text, room, VARIABLE "=%ld", sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0));

	for (size_t i = 0; i < k->n; i++)
		if (is_kept(&k->files[i]))
			at += (size_t)snprintf(text + at, room - at, " %d %lu %lu", k->files[i].fd, k->files[i].dev, k->files[i].ino);
}

/* The flag that has execve(2) close them. */
static void set_closing(const struct kept *k, bool on)
{
	for (size_t i = 0; i < k->n; i++)
		if (is_kept(&k->files[i]))
			sys_fcntl(k->files[i].fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

static bool keep(struct kept *k, char *const *envp, size_t variables, size_t ours)
{
	size_t text = (ours + 1) * TEXT_MAX;

	k->size = ours * sizeof *k->files + (variables + 2) * sizeof *envp + text;
	k->files = own_reserve(k->size);
	if (sys_is_err(k->files))
		return false;
	find_ours(k, ours);
	if (!find_locks(k)) {
		sys_munmap(k->files, k->size);
		return false;
	}
	k->envp = (char **)(k->files + ours);
	for (size_t i = 0; i < variables; i++)
		k->envp[i] = envp[i];
	k->envp[variables] = (char *)(k->envp + variables + 2);
	tell(k, k->envp[variables], text);
	set_closing(k, false);
	return true;
}

bool kept_before_exec(struct kept *k, char *const *envp)
{
	ssize_t variables = count_variables(envp);
	int saved = errno;
	bool kept;

	*k = (struct kept){.n = 0};
	kept = variables >= 0 && keep(k, envp, (size_t)variables, count_ours());
	errno = saved;
	return kept;
}

void kept_exec_failed(struct kept *k)
{
	set_closing(k, true);
	sys_munmap(k->files, k->size);
}

/* ---- At its start ---- */

static bool next_number(char **text, uint64_t *number)
{
	char *start = *text;

	*number = strtoul(start, text, 10);
	return *text != start;
}

static bool is_that_file(int fd, uint64_t dev, uint64_t ino)
{
	struct stat st;

	return !sys_fstat(fd, &st) && st.st_dev == dev && st.st_ino == ino;
}

static void take_over_files(char *text)
{
	uint64_t fd, dev, ino;

	while (next_number(&text, &fd) && next_number(&text, &dev) && next_number(&text, &ino))
		if (is_that_file((int)fd, dev, ino))
			fd_take_over((int)fd);
}

void kept_take_over(void)
{
	char *text = getenv(VARIABLE);
	uint64_t pid;

	if (likely(!text))
		return;
	if (next_number(&text, &pid) && (long)pid == sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0)) {
		fd_locks_in_use();
		take_over_files(text);
	}
	unsetenv(VARIABLE);
}
