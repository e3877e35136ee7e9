/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faultline: mmap(2) and what the kernel does behind it, in user space, within a hard memory budget.
 *
 * The calls have the signatures, flags, return values and errors of <sys/mman.h>. Loads and stores on the memory they
 * return are plain loads and stores; pages come in on first use and leave when the budget asks for it. Each function
 * says where it differs; faultline(7) has the whole picture.
 *
 * All functions are thread-safe. None may be called from a signal handler. A library and a program may both use
 * Faultline: there is one page cache and one budget to a process.
 */
#ifndef FAULTLINE_H
#define FAULTLINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FL_VERSION_MAJOR 0
#define FL_VERSION_MINOR 1
#define FL_VERSION_PATCH 0

/* "0.1.0": the version of the library in use, which may be newer than the header. */
const char *fl_version(void);

/* ---- Start and end ---- */

/* How page faults reach Faultline. */
enum fl_faults {
	FL_FAULTS_DEFAULT = 0, /* FAULTLINE_FAULTS, else inline, else SIGSEGV where userfaultfd is refused */
	/*
	 * In the thread that faults, by SIGBUS: the fastest. System calls on pages that are not in memory fail with EFAULT;
	 * pin such memory first (fl_pin), or run the program under `faultline run`, which does.
	 */
	FL_FAULTS_INLINE = 1,
	/*
	 * In threads of Faultline's own: slower (a thread must wake twice for each fault), but system calls on mapped
	 * memory work by themselves. Needs CAP_SYS_PTRACE or vm.unprivileged_userfaultfd=1.
	 */
	FL_FAULTS_THREAD = 2,
	/*
	 * Not at all: there are only the spaces of faultline_soft.h, which need no userfaultfd. The calls on other spaces answer ENOSYS.
	 * For fl_init() alone.
	 */
	FL_FAULTS_NONE = 3,
	/*
	 * In the thread that faults, by SIGSEGV and mprotect(2): without userfaultfd, on Linux 5.10 and later. System calls as with
	 * FL_FAULTS_INLINE; slower, and without hosts, huge pages and guard regions (EINVAL). Takes /proc. All spaces of a process, or none.
	 */
	FL_FAULTS_SIGSEGV = 4,
};

enum fl_direct {
	FL_DIRECT_DEFAULT = 0, /* FAULTLINE_DIRECT, else off */
	FL_DIRECT_OFF = 1,     /* through the kernel's page cache */
	FL_DIRECT_ON = 2,      /* O_DIRECT where the file system allows it */
};

/* What the program's own signal handlers do. */
enum fl_handlers {
	FL_HANDLERS_DEFAULT = 0, /* FL_HANDLERS_TOUCH */
	FL_HANDLERS_TOUCH = 1,   /* they may access Faultline memory: every call blocks signals while it works */
	/*
	 * None ever accesses Faultline memory, nor does one of another library: a call then costs two system calls less. A
	 * handler that does so all the same may wait for ever.
	 */
	FL_HANDLERS_DO_NOT_TOUCH = 2,
};

/* Set size to sizeof(struct fl_options) and what is not needed to 0; fields may be added at the end. */
struct fl_options {
	size_t size;
	uint64_t budget; /* bytes; 0: FAULTLINE_BUDGET, else 1 GiB or a quarter of memory if that is less; from 1 MiB */
	enum fl_faults faults;
	enum fl_direct direct;
	const char *swap_directory; /* for dirty private pages; NULL: FAULTLINE_SWAP, $TMPDIR, /var/tmp, /tmp */
	enum fl_handlers handlers;
	/*
	 * The socket of a host (`faultline host`) that keeps the pages of files for this process and others: a path, or '@' and the name of an
	 * abstract socket; "" for none, NULL: FAULTLINE_HOST, else none. Shared mappings are then coherent with those of other clients, stores
	 * outlive this process however it ends, a fork keeps shared mappings, and memory is of the host's budget: `budget` does not count.
	 */
	const char *host;
};

