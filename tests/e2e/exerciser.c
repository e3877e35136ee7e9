/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file exerciser: one file, every way to read and write it, in random order with a seed, checked byte for byte against
 * a copy in memory after each step. A plain program, linked with nothing of Faultline's: it must pass on the kernel
 * and under `faultline run` alike.
 *
 *     exerciser FILE SEED STEPS
 *
 * Prints the last steps when something differs.
 */
#include "exerciser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define HISTORY 12

uint8_t *model, *scratch;
size_t model_size;
int fd;
const char *path;
size_t stored_beyond;
struct lasting map;

static uint64_t rng;
static char history[HISTORY][120];
static unsigned long step_number;

uint64_t next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull >> 8;
}

size_t below(size_t n)
{
	return n ? next() % n : 0;
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(history[step_number % HISTORY], sizeof history[0], fmt, ap);
	va_end(ap);
}

void fail(const char *what, size_t at)
{
	fprintf(stderr, "exerciser: step %lu: %s at byte %zu (0x%zx) of %zu: %s\n", step_number, what, at, at, model_size, strerror(errno));
	for (unsigned long i = step_number < HISTORY ? 0 : step_number - HISTORY + 1; i <= step_number; i++)
		fprintf(stderr, "  %lu: %s\n", i, history[i % HISTORY]);
	exit(1);
}

void check(const char *what, const uint8_t *got, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (got[i] != model[off + i])
			fail(what, off + i);
}

static void random_range(size_t limit, size_t *off, size_t *len)
{
	*off = below(limit);
	*len = 1 + below(next() % 4 ? 5000 : 200000);
	if (*len > limit - *off)
		*len = limit - *off;
}

void random_bytes(size_t len)
{
	uint8_t v = (uint8_t)next();

	for (size_t i = 0; i < len; i++)
		scratch[i] = (uint8_t)(v + i * 7 + (i >> 8));
}

void model_write(size_t off, size_t len)
{
	if (off > model_size)
		memset(model + model_size, 0, off - model_size);
	memcpy(model + off, scratch, len);
	if (off + len > model_size)
		model_size = off + len;
}

void model_truncate(size_t size)
{
	if (size > model_size)
		memset(model + model_size, 0, size - model_size);
	model_size = size;
}

/* ---- Steps ---- */

static void do_read(size_t off, size_t len)
{
	ssize_t n;

	if (next() & 1) {
		n = pread(fd, scratch, len, (off_t)off);
	} else {
		struct iovec v[2] = {{scratch, len / 3}, {scratch + len / 3, len - len / 3}};

		lseek(fd, (off_t)off, SEEK_SET);
		n = next() & 1 ? readv(fd, v, 2) : read(fd, scratch, len);
	}
	if (n != (ssize_t)len)
		fail("a short read", off);
	check("read", scratch, off, len);
}

static void do_write(size_t off, size_t len)
{
	struct iovec v[2] = {{scratch, len / 3}, {scratch + len / 3, len - len / 3}};
	ssize_t n;

	random_bytes(len);
	switch (next() % 4) {
	case 0:
		n = pwrite(fd, scratch, len, (off_t)off);
		break;
	case 1:
		n = pwritev(fd, v, 2, (off_t)off);
		break;
	case 2:
		lseek(fd, (off_t)off, SEEK_SET);
		n = write(fd, scratch, len);
		break;
	default:
		lseek(fd, (off_t)off, SEEK_SET);
		n = writev(fd, v, 2);
	}
	if (n != (ssize_t)len)
		fail("a short write", off);
	model_write(off, len);
}

static void do_append(size_t len)
{
	int a = open(path, O_WRONLY | O_APPEND);

	if (model_size + len > SIZE_MAX_FILE)
		len = SIZE_MAX_FILE - model_size;
	random_bytes(len);
	if (write(a, scratch, len) != (ssize_t)len)
		fail("a short append", model_size);
	model_write(model_size, len);
	close(a);
}

static void do_map_read(size_t off, size_t len)
{
	check("the lasting map", map.at + off, off, len);
}

