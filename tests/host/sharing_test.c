/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of a host do with files, and what becomes of it when they die. */
#include "client.h"

#include <sys/uio.h>

#define PAGES TWO_CLIENTS_PAGES

#define STORE_TRIES 1000

/* As a program's store is: made again when the host has protected the page meanwhile, to write it back. */
static void store(struct map *m, uint64_t page, uint64_t value)
{
	struct iovec from = {&value, sizeof value}, to = {map_word(m, page), sizeof value};
	ssize_t n = -1;

	for (int i = 0; n < 0 && i < STORE_TRIES; i++) {
		assert_int_equal(map_fault(m, page, WIRE_WRITE), 0);
		n = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
	}
	assert_int_equal(n, sizeof value);
}

static uint64_t load(struct map *m, uint64_t page)
{
	assert_int_equal(map_fault(m, page, 0), 0);
	return *(volatile uint64_t *)map_word(m, page);
}

static void sync_all(struct client *c, struct file *f)
{
	struct wire_slot r = {.op = WIRE_SYNC, .flags = WIRE_WAIT | WIRE_DURABLE, .file = f->number, .arg = {0, UINT64_MAX}};

	assert_int_equal(client_ask(c, &r), 0);
	assert_int_equal(r.out[0], 0);
}

/* The host sees the end of a client a moment after. */
static void eventually_word(struct file *f, uint64_t page, uint64_t value)
{
	for (int i = 0; i < 500 && file_word(f, page) != value; i++)
		usleep(10000);
	assert_int_equal(file_word(f, page), value);
}

/* ---- Bytes ---- */

static void a_file_is_read_written_and_synced(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(x->file.size, PAGES * FL_PAGE_SIZE);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(load(&m, i), i + 1);
	store(&m, 5, 500);
	assert_int_equal(file_word(&x->file, 5), 6);
	sync_all(&x->a, &x->file);
	assert_int_equal(file_word(&x->file, 5), 500);
	store(&m, 5, 501); /* protected by now */
	client_unmap(&m);
	sync_all(&x->a, &x->file);
	assert_int_equal(file_word(&x->file, 5), 501);
}

static void clients_see_each_others_stores_at_once(void **state)
{
	struct two_clients *x = *state;
	struct file again = x->file;
	struct wire_slot r = {.op = WIRE_READ, .arg = {3}};
	struct map a, b;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(client_open(&x->b, &again, 0, false), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &a);
	client_map(&x->b, &again, 0, PAGES, false, &b);
	assert_int_equal(load(&b, 3), 4);
	for (uint64_t i = 0; i < 100; i++) {
		store(&a, 3, i);
		assert_int_equal(*(volatile uint64_t *)map_word(&b, 3), i);
	}
	r.file = again.number;
	assert_int_equal(client_ask(&x->b, &r), 0);
	assert_int_equal(r.out[0], FL_PAGE_SIZE);
	assert_int_equal(*(uint64_t *)x->b.area->page[0], 99);
	assert_int_equal(map_fault(&b, 3, WIRE_WRITE), -EACCES);
	close(again.memfd);
}

static uint32_t place_on_the_board(const struct file *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	return wire_filter(st.st_dev, st.st_ino);
}

static uint32_t files_on_the_board(const struct client *c, const struct file *f)
{
	return atomic_load(&c->board->filter[place_on_the_board(f)]);
}

static void close_there(struct client *c, const struct file *f)
{
	struct wire_slot r = {.op = WIRE_CLOSE, .file = f->number};

	assert_int_equal(client_ask(c, &r), 0);
}

static void the_board_names_what_the_host_has(void **state)
{
	struct two_clients *x = *state;
	struct file again = x->file;

	assert_int_equal(files_on_the_board(&x->b, &x->file), 0);
	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(files_on_the_board(&x->b, &x->file), 1);
	assert_int_equal(client_open(&x->b, &again, 0, true), 0);
	assert_int_equal(files_on_the_board(&x->b, &x->file), 1);
	close_there(&x->a, &x->file);
	assert_int_equal(files_on_the_board(&x->b, &x->file), 1);
	close_there(&x->b, &again);
	assert_int_equal(files_on_the_board(&x->a, &x->file), 0);
	close(again.memfd);
}

static void faults_beyond_the_end_fail(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot r = {.op = WIRE_READ, .arg = {PAGES}};
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES + 2, false, &m);
	assert_int_equal(map_fault(&m, PAGES, 0), -ENXIO);
	r.file = x->file.number;
	assert_int_equal(client_ask(&x->a, &r), -ENXIO);
}

