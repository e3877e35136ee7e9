/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is taken for unchanged when size, mtime and ctime are as last seen, and were not that young when last seen: the
 * kernel's clock for files may stand still for 10 ms, in which a second change would leave no trace.
 *
 * Not done: other processes' changes of a page that is dirty here. Who shares a page between processes needs the kernel.
 */
#include "revalidate.h"

#include <time.h>

#include "api/engine.h"
#include "api/file_io.h"
#include "cache/truncate.h"
#include "util/compiler.h"

#define STAMPS 256
#define YOUNG_NS 20000000

struct stamp {
	uint64_t dev, ino;
	struct timespec mtime, ctime;
	off_t size;
	bool used, young;
};

static struct mutex lock = MUTEX_INIT(RANK_LEAF);
static struct stamp stamps[STAMPS];
static uint32_t turn;
static _Atomic bool may_be_handed;

/* Caller holds the lock. */
static struct stamp *find(uint64_t dev, uint64_t ino)
{
	for (int i = 0; i < STAMPS && stamps[i].used; i++)
		if (stamps[i].ino == ino && stamps[i].dev == dev)
			return &stamps[i];
	return NULL;
}

static struct stamp *find_or_make(uint64_t dev, uint64_t ino)
{
	struct stamp *s = find(dev, ino);

	for (int i = 0; i < STAMPS && !s; i++)
		if (!stamps[i].used)
			s = &stamps[i];
	return s ? s : &stamps[turn++ % STAMPS];
}

static bool is_young(struct timespec t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - t.tv_sec) * 1000000000LL + now.tv_nsec - t.tv_nsec < YOUNG_NS;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool unchanged(const struct stamp *s, const struct stat *st)
{
	return s && !s->young && s->size == st->st_size && same_time(s->mtime, st->st_mtim) && same_time(s->ctime, st->st_ctim);
}

static void remember(const struct stat *st)
{
	*find_or_make(st->st_dev, st->st_ino) = (struct stamp){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
		.size = st->st_size,
		.used = true,
		.young = is_young(st->st_ctim) || is_young(st->st_mtim),
	};
}

void revalidate_remember(int fd)
{
	struct sigguard g;
	struct stat st;

	if (sys_fstat(fd, &st))
		return;
	g = sigguard_enter();
	mutex_lock(&lock);
	remember(&st);
	mutex_unlock(&lock);
	sigguard_leave(g);
}

/* Remembers what it sees, so that one caller gets to know of a change. */
static bool has_changed(struct address_space *as)
{
	struct sigguard g;
	struct stat st;
	bool yes;

	if (sys_fstat(file_store_fd(as->store), &st))
		return true;
	g = sigguard_enter();
	mutex_lock(&lock);
	yes = !unchanged(find(st.st_dev, st.st_ino), &st);
	remember(&st);
	mutex_unlock(&lock);
	sigguard_leave(g);
	return yes;
}

/* Locked pages went with the others, and come back. */
static bool next_locked(struct address_space *as, uint64_t *at, uint64_t *end)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	const unsigned how = VM_LOCKED | VM_LOCKONFAULT | VM_HANDED;
	struct vma *v;

	mutex_lock(&mm->mmap_lock);
	for (v = vma_find(&mm->index, *at); v && (v->as != as || (v->flags & how) != VM_LOCKED); v = vma_find(&mm->index, v->end))
		;
	if (v) {
		*at = max_u64(*at, v->start);
		*end = v->end;
	}
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return v;
}

static void populate_locked(struct address_space *as)
{
	struct mm *mm = engine_space();

	if (!mm || !atomic_load(&mm->locked))
		return;
	for (uint64_t at = 0, end; next_locked(as, &at, &end); at = end) {
		struct sigguard g = sigguard_enter();

		mm_populate(mm, at, end - at, false);
		sigguard_leave(g);
	}
}

void revalidate(struct address_space *as)
{
	struct file_change c;

	if (as_is_hosted(as)) /* its host sees to what the processes that share it do */
		return;
	if (!has_changed(as) || !atomic_load(&as->nr_pages))
		return;
	file_io_sync(as, 0, UINT64_MAX);
	file_change_begin(&c, as);
	invalidate_clean_pages(as);
	file_change_end(&c, 0, 0);
	populate_locked(as);
}

void revalidate_locked(int fd)
{
	struct address_space *as = file_io_lookup(fd);

	if (!as)
		return;
	revalidate(as);
	file_io_put(as);
}

void revalidate_unlocking(int fd)
{
	struct address_space *as = file_io_lookup(fd);

	if (!as)
		return;
	if (atomic_load(&as->nr_dirty)) {
		file_io_sync(as, 0, UINT64_MAX);
		revalidate_remember(file_store_fd(as->store));
	}
	file_io_put(as);
}

/* Only a fork hands mappings over without our doing. */
void revalidate_forked(void)
{
	atomic_store(&may_be_handed, true);
}

static bool has_handed(struct address_space *as)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	bool yes = false;

	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, 0); v && !yes; v = vma_find(&mm->index, v->end))
		yes = v->as == as && (v->flags & VM_HANDED);
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return yes;
}

bool revalidate_handed(struct address_space *as)
{
	return atomic_load(&may_be_handed) && has_handed(as);
}
