/* SPDX-License-Identifier: Apache-2.0 */
/* open in its forms: O_TRUNC on a mapped file is a truncate of it; the process's own maps show what it has mapped. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "arguments/paths.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "coherent.h"
#include "identity.h"
#include "memory/maps_file.h"
#include "open.h"
#include "stdio/stream.h"
#include "util/sys.h"

struct open_call {
	int dir;
	const char *path;
	int flags;
	mode_t mode;
};

static long raw_open(const void *call)
{
	const struct open_call *o = call;

	return sys_openat(o->dir, o->path, o->flags, (int)o->mode);
}

/* As file_io_start(), of a file that is there. An open that makes the file leaves errno as it was. */
static struct address_space *start(int dir, const char *path, struct inflight *f)
{
	int saved = errno, err;
	struct stat st;

	f->slot = NULL;
	err = REAL(fstatat)(dir, path, &st, 0);
	errno = saved;
	return err ? NULL : file_io_start_at(&st, f);
}

static int open_truncated(struct address_space *as, const struct open_call *o)
{
	pthread_testcancel();
	return (int)coherent_change(as, 0, 0, raw_open, o);
}

static bool truncates(int flags)
{
	return (flags & O_TRUNC) && !(flags & O_PATH);
}

typedef int (*openat_fn)(int dir, const char *path, int flags, ...);

static int open_while_mapped(openat_fn real, const struct open_call *o)
{
	bool more;
	int fd;

	do {
		PATH_HERE(held, o->path);
		struct inflight f = {.slot = NULL};
		struct address_space *as = truncates(o->flags) ? start(o->dir, o->path, &f) : NULL;

		fd = as ? open_truncated(as, o) : real(o->dir, o->path, o->flags, o->mode);
		file_io_finish(as, &f);
		maps_file_opened(fd, o->path);
		more = path_was_cut(o->path, held.n, fd);
	} while (more);
	return fd;
}

static int do_open(openat_fn real, int dir, const char *path, int flags, mode_t mode)
{
	struct open_call o = {.dir = dir, .path = path, .flags = flags, .mode = mode};
	int fd;

	if (!NOTHING_MAPPED || (truncates(flags) && !NOTHING_TO_TELL))
		return identity_opened(open_while_mapped(real, &o));
	fd = identity_opened(real(dir, path, flags, mode));
	maps_file_opened(fd, path);
	return fd;
}

static bool takes_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

#define GET_MODE(mode, flags)                                      \
	do {                                                       \
		va_list ap;                                        \
		va_start(ap, flags);                               \
		mode = takes_mode(flags) ? va_arg(ap, mode_t) : 0; \
		va_end(ap);                                        \
	} while (0)

WRAPPER int open(const char *path, int flags, ...)
{
	mode_t mode;

	GET_MODE(mode, flags);
	return do_open(REAL(openat), AT_FDCWD, path, flags, mode);
}

WRAPPER int open64(const char *path, int flags, ...)
{
	mode_t mode;

	GET_MODE(mode, flags);
	return do_open(REAL(openat64), AT_FDCWD, path, flags, mode);
}

WRAPPER int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;

	GET_MODE(mode, flags);
	return do_open(REAL(openat), dir, path, flags, mode);
}

WRAPPER int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode;

	GET_MODE(mode, flags);
	return do_open(REAL(openat64), dir, path, flags, mode);
}