static void do_map_write(size_t off, size_t len)
{
	random_bytes(len);
	memcpy(map.at + off, scratch, len);
	model_write(off, len);
}

static void do_window(size_t off, size_t len, int writing)
{
	size_t start = off & ~(PAGE - 1);
	uint8_t *w = mmap(NULL, off - start + len, PROT_READ | (writing ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)start);

	if (w == MAP_FAILED)
		fail("mmap of a window", off);
	check("a window", w + (off - start), off, len);
	if (writing) {
		random_bytes(len);
		memcpy(w + (off - start), scratch, len);
		model_write(off, len);
		if (next() & 1 && msync(w, off - start + len, next() & 1 ? MS_SYNC : MS_ASYNC))
			fail("msync of a window", off);
	}
	if (munmap(w, off - start + len))
		fail("munmap of a window", off);
}

/* What is stored into a private map is seen there and nowhere else. */
static void do_private(size_t off, size_t len)
{
	size_t start = off & ~(PAGE - 1);
	uint8_t *w = mmap(NULL, off - start + len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)start), *p = w + (off - start);

	if (w == MAP_FAILED)
		fail("private mmap", off);
	check("a private map", p, off, len);
	random_bytes(len);
	for (size_t i = 0; i < len; i += 100)
		p[i] = scratch[i];
	for (size_t i = 0; i < len; i++)
		if (p[i] != (i % 100 ? model[off + i] : scratch[i]))
			fail("a private store", off + i);
	munmap(w, off - start + len);
	check("the file after private stores", map.at + off, off, len);
}

static void do_truncate(void)
{
	size_t size = next() % 3 ? model_size - below(model_size / 4 + 1) : model_size + below(SIZE_MAX_FILE - model_size);

	note("truncate %zu -> %zu", model_size, size);
	if (next() & 1 ? ftruncate(fd, (off_t)size) : truncate(path, (off_t)size))
		fail("truncate", size);
	model_truncate(size);
}

static void do_hole(size_t off, size_t len)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len)) {
		if (errno != EOPNOTSUPP)
			fail("punching a hole", off);
		return;
	}
	memset(model + off, 0, len);
}

/* From one place of the file to another, in the kernel. */
static void do_copy(size_t off, size_t len)
{
	loff_t in = (loff_t)off, out = (loff_t)below(SIZE_MAX_FILE - len);
	ssize_t n;

	if ((size_t)out < off + len && off < (size_t)out + len)
		return;
	n = copy_file_range(fd, &in, fd, &out, len, 0);
	if (n < 0)
		return;
	memcpy(scratch, model + off, (size_t)n);
	model_write((size_t)out - (size_t)n, (size_t)n);
}

static void do_reopen(void)
{
	struct stat st;

	close(fd);
	fd = open(path, O_RDWR);
	if (fstat(fd, &st) || (size_t)st.st_size != model_size)
		fail("the size", (size_t)st.st_size);
}

static void map_again(void)
{
	munmap(map.at, map.len);
	map.at = mmap(NULL, map.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map.at == MAP_FAILED)
		fail("mmap", 0);
}

/* Mappings of FUSE do not merge again once something has divided them: EFAULT. */
static void do_remap(void)
{
	uint8_t *p = MAP_FAILED;

	errno = 0;
	if (next() & 1)
		p = mremap(map.at, map.len, map.len / 2, 0);

	if (p != MAP_FAILED)
		p = mremap(p, map.len / 2, map.len, MREMAP_MAYMOVE);
	if (p != MAP_FAILED)
		map.at = p;
	else if (errno == EFAULT || errno == 0)
		map_again();
	else
		fail("mremap", 0);
}

static void do_stdio(size_t off, size_t len)
{
	FILE *f = fopen(path, "r+");

	fseek(f, (long)off, SEEK_SET);
	if (fread(scratch, 1, len, f) != len)
		fail("a short fread", off);
	check("fread", scratch, off, len);
	random_bytes(len);
	fseek(f, (long)off, SEEK_SET);
	if (fwrite(scratch, 1, len, f) != len || fclose(f))
		fail("fwrite", off);
	model_write(off, len);
}

