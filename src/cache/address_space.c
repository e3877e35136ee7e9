/* SPDX-License-Identifier: Apache-2.0 */
#include "address_space_internal.h"

#include <errno.h>
#include <string.h>

#include "budget.h"
#include "file_object.h"
#include "frames.h"
#include "host/wire.h"
#include "hosted.h"
#include "io.h"
#include "ram.h"
#include "truncate.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/own.h"
#include "writeback.h"

#define IDS 65536
#define ARENA_RESERVE (1UL << 30)

static struct mutex files_lock = MUTEX_INIT(RANK_FILES);
static struct address_space *files;              /* files_lock; objects with a file, not anon */
static struct address_space *alike[WIRE_FILTER]; /* files_lock; the same by wire_filter() */
_Atomic uint64_t address_space_files;
static _Atomic uint32_t own_filter[WIRE_FILTER];
_Atomic uint32_t *address_space_filter = own_filter; /* files in `files` by a hash of their inode: 0 says there is none */
static struct address_space **by_id;                 /* entry set before its pages are in the table; files_lock to change */
static uint32_t next_id;                             /* files_lock */
static struct arena arena;
static struct address_space *free_objects; /* files_lock; linked by next. Not given back: see invalidate_lock */
static bool use_direct, use_pool;
bool address_space_has_others;
static _Atomic uint32_t *files_shown, *dirty_shown; /* to whom files are kept for; NULL: nobody */
static struct address_space zero = {.zero = true, .memfd = -1};

/* Also in a forked child, whose report is a new one. */
static void init_zero(void)
{
	rwlock_init(&zero.invalidate_lock, RANK_INVALIDATE);
	zero.refs = 1;
	zero.rmaps = NULL;
	zero.report = report_file_get(0, 0, "(anonymous memory)");
	atomic_store(&zero.size, UINT64_MAX);
}

struct address_space *address_space_zero(void)
{
	return &zero;
}

bool as_is_anon(const struct address_space *as)
{
	return atomic_load_explicit(&as->frames, memory_order_relaxed) == &anon_frames;
}

bool as_is_pool(const struct address_space *as)
{
	return atomic_load_explicit(&as->frames, memory_order_relaxed) == &pool_frames;
}

bool as_is_hosted(const struct address_space *as)
{
	return atomic_load_explicit(&as->frames, memory_order_relaxed) == &hosted_frames;
}

bool as_lives_mapped(const struct address_space *as)
{
	return as_is_pool(as) || as_is_anon(as);
}

void address_space_use_pool(bool yes)
{
	use_pool = yes && pool_frames_work();
}

void address_space_set_shmem(struct address_space *as, int memfd)
{
	as->memfd = memfd;
	atomic_store(&as->frames, &shmem_frames);
}

int address_space_init(bool direct)
{
	void *p = own_reserve(IDS * sizeof *by_id);
	int err;

	if (sys_is_err(p))
		return -ENOMEM;
	err = arena_init(&arena, ARENA_RESERVE, budget_charge_metadata, budget_charge_ahead);
	if (err) {
		sys_munmap(p, IDS * sizeof *by_id);
		return err;
	}
	by_id = p;
	next_id = 0;
	use_direct = direct;
	address_space_has_others = false;
	files_shown = dirty_shown = NULL;
	init_zero();
	return 0;
}

/* Without files nothing is dirty. */
static void check_shown(void)
{
	for (uint32_t i = 0; dirty_shown && !files && i < WIRE_FILTER; i++)
		fl_debug_assert(!atomic_load(&dirty_shown[i]));
}

void address_space_exit(void)
{
	if (!by_id)
		return;
	check_shown();
	for (struct address_space *as = files; as; as = as->next)
		if (as->label) /* the program still has it, and it ends with us */
			as->store->ops->close(as->store);
	sys_munmap(by_id, IDS * sizeof *by_id);
	by_id = NULL;
	files = free_objects = NULL;
	memset(alike, 0, sizeof alike);
	atomic_store(&address_space_files, 0);
	address_space_filter = own_filter;
	memset((void *)own_filter, 0, sizeof own_filter);
	budget_release_metadata(arena_used(&arena) >> FL_PAGE_SHIFT);
	arena_exit(&arena);
}

