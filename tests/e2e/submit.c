/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_submit(2) next to a mapped file, and with memory that is one: requests see what was stored, are seen, and end as requests do. By number, and by libaio
 * where there is one.
 */
#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "check.h"

#define SIZE (2UL << 20)
#define REQUESTS 256

static aio_context_t context;

static struct iocb request(int op, int fd, const void *buf, size_t len, off_t off)
{
	return (struct iocb){.aio_lio_opcode = (uint16_t)op,
			     .aio_fildes = (uint32_t)fd,
			     .aio_buf = (uintptr_t)buf,
			     .aio_nbytes = len,
			     .aio_offset = off,
			     .aio_data = 0x1234};
}

static int by_number(aio_context_t ctx, long n, struct iocb **list)
{
	return (int)syscall(SYS_io_submit, ctx, n, list);
}

static int (*submit)(aio_context_t ctx, long n, struct iocb **list) = by_number;

static struct io_event next_event(void)
{
	struct io_event e;

	CHECK(syscall(SYS_io_getevents, context, 1, 1, &e, NULL) == 1 && e.data == 0x1234);
	return e;
}

static long result_of(struct iocb *cb)
{
	struct iocb asked = *cb, *list[] = {cb};
	struct io_event e;

	CHECK(submit(context, 1, list) == 1);
	CHECK(cb->aio_lio_opcode == asked.aio_lio_opcode && cb->aio_fildes == asked.aio_fildes && cb->aio_nbytes == asked.aio_nbytes &&
	      cb->aio_buf == asked.aio_buf && cb->aio_offset == asked.aio_offset);
	e = next_event();
	CHECK(e.obj == (uintptr_t)cb);
	return (long)e.res;
}

static long done_by(int op, int fd, const void *buf, size_t len, off_t off)
{
	struct iocb cb = request(op, fd, buf, len, off);

	return result_of(&cb);
}

