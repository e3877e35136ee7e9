/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls on mappings, on ranges that are a file's in part and plain memory in part: what the kernel answers, and
 * does, Faultline with the kernel answers and does.
 */
#include <stdbool.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define SIZE (2UL << 20)

/* | SIZE of a file | SIZE of plain memory | 8 pages of nothing | SIZE of a private file */
struct mixed {
	char *file, *plain, *hole, *private;
	int fd;
};

static void map_mixed(struct mixed *m)
{
	m->fd = pattern_file(SIZE);
	m->file = mmap(NULL, 3 * SIZE + 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(m->file != MAP_FAILED);
	m->plain = m->file + SIZE;
	m->hole = m->plain + SIZE;
	m->private = m->hole + 8 * PAGE;
	CHECK(mmap(m->file, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0) == m->file);
	CHECK(!mprotect(m->plain, SIZE, PROT_READ | PROT_WRITE));
	CHECK(!munmap(m->hole, 8 * PAGE));
	CHECK(mmap(m->private, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, m->fd, 0) == m->private);
	memset(m->plain, 7, SIZE);
}

static void unmap_mixed(struct mixed *m)
{
	CHECK(!munmap(m->file, 3 * SIZE + 8 * PAGE));
	close(m->fd);
}

static void lock_range(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(!mlock(m.plain - 4 * PAGE, 8 * PAGE));
	FAILS(EINVAL, madvise(m.plain - 4 * PAGE, PAGE, MADV_DONTNEED));
	FAILS(EINVAL, madvise(m.plain, PAGE, MADV_DONTNEED));
	FAILS(EBUSY, msync(m.plain - 4 * PAGE, PAGE, MS_ASYNC | MS_INVALIDATE));
	CHECK(!munlock(m.plain - 4 * PAGE + 100, 8 * PAGE - 200));
	CHECK(!madvise(m.plain - 4 * PAGE, 8 * PAGE, MADV_DONTNEED));
	CHECK(m.plain[0] == 0 && m.plain[4 * PAGE] == 7 && (uint8_t)m.plain[-1] == pattern(SIZE - 1));
	CHECK(!mlock2(m.plain - PAGE, 2 * PAGE, MLOCK_ONFAULT));
	CHECK(!munlock(m.plain - PAGE, 2 * PAGE));
	FAILS(EINVAL, mlock2(m.plain - PAGE, 2 * PAGE, 8));
	FAILS(ENOMEM, mlock(m.hole - PAGE, 2 * PAGE));
	FAILS(ENOMEM, mlock(m.hole + 7 * PAGE, 2 * PAGE));
	CHECK(!syscall(SYS_mlock, m.plain - PAGE, 2 * PAGE));
	CHECK(!syscall(SYS_munlock, m.plain - PAGE, 2 * PAGE));
	unmap_mixed(&m);
}

/* All of it, which does not touch the bytes; and what is mapped afterwards. */
static void lock_all(void)
{
	struct mixed m;
	char *later;

	map_mixed(&m);
	m.private[5] = 99;
	CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE));
	FAILS(EINVAL, madvise(m.file, PAGE, MADV_DONTNEED));
	FAILS(EINVAL, madvise(m.plain, PAGE, MADV_DONTNEED));
	later = map_file(m.fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	later[9] = 98;
	FAILS(EINVAL, madvise(later, PAGE, MADV_DONTNEED));
	for (size_t i = PAGE; i < SIZE; i++)
		CHECK((uint8_t)later[i] == pattern(i) && (uint8_t)m.private[i] == pattern(i) && (uint8_t)m.file[i] == pattern(i));
	CHECK(later[9] == 98 && m.private[5] == 99);
	CHECK(!munlockall());
	CHECK(!madvise(later, PAGE, MADV_DONTNEED) && (uint8_t)later[9] == pattern(9));
	CHECK(!madvise(m.plain, PAGE, MADV_DONTNEED) && m.plain[0] == 0);
	FAILS(EINVAL, mlockall(0));
	FAILS(EINVAL, mlockall(64));
	CHECK(!munmap(later, SIZE));
	unmap_mixed(&m);
}

