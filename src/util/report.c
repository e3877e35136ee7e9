/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "compiler.h"
#include "lock.h"
#include "own.h"
#include "sys.h"

static struct report *region;
static bool in_file;                                    /* others see it */
static struct mutex slots_lock = MUTEX_INIT(RANK_LEAF); /* who fills a slot */
static char directory[256];

#define SLOTS_PER_PAGE (int)(FL_PAGE_SIZE / sizeof(struct report_file))
_Static_assert(offsetof(struct report, files) % FL_PAGE_SIZE == 0, "a slot is in one page");

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Where others may put files too, one that somebody else can make shorter is not to be mapped. */
static bool is_own(int fd)
{
	struct stat st;

	return !sys_fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	       st.st_uid == (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0) && !(st.st_mode & 0077);
}

static void *map_file(void)
{
	char path[320];
	void *p;
	int fd;

	if (!directory[0])
		return NULL;
	snprintf(path, sizeof path, "%s/%ld" REPORT_SUFFIX, directory, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0));
	fd = sys_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return NULL;
	p = !is_own(fd) || sys_ftruncate(fd, sizeof *region) ? NULL : own_map(sizeof *region, MAP_SHARED, fd);
	sys_close(fd);
	return sys_is_err(p) ? NULL : p;
}

static void *map_private(void)
{
	void *p = own_reserve(sizeof *region);

	return sys_is_err(p) ? NULL : p;
}

/*
 * Where the tmpfs is full, the first touch of a page would be SIGBUS. Such a page becomes memory of our own, which nobody else sees. Linux before
 * 5.14 cannot tell.
 */
static void back(void *page)
{
	int err = in_file ? sys_madvise(page, FL_PAGE_SIZE, MADV_POPULATE_WRITE) : 0;

	if (err && err != -EINVAL)
		sys_mmap(page, FL_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* A process that exec'ed has its file already: the counters go on, and of what it had in memory nothing is left. */
static void clear(void)
{
	back(region);
	memset(region, 0, offsetof(struct report, notes));
	for (int i = 0; i < REPORT_FILES_MAX; i++) {
		struct report_file *f = &region->files[i];

		if (i % SLOTS_PER_PAGE == 0)
			back(f);
		if (!atomic_load(&f->used))
			return;
		atomic_store(&f->mapped_bytes, 0);
		atomic_store(&f->pages, 0);
	}
}

static void read_program_name(char *buf, size_t len)
{
	long n = sys_call(SYS_readlink, (long)"/proc/thread-self/exe", (long)buf, (long)len - 1, 0, 0, 0);

	buf[n > 0 ? n : 0] = 0;
}

static int start(uint64_t budget_bytes)
{
	struct timespec now;

	region = map_file();
	in_file = region;
	if (!region)
		region = map_private();
	if (!region)
		return -ENOMEM;
	clear();
	clock_gettime(CLOCK_REALTIME, &now);
	region->start_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	region->pid = (uint32_t)sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	region->parent = (uint32_t)sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
	region->budget_bytes = budget_bytes;
	read_program_name(region->program, sizeof region->program);
	atomic_store(&region->state, REPORT_RUNNING);
	region->version = REPORT_VERSION;
	region->magic = REPORT_MAGIC;
	return 0;
}

int report_init(const char *dir, uint64_t budget_bytes)
{
	snprintf(directory, sizeof directory, "%s", dir ? dir : "");
	return start(budget_bytes);
}

int report_fork_child(void)
{
	uint64_t budget = region->budget_bytes;

	mutex_init(&slots_lock, RANK_LEAF); /* of a thread that is not here */
	sys_munmap(region, sizeof *region);
	return start(budget);
}

void report_exit(void)
{
	if (region)
		sys_munmap(region, sizeof *region);
	region = NULL;
}

struct report *report_get(void)
{
	return region;
}

static void set_path(struct report_file *f, const char *path)
{
	size_t n = strlen(path), room = sizeof f->path - 1;

	if (n <= room)
		memcpy(f->path, path, n + 1);
	else
		snprintf(f->path, sizeof f->path, "...%s", path + n - (room - 3));
}

static struct report_file *find_or_fill(uint64_t dev, uint64_t ino, const char *path)
{
	struct report_file *f;

	for (int i = 0; i < REPORT_FILES_MAX - 1; i++) {
		f = &region->files[i];
		if (!atomic_load(&f->used)) {
			f->dev = dev;
			f->ino = ino;
			set_path(f, path);
			atomic_store(&f->used, 1);
			if ((i + 1) % SLOTS_PER_PAGE == 0)
				back(f + 1);
			return f;
		}
		if (f->dev == dev && f->ino == ino)
			return f;
	}
	f = &region->files[REPORT_FILES_MAX - 1];
	set_path(f, "(other files)");
	atomic_store(&f->used, 1);
	return f;
}

struct report_file *report_file_get(uint64_t dev, uint64_t ino, const char *path)
{
	struct sigguard g = sigguard_enter();
	struct report_file *f;

	mutex_lock(&slots_lock);
	f = find_or_fill(dev, ino, path);
	mutex_unlock(&slots_lock);
	sigguard_leave(g);
	return f;
}

static void add_note(const char *text)
{
	for (int i = 0; i < REPORT_NOTES_MAX; i++) {
		struct report_note *n = &region->notes[i];

		if (!atomic_load(&n->used)) {
			snprintf(n->text, sizeof n->text, "%s", text);
			n->count = 1;
			atomic_store(&n->used, 1);
			return;
		}
		if (!strcmp(n->text, text)) {
			n->count++;
			return;
		}
	}
	report_add(&region->notes_lost, 1);
}

void report_note(const char *text)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&slots_lock);
	if (region)
		add_note(text);
	mutex_unlock(&slots_lock);
	sigguard_leave(g);
}

void report_used(uint64_t used_bytes, uint64_t peak_bytes)
{
	struct report *r = region;
	uint64_t said = r ? atomic_load_explicit(&r->used_bytes, memory_order_relaxed) : 0;

	if (!r || (used_bytes > said ? used_bytes - said : said - used_bytes) < REPORT_USED_STEP ||
	    atomic_load_explicit(&r->state, memory_order_relaxed) != REPORT_RUNNING)
		return;
	atomic_store_explicit(&r->used_bytes, used_bytes, memory_order_relaxed);
	atomic_store_explicit(&r->peak_bytes, peak_bytes, memory_order_relaxed);
}

void report_raise(_Atomic uint64_t *level, _Atomic uint64_t *peak, uint64_t n)
{
	uint64_t now = atomic_fetch_add_explicit(level, n, memory_order_relaxed) + n;
	uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);

	while (now > seen && !atomic_compare_exchange_weak_explicit(peak, &seen, now, memory_order_relaxed, memory_order_relaxed))
		;
}
