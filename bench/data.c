/* SPDX-License-Identifier: Apache-2.0 */
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void fill(uint64_t *block, uint64_t offset)
{
	for (uint64_t i = 0; i < MIB / 8; i++)
		block[i] = data_word(offset + i * 8);
	for (uint64_t page = 0; page < MIB; page += PAGE)
		block[page / 8 + 1] = data_stored(offset + page, 0);
}

static int write_all(int fd, const char *block, uint64_t offset, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t n = pwrite(fd, block + done, bytes - done, (off_t)(offset + done));

		if (n < 0)
			return -errno;
		done += (uint64_t)n;
	}
	return 0;
}

static int write_data(int fd, uint64_t bytes)
{
	uint64_t *block = malloc(MIB);
	int error = block ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < bytes && !error; at += MIB) {
		fill(block, at);
		error = write_all(fd, (char *)block, at, bytes - at < MIB ? bytes - at : MIB);
	}
	free(block);
	if (!error && fsync(fd))
		error = -errno;
	return error;
}

/* The length, and the first words of the first and the last page: a file that was cut short in the making is made again. */
static bool is_made(int fd, uint64_t bytes)
{
	uint64_t first = 0, last = 0;
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != bytes)
		return false;
	return pread(fd, &first, 8, 0) == 8 && pread(fd, &last, 8, (off_t)(bytes - PAGE)) == 8 && first == data_word(0) &&
	       last == data_word(bytes - PAGE);
}

static bool is_foreign(int fd)
{
	uint64_t first;
	ssize_t n = pread(fd, &first, 8, 0);

	return n != 0 && (n != 8 || first != data_word(0));
}

int data_make(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), error = 0;

	if (fd < 0)
		return -errno;
	if (is_foreign(fd))
		error = -EEXIST;
	else if (!is_made(fd, bytes))
		error = ftruncate(fd, 0) ? -errno : write_data(fd, bytes);
	if (close(fd) && !error)
		error = -errno;
	return error;
}
