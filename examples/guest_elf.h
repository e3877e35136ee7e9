/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_ELF_H
#define GUEST_ELF_H

#include <elf.h>

#include "guest.h"

#define ELF_SEGMENTS 32

struct elf_image {
	int fd;
	Elf64_Ehdr header;
	Elf64_Phdr segment[ELF_SEGMENTS];
	uint64_t low, high; /* of the loaded segments, whole pages, as in the file */
	uint64_t bias;      /* what is added to the file's addresses */
};

/* Reads the headers of a static program. 0 or -errno; ENOEXEC: another kind of file. */
int elf_open(struct elf_image *image, const char *path);
void elf_close(struct elf_image *image);
/* Where the program's heap begins: for fl_space_create_soft(). */
uint64_t elf_brk(const struct elf_image *image);
/* Maps the segments. 0 or -errno. */
int elf_map(struct guest *g, struct elf_image *image);
/* Makes the stack, with arguments and auxiliary vector. 0 or -errno. */
int elf_stack(struct guest *g, const struct elf_image *image, char **argv, char **envp, uint64_t *stack);

static inline uint64_t elf_entry(const struct elf_image *image)
{
	return image->header.e_entry + image->bias;
}

#endif
