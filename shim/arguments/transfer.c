/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer that is small next to the budget is pinned whole, so that the call is one call, as datagrams need. A longer
 * one goes in pieces. Where pins are short - many threads wait in calls with pinned buffers - a piece goes through the
 * stack.
 */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "api/engine.h"
#include "base/peek.h"
#include "base/pins.h"
#include "base/real.h"
#include "files/coherent.h"
#include "files/identity.h"
#include "held.h"
#include "util/sys.h"

#define BOUNCE 4096
#define COPY 16384
#define CALL_MAX 0x7ffff000UL /* the kernel looks at no more of a buffer */

static ssize_t bounce(const struct transfer *t, void *buf, size_t len, size_t done)
{
	char stack[BOUNCE];
	ssize_t n;

	len = len < BOUNCE ? len : BOUNCE;
	if (!t->to_memory)
		memcpy(stack, buf, len);
	n = t->call(t, stack, len, done);
	if (t->to_memory && n > 0)
		memcpy(buf, stack, (size_t)n);
	return n;
}

/* What is no file may have no more than it gave. Keeps errno. */
static bool was_cut(const struct transfer *t, uint32_t moves, const char *buf, size_t len, ssize_t n)
{
	ssize_t result = n < 0 ? -errno : n;

	if (likely(n == (ssize_t)len))
		return false;
	if (!t->to_memory)
		return file_io_was_away(moves, len, result) || file_io_was_cut(buf, len, result);
	return file_io_was_moved(moves, len, result) && (n < 0 || fd_is_regular(t->fd));
}

struct pinned {
	const void *at;
	size_t len;
	const void *frame;
};

static void end(const struct pinned *p)
{
	if (p->len)
		unpin(p->at, p->len, p->frame);
}

/* *len becomes what was tried; *cut: part of it is to be tried again. Of memory that cannot be pinned, page by page, the kernel says EFAULT, or what it finds first. */
static ssize_t piece(const struct transfer *t, char *buf, size_t *len, size_t done, bool *cut)
{
	uint32_t moves = file_io_moves();
	int err = pin(buf, *len, t->to_memory, &moves);
	ssize_t n;

	*cut = false;
	if (err) {
		*len = min_u64(*len, FL_PAGE_SIZE - ((uintptr_t)buf & FL_PAGE_MASK));
		err = pin(buf, *len, t->to_memory, &moves);
	}
	if (err == -ENOMEM)
		return bounce(t, buf, *len, done);
	__attribute__((cleanup(end), unused)) const struct pinned pinned = {buf, err ? 0 : *len, &moves};
	n = t->call(t, buf, *len, done);
	*cut = !err && was_cut(t, moves, buf, *len, n);
	return n;
}

/*
 * While the kernel reads with O_DIRECT it keeps writers of the file waiting, and waits itself where the buffer is not there (any more). With faults by threads
 * that may be for ever: these wait for the end of a change to the file, and the change for the reader. So what is read of a mapped file comes by
 * way of memory that is always there.
 */
bool transfer_reads_by_copy(int fd)
{
	return coherent_copies() && identity_is_mapped(fd) && (sys_fcntl(fd, F_GETFL, 0) & O_DIRECT);
}

static bool put(char *to, const char *from, size_t len)
{
	int err = pin(to, len, true, &to);

	if (err == -ENOMEM) { /* as bounce() */
		memcpy(to, from, len);
		return true;
	}
	if (err)
		return false;
	err = file_io_copy_out(to, from, len);
	unpin(to, len, &to);
	return !err;
}

/* What cannot be put there is as if it had not been read. */
static ssize_t read_and_put(const struct transfer *t, char *buf, char *copy, size_t len, size_t done)
{
	ssize_t n = t->call(t, copy, len, done);

	if (n <= 0 || put(buf, copy, (size_t)n))
		return n;
	if (t->off == AT_POSITION)
		sys_lseek(t->fd, -n, SEEK_CUR);
	errno = EFAULT;
	return -1;
}

static ssize_t read_by_copy(const struct transfer *t, char *buf, size_t len)
{
	_Alignas(FL_PAGE_SIZE) char copy[COPY + FL_PAGE_SIZE];
	char *at = copy + ((uintptr_t)buf & FL_PAGE_MASK); /* as the buffer is aligned, or not */
	size_t done = 0, part;
	ssize_t n;

	do {
		part = min_u64(len - done, COPY);
		n = read_and_put(t, buf + done, at, part, done);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
	} while ((size_t)n == part && done < len);
	return (ssize_t)done;
}

/* A full piece of something that is no file may be all there is: the next read would wait. */
static bool goes_on(const struct transfer *t)
{
	return t->whole || !t->to_memory || fd_is_regular(t->fd);
}

/* Refused by the kernel for all of it, where a part might not be. */
static bool is_too_far(const struct transfer *t, const void *buf, size_t len)
{
	if (len > SSIZE_MAX || (uintptr_t)buf > TASK_SIZE - min_u64(len, CALL_MAX))
		return true;
	return t->off > 0 && len > (uint64_t)(INT64_MAX - t->off);
}

ssize_t transfer(const struct transfer *t, void *buf, size_t len)
{
	size_t done = 0, limit, there;
	unsigned cuts = 0;
	bool cut = false;

	if (is_too_far(t, buf, len) || !file_io_is_ours(buf, len))
		return t->call(t, buf, len, 0);
	there = t->to_memory ? memory_at(buf, len) : len;
	if (there < len && fd_is_regular(t->fd)) { /* a file is read up to there */
		if (!there)
			return t->call(t, buf, len, 0);
		len = there;
	}
	if (t->to_memory && transfer_reads_by_copy(t->fd))
		return read_by_copy(t, buf, len);
	limit = file_io_piece_limit();
	do {
		size_t part = min_u64(len - done, limit);
		ssize_t n = piece(t, (char *)buf + done, &part, done, &cut);

		if (cut && cuts++ < FILE_IO_CUTS) {
			done += n > 0 ? (size_t)n : 0;
			continue;
		}
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if ((size_t)n < part)
			break;
	} while (done < len && (cut || goes_on(t)));
	return (ssize_t)done;
}
