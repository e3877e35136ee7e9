/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in LMDB that can be checked in every read transaction, whoever is writing at the time.
 *
 * There are RECORDS records in groups of GROUP. A value is made from its key and its version alone. With each group goes the sum
 * of what its records are to add to it; with all, the number of the last transaction and the sum of these sums. A transaction
 * writes new versions of some records, the sums of their groups and the whole: whoever sees a part of one, or a page of another
 * one, sees sums that do not fit.
 *
 *   lmdb_driver [--writemap] [--nosync] create DIR RECORDS SEED
 *   lmdb_driver [...] write DIR RECORDS SEED COUNT   COUNT more transactions; prints the number of each when it is committed
 *   lmdb_driver [...] read DIR RECORDS SEED COUNT    COUNT read transactions that look at some groups each
 *   lmdb_driver [...] verify DIR RECORDS             looks at everything, and prints what it found
 *   lmdb_driver [...] together DIR RECORDS SEED COUNT   a writer, and two readers for as long as it writes, in processes of their own
 */
#include <lmdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP 64u
#define PER_TRANSACTION 24
#define LONGEST 3000
#define MAP_SIZE (4UL << 30)

enum kind { WHOLE, SUM, RECORD };

struct whole {
	uint64_t transaction, sum;
};

struct record {
	uint64_t version;
	uint64_t words[LONGEST / 8];
};

static unsigned flags, records;

static void check(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "lmdb_driver: %s: %s\n", what, mdb_strerror(error));
	exit(1);
}

static void wrong(const char *what, unsigned long where, uint64_t transaction)
{
	fprintf(stderr, "lmdb_driver: wrong %s at %lu in transaction %lu\n", what, where, (unsigned long)transaction);
	exit(3);
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Keys spread over the tree, so that the records of a group are not neighbours. */
static MDB_val key_of(uint64_t *place, enum kind kind, unsigned i)
{
	*place = mix(((uint64_t)kind << 32) | i);
	return (MDB_val){sizeof *place, place};
}

static uint64_t share_of(unsigned i, uint64_t version)
{
	return mix(mix(i) + version);
}

/* Returns the number of bytes. */
static size_t make_record(struct record *r, unsigned i, uint64_t version)
{
	uint64_t seed = share_of(i, version);
	size_t words = 4 + seed % (LONGEST / 8 - 8);

	r->version = version;
	for (size_t n = 0; n < words; n++)
		r->words[n] = mix(seed + n);
	return (words + 1) * 8;
}

static MDB_val get(MDB_txn *txn, enum kind kind, unsigned i)
{
	uint64_t place;
	MDB_val key = key_of(&place, kind, i), value;

	check(mdb_get(txn, 1, &key, &value), "get");
	return value;
}

static void put(MDB_txn *txn, enum kind kind, unsigned i, const void *bytes, size_t size)
{
	uint64_t place;
	MDB_val key = key_of(&place, kind, i), value = {size, (void *)bytes};

	check(mdb_put(txn, 1, &key, &value, 0), "put");
}

static struct whole get_whole(MDB_txn *txn)
{
	struct whole whole;

	memcpy(&whole, get(txn, WHOLE, 0).mv_data, sizeof whole);
	return whole;
}

static uint64_t get_sum(MDB_txn *txn, unsigned group)
{
	uint64_t sum;

	memcpy(&sum, get(txn, SUM, group).mv_data, sizeof sum);
	return sum;
}

static MDB_env *open_env(const char *dir)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	check(mdb_env_create(&env), "env_create");
	check(mdb_env_set_mapsize(env, MAP_SIZE), "set_mapsize");
	check(mdb_env_open(env, dir, flags, 0644), dir);
	check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi_open");
	check(mdb_txn_commit(txn), "commit");
	if (dbi != 1)
		abort();
	return env;
}

static void check_group(MDB_txn *txn, unsigned group, uint64_t transaction)
{
	struct record expected;
	uint64_t sum = 0;

	for (unsigned i = group * GROUP; i < (group + 1) * GROUP; i++) {
		MDB_val value = get(txn, RECORD, i);
		uint64_t version;

		memcpy(&version, value.mv_data, sizeof version);
		if (version > transaction)
			wrong("version of record", i, transaction);
		if (value.mv_size != make_record(&expected, i, version) || memcmp(value.mv_data, &expected, value.mv_size))
			wrong("bytes of record", i, transaction);
		sum += share_of(i, version);
	}
	if (sum != get_sum(txn, group))
		wrong("sum of group", group, transaction);
}

static struct whole check_whole(MDB_txn *txn)
{
	struct whole whole = get_whole(txn);
	uint64_t sum = 0;

	for (unsigned group = 0; group < records / GROUP; group++)
		sum += get_sum(txn, group);
	if (sum != whole.sum)
		wrong("sum of sums", 0, whole.transaction);
	return whole;
}