WRAPPER int creat(const char *path, mode_t mode)
{
	return do_open(REAL(openat), AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

WRAPPER int creat64(const char *path, mode_t mode)
{
	return do_open(REAL(openat64), AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* The checking forms of _FORTIFY_SOURCE: without a mode. libc's own end the program when one is missing. */
WRAPPER int __open_2(const char *path, int flags)
{
	return takes_mode(flags) ? REAL(__open_2)(path, flags) : do_open(REAL(openat), AT_FDCWD, path, flags, 0);
}

WRAPPER int __open64_2(const char *path, int flags)
{
	return takes_mode(flags) ? REAL(__open64_2)(path, flags) : do_open(REAL(openat64), AT_FDCWD, path, flags, 0);
}

WRAPPER int __openat_2(int dir, const char *path, int flags)
{
	return takes_mode(flags) ? REAL(__openat_2)(dir, path, flags) : do_open(REAL(openat), dir, path, flags, 0);
}

WRAPPER int __openat64_2(int dir, const char *path, int flags)
{
	return takes_mode(flags) ? REAL(__openat64_2)(dir, path, flags) : do_open(REAL(openat64), dir, path, flags, 0);
}

/* ---- By what is no plain path: the kernel itself is asked which file that is ---- */

static struct address_space *start_by_look(const struct raw_call *look, struct inflight *f)
{
	long fd = raw_call(look);
	struct stat st;
	bool known;

	f->slot = NULL;
	if (fd < 0)
		return NULL;
	known = !sys_fstat((int)fd, &st);
	sys_close((int)fd); /* opened with O_PATH: no record lock of the program's ends */
	return known ? file_io_start_at(&st, f) : NULL;
}

long open_truncating(const struct raw_call *look, const struct raw_call *call)
{
	struct inflight f;
	struct address_space *as = start_by_look(look, &f);
	long fd = as ? coherent_change(as, 0, 0, raw_call, call) : shim_result(raw_call(call));

	file_io_finish(as, &f);
	return fd;
}

/* The kernel's, as it was at first: what came later stands behind. */
struct open_how {
	uint64_t flags, mode, resolve;
};

static long open_by_how(int dir, const char *path, const struct open_how *how, size_t size)
{
	struct raw_call call = {.nr = NR_OPENAT2, .a = dir, .b = (long)path, .c = (long)how, .d = (long)size};
	struct open_how seen;

	if (NOTHING_TO_TELL || size < sizeof seen || !peek(&seen, how, sizeof seen) || !truncates((int)seen.flags))
		return shim_result(raw_call(&call));
	seen.flags = (seen.flags & (O_NOFOLLOW | O_DIRECTORY)) | O_PATH | O_CLOEXEC;
	seen.mode = 0;
	return open_truncating(&(struct raw_call){.nr = NR_OPENAT2, .a = dir, .b = (long)path, .c = (long)&seen, .d = sizeof seen}, &call);
}

static int opened_by_how(int dir, const char *path, const void *how, size_t size)
{
	int fd = identity_opened((int)open_by_how(dir, path, how, size));

	maps_file_opened(fd, path);
	return fd;
}

/* A struct longer than a page is refused. */
long raw_openat2(int dir, const char *path, const void *how, size_t size)
{
	RETURN_HELD(opened_by_how(dir, path, how, size), STRING(path), READS(how, min_u64(size, FL_PAGE_SIZE)));
}

/* ---- fopen: truncated first, and then opened by libc, which truncates an empty file ---- */

struct prepared {
	size_t held; /* of the path */
	struct inflight f;
};

/* Where it is not mapped it is libc that truncates it. No descriptor is opened, as its end would be that of the program's record locks. */
static void truncate_for(const char *path, const char *mode, struct inflight *f)
{
	struct raw_call call = {.nr = SYS_truncate, .a = (long)path};
	struct address_space *as;

	if (mode[0] != 'w' || strchr(mode, 'x') || !(as = start(AT_FDCWD, path, f)))
		return;
	coherent_change(as, 0, 0, raw_call, &call);
	file_io_put(as);
}

static void prepare(struct prepared *p, const char *path, const char *mode)
{
	int saved = errno;

	*p = (struct prepared){.held = 0};
	if (NOTHING_TO_TELL || !path)
		return;
	p->held = path_hold(path, p);
	truncate_for(path, mode, &p->f);
	errno = saved;
}

/* Whether the call can be made again: it has failed because the path was not there for a moment. */
static bool ended(const struct prepared *p, const char *path, FILE *f)
{
	bool again = !f && path_was_cut(path, p->held, -1);

	file_io_finish(NULL, &p->f);
	if (f) /* it will be closed unseen */
		identity_gone(fileno_unlocked(f));
	if (f && path)
		maps_file_opened(fileno_unlocked(f), path);
	path_release(path, p->held, p);
	return again;
}

typedef FILE *(*fopen_fn)(const char *path, const char *mode);

static FILE *do_fopen(fopen_fn real, const char *path, const char *mode)
{
	struct prepared p;
	FILE *f;

	do {
		prepare(&p, path, mode);
		f = real(path, mode);
	} while (ended(&p, path, f));
	return f;
}

WRAPPER FILE *fopen(const char *path, const char *mode)
{
	return do_fopen(REAL(fopen), path, mode);
}

WRAPPER FILE *fopen64(const char *path, const char *mode)
{
	return do_fopen(REAL(fopen64), path, mode);
}

typedef FILE *(*freopen_fn)(const char *path, const char *mode, FILE *f);

/* Without a path the file that the stream has is opened anew, by the name of its descriptor. */
#define OWN_PATH "/proc/thread-self/fd/"
#define OWN_PATH_ROOM (sizeof OWN_PATH + 10)

static const char *own_path(char to[OWN_PATH_ROOM], FILE *f)
{
	int saved = errno, fd = fileno_unlocked(f);

	errno = saved;
	if (fd < 0)
		return NULL;
	snprintf(to, OWN_PATH_ROOM, OWN_PATH "%d", fd);
	return to;
}

/* The stream is closed, also where nothing can be opened in its place: so it cannot be tried again. */
static FILE *do_freopen(freopen_fn real, const char *path, const char *mode, FILE *f)
{
	char own[OWN_PATH_ROOM];
	struct prepared p;
	FILE *result;

	stream_flush(f);
	identity_gone(fileno_unlocked(f));
	prepare(&p, path ? path : own_path(own, f), mode);
	result = real(path, mode, f);
	ended(&p, path, result);
	return result;
}

WRAPPER FILE *freopen(const char *path, const char *mode, FILE *f)
{
	return do_freopen(REAL(freopen), path, mode, f);
}

WRAPPER FILE *freopen64(const char *path, const char *mode, FILE *f)
{
	return do_freopen(REAL(freopen64), path, mode, f);
}

/* ---- Descriptors that a stream closes ---- */

WRAPPER FILE *fdopen(int fd, const char *mode)
{
	identity_gone(fd);
	return REAL(fdopen)(fd, mode);
}

WRAPPER DIR *fdopendir(int fd)
{
	identity_gone(fd);
	return REAL(fdopendir)(fd);
}
