/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readdir: libc has what getdents64(2) fills from malloc(3), which may be the program's own, with memory of ours. Where that lies is looked up in the DIR, whose
 * layout has been the same in glibc for long.
 */
#include <dirent.h>

#include "arguments/held.h"
#include "base/real.h"

struct dir {
	int fd, lock;
	size_t room, filled, at;
	off64_t position;
	int error;
	char entries[];
};

#define ROOM_MAX (1UL << 20) /* what glibc never exceeds */

static bool asks_the_kernel(const struct dir *d)
{
	return !NOTHING_MAPPED && d && d->at >= d->filled && d->room <= ROOM_MAX;
}

/* `room` is counted from the entries, which are aligned for a long. */
#define RETURN_HOLDING_DIR(dir, call)                                                                \
	do {                                                                                         \
		struct dir *d_ = (struct dir *)(dir);                                                \
                                                                                                     \
		if (!asks_the_kernel(d_))                                                            \
			return call;                                                                 \
                                                                                                     \
		struct held h_ = FILLS(d_, offsetof(struct dir, entries) + sizeof(long) + d_->room); \
		__typeof__(call) result_;                                                            \
                                                                                                     \
		hold(&h_, 1);                                                                        \
		result_ = call;                                                                      \
		release(&h_, 1);                                                                     \
		return result_;                                                                      \
	} while (0)

WRAPPER struct dirent *readdir(DIR *dir)
{
	RETURN_HOLDING_DIR(dir, REAL(readdir)(dir));
}

WRAPPER struct dirent64 *readdir64(DIR *dir)
{
	RETURN_HOLDING_DIR(dir, REAL(readdir64)(dir));
}

WRAPPER int readdir_r(DIR *dir, struct dirent *entry, struct dirent **result)
{
	RETURN_HOLDING_DIR(dir, REAL(readdir_r)(dir, entry, result));
}

WRAPPER int readdir64_r(DIR *dir, struct dirent64 *entry, struct dirent64 **result)
{
	RETURN_HOLDING_DIR(dir, REAL(readdir64_r)(dir, entry, result));
}
