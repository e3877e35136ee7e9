/* SPDX-License-Identifier: Apache-2.0 */
/* syscall(2): calls by number that concern mappings are made by the wrappers. Instructions of the program's own are not seen. */
#include <stdarg.h>
#include <sys/syscall.h>

#include "process.h"
#include "real.h"
#include "util/sys.h"

struct args {
	long v[6];
};

static bool memory_call(long nr, const struct args *a, long *out)
{
	void *p = (void *)a->v[0];
	size_t n = (size_t)a->v[1];

	switch (nr) {
	case SYS_mmap:
		*out = (long)mmap(p, n, (int)a->v[2], (int)a->v[3], (int)a->v[4], a->v[5]);
		return true;
	case SYS_munmap:
		*out = munmap(p, n);
		return true;
	case SYS_mprotect:
		*out = mprotect(p, n, (int)a->v[2]);
		return true;
	case SYS_mremap:
		*out = (long)mremap(p, n, (size_t)a->v[2], (int)a->v[3], a->v[4]);
		return true;
	case SYS_msync:
		*out = msync(p, n, (int)a->v[2]);
		return true;
	case SYS_madvise:
		*out = madvise(p, n, (int)a->v[2]);
		return true;
	case SYS_mincore:
		*out = mincore(p, n, (unsigned char *)a->v[2]);
		return true;
	default:
		return false;
	}
}

static bool file_call(long nr, const struct args *a, long *out)
{
	int fd = (int)a->v[0];
	void *p = (void *)a->v[1];
	size_t n = (size_t)a->v[2];

	switch (nr) {
	case SYS_read:
		*out = read(fd, p, n);
		return true;
	case SYS_write:
		*out = write(fd, p, n);
		return true;
	case SYS_pread64:
		*out = pread(fd, p, n, a->v[3]);
		return true;
	case SYS_pwrite64:
		*out = pwrite(fd, p, n, a->v[3]);
		return true;
	case SYS_ftruncate:
		*out = ftruncate(fd, a->v[1]);
		return true;
	case SYS_close:
		*out = close(fd);
		return true;
	case SYS_getrandom:
		*out = getrandom((void *)a->v[0], (size_t)a->v[1], (unsigned)a->v[2]);
		return true;
	default:
		return false;
	}
}

WRAPPER long syscall(long nr, ...)
{
	struct args a;
	va_list ap;
	long out;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a.v[i] = va_arg(ap, long);
	va_end(ap);
	if (memory_call(nr, &a, &out) || file_call(nr, &a, &out))
		return out;
	if (nr == SYS_exit_group)
		process_ends();
	return REAL(syscall)(nr, a.v[0], a.v[1], a.v[2], a.v[3], a.v[4], a.v[5]);
}
