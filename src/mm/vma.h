/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct vma, one mapping, and the index that finds it by address.
 *
 * Locks: mm->mmap_lock is held by whoever changes the set of mappings. vma->lock protects one mapping against faults:
 * a fault holds it for reading from look-up to the end, also across I/O; who changes the mapping holds it for writing.
 * Look-up takes no lock: it reads the index under a sequence count, takes the VMA's lock, and checks that the VMA is
 * still what it looked for. VMAs are never given back to the allocator, so a stale pointer is still a VMA.
 */
#ifndef FL_MM_VMA_H
#define FL_MM_VMA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache/address_space.h"
#include "cache/readahead.h"
#include "util/compiler.h"
#include "util/lock.h"

enum {
	VM_SHARED = 0x1,
	VM_MAYWRITE = 0x2, /* a shared mapping of a file open for writing, or a private one */
	VM_MAYEXEC = 0x4,  /* not on a file system mounted noexec */
	VM_HANDED = 0x8,   /* given to the kernel: a plain mapping of the file, which we only keep book of */
	VM_NORESERVE = 0x10,
	VM_ACCOUNT = 0x20,     /* its pages are counted against the space's limit of commitment */
	VM_LOCKED = 0x40,      /* mlock: its pages do not leave memory */
	VM_LOCKONFAULT = 0x80, /* of those: they come in when they are asked for */
	VM_GROWSDOWN = 0x100,
	VM_SEALED = 0x200,   /* mseal */
	VM_GUARD = 0x400,    /* guard region: the kernel raises SIGSEGV; we bring nothing in */
	VM_DONTFORK = 0x800, /* the rest is what madvise said */
	VM_WIPEONFORK = 0x1000,
	VM_DONTDUMP = 0x2000,
	VM_HUGEPAGE = 0x4000,
	VM_NOHUGEPAGE = 0x8000,
	VM_MERGEABLE = 0x10000,
	VM_HUGETLB = 0x20000,
	VM_DROPPABLE = 0x40000,    /* MAP_DROPPABLE */
	VM_NOREAD = 0x80000,       /* may never be made readable: a store has said so (VM_MAYREAD of Linux, the other way round) */
	VM_MAYBE_GUARD = 0x100000, /* there was a guard in it, or in what is one mapping with it. No reason not to merge */
	VM_DEV_ZERO = 0x200000,    /* of /dev/zero, and nobody's but this: memory without an object, but with a file that it goes by */
};

#define VM_GUARDS ((unsigned)(VM_GUARD | VM_MAYBE_GUARD)) /* to Linux guards are marks in the page table, and divide nothing */

struct mm;

struct vma {
	_Atomic uint32_t lock;    /* VMA_WRITER | VMA_SLEEPS | readers */
	struct mm *mm;            /* constant while in the index */
	uint64_t start, end;      /* mmap_lock and lock; [start, end), 0 when not in use */
	uint64_t pgoff;           /* the same: page of the file at start */
	int prot;                 /* the same */
	unsigned flags;           /* the same */
	enum ra_advice advice;    /* the same */
	struct address_space *as; /* constant while in the index; a reference */
	/*
	 * Private pages; NULL while there are none, and in shared mappings. A reference. Set once, by a fault that holds the
	 * lock for reading, under rmap_lock (vma_prepare_anon).
	 */
	struct address_space *_Atomic anon;
	_Atomic uint32_t blind; /* of files at a host: see show_blindly() in private.c */
	uint64_t anon_pgoff;    /* the same as pgoff: page of the anon object at start; 0 while there is none */
	uint32_t lineage;       /* the same; by which VMA of the parent the private pages came, 0: they are its own. See vma_merge.c */
	/* In native spaces, for where Linux would have a border (vma_merge.c): */
	_Atomic uint32_t family;     /* set by a fault like `anon`; lock (write) else. 0: no private page was ever written */
	_Atomic bool joined;         /* changes under mmap_lock: one mapping with the VMA that ends where it starts */
	uint32_t wb_seen;            /* mmap_lock: errors of write-back reported so far */
	struct rmap rmap, anon_rmap; /* rmap_lock */
	union {
		struct vma *next; /* free list, or a list of VMAs taken out */
		uint64_t aside;   /* lock (write), in the index: where its pages are while they change frames */
	};
};

/* ---- The index: VMAs of one mm by address; see vma_index.c ---- */

struct vma_chunk;
#define VMA_SEPARATORS 20
#define VMA_LEVELS 3

struct vma_top {
	_Atomic uint64_t chunk; /* its address | shift of its separators | how many VMAs it has */
	uint64_t unused;        /* separators are read four at a time */
	_Atomic uint32_t separator[VMA_SEPARATORS];
};

