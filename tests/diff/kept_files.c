/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list changes a few pages of some files. To write all of them anew would take longer than the list does, so each
 * is mapped beside a copy of what it was, and only pages that differ are told and written.
 */
#include "kept_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_SIZE (2L << 20) /* of FD_SHARED: there is one thread */

struct kept_file {
	int which, fd;
	int64_t size;
	char *now, *copy;
};

static struct kept_file files[] = {{.which = FD_A},     {.which = FD_B},      {.which = FD_C},       {.which = FD_D_RDONLY},
				   {.which = FD_EMPTY}, {.which = FD_SHARED}, {.which = FD_UNMAPPED}};
#define FILES (sizeof files / sizeof *files)

static int opens[FDS]; /* no list closes these */

static size_t whole_pages(int64_t size)
{
	return (size_t)(size + PAGE - 1) & (size_t)-PAGE;
}

/* Shared, so that a fork has no page tables to copy. */
static void map_file(struct kept_file *f)
{
	struct stat st;
	size_t len;

	if (fstat(f->fd, &st))
		abort();
	f->size = st.st_size;
	len = whole_pages(f->size);
	if (!len)
		return;
	f->now = mmap(NULL, len, PROT_READ, MAP_SHARED, f->fd, 0);
	f->copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (f->now == MAP_FAILED || f->copy == MAP_FAILED)
		abort();
	memcpy(f->copy, f->now, len);
}

static bool is_opened(int which)
{
	return which != FD_PIPE && which != FD_CLOSED && which != FD_A_APPEND && which != FD_B_DIRECT;
}

void kept_files_make(struct context *c)
{
	files_make(c);
	if (ftruncate(c->fds[FD_SHARED], SHARED_SIZE))
		abort();
	for (size_t i = 0; i < FILES; i++) {
		files[i].fd = files_open_for_all(c->thread, files[i].which);
		map_file(&files[i]);
	}
	for (int i = 0; i < FDS; i++)
		opens[i] = is_opened(i) ? files_open(c->thread, i) : -1;
}

int kept_files_open(const struct context *c, int which)
{
	if (!c->one_open)
		return files_open(c->thread, which);
	return fcntl(opens[which == FD_B_AGAIN ? FD_B : which], F_DUPFD_CLOEXEC, 0);
}

void kept_files_set_one_open(struct context *c, bool one_open)
{
	if (c->one_open == one_open)
		return;
	c->one_open = one_open;
	for (int i = 0; i < FDS; i++) {
		if (!is_opened(i))
			continue;
		close(c->fds[i]);
		c->fds[i] = kept_files_open(c, i);
	}
}

static void put_back(const struct kept_file *f, int64_t from, int64_t end)
{
	end = end < f->size ? end : f->size;
	if (end > from && pwrite(f->fd, f->copy + from, (size_t)(end - from), from) != end - from)
		abort();
}

/* Pages that the file still has of those it had. */
static uint64_t check_pages(const struct kept_file *f, int64_t size)
{
	int64_t end = size < f->size ? size : f->size;
	uint64_t h = HASH_START;

	for (int64_t at = 0; at < end; at += PAGE) {
		if (!memcmp(f->now + at, f->copy + at, (size_t)PAGE))
			continue;
		h = hash_word(h, (uint64_t)at);
		h = hash_bytes(h, f->now + at, (size_t)(end - at < PAGE ? end - at : PAGE));
		put_back(f, at, at + PAGE);
	}
	return h;
}

/* Bytes beyond its old end. */
static uint64_t check_tail(struct context *c, const struct kept_file *f, int64_t size, uint64_t h)
{
	ssize_t n;

	for (int64_t at = f->size; at < size; at += n) {
		n = pread(f->fd, c->scratch->buffer, BUFFER_MAX, at);
		if (n <= 0)
			break;
		h = hash_bytes(h, c->scratch->buffer, (size_t)n);
	}
	return h;
}

static void check(struct context *c, const struct kept_file *f)
{
	struct record *r;
	struct stat st;

	if (fstat(f->fd, &st))
		abort();
	r = run_note(c, RECORD_FILE, st.st_size);
	r->addr = f->which;
	r->hash = check_tail(c, f, st.st_size, check_pages(f, st.st_size));
	if (st.st_size == f->size)
		return;
	if (ftruncate(f->fd, f->size))
		abort();
	put_back(f, st.st_size & -PAGE, f->size);
}

void kept_files_check(struct context *c)
{
	for (size_t i = 0; i < FILES; i++)
		check(c, &files[i]);
}
