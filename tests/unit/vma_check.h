/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the VMAs of all spaces at any moment when no call and no fault is under way:
 *
 *   1. The index has the VMAs sorted, not overlapping, not empty, unlocked, inside of [low, high), and counts them.
 *   2. mapped, data, committed and locked are the sums over the VMAs.
 *   3. A VMA is in the reverse map of its object, and of its private pages, with the place and the flags that it has; no
 *      one else is. Handed VMAs and anonymous memory are not in that of the object.
 *   4. Private pages have one address at most: no two VMAs have a page of an object of private pages, and none has more
 *      than the object.
 *   5. Each VMA has one reference to its object, and one to its private pages; there are no others.
 *
 * Each is a cmocka assertion. The cost grows with the square of the number of mappings of one object.
 */
#ifndef FL_TESTS_VMA_CHECK_H
#define FL_TESTS_VMA_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "mm/mm.h"
#include "util/compiler.h"

static inline struct vma *vma_check_next(struct mm *mm, const struct vma *v)
{
	return vma_find(&mm->index, v ? v->end : 0);
}

#define for_each_vma(mm, v) for (struct vma *v = vma_check_next(mm, NULL); v; v = vma_check_next(mm, v))

/* ---- 1, 2: the index and the sums ---- */

static inline void vma_check_one(struct mm *mm, const struct vma *v, uint64_t from)
{
	assert_ptr_equal(v->mm, mm);
	assert_true(v->start >= from && v->start < v->end);
	assert_int_equal((v->start | v->end) & FL_PAGE_MASK, 0);
	assert_true(v->start >= atomic_load(&mm->low) && v->end <= atomic_load(&mm->high));
	assert_int_equal(atomic_load(&v->lock), 0);
	assert_ptr_equal(vma_find(&mm->index, v->start), v);
	assert_ptr_equal(vma_find(&mm->index, v->end - 1), v);
	assert_ptr_equal(vma_find_racy(&mm->index, v->start), v);
	assert_true(v->pgoff + vma_pages(v) <= PAGE_INDEX_MAX + 1);
}

static inline void vma_check_index(struct mm *mm)
{
	uint64_t from = 0, count = 0;

	for_each_vma(mm, v)
	{
		vma_check_one(mm, v, from);
		from = v->end;
		count++;
	}
	assert_int_equal(mm->index.count, count);
}

static inline void vma_check_sums(struct mm *mm)
{
	uint64_t mapped = 0, data = 0, committed = 0, locked = 0;

	for_each_vma(mm, v)
	{
		uint64_t bytes = v->end - v->start;
		bool is_private = !(v->flags & (VM_SHARED | VM_GROWSDOWN));

		mapped += bytes;
		data += is_private && (v->prot & PROT_WRITE) ? bytes : 0;
		committed += v->flags & VM_ACCOUNT ? bytes : 0;
		locked += v->flags & VM_LOCKED ? bytes : 0;
	}
	assert_int_equal(atomic_load(&mm->mapped), mapped);
	assert_int_equal(atomic_load(&mm->data), data);
	assert_int_equal(atomic_load(&mm->committed), committed);
	assert_int_equal(atomic_load(&mm->locked), locked);
}

/* ---- 3: the reverse map ---- */

static inline bool vma_check_is_listed(const struct address_space *as, const struct rmap *r)
{
	for (const struct rmap *x = as->rmaps; x; x = x->next)
		if (x == r)
			return true;
	return false;
}

static inline void vma_check_entry(const struct vma *v, const struct address_space *as, const struct rmap *r, uint64_t pgoff)
{
	assert_true(vma_check_is_listed(as, r));
	assert_ptr_equal(*r->link, r);
	assert_ptr_equal(r->mmu, v->mm->mmu);
	assert_int_equal(r->addr, v->start);
	assert_int_equal(r->pgoff, pgoff);
	assert_int_equal(r->pages, vma_pages(v));
	assert_int_equal(r->locked, !!(v->flags & VM_LOCKED));
}

