/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of the program's own, and the two that come with the library. */
#include "soft.h"

/* ---- Stores and devices ---- */

struct device {
	char *memory; /* fault: what is shown */
	uint64_t bytes;
	int error; /* of every call, when set */
	int reads, writes, syncs, closed, max_prot;
	uint64_t word[1024]; /* first word of each page, as read and written */
};

static ssize_t device_read(void *arg, void *buf, size_t len, uint64_t off)
{
	struct device *d = arg;

	d->reads++;
	if (d->error)
		return d->error;
	if (off >= d->bytes)
		return 0;
	len = len < d->bytes - off ? len : d->bytes - off;
	memset(buf, 0, len);
	for (size_t i = 0; i + 8 <= len; i += PAGE)
		memcpy((char *)buf + i, &d->word[(off + i) / PAGE], 8);
	return (ssize_t)len;
}

static int device_write(void *arg, const void *buf, size_t len, uint64_t off)
{
	struct device *d = arg;

	d->writes++;
	for (size_t i = 0; !d->error && i + 8 <= len; i += PAGE)
		memcpy(&d->word[(off + i) / PAGE], (const char *)buf + i, 8);
	return d->error;
}

static int device_length(void *arg, uint64_t *bytes)
{
	*bytes = ((struct device *)arg)->bytes;
	return 0;
}

static int device_sync(void *arg)
{
	((struct device *)arg)->syncs++;
	return 0;
}

static int device_mmap(void *arg, struct fl_mapping *m)
{
	struct device *d = arg;

	if (m->offset >= d->bytes)
		return -ENXIO;
	m->max_prot &= d->max_prot;
	return 0;
}

static int device_fault(void *arg, uint64_t off, enum fl_access access, void **page)
{
	struct device *d = arg;

	(void)access;
	*page = d->memory + off;
	return d->error;
}

static void device_close(void *arg)
{
	((struct device *)arg)->closed++;
}

static const struct fl_store_ops block_ops = {.size = sizeof block_ops,
					      .name = "block",
					      .read = device_read,
					      .write = device_write,
					      .length = device_length,
					      .sync = device_sync,
					      .close = device_close};
static const struct fl_store_ops rom_ops = {
	.size = sizeof rom_ops, .name = "rom", .read = device_read, .length = device_length, .close = device_close};
static const struct fl_store_ops mmio_ops = {.size = sizeof mmio_ops,
					     .name = "mmio",
					     .length = device_length,
					     .fault = device_fault,
					     .mmap = device_mmap,
					     .close = device_close};

TEST(a_store_is_read_cached_and_written_back)
{
	static struct device d;
	fl_space *s = new_space(NULL), *t = new_space(NULL);
	fl_store *st;
	uint64_t p, q;

	(void)*state;
	d = (struct device){.bytes = 1024 * PAGE - 100};
	for (uint64_t i = 0; i < 1024; i++)
		d.word[i] = i + 1;
	st = fl_store_create(&block_ops, &d);
	assert_non_null(st);
	p = map_store(s, st, 1024 * PAGE, RW, MAP_SHARED, 0);
	q = map_store(t, st, 512 * PAGE, RW, MAP_PRIVATE, 512 * PAGE);
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(peek(s, p + i * PAGE), i + 1);
	assert_true(d.reads < 1024); /* read ahead */
	for (uint64_t i = 0; i < 1024; i++)
		poke(s, p + i * PAGE, i + 2);
	assert_int_equal(peek(t, q), 514);
	poke(t, q, 7);
	assert_int_equal(peek(s, p + 512 * PAGE), 514);
	assert_int_equal(peek(s, p + 1024 * PAGE - 100), 0);
	assert_int_equal(fl_space_msync(s, (void *)p, 1024 * PAGE, MS_SYNC), 0);
	assert_true(d.syncs > 0);
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(d.word[i], i + 2);
	fl_store_put(st);
	assert_int_equal(d.closed, 0);
	poke(s, p, 99);
	assert_int_equal(fl_space_destroy(t), 0);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.word[0], 99);
	assert_int_equal(d.closed, 1);
}

TEST(a_store_that_fails_raises_sigbus_and_fails_msync)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 4 * PAGE, .error = -EIO};
	st = fl_store_create(&block_ops, &d);
	p = map_store(s, st, 8 * PAGE, RW, MAP_SHARED, 0);
	load_fails(c, p, SIGBUS, BUS_ADRERR);
	store_fails(c, p, SIGBUS, BUS_ADRERR);
	d.error = 0;
	store(c, p, 5);
	load_fails(c, p + 4 * PAGE, SIGBUS, BUS_ADRERR); /* beyond its length */
	d.error = -ENOSPC;
	assert_fails(fl_space_msync(s, (void *)p, PAGE, MS_SYNC), ENOSPC);
	d.error = 0;
	assert_int_equal(fl_space_msync(s, (void *)p, PAGE, MS_SYNC), 0);
	assert_int_equal(d.word[0], 5);
	fl_store_put(st);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 1);
}

