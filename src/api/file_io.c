/* SPDX-License-Identifier: Apache-2.0 */
#include "file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "cache/frames.h"
#include "cache/hosted.h"
#include "cache/io.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "engine.h"
#include "util/compiler.h"
#include "util/sys.h"

/* ---- Files that only other processes have mapped ---- */

#define FOREIGN_MAX 64

static struct address_space foreign[FOREIGN_MAX]; /* of those in use, the file's id is all there is */
static _Atomic uint64_t foreign_used;

bool file_io_is_foreign(const struct address_space *as)
{
	return as >= foreign && as < foreign + FOREIGN_MAX;
}

static struct address_space *foreign_get(struct file_id file)
{
	uint64_t used = atomic_load(&foreign_used);
	int i;

	for (unsigned turn = 0;;) {
		if (used == UINT64_MAX) { /* as many calls at once: one of them is done soon */
			cpu_relax(turn++);
			used = atomic_load(&foreign_used);
			continue;
		}
		i = __builtin_ctzll(~used);
		if (atomic_compare_exchange_weak(&foreign_used, &used, used | 1ULL << i))
			break;
	}
	foreign[i].file = file;
	atomic_store(&foreign[i].frames, &hosted_frames);
	return &foreign[i];
}

static void foreign_put(struct address_space *as)
{
	atomic_fetch_and(&foreign_used, ~(1ULL << (as - foreign)));
}

/* ---- Which file ---- */

static struct address_space *find(struct file_id file)
{
	struct address_space *as = address_space_maybe(wire_filter(file.dev, file.ino)) ? address_space_find(file) : NULL;

	if (as && as->kernels) { /* the mappings are the kernel's: its own calls see and are seen */
		address_space_put(as);
		return NULL;
	}
	return !as && channel_has(file.dev, file.ino) ? foreign_get(file) : as;
}

struct address_space *file_io_find(const struct stat *st)
{
	struct file_id file = {.dev = st->st_dev, .ino = st->st_ino};
	struct sigguard g;
	struct address_space *as;

	if (!S_ISREG(st->st_mode) || !file_io_maybe(wire_filter(file.dev, file.ino)))
		return NULL;
	g = sigguard_enter();
	as = find(file);
	sigguard_leave(g);
	return as;
}

struct address_space *file_io_lookup(int fd)
{
	struct stat st;

	return file_io_any() && !sys_fstat(fd, &st) ? file_io_find(&st) : NULL;
}

void file_io_put(struct address_space *as)
{
	struct sigguard g;

	if (file_io_is_foreign(as)) {
		foreign_put(as);
		return;
	}
	g = sigguard_enter();
	address_space_put(as);
	sigguard_leave(g);
}

struct address_space *file_io_start_at(const struct stat *st, struct inflight *f)
{
	f->slot = NULL;
	if (S_ISREG(st->st_mode) && inflight_needed())
		inflight_begin(f, wire_filter(st->st_dev, st->st_ino));
	return file_io_find(st);
}

struct address_space *file_io_start(int fd, struct inflight *f)
{
	struct stat st;

	f->slot = NULL;
	return (file_io_any() || inflight_needed()) && !sys_fstat(fd, &st) ? file_io_start_at(&st, f) : NULL;
}

static bool may_be_dirty(const struct address_space *as)
{
	return as_is_hosted(as) ? channel_has_dirty(as->file.dev, as->file.ino) : atomic_load(&as->nr_dirty);
}

int file_io_sync(struct address_space *as, uint64_t off, uint64_t len)
{
	struct sigguard g;
	uint64_t end = len > UINT64_MAX - off ? UINT64_MAX : off + len;
	uint64_t first = off >> FL_PAGE_SHIFT, last;
	int err;

	if (!len || first > PAGE_INDEX_MAX || !may_be_dirty(as))
		return 0;
	last = min_u64((end - 1) >> FL_PAGE_SHIFT, PAGE_INDEX_MAX);
	g = sigguard_enter();
	err = as_is_hosted(as) ? hosted_sync_id(as->file, first, last) : writeback_range(as, first, last);
	sigguard_leave(g);
	return err;
}

