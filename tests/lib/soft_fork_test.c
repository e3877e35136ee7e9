/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces: fork. */
#include "soft.h"

/* ---- fork ---- */

TEST(fork_shares_pages_until_one_side_writes)
{
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s), *d;
	uint64_t p = map_anon(s, 10);

	(void)*state;
	for (uint64_t i = 0; i < 10; i++)
		store(c, p + i * PAGE, i + 1);
	child = fork_space(s);
	d = new_cpu(child);
	assert_int_equal(stats().private_pages, 10);
	assert_int_equal(walk(s, p).mappings, 2);
	assert_int_equal(walk(child, p).mappings, 2);
	assert_false(entry(s, p) & FL_PTE_WRITE);
	store(c, p, 100); /* the TLB has it still: it must not let the store by */
	assert_int_equal(load(d, p), 1);
	assert_int_equal(load(c, p), 100);
	store(d, p + PAGE, 200);
	assert_int_equal(load(c, p + PAGE), 2);
	assert_int_equal(stats().private_pages, 12);
	assert_int_equal(walk(s, p).mappings, 1);
	store(d, p, 300); /* alone now: no copy */
	assert_int_equal(stats().private_pages, 12);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 10);
	for (uint64_t i = 2; i < 10; i++)
		assert_int_equal(load(d, p + i * PAGE), i + 1);
	fl_cpu_destroy(d);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(stats().private_pages, 0);
}

