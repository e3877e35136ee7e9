/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Soft spaces, with the kernel's signatures: a space and a cpu for each process of the list, of which one is in use at a
 * time. Which of the several ways to the bytes an access takes is decided by its address alone, so all are used, and the
 * same ones each time.
 */
#include "soft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faultline_soft.h"
#include "run.h"

#define PAGE_OF(addr) ((addr) / (uint64_t)PAGE)
#define ENGINE_FAULT 127 /* in place of a signal: the engine itself could not */

static fl_space *spaces[PROCESSES];
static fl_cpu *cpus[PROCESSES];
static fl_space *space; /* in use */
static fl_cpu *cpu;

/* ---- Spaces ---- */

static int add_cpu(int process)
{
	cpus[process] = fl_cpu_create(spaces[process]);
	return cpus[process] ? 0 : -1;
}

int guest_create(const struct soft_kind *k)
{
	struct fl_soft_options o = {.size = sizeof o,
				    .address_bits = k->page_size ? k->address_bits : 47,
				    .page_size = k->page_size,
				    .layout = (enum fl_layout)k->layout,
				    .seed = k->seed};

	spaces[0] = fl_space_create_soft(&o);
	return spaces[0] ? add_cpu(0) : -1;
}

int guest_fork(int parent, int child)
{
	spaces[child] = fl_space_fork(spaces[parent]);
	return spaces[child] ? add_cpu(child) : -1;
}

int guest_destroy(int process)
{
	int n = 0;

	if (cpus[process])
		fl_cpu_destroy(cpus[process]);
	if (spaces[process])
		n = fl_space_destroy(spaces[process]);
	cpus[process] = NULL;
	spaces[process] = NULL;
	return n;
}

void guest_enter(int process)
{
	space = spaces[process];
	cpu = cpus[process];
}

/* What is left when all spaces are gone: nothing should be. */
uint64_t guest_remains(void)
{
	struct fl_stats s = {.size = sizeof s};

	return fl_stats(&s) ? 0 : s.mappings + s.files + s.mapped_bytes;
}

