/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of the exerciser that change ranges of the file, or go to it past the page cache. What a file system cannot do
 * is left out.
 */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20 /* Linux 6.9 */
#endif

static size_t down(size_t n)
{
	return n & ~(PAGE - 1);
}

static size_t up(size_t n)
{
	return down(n + PAGE - 1);
}

static bool cannot(void)
{
	return errno == EOPNOTSUPP || errno == EINVAL || errno == ENOTTY;
}

static void check_size(const char *what)
{
	struct stat st;

	if (fstat(fd, &st) || (size_t)st.st_size != model_size)
		fail(what, (size_t)st.st_size);
}

/* ---- fallocate, by either of its calls ---- */

/* As fallocate(2) where the size stays, from before there was one. */
static int old_fallocate(int mode, size_t off, size_t len)
{
	struct {
		int16_t type, whence;
		int64_t start, len;
		int32_t rest[6];
	} space = {.whence = SEEK_SET, .start = (int64_t)off, .len = (int64_t)len};

	if (next() & 1) {
		space.whence = SEEK_END;
		space.start -= (int64_t)model_size;
	}
	return ioctl(fd,
		     mode & FALLOC_FL_ZERO_RANGE   ? _IOW('X', 57, char[48])
		     : mode & FALLOC_FL_PUNCH_HOLE ? _IOW('X', 43, char[48])
						   : _IOW('X', 42, char[48]),
		     &space);
}

static int change_space(int mode, size_t off, size_t len)
{
	return (mode & FALLOC_FL_KEEP_SIZE) && next() % 4 == 0 ? old_fallocate(mode, off, len)
							       : fallocate(fd, mode, (off_t)off, (off_t)len);
}

static void zero_range(size_t off, size_t len)
{
	bool keep = next() & 1;

	len += below(3) ? 0 : below(SIZE_MAX_FILE - off - len);
	note("zero range, %zu bytes at %zu%s", len, off, keep ? ", size kept" : "");
	if (change_space(FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0), off, len)) {
		if (!cannot())
			fail("zeroing a range", off);
		return;
	}
	if (off + len > model_size && !keep)
		model_truncate(off + len);
	if (off < model_size)
		memset(model + off, 0, off + len > model_size ? model_size - off : len);
	check_size("the size after zeroing");
}

static void allocate(size_t off, size_t len)
{
	bool keep = next() & 1;

	off = below(SIZE_MAX_FILE - len);
	note("allocate, %zu bytes at %zu%s", len, off, keep ? ", size kept" : "");
	if (change_space(keep ? FALLOC_FL_KEEP_SIZE : 0, off, len)) {
		if (!cannot())
			fail("allocating", off);
		return;
	}
	if (off + len > model_size && !keep)
		model_truncate(off + len);
	check_size("the size after allocating");
}

static void collapse(size_t off, size_t len)
{
	off = down(off);
	len = up(len);
	if (off + len >= model_size)
		return;
	note("collapse, %zu bytes at %zu of %zu", len, off, model_size);
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t)off, (off_t)len)) {
		if (!cannot())
			fail("collapsing", off);
		return;
	}
	memmove(model + off, model + off + len, model_size - off - len);
	model_size -= len;
	check_size("the size after collapsing");
}

static void insert(size_t off, size_t len)
{
	off = down(off);
	len = up(len);
	if (off >= model_size || model_size + len > SIZE_MAX_FILE)
		return;
	note("insert, %zu bytes at %zu of %zu", len, off, model_size);
	if (fallocate(fd, FALLOC_FL_INSERT_RANGE, (off_t)off, (off_t)len)) {
		if (!cannot())
			fail("inserting", off);
		return;
	}
	memmove(model + off + len, model + off, model_size - off);
	memset(model + off, 0, len);
	model_size += len;
	check_size("the size after inserting");
}

/* ---- Clones ---- */

