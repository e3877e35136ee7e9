/* SPDX-License-Identifier: Apache-2.0 */
#include "remote_mmu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "mmu/uffd_abi.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/sys.h"

/* Nobody can store where nothing is mapped, nor when the process is dead. */
static bool is_gone(int err)
{
	return err == -ENOENT || err == -ESRCH || err == -EFAULT;
}

/*
 * One page may be gone and the next not: the client says that it has unmapped something when it has. The kernel stops at the first that it
 * refuses, so the rest is done page by page.
 */
static int remote_protect(struct mmu *m, uint64_t addr, uint64_t len)
{
	struct uffdio_writeprotect w = {.range = {.start = addr, .len = len}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
	int fd = container_of(m, struct uffd_mmu, mmu)->fd, err;

	do
		err = sys_ioctl(fd, UFFDIO_WRITEPROTECT, &w);
	while (err == -EAGAIN);
	if (err != -ESRCH && is_gone(err) && len > FL_PAGE_SIZE) {
		err = 0;
		for (uint64_t at = addr; at < addr + len && !err; at += FL_PAGE_SIZE)
			err = remote_protect(m, at, FL_PAGE_SIZE);
	}
	return is_gone(err) ? 0 : err;
}

static int continue_range(int fd, uint64_t addr, uint64_t len, uint64_t mode)
{
	uint64_t done = 0;
	int err;

	do {
		struct uffdio_continue c = {.range = {.start = addr + done, .len = len - done}, .mode = mode};

		err = sys_ioctl(fd, UFFDIO_CONTINUE, &c);
		if (c.mapped > 0)
			done += (uint64_t)c.mapped;
	} while (err == -EAGAIN && done < len);
	return err;
}

/*
 * Page by page where the kernel's mappings are smaller than the client's. What the client has not made as it should is no reason to do without
 * MMU_WP.
 */
static int remote_map(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	int fd = container_of(m, struct uffd_mmu, mmu)->fd;
	uint64_t mode = flags & MMU_WP ? UFFDIO_CONTINUE_MODE_WP : 0;
	int err = continue_range(fd, addr, len, mode);

	if (err != -ENOENT || len == FL_PAGE_SIZE)
		return err;
	err = 0;
	for (uint64_t at = addr; at < addr + len && !err; at += FL_PAGE_SIZE) {
		err = continue_range(fd, at, FL_PAGE_SIZE, mode);
		if (err == -EEXIST && at > addr)
			err = 0;
	}
	return err;
}

/*
 * Once, as far as it goes: who wants more of it writes the frames (install_in_frames()). What a client has mapped private there, or elsewhere, gets
 * pages of its own.
 */
static int remote_copy(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done)
{
	struct uffdio_copy c = {.dst = addr, .src = (uint64_t)(uintptr_t)src, .len = len};
	int err;

	c.mode = flags & MMU_WP ? UFFDIO_COPY_MODE_WP : 0;
	err = sys_ioctl(container_of(m, struct uffd_mmu, mmu)->fd, UFFDIO_COPY, &c);
	*done = c.copy > 0 ? (uint64_t)c.copy : 0;
	return err;
}

static int remote_attach(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	(void)m, (void)addr, (void)len, (void)flags;
	return -EOPNOTSUPP; /* the client does that */
}

static int remote_zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len;
	return -EOPNOTSUPP;
}

static void remote_zap_many(struct mmu *m, const struct mmu_range *ranges, uint32_t n)
{
	(void)m, (void)ranges, (void)n;
	fl_assert(false); /* rmap_shows_file() */
}

static void remote_wake(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len; /* who faulted waits for the answer to its request */
}

static void remote_destroy(struct mmu *m)
{
	remote_mmu_close(container_of(m, struct uffd_mmu, mmu));
}

static const struct mmu_ops remote_ops = {
	.name = "userfaultfd of a client",
	.attach = remote_attach,
	.copy = remote_copy,
	.map = remote_map,
	.protect = remote_protect,
	.unprotect = uffd_unprotect,
	.zap = remote_zap,
	.zap_many = remote_zap_many,
	.wake = remote_wake,
	.destroy = remote_destroy,
};

static bool is_userfaultfd(int fd)
{
	static const char name[] = "anon_inode:[userfaultfd]";
	char link[40], target[sizeof name];
	long n;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	n = sys_call(SYS_readlink, (long)link, (long)target, sizeof target, 0, 0, 0);
	return n == sizeof name - 1 && !memcmp(target, name, sizeof name - 1);
}

/* Asks for the last page that there can be, where nothing is registered: -ENOENT from a kernel that knows the mode. */
static int probe(int fd)
{
	struct uffdio_continue c = {.range = {.start = REMOTE_ADDRESS_END - FL_PAGE_SIZE, .len = FL_PAGE_SIZE}};
	int err;

	c.mode = UFFDIO_CONTINUE_MODE_WP;
	do
		err = sys_ioctl(fd, UFFDIO_CONTINUE, &c);
	while (err == -EAGAIN);
	return err;
}

bool remote_mmu_lives(const struct uffd_mmu *u)
{
	return probe(u->fd) != -ESRCH;
}

int remote_mmu_open(struct uffd_mmu *u, int fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	int err;

	if (!is_userfaultfd(fd) || sys_ioctl(fd, UFFDIO_API, &api) != -EINVAL) /* it can be set up once, by the client */
		return -EINVAL;
	err = probe(fd);
	if (err == -EINVAL)
		return -ENOSYS;
	if (err == -ESRCH)
		return err;
	*u = (struct uffd_mmu){.mmu = {.ops = &remote_ops, .map_can_wp = true, .remote = true}};
	u->fd = fd_move_high(fd);
	return 0;
}

void remote_mmu_close(struct uffd_mmu *u)
{
	fd_close(u->fd);
	u->fd = -1;
}