int guest_open_pages(void)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);

	if (fd < 0 || fl_space_dump(space, fd, FL_DUMP_PAGES) || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

/* ---- Accesses ---- */

static int way(uint64_t addr)
{
	return (int)((addr >> 12 ^ addr >> 3) % 8);
}

static bool crosses(uint64_t addr, size_t size)
{
	return addr % (uint64_t)PAGE + size > (uint64_t)PAGE;
}

static void told(struct access *a, const struct fl_fault *f)
{
	a->sig = f->signal ? f->signal : ENGINE_FAULT;
	a->code = f->code;
	a->addr = (char *)f->address;
}

static int copy_translated(uint64_t addr, void *buf, size_t size, enum fl_access access, struct fl_fault *f)
{
	size_t len = 0;
	void *host = fl_space_translate(space, addr, access, &len, f);

	if (!host)
		return -1;
	if (len < size)
		abort();
	memcpy(access == FL_ACCESS_WRITE ? host : buf, access == FL_ACCESS_WRITE ? buf : host, size);
	return fl_space_release(space, host);
}

static int load_typed(uint64_t addr, int size, uint64_t *value)
{
	uint8_t b = 0;
	uint16_t h = 0;
	uint32_t w = 0;
	int n;

	switch (size) {
	case 1:
		n = fl_load8(cpu, addr, &b);
		*value = b;
		return n;
	case 2:
		n = fl_load16(cpu, addr, &h);
		*value = h;
		return n;
	case 4:
		n = fl_load32(cpu, addr, &w);
		*value = w;
		return n;
	default:
		return fl_load64(cpu, addr, value);
	}
}

static int store_typed(uint64_t addr, int size, uint64_t value)
{
	switch (size) {
	case 1:
		return fl_store8(cpu, addr, (uint8_t)value);
	case 2:
		return fl_store16(cpu, addr, (uint16_t)value);
	case 4:
		return fl_store32(cpu, addr, (uint32_t)value);
	default:
		return fl_store64(cpu, addr, value);
	}
}

static size_t bytes_of(int size)
{
	return size == 1 || size == 2 || size == 4 ? (size_t)size : 8;
}

static void load(const char *p, int size, struct access *a)
{
	uint64_t addr = (uintptr_t)p, value = 0;
	struct fl_fault f = {0};
	int n;

	if (way(addr) == 0) {
		n = fl_space_read(space, addr, &value, bytes_of(size), &f) == (ssize_t)bytes_of(size) ? 0 : -1;
	} else if (way(addr) == 1 && !crosses(addr, 8)) {
		n = copy_translated(addr, &value, bytes_of(size), FL_ACCESS_READ, &f);
	} else {
		n = load_typed(addr, size, &value);
		f = cpu->fault;
	}
	if (n)
		told(a, &f);
	else
		a->hash = value;
}

/* What crosses pages is stored whole or not at all only by the typed stores. */
static void store(char *p, int size, uint64_t value, struct access *a)
{
	uint64_t addr = (uintptr_t)p;
	struct fl_fault f = {0};
	int n;

	if (way(addr) == 0 && !crosses(addr, 8)) {
		n = fl_space_write(space, addr, &value, bytes_of(size), &f) == (ssize_t)bytes_of(size) ? 0 : -1;
	} else if (way(addr) == 1 && !crosses(addr, 8)) {
		n = copy_translated(addr, &value, bytes_of(size), FL_ACCESS_WRITE, &f);
	} else {
		n = store_typed(addr, size, value);
		f = cpu->fault;
	}
	if (n)
		told(a, &f);
}

static void add(char *p, uint64_t value, struct access *a)
{
	uint64_t old = 0;
	int n;

	do
		n = fl_cas64(cpu, (uintptr_t)p, &old, old + value);
	while (n == 0);
	if (n < 0)
		told(a, &cpu->fault);
	else
		a->hash = old;
}

static void exchange(char *p, int size, uint64_t value, struct access *a)
{
	uint32_t old32 = 0;
	uint64_t old = 0;
	int n;

	do
		n = size == 4 ? fl_cas32(cpu, (uintptr_t)p, &old32, (uint32_t)value) : fl_cas64(cpu, (uintptr_t)p, &old, value);
	while (n == 0);
	if (n < 0)
		told(a, &cpu->fault);
	else
		a->hash = size == 4 ? old32 : old;
}

static void fetch(char *p, struct access *a)
{
	uint64_t addr = (uintptr_t)p, first = 0;
	uint8_t byte = 0;

	if (fl_store8(cpu, addr, RET))
		first = (uint64_t)cpu->fault.signal;
	if (fl_load8(cpu, addr, &byte)) {
		told(a, &cpu->fault);
	} else if (byte == RET) {
		a->done = 1;
		if (fl_cpu_fetch(cpu, addr, &byte, 1))
			told(a, &cpu->fault);
	}
	a->hash = byte | first << 8;
}

/* ---- Ranges: word by word, and some whole pages at once ---- */

static bool at_once(uint64_t addr, size_t left)
{
	return addr % (uint64_t)PAGE == 0 && left >= (size_t)PAGE && PAGE_OF(addr) % 4 < 3;
}

static int read_page(uint64_t addr, void *buf, struct fl_fault *f)
{
	int n;

	switch (PAGE_OF(addr) % 4) {
	case 0:
		return fl_space_read(space, addr, buf, (size_t)PAGE, f) == PAGE ? 0 : -1;
	case 1:
		return copy_translated(addr, buf, (size_t)PAGE, FL_ACCESS_READ, f);
	default:
		n = fl_cpu_read(cpu, addr, buf, (size_t)PAGE);
		*f = cpu->fault;
		return n;
	}
}

static int write_page(uint64_t addr, void *buf, struct fl_fault *f)
{
	int n;

	switch (PAGE_OF(addr) % 4) {
	case 0:
		return fl_space_write(space, addr, buf, (size_t)PAGE, f) == PAGE ? 0 : -1;
	case 1:
		return copy_translated(addr, buf, (size_t)PAGE, FL_ACCESS_WRITE, f);
	default:
		n = fl_cpu_write(cpu, addr, buf, (size_t)PAGE);
		*f = cpu->fault;
		return n;
	}
}

static void hash(const char *p, size_t len, struct access *a)
{
	uint64_t addr = (uintptr_t)p, words[PAGE / 8];
	struct fl_fault f = {0};

	while (a->done + 8 <= len) {
		bool page = at_once(addr + a->done, len - a->done);
		size_t n = page ? (size_t)PAGE : 8;

		if (page ? read_page(addr + a->done, words, &f) : fl_load64(cpu, addr + a->done, words))
			return told(a, page ? &f : &cpu->fault);
		for (size_t i = 0; i < n / 8; i++)
			a->hash = hash_word(a->hash, words[i]);
		a->done += n;
	}
}

static void fill(char *p, size_t len, uint64_t value, struct access *a)
{
	uint64_t addr = (uintptr_t)p, words[PAGE / 8];
	struct fl_fault f = {0};

	while (a->done + 8 <= len) {
		bool page = at_once(addr + a->done, len - a->done);
		size_t n = page ? (size_t)PAGE : 8;

		for (size_t i = 0; i < n / 8; i++)
			words[i] = value + a->done + 8 * i;
		if (page ? write_page(addr + a->done, words, &f) : fl_store64(cpu, addr + a->done, words[0]))
			return told(a, page ? &f : &cpu->fault);
		a->done += n;
	}
}

static const struct access_calls accesses = {
	.load = load,
	.store = store,
	.add = add,
	.exchange = exchange,
	.fetch = fetch,
	.hash = hash,
	.fill = fill,
};

/* ---- System calls with memory of the space: by way of a buffer, as an emulator does ---- */

static char buffer[BUFFER_MAX];

static ssize_t give(ssize_t n, void *to)
{
	return n > 0 ? fl_space_write(space, (uintptr_t)to, buffer, (size_t)n, NULL) : n;
}

/* Bytes in the buffer, or -1. */
static ssize_t take(const void *from, size_t len)
{
	return len ? fl_space_read(space, (uintptr_t)from, buffer, len < BUFFER_MAX ? len : BUFFER_MAX, NULL) : 0;
}

static ssize_t pread_into(int fd, void *to, size_t len, off_t off)
{
	return give(fl_pread(fd, buffer, len < BUFFER_MAX ? len : BUFFER_MAX, off), to);
}

/* What is wrong with the descriptor comes before what is wrong with the memory. */
static ssize_t pwrite_from(int fd, const void *from, size_t len, off_t off)
{
	ssize_t n = fl_pwrite(fd, buffer, 0, off);

	n = n < 0 ? n : take(from, len);
	return n > 0 ? fl_pwrite(fd, buffer, (size_t)n, off) : n;
}

static ssize_t send_from(int fd, const void *from, size_t len)
{
	ssize_t n = take(from, len);

	return n > 0 ? write(fd, buffer, (size_t)n) : n;
}

static ssize_t receive_into(int fd, void *to, size_t len)
{
	return give(read(fd, buffer, len), to);
}

/* ---- The calls ---- */

static int start(const struct backend_options *o)
{
	struct fl_options f = {.size = sizeof f, .budget = o->budget, .swap_directory = "."};

	return fl_init(&f);
}

static void *map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (off > 0 && off % 4096 == 0 && PAGE_OF(len) % 2)
		return fl_space_mmap2(space, addr, len, prot, flags, fd, (unsigned long)off / 4096);
	return fl_space_mmap(space, addr, len, prot, flags, fd, off);
}