/*
 * Starts Faultline with these options; NULL means all defaults. Not required: the first call of another function here
 * (fl_version(), fl_exit(), fl_stats() and the pins excepted) does it with the defaults, and can fail as this. Installs a SIGBUS handler (SIGSEGV, with FL_FAULTS_SIGSEGV), which passes on
 * what is not Faultline's.
 *
 * 0, or -1 with errno:
 *   EBUSY   started already
 *   EPROTONOSUPPORT  the host is of another version of Faultline
 *   EINVAL  a budget under 1 MiB or over physical memory, an option or a FAULTLINE_* variable that makes no sense
 *   ENOSYS  FL_FAULTS_INLINE or _THREAD, and the kernel has no userfaultfd, or lacks a feature that is needed (Linux 5.19 and later have them);
 *           FL_FAULTS_SIGSEGV, or no userfaultfd, and /proc/self/mem does not write to memory without access rights (proc(5))
 *   EPERM   FL_FAULTS_INLINE, and userfaultfd is refused here, or FL_FAULTS_THREAD without the privilege for it, or the host is another user's. (That nobody
 *           listens at the host's socket is no error: the process goes on by itself, and a line in the log says so.)
 *   ENOMEM  no memory
 *   EMFILE, ENFILE, EAGAIN  no descriptor, or no thread, left
 *   ENOENT, EACCES, EOPNOTSUPP, ...  swap_directory cannot hold a temporary file (open(2), O_TMPFILE)
 */
int fl_init(const struct fl_options *options);

/*
 * Writes back what is dirty, unmaps every Faultline mapping of every space and stops: fl_init() may follow. No other
 * thread may use Faultline or its mappings meanwhile. A process that ends writes back by itself and need not call it.
 *
 * 0, or -1 with errno: EINVAL (not started); EIO, ENOSPC, ... (a write-back failed: all is stopped, stores are lost).
 */
int fl_exit(void);

/* ---- The calls of <sys/mman.h>, on the default space ---- */

/*
 * mmap(2): a regular file, shared or private; anonymous memory (MAP_ANONYMOUS or /dev/zero), shared or private. All flags
 * of the manual page. The mapping outlives close(fd). The pages of a file are shared by all its mappings in the process,
 * which are therefore coherent; those of anonymous memory go to swap (see swap_directory) when the budget is short.
 *
 * Files in memory (tmpfs, memfd_create(2), shm_open(3)), devices, and MAP_HUGETLB are mapped by the kernel itself: there
 * is nothing to cache. They are part of the space all the same, and the calls below work on them.
 *
 * The address, or MAP_FAILED with errno:
 *   EACCES     fd is not open for reading, or PROT_WRITE with MAP_SHARED and fd not open O_RDWR
 *   EAGAIN     MAP_LOCKED, or after fl_mlockall(MCL_FUTURE): over RLIMIT_MEMLOCK, or over half of the budget
 *   EBADF      fd is not a descriptor
 *   EEXIST     MAP_FIXED_NOREPLACE and the range is in use
 *   EFBIG      RLIMIT_FSIZE is set: it would apply to the memory that holds the pages of files mapped more than once
 *   EINVAL     length 0; offset or (MAP_FIXED) addr not a multiple of the page size; no or an impossible mapping type;
 *              MAP_GROWSDOWN of a file or of shared memory; MAP_HUGETLB of a file that is not on hugetlbfs
 *   EHOSTDOWN  the host that this process has joined has gone
 *   EMFILE, ENFILE  no descriptor left: a mapped file needs up to two (three with O_DIRECT), shared anonymous memory too
 *   ENODEV     fd is a directory, a pipe, a socket
 *   ENOMEM     no address space; too many mappings; a limit of the space; no room in the budget for what must be kept of
 *              a mapping; MAP_HUGETLB and no huge pages
 *   EOPNOTSUPP MAP_SYNC, or a flag unknown to MAP_SHARED_VALIDATE; a file open with O_APPEND, before Linux 6.9, that
 *              cannot be opened a second time
 *   EOVERFLOW  offset + length overflows off_t, or is beyond 4 PiB
 *   EPERM      PROT_EXEC and the file system is mounted noexec; a seal of the file forbids it; MAP_LOCKED and
 *              RLIMIT_MEMLOCK is 0; an address under mmap_min_addr, or 64 KiB in a native space; a sealed mapping (fl_mseal)
 *              is in the way
 * or what fl_init() says when this is the first call.
 */
void *fl_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);

/*
 * munmap(2) of whole or partial mappings; parts of the range that are not Faultline's are left alone. When the last
 * mapping of a file goes, its dirty pages are written back first.
 *
 * 0, or -1 with errno: EINVAL (addr not page aligned, length 0, or a range beyond the address space); ENOMEM (a mapping
 * would be split and there are too many); EPERM (part of the range is sealed: nothing is unmapped).
 */
int fl_munmap(void *addr, size_t length);

