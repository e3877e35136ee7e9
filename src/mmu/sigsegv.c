/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that faults without userfaultfd(2). To the kernel each page of a mapping has one of three protections:
 *
 *     HIDDEN   PROT_NONE                       not in memory, or not to be found in the mapping: any access is SIGSEGV, and comes to us
 *     SHOWN    what the program asked for,     the first store is SIGSEGV, and comes to us
 *              but for PROT_WRITE
 *     OPEN     what the program asked for
 *
 * Pages that are not HIDDEN are in a table (open addressing), whose words change together with the protection, under one lock. A page may be
 * hidden at any time: its next access asks for it again. So the table and the number of the kernel's mappings, of which each border between
 * two protections makes one more, can be bounded: when either is full, some pages are hidden, of those that no system call is using (hold()).
 *
 * In a child of fork(2) the kernel merges no pieces of private memory that were apart at the fork. So before there are many they are hidden, and
 * are one.
 *
 * Under the lock the kernel is asked for no memory of the program's. Bytes go to private pages by /proc/self/mem, which writes to what is
 * hidden (ptrace(2) does the same): no other thread sees half of it. Where the mapping is one of frames, the kernel copies the frame's page
 * first, which must be there or gets memory (private.c).
 */
#include "sigsegv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "fault_signal.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/lock.h"
#include "util/sys.h"

enum shown { HIDDEN, SHOWN, OPEN };

/* An entry of the table: number of the page << NUMBER_SHIFT | holds << HOLD_SHIFT | enum shown. 0: none. */
#define STATE_MASK 3ULL
#define HOLD_SHIFT 2
#define HOLD_ONE (1ULL << HOLD_SHIFT)
#define HOLD_MASK (((1ULL << 26) - 1) << HOLD_SHIFT)
#define NUMBER_SHIFT 28

#define CONTEXTS 16
#define MAP_COUNT_USUAL 65530 /* vm.max_map_count */
#define MAP_COUNT_DIGITS 20

static struct mutex lock = MUTEX_INIT(RANK_LEAF);
/* Under the lock: */
static uint64_t *table;
static _Atomic bool *whole;  /* false in a child until fork_child(): the kernel empties its page there */
static uint64_t slots, used; /* of the table */
static uint64_t borders;     /* between a page and the next, where they are shown differently */
static uint64_t borders_max; /* so many mappings of the kernel's are ours to make, as far as is known */
static uint64_t borders_top; /* borders_max at most */
static uint64_t hand;        /* the slot at which room is made next */
static uint64_t inherited;   /* borders at the forks that have led to this process, of which each may be one for good */

static struct mmu contexts[CONTEXTS]; /* in use when ops is set; changed under the lock of spaces */
static int proc = -1, memory = -1;    /* /proc, from which a child opens its own memory after chroot(2); /proc/self/mem */
static int (*protection_at)(uint64_t addr);

void sigsegv_init(void *mem, uint64_t bytes)
{
	table = mem;
	slots = bytes / sizeof *table;
	used = borders = hand = inherited = 0;
	whole = NULL;
	if (mem && !sys_madvise((char *)mem + bytes, FL_PAGE_SIZE, MADV_WIPEONFORK)) {
		whole = (_Atomic bool *)((char *)mem + bytes);
		atomic_store(whole, true);
	}
}

bool sigsegv_is_whole(void)
{
	return !whole || atomic_load(whole);
}

void sigsegv_set_protection(int (*fn)(uint64_t addr))
{
	protection_at = fn;
}

/* ---- The table ---- */

static uint64_t home(uint64_t number)
{
	return (number * 0x9e3779b97f4a7c15ULL) >> 20 & (slots - 1);
}

static uint64_t next_slot(uint64_t i)
{
	return (i + 1) & (slots - 1);
}

/* The slot that has the page, or the empty one where it would be. */
static uint64_t slot_of(uint64_t number)
{
	uint64_t i = home(number);

	while (table[i] && table[i] >> NUMBER_SHIFT != number)
		i = next_slot(i);
	return i;
}

static uint64_t entry_of(uint64_t number)
{
	return table[slot_of(number)];
}

static enum shown shown_as(uint64_t number)
{
	return (enum shown)(entry_of(number) & STATE_MASK);
}

static void count_borders(uint64_t number, enum shown was, enum shown is)
{
	enum shown below = shown_as(number - 1), above = shown_as(number + 1);

	borders += (uint64_t)(below != is) + (above != is);
	borders -= (uint64_t)(below != was) + (above != was);
}

