/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap, in the kernel's order: checks (do_mmap) -> the object that is mapped -> mmap_region: account, unmap what it
 * overlaps, link a new VMA, merge it with its neighbours -> populate.
 *
 * Which place it has, and what is mapped there, is the family's (arch.map: native_map.c, soft.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "arch.h"
#include "cache/hosted.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

/* LEGACY_MAP_MASK of Linux: what MAP_SHARED_VALIDATE takes beside MAP_SYNC. The last two: MAP_ABOVE4G, MAP_UNINITIALIZED. */
#define MAP_HUGE_BITS (0x1f << MAP_HUGE_SHIFT) /* of MAP_HUGE_2MB and MAP_HUGE_1GB */
#define LEGACY_FLAGS                                                                                                          \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | \
	 MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_HUGE_BITS | 0x80 | 0x4000000)
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8 /* Linux 6.11 */
#endif
#ifndef PIPEFS_MAGIC
#define PIPEFS_MAGIC 0x50495045
#endif
#define FILE_BYTES_MAX ((PAGE_INDEX_MAX + 1) << FL_PAGE_SHIFT)

static bool is_fixed(const struct mmap_request *rq)
{
	return rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
}

/* ---- The checks ---- */

static int check_descriptor(struct mapping *m)
{
	int flags;

	if ((m->rq->flags & MAP_ANONYMOUS) || m->rq->as)
		return 0;
	flags = sys_fcntl(m->rq->fd, F_GETFL, 0);
	if (flags < 0 || (flags & O_PATH) || sys_fstat(m->rq->fd, &m->st))
		return -EBADF;
	m->access = flags & O_ACCMODE;
	m->anonymous = S_ISCHR(m->st.st_mode) && m->st.st_rdev == makedev(1, 5);
	return (m->rq->flags & MAP_HUGETLB) && (S_ISREG(m->st.st_mode) || m->anonymous) ? -EINVAL : 0;
}

#define HUGE_PAGE_DEFAULT (2UL << 20)

/* MAP_HUGETLB counts in huge pages. */
static uint64_t whole_pages(const struct mm *mm, const struct mmap_request *rq)
{
	int shift = rq->flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
	uint64_t size = shift ? 1ULL << shift : HUGE_PAGE_DEFAULT;

	if ((rq->flags & (MAP_HUGETLB | MAP_ANONYMOUS)) != (MAP_HUGETLB | MAP_ANONYMOUS))
		return mm_align_up(mm, rq->len);
	return (rq->len + size - 1) / size * size;
}

static int check_place(struct mm *mm, const struct mapping *m)
{
	const struct mmap_request *rq = m->rq;

	if (!rq->len)
		return -EINVAL;
	if (m->len < rq->len || map_count_ok(mm) || m->len > mm->task_size)
		return -ENOMEM;
	if (!is_fixed(rq))
		return 0;
	if (rq->addr > mm->task_size - m->len)
		return -ENOMEM;
	if (rq->addr & mm->page_mask)
		return -EINVAL;
	if (rq->addr < mm->limits.min_addr)
		return -EPERM;
	return (rq->flags & MAP_FIXED_NOREPLACE) && mm_overlaps(mm, rq->addr, m->len) ? -EEXIST : 0;
}

static int check_lock(struct mm *mm, const struct mapping *m)
{
	if ((m->rq->flags & MAP_LOCKED) && !can_do_mlock(mm))
		return -EPERM;
	if (((m->rq->flags & MAP_LOCKED) || (atomic_load(&mm->def_flags) & VM_LOCKED)) && !mlock_limit_ok(mm, m->len))
		return -EAGAIN;
	return 0;
}

static int check_anonymous(struct mapping *m)
{
	int type = m->rq->flags & MAP_TYPE;

	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_DROPPABLE)
		return -EINVAL;
	return type != MAP_PRIVATE && (m->rq->flags & MAP_GROWSDOWN) ? -EINVAL : 0;
}

/* The mode of the file against the type of the mapping. */
static int check_access(const struct mapping *m)
{
	switch (m->rq->flags & MAP_TYPE) {
	case MAP_SHARED_VALIDATE:
		if (m->rq->flags & ~(LEGACY_FLAGS | MAP_SHARED_VALIDATE | MAP_SYNC))
			return -EOPNOTSUPP;
		/* fall through */
	case MAP_SHARED:
		if ((m->rq->prot & PROT_WRITE) && m->access == O_RDONLY)
			return -EACCES;
		/* fall through */
	case MAP_PRIVATE:
		return m->access == O_WRONLY ? -EACCES : 0;
	default:
		return -EINVAL;
	}
}

