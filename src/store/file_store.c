/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file store: a regular file behind descriptors of our own.
 *
 * The descriptor is a copy of the program's, so the file lives on after the program's close() and unlink(). A copy
 * shares the file status flags, and pwrite() on an O_APPEND description appends whatever the offset (pwrite(2), BUGS):
 * hence RWF_NOAPPEND on every write where the kernel knows it (Linux 6.9), and a second open of the file elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "store.h"
#include "util/compiler.h"
#include "util/fd.h"

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x08
#endif
#ifndef O_DIRECT
#define O_DIRECT 040000
#endif

struct file_store {
	struct store store;
	struct arena *arena;
	int fd;                    /* buffered; read-only until widened */
	_Atomic int wfd;           /* buffered and writable, -1: none; may equal fd */
	_Atomic int direct_fd;     /* O_DIRECT, for reading; -1: none */
	_Atomic int direct_wfd;    /* O_DIRECT, for writing; -1: none; may equal direct_fd */
	_Atomic bool direct_off;   /* the file system refused after all */
	_Atomic bool plain_writes; /* the kernel has no RWF_NOAPPEND, and wfd needs none */
};

static struct file_store *self(struct store *s)
{
	return container_of(s, struct file_store, store);
}

static bool aligned(const void *buf, size_t len, uint64_t off)
{
	return (((uintptr_t)buf | len | off) & FL_PAGE_MASK) == 0;
}

/* What a descriptor is now; descriptors are added to a store in use but closed only with it. */
static int load_fd(_Atomic int *fd)
{
	return atomic_load_explicit(fd, memory_order_acquire);
}

static bool direct_ok(struct file_store *f, const void *buf, size_t len, uint64_t off)
{
	return aligned(buf, len, off) && !atomic_load_explicit(&f->direct_off, memory_order_relaxed);
}

static ssize_t read_all(int fd, char *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys_pread(fd, buf + done, len - done, (off_t)(off + done));

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* A direct read stops short at the end of the file, which need not be aligned; what follows a short read is buffered. */
static ssize_t file_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	struct file_store *f = self(s);
	int dfd = load_fd(&f->direct_fd);

	if (dfd >= 0 && direct_ok(f, buf, len, off)) {
		ssize_t n = sys_pread(dfd, buf, len, (off_t)off);

		if (n == (ssize_t)len || n == 0)
			return n;
		if (n == -EINVAL)
			atomic_store(&f->direct_off, true);
	}
	return read_all(f->fd, buf, len, off);
}

/* What is read by the page cache of the kernel: its own read-ahead looks no further than a fraction of a window of ours. */
static void file_expect(struct store *s, uint64_t off, uint64_t len)
{
	struct file_store *f = self(s);

	if (load_fd(&f->direct_fd) < 0 || atomic_load_explicit(&f->direct_off, memory_order_relaxed))
		sys_call(SYS_readahead, f->fd, (long)off, (long)len, 0, 0, 0);
}

static int file_size(struct store *s, uint64_t *size)
{
	struct stat st;
	int err = sys_fstat(self(s)->fd, &st);

	if (!err)
		*size = (uint64_t)st.st_size;
	return err;
}

static ssize_t file_read_now(struct store *s, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	ssize_t n = sys_preadv2(self(s)->fd, &iov, 1, (off_t)off, RWF_NOWAIT);
	uint64_t size;

	if (n < 0 || n == (ssize_t)len)
		return n;
	return file_size(s, &size) || size > off + (uint64_t)n ? -EAGAIN : n;
}

static ssize_t write_once(struct file_store *f, int fd, const char *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
	ssize_t n;

	if (!atomic_load_explicit(&f->plain_writes, memory_order_relaxed)) {
		n = sys_pwritev2(fd, &iov, 1, (off_t)off, RWF_NOAPPEND);
		if (n != -EOPNOTSUPP && n != -ENOSYS)
			return n;
		atomic_store(&f->plain_writes, true);
	}
	return sys_pwrite(fd, buf, len, (off_t)off);
}

static int write_all(struct file_store *f, int fd, const char *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write_once(f, fd, buf + done, len - done, off + done);

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static int file_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	struct file_store *f = self(s);
	int dfd = load_fd(&f->direct_wfd), wfd = load_fd(&f->wfd);

	if (wfd < 0)
		return -EBADF;
	if (dfd >= 0 && direct_ok(f, buf, len, off)) {
		int err = write_all(f, dfd, buf, len, off);

		if (err != -EINVAL)
			return err;
		atomic_store(&f->direct_off, true);
	}
	return write_all(f, wfd, buf, len, off);
}

static int file_sync(struct store *s)
{
	return sys_fdatasync(self(s)->fd);
}

static void file_discard(struct store *s, uint64_t off, uint64_t len)
{
	(void)s, (void)off, (void)len; /* a file keeps its bytes */
}

static ssize_t file_peek(struct store *s, void *buf, size_t len, uint64_t off)
{
	return read_all(self(s)->fd, buf, len, off);
}

