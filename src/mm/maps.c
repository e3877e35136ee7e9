/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps and /proc/PID/smaps of a space. Each mapping is looked at under mmap_lock, and written with no lock held:
 * the descriptor may be a pipe. So each line is right for a moment, and the next begins where it ended, as on Linux.
 *
 * What is one mapping to the kernel may be several VMAs here, which are shown as one (shown_as_one).
 */
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "soft.h"
#include "util/compiler.h"
#include "util/sys.h"

#define NAME_COLUMN 73 /* or a blank behind the inode, if that is further right */
#define SHMEM_DEV 1    /* 00:01, where the kernel has its shared anonymous memory */

struct area {
	uint64_t start, end, offset;
	int prot;
	unsigned flags;
	enum ra_advice advice;
	struct file_id file;
	char path[4096]; /* "" for none */
};

/* ---- Output ---- */

struct out {
	int fd, err;
	size_t len;
	char buf[4096];
};

static void flush(struct out *o)
{
	size_t done = 0;

	while (done < o->len && !o->err) {
		ssize_t n = sys_write(o->fd, o->buf + done, o->len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (n != -EINTR)
			o->err = (int)n;
	}
	o->len = 0;
}

static void put_char(struct out *o, char c)
{
	if (o->len == sizeof o->buf)
		flush(o);
	o->buf[o->len++] = c;
}

static void put(struct out *o, const char *s)
{
	for (; *s; s++)
		put_char(o, *s);
}

/* A path must stay on its line. */
static void put_path(struct out *o, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			put(o, "\\012");
		else
			put_char(o, *s);
	}
}

static void put_header(struct out *o, const struct area *a)
{
	char line[160];
	int n = snprintf(line, sizeof line, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", a->start, a->end, a->prot & PROT_READ ? 'r' : '-',
			 a->prot & PROT_WRITE ? 'w' : '-', a->prot & PROT_EXEC ? 'x' : '-', a->flags & VM_SHARED ? 's' : 'p', a->offset,
			 major(a->file.dev), minor(a->file.dev), a->file.ino);

	put(o, line);
	if (a->path[0]) {
		do
			put_char(o, ' ');
		while (++n < NAME_COLUMN);
		put_path(o, a->path);
	}
	put_char(o, '\n');
}

/* ---- smaps ---- */

/* VmFlags in the kernel's order. What has no condition is shown when the kernel says so of a mapping of its own. */
struct vm_flag {
	char name[3];
	int prot;              /* has this protection; or */
	enum ra_advice advice; /* this advice; or */
	unsigned all, none;    /* all of these flags, and none of those */
};

#define VM_MAYREAD 0x80000000u /* always */

static const struct vm_flag vm_flags[] = {
	{.name = "rd", .prot = PROT_READ},
	{.name = "wr", .prot = PROT_WRITE},
	{.name = "ex", .prot = PROT_EXEC},
	{.name = "sh", .all = VM_SHARED | VM_MAYWRITE}, /* what cannot be written need not be shared */
	{.name = "mr", .all = VM_MAYREAD},
	{.name = "mw", .all = VM_MAYWRITE},
	{.name = "me", .all = VM_MAYEXEC},
	{.name = "ms", .all = VM_SHARED},
	{.name = "gd", .all = VM_GROWSDOWN},
	{.name = "pf"},
	{.name = "gu", .all = VM_MAYBE_GUARD},
	{.name = "lo", .all = VM_LOCKED},
	{.name = "io"},
	{.name = "sr", .advice = RA_SEQUENTIAL},
	{.name = "rr", .advice = RA_RANDOM},
	{.name = "dc", .all = VM_DONTFORK},
	{.name = "de"},
	{.name = "lf", .all = VM_LOCKONFAULT},
	{.name = "ac", .all = VM_ACCOUNT, .none = VM_SHARED}, /* shared memory is accounted by its object */
	{.name = "nr", .all = VM_NORESERVE},
	{.name = "ht", .all = VM_HUGETLB},
	{.name = "sf"},
	{.name = "wf", .all = VM_WIPEONFORK},
	{.name = "dd", .all = VM_DONTDUMP},
	{.name = "sd"},
	{.name = "mm"},
	{.name = "hg", .all = VM_HUGEPAGE},
	{.name = "nh", .all = VM_NOHUGEPAGE},
	{.name = "mg", .all = VM_MERGEABLE},
	{.name = "dp", .all = VM_DROPPABLE},
	{.name = "sl", .all = VM_SEALED},
};

static bool has_flag(const struct area *a, const struct vm_flag *f)
{
	if (f->prot)
		return a->prot & f->prot;
	if (f->advice)
		return a->advice == f->advice;
	return f->all && (a->flags & f->all) == f->all && !(a->flags & f->none);
}

/* `list`: names, each with a blank before it. */
static bool is_listed(const struct vm_flag *f, const char *list)
{
	for (; list[0] && list[1] && list[2]; list++)
		if (list[0] == ' ' && list[1] == f->name[0] && list[2] == f->name[1])
			return true;
	return false;
}