void file_change_begin(struct file_change *c, struct address_space *as)
{
	uint64_t known;

	c->as = as;
	c->guard = sigguard_enter();
	c->held = c->ends_copies = c->replaces = false;
	if (as_is_hosted(as)) {
		hosted_change_begin(&c->pair, as->file, &c->old_size, &c->held);
		return;
	}
	mm_make_shared(as); /* bytes are put into pages in memory, which is cheap there; where it cannot be, they go by pool_write() */
	c->buf = buffer_get(false);
	write_lock(&as->invalidate_lock);
	io_drain(as);
	known = atomic_load(&as->size);
	address_space_stat(as);
	c->old_size = atomic_load(&as->size);
	if (c->old_size < known) /* cut by somebody else */
		truncate_setsize(as, known, c->old_size);
}

static void end_hosted(struct file_change *c, uint64_t off, uint64_t len)
{
	uint64_t size = c->old_size;

	if (c->held && !hosted_change_end(&c->pair, off, len, c->replaces))
		size = c->pair.call.out[0];
	if (size > c->old_size)
		mm_clear_poison();
	if (!file_io_is_foreign(c->as))
		mm_follow_shrinking(c->as);
	if (c->ends_copies && !file_io_is_foreign(c->as))
		truncate_copies(c->as, off >> FL_PAGE_SHIFT);
	sigguard_leave(c->guard);
}

/* What lies between the old end of the file and the change reads as zeros now, whatever a mapping had stored there. */
void file_change_end(struct file_change *c, uint64_t off, uint64_t len)
{
	struct address_space *as = c->as;
	uint64_t size;

	if (as_is_hosted(as)) {
		end_hosted(c, off, len);
		return;
	}
	address_space_stat(as);
	size = atomic_load(&as->size);
	if (size != c->old_size)
		truncate_setsize(as, c->old_size, size);
	if (c->ends_copies)
		truncate_copies(as, off >> FL_PAGE_SHIFT);
	if (len && c->replaces)
		replace_range(as, off, len, c->buf.data);
	else if (len)
		refresh_range(as, off, len, c->buf.data);
	write_unlock(&as->invalidate_lock);
	buffer_put(c->buf);
	if (size > c->old_size)
		mm_clear_poison();
	sigguard_leave(c->guard);
}

/* ---- Buffers that may be mappings of ours: pinned piece by piece, see holds.c ---- */

#define PIECE_MAX (256UL << 10)

uint64_t file_io_piece_limit(void)
{
	return max_u64(FL_PAGE_SIZE, min_u64(PIECE_MAX, engine_options()->budget / 16));
}

static bool was_copied(uint64_t addr)
{
	struct sigguard g = sigguard_enter();
	struct mm *mm;
	bool yes = false;

	for (int i = 0; (mm = mm_space(i)) && !yes; i++)
		yes = mm_was_copied(mm, addr);
	sigguard_leave(g);
	return yes;
}

/* A datagram is refused for any page of it, and a socket or a pipe takes whole pieces, each from several pages. */
bool file_io_was_cut(const void *buf, size_t len, ssize_t n)
{
	uint64_t end = (uintptr_t)buf + len, stop = (uintptr_t)buf + (n > 0 ? (uint64_t)n : 0);

	if (n < 0 && n != -EFAULT)
		return false;
	for (uint64_t at = page_align_down(stop); at < end && stop < end; at += FL_PAGE_SIZE)
		if (was_copied(at))
			return true;
	return false;
}

#define MOVES 0xffff /* the low half of what file_io_moves() says; the other, of pages that were made writable */
#define UNPROTECTED 0xffff

uint32_t file_io_moves(void)
{
	bool now;

	return (mm_moves() & MOVES) | (filemap_unprotected(&now) & UNPROTECTED) << 16;
}

bool file_io_was_moved(uint32_t moves, size_t len, ssize_t n)
{
	return unlikely((mm_moves() & MOVES) != (moves & MOVES)) && (n == -EFAULT || (n >= 0 && (size_t)n < len));
}

bool file_io_was_away(uint32_t moves, size_t len, ssize_t n)
{
	bool now;

	if (n != -EFAULT)
		return file_io_was_moved(moves, len, n);
	filemap_unprotected(&now); /* before the count is looked at */
	return now || file_io_moves() != moves;
}

