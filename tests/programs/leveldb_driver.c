/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A LevelDB database whose content follows from a number of steps: record I has the version of the last step that wrote it.
 *
 *   leveldb_driver write DIR RECORDS SEED STEPS    goes on from the last step to step STEPS; prints the number of each
 *   leveldb_driver read DIR RECORDS SEED COUNT     looks up COUNT records at random, and checks them
 *   leveldb_driver compact DIR
 *   leveldb_driver verify DIR RECORDS              looks at everything by an iterator, both ways, and prints what it found
 *
 * A step is one batch of BATCH records, synchronous every hundredth time, in which goes the number of the step too.
 */
#include <inttypes.h>
#include <leveldb/c.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 200
#define LONGEST 1200
#define STEP_KEY "step"

static leveldb_t *db;
static leveldb_readoptions_t *reading;

static void check(char *error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "leveldb_driver: %s: %s\n", what, error);
	exit(1);
}

static void wrong(const char *what, const char *key)
{
	fprintf(stderr, "leveldb_driver: wrong %s at %s\n", what, key);
	exit(3);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static size_t make_key(char *key, size_t size, unsigned long i)
{
	return (size_t)snprintf(key, size, "record%016" PRIx64, mix(i));
}

/* The version comes first. */
static size_t make_value(uint64_t *value, unsigned long i, uint64_t version)
{
	uint64_t seed = mix(mix(i) + version);
	size_t words = 2 + seed % (LONGEST / 8 - 2);

	value[0] = version;
	for (size_t n = 1; n < words; n++)
		value[n] = mix(seed + n);
	return words * 8;
}

static void open_db(const char *dir)
{
	leveldb_options_t *options = leveldb_options_create();
	char *error = NULL;

	leveldb_options_set_create_if_missing(options, 1);
	leveldb_options_set_paranoid_checks(options, 1);
	leveldb_options_set_compression(options, leveldb_no_compression);
	leveldb_options_set_max_file_size(options, 8 << 20);
	leveldb_options_set_cache(options, leveldb_cache_create_lru(1 << 20));
	db = leveldb_open(options, dir, &error);
	check(error, "open");
	reading = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(reading, 1);
	leveldb_options_destroy(options);
}

static uint64_t last_step(void)
{
	char *error = NULL, *value;
	uint64_t step = 0;
	size_t size;

	value = leveldb_get(db, reading, STEP_KEY, strlen(STEP_KEY), &size, &error);
	check(error, "get");
	if (value)
		memcpy(&step, value, sizeof step);
	leveldb_free(value);
	return step;
}

static void write_steps(unsigned long records, uint64_t seed, uint64_t steps)
{
	leveldb_writeoptions_t *writing = leveldb_writeoptions_create();
	leveldb_writebatch_t *batch = leveldb_writebatch_create();
	uint64_t value[LONGEST / 8];
	char key[32], *error = NULL;

	for (uint64_t step = last_step() + 1; step <= steps; step++) {
		leveldb_writebatch_clear(batch);
		for (unsigned k = 0; k < BATCH; k++) {
			unsigned long i = mix(seed + step * BATCH + k) % records;
			size_t length = make_key(key, sizeof key, i);

			leveldb_writebatch_put(batch, key, length, (char *)value, make_value(value, i, step));
		}
		leveldb_writebatch_put(batch, STEP_KEY, strlen(STEP_KEY), (char *)&step, sizeof step);
		leveldb_writeoptions_set_sync(writing, step % 100 == 0);
		leveldb_write(db, writing, batch, &error);
		check(error, "write");
		printf("%" PRIu64 "\n", step);
		fflush(stdout);
	}
}

static void check_value(unsigned long i, const char *key, const char *value, size_t size)
{
	uint64_t expected[LONGEST / 8], version;

	memcpy(&version, value, sizeof version);
	if (size != make_value(expected, i, version) || memcmp(value, expected, size))
		wrong("value", key);
}

static void read_some(unsigned long records, uint64_t seed, unsigned long count)
{
	char key[32], *error = NULL, *value;
	unsigned long found = 0;
	size_t size;

	for (unsigned long n = 0; n < count; n++) {
		unsigned long i = mix(seed + n) % records;
		size_t length = make_key(key, sizeof key, i);

		value = leveldb_get(db, reading, key, length, &size, &error);
		check(error, "get");
		if (!value)
			continue;
		check_value(i, key, value, size);
		found++;
		leveldb_free(value);
	}
	printf("found %lu of %lu\n", found, count);
}

static uint64_t digest_of(leveldb_iterator_t *at, uint64_t *count)
{
	const char *key, *value;
	size_t key_size, size;
	uint64_t digest;

	key = leveldb_iter_key(at, &key_size);
	value = leveldb_iter_value(at, &size);
	digest = key_size;
	for (size_t i = 0; i < key_size; i++)
		digest = mix(digest ^ (uint8_t)key[i]);
	for (size_t i = 0; i < size; i++)
		digest = mix(digest ^ (uint8_t)value[i]);
	++*count;
	return digest;
}

/* Sums, so that both ways give the same. */
static void verify(unsigned long records)
{
	leveldb_iterator_t *at = leveldb_create_iterator(db, reading);
	uint64_t there = 0, back = 0, forwards = 0, backwards = 0;
	char *error = NULL;

	for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at); leveldb_iter_next(at))
		forwards += digest_of(at, &there);
	leveldb_iter_get_error(at, &error);
	check(error, "iterate");
	for (leveldb_iter_seek_to_last(at); leveldb_iter_valid(at); leveldb_iter_prev(at))
		backwards += digest_of(at, &back);
	leveldb_iter_get_error(at, &error);
	check(error, "iterate backwards");
	leveldb_iter_destroy(at);
	if (there != back || forwards != backwards)
		wrong("iteration", "the end");
	read_some(records, 0, records / 10);
	printf("step %" PRIu64 " entries %" PRIu64 " digest %016" PRIx64 "\n", last_step(), there, forwards);
}

int main(int argc, char **argv)
{
	unsigned long records = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	uint64_t seed = argc > 4 ? mix(strtoul(argv[4], NULL, 10)) : 0;
	unsigned long count = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;

	if (argc < 3)
		return fputs("usage: see the head of leveldb_driver.c\n", stderr), 2;
	open_db(argv[2]);
	if (strcmp(argv[1], "write") == 0)
		write_steps(records, seed, count);
	else if (strcmp(argv[1], "read") == 0)
		read_some(records, seed, count);
	else if (strcmp(argv[1], "compact") == 0)
		leveldb_compact_range(db, NULL, 0, NULL, 0);
	else if (strcmp(argv[1], "verify") == 0)
		verify(records);
	leveldb_close(db);
	return 0;
}
