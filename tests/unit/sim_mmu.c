/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page tables of the simulated MMU: one struct pte for each page of each mapping, found by address through a hash,
 * and by page of the file through the chain of its stripe.
 *
 * Locks: table_lock is held for reading by every access and operation, for writing by who adds or removes entries. A
 * stripe's lock guards the flags of its entries and the frames they show: all entries of one page of one file lie in one
 * stripe, so punching it is one step. Threads that work on different pages share no lock but for reading, so that the
 * simulation does not order what the engine leaves unordered, and ThreadSanitizer sees it.
 *
 * The bytes of a shared page are in the engine's memfd. Those of private copies are in a memfd of the simulation, which
 * is what is really mapped at the address of a private mapping: the engine has the kernel read them there to swap them.
 */
#include "sim_mmu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/address_space.h"
#include "mmu/uffd.h"
#include "util/compiler.h"
#include "util/sys.h"

#define BUCKETS (1u << 16)
#define STRIPES 1024
#define FDS 65536
#define RETRIES 20000

/* One mmap call. */
struct mapping {
	int fd;      /* the frames, or the file itself when plain */
	int storage; /* of private copies; -1 when shared */
	bool shared;
	bool plain;    /* a mapping of the file that the engine has left to the kernel */
	uint64_t ptes; /* table_lock */
};

struct pte {
	struct pte *next;         /* in its bucket; table_lock */
	struct pte *peer, **link; /* in its stripe; table_lock for writing */
	struct mapping *m;        /* constant */
	uint64_t vpn, index;      /* table_lock */
	int prot;                 /* table_lock */
	bool attached;            /* table_lock for writing, or the stripe's */
	unsigned flags;           /* the stripe's lock */
};

struct stripe {
	pthread_mutex_t lock;
	struct pte *ptes;
};

static pthread_rwlock_t table_lock;
static struct pte *buckets[BUCKETS];
static struct stripe stripes[STRIPES];
static _Atomic uint32_t fd_ptes[FDS]; /* entries by fd: which descriptors hold frames that are mapped */
static _Atomic uint64_t faults;
static bool can_wp = true;

static void die(const char *what, uint64_t addr)
{
	fprintf(stderr, "sim_mmu: %s at %#llx\n", what, (unsigned long long)addr);
	abort();
}

/* Writers first: readers come in a steady stream. */
__attribute__((constructor)) static void init(void)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&table_lock, &a);
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_init(&stripes[i].lock, NULL);
}

/* ---- Entries ---- */

static struct pte **bucket_of(uint64_t vpn)
{
	return &buckets[(vpn ^ vpn >> 16) % BUCKETS];
}

static struct stripe *stripe_of(int fd, uint64_t index)
{
	return &stripes[(index + (uint64_t)fd * 0x9e3779b1u) % STRIPES];
}

static struct pte *find(uint64_t addr)
{
	struct pte *p = *bucket_of(addr >> FL_PAGE_SHIFT);

	while (p && p->vpn != addr >> FL_PAGE_SHIFT)
		p = p->next;
	return p;
}

static void lock_pte(const struct pte *p)
{
	pthread_mutex_lock(&stripe_of(p->m->fd, p->index)->lock);
}

static void unlock_pte(const struct pte *p)
{
	pthread_mutex_unlock(&stripe_of(p->m->fd, p->index)->lock);
}

/* The rest up to entry_del(): caller holds table_lock for writing. */
static void hash_in(struct pte *p, uint64_t vpn)
{
	struct pte **b = bucket_of(vpn);

	p->vpn = vpn;
	p->next = *b;
	*b = p;
}

static void hash_out(struct pte *p)
{
	struct pte **b = bucket_of(p->vpn);

	while (*b != p)
		b = &(*b)->next;
	*b = p->next;
}