/* Whether slot i lies in the cyclic range (from, to]. */
static bool lies_between(uint64_t i, uint64_t from, uint64_t to)
{
	return from <= to ? from < i && i <= to : from < i || i <= to;
}

/* What stands after it in its run moves up, where that is not before its home. */
static void remove_slot(uint64_t i)
{
	for (uint64_t j = next_slot(i); table[j]; j = next_slot(j)) {
		if (lies_between(home(table[j] >> NUMBER_SHIFT), i, j))
			continue;
		table[i] = table[j];
		i = j;
	}
	table[i] = 0;
	used--;
}

static void set_shown(uint64_t number, enum shown as)
{
	uint64_t i = slot_of(number), was = table[i];

	if ((was & STATE_MASK) == as)
		return;
	count_borders(number, (enum shown)(was & STATE_MASK), as);
	if (as == HIDDEN) {
		remove_slot(i);
		return;
	}
	used += !was;
	table[i] = number << NUMBER_SHIFT | (was & HOLD_MASK) | as;
}

/* ---- Hiding. The lock is held, by the callers of all that follows ---- */

static bool may_hide(uint64_t entry, bool held_too)
{
	return (entry & STATE_MASK) && (held_too || !(entry & HOLD_MASK));
}

/* -ENOMEM is what the kernel says of a page that is mapped no more, another thread having unmapped it without us: that is hidden for good. */
static int hide_by_page(uint64_t first, uint64_t end)
{
	int err = 0;

	for (uint64_t n = first; n < end && !err; n++) {
		void *p = (void *)(n << FL_PAGE_SHIFT);
		unsigned char in_core;

		err = sys_mprotect(p, FL_PAGE_SIZE, PROT_NONE);
		if (err == -ENOMEM && sys_mincore(p, FL_PAGE_SIZE, &in_core) == -ENOMEM)
			err = 0;
		if (!err)
			set_shown(n, HIDDEN);
	}
	return err;
}

/* Hides the run of pages around this one, within [from, to), that are in the table. */
static int hide_run(uint64_t number, uint64_t from, uint64_t to, bool held_too)
{
	uint64_t first = number, end = number + 1;

	while (first > from && may_hide(entry_of(first - 1), held_too))
		first--;
	while (end < to && may_hide(entry_of(end), held_too))
		end++;
	if (sys_mprotect((void *)(first << FL_PAGE_SHIFT), (end - first) << FL_PAGE_SHIFT, PROT_NONE))
		return hide_by_page(first, end);
	for (uint64_t n = first; n < end; n++)
		set_shown(n, HIDDEN);
	return 0;
}

/*
 * Calls fn for the entries of pages in [from, to). It may remove some, and others move up then: a slot is looked at until what it has stays. And all of
 * them once more: what moves up to the end of the table, from its beginning, may draw what is to come to where has been looked.
 */
static int for_each_entry(uint64_t from, uint64_t to, bool flag, int (*fn)(uint64_t entry, uint64_t from, uint64_t to, bool flag))
{
	uint64_t before;
	int err = 0;

	if (!used)
		return 0;
	if (to - from < slots) {
		for (uint64_t n = from; n < to && !err; n++)
			if (entry_of(n))
				err = fn(entry_of(n), from, to, flag);
		return err;
	}
	do {
		before = used;
		for (uint64_t i = 0; i < slots && !err; i++)
			for (uint64_t seen = 0, n; !err && (n = table[i] >> NUMBER_SHIFT) != seen; seen = n)
				if (n >= from && n < to)
					err = fn(table[i], from, to, flag);
	} while (!err && used && used != before);
	return err;
}

static int hide_one(uint64_t entry, uint64_t from, uint64_t to, bool held_too)
{
	return may_hide(entry, held_too) ? hide_run(entry >> NUMBER_SHIFT, from, to, held_too) : 0;
}

static int hide_pages(uint64_t from, uint64_t to, bool held_too)
{
	return for_each_entry(from, to, held_too, hide_one);
}

#define EVERYTHING 0, UINT64_MAX >> NUMBER_SHIFT

/* Each page costs a fault once more. */
static void hide_all(void)
{
	hide_pages(EVERYTHING, false);
}

static bool is_full(uint64_t more)
{
	return used + more > slots / 4 * 3 || borders > borders_max;
}

