/* SPDX-License-Identifier: Apache-2.0 */
#include "mm.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "cache/budget.h"
#include "cache/filemap.h"
#include "util/compiler.h"
#include "util/sys.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static struct mm spaces[SPACES_MAX];
static _Atomic uint32_t in_use; /* bit per space; changed under the lock of the api layer */

int mm_create(struct mmu *mmu, struct mm **out)
{
	for (int i = 0; i < SPACES_MAX; i++) {
		struct mm *mm = &spaces[i];
		int err;

		if (atomic_load(&in_use) >> i & 1)
			continue;
		*mm = (struct mm){.mmap_lock = MUTEX_INIT(RANK_MMAP), .mmu = mmu, .low = UINT64_MAX};
		err = vma_index_init(&mm->index);
		if (err)
			return err;
		atomic_fetch_or(&in_use, 1u << i);
		*out = mm;
		return 0;
	}
	return -ENOMEM;
}

void mm_destroy(struct mm *mm)
{
	mm_munmap(mm, 0, TASK_SIZE, false);
	atomic_fetch_and(&in_use, ~(1u << (mm - spaces)));
	vma_index_exit(&mm->index);
	mm->mmu->ops->destroy(mm->mmu);
}

struct mm *mm_space(int n)
{
	uint32_t bits = atomic_load_explicit(&in_use, memory_order_acquire);

	for (int i = 0; i < SPACES_MAX; i++)
		if (bits >> i & 1 && n-- == 0)
			return &spaces[i];
	return NULL;
}

bool mm_overlaps(struct mm *mm, uint64_t addr, uint64_t len)
{
	struct vma *v;
	uint64_t end;

	if (__builtin_add_overflow(addr, len, &end))
		end = UINT64_MAX;
	if (end <= atomic_load_explicit(&mm->low, memory_order_relaxed) || addr >= atomic_load_explicit(&mm->high, memory_order_relaxed))
		return false;
	v = vma_find_racy(&mm->index, addr);
	return v && __atomic_load_n(&v->start, __ATOMIC_RELAXED) < end;
}

bool range_ok(uint64_t addr, uint64_t *len)
{
	uint64_t n = page_align_up(*len);

	if ((addr & FL_PAGE_MASK) || n < *len || addr + n < addr)
		return false;
	*len = n;
	return true;
}

void mm_account(struct mm *mm, struct vma *v, int sign)
{
	uint64_t bytes = v->end - v->start;

	if (sign < 0) {
		atomic_fetch_sub(&mm->mapped, bytes);
		report_sub(&v->as->report->mapped_bytes, bytes);
		return;
	}
	atomic_fetch_add(&mm->mapped, bytes);
	report_raise(&v->as->report->mapped_bytes, &v->as->report->mapped_peak, bytes);
	if (v->start < atomic_load(&mm->low))
		atomic_store(&mm->low, v->start);
	if (v->end > atomic_load(&mm->high))
		atomic_store(&mm->high, v->end);
}

/* ---- Faults ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void vma_fault(struct vma *v, uint64_t addr, bool write, bool present, struct fault *f)
{
	uint64_t page = page_align_down(addr);

	*f = (struct fault){
		.as = v->as,
		.anon = v->anon ? v->anon->as : NULL,
		.index = vma_index_of(v, page),
		.anon_index = v->anon_pgoff + ((page - v->start) >> FL_PAGE_SHIFT),
		.mmu = v->mm->mmu,
		.addr = page,
		.room = (v->end - page) >> FL_PAGE_SHIFT,
		.advice = v->advice,
		.write = write,
		.present = present,
	};
}

/*
 * A VMA that was being replaced or moved is found under mmap_lock, by which whoever does so has put the new one in place.
 * In between the index has nothing there: what it says without the lock is no reason to do without.
 */
struct vma *mm_lock_vma(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_lock_read(&mm->index, addr);

	if (!v) {
		mutex_lock(&mm->mmap_lock);
		v = vma_lock_read(&mm->index, addr); /* without waiting: who locks VMAs for writing has mmap_lock */
		mutex_unlock(&mm->mmap_lock);
	}
	return v;
}

/*
 * The mapping is the kernel's. The fault may be from before, and have waited for the VMA while it was handed over: then
 * the access works now. What the kernel cannot do either is its own SIGBUS.
 */
static int fault_handed(uint64_t addr, unsigned flags)
{
	int advice = flags & FAULT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	return sys_madvise((void *)page_align_down(addr), FL_PAGE_SIZE, advice) ? -EFAULT : 0;
}

static int fault_in(struct mm *mm, uint64_t addr, unsigned flags)
{
	struct vma *v = mm_lock_vma(mm, addr);
	struct fault f;
	uint64_t start;
	int err;

	if (!v)
		return -EFAULT;
	if (v->flags & VM_HANDED) {
		err = fault_handed(addr, flags);
		vma_unlock_read(v);
		return err;
	}
	start = now_ns();
	vma_fault(v, addr, flags & FAULT_WRITE, flags & FAULT_PRESENT, &f);
	err = filemap_fault(&f);
	report_add(&v->as->report->fault_ns, now_ns() - start);
	vma_unlock_read(v);
	return err;
}

int mm_handle_fault(uint64_t addr, unsigned flags)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++) {
		if (addr < atomic_load_explicit(&mm->low, memory_order_relaxed) || addr >= atomic_load_explicit(&mm->high, memory_order_relaxed))
			continue;
		int err = fault_in(mm, addr, flags);

		if (err != -EFAULT)
			return err;
	}
	return -EFAULT;
}
