/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages: a scan of a file that may only be read has them, and nothing that a program does to a part of one shows anything else than what
 * is in the file. What the kernel says of the process's memory is asked, not what the engine counts.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "harness.h"
#include "memory.h"

#define MIB (1UL << 20)
#define HUGE (2 * MIB)
#define PAGE 4096UL
#define LARGE_BUDGET (128 * MIB)
#define BYTES (224 * MIB + 5 * PAGE + 100) /* more than memory, and not a multiple of anything */
#define PAGES ((BYTES + PAGE - 1) / PAGE)

static char path[64];

static uint64_t word_of(size_t page)
{
	return pattern(page);
}

/* One word of each page; the rest is zeros. */
static int make_file(void **state)
{
	static char block[MIB];
	const char *dir = getenv("TMPDIR");
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/faultline-huge-XXXXXX", dir && strlen(dir) < 32 ? dir : "/var/tmp");
	fd = mkstemp(path);
	for (size_t at = 0; at < BYTES; at += sizeof block) {
		size_t n = BYTES - at < sizeof block ? BYTES - at : sizeof block;

		for (size_t i = 0; i * PAGE < n; i++)
			memcpy(block + i * PAGE + 8, &(uint64_t){word_of(at / PAGE + i)}, 8);
		if (write(fd, block, n) != (ssize_t)n)
			return -1;
	}
	return close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

/* ---- The mapping ---- */

struct mapping {
	int fd;
	char *at;
	size_t before; /* anonymous memory that was there without it */
};

static void map(struct mapping *m)
{
	struct fl_options o = {.size = sizeof o, .budget = LARGE_BUDGET, .direct = FL_DIRECT_ON};

	if (!huge_pages_are_possible(path))
		skip();
	fl_exit();
	install_handlers();
	m->before = memory_of("Anonymous");
	assert_int_equal(fl_init(&o), 0);
	m->fd = open(path, O_RDONLY);
	m->at = fl_mmap(NULL, BYTES, PROT_READ, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(m->at, MAP_FAILED);
	close(m->fd);
}

static void unmap(struct mapping *m)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_munmap(m->at, BYTES), 0);
	assert_int_equal(fl_stats(&st), 0);
	assert_int_equal(st.mappings, 0);
	assert_int_equal(st.files, 0);
	assert_true(st.peak_bytes <= st.budget_bytes);
	assert_int_equal(fl_exit(), 0);
}

static uint64_t load(const struct mapping *m, size_t page)
{
	return *(volatile uint64_t *)(m->at + page * PAGE + 8);
}

static size_t wrong_in(const struct mapping *m, size_t first, size_t end)
{
	size_t n = 0;

	for (size_t i = first; i < end; i++)
		n += load(m, i) != word_of(i);
	return n;
}

/* After this the first so many bytes of the mapping are in memory, most of them in huge pages. */
static void scan_first(const struct mapping *m, size_t bytes)
{
	assert_int_equal(wrong_in(m, 0, bytes / PAGE), 0);
	assert_true(memory_of("AnonHugePages") >= bytes / 2);
}

