/* SPDX-License-Identifier: Apache-2.0 */
/* libc's second names for its calls: on a file that is mapped, and with arguments in memory that is not there. */
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "fresh.h"

ssize_t __read(int fd, void *buf, size_t len);
ssize_t __write(int fd, const void *buf, size_t len);
ssize_t __pread64(int fd, void *buf, size_t len, off64_t off);
ssize_t __pwrite64(int fd, const void *buf, size_t len, off64_t off);
off_t __lseek(int fd, off_t off, int whence);
int __open(const char *path, int flags, ...);
int __open64(const char *path, int flags, ...);
int __close(int fd);
int __fcntl(int fd, int cmd, ...);
int __dup2(int fd, int to);
int __pipe(int fds[2]);
int __statfs(const char *path, struct statfs *st);
pid_t __waitpid(pid_t pid, int *status, int flags);
int __sched_getparam(pid_t pid, struct sched_param *param);
pid_t __fork(void);
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
int __xstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);
int __fxstat(int version, int fd, struct stat *st);
int __fxstatat64(int version, int dir, const char *path, struct stat64 *st, int flags);
int __xmknod(int version, const char *path, mode_t mode, dev_t *dev);

#define SIZE (2UL << 20)
#define NAME "names.file"
#define OTHER "names.other"

static char name[] = NAME;

static char *file_and_map(int *fd)
{
	char *p;

	*fd = __open(put(name, sizeof name), O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(*fd >= 0 && !ftruncate(*fd, SIZE));
	p = map_file(*fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK(!p[at]);
	return p;
}

static void bytes(void)
{
	char *p, c;
	int fd;

	p = file_and_map(&fd);
	for (int i = 1; i < 100; i++) {
		p[PAGE] = (char)i;
		CHECK(__pread64(fd, &c, 1, PAGE) == 1 && c == i);
		p[PAGE + 1] = (char)-i;
		CHECK(__lseek(fd, PAGE + 1, SEEK_SET) == PAGE + 1 && __read(fd, &c, 1) == 1 && c == -i);
		c = (char)(i + 1);
		CHECK(__write(fd, &c, 1) == 1 && p[PAGE + 2] == i + 1);
		c = (char)(i + 2);
		CHECK(__pwrite64(fd, &c, 1, 5 * PAGE) == 1 && p[5 * PAGE] == i + 2);
	}
	CHECK(!munmap(p, SIZE) && !close(fd));
}

/* A number that has named a file that is not mapped comes to name one that is. */
static void descriptors(void)
{
	int fd, other = open(OTHER, O_RDWR | O_CREAT, 0600), again;
	char *p = file_and_map(&fd), c = 0;

	for (int i = 0; i < 3; i++)
		CHECK(pread(other, &c, 1, 0) == 0);
	CHECK(__dup2(fd, other) == other);
	p[0] = 1;
	CHECK(pread(other, &c, 1, 0) == 1 && c == 1);
	CHECK(!__close(other) && (again = __open64(name, O_RDWR)) == other);
	p[0] = 2;
	CHECK(pread(again, &c, 1, 0) == 1 && c == 2);
	CHECK(!__close(again) && (again = __fcntl(fd, F_DUPFD, 3)) == other);
	p[0] = 3;
	CHECK(pread(again, &c, 1, 0) == 1 && c == 3 && !__close(again));
	CHECK((again = __open(name, O_RDWR | O_TRUNC)) == other && !ftruncate(again, SIZE) && p[0] == 0);
	CHECK(!munmap(p, SIZE) && !close(fd) && !close(again) && !unlink(OTHER));
}

static void structs(void)
{
	struct sched_param *param = fresh();
	struct stat64 *st64 = fresh();
	struct stat *st = fresh();
	struct statfs *fs = fresh();
	int *fds = fresh();
	dev_t none = 0;

	CHECK(!__xstat(1, put(name, sizeof name), st) && st->st_size == SIZE);
	CHECK(!__lxstat64(1, put(name, sizeof name), st64) && st64->st_size == SIZE);
	st = fresh(), st64 = fresh();
	CHECK(!__fxstat(0, STDIN_FILENO, st) && st->st_ino);
	CHECK(!__fxstatat64(1, AT_FDCWD, put(name, sizeof name), st64, 0) && st64->st_size == SIZE);
	FAILS(EINVAL, __xstat(7, name, st));
	CHECK(!__statfs(put(name, sizeof name), fs) && fs->f_bsize);
	CHECK(!__pipe(fds) && !close(fds[0]) && !close(fds[1]));
	CHECK(!__sched_getparam(0, param));
	CHECK(!__xmknod(0, put(OTHER, sizeof OTHER), S_IFIFO | 0600, &none) && !unlink(OTHER));
	FAILS(EINVAL, __xmknod(7, OTHER, S_IFIFO | 0600, &none));
}

static int look(void *at)
{
	return *(char *)at;
}

static void children(void)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	char *p = put("\7", 1);
	int *status = fresh();
	pid_t pid = __fork();

	if (!pid)
		_exit(look(p));
	CHECK(__waitpid(pid, status, 0) == pid && WEXITSTATUS(*status) == 7);
	p = put("\10", 1);
	pid = __clone(look, stack + sizeof stack, SIGCHLD, p);
	status = fresh();
	CHECK(pid > 0 && __waitpid(pid, status, 0) == pid && WEXITSTATUS(*status) == 8);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"bytes", bytes}, {"descriptors", descriptors}, {"structs", structs}, {"children", children}};
	int status, fd;

	(void)argc;
	fresh_begin();
	CHECK((fd = open(NAME, O_RDWR | O_CREAT, 0600)) >= 0 && !ftruncate(fd, SIZE) && !close(fd));
	status = run_cases(cases, ARRAY_SIZE(cases), argv + 1);
	unlink(NAME);
	return status;
}
