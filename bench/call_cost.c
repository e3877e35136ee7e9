/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call costs more by the preload shim, on a file that is not mapped while another is, and on the one that is: libc's functions, next to the same system
 * call made by an instruction, which no wrapper sees, in turn. Linked with nothing of Faultline's:
 *
 *   faultline run -- call_cost MAPPED OTHER
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALLS 100000
#define CALLS_MAPPED 2000
#define RUNS 15

static int fd;
static int at_a_time = CALLS;
static int ends[2];
static char byte;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static long instruction(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
}

static long pread_libc(void)
{
	return pread(fd, &byte, 1, 0);
}

static long pread_kernel(void)
{
	return instruction(SYS_pread64, fd, (long)&byte, 1, 0);
}

static long pwrite_libc(void)
{
	return pwrite(fd, &byte, 1, 0);
}

static long pwrite_kernel(void)
{
	return instruction(SYS_pwrite64, fd, (long)&byte, 1, 0);
}

static long pipe_libc(void)
{
	return write(ends[1], &byte, 1) + read(ends[0], &byte, 1);
}

static long pipe_kernel(void)
{
	return instruction(SYS_write, ends[1], (long)&byte, 1, 0) + instruction(SYS_read, ends[0], (long)&byte, 1, 0);
}

static double call_ns(long (*call)(void))
{
	double start = now();

	for (int i = 0; i < at_a_time; i++)
		if (call() < 1) {
			perror("call_cost");
			exit(1);
		}
	return (now() - start) / at_a_time;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void compare(const char *name, long (*libc)(void), long (*kernel)(void), int calls)
{
	double more[RUNS], bare[RUNS];

	for (int i = 0; i < RUNS; i++) {
		bare[i] = call_ns(kernel) / calls;
		more[i] = call_ns(libc) / calls - bare[i];
	}
	qsort(more, RUNS, sizeof *more, by_size);
	qsort(bare, RUNS, sizeof *bare, by_size);
	printf("%-26s %5.0f ns, by libc %5.0f ns more (%.0f .. %.0f)\n", name, bare[RUNS / 2], more[RUNS / 2], more[0], more[RUNS - 1]);
}

int main(int argc, char **argv)
{
	int mapped = argc == 3 ? open(argv[1], O_RDWR) : -1;
	volatile char *p;

	if (mapped < 0 || (fd = open(argv[2], O_RDWR)) < 0 || pipe(ends)) {
		fprintf(stderr, "usage: call_cost MAPPED OTHER, two files, the first larger than 64 KiB and to be mapped writable\n");
		return 2;
	}
	p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	if (p == MAP_FAILED || p[0] + 1 == 1000) {
		perror("call_cost: mmap");
		return 1;
	}
	compare("pread of a file", pread_libc, pread_kernel, 1);
	compare("pwrite to a file", pwrite_libc, pwrite_kernel, 1);
	compare("write and read of a pipe", pipe_libc, pipe_kernel, 2);
	fd = mapped;
	at_a_time = CALLS_MAPPED;
	compare("pread of the mapped file", pread_libc, pread_kernel, 1);
	compare("pwrite to the mapped file", pwrite_libc, pwrite_kernel, 1);
	return 0;
}