static bool is_mapped(struct map *m, uint64_t page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)map_word(m, page) / FL_PAGE_SIZE * sizeof entry)),
			 sizeof entry);
	close(fd);
	return entry >> 63;
}

static void a_private_mapping_gets_the_page_alone(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, false), 0);
	client_map(&x->a, &x->file, 0, PAGES, true, &m);
	for (uint64_t i = 0; i < PAGES - 1; i++) { /* from the file, and what was read ahead */
		assert_int_equal(load(&m, i), i + 1);
		assert_false(is_mapped(&m, i + 1));
	}
	assert_int_equal(load(&m, 7), 8); /* mapped already */
	assert_int_equal(map_fault(&m, 6, WIRE_WRITE), -EINVAL);
	munmap(m.addr, PAGES * FL_PAGE_SIZE);
}

static void stores_of_others_show_in_a_private_mapping(void **state)
{
	struct two_clients *x = *state;
	struct file again = x->file;
	struct map a, b;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	assert_int_equal(client_open(&x->b, &again, 0, false), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &a);
	client_map(&x->b, &again, 0, PAGES, true, &b);
	store(&a, 7, 70);
	assert_int_equal(load(&b, 7), 70);
	store(&a, 7, 71);
	assert_int_equal(*(volatile uint64_t *)map_word(&b, 7), 71);
	munmap(b.addr, PAGES * FL_PAGE_SIZE);
	close(again.memfd);
}

