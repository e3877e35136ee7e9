/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2) of what is not a plain file on a disk: shared memory objects, sealed memory, odd ways of opening, odd mounts. */
#include "conformance.h"

#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define STEP(n, condition)        \
	do {                      \
		if (!(condition)) \
			return n; \
	} while (0)

static int shared_object(void)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "/faultline-test-%d", getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	shm_unlink(name);
	return fd;
}

/* shm_open(3): shared mappings are one, with read(2) and write(2), too, and so of all processes. */
static void object_is_shared(struct world *w, int fd)
{
	char byte;

	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	map_ok(w, ARENA, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 8 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE);
	map_ok(w, ARENA + 16 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, PAGE);
	ARENA[PAGE] = 'x';
	assert_int_equal(ARENA[8 * PAGE], 'x');
	assert_int_equal(ARENA[16 * PAGE], 'x');
	ARENA[16 * PAGE] = 'p';
	assert_int_equal(ARENA[PAGE], 'x');
	assert_int_equal(pread(fd, &byte, 1, PAGE), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(pwrite(fd, "y", 1, PAGE), 1);
	assert_int_equal(ARENA[PAGE], 'y');
	assert_int_equal(ARENA[16 * PAGE], 'p');
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_access(ARENA, "wwbb");
	assert_access(ARENA + 16 * PAGE, "wb");
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	assert_ok(w->c->mprotect(ARENA, PAGE, PROT_READ));
	assert_access(ARENA, "rwbb");
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ARENA + 24 * PAGE),
			 linux_version() >= 617 ? ARENA + 24 * PAGE : MAP_FAILED);
	assert_ok(w->c->munmap(ARENA, ARENA_PAGES * PAGE));
}

CONFORMS(shared_memory_objects)
{
	int fd = shared_object();

	object_is_shared(w, fd);
	close(fd);
}

CONFORMS(memfds)
{
	int fd = memfd_create("conformance", 0);

	object_is_shared(w, fd);
	close(fd);
}

static int object_child(struct world *w, char *map)
{
	(void)w;
	STEP(1, map[0] == 'p' && map[2 * PAGE] == 'p');
	map[1] = 'c';
	map[2 * PAGE + 1] = 'c';
	return 0;
}

CONFORMS(shared_memory_objects_and_fork)
{
	int fd = memfd_create("conformance", 0);

	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 2 * PAGE);
	ARENA[0] = ARENA[2 * PAGE] = 'p';
	assert_true(in_child(object_child, w, ARENA));
	assert_int_equal(ARENA[1], 'c');
	assert_int_equal(ARENA[2 * PAGE + 1], 0);
	close(fd);
}

