/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that change, copy or sync a file as a whole: ftruncate, truncate, fallocate, fsync, copy_file_range, sendfile,
 * splice and the like, next to mappings of it. Those that only give or take bytes are in io.c and iov.c.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "coherent.h"
#include "mapped.h"
#include "paths.h"
#include "real.h"
#include "util/sys.h"

/* A system call to be made within a bracket. */
struct raw_call {
	long nr, a, b, c, d, e, f;
};

static long raw(const void *call)
{
	const struct raw_call *r = call;

	return sys_call(r->nr, r->a, r->b, r->c, r->d, r->e, r->f);
}

/* The mapped file at a path, with a reference, or NULL. */
static struct address_space *lookup_path(const char *path)
{
	struct stat st;

	return NOTHING_MAPPED || stat(path, &st) ? NULL : file_io_find(&st);
}

/* ---- Size ---- */

static int truncate_mapped(struct address_space *as, const struct raw_call *call)
{
	int result = (int)coherent_change(as, 0, 0, raw, call);

	file_io_put(as);
	return result;
}

static int do_ftruncate(struct address_space *as, int fd, off_t len)
{
	return truncate_mapped(as, &(struct raw_call){.nr = SYS_ftruncate, .a = fd, .b = len});
}

static int do_truncate(struct address_space *as, const char *path, off_t len)
{
	size_t held = path_hold(path);
	int result = truncate_mapped(as, &(struct raw_call){.nr = SYS_truncate, .a = (long)path, .b = len});

	path_release(path, held);
	return result;
}

WRAPPER int ftruncate(int fd, off_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? do_ftruncate(as, fd, len) : REAL(ftruncate)(fd, len);
}

WRAPPER int ftruncate64(int fd, off64_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? do_ftruncate(as, fd, len) : REAL(ftruncate64)(fd, len);
}

WRAPPER int truncate(const char *path, off_t len)
{
	struct address_space *as = lookup_path(path);

	if (as)
		return do_truncate(as, path, len);
	RETURN_HOLDING(path, REAL(truncate)(path, len));
}

WRAPPER int truncate64(const char *path, off64_t len)
{
	struct address_space *as = lookup_path(path);

	if (as)
		return do_truncate(as, path, len);
	RETURN_HOLDING(path, REAL(truncate64)(path, len));
}

/* ---- fallocate ---- */

/*
 * Taking a piece out or putting one in moves all that follows: that must be in the file before, and is read again
 * after. Holes and zeros change their own range; plain allocation changes nothing but the size.
 */
static int fallocate_mapped(struct address_space *as, int fd, int mode, off_t off, off_t len)
{
	struct raw_call call = {.nr = SYS_fallocate, .a = fd, .b = mode, .c = off, .d = len};
	bool moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	size_t changed = moves ? (size_t)(INT64_MAX - off) : mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) ? (size_t)len : 0;
	int err = moves ? file_io_sync(as, 0, UINT64_MAX) : 0;

	return err ? (int)shim_result(err) : (int)coherent_change(as, off, changed, raw, &call);
}

static int do_fallocate(struct address_space *as, int fd, int mode, off_t off, off_t len)
{
	int result;

	pthread_testcancel();
	result = off < 0 || len <= 0 ? REAL(fallocate)(fd, mode, off, len) : fallocate_mapped(as, fd, mode, off, len);
	file_io_put(as);
	return result;
}

WRAPPER int fallocate(int fd, int mode, off_t off, off_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? do_fallocate(as, fd, mode, off, len) : REAL(fallocate)(fd, mode, off, len);
}

WRAPPER int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? do_fallocate(as, fd, mode, off, len) : REAL(fallocate64)(fd, mode, off, len);
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

static int posix_fallocate_mapped(struct address_space *as, int fd, off_t off, off_t len)
{
	struct posix_call call = {.fd = fd, .off = off, .len = len};
	int saved = errno, result = 0;

	if (coherent_change(as, 0, 0, call_posix_fallocate, &call) < 0)
		result = errno;
	errno = saved;
	file_io_put(as);
	return result;
}

WRAPPER int posix_fallocate(int fd, off_t off, off_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? posix_fallocate_mapped(as, fd, off, len) : REAL(posix_fallocate)(fd, off, len);
}

