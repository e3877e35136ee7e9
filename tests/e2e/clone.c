/* SPDX-License-Identifier: Apache-2.0 */
/* Children with memory of their own that are not made by fork(3): their mappings are as those of its children. */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (4UL << 20)

static char stack[1 << 18] __attribute__((aligned(64)));
static int fd, other;
static char *shared, *private;

static int work(void *arg)
{
	int value = *(int *)arg;
	char *late;

	CHECK(shared[PAGE] == 1 && private[PAGE] == 2 && (uint8_t)shared[SIZE / 2 + 7] == pattern(SIZE / 2 + 7));
	shared[3 * PAGE] = (char)value;
	private[PAGE] = (char)value;
	late = map_file(other, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	late[5 * PAGE] = (char)value;
	return value;
}

static void is_done(pid_t child, int value)
{
	char c;
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == value);
	CHECK(shared[3 * PAGE] == value && private[PAGE] == 2);
	CHECK(pread(fd, &c, 1, 3 * PAGE) == 1 && c == value);
	CHECK(pread(other, &c, 1, 5 * PAGE) == 1 && c == value);
}

static void by_clone(void)
{
	is_done(clone(work, stack + sizeof stack, SIGCHLD, &(int){11}), 11);
	is_done(clone(work, stack + sizeof stack, SIGCHLD | CLONE_FS | CLONE_VFORK, &(int){12}), 12);
	FAILS(EINVAL, clone(work, stack + sizeof stack, SIGCHLD | CLONE_THREAD, &(int){13}));
	shared[4 * PAGE] = 4;
	CHECK(shared[4 * PAGE] == 4);
}

static void by_number(void)
{
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!child)
		_exit(work(&(int){14}));
	is_done((pid_t)child, 14);
	child = syscall(SYS_fork);
	if (!child)
		_exit(work(&(int){15}));
	is_done((pid_t)child, 15);
}

/* More than fork(2) asks for, and what only clone3(2) can say. */
static void by_number_with_flags(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_FS | CLONE_VFORK};
	long child = syscall(SYS_clone, SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, 0, 0, &(int){0}, 0);

	if (!child)
		_exit(work(&(int){17}));
	is_done((pid_t)child, 17);
	child = syscall(SYS_clone3, &args, sizeof args);
	if (child < 0 && errno == ENOSYS)
		return;
	if (!child)
		_exit(work(&(int){18}));
	is_done((pid_t)child, 18);
	memcpy(&shared[6 * PAGE], &(struct clone_args){.exit_signal = SIGCHLD}, sizeof args);
	CHECK(!msync(shared, SIZE, MS_SYNC) && !madvise(shared, SIZE, MADV_DONTNEED));
	child = syscall(SYS_clone3, &shared[6 * PAGE], sizeof args);
	if (!child)
		_exit(work(&(int){19}));
	is_done((pid_t)child, 19);
	FAILS(EINVAL, syscall(SYS_clone3, &args, 8UL));
	FAILS(EFAULT, syscall(SYS_clone3, 16L, sizeof args));
	args.flags = CLONE_THREAD;
	FAILS(EINVAL, syscall(SYS_clone3, &args, sizeof args));
	shared[4 * PAGE] = 5;
	CHECK(shared[4 * PAGE] == 5);
}

static void by_fork_without_handlers(void)
{
	pid_t child = _Fork();

	if (!child)
		_exit(work(&(int){16}));
	is_done(child, 16);
}

#define FIRST (SIZE / 2 + 64 * PAGE) /* of pages that nobody has looked at */
#define LOOKS 8

/* It reads what the file has, or cannot read. */
static int look(void *arg)
{
	int files = *(int *)arg;

	if (pwrite(files, "x", 1, 0) != 1)
		return 2;
	for (uint64_t at = FIRST; at < FIRST + LOOKS * PAGE; at += PAGE)
		if ((uint8_t)shared[at + 7] != pattern(at + 7))
			return 1;
	return 0;
}

static void has_looked(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGSEGV);
	for (uint64_t at = FIRST; at < FIRST + LOOKS * PAGE; at += PAGE)
		CHECK((uint8_t)shared[at + 7] == pattern(at + 7));
	CHECK(!madvise(shared + FIRST, LOOKS * PAGE, MADV_PAGEOUT));
}

/* With the parent's descriptors: what it maps by itself would be in the parent's hands. */
static void with_these_descriptors(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .flags = CLONE_FILES};
	int files = pattern_file(PAGE);
	long child;

	CHECK(!madvise(shared + FIRST, LOOKS * PAGE, MADV_PAGEOUT));
	has_looked(clone(look, stack + sizeof stack, SIGCHLD | CLONE_FILES, &files));
	child = syscall(SYS_clone, SIGCHLD | CLONE_FILES, 0, 0, 0, 0);
	if (!child)
		_exit(look(&files));
	has_looked((pid_t)child);
	child = syscall(SYS_clone3, &args, sizeof args);
	if (!child)
		_exit(look(&files));
	CHECK(child > 0 || errno == ENOSYS);
	if (child > 0)
		has_looked((pid_t)child);
	close(files);
	shared[4 * PAGE] = 6;
	CHECK(shared[4 * PAGE] == 6);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"clone", by_clone},
						 {"number", by_number},
						 {"flags", by_number_with_flags},
						 {"_Fork", by_fork_without_handlers},
						 {"descriptors", with_these_descriptors}};

	(void)argc;
	fd = pattern_file(SIZE);
	other = pattern_file(SIZE);
	shared = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	private = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	shared[PAGE] = 1;
	private[PAGE] = 2;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
