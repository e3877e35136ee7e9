/* SPDX-License-Identifier: Apache-2.0 */
#include "mm.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/filemap.h"
#include "cache/hosted.h"
#include "cache/huge.h"
#include "cache/truncate.h"
#include "madvise.h"
#include "util/clock.h"
#include "util/compiler.h"
#include "util/sys.h"

static struct mm spaces[SPACES_MAX];
static _Atomic uint32_t in_use; /* bit per space; changed under the lock of the api layer */

struct mm_reach mm_reach = {UINT64_MAX, 0};

int mm_create(struct mmu *mmu, const struct mm_limits *limits, struct mm **out)
{
	for (int i = 0; i < SPACES_MAX; i++) {
		struct mm *mm = &spaces[i];
		int err;

		if (atomic_load(&in_use) >> i & 1)
			continue;
		*mm = (struct mm){.mmap_lock = MUTEX_INIT(RANK_MMAP),
				  .foreign_lock = RWLOCK_INIT(RANK_FOREIGN),
				  .mmu = mmu,
				  .arch = &native_arch,
				  .limits = *limits,
				  .task_size = TASK_SIZE,
				  .page_mask = FL_PAGE_MASK,
				  .low = UINT64_MAX};
		mm->limits.min_addr = max_u64(mm->limits.min_addr, MMU_ADDRESS_MIN);
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
	for (struct vma *v = vma_find(&mm->index, 0); v; v = vma_find(&mm->index, v->end)) /* the end of a process breaks seals too */
		v->flags &= ~(unsigned)VM_SEALED;
	mm_munmap(mm, 0, mm->task_size, false);
	vma_index_exit(&mm->index);
	mm->arch->destroy(mm);
}

int mm_join_host(struct mm *mm)
{
	return hosted_add_mmu(mm->mmu, mm->mmu->ops->descriptor(mm->mmu));
}

void native_destroy(struct mm *mm)
{
	if (hosted_wanted())
		hosted_drop_mmu(mm->mmu);
	atomic_fetch_and(&in_use, ~(1u << (mm - spaces)));
	huge_drop_mmu(mm->mmu);
	mm->mmu->ops->destroy(mm->mmu);
}

void mm_forget_spaces(void)
{
	atomic_store(&in_use, 0);
}

struct mm *mm_space(int n)
{
	uint32_t bits = atomic_load_explicit(&in_use, memory_order_acquire);

	for (; bits; bits &= bits - 1)
		if (n-- == 0)
			return &spaces[__builtin_ctz(bits)];
	return NULL;
}

bool mm_overlaps(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end = mm_end_of(addr, len);

	if (end <= atomic_load_explicit(&mm->low, memory_order_relaxed) || addr >= atomic_load_explicit(&mm->high, memory_order_relaxed))
		return false;
	return vma_index_overlaps(&mm->index, addr, end);
}

bool mm_some_overlaps(uint64_t addr, uint64_t len)
{
	for (uint32_t bits = atomic_load_explicit(&in_use, memory_order_acquire); bits; bits &= bits - 1)
		if (mm_overlaps(&spaces[__builtin_ctz(bits)], addr, len))
			return true;
	return false;
}

bool range_ok(const struct mm *mm, uint64_t addr, uint64_t *len)
{
	uint64_t n = mm_align_up(mm, *len);

	if ((addr & mm->page_mask) || n < *len || addr + n < addr)
		return false;
	*len = n;
	return true;
}

void mm_uncharge_locked(const struct vma *v, uint64_t len)
{
	if ((v->flags & (VM_LOCKED | VM_HANDED)) == VM_LOCKED)
		filemap_uncharge_locked(len >> FL_PAGE_SHIFT);
}

static void widen_reach(uint64_t start, uint64_t end)
{
	uint64_t low = atomic_load(&mm_reach.low), high = atomic_load(&mm_reach.high);

	while (start < low && !atomic_compare_exchange_weak(&mm_reach.low, &low, start))
		;
	while (end > high && !atomic_compare_exchange_weak(&mm_reach.high, &high, end))
		;
}

void mm_account(struct mm *mm, struct vma *v, int sign)
{
	uint64_t bytes = v->end - v->start;

	mm_count(mm, v, sign);
	if (sign < 0) {
		report_sub(&v->as->report->mapped_bytes, bytes);
		return;
	}
	report_raise(&v->as->report->mapped_bytes, &v->as->report->mapped_peak, bytes);
	widen_reach(v->start, v->end);
	if (v->start < atomic_load(&mm->low))
		atomic_store(&mm->low, v->start);
	if (v->flags & VM_GROWSDOWN)
		atomic_store(&mm->grows_down, true);
	if (v->end > atomic_load(&mm->high))
		atomic_store(&mm->high, v->end);
}

void vma_insert(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
	int err;

	vma_set_range(v, start, end);
	vma_link_rmap(v);
	err = vma_index_insert(&mm->index, v);
	fl_assert(err == 0); /* vma_index_prepare() */
	mm_account(mm, v, 1);
}

int mm_first_prot(const struct mm *mm, int prot)
{
	return mm->mmu->hides ? PROT_NONE : prot;
}

void mm_begin_detach(struct mm *mm)
{
	if (mm->mmu->ops->begin_detach)
		mm->mmu->ops->begin_detach(mm->mmu);
}

void mm_end_detach(struct mm *mm, uint64_t addr, uint64_t len, bool gone)
{
	if (mm->mmu->ops->end_detach)
		mm->mmu->ops->end_detach(mm->mmu, addr, len, gone);
}

int mm_attach(struct mm *mm, const struct vma *v, uint64_t addr, uint64_t len)
{
	int err = mm->mmu->ops->attach(mm->mmu, addr, len, vma_maps_anonymous(v) ? MMU_ANON : 0);

	if (!err)
		mm_keep_from_dumps(v, addr, len);
	return err;
}

bool mm_is_never_dumped(const struct address_space *as, unsigned flags)
{
	return (flags & (VM_SHARED | VM_HANDED)) == VM_SHARED && !as->zero && !as->scratch;
}

void mm_keep_from_dumps(const struct vma *v, uint64_t addr, uint64_t len)
{
	if (mm_is_never_dumped(v->as, v->flags))
		sys_madvise((void *)addr, len, MADV_DONTDUMP);
}

bool mm_any_sealed(struct mm *mm, uint64_t start, uint64_t end)
{
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end; v = vma_find(&mm->index, v->end))
		if (v->flags & VM_SEALED)
			return true;
	return false;
}