/* Pipes and sockets count as lying on file systems that are mounted noexec. */
static bool is_noexec(int fd)
{
	struct statfs fs;

	if (sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0))
		return false;
	return (fs.f_flags & ST_NOEXEC) || fs.f_type == PIPEFS_MAGIC || fs.f_type == SOCKFS_MAGIC;
}

static int check_file(const struct mapping *m)
{
	mode_t mode = m->st.st_mode;
	uint64_t end;
	int err;

	if (S_ISREG(mode) && (__builtin_add_overflow(m->rq->offset, m->len, &end) || end > FILE_BYTES_MAX))
		return -EOVERFLOW;
	err = check_access(m);
	if (err)
		return err;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode))
		return (m->rq->prot & PROT_EXEC) && is_noexec(m->rq->fd) ? -EPERM : -ENODEV;
	return (m->rq->flags & MAP_GROWSDOWN) ? -EINVAL : 0;
}

static int check(struct mm *mm, struct mapping *m)
{
	int err;

	if (m->rq->offset & mm->page_mask)
		return -EINVAL;
	err = check_descriptor(m);
	if (!err)
		err = check_place(mm, m);
	if (!err)
		err = check_lock(mm, m);
	if (err)
		return err;
	if (m->rq->as)
		return check_access(m);
	return m->rq->flags & MAP_ANONYMOUS ? check_anonymous(m) : check_file(m);
}

/* ---- The object ---- */

static int get_object(struct mm *mm, struct mapping *m)
{
	int err;

	if (m->rq->as) {
		m->as = m->rq->as;
		address_space_hold(m->as);
		return 0;
	}
	if (!m->shared && swap_prepare() == -EMFILE)
		return -ENFILE;
	if (mm->soft && (m->rq->flags & MAP_HUGETLB))
		return -ENOMEM; /* it has no huge pages */
	if (m->anonymous && !m->shared) {
		m->as = address_space_zero();
		address_space_hold(m->as);
		return 0;
	}
	if (m->anonymous)
		return address_space_new_scratch(m->len, mm->soft, &m->as);
	if (mm->soft && !S_ISREG(m->st.st_mode))
		return -ENODEV;
	err = address_space_get(m->rq->fd, &m->st, mm->soft, &m->as);
	if (err)
		return err;
	if (m->shared && m->access == O_RDWR && m->as->append_only)
		err = -EACCES;
	else if ((m->rq->prot & PROT_EXEC) && m->as->noexec)
		err = -EPERM;
	else if ((m->rq->flags & MAP_SYNC) && !m->as->kernels)
		err = -EOPNOTSUPP; /* for files on persistent memory */
	if (err)
		address_space_put(m->as);
	else
		address_space_settle(m->as);
	return err;
}

static unsigned vm_flags(struct mm *mm, const struct mapping *m)
{
	static const struct {
		int map;
		unsigned vm;
	} same[] = {{MAP_NORESERVE, VM_NORESERVE}, {MAP_LOCKED, VM_LOCKED}, {MAP_GROWSDOWN, VM_GROWSDOWN}, {MAP_STACK, VM_NOHUGEPAGE}};
	unsigned flags = m->shared ? VM_SHARED : 0;

	if ((m->rq->flags & MAP_TYPE) == MAP_DROPPABLE) /* swap is no worse than being dropped */
		flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		flags |= m->rq->flags & same[i].map ? same[i].vm : 0;
	if ((!m->shared || (m->rq->flags & MAP_ANONYMOUS) || m->access == O_RDWR) && (m->max_prot & PROT_WRITE))
		flags |= VM_MAYWRITE;
	if (!m->as->noexec && (m->max_prot & PROT_EXEC))
		flags |= VM_MAYEXEC;
	if (!(m->max_prot & PROT_READ))
		flags |= VM_NOREAD;
	if (m->as->kernels || (m->rq->flags & MAP_HUGETLB))
		flags |= VM_HANDED | (m->rq->flags & MAP_HUGETLB ? VM_HUGETLB : 0);
	if (m->anonymous && !(m->rq->flags & MAP_ANONYMOUS) && (!m->shared || m->access == O_RDONLY))
		flags |= VM_DEV_ZERO;
	if (is_accountable(mm, m->rq->prot, flags) || (m->as->scratch && !(flags & VM_NORESERVE)))
		flags |= VM_ACCOUNT;
	return flags;
}

