/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: of a path, of a symbolic link, of a descriptor. */
#include "base/real.h"
#include "held.h"
#include "paths.h"

#define NO_PATH READS(NULL, 0)

/* cppcheck-suppress preprocessorErrorDirective ; an empty prefix */
#define XATTR_WRAPPERS(prefix, type, file, path)                                                                             \
	WRAPPER int prefix##setxattr(type file, const char *name, const void *value, size_t size, int flags)                 \
	{                                                                                                                    \
		RETURN_HELD(REAL(prefix##setxattr)(file, name, value, size, flags), path, STRING(name), READS(value, size)); \
	}                                                                                                                    \
	WRAPPER ssize_t prefix##getxattr(type file, const char *name, void *value, size_t size)                              \
	{                                                                                                                    \
		RETURN_HELD(REAL(prefix##getxattr)(file, name, value, size), path, STRING(name), FILLS(value, size));        \
	}                                                                                                                    \
	WRAPPER ssize_t prefix##listxattr(type file, char *list, size_t size)                                                \
	{                                                                                                                    \
		RETURN_HELD(REAL(prefix##listxattr)(file, list, size), path, FILLS(list, size));                             \
	}                                                                                                                    \
	WRAPPER int prefix##removexattr(type file, const char *name)                                                         \
	{                                                                                                                    \
		RETURN_HELD(REAL(prefix##removexattr)(file, name), path, STRING(name));                                      \
	}

XATTR_WRAPPERS(, const char *, file, STRING(file))
XATTR_WRAPPERS(l, const char *, file, STRING(file))
XATTR_WRAPPERS(f, int, fd, NO_PATH)
