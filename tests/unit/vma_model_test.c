/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All calls that change mappings, at random, against a model that knows of pages and of no VMAs: each page has what was
 * done to it, whatever was divided, joined and moved meanwhile; and neighbours that can be one are one.
 */
#include "vma_ground.h"

#define MODEL_PAGES 96UL
#define STEPS 6000

struct page_model {
	struct address_space *as; /* NULL: not mapped */
	uint64_t pgoff;
	int prot;
	unsigned flags;
	enum ra_advice advice;
	struct address_space *anon;
	uint64_t anon_index;
};

static struct page_model model[MODEL_PAGES];
static uint64_t rng;

static uint64_t random_below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

/* What the VMAs say of a page. */
static struct page_model look_at(uint64_t page)
{
	const struct vma *v = vma_at(page);
	uint64_t addr = (uint64_t)at(page);
	struct page_model m = {0};

	if (!v)
		return m;
	m = (struct page_model){.as = v->as, .pgoff = vma_index_of(v, addr), .prot = v->prot, .flags = v->flags, .advice = v->advice};
	m.anon = atomic_load(&v->anon);
	m.anon_index = m.anon ? v->anon_pgoff + ((addr - v->start) >> FL_PAGE_SHIFT) : 0;
	return m;
}

static void check_model(void)
{
	for (uint64_t p = 0; p < MODEL_PAGES; p++) {
		struct page_model m = look_at(p);

		assert_ptr_equal(m.as, model[p].as);
		assert_int_equal(m.pgoff, model[p].pgoff);
		assert_int_equal(m.prot, model[p].prot);
		assert_int_equal(m.flags, model[p].flags);
		assert_int_equal(m.advice, model[p].advice);
		assert_ptr_equal(m.anon, model[p].anon);
		assert_int_equal(m.anon_index, model[p].anon_index);
	}
	vma_check();
	vma_check_merged();
}

/* The first page from `page` on that is not mapped, `end` at most. */
static uint64_t first_hole(uint64_t page, uint64_t end)
{
	while (page < end && model[page].as)
		page++;
	return page;
}

