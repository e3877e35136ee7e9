/* SPDX-License-Identifier: Apache-2.0 */
/* What deepbind.c loads. */
#include <sys/mman.h>
#include <unistd.h>

#pragma GCC visibility push(default)

void *deep_map(int fd, size_t len);
ssize_t deep_read(int fd, void *buf, size_t len, off_t at);
ssize_t deep_write(int fd, const void *buf, size_t len, off_t at);
const char *deep_name(void);
const char *deep_call_name(void);

/* By a pointer, which is bound when the library is loaded. */
static ssize_t (*const volatile by_pointer)(int, const void *, size_t, off_t) = pwrite;

void *deep_map(int fd, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

ssize_t deep_read(int fd, void *buf, size_t len, off_t at)
{
	return pread(fd, buf, len, at);
}

ssize_t deep_write(int fd, const void *buf, size_t len, off_t at)
{
	return by_pointer(fd, buf, len, at);
}

const char *deep_name(void)
{
	return "the module's";
}

const char *deep_call_name(void)
{
	return deep_name();
}
