/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads ahead of the program, and fl_prefetch(): what is read, what is not, and what happens to reads in flight when the file, the
 * mapping or the process changes. With O_DIRECT they are in flight; without it those of fl_prefetch() are the kernel's, on their way to its page cache.
 */
#include <sys/stat.h>
#include <sys/uio.h>

#include "harness.h"

#define PAGE 4096UL
#define PAGES (PATTERN_BYTES / PAGE)

/* Of the tests that are run in both ways. */
static int reads = FL_DIRECT_ON;

/* Again, whatever the environment says. */
static void start_by(uint64_t budget, int direct)
{
	struct fl_options o = {.size = sizeof o, .budget = budget, .direct = direct};

	assert_int_equal(fl_exit(), 0);
	assert_int_equal(fl_init(&o), 0);
}

static void start(uint64_t budget)
{
	start_by(budget, reads);
}

/* Without O_DIRECT, with errors or delays in the store. */
static void start_injected(const char *rules)
{
	assert_int_equal(setenv("FAULTLINE_INJECT", rules, 1), 0);
	start_by(BUDGET, FL_DIRECT_OFF);
	unsetenv("FAULTLINE_INJECT");
}

static void unmap(unsigned char *p)
{
	assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
}

static struct fl_stats stats(void)
{
	struct fl_stats s = {.size = sizeof s};

	assert_int_equal(fl_stats(&s), 0);
	return s;
}

static void check_page(const volatile unsigned char *p, size_t page)
{
	const volatile uint64_t *words = (const volatile uint64_t *)(p + page * PAGE);

	for (size_t i = 0; i < PAGE / 8; i += 73)
		assert_true(words[i] == pattern(page * (PAGE / 8) + i));
}

/* In steps from one page to another; how many faults that took. */
static uint64_t walk_pages(const unsigned char *p, size_t from, size_t n, long step)
{
	uint64_t before = stats().faults;

	for (size_t i = 0; i < n; i++)
		check_page(p, from + i * (size_t)step);
	return stats().faults - before;
}

