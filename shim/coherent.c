/* SPDX-License-Identifier: Apache-2.0 */
#include "coherent.h"

#include <fcntl.h>
#include <pthread.h>

#include "real.h"
#include "revalidate.h"
#include "util/sys.h"

int coherent_read(struct address_space *as, int fd, off_t off, size_t len)
{
	if (off == AT_POSITION)
		off = sys_lseek(fd, 0, SEEK_CUR);
	return off < 0 ? 0 : (int)shim_result(file_io_sync(as, (uint64_t)off, len));
}

bool fd_appends(int fd)
{
	return sys_fcntl(fd, F_GETFL, 0) & O_APPEND;
}

/* Where n bytes went that were just written. After a write at the file position that is where they end, appended or not. */
static uint64_t written_at(int fd, off_t off, bool append, long n)
{
	struct stat st;

	if (off == AT_POSITION)
		return (uint64_t)(sys_lseek(fd, 0, SEEK_CUR) - n);
	if (append && !sys_fstat(fd, &st))
		return (uint64_t)(st.st_size - n);
	return (uint64_t)off;
}

ssize_t coherent_write(struct address_space *as, int fd, off_t off, bool append, raw_fn fn, const void *call)
{
	struct file_change c;
	long n;

	pthread_testcancel();
	file_change_begin(&c, as);
	n = fn(call);
	file_change_end(&c, n > 0 ? written_at(fd, off, append, n) : 0, n > 0 ? (uint64_t)n : 0);
	revalidate_remember(fd);
	return shim_result(n);
}

long coherent_change(struct address_space *as, off_t off, size_t len, raw_fn fn, const void *call)
{
	struct file_change c;
	long n;

	file_change_begin(&c, as);
	n = fn(call);
	file_change_end(&c, (uint64_t)off, n < 0 ? 0 : len);
	revalidate_remember(file_store_fd(as->store));
	return shim_result(n);
}