static void clone_range(size_t off, size_t len)
{
	size_t to = down(below(SIZE_MAX_FILE - len - PAGE));
	struct file_clone_range r = {.src_fd = fd};

	off = down(off);
	len = off + up(len) > model_size ? model_size - off : up(len);
	if (to < off + len && off < to + up(len))
		return;
	if (len % PAGE && to + len < model_size) /* the piece at the end of the file can only go to an end */
		len = down(len);
	if (!len)
		return;
	note("clone, %zu bytes at %zu to %zu of %zu", len, off, to, model_size);
	r.src_offset = off;
	r.src_length = len;
	r.dest_offset = to;
	if (ioctl(fd, FICLONERANGE, &r)) {
		if (!cannot())
			fail("cloning", off);
		return;
	}
	memcpy(scratch, model + off, len);
	model_write(to, len);
	check_size("the size after cloning");
}

/* What is alike becomes one extent, and nothing else changes. */
static void dedupe(size_t off, size_t len)
{
	size_t to = down(below(model_size));
	struct {
		struct file_dedupe_range head;
		struct file_dedupe_range_info info;
	} r = {.head = {.dest_count = 1}, .info = {.dest_fd = fd}};
	bool alike;

	off = down(off);
	len = down(len) + PAGE;
	if (off + len > model_size || to + len > model_size || (to < off + len && off < to + len))
		return;
	if (next() & 1) {
		memcpy(map.at + to, map.at + off, len);
		memcpy(model + to, model + off, len);
	}
	alike = !memcmp(model + to, model + off, len);
	note("dedupe, %zu bytes at %zu and %zu", len, off, to);
	r.head.src_offset = off;
	r.head.src_length = len;
	r.info.dest_offset = (unsigned long long)to;
	if (ioctl(fd, FIDEDUPERANGE, &r)) {
		if (!cannot())
			fail("deduping", off);
		return;
	}
	if (r.info.status == FILE_DEDUPE_RANGE_DIFFERS ? alike : r.info.status == FILE_DEDUPE_RANGE_SAME && !alike)
		fail("deduping took one for the other", to);
}

/* The whole file, in a file of its own. */
static void clone_file(void)
{
	char name[] = "clone-XXXXXX";
	int to = mkstemp(name);
	size_t n = 0;

	note("clone the file");
	unlink(name);
	if (ioctl(to, FICLONE, fd)) {
		if (!cannot() && errno != EXDEV)
			fail("cloning the file", 0);
	} else {
		for (ssize_t got; n < model_size && (got = pread(to, scratch + n, model_size - n, (off_t)n)) > 0;)
			n += (size_t)got;
		if (n != model_size)
			fail("a short clone", n);
		check("the clone", scratch, 0, model_size);
	}
	close(to);
}

/* ---- Other ways to the bytes ---- */

static void direct(size_t off, size_t len)
{
	int d = open(path, O_RDWR | O_DIRECT);
	bool writes = next() & 1, mapped = next() & 1;
	size_t from = down(below(SIZE_MAX_FILE - 2 * PAGE));
	uint8_t *buf = scratch;

	off = down(off);
	len = up(len);
	if (off + len > model_size || d < 0) {
		close(d);
		return;
	}
	if (mapped && from + len <= model_size && (from >= off + len || off >= from + len))
		buf = map.at + from;
	note("O_DIRECT, %s %zu bytes at %zu, %s %zu", writes ? "write" : "read", len, off, buf == scratch ? "of memory," : "of the map at",
	     from);
	if (writes) {
		if (buf == scratch)
			random_bytes(len);
		if (pwrite(d, buf, len, (off_t)off) != (ssize_t)len)
			fail("a direct write", off);
		if (buf != scratch)
			memcpy(scratch, model + from, len);
		model_write(off, len);
	} else {
		if (pread(d, buf, len, (off_t)off) != (ssize_t)len)
			fail("a direct read", off);
		check("a direct read", buf, off, len);
		if (buf != scratch)
			memcpy(model + from, model + off, len);
	}
	close(d);
}

