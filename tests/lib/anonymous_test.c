/* SPDX-License-Identifier: Apache-2.0 */
/* Anonymous memory, private and shared: zeros until written, swapped when the budget is short, copied by fork. */
#include <sys/resource.h>

#include "harness.h"

#define PAGE 4096UL
#define BYTES (4 * BUDGET)
#define PAGES (BYTES / PAGE)

static unsigned char *map_anonymous(size_t bytes, int type)
{
	unsigned char *p = fl_mmap(NULL, bytes, PROT_READ | PROT_WRITE, type | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static unsigned char byte_of(size_t page)
{
	return (unsigned char)(page * 7 + 1);
}

static void fill_pages(unsigned char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		p[i * PAGE] = p[i * PAGE + PAGE - 1] = byte_of(i);
}

static size_t count_wrong(const unsigned char *p, size_t pages)
{
	size_t n = 0;

	for (size_t i = 0; i < pages; i++)
		n += p[i * PAGE] != byte_of(i) || p[i * PAGE + PAGE - 1] != byte_of(i) || p[i * PAGE + 1] != 0;
	return n;
}

static size_t count_nonzero(const unsigned char *p, size_t pages)
{
	size_t n = 0;

	for (size_t i = 0; i < pages; i++)
		n += p[i * PAGE] != 0;
	return n;
}

static void memory_larger_than_the_budget(int type)
{
	unsigned char *p = map_anonymous(BYTES, type);

	assert_int_equal(count_nonzero(p, PAGES), 0);
	fill_pages(p, PAGES);
	assert_int_equal(count_wrong(p, PAGES), 0);
	for (size_t i = 0; i < PAGES; i += 3)
		p[i * PAGE] = byte_of(i);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

TEST(private_memory_larger_than_the_budget)
{
	(void)state;
	memory_larger_than_the_budget(MAP_PRIVATE);
}

TEST(shared_memory_larger_than_the_budget)
{
	(void)state;
	memory_larger_than_the_budget(MAP_SHARED);
}

static uint64_t faults(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st.faults;
}

/* What comes back in order, either way, comes several pages at a time, also for a program that stores to each; in random order it comes alone. */
TEST(swap_comes_back_in_runs)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);
	uint64_t before;
	size_t wrong = 0;

	(void)state;
	fill_pages(p, PAGES);
	before = faults();
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_true(faults() - before < PAGES / 3);
	fill_pages(p, PAGES); /* what was only read is write-protected */
	before = faults();
	fill_pages(p, PAGES);
	assert_true(faults() - before < PAGES / 3);
	assert_int_equal(count_wrong(p, PAGES), 0);
	before = faults();
	for (size_t i = PAGES; i-- > 0;)
		wrong += p[i * PAGE] != byte_of(i);
	assert_int_equal(wrong, 0);
	assert_true(faults() - before < PAGES / 3);
	for (size_t i = 0, at = 0; i < PAGES; i++, at = (at + 2531) % PAGES)
		p[at * PAGE] = byte_of(at);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

/* Reading memory that was never written costs no swap. */
TEST(zeros_are_not_swapped)
{
	struct fl_stats st = {.size = sizeof st};
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(count_nonzero(p, PAGES), 0);
	assert_int_equal(fl_stats(&st), 0);
	assert_int_equal(st.swapped_bytes, 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

static int in_child(int (*fn)(unsigned char *p), unsigned char *p)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int check_and_overwrite(unsigned char *p)
{
	size_t wrong = count_wrong(p, PAGES);

	memset(p, 0, BYTES);
	return wrong != 0;
}

TEST(a_child_has_a_copy_of_private_memory)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);

	(void)state;
	fill_pages(p, PAGES);
	assert_int_equal(in_child(check_and_overwrite, p), 0);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

TEST(a_child_shares_shared_memory)
{
	unsigned char *p = map_anonymous(BYTES, MAP_SHARED);

	(void)state;
	fill_pages(p, PAGES);
	assert_int_equal(in_child(check_and_overwrite, p), 0);
	assert_int_equal(count_nonzero(p, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

static int is_wiped(unsigned char *p)
{
	return count_nonzero(p, PAGES / 2) != 0 || p[PAGES / 2 * PAGE] != byte_of(PAGES / 2);
}

TEST(wipe_on_fork)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);

	(void)state;
	fill_pages(p, PAGES);
	assert_int_equal(fl_madvise(p, BYTES / 2, MADV_WIPEONFORK), 0);
	assert_int_equal(in_child(is_wiped, p), 0);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(fl_madvise(p, BYTES / 2, MADV_KEEPONFORK), 0);
	assert_int_equal(in_child(check_and_overwrite, p), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

static int is_gone(unsigned char *p)
{
	unsigned char vec;

	return !(fl_mincore(p, PAGE, &vec) == -1 && errno == ENOMEM && mincore(p, PAGE, &vec) == -1 && errno == ENOMEM);
}

TEST(dont_fork)
{
	struct fixture *f = *state;
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);
	unsigned char *q = (unsigned char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	fill_pages(p, PAGES);
	assert_int_equal(fl_madvise(p, BYTES, MADV_DONTFORK), 0);
	assert_int_equal(fl_madvise(q, PATTERN_BYTES, MADV_DONTFORK), 0);
	q[5] = 77;
	assert_int_equal(in_child(is_gone, p), 0);
	assert_int_equal(in_child(is_gone, q), 0);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(q[5], 77);
	assert_int_equal(fl_munmap(p, BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
}

TEST(dontneed_makes_zeros)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);

	(void)state;
	fill_pages(p, PAGES);
	assert_int_equal(fl_madvise(p, BYTES, MADV_DONTNEED), 0);
	assert_int_equal(count_nonzero(p, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

/* What was freed may be gone or not; what is written after that stays. */
TEST(free_forgets_unless_written)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE);

	(void)state;
	fill_pages(p, PAGES);
	assert_int_equal(fl_madvise(p, BYTES, MADV_FREE), 0);
	for (size_t i = 0; i < PAGES; i += 2)
		p[i * PAGE + 1] = 5;
	for (size_t i = 0; i < PAGES; i++) {
		assert_true(p[i * PAGE] == byte_of(i) || p[i * PAGE] == 0);
		assert_int_equal(p[i * PAGE + 1], i % 2 ? 0 : 5);
	}
	assert_int_equal(fl_munmap(p, BYTES), 0);
}

TEST(moved_with_its_pages)
{
	unsigned char *p = map_anonymous(BYTES, MAP_PRIVATE), *q, *to = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	fill_pages(p, PAGES);
	q = fl_mremap(p, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_ptr_equal(q, to);
	assert_int_equal(count_wrong(q, PAGES), 0);
	p = fl_mremap(q, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(count_nonzero(q, PAGES), 0);
	assert_int_equal(count_wrong(p, PAGES), 0);
	fill_pages(q, PAGES);
	assert_int_equal(count_wrong(p, PAGES), 0);
	q = fl_mremap(q, BYTES, BYTES + 8 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(q, MAP_FAILED);
	assert_int_equal(count_wrong(q, PAGES), 0);
	assert_int_equal(count_nonzero(q + BYTES, 8), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
	assert_int_equal(fl_munmap(q, BYTES + 8 * PAGE), 0);
}

TEST(mapped_twice_by_an_old_size_of_zero)
{
	unsigned char *p = map_anonymous(BYTES, MAP_SHARED), *q;

	(void)state;
	q = fl_mremap(p, 0, BYTES, MREMAP_MAYMOVE);
	assert_ptr_not_equal(q, MAP_FAILED);
	fill_pages(p, PAGES);
	assert_int_equal(count_wrong(q, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
	assert_int_equal(count_wrong(q, PAGES), 0);
	assert_int_equal(fl_munmap(q, BYTES), 0);
}

TEST(dev_zero_is_anonymous_memory)
{
	int fd = open("/dev/zero", O_RDWR);
	unsigned char *p = fl_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	unsigned char *q = fl_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	close(fd);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ptr_not_equal(q, MAP_FAILED);
	fill_pages(p, PAGES);
	fill_pages(q, PAGES);
	assert_int_equal(count_wrong(p, PAGES), 0);
	assert_int_equal(count_wrong(q, PAGES), 0);
	assert_int_equal(fl_munmap(p, BYTES), 0);
	assert_int_equal(fl_munmap(q, BYTES), 0);
}

/* Files in memory are the kernel's to map: what one process stores, all see at once. */
TEST(a_memfd_is_mapped_by_the_kernel)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned char *p, byte;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)BYTES), 0);
	p = fl_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[5000] = 9;
	assert_int_equal(pread(fd, &byte, 1, 5000), 1);
	assert_int_equal(byte, 9);
	p = fl_mremap(p, BYTES, BYTES / 2, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(fl_munmap(p, BYTES / 2), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	p = fl_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_equal(p, MAP_FAILED);
	assert_int_equal(errno, EPERM);
	close(fd);
}

/* To the kernel this is several mappings, since protection had divided it when its first pages came: it moves and grows all the same. */
TEST(moved_in_pieces)
{
	unsigned char *p = map_anonymous(64 * PAGE, MAP_PRIVATE), *q,
		      *to = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	for (size_t i = 0; i < 64; i += 4)
		assert_int_equal(fl_mprotect(p + i * PAGE, 2 * PAGE, PROT_READ), 0);
	for (size_t i = 2; i < 64; i += 4)
		p[i * PAGE + 1] = p[(i + 1) * PAGE + 1] = 5;
	assert_int_equal(fl_mprotect(p, 64 * PAGE, PROT_READ | PROT_WRITE), 0);
	for (size_t i = 0; i < 64; i++)
		p[i * PAGE] = byte_of(i), p[i * PAGE + PAGE - 1] = byte_of(i), p[i * PAGE + 1] = 0;
	q = fl_mremap(p, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	assert_ptr_equal(q, to);
	assert_int_equal(count_wrong(q, 64), 0);
	p = fl_mremap(q, 64 * PAGE, 100 * PAGE, MREMAP_MAYMOVE);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(count_wrong(p, 64), 0);
	assert_int_equal(count_nonzero(p + 64 * PAGE, 36), 0);
	fill_pages(p, 100);
	assert_int_equal(count_wrong(p, 100), 0);
	assert_int_equal(fl_munmap(p, 100 * PAGE), 0);
}

static uint64_t mappings(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st.mappings;
}

/* Protection splits a mapping and puts it together again. */
TEST(neighbours_merge)
{
	unsigned char *p = map_anonymous(10 * PAGE, MAP_PRIVATE);
	unsigned char *q = fl_mmap(p + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)state;
	assert_ptr_equal(q, p + 3 * PAGE);
	assert_int_equal(mappings(), 1);
	assert_int_equal(fl_mprotect(p + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(mappings(), 3);
	assert_int_equal(fl_mprotect(p, 10 * PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(mappings(), 1);
	fill_pages(p, 10);
	assert_int_equal(fl_madvise(p + 4 * PAGE, PAGE, MADV_RANDOM), 0);
	assert_int_equal(mappings(), 3);
	assert_int_equal(fl_madvise(p, 10 * PAGE, MADV_NORMAL), 0);
	assert_int_equal(mappings(), 1);
	assert_int_equal(count_wrong(p, 10), 0);
	assert_int_equal(fl_munmap(p + 5 * PAGE, PAGE), 0);
	assert_int_equal(mappings(), 2);
	assert_int_equal(fl_munmap(p, 10 * PAGE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(private_memory_larger_than_the_budget),
		RUN(shared_memory_larger_than_the_budget),
		RUN(swap_comes_back_in_runs),
		RUN(zeros_are_not_swapped),
		RUN(a_child_has_a_copy_of_private_memory),
		RUN(a_child_shares_shared_memory),
		RUN(wipe_on_fork),
		RUN(dont_fork),
		RUN(dontneed_makes_zeros),
		RUN(free_forgets_unless_written),
		RUN(moved_with_its_pages),
		RUN(mapped_twice_by_an_old_size_of_zero),
		RUN(dev_zero_is_anonymous_memory),
		RUN(a_memfd_is_mapped_by_the_kernel),
		RUN(moved_in_pieces),
		RUN(neighbours_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
