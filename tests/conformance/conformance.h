/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of conformance share. Each test is run twice: over the kernel's calls, which shows that what is expected is
 * right, and over Faultline's, which shows that Faultline does the same. Where it is known to do otherwise, the test says
 * what it does, and docs/conformance.md why.
 */
#ifndef FL_TESTS_CONFORMANCE_H
#define FL_TESTS_CONFORMANCE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "linux_abi.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The calls under test. */
struct calls {
	const char *name;
	bool faultline;
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t length);
	int (*mprotect)(void *addr, size_t length, int prot);
	void *(*mremap)(void *old_address, size_t old_size, size_t new_size, int flags, ...);
	int (*msync)(void *addr, size_t length, int flags);
	int (*madvise)(void *addr, size_t length, int advice);
	int (*mincore)(void *addr, size_t length, unsigned char *vec);
	int (*mlock)(const void *addr, size_t length);
	int (*mlock2)(const void *addr, size_t length, unsigned flags);
	int (*munlock)(const void *addr, size_t length);
	int (*mlockall)(int flags);
	int (*munlockall)(void);
	int (*mseal)(void *addr, size_t length, unsigned long flags);
	int (*remap_file_pages)(void *addr, size_t length, int prot, size_t pgoff, int flags);
	int (*posix_madvise)(void *addr, size_t length, int advice);
	ssize_t (*pread)(int fd, void *buf, size_t count, off_t offset);
	ssize_t (*pwrite)(int fd, const void *buf, size_t count, off_t offset);
	int (*ftruncate)(int fd, off_t length);
};

extern const struct calls kernel_calls, faultline_calls;

/* What a test or a case needs of the kernel. world.c knows since when there is what. */
enum feature {
	NOTHING_NEW,
	SECOND_VIEW,      /* mremap: MREMAP_DONTUNMAP of all mappings */
	GUARDS,           /* MADV_GUARD_INSTALL of all mappings */
	OTHER_ADVICE,     /* MADV_COLLAPSE and older */
	SEALS,            /* mseal */
	SIGSEGV_HANDLERS, /* dispositions of SIGSEGV are the program's */
	LIBRARY,          /* nothing; but the preload library answers otherwise */
	FEATURES
};

bool has_feature(const struct calls *c, enum feature feature);
/* Whether the thread that faults serves the fault, in its SIGBUS handler: what Faultline does unless it is told otherwise. */
bool faults_inline(const struct calls *c);
/* Whether a host has the files: their pages outlive the process, and the budget is the host's. */
bool at_host(const struct calls *c);
/* MAJOR * 100 + MINOR of the kernel that runs. */
int linux_version(void);

/* ---- The world a test finds ---- */

/* As much as the preload library wants of a file before it serves shared mappings that write. */
#define FILE_PAGES 256UL
#define FILE_BYTES (FILE_PAGES * PAGE)

/* Pages of address space that nobody else uses: what is not mapped there by the test is not mapped. */
#define ARENA_PAGES 128UL
#define ARENA ((char *)0x200000000000)

/* A file of FILE_PAGES pages, each filled with its mark(). */
struct world {
	const struct calls *c;
	int fd, read_only, write_only;
	char path[64];
	int failures, descriptors;
};

/* Not 0, which is what holes hold, for the pages that tests look at. */
static inline char mark(size_t page)
{
	return (char)(page * 3 + 1);
}

/* For run_NAME() only. */
void world_begin(struct world *w, const struct calls *c, enum feature needs);
void world_end(struct world *w);

