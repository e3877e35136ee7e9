/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Swap: where dirty pages of private mappings go when memory is short. One unlinked temporary file for the process;
 * each store is a region of its offsets, as long as the mapping, so a page's slot is its index and needs no table.
 * Offsets are given out once and never again (there are 2^62 of them); space is returned by punching holes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store.h"
#include "util/compiler.h"
#include "util/fd.h"

struct swap_store {
	struct store store;
	struct arena *arena;
	uint64_t base, bytes;
};

static struct mutex swap_lock = MUTEX_INIT(RANK_LEAF);
static char directory[256];
static int swap_fd = -1;        /* guarded by swap_lock until set */
static uint64_t next_base;      /* guarded by swap_lock */
static _Atomic uint64_t written;

static int open_in(const char *dir)
{
	return dir && *dir ? sys_openat(AT_FDCWD, dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600) : -ENOENT;
}

int swap_set_directory(const char *dir)
{
	int fd;

	directory[0] = 0;
	if (!dir)
		return 0;
	fd = open_in(dir);
	if (fd < 0)
		return fd;
	sys_close(fd);
	snprintf(directory, sizeof directory, "%s", dir);
	return 0;
}

/* Only on first use, outside of any signal handler: reads the environment. */
static int open_swap(void)
{
	const char *places[] = {directory, getenv("TMPDIR"), "/var/tmp", "/tmp"};
	int fd = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places) && fd < 0; i++) {
		fd = open_in(places[i]);
		if (i == 0 && directory[0])
			break;
	}
	return fd < 0 ? fd : fd_move_high(fd);
}

static struct swap_store *self(struct store *s)
{
	return container_of(s, struct swap_store, store);
}

static ssize_t swap_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys_pread(swap_fd, (char *)buf + done, len - done, (off_t)(self(s)->base + off + done));

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? n : -EIO; /* what was written must be there */
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int swap_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys_pwrite(swap_fd, (const char *)buf + done, len - done, (off_t)(self(s)->base + off + done));

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -ENOSPC;
		done += (size_t)n;
	}
	atomic_fetch_add_explicit(&written, len, memory_order_relaxed);
	return 0;
}

static int swap_size(struct store *s, uint64_t *size)
{
	*size = self(s)->bytes;
	return 0;
}

static int swap_sync(struct store *s)
{
	(void)s; /* what is in swap dies with the process */
	return 0;
}

static void swap_discard(struct store *s, uint64_t off, uint64_t len)
{
	sys_fallocate(swap_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(self(s)->base + off), (off_t)len);
}

static void swap_close(struct store *s)
{
	swap_discard(s, 0, self(s)->bytes);
	arena_free(self(s)->arena, self(s), sizeof(struct swap_store));
}

static const struct store_ops swap_ops = {
	.name = "swap",
	.read = swap_read,
	.write = swap_write,
	.size = swap_size,
	.sync = swap_sync,
	.discard = swap_discard,
	.peek = swap_read,
	.close = swap_close,
};

static int take_region(uint64_t bytes, uint64_t *base)
{
	int err = 0;

	mutex_lock(&swap_lock);
	if (swap_fd < 0)
		swap_fd = open_swap();
	if (swap_fd < 0) {
		err = swap_fd;
		swap_fd = -1;
	} else {
		*base = next_base;
		next_base += page_align_up(bytes) + FL_PAGE_SIZE;
	}
	mutex_unlock(&swap_lock);
	return err;
}

int swap_store_open(struct arena *arena, uint64_t bytes, struct store **out)
{
	struct swap_store *w = arena_alloc(arena, sizeof *w);
	int err;

	if (!w)
		return -ENOMEM;
	err = take_region(bytes, &w->base);
	if (err) {
		arena_free(arena, w, sizeof *w);
		return err;
	}
	w->store = (struct store){.ops = &swap_ops, .writable = true};
	w->arena = arena;
	w->bytes = bytes;
	*out = &w->store;
	return 0;
}

void swap_exit(void)
{
	if (swap_fd >= 0)
		fd_close(swap_fd);
	swap_fd = -1;
	next_base = 0;
	atomic_store(&written, 0);
}

uint64_t swap_written(void)
{
	return atomic_load_explicit(&written, memory_order_relaxed);
}

/* ---- fork ---- */

static int fork_pipe[2] = {-1, -1}; /* by it the child says that it has its copy */

bool swap_in_use(void)
{
	return swap_fd >= 0;
}

void swap_fork_prepare(void)
{
	int fds[2];

	if (!swap_written() || sys_call(SYS_pipe2, (long)fds, O_CLOEXEC, 0, 0, 0, 0))
		return;
	fork_pipe[0] = fd_move_high(fds[0]);
	fork_pipe[1] = fd_move_high(fds[1]);
}

static void close_fork_pipe(int end)
{
	fd_close(fork_pipe[end]);
	fork_pipe[end] = -1;
}

/* Also when there is no child after all, or it dies: then the pipe has no writer. */
void swap_fork_parent(void)
{
	char done;

	if (fork_pipe[0] < 0)
		return;
	close_fork_pipe(1);
	while (sys_read(fork_pipe[0], &done, 1) == -EINTR)
		;
	close_fork_pipe(0);
}

static void tell_parent(void)
{
	if (fork_pipe[1] < 0)
		return;
	close_fork_pipe(0);
	sys_write(fork_pipe[1], "", 1);
	close_fork_pipe(1);
}

/* Copies [at, end) of the old file; whole extents, in the kernel where it can. */
static int copy_extent(int old, int fresh, off_t at, off_t end)
{
	static char buf[FL_PAGE_SIZE]; /* only one thread is alive here */

	while (at < end) {
		ssize_t n = sys_pread(old, buf, min_u64(sizeof buf, (uint64_t)(end - at)), at);

		if (n <= 0 || sys_pwrite(fresh, buf, (size_t)n, at) != n)
			return -EIO;
		at += n;
	}
	return 0;
}

int swap_fork_child(void)
{
	int old = swap_fd, fresh, err = 0;
	off_t at = 0;

	swap_lock = (struct mutex)MUTEX_INIT(RANK_LEAF);
	if (old < 0)
		return 0;
	fresh = open_swap();
	if (fresh < 0)
		return fresh;
	while (!err && (at = sys_lseek(old, at, SEEK_DATA)) >= 0) {
		off_t end = sys_lseek(old, at, SEEK_HOLE);

		err = end < 0 ? (int)end : copy_extent(old, fresh, at, end);
		at = end;
	}
	swap_fd = fresh;
	fd_close(old);
	tell_parent();
	return err;
}