static size_t resident_in(const struct mapping *m, size_t first, size_t pages)
{
	static unsigned char vec[PAGES];
	size_t n = 0;

	assert_int_equal(fl_mincore(m->at + first * PAGE, pages * PAGE, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

/* The first page of a huge page that is in memory, some way into the file. */
#define SOME (8 * HUGE / PAGE)

/* What is asked for ahead is read so too, as much of it as makes whole ones. */
static void advice_has_them(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	assert_int_equal(fl_madvise(m.at + PAGE, 9 * HUGE, MADV_WILLNEED), 0);
	assert_int_equal(wrong_in(&m, 1, 9 * HUGE / PAGE), 0);
	assert_true(memory_of("AnonHugePages") >= 7 * HUGE);
	assert_int_equal(fl_madvise(m.at, 9 * HUGE, MADV_WILLNEED), 0); /* which are there already */
	assert_int_equal(wrong_in(&m, 0, 10 * HUGE / PAGE), 0);
	assert_int_equal(wrong_in(&m, PAGES - 700, PAGES), 0);
	assert_int_equal(fl_madvise(m.at + (PAGES - 700) / 512 * HUGE, BYTES % HUGE, MADV_WILLNEED), 0); /* up to the end of the file */
	unmap(&m);
}

/* As much as memory has free, not only a quarter of it; a page of each huge one is looked at, which brings in no other. */
static void advice_has_all_that_is_free(void **state)
{
	const size_t pages = 40 * HUGE / PAGE;
	struct mapping m;

	(void)state;
	map(&m);
	assert_int_equal(fl_madvise(m.at, pages * PAGE, MADV_WILLNEED), 0);
	for (size_t i = 0; i < pages; i += HUGE / PAGE)
		assert_int_equal(load(&m, i + i / 100), word_of(i + i / 100));
	assert_true(resident_in(&m, 0, pages) >= pages / 4 * 3);
	unmap(&m);
}

static void a_scan_has_them_within_the_budget(void **state)
{
	struct mapping m;
	size_t most = 0;

	(void)state;
	map(&m);
	assert_int_equal((uintptr_t)m.at % HUGE, 0);
	for (int round = 0; round < 3; round++)
		for (size_t at = 0; at < PAGES; at += 4096) {
			size_t now;

			assert_int_equal(wrong_in(&m, at, at + 4096 < PAGES ? at + 4096 : PAGES), 0);
			now = memory_of("Anonymous");
			most = now > most ? now : most;
		}
	assert_true(memory_of("AnonHugePages") >= LARGE_BUDGET / 2);
	assert_true(most - m.before <= LARGE_BUDGET);
	unmap(&m);
}

#define OTHERS 6

/* Other processes that read the file past the page cache until they are ended, with more to do than there are processors for it. */
static void start_others(pid_t pids[OTHERS])
{
	for (int i = 0; i < OTHERS; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			void *to = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			int fd = open(path, O_RDONLY | O_DIRECT);

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (size_t n = 0; pread(fd, to, HUGE, (off_t)(n % (BYTES / HUGE) * HUGE)) == HUGE; n++)
				;
			_exit(1);
		}
		assert_true(pids[i] > 0);
	}
}

static void end_others(const pid_t pids[OTHERS])
{
	for (int i = 0; i < OTHERS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

/* The kernel has hold of what it has read into for long, when it does not get to let go of it. */
static void a_scan_on_a_busy_machine_has_them(void **state)
{
	struct mapping m;
	pid_t others[OTHERS];

	(void)state;
	map(&m);
	start_others(others);
	for (int round = 0; round < 2; round++)
		assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	end_others(others);
	assert_true(memory_of("AnonHugePages") >= LARGE_BUDGET / 2);
	unmap(&m);
}

/* Of a range that memory cannot hold; what was there before the scan is not sent away by it, nor is memory filled with what is not used again. */
static void a_scan_in_advised_order_takes_back_what_it_leaves(void **state)
{
	size_t used = 32 * MIB, first = 48 * MIB / PAGE, pages = PAGES - first;
	struct mapping m;

	(void)state;
	map(&m);
	scan_first(&m, used);
	assert_int_equal(fl_madvise(m.at + first * PAGE, pages * PAGE, MADV_SEQUENTIAL), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(wrong_in(&m, first, PAGES), 0);
		assert_true(resident_in(&m, first, pages) < LARGE_BUDGET / 4 / PAGE);
	}
	assert_int_equal(resident_in(&m, 0, used / PAGE), used / PAGE);
	assert_true(memory_of("Anonymous") - m.before < used + LARGE_BUDGET / 2);
	unmap(&m);
}

static void what_memory_can_hold_stays_after_a_scan_in_advised_order(void **state)
{
	size_t bytes = 64 * MIB;
	struct mapping m;

	(void)state;
	map(&m);
	assert_int_equal(fl_madvise(m.at, bytes, MADV_SEQUENTIAL), 0);
	scan_first(&m, bytes);
	assert_int_equal(resident_in(&m, 0, bytes / PAGE), bytes / PAGE);
	unmap(&m);
}

static void there_are_none_when_asked_for_small_ones(void **state)
{
	struct mapping m;

	(void)state;
	setenv("FAULTLINE_FRAMES", "small", 1);
	map(&m);
	unsetenv("FAULTLINE_FRAMES");
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(memory_of("AnonHugePages"), 0);
	unmap(&m);
}

static void there_are_none_where_they_are_not_wanted(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	assert_int_equal(fl_madvise(m.at, BYTES, MADV_NOHUGEPAGE), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(memory_of("AnonHugePages"), 0);
	assert_int_equal(fl_madvise(m.at, BYTES, MADV_HUGEPAGE), 0);
	scan_first(&m, 64 * MIB);
	unmap(&m);
}

/* To the kernel a mapping with huge pages is writable, and would count as the program's data. */
static void there_are_none_where_data_is_limited(void **state)
{
	struct rlimit was, now;
	struct mapping m;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_DATA, &was), 0);
	now = (struct rlimit){.rlim_cur = 1UL << 60, .rlim_max = was.rlim_max}; /* a sanitizer has much of it */
	assert_int_equal(setrlimit(RLIMIT_DATA, &now), 0);
	map(&m);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(memory_of("AnonHugePages"), 0);
	unmap(&m);
	assert_int_equal(setrlimit(RLIMIT_DATA, &was), 0);
}

static void a_store_is_refused_as_ever(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + SOME * PAGE + 8, access_write);    /* in memory */
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + 200 * MIB, access_write);          /* not */
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + SOME * PAGE + PAGE, access_write); /* again */
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + SOME * PAGE, access_write);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	unmap(&m);
}

