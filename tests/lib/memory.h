/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of the process's own memory, and whether huge pages of files can be part of it. */
#ifndef FL_TESTS_MEMORY_H
#define FL_TESTS_MEMORY_H

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Bytes of a kind, as in /proc/self/smaps_rollup: "Anonymous", "AnonHugePages". Not in two threads at once: its stack counts. */
static inline size_t memory_of(const char *kind)
{
	static char text[8192];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	const char *at;
	size_t len = strlen(kind);

	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (at = strstr(text, kind); at && at[len] != ':'; at = strstr(at + 1, kind))
		;
	return at ? strtoul(at + len + 1, NULL, 10) * 1024 : 0;
}

/* How many mappings the process has, to the kernel. */
static inline size_t count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	size_t n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static inline bool reads_can_be_in_flight(void)
{
	const char *io = getenv("FAULTLINE_IO");
	aio_context_t ctx = 0;

	if ((io && !strcmp(io, "sync")) || syscall(SYS_io_setup, 1, &ctx))
		return false;
	return !syscall(SYS_io_destroy, ctx);
}

/* Whether a file, which is there, can be read in huge pages. */
static inline bool huge_pages_are_possible(const char *path)
{
	int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY), direct = open(path, O_RDONLY | O_DIRECT), major = 0,
	    minor = 0;
	char text[100] = "";
	struct utsname u;
	bool never;

	never = fd < 0 || direct < 0 || read(fd, text, sizeof text - 1) <= 0 || strstr(text, "[never]");
	close(fd);
	close(direct);
	return !never && reads_can_be_in_flight() && !uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 8));
}

#endif
