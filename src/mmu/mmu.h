/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MMU: what makes a page appear at an address, and disappear. Three real kinds stand behind this table: userfaultfd
 * with faults served inline (uffd_inline.c) and by threads (uffd_thread.c), and mprotect with SIGSEGV (sigsegv.c); tests bring one of their own.
 *
 * Addresses and lengths are multiples of the page size and lie inside one mapping. All answer 0 or -errno. Callers
 * see to it that the mapping stays: by the VMA's lock, or by the rmap lock.
 */
#ifndef FL_MMU_MMU_H
#define FL_MMU_MMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmu;

enum {
	MMU_WP = 1,   /* install write-protected: the first write faults */
	MMU_ANON = 2, /* of attach(): anonymous memory, without frames behind it */
	MMU_POOL =
		4, /* of attach(): memory of our own that move() is used with; the kernel serves its faults. -ENOSYS: move() does not work */
};

/*
 * Nothing that is served lies below. So 0 is nobody's address, and a host asks the kernel for none that it refuses for being below
 * vm.mmap_min_addr.
 */
#define MMU_ADDRESS_MIN (64UL << 10)

/* Laid out as a struct iovec. */
struct mmu_range {
	uint64_t addr, len;
};

#define MMU_RANGES 32

struct mmu_ops {
	const char *name;
	/* Faults in the range come to us from now on. The mapping must be fresh: nothing touched. */
	int (*attach)(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags);
	/*
	 * Around the kernel's call that takes mappings away, or puts others in their place: `gone` says whether it has. In between nothing is asked
	 * of the mmu, by any thread. NULL where that is not needed.
	 */
	void (*begin_detach)(struct mmu *m);
	void (*end_detach)(struct mmu *m, uint64_t addr, uint64_t len, bool gone);
	/*
	 * Puts copies of `len` bytes at src there: into the frame memory of a shared mapping, as private pages of a private
	 * one. *done says how many bytes were, also on failure. -EEXIST: a page is there already.
	 */
	int (*copy)(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done);
	/* Maps pages that the frame memory holds already. -EEXIST when mapped already. */
	int (*map)(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags);
	/* Of pages in memory. */
	int (*protect)(struct mmu *m, uint64_t addr, uint64_t len);
	int (*unprotect)(struct mmu *m, uint64_t addr, uint64_t len);
	/*
	 * Makes the page at addr, present and writable, a private copy (the kernel's own copy-on-write). -EFAULT when it is
	 * not present after all. NULL where that would make the caller wait for itself: faults served by threads.
	 */
	int (*break_cow)(struct mmu *m, uint64_t addr);
	/*
	 * Moves pages of anonymous memory from one place to another that has none, in one step: whole huge pages as they are. They can be written
	 * there. -EBUSY: somebody has hold of one (GUP), or shares it; -ENOENT, -EEXIST, -EINVAL: the mappings are not what they should be. What
	 * was moved before stays moved, and is added to *moved. NULL where there is none; Linux 6.8.
	 */
	int (*move)(struct mmu *m, uint64_t to, uint64_t from, uint64_t len, uint64_t *moved);
	/*
	 * Accesses to pages in the range ask again, whatever is there, and go by what the program may do there now. Those that are held only go by
	 * that, unless held_too. NULL where the kernel does so.
	 */
	int (*hide)(struct mmu *m, uint64_t addr, uint64_t len, bool held_too);
	/* The page can be accessed so, for a system call too, until it is let go of. -EAGAIN: not now, it is hidden. NULL where nothing is hidden. */
	int (*hold)(struct mmu *m, uint64_t addr, bool write);
	void (*let_go)(struct mmu *m, uint64_t addr);
	/* Takes pages out of the mapping; private ones are lost. */
	int (*zap)(struct mmu *m, uint64_t addr, uint64_t len);
	/* The same for several ranges at once, up to MMU_RANGES. */
	void (*zap_many)(struct mmu *m, const struct mmu_range *ranges, uint32_t n);
	/* Accesses to the page, which is not mapped, fail from now on until it is filled. NULL where that is not needed. */
	int (*poison)(struct mmu *m, uint64_t addr);
	/* A thread that faulted there looks again (nothing to do for inline faults). */
	void (*wake)(struct mmu *m, uint64_t addr, uint64_t len);
	/* The userfaultfd; NULL where there is none. */
	int (*descriptor)(struct mmu *m);
	/* Gives up the context. Mappings attached must be gone. */
	void (*destroy)(struct mmu *m);
	/* Whether what has private pages should be hidden before a fork; see sigsegv.c. NULL: no. */
	bool (*is_in_pieces)(struct mmu *m);
	/* In a forked child: a context of its own in place of the parent's. */
	int (*fork_child)(struct mmu *m);
};

struct mmu {
	const struct mmu_ops *ops;
	bool by_threads;      /* faults are served by threads of ours. A forked child may have to do without */
	int threads;          /* so many, where they are */
	bool map_can_wp;      /* map() obeys MMU_WP; else the caller treats what it maps writable as dirty */
	bool hides;           /* constant: pages that are mapped may be hidden at any time, and their frames do not know; see sigsegv.c */
	bool remote;          /* constant: of another process, whose pages cannot be taken out of its mappings by address */
	uint64_t host_number; /* what the host calls it, in one of its clients */
};

/*
 * Serves a fault: 0 when the access may be tried again, -EFAULT when the address is not ours, another -errno when the
 * access must fail with SIGBUS, and -EACCES with SIGSEGV. Set once by mm before the first context is made.
 */
enum {
	FAULT_WRITE = 1,
	FAULT_PRESENT = 2,
	FAULT_EXEC = 8,
	FAULT_POISON = 4, /* if it fails, the page is poisoned: 0 then too, and the access meets the poison */
};
typedef int (*mmu_fault_fn)(uint64_t addr, unsigned flags);

#endif