static void entry_add(struct mapping *m, uint64_t vpn, uint64_t index, int prot, bool attached)
{
	struct pte *p = calloc(1, sizeof *p);
	struct stripe *s = stripe_of(m->fd, index);

	*p = (struct pte){.m = m, .index = index, .prot = prot, .attached = attached, .peer = s->ptes, .link = &s->ptes};
	hash_in(p, vpn);
	if (p->peer)
		p->peer->link = &p->peer;
	s->ptes = p;
	m->ptes++;
	fd_ptes[m->fd]++;
}

static void entry_del(struct pte *p)
{
	hash_out(p);
	*p->link = p->peer;
	if (p->peer)
		p->peer->link = p->link;
	fd_ptes[p->m->fd]--;
	if (--p->m->ptes == 0) {
		if (p->m->storage >= 0)
			close(p->m->storage);
		free(p->m);
	}
	free(p);
}

static uint32_t remove_range(uint64_t addr, uint64_t len)
{
	uint32_t n = 0;

	for (uint64_t at = addr; at < addr + len; at += FL_PAGE_SIZE) {
		struct pte *p = find(at);

		if (p) {
			entry_del(p);
			n++;
		}
	}
	return n;
}

/* ---- Bytes ---- */

static void must(ssize_t n, ssize_t want, const char *what, uint64_t addr)
{
	if (n != want)
		die(what, addr);
}

static int bytes_fd(const struct pte *p)
{
	return p->flags & SIM_PRIVATE ? p->m->storage : p->m->fd;
}

static off_t offset_of(const struct pte *p, uint64_t addr)
{
	return (off_t)(p->index << FL_PAGE_SHIFT | (addr & FL_PAGE_MASK));
}

static bool frame_present(const struct pte *p)
{
	off_t off = (off_t)(p->index << FL_PAGE_SHIFT);

	return sys_lseek(p->m->fd, off, SEEK_DATA) == off;
}

/* Caller holds the stripe. */
static void clear(struct pte *p)
{
	if (p->flags & SIM_PRIVATE)
		fallocate(p->m->storage, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(p->index << FL_PAGE_SHIFT), FL_PAGE_SIZE);
	p->flags = 0;
}

static void copy_on_write(struct pte *p)
{
	char page[FL_PAGE_SIZE];
	off_t off = (off_t)(p->index << FL_PAGE_SHIFT);

	must(pread(p->m->fd, page, sizeof page, off), sizeof page, "copy-on-write cannot read", p->vpn << FL_PAGE_SHIFT);
	must(pwrite(p->m->storage, page, sizeof page, off), sizeof page, "copy-on-write cannot write", p->vpn << FL_PAGE_SHIFT);
	p->flags |= SIM_PRIVATE;
}

/* ---- Accesses ---- */

struct access {
	uint64_t addr, *value;
	bool write;
};

static void transfer(struct pte *p, const struct access *a)
{
	off_t off = offset_of(p, a->addr);

	if (a->write)
		must(pwrite(bytes_fd(p), a->value, 8, off), 8, "a store failed", a->addr);
	else
		must(pread(bytes_fd(p), a->value, 8, off), 8, "a load failed", a->addr);
}

/* True when it was done; else *flags says what the fault is. Caller holds the stripe. */
static bool access_entry(struct pte *p, const struct access *a, unsigned *flags)
{
	*flags = (a->write ? FAULT_WRITE : 0) | (p->flags & SIM_PRESENT ? FAULT_PRESENT : 0);
	if (!(p->flags & SIM_PRESENT) || (a->write && (p->flags & SIM_WP)))
		return false;
	if (a->write && !p->m->shared && !(p->flags & SIM_PRIVATE))
		copy_on_write(p);
	transfer(p, a);
	return true;
}

/* 0 done, 1 a fault, -EFAULT. */
static int try_access(const struct access *a, unsigned *flags)
{
	struct pte *p;
	int ret = -EFAULT;

	pthread_rwlock_rdlock(&table_lock);
	p = find(a->addr);
	if (p && (p->prot & (a->write ? PROT_WRITE : PROT_READ | PROT_WRITE))) {
		lock_pte(p);
		if (p->m->plain) {
			transfer(p, a);
			ret = 0;
		} else {
			if (!p->attached)
				die("an access to a mapping that is not attached", a->addr);
			ret = access_entry(p, a, flags) ? 0 : 1;
		}
		unlock_pte(p);
	}
	pthread_rwlock_unlock(&table_lock);
	return ret;
}