/* ---- Faults ---- */

/* Whether pages of a private mapping may be copies of its own, or become so while its VMA is locked for reading and it has this for them. */
static bool may_have_copies(const struct vma *v, const struct address_space *anon)
{
	return anon && ((v->prot & PROT_WRITE) || atomic_load(&anon->nr_pages) || atomic_load(&anon->nr_swapped));
}

/* A mapping of a file that nobody may store to by it, ever (huge.c says why), and of which pages may come and go as they like. */
static bool may_have_huge(const struct vma *v)
{
	return as_is_pool(v->as) && v->prot == PROT_READ &&
	       (v->flags & (VM_SHARED | VM_MAYWRITE | VM_NOHUGEPAGE | VM_HANDED | VM_LOCKED)) == VM_SHARED;
}

void vma_describe(struct vma *v, uint64_t addr, struct fault *f)
{
	uint64_t page = page_align_down(addr);

	*f = (struct fault){
		.as = v->as,
		.anon = v->flags & VM_SHARED ? NULL : &v->anon,
		.index = vma_index_of(v, page),
		.anon_index = v->anon_pgoff + ((page - v->start) >> FL_PAGE_SHIFT),
		.mmu = v->mm->mmu,
		.addr = page,
		.room = (v->end - page) >> FL_PAGE_SHIFT,
		.before = (page - v->start) >> FL_PAGE_SHIFT,
		.advice = v->advice,
		.huge = may_have_huge(v) ? &v->rmap : NULL,
	};
	if (as_is_hosted(v->as) && f->anon) {
		const struct address_space *anon = atomic_load(&v->anon);

		f->alone = may_have_copies(v, anon);
		f->had_none = !anon;
		f->blind = &v->blind;
	}
}

void mm_follow_shrinking(struct address_space *as)
{
	uint64_t size;

	if (as_is_hosted(as) && hosted_shrunk(as, &size))
		truncate_private(as, page_align_up(size) >> FL_PAGE_SHIFT);
}

int vma_fault(struct vma *v, uint64_t addr, bool write, bool present, struct fault *f)
{
	bool takes_private = !(v->flags & VM_SHARED) && (write || vma_is_anonymous(v));
	int err = takes_private ? vma_prepare_anon(v) : 0; /* which says where in the object the page is */

	if (write)
		vma_join_family(v);
	if (atomic_load_explicit(&v->anon, memory_order_relaxed))
		mm_follow_shrinking(v->as);
	vma_describe(v, addr, f);
	f->write = write;
	f->present = present;
	return err;
}

/*
 * A VMA that was being replaced or moved is found under mmap_lock, by which whoever does so has put the new one in place.
 * In between the index has nothing there: what it says without the lock is no reason to do without.
 */
struct vma *mm_lock_vma(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_lock_read(&mm->index, addr);

	if (v && v->mm != mm) {
		vma_unlock_read(v);
		v = NULL;
	}
	if (!v) {
		mutex_lock(&mm->mmap_lock);
		v = vma_lock_read(&mm->index, addr); /* without waiting: who locks VMAs for writing has mmap_lock */
		mutex_unlock(&mm->mmap_lock);
	}
	return v;
}

