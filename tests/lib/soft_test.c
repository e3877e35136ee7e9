/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces, and stores of the program's own: what faultline_soft.h and faultline_store.h promise. */
#include "harness.h"

#include <limits.h>
#include <sys/stat.h>

#include "faultline_soft.h"
#include "faultline_store.h"

#define PAGE 4096UL
#define MIB (1UL << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

/* ---- What the tests are written in ---- */

static fl_space *new_space(const struct fl_soft_options *o)
{
	fl_space *s = fl_space_create_soft(o);

	assert_non_null(s);
	return s;
}

static fl_cpu *new_cpu(fl_space *s)
{
	fl_cpu *c = fl_cpu_create(s);

	assert_non_null(c);
	return c;
}

/* An address, or all ones with errno. */
static uint64_t try_map(fl_space *s, uint64_t addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return (uintptr_t)fl_space_mmap(s, (void *)addr, len, prot, flags, fd, off);
}

static uint64_t map_at(fl_space *s, uint64_t addr, size_t len, int prot, int flags)
{
	uint64_t at = try_map(s, addr, len, prot, flags, -1, 0);

	assert_true(at != (uintptr_t)MAP_FAILED);
	return at;
}

static uint64_t map_anon(fl_space *s, size_t pages)
{
	return map_at(s, 0, pages * PAGE, RW, ANON);
}

static uint64_t map_fd(fl_space *s, int fd, size_t len, int prot, int flags, off_t off)
{
	uint64_t at = try_map(s, 0, len, prot, flags, fd, off);

	assert_true(at != (uintptr_t)MAP_FAILED);
	return at;
}

static uint64_t map_store(fl_space *s, fl_store *store, size_t len, int prot, int flags, off_t off)
{
	void *p = fl_space_mmap_store(s, NULL, len, prot, flags, store, off);

	assert_ptr_not_equal(p, MAP_FAILED);
	return (uintptr_t)p;
}

static void unmap(fl_space *s, uint64_t addr, size_t len)
{
	assert_int_equal(fl_space_munmap(s, (void *)addr, len), 0);
}

static int protect(fl_space *s, uint64_t addr, size_t len, int prot)
{
	return fl_space_mprotect(s, (void *)addr, len, prot);
}

static int advise(fl_space *s, uint64_t addr, size_t len, int advice)
{
	return fl_space_madvise(s, (void *)addr, len, advice);
}

static uint64_t load(fl_cpu *c, uint64_t addr)
{
	uint64_t v = ~0ull;

	assert_int_equal(fl_load64(c, addr, &v), 0);
	return v;
}

static void store(fl_cpu *c, uint64_t addr, uint64_t v)
{
	assert_int_equal(fl_store64(c, addr, v), 0);
}

static uint64_t peek(fl_space *s, uint64_t addr)
{
	uint64_t v = ~0ull;

	assert_int_equal(fl_space_read(s, addr, &v, sizeof v, NULL), sizeof v);
	return v;
}

static void poke(fl_space *s, uint64_t addr, uint64_t v)
{
	assert_int_equal(fl_space_write(s, addr, &v, sizeof v, NULL), sizeof v);
}

/* The access failed as a process would see it. */
static void check_fault(const struct fl_fault *f, uint64_t addr, enum fl_access access, int signal, int code)
{
	assert_int_equal(f->signal, signal);
	assert_int_equal(f->code, code);
	assert_int_equal(f->address, addr);
	assert_int_equal(f->access, access);
}

static void load_fails(fl_cpu *c, uint64_t addr, int signal, int code)
{
	uint8_t v;

	assert_fails(fl_load8(c, addr, &v) == -1, EFAULT);
	check_fault(&c->fault, addr, FL_ACCESS_READ, signal, code);
}

static void store_fails(fl_cpu *c, uint64_t addr, int signal, int code)
{
	assert_fails(fl_store8(c, addr, 1) == -1, EFAULT);
	check_fault(&c->fault, addr, FL_ACCESS_WRITE, signal, code);
}

static struct fl_walk walk(fl_space *s, uint64_t addr)
{
	struct fl_walk w = {.size = sizeof w};

	assert_int_equal(fl_space_walk(s, addr, &w), 0);
	return w;
}

static void check_page(fl_space *s, uint64_t addr, const char *what)
{
	struct fl_walk w = walk(s, addr);

	assert_string_equal(w.page, what);
}

static uint64_t entry(fl_space *s, uint64_t addr)
{
	struct fl_walk w = walk(s, addr);

	return w.level[w.count - 1].level == 1 ? w.level[w.count - 1].entry : 0;
}

static struct fl_stats stats(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st;
}

static char *dump_text(fl_space *s, enum fl_dump what, size_t *len)
{
	FILE *f = tmpfile();
	char *text;

	assert_int_equal(fl_space_dump(s, fileno(f), what), 0);
	*len = (size_t)lseek(fileno(f), 0, SEEK_END);
	text = calloc(1, *len + 1);
	assert_int_equal(pread(fileno(f), text, *len, 0), *len);
	fclose(f);
	return text;
}

static void check_dump(fl_space *s, enum fl_dump what, const char *has)
{
	size_t len;
	char *text = dump_text(s, what, &len);

	if (!strstr(text, has))
		print_message("%s\n", text);
	assert_non_null(strstr(text, has));
	free(text);
}