/*
 * mprotect(2). 0, or -1 with errno: EACCES (PROT_WRITE on a shared mapping of a file not open for writing; PROT_EXEC of a
 * file on a file system mounted noexec); EINVAL (alignment, protection; PROT_GROWSDOWN where nothing grows); ENOMEM (part
 * of the range is not a Faultline mapping, or a limit of the space); EPERM (sealed). What precedes the part that is to
 * blame is changed, as by mprotect(2).
 */
int fl_mprotect(void *addr, size_t length, int prot);

/*
 * mremap(2): MREMAP_MAYMOVE, MREMAP_FIXED and MREMAP_DONTUNMAP (with the new address as fifth argument), old_size 0.
 *
 * The address, or MAP_FAILED with errno: EAGAIN (growth of a locked mapping, see fl_mlock()); EFAULT (not a Faultline
 * mapping, or growth over more than one); EINVAL (flags, alignment, sizes, overlapping ranges, old_size 0 of a private
 * mapping); ENOMEM (no room to grow and no MREMAP_MAYMOVE; a limit); EPERM (sealed; a new address that fl_mmap refuses).
 */
void *fl_mremap(void *old_address, size_t old_size, size_t new_size, int flags, ...);

/*
 * msync(2). MS_SYNC writes back the dirty pages of the range and returns when they are on stable storage
 * (fdatasync(2)); MS_ASYNC hands them to the operating system; MS_INVALIDATE has nothing to do, as on Linux.
 *
 * 0, or -1 with errno: EBUSY (MS_INVALIDATE and part of the range is locked); EINVAL (flags, alignment); ENOMEM (part of
 * the range is not mapped: the rest was synced); EIO, ENOSPC, EDQUOT, ... (a write-back of the file failed, now or since
 * this mapping last asked; the pages stay dirty and in memory, and the next call tries again); EHOSTDOWN (the
 * host that has the file has gone: what was not synced is lost).
 */
int fl_msync(void *addr, size_t length, int flags);

/*
 * madvise(2), all advice of Linux 6.13. MADV_NORMAL, MADV_RANDOM and MADV_SEQUENTIAL set the read-ahead; MADV_WILLNEED
 * reads ahead now (a quarter of the budget at most; see fl_prefetch()); MADV_NOHUGEPAGE keeps huge pages out of a mapping, which else
 * a file that is only read, in order and with O_DIRECT, may have; MADV_HUGEPAGE, MADV_MERGEABLE and its opposite are noted and shown, and nothing
 * is done about them. MADV_GUARD_INSTALL and _REMOVE need a kernel that has them.
 *
 * 0, or -1 with errno: EACCES (MADV_REMOVE without write access); EAGAIN (no memory for a split mapping); EFAULT, EIO
 * (MADV_POPULATE_* met a page that cannot be had); EINVAL (unknown advice, alignment, or one that this kind of mapping
 * refuses: MADV_FREE and MADV_WIPEONFORK of files; MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_COLD, MADV_PAGEOUT of
 * locked pages); ENOMEM (part of the range is not mapped: the rest was advised); EOPNOTSUPP (MADV_REMOVE where the file
 * system has no holes); EPERM (MADV_HWPOISON, MADV_SOFT_OFFLINE, always; sealed).
 */
int fl_madvise(void *addr, size_t length, int advice);

/* length bytes at addr, which need not be a multiple of the page size. */
struct fl_range {
	void *addr;
	size_t length;
};

/*
 * Starts to read the pages of files that the n ranges touch, as MADV_WILLNEED does for each, and returns while the reads are under
 * way, many at once: a look-up of a batch of keys asks for all of their pages first. A page is installed when Faultline next serves a
 * fault or a prefetch after it came in, and then costs no fault; who accesses it before waits for this one. A hint: what
 * cannot be read, and what there is no memory for, is left to the access. Reads beyond 128 at a time (fewer with a budget below 32 MiB, and 16
 * of more than a page) are waited for.
 *
 * 0, or -1 with errno: EINVAL (a range goes beyond the end of addresses: none was started); ENOMEM (part of a range is not mapped:
 * the rest was started).
 */
int fl_prefetch(const struct fl_range *ranges, size_t n);
/* posix_madvise(3): the error number is the answer. POSIX_MADV_DONTNEED does nothing, as in the C library. */
int fl_posix_madvise(void *addr, size_t length, int advice);

/*
 * mincore(2): bit 0 of vec[i] says whether page i is in memory now. 0, or -1 with errno: EINVAL (alignment); ENOMEM
 * (part of the range is not mapped); EFAULT (vec).
 */
