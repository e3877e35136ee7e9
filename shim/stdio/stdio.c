/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams. libc calls the kernel for them by inner names that no wrapper meets, so it is the stream calls that are
 * wrapped: their buffers and the stream's own (stream_buffer.c) are pinned, and those that reach a mapped file write stores first or are bracketed.
 *
 * A call that its stream's buffer satisfies touches neither file nor mapping; that is looked up in the stream (_IO_read_ptr
 * and so on are part of glibc's ABI). Before a bracket the stream is locked, as a thread that holds it may come for the
 * bracket.
 *
 * Calls that empty the buffer are in stdio_flush.c, formatted output in stdio_print.c, input by characters and lines in stdio_lines.c, wide streams in stdio_wide.c.
 */
#include <errno.h>
#include <string.h>

#include "base/mapped.h"
#include "base/pins.h"
#include "base/real.h"
#include "files/coherent.h"
#include "files/identity.h"
#include "stream.h"
#include "util/sys.h"

static size_t pending(const FILE *f)
{
	return f->_IO_write_ptr > f->_IO_write_base ? (size_t)(f->_IO_write_ptr - f->_IO_write_base) : 0;
}

bool stream_is_pending(const FILE *f)
{
	const struct stream_wide *w = stream_wide(f);

	return pending(f) || (w && w->write_ptr > w->write_base);
}

static struct address_space *lookup(FILE *f)
{
	int saved = errno, fd = f ? fileno_unlocked(f) : -1;
	struct address_space *as = fd < 0 ? NULL : file_io_lookup(fd);

	errno = saved;
	return as;
}

/* As file_io_start(). */
static struct address_space *start(FILE *f, struct inflight *in)
{
	int saved = errno, fd = f ? fileno_unlocked(f) : -1;
	struct address_space *as;

	in->slot = NULL;
	as = fd < 0 ? NULL : file_io_start(fd, in);
	errno = saved;
	return as;
}

/* ---- What is written ---- */

static uint64_t position(FILE *f)
{
	return (uint64_t)sys_lseek(fileno_unlocked(f), 0, SEEK_CUR);
}

static uint64_t size_of(FILE *f)
{
	struct stat st;

	return sys_fstat(fileno_unlocked(f), &st) ? 0 : (uint64_t)st.st_size;
}

/* All bytes that the call adds to the stream go to the file in one run, which ends at the file position, or stay pending. */
static size_t write_bytes(struct file_change *change, const struct stream_call *c)
{
	size_t before = pending(c->f) + c->size * c->n, result = c->fn(c), left = min_u64(pending(c->f), before);
	uint64_t end = position(c->f);

	file_change_end(change, end - min_u64(end, before - left), before - left);
	return result;
}

/* In _flags: glibc's ABI, as above. */
#define UNBUFFERED 0x2
#define FAILED 0x20
#define LINE_BUFFERED 0x200
#define WRITING 0x800

/* Where it writes next: libc goes back over bytes that it has read and not used. */
static uint64_t next_write(FILE *f)
{
	const char *next = f->_flags & WRITING ? f->_IO_write_base : f->_IO_read_ptr;
	uint64_t at = position(f);

	return f->_IO_read_end > next ? at - min_u64(at, (uint64_t)(f->_IO_read_end - next)) : at;
}

/* How many bytes its characters are is known when they are there; no byte of them stays behind. */
static size_t write_wide(struct file_change *change, const struct stream_call *c)
{
	bool append = fd_appends(fileno_unlocked(c->f));
	uint64_t from = append ? size_of(c->f) : next_write(c->f), to;
	size_t result = c->fn(c);

	to = append ? size_of(c->f) : position(c->f);
	file_change_end(change, from, to > from ? to - from : 0);
	return result;
}

/* ---- Writing within a bracket ---- */

static size_t write_in_bracket(struct address_space *as, const struct stream_call *c)
{
	struct file_change change;
	size_t result;
	int state;

	flockfile(c->f);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	file_change_begin(&change, as);
	result = stream_wide(c->f) ? write_wide(&change, c) : write_bytes(&change, c);
	pthread_setcancelstate(state, NULL);
	funlockfile(c->f);
	return result;
}

/* Within what start() began: the file is mapped, or shall not be meanwhile. */
static size_t write_through(struct address_space *as, const struct inflight *in, const struct stream_call *c)
{
	size_t result;
	int state;

	if (as) {
		result = write_in_bracket(as, c);
	} else {
		flockfile(c->f);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		result = c->fn(c);
		pthread_setcancelstate(state, NULL);
		funlockfile(c->f);
	}
	file_io_finish(as, in);
	return result;
}

size_t stream_write_through(const struct stream_call *c)
{
	struct inflight in;
	struct address_space *as = start(c->f, &in);

	return write_through(as, &in, c);
}

