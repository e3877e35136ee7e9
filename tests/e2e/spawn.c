/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs started with arguments in mapped memory that is not there yet: by the exec calls, posix_spawn, system and popen. What the C library
 * allocates can be made to lie there too.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdalign.h>
#include <stdbool.h>
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

/* ---- The allocator, which frees nothing ---- */

#define ALLOCATOR __attribute__((visibility("default")))

struct block {
	size_t size;
	alignas(16) char bytes[];
};

static bool in_map;
static alignas(16) char heap[4 << 20];
static size_t heap_used;

ALLOCATOR void *malloc(size_t size)
{
	size_t len = (sizeof(struct block) + size + 15) & ~15UL;
	struct block *b = in_map ? take(len) : (void *)(heap + __atomic_fetch_add(&heap_used, len, __ATOMIC_RELAXED));

	if (!in_map && (char *)b + len > heap + sizeof heap)
		abort();
	b->size = size;
	return b->bytes;
}

ALLOCATOR void free(void *p)
{
	(void)p;
}

ALLOCATOR void *calloc(size_t n, size_t size)
{
	volatile char *p = malloc(n * size); /* the compiler would make calloc() of memset() */

	for (size_t i = 0; i < n * size; i++)
		p[i] = 0;
	return (void *)p;
}

ALLOCATOR void *realloc(void *p, size_t size)
{
	size_t old = p ? ((struct block *)p - 1)->size : 0;

	return memcpy(malloc(size), p ? p : "", old < size ? old : size);
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

/* -1: any child. */
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

/* ---- posix_spawn ---- */

static posix_spawnattr_t *put_attributes(void)
{
	posix_spawnattr_t attributes;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!posix_spawnattr_init(&attributes) && !posix_spawnattr_setsigmask(&attributes, &set));
	CHECK(!posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK));
	return put(&attributes, sizeof attributes);
}

/* With the paths that libc has copied. */
static posix_spawn_file_actions_t *put_actions(void)
{
	posix_spawn_file_actions_t actions;

	in_map = true;
	CHECK(!posix_spawn_file_actions_init(&actions));
	CHECK(!posix_spawn_file_actions_addclose(&actions, 8));
	CHECK(!posix_spawn_file_actions_addchdir_np(&actions, "/proc/self"));
	CHECK(!posix_spawn_file_actions_addopen(&actions, 9, "status", O_RDONLY, 0));
	CHECK(!posix_spawn_file_actions_adddup2(&actions, 9, 0));
	in_map = false;
	return put(&actions, sizeof actions);
}

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

/* Its signals are blocked as the attributes say, as it reads from the file that the actions open. */
static void spawn_by(spawn_fn fn, const char *path)
{
	posix_spawn_file_actions_t *actions;
	posix_spawnattr_t *attributes;
	struct start s;
	pid_t *pid;

	begin();
	s = put_start(path, "while read -r name value; do case $name in SigBlk:) set -- $value;; esac; done; "
			    "case $1 in *200) " SCRIPT "; esac; exit 1");
	attributes = put_attributes();
	actions = put_actions();
	pid = take(sizeof *pid);
	forget();
	CHECK(!fn(pid, s.path, actions, attributes, s.argv, s.envp));
	ends_with(*pid, RIGHT);
	forget();
	CHECK(!fn(NULL, s.path, actions, attributes, s.argv, s.envp));
	ends_with(-1, RIGHT);
	end();
}

static void spawn(void)
{
	spawn_by(posix_spawn, "/bin/sh");
	spawn_by(posix_spawnp, "sh");
}

/* The error is the result, and the id is left as it was. */
static void spawn_fails(void)
{
	struct start s;
	pid_t *pid;

	begin();
	s = put_start("/no/such/program", SCRIPT);
	pid = take(sizeof *pid);
	*pid = 4711;
	forget();
	CHECK(posix_spawn(pid, s.path, NULL, NULL, s.argv, s.envp) == ENOENT && *pid == 4711);
	end();
}

static char **put_environment(void)
{
	char *strings[] = {text("VALUE=kept"), text("PATH=/usr/bin:/bin"), NULL};

	return put(strings, sizeof strings);
}

/* PATH is the caller's. */
static void search(void)
{
	char **kept = environ;
	struct start s;
	pid_t pid;

	begin();
	s = put_start("sh", SCRIPT);
	environ = put_environment();
	forget();
	CHECK(!posix_spawnp(&pid, s.path, NULL, NULL, s.argv, s.envp));
	ends_with(pid, RIGHT);
	environ = kept;
	end();
}

/* ---- Commands for the shell ---- */

static void commands(void)
{
	char **kept = environ, line[64] = "";
	char *command, *mode;
	int status;
	FILE *f;

	begin();
	command = text("test \"$VALUE\" = kept && echo right && exit 7");
	mode = text("r");
	environ = put_environment();
	forget();
	status = system(command);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == RIGHT && system(NULL));
	forget();
	f = popen(command, mode);
	CHECK(f && fgets(line, sizeof line, f) && !strcmp(line, "right\n"));
	status = pclose(f);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == RIGHT);
	environ = kept;
	end();
}

static void *run_command(void *command)
{
	return (void *)(long)system(command);
}

/* It ends the shell, and keeps nothing in memory. */
static void cancelled(void)
{
	struct sigaction act;
	pthread_t thread;
	void *result;
	char *p;

	fd = pattern_file(LARGE);
	p = map_file(fd, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(p, 'x', LARGE);
	for (size_t at = 0; at < LARGE; at += STRING) {
		memcpy(p + at, "exec sleep 100 #", 16); /* else what the shell has started would go on */
		p[at + STRING - 1] = 0;
		CHECK(!pthread_create(&thread, NULL, run_command, p + at));
		CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
		FAILS(ECHILD, wait(NULL));
	}
	CHECK(!sigaction(SIGINT, NULL, &act) && act.sa_handler == SIG_DFL);
	exec_with_all(p);
	CHECK(!munmap(p, LARGE));
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"exec", exec},         {"exec_fails", exec_fails},   {"exec_after_vfork", exec_after_vfork},
		{"spawn", spawn},       {"spawn_fails", spawn_fails}, {"search", search},
		{"commands", commands}, {"cancelled", cancelled},
	};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
