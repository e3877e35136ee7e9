/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one fault costs: the time of the first load from each of many pages in random order, one thread, the file in
 * the kernel's page cache. Prints the distribution in nanoseconds for a kernel mapping (MADV_RANDOM); for the bare
 * mechanism, a SIGBUS handler that does a pread() and a UFFDIO_COPY into a memfd and nothing else, which is the lower
 * bound; for Faultline with room for all; and for Faultline with a budget of a quarter, where reclaim takes its share.
 *
 *     fault_cost FILE [PAGES]
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faultline.h"

#define PAGE 4096UL

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* A permutation of the pages, the same in every run. */
static uint32_t *random_order(size_t n)
{
	uint32_t *order = malloc(n * sizeof *order);
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t j;
		uint32_t t;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		j = x % (i + 1);
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	return order;
}

static void measure(const char *name, const char *map, const uint32_t *order, size_t n)
{
	uint32_t *ns = malloc(n * sizeof *ns);
	uint64_t total = now_ns();

	for (size_t i = 0; i < n; i++) {
		uint64_t t = now_ns();

		*(const volatile char *)(map + order[i] * PAGE);
		ns[i] = (uint32_t)(now_ns() - t);
	}
	total = now_ns() - total;
	qsort(ns, n, sizeof *ns, by_value);
	printf("%-28s median %6u  p90 %6u  p99 %7u  p99.9 %7u  mean %6llu ns\n", name, ns[n / 2], ns[n * 9 / 10], ns[n * 99 / 100],
	       ns[n * 999 / 1000], (unsigned long long)(total / n));
	free(ns);
}

static struct {
	int uffd, fd;
	char *map, *page;
} bare;

static void on_bare_fault(int sig, siginfo_t *info, void *context)
{
	uint64_t at = (uint64_t)(uintptr_t)info->si_addr & ~(PAGE - 1);
	struct uffdio_copy c = {.dst = at, .src = (uint64_t)(uintptr_t)bare.page, .len = PAGE, .mode = UFFDIO_COPY_MODE_WP};

	(void)sig, (void)context;
	if (pread(bare.fd, bare.page, PAGE, (off_t)(at - (uint64_t)(uintptr_t)bare.map)) < 0 || ioctl(bare.uffd, UFFDIO_COPY, &c))
		_exit(3);
}

static void measure_bare(int fd, size_t bytes, const uint32_t *order, size_t n)
{
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
					     UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP};
	struct sigaction act = {.sa_sigaction = on_bare_fault, .sa_flags = SA_SIGINFO}, old;
	int memfd = (int)syscall(SYS_memfd_create, "bare", 0);

	bare.fd = fd;
	bare.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	bare.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (memfd < 0 || ftruncate(memfd, (off_t)bytes) || bare.uffd < 0 || ioctl(bare.uffd, UFFDIO_API, &api)) {
		perror("fault_cost: userfaultfd");
		exit(1);
	}
	bare.map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, memfd, 0);
	reg.range.start = (uint64_t)(uintptr_t)bare.map;
	reg.range.len = bytes;
	if (ioctl(bare.uffd, UFFDIO_REGISTER, &reg))
		exit(1);
	sigaction(SIGBUS, &act, &old);
	measure("bare mechanism", bare.map, order, n);
	sigaction(SIGBUS, &old, NULL);
	munmap(bare.map, bytes);
	close(bare.uffd);
	close(memfd);
}

static void measure_faultline(const char *name, int fd, size_t bytes, uint64_t budget, const uint32_t *order, size_t n)
{
	struct fl_options o = {.size = sizeof o, .budget = budget, .direct = FL_DIRECT_OFF};
	char *map;

	if (fl_init(&o) || (map = fl_mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		perror("fault_cost: faultline");
		exit(1);
	}
	fl_madvise(map, bytes, MADV_RANDOM);
	measure(name, map, order, n);
	fl_munmap(map, bytes);
	fl_exit();
}

static void warm(int fd, size_t bytes)
{
	static char buf[1 << 20];

	for (size_t at = 0; at < bytes; at += sizeof buf)
		if (pread(fd, buf, sizeof buf, (off_t)at) <= 0)
			break;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;
	uint32_t *order;
	struct stat st;
	size_t n;
	char *map;

	if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)(1024 * PAGE)) {
		fprintf(stderr, "usage: fault_cost FILE [PAGES]; FILE of 4 MiB or more\n");
		return 2;
	}
	n = (size_t)st.st_size / PAGE;
	if (argc > 2 && strtoul(argv[2], NULL, 0) < n)
		n = strtoul(argv[2], NULL, 0);
	order = random_order(n);
	warm(fd, n * PAGE);
	map = mmap(NULL, n * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	madvise(map, n * PAGE, MADV_RANDOM);
	measure("kernel mmap, MADV_RANDOM", map, order, n);
	munmap(map, n * PAGE);
	measure_bare(fd, n * PAGE, order, n);
	measure_faultline("faultline, room for all", fd, n * PAGE, n * PAGE + n * PAGE / 4 + (64 << 20), order, n);
	measure_faultline("faultline, a quarter", fd, n * PAGE, n * PAGE / 4, order, n);
	return 0;
}
