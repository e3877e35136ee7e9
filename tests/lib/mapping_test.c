/* SPDX-License-Identifier: Apache-2.0 */
/* What a mapping shows: contents, ends of files, sharing, privacy, errors and signals. */
#include "harness.h"
#include "memory.h"

/* AddressSanitizer keeps a page of its own for each place touched. */
#ifdef __SANITIZE_ADDRESS__
#define SHADOW_KIB 8192
#else
#define SHADOW_KIB 0
#endif

/* A page beyond the budget's reach is there again when it is asked for. */
TEST(reads_what_the_file_holds)
{
	uint64_t *p = map_file(*state, PROT_READ, MAP_SHARED);

	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < PATTERN_WORDS; i += 64)
			assert_int_equal(p[i], pattern(i));
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(shared_stores_reach_the_file)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), word;

	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		p[i] = ~pattern(i);
	assert_int_equal(fl_msync(p, PATTERN_BYTES, MS_SYNC), 0);
	for (size_t i = 0; i < PATTERN_WORDS; i += 512) {
		assert_int_equal(pread(f->fd, &word, 8, (off_t)i * 8), 8);
		assert_int_equal(word, ~pattern(i));
		assert_int_equal(p[i + 1], pattern(i + 1));
	}
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(stores_reach_the_file_by_munmap)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), word;

	p[12345] = 42;
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(pread(f->fd, &word, 8, 12345 * 8), 8);
	assert_int_equal(word, 42);
}

/* Four times as much is written as the budget holds: private pages go to swap and come back. */
TEST(private_stores_stay_private)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE), word;

	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		p[i] = ~pattern(i);
	for (size_t i = 0; i < PATTERN_WORDS; i += 512) {
		assert_int_equal(p[i], ~pattern(i));
		assert_int_equal(p[i + 1], pattern(i + 1));
		assert_int_equal(pread(f->fd, &word, 8, (off_t)i * 8), 8);
		assert_int_equal(word, pattern(i));
	}
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(two_mappings_of_a_file_are_one)
{
	uint64_t *a = map_file(*state, PROT_READ | PROT_WRITE, MAP_SHARED), *b = map_file(*state, PROT_READ, MAP_SHARED);

	for (size_t i = 0; i < PATTERN_WORDS; i += 2048) {
		assert_int_equal(b[i], pattern(i));
		a[i] = i;
		assert_int_equal(b[i], i);
	}
	assert_int_equal(fl_munmap(a, PATTERN_BYTES), 0);
	for (size_t i = 0; i < PATTERN_WORDS; i += 2048)
		assert_int_equal(b[i], i);
	assert_int_equal(fl_munmap(b, PATTERN_BYTES), 0);
}

TEST(any_page_aligned_offset)
{
	struct fixture *f = *state;

	for (off_t off = 0; off < (off_t)PATTERN_BYTES; off += 37 * 4096) {
		uint64_t *p = fl_mmap(NULL, 100, PROT_READ, MAP_PRIVATE, f->fd, off);

		assert_ptr_not_equal(p, MAP_FAILED);
		assert_int_equal(*p, pattern((size_t)off / 8));
		assert_int_equal(fl_munmap(p, 100), 0);
	}
	assert_ptr_equal(fl_mmap(NULL, 100, PROT_READ, MAP_PRIVATE, f->fd, 100), MAP_FAILED);
	assert_int_equal(errno, EINVAL);
}

TEST(the_mapping_outlives_close_and_unlink)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	close(f->fd);
	f->fd = -1;
	unlink(f->path);
	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		p[i] = i;
	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		assert_int_equal(p[i], i);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(past_the_end_of_the_file)
{
	struct fixture *f = *state;
	char *p;

	assert_int_equal(ftruncate(f->fd, 10000), 0);
	p = fl_mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	for (int i = 10000; i < 3 * 4096; i++)
		assert_int_equal(p[i], 0);
	p[10001] = 'x'; /* stays in memory, never in the file */
	assert_signal(SIGBUS, BUS_ADRERR, p + 3 * 4096, access_read);
	assert_signal(SIGBUS, BUS_ADRERR, p + 4 * 4096 + 7, access_write);
	assert_int_equal(fl_msync(p, 5 * 4096, MS_SYNC), 0);
	assert_int_equal(lseek(f->fd, 0, SEEK_END), 10000);
	assert_int_equal(fl_munmap(p, 5 * 4096), 0);
}

