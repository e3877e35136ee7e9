/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Soft address spaces: memory of a guest, for emulators, sandboxes, simulators and teaching. What the kernel and the
 * hardware do for a process is done here in software, page tables and TLB included.
 *
 * A soft space is a fl_space: the calls of faultline.h that take one (fl_space_mmap(), fl_space_munmap(), ...) work on it, with
 * addresses of the guest in place of pointers. They mean nothing to the host; memory is reached by the functions below. Soft
 * and native spaces share the budget. Nothing here needs privilege, userfaultfd or signals, and what is done by one thread
 * gives the same addresses, faults and bytes every time.
 *
 * Where a soft space differs from a native one:
 *   - a file is mapped in spaces of one family at a time: fl_space_mmap() answers EBUSY otherwise
 *   - files in memory (tmpfs, memfd) are files like others; devices are ENODEV, MAP_HUGETLB is ENOMEM
 *   - fork(2) of the host: the child has no soft spaces; their memory and handles must not be used there
 */
#ifndef FAULTLINE_SOFT_H
#define FAULTLINE_SOFT_H

#include "faultline.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Spaces ---- */

enum fl_layout {
	FL_LAYOUT_TOP_DOWN = 0,  /* from under the stack downwards, as Linux does since 2.6.7 */
	FL_LAYOUT_BOTTOM_UP = 1, /* legacy: from a third of the address space upwards */
};

/* Set size to sizeof(struct fl_soft_options) and what is not needed to 0; fields may be added at the end. */
struct fl_soft_options {
	size_t size;
	const struct fl_space_options *limits; /* of the space (faults is not used); NULL: none but the number of mappings */
	unsigned address_bits;                 /* 32 to 48, or 57, which takes a fifth level of page tables; 0: 48 */
	unsigned page_size;                    /* bytes: 4096, 16384 or 65536; 0: 4096 */
	enum fl_layout layout;
	uint64_t seed;            /* of the random part of the layout; 0: there is none. The same seed, the same addresses */
	uint64_t stack_limit;     /* bytes that a mapping with MAP_GROWSDOWN can grow to, as RLIMIT_STACK; 0: 8 MiB */
	uint64_t stack_guard_gap; /* bytes kept free below such a mapping; 0: 256 pages, as Linux */
	uint64_t
		brk; /* where the heap begins, less a random part of up to 32 MiB with a seed; 0: at the first page above mmap_min_addr, and 4 MiB at least */
};

/*
 * A new, empty soft space; options may be NULL. NULL with errno: EINVAL (options that make no sense), ENOMEM (no room in the
 * budget, or 1024 spaces), or what fl_init() says when this is the first call. fl_space_destroy() ends it; its cpus
 * (below) go first.
 */
fl_space *fl_space_create_soft(const struct fl_soft_options *options);

/*
 * fork(2) of a soft space: a space with the same mappings and, at this moment, the same bytes. Private pages are shared until one
 * side writes; MADV_DONTFORK and MADV_WIPEONFORK are obeyed; locks are not inherited. Takes time by page tables, not by bytes.
 * NULL with errno: EINVAL (not a soft space), ENOMEM, EBUSY (a private page is translated: fl_space_translate()).
 */
fl_space *fl_space_fork(fl_space *space);

/*
 * mmap2(2): fl_space_mmap() with the offset in units of 4096 bytes, whatever the size of a page. EINVAL: not of whole pages; EOVERFLOW: no
 * off_t can be that large.
 */
void *fl_space_mmap2(fl_space *space, void *addr, size_t length, int prot, int flags, int fd, unsigned long pgoffset);

/* brk(2), as the system call: the new end of the heap; the present one when `end` is 0 or cannot be had. NULL: not a soft space. */
void *fl_space_brk(fl_space *space, void *end);

/* ---- Faults of the guest ---- */

enum fl_access {
	FL_ACCESS_READ = 0,
	FL_ACCESS_WRITE = 1,
	FL_ACCESS_EXEC = 2,
};

/* What a process would get as a signal. */
struct fl_fault {
	uint64_t address;
	int signal; /* SIGSEGV, SIGBUS; 0: the engine has no memory, or its own I/O failed for want of it */
	int code;   /* SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR; -errno where signal is 0 */
	enum fl_access access;
};

/* ---- Cpus: access by one thread ---- */

/*
 * A cpu is a TLB and the right to use it: each thread that accesses a space makes one of its own, and only that thread uses it.
 * The inline functions take some two nanoseconds on a TLB hit. Fields are for them; the library alone makes a cpu. A signal handler of
 * the thread must not use it, nor jump out of an access.
 */
#define FL_TLB_ENTRIES 1024u
#define FL_TLB_PAGE (~(uint64_t)4095)

