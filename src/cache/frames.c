/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "budget.h"
#include "ram.h"
#include "shmem_small.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/own.h"

const char frame_zeros[FL_PAGE_SIZE];

/* As long as any file: what is past the file's end is a hole, and an access there faults and comes to us. */
#define MEMFD_SIZE (1LL << 62)

/* ---- shmem: offset for offset in a memfd ---- */

static bool file_size_is_limited(void)
{
	struct rlimit rl;

	return sys_call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&rl, 0, 0) == 0 && rl.rlim_cur != RLIM_INFINITY;
}

int shmem_frames_create(const char *name)
{
	char label[200];
	int fd, err;

	if (file_size_is_limited())
		return -EFBIG; /* it would apply to the memfd, and SIGXFSZ end the program */
	snprintf(label, sizeof label, "faultline:%s", name);
	fd = fd_move_high(sys_memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, MEMFD_SIZE);
	if (err) {
		fd_close(fd);
		return err;
	}
	shmem_small_look(fd);
	return fd;
}

void shmem_frames_hide(int memfd)
{
	sys_ftruncate(memfd, 0);
}

void shmem_frames_show(int memfd)
{
	int err = sys_ftruncate(memfd, MEMFD_SIZE);

	fl_assert(err == 0);
}

int shmem_frames_seal(int memfd)
{
	return sys_fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE);
}

static int pool_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len);

int frame_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len)
{
	if (as_is_pool(as))
		return pool_write(as, off, buf, len);
	if (as_is_ram(as))
		return ram_write(as, off, buf, len);

	shmem_small_prepare(as->memfd, off, len);

	ssize_t n = sys_pwrite(as->memfd, buf, len, (off_t)off);

	return n == (ssize_t)len ? 0 : n < 0 ? (int)n : -ENOMEM;
}

int frame_read(struct address_space *as, uint64_t off, void *buf, uint64_t len)
{
	ssize_t n = sys_pread(as->memfd, buf, len, (off_t)off);

	return n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EIO;
}

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* struct cachestat_range and struct cachestat of linux/mman.h. */
struct file_range {
	uint64_t off, len;
};
struct file_cached {
	uint64_t pages, dirty, writeback, evicted, recently_evicted;
};

static _Atomic bool cannot_tell;

bool frames_can_tell(void)
{
	return !atomic_load_explicit(&cannot_tell, memory_order_relaxed);
}

bool frames_hold(struct address_space *as, uint64_t index, uint64_t n)
{
	struct file_range range = {.off = index << FL_PAGE_SHIFT, .len = n << FL_PAGE_SHIFT};
	struct file_cached there = {0};

	if (!n) /* to the kernel that is all of the file */
		return true;
	if (sys_call(SYS_cachestat, as->memfd, (long)&range, (long)&there, 0, 0, 0) < 0) {
		atomic_store(&cannot_tell, true);
		return false;
	}
	return there.pages == n;
}

static void hide_for_good(struct address_space *as, uint64_t index, uint64_t n);

int frame_truncate(struct address_space *as, uint64_t index)
{
	int err;

	if (as_is_pool(as) || as_is_ram(as))
		return 0; /* its pages have gone from where they were */
	hide_for_good(as, index, PAGE_INDEX_MAX - index);
	err = sys_ftruncate(as->memfd, (off_t)(index << FL_PAGE_SHIFT));

	return err ? err : sys_ftruncate(as->memfd, MEMFD_SIZE);
}

static int shmem_snapshot(struct address_space *as, uint64_t index, uint32_t n, void *buf)
{
	return frame_read(as, index << FL_PAGE_SHIFT, buf, (uint64_t)n << FL_PAGE_SHIFT);
}

/* A hole is punched out of every mapping as well, private copies excepted. */
static int punch(struct address_space *as, uint64_t index, uint64_t n)
{
	uint64_t off = index << FL_PAGE_SHIFT;

	return sys_fallocate(as->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			     (off_t)min_u64(n << FL_PAGE_SHIFT, MEMFD_SIZE - off));
}

static bool hidden_first; /* constant while there are frames */

void frames_hide_first(bool yes)
{
	hidden_first = yes;
}

