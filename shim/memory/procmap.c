/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROCMAP_QUERY (Linux 6.11): one mapping, asked for by an address, of the file with the process's own maps. The mapping is found in
 * that file's text of now, and what is the kernel's is then asked of the kernel. Of a mapping of ours there is no build ID: code is the kernel's.
 */
#include "procmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/peek.h"
#include "base/real.h"
#include "maps_file.h"
#include "memory.h"
#include "proc_lines.h"
#include "util/sys.h"

#define READABLE 0x01U
#define WRITABLE 0x02U
#define EXECUTABLE 0x04U
#define SHARED 0x08U
#define PERMISSIONS (READABLE | WRITABLE | EXECUTABLE | SHARED)
#define COVERING_OR_NEXT 0x10U
#define FILE_BACKED 0x20U

struct entry {
	uint64_t start, end, offset, inode;
	unsigned permissions, major, minor;
	const char *name; /* "" for none */
};

static unsigned permissions_of(const char *text)
{
	return (text[0] == 'r' ? READABLE : 0) | (text[1] == 'w' ? WRITABLE : 0) | (text[2] == 'x' ? EXECUTABLE : 0) |
	       (text[3] == 's' ? SHARED : 0);
}

/* A line of the text: addresses, permissions, offset, device, inode, name. */
static void read_entry(struct entry *e, char *line)
{
	char *at;

	e->start = strtoull(line, &at, 16);
	e->end = strtoull(at + 1, &at, 16);
	e->permissions = permissions_of(at + 1);
	e->offset = strtoull(at + 6, &at, 16);
	e->major = (unsigned)strtoul(at, &at, 16);
	e->minor = (unsigned)strtoul(at + 1, &at, 16);
	e->inode = strtoull(at, &at, 10);
	e->name = at + strspn(at, " ");
}

static bool fits(const struct entry *e, const struct procmap_query *q)
{
	unsigned wanted = (unsigned)q->query_flags & PERMISSIONS;

	if ((q->query_flags & FILE_BACKED) && !e->inode)
		return false;
	return (e->permissions & wanted) == wanted && ((q->query_flags & COVERING_OR_NEXT) || e->start <= q->query_addr);
}

/* The one at the address or, if that is asked for, the next that is as it is asked for. */
static bool find(struct proc_lines *text, const struct procmap_query *q, struct entry *e)
{
	char *line;

	while ((line = proc_lines_next(text))) {
		read_entry(e, line);
		if (e->end <= q->query_addr)
			continue;
		if (fits(e, q))
			return true;
		if (!(q->query_flags & COVERING_OR_NEXT))
			return false;
	}
	return false;
}

static int put_name(struct procmap_query *q, const char *name)
{
	size_t size = *name ? strlen(name) + 1 : 0;

	if (size > q->vma_name_size)
		return -ENAMETOOLONG;
	q->vma_name_size = (uint32_t)size;
	return size ? file_io_copy_out((void *)q->vma_name_addr, name, size) : 0;
}

static int tell(struct procmap_query *q, const struct entry *e)
{
	q->vma_start = e->start;
	q->vma_end = e->end;
	q->vma_flags = e->permissions;
	q->vma_page_size = FL_PAGE_SIZE;
	q->vma_offset = e->inode ? e->offset : 0;
	q->inode = e->inode;
	q->dev_major = e->major;
	q->dev_minor = e->minor;
	q->build_id_size = 0;
	return q->vma_name_size ? put_name(q, e->name) : 0;
}

static int ask_kernel(struct procmap_query *q)
{
	int fd = sys_openat(AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0), err;

	if (fd < 0)
		return fd;
	err = (int)sys_call(SYS_ioctl, fd, (long)PROCMAP_QUERY, (long)q, 0, 0, 0);
	sys_close(fd);
	return err;
}

/* ENOTTY before Linux 6.11, for all mappings. */
static int ask_about(const struct entry *e, struct procmap_query *q)
{
	struct procmap_query whose = {.size = sizeof whose, .query_addr = e->start};
	int err = ask_kernel(&whose);

	if (err == -ENOTTY)
		return err;
	if (is_mapped_by_us((void *)e->start, e->end - e->start))
		return tell(q, e);
	q->query_addr = max_u64(q->query_addr, e->start);
	return ask_kernel(q);
}

static int query(int fd, struct procmap_query *q)
{
	struct proc_lines text;
	struct entry e;
	char link[40];
	int err;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	err = proc_lines_open(&text, link);
	if (err)
		return err;
	err = find(&text, q, &e) ? ask_about(&e, q) : -ENOENT;
	proc_lines_close(&text);
	return err;
}

/* What the kernel finds wrong with a query before it looks at mappings. */
static bool is_sound(const struct procmap_query *q)
{
	return !(q->query_flags & ~(uint64_t)(PERMISSIONS | COVERING_OR_NEXT | FILE_BACKED)) && !q->vma_name_size == !q->vma_name_addr &&
	       !q->build_id_size == !q->build_id_addr;
}

bool procmap_query(int fd, void *arg, int *result)
{
	struct procmap_query q;
	int err;

	if (!peek(&q, arg, sizeof q) || q.size != sizeof q || !maps_file_rewound(fd) || !maps_file_is_maps(fd))
		return false;
	err = is_sound(&q) ? query(fd, &q) : -EINVAL;
	if (!err)
		err = file_io_copy_out(arg, &q, sizeof q);
	*result = (int)shim_result(err);
	return true;
}
