/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that take paths, and give strings or structs, and otherwise nothing that concerns mappings. */
#include "paths.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "api/file_io.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/pins.h"
#include "base/real.h"
#include "held.h"

static size_t rest_of_page(const char *s)
{
	return FL_PAGE_SIZE - ((uintptr_t)s & FL_PAGE_MASK);
}

/* What one page has of a string, its end included; 0 when it cannot be read. */
static size_t hold_part(const char *s, const void *frame)
{
	size_t room = rest_of_page(s), len;
	bool again;

	do {
		if (pin(s, room, false, frame))
			return 0;
		if (can_read(s, room))
			break;
		again = file_io_was_cut(s, room, -EFAULT);
		unpin(s, room, frame);
		if (!again)
			return 0;
	} while (again);
	len = strnlen(s, room);
	return len < room ? len + 1 : room;
}

size_t path_hold_slowly(const char *path, const void *frame)
{
	int saved = errno;
	size_t held = 0, part;

	if (!path || !file_io_is_ours(path, 1))
		return 0;
	do {
		part = hold_part(path + held, frame);
		held += part;
	} while (part && path[held - 1] && held < PATH_MAX);
	errno = saved;
	return held;
}

/* Page by page, as it was pinned. */
void path_release_slowly(const char *path, size_t held, const void *frame)
{
	for (size_t done = 0, part; done < held; done += part) {
		part = min_u64(held - done, rest_of_page(path + done));
		unpin(path + done, part, frame);
	}
}

#define RETURN_FILLING(path, struct_, call)                           \
	do {                                                          \
		struct held out_ = FILLS(struct_, sizeof *struct_);   \
		bool more_;                                           \
		int result_;                                          \
                                                                      \
		do {                                                  \
			PATH_HERE(path_, path);                       \
			HOLD_HERE(&out_, 1);                          \
			result_ = call;                               \
			more_ = path_was_cut(path, path_.n, result_); \
		} while (more_);                                      \
		return result_;                                       \
	} while (0)

WRAPPER int stat(const char *path, struct stat *st)
{
	RETURN_FILLING(path, st, REAL(stat)(path, st));
}

WRAPPER int stat64(const char *path, struct stat64 *st)
{
	RETURN_FILLING(path, st, REAL(stat64)(path, st));
}

WRAPPER int lstat(const char *path, struct stat *st)
{
	RETURN_FILLING(path, st, REAL(lstat)(path, st));
}

WRAPPER int lstat64(const char *path, struct stat64 *st)
{
	RETURN_FILLING(path, st, REAL(lstat64)(path, st));
}

WRAPPER int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	RETURN_FILLING(path, st, REAL(fstatat)(dir, path, st, flags));
}

WRAPPER int fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
	RETURN_FILLING(path, st, REAL(fstatat64)(dir, path, st, flags));
}

WRAPPER int statx(int dir, const char *path, int flags, unsigned mask, struct statx *st)
{
	RETURN_FILLING(path, st, REAL(statx)(dir, path, flags, mask, st));
}

WRAPPER int statfs(const char *path, struct statfs *st)
{
	RETURN_FILLING(path, st, REAL(statfs)(path, st));
}

WRAPPER int statfs64(const char *path, struct statfs64 *st)
{
	RETURN_FILLING(path, st, REAL(statfs64)(path, st));
}

WRAPPER int access(const char *path, int mode)
{
	RETURN_HOLDING(path, REAL(access)(path, mode));
}

WRAPPER int faccessat(int dir, const char *path, int mode, int flags)
{
	RETURN_HOLDING(path, REAL(faccessat)(dir, path, mode, flags));
}

WRAPPER int unlink(const char *path)
{
	RETURN_HOLDING(path, REAL(unlink)(path));
}

WRAPPER int unlinkat(int dir, const char *path, int flags)
{
	RETURN_HOLDING(path, REAL(unlinkat)(dir, path, flags));
}

WRAPPER int rmdir(const char *path)
{
	RETURN_HOLDING(path, REAL(rmdir)(path));
}

