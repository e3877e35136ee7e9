/* SPDX-License-Identifier: Apache-2.0 */
/* Soft spaces: private memory and files, and the calls on mappings. */
#include "soft.h"

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

/* ---- mremap ---- */

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

/* Pages of a locked mapping that were beyond the end of the file when it was locked: mprotect that changes nothing brings none in. */
TEST(mprotect_that_changes_nothing_copies_no_page)
{
	fl_space *s = new_space(NULL);
	struct fixture *f = *state;
	uint64_t p, word = 7;

	assert_int_equal(fl_ftruncate(f->fd, 0), 0);
	p = map_fd(s, f->fd, PAGE, RW, MAP_PRIVATE, 0);
	assert_fails(fl_space_mlock2(s, (void *)p, PAGE, 0) == -1, ENOMEM);
	assert_int_equal(fl_ftruncate(f->fd, PAGE), 0);
	assert_int_equal(protect(s, p, PAGE, RW), 0);
	assert_int_equal(fl_pwrite(f->fd, &word, sizeof word, 0), sizeof word);
	assert_int_equal(peek(s, p), 7);
	assert_int_equal(protect(s, p, PAGE, PROT_READ), 0);
	assert_int_equal(protect(s, p, PAGE, RW), 0);
	check_page(s, p, "private");
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

TEST(a_fixed_mapping_at_address_0_replaces_what_is_there)
{
	fl_space *s = new_space(NULL);

	(void)*state;
	assert_int_equal(map_at(s, 0, 2 * PAGE, RW, ANON | MAP_FIXED), 0);
	poke(s, 8, 7);
	assert_int_equal(map_at(s, 0, 2 * PAGE, RW, ANON | MAP_FIXED), 0);
	assert_int_equal(peek(s, 8), 0);
	assert_int_equal(stats().mappings, 1);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(mprotect_of_a_locked_private_mapping_copies_also_where_a_hole_follows)
{
	struct fixture *f = *state;
	fl_space *s = new_space(NULL);
	uint64_t shared = map_fd(s, f->fd, PAGE, RW, MAP_SHARED, 0), p = 0x10000000, was;

	assert_int_equal((uintptr_t)fl_space_mmap(s, (void *)p, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, f->fd, 0), p);
	assert_int_equal(fl_space_mlock2(s, (void *)p, PAGE, 0), 0);
	was = peek(s, p);
	assert_fails(protect(s, p, 2 * PAGE, RW), ENOMEM);
	poke(s, shared, was + 1);
	assert_int_equal(peek(s, p), was); /* its own since mprotect */
	assert_int_equal(fl_space_destroy(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		RUN(mprotect_that_changes_nothing_copies_no_page),
		RUN(guards_are_faults_until_they_are_removed),
		RUN(remove_makes_a_hole_in_the_file),
		RUN(a_fixed_mapping_at_address_0_replaces_what_is_there),
		RUN(mprotect_of_a_locked_private_mapping_copies_also_where_a_hole_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