struct fl_tlb_entry {
	uint64_t tag[3]; /* by enum fl_access: the page that may be accessed so, or all ones */
	uint64_t addend; /* host address - guest address */
};

typedef struct fl_cpu {
	uint32_t active; /* in an access: whoever takes a page away waits for 0 */
	uint32_t reserved;
	struct fl_fault fault; /* the last access that failed */
	struct fl_tlb_entry tlb[FL_TLB_ENTRIES];
} fl_cpu;

/*
 * NULL with errno: EINVAL (not a soft space), ENOMEM. A cpu is destroyed by the thread that made it. An access across pages that fails
 * may have been made in part.
 */
fl_cpu *fl_cpu_create(fl_space *space);
void fl_cpu_destroy(fl_cpu *cpu);

/*
 * Has faults of the guest call fn, which may mend them (map something there): 0 and the access is made again, -1 and it
 * fails. It may use the space and this cpu. NULL: they fail at once, as in the beginning.
 */
void fl_cpu_on_fault(fl_cpu *cpu, int (*fn)(fl_cpu *cpu, const struct fl_fault *fault, void *arg), void *arg);

/* What the inline functions call when the TLB does not have the page: `size` bytes, also across pages. 0, or -1 with errno EFAULT and cpu->fault. */
int fl_cpu_read(fl_cpu *cpu, uint64_t addr, void *buf, size_t size);
int fl_cpu_write(fl_cpu *cpu, uint64_t addr, const void *buf, size_t size);
/* The same for instructions: the mapping must have PROT_EXEC. */
int fl_cpu_fetch(fl_cpu *cpu, uint64_t addr, void *buf, size_t size);
/* Compare-and-swap of `size` (4 or 8) aligned bytes: see fl_cas32(). */
int fl_cpu_cas(fl_cpu *cpu, uint64_t addr, void *expected, const void *desired, size_t size);
/*
 * Copies a string and the 0 at its end: the number of bytes before the 0; `size` when none was among the first `size` bytes, which
 * were copied; -1 with errno EFAULT and cpu->fault.
 */
ssize_t fl_cpu_read_string(fl_cpu *cpu, uint64_t addr, char *buf, size_t size);