WRAPPER int posix_fallocate64(int fd, off64_t off, off64_t len)
{
	struct address_space *as = file_io_lookup(fd);

	return as ? posix_fallocate_mapped(as, fd, off, len) : REAL(posix_fallocate64)(fd, off, len);
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

WRAPPER void sync(void)
{
	if (!NOTHING_MAPPED)
		engine_flush(false);
	REAL(sync)();
}

WRAPPER int syncfs(int fd)
{
	if (!NOTHING_MAPPED)
		engine_flush(false);
	return REAL(syncfs)(fd);
}

WRAPPER int sync_file_range(int fd, off64_t off, off64_t len, unsigned flags)
{
	if (!NOTHING_MAPPED && off >= 0 && len >= 0 && coherent_sync(fd, (uint64_t)off, len ? (uint64_t)len : UINT64_MAX))
		return -1;
	return REAL(sync_file_range)(fd, off, len, flags);
}

/* ---- lseek: a store in a hole makes data ---- */

static void before_seek(int fd, int whence)
{
	if ((whence == SEEK_DATA || whence == SEEK_HOLE) && !NOTHING_MAPPED)
		write_all_stores(fd);
}

WRAPPER off_t lseek(int fd, off_t off, int whence)
{
	before_seek(fd, whence);
	return REAL(lseek)(fd, off, whence);
}

WRAPPER off64_t lseek64(int fd, off64_t off, int whence)
{
	before_seek(fd, whence);
	return REAL(lseek64)(fd, off, whence);
}

/* ---- From descriptor to descriptor ---- */

/* Bytes go from `in` to `out`; offsets may be NULL for the file position, and are moved on by the call. */
struct copy {
	struct raw_call call;
	int in, out;
	off_t *out_off;
	size_t len;
	off_t in_at; /* where the source is read, AT_POSITION for its file position */
};

static ssize_t copy_to_mapped(const struct copy *c, struct address_space *as)
{
	off_t off = c->out_off ? *c->out_off : AT_POSITION;
	ssize_t n = coherent_write(as, c->out, off, false, raw, &c->call);

	file_io_put(as);
	return n;
}

/* *served: the call was made here. */
static ssize_t copy(const struct copy *c, bool *served)
{
	struct address_space *in = file_io_lookup(c->in), *out;
	int err = 0;

	*served = true;
	if (in) {
		err = coherent_read(in, c->in, c->in_at, c->len);
		file_io_put(in);
	}
	if (err)
		return -1;
	out = file_io_lookup(c->out);
	if (out)
		return copy_to_mapped(c, out);
	*served = false;
	return 0;
}

WRAPPER ssize_t copy_file_range(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct copy c = {.in = in, .out = out, .out_off = out_off, .len = len, .in_at = in_off ? *in_off : AT_POSITION};
	bool served = false;
	ssize_t n = 0;

	c.call = (struct raw_call){SYS_copy_file_range, in, (long)in_off, out, (long)out_off, (long)len, flags};
	if (!NOTHING_MAPPED)
		n = copy(&c, &served);
	return served ? n : REAL(copy_file_range)(in, in_off, out, out_off, len, flags);
}

static ssize_t do_sendfile(int out, int in, off_t *off, size_t len, bool *served)
{
	struct copy c = {.in = in, .out = out, .len = len, .in_at = off ? *off : AT_POSITION};

	c.call = (struct raw_call){.nr = SYS_sendfile, .a = out, .b = in, .c = (long)off, .d = (long)len};
	return copy(&c, served);
}

WRAPPER ssize_t sendfile(int out, int in, off_t *off, size_t len)
{
	bool served = false;
	ssize_t n = NOTHING_MAPPED ? 0 : do_sendfile(out, in, off, len, &served);

	return served ? n : REAL(sendfile)(out, in, off, len);
}

WRAPPER ssize_t sendfile64(int out, int in, off64_t *off, size_t len)
{
	bool served = false;
	ssize_t n = NOTHING_MAPPED ? 0 : do_sendfile(out, in, off, len, &served);

	return served ? n : REAL(sendfile64)(out, in, off, len);
}

/* A pipe that is empty would keep the bracket waiting: into a mapped file only what is there is spliced, after poll(2). */
static void wait_for_input(int fd, unsigned flags)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (!(flags & SPLICE_F_NONBLOCK))
		poll(&p, 1, -1);
}

WRAPPER ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct copy c = {.in = in, .out = out, .out_off = out_off, .len = len, .in_at = in_off ? *in_off : AT_POSITION};
	struct address_space *to;
	bool served = false;
	ssize_t n = 0;

	if (NOTHING_MAPPED)
		return REAL(splice)(in, in_off, out, out_off, len, flags);
	to = file_io_lookup(out);
	if (to) {
		file_io_put(to);
		wait_for_input(in, flags);
	}
	c.call = (struct raw_call){SYS_splice, in, (long)in_off, out, (long)out_off, (long)len, flags | SPLICE_F_NONBLOCK};
	n = copy(&c, &served);
	return served ? n : REAL(splice)(in, in_off, out, out_off, len, flags);
}
