/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's text and the engine's are merged by address: entries of the kernel's that lie in mappings of ours give way to
 * the engine's. In status the figure for locked memory is the sum of both. Handlers of crashes open these files: nothing here allocates or needs much stack; the work space is a
 * mapping, which is left out of the text.
 */
#include "maps_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "host/channel.h"
#include "memory.h"
#include "mm/maps.h"
#include "proc_lines.h"
#include "util/compiler.h"
#include "util/sys.h"

/* Where entries come from, and the line of the next one. */
struct source {
	struct proc_lines lines;
	char *line; /* NULL at the end */
	uint64_t start, end;
};

struct work {
	struct source kernel, ours;
	int out, err;
	size_t len;
	char buf[4096];
};

/* ---- Which file ---- */

typedef int (*text_fn)(struct mm *mm, int fd);

static const struct kind {
	const char *name;
	text_fn text; /* writes our part; NULL: status */
} kinds[] = {{"/maps", mm_maps}, {"/smaps", mm_smaps}, {"/status", NULL}};

/* NULL unless the file is of this process and of a known kind. */
static const struct kind *kind_of(int fd)
{
	char link[40], path[64], *rest;
	struct statfs fs;
	long n;

	if (sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0) || fs.f_type != PROC_SUPER_MAGIC)
		return NULL;
	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	n = sys_call(SYS_readlink, (long)link, (long)path, sizeof path - 1, 0, 0, 0);
	path[n > 0 ? n : 0] = 0;
	if (strncmp(path, "/proc/", 6) || strtol(path + 6, &rest, 10) != sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0))
		return NULL;
	if (!strncmp(rest, "/task/", 6))
		strtol(rest + 6, &rest, 10);
	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++)
		if (!strcmp(rest, k->name))
			return k;
	return NULL;
}

/* ---- Entries: a line with a range, and in smaps lines that begin with a capital letter ---- */

static bool is_header(const char *line)
{
	return line && (line[0] < 'A' || line[0] > 'Z');
}

static void next_line(struct source *s)
{
	char *rest;

	s->line = proc_lines_next(&s->lines);
	if (!is_header(s->line))
		return;
	s->start = strtoull(s->line, &rest, 16);
	s->end = strtoull(rest + (*rest == '-'), NULL, 16);
}

static void flush(struct work *w)
{
	if (w->len && sys_write(w->out, w->buf, w->len) != (ssize_t)w->len)
		w->err = -EIO;
	w->len = 0;
}

static void put(struct work *w, const char *s, size_t n)
{
	while (n) {
		size_t part = min_u64(n, sizeof w->buf - w->len);

		memcpy(w->buf + w->len, s, part);
		w->len += part;
		s += part;
		n -= part;
		if (w->len == sizeof w->buf)
			flush(w);
	}
}

static void entry(struct work *w, struct source *s, bool wanted)
{
	do {
		if (wanted) {
			put(w, s->line, strlen(s->line));
			put(w, "\n", 1);
		}
		next_line(s);
	} while (s->line && !is_header(s->line));
}

static bool is_hidden(const struct work *w)
{
	const struct source *k = &w->kernel;

	return is_mapped_by_us((void *)k->start, k->end - k->start) || k->start == (uintptr_t)w || channel_is_at(k->start);
}

static void merge(struct work *w)
{
	next_line(&w->kernel);
	next_line(&w->ours);
	while (w->kernel.line || w->ours.line) {
		if (!w->kernel.line || (w->ours.line && w->ours.start < w->kernel.end))
			entry(w, &w->ours, true);
		else
			entry(w, &w->kernel, !is_hidden(w));
	}
	flush(w);
}

static void add_locked(struct work *w, uint64_t locked)
{
	const char label[] = "VmLck:";
	char *line, sum[40];

	while ((line = proc_lines_next(&w->kernel.lines))) {
		if (!strncmp(line, label, sizeof label - 1)) {
			snprintf(sum, sizeof sum, "%s\t%8lu kB", label, strtoul(line + sizeof label - 1, NULL, 10) + (locked >> 10));
			line = sum;
		}
		put(w, line, strlen(line));
		put(w, "\n", 1);
	}
	flush(w);
}

/* ---- The file ---- */

static struct work *begin_work(int out, int fd)
{
	struct work *w =
		sys_mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* shared: it merges with nothing */

	if (!sys_is_err(w)) {
		proc_lines_begin(&w->kernel.lines, fd);
		w->out = out;
	}
	return w;
}

static int end_work(struct work *w)
{
	int err = w->err;

	sys_munmap(w, sizeof *w);
	return err;
}

