/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2): arguments, errors and places. What a mapping shows is in sharing_test.c, its signals in signals_test.c. */
#include "conformance.h"

#include <sys/socket.h>
#include <sys/stat.h>

#define HUGE_LENGTH (1UL << 47)
#define UNKNOWN_FLAG (1 << 25)

/* What is mapped. */
enum object {
	OPEN_RDWR,
	OPEN_RDONLY,
	OPEN_WRONLY,
	OPEN_PATH,
	DIRECTORY,
	PIPE_READ,
	PIPE_WRITE,
	SOCKET,
	CLOSED,
	NO_DESCRIPTOR,
	MEMFD,
	WRITE_SEALED,
	FUTURE_WRITE_SEALED,
	PROC_FILE,
	TERMINAL_LIKE, /* /dev/null: a device that cannot be mapped */
	OBJECTS
};

struct mmap_case {
	const char *name;
	enum object object;
	char *addr;
	size_t length;
	int prot, flags;
	off_t offset;
	int error;
	int since;
};

static int new_memfd(int seals)
{
	int fd = memfd_create("conformance", MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void open_objects(struct world *w, int fds[OBJECTS])
{
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	fds[OPEN_RDWR] = dup(w->fd);
	fds[OPEN_RDONLY] = dup(w->read_only);
	fds[OPEN_WRONLY] = dup(w->write_only);
	fds[OPEN_PATH] = open(w->path, O_PATH);
	fds[DIRECTORY] = open("/", O_RDONLY | O_DIRECTORY);
	fds[PIPE_READ] = pipe_fd[0];
	fds[PIPE_WRITE] = pipe_fd[1];
	fds[SOCKET] = socket(AF_UNIX, SOCK_STREAM, 0);
	fds[CLOSED] = 1000000;
	fds[NO_DESCRIPTOR] = -1;
	fds[MEMFD] = new_memfd(0);
	fds[WRITE_SEALED] = new_memfd(F_SEAL_WRITE);
	fds[FUTURE_WRITE_SEALED] = new_memfd(F_SEAL_FUTURE_WRITE);
	fds[PROC_FILE] = open("/proc/self/status", O_RDONLY);
	fds[TERMINAL_LIKE] = open("/dev/null", O_RDWR);
}

static void close_objects(const int fds[OBJECTS])
{
	for (int i = 0; i < OBJECTS; i++)
		if (i != CLOSED && i != NO_DESCRIPTOR)
			close(fds[i]);
}

static int map_and_unmap(const struct calls *calls, const struct mmap_case *c, int fd)
{
	void *p = calls->mmap(c->addr, c->length, c->prot, c->flags, fd, c->offset);

	if (p == MAP_FAILED)
		return errno;
	assert_ok(calls->munmap(p, c->length));
	return 0;
}

static void run_mmap_case(struct world *w, const struct mmap_case *c, int fd)
{
	int expected = c->error, got = map_and_unmap(w->c, c, fd);

	if (expected == AS_KERNEL)
		expected = map_and_unmap(&kernel_calls, c, fd);
	if (got != expected)
		wrong(w, "%s: %s, not %s", c->name, strerrorname_np(got), strerrorname_np(expected));
}

static void run_mmap_cases(struct world *w, const struct mmap_case *cases, size_t n)
{
	int fds[OBJECTS];

	open_objects(w, fds);
	for (size_t i = 0; i < n; i++)
		if (linux_version() >= cases[i].since)
			run_mmap_case(w, &cases[i], fds[cases[i].object]);
	close_objects(fds);
}

static const struct mmap_case of_files[] = {
	{"shared, writable", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED, 0, 0},
	{"private, writable", OPEN_RDWR, NULL, PAGE, RW, MAP_PRIVATE, 0, 0},
	{"shared, readable, O_RDONLY", OPEN_RDONLY, NULL, PAGE, PROT_READ, MAP_SHARED, 0, 0},
	{"shared, writable, O_RDONLY", OPEN_RDONLY, NULL, PAGE, RW, MAP_SHARED, 0, EACCES},
	{"shared, only PROT_WRITE, O_RDONLY", OPEN_RDONLY, NULL, PAGE, PROT_WRITE, MAP_SHARED, 0, EACCES},
	{"validated, writable, O_RDONLY", OPEN_RDONLY, NULL, PAGE, RW, MAP_SHARED_VALIDATE, 0, EACCES},
	{"private, writable, O_RDONLY", OPEN_RDONLY, NULL, PAGE, RW, MAP_PRIVATE, 0, 0},
	{"PROT_NONE, O_RDONLY", OPEN_RDONLY, NULL, PAGE, PROT_NONE, MAP_SHARED, 0, 0},
	{"shared, O_WRONLY", OPEN_WRONLY, NULL, PAGE, PROT_READ, MAP_SHARED, 0, EACCES},
	{"shared, only PROT_WRITE, O_WRONLY", OPEN_WRONLY, NULL, PAGE, PROT_WRITE, MAP_SHARED, 0, EACCES},
	{"private, O_WRONLY", OPEN_WRONLY, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, EACCES},
	{"PROT_NONE, O_WRONLY", OPEN_WRONLY, NULL, PAGE, PROT_NONE, MAP_PRIVATE, 0, EACCES},
	{"O_PATH", OPEN_PATH, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, EBADF},
	{"a closed descriptor", CLOSED, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, EBADF},
	{"no descriptor", NO_DESCRIPTOR, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, EBADF},
	{"executable", OPEN_RDWR, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0, 0},
	{"unknown bits of prot", OPEN_RDWR, NULL, PAGE, PROT_READ | 0x100, MAP_PRIVATE, 0, 0},
};

static const struct mmap_case of_other_objects[] = {
	{"a directory", DIRECTORY, NULL, PAGE, PROT_READ, MAP_SHARED, 0, ENODEV},
	{"a directory, private", DIRECTORY, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, ENODEV},
	{"a directory, writable", DIRECTORY, NULL, PAGE, RW, MAP_SHARED, 0, EACCES},
	{"the end of a pipe that is read", PIPE_READ, NULL, PAGE, PROT_READ, MAP_SHARED, 0, ENODEV},
	{"the end of a pipe that is written", PIPE_WRITE, NULL, PAGE, PROT_READ, MAP_SHARED, 0, EACCES},
	{"a socket", SOCKET, NULL, PAGE, RW, MAP_SHARED, 0, ENODEV},
	{"a socket, private", SOCKET, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, ENODEV},
	{"a file of /proc", PROC_FILE, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, ENODEV},
	{"/dev/null", TERMINAL_LIKE, NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, ENODEV},
	{"a memfd", MEMFD, NULL, PAGE, RW, MAP_SHARED, 0, 0},
	{"a memfd, private", MEMFD, NULL, PAGE, RW, MAP_PRIVATE, 0, 0},
	{"sealed against writing, shared, writable", WRITE_SEALED, NULL, PAGE, RW, MAP_SHARED, 0, EPERM},
	{"sealed against writing, shared, readable", WRITE_SEALED, NULL, PAGE, PROT_READ, MAP_SHARED, 0, 0, .since = 607},
	{"sealed against writing, private, writable", WRITE_SEALED, NULL, PAGE, RW, MAP_PRIVATE, 0, 0},
	{"sealed against later writing, shared, writable", FUTURE_WRITE_SEALED, NULL, PAGE, RW, MAP_SHARED, 0, EPERM},
	{"sealed against later writing, shared, readable", FUTURE_WRITE_SEALED, NULL, PAGE, PROT_READ, MAP_SHARED, 0, 0},
	{"sealed against later writing, private", FUTURE_WRITE_SEALED, NULL, PAGE, RW, MAP_PRIVATE, 0, 0},
};

static const struct mmap_case flags[] = {
	{"no type", OPEN_RDWR, NULL, PAGE, PROT_READ, 0, 0, EINVAL},
	{"no type, but another flag", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_NORESERVE, 0, EINVAL},
	{"type 4", OPEN_RDWR, NULL, PAGE, PROT_READ, 4, 0, EINVAL},
	{"type 15", OPEN_RDWR, NULL, PAGE, PROT_READ, 15, 0, EINVAL},
	{"MAP_DROPPABLE of a file", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_DROPPABLE, 0, EINVAL},
	{"validated", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE, 0, 0},
	{"validated, old flags", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_NORESERVE | MAP_POPULATE | MAP_STACK, 0, 0},
	{"validated, an unknown flag", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | UNKNOWN_FLAG, 0, EOPNOTSUPP},
	{"validated, an unknown flag, O_RDONLY", OPEN_RDONLY, NULL, PAGE, RW, MAP_SHARED_VALIDATE | UNKNOWN_FLAG, 0, EOPNOTSUPP},
	{"validated, MAP_SYNC without DAX", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, 0, EOPNOTSUPP},
	{"validated, MAP_FIXED_NOREPLACE", OPEN_RDWR, ARENA, PAGE, RW, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, 0, EOPNOTSUPP},
	{"shared, an unknown flag", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED | UNKNOWN_FLAG, 0, 0},
	{"shared, MAP_SYNC", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED | MAP_SYNC, 0, AS_KERNEL},
	{"private, MAP_SYNC", OPEN_RDWR, NULL, PAGE, RW, MAP_PRIVATE | MAP_SYNC, 0, AS_KERNEL},
	{"a memfd, MAP_SYNC", MEMFD, NULL, PAGE, RW, MAP_SHARED | MAP_SYNC, 0, AS_KERNEL},
	{"validated, bits of a huge page's size", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | 1 << 26, 0, 0},
	{"validated, MAP_ABOVE4G", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | 0x80, 0, 0, .since = 606},
	{"private, an unknown flag", OPEN_RDWR, NULL, PAGE, RW, MAP_PRIVATE | UNKNOWN_FLAG, 0, 0},
	{"MAP_DENYWRITE, of a file that others write", OPEN_RDONLY, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_DENYWRITE, 0, 0},
	{"MAP_EXECUTABLE", OPEN_RDONLY, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_EXECUTABLE, 0, 0},
	{"MAP_STACK", OPEN_RDWR, NULL, PAGE, RW, MAP_PRIVATE | MAP_STACK, 0, 0},
	{"MAP_GROWSDOWN of a file", OPEN_RDWR, NULL, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, 0, EINVAL},
	{"MAP_GROWSDOWN of a file, shared", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED | MAP_GROWSDOWN, 0, EINVAL},
	{"MAP_HUGETLB of a file", OPEN_RDWR, NULL, 2UL << 20, RW, MAP_SHARED | MAP_HUGETLB, 0, EINVAL},
	{"MAP_LOCKED", OPEN_RDWR, NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, 0, 0},
};

static const struct mmap_case ranges[] = {
	{"length 0", OPEN_RDWR, NULL, 0, RW, MAP_SHARED, 0, EINVAL},
	{"length 1", OPEN_RDWR, NULL, 1, RW, MAP_SHARED, 0, 0},
	{"far longer than the file", OPEN_RDWR, NULL, 1UL << 40, RW, MAP_SHARED | MAP_NORESERVE, 0, 0},
	{"length 2^47", OPEN_RDWR, NULL, HUGE_LENGTH, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"length 2^47 less a page", OPEN_RDWR, NULL, HUGE_LENGTH - PAGE, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"length 2^63 less a page", OPEN_RDWR, NULL, (1UL << 63) - PAGE, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"length 2^63", OPEN_RDWR, NULL, 1UL << 63, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"length SIZE_MAX", OPEN_RDWR, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"offset within a page", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, 1, EINVAL},
	{"offset 512", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, 512, EINVAL},
	{"offset beyond the end of the file", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, FILE_BYTES * 4, 0},
	{"offset -PAGE", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, -(off_t)PAGE, EOVERFLOW},
	{"offset INT64_MIN", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, INT64_MIN, EOVERFLOW},
	{"offset -1", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, -1, EINVAL},
	{"an end at 2^63", OPEN_RDWR, NULL, PAGE, PROT_READ, MAP_SHARED, INT64_MAX & ~(off_t)4095, EOVERFLOW},
	{"an end beyond 2^63", OPEN_RDWR, NULL, 2 * PAGE, PROT_READ, MAP_SHARED, INT64_MAX & ~(off_t)4095, EOVERFLOW},
	{"an end beyond 2^64", OPEN_RDWR, NULL, 2 * PAGE, PROT_READ, MAP_SHARED, -(off_t)PAGE, EOVERFLOW},
	{"fixed, misaligned", OPEN_RDWR, ARENA + 8, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, EINVAL},
	{"fixed without replacement, misaligned", OPEN_RDWR, ARENA + 8, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, 0, EINVAL},
	{"fixed, beyond the address space", OPEN_RDWR, (char *)HUGE_LENGTH, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, ENOMEM},
	{"fixed, up to its end", OPEN_RDWR, (char *)(HUGE_LENGTH - PAGE), PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, ENOMEM},
	{"fixed, across its end", OPEN_RDWR, ARENA, HUGE_LENGTH - PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, ENOMEM},
	{"fixed, a kernel address", OPEN_RDWR, (char *)-PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, ENOMEM},
	{"a hint beyond the address space", OPEN_RDWR, (char *)-PAGE, PAGE, PROT_READ, MAP_SHARED, 0, 0},
	{"a hint that is misaligned", OPEN_RDWR, ARENA + 8, PAGE, PROT_READ, MAP_SHARED, 0, 0},
};

/* When two errors apply, the kernel's order decides. */
static const struct mmap_case orders[] = {
	{"offset, then descriptor", CLOSED, NULL, PAGE, PROT_READ, MAP_SHARED, 1, EINVAL},
	{"descriptor, then length", CLOSED, NULL, 0, PROT_READ, MAP_SHARED, 0, EBADF},
	{"descriptor, then type", CLOSED, NULL, PAGE, PROT_READ, 0, 0, EBADF},
	{"descriptor, then huge length", CLOSED, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, 0, EBADF},
	{"length 0, then mode", OPEN_WRONLY, NULL, 0, PROT_READ, MAP_SHARED, 0, EINVAL},
	{"huge length, then overflow", OPEN_RDWR, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, INT64_MAX & ~(off_t)4095, ENOMEM},
	{"huge length, then mode", OPEN_WRONLY, NULL, SIZE_MAX, PROT_READ, MAP_SHARED, 0, ENOMEM},
	{"huge length, then type", OPEN_RDWR, NULL, SIZE_MAX, PROT_READ, 0, 0, ENOMEM},
	{"overflow, then mode", OPEN_WRONLY, NULL, PAGE, PROT_READ, MAP_SHARED, -(off_t)PAGE, EOVERFLOW},
	{"overflow, then type", OPEN_RDWR, NULL, PAGE, PROT_READ, 0, -(off_t)PAGE, EOVERFLOW},
	{"fixed address, then overflow", OPEN_RDWR, ARENA + 1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, -(off_t)PAGE, EINVAL},
	{"fixed address, then mode", OPEN_WRONLY, ARENA + 1, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 0, EINVAL},
	{"fixed address, then type", OPEN_RDWR, (char *)-PAGE, PAGE, PROT_READ, MAP_FIXED, 0, ENOMEM},
	{"type, then mode", OPEN_WRONLY, NULL, PAGE, PROT_READ, 0, 0, EINVAL},
	{"mode, then kind of file", DIRECTORY, NULL, PAGE, RW, MAP_SHARED, 0, EACCES},
	{"type, then kind of file", DIRECTORY, NULL, PAGE, PROT_READ, 0, 0, EINVAL},
	{"kind of file, then MAP_GROWSDOWN", DIRECTORY, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, 0, ENODEV},
	{"mode, then MAP_GROWSDOWN", OPEN_WRONLY, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, 0, EACCES},
	{"descriptor, then MAP_HUGETLB", CLOSED, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, 0, EBADF},
	{"MAP_HUGETLB, then length", OPEN_RDWR, NULL, 0, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, 0, EINVAL},
	{"descriptor, then executable", CLOSED, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0, EBADF},
	{"mode, then executable", OPEN_WRONLY, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0, EACCES},
};

static const struct mmap_case anonymous[] = {
	{"private", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0},
	{"shared", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, 0, 0},
	{"validated", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, 0, EINVAL},
	{"no type", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_ANONYMOUS, 0, EINVAL},
	{"a descriptor, ignored", OPEN_WRONLY, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0},
	{"a closed descriptor, ignored", CLOSED, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0},
	{"an offset, ignored", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 4 * PAGE, 0},
	{"a misaligned offset", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, 100, EINVAL},
	{"an offset of -PAGE", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -(off_t)PAGE, 0},
	{"an end beyond 2^64", NO_DESCRIPTOR, NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -(off_t)PAGE, 0},
	{"length 0", NO_DESCRIPTOR, NULL, 0, RW, MAP_PRIVATE | MAP_ANONYMOUS, 0, EINVAL},
	{"length SIZE_MAX", NO_DESCRIPTOR, NULL, SIZE_MAX, RW, MAP_PRIVATE | MAP_ANONYMOUS, 0, ENOMEM},
	{"length 2^47", NO_DESCRIPTOR, NULL, HUGE_LENGTH, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0, ENOMEM},
	{"PROT_NONE", NO_DESCRIPTOR, NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0},
	{"grows down", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, 0, 0},
	{"grows down, shared", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, 0, EINVAL},
	{"an unknown flag", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | UNKNOWN_FLAG, 0, 0},
	{"fixed, misaligned", NO_DESCRIPTOR, ARENA + 1, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0, EINVAL},
	{"executable", NO_DESCRIPTOR, NULL, PAGE, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0},
	{"locked", NO_DESCRIPTOR, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, 0, 0},
};

CONFORMS(errors_of_files)
{
	run_mmap_cases(w, of_files, COUNT(of_files));
}

CONFORMS(errors_of_other_objects)
{
	run_mmap_cases(w, of_other_objects, COUNT(of_other_objects));
}

CONFORMS(errors_of_flags)
{
	run_mmap_cases(w, flags, COUNT(flags));
}

CONFORMS(errors_of_ranges)
{
	run_mmap_cases(w, ranges, COUNT(ranges));
}

CONFORMS(the_order_of_errors)
{
	run_mmap_cases(w, orders, COUNT(orders));
}

CONFORMS(errors_of_anonymous_mappings)
{
	run_mmap_cases(w, anonymous, COUNT(anonymous));
}

/* EEXIST: "the range covered by addr and length clashes with an existing mapping", and what is there stays. */
CONFORMS(noreplace_refuses_what_is_in_use)
{
	const int noreplace = MAP_SHARED | MAP_FIXED_NOREPLACE;

	map_layout(w, ".ss.");
	assert_pointer_error(w->c->mmap(ARENA + PAGE, PAGE, RW, noreplace, w->fd, 0), EEXIST);
	assert_pointer_error(w->c->mmap(ARENA, 4 * PAGE, RW, noreplace, w->fd, 0), EEXIST);
	assert_pointer_error(w->c->mmap(ARENA, PAGE + 1, RW, noreplace, w->fd, 0), EEXIST);
	assert_pointer_error(w->c->mmap(ARENA + PAGE, PAGE, RW, noreplace | MAP_FIXED, w->fd, 0), EEXIST);
	assert_pointer_error(w->c->mmap(ARENA + PAGE, PAGE, PROT_READ, noreplace, w->write_only, 0), EEXIST);
	assert_pointer_error(w->c->mmap(ARENA + PAGE, PAGE, PROT_READ, noreplace, w->fd, -(off_t)PAGE), EEXIST);
	assert_access(ARENA, "-ww-");
	assert_int_equal(ARENA[PAGE], mark(1));
	map_ok(w, ARENA, PAGE, PROT_READ, noreplace, w->fd, 0);
	map_ok(w, ARENA + 3 * PAGE, PAGE, PROT_READ, noreplace, w->fd, 0);
	assert_access(ARENA, "rwwr");
}

/* It clashes with mappings of the other kind, too: kernel memory under Faultline's. */
CONFORMS(noreplace_sees_all_mappings)
{
	void *other = mmap(ARENA, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(other, ARENA);
	assert_pointer_error(w->c->mmap(ARENA, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, w->fd, 0), EEXIST);
	assert_int_equal(munmap(other, PAGE), 0);
}

/* "If the memory region specified by addr and length overlaps pages of any existing mapping(s), [they] will be discarded". */
CONFORMS(fixed_replaces_what_overlaps)
{
	map_layout(w, "ssss.pppp");
	ARENA[3 * PAGE] = 'x';
	ARENA[5 * PAGE] = 'y';
	assert_ptr_equal(map_ok(w, ARENA + 2 * PAGE, 5 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->read_only, 20 * PAGE),
			 ARENA + 2 * PAGE);
	assert_access(ARENA, "wwrrrrrww");
	assert_int_equal(ARENA[PAGE], mark(1));
	for (size_t i = 2; i < 7; i++)
		assert_int_equal(ARENA[i * PAGE], mark(18 + i));
	assert_int_equal(ARENA[8 * PAGE], mark(8));
	map_ok(w, ARENA + 10 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 3 * PAGE);
	assert_int_equal(ARENA[10 * PAGE], 'x');
}

/* A call that fails leaves what is there alone. */
CONFORMS(fixed_that_fails_replaces_nothing)
{
	map_layout(w, "ssss");
	assert_pointer_error(w->c->mmap(ARENA, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->write_only, 0), EACCES);
	assert_pointer_error(w->c->mmap(ARENA, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, -1, 0), EBADF);
	assert_pointer_error(w->c->mmap(ARENA, 2 * PAGE, PROT_READ, MAP_FIXED, w->fd, 0), EINVAL);
	assert_access(ARENA, "wwww");
	assert_int_equal(ARENA[PAGE], mark(1));
}

/* "If addr is not NULL, then the kernel takes it as a hint ...; if another mapping already exists there, the kernel picks a new address". */
CONFORMS(hints)
{
	char *p;

	assert_ptr_equal(map_ok(w, ARENA, 2 * PAGE, RW, MAP_SHARED, w->fd, 0), ARENA);
	assert_ptr_equal(map_ok(w, ARENA + 3 * PAGE + 77, PAGE, RW, MAP_SHARED, w->fd, 0), ARENA + 3 * PAGE);
	p = map_ok(w, ARENA + PAGE, 2 * PAGE, PROT_READ, MAP_SHARED, w->fd, 30 * PAGE);
	assert_true(p + 2 * PAGE <= ARENA || p >= ARENA + 4 * PAGE);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	assert_int_equal(*p, mark(30));
	assert_ok(w->c->munmap(p, 2 * PAGE));
	p = map_ok(w, NULL, PAGE, PROT_READ, MAP_SHARED, w->fd, 0);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	assert_ok(w->c->munmap(p, PAGE));
	assert_access(ARENA, "ww-w");
}

CONFORMS(the_first_2_gib)
{
	char *p = map_ok(w, NULL, PAGE, PROT_READ, MAP_SHARED | MAP_32BIT, w->fd, PAGE);

	assert_true((uintptr_t)p < 1UL << 31);
	assert_int_equal(*p, mark(1));
	assert_ok(w->c->munmap(p, PAGE));
}

/* "After the mmap() call has returned, the file descriptor, fd, can be closed immediately without invalidating the mapping". */
CONFORMS(the_mapping_outlives_close_and_unlink)
{
	map_layout(w, "ssspp");
	close(w->fd);
	w->fd = -1;
	unlink(w->path);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(ARENA[i * PAGE], mark(i));
		ARENA[i * PAGE] = 'x';
	}
	assert_ok(w->c->msync(ARENA, 5 * PAGE, MS_SYNC));
	assert_int_equal(ARENA[4 * PAGE], 'x');
	assert_int_equal(ARENA[2 * PAGE], 'x');
}

/* MAP_POPULATE: "prefault page tables"; "the mmap() call doesn't fail if the mapping cannot be populated". */
CONFORMS(populate)
{
	unsigned char vec[8];
	char *p = map_ok(w, NULL, 8 * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, w->fd, 0);

	assert_ok(w->c->mincore(p, 8 * PAGE, vec));
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(vec[i] & 1, 1);
	assert_ok(w->c->munmap(p, 8 * PAGE));
	p = map_ok(w, NULL, 8 * PAGE, RW, MAP_SHARED | MAP_POPULATE, w->fd, FILE_BYTES - 4 * PAGE);
	assert_access(p, "wwwwbbbb");
	assert_ok(w->c->munmap(p, 8 * PAGE));
	p = map_ok(w, NULL, 8 * PAGE, PROT_NONE, MAP_SHARED | MAP_POPULATE, w->fd, 0);
	assert_access(p, "00000000");
	assert_ok(w->c->munmap(p, 8 * PAGE));
	p = map_ok(w, NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_POPULATE, w->fd, 0);
	assert_int_equal(p[7 * PAGE], mark(7));
	assert_ok(w->c->munmap(p, 8 * PAGE));
	p = map_ok(w, NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_POPULATE | MAP_NONBLOCK, w->fd, 0);
	assert_int_equal(p[7 * PAGE], mark(7));
	assert_ok(w->c->munmap(p, 8 * PAGE));
}

/* More than one mapping of a page, at offsets of its own each. */
CONFORMS(many_mappings_of_one_page)
{
	for (size_t i = 0; i < ARENA_PAGES; i++)
		map_ok(w, ARENA + i * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 5 * PAGE);
	ARENA[100] = 'x';
	for (size_t i = 0; i < ARENA_PAGES; i++)
		assert_int_equal(ARENA[i * PAGE + 100], 'x');
}

/* A file opened for appending can be mapped and stored to; where writes go does not matter to it. */
CONFORMS(a_file_open_for_appending)
{
	int fd = open(w->path, O_RDWR | O_APPEND);
	char *p = map_ok(w, NULL, PAGE, RW, MAP_SHARED, fd, PAGE), byte;
	off_t size = lseek(fd, 0, SEEK_END);

	p[3] = 'x';
	assert_ok(w->c->msync(p, PAGE, MS_SYNC));
	assert_int_equal(w->c->pread(fd, &byte, 1, PAGE + 3), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(lseek(fd, 0, SEEK_END), size);
	assert_ok(w->c->munmap(p, PAGE));
	close(fd);
}

/* The mapping does not move the descriptor's position, nor the position the mapping. */
CONFORMS(the_file_offset_stays)
{
	char *p;

	assert_int_equal(lseek(w->fd, 12345, SEEK_SET), 12345);
	p = map_ok(w, NULL, PAGE, RW, MAP_SHARED, w->fd, 2 * PAGE);
	assert_int_equal(*p, mark(2));
	p[1] = 'x';
	assert_ok(w->c->msync(p, PAGE, MS_SYNC));
	assert_int_equal(lseek(w->fd, 0, SEEK_CUR), 12345);
	assert_ok(w->c->munmap(p, PAGE));
}

/* An empty file can be mapped; no access to it can succeed. */
CONFORMS(an_empty_file)
{
	assert_ok(w->c->ftruncate(w->fd, 0));
	map_layout(w, "sspp");
	assert_access(ARENA, "bbbb");
	assert_ok(w->c->msync(ARENA, 4 * PAGE, MS_SYNC));
}

/* The offset need not be one that the file system can reach; the largest that off_t can tell is too far. */
CONFORMS(offsets_without_end)
{
	static const struct {
		off_t offset;
		int error, differs;
	} cases[] = {
		{1L << 44, 0, 0},
		{(1L << 52) - 4096, 0, 0},
		{1L << 52, 0, EOVERFLOW},
		{(1L << 62), 0, EOVERFLOW},
		{INT64_MAX - 4095 - 4096, 0, EOVERFLOW},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int error = w->c->faultline && cases[i].differs ? cases[i].differs : cases[i].error;
		void *p = w->c->mmap(ARENA, PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, cases[i].offset);

		assert_int_equal(p == MAP_FAILED ? errno : 0, error);
		if (p != MAP_FAILED)
			assert_access(p, "b");
	}
}

/* ENOMEM: "The process's maximum number of mappings would have been exceeded". Nothing of it stays. */
CONFORMS(too_many_mappings)
{
	size_t n = 0, limit = 80000;
	char **maps = calloc(limit, sizeof *maps);

	while (n < limit && (maps[n] = w->c->mmap(NULL, PAGE, PROT_READ, MAP_SHARED, w->fd, n % 2 ? 0 : 8 * PAGE)) != MAP_FAILED)
		n++;
	assert_true(n < limit);
	assert_int_equal(errno, ENOMEM);
	for (size_t i = 0; i < n; i++)
		assert_ok(w->c->munmap(maps[i], PAGE));
	free(maps);
	map_layout(w, "ss");
	assert_access(ARENA, "ww");
}

static void limit(int resource, rlim_t value, struct rlimit *old)
{
	struct rlimit r;

	assert_int_equal(getrlimit(resource, old), 0);
	r = (struct rlimit){.rlim_cur = value, .rlim_max = old->rlim_max};
	assert_int_equal(setrlimit(resource, &r), 0);
}

static rlim_t statm(int field)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long v[7];

	for (int i = 0; i < 7; i++)
		assert_int_equal(fscanf(f, "%lu", &v[i]), 1);
	fclose(f);
	return v[field] * PAGE;
}

/* RLIMIT_AS bounds all mappings, RLIMIT_DATA the private writable ones. */
CONFORMS(limits_of_the_process)
{
	const size_t length = 64UL << 20;
	struct rlimit as, data;
	int errors[3];
	void *p;

	limit(RLIMIT_AS, statm(0) + (16 << 20), &as);
	errors[0] = POINTER_ERROR_OF(w->c->mmap(NULL, length, PROT_READ, MAP_SHARED, w->fd, 0));
	setrlimit(RLIMIT_AS, &as);
	limit(RLIMIT_DATA, 1 << 20, &data);
	errors[1] = POINTER_ERROR_OF(w->c->mmap(NULL, length, RW, MAP_PRIVATE, w->fd, 0));
	p = w->c->mmap(NULL, length, RW, MAP_SHARED, w->fd, 0);
	errors[2] = p == MAP_FAILED ? errno : 0;
	setrlimit(RLIMIT_DATA, &data);
	assert_int_equal(errors[0], ENOMEM);
	assert_int_equal(errors[1], ENOMEM);
	assert_int_equal(errors[2], 0);
	assert_ok(w->c->munmap(p, length));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(errors_of_files),
		RUN(errors_of_other_objects),
		RUN(errors_of_flags),
		RUN(errors_of_ranges),
		RUN(the_order_of_errors),
		RUN(errors_of_anonymous_mappings),
		RUN(noreplace_refuses_what_is_in_use),
		RUN(noreplace_sees_all_mappings),
		RUN(fixed_replaces_what_overlaps),
		RUN(fixed_that_fails_replaces_nothing),
		RUN(hints),
		RUN(the_first_2_gib),
		RUN(the_mapping_outlives_close_and_unlink),
		RUN(populate),
		RUN(many_mappings_of_one_page),
		RUN(a_file_open_for_appending),
		RUN(the_file_offset_stays),
		RUN(an_empty_file),
		RUN(offsets_without_end),
		RUN(too_many_mappings),
		RUN(limits_of_the_process),
	};

	return run_conformance_tests(tests);
}
