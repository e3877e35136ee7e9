/* SPDX-License-Identifier: Apache-2.0 */
/* util/arena.c: zeroed objects of their own, memory that is used again for its own size only, and every page paid for. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/arena.h"
#include "util/compiler.h"

static struct arena arena;
static _Atomic uint64_t charged, allowed;

static bool charge(uint64_t pages)
{
	if (atomic_load(&charged) + pages > atomic_load(&allowed))
		return false;
	atomic_fetch_add(&charged, pages);
	return true;
}

static int start(void **state)
{
	(void)state;
	atomic_store(&charged, 0);
	atomic_store(&allowed, 10000);
	return arena_init(&arena, 64UL << 20, charge, charge);
}

static int end(void **state)
{
	(void)state;
	if (arena_used(&arena) != atomic_load(&charged) * FL_PAGE_SIZE)
		return 1;
	arena_exit(&arena);
	return 0;
}

static void objects_are_zeroed_aligned_and_apart(void **state)
{
	static unsigned char *object[ARENA_MAX_OBJECT + 1];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t size = 1; size <= ARENA_MAX_OBJECT; size += 13) {
			unsigned char *p = object[size] = arena_alloc(&arena, size);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 32, 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(p[i], 0);
			memset(p, (int)size | 1, size);
		}
		for (size_t size = 1; size <= ARENA_MAX_OBJECT; size += 13) {
			for (size_t i = 0; i < size; i++)
				assert_int_equal(object[size][i], (unsigned char)(size | 1));
			arena_free(&arena, object[size], size);
		}
	}
}

static void what_is_freed_is_used_again(void **state)
{
	size_t used;
	void *p = arena_alloc(&arena, 300), *q;

	(void)state;
	used = arena_used(&arena);
	for (int i = 0; i < 10000; i++) {
		arena_free(&arena, p, 300);
		q = arena_alloc(&arena, 350); /* the same class */
		assert_ptr_equal(p, q);
	}
	assert_int_equal(arena_used(&arena), used);
	arena_free(&arena, NULL, 300);
}

static void no_object_lies_across_two_pages_unless_it_must(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		uintptr_t p = (uintptr_t)arena_alloc(&arena, 768);

		assert_int_equal(p >> FL_PAGE_SHIFT, (p + 767) >> FL_PAGE_SHIFT);
	}
	assert_int_equal(atomic_load(&charged), 200); /* five to a page */
}

static void over_budget_there_is_nothing(void **state)
{
	(void)state;
	atomic_store(&allowed, 2);
	assert_non_null(arena_alloc(&arena, 4096));
	assert_non_null(arena_alloc(&arena, 2048));
	assert_non_null(arena_alloc(&arena, 2048)); /* the other half of a page that is paid for */
	assert_null(arena_alloc(&arena, 2048));
	assert_null(arena_alloc(&arena, 32));
	atomic_store(&allowed, 3);
	assert_non_null(arena_alloc(&arena, 32));
}

static void the_reserve_is_a_limit_too(void **state)
{
	unsigned n = 0;

	(void)state;
	arena_exit(&arena);
	atomic_store(&charged, 0);
	assert_int_equal(arena_init(&arena, 8 * FL_PAGE_SIZE, charge, charge), 0);
	while (arena_alloc(&arena, 4096))
		n++;
	assert_int_equal(n, 8);
}

/* ---- Blocks: refused from `allowed_ahead` pages on ---- */

static _Atomic uint64_t allowed_ahead, blocks;

static bool charge_ahead(uint64_t pages)
{
	if (atomic_load(&charged) + pages > atomic_load(&allowed_ahead))
		return false;
	atomic_fetch_add(&blocks, 1);
	return charge(pages);
}

static void start_with_blocks(uint64_t pages)
{
	arena_exit(&arena);
	atomic_store(&charged, 0);
	atomic_store(&blocks, 0);
	atomic_store(&allowed_ahead, pages);
	assert_int_equal(arena_init(&arena, 16UL << 20, charge, charge_ahead), 0);
}

#define BLOCK_PAGES (ARENA_BLOCK >> FL_PAGE_SHIFT)

/* Pages one after the other, all paid for before they are given out, until there are no more. */
static uint64_t take_all_pages(void)
{
	uint64_t n = 0;
	char *p;

	while ((p = arena_alloc(&arena, FL_PAGE_SIZE))) {
		assert_ptr_equal(p, arena.base + n * FL_PAGE_SIZE);
		n++;
		assert_true(n <= atomic_load(&charged));
		assert_int_equal(arena_used(&arena), atomic_load(&charged) * FL_PAGE_SIZE);
	}
	return n;
}

static void it_grows_by_blocks_when_it_is_large(void **state)
{
	(void)state;
	start_with_blocks(UINT64_MAX);
	for (uint64_t i = 0; i < 2 * BLOCK_PAGES; i++)
		assert_non_null(arena_alloc(&arena, FL_PAGE_SIZE));
	assert_int_equal(atomic_load(&charged), 2 * BLOCK_PAGES);
	assert_int_equal((uintptr_t)arena.base % ARENA_BLOCK, 0);
	assert_non_null(arena_alloc(&arena, 100));
	assert_int_equal(atomic_load(&charged), 3 * BLOCK_PAGES);
	for (uint64_t i = 2 * BLOCK_PAGES + 1; i < 8 * BLOCK_PAGES; i++)
		assert_non_null(arena_alloc(&arena, FL_PAGE_SIZE));
	assert_null(arena_alloc(&arena, FL_PAGE_SIZE));
	assert_int_equal(atomic_load(&blocks), 6);
}

static void without_room_for_a_block_it_grows_by_pages(void **state)
{
	(void)state;
	start_with_blocks(3 * BLOCK_PAGES + 100);
	atomic_store(&allowed, 4 * BLOCK_PAGES + 7);
	assert_int_equal(take_all_pages(), 4 * BLOCK_PAGES + 7);
	assert_int_equal(atomic_load(&blocks), 1);
	atomic_store(&allowed_ahead, UINT64_MAX);
	atomic_store(&allowed, UINT64_MAX);
	while (arena_alloc(&arena, FL_PAGE_SIZE))
		;
	assert_int_equal(atomic_load(&charged), 8 * BLOCK_PAGES);
	assert_int_equal(atomic_load(&blocks), 1 + 3); /* from the next boundary on */
}

static void *churn(void *arg)
{
	size_t size = (uintptr_t)arg;
	char *p[32] = {0};

	for (int i = 0; i < 20000; i++) {
		char **o = &p[i * 7 % 32];

		if (*o) {
			assert_int_equal((*o)[0], (char)size);
			arena_free(&arena, *o, size);
			*o = NULL;
		} else {
			*o = arena_alloc(&arena, size);
			assert_int_equal((*o)[0], 0);
			(*o)[0] = (char)size;
		}
	}
	return NULL;
}

static void threads_have_objects_of_their_own(void **state)
{
	static const uintptr_t sizes[] = {100, 101, 700, 701};
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, churn, (void *)sizes[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(objects_are_zeroed_aligned_and_apart),
		T(what_is_freed_is_used_again),
		T(no_object_lies_across_two_pages_unless_it_must),
		T(over_budget_there_is_nothing),
		T(the_reserve_is_a_limit_too),
		T(it_grows_by_blocks_when_it_is_large),
		T(without_room_for_a_block_it_grows_by_pages),
		T(threads_have_objects_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