static void advice(void)
{
	static const int all[] = {MADV_NORMAL, MADV_RANDOM,   MADV_SEQUENTIAL, MADV_WILLNEED,   MADV_DONTFORK,
				  MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP,     MADV_HUGEPAGE,   MADV_NOHUGEPAGE,
				  MADV_COLD,   MADV_PAGEOUT,  MADV_MERGEABLE,  MADV_UNMERGEABLE};
	struct mixed m;

	map_mixed(&m);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		CHECK(!madvise(m.plain - 4 * PAGE, 8 * PAGE, all[i]) || errno == EINVAL); /* a kernel may lack KSM */
	CHECK((uint8_t)m.plain[-1] == pattern(SIZE - 1) && m.plain[0] == 7);
	FAILS(EINVAL, madvise(m.plain - 4 * PAGE, 8 * PAGE, 12345));
	FAILS(EINVAL, madvise(m.plain - 4 * PAGE, 8 * PAGE, MADV_FREE));
	FAILS(ENOMEM, madvise(m.hole - PAGE, 2 * PAGE, MADV_DONTNEED));
	CHECK(m.hole[-PAGE] == 0);
	CHECK(!madvise(m.plain - 4 * PAGE, 8 * PAGE, MADV_POPULATE_READ));
	CHECK(!posix_madvise(m.plain - 4 * PAGE, 8 * PAGE, POSIX_MADV_WILLNEED));
	CHECK(posix_madvise(m.plain - 4 * PAGE, 8 * PAGE, 77) == EINVAL);
	CHECK(!syscall(SYS_madvise, m.plain - 4 * PAGE, 8 * PAGE, MADV_DONTNEED));
	CHECK(m.plain[0] == 0 && m.plain[4 * PAGE] == 7);
	unmap_mixed(&m);
}

static void advice_by_pidfd(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec v[2];
	struct mixed m;

	map_mixed(&m);
	v[0] = (struct iovec){m.plain - 2 * PAGE, 4 * PAGE};
	v[1] = (struct iovec){m.private, PAGE};
	CHECK(pidfd >= 0);
	CHECK(syscall(SYS_process_madvise, pidfd, v, 2, MADV_COLD, 0) == 5 * (long)PAGE);
	FAILS(EINVAL, syscall(SYS_process_madvise, pidfd, v, 2, 12345, 0));
	FAILS(EFAULT, syscall(SYS_process_madvise, pidfd, 8, 1, MADV_COLD, 0));
	CHECK((uint8_t)m.plain[-1] == pattern(SIZE - 1) && m.plain[0] == 7);
	close(pidfd);
	unmap_mixed(&m);
}

static void residence(void)
{
	unsigned char in[8];
	struct mixed m;

	map_mixed(&m);
	CHECK(m.plain[-1]);
	CHECK(!mincore(m.plain - 4 * PAGE, 8 * PAGE, in));
	CHECK((in[3] & 1) && (in[4] & 1) && (in[7] & 1));
	FAILS(ENOMEM, mincore(m.hole - 4 * PAGE, 8 * PAGE, in));
	FAILS(EINVAL, mincore(m.plain - 1, PAGE, in));
	CHECK(!syscall(SYS_mincore, m.plain - 4 * PAGE, 8 * PAGE, in));
	unmap_mixed(&m);
}

static void moving(void)
{
	struct mixed m;
	char *p;

	map_mixed(&m);
	CHECK(!msync(m.plain - PAGE, 2 * PAGE, MS_SYNC));
	FAILS(ENOMEM, msync(m.hole - PAGE, 2 * PAGE, MS_SYNC));
	FAILS(EFAULT, mremap(m.plain - PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
	FAILS(EFAULT, mremap(m.plain - PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	FAILS(EINVAL, mremap(m.plain - PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, m.plain));
	p = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	p = mremap(m.file + PAGE, SIZE_MAX, 2 * SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, p); /* as an old size of 0 */
	CHECK(p != MAP_FAILED && (uint8_t)p[5] == pattern(PAGE + 5) && !munmap(p, 2 * SIZE));
	p = mremap(m.private, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, m.plain);
	CHECK(p == m.plain && (uint8_t)p[100] == pattern(100));
	FAILS(EFAULT, mremap(m.private, SIZE, 2 * SIZE, MREMAP_MAYMOVE));
	p = mremap(m.file, 2 * SIZE, PAGE, 0);
	CHECK(p == m.file && (uint8_t)p[5] == pattern(5));
	FAILS(ENOMEM, msync(m.file + PAGE, PAGE, MS_ASYNC));
	munmap(m.file, 3 * SIZE);
	close(m.fd);
}

/* A move onto a file's mapping that cannot be made leaves that alone; one that can takes its place. */
static void onto(void)
{
	struct mixed m;
	char *p;

	map_mixed(&m);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && !munmap(p + 2 * PAGE, 2 * PAGE));
	p[0] = 5;
	FAILS(EFAULT, mremap(p + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m.file));
	FAILS(EINVAL, mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m.file + 1));
	CHECK((uint8_t)m.file[5] == pattern(5));
	CHECK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m.file) == m.file && m.file[0] == 5);
	CHECK((uint8_t)m.file[2 * PAGE] == pattern(2 * PAGE));
	unmap_mixed(&m);
}

