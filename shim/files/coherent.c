/* SPDX-License-Identifier: Apache-2.0 */
#include "coherent.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#include "api/engine.h"
#include "base/real.h"
#include "revalidate.h"
#include "util/sys.h"

int coherent_read(struct address_space *as, int fd, off_t off, size_t len)
{
	if (off == AT_POSITION)
		off = sys_lseek(fd, 0, SEEK_CUR);
	return off < 0 ? 0 : (int)shim_result(file_io_sync(as, (uint64_t)off, len));
}

int coherent_sync(int fd, uint64_t off, uint64_t len)
{
	struct address_space *as = file_io_lookup(fd);
	int err = 0;

	if (as) {
		err = file_io_sync(as, off, len);
		file_io_put(as);
	}
	return (int)shim_result(err);
}

bool fd_appends(int fd)
{
	return sys_fcntl(fd, F_GETFL, 0) & O_APPEND;
}

bool fd_is_regular(int fd)
{
	struct stat st;

	return !sys_fstat(fd, &st) && S_ISREG(st.st_mode);
}

/* Where n bytes went that were just written. After a write at the file position that is where they end, appended or not. */
static uint64_t written_at(int fd, off_t off, bool append, long n)
{
	struct stat st;

	if (off == AT_POSITION)
		return (uint64_t)(sys_lseek(fd, 0, SEEK_CUR) - n);
	if (append && !sys_fstat(fd, &st))
		return (uint64_t)(st.st_size - n);
	return (uint64_t)off;
}

struct raw_op {
	raw_fn fn;
	const void *call;
	bool outside; /* of the bracket */
};

static ssize_t write_within(struct address_space *as, int fd, off_t off, bool append, const struct raw_op *op)
{
	struct file_change c;
	long n = op->outside ? op->fn(op->call) : 0;

	file_change_begin(&c, as);
	if (!op->outside)
		n = op->fn(op->call);
	file_change_end(&c, n > 0 ? written_at(fd, off, append, n) : 0, n > 0 ? (uint64_t)n : 0);
	revalidate_remember(fd);
	return n;
}

ssize_t coherent_write(struct address_space *as, int fd, off_t off, bool append, raw_fn fn, const void *call)
{
	pthread_testcancel();
	return shim_result(write_within(as, fd, off, append, &(struct raw_op){.fn = fn, .call = call}));
}

ssize_t coherent_pass(raw_fn fn, const void *call)
{
	pthread_testcancel();
	return shim_result(fn(call));
}

/* ---- From memory ---- */

#define COPY 16384

static bool fault_threads(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		if (!mm->inline_faults)
			return true;
	return false;
}

/* With an offset of -1 at the file position, as write(2). */
static long raw_bytes(const void *call)
{
	const struct coherent_bytes *b = call;
	struct iovec iov;

	if (!b->flags)
		return b->off == AT_POSITION ? sys_write(b->fd, b->buf, b->len) : sys_pwrite(b->fd, b->buf, b->len, b->off);
	iov = (struct iovec){.iov_base = (void *)b->buf, .iov_len = b->len};
	return sys_pwritev2(b->fd, &iov, 1, b->off, b->flags);
}

static ssize_t write_some(struct address_space *as, const struct coherent_bytes *b, bool outside)
{
	struct raw_op op = {.fn = raw_bytes, .call = b, .outside = outside};

	return write_within(as, b->fd, b->off, b->append, &op);
}

/* What cannot be copied is the kernel's to refuse. */
static ssize_t write_copied(struct address_space *as, const struct coherent_bytes *b)
{
	struct coherent_bytes part = *b;
	_Alignas(FL_PAGE_SIZE) char copy[COPY]; /* as O_DIRECT asks */
	size_t done = 0;

	if (file_io_is_too_far(b->buf, b->len, b->off))
		return write_some(as, b, true);
	do {
		ssize_t got = sys_copy_from(copy, b->buf + done, min_u64(b->len - done, COPY)), n;
		bool copied = got > 0 || !b->len;

		part.off = b->off == AT_POSITION ? AT_POSITION : b->off + (off_t)done;
		part.buf = copied ? copy : b->buf + done;
		part.len = copied ? (size_t)got : b->len - done;
		n = write_some(as, &part, !copied);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if ((size_t)n < part.len || !n)
			break;
	} while (done < b->len);
	return (ssize_t)done;
}

bool coherent_copies(void)
{
	return fault_threads();
}

ssize_t coherent_write_bytes(struct address_space *as, const struct coherent_bytes *b)
{
	pthread_testcancel();
	return shim_result(fault_threads() ? write_copied(as, b) : write_some(as, b, false));
}

/* ---- Other changes ---- */

long raw_call(const void *call)
{
	const struct raw_call *r = call;

	return sys_call(r->nr, r->a, r->b, r->c, r->d, r->e, r->f);
}

struct extent {
	off_t off;
	size_t len;
	bool ends_copies, replaces;
};

static long change_within(struct address_space *as, const struct extent *x, raw_fn fn, const void *call)
{
	struct file_change c;
	long n;

	file_change_begin(&c, as);
	n = fn(call);
	c.ends_copies = x->ends_copies && n >= 0;
	c.replaces = x->replaces;
	file_change_end(&c, (uint64_t)x->off, n < 0 ? 0 : x->len);
	if (!as_is_hosted(as))
		revalidate_remember(file_store_fd(as->store));
	return shim_result(n);
}

long coherent_change(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call)
{
	return change_within(as, &(struct extent){.off = off, .len = len}, fn, call);
}

long coherent_move(struct address_space *as, off_t off, raw_fn fn, const void *call)
{
	return change_within(as, &(struct extent){.off = off, .len = (size_t)(INT64_MAX - off), .ends_copies = true}, fn, call);
}

long coherent_replace(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call)
{
	return change_within(as, &(struct extent){.off = off, .len = len, .replaces = true}, fn, call);
}
