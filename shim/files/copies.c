/* SPDX-License-Identifier: Apache-2.0 */
/* From descriptor to descriptor: copy_file_range, sendfile, splice, next to mappings of either file. */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "coherent.h"

/* Bytes go from `in` to `out`; offsets may be NULL for the file position, and are moved on by the call. */
struct copy {
	struct raw_call call;
	int in, out;
	size_t len;
	off_t in_at, out_at; /* AT_POSITION for the file position */
};

static ssize_t copy_to(const struct copy *c, bool *served)
{
	struct inflight f;
	struct address_space *as = file_io_start(c->out, &f);
	ssize_t n = 0;

	*served = as || f.slot;
	if (as)
		n = coherent_write(as, c->out, c->out_at, false, raw_call, &c->call);
	else if (f.slot)
		n = coherent_pass(raw_call, &c->call);
	file_io_finish(as, &f);
	return n;
}

/* *served: the call was made here. */
static ssize_t copy(const struct copy *c, bool *served)
{
	struct address_space *in = file_io_lookup(c->in);
	int err = 0;

	*served = true;
	if (in) {
		err = coherent_read(in, c->in, c->in_at, c->len);
		file_io_put(in);
	}
	return err ? -1 : copy_to(c, served);
}

/* false: it cannot be read, and the call is the kernel's to refuse. */
static bool take_offset(off_t *at, const off_t *from)
{
	*at = AT_POSITION;
	return !from || peek(at, from, sizeof *from);
}

#define OFFSET(off) FILLS(off, sizeof *(off))

static ssize_t do_copy_file_range(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct copy c = {.in = in, .out = out, .len = len};
	bool served = false;
	ssize_t n = 0;

	c.call = (struct raw_call){SYS_copy_file_range, in, (long)in_off, out, (long)out_off, (long)len, flags};
	if (!NOTHING_TO_TELL && take_offset(&c.in_at, in_off) && take_offset(&c.out_at, out_off))
		n = copy(&c, &served);
	return served ? n : REAL(copy_file_range)(in, in_off, out, out_off, len, flags);
}

WRAPPER ssize_t copy_file_range(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	RETURN_HELD(do_copy_file_range(in, in_off, out, out_off, len, flags), OFFSET(in_off), OFFSET(out_off));
}

typedef ssize_t (*sendfile_fn)(int out, int in, off_t *off, size_t len);

static ssize_t do_sendfile(sendfile_fn real, int out, int in, off_t *off, size_t len)
{
	struct copy c = {.in = in, .out = out, .len = len, .out_at = AT_POSITION};
	bool served = false;
	ssize_t n = 0;

	c.call = (struct raw_call){.nr = SYS_sendfile, .a = out, .b = in, .c = (long)off, .d = (long)len};
	if (!NOTHING_TO_TELL && take_offset(&c.in_at, off))
		n = copy(&c, &served);
	return served ? n : real(out, in, off, len);
}

WRAPPER ssize_t sendfile(int out, int in, off_t *off, size_t len)
{
	RETURN_HELD(do_sendfile(REAL(sendfile), out, in, off, len), OFFSET(off));
}

WRAPPER ssize_t sendfile64(int out, int in, off64_t *off, size_t len)
{
	RETURN_HELD(do_sendfile(REAL(sendfile64), out, in, off, len), OFFSET(off));
}

/*
 * Into a file: what is in the pipe, once there is something. One that is empty would keep the bracket waiting, or who wants to map the file, so it is
 * waited for outside. By then the kernel has found nothing else that is wrong with the call.
 */
static ssize_t splice_to_file(const struct copy *c, bool waits, bool *served)
{
	struct pollfd p = {.fd = c->in, .events = POLLIN};
	ssize_t n = copy(c, served);

	while (*served && waits && n < 0 && errno == EAGAIN)
		n = poll(&p, 1, -1) < 0 ? -1 : copy(c, served);
	return n;
}

static ssize_t do_splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct copy c = {.in = in, .out = out, .len = len};
	bool waits = !(flags & SPLICE_F_NONBLOCK), served = false;
	ssize_t n = 0;

	c.call = (struct raw_call){SYS_splice, in, (long)in_off, out, (long)out_off, (long)len, flags | SPLICE_F_NONBLOCK};
	if (!NOTHING_TO_TELL && take_offset(&c.in_at, in_off) && take_offset(&c.out_at, out_off))
		n = splice_to_file(&c, waits, &served);
	return served ? n : REAL(splice)(in, in_off, out, out_off, len, flags);
}

WRAPPER ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	RETURN_HELD(do_splice(in, in_off, out, out_off, len, flags), OFFSET(in_off), OFFSET(out_off));
}