/* A file in memory with our part of the text, at its start; or -errno. */
static int our_text(text_fn text)
{
	int fd = sys_memfd_create("maps", MFD_CLOEXEC), err = fd < 0 ? fd : text(engine_space(), fd);

	if (!err && sys_lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	if (fd >= 0)
		sys_close(fd);
	return err ? err : -EIO;
}

static int merge_into(int out, int fd, text_fn text)
{
	int ours = our_text(text), err;
	struct work *w;

	if (ours < 0)
		return ours;
	w = begin_work(out, fd);
	if (!sys_is_err(w)) {
		proc_lines_begin(&w->ours.lines, ours);
		merge(w);
	}
	err = sys_is_err(w) ? sys_err(w) : end_work(w);
	sys_close(ours);
	return err;
}

static uint64_t locked_here(void)
{
	struct sigguard g = sigguard_enter();
	uint64_t locked = mm_locked_here(engine_space());

	sigguard_leave(g);
	return locked;
}

static int status_into(int out, int fd)
{
	struct work *w = begin_work(out, fd);

	if (sys_is_err(w))
		return sys_err(w);
	add_locked(w, locked_here());
	return end_work(w);
}

static int text_into(int out, int fd, const struct kind *kind)
{
	return kind->text ? merge_into(out, fd, kind->text) : status_into(out, fd);
}

/* The descriptor for reading that the program gets, in the place of the one it would have had. */
static void put_in_place(int fd, int text)
{
	int flags = sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC ? O_CLOEXEC : 0, again;
	char link[40];

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", text);
	again = sys_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
	if (again < 0)
		return;
	sys_call(SYS_dup3, again, fd, flags, 0, 0, 0);
	sys_close(again);
}

/* ---- The text of an earlier time ---- */

#define NAME "faultline: %s of %ld" /* by which it is known again; to the child of a fork it stays what it was */
#define NAME_SIZE 64

_Atomic bool maps_file_any;

static void text_name(char *name, const struct kind *kind)
{
	snprintf(name, NAME_SIZE, NAME, kind->name + 1, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0));
}

/* The kind of file whose text fd has, or NULL. */
static const struct kind *kept_text(int fd)
{
	char link[40], path[NAME_SIZE + 32], name[NAME_SIZE];
	long n;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	n = sys_call(SYS_readlink, (long)link, (long)path, sizeof path - 1, 0, 0, 0);
	path[n > 0 ? n : 0] = 0;
	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
		text_name(name, k);
		if (!strncmp(path, "/memfd:", 7) && !strncmp(path + 7, name, strlen(name)))
			return k;
	}
	return NULL;
}

bool maps_file_is_maps(int fd)
{
	const struct kind *kind = kept_text(fd);

	return kind && kind->text == mm_maps;
}

static void write_again(int fd, const struct kind *kind)
{
	char link[40], path[40];
	int out, kernel;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	snprintf(path, sizeof path, "/proc/thread-self%s", kind->name);
	out = sys_openat(AT_FDCWD, link, O_WRONLY | O_CLOEXEC, 0);
	kernel = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (out >= 0 && kernel >= 0 && !sys_call(SYS_ftruncate, out, 0, 0, 0, 0, 0))
		text_into(out, kernel, kind);
	if (out >= 0)
		sys_close(out);
	if (kernel >= 0)
		sys_close(kernel);
}

bool maps_file_renew(int fd)
{
	int saved = errno;
	struct statfs fs;
	const struct kind *kind;
	bool is = false;

	if (sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0))
		return false;
	if (fs.f_type == PROC_SUPER_MAGIC && kind_of(fd)) {
		sys_lseek(fd, 0, SEEK_SET);
		maps_file_replace(fd);
		is = true;
	}
	if (fs.f_type == TMPFS_MAGIC && (kind = kept_text(fd))) {
		write_again(fd, kind);
		is = true;
	}
	errno = saved;
	return is;
}

/* ---- The file ---- */

void maps_file_replace(int fd)
{
	const struct kind *kind;
	char name[NAME_SIZE];
	int saved = errno, out;

	if ((sys_fcntl(fd, F_GETFL, 0) & (O_ACCMODE | O_PATH)) != O_RDONLY || !(kind = kind_of(fd)) || !engine_space())
		return;
	if (!kind->text && !locked_here()) /* the kernel's is right */
		return;
	text_name(name, kind);
	out = sys_memfd_create(name, MFD_CLOEXEC);
	if (out >= 0) {
		if (!text_into(out, fd, kind))
			put_in_place(fd, out);
		else
			sys_lseek(fd, 0, SEEK_SET);
		sys_close(out);
	}
	errno = saved;
}
