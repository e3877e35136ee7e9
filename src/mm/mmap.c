/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap: checks -> address_space of the file -> a kernel mapping of its frames, registered -> a VMA.
 *
 * The kernel chooses the address and sees to layout, hints and alignment; what it maps is the memfd that holds the
 * file's frames. A mapping that takes the place of another (MAP_FIXED) is made inaccessible until its faults come to
 * us: in between, an access would find the memfd's hole and read zeros.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "cache/budget.h"
#include "cache/reclaim.h"
#include "mm.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "util/sys.h"

#define LEGACY_FLAGS                                                                                                   \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED |  \
	 MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_FIXED_NOREPLACE)
#define UNSUPPORTED_FLAGS (MAP_ANONYMOUS | MAP_LOCKED | MAP_GROWSDOWN | MAP_HUGETLB)
#define KERNEL_FLAGS (MAP_NORESERVE | MAP_32BIT)
#define FILE_BYTES_MAX ((PAGE_INDEX_MAX + 1) << FL_PAGE_SHIFT)

static bool is_fixed(const struct mmap_request *rq)
{
	return rq->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
}

static int check_range(const struct mmap_request *rq)
{
	uint64_t len = page_align_up(rq->len);

	if (!rq->len)
		return -EINVAL;
	if (len < rq->len || len > TASK_SIZE)
		return -ENOMEM;
	if (rq->offset + len < rq->offset || (int64_t)(rq->offset + len) < 0 || rq->offset + len > FILE_BYTES_MAX)
		return -EOVERFLOW;
	if (is_fixed(rq) && rq->addr > TASK_SIZE - len)
		return -ENOMEM;
	if (is_fixed(rq) && (rq->addr & FL_PAGE_MASK))
		return -EINVAL;
	return 0;
}

/* The mode of the file against the type of the mapping, as do_mmap() of the kernel checks it. */
static int check_access(const struct mmap_request *rq, int file_flags)
{
	int mode = file_flags & O_ACCMODE;

	switch (rq->flags & MAP_TYPE) {
	case MAP_SHARED_VALIDATE:
		if (rq->flags & ~(LEGACY_FLAGS | MAP_SHARED_VALIDATE))
			return -EOPNOTSUPP;
		/* fall through */
	case MAP_SHARED:
		if ((rq->prot & PROT_WRITE) && mode == O_RDONLY)
			return -EACCES;
		/* fall through */
	case MAP_PRIVATE:
		return mode == O_WRONLY ? -EACCES : 0;
	default:
		return -EINVAL;
	}
}

static int check_file(const struct mmap_request *rq)
{
	int flags = sys_fcntl(rq->fd, F_GETFL, 0);
	struct stat st;
	int err;

	if (flags < 0 || (flags & O_PATH))
		return -EBADF;
	err = check_range(rq);
	if (!err)
		err = check_access(rq, flags);
	if (!err)
		err = sys_fstat(rq->fd, &st);
	if (!err && !S_ISREG(st.st_mode))
		err = -ENODEV;
	return err;
}

static int check(const struct mmap_request *rq)
{
	int err;

	if (rq->offset & FL_PAGE_MASK)
		return -EINVAL;
	if (rq->flags & UNSUPPORTED_FLAGS)
		return -EOPNOTSUPP;
	err = check_file(rq);
	return err ? err : rq->prot & PROT_EXEC ? -EOPNOTSUPP : 0;
}

/* ---- The VMA ---- */

static unsigned vm_flags(const struct mmap_request *rq)
{
	bool shared = (rq->flags & MAP_TYPE) != MAP_PRIVATE;
	bool fd_writes = (sys_fcntl(rq->fd, F_GETFL, 0) & O_ACCMODE) == O_RDWR;

	return (shared ? VM_SHARED : 0) | (!shared || fd_writes ? VM_MAYWRITE : 0) | (rq->flags & MAP_NORESERVE ? VM_NORESERVE : 0);
}

/* All that the mapping needs but its place; takes over the reference to as. */
static int new_vma(struct mm *mm, const struct mmap_request *rq, struct address_space *as, struct vma **out)
{
	struct vma *v = vma_alloc(mm);
	int err = 0;

	if (!v) {
		address_space_put(as);
		return -ENOMEM;
	}
	v->as = as;
	v->pgoff = rq->offset >> FL_PAGE_SHIFT;
	v->prot = rq->prot & (PROT_READ | PROT_WRITE);
	v->flags = vm_flags(rq);
	v->wb_seen = wb_err_sample(as);
	if (!(v->flags & VM_SHARED))
		err = vma_new_anon(v, page_align_up(rq->len) >> FL_PAGE_SHIFT);
	if (err) {
		vma_free_unlinked(v);
		return err;
	}
	*out = v;
	return 0;
}

/* ---- Its place ---- */

static int map_and_attach(struct mm *mm, const struct mmap_request *rq, struct vma *v, uint64_t *addr)
{
	uint64_t len = page_align_up(rq->len);
	int flags = (rq->flags & (KERNEL_FLAGS | MAP_FIXED | MAP_FIXED_NOREPLACE)) | (v->flags & VM_SHARED ? MAP_SHARED : MAP_PRIVATE);
	bool hide = is_fixed(rq);
	bool handed = v->flags & VM_HANDED;
	int fd = handed ? file_store_fd(v->as->store) : v->as->memfd, err = 0;
	void *p = sys_mmap((void *)rq->addr, len, hide && !handed ? PROT_NONE : v->prot, flags, fd, (off_t)rq->offset);

	if (sys_is_err(p))
		return sys_err(p);
	if ((rq->flags & MAP_FIXED_NOREPLACE) && (uint64_t)p != rq->addr) { /* a kernel before 4.17 took it as a hint */
		sys_munmap(p, len);
		return -EEXIST;
	}
	if (!handed)
		err = mm->mmu->ops->attach(mm->mmu, (uint64_t)p, len);
	if (!err && hide && !handed && v->prot)
		err = sys_mprotect(p, len, v->prot);
	if (err)
		sys_munmap(p, len);
	*addr = (uint64_t)p;
	return err;
}

