/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls on files: the host's, with the guest's own numbers of descriptors, since the library has some open too.
 *
 * The guest may have mapped a file that it reads, writes or cuts, so regular files go through fl_pread(), fl_pwrite() and
 * fl_ftruncate(), which see the mappings and are seen by them.
 */
#include "guest_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest_memory.h"

#define VECTORS_MAX 1024

static long or_errno(long result)
{
	return result < 0 ? -errno : result;
}

/* ---- Descriptors ---- */

void files_start(struct guest *g)
{
	for (int i = 0; i < GUEST_FILES; i++)
		g->files[i] = i <= STDERR_FILENO && fcntl(i, F_GETFD) >= 0 ? i : -1;
}

int files_host(const struct guest *g, uint64_t fd)
{
	return (uint32_t)fd < GUEST_FILES ? g->files[(uint32_t)fd] : -1;
}

static int host_directory(const struct guest *g, uint64_t fd)
{
	return (int)fd == AT_FDCWD ? AT_FDCWD : files_host(g, fd);
}

/* The lowest number from `from` upwards that is free, for a descriptor of the host, which is closed when there is none. */
static long take_number(struct guest *g, int host, uint64_t from)
{
	if (host < 0)
		return -errno;
	for (; from < GUEST_FILES; from++) {
		if (g->files[from] >= 0)
			continue;
		g->files[from] = host;
		return (long)from;
	}
	close(host);
	return -EMFILE;
}

long file_close(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	if (fd < 0)
		return -EBADF;
	g->files[(uint32_t)arg[0]] = -1;
	return fd <= STDERR_FILENO ? 0 : or_errno(close(fd)); /* the emulator's own messages go there */
}

static int duplicate(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

long file_dup(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	return fd < 0 ? -EBADF : take_number(g, duplicate(fd), 0);
}

long file_dup2(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	if (fd < 0 || arg[1] >= GUEST_FILES)
		return -EBADF;
	if (arg[0] == arg[1])
		return (long)arg[1];
	file_close(g, &arg[1]);
	return take_number(g, duplicate(fd), arg[1]);
}

long file_fcntl(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	if (fd < 0)
		return -EBADF;
	switch (arg[1]) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return take_number(g, duplicate(fd), arg[2]);
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_SETFL:
		return or_errno(fcntl(fd, (int)arg[1], (int)arg[2]));
	default:
		return -EINVAL;
	}
}

/* ---- Names ---- */

/* The guest's path, in g->buffer. 0 or -errno. */
static long get_path(struct guest *g, uint64_t addr)
{
	long n = memory_string(g, addr, g->buffer, PATH_MAX);

	return n < 0 ? n : 0;
}

/* The guest's own mappings in the place of the emulator's. */
static int open_maps(struct guest *g)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);

	if (fd < 0 || (!fl_space_maps(g->space, fd) && !lseek(fd, 0, SEEK_SET)))
		return fd;
	close(fd);
	return -1;
}

/* The truncation is done by file_ftruncate(), which the file's mappings hear of. */
static int open_host(struct guest *g, int dir, int flags, mode_t mode)
{
	if (!strcmp(g->buffer, "/proc/self/maps"))
		return open_maps(g);
	if (!strcmp(g->buffer, "/proc/self/exe"))
		return open(g->program, flags | O_CLOEXEC);
	return openat(dir, g->buffer, ((flags & O_ACCMODE) == O_RDONLY ? flags : flags & ~O_TRUNC) | O_CLOEXEC, mode);
}

static long open_path(struct guest *g, int dir, const uint64_t *arg)
{
	int flags = (int)arg[1];
	long err = get_path(g, arg[0]), fd = err ? err : take_number(g, open_host(g, dir, flags, (mode_t)arg[2]), 0);
	struct stat st;

	if (fd >= 0 && flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY && !fstat(g->files[fd], &st) && S_ISREG(st.st_mode))
		file_ftruncate(g, (uint64_t[]){(uint64_t)fd, 0});
	return fd;
}

long file_open(struct guest *g, const uint64_t *arg)
{
	return open_path(g, AT_FDCWD, arg);
}

long file_openat(struct guest *g, const uint64_t *arg)
{
	return open_path(g, host_directory(g, arg[0]), arg + 1);
}