static int access_memory(const struct access *a)
{
	unsigned flags;

	for (int i = 0; i < RETRIES; i++) {
		int err = try_access(a, &flags);

		if (err <= 0)
			return err;
		atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
		err = mmu_fault_handler()(a->addr, flags);
		if (err)
			return err;
	}
	return -ELOOP;
}

int sim_load64(const volatile uint64_t *addr, uint64_t *value)
{
	return access_memory(&(struct access){.addr = (uintptr_t)addr, .value = value});
}

int sim_store64(volatile uint64_t *addr, uint64_t value)
{
	return access_memory(&(struct access){.addr = (uintptr_t)addr, .value = &value, .write = true});
}

unsigned sim_pte(const volatile void *addr)
{
	struct pte *p;
	unsigned flags = 0;

	pthread_rwlock_rdlock(&table_lock);
	p = find((uintptr_t)addr);
	if (p) {
		lock_pte(p);
		flags = p->flags;
		unlock_pte(p);
	}
	pthread_rwlock_unlock(&table_lock);
	return flags;
}

uint64_t sim_faults(void)
{
	return atomic_load(&faults);
}

void sim_set_map_can_wp(bool yes)
{
	can_wp = yes;
}

/* Which address_space a descriptor holds the frames of. */
static int check_file(struct address_space *as, void *arg)
{
	(void)arg;
	for (uint32_t b = 0; b < BUCKETS; b++)
		for (struct pte *p = buckets[b]; p; p = p->next) {
			struct page_key key = {.as = as->id, .index = p->index};
			enum page_state s;
			pfn_t pfn;

			if (p->m->fd != as->memfd || !p->m->shared || p->m->plain || (p->flags & (SIM_PRESENT | SIM_WP)) != SIM_PRESENT ||
			    !(p->prot & PROT_WRITE))
				continue;
			pfn = page_find(key);
			s = pfn == PFN_NONE ? PAGE_ABSENT : page_state_of(page_word(pfn));
			if (s != PAGE_DIRTY && s != PAGE_REDIRTY)
				die(page_state_name(s), p->vpn << FL_PAGE_SHIFT);
		}
	return 0;
}

void sim_check_writable_is_dirty(void)
{
	address_space_for_each(check_file, NULL);
}

/* ---- struct mmu_ops ---- */

/* Calls fn on each entry of the range, its stripe held, up to the first error; -ENOENT where nothing is mapped. */
static int for_range(uint64_t addr, uint64_t len, int (*fn)(struct pte *p, void *arg), void *arg)
{
	int err = 0;

	pthread_rwlock_rdlock(&table_lock);
	for (uint64_t at = addr; at < addr + len && !err; at += FL_PAGE_SIZE) {
		struct pte *p = find(at);

		if (!p) {
			err = -ENOENT;
			break;
		}
		lock_pte(p);
		err = fn(p, arg);
		unlock_pte(p);
	}
	pthread_rwlock_unlock(&table_lock);
	return err;
}

static int attach_one(struct pte *p, void *arg)
{
	(void)arg;
	p->attached = true;
	return 0;
}

static int sim_attach(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	(void)m, (void)flags;
	return for_range(addr, len, attach_one, NULL);
}

struct copying {
	const char *src;
	unsigned flags;
	uint64_t done;
};

static int copy_one(struct pte *p, void *arg)
{
	struct copying *c = arg;

	if (!p->attached)
		die("a copy into a mapping that is not attached", p->vpn << FL_PAGE_SHIFT);
	if (p->flags || (p->m->shared && frame_present(p)))
		return -EEXIST;
	p->flags = SIM_PRESENT | (c->flags & MMU_WP ? SIM_WP : 0) | (p->m->shared ? 0 : SIM_PRIVATE);
	must(pwrite(bytes_fd(p), c->src + c->done, FL_PAGE_SIZE, offset_of(p, 0)), FL_PAGE_SIZE, "copy cannot write",
	     p->vpn << FL_PAGE_SHIFT);
	c->done += FL_PAGE_SIZE;
	return 0;
}