int fl_mincore(void *addr, size_t length, unsigned char *vec);

/*
 * mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2), for the mappings of the space. Locked pages stay in memory;
 * with MLOCK_ONFAULT (MCL_ONFAULT) from when they are first used. The budget is the machine's memory: half of it may be
 * locked or pinned. A store to a locked page of a file can still fault after a write-back, without input or output.
 *
 * 0, or -1 with errno: EAGAIN (a page could not be brought in); EINVAL (flags; range); ENOMEM (over RLIMIT_MEMLOCK or half
 * of the budget: nothing is locked; part of the range is not mapped: what precedes it is locked, not brought in; or the
 * mapping may not be read); EPERM (RLIMIT_MEMLOCK is 0).
 */
int fl_mlock(const void *addr, size_t length);
int fl_mlock2(const void *addr, size_t length, unsigned flags);
int fl_munlock(const void *addr, size_t length);
int fl_mlockall(int flags);
int fl_munlockall(void);

/*
 * mseal(2), on kernels that do not have it too: munmap, mremap, mprotect, mmap over it and advice that discards answer
 * EPERM from now on. 0, or -1 with errno: EINVAL (flags, alignment, range); ENOMEM (part of the range is not mapped).
 */
int fl_mseal(void *addr, size_t length, unsigned long flags);

/*
 * remap_file_pages(2), as Linux has done it since 4.0: a shared mapping shows other pages of its file from now on.
 * 0, or -1 with errno: EINVAL (prot not 0; not a shared mapping of one file; range); and those of fl_mmap().
 */
int fl_remap_file_pages(void *addr, size_t size, int prot, size_t pgoff, int flags);

/* ---- Memory for system calls ---- */

enum fl_pin_flags {
	FL_PIN_READ = 0,  /* the kernel will read the memory (write(2), send(2)) */
	FL_PIN_WRITE = 1, /* the kernel will write it (read(2), recv(2)): pages become dirty */
};

/*
 * Brings the pages of the range in and keeps them in memory, mapped, until fl_unpin(): system calls can use them. Pins
 * nest. Parts of the range that are not Faultline's are ignored, so any buffer may be given.
 *
 * 0, or -1 with errno; after failure nothing is pinned:
 *   EFAULT  part of the range is beyond the end of the file, or FL_PIN_WRITE on memory that may not be written
 *   EINVAL  flags
 *   ENOMEM  pins may take at most half of the budget, each pin counted, and 65535 a page; or all else is dirty and stuck
 *   EIO     a page could not be read
 */
int fl_pin(const void *addr, size_t length, int flags);
int fl_unpin(const void *addr, size_t length);

/* ---- File calls that see, and are seen by, the mappings of the file ---- */

/*
 * pread(2), pwrite(2), ftruncate(2) on a file that Faultline may have mapped. The kernel's own calls do not know of
 * stores that are not written back, and Faultline does not know of theirs. buf may be Faultline memory.
 */
ssize_t fl_pread(int fd, void *buf, size_t count, off_t offset);
ssize_t fl_pwrite(int fd, const void *buf, size_t count, off_t offset);
int fl_ftruncate(int fd, off_t length);

/* ---- Counters ---- */

/* Set size to sizeof(struct fl_stats) before the call. Counts since fl_init(); fields may be added at the end. */
struct fl_stats {
	size_t size;
	uint64_t budget_bytes;
	uint64_t used_bytes;            /* frames, buffers, metadata and the allowance now */
	uint64_t peak_bytes;            /* the most it ever was; never over budget_bytes */
	uint64_t metadata_bytes;        /* of used_bytes: page table, mappings, files */
	uint64_t buffer_bytes;          /* of used_bytes: bounce buffers */
	uint64_t mapped_bytes;          /* address space mapped now */
	uint64_t mappings;              /* VMAs now */
	uint64_t files;                 /* files mapped now */
	uint64_t faults;                /* served */
	uint64_t faults_hit;            /* of those: the page was in memory */
	uint64_t faults_write;          /* of those hits: only write permission was missing */
	uint64_t reads, read_bytes;     /* from stores */
	uint64_t writes, written_bytes; /* to stores */
	uint64_t pages_read_ahead;
	uint64_t evictions;     /* pages */
	uint64_t writebacks;    /* pages */
	uint64_t swapped_bytes; /* private pages written to swap */
	uint64_t read_errors, write_errors;
	uint64_t fault_ns;        /* time spent in faults, all threads together */
	uint64_t allowance_bytes; /* of used_bytes: kept free for the library's own data and for errors of measurement */
	uint64_t soft_spaces;     /* spaces of faultline_soft.h now; their mappings are counted above */
	uint64_t table_bytes;     /* of metadata_bytes: their page tables */
	uint64_t private_pages;   /* private pages of theirs, in memory or in swap; one that several spaces share counts once */
};

