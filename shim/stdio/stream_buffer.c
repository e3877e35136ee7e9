/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffer of a stream that is memory of ours: the program has given it to setvbuf(3), or libc has it from a malloc(3) that is the program's own, whose memory
 * is served. libc reads into it and writes from it by calls that no wrapper meets, so it is pinned for as long as one of the stream's may make them.
 *
 * The stream is locked meanwhile, as another thread could give it another buffer, or close it: an allocator that unmaps what is pinned would wait.
 */
#include <errno.h>

#include "base/mapped.h"
#include "base/real.h"
#include "files/coherent.h"
#include "stream.h"

/* Of glibc's: what a stream without a buffer does first when it reads or writes; one of wide characters has two. */
void _IO_doallocbuf(FILE *f);
void _IO_wdoallocbuf(FILE *f);

static bool has_file(FILE *f)
{
	int saved = errno;
	bool yes = fileno_unlocked(f) >= 0;

	errno = saved;
	return yes;
}

static size_t room_of(const FILE *f)
{
	return f->_IO_buf_end > f->_IO_buf_base ? (size_t)(f->_IO_buf_end - f->_IO_buf_base) : 0;
}

/*
 * Of a longer one libc reads what there is room for at its start; what is pending in it is pinned whole. What comes from characters can be as much as
 * there is room for.
 */
static size_t bytes_to_pin(const FILE *f)
{
	size_t to_write = f->_IO_write_ptr > f->_IO_buf_base ? (size_t)(f->_IO_write_ptr - f->_IO_buf_base) : 0;
	size_t most = max_u64(file_io_piece_limit(), to_write);

	return stream_wide(f) ? room_of(f) : min_u64(room_of(f), most);
}

static size_t wide_bytes(const struct stream_wide *w)
{
	return w ? (size_t)(w->buf_end - w->buf_base) * sizeof(wchar_t) : 0;
}

static void make_buffers(FILE *f)
{
	const struct stream_wide *w = stream_wide(f);

	flockfile(f);
	if (!f->_IO_buf_base)
		_IO_doallocbuf(f);
	if (w && !w->buf_base)
		_IO_wdoallocbuf(f);
	funlockfile(f);
}

void stream_hold(FILE *f, struct stream_held *h)
{
	const struct stream_wide *w;

	*h = (struct stream_held){.f = NULL};
	if (!f || NOTHING_MAPPED || !has_file(f))
		return;
	w = stream_wide(f);
	if (!f->_IO_buf_base || (w && !w->buf_base))
		make_buffers(f);
	if (!file_io_is_ours(f->_IO_buf_base, room_of(f)) && !(w && file_io_is_ours(w->buf_base, wide_bytes(w))))
		return;
	flockfile(f);
	h->f = f;
	h->buffers[0] = (struct held)FILLS(f->_IO_buf_base, bytes_to_pin(f));
	h->buffers[1] = (struct held)FILLS(w ? w->buf_base : NULL, wide_bytes(w));
	hold(h->buffers, 2);
}

void stream_release(void *held)
{
	struct stream_held *h = held;

	if (!h->f)
		return;
	release(h->buffers, 2);
	funlockfile(h->f);
}
