/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct address_space: the pages of one object - a file, or the private pages of one mapping - and where they are
 * mapped (rmap.h). As struct address_space of Linux.
 *
 * Frames come in kinds behind frame_ops. `shmem`: the pages of a file live in a memfd as long as any file can be,
 * offset for offset, which every mapping of the file maps. `pool`: each page of a file lives in the one place where it is
 * mapped, in anonymous memory, which is cheaper to fill and to give back; a file starts so, and turns to shmem when a page
 * could be mapped twice (mm/convert.c). `anon`: a private page lives only where it is mapped. `hosted`: in another process's memfd, and all
 * that is known of them is there too (hosted.h). `ram` and `slots`: those of soft spaces, see ram.h.
 */
#ifndef FL_CACHE_ADDRESS_SPACE_H
#define FL_CACHE_ADDRESS_SPACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmu/mmu.h"
#include "page.h"
#include "rmap.h"
#include "store/store.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/report.h"

struct address_space;

struct frame_ops {
	const char *name;
	/* Copies n stable pages out. */
	int (*snapshot)(struct address_space *as, uint64_t index, uint32_t n, void *buf);
	/* Writes n stable pages to the store without a copy; NULL where snapshot is used. */
	int (*write_out)(struct address_space *as, uint64_t index, uint32_t n);
	/*
	 * Frees the memory of n clean pages; what lives where it is mapped only gets ready, and goes by frames_zap_add() after.
	 * *kept: pages of memory that remembering them took instead.
	 */
	int (*drop)(struct address_space *as, uint64_t index, uint32_t n, uint32_t *kept);
	/* The same for pages nobody will ask for again. */
	void (*discard)(struct address_space *as, uint64_t index, uint64_t n);
	/* Write-protects n pages in every mapping; NULL where that is done by address (rmap_protect). */
	int (*protect)(struct address_space *as, uint64_t index, uint32_t n);
	/*
	 * Puts n pages that were read in into their frames, clean, the caller having their locks; how many could be, from the first on.
	 * NULL where pages are not read ahead of a fault.
	 */
	uint32_t (*install)(struct address_space *as, uint64_t index, uint32_t n, const void *data);
	bool by_page; /* discard() is told of each page, while it is in the table */
};

#define RA_STREAMS 4

/* Misses that go backwards or in strides, see readahead.c. Written without a lock: a race costs a guess. */
struct ra_track {
	_Atomic uint64_t last, edge; /* where the program was; where what is under way ends */
	_Atomic int64_t step;        /* pages; 0: not known yet */
	_Atomic uint32_t proof;      /* misses that the step foretold */
};

struct address_space {
	/*
	 * Read: the bytes of the store go into the cache or come from it. Write: the bytes or the size of the store are
	 * changed by other means (write(2), ftruncate(2)). Taken after buffers, before page locks. First, and never cleared: reclaim may
	 * try it on an object that was just freed, and finds out after.
	 */
	struct rwlock invalidate_lock;
	uint16_t id;                            /* constant */
	const struct frame_ops *_Atomic frames; /* pool becomes shmem under every lock of its mappings and invalidate_lock */
	struct store *store;                    /* constant; swap for anon, NULL when there is none */
	int memfd;                              /* changes with frames; -1 where there is none */
	struct mmu *pool_mmu;                   /* pool frames: of the one space that maps it; rmap_lock */
	_Atomic uint32_t host_file;             /* hosted: its handle; changes when it is opened for writing too, and over a fork */
	uint32_t host_file_before;              /* hosted: the handle from before that; 0: none */
	bool host_direct;                       /* hosted: the kernel's page cache has nothing to do with it; constant */
	_Atomic uint32_t host_shrunk;           /* hosted: what channel_shrunk() said when it was last looked at */
	const char *label;                      /* constant: of a store that is no file, its name; NULL for files */
	bool device;                            /* constant: a store that shows memory of its own; no pages here */
	bool zero;                              /* constant: what private anonymous memory maps; no pages of its own, no store */
	bool scratch;                           /* constant: its bytes die with its last mapping (shared anonymous memory) */
	struct file_id file;                    /* constant */
	struct report_file *report;             /* constant */
	struct address_space *next, **link;     /* all files: files_lock */
	struct address_space *next_alike;       /* those of the same hash: files_lock */
	struct address_space **link_alike;      /* of that list: files_lock */
	uint32_t refs;                          /* files_lock; mappings and operations that use it */
	_Atomic uint64_t size;                  /* of the file in bytes, as last seen; changes under invalidate_lock */
	struct rmap *rmaps;                     /* rmap_lock */
	_Atomic uint64_t nr_pages;              /* in the table */
	_Atomic uint64_t nr_dirty;              /* of those, not CLEAN */
	_Atomic bool handed;                    /* its shared mappings are the kernel's; only ever set, under every mmap_lock */
	bool kernels;                           /* constant: all its mappings are: a file in memory, a device. No frames */
	bool append_only;                       /* constant: an attribute of the inode (chattr +a) */
	bool noexec;                            /* constant: on a file system mounted so */
	_Atomic bool converting;                /* from pool to shmem frames: no page leaves */
	_Atomic uint32_t huge_failures;         /* huge pages that could not be moved to where they belong */
	_Atomic uint32_t locked;                /* mappings that are locked: changes under rmap_lock */
	_Atomic bool failing;                   /* the last write-back failed: reclaim looks for room elsewhere */
	_Atomic uint32_t wb_err;                /* errseq: error << 16 | count of errors, 0 when none yet */
	_Atomic uint32_t in_flight;             /* requests of io.c; started under invalidate_lock (read) */
	_Atomic uint32_t writes_tail;           /* futex: the end of the file is being written by the kernel's page cache (writeback.c) */
	_Atomic uint32_t direct_writes;         /* futex: threads that write past it, and are not in flight */
	_Atomic uint64_t streams[RA_STREAMS];   /* read-ahead: next index << 16 | window */
	_Atomic uint32_t stream_turn;
	struct ra_track tracks[RA_STREAMS];
	_Atomic uint32_t track_turn;
	/* anon only */
	_Atomic uint64_t *swapped; /* constant: a bit per page: in the store, not in memory. The page's lock guards its bit */
	uint64_t anon_pages;       /* constant: length of the object */
	_Atomic uint64_t nr_swapped;
	_Atomic uint64_t swap_paid; /* which parts of the bitmap are paid for, see frames.c */
	_Atomic uint32_t anon_refs; /* the mappings, and whoever works on it without one */
};