static size_t count_resident(unsigned char *p, size_t pages)
{
	static unsigned char vec[PAGES];
	size_t n = 0;

	assert_int_equal(fl_mincore(p, pages * PAGE, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

/* Where what is in memory may have to be mapped, page by page. */
static bool by_sigsegv(void)
{
	const char *faults = getenv("FAULTLINE_FAULTS");

	return faults && !strcmp(faults, "sigsegv");
}

static unsigned char *map_whole(struct fixture *f, int prot, int flags)
{
	return (unsigned char *)map_file(f, prot, flags);
}

TEST(a_scan_sees_the_file_and_reads_it_once)
{
	unsigned char *p = map_whole(*state, PROT_READ, MAP_SHARED);

	assert_true(walk_pages(p, 0, PAGES, 1) < PAGES / 3);
	assert_true(stats().read_bytes <= PATTERN_BYTES + PATTERN_BYTES / 64); /* a page may leave before it is used */
	assert_true(stats().peak_bytes <= BUDGET);
	unmap(p);
}

TEST(a_scan_of_a_private_mapping)
{
	unsigned char *p = map_whole(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	assert_true(walk_pages(p, 0, PAGES, 1) < PAGES / 2);
	assert_true(stats().read_bytes <= PATTERN_BYTES + PATTERN_BYTES / 64); /* a page may leave before it is used */
	unmap(p);
}

static void scan_backwards(struct fixture *f, int direct)
{
	unsigned char *p;
	uint64_t faults;

	start_by(BUDGET, direct);
	p = map_whole(f, PROT_READ, MAP_SHARED);
	faults = walk_pages(p, PAGES - 1, PAGES, -1);
	assert_true(faults < PAGES / 3);
	assert_true(stats().read_bytes <= PATTERN_BYTES + PATTERN_BYTES / 64); /* a page may leave before it is used */
	unmap(p);
}

TEST(a_scan_backwards)
{
	scan_backwards(*state, FL_DIRECT_ON);
	scan_backwards(*state, FL_DIRECT_OFF);
}

static void walk_in_strides(struct fixture *f, int direct)
{
	unsigned char *p;

	start_by(BUDGET, direct);
	p = map_whole(f, PROT_READ, MAP_SHARED);
	walk_pages(p, 3, PAGES / 17, 17);
	assert_true(stats().pages_read_ahead > PAGES / 17 / 2);
	assert_true(stats().read_bytes <= (PAGES / 17 + 40) * PAGE);
	walk_pages(p, PAGES - 1, 100, -9);
	assert_true(stats().read_bytes <= (PAGES / 17 + 100 + 80) * PAGE);
	unmap(p);
}

TEST(a_walk_in_strides_reads_what_it_uses)
{
	walk_in_strides(*state, FL_DIRECT_ON);
	walk_in_strides(*state, FL_DIRECT_OFF);
}

/* Backwards over pages of which the program has changed some: those stay the mapping's own. */
TEST(a_scan_backwards_over_private_copies)
{
	volatile unsigned char *p;

	start_by(BUDGET, FL_DIRECT_OFF);
	p = map_whole(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (size_t i = 0; i < PAGES; i += 61)
		p[i * PAGE + 1] = 0x55;
	for (size_t i = PAGES; i-- > 0;) {
		if (i % 61)
			check_page(p, i);
		else
			assert_int_equal(p[i * PAGE + 1], 0x55);
	}
	unmap((unsigned char *)p);
}

#define PIECE 32

/* Threads that take the pieces of a file in turn, as those do that multiply by a matrix: here by one thread, a page of each at a time. */
static void walk_pieces(unsigned char *p, size_t threads)
{
	for (size_t from = 0; from < PAGES; from += threads * PIECE)
		for (size_t i = 0; i < PIECE; i++)
			for (size_t t = 0; t < threads; t++)
				check_page(p, from + t * PIECE + i);
}

/*
 * The fewest reads of a round but the first: what the policy keeps lies among what is to be read then. A fault is one of them: whoever serves it, the
 * program goes on when all that was read is mapped, and the stream knows of it.
 */
static uint64_t reads_of_a_round(struct fixture *f, size_t threads)
{
	uint64_t least = PAGES;
	unsigned char *p;

	start_by(4 << 20, FL_DIRECT_OFF);
	p = map_whole(f, PROT_READ, MAP_SHARED);
	walk_pieces(p, threads);
	for (size_t round = 0; round < 5; round++) {
		uint64_t before = stats().reads, faults = stats().faults, reads;

		walk_pieces(p, threads);
		reads = stats().reads - before;
		assert_true(stats().faults - faults <= reads + 8 || by_sigsegv());
		least = reads < least ? reads : least;
	}
	unmap(p);
	return least;
}

TEST(pieces_that_are_read_in_turn)
{
	uint64_t alone = reads_of_a_round(*state, 1);

	assert_true(reads_of_a_round(*state, 2) < alone * 3 / 2);
	assert_true(reads_of_a_round(*state, 4) < alone * 2);
}

TEST(random_reads_read_nothing_more)
{
	unsigned char *p;
	uint64_t x = 88172645463325252ull;

	start(BUDGET);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	for (int i = 0; i < 3000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		check_page(p, x % PAGES);
	}
	assert_true(stats().read_bytes <= stats().faults * PAGE + 100 * PAGE);
	unmap(p);
}

TEST(streams_that_are_left_do_not_hold_memory)
{
	unsigned char *p;

	start(1 << 20);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < 30; i++)
		walk_pages(p, i * 67, 60, 1);
	for (size_t i = 0; i < PAGES; i += 5)
		check_page(p, i * 1031 % PAGES);
	assert_true(stats().peak_bytes <= 1 << 20);
	unmap(p);
}

TEST(prefetch_brings_pages_in)
{
	struct fl_range r[40];
	unsigned char *p;
	uint64_t faults;

	start(BUDGET);
	p = map_whole(*state, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 40; i++)
		r[i] = (struct fl_range){.addr = p + i * 50 * PAGE + 123, .length = 10};
	assert_int_equal(fl_prefetch(r, 40), 0);
	faults = walk_pages(p, 0, 40, 50);
	assert_true(faults <= 40);
	assert_int_equal(stats().read_bytes, 40 * PAGE);
	assert_int_equal(count_resident(p, PAGES), 40);
	p[50 * PAGE + 1] = 7; /* a page that came in so is clean, and noticed when it is stored to */
	assert_int_equal(fl_msync(p, PATTERN_BYTES, MS_SYNC), 0);
	assert_int_equal(stats().writebacks, 1);
	unmap(p);
}

TEST(prefetch_of_many_ranges_at_once)
{
	static struct fl_range r[400];
	unsigned char *p;

	start(4 << 20);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < 400; i++)
		r[i] = (struct fl_range){.addr = p + i * 5 * PAGE, .length = 2 * PAGE};
	assert_int_equal(fl_prefetch(r, 400), 0);
	for (size_t i = 0; i < 400; i++) {
		check_page(p, i * 5);
		check_page(p, i * 5 + 1);
	}
	assert_int_equal(stats().read_bytes, 800 * PAGE);
	assert_true(stats().peak_bytes <= 4 << 20);
	unmap(p);
}

/* In two parts of a mapping in turn, some twice or empty; over the end of one, where nobody has mapped anything. Each page is read once. */
TEST(prefetch_of_what_lies_scattered)
{
	static struct fl_range r[300];
	unsigned char *p;

	start(BUDGET);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_RANDOM), 0);
	assert_int_equal(fl_madvise(p + PATTERN_BYTES / 2, PATTERN_BYTES / 2, MADV_DONTFORK), 0); /* two parts */
	for (size_t i = 0; i < 300; i++) {
		r[i] = (struct fl_range){.addr = p + i / 2 * 7 * PAGE + i % 2 * 9, .length = 1 + i % 2 * 40};
		if (i % 50 == 20)
			r[i].addr = p + (PAGES / 2 + 100 + i) * PAGE;
		if (i % 50 == 30)
			r[i].length = 0;
	}
	assert_int_equal(fl_prefetch(r, 300), 0);
	for (size_t i = 0; i < 300; i++)
		check_page(p, i % 50 == 20 ? PAGES / 2 + 100 + i : i / 2 * 7);
	assert_int_equal(stats().read_bytes, (150 + 6) * PAGE);
	assert_int_equal(fl_munmap(p + PAGES / 2 * PAGE, PAGE), 0);
	r[100] = (struct fl_range){.addr = p + PAGES / 2 * PAGE - 1, .length = 2};
	assert_fails(fl_prefetch(r + 90, 20), ENOMEM);
	check_page(p, PAGES / 2 - 1);
	assert_int_equal(stats().read_bytes, (150 + 6 + 1) * PAGE);
	unmap(p);
}

/* The list lies on the page that it begins with, and on others that it names. */
TEST(prefetch_by_a_list_in_the_mapping)
{
	struct fl_range *r;
	unsigned char *p;

	start(BUDGET);
	p = map_whole(*state, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (size_t turn = 0; turn < 20; turn++) {
		r = (struct fl_range *)(p + turn * 90 * PAGE);
		for (size_t i = 0; i < 600; i++)
			r[i] = (struct fl_range){.addr = (char *)r + i % 80 * PAGE, .length = 8};
		assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_PAGEOUT), 0);
		assert_int_equal(fl_prefetch(r, 600), 0);
		check_page((unsigned char *)p, turn * 90 + 70);
	}
	unmap(p);
}