WRAPPER int mkdir(const char *path, mode_t mode)
{
	RETURN_HOLDING(path, REAL(mkdir)(path, mode));
}

WRAPPER int mkdirat(int dir, const char *path, mode_t mode)
{
	RETURN_HOLDING(path, REAL(mkdirat)(dir, path, mode));
}

WRAPPER int chdir(const char *path)
{
	RETURN_HOLDING(path, REAL(chdir)(path));
}

WRAPPER int chmod(const char *path, mode_t mode)
{
	RETURN_HOLDING(path, REAL(chmod)(path, mode));
}

WRAPPER int chown(const char *path, uid_t user, gid_t group)
{
	RETURN_HOLDING(path, REAL(chown)(path, user, group));
}

WRAPPER int lchown(const char *path, uid_t user, gid_t group)
{
	RETURN_HOLDING(path, REAL(lchown)(path, user, group));
}

WRAPPER int rename(const char *from, const char *to)
{
	RETURN_HOLDING_BOTH(from, to, REAL(rename)(from, to));
}

WRAPPER int renameat(int dir, const char *from, int to_dir, const char *to)
{
	RETURN_HOLDING_BOTH(from, to, REAL(renameat)(dir, from, to_dir, to));
}

WRAPPER int renameat2(int dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	RETURN_HOLDING_BOTH(from, to, REAL(renameat2)(dir, from, to_dir, to, flags));
}

WRAPPER int link(const char *from, const char *to)
{
	RETURN_HOLDING_BOTH(from, to, REAL(link)(from, to));
}

WRAPPER int symlink(const char *text, const char *path)
{
	RETURN_HOLDING_BOTH(text, path, REAL(symlink)(text, path));
}

WRAPPER DIR *opendir(const char *path)
{
	RETURN_HOLDING_AS(result_ ? 0 : -1, path, REAL(opendir)(path));
}

/* ---- Strings given: by way of the stack when the room for them is ours ---- */

/* Out of line, or the compiler takes it for a read of what buf points to. */
__attribute__((noinline)) static bool is_ours(uintptr_t buf, size_t len)
{
	return file_io_is_ours((const void *)buf, len);
}

/* What the kernel said, also in memory of ours; EFAULT where that cannot be written. */
static ssize_t give(char *to, const char *text, ssize_t n)
{
	if (n <= 0 || !file_io_copy_out(to, text, (size_t)n))
		return n;
	errno = EFAULT;
	return -1;
}

/* The link's text, at most len bytes of it, into memory of ours. */
static ssize_t read_link(int dir, const char *path, char *buf, size_t len)
{
	char text[PATH_MAX];
	bool more;
	ssize_t n;

	do {
		PATH_HERE(held, path);

		n = REAL(readlinkat)(dir, path, text, len < sizeof text ? len : sizeof text);
		more = path_was_cut(path, held.n, n);
	} while (more);
	return give(buf, text, n);
}

WRAPPER ssize_t readlinkat(int dir, const char *path, char *buf, size_t len)
{
	if (unlikely(is_ours((uintptr_t)buf, len)))
		return read_link(dir, path, buf, len);
	RETURN_HOLDING(path, REAL(readlinkat)(dir, path, buf, len));
}

WRAPPER ssize_t readlink(const char *path, char *buf, size_t len)
{
	if (NOTHING_MAPPED)
		return REAL(readlink)(path, buf, len);
	return readlinkat(AT_FDCWD, path, buf, len);
}

static char *get_cwd(char *buf, size_t len)
{
	char text[PATH_MAX];

	if (!REAL(getcwd)(text, len < sizeof text ? len : sizeof text))
		return NULL;
	return give(buf, text, (ssize_t)strlen(text) + 1) < 0 ? NULL : buf;
}

WRAPPER char *getcwd(char *buf, size_t len)
{
	if (NOTHING_MAPPED || !buf || !file_io_is_ours(buf, len))
		return REAL(getcwd)(buf, len);
	return get_cwd(buf, len);
}