static size_t resident(fl_space *s, uint64_t addr, size_t pages)
{
	unsigned char vec[4096];
	size_t n = 0;

	assert_true(pages <= sizeof vec);
	assert_int_equal(fl_space_mincore(s, (void *)addr, pages * PAGE, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

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

/* ---- Private memory ---- */

TEST(memory_reads_as_zeros_from_one_page_until_it_is_written)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 1000), used;

	(void)*state;
	load(c, p);
	used = stats().used_bytes;
	for (uint64_t i = 1; i < 500; i++)
		assert_int_equal(load(c, p + i * PAGE), 0);
	check_page(s, p, "zero page");
	assert_true(stats().used_bytes <= used + 8 * PAGE); /* a table */
	assert_int_equal(stats().private_pages, 0);
	store(c, p + PAGE, 5);
	check_page(s, p + PAGE, "private");
	check_page(s, p + 600 * PAGE, "nothing");
	assert_int_equal(stats().private_pages, 1);
	assert_int_equal(load(c, p + PAGE + 8), 0);
	assert_int_equal(load(c, p), 0);
	unmap(s, p, 1000 * PAGE);
	assert_int_equal(stats().private_pages, 0);
	assert_int_equal(walk(s, p).count, 1); /* tables are gone up to the root */
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(accessed_and_dirty_bits_are_set_by_accesses)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 4), e;

	(void)*state;
	load(c, p);
	e = entry(s, p);
	assert_true((e & (FL_PTE_PRESENT | FL_PTE_USER | FL_PTE_ACCESSED | FL_PTE_SPECIAL)) ==
		    (FL_PTE_PRESENT | FL_PTE_USER | FL_PTE_ACCESSED | FL_PTE_SPECIAL));
	assert_true(e & FL_PTE_NX);
	assert_false(e & (FL_PTE_WRITE | FL_PTE_DIRTY | FL_PTE_ANON));
	store(c, p, 1);
	e = entry(s, p);
	assert_true((e & (FL_PTE_WRITE | FL_PTE_DIRTY | FL_PTE_ANON)) == (FL_PTE_WRITE | FL_PTE_DIRTY | FL_PTE_ANON));
	assert_int_equal(protect(s, p, PAGE, PROT_NONE), 0);
	e = entry(s, p);
	assert_true(e & FL_PTE_PRESENT);
	assert_false(e & (FL_PTE_USER | FL_PTE_WRITE));
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(private_pages_of_a_file_are_copied_by_the_first_write)
{
	struct fixture *f = *state;
	fl_space *a = new_space(NULL), *b = new_space(NULL);
	uint64_t p = map_fd(a, f->fd, MIB, RW, MAP_PRIVATE, 0), q = map_fd(b, f->fd, MIB, RW, MAP_SHARED, 0), word;

	assert_int_equal(peek(a, p), pattern(0));
	check_page(a, p, "file");
	poke(b, q + 8, 1);
	assert_int_equal(peek(a, p + 8), 1); /* not its own yet */
	poke(a, p, 2);
	check_page(a, p, "private");
	poke(b, q + 8, 3);
	assert_int_equal(peek(a, p + 8), 1);
	assert_int_equal(peek(b, q), pattern(0));
	assert_int_equal(fl_space_msync(a, (void *)p, MIB, MS_SYNC), 0);
	assert_int_equal(pread(f->fd, &word, 8, 0), 8);
	assert_int_equal(word, pattern(0));
	assert_int_equal(fl_space_destroy(a), 0);
	assert_int_equal(fl_space_destroy(b), 0);
}

TEST(swap_holds_what_the_budget_cannot)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	size_t pages = 8 * BUDGET / PAGE;
	uint64_t p = map_anon(s, pages);

	(void)*state;
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < pages; i++)
			store(c, p + i * PAGE + i % 500 * 8, i + (size_t)round);
		for (size_t i = 0; i < pages; i++)
			assert_int_equal(load(c, p + i * PAGE + i % 500 * 8), i + (size_t)round);
	}
	assert_true(stats().swapped_bytes > 4 * BUDGET);
	assert_int_equal(stats().private_pages, pages);
	assert_in_range(resident(s, p, pages), 1, BUDGET / PAGE);
	for (size_t i = 0; i < pages; i++)
		assert_int_equal(load(c, p + i * PAGE + 4008), 0);
	unmap(s, p, pages * PAGE);
	assert_int_equal(stats().private_pages, 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Files ---- */

TEST(shared_mappings_of_two_spaces_are_one_memory)
{
	struct fixture *f = *state;
	fl_space *a = new_space(NULL), *b = new_space(NULL);
	fl_cpu *c = new_cpu(a), *d = new_cpu(b);
	uint64_t p = map_fd(a, f->fd, PATTERN_BYTES, RW, MAP_SHARED, 0), q = map_fd(b, f->fd, PATTERN_BYTES, RW, MAP_SHARED, 0);

	for (uint64_t i = 0; i < PATTERN_WORDS; i += 512) {
		assert_int_equal(load(d, q + i * 8), pattern(i));
		store(c, p + i * 8, i);
		assert_int_equal(load(d, q + i * 8), i);
	}
	for (uint64_t i = 0; i < PATTERN_WORDS; i += 512)
		assert_int_equal(load(c, p + i * 8), i);
	fl_cpu_destroy(c);
	fl_cpu_destroy(d);
	assert_int_equal(fl_space_destroy(a), 0);
	assert_int_equal(fl_space_destroy(b), 0);
}

TEST(msync_and_the_last_unmapping_write_back)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	uint64_t p = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), word = 0;

	poke(s, p + 4096, 42);
	assert_int_equal(fl_space_msync(s, (void *)p, MIB, MS_SYNC), 0);
	assert_int_equal(pread(f->fd, &word, 8, 4096), 8);
	assert_int_equal(word, 42);
	poke(s, p + 4096, 43); /* write-protected meanwhile, and dirty again */
	assert_fails(fl_space_msync(s, (void *)p, MIB, MS_SYNC | MS_ASYNC), EINVAL);
	assert_fails(fl_space_msync(s, (void *)(p + MIB), PAGE, MS_SYNC), ENOMEM);
	unmap(s, p, MIB);
	assert_int_equal(pread(f->fd, &word, 8, 4096), 8);
	assert_int_equal(word, 43);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(pwrite_and_pread_agree_with_mappings)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), q = map_fd(s, f->fd, MIB, RW, MAP_PRIVATE, 0), word = 1;

	store(c, p, 10);
	store(c, q + PAGE, 11);
	assert_int_equal(fl_pread(f->fd, &word, 8, 0), 8);
	assert_int_equal(word, 10);
	word = 12;
	assert_int_equal(fl_pwrite(f->fd, &word, 8, 0), 8);
	assert_int_equal(fl_pwrite(f->fd, &word, 8, PAGE), 8);
	assert_int_equal(load(c, p), 12);
	assert_int_equal(load(c, q), 12);
	assert_int_equal(load(c, p + PAGE), 12);
	assert_int_equal(load(c, q + PAGE), 11);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_file_that_is_cut_takes_its_private_copies_along)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), q = map_fd(s, f->fd, MIB, RW, MAP_PRIVATE, 0);

	store(c, p + 100 * PAGE, 1);
	for (uint64_t at = 0; at < MIB; at += PAGE)
		store(c, q + at, 2);
	child = fl_space_fork(s);
	assert_non_null(child);
	assert_int_equal(fl_ftruncate(f->fd, 10 * PAGE + 8), 0);
	assert_int_equal(load(c, p + 10 * PAGE + 8), 0);
	assert_int_equal(load(c, p + 10 * PAGE), pattern(10 * 512));
	assert_int_equal(load(c, q + 10 * PAGE), 2);
	load_fails(c, p + 11 * PAGE, SIGBUS, BUS_ADRERR);
	load_fails(c, q + 11 * PAGE, SIGBUS, BUS_ADRERR);
	store_fails(c, q + 200 * PAGE, SIGBUS, BUS_ADRERR);
	assert_int_equal(stats().private_pages, 11);
	assert_fails(fl_space_read(child, q + 11 * PAGE, &p, 8, NULL), EFAULT);
	assert_int_equal(fl_ftruncate(f->fd, MIB), 0);
	assert_int_equal(load(c, q + 11 * PAGE), 0);
	assert_int_equal(load(c, q + 100 * PAGE), 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(child), 0);
}

TEST(a_file_is_in_one_family_of_spaces_at_a_time)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	void *p = map_file(f, PROT_READ, MAP_SHARED);
	uint64_t q;

	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_SHARED, f->fd, 0) == (uintptr_t)MAP_FAILED, EBUSY);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, f->fd, 0) == (uintptr_t)MAP_FAILED, EBUSY);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	q = map_fd(s, f->fd, PAGE, PROT_READ, MAP_SHARED, 0);
	assert_int_equal(peek(s, q), pattern(0));
	assert_fails(fl_mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 0) == MAP_FAILED, EBUSY);
	unmap(s, q, PAGE);
	p = fl_mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(fl_munmap(p, PAGE), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mmap_refuses_what_linux_refuses)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	int ro = open(f->path, O_RDONLY), wo = open(f->path, O_WRONLY), dir = open("/", O_RDONLY), null = open("/dev/null", O_RDWR);
	static const uintptr_t failed = (uintptr_t)MAP_FAILED;

	assert_fails(try_map(s, 0, 0, RW, ANON, -1, 0) == failed, EINVAL);
	assert_fails(try_map(s, 0, PAGE, RW, MAP_ANONYMOUS, -1, 0) == failed, EINVAL);
	assert_fails(try_map(s, 0, PAGE, RW, MAP_SHARED, ro, 0) == failed, EACCES);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, wo, 0) == failed, EACCES);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == failed, EBADF);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, 100) == failed, EINVAL);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, dir, 0) == failed, ENODEV);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_SHARED, null, 0) == failed, ENODEV);
	assert_fails(try_map(s, 0, PAGE, RW, ANON | MAP_HUGETLB, -1, 0) == failed, ENOMEM);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, ro, 0) == failed, EINVAL);
	assert_fails(try_map(s, 0, UINT64_MAX, RW, ANON, -1, 0) == failed, ENOMEM);
	assert_fails(try_map(s, 0x100001, PAGE, RW, ANON | MAP_FIXED, -1, 0) == failed, EINVAL);
	assert_fails(try_map(s, 0, PAGE, PROT_READ, MAP_PRIVATE, ro, INT64_MAX & ~(off_t)4095) == failed, EOVERFLOW);
	close(ro);
	close(wo);
	close(dir);
	close(null);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(files_in_memory_are_files_like_others)
{
	int fd = memfd_create("soft", 0);
	fl_space *s = new_space(NULL);
	uint64_t p, word = 9;

	(void)*state;
	assert_int_equal(ftruncate(fd, 10 * PAGE), 0);
	assert_int_equal(pwrite(fd, &word, 8, PAGE), 8);
	p = map_fd(s, fd, 10 * PAGE, RW, MAP_SHARED, 0);
	assert_int_equal(peek(s, p + PAGE), 9);
	poke(s, p + PAGE, 10);
	unmap(s, p, 10 * PAGE);
	assert_int_equal(pread(fd, &word, 8, PAGE), 8);
	assert_int_equal(word, 10);
	close(fd);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mmap2_counts_its_offset_in_4096_bytes)
{
	struct fixture *f = *state;
	struct fl_soft_options o = {.size = sizeof o, .page_size = 16384};
	fl_space *s = new_space(NULL), *big = new_space(&o);
	uint64_t p = (uintptr_t)fl_space_mmap2(s, NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 3);

	assert_int_equal(peek(s, p), pattern(3 * 512));
	assert_fails(fl_space_mmap2(big, NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 3) == MAP_FAILED, EINVAL);
	p = (uintptr_t)fl_space_mmap2(big, NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, 4);
	assert_int_equal(peek(big, p), pattern(4 * 512));
	assert_fails(fl_space_mmap2(s, NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, ULONG_MAX) == MAP_FAILED, EOVERFLOW);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(big), 0);
}