void address_space_serve_others(_Atomic uint32_t *shared, _Atomic uint32_t *dirty, _Atomic uint32_t *count)
{
	address_space_filter = shared;
	dirty_shown = dirty;
	files_shown = count;
	address_space_has_others = true;
}

void address_space_show_dirty(const struct address_space *as, int n)
{
	atomic_fetch_add(&dirty_shown[wire_filter(as->file.dev, as->file.ino)], (uint32_t)n);
}

struct arena *address_space_arena(void)
{
	return &arena;
}

struct address_space *address_space_of(struct page_key key)
{
	return __atomic_load_n(&by_id[key.as], __ATOMIC_ACQUIRE);
}

static _Atomic uint32_t *filter_of(struct file_id file)
{
	return &address_space_filter[wire_filter(file.dev, file.ino)];
}

static void show_file(struct file_id file, int n)
{
	atomic_fetch_add(filter_of(file), (uint32_t)n);
	if (files_shown)
		atomic_fetch_add(files_shown, (uint32_t)n);
}

uint64_t address_space_count(void)
{
	return atomic_load(&address_space_files);
}

/* Ids go round, so that a stale key rarely names a new object. Caller holds files_lock. */
static int id_alloc(struct address_space *as)
{
	for (uint32_t i = 0; i < IDS; i++) {
		uint32_t id = next_id++ % IDS;

		if (!by_id[id]) {
			as->id = (uint16_t)id;
			__atomic_store_n(&by_id[id], as, __ATOMIC_RELEASE);
			return 0;
		}
	}
	return -ENOMEM;
}

int address_space_number(struct address_space *as)
{
	int err;

	mutex_lock(&files_lock);
	err = id_alloc(as);
	mutex_unlock(&files_lock);
	return err;
}

void address_space_unnumber(struct address_space *as)
{
	mutex_lock(&files_lock);
	if (by_id[as->id] == as)
		__atomic_store_n(&by_id[as->id], NULL, __ATOMIC_RELEASE);
	mutex_unlock(&files_lock);
}

/* A cleared object that keeps the lock of its former life. */
static struct address_space *object_alloc(void)
{
	const size_t keep = sizeof(struct rwlock);
	struct address_space *as;

	mutex_lock(&files_lock);
	as = free_objects;
	if (as)
		free_objects = as->next;
	mutex_unlock(&files_lock);
	if (as) {
		memset((char *)as + keep, 0, sizeof *as - keep);
	} else {
		as = arena_alloc(&arena, sizeof *as);
		if (as)
			rwlock_init(&as->invalidate_lock, RANK_INVALIDATE);
	}
	return as;
}

void address_space_free(struct address_space *as)
{
	mutex_lock(&files_lock);
	as->next = free_objects;
	free_objects = as;
	mutex_unlock(&files_lock);
}

struct address_space *address_space_alloc(const struct frame_ops *frames)
{
	struct address_space *as = object_alloc();

	if (!as)
		return NULL;
	as->frames = frames;
	as->memfd = -1;
	as->refs = 1;
	return as;
}

static void free_file(struct address_space *as)
{
	file_object_close(as);
	address_space_free(as);
}

static const struct frame_ops *first_frames(bool scratch, bool soft)
{
	if (scratch && !soft && hosted_wanted())
		return &hosted_frames;
	return soft ? &ram_frames : use_pool && !scratch ? &pool_frames : &shmem_frames;
}

static int new_file(int fd, const struct stat *st, bool scratch, bool soft, struct address_space **out)
{
	struct address_space *as = address_space_alloc(first_frames(scratch, soft));
	int err;

	if (!as)
		return -ENOMEM;
	as->file = (struct file_id){.dev = st->st_dev, .ino = st->st_ino};
	as->scratch = scratch;
	err = file_object_open(as, fd, st->st_mode, soft, use_direct);
	if (err) {
		free_file(as);
		return err;
	}
	*out = as;
	return 0;
}

/* Caller holds files_lock. */
static struct address_space *lookup(struct file_id file)
{
	struct address_space *as;

	for (as = alike[wire_filter(file.dev, file.ino)]; as; as = as->next_alike)
		if (as->file.ino == file.ino && as->file.dev == file.dev)
			return as;
	return NULL;
}

static int get_known(int fd, bool soft, struct address_space *as, struct address_space **out)
{
	bool writable = as->store->writable;
	int err = as_is_ram(as) == soft ? file_store_widen(as->store, fd) : -EBUSY;

	if (!err && as_is_hosted(as) && as->store->writable != writable)
		err = hosted_widen(as, fd);
	if (err)
		return err;
	as->refs++;
	*out = as;
	return 0;
}