TEST(a_store_without_write_is_for_reading)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 4 * PAGE};
	st = fl_store_create(&rom_ops, &d);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	p = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, RW), EACCES);
	p = map_store(s, st, PAGE, RW, MAP_PRIVATE, 0);
	poke(s, p, 1);
	assert_int_equal(d.word[0], 0);
	assert_fails(fl_space_mmap_store(s, NULL, 0, PROT_READ, MAP_SHARED, st, 0) == MAP_FAILED, EINVAL);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 100) == MAP_FAILED, EINVAL);
	assert_fails(fl_space_mmap_store(fl_space_default(), NULL, PAGE, PROT_READ, MAP_SHARED, st, 0) == MAP_FAILED, EINVAL);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 1);
}

TEST(offsets_beyond_4_pib_are_refused)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;

	(void)*state;
	d = (struct device){.bytes = INT64_MAX};
	st = fl_store_create(&rom_ops, &d);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 1ll << 52) == MAP_FAILED, EOVERFLOW);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, INT64_MAX & ~4095ll) == MAP_FAILED, EOVERFLOW);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, -4096) == MAP_FAILED, EOVERFLOW);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
}

TEST(fl_exit_closes_stores)
{
	static struct device d;
	struct fl_options o = {.size = sizeof o, .budget = BUDGET};
	fl_space *s = new_space(NULL);
	fl_store *st;

	(void)*state;
	d = (struct device){.bytes = 4 * PAGE};
	st = fl_store_create(&block_ops, &d);
	poke(s, map_store(s, st, 4 * PAGE, RW, MAP_SHARED, 0), 5);
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(d.word[0], 5);
	assert_int_equal(d.closed, 1);
	assert_int_equal(fl_init(&o), 0);
}

TEST(stores_without_what_is_needed_are_refused)
{
	struct fl_store_ops o = block_ops;
	struct device d = {0};

	(void)*state;
	o.read = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.length = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.name = NULL;
	assert_fails(!fl_store_create(&o, &d), EINVAL);
	o = block_ops;
	o.size = offsetof(struct fl_store_ops, length);
	assert_fails(!fl_store_create(&o, &d), EINVAL); /* what lies beyond its size is not there */
	fl_store_put(NULL);
	assert_int_equal(d.closed, 0);
}

TEST(a_device_shows_memory_of_its_own)
{
	static struct device d;
	fl_space *s = new_space(NULL), *child;
	fl_cpu *c = new_cpu(s);
	fl_store *st;
	uint64_t p, q;
	size_t len;

	(void)*state;
	d = (struct device){.bytes = 16 * PAGE, .max_prot = RW, .memory = aligned_alloc(PAGE, 16 * PAGE)};
	memset(d.memory, 0, 16 * PAGE);
	st = fl_store_create(&mmio_ops, &d);
	p = map_store(s, st, 20 * PAGE, RW, MAP_SHARED, 0);
	q = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 3 * PAGE);
	store(c, p + 3 * PAGE, 77);
	assert_int_equal(d.memory[3 * PAGE], 77);
	assert_int_equal(load(c, q), 77);
	d.memory[3 * PAGE] = 78;
	assert_int_equal(load(c, q), 78);
	check_page(s, q, "device");
	store_fails(c, q, SIGSEGV, SEGV_ACCERR);
	load_fails(c, p + 16 * PAGE, SIGBUS, BUS_ADRERR);
	d.error = -EIO;
	load_fails(c, p + 5 * PAGE, SIGBUS, BUS_ADRERR);
	d.error = -ENOMEM;
	load_fails(c, p + 5 * PAGE, 0, -ENOMEM);
	d.error = 0;
	assert_ptr_equal(fl_space_translate(s, p + PAGE + 5, FL_ACCESS_WRITE, &len, NULL), d.memory + PAGE + 5);
	assert_int_equal(len, PAGE - 5);
	assert_int_equal(fl_space_release(s, d.memory + PAGE + 5), 0);
	child = fork_space(s);
	poke(child, p + 3 * PAGE, 79);
	assert_int_equal(load(c, p + 3 * PAGE), 79);
	assert_int_equal(advise(s, p, 16 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(load(c, p + 3 * PAGE), 79);
	assert_fails(protect(s, p, PAGE, PROT_EXEC), EACCES); /* taken away by mmap */
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_PRIVATE, st, 0) == MAP_FAILED, EOPNOTSUPP);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, PROT_READ, MAP_SHARED, st, 64 * PAGE) == MAP_FAILED, ENXIO);
	fl_store_put(st);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
	assert_int_equal(d.closed, 0);
	assert_int_equal(fl_space_destroy(child), 0);
	assert_int_equal(d.closed, 1);
	free(d.memory);
}

