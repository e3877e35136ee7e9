/* SPDX-License-Identifier: Apache-2.0 */
#include "page_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "undo.h"
#include "util.h"

/* A process that has ended, or a batch of pages on its way between lists, can keep a few. */
#define STAYS_MAX 64
#define WINDOW (256 * MIB)

/* ---- What is there ---- */

static int64_t window_pages(int fd, uint64_t at, uint64_t bytes)
{
	static unsigned char there[WINDOW / PAGE];
	size_t pages = (bytes + PAGE - 1) / PAGE;
	void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)at);
	int64_t n = 0;

	if (map == MAP_FAILED)
		return -errno;
	if (mincore(map, bytes, there))
		n = -errno;
	for (size_t i = 0; n >= 0 && i < pages; i++)
		n += there[i] & 1;
	munmap(map, bytes);
	return n;
}

int64_t page_cache_pages(int fd, uint64_t bytes)
{
	int64_t sum = 0;

	for (uint64_t at = 0; at < bytes; at += WINDOW) {
		int64_t n = window_pages(fd, at, bytes - at < WINDOW ? bytes - at : WINDOW);

		if (n < 0)
			return n;
		sum += n;
	}
	return sum;
}

/* ---- Dropping, filling ---- */

/* Everybody's pages go, so this is for what posix_fadvise() leaves behind. */
static void drop_all(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0)
		fprintf(stderr, "%s: /proc/sys/vm/drop_caches: %s\n", program_invocation_short_name, strerror(errno));
	close(fd);
}

static int drop(int fd, bool writes)
{
	struct stat st;

	if (writes && fsync(fd))
		return -errno;
	errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (errno)
		return -errno;
	if (writes && !fstat(fd, &st) && page_cache_pages(fd, (uint64_t)st.st_size) > STAYS_MAX)
		drop_all();
	return 0;
}

int page_cache_drop(const char *path, bool writes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	error = drop(fd, writes);
	close(fd);
	return error;
}

int page_cache_fill(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	char *buf = malloc(MIB);

	if (fd < 0 || !buf)
		error = fd < 0 ? -errno : -ENOMEM;
	for (uint64_t at = 0; at < bytes && !error; at += MIB)
		if (pread(fd, buf, MIB, (off_t)at) < 0)
			error = -errno;
	if (fd >= 0)
		close(fd);
	free(buf);
	return error;
}

/* ---- Read-ahead ---- */

/* A partition has no setting of its own; its disk is the folder above. */
static bool find_setting(const char *file, char *path, size_t size)
{
	static const char *const places[] = {"/sys/class/bdi/%u:%u/read_ahead_kb", "/sys/dev/block/%u:%u/queue/read_ahead_kb",
					     "/sys/dev/block/%u:%u/../queue/read_ahead_kb"};
	struct stat st;

	if (stat(file, &st))
		return false;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, size, places[i], major(st.st_dev), minor(st.st_dev));
		if (!access(path, R_OK))
			return true;
	}
	errno = ENOENT;
	return false;
}

static bool read_setting(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	bool done = f && fgets(text, (int)size, f);

	if (f)
		fclose(f);
	return done;
}

int read_ahead_set(struct read_ahead *r, const char *file, unsigned kib)
{
	char text[32];
	int error;

	if (!find_setting(file, r->path, sizeof r->path) || !read_setting(r->path, r->before, sizeof r->before))
		return -errno;
	undo_setting(r->path, r->before);
	snprintf(text, sizeof text, "%u", kib);
	error = write_text(r->path, text);
	if (error)
		undo_setting(NULL, NULL);
	return error;
}

void read_ahead_restore(struct read_ahead *r)
{
	if (write_text(r->path, r->before))
		fprintf(stderr, "%s: %s: could not be put back to %s", program_invocation_short_name, r->path, r->before);
	undo_setting(NULL, NULL);
}

unsigned read_ahead_of(const char *file)
{
	char path[PATH_MAX], text[64];

	if (!find_setting(file, path, sizeof path) || !read_setting(path, text, sizeof text))
		return 0;
	return (unsigned)strtoul(text, NULL, 10);
}