TEST(prefetch_says_what_is_wrong)
{
	unsigned char *p = map_whole(*state, PROT_READ, MAP_SHARED);
	struct fl_range wraps = {.addr = p, .length = SIZE_MAX}, holes[] = {{p, PAGE}, {p + PATTERN_BYTES, PAGE}, {p + 8 * PAGE, 1}};

	assert_int_equal(fl_prefetch(NULL, 0), 0);
	assert_fails(fl_prefetch(&wraps, 1), EINVAL);
	assert_int_equal(fl_munmap(p + PATTERN_BYTES - PAGE, PAGE), 0);
	holes[1].addr = p + PATTERN_BYTES - PAGE;
	assert_fails(fl_prefetch(holes, 3), ENOMEM);
	check_page(p, 8);
	assert_int_equal(count_resident(p, PAGES - 1), 2);
	unmap(p);
}

/* More than there is memory for: the first pages may be gone again, and all read right. */
TEST(prefetch_of_more_than_the_budget)
{
	struct fl_range all = {.length = PATTERN_BYTES};
	unsigned char *p;

	start(1 << 20);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	all.addr = p;
	assert_int_equal(fl_prefetch(&all, 1), 0);
	walk_pages(p, 0, PAGES, 1);
	assert_true(stats().peak_bytes <= 1 << 20);
	unmap(p);
}