TEST(what_the_store_takes_away_mprotect_does_not_give)
{
	static struct device d;
	fl_space *s = new_space(NULL);
	fl_store *st;
	uint64_t p;

	(void)*state;
	d = (struct device){.bytes = 16 * PAGE, .max_prot = PROT_READ, .memory = aligned_alloc(PAGE, 16 * PAGE)};
	st = fl_store_create(&mmio_ops, &d);
	p = map_store(s, st, PAGE, PROT_READ, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, RW), EACCES);
	assert_fails(protect(s, p, PAGE, PROT_READ | PROT_EXEC), EACCES);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, st, 0) == MAP_FAILED, EACCES);
	d.max_prot = 0;
	p = map_store(s, st, PAGE, PROT_NONE, MAP_SHARED, 0);
	assert_fails(protect(s, p, PAGE, PROT_READ), EACCES);
	fl_store_put(st);
	assert_int_equal(fl_space_destroy(s), 0);
	free(d.memory);
}

TEST(a_ring_wraps_and_is_one_memory_for_all)
{
	fl_space *a = new_space(NULL), *b = new_space(NULL);
	fl_store *ring = fl_ring_create(4 * PAGE);
	uint64_t p = map_store(a, ring, 8 * PAGE, RW, MAP_SHARED, 0), q = map_store(b, ring, 2 * PAGE, RW, MAP_SHARED, 3 * PAGE);

	(void)*state;
	poke(a, p + 4 * PAGE - 4, 0x1122334455667788); /* across the end */
	assert_int_equal(peek(a, p) & 0xffffffff, 0x11223344);
	assert_int_equal(peek(b, q + PAGE - 4), 0x1122334455667788);
	poke(b, q + PAGE, 5);
	assert_int_equal(peek(a, p), 5);
	assert_int_equal(peek(a, p + 4 * PAGE), 5);
	assert_fails(!fl_ring_create(0), EINVAL);
	assert_fails(!fl_ring_create(100), EINVAL);
	fl_store_put(ring);
	assert_int_equal(peek(a, p), 5);
	assert_int_equal(fl_space_destroy(a), 0);
	assert_int_equal(fl_space_destroy(b), 0);
}

static int fill_page(void *arg, void *page, uint64_t off)
{
	if (off == 7 * PAGE)
		return -EIO;
	(*(int *)arg)++;
	for (size_t i = 0; i < PAGE / 8; i++)
		((uint64_t *)page)[i] = off + i;
	return 0;
}

TEST(a_generator_computes_what_is_looked_at)
{
	int n = 0;
	fl_space *s = new_space(NULL);
	fl_cpu *c = new_cpu(s);
	fl_store *g = fl_generator_create(fill_page, &n, 5 * PAGE + 100);
	uint64_t p = map_store(s, g, 16 * PAGE, PROT_READ, MAP_SHARED, 0);

	(void)*state;
	assert_int_equal(n, 0);
	assert_int_equal(load(c, p + 3 * PAGE + 16), 3 * PAGE + 2);
	assert_int_equal(load(c, p + 5 * PAGE + 8), 5 * PAGE + 1);
	assert_int_equal(load(c, p + 5 * PAGE + 104), 0); /* behind the end */
	load_fails(c, p + 6 * PAGE, SIGBUS, BUS_ADRERR);
	assert_fails(fl_space_mmap_store(s, NULL, PAGE, RW, MAP_SHARED, g, 0) == MAP_FAILED, EACCES);
	assert_fails(!fl_generator_create(NULL, NULL, PAGE), EINVAL);
	fl_store_put(g);
	g = fl_generator_create(fill_page, &n, 16 * PAGE);
	p = map_store(s, g, 16 * PAGE, RW, MAP_PRIVATE, 0);
	load_fails(c, p + 7 * PAGE, SIGBUS, BUS_ADRERR);
	store(c, p + 6 * PAGE, 1);
	assert_int_equal(load(c, p + 6 * PAGE + 8), 6 * PAGE + 1);
	assert_int_equal(load(c, p + 8 * PAGE + 8), 8 * PAGE + 1);
	fl_store_put(g);
	fl_cpu_destroy(c);
	assert_int_equal(fl_space_destroy(s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_store_is_read_cached_and_written_back),
		RUN(a_store_that_fails_raises_sigbus_and_fails_msync),
		RUN(a_store_without_write_is_for_reading),
		RUN(offsets_beyond_4_pib_are_refused),
		RUN(fl_exit_closes_stores),
		RUN(stores_without_what_is_needed_are_refused),
		RUN(a_device_shows_memory_of_its_own),
		RUN(what_the_store_takes_away_mprotect_does_not_give),
		RUN(a_ring_wraps_and_is_one_memory_for_all),
		RUN(a_generator_computes_what_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
