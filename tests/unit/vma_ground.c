/* SPDX-License-Identifier: Apache-2.0 */
#include "vma_ground.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/filemap.h"
#include "mmu/uffd.h"
#include "util/sys.h"

#define BUDGET (4UL << 20)
#define FILE_PAGES 4096UL
#define DRAWN 64

/* ---- A kernel that agrees to everything in the zone ---- */

static bool in_zone(const void *addr)
{
	return (uintptr_t)addr >= ZONE && (uintptr_t)addr < ZONE + ZONE_PAGES * PAGE;
}

int __wrap_uffd_inline_create(struct mmu **out);
void *__real_sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_sys_munmap(void *addr, size_t len);
int __wrap_sys_munmap(void *addr, size_t len);
int __real_sys_mprotect(void *addr, size_t len, int prot);
int __wrap_sys_mprotect(void *addr, size_t len, int prot);
void *__real_sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr);
void *__wrap_sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr);
int __real_sys_madvise(void *addr, size_t len, int advice);
int __wrap_sys_madvise(void *addr, size_t len, int advice);

void __real_vma_lock_write(struct vma *v);
void __wrap_vma_lock_write(struct vma *v);

int kernel_refuses;

/*
 * A racing look-up may still hold a VMA that was freed and is used again. It goes by its addresses: before the index has
 * the VMA, it has none that are not locked.
 */
void __wrap_vma_lock_write(struct vma *v)
{
	assert_true(v->start == v->end || vma_find(&v->mm->index, v->start) == v);
	__real_vma_lock_write(v);
}

static void *answer(void *addr)
{
	return kernel_refuses ? (void *)(intptr_t)kernel_refuses : addr;
}

void *__wrap_sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return in_zone(addr) ? answer(addr) : __real_sys_mmap(addr, len, prot, flags, fd, off);
}

int __wrap_sys_munmap(void *addr, size_t len)
{
	return in_zone(addr) ? 0 : __real_sys_munmap(addr, len);
}

int __wrap_sys_mprotect(void *addr, size_t len, int prot)
{
	return in_zone(addr) ? 0 : __real_sys_mprotect(addr, len, prot);
}

void *__wrap_sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
	if (!in_zone(old))
		return __real_sys_mremap(old, old_len, new_len, flags, new_addr);
	return answer(flags & MREMAP_FIXED ? new_addr : old);
}

int __wrap_sys_madvise(void *addr, size_t len, int advice)
{
	return in_zone(addr) ? 0 : __real_sys_madvise(addr, len, advice);
}

static int range_done(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len;
	return 0;
}

static int flagged_done(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	(void)flags;
	return range_done(m, addr, len);
}

static int copied(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done)
{
	(void)src;
	*done = len;
	return flagged_done(m, addr, len, flags);
}

static int broken_cow(struct mmu *m, uint64_t addr)
{
	return range_done(m, addr, PAGE);
}

static void woken(struct mmu *m, uint64_t addr, uint64_t len)
{
	range_done(m, addr, len);
}

static void ranges_done(struct mmu *m, const struct mmu_range *ranges, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		range_done(m, ranges[i].addr, ranges[i].len);
}

static void destroyed(struct mmu *m)
{
	free(m);
}

int __wrap_uffd_inline_create(struct mmu **out)
{
	static const struct mmu_ops ops = {
		.name = "none",
		.attach = flagged_done,
		.copy = copied,
		.map = flagged_done,
		.protect = range_done,
		.unprotect = range_done,
		.break_cow = broken_cow,
		.zap = range_done,
		.zap_many = ranges_done,
		.wake = woken,
		.destroy = destroyed,
	};
	struct mmu *m = calloc(1, sizeof *m);

	*m = (struct mmu){.ops = &ops, .map_can_wp = true};
	*out = m;
	return 0;
}

/* ---- The ground ---- */

struct mm *mm;
enum kind kind;
int fd, other_fd;

static int new_file(void)
{
	char path[] = "/var/tmp/faultline-vma-XXXXXX";
	int f = mkstemp(path);

	assert_true(f >= 0);
	unlink(path);
	assert_int_equal(ftruncate(f, (off_t)(FILE_PAGES * PAGE)), 0);
	return f;
}

int start(void **state)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET, .faults = FL_FAULTS_INLINE};

	fl_exit(); /* what a failed test has left */
	kernel_refuses = 0;
	kind = (enum kind)(intptr_t)*state;
	fd = new_file();
	other_fd = new_file();
	setenv("FAULTLINE_FRAMES", "shmem", 1); /* what is on pool frames stays apart */
	assert_int_equal(fl_init(&o), 0);
	mm = engine_space();
	return 0;
}