typedef ssize_t (*piece_fn)(int fd, void *buf, size_t len, off_t off);

/* Whether the kernel has nothing mapped in part of [buf, buf + len), a piece at most. */
static bool has_hole(const void *buf, size_t len)
{
	unsigned char vec[PIECE_MAX / FL_PAGE_SIZE + 2];
	uint64_t start = page_align_down((uintptr_t)buf);

	return sys_mincore((void *)start, page_align_up((uintptr_t)buf + len) - start, vec) == -ENOMEM;
}

/* As much as can be pinned from the start of the buffer, up to a hole; how many bytes that is. */
static size_t hold_prefix(const void *buf, size_t len, bool write, const void *frame)
{
	size_t done = 0;

	if (!has_hole(buf, len) && !file_io_hold(buf, len, write, frame))
		return len;
	while (done < len) {
		size_t part = min_u64(len - done, FL_PAGE_SIZE - (((uintptr_t)buf + done) & FL_PAGE_MASK));

		if (has_hole((const char *)buf + done, part) || file_io_hold((const char *)buf + done, part, write, frame))
			break;
		done += part;
	}
	return done;
}

/* What cannot be pinned is left to the kernel to refuse, which also knows the order of errors. */
static ssize_t one_piece(piece_fn fn, int fd, void *buf, size_t len, off_t off, bool write, bool *cut)
{
	uint32_t moves = file_io_moves();
	size_t pinned = hold_prefix(buf, len, write, &moves);
	ssize_t n = fn(fd, buf, pinned ? pinned : len, off);

	*cut = write ? file_io_was_moved(moves, pinned, n) : file_io_was_away(moves, pinned, n) || file_io_was_cut(buf, pinned, n);
	for (size_t done = 0, part; done < pinned; done += part) { /* page by page or all at once, as it was pinned */
		part = pinned == len ? len : min_u64(pinned - done, FL_PAGE_SIZE - (((uintptr_t)buf + done) & FL_PAGE_MASK));
		file_io_let_go((char *)buf + done, part, &moves);
	}
	return n;
}

bool file_io_is_too_far(const void *buf, size_t len, off_t off)
{
	return len > TASK_SIZE || (uintptr_t)buf > TASK_SIZE - len || (off > 0 && len > (uint64_t)(INT64_MAX - off));
}

/* Calls fn on the buffer, in pinned pieces when it is memory of ours; short when a piece was. */
static ssize_t in_pieces(piece_fn fn, int fd, void *buf, size_t len, off_t off, bool write)
{
	size_t done = 0;
	unsigned cuts = 0;
	bool cut;

	if (!file_io_is_ours(buf, len))
		return fn(fd, buf, len, off);
	do {
		size_t part = min_u64(len - done, file_io_piece_limit());
		ssize_t n = one_piece(fn, fd, (char *)buf + done, part, off + (off_t)done, write, &cut);

		if (cut && cuts++ < FILE_IO_CUTS) {
			done += n > 0 ? (size_t)n : 0;
			continue;
		}
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if ((size_t)n < part)
			break;
	} while (done < len);
	return (ssize_t)done;
}

/* ---- The calls ---- */

/* The text of proc(5) and its kin comes from files of 0 bytes, on file systems of 0 blocks. */
static bool is_text_of_the_kernel(int fd)
{
	struct statfs fs;

	return sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0) || !fs.f_blocks;
}

/* Whether the kernel refuses it whatever the buffer is. */
static bool cannot_be_read(int flags, mode_t mode, off_t off)
{
	if (S_ISDIR(mode) || ((S_ISFIFO(mode) || S_ISSOCK(mode)) && off != FILE_IO_POSITION))
		return true;
	return (flags & O_ACCMODE) == O_WRONLY;
}

size_t file_io_readable(int fd, size_t len, off_t off)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);
	struct stat st;

	if (flags < 0 || sys_fstat(fd, &st) || cannot_be_read(flags, st.st_mode, off))
		return 0;
	if (!S_ISREG(st.st_mode) || (!st.st_size && is_text_of_the_kernel(fd)))
		return len;
	if (off == FILE_IO_POSITION)
		off = sys_lseek(fd, 0, SEEK_CUR);
	if (off < 0 || len > (uint64_t)(INT64_MAX - off)) /* the kernel's to refuse */
		return len;
	if (off >= st.st_size)
		return 0;
	return flags & O_DIRECT ? len
				: min_u64(len, (uint64_t)(st.st_size - off)); /* O_DIRECT must have whole blocks, and takes hold of all */
}

