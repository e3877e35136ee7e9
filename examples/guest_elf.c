/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What execve(2) does: maps the PT_LOAD segments of a static program, at its own addresses (ET_EXEC) or where the space finds room
 * (static-pie), and builds the stack that the program starts with.
 */
#include "guest_elf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_memory.h"

#define PIE_BRK 0x555555554000ull /* ELF_ET_DYN_BASE: Linux puts the heap of a static-pie there, the program among the mappings */
#define STACK_FIRST (128ull << 10)
#define HWCAP 0x078bfbfdull /* CPUID 1, EDX of Unicorn's processor */

static uint64_t page_up(uint64_t addr)
{
	return guest_page_of(addr + GUEST_PAGE - 1);
}

/* ---- Headers ---- */

static bool is_program(const Elf64_Ehdr *h)
{
	return !memcmp(h->e_ident, ELFMAG, SELFMAG) && h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_machine == EM_X86_64 &&
	       (h->e_type == ET_EXEC || h->e_type == ET_DYN) && h->e_phentsize == sizeof(Elf64_Phdr) && h->e_phnum &&
	       h->e_phnum <= ELF_SEGMENTS;
}

static int read_headers(struct elf_image *image)
{
	ssize_t size;

	if (pread(image->fd, &image->header, sizeof image->header, 0) != sizeof image->header || !is_program(&image->header))
		return -ENOEXEC;
	size = image->header.e_phnum * (ssize_t)sizeof(Elf64_Phdr);
	return pread(image->fd, image->segment, (size_t)size, (off_t)image->header.e_phoff) == size ? 0 : -ENOEXEC;
}

static int measure(struct elf_image *image)
{
	image->low = UINT64_MAX;
	image->high = 0;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segment[i];

		if (s->p_type == PT_INTERP)
			return -ENOEXEC;
		if (s->p_type != PT_LOAD || !s->p_memsz)
			continue;
		if (s->p_vaddr >= GUEST_TOP || s->p_memsz >= GUEST_TOP || s->p_filesz > s->p_memsz)
			return -ENOEXEC;
		if (guest_page_of(s->p_vaddr) < image->low)
			image->low = guest_page_of(s->p_vaddr);
		if (page_up(s->p_vaddr + s->p_memsz) > image->high)
			image->high = page_up(s->p_vaddr + s->p_memsz);
	}
	return image->high ? 0 : -ENOEXEC;
}

