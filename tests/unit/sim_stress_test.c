/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads over the simulated MMU: loads, stores and every call that changes what they see, on a file 16 times the
 * budget, checked word for word. As tests/stress/model.c, where ThreadSanitizer can watch.
 *
 *   shared words   each belongs to one thread, which knows what it stored last; others see a word of that page and slot
 *   private words  each thread has a private mapping of the same file; what it stored there only it sees
 *   a file of many users   mapped, stored to and unmapped by all threads at once: what is stored is in the file after
 *   files of one thread    come and go, so that their objects are used again while reclaim may still look at them
 *
 * FAULTLINE_STRESS_SECONDS (3), FAULTLINE_STRESS_SEED.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "sim_fixture.h"

#define THREADS 4
#define PAGES (16 * BUDGET / FL_PAGE_SIZE)
#define PRIVATE_PAGES 300 /* of each thread */
#define SLOTS 4
#define OWN_PAGES 8

static const unsigned place[SLOTS] = {0, 100, 300, WORDS_PER_PAGE - 1};

static int fd, common_fd;
static uint64_t *common; /* a mapping that stays */
static uint32_t model[PAGES * SLOTS];
static _Atomic bool stop;
static unsigned seed;

struct worker {
	pthread_t thread;
	uint64_t rng, *map, *private;
	unsigned id;
	uint32_t private_model[PRIVATE_PAGES * SLOTS];
	uint32_t common_count;
};

static uint64_t next(struct worker *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng;
}

static uint64_t encode(uint64_t page, unsigned slot, uint32_t counter)
{
	return ((page * SLOTS + slot) << 32 | counter) ^ 0xa5a5a5a500000000ull;
}

static void die(const char *what, uint64_t page, unsigned slot, uint64_t found)
{
	fprintf(stderr, "sim_stress: seed %u: %s: page %llu slot %u: %llx\n", seed, what, (unsigned long long)page, slot,
		(unsigned long long)found);
	abort();
}

static uint64_t load_or_die(const uint64_t *p, uint64_t page, unsigned slot)
{
	uint64_t v;
	int err = sim_load64(p, &v);

	if (err)
		die("a load failed", page, slot, (uint64_t)-err);
	return v;
}

static void store_or_die(uint64_t *p, uint64_t v, uint64_t page, unsigned slot)
{
	int err = sim_store64(p, v);

	if (err)
		die("a store failed", page, slot, (uint64_t)-err);
}

static void check_foreign(const uint64_t *map, uint64_t page, unsigned slot)
{
	uint64_t v = load_or_die(map + page * WORDS_PER_PAGE + place[slot], page, slot);

	if ((v ^ encode(page, slot, 0)) >> 32)
		die("a word that is not this page's", page, slot, v);
}

static void check_own(const uint64_t *map, uint64_t page, unsigned slot)
{
	uint64_t v = load_or_die(map + page * WORDS_PER_PAGE + place[slot], page, slot);

	if (v != encode(page, slot, model[page * SLOTS + slot]))
		die("a lost store", page, slot, v);
}

static void store_own(uint64_t *map, uint64_t page, unsigned slot)
{
	store_or_die(map + page * WORDS_PER_PAGE + place[slot], encode(page, slot, ++model[page * SLOTS + slot]), page, slot);
}

static void write_own(uint64_t page, unsigned slot)
{
	uint64_t v = encode(page, slot, ++model[page * SLOTS + slot]);

	if (fl_pwrite(fd, &v, 8, (off_t)((page * WORDS_PER_PAGE + place[slot]) * 8)) != 8)
		die("fl_pwrite", page, slot, (uint64_t)errno);
}

static void read_own(uint64_t page, unsigned slot)
{
	uint64_t v = 0;

	if (fl_pread(fd, &v, 8, (off_t)((page * WORDS_PER_PAGE + place[slot]) * 8)) != 8 ||
	    v != encode(page, slot, model[page * SLOTS + slot]))
		die("fl_pread", page, slot, v);
}

static uint64_t *map_or_die(int file, uint64_t pages, int flags)
{
	void *p = fl_mmap(NULL, pages * FL_PAGE_SIZE, PROT_READ | PROT_WRITE, flags, file, 0);

	if (p == MAP_FAILED)
		die("fl_mmap", 0, 0, (uint64_t)errno);
	return p;
}

/* ---- Private words: the top bit and the thread tell them from the file's ---- */

static uint64_t encode_private(const struct worker *w, uint64_t page, unsigned slot, uint32_t counter)
{
	return ~(encode(page, slot, counter) ^ (uint64_t)w->id << 60);
}