/* Who cuts it from now on sees that it is mapped, and waits for files_lock; who did before it was shown may have done so after its size was looked at. */
static void look_at_size(struct address_space *as)
{
	if (as->store && !as->kernels && !as_is_hosted(as))
		address_space_stat(as);
}

/* Caller holds files_lock. */
static void link_file(struct address_space *as)
{
	struct address_space **head = &alike[wire_filter(as->file.dev, as->file.ino)];

	as->next = files;
	as->link = &files;
	if (files)
		files->link = &as->next;
	files = as;
	as->next_alike = *head;
	as->link_alike = head;
	if (*head)
		(*head)->link_alike = &as->next_alike;
	*head = as;
	atomic_fetch_add(&address_space_files, 1);
	show_file(as->file, 1);
}

static void unlink_file(struct address_space *as)
{
	fl_debug_assert(*as->link == as && *as->link_alike == as);
	*as->link = as->next;
	if (as->next)
		as->next->link = as->link;
	*as->link_alike = as->next_alike;
	if (as->next_alike)
		as->next_alike->link_alike = as->link_alike;
	atomic_fetch_sub(&address_space_files, 1);
	show_file(as->file, -1);
	__atomic_store_n(&by_id[as->id], NULL, __ATOMIC_RELEASE);
}

/* Takes over `fresh` when the file is not known. Caller holds files_lock. */
static int get_or_add(int fd, bool soft, struct file_id file, struct address_space *fresh, struct address_space **out)
{
	struct address_space *as = lookup(file);
	int err;

	*out = NULL;
	if (as)
		return get_known(fd, soft, as, out);
	if (!fresh)
		return -ENOENT;
	err = id_alloc(fresh);
	if (err)
		return err;
	link_file(fresh);
	look_at_size(fresh);
	*out = fresh;
	return 0;
}

#define STORE_DEV (~0ULL) /* of no file system */

int address_space_new_store(struct store *store, struct address_space **out)
{
	static _Atomic uint64_t number;
	struct address_space *as = address_space_alloc(&ram_frames), *known;
	int err;

	if (!as)
		return -ENOMEM;
	as->file = (struct file_id){.dev = STORE_DEV, .ino = atomic_fetch_add(&number, 1) + 1};
	as->label = store->ops->name;
	as->device = store->ops->fault;
	as->report = report_file_get(as->file.dev, as->file.ino, as->label);
	as->store = store;
	err = address_space_stat(as);
	if (!err) {
		mutex_lock(&files_lock);
		err = get_or_add(-1, true, as->file, as, &known);
		mutex_unlock(&files_lock);
	}
	if (err)
		address_space_free(as);
	else
		*out = as;
	return err;
}

/* Made outside files_lock, and thrown away when another thread was faster. */
static int add_new(int fd, const struct stat *st, bool scratch, bool soft, struct address_space **out)
{
	struct file_id file = {.dev = st->st_dev, .ino = st->st_ino};
	struct address_space *fresh;
	int err = new_file(fd, st, scratch, soft, &fresh);

	if (err)
		return err;
	mutex_lock(&files_lock);
	err = get_or_add(fd, soft, file, fresh, out);
	mutex_unlock(&files_lock);
	if (*out != fresh)
		free_file(fresh);
	return err;
}

/* -ENOENT: it is not here yet. */
static int get_if_here(int fd, const struct stat *st, bool soft, struct address_space **out)
{
	int err;

	mutex_lock(&files_lock);
	err = get_or_add(fd, soft, (struct file_id){.dev = st->st_dev, .ino = st->st_ino}, NULL, out);
	mutex_unlock(&files_lock);
	return err;
}

int address_space_get(int fd, const struct stat *st, bool soft, struct address_space **out)
{
	int err = get_if_here(fd, st, soft, out);

	return err == -ENOENT ? add_new(fd, st, false, soft, out) : err;
}

int address_space_get_scratch(int fd, const struct stat *st, bool soft, struct address_space **out)
{
	int err = get_if_here(fd, st, soft, out);

	return err == -ENOENT ? add_new(fd, st, true, soft, out) : err;
}

