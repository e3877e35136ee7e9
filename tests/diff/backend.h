/* SPDX-License-Identifier: Apache-2.0 */
/* The calls under test: the kernel's, or Faultline's with the same signatures. */
#ifndef DIFF_BACKEND_H
#define DIFF_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct backend_options {
	uint64_t budget;
	bool fault_threads;
};

struct access;

/* Loads and stores by functions: see run.h for what they tell. */
struct access_calls {
	void (*load)(const char *p, int size, struct access *a);
	void (*store)(char *p, int size, uint64_t value, struct access *a);
	void (*add)(char *p, uint64_t value, struct access *a);
	void (*exchange)(char *p, int size, uint64_t value, struct access *a);
	void (*fetch)(char *p, struct access *a);
	void (*hash)(const char *p, size_t len, struct access *a);
	void (*fill)(char *p, size_t len, uint64_t value, struct access *a);
};

struct backend {
	const char *name;
	int (*start)(const struct backend_options *o);
	int (*stop)(void);
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *addr, size_t len);
	int (*mprotect)(void *addr, size_t len, int prot);
	void *(*mremap)(void *old, size_t old_len, size_t new_len, int flags, void *addr);
	int (*madvise)(void *addr, size_t len, int advice);
	int (*msync)(void *addr, size_t len, int flags);
	int (*mincore)(void *addr, size_t len, unsigned char *vec);
	int (*mlock2)(const void *addr, size_t len, unsigned flags); /* mlock(2) when the flags are 0 */
	int (*munlock)(const void *addr, size_t len);
	int (*mlockall)(int flags); /* 0: munlockall(2) */
	int (*mseal)(void *addr, size_t len, unsigned long flags);
	int (*remap_file_pages)(void *addr, size_t len, int prot, size_t pgoff, int flags);
	ssize_t (*pread)(int fd, void *buf, size_t len, off_t off);
	ssize_t (*pwrite)(int fd, const void *buf, size_t len, off_t off);
	/* The same with memory that may be mapped; NULL: pread and pwrite do it. */
	ssize_t (*pread_into)(int fd, void *buf, size_t len, off_t off);
	ssize_t (*pwrite_from)(int fd, const void *buf, size_t len, off_t off);
	int (*ftruncate)(int fd, off_t len);
	/* write(2) and read(2) on a pipe with memory that may be mapped. */
	ssize_t (*send)(int fd, const void *buf, size_t len);
	ssize_t (*receive)(int fd, void *buf, size_t len);
	/* A descriptor to read the mappings from, in the format of /proc/self/maps. */
	int (*open_maps)(void);
	void (*store)(volatile uint64_t *p, uint64_t value);
	const struct access_calls *access; /* NULL: memory is accessed as it is, and by `store` */
	void *(*brk)(void *end);           /* NULL: the program has need of its heap */
	bool soft;                         /* addresses are of a soft space: mappings are told by open_maps alone */
};

extern const struct backend kernel_backend, faultline_backend, soft_backend, shim_backend;
/* The kernel's calls with a defect, to show that the tester finds it. */
extern const struct backend lost_store_backend, wrong_errno_backend;

/* The kernel's, for whoever shares them. */
int kernel_start(const struct backend_options *o);
int kernel_stop(void);
void *kernel_mremap(void *old, size_t old_len, size_t new_len, int flags, void *addr);
int kernel_mlock2(const void *addr, size_t len, unsigned flags);
int kernel_mlockall(int flags);
int kernel_mseal(void *addr, size_t len, unsigned long flags);
int kernel_open_maps(void);
void plain_store(volatile uint64_t *p, uint64_t value);

/* Of a backend, all that is the kernel's where there is no defect. */
#define KERNEL_CALLS                                                                                                                 \
	.start = kernel_start, .stop = kernel_stop, .mmap = mmap, .munmap = munmap, .mremap = kernel_mremap, .madvise = madvise,     \
	.msync = msync, .mincore = mincore, .mlock2 = kernel_mlock2, .munlock = munlock, .mseal = kernel_mseal,                      \
	.mlockall = kernel_mlockall, .remap_file_pages = remap_file_pages, .pread = pread, .pwrite = pwrite, .ftruncate = ftruncate, \
	.send = write, .receive = read, .open_maps = kernel_open_maps

#endif