static void create(const char *dir, uint64_t seed)
{
	MDB_env *env = open_env(dir);
	struct whole whole = {0};
	struct record r;
	MDB_txn *txn;

	(void)seed;
	for (unsigned group = 0; group < records / GROUP; group++) {
		uint64_t sum = 0;

		check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
		for (unsigned i = group * GROUP; i < (group + 1) * GROUP; i++) {
			put(txn, RECORD, i, &r, make_record(&r, i, 0));
			sum += share_of(i, 0);
		}
		put(txn, SUM, group, &sum, sizeof sum);
		whole.sum += sum;
		put(txn, WHOLE, 0, &whole, sizeof whole);
		check(mdb_txn_commit(txn), "commit");
	}
	check(mdb_env_sync(env, 1), "sync");
	mdb_env_close(env);
}

static void rewrite(MDB_txn *txn, unsigned i, struct whole *whole)
{
	uint64_t version, sum = get_sum(txn, i / GROUP), change;
	struct record r;

	memcpy(&version, get(txn, RECORD, i).mv_data, sizeof version);
	change = share_of(i, whole->transaction) - share_of(i, version);
	put(txn, RECORD, i, &r, make_record(&r, i, whole->transaction));
	sum += change;
	whole->sum += change;
	put(txn, SUM, i / GROUP, &sum, sizeof sum);
}

/* What a transaction does follows from its number, so that one that was lost is done again in the same way. */
static void write_some(const char *dir, uint64_t seed, unsigned long count, bool say)
{
	MDB_env *env = open_env(dir);
	struct whole whole;
	MDB_txn *txn;

	for (unsigned long n = 0; n < count; n++) {
		check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
		whole = get_whole(txn);
		whole.transaction++;
		for (unsigned k = 0; k < PER_TRANSACTION; k++)
			rewrite(txn, mix(seed + whole.transaction * PER_TRANSACTION + k) % records, &whole);
		put(txn, WHOLE, 0, &whole, sizeof whole);
		check(mdb_txn_commit(txn), "commit");
		if (say) {
			printf("%lu\n", (unsigned long)whole.transaction);
			fflush(stdout);
		}
	}
	mdb_env_close(env);
}

/* Until COUNT transactions are done, or, where there is one, *stop is set. */
static void read_some(const char *dir, uint64_t seed, unsigned long count, volatile int *stop)
{
	MDB_env *env = open_env(dir);
	uint64_t last = 0;
	MDB_txn *txn;

	for (unsigned long n = 0; stop ? !*stop : n < count; n++) {
		struct whole whole;

		check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
		whole = check_whole(txn);
		if (whole.transaction < last)
			wrong("order of transactions", last, whole.transaction);
		last = whole.transaction;
		for (unsigned k = 0; k < 8; k++)
			check_group(txn, mix(seed + n * 8 + k) % (records / GROUP), last);
		mdb_txn_abort(txn);
	}
	mdb_env_close(env);
}

static void verify(const char *dir)
{
	MDB_env *env = open_env(dir);
	uint64_t digest = 0;
	struct whole whole;
	unsigned long n = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_txn *txn;

	check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	whole = check_whole(txn);
	for (unsigned group = 0; group < records / GROUP; group++)
		check_group(txn, group, whole.transaction);
	check(mdb_cursor_open(txn, 1, &cursor), "cursor_open");
	for (; !mdb_cursor_get(cursor, &key, &value, MDB_NEXT); n++)
		for (size_t i = 0; i < value.mv_size; i++)
			digest = mix(digest ^ ((uint8_t *)value.mv_data)[i]);
	if (n != records + records / GROUP + 1)
		wrong("number of entries", n, whole.transaction);
	printf("transaction %lu sum %016lx digest %016lx\n", (unsigned long)whole.transaction, (unsigned long)whole.sum,
	       (unsigned long)digest);
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	mdb_env_close(env);
}

/* The environment is opened in each process, as LMDB has it. The word that stops the readers is in no file. */
static int together(const char *dir, uint64_t seed, unsigned long count)
{
	volatile int *stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int bad = 0, status;
	pid_t pids[3];

	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		if (i == 0)
			write_some(dir, seed, count, false);
		else
			read_some(dir, seed + i, 0, stop);
		exit(0);
	}
	for (int i = 0; i < 3; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || status) {
			fprintf(stderr, "lmdb_driver: %s ended with status 0x%x\n", i ? "a reader" : "the writer", status);
			bad = 1;
		}
		*stop = 1;
	}
	return bad;
}

int main(int argc, char **argv)
{
	const char *what;
	uint64_t seed, count;
	char *dir;

	for (; argc > 1 && argv[1][0] == '-'; argc--, argv++)
		flags |= strcmp(argv[1], "--writemap") == 0 ? MDB_WRITEMAP : MDB_NOSYNC | MDB_MAPASYNC;
	if (argc < 4)
		return fputs("usage: see the head of lmdb_driver.c\n", stderr), 2;
	what = argv[1];
	dir = argv[2];
	records = strtoul(argv[3], NULL, 10) / GROUP * GROUP;
	seed = argc > 4 ? mix(strtoul(argv[4], NULL, 10)) : 0;
	count = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
	if (strcmp(what, "create") == 0)
		create(dir, seed);
	else if (strcmp(what, "write") == 0)
		write_some(dir, seed, count, true);
	else if (strcmp(what, "read") == 0)
		read_some(dir, seed, count, NULL);
	else if (strcmp(what, "verify") == 0)
		verify(dir);
	else if (strcmp(what, "together") == 0)
		return together(dir, seed, count);
	return 0;
}
