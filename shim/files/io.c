/* SPDX-License-Identifier: Apache-2.0 */
/* read, pread, write, pwrite, getrandom, getentropy. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "arguments/held.h"
#include "arguments/transfer.h"
#include "base/mapped.h"
#include "base/real.h"
#include "coherent.h"
#include "identity.h"
#include "memory/maps_file.h"
#include "util/sys.h"

static off_t place(const struct transfer *t, size_t done)
{
	return t->off == AT_POSITION ? AT_POSITION : t->off + (off_t)done;
}

static inline __attribute__((always_inline)) ssize_t read_bytes(int fd, void *buf, size_t len, off_t off)
{
	struct address_space *as = identity_file(fd);
	int err = 0;

	if (as) {
		err = coherent_read(as, fd, off, len);
		file_io_put(as);
	}
	if (err)
		return -1;
	return off == AT_POSITION ? REAL(read)(fd, buf, len) : REAL(pread64)(fd, buf, len, off);
}

static __attribute__((noinline)) ssize_t write_mapped(struct address_space *as, int fd, const void *buf, size_t len, off_t off)
{
	struct coherent_bytes b = {.fd = fd, .buf = buf, .len = len, .off = off, .append = off != AT_POSITION && fd_appends(fd)};

	return coherent_write_bytes(as, &b);
}

/* Nobody has it mapped. As libc's call, but that the thread cannot be cancelled in it: it must get to the finish. */
static ssize_t write_past(int fd, const void *buf, size_t len, off_t off)
{
	pthread_testcancel();
	return shim_result(off == AT_POSITION ? sys_write(fd, buf, len) : sys_pwrite(fd, buf, len, off));
}

static inline __attribute__((always_inline)) ssize_t write_bytes(int fd, const void *buf, size_t len, off_t off)
{
	struct inflight f;
	struct address_space *as = identity_start(fd, &f);
	ssize_t n;

	if (unlikely(as))
		n = write_mapped(as, fd, buf, len, off);
	else if (!f.slot)
		return off == AT_POSITION ? REAL(write)(fd, buf, len) : REAL(pwrite64)(fd, buf, len, off);
	else
		n = write_past(fd, buf, len, off);
	file_io_finish(as, &f);
	return n;
}

static ssize_t do_read(const struct transfer *t, void *buf, size_t len, size_t done)
{
	return read_bytes(t->fd, buf, len, place(t, done));
}

static ssize_t do_write(const struct transfer *t, void *buf, size_t len, size_t done)
{
	return write_bytes(t->fd, buf, len, place(t, done));
}

static __attribute__((noinline)) ssize_t read_into_ours(int fd, void *buf, size_t len, off_t off)
{
	struct transfer t = {.call = do_read, .fd = fd, .to_memory = true, .off = off};
	size_t n = file_io_is_too_far(buf, len, off) ? 0 : file_io_readable(fd, len, off);

	return n ? transfer(&t, buf, n) : read_bytes(fd, buf, len, off);
}

static __attribute__((noinline)) ssize_t write_from_ours(int fd, const void *buf, size_t len, off_t off)
{
	struct transfer t = {.call = do_write, .fd = fd, .off = off};

	return file_io_is_too_far(buf, len, off) ? write_bytes(fd, buf, len, off) : transfer(&t, (void *)buf, len);
}

static ssize_t read_at(int fd, void *buf, size_t len, off_t off)
{
	return likely(!file_io_is_ours(buf, len)) ? read_bytes(fd, buf, len, off) : read_into_ours(fd, buf, len, off);
}

static ssize_t write_at(int fd, const void *buf, size_t len, off_t off)
{
	return likely(!file_io_is_ours(buf, len)) ? write_bytes(fd, buf, len, off) : write_from_ours(fd, buf, len, off);
}

/* This process has no file mapped, or the call is the kernel's to refuse. Where it has, the wrappers keep no frame of their own for this. */
static __attribute__((noinline)) ssize_t write_elsewhere(int fd, const void *buf, size_t len)
{
	return NOTHING_TO_TELL ? REAL(write)(fd, buf, len) : write_at(fd, buf, len, AT_POSITION);
}

static __attribute__((noinline)) ssize_t pwrite_elsewhere(int fd, const void *buf, size_t len, off_t off)
{
	return NOTHING_TO_TELL || off < 0 ? REAL(pwrite64)(fd, buf, len, off) : write_at(fd, buf, len, off);
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
	return likely(address_space_any()) ? write_at(fd, buf, len, AT_POSITION) : write_elsewhere(fd, buf, len);
}

WRAPPER ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	return pwrite64(fd, buf, len, off);
}

WRAPPER ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	return likely(address_space_any() && off >= 0) ? write_at(fd, buf, len, off) : pwrite_elsewhere(fd, buf, len, off);
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