static void put_figures(struct out *o, const struct area *a, const struct smaps *s)
{
	char line[64];

	for (int i = 0; i < SMAPS_FIELDS; i++) {
		snprintf(line, sizeof line, "%-16s%8lu kB\n", smaps_names[i], s->sum[i] >> PSS_SHIFT >> 10);
		put(o, line);
	}
	snprintf(line, sizeof line, "THPeligible:    %8lu\nVmFlags: ", s->thp_eligible);
	put(o, line);
	for (size_t i = 0; i < ARRAY_SIZE(vm_flags); i++) {
		if (!has_flag(a, &vm_flags[i]) && !is_listed(&vm_flags[i], s->vm_flags))
			continue;
		put(o, vm_flags[i].name);
		put_char(o, ' ');
	}
	put_char(o, '\n');
}

/* ---- What is mapped ---- */

static void name_dev_zero(struct area *a)
{
	int fd = sys_openat(AT_FDCWD, "/dev/zero", O_PATH | O_CLOEXEC, 0);
	struct stat st = {0};

	if (fd >= 0) {
		sys_fstat(fd, &st);
		sys_close(fd);
	}
	a->file = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
	strcpy(a->path, "/dev/zero");
}

static void name_area(struct area *a, const struct vma *v)
{
	const struct address_space *as = v->as;

	if (v->flags & VM_DEV_ZERO) {
		name_dev_zero(a);
		return;
	}
	a->file = as->file;
	a->path[0] = 0;
	if (as->label)
		a->file.dev = 0;
	if (as->scratch)
		a->file.dev = SHMEM_DEV;
	if ((v->flags & VM_HUGETLB) && (as->zero || as->scratch))
		strcpy(a->path, "/anon_hugepage (deleted)");
	else if (as->scratch)
		strcpy(a->path, "/dev/zero (deleted)");
	else if (!as->zero)
		address_space_path(v->as, a->path, sizeof a->path);
}

/* `at` may lie inside of v, when it grew downwards since the last line: addresses never go back. */
static void describe(struct area *a, const struct vma *v, uint64_t at)
{
	a->start = max_u64(at, v->start);
	a->offset = vma_is_anonymous(v) && !(v->flags & VM_DEV_ZERO) ? 0 : vma_index_of(v, a->start) << FL_PAGE_SHIFT;
	a->prot = v->prot;
	a->flags = v->flags | VM_MAYREAD;
	a->advice = v->advice;
	name_area(a, v);
}

static bool next_area(struct mm *mm, uint64_t at, struct area *a, struct smaps *s)
{
	struct sigguard g = sigguard_enter();
	struct vma *v, *next;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, at);
	if (v)
		describe(a, v, at);
	for (next = v; next && (next == v || vma_continues(v, next)); next = vma_find(&mm->index, v->end)) {
		v = next;
		a->end = v->end;
		if (s)
			smaps_count(s, v);
	}
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return v;
}

/* ---- The calls ---- */

/* Also when there is nothing to write. */
static int check_writable(int fd)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	return flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY ? -EBADF : 0;
}

int mm_maps(struct mm *mm, int fd)
{
	struct out o = {.fd = fd, .err = check_writable(fd)};
	struct area a;

	for (uint64_t at = 0; !o.err && next_area(mm, at, &a, NULL); at = a.end)
		put_header(&o, &a);
	flush(&o);
	return o.err;
}

int mm_smaps(struct mm *mm, int fd)
{
	struct out o = {.fd = fd, .err = check_writable(fd)};
	struct kernel_smaps k = {.fd = -1};
	struct smaps_window hosted = {0};
	struct area a;

	for (uint64_t at = 0; !o.err; at = a.end) {
		struct smaps s = {.hosted = &hosted};

		if (!next_area(mm, at, &a, &s))
			break;
		if (a.flags & VM_HANDED)
			kernel_smaps_add(&k, a.start, a.end, &s);
		s.sum[SMAPS_SIZE] = (a.end - a.start) << PSS_SHIFT;
		put_header(&o, &a);
		put_figures(&o, &a, &s);
	}
	flush(&o);
	kernel_smaps_close(&k);
	return o.err;
}

static void put_entries(struct out *o, struct mm *mm, const struct area *a)
{
	char line[SOFT_LINE];

	for (uint64_t at = a->start; at < a->end && !o->err; at += FL_PAGE_SIZE) {
		struct sigguard g = sigguard_enter();
		bool more = soft_next_entry(mm, &at, a->end);

		if (more)
			soft_entry_line(mm, at, line, sizeof line);
		sigguard_leave(g);
		if (!more)
			return;
		put(o, line);
	}
}

int mm_dump(struct mm *mm, int fd)
{
	struct out o = {.fd = fd, .err = check_writable(fd)};
	struct area a;

	for (uint64_t at = 0; !o.err && next_area(mm, at, &a, NULL); at = a.end) {
		put_header(&o, &a);
		put_entries(&o, mm, &a);
	}
	flush(&o);
	return o.err;
}
