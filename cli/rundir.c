/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes a directory locks it after it has its name, so somebody who looks for what the dead have left may take it for that in between.
 * He removes it under the lock, for which its maker waits; the maker then sees that it has gone, and makes another.
 */
#include "rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "text.h"

#define PREFIX "faultline-run-"
#define INFO "run"
#define INFO_MAGIC 0x316e75724c46ull /* "FLrun1" */
#define INFO_VERSION 1
#define PLACES 3
#define TRIES 16
#define PATH_LEN_MAX 255 /* of FAULTLINE_REPORT */

/* Absolute, because the program may go elsewhere before it writes its report. NULL: there is none. */
static char *place_at(size_t i)
{
	const char *names[PLACES] = {"/dev/shm", getenv("TMPDIR"), "/tmp"};

	return names[i] && *names[i] ? realpath(names[i], NULL) : NULL;
}

static int open_directory(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- Removing ---- */

static void empty(int fd, bool (*is_done)(const char *name))
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	if (!d)
		return;
	rewinddir(d);
	while ((e = readdir(d)))
		if (report_is_region(e->d_name) && is_done(e->d_name))
			unlinkat(fd, e->d_name, 0);
	closedir(d);
}

static bool always(const char *name)
{
	(void)name;
	return true;
}

/* A region is named for its process. */
static bool is_gone(const char *name)
{
	int pid = atoi(name);

	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

static void remove_at(int place, const char *name, int fd)
{
	unlinkat(fd, INFO, 0);
	empty(fd, always);
	unlinkat(place, name, AT_REMOVEDIR);
}

void rundir_prune(struct rundir *d)
{
	if (d->path)
		empty(d->fd, is_gone);
}

void rundir_remove(struct rundir *d)
{
	if (!d->path)
		return;
	remove_at(AT_FDCWD, d->path, d->fd);
	close(d->info);
	close(d->fd);
	free(d->path);
	*d = (struct rundir){0};
}

/* ---- Finding ---- */

static bool is_mine(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_uid == geteuid();
}

static bool read_info(int directory, struct run_info *info)
{
	int fd = openat(directory, INFO, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool ok;

	if (fd < 0)
		return false;
	ok = is_mine(fd) && pread(fd, info, sizeof *info, 0) == (ssize_t)sizeof *info && info->magic == INFO_MAGIC &&
	     info->version == INFO_VERSION;
	info->what[sizeof info->what - 1] = 0;
	close(fd);
	return ok;
}

/* One that its maker has not described yet is not there yet. */
static bool look_at(int place, const char *name, struct run_info *info)
{
	int fd = open_directory(place, name);
	bool there = false;

	if (fd < 0)
		return false;
	if (!is_mine(fd))
		there = false;
	else if (!flock(fd, LOCK_EX | LOCK_NB))
		remove_at(place, name, fd);
	else
		there = read_info(fd, info);
	close(fd);
	return there;
}

static void add(struct run_found **found, size_t *n, char *path, const struct run_info *info)
{
	*found = memory_grow(*found, *n + 1, sizeof **found);
	(*found)[(*n)++] = (struct run_found){.path = path, .info = *info};
}

static void look_in(const char *place, struct run_found **found, size_t *n)
{
	DIR *d = opendir(place);
	struct run_info info;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, PREFIX, strlen(PREFIX)) && look_at(dirfd(d), e->d_name, &info))
			add(found, n, text_format("%s/%s", place, e->d_name), &info);
	if (d)
		closedir(d);
}

static int by_start(const void *a, const void *b)
{
	const struct run_info *x = &((const struct run_found *)a)->info, *y = &((const struct run_found *)b)->info;

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return x->pid == y->pid ? 0 : x->pid < y->pid ? -1 : 1;
}

size_t rundir_find(struct run_found **found)
{
	char *places[PLACES];
	size_t n = 0;

	*found = NULL;
	for (size_t i = 0; i < PLACES; i++) {
		bool seen = false;

		places[i] = place_at(i);
		for (size_t j = 0; j < i; j++)
			seen |= places[i] && places[j] && !strcmp(places[i], places[j]);
		if (places[i] && !seen)
			look_in(places[i], found, &n);
	}
	for (size_t i = 0; i < PLACES; i++)
		free(places[i]);
	if (n)
		qsort(*found, n, sizeof **found, by_start);
	return n;
}

void rundir_free(struct run_found *found, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(found[i].path);
	free(found);
}

/* ---- Making ---- */

/* A file system without locks has directories that nobody else takes for abandoned either. False: it has gone. */
static bool lock(int fd)
{
	struct stat st;

	while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
		;
	return !fstat(fd, &st) && st.st_nlink;
}

/* -ESTALE: somebody has removed it. */
static int set_up(struct rundir *d)
{
	d->fd = open_directory(AT_FDCWD, d->path);
	if (d->fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (!lock(d->fd)) {
		close(d->fd);
		return -ESTALE;
	}
	d->info = openat(d->fd, INFO, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->info < 0) {
		int error = -errno;

		rmdir(d->path);
		close(d->fd);
		return error;
	}
	if (geteuid() == 0) /* a server's processes become another user, before they make theirs */
		fchmod(d->fd, 01733);
	return 0;
}

static int make_in(const char *place, struct rundir *d)
{
	int error = strlen(place) + sizeof PREFIX + 6 > PATH_LEN_MAX ? -ENAMETOOLONG : -ESTALE;

	for (int i = 0; i < TRIES && error == -ESTALE; i++) {
		d->path = text_format("%s/" PREFIX "XXXXXX", place);
		error = mkdtemp(d->path) ? set_up(d) : -errno;
		if (error) {
			free(d->path);
			*d = (struct rundir){0};
		}
	}
	return error;
}

/* Of what the dead have left. */
static void clear_place(const char *place)
{
	struct run_found *found = NULL;
	size_t n = 0;

	look_in(place, &found, &n);
	rundir_free(found, n);
}

int rundir_make(struct rundir *d)
{
	int error = -ENOENT;

	*d = (struct rundir){0};
	for (size_t i = 0; i < PLACES && error; i++) {
		char *place = place_at(i);

		if (place)
			error = make_in(place, d);
		if (!error)
			clear_place(place);
		free(place);
	}
	return error;
}

void rundir_describe(struct rundir *d, struct run_info *info)
{
	struct timespec now;

	if (!d->path)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	info->magic = INFO_MAGIC;
	info->version = INFO_VERSION;
	info->pid = (uint32_t)getpid();
	info->start_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (pwrite(d->info, info, sizeof *info, 0) != (ssize_t)sizeof *info)
		unlinkat(d->fd, INFO, 0); /* the place is full: nobody sees us */
}
