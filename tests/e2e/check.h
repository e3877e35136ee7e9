/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that must pass on the kernel and under the command alike, linked with nothing of Faultline's: cases in a
 * table, each of which ends the program with a line that says what was not as it should be.
 */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

/* The call fails with this error. */
#define FAILS(error, call) CHECK((errno = 0, (long)(call) == -1) && errno == (error))

struct test_case {
	const char *name;
	void (*run)(void);
};

/* The cases that are named on the command line, all when none is. */
static inline int run_cases(const struct test_case *cases, size_t n, char **names)
{
	for (size_t i = 0; i < n; i++) {
		int wanted = !names[0];

		for (char **name = names; *name; name++)
			wanted |= !strcmp(*name, cases[i].name);
		if (wanted)
			cases[i].run();
	}
	return 0;
}

/* In a process of its own, which must end well. */
static inline void in_child(void (*run)(void))
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child) {
		run();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
}

static inline uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + (at >> 12) * 13 + 1);
}

/* A file of so many bytes with a pattern, without a name. */
static inline int pattern_file(size_t size)
{
	char name[] = "check.XXXXXX", part[PAGE];
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name));
	for (size_t at = 0; at < size; at += PAGE) {
		for (size_t i = 0; i < PAGE; i++)
			part[i] = (char)pattern(at + i);
		CHECK(write(fd, part, PAGE) == (ssize_t)PAGE);
	}
	return fd;
}

static inline char *map_file(int fd, size_t len, int prot, int flags)
{
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

/* What is in the file, by an instruction of its own. */
static inline long file_has(int fd, void *buf, size_t len, off_t off)
{
	register long r10 __asm__("r10") = off;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_pread64), "D"(fd), "S"(buf), "d"(len), "r"(r10) : "rcx", "r11", "memory");
	return result;
}

#endif