static int sim_copy(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done)
{
	struct copying c = {.src = src, .flags = flags};
	int err = for_range(addr, len, copy_one, &c);

	(void)m;
	*done = c.done;
	return err;
}

static int map_one(struct pte *p, void *arg)
{
	if (p->flags)
		return -EEXIST;
	if (!frame_present(p))
		return -EFAULT;
	p->flags = SIM_PRESENT | *(unsigned *)arg;
	return 0;
}

static int protect_one(struct pte *p, void *arg)
{
	(void)arg;
	if (p->flags)
		p->flags |= SIM_WP;
	return 0;
}

static int unprotect_one(struct pte *p, void *arg)
{
	(void)arg;
	p->flags &= ~(unsigned)SIM_WP;
	return 0;
}

static int sim_protect(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m;
	return for_range(addr, len, protect_one, NULL);
}

static int sim_unprotect(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m;
	return for_range(addr, len, unprotect_one, NULL);
}

/* An MMU that cannot map write-protected does it in two steps, as uffd_map() does on kernels before 6.4. */
static int sim_map(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	unsigned pte_flags = flags & MMU_WP && m->map_can_wp ? SIM_WP : 0;
	int err = for_range(addr, len, map_one, &pte_flags);

	if (err || !(flags & MMU_WP) || m->map_can_wp)
		return err;
	sched_yield();
	return sim_protect(m, addr, len);
}

static int break_cow_one(struct pte *p, void *arg)
{
	(void)arg;
	if (!(p->prot & PROT_WRITE))
		return -EINVAL;
	if (!p->flags || (p->flags & SIM_WP))
		return -EFAULT;
	if (!(p->flags & SIM_PRIVATE))
		copy_on_write(p);
	return 0;
}

static int sim_break_cow(struct mmu *m, uint64_t addr)
{
	(void)m;
	return for_range(addr, FL_PAGE_SIZE, break_cow_one, NULL);
}

static int clear_one(struct pte *p, void *arg)
{
	(void)arg;
	clear(p);
	return 0;
}

static int sim_zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m;
	return for_range(addr, len, clear_one, NULL);
}

static void sim_wake(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len;
}

static void sim_destroy(struct mmu *m)
{
	free(m);
}

static int sim_fork_child(struct mmu *m)
{
	(void)m;
	return -ENOSYS;
}

static void sim_zap_many(struct mmu *m, const struct mmu_range *ranges, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		m->ops->zap(m, ranges[i].addr, ranges[i].len);
}

static const struct mmu_ops sim_ops = {
	.name = "simulated",
	.attach = sim_attach,
	.zap_many = sim_zap_many,
	.copy = sim_copy,
	.map = sim_map,
	.protect = sim_protect,
	.unprotect = sim_unprotect,
	.break_cow = sim_break_cow,
	.zap = sim_zap,
	.wake = sim_wake,
	.destroy = sim_destroy,
	.fork_child = sim_fork_child,
};

/* ---- In the place of the engine's own functions (ld --wrap) ---- */

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
int __real_sys_fallocate(int fd, int mode, off_t off, off_t len);
/* Holding everything still, for ranges that are longer than the mappings. */
static int punch_many(int fd, uint64_t first, uint64_t last, off_t off, off_t len)
{
	int err;

	pthread_rwlock_wrlock(&table_lock);
	for (int i = 0; i < STRIPES; i++)
		for (struct pte *p = stripes[i].ptes; p; p = p->peer)
			if (p->m->fd == fd && !(p->flags & SIM_PRIVATE) && p->index >= first && p->index <= last)
				clear(p);
	err = __real_sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	pthread_rwlock_unlock(&table_lock);
	return err;
}

int __wrap_sys_fallocate(int fd, int mode, off_t off, off_t len);
int __real_sys_ftruncate(int fd, off_t len);
int __wrap_sys_ftruncate(int fd, off_t len);
ssize_t __real_sys_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_sys_pwrite(int fd, const void *buf, size_t len, off_t off);