TEST(a_mapping_goes_while_its_pages_are_on_their_way)
{
	struct fl_range all = {.length = 64 * PAGE};
	unsigned char *p;

	start(BUDGET);
	for (size_t i = 0; i < 50; i++) {
		p = map_whole(*state, PROT_READ, MAP_SHARED);
		all.addr = p + i * 8 * PAGE;
		assert_int_equal(fl_prefetch(&all, 1), 0);
		assert_int_equal(i % 2 ? fl_munmap(p, PATTERN_BYTES) : fl_munmap(p + i * 8 * PAGE, 32 * PAGE), 0);
		if (i % 2)
			continue;
		check_page(p, i * 8 + 40);
		assert_int_equal(fl_munmap(p, PATTERN_BYTES), 0);
	}
}

TEST(a_file_is_cut_while_its_pages_are_on_their_way)
{
	struct fl_range all = {.length = PATTERN_BYTES / 4};
	struct fixture *f;
	unsigned char *p;

	start(BUDGET);
	f = *state;
	p = map_whole(f, PROT_READ, MAP_SHARED);
	all.addr = p;
	for (size_t n = 200; n > 20; n -= 20) {
		assert_int_equal(fl_prefetch(&all, 1), 0);
		assert_int_equal(fl_ftruncate(f->fd, (off_t)(n * PAGE - 100)), 0);
		check_page(p, n - 2);
		assert_int_equal(p[n * PAGE - 1], 0);
		assert_signal(SIGBUS, BUS_ADRERR, (char *)p + n * PAGE, access_read);
	}
	unmap(p);
}

TEST(a_write_is_seen_whatever_is_on_its_way)
{
	struct fl_range all = {.length = PATTERN_BYTES / 8};
	struct fixture *f;
	unsigned char *p, bytes[PAGE];

	start(BUDGET);
	f = *state;
	p = map_whole(f, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < 100; i++) {
		all.addr = p + i % 8 * (PATTERN_BYTES / 8);
		memset(bytes, (int)i, sizeof bytes);
		assert_int_equal(fl_prefetch(&all, 1), 0);
		assert_int_equal(fl_pwrite(f->fd, bytes, PAGE, (off_t)((i % 8 * PAGES / 8 + i) * PAGE)), PAGE);
		assert_int_equal(p[(i % 8 * PAGES / 8 + i) * PAGE], (unsigned char)i);
		assert_int_equal(p[(i % 8 * PAGES / 8 + i) * PAGE + PAGE - 1], (unsigned char)i);
	}
	unmap(p);
}

/* By another descriptor, of which Faultline does not hear: what is written after may not make the file longer again. */
TEST(a_file_that_others_cut_stays_cut)
{
	struct fixture *f;
	struct stat st;
	unsigned char *p;

	start(BUDGET);
	f = *state;
	p = map_whole(f, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 40; i++)
		p[(100 + i) * PAGE] = 1;
	assert_int_equal(ftruncate(f->fd, (off_t)(120 * PAGE)), 0);
	fl_msync(p, PATTERN_BYTES, MS_SYNC);
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_size, 120 * PAGE);
	unmap(p);
}

