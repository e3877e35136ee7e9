/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl(2). Some requests are file calls in all but name: a clone of a file or of a range, a comparison that makes one of two, holes and zeros
 * by the calls that were there before fallocate(2). What a mapping has stored is in the file before they read it, and mappings show what they have
 * changed. Others tell where the bytes of a file lie, or make it immutable, for which they must be there.
 *
 * Not here: requests of one file system alone (to exchange two files' extents, to write encoded extents).
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "coherent.h"
#include "identity.h"
#include "memory/procmap.h"
#include "util/sys.h"

/* ---- What comes behind a struct of a fixed size ---- */

/* The size is part of the number of newer requests; older ones concern small structs. */
static size_t head_size(unsigned long request)
{
	return _IOC_SIZE(request) ? _IOC_SIZE(request) : 64;
}

/* How much of what follows the head would be filled: as many extents as there are, of those that there is room for. */
static size_t extents_size(int fd, const struct fiemap *map)
{
	struct fiemap count = *map;
	size_t n = map->fm_extent_count;

	count.fm_extent_count = 0;
	if (n && !sys_call(SYS_ioctl, fd, FS_IOC_FIEMAP, (long)&count, 0, 0, 0))
		n = min_u64(n, count.fm_mapped_extents);
	return n * sizeof map->fm_extents[0];
}

static size_t arg_size(int fd, unsigned long request, const void *arg)
{
	struct file_dedupe_range ranges;
	struct fiemap map;

	if (request == FIDEDUPERANGE && peek(&ranges, arg, sizeof ranges))
		return sizeof ranges + ranges.dest_count * sizeof ranges.info[0];
	if (request == FS_IOC_FIEMAP && peek(&map, arg, sizeof map))
		return sizeof map + extents_size(fd, &map);
	return head_size(request);
}

/* ---- Clones: bytes of another file, or of another place of it, take the place of some of this ---- */

struct clone {
	int from, to;
	struct file_clone_range range; /* as it was asked for: a length of 0 goes to the end */
	size_t len;
};

/* false: no request for a clone, or one that the kernel could not read. */
static bool take_clone(struct clone *c, int fd, unsigned long request, const void *arg)
{
	struct file_clone_range *r = &c->range;
	struct stat st;

	if (request == FICLONERANGE && !peek(r, arg, sizeof *r))
		return false;
	if (request == FICLONE)
		*r = (struct file_clone_range){.src_fd = (int)(intptr_t)arg};
	else if (request != FICLONERANGE)
		return false;
	c->from = (int)r->src_fd;
	c->to = fd;
	c->len = r->src_length;
	if (!c->len && !sys_fstat(c->from, &st) && (uint64_t)st.st_size > r->src_offset)
		c->len = (uint64_t)st.st_size - r->src_offset;
	return true;
}

/* From a copy of what was asked for: the kernel may not fault memory of the program's in while the file is kept off. */
static long raw_clone(const void *call)
{
	const struct clone *c = call;

	return sys_call(SYS_ioctl, c->to, (long)FICLONERANGE, (long)&c->range, 0, 0, 0);
}

/* *served: the request was made here. A range that makes no sense is the kernel's to refuse. */
static int clone_range(const struct clone *c, bool *served)
{
	const struct file_clone_range *r = &c->range;
	struct address_space *as;
	struct inflight f;
	int result = 0;

	*served = false;
	if (r->src_offset > INT64_MAX || r->dest_offset > INT64_MAX)
		return 0;
	if (coherent_sync(c->from, r->src_offset, c->len)) {
		*served = true;
		return -1;
	}
	as = file_io_start(c->to, &f);
	*served = as || f.slot;
	if (*served)
		result = (int)(as ? coherent_replace(as, (off_t)r->dest_offset, c->len, raw_clone, c) : coherent_pass(raw_clone, c));
	file_io_finish(as, &f);
	return result;
}

/* ---- What is alike, in one place: no byte changes, but all are compared ---- */

static int before_dedupe(int fd, const struct file_dedupe_range *arg)
{
	struct file_dedupe_range head;
	struct file_dedupe_range_info to;

	if (!peek(&head, arg, sizeof head))
		return 0;
	if (coherent_sync(fd, head.src_offset, head.src_length))
		return -1;
	for (int i = 0; i < head.dest_count && peek(&to, &arg->info[i], sizeof to); i++)
		if (coherent_sync((int)to.dest_fd, to.dest_offset, head.src_length))
			return -1;
	return 0;
}

/* ---- Space: as fallocate(2), from where the range says ---- */

struct space {
	int16_t type, whence;
	int64_t start, len;
	int32_t rest[6];
};

/* XFS's once, any file system's now. What fallocate(2) calls it, but for the size of the file, which stays; -1: another request. */
static int space_mode(unsigned long request)
{
	switch (request) {
	case _IOW('X', 40, struct space):
	case _IOW('X', 42, struct space):
		return 0;
	case _IOW('X', 41, struct space):
	case _IOW('X', 43, struct space):
		return FALLOC_FL_PUNCH_HOLE;
	case _IOW('X', 57, struct space):
		return FALLOC_FL_ZERO_RANGE;
	default:
		return -1;
	}
}

static int64_t space_from(int fd, const struct space *s)
{
	struct stat st;

	if (s->whence == SEEK_CUR)
		return sys_lseek(fd, 0, SEEK_CUR);
	return s->whence == SEEK_END && !sys_fstat(fd, &st) ? st.st_size : 0;
}

static bool is_space(int fd, unsigned long request, const void *arg, struct space *s)
{
	return space_mode(request) >= 0 && peek(s, arg, sizeof *s) && s->whence >= SEEK_SET && s->whence <= SEEK_END &&
	       identity_is_mapped(fd) && !__builtin_add_overflow(s->start, space_from(fd, s), &s->start);
}

/* ---- The call ---- */

/* Of these one makes a file immutable, when nothing can be written any more. */
static bool sets_attributes(unsigned long request)
{
	return request == FS_IOC_SETFLAGS || request == FS_IOC_FSSETXATTR;
}

/* For requests that look at the file's bytes, or at where they lie. Where it is immutable already, another lets it be written again: that is never refused. */
static int before(int fd, unsigned long request, void *arg)
{
	if (request == FIDEDUPERANGE)
		return before_dedupe(fd, arg);
	if (request == FS_IOC_FIEMAP || request == FIBMAP)
		return coherent_sync(fd, 0, UINT64_MAX);
	if (sets_attributes(request))
		coherent_sync(fd, 0, UINT64_MAX);
	return 0;
}

static int ask_kernel(int fd, unsigned long request, void *arg)
{
	RETURN_HELD(REAL(ioctl)(fd, request, arg), FILLS(arg, file_io_is_ours(arg, 1) ? arg_size(fd, request, arg) : head_size(request)));
}

static int do_ioctl(int fd, unsigned long request, void *arg)
{
	struct space space;
	struct clone c;
	bool served;
	int result;

	if (take_clone(&c, fd, request, arg)) {
		result = clone_range(&c, &served);
		if (served)
			return result;
	}
	if (request == PROCMAP_QUERY && procmap_query(fd, arg, &result))
		return result;
	if (is_space(fd, request, arg, &space))
		return fallocate(fd, space_mode(request) | FALLOC_FL_KEEP_SIZE, space.start, space.len);
	return before(fd, request, arg) ? -1 : ask_kernel(fd, request, arg);
}

WRAPPER int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return NOTHING_MAPPED && request != PROCMAP_QUERY ? REAL(ioctl)(fd, request, arg) : do_ioctl(fd, request, arg);
}
