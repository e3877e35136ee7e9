/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mappings cost: mmap and munmap of one page with many mappings present, next to the kernel's own calls in the same
 * run, and the look-up of a VMA as a fault does it.
 *
 *   vma_cost FILE [MAPPINGS]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "api/engine.h"
#include "faultline.h"

#define PAGE 4096UL
#define PAIRS 20000
#define LOOKUPS 2000000
#define RUNS 5

static int fd;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct calls {
	const char *name;
	void *(*map)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*unmap)(void *addr, size_t len);
};

static const struct calls kernel = {"kernel", mmap, munmap}, ours = {"faultline", fl_mmap, fl_munmap};

/* Of every second page of the file, with protections that keep neighbours apart: none of them merge. */
static void *map_some(const struct calls *c, int type, size_t i)
{
	int prot = i & 1 ? PROT_READ : PROT_READ | PROT_WRITE;
	void *p = c->map(NULL, PAGE, prot, type, type & MAP_ANONYMOUS ? -1 : fd, type & MAP_ANONYMOUS ? 0 : (off_t)(2 * i % 1000 * PAGE));

	if (p == MAP_FAILED) {
		perror("vma_cost: mmap");
		exit(1);
	}
	return p;
}

static double pair_ns(const struct calls *c, int type)
{
	double start = now();

	for (size_t i = 0; i < PAIRS; i++)
		c->unmap(map_some(c, type, i & ~1UL), PAGE);
	return (now() - start) / PAIRS;
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static double median(double *v)
{
	qsort(v, RUNS, sizeof *v, by_value);
	return v[RUNS / 2];
}

/* In pairs, with the same mappings of ours present: to the kernel they are mappings too. */
static void pairs(const char *what, int type)
{
	double k[RUNS], f[RUNS];

	for (int i = 0; i < RUNS; i++) {
		k[i] = pair_ns(&kernel, type);
		f[i] = pair_ns(&ours, type);
	}
	printf("%-40s kernel %6.0f ns  faultline %6.0f ns  %.2fx\n", what, median(k), median(f), median(f) / median(k));
}

static double lookup_ns(void **maps, size_t n)
{
	struct vma_index *x = &engine_space()->index;
	uint64_t rng = 88172645463325252ull;
	double start = now();

	for (size_t i = 0; i < LOOKUPS; i++) {
		struct vma *v;

		rng ^= rng << 13;
		rng ^= rng >> 7;
		rng ^= rng << 17;
		v = vma_lock_read(x, (uint64_t)maps[rng % n]);
		if (!v)
			abort();
		vma_unlock_read(v);
	}
	return (now() - start) / LOOKUPS;
}

static void lookups(void **maps, size_t n)
{
	double v[RUNS];

	for (int i = 0; i < RUNS; i++)
		v[i] = lookup_ns(maps, n);
	printf("%-40s %.0f ns\n", "look-up of a VMA, locked for reading", median(v));
}

static void with_mappings(size_t n, enum fl_handlers handlers)
{
	struct fl_options o = {.size = sizeof o, .budget = 256UL << 20, .handlers = handlers};
	void **maps = calloc(n, sizeof *maps);

	if (!maps || fl_init(&o)) {
		perror("vma_cost");
		exit(1);
	}
	for (size_t i = 0; i < n; i++)
		maps[i] = map_some(&ours, MAP_SHARED, i);
	printf("%zu mappings, handlers that %s\n", n,
	       handlers == FL_HANDLERS_DO_NOT_TOUCH ? "do not touch mapped memory" : "may touch mapped memory");
	pairs("mmap + munmap of a page, file, shared", MAP_SHARED);
	pairs("mmap + munmap of a page, file, private", MAP_PRIVATE);
	pairs("mmap + munmap of a page, anonymous", MAP_PRIVATE | MAP_ANONYMOUS);
	if (handlers == FL_HANDLERS_DO_NOT_TOUCH)
		lookups(maps, n);
	fl_exit();
	free(maps);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 0) : 50000;

	fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	if (fd < 0 || lseek(fd, 0, SEEK_END) < (off_t)(1000 * PAGE)) {
		fprintf(stderr, "usage: vma_cost FILE [MAPPINGS]; FILE writable, of 4 MiB or more\n");
		return 2;
	}
	with_mappings(n, FL_HANDLERS_TOUCH);
	with_mappings(n, FL_HANDLERS_DO_NOT_TOUCH);
	return 0;
}