/* In a chunk, after `at` of its VMAs. */
struct vma_spot {
	uint32_t t, at;
};

struct vma_index {
	_Atomic uint32_t seq; /* odd while it changes */
	_Atomic uint32_t nchunks;
	/* Reserved address space; what belongs to chunks [0, nchunks) is in use. */
	_Atomic uint64_t *start[VMA_LEVELS]; /* of the first VMA in each chunk; in each 16th; in each 256th */
	struct vma_top *top;
	_Atomic uint64_t count;  /* of VMAs; changes under mmap_lock */
	uint64_t top_paid;       /* pages of these taken from the budget */
	struct vma_chunk *spare; /* set aside by vma_index_prepare() */
	struct vma_spot last;    /* mmap_lock: what was found last, or was there */
};

int vma_index_init(struct vma_index *x);
void vma_index_exit(struct vma_index *x);
void vma_index_pool_exit(void); /* with the arena */
/* Writers hold mmap_lock. Insert: 0 or -ENOMEM, nothing changed. The VMA must not overlap another. */
int vma_index_insert(struct vma_index *x, struct vma *v);
void vma_index_erase(struct vma_index *x, struct vma *v);
/* The VMA, in the index, ends elsewhere than when it was put there; see vma_set_range(). */
void vma_index_resize(struct vma_index *x, struct vma *v);
/* Sets memory aside: the next inserts, up to 60 at neighbouring addresses, cannot fail. 0 or -ENOMEM. */
int vma_index_prepare(struct vma_index *x);
/* The VMA with the lowest address whose end is above addr; NULL when there is none. Caller holds mmap_lock. */
struct vma *vma_find(struct vma_index *x, uint64_t addr);
/* The same for anyone: a guess to be checked under the VMA's lock. */
struct vma *vma_find_racy(struct vma_index *x, uint64_t addr);
/* Whether a VMA overlaps [start, end). For anyone, and out of date as soon as it is answered unless mmap_lock is held. */
bool vma_index_overlaps(struct vma_index *x, uint64_t start, uint64_t end);

/* ---- VMAs ---- */

struct vma *vma_alloc(struct mm *mm);
void vma_free(struct vma *v);
void vma_pool_exit(void);
/* In a forked child: the locks are free. */
void vma_pool_fork_child(void);
void vma_index_fork_child(void);
void vma_lock_reset(struct vma *v);

/*
 * Locked for reading when it contains addr; NULL when no VMA seems to: ask again under mmap_lock to be sure. What was found may have gone
 * before it was locked, and have come to another space at the same address: v->mm tells.
 */
struct vma *vma_lock_read(struct vma_index *x, uint64_t addr);
void vma_unlock_read(struct vma *v);
/* The VMA that has addr, locked for reading without waiting; NULL when there is none, or it is being changed. As above, see there. */
struct vma *vma_trylock_read(struct vma_index *x, uint64_t addr);
void vma_lock_write(struct vma *v);
void vma_unlock_write(struct vma *v);

/* Caller holds the lock for writing, or nobody knows the VMA yet, all else set; racing look-ups read both. */
static inline void vma_set_range(struct vma *v, uint64_t start, uint64_t end)
{
	__atomic_store_n(&v->start, start, __ATOMIC_RELAXED);
	__atomic_store_n(&v->end, end, __ATOMIC_RELEASE);
}

static inline uint64_t vma_pages(const struct vma *v)
{
	return (v->end - v->start) >> FL_PAGE_SHIFT;
}

static inline bool vma_is_anonymous(const struct vma *v)
{
	return v->as->zero;
}

/* Whether the mapping would have an anon_vma on Linux: a private page was once written. `in_soft`: its space is a soft one. */
static inline bool vma_has_private(const struct vma *v, bool in_soft)
{
	return in_soft ? atomic_load(&v->anon) != NULL : atomic_load(&v->family) != 0;
}

/* Whether the kernel's mapping is of anonymous memory. */
static inline bool vma_maps_anonymous(const struct vma *v)
{
	return v->as->zero || as_is_pool(v->as);
}

/* Whether a host maps pages into it, and is to be told of it: shared mappings of what it has. */
static inline bool vma_is_at_host(const struct vma *v)
{
	return (v->flags & (VM_SHARED | VM_HANDED)) == VM_SHARED && as_is_hosted(v->as);
}

static inline uint64_t vma_index_of(const struct vma *v, uint64_t addr)
{
	return v->pgoff + ((addr - v->start) >> FL_PAGE_SHIFT);
}

#endif