bool stream_concerns(FILE *f)
{
	struct inflight in;
	struct address_space *as = start(f, &in);
	bool yes = as || in.slot;

	file_io_finish(as, &in);
	return yes;
}

static size_t call_fflush(const struct stream_call *c)
{
	return (size_t)REAL(fflush_unlocked)(c->f);
}

static size_t call_fwrite(const struct stream_call *c)
{
	return REAL(fwrite_unlocked)(c->buf, c->size, c->n, c->f);
}

/* What no mapping has to be told of is left to libc, but for what must be held. */
static int flush_held(FILE *f, const struct stream_held *h)
{
	struct inflight in;
	struct address_space *as = start(f, &in);

	if (as || in.slot)
		return (int)write_through(as, &in, &(struct stream_call){.fn = call_fflush, .f = f});
	return h->f ? REAL(fflush_unlocked)(f) : 0;
}

int stream_flush(FILE *f)
{
	int result = 0;

	if (!NOTHING_TO_TELL && f && stream_is_pending(f))
		STREAM_HOLDING(f, result = flush_held(f, &held_));
	return result;
}

/* ---- fwrite, fputs, puts ---- */

/* Where libc's write(2) is a point to cancel the thread at, this is: what has been started must be finished. */
static size_t write_held(const void *buf, size_t size, size_t n, FILE *f)
{
	struct inflight in;
	struct address_space *as;

	pthread_testcancel();
	as = start(f, &in);
	if (!as && !in.slot)
		return REAL(fwrite)(buf, size, n, f);
	return write_through(as, &in, &(struct stream_call){.fn = call_fwrite, .f = f, .buf = buf, .size = size, .n = n});
}

/* One piece, whose buffer is pinned or not ours; items written. */
static size_t write_items(const void *buf, size_t size, size_t n, FILE *f)
{
	size_t done;

	if (size * n <= stream_room(f))
		return REAL(fwrite)(buf, size, n, f);
	STREAM_HOLDING(f, done = write_held(buf, size, n, f));
	return done;
}

/* A piece of a buffer of ours, pinned while the call has it. */
struct piece {
	const char *at;
	size_t len;
};

static void unpin_piece(void *piece)
{
	const struct piece *p = piece;

	unpin(p->at, p->len, p);
}

typedef size_t (*piece_fn)(const struct piece *p, FILE *f);

/* What cannot be pinned ends the call, as EFAULT ends libc's. */
static size_t do_piece(piece_fn fn, const struct piece *p, bool write, FILE *f)
{
	size_t n;

	if (pin(p->at, p->len, write, p)) {
		errno = EFAULT;
		return 0;
	}
	pthread_cleanup_push(unpin_piece, (void *)p);
	n = fn(p, f);
	pthread_cleanup_pop(1);
	return n;
}

static size_t in_pieces(piece_fn fn, const char *buf, size_t len, bool write, FILE *f)
{
	size_t done = 0;

	while (done < len) {
		struct piece p = {.at = buf + done, .len = min_u64(len - done, file_io_piece_limit())};
		size_t n = do_piece(fn, &p, write, f);

		done += n;
		if (n < p.len)
			break;
	}
	return done;
}

static void unlock(void *f)
{
	funlockfile(f);
}

/* The stream is one thread's for all pieces. libc's calls in there can be where it is cancelled. */
static size_t do_pieces(piece_fn fn, const void *buf, size_t len, bool write, FILE *f)
{
	size_t done;

	flockfile(f);
	pthread_cleanup_push(unlock, f);
	done = in_pieces(fn, buf, len, write, f);
	pthread_cleanup_pop(1);
	return done;
}

static size_t write_piece(const struct piece *p, FILE *f)
{
	return write_items(p->at, 1, p->len, f);
}

size_t stream_write(const void *buf, size_t size, size_t n, FILE *f)
{
	size_t bytes;

	if (__builtin_mul_overflow(size, n, &bytes) || !bytes)
		return REAL(fwrite)(buf, size, n, f);
	if (!file_io_is_ours(buf, bytes))
		return write_items(buf, size, n, f);
	return do_pieces(write_piece, buf, bytes, false, f) / size;
}

WRAPPER size_t fwrite(const void *buf, size_t size, size_t n, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fwrite)(buf, size, n, f) : stream_write(buf, size, n, f);
}

WRAPPER size_t fwrite_unlocked(const void *buf, size_t size, size_t n, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fwrite_unlocked)(buf, size, n, f) : stream_write(buf, size, n, f);
}

/* What stays of a stream's error when it is looked whether there is another. */
struct earlier {
	FILE *f;
	int failed;
};

static void put_back(void *earlier)
{
	const struct earlier *e = earlier;

	e->f->_flags |= e->failed;
	funlockfile(e->f);
}

bool stream_put(const char *text, size_t len, FILE *f)
{
	struct earlier e = {.f = f};
	bool done;

	flockfile(f);
	e.failed = f->_flags & FAILED;
	f->_flags &= ~FAILED;
	pthread_cleanup_push(put_back, &e);
	done = stream_write(text, 1, len, f) == len && !(f->_flags & FAILED);
	pthread_cleanup_pop(1);
	return done;
}

