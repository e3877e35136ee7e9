/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a thread: sizes that are and are not multiples of a page, every way to open them, and what is no file. */
#include "run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
	const char *name; /* NULL: no file of the thread */
	int flags;
	long size; /* -1: made by another entry */
} files[FDS] = {
	[FD_A] = {"a", O_RDWR, 384 * PAGE},
	[FD_B] = {"b", O_RDWR, 301 * PAGE},
	[FD_C_RDONLY] = {"c", O_RDONLY, 100 * PAGE + 1234},
	[FD_A_RDONLY] = {"a", O_RDONLY, -1},
	[FD_A_WRONLY] = {"a", O_WRONLY, -1},
	[FD_D_RDONLY] = {"d", O_RDONLY, 150 * PAGE + 4095},
	[FD_EMPTY] = {"e", O_RDWR, 0},
	[FD_B_AGAIN] = {"b", O_RDWR, -1},
	[FD_UNMAPPED] = {"x", O_RDWR, 200 * PAGE},
	[FD_C] = {"c", O_RDWR, -1},
	[FD_A_APPEND] = {"a", O_RDWR | O_APPEND, -1},
	[FD_B_DIRECT] = {"b", O_RDWR | O_DIRECT, -1},
};

static void write_words(struct context *c, int fd, long at, long size, uint64_t seed)
{
	uint64_t *words = (uint64_t *)c->scratch->buffer;

	for (long done = 0; done < size; done += BUFFER_MAX) {
		long n = size - done < BUFFER_MAX ? size - done : BUFFER_MAX;

		for (long i = 0; i < (n + 7) / 8; i++)
			words[i] = random_next(&seed);
		if (pwrite(fd, words, (size_t)n, at + done) != n)
			abort();
	}
}

int files_open(int thread, int which)
{
	char path[32];

	if (which == FD_DIRECTORY)
		return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (which == FD_SHARED)
		return open("shared", O_RDWR | O_CLOEXEC | O_CREAT, 0600);
	if (which == FD_ZERO)
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	if (!files[which].name)
		return 999; /* FD_CLOSED */
	snprintf(path, sizeof path, "%s%d", files[which].name, thread);
	return open(path, files[which].flags | O_CLOEXEC);
}

int files_unlink(int thread, int which)
{
	char path[32];

	snprintf(path, sizeof path, "%s%d", files[which].name ? files[which].name : "none", thread);
	return unlink(path);
}

int files_open_for_all(int thread, int which)
{
	char path[32];

	if (which == FD_SHARED)
		return files_open(thread, which);
	snprintf(path, sizeof path, "%s%d", files[which].name, thread);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int make_memory(struct context *c)
{
	int fd = memfd_create("m", MFD_CLOEXEC);

	write_words(c, fd, 0, 250 * PAGE, (uint64_t)(2000 + c->thread));
	return fd;
}

static int open_first(struct context *c, int which)
{
	if (which == FD_MEMORY)
		return make_memory(c);
	if (c->one_open && (which == FD_B_AGAIN || which == FD_B_DIRECT))
		return fcntl(c->fds[FD_B], F_DUPFD_CLOEXEC, 0);
	if (c->one_open && which == FD_A_APPEND)
		return fcntl(c->fds[FD_A], F_DUPFD_CLOEXEC, 0);
	return files_open(c->thread, which);
}

void files_make(struct context *c)
{
	for (int i = 0; i < FDS; i++) {
		char path[32];
		int fd;

		if (!files[i].name || files[i].size < 0)
			continue;
		snprintf(path, sizeof path, "%s%d", files[i].name, c->thread);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		write_words(c, fd, 0, files[i].size, (uint64_t)(c->thread * FDS + i + 1));
		close(fd);
	}
	for (int i = 0; i < FDS; i++)
		c->fds[i] = open_first(c, i);
	write_words(c, c->fds[FD_SHARED], c->thread * STRIPE, 1L << 20, (uint64_t)(1000 + c->thread));
	if (ftruncate(c->fds[FD_SHARED], THREADS_MAX * STRIPE) || pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK))
		abort();
	c->fds[FD_PIPE] = c->pipe[0];
}

int64_t file_offset(const struct op *o, int64_t fd, int64_t off)
{
	return fd == FD_SHARED ? o->thread * STRIPE + (int64_t)((uint64_t)off % (1 << 20)) : off;
}

/*
 * Only files that nobody can store to through a mapping may end within a page. What a program stores there behind the
 * end is seen until the page is written back or leaves memory, and when that is cannot be compared.
 */
bool file_keeps_size(int64_t fd, int64_t size)
{
	return fd == FD_C || fd == FD_UNMAPPED || size % PAGE == 0;
}
