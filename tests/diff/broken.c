/* SPDX-License-Identifier: Apache-2.0 */
/* Implementations with a known defect: the kernel's calls with one thing wrong. A tester that passes them is broken. */
#include <errno.h>
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

/* One store in 64 words of a page does not arrive; the access itself is made. */
static void losing_store(volatile uint64_t *p, uint64_t value)
{
	*p = (uintptr_t)p / 8 % 64 == 17 ? *p : value;
}

static int wrong_mprotect(void *addr, size_t len, int prot)
{
	int n = mprotect(addr, len, prot);

	if (n && errno == ENOMEM)
		errno = EINVAL;
	return n;
}

#define KERNEL_CALLS                                                                                                       \
	.start = start, .stop = stop, .mmap = mmap, .munmap = munmap, .mremap = remap, .madvise = madvise, .msync = msync, \
	.mincore = mincore, .pread = pread, .pwrite = pwrite, .ftruncate = ftruncate, .send = write, .receive = read,      \
	.open_maps = kernel_open_maps

const struct backend lost_store_backend = {.name = "lost-store", KERNEL_CALLS, .mprotect = mprotect, .store = losing_store};
const struct backend wrong_errno_backend = {.name = "wrong-errno", KERNEL_CALLS, .mprotect = wrong_mprotect, .store = plain_store};
