/* SPDX-License-Identifier: Apache-2.0 */
/* read, pread, write, pwrite, getrandom, getentropy. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "coherent.h"
#include "held.h"
#include "identity.h"
#include "mapped.h"
#include "maps_file.h"
#include "real.h"
#include "transfer.h"
#include "util/sys.h"

static off_t place(const struct transfer *t, size_t done)
{
	return t->off == AT_POSITION ? AT_POSITION : t->off + (off_t)done;
}

static ssize_t libc_read(const struct transfer *t, void *buf, size_t len, size_t done)
{
	off_t off = place(t, done);

	return off == AT_POSITION ? REAL(read)(t->fd, buf, len) : REAL(pread64)(t->fd, buf, len, off);
}

static ssize_t libc_write(const struct transfer *t, const void *buf, size_t len, size_t done)
{
	off_t off = place(t, done);

	return off == AT_POSITION ? REAL(write)(t->fd, buf, len) : REAL(pwrite64)(t->fd, buf, len, off);
}

static ssize_t do_read(const struct transfer *t, void *buf, size_t len, size_t done)
{
	struct address_space *as = identity_file(t->fd);
	int err = 0;

	if (as) {
		err = coherent_read(as, t->fd, place(t, done), len);
		file_io_put(as);
	}
	return err ? -1 : libc_read(t, buf, len, done);
}

static ssize_t do_write(const struct transfer *t, void *buf, size_t len, size_t done)
{
	struct coherent_bytes b = {.fd = t->fd, .buf = buf, .len = len, .off = place(t, done)};
	struct inflight f;
	struct address_space *as = identity_start(t->fd, &f);
	ssize_t n;

	if (!as && !f.slot)
		return libc_write(t, buf, len, done);
	b.append = as && b.off != AT_POSITION && fd_appends(t->fd);
	n = as ? coherent_write_bytes(as, &b) : coherent_pass_bytes(&b);
	file_io_finish(as, &f);
	return n;
}

static ssize_t read_at(int fd, void *buf, size_t len, off_t off)
{
	struct transfer t = {.call = do_read, .fd = fd, .to_memory = true, .off = off};
	size_t n;

	if (file_io_is_too_far(buf, len, off) || !file_io_is_ours(buf, len))
		return do_read(&t, buf, len, 0);
	n = file_io_readable(fd, len, off);
	return n ? transfer(&t, buf, n) : do_read(&t, buf, len, 0);
}

static ssize_t write_at(int fd, const void *buf, size_t len, off_t off)
{
	struct transfer t = {.call = do_write, .fd = fd, .off = off};

	return file_io_is_too_far(buf, len, off) ? do_write(&t, (void *)buf, len, 0) : transfer(&t, (void *)buf, len);
}

/* ---- The wrappers. A negative offset is the kernel's to refuse. ---- */

WRAPPER ssize_t read(int fd, void *buf, size_t len)
{
	return NOTHING_MAPPED ? REAL(read)(fd, buf, len) : read_at(fd, buf, len, AT_POSITION);
}

WRAPPER ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
	if (!off)
		maps_file_rewound(fd);
	return NOTHING_MAPPED || off < 0 ? REAL(pread)(fd, buf, len, off) : read_at(fd, buf, len, off);
}

WRAPPER ssize_t pread64(int fd, void *buf, size_t len, off64_t off)
{
	if (!off)
		maps_file_rewound(fd);
	return NOTHING_MAPPED || off < 0 ? REAL(pread64)(fd, buf, len, off) : read_at(fd, buf, len, off);
}

WRAPPER ssize_t write(int fd, const void *buf, size_t len)
{
	return NOTHING_TO_TELL ? REAL(write)(fd, buf, len) : write_at(fd, buf, len, AT_POSITION);
}

WRAPPER ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	return NOTHING_TO_TELL || off < 0 ? REAL(pwrite)(fd, buf, len, off) : write_at(fd, buf, len, off);
}

WRAPPER ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	return NOTHING_TO_TELL || off < 0 ? REAL(pwrite64)(fd, buf, len, off) : write_at(fd, buf, len, off);
}

/* The checking forms of _FORTIFY_SOURCE; libc's own end the program. */
WRAPPER ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	return NOTHING_MAPPED || len > room ? REAL(__read_chk)(fd, buf, len, room) : read_at(fd, buf, len, AT_POSITION);
}

WRAPPER ssize_t __pread_chk(int fd, void *buf, size_t len, off_t off, size_t room)
{
	return len > room ? REAL(__pread_chk)(fd, buf, len, off, room) : pread(fd, buf, len, off);
}

WRAPPER ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t off, size_t room)
{
	return len > room ? REAL(__pread64_chk)(fd, buf, len, off, room) : pread64(fd, buf, len, off);
}

static ssize_t do_random(const struct transfer *t, void *buf, size_t len, size_t done)
{
	(void)done;
	return REAL(getrandom)(buf, len, (unsigned)t->flags);
}

WRAPPER ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
	struct transfer t = {.call = do_random, .fd = -1, .to_memory = true, .whole = true, .flags = (int)flags};

	return NOTHING_MAPPED ? REAL(getrandom)(buf, len, flags) : transfer(&t, buf, len);
}

WRAPPER int getentropy(void *buf, size_t len)
{
	RETURN_HELD(REAL(getentropy)(buf, len), FILLS(buf, len));
}