int address_space_new_scratch(uint64_t bytes, bool soft, struct address_space **out)
{
	int fd = swap_open_scratch(bytes), err;
	struct stat st;

	if (fd < 0)
		return fd;
	err = sys_fstat(fd, &st);
	if (!err)
		err = add_new(fd, &st, true, soft, out);
	fd_close(fd);
	return err;
}

struct address_space *address_space_find(struct file_id file)
{
	struct address_space *as;

	mutex_lock(&files_lock);
	as = lookup(file);
	if (as)
		as->refs++;
	mutex_unlock(&files_lock);
	return as;
}

void address_space_hold(struct address_space *as)
{
	mutex_lock(&files_lock);
	as->refs++;
	mutex_unlock(&files_lock);
}

/* Whether there is anything in it that must not be lost. */
static bool has_stores(struct address_space *as)
{
	return !as->scratch && atomic_load(&as->nr_dirty);
}

static bool may_have_stores_at_host(struct address_space *as)
{
	return as_is_hosted(as) && !as->scratch && as->store->writable;
}

#define ROUNDS 8 /* pinned pages stay dirty whatever is written */

/*
 * The last one out writes back without files_lock, so another may come in meanwhile: then it is not the last after all. And
 * what came and went meanwhile may have left dirty pages: hence the rounds.
 * Between the last look under the lock and the end of this function nobody can find the object any more.
 */
int address_space_put(struct address_space *as)
{
	int err = 0;

	mutex_lock(&files_lock);
	if (as->refs == 1 && may_have_stores_at_host(as)) { /* where others may have it, and it is not written back with our end of it */
		mutex_unlock(&files_lock);
		err = writeback_all(as);
		err = err == -EHOSTDOWN ? 0 : err; /* that has been said */
		mutex_lock(&files_lock);
	}
	for (int i = 0; i < ROUNDS && !err && as->refs == 1 && has_stores(as); i++) {
		mutex_unlock(&files_lock);
		err = writeback_all(as);
		mutex_lock(&files_lock);
	}
	if (--as->refs > 0 || has_stores(as)) {
		mutex_unlock(&files_lock);
		return err;
	}
	if (as_is_hosted(as)) {
		unlink_file(as);
		mutex_unlock(&files_lock);
		free_file(as);
		return err;
	}
	write_lock(&as->invalidate_lock); /* who still works on a page of it has it for reading */
	io_drain(as);
	truncate_pages(as, 0, PAGE_INDEX_MAX);
	write_unlock(&as->invalidate_lock);
	unlink_file(as);
	mutex_unlock(&files_lock);
	free_file(as);
	return err;
}

uint32_t address_space_handle(const struct address_space *as)
{
	return (uint32_t)(((const char *)as - arena.base) / ARENA_ALIGN);
}

struct address_space *address_space_at(uint32_t handle)
{
	return (struct address_space *)(arena.base + (uint64_t)handle * ARENA_ALIGN);
}

int address_space_for_each(int (*fn)(struct address_space *as, void *arg), void *arg)
{
	struct address_space *as, *next;
	int err = 0;

	mutex_lock(&files_lock);
	as = files;
	if (as)
		as->refs++;
	while (as) {
		mutex_unlock(&files_lock);
		err = fn(as, arg);
		mutex_lock(&files_lock);
		next = as->next;
		if (next)
			next->refs++;
		mutex_unlock(&files_lock);
		address_space_put(as);
		mutex_lock(&files_lock);
		as = next;
		if (err && as) {
			mutex_unlock(&files_lock);
			address_space_put(as);
			return err;
		}
	}
	mutex_unlock(&files_lock);
	return err;
}

void address_space_wait_change(struct address_space *as)
{
	read_lock(&as->invalidate_lock);
	read_unlock(&as->invalidate_lock);
}

int address_space_stat(struct address_space *as)
{
	uint64_t size;
	int err = as->store->ops->size(as->store, &size);

	if (!err)
		atomic_store(&as->size, size);
	return err;
}

/* A page less is the last word of who takes it out: when none is left, the object may be freed (truncate_pages). */
void as_count_page(struct address_space *as, int n)
{
	if (n > 0)
		report_raise(&as->report->pages, &as->report->pages_peak, (uint64_t)n);
	else
		report_sub(&as->report->pages, (uint64_t)-n);
	atomic_fetch_add_explicit(&as->nr_pages, (uint64_t)(int64_t)n, memory_order_release);
}

