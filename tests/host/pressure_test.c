/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that load and store at random in a file of several times the host's memory, against a model that they share: a word holds its place and how
 * often it was stored to. Each word is stored to by one thread; a word of another's is at least what the model says before the load, and at
 * most one more than it says after.
 */
#include "client.h"

#include <pthread.h>
#include <time.h>

#define PAGES (4 * TEST_BUDGET / FL_PAGE_SIZE)
#define WORDS_A_PAGE 4 /* that are used */
#define WORDS (PAGES * WORDS_A_PAGE)
#define CLIENTS 2
#define THREADS 3 /* of each */
#define WRITERS (CLIENTS * THREADS)

struct model {
	_Atomic uint32_t count[WORDS];
	_Atomic uint64_t loads, stores;
	_Atomic bool stop;
};

static struct model *model;
static struct test_host host;
static struct file file;
static unsigned seconds = 3;

static uint64_t word_value(uint64_t word, uint32_t count)
{
	return word << 32 | count;
}

static uint64_t offset_of(uint64_t word)
{
	return word / WORDS_A_PAGE * FL_PAGE_SIZE + word % WORDS_A_PAGE * (FL_PAGE_SIZE / WORDS_A_PAGE);
}

static int setup(void **state)
{
	(void)state;
	model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(model, MAP_FAILED);
	host_start(&host);
	file_create(&file, PAGES);
	for (uint64_t w = 0; w < WORDS; w++) {
		uint64_t value = word_value(w, 0);

		assert_int_equal(pwrite(file.fd, &value, sizeof value, (off_t)offset_of(w)), sizeof value);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(host_end(&host), 0);
	file_remove(&file);
	munmap(model, sizeof *model);
	return 0;
}

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* ---- A client: no assertion of cmocka's, which would end only itself ---- */

struct writer {
	struct map *map;
	uint32_t number;
};

static void check(bool ok, const char *what, uint64_t word, uint64_t value)
{
	if (ok)
		return;
	fprintf(stderr, "%s: word %llu is %llx, the model %u\n", what, (unsigned long long)word, (unsigned long long)value,
		atomic_load(&model->count[word]));
	_exit(3);
}

static void store_word(_Atomic uint64_t *p, uint64_t word)
{
	uint32_t n = atomic_load(&model->count[word]);

	check(atomic_load(p) == word_value(word, n), "own", word, atomic_load(p));
	atomic_store(p, word_value(word, n + 1));
	atomic_store(&model->count[word], n + 1);
	atomic_fetch_add_explicit(&model->stores, 1, memory_order_relaxed);
}

static void load_word(_Atomic uint64_t *p, uint64_t word)
{
	uint32_t least = atomic_load(&model->count[word]), most;
	uint64_t value = atomic_load(p);

	most = atomic_load(&model->count[word]) + 1;
	check(value >> 32 == word && (uint32_t)value >= least && (uint32_t)value <= most, "other's", word, value);
	atomic_fetch_add_explicit(&model->loads, 1, memory_order_relaxed);
}

/* Half of the words in a sixteenth of the file. */
static uint64_t some_word(uint64_t *seed)
{
	uint64_t word = next(seed) % WORDS;

	return next(seed) % 2 ? word : word / 16;
}

static void access_word(struct writer *w, uint64_t *seed)
{
	uint64_t word = some_word(seed), page = word / WORDS_A_PAGE;
	_Atomic uint64_t *p = (_Atomic uint64_t *)(w->map->addr + offset_of(word));
	struct wire_slot unpin = {.op = WIRE_UNPIN, .file = file.number, .arg = {page}};
	bool pin = next(seed) % 16 == 0, mine = word % WRITERS == w->number;

	if (pin && map_fault_by(w->map, client_slot, page, WIRE_PIN | (mine ? WIRE_WRITE : 0)))
		_exit(4);
	if (mine)
		store_word(p, word);
	else
		load_word(p, word);
	if (pin && client_ask_by(w->map->client, client_slot, &unpin))
		_exit(5);
}

static void sync_some(struct writer *w, uint64_t *seed)
{
	struct wire_slot r = {.op = WIRE_SYNC, .file = file.number, .flags = next(seed) % 2 ? WIRE_WAIT : 0};

	r.arg[0] = next(seed) % PAGES;
	r.arg[1] = r.arg[0] + next(seed) % 64;
	if (client_ask_by(w->map->client, client_slot, &r))
		_exit(6);
}

static void *write_words(void *arg)
{
	struct writer *w = arg;
	uint64_t seed = 0x9e3779b97f4a7c15ull * (w->number + 1);

	client_slot = w->number % THREADS + 1;
	while (!atomic_load(&model->stop)) {
		access_word(w, &seed);
		if (next(&seed) % 256 == 0)
			sync_some(w, &seed);
	}
	return NULL;
}

static void run_client(uint32_t number)
{
	struct writer writers[THREADS];
	pthread_t threads[THREADS];
	struct client c;
	struct map m;

	file.memfd = -1;
	client_attach(&c, &host);
	if (client_open(&c, &file, 0, true))
		_exit(1);
	client_map(&c, &file, 0, PAGES, false, &m);
	map_serve(&m);
	for (uint32_t i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){.map = &m, .number = number * THREADS + i};
		if (pthread_create(&threads[i], NULL, write_words, &writers[i]))
			_exit(2);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

static pid_t start_client(uint32_t number)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		run_client(number);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* With the last client everything is written back. The file is what the model says. */
static void check_file(void)
{
	close(host.hold);
	for (int i = 0; i < 1000 && host_lives(&host); i++)
		usleep(10000);
	for (uint64_t w = 0; w < WORDS; w++) {
		uint64_t value = 0;

		assert_int_equal(pread(file.fd, &value, sizeof value, (off_t)offset_of(w)), sizeof value);
		assert_true(value == word_value(w, atomic_load(&model->count[w])));
	}
	host_start(&host); /* for teardown */
	print_message("%llu loads, %llu stores\n", (unsigned long long)model->loads, (unsigned long long)model->stores);
}

static void words_are_what_was_stored(void **state)
{
	pid_t pid[CLIENTS];

	(void)state;
	for (uint32_t i = 0; i < CLIENTS; i++)
		pid[i] = start_client(i);
	sleep(seconds);
	atomic_store(&model->stop, true);
	for (uint32_t i = 0; i < CLIENTS; i++)
		assert_int_equal(status_of(pid[i]), 0);
	check_file();
}

/* What writers of the client that has died may have stored without counting it, page by page as the host has it. */
static void catch_up_page(struct client *watcher, uint64_t page)
{
	struct wire_slot r = {.op = WIRE_READ, .file = file.number, .arg = {page}};

	assert_int_equal(client_ask(watcher, &r), 0);
	for (uint64_t w = page * WORDS_A_PAGE; w < (page + 1) * WORDS_A_PAGE; w++) {
		uint64_t value = *(uint64_t *)(watcher->area->page[0] + offset_of(w) % FL_PAGE_SIZE);
		uint32_t n = atomic_load(&model->count[w]);

		if (w % WRITERS < THREADS)
			continue;
		assert_int_equal(value >> 32, w);
		assert_in_range((uint32_t)value, n, n + 1);
		atomic_store(&model->count[w], (uint32_t)value);
	}
}

static void catch_up(struct client *watcher)
{
	for (uint64_t page = 0; page < PAGES; page++)
		catch_up_page(watcher, page);
}

/* One dies, and is followed by another, which goes on with its words. */
static void clients_that_are_killed_lose_nothing(void **state)
{
	pid_t steady = start_client(0), doomed;
	struct client watcher;

	(void)state;
	client_attach(&watcher, &host);
	assert_int_equal(client_open(&watcher, &file, 0, false), 0);
	for (unsigned i = 0; i < 2 * seconds; i++) {
		doomed = start_client(1);
		usleep(400000);
		kill(doomed, SIGKILL);
		assert_int_equal(status_of(doomed), SIGKILL);
		catch_up(&watcher);
	}
	atomic_store(&model->stop, true);
	assert_int_equal(status_of(steady), 0);
	client_detach(&watcher);
	check_file();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(words_are_what_was_stored, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_that_are_killed_lose_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