static void reads_and_writes(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[16];
	struct iovec v[2] = {{"vec", 3}, {"tors", 4}};

	strcpy(p + 5000, "stored");
	CHECK(done_by(IOCB_CMD_PREAD, fd, got, 7, 5000) == 7 && !strcmp(got, "stored"));
	CHECK(done_by(IOCB_CMD_PWRITE, fd, "written", 7, 5100) == 7 && !memcmp(p + 5100, "written", 7) && !strcmp(p + 5000, "stored"));
	CHECK(done_by(IOCB_CMD_PWRITEV, fd, v, 2, 9000) == 7 && !memcmp(p + 9000, "vectors", 7));
	strcpy(p + 9003, "ied");
	v[0].iov_base = got;
	v[1].iov_base = got + 8;
	CHECK(done_by(IOCB_CMD_PREADV, fd, v, 2, 9000) == 7 && !memcmp(got, "vec", 3) && !strcmp(got + 8, "ied"));
	CHECK(done_by(IOCB_CMD_PREAD, fd, got, 16, SIZE - 3) == 3 && (uint8_t)got[2] == pattern(SIZE - 1));
	CHECK(done_by(IOCB_CMD_PREAD, fd, got, 16, SIZE) == 0);
	CHECK(done_by(IOCB_CMD_PWRITE, fd, "longer", 6, SIZE + 10) == 6 && lseek(fd, 0, SEEK_END) == SIZE + 16);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* Memory that is not there, of a file that is mapped, for a file that is not; of which the request may be part, and the list. */
static void buffers(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(4 * PAGE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[PAGE];
	struct iovec *v = (struct iovec *)(p + 70 * PAGE);
	struct iocb *cb = (struct iocb *)(p + 64 * PAGE - 8), **list = (struct iocb **)(p + 80 * PAGE - 4);

	CHECK(done_by(IOCB_CMD_PWRITE, other, p + 100 * PAGE + 5, 2 * PAGE, 0) == 2 * PAGE);
	CHECK(pread(other, got, PAGE, PAGE) == (ssize_t)PAGE && (uint8_t)got[3] == pattern(101 * PAGE + 8));
	CHECK(done_by(IOCB_CMD_PREAD, other, p + 200 * PAGE, PAGE, 3 * PAGE) == (long)PAGE &&
	      (uint8_t)p[200 * PAGE + 7] == pattern(3 * PAGE + 7));
	CHECK(done_by(IOCB_CMD_PREAD, fd, p + 300 * PAGE, PAGE, 0) == (long)PAGE && (uint8_t)p[300 * PAGE + 9] == pattern(9));
	v[0] = (struct iovec){p + 310 * PAGE, PAGE};
	v[1] = (struct iovec){got, PAGE};
	CHECK(!madvise(p, SIZE, MADV_PAGEOUT));
	CHECK(done_by(IOCB_CMD_PREADV, fd, v, 2, PAGE) == 2 * PAGE && (uint8_t)p[310 * PAGE + 9] == pattern(PAGE + 9));
	CHECK((uint8_t)got[9] == pattern(2 * PAGE + 9));
	*cb = request(IOCB_CMD_PREAD, other, got, PAGE, 3 * PAGE);
	memcpy(list, &cb, sizeof cb);
	CHECK(!madvise(p, SIZE, MADV_PAGEOUT));
	CHECK(submit(context, 1, list) == 1 && next_event().res == (long)PAGE && (uint8_t)got[8] == pattern(3 * PAGE + 8));
	CHECK(!munmap(p, SIZE));
	close(other);
	close(fd);
}

static void direct(void)
{
	static _Alignas(PAGE) char buf[PAGE];
	char name[] = "submit.XXXXXX";
	int fd = mkstemp(name), d;
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	d = open(name, O_RDWR | O_DIRECT);
	CHECK(!unlink(name));
	if (d < 0)
		return;
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t i = 0; i < 20; i++) {
		memset(p + i * PAGE, 'a' + (int)i, PAGE);
		CHECK(done_by(IOCB_CMD_PREAD, d, buf, PAGE, (off_t)(i * PAGE)) == (long)PAGE && buf[99] == 'a' + (int)i);
		memset(buf, 'A' + (int)i, PAGE);
		CHECK(done_by(IOCB_CMD_PWRITE, d, buf, PAGE, (off_t)(i * PAGE)) == (long)PAGE && p[i * PAGE + 99] == 'A' + (int)i);
	}
	CHECK(done_by(IOCB_CMD_PWRITE, d, p + PAGE, PAGE, 30 * PAGE) == (long)PAGE && p[30 * PAGE + 5] == 'B');
	CHECK(done_by(IOCB_CMD_PREAD, d, p + 40 * PAGE, PAGE, 2 * PAGE) == (long)PAGE && p[40 * PAGE + 5] == 'C');
	CHECK(!munmap(p, SIZE));
	close(d);
	close(fd);
}

static void appends(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	CHECK(!fcntl(fd, F_SETFL, O_APPEND) && !ftruncate(fd, SIZE - PAGE / 2));
	CHECK(p[SIZE - 1] == 0 && done_by(IOCB_CMD_PWRITE, fd, "at the end", 10, 7) == 10);
	CHECK(!memcmp(p + SIZE - PAGE / 2, "at the end", 10) && (uint8_t)p[7] == pattern(7));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* Of a mapped file and of one that is not, in turn; more than go together. */
static void lists(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(SIZE), seen = 0;
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[200];
	struct iocb cb[200], *list[200];

	for (int i = 0; i < 200; i++) {
		cb[i] = i % 70 == 5 ? request(IOCB_CMD_PWRITE, fd, "list", 4, i * (off_t)PAGE)
				    : request(IOCB_CMD_PREAD, other, got + i, 1, i * (off_t)PAGE);
		list[i] = &cb[i];
	}
	CHECK(submit(context, 200, list) == 200);
	for (int i = 0; i < 200; i++) {
		struct io_event e = next_event();
		long at = (struct iocb *)(uintptr_t)e.obj - cb;

		CHECK(at >= 0 && at < 200 && e.res == (at % 70 == 5 ? 4 : 1));
		seen++;
	}
	for (size_t i = 0; i < 200; i++)
		CHECK(i % 70 == 5 ? !memcmp(p + i * PAGE, "list", 4) : (uint8_t)got[i] == pattern(i * PAGE));
	CHECK(seen == 200 && !munmap(p, SIZE));
	close(other);
	close(fd);
}

/* What is refused at once ends the list, and is the error of the first. */
static void errors(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[8];
	struct iocb good = request(IOCB_CMD_PREAD, fd, got, 8, 0), closed = request(IOCB_CMD_PREAD, -1, p, 8, 0);
	struct iocb bad = request(IOCB_CMD_PWRITE, fd, p + SIZE, 8, 0), *list[] = {&good, &closed, &good}, *nothing = NULL;

	CHECK(!munmap(p + SIZE - PAGE, PAGE));
	bad.aio_buf = (uintptr_t)(p + SIZE - PAGE);
	CHECK(submit(context, 3, list) == 1 && next_event().res == 8);
	CHECK(submit(context, 0, list) == 0);
	if (submit == by_number) {
		FAILS(EBADF, submit(context, 2, list + 1));
		FAILS(EFAULT, submit(context, 1, &nothing));
		FAILS(EINVAL, submit(context, -1, list));
		FAILS(EINVAL, submit(0, 1, list));
		good.aio_offset = -5;
		FAILS(EINVAL, submit(context, 1, list));
	} else {
		CHECK(submit(context, 2, list + 1) == -EBADF && submit(0, 1, list) == -EINVAL);
	}
	CHECK(result_of(&bad) == -EFAULT);
	CHECK(!munmap(p, SIZE - PAGE));
	close(fd);
}

static void notices(void)
{
	int fd = pattern_file(SIZE), told = eventfd(0, EFD_NONBLOCK);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct iocb cb = request(IOCB_CMD_PWRITE, fd, "x", 1, 3 * PAGE);
	uint64_t n;

	cb.aio_flags = IOCB_FLAG_RESFD;
	cb.aio_resfd = (uint32_t)told;
	CHECK(result_of(&cb) == 1 && p[3 * PAGE] == 'x');
	CHECK(read(told, &n, sizeof n) == sizeof n && n == 1);
	CHECK(!munmap(p, SIZE));
	close(told);
	close(fd);
}

static void syncs(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[8];

	strcpy(p + 5 * PAGE, "synced");
	CHECK(done_by(IOCB_CMD_FSYNC, fd, NULL, 0, 0) == 0);
	CHECK(file_has(fd, got, 7, 5 * PAGE) == 7 && !strcmp(got, "synced"));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static void by_libaio(void)
{
	void *lib = dlopen("libaio.so.1", RTLD_NOW | RTLD_GLOBAL);

	if (!lib)
		return;
	*(void **)&submit = dlvsym(RTLD_DEFAULT, "io_submit", "LIBAIO_0.1");
	CHECK(submit);
	reads_and_writes();
	buffers();
	errors();
	submit = by_number;
}

int main(int argc, char **argv)
{
	const struct test_case cases[] = {
		{"reads_and_writes", reads_and_writes},
		{"buffers", buffers},
		{"direct", direct},
		{"appends", appends},
		{"lists", lists},
		{"errors", errors},
		{"notices", notices},
		{"syncs", syncs},
		{"by_libaio", by_libaio},
	};

	(void)argc;
	if (syscall(SYS_io_setup, REQUESTS, &context))
		return 0; /* a kernel without */
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
