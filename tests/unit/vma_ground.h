/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground for tests of VMAs: the engine over no memory at all. Mappings are made in a zone of addresses where the
 * kernel's part answers 0 and does nothing (the test is linked with vma_link_args, see tests/meson.build), so that any of
 * them can be made, and thousands.
 *
 * What a test expects is drawn: a letter for each page from the start of the zone on, the same for the pages of one VMA, a
 * dot where nothing is mapped. All that must hold of VMAs at any time is checked with each drawing (vma_check.h).
 */
#ifndef FL_TESTS_VMA_GROUND_H
#define FL_TESTS_VMA_GROUND_H

#include <errno.h>
#include <string.h>

#include "api/engine.h"
#include "cache/budget.h"
#include "faultline.h"
#include "vma_check.h"

#define PAGE FL_PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)
#define ZONE 0x300000000000UL
#define ZONE_PAGES 65536UL

/* The kinds of mappings that can continue each other; most tests run once with each. */
enum kind { SHARED_FILE, PRIVATE_FILE, PRIVATE_ANONYMOUS };

extern struct mm *mm;
extern enum kind kind;
extern int fd, other_fd;
/* The kernel's answer to each mmap and mremap in the zone: -errno, or 0. */
extern int kernel_refuses;

/* Around a test, which has its kind as *state. At the end, all that mappings took has come back, references and all. */
int start(void **state);
int stop(void **state);

#define OF_KIND(name, text, kind)                                \
	{                                                        \
#name ", " text, name, start, stop, (void *)kind \
	}
#define OF_ALL_KINDS(name)                                                                      \
	OF_KIND(name, "shared file", SHARED_FILE), OF_KIND(name, "private file", PRIVATE_FILE), \
		OF_KIND(name, "private anonymous memory", PRIVATE_ANONYMOUS)
#define OF_NO_KIND(name) OF_KIND(name, "kinds mixed", SHARED_FILE)

void *at(uint64_t page);
void map_file(uint64_t page, uint64_t n, int prot, int flags, int f, uint64_t pgoff);
/* Of the test's kind, with further flags. What meets continues: in the file, in memory and in all else. */
void map_as(uint64_t page, uint64_t n, int prot, int flags);
/* The same, readable and writable. */
void map(uint64_t page, uint64_t n);
void unmap(uint64_t page, uint64_t n);
void protect(uint64_t page, uint64_t n, int prot);
void advise(uint64_t page, uint64_t n, int advice);
void move(uint64_t page, uint64_t n, uint64_t to);
/* The VMA that has the page, or NULL. */
struct vma *vma_at(uint64_t page);
/* It gets somewhere for private pages, as a fault there would see to. */
void touch(uint64_t page);
/* vma_split_range() and vma_merge_range() alone. */
void split(uint64_t page, uint64_t n);
void merge(uint64_t page, uint64_t n);

/* There are these VMAs and no others, and no two neighbours could be one. Which letters are taken does not matter. */
void expect(const char *drawn);
/* The same, but neighbours may be alike. */
void expect_parts(const char *drawn);

#endif