/* What the kernel has not looked at, where every page has its protection from us. As on x86, what can be written or run can be read. */
static bool is_allowed(const struct vma *v, unsigned flags)
{
	int needed = flags & FAULT_WRITE ? PROT_WRITE : flags & FAULT_EXEC ? PROT_EXEC : PROT_READ | PROT_WRITE | PROT_EXEC;

	return v->prot & needed;
}

/*
 * The mapping is the kernel's. The fault may be from before, and have waited for the VMA while it was handed over: then
 * the access works now. What the kernel cannot do either is its own SIGBUS.
 */
static int fault_handed(const struct vma *v, uint64_t addr, unsigned flags)
{
	bool write = (flags & FAULT_WRITE) || !(v->prot & PROT_READ); /* what can be written can be read, but not be populated so */
	int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	if (v->mm->mmu->hides) /* nothing but protection raises the signal there */
		return is_allowed(v, flags) ? 0 : -EFAULT;
	return sys_madvise((void *)page_align_down(addr), FL_PAGE_SIZE, advice) ? -EFAULT : 0;
}

/* Whether mappings have changed since the index was at seq. Caller has no VMA. */
static bool changed_since(struct mm *mm, uint32_t seq)
{
	bool changed;

	mutex_lock(&mm->mmap_lock); /* a change that the kernel has made already is in the index then */
	changed = atomic_load(&mm->index.seq) != seq;
	mutex_unlock(&mm->mmap_lock);
	return changed;
}

/*
 * The VMA that has the page, or NULL: then what was accessed is another mapping, or was ours until another thread unmapped or replaced it.
 * *again: made again, the access meets what is there now. What the kernel cannot bring in either is its own SIGBUS, unless the page has become ours
 * meanwhile; or its own SIGSEGV, where that is the fault signal. With fault threads all accesses are made again.
 */
static struct vma *lock_vma_or_ask_kernel(struct mm *mm, uint64_t addr, unsigned flags, bool *again)
{
	int advice = flags & FAULT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ, err;
	struct vma *v;
	uint32_t seq;

	do {
		seq = atomic_load(&mm->index.seq);
		v = mm_lock_vma(mm, addr);
		if (v || !mm->inline_faults || (mm->mmu->hides && (flags & FAULT_EXEC)))
			return v;
		err = sys_madvise((void *)page_align_down(addr), FL_PAGE_SIZE, advice);
		*again = !err || (err == -ENOMEM && !mm->mmu->hides); /* it is there, or nothing is: SIGSEGV */
	} while (!*again && changed_since(mm, seq));
	return NULL;
}

/* ---- Poison: what a fault that fails leaves for the access to meet (FAULT_POISON) ---- */

#define POISON_NS 20000000 /* after this the access has met it */

/* What is there by now stays: on pool frames it is all that there is of the page. Caller holds mmap_lock. */
static void unpoison(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(&mm->index, addr);
	struct fault f;

	if (!v || v->start > addr || (v->flags & (VM_HANDED | VM_GUARD)))
		return;
	vma_lock_write(v);
	vma_describe(v, addr, &f);
	if (vma_is_at_host(v) || !filemap_resident(&f))
		mm->mmu->ops->zap(mm->mmu, addr, FL_PAGE_SIZE);
	vma_unlock_write(v);
}

/* Those poisoned before `before`, in order. Caller holds mmap_lock. */
static void unpoison_older(struct mm *mm, uint64_t before)
{
	uint32_t n = atomic_load(&mm->npoisoned), kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		bool stays = mm->poisoned[i].since > before;

		if (!stays)
			unpoison(mm, mm->poisoned[i].addr);
		mm->poisoned[kept] = mm->poisoned[i];
		kept += stays;
	}
	atomic_store(&mm->npoisoned, kept);
}

static void drop_oldest_poison(struct mm *mm)
{
	uint32_t n = atomic_load(&mm->npoisoned) - 1;

	unpoison(mm, mm->poisoned[0].addr);
	for (uint32_t i = 0; i < n; i++)
		mm->poisoned[i] = mm->poisoned[i + 1];
	atomic_store(&mm->npoisoned, n);
}

static void note_poison(struct mm *mm, uint64_t addr)
{
	uint32_t n = atomic_load(&mm->npoisoned);

	mm->poisoned[n].addr = addr;
	mm->poisoned[n].since = now_ns();
	atomic_store(&mm->npoisoned, n + 1);
}

