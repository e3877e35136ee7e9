/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children of a process that has used up its descriptors, has lowered its limit of them, or has become another user: they have what is
 * mapped, or fork fails and says why.
 *
 *   limits [may-fail] CASE...
 */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (4UL << 20)
#define NOBODY 65534

static char stack[1 << 18] __attribute__((aligned(64)));
static int fd;
static char *shared, *private, *anonymous, *shared_anonymous;
static bool may_fail;
static int failed; /* calls that did */

/* Also what it has to do without descriptors: a mapping of its own. */
static int look(void *arg)
{
	char *late;

	CHECK(shared[PAGE] == 1 && private[PAGE] == 2 && (uint8_t)shared[SIZE / 2 + 7] == pattern(SIZE / 2 + 7));
	CHECK(anonymous[2 * PAGE] == 4 && !anonymous[3 * PAGE] && shared_anonymous[PAGE] == 5);
	shared[3 * PAGE] = *(char *)arg;
	private[PAGE] = 9;
	anonymous[2 * PAGE] = 9;
	shared_anonymous[3 * PAGE] = *(char *)arg;
	late = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (late == MAP_FAILED)
		CHECK(may_fail && (errno == EMFILE || errno == ENOMEM));
	else
		CHECK(late[3 * PAGE] == *(char *)arg);
	return 7;
}

static void is_done(const char *how, pid_t child, char value)
{
	int status;

	if (child < 0) {
		CHECK(may_fail && (errno == EAGAIN || errno == ENOMEM));
		fprintf(stderr, "%s: %s\n", how, strerror(errno));
		failed++;
	} else {
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		CHECK(shared[3 * PAGE] == value && shared_anonymous[3 * PAGE] == value);
	}
	CHECK(shared[PAGE] == 1 && private[PAGE] == 2 && anonymous[2 * PAGE] == 4 && shared_anonymous[PAGE] == 5);
}

/* All ways to make a child. Another program needs nothing of what is mapped. */
static void children(void)
{
	extern char **environ;
	static char value;
	char *argv[] = {"none", NULL};
	pid_t child;
	int status;

	value++;
	child = fork();
	if (!child)
		_exit(look(&value));
	is_done("fork", child, value);
	value++;
	child = _Fork();
	if (!child)
		_exit(look(&value));
	is_done("_Fork", child, value);
	value++;
	is_done("clone", clone(look, stack + sizeof stack, SIGCHLD, &value), value);
	value++;
	child = (pid_t)syscall(SYS_fork);
	if (!child)
		_exit(look(&value));
	is_done("by number", child, value);
	child = vfork();
	if (!child)
		_exit(0);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && !status);
	CHECK(posix_spawn(&child, "/is/not/there", NULL, NULL, argv, environ) == ENOENT);
}

/* Children of children, too. */
static void generations(void)
{
	pid_t child;
	int status;

	children();
	child = fork();
	if (!child) {
		children();
		_exit(failed ? 1 : 0);
	}
	if (child < 0) {
		failed++;
		return;
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	failed += WEXITSTATUS(status);
}

static int use_up(int *first)
{
	int last = -1;

	for (int n; (n = dup(fd)) >= 0; last = n)
		if (*first < 0)
			*first = n;
	CHECK(errno == EMFILE);
	return last;
}

/* All that there are, and then with a few left. */
static void used_up(void)
{
	struct rlimit all, few;
	int first = -1, last, next = dup(fd);

	close(next);
	CHECK(!getrlimit(RLIMIT_NOFILE, &all));
	few = (struct rlimit){(rlim_t)next + 40 < all.rlim_cur ? (rlim_t)next + 40 : all.rlim_cur, all.rlim_max};
	for (int turn = 0; turn < 2; turn++) {
		last = use_up(&first);
		for (int left = 0; left < 8; left++) {
			generations();
			CHECK(!failed);
			close(last - left);
		}
		for (int n = first; n <= last; n++)
			close(n);
		CHECK(!setrlimit(RLIMIT_NOFILE, &few));
	}
	CHECK(!setrlimit(RLIMIT_NOFILE, &all));
}

/* Below what is open. */
static void lowered(void)
{
	struct rlimit all;

	CHECK(!getrlimit(RLIMIT_NOFILE, &all));
	for (rlim_t limit = (rlim_t)fd + 2; limit + 1; limit--) {
		CHECK(!setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, all.rlim_max}));
		children();
		CHECK(!failed);
	}
	generations();
	CHECK(!failed);
	CHECK(!setrlimit(RLIMIT_NOFILE, &all));
	generations();
	CHECK(!failed);
}

/* With some left below. */
static void few_for_good(void)
{
	rlim_t limit = (rlim_t)fd + 60;

	CHECK(!setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, limit}));
	generations();
	CHECK(!failed);
}

static void for_good(void)
{
	CHECK(!setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)fd, (rlim_t)fd}));
	generations();
}

static void another_user(void)
{
	if (geteuid())
		return;
	CHECK(!seteuid(NOBODY));
	generations();
	CHECK(!failed);
	CHECK(!seteuid(0));
}

static void another_user_for_good(void)
{
	if (geteuid())
		return;
	CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	generations();
	CHECK(!failed);
}

static void lowered_by_another_user_for_good(void)
{
	if (!geteuid())
		CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	for_good();
}

static char *map(int flags, int of)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, of, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

#define IN_CHILD(name)                 \
	static void child_##name(void) \
	{                              \
		in_child(name);        \
	}
IN_CHILD(used_up)
IN_CHILD(lowered)
IN_CHILD(few_for_good)
IN_CHILD(for_good)
IN_CHILD(another_user)
IN_CHILD(another_user_for_good)
IN_CHILD(lowered_by_another_user_for_good)

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"used_up", child_used_up},
		{"lowered", child_lowered},
		{"few_for_good", child_few_for_good},
		{"for_good", child_for_good},
		{"another_user", child_another_user},
		{"another_user_for_good", child_another_user_for_good},
		{"lowered_for_good", child_lowered_by_another_user_for_good},
	};

	may_fail = argc > 1 && !strcmp(argv[1], "may-fail");
	fd = pattern_file(SIZE);
	shared = map(MAP_SHARED, fd);
	private = map(MAP_PRIVATE, fd);
	anonymous = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	shared_anonymous = map(MAP_SHARED | MAP_ANONYMOUS, -1);
	shared[PAGE] = 1;
	private[PAGE] = 2;
	anonymous[2 * PAGE] = 4;
	shared_anonymous[PAGE] = 5;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1 + may_fail);
}
