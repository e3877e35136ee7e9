/* SPDX-License-Identifier: Apache-2.0 */
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "uffd_abi.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/sys.h"

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF_THREAD
#define PIDFD_SELF_THREAD (-10000)
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int serves_nothing(uint64_t addr, unsigned flags)
{
	(void)addr, (void)flags;
	return -EFAULT;
}

static mmu_fault_fn fault_handler = serves_nothing;

void mmu_set_fault_handler(mmu_fault_fn fn)
{
	fault_handler = fn;
}

mmu_fault_fn mmu_fault_handler(void)
{
	return fault_handler;
}

/* By system call, or by the device file, whose permissions the administrator chose (Linux 6.1). */
static int open_any(int flags)
{
	int fd = (int)sys_call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags, 0, 0, 0, 0, 0);
	int dev;

	if (fd != -EPERM && fd != -ENOSYS)
		return fd;
	dev = sys_openat(AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
	if (dev < 0)
		return fd;
	fd = sys_ioctl(dev, USERFAULTFD_IOC_NEW, (void *)(long)(O_CLOEXEC | O_NONBLOCK | flags));
	sys_close(dev);
	return fd;
}

static int shake_hands(int fd, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int err = sys_ioctl(fd, UFFDIO_API, &api);

	return err == -EINVAL ? -ENOSYS : err;
}

int uffd_open(bool kernel_faults, bool sigbus, bool *user_mode_only)
{
	uint64_t features = UFFD_NEEDED;
	int fd, err;

	features |= sigbus ? UFFD_FEATURE_SIGBUS : UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_EXACT_ADDRESS;
	if (!sigbus && uffd_can_poison())
		features |= UFFD_FEATURE_POISON;
	*user_mode_only = !kernel_faults;
	fd = open_any(kernel_faults ? 0 : UFFD_USER_MODE_ONLY);
	if (fd == -EINVAL) /* before Linux 5.11 there is no such flag, and no such restriction */
		fd = open_any(0);
	if (fd < 0)
		return fd;
	err = shake_hands(fd, features);
	if (err) {
		sys_close(fd);
		return err;
	}
	return fd_move_high(fd);
}

#define PTRACE_WORD (CAP_SYS_PTRACE / 32)
#define PTRACE_BIT (1u << CAP_SYS_PTRACE % 32)

int uffd_open_with_privilege(bool *user_mode_only)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct had[_LINUX_CAPABILITY_U32S_3], raised[_LINUX_CAPABILITY_U32S_3];
	int fd = uffd_open(true, false, user_mode_only);

	if (fd != -EPERM || sys_call(SYS_capget, (long)&head, (long)had, 0, 0, 0, 0) || !(had[PTRACE_WORD].permitted & PTRACE_BIT))
		return fd;
	memcpy(raised, had, sizeof raised);
	raised[PTRACE_WORD].effective |= PTRACE_BIT;
	if (sys_call(SYS_capset, (long)&head, (long)raised, 0, 0, 0, 0))
		return fd;
	fd = uffd_open(true, false, user_mode_only);
	sys_call(SYS_capset, (long)&head, (long)had, 0, 0, 0, 0);
	return fd;
}

static bool has_feature(uint64_t feature)
{
	int fd = open_any(UFFD_USER_MODE_ONLY);
	bool yes;

	if (fd < 0)
		return false;
	yes = !shake_hands(fd, feature);
	sys_close(fd);
	return yes;
}

bool uffd_can_poison(void)
{
	return has_feature(UFFD_FEATURE_POISON);
}

static int fd_of(struct mmu *m)
{
	return container_of(m, struct uffd_mmu, mmu)->fd;
}

int uffd_descriptor(struct mmu *m)
{
	return fd_of(m);
}

int uffd_attach(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	struct uffdio_register r = {.range = {.start = addr, .len = len}};

	if ((flags & MMU_POOL) && !has_feature(UFFD_FEATURE_MOVE))
		return -ENOSYS;
	r.mode = UFFDIO_REGISTER_MODE_WP;
	if (!(flags & MMU_POOL))
		r.mode |= UFFDIO_REGISTER_MODE_MISSING | (flags & MMU_ANON ? 0 : UFFDIO_REGISTER_MODE_MINOR);
	return sys_ioctl(fd_of(m), UFFDIO_REGISTER, &r);
}

/* -EAGAIN: the address space changed under the copy; what is left is tried again. */
/*
 * The kernel's mappings may be smaller than ours: it does not merge what has come apart where pages were copied meanwhile. A
 * range that it refuses for that (-ENOENT) is done page by page.
 */
static int by_page(int (*fn)(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags), struct mmu *m, uint64_t addr, uint64_t len,
		   unsigned flags)
{
	int err = 0;

	for (uint64_t at = addr; at < addr + len && !err; at += FL_PAGE_SIZE) {
		err = fn(m, at, FL_PAGE_SIZE, flags);
		if (err == -EEXIST && at > addr) /* mapped already */
			err = 0;
	}
	return err;
}