/* All that the mapping needs but its place; takes over the reference to m->as. */
static int new_vma(struct mm *mm, struct mapping *m)
{
	struct vma *v = vma_alloc(mm);

	if (!v) {
		address_space_put(m->as);
		return -ENOMEM;
	}
	v->as = m->as;
	v->pgoff = m->rq->flags & MAP_ANONYMOUS ? 0 : m->rq->offset >> FL_PAGE_SHIFT;
	v->prot = m->rq->prot & PROT_ALL;
	v->flags = vm_flags(mm, m);
	v->wb_seen = wb_err_sample(m->as);
	m->vma = v;
	return 0;
}

/* ---- Its place ---- */

#define POOL_MIN (256UL << 10) /* smaller mappings are not worth what it costs to change */

/*
 * Whether the mapping can have pool frames: every page of the file would still be mapped in one place only, and can be read there.
 * Caller holds rmap_lock.
 */
static bool fits_pool(struct mm *mm, const struct mapping *m)
{
	uint64_t first = m->vma->pgoff, end = first + (m->len >> FL_PAGE_SHIFT);

	if (!m->shared || !(m->rq->prot & PROT_READ) || m->len < POOL_MIN)
		return false;
	for (const struct rmap *r = m->as->rmaps; r; r = r->next)
		if (r->mmu != mm->mmu || (first < r->pgoff + r->pages && r->pgoff < end))
			return false;
	m->as->pool_mmu = mm->mmu;
	return true;
}

static bool replaces(const struct mapping *m)
{
	return (m->rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
}

static int vacate(struct mm *mm, const struct mapping *m)
{
	return mm->arch->vacate(mm, m->rq->addr, replaces(m) ? m->rq->addr + m->len : m->rq->addr);
}

static bool in_the_way(struct mm *mm, uint64_t addr, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, addr);

	return v && v->start < end;
}

/*
 * The kernel's mapping, the index and the reverse map change together. Caller holds mmap_lock and the VMAs in the way. -ESTALE:
 * the file must have shmem frames, or m->gone is not NOWHERE: the kernel has room where we know of mappings, which somebody must have unmapped past
 * us. They are not locked, so nothing is done.
 */
static int place(struct mm *mm, struct mapping *m)
{
	struct vma *v = m->vma;
	uint64_t addr = NOWHERE;
	bool pool;
	int err = vma_index_prepare(&mm->index);

	if (!err && mm->arch->vacate)
		err = vacate(mm, m);
	if (err)
		return err;
	write_lock(&rmap_lock);
	if (atomic_load(&v->as->handed))
		v->flags |= VM_HANDED;
	pool = as_is_pool(v->as) && !(v->flags & VM_HANDED);
	err = pool && !fits_pool(mm, m) ? -ESTALE : mm->arch->map(mm, m, &addr);
	if (pool && err == -ENOMEM) /* the kernel accounts for anonymous memory otherwise */
		err = -ESTALE;
	if (addr != NOWHERE && !replaces(m) && in_the_way(mm, addr, addr + m->len)) {
		if (!err)
			sys_munmap((void *)addr, m->len);
		m->gone = addr;
		err = -ESTALE;
	} else if (addr != NOWHERE && replaces(m)) { /* the kernel's mapping was made, so what was there is gone, whatever came after */
		m->replaced = vma_detach_range(mm, addr, addr + m->len);
	}
	if (!err && vma_is_at_host(v)) {
		err = hosted_map(v->as, mm->mmu, addr, v->pgoff, m->len >> FL_PAGE_SHIFT, v->flags & VM_LOCKED);
		if (err)
			sys_munmap((void *)addr, m->len);
	}
	if (!err) {
		if (m->rq->flags & MAP_ANONYMOUS && vma_is_anonymous(v))
			v->pgoff = addr >> FL_PAGE_SHIFT;
		vma_insert(mm, v, addr, addr + m->len);
	}
	write_unlock(&rmap_lock);
	return err;
}

/* Bytes of ours that MAP_FIXED gives back. */
static uint64_t overlapped(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t n = 0;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end))
		n += min_u64(v->end, end) - max_u64(v->start, start);
	return n;
}

static int account(struct mm *mm, const struct mapping *m)
{
	bool fixed = m->rq->flags & MAP_FIXED;
	int err = may_expand_vm(mm, m->len, fixed ? overlapped(mm, m->rq->addr, m->rq->addr + m->len) : 0);

	if (!err)
		err = may_have_data(mm, m->vma->prot, m->vma->flags, m->len);
	if (!err && (m->vma->flags & VM_ACCOUNT))
		err = may_commit(mm, m->len);
	if (!err && !mm_charge_locked(m->vma, m->len))
		err = -EAGAIN;
	return err;
}

