/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's calls: what every other implementation is compared with. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

int kernel_start(const struct backend_options *o)
{
	(void)o;
	return 0;
}

int kernel_stop(void)
{
	return 0;
}

void *kernel_mremap(void *old, size_t old_len, size_t new_len, int flags, void *addr)
{
	return mremap(old, old_len, new_len, flags, addr);
}

int kernel_mlock2(const void *addr, size_t len, unsigned flags)
{
	return flags ? mlock2(addr, len, flags) : mlock(addr, len);
}

int kernel_mlockall(int flags)
{
	return flags ? mlockall(flags) : munlockall();
}

int kernel_mseal(void *addr, size_t len, unsigned long flags)
{
	return (int)syscall(SYS_mseal, addr, len, flags);
}

int kernel_open_maps(void)
{
	return open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
}

void plain_store(volatile uint64_t *p, uint64_t value)
{
	*p = value;
}

const struct backend kernel_backend = {.name = "kernel", KERNEL_CALLS, .mprotect = mprotect, .store = plain_store};
/* They are not the kernel's where the preload library is in front of them: see under.c. */
const struct backend shim_backend = {.name = "shim", KERNEL_CALLS, .mprotect = mprotect, .store = plain_store};
