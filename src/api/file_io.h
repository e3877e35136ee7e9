/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File calls next to mappings of the same file. The cache is told of every change of a mapped file that goes through
 * here, and what it has that the file has not is written first. Used by fl_pread() and its kin, and by the shim, whose
 * wrappers bracket the real calls with file_change_begin() and file_change_end().
 */
#ifndef FL_API_FILE_IO_H
#define FL_API_FILE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "cache/address_space.h"
#include "cache/buffer.h"
#include "host/channel.h"
#include "host/inflight.h"
#include "mm/mm.h"
#include "util/stack.h"

/*
 * The mapped file behind fd, or that st is of, with a reference; NULL: not a mapped file. Also one that only other processes have mapped,
 * by the host that this one has joined: then there is a name for it and nothing else (file_io_is_foreign). Cheap while nothing is mapped.
 */
struct address_space *file_io_lookup(int fd);
struct address_space *file_io_find(const struct stat *st);
/* Whether a file at this place of the filters (wire_filter()) may be mapped: never false when one is. */
static inline bool file_io_maybe(uint32_t place)
{
	return address_space_maybe(place) || channel_has_at(place);
}
static inline bool file_io_any(void)
{
	return address_space_any() || channel_has_any();
}
bool file_io_is_foreign(const struct address_space *as);
void file_io_put(struct address_space *as);

/*
 * The same for a call that is about to change the file. Whoever maps it from here on waits for file_io_finish(), also when this says NULL: then the
 * call goes past the cache. Without being cancelled: where f->slot is not NULL, the thread must get there.
 */
struct address_space *file_io_start(int fd, struct inflight *f);
struct address_space *file_io_start_at(const struct stat *st, struct inflight *f);
/* as: what came of the start, or NULL. */
static inline void file_io_finish(struct address_space *as, const struct inflight *f)
{
	inflight_end(f);
	if (unlikely(as))
		file_io_put(as);
}

/* Stores of the program in [off, off + len) are in the file. 0, or the error of the write-back. */
int file_io_sync(struct address_space *as, uint64_t off, uint64_t len);

/* A change of the file by other means than its mappings. Signals are blocked from begin to end. */
struct file_change {
	struct address_space *as;
	struct sigguard guard;
	struct buffer buf;
	uint64_t old_size;
	struct channel_pair pair; /* with a host */
	bool held;                /* which keeps off meanwhile */
	bool ends_copies;         /* for who makes the change to set: private copies of pages from its offset on go as well */
	bool replaces;            /* the same: a hole is there now, or a clone; no store is to be written into it */
};
void file_change_begin(struct file_change *c, struct address_space *as);
/* [off, off + len) is what changed; the size is looked up. len may be 0. */
void file_change_end(struct file_change *c, uint64_t off, uint64_t len);

/* The calls; -errno. Buffers may be mappings of ours. */
ssize_t file_io_pread(int fd, void *buf, size_t len, off_t off);
ssize_t file_io_pwrite(int fd, const void *buf, size_t len, off_t off);
int file_io_ftruncate(int fd, off_t len);

/*
 * How much of len bytes a read of the file at off can give, or at its position; len when nobody knows. What a read does not fill must
 * not be pinned for it, lest memory become writable, and pages private copies.
 */
#define FILE_IO_POSITION ((off_t)-1)
size_t file_io_readable(int fd, size_t len, off_t off);

/*
 * Buffers for the kernel. Whether any part may be a mapping of ours: cheap, never false when it is. Pins as fl_pin(), in
 * every space. A pinned buffer should be no longer than file_io_piece_limit(), so that several threads find room.
 */
static inline bool file_io_is_ours(const void *buf, size_t len)
{
	return mm_overlaps_any((uintptr_t)buf, len);
}
int file_io_pin(const void *buf, size_t len, bool write);
void file_io_unpin(const void *buf, size_t len);
/*
 * The same for a call of this thread's, which may be left without coming to its end, as by siglongjmp(3) in a signal handler. `frame` is the
 * address of a variable that is there as long as the pins are. What has been given up by then is not unpinned again.
 */
int file_io_hold(const void *buf, size_t len, bool write, const void *frame);
void file_io_let_go(const void *buf, size_t len, const void *frame);
/* The thread goes on with its stack pointer at `sp`, for good or not: the calls that it leaves so hold nothing any more, and are no changes in flight. */
void file_io_jump(uintptr_t sp, enum stack_move move);
/* Whatever it holds. */
void file_io_thread_ends(void);
/*
 * Whether a call that reads the buffer, pinned still, has stopped where another thread was storing to a page of a private mapping for the first time: for
 * a moment there is none for the kernel, while the program gets its copy. n: the call's result, bytes or -errno. The rest can be pinned and tried again, up
 * to FILE_IO_CUTS times: each page is copied once.
 */
#define FILE_IO_CUTS 1000
bool file_io_was_cut(const void *buf, size_t len, ssize_t n);
/*
 * Whether a call with pinned buffers of len bytes has stopped since these were not where the kernel looked for them: the file has changed its frames, or
 * its mappings have become the kernel's. `moves` is what file_io_moves() said before they were pinned. To go on it pins what is left of them anew.
 */
uint32_t file_io_moves(void);
bool file_io_was_moved(uint32_t moves, size_t len, ssize_t n);
/*
 * The same of a call that reads its buffers. Besides, when it says EFAULT, another thread may have stored to a page of them that was write-protected: while
 * the kernel makes it writable (UFFDIO_WRITEPROTECT) it has none there. Which page it was is not known.
 */
bool file_io_was_away(uint32_t moves, size_t len, ssize_t n);
uint64_t file_io_piece_limit(void);

/* Whether read(2) and write(2) refuse it for all of it, where a part they might not: a buffer, or a range of the file, without end. */
bool file_io_is_too_far(const void *buf, size_t len, off_t off);

/* A copy to memory of the program's, -EFAULT where it cannot be written. No lock may be held. */
int file_io_copy_out(void *to, const void *from, size_t len);

#endif