static inline int fl_tlb_begin(fl_cpu *cpu, uint64_t addr, size_t size, enum fl_access access, void **host)
{
	struct fl_tlb_entry *e = &cpu->tlb[(addr >> 12) % FL_TLB_ENTRIES];

	__atomic_store_n(&cpu->active, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* the other side has a barrier for both: membarrier(2) */
	*host = (void *)(uintptr_t)(addr + __atomic_load_n(&e->addend, __ATOMIC_RELAXED));
	return __atomic_load_n(&e->tag[access], __ATOMIC_RELAXED) == ((addr + size - 1) & FL_TLB_PAGE);
}

static inline void fl_tlb_end(fl_cpu *cpu)
{
	__atomic_store_n(&cpu->active, 0, __ATOMIC_RELEASE);
}

/*
 * Typed loads and stores, any alignment. 0, or -1 with errno EFAULT and cpu->fault. While `active` is set nothing but the guest's
 * memory is touched, hence the local copies: *value may be memory that Faultline maps, and fault.
 */
#define FL_TYPED_ACCESS(name, type)                                                                  \
	static inline int fl_load##name(fl_cpu *cpu, uint64_t addr, type *value)                     \
	{                                                                                            \
		void *host;                                                                          \
		int hit = fl_tlb_begin(cpu, addr, sizeof(type), FL_ACCESS_READ, &host);              \
		type v = 0;                                                                          \
                                                                                                     \
		if (__builtin_expect(hit, 1))                                                        \
			__builtin_memcpy(&v, host, sizeof v);                                        \
		fl_tlb_end(cpu);                                                                     \
		if (__builtin_expect(!hit, 0))                                                       \
			return fl_cpu_read(cpu, addr, value, sizeof v);                              \
		*value = v;                                                                          \
		return 0;                                                                            \
	}                                                                                            \
	static inline int fl_store##name(fl_cpu *cpu, uint64_t addr, type value)                     \
	{                                                                                            \
		void *host;                                                                          \
		int hit = fl_tlb_begin(cpu, addr, sizeof value, FL_ACCESS_WRITE, &host);             \
                                                                                                     \
		if (__builtin_expect(hit, 1))                                                        \
			__builtin_memcpy(host, &value, sizeof value);                                \
		fl_tlb_end(cpu);                                                                     \
		return __builtin_expect(hit, 1) ? 0 : fl_cpu_write(cpu, addr, &value, sizeof value); \
	}

FL_TYPED_ACCESS(8, uint8_t)
FL_TYPED_ACCESS(16, uint16_t)
FL_TYPED_ACCESS(32, uint32_t)
FL_TYPED_ACCESS(64, uint64_t)

/*
 * Atomically stores `desired` when *expected is there; *expected then holds what was there. 1: stored, 0: not, -1 with errno EFAULT
 * and cpu->fault, or EINVAL (not aligned).
 */
#define FL_TYPED_CAS(name, type)                                                                                                \
	static inline int fl_cas##name(fl_cpu *cpu, uint64_t addr, type *expected, type desired)                                \
	{                                                                                                                       \
		void *host;                                                                                                     \
		type was = *expected;                                                                                           \
		int hit = fl_tlb_begin(cpu, addr, sizeof was, FL_ACCESS_WRITE, &host), done = 0;                                \
                                                                                                                                \
		hit = hit && !(addr % sizeof was);                                                                              \
		if (__builtin_expect(hit, 1))                                                                                   \
			done = __atomic_compare_exchange_n((type *)host, &was, desired, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		fl_tlb_end(cpu);                                                                                                \
		if (__builtin_expect(!hit, 0))                                                                                  \
			return fl_cpu_cas(cpu, addr, expected, &desired, sizeof desired);                                       \
		*expected = was;                                                                                                \
		return done;                                                                                                    \
	}

FL_TYPED_CAS(32, uint32_t)
FL_TYPED_CAS(64, uint64_t)

/* ---- Access without a cpu: from any thread ---- */

/*
 * Copies out of, or into, the space, whatever pages that crosses. The number of bytes copied, fewer than `size` where an access
 * fails; -1 with errno EFAULT when the first byte does, or EINVAL (not a soft space). *fault, when not NULL, says why it stopped.
 */
ssize_t fl_space_read(fl_space *space, uint64_t addr, void *buf, size_t size, struct fl_fault *fault);
ssize_t fl_space_write(fl_space *space, uint64_t addr, const void *buf, size_t size, struct fl_fault *fault);

/*
 * The host's address of a byte of the guest, and in *length the bytes from there to the end of its page. With FL_ACCESS_WRITE
 * they may be written. Valid until fl_space_release() of the same address: the page stays in memory until then, also when
 * it is unmapped, and counts as pinned (fl_pin()); memory of a device stays as long as its store. What was translated for reading
 * does not follow a copy that the guest makes by writing later. NULL with errno: EFAULT and *fault; EINVAL; ENOMEM (half of the
 * budget is pinned, or a page 65535 times).
 */
void *fl_space_translate(fl_space *space, uint64_t addr, enum fl_access access, size_t *length, struct fl_fault *fault);
int fl_space_release(fl_space *space, void *host);

/* ---- Sight ---- */

/* A level of the page tables, from the top. */
struct fl_walk_entry {
	unsigned level; /* 5 PGD (with five levels), 4 PGD or P4D, 3 PUD, 2 PMD, 1 PTE */
	unsigned index; /* in its table */
	uint64_t entry; /* as it stands in the table, see FL_PTE_ */
};

/* Bits of an entry. Bits 12 to 51 are the number of a table, or of the host's page that holds the bytes. */
enum {
	FL_PTE_PRESENT = 0x1,
	FL_PTE_WRITE = 0x2,
	FL_PTE_USER = 0x4, /* not set: PROT_NONE */
	FL_PTE_ACCESSED = 0x20,
	FL_PTE_DIRTY = 0x40,
	FL_PTE_SPECIAL = 0x200, /* software: the zero page, or memory of a device; without FL_PTE_PRESENT, a guard */
	FL_PTE_ANON = 0x400,    /* software: a private page */
};
#define FL_PTE_NX (1ULL << 63)

struct fl_walk {
	size_t size; /* set to sizeof(struct fl_walk) */
	unsigned count;
	struct fl_walk_entry level[5];
	char page[32];     /* what is there: "file", "private", "zero page", "device", "swap", "guard", "nothing" */
	uint64_t where;    /* byte of the file, or of the swap */
	uint32_t mappings; /* entries that show the same private page or piece of swap; 0 for others */
};

/* The page tables as they stand for an address; nothing is brought in. 0, or -1 with errno EINVAL (not a soft space; the address is outside). */
int fl_space_walk(fl_space *space, uint64_t addr, struct fl_walk *walk);

enum fl_dump {
	FL_DUMP_MAPS = 0,  /* as /proc/PID/maps: fl_space_maps() */
	FL_DUMP_PAGES = 1, /* each mapping's entries under its line, as `faultline walk` reads and prints them */
};
/* 0, or -1 with errno of fl_maps(), or EINVAL. */
int fl_space_dump(fl_space *space, int fd, enum fl_dump what);

#ifdef __cplusplus
}
#endif

#endif
