/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that a cpu meets, one for each page; beside the kernel's own. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "figures.h"
#include "soft_cost.h"

/* The kernel maps so many pages of a file by one fault (fault_around_bytes, 64 KiB). */
#define AROUND 16

static void in_turn(const char *name, double goal, double (*ours)(void *), double (*kernels)(void *), void *arg)
{
	struct figure *f = figure_new(FAULTLINE, goal, "%s", name), *k = kernels ? figure_new(KERNEL, 0, "%s", name) : NULL;

	for (int i = 0; i < scale.repetitions; i++) {
		figure_add(f, ours(arg));
		if (k)
			figure_add(k, kernels(arg));
	}
}

/* ---- Anonymous memory ---- */

struct soft {
	fl_space *space;
	fl_cpu *cpu;
};

static double per_page(double start)
{
	return (now_ns() - start) / (double)(scale.fault_bytes / PAGE);
}

static double first_write(void *arg)
{
	const struct soft *s = arg;
	uint64_t addr = map_anonymous(s->space, scale.fault_bytes), v, wrong = 0;
	double start = now_ns(), ns;

	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		fl_store64(s->cpu, addr + off, off + 1);
	ns = per_page(start);
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		wrong += fl_load64(s->cpu, addr + off, &v) || v != off + 1 || fl_load64(s->cpu, addr + off + 8, &v) || v;
	expect(!wrong, "pages begin as zeros");
	fl_space_munmap(s->space, (void *)(uintptr_t)addr, scale.fault_bytes);
	return ns;
}

static double kernel_first_write(void *arg)
{
	char *p = map_plain(scale.fault_bytes);
	double start = now_ns(), ns;

	(void)arg;
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		*(volatile uint64_t *)(p + off) = off + 1;
	ns = per_page(start);
	munmap(p, scale.fault_bytes);
	return ns;
}

static double first_read(void *arg)
{
	const struct soft *s = arg;
	uint64_t addr = map_anonymous(s->space, scale.fault_bytes), v = 0, sum = 0;
	double start = now_ns(), ns;

	for (size_t off = 0; off < scale.fault_bytes; off += PAGE) {
		fl_load64(s->cpu, addr + off, &v);
		sum |= v;
	}
	ns = per_page(start);
	expect(!sum, "pages begin as zeros");
	fl_space_munmap(s->space, (void *)(uintptr_t)addr, scale.fault_bytes);
	return ns;
}

static double kernel_first_read(void *arg)
{
	char *p = map_plain(scale.fault_bytes);
	uint64_t sum = 0;
	double start = now_ns(), ns;

	(void)arg;
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		sum |= *(volatile uint64_t *)(p + off);
	ns = per_page(start);
	expect(!sum, "pages begin as zeros");
	munmap(p, scale.fault_bytes);
	return ns;
}

/* ---- Copy-on-write, after a fork ---- */

static uint64_t count_words(fl_space *space, uint64_t addr, uint64_t tag)
{
	uint64_t n = 0, v;

	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		n += fl_space_read(space, addr + off, &v, sizeof v, NULL) == sizeof v && v == off + tag;
	return n;
}

static double cow(void *arg)
{
	const struct soft *s = arg;
	uint64_t addr = map_anonymous(s->space, scale.fault_bytes), pages = scale.fault_bytes / PAGE;
	fl_space *child;
	double start, ns;

	fill_pages(s->cpu, addr, scale.fault_bytes, 1);
	child = fl_space_fork(s->space);
	if (!child)
		die("fl_space_fork");
	start = now_ns();
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		fl_store64(s->cpu, addr + off, off + 2);
	ns = per_page(start);
	expect(count_words(s->space, addr, 2) == pages && count_words(child, addr, 1) == pages, "each side of a fork has its own bytes");
	fl_space_destroy(child);
	fl_space_munmap(s->space, (void *)(uintptr_t)addr, scale.fault_bytes);
	return ns;
}

static double kernel_cow(void *arg)
{
	(void)arg;
	return kernel_cow_ns(scale.fault_bytes);
}