int elf_open(struct elf_image *image, const char *path)
{
	int err;

	*image = (struct elf_image){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (image->fd < 0)
		return -errno;
	err = read_headers(image);
	if (!err)
		err = measure(image);
	if (err)
		close(image->fd);
	return err;
}

void elf_close(struct elf_image *image)
{
	close(image->fd);
}

uint64_t elf_brk(const struct elf_image *image)
{
	return image->header.e_type == ET_EXEC ? image->high : PIE_BRK;
}

/* ---- Segments ---- */

static int map_at(struct guest *g, uint64_t addr, uint64_t length, int prot, int flags, int fd, off_t offset)
{
	if (fl_space_mmap(g->space, (void *)addr, length, prot, MAP_PRIVATE | MAP_FIXED | flags, fd, offset) == MAP_FAILED)
		return -errno;
	return 0;
}

static int prot_of(const Elf64_Phdr *s)
{
	return (s->p_flags & PF_R ? PROT_READ : 0) | (s->p_flags & PF_W ? PROT_WRITE : 0) | (s->p_flags & PF_X ? PROT_EXEC : 0);
}

/* The bytes of the file, in whole pages. */
static int map_bytes(struct guest *g, int fd, const Elf64_Phdr *s, uint64_t addr)
{
	uint64_t first = guest_page_of(addr), last = page_up(addr + s->p_filesz);

	return map_at(g, first, last - first, prot_of(s), 0, fd, (off_t)guest_page_of(s->p_offset));
}

/* What the file does not have reads as 0: the rest of its last page, and pages of no file. */
static int map_zeros(struct guest *g, const Elf64_Phdr *s, uint64_t addr)
{
	static const char zeros[GUEST_PAGE];
	uint64_t from = addr + s->p_filesz, first = s->p_filesz ? page_up(from) : guest_page_of(addr), last = page_up(addr + s->p_memsz);

	if (s->p_filesz && s->p_flags & PF_W && !memory_write(g, from, zeros, first - from))
		return -EFAULT;
	return last > first ? map_at(g, first, last - first, prot_of(s), MAP_ANONYMOUS, -1, 0) : 0;
}

static int map_segment(struct guest *g, const struct elf_image *image, const Elf64_Phdr *s)
{
	uint64_t addr = s->p_vaddr + image->bias;
	int err = s->p_filesz ? map_bytes(g, image->fd, s, addr) : 0;

	return err || s->p_memsz == s->p_filesz ? err : map_zeros(g, s, addr);
}

/* A static-pie goes where there is room for all of it. */
static int find_place(struct guest *g, struct elf_image *image)
{
	void *place;

	if (image->header.e_type == ET_EXEC)
		return 0;
	place = fl_space_mmap(g->space, NULL, image->high - image->low, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED)
		return -errno;
	image->bias = (uintptr_t)place - image->low;
	return 0;
}

int elf_map(struct guest *g, struct elf_image *image)
{
	int err = find_place(g, image);

	for (unsigned i = 0; !err && i < image->header.e_phnum; i++)
		if (image->segment[i].p_type == PT_LOAD && image->segment[i].p_memsz)
			err = map_segment(g, image, &image->segment[i]);
	return err;
}

/* ---- The stack ---- */

/* Grows downwards; the first thing that does not fit fails all that follow. */
struct stack {
	struct guest *g;
	uint64_t at;
	int err;
};

static uint64_t push(struct stack *s, const void *bytes, size_t size)
{
	if (!s->err && !memory_write(s->g, s->at - size, bytes, size))
		s->err = -E2BIG;
	return s->at -= size;
}

static uint64_t push_string(struct stack *s, const char *string)
{
	return push(s, string, strlen(string) + 1);
}

static size_t count(char **list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

/* A list of pointers and its NULL, for strings that stand one after another from `strings` upwards. */
static void push_list(struct stack *s, char **list, uint64_t strings)
{
	size_t n = count(list);
	uint64_t pointer = 0, at = s->at - (n + 1) * sizeof at;

	for (size_t i = 0; i < n; strings += strlen(list[i++]) + 1)
		if (!memory_write(s->g, at + i * sizeof strings, &strings, sizeof strings))
			s->err = -E2BIG;
	if (!memory_write(s->g, at + n * sizeof pointer, &pointer, sizeof pointer))
		s->err = -E2BIG;
	s->at = at;
}

static uint64_t push_strings(struct stack *s, char **list)
{
	for (size_t i = count(list); i-- > 0;)
		push_string(s, list[i]);
	return s->at;
}

static void push_auxv(struct stack *s, const struct elf_image *image, uint64_t program, uint64_t random, uint64_t platform)
{
	const Elf64_auxv_t auxv[] = {
		{AT_HWCAP, {HWCAP}},
		{AT_PAGESZ, {GUEST_PAGE}},
		{AT_CLKTCK, {(uint64_t)sysconf(_SC_CLK_TCK)}},
		{AT_PHDR, {image->bias + image->low + image->header.e_phoff}},
		{AT_PHENT, {sizeof(Elf64_Phdr)}},
		{AT_PHNUM, {image->header.e_phnum}},
		{AT_BASE, {0}},
		{AT_FLAGS, {0}},
		{AT_ENTRY, {elf_entry(image)}},
		{AT_UID, {getuid()}},
		{AT_EUID, {geteuid()}},
		{AT_GID, {getgid()}},
		{AT_EGID, {getegid()}},
		{AT_SECURE, {0}},
		{AT_RANDOM, {random}},
		{AT_EXECFN, {program}},
		{AT_PLATFORM, {platform}},
		{AT_NULL, {0}},
	};

	push(s, auxv, sizeof auxv);
}

/* The ABI wants rsp, which points at argc, at a multiple of 16: an odd number of words before the vectors is made even. */
static void align(struct stack *s, size_t words)
{
	s->at &= ~15ull;
	if (words % 2)
		s->at -= sizeof(uint64_t);
}

static int fill_stack(struct stack *s, const struct elf_image *image, char **argv, char **envp)
{
	uint64_t argc = count(argv), program = push_string(s, s->g->program), env = push_strings(s, envp), args = push_strings(s, argv);
	uint64_t platform = push_string(s, "x86_64"), random;
	unsigned char bytes[16];

	guest_random(s->g, bytes, sizeof bytes);
	random = push(s, bytes, sizeof bytes);
	align(s, argc + count(envp) + 3);
	push_auxv(s, image, program, random, platform);
	push_list(s, envp, env);
	push_list(s, argv, args);
	push(s, &argc, sizeof argc);
	return s->err;
}

int elf_stack(struct guest *g, const struct elf_image *image, char **argv, char **envp, uint64_t *stack)
{
	struct stack s = {.g = g, .at = GUEST_TOP};
	int err = map_at(g, GUEST_TOP - STACK_FIRST, STACK_FIRST, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);

	if (!err)
		err = fill_stack(&s, image, argv, envp);
	*stack = s.at;
	return err;
}
