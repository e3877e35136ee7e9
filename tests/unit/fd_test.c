/* SPDX-License-Identifier: Apache-2.0 */
/* util/fd.c: descriptors out of the program's way, known as ours, and closed where that drops none of its locks. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/fd.h"

static int temporary(struct stat *st)
{
	char path[] = "/var/tmp/faultline-fd-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(fstat(fd, st), 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void copies_are_high_ours_and_close_on_exec(void **state)
{
	struct stat st;
	int fd = temporary(&st), high = fd_dup_high(fd);

	(void)state;
	assert_true(high > 200);
	assert_true(fd_is_ours(high));
	assert_false(fd_is_ours(fd));
	assert_true(fcntl(high, F_GETFD) & FD_CLOEXEC);
	fd_close(high);
	assert_false(is_open(high));
	assert_false(fd_is_ours(high));
	close(fd);
}

static void moving_leaves_nothing_at_the_low_number(void **state)
{
	struct stat st;
	int fd = temporary(&st), high = fd_move_high(fd);

	(void)state;
	assert_true(high > 200);
	assert_false(is_open(fd));
	assert_true(fd_is_ours(high));
	fd_close(high);
}

static void errors_go_through(void **state)
{
	(void)state;
	assert_int_equal(fd_move_high(-EMFILE), -EMFILE);
	assert_int_equal(fd_dup_high(-1), -EBADF);
	assert_false(fd_is_ours(-1));
	assert_false(fd_is_ours(1 << 30));
	assert_false(fd_is_ours(0));
	fd_close(-1);
}

static bool can_open(int n)
{
	int fd[FD_SPARES + 1], got = 0;

	while (got < n && (fd[got] = dup(0)) >= 0)
		got++;
	for (int i = 0; i < got; i++)
		close(fd[i]);
	return got == n;
}

static void set_limit(rlim_t soft)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = soft;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

static void expect_room(rlim_t limit)
{
	struct rlimit rl;

	assert_false(can_open(1));
	for (int turn = 0; turn < 3; turn++) {
		assert_true(fd_can_make_room());
		fd_make_room();
		fd_make_room();
		assert_true(can_open(FD_SPARES));
		assert_false(can_open(FD_SPARES + 1));
		fd_end_room();
		fd_end_room();
		assert_false(can_open(1));
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	assert_int_equal(rl.rlim_cur, limit);
}

/* Used up, and then a limit that is below all that there are. */
static void spares_are_room(void **state)
{
	struct rlimit rl;
	int first, last;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	set_limit(256);
	assert_true(fd_keep_spares());
	first = last = dup(0);
	for (int fd; (fd = dup(0)) >= 0; last = fd)
		;
	expect_room(256);
	set_limit(0);
	expect_room(0);
	set_limit(rl.rlim_cur);
	for (int fd = first; fd <= last; fd++)
		if (!fd_is_ours(fd))
			close(fd);
	fd_drop_spares();
	assert_int_equal(fd_next_ours(0), INT_MAX);
}

/* There what is free counts. */
static void where_there_are_few_none_is_kept(void **state)
{
	struct rlimit rl;
	int first = dup(0);

	(void)state;
	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	set_limit((rlim_t)first + FD_SPARES);
	assert_false(fd_keep_spares());
	assert_int_equal(fd_next_ours(0), INT_MAX);
	assert_true(fd_can_make_room());
	assert_true(can_open(FD_SPARES));
	set_limit((rlim_t)first + FD_SPARES - 1);
	assert_false(fd_can_make_room());
	set_limit(rl.rlim_cur);
}

/* Only another process is told of our lock. */
static bool locked_by_us(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

/* The last tests: there is no way back from fd_locks_in_use(). */
static void the_programs_record_locks_survive(void **state)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st, other;
	int fd = temporary(&st), fd2 = temporary(&other), high = fd_dup_high(fd), pipes[2], low;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETLK, &l), 0);
	fd_locks_in_use();
	fd_close_file(high);
	assert_true(is_open(high)); /* retired */
	assert_true(fd_have_retired());
	assert_true(locked_by_us(fd));
	fd_program_closed(other.st_dev, other.st_ino);
	assert_true(is_open(high));
	fd_program_closed(st.st_dev, st.st_ino);
	assert_false(is_open(high));
	assert_false(fd_is_ours(high));
	assert_false(fd_have_retired());

	low = fd_move_high(fcntl(fd2, F_DUPFD, 3)); /* stays: closing the low number could drop locks */
	assert_true(low < 200 && fd_is_ours(low));
	assert_int_equal(pipe(pipes), 0);
	fd_close(pipes[0]); /* carries no locks */
	assert_false(is_open(pipes[0]));
	close(pipes[1]);
	fd_close_file(low);
	fd_program_closed(other.st_dev, other.st_ino);
	assert_false(is_open(low));
	close(fd);
	close(fd2);
}

/* Of files that are mapped again and again; and one of each is enough for that. */
static void what_is_retired_is_used_again(void **state)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	int fd = temporary(&st), flags = fcntl(fd, F_GETFL), high = fd_dup_high(fd), again;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETLK, &l), 0);
	fd_locks_in_use();
	assert_int_equal(fd_take_retired(fd, flags), -1);
	for (int i = 0; i < 3; i++) {
		fd_close_file(high);
		assert_int_equal(fd_take_retired(fd, flags ^ O_APPEND), -1);
		assert_int_equal(fd_take_retired(fd, flags), high);
		assert_int_equal(fd_take_retired(fd, flags), -1);
	}
	for (int i = 0; i < 1100; i++) /* more than are remembered */
		if ((again = fd_dup_high(fd)) >= 0)
			fd_close_file(again);
	assert_true(locked_by_us(fd));
	fd_close_file(high);
	fd_program_closed(st.st_dev, st.st_ino);
	assert_false(fd_have_retired());
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_high_ours_and_close_on_exec),
		cmocka_unit_test(moving_leaves_nothing_at_the_low_number),
		cmocka_unit_test(errors_go_through),
		cmocka_unit_test(spares_are_room),
		cmocka_unit_test(where_there_are_few_none_is_kept),
		cmocka_unit_test(the_programs_record_locks_survive),
		cmocka_unit_test(what_is_retired_is_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
