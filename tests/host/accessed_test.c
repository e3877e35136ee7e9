/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that a client maps without asking, which it notes on the board: reclaim goes by the notes, and takes them away. */
#include "client.h"

#define OTHER_PAGES (4 * TEST_BUDGET / FL_PAGE_SIZE)
#define STEP 8 /* faults between two notes */

static _Atomic uint64_t *note_word(const struct client *c, const struct stat *st, uint64_t index, uint64_t *bit)
{
	uint32_t at = wire_accessed(st->st_dev, st->st_ino, index);

	*bit = 1ull << at % 64;
	return &c->board->accessed[at / 64];
}

static void note(const struct client *c, const struct stat *st, uint64_t index)
{
	uint64_t bit;
	_Atomic uint64_t *word = note_word(c, st, index, &bit);

	atomic_fetch_or(word, bit);
}

static bool is_noted(const struct client *c, const struct stat *st, uint64_t index)
{
	uint64_t bit;
	_Atomic uint64_t *word = note_word(c, st, index, &bit);

	return atomic_load(word) & bit;
}

/* Pages of the file in memory, of those whose index is `odd`. */
static uint64_t in_memory(struct client *c, const struct file *f, uint64_t odd)
{
	struct wire_slot r = {.op = WIRE_RESIDENT, .file = f->number, .arg = {0, TWO_CLIENTS_PAGES}};
	uint64_t n = 0;

	assert_int_equal(client_ask(c, &r), 0);
	for (uint64_t i = odd; i < TWO_CLIENTS_PAGES; i += 2)
		n += c->area->page[0][i] != 0;
	return n;
}

/* Each page once, of a power of two, in no order that is read ahead. */
static uint64_t scattered(uint64_t i, uint64_t pages)
{
	return i * (i + 1) / 2 % pages;
}

static void read_all(struct client *c, struct file *f, struct map *m)
{
	assert_int_equal(client_open(c, f, 0, false), 0);
	client_map(c, f, 0, TWO_CLIENTS_PAGES, false, m);
	for (uint64_t i = 0; i < TWO_CLIENTS_PAGES; i++)
		assert_int_equal(map_fault(m, scattered(i, TWO_CLIENTS_PAGES), 0), 0);
}

static void what_is_noted_stays(void **state)
{
	struct two_clients *x = *state;
	struct map m, other_map;
	struct file other;
	struct stat st;

	assert_int_equal(fstat(x->file.fd, &st), 0);
	read_all(&x->a, &x->file, &m);
	file_create(&other, OTHER_PAGES);
	assert_int_equal(client_open(&x->b, &other, 0, false), 0);
	client_map(&x->b, &other, 0, OTHER_PAGES, false, &other_map);
	for (uint64_t i = 0; i < OTHER_PAGES; i++) {
		for (uint64_t even = 0; i % STEP == 0 && even < TWO_CLIENTS_PAGES; even += 2)
			note(&x->a, &st, even);
		assert_int_equal(map_fault(&other_map, scattered(i, OTHER_PAGES), 0), 0);
	}
	assert_true(in_memory(&x->a, &x->file, 0) > TWO_CLIENTS_PAGES / 2 * 3 / 4);
	assert_true(in_memory(&x->a, &x->file, 1) < TWO_CLIENTS_PAGES / 2 / 4);
	file_remove(&other);
}

static void a_note_counts_once(void **state)
{
	struct two_clients *x = *state;
	struct map m, other_map;
	struct file other;
	struct stat st;

	assert_int_equal(fstat(x->file.fd, &st), 0);
	read_all(&x->a, &x->file, &m);
	for (uint64_t i = 0; i < TWO_CLIENTS_PAGES; i++)
		note(&x->a, &st, i);
	file_create(&other, OTHER_PAGES);
	assert_int_equal(client_open(&x->b, &other, 0, false), 0);
	client_map(&x->b, &other, 0, OTHER_PAGES, false, &other_map);
	for (uint64_t i = 0; i < OTHER_PAGES; i++)
		assert_int_equal(map_fault(&other_map, scattered(i, OTHER_PAGES), 0), 0);
	assert_true(in_memory(&x->a, &x->file, 0) + in_memory(&x->a, &x->file, 1) < TWO_CLIENTS_PAGES / 2);
	for (uint64_t i = 0; i < TWO_CLIENTS_PAGES; i++)
		assert_true(x->a.area->page[0][i] || !is_noted(&x->a, &st, i));
	file_remove(&other);
}

#define with(test) cmocka_unit_test_setup_teardown(test, two_clients_setup, two_clients_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {with(what_is_noted_stays), with(a_note_counts_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