static void private_step(struct worker *w, uint64_t r)
{
	uint64_t page = r % PRIVATE_PAGES;
	unsigned slot = (r >> 20) % SLOTS;
	uint32_t *count = &w->private_model[page * SLOTS + slot];
	uint64_t *p = w->private + page * WORDS_PER_PAGE + place[slot], v;

	if (r >> 30 & 1)
		store_or_die(p, encode_private(w, page, slot, ++*count), page, slot);
	else if (!*count)
		check_foreign(w->private, page, slot);
	else if ((v = load_or_die(p, page, slot)) != encode_private(w, page, slot, *count))
		die("a lost private store", page, slot, v);
}

static void private_again(struct worker *w)
{
	if (w->private && fl_munmap(w->private, PRIVATE_PAGES * FL_PAGE_SIZE))
		die("fl_munmap", 0, 0, (uint64_t)errno);
	w->private = map_or_die(fd, PRIVATE_PAGES, MAP_PRIVATE);
	memset(w->private_model, 0, sizeof w->private_model);
}

static void private_dontneed(struct worker *w, uint64_t r)
{
	uint64_t page = r % PRIVATE_PAGES, n = r >> 20 & 31;

	n = n < PRIVATE_PAGES - page ? n : PRIVATE_PAGES - page;
	if (n && fl_madvise(w->private + page * WORDS_PER_PAGE, n * FL_PAGE_SIZE, MADV_DONTNEED))
		die("fl_madvise", page, 0, (uint64_t)errno);
	memset(&w->private_model[page * SLOTS], 0, n * SLOTS * sizeof *w->private_model);
}

/* ---- Files that come and go ---- */

static void common_file(struct worker *w)
{
	uint64_t *p = map_or_die(common_fd, THREADS, MAP_SHARED);
	uint64_t v = load_or_die(p + w->id * WORDS_PER_PAGE, w->id, 0);
	if (v != w->common_count)
		die("a store is not in the common file", w->id, 0, v);
	store_or_die(p + w->id * WORDS_PER_PAGE, ++w->common_count, w->id, 0);
	if (fl_munmap(p, THREADS * FL_PAGE_SIZE))
		die("fl_munmap", 0, 0, (uint64_t)errno);
}

static void own_file(struct worker *w)
{
	int own = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint64_t v, tag = next(w), *p;

	if (ftruncate(own, OWN_PAGES * FL_PAGE_SIZE))
		abort();
	p = map_or_die(own, OWN_PAGES, MAP_SHARED);
	for (uint64_t i = 0; i < OWN_PAGES; i++)
		store_or_die(p + i * WORDS_PER_PAGE, tag + i, i, 0);
	if (fl_munmap(p, OWN_PAGES * FL_PAGE_SIZE))
		die("fl_munmap", 0, 0, (uint64_t)errno);
	for (uint64_t i = 0; i < OWN_PAGES; i++)
		if (pread(own, &v, 8, (off_t)(i * FL_PAGE_SIZE)) != 8 || v != tag + i)
			die("munmap did not write back", i, 0, v);
	close(own);
}

/* ---- Steps ---- */

static void map_again(struct worker *w)
{
	if (w->map && fl_munmap(w->map, PAGES * FL_PAGE_SIZE))
		die("fl_munmap", 0, 0, (uint64_t)errno);
	w->map = map_or_die(fd, PAGES, MAP_SHARED);
}

static void sync_some(struct worker *w, uint64_t page, uint64_t r)
{
	uint64_t n = 1 + r % 64;

	n = n < PAGES - page ? n : PAGES - page;
	if (fl_msync(w->map + page * WORDS_PER_PAGE, n * FL_PAGE_SIZE, r & 64 ? MS_SYNC : MS_ASYNC))
		die("fl_msync", page, 0, (uint64_t)errno);
}

static void rare(struct worker *w, uint64_t page, uint64_t r)
{
	switch (r % 16) {
	case 0:
		map_again(w);
		break;
	case 1:
		private_again(w);
		break;
	case 2:
		private_dontneed(w, r >> 8);
		break;
	case 3:
	case 4:
		common_file(w);
		break;
	case 5:
	case 6:
		own_file(w);
		break;
	case 7:
		fl_madvise(w->map + page * WORDS_PER_PAGE, FL_PAGE_SIZE, MADV_DONTNEED);
		break;
	case 8:
		fl_madvise(w->map, PAGES * FL_PAGE_SIZE, r & 0x10000 ? MADV_RANDOM : MADV_NORMAL);
		break;
	case 9:
		fl_madvise(w->map + page * WORDS_PER_PAGE, FL_PAGE_SIZE * (PAGES - page < 32 ? PAGES - page : 32), MADV_WILLNEED);
		break;
	case 10:
	case 11:
		sync_some(w, page, r >> 8);
		break;
	default:
		for (uint64_t i = 0; i < 32 && page + i < PAGES; i++)
			check_foreign(w->map, page + i, r >> 8 & 3);
	}
}