/* An eighth of what there is goes, whatever it is: nobody sees the uses of pages. */
static void make_room(uint64_t more)
{
	uint64_t few = used / 8 * 7, fewer = borders / 8 * 7;

	for (uint64_t i = 0; i < slots && (is_full(more) || used > few || borders > fewer); i++, hand = next_slot(hand))
		if (may_hide(table[hand], false))
			hide_run(table[hand] >> NUMBER_SHIFT, EVERYTHING, false);
}

static int forget_one(uint64_t entry, uint64_t from, uint64_t to, bool flag)
{
	(void)from, (void)to, (void)flag;
	set_shown(entry >> NUMBER_SHIFT, HIDDEN);
	return 0;
}

static void forget_pages(uint64_t from, uint64_t to)
{
	for_each_entry(from, to, false, forget_one);
}

/* ---- Showing ---- */

/* What can be written can be read (x86), also while it must not be written. */
static int protection(uint64_t addr, enum shown as)
{
	int prot = protection_at(addr);

	if (prot < 0 || as == OPEN || !(prot & PROT_WRITE))
		return prot;
	return (prot & ~PROT_WRITE) | PROT_READ;
}

/* What a system call is using stays, with the protection that it is to have now. */
static int protect_held(uint64_t entry, uint64_t from, uint64_t to, bool flag)
{
	uint64_t addr = entry >> NUMBER_SHIFT << FL_PAGE_SHIFT;
	int prot = entry & HOLD_MASK ? protection(addr, (enum shown)(entry & STATE_MASK)) : -1;

	(void)from, (void)to, (void)flag;
	return prot < 0 ? 0 : sys_mprotect((void *)addr, FL_PAGE_SIZE, prot);
}

/* The program has more mappings than we thought: fewer are left for us. */
static void have_fewer(void)
{
	borders_max = max_u64(borders / 8 * 7, 64);
	make_room(0);
}

/* It may have less again. If not, the kernel says so. */
static void have_more(void)
{
	borders_max = min_u64(borders_max + borders_max / 64 + 1, borders_top);
}

static int set_protection(uint64_t addr, uint64_t len, int prot)
{
	int err = sys_mprotect((void *)addr, len, prot);

	if (err == -ENOMEM) {
		have_fewer();
		err = sys_mprotect((void *)addr, len, prot);
	}
	if (err == -ENOMEM) {
		hide_all();
		err = sys_mprotect((void *)addr, len, prot);
	}
	return err;
}

/* A page changes or does not; of a run that the kernel has refused it may have changed a part. */
static int show_by_page(uint64_t from, uint64_t to, enum shown as, int prot)
{
	int err = 0;

	for (uint64_t n = from; n < to; n++) {
		int failed = sys_mprotect((void *)(n << FL_PAGE_SHIFT), FL_PAGE_SIZE, prot);

		if (failed)
			err = failed;
		else
			set_shown(n, as);
	}
	return err;
}

static int show_run(uint64_t from, uint64_t to, enum shown as)
{
	uint64_t addr = from << FL_PAGE_SHIFT;
	int prot = protection(addr, as);

	if (prot < 0) /* a mapping on its way to its place: it is hidden there */
		return 0;
	if (is_full(to - from)) {
		make_room(to - from);
		have_more();
	}
	if (set_protection(addr, (to - from) << FL_PAGE_SHIFT, prot))
		return show_by_page(from, to, as, prot);
	for (uint64_t n = from; n < to; n++)
		set_shown(n, as);
	return 0;
}

/* Pages that are shown as `least` or more, and less than `as`, become so, in runs. *changed: how many. */
static int lift(uint64_t from, uint64_t to, enum shown least, enum shown as, uint64_t *changed)
{
	int err = 0;

	*changed = 0;
	for (uint64_t n = from, end; n < to && !err; n = end) {
		enum shown now = shown_as(n);
		bool wanted = now >= least && now < as;

		for (end = n + 1; end < to && (shown_as(end) >= least && shown_as(end) < as) == wanted; end++)
			;
		if (!wanted)
			continue;
		err = show_run(n, end, as);
		*changed += end - n;
	}
	return err;
}

/* ---- The operations ---- */

static uint64_t page_of(uint64_t addr)
{
	return addr >> FL_PAGE_SHIFT;
}

static int attach(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	int err;

	(void)m;
	if (flags & MMU_ANON) /* a huge page would be memory that nobody has asked for */
		sys_madvise((void *)addr, len, MADV_NOHUGEPAGE);
	mutex_lock(&lock);
	err = set_protection(addr, len, PROT_NONE);
	forget_pages(page_of(addr), page_of(addr + len)); /* also where that fails: the mapping goes then */
	mutex_unlock(&lock);
	return err;
}

