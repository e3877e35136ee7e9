/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of forks, in a process of its own: fork(2) copies the page tables of all that the process has, and here it has
 * nothing but the memory in question. It starts before Faultline does, as the same program (--serve-forks), takes requests from its
 * standard input and answers on its standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "soft_cost.h"

extern char **environ;

struct request {
	uint64_t bytes;
	uint64_t cow; /* the time of the writes after it, and not that of the fork */
};

static pid_t server;
static int to_server, from_server;

/* ---- There ---- */

static void write_all(char *p, size_t bytes, uint64_t tag)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		*(volatile uint64_t *)(p + off) = off + tag;
}

/* The child of a fork that is timed ends at once; that of one whose writes are timed, when the pipe is closed. */
static double serve_one(char *p, const struct request *rq)
{
	double start, ns;
	int gate[2];
	char c;
	pid_t child;

	if (pipe(gate))
		die("pipe");
	start = now_ns();
	child = fork();
	if (!child) {
		close(gate[1]);
		if (rq->cow && read(gate[0], &c, 1))
			_exit(1);
		_exit(0);
	}
	ns = now_ns() - start;
	if (child < 0)
		die("fork");
	if (rq->cow) {
		start = now_ns();
		write_all(p, rq->bytes, 2);
		ns = (now_ns() - start) / ((double)rq->bytes / PAGE);
	}
	close(gate[0]);
	close(gate[1]);
	if (waitpid(child, NULL, 0) != child)
		die("waitpid");
	return ns;
}

int kernel_serve(void)
{
	struct request rq, last = {0};
	char *p = NULL;

	while (read(STDIN_FILENO, &rq, sizeof rq) == (ssize_t)sizeof rq) {
		double ns;

		if (rq.bytes != last.bytes) {
			if (p)
				munmap(p, last.bytes);
			p = map_plain(rq.bytes);
		}
		last = rq;
		write_all(p, rq.bytes, 1);
		ns = serve_one(p, &rq);
		if (write(STDOUT_FILENO, &ns, sizeof ns) != (ssize_t)sizeof ns)
			return 1;
	}
	return 0;
}

/* ---- Here ---- */

void kernel_start(void)
{
	char self[] = "soft_cost", how[] = "--serve-forks", *args[] = {self, how, NULL};
	posix_spawn_file_actions_t actions;
	int down[2], up[2];

	if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC) || posix_spawn_file_actions_init(&actions))
		die("pipe");
	posix_spawn_file_actions_adddup2(&actions, down[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, up[1], STDOUT_FILENO);
	errno = posix_spawn(&server, "/proc/self/exe", &actions, NULL, args, environ);
	if (errno)
		die("/proc/self/exe");
	posix_spawn_file_actions_destroy(&actions);
	close(down[0]);
	close(up[1]);
	to_server = down[1];
	from_server = up[0];
}

static double ask(struct request rq)
{
	double ns;

	if (write(to_server, &rq, sizeof rq) != (ssize_t)sizeof rq || read(from_server, &ns, sizeof ns) != (ssize_t)sizeof ns)
		die("the process that forks");
	return ns;
}

double kernel_fork_ns(size_t bytes)
{
	return ask((struct request){.bytes = bytes});
}

double kernel_cow_ns(size_t bytes)
{
	return ask((struct request){.bytes = bytes, .cow = 1});
}

void kernel_end(void)
{
	close(to_server);
	close(from_server);
	waitpid(server, NULL, 0);
}
