/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmu/sigsegv.c by itself: random operations on real memory against a model that says how each page may be shown at most, with a table that is
 * full all the time, with few borders, and with a kernel that refuses in the middle of a range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "util/sys.h"

static int mprotect_or_fail(void *addr, size_t len, int prot);

#define sys_mprotect mprotect_or_fail
#include "../../src/mmu/sigsegv.c"
#undef sys_mprotect

#define PAGE 4096UL
#define PAGES 1200U /* of the test's memory: more than any table here has room for */
#define PART 48U    /* pages that have one protection */
#define RUN_LENGTH 12U
#define STEPS 6000

static char *mem;
static int prots[PAGES / PART];
static uint8_t shown[PAGES]; /* at most */
static uint32_t holds[PAGES], held;
static uint8_t real[PAGES];    /* to the kernel */
static uint32_t refuse_one_in; /* 0: never */
static uint64_t seed;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static int change(void *addr, uint32_t pages, int prot)
{
	uint64_t at = (uint64_t)addr - (uint64_t)mem;

	if (at < sizeof real * PAGE)
		memset(real + at / PAGE, prot, pages);
	return sys_mprotect(addr, pages * PAGE, prot);
}

/* As the kernel does: what comes first in the range has been changed; a page changes or does not, and what is so already is never refused. */
static int mprotect_or_fail(void *addr, size_t len, int prot)
{
	uint32_t pages = (uint32_t)(len / PAGE), at = (uint32_t)(((uint64_t)addr - (uint64_t)mem) / PAGE), same = 0;

	while (same < pages && real[at + same] == prot)
		same++;
	if (same == pages || !refuse_one_in || below(refuse_one_in))
		return change(addr, pages, prot);
	if (same || pages > 1)
		change(addr, same + below(pages - same), prot);
	return -ENOMEM;
}

static int protection_of(uint64_t addr)
{
	return prots[(addr - (uint64_t)mem) / PAGE / PART];
}

static uint64_t address(uint32_t page)
{
	return (uint64_t)mem + page * PAGE;
}

static enum shown state_at(uint32_t page)
{
	return shown_as(page_of(address(page)));
}

/* ---- What holds after each operation ---- */

static void check_table(void)
{
	uint64_t n = 0, edges = 0;

	for (uint64_t i = 0; i < slots; i++) {
		if (!table[i])
			continue;
		n++;
		assert_true(slot_of(table[i] >> NUMBER_SHIFT) == i);
	}
	assert_true(n == used);
	for (uint32_t p = 0; p <= PAGES; p++)
		edges += (p ? state_at(p - 1) : HIDDEN) != (p < PAGES ? state_at(p) : HIDDEN);
	assert_true(edges == borders);
}

static void check_model(void)
{
	for (uint32_t p = 0; p < PAGES; p++) {
		assert_true((uint8_t)state_at(p) <= shown[p]);
		if (holds[p])
			assert_true((entry_of(page_of(address(p))) & HOLD_MASK) >> HOLD_SHIFT == holds[p]);
		else
			assert_false(entry_of(page_of(address(p))) & HOLD_MASK);
	}
}

/* What each page should be to the kernel, from a list of its mappings. */
static void check_kernel(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	uint32_t seen = 0;
	char line[300], rwx[5];

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, rwx) != 3)
			continue;
		for (unsigned long at = max_u64(start, address(0)); at < min_u64(end, address(PAGES)); at += PAGE) {
			int prot = PROT_NONE;

			if (state_at((uint32_t)((at - address(0)) / PAGE)) != HIDDEN)
				prot = protection(at, state_at((uint32_t)((at - address(0)) / PAGE)));
			assert_int_equal(rwx[0] == 'r', (prot & PROT_READ) != 0);
			assert_int_equal(rwx[1] == 'w', (prot & PROT_WRITE) != 0);
			seen++;
		}
	}
	fclose(f);
	assert_int_equal(seen, PAGES);
}

/* ---- The operations ---- */

struct run {
	uint32_t first, n;
};

static struct run some_run(void)
{
	uint32_t part = below(PAGES / PART) * PART, at = below(PART), left = PART - at, n = 1 + below(RUN_LENGTH);

	return (struct run){.first = part + at, .n = n < left ? n : left};
}

/* Anything up to all: more than the table has room for. */
static struct run any_run(void)
{
	uint32_t first = below(PAGES);