int __wrap_uffd_inline_create(struct mmu **out)
{
	struct mmu *m = calloc(1, sizeof *m);

	*m = (struct mmu){.ops = &sim_ops, .map_can_wp = can_wp};
	*out = m;
	return 0;
}

static bool is_frames(int fd)
{
	char link[40], name[64] = "";

	if (fd < 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return readlink(link, name, sizeof name - 1) > 0 && !strncmp(name, "/memfd:faultline:", 17);
}

static struct mapping *new_mapping(int fd, bool shared, bool plain)
{
	struct mapping *m = calloc(1, sizeof *m);

	*m = (struct mapping){.fd = fd, .shared = shared, .plain = plain, .storage = -1};
	if (!shared) {
		m->storage = memfd_create("sim-private", MFD_CLOEXEC);
		must(ftruncate(m->storage, 1LL << 62), 0, "no memory for private copies", 0);
	}
	return m;
}

static void add_range(struct mapping *m, uint64_t addr, uint64_t len, uint64_t index, int prot)
{
	for (uint64_t i = 0; i < page_align_up(len) >> FL_PAGE_SHIFT; i++)
		entry_add(m, (addr >> FL_PAGE_SHIFT) + i, index + i, prot, false);
}

static void *map_frames(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	struct mapping *m = new_mapping(fd, shared, false);
	int real_flags = (flags & ~MAP_TYPE) | MAP_SHARED;
	void *p = __real_sys_mmap(addr, len, prot, real_flags, shared ? fd : m->storage, off);

	if (sys_is_err(p)) {
		if (m->storage >= 0)
			close(m->storage);
		free(m);
		return p;
	}
	remove_range((uint64_t)p, len);
	add_range(m, (uint64_t)p, len, (uint64_t)off >> FL_PAGE_SHIFT, prot);
	return p;
}

/* Something else in the place of a mapping: of the file itself, which the program goes on using, or of anything. */
static void *map_over(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p = __real_sys_mmap(addr, len, prot, flags, fd, off);

	if (!sys_is_err(p) && remove_range((uint64_t)p, len) && fd >= 0)
		add_range(new_mapping(fd, true, true), (uint64_t)p, len, (uint64_t)off >> FL_PAGE_SHIFT, prot);
	return p;
}

void *__wrap_sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	bool frames = is_frames(fd);
	void *p;

	if (!frames && !(flags & MAP_FIXED))
		return __real_sys_mmap(addr, len, prot, flags, fd, off);
	pthread_rwlock_wrlock(&table_lock);
	p = frames ? map_frames(addr, len, prot, flags, fd, off) : map_over(addr, len, prot, flags, fd, off);
	pthread_rwlock_unlock(&table_lock);
	return p;
}

int __wrap_sys_munmap(void *addr, size_t len)
{
	int err;

	pthread_rwlock_wrlock(&table_lock);
	err = __real_sys_munmap(addr, len);
	if (!err)
		remove_range((uint64_t)addr, len);
	pthread_rwlock_unlock(&table_lock);
	return err;
}

int __wrap_sys_mprotect(void *addr, size_t len, int prot)
{
	int err;

	pthread_rwlock_wrlock(&table_lock);
	err = __real_sys_mprotect(addr, len, prot);
	for (uint64_t at = (uint64_t)addr; at < (uint64_t)addr + len && !err; at += FL_PAGE_SIZE) {
		struct pte *p = find(at);

		if (p)
			p->prot = prot;
	}
	pthread_rwlock_unlock(&table_lock);
	return err;
}

/* Entries go along. The stripe need not be held: table_lock is, for writing. */
static void move_range(uint64_t old, uint64_t len, uint64_t to)
{
	for (uint64_t at = 0; at < len; at += FL_PAGE_SIZE) {
		struct pte *p = find(old + at);

		hash_out(p);
		hash_in(p, (to + at) >> FL_PAGE_SHIFT);
		p->attached = false;
		p->flags &= ~(unsigned)SIM_WP;
	}
}

