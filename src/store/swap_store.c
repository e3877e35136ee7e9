/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Swap: where dirty pages of private mappings go when memory is short. One unlinked temporary file for the process;
 * each store is a region of its offsets, as long as the mapping, so a page's slot is its index and needs no table.
 * Space is returned by punching holes, in time (swap_unused.c); regions given up are used again, since file systems limit the length of a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store.h"
#include "swap_unused.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/handshake.h"

struct swap_store {
	struct store store;
	struct arena *arena;
	uint64_t base, bytes;
	struct swap_store *next; /* of free regions: swap_lock */
};

struct mutex swap_lock = MUTEX_INIT(RANK_LEAF);
static char directory[256];
static int swap_fd = -1;                /* guarded by swap_lock until set */
static uint64_t next_base;              /* guarded by swap_lock: where no region has been yet */
static struct swap_store *free_regions; /* guarded by swap_lock; by base, with something between any two */
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

bool swap_in_use(void)
{
	return __atomic_load_n(&swap_fd, __ATOMIC_ACQUIRE) >= 0;
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

static int write_all(const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys_pwrite(swap_fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? (int)n : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static int swap_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	uint64_t at = self(s)->base + off;
	int err;

	unused_claim(swap_fd, at, at + len);
	do
		err = write_all(buf, len, at);
	while ((err == -ENOSPC || err == -EDQUOT) && unused_give_back_all(swap_fd));
	unused_trim(swap_fd);
	if (!err)
		atomic_fetch_add_explicit(&written, len, memory_order_relaxed);
	return err;
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
	uint64_t at = self(s)->base + off;

	unused_add(swap_fd, at, at + len);
}

/* ---- Regions ---- */

static bool touches(const struct swap_store *a, const struct swap_store *b)
{
	return a && b && a->base + a->bytes == b->base;
}

/* Lengthens a by what follows it; the node that is no longer needed goes on *spare. */
static void join(struct swap_store *a, struct swap_store **spare)
{
	struct swap_store *b = a->next;

	a->bytes += b->bytes;
	a->next = b->next;
	b->next = *spare;
	*spare = b;
}

/* Caller holds swap_lock. A node is the store that had the region; nodes that are not needed come back as a list. */
static struct swap_store *give_region(struct swap_store *w)
{
	struct swap_store **link = &free_regions, *prev = NULL, *spare = NULL;

	while (*link && (*link)->base < w->base) {
		prev = *link;
		link = &prev->next;
	}
	w->next = *link;
	*link = w;
	if (touches(w, w->next))
		join(w, &spare);
	if (touches(prev, w))
		join(prev, &spare);
	return spare;
}

static void swap_close(struct store *s)
{
	struct arena *arena = self(s)->arena;
	struct swap_store *spare, *next;

	swap_discard(s, 0, self(s)->bytes);
	mutex_lock(&swap_lock);
	spare = give_region(self(s));
	mutex_unlock(&swap_lock);
	for (; spare; spare = next) {
		next = spare->next;
		arena_free(arena, spare, sizeof *spare);
	}
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

/* Caller holds swap_lock. The first free region that is long enough; its node, when all of it was taken, comes back. */
static struct swap_store *take_region(struct swap_store *w)
{
	for (struct swap_store **link = &free_regions, *r; (r = *link); link = &r->next) {
		if (r->bytes < w->bytes)
			continue;
		w->base = r->base;
		r->base += w->bytes;
		r->bytes -= w->bytes;
		if (r->bytes)
			return NULL;
		*link = r->next;
		return r;
	}
	w->base = next_base;
	next_base += w->bytes;
	return NULL;
}

int swap_prepare(void)
{
	int fd, other;

	if (__atomic_load_n(&swap_fd, __ATOMIC_ACQUIRE) >= 0)
		return 0;
	fd = open_swap();
	if (fd < 0)
		return fd;
	mutex_lock(&swap_lock);
	other = swap_fd;
	if (other < 0)
		__atomic_store_n(&swap_fd, fd, __ATOMIC_RELEASE);
	mutex_unlock(&swap_lock);
	if (other >= 0)
		fd_close(fd);
	return 0;
}

int swap_open_scratch(uint64_t bytes)
{
	struct rlimit rl;
	int fd, err;

	if (!sys_call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&rl, 0, 0) && rl.rlim_cur < bytes)
		return -EFBIG;
	fd = open_swap();
	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, (off_t)bytes);
	if (!err)
		return fd;
	fd_close(fd);
	return err == -EFBIG || err == -EINVAL ? -ENOMEM : err;
}

int swap_store_open(struct arena *arena, uint64_t bytes, struct store **out)
{
	struct swap_store *w, *used_up;

	if (!swap_in_use())
		return -ENOENT;
	w = arena_alloc(arena, sizeof *w);
	if (!w)
		return -ENOMEM;
	w->store = (struct store){.ops = &swap_ops, .writable = true};
	w->arena = arena;
	w->bytes = page_align_up(bytes);
	mutex_lock(&swap_lock);
	used_up = take_region(w);
	mutex_unlock(&swap_lock);
	arena_free(arena, used_up, sizeof *used_up);
	*out = &w->store;
	return 0;
}

void swap_exit(void)
{
	if (swap_fd >= 0)
		fd_close(swap_fd);
	swap_fd = -1;
	next_base = 0;
	free_regions = NULL;
	unused_reset();
	atomic_store(&written, 0);
}

uint64_t swap_written(void)
{
	return atomic_load_explicit(&written, memory_order_relaxed);
}

/* ---- fork ---- */

static struct handshake copied = HANDSHAKE_INIT; /* by it the child says that it has its copy */

/* The list of regions is whole in the child, and so is that of what is not used. */
void swap_fork_prepare(void)
{
	if (swap_written())
		handshake_prepare(&copied);
	mutex_lock(&swap_lock);
}

void swap_fork_parent(void)
{
	mutex_unlock(&swap_lock);
	handshake_wait(&copied);
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

/* Of [at, end) what is needed. */
static int copy_needed(int old, int fresh, off_t at, off_t end)
{
	uint64_t start, next;
	int err = 0;

	while (!err && at < end && unused_in_child((uint64_t)at, &start, &next) && start < (uint64_t)end) {
		if ((uint64_t)at < start)
			err = copy_extent(old, fresh, at, (off_t)start);
		at = (off_t)next;
	}
	return err || at >= end ? err : copy_extent(old, fresh, at, end);
}

static int copy_swap(int old)
{
	int fresh, err = 0;
	off_t at = 0;

	if (swap_written() && !handshake_is_made(&copied)) /* the parent does not wait, and goes on with it */
		return -EMFILE;
	fresh = open_swap();
	if (fresh < 0)
		return fresh;
	while (!err && (at = sys_lseek(old, at, SEEK_DATA)) >= 0) {
		off_t end = sys_lseek(old, at, SEEK_HOLE);

		err = end < 0 ? (int)end : copy_needed(old, fresh, at, end);
		at = end;
	}
	unused_reset();
	swap_fd = fresh;
	fd_close(old);
	return err;
}

void swap_fork_child_begin(void)
{
	mutex_unlock(&swap_lock);
}

void swap_fork_end(void)
{
	handshake_tell(&copied);
}

int swap_fork_child(void)
{
	int err = swap_fd < 0 ? 0 : copy_swap(swap_fd);

	swap_fork_end();
	return err;
}
