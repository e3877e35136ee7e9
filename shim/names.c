/* SPDX-License-Identifier: Apache-2.0 */
/* Calls with names and what goes with them: watches, memory with a name, handles of files, mounts. */
#include "held.h"
#include "identity.h"
#include "paths.h"
#include "peek.h"
#include "real.h"

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

WRAPPER int open_by_handle_at(int mount, struct file_handle *h, int flags)
{
	RETURN_HELD(identity_opened(REAL(open_by_handle_at)(mount, h, flags)), READS(h, handle_bytes(h)));
}

/* ---- Mounts ---- */

/* The kernel reads a page of the data, or what there is of it. */
WRAPPER int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
	RETURN_HELD(REAL(mount)(source, target, type, flags, data), STRING(source), STRING(target), STRING(type),
		    READS(data, FL_PAGE_SIZE));
}

WRAPPER int umount(const char *path)
{
	RETURN_HOLDING(path, REAL(umount)(path));
}

WRAPPER int umount2(const char *path, int flags)
{
	RETURN_HOLDING(path, REAL(umount2)(path, flags));
}