/* Where a hole does not fault by itself, its pages are hidden first: private copies too, which fault once more. */
static int hide_everywhere(struct address_space *as, uint64_t index, uint64_t n)
{
	int err = 0;

	if (likely(!hidden_first))
		return 0;
	read_lock(&rmap_lock);
	for (struct rmap *r = as->rmaps; r && !err; r = r->next) {
		uint64_t first = max_u64(index, r->pgoff), end = min_u64(index + n, r->pgoff + r->pages);

		if (first < end && r->mmu->hides)
			err = r->mmu->ops->hide(r->mmu, r->addr + ((first - r->pgoff) << FL_PAGE_SHIFT), (end - first) << FL_PAGE_SHIFT,
						true);
	}
	read_unlock(&rmap_lock);
	return err;
}

static void hide_for_good(struct address_space *as, uint64_t index, uint64_t n)
{
	while (hide_everywhere(as, index, n)) /* the kernel has no memory for it just now */
		sys_nanosleep(1000000);
}

static int shmem_drop(struct address_space *as, uint64_t index, uint32_t n, uint32_t *kept)
{
	int err = hide_everywhere(as, index, n);

	*kept = 0;
	return err ? err : punch(as, index, n);
}

static void shmem_discard(struct address_space *as, uint64_t index, uint64_t n)
{
	hide_for_good(as, index, n);
	punch(as, index, n);
}

void frame_empty(struct address_space *as, uint64_t index)
{
	punch(as, index, 1);
}

/* Into the memfd alone: mappings show it when they are asked for it. */
static uint32_t shmem_install(struct address_space *as, uint64_t index, uint32_t n, const void *data)
{
	if (!frame_write(as, index << FL_PAGE_SHIFT, data, (uint64_t)n << FL_PAGE_SHIFT))
		return n;
	punch(as, index, n);
	return 0;
}

const struct frame_ops shmem_frames = {
	.name = "shmem",
	.install = shmem_install,
	.snapshot = shmem_snapshot,
	.drop = shmem_drop,
	.discard = shmem_discard,
};

/* ---- anon: where it is mapped, and in swap ---- */

/*
 * The bitmap is reserved as address space and takes memory by the 4 KiB that a bit touches (128 MiB of the object). Which
 * of these pieces have been paid for says a list: one word of the address_space, or, for objects of over 8 GiB, pages in
 * front of the bitmap, which are paid for at once. So swapping out a page never costs more than the page it frees.
 */
#define BITS_PER_PIECE (FL_PAGE_SIZE * 8)
#define INLINE_PIECES 64

static uint64_t pieces_of(uint64_t pages)
{
	return pages / BITS_PER_PIECE + 1;
}

static uint64_t list_words(uint64_t pages)
{
	return (pieces_of(pages) + 63) / 64;
}

static uint64_t list_pages(uint64_t pages)
{
	return pieces_of(pages) <= INLINE_PIECES ? 0 : page_align_up(list_words(pages) * 8) >> FL_PAGE_SHIFT;
}

static _Atomic uint64_t *paid_list(struct address_space *as)
{
	return list_pages(as->anon_pages) ? as->swapped : &as->swap_paid;
}

static size_t bitmap_bytes(uint64_t pages)
{
	return (list_pages(pages) + pieces_of(pages)) << FL_PAGE_SHIFT;
}

int anon_swap_init(struct address_space *as)
{
	void *p;

	if (!budget_try_reserve(list_pages(as->anon_pages)))
		return -ENOMEM;
	p = own_reserve(bitmap_bytes(as->anon_pages));
	if (sys_is_err(p)) {
		budget_release(list_pages(as->anon_pages));
		return sys_err(p);
	}
	sys_madvise(p, bitmap_bytes(as->anon_pages), MADV_NOHUGEPAGE);
	as->swapped = p;
	return 0;
}

uint64_t anon_swap_pages(struct address_space *as)
{
	uint64_t n = list_pages(as->anon_pages);

	if (!as->swapped)
		return 0;
	for (uint64_t w = 0; w < list_words(as->anon_pages); w++)
		n += (uint64_t)__builtin_popcountll(atomic_load(&paid_list(as)[w]));
	return n;
}

void anon_swap_exit(struct address_space *as)
{
	if (!as->swapped)
		return;
	budget_release(anon_swap_pages(as));
	sys_munmap((void *)as->swapped, bitmap_bytes(as->anon_pages));
	as->swapped = NULL;
}

static _Atomic uint64_t *bit_word(const struct address_space *as, uint64_t index)
{
	return &as->swapped[(list_pages(as->anon_pages) << FL_PAGE_SHIFT) / 8 + index / 64];
}