/* Files and objects side by side: one call may change both. */
CONFORMS(objects_beside_files)
{
	int fd = memfd_create("conformance", 0);

	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	map_layout(w, "ss..pp");
	map_ok(w, ARENA + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	for (size_t i = 0; i < 6; i++)
		ARENA[i * PAGE] = 'x';
	assert_ok(w->c->mprotect(ARENA + PAGE, 4 * PAGE, PROT_READ));
	assert_access(ARENA, "wrrrrw");
	assert_ok(w->c->madvise(ARENA, 6 * PAGE, MADV_DONTNEED));
	assert_ok(w->c->msync(ARENA, 6 * PAGE, MS_SYNC));
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(ARENA[i * PAGE], i < 4 ? 'x' : mark(i));
	assert_ok(w->c->munmap(ARENA + PAGE, 4 * PAGE));
	assert_access(ARENA, "w----w");
	close(fd);
}

/* memfd_create(2), fcntl(2): seals against resizing, and against writing while a writable mapping is there. */
CONFORMS(seals)
{
	int fd = memfd_create("conformance", MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_error(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	assert_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	assert_error(w->c->ftruncate(fd, PAGE), EPERM);
	assert_error(w->c->ftruncate(fd, 4 * PAGE), EPERM);
	assert_access(ARENA, "ww");
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	assert_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	assert_pointer_error(w->c->mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
	assert_access(ARENA, "ww");
	assert_error(w->c->pwrite(fd, "x", 1, 0), EPERM);
	close(fd);
}

/* MAP_HUGETLB: lengths are rounded up to huge pages, and munmap takes whole ones only. */
CONFORMS(huge_pages)
{
	const size_t huge = 2UL << 20;
	char *p = w->c->mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		skip();
	assert_int_equal((uintptr_t)p % huge, 0);
	assert_error(w->c->munmap(p, PAGE), EINVAL);
	assert_error(w->c->munmap(p + PAGE, huge - PAGE), EINVAL);
	assert_ok(w->c->munmap(p, huge));
}

/* ---- Other ways to open a file ---- */

static void file_works(struct world *w, int fd)
{
	char byte;

	assert_true(fd >= 0);
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	ARENA[PAGE + 3] = 'x';
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	assert_int_equal(w->c->pread(fd, &byte, 1, PAGE + 3), 1);
	assert_int_equal(byte, 'x');
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	close(fd);
}

CONFORMS(ways_of_opening)
{
	char path[64], dir[64];
	int fd;

	file_works(w, open(w->path, O_RDWR | O_SYNC));
	file_works(w, open(w->path, O_RDWR | O_CLOEXEC | O_NOATIME));
	file_works(w, open(w->path, O_RDWR | O_APPEND | O_NONBLOCK));
	snprintf(path, sizeof path, "/proc/self/fd/%d", w->fd);
	file_works(w, open(path, O_RDWR));
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(w->path, '/') - w->path), w->path);
	fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0) {
		assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
		file_works(w, fd);
	}
}

/* O_DIRECT is about read and write; mappings do not ask for it. */
CONFORMS(a_file_open_for_direct_io)
{
	int fd = open(w->path, O_RDWR | O_DIRECT);

	if (fd < 0)
		skip();
	map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_int_equal(ARENA[PAGE], mark(1));
	ARENA[PAGE] = 'x';
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	assert_ok(w->c->munmap(ARENA, 2 * PAGE));
	assert_int_equal(w->c->pread(w->fd, ARENA - PAGE, 0, 0), 0);
	close(fd);
}

/* It is the descriptor that takes only blocks, not the mapping: bytes come and go one by one, up to an end within a page. */
CONFORMS(bytes_of_a_file_open_for_direct_io)
{
	int fd = open(w->path, O_RDWR | O_DIRECT);
	char got[8];

	if (fd < 0)
		skip();
	map_ok(w, ARENA, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	assert_int_equal(ARENA[PAGE], mark(1));
	assert_int_equal(w->c->pwrite(w->fd, "bytes", 5, PAGE + 3), 5);
	assert_memory_equal(ARENA + PAGE + 2, ((char[]){mark(1), 'b', 'y', 't', 'e', 's', mark(1)}), 7);
	assert_ok(w->c->ftruncate(w->fd, 2 * PAGE + 100));
	ARENA[2 * PAGE + 98] = 'x';
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
	assert_int_equal(w->c->pread(w->fd, got, 8, 2 * PAGE + 97), 3);
	assert_memory_equal(got, ((char[]){mark(2), 'x', mark(2)}), 3);
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_int_equal(pread(w->read_only, got, 8, 2 * PAGE + 97), 3);
	assert_memory_equal(got, ((char[]){mark(2), 'x', mark(2)}), 3);
}

/* A descriptor that now means another file: the mapping keeps its own. */
CONFORMS(the_descriptor_is_used_again)
{
	int other = memfd_create("conformance", 0);

	map_layout(w, "ss");
	assert_int_equal(dup2(other, w->fd), w->fd);
	ARENA[PAGE] = 'x';
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	close(other);
	w->c->munmap(ARENA, 2 * PAGE);
	map_ok(w, ARENA, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->read_only, 0);
	assert_int_equal(ARENA[PAGE], 'x');
}

/* ---- Attributes and mounts ---- */

static bool set_append_only(int fd, bool on)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return false;
	flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* EACCES: "PROT_WRITE is set, but the file is append-only" (chattr +a); any shared mapping of a descriptor that writes. */
CONFORMS(append_only_files)
{
	static const struct {
		int prot, flags, error;
	} cases[] = {
		{RW, MAP_SHARED, EACCES},
		{PROT_READ, MAP_SHARED, EACCES},
		{RW, MAP_PRIVATE, 0},
	};
	int errors[COUNT(cases)], fd;

	if (!set_append_only(w->fd, true))
		skip();
	fd = open(w->path, O_RDWR | O_APPEND);
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *p = w->c->mmap(ARENA, PAGE, cases[i].prot, cases[i].flags | MAP_FIXED, fd, 0);

		errors[i] = p == MAP_FAILED ? errno : 0;
	}
	close(fd);
	assert_true(set_append_only(w->fd, false));
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(errors[i], cases[i].error);
}

/* Where nothing can be mounted, nothing is tried. */
static int on_noexec_mount(struct world *w, char *map)
{
	char path[80];
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0;
	snprintf(path, sizeof path, "%s", w->path);
	if (mount(path, path, NULL, MS_BIND, NULL) || mount("none", path, NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL))
		return 0;
	fd = open(path, O_RDWR);
	STEP(1, POINTER_ERROR_OF(w->c->mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0)) == EPERM);
	STEP(2, w->c->mmap(map, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == map);
	STEP(3, ERROR_OF(w->c->mprotect(map, PAGE, PROT_READ | PROT_EXEC)) == EACCES);
	STEP(4, *map == mark(0));
	return 0;
}

/* EPERM: "prot asks for PROT_EXEC but the mapped area belongs to a file on a filesystem that was mounted no-exec". */
CONFORMS(files_on_a_noexec_mount)
{
	assert_true(in_child(on_noexec_mount, w, ARENA));
}

/* A file opened before its file system was made read-only, or whose mode forbids it now: the descriptor counts. */
CONFORMS(the_descriptor_counts_not_the_mode)
{
	assert_int_equal(fchmod(w->fd, 0), 0);
	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_ok(w->c->msync(ARENA, 2 * PAGE, MS_SYNC));
	assert_access(ARENA, "ww");
}

/* ---- Executable memory ---- */

/* PROT_EXEC: "Pages may be executed." mov eax, 42; ret */
CONFORMS(code)
{
	static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
	static const int types[] = {MAP_PRIVATE, MAP_SHARED};

	assert_int_equal(w->c->pwrite(w->fd, code, sizeof code, 0), sizeof code);
	for (size_t i = 0; i < 2; i++) {
		char *p = map_ok(w, NULL, PAGE, PROT_READ | PROT_EXEC, types[i], w->fd, 0);

		assert_int_equal(((int (*)(void))(void *)p)(), 42);
		assert_ok(w->c->mprotect(p, PAGE, PROT_READ));
		assert_caught(try_write(p, 0), SIGSEGV, SEGV_ACCERR, p);
		assert_ok(w->c->munmap(p, PAGE));
	}
	map_layout(w, "a");
	memcpy(ARENA, code, sizeof code);
	assert_ok(w->c->mprotect(ARENA, PAGE, PROT_READ | PROT_EXEC));
	assert_int_equal(((int (*)(void))(void *)ARENA)(), 42);
}

/* ---- Limits that only Faultline has ---- */

static int with_limit(struct world *w, int resource, rlim_t value)
{
	struct rlimit old, small;
	void *p;
	int error;

	assert_int_equal(getrlimit(resource, &old), 0);
	small = (struct rlimit){.rlim_cur = value, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(resource, &small), 0);
	p = w->c->mmap(NULL, PAGE, PROT_READ, MAP_SHARED, w->fd, 0);
	error = p == MAP_FAILED ? errno : 0;
	setrlimit(resource, &old);
	if (!error)
		assert_ok(w->c->munmap(p, PAGE));
	return error;
}

/* The calls are for mappings that Faultline has made: what the kernel has mapped for others is not there for them. */
CONFORMS(memory_of_others)
{
	bool ours = !w->c->faultline;
	char *p = mmap(ARENA, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	unsigned char vec[2];

	*p = 'x';
	assert_error(w->c->msync(p, PAGE, MS_SYNC), ours ? 0 : ENOMEM);
	assert_error(w->c->madvise(p, PAGE, MADV_RANDOM), ours ? 0 : ENOMEM);
	assert_error(w->c->mincore(p, PAGE, vec), ours ? 0 : ENOMEM);
	assert_error(w->c->mlock(p, PAGE), ours ? 0 : ENOMEM);
	assert_error(w->c->mprotect(p, PAGE, PROT_READ), ours ? 0 : ENOMEM);
	assert_pointer_error(w->c->mremap(p, 2 * PAGE, PAGE, 0), ours ? 0 : EFAULT);
	assert_ok(w->c->munmap(p, 2 * PAGE));
	assert_access(p, ours ? "--" : "ww");
	munmap(p, 2 * PAGE);
}

/* A mapped file needs descriptors, and memory that counts as a file: mmap(2) needs neither. */
CONFORMS(limits_of_descriptors_and_file_size)
{
	assert_int_equal(with_limit(w, RLIMIT_NOFILE, 3), w->c->faultline ? EMFILE : 0);
	assert_int_equal(with_limit(w, RLIMIT_FSIZE, PAGE), w->c->faultline && !at_host(w->c) ? EFBIG : 0);
	assert_int_equal(with_limit(w, RLIMIT_NOFILE, 1024), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(shared_memory_objects),
		RUN(memfds),
		RUN(shared_memory_objects_and_fork),
		RUN(objects_beside_files),
		RUN(seals),
		RUN(huge_pages),
		RUN(ways_of_opening),
		RUN(a_file_open_for_direct_io),
		RUN(bytes_of_a_file_open_for_direct_io),
		RUN(the_descriptor_is_used_again),
		RUN(append_only_files),
		RUN(files_on_a_noexec_mount),
		RUN(the_descriptor_counts_not_the_mode),
		RUN(code),
		RUN(memory_of_others),
		RUN(limits_of_descriptors_and_file_size),
	};

	return run_conformance_tests(tests);
}
