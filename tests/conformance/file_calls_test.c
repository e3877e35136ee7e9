/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File calls and mappings of the file: what one does the other shows at once. The calls are the C library's, so this is for
 * the kernel, and for the preload library in its place (tests/e2e/conformance.sh); those of faultline.h are in sharing_test.c
 * and truncate_test.c.
 */
#include "conformance.h"

#include <linux/magic.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

static bool holds(const char *p, size_t length, char byte)
{
	for (size_t i = 0; i < length; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/* A shared mapping, and a private one of which pages 1 and 5 are copies. */
static void map_both(struct world *w)
{
	map_layout(w, "ssssssss");
	map_ok(w, ARENA + 16 * PAGE, 8 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	for (size_t i = 0; i < 8; i++)
		ARENA[i * PAGE + 50] = 'm';
	ARENA[17 * PAGE + 60] = ARENA[21 * PAGE + 60] = 'p';
}

/* Of the page, both mappings show this byte everywhere; the private one not where it has a copy. */
static void assert_page(size_t page, char byte)
{
	assert_true(holds(ARENA + page * PAGE, PAGE, byte));
	if (page != 1 && page != 5)
		assert_true(holds(ARENA + (16 + page) * PAGE, PAGE, byte));
	else
		assert_int_equal(ARENA[(16 + page) * PAGE + 60], 'p');
}

CONFORMS(read_and_write)
{
	char buf[3 * PAGE];

	map_both(w);
	assert_int_equal(lseek(w->fd, PAGE, SEEK_SET), PAGE);
	assert_int_equal(read(w->fd, buf, PAGE), PAGE);
	assert_memory_equal(buf, ARENA + PAGE, PAGE);
	assert_int_equal(buf[50], 'm');
	memset(buf, 'w', sizeof buf);
	assert_int_equal(write(w->fd, buf, 3 * PAGE), 3 * PAGE);
	for (size_t i = 2; i < 5; i++)
		assert_page(i, 'w');
	assert_int_equal(ARENA[5 * PAGE], mark(5));
	assert_int_equal(lseek(w->fd, 0, SEEK_CUR), 5 * PAGE);
}

CONFORMS(vectors)
{
	char a[PAGE], b[PAGE];
	struct iovec iov[2] = {{a, PAGE}, {b, PAGE}};

	map_both(w);
	assert_int_equal(preadv(w->fd, iov, 2, 2 * PAGE), 2 * PAGE);
	assert_memory_equal(b, ARENA + 3 * PAGE, PAGE);
	memset(a, 'a', PAGE);
	memset(b, 'b', PAGE);
	assert_int_equal(pwritev(w->fd, iov, 2, 5 * PAGE), 2 * PAGE);
	assert_page(5, 'a');
	assert_page(6, 'b');
	assert_int_equal(pwritev2(w->fd, iov, 1, 0, 0), PAGE);
	assert_page(0, 'a');
}

/* A descriptor opened for appending writes at the end, or where it is told to for one call (Linux 6.9); what was stored elsewhere stays. */
CONFORMS(appending_writes)
{
	char a[PAGE], b[PAGE], *last;
	struct iovec iov[2] = {{a, PAGE}, {b, PAGE}};
	int fd = open(w->path, O_RDWR | O_APPEND);

	map_both(w);
	assert_ok(ftruncate(w->fd, 6 * PAGE));
	last = ARENA + 5 * PAGE;
	memset(a, 'a', PAGE);
	memset(b, 'b', PAGE);
	memset(last, 'l', PAGE);
	if (pwritev2(fd, iov, 1, 2 * PAGE, RWF_NOAPPEND) < 0)
		skip();
	assert_page(2, 'a');
	assert_true(holds(last, PAGE, 'l'));
	assert_int_equal(pwritev2(fd, iov, 2, 3 * PAGE, RWF_NOAPPEND), 2 * PAGE);
	assert_page(3, 'a');
	assert_page(4, 'b');
	assert_true(holds(last, PAGE, 'l'));
	assert_int_equal(pwritev2(fd, iov, 1, 0, 0), PAGE);
	assert_page(6, 'a');
	assert_int_equal(pwritev2(w->fd, iov + 1, 1, 0, RWF_APPEND), PAGE);
	assert_page(7, 'b');
	assert_int_equal(ARENA[0], mark(0));
	close(fd);
}

/* O_DIRECT wants memory that is aligned, also where the bytes are copied first. */
CONFORMS(direct_writes)
{
	static _Alignas(PAGE) char buf[3 * PAGE];
	int fd = open(w->path, O_RDWR | O_DIRECT);

	if (fd < 0)
		skip();
	map_both(w);
	memset(buf, 'd', sizeof buf);
	assert_int_equal(pwrite(fd, buf, 3 * PAGE, 4 * PAGE), 3 * PAGE);
	for (size_t i = 4; i < 7; i++)
		assert_page(i, 'd');
	assert_int_equal(pread(fd, buf, 2 * PAGE, 0), 2 * PAGE);
	assert_int_equal(buf[50], 'm');
	close(fd);
}

/* The vectors themselves may point into mappings. */
CONFORMS(vectors_in_mappings)
{
	struct iovec iov[2] = {{ARENA + 2 * PAGE, PAGE}, {ARENA + 17 * PAGE, PAGE}};

	map_both(w);
	assert_int_equal(preadv(w->fd, iov, 2, 40 * PAGE), 2 * PAGE);
	assert_page(2, mark(40));
	assert_true(holds(ARENA + 17 * PAGE, PAGE, mark(41)));
	assert_int_equal(pwritev(w->fd, iov, 2, 50 * PAGE), 2 * PAGE);
	map_ok(w, ARENA + 32 * PAGE, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, 50 * PAGE);
	assert_true(holds(ARENA + 32 * PAGE, PAGE, mark(40)));
	assert_true(holds(ARENA + 33 * PAGE, PAGE, mark(41)));
}

static void becomes_new(struct world *w, size_t page)
{
	assert_int_equal(pwrite(w->fd, "new", 3, (off_t)(page * PAGE + 50)), 3);
}

/* A private page that a short read does not reach goes on showing the file. */
CONFORMS(vectors_that_are_not_filled)
{
	struct iovec iov[3] = {{ARENA + 50, 100}, {ARENA + PAGE, 2 * PAGE}, {ARENA + 4 * PAGE, PAGE}};

	map_layout(w, "ppppp");
	assert_int_equal(ftruncate(w->fd, 20 * PAGE + 200), 0);
	assert_int_equal(preadv(w->fd, iov, 3, 20 * PAGE), 200);
	assert_int_equal(lseek(w->fd, 0, SEEK_END), 20 * PAGE + 200);
	assert_int_equal(readv(w->fd, iov, 3), 0);
	for (size_t i = 0; i < 5; i++)
		becomes_new(w, i);
	assert_int_equal(ARENA[50], mark(20));
	assert_int_equal(ARENA[PAGE + 50], mark(20));
	for (size_t i = 2; i < 5; i++)
		assert_memory_equal(ARENA + i * PAGE + 50, "new", 3);
	iov[2].iov_len = -1UL;
	assert_error(preadv(w->fd, iov, 3, 0), EINVAL);
}

/* Of a file that ends within a block, too, O_DIRECT must be asked for whole blocks. */
CONFORMS(direct_reads_to_the_end)
{
	struct iovec iov[2] = {{ARENA, PAGE}, {ARENA + 2 * PAGE, 2 * PAGE}};
	char name[32];
	int direct;

	map_layout(w, "ppppp");
	assert_int_equal(ftruncate(w->fd, 20 * PAGE + 200), 0);
	snprintf(name, sizeof name, "/proc/self/fd/%d", w->fd);
	direct = open(name, O_RDONLY | O_DIRECT);
	if (direct < 0)
		skip();
	assert_int_equal(pread(direct, ARENA, 2 * PAGE, 19 * PAGE), PAGE + 200);
	assert_int_equal(ARENA[PAGE + 199], mark(20));
	assert_int_equal(preadv(direct, iov, 2, 18 * PAGE), 2 * PAGE + 200);
	assert_int_equal(ARENA[3 * PAGE + 199], mark(20));
	close(direct);
}

/* fallocate(2): a hole is zeros, in part of a page, too; private copies stay. */
CONFORMS(punched_holes)
{
	map_both(w);
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE));
	assert_page(1, 0);
	assert_page(2, 0);
	assert_int_equal(ARENA[50], 'm');
	assert_int_equal(ARENA[3 * PAGE + 50], 'm');
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * PAGE + 40, 20));
	assert_int_equal(ARENA[6 * PAGE + 39], mark(6));
	assert_true(holds(ARENA + 6 * PAGE + 40, 20, 0));
	assert_int_equal(ARENA[6 * PAGE + 60], mark(6));
	ARENA[2 * PAGE] = 'n';
	assert_int_equal(ARENA[18 * PAGE], 'n');
}