bool anon_is_swapped(struct address_space *as, uint64_t index)
{
	if (!as->swapped || !atomic_load_explicit(&as->nr_swapped, memory_order_relaxed))
		return false;
	return atomic_load_explicit(bit_word(as, index), memory_order_relaxed) >> index % 64 & 1;
}

/* A part of the bitmap that no bit was ever set in need not be looked at. *next: where the next part begins. */
static bool piece_in_use(struct address_space *as, uint64_t index, uint64_t *next)
{
	uint64_t piece = index / BITS_PER_PIECE;

	*next = (piece + 1) * BITS_PER_PIECE;
	return atomic_load(&paid_list(as)[piece / 64]) >> piece % 64 & 1;
}

uint64_t anon_count_swapped(struct address_space *as, uint64_t index, uint64_t n)
{
	uint64_t count = 0, next;

	if (!as->swapped || !atomic_load(&as->nr_swapped))
		return 0;
	for (uint64_t i = index; i < index + n; i = next) {
		if (!piece_in_use(as, i, &next))
			continue;
		next = i + 1;
		count += anon_is_swapped(as, i);
	}
	return count;
}

/* Sets the bit; how many pages of memory that touched for the first time. */
static uint32_t set_swapped(struct address_space *as, uint64_t index)
{
	uint64_t piece = index / BITS_PER_PIECE;
	uint64_t was = atomic_fetch_or(&paid_list(as)[piece / 64], 1ULL << piece % 64);
	uint32_t cost = !(was >> piece % 64 & 1);

	if (!(atomic_fetch_or(bit_word(as, index), 1ULL << index % 64) >> index % 64 & 1))
		atomic_fetch_add(&as->nr_swapped, 1);
	return cost;
}

static bool clear_swapped_one(struct address_space *as, uint64_t index)
{
	uint64_t bit = 1ULL << index % 64;

	if (!(atomic_fetch_and(bit_word(as, index), ~bit) & bit))
		return false;
	atomic_fetch_sub(&as->nr_swapped, 1);
	return true;
}

void anon_clear_swapped(struct address_space *as, uint64_t index, uint64_t n)
{
	if (!as->swapped || !atomic_load(&as->nr_swapped))
		return;
	for (uint64_t i = index, next; i < index + n && atomic_load(&as->nr_swapped); i = next) {
		if (!piece_in_use(as, i, &next))
			continue;
		clear_swapped_one(as, i);
		next = i + 1;
	}
	as->store->ops->discard(as->store, index << FL_PAGE_SHIFT, n << FL_PAGE_SHIFT);
}

/* The mapping that has the page. Caller holds rmap_lock; NULL when it was unmapped meanwhile. */
static struct rmap *mapping_of(struct address_space *as, uint64_t index)
{
	struct rmap *r;

	for (r = as->rmaps; r; r = r->next)
		if (index >= r->pgoff && index - r->pgoff < r->pages)
			return r;
	return NULL;
}

/* Caller holds rmap_lock. The part of [index, index + n) that the mapping has; 0 when none has its first page. */
static uint64_t mapped_part(struct address_space *as, uint64_t index, uint64_t n, struct mmu **mmu, uint64_t *addr)
{
	struct rmap *r = mapping_of(as, index);

	if (!r)
		return 0;
	*mmu = r->mmu;
	*addr = r->addr + ((index - r->pgoff) << FL_PAGE_SHIFT);
	return min_u64(n, r->pgoff + r->pages - index);
}

/*
 * What an instruction of the program's own has discarded is not there to be written: the kernel would wait for a fault thread, and that for the page's
 * lock, which we hold. Zeros take its place.
 */
static void fill_discarded(struct mmu *mmu, uint64_t addr, uint64_t len)
{
	unsigned char there[64];
	uint64_t done;

	for (uint64_t n; len; addr += n, len -= n) {
		n = min_u64(len, sizeof there << FL_PAGE_SHIFT);
		if (sys_mincore((void *)addr, n, there))
			return;
		for (uint64_t i = 0; i < n >> FL_PAGE_SHIFT; i++)
			if (!(there[i] & 1))
				mmu->ops->copy(mmu, addr + (i << FL_PAGE_SHIFT), frame_zeros, FL_PAGE_SIZE, MMU_WP, &done);
	}
}