	return (struct run){.first = first, .n = 1 + below(PAGES - first)};
}

static uint64_t bytes_of(struct run r)
{
	return r.n * PAGE;
}

static void raise_to(struct run r, enum shown least, enum shown as)
{
	for (uint32_t p = r.first; p < r.first + r.n; p++)
		if (shown[p] >= least && shown[p] < as)
			shown[p] = (uint8_t)as;
}

static void lower(struct run r, bool held_too)
{
	for (uint32_t p = r.first; p < r.first + r.n; p++) {
		if (holds[p] && !held_too)
			continue;
		held -= holds[p];
		holds[p] = 0;
		shown[p] = HIDDEN;
	}
}

static void do_map(struct mmu *m)
{
	struct run r = some_run();
	enum shown as = below(2) ? OPEN : SHOWN;
	int err = m->ops->map(m, address(r.first), bytes_of(r), as == OPEN ? 0 : MMU_WP);

	raise_to(r, HIDDEN, as);
	assert_true(!err || err == -EEXIST || refuse_one_in);
	if (r.n == 1 && !refuse_one_in) /* of more, those first shown may have had to make room for those after */
		assert_true(state_at(r.first) >= as);
}

/* What is held for writing is never protected by the cache. */
static void do_protect(struct mmu *m)
{
	struct run r = some_run();
	int err;

	for (uint32_t p = r.first; p < r.first + r.n; p++)
		if (holds[p])
			return;
	err = m->ops->protect(m, address(r.first), bytes_of(r));
	assert_true(!err || refuse_one_in);
	for (uint32_t p = r.first; p < r.first + r.n; p++) {
		if (!err)
			assert_int_equal(state_at(p), SHOWN);
		shown[p] = err && shown[p] == OPEN ? OPEN : SHOWN;
	}
}

static void do_unprotect(struct mmu *m)
{
	struct run r = some_run();
	int err = m->ops->unprotect(m, address(r.first), bytes_of(r));

	assert_true(!err || refuse_one_in);
	raise_to(r, SHOWN, OPEN);
}

static void do_hide(struct mmu *m)
{
	struct run r = below(4) ? some_run() : any_run();
	bool held_too = !below(8);
	int err = m->ops->hide(m, address(r.first), bytes_of(r), held_too);

	assert_true(!err || refuse_one_in);
	if (err) { /* of what was to go some has gone */
		for (uint32_t p = r.first; p < r.first + r.n; p++)
			if (holds[p] && state_at(p) == HIDDEN)
				lower((struct run){.first = p, .n = 1}, true);
		return;
	}
	lower(r, held_too);
}

static void do_hold(struct mmu *m)
{
	uint32_t p = below(PAGES);
	bool write = below(2);

	if (held >= slots / 8)
		return;
	if (m->ops->hold(m, address(p), write)) {
		assert_true(state_at(p) < (write ? OPEN : SHOWN));
		return;
	}
	holds[p]++;
	held++;
}

static void do_let_go(struct mmu *m)
{
	for (uint32_t i = 0, p = below(PAGES); i < PAGES; i++, p = (p + 1) % PAGES)
		if (holds[p]) {
			m->ops->let_go(m, address(p));
			holds[p]--;
			held--;
			return;
		}
}

/* What mprotect(2) of the program does. */
static void do_reprotect(struct mmu *m)
{
	static const int choice[] = {PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE};
	struct run r = {.first = below(PAGES / PART) * PART, .n = PART};

	if (refuse_one_in) /* what is shown may stay so when it is refused */
		return;
	prots[r.first / PART] = choice[below(ARRAY_SIZE(choice))];
	assert_int_equal(m->ops->hide(m, address(r.first), bytes_of(r), false), 0);
	lower(r, false);
}