/* What was stored beyond the end of the file goes with the rest of the range. */
CONFORMS(holes_over_the_end)
{
	map_both(w);
	assert_ok(ftruncate(w->fd, 7 * PAGE + 100));
	memset(ARENA + 7 * PAGE, 's', PAGE);
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 7 * PAGE + 50, PAGE - 50));
	assert_int_equal(ARENA[7 * PAGE + 49], 's');
	assert_true(holds(ARENA + 7 * PAGE + 50, PAGE - 50, 0));
}

CONFORMS(zeroed_ranges)
{
	map_both(w);
	if (fallocate(w->fd, FALLOC_FL_ZERO_RANGE, 2 * PAGE, 2 * PAGE))
		skip();
	assert_page(2, 0);
	assert_page(3, 0);
	assert_int_equal(ARENA[4 * PAGE + 50], 'm');
}

static void fills(size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		memset(ARENA + i * PAGE, 'f', PAGE);
}

static blkcnt_t blocks(struct world *w)
{
	struct stat st;

	assert_ok(fsync(w->fd));
	assert_ok(fstat(w->fd, &st));
	return st.st_blocks;
}

/* What was stored where a hole is now is not written into it: it takes no room. */
CONFORMS(holes_stay_holes)
{
	blkcnt_t before;

	map_both(w);
	before = blocks(w);
	fills(0, 8);
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE));
	assert_int_equal(blocks(w), before - (blkcnt_t)(2 * PAGE / 512));
	assert_int_equal(ARENA[PAGE - 1], 'f');
	assert_page(1, 0);
	assert_page(2, 0);
	fills(1, 3);
	assert_int_equal(blocks(w), before);
	fills(0, 8);
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE - 10, 3 * PAGE));
	assert_int_equal(blocks(w), before - (blkcnt_t)(2 * PAGE / 512));
	assert_int_equal(ARENA[3 * PAGE - 11], 'f');
	assert_true(holds(ARENA + 3 * PAGE - 10, 3 * PAGE, 0));
	assert_int_equal(ARENA[6 * PAGE - 10], 'f');
}