/* Pages that are not hidden again before the kernel has read them. */
static int write_mapped(struct address_space *as, struct mmu *mmu, uint64_t addr, uint64_t len, uint64_t index)
{
	int err;

	if (mmu->threads)
		fill_discarded(mmu, addr, len);
	for (int tries = 0; tries < 16; tries++) {
		err = as->store->ops->write(as->store, (void *)addr, len, index << FL_PAGE_SHIFT);
		if (err != -EFAULT || !mmu->hides)
			return err;
		err = mmu->ops->protect(mmu, addr, len);
		if (err)
			return err;
	}
	return -EFAULT; /* the program may not read them */
}

/* The kernel reads the pages where they are mapped: they are write-protected, so no copy is needed. */
static int anon_write_out(struct address_space *as, uint64_t index, uint32_t n)
{
	int err = 0;

	read_lock(&rmap_lock);
	for (uint32_t k, done = 0; done < n && !err; done += k) {
		struct mmu *mmu;
		uint64_t addr;

		k = (uint32_t)mapped_part(as, index + done, n - done, &mmu, &addr);
		if (!k)
			err = -ENOENT;
		else
			err = write_mapped(as, mmu, addr, (uint64_t)k << FL_PAGE_SHIFT, index + done);
	}
	read_unlock(&rmap_lock);
	return err;
}

/* Out of the one place where they are. */
static void mapped_discard(struct address_space *as, uint64_t index, uint64_t n)
{
	read_lock(&rmap_lock);
	for (uint64_t k, done = 0; done < n; done += k) {
		struct mmu *mmu;
		uint64_t addr;

		k = mapped_part(as, index + done, n - done, &mmu, &addr);
		if (k)
			mmu->ops->zap(mmu, addr, (uint64_t)k << FL_PAGE_SHIFT);
		else
			k = 1;
	}
	read_unlock(&rmap_lock);
}

void anon_fork_zap(struct address_space *as, uint64_t index)
{
	struct mmu *mmu;
	uint64_t addr;

	if (mapped_part(as, index, 1, &mmu, &addr))
		sys_madvise((void *)addr, FL_PAGE_SIZE, MADV_DONTNEED);
}

void frames_zap_begin(struct frames_zap *z)
{
	z->n = 0;
	read_lock(&rmap_lock);
}

static void zap_flush(struct frames_zap *z)
{
	if (z->n)
		z->mmu->ops->zap_many(z->mmu, z->range, z->n);
	z->n = 0;
}

static void zap_range(struct frames_zap *z, struct mmu *mmu, uint64_t addr, uint64_t len)
{
	if (z->n == MMU_RANGES || z->mmu != mmu)
		zap_flush(z);
	z->mmu = mmu;
	z->range[z->n++] = (struct mmu_range){.addr = addr, .len = len};
}

void frames_zap_add(struct frames_zap *z, struct address_space *as, uint64_t index, uint64_t n)
{
	for (uint64_t k, done = 0; done < n; done += k) {
		struct mmu *mmu;
		uint64_t addr;

		k = mapped_part(as, index + done, n - done, &mmu, &addr);
		if (k)
			zap_range(z, mmu, addr, k << FL_PAGE_SHIFT);
		else
			k = 1;
	}
}

#define UNMAP_PAGES 8 /* lie on the stack */

/*
 * Nobody can store to them, being CLEAN; who accesses them in between faults, and waits for the page lock.
 */
static bool take_out_and_put_back(struct address_space *as, uint64_t index, uint64_t n)
{
	char bytes[UNMAP_PAGES << FL_PAGE_SHIFT];
	uint64_t off = index << FL_PAGE_SHIFT, len = n << FL_PAGE_SHIFT;

	if (frame_read(as, off, bytes, len))
		return false;
	punch(as, index, n);
	while (frame_write(as, off, bytes, len)) /* its memory was just given back */
		sys_nanosleep(1000000);
	return true;
}

static void unmap_everywhere(struct address_space *as, uint64_t index, uint64_t n)
{
	for (uint64_t k, done = 0; done < n; done += k) {
		k = min_u64(n - done, UNMAP_PAGES);
		if (!take_out_and_put_back(as, index + done, k))
			return;
	}
}

/* Caller holds the page locks. A mapping that has private pages by now is left alone. */
void frames_zap_add_mapped(struct frames_zap *z, struct address_space *as, uint64_t index, uint64_t n)
{
	if (address_space_serves_others()) {
		unmap_everywhere(as, index, n);
		return;
	}
	for (struct rmap *r = as->rmaps; r; r = r->next) {
		uint64_t first = max_u64(index, r->pgoff), end = min_u64(index + n, r->pgoff + r->pages);

		if (first < end && rmap_shows_file(r))
			zap_range(z, r->mmu, r->addr + ((first - r->pgoff) << FL_PAGE_SHIFT), (end - first) << FL_PAGE_SHIFT);
	}
}

