/* SPDX-License-Identifier: Apache-2.0 */
/* Calls with names and what goes with them: watches, memory with a name, handles of files, mounts. */
#include <errno.h>
#include <sys/syscall.h>

#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "cache/hosted.h"
#include "files/identity.h"
#include "files/open.h"
#include "held.h"
#include "paths.h"

WRAPPER int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	RETURN_HOLDING(path, REAL(inotify_add_watch)(fd, path, mask));
}

WRAPPER int memfd_create(const char *name, unsigned flags)
{
	RETURN_HOLDING(name, identity_opened(REAL(memfd_create)(name, flags)));
}

/* ---- Handles ---- */

/* As long as the program says it is. */
static size_t handle_bytes(const struct file_handle *h)
{
	struct file_handle head;

	return h && peek(&head, h, sizeof head) ? sizeof head + min_u64(head.handle_bytes, MAX_HANDLE_SZ) : 0;
}

WRAPPER int name_to_handle_at(int dir, const char *path, struct file_handle *h, int *mount, int flags)
{
	RETURN_HELD(REAL(name_to_handle_at)(dir, path, h, mount, flags), STRING(path), FILLS(h, handle_bytes(h)),
		    FILLS(mount, sizeof *mount));
}

static int open_by_handle(int mount, struct file_handle *h, int flags)
{
	struct raw_call call = {.nr = SYS_open_by_handle_at, .a = mount, .b = (long)h, .c = flags}, look = call;

	if (NOTHING_TO_TELL || !(flags & O_TRUNC) || (flags & O_PATH))
		return REAL(open_by_handle_at)(mount, h, flags);
	look.c = O_PATH | O_CLOEXEC;
	return (int)open_truncating(&look, &call);
}

WRAPPER int open_by_handle_at(int mount, struct file_handle *h, int flags)
{
	RETURN_HELD(identity_opened(open_by_handle(mount, h, flags)), READS(h, handle_bytes(h)));
}

/* ---- Mounts ---- */

/* The kernel reads a page of the data, or what there is of it. */
WRAPPER int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
	RETURN_HELD(REAL(mount)(source, target, type, flags, data), STRING(source), STRING(target), STRING(type),
		    READS(data, FL_PAGE_SIZE));
}

/*
 * Whether to try once more: what a process that has ended had mapped was given up with it, on the kernel, and is so at a host a moment later, which has
 * the files open until then.
 */
static bool may_be_free_now(int result)
{
	struct sigguard g;
	int err;

	if (!result || errno != EBUSY || !channel_joined())
		return false;
	g = sigguard_enter();
	err = hosted_settle();
	sigguard_leave(g);
	errno = EBUSY;
	return !err;
}

static int unmount(const char *path)
{
	int r = REAL(umount)(path);

	return may_be_free_now(r) ? REAL(umount)(path) : r;
}

static int unmount2(const char *path, int flags)
{
	int r = REAL(umount2)(path, flags);

	return may_be_free_now(r) ? REAL(umount2)(path, flags) : r;
}

WRAPPER int umount(const char *path)
{
	RETURN_HOLDING(path, unmount(path));
}

WRAPPER int umount2(const char *path, int flags)
{
	RETURN_HOLDING(path, unmount2(path, flags));
}
