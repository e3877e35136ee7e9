/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that change or sync a file as a whole: ftruncate, truncate, fallocate, fsync and the like, next to mappings of it.
 * Those that only give or take bytes are in io.c and iov.c, those from one file to another in copies.c.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "api/engine.h"
#include "arguments/paths.h"
#include "base/mapped.h"
#include "base/real.h"
#include "cache/hosted.h"
#include "coherent.h"
#include "memory/maps_file.h"
#include "util/sys.h"

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80 /* Linux 6.17 */
#endif

/* As file_io_start(), of the file at a path. */
static struct address_space *start_path(const char *path, struct inflight *f)
{
	struct stat st;

	f->slot = NULL;
	return NOTHING_TO_TELL || stat(path, &st) ? NULL : file_io_start_at(&st, f);
}

/* ---- Size ---- */

typedef int (*ftruncate_fn)(int fd, off_t len);
typedef int (*truncate_fn)(const char *path, off_t len);

static int do_ftruncate(ftruncate_fn real, int fd, off_t len)
{
	struct raw_call call = {.nr = SYS_ftruncate, .a = fd, .b = len};
	struct inflight f;
	struct address_space *as = file_io_start(fd, &f);
	int result = as ? (int)coherent_change(as, 0, 0, raw_call, &call) : real(fd, len);

	file_io_finish(as, &f);
	return result;
}

static int do_truncate(truncate_fn real, const char *path, off_t len)
{
	struct raw_call call = {.nr = SYS_truncate, .a = (long)path, .b = len};
	bool more;
	int result;

	do {
		PATH_HERE(held, path);
		struct inflight f;
		struct address_space *as = start_path(path, &f);

		result = as ? (int)coherent_change(as, 0, 0, raw_call, &call) : real(path, len);
		file_io_finish(as, &f);
		more = path_was_cut(path, held.n, result);
	} while (more);
	return result;
}

WRAPPER int ftruncate(int fd, off_t len)
{
	return do_ftruncate(REAL(ftruncate), fd, len);
}

WRAPPER int ftruncate64(int fd, off64_t len)
{
	return do_ftruncate(REAL(ftruncate64), fd, len);
}

WRAPPER int truncate(const char *path, off_t len)
{
	return do_truncate(REAL(truncate), path, len);
}

WRAPPER int truncate64(const char *path, off64_t len)
{
	return do_truncate(REAL(truncate64), path, len);
}

/* ---- fallocate ---- */

/* ext4 ends private copies of what it moves; XFS, for one, leaves them. */
static bool ends_copies(int fd)
{
	struct statfs fs;

	return !sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0) && fs.f_type == EXT4_SUPER_MAGIC;
}

/*
 * Taking a piece out or putting one in moves all that follows: that must be in the file before, and is read again
 * after. Holes and zeros change their own range; plain allocation changes nothing but the size.
 */
static int fallocate_mapped(struct address_space *as, int fd, int mode, off_t off, off_t len)
{
	struct raw_call call = {.nr = SYS_fallocate, .a = fd, .b = mode, .c = off, .d = len};
	bool moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	bool empties = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_WRITE_ZEROES);
	int err = moves ? file_io_sync(as, 0, UINT64_MAX) : 0;

	if (err)
		return (int)shim_result(err);
	if (empties && !moves)
		return (int)coherent_replace(as, off, (size_t)len, raw_call, &call);
	if (moves && ends_copies(fd))
		return (int)coherent_move(as, off, raw_call, &call);
	return (int)coherent_change(as, off, moves ? (size_t)(INT64_MAX - off) : 0, raw_call, &call);
}

typedef int (*fallocate_fn)(int fd, int mode, off_t off, off_t len);

static long call_fallocate(const void *call)
{
	const struct raw_call *r = call;

	return sys_fallocate((int)r->a, (int)r->b, r->c, r->d);
}

static int do_fallocate(fallocate_fn real, int fd, int mode, off_t off, off_t len)
{
	struct raw_call call = {.a = fd, .b = mode, .c = off, .d = len};
	struct inflight f;
	struct address_space *as = file_io_start(fd, &f);
	int result;

	if (as && off >= 0 && len > 0) {
		pthread_testcancel();
		result = fallocate_mapped(as, fd, mode, off, len);
	} else {
		result = f.slot ? (int)coherent_pass(call_fallocate, &call) : real(fd, mode, off, len);
	}
	file_io_finish(as, &f);
	return result;
}