static inline void vma_check_rmap(const struct vma *v)
{
	struct address_space *anon = atomic_load(&v->anon);

	if ((v->flags & VM_HANDED) || vma_is_anonymous(v))
		assert_null(v->rmap.link);
	else
		vma_check_entry(v, v->as, &v->rmap, v->pgoff);
	if (v->flags & VM_HANDED) {
		assert_null(v->anon_rmap.link);
		return;
	}
	assert_int_equal(v->rmap.shared, !!(v->flags & VM_SHARED));
	assert_ptr_equal(v->rmap.anon, anon);
	if (anon) {
		assert_int_equal(v->rmap.anon_pgoff, v->anon_pgoff);
		vma_check_entry(v, anon, &v->anon_rmap, v->anon_pgoff);
	} else {
		assert_null(v->anon_rmap.link);
		assert_int_equal(v->anon_pgoff, 0);
	}
}

/* ---- 3, 4, 5: what an object knows of its VMAs ---- */

struct vma_users {
	uint64_t refs, listed, locked;
};

static inline void vma_check_apart(const struct vma *u, const struct vma *v)
{
	assert_true(u->anon_pgoff + vma_pages(u) <= v->anon_pgoff || v->anon_pgoff + vma_pages(v) <= u->anon_pgoff);
}

/* The VMAs of all spaces that have the object, as what they map or as their private pages. */
static inline struct vma_users vma_check_users(const struct address_space *as, const struct vma *like)
{
	struct vma_users n = {0};
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++)
		for_each_vma(mm, v)
		{
			bool is_anon = atomic_load(&v->anon) == as;

			if (v->as != as && !is_anon)
				continue;
			n.refs++;
			n.listed += !(v->flags & VM_HANDED) && (is_anon || !vma_is_anonymous(v));
			n.locked += (v->flags & (VM_LOCKED | VM_HANDED)) == VM_LOCKED;
			if (is_anon && v != like)
				vma_check_apart(v, like);
		}
	return n;
}

static inline uint64_t vma_check_list(const struct address_space *as)
{
	uint64_t n = 0;

	for (const struct rmap *r = as->rmaps; r; r = r->next)
		n++;
	return n;
}

static inline void vma_check_object(const struct vma *v)
{
	struct vma_users n = vma_check_users(v->as, v);

	assert_int_equal(v->as->refs, n.refs + (v->as->zero ? 1 : 0));
	if (v->as->zero)
		return;
	assert_int_equal(vma_check_list(v->as), n.listed);
	assert_int_equal(atomic_load(&v->as->locked), n.locked);
}

static inline void vma_check_anon(const struct vma *v)
{
	struct address_space *anon = atomic_load(&v->anon);
	struct vma_users n;

	if (!anon)
		return;
	n = vma_check_users(anon, v);
	assert_false(v->flags & VM_SHARED);
	assert_true(as_is_anon(anon));
	assert_true(v->anon_pgoff + vma_pages(v) <= anon->anon_pages);
	assert_int_equal(atomic_load(&anon->anon_refs), n.refs);
	assert_int_equal(vma_check_list(anon), n.listed);
	assert_int_equal(atomic_load(&anon->locked), n.locked);
}

/* ---- All of it ---- */

static inline void vma_check(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++) {
		vma_check_index(mm);
		vma_check_sums(mm);
		for_each_vma(mm, v)
		{
			vma_check_rmap(v);
			vma_check_object(v);
			vma_check_anon(v);
		}
	}
}

/*
 * Besides: no two neighbours could be one. It holds after every call that changes mappings, until a fault, a failed
 * write-back or an msync makes two alike.
 */
static inline bool vma_check_alike(const struct vma *u, const struct vma *v)
{
	struct address_space *anon = atomic_load(&u->anon);

	if (v->start != u->end || v->as != u->as || v->prot != u->prot || v->flags != u->flags || v->advice != u->advice)
		return false;
	if (v->wb_seen != u->wb_seen || v->pgoff != u->pgoff + vma_pages(u) || (u->flags & VM_HUGETLB))
		return false;
	return anon == atomic_load(&v->anon) && (!anon || v->anon_pgoff == u->anon_pgoff + vma_pages(u));
}

static inline void vma_check_merged(void)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++) {
		struct vma *u = NULL;

		for_each_vma(mm, v)
		{
			assert_false(u && vma_check_alike(u, v));
			u = v;
		}
	}
}

#endif