/* A mapping is what its VMA says at once: that this is right is for other tests. Half of them continue others. */
static void random_map(uint64_t page, uint64_t n)
{
	static const int prots[] = {PROT_NONE, PROT_READ, RW, RW};
	int prot = prots[random_below(4)], flags = random_below(8) ? 0 : MAP_NORESERVE;
	uint64_t pgoff = page + (random_below(4) ? 0 : 7);

	switch (random_below(5)) {
	case 0:
		map_file(page, n, prot, flags | MAP_SHARED, fd, pgoff);
		break;
	case 1:
		map_file(page, n, prot, flags | MAP_PRIVATE, fd, pgoff);
		break;
	case 2:
		map_file(page, n, prot, flags | MAP_PRIVATE, other_fd, pgoff);
		break;
	default:
		map_file(page, n, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	for (uint64_t p = page; p < page + n; p++) {
		model[p] = look_at(p);
		assert_int_equal(model[p].prot, prot);
		assert_null(model[p].anon);
	}
}

static void random_unmap(uint64_t page, uint64_t n)
{
	unmap(page, n);
	memset(&model[page], 0, n * sizeof model[0]);
}

/* Whether a page of the mapping that it is in was touched, with all that is one mapping on Linux. */
static bool part_has_private(uint64_t page)
{
	uint64_t addr = (uint64_t)at(page);

	if (!model[page].as)
		return false;
	mutex_lock(&mm->mmap_lock);
	vma_spread_families(mm, addr, addr + 1);
	mutex_unlock(&mm->mmap_lock);
	return atomic_load(&vma_at(page)->family);
}

static void random_protect(uint64_t page, uint64_t n)
{
	static const int prots[] = {PROT_NONE, PROT_READ, RW};
	uint64_t to = first_hole(page, page + n);
	int prot = prots[random_below(3)];
	bool has_private[MODEL_PAGES];

	for (uint64_t p = page; p < page + n; p++)
		has_private[p] = part_has_private(p);
	assert_int_equal(fl_mprotect(at(page), n * PAGE, prot), to < page + n ? -1 : 0);
	for (uint64_t p = page; p < to; p++) {
		struct page_model *m = &model[p];

		m->prot = prot;
		if ((prot & PROT_WRITE) && !(m->flags & (VM_SHARED | VM_NORESERVE)))
			m->flags |= VM_ACCOUNT;
		else if (!(prot & PROT_WRITE) && m->as->zero && !has_private[p])
			m->flags &= ~(unsigned)VM_ACCOUNT;
	}
}

static void random_advise(uint64_t page, uint64_t n)
{
	static const int advice[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_DONTDUMP, MADV_DODUMP};
	unsigned which = (unsigned)random_below(5);

	assert_int_equal(fl_madvise(at(page), n * PAGE, advice[which]), first_hole(page, page + n) < page + n ? -1 : 0);
	for (uint64_t p = page; p < page + n; p++) {
		if (!model[p].as)
			continue;
		if (which < 3)
			model[p].advice = (enum ra_advice)which;
		else
			model[p].flags = (model[p].flags & ~(unsigned)VM_DONTDUMP) | (which == 3 ? VM_DONTDUMP : 0);
	}
}

static void random_lock(uint64_t page, uint64_t n)
{
	const unsigned locks = VM_LOCKED | VM_LOCKONFAULT;
	uint64_t to = first_hole(page, page + n);
	bool lock = random_below(2);
	int err = lock ? fl_mlock2(at(page), n * PAGE, MLOCK_ONFAULT) : fl_munlock(at(page), n * PAGE);

	assert_int_equal(err, to < page + n ? -1 : 0);
	for (uint64_t p = page; p < to; p++)
		model[p].flags = (model[p].flags & ~locks) | (lock ? locks : 0);
}

static void random_touch(uint64_t page)
{
	const struct vma *v = vma_at(page);

	if (!v || (v->flags & VM_SHARED))
		return;
	touch(page);
	for (uint64_t p = 0; p < MODEL_PAGES; p++)
		if (vma_at(p) == v)
			model[p] = look_at(p);
	assert_non_null(model[page].anon);
}

/* Memory without private pages is numbered by where it is. */
static void renumber(uint64_t page, uint64_t n, uint64_t to, const bool *has_private)
{
	for (uint64_t p = page; p < page + n; p++)
		if (model[p].as && model[p].as->zero && !has_private[p])
			model[p].pgoff = (uint64_t)at(to + (p - page)) >> FL_PAGE_SHIFT;
}

/* What is behind a hole of the old range stays. */
static void random_move(uint64_t page, uint64_t n, uint64_t to)
{
	bool has_private[MODEL_PAGES];

	if (to + n > MODEL_PAGES || (to < page + n && page < to + n))
		return;
	if (!model[page].as) {
		assert_ptr_equal(fl_mremap(at(page), n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(to)), MAP_FAILED);
		return;
	}
	for (uint64_t p = page; p < page + n; p++)
		has_private[p] = part_has_private(p);
	move(page, n, to);
	renumber(page, n, to, has_private);
	for (uint64_t i = 0; i < n; i++)
		if (model[page + i].as) {
			model[to + i] = model[page + i];
			memset(&model[page + i], 0, sizeof model[0]);
		}
}

static void random_step(void)
{
	uint64_t page = random_below(MODEL_PAGES), n = 1 + random_below(MODEL_PAGES - page < 24 ? MODEL_PAGES - page : 24);

	switch (random_below(10)) {
	case 0:
	case 1:
	case 2:
		random_map(page, n);
		break;
	case 3:
		random_unmap(page, n);
		break;
	case 4:
	case 5:
		random_protect(page, n);
		break;
	case 6:
		random_advise(page, n);
		break;
	case 7:
		random_lock(page, n);
		break;
	case 8:
		random_touch(page);
		break;
	default:
		random_move(page, n, random_below(MODEL_PAGES));
	}
}

static void anything_in_any_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		rng = seed * 88172645463325252ull;
		memset(model, 0, sizeof model);
		for (unsigned i = 0; i < STEPS; i++) {
			random_step();
			check_model();
		}
		unmap(0, MODEL_PAGES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_NO_KIND(anything_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
