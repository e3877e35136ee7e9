/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces: cpus, copies, pins, and what page tables show. */
#include "soft.h"

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

TEST(a_release_too_many_changes_nothing)
{
	fl_space *s = new_space(NULL);
	uint64_t p = map_anon(s, 2);
	char *host = fl_space_translate(s, p, FL_ACCESS_WRITE, NULL, NULL);

	(void)*state;
	assert_non_null(host);
	assert_int_equal(fl_space_release(s, host), 0);
	fl_space_release(s, host);
	fl_space_release(s, &host);
	fl_space_release(s, NULL);
	host = fl_space_translate(s, p, FL_ACCESS_WRITE, NULL, NULL);
	assert_non_null(host);
	assert_int_equal(fl_space_release(s, host), 0);
	assert_int_equal(fl_space_destroy(s), 0);
}

/* What one space has translated for reading keeps no relation of it from forking: nobody can write to the page. */
TEST(a_page_that_is_shared_and_read_by_another_space_does_not_refuse_fork)
{
	fl_space *s = new_space(NULL), *child, *other;
	uint64_t p = map_anon(s, 2);
	char *host;

	(void)*state;
	poke(s, p, 1);
	child = fork_space(s);
	host = fl_space_translate(child, p, FL_ACCESS_READ, NULL, NULL);
	assert_non_null(host);
	other = fork_space(s);
	assert_int_equal(fl_space_release(child, host), 0);
	assert_int_equal(fl_space_destroy(other), 0);
	assert_int_equal(fl_space_destroy(child), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(translate_gives_the_hosts_address_until_release),
		RUN(what_is_written_by_a_translated_address_is_not_lost),
		RUN(a_pinned_page_outlives_its_mapping_and_its_place_in_the_file),
		RUN(a_release_too_many_changes_nothing),
		RUN(a_page_that_is_shared_and_read_by_another_space_does_not_refuse_fork),
		RUN(half_of_the_budget_can_be_pinned),
		RUN(a_copy_on_write_leaves_the_pinned_page_to_its_pin),
		RUN(loads_and_stores_of_all_sizes_at_any_place),
		RUN(long_reads_and_writes_cross_pages),
		RUN(an_access_stops_at_the_first_byte_that_fails),
		RUN(compare_and_swap_stores_when_the_expected_is_there),
		RUN(strings_are_read_up_to_their_end_and_no_further),
		RUN(on_fault_may_mend_what_fails),
		RUN(several_cpus_of_one_thread_agree),
		RUN(walk_and_dump_show_the_tables),
		RUN(smaps_counts_what_is_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
