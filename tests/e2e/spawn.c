/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs started with arguments in mapped memory that is not there yet: by the exec calls.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (8UL << 20)
#define APART (256UL << 10) /* farther than a fault reaches */

/* ---- Memory for arguments ---- */

static char *map;
static size_t used;
static int fd;

static void begin(void)
{
	fd = pattern_file(SIZE);
	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	used = 0;
}

static void *take(size_t len)
{
	void *p = map + used;

	used += (len + APART - 1) & ~(APART - 1);
	CHECK(used <= SIZE);
	return p;
}

static void *put(const void *from, size_t len)
{
	return memcpy(take(len), from, len);
}

static char *text(const char *s)
{
	return put(s, strlen(s) + 1);
}

/* What has been put is in the file, and not in memory. */
static void forget(void)
{
	CHECK(!msync(map, SIZE, MS_SYNC) && !madvise(map, SIZE, MADV_DONTNEED));
}

static void end(void)
{
	CHECK(!munmap(map, SIZE));
	close(fd);
}

/* ---- A program that says whether it got its arguments ---- */

#define RIGHT 7

struct start {
	char *path, **argv, **envp;
};

static struct start put_start(const char *path, const char *script)
{
	char *argv[] = {text("sh"), text("-c"), text(script), NULL}, *envp[] = {text("OTHER=1"), text("VALUE=kept"), NULL};

	return (struct start){text(path), put(argv, sizeof argv), put(envp, sizeof envp)};
}

static void ends_with(pid_t pid, int expected)
{
	int status;

	CHECK(pid && waitpid(pid, &status, 0) > 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

/* ---- exec ---- */

static void by_execve(const struct start *s)
{
	execve(s->path, s->argv, s->envp);
}

static void by_execv(const struct start *s)
{
	environ = s->envp;
	execv(s->path, s->argv);
}

static void by_execvp(const struct start *s)
{
	environ = s->envp;
	execvp(s->path, s->argv);
}

static void by_execvpe(const struct start *s)
{
	execvpe(s->path, s->argv, s->envp);
}

static void by_execl(const struct start *s)
{
	environ = s->envp;
	execl(s->path, s->argv[0], s->argv[1], s->argv[2], NULL);
}

static void by_execlp(const struct start *s)
{
	environ = s->envp;
	execlp(s->path, s->argv[0], s->argv[1], s->argv[2], NULL);
}

static void by_execle(const struct start *s)
{
	execle(s->path, s->argv[0], s->argv[1], s->argv[2], NULL, s->envp);
}

static void by_execveat(const struct start *s)
{
	execveat(AT_FDCWD, s->path, s->argv, s->envp, 0);
}

static void by_fexecve(const struct start *s)
{
	fexecve(open(s->path, O_RDONLY | O_CLOEXEC), s->argv, s->envp);
}

static void by_number(const struct start *s)
{
	syscall(SYS_execve, s->path, s->argv, s->envp);
}

#define SCRIPT "test \"$VALUE\" = kept && exit 7"

static void exec(void)
{
	static void (*const calls[])(const struct start *) = {
		by_execve, by_execv, by_execvp, by_execvpe, by_execl, by_execlp, by_execle, by_execveat, by_fexecve, by_number,
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct start s;
		pid_t pid;

		begin();
		s = put_start("/bin/sh", SCRIPT);
		forget();
		pid = fork();
		if (!pid) {
			calls[i](&s);
			perror("exec");
			_exit(1);
		}
		ends_with(pid, RIGHT);
		end();
	}
}

#define LARGE (48UL << 20) /* more than there is memory for */

/* What fails keeps nothing of its arguments in memory. */
static void exec_fails(void)
{
	char *argv[] = {"none", NULL}, *p;

	fd = pattern_file(LARGE);
	p = map_file(fd, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < LARGE; at += PAGE) {
		strcpy(p + at, "/no/such/program");
		FAILS(ENOENT, execve(p + at, argv, environ));
	}
	FAILS(EFAULT, execve("/bin/sh", (char *[]){(char *)8, NULL}, environ));
	CHECK(!munmap(p, LARGE));
	close(fd);
}

#define STRING (96UL << 10)
#define STRINGS 16

/* All of them must be in memory at once. */
static void exec_with_strings(char *p)
{
	char *argv[STRINGS + 2] = {"true"};
	pid_t pid;

	for (size_t i = 0; i < STRINGS; i++) {
		argv[i + 1] = p + i * STRING;
		argv[i + 1][STRING - 1] = 0;
	}
	pid = vfork();
	if (!pid) {
		execve("/bin/true", argv, environ);
		_exit(1);
	}
	ends_with(pid, 0);
}

static void exec_with_all(char *p)
{
	for (size_t at = 0; at < LARGE; at += STRINGS * STRING)
		exec_with_strings(p + at);
}

/* Nor does a child of vfork(2) that succeeds, on the memory of its parent. */
static void exec_after_vfork(void)
{
	char *p;

	fd = pattern_file(LARGE);
	p = map_file(fd, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(p, 'x', LARGE);
	exec_with_all(p);
	CHECK(!munmap(p, LARGE));
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"exec", exec},
		{"exec_fails", exec_fails},
		{"exec_after_vfork", exec_after_vfork},
	};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
