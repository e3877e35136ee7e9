/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake here is the one the library makes when it starts: the system call first, then /dev/userfaultfd, which
 * an administrator can open to a user or pass into a container whose seccomp profile knows no userfaultfd(2).
 */
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

/* Newer than the headers of Linux 6.1, which is what we build with. */
#define FEATURE_POISON (1u << 14)
#define FEATURE_MOVE (1u << 16)

const struct uffd_feature uffd_features[] = {
	{UFFD_FEATURE_SIGBUS, "SIGBUS", "faults served in the thread that faults", true},
	{UFFD_FEATURE_MISSING_SHMEM, "MISSING_SHMEM", "pages that are not in memory", true},
	{UFFD_FEATURE_MINOR_SHMEM, "MINOR_SHMEM", "pages in memory, not yet in the mapping", true},
	{UFFD_FEATURE_PAGEFAULT_FLAG_WP, "PAGEFAULT_FLAG_WP", "first writes to private pages", true},
	{UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "WP_HUGETLBFS_SHMEM", "first writes to shared pages", true},
	{FEATURE_POISON, "POISON", "Linux 6.6: I/O errors kept on a page", false},
	{FEATURE_MOVE, "MOVE", "Linux 6.8: files that are only read, in huge pages", false},
	{0},
};

static uint64_t needed_features(void)
{
	uint64_t mask = 0;

	for (const struct uffd_feature *f = uffd_features; f->name; f++)
		if (f->needed)
			mask |= f->bit;
	return mask;
}

static int open_by_call(int flags)
{
	int fd = (int)syscall(SYS_userfaultfd, flags);

	return fd < 0 ? -errno : fd;
}

static int open_by_device(int flags)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd, error;

	if (device < 0)
		return -errno;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
	error = errno;
	close(device);
	return fd < 0 ? -error : fd;
}

/* A handshake without features asks for them all to be named. */
static void handshake(int fd, struct uffd_probe *p)
{
	struct uffdio_api api = {.api = UFFD_API};

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		p->error = errno;
	else
		p->features = api.features;
}

struct uffd_probe uffd_probe(enum uffd_kind kind)
{
	struct uffd_probe p = {.kind = kind};
	int flags = O_CLOEXEC | (kind == UFFD_USER_FAULTS ? UFFD_USER_MODE_ONLY : 0);
	int refusal = 0, fd = open_by_call(flags);

	if (fd == -EPERM || fd == -ENOSYS) {
		refusal = -fd;
		fd = open_by_device(flags);
		p.device = fd >= 0;
	}
	if (fd < 0) {
		/* Of two refusals the first says more: few have the device. */
		p.error = refusal ? refusal : -fd;
		return p;
	}
	handshake(fd, &p);
	close(fd);
	return p;
}

bool uffd_usable(const struct uffd_probe *p)
{
	return p->error == 0 && (p->features & needed_features()) == needed_features();
}

const char *uffd_cause(const struct uffd_probe *p)
{
	if (p->error == 0)
		return "this kernel's userfaultfd lacks features that Faultline needs";
	if (p->error == EINVAL)
		return "this kernel's userfaultfd is too old";
	if (p->error == ENOSYS)
		return probe_seccomp() ? "userfaultfd(2) is hidden by a seccomp filter (container or sandbox policy), or not in this kernel"
				       : "this kernel has no userfaultfd(2)";
	if (p->error != EPERM && p->error != EACCES)
		return strerror(p->error);
	if (probe_seccomp())
		return "userfaultfd(2) is refused by a seccomp filter (container or sandbox policy)";
	if (p->kind == UFFD_ALL_FAULTS)
		return "userfaultfd(2) for the faults of system calls is refused to this user";
	return "userfaultfd(2) is refused by a security policy of this system";
}

const char *uffd_cure(const struct uffd_probe *p)
{
	if (p->error == 0 || p->error == EINVAL)
		return "use Linux 5.19 or later, built with CONFIG_USERFAULTFD, CONFIG_SHMEM and CONFIG_PTE_MARKER_UFFD_WP";
	if ((p->error == ENOSYS || p->error == EPERM) && probe_seccomp())
		return "allow userfaultfd in its profile, or pass it /dev/userfaultfd (docker run --device /dev/userfaultfd)";
	if (p->error == ENOSYS)
		return "use Linux 5.19 or later, built with CONFIG_USERFAULTFD";
	if (p->error != EPERM && p->error != EACCES)
		return "raise ulimit -n, or free memory";
	if (p->kind == UFFD_ALL_FAULTS)
		return "use --faults=inline, grant CAP_SYS_PTRACE, or set sysctl vm.unprivileged_userfaultfd=1";
	return "allow userfaultfd in that policy, or give the user access to /dev/userfaultfd";
}
