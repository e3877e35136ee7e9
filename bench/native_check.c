/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what measures can be relied on: numbers by Zipf's law are, an order has all, and wrong bytes in the file are found. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data.h"
#include "native_cost.h"
#include "worker.h"
#include "zipf.h"

#define NUMBERS 1000
#define DRAWS 200000

/* So close that another exponent, by a twentieth, would be seen. */
static void check_zipf(double skew)
{
	static unsigned drawn[NUMBERS + 1];
	uint64_t random = 88172645463325252ULL;
	double all = 0;
	struct zipf z;

	memset(drawn, 0, sizeof drawn);
	zipf_init(&z, NUMBERS, skew);
	for (int i = 0; i < DRAWS; i++) {
		uint64_t k = zipf_next(&z, &random);

		expect(k >= 1 && k <= NUMBERS, "a number by Zipf's law is in its range");
		drawn[k]++;
	}
	for (int k = 1; k <= NUMBERS; k++)
		all += pow(k, -skew);
	for (int k = 1; k <= 10; k++) {
		double wanted = DRAWS * pow(k, -skew) / all;

		expect(fabs(drawn[k] - wanted) < 6 * sqrt(wanted), "numbers by Zipf's law are as frequent as that says");
	}
}

static void check_order(uint64_t n, uint64_t seed)
{
	unsigned char *seen = calloc(n, 1);

	expect(seen, "memory");
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = scramble(i, n, seed);

		expect(at < n && !seen[at], "each number is in an order once");
		seen[at] = 1;
	}
	free(seen);
}

static void check_latency(void)
{
	struct latency l = {.n = 0};

	for (unsigned i = 1; i <= 10000; i++)
		latency_add(&l, i * 100);
	expect(fabs(latency_at(&l, 0.5) / 500000 - 1) < 0.07 && fabs(latency_at(&l, 0.99) / 990000 - 1) < 0.07, "percentiles");
	for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
		expect(latency_bucket((uint64_t)latency_start(b)) == b, "a bucket begins where it begins");
}

/* ---- Wrong bytes ---- */

static uint64_t exchange_word(uint64_t offset, uint64_t word)
{
	int fd = open(scale.path, O_RDWR | O_CLOEXEC);
	uint64_t was;

	if (fd < 0 || pread(fd, &was, 8, (off_t)offset) != 8 || pwrite(fd, &word, 8, (off_t)offset) != 8 || fsync(fd))
		die(scale.path);
	close(fd);
	return was;
}

static void expect_found(struct job j, uint64_t offset, uint64_t word)
{
	uint64_t was = exchange_word(offset, word);
	struct outcome out;

	worker_run(&j, NULL, &out);
	expect(!strncmp(out.error, "wrong bytes", 11), "wrong bytes are found");
	exchange_word(offset, was);
	worker_run(&j, NULL, &out);
	expect(!*out.error && out.judged, "right bytes are not called wrong");
}

static struct job everything(enum workload w, enum contender_kind by)
{
	struct job j = job_new(w, by);

	j.ops_max = scale.size / PAGE;
	j.seconds = 60;
	j.pattern = PATTERN_ONCE;
	return j;
}

static void check_judgement(enum contender_kind by)
{
	uint64_t page = scale.size / 2 + 5 * PAGE;
	struct job scan = everything(WORKLOAD_SCAN, by), reads = everything(WORKLOAD_RANDOM, by), writes = reads;

	expect_found(scan, page + 7 * LINE, data_word(page + 7 * LINE) + 1);
	expect_found(reads, page, data_word(page + PAGE));
	writes.size = PAGE; /* the one page is stored to or read, until it has been read */
	writes.threads = 2;
	writes.writes = true;
	writes.seed = 3;
	expect_found(writes, 0, data_word(PAGE));
}

void check_self(void)
{
	check_zipf(0.5);
	check_zipf(0.99);
	check_zipf(1);
	check_zipf(1.2);
	for (uint64_t n = 1; n < 70; n++)
		check_order(n, n);
	check_order(100003, 7);
	check_latency();
	check_judgement(CONTENDER_FAULTLINE);
	check_judgement(CONTENDER_KERNEL);
}