static void do_replace(struct mmu *m)
{
	struct run r = below(4) ? some_run() : any_run();
	void *p;

	m->ops->begin_detach(m);
	p = sys_mmap((void *)address(r.first), bytes_of(r), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	m->ops->end_detach(m, address(r.first), bytes_of(r), !sys_is_err(p));
	assert_false(sys_is_err(p));
	memset(real + r.first, PROT_NONE, r.n);
	lower(r, true);
}

static void do_fail_to_replace(struct mmu *m)
{
	struct run r = any_run();

	m->ops->begin_detach(m);
	m->ops->end_detach(m, address(r.first), bytes_of(r), false);
}

static void do_copy(struct mmu *m)
{
	uint32_t p = below(PAGES);
	bool was = state_at(p) != HIDDEN;
	char page[PAGE];
	uint64_t done;
	int err;

	memset(page, (int)below(200) + 1, PAGE);
	err = m->ops->copy(m, address(p), page, PAGE, below(2) ? 0 : MMU_WP, &done);
	raise_to((struct run){.first = p, .n = 1}, HIDDEN, OPEN);
	assert_int_equal(err == -EEXIST, was);
	if (err && !was) {
		unsigned char resident;

		assert_true(refuse_one_in && !sys_mincore((void *)address(p), PAGE, &resident) && !resident);
	}
	if (!err && (protection_of(address(p)) & PROT_READ))
		assert_memory_equal((void *)address(p), page, PAGE);
}

static void do_zap(struct mmu *m)
{
	struct run r = some_run();
	int err = m->ops->zap(m, address(r.first), bytes_of(r));

	assert_true(!err || refuse_one_in);
	if (!err)
		lower(r, true);
	else
		for (uint32_t p = r.first; p < r.first + r.n; p++)
			if (holds[p] && state_at(p) == HIDDEN)
				lower((struct run){.first = p, .n = 1}, true);
}

/* ---- Runs of them ---- */

static struct mmu *begin(uint64_t table_slots, uint64_t most_borders)
{
	void *space = sys_mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mmu *m;
	int err;

	assert_false(sys_is_err(space));
	memset(shown, HIDDEN, sizeof shown);
	memset(holds, 0, sizeof holds);
	memset(real, PROT_READ | PROT_WRITE, sizeof real);
	held = 0;
	refuse_one_in = 0;
	for (size_t i = 0; i < ARRAY_SIZE(prots); i++)
		prots[i] = PROT_READ | PROT_WRITE;
	mem = sys_mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_false(sys_is_err(mem));
	sigsegv_init(space, table_slots * sizeof *table);
	sigsegv_set_protection(protection_of);
	err = sigsegv_create(&m);
	if (err == -ENOSYS)
		skip();
	assert_int_equal(err, 0);
	borders_max = borders_top = most_borders;
	assert_int_equal(m->ops->attach(m, address(0), PAGES * PAGE, MMU_ANON), 0);
	return m;
}

static void end(struct mmu *m)
{
	refuse_one_in = 0;
	m->ops->begin_detach(m);
	munmap(mem, PAGES * PAGE);
	m->ops->end_detach(m, address(0), PAGES * PAGE, true);
	assert_true(used == 0 && borders == 0);
	m->ops->destroy(m);
	munmap(table, 2 * PAGE);
	sigsegv_init(NULL, 0);
	fault_signal_restore();
}

static void random_operations(uint64_t table_slots, uint64_t most_borders, uint32_t refusals)
{
	static void (*const ops[])(struct mmu *) = {do_map,  do_map,    do_map,     do_protect, do_unprotect, do_hide,           do_hold,
						    do_copy, do_let_go, do_replace, do_zap,     do_reprotect, do_fail_to_replace};
	struct mmu *m = begin(table_slots, most_borders);

	for (int i = 0; i < STEPS; i++) {
		refuse_one_in = i > STEPS / 8 ? refusals : 0;
		ops[below(ARRAY_SIZE(ops))](m);
		check_table();
		check_model();
		if (refusals)
			continue;
		assert_true(used <= slots / 4 * 3);
		assert_true(borders <= most_borders + 4 * RUN_LENGTH + 4 * held);
		if (i % 16 == 0)
			check_kernel();
	}
	refuse_one_in = 0;
	check_kernel();
	end(m);
}

static void a_table_that_is_full(void **state)
{
	(void)state;
	for (seed = 1; seed < (5ULL << 40); seed += 1ULL << 40)
		random_operations(64, 1000, 0);
}

static void few_borders(void **state)
{
	(void)state;
	seed = 77;
	random_operations(512, 30, 0);
	random_operations(256, 100, 0);
}

/* Whatever the kernel has refused, no page is shown of which the table does not know. */
static void a_kernel_that_refuses(void **state)
{
	(void)state;
	seed = 99;
	random_operations(64, 1000, 3);
	random_operations(512, 200, 2);
	random_operations(512, 200, 20);
}

/* A kernel that has refused once is tried again, little by little. */
static void borders_come_back(void **state)
{
	struct mmu *m = begin(512, 400);

	(void)state;
	refuse_one_in = 1;
	assert_int_equal(m->ops->map(m, address(0), PAGE, 0), -ENOMEM);
	assert_true(borders_max == 64);
	refuse_one_in = 0;
	for (uint32_t turn = 0; turn < 20; turn++)
		for (uint32_t p = 0; p < PAGES; p += 2)
			assert_int_equal(m->ops->map(m, address(p), PAGE, 0), 0);
	assert_true(borders_max == 400);
	end(m);
}

/* Entries at the end of the table that go on at its beginning, removed in every order. */
static void runs_that_wrap_around(void **state)
{
	uint64_t number[8];
	struct mmu *m;
	uint32_t n = 0;

	(void)state;
	m = begin(16, 1000);
	for (uint64_t page = page_of(address(0)); n < 8; page += 2)
		if (home(page) >= 13)
			number[n++] = page;
	for (uint32_t first = 0; first < 8; first++) {
		for (uint32_t i = 0; i < 8; i++)
			set_shown(number[i], SHOWN);
		for (uint32_t i = 0; i < 8; i++) {
			set_shown(number[(first + 3 * i) % 8], HIDDEN);
			check_table();
			assert_true(used == 7 - i);
			for (uint32_t j = i + 1; j < 8; j++)
				assert_int_equal(shown_as(number[(first + 3 * j) % 8]), SHOWN);
		}
	}
	for (uint32_t i = 0; i < 8; i++)
		set_shown(number[i], SHOWN);
	forget_pages(EVERYTHING);
	assert_true(used == 0);
	end(m);
}

/*
 * Slots of a table that is full around its end, H held:
 *
 *     15  0  1  2  3    4
 *     n   H  H  H  n+1  last       all but n+1 should be at 15
 *
 * Who comes to n+1 hides n with it, and what is held moves up to 15; `last` to 2, which has been looked at.
 */
static void what_moves_up_from_the_beginning_is_hidden_too(void **state)
{
	struct mmu *m = begin(16, 1000);
	uint64_t n = page_of(address(0)), number, others[4];
	uint32_t found = 0;

	(void)state;
	while (home(n) != 15 || home(n + 1) != 3)
		n++;
	for (number = n + 3; found < 4; number += 2)
		if (home(number) == 15)
			others[found++] = number;
	assert_true(number < page_of(address(PAGES)));
	set_shown(n, SHOWN);
	for (uint32_t i = 0; i < 3; i++) {
		set_shown(others[i], SHOWN);
		assert_int_equal(m->ops->hold(m, others[i] << FL_PAGE_SHIFT, false), 0);
	}
	set_shown(n + 1, SHOWN);
	set_shown(others[3], SHOWN);
	assert_true(slot_of(n + 1) == 3 && slot_of(others[3]) == 4);
	assert_int_equal(m->ops->hide(m, address(0), PAGES * PAGE, false), 0);
	check_table();
	assert_true(used == 3 && shown_as(others[3]) == HIDDEN);
	end(m);
}

static void what_is_held_stays_when_all_is_hidden(void **state)
{
	struct mmu *m = begin(64, 1000);

	(void)state;
	assert_int_equal(m->ops->map(m, address(0), 20 * PAGE, 0), 0);
	assert_int_equal(m->ops->hold(m, address(7), true), 0);
	assert_int_equal(m->ops->hold(m, address(7), false), 0);
	assert_int_equal(m->ops->hold(m, address(30), false), -EAGAIN);
	hide_all();
	for (uint32_t p = 0; p < 20; p++)
		assert_int_equal(state_at(p), p == 7 ? OPEN : HIDDEN);
	*(volatile char *)address(7) = 1;
	m->ops->let_go(m, address(7));
	hide_all();
	assert_int_equal(state_at(7), OPEN);
	m->ops->let_go(m, address(7));
	m->ops->let_go(m, address(7)); /* one that was lost with the page */
	hide_all();
	assert_int_equal(state_at(7), HIDDEN);
	end(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_that_is_full),
		cmocka_unit_test(few_borders),
		cmocka_unit_test(a_kernel_that_refuses),
		cmocka_unit_test(borders_come_back),
		cmocka_unit_test(runs_that_wrap_around),
		cmocka_unit_test(what_moves_up_from_the_beginning_is_hidden_too),
		cmocka_unit_test(what_is_held_stays_when_all_is_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
