/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "text.h"

#define DIRECT_BLOCK 4096

uint64_t probe_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t probe_default_budget(void)
{
	return max_u64(min_u64(1ull << 30, probe_memory() / 4), BUDGET_MIN);
}

int probe_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	int error = 0;

	buf[0] = 0;
	if (!f)
		return -errno;
	if (!fgets(buf, (int)len, f))
		error = -EIO;
	buf[strcspn(buf, "\n")] = 0;
	fclose(f);
	return error;
}

int probe_status(const char *key, char *buf, size_t len)
{
	char line[256];
	size_t n = strlen(key);
	int error = -ENOENT;
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return -errno;
	while (error && fgets(line, sizeof line, f))
		if (!strncmp(line, key, n) && line[n] == ':') {
			snprintf(buf, len, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
			buf[strcspn(buf, "\n")] = 0;
			error = 0;
		}
	fclose(f);
	return error;
}

bool probe_seccomp(void)
{
	char mode[16];

	return probe_status("Seccomp", mode, sizeof mode) == 0 && atoi(mode) == 2;
}

bool probe_ptrace(void)
{
	char mask[32];

	return probe_status("CapEff", mask, sizeof mask) == 0 && (strtoull(mask, NULL, 16) >> CAP_SYS_PTRACE & 1);
}

int probe_aio(void)
{
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 1, &context))
		return -errno;
	syscall(SYS_io_destroy, context);
	return 0;
}

/* For file systems without O_TMPFILE. */
static int named_temporary(const char *directory)
{
	char *name = text_format("%s/.faultline-XXXXXX", directory);
	int fd = mkostemp(name, O_DIRECT | O_CLOEXEC), error = errno;

	/* Where O_DIRECT is refused the file has been made all the same. */
	if (fd >= 0 || error == EINVAL)
		unlink(name);
	free(name);
	return fd < 0 ? -error : fd;
}

static int open_direct(const char *path, bool directory)
{
	int fd;

	if (!directory)
		fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	else
		fd = open(path, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 && directory && (errno == EOPNOTSUPP || errno == EISDIR))
		return named_temporary(path);
	return fd < 0 ? -errno : fd;
}

/* One block, written first when the file is ours, and read. */
static int try_block(int fd, bool ours)
{
	void *block;
	int error = 0;

	if (posix_memalign(&block, DIRECT_BLOCK, DIRECT_BLOCK))
		return -ENOMEM;
	memset(block, 0, DIRECT_BLOCK);
	if ((ours && pwrite(fd, block, DIRECT_BLOCK, 0) < 0) || pread(fd, block, DIRECT_BLOCK, 0) < 0)
		error = -errno;
	free(block);
	return error;
}

int probe_direct(const char *path)
{
	struct stat st;
	bool directory;
	int fd, error;

	if (stat(path, &st) < 0)
		return -errno;
	directory = S_ISDIR(st.st_mode);
	if (!directory && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	fd = open_direct(path, directory);
	if (fd < 0)
		return fd;
	error = try_block(fd, directory);
	close(fd);
	return error;
}

int probe_swap(const char *path)
{
	int fd = open(path, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	/* Some file systems know no O_TMPFILE and only see a directory opened for writing. */
	return errno == EISDIR ? -EOPNOTSUPP : -errno;
}

/* A directory that was named is used or fails; of the others the first that will do. */
const char *probe_swap_directory(void)
{
	const char *named = getenv("FAULTLINE_SWAP"), *others[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};

	if (named && *named)
		return probe_swap(named) == 0 ? named : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i] && *others[i] && probe_swap(others[i]) == 0)
			return others[i];
	return NULL;
}