static void flagged(size_t off, size_t len)
{
	static const int write_flags[] = {0, RWF_DSYNC, RWF_SYNC, RWF_APPEND, RWF_HIPRI}, read_flags[] = {0, RWF_HIPRI};
	struct iovec v[3] = {{scratch, len / 3}, {scratch + len / 3, len / 5}, {scratch + len / 3 + len / 5, len - len / 3 - len / 5}};
	ssize_t n;

	if (next() & 1) {
		n = preadv2(fd, v, 3, (off_t)off, read_flags[below(2)]);
		if (n != (ssize_t)len)
			fail("preadv2", off);
		check("preadv2", scratch, off, len);
	} else {
		int flags = write_flags[below(5)];

		if (flags == RWF_APPEND)
			off = model_size;
		if (off + len > SIZE_MAX_FILE)
			return;
		random_bytes(len);
		n = pwritev2(fd, v, 3, (off_t)off, flags);
		if (n != (ssize_t)len)
			fail("pwritev2", off);
		model_write(off, len);
	}
}

/* By a descriptor that appends, but elsewhere. */
static void not_appended(size_t off, size_t len)
{
	struct iovec v[2] = {{scratch, len / 3}, {scratch + len / 3, len - len / 3}};
	int a = open(path, O_WRONLY | O_APPEND);
	ssize_t n;

	random_bytes(len);
	n = pwritev2(a, v, 2, (off_t)off, RWF_NOAPPEND);
	close(a);
	if (n < 0 && errno == EOPNOTSUPP)
		return;
	if (n != (ssize_t)len)
		fail("pwritev2 that does not append", off);
	model_write(off, len);
}

/* Through a pipe, to elsewhere in the file. */
static void through_a_pipe(size_t off, size_t len)
{
	loff_t in = (loff_t)off, out;
	ssize_t n, m;
	int p[2];

	len = len > 65536 ? 65536 : len;
	out = (loff_t)below(SIZE_MAX_FILE - len);
	if (((size_t)out < off + len + PAGE && off < (size_t)out + len + PAGE) || pipe(p))
		return;
	note("splice, %zu bytes at %zu to %zu", len, off, (size_t)out);
	if (next() & 1) {
		n = splice(fd, &in, p[1], NULL, len, SPLICE_F_NONBLOCK);
	} else {
		fcntl(p[1], F_SETFL, O_NONBLOCK);
		n = sendfile(p[1], fd, &in, len);
	}
	if (n <= 0)
		fail("into the pipe", off);
	m = splice(p[0], NULL, fd, &out, (size_t)n, 0);
	if (m <= 0)
		fail("out of the pipe", off);
	memcpy(scratch, model + off, (size_t)m);
	model_write((size_t)out - (size_t)m, (size_t)m);
	close(p[0]);
	close(p[1]);
}

/* Data is where something was written; what is said to be a hole is zeros. */
static void seek(size_t off)
{
	off_t data = lseek(fd, (off_t)off, SEEK_DATA), hole;
	size_t end = data < 0 ? model_size : (size_t)data;

	if (data < 0 && errno != ENXIO)
		fail("SEEK_DATA", off);
	for (size_t i = off; i < end; i++)
		if (model[i])
			fail("data in what is said to be a hole", i);
	hole = lseek(fd, (off_t)off, SEEK_HOLE);
	if (hole < (off_t)off || (size_t)hole > model_size)
		fail("SEEK_HOLE", off);
}

static void sync_somehow(size_t off, size_t len)
{
	static const int advice[] = {POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED, POSIX_FADV_SEQUENTIAL,
				     POSIX_FADV_RANDOM,   POSIX_FADV_NORMAL,   POSIX_FADV_NOREUSE};

	switch (below(6)) {
	case 0:
		if (fdatasync(fd))
			fail("fdatasync", 0);
		break;
	case 1:
		if (sync_file_range(fd, (off_t)off, (off_t)len,
				    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER))
			fail("sync_file_range", off);
		break;
	case 2:
		if (msync(map.at + down(off), len, MS_ASYNC | (next() & 1 ? MS_INVALIDATE : 0)))
			fail("msync", off);
		break;
	case 3:
		if (readahead(fd, (off_t)off, len))
			fail("readahead", off);
		break;
	case 4:
		if (msync(map.at + down(off), len, MS_SYNC | MS_INVALIDATE))
			fail("msync", off);
		break;
	default:
		if (posix_fadvise(fd, (off_t)off, (off_t)len, advice[below(6)]))
			fail("posix_fadvise", off);
	}
}