static int unmap(void *addr, size_t len)
{
	return fl_space_munmap(space, addr, len);
}

static int protect(void *addr, size_t len, int prot)
{
	return fl_space_mprotect(space, addr, len, prot);
}

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *addr)
{
	return fl_space_mremap(space, old, old_len, new_len, flags, addr);
}

static int advise(void *addr, size_t len, int advice)
{
	return fl_space_madvise(space, addr, len, advice);
}

static int sync_range(void *addr, size_t len, int flags)
{
	return fl_space_msync(space, addr, len, flags);
}

static int in_core(void *addr, size_t len, unsigned char *vec)
{
	return fl_space_mincore(space, addr, len, vec);
}

static int lock(const void *addr, size_t len, unsigned flags)
{
	return fl_space_mlock2(space, addr, len, flags);
}

static int unlock(const void *addr, size_t len)
{
	return fl_space_munlock(space, addr, len);
}

static int seal(void *addr, size_t len, unsigned long flags)
{
	return fl_space_mseal(space, addr, len, flags);
}

static int remap_pages(void *addr, size_t len, int prot, size_t pgoff, int flags)
{
	return fl_space_remap_file_pages(space, addr, len, prot, pgoff, flags);
}

static void *move_brk(void *end)
{
	return fl_space_brk(space, end);
}

static int open_maps(void)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);

	if (fd < 0 || fl_space_maps(space, fd) || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

const struct backend soft_backend = {
	.name = "soft",
	.start = start,
	.stop = fl_exit,
	.mmap = map,
	.munmap = unmap,
	.mprotect = protect,
	.mremap = remap,
	.madvise = advise,
	.msync = sync_range,
	.mincore = in_core,
	.mlock2 = lock,
	.munlock = unlock,
	.mseal = seal,
	.remap_file_pages = remap_pages,
	.pread = fl_pread,
	.pwrite = fl_pwrite,
	.pread_into = pread_into,
	.pwrite_from = pwrite_from,
	.ftruncate = fl_ftruncate,
	.send = send_from,
	.receive = receive_into,
	.open_maps = open_maps,
	.access = &accesses,
	.brk = move_brk,
	.soft = true,
};
