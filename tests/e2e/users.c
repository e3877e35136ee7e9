/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that becomes another user does so with all of its threads, those too that serve it and of which it does not know. What is refused to a process with
 * more than one thread works where it has made no other. Needs root.
 */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define NOBODY 65534
#define TURNS 20

static char *map;
static _Atomic bool stop;

static void touch_all(void)
{
	CHECK(!madvise(map, SIZE, MADV_DONTNEED));
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK((uint8_t)map[at] == pattern(at));
}

/* System calls on pages that are not there: a change of user waits for who is in one. */
static void *keep_reading(void *arg)
{
	int fd = *(int *)arg;

	while (!atomic_load(&stop))
		for (size_t at = 0; at < SIZE && !atomic_load(&stop); at += 16 * PAGE) {
			CHECK(!madvise(map + at, 16 * PAGE, MADV_DONTNEED));
			CHECK(pread(fd, map + at + 5, 100, (off_t)at + 5) == 100);
		}
	return NULL;
}

/* Of a line "Uid: real effective ..." of each thread. */
static void check_line(const char *task, const char *format, unsigned expected)
{
	char path[300], line[200];
	unsigned real, effective;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, format, &real, &effective) == 2) {
			found = true;
			CHECK(real == expected && effective == expected);
		}
	CHECK(found && !fclose(f));
}

static void all_are(const char *format, unsigned expected)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;

	CHECK(dir);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			check_line(e->d_name, format, expected);
	CHECK(!closedir(dir));
}

static void becomes_nobody(void)
{
	int fd = pattern_file(SIZE);
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, keep_reading, &fd));
	for (int i = 0; i < TURNS; i++)
		CHECK(!setegid(NOBODY) && !seteuid(NOBODY) && !seteuid(0) && !setegid(0));
	CHECK(!setresgid(NOBODY, NOBODY, NOBODY));
	all_are("Gid: %u %u", NOBODY);
	CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	all_are("Uid: %u %u", NOBODY);
	atomic_store(&stop, true);
	CHECK(!pthread_join(t, NULL));
	touch_all();
}

/* It may have as many threads as there are, and no more. */
static void has_no_more_threads(void)
{
	CHECK(!setrlimit(RLIMIT_NPROC, &(struct rlimit){1, 1}));
	CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	touch_all();
}

static void is_alone(void)
{
	CHECK(!unshare(CLONE_NEWUSER) || errno == EPERM || errno == ENOSPC || errno == ENOSYS);
	touch_all();
	CHECK(!unshare(CLONE_FS));
	touch_all();
}

static bool may_not(int result)
{
	return result && (errno == EPERM || errno == ENOSPC || errno == ENOSYS || errno == EINVAL);
}

/* A process whose children will be in another PID namespace may make no threads any more; those that it has go on. */
static void children_elsewhere(void)
{
	if (may_not(unshare(CLONE_NEWPID)))
		return;
	touch_all();
	in_child(touch_all);
	CHECK(!unshare(CLONE_NEWNS));
	touch_all();
}

static void times_elsewhere(void)
{
	if (may_not(unshare(CLONE_NEWUSER | CLONE_NEWTIME)))
		return;
	touch_all();
	in_child(touch_all);
}

static void all_elsewhere(void)
{
	if (may_not(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)))
		return;
	touch_all();
	in_child(touch_all);
}

static void enters(void)
{
	int pid = open("/proc/self/ns/pid", O_RDONLY), mount = open("/proc/self/ns/mnt", O_RDONLY);

	CHECK(!setns(mount, 0));
	touch_all();
	CHECK(!setns(pid, CLONE_NEWPID) && !setns(mount, CLONE_NEWNS));
	touch_all();
	CHECK(!unshare(CLONE_NEWPID) && !setns(pid, 0));
	touch_all();
	CHECK(!unshare(CLONE_NEWPID) && !unshare(CLONE_NEWNET));
	touch_all();
}

/* As a process with two threads, in which it is left: none that has ended would have another in its place. */
static void is_served_on(void)
{
	if (may_not(unshare(CLONE_NEWPID)))
		return;
	CHECK(!unshare(CLONE_NEWUSER) || errno == EINVAL);
	touch_all();
}

/* What is refused changes nothing. */
static void is_refused(void)
{
	FAILS(EBADF, setns(-1, 0));
	FAILS(EINVAL, unshare(-1));
	touch_all();
}

int main(void)
{
	if (geteuid())
		return 0;
	map = map_file(pattern_file(SIZE), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	touch_all();
	in_child(is_alone);
	in_child(children_elsewhere);
	in_child(all_elsewhere);
	in_child(times_elsewhere);
	in_child(enters);
	in_child(is_served_on);
	in_child(is_refused);
	in_child(has_no_more_threads);
	in_child(becomes_nobody);
	is_alone();
	return 0;
}