int stop(void **state)
{
	struct fl_stats st = {.size = sizeof st};

	(void)state;
	assert_int_equal(fl_munmap((void *)ZONE, ZONE_PAGES * PAGE), 0);
	vma_check();
	assert_int_equal(mm->index.count, 0);
	assert_int_equal(atomic_load(&mm->mapped), 0);
	assert_int_equal(address_space_zero()->refs, 1);
	assert_true(filemap_charge_locked(budget_limit() / 2)); /* so nothing else is */
	filemap_uncharge_locked(budget_limit() / 2);
	assert_int_equal(fl_stats(&st), 0);
	assert_int_equal(st.files, 0);
	assert_int_equal(st.used_bytes, st.buffer_bytes + st.metadata_bytes + st.allowance_bytes);
	assert_int_equal(fl_exit(), 0);
	close(fd);
	close(other_fd);
	return 0;
}

void *at(uint64_t page)
{
	return (void *)(ZONE + page * PAGE);
}

void map_file(uint64_t page, uint64_t n, int prot, int flags, int f, uint64_t pgoff)
{
	assert_ptr_equal(fl_mmap(at(page), n * PAGE, prot, flags | MAP_FIXED, f, (off_t)(pgoff * PAGE)), at(page));
}

void map_as(uint64_t page, uint64_t n, int prot, int flags)
{
	if (kind == PRIVATE_ANONYMOUS)
		map_file(page, n, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else
		map_file(page, n, prot, flags | (kind == SHARED_FILE ? MAP_SHARED : MAP_PRIVATE), fd, page);
}

void map(uint64_t page, uint64_t n)
{
	map_as(page, n, RW, 0);
}

void unmap(uint64_t page, uint64_t n)
{
	assert_int_equal(fl_munmap(at(page), n * PAGE), 0);
}

void protect(uint64_t page, uint64_t n, int prot)
{
	assert_int_equal(fl_mprotect(at(page), n * PAGE, prot), 0);
}

void advise(uint64_t page, uint64_t n, int advice)
{
	assert_int_equal(fl_madvise(at(page), n * PAGE, advice), 0);
}

void move(uint64_t page, uint64_t n, uint64_t to)
{
	assert_ptr_equal(fl_mremap(at(page), n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(to)), at(to));
}

struct vma *vma_at(uint64_t page)
{
	struct vma *v = vma_find(&mm->index, (uint64_t)at(page));

	return v && v->start <= (uint64_t)at(page) ? v : NULL;
}

void touch(uint64_t page)
{
	struct sigguard g = sigguard_enter();
	struct vma *v = mm_lock_vma(mm, (uint64_t)at(page));

	assert_int_equal(vma_prepare_anon(v), 0);
	vma_join_family(v);
	vma_unlock_read(v);
	sigguard_leave(g);
}

void split(uint64_t page, uint64_t n)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&mm->mmap_lock);
	assert_int_equal(vma_split_range(mm, (uint64_t)at(page), (uint64_t)at(page + n)), 0);
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
}

void merge(uint64_t page, uint64_t n)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&mm->mmap_lock);
	vma_merge_range(mm, (uint64_t)at(page), (uint64_t)at(page + n));
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
}

/* ---- Drawings ---- */

/* What is mapped of the pages from 0 on, in letters in their order. */
static void draw(char *out, uint64_t pages)
{
	const struct vma *before = NULL;
	char letter = 'A' - 1;

	for (uint64_t p = 0; p < pages; p++) {
		const struct vma *v = vma_at(p);

		letter = (char)(letter + (v && v != before));
		out[p] = v ? letter : '.';
		before = v;
	}
	out[pages] = 0;
}

/* The same drawing with letters in order: which ones a test takes is to make it easy to read. */
static unsigned in_order(const char *drawn, char *out)
{
	char letter = 'A' - 1;

	for (size_t p = 0; p <= strlen(drawn); p++) {
		letter = (char)(letter + (drawn[p] && drawn[p] != '.' && (!p || drawn[p] != drawn[p - 1])));
		out[p] = drawn[p] && drawn[p] != '.' ? letter : drawn[p];
	}
	return (unsigned)(letter + 1 - 'A');
}

void expect_parts(const char *drawn)
{
	char want[DRAWN + 1], got[DRAWN + 1];
	unsigned n = in_order(drawn, want);

	draw(got, strlen(drawn));
	assert_string_equal(got, want);
	assert_int_equal(mm->index.count, n);
	vma_check();
}

void expect(const char *drawn)
{
	expect_parts(drawn);
	vma_check_merged();
}