ssize_t file_io_pread(int fd, void *buf, size_t len, off_t off)
{
	struct address_space *as = file_io_lookup(fd);
	ssize_t n = 0;

	if (as) {
		n = off < 0 ? 0 : file_io_sync(as, (uint64_t)off, len);
		file_io_put(as);
	}
	if (n < 0)
		return n;
	return file_io_is_too_far(buf, len, off) ? sys_pread(fd, buf, len, off)
						 : in_pieces(sys_pread, fd, buf, file_io_readable(fd, len, off), off, true);
}

/* What the kernel did to the file, told to the cache: the write, or what comes of looking at it after. */
static ssize_t write_and_refresh(struct address_space *as, int fd, const void *buf, size_t len, off_t off, bool locked)
{
	struct file_change c;
	ssize_t n = locked ? 0 : sys_pwrite(fd, buf, len, off);

	file_change_begin(&c, as);
	if (locked)
		n = sys_pwrite(fd, buf, len, off);
	if (sys_fcntl(fd, F_GETFL, 0) & O_APPEND) /* goes to the end all the same (pwrite(2), BUGS) */
		off = (off_t)c.old_size;
	file_change_end(&c, (uint64_t)off, n > 0 ? (uint64_t)n : 0);
	return n;
}

static bool any_fault_threads(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		if (!mm->inline_faults)
			return true;
	return false;
}

/*
 * Where threads serve the faults of system calls, the kernel must not touch the program's memory while we hold a lock: another
 * thread may map the buffer meanwhile, and its fault would wait for us. What cannot be copied is the kernel's to refuse.
 */
static ssize_t write_by_copy(struct address_space *as, int fd, const char *buf, size_t len, off_t off)
{
	_Alignas(FL_PAGE_SIZE) char copy[FL_PAGE_SIZE]; /* as O_DIRECT asks */
	size_t done = 0;

	do {
		ssize_t got = sys_copy_from(copy, buf + done, min_u64(len - done, sizeof copy)), n;

		if (got <= 0 && len)
			n = write_and_refresh(as, fd, buf + done, len - done, off + (off_t)done, false);
		else
			n = write_and_refresh(as, fd, copy, (size_t)got, off + (off_t)done, true);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if (n < got || !n)
			break;
	} while (done < len);
	return (ssize_t)done;
}

static ssize_t change_and_write(int fd, void *buf, size_t len, off_t off)
{
	struct inflight f;
	struct address_space *as = file_io_start(fd, &f);
	ssize_t n;

	if (!as)
		n = sys_pwrite(fd, buf, len, off);
	else
		n = any_fault_threads() ? write_by_copy(as, fd, buf, len, off) : write_and_refresh(as, fd, buf, len, off, true);
	file_io_finish(as, &f);
	return n;
}

ssize_t file_io_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	if (file_io_is_too_far(buf, len, off))
		return sys_pwrite(fd, buf, len, off);
	return in_pieces(change_and_write, fd, (void *)buf, len, off, false);
}

int file_io_ftruncate(int fd, off_t len)
{
	struct inflight f;
	struct address_space *as = file_io_start(fd, &f);
	struct file_change c;
	int err;

	if (as)
		file_change_begin(&c, as);
	err = sys_ftruncate(fd, len);
	if (as)
		file_change_end(&c, 0, 0);
	file_io_finish(as, &f);
	return err;
}

/* The kernel copies, so that memory that is not there is an error. */
int file_io_copy_out(void *to, const void *from, size_t len)
{
	ssize_t n;

	if (file_io_hold(to, len, true, &to))
		return -EFAULT;
	n = sys_copy_to(to, from, len);
	if (n == -EPERM || n == -ENOSYS) { /* forbidden here: then the copy is a plain one, and bad memory a signal */
		memcpy(to, from, len);
		n = (ssize_t)len;
	}
	file_io_let_go(to, len, &to);
	return n == (ssize_t)len ? 0 : -EFAULT;
}