TEST(a_file_that_grows_becomes_accessible)
{
	struct fixture *f = *state;
	char *p;

	assert_int_equal(ftruncate(f->fd, 4096), 0);
	p = fl_mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, f->fd, 0);
	assert_signal(SIGBUS, BUS_ADRERR, p + 8192, access_read);
	assert_int_equal(pwrite(f->fd, "grown", 5, 8192), 5);
	assert_memory_equal(p + 8192, "grown", 5);
	assert_int_equal(p[4096], 0);
	assert_int_equal(fl_munmap(p, 1 << 20), 0);
}

TEST(a_file_cut_short_raises_sigbus)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[4096 * 3] = 'a';
	p[4096 * 2 + 100] = 'b';
	assert_int_equal(fl_ftruncate(f->fd, 4096 * 2 + 50), 0);
	assert_signal(SIGBUS, BUS_ADRERR, p + 4096 * 3, access_read);
	assert_int_equal(p[4096 * 2 + 100], 0);
	assert_int_equal(fl_ftruncate(f->fd, 4096 * 4), 0);
	assert_int_equal(p[4096 * 3], 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(private_copies_end_with_the_file_too)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		p[i] = 1;
	assert_int_equal(fl_ftruncate(f->fd, 4096 * 10), 0);
	assert_signal(SIGBUS, BUS_ADRERR, (char *)p + 4096 * 10, access_read);
	assert_signal(SIGBUS, BUS_ADRERR, (char *)p + 4096 * 1000, access_write);
	assert_int_equal(p[512 * 9], 1);
	assert_int_equal(fl_ftruncate(f->fd, PATTERN_BYTES), 0);
	assert_int_equal(p[512 * 10], 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(protection_raises_sigsegv)
{
	char *p = (char *)map_file(*state, PROT_READ, MAP_PRIVATE);

	assert_signal(SIGSEGV, SEGV_ACCERR, p + 5, access_write);
	assert_int_equal(fl_mprotect(p, 4096, PROT_NONE), 0);
	assert_signal(SIGSEGV, SEGV_ACCERR, p + 5, access_read);
	assert_int_equal(fl_mprotect(p, 8192, PROT_READ | PROT_WRITE), 0);
	p[5] = 1;
	p[5000] = 2;
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_signal(SIGSEGV, SEGV_MAPERR, p + 5, access_read);
}

TEST(a_read_only_file_cannot_be_made_writable)
{
	struct fixture *f = *state;
	int ro = open(f->path, O_RDONLY);
	void *p = fl_mmap(NULL, 8192, PROT_READ, MAP_SHARED, ro, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(fl_mprotect(p, 4096, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	assert_ptr_equal(fl_mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), MAP_FAILED);
	assert_int_equal(errno, EACCES);
	assert_int_equal(fl_munmap(p, 8192), 0);
	close(ro);
}

TEST(partial_munmap_leaves_the_rest)
{
	char *p = (char *)map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	for (size_t i = 0; i < 16; i++)
		p[i * 4096] = (char)i;
	assert_int_equal(fl_munmap(p + 4 * 4096, 4 * 4096), 0);
	for (size_t i = 0; i < 16; i++)
		if (i >= 4 && i < 8)
			assert_signal(SIGSEGV, SEGV_MAPERR, p + i * 4096, access_read);
		else
			assert_int_equal(p[i * 4096], i);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(mmap_fixed_replaces_what_is_there)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), *q;

	p[512] = 99;
	q = fl_mmap(p + 512, 8192, PROT_READ, MAP_PRIVATE | MAP_FIXED, f->fd, 40960);
	assert_ptr_equal(q, p + 512);
	assert_int_equal(q[0], pattern(5120));
	assert_int_equal(p[0], pattern(0));
	assert_int_equal(p[512 * 3], pattern(512 * 3));
	assert_ptr_equal(fl_mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, f->fd, 0), MAP_FAILED);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

/* As free(3) does with memory that a file was mapped over: the kernel may give the place to a new mapping. */
TEST(what_was_unmapped_past_us_is_forgotten)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE), *q;

	p[512] = 98;
	p[512 * 4] = 99;
	assert_int_equal(munmap(p + 512, 8192), 0);
	q = fl_mmap(p + 512, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->fd, 40960);
	assert_ptr_equal(q, p + 512);
	assert_int_equal(q[0], pattern(5120));
	q[1] = 100;
	for (size_t i = 512 * 5; i < PATTERN_WORDS; i += 512) /* more than memory has room for */
		assert_int_equal(p[i], pattern(i));
	assert_int_equal(q[0], pattern(5120));
	assert_int_equal(q[1], 100);
	assert_int_equal(p[0], pattern(0));
	assert_int_equal(p[512 * 3], pattern(512 * 3));
	assert_int_equal(p[512 * 4], 99);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(mremap_moves_and_grows)
{
	struct fixture *f = *state;

	for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
		uint64_t *p = fl_mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, flags, f->fd, 0), *q;
		void *block = mmap((char *)p + 16 * 4096, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		p[0] = 7;
		p[512 * 15] = 8;
		q = fl_mremap(p, 16 * 4096, 64 * 4096, MREMAP_MAYMOVE);
		assert_ptr_not_equal(q, MAP_FAILED);
		assert_int_equal(q[0], 7);
		assert_int_equal(q[512 * 15], 8);
		for (size_t i = 16; i < 64; i++)
			assert_int_equal(q[512 * i], pattern(512 * i));
		q[512 * 40] = 9;
		q = fl_mremap(q, 64 * 4096, 8 * 4096, 0);
		assert_int_equal(q[0], 7);
		assert_signal(SIGSEGV, SEGV_MAPERR, (char *)q + 8 * 4096, access_read);
		p = fl_mremap(q, 8 * 4096, 100 * 4096, MREMAP_MAYMOVE);
		assert_int_equal(p[512 * 40], flags == MAP_SHARED ? 9 : pattern(512 * 40));
		assert_int_equal(fl_munmap(p, 100 * 4096), 0);
		if (block != MAP_FAILED)
			munmap(block, 4096);
		assert_int_equal(pwrite(f->fd, &(uint64_t){pattern(512 * 40)}, 8, 512 * 40 * 8), 8);
		assert_int_equal(pwrite(f->fd, &(uint64_t){pattern(0)}, 8, 0), 8);
		assert_int_equal(pwrite(f->fd, &(uint64_t){pattern(512 * 15)}, 8, 512 * 15 * 8), 8);
	}
}

TEST(file_calls_see_the_mapping_and_are_seen)
{
	struct fixture *f = *state;
	uint64_t *p = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), word;

	p[1000] = 1;
	assert_int_equal(fl_pread(f->fd, &word, 8, 8000), 8);
	assert_int_equal(word, 1);
	word = 2;
	assert_int_equal(fl_pwrite(f->fd, &word, 8, 8008), 8);
	assert_int_equal(p[1001], 2);
	assert_int_equal(p[1000], 1);
	assert_int_equal(fl_pwrite(f->fd, p, 65536, 65536), 65536);
	assert_int_equal(p[65536 / 8 + 1001], 2);
	assert_int_equal(fl_pread(f->fd, p, 65536, 131072), 65536);
	assert_int_equal(p[0], pattern(131072 / 8));
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(pinned_memory_works_in_system_calls)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(fl_pin(p + 100, 8192, FL_PIN_READ), 0);
	assert_int_equal(write(pipe_fd[1], p + 100, 8192), 8192);
	assert_int_equal(fl_unpin(p + 100, 8192), 0);
	assert_int_equal(fl_pin(p + 100000, 8192, FL_PIN_WRITE), 0);
	assert_int_equal(read(pipe_fd[0], p + 100000, 8192), 8192);
	assert_int_equal(fl_unpin(p + 100000, 8192), 0);
	assert_memory_equal(p + 100, p + 100000, 8192);
	assert_int_equal(fl_pin(p, PATTERN_BYTES, FL_PIN_READ), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* However many pages come and go meanwhile, in more mappings than memory has pages for, and whatever protection it gets that it can be stored to. */
TEST(pinned_memory_stays_what_it_is)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), *others[3];
	const char text[] = "through a system call";
	int pipe_fd[2];

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(fl_pin(p + 100, 100, FL_PIN_WRITE), 0);
	for (int i = 0; i < 3; i++)
		others[i] = (char *)map_file(f, PROT_READ, MAP_SHARED);
	for (size_t at = 0; at < PATTERN_BYTES; at += 32 * 4096)
		for (int i = 0; i < 3; i++)
			for (size_t j = 0; j < 32 * 4096; j += 4096)
				access_read(others[i] + at + j);
	assert_int_equal(fl_mprotect(p, PATTERN_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	assert_int_equal(write(pipe_fd[1], text, sizeof text), sizeof text);
	assert_int_equal(read(pipe_fd[0], p + 100, sizeof text), sizeof text);
	assert_int_equal(fl_unpin(p + 100, 100), 0);
	assert_string_equal(p + 100, text);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fl_munmap(others[i], PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

TEST(mincore_tells_what_is_in_memory)
{
	char *p = (char *)map_file(*state, PROT_READ, MAP_SHARED);
	unsigned char vec[8] = {0};

	assert_int_equal(fl_mincore(p, 8 * 4096, vec), 0);
	assert_int_equal(vec[3] & 1, 0);
	access_read(p + 3 * 4096);
	assert_int_equal(fl_mincore(p, 8 * 4096, vec), 0);
	assert_int_equal(vec[3] & 1, 1);
	assert_int_equal(fl_mincore(p + 1, 4096, vec), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_mincore(p, 4096, vec), -1);
	assert_int_equal(errno, ENOMEM);
}

TEST(madvise_dontneed)
{
	uint64_t *s = map_file(*state, PROT_READ | PROT_WRITE, MAP_SHARED), *p = map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	s[0] = 1;
	p[0] = 2;
	assert_int_equal(fl_madvise(s, 4096, MADV_DONTNEED), 0);
	assert_int_equal(fl_madvise(p, 4096, MADV_DONTNEED), 0);
	assert_int_equal(s[0], 1);
	assert_int_equal(p[0], 1);
	assert_int_equal(fl_madvise(p, 4096, MADV_FREE), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fl_madvise(p, 4096, 12345), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fl_munmap(s, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

static int resident_pages(const unsigned char *vec, size_t n)
{
	int sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += vec[i] & 1;
	return sum;
}

/* A page that a thread of ours is not quite done with is passed over, as on Linux: so it is said again. */
TEST(madvise_pageout)
{
	uint64_t *p = map_file(*state, PROT_READ | PROT_WRITE, MAP_SHARED);
	unsigned char vec[16];

	for (size_t i = 0; i < 16; i++)
		p[i * 512] = i + 1;
	assert_int_equal(fl_madvise(p, 16 * 4096, MADV_COLD), 0);
	for (int turn = 0; turn < 1000; turn++) {
		assert_int_equal(fl_madvise(p + 512 * 4, 4 * 4096, MADV_PAGEOUT), 0);
		assert_int_equal(fl_mincore(p, 16 * 4096, vec), 0);
		if (resident_pages(vec, 16) <= 12)
			break;
		usleep(1000);
	}
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(vec[i] & 1, i < 4 || i >= 8);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(p[i * 512], i + 1);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

static uint64_t anonymous_kib(void)
{
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];

	while (fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* A file far larger than memory costs next to nothing to map, and no more than the budget to touch: asked of the kernel. */
TEST(a_huge_sparse_file_costs_little)
{
	struct fixture *f = *state;
	struct fl_stats st = {.size = sizeof st};
	uint64_t size = 15ULL << 40, before;
	char *p;

	if (ftruncate(f->fd, (off_t)size))
		skip_test(state);
	before = anonymous_kib();
	p = fl_mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, f->fd, 0);
	assert_true(anonymous_kib() - before < 256);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (uint64_t at = 0; at < size; at += size / 1000)
		assert_int_equal(p[at + 100000000] & 0, 0);
	assert_int_equal(fl_stats(&st), 0);
	assert_true(anonymous_kib() - before < (BUDGET >> 10) + SHADOW_KIB);
	assert_int_equal(fl_munmap(p, size), 0);
}

TEST(fork_keeps_private_and_shared_apart)
{
	struct fixture *f = *state;
	uint64_t *s = map_file(f, PROT_READ | PROT_WRITE, MAP_SHARED), *p = map_file(f, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int status;
	pid_t pid;

	for (size_t i = 0; i < PATTERN_WORDS; i += 512)
		p[i] = i + 1;
	s[0] = 5;
	pid = fork();
	if (pid == 0) {
		int bad = s[0] != 5 || s[100000] != pattern(100000);

		for (size_t i = 0; i < PATTERN_WORDS; i += 512)
			bad |= p[i] != i + 1 || p[i + 1] != pattern(i + 1);
		p[0] = 77;
		s[1] = 6;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[0], 1);
	assert_int_equal(s[1], 6);
	s[2] = 8;
	assert_int_equal(fl_munmap(s, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

TEST(arguments_that_cannot_be)
{
	struct fixture *f = *state;
	char *p = (char *)map_file(f, PROT_READ, MAP_SHARED);

	assert_fails(fl_mmap(NULL, 0, PROT_READ, MAP_SHARED, f->fd, 0) == MAP_FAILED, EINVAL);
	assert_fails(fl_mmap(NULL, 4096, PROT_READ, MAP_SHARED, -1, 0) == MAP_FAILED, EBADF);
	assert_fails(fl_mmap(NULL, 4096, PROT_READ, 0, f->fd, 0) == MAP_FAILED, EINVAL);
	assert_fails(fl_mmap(NULL, SIZE_MAX, PROT_READ, MAP_SHARED, f->fd, 0) == MAP_FAILED, ENOMEM);
	assert_fails(fl_mmap(NULL, 8192, PROT_READ, MAP_SHARED, f->fd, INT64_MAX & ~4095LL) == MAP_FAILED, EOVERFLOW);
	assert_fails(fl_mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, f->fd, 0) == MAP_FAILED, EOPNOTSUPP);
	assert_fails(fl_mmap(p + 1, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, f->fd, 0) == MAP_FAILED, EINVAL);
	assert_fails(fl_munmap(p + 1, 4096), EINVAL);
	assert_fails(fl_munmap(p, 0), EINVAL);
	assert_fails(fl_mprotect(p + 1, 4096, PROT_READ), EINVAL);
	assert_fails(fl_mprotect(p, PATTERN_BYTES + 4096, PROT_READ), ENOMEM);
	assert_fails(fl_msync(p + 1, 4096, MS_SYNC), EINVAL);
	assert_fails(fl_msync(p, 4096, MS_SYNC | MS_ASYNC), EINVAL);
	assert_fails(fl_msync(p, PATTERN_BYTES + 4096, MS_SYNC), ENOMEM);
	assert_fails(fl_mremap(p + 1, 4096, 4096, MREMAP_MAYMOVE) == MAP_FAILED, EINVAL);
	assert_fails(fl_mremap(p, 4096, 0, MREMAP_MAYMOVE) == MAP_FAILED, EINVAL);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_fails(fl_mremap(p, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED, EFAULT);
}

/* Where each page's protection is one of the kernel's mappings (faults by SIGSEGV), fewer are shown. */
TEST(the_process_has_nearly_all_mappings_that_it_may_have)
{
	long count = map_count_or_skip(state);
	uint64_t *p = map_file(*state, PROT_READ | PROT_WRITE, MAP_SHARED), *q = map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *area;

	area = use_up_mappings(count, 100);
	for (size_t i = 0; i < PATTERN_WORDS / 1024; i++) { /* every other page, in an order that leaves no runs */
		size_t at = i * 389 % (PATTERN_WORDS / 1024) * 1024;

		assert_int_equal(p[at], pattern(at));
		p[at + 1] = i;
		q[at + 512] = i;
	}
	for (size_t i = 0; i < PATTERN_WORDS / 1024; i++) {
		size_t at = i * 389 % (PATTERN_WORDS / 1024) * 1024;

		assert_int_equal(p[at + 1], i);
		assert_int_equal(q[at + 512], i);
		assert_int_equal(q[at + 513], pattern(at + 513));
	}
	assert_int_equal(munmap(area, (size_t)count * 4096), 0);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
}

/* What stays mapped as the kernel has refused to unmap it stays what it is: its pages leave memory, and come back. */
TEST(a_mapping_that_could_not_be_unmapped)
{
	long count = map_count_or_skip(state);
	uint64_t *p = map_file(*state, PROT_READ, MAP_SHARED), *q = map_file(*state, PROT_READ, MAP_SHARED);
	char *area;

	for (size_t i = 0; i < 64; i++)
		assert_int_equal(p[i * 512], pattern(i * 512));
	area = use_up_mappings(count, 0);
	assert_fails(fl_munmap(p + 32 * 512, 4096), ENOMEM);
	assert_fails(fl_mmap(p + 32 * 512, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED, ENOMEM);
	assert_int_equal(munmap(area, (size_t)count * 4096), 0);
	assert_int_equal(fl_madvise(q, PATTERN_BYTES, MADV_PAGEOUT), 0);
	assert_int_equal(p[32 * 512], pattern(32 * 512)); /* before a neighbour brings it in */
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(p[i * 512], pattern(i * 512));
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	assert_int_equal(fl_munmap(q, PATTERN_BYTES), 0);
}

/* Private pages that were made between pages of the file leave no mappings of their own behind. */
TEST(private_pages_do_not_divide_the_mapping_for_good)
{
	char *p = (char *)map_file(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	size_t before = count_mappings();

	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_RANDOM), 0);
	for (size_t at = 0; at + 4 * 4096 < PATTERN_BYTES; at += 2 * 4096) {
		access_read(p + at);
		access_read(p + at + 2 * 4096);
		access_write(p + at + 4096);
	}
	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_DONTNEED), 0);
	assert_in_range(count_mappings(), 1, before + 20);
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(reads_what_the_file_holds),
		RUN(shared_stores_reach_the_file),
		RUN(stores_reach_the_file_by_munmap),
		RUN(private_stores_stay_private),
		RUN(two_mappings_of_a_file_are_one),
		RUN(any_page_aligned_offset),
		RUN(the_mapping_outlives_close_and_unlink),
		RUN(past_the_end_of_the_file),
		RUN(a_file_that_grows_becomes_accessible),
		RUN(a_file_cut_short_raises_sigbus),
		RUN(private_copies_end_with_the_file_too),
		RUN(protection_raises_sigsegv),
		RUN(a_read_only_file_cannot_be_made_writable),
		RUN(partial_munmap_leaves_the_rest),
		RUN(mmap_fixed_replaces_what_is_there),
		RUN(what_was_unmapped_past_us_is_forgotten),
		RUN(mremap_moves_and_grows),
		RUN(file_calls_see_the_mapping_and_are_seen),
		RUN(pinned_memory_works_in_system_calls),
		RUN(pinned_memory_stays_what_it_is),
		RUN(mincore_tells_what_is_in_memory),
		RUN(madvise_dontneed),
		RUN(madvise_pageout),
		RUN(a_huge_sparse_file_costs_little),
		RUN(the_process_has_nearly_all_mappings_that_it_may_have),
		RUN(a_mapping_that_could_not_be_unmapped),
		RUN(private_pages_do_not_divide_the_mapping_for_good),
		RUN(fork_keeps_private_and_shared_apart),
		RUN(arguments_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
