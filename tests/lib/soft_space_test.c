/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces: how they are made, where mappings go, and what a space may have. */
#include "soft.h"

/* ---- Creation ---- */

TEST(the_default_space_has_48_bits_and_needs_no_options)
{
	fl_space *s = new_space(NULL);
	struct fl_walk w;

	(void)*state;
	map_anon(s, 1);
	w = walk(s, 0x1000);
	assert_int_equal(w.level[0].level, 4);
	assert_int_equal(map_at(s, (1ull << 48) - 2 * PAGE, PAGE, RW, ANON | MAP_FIXED), (1ull << 48) - 2 * PAGE);
	assert_fails(try_map(s, (1ull << 48) - PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	assert_fails(fl_space_walk(s, 1ull << 48, &w), EINVAL);
	assert_int_equal(stats().soft_spaces, 1);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().soft_spaces, 0);
}

static void use_space_of(unsigned bits)
{
	struct fl_soft_options o = {.size = sizeof o, .address_bits = bits};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t top = (1ull << bits) - 2 * PAGE, p = map_anon(s, 3);

	assert_true(p + 3 * PAGE <= 1ull << bits);
	map_at(s, top, PAGE, RW, ANON | MAP_FIXED);
	store(c, p + 2 * PAGE, bits);
	store(c, top + PAGE - 8, bits + 1);
	assert_int_equal(load(c, p + 2 * PAGE), bits);
	assert_int_equal(load(c, top + PAGE - 8), bits + 1);
	assert_int_equal(walk(s, top).count, bits > 48 ? 5 : 4);
	load_fails(c, top + PAGE, SIGSEGV, SEGV_MAPERR);
	load_fails(c, (1ull << bits) + p, SIGSEGV, SEGV_MAPERR);
	load_fails(c, UINT64_MAX, SIGSEGV, SEGV_MAPERR);
	assert_fails(try_map(s, 1ull << bits, PAGE, RW, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(every_number_of_address_bits_works)
{
	(void)*state;
	for (unsigned bits = 32; bits <= 48; bits++)
		use_space_of(bits);
	use_space_of(57);
}

TEST(options_that_make_no_sense_are_refused)
{
	static const unsigned bits[] = {1, 31, 49, 56, 58, 64}, page[] = {1, 2048, 8192, 32768, 131072};
	struct fl_space_options never = {.size = sizeof never, .overcommit = FL_OVERCOMMIT_NEVER};
	struct fl_soft_options o;

	(void)*state;
	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
		o = (struct fl_soft_options){.size = sizeof o, .address_bits = bits[i]};
		assert_fails(!fl_space_create_soft(&o), EINVAL);
	}
	for (size_t i = 0; i < sizeof page / sizeof *page; i++) {
		o = (struct fl_soft_options){.size = sizeof o, .page_size = page[i]};
		assert_fails(!fl_space_create_soft(&o), EINVAL);
	}
	o = (struct fl_soft_options){.size = sizeof o, .layout = 2};
	assert_fails(!fl_space_create_soft(&o), EINVAL);
	o = (struct fl_soft_options){.size = sizeof o, .brk = 0x1001};
	assert_fails(!fl_space_create_soft(&o), EINVAL);
	o = (struct fl_soft_options){.size = sizeof o, .brk = 1ull << 48};
	assert_fails(!fl_space_create_soft(&o), EINVAL);
	o = (struct fl_soft_options){.size = sizeof o, .limits = &never};
	assert_fails(!fl_space_create_soft(&o), EINVAL);
}

TEST(an_older_and_shorter_options_struct_is_taken)
{
	struct fl_soft_options o = {.size = offsetof(struct fl_soft_options, layout), .address_bits = 40, .layout = 77};
	fl_space *s = new_space(&o);

	(void)*state;
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(as_many_spaces_as_the_budget_has_room_for_and_all_of_it_comes_back)
{
	static fl_space *s[1025];
	uint64_t before = stats().used_bytes;
	int n = 0;

	(void)*state;
	while (n < 1025 && (s[n] = fl_space_create_soft(NULL)))
		n++;
	assert_in_range(n, 16, 1024);
	assert_int_equal(errno, ENOMEM);
	while (n)
		assert_int_equal(fl_space_destroy(s[--n]), 0);
	assert_in_range(stats().used_bytes, before, before + MIB); /* tables kept for the next, and the memory of structures */
}

TEST(a_space_that_is_not_soft_is_refused)
{
	fl_space *s = fl_space_default();
	struct fl_walk w = {.size = sizeof w};
	size_t len;
	char b;

	(void)*state;
	assert_fails(!fl_space_fork(s), EINVAL);
	assert_fails(!fl_cpu_create(s), EINVAL);
	assert_fails(fl_space_read(s, 0, &b, 1, NULL), EINVAL);
	assert_fails(fl_space_write(s, 0, &b, 1, NULL), EINVAL);
	assert_fails(!fl_space_translate(s, 0, FL_ACCESS_READ, &len, NULL), EINVAL);
	assert_fails(fl_space_release(s, &b), EINVAL);
	assert_fails(fl_space_walk(s, 0, &w), EINVAL);
	assert_fails(fl_space_dump(s, 1, FL_DUMP_PAGES), EINVAL);
	assert_fails(!fl_space_brk(s, NULL), EINVAL);
}

/* ---- Pages of 16 and 64 KiB ---- */

static void use_pages_of(unsigned size)
{
	struct fl_soft_options o = {.size = sizeof o, .page_size = size};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_at(s, 0, 1, RW, ANON);

	assert_int_equal(p % size, 0);
	store(c, p + size - 8, 7); /* a byte is a page */
	assert_int_equal(load(c, p + size - 8), 7);
	load_fails(c, p + size, SIGSEGV, SEGV_MAPERR);
	assert_fails(try_map(s, p + 64 * size + 2048, size, RW, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED, EINVAL);
	assert_fails(fl_space_munmap(s, (void *)(p + 2048), size), EINVAL);
	assert_fails(protect(s, p + size / 2, size, PROT_READ), EINVAL);
	assert_fails(advise(s, p + size / 2, size, MADV_DONTNEED), EINVAL);
	assert_int_equal(protect(s, p, 1, PROT_READ), 0);
	store_fails(c, p + size - 1, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(advise(s, p, PAGE, MADV_DONTNEED), 0);
	assert_int_equal(load(c, p + size - 8), 0);
	unmap(s, p, 1);
	load_fails(c, p + size - 1, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(pages_of_16_and_64_kib_are_the_unit_of_all_calls)
{
	(void)*state;
	use_pages_of(4096);
	use_pages_of(16384);
	use_pages_of(65536);
}

static void map_tail_with(struct fixture *f, unsigned size, int flags)
{
	struct fl_soft_options o = {.size = sizeof o, .page_size = size};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t p, last = PATTERN_BYTES - size;

	assert_int_equal(fl_ftruncate(f->fd, (off_t)(last + 5 * 8)), 0);
	p = map_fd(s, f->fd, 2 * size, RW, flags, (off_t)last);
	assert_int_equal(load(c, p + 32), pattern(last / 8 + 4));
	for (uint64_t at = 40; at < size; at += 512 - 40)
		assert_int_equal(load(c, p + (at & ~7ul)), 0);
	store(c, p + size - 8, 99); /* of the page, not of the file */
	assert_int_equal(load(c, p + size - 8), 99);
	load_fails(c, p + size, SIGBUS, BUS_ADRERR);
	store_fails(c, p + size, SIGBUS, BUS_ADRERR);
	assert_int_equal(fl_space_msync(s, (void *)p, size, MS_SYNC), 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_larger_page_at_the_end_of_a_file_is_zeros_to_its_end)
{
	struct fixture *f = *state;
	static const unsigned size[] = {4096, 16384, 65536};
	struct stat st;

	for (int i = 0; i < 3; i++) {
		map_tail_with(f, size[i], MAP_SHARED);
		map_tail_with(f, size[i], MAP_PRIVATE);
	}
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_size, PATTERN_BYTES - 65536 + 40); /* stores past the end have not made it longer */
}

TEST(the_tail_of_a_larger_page_shows_what_the_file_grows_by)
{
	struct fixture *f = *state;
	struct fl_soft_options o = {.size = sizeof o, .page_size = 65536};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t p, v = 0x77;

	assert_int_equal(fl_ftruncate(f->fd, 100), 0);
	p = map_fd(s, f->fd, 65536, RW, MAP_SHARED, 0);
	assert_int_equal(load(c, p + 3 * PAGE), 0);
	assert_int_equal(fl_pwrite(f->fd, &v, 8, 3 * PAGE), 8);
	assert_int_equal(load(c, p + 3 * PAGE), 0x77);
	assert_int_equal(load(c, p + PAGE), 0);
	store(c, p + 2 * PAGE, 5);
	assert_int_equal(fl_space_msync(s, (void *)p, 65536, MS_SYNC), 0);
	assert_int_equal(pread(f->fd, &v, 8, 2 * PAGE), 8);
	assert_int_equal(v, 5);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(larger_pages_go_to_swap_and_come_back_whole)
{
	struct fl_soft_options o = {.size = sizeof o, .page_size = 65536};
	fl_space *s = new_space(&o), *child;
	fl_cpu *c = new_cpu(s);
	uint64_t len = 4 * MIB, p = map_at(s, 0, len, RW, ANON);

	(void)*state;
	for (uint64_t at = 0; at < len; at += PAGE)
		store(c, p + at, at + 1);
	child = fl_space_fork(s);
	assert_non_null(child);
	for (uint64_t at = 0; at < len; at += 5 * PAGE)
		store(c, p + at, at + 2);
	for (uint64_t at = 0; at < len; at += PAGE) {
		assert_int_equal(peek(child, p + at), at + 1);
		assert_int_equal(load(c, p + at), at + (at % (5 * PAGE) ? 1 : 2));
	}
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(child), 0);
}

/* ---- Where mappings go ---- */

static uint64_t first_of(uint64_t seed, enum fl_layout layout, unsigned bits, uint64_t *brk)
{
	struct fl_soft_options o = {.size = sizeof o, .seed = seed, .layout = layout, .address_bits = bits};
	fl_space *s = new_space(&o);
	uint64_t p = map_anon(s, 2), q = map_anon(s, 2);

	if (layout == FL_LAYOUT_TOP_DOWN)
		assert_int_equal(q, p - 2 * PAGE);
	else
		assert_int_equal(q, p + 2 * PAGE);
	*brk = (uintptr_t)fl_space_brk(s, NULL);
	assert_int_equal(fl_space_destroy(s), 0);
	return p;
}

TEST(the_same_seed_gives_the_same_addresses_and_another_seed_others)
{
	uint64_t brk[4], p[4];

	(void)*state;
	for (int layout = 0; layout < 2; layout++) {
		p[0] = first_of(0, layout, 48, &brk[0]);
		p[1] = first_of(1234, layout, 48, &brk[1]);
		p[2] = first_of(1234, layout, 48, &brk[2]);
		p[3] = first_of(1235, layout, 48, &brk[3]);
		assert_int_equal(p[1], p[2]);
		assert_int_equal(brk[1], brk[2]);
		assert_int_not_equal(p[0], p[1]);
		assert_int_not_equal(p[1], p[3]);
		assert_int_not_equal(brk[1], brk[3]);
		assert_int_equal(p[0], first_of(0, layout, 48, &brk[1]));
		assert_int_equal(brk[0], brk[1]);
	}
}

TEST(bottom_up_begins_at_a_third_and_top_down_under_the_stack)
{
	uint64_t brk, up = first_of(0, FL_LAYOUT_BOTTOM_UP, 48, &brk), down = first_of(0, FL_LAYOUT_TOP_DOWN, 48, &brk);

	(void)*state;
	assert_in_range(up, (1ull << 48) / 3 - MIB, (1ull << 48) / 3 + MIB);
	assert_in_range(down, (1ull << 48) - 1024 * MIB, (1ull << 48) - 128 * MIB);
	assert_in_range(brk, 4 * MIB, 4 * MIB);
}

TEST(a_hint_is_taken_where_there_is_room)
{
	fl_space *s = new_space(NULL);
	uint64_t p = map_at(s, 0x10000000, 4 * PAGE, RW, ANON), q;

	(void)*state;
	assert_int_equal(p, 0x10000000);
	assert_int_equal(map_at(s, 0x20000fff, PAGE, RW, ANON), 0x20000000); /* rounded down */
	q = map_at(s, p + PAGE, PAGE, RW, ANON);
	assert_true(q < p || q >= p + 4 * PAGE);
	assert_int_equal(map_at(s, p - PAGE, PAGE, RW, ANON), p - PAGE);
	assert_fails(try_map(s, p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == (uintptr_t)MAP_FAILED, EEXIST);
	assert_int_equal(map_at(s, p + 8 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE), p + 8 * PAGE);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(map_32bit_is_under_2_gib_whatever_the_hint)
{
	fl_space *s = new_space(NULL);
	uint64_t p = map_at(s, 0, PAGE, RW, ANON | MAP_32BIT), q = map_at(s, 0x7f0000000000, PAGE, RW, ANON | MAP_32BIT);

	(void)*state;
	assert_in_range(p, 0x40000000, 0x7fffffff);
	assert_in_range(q, 0x40000000, 0x7fffffff);
	assert_int_equal(map_at(s, 0x10000000, PAGE, RW, ANON | MAP_32BIT), 0x10000000);
	assert_fails(try_map(s, 0, 2048 * MIB, RW, ANON | MAP_32BIT, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(with_five_levels_high_addresses_are_for_who_asks)
{
	struct fl_soft_options o = {.size = sizeof o, .address_bits = 57};
	fl_space *s = new_space(&o);
	uint64_t high = 1ull << 50, p;

	(void)*state;
	assert_true(map_anon(s, 1) < 1ull << 47);
	assert_int_equal(map_at(s, high, PAGE, RW, ANON), high);
	p = map_at(s, high, PAGE, RW, ANON);
	assert_true(p != high && p >= 1ull << 47);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_space_that_is_full_says_so_and_has_room_again_after_munmap)
{
	struct fl_soft_options o = {.size = sizeof o, .address_bits = 32};
	fl_space *s = new_space(&o);
	uint64_t p = map_at(s, 0, 3000 * MIB, RW, ANON);

	(void)*state;
	assert_fails(try_map(s, 0, 3000 * MIB, RW, ANON, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	while (try_map(s, 0, 16 * MIB, RW, ANON, -1, 0) != (uintptr_t)MAP_FAILED)
		;
	assert_int_equal(errno, ENOMEM);
	unmap(s, p + 16 * MIB, 16 * MIB);
	assert_int_equal(map_at(s, 0, 16 * MIB, RW, ANON), p + 16 * MIB);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Limits ---- */

TEST(limits_are_those_of_the_options)
{
	struct fl_space_options l = {
		.size = sizeof l, .map_count = 4, .address_space_limit = 1 * MIB, .memlock_limit = 64 << 10, .mmap_min_addr = 0x20000};
	struct fl_soft_options o = {.size = sizeof o, .limits = &l};
	fl_space *s = new_space(&o);
	uint64_t p = map_at(s, 0x100000, 16 * PAGE, RW, ANON);

	(void)*state;
	assert_fails(try_map(s, 0, MIB, RW, ANON, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	assert_fails(try_map(s, 0x1f000, PAGE, RW, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED, EPERM);
	assert_int_equal(fl_space_mlock2(s, (void *)p, 16 * PAGE, 0), 0);
	assert_fails(fl_space_mlock2(s, (void *)map_at(s, 0x800000, PAGE, RW, ANON), PAGE, 0), ENOMEM);
	assert_int_equal(protect(s, p + 8 * PAGE, PAGE, PROT_READ), 0);
	map_at(s, 0xa00000, PAGE, RW, ANON);
	assert_fails(try_map(s, 0x900000, PAGE, RW, ANON, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(the_limit_on_data_holds_for_mmap_and_brk)
{
	struct fl_space_options l = {.size = sizeof l, .data_limit = 16 * PAGE};
	struct fl_soft_options o = {.size = sizeof o, .limits = &l};
	fl_space *s = new_space(&o);
	char *start = fl_space_brk(s, NULL);

	(void)*state;
	assert_ptr_equal(fl_space_brk(s, start + 17 * PAGE), start);
	assert_ptr_equal(fl_space_brk(s, start + 8 * PAGE), start + 8 * PAGE);
	map_anon(s, 8);
	assert_fails(try_map(s, 0, PAGE, RW, ANON, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	assert_ptr_equal(fl_space_brk(s, start + 9 * PAGE), start + 8 * PAGE);
	map_at(s, 0, PAGE, PROT_READ, ANON);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(the_commit_limit_holds)
{
	struct fl_space_options l = {.size = sizeof l, .overcommit = FL_OVERCOMMIT_NEVER, .commit_limit = MIB};
	struct fl_soft_options o = {.size = sizeof o, .limits = &l};
	fl_space *s = new_space(&o);
	uint64_t p = map_at(s, 0, MIB, RW, ANON);

	(void)*state;
	assert_fails(try_map(s, 0, PAGE, RW, ANON, -1, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	unmap(s, p, PAGE);
	map_at(s, 0, PAGE, RW, ANON);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Stacks and the heap ---- */

TEST(a_stack_grows_to_its_limit)
{
	struct fl_soft_options o = {.size = sizeof o, .stack_limit = 16 * PAGE, .stack_guard_gap = 4 * PAGE};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t top = 0x10000000, p = map_at(s, top - PAGE, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN);

	(void)*state;
	store(c, p, 1);
	store(c, top - 10 * PAGE, 2);
	assert_int_equal(load(c, top - 5 * PAGE), 0);
	store(c, top - 16 * PAGE, 3);
	store_fails(c, top - 16 * PAGE - 1, SIGSEGV, SEGV_MAPERR);
	load_fails(c, top - 100 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(load(c, p), 1);
	assert_int_equal(load(c, top - 10 * PAGE), 2);
	check_dump(s, FL_DUMP_MAPS, "0fff0000-10000000 rw-p");
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_stack_keeps_its_distance)
{
	struct fl_soft_options o = {.size = sizeof o, .stack_guard_gap = 4 * PAGE};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t top = 0x10000000;

	(void)*state;
	map_at(s, top - PAGE, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN);
	map_at(s, top - 10 * PAGE, PAGE, RW, ANON | MAP_FIXED);
	store(c, top - 5 * PAGE, 1); /* 4 pages between */
	store_fails(c, top - 6 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(protect(s, top - 10 * PAGE, PAGE, PROT_NONE), 0);
	store(c, top - 6 * PAGE, 1); /* what cannot be accessed may be close */
	store(c, top - 9 * PAGE, 1);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(the_mapping_next_to_a_stack_decides_about_its_distance)
{
	struct fl_soft_options o = {.size = sizeof o, .stack_guard_gap = 16 * PAGE};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	uint64_t top = 0x10000000;

	(void)*state;
	map_at(s, top - PAGE, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN);
	map_at(s, top - 8 * PAGE, PAGE, RW, ANON | MAP_FIXED);
	map_at(s, top - 12 * PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED);
	store_fails(c, top - 3 * PAGE, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(no_place_is_chosen_close_below_a_stack)
{
	struct fl_soft_options o = {.size = sizeof o, .address_bits = 32, .stack_guard_gap = 16 * PAGE};
	fl_space *s = new_space(&o);
	uint64_t p = map_anon(s, 1), stack = p - 64 * PAGE, q;

	(void)*state;
	map_at(s, stack, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN);
	map_at(s, stack + PAGE, 63 * PAGE, RW, ANON | MAP_FIXED);
	q = map_anon(s, 1);
	assert_int_equal(q, stack - 17 * PAGE);
	q = map_at(s, stack - 8 * PAGE, PAGE, RW, ANON); /* nor is such a hint taken */
	assert_true(q + PAGE <= stack - 16 * PAGE || q > stack);
	assert_int_equal(map_at(s, stack - 8 * PAGE, PAGE, RW, ANON | MAP_FIXED), stack - 8 * PAGE);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(brk_is_the_system_call)
{
	struct fl_soft_options o = {.size = sizeof o, .brk = 0x800000};
	fl_space *s = new_space(&o);
	fl_cpu *c = new_cpu(s);
	char *b = (char *)0x800000;

	(void)*state;
	assert_ptr_equal(fl_space_brk(s, NULL), b);
	assert_ptr_equal(fl_space_brk(s, b - 1), b);
	assert_ptr_equal(fl_space_brk(s, b + 1), b + 1);
	store(c, 0x800000 + PAGE - 8, 5);
	load_fails(c, 0x800000 + PAGE, SIGSEGV, SEGV_MAPERR);
	assert_ptr_equal(fl_space_brk(s, b + 10 * PAGE), b + 10 * PAGE);
	store(c, 0x800000 + 9 * PAGE, 6);
	map_at(s, 0x800000 + 20 * PAGE, PAGE, RW, ANON | MAP_FIXED);
	assert_ptr_equal(fl_space_brk(s, b + 21 * PAGE), b + 10 * PAGE);
	assert_ptr_equal(fl_space_brk(s, b + 2 * PAGE), b + 2 * PAGE);
	load_fails(c, 0x800000 + 9 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(load(c, 0x800000 + PAGE - 8), 5);
	assert_ptr_equal(fl_space_brk(s, b + 10 * PAGE), b + 10 * PAGE);
	assert_int_equal(load(c, 0x800000 + 9 * PAGE), 0);
	assert_ptr_equal(fl_space_brk(s, (void *)UINT64_MAX), b + 10 * PAGE);
	assert_ptr_equal(fl_space_brk(s, b), b);
	load_fails(c, 0x800000, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- The end ---- */

TEST(a_cpu_may_outlive_its_space)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 1);

	(void)*state;
	store(c, p, 1);
	assert_int_equal(fl_space_destroy(s), 0);
	load_fails(c, p, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(c);
	fl_cpu_destroy(NULL);
}

TEST(fl_exit_ends_spaces_that_are_left)
{
	struct fixture *f = *state;
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 100), q = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), word = 0;

	store(c, p, 1);
	store(c, q, 5);
	child = fork_space(s);
	poke(child, p, 2);
	assert_non_null(fl_space_translate(child, p, FL_ACCESS_WRITE, NULL, NULL)); /* never released */
	assert_non_null(fl_space_translate(s, q + PAGE, FL_ACCESS_READ, NULL, NULL));
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(pread(f->fd, &word, 8, 0), 8);
	assert_int_equal(word, 5);
	load_fails(c, p, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(c);
	assert_int_equal(fl_init(&o), 0);
	s = new_space(NULL);
	assert_int_equal(map_anon(s, 100), p); /* as the first time */
	poke(s, p, 3);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_cpu_that_outlives_fl_exit_costs_the_next_life_nothing)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t used;

	(void)*state;
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(fl_init(&o), 0);
	used = stats().used_bytes;
	fl_cpu_destroy(c);
	assert_int_equal(stats().used_bytes, used);
}

TEST(a_child_of_fork_has_no_soft_spaces_and_may_make_new_ones)
{
	fl_space *s = new_space(NULL);
	uint64_t p = map_anon(s, 10);
	int status;
	pid_t pid;

	(void)*state;
	poke(s, p, 1);
	pid = fork();
	if (!pid) {
		fl_space *mine = fl_space_create_soft(NULL);
		uint64_t at = mine ? try_map(mine, 0, 10 * PAGE, RW, ANON, -1, 0) : 0, v = 7, w = 0;

		_exit(!(mine && at == p && fl_space_write(mine, at, &v, 8, NULL) == 8 && fl_space_read(mine, at, &w, 8, NULL) == 8 &&
			w == 7 && !fl_space_destroy(mine)));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(peek(s, p), 1);
	assert_int_equal(fl_space_destroy(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(the_default_space_has_48_bits_and_needs_no_options),
		RUN(every_number_of_address_bits_works),
		RUN(options_that_make_no_sense_are_refused),
		RUN(an_older_and_shorter_options_struct_is_taken),
		RUN(as_many_spaces_as_the_budget_has_room_for_and_all_of_it_comes_back),
		RUN(a_space_that_is_not_soft_is_refused),
		RUN(pages_of_16_and_64_kib_are_the_unit_of_all_calls),
		RUN(a_larger_page_at_the_end_of_a_file_is_zeros_to_its_end),
		RUN(the_tail_of_a_larger_page_shows_what_the_file_grows_by),
		RUN(larger_pages_go_to_swap_and_come_back_whole),
		RUN(the_same_seed_gives_the_same_addresses_and_another_seed_others),
		RUN(bottom_up_begins_at_a_third_and_top_down_under_the_stack),
		RUN(a_hint_is_taken_where_there_is_room),
		RUN(map_32bit_is_under_2_gib_whatever_the_hint),
		RUN(with_five_levels_high_addresses_are_for_who_asks),
		RUN(a_space_that_is_full_says_so_and_has_room_again_after_munmap),
		RUN(limits_are_those_of_the_options),
		RUN(the_limit_on_data_holds_for_mmap_and_brk),
		RUN(the_commit_limit_holds),
		RUN(a_stack_grows_to_its_limit),
		RUN(a_stack_keeps_its_distance),
		RUN(the_mapping_next_to_a_stack_decides_about_its_distance),
		RUN(no_place_is_chosen_close_below_a_stack),
		RUN(brk_is_the_system_call),
		RUN(a_cpu_may_outlive_its_space),
		RUN(fl_exit_ends_spaces_that_are_left),
		RUN(a_cpu_that_outlives_fl_exit_costs_the_next_life_nothing),
		RUN(a_child_of_fork_has_no_soft_spaces_and_may_make_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