static long readlink_path(struct guest *g, int dir, const uint64_t *arg)
{
	char target[PATH_MAX];
	long n = get_path(g, arg[0]);

	if (n)
		return n;
	if (!strcmp(g->buffer, "/proc/self/exe"))
		n = snprintf(target, sizeof target, "%s", g->program);
	else
		n = readlinkat(dir, g->buffer, target, sizeof target);
	if (n < 0)
		return -errno;
	if ((uint64_t)n > arg[2])
		n = (long)arg[2];
	return memory_write(g, arg[1], target, (size_t)n) ? n : -EFAULT;
}

long file_readlink(struct guest *g, const uint64_t *arg)
{
	return readlink_path(g, AT_FDCWD, arg);
}

long file_readlinkat(struct guest *g, const uint64_t *arg)
{
	return readlink_path(g, host_directory(g, arg[0]), arg + 1);
}

long file_getcwd(struct guest *g, const uint64_t *arg)
{
	size_t n;

	if (!getcwd(g->buffer, PATH_MAX))
		return -errno;
	n = strlen(g->buffer) + 1;
	if (n > arg[1])
		return -ERANGE;
	return memory_write(g, arg[0], g->buffer, n) ? (long)n : -EFAULT;
}

static long access_path(struct guest *g, int dir, const uint64_t *arg)
{
	long err = get_path(g, arg[0]);

	return err ? err : or_errno(faccessat(dir, g->buffer, (int)arg[1], 0));
}

long file_access(struct guest *g, const uint64_t *arg)
{
	return access_path(g, AT_FDCWD, arg);
}

long file_faccessat(struct guest *g, const uint64_t *arg)
{
	return access_path(g, host_directory(g, arg[0]), arg + 1);
}

static long unlink_path(struct guest *g, int dir, uint64_t path, int flags)
{
	long err = get_path(g, path);

	return err ? err : or_errno(unlinkat(dir, g->buffer, flags));
}

long file_unlink(struct guest *g, const uint64_t *arg)
{
	return unlink_path(g, AT_FDCWD, arg[0], 0);
}

long file_unlinkat(struct guest *g, const uint64_t *arg)
{
	return unlink_path(g, host_directory(g, arg[0]), arg[1], (int)arg[2]);
}

/* struct stat is the same on both sides. */
static long stat_path(struct guest *g, int dir, const uint64_t *arg, int flags)
{
	long err = get_path(g, arg[0]);
	struct stat st;

	if (err)
		return err;
	if (fstatat(dir, g->buffer, &st, flags))
		return -errno;
	return memory_write(g, arg[1], &st, sizeof st) ? 0 : -EFAULT;
}

long file_stat(struct guest *g, const uint64_t *arg)
{
	return stat_path(g, AT_FDCWD, arg, 0);
}

long file_lstat(struct guest *g, const uint64_t *arg)
{
	return stat_path(g, AT_FDCWD, arg, AT_SYMLINK_NOFOLLOW);
}

long file_fstat(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);
	struct stat st;

	if (fd < 0)
		return -EBADF;
	if (fstat(fd, &st))
		return -errno;
	return memory_write(g, arg[1], &st, sizeof st) ? 0 : -EFAULT;
}

/* The C library's fstat() is this call with an empty path. */
long file_newfstatat(struct guest *g, const uint64_t *arg)
{
	int dir = host_directory(g, arg[0]);

	return dir == -1 ? -EBADF : stat_path(g, dir, arg + 1, (int)arg[3]);
}

/* ---- Bytes ---- */

/* Whether the guest could have mapped it, and where the next byte is read or written. */
static bool is_file(int fd, bool write, off_t *at)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	*at = write && fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
	return true;
}

static ssize_t host_read(int fd, void *buf, size_t size)
{
	ssize_t n;
	off_t at;

	if (!is_file(fd, false, &at))
		return read(fd, buf, size);
	n = fl_pread(fd, buf, size, at);
	if (n > 0)
		lseek(fd, at + n, SEEK_SET);
	return n;
}

static ssize_t host_write(int fd, const void *buf, size_t size)
{
	ssize_t n;
	off_t at;

	if (!is_file(fd, true, &at))
		return write(fd, buf, size);
	n = fl_pwrite(fd, buf, size, at);
	if (n > 0)
		lseek(fd, at + n, SEEK_SET);
	return n;
}

static size_t next_piece(const struct guest *g, uint64_t left)
{
	return left < sizeof g->buffer ? left : sizeof g->buffer;
}

/* What was done before an error is what the caller gets to know. */
static long so_far(uint64_t done, long err)
{
	return done ? (long)done : err;
}