/* ---- fork ---- */

static fl_space *fork_space(fl_space *s)
{
	fl_space *child = fl_space_fork(s);

	assert_non_null(child);
	return child;
}

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

/* ---- mremap ---- */

static uint64_t remap(fl_space *s, uint64_t old, size_t old_len, size_t new_len, int flags, uint64_t to)
{
	return (uintptr_t)fl_space_mremap(s, (void *)old, old_len, new_len, flags, (void *)to);
}

static void check_words(fl_cpu *c, uint64_t p, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(load(c, p + i * PAGE), first + i);
}

static void fill_words(fl_cpu *c, uint64_t p, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		store(c, p + i * PAGE, first + i);
}

TEST(mremap_grows_in_place_moves_and_shrinks)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_at(s, 0x10000000, 10 * PAGE, RW, ANON), q;

	(void)*state;
	fill_words(c, p, 1, 10);
	assert_int_equal(remap(s, p, 10 * PAGE, 20 * PAGE, 0, 0), p);
	fill_words(c, p + 10 * PAGE, 11, 10);
	map_at(s, p + 20 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED);
	assert_fails(remap(s, p, 20 * PAGE, 30 * PAGE, 0, 0) == (uintptr_t)MAP_FAILED, ENOMEM);
	q = remap(s, p, 20 * PAGE, 30 * PAGE, MREMAP_MAYMOVE, 0);
	assert_int_not_equal(q, p);
	check_words(c, q, 1, 20);
	load_fails(c, p, SIGSEGV, SEGV_MAPERR);
	store_fails(c, p + 19 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(load(c, q + 29 * PAGE), 0);
	assert_int_equal(remap(s, q, 30 * PAGE, 5 * PAGE, 0, 0), q);
	check_words(c, q, 1, 5);
	load_fails(c, q + 5 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(stats().private_pages, 5);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mremap_to_a_fixed_place_replaces_what_is_there)
{
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 600), q = map_anon(s, 700), to = q + 50 * PAGE;

	(void)*state;
	fill_words(c, p, 1, 100);
	fill_words(c, q, 1000, 700);
	assert_int_equal(advise(s, p, 20 * PAGE, MADV_PAGEOUT), 0);
	child = fork_space(s);
	assert_int_equal(remap(s, p, 600 * PAGE, 600 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	check_words(c, to, 1, 100);
	assert_int_equal(load(c, to + 599 * PAGE), 0);
	check_words(c, q, 1000, 50);
	check_words(c, q + 650 * PAGE, 1650, 50);
	load_fails(c, p, SIGSEGV, SEGV_MAPERR);
	store(c, to + 30 * PAGE, 77);
	assert_int_equal(peek(child, p + 30 * PAGE), 31);
	assert_int_equal(peek(child, p), 1);
	assert_int_equal(peek(child, to), 1050);
	assert_fails(remap(s, to, 600 * PAGE, 600 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE) == (uintptr_t)MAP_FAILED, EINVAL);
	assert_fails(remap(s, to, PAGE, PAGE, MREMAP_FIXED, p) == (uintptr_t)MAP_FAILED, EINVAL);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(stats().private_pages, 0);
}

TEST(mremap_dontunmap_leaves_an_empty_mapping)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 10), q, r;

	fill_words(c, p, 1, 10);
	q = remap(s, p, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	check_words(c, q, 1, 10);
	assert_int_equal(load(c, p), 0);
	store(c, p, 5);
	assert_int_equal(load(c, q), 1);
	p = map_fd(s, f->fd, 10 * PAGE, RW, MAP_SHARED, 0);
	store(c, p, 6);
	q = remap(s, p, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	assert_int_equal(load(c, p), 6);
	store(c, q, 7);
	assert_int_equal(load(c, p), 7);
	r = remap(s, p, 0, 5 * PAGE, MREMAP_MAYMOVE, 0); /* an old size of 0 */
	assert_int_not_equal(r, p);
	assert_int_equal(load(c, r), 7);
	store(c, r + PAGE, 8);
	assert_int_equal(load(c, q + PAGE), 8);
	assert_fails(remap(s, map_anon(s, 2), 0, PAGE, MREMAP_MAYMOVE, 0) == (uintptr_t)MAP_FAILED, EINVAL);
	assert_fails(remap(s, 0x5000, PAGE, PAGE, MREMAP_MAYMOVE, 0) == (uintptr_t)MAP_FAILED, EFAULT);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- mprotect, mseal, mlock, mincore ---- */

TEST(mprotect_takes_away_at_once_and_gives_with_the_next_access)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 4), v;

	(void)*state;
	fill_words(c, p, 1, 4);
	assert_int_equal(protect(s, p + PAGE, PAGE, PROT_READ), 0);
	store_fails(c, p + PAGE, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(load(c, p + PAGE), 2);
	assert_int_equal(protect(s, p + PAGE, PAGE, PROT_NONE), 0);
	load_fails(c, p + PAGE, SIGSEGV, SEGV_ACCERR);
	assert_fails(fl_cas64(c, p + PAGE, &v, 1) == -1, EFAULT);
	assert_int_equal(protect(s, p + PAGE, PAGE, PROT_EXEC), 0);
	assert_int_equal(load(c, p + PAGE), 2); /* as on x86 */
	assert_int_equal(fl_cpu_fetch(c, p + PAGE, &v, 8), 0);
	assert_int_equal(v, 2);
	assert_int_equal(protect(s, p, 4 * PAGE, RW), 0);
	store(c, p + PAGE, 9);
	check_words(c, p + 2 * PAGE, 3, 2);
	assert_fails(protect(s, p, 5 * PAGE, PROT_READ), ENOMEM);
	assert_fails(protect(s, p, PAGE, 0x100), EINVAL);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(fetch_needs_the_right_to_execute)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_fd(s, f->fd, MIB, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0), q = map_anon(s, 1), v = 0;

	assert_int_equal(fl_cpu_fetch(c, p + PAGE - 4, &v, 8), 0);
	store(c, q, 1);
	assert_fails(fl_cpu_fetch(c, q, &v, 4) == -1, EFAULT);
	check_fault(&c->fault, q, FL_ACCESS_EXEC, SIGSEGV, SEGV_ACCERR);
	assert_fails(fl_cpu_fetch(c, 0x7000, &v, 4) == -1, EFAULT);
	check_fault(&c->fault, 0x7000, FL_ACCESS_EXEC, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(protect(s, p, MIB, PROT_READ), 0);
	assert_fails(fl_cpu_fetch(c, p + PAGE - 4, &v, 8) == -1, EFAULT);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mprotect_does_not_give_what_the_descriptor_does_not)
{
	struct fixture *f = *state;
	int ro = open(f->path, O_RDONLY);
	fl_space *s = new_space(NULL);
	uint64_t p = map_fd(s, ro, MIB, PROT_READ, MAP_SHARED, 0), q = map_fd(s, ro, MIB, PROT_READ, MAP_PRIVATE, 0);

	assert_fails(protect(s, p, PAGE, RW), EACCES);
	assert_int_equal(protect(s, q, PAGE, RW), 0);
	poke(s, q, 1);
	assert_int_equal(peek(s, p), pattern(0));
	close(ro);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_sealed_mapping_stays)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 4);

	(void)*state;
	poke(s, p, 1);
	assert_int_equal(fl_space_mseal(s, (void *)p, 2 * PAGE, 0), 0);
	assert_fails(fl_space_munmap(s, (void *)p, PAGE), EPERM);
	assert_fails(protect(s, p, PAGE, PROT_READ), EPERM);
	assert_fails(try_map(s, p, PAGE, RW, ANON | MAP_FIXED, -1, 0) == (uintptr_t)MAP_FAILED, EPERM);
	assert_fails(remap(s, p, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0) == (uintptr_t)MAP_FAILED, EPERM);
	child = fork_space(s);
	assert_fails(fl_space_munmap(child, (void *)p, PAGE), EPERM);
	assert_int_equal(peek(child, p), 1);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(locked_pages_stay_in_memory)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 50), q = map_fd(s, f->fd, 50 * PAGE, PROT_READ, MAP_SHARED, 0), big = map_anon(s, 2000);

	fill_words(c, p, 1, 50);
	assert_int_equal(fl_space_mlock2(s, (void *)p, 50 * PAGE, 0), 0);
	assert_int_equal(fl_space_mlock2(s, (void *)q, 50 * PAGE, 0), 0);
	fill_words(c, big, 1, 2000);
	assert_int_equal(resident(s, p, 50), 50);
	assert_int_equal(resident(s, q, 50), 50);
	assert_fails(fl_space_mlock2(s, (void *)big, 2000 * PAGE, 0), ENOMEM); /* over half of the budget */
	assert_fails(fl_space_msync(s, (void *)q, PAGE, MS_INVALIDATE), EBUSY);
	assert_int_equal(fl_space_munlock(s, (void *)p, 50 * PAGE), 0);
	fill_words(c, big, 2, 2000);
	assert_true(resident(s, p, 50) < 50);
	check_words(c, p, 1, 50);
	assert_int_equal(fl_space_munlockall(s), 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mincore_says_what_is_there)
{
	struct fixture *f = *state;
	struct fl_soft_options o = {.size = sizeof o, .page_size = 16384};
	fl_space *s = new_space(NULL), *big = new_space(&o);
	uint64_t p = map_anon(s, 10), q = map_fd(s, f->fd, 10 * PAGE, PROT_READ, MAP_SHARED, 0), r = map_at(big, 0, 4 * 16384, RW, ANON);
	unsigned char vec[10];

	assert_int_equal(advise(s, q, 10 * PAGE, MADV_RANDOM), 0);
	poke(s, p + 3 * PAGE, 1);
	assert_int_equal(fl_space_mincore(s, (void *)p, 10 * PAGE, vec), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(vec[i] & 1, i == 3);
	peek(s, q + PAGE);
	assert_int_equal(resident(s, q, 10), 1);
	poke(big, r + 16384, 1);
	memset(vec, 7, sizeof vec);
	assert_int_equal(fl_space_mincore(big, (void *)r, 4 * 16384, vec), 0);
	assert_int_equal(vec[0] & 1, 0);
	assert_int_equal(vec[1] & 1, 1);
	assert_int_equal(vec[4], 7); /* a byte for each page */
	assert_fails(fl_space_mincore(s, (void *)0x1000, PAGE, vec), ENOMEM);
	assert_fails(fl_space_mincore(s, (void *)(p + 1), PAGE, vec), EINVAL);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(fl_space_destroy(big), 0);
}

/* ---- madvise ---- */

TEST(dontneed_forgets_private_pages_and_keeps_those_of_files)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 10), q = map_fd(s, f->fd, 10 * PAGE, RW, MAP_PRIVATE, 0),
		 r = map_fd(s, f->fd, 10 * PAGE, RW, MAP_SHARED, 0);

	fill_words(c, p, 1, 10);
	store(c, q, 5);
	store(c, r + PAGE, 6);
	assert_int_equal(advise(s, p + 2 * PAGE, 3 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(advise(s, q, 10 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(advise(s, r, 10 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(load(c, p + PAGE), 2);
	assert_int_equal(load(c, p + 2 * PAGE), 0);
	assert_int_equal(load(c, q), pattern(0));
	assert_int_equal(load(c, r + PAGE), 6);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(free_pages_go_under_pressure_unless_they_are_written_again)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 50), big = map_anon(s, 3000), gone = 0;

	(void)*state;
	fill_words(c, p, 1, 50);
	assert_int_equal(advise(s, p, 50 * PAGE, MADV_FREE), 0);
	check_words(c, p, 1, 50); /* as long as nobody needs the memory */
	store(c, p + 7 * PAGE, 70);
	fill_words(c, big, 1, 3000);
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t v = load(c, p + i * PAGE);

		assert_int_equal(v, i == 7 ? 70 : v ? i + 1 : 0);
		gone += !v;
	}
	assert_true(gone > 40);
	assert_int_equal(load(c, p + 7 * PAGE), 70);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
}

TEST(pageout_takes_pages_out_and_willneed_brings_them_in)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 32), q = map_fd(s, f->fd, 32 * PAGE, RW, MAP_SHARED, 0);

	fill_words(c, p, 1, 32);
	fill_words(c, q, 100, 32);
	assert_int_equal(advise(s, p, 32 * PAGE, MADV_COLD), 0);
	assert_int_equal(resident(s, p, 32), 32);
	assert_int_equal(advise(s, p, 32 * PAGE, MADV_PAGEOUT), 0);
	assert_int_equal(advise(s, q, 32 * PAGE, MADV_PAGEOUT), 0);
	assert_int_equal(resident(s, p, 32), 0);
	assert_int_equal(resident(s, q, 32), 0);
	check_page(s, p, "swap");
	assert_int_equal(advise(s, p, 32 * PAGE, MADV_WILLNEED), 0);
	assert_int_equal(resident(s, p, 32), 32);
	check_words(c, p, 1, 32);
	check_words(c, q, 100, 32);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(populate_makes_faults_in_advance)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	uint64_t p = map_anon(s, 10), q = map_fd(s, f->fd, 10 * PAGE, PROT_READ, MAP_PRIVATE, 0), r;

	assert_int_equal(advise(s, p, 5 * PAGE, MADV_POPULATE_WRITE), 0);
	assert_int_equal(stats().private_pages, 5);
	assert_int_equal(advise(s, p, 10 * PAGE, MADV_POPULATE_READ), 0);
	check_page(s, p + 9 * PAGE, "zero page");
	assert_int_equal(advise(s, q, 10 * PAGE, MADV_POPULATE_READ), 0);
	assert_fails(advise(s, q, 10 * PAGE, MADV_POPULATE_WRITE), EINVAL);
	assert_int_equal(fl_ftruncate(f->fd, 5 * PAGE), 0);
	assert_fails(advise(s, q, 10 * PAGE, MADV_POPULATE_READ), EFAULT);
	r = map_at(s, 0, 3 * PAGE, RW, ANON | MAP_POPULATE);
	check_page(s, r, "private");
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(guards_are_faults_until_they_are_removed)
{
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 10);

	(void)*state;
	fill_words(c, p, 1, 10);
	assert_int_equal(advise(s, p + 2 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL), 0);
	load_fails(c, p + 2 * PAGE, SIGSEGV, SEGV_MAPERR);
	store_fails(c, p + 4 * PAGE - 1, SIGSEGV, SEGV_MAPERR);
	check_page(s, p + 3 * PAGE, "guard");
	assert_int_equal(load(c, p + 4 * PAGE), 5);
	child = fork_space(s);
	assert_fails(fl_space_read(child, p + 2 * PAGE, &p, 1, NULL), EFAULT);
	assert_int_equal(advise(s, p, 10 * PAGE, MADV_GUARD_REMOVE), 0);
	assert_int_equal(load(c, p + 2 * PAGE), 0);
	assert_int_equal(load(c, p), 1);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(remove_makes_a_hole_in_the_file)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), word = 1;

	store(c, p + PAGE, 1);
	if (advise(s, p + PAGE, 2 * PAGE, MADV_REMOVE)) {
		assert_int_equal(errno, EOPNOTSUPP);
	} else {
		assert_int_equal(load(c, p + PAGE), 0);
		assert_int_equal(load(c, p + 3 * PAGE), pattern(3 * 512));
		assert_int_equal(pread(f->fd, &word, 8, PAGE), 8);
		assert_int_equal(word, 0);
	}
	assert_fails(advise(s, map_anon(s, 1), PAGE, MADV_REMOVE), EINVAL);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Pins ---- */

TEST(translate_gives_the_hosts_address_until_release)
{
	fl_space *s = new_space(NULL);
	uint64_t p = map_anon(s, 4);
	struct fl_fault f;
	size_t len = 0;
	char *host, *again;

	(void)*state;
	host = fl_space_translate(s, p + 100, FL_ACCESS_WRITE, &len, NULL);
	assert_non_null(host);
	assert_int_equal(len, PAGE - 100);
	*host = 7;
	assert_int_equal(peek(s, p + 100), 7);
	again = fl_space_translate(s, p + 100, FL_ACCESS_READ, NULL, NULL);
	assert_ptr_equal(again, host);
	assert_int_equal(fl_space_release(s, host), 0);
	assert_int_equal(fl_space_release(s, again), 0);
	assert_fails(!fl_space_translate(s, p + 4 * PAGE, FL_ACCESS_READ, &len, &f), EFAULT);
	check_fault(&f, p + 4 * PAGE, FL_ACCESS_READ, SIGSEGV, SEGV_MAPERR);
	assert_fails(!fl_space_translate(s, p, FL_ACCESS_EXEC, &len, &f), EFAULT);
	check_fault(&f, p, FL_ACCESS_EXEC, SIGSEGV, SEGV_ACCERR);
	host = fl_space_translate(s, p + 2 * PAGE, FL_ACCESS_READ, &len, NULL); /* the zero page */
	assert_int_equal(*host, 0);
	assert_int_equal(fl_space_release(s, host), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(what_is_written_by_a_translated_address_is_not_lost)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	uint64_t p = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), q = map_anon(s, 1), big = map_anon(s, 2000);
	uint64_t *file = fl_space_translate(s, p, FL_ACCESS_WRITE, NULL, NULL),
		 *anon = fl_space_translate(s, q, FL_ACCESS_WRITE, NULL, NULL);

	*file = *anon = 1;
	assert_int_equal(fl_space_msync(s, (void *)p, MIB, MS_SYNC), 0);
	assert_int_equal(advise(s, q, PAGE, MADV_PAGEOUT), 0);
	for (uint64_t i = 0; i < 2000; i++)
		poke(s, big + i * PAGE, i);
	*file = *anon = 2;
	assert_int_equal(fl_space_release(s, file), 0);
	assert_int_equal(fl_space_release(s, anon), 0);
	for (uint64_t i = 0; i < 2000; i++)
		poke(s, big + i * PAGE, i);
	assert_int_equal(peek(s, p), 2);
	assert_int_equal(peek(s, q), 2);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_pinned_page_outlives_its_mapping_and_its_place_in_the_file)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	uint64_t p = map_anon(s, 4), q = map_fd(s, f->fd, MIB, RW, MAP_SHARED, 0), r = map_fd(s, f->fd, MIB, RW, MAP_PRIVATE, 0), used;
	uint64_t *host[3], big;

	poke(s, p, 1);
	used = stats().used_bytes;
	host[0] = fl_space_translate(s, p, FL_ACCESS_WRITE, NULL, NULL);
	host[1] = fl_space_translate(s, q + 200 * PAGE, FL_ACCESS_WRITE, NULL, NULL);
	host[2] = fl_space_translate(s, r + 210 * PAGE, FL_ACCESS_WRITE, NULL, NULL);
	for (int i = 0; i < 3; i++)
		*host[i] = 11 + (uint64_t)i;
	unmap(s, p, 4 * PAGE);
	assert_int_equal(fl_ftruncate(f->fd, PAGE), 0);
	assert_fails(fl_space_read(s, q + 200 * PAGE, &big, 8, NULL), EFAULT);
	assert_fails(fl_space_read(s, r + 210 * PAGE, &big, 8, NULL), EFAULT);
	big = map_anon(s, 2000);
	for (uint64_t i = 0; i < 2000; i++)
		poke(s, big + i * PAGE, i);
	for (int i = 0; i < 3; i++)
		assert_int_equal(*host[i], 11 + i);
	unmap(s, big, 2000 * PAGE);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fl_space_release(s, host[i]), 0);
	unmap(s, q, MIB);
	unmap(s, r, MIB);
	assert_int_equal(stats().private_pages, 0);
	assert_true(stats().used_bytes <= used + 64 * PAGE);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(half_of_the_budget_can_be_pinned)
{
	static void *host[BUDGET / PAGE];
	fl_space *s = new_space(NULL);
	uint64_t pages = BUDGET / PAGE, p = map_anon(s, pages), n;
	struct fl_fault f;

	(void)*state;
	for (n = 0; n < pages && (host[n] = fl_space_translate(s, p + n * PAGE, FL_ACCESS_WRITE, NULL, &f)); n++)
		;
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(n, pages / 2);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(fl_space_release(s, host[i]), 0);
	host[0] = fl_space_translate(s, p, FL_ACCESS_WRITE, NULL, &f);
	assert_non_null(host[0]);
	assert_int_equal(fl_space_release(s, host[0]), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(a_copy_on_write_leaves_the_pinned_page_to_its_pin)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 1), *host;
	struct fl_walk w;

	(void)*state;
	poke(s, p, 1);
	child = fork_space(s);
	host = fl_space_translate(s, p, FL_ACCESS_READ, NULL, NULL);
	poke(s, p, 2);
	assert_int_equal(fl_space_destroy(child), 0); /* the last entry that shows the page goes */
	assert_int_equal(*host, 1);
	w = walk(s, p);
	assert_string_equal(w.page, "private");
	assert_int_equal(fl_space_release(s, host), 0);
	assert_int_equal(peek(s, p), 2);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(stats().private_pages, 0);
}

/* ---- Accesses ---- */

TEST(loads_and_stores_of_all_sizes_at_any_place)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 3), v64;
	uint32_t v32;
	uint16_t v16;
	uint8_t v8;

	(void)*state;
	for (uint64_t at = p + PAGE - 9; at < p + PAGE + 2; at++) {
		assert_int_equal(fl_store64(c, at, 0x1122334455667788), 0);
		assert_int_equal(fl_load64(c, at, &v64), 0);
		assert_int_equal(v64, 0x1122334455667788);
		assert_int_equal(fl_load8(c, at + 1, &v8), 0);
		assert_int_equal(v8, 0x77);
		assert_int_equal(fl_store32(c, at, 0xa1b2c3d4), 0);
		assert_int_equal(fl_load32(c, at, &v32), 0);
		assert_int_equal(v32, 0xa1b2c3d4);
		assert_int_equal(fl_store16(c, at, 0x9988), 0);
		assert_int_equal(fl_load16(c, at, &v16), 0);
		assert_int_equal(v16, 0x9988);
		assert_int_equal(fl_store8(c, at, 0x55), 0);
		assert_int_equal(fl_load64(c, at, &v64), 0);
		assert_int_equal(v64, 0x11223344a1b29955);
	}
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(long_reads_and_writes_cross_pages)
{
	struct fixture *f = *state;
	static char in[300000], out[sizeof in];
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 80), q = map_fd(s, f->fd, MIB, PROT_READ, MAP_SHARED, 0), word;

	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (char)(i * 7 + i / 256);
	assert_int_equal(fl_cpu_write(c, p + 4001, in, sizeof in), 0);
	assert_int_equal(fl_cpu_read(c, p + 4001, out, sizeof out), 0);
	assert_memory_equal(in, out, sizeof in);
	memset(out, 0, sizeof out);
	assert_int_equal(fl_space_read(s, p + 4001, out, sizeof out, NULL), sizeof out);
	assert_memory_equal(in, out, sizeof in);
	assert_int_equal(fl_cpu_read(c, q + 3, out, 100000), 0);
	word = pattern(1);
	assert_memory_equal(out + 5, &word, 8);
	assert_int_equal(fl_cpu_read(c, p, out, 0), 0);
	assert_int_equal(fl_space_read(s, p, out, 0, NULL), 0);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(an_access_stops_at_the_first_byte_that_fails)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_at(s, 0x10000000, 2 * PAGE, RW, ANON), v;
	char buf[3 * PAGE];
	struct fl_fault f;

	(void)*state;
	assert_fails(fl_cpu_read(c, p + PAGE, buf, sizeof buf) == -1, EFAULT);
	check_fault(&c->fault, p + 2 * PAGE, FL_ACCESS_READ, SIGSEGV, SEGV_MAPERR);
	assert_fails(fl_load64(c, p + 2 * PAGE - 4, &v) == -1, EFAULT);
	assert_int_equal(c->fault.address, p + 2 * PAGE);
	assert_fails(fl_store64(c, p - 4, 1) == -1, EFAULT);
	assert_int_equal(c->fault.address, p - 4);
	assert_int_equal(fl_space_read(s, p + 10, buf, sizeof buf, &f), 2 * PAGE - 10);
	check_fault(&f, p + 2 * PAGE, FL_ACCESS_READ, SIGSEGV, SEGV_MAPERR);
	memset(buf, 1, sizeof buf);
	assert_int_equal(fl_space_write(s, p + PAGE + 10, buf, PAGE, &f), PAGE - 10);
	check_fault(&f, p + 2 * PAGE, FL_ACCESS_WRITE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(peek(s, p + 2 * PAGE - 8), 0x0101010101010101);
	assert_fails(fl_space_write(s, 0, buf, PAGE, &f), EFAULT);
	check_fault(&f, 0, FL_ACCESS_WRITE, SIGSEGV, SEGV_MAPERR);
	assert_fails(fl_space_read(s, UINT64_MAX - 3, buf, 8, &f), EFAULT);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(compare_and_swap_stores_when_the_expected_is_there)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_anon(s, 2), e64 = 0;
	uint32_t e32 = 5;

	(void)*state;
	assert_int_equal(fl_cas64(c, p, &e64, 10), 1); /* by the slow way, then by the TLB */
	assert_int_equal(e64, 0);
	assert_int_equal(fl_cas64(c, p, &e64, 11), 0);
	assert_int_equal(e64, 10);
	assert_int_equal(fl_cas64(c, p, &e64, 11), 1);
	assert_int_equal(fl_cas32(c, p + PAGE + 4, &e32, 1), 0);
	assert_int_equal(e32, 0);
	assert_int_equal(fl_cas32(c, p + PAGE + 4, &e32, 1), 1);
	assert_int_equal(load(c, p + PAGE), 1ull << 32);
	assert_fails(fl_cas64(c, p + 4, &e64, 1) == -1, EINVAL);
	assert_fails(fl_cas32(c, p + 2, &e32, 1) == -1, EINVAL);
	assert_fails(fl_cpu_cas(c, p, &e64, &e64, 2) == -1, EINVAL);
	assert_int_equal(protect(s, p, PAGE, PROT_READ), 0);
	assert_fails(fl_cas64(c, p, &e64, 1) == -1, EFAULT);
	check_fault(&c->fault, p, FL_ACCESS_WRITE, SIGSEGV, SEGV_ACCERR);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(strings_are_read_up_to_their_end_and_no_further)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	uint64_t p = map_at(s, 0x10000000, 2 * PAGE, RW, ANON), end = p + 2 * PAGE;
	char buf[5000], text[3000];

	(void)*state;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = 0;
	assert_int_equal(fl_cpu_write(c, end - sizeof text, text, sizeof text), 0);
	assert_int_equal(fl_cpu_read_string(c, end - sizeof text, buf, sizeof buf), sizeof text - 1);
	assert_string_equal(buf, text);
	assert_int_equal(fl_cpu_read_string(c, end - 1, buf, sizeof buf), 0);
	assert_int_equal(fl_cpu_read_string(c, end - sizeof text, buf, 100), 100);
	assert_int_equal(fl_cpu_read_string(c, end - sizeof text, buf, sizeof text - 1), sizeof text - 1);
	assert_int_equal(fl_cpu_read_string(c, end - sizeof text, buf, 0), 0);
	assert_int_equal(fl_store8(c, end - 1, 'b'), 0);
	assert_fails(fl_cpu_read_string(c, end - 10, buf, sizeof buf) == -1, EFAULT);
	check_fault(&c->fault, end, FL_ACCESS_READ, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(fl_cpu_read_string(c, end - 10, buf, 10), 10);
	assert_int_equal(fl_cpu_write(c, p + PAGE - 3, "abcdef", 7), 0);
	assert_int_equal(fl_cpu_read_string(c, p + PAGE - 3, buf, sizeof buf), 6);
	assert_string_equal(buf, "abcdef");
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

struct mender {
	fl_space *space;
	int calls, mends;
};

static int map_it(fl_cpu *cpu, const struct fl_fault *fault, void *arg)
{
	struct mender *m = arg;
	uint64_t v = 0;

	m->calls++;
	if (m->calls > m->mends)
		return -1;
	map_at(m->space, fault->address & ~(PAGE - 1), PAGE, RW, ANON | MAP_FIXED);
	return fl_store64(cpu, fault->address & ~(PAGE - 1), 40 + (uint64_t)m->calls) || fl_load64(cpu, fault->address & ~(PAGE - 1), &v);
}

TEST(on_fault_may_mend_what_fails)
{
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	struct mender m = {.space = s, .mends = 2};
	uint64_t p = 0x10000000, v;

	(void)*state;
	fl_cpu_on_fault(c, map_it, &m);
	assert_int_equal(fl_load64(c, p + PAGE - 4, &v), 0); /* two pages, two faults */
	assert_int_equal(m.calls, 2);
	assert_int_equal(v, 42ull << 32);
	load_fails(c, p + 4 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(m.calls, 3);
	fl_cpu_on_fault(c, NULL, NULL);
	load_fails(c, p + 4 * PAGE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(m.calls, 3);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(several_cpus_of_one_thread_agree)
{
	fl_space *s = new_space(NULL);
	fl_cpu *a = new_cpu(s), *b = new_cpu(s);
	uint64_t p = map_anon(s, 2);

	(void)*state;
	load(a, p);
	load(b, p); /* the zero page, in both TLBs */
	store(a, p, 1);
	assert_int_equal(load(b, p), 1);
	store(b, p, 2);
	assert_int_equal(load(a, p), 2);
	unmap(s, p, PAGE);
	load_fails(a, p, SIGSEGV, SEGV_MAPERR);
	load_fails(b, p, SIGSEGV, SEGV_MAPERR);
	fl_cpu_destroy(a);
	store(b, p + PAGE, 1);
	fl_cpu_destroy(b);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Stores and devices ---- */

struct device {
	char *memory; /* fault: what is shown */
	uint64_t bytes;
	int error; /* of every call, when set */
	int reads, writes, syncs, closed, max_prot;
	uint64_t word[1024]; /* first word of each page, as read and written */
};

static ssize_t device_read(void *arg, void *buf, size_t len, uint64_t off)
{
	struct device *d = arg;

	d->reads++;
	if (d->error)
		return d->error;
	if (off >= d->bytes)
		return 0;
	len = len < d->bytes - off ? len : d->bytes - off;
	memset(buf, 0, len);
	for (size_t i = 0; i + 8 <= len; i += PAGE)
		memcpy((char *)buf + i, &d->word[(off + i) / PAGE], 8);
	return (ssize_t)len;
}

static int device_write(void *arg, const void *buf, size_t len, uint64_t off)
{
	struct device *d = arg;

	d->writes++;
	for (size_t i = 0; !d->error && i + 8 <= len; i += PAGE)
		memcpy(&d->word[(off + i) / PAGE], (const char *)buf + i, 8);
	return d->error;
}

static int device_length(void *arg, uint64_t *bytes)
{
	*bytes = ((struct device *)arg)->bytes;
	return 0;
}

static int device_sync(void *arg)
{
	((struct device *)arg)->syncs++;
	return 0;
}

static int device_mmap(void *arg, struct fl_mapping *m)
{
	struct device *d = arg;

	if (m->offset >= d->bytes)
		return -ENXIO;
	m->max_prot &= d->max_prot;
	return 0;
}

static int device_fault(void *arg, uint64_t off, enum fl_access access, void **page)
{
	struct device *d = arg;

	(void)access;
	*page = d->memory + off;
	return d->error;
}

static void device_close(void *arg)
{
	((struct device *)arg)->closed++;
}

static const struct fl_store_ops block_ops = {.size = sizeof block_ops,
					      .name = "block",
					      .read = device_read,
					      .write = device_write,
					      .length = device_length,
					      .sync = device_sync,
					      .close = device_close};
static const struct fl_store_ops rom_ops = {
	.size = sizeof rom_ops, .name = "rom", .read = device_read, .length = device_length, .close = device_close};
static const struct fl_store_ops mmio_ops = {.size = sizeof mmio_ops,
					     .name = "mmio",
					     .length = device_length,
					     .fault = device_fault,
					     .mmap = device_mmap,
					     .close = device_close};

TEST(a_store_is_read_cached_and_written_back)
{
	static struct device d;
	fl_space *s = new_space(NULL), *t = new_space(NULL);
	fl_store *st;
	uint64_t p, q;

	(void)*state;
	d = (struct device){.bytes = 1024 * PAGE - 100};
	for (uint64_t i = 0; i < 1024; i++)
		d.word[i] = i + 1;
	st = fl_store_create(&block_ops, &d);
	assert_non_null(st);
	p = map_store(s, st, 1024 * PAGE, RW, MAP_SHARED, 0);
	q = map_store(t, st, 512 * PAGE, RW, MAP_PRIVATE, 512 * PAGE);
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(peek(s, p + i * PAGE), i + 1);
	assert_true(d.reads < 1024); /* read ahead */
	for (uint64_t i = 0; i < 1024; i++)
		poke(s, p + i * PAGE, i + 2);
	assert_int_equal(peek(t, q), 514);
	poke(t, q, 7);
	assert_int_equal(peek(s, p + 512 * PAGE), 514);
	assert_int_equal(peek(s, p + 1024 * PAGE - 100), 0);
	assert_int_equal(fl_space_msync(s, (void *)p, 1024 * PAGE, MS_SYNC), 0);
	assert_true(d.syncs > 0);
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(d.word[i], i + 2);
	fl_store_put(st);
	assert_int_equal(d.closed, 0);
	poke(s, p, 99);
	assert_int_equal(fl_space_destroy(t), 0);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.word[0], 99);
	assert_int_equal(d.closed, 1);
}

TEST(a_store_that_fails_raises_sigbus_and_fails_msync)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 4 * PAGE, .error = -EIO};
	st = fl_store_create(&block_ops, &d);
	p = map_store(s, st, 8 * PAGE, RW, MAP_SHARED, 0);
	load_fails(c, p, SIGBUS, BUS_ADRERR);
	store_fails(c, p, SIGBUS, BUS_ADRERR);
	d.error = 0;
	store(c, p, 5);
	load_fails(c, p + 4 * PAGE, SIGBUS, BUS_ADRERR); /* beyond its length */
	d.error = -ENOSPC;
	assert_fails(fl_space_msync(s, (void *)p, PAGE, MS_SYNC), ENOSPC);
	d.error = 0;
	assert_int_equal(fl_space_msync(s, (void *)p, PAGE, MS_SYNC), 0);
	assert_int_equal(d.word[0], 5);
	fl_store_put(st);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 1);
}

TEST(a_store_without_write_is_for_reading)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 4 * PAGE};
	st = fl_store_create(&rom_ops, &d);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	p = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, RW), EACCES);
	p = map_store(s, st, PAGE, RW, MAP_PRIVATE, 0);
	poke(s, p, 1);
	assert_int_equal(d.word[0], 0);
	assert_fails(fl_space_mmap_store(s, NULL, 0, PROT_READ, MAP_SHARED, st, 0) == MAP_FAILED, EINVAL);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 100) == MAP_FAILED, EINVAL);
	assert_fails(fl_space_mmap_store(fl_space_default(), NULL, PAGE, PROT_READ, MAP_SHARED, st, 0) == MAP_FAILED, EINVAL);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 1);
}