static size_t count_lines(const char *what)
{
	char line[512];
	size_t n = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof line, maps))
		n += strstr(line, what) != NULL;
	if (maps)
		fclose(maps);
	return n;
}

/* The kernel's mapping that goes with asynchronous I/O: each process has its own, and none of its ancestors'. */
TEST(children_do_not_collect_mappings)
{
	size_t before;
	int status;
	pid_t pid;

	start(BUDGET);
	before = count_lines("[aio]");
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid)
			_exit(count_lines("[aio]") != before);
		_exit(waitpid(pid, &status, 0) != pid || status != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)*state;
}

TEST(a_child_has_no_reads_of_its_parent)
{
	struct fl_range all = {.length = PATTERN_BYTES / 8};
	unsigned char *p;
	int status;
	pid_t pid;

	start(BUDGET);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < 8; i++) {
		all.addr = p + i * (PATTERN_BYTES / 8);
		assert_int_equal(fl_prefetch(&all, 1), 0);
		pid = fork();
		if (!pid) {
			walk_pages(p, i * PAGES / 8, PAGES / 8, 1);
			_exit(fl_prefetch(&all, 1) != 0);
		}
		walk_pages(p, i * PAGES / 8, PAGES / 8, 1);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	unmap(p);
}

/* The kernel moves the pages of a file to frames that several mappings can show, whatever is on its way to the old ones. */
TEST(frames_change_while_pages_are_on_their_way)
{
	struct fl_range all = {.length = PATTERN_BYTES / 8};
	unsigned char *p, *q;

	start(BUDGET);
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	all.addr = p;
	assert_int_equal(fl_prefetch(&all, 1), 0);
	q = map_whole(*state, PROT_READ, MAP_PRIVATE);
	walk_pages(p, 0, PAGES / 8, 1);
	walk_pages(q, 0, PAGES / 8, 1);
	all.addr = q + PATTERN_BYTES / 2;
	assert_int_equal(fl_prefetch(&all, 1), 0);
	walk_pages(q, PAGES / 2, PAGES / 8, 1);
	unmap(p);
	unmap(q);
}

/* What was read ahead and failed is read again by the access, which succeeds; what fails then is the access's SIGBUS. */
TEST(a_failed_read_ahead_is_nobodys_error)
{
	struct fl_range r = {.length = 4 * PAGE};
	const char *faults = getenv("FAULTLINE_FAULTS");
	unsigned char *p;

	assert_int_equal(setenv("FAULTLINE_IO", "deferred", 1), 0);
	start_injected("read:eio:1,read:short:3,read:eio:5:2");
	unsetenv("FAULTLINE_IO");
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	r.addr = p;
	assert_int_equal(fl_prefetch(&r, 1), 0);
	check_page(p, 0); /* the first read failed, this is the second */
	r.addr = p + 100 * PAGE;
	assert_int_equal(fl_prefetch(&r, 1), 0);
	check_page(p, 100); /* the third was short: half of the pages are there */
	check_page(p, 102);
	r.addr = p + 300 * PAGE;
	assert_int_equal(fl_prefetch(&r, 1), 0);
	if (!faults || strcmp(faults, "thread")) /* a thread that serves faults tries twice */
		assert_signal(SIGBUS, BUS_ADRERR, (char *)p + 300 * PAGE, access_read);
	check_page(p, 300);
	assert_int_equal(stats().read_errors, 1);
	unmap(p);
}

/* The same without O_DIRECT: the read is the store's, when the page is wanted, and it is the second that reads what the first could not. */
TEST(a_read_that_the_kernel_was_told_of_may_fail)
{
	struct fl_range r = {.length = 4 * PAGE};
	unsigned char *p;

	start_injected("read:eio:1,read:short:3");
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	r.addr = p;
	assert_int_equal(fl_prefetch(&r, 1), 0);
	assert_int_equal(count_resident(p, PAGES), 0);
	check_page(p, 0);
	r.addr = p + 100 * PAGE;
	assert_int_equal(fl_prefetch(&r, 1), 0);
	check_page(p, 100); /* the third was short: half of the pages are there */
	check_page(p, 102);
	assert_int_equal(stats().read_errors, 0);
	unmap(p);
}