/* One wrong answer: printed at once; the test fails at its end. */
void wrong(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Mappings by picture ---- */

/*
 * A letter is a page from ARENA on. Neighbours with the same letter are mapped by one call, and show the pages of the file
 * at the same distance from its start as from ARENA.
 *
 *   s  shared, writable               p  private, writable
 *   r  shared, of a file opened O_RDONLY, readable
 *   o  shared, readable, may be made writable
 *   n  shared, PROT_NONE              q  private, readable
 *   a  anonymous, private             z  anonymous, shared
 *   .  nothing
 */
void map_layout(struct world *w, const char *layout);

/*
 * What an access to each page finds, a letter a page: 'w' it can be written, 'r' only read, '0' neither, 'b' SIGBUS,
 * '-' nothing is mapped. Stores what is there to pages that can be written. The answer is static.
 */
const char *access_map(char *start, size_t pages);

#define assert_access(start, picture) assert_string_equal(access_map(start, strlen(picture)), picture)

/* ---- Accesses that may raise a signal ---- */

struct caught {
	int signal, code;
	char *address;
	char value; /* what try_read() has read */
};

struct caught try_read(const volatile char *p);
struct caught try_write(volatile char *p, char value);

#define assert_caught(attempt, sig, si_code_, addr)       \
	do {                                              \
		struct caught caught_ = (attempt);        \
		assert_int_equal(caught_.signal, sig);    \
		assert_int_equal(caught_.code, si_code_); \
		assert_ptr_equal(caught_.address, addr);  \
	} while (0)

/* ---- Results ---- */

/* 0, or errno, of a call that returns 0 or -1; of one that returns an address or MAP_FAILED. */
#define ERROR_OF(call) (errno = 0, (call) == -1 ? errno : 0)
#define POINTER_ERROR_OF(call) (errno = 0, (call) == MAP_FAILED ? errno : 0)

#define assert_error(call, error) assert_int_equal(ERROR_OF(call), error)
#define assert_pointer_error(call, error) assert_int_equal(POINTER_ERROR_OF(call), error)
#define assert_ok(call) assert_int_equal(ERROR_OF(call), 0)

char *map_ok(struct world *w, void *addr, size_t length, int prot, int flags, int fd, off_t offset);

/* Runs fn in a child; true when it returned 0. A child that hangs is ended after some seconds, and is false. */
bool in_child(int (*fn)(struct world *w, char *map), struct world *w, char *map);

/* ---- Tables ---- */

/* One call on a range of the arena: what it answers, and what each page is afterwards. */
struct range_case {
	const char *name;
	const char *layout;
	size_t from, length; /* from: bytes from ARENA */
	int arg;             /* prot, flags, or advice */
	int error;
	const char *after; /* access_map() afterwards; NULL: not looked at */
	enum feature needs;
	int since; /* Linux version, as linux_version(); 0: any */
};

/* `error` that depends on the file system, or on how the kernel is built: what its own call answers. */
#define AS_KERNEL (-1)

/* The address of `from`; AT() is the `from` of an address that need not be in the arena. */
static inline char *from_arena(size_t from)
{
	return (char *)((size_t)ARENA + from);
}

#define AT(address) ((size_t)(address) - (size_t)ARENA)

typedef int (*range_call)(const struct calls *c, char *addr, size_t length, int arg);

void run_range_cases(struct world *w, const struct range_case *cases, size_t n, range_call call);

/* ---- Tests ---- */

struct run {
	const struct calls *calls;
	enum feature needs;
};

/* Defines the test; main() lists it with RUN or RUN_NEEDING. */
#define CONFORMS(name)                                   \
	static void name(struct world *w);               \
	static void run_##name(void **state)             \
	{                                                \
		const struct run *run = *state;          \
		struct world w;                          \
                                                         \
		world_begin(&w, run->calls, run->needs); \
		name(&w);                                \
		world_end(&w);                           \
	}                                                \
	static void name(struct world *w)

#define RUN_NEEDING(feature, name)                                                         \
	{#name ", kernel", run_##name, NULL, NULL, &(struct run){&kernel_calls, feature}}, \
	{                                                                                  \
#name ", Faultline", run_##name, NULL, NULL, &(struct run)                 \
		{                                                                          \
			&faultline_calls, feature                                          \
		}                                                                          \
	}
#define RUN(name) RUN_NEEDING(NOTHING_NEW, name)
/* Of calls that the library does not have, but the preload library wraps. */
#define RUN_SYSTEM(name)                                                \
	{                                                               \
#name ", kernel", run_##name, NULL, NULL, &(struct run) \
		{                                                       \
			&kernel_calls, NOTHING_NEW                      \
		}                                                       \
	}

/* CONFORMANCE_TESTS is a pattern of names: "*, kernel" under the preload library, which then takes the kernel's place. */
#define run_conformance_tests(tests) (cmocka_set_test_filter(getenv("CONFORMANCE_TESTS")), cmocka_run_group_tests(tests, NULL, NULL))

#endif
