/* SPDX-License-Identifier: Apache-2.0 */
/* What is undone is done by calls that a signal handler may make, and signals are blocked while the list changes. */
#include "undo.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	pid_t process;
	char setting[PATH_MAX], contents[64];
	char folder[PATH_MAX], file[PATH_MAX];
} undo;

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void write_back(void)
{
	int fd = *undo.setting ? open(undo.setting, O_WRONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	if (write(fd, undo.contents, strlen(undo.contents)) < 0)
		*undo.contents = 0; /* there is nobody left to tell */
	close(fd);
}

static void undo_all(void)
{
	if (undo.process) {
		kill(undo.process, SIGKILL);
		waitpid(undo.process, NULL, 0);
	}
	write_back();
	if (*undo.folder)
		rmdir(undo.folder);
	if (*undo.file)
		unlink(undo.file);
	memset(&undo, 0, sizeof undo);
}

static void on_signal(int sig)
{
	undo_all();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void block(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		sigaddset(&set, ends[i]);
	sigprocmask(SIG_BLOCK, &set, old);
}

static void set_text(char *to, size_t size, const char *from)
{
	sigset_t old;

	block(&old);
	snprintf(to, size, "%s", from ? from : "");
	sigprocmask(SIG_SETMASK, &old, NULL);
}

void undo_start(void)
{
	struct sigaction act = {.sa_handler = on_signal}, old;

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		sigaddset(&act.sa_mask, ends[i]);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (!sigaction(ends[i], NULL, &old) && old.sa_handler != SIG_IGN) /* nohup(1) stays what it is */
			sigaction(ends[i], &act, NULL);
	atexit(undo_all);
}

void undo_process(pid_t pid)
{
	undo.process = pid;
}

void undo_setting(const char *path, const char *contents)
{
	set_text(undo.contents, sizeof undo.contents, contents);
	set_text(undo.setting, sizeof undo.setting, path);
}

void undo_folder(const char *path)
{
	set_text(undo.folder, sizeof undo.folder, path);
}

void undo_file(const char *path)
{
	set_text(undo.file, sizeof undo.file, path);
}