/* 0, or -1 with errno EINVAL (not started, or size is 0). Fills at most stats->size bytes. */
int fl_stats(struct fl_stats *stats);

/* ---- What is mapped ---- */

/*
 * Writes the mappings to a descriptor as the kernel shows them in /proc/PID/maps and /proc/PID/smaps (proc(5)), in the order
 * of addresses; nothing when there are none. A page counts for every mapping that would show it without reading it in. The
 * mappings may change meanwhile: what is written is right mapping by mapping.
 *
 * 0, or -1 with errno: EBADF (fd is not open for writing); EAGAIN, EIO, ENOSPC, EPIPE, ... (see write(2); part may have
 * been written); and what fl_init() says when this is the first call.
 */
int fl_maps(int fd);
int fl_smaps(int fd);

/* ---- Explicit spaces ---- */

/*
 * A space is a set of mappings with its own lock and its own way of serving faults. All spaces of a process share the
 * page cache, the budget and the process's addresses. The calls above act on the default space.
 */
typedef struct fl_space fl_space;

/* sysctl vm.overcommit_memory. A native space is subject to the kernel's own policy besides. */
enum fl_overcommit {
	FL_OVERCOMMIT_DEFAULT = 0,   /* always */
	FL_OVERCOMMIT_HEURISTIC = 1, /* no single mapping of more than commit_limit */
	FL_OVERCOMMIT_ALWAYS = 2,
	FL_OVERCOMMIT_NEVER = 3, /* all private writable and shared anonymous memory together under commit_limit */
};

/* Set size to sizeof(struct fl_space_options) and what is not needed to 0; fields may be added at the end. */
struct fl_space_options {
	size_t size;
	enum fl_faults faults;
	enum fl_overcommit overcommit;
	uint64_t commit_limit;        /* bytes */
	uint64_t map_count;           /* mappings at most; 0: 65530, as vm.max_map_count */
	uint64_t address_space_limit; /* bytes mapped at most, as RLIMIT_AS; 0: none */
	uint64_t data_limit;          /* private writable bytes at most, as RLIMIT_DATA; 0: none */
	uint64_t memlock_limit;       /* bytes locked at most, privileged or not; 0: the process's RLIMIT_MEMLOCK */
	uint64_t mmap_min_addr;       /* no MAP_FIXED below it; 0: the kernel's vm.mmap_min_addr. At least 64 KiB in a native space */
};

/* NULL with errno as fl_init() says, or EINVAL (options that make no sense). At most 16 spaces, 4 of them with FL_FAULTS_THREAD: ENOMEM. options may be NULL. */
fl_space *fl_space_create(const struct fl_space_options *options);
/* Unmaps all of it; no thread may use it or its memory any more. 0, or -1 with errno EINVAL (the default space). */
int fl_space_destroy(fl_space *space);
/* The space of the calls without one. */
fl_space *fl_space_default(void);

void *fl_space_mmap(fl_space *space, void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int fl_space_munmap(fl_space *space, void *addr, size_t length);
int fl_space_mprotect(fl_space *space, void *addr, size_t length, int prot);
void *fl_space_mremap(fl_space *space, void *old_address, size_t old_size, size_t new_size, int flags, void *new_address);
int fl_space_msync(fl_space *space, void *addr, size_t length, int flags);
int fl_space_madvise(fl_space *space, void *addr, size_t length, int advice);
int fl_space_prefetch(fl_space *space, const struct fl_range *ranges, size_t n);
int fl_space_mincore(fl_space *space, void *addr, size_t length, unsigned char *vec);
int fl_space_mlock2(fl_space *space, const void *addr, size_t length, unsigned flags);
int fl_space_munlock(fl_space *space, const void *addr, size_t length);
int fl_space_mlockall(fl_space *space, int flags);
int fl_space_munlockall(fl_space *space);
int fl_space_mseal(fl_space *space, void *addr, size_t length, unsigned long flags);
int fl_space_remap_file_pages(fl_space *space, void *addr, size_t size, int prot, size_t pgoff, int flags);
int fl_space_maps(fl_space *space, int fd);
int fl_space_smaps(fl_space *space, int fd);

#ifdef __cplusplus
}
#endif

#endif
