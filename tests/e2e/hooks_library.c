/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on mappings as tcmalloc has them: each is made by its number. What hooks.c is linked with. */
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC visibility push(default)

int hooked; /* how many came here */

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	hooked++;
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}

int munmap(void *addr, size_t len)
{
	hooked++;
	return (int)syscall(SYS_munmap, addr, len);
}

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	va_list ap;
	void *to;

	va_start(ap, flags);
	to = va_arg(ap, void *);
	va_end(ap);
	hooked++;
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, to);
}