static void a_call_that_would_store_fails(void **state)
{
	struct mapping m;
	int fd = open("/dev/zero", O_RDONLY);

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_fails(read(fd, m.at + SOME * PAGE, 100) == -1, EFAULT);
	assert_fails(fl_pin(m.at + SOME * PAGE, PAGE, 1) == -1, EFAULT);
	assert_fails(fl_mprotect(m.at, BYTES, PROT_READ | PROT_WRITE) == -1, EACCES);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	close(fd);
	unmap(&m);
}

static void a_page_of_one_is_pinned(void **state)
{
	struct mapping m;
	struct iovec to;
	char bytes[16];
	int ends[2];

	(void)state;
	map(&m);
	assert_int_equal(pipe(ends), 0);
	scan_first(&m, 32 * MIB);
	for (size_t page = SOME; page < SOME + 1000; page += 300) {
		assert_int_equal(fl_pin(m.at + page * PAGE, 2 * PAGE, 0), 0);
		assert_int_equal(wrong_in(&m, 16 * HUGE / PAGE, PAGES), 0); /* all else leaves memory */
		to = (struct iovec){m.at + page * PAGE, 16};
		assert_int_equal(writev(ends[1], &to, 1), 16);
		assert_int_equal(read(ends[0], bytes, 16), 16);
		assert_memory_equal(bytes + 8, &(uint64_t){word_of(page)}, 8);
		assert_int_equal(fl_unpin(m.at + page * PAGE, 2 * PAGE), 0);
	}
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	close(ends[0]);
	close(ends[1]);
	unmap(&m);
}

static void a_part_of_one_is_unmapped(void **state)
{
	struct mapping m;
	size_t page = SOME + 100, anonymous;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(fl_munmap(m.at + page * PAGE, 300 * PAGE), 0);
	assert_signal(SIGSEGV, SEGV_MAPERR, m.at + page * PAGE, access_read);
	assert_signal(SIGSEGV, SEGV_MAPERR, m.at + (page + 299) * PAGE, access_read);
	assert_int_equal(wrong_in(&m, 0, page), 0);
	assert_int_equal(wrong_in(&m, page + 300, PAGES), 0);
	assert_int_equal(wrong_in(&m, 0, page), 0);
	anonymous = memory_of("Anonymous");
	assert_int_equal(fl_munmap(m.at + 3 * PAGE, 10 * HUGE), 0);
	assert_true(memory_of("Anonymous") <= anonymous - 5 * HUGE); /* two may have come in meanwhile */
	assert_int_equal(wrong_in(&m, 10 * HUGE / PAGE + 3, PAGES), 0);
	unmap(&m);
}