/* A disk that takes ten milliseconds: what it is asked for takes that of who looks at it, and of nobody before. */
TEST(advice_does_not_wait_for_the_disk)
{
	struct fl_range r[8];
	unsigned char *p;

	start_injected("read:delay=10:1:0");
	p = map_whole(*state, PROT_READ, MAP_SHARED);
	for (size_t i = 0; i < 8; i++)
		r[i] = (struct fl_range){.addr = p + i * 50 * PAGE, .length = 1};
	assert_int_equal(fl_prefetch(r, 4), 0);
	for (size_t i = 4; i < 8; i++)
		assert_int_equal(fl_madvise(r[i].addr, PAGE, MADV_WILLNEED), 0);
	assert_int_equal(stats().read_bytes, 0);
	walk_pages(p, 0, 8, 50);
	assert_int_equal(stats().read_bytes, 8 * PAGE);
	unmap(p);
}

static bool can_read_without_waiting(int fd)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};

	return preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN;
}

/* Who asks for more finds what has come in. */
TEST(what_the_kernel_has_read_costs_no_fault)
{
	struct fixture *f;
	struct fl_range r[8];
	unsigned char *p;

	start_by(BUDGET, FL_DIRECT_OFF);
	f = *state;
	if (!can_read_without_waiting(f->fd)) {
		unmap(map_whole(f, PROT_READ, MAP_SHARED));
		skip();
	}
	p = map_whole(f, PROT_READ, MAP_SHARED);
	assert_int_equal(fl_madvise(p, PATTERN_BYTES, MADV_RANDOM), 0);
	for (size_t i = 0; i < 8; i++)
		r[i] = (struct fl_range){.addr = p + i * 50 * PAGE, .length = 1};
	for (size_t tries = 0; count_resident(p, PAGES) < 8 && tries < 10000; tries++) {
		assert_int_equal(fl_prefetch(r, 8), 0);
		usleep(1000);
	}
	assert_int_equal(count_resident(p, PAGES), 8);
	assert_true(walk_pages(p, 0, 8, 50) == 0 || by_sigsegv());
	assert_int_equal(stats().read_bytes, 8 * PAGE);
	unmap(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_scan_sees_the_file_and_reads_it_once),
		RUN(a_scan_of_a_private_mapping),
		RUN(a_scan_backwards),
		RUN(a_walk_in_strides_reads_what_it_uses),
		RUN(a_scan_backwards_over_private_copies),
		RUN(pieces_that_are_read_in_turn),
		RUN(random_reads_read_nothing_more),
		RUN(streams_that_are_left_do_not_hold_memory),
		RUN(prefetch_says_what_is_wrong),
		RUN(a_file_that_others_cut_stays_cut),
		RUN(children_do_not_collect_mappings),
		RUN(a_failed_read_ahead_is_nobodys_error),
		RUN(a_read_that_the_kernel_was_told_of_may_fail),
		RUN(advice_does_not_wait_for_the_disk),
		RUN(what_the_kernel_has_read_costs_no_fault),
	};
	const struct CMUnitTest prefetches[] = {
		RUN(prefetch_brings_pages_in),
		RUN(prefetch_of_many_ranges_at_once),
		RUN(prefetch_of_what_lies_scattered),
		RUN(prefetch_by_a_list_in_the_mapping),
		RUN(prefetch_of_more_than_the_budget),
		RUN(a_mapping_goes_while_its_pages_are_on_their_way),
		RUN(a_file_is_cut_while_its_pages_are_on_their_way),
		RUN(a_write_is_seen_whatever_is_on_its_way),
		RUN(a_child_has_no_reads_of_its_parent),
		RUN(frames_change_while_pages_are_on_their_way),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests_name("prefetch, O_DIRECT", prefetches, NULL, NULL);

	reads = FL_DIRECT_OFF;
	return failed + cmocka_run_group_tests_name("prefetch, the kernel's page cache", prefetches, NULL, NULL);
}