struct arena;

int address_space_init(bool direct);
/*
 * Files are kept for other processes as well: not all that maps them is in the reverse map. `filter`, of WIRE_FILTER counters that are 0, says
 * for each hash of an inode (wire_filter) how many files there are; it changes before a file can be had, and after it was written
 * back and is gone; `dirty`, as many, how many pages of these files are not clean: one is counted before anybody can store to it, and until the file has
 * what was stored; `count` how many files in all. Before the first file.
 */
void address_space_serve_others(_Atomic uint32_t *filter, _Atomic uint32_t *dirty, _Atomic uint32_t *count);
extern FL_HIDDEN bool address_space_has_others;
static inline bool address_space_serves_others(void)
{
	return address_space_has_others;
}
/* as_count_dirty() for the others. */
void address_space_show_dirty(const struct address_space *as, int n);
void address_space_exit(void);
struct arena *address_space_arena(void);

struct stat;

/*
 * The address_space of the file behind fd (st: its status), made when it is new; the caller owns a reference. -errno: EMFILE, ENOMEM,
 * EOPNOTSUPP (see file_store_open), EFBIG (RLIMIT_FSIZE would apply to the frames), EBUSY (mapped in spaces of the other family).
 */
int address_space_get(int fd, const struct stat *st, bool soft, struct address_space **out);
/*
 * Before anything of it is read for a mapping: waits until changes that went past the cache, as nobody had it mapped, are done. The caller holds
 * a reference and no lock.
 */
void address_space_settle(struct address_space *as);
/* The object of a new mapping of shared anonymous memory: a temporary file that nobody else has. -ENOMEM, -EMFILE, ... */
int address_space_new_scratch(uint64_t bytes, bool soft, struct address_space **out);
/* The object of a store that is no file, for soft spaces; the store is closed with it. */
int address_space_new_store(struct store *store, struct address_space **out);
/* The same for an object made elsewhere, by its file, which nobody is to see after its last mapping has gone. */
int address_space_get_scratch(int fd, const struct stat *st, bool soft, struct address_space **out);
/* A file that is here already, without its descriptor: NULL when it is not here. */
struct address_space *address_space_find(struct file_id file);
extern FL_HIDDEN _Atomic uint64_t address_space_files;
extern FL_HIDDEN _Atomic uint32_t *address_space_filter;
/* Cheap: whether any file is mapped at all. */
static inline bool address_space_any(void)
{
	return atomic_load_explicit(&address_space_files, memory_order_relaxed) > 0;
}
/* Cheap: false when no file at this place of the filter, wire_filter(), is mapped. */
static inline bool address_space_maybe(uint32_t place)
{
	return atomic_load(&address_space_filter[place]) != 0;
}
void address_space_hold(struct address_space *as);
/*
 * Gives a reference back. With the last one, writes back and frees; when the write-back fails the address_space stays,
 * with its dirty pages, for the next one who maps the file. Returns that error.
 */