static void clear_poison(struct mm *mm, uint64_t before)
{
	if (likely(!atomic_load_explicit(&mm->npoisoned, memory_order_relaxed)))
		return;
	mutex_lock(&mm->mmap_lock);
	unpoison_older(mm, before);
	mutex_unlock(&mm->mmap_lock);
}

void mm_clear_poison(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		clear_poison(mm, UINT64_MAX);
}

/*
 * With the VMA locked nothing is mapped in it; a page that the table does not know is not mapped now. What can be there is the mark
 * of write protection that a page left behind, which is in the poison's way.
 */
static int poison(struct mm *mm, uint64_t addr)
{
	const struct mmu_ops *ops = mm->mmu->ops;
	struct vma *v;
	struct fault f;
	int err = 0;

	mutex_lock(&mm->mmap_lock);
	if (atomic_load(&mm->npoisoned) == POISONED_MAX) /* while who makes this access still waits */
		drop_oldest_poison(mm);
	v = vma_find(&mm->index, addr);
	if (v && v->start <= addr) {
		vma_lock_write(v);
		vma_describe(v, addr, &f);
		if (!filemap_resident(&f)) {
			ops->unprotect(mm->mmu, addr, FL_PAGE_SIZE);
			err = ops->poison(mm->mmu, addr);
		}
		vma_unlock_write(v);
		if (!err)
			note_poison(mm, addr);
	}
	mutex_unlock(&mm->mmap_lock);
	return err == -EEXIST || err == -ENOENT ? 0 : err; /* there by now, or gone: the access is made again */
}

static int fault_in(struct mm *mm, uint64_t addr, unsigned flags)
{
	struct fault f;
	struct vma *v;
	bool again = false;
	uint64_t start;
	int err;

	if (flags & FAULT_POISON)
		clear_poison(mm, now_ns() - POISON_NS);
	v = lock_vma_or_ask_kernel(mm, addr, flags, &again);
	if (!v)
		return again ? 0 : -EFAULT;
	if (v->flags & VM_GUARD) { /* the access came before the guard: made again, it gets the kernel's SIGSEGV */
		vma_unlock_read(v);
		return 0;
	}
	if (v->flags & VM_HANDED) {
		err = fault_handed(v, addr, flags);
		vma_unlock_read(v);
		return err;
	}
	if (mm->mmu->hides && !is_allowed(v, flags)) {
		vma_unlock_read(v);
		return -EACCES;
	}
	if ((flags & FAULT_WRITE) && !(v->prot & PROT_WRITE) && (as_is_pool(v->as) || mm->inline_faults)) {
		err = as_is_pool(v->as) ? huge_close(&v->rmap, v->prot) : 0; /* protected since the access: made again, it gets SIGSEGV */
		vma_unlock_read(v);
		return err;
	}
	start = now_ns();
	err = vma_fault(v, addr, flags & FAULT_WRITE, flags & FAULT_PRESENT, &f);
	f.absent = !(flags & FAULT_PRESENT);
	if (!err)
		err = filemap_fault(&f);
	report_add(&v->as->report->fault_ns, now_ns() - start);
	vma_unlock_read(v);
	return err && (flags & FAULT_POISON) ? poison(mm, page_align_down(addr)) : err;
}

static bool is_within(struct mm *mm, uint64_t addr)
{
	return addr >= atomic_load_explicit(&mm->low, memory_order_relaxed) && addr < atomic_load_explicit(&mm->high, memory_order_relaxed);
}

/* Whether a mapping could be there; one that the kernel has made already, and we not yet, counts. */
static bool may_be_within(struct mm *mm, uint64_t addr)
{
	bool within = is_within(mm, addr);

	if (!within) {
		mutex_lock(&mm->mmap_lock);
		within = is_within(mm, addr);
		mutex_unlock(&mm->mmap_lock);
	}
	return within;
}

/* The second look is for an access that the kernel has grown a mapping for (MAP_GROWSDOWN), of which we hear only now. */
static int fault_in_space(struct mm *mm, uint64_t addr, unsigned flags)
{
	int err = may_be_within(mm, addr) ? fault_in(mm, addr, flags) : -EFAULT;
	bool grows = atomic_load_explicit(&mm->grows_down, memory_order_relaxed);

	if (err == -EFAULT && grows && mm_grow_down(mm, page_align_down(addr)))
		err = fault_in(mm, addr, flags);
	return err;
}

int mm_protection_at(uint64_t addr)
{
	struct mm *mm;
	struct vma *v;

	for (int i = 0; (mm = mm_space(i)); i++)
		if ((v = vma_find(&mm->index, addr)) && v->start <= addr)
			return v->prot;
	return -1;
}

int mm_handle_fault(uint64_t addr, unsigned flags)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++) {
		int err = fault_in_space(mm, addr, flags);

		if (err != -EFAULT)
			return err;
	}
	return -EFAULT;
}