static int write_string(const char *s, FILE *f)
{
	return stream_put(s, strlen(s), f) ? 1 : EOF;
}

WRAPPER int fputs(const char *s, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fputs)(s, f) : write_string(s, f);
}

WRAPPER int fputs_unlocked(const char *s, FILE *f)
{
	return NOTHING_TO_TELL ? REAL(fputs_unlocked)(s, f) : write_string(s, f);
}

static int write_line(const char *s)
{
	return write_string(s, stdout) != EOF && putc_unlocked('\n', stdout) != EOF ? 1 : EOF;
}

WRAPPER int puts(const char *s)
{
	int result;

	if (NOTHING_TO_TELL)
		return REAL(puts)(s);
	flockfile(stdout);
	pthread_cleanup_push(unlock, stdout);
	result = write_line(s);
	pthread_cleanup_pop(1);
	return result;
}

/* ---- fread ---- */

void stream_write_stores(FILE *f)
{
	struct address_space *as = lookup(f);

	if (!as)
		return;
	file_io_sync(as, 0, UINT64_MAX); /* an error of that is msync's and fsync's to tell */
	file_io_put(as);
}

/* To glibc a stream that is not fully buffered is a terminal's: what stands in the line before the answer is shown first. */
static void flush_prompt(const FILE *f)
{
	if (f->_flags & (UNBUFFERED | LINE_BUFFERED) && stdout->_flags & LINE_BUFFERED)
		stream_flush(stdout);
}

void stream_before_read(FILE *f)
{
	flush_prompt(f);
	stream_flush(f);
	stream_write_stores(f);
}

static size_t read_piece(const struct piece *p, FILE *f)
{
	return REAL(fread)((void *)p->at, 1, p->len, f);
}

static size_t read_held(void *buf, size_t size, size_t n, FILE *f)
{
	if (!file_io_is_ours(buf, size * n))
		return REAL(fread)(buf, size, n, f);
	return do_pieces(read_piece, buf, size * n, true, f) / size;
}

static size_t do_fread(void *buf, size_t size, size_t n, FILE *f)
{
	size_t bytes, done;

	if (__builtin_mul_overflow(size, n, &bytes) || bytes <= stream_readable(f))
		return REAL(fread)(buf, size, n, f);
	stream_before_read(f);
	STREAM_HOLDING(f, done = read_held(buf, size, n, f));
	return done;
}

WRAPPER size_t fread(void *buf, size_t size, size_t n, FILE *f)
{
	return NOTHING_MAPPED ? REAL(fread)(buf, size, n, f) : do_fread(buf, size, n, f);
}

WRAPPER size_t fread_unlocked(void *buf, size_t size, size_t n, FILE *f)
{
	return NOTHING_MAPPED ? REAL(fread_unlocked)(buf, size, n, f) : do_fread(buf, size, n, f);
}

static bool fits(size_t room, size_t size, size_t n)
{
	size_t bytes;

	return !__builtin_mul_overflow(size, n, &bytes) && bytes <= room;
}

WRAPPER size_t __fread_chk(void *buf, size_t room, size_t size, size_t n, FILE *f)
{
	return fits(room, size, n) ? fread(buf, size, n, f) : REAL(__fread_chk)(buf, room, size, n, f);
}

WRAPPER size_t __fread_unlocked_chk(void *buf, size_t room, size_t size, size_t n, FILE *f)
{
	return fits(room, size, n) ? fread_unlocked(buf, size, n, f) : REAL(__fread_unlocked_chk)(buf, room, size, n, f);
}

/* ---- All streams ---- */

/* glibc's list of streams. */
typedef struct stream_iterator *stream_iterator;
stream_iterator _IO_iter_begin(void);
stream_iterator _IO_iter_end(void);
stream_iterator _IO_iter_next(stream_iterator i);
FILE *_IO_iter_file(stream_iterator i);
void _IO_list_lock(void);
void _IO_list_unlock(void);
void _IO_list_resetlock(void);

void stream_for_each(void (*fn)(FILE *f))
{
	_IO_list_lock();
	for (stream_iterator i = _IO_iter_begin(); i != _IO_iter_end(); i = _IO_iter_next(i))
		fn(_IO_iter_file(i));
	_IO_list_unlock();
}

/*
 * libc's fork(3) takes the list's lock after all handlers have run, and who goes through the list may wait for a lock of the engine's: it is taken before
 * those. In the child libc has made it anew if there were other threads, and not if there were none.
 */
void stream_before_fork(void)
{
	_IO_list_lock();
}

void stream_after_fork_parent(void)
{
	_IO_list_unlock();
}

void stream_after_fork_child(void)
{
	_IO_list_resetlock();
}