/* ---- The mapping ---- */

static void advise(size_t off, size_t len)
{
	static const int advice[] = {MADV_COLD,           MADV_PAGEOUT,  MADV_WILLNEED,  MADV_POPULATE_READ,
				     MADV_POPULATE_WRITE, MADV_DONTNEED, MADV_SEQUENTIAL};
	int a = advice[below(7)];

	note("advice %d, %zu bytes at %zu", a, len, off);
	if (madvise(map.at + down(off), len, a))
		fail("madvise", off);
	if (a == MADV_SEQUENTIAL)
		madvise(map.at, map.len, MADV_NORMAL);
	check("after advice", map.at + off, off, len);
}

static void remove_range(size_t off, size_t len)
{
	note("MADV_REMOVE, %zu bytes at %zu", len, off);
	if (madvise(map.at + down(off), up(len), MADV_REMOVE)) {
		if (!cannot())
			fail("MADV_REMOVE", off);
		return;
	}
	off = down(off);
	len = up(len);
	memset(model + off, 0, off + len > model_size ? model_size - off : len);
}

static void protect(size_t off, size_t len)
{
	uint8_t *at = map.at + down(off);

	if (mprotect(at, len, PROT_READ))
		fail("mprotect", off);
	check("what is read-only", map.at + off, off, len);
	if (next() & 1 && mlock(at, len > 65536 ? 65536 : len))
		fail("mlock", off);
	if (mprotect(at, len, PROT_READ | PROT_WRITE))
		fail("mprotect", off);
	munlock(at, len);
	random_bytes(len);
	memcpy(map.at + off, scratch, len);
	model_write(off, len);
}

static sigjmp_buf beyond;

static void on_bus(int sig)
{
	siglongjmp(beyond, sig);
}

/* The last page ends with zeros, and what follows it is not there. */
static void look_at_the_end(void)
{
	struct sigaction act = {.sa_handler = on_bus, .sa_flags = SA_NODEFER}, old;
	volatile uint8_t *p = map.at + up(model_size);
	bool writes = next() & 1;

	note("the end of %zu", model_size);
	for (size_t i = model_size; i < up(model_size) && model_size / PAGE != stored_beyond; i++)
		if (map.at[i])
			fail("something beyond the end", i);
	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(beyond, 1)) {
		if (writes)
			*p = 1;
		else
			(void)*p;
		fail("an access beyond the end", up(model_size));
	}
	sigaction(SIGBUS, &old, NULL);
}

/* A child sees what there is, stores and writes. */
static void in_a_child(size_t off, size_t len)
{
	int status;
	pid_t pid;

	random_bytes(len);
	pid = fork();
	if (!pid) {
		check("the map in a child", map.at + off, off, len);
		if (next() & 1)
			memcpy(map.at + off, scratch, len);
		else if (pwrite(fd, scratch, len, (off_t)off) != (ssize_t)len)
			fail("a write in a child", off);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("the child", off);
	next();
	model_write(off, len);
}

void range_step(unsigned what, size_t off, size_t len)
{
	static void (*const steps[])(size_t, size_t) = {zero_range,   allocate, collapse,     insert,       clone_range,
							dedupe,       direct,   flagged,      not_appended, through_a_pipe,
							sync_somehow, advise,   remove_range, protect};

	if (what < sizeof steps / sizeof *steps)
		steps[what](off, len);
	else if (next() % 4)
		next() & 1 ? seek(off) : look_at_the_end();
	else
		next() % 8 ? clone_file() : in_a_child(off, len);
}