/* The same without a copy: the other side of the fork is gone. */
static double reuse(void *arg)
{
	const struct soft *s = arg;
	uint64_t addr = map_anonymous(s->space, scale.fault_bytes), pages = scale.fault_bytes / PAGE;
	fl_space *child;
	double start, ns;

	fill_pages(s->cpu, addr, scale.fault_bytes, 1);
	child = fl_space_fork(s->space);
	if (!child)
		die("fl_space_fork");
	fl_space_destroy(child);
	start = now_ns();
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		fl_store64(s->cpu, addr + off, off + 2);
	ns = per_page(start);
	expect(count_words(s->space, addr, 2) == pages, "what was stored after a fork");
	fl_space_munmap(s->space, (void *)(uintptr_t)addr, scale.fault_bytes);
	return ns;
}

/* ---- A file whose pages are in the cache ---- */

struct cached {
	struct soft soft;
	int fd, copy; /* two files: the kernel and Faultline each have one */
	size_t step;  /* pages from one touch to the next */
};

static int make_file(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	uint64_t page[PAGE / 8] = {0};
	int fd;

	snprintf(path, sizeof path, "%s/soft_cost.XXXXXX", folder && *folder ? folder : "/var/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		die(path);
	unlink(path);
	for (size_t off = 0; off < scale.fault_bytes; off += PAGE) {
		page[0] = off + 3;
		if (write(fd, page, PAGE) != (ssize_t)PAGE)
			die(path);
	}
	return fd;
}

static uint64_t map_file(fl_space *space, int fd)
{
	void *p = fl_space_mmap(space, NULL, scale.fault_bytes, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("fl_space_mmap");
	return (uintptr_t)p;
}

static uint64_t sum_of(size_t step)
{
	uint64_t sum = 0;

	for (size_t off = 0; off < scale.fault_bytes; off += step * PAGE)
		sum += off + 3;
	return sum;
}

static double touch_file(void *arg)
{
	const struct cached *c = arg;
	uint64_t addr = map_file(c->soft.space, c->fd), v = 0, sum = 0;
	double start = now_ns(), ns;

	for (size_t off = 0; off < scale.fault_bytes; off += c->step * PAGE) {
		fl_load64(c->soft.cpu, addr + off, &v);
		sum += v;
	}
	ns = per_page(start) * (double)c->step;
	expect(sum == sum_of(c->step), "the bytes of a file");
	fl_space_munmap(c->soft.space, (void *)(uintptr_t)addr, scale.fault_bytes);
	return ns;
}

static double kernel_touch_file(void *arg)
{
	const struct cached *c = arg;
	char *p = mmap(NULL, scale.fault_bytes, PROT_READ, MAP_SHARED, c->copy, 0);
	uint64_t sum = 0;
	double start, ns;

	if (p == MAP_FAILED)
		die("mmap");
	start = now_ns();
	for (size_t off = 0; off < scale.fault_bytes; off += c->step * PAGE)
		sum += *(volatile uint64_t *)(p + off);
	ns = per_page(start) * (double)c->step;
	expect(sum == sum_of(c->step), "the bytes of a file");
	munmap(p, scale.fault_bytes);
	return ns;
}

/* A mapping that stays keeps the pages. */
static void file_faults(const struct soft *s)
{
	struct cached c = {.soft = *s, .fd = make_file(), .copy = make_file(), .step = 1};
	uint64_t addr = map_file(s->space, c.fd), v;

	for (size_t off = 0; off < scale.fault_bytes; off += PAGE)
		expect(!fl_load64(s->cpu, addr + off, &v) && v == off + 3, "the bytes of a file");
	in_turn("page of a file that is cached, each page in order", 0, touch_file, kernel_touch_file, &c);
	c.step = AROUND;
	in_turn("page of a file that is cached, each 16th page", 0, touch_file, kernel_touch_file, &c);
	fl_space_munmap(s->space, (void *)(uintptr_t)addr, scale.fault_bytes);
	close(c.fd);
	close(c.copy);
}

void measure_faults(const char *out)
{
	struct soft s = {.space = space_new()};

	(void)out; /* there is nothing to plot */
	s.cpu = cpu_new(s.space);
	in_turn("first write to a page: zeros", 0, first_write, kernel_first_write, &s);
	in_turn("first read of a page: the zero page", 0, first_read, kernel_first_read, &s);
	in_turn("write after a fork: copy", 0, cow, kernel_cow, &s);
	in_turn("write after a fork, the other side gone: no copy", 0, reuse, NULL, &s);
	file_faults(&s);
	fl_cpu_destroy(s.cpu);
	fl_space_destroy(s.space);
}
