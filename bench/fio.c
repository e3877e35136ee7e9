/* SPDX-License-Identifier: Apache-2.0 */
#include "fio.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "undo.h"

extern char **environ;

/* Fields of a line of terse output, version 3, from 0. */
#define FIELD_ERROR 4
#define FIELD_READS 7

bool fio_is_there(void)
{
	const char *path = getenv("PATH");
	char name[4096];

	for (const char *at = path ? path : "", *end; *at; at = *end ? end + 1 : end) {
		end = at + strcspn(at, ":");
		snprintf(name, sizeof name, "%.*s/fio", (int)(end - at), at);
		if (!access(name, X_OK))
			return true;
	}
	return false;
}

static const char *field(const char *line, int n)
{
	for (; n && line; n--) {
		line = strchr(line, ';');
		line = line ? line + 1 : NULL;
	}
	return line;
}

static double parse(FILE *in)
{
	double reads = 0;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, in) >= 0) {
		const char *error = field(line, FIELD_ERROR), *value = field(line, FIELD_READS);

		if (!strncmp(line, "3;", 2) && value && strtol(error, NULL, 10) == 0)
			reads = strtod(value, NULL);
	}
	free(line);
	return reads;
}

static double run(char *const *args)
{
	posix_spawn_file_actions_t actions;
	int up[2], status = 0;
	double reads = 0;
	pid_t pid;
	FILE *in;

	if (pipe2(up, O_CLOEXEC))
		return 0;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, up[1], STDOUT_FILENO);
	errno = posix_spawnp(&pid, "fio", &actions, NULL, args, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(up[1]);
	in = errno ? NULL : fdopen(up[0], "r");
	if (!in) {
		close(up[0]);
		return 0;
	}
	undo_process(pid);
	reads = parse(in);
	fclose(in);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	undo_process(0);
	return status ? 0 : reads;
}

double fio_reads(const struct fio_job *job)
{
	unsigned together = job->all_at_once ? job->depth : 1;
	char file[4200], bytes[40], bs[32], iodepth[32], start[40], end[48], jobs[32], runtime[40];
	char *args[] = {"fio",
			"--name=read",
			"--readonly",
			"--direct=1",
			"--ioengine=io_uring",
			job->random ? "--rw=randread" : "--rw=read",
			file,
			bytes,
			bs,
			iodepth,
			start,
			end,
			jobs,
			"--group_reporting",
			runtime,
			"--time_based",
			"--norandommap",
			"--allow_file_create=0",
			"--output-format=terse",
			"--terse-version=3",
			NULL};

	snprintf(file, sizeof file, "--filename=%s", job->path);
	snprintf(bytes, sizeof bytes, "--size=%llu", (unsigned long long)job->size);
	snprintf(bs, sizeof bs, "--bs=%u", job->block);
	snprintf(iodepth, sizeof iodepth, "--iodepth=%u", job->depth);
	snprintf(start, sizeof start, "--iodepth_batch_submit=%u", together);
	snprintf(end, sizeof end, "--iodepth_batch_complete_min=%u", together);
	snprintf(jobs, sizeof jobs, "--numjobs=%u", job->threads);
	snprintf(runtime, sizeof runtime, "--runtime=%ums", (unsigned)(job->seconds * 1000));
	return run(args);
}
