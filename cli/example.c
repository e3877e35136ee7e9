/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The example of `faultline walk`: a process as it looks a moment after fork. There is one of each kind of page that a page
 * table can show, always at the same addresses.
 */
#include "example.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faultline_soft.h"
#include "options.h"
#include "text.h"

#define PAGE 4096ul
#define TEXT_START 0x400000ul
#define TEXT_PAGES 4ul
#define BRK_START 0x500000ul
#define HEAP_PAGES 16ul
#define ANON_PAGES 16ul
#define SHARED_PAGES 4ul
#define STACK_TOP 0x7ffffffff000ul
#define STACK_PAGES 2ul /* as mapped; it grows */

struct example {
	fl_space *space, *child;
	uint64_t heap, anon, shared;
};

/* ---- Steps: 0, or -1 with errno ---- */

static int put(fl_space *space, uint64_t addr, const char *what)
{
	return fl_space_write(space, addr, what, strlen(what), NULL) < 0 ? -1 : 0;
}

static int look(fl_space *space, uint64_t addr)
{
	char byte;

	return fl_space_read(space, addr, &byte, 1, NULL) < 0 ? -1 : 0;
}

/* Of a file of that many pages which nobody else has. */
static int map_file(struct example *e, const char *name, uint64_t addr, uint64_t pages, int prot, int flags, uint64_t *out)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd < 0)
		return -1;
	if (!ftruncate(fd, (off_t)(pages * PAGE)))
		p = fl_space_mmap(e->space, (void *)addr, pages * PAGE, prot, flags, fd, 0);
	close(fd);
	*out = (uint64_t)p;
	return p == MAP_FAILED ? -1 : 0;
}

static int make_text(struct example *e)
{
	uint64_t at;

	if (map_file(e, "program", TEXT_START, TEXT_PAGES, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, &at))
		return -1;
	return look(e->space, at);
}

static int make_heap(struct example *e)
{
	e->heap = (uint64_t)fl_space_brk(e->space, NULL);
	if ((uint64_t)fl_space_brk(e->space, (void *)(e->heap + HEAP_PAGES * PAGE)) == e->heap) {
		errno = ENOMEM;
		return -1;
	}
	for (uint64_t i = 0; i < 3; i++)
		if (put(e->space, e->heap + i * PAGE, "heap"))
			return -1;
	return 0;
}

/* Without a swap directory the third page stays in memory. */
static int make_anon(struct example *e)
{
	void *p = fl_space_mmap(e->space, NULL, ANON_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	e->anon = (uint64_t)p;
	for (uint64_t i = 0; i < 3; i++)
		if (put(e->space, e->anon + i * PAGE, "private"))
			return -1;
	if (fl_space_madvise(e->space, (char *)p + 2 * PAGE, PAGE, MADV_PAGEOUT))
		return -1;
	return look(e->space, e->anon + 8 * PAGE);
}

static int make_shared(struct example *e)
{
	if (map_file(e, "shared", 0, SHARED_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, &e->shared))
		return -1;
	return put(e->space, e->shared, "shared") ? -1 : look(e->space, e->shared + PAGE);
}

static int make_stack(struct example *e)
{
	uint64_t start = STACK_TOP - STACK_PAGES * PAGE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN;

	if (fl_space_mmap(e->space, (void *)start, STACK_PAGES * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
		return -1;
	return put(e->space, STACK_TOP - 16, "stack") ? -1 : put(e->space, start - 3 * PAGE, "grown");
}

/* Both have all private pages in common but the one that each has written to since. */
static int make_child(struct example *e)
{
	e->child = fl_space_fork(e->space);
	if (!e->child)
		return -1;
	return put(e->child, e->heap, "the child's") ? -1 : put(e->space, e->anon, "the parent's");
}

static int build(struct example *e)
{
	struct fl_soft_options o = {.size = sizeof o, .address_bits = 47, .brk = BRK_START};

	e->space = fl_space_create_soft(&o);
	if (!e->space || make_text(e) || make_heap(e) || make_anon(e) || make_shared(e) || make_stack(e))
		return -1;
	return make_child(e);
}

/* ---- What is where ---- */

static void explain(const struct example *e)
{
	printf("A process after fork; what it did, by address:\n"
	       "  %012lx  program: its first instruction was read\n"
	       "  %012lx  heap: brk(2) for %lu pages, 3 written; the child wrote to the first after fork\n"
	       "  %012lx  shared file: the first page written, the second read\n"
	       "  %012lx  private memory: 3 pages written, the third paged out, the ninth read;\n"
	       "                after fork the first was written to again\n"
	       "  %012lx  stack: the top page written, and one below, which it grew down to\n\n",
	       TEXT_START, e->heap, HEAP_PAGES, e->shared, e->anon, STACK_TOP - 16);
}

static int dump_to(const struct example *e, const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fl_space_dump(e->space, fds[i], FL_DUMP_PAGES)) {
			complain("walk: the dump cannot be written: %s; look to the room where it goes", strerror(errno));
			return EXIT_FAULTLINE;
		}
	explain(e);
	return 0;
}

int example_dump(const int *fds, int n)
{
	struct run_options settings;
	struct example e = {0};
	int status = options_from_environment(&settings); /* the library goes by the same, and says less */

	if (status)
		return status;
	if (build(&e)) {
		complain("walk: the example cannot be built: %s; try a larger FAULTLINE_BUDGET", strerror(errno));
		status = EXIT_FAULTLINE;
	} else {
		status = dump_to(&e, fds, n);
	}
	fl_exit();
	return status;
}
