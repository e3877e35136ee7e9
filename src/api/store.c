/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that programs bring, and the two that come with us. See faultline_store.h. */
#include "faultline_store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"
#include "soft.h"
#include "util/compiler.h"
#include "util/sys.h"

#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

struct fl_store {
	struct store store;       /* first: what the cache knows */
	struct store_ops ops;     /* of it */
	struct fl_store_ops user; /* the program's */
	void *arg;
	struct address_space *as; /* the reference that fl_store_create() gave */
};

static struct fl_store *self(struct store *s)
{
	return container_of(s, struct fl_store, store);
}

/* ---- struct store_ops, by the program's ---- */

static ssize_t user_read(struct store *s, void *buf, size_t len, uint64_t off)
{
	return self(s)->user.read(self(s)->arg, buf, len, off);
}

static int user_write(struct store *s, const void *buf, size_t len, uint64_t off)
{
	return self(s)->user.write(self(s)->arg, buf, len, off);
}

static int user_size(struct store *s, uint64_t *size)
{
	return self(s)->user.length(self(s)->arg, size);
}

static int user_sync(struct store *s)
{
	return self(s)->user.sync ? self(s)->user.sync(self(s)->arg) : 0;
}

static void user_discard(struct store *s, uint64_t off, uint64_t len)
{
	(void)s, (void)off, (void)len;
}

static int user_fault(struct store *s, uint64_t off, int access, void **page)
{
	uint64_t bytes;
	int err = self(s)->user.length(self(s)->arg, &bytes);

	if (!err && off >= bytes)
		err = -ENXIO;
	return err ? err : self(s)->user.fault(self(s)->arg, off, (enum fl_access)access, page);
}

static void user_close(struct store *s)
{
	struct fl_store *u = self(s);

	if (u->user.close)
		u->user.close(u->arg);
	free(u);
}

static const struct store_ops user_ops = {
	.read = user_read,
	.write = user_write,
	.size = user_size,
	.sync = user_sync,
	.discard = user_discard,
	.peek = user_read,
	.close = user_close,
};

/* ---- Stores ---- */

static bool makes_sense(const struct fl_store_ops *ops)
{
	return ops->name && ops->length && (ops->read || ops->fault);
}

static struct fl_store *alloc_store(const struct fl_store_ops *ops, void *arg)
{
	struct fl_store *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	memcpy(&s->user, ops, ops->size < sizeof s->user ? ops->size : sizeof s->user);
	s->arg = arg;
	s->ops = user_ops;
	s->ops.name = s->user.name;
	s->ops.fault = s->user.fault ? user_fault : NULL;
	s->store = (struct store){.ops = &s->ops, .writable = s->user.write || s->user.fault};
	return s;
}

static int add_store(struct fl_store *s)
{
	struct sigguard g;
	int err = engine_start_soft();

	if (err)
		return err;
	g = sigguard_enter_soft();
	err = address_space_new_store(&s->store, &s->as);
	sigguard_leave(g);
	return err;
}

FL_EXPORT fl_store *fl_store_create(const struct fl_store_ops *ops, void *arg)
{
	struct fl_store *s = alloc_store(ops, arg);
	int err = !s ? -ENOMEM : makes_sense(&s->user) ? add_store(s) : -EINVAL; /* what is there by its size, and nothing behind */

	if (!err)
		return s;
	free(s);
	errno = -err;
	return NULL;
}

FL_EXPORT void fl_store_put(fl_store *store)
{
	struct sigguard g;

	if (!store)
		return;
	g = sigguard_enter_soft();
	address_space_put(store->as);
	sigguard_leave(g);
}

/* What the store has to say to it. */
static int ask_store(struct fl_store *s, uint64_t length, int prot, int flags, off_t offset, int *max_prot)
{
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	uint64_t end = (uint64_t)offset + length;
	struct fl_mapping m = {.length = length, .offset = (uint64_t)offset, .prot = prot, .flags = flags, .max_prot = PROT_ALL};
	int err = 0;

	if (flags & (MAP_HUGETLB | MAP_GROWSDOWN))
		return -EINVAL; /* as of a file */
	if (offset < 0 || end < length || end > (PAGE_INDEX_MAX + 1) << FL_PAGE_SHIFT)
		return -EOVERFLOW;
	if (s->user.mmap)
		err = s->user.mmap(s->arg, &m);
	if (err)
		return err;
	if ((!shared && s->user.fault) || ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & MAP_SYNC)))
		return -EOPNOTSUPP;
	if (shared && !s->store.writable)
		m.max_prot &= ~PROT_WRITE;
	*max_prot = m.max_prot;
	return prot & ~m.max_prot & PROT_ALL ? -EACCES : 0;
}