/* What stays must not be forgotten: it would not be hidden before its frames go. What has gone must not be hidden: something else may be there. */
static void begin_detach(struct mmu *m)
{
	(void)m;
	mutex_lock(&lock);
}

static void end_detach(struct mmu *m, uint64_t addr, uint64_t len, bool gone)
{
	(void)m;
	if (gone)
		forget_pages(page_of(addr), page_of(addr + len));
	mutex_unlock(&lock);
}

static int map(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags)
{
	uint64_t changed;
	int err;

	(void)m;
	mutex_lock(&lock);
	err = lift(page_of(addr), page_of(addr + len), HIDDEN, flags & MMU_WP ? SHOWN : OPEN, &changed);
	mutex_unlock(&lock);
	return err || changed ? err : -EEXIST;
}

static int write_memory(uint64_t addr, const void *src, uint64_t len)
{
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = sys_pwrite(memory, (const char *)src + done, len - done, (off_t)(addr + done));

		if (n <= 0)
			return n ? (int)n : -EFAULT;
		done += (uint64_t)n;
	}
	return 0;
}

static int copy(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done)
{
	enum shown now;
	int err;

	*done = 0;
	mutex_lock(&lock);
	now = shown_as(page_of(addr));
	mutex_unlock(&lock);
	if (now != HIDDEN)
		return -EEXIST;
	err = write_memory(addr, src, len);
	if (!err)
		err = map(m, addr, len, flags);
	if (err) /* who looks for the page finds none in the table: there must be none */
		sys_madvise((void *)addr, len, MADV_DONTNEED);
	else
		*done = len;
	return err;
}

/* In memory, so they can be shown; a store waits from now on. */
static int protect(struct mmu *m, uint64_t addr, uint64_t len)
{
	int err;

	(void)m;
	mutex_lock(&lock);
	err = show_run(page_of(addr), page_of(addr + len), SHOWN);
	mutex_unlock(&lock);
	return err;
}

/* What was hidden meanwhile stays so: nobody knows whether it is still there. */
static int unprotect(struct mmu *m, uint64_t addr, uint64_t len)
{
	uint64_t changed;
	int err;

	(void)m;
	mutex_lock(&lock);
	err = lift(page_of(addr), page_of(addr + len), SHOWN, OPEN, &changed);
	mutex_unlock(&lock);
	return err;
}

static int hide(struct mmu *m, uint64_t addr, uint64_t len, bool held_too)
{
	int err;

	(void)m;
	mutex_lock(&lock);
	err = hide_pages(page_of(addr), page_of(addr + len), held_too);
	if (err == -ENOMEM) { /* a border too many */
		hide_all();
		err = hide_pages(page_of(addr), page_of(addr + len), held_too);
	}
	if (!err && !held_too)
		err = for_each_entry(page_of(addr), page_of(addr + len), false, protect_held);
	mutex_unlock(&lock);
	return err;
}

static int zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	int err = hide(m, addr, len, true);

	return err ? err : sys_madvise((void *)addr, len, MADV_DONTNEED);
}

static void zap_many(struct mmu *m, const struct mmu_range *ranges, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		zap(m, ranges[i].addr, ranges[i].len);
}

static int hold(struct mmu *m, uint64_t addr, bool write)
{
	uint64_t i;
	int err = 0;

	(void)m;
	mutex_lock(&lock);
	i = slot_of(page_of(addr));
	if ((table[i] & STATE_MASK) < (write ? OPEN : SHOWN) || (table[i] & HOLD_MASK) == HOLD_MASK)
		err = -EAGAIN;
	else
		table[i] += HOLD_ONE;
	mutex_unlock(&lock);
	return err;
}

static void let_go(struct mmu *m, uint64_t addr)
{
	uint64_t i;

	(void)m;
	mutex_lock(&lock);
	i = slot_of(page_of(addr));
	if (table[i] & HOLD_MASK)
		table[i] -= HOLD_ONE;
	mutex_unlock(&lock);
}

bool sigsegv_is_present(uint64_t addr)
{
	bool yes;

	mutex_lock(&lock);
	yes = slots && shown_as(page_of(addr)) != HIDDEN;
	mutex_unlock(&lock);
	return yes;
}

static void wake(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len; /* the handler's return is the wake-up */
}