static void a_part_of_one_is_told_to_leave(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(resident_in(&m, SOME, 1024), 1024);
	assert_int_equal(fl_madvise(m.at + (SOME + 7) * PAGE, 5 * PAGE, MADV_PAGEOUT), 0);
	assert_int_equal(resident_in(&m, SOME + 7, 5), 0);
	assert_int_equal(resident_in(&m, SOME, 1024), 1024 - 5);
	assert_int_equal(wrong_in(&m, SOME, SOME + 1024), 0);
	assert_int_equal(fl_madvise(m.at + SOME * PAGE, 4 * MIB, MADV_PAGEOUT), 0);
	assert_int_equal(resident_in(&m, SOME, 1024), 0);
	assert_int_equal(fl_madvise(m.at, BYTES, MADV_DONTNEED), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	unmap(&m);
}

static void locked_ones_stay(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(fl_mlock(m.at + (SOME + 100) * PAGE, 600 * PAGE), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(resident_in(&m, SOME + 100, 600), 600);
	assert_int_equal(fl_munlock(m.at + (SOME + 100) * PAGE, 600 * PAGE), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	unmap(&m);
}

static void protection_changes(void **state)
{
	struct mapping m;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(fl_mprotect(m.at + (SOME + 10) * PAGE, HUGE, PROT_READ | PROT_EXEC), 0);
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + (SOME + 10) * PAGE, access_write);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(fl_mprotect(m.at + (SOME + 10) * PAGE, HUGE, PROT_READ), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(fl_mprotect(m.at + SOME * PAGE, 3 * PAGE, PROT_NONE), 0); /* changes frames */
	assert_signal(SIGSEGV, SEGV_ACCERR, m.at + SOME * PAGE, access_read);
	assert_int_equal(wrong_in(&m, SOME + 3, PAGES), 0);
	assert_int_equal(fl_mprotect(m.at + SOME * PAGE, 3 * PAGE, PROT_READ), 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	unmap(&m);
}

static void the_file_is_changed_by_us(void **state)
{
	struct mapping m;
	uint64_t word = 4711, was = word_of(SOME + 9);
	int fd = open(path, O_RDWR);

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(fl_pwrite(fd, &word, 8, (off_t)(SOME + 9) * (off_t)PAGE + 8), 8);
	assert_int_equal(load(&m, SOME + 9), 4711);
	assert_int_equal(fl_pwrite(fd, &was, 8, (off_t)(SOME + 9) * (off_t)PAGE + 8), 8);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	close(fd);
	unmap(&m);
}

static void a_second_mapping_stores(void **state)
{
	struct mapping m;
	int fd = open(path, O_RDWR);
	char *writable;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	writable = fl_mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(writable, MAP_FAILED);
	*(volatile uint64_t *)(writable + (SOME + 5) * PAGE + 8) = 4712;
	assert_int_equal(load(&m, SOME + 5), 4712);
	*(volatile uint64_t *)(writable + (SOME + 5) * PAGE + 8) = word_of(SOME + 5);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(fl_munmap(writable, BYTES), 0);
	close(fd);
	unmap(&m);
}

/* By another process, as it were: nobody tells. */
static void the_file_becomes_shorter_and_longer(void **state)
{
	struct mapping m;
	int fd = open(path, O_RDWR);

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	assert_int_equal(ftruncate(fd, 200 * MIB + PAGE), 0);
	assert_int_equal(wrong_in(&m, 0, 200 * MIB / PAGE + 1), 0);
	assert_signal(SIGBUS, BUS_ADRERR, m.at + 201 * MIB, access_read);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	for (size_t i = 200 * MIB / PAGE; i < PAGES; i++)
		assert_int_equal(pwrite(fd, &(uint64_t){word_of(i)}, 8, (off_t)i * (off_t)PAGE + 8), 8);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(fl_ftruncate(fd, (SOME + 3) * PAGE), 0);
	assert_signal(SIGBUS, BUS_ADRERR, m.at + (SOME + 3) * PAGE, access_read);
	assert_int_equal(wrong_in(&m, 0, SOME + 3), 0);
	assert_int_equal(fl_ftruncate(fd, BYTES), 0);
	for (size_t i = SOME + 3; i < PAGES; i++)
		assert_int_equal(pwrite(fd, &(uint64_t){word_of(i)}, 8, (off_t)i * (off_t)PAGE + 8), 8);
	close(fd);
	unmap(&m);
}

/* What would be read as a huge page ends within it, which the engine has not heard of yet. */
static void a_huge_page_that_cannot_be_read_is_none(void **state)
{
	struct mapping m;
	size_t first = 60 * HUGE / PAGE;
	int fd = open(path, O_RDWR);

	(void)state;
	map(&m);
	assert_int_equal(fl_madvise(m.at, BYTES, MADV_SEQUENTIAL), 0);
	assert_int_equal(ftruncate(fd, (off_t)((first + 5) * PAGE)), 0);
	assert_int_equal(wrong_in(&m, first, first + 5), 0);
	assert_signal(SIGBUS, BUS_ADRERR, m.at + (first + 5) * PAGE, access_read);
	assert_signal(SIGBUS, BUS_ADRERR, m.at + first * PAGE + HUGE, access_read);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	for (size_t i = first + 5; i < PAGES; i++)
		assert_int_equal(pwrite(fd, &(uint64_t){word_of(i)}, 8, (off_t)i * (off_t)PAGE + 8), 8);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	close(fd);
	unmap(&m);
}

/* The page is asked for by itself then, and that is what the program is told of; it is not tried for ever. */
static void a_read_that_fails_is_an_error_of_the_page(void **state)
{
	char *io = getenv("FAULTLINE_IO"), was[16] = "";
	struct mapping m;

	(void)state;
	if (io)
		snprintf(was, sizeof was, "%s", io);
	setenv("FAULTLINE_INJECT", "read:eio:1:0", 1);
	setenv("FAULTLINE_IO", "deferred", 1); /* what is injected is seen by no other reads in flight */
	map(&m);
	unsetenv("FAULTLINE_INJECT");
	if (was[0])
		setenv("FAULTLINE_IO", was, 1);
	else
		unsetenv("FAULTLINE_IO");
	assert_int_equal(fl_madvise(m.at, BYTES, MADV_SEQUENTIAL), 0);
	for (int i = 0; i < 5; i++)
		assert_signal(SIGBUS, BUS_ADRERR, m.at + 30 * HUGE, access_read);
	unmap(&m);
}

static void a_child_has_what_its_parent_has(void **state)
{
	struct mapping m;
	int status;
	pid_t pid;

	(void)state;
	map(&m);
	scan_first(&m, 32 * MIB);
	pid = fork();
	if (pid == 0)
		_exit(wrong_in(&m, 0, PAGES) ? 1 : memory_of("AnonHugePages") < 16 * MIB ? 2 : 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(wrong_in(&m, 0, PAGES), 0);
	unmap(&m);
}

static void a_mapping_at_an_odd_place_has_none(void **state)
{
	struct mapping m;
	char *q;

	(void)state;
	map(&m);
	assert_int_equal(fl_munmap(m.at, BYTES), 0);
	m.fd = open(path, O_RDONLY);
	q = fl_mmap(m.at + PAGE, BYTES - PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, m.fd, 0);
	assert_ptr_equal(q, m.at + PAGE);
	for (size_t i = 0; i < 8192; i++)
		assert_int_equal(*(volatile uint64_t *)(q + i * PAGE + 8), word_of(i));
	assert_int_equal(memory_of("AnonHugePages"), 0);
	assert_int_equal(fl_munmap(q, BYTES - PAGE), 0);
	q = fl_mmap(NULL, 64 * MIB, PROT_READ, MAP_SHARED, m.fd, 3 * (off_t)PAGE); /* where it is aligned as the file is */
	assert_int_equal((uintptr_t)q % HUGE, 3 * PAGE);
	for (size_t i = 0; i < 64 * MIB / PAGE; i++)
		assert_int_equal(*(volatile uint64_t *)(q + i * PAGE + 8), word_of(i + 3));
	assert_true(memory_of("AnonHugePages") >= 32 * MIB);
	assert_int_equal(fl_munmap(q, 64 * MIB), 0);
	close(m.fd);
	assert_int_equal(fl_exit(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scan_has_them_within_the_budget),
		cmocka_unit_test(advice_has_them),
		cmocka_unit_test(advice_has_all_that_is_free),
		cmocka_unit_test(a_scan_on_a_busy_machine_has_them),
		cmocka_unit_test(a_scan_in_advised_order_takes_back_what_it_leaves),
		cmocka_unit_test(what_memory_can_hold_stays_after_a_scan_in_advised_order),
		cmocka_unit_test(there_are_none_when_asked_for_small_ones),
		cmocka_unit_test(there_are_none_where_they_are_not_wanted),
		cmocka_unit_test(there_are_none_where_data_is_limited),
		cmocka_unit_test(a_store_is_refused_as_ever),
		cmocka_unit_test(a_call_that_would_store_fails),
		cmocka_unit_test(a_page_of_one_is_pinned),
		cmocka_unit_test(a_part_of_one_is_unmapped),
		cmocka_unit_test(a_part_of_one_is_told_to_leave),
		cmocka_unit_test(locked_ones_stay),
		cmocka_unit_test(protection_changes),
		cmocka_unit_test(the_file_is_changed_by_us),
		cmocka_unit_test(a_second_mapping_stores),
		cmocka_unit_test(the_file_becomes_shorter_and_longer),
		cmocka_unit_test(a_huge_page_that_cannot_be_read_is_none),
		cmocka_unit_test(a_read_that_fails_is_an_error_of_the_page),
		cmocka_unit_test(a_child_has_what_its_parent_has),
		cmocka_unit_test(a_mapping_at_an_odd_place_has_none),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