static int map_store(struct mm *mm, struct mmap_request *rq, uint64_t *out)
{
	struct sigguard g = sigguard_enter_soft();
	int err;

	err = mm_mmap(mm, rq, out);
	sigguard_leave(g);
	return err;
}

FL_EXPORT void *fl_space_mmap_store(fl_space *space, void *addr, size_t length, int prot, int flags, fl_store *store, off_t offset)
{
	struct mmap_request rq = {.addr = (uintptr_t)addr,
				  .len = length,
				  .offset = (uint64_t)offset,
				  .prot = prot,
				  .flags = flags & ~MAP_ANONYMOUS,
				  .fd = -1,
				  .as = store->as};
	struct mm *mm = soft_mm(space);
	uint64_t out = 0;
	int err;

	if (!mm)
		return MAP_FAILED;
	err = ask_store(store, mm_align_up(mm, length), prot, flags, offset, &rq.max_prot);
	if (!err)
		err = map_store(mm, &rq, &out);
	if (!err)
		return (void *)(uintptr_t)out;
	errno = -err;
	return MAP_FAILED;
}

/* ---- A ring ---- */

struct ring {
	char *memory;
	size_t bytes;
};

static int ring_length(void *arg, uint64_t *bytes)
{
	(void)arg;
	*bytes = INT64_MAX; /* round and round */
	return 0;
}

static int ring_fault(void *arg, uint64_t off, enum fl_access access, void **page)
{
	const struct ring *r = arg;

	(void)access;
	*page = r->memory + off % r->bytes;
	return 0;
}

static void ring_close(void *arg)
{
	struct ring *r = arg;

	sys_munmap(r->memory, r->bytes);
	free(r);
}

static const struct fl_store_ops ring_ops = {
	.size = sizeof ring_ops,
	.name = "ring",
	.length = ring_length,
	.fault = ring_fault,
	.close = ring_close,
};

static struct ring *new_ring(size_t bytes)
{
	struct ring *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->bytes = bytes;
	r->memory = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sys_is_err(r->memory))
		return r;
	free(r);
	return NULL;
}

FL_EXPORT fl_store *fl_ring_create(size_t bytes)
{
	struct ring *r = NULL;
	fl_store *s;

	errno = EINVAL;
	if (!bytes || bytes & FL_PAGE_MASK)
		return NULL;
	r = new_ring(bytes);
	errno = ENOMEM;
	s = r ? fl_store_create(&ring_ops, r) : NULL;
	if (r && !s)
		ring_close(r);
	return s;
}

/* ---- A generator ---- */

struct generator {
	int (*fill)(void *arg, void *page, uint64_t off);
	void *arg;
	uint64_t bytes;
};

static ssize_t generator_read(void *arg, void *buf, size_t len, uint64_t off)
{
	const struct generator *g = arg;
	uint64_t n = off < g->bytes ? min_u64(len, g->bytes - off) : 0;
	char page[FL_PAGE_SIZE];

	for (uint64_t done = 0; done < n; done += FL_PAGE_SIZE) {
		int err = g->fill(g->arg, page, off + done);

		if (err)
			return err;
		memcpy((char *)buf + done, page, min_u64(FL_PAGE_SIZE, n - done));
	}
	return (ssize_t)n;
}

static int generator_length(void *arg, uint64_t *bytes)
{
	*bytes = ((const struct generator *)arg)->bytes;
	return 0;
}

static const struct fl_store_ops generator_ops = {
	.size = sizeof generator_ops,
	.name = "generator",
	.read = generator_read,
	.length = generator_length,
	.close = free,
};

FL_EXPORT fl_store *fl_generator_create(int (*fill)(void *arg, void *page, uint64_t off), void *arg, uint64_t bytes)
{
	struct generator *g;
	fl_store *s;

	errno = EINVAL;
	if (!fill || bytes > INT64_MAX)
		return NULL;
	g = calloc(1, sizeof *g);
	errno = ENOMEM;
	if (!g)
		return NULL;
	*g = (struct generator){.fill = fill, .arg = arg, .bytes = bytes};
	s = fl_store_create(&generator_ops, g);
	if (!s)
		free(g);
	return s;
}
