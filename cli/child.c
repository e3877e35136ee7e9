/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals are blocked and taken one by one with sigwaitinfo(2): no handler, so no race between the fork, the first
 * signal and the end. Those that say something to the program go on to it. The terminal's own (interrupt, quit,
 * hang-up) reach the whole process group, the program included, so they are dropped here; kill(2) to us alone is not.
 *
 * They are blocked before the program's start and after its end: an early or late one must not keep the caller from clearing up.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define CHORE_SECONDS 5

static const int passed_on[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};

/* What the program must find as we found it. */
struct signal_state {
	sigset_t mask;
	struct sigaction child;
};

static struct signal_state before;
static sigset_t taken;

/* An inherited "ignore SIGCHLD" would have the kernel reap the child before we learn how it ended. */
void child_signals_take(void)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};

	sigemptyset(&taken);
	sigaddset(&taken, SIGCHLD);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(&taken, passed_on[i]);
	sigaction(SIGCHLD, &plain, &before.child);
	sigprocmask(SIG_BLOCK, &taken, &before.mask);
}

void child_signals_restore(void)
{
	sigaction(SIGCHLD, &before.child, NULL);
	sigprocmask(SIG_SETMASK, &before.mask, NULL);
}

void child_signals_release(void)
{
	struct timespec now = {0};

	while (sigtimedwait(&taken, NULL, &now) > 0)
		;
	child_signals_restore();
}

static _Noreturn void become(const char *path, char **argv, int failure)
{
	int error;

	child_signals_restore();
	execv(path, argv);
	error = errno;
	if (write(failure, &error, sizeof error) < 0)
		_exit(EXIT_FAULTLINE);
	_exit(EXIT_CANNOT_EXEC);
}

static bool from_terminal(const siginfo_t *info)
{
	return info->si_code == SI_KERNEL && (info->si_signo == SIGINT || info->si_signo == SIGQUIT || info->si_signo == SIGHUP);
}

static int wait_for(pid_t pid, void (*chore)(void *arg), void *arg)
{
	struct timespec pause = {.tv_sec = CHORE_SECONDS};
	siginfo_t info;
	int status = 0, got;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		got = chore ? sigtimedwait(&taken, &info, &pause) : sigwaitinfo(&taken, &info);
		if (got > 0 && info.si_signo != SIGCHLD && !from_terminal(&info))
			kill(pid, info.si_signo);
		if (got < 0 && errno == EAGAIN)
			chore(arg);
	}
	return status;
}

/* The pipe closes by itself when execve(2) succeeds. */
static int read_exec_error(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof error);
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == (ssize_t)sizeof error ? error : 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void describe(int status, struct child_end *end)
{
	end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	end->exit_status = end->signal ? EXIT_SIGNALLED + end->signal : WEXITSTATUS(status);
}

int child_run(const char *path, char **argv, struct child_end *end, void (*chore)(void *arg), void *arg)
{
	uint64_t start = now_ns();
	int failure[2], error;
	pid_t pid;

	*end = (struct child_end){0};
	if (pipe2(failure, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become(path, argv, failure[1]);
	error = pid < 0 ? -errno : 0;
	close(failure[1]);
	end->exec_error = read_exec_error(failure[0]);
	if (!error)
		describe(wait_for(pid, chore, arg), end);
	end->wall_ns = now_ns() - start;
	return error;
}