TEST(fork_copies_mappings_rights_and_the_heap)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL), *child;
	char *heap = fl_space_brk(s, NULL);
	uint64_t p = map_anon(s, 10), q = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0);
	size_t len[2];
	char *text[2];

	assert_ptr_equal(fl_space_brk(s, heap + 5000), heap + 5000);
	poke(s, (uintptr_t)heap, 7);
	assert_int_equal(protect(s, p + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(protect(s, p + 2 * PAGE, PAGE, PROT_NONE), 0);
	poke(s, q, 1);
	child = fork_space(s);
	text[0] = dump_text(s, FL_DUMP_MAPS, &len[0]);
	text[1] = dump_text(child, FL_DUMP_MAPS, &len[1]);
	assert_string_equal(text[0], text[1]);
	poke(child, q + 8, 2);
	assert_int_equal(peek(s, q + 8), 2);
	assert_int_equal(peek(child, q), 1);
	assert_int_equal(peek(child, (uintptr_t)heap), 7);
	assert_ptr_equal(fl_space_brk(child, NULL), heap + 5000);
	assert_ptr_equal(fl_space_brk(child, heap + 9000), heap + 9000);
	assert_ptr_equal(fl_space_brk(s, NULL), heap + 5000);
	assert_fails(fl_space_write(child, p + PAGE, "x", 1, NULL), EFAULT);
	free(text[0]);
	free(text[1]);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(fork_obeys_dontfork_and_wipeonfork_and_drops_locks)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 12);
	char *text;
	size_t len;

	(void)*state;
	for (uint64_t i = 0; i < 12; i++)
		poke(s, p + i * PAGE, i + 1);
	assert_int_equal(advise(s, p + PAGE, PAGE, MADV_DONTFORK), 0);
	assert_int_equal(advise(s, p + 2 * PAGE, PAGE, MADV_WIPEONFORK), 0);
	assert_int_equal(fl_space_mlock2(s, (void *)(p + 4 * PAGE), 4 * PAGE, 0), 0);
	child = fork_space(s);
	assert_fails(fl_space_read(child, p + PAGE, &len, 1, NULL), EFAULT);
	assert_int_equal(peek(child, p + 2 * PAGE), 0);
	assert_int_equal(peek(child, p), 1);
	assert_int_equal(peek(s, p + 2 * PAGE), 3);
	assert_int_equal(advise(child, p + 4 * PAGE, 4 * PAGE, MADV_DONTNEED), 0); /* EINVAL where it is locked */
	assert_fails(advise(s, p + 4 * PAGE, 4 * PAGE, MADV_DONTNEED), EINVAL);
	assert_int_equal(peek(s, p + 5 * PAGE), 6);
	text = dump_text(child, FL_DUMP_MAPS, &len);
	assert_null(strstr(text, "lo"));
	free(text);
	assert_int_equal(fl_space_destroy(child), 0);
	child = fork_space(s);
	poke(child, p + 2 * PAGE, 9); /* the flag is inherited */
	fl_space *grandchild = fork_space(child);
	assert_int_equal(peek(grandchild, p + 2 * PAGE), 0);
	assert_int_equal(fl_space_destroy(grandchild), 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(fork_shares_pages_in_swap_too)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t pages = 2 * BUDGET / PAGE, p = map_anon(s, pages);

	(void)*state;
	for (uint64_t i = 0; i < pages; i++)
		poke(s, p + i * PAGE, i + 1);
	assert_int_equal(advise(s, p, pages * PAGE, MADV_PAGEOUT), 0);
	check_page(s, p, "swap");
	child = fork_space(s);
	assert_int_equal(stats().private_pages, pages);
	assert_int_equal(walk(child, p).mappings, 2);
	check_page(child, p, "swap");
	for (uint64_t i = 0; i < pages; i += 2)
		poke(child, p + i * PAGE, i + 1000);
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(peek(s, p + i * PAGE), i + 1);
	assert_int_equal(fl_space_destroy(s), 0);
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(peek(child, p + i * PAGE), i + (i % 2 ? 1 : 1000));
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(stats().private_pages, 0);
}

#define CHAIN 20
#define CHAIN_PAGES 64

/* The k-th fork's model: what each page held when it was made, and what was written since. */
TEST(a_chain_of_forks_keeps_every_page_apart)
{
	static uint64_t model[CHAIN][CHAIN_PAGES];
	fl_space *s[CHAIN] = {new_space(NULL)};
	uint64_t p = map_anon(s[0], CHAIN_PAGES), used, seed = 1, tables;

	(void)*state;
	memset(model, 0, sizeof model);
	poke(s[0], p, 0);
	used = stats().used_bytes;
	tables = stats().table_bytes;
	for (int k = 0; k < CHAIN; k++) {
		if (k) {
			s[k] = fork_space(s[k - 1]);
			memcpy(model[k], model[k - 1], sizeof model[k]);
		}
		for (int i = 0; i < 200; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			uint64_t who = (seed >> 33) % (unsigned)(k + 1), page = (seed >> 45) % CHAIN_PAGES;

			model[who][page] = seed;
			poke(s[who], p + page * PAGE + 8, seed);
		}
	}
	for (int k = 0; k < CHAIN; k++)
		for (uint64_t i = 0; i < CHAIN_PAGES; i++)
			assert_int_equal(peek(s[k], p + i * PAGE + 8), model[k][i]);
	for (int i = 1; i < CHAIN; i++) /* in no order: 7, 14, 1, 8, ... */
		assert_int_equal(fl_space_destroy(s[i * 7 % CHAIN]), 0);
	for (uint64_t i = 0; i < CHAIN_PAGES; i++)
		assert_int_equal(peek(s[0], p + i * PAGE + 8), model[0][i]);
	assert_true(stats().private_pages <= CHAIN_PAGES);
	assert_int_equal(stats().table_bytes, tables);
	unmap(s[0], p, CHAIN_PAGES * PAGE);
	assert_int_equal(stats().private_pages, 0);
	assert_true(stats().used_bytes <= used + 128 * PAGE); /* free tables and structures that are kept */
	assert_int_equal(fl_space_destroy(s[0]), 0);
}

TEST(exit_gives_back_tables_slots_and_frames)
{
	uint64_t used = 0;

	(void)*state;
	for (int round = 0; round < 6; round++) {
		fl_space *s = new_space(NULL), *child;
		uint64_t p = map_anon(s, 256);

		for (uint64_t i = 0; i < 256; i++)
			poke(s, p + i * PAGE, i);
		map_at(s, 0x12340000000, PAGE, RW, ANON | MAP_FIXED);
		poke(s, 0x12340000000, 1);
		child = fork_space(s);
		for (uint64_t i = 0; i < 256; i += 3)
			poke(child, p + i * PAGE, i);
		assert_int_equal(fl_space_destroy(round % 2 ? s : child), 0);
		assert_int_equal(fl_space_destroy(round % 2 ? child : s), 0);
		assert_int_equal(stats().private_pages, 0);
		assert_int_equal(stats().table_bytes, 0);
		if (round == 1)
			used = stats().used_bytes;
		if (round > 1)
			assert_int_equal(stats().used_bytes, used);
	}
}

TEST(fork_refuses_while_a_private_page_is_pinned)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 4), tables;
	size_t len;
	char *host;

	(void)*state;
	for (uint64_t i = 0; i < 4; i++)
		poke(s, p + i * PAGE, i);
	host = fl_space_translate(s, p + 2 * PAGE, FL_ACCESS_WRITE, &len, NULL);
	assert_non_null(host);
	tables = stats().table_bytes;
	assert_fails(!fl_space_fork(s), EBUSY);
	assert_int_equal(stats().soft_spaces, 1);
	assert_int_equal(stats().table_bytes, tables);
	assert_int_equal(walk(s, p).mappings, 1);
	assert_int_equal(fl_space_release(s, host), 0);
	child = fork_space(s);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
}