WRAPPER int fallocate(int fd, int mode, off_t off, off_t len)
{
	return do_fallocate(REAL(fallocate), fd, mode, off, len);
}

WRAPPER int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	return do_fallocate(REAL(fallocate64), fd, mode, off, len);
}

struct posix_call {
	int fd;
	off_t off, len;
};

/* libc's function: where the file system cannot allocate, it writes into every block. It may be a cancellation point then. */
static long call_posix_fallocate(const void *call)
{
	const struct posix_call *p = call;
	int state, err;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	err = REAL(posix_fallocate64)(p->fd, p->off, p->len);
	pthread_setcancelstate(state, NULL);
	return -err;
}

static int do_posix_fallocate(int fd, off_t off, off_t len)
{
	struct posix_call call = {.fd = fd, .off = off, .len = len};
	struct inflight f;
	struct address_space *as = file_io_start(fd, &f);
	int saved = errno, result = 0;

	if (!as)
		result = (int)-call_posix_fallocate(&call);
	else if (coherent_change(as, 0, 0, call_posix_fallocate, &call) < 0)
		result = errno;
	errno = saved;
	file_io_finish(as, &f);
	return result;
}

WRAPPER int posix_fallocate(int fd, off_t off, off_t len)
{
	return NOTHING_TO_TELL ? REAL(posix_fallocate)(fd, off, len) : do_posix_fallocate(fd, off, len);
}

WRAPPER int posix_fallocate64(int fd, off64_t off, off64_t len)
{
	return NOTHING_TO_TELL ? REAL(posix_fallocate64)(fd, off, len) : do_posix_fallocate(fd, off, len);
}

/* ---- sync ---- */

static int write_all_stores(int fd)
{
	return coherent_sync(fd, 0, UINT64_MAX);
}

/* The kernel's part is done also when ours failed, whose error is then the answer. */
WRAPPER int fsync(int fd)
{
	int err = write_all_stores(fd) ? errno : 0, result = REAL(fsync)(fd);

	return err && !result ? (int)shim_result(-err) : result;
}

WRAPPER int fdatasync(int fd)
{
	int err = write_all_stores(fd) ? errno : 0, result = REAL(fdatasync)(fd);

	return err && !result ? (int)shim_result(-err) : result;
}

/* What other processes of a host have stored is in no page of the kernel's either. */
static void write_stores_of_all(void)
{
	struct sigguard g;

	if (NOTHING_MAPPED)
		return;
	engine_flush(FLUSH_ALL);
	if (!channel_joined())
		return;
	g = sigguard_enter();
	hosted_sync_all();
	sigguard_leave(g);
}

WRAPPER void sync(void)
{
	write_stores_of_all();
	REAL(sync)();
}

WRAPPER int syncfs(int fd)
{
	write_stores_of_all();
	return REAL(syncfs)(fd);
}

WRAPPER int sync_file_range(int fd, off64_t off, off64_t len, unsigned flags)
{
	if (!NOTHING_MAPPED && off >= 0 && len >= 0 && coherent_sync(fd, (uint64_t)off, len ? (uint64_t)len : UINT64_MAX))
		return -1;
	return REAL(sync_file_range)(fd, off, len, flags);
}

/* ---- lseek: a store in a hole makes data; to the start of the process's own maps ---- */

static void before_seek(int fd, off_t off, int whence)
{
	if (!off && whence == SEEK_SET)
		maps_file_rewound(fd);
	if ((whence == SEEK_DATA || whence == SEEK_HOLE) && !NOTHING_MAPPED)
		write_all_stores(fd);
}

WRAPPER off_t lseek(int fd, off_t off, int whence)
{
	before_seek(fd, off, whence);
	return REAL(lseek)(fd, off, whence);
}

WRAPPER off64_t lseek64(int fd, off64_t off, int whence)
{
	before_seek(fd, off, whence);
	return REAL(lseek64)(fd, off, whence);
}