/* ---- /proc/self/mem ---- */

/* A process that has changed its user may not open it, unless it says that it may be dumped (prctl(2)). */
static int open_memory(void)
{
	int dumpable = (int)sys_call(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0),
	    fd = sys_openat(proc, "thread-self/mem", O_RDWR | O_CLOEXEC, 0);

	if ((fd == -EACCES || fd == -EPERM) && dumpable != 1) {
		sys_call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
		fd = sys_openat(proc, "thread-self/mem", O_RDWR | O_CLOEXEC, 0);
		sys_call(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
	}
	return fd < 0 ? fd : fd_move_high(fd);
}

/* The kernel may be built, or told, not to write to what is hidden (Linux 6.12, proc_mem.force_override). */
static int try_to_write_hidden(void)
{
	char byte = 1;
	void *p = sys_mmap(NULL, FL_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (sys_is_err(p))
		return sys_err(p);
	err = write_memory((uint64_t)p, &byte, 1);
	sys_munmap(p, FL_PAGE_SIZE);
	return err;
}

/* Three quarters of the mappings that a process may have. */
static void read_map_count(void)
{
	char text[MAP_COUNT_DIGITS];
	uint64_t count = 0;
	int fd = sys_openat(proc, "sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = fd < 0 ? fd : sys_read(fd, text, sizeof text);

	for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
		count = count * 10 + (uint64_t)(text[i] - '0');
	if (fd >= 0)
		sys_close(fd);
	borders_max = borders_top = (count ? count : MAP_COUNT_USUAL) / 4 * 3;
}

/* What is open now is of no use to a child, in which nobody would open its own. */
static void close_proc(void)
{
	if (memory >= 0)
		fd_close(memory);
	fd_close(proc);
	memory = proc = -1;
}

static int open_proc(void)
{
	int fd = sys_openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0), err;

	if (fd < 0)
		return fd;
	proc = fd_move_high(fd);
	read_map_count();
	memory = open_memory();
	err = memory < 0 ? memory : try_to_write_hidden();
	if (err)
		close_proc();
	return err;
}

static struct mmu *find_context(bool in_use)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (!contexts[i].ops == !in_use)
			return &contexts[i];
	return NULL;
}

int sigsegv_probe(void)
{
	int err = memory < 0 ? open_proc() : 0;

	if (!err && !find_context(true))
		close_proc();
	return err;
}

static void destroy(struct mmu *m)
{
	m->ops = NULL;
	if (!find_context(true))
		close_proc();
}

#define INHERITED_PART 8 /* of the borders that there may be */

static bool is_in_pieces(struct mmu *m)
{
	bool yes;

	(void)m;
	mutex_lock(&lock);
	yes = inherited + borders > borders_max / INHERITED_PART;
	mutex_unlock(&lock);
	return yes;
}

/* The parent's descriptor is one of the parent's memory. All mappings are attached again. */
static int fork_child(struct mmu *m)
{
	int fd;

	(void)m;
	mutex_init(&lock, RANK_LEAF);
	for (uint64_t i = 0; i < slots; i++)
		table[i] = 0;
	inherited = min_u64(inherited + borders, borders_max);
	used = borders = 0;
	fd = open_memory();
	if (fd < 0)
		return fd;
	fd_close(memory);
	memory = fd;
	if (whole)
		atomic_store(whole, true);
	return 0;
}

static const struct mmu_ops sigsegv_ops = {
	.name = "SIGSEGV",
	.attach = attach,
	.begin_detach = begin_detach,
	.end_detach = end_detach,
	.copy = copy,
	.map = map,
	.protect = protect,
	.unprotect = unprotect,
	.hide = hide,
	.hold = hold,
	.let_go = let_go,
	.zap = zap,
	.zap_many = zap_many,
	.wake = wake,
	.destroy = destroy,
	.is_in_pieces = is_in_pieces,
	.fork_child = fork_child,
};

int sigsegv_create(struct mmu **out)
{
	struct mmu *m = find_context(false);
	int err = !m ? -ENOMEM : memory < 0 ? open_proc() : 0;

	if (err)
		return err == -ENOMEM || err == -EMFILE || err == -ENFILE ? err : -ENOSYS;
	*m = (struct mmu){.ops = &sigsegv_ops, .map_can_wp = true, .hides = true};
	err = fault_signal_install(SIGSEGV);
	if (err)
		destroy(m);
	*out = m;
	return err;
}