static void grow_range(uint64_t addr, uint64_t len, uint64_t new_len)
{
	struct pte *last = find(addr + len - FL_PAGE_SIZE);

	for (uint64_t at = len; at < new_len; at += FL_PAGE_SIZE)
		entry_add(last->m, (addr + at) >> FL_PAGE_SHIFT, last->index + 1 + ((at - len) >> FL_PAGE_SHIFT), last->prot,
			  last->attached);
}

void *__wrap_sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
	void *p;

	pthread_rwlock_wrlock(&table_lock);
	p = __real_sys_mremap(old, old_len, new_len, flags, new_addr);
	if (!sys_is_err(p)) {
		if (p != old)
			move_range((uint64_t)old, old_len, (uint64_t)p);
		grow_range((uint64_t)p, old_len, new_len);
	}
	pthread_rwlock_unlock(&table_lock);
	return p;
}

int __wrap_sys_madvise(void *addr, size_t len, int advice)
{
	if (advice == MADV_DONTNEED && for_range((uint64_t)addr, len, clear_one, NULL) == 0)
		return 0;
	return __real_sys_madvise(addr, len, advice);
}

static bool holds_frames(int fd)
{
	return fd >= 0 && fd < FDS && atomic_load_explicit(&fd_ptes[fd], memory_order_relaxed) > 0;
}

static int punch_one(int fd, uint64_t index)
{
	struct stripe *s = stripe_of(fd, index);
	int err;

	pthread_mutex_lock(&s->lock);
	for (struct pte *p = s->ptes; p; p = p->peer)
		if (p->m->fd == fd && p->index == index && !(p->flags & SIM_PRIVATE))
			clear(p);
	err = __real_sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(index << FL_PAGE_SHIFT), FL_PAGE_SIZE);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static _Atomic uint64_t punches;

uint64_t sim_punches(void)
{
	return atomic_load(&punches);
}

int __wrap_sys_fallocate(int fd, int mode, off_t off, off_t len)
{
	int err = 0;

	if (!holds_frames(fd) || !(mode & FALLOC_FL_PUNCH_HOLE))
		return __real_sys_fallocate(fd, mode, off, len);
	atomic_fetch_add(&punches, 1);
	if (len > (off_t)(STRIPES * FL_PAGE_SIZE))
		return punch_many(fd, (uint64_t)off >> FL_PAGE_SHIFT, (uint64_t)(off + len - 1) >> FL_PAGE_SHIFT, off, len);
	pthread_rwlock_rdlock(&table_lock);
	for (off_t at = off; at < off + len && !err; at += (off_t)FL_PAGE_SIZE)
		err = punch_one(fd, (uint64_t)at >> FL_PAGE_SHIFT);
	pthread_rwlock_unlock(&table_lock);
	return err;
}

int __wrap_sys_ftruncate(int fd, off_t len)
{
	int err;

	if (!holds_frames(fd))
		return __real_sys_ftruncate(fd, len);
	pthread_rwlock_wrlock(&table_lock);
	for (int i = 0; i < STRIPES; i++)
		for (struct pte *p = stripes[i].ptes; p; p = p->peer)
			if (p->m->fd == fd && !p->m->plain && p->index >= (uint64_t)len >> FL_PAGE_SHIFT)
				clear(p);
	err = __real_sys_ftruncate(fd, len);
	pthread_rwlock_unlock(&table_lock);
	return err;
}

/* What the kernel is to read from a private mapping must be there. */
static int readable_one(struct pte *p, void *arg)
{
	(void)arg;
	return p->flags & SIM_PRIVATE ? 0 : -EFAULT;
}

ssize_t __wrap_sys_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	int err = ((uintptr_t)buf | len) & FL_PAGE_MASK ? -ENOENT : for_range((uintptr_t)buf, len, readable_one, NULL);

	if (err == -EFAULT)
		return -EFAULT;
	return __real_sys_pwrite(fd, buf, len, off);
}
