/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of soft spaces are written in: what faultline_soft.h and faultline_store.h promise is tried by them. */
#ifndef FL_TESTS_SOFT_H
#define FL_TESTS_SOFT_H

#include "harness.h"

#include <limits.h>
#include <sys/stat.h>

#include "faultline_soft.h"
#include "faultline_store.h"

#define PAGE 4096UL
#define MIB (1UL << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

static inline fl_space *new_space(const struct fl_soft_options *o)
{
	fl_space *s = fl_space_create_soft(o);

	assert_non_null(s);
	return s;
}

static inline fl_cpu *new_cpu(fl_space *s)
{
	fl_cpu *c = fl_cpu_create(s);

	assert_non_null(c);
	return c;
}

/* An address, or all ones with errno. */
static inline uint64_t try_map(fl_space *s, uint64_t addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return (uintptr_t)fl_space_mmap(s, (void *)addr, len, prot, flags, fd, off);
}

static inline uint64_t map_at(fl_space *s, uint64_t addr, size_t len, int prot, int flags)
{
	uint64_t at = try_map(s, addr, len, prot, flags, -1, 0);

	assert_true(at != (uintptr_t)MAP_FAILED);
	return at;
}

static inline uint64_t map_anon(fl_space *s, size_t pages)
{
	return map_at(s, 0, pages * PAGE, RW, ANON);
}

static inline uint64_t map_fd(fl_space *s, int fd, size_t len, int prot, int flags, off_t off)
{
	uint64_t at = try_map(s, 0, len, prot, flags, fd, off);

	assert_true(at != (uintptr_t)MAP_FAILED);
	return at;
}

static inline uint64_t map_store(fl_space *s, fl_store *store, size_t len, int prot, int flags, off_t off)
{
	void *p = fl_space_mmap_store(s, NULL, len, prot, flags, store, off);

	assert_ptr_not_equal(p, MAP_FAILED);
	return (uintptr_t)p;
}

static inline void unmap(fl_space *s, uint64_t addr, size_t len)
{
	assert_int_equal(fl_space_munmap(s, (void *)addr, len), 0);
}

static inline int protect(fl_space *s, uint64_t addr, size_t len, int prot)
{
	return fl_space_mprotect(s, (void *)addr, len, prot);
}

static inline int advise(fl_space *s, uint64_t addr, size_t len, int advice)
{
	return fl_space_madvise(s, (void *)addr, len, advice);
}

static inline uint64_t load(fl_cpu *c, uint64_t addr)
{
	uint64_t v = ~0ull;

	assert_int_equal(fl_load64(c, addr, &v), 0);
	return v;
}

static inline void store(fl_cpu *c, uint64_t addr, uint64_t v)
{
	assert_int_equal(fl_store64(c, addr, v), 0);
}

static inline uint64_t peek(fl_space *s, uint64_t addr)
{
	uint64_t v = ~0ull;

	assert_int_equal(fl_space_read(s, addr, &v, sizeof v, NULL), sizeof v);
	return v;
}

static inline void poke(fl_space *s, uint64_t addr, uint64_t v)
{
	assert_int_equal(fl_space_write(s, addr, &v, sizeof v, NULL), sizeof v);
}

/* The access failed as a process would see it. */
static inline void check_fault(const struct fl_fault *f, uint64_t addr, enum fl_access access, int signal, int code)
{
	assert_int_equal(f->signal, signal);
	assert_int_equal(f->code, code);
	assert_int_equal(f->address, addr);
	assert_int_equal(f->access, access);
}

static inline void load_fails(fl_cpu *c, uint64_t addr, int signal, int code)
{
	uint8_t v;

	assert_fails(fl_load8(c, addr, &v) == -1, EFAULT);
	check_fault(&c->fault, addr, FL_ACCESS_READ, signal, code);
}

static inline void store_fails(fl_cpu *c, uint64_t addr, int signal, int code)
{
	assert_fails(fl_store8(c, addr, 1) == -1, EFAULT);
	check_fault(&c->fault, addr, FL_ACCESS_WRITE, signal, code);
}

static inline struct fl_walk walk(fl_space *s, uint64_t addr)
{
	struct fl_walk w = {.size = sizeof w};

	assert_int_equal(fl_space_walk(s, addr, &w), 0);
	return w;
}

static inline void check_page(fl_space *s, uint64_t addr, const char *what)
{
	struct fl_walk w = walk(s, addr);

	assert_string_equal(w.page, what);
}

static inline uint64_t entry(fl_space *s, uint64_t addr)
{
	struct fl_walk w = walk(s, addr);

	return w.level[w.count - 1].level == 1 ? w.level[w.count - 1].entry : 0;
}

static inline struct fl_stats stats(void)
{
	struct fl_stats st = {.size = sizeof st};

	assert_int_equal(fl_stats(&st), 0);
	return st;
}

static inline char *dump_text(fl_space *s, enum fl_dump what, size_t *len)
{
	FILE *f = tmpfile();
	char *text;

	assert_int_equal(fl_space_dump(s, fileno(f), what), 0);
	*len = (size_t)lseek(fileno(f), 0, SEEK_END);
	text = calloc(1, *len + 1);
	assert_int_equal(pread(fileno(f), text, *len, 0), *len);
	fclose(f);
	return text;
}

static inline void check_dump(fl_space *s, enum fl_dump what, const char *has)
{
	size_t len;
	char *text = dump_text(s, what, &len);

	if (!strstr(text, has))
		print_message("%s\n", text);
	assert_non_null(strstr(text, has));
	free(text);
}

static inline size_t resident(fl_space *s, uint64_t addr, size_t pages)
{
	unsigned char vec[4096];
	size_t n = 0;

	assert_true(pages <= sizeof vec);
	assert_int_equal(fl_space_mincore(s, (void *)addr, pages * PAGE, vec), 0);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

static inline fl_space *fork_space(fl_space *s)
{
	fl_space *child = fl_space_fork(s);

	assert_non_null(child);
	return child;
}

static inline uint64_t remap(fl_space *s, uint64_t old, size_t old_len, size_t new_len, int flags, uint64_t to)
{
	return (uintptr_t)fl_space_mremap(s, (void *)old, old_len, new_len, flags, (void *)to);
}

static inline void check_words(fl_cpu *c, uint64_t p, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(load(c, p + i * PAGE), first + i);
}

static inline void fill_words(fl_cpu *c, uint64_t p, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		store(c, p + i * PAGE, first + i);
}

#endif
