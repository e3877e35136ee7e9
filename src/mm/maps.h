/* SPDX-License-Identifier: Apache-2.0 */
/* What a space has mapped, as text: the formats of /proc/PID/maps and /proc/PID/smaps. */
#ifndef FL_MM_MAPS_H
#define FL_MM_MAPS_H

#include "mm.h"

/*
 * Writes it to fd. Called with signals as the program has them: they are blocked only around the locks, none of which
 * is held while a write may wait. 0 or -errno of write(2).
 */
int mm_maps(struct mm *mm, int fd);
int mm_smaps(struct mm *mm, int fd);
/* Of a soft space: each line of mm_maps(), and under it the entries of its pages (soft_dump.c). */
int mm_dump(struct mm *mm, int fd);

/* ---- Inside: the figures (smaps.c) ---- */

/* In the order in which they are shown. */
enum smaps_field {
	SMAPS_SIZE,
	SMAPS_KERNEL_PAGE_SIZE,
	SMAPS_MMU_PAGE_SIZE,
	SMAPS_RSS,
	SMAPS_PSS,
	SMAPS_PSS_DIRTY,
	SMAPS_SHARED_CLEAN, /* and dirty, one after the other */
	SMAPS_SHARED_DIRTY,
	SMAPS_PRIVATE_CLEAN,
	SMAPS_PRIVATE_DIRTY,
	SMAPS_REFERENCED,
	SMAPS_ANONYMOUS,
	SMAPS_KSM,
	SMAPS_LAZY_FREE,
	SMAPS_ANON_HUGE_PAGES,
	SMAPS_SHMEM_PMD_MAPPED,
	SMAPS_FILE_PMD_MAPPED,
	SMAPS_SHARED_HUGETLB,
	SMAPS_PRIVATE_HUGETLB,
	SMAPS_SWAP,
	SMAPS_SWAP_PSS,
	SMAPS_LOCKED,
	SMAPS_FIELDS
};

/* A page shared by n mappings counts for 1/n in Pss: sums are kept in this fraction of a byte. */
#define PSS_SHIFT 12

/* What a host has said of a run of pages, which is asked for once where mappings lie side by side in the file. Starts as {0}. */
#define SMAPS_WINDOW 1024
struct smaps_window {
	const struct address_space *as; /* by its place alone: it may be gone */
	uint64_t index, pages;
	unsigned char state[SMAPS_WINDOW];
};

struct smaps {
	struct smaps_window *hosted;
	uint64_t sum[SMAPS_FIELDS]; /* bytes << PSS_SHIFT */
	uint64_t thp_eligible;
	char vm_flags[128]; /* the kernel's, of what it maps itself; else "" */
};

extern const char *const smaps_names[SMAPS_FIELDS];

/* Adds the pages of one VMA. Caller holds mmap_lock. */
void smaps_count(struct smaps *s, const struct vma *v);

/* The kernel's own figures, read on as the addresses rise. Starts as {.fd = -1}. */
struct kernel_smaps {
	int fd;
	uint64_t start, end; /* of the mapping whose lines come next */
	uint32_t at, len;    /* what is unread in buf */
	char buf[1024], line[192];
};

/* Adds the figures of the kernel's mappings in [start, end), which lies above what was asked for before. */
void kernel_smaps_add(struct kernel_smaps *k, uint64_t start, uint64_t end, struct smaps *s);
void kernel_smaps_close(struct kernel_smaps *k);

#endif