/* ---- Fork ---- */

/* Nothing goes to swap or leaves the mappings until there is the child, and until it has copied the swap file. */
void address_space_fork_prepare(void)
{
	mutex_lock(&files_lock);
	write_lock(&rmap_lock);
	arena_fork_prepare(&arena);
	swap_fork_prepare();
}

void address_space_fork_parent(void)
{
	swap_fork_parent();
	arena_fork_done(&arena);
	write_unlock(&rmap_lock);
	mutex_unlock(&files_lock);
}

/*
 * A private page that leaves is marked as swapped first, unless it may be lost, and then taken out of the mapping (anon_drop): whether the child has
 * a copy of its memory is not known. One that the table does not know could be stored to unseen, and give way to what swap has.
 */
bool address_space_fork_keeps(struct page_key key, uint32_t word)
{
	struct address_space *as = by_id[key.as];

	if (!as || !as_is_anon(as))
		return false;
	if (page_state_of(word) != PAGE_EVICTING || !(anon_is_swapped(as, key.index) || (word & PG_LAZYFREE)))
		return true;
	anon_fork_zap(as, key.index);
	return false;
}

static struct report_file *report_of(struct address_space *anon)
{
	struct address_space *file = anon->file.ino ? lookup(anon->file) : &zero;

	return file ? file->report : report_file_get(anon->file.dev, anon->file.ino, "(unmapped file)");
}

/* The pages that came along are all DIRTY (page_table_fork_child). */
static void count_again(void)
{
	pfn_t high = page_table_high();

	for (pfn_t p = 0; p < high; p++) {
		if (page_state_of(page_word(p)) == PAGE_ABSENT)
			continue;
		as_count_page(address_space_of(page_key(p)), 1);
		as_count_dirty(address_space_of(page_key(p)), 1);
	}
}

/* What soft spaces map stays with the parent, as they do. */
static void forget_soft(void)
{
	for (struct address_space *as = files, *next; as; as = next) {
		next = as->next;
		if (as_is_ram(as))
			unlink_file(as);
	}
	for (uint32_t id = 0; id < IDS; id++)
		if (by_id[id] && as_is_slots(by_id[id]))
			by_id[id] = NULL;
}

static int fork_all(uint64_t *pages)
{
	int err = 0;

	forget_soft();

	*pages = arena_used(&arena) >> FL_PAGE_SHIFT;
	zero.report = report_file_get(0, 0, "(anonymous memory)");
	rwlock_init(&zero.invalidate_lock, RANK_INVALIDATE);
	for (struct address_space *as = files; as && !err; as = as->next)
		err = file_object_fork(as);
	for (uint32_t id = 0; id < IDS; id++) {
		struct address_space *as = by_id[id];

		if (!as)
			continue;
		rwlock_init(&as->invalidate_lock, RANK_INVALIDATE);
		atomic_store(&as->writes_tail, 0);
		atomic_store(&as->direct_writes, 0);
		atomic_store(&as->nr_pages, 0);
		atomic_store(&as->nr_dirty, 0);
		atomic_store(&as->locked, 0);
		if (as_is_anon(as)) {
			as->report = report_of(as);
			*pages += anon_swap_pages(as);
		}
	}
	count_again();
	return err;
}

void address_space_fork_child_begin(void)
{
	swap_fork_child_begin();
	arena_fork_done(&arena);
	write_unlock(&rmap_lock);
	mutex_unlock(&files_lock);
	rwlock_init(&rmap_lock, RANK_RMAP);
}

int address_space_fork_child(uint64_t *pages)
{
	int err = swap_fork_child();

	return err ? err : fork_all(pages);
}

/* ---- Errors of write-back ---- */

uint32_t wb_err_sample(struct address_space *as)
{
	return atomic_load(&as->wb_err);
}

int wb_err_check(struct address_space *as, uint32_t *since)
{
	uint32_t now = atomic_load(&as->wb_err);

	if (now == *since)
		return 0;
	*since = now;
	return -(int)(now >> 16);
}

void wb_err_set(struct address_space *as, int err)
{
	uint32_t was = atomic_load(&as->wb_err);

	while (!atomic_compare_exchange_weak(&as->wb_err, &was, (uint32_t)-err << 16 | ((was + 1) & 0xffff)))
		;
}
