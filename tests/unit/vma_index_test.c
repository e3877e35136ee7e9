/* SPDX-License-Identifier: Apache-2.0 */
/* mm/vma_index.c against a plain array, with tens of thousands of VMAs, and with readers beside a writer. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "mm/vma.h"
#include "util/report.h"

/* The model: address space in slots of 16 pages, each empty or with one VMA of 1 to 16 pages at its start. */
#define SLOTS 65536
#define SLOT_BYTES (16 * FL_PAGE_SIZE)
#define BASE (1ULL << 32)

static struct vma_index index_;
static struct vma *model[SLOTS];
static uint64_t rng;

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static int start(void **state)
{
	(void)state;
	rng = 88172645463325252ull;
	memset(model, 0, sizeof model);
	assert_int_equal(budget_init(256UL << 20), 0);
	assert_int_equal(report_init(NULL, 256UL << 20), 0);
	assert_int_equal(address_space_init(false), 0);
	return vma_index_init(&index_);
}

static int end(void **state)
{
	(void)state;
	vma_index_exit(&index_);
	vma_index_pool_exit();
	vma_pool_exit();
	address_space_exit();
	report_exit();
	return budget_used() != budget_fixed_pages();
}

static uint64_t address(uint32_t slot)
{
	return BASE + slot * SLOT_BYTES;
}

static void insert(uint32_t slot)
{
	struct vma *v = vma_alloc(NULL);

	assert_non_null(v);
	vma_set_range(v, address(slot), address(slot) + (1 + next(&rng) % 16) * FL_PAGE_SIZE);
	assert_int_equal(vma_index_insert(&index_, v), 0);
	model[slot] = v;
}

static void erase(uint32_t slot)
{
	vma_index_erase(&index_, model[slot]);
	vma_free(model[slot]);
	model[slot] = NULL;
}

static struct vma *model_find(uint64_t addr)
{
	for (uint32_t s = addr < BASE ? 0 : (uint32_t)((addr - BASE) / SLOT_BYTES); s < SLOTS; s++)
		if (model[s] && model[s]->end > addr)
			return model[s];
	return NULL;
}

static void check_find(uint64_t addr)
{
	struct vma *v = model_find(addr);

	assert_ptr_equal(vma_find(&index_, addr), v);
	assert_ptr_equal(vma_find_racy(&index_, addr), v);
}

static void check_all(void)
{
	uint64_t count = 0;
	struct vma *v = vma_find(&index_, 0);

	for (uint32_t s = 0; s < SLOTS; s++) {
		if (!model[s])
			continue;
		assert_ptr_equal(v, model[s]);
		v = vma_find(&index_, v->end);
		count++;
	}
	assert_null(v);
	assert_int_equal(index_.count, count);
}

static void an_empty_index_finds_nothing(void **state)
{
	(void)state;
	check_find(0);
	check_find(BASE);
	check_find(UINT64_MAX);
	insert(5);
	check_find(0);
	check_find(address(5));
	check_find(model[5]->end - 1);
	check_find(model[5]->end);
	erase(5);
	check_find(0);
	check_find(address(5));
	assert_int_equal(index_.count, 0);
}

/* The set grows and shrinks in turn, so that chunks split and go. */
static void a_hundred_thousand_random_changes(void **state)
{
	unsigned bias = 6;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint32_t slot = (uint32_t)(next(&rng) % 4096);

		if (i % 10000 == 0)
			bias = bias == 6 ? 2 : 6;
		if (next(&rng) % 8 < bias && !model[slot])
			insert(slot);
		else if (next(&rng) % 8 >= bias && model[slot])
			erase(slot);
		check_find(BASE - 1 + next(&rng) % (4096 * SLOT_BYTES + 2));
		if (i % 5000 == 0)
			check_all();
	}
	check_all();
}

static void fifty_thousand_vmas(const uint32_t *order, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		insert(order[i]);
	check_all();
	for (int i = 0; i < 10000; i++)
		check_find(BASE + next(&rng) % (SLOTS * SLOT_BYTES));
	for (uint32_t i = 0; i < n; i += 2)
		erase(order[i]);
	check_all();
	for (uint32_t i = 1; i < n; i += 2)
		erase(order[i]);
	check_all();
}

#define MANY 50000
static uint32_t order[MANY];

static void fifty_thousand_upwards(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		order[i] = i;
	fifty_thousand_vmas(order, MANY);
}

static void fifty_thousand_downwards(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		order[i] = MANY - 1 - i;
	fifty_thousand_vmas(order, MANY);
}

static void fifty_thousand_in_any_order(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MANY; i++)
		order[i] = i;
	for (uint32_t i = MANY - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(next(&rng) % (i + 1)), x = order[i];

		order[i] = order[j];
		order[j] = x;
	}
	fifty_thousand_vmas(order, MANY);
}

/* ---- Far apart ---- */

#define FAR 480

static struct vma *far[FAR];

/* Crowds of pages with room for tens of TiB between them: too far apart, in one chunk, to tell pages of a crowd by their distance. */
static uint64_t far_address(uint32_t i)
{
	static const uint64_t crowd[] = {1ULL << 16, 1ULL << 46, (1ULL << 56) + (1ULL << 40)};

	return crowd[i / (FAR / 3)] + i % (FAR / 3) * 2 * FL_PAGE_SIZE;
}

