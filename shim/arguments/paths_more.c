/* SPDX-License-Identifier: Apache-2.0 */
/* More calls that take a path in memory that may be ours, in a table; those that give something too are in paths.c. */
#include "base/real.h"
#include "paths.h"

#define PATH_WRAPPER(type, name, parameters, arguments)     \
	WRAPPER type name parameters                        \
	{                                                   \
		RETURN_HOLDING(path, REAL(name) arguments); \
	}

PATH_WRAPPER(int, fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
PATH_WRAPPER(int, fchownat, (int dir, const char *path, uid_t user, gid_t group, int flags), (dir, path, user, group, flags))
PATH_WRAPPER(int, mknod, (const char *path, mode_t mode, dev_t dev), (path, mode, dev))
PATH_WRAPPER(int, mknodat, (int dir, const char *path, mode_t mode, dev_t dev), (dir, path, mode, dev))
PATH_WRAPPER(int, mkfifo, (const char *path, mode_t mode), (path, mode))
PATH_WRAPPER(int, mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PATH_WRAPPER(int, euidaccess, (const char *path, int mode), (path, mode))
PATH_WRAPPER(int, eaccess, (const char *path, int mode), (path, mode))
PATH_WRAPPER(long, pathconf, (const char *path, int name), (path, name))
PATH_WRAPPER(int, remove, (const char *path), (path))
PATH_WRAPPER(char *, realpath, (const char *path, char *to), (path, to))
PATH_WRAPPER(int, statvfs, (const char *path, struct statvfs *st), (path, st))
PATH_WRAPPER(int, statvfs64, (const char *path, struct statvfs64 *st), (path, st))

WRAPPER int linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
	RETURN_HOLDING_BOTH(from, to, REAL(linkat)(dir, from, to_dir, to, flags));
}

WRAPPER int symlinkat(const char *text, int dir, const char *path)
{
	RETURN_HOLDING_BOTH(text, path, REAL(symlinkat)(text, dir, path));
}
