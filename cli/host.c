/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/engine.h"
#include "child.h"
#include "host/host.h"
#include "rundir.h"
#include "text.h"

#define BACKLOG 128
#define HOST_BUDGET_MIN (16UL << 20) /* with less, what each process keeps itself would leave nothing to share */

/* ---- The socket ---- */

/* A name that begins with '@' is not in the file system. */
static int bind_to(int fd, const char *name)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = strlen(name);

	if (len >= sizeof to.sun_path)
		return -ENAMETOOLONG;
	memcpy(to.sun_path, name, len + 1);
	if (name[0] == '@')
		to.sun_path[0] = 0;
	else
		len++;
	if (bind(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		return -errno;
	return listen(fd, BACKLOG) < 0 ? -errno : 0;
}

static int listen_at(const char *name)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = fd < 0 ? -errno : bind_to(fd, name);

	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

static char *new_name(void)
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof random, 0) < 0)
		random = (uint64_t)getpid() << 32;
	return text_format("@faultline-%d-%016llx", (int)getpid(), (unsigned long long)random);
}

/* ---- The process ---- */

/* Nothing of the caller's is kept open but what messages go to; a signal of the terminal's is not for it. */
static void detach(int listening, int hold)
{
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	dup2(listening, 3);
	dup2(hold, 4);
	close_range(5, ~0U, 0);
}

static int serve(const struct host_options *o)
{
	bool served;
	int err = host_run(o, &served);

	if (err && served)
		complain("what programs have stored cannot be written back, and is lost: %s", strerror(-err));
	else if (err)
		complain("the host cannot start: %s", strerror(-err));
	return err ? EXIT_FAULTLINE : 0;
}

static int read_options(struct host_options *o)
{
	const char *what;

	unsetenv("FAULTLINE_HOST");
	if (!engine_options_from_env(&o->engine, &what))
		return 0;
	complain("%s=%s makes no sense", what, getenv(what));
	return EXIT_FAULTLINE;
}

static _Noreturn void become_host(int listening, int hold)
{
	struct host_options o = {.listen_fd = 3, .hold_fd = 4};
	int status;

	child_signals_restore();
	/* Both may be below 5, in any order. */
	listening = fcntl(listening, F_DUPFD, 10);
	hold = fcntl(hold, F_DUPFD, 10);
	detach(listening, hold);
	prctl(PR_SET_NAME, "faultline host");
	status = read_options(&o);
	_exit(status ? status : serve(&o));
}

static int start(const char *name, struct host *h)
{
	int listening = listen_at(name), pair[2];

	if (listening < 0)
		return listening;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		close(listening);
		return -errno;
	}
	h->pid = fork();
	if (h->pid == 0)
		become_host(listening, pair[1]);
	close(listening);
	close(pair[1]);
	h->hold = pair[0];
	if (h->pid < 0) {
		close(pair[0]);
		h->hold = -1;
		return -errno;
	}
	return 0;
}

int host_start(const struct run_options *o, struct host *h)
{
	char *name;
	int err;

	*h = (struct host){.hold = -1};
	if (strcmp(o->host, "auto") != 0 || o->budget < HOST_BUDGET_MIN) {
		if (!strcmp(o->host, "auto") || !strcmp(o->host, "none"))
			unsetenv("FAULTLINE_HOST");
		return 0;
	}
	name = new_name();
	err = start(name, h);
	if (err)
		complain("no host can be started: %s; --host=none does without, each process by itself", strerror(-err));
	else
		setenv("FAULTLINE_HOST", name, 1);
	free(name);
	return err ? EXIT_FAULTLINE : 0;
}

/* It has said why. */
static int end_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	if (WIFSIGNALED(status))
		complain("the host was ended by signal %d (%s); what was stored since it last wrote is lost", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	return status ? EXIT_FAULTLINE : 0;
}

/* It ends, or says that it cannot yet. */
int host_let_go(struct host *h)
{
	char word;
	ssize_t n;

	if (h->hold < 0)
		return 0;
	shutdown(h->hold, SHUT_WR);
	do
		n = read(h->hold, &word, 1);
	while (n < 0 && errno == EINTR);
	close(h->hold);
	h->hold = -1;
	return n > 0 ? 0 : end_of(h->pid);
}

/* ---- faultline host ---- */

struct host_command {
	struct run_options run;
	const char *socket;
};

enum { KEY_SOCKET = 512 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct host_command *c = state->input;

	switch (key) {
	case KEY_SOCKET:
		c->socket = arg;
		return 0;
	case 'h':
		give_help(state);
	case ARGP_KEY_ARG:
		complain("host: %s: there is nothing more to name; usage: faultline host --socket PATH", arg);
		return EINVAL;
	case ARGP_KEY_END:
		if (c->socket)
			return 0;
		complain("host: no socket given; usage: faultline host --socket PATH");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option host_options[] = {
	{"socket", KEY_SOCKET, "PATH", 0, "Where programs join: a path, or @NAME for an abstract socket", 0},
	{"help", 'h', NULL, 0, "Give this help", -1},
	{0},
};

static const struct argp host_argp = {
	.options = host_options,
	.parser = parse,
	.doc = "Keeps the page caches of files for all programs that join it, within one budget.\v"
	       "Programs join with `faultline run --host=PATH`, or with FAULTLINE_HOST=PATH in their environment where they use the "
	       "library. "
	       "FAULTLINE_BUDGET, FAULTLINE_DIRECT, FAULTLINE_SWAP and FAULTLINE_LOG hold as for run.\n\n"
	       "SIGTERM writes everything back and ends it once the last program has left; a second one ends it at once.",
};

/* A socket that nobody listens at any more is in the way of a new one. */
static void remove_stale(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	if (path[0] == '@' || strlen(path) >= sizeof to.sun_path || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == ECONNREFUSED)
		unlink(path);
	close(fd);
}

/* So that `faultline top` finds it. */
static struct rundir own_directory;

static void make_findable(const struct host_command *c)
{
	struct run_info info = {.kind = RUN_HOST, .host_pid = (uint32_t)getpid(), .budget_bytes = c->run.budget};
	const char *given = getenv("FAULTLINE_REPORT");

	if ((given && !access(given, X_OK)) || rundir_make(&own_directory))
		return;
	setenv("FAULTLINE_REPORT", own_directory.path, 1);
	snprintf(info.what, sizeof info.what, "%s", c->socket);
	rundir_describe(&own_directory, &info);
}

int host_main(int argc, char **argv)
{
	struct host_command c = {0};
	struct host_options o = {.hold_fd = -1};
	int status = options_from_environment(&c.run);

	if (status || parse_command_line(&host_argp, "host", argc, argv, 0, &c))
		return EXIT_FAULTLINE;
	remove_stale(c.socket);
	umask(077);
	o.listen_fd = listen_at(c.socket);
	if (o.listen_fd < 0) {
		complain("%s: %s", c.socket, o.listen_fd == -EADDRINUSE ? "a host listens there already" : strerror(-o.listen_fd));
		return EXIT_FAULTLINE;
	}
	make_findable(&c);
	status = read_options(&o);
	if (!status)
		status = serve(&o);
	rundir_remove(&own_directory);
	if (c.socket[0] != '@')
		unlink(c.socket);
	return status;
}