static void step(struct worker *w)
{
	uint64_t r = next(w), page = r % PAGES;
	unsigned slot = (r >> 40) % SLOTS, what = (r >> 48) % 1024;
	bool own;

	if (what < 300)
		page -= page % THREADS - w->id % THREADS;
	own = page < PAGES && page % THREADS == w->id;
	if (page >= PAGES)
		return;
	if (what >= 1016)
		rare(w, page, r >> 20);
	else if (what >= 700)
		private_step(w, r >> 8);
	else if (!own)
		check_foreign(what & 1 ? w->map : common, page, slot);
	else if (what < 6)
		write_own(page, slot);
	else if (what < 12)
		read_own(page, slot);
	else if (what < 160)
		store_own(what & 1 ? w->map : common, page, slot);
	else
		check_own(what & 1 ? w->map : common, page, slot);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	map_again(w);
	private_again(w);
	while (!stop)
		step(w);
	if (fl_munmap(w->map, PAGES * FL_PAGE_SIZE) || fl_munmap(w->private, PRIVATE_PAGES * FL_PAGE_SIZE))
		die("fl_munmap", 0, 0, (uint64_t)errno);
	return NULL;
}

/* What is shown meanwhile is right for no longer than a moment; it is there, and holds up nobody. */
static void *watch(void *arg)
{
	int null = open("/dev/null", O_WRONLY);

	(void)arg;
	while (!stop)
		if (fl_maps(null) || fl_smaps(null))
			die("fl_smaps", 0, 0, (uint64_t)errno);
	close(null);
	return NULL;
}

/* ---- The whole ---- */

static void make_files(void)
{
	uint64_t page[WORDS_PER_PAGE];

	fd = pattern_file(0);
	common_fd = pattern_file(0);
	assert_int_equal(ftruncate(common_fd, THREADS * FL_PAGE_SIZE), 0);
	memset(page, 0x11, sizeof page);
	for (uint64_t p = 0; p < PAGES; p++) {
		for (unsigned s = 0; s < SLOTS; s++)
			page[place[s]] = encode(p, s, 0);
		assert_int_equal(write(fd, page, sizeof page), sizeof page);
	}
	memset(model, 0, sizeof model);
}

static void check_files(const struct worker *w)
{
	uint64_t page[WORDS_PER_PAGE];

	for (uint64_t p = 0; p < PAGES; p++) {
		assert_int_equal(pread(fd, page, sizeof page, (off_t)(p * FL_PAGE_SIZE)), sizeof page);
		for (unsigned s = 0; s < SLOTS; s++)
			if (page[place[s]] != encode(p, s, model[p * SLOTS + s]))
				die("the file lost a store", p, s, page[place[s]]);
		assert_int_equal(page[50], 0x1111111111111111);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(word_in_file(common_fd, i * WORDS_PER_PAGE), w[i].common_count);
}

static void run(unsigned milliseconds)
{
	static struct worker w[THREADS];
	pthread_t watcher;

	memset(w, 0, sizeof w);
	make_files();
	sim_start(NULL);
	common = sim_map(fd, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	stop = false;
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].id = i;
		w[i].rng = seed * 1000003ull + i * 7919 + 1;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
	usleep(milliseconds * 1000);
	stop = true;
	pthread_join(watcher, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	assert_int_equal(fl_munmap(common, PAGES * FL_PAGE_SIZE), 0);
	check_files(w);
	sim_stop();
	close(fd);
	close(common_fd);
}

static unsigned milliseconds(void)
{
	const char *s = getenv("FAULTLINE_STRESS_SECONDS");

	return s ? (unsigned)atoi(s) * 500 : 1500;
}

static void every_word_is_what_was_stored(void **state)
{
	(void)state;
	run(milliseconds());
}

/* Kernels before 6.4. */
static void the_same_without_write_protected_mapping(void **state)
{
	(void)state;
	sim_set_map_can_wp(false);
	run(milliseconds());
	sim_set_map_can_wp(true);
}

int main(void)
{
	const char *s = getenv("FAULTLINE_STRESS_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_is_what_was_stored),
		cmocka_unit_test(the_same_without_write_protected_mapping),
	};

	seed = s ? (unsigned)atoi(s) : (unsigned)time(NULL);
	printf("seed %u\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