/* mlock counts what it locks; a child's own copies of those pages are not locked. */
TEST(copies_that_children_make_of_locked_pages_can_leave_memory)
{
	struct fl_stats st = stats();
	uint64_t pages = st.budget_bytes / PAGE / 3, p;
	fl_space *s = new_space(NULL), *child[4];

	(void)*state;
	p = map_anon(s, pages);
	assert_int_equal(fl_space_mlock2(s, (void *)p, pages * PAGE, 0), 0);
	for (int k = 0; k < 4; k++) {
		child[k] = fork_space(s);
		for (uint64_t i = 0; i < pages; i++) {
			struct fl_fault f = {0};
			uint64_t v = i + (uint64_t)k * 1000;

			if (fl_space_write(child[k], p + i * PAGE, &v, 8, &f) != 8)
				fail_msg("child %d page %lu: signal %d code %d", k, i, f.signal, f.code);
		}
	}
	for (int k = 0; k < 4; k++) {
		for (uint64_t i = 0; i < pages; i++)
			assert_int_equal(peek(child[k], p + i * PAGE), i + (uint64_t)k * 1000);
		assert_int_equal(fl_space_destroy(child[k]), 0);
	}
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_page_that_was_given_up_by_madv_free_is_the_childs_as_it_was_or_zeros)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 64), big;

	(void)*state;
	for (uint64_t i = 0; i < 64; i++)
		poke(s, p + i * PAGE, i + 1);
	assert_int_equal(advise(s, p, 64 * PAGE, MADV_FREE), 0);
	child = fork_space(s);
	for (uint64_t i = 0; i < 64; i += 2)
		poke(s, p + i * PAGE + 8, 5);
	big = map_at(s, 0, 4 * BUDGET, RW, ANON);
	for (uint64_t at = 0; at < 4 * BUDGET; at += PAGE)
		poke(s, big + at, at);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t a = peek(s, p + i * PAGE), b = peek(child, p + i * PAGE);

		assert_true(a == i + 1 || a == 0);
		assert_true(b == i + 1 || b == 0);
		if (i % 2 == 0)
			assert_int_equal(peek(s, p + i * PAGE + 8), 5);
		assert_int_equal(peek(child, p + i * PAGE + 8), 0);
	}
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(stats().private_pages, 0);
}

TEST(wipeonfork_wipes_guards_too)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 2);

	(void)*state;
	assert_int_equal(advise(s, p, 2 * PAGE, MADV_WIPEONFORK), 0);
	assert_int_equal(advise(s, p, PAGE, MADV_GUARD_INSTALL), 0);
	child = fork_space(s);
	assert_int_equal(peek(child, p), 0);
	check_page(s, p, "guard");
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(fork_shares_pages_until_one_side_writes),
		RUN(fork_copies_mappings_rights_and_the_heap),
		RUN(fork_obeys_dontfork_and_wipeonfork_and_drops_locks),
		RUN(fork_shares_pages_in_swap_too),
		RUN(a_chain_of_forks_keeps_every_page_apart),
		RUN(exit_gives_back_tables_slots_and_frames),
		RUN(fork_refuses_while_a_private_page_is_pinned),
		RUN(copies_that_children_make_of_locked_pages_can_leave_memory),
		RUN(a_page_that_was_given_up_by_madv_free_is_the_childs_as_it_was_or_zeros),
		RUN(wipeonfork_wipes_guards_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