/* Mapped memory as the buffer of a system call on the same file. */
static void do_self(size_t off, size_t len)
{
	size_t to = below(SIZE_MAX_FILE - len);
	ssize_t n;

	if (to < off + len + PAGE && off < to + len + PAGE)
		return;
	n = pwrite(fd, map.at + off, len, (off_t)to);
	if (n != (ssize_t)len)
		fail("pwrite from the map", off);
	memcpy(scratch, model + off, len);
	model_write(to, len);
	n = pread(fd, map.at + off, len, (off_t)to);
	if (n != (ssize_t)len)
		fail("pread into the map", off);
}

/* It is in no file, however that grows. */
static void store_beyond(void)
{
	if (!(model_size % PAGE))
		return;
	stored_beyond = model_size / PAGE;
	memset(map.at + model_size, 0xee, PAGE - model_size % PAGE);
}

static void step(void)
{
	unsigned what = (unsigned)below(34 + RANGE_STEPS);
	size_t off, len;

	if (next() % 8 == 0)
		store_beyond();
	random_range(model_size, &off, &len);
	note("step %u, %zu bytes at %zu (0x%zx)", what, len, off, off);
	if (!model_size)
		do_append(50000);
	else if (what < 5)
		do_read(off, len);
	else if (what < 9)
		do_write(next() % 8 ? off : below(SIZE_MAX_FILE - len), len);
	else if (what < 15)
		do_map_read(off, len);
	else if (what < 21)
		do_map_write(off, len);
	else if (what < 24)
		do_window(off, len, what & 1);
	else if (what == 24)
		do_private(off, len);
	else if (what == 25)
		do_truncate();
	else if (what == 26)
		do_hole(off, len);
	else if (what == 27)
		do_copy(off, len);
	else if (what == 28)
		do_append(len);
	else if (what == 29)
		next() & 1 ? do_reopen() : do_remap();
	else if (what == 30)
		do_stdio(off, len);
	else if (what == 31)
		do_self(off, len);
	else if (what > 33)
		range_step(what - 34, off, len);
	else if (what == 32 && (next() & 1 ? fsync(fd) : msync(map.at, map.len, MS_SYNC)))
		fail("sync", 0);
	else if (next() & 1 ? madvise(map.at + (off & ~(PAGE - 1)), len, MADV_DONTNEED)
			    : madvise(map.at, map.len, next() & 1 ? MADV_RANDOM : MADV_NORMAL))
		fail("madvise", off);
}

static void check_all(void)
{
	int again = open(path, O_RDONLY);

	for (size_t at = 0; at < model_size; at += 1 << 20) {
		size_t n = model_size - at < 1 << 20 ? model_size - at : 1 << 20;

		if (pread(again, scratch, n, (off_t)at) != (ssize_t)n)
			fail("the file is short", at);
		check("the file", scratch, at, n);
		check("the map", map.at + at, at, n);
	}
	close(again);
}

int main(int argc, char **argv)
{
	unsigned long steps;

	if (argc != 4) {
		fprintf(stderr, "usage: exerciser FILE SEED STEPS\n");
		return 2;
	}
	path = argv[1];
	rng = strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	steps = strtoul(argv[3], NULL, 0);
	model = calloc(1, SIZE_MAX_FILE + (1 << 20));
	scratch = aligned_alloc(PAGE, SIZE_MAX_FILE + (1 << 20)); /* for O_DIRECT */
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	random_bytes(3 << 20);
	if (write(fd, scratch, 3 << 20) != 3 << 20)
		fail("the first write", 0);
	model_write(0, 3 << 20);
	map.len = SIZE_MAX_FILE + (1 << 20);
	map.at = mmap(NULL, map.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map.at == MAP_FAILED)
		fail("mmap", 0);
	for (step_number = 0; step_number < steps; step_number++) {
		step();
		if (step_number % 1000 == 999)
			check_all();
	}
	munmap(map.at, 4096);
	map.at = mmap(NULL, map.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check_all();
	return 0;
}
