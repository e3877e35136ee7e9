/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbours that could have been made by one mmap call become one VMA again, as vma_merge() of Linux sees to it:
 *
 *     before   | A A A | B |       | A | N N | B |      | A | N | B B |
 *     after    | A A A A A |       | A A A A A A |      | A A A A A A |       where N is new or has changed
 *
 * They must agree in object, offset, protection, flags and advice, and in where their private pages are: in one anon_vma, or one of them has
 * none yet. But those that a fork has inherited (lineage) merge only with what came from the same VMA of the parent. Only borders of what is
 * new or has changed are looked at. mremap, remap_file_pages and /proc/PID/maps show where mappings end, so this is Linux's to decide.
 *
 * In a soft space the object that holds private pages is the anon_vma (a family), and VMAs are what they would be on Linux.
 *
 * In a native space it has a length, and would be outgrown: so a VMA has a number of its family besides, and what Linux has as one mapping
 * can be several VMAs of ours, of which all but the first are `joined`. They stay apart where private pages are not in one object in one
 * sequence, where one is a guard, and on pool frames: each must be one to the kernel, which may not merge what is
 * anonymous memory to it (convert.c moves them whole).
 *
 * The first private page of a mapping left to the kernel comes without our knowledge. Where two such mappings meet of which one has no family,
 * the kernel is asked: it has them as Linux would. (Those that were ours have a family if they need one, which the kernel may not know: it was
 * given them one by one.)
 */
#include <errno.h>
#include <sys/mman.h>

#include "mm.h"
#include "util/sys.h"

static bool is_like(const struct vma *u, const struct vma *v, unsigned apart_from)
{
	if (v->start != u->end || v->as != u->as || v->pgoff != u->pgoff + vma_pages(u))
		return false;
	return v->prot == u->prot && !((v->flags ^ u->flags) & ~apart_from) && v->advice == u->advice;
}

bool vma_continues(const struct vma *u, const struct vma *v)
{
	return !u->mm->soft && atomic_load(&v->joined) && is_like(u, v, VM_GUARDS);
}

struct vma *vma_first_joined(struct mm *mm, struct vma *v)
{
	while (atomic_load(&v->joined))
		v = vma_find(&mm->index, v->start - 1);
	return v;
}

struct vma *vma_next_joined(struct mm *mm, const struct vma *v)
{
	struct vma *next = vma_find(&mm->index, v->end);

	return next && next->start == v->end && atomic_load(&next->joined) ? next : NULL;
}

bool vma_was_guarded(struct mm *mm, struct vma *v)
{
	for (v = vma_first_joined(mm, v); v; v = vma_next_joined(mm, v))
		if (v->flags & VM_MAYBE_GUARD)
			return true;
	return false;
}

bool vma_is_cut_at(struct mm *mm, uint64_t addr)
{
	const struct vma *v = vma_find(&mm->index, addr);

	return v && (v->start < addr || (v->start == addr && atomic_load(&v->joined)));
}

/* ---- Families of native spaces ---- */

uint32_t vma_new_family(void)
{
	static _Atomic uint32_t last;
	uint32_t n = atomic_fetch_add(&last, 1) + 1;

	return n ? n : vma_new_family();
}

/* As anon_vma_compatible() of Linux: mprotect may make one mapping of them. */
bool vma_may_share_family(const struct vma *u, const struct vma *v)
{
	if (u->end != v->start || u->as != v->as || v->pgoff != u->pgoff + vma_pages(u))
		return false;
	return !((u->flags ^ v->flags) & ~VM_GUARDS) && u->advice == v->advice;
}

/* The family of the VMA at addr when v may have it, else 0. */
static uint32_t family_beside(const struct vma *v, uint64_t addr)
{
	struct vma *u = vma_trylock_read(&v->mm->index, addr);
	uint32_t family = 0;

	if (!u)
		return 0;
	if (u->mm == v->mm && !u->lineage && (addr < v->start ? vma_may_share_family(u, v) : vma_may_share_family(v, u)))
		family = atomic_load(&u->family);
	vma_unlock_read(u);
	return family;
}

/* find_mergeable_anon_vma() of Linux, in its order. */
void vma_join_family(struct vma *v)
{
	uint32_t none = 0, family;

	if (atomic_load_explicit(&v->family, memory_order_relaxed) || (v->flags & (VM_SHARED | VM_HANDED)) || v->mm->soft)
		return;
	family = family_beside(v, v->end);
	if (!family)
		family = family_beside(v, v->start - 1);
	if (!family)
		family = vma_new_family();
	atomic_compare_exchange_strong(&v->family, &none, family);
}

/* The nearest of those that are one mapping with v which has a family; the last of them when none has. */
static const struct vma *with_family_below(struct mm *mm, const struct vma *v)
{
	while (!atomic_load(&v->family) && atomic_load(&v->joined))
		v = vma_find(&mm->index, v->start - 1);
	return v;
}

static const struct vma *with_family_above(struct mm *mm, const struct vma *v)
{
	const struct vma *next;

	while (!atomic_load(&v->family) && (next = vma_next_joined(mm, v)))
		v = next;
	return v;
}

