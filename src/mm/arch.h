/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each family of address spaces does in its own way: `native`, where memory is mapped by the kernel and faults come by userfaultfd;
 * `soft`, where page tables are ours. The rest of mm - checks, VMAs, limits, merging - is one for both.
 *
 * Unless it says otherwise the caller holds mmap_lock and the VMAs of the range for writing. Answers are 0 or -errno.
 */
#ifndef FL_MM_ARCH_H
#define FL_MM_ARCH_H

#include <sys/mman.h>
#include <sys/stat.h>

#include "cache/filemap.h"
#include "maps.h"
#include "mm.h"

/* mmap on its way: what the checks found out, and what it has got so far. */
struct mapping {
	const struct mmap_request *rq;
	uint64_t len;   /* of the mapping, in whole pages */
	int access;     /* O_ACCMODE of the descriptor */
	struct stat st; /* of the file */
	bool anonymous; /* MAP_ANONYMOUS, or /dev/zero */
	bool shared;
	int max_prot;             /* what mprotect may ever give, beside what the access allows */
	struct address_space *as; /* a reference, until the VMA has it */
	struct vma *vma, *replaced;
	uint64_t gone; /* where the kernel has found room and we believed there to be mappings, or NOWHERE */
	bool populate;
};

#define NOWHERE UINT64_MAX /* 0 is a place, for who may map there */
#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

/* The rest of a call of mmap, when all has been checked. Takes over the reference to m->as. */
int mm_map_object(struct mm *mm, struct mapping *m, uint64_t *out);

/* mremap on its way. */
struct remap {
	uint64_t old, old_len, new_len, new_addr;
	int flags;
	struct vma *fresh;         /* what growth adds; with an old size of 0 all of it; NULL without growth */
	struct vma *left;          /* MREMAP_DONTUNMAP: what stays at the old place */
	struct vma *gone;          /* to be disposed of when the locks are free */
	bool populate;             /* growth of a locked mapping */
	bool cut_below, cut_above; /* what is moved was a part of a mapping, which has more on this side */
};

#define REMAP_PLACED (MREMAP_FIXED | MREMAP_DONTUNMAP) /* the mapping goes to another place, whatever its size */

struct mm_arch {
	const char *name;
	/* Sets aside what map() and unmap() need, and takes the pages in [start, end) out of the mapping. Without rmap_lock. NULL: nothing to do. */
	int (*vacate)(struct mm *mm, uint64_t start, uint64_t end);
	/* Chooses the place of a new mapping and makes it accessible; faults there are ours. rmap_lock held. *addr is set as soon as what was there has gone. */
	int (*map)(struct mm *mm, const struct mapping *m, uint64_t *addr);
	/* Nothing is there any more; *done: how far it came. rmap_lock held. */
	int (*unmap)(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, uint64_t *done);
	int (*protect)(struct mm *mm, uint64_t start, uint64_t end, int prot);
	/* Grows or moves the mapping of v, with its pages where they live there; rmap_lock held. *addr: its place. */
	int (*remap)(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr);
	/* Tells whoever else keeps book of the mapping what was advised. NULL: nobody. */
	int (*advise)(struct mm *mm, uint64_t start, uint64_t end, int advice);
	/* Advice on the pages of one VMA. */
	int (*dontneed)(struct vma *v, uint64_t from, uint64_t to);
	int (*free_lazily)(struct vma *v, uint64_t from, uint64_t to);
	int (*cool)(struct vma *v, uint64_t from, uint64_t to);
	int (*page_out)(struct vma *v, uint64_t from, uint64_t to);
	/* Guard regions. Native: the kernel's marks, those taken away without the VMAs. Soft: marks of our own. */
	int (*guard)(struct vma *v, uint64_t from, uint64_t to);
	int (*unguard)(struct mm *mm, uint64_t start, uint64_t end);
	int (*mark)(struct vma *v, uint64_t from, uint64_t to);
	int (*unmark)(struct vma *v, uint64_t from, uint64_t to);
	/* VMA locked for reading: */
	/* Some of the pages from there on, *done of them, are there, and may be accessed so. */
	int (*populate)(struct vma *v, uint64_t addr, uint64_t pages, bool write, uint64_t *done);
	bool (*swapped)(struct vma *v, uint64_t addr); /* the page is private and in swap */
	bool (*resident)(struct vma *v, uint64_t addr);
	void (*count)(struct smaps *s, const struct vma *v); /* adds the figures of its pages; mmap_lock */
	/* Where private pages of a mapping of `pages` pages are kept book of. */
	int (*new_anon)(struct vma *v, uint64_t pages, struct address_space **out);
	void (*destroy)(struct mm *mm); /* nothing is mapped any more */
};

extern const struct mm_arch native_arch, soft_arch;

/* ---- native, in the files of the calls ---- */

int native_map(struct mm *mm, const struct mapping *m, uint64_t *addr);
int native_unmap(struct mm *mm, uint64_t start, uint64_t end, enum unmap_what what, uint64_t *done);
int native_remap(struct mm *mm, const struct remap *r, const struct vma *v, uint64_t *addr);
void native_count(struct smaps *s, const struct vma *v);
void native_destroy(struct mm *mm);

#endif
