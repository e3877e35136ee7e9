/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* All of it, or -ENOEXEC where the file ends before. */
static int read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = pread(fd, buf, len, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOEXEC;
}

static bool is_native(const Elf64_Ehdr *header)
{
	return header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_machine == EM_X86_64;
}

static int read_loader(int fd, const Elf64_Phdr *segment, struct elf_info *info)
{
	if (segment->p_filesz < 2 || segment->p_filesz >= sizeof info->loader)
		return -ENOEXEC;
	return read_at(fd, info->loader, segment->p_filesz, segment->p_offset);
}

static int read_segments(int fd, const Elf64_Ehdr *header, struct elf_info *info)
{
	Elf64_Phdr segment;
	int error = 0;

	if (header->e_phentsize != sizeof segment)
		return -ENOEXEC;
	for (unsigned i = 0; i < header->e_phnum && !error; i++) {
		error = read_at(fd, &segment, sizeof segment, header->e_phoff + i * sizeof segment);
		if (!error && segment.p_type == PT_INTERP)
			error = read_loader(fd, &segment, info);
	}
	return error;
}

int elf_read(int fd, struct elf_info *info)
{
	Elf64_Ehdr header;
	int error = read_at(fd, &header, sizeof header, 0);

	memset(info, 0, sizeof *info);
	if (error)
		return error;
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	info->native = is_native(&header);
	if (!info->native)
		return 0;
	if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
		return -ENOEXEC;
	info->library = header.e_type == ET_DYN;
	return read_segments(fd, &header, info);
}

int elf_read_path(const char *path, struct elf_info *info)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), error;

	if (fd < 0)
		return -errno;
	error = elf_read(fd, info);
	close(fd);
	return error;
}