void frames_zap_end(struct frames_zap *z)
{
	zap_flush(z);
	read_unlock(&rmap_lock);
}

static int anon_drop(struct address_space *as, uint64_t index, uint32_t n, uint32_t *kept)
{
	*kept = 0;
	for (uint32_t i = 0; i < n; i++)
		*kept += set_swapped(as, index + i);
	return 0;
}

const struct frame_ops anon_frames = {
	.name = "anon",
	.write_out = anon_write_out,
	.drop = anon_drop,
	.discard = mapped_discard,
};

/* ---- pool: where it is mapped, and in the file ---- */

static int read_mapped(uint64_t addr, void *buf, uint64_t len)
{
	ssize_t n = sys_copy_from(buf, (void *)addr, len);

	return n == (ssize_t)len ? 0 : n < 0 ? (int)n : -EFAULT;
}

bool pool_frames_work(void)
{
	char from = 1, to = 0;

	return !read_mapped((uint64_t)&from, &to, 1) && to == from;
}

/* By the kernel, which says so when a page is not there: the mapping may have gone. */
static int pool_snapshot(struct address_space *as, uint64_t index, uint32_t n, void *buf)
{
	int err = 0;

	read_lock(&rmap_lock);
	for (uint32_t k, done = 0; done < n && !err; done += k) {
		struct mmu *mmu;
		uint64_t addr;

		k = (uint32_t)mapped_part(as, index + done, n - done, &mmu, &addr);
		err = k ? read_mapped(addr, (char *)buf + ((uint64_t)done << FL_PAGE_SHIFT), (uint64_t)k << FL_PAGE_SHIFT) : -ENOENT;
	}
	read_unlock(&rmap_lock);
	return err;
}

/*
 * Bytes within one page in memory, whose lock the caller holds: protected, so that stores wait for that lock, copied out, changed,
 * and put in place of what was there. The mapping may be read-only.
 */
static int pool_write(struct address_space *as, uint64_t off, const void *buf, uint64_t len)
{
	struct page_key key = {.as = as->id, .index = off >> FL_PAGE_SHIFT};
	bool clean = page_state_of(page_word(page_find(key))) == PAGE_CLEAN;
	char page[FL_PAGE_SIZE];
	struct mmu *mmu;
	uint64_t addr, done;
	int err = -ENOENT;

	read_lock(&rmap_lock);
	if (mapped_part(as, key.index, 1, &mmu, &addr))
		err = mmu->ops->protect(mmu, addr, FL_PAGE_SIZE);
	if (!err)
		err = read_mapped(addr, page, FL_PAGE_SIZE);
	if (!err) {
		memcpy(page + (off & FL_PAGE_MASK), buf, len);
		err = mmu->ops->zap(mmu, addr, FL_PAGE_SIZE);
	}
	if (!err)
		err = mmu->ops->copy(mmu, addr, page, FL_PAGE_SIZE, clean ? MMU_WP : 0, &done);
	read_unlock(&rmap_lock);
	return err;
}

static int pool_drop(struct address_space *as, uint64_t index, uint32_t n, uint32_t *kept)
{
	(void)as, (void)index, (void)n;
	*kept = 0;
	return 0;
}

/* Where the file is mapped now, which need not be where it was when the read began. */
static uint32_t pool_install(struct address_space *as, uint64_t index, uint32_t n, const void *data)
{
	uint64_t done = 0, k, copied;
	struct mmu *mmu;
	uint64_t addr;

	read_lock(&rmap_lock);
	for (int err = 0; done < n && !err && (k = mapped_part(as, index + done, n - done, &mmu, &addr)); done += copied >> FL_PAGE_SHIFT)
		err = mmu->ops->copy(mmu, addr, (const char *)data + (done << FL_PAGE_SHIFT), k << FL_PAGE_SHIFT, MMU_WP, &copied);
	read_unlock(&rmap_lock);
	return (uint32_t)done;
}

const struct frame_ops pool_frames = {
	.name = "pool",
	.install = pool_install,
	.snapshot = pool_snapshot,
	.drop = pool_drop,
	.discard = mapped_discard,
};