static bool moves_several(void)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool yes;

	CHECK(p != MAP_FAILED && !mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	yes = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 2 * PAGE) != MAP_FAILED;
	CHECK(!munmap(p, 4 * PAGE));
	return yes;
}

/* Several mappings and holes, of either kind and onto either, keep their places to each other (Linux 6.17). */
static void together(void)
{
	struct mixed m;
	char *to;

	if (!moves_several())
		return;
	map_mixed(&m);
	to = m.file + 100 * PAGE;
	m.private[PAGE] = m.hole[-1] = 3;
	CHECK(mremap(m.hole - 2 * PAGE, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	CHECK(to[0] == 7 && to[2 * PAGE - 1] == 3 && (uint8_t)to[10 * PAGE] == pattern(0) && to[11 * PAGE] == 3);
	CHECK((uint8_t)to[2 * PAGE] == pattern(102 * PAGE) &&
	      (uint8_t)to[12 * PAGE] == pattern(112 * PAGE)); /* where the hole came, all is as it was */
	FAILS(ENOMEM, msync(m.hole - PAGE, PAGE, MS_ASYNC));
	FAILS(ENOMEM, msync(m.private + PAGE, PAGE, MS_ASYNC));
	to = m.private + 100 * PAGE;
	m.plain[-1] = 4;
	CHECK(mremap(m.plain - 2 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == to);
	CHECK(to[2 * PAGE - 1] == 4 && to[2 * PAGE] == 7 && m.plain[-1] == 4 && m.plain[0] == 0);
	FAILS(EFAULT, mremap(m.hole, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to)); /* nothing at the start */
	FAILS(EFAULT, mremap(m.plain - 2 * PAGE, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	FAILS(EFAULT, mremap(m.plain - 2 * PAGE, 5 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	CHECK(to[2 * PAGE] == 7);
	unmap_mixed(&m);
}

/* What precedes the page that is to blame is changed. */
static void protection(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(!mprotect(m.plain - PAGE, 2 * PAGE, PROT_READ) && !mprotect(m.plain - PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
	m.plain[-1] = m.plain[0] = 1;
	CHECK(!munmap(m.private + PAGE, PAGE));
	FAILS(ENOMEM, mprotect(m.private, 3 * PAGE, PROT_READ));
	FAILS(ENOMEM, mprotect(m.plain, SIZE + PAGE, PROT_READ));
	FAILS(ENOMEM, mprotect(m.file, -PAGE, PROT_READ));
	FAILS(EINVAL, msync(m.file, 0, MS_ASYNC | MS_SYNC));
	m.private[2 * PAGE] = 1;
	CHECK(!madvise(m.plain, SIZE, MADV_DONTNEED) && m.plain[0] == 0);
	FAILS(EFAULT, pread(m.fd, m.plain, 1, 0)); /* may not be written */
	FAILS(EFAULT, pread(m.fd, m.private, 1, 0));
	unmap_mixed(&m);
}

/* Memory in front of a file's: made shorter, the file goes. */
static void shorter(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(mmap(m.hole, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m.hole);
	CHECK(mremap(m.hole, 8 * PAGE + SIZE, PAGE, 0) == m.hole);
	CHECK(m.hole[0] == 0);
	FAILS(ENOMEM, msync(m.hole + PAGE, PAGE, MS_ASYNC));
	CHECK(mmap(m.private, SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, m.fd, 0) == m.private); /* what is left must be one to move */
	FAILS(EFAULT, mremap(m.hole, 16 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m.plain));
	CHECK(m.hole[0] == 0 && (uint8_t)m.file[0] == pattern(0) && (uint8_t)m.private[0] == pattern(0));
	CHECK(!munmap(m.private, SIZE));
	FAILS(ENOMEM, msync(m.private, PAGE, MS_ASYNC));
	munmap(m.file, 2 * SIZE + PAGE);
	close(m.fd);
}

static void other_pages(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(!remap_file_pages(m.file, 4 * PAGE, 0, 8, 0));
	CHECK((uint8_t)m.file[3] == pattern(8 * PAGE + 3) && (uint8_t)m.file[4 * PAGE] == pattern(4 * PAGE));
	FAILS(EINVAL, remap_file_pages(m.private, PAGE, 0, 8, 0));
	FAILS(EINVAL, remap_file_pages(m.file, PAGE, PROT_READ, 8, 0));
	CHECK(!syscall(SYS_remap_file_pages, m.file, 4 * PAGE, 0, 16, 0));
	CHECK((uint8_t)m.file[3] == pattern(16 * PAGE + 3));
	unmap_mixed(&m);
}

/* What mmap() makes nothing of: the mapping is one of the file, and shows what others store. */
static void ignored(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *q = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_STACK), *private;
	char *r = map_file(fd, SIZE, PROT_READ | PROT_WRITE | PROT_GROWSDOWN | 8, MAP_SHARED);

	for (size_t i = 0; i < 8; i++)
		p[i * PAGE] = q[i * PAGE + 1] = r[i * PAGE + 2] = (char)(100 + i);
	private = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_STACK);
	for (size_t i = 0; i < 8; i++) {
		CHECK(p[i * PAGE + 1] == (char)(100 + i) && p[i * PAGE + 2] == (char)(100 + i));
		CHECK(q[i * PAGE] == (char)(100 + i) && r[i * PAGE + 1] == (char)(100 + i) && private[i * PAGE] == (char)(100 + i));
	}
	CHECK(!munmap(p, SIZE) && !munmap(q, SIZE) && !munmap(r, SIZE) && !munmap(private, SIZE));
	close(fd);
}

/* What mmap() refuses beside mappings of the same file; they stay as they are. */
static void refused(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[0] = 'x';
	FAILS(EOPNOTSUPP, mmap(NULL, SIZE, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, fd, 0));
	FAILS(EOPNOTSUPP, mmap((void *)0x200000000000, SIZE, PROT_READ, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, fd, 0));
	FAILS(EOVERFLOW, mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, (off_t)(INT64_MAX - PAGE + 1)));
	FAILS(EINVAL, mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 1));
	FAILS(EINVAL, mmap(NULL, SIZE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, fd, 0));
	FAILS(ENOMEM, mmap(NULL, 1UL << 48, PROT_READ, MAP_SHARED, fd, 0));
	CHECK(p[0] == 'x' && (uint8_t)p[1] == pattern(1));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static ssize_t copy_vm(int write, void *at, void *remote, size_t len)
{
	struct iovec l = {at, len}, r = {remote, len};

	return write ? process_vm_writev(getpid(), &l, 1, &r, 1, 0) : process_vm_readv(getpid(), &l, 1, &r, 1, 0);
}

/* A mapping of the kernel's in the place of ours that fails leaves no border. */
static void not_replaced(void)
{
	int directory = open(".", O_RDONLY | O_DIRECTORY);
	struct mixed m;
	char *p;

	map_mixed(&m);
	FAILS(ENODEV, mmap(m.private + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, directory, 0));
	FAILS(EBADF, mmap(m.private + 8 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0));
	p = mremap(m.private, SIZE, SIZE + PAGE, MREMAP_MAYMOVE);
	CHECK(p != MAP_FAILED && (uint8_t)p[6 * PAGE] == pattern(6 * PAGE));
	CHECK(!munmap(p, SIZE + PAGE) && !munmap(m.file, 2 * SIZE));
	close(m.fd);
	close(directory);
}

/* Too far out, though the first of two buffers alone would not be. */
static void too_far(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(!mprotect(m.private, PAGE, PROT_READ)); /* nor could it be filled */
	FAILS(EINVAL, preadv(m.fd, ((struct iovec[]){{m.private, PAGE}, {m.hole, PAGE}}), 2, INT64_MAX - PAGE));
	FAILS(EINVAL, pwritev(m.fd, ((struct iovec[]){{m.private, PAGE}, {m.hole, SIZE_MAX}}), 2, 0));
	FAILS(EFAULT, preadv(m.fd, ((struct iovec[]){{m.plain, PAGE}, {(void *)-PAGE, PAGE}}), 2, 0));
	FAILS(EFAULT, pwritev(m.fd, ((struct iovec[]){{m.plain, PAGE}, {(void *)-PAGE, PAGE}}), 2, 0));
	CHECK(m.plain[0] == 7 && (uint8_t)m.file[0] == pattern(0));
	FAILS(EFAULT, pread(m.fd, m.file, 1UL << 47, 0));
	FAILS(EFAULT, pwrite(m.fd, m.file, 1UL << 47, 0));
	FAILS(EOPNOTSUPP, preadv2(m.fd, ((struct iovec[]){{m.private, PAGE}, {m.hole, PAGE}}), 2, 0, 1 << 30));
	unmap_mixed(&m);
}

/* What comes after memory that is not there is not filled, and shows the file as before: no private copy was made. */
static void not_filled(void)
{
	int other = pattern_file(2 * PAGE);
	struct mixed m;

	map_mixed(&m);
	FAILS(EFAULT, pread(other, m.private - PAGE, 2 * PAGE, 0));
	FAILS(EFAULT, preadv(other, ((struct iovec[]){{m.hole, PAGE}, {m.private + PAGE, PAGE}}), 2, 0));
	CHECK(pread(other, m.private + 2 * PAGE, PAGE, 4 * PAGE) == 0);
	CHECK(pwrite(m.fd, "x", 1, 0) == 1 && pwrite(m.fd, "y", 1, PAGE) == 1 && pwrite(m.fd, "z", 1, 2 * PAGE) == 1);
	CHECK(m.private[0] == 'x' && m.private[PAGE] == 'y' && m.private[2 * PAGE] == 'z');
	CHECK(pread(other, m.hole - PAGE + 10, 2 * PAGE, 0) == (ssize_t)(PAGE - 10) && (uint8_t)m.hole[-1] == pattern(PAGE - 11));
	unmap_mixed(&m);
	close(other);
}

/* Up to where nothing is, from one to the other. */
static void looked_at(void)
{
	static char got[8 * PAGE];
	struct mixed m;

	map_mixed(&m);
	CHECK(copy_vm(0, got, m.plain - 2 * PAGE - 100, 4 * PAGE) == (ssize_t)(4 * PAGE));
	CHECK((uint8_t)got[0] == pattern(SIZE - 2 * PAGE - 100) && got[4 * PAGE - 1] == 7);
	CHECK(copy_vm(0, got, m.hole - 100, 4 * PAGE) == 100);
	FAILS(EFAULT, copy_vm(0, got, m.hole, PAGE));
	memset(got, 'y', sizeof got);
	CHECK(copy_vm(1, got, m.private + 5 * PAGE + 10, 3 * PAGE) == (ssize_t)(3 * PAGE));
	CHECK((uint8_t)m.private[5 * PAGE + 9] == pattern(5 * PAGE + 9) && m.private[7 * PAGE] == 'y' && m.private[8 * PAGE + 9] == 'y');
	CHECK(copy_vm(0, m.file + 20 * PAGE, m.private + 4 * PAGE, 2 * PAGE) == (ssize_t)(2 * PAGE)); /* from ours to ours */
	CHECK((uint8_t)m.file[20 * PAGE] == pattern(4 * PAGE) && m.file[22 * PAGE - 1] == 'y');
	CHECK(!mprotect(m.private + 30 * PAGE, PAGE, PROT_READ));
	CHECK(copy_vm(1, got, m.private + 29 * PAGE, 3 * PAGE) == (ssize_t)PAGE);
	CHECK(!mprotect(m.private + 40 * PAGE, PAGE, PROT_WRITE)); /* which the processor can read, and the call may not */
	CHECK(copy_vm(0, got, m.private + 39 * PAGE, 3 * PAGE) == (ssize_t)PAGE);
	CHECK(syscall(SYS_process_vm_readv, getpid(), &(struct iovec){got, 1}, 1, &(struct iovec){m.file + 99 * PAGE, 1}, 1, 0) == 1);
	FAILS(EINVAL, process_vm_readv(getpid(), &(struct iovec){got, 1}, 1, &(struct iovec){m.file, 1}, 1, 1));
	unmap_mixed(&m);
}

/* To and from plain memory of another process, where nothing of ours is in memory yet. */
static void exchanged(void)
{
	static char other[4 * PAGE];
	struct iovec local, remote = {other, sizeof other};
	struct mixed m;
	int status;
	pid_t child;

	map_mixed(&m);
	memset(other, 'o', sizeof other);
	child = fork();
	CHECK(child >= 0);
	if (!child)
		for (;;)
			pause();
	for (int i = 0; i < 2; i++) {
		local = (struct iovec){(i ? m.private : m.file) + 60 * PAGE + 5, sizeof other};
		CHECK(process_vm_readv(child, &local, 1, &remote, 1, 0) == (ssize_t)sizeof other);
		CHECK(((char *)local.iov_base)[0] == 'o' && ((char *)local.iov_base)[sizeof other - 1] == 'o');
	}
	for (int i = 0; i < 2; i++) {
		local = (struct iovec){(i ? m.private : m.file) + 80 * PAGE + 5, sizeof other};
		CHECK(process_vm_writev(child, &local, 1, &remote, 1, 0) == (ssize_t)sizeof other);
		local.iov_base = other;
		CHECK(process_vm_readv(child, &local, 1, &remote, 1, 0) == (ssize_t)sizeof other);
		CHECK(!memcmp(other, (i ? m.private : m.file) + 80 * PAGE + 5, sizeof other));
	}
	CHECK(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child);
	unmap_mixed(&m);
}

/* Of plain memory, told to a place in a file's mapping. */
static void told(void)
{
	struct mixed m;

	map_mixed(&m);
	CHECK(!mincore(m.plain, 4 * PAGE, (unsigned char *)m.file + 50 * PAGE));
	CHECK(m.file[50 * PAGE + 3] == 1 && (uint8_t)m.file[50 * PAGE + 4] == pattern(50 * PAGE + 4));
	FAILS(ENOMEM, mincore(m.hole - PAGE, 4 * PAGE, (unsigned char *)m.private + 60 * PAGE));
	CHECK(m.private[60 * PAGE] == 1 && (uint8_t)m.private[60 * PAGE + 1] == pattern(60 * PAGE + 1));
	unmap_mixed(&m);
}

static char *attach(int id, char *at)
{
	return shmat(id, at, SHM_REMAP);
}

/* System V shared memory in the place of a part of both: what was there is gone, and stays so; its neighbours stay. */
static void attached(void)
{
	struct mixed m;
	int id = shmget(IPC_PRIVATE, 8 * PAGE, IPC_CREAT | 0600);
	pid_t pid;
	char *p;

	map_mixed(&m);
	m.file[0] = 1;
	FAILS(EINVAL, shmat(id, m.file, 0));
	FAILS(EINVAL, attach(id, m.file + 1));
	FAILS(EINVAL, attach(-1, m.file));
	p = m.plain - 4 * PAGE;
	CHECK(attach(id, p) == p && !p[0] && !p[4 * PAGE]);
	p[5] = 5;
	pid = fork();
	if (!pid) {
		p[6] = 6;
		_exit(p[5] == 5 ? 0 : 1);
	}
	CHECK(waitpid(pid, NULL, 0) == pid && p[6] == 6);
	CHECK(m.file[0] == 1 && (uint8_t)p[-1] == pattern(SIZE - 4 * PAGE - 1) && p[8 * PAGE] == 7);
	CHECK(!msync(m.file, SIZE, MS_SYNC) && p[5] == 5);
	CHECK(!shmdt(p) && !shmctl(id, IPC_RMID, NULL));
	FAILS(EFAULT, write(m.fd, p, 1));
	unmap_mixed(&m);
}

/* Of two mappings that move onto a file's the second is sealed: the first has moved (until Linux 6.17 none does). */
static void move_up_to_a_seal(const struct mixed *m)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	p[0] = 5;
	CHECK(!syscall(SYS_mseal, p + PAGE, PAGE, 0));
	CHECK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m->file) == MAP_FAILED);
	CHECK(errno == EPERM ? m->file[0] == 5 : errno == EFAULT && p[0] == 5);
	CHECK((uint8_t)m->file[PAGE] == pattern(PAGE) && p[PAGE] == 0);
}

/* The same of a file's mapping and memory behind it. */
static void move_ours_up_to_a_seal(const struct mixed *m)
{
	char *to = m->private + 8 * PAGE;

	if (!moves_several())
		return;
	FAILS(EPERM, mremap(m->plain - PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	CHECK((uint8_t)to[0] == pattern(SIZE - PAGE) && (uint8_t)to[PAGE] == pattern(9 * PAGE) && m->plain[0] == 7);
	CHECK(mremap(to, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m->plain - PAGE) == m->plain - PAGE);
}

/* A seal at the start is told before that there is more than one mapping, and nothing of the rest goes. */
static void move_from_a_seal(const struct mixed *m)
{
	char *end = m->plain + SIZE;

	CHECK(mmap(m->hole, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, m->fd, 0) == m->hole);
	CHECK(!syscall(SYS_mseal, end - 2 * PAGE, PAGE, 0));
	FAILS(EPERM, mremap(end - 2 * PAGE, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	FAILS(EPERM, mremap(end - 2 * PAGE, 4 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m->private));
	FAILS(EPERM, mremap(end - 2 * PAGE, 4 * PAGE, PAGE, MREMAP_MAYMOVE));
	CHECK(end[-1] == 7 && (uint8_t)m->hole[0] == pattern(0) && (uint8_t)m->private[0] == pattern(0));
	CHECK(!munmap(m->hole, 8 * PAGE));
}

/* A mapping that is not made for a seal in its way has cut, at its start, what it would have replaced. */
static void cut_before_a_seal(const struct mixed *m)
{
	char *at = m->private + 100 * PAGE;

	CHECK(!syscall(SYS_mseal, at + 20 * PAGE, PAGE, 0));
	FAILS(EPERM, mmap(at + 10 * PAGE, 11 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	CHECK((uint8_t)at[10 * PAGE] == pattern(110 * PAGE));
	CHECK(mremap(at + 4 * PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
	FAILS(EFAULT, mremap(at + 8 * PAGE, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
	FAILS(EPERM, munmap(m->plain - 40 * PAGE, 41 * PAGE)); /* what is sealed may be of another kind */
	FAILS(EFAULT, mremap(m->plain - 42 * PAGE, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE));
}

/* A move onto a file's mapping and a seal behind it takes nothing away. */
static void move_onto_a_seal(const struct mixed *m)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	p[0] = 5;
	FAILS(EPERM, mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m->plain - 3 * PAGE));
	CHECK((uint8_t)m->plain[-3 * (long)PAGE] == pattern(SIZE - 3 * PAGE) && m->plain[0] == 7 && p[0] == 5);
	CHECK(!munmap(p, 4 * PAGE));
}

/* What is made shorter and moved is not, for a seal in what would be cut off: its new place is free by then. */
static void move_shorter_up_to_a_seal(const struct mixed *m)
{
	/* Too large for the holes that the cases before have left. */
	char *to = mmap(NULL, 16 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(to != MAP_FAILED && !munmap(to + 2 * PAGE, 14 * PAGE));
	CHECK(mmap(m->hole, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m->hole);
	m->hole[0] = 6;
	FAILS(EPERM, mremap(m->hole, 130 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	FAILS(ENOMEM, msync(to, PAGE, MS_ASYNC));
	CHECK(m->hole[0] == 6 && (uint8_t)m->private[0] == pattern(0) && !munmap(m->hole, 8 * PAGE));
}

/* The last case: what is sealed stays. */
static void sealed(void)
{
	int small = pattern_file(PAGE), only_read;
	struct mixed m;
	char name[32];

	snprintf(name, sizeof name, "/proc/self/fd/%d", small);
	only_read = open(name, O_RDONLY);
	CHECK(only_read >= 0);
	map_mixed(&m);
	if (syscall(SYS_mseal, m.plain, PAGE, 0) && errno == ENOSYS)
		return;
	move_up_to_a_seal(&m);
	move_ours_up_to_a_seal(&m);
	move_onto_a_seal(&m);
	move_from_a_seal(&m);
	cut_before_a_seal(&m);
	move_shorter_up_to_a_seal(&m);
	FAILS(ENOMEM, syscall(SYS_mseal, m.hole - PAGE, 2 * PAGE, 0));
	FAILS(EINVAL, syscall(SYS_mseal, m.plain - PAGE, 2 * PAGE, 1));
	CHECK(!munmap(m.private, PAGE));
	CHECK(!syscall(SYS_mseal, m.plain - PAGE, 2 * PAGE, 0));
	FAILS(EPERM, munmap(m.plain - PAGE, PAGE));
	FAILS(EPERM, munmap(m.plain - 2 * PAGE, 4 * PAGE));
	FAILS(EPERM, mprotect(m.plain, PAGE, PROT_READ));
	FAILS(EPERM, mprotect(m.plain - PAGE, PAGE, PROT_READ));
	FAILS(EPERM, mmap(m.plain - PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	FAILS(EPERM, mmap(m.plain - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, only_read, 0));
	FAILS(EACCES, mmap(m.plain - PAGE, PAGE, PROT_WRITE, MAP_SHARED | MAP_FIXED, only_read, 0));
	FAILS(EBADF, mmap(m.plain - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, -1, 0));
	FAILS(EINVAL, mmap(m.plain - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, only_read, 1));
	CHECK((uint8_t)m.plain[-1] == pattern(SIZE - 1));
	close(only_read);
	close(small);
}

/* None of which the program has allocated: a mapping that is served cannot have its own. */
static void keys(void)
{
	static const int key[] = {-1, 0, 15, 16, -2};
	char *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* whose answers are right */
	struct mixed m;

	CHECK(other != MAP_FAILED);
	map_mixed(&m);
	for (size_t i = 0; i < ARRAY_SIZE(key); i++) {
		int done = !pkey_mprotect(other, PAGE, PROT_READ, key[i]);
		int error = errno;

		CHECK((pkey_mprotect(m.file, PAGE, PROT_READ, key[i]) == 0) == done && (done || errno == error));
		if (done) { /* a system call may not write there */
			FAILS(EFAULT, pread(m.fd, m.file, 8, 0));
			CHECK(!pkey_mprotect(m.file, PAGE, PROT_READ | PROT_WRITE, key[i]));
		}
		m.file[8] = (char)pattern(8);
		FAILS(EINVAL, pkey_mprotect(m.file + 1, PAGE, PROT_READ, key[i]));
		CHECK(!pkey_mprotect(m.file, 0, PROT_READ, key[i]));
	}
	unmap_mixed(&m);
	CHECK(!munmap(other, SIZE));
}

/* Where privilege takes it: below 64 KiB, address 0 too. */
static void low_at(char *at)
{
	int fd = pattern_file(SIZE);
	char *all = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), *p;

	all[0] = 'a';
	p = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		CHECK(errno == EPERM);
	} else {
		CHECK(p == at && *(volatile char *)(at + 1) == (char)pattern(1) && *(volatile char *)at == 'a');
		*(volatile char *)(at + 2) = 'b';
		CHECK(all[2] == 'b');
		CHECK(mmap(at, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == at);
		CHECK(*(volatile char *)at == 'a' && *(volatile char *)(at + SIZE - 1) == (char)pattern(SIZE - 1));
		*(volatile char *)at = 'c';
		CHECK(all[0] == 'a' && !munmap(at, SIZE));
		p = mremap(all, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at);
		CHECK(p == at || errno == EPERM); /* what is served stays where it can be */
		all = p == at ? at : all;
		CHECK(*(volatile char *)(all + PAGE) == (char)pattern(PAGE));
	}
	munmap(all, SIZE);
	close(fd);
}

static void low(void)
{
	low_at(NULL);
	low_at((char *)(2 * PAGE));
}

/* What is mapped there besides, for whatever reason, is not the program's business. */
static void everything(void)
{
	struct mixed m;

	map_mixed(&m);
	for (size_t at = PAGE; at < SIZE; at += 64 * PAGE)
		m.file[at] = m.private[at] = 1;
	FAILS(ENOMEM, msync((void *)PAGE, (uintptr_t)m.file - PAGE, MS_SYNC));
	FAILS(ENOMEM, msync(m.private + SIZE, (1UL << 47) - PAGE - (uintptr_t)(m.private + SIZE), MS_SYNC));
	FAILS(ENOMEM, msync((void *)PAGE, (1UL << 47) - 2 * PAGE, MS_SYNC));
	FAILS(EINVAL, msync((void *)PAGE, (1UL << 47) - 2 * PAGE, MS_SYNC | MS_ASYNC));
	FAILS(EINVAL, msync((void *)PAGE, (uintptr_t)m.file - PAGE, 64));
	FAILS(EINVAL, msync((void *)(PAGE + 1), (uintptr_t)m.file - PAGE, MS_ASYNC));
	unmap_mixed(&m);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"lock_range", lock_range},
		{"lock_all", lock_all},
		{"advice", advice},
		{"advice_by_pidfd", advice_by_pidfd},
		{"residence", residence},
		{"moving", moving},
		{"onto", onto},
		{"together", together},
		{"protection", protection},
		{"shorter", shorter},
		{"other_pages", other_pages},
		{"ignored", ignored},
		{"refused", refused},
		{"not_replaced", not_replaced},
		{"too_far", too_far},
		{"not_filled", not_filled},
		{"looked_at", looked_at},
		{"exchanged", exchanged},
		{"told", told},
		{"attached", attached},
		{"sealed", sealed},
		{"keys", keys},
		{"low", low},
		{"everything", everything},
	};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