static void shared_memory_without_a_name_is_found_by_its_file(void **state)
{
	struct two_clients *x = *state;
	struct file again = x->file;
	struct map a, b;

	assert_int_equal(client_open(&x->a, &x->file, WIRE_OPEN_SCRATCH, true), -EINVAL); /* it has a name */
	assert_int_equal(unlink(x->file.path), 0);
	assert_int_equal(client_open(&x->a, &x->file, WIRE_OPEN_SCRATCH, true), 0);
	assert_int_equal(client_open(&x->b, &again, WIRE_OPEN_SCRATCH, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &a);
	client_map(&x->b, &again, 0, PAGES, false, &b);
	store(&a, 1, 11);
	assert_int_equal(load(&b, 1), 11);
	client_unmap(&a);
	client_unmap(&b);
	close(again.memfd);
}

/* ---- Mappings ---- */

static void parts_of_a_mapping_are_unmapped(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot r = {.op = WIRE_UNMAP};
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	store(&m, 10, 100);
	r.arg[0] = (uintptr_t)m.addr + 10 * FL_PAGE_SIZE;
	r.arg[1] = 5;
	r.arg[2] = x->a.mmu;
	assert_int_equal(client_ask(&x->a, &r), 0);
	assert_int_equal(map_fault(&m, 12, 0), -EINVAL);
	store(&m, 9, 90);
	store(&m, 15, 150);
	sync_all(&x->a, &x->file);
	assert_int_equal(file_word(&x->file, 9), 90);
	assert_int_equal(file_word(&x->file, 10), 100);
	assert_int_equal(file_word(&x->file, 15), 150);
}

static void half_of_the_budget_can_be_locked(void **state)
{
	struct two_clients *x = *state;
	struct file big;
	struct wire_slot r = {.op = WIRE_LOCK, .flags = WIRE_LOCKED};
	uint64_t half = TEST_BUDGET / FL_PAGE_SIZE / 2;
	struct map m;

	file_create(&big, half + 8);
	assert_int_equal(client_open(&x->a, &big, 0, true), 0);
	client_map(&x->a, &big, 0, half + 8, false, &m);
	r.arg[0] = (uintptr_t)m.addr;
	r.arg[1] = half + 1;
	r.arg[2] = x->a.mmu;
	assert_int_equal(client_ask(&x->a, &r), -ENOMEM);
	r.arg[1] = half;
	assert_int_equal(client_ask(&x->a, &r), 0);
	assert_int_equal(client_ask(&x->a, &r), 0); /* nothing more */
	r.flags = 0;
	r.arg[0] += 8 * FL_PAGE_SIZE;
	r.arg[1] = 4;
	assert_int_equal(client_ask(&x->a, &r), 0);
	r.flags = WIRE_LOCKED;
	r.arg[0] = (uintptr_t)m.addr + half * FL_PAGE_SIZE;
	assert_int_equal(client_ask(&x->a, &r), 0);
	client_unmap(&m);
	client_map(&x->a, &big, 0, half + 8, false, &m);
	r.arg[0] = (uintptr_t)m.addr;
	r.arg[1] = half;
	assert_int_equal(client_ask(&x->a, &r), 0);
	client_unmap(&m);
	file_remove(&big);
}

/* ---- Changes ---- */

static void write_word(struct file *f, uint64_t page, uint64_t word)
{
	assert_int_equal(pwrite(f->fd, &word, sizeof word, (off_t)(page * FL_PAGE_SIZE)), sizeof word);
}

static void a_change_is_seen_in_mappings(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot r = file_change(&x->file), nothing = {0};
	struct map m;

	assert_int_equal(client_ask(&x->b, &r), -ENOENT);
	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	store(&m, 2, 20);
	assert_int_equal(load(&m, 3), 4);
	client_post(&x->b, 0, &r);
	assert_int_equal(client_wait(&x->b, 0, &r), 0);
	assert_int_equal(r.out[0], PAGES * FL_PAGE_SIZE);
	write_word(&x->file, 3, 30);
	client_resume(&x->b, 0, 3 * FL_PAGE_SIZE, 8);
	assert_int_equal(client_wait(&x->b, 0, &nothing), 0);
	assert_int_equal(load(&m, 3), 30);
	assert_int_equal(load(&m, 2), 20);
	sync_all(&x->a, &x->file);
	assert_int_equal(file_word(&x->file, 2), 20);
}

static void all_are_told_that_a_file_has_shrunk(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot r = file_change(&x->file), shrunk = {.op = WIRE_SHRUNK}, nothing = {0};
	uint32_t before = atomic_load(&x->a.board->shrunk);
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	shrunk.file = x->file.number;
	assert_int_equal(client_ask(&x->a, &shrunk), 0);
	assert_true(shrunk.out[0] == UINT64_MAX);
	assert_int_equal(load(&m, 20), 21);
	client_post(&x->b, 0, &r);
	assert_int_equal(client_wait(&x->b, 0, &r), 0);
	assert_int_equal(ftruncate(x->file.fd, 10 * FL_PAGE_SIZE + 4), 0);
	client_resume(&x->b, 0, 0, 0);
	assert_int_equal(client_wait(&x->b, 0, &nothing), 0);
	assert_int_equal(atomic_load(&x->a.board->shrunk), before + 1);
	assert_int_equal(client_ask(&x->a, &shrunk), 0);
	assert_int_equal(shrunk.out[0], 10 * FL_PAGE_SIZE + 4);
	assert_int_equal(client_ask(&x->a, &shrunk), 0);
	assert_true(shrunk.out[0] == UINT64_MAX);
	assert_int_equal(map_fault(&m, 20, 0), -ENXIO);
	assert_int_equal(load(&m, 10), 11);
}

/* ---- Death ---- */

static void store_some(struct two_clients *x, struct client *c, struct file *f)
{
	struct map m;

	(void)x;
	client_map(c, f, 0, PAGES, false, &m);
	for (uint64_t i = 0; i < PAGES; i += 2)
		store(&m, i, 1000 + i);
}

static void stores_of_a_client_that_is_killed_are_in_the_file(void **state)
{
	struct two_clients *x = *state;

	in_a_client_that_is_killed(x, store_some);
	for (uint64_t i = 0; i < PAGES; i += 2)
		eventually_word(&x->file, i, 1000 + i);
	assert_int_equal(file_word(&x->file, 1), 2);
}

static _Atomic bool *written_beside; /* shared with the client that is killed */

/* What the host has just written back, as it does every few seconds, is not written to: that would come after the store. */
static void begin_a_change(struct two_clients *x, struct client *c, struct file *f)
{
	struct wire_slot r = file_change(f);

	(void)x;
	client_post(c, 0, &r);
	if (client_wait(c, 0, &r))
		_exit(1);
	write_word(f, 4, 40);
	if (!atomic_load(&c->board->dirty[place_on_the_board(f)]))
		return;
	write_word(f, 6, 60);
	atomic_store(written_beside, true);
}

#define TRIES 10

static void a_client_that_is_killed_in_a_change_does_not_stop_others(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	written_beside = mmap(NULL, FL_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(written_beside, MAP_FAILED);
	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	assert_int_equal(load(&m, 4), 5);
	for (int i = 0; i < TRIES && !atomic_load(written_beside); i++) {
		store(&m, 6, 66);
		in_a_client_that_is_killed(x, begin_a_change);
		for (uint64_t page = 0; page < PAGES; page++)
			load(&m, page);
		assert_int_equal(load(&m, 4), 40);
		assert_int_equal(load(&m, 6), 66); /* a store that was made is not lost for a write that has not returned */
		sync_all(&x->a, &x->file);
		assert_int_equal(file_word(&x->file, 6), 66);
	}
	assert_true(atomic_load(written_beside));
	munmap((void *)written_beside, FL_PAGE_SIZE);
}

#define HALF (TEST_BUDGET / FL_PAGE_SIZE / 2)

static struct file big;

static void pin_half(struct two_clients *x, struct client *c, struct file *f)
{
	struct map m;

	(void)x, (void)f;
	big.memfd = -1;
	if (client_open(c, &big, 0, true))
		_exit(1);
	client_map(c, &big, 0, HALF, false, &m);
	for (uint64_t i = 0; i < HALF; i++)
		if (map_fault(&m, i, WIRE_PIN))
			_exit(1);
	if (map_fault(&m, 0, WIRE_PIN) != -ENOMEM)
		_exit(1);
}

static void pins_go_with_their_client(void **state)
{
	struct two_clients *x = *state;
	struct wire_slot unpin = {.op = WIRE_UNPIN, .arg = {0}};
	struct map m;
	int err = -ENOMEM;

	file_create(&big, HALF);
	assert_int_equal(client_open(&x->a, &big, 0, true), 0);
	client_map(&x->a, &big, 0, HALF, false, &m);
	in_a_client_that_is_killed(x, pin_half);
	for (int i = 0; i < 500 && err == -ENOMEM; i++, usleep(10000))
		err = map_fault(&m, 0, WIRE_PIN | WIRE_WRITE);
	assert_int_equal(err, 0);
	unpin.file = big.number;
	assert_int_equal(client_ask(&x->a, &unpin), 0);
	assert_int_equal(client_ask(&x->a, &unpin), -EINVAL);
	file_remove(&big);
}

/* Pins so many pages; how many were. */
static uint64_t pin_run(struct map *m, uint64_t page, uint32_t pages)
{
	struct wire_slot r = {.op = WIRE_FAULT, .flags = WIRE_PIN | (pages - 1) * WIRE_MORE, .file = m->file->number};

	r.arg[0] = page;
	r.arg[1] = (uintptr_t)map_word(m, page);
	r.arg[2] = m->pages - page;
	r.arg[3] = page;
	r.arg[5] = m->client->mmu;
	assert_int_equal(client_ask(m->client, &r), 0);
	return r.out[1];
}

static uint64_t unpin_run(struct map *m, uint64_t page, uint64_t pages)
{
	struct wire_slot r = {.op = WIRE_UNPIN, .file = m->file->number, .arg = {page, pages}};

	return client_ask(m->client, &r) ? 0 : r.out[0];
}

static void pins_come_in_runs(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	assert_int_equal(pin_run(&m, 4, 8), 8);
	for (uint64_t i = 4; i < 12; i++) {
		assert_true(is_mapped(&m, i));
		assert_int_equal(*(volatile uint64_t *)map_word(&m, i), i + 1);
	}
	assert_int_equal(pin_run(&m, PAGES - 3, WIRE_PIN_MAX), 3); /* up to the end of the mapping */
	assert_int_equal(pin_run(&m, 10, 1), 1);
	assert_int_equal(unpin_run(&m, 4, WIRE_PIN_MAX), 8);
	assert_int_equal(unpin_run(&m, 4, 8), 0);
	assert_int_equal(unpin_run(&m, 10, 2), 1);
	assert_int_equal(unpin_run(&m, PAGES - 3, 2), 2);
	assert_int_equal(unpin_run(&m, PAGES - 1, 0), 1);
	assert_int_equal(unpin_run(&m, PAGES - 1, 1), 0);
}

/* Has so many pages mapped, to be stored to or not; how many were. */
static uint64_t populate(struct map *m, uint64_t page, uint32_t pages, bool write)
{
	struct wire_slot r = {.op = WIRE_FAULT, .flags = (pages - 1) * WIRE_MORE | (write ? WIRE_WRITE : 0), .file = m->file->number};

	r.arg[0] = m->pgoff + page;
	r.arg[1] = (uintptr_t)map_word(m, page);
	r.arg[2] = m->pages - page;
	r.arg[3] = page;
	r.arg[5] = m->client->mmu;
	return client_ask(m->client, &r) ? 0 : r.out[1];
}

static void pages_are_mapped_in_runs(void **state)
{
	struct two_clients *x = *state;
	struct map m, longer;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	assert_int_equal(populate(&m, 3, 20, false), 20);
	for (uint64_t i = 3; i < 23; i++)
		assert_true(is_mapped(&m, i));
	assert_int_equal(madvise(map_word(&m, 5), 4 * FL_PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(populate(&m, 0, 30, false), 30); /* what is mapped is stepped over */
	for (uint64_t i = 0; i < 30; i++) {
		assert_true(is_mapped(&m, i));
		assert_int_equal(*(volatile uint64_t *)map_word(&m, i), i + 1);
	}
	assert_int_equal(populate(&m, PAGES - 3, WIRE_POPULATE_MAX, false), 3); /* up to the end of the mapping */
	client_map(&x->a, &x->file, 0, PAGES + 8, false, &longer);
	assert_int_equal(populate(&longer, PAGES - 5, 10, false), 5); /* and of the file */
	assert_int_equal(populate(&longer, PAGES, 2, false), 0);
	client_unmap(&longer);
	client_unmap(&m);
}

static void pages_to_be_stored_to_are_mapped_in_runs(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	assert_int_equal(populate(&m, 10, 10, false), 10);
	assert_int_equal(populate(&m, 5, 30, true), 30);
	for (uint64_t i = 5; i < 35; i++) /* no fault would be served */
		*(volatile uint64_t *)map_word(&m, i) = 1000 + i;
	sync_all(&x->a, &x->file);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(file_word(&x->file, i), i >= 5 && i < 35 ? 1000 + i : i + 1);
	client_unmap(&m);
}

/* Whether the kernel has the page of the file in its page cache, within a second. */
static bool kernel_gets(const struct file *f, uint64_t page)
{
	unsigned char there = 0;
	void *p = mmap(NULL, FL_PAGE_SIZE, PROT_READ, MAP_SHARED, f->fd, (off_t)(page * FL_PAGE_SIZE));

	assert_ptr_not_equal(p, MAP_FAILED);
	for (int i = 0; i < 100 && !(there & 1); i++) {
		assert_int_equal(mincore(p, FL_PAGE_SIZE, &there), 0);
		if (!(there & 1))
			usleep(10000);
	}
	munmap(p, FL_PAGE_SIZE);
	return there & 1;
}

static void what_a_stream_will_read_is_asked_for_before(void **state)
{
	struct two_clients *x = *state;
	struct file f;
	struct map m;

	if (getenv("FAULTLINE_DIRECT") || getenv("FAULTLINE_IO"))
		skip();
	file_create(&f, 256);
	assert_int_equal(fsync(f.fd), 0);
	assert_int_equal(posix_fadvise(f.fd, 0, 0, POSIX_FADV_RANDOM), 0); /* the kernel's own read-ahead is off */
	assert_int_equal(posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(client_open(&x->a, &f, 0, true), 0);
	client_map(&x->a, &f, 0, 256, false, &m);
	for (uint64_t i = 0; i < 40; i++)
		if (!is_mapped(&m, i))
			assert_int_equal(load(&m, i), i + 1);
	assert_false(is_mapped(&m, 48));
	assert_true(kernel_gets(&f, 48));
	assert_false(kernel_gets(&f, 128));
	client_unmap(&m);
	file_remove(&f);
}

/* Of a file that memory has no room for; each fault brings more than the one before, up to a 128th of memory. */
static void a_long_stream_faults_seldom(void **state)
{
	const uint64_t budget = 64UL << 20, pages = 3 * budget / FL_PAGE_SIZE / 2;
	struct test_host h;
	struct client c;
	struct file f;
	struct map m;
	uint64_t faults = 0, window = 64;

	(void)state;
	host_start_with(&h, budget);
	file_create(&f, pages);
	client_attach(&c, &h);
	assert_int_equal(client_open(&c, &f, 0, false), 0);
	client_map(&c, &f, 0, pages, false, &m);
	for (uint64_t i = 0; i < pages; i++) {
		if (!is_mapped(&m, i)) {
			assert_int_equal(map_fault(&m, i, 0), 0);
			faults++;
		}
		assert_int_equal(*(volatile uint64_t *)map_word(&m, i), i + 1);
	}
	if (!getenv("FAULTLINE_DIRECT") && !getenv("FAULTLINE_IO")) /* else windows come in by themselves */
		window = 128;
	assert_true(faults < pages / window + 20);
	client_unmap(&m);
	client_detach(&c);
	assert_int_equal(host_end(&h), 0);
	file_remove(&f);
}

/* It has said that the mapping is shared, and what is copied there does not come to where others look for it. */
static void what_a_client_has_mapped_in_truth_is_its_own_matter(void **state)
{
	struct two_clients *x = *state;
	struct file at_b = x->file;
	struct map lie, m;
	struct wire_slot map = {.op = WIRE_MAP};

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, true, &lie);
	map.file = x->file.number;
	map.arg[0] = (uintptr_t)lie.addr;
	map.arg[2] = PAGES;
	map.arg[3] = x->a.mmu;
	assert_int_equal(client_ask(&x->a, &map), 0);
	lie.private = false;
	for (uint64_t i = 0; i < PAGES; i++)
		map_fault(&lie, i, 0);
	at_b.memfd = -1;
	assert_int_equal(client_open(&x->b, &at_b, 0, true), 0);
	client_map(&x->b, &at_b, 0, PAGES, false, &m);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(load(&m, i), i + 1);
	client_unmap(&m);
	client_unmap(&lie);
	close(at_b.memfd);
}

static sigjmp_buf failed;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(failed, 1);
}

/* A fault, that is, which nobody serves. */
static bool store_raises_sigbus(volatile uint64_t *word)
{
	bool raised = true;

	signal(SIGBUS, on_bus);
	if (!sigsetjmp(failed, 1)) {
		*word = 1;
		raised = false;
	}
	signal(SIGBUS, SIG_DFL);
	return raised;
}

static void a_client_that_only_hangs_up_cannot_store_unseen(void **state)
{
	struct two_clients *x = *state;
	struct client c;
	struct map m;

	client_attach(&c, &x->host);
	assert_int_equal(client_open(&c, &x->file, 0, true), 0);
	client_map(&c, &x->file, 0, PAGES, false, &m);
	store(&m, 8, 80);
	close(c.sock);
	eventually_word(&x->file, 8, 80);
	assert_true(store_raises_sigbus(map_word(&m, 8)));
	munmap(m.addr, PAGES * FL_PAGE_SIZE);
}

/* ---- The host's end ---- */

static void the_host_writes_everything_back_when_it_is_told_to(void **state)
{
	struct two_clients *x = *state;
	struct map m;

	assert_int_equal(client_open(&x->a, &x->file, 0, true), 0);
	client_map(&x->a, &x->file, 0, PAGES, false, &m);
	store(&m, 1, 10);
	assert_int_equal(kill(x->host.pid, SIGTERM), 0);
	eventually_word(&x->file, 1, 10);
	store(&m, 1, 11);
	assert_int_equal(kill(x->host.pid, SIGTERM), 0);
	eventually_word(&x->file, 1, 11);
}

static void a_host_without_a_hold_ends_with_its_last_client(void **state)
{
	struct test_host host;
	struct client c;

	(void)state;
	host_start_unheld(&host);
	client_attach(&c, &host);
	assert_int_equal(kill(host.pid, SIGTERM), 0);
	usleep(200000);
	assert_true(host_lives(&host));
	client_detach(&c);
	assert_int_equal(host_end(&host), 0);
}

#define with(test) cmocka_unit_test_setup_teardown(test, two_clients_setup, two_clients_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(a_file_is_read_written_and_synced),
		with(clients_see_each_others_stores_at_once),
		with(the_board_names_what_the_host_has),
		with(faults_beyond_the_end_fail),
		with(a_private_mapping_gets_the_page_alone),
		with(stores_of_others_show_in_a_private_mapping),
		with(shared_memory_without_a_name_is_found_by_its_file),
		with(parts_of_a_mapping_are_unmapped),
		with(half_of_the_budget_can_be_locked),
		with(a_change_is_seen_in_mappings),
		with(all_are_told_that_a_file_has_shrunk),
		with(stores_of_a_client_that_is_killed_are_in_the_file),
		with(a_client_that_is_killed_in_a_change_does_not_stop_others),
		with(pins_go_with_their_client),
		with(pins_come_in_runs),
		with(pages_are_mapped_in_runs),
		with(pages_to_be_stored_to_are_mapped_in_runs),
		with(what_a_stream_will_read_is_asked_for_before),
		cmocka_unit_test(a_long_stream_faults_seldom),
		with(what_a_client_has_mapped_in_truth_is_its_own_matter),
		with(a_client_that_only_hangs_up_cannot_store_unseen),
		with(the_host_writes_everything_back_when_it_is_told_to),
		cmocka_unit_test(a_host_without_a_hold_ends_with_its_last_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