TEST(offsets_beyond_4_pib_are_refused)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;

	(void)*state;
	d = (struct device){.bytes = INT64_MAX};
	st = fl_store_create(&rom_ops, &d);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 1ll << 52) == MAP_FAILED, EOVERFLOW);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, INT64_MAX & ~4095ll) == MAP_FAILED, EOVERFLOW);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, -4096) == MAP_FAILED, EOVERFLOW);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(stores_without_what_is_needed_are_refused)
{
	struct fl_store_ops o = block_ops;
	struct device d = {0};

	(void)*state;
	o.read = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.length = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.name = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.size = offsetof(struct fl_store_ops, length);
	assert_fails(!fl_store_create(&o, &d), EINVAL); /* what lies beyond its size is not there */
	fl_store_put(NULL);
	assert_int_equal(d.closed, 0);
}

TEST(a_device_shows_memory_of_its_own)
{
	static struct device d;
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	fl_store *st;
	uint64_t p, q;
	size_t len;

	(void)*state;
	d = (struct device){.bytes = 16 * PAGE, .max_prot = RW, .memory = aligned_alloc(PAGE, 16 * PAGE)};
	memset(d.memory, 0, 16 * PAGE);
	st = fl_store_create(&mmio_ops, &d);
	p = map_store(s, st, 20 * PAGE, RW, MAP_SHARED, 0);
	q = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 3 * PAGE);
	store(c, p + 3 * PAGE, 77);
	assert_int_equal(d.memory[3 * PAGE], 77);
	assert_int_equal(load(c, q), 77);
	d.memory[3 * PAGE] = 78;
	assert_int_equal(load(c, q), 78);
	check_page(s, q, "device");
	store_fails(c, q, SIGSEGV, SEGV_ACCERR);
	load_fails(c, p + 16 * PAGE, SIGBUS, BUS_ADRERR);
	d.error = -EIO;
	load_fails(c, p + 5 * PAGE, SIGBUS, BUS_ADRERR);
	d.error = -ENOMEM;
	load_fails(c, p + 5 * PAGE, 0, -ENOMEM);
	d.error = 0;
	assert_ptr_equal(fl_space_translate(s, p + PAGE + 5, FL_ACCESS_WRITE, &len, NULL), d.memory + PAGE + 5);
	assert_int_equal(len, PAGE - 5);
	assert_int_equal(fl_space_release(s, d.memory + PAGE + 5), 0);
	child = fork_space(s);
	poke(child, p + 3 * PAGE, 79);
	assert_int_equal(load(c, p + 3 * PAGE), 79);
	assert_int_equal(advise(s, p, 16 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(load(c, p + 3 * PAGE), 79);
	assert_fails(protect(s, p, PAGE, PROT_EXEC), EACCES); /* taken away by mmap */
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_PRIVATE, st, 0) == MAP_FAILED, EOPNOTSUPP);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 64 * PAGE) == MAP_FAILED, ENXIO);
	fl_store_put(st);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(d.closed, 1);
	free(d.memory);
}

