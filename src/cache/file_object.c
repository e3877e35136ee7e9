/* SPDX-License-Identifier: Apache-2.0 */
#include "file_object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "frames.h"
#include "hosted.h"
#include "ram.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/own.h"

/* The path of a descriptor as the kernel names it. */
static void path_of(int fd, char *path, size_t len)
{
	char link[40];
	long n;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	n = sys_call(SYS_readlink, (long)link, (long)path, (long)len - 1, 0, 0, 0);
	path[n > 0 ? n : 0] = 0;
}

void address_space_path(struct address_space *as, char *path, size_t len)
{
	if (as->label) {
		snprintf(path, len, "[%s]", as->label);
		return;
	}
	path_of(file_store_fd(as->store), path, len);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int open_store(struct address_space *as, int fd, bool direct)
{
	struct store *inner;
	int err = file_store_open(address_space_arena(), fd, direct ? FILE_STORE_DIRECT : 0, &inner);

	if (err)
		return err;
	err = fault_store_wrap(address_space_arena(), inner, &as->store);
	if (err)
		inner->ops->close(inner);
	return err;
}

/* Shared anonymous memory has one slot for all. */
static struct report_file *report_slot(const struct address_space *as, const char *path)
{
	return as->scratch ? report_file_get(0, 1, "(shared anonymous memory)") : report_file_get(as->file.dev, as->file.ino, path);
}

/* What the host has left to the kernel, as every process of the run does. */
static int open_hosted(struct address_space *as, int fd)
{
	int err = hosted_open(as, fd);

	if (err != -EOPNOTSUPP)
		return err;
	atomic_store(&as->frames, &shmem_frames);
	as->kernels = true;
	atomic_store(&as->handed, true);
	return 0;
}

static int open_frames(struct address_space *as, int fd)
{
	char path[4096];

	path_of(fd, path, sizeof path);
	as->report = report_slot(as, path);
	if (as->kernels)
		return 0;
	if (as_is_hosted(as))
		return open_hosted(as, fd);
	if (as_is_pool(as) || as_is_ram(as))
		return address_space_stat(as);
	as->memfd = shmem_frames_create(as->scratch ? "anonymous" : base_name(path));
	return as->memfd < 0 ? as->memfd : address_space_stat(as);
}

/* Whether the kernel can map it at all: files of /proc mostly cannot, and look like any other. */
static int try_to_map(int fd)
{
	void *p = sys_mmap(own_place(FL_PAGE_SIZE), FL_PAGE_SIZE, PROT_NONE, MAP_PRIVATE, fd, 0);

	return sys_is_err(p) ? sys_err(p) : sys_munmap(p, FL_PAGE_SIZE);
}

/* A file in memory needs no page cache, and what a device or a special file maps only the kernel knows. */
static bool is_kernels(const struct statfs *fs, mode_t mode)
{
	switch ((unsigned long)fs->f_type) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case HUGETLBFS_MAGIC:
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case ANON_INODE_FS_MAGIC:
		return true;
	default:
		return !S_ISREG(mode);
	}
}

static bool is_append_only(int fd)
{
	struct statx x;

	if (sys_call(SYS_statx, fd, (long)"", AT_EMPTY_PATH, 0, (long)&x, 0))
		return false;
	return x.stx_attributes & STATX_ATTR_APPEND;
}

static int look_at_file_system(struct address_space *as, int fd, mode_t mode, bool soft)
{
	struct statfs fs;
	int err = (int)sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0);

	if (err)
		return err;
	as->noexec = fs.f_flags & ST_NOEXEC;
	as->kernels = !soft && is_kernels(&fs, mode);
	atomic_store(&as->handed, as->kernels);
	if (!soft && !as->kernels && hosted_wanted()) {
		atomic_store(&as->frames, &hosted_frames);
		hosted_is_coming();
	}
	as->append_only = is_append_only(fd);
	return S_ISREG(mode) ? try_to_map(fd) : 0;
}

int file_object_open(struct address_space *as, int fd, mode_t mode, bool soft, bool direct)
{
	int err = as->scratch ? 0 : look_at_file_system(as, fd, mode, soft);

	if (!err)
		err = open_store(as, fd, direct);
	return err ? err : open_frames(as, fd);
}

void file_object_close(struct address_space *as)
{
	if (as_is_hosted(as) && as->memfd >= 0)
		hosted_close(as);
	if (as->memfd >= 0)
		fd_close(as->memfd);
	if (as->store)
		as->store->ops->close(as->store);
}

int file_object_fork(struct address_space *as)
{
	char path[4096];
	int old = as->memfd;

	path_of(file_store_fd(as->store), path, sizeof path);
	as->report = report_slot(as, path);
	atomic_store(&as->huge_failures, 0);
	if (as->kernels || as_is_pool(as))
		return 0;
	if (as_is_hosted(as))
		return hosted_open_again(as, file_store_fd(as->store));
	as->memfd = shmem_frames_create(base_name(path));
	if (as->memfd < 0)
		return as->memfd;
	fd_close(old);
	for (int i = 0; i < RA_STREAMS; i++)
		atomic_store(&as->streams[i], 0);
	return 0;
}
