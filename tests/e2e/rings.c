/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring, by number and by liburing where there is one: a ring that works, or none, as the first argument says. Exits with 77 where the kernel has none.
 */
#include <dlfcn.h>
#include <linux/io_uring.h>

#include "check.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#endif

#define SIZE (4UL << 20)

static int works;

/* liburing's struct io_uring, which is smaller. */
union ring {
	char bytes[PAGE];
	uint64_t words[1];
};

static int result_of_setup(void *params)
{
	int fd = (int)syscall(SYS_io_uring_setup, 4, params);

	return fd < 0 ? -errno : fd;
}

/* An empty request is taken, and told of. */
static void use_ring(int fd, const struct io_uring_params *params)
{
	char *ring = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);

	CHECK(ring != MAP_FAILED && sqe != MAP_FAILED);
	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = 7};
	*(uint32_t *)(ring + params->sq_off.array) = 0;
	*(volatile uint32_t *)(ring + params->sq_off.tail) = 1;
	CHECK(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	CHECK(((struct io_uring_cqe *)(ring + params->cq_off.cqes))->user_data == 7);
	CHECK(!munmap(ring, 16 * PAGE) && !munmap(sqe, PAGE));
}

static void expect(int result)
{
	CHECK(works ? result >= 0 : result == -ENOSYS);
}

/* With its struct on the stack, and in a mapping. */
static void by_number(void)
{
	struct io_uring_params params = {0}, *mapped;
	int fd = result_of_setup(&params), file = pattern_file(SIZE);

	expect(fd);
	if (works)
		use_ring(fd, &params);
	close(fd);
	mapped = (void *)map_file(file, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(mapped, 0, sizeof *mapped);
	fd = result_of_setup(mapped);
	expect(fd);
	if (works)
		use_ring(fd, mapped);
	close(fd);
	CHECK(!munmap(mapped, SIZE));
	close(file);
}

static void in_a_child(void)
{
	in_child(by_number);
}

/* ---- By liburing ---- */

typedef int init_fn(unsigned entries, union ring *ring, unsigned flags);
typedef int init_params_fn(unsigned entries, union ring *ring, struct io_uring_params *params);
typedef int setup_fn(unsigned entries, struct io_uring_params *params);
typedef void exit_fn(union ring *ring);
typedef void *probe_fn(void);
typedef void free_fn(void *probe);
typedef void *sqe_fn(union ring *ring);
typedef int submit_fn(union ring *ring, unsigned n);

static void *function(void *lib, const char *name)
{
	void *f = dlsym(lib, name);

	CHECK(f);
	return f;
}

static void end_ring(void *lib, union ring *ring)
{
	if (!works)
		return;
	memset(((sqe_fn *)function(lib, "io_uring_get_sqe"))(ring), 0, sizeof(struct io_uring_sqe));
	CHECK(((submit_fn *)function(lib, "io_uring_submit_and_wait"))(ring, 1) == 1);
	((exit_fn *)function(lib, "io_uring_queue_exit"))(ring);
}

/* The functions as they are found in `scope`. */
static void with_functions(void *scope, void *lib)
{
	setup_fn *setup = (setup_fn *)dlvsym(scope, "io_uring_setup", "LIBURING_2.3");
	struct io_uring_params params = {0};
	union ring ring = {{0}};
	void *probe;
	int fd;

	expect(((init_fn *)function(scope, "io_uring_queue_init"))(4, &ring, 0));
	end_ring(lib, &ring);
	memset(&ring, 0, sizeof ring);
	/* found by way of the library itself this one function, and the next, are not wrapped */
	if (scope != lib) {
		expect(((init_params_fn *)function(scope, "io_uring_queue_init_params"))(4, &ring, &params));
		end_ring(lib, &ring);
		memset(&params, 0, sizeof params);
		fd = setup ? setup(4, &params) : works - 1;
		CHECK(!setup || (works ? fd >= 0 : fd == -ENOSYS));
		close(fd);
	}
	probe = ((probe_fn *)function(scope, "io_uring_get_probe"))();
	CHECK(works ? !!probe : !probe);
	if (probe)
		((free_fn *)function(lib, "io_uring_free_probe"))(probe);
}

/* As a program finds them that is linked with it. */
static void global(void)
{
	void *lib = dlopen("liburing.so.2", RTLD_NOW | RTLD_GLOBAL);

	if (lib)
		with_functions(RTLD_DEFAULT, lib);
}

/* As a module of the program finds them, and where that looks at nothing else first. */
static void local(void)
{
	void *lib = dlopen("liburing.so.2", RTLD_NOW | RTLD_LOCAL);

	if (lib)
		with_functions(lib, lib);
}

static void deep(void)
{
	void *lib = dlopen("liburing.so.2", RTLD_LAZY | RTLD_DEEPBIND);

	if (lib)
		with_functions(lib, lib);
}

/* Each has it loaded anew. */
static void by_liburing(void)
{
	in_child(local);
	in_child(deep);
	in_child(global);
}

int main(int argc, char **argv)
{
	const struct test_case cases[] = {
		{"by_number", by_number},
		{"in_a_child", in_a_child},
		{"by_liburing", by_liburing},
	};
	struct io_uring_params params = {0};
	int fd;

	CHECK(argc > 1);
	works = !strcmp(argv[1], "works");
	fd = result_of_setup(&params);
	if (works && (fd == -ENOSYS || fd == -EPERM))
		return 77;
	close(fd);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 2);
}