static bool is_on_ext4(const struct world *w)
{
	struct statfs fs;

	return !fstatfs(w->fd, &fs) && fs.f_type == EXT4_SUPER_MAGIC;
}

/* What is moved is no copy's original any more: on ext4 copies go, but for those before the range. */
CONFORMS(copies_of_what_moves)
{
	map_both(w);
	ARENA[16 * PAGE + 60] = ARENA[19 * PAGE + 60] = ARENA[23 * PAGE + 60] = 'p';
	assert_ok(fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 6 * PAGE));
	assert_int_equal(ARENA[19 * PAGE + 60], 'p');
	if (!is_on_ext4(w) || fallocate(w->fd, FALLOC_FL_COLLAPSE_RANGE, 2 * PAGE, 2 * PAGE))
		skip();
	assert_int_equal(ARENA[17 * PAGE + 60], 'p');
	assert_true(holds(ARENA + 18 * PAGE, 3 * PAGE, 0));
	assert_int_equal(ARENA[21 * PAGE + 60], mark(7));
	ARENA[22 * PAGE + 60] = 'p';
	assert_ok(fallocate(w->fd, FALLOC_FL_INSERT_RANGE, PAGE, PAGE));
	assert_int_equal(ARENA[16 * PAGE + 60], 'p');
	assert_true(holds(ARENA + 17 * PAGE, PAGE, 0));
	assert_int_equal(ARENA[22 * PAGE + 60], mark(7));
	assert_int_equal(ARENA[23 * PAGE + 60], mark(8));
}

