/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores: anything behind a mapping of a soft space (faultline_soft.h). A store gives pages by `read`, which the page cache
 * keeps, reads ahead and writes back; or, as a device driver does, by `fault`: memory of its own, which is shown as it is.
 */
#ifndef FAULTLINE_STORE_H
#define FAULTLINE_STORE_H

#include "faultline_soft.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fl_store fl_store;

/* What is to be mapped: `mmap` of a store may refuse it, or take rights away, as that of a driver's file_operations. */
struct fl_mapping {
	uint64_t length, offset; /* bytes, whole pages */
	int prot;                /* as asked for */
	int flags;               /* as asked for */
	int max_prot;            /* out: what mprotect(2) may ever give; starts as all */
};

/*
 * Functions answer -errno for failure, and are called by any thread that faults, several at once, with locks of Faultline held and
 * signals blocked: they must not use the space, touch memory that Faultline maps, nor wait for somebody who does. (`mmap` is called
 * with no lock held.) `arg` is that of fl_store_create().
 */
struct fl_store_ops {
	size_t size;      /* sizeof(struct fl_store_ops); fields may be added at the end */
	const char *name; /* shown in brackets by fl_space_maps(); must stay */
	/* Bytes read, fewer than len only at the end. off is a multiple of 4096. Needed unless there is fault. */
	ssize_t (*read)(void *arg, void *buf, size_t len, uint64_t off);
	/* 0 when all bytes were written. NULL: shared mappings cannot be written. */
	int (*write)(void *arg, const void *buf, size_t len, uint64_t off);
	/* The length in bytes: what lies beyond raises SIGBUS. */
	int (*length)(void *arg, uint64_t *bytes);
	int (*sync)(void *arg); /* may be NULL */
	/* Asked before each mapping; may be NULL. */
	int (*mmap)(void *arg, struct fl_mapping *mapping);
	/*
	 * The 4096 bytes, aligned so, that show the page at off; shared mappings only. They stay until close. The access raises SIGBUS when it
	 * fails. NULL: pages come by read.
	 */
	int (*fault)(void *arg, uint64_t off, enum fl_access access, void **page);
	void (*close)(void *arg); /* with the last mapping and reference; may be NULL */
};

/* A store with one reference. NULL with errno, and close is not called: EINVAL (ops without what is needed), ENOMEM, what length says, what fl_init() says. */
fl_store *fl_store_create(const struct fl_store_ops *ops, void *arg);
/* Gives the reference up; mappings keep the store. fl_exit() closes what is left, and ends references too. */
void fl_store_put(fl_store *store);

/*
 * fl_space_mmap() of a store. The errors of fl_mmap() that do not speak of descriptors, what `mmap` of the store answers, and
 * EACCES (shared, PROT_WRITE, and the store cannot be written), EINVAL (not a soft space; MAP_GROWSDOWN, MAP_HUGETLB), EOPNOTSUPP (private,
 * and pages come by fault; MAP_SYNC), EOVERFLOW (negative, or beyond 4 PiB).
 */
void *fl_space_mmap_store(fl_space *space, void *addr, size_t length, int prot, int flags, fl_store *store, off_t offset);

/* ---- Two stores to use ---- */

/*
 * Memory that several spaces map at once, and see each other's stores in at once: a ring, or what two guests talk through. Mapped
 * from its end on, it begins again: the page at `bytes` is the page at 0, so that a record that wraps is one range. bytes: whole pages.
 */
fl_store *fl_ring_create(size_t bytes);
/* Bytes that are computed when they are first looked at: fill() writes the page at off. Cannot be written through shared mappings. */
fl_store *fl_generator_create(int (*fill)(void *arg, void *page, uint64_t off), void *arg, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