/* at < 0: where the descriptor is. */
static long read_to(struct guest *g, int fd, uint64_t addr, uint64_t size, off_t at)
{
	uint64_t done = 0;

	if (fd < 0)
		return -EBADF;
	do {
		size_t piece = next_piece(g, size - done);
		ssize_t n = at < 0 ? host_read(fd, g->buffer, piece) : fl_pread(fd, g->buffer, piece, at + (off_t)done);

		if (n < 0)
			return so_far(done, -errno);
		if (!memory_write(g, addr + done, g->buffer, (size_t)n))
			return so_far(done, -EFAULT);
		done += (uint64_t)n;
		if ((size_t)n < piece)
			break;
	} while (done < size);
	return (long)done;
}

static long write_failed(struct guest *g, uint64_t done)
{
	int err = errno;

	if (err == EPIPE)
		guest_signal(g, SIGPIPE);
	return so_far(done, -err);
}

static long write_from(struct guest *g, int fd, uint64_t addr, uint64_t size, off_t at)
{
	uint64_t done = 0;

	if (fd < 0)
		return -EBADF;
	do {
		size_t piece = next_piece(g, size - done);
		ssize_t n;

		if (!memory_read(g, addr + done, g->buffer, piece))
			return so_far(done, -EFAULT);
		n = at < 0 ? host_write(fd, g->buffer, piece) : fl_pwrite(fd, g->buffer, piece, at + (off_t)done);
		if (n < 0)
			return write_failed(g, done);
		done += (uint64_t)n;
		if ((size_t)n < piece)
			break;
	} while (done < size);
	return (long)done;
}

long file_read(struct guest *g, const uint64_t *arg)
{
	return read_to(g, files_host(g, arg[0]), arg[1], arg[2], -1);
}

long file_write(struct guest *g, const uint64_t *arg)
{
	return write_from(g, files_host(g, arg[0]), arg[1], arg[2], -1);
}

long file_pread(struct guest *g, const uint64_t *arg)
{
	return (off_t)arg[3] < 0 ? -EINVAL : read_to(g, files_host(g, arg[0]), arg[1], arg[2], (off_t)arg[3]);
}

long file_pwrite(struct guest *g, const uint64_t *arg)
{
	return (off_t)arg[3] < 0 ? -EINVAL : write_from(g, files_host(g, arg[0]), arg[1], arg[2], (off_t)arg[3]);
}

typedef long transfer(struct guest *g, int fd, uint64_t addr, uint64_t size, off_t at);

static long vector(struct guest *g, const uint64_t *arg, transfer *fn)
{
	uint64_t done = 0;
	struct iovec v;

	if (arg[2] > VECTORS_MAX)
		return -EINVAL;
	for (uint64_t i = 0; i < arg[2]; i++) {
		long n;

		if (!memory_read(g, arg[1] + i * sizeof v, &v, sizeof v))
			return so_far(done, -EFAULT);
		n = fn(g, files_host(g, arg[0]), (uintptr_t)v.iov_base, v.iov_len, -1);
		if (n < 0)
			return so_far(done, n);
		done += (uint64_t)n;
		if ((size_t)n < v.iov_len)
			break;
	}
	return (long)done;
}

long file_readv(struct guest *g, const uint64_t *arg)
{
	return vector(g, arg, read_to);
}

long file_writev(struct guest *g, const uint64_t *arg)
{
	return vector(g, arg, write_from);
}

/* ---- The rest ---- */

long file_lseek(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	return fd < 0 ? -EBADF : or_errno(lseek(fd, (off_t)arg[1], (int)arg[2]));
}

/* TCGETS: no terminal, so that the guest's output is buffered as into a file. */
long file_ioctl(struct guest *g, const uint64_t *arg)
{
	return files_host(g, arg[0]) < 0 ? -EBADF : -ENOTTY;
}

/* Pages beyond the new end raise SIGBUS from now on: Unicorn must ask again. */
long file_ftruncate(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	memory_drop_all(g);
	return fd < 0 ? -EBADF : or_errno(fl_ftruncate(fd, (off_t)arg[1]));
}

long file_getdents64(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);
	long n = fd < 0 ? -1 : syscall(SYS_getdents64, fd, g->buffer, next_piece(g, arg[2]));

	if (n < 0)
		return fd < 0 ? -EBADF : -errno;
	return memory_write(g, arg[1], g->buffer, (size_t)n) ? n : -EFAULT;
}

long file_fsync(struct guest *g, const uint64_t *arg)
{
	int fd = files_host(g, arg[0]);

	return fd < 0 ? -EBADF : or_errno(fsync(fd));
}