/* Pages move to other offsets under the mappings. */
CONFORMS(collapsed_and_inserted_ranges)
{
	map_both(w);
	for (size_t i = 0; i < 8; i++)
		memset(ARENA + i * PAGE, (int)('0' + i), PAGE);
	if (fallocate(w->fd, FALLOC_FL_COLLAPSE_RANGE, 2 * PAGE, 2 * PAGE))
		skip();
	assert_page(0, '0');
	assert_page(2, '4');
	assert_page(3, '5');
	assert_page(6, mark(8));
	assert_ok(fallocate(w->fd, FALLOC_FL_INSERT_RANGE, 3 * PAGE, PAGE));
	assert_page(2, '4');
	assert_page(3, 0);
	assert_page(4, '5');
}

CONFORMS(preallocation_grows_the_file)
{
	map_layout(w, "ssss"); /* while it is large: a small one is the kernel's, and the next file of its number, too */
	assert_ok(ftruncate(w->fd, PAGE));
	assert_access(ARENA, "wbbb");
	assert_ok(posix_fallocate(w->fd, 0, 3 * PAGE));
	assert_access(ARENA, "wwwb");
	assert_int_equal(ARENA[2 * PAGE], 0);
}

CONFORMS(truncate_by_name)
{
	map_both(w);
	assert_ok(truncate(w->path, 2 * PAGE));
	assert_access(ARENA, "wwbbbbbb");
	assert_access(ARENA + 16 * PAGE, "wwbbbbbb");
	assert_ok(truncate(w->path, 8 * PAGE));
	assert_page(4, 0);
	assert_int_equal(ARENA[21 * PAGE + 60], 0);
}

