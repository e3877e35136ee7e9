/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's calls: what every other implementation is compared with. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"

static int start(const struct backend_options *o)
{
	(void)o;
	return 0;
}

static int stop(void)
{
	return 0;
}

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *addr)
{
	return mremap(old, old_len, new_len, flags, addr);
}

int kernel_open_maps(void)
{
	return open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
}

void plain_store(volatile uint64_t *p, uint64_t value)
{
	*p = value;
}

const struct backend kernel_backend = {
	.name = "kernel",
	.start = start,
	.stop = stop,
	.mmap = mmap,
	.munmap = munmap,
	.mprotect = mprotect,
	.mremap = remap,
	.madvise = madvise,
	.msync = msync,
	.mincore = mincore,
	.pread = pread,
	.pwrite = pwrite,
	.ftruncate = ftruncate,
	.send = write,
	.receive = read,
	.open_maps = kernel_open_maps,
	.store = plain_store,
};