TEST(what_the_store_takes_away_mprotect_does_not_give)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 16 * PAGE, .max_prot = PROT_READ, .memory = aligned_alloc(PAGE, 16 * PAGE)};
	st = fl_store_create(&mmio_ops, &d);
	p = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, RW), EACCES);
	assert_fails(protect(s, p, PAGE, PROT_READ | PROT_EXEC), EACCES);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	d.max_prot = 0;
	p = map_store(s, st, PAGE, PROT_NONE, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, PROT_READ), EACCES);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
	free(d.memory);
}

TEST(a_ring_wraps_and_is_one_memory_for_all)
{
	fl_space *a = new_space(NULL), *b = new_space(NULL);
	fl_store *ring = fl_ring_create(4 * PAGE);
	uint64_t p = map_store(a, ring, 8 * PAGE, RW, MAP_SHARED, 0), q = map_store(b, ring, 2 * PAGE, RW, MAP_SHARED, 3 * PAGE);

	(void)*state;
	poke(a, p + 4 * PAGE - 4, 0x1122334455667788); /* across the end */
	assert_int_equal(peek(a, p) & 0xffffffff, 0x11223344);
	assert_int_equal(peek(b, q + PAGE - 4), 0x1122334455667788);
	poke(b, q + PAGE, 5);
	assert_int_equal(peek(a, p), 5);
	assert_int_equal(peek(a, p + 4 * PAGE), 5);
	assert_fails(!fl_ring_create(0), EINVAL);
	assert_fails(!fl_ring_create(100), EINVAL);
	fl_store_put(ring);
	assert_int_equal(peek(a, p), 5);
	assert_int_equal(fl_space_destroy(a), 0);
	assert_int_equal(fl_space_destroy(b), 0);
}

