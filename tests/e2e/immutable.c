/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was stored to a mapping before its file becomes immutable is in the file, though nothing can be written to it any more. What is stored after, where that
 * raises no signal, does not keep the file immutable.
 */
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "check.h"

#define NR_FILE_GETATTR 468
#define NR_FILE_SETATTR 469
#define SIZE (2UL << 20)

static int set_flags(int fd, int flags)
{
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int set_extended(int fd, int flags)
{
	struct fsxattr x;

	CHECK(!ioctl(fd, FS_IOC_FSGETXATTR, &x));
	x.fsx_xflags = flags & FS_IMMUTABLE_FL ? x.fsx_xflags | FS_XFLAG_IMMUTABLE : x.fsx_xflags & ~(uint32_t)FS_XFLAG_IMMUTABLE;
	return ioctl(fd, FS_IOC_FSSETXATTR, &x);
}

/* The kernel's struct file_attr: of Linux 6.17. */
static int set_by_number(int fd, int flags)
{
	struct {
		uint64_t flags;
		uint32_t more[4];
	} attr;

	if (syscall(NR_FILE_GETATTR, fd, "", &attr, sizeof attr, AT_EMPTY_PATH)) {
		if (errno == ENOSYS)
			errno = EOPNOTSUPP;
		return -1;
	}
	attr.flags = flags & FS_IMMUTABLE_FL ? attr.flags | FS_XFLAG_IMMUTABLE : attr.flags & ~(uint64_t)FS_XFLAG_IMMUTABLE;
	return (int)syscall(NR_FILE_SETATTR, fd, "", &attr, sizeof attr, AT_EMPTY_PATH);
}

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

static void store_after(int fd)
{
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	CHECK(!sigaction(SIGBUS, &(struct sigaction){.sa_handler = on_bus}, NULL));
	if (!sigsetjmp(back, 1))
		p[3 * PAGE] = 'a';
	msync(p, SIZE, MS_SYNC); /* may have something to write, and fail */
}

static void stored_before(int (*set)(int fd, int flags))
{
	int fd = pattern_file(SIZE), flags;
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), c = 0;

	p[PAGE + 1] = 's';
	if (!ioctl(fd, FS_IOC_GETFLAGS, &flags) && !set(fd, flags | FS_IMMUTABLE_FL)) {
		CHECK(!msync(p, SIZE, MS_SYNC) && !munmap(p, SIZE));
		CHECK(pread(fd, &c, 1, PAGE + 1) == 1 && c == 's');
		store_after(fd);
		CHECK(!set(fd, flags));
	} else {
		CHECK(errno == EPERM || errno == EOPNOTSUPP ||
		      errno == ENOTTY); /* not every file system has it, nor may everybody set it */
		CHECK(!munmap(p, SIZE));
	}
	close(fd);
}

int main(void)
{
	stored_before(set_flags);
	stored_before(set_extended);
	stored_before(set_by_number);
	return 0;
}
