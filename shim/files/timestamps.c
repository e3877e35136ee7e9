/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that set the times of a file: what was stored to it before is written before, or its write-back would change them again. */
#include <errno.h>

#include "arguments/held.h"
#include "arguments/paths.h"
#include "base/mapped.h"
#include "base/real.h"
#include "util/sys.h"

/* An error of writing is told by those who ask for it: msync(2), fsync(2). */
static void write_stores(struct address_space *as)
{
	if (!as)
		return;
	file_io_sync(as, 0, UINT64_MAX);
	file_io_put(as);
}

static void before_fd(int fd)
{
	write_stores(file_io_lookup(fd));
}

static void before_path(int dir, const char *path, int flags)
{
	int saved = errno;
	struct stat st;

	if (!NOTHING_MAPPED && path && !fstatat(dir, path, &st, flags))
		write_stores(file_io_find(&st));
	errno = saved;
}

#define RETURN_SETTING(path, times, size, call)                                                                             \
	do {                                                                                                                \
		struct held times_ = READS(times, size);                                                                    \
		bool more_;                                                                                                 \
		int result_;                                                                                                \
                                                                                                                            \
		do {                                                                                                        \
			PATH_HERE(path_, path);                                                                             \
			HOLD_HERE(&times_, 1);                                                                              \
			result_ = call;                                                                                     \
			more_ = path_was_cut(path, path_.n, result_) || (says_efault(result_) && held_was_cut(&times_, 1)); \
		} while (more_);                                                                                            \
		return result_;                                                                                             \
	} while (0)

WRAPPER int futimens(int fd, const struct timespec t[2])
{
	before_fd(fd);
	RETURN_HELD(REAL(futimens)(fd, t), READS(t, 2 * sizeof *t));
}

WRAPPER int futimes(int fd, const struct timeval t[2])
{
	before_fd(fd);
	return REAL(futimes)(fd, t); /* which libc reads itself */
}

WRAPPER int utimensat(int dir, const char *path, const struct timespec t[2], int flags)
{
	before_path(dir, path, flags);
	RETURN_SETTING(path, t, 2 * sizeof *t, REAL(utimensat)(dir, path, t, flags));
}

WRAPPER int futimesat(int dir, const char *path, const struct timeval t[2])
{
	if (path)
		before_path(dir, path, 0);
	else
		before_fd(dir);
	RETURN_HOLDING(path, REAL(futimesat)(dir, path, t));
}

WRAPPER int utimes(const char *path, const struct timeval t[2])
{
	before_path(AT_FDCWD, path, 0);
	RETURN_SETTING(path, t, 2 * sizeof *t, REAL(utimes)(path, t));
}

WRAPPER int lutimes(const char *path, const struct timeval t[2])
{
	before_path(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
	RETURN_SETTING(path, t, 2 * sizeof *t, REAL(lutimes)(path, t));
}

WRAPPER int utime(const char *path, const struct utimbuf *t)
{
	before_path(AT_FDCWD, path, 0);
	RETURN_SETTING(path, t, sizeof *t, REAL(utime)(path, t));
}