static int file_direct_fd(struct store *s, bool write)
{
	struct file_store *f = self(s);
	int dfd = load_fd(write ? &f->direct_wfd : &f->direct_fd);

	return dfd >= 0 && !atomic_load_explicit(&f->direct_off, memory_order_relaxed) ? dfd : -EOPNOTSUPP;
}

static void file_close(struct store *s)
{
	struct file_store *f = self(s);
	int wfd = f->wfd, dfd = f->direct_fd, dwfd = f->direct_wfd;

	if (wfd != f->fd)
		fd_close_file(wfd);
	fd_close_file(dfd);
	if (dwfd != dfd)
		fd_close_file(dwfd);
	fd_close_file(f->fd);
	arena_free(f->arena, f, sizeof *f);
}

static const struct store_ops file_ops = {
	.name = "file",
	.read = file_read,
	.expect = file_expect,
	.read_now = file_read_now,
	.write = file_write,
	.size = file_size,
	.sync = file_sync,
	.discard = file_discard,
	.peek = file_peek,
	.direct_fd = file_direct_fd,
	.close = file_close,
};

/* A second open file description of the same file, by the kernel's link to it; -errno where /proc or the mode forbids. */
static int reopen(int fd, int flags)
{
	char path[40];
	struct stat a, b;
	int again = fd_take_retired(fd, flags);

	if (again >= 0)
		return again;
	snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
	again = sys_openat(AT_FDCWD, path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
	if (again < 0)
		return again;
	if (sys_fstat(fd, &a) == 0 && sys_fstat(again, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return fd_move_high(again);
	fd_close_file(again);
	return -ESTALE;
}

/* Kernels from 6.9 on answer a zero-length write with RWF_NOAPPEND; older ones do not know the flag. */
static bool kernel_has_noappend(int fd)
{
	struct iovec iov = {.iov_base = "", .iov_len = 0};

	return sys_pwritev2(fd, &iov, 1, 0, RWF_NOAPPEND) == 0;
}

static bool fd_is_writable(int fd)
{
	return (sys_fcntl(fd, F_GETFL, 0) & O_ACCMODE) == O_RDWR;
}

/* A copy of the descriptor that takes any buffer and length, and obeys the offset given to pwrite(). */
static int dup_buffered(int fd, bool writable)
{
	int flags = sys_fcntl(fd, F_GETFL, 0), retired;

	if (!(flags & O_DIRECT) && (!writable || !(flags & O_APPEND) || kernel_has_noappend(fd))) {
		retired = fd_take_retired(fd, flags);
		return retired >= 0 ? retired : fd_dup_high(fd);
	}
	fd = reopen(fd, writable ? O_RDWR : O_RDONLY);
	return fd < 0 ? -EOPNOTSUPP : fd;
}

/* Best effort: without it the store is buffered. */
static void open_direct(struct file_store *f)
{
	int dfd = reopen(f->wfd >= 0 ? f->wfd : f->fd, (f->wfd >= 0 ? O_RDWR : O_RDONLY) | O_DIRECT);

	if (dfd < 0)
		return;
	if (f->direct_fd < 0)
		atomic_store(&f->direct_fd, dfd);
	if (f->wfd >= 0)
		atomic_store(&f->direct_wfd, dfd);
}

int file_store_open(struct arena *arena, int fd, unsigned flags, struct store **out)
{
	bool writable = fd_is_writable(fd);
	int own = dup_buffered(fd, writable);
	struct file_store *f;

	if (own < 0)
		return own;
	f = arena_alloc(arena, sizeof *f);
	if (!f) {
		fd_close_file(own);
		return -ENOMEM;
	}
	f->store = (struct store){.ops = &file_ops, .writable = writable};
	f->arena = arena;
	f->fd = own;
	atomic_store(&f->wfd, writable ? own : -1);
	atomic_store(&f->direct_fd, -1);
	atomic_store(&f->direct_wfd, -1);
	if (flags & FILE_STORE_DIRECT)
		open_direct(f);
	*out = &f->store;
	return 0;
}

int file_store_widen(struct store *s, int fd)
{
	struct file_store *f = self(fault_store_inner(s));
	int wfd;

	if (s->writable || !fd_is_writable(fd))
		return 0;
	wfd = dup_buffered(fd, true);
	if (wfd < 0)
		return wfd;
	atomic_store(&f->wfd, wfd);
	if (f->direct_fd >= 0)
		open_direct(f);
	f->store.writable = true;
	s->writable = true;
	return 0;
}

bool file_store_is_direct(struct store *s)
{
	struct file_store *f = self(fault_store_inner(s));

	return load_fd(&f->direct_fd) >= 0 && !atomic_load(&f->direct_off);
}

int file_store_fd(struct store *s)
{
	struct file_store *f = self(fault_store_inner(s));
	int wfd = load_fd(&f->wfd);

	return wfd >= 0 ? wfd : f->fd;
}