int uffd_copy(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done)
{
	struct uffdio_copy c;
	int err;

	*done = 0;
	do {
		c = (struct uffdio_copy){.dst = addr + *done, .src = (uint64_t)(uintptr_t)src + *done, .len = len - *done};
		c.mode = flags & MMU_WP ? UFFDIO_COPY_MODE_WP : 0;
		err = sys_ioctl(fd_of(m), UFFDIO_COPY, &c);
		if (c.copy > 0)
			*done += (uint64_t)c.copy;
	} while (err == -EAGAIN && *done < len);
	return *done == len ? 0 : err;
}

int uffd_map(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	uint64_t done = 0;
	int err;

	do {
		struct uffdio_continue c = {.range = {.start = addr + done, .len = len - done}};

		c.mode = flags & MMU_WP && m->map_can_wp ? UFFDIO_CONTINUE_MODE_WP : 0;
		err = sys_ioctl(fd_of(m), UFFDIO_CONTINUE, &c);
		if (c.mapped > 0)
			done += (uint64_t)c.mapped;
	} while (err == -EAGAIN && done < len);
	if (err == -EINVAL && (flags & MMU_WP) && m->map_can_wp) {
		m->map_can_wp = false; /* Linux before 6.4 */
		return uffd_map(m, addr, len, flags);
	}
	if (err == -ENOENT && len > FL_PAGE_SIZE)
		return by_page(uffd_map, m, addr, len, flags);
	if (!err && (flags & MMU_WP) && !m->map_can_wp)
		err = uffd_protect(m, addr, len);
	return err;
}

static int set_protection(struct mmu *m, uint64_t addr, uint64_t len, unsigned mode)
{
	struct uffdio_writeprotect w = {.range = {.start = addr, .len = len}, .mode = mode};
	int err;

	do
		err = sys_ioctl(fd_of(m), UFFDIO_WRITEPROTECT, &w);
	while (err == -EAGAIN);
	return err == -ENOENT && len > FL_PAGE_SIZE ? by_page(set_protection, m, addr, len, mode) : err;
}

int uffd_protect(struct mmu *m, uint64_t addr, uint64_t len)
{
	return set_protection(m, addr, len, UFFDIO_WRITEPROTECT_MODE_WP);
}

int uffd_unprotect(struct mmu *m, uint64_t addr, uint64_t len)
{
	return set_protection(m, addr, len, 0);
}

int uffd_poison(struct mmu *m, uint64_t addr)
{
	struct uffdio_poison p = {.range = {.start = addr, .len = FL_PAGE_SIZE}};
	int err;

	do
		err = sys_ioctl(fd_of(m), UFFDIO_POISON, &p);
	while (err == -EAGAIN);
	return err;
}

int uffd_break_cow(struct mmu *m, uint64_t addr)
{
	int err;

	(void)m;
	do
		err = sys_madvise((void *)addr, FL_PAGE_SIZE, MADV_POPULATE_WRITE);
	while (err == -EINTR || err == -EAGAIN);
	return err;
}

int uffd_move(struct mmu *m, uint64_t to, uint64_t from, uint64_t len, uint64_t *moved)
{
	uint64_t done = 0;
	int err;

	do {
		struct uffdio_move move = {.dst = to + done, .src = from + done, .len = len - done};

		err = sys_ioctl(fd_of(m), UFFDIO_MOVE, &move);
		if (move.move > 0)
			done += (uint64_t)move.move;
	} while (err == -EAGAIN && done < len);
	*moved += done;
	return done == len ? 0 : err;
}

int uffd_zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m;
	return sys_madvise((void *)addr, len, MADV_DONTNEED);
}

_Static_assert(sizeof(struct mmu_range) == sizeof(struct iovec) && offsetof(struct mmu_range, len) == offsetof(struct iovec, iov_len),
	       "a range is passed on as an iovec");

/* One flush for all, where a process may advise itself so (Linux 6.14). What a failed call has left is done one by one. */
void uffd_zap_many(struct mmu *m, const struct mmu_range *ranges, uint32_t n)
{
	static _Atomic bool cannot;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += ranges[i].len;
	if (n > 1 && !atomic_load(&cannot)) {
		long done = sys_call(SYS_process_madvise, PIDFD_SELF_THREAD, (long)ranges, n, MADV_DONTNEED, 0, 0);

		if (done == (long)bytes)
			return;
		if (done == -EBADF || done == -EINVAL || done == -EPERM || done == -ENOSYS)
			atomic_store(&cannot, true);
	}
	for (uint32_t i = 0; i < n; i++)
		uffd_zap(m, ranges[i].addr, ranges[i].len);
}

void uffd_wake(struct mmu *m, uint64_t addr, uint64_t len)
{
	struct uffdio_range r = {.start = addr, .len = len};

	sys_ioctl(fd_of(m), UFFDIO_WAKE, &r);
}