static struct vma *far_find(uint64_t addr)
{
	for (uint32_t i = 0; i < FAR; i++)
		if (far[i] && far[i]->end > addr)
			return far[i];
	return NULL;
}

static void check_far(void)
{
	for (uint32_t i = 0; i < FAR; i++)
		for (uint64_t addr = far_address(i) - 1; addr < far_address(i) + 2 * FL_PAGE_SIZE; addr += FL_PAGE_SIZE / 2 + 1) {
			struct vma *v = far_find(addr);

			assert_ptr_equal(vma_find(&index_, addr), v);
			assert_ptr_equal(vma_find_racy(&index_, addr), v);
			assert_int_equal(vma_index_overlaps(&index_, addr, addr + FL_PAGE_SIZE), v && v->start < addr + FL_PAGE_SIZE);
		}
}

static void change_far(uint32_t i)
{
	if (far[i]) {
		vma_index_erase(&index_, far[i]);
		vma_free(far[i]);
		far[i] = NULL;
		return;
	}
	far[i] = vma_alloc(NULL);
	assert_non_null(far[i]);
	vma_set_range(far[i], far_address(i), far_address(i) + FL_PAGE_SIZE);
	assert_int_equal(vma_index_insert(&index_, far[i]), 0);
}

static void vmas_of_a_chunk_may_be_far_apart(void **state)
{
	(void)state;
	memset(far, 0, sizeof far);
	for (uint32_t k = 0; k < 90; k++) { /* one chunk */
		change_far((uint32_t)(next(&rng) % FAR));
		if (k % 30 == 29)
			check_far();
	}
	for (uint32_t k = 0; k < 3000; k++) {
		change_far((uint32_t)(next(&rng) % FAR));
		if (k % 300 == 0)
			check_far();
	}
	check_far();
}

/* What one split adds at most, and a little more. */
static void after_prepare_inserts_cannot_fail(void **state)
{
	uint64_t left;

	(void)state;
	for (uint32_t s = 0; s < 1000; s += 2)
		insert(s);
	for (uint32_t s = 2001; s < 2061; s++)
		insert(s); /* VMAs for later, so that only the index can lack memory */
	for (uint32_t s = 2001; s < 2061; s++)
		erase(s);
	assert_int_equal(vma_index_prepare(&index_), 0);
	left = budget_limit() - budget_used();
	assert_true(budget_try_reserve(left));
	for (uint32_t s = 1; s < 121; s += 2)
		insert(s);
	budget_release(left);
	check_all();
}

static void an_insert_over_budget_changes_nothing(void **state)
{
	uint64_t left;
	struct vma *v;
	uint32_t s;
	int err = 0;

	(void)state;
	left = budget_limit() - budget_used();
	assert_true(budget_try_reserve(left - 20));
	for (s = 0; s < SLOTS && (v = vma_alloc(NULL)); s++) {
		vma_set_range(v, address(s), address(s) + FL_PAGE_SIZE);
		err = vma_index_insert(&index_, v);
		if (err)
			break;
		model[s] = v;
	}
	assert_true(!v || err == -ENOMEM);
	budget_release(left - 20);
	check_all();
}

/* ---- Readers beside a writer ---- */

#define READERS 3

static _Atomic bool stop;
static _Atomic uint64_t wrong;
static _Atomic uint32_t reading; /* readers that have begun */

/* VMAs in even slots stay; what happens in odd ones must not hide them. */
static void *read_random(void *arg)
{
	uint64_t x = 7919 * ((uintptr_t)arg + 1);
	bool begun = false;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint32_t slot = (uint32_t)(next(&x) % 2048) * 2;

		if (vma_find_racy(&index_, address(slot) + 100) != model[slot])
			atomic_fetch_add(&wrong, 1);
		if (!begun)
			atomic_fetch_add(&reading, 1);
		begun = true;
	}
	return NULL;
}

static void readers_always_find_what_stays(void **state)
{
	pthread_t t[READERS];

	(void)state;
	for (uint32_t s = 0; s < 4096; s += 2)
		insert(s);
	atomic_store(&stop, false);
	atomic_store(&reading, 0);
	for (uintptr_t i = 0; i < READERS; i++)
		pthread_create(&t[i], NULL, read_random, (void *)i);
	while (atomic_load(&reading) < READERS)
		sched_yield();
	for (int i = 0; i < 50000; i++) {
		uint32_t slot = (uint32_t)(next(&rng) % 2048) * 2 + 1;

		if (model[slot])
			erase(slot);
		else
			insert(slot);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	check_all();
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_empty_index_finds_nothing),      T(a_hundred_thousand_random_changes),     T(fifty_thousand_upwards),
		T(fifty_thousand_downwards),          T(fifty_thousand_in_any_order),           T(vmas_of_a_chunk_may_be_far_apart),
		T(after_prepare_inserts_cannot_fail), T(an_insert_over_budget_changes_nothing), T(readers_always_find_what_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