/* The kernel's mapping, the index and the reverse map change together. Caller holds mmap_lock and the VMAs in the way. */
static int place(struct mm *mm, const struct mmap_request *rq, struct vma *v, struct vma **replaced)
{
	uint64_t addr = 0, len = page_align_up(rq->len);
	int err;

	write_lock(&rmap_lock);
	if ((v->flags & VM_SHARED) && atomic_load(&v->as->handed))
		v->flags |= VM_HANDED;
	err = map_and_attach(mm, rq, v, &addr);
	if (err && addr) /* the kernel's mapping was made, so what was there is gone, and could not be kept */
		*replaced = vma_detach_range(mm, addr, addr + len);
	if (!err) {
		*replaced = vma_detach_range(mm, addr, addr + len);
		vma_set_range(v, addr, addr + len);
		if (!(v->flags & VM_HANDED))
			vma_link_rmap(v);
		err = vma_index_insert(&mm->index, v);
		if (err) {
			sys_munmap((void *)addr, len);
			rmap_del(&v->rmap);
			rmap_del(&v->anon_rmap);
			vma_set_range(v, 0, 0);
		}
	}
	write_unlock(&rmap_lock);
	return err;
}

static int place_fixed(struct mm *mm, const struct mmap_request *rq, struct vma *v, struct vma **replaced)
{
	uint64_t end = rq->addr + page_align_up(rq->len);
	int err;

	if (!(rq->flags & MAP_FIXED) || (rq->flags & MAP_FIXED_NOREPLACE))
		return place(mm, rq, v, replaced);
	err = vma_split_range(mm, rq->addr, end);
	if (err)
		return err;
	vma_lock_range(mm, rq->addr, end);
	err = place(mm, rq, v, replaced);
	if (err)
		vma_unlock_range(mm, rq->addr, end);
	return err;
}

static int link_vma(struct mm *mm, const struct mmap_request *rq, struct vma *v, uint64_t *out)
{
	struct vma *replaced = NULL;
	int err;

	mutex_lock(&mm->mmap_lock);
	err = place_fixed(mm, rq, v, &replaced);
	if (!err) {
		mm_account(mm, v, 1);
		report_add(&v->as->report->mappings, 1);
		*out = v->start;
	}
	mutex_unlock(&mm->mmap_lock);
	vma_dispose(replaced);
	return err;
}

/* A mapping of somebody else's in the place of ours. */
static int mmap_foreign(struct mm *mm, const struct mmap_request *rq, uint64_t *out)
{
	uint64_t end = rq->addr + page_align_up(rq->len);
	struct vma *replaced = NULL;
	void *p;
	int err;

	mutex_lock(&mm->mmap_lock);
	err = vma_split_range(mm, rq->addr, end);
	if (!err) {
		vma_lock_range(mm, rq->addr, end);
		write_lock(&rmap_lock);
		p = sys_mmap((void *)rq->addr, rq->len, rq->prot, rq->flags, rq->fd, (off_t)rq->offset);
		if (sys_is_err(p))
			err = sys_err(p);
		else
			replaced = vma_detach_range(mm, rq->addr, end);
		write_unlock(&rmap_lock);
		if (err)
			vma_unlock_range(mm, rq->addr, end);
	}
	mutex_unlock(&mm->mmap_lock);
	*out = rq->addr;
	vma_dispose(replaced);
	return err;
}

int mm_mmap(struct mm *mm, const struct mmap_request *rq, uint64_t *out)
{
	struct address_space *as;
	struct vma *v;
	int err;

	metadata_refill();
	if (rq->foreign)
		return mmap_foreign(mm, rq, out);
	err = check(rq);
	if (err)
		return err;
	err = address_space_get(rq->fd, &as);
	if (err)
		return err;
	err = new_vma(mm, rq, as, &v);
	if (err)
		return err;
	err = link_vma(mm, rq, v, out);
	if (err) {
		vma_free_unlinked(v);
		return err;
	}
	if ((rq->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE)
		mm_populate(mm, *out, page_align_up(rq->len), (rq->prot & PROT_WRITE) && (rq->flags & MAP_TYPE) == MAP_PRIVATE);
	return 0;
}

/* ---- munmap ---- */

/* Ours one by one; the caller does what is not ours. Caller holds mmap_lock and the VMAs, split and write-locked. */
static int unmap_ours(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end)) {
		int err = sys_munmap((void *)v->start, v->end - v->start);

		if (err)
			return err;
	}
	return 0;
}

int mm_munmap(struct mm *mm, uint64_t addr, uint64_t len, bool whole)
{
	struct vma *gone = NULL;
	uint64_t end;
	int err;

	if (!len || !range_ok(addr, &len) || addr > TASK_SIZE || len > TASK_SIZE - addr)
		return -EINVAL;
	metadata_refill();
	end = addr + len;
	mutex_lock(&mm->mmap_lock);
	err = vma_split_range(mm, addr, end);
	if (!err) {
		vma_lock_range(mm, addr, end);
		write_lock(&rmap_lock);
		err = whole ? sys_munmap((void *)addr, len) : unmap_ours(mm, addr, end);
		if (!err)
			gone = vma_detach_range(mm, addr, end);
		write_unlock(&rmap_lock);
		if (err)
			vma_unlock_range(mm, addr, end);
	}
	mutex_unlock(&mm->mmap_lock);
	vma_dispose(gone);
	return err;
}