int address_space_put(struct address_space *as);
/* The path of the file as the kernel names it now: with " (deleted)" behind it when it is; "" when that cannot be told. */
void address_space_path(struct address_space *as, char *path, size_t len);
/* What private anonymous memory maps: reads as zeros, and has no end. */
struct address_space *address_space_zero(void);
/* The object of the private pages of soft spaces, with swap of `bytes` if there is any; and a reverse map without pages (ram.h). */
int address_space_new_slots(const struct frame_ops *frames, uint64_t bytes, struct address_space **out);
int address_space_new_family(struct address_space *file, struct address_space **out);
/* A small number for an object, and the object again. */
uint32_t address_space_handle(const struct address_space *as);
struct address_space *address_space_at(uint32_t handle);
/* The private pages of a mapping of `pages` pages of `file`. Runs in a fault. */
int address_space_new_anon(struct address_space *file, uint64_t pages, struct address_space **out);
struct address_space *address_space_of(struct page_key key);
/* Calls fn for each file, with a reference held; stops at the first non-zero answer and returns it. */
int address_space_for_each(int (*fn)(struct address_space *as, void *arg), void *arg);
uint64_t address_space_count(void);
/*
 * fork: before, the table of files and swap are made to hold still. In the child each file gets frames of its own, empty, and
 * private pages stay; *pages is what all of this holds of the budget, frames and tables excepted.
 */
void address_space_fork_prepare(void);
void address_space_fork_parent(void);
void address_space_fork_child_begin(void);
int address_space_fork_child(uint64_t *pages);
/* Which pages the child keeps: private ones, unless they were leaving. The memory of these, if it has not gone yet, goes in the child. */
bool address_space_fork_keeps(struct page_key key, uint32_t word);

/* errseq: the value to remember, and what to report to someone who remembers `since` (0 or -errno; updates it). */
uint32_t wb_err_sample(struct address_space *as);
int wb_err_check(struct address_space *as, uint32_t *since);
void wb_err_set(struct address_space *as, int err);

/*
 * Takes runs of pages out of the mappings where they live, with few flushes of the TLB: begin, any number of adds, end. Holds
 * rmap_lock (read) from begin to end. Small, since it lies on the stack of a signal handler.
 */
struct frames_zap {
	struct mmu *mmu;
	struct mmu_range range[MMU_RANGES];
	uint32_t n;
};
void frames_zap_begin(struct frames_zap *z);
void frames_zap_add(struct frames_zap *z, struct address_space *as, uint64_t index, uint64_t n);
/*
 * The same for what lives elsewhere: out of every mapping that rmap_can_unmap() allows. Where they are other processes' the pages are CLEAN:
 * they are taken out of the frames, which takes them out of all mappings, and put back.
 */
void frames_zap_add_mapped(struct frames_zap *z, struct address_space *as, uint64_t index, uint64_t n);
void frames_zap_end(struct frames_zap *z);

/* Frames of a file. */
int frame_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len);
int frame_read(struct address_space *as, uint64_t off, void *buf, uint64_t len);
/* On shmem frames: whether all of these pages are in the memfd. False where the kernel does not tell (before Linux 6.5), as frames_can_tell() then says. */
bool frames_hold(struct address_space *as, uint64_t index, uint64_t n);
bool frames_can_tell(void);
/* Drops every frame from page `index` on, and what any mapping, private ones too, has of them. */
int frame_truncate(struct address_space *as, uint64_t index);
/* A page that nobody maps, and whose place in the table the caller has, has no memory any more (shmem frames). */
void frame_empty(struct address_space *as, uint64_t index);

/* Whether its pages are private ones. */
bool as_is_anon(const struct address_space *as);
/* Whether it is a file on pool frames. */
bool as_is_pool(const struct address_space *as);
/* Whether its pages are with a host, see hosted.h. */
bool as_is_hosted(const struct address_space *as);
/* Pool frames, or private pages: a page lives where it is mapped, and nowhere else. */
bool as_lives_mapped(const struct address_space *as);
/* Whether files start on pool frames. Before the first is mapped. */
void address_space_use_pool(bool yes);
/* From pool to shmem frames: what is in memory has been put into the memfd. See mm/convert.c for the locks. */
void address_space_set_shmem(struct address_space *as, int memfd);
/* Anon: the page's bytes are in swap. Clearing gives the space back. */
bool anon_is_swapped(struct address_space *as, uint64_t index);
/* How many of pages [index, index + n) are. */
uint64_t anon_count_swapped(struct address_space *as, uint64_t index, uint64_t n);
void anon_clear_swapped(struct address_space *as, uint64_t index, uint64_t n);
/* Gives up a reference; the last frees the object, whose pages are gone by then (truncate_pages). */
void address_space_put_anon(struct address_space *as);

/*
 * Waits until nobody changes the store by other means. That may take as long as another process wants, so who needs buffers and frames and finds
 * invalidate_lock taken gives them back, waits so, and starts again.
 */
void address_space_wait_change(struct address_space *as);
/* Refreshes size from the store. */
int address_space_stat(struct address_space *as);

/* Counts: a page came into or left the table; a page became or ceased to be dirty. */
void as_count_page(struct address_space *as, int n);
static inline void as_count_dirty(struct address_space *as, int n)
{
	atomic_fetch_add_explicit(&as->nr_dirty, (uint64_t)(int64_t)n, memory_order_relaxed);
	if (unlikely(address_space_serves_others()))
		address_space_show_dirty(as, n);
}

#endif
