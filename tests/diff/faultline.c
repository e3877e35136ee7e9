/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faultline's calls. Where a program that uses the library must do something of its own, so does this: mapped memory
 * is pinned for system calls, and calls on files that are mapped are Faultline's.
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"
#include "faultline.h"

static bool fault_threads;

static int start(const struct backend_options *o)
{
	struct fl_options f = {.size = sizeof f,
			       .budget = o->budget,
			       .faults = o->fault_threads ? FL_FAULTS_THREAD : FL_FAULTS_INLINE,
			       .swap_directory = "."};

	fault_threads = o->fault_threads;
	return fl_init(&f);
}

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *addr)
{
	return fl_mremap(old, old_len, new_len, flags, addr);
}

static int lock(const void *addr, size_t len, unsigned flags)
{
	return flags ? fl_mlock2(addr, len, flags) : fl_mlock(addr, len);
}

static int lock_all(int flags)
{
	return flags ? fl_mlockall(flags) : fl_munlockall();
}

static ssize_t send_pinned(int fd, const void *buf, size_t len)
{
	ssize_t n;

	if (fault_threads)
		return write(fd, buf, len);
	if (fl_pin(buf, len, FL_PIN_READ))
		return -1;
	n = write(fd, buf, len);
	fl_unpin(buf, len);
	return n;
}

/* A pin for writing makes private copies, which a read of nothing does not. */
static bool is_empty(int fd)
{
	int bytes;

	return ioctl(fd, FIONREAD, &bytes) || !bytes;
}

static ssize_t receive_pinned(int fd, void *buf, size_t len)
{
	ssize_t n;

	if (fault_threads || is_empty(fd))
		return read(fd, buf, len);
	if (fl_pin(buf, len, FL_PIN_WRITE))
		return -1;
	n = read(fd, buf, len);
	fl_unpin(buf, len);
	return n;
}

static int open_maps(void)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);

	if (fd < 0 || fl_maps(fd) || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

const struct backend faultline_backend = {
	.name = "faultline",
	.start = start,
	.stop = fl_exit,
	.mmap = fl_mmap,
	.munmap = fl_munmap,
	.mprotect = fl_mprotect,
	.mremap = remap,
	.madvise = fl_madvise,
	.msync = fl_msync,
	.mincore = fl_mincore,
	.mlock2 = lock,
	.munlock = fl_munlock,
	.mlockall = lock_all,
	.mseal = fl_mseal,
	.remap_file_pages = fl_remap_file_pages,
	.pread = fl_pread,
	.pwrite = fl_pwrite,
	.ftruncate = fl_ftruncate,
	.send = send_pinned,
	.receive = receive_pinned,
	.open_maps = open_maps,
	.store = plain_store,
};