void vma_spread_families(struct mm *mm, uint64_t start, uint64_t end)
{
	uint32_t family = 0;
	bool any = false;

	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end && !mm->soft; v = vma_find(&mm->index, v->end)) {
		if (!any || !atomic_load(&v->joined)) {
			family = atomic_load(&with_family_below(mm, v)->family);
			family = family ? family : atomic_load(&with_family_above(mm, v)->family);
		}
		any = true;
		if (!atomic_load(&v->family))
			atomic_store(&v->family, family);
	}
}

/* It refuses a range of two mappings before it sees that there is no place in which the range could grow to this. */
static bool kernel_divides(uint64_t addr)
{
	void *p = sys_mremap((void *)(addr - FL_PAGE_SIZE), 2 * FL_PAGE_SIZE, TASK_SIZE, 0, NULL);

	return sys_is_err(p) && sys_err(p) == -EFAULT;
}

static bool families_agree(struct mm *mm, const struct vma *u, const struct vma *v)
{
	uint64_t border = v->start;
	uint32_t below, above;

	if (u->flags & VM_SHARED)
		return true;
	u = with_family_below(mm, u);
	v = with_family_above(mm, v);
	below = atomic_load(&u->family);
	above = atomic_load(&v->family);
	if ((v->flags & VM_HANDED) && !(below && above))
		return !kernel_divides(border);
	return below == above || (!(below && above) && !(below ? u : v)->lineage);
}

/* ---- Merging ---- */

static bool is_one_sequence(const struct vma *u, const struct vma *v)
{
	return v->anon_pgoff == u->anon_pgoff + vma_pages(u);
}

static bool anon_continues(const struct vma *u, const struct vma *v)
{
	struct address_space *below = atomic_load(&u->anon), *above = atomic_load(&v->anon);

	if (below == above)
		return !below || (is_one_sequence(u, v) && v->lineage == u->lineage);
	if (below && above)
		return false;
	return !(below ? u : v)->lineage;
}

/* Whether they are one mapping to Linux. */
static bool belong_together(struct mm *mm, const struct vma *u, const struct vma *v)
{
	if (!is_like(u, v, VM_GUARDS) || (u->flags & VM_HUGETLB))
		return false;
	return mm->soft ? anon_continues(u, v) : families_agree(mm, u, v);
}

/* And whether they can be one of ours. */
static bool can_merge(struct mm *mm, const struct vma *u, const struct vma *v)
{
	if (!belong_together(mm, u, v) || v->wb_seen != u->wb_seen)
		return false;
	if (mm->soft)
		return true;
	return !((u->flags ^ v->flags) & VM_GUARD) && !as_is_pool(u->as) && atomic_load(&u->anon) == atomic_load(&v->anon) &&
	       (!atomic_load(&u->anon) || is_one_sequence(u, v));
}

/* What one of them has private pages in is that of both. Both are out of the reverse map. */
static void join_anon(struct vma *u, struct vma *v)
{
	struct address_space *anon = atomic_load(&v->anon);

	if (atomic_load(&u->anon) || !anon)
		return;
	u->anon_pgoff = v->anon_pgoff - vma_pages(u);
	atomic_store(&u->anon, anon);
	atomic_store(&v->anon, NULL);
}

/* u takes over what v has, whose references are given back. Both are locked for writing. */
static void absorb(struct mm *mm, struct vma *u, struct vma *v)
{
	uint64_t end = v->end;

	write_lock(&rmap_lock);
	vma_unlink_rmap(u);
	vma_unlink_rmap(v);
	join_anon(u, v);
	if (!atomic_load(&u->family)) {
		atomic_store(&u->family, atomic_load(&v->family));
		u->lineage = mm->soft ? u->lineage : v->lineage;
	}
	u->flags |= v->flags & VM_MAYBE_GUARD;
	vma_index_erase(&mm->index, v);
	vma_set_range(v, 0, 0);
	vma_set_range(u, u->start, end);
	vma_index_resize(&mm->index, u);
	vma_link_rmap(u);
	write_unlock(&rmap_lock);
}

/* Whether u now reaches to where v ended; v is gone then. */
static bool merge(struct mm *mm, struct vma *u, struct vma *v)
{
	bool yes;

	atomic_store(&v->joined, belong_together(mm, u, v));
	if (!can_merge(mm, u, v))
		return false;
	vma_lock_write(u);
	vma_lock_write(v);
	yes = can_merge(mm, u, v); /* a fault may have made the first private page meanwhile */
	atomic_store(&v->joined, belong_together(mm, u, v));
	if (yes)
		absorb(mm, u, v);
	vma_unlock_write(v);
	vma_unlock_write(u);
	if (yes)
		vma_free_unlinked(v);
	return yes;
}

void vma_merge_at(struct mm *mm, uint64_t addr)
{
	struct vma *u = addr ? vma_find(&mm->index, addr - 1) : NULL, *v;

	if (!u || u->end != addr)
		return;
	v = vma_find(&mm->index, addr);
	if (v && v->start == addr)
		merge(mm, u, v);
}

void vma_merge_range(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *v = vma_find(&mm->index, start ? start - 1 : 0);

	while (v && v->start < end) {
		struct vma *next = vma_find(&mm->index, v->end);

		if (!next || next->start > end)
			return;
		if (!merge(mm, v, next))
			v = next;
	}
}
