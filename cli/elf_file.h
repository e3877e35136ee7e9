/* SPDX-License-Identifier: Apache-2.0 */
/* What the headers of an ELF file say about how it would be loaded. */
#ifndef FL_CLI_ELF_FILE_H
#define FL_CLI_ELF_FILE_H

#include <stdbool.h>

struct elf_info {
	bool native;      /* of the kind this command is itself: class, byte order, machine */
	bool library;     /* ET_DYN: a shared object, or a position-independent program */
	char loader[256]; /* PT_INTERP: what loads it and obeys LD_PRELOAD; empty when statically linked */
};

/* 0, -ENOEXEC (not ELF, or damaged) or -errno. What follows the ident of a file that is not native is not looked at. */
int elf_read(int fd, struct elf_info *info);
int elf_read_path(const char *path, struct elf_info *info);

#endif
