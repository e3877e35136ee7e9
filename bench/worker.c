/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "undo.h"
#include "workload.h"

extern char **environ;

static char *const *arguments;

static bool read_all(int fd, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(fd, (char *)p + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = write(fd, (const char *)p + done, n - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return false;
		done += (size_t)put;
	}
	return true;
}

/* ---- There ---- */

static bool stores(const struct job *j)
{
	return j->writes || j->workload == WORKLOAD_SYNC;
}

static void work(struct run *r, struct outcome *out)
{
	static void (*const workloads[])(struct run * r, struct outcome * out) = {
		[WORKLOAD_SCAN] = workload_scan,   [WORKLOAD_RANDOM] = workload_random, [WORKLOAD_HOT] = workload_hot,
		[WORKLOAD_CHASE] = workload_chase, [WORKLOAD_SYNC] = workload_sync,
	};
	const struct job *j = r->job;

	r->pages = j->size / PAGE;
	if (j->pattern == PATTERN_ZIPF)
		zipf_init(&r->zipf, r->pages, j->skew);
	if (j->advice >= 0 && r->by->advise(r->map, j->size, j->advice))
		fail(out, "madvise", errno);
	else
		workloads[j->workload](r, out);
}

static void map_and_work(struct run *r, struct outcome *out)
{
	const struct job *j = r->job;
	uint64_t misses = 0;

	r->map = r->by->map(j->size, stores(j) ? PROT_READ | PROT_WRITE : PROT_READ, r->fd);
	if (r->map == MAP_FAILED) {
		fail(out, "mmap", errno);
		return;
	}
	work(r, out);
	r->by->count(&misses, &out->evictions);
	if (r->by->unmap(r->map, j->size))
		fail(out, "munmap", errno);
}

static void run_job(const struct job *j, struct outcome *out)
{
	struct run r = {.job = j, .by = j->contender == CONTENDER_KERNEL ? &contender_kernel : &contender_faultline};

	r.fd = open(j->path, (stores(j) ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (r.fd < 0) {
		fail(out, "open", errno);
		return;
	}
	if (r.by->start(j)) {
		fail(out, "fl_init", errno);
	} else {
		map_and_work(&r, out);
		if (r.by->end())
			fail(out, "fl_exit", errno);
	}
	close(r.fd);
}

int worker_main(void)
{
	static struct job job;
	static struct outcome out;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!read_all(STDIN_FILENO, &job, sizeof job))
		return 1;
	run_job(&job, &out);
	return write_all(STDOUT_FILENO, &out, sizeof out) ? 0 : 1;
}

/* ---- Here ---- */

void worker_program(char *const *args)
{
	arguments = args;
}

struct pipes {
	int down[2], up[2];
};

static int spawn(struct pipes *p, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int error;

	if (pipe2(p->down, O_CLOEXEC) || pipe2(p->up, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p->down[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, p->up[1], STDOUT_FILENO);
	error = posix_spawn(pid, "/proc/self/exe", &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(p->down[0]);
	close(p->up[1]);
	return -error;
}

static void how_it_ended(int status, struct outcome *out)
{
	if (WIFSIGNALED(status))
		snprintf(out->error, sizeof out->error, "the process that measures was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(out->error, sizeof out->error, "the process that measures ended with status %d", WEXITSTATUS(status));
}

/* It waits for the job, so it is in its cgroup before it maps anything. */
static void serve(struct pipes *p, pid_t pid, const struct job *job, const struct memcg *memcg, struct outcome *out)
{
	int status = 0, error = memcg ? memcg_enter(memcg, pid) : 0;
	bool answered = !error && write_all(p->down[1], job, sizeof *job) && read_all(p->up[0], out, sizeof *out);

	close(p->down[1]);
	close(p->up[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (error)
		fail(out, "memory cgroup", -error);
	else if (!answered)
		how_it_ended(status, out);
}

void worker_run(const struct job *job, const struct memcg *memcg, struct outcome *out)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	struct pipes p;
	pid_t pid = 0;
	int error;

	*out = (struct outcome){.error = ""};
	error = spawn(&p, &pid);
	if (error) {
		fail(out, "no process to measure in", -error);
		return;
	}
	sigaction(SIGPIPE, &ignore, &old); /* it may die before it has read */
	undo_process(pid);
	serve(&p, pid, job, memcg, out);
	undo_process(0);
	sigaction(SIGPIPE, &old, NULL);
}