/*
 * Mappings of ours that are not there any more, since the C library, say, has unmapped them with its own: free(3) of memory that a file was mapped
 * over. -ENOMEM: of a page on pool frames that was not written back, the memory has gone with them.
 */
static int forget_gone(struct mm *mm, struct mapping *m)
{
	uint64_t start = m->gone, end = start + m->len;
	struct vma *gone = NULL, *next;
	int err = vma_split_to_unmap(mm, start, end);

	m->gone = NOWHERE;
	if (!err)
		err = mm_unmap_split(mm, start, end, UNMAP_OURS, &gone);
	for (; gone; gone = next) {
		next = gone->next;
		gone->next = m->replaced;
		m->replaced = gone;
	}
	return err ? -ENOMEM : 0;
}

static int place_anywhere(struct mm *mm, struct mapping *m)
{
	int err;

	m->gone = NOWHERE;
	while ((err = place(mm, m)) == -ESTALE && m->gone != NOWHERE && !(err = forget_gone(mm, m)))
		;
	return err;
}

static int place_fixed(struct mm *mm, struct mapping *m)
{
	uint64_t addr = m->rq->addr, end = addr + m->len;
	int err;

	if (!replaces(m))
		return place_anywhere(mm, m);
	err = mm_refuse_sealed(mm, addr, end);
	if (err)
		return err;
	err = vma_split_to_unmap(mm, addr, end);
	if (err)
		return err;
	err = vma_lock_range_to_unmap(mm, addr, end);
	if (err)
		return err;
	err = place(mm, m);
	if (err) {
		vma_unlock_range(mm, addr, end);
		vma_merge_at(mm, addr);
		vma_merge_at(mm, end);
	}
	return err;
}

static bool wants_populate(const struct mapping *m)
{
	if ((m->rq->flags & MAP_LOCKED) || (m->vma->flags & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED)
		return true;
	return (m->rq->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE;
}

static int mmap_region(struct mm *mm, struct mapping *m, uint64_t *out)
{
	int err;

	mutex_lock(&mm->mmap_lock);
	if (!(m->vma->flags & VM_DROPPABLE))
		m->vma->flags |= atomic_load(&mm->def_flags); /* mlockall() has the lock too: no mapping escapes it */
	err = account(mm, m);
	if (!err) {
		write_lock(&mm->foreign_lock);
		err = place_fixed(mm, m);
		write_unlock(&mm->foreign_lock);
		if (err)
			mm_uncharge_locked(m->vma, m->len);
	}
	if (!err) {
		report_add(&m->vma->as->report->mappings, 1);
		*out = m->vma->start;
		m->populate = wants_populate(m);
		vma_merge_at(mm, *out);
		vma_merge_at(mm, *out + m->len);
	}
	mutex_unlock(&mm->mmap_lock);
	vma_dispose(m->replaced);
	m->replaced = NULL;
	return err;
}

int mm_map_object(struct mm *mm, struct mapping *m, uint64_t *out)
{
	int err = new_vma(mm, m);

	if (err)
		return err;
	while ((err = mmap_region(mm, m, out)) == -ESTALE && !(err = mm_make_shared(m->as)))
		;
	if (err)
		vma_free_unlinked(m->vma);
	else if (m->populate)
		mm_populate(mm, *out, m->len, (m->rq->prot & PROT_WRITE) && !m->shared);
	mm_check(mm);
	return err;
}

int mm_mmap(struct mm *mm, const struct mmap_request *rq, uint64_t *out)
{
	struct mapping m = {.rq = rq, .len = whole_pages(mm, rq), .anonymous = rq->flags & MAP_ANONYMOUS, .max_prot = PROT_ALL};
	int err;

	if (!mm->soft)
		sigguard_need();
	metadata_refill();
	if (rq->foreign)
		return mm_mmap_foreign(mm, rq, out);
	if (rq->as) {
		m.max_prot = rq->max_prot;
		m.access = rq->max_prot & PROT_WRITE ? O_RDWR : O_RDONLY;
	}
	err = check(mm, &m);
	if (err)
		return err;
	m.shared = (rq->flags & MAP_TYPE) == MAP_SHARED || (rq->flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
	err = get_object(mm, &m);
	if (err == -EOPNOTSUPP && (rq->flags & MAP_FIXED))
		mm_munmap(mm, rq->addr, m.len, false); /* as on Linux: the file refuses only when there is room for it */
	return err ? err : mm_map_object(mm, &m, out);
}