static int fill_page(void *arg, void *page, uint64_t off)
{
	if (off == 7 * PAGE)
		return -EIO;
	(*(int *)arg)++;
	for (size_t i = 0; i < PAGE / 8; i++)
		((uint64_t *)page)[i] = off + i;
	return 0;
}

TEST(a_generator_computes_what_is_looked_at)
{
	int n = 0;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	fl_store *g = fl_generator_create(fill_page, &n, 5 * PAGE + 100);
	uint64_t p = map_store(s, g, 16 * PAGE, PROT_READ, MAP_SHARED, 0);

	(void)*state;
	assert_int_equal(n, 0);
	assert_int_equal(load(c, p + 3 * PAGE + 16), 3 * PAGE + 2);
	assert_int_equal(load(c, p + 5 * PAGE + 8), 5 * PAGE + 1);
	assert_int_equal(load(c, p + 5 * PAGE + 104), 0); /* behind the end */
	load_fails(c, p + 6 * PAGE, SIGBUS, BUS_ADRERR);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, g, 0) == MAP_FAILED, EACCES);
	assert_fails(!fl_generator_create(NULL, NULL, PAGE), EINVAL);
	fl_store_put(g);
	g = fl_generator_create(fill_page, &n, 16 * PAGE);
	p = map_store(s, g, 16 * PAGE, RW, MAP_PRIVATE, 0);
	load_fails(c, p + 7 * PAGE, SIGBUS, BUS_ADRERR);
	store(c, p + 6 * PAGE, 1);
	assert_int_equal(load(c, p + 6 * PAGE + 8), 6 * PAGE + 1);
	assert_int_equal(load(c, p + 8 * PAGE + 8), 8 * PAGE + 1);
	fl_store_put(g);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* ---- Sight ---- */