CONFORMS(open_with_o_trunc)
{
	int fd;

	map_both(w);
	fd = open(w->path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	assert_access(ARENA, "bbbbbbbb");
	assert_access(ARENA + 16 * PAGE, "bbbbbbbb");
	assert_int_equal(pwrite(fd, "new", 3, 0), 3);
	assert_memory_equal(ARENA, "new", 4);
	close(fd);
}

/* The source is what mappings have stored; the target shows what came. */
CONFORMS(copies_between_files)
{
	char name[] = "/var/tmp/faultline-test-XXXXXX";
	int other = mkstemp(name);
	loff_t from = 2 * PAGE, to = 5 * PAGE;
	char byte;

	unlink(name);
	map_both(w);
	assert_int_equal(sendfile(other, w->fd, &(off_t){PAGE}, PAGE), PAGE);
	assert_int_equal(pread(other, &byte, 1, 50), 1);
	assert_int_equal(byte, 'm');
	memset(ARENA + 2 * PAGE, 'c', PAGE);
	assert_int_equal(copy_file_range(w->fd, &from, w->fd, &to, PAGE, 0), PAGE);
	assert_page(5, 'c');
	assert_int_equal(lseek(other, 0, SEEK_SET), 0);
	assert_int_equal(lseek(w->fd, 6 * PAGE, SEEK_SET), 6 * PAGE);
	assert_int_equal(sendfile(w->fd, other, NULL, PAGE), PAGE);
	assert_int_equal(ARENA[6 * PAGE + 50], 'm');
	assert_int_equal(ARENA[6 * PAGE + 51], mark(1));
	close(other);
}

CONFORMS(pipes)
{
	int p[2];

	map_both(w);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], ARENA + PAGE, PAGE), PAGE);
	assert_int_equal(read(p[0], ARENA + 7 * PAGE, PAGE), PAGE);
	assert_int_equal(ARENA[7 * PAGE + 50], 'm');
	assert_int_equal(ARENA[23 * PAGE + 50], 'm');
	assert_int_equal(splice(w->fd, &(loff_t){PAGE}, p[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(splice(p[0], NULL, w->fd, &(loff_t){3 * PAGE}, PAGE, 0), PAGE);
	assert_int_equal(ARENA[3 * PAGE + 50], 'm');
	assert_int_equal(ARENA[3 * PAGE + 51], mark(1));
	close(p[0]);
	close(p[1]);
}

/* write(2) from memory that cannot be read: EFAULT, and nothing is written. */
CONFORMS(bad_buffers)
{
	map_layout(w, "ssn.");
	assert_error(pwrite(w->fd, ARENA + 2 * PAGE, PAGE, 0), EFAULT);
	assert_error(pwrite(w->fd, ARENA + 3 * PAGE, PAGE, 0), EFAULT);
	assert_error(pread(w->fd, ARENA + 3 * PAGE, PAGE, 0), EFAULT);
	assert_int_equal(pwrite(w->fd, ARENA + PAGE, 2 * PAGE, 10 * PAGE), PAGE);
	assert_int_equal(ARENA[0], mark(0));
}

/* What has no end that off_t can tell is refused for that, whatever the memory is: a part of it would be behind the end of the file, or too far. */
CONFORMS(ranges_without_end)
{
	map_layout(w, "srssssssss.");
	assert_error(pread(w->fd, ARENA + 100, PAGE, INT64_MAX - PAGE + 1), EINVAL);
	assert_error(pread(w->fd, ARENA + PAGE + 100, PAGE - 100, INT64_MAX - PAGE + 1), 0);
	assert_error(pwrite(w->fd, ARENA, 8 * PAGE, INT64_MAX - 8 * PAGE + 1), EINVAL);
	assert_error(pwrite(w->fd, ARENA, 4 * PAGE, INT64_MAX - 8 * PAGE + 1), EFBIG);
	assert_error(pwrite(w->fd, ARENA + 9 * PAGE, 2 * PAGE, INT64_MAX - 2 * PAGE + 1), EINVAL);
}

CONFORMS(standard_io)
{
	FILE *f = fopen(w->path, "r+");
	char buf[16] = "";

	map_both(w);
	assert_int_equal(fseek(f, 3 * PAGE + 50, SEEK_SET), 0);
	assert_int_equal(fgetc(f), 'm');
	assert_int_equal(fseek(f, 4 * PAGE, SEEK_SET), 0);
	assert_int_equal(fputs("stdio", f), 1);
	assert_int_equal(fflush(f), 0);
	memcpy(buf, ARENA + 4 * PAGE, 5);
	assert_string_equal(buf, "stdio");
	fclose(f);
}

static struct timespec modified(struct world *w)
{
	struct stat st;

	assert_int_equal(fstat(w->fd, &st), 0);
	return st.st_mtim;
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* POSIX mmap(): st_ctime and st_mtime are updated between a store to a shared mapping and the next msync(). */
CONFORMS(times_of_the_file)
{
	struct timespec before, after;

	map_both(w);
	assert_ok(w->c->msync(ARENA, 8 * PAGE, MS_SYNC));
	before = modified(w);
	usleep(20000);
	ARENA[17 * PAGE] = 'x';
	(void)*(volatile char *)(ARENA + PAGE);
	assert_ok(w->c->msync(ARENA, 8 * PAGE, MS_SYNC));
	assert_ok(w->c->msync(ARENA + 16 * PAGE, 8 * PAGE, MS_SYNC));
	assert_false(later(modified(w), before));
	ARENA[PAGE] = 'x';
	assert_ok(w->c->msync(ARENA, 8 * PAGE, MS_SYNC));
	after = modified(w);
	assert_true(later(after, before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_SYSTEM(read_and_write),
		RUN_SYSTEM(vectors),
		RUN_SYSTEM(appending_writes),
		RUN_SYSTEM(direct_writes),
		RUN_SYSTEM(vectors_in_mappings),
		RUN_SYSTEM(vectors_that_are_not_filled),
		RUN_SYSTEM(direct_reads_to_the_end),
		RUN_SYSTEM(punched_holes),
		RUN_SYSTEM(holes_over_the_end),
		RUN_SYSTEM(holes_stay_holes),
		RUN_SYSTEM(zeroed_ranges),
		RUN_SYSTEM(copies_of_what_moves),
		RUN_SYSTEM(collapsed_and_inserted_ranges),
		RUN_SYSTEM(preallocation_grows_the_file),
		RUN_SYSTEM(truncate_by_name),
		RUN_SYSTEM(open_with_o_trunc),
		RUN_SYSTEM(copies_between_files),
		RUN_SYSTEM(pipes),
		RUN_SYSTEM(bad_buffers),
		RUN_SYSTEM(ranges_without_end),
		RUN_SYSTEM(standard_io),
		RUN(times_of_the_file),
	};

	return run_conformance_tests(tests);
}
