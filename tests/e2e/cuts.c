/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapped file is cut by being opened, in every way that there is, by the process that has it mapped and by a child: what was stored is gone from the file
 * and from the mapping, and what is beyond the end cannot be read.
 */
#include <linux/openat2.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fresh.h"

#define NAME "cuts.file"
#define SIZE (2UL << 20)

static int nobody = -1; /* where the system cannot do it */

/* ---- The ways. A descriptor that may write. ---- */

static int by_open(void)
{
	return open(NAME, O_RDWR | O_TRUNC);
}

static int by_openat2(void)
{
	struct open_how how = {.flags = O_RDWR | O_TRUNC | O_CLOEXEC};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, NAME, &how, sizeof how);

	return fd < 0 && errno == ENOSYS ? nobody : fd;
}

/* Where paths lead to elsewhere; from arguments that are not in memory. */
static int by_openat2_below(void)
{
	struct open_how how = {.flags = O_RDWR | O_TRUNC | O_CREAT, .mode = 0600, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS};
	int dir = open(".", O_PATH | O_DIRECTORY);
	int fd = (int)syscall(SYS_openat2, dir, put("/" NAME, sizeof "/" NAME), put_across(&how, sizeof how), sizeof how);

	close(dir);
	return fd < 0 && errno == ENOSYS ? nobody : fd;
}

static int by_handle(void)
{
	struct handle {
		struct file_handle head;
		char rest[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int dir = open(".", O_RDONLY | O_DIRECTORY), mount, fd;

	if (name_to_handle_at(AT_FDCWD, NAME, &handle.head, &mount, 0))
		return nobody;
	fd = open_by_handle_at(dir, put(&handle, sizeof handle), O_RDWR | O_TRUNC);
	close(dir);
	return fd < 0 && errno == EPERM ? nobody : fd;
}

/* Closed with a copy that stays. */
static int of_stream(FILE *f)
{
	int fd;

	CHECK(f);
	fd = dup(fileno(f));
	CHECK(!fclose(f));
	return fd;
}

static int by_fopen(void)
{
	return of_stream(fopen(NAME, "w+"));
}

static int by_freopen(void)
{
	return of_stream(freopen(NAME, "w+", fopen("/dev/null", "r")));
}

static int by_freopen_of_the_same(void)
{
	return of_stream(freopen(NULL, "w+", fopen(NAME, "r+")));
}

/* Opened by the child that becomes the program, in a directory that it goes to. */
static int by_spawn(void)
{
	char *argv[] = {"true", NULL};
	posix_spawn_file_actions_t actions;
	int status;
	pid_t child;

	CHECK(!posix_spawn_file_actions_init(&actions) && !posix_spawn_file_actions_addchdir_np(&actions, "cuts.directory"));
	CHECK(!posix_spawn_file_actions_addopen(&actions, 1, "../" NAME, O_WRONLY | O_TRUNC, 0));
	CHECK(!mkdir("cuts.directory", 0700));
	CHECK(!posix_spawnp(&child, "true", &actions, NULL, argv, environ) && waitpid(child, &status, 0) == child && !status);
	CHECK(!posix_spawn_file_actions_destroy(&actions) && !rmdir("cuts.directory"));
	return open(NAME, O_RDWR);
}

static const struct way {
	const char *name;
	int (*cut)(void);
} ways[] = {
	{"open", by_open},
	{"openat2", by_openat2},
	{"openat2, below", by_openat2_below},
	{"open_by_handle_at", by_handle},
	{"fopen", by_fopen},
	{"freopen", by_freopen},
	{"freopen of the same", by_freopen_of_the_same},
	{"posix_spawn", by_spawn},
};

/* ---- What is seen ---- */

static char *p; /* the file's mapping */

static int begin(void)
{
	int fd;

	fd = open(NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < SIZE; at += PAGE)
		p[at] = 1;
	CHECK(!msync(p, SIZE, MS_SYNC));
	p[5] = p[PAGE + 5] = 's';
	return fd;
}

static void end(int fd)
{
	CHECK(!munmap(p, SIZE) && !close(fd) && !unlink(NAME));
}

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

static bool is_beyond_the_end(const char *at)
{
	struct sigaction old;
	volatile bool beyond = true;

	CHECK(!sigaction(SIGBUS, &(struct sigaction){.sa_handler = on_bus}, &old));
	if (!sigsetjmp(back, 1)) {
		*(volatile const char *)at;
		beyond = false;
	}
	CHECK(!sigaction(SIGBUS, &old, NULL));
	return beyond;
}

/* Grown again to somewhat more than two pages by a write. */
static void is_cut(const struct way *way, int fd)
{
	char c[2] = {1, 1};

	fprintf(stderr, "%s\n", way->name);
	CHECK(pwrite(fd, "x", 1, 2 * PAGE) == 1 && p[2 * PAGE] == 'x');
	CHECK(!p[0] && !p[5] && !p[PAGE] && !p[PAGE + 5] && is_beyond_the_end(p + 9 * PAGE));
	p[6] = 't';
	CHECK(!msync(p, 3 * PAGE, MS_SYNC) && pread(fd, &c[0], 1, 5) == 1 && pread(fd, &c[1], 1, PAGE + 5) == 1 && !c[0] && !c[1]);
	CHECK(pread(fd, c, 1, 6) == 1 && c[0] == 't' && lseek(fd, 0, SEEK_END) == 2 * (off_t)PAGE + 1);
}

static void here(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int fd = begin(), by = ways[i].cut();

		if (by != nobody) {
			CHECK(by >= 0);
			is_cut(&ways[i], by);
			close(by);
		}
		end(fd);
	}
}

/* The mapping of the child's own is of another file. */
static void by_a_child(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int fd = begin(), status;
		pid_t child = fork();

		if (!child)
			_exit(ways[i].cut() == nobody);
		CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
		if (!status)
			is_cut(&ways[i], fd);
		end(fd);
	}
}

/* Where the child does not come that far, nothing is lost. */
static void spawn_that_fails(void)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {"true", NULL}, c = 0;
	int fd = begin();
	pid_t child;

	CHECK(!posix_spawn_file_actions_init(&actions) && !posix_spawn_file_actions_addopen(&actions, 0, "cuts.none", O_RDONLY, 0));
	CHECK(!posix_spawn_file_actions_addopen(&actions, 1, NAME, O_WRONLY | O_TRUNC, 0));
	CHECK(posix_spawnp(&child, "true", &actions, NULL, argv, environ) == ENOENT);
	CHECK(!posix_spawn_file_actions_destroy(&actions) && p[PAGE] == 1 && p[5] == 's');
	CHECK(pread(fd, &c, 1, PAGE + 5) == 1 && c == 's');
	end(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"here", here}, {"child", by_a_child}, {"fails", spawn_that_fails}};

	(void)argc;
	fresh_begin();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