TEST(walk_and_dump_show_the_tables)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_at(s, 0x10000000, 4 * PAGE, RW, ANON), q = map_fd(s, f->fd, MIB, PROT_READ, MAP_SHARED, 16 * PAGE);
	struct fl_walk w;

	poke(s, p, 1);
	peek(s, p + PAGE);
	peek(s, q + PAGE);
	w = walk(s, p);
	assert_int_equal(w.count, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(w.level[i].level, 4 - i);
		assert_int_equal(w.level[i].index, p >> (39 - 9 * i) & 511);
		assert_true(w.level[i].entry & FL_PTE_PRESENT);
	}
	assert_int_equal(w.mappings, 1);
	w = walk(s, q + PAGE);
	assert_string_equal(w.page, "file");
	assert_int_equal(w.where, 17 * PAGE);
	assert_int_equal(w.mappings, 0);
	assert_true(walk(s, 0x7000000000).count < 4);
	child = fork_space(s);
	assert_int_equal(walk(child, p).mappings, 2);
	check_dump(child, FL_DUMP_PAGES, "private");
	check_dump(child, FL_DUMP_PAGES, "2 mappings");
	check_dump(s, FL_DUMP_PAGES, "file at 11000");
	check_dump(s, FL_DUMP_PAGES, "zero page");
	check_dump(s, FL_DUMP_MAPS, "10000000-10004000 rw-p");
	check_dump(s, FL_DUMP_MAPS, f->path);
	assert_fails(fl_space_dump(s, 1, 2), EINVAL);
	assert_fails(fl_space_dump(s, -1, FL_DUMP_MAPS), EBADF);
	assert_fails(fl_space_dump(s, -1, FL_DUMP_PAGES), EBADF);
	assert_fails(fl_space_walk(s, p, NULL), EINVAL);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(smaps_counts_what_is_shared)
{
	fl_space *s = new_space(NULL), *child;
	uint64_t p = map_anon(s, 8);
	char text[4096] = "";
	FILE *f = tmpfile();

	(void)*state;
	for (uint64_t i = 0; i < 4; i++)
		poke(s, p + i * PAGE, 1);
	child = fork_space(s);
	poke(child, p, 2);
	assert_int_equal(fl_space_smaps(child, fileno(f)), 0);
	assert_true(pread(fileno(f), text, sizeof text - 1, 0) > 0);
	assert_non_null(strstr(text, "Rss:                  16 kB"));
	assert_non_null(strstr(text, "Pss:                  10 kB"));
	assert_non_null(strstr(text, "Shared_Dirty:         12 kB"));
	assert_non_null(strstr(text, "Private_Dirty:         4 kB"));
	fclose(f);
	assert_int_equal(fl_space_destroy(child), 0);
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
		RUN(memory_reads_as_zeros_from_one_page_until_it_is_written),
		RUN(accessed_and_dirty_bits_are_set_by_accesses),
		RUN(private_pages_of_a_file_are_copied_by_the_first_write),
		RUN(swap_holds_what_the_budget_cannot),
		RUN(shared_mappings_of_two_spaces_are_one_memory),
		RUN(msync_and_the_last_unmapping_write_back),
		RUN(pwrite_and_pread_agree_with_mappings),
		RUN(a_file_that_is_cut_takes_its_private_copies_along),
		RUN(a_file_is_in_one_family_of_spaces_at_a_time),
		RUN(mmap_refuses_what_linux_refuses),
		RUN(files_in_memory_are_files_like_others),
		RUN(mmap2_counts_its_offset_in_4096_bytes),
		RUN(fork_shares_pages_until_one_side_writes),
		RUN(fork_copies_mappings_rights_and_the_heap),
		RUN(fork_obeys_dontfork_and_wipeonfork_and_drops_locks),
		RUN(fork_shares_pages_in_swap_too),
		RUN(a_chain_of_forks_keeps_every_page_apart),
		RUN(exit_gives_back_tables_slots_and_frames),
		RUN(fork_refuses_while_a_private_page_is_pinned),
		RUN(copies_that_children_make_of_locked_pages_can_leave_memory),
		RUN(a_page_that_was_given_up_by_madv_free_is_the_childs_as_it_was_or_zeros),
		RUN(a_stack_grows_to_its_limit),
		RUN(a_stack_keeps_its_distance),
		RUN(the_mapping_next_to_a_stack_decides_about_its_distance),
		RUN(no_place_is_chosen_close_below_a_stack),
		RUN(brk_is_the_system_call),
		RUN(mremap_grows_in_place_moves_and_shrinks),
		RUN(mremap_to_a_fixed_place_replaces_what_is_there),
		RUN(mremap_dontunmap_leaves_an_empty_mapping),
		RUN(mprotect_takes_away_at_once_and_gives_with_the_next_access),
		RUN(fetch_needs_the_right_to_execute),
		RUN(mprotect_does_not_give_what_the_descriptor_does_not),
		RUN(a_sealed_mapping_stays),
		RUN(locked_pages_stay_in_memory),
		RUN(mincore_says_what_is_there),
		RUN(dontneed_forgets_private_pages_and_keeps_those_of_files),
		RUN(free_pages_go_under_pressure_unless_they_are_written_again),
		RUN(pageout_takes_pages_out_and_willneed_brings_them_in),
		RUN(populate_makes_faults_in_advance),
		RUN(guards_are_faults_until_they_are_removed),
		RUN(remove_makes_a_hole_in_the_file),
		RUN(translate_gives_the_hosts_address_until_release),
		RUN(what_is_written_by_a_translated_address_is_not_lost),
		RUN(a_pinned_page_outlives_its_mapping_and_its_place_in_the_file),
		RUN(half_of_the_budget_can_be_pinned),
		RUN(a_copy_on_write_leaves_the_pinned_page_to_its_pin),
		RUN(loads_and_stores_of_all_sizes_at_any_place),
		RUN(long_reads_and_writes_cross_pages),
		RUN(an_access_stops_at_the_first_byte_that_fails),
		RUN(compare_and_swap_stores_when_the_expected_is_there),
		RUN(strings_are_read_up_to_their_end_and_no_further),
		RUN(on_fault_may_mend_what_fails),
		RUN(several_cpus_of_one_thread_agree),
		RUN(a_store_is_read_cached_and_written_back),
		RUN(a_store_that_fails_raises_sigbus_and_fails_msync),
		RUN(a_store_without_write_is_for_reading),
		RUN(offsets_beyond_4_pib_are_refused),
		RUN(stores_without_what_is_needed_are_refused),
		RUN(a_device_shows_memory_of_its_own),
		RUN(what_the_store_takes_away_mprotect_does_not_give),
		RUN(a_ring_wraps_and_is_one_memory_for_all),
		RUN(a_generator_computes_what_is_looked_at),
		RUN(walk_and_dump_show_the_tables),
		RUN(smaps_counts_what_is_shared),
		RUN(a_cpu_may_outlive_its_space),
		RUN(fl_exit_ends_spaces_that_are_left),
		RUN(a_cpu_that_outlives_fl_exit_costs_the_next_life_nothing),
		RUN(a_child_of_fork_has_no_soft_spaces_and_may_make_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
